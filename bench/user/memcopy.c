/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies between two buffers with memcpy (whatever the C library picks) and with rep movsd. */
#include "bench.h"

#define N (1 << 20)
static unsigned char a[N], b[N];

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 2048);
    uint32_t seed = 3;
    for (unsigned i = 0; i < N; i++)
        a[i] = (unsigned char)bench_rand(&seed);
    bench_start();
    for (unsigned r = 0; r < rounds; r++) {
        if (r & 1) {
            void *d = b, *s = a;
            unsigned n = N / 4;
            asm volatile("rep movsl" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
        } else {
            memcpy(b, a, N);
        }
        a[r % N]++;
        asm volatile("" : : : "memory");
    }
    bench_end("memcopy", bench_hash(b, N));
    return 0;
}
