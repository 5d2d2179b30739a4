/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Doubly recursive Fibonacci: nothing but calls and returns. */
#include "bench.h"

static __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls"))) uint32_t fib(uint32_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 50);
    uint32_t sum = 0;
    volatile uint32_t n = 32;
    bench_start();
    while (rounds--)
        sum += fib(n);
    bench_end("fib", sum);
    return 0;
}
