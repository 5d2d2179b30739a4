/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory operations, one a program: BENCH_KIND says which. memcpy and memset are the C library's, which picks
 * by CPUID; the others are the string instructions themselves, bytes and doublewords in turn (scas: bytes, as
 * strlen and memchr do). 1 MiB at a time, and as much again in pieces of 64 to 1087 bytes at odd addresses.
 */
#include "bench.h"

enum kind { MEMCPY, MEMSET, REPMOVS, REPSTOS, REPSCAS };

#define N (1 << 20)
static unsigned char a[N + 64], b[N + 64];

static void operate(unsigned char *d, unsigned char *s, unsigned n, unsigned r)
{
    uint32_t value = (r & 0x7f) * 0x01010101u;
    switch ((enum kind)BENCH_KIND) {
    case MEMCPY:
        memcpy(d, s, n);
        break;
    case MEMSET:
        memset(d, (int)(r & 0x7f), n);
        break;
    case REPMOVS:
        if (r & 1) {
            asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
        } else {
            n /= 4;
            asm volatile("rep movsl" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
        }
        break;
    case REPSTOS:
        if (r & 1) {
            asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(value) : "memory");
        } else {
            n /= 4;
            asm volatile("rep stosl" : "+D"(d), "+c"(n) : "a"(value) : "memory");
        }
        break;
    case REPSCAS:
        /* the byte is nowhere: the search goes to the end */
        asm volatile("repne scasb" : "+D"(s), "+c"(n) : "a"(0xff) : "memory", "cc");
        d[r % N] ^= (unsigned char)(n + (unsigned)(s - a));
        break;
    }
    asm volatile("" : : : "memory");
}

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, BENCH_ROUNDS);
    uint32_t seed = 3;
    for (unsigned i = 0; i < N; i++) {
        a[i] = (unsigned char)(bench_rand(&seed) % 255);
        b[i] = (unsigned char)(bench_rand(&seed) % 255);
    }
    bench_start();
    for (unsigned r = 0; r < rounds; r++) {
        operate(b, a, N, r);
        for (unsigned at = 0, n; at < N; at += n) {
            n = 64 + (bench_rand(&seed) & 1023);
            if (n > N - at)
                n = N - at;
            operate(b + at, a + at, n, r);
        }
        a[r % N] ^= 1;
    }
    bench_end(BENCH_NAME, bench_hash(b, N));
    return 0;
}
