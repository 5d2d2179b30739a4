/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random reads and writes in 256 MiB, each address depending on what was read before: what the processor's
 * caches and TLBs, and whatever a VMM keeps per page, cannot hold. Only the accesses are timed, not the first
 * touch. */
#define _GNU_SOURCE
#include "bench.h"
#include <sys/mman.h>

#define BYTES (256u << 20)
#define WORDS (BYTES / 4)

int main(int argc, char **argv)
{
    unsigned n = bench_work(argc, argv, 4000000);
    uint32_t x = 12345, sum = 0;
    uint32_t *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return 1;
    for (unsigned i = 0; i < WORDS; i += 1024)
        p[i] = i;
    bench_start();
    for (unsigned i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u + (sum & 1);
        uint32_t *q = p + (x >> 4) % WORDS;
        sum += *q;
        *q = x;
    }
    bench_end("chase256", sum);
    return 0;
}
