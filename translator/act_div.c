/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * div and idiv at places where a divide error has happened before (unit_env.check_site).
 *
 * Elsewhere they are copied, and #DE comes as a host signal, which costs five microseconds; a division that
 * may fail is rare, and checking all of them would make every division slower. Here the operands are looked
 * at first, and the interpreter gets what may fail. The checks are on the safe side:
 *
 *  div     fails if and only if the dividend's upper half is not below the divisor.
 *  idiv    cannot fail if the dividend is its lower half, sign-extended, and the divisor is neither 0 nor -1.
 */
#include "translator/xl.h"

/* r10d = the divisor, extended to 32 bits: movzx, movsx, mov */
static void divisor(struct xl *x, const struct insn *i, u32 n, bool is_signed)
{
    struct emit *e = &x->e;
    u8 op = (u8)((is_signed ? 0xbe : 0xb6) | (n == 2));

    if (i->has_mem) {
        mem_operand(x, i, n, false, 0);
        if (n == 4)
            op_mem(x, 0, 0, 0x8b, R10);
        else
            op_mem(x, 0, 1, op, R10);
        return;
    }
    if (n == 4) {
        e_mov_rr32(e, R10, hreg(i->rm));
        return;
    }
    e_rex(e, 0, R10, 0, n == 1 ? i->rm : hreg(i->rm));
    e8(e, 0x0f);
    e8(e, op);
    e_modrm(e, 3, R10, n == 1 ? i->rm : hreg(i->rm));
}

/* 66 prefix or byte opcode of a register-register operation of n bytes */
static void sized_rr(struct emit *e, u32 n, u8 op, int reg, int rm)
{
    if (n == 2)
        e8(e, 0x66);
    e_rr(e, 0, n == 1 ? op - 1 : op, reg, rm);
}

static void check_unsigned(struct xl *x, u32 n)
{
    struct emit *e = &x->e;

    if (n == 1) { /* the upper half is ah */
        e_mov_rr32(e, R11, RAX);
        e_rex(e, 0, 0, 0, R11); /* shr r11d, 8 */
        e8(e, 0xc1);
        e_modrm(e, 3, 5, R11);
        e8(e, 8);
    } else {
        e_mov_rr32(e, R11, RDX);
    }
    sized_rr(e, n, 0x3b, R11, R10);
    stub_add(x, STUB_SLOW, e_jcc(e, 3), n, 0, 0); /* jae */
}

static void check_signed(struct xl *x, u32 n)
{
    struct emit *e = &x->e;

    if (n == 1) { /* movsx r11d, al; compared with ax */
        e_rex(e, 0, R11, 0, RAX);
        e8(e, 0x0f);
        e8(e, 0xbe);
        e_modrm(e, 3, R11, RAX);
        sized_rr(e, 2, 0x3b, R11, RAX);
    } else {
        e_mov_rr32(e, R11, RAX);
        if (n == 2)
            e8(e, 0x66);
        e_rex(e, 0, 0, 0, R11); /* sar r11, 8 n - 1 */
        e8(e, 0xc1);
        e_modrm(e, 3, 7, R11);
        e8(e, (u8)(8 * n - 1));
        sized_rr(e, n, 0x3b, R11, RDX);
    }
    stub_add(x, STUB_SLOW, e_jcc(e, 5), n, 0, 0); /* jne */
    e_lea32(e, R11, R10, -1, 1, 1);
    e_rex(e, 0, 0, 0, R11); /* cmp r11d, 1: was it 0 or -1? */
    e8(e, 0x83);
    e_modrm(e, 3, 7, R11);
    e8(e, 1);
    stub_add(x, STUB_SLOW, e_jcc(e, 6), n, 0, 0); /* jbe */
}

bool act_div(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    u32 n = i->opcode & 1 ? i->opsize : 1;
    bool is_signed = i->reg == 7;

    if (!x->env->check_site || !x->env->check_site(x->env->opaque, x->u->pcmap[x->k].guest))
        return act_copy(x, i, c);
    if (i->has_mem ? !seg_inline(x, i->seg, false)
                   : n == 1 && i->rm >= 4) /* ah and a REX do not go together */
        return act_copy(x, i, c);
    fl_clobber(x);
    divisor(x, i, n, is_signed);
    if (is_signed)
        check_signed(x, n);
    else
        check_unsigned(x, n);
    fl_before_op(x, i);
    if (n == 2)
        e8(e, 0x66);
    e_rr(e, 0, n == 1 ? 0xf6 : 0xf7, i->reg, R10);
    return true;
}
