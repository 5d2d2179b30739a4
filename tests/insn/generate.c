/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cases from numbers: seed and n give the same case everywhere, so that processes can share the work and a
 * failure can be named.
 *
 * A form is chosen (all alike), then prefixes, ModRM, SIB and immediate; then the instruction is decoded, and
 * state is made for it: an address for its memory operand - within a page, across two, where the first or the
 * second faults, beyond a segment's limit - and the registers that give that address; values with corners;
 * flags; x87 and SSE state with all rounding and precision modes, some exceptions unmasked, stacks too full
 * and too empty. Faults stay a minority, since each costs a signal.
 */
#include <stdlib.h>
#include <string.h>
#include <Zydis/Zydis.h>
#include "base/log.h"
#include "cpu/fpu.h"
#include "random.h"

static u16 any_selector(struct rng *r)
{
    switch (below(r, 10)) {
    case 0:
        return (u16)below(r, 4);
    case 1:
        return (u16)(SEL(below(r, SG_COUNT)) - below(r, 3)); /* another RPL */
    case 2:
        return (u16)(SG_COUNT + below(r, 4000)) << 3 | 7; /* beyond the limit */
    default:
        return SEL(below(r, SG_COUNT));
    }
}

/* ---- state ---- */

/* A linear address for an operand of size bytes. */
static u32 operand_address(struct rng *r, u32 size, u32 align)
{
    static const u8 rw[] = {1, 2, 5, 7, 10, 11};
    u32 page = rw[below(r, 6)], half = size ? 1 + below(r, size) : 0;

    if (!size)
        size = 1;
    switch (below(r, 32)) {
    case 0: /* absent, read-only, executable: whole operand */
        return PAGE_LIN(below(r, REGION_PAGES)) + below(r, PAGE_SIZE - size);
    case 1:
    case 2: /* across two writable pages */
        return PAGE_LIN(one_in(r, 2) ? 2 : 11) - half % size;
    case 3: { /* across some other border */
        u32 p = 1 + below(r, REGION_PAGES - 1);
        return PAGE_LIN(p) - half % size;
    }
    case 4: /* at the very end or start of a page */
        return one_in(r, 2) ? PAGE_LIN(page) : PAGE_LIN(page + 1) - size;
    case 5: /* misaligned */
        return PAGE_LIN(page) + below(r, PAGE_SIZE - size);
    default:
        return PAGE_LIN(page) + (below(r, PAGE_SIZE - size) & ~(align ? align - 1 : 3u));
    }
}

static bool data_segment(u32 id)
{
    return !segments[id].absent && id != SG_XONLY;
}

static void choose_segments(struct rng *r, struct icase *c)
{
    static const u8 cs[] = {SG_CODE32, SG_CODE32, SG_CODE32,  SG_CODE32,
                            SG_CODE16, SG_CODE16, SG_CODE32B, SG_CODESHORT};
    static const u8 ss[] = {SG_DATA32, SG_DATA16, SG_DATA16, SG_DATA32B,
                            SG_DOWN32, SG_DOWN16, SG_PAGES,  SG_ODD};

    c->sel[S_CS] = SEL(cs[below(r, 8)]);
    bool flat = !one_in(r, 3);
    if (c->sel[S_CS] == SEL(SG_CODE16))
        flat = one_in(r, 4);
    for (int s = 0; s < 6; s++) {
        if (s == S_CS)
            continue;
        if (flat) {
            c->sel[s] = s >= S_FS && one_in(r, 2) ? SEL(SG_DATA32B) : SEL(SG_DATA32);
        } else if (s == S_SS) {
            c->sel[s] = SEL(ss[below(r, 8)]);
        } else {
            u32 id = below(r, SG_COUNT);
            c->sel[s] = data_segment(id) && one_in(r, 3) ? SEL(id)
                        : one_in(r, 16)                  ? 0
                                                         : SEL(one_in(r, 2) ? SG_DATA16 : SG_DATA32B);
        }
    }
}

static u32 seg_base(const struct icase *c, int s)
{
    struct seg sg;
    segment_reg(c->sel[s], &sg);
    return sg.base;
}

/* The address as an offset of segment s; now and then one around the segment's limit instead. */
static u32 to_offset(struct rng *r, const struct icase *c, int s, u32 lin, u32 size)
{
    struct seg sg;

    segment_reg(c->sel[s], &sg);
    if (sg.limit != ~0u && one_in(r, 12))
        return sg.limit + 2 - below(r, size + 3);
    return lin - sg.base;
}

/* Sets a register, all of it or its low word. */
static void set_reg(struct icase *c, u32 g, u32 v, u32 size)
{
    c->gpr[g] = size == 2 ? (c->gpr[g] & 0xffff0000) | (v & 0xffff) : v;
}

static void add_patch(struct icase *c, u32 lin, const void *b, u32 len)
{
    struct patch *p = &c->patch[c->n_patch];

    if (c->n_patch == MAX_PATCH || !len)
        return;
    for (u32 n = 0; n < len; n++) /* only into pages of data */
        if (lin + n - BASE >= REGION || page_kind[(lin + n - BASE) >> PAGE_SHIFT] == PK_ABSENT ||
            page_kind[(lin + n - BASE) >> PAGE_SHIFT] == PK_RX ||
            page_kind[(lin + n - BASE) >> PAGE_SHIFT] == PK_RO)
            return;
    p->lin = lin;
    p->len = (u16)len;
    memcpy(p->b, b, len);
    c->n_patch++;
}

/* Makes registers (or the displacement in the code) such that the ModRM operand is at lin. */
static u32 aim(struct rng *r, struct icase *c, const struct insn *in, u32 lin, u32 size)
{
    u32 off = to_offset(r, c, in->seg, lin, size ? size : 1);
    u32 mask = in->adsize == 2 ? 0xffff : ~0u;

    if (in->base == NOREG && in->index == NOREG) {
        u32 at = in->modrm_off + 1u + (in->adsize == 4 && in->rm == 4);
        memcpy(c->code + at, &off, in->adsize);
    } else if (in->base != NOREG && in->index == in->base) {
        c->gpr[in->base] = (off - (u32)in->disp) / (in->scale + 1u);
    } else if (in->base != NOREG) {
        u32 x = in->index != NOREG ? c->gpr[in->index] * in->scale : 0;
        set_reg(c, in->base, off - (u32)in->disp - x, in->adsize);
    } else {
        set_reg(c, in->index, (off - (u32)in->disp) / in->scale, in->adsize);
    }
    /* where it really is */
    u32 ea = (u32)in->disp;
    if (in->base == NOREG && in->index == NOREG)
        ea = off;
    if (in->base != NOREG)
        ea += c->gpr[in->base];
    if (in->index != NOREG)
        ea += c->gpr[in->index] * in->scale;
    return seg_base(c, in->seg) + (ea & mask);
}

/* Where control may go: an exit for the code's size, rarely anywhere. As an offset of CS. */
static u32 code_target(struct rng *r, const struct icase *c)
{
    u32 k = PAD_FIRST + (below(r, PAD_COUNT - PAD_FIRST) & ~1u) + !case_cs32(c);

    if (k >= PAD_COUNT)
        k -= 2;
    if (one_in(r, 24))
        return value32(r);
    if (one_in(r, 24))
        return PAGE_LIN(below(r, EXIT_PAGE)) + below(r, PAGE_SIZE) - case_cs_base(c);
    return PAD_LIN(k) - case_cs_base(c);
}

/* A far pointer: mostly to a code segment, and to somewhere that faults, which shows CS. */
static void far_pointer(struct rng *r, u32 opsize, u8 *b, u16 *sel)
{
    static const u8 code[] = {SG_CODE32, SG_CODE16, SG_CODE32B, SG_CODESHORT};
    u32 id = code[below(r, 4)], base = segments[id].base;
    u32 off = (one_in(r, 2) ? PAGE_LIN(13) : PAGE_LIN(1)) + below(r, PAGE_SIZE) - base;

    if (one_in(r, 8))
        off = value32(r);
    *sel = one_in(r, 6) ? any_selector(r) : SEL(id);
    memcpy(b, &off, opsize);
    memcpy(b + opsize, sel, 2);
}

/* What a memory operand holds. */
static void operand_value(struct rng *r, struct icase *c, const struct insn *in, u8 *b, u32 size)
{
    for (u32 k = 0; k < size; k += 4) {
        u32 w = value32(r);
        memcpy(b + k, &w, size - k < 4 ? size - k : 4);
    }
    if (in->fpu == 1 && in->map == 0) {
        u8 t[16];
        switch (size) {
        case 4: {
            u32 f = float32(r);
            memcpy(b, &f, 4);
            break;
        }
        case 8: {
            u64 d = float64(r);
            memcpy(b, &d, 8);
            break;
        }
        case 10:
            float80(r, t);
            memcpy(b, t, 10);
            if (in->opcode == 0xdf && !one_in(r, 4)) /* BCD */
                for (u32 k = 0; k < 9; k++)
                    b[k] = (u8)(below(r, 10) << 4 | below(r, 10));
            break;
        }
        if (in->opcode == 0xd9 && in->reg >= 4) { /* control words, environments */
            u16 cw = (u16)(0x40 | (rnd(r) & 0x1f00) | (one_in(r, 4) ? rnd(r) & 0x3f : 0x3f));
            memcpy(b, &cw, 2);
        }
    } else if (in->fpu >= 2) {
        u8 t[16];
        vector128(r, t);
        memcpy(b, t, size < 16 ? size : 16);
    }
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_LDMXCSR: {
        u32 m = 0x1f80 | (rnd(r) & 0xffff);
        if (one_in(r, 8))
            m |= 1u << below(r, 32);
        memcpy(b, &m, 4);
        break;
    }
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS: {
        u16 s = any_selector(r);
        memcpy(b + in->opsize, &s, 2);
        break;
    }
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW: {
        u16 s = any_selector(r);
        memcpy(b, &s, 2);
        break;
    }
    case ZYDIS_MNEMONIC_CMPXCHG:
        if (one_in(r, 2))
            memcpy(b, &c->gpr[R_EAX], size);
        break;
    case ZYDIS_MNEMONIC_CMPXCHG8B:
        if (one_in(r, 2)) {
            memcpy(b, &c->gpr[R_EAX], 4);
            memcpy(b + 4, &c->gpr[R_EDX], 4);
        }
        break;
    default:
        break;
    }
    if (in->map == 0 && in->opcode == 0x8e) {
        u16 s = any_selector(r);
        memcpy(b, &s, 2);
    }
    if (in->map == 0 && in->opcode == 0xff && (in->reg == 2 || in->reg == 4)) {
        u32 t = code_target(r, c);
        memcpy(b, &t, in->opsize);
    }
    if (in->map == 0 && in->opcode == 0xff && (in->reg == 3 || in->reg == 5)) {
        u16 s;
        far_pointer(r, in->opsize, b, &s);
    }
}

static u32 flags_image(struct rng *r)
{
    /* not TF (the host would stop in the exit), and NT only where iret is not near */
    return FL_1 | (rnd(r) & (FL_ARITH | FL_DF | FL_IF | FL_IOPL | FL_ID | 0xffc08028));
}

static void stack_values(struct rng *r, struct icase *c, const struct insn *in, u32 lin)
{
    u32 w[12], n = in->opsize;
    u8 b[64];
    u16 sel;

    for (u32 k = 0; k < 12; k++)
        w[k] = value32(r);
    memcpy(b, w, 48);
    switch (in->map << 8 | in->opcode) {
    case 0xc2:
    case 0xc3: {
        u32 t = code_target(r, c);
        memcpy(b, &t, n);
        break;
    }
    case 0xca:
    case 0xcb:
    case 0xcf: {
        u32 fl = flags_image(r);
        far_pointer(r, n, b, &sel);
        if (in->opcode == 0xcf)
            memcpy(b + 2 * n, &fl, n);
        break;
    }
    case 0x9d: {
        u32 fl = flags_image(r) | (one_in(r, 4) ? FL_NT : 0) | (one_in(r, 8) ? FL_AC : 0);
        memcpy(b, &fl, n);
        break;
    }
    case 0x07:
    case 0x17:
    case 0x1f:
    case 0x1a1:
    case 0x1a9:
        sel = any_selector(r);
        memcpy(b, &sel, 2);
        break;
    }
    add_patch(c, lin, b, 48);
}

static bool uses_stack(const struct insn *in)
{
    if (in->map == 1)
        return in->opcode == 0xa0 || in->opcode == 0xa1 || in->opcode == 0xa8 || in->opcode == 0xa9;
    if (in->map)
        return false;
    switch (in->opcode) {
    case 0x06:
    case 0x07:
    case 0x0e:
    case 0x16:
    case 0x17:
    case 0x1e:
    case 0x1f:
    case 0x60:
    case 0x61:
    case 0x68:
    case 0x6a:
    case 0x8f:
    case 0x9a:
    case 0x9c:
    case 0x9d:
    case 0xc2:
    case 0xc3:
    case 0xc8:
    case 0xc9:
    case 0xca:
    case 0xcb:
    case 0xcf:
    case 0xe8:
        return true;
    case 0xff:
        return in->reg == 2 || in->reg == 3 || in->reg == 6;
    default:
        return in->opcode >= 0x50 && in->opcode <= 0x5f;
    }
}

/* State for what is special about some instructions. Returns false for a case not worth having. */
static void special(struct rng *r, struct icase *c, const struct insn *in)
{
    u32 op = (u32)in->map << 8 | in->opcode;

    if (uses_stack(in)) {
        u32 lin = operand_address(r, in->opsize * 4u, in->opsize);
        u32 off = to_offset(r, c, S_SS, lin, in->opsize);
        if (one_in(r, 2))
            off &= ~3u;
        if (op == 0xc9) /* leave */
            set_reg(c, R_EBP, off, c->gpr[R_EBP] & 1 ? 4 : 2);
        if (op == 0xc9 && segments[c->sel[S_SS] >> 3].big)
            c->gpr[R_EBP] = off;
        c->gpr[R_ESP] = segments[c->sel[S_SS] >> 3].big ? off : (off & 0xffff) | (rnd(r) & 0xffff0000);
        stack_values(r, c, in, seg_base(c, S_SS) + off);
    }
    if (op == 0xc8) { /* enter */
        u16 size = (u16)(one_in(r, 4) ? rnd(r) : below(r, 200));
        memcpy(c->code + in->imm_off, &size, 2);
        c->code[in->imm_off + 2] = (u8)(one_in(r, 8) ? rnd(r) : below(r, 5));
        u32 off = to_offset(r, c, S_SS, operand_address(r, 4, 4), 4);
        c->gpr[R_EBP] = segments[c->sel[S_SS] >> 3].big ? off : (off & 0xffff) | (rnd(r) & 0xffff0000);
    }
    if (op == 0xc2 || op == 0xca) {
        u16 n = (u16)(one_in(r, 4) ? rnd(r) : below(r, 64));
        memcpy(c->code + in->imm_off, &n, 2);
    }
    /* relative branches */
    if ((op >= 0x70 && op <= 0x7f) || (op >= 0xe0 && op <= 0xe3) || op == 0xeb) {
        i32 rel = one_in(r, 2) ? NEAR_PAD - in->len : one_in(r, 2) ? -NEAR_PAD - in->len : 0;
        if (one_in(r, 32))
            rel = (i32)rnd(r);
        c->code[in->imm_off] = (u8)rel;
        if (c->code[in->imm_off] >= 0xf0) /* not into itself: that may never end */
            c->code[in->imm_off] = 0;
        if (op >= 0xe0 && op <= 0xe3 && one_in(r, 2))
            set_reg(c, R_ECX, below(r, 3), in->adsize);
    }
    if ((op >= 0x180 && op <= 0x18f) || op == 0xe8 || op == 0xe9) {
        u32 to = one_in(r, 3) ? c->lin + in->len - case_cs_base(c) : code_target(r, c);
        u32 rel = to - (c->lin - case_cs_base(c) + in->len);
        if (rel == (u32)-in->len)
            rel = 0;
        memcpy(c->code + in->imm_off, &rel, in->opsize);
    }
    if ((op == 0x9a || op == 0xea)) {
        u16 sel;
        far_pointer(r, in->opsize, c->code + in->imm_off, &sel);
    }
    if (op == 0xff && in->mod == 3 && (in->reg == 2 || in->reg == 4))
        set_reg(c, in->rm, code_target(r, c), in->opsize);
    /* implicit memory operands */
    if (in->map == 0 &&
        ((op >= 0x6c && op <= 0x6f) || (op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf))) {
        u32 size = op & 1 ? in->opsize : 1;
        bool rep = in->pfx & (PFX_REP | PFX_REPNE);
        u32 count = rep ? one_in(r, 8) ? below(r, 1500) : below(r, 40) : value32(r);
        if (rep)
            set_reg(c, R_ECX, count, in->adsize);
        if (in->adsize == 4 || one_in(r, 8)) {
            set_reg(c, R_ESI, to_offset(r, c, in->seg, operand_address(r, size, size), size), in->adsize);
            set_reg(c, R_EDI, to_offset(r, c, S_ES, operand_address(r, size, size), size), in->adsize);
        } else {
            set_reg(c, R_ESI, to_offset(r, c, in->seg, operand_address(r, size, size), size), 2);
            set_reg(c, R_EDI, to_offset(r, c, S_ES, operand_address(r, size, size), size), 2);
        }
        if (rep && one_in(r, 2)) { /* overlapping, near each other */
            u32 d = below(r, 64) - 32;
            set_reg(c, R_EDI, c->gpr[R_ESI] + seg_base(c, in->seg) - seg_base(c, S_ES) + d, in->adsize);
        }
        if (one_in(r, 2)) { /* something to find */
            u8 b[32];
            memset(b, (int)(u8)c->gpr[R_EAX], sizeof(b));
            add_patch(c, seg_base(c, S_ES) + c->gpr[R_EDI], b, sizeof(b));
            add_patch(c, seg_base(c, in->seg) + c->gpr[R_ESI], b, sizeof(b));
        }
        c->flags |= rnd(r) & FL_DF;
    }
    if (op == 0xd7) { /* xlat */
        u32 off = to_offset(r, c, in->seg, operand_address(r, 1, 1), 1) - (c->gpr[R_EAX] & 0xff);
        set_reg(c, R_EBX, off, in->adsize);
    }
    if (op >= 0xa0 && op <= 0xa3) {
        u32 size = op & 1 ? in->opsize : 1,
            off = to_offset(r, c, in->seg, operand_address(r, size, size), size);
        memcpy(c->code + in->imm_off, &off, in->adsize);
    }
    if (op == 0x1f7) { /* maskmovq, maskmovdqu */
        u32 size = in->pfx & PFX_66 ? 16 : 8;
        set_reg(c, R_EDI, to_offset(r, c, in->seg, operand_address(r, size, size), size), in->adsize);
    }
    /* selectors in registers */
    if (in->has_modrm && !in->has_mem &&
        (op == 0x8e || op == 0x102 || op == 0x103 || (op == 0x100 && in->reg >= 4)))
        set_reg(c, in->rm, any_selector(r), 2);
    if (op == 0xf6 || op == 0xf7) /* let divisions succeed */
        if (in->reg >= 6 && !one_in(r, 3)) {
            c->gpr[R_EDX] = in->reg == 7 ? (u32)((i32)c->gpr[R_EAX] >> 31) : below(r, 4);
            if (in->opsize == 2)
                c->gpr[R_EDX] = in->reg == 7 ? (u32)((i16)c->gpr[R_EAX] >> 15) : below(r, 4);
            if (!(op & 1))
                c->gpr[R_EAX] = in->reg == 7 ? (u32)(i32)(i8)c->gpr[R_EAX] : c->gpr[R_EAX] & 0x3ff;
        }
    if (op == 0xd4 || op == 0xd5)
        if (one_in(r, 2))
            c->code[in->imm_off] = (u8)below(r, 12);
    if (op == 0x1b0 || op == 0x1b1 || op == 0xcd)
        if (op == 0xcd && one_in(r, 4))
            c->code[in->imm_off] = (u8)(3 + below(r, 2));
}

static u32 put_modrm(struct rng *r, u8 *p, u8 reg, bool ad32)
{
    static const u8 bases[] = {3, 5, 6, 7, 0, 1, 2};

    if (!ad32) {
        u8 mod = (u8)below(r, 3), rm = (u8)below(r, 8);
        p[0] = (u8)(mod << 6 | reg << 3 | rm);
        return 1;
    }
    u8 mod = (u8)below(r, 3);
    if (one_in(r, 3)) { /* SIB */
        u8 base = (u8)below(r, 8), index = (u8)below(r, 8);
        p[0] = (u8)(mod << 6 | reg << 3 | 4);
        p[1] = (u8)(below(r, 4) << 6 | index << 3 | base);
        return 2;
    }
    u8 rm = one_in(r, 8) ? 5 : bases[below(r, 7)];
    p[0] = (u8)(mod << 6 | reg << 3 | rm);
    return 1;
}

/* want: the variant to make, or -1: any. */
static void build_code(struct rng *r, struct icase *c, const struct form *f, int want)
{
    static const u8 segs[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    u8 *p = c->code;
    bool cs32 = case_cs32(c), p67 = f->addresses ? one_in(r, 3) : one_in(r, 32);
    bool p66 = one_in(r, 3), lock = f->lock ? one_in(r, 4) : one_in(r, 200);
    u8 rep = 0;

    memset(c->code, 0, sizeof(c->code));
    if (f->rep)
        rep = one_in(r, 3) ? 0 : one_in(r, 2) ? 0xf2 : 0xf3;
    if (want >= 0) {
        p66 = want & 2;
        p67 = f->addresses ? cs32 != !!(want & 4) : p67;
        lock = want & 8;
        rep = want >> 4 == 1 ? 0xf3 : want >> 4 == 2 ? 0xf2 : 0;
    }
    if (one_in(r, 5))
        *p++ = segs[below(r, 6)];
    if (p67)
        *p++ = 0x67;
    if (f->opsize && p66)
        *p++ = 0x66;
    if (lock)
        *p++ = 0xf0;
    if (rep)
        *p++ = rep;
    if (f->mand)
        *p++ = f->mand;
    if (f->map)
        *p++ = 0x0f;
    *p++ = f->op;
    if (f->kind != FM_NONE) {
        u8 reg = f->digit != 0xff ? f->digit : (u8)below(r, 8);
        if (f->kind == FM_MEM)
            p += put_modrm(r, p, reg, cs32 != p67);
        else
            *p++ = (u8)(0xc0 | reg << 3 | (f->rm != 0xff ? f->rm : below(r, 8)));
    }
    for (; p < c->code + INSN_MAX; p++) /* displacement, immediate */
        *p = one_in(r, 3) ? (u8)value32(r) : (u8)rnd(r);
}

/* In real mode a far transfer, or an interrupt through a new table, ends up in memory that is not part of the
 * case. */
static bool leaves_region(const struct form *f)
{
    if (f->map == 1)
        return f->op == 0x01 && (f->digit == 2 || f->digit == 3);
    switch (f->op) {
    case 0x9a:
    case 0xca:
    case 0xcb:
    case 0xcf:
    case 0xea:
        return true;
    case 0xff:
        return f->digit == 3 || f->digit == 5;
    default:
        return false;
    }
}

/* Form and variant number n of all there are, over and over. */
static u32 nth_variant(u64 n, u32 *form)
{
    static u32 *list, count; /* form * FORM_VARIANTS + variant */

    if (!list) {
        list = calloc((size_t)form_count * FORM_VARIANTS, sizeof(*list));
        NOVT_ASSERT(list);
        for (u32 k = 0; k < form_count * FORM_VARIANTS; k++)
            if (form_variant_exists(&forms[k / FORM_VARIANTS], k % FORM_VARIANTS))
                list[count++] = k;
    }
    u32 k = list[n % count];
    *form = k / FORM_VARIANTS;
    return k % FORM_VARIANTS;
}

void generate(u64 seed, u64 n, int level, struct icase *c, u32 *form, struct insn *in)
{
    struct rng rr = {seed * 0xd1342543de82ef95ull + n * 0x2545f4914f6cdd1dull}, *r = &rr;

    u32 tries = 0;
    for (;;) {
        int want = -1;
        *form = below(r, form_count);
        if (n % 4 == 0 && level < AT_V86 && tries++ < 16) /* every variant in turn */
            want = (int)nth_variant(n / 4, form);
        const struct form *f = &forms[*form];

        case_default(c);
        do
            choose_segments(r, c);
        while (want >= 0 && case_cs32(c) != (want & 1));
        if (level >= AT_V86)
            for (int s = 0; s < 6; s++)
                c->sel[s] = SEL(s == S_CS                          ? SG_CODE16
                                : level == AT_V86 && one_in(r, 32) ? SG_DATA32
                                                                   : SG_DATA16);
        if (level == AT_REAL && leaves_region(f))
            continue;
        build_code(r, c, f, want);
        if (insn_decode(cpu_model_find("max"), c->code, INSN_MAX, case_cs32(c), in) != 0)
            continue;
        c->len = in->len;
        if (in->fn == insn_ud) { /* lock where there must be none? Then its length is that without it. */
            u8 t[INSN_MAX];
            struct insn tin;
            u32 k = 0, m = 0;
            for (; k < INSN_MAX; k++)
                if (c->code[k] != 0xf0 || m != k)
                    t[m++] = c->code[k];
            if (!(in->pfx & PFX_LOCK) || m == INSN_MAX ||
                insn_decode(cpu_model_find("max"), t, m, case_cs32(c), &tin) != 0 || tin.fn == insn_ud ||
                tin.len >= INSN_MAX)
                continue;
            c->len = (u8)(tin.len + 1);
        }
        break;
    }
    for (int g = 0; g < 8; g++)
        c->gpr[g] = value32(r);
    if (segments[c->sel[S_SS] >> 3].base == 0)
        c->gpr[R_ESP] = PAGE_LIN(11) + (below(r, 256) & ~3u);
    c->flags = FL_1 | FL_IF | (rnd(r) & FL_ARITH);
    if (one_in(r, 128))
        c->flags |= FL_AC;
    if (one_in(r, 32))
        c->flags |= FL_ID;
    if (in->fpu || one_in(r, 16))
        fp_state(r, c, in->fpu);
    if (one_in(r, 12)) { /* at the end of a page, across two, at the end of everything or the limit */
        u32 end = one_in(r, 3) ? CODE_END : PAGE_LIN(15);
        if (c->sel[S_CS] == SEL(SG_CODESHORT))
            end = PAGE_LIN(14) + 0x800;
        c->lin = end - 1 - below(r, c->len + 2u);
    } else {
        c->lin += below(r, 256);
    }
    if (in->has_mem) {
        u32 size = in->memsize ? in->memsize : 4, align = in->fpu >= 2 ? (size >= 16 ? 16 : size) : 0;
        bool bits = in->map == 1 && (in->opcode & 0xe7) == 0xa3;
        if (bits) /* the bit offset moves the address: stay near */
            set_reg(c, in->reg, one_in(r, 8) ? value32(r) : below(r, 1024) - 512, in->opsize);
        u32 lin = aim(r, c, in, operand_address(r, size, align), size), at = lin;
        u8 b[64];
        if (size <= 64) {
            operand_value(r, c, in, b, size);
        } else {
            operand_value(r, c, in, b, 32);
            if (in->mnemonic == ZYDIS_MNEMONIC_FXRSTOR) {
                u32 m = 0x1f80 | (rnd(r) & 0xffff) | (one_in(r, 8) ? 1u << below(r, 32) : 0);
                memcpy(b + 24, &m, 4);
            }
            size = 32;
        }
        if (in->mnemonic == ZYDIS_MNEMONIC_FXRSTOR || in->mnemonic == ZYDIS_MNEMONIC_FRSTOR ||
            in->mnemonic == ZYDIS_MNEMONIC_FLDENV) {
            u16 cw = (u16)(0x7f | (rnd(r) & 0xf00));
            memcpy(b, &cw, 2);
        }
        if (bits)
            at += (u32)((i32)c->gpr[in->reg] >> 5) * 4;
        if (!one_in(r, 8))
            add_patch(c, at, b, size);
        in->disp = 0; /* decoded again below */
    }
    special(r, c, in);
    insn_decode(cpu_model_find("max"), c->code, INSN_MAX, case_cs32(c), in);
}
