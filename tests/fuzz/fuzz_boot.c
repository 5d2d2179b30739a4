/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loaders: any bytes as a kernel (Linux bzImage, multiboot, ELF with symbols), with an initrd and a
 * command line, for machines of any size. They must load or explain, and write only where boot_is_ram() says
 * there is RAM.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "machine/boot.h"
#include "tests/fuzz/fuzz.h"

static void ram_write(void *opaque, u64 gpa, const void *data, u64 len)
{
    u8 sum = 0;
    const struct boot *b = opaque;
    if (len && !boot_is_ram(b, gpa, len)) {
        fprintf(stderr, "write to %llx, %llu bytes, which is no RAM\n", (unsigned long long)gpa,
                (unsigned long long)len);
        abort();
    }
    for (u64 k = 0; k < len; k++)
        sum ^= ((const u8 *)data)[k];
    __asm__ volatile("" ::"r"(sum)); /* so that the bytes are read */
}

static int file(char name[32], const u8 *data, u32 len)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || (len && write(fd, data, len) < 0))
        abort();
    snprintf(name, 32, "/proc/self/fd/%d", fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static const u32 sizes[] = {1, 2, 4, 16, 64, 256, 1024, 3072};
    struct in in = {data, data + size};
    u8 how = take8(&in);
    u32 pad = take8(&in) * 512u * (how >> 6), off; /* bytes of zeros behind: large files from small inputs */
    char kernel[32], initrd[32], line[300], name[64];
    struct boot b = {.ram = {.size = sizes[how & 7] * MiB, .write = ram_write}};
    u8 *image;
    int kfd, ifd = -1;

    b.ram.opaque = &b;
    if (how & 8) {
        take(&in, line, take8(&in));
        line[255] = 0;
        b.append = line;
    } else {
        line[0] = 0;
    }
    if (how & 16) {
        ifd = file(initrd, in.p, left(&in) / 4);
        if (how & 32 && ftruncate(ifd, (off_t)take32(&in)))
            abort();
        b.initrd = initrd;
    }
    off = left(&in);
    image = calloc(1, off + pad + 1);
    if (!image)
        abort();
    take(&in, image, off);
    kfd = file(kernel, image, off + pad);
    free(image);
    b.kernel = kernel;
    if (boot_load(&b) == 0 && b.symbols) {
        u32 lo, hi, o;
        for (u32 k = 0; k < 4; k++)
            symbols_at(b.symbols, k * 0x1000 + b.entry.eip, &o);
        snprintf(name, sizeof(name), "%.60s", line);
        symbols_range(b.symbols, name, &lo, &hi);
    }
    symbols_free(b.symbols);
    close(kfd);
    if (ifd >= 0)
        close(ifd);
    return 0;
}
