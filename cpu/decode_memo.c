/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoding by what was decoded before.
 *
 * What an instruction is follows from its prefixes, its opcode, the reg field of ModRM and whether rm names
 * memory; only the numbers differ: registers of the operand, displacement, immediate. So insn_decode() is
 * asked once for each such combination, and its answer is kept as a template, as short as can be; another
 * instruction of the kind is a copy of it with the numbers read from the bytes.
 *
 * Only what is frequent and simple goes this way: 32-bit code, 32-bit addresses, at most one of 66, F0, F2,
 * F3 besides one segment override, one- and two-byte opcodes, no x87, MMX or SSE (whose thunks belong to the
 * encoding), nothing undefined. All else is insn_decode()'s. The unit test compares the two over all opcodes.
 *
 * Light code around a heavy call, of which its owner is told. A memo belongs to one CPU model and one thread.
 * It is bounded: when TEMPLATES are there, no more are learned.
 */
#include <stdlib.h>
#include <string.h>
#include "cpu/decode.h"

#define TEMPLATES 4096u /* more than there are kinds */

enum pfx_kind { PK_NONE, PK_66, PK_LOCK, PK_REPNE, PK_REP, PK_COUNT };

#define TWO_BYTE 0x100u /* opcodes behind 0F */
#define OPCODES  0x200u

/* memo->opcode[]: which bits of a key count */
#define KEY_MODRM 1u    /* there is a ModRM byte: whether its rm is a register */
#define KEY_GROUP 0x0eu /* its reg field, part of the opcode */

struct template
{
    u64 kind[INSN_KIND / 8];
    struct insn_shape shape;
};

struct insn_memo {
    const struct cpu_model *model;
    void (*heavy)(void *opaque);
    void *opaque;
    u8 opcode[OPCODES];
    u16 index[PK_COUNT][OPCODES][16]; /* last: the key; 1 + template, 0: none */
    u32 n;
    struct template templates[TEMPLATES];
};

struct insn_memo *insn_memo_create(const struct cpu_model *model, void (*heavy)(void *opaque), void *opaque)
{
    struct insn_memo *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->model = model;
    m->heavy = heavy;
    m->opaque = opaque;
    return m;
}

void insn_memo_destroy(struct insn_memo *m)
{
    free(m);
}

/* Opcodes that the reg field of ModRM extends, or that exist for some values of it only (SDM vol. 2, table
 * */
static bool group(const struct insn *i)
{
    u8 op = i->opcode;

    if (i->map == 0)
        return (op >= 0x80 && op <= 0x83) || op == 0x8c || op == 0x8e || op == 0xc0 || op == 0xc1 ||
               op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op <= 0xd3) || op == 0xf6 || op == 0xf7 ||
               op >= 0xfe;
    return op == 0x0d || (op >= 0x18 && op <= 0x1f) || op == 0xb9 || op == 0xba || op == 0xff;
}

static u32 opcode_number(const struct insn *i)
{
    return i->map == 0 ? i->opcode : TWO_BYTE + i->opcode;
}

/* Where the kind of instruction that was decoded goes; NULL: it is none. */
static u16 *place(struct insn_memo *m, const struct insn *i)
{
    enum pfx_kind kind;

    switch (i->pfx) {
    case 0:
        kind = PK_NONE;
        break;
    case PFX_66:
        kind = PK_66;
        break;
    case PFX_LOCK:
        kind = PK_LOCK;
        break;
    case PFX_REPNE:
        kind = PK_REPNE;
        break;
    case PFX_REP:
        kind = PK_REP;
        break;
    default:
        return NULL;
    }
    return &m->index[kind][opcode_number(i)][i->has_modrm ? (group(i) ? i->reg << 1 : 0) | (i->mod == 3) : 0];
}

/* Opcodes whose meaning depends on more than the key says: the rm field, or a second immediate. */
static bool special(const struct insn *i)
{
    if (i->map == 0)
        return i->opcode == 0x9a || i->opcode == 0xea || i->opcode == 0xc8 || i->opcode == 0x8f ||
               i->opcode == 0x62 || i->opcode == 0xc4 || i->opcode == 0xc5;
    return i->opcode < 0x02 || (i->opcode >= 0x20 && i->opcode < 0x28) || i->opcode == 0xae ||
           i->opcode == 0xc7;
}

static __attribute__((noinline)) int learn(struct insn_memo *m, const u8 *bytes, u32 avail, bool cs32,
                                           struct insn *out)
{
    struct insn_shape shape;
    u16 *at;
    int r;

    m->heavy(m->opaque);
    r = insn_decode_shape(m->model, bytes, avail, cs32, out, &shape);

    if (r || !cs32 || avail < INSN_MAX || out->map > 1 || out->fpu || out->fn == insn_ud ||
        (out->pfx & PFX_67) || special(out) || out->opc_off > (out->pfx != 0) + (out->seg_over != S_NONE) ||
        m->n == TEMPLATES)
        return r;
    at = place(m, out);
    if (!at || *at)
        return r;
    m->opcode[opcode_number(out)] = out->has_modrm ? KEY_MODRM | (group(out) ? KEY_GROUP : 0) : 0;
    memcpy(m->templates[m->n].kind, out, INSN_KIND);
    m->templates[m->n].shape = shape;
    *at = (u16)++m->n;
    return r;
}

/* Prefixes: enum pfx_kind, P_SEG + segment, or P_OTHER. */
#define P_SEG   16u
#define P_OTHER 32u
static const u8 prefix[256] = {
    [0x66] = PK_66,        [0xf0] = PK_LOCK,      [0xf2] = PK_REPNE,     [0xf3] = PK_REP,
    [0x26] = P_SEG + S_ES, [0x2e] = P_SEG + S_CS, [0x36] = P_SEG + S_SS, [0x3e] = P_SEG + S_DS,
    [0x64] = P_SEG + S_FS, [0x65] = P_SEG + S_GS, [0x67] = P_OTHER};

/* The len bytes of the instruction, and zeros behind them, as insn_decode() leaves it. INSN_MAX bytes can be
 * read. */
static inline void copy_raw(u8 *raw, const u8 *b, u32 len)
{
    u64 lo, hi;

    memcpy(&lo, b, 8);
    memcpy(&hi, b + 7, 8);
    if (len < 8) {
        lo &= (1ull << len * 8) - 1;
        hi = 0;
    } else if (len < INSN_MAX) {
        hi &= (1ull << (len - 7) * 8) - 1;
    }
    memcpy(raw + 7, &hi, 8); /* first: raw[7] is in both */
    memcpy(raw, &lo, 8);
}

static inline u32 load32(const u8 *p)
{
    u32 v;
    memcpy(&v, p, 4);
    return v;
}

/* Operand of ModRM and what follows it (SDM vol. 2, tables 2-2 and 2-3), for 32-bit addresses. Returns the
 * offset behind it. */
static inline __attribute__((always_inline)) u32 operand(struct insn *o, const u8 *b, u32 at)
{
    u8 modrm = b[at++], mod = modrm >> 6, rm = modrm & 7;

    o->mod = mod;
    o->reg = modrm >> 3 & 7;
    o->rm = rm;
    if (mod == 3)
        return at;
    if (rm == 4) {
        u8 sib = b[at++], base = sib & 7, index = sib >> 3 & 7;
        o->scale = (u8)(1 << (sib >> 6));
        o->index = index == 4 ? NOREG : index;
        o->base = base == 5 && mod == 0 ? NOREG : base;
        if (base == 5 && mod == 0)
            mod = 2; /* disp32 */
    } else if (rm == 5 && mod == 0) {
        o->base = NOREG;
        o->index = NOREG;
        o->scale = 1;
        mod = 2;
    } else {
        o->base = rm;
        o->index = NOREG;
        o->scale = 1;
    }
    if (mod == 1) {
        o->disp = (i8)b[at];
        at += 1;
    } else if (mod == 2) {
        o->disp = (i32)load32(b + at);
        at += 4;
    } else {
        o->disp = 0;
    }
    if (o->seg_over == S_NONE)
        o->seg = o->base == R_EBP || o->base == R_ESP ? S_SS : S_DS;
    return at;
}

static inline __attribute__((always_inline)) void immediate(struct insn *o, const struct insn_shape *s,
                                                            const u8 *b, u32 at)
{
    switch (s->imm_bytes) {
    case 1:
        o->imm = s->imm_signed ? (u32)(i32)(i8)b[at] : b[at];
        break;
    case 2: {
        u16 v = (u16)(b[at] | b[at + 1] << 8);
        o->imm = s->imm_signed ? (u32)(i32)(i16)v : v;
        break;
    }
    case 4:
        o->imm = load32(b + at);
        break;
    default:
        return;
    }
    if (s->imm_flags)
        o->fl_read = insn_flags_read(o, s->rd, o->fl_write);
}

/* The instruction, if there is a template for it. INSN_MAX bytes can be read. Inline: most of what
 * translating asks for goes this way. */
static inline __attribute__((always_inline)) bool by_template(struct insn_memo *m, const u8 *bytes,
                                                              struct insn *out)
{
    enum pfx_kind kind = PK_NONE;
    const struct template *t;
    u8 seg = S_NONE, pfx, counts;
    u32 n = 0, at, op, k;

    while (unlikely((pfx = prefix[bytes[n]]))) {
        /* two at most, so that the longest form (14 bytes) is within INSN_MAX */
        if (unlikely(n == 2 || pfx == P_OTHER || (pfx < P_SEG ? kind != PK_NONE : seg != S_NONE)))
            return false;
        if (pfx < P_SEG)
            kind = pfx;
        else
            seg = pfx - P_SEG;
        n++;
    }
    at = n;
    op = bytes[at++];
    if (op == 0x0f)
        op = TWO_BYTE + bytes[at++];
    counts = m->opcode[op];
    k = m->index[kind][op][((bytes[at] >> 2 & KEY_GROUP) | (bytes[at] >= 0xc0)) & counts];
    if (unlikely(!k))
        return false;
    t = &m->templates[k - 1];
    memcpy(out, t->kind, INSN_KIND);
    out->seg = seg == S_NONE ? S_DS : seg;
    out->seg_over = seg;
    out->mod = out->reg = out->rm = out->scale = 0;
    out->base = out->index = NOREG;
    out->opc_off = (u8)n;
    out->modrm_off = 0;
    out->disp = 0;
    out->imm = out->imm2 = 0;
    out->thunk = NULL;
    if (counts & KEY_MODRM) {
        out->modrm_off = (u8)at;
        at = operand(out, bytes, at);
    }
    out->imm_off = (u8)at;
    if (t->shape.imm_bytes) {
        immediate(out, &t->shape, bytes, at);
        at += t->shape.imm_bytes;
    }
    out->len = (u8)at;
    copy_raw(out->raw, bytes, at);
    return true;
}

/* Near the page's end: what is behind it must not matter. */
static __attribute__((noinline)) bool near_end(struct insn_memo *m, const u8 *bytes, u32 avail,
                                               struct insn *out)
{
    u8 b[INSN_MAX];

    for (u32 n = 0; n < INSN_MAX; n++)
        b[n] = n < avail ? bytes[n] : 0;
    return by_template(m, b, out) && out->len <= avail;
}

int insn_memo_decode(struct insn_memo *m, const u8 *bytes, u32 avail, bool cs32, struct insn *out)
{
    if (likely(cs32 && avail >= INSN_MAX)) {
        if (likely(by_template(m, bytes, out)))
            return 0;
    } else if (cs32 && near_end(m, bytes, avail, out)) {
        return 0;
    }
    return learn(m, bytes, avail, cs32, out);
}
