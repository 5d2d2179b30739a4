/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LZ77 with hash chains, and back: matches of 4 to 258 bytes at up to 32 KiB distance, greedy. The input is
 * made of words, so that it compresses about as text does. Byte loads, data-dependent branches, short copies.
 *
 * Format: a control byte for eight items, lowest bit first; 0: a literal byte; 1: distance - 1 (two bytes,
 * low first) and length - 4.
 */
#include "bench.h"

#define SIZE     (256 << 10)
#define DISTANCE (32 << 10)
#define MIN      4
#define MAX      (MIN + 255)
#define HASH     (1 << 14)
#define TRIES    16

static unsigned char text[SIZE], packed[SIZE + SIZE / 8 + 16], back[SIZE];
static int head[HASH], chain[DISTANCE];

static unsigned hash4(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v * 2654435761u >> 18;
}

static void insert(int at)
{
    unsigned h = hash4(text + at);
    chain[at & (DISTANCE - 1)] = head[h];
    head[h] = at;
}

static int match_length(const unsigned char *a, const unsigned char *b, int limit)
{
    int n = 0;
    while (n < limit && a[n] == b[n])
        n++;
    return n;
}

static int compress(void)
{
    unsigned char *out = packed, *control = out++;
    int bits = 0, at = 0;
    *control = 0;
    for (int i = 0; i < HASH; i++)
        head[i] = -1;
    while (at < SIZE) {
        int best = 0, from = 0;
        if (at + MIN <= SIZE) {
            int limit = SIZE - at < MAX ? SIZE - at : MAX, tries = TRIES;
            for (int c = head[hash4(text + at)]; c >= 0 && at - c < DISTANCE && tries--;
                 c = chain[c & (DISTANCE - 1)]) {
                int n = match_length(text + c, text + at, limit);
                if (n > best) {
                    best = n;
                    from = c;
                    if (n == limit)
                        break;
                }
            }
        }
        if (bits == 8) {
            control = out++;
            *control = 0;
            bits = 0;
        }
        if (best >= MIN) {
            unsigned distance = (unsigned)(at - from - 1);
            *control |= (unsigned char)(1 << bits);
            *out++ = (unsigned char)distance;
            *out++ = (unsigned char)(distance >> 8);
            *out++ = (unsigned char)(best - MIN);
        } else {
            best = 1;
            *out++ = text[at];
        }
        bits++;
        for (; best; best--, at++)
            if (at + MIN <= SIZE)
                insert(at);
    }
    return (int)(out - packed);
}

static int expand(int size)
{
    const unsigned char *in = packed, *end = packed + size;
    int at = 0;
    while (in < end) {
        unsigned control = *in++;
        for (int bit = 0; bit < 8 && in < end; bit++, control >>= 1) {
            if (control & 1) {
                int from = at - 1 - (in[0] | in[1] << 8), n = in[2] + MIN;
                in += 3;
                while (n--)
                    back[at++] = back[from++];
            } else {
                back[at++] = *in++;
            }
        }
    }
    return at;
}

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 120), total = 0;
    uint32_t seed = 77;
    unsigned char words[512][12];
    for (int w = 0; w < 512; w++)
        for (int i = 0; i < 12; i++)
            words[w][i] = (unsigned char)('a' + bench_rand(&seed) % 26);
    for (int at = 0; at < SIZE;) {
        /* Small numbers are more likely than large ones, as with the words of a language. */
        unsigned r = bench_rand(&seed), w = (r & 511) * ((r >> 9) & 511) >> 9, n = 2 + w % 10;
        for (unsigned i = 0; i < n && at < SIZE; i++)
            text[at++] = words[w][i];
        if (at < SIZE)
            text[at++] = r >> 28 ? ' ' : '\n';
    }
    bench_start();
    while (rounds--) {
        int size = compress();
        if (expand(size) != SIZE || memcmp(text, back, SIZE))
            return 1;
        total = total * 31 + (unsigned)size;
        text[total % SIZE] ^= 1;
    }
    bench_end("lz", total ^ bench_hash(packed, sizeof(packed)));
    return 0;
}
