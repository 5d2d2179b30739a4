/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debian's i386 gcc compiles C files at -O2, one process chain (driver, compiler, assembler) after the other,
 * as make would. The files and the compiler are in a small Debian root ($BENCH_CCROOT, /cc unless set), which
 * this program makes its root folder: the same tree in the guest and on the host. The object files' bytes
 * make the checksum. gcc sizes its garbage collection by the machine's memory; fixed here, so that every
 * machine does the same work.
 *
 * Files differ, so there is no such thing as half the work: 100 percent is all files, less is the first file
 * alone.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int source_file(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 2 && !strcmp(e->d_name + n - 2, ".c");
}

static int compile(const char *source, const char *object)
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        execle("/usr/bin/gcc", "gcc", "-O2", "-c", "-w", "-DBENCH_NAME=\"x\"", "-DBENCH_KIND=0",
               "-DBENCH_ROUNDS=1", "--param", "ggc-min-expand=100", "--param", "ggc-min-heapsize=131072",
               "-o", object, source, (char *)NULL,
               (char *const[]){"PATH=/usr/bin", "TMPDIR=/tmp", "LC_ALL=C", NULL});
        _exit(255);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static uint32_t file_hash(const char *path)
{
    static unsigned char bytes[1 << 20];
    int fd = open(path, O_RDONLY);
    long n = fd < 0 ? 0 : read(fd, bytes, sizeof(bytes));
    if (fd >= 0)
        close(fd);
    return n > 0 ? bench_hash(bytes, (size_t)n) : 0;
}

int main(int argc, char **argv)
{
    unsigned percent = bench_work(argc, argv, 100);
    const char *root = getenv("BENCH_CCROOT");
    struct dirent **name;
    uint32_t sum = 0;
    char source[300], object[64];
    if (!root)
        root = "/cc";
    /* Whoever is not root gets a user namespace in which it is. */
    if (chroot(root) && (unshare(CLONE_NEWUSER) || chroot(root))) {
        perror(root);
        return 1;
    }
    if (chdir("/"))
        return 1;
    int n = scandir("/src", &name, source_file, alphasort);
    if (n <= 0) {
        fprintf(stderr, "compile: no C files in %s/src\n", root);
        return 1;
    }
    if (percent < 100)
        n = 1;
    snprintf(object, sizeof(object), "/tmp/novt-bench-%d.o", getpid());
    bench_done = (unsigned)n;
    bench_start();
    for (int i = 0; i < n; i++) {
        snprintf(source, sizeof(source), "/src/%s", name[i]->d_name);
        if (compile(source, object)) {
            fprintf(stderr, "compile: %s failed\n", source);
            return 1;
        }
        sum = sum * 31 + file_hash(object);
    }
    bench_end(BENCH_NAME, sum);
    unlink(object);
    return 0;
}
