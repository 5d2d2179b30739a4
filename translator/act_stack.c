/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stack instructions: pushes and pops of registers, immediates, memory and segment selectors, leave.
 *
 * Order within each: every lookup first, then the store or the register, then esp; so a miss or fault on any
 * operand finds nothing changed.
 */
#include "translator/xl.h"

/*
 * In window form a run of pushes and pops addresses the stack from the esp that it began with, and the change
 * of esp is written once behind it, or with a call or return at its end. The pc map says for each instruction
 * how far the host register is from esp, so a fault or a stop within the run sees the right one; but
 * execution comes back only to instructions where nothing is pending.
 */
#define SP_PEND_MAX 0x4000

void sp_flush_pending(struct xl *x)
{
    e_lea32(&x->e, ABI_ESP, ABI_ESP, -1, 1, x->sp_pend);
    x->sp_pend = 0;
}

bool sp_merge_allowed(const struct unit_env *env)
{
    const u32 need = MODE_WIN | MODE_SS32 | MODE_FLATSS | MODE_FLATDS;

    return (env->opts & OPT(spmerge)) && (env->mode & need) == need;
}

/* ACT_ADD_ESP: the constant, 0 if it is too large to be pending */
static i32 esp_constant(const struct insn *i)
{
    i32 n = i->reg == 0 ? (i32)i->imm : (i32)(0 - i->imm);
    return n > -SP_PEND_MAX && n < SP_PEND_MAX ? n : 0;
}

/* Whether nothing looks at the flags that instruction k leaves. */
static bool flags_dead(const struct xl *x, u32 k)
{
    return (x->env->opts & OPT(flags)) && !x->live[k + 1];
}

bool act_add_esp(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    i32 n = esp_constant(i);

    if (!x->sp_merge)
        return act_copy(x, i, c);
    if (!flags_dead(x, x->k)) {
        fl_before_op(x, i);
        if (x->sp_pend)
            e_lea32(e, R11, ABI_ESP, -1, 1, x->sp_pend);
        else
            e_mov_rr32(e, R11, ABI_ESP);
        e_rex(e, 0, 0, 0, R11);
        e8(e, i->opcode);
        e_modrm(e, 3, i->reg, R11);
        if (i->opcode == 0x83)
            e8(e, (u8)i->imm);
        else
            e32(e, (u32)i->imm);
    }
    x->sp_pend += n;
    return true;
}

static bool pops(const struct xl *x, u32 k)
{
    const struct insn *i = &x->u->insns[k];
    u8 act = x->cls[k].act;

    return i->opsize == 4 && (act == ACT_RET || (act == ACT_POP_R && (i->opcode & 7) != R_ESP)) &&
           !(x->mark[k] & MARK_TARGET);
}

/* The operand is in a segment that window form is of. */
static bool flat_operand(const struct insn *i)
{
    return i->adsize == 4 && (i->seg == S_DS || i->seg == S_SS);
}

/* mov of esp to another register: with what is pending it is a lea. */
bool sp_mov(const struct insn *i)
{
    if (i->map != 0 || i->has_mem || i->opsize != 4 || i->reg == i->rm)
        return false;
    return i->opcode == 0x89 ? i->reg == R_ESP : i->opcode == 0x8b && i->rm == R_ESP;
}

/* A copied instruction does not look at esp but through its memory operand, or in a way that is known. */
static bool copy_mergeable(const struct insn *i, const struct cls *c)
{
    if (!i->has_modrm)
        return i->map == 0 && i->opcode == 0xfc; /* cld */
    if (sp_mov(i))
        return true;
    if (i->fpu || c->reg == OK_GB || c->rm == OK_GB || (c->reg != OK_NONE && i->reg == R_ESP))
        return false;
    if (!i->has_mem)
        return i->rm != R_ESP;
    return c->acc != MA_NONE && i->memsize && i->memsize <= 4 && flat_operand(i);
}

bool sp_mergeable(const struct xl *x, u32 k)
{
    const struct insn *i = &x->u->insns[k];
    const struct cls *c = &x->cls[k];

    if (x->sp_pend <= -SP_PEND_MAX || x->sp_pend >= SP_PEND_MAX)
        return false;
    if (among(c->act, ACTS(COPY) | ACTS(DIV))) /* most instructions */
        return copy_mergeable(i, c);
    switch (c->act) {
    case ACT_PUSH_R:
    case ACT_POP_R:
        return i->opsize == 4 && (i->opcode & 7) != R_ESP;
    case ACT_PUSH_I:
    case ACT_CALL:
    case ACT_CALL_OVER:
    case ACT_RET:
        return i->opsize == 4 && (x->env->mode & MODE_FLATCS);
    case ACT_CALL_IND:
        return i->opsize == 4 && (x->env->mode & MODE_FLATCS) &&
               (i->has_mem ? flat_operand(i) : i->rm != R_ESP);
    case ACT_LEAVE:
    case ACT_PUSH_SREG:
    case ACT_PUSHF:
        return i->opsize == 4;
    case ACT_NOP:
        return true;
    case ACT_PUSH_M:
        return i->opsize == 4 && i->has_mem && flat_operand(i);
    case ACT_MOV_RI:
        return i->opcode >= 0xb8 && i->opsize == 4 && (i->opcode & 7) != R_ESP;
    case ACT_LEA:
        return i->opsize == 4 && i->adsize == 4 && i->reg != R_ESP;
    case ACT_ADD_ESP:
        /* with the flags aside it costs a move more, so only for what moves esp again: esp is a chain from
         * call to call */
        return esp_constant(i) && (flags_dead(x, k) || (k + 1 < x->u->n_insns && pops(x, k + 1)));
    default:
        return false;
    }
}

/* esp += delta, without flags; 16-bit stacks change sp only. */
void sp_add(struct xl *x, i32 delta)
{
    struct emit *e = &x->e;

    if (x->sp_merge) {
        x->sp_pend += delta;
        return;
    }
    if (x->env->mode & MODE_SS32) {
        e_lea32(e, ABI_ESP, ABI_ESP, -1, 1, delta);
    } else {
        e_lea32(e, R11, ABI_ESP, -1, 1, delta);
        e8(e, 0x66);
        e_mov_rr32(e, ABI_ESP, R11);
    }
}

void store_op(struct xl *x, int reg, u32 n)
{
    op_mem(x, n == 2 ? OP_66 : 0, 0, n == 1 ? 0x88 : 0x89, reg);
}

void load_op(struct xl *x, int reg, u32 n)
{
    if (n == 4)
        op_mem(x, 0, 0, 0x8b, reg);
    else /* movzx */
        op_mem(x, 0, 1, n == 2 ? 0xb7 : 0xb6, reg);
}

/* Guest register g = reg, n bytes. */
void set_reg(struct xl *x, u8 g, int reg, u32 n)
{
    if (n == 2)
        e8(&x->e, 0x66);
    e_mov_rr32(&x->e, hreg(g), reg);
}

bool push_keeps_r8(const struct xl *x)
{
    const u32 need = MODE_WIN | MODE_SS32 | MODE_FLATSS;
    return (x->env->mode & need) == need && !x->table_only;
}

/* Pushes a value that `put` stores; the common frame of all pushes. */
static bool push_begin(struct xl *x, u32 n)
{
    if (!seg_inline(x, S_SS, true))
        return false;
    mem_stack(x, -(i32)n, n, true);
    return true;
}

static void push_imm(struct xl *x, u32 imm, u32 n)
{
    op_mem(x, n == 2 ? OP_66 : 0, 0, 0xc7, 0);
    e_word(&x->e, imm, n);
}

bool push_const(struct xl *x, u32 imm, u32 n)
{
    if (!push_begin(x, n))
        return false;
    push_imm(x, imm, n);
    sp_add(x, -(i32)n);
    return true;
}

bool push_eip(struct xl *x, u32 eip, u32 n)
{
    if (!push_begin(x, n))
        return false;
    push_imm(x, eip, n);
    if (n == 4)
        unit_moves(x, MOVE_EIP);
    else
        x->u->fixed = true;
    sp_add(x, -(i32)n);
    return true;
}

/* r8d = popped value; esp not yet changed. */
bool pop_value(struct xl *x, u32 n)
{
    if (!seg_inline(x, S_SS, false))
        return false;
    mem_stack(x, 0, n, false);
    load_op(x, R8, n);
    return true;
}

bool pop_address(struct xl *x, u32 n)
{
    if (n == 2)
        return pop_value(x, n);
    if (!seg_inline(x, S_SS, false))
        return false;
    mem_stack(x, 0, n, false);
    op_mem(x, OP_W, 0, 0x63, R8); /* movsxd */
    return true;
}

/* Stores a host register as the new top of the stack. */
static bool push_reg(struct xl *x, int reg, u32 n)
{
    if (!push_begin(x, n))
        return false;
    store_op(x, reg, n);
    sp_add(x, -(i32)n);
    return true;
}

bool act_push_r(struct xl *x, const struct insn *i, struct cls c)
{
    return push_reg(x, hreg(i->opcode & 7), i->opsize);
}

bool act_push_i(struct xl *x, const struct insn *i, struct cls c)
{
    return push_const(x, i->imm, i->opsize);
}

bool act_push_sreg(struct xl *x, const struct insn *i, struct cls c)
{
    int s = i->map == 1 ? (i->opcode == 0xa0 ? S_FS : S_GS) : i->opcode >> 3;
    u32 n = i->opsize;

    if (!push_begin(x, n))
        return false;
    e_movzx16_mem(&x->e, R11, R15, VO_SEG + s * VO_SEG_SIZE); /* the selector */
    store_op(x, R11, n);
    sp_add(x, -(i32)n);
    return true;
}

bool act_push_m(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    u32 n = i->opsize;

    if (!i->has_mem) /* FF /6 with a register */
        return push_reg(x, hreg(i->rm), n);
    if (!seg_inline(x, i->seg, false) || !seg_inline(x, S_SS, true))
        return false;
    mem_operand(x, i, n, false, 0);
    load_op(x, R8, n);
    if (push_keeps_r8(x))
        return push_reg(x, R8, n);
    e_rm(e, 0, 0x89, R8, R15, -1, 1, BT_OFF(BT_TMP));
    push_begin(x, n);
    e_rm(e, 0, 0x8b, R11, R15, -1, 1, BT_OFF(BT_TMP));
    store_op(x, R11, n);
    sp_add(x, -(i32)n);
    return true;
}

bool act_pop_r(struct xl *x, const struct insn *i, struct cls c)
{
    u32 n = i->opsize;

    if (n == 4 && (i->opcode & 7) != R_ESP) {
        if (!seg_inline(x, S_SS, false))
            return false;
        mem_stack(x, 0, n, false);
        load_op(x, hreg(i->opcode & 7), n);
        sp_add(x, (i32)n);
        return true;
    }
    if (!pop_value(x, n))
        return false;
    sp_add(x, (i32)n);
    set_reg(x, i->opcode & 7, R8, n);
    return true;
}

bool act_pop_m(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    u32 n = i->opsize;

    if (!i->has_mem) {
        if (!pop_value(x, n))
            return false;
        sp_add(x, (i32)n);
        set_reg(x, i->rm, R8, n);
        return true;
    }
    if (!seg_inline(x, i->seg, true) || !pop_value(x, n))
        return false;
    e_rm(e, 0, 0x89, R8, R15, -1, 1, BT_OFF(BT_TMP));
    mem_operand(x, i, n, true, (i32)n);
    e_rm(e, 0, 0x8b, R11, R15, -1, 1, BT_OFF(BT_TMP));
    store_op(x, R11, n);
    sp_add(x, (i32)n);
    return true;
}

bool act_leave(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;

    if (i->opsize != 4 || !(x->env->mode & MODE_SS32) || !seg_inline(x, S_SS, false))
        return false;
    if (x->sp_merge) {
        mem_is(x, true, ABI_EBP, -1, 1, 0);
        load_op(x, R8, 4);
        e_mov_rr32(e, ABI_ESP, ABI_EBP);
        e_mov_rr32(e, ABI_EBP, R8);
        x->sp_pend = 4; /* whatever was pending is gone */
        return true;
    }
    e_mov_rr32(e, R8, ABI_EBP);
    seg_apply(x, S_SS, 4, false);
    mem_linear_r8(x, 4, false);
    load_op(x, R8, 4);
    e_lea32(e, ABI_ESP, ABI_EBP, -1, 1, 4);
    e_mov_rr32(e, ABI_EBP, R8);
    return true;
}
