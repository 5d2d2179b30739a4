/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * popf, control registers and port reads without leaving translated code, in the cases that are common; the
 * rest goes to the interpreter from the same place (STUB_SLOW, STUB_EXEC).
 *
 *  popf    arithmetic flags and IF change; TF, IOPL, NT, AC and ID are as they were, and DF is clear.
 *  mov to  CR2; CR0 and CR4, if the value is what they hold.
 *  invlpg  of a page that nothing is known about which the page tables do not say.
 *  fxsave, fxrstor  of an operand in memory.
 *  in      one byte, from a port whose value the device has given in advance, or gives at once (vcpu.ports).
 *
 * Only where no check of rights is left: control registers at CPL 0, ports where CPL <= IOPL outside of V86,
 * FPU state where CR0.EM and TS are clear.
 */
#include "translator/xl.h"

bool act_popf(struct xl *x, const struct insn *i, struct cls c)
{
    u32 mode = x->env->mode, same = FL_TF | FL_NT | FL_DF; /* clear in what they are compared with */

    if (mode & MODE_VM)
        return false;
    if (i->opsize == 4)
        same |= FL_AC | FL_ID;
    if (!(mode & MODE_CPL))
        same |= FL_IOPL;
    if (!pop_value(x, i->opsize))
        return false;
    fl_clobber(x);
    e_mov_ri32(&x->e, R9, same);
    /* out of the unit otherwise: DF may be set then */
    call_thunk(x, mode & MODE_IOPL_OK ? TH_POPF_IF : TH_POPF, STUB_SLOW_OUT);
    x->fs = FS_SAVED; /* aside */
    x->df_clear = true;
    sp_add(x, (i32)i->opsize);
    return true;
}

/* Offset of a control register in struct vcpu, 0: none such. */
static i32 control_register(const struct xl *x, u32 n)
{
    switch (n) {
    case 0:
        return VO_CR0;
    case 2:
        return VO_CR2;
    case 3:
        return VO_CR3;
    case 4:
        return x->env->model->featuresx & CPUFX_CPUID ? VO_CR4 : 0;
    default:
        return 0;
    }
}

bool act_from_cr(struct xl *x, const struct insn *i, struct cls c)
{
    i32 at = control_register(x, i->reg);

    if (!at)
        return false;
    e_rm(&x->e, 0, 0x8b, hreg(i->rm), R15, -1, 1, at);
    return true;
}

bool act_to_cr(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;
    i32 at = control_register(x, i->reg);

    if (!at || i->reg == 3)
        return false;
    if (i->reg == 2) {
        e_rm(e, 0, 0x89, hreg(i->rm), R15, -1, 1, at);
        return true;
    }
    bool ts = i->reg == 0 && !x->env->exact;
    if (ts)
        fl_force_saved(x);
    else
        fl_clobber(x);
    e_mov_rr32(e, R8, hreg(i->rm));
    e_rm(e, 0, 0x3b, R8, R15, -1, 1, at); /* cmp */
    stub_add(x, ts ? STUB_CR0 : STUB_EXEC, e_jcc(e, 5), 0, 0, 0);
    return true;
}

bool act_invlpg(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;

    fl_clobber(x);
    ea_offset(x, i, R8, 0);
    if (!(x->env->mode & flat_bit(i->seg))) { /* its limit does not matter */
        e_rm(e, 0, 0x8b, R9, R15, -1, 1, VO_SEG + i->seg * VO_SEG_SIZE + VO_SEG_BASE);
        e_lea32(e, R8, R8, R9, 1, 0);
    }
    call_thunk(x, TH_INVLPG, STUB_EXEC);
    return true;
}

/* The thunks know MXCSR as a processor with SSE2 has it. */
bool act_fxstate(struct xl *x, const struct insn *i, struct cls c)
{
    if (i->seg == S_CS || !(x->env->mode & flat_bit(i->seg)) || !(x->env->model->features & CPUF_SSE2))
        return false;
    fl_clobber(x);
    ea_offset(x, i, R8, 0);
    call_thunk(x, i->reg == 0 ? TH_FXSAVE : TH_FXRSTOR, STUB_EXEC);
    return true;
}

bool act_in(struct xl *x, const struct insn *i, struct cls c)
{
    struct emit *e = &x->e;

    if (x->env->exact)
        return false;
    fl_clobber(x);
    if (i->opcode == 0xe4)
        e_mov_ri32(e, R8, (u8)i->imm);
    else
        e_mov_rr32(e, R8, RDX);
    call_thunk(x, TH_IN, STUB_EXEC);
    set_reg(x, R_EAX, R9, 1);
    return true;
}
