/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values for registers and memory: integers, floats of all widths and kinds, vectors, x87 and SSE state.
 * Chosen at random, but half of them from where instructions change their mind: limits, signs, NaNs,
 * denormals, what no longer fits the next narrower type. The same struct rng gives the same values
 * everywhere.
 */
#include <string.h>
#include "random.h"

/* ---- values ---- */

u32 value32(struct rng *r)
{
    static const u32 t[] = {0,           1,          2,          0x7f,   0x80,       0xff,
                            0x100,       0x7fff,     0x8000,     0xffff, 0x10000,    0x7fffffff,
                            0x80000000u, 0xffffffff, 0xfffffffe, 0x10,   0x1f,       0x20,
                            9,           0x0a,       0x99,       0x9a,   0x80008000, 0x7fff7fff};
    switch (below(r, 4)) {
    case 0:
        return t[below(r, ARRAY_SIZE(t))];
    case 1:
        return rnd(r) >> (rnd(r) & 31);
    default:
        return rnd(r);
    }
}

u32 float32(struct rng *r)
{
    static const u32 t[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
                            0x7fc00000, 0xffc00001, 0x7f800001, 0xff812345, 0x00000001, 0x807fffff,
                            0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x4f000000, 0xcf000000,
                            0x4effffff, 0x5f000000, 0x3f000000, 0x3effffff, 0x4b000001, 0x47000000};
    switch (below(r, 4)) {
    case 0:
    case 1:
        return t[below(r, ARRAY_SIZE(t))];
    case 2: /* of moderate size */
        return (rnd(r) & 0x807fffff) | (0x70 + below(r, 0x20)) << 23;
    default:
        return rnd(r);
    }
}

u64 float64(struct rng *r)
{
    static const u64 t[] = {0,
                            1ull << 63,
                            0x3ff0000000000000,
                            0xbff0000000000000,
                            0x7ff0000000000000,
                            0xfff0000000000000,
                            0x7ff8000000000000,
                            0x7ff0000000000001,
                            0xfff4000000000000,
                            1,
                            0x800fffffffffffff,
                            0x0010000000000000,
                            0x7fefffffffffffff,
                            0x41dfffffffc00000,
                            0x41e0000000000000,
                            0xc1e0000000000000,
                            0xc1e0000000200000,
                            0x43e0000000000000,
                            0x3fe0000000000000,
                            0x36a0000000000000, /* a float's smallest denormal */
                            0x380fffffc0000000,
                            0x47efffffe0000000, /* its largest number */
                            0x47effffff0000000};
    switch (below(r, 4)) {
    case 0:
    case 1:
        return t[below(r, ARRAY_SIZE(t))];
    case 2:
        return (next64(r) & 0x800fffffffffffff) | (u64)(0x3e0 + below(r, 0x40)) << 52;
    default:
        return next64(r);
    }
}

void float80(struct rng *r, u8 *b)
{
    u64 m = next64(r) | 1ull << 63;
    u16 e = (u16)(rnd(r) & 0x8000);

    switch (below(r, 12)) {
    case 0: /* zero */
        m = 0;
        break;
    case 1: /* infinity */
        m = 1ull << 63;
        e |= 0x7fff;
        break;
    case 2: /* quiet or signalling NaN */
        e |= 0x7fff;
        m = one_in(r, 2) ? m | 3ull << 62 : (m & ~(1ull << 62)) | 1;
        break;
    case 3: /* denormal, pseudo-denormal */
        m = one_in(r, 3) ? m : m & ~(1ull << 63);
        break;
    case 4: /* unnormal, pseudo-NaN, pseudo-infinity */
        m &= ~(1ull << 63);
        e |= (u16)(rnd(r) & 0x7fff);
        break;
    case 5: /* any exponent */
        e |= (u16)(rnd(r) & 0x7fff);
        break;
    case 6: /* small integers */
        m = 1ull << 63;
        e |= (u16)(0x3fff + below(r, 8));
        break;
    case 7: /* around the limits of integers */
        m = one_in(r, 2) ? 1ull << 63 : ~0ull << below(r, 50);
        m |= 1ull << 63;
        e |= (u16)(0x3fff + 13 + below(r, 52));
        break;
    case 8: /* around the limits of float and double */
        e |= (u16)((one_in(r, 2) ? 0x3fff - 127 : 0x3fff + 127) + (i32)below(r, 5) - 2);
        break;
    case 9:
        e |= (u16)((one_in(r, 2) ? 0x3fff - 1023 : 0x3fff + 1023) + (i32)below(r, 5) - 2);
        break;
    default:
        e |= (u16)(0x3fff - 20 + below(r, 40));
        break;
    }
    memcpy(b, &m, 8);
    memcpy(b + 8, &e, 2);
}

void vector128(struct rng *r, u8 *b)
{
    u32 kind = below(r, 4);

    for (u32 k = 0; k < 16; k += 4) {
        u32 w = kind == 0 ? float32(r) : kind == 3 ? value32(r) : rnd(r);
        memcpy(b + k, &w, 4);
    }
    if (kind == 1)
        for (u32 k = 0; k < 16; k += 8) {
            u64 d = float64(r);
            memcpy(b + k, &d, 8);
        }
    if (kind == 2) /* bytes and words at their limits */
        for (u32 k = 0; k < 16; k++)
            if (one_in(r, 2))
                b[k] = (u8)(below(r, 2) ? 0x80 : 0x7f) + (u8)(one_in(r, 4) ? 0x7f : 0);
}

void fp_state(struct rng *r, struct icase *c, u32 fpu)
{
    struct fpstate *f = &c->fp;

    if (fpu == 3 || one_in(r, 8)) {
        for (int n = 0; n < 8; n++)
            vector128(r, f->xmm[n]);
        f->mxcsr = 0x1f80 | (rnd(r) & 0x603f);
        if (one_in(r, 4))
            f->mxcsr |= rnd(r) & 0x8040; /* FTZ, DAZ */
        if (one_in(r, 8))
            f->mxcsr &= ~(rnd(r) & 0x1f80);
    }
    if (fpu == 3 && !one_in(r, 8))
        return;
    f->fcw = (u16)(0x7f | (rnd(r) & 0x0f00));
    if (one_in(r, 8))
        f->fcw &= (u16) ~(rnd(r) & 0x3f);
    if (one_in(r, 16))
        f->fcw |= 0x1000; /* infinity control: no meaning since the 387 */
    f->fsw = (u16)(rnd(r) & 0x7f00 & ~0x3800);
    f->fsw |= (u16)(below(r, 8) << 11);
    if (one_in(r, 8))
        f->fsw |= (u16)(rnd(r) & 0x7f);
    if (f->fsw & ~f->fcw & 0x3f)
        f->fsw |= 0x8080; /* ES and B */
    f->tags = one_in(r, 4) ? (u8)rnd(r) : one_in(r, 8) ? 0 : 0xff;
    for (int n = 0; n < 8; n++) {
        float80(r, f->st[n]);
        if (fpu == 2 && one_in(r, 2)) {
            vector128(r, f->st[n]);
            memset(f->st[n] + 8, 0xff, 2);
        }
    }
    if (one_in(r, 3)) /* equal operands, or nearly */
        memcpy(f->st[1 + below(r, 7)], f->st[0], 10);
}
