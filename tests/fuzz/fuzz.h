/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the fuzz targets share: reading decisions from the input. Behind the end everything is zero. */
#ifndef NOVT_TESTS_FUZZ_H
#define NOVT_TESTS_FUZZ_H

#include <stddef.h>
#include <string.h>
#include "base/types.h"

struct in {
    const u8 *p, *end;
};

static inline u32 left(const struct in *in)
{
    return (u32)(in->end - in->p);
}

static inline u8 take8(struct in *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

static inline u16 take16(struct in *in)
{
    u16 lo = take8(in);
    return (u16)(lo | take8(in) << 8);
}

static inline u32 take32(struct in *in)
{
    u32 lo = take16(in);
    return lo | (u32)take16(in) << 16;
}

static inline void take(struct in *in, void *buf, u32 n)
{
    u32 have = n < left(in) ? n : left(in);
    if (have)
        memcpy(buf, in->p, have);
    memset((u8 *)buf + have, 0, n - have);
    in->p += have;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

#endif
