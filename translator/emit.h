/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host code emitter: appends x86-64 instructions to a buffer.
 *
 * An instruction is put together in a register and stored as a word of 8 bytes, of which the ones that count
 * are kept: what is behind them is overwritten by what follows. Most instructions are one word; longer ones
 * are two, prefixes up to the opcode and ModRM up to the displacement.
 *
 * Overflow is sticky: once the buffer has no room for a word nothing more is written and e->overflow is set,
 * so that emitters need no checks and the caller looks once at the end. Positions are offsets from the
 * buffer's start.
 */
#ifndef NOVT_TRANSLATOR_EMIT_H
#define NOVT_TRANSLATOR_EMIT_H

#include <string.h>
#include "base/types.h"

enum hreg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

struct emit {
    u8 *buf;
    u32 pos, last; /* last: where a word still has room */
    bool overflow;
};

/* cap: 8 at least */
static inline struct emit emit_to(u8 *buf, u32 cap)
{
    return (struct emit){.buf = buf, .last = cap - 8};
}

/* Up to 8 bytes, the first one lowest. */
static inline void e_word(struct emit *e, u64 bytes, u32 n)
{
    u32 pos = e->pos;

    if (unlikely(pos > e->last)) {
        e->overflow = true;
        return;
    }
    e->pos = pos + n;
    memcpy(e->buf + pos, &bytes, 8);
}
static inline void e8(struct emit *e, u8 b)
{
    e_word(e, b, 1);
}
static inline void e32(struct emit *e, u32 v)
{
    e_word(e, v, 4);
}

/* n bytes that do nothing, in the forms that processors' manuals recommend (SDM vol. 2, NOP). */
static inline void e_nops(struct emit *e, u32 n)
{
    static const u32 nop[9] = {0, 0x90, 0x9066, 0x1f0f, 0x401f0f, 0x441f0f, 0x441f0f66, 0x801f0f, 0x841f0f};

    for (; n >= 9; n -= 9) {
        e8(e, 0x66);
        e_word(e, nop[8], 8);
    }
    e_word(e, nop[n], n);
}

/* Pieces of an instruction: bytes, and how many. */
struct piece {
    u64 bytes;
    u32 n;
};
static inline struct piece p_join(struct piece a, struct piece b)
{
    return (struct piece){a.bytes | b.bytes << 8 * a.n, a.n + b.n};
}
static inline void e_piece(struct emit *e, struct piece p)
{
    e_word(e, p.bytes, p.n);
}

static inline struct piece p_byte(struct piece p, u8 b)
{
    return (struct piece){p.bytes | (u64)b << 8 * p.n, p.n + 1};
}
/* REX prefix, none if no bit is set, and the opcode: one byte, or 0F and another. */
static inline struct piece p_rex_op(u32 rex, u32 op)
{
    u32 n = (op & 0xff) == 0x0f ? 2 : 1;
    return rex ? (struct piece){0x40 | rex | op << 8, n + 1} : (struct piece){op, n};
}
static inline u32 rex_bits(int w, int reg, int index, int base)
{
    return (w ? 8u : 0) | (u32)(reg & 8) >> 1 | (u32)(index & 8) >> 2 | (u32)(base & 8) >> 3;
}
static inline struct piece p_op(int w, int reg, int index, int base, u32 op)
{
    return p_rex_op(rex_bits(w, reg, index, base), op);
}
static inline u8 modrm(int mod, int reg, int rm)
{
    return (u8)(mod << 6 | (reg & 7) << 3 | (rm & 7));
}
static inline u8 sib(int scale, int index, int base)
{
    return (u8)(((scale >> 1) - (scale >> 3)) << 6 | (index & 7) << 3 | (base & 7));
}
/* ModRM, SIB and displacement of [base + index * scale + disp]; index < 0: none. */
static inline struct piece p_mem(int reg, int base, int index, int scale, i32 disp)
{
    int mod = disp != (i8)disp ? 2 : disp || (base & 7) == 5;
    u32 n = mod == 2 ? 4 : (u32)mod;

    if (index < 0 && (base & 7) != 4)
        return (struct piece){modrm(mod, reg, base) | (u64)(u32)disp << 8, 1 + n};
    return (struct piece){
        modrm(mod, reg, 4) | sib(scale, index >= 0 ? index : 4, base) << 8 | (u64)(u32)disp << 16, 2 + n};
}
/* The same of [index * scale + disp32] and [disp32]: mod 0, SIB base 101. */
static inline struct piece p_mem_no_base(int reg, int index, int scale, i32 disp)
{
    return (struct piece){
        modrm(0, reg, 4) | (index >= 0 ? sib(scale, index, 5) : sib(1, 4, 5)) << 8 | (u64)(u32)disp << 16, 6};
}

/* REX prefix; emitted only if a bit is set. */
static inline void e_rex(struct emit *e, int w, int reg, int index, int base)
{
    u32 rex = rex_bits(w, reg, index, base);
    if (rex)
        e8(e, (u8)(0x40 | rex));
}
static inline void e_modrm(struct emit *e, int mod, int reg, int rm)
{
    e8(e, modrm(mod, reg, rm));
}
/* op reg, rm (register form); w: 64-bit; op as in p_op(). */
static inline void e_rr(struct emit *e, int w, u32 op, int reg, int rm)
{
    e_piece(e, p_byte(p_op(w, reg, 0, rm, op), modrm(3, reg, rm)));
}
/* The REX bits are the caller's. */
static inline void e_mem(struct emit *e, int reg, int base, int index, int scale, i32 disp)
{
    e_piece(e, p_mem(reg, base, index, scale, disp));
}
/* op reg, [base + index * scale + disp]: 8 bytes at most, with an opcode of one */
static inline void e_rm(struct emit *e, int w, u8 op, int reg, int base, int index, int scale, i32 disp)
{
    e_piece(e, p_join(p_op(w, reg, index < 0 ? 0 : index, base, op), p_mem(reg, base, index, scale, disp)));
}
/* mov byte [base + disp], imm */
static inline void e_mov_mi8(struct emit *e, int base, i32 disp, u8 imm)
{
    e_rex(e, 0, 0, 0, base);
    e8(e, 0xc6);
    e_mem(e, 0, base, -1, 1, disp);
    e8(e, imm);
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
    e_rr(e, 0, 0xb70f, dst, src);
}
/* movzx dst, word [base + disp]: no SIB, so that it is a word */
static inline void e_movzx16_mem(struct emit *e, int dst, int base, i32 disp)
{
    e_piece(e, p_join(p_op(0, dst, 0, base, 0xb70f), p_mem(dst, base, -1, 1, disp)));
}
static inline void e_mov_ri32(struct emit *e, int dst, u32 imm)
{
    e_piece(e, p_join(p_op(0, 0, 0, dst, 0xb8u | (dst & 7)), (struct piece){imm, 4}));
}
static inline void e_mov_ri64(struct emit *e, int dst, u64 imm)
{
    e_piece(e, p_op(1, 0, 0, dst, 0xb8u | (dst & 7)));
    e_word(e, imm, 8);
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
    e_piece(e, p_join(p_op(1, dst, 0, 0, 0x8d), (struct piece){modrm(0, dst, 5), 5}));
    return e->pos - 4;
}
/* jmp rel32 / jcc rel32: return the position of the rel32. */
static inline u32 e_jmp(struct emit *e)
{
    e_word(e, 0xe9, 5);
    return e->pos - 4;
}
static inline u32 e_jmp8(struct emit *e)
{
    e_word(e, 0xeb, 2);
    return e->pos - 1;
}
static inline u32 e_jcc8(struct emit *e, int cc)
{
    e_word(e, 0x70u | (u32)cc, 2);
    return e->pos - 1;
}
static inline u32 e_call(struct emit *e)
{
    e_word(e, 0xe8, 5);
    return e->pos - 4;
}
static inline u32 e_jcc(struct emit *e, int cc)
{
    e_word(e, 0x0f | (0x80u | (u32)cc) << 8, 6);
    return e->pos - 4;
}
/* adox reg, [base + disp] (ADX) */
static inline void e_adox(struct emit *e, int w, int reg, int base, i32 disp)
{
    e_piece(e, p_join((struct piece){0xf3, 1}, p_op(w, reg, 0, base, 0x380f)));
    e8(e, 0xf6);
    e_mem(e, reg, base, -1, 1, disp);
}
/* jrcxz rel8: returns the position of the rel8. */
static inline u32 e_jrcxz(struct emit *e)
{
    e_word(e, 0xe3, 2);
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
