/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sieve of Eratosthenes over a byte array that fits the second-level cache: stores with a stride, no calls.
 */
#include "bench.h"

#define N 1000000
static unsigned char composite[N];

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 400), found = 0;
    bench_start();
    while (rounds--) {
        memset(composite, 0, N);
        for (unsigned i = 2; i * i < N; i++)
            if (!composite[i])
                for (unsigned j = i * i; j < N; j += i)
                    composite[j] = 1;
        for (unsigned i = 2; i < N; i++)
            found += !composite[i];
    }
    bench_end("sieve", found);
    return 0;
}
