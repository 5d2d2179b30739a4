/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers from a seed, and values with corners from them (values.c). */
#ifndef NOVT_TESTS_INSN_RANDOM_H
#define NOVT_TESTS_INSN_RANDOM_H

#include "insn.h"

struct rng {
    u64 s;
};

static inline u64 next64(struct rng *r)
{
    u64 z = (r->s += 0x9e3779b97f4a7c15ull); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
static inline u32 rnd(struct rng *r)
{
    return (u32)(next64(r) >> 16);
}
static inline u32 below(struct rng *r, u32 n)
{
    return (u32)((next64(r) >> 32) * n >> 32);
}
static inline bool one_in(struct rng *r, u32 n)
{
    return below(r, n) == 0;
}

/* Half of what these return are limits, and what lies next to them. */
u32 value32(struct rng *r);
u32 float32(struct rng *r);
u64 float64(struct rng *r);
void float80(struct rng *r, u8 *b);
void vector128(struct rng *r, u8 *b);
/* x87 and SSE state for an instruction of this kind (struct insn's fpu). */
void fp_state(struct rng *r, struct icase *c, u32 fpu);

#endif
