/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Mandelbrot set on a 128 x 128 grid, up to 256 iterations a point: multiplications and additions in
 * registers, a compare and branch on floating point each time round. Built for x87 and for SSE2. */
#include "bench.h"

#define SIDE  128
#define LIMIT 256

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 150);
    uint32_t sum = 0;
    bench_start();
    for (unsigned r = 0; r < rounds; r++)
        for (int row = 0; row < SIDE; row++)
            for (int column = 0; column < SIDE; column++) {
                double cr = -2.0 + 3.0 * column / SIDE + (double)r / 4096, ci = -1.5 + 3.0 * row / SIDE;
                double re = 0, im = 0, re2 = 0, im2 = 0;
                int n = 0;
                while (n < LIMIT && re2 + im2 < 4.0) {
                    im = 2 * re * im + ci;
                    re = re2 - im2 + cr;
                    re2 = re * re;
                    im2 = im * im;
                    n++;
                }
                sum = sum * 31 + (uint32_t)n;
            }
    bench_end(BENCH_NAME, sum);
    return 0;
}
