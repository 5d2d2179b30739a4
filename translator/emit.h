/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host code emitter: appends x86-64 instructions to a buffer.
 *
 * Overflow is sticky: once the buffer is full nothing more is written and e->overflow is set, so that
 * emitters need no checks and the caller looks once at the end. Positions are offsets from the buffer's
 * start.
 */
#ifndef NOVT_TRANSLATOR_EMIT_H
#define NOVT_TRANSLATOR_EMIT_H

#include <string.h>
#include "base/types.h"

enum hreg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

struct emit {
    u8 *buf;
    u32 pos, cap;
    bool overflow;
};

static inline void e8(struct emit *e, u8 b)
{
    if (unlikely(e->pos >= e->cap)) {
        e->overflow = true;
        return;
    }
    e->buf[e->pos++] = b;
}
static inline void e32(struct emit *e, u32 v)
{
    if (unlikely(e->pos + 4 > e->cap)) {
        e->overflow = true;
        return;
    }
    memcpy(e->buf + e->pos, &v, 4);
    e->pos += 4;
}
static inline void e64(struct emit *e, u64 v)
{
    e32(e, (u32)v);
    e32(e, (u32)(v >> 32));
}

/* n bytes that do nothing, in the forms that processors' manuals recommend (SDM vol. 2, NOP). */
static inline void e_nops(struct emit *e, u32 n)
{
    while (n) {
        u32 len = n < 9 ? n : 9, modrm = len > 6 ? 0x80 : len > 3 ? 0x40 : 0;
        bool o66 = len == 2 || len == 6 || len == 9, sib = len == 5 || len == 6 || len > 7;
        n -= len;
        if (o66)
            e8(e, 0x66);
        if (len < 3) {
            e8(e, 0x90);
            continue;
        }
        e8(e, 0x0f);
        e8(e, 0x1f);
        e8(e, (u8)(modrm | (sib ? 4 : 0)));
        for (u32 k = 3u + o66; k < len; k++)
            e8(e, 0);
    }
}

/* REX prefix; emitted only if a bit is set. */
static inline void e_rex(struct emit *e, int w, int reg, int index, int base)
{
    u8 r = 0x40 | (w ? 8 : 0) | ((reg & 8) ? 4 : 0) | ((index & 8) ? 2 : 0) | ((base & 8) ? 1 : 0);
    if (r != 0x40)
        e8(e, r);
}
static inline void e_modrm(struct emit *e, int mod, int reg, int rm)
{
    e8(e, (u8)(mod << 6 | (reg & 7) << 3 | (rm & 7)));
}
/* op reg, rm (register form); w: 64-bit. */
static inline void e_rr(struct emit *e, int w, u8 op, int reg, int rm)
{
    e_rex(e, w, reg, 0, rm);
    e8(e, op);
    e_modrm(e, 3, reg, rm);
}
/* ModRM, SIB and displacement of [base + index * scale + disp]; index < 0: none. The REX bits are the
 * caller's. */
static inline void e_mem(struct emit *e, int reg, int base, int index, int scale, i32 disp)
{
    int mod = disp == 0 && (base & 7) != 5 ? 0 : disp >= -128 && disp <= 127 ? 1 : 2;
    if (index >= 0 || (base & 7) == 4) {
        int ss = scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
        e_modrm(e, mod, reg, 4);
        e8(e, (u8)(ss << 6 | ((index >= 0 ? index : 4) & 7) << 3 | (base & 7)));
    } else {
        e_modrm(e, mod, reg, base);
    }
    if (mod == 1)
        e8(e, (u8)disp);
    else if (mod == 2)
        e32(e, (u32)disp);
}
/* op reg, [base + index * scale + disp] */
static inline void e_rm(struct emit *e, int w, u8 op, int reg, int base, int index, int scale, i32 disp)
{
    e_rex(e, w, reg, index < 0 ? 0 : index, base);
    e8(e, op);
    e_mem(e, reg, base, index, scale, disp);
}

static inline void e_mov_rr32(struct emit *e, int dst, int src)
{
    e_rr(e, 0, 0x8b, dst, src);
}
static inline void e_mov_rr64(struct emit *e, int dst, int src)
{
    e_rr(e, 1, 0x8b, dst, src);
}
/* movzx dst, src16 */
static inline void e_movzx16(struct emit *e, int dst, int src)
{
    e_rex(e, 0, dst, 0, src);
    e8(e, 0x0f);
    e8(e, 0xb7);
    e_modrm(e, 3, dst, src);
}
static inline void e_mov_ri32(struct emit *e, int dst, u32 imm)
{
    e_rex(e, 0, 0, 0, dst);
    e8(e, 0xb8 | (dst & 7));
    e32(e, imm);
}
static inline void e_mov_ri64(struct emit *e, int dst, u64 imm)
{
    e_rex(e, 1, 0, 0, dst);
    e8(e, 0xb8 | (dst & 7));
    e64(e, imm);
}
static inline void e_lea32(struct emit *e, int dst, int base, int index, int scale, i32 disp)
{
    e_rm(e, 0, 0x8d, dst, base, index, scale, disp);
}
static inline void e_lea64(struct emit *e, int dst, int base, int index, int scale, i32 disp)
{
    e_rm(e, 1, 0x8d, dst, base, index, scale, disp);
}
/* lea dst, [rip + target]: returns the position of the rel32 to fix up. */
static inline u32 e_lea_rip(struct emit *e, int dst)
{
    e_rex(e, 1, dst, 0, 0);
    e8(e, 0x8d);
    e_modrm(e, 0, dst, 5);
    e32(e, 0);
    return e->pos - 4;
}
/* jmp rel32 / jcc rel32: return the position of the rel32. */
static inline u32 e_jmp(struct emit *e)
{
    e8(e, 0xe9);
    e32(e, 0);
    return e->pos - 4;
}
static inline u32 e_call(struct emit *e)
{
    e8(e, 0xe8);
    e32(e, 0);
    return e->pos - 4;
}
static inline u32 e_jcc(struct emit *e, int cc)
{
    e8(e, 0x0f);
    e8(e, (u8)(0x80 | cc));
    e32(e, 0);
    return e->pos - 4;
}
/* adox reg, [base + disp] (ADX) */
static inline void e_adox(struct emit *e, int w, int reg, int base, i32 disp)
{
    e8(e, 0xf3);
    e_rex(e, w, reg, 0, base);
    e8(e, 0x0f);
    e8(e, 0x38);
    e8(e, 0xf6);
    e_mem(e, reg, base, -1, 1, disp);
}
/* jrcxz rel8: returns the position of the rel8. */
static inline u32 e_jrcxz(struct emit *e)
{
    e8(e, 0xe3);
    e8(e, 0);
    return e->pos - 1;
}
static inline void e_fix8(struct emit *e, u32 at, u32 target)
{
    if (!e->overflow)
        e->buf[at] = (u8)(target - (at + 1));
}
static inline void e_fix32(struct emit *e, u32 at, u32 target)
{
    u32 rel = target - (at + 4);
    if (!e->overflow)
        memcpy(e->buf + at, &rel, 4);
}

#endif
