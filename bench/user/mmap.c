/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Map 16 pages, touch them, unmap: short-lived mappings, as an allocator or a loader makes them. */
#define _GNU_SOURCE
#include "bench.h"
#include <sys/mman.h>

#define PAGES 16

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 8000), sum = 0;
    bench_start();
    for (unsigned r = 0; r < rounds; r++) {
        volatile unsigned char *p =
            mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return 1;
        for (unsigned i = 0; i < PAGES; i++)
            p[i * 4096 + (r & 0xfff)] = (unsigned char)(r + i);
        for (unsigned i = 0; i < PAGES; i++)
            sum = sum * 3 + p[i * 4096 + (r & 0xfff)] + p[i * 4096 + (~r & 0xfff)];
        munmap((void *)p, PAGES * 4096);
    }
    bench_end("mmap", sum);
    return 0;
}
