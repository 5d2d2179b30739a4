/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads of data segment registers, verw and rdtsc without leaving translated code. A kernel does a dozen of
 * them on every way in and out.
 *
 * The load itself is done by a thunk that knows descriptors which were loaded before (monitor/thunks.S); it
 * returns with ZF clear if it cannot, having changed nothing, and the interpreter executes the instruction
 * instead. A pop changes esp after the load, so either way a fault finds nothing changed.
 */
#include "translator/xl.h"

/* r8d = the operand */
static bool selector(struct xl *x, const struct insn *i)
{
    if (!i->has_mem) {
        e_movzx16(&x->e, R8, hreg(i->rm));
        return true;
    }
    if (!seg_inline(x, i->seg, false))
        return false;
    mem_operand(x, i, 2, false, 0);
    load_op(x, R8, 2);
    return true;
}

/* r8d |= what is not 0 of a remembered descriptor's tag besides the selector */
static void tag(struct xl *x, u32 bits)
{
    bits |= (x->env->mode & MODE_CPL) << 16;
    if (!bits)
        return;
    e_rex(&x->e, 0, 0, 0, R8);
    e8(&x->e, 0x81);
    e_modrm(&x->e, 3, 1, R8);
    e32(&x->e, bits);
}

static void load(struct xl *x, int seg)
{
    int th = seg >= S_FS ? TH_SEG_FSGS : TH_SEG_LOAD;

    fl_clobber(x);
    x->full &= (u8) ~(1u << seg);
    if (real_like(x))
        th = TH_SEG_REAL;
    else
        tag(x, 0);
    e_mov_ri32(&x->e, R9, (u32)(VO_SEG + seg * VO_SEG_SIZE));
    call_thunk(x, th, STUB_SLOW);
}

/* Only ZF comes of it, and often nobody asks for that: then it is done for its faults, which the interpreter
 * finds. */
bool act_verw(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    bool zf = fl_live(x, x->k + 1, FL_ZF);

    if (zf)
        fl_force_saved(x);
    if (!selector(x, i))
        return false;
    fl_clobber(x);
    tag(x, SEGC_VERW);
    call_thunk(x, TH_VERW, STUB_SLOW);
    if (zf) {
        e_rex(e, 0, 0, 0, ABI_FLAGS); /* or flags, 0x4000: ZF */
        e8(e, 0x81);
        e_modrm(e, 3, 1, ABI_FLAGS);
        e32(e, 0x4000);
    }
    return true;
}

/* The host's counter plus v->tsc_offset. Runs that are recorded or compared get it from a callout. */
bool act_rdtsc(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;

    if (x->env->exact || !x->env->host_tsc)
        return false;
    fl_clobber(x);
    e8(e, 0x0f);
    e8(e, 0x31);
    e_rm(e, 0, 0x03, RAX, R15, -1, 1, VO_TSC);     /* add */
    e_rm(e, 0, 0x13, RDX, R15, -1, 1, VO_TSC + 4); /* adc */
    return true;
}

/* Whether instructions k and k+1 load DS and ES, or ES and DS, with the same register, as kernels do. */
static bool loads_both(const struct xl *x, u32 k)
{
    const struct insn *i = &x->u->insns[k], *j = i + 1;

    return k + 1 < x->u->n_insns && x->cls[k + 1].act == ACT_MOV_TO_SREG && !(x->mark[k + 1] & MARK_TARGET) &&
           !i->has_mem && !j->has_mem && i->rm == j->rm &&
           (i->reg == S_DS ? j->reg == S_ES : i->reg == S_ES && j->reg == S_DS) && !real_like(x) &&
           !x->env->exact && !x->env->count;
}

bool act_mov_to_sreg(struct xl *x, const struct insn *i, struct cls c)
{
    if (x->k && x->k == x->both) /* with the one before */
        return true;
    if (!selector(x, i))
        return false;
    if (loads_both(x, x->k)) {
        fl_clobber(x);
        x->both = x->k + 1;
        tag(x, 0);
        call_thunk(x, TH_SEG_BOTH, STUB_SLOW_OUT); /* the second of them has no code to come back to */
        return true;
    }
    load(x, i->reg);
    return true;
}

bool act_pop_sreg(struct xl *x, const struct insn *i, struct cls c)
{
    int seg = i->map == 1 ? (i->opcode == 0xa1 ? S_FS : S_GS) : i->opcode >> 3;

    if (!pop_value(x, i->opsize))
        return false;
    if (i->opsize == 4)
        e_movzx16(&x->e, R8, R8);
    load(x, seg);
    sp_add(x, (i32)i->opsize);
    return true;
}
