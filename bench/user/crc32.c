/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CRC-32 by table, a byte at a time: dependent loads, shifts and xors. */
#include "bench.h"

#define N (1 << 20)
static uint32_t table[256];
static unsigned char data[N];

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 180);
    uint32_t seed = 12345, crc = 0;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        table[i] = c;
    }
    for (unsigned i = 0; i < N; i++)
        data[i] = (unsigned char)bench_rand(&seed);
    bench_start();
    while (rounds--) {
        uint32_t c = ~crc;
        for (unsigned i = 0; i < N; i++)
            c = table[(c ^ data[i]) & 0xff] ^ (c >> 8);
        crc = ~c;
    }
    bench_end("crc32", crc);
    return 0;
}
