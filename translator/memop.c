/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory operands, table form.
 *
 *      lea  r8d, [guest operand]          linear address (plus segment base where there is one)
 *      mov  r9d, r8d
 *      shr  r9d, 12
 *      mov  r9, [r14 + r9*8 - table]      host address minus linear address
 *      test r9, r9
 *      jz   miss                          -> monitor fills the entry and comes back, or interprets the
 * instruction test r8b, size - 1 jnz  misaligned                    -> out of line: only a page crossing
 * leaves op   [r8 + r9]
 *
 * No guest state changes before the last lookup of an instruction, so a miss simply starts the instruction
 * again.
 *
 * Memory operands, window form (MODE_WIN: the view's window is in use):
 *
 *      op   gs:[guest operand]            with a 67 prefix, so that it wraps at 4 GiB and cannot leave the
 *                                         window; without gs if it begins at 0 (MODE_LOW), and there, with
 *                                         addr64, without 67 unless there is an index or a large negative
 *                                         displacement: one that would wrap meets nothing and faults
 *
 * The host's own page protection does the checking: a page that is not in the window faults (signals.c), and
 * the monitor maps it or delivers the guest's fault. It costs nothing else, but requires that the sequence
 * around it may fault: table_only marks those that may not.
 */
#include "translator/xl.h"

bool seg_inline_slow(const struct xl *x, int seg, bool write)
{
    u32 m = x->env->mode;

    if (real_like(x))
        return true;
    if (seg == S_CS && write)
        return false;
    if (m & flat_bit(seg))
        return true;
    return seg == S_FS || seg == S_GS; /* seg_apply() checks while it runs */
}

/* FS and GS are loaded at every entry to and exit from many kernels, so their shape is no part of the mode:
 * the first use in a unit looks whether the segment is writable and 4 GiB long. Where it is not, the unit is
 * left: the uses that follow do not look again. */
static void check_full(struct xl *x, int seg)
{
    struct emit *e = &x->e;
    i32 at = VO_SEG + seg * VO_SEG_SIZE + VO_SEG_FAST;
    u32 ok;

    if (x->full & (1u << seg))
        return;
    x->full |= (u8)(1u << seg);
    if (fl_free(x)) {
        e_rex(e, 0, 0, 0, R15); /* cmp byte [fast], read and write */
        e8(e, 0x80);
        e_mem(e, 7, R15, -1, 1, at);
        e8(e, SEGF_R | SEGF_W);
        stub_add(x, STUB_SLOW_OUT, e_jcc(e, 5), 0, 0, 0);
        return;
    }
    e_mov_rr64(e, R9, RCX);
    e_rex(e, 0, RCX, 0, R15); /* movzx ecx, byte [fast] */
    e8(e, 0x0f);
    e8(e, 0xb6);
    e_mem(e, RCX, R15, -1, 1, at);
    e_lea32(e, RCX, RCX, -1, 1, -(SEGF_R | SEGF_W));
    ok = e_jrcxz(e);
    e_mov_rr64(e, RCX, R9);
    stub_add(x, STUB_SLOW_OUT, e_jmp(e), 0, 0, 0);
    e_fix8(e, ok, e->pos);
    e_mov_rr64(e, RCX, R9);
}

void seg_apply(struct xl *x, int seg, u32 size, bool write)
{
    struct emit *e = &x->e;
    i32 so = VO_SEG + seg * VO_SEG_SIZE;

    if (x->env->mode & flat_bit(seg))
        return;
    if (real_like(x)) {
        /* limit check of an expand-up segment: the offset and its last byte */
        fl_clobber(x);
        if (size > 1) {
            e_rm(e, 0, 0x3b, R8, R15, -1, 1, so + VO_SEG_LIMIT); /* cmp r8d, limit */
            u32 a = e_jcc(e, 7);                                 /* ja */
            e_lea32(e, R9, R8, -1, 1, (i32)size - 1);
            e_rm(e, 0, 0x3b, R9, R15, -1, 1, so + VO_SEG_LIMIT);
            stub_add(x, STUB_SLOW, a, size, 0, 0);
            stub_add(x, STUB_SLOW, e_jcc(e, 7), size, 0, 0);
        } else {
            e_rm(e, 0, 0x3b, R8, R15, -1, 1, so + VO_SEG_LIMIT);
            stub_add(x, STUB_SLOW, e_jcc(e, 7), size, 0, 0);
        }
    } else {
        check_full(x, seg);
    }
    e_rm(e, 0, 0x8b, R9, R15, -1, 1, so + VO_SEG_BASE);
    e_lea32(e, R8, R8, R9, 1, 0);
}

void ea_offset(struct xl *x, const struct insn *i, int dst, i32 sp_adj)
{
    struct emit *e = &x->e;
    int base = i->base == NOREG ? -1 : hreg(i->base);
    int index = i->index == NOREG ? -1 : hreg(i->index);
    i32 disp = (i32)((u32)i->disp + (u32)(i->base == R_ESP ? sp_adj + x->sp_pend : 0));

    if (base < 0 && index < 0) {
        e_mov_ri32(e, dst, i->adsize == 2 ? (u32)disp & 0xffff : (u32)disp);
        return;
    }
    if (base < 0) {
        e_piece(e, p_join(p_op(0, dst, index, 0, 0x8d), p_mem_no_base(dst, index, i->scale, disp)));
    } else if (index < 0 && disp == 0) {
        e_mov_rr32(e, dst, base);
    } else {
        e_lea32(e, dst, base, index, i->scale, disp);
    }
    if (i->adsize == 2)
        e_movzx16(e, dst, dst);
}

static bool window(const struct xl *x)
{
    return (x->env->mode & MODE_WIN) && !x->table_only;
}

void mem_linear_r8(struct xl *x, u32 size, bool write)
{
    if (window(x)) {
        mem_is(x, true, R8, -1, 1, 0);
        return;
    }
    mem_lookup(x, size, write);
    mem_is(x, false, R8, R9, 1, 0);
}

void mem_operand(struct xl *x, const struct insn *i, u32 size, bool write, i32 sp_adj)
{
    if (window(x) && i->adsize == 4) {
        int base = i->base == NOREG ? -1 : hreg(i->base), index = i->index == NOREG ? -1 : hreg(i->index);
        i32 disp = (i32)((u32)i->disp + (u32)(i->base == R_ESP ? sp_adj + x->sp_pend : 0));

        if (x->env->mode & flat_bit(i->seg)) { /* the guest's own operand */
            mem_is(x, true, base, index, i->scale, disp);
            return;
        }
        if (!real_like(x) && (i->seg == S_FS || i->seg == S_GS) && (base < 0 || index < 0)) {
            /* the segment's base takes the place that the operand leaves free */
            check_full(x, i->seg);
            e_rm(&x->e, 0, 0x8b, R9, R15, -1, 1, VO_SEG + i->seg * VO_SEG_SIZE + VO_SEG_BASE);
            if (base < 0)
                mem_is(x, true, R9, index, i->scale, disp);
            else
                mem_is(x, true, base, R9, 1, disp);
            return;
        }
    }
    ea_offset(x, i, R8, sp_adj);
    seg_apply(x, i->seg, size, write);
    mem_linear_r8(x, size, write);
}

void mem_stack(struct xl *x, i32 delta, u32 size, bool write)
{
    struct emit *e = &x->e;

    if (window(x) && (x->env->mode & MODE_SS32) && (x->env->mode & MODE_FLATSS)) {
        mem_is(x, true, ABI_ESP, -1, 1, delta + x->sp_pend);
        return;
    }
    if (delta)
        e_lea32(e, R8, ABI_ESP, -1, 1, delta);
    else
        e_mov_rr32(e, R8, ABI_ESP);
    if (!(x->env->mode & MODE_SS32))
        e_movzx16(e, R8, R8);
    seg_apply(x, S_SS, size, write);
    mem_linear_r8(x, size, write);
}

void op_mem(struct xl *x, u32 pfx, int map, u8 op, int reg)
{
    struct emit *e = &x->e;
    const struct hostmem *h = &x->hm;
    struct piece p = {0};

    if (h->win) {
        x->op_saved |= x->fs == FS_SAVED; /* it may fault here */
        p = h->plain ? p : x->win;
    }
    p = p_prefixes(p, pfx);
    e_piece(e, p_join(p, p_rex_op(h->rex | (u32)(reg & 8) >> 1 | (pfx & OP_W), op_bytes(map, op))));
    e_word(e, h->mem.bytes | (u32)(reg & 7) << 3, h->mem.n);
}

void mem_lookup(struct xl *x, u32 size, bool write)
{
    struct emit *e = &x->e;
    i32 table = -(i32)(write ? SPACE_WT_OFF : SPACE_RT_OFF);
    u32 j;

    fl_clobber(x);
    if (x->aligned && size == 16) {
        e_rex(e, 0, 0, 0, R8); /* test r8b, 15 */
        e8(e, 0xf6);
        e_modrm(e, 3, 0, R8);
        e8(e, 15);
        stub_add(x, STUB_SLOW, e_jcc(e, 5), size, 0, 0);
    }
    e_mov_rr32(e, R9, R8);
    e_rex(e, 0, 0, 0, R9); /* shr r9d, 12 */
    e8(e, 0xc1);
    e_modrm(e, 3, 5, R9);
    e8(e, 12);
    e_rm(e, 1, 0x8b, R9, R14, R9, 8, table);
    e_rr(e, 1, 0x85, R9, R9);
    j = e_jcc(e, 4); /* jz */
    stub_add(x, write ? STUB_MISS_W : STUB_MISS_R, j, size, 0, 0);
    if (size == 1 || (x->aligned && size == 16))
        return;
    if (size == 2 || size == 4 || size == 16) {
        e_rex(e, 0, 0, 0, R8); /* test r8b, size - 1 */
        e8(e, 0xf6);
        e_modrm(e, 3, 0, R8);
        e8(e, (u8)(size - 1));
        j = e_jcc(e, 5);
        stub_add(x, STUB_MISALIGNED, j, size, e->pos, 0);
    } else {
        /* 8- and 10-byte operands are often only 4-byte aligned on i386: check for the crossing itself */
        e_lea32(e, R10, R8, -1, 1, (i32)size - 1);
        e_rr(e, 0, 0x33, R10, R8); /* xor r10d, r8d */
        e_rex(e, 0, 0, 0, R10);    /* test r10d, ~0xfff */
        e8(e, 0xf7);
        e_modrm(e, 3, 0, R10);
        e32(e, 0xfffff000u);
        stub_add(x, STUB_SLOW, e_jcc(e, 5), size, 0, 0);
    }
}
