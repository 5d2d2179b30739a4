/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Near control transfers: jmp, jcc, call, ret, loop, jcxz, direct and indirect. */
#include "translator/xl.h"

/* Where CS is not flat, a target beyond its limit must fault at the branch: only the interpreter's handler
 * checks that. */
static bool target_ok(const struct xl *x, u32 target)
{
    return (x->env->mode & MODE_FLATCS) || target <= x->env->cs_limit;
}

static bool indirect_ok(const struct xl *x, u32 opsize)
{
    return (x->env->mode & MODE_FLATCS) || x->env->cs_limit == 0xffffffff ||
           (opsize == 2 && x->env->cs_limit >= 0xffff);
}

/* The operand of an indirect call or jump in *reg: r8d, or the guest's own register. */
static bool load_target(struct xl *x, const struct insn *i, int *reg)
{
    struct emit *e = &x->e;

    *reg = R8;
    if (!i->has_mem) {
        if (i->opsize == 2) {
            e_movzx16(e, R8, hreg(i->rm));
        } else {
            *reg = hreg(i->rm);
        }
        return true;
    }
    if (!seg_inline(x, i->seg, false))
        return false;
    mem_operand(x, i, i->opsize, false, 0);
    load_op(x, R8, i->opsize);
    return true;
}

/* Where a direct branch goes to. */
static u32 branch_to(struct xl *x, const struct insn *i)
{
    if (unlikely(i->opsize != 4))
        x->u->fixed = true;
    return unit_branch_target(x, x->k);
}

bool act_jcc(struct xl *x, const struct insn *i, struct cls c)
{
    u32 target = branch_to(x, i);

    if (!target_ok(x, target))
        return false;
    exit_cond(x, i->opcode & 15, target, false);
    return true;
}

bool act_jcc_turned(struct xl *x, const struct insn *i, struct cls c)
{
    exit_cond(x, (i->opcode & 15) ^ 1, next_eip(x, i), true);
    return true;
}

bool act_jmp(struct xl *x, const struct insn *i, struct cls c)
{
    u32 target = branch_to(x, i);

    if (!target_ok(x, target))
        return false;
    exit_direct(x, target);
    x->done = true;
    return true;
}

bool act_call(struct xl *x, const struct insn *i, struct cls c)
{
    u32 target = branch_to(x, i);

    if (!target_ok(x, target) || !push_eip(x, next_eip(x, i), i->opsize))
        return false;
    exit_call(x, target);
    return true;
}

bool act_call_over(struct xl *x, const struct insn *i, struct cls c)
{
    u32 target = unit_branch_target(x, x->k);

    if (!push_eip(x, next_eip(x, i), i->opsize))
        return false;
    exit_push(x, target);
    return true;
}

bool act_jmp_ind(struct xl *x, const struct insn *i, struct cls c)
{
    int reg;

    if (i->opsize == 2)
        x->u->fixed = true;
    if (!indirect_ok(x, i->opsize) || !load_target(x, i, &reg))
        return false;
    exit_indirect(x, reg, false);
    return true;
}

bool act_call_ind(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    u32 n = i->opsize;
    int reg;

    if (n == 2)
        x->u->fixed = true;
    if (!indirect_ok(x, n) || !seg_inline(x, S_SS, true) || !load_target(x, i, &reg))
        return false;
    if (reg == hreg(R_ESP)) { /* as it was before the push */
        e_mov_rr32(e, R8, reg);
        reg = R8;
    }
    if (reg == R8 && !push_keeps_r8(x))
        e_rm(e, 0, 0x89, R8, R15, -1, 1, BT_OFF(BT_TMP));
    push_eip(x, next_eip(x, i), n);
    if (reg == R8 && !push_keeps_r8(x))
        e_rm(e, 0, 0x8b, R8, R15, -1, 1, BT_OFF(BT_TMP));
    exit_indirect(x, reg, true);
    return true;
}

/* Whether a return leads to what the instruction before it has stored, and not behind a call. */
static bool returns_elsewhere(const struct xl *x)
{
    const struct insn *i;
    u8 act;

    if (!(x->env->opts & OPT(retpoline)) || !x->k || x->mark[x->k] & MARK_TARGET)
        return false;
    i = &x->u->insns[x->k - 1];
    act = x->cls[x->k - 1].act;
    return among(act, ACTS(PUSH_R) | ACTS(PUSH_I) | ACTS(PUSH_M)) ||
           (act == ACT_COPY && i->map == 0 && i->opcode == 0x89 && i->has_mem && i->base == R_ESP &&
            i->index == NOREG && !i->disp);
}

bool act_ret(struct xl *x, const struct insn *i, struct cls c)
{
    u32 n = i->opsize;
    bool predicted = (x->env->opts & OPT(ras)) && !returns_elsewhere(x);

    if (n == 2)
        x->u->fixed = true;
    if (!indirect_ok(x, n) || !(predicted ? pop_address(x, n) : pop_value(x, n)))
        return false;
    sp_add(x, (i32)(n + (i->opcode == 0xc2 ? i->imm & 0xffff : 0)));
    if (predicted)
        exit_return(x);
    else
        exit_indirect(x, R8, false);
    return true;
}

bool act_loop(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    u32 target = branch_to(x, i), at, skip;

    if (i->adsize != 4 || !target_ok(x, target))
        return false;
    fl_host(x);
    count_flush(x);
    e_lea32(e, RCX, RCX, -1, 1, -1);
    e8(e, 0xe3); /* jrcxz +5: over the jmp to the exit */
    e8(e, 5);
    at = e_jmp(e);
    skip = e_jmp(e);
    e_fix32(e, at, e->pos);
    exit_direct(x, target);
    e_fix32(e, skip, e->pos);
    return true;
}

bool act_jcxz(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    u32 target = branch_to(x, i), at;

    if (i->adsize != 4 || !target_ok(x, target))
        return false;
    fl_host(x);
    count_flush(x);
    e8(e, 0xe3); /* jrcxz +5: over the jmp that skips the exit */
    e8(e, 5);
    at = e_jmp(e);
    exit_direct(x, target);
    e_fix32(e, at, e->pos);
    return true;
}
