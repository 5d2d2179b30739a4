/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions on IF and the other virtual flags, and software interrupts: pushf, popf, cli, sti, int n,
 * int3, into, icebp, iret, with all rules of CPL, IOPL, VM, VME and PVI (SDM vol. 2; vol. 3, 20.3 and 20.4).
 *
 * Software interrupts return CPU_FAULT with v->fault.is_soft, as cpu.h documents. With VME, an int n of a V86
 * task may be redirected to the 8086 program's own handler: that is an ordinary instruction here and returns
 * CPU_OK.
 */
#include "cpu/sysinsn.h"

/* IOPL-sensitive in V86; in protected mode only what they change depends on IOPL. */
static bool v86_below_iopl3(const struct vcpu *v)
{
    return (v->sflags & FL_VM) && cpu_iopl(v) < 3;
}

static int pushf(struct vcpu *v, const struct insn *i)
{
    u32 fl = cpu_eflags(v) & ~(FL_VM | FL_RF);
    if (unlikely(v86_below_iopl3(v))) {
        if (!(v->cr4 & CR4_VME) || i->opsize != 2)
            return raise_gp0(v);
        fl = (fl & ~FL_IF) | FL_IOPL | (fl & FL_VIF ? FL_IF : 0);
    }
    return i->opsize == 4 ? push32(v, fl) : push16(v, (u16)fl);
}

static int popf(struct vcpu *v, const struct insn *i)
{
    u32 fl, mask = FL_ARITH | FL_TF | FL_DF | FL_NT;
    if (i->opsize == 4)
        mask |= FL_AC | FL_ID;
    if (unlikely(v86_below_iopl3(v))) {
        if (!(v->cr4 & CR4_VME) || i->opsize != 2)
            return raise_gp0(v);
        TRY(stack_peek(v, 0, 2, &fl));
        if ((fl & FL_TF) || ((fl & FL_IF) && (v->sflags & FL_VIP)))
            return raise_gp0(v);
        mask |= FL_VIF;
        fl = fl & FL_IF ? fl | FL_VIF : fl & ~FL_VIF;
    } else {
        TRY(stack_peek(v, 0, i->opsize, &fl));
        if (v->cpl <= cpu_iopl(v) || !(v->cr0 & CR0_PE))
            mask |= FL_IF;
        if (v->cpl == 0)
            mask |= FL_IOPL;
    }
    set_sp(v, v->gpr[R_ESP] + i->opsize);
    if (flags_write(v, fl, mask))
        mode_refresh(v);
    v->sflags &= ~FL_RF;
    return CPU_OK;
}

/* cli and sti without IOPL: do VME (V86) or PVI (CPL 3) let them act on VIF? */
static bool virtual_if(const struct vcpu *v)
{
    if (v->sflags & FL_VM)
        return v->cr4 & CR4_VME;
    return v->cpl == 3 && (v->cr4 & CR4_PVI);
}

static int cli(struct vcpu *v, const struct insn *i)
{
    if (likely(v->mode & MODE_IOPL_OK)) {
        v->iflag = 0;
        return CPU_OK;
    }
    if (!virtual_if(v))
        return raise_gp0(v);
    v->sflags &= ~FL_VIF;
    return CPU_OK;
}

static int sti(struct vcpu *v, const struct insn *i)
{
    if (likely(v->mode & MODE_IOPL_OK)) {
        if (!v->iflag)
            v->intr_shadow = 1;
        v->iflag = 1;
        return CPU_OK;
    }
    if (!virtual_if(v) || (v->sflags & FL_VIP))
        return raise_gp0(v);
    v->sflags |= FL_VIF;
    return CPU_OK;
}

/* ---- software interrupts ---- */

static int raise_soft(struct vcpu *v, u8 vector)
{
    v->fault = (struct cpu_fault){.vector = vector, .is_soft = 1};
    return CPU_FAULT;
}

/* int n in V86 with VME: through the real-mode vector, without leaving V86 (SDM vol. 3, 20.3.1). */
static int redirect_v86(struct vcpu *v, u8 vector)
{
    u16 target[2];
    u32 fl = cpu_eflags(v) & 0xffff;
    bool iopl3 = cpu_iopl(v) == 3;
    if (!iopl3)
        fl = (fl & ~FL_IF) | FL_IOPL | (v->sflags & FL_VIF ? FL_IF : 0);
    u32 frame[3] = {fl, v->seg[S_CS].sel, v->next_eip};
    u32 lin = vector * 4u;
    TRY(lin_read16(v, lin, &target[0]));
    TRY(lin_read16(v, lin + 2, &target[1]));
    TRY(stack_push(v, frame, 3, 2));
    seg_load_real(v, S_CS, target[1]);
    v->next_eip = target[0];
    v->sflags &= ~(FL_TF | FL_RF | FL_NT);
    if (iopl3)
        v->iflag = 0;
    else
        v->sflags &= ~FL_VIF;
    mode_refresh(v);
    return CPU_OK;
}

static int int_n(struct vcpu *v, const struct insn *i)
{
    u8 vector = (u8)i->imm;
    if (likely(!(v->sflags & FL_VM)))
        return raise_soft(v, vector);
    if (v->cr4 & CR4_VME) {
        /* the redirection bitmap: the 32 bytes below the I/O bitmap */
        const struct seg *tr = &v->seg[S_TR];
        u16 base;
        u8 bits;
        if (!(tr->attr & 8) || tr->limit < 103)
            return raise_gp0(v);
        TRY(sys_read(v, tr->base + 102, &base, 2));
        u32 at = (u32)base - 32 + vector / 8u;
        if (base < 32 || at > tr->limit)
            return raise_gp0(v);
        TRY(sys_read(v, tr->base + at, &bits, 1));
        if (!((bits >> (vector & 7)) & 1))
            return redirect_v86(v, vector);
    }
    if (cpu_iopl(v) < 3)
        return raise_gp0(v);
    return raise_soft(v, vector);
}

static int int3(struct vcpu *v, const struct insn *i)
{
    return raise_soft(v, EXC_BP);
}

static int into(struct vcpu *v, const struct insn *i)
{
    return v->aflags & FL_OF ? raise_soft(v, EXC_OF) : CPU_OK;
}

/* int1: a #DB trap without DPL check. is_soft and is_trap together say that (see cpu.h). */
static int icebp(struct vcpu *v, const struct insn *i)
{
    v->fault = (struct cpu_fault){.vector = EXC_DB, .is_soft = 1, .is_trap = 1};
    return CPU_FAULT;
}

static int iret(struct vcpu *v, const struct insn *i)
{
    return do_iret(v, i->opsize);
}

insn_fn flag_insn_lookup(const struct insn *i)
{
    if (i->map != 0)
        return NULL;
    switch (i->opcode) {
    case 0x9c:
        return pushf;
    case 0x9d:
        return popf;
    case 0xcc:
        return int3;
    case 0xcd:
        return int_n;
    case 0xce:
        return into;
    case 0xcf:
        return iret;
    case 0xf1:
        return icebp;
    case 0xfa:
        return cli;
    case 0xfb:
        return sti;
    }
    return NULL;
}
