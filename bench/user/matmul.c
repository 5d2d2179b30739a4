/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Product of two double matrices, a row of the second at a time: independent multiply-adds over consecutive
 * elements, which is how products are written where speed matters (row by column, each addition waits for the
 * one before it, and half the time is spent waiting). Built for x87 and SSE2. */
#include "bench.h"

#define N 96
static double a[N][N], b[N][N], c[N][N];

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 1200);
    uint32_t seed = 5;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (double)(bench_rand(&seed) & 0xffff) / 65536.0;
            b[i][j] = (double)(bench_rand(&seed) & 0xffff) / 65536.0;
        }
    bench_start();
    while (rounds--) {
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++)
                c[i][j] = 0;
            for (int k = 0; k < N; k++)
                for (int j = 0; j < N; j++)
                    c[i][j] += a[i][k] * b[k][j];
        }
        for (int i = 0; i < N; i++) /* feed some of it back, so that no round can be skipped */
            a[i][i] = c[i][i] / (1.0 + c[i][i]);
    }
    bench_end(BENCH_NAME, bench_hash(c, sizeof(c)));
    return 0;
}
