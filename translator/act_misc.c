/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything else that has an action of its own: the encodings that long mode dropped, and the sensitive
 * instructions that are cheap enough to inline (cli, sti, pushf, reads of segment registers: they only touch
 * the virtual state in struct vcpu). The rest of the sensitive ones are callouts. emit_insn() routes by
 * action.
 */
#include "cpu/fpu.h"
#include "translator/xl.h"

static void op66(struct xl *x, u32 n)
{
    if (n == 2)
        e8(&x->e, 0x66);
}

/* mov r/m, [A0..A3] moffs */
static bool act_moffs(struct xl *x, const struct insn *i, struct cls c)
{
    u32 n = i->opcode & 1 ? i->opsize : 1;
    bool write = c.acc == MA_W;
    struct insn m = *i;

    if (!seg_inline(x, i->seg, write))
        return false;
    m.base = m.index = NOREG;
    m.disp = (i32)i->imm;
    mem_operand(x, &m, n, write, 0);
    op_mem(x, n == 2 ? OP_66 : 0, 0, (u8)((write ? 0x88 : 0x8a) | (i->opcode & 1)), RAX);
    return true;
}

/* bt, bts, btr, btc Ev, Gv: with a memory operand the bit offset also moves the address (SDM vol. 2, BT). */
static bool act_bits(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    bool write = c.acc == MA_RW;

    if (!i->has_mem)
        return act_copy(x, i, c);
    if (i->opsize != 4 || i->adsize != 4 || !seg_inline(x, i->seg, write))
        return false;
    fl_clobber(x);
    ea_offset(x, i, R8, 0);
    e_mov_rr32(e, R10, hreg(i->reg));
    e_rex(e, 0, 0, 0, R10); /* sar r10d, 5 */
    e8(e, 0xc1);
    e_modrm(e, 3, 7, R10);
    e8(e, 5);
    e_lea32(e, R8, R8, R10, 4, 0);
    seg_apply(x, i->seg, 4, write);
    mem_linear_r8(x, 4, write);
    e_mov_rr32(e, R10, hreg(i->reg));
    e_rex(e, 0, 0, 0, R10); /* and r10d, 31 */
    e8(e, 0x83);
    e_modrm(e, 3, 4, R10);
    e8(e, 31);
    fl_before_op(x, i);
    op_mem(x, 0, 1, i->opcode, R10);
    return true;
}

/* pushfd: the guest's image is assembled from the saved arithmetic flags, DF, and the virtual flags. */
static bool act_pushf(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;

    if (i->opsize != 4 || (x->env->mode & MODE_VM) || !seg_inline(x, S_SS, true))
        return false;
    fl_force_saved(x);
    mem_stack(x, -4, 4, true);
    e_mov_rr32(e, R10, ABI_FLAGS);
    e_rex(e, 0, 0, 0, R10); /* shr r10d, 8 */
    e8(e, 0xc1);
    e_modrm(e, 3, 5, R10);
    e8(e, 8);
    e_rex(e, 0, 0, 0, R10); /* and r10d, 0xd5 */
    e8(e, 0x81);
    e_modrm(e, 3, 4, R10);
    e32(e, 0xd5);
    e_mov_rr32(e, R11, ABI_FLAGS);
    e_rex(e, 0, 0, 0, R11); /* and r11d, 1 */
    e8(e, 0x83);
    e_modrm(e, 3, 4, R11);
    e8(e, 1);
    e_rex(e, 0, 0, 0, R11); /* shl r11d, 11 */
    e8(e, 0xc1);
    e_modrm(e, 3, 4, R11);
    e8(e, 11);
    e_lea32(e, R10, R10, R11, 1, 2); /* with bit 1, which is always set */
    e_rex(e, 0, R11, 0, R15);        /* movzx r11d, byte [iflag] */
    e8(e, 0x0f);
    e8(e, 0xb6);
    e_mem(e, R11, R15, -1, 1, VO_IFLAG);
    e_rex(e, 0, 0, 0, R11); /* shl r11d, 9 */
    e8(e, 0xc1);
    e_modrm(e, 3, 4, R11);
    e8(e, 9);
    e_rr(e, 0, 0x0b, R10, R11);
    e_rm(e, 0, 0x8b, R11, R15, -1, 1, VO_AFLAGS + 4); /* sflags */
    e_rex(e, 0, 0, 0, R11);                           /* and r11d, ~(RF | VM) */
    e8(e, 0x81);
    e_modrm(e, 3, 4, R11);
    e32(e, ~(FL_RF | FL_VM));
    e_rr(e, 0, 0x0b, R10, R11);
    if (!x->df_clear) {
        e8(e, 0x9c); /* pushfq; pop r11: for DF */
        e8(e, 0x41);
        e8(e, 0x5b);
        e_rex(e, 0, 0, 0, R11);
        e8(e, 0x81);
        e_modrm(e, 3, 4, R11);
        e32(e, FL_DF);
        e_rr(e, 0, 0x0b, R10, R11);
    }
    store_op(x, R10, 4);
    sp_add(x, -4);
    return true;
}

static bool act_mov_from_sreg(struct xl *x, const struct insn *i, struct cls c)
{
    if (i->reg > S_GS)
        return false;
    if (i->has_mem) {
        if (!seg_inline(x, i->seg, true))
            return false;
        mem_operand(x, i, 2, true, 0);
    }
    e_movzx16_mem(&x->e, R11, R15, VO_SEG + i->reg * VO_SEG_SIZE); /* the selector */
    if (i->has_mem)
        store_op(x, R11, 2);
    else
        set_reg(x, i->rm, R11, i->opsize);
    return true;
}

/* Is the instruction a direct branch to itself? */
static bool leads_to_itself(const struct xl *x, u32 k)
{
    switch (x->cls[k].act) {
    case ACT_JCC:
    case ACT_JMP:
    case ACT_CALL:
    case ACT_LOOP:
    case ACT_JCXZ:
        return unit_branch_target(x, k) == insn_eip(x, k);
    default:
        return false;
    }
}

/* An interrupt that waits already comes after the next instruction: the interpreter sees to that. One that
 * comes from here on comes with a kick, which does not stop before the next instruction (PCM_INHIBIT). */
static bool act_sti(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    u32 next = x->k + 1, none;

    /* the shadow would reach into another unit, or lie on an endless loop of one branch */
    if (next >= x->u->n_insns || leads_to_itself(x, next))
        return false;
    if (fl_free(x)) {
        e_rm(e, 0, 0x8b, R8, R15, -1, 1, VO_INTR);
        e_rr(e, 0, 0x85, R8, R8); /* test */
        stub_add(x, STUB_EXEC, e_jcc(e, 5), 0, 0, 0);
    } else {
        e_mov_rr64(e, R11, RCX);
        e_rm(e, 0, 0x8b, RCX, R15, -1, 1, VO_INTR);
        none = e_jrcxz(e);
        e_mov_rr64(e, RCX, R11);
        stub_add(x, STUB_EXEC, e_jmp(e), 0, 0, 0);
        e_fix8(e, none, e->pos);
        e_mov_rr64(e, RCX, R11);
    }
    e_mov_mi8(&x->e, R15, VO_IFLAG, 1);
    x->inhibit = true;
    return true;
}

static bool act_cli(struct xl *x, const struct insn *i, struct cls c)
{
    e_mov_mi8(&x->e, R15, VO_IFLAG, 0);
    return true;
}

static bool act_nop(struct xl *x, const struct insn *i, struct cls c)
{
    return true;
}

static bool act_incdec(struct xl *x, const struct insn *i, struct cls c)
{
    fl_before_op(x, i);
    op66(x, i->opsize);
    e_rr(&x->e, 0, 0xff, (i->opcode >> 3) & 1, hreg(i->opcode & 7)); /* FF /0, FF /1 */
    return true;
}

static bool act_xchg_a(struct xl *x, const struct insn *i, struct cls c)
{
    op66(x, i->opsize);
    e_rr(&x->e, 0, 0x87, RAX, hreg(i->opcode & 7));
    return true;
}

static bool act_mov_ri(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    int r = hreg(i->opcode & 7);

    if (i->opcode < 0xb8) {
        e8(e, i->opcode); /* a byte register: no REX */
        e8(e, (u8)i->imm);
    } else if (i->opsize == 2) {
        e8(e, 0x66);
        e_rex(e, 0, 0, 0, r);
        e8(e, 0xb8 | (r & 7));
        e_word(e, i->imm, 2);
    } else {
        e_mov_ri32(e, r, i->imm);
    }
    return true;
}

static bool act_bswap(struct xl *x, const struct insn *i, struct cls c)
{
    int r = hreg(i->opcode & 7);

    e_rex(&x->e, 0, 0, 0, r);
    e8(&x->e, 0x0f);
    e8(&x->e, 0xc8 | (r & 7));
    return true;
}

static bool act_lea(struct xl *x, const struct insn *i, struct cls c)
{
    if (i->opsize == 4 && i->adsize == 4 && i->base == i->reg && i->index == NOREG && !i->disp)
        return true; /* a long nop */
    if (i->opsize == 4) {
        ea_offset(x, i, hreg(i->reg), 0);
    } else {
        ea_offset(x, i, R8, 0);
        set_reg(x, i->reg, R8, 2);
    }
    return true;
}

static bool act_clts(struct xl *x, const struct insn *i, struct cls c)
{
    exit_clts(x, i);
    return true;
}

static bool act_cr3(struct xl *x, const struct insn *i, struct cls c)
{
    exit_cr3(x, i);
    return true;
}

static bool act_sys(struct xl *x, const struct insn *i, struct cls c)
{
    exit_sys(x, i);
    return true;
}

/* What each action emits; false, or none: a callout. */
static bool (*const actions[ACT_COUNT])(struct xl *x, const struct insn *i, struct cls c) = {
    [ACT_COPY] = act_copy,
    [ACT_ADD_ESP] = act_add_esp,
    [ACT_DIV] = act_div,
    [ACT_INCDEC] = act_incdec,
    [ACT_PUSH_R] = act_push_r,
    [ACT_POP_R] = act_pop_r,
    [ACT_PUSH_I] = act_push_i,
    [ACT_PUSH_M] = act_push_m,
    [ACT_POP_M] = act_pop_m,
    [ACT_XCHG_A] = act_xchg_a,
    [ACT_MOFFS] = act_moffs,
    [ACT_LEA] = act_lea,
    [ACT_MOV_RI] = act_mov_ri,
    [ACT_BSWAP] = act_bswap,
    [ACT_LEAVE] = act_leave,
    [ACT_NOP] = act_nop,
    [ACT_BITS] = act_bits,
    [ACT_JCC] = act_jcc,
    [ACT_JCC_TURNED] = act_jcc_turned,
    [ACT_JMP] = act_jmp,
    [ACT_CALL] = act_call,
    [ACT_CALL_OVER] = act_call_over,
    [ACT_JMP_IND] = act_jmp_ind,
    [ACT_CALL_IND] = act_call_ind,
    [ACT_RET] = act_ret,
    [ACT_LOOP] = act_loop,
    [ACT_JCXZ] = act_jcxz,
    [ACT_CLI] = act_cli,
    [ACT_STI] = act_sti,
    [ACT_PUSHF] = act_pushf,
    [ACT_MOV_FROM_SREG] = act_mov_from_sreg,
    [ACT_PUSH_SREG] = act_push_sreg,
    [ACT_MOV_TO_SREG] = act_mov_to_sreg,
    [ACT_POP_SREG] = act_pop_sreg,
    [ACT_VERW] = act_verw,
    [ACT_RDTSC] = act_rdtsc,
    [ACT_POPF] = act_popf,
    [ACT_FROM_CR] = act_from_cr,
    [ACT_TO_CR] = act_to_cr,
    [ACT_IN] = act_in,
    [ACT_INVLPG] = act_invlpg,
    [ACT_FXSTATE] = act_fxstate,
    [ACT_STRING] = act_string,
    [ACT_REP_STRING] = act_string,
    [ACT_CLTS] = act_clts,
    [ACT_CR3] = act_cr3,
    [ACT_SYS] = act_sys,
};

void emit_insn(struct xl *x, const struct insn *i)
{
    struct cls c = x->cls[x->k];

    x->aligned = unlikely(i->fpu) && (i->fpu_attr & FPA_ALIGN);
    if (!actions[c.act] || !actions[c.act](x, i, c))
        exit_exec(x, i);
}
