/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls through a table of functions, chosen by data: indirect branches with many targets. */
#include "bench.h"

#define F(n, expr)                                                                                           \
    static __attribute__((noinline)) uint32_t f##n(uint32_t x)                                               \
    {                                                                                                        \
        return expr;                                                                                         \
    }
F(0, x + 1)
F(1, x * 5)
F(2, x ^ 0x55aa)
F(3, x - 77)
F(4, (x << 3) | (x >> 29))
F(5, ~x)
F(6, x + (x >> 7))
F(7, x * 3 + 1)

int main(int argc, char **argv)
{
    static uint32_t (*volatile const table[8])(uint32_t) = {f0, f1, f2, f3, f4, f5, f6, f7};
    unsigned n = bench_work(argc, argv, 200000000);
    uint32_t x = 1, seed = 1;
    bench_start();
    for (unsigned i = 0; i < n; i++)
        x = table[(i & 7) == 0 ? bench_rand(&seed) & 7 : i * 5 & 7](x);
    bench_end("icall", x);
    return 0;
}
