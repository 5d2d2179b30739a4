/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies a 4 MiB file within a memory file system, 16 KiB at a time, as cp does: read, write, page cache,
 * copies between user and kernel. The copy is unlinked each time, so its pages are allocated and freed. */
#include "bench.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define FILE_SIZE (4 << 20)
#define PIECE     (16 << 10)
#define TMPFS     0x01021994

static unsigned char piece[PIECE];

/* The guest's /tmp is one; a host's may be a disk, then /dev/shm. */
static const char *memory_folder(void)
{
    struct statfs s;
    if (!statfs("/tmp", &s) && s.f_type == TMPFS)
        return "/tmp";
    if (!statfs("/dev/shm", &s) && s.f_type == TMPFS)
        return "/dev/shm";
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 160);
    const char *folder = memory_folder();
    char from[64], to[64];
    uint32_t seed = 4, sum = 0;
    if (!folder) {
        fprintf(stderr, "filecopy: neither /tmp nor /dev/shm is a tmpfs\n");
        return 1;
    }
    snprintf(from, sizeof(from), "%s/novt-bench-%d.a", folder, getpid());
    snprintf(to, sizeof(to), "%s/novt-bench-%d.b", folder, getpid());
    int fd = open(from, O_CREAT | O_EXCL | O_WRONLY, 0600), good = 1;
    if (fd < 0)
        return 1;
    for (unsigned at = 0; at < FILE_SIZE && good; at += PIECE) {
        for (unsigned i = 0; i < PIECE; i++)
            piece[i] = (unsigned char)bench_rand(&seed);
        good = write(fd, piece, PIECE) == PIECE;
    }
    close(fd);
    bench_start();
    while (rounds-- && good) {
        int in = open(from, O_RDONLY), out = open(to, O_CREAT | O_EXCL | O_WRONLY, 0600);
        long n;
        good = in >= 0 && out >= 0;
        while (good && (n = read(in, piece, PIECE)) > 0) {
            good = write(out, piece, (size_t)n) == n;
            sum = sum * 31 + piece[n / 2];
        }
        if (in >= 0)
            close(in);
        if (out >= 0)
            close(out);
        unlink(to);
    }
    bench_end("filecopy", sum);
    unlink(from);
    return !good;
}
