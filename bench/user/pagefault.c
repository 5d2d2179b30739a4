/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Map, touch every page, unmap: the guest's page-fault path and page-table writes. */
#define _GNU_SOURCE
#include "bench.h"
#include <sys/mman.h>

#define PAGES 1000

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 100), sum = 0;
    bench_start();
    for (unsigned r = 0; r < rounds; r++) {
        unsigned char *p =
            mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return 1;
        madvise(p, PAGES * 4096, MADV_NOHUGEPAGE);
        for (unsigned i = 0; i < PAGES; i++) {
            sum += p[i * 4096];
            p[i * 4096] = 1;
        }
        for (unsigned i = 0; i < PAGES; i++)
            sum += p[i * 4096];
        munmap(p, PAGES * 4096);
    }
    bench_end("pagefault", sum);
    return 0;
}
