/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The C library's qsort and bsearch with comparison functions: indirect calls to small functions, one target
 * at a time, from code that was compiled without knowing them. */
#include "bench.h"

#define N 20000
static struct item {
    uint32_t key, other;
} item[N];

static int by_key(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static int by_other(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return x->other != y->other ? (x->other < y->other ? -1 : 1) : by_key(a, b);
}

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 150);
    uint32_t seed = 6, sum = 0;
    for (int i = 0; i < N; i++) {
        item[i].key = bench_rand(&seed);
        item[i].other = bench_rand(&seed) & 1023;
    }
    bench_start();
    while (rounds--) {
        qsort(item, N, sizeof(item[0]), by_other);
        sum = sum * 31 + item[N / 3].key;
        qsort(item, N, sizeof(item[0]), by_key);
        for (int i = 0; i < N; i += 2) {
            struct item want = {item[i].key, 0}, *found = bsearch(&want, item, N, sizeof(item[0]), by_key);
            sum += found ? (uint32_t)(found - item) : 1u;
        }
        item[sum % N].key = bench_rand(&seed);
    }
    bench_end("callbacks", sum);
    return 0;
}
