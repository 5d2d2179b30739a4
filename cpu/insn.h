/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One decoded guest instruction, as the interpreter and the translator see it. */
#ifndef NOVT_CPU_INSN_H
#define NOVT_CPU_INSN_H

#include "cpu/cpu.h"

#define INSN_MAX 15
#define NOREG    0xff

struct insn;
/* Executes the instruction. On entry v->next_eip = v->eip + len; branches change
 * it. Returns CPU_OK or CPU_FAULT. */
typedef int (*insn_fn)(struct vcpu *v, const struct insn *i);

struct insn {
    /* Of what kind it is: alike in all that differ in registers and numbers only. */
    insn_fn fn;
    u16 fl_read, fl_write; /* arithmetic flags and DF (FL_HOST bits) read; written (or left undefined) */
    u16 mnemonic;          /* ZydisMnemonic */
    u16 memsize; /* bytes accessed by the modrm memory operand, 0 if it is not accessed (lea, nop, invlpg) */
    u8 map;      /* opcode map: 0 = one byte, 1 = 0F, 2 = 0F 38, 3 = 0F 3A */
    u8 opcode;   /* last opcode byte */
    u8 opsize;   /* operand-size attribute in bytes: 2 or 4 */
    u8 adsize;   /* address-size attribute in bytes: 2 or 4 */
    u8 pfx;      /* PFX_* */
    u8 has_modrm;
    u8 has_mem;     /* modrm names memory (mod != 3) */
    bool sensitive; /* must not be copied (sensitive.c) */
    u16 fpu_attr;   /* FPA_* of cpu/fpu.h, set by fpu_lookup() */
    u8 fpu;         /* x87/MMX/SSE class: 0 none, 1 x87, 2 MMX, 3 SSE/SSE2 */

    /* The rest. */
    u8 len;                /* bytes, 1..15 */
    u8 seg;                /* segment of the memory operand (override applied), S_* */
    u8 seg_over;           /* the override prefix, or S_NONE */
    u8 mod, reg, rm;       /* ModRM; valid if has_modrm */
    u8 base, index, scale; /* base/index: enum gpr or NOREG; scale: 1, 2, 4, 8 */
    u8 opc_off;            /* offset of the opcode byte(s) within raw: after prefixes, at 0F if map > 0 */
    u8 modrm_off;          /* offset of ModRM in raw, if has_modrm */
    u8 imm_off;            /* offset of the first immediate byte, or len */
    void *thunk;           /* host code for x87/MMX/SSE (cpu/fpu.c), or NULL */
    i32 disp;
    u32 imm;  /* first immediate, sign-extended where the instruction does; branch displacement; moffs address
               */
    u32 imm2; /* far selector, or second immediate of enter */
    u8 raw[INSN_MAX];
};
/* Bytes that hold the kind, in words: the last one has some of the rest. */
#define INSN_KIND ALIGN_UP(offsetof(struct insn, len), 8u)

#define PFX_LOCK  0x01
#define PFX_REP   0x02 /* F3 */
#define PFX_REPNE 0x04 /* F2 */
#define PFX_66    0x08
#define PFX_67    0x10

/* Decodes the instruction at bytes[0..avail). cs32: default sizes. model: instructions that it lacks decode
 * to a valid insn whose fn raises #UD. Returns 0; -1 if avail is too short (need more bytes: the next page);
 * 1 if longer than 15 bytes (#GP(0)). Undefined encodings return 0 with fn raising #UD. Heavy code: the
 * caller parks the FPU. */
int insn_decode(const struct cpu_model *model, const u8 *bytes, u32 avail, bool cs32, struct insn *out);
/* The same by way of what was decoded before (decode_memo.c): the same answers, faster. A memo is for one
 * model and one thread; NULL: no memory. Light, but heavy() is called before it asks insn_decode(). */
struct insn_memo *insn_memo_create(const struct cpu_model *model, void (*heavy)(void *opaque), void *opaque);
void insn_memo_destroy(struct insn_memo *m);
int insn_memo_decode(struct insn_memo *m, const u8 *bytes, u32 avail, bool cs32, struct insn *out);
/* Intel-syntax text of an instruction at address eip. Heavy. */
void insn_format(const struct insn *i, u32 eip, bool cs32, char *buf, size_t size);

/* Fetches and decodes at linear address cs.base + eip, through the decode cache. CPU_OK with *out (owned by
 * the cache, valid until the next call), or CPU_FAULT. */
int insn_fetch(struct vcpu *v, const struct insn **out);

/* Offset of the memory operand. */
static inline u32 insn_ea(const struct vcpu *v, const struct insn *i)
{
    u32 a = (u32)i->disp;
    if (i->base != NOREG)
        a += v->gpr[i->base];
    if (i->index != NOREG)
        a += v->gpr[i->index] * i->scale;
    return i->adsize == 2 ? a & 0xffff : a;
}

/* Handler tables contributed by the parts of the interpreter; each returns NULL for instructions that are not
 * its own. */
insn_fn int_lookup(const struct insn *i); /* cpu/interp_int.c etc.: integer, string, near control flow */
insn_fn
sys_lookup(const struct insn *i);   /* cpu/system.c: far transfers, segment loads, system instructions, I/O */
insn_fn fpu_lookup(struct insn *i); /* cpu/fpu.c: x87, MMX, SSE; prepares i->thunk */
int insn_ud(struct vcpu *v, const struct insn *i); /* raises #UD */

#endif
