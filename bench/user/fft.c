/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fast Fourier transform (radix 2, in place, double precision) of 4096 points, forth and back. Built for x87
 * and for SSE2. The roots of unity come from half-angle formulas: additions, multiplications and square
 * roots, so that every machine gets the same bits. */
#include "bench.h"
#include <math.h>

#define LOG 12
#define N   (1 << LOG)
static struct complex {
    double re, im;
} x[N], root[N / 2];

static void make_roots(void)
{
    double c[LOG], s[LOG]; /* of the angle 2 pi / 2^(i + 1) */
    c[0] = -1;
    s[0] = 0;
    c[1] = 0;
    s[1] = 1;
    for (int i = 2; i < LOG; i++) {
        c[i] = sqrt((1 + c[i - 1]) / 2);
        s[i] = s[i - 1] / (2 * c[i]);
    }
    root[0].re = 1;
    root[0].im = 0;
    for (unsigned i = 1; i < N / 2; i++) {
        /* the lowest bit's root times the rest's */
        unsigned low = (unsigned)__builtin_ctz(i), rest = i & (i - 1), k = LOG - 1 - low;
        root[i].re = root[rest].re * c[k] - root[rest].im * s[k];
        root[i].im = root[rest].re * s[k] + root[rest].im * c[k];
    }
}

static void transform(double sign)
{
    for (unsigned i = 1, j = 0; i < N; i++) {
        unsigned bit = N >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            struct complex t = x[i];
            x[i] = x[j];
            x[j] = t;
        }
    }
    for (unsigned half = 1; half < N; half <<= 1)
        for (unsigned at = 0; at < N; at += 2 * half)
            for (unsigned k = 0; k < half; k++) {
                struct complex w = root[k * (N / 2 / half)], *p = x + at + k, *q = p + half;
                double wi = sign * w.im;
                double re = q->re * w.re - q->im * wi, im = q->re * wi + q->im * w.re;
                q->re = p->re - re;
                q->im = p->im - im;
                p->re += re;
                p->im += im;
            }
}

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 4000);
    uint32_t seed = 21;
    make_roots();
    for (unsigned i = 0; i < N; i++) {
        x[i].re = (double)(bench_rand(&seed) & 0xffff) / 65536.0;
        x[i].im = (double)(bench_rand(&seed) & 0xffff) / 65536.0;
    }
    bench_start();
    while (rounds--) {
        transform(1);
        transform(-1);
        for (unsigned i = 0; i < N; i++) {
            x[i].re /= N;
            x[i].im /= N;
        }
    }
    bench_end(BENCH_NAME, bench_hash(x, sizeof(x)));
    return 0;
}
