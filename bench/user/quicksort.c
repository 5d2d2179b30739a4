/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quicksort of pseudo-random words: data-dependent branches, loads and stores, some recursion. */
#include "bench.h"

#define N 1000000
static uint32_t a[N];

static void sort(uint32_t *lo, uint32_t *hi)
{
    while (hi - lo > 12) {
        uint32_t pivot = lo[(hi - lo) / 2], *i = lo, *j = hi;
        while (i <= j) {
            while (*i < pivot)
                i++;
            while (*j > pivot)
                j--;
            if (i <= j) {
                uint32_t t = *i;
                *i++ = *j;
                *j-- = t;
            }
        }
        if (j - lo < hi - i) {
            sort(lo, j);
            lo = i;
        } else {
            sort(i, hi);
            hi = j;
        }
    }
    for (uint32_t *i = lo + 1; i <= hi; i++) {
        uint32_t v = *i, *j = i;
        for (; j > lo && j[-1] > v; j--)
            *j = j[-1];
        *j = v;
    }
}

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 8);
    uint32_t seed = 99, check = 0;
    bench_start();
    while (rounds--) {
        for (unsigned i = 0; i < N; i++)
            a[i] = bench_rand(&seed);
        sort(a, a + N - 1);
        for (unsigned i = 1; i < N; i++)
            if (a[i - 1] > a[i])
                return 1;
        check += a[N / 3];
    }
    bench_end("quicksort", check);
    return 0;
}
