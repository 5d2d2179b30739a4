/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iret in all its forms (SDM vol. 2, IRET): real mode, within and out of V86, same level, to an outer level,
 * and the task return under NT. It is the hottest far transfer (every system call and interrupt ends in one),
 * so the common case reads its five words through the table and recomputes the mode once.
 *
 * All checks and accesses come before the first change. NMI blocking ends with an iret
 * even if it faults (SDM vol. 3, 6.7.1).
 */
#include "base/opts.h"
#include "cpu/sys.h"

#define FL_IRET (FL_ARITH | FL_TF | FL_DF | FL_NT)

static int iret_real(struct vcpu *v, u32 opsize)
{
    u32 eip, cs, fl, mask;
    TRY(stack_peek(v, 0, opsize, &eip));
    TRY(stack_peek(v, opsize, opsize, &cs));
    TRY(stack_peek(v, 2 * opsize, opsize, &fl));
    if (eip > v->seg[S_CS].limit)
        return cpu_raise_err(v, EXC_GP, 0);
    mask = FL_IRET | FL_IF | FL_IOPL;
    if (opsize == 4)
        mask |= FL_RF | FL_AC | FL_ID;
    seg_load_real(v, S_CS, (u16)cs);
    stack_set(v, v->gpr[R_ESP] + 3 * opsize);
    flags_write(v, fl, mask);
    v->next_eip = eip;
    mode_refresh(v);
    return CPU_OK;
}

/* Within V86: IOPL 3 as on an 8086; below that only the 16-bit form and only with VME, IF being VIF (vol.
 * 3, 20.3). */
static int iret_v86(struct vcpu *v, u32 opsize)
{
    u32 eip, cs, fl, mask;
    bool vme = cpu_iopl(v) < 3;
    if (vme && (!(v->cr4 & CR4_VME) || opsize != 2))
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(stack_peek(v, 0, opsize, &eip));
    TRY(stack_peek(v, opsize, opsize, &cs));
    TRY(stack_peek(v, 2 * opsize, opsize, &fl));
    if (eip > 0xffff)
        return cpu_raise_err(v, EXC_GP, 0);
    if (vme) {
        if ((fl & FL_TF) || ((fl & FL_IF) && (v->sflags & FL_VIP)))
            return cpu_raise_err(v, EXC_GP, 0);
        mask = FL_IRET | FL_VIF;
        fl = fl & FL_IF ? fl | FL_VIF : fl & ~FL_VIF;
    } else {
        mask = FL_IRET | FL_IF;
        if (opsize == 4)
            mask |= FL_RF | FL_AC | FL_ID;
    }
    seg_load_real(v, S_CS, (u16)cs);
    stack_set(v, v->gpr[R_ESP] + 3 * opsize);
    flags_write(v, fl, mask);
    v->next_eip = eip;
    mode_refresh(v);
    return CPU_OK;
}

/* NT: return to the task whose selector is in the current TSS's back link. */
static int iret_task(struct vcpu *v)
{
    u16 link;
    TRY(sys_read(v, v->seg[S_TR].base, &link, 2));
    TRY(task_switch(v, link, TASK_IRET, v->next_eip, false, 0));
    return CPU_OK;
}

/* CPL 0 to V86: nine words, everything replaced. */
static int iret_to_v86(struct vcpu *v, u32 eip, u32 cs, u32 fl)
{
    static const u8 order[5] = {S_SS, S_ES, S_DS, S_FS, S_GS};
    u32 esp, sel[5];
    TRY(stack_peek(v, 12, 4, &esp));
    for (u32 k = 0; k < 5; k++)
        TRY(stack_peek(v, 16 + 4 * k, 4, &sel[k]));
    if (eip > 0xffff)
        return cpu_raise_err(v, EXC_GP, 0);
    cpu_set_eflags(v, fl & flags_model(v));
    v->cpl = 3;
    seg_load_real(v, S_CS, (u16)cs);
    for (int k = 0; k < 5; k++)
        seg_load_real(v, order[k], (u16)sel[k]);
    v->gpr[R_ESP] = esp;
    v->next_eip = eip;
    mode_refresh(v);
    return CPU_OK;
}

int do_iret(struct vcpu *v, u32 opsize)
{
    v->nmi_blocked = 0;
    if (unlikely(!(v->cr0 & CR0_PE)))
        return iret_real(v, opsize);
    if (unlikely(v->sflags & (FL_VM | FL_NT)))
        return v->sflags & FL_VM ? iret_v86(v, opsize) : iret_task(v);

    if (likely(opsize == 4 && iret_again(v)))
        return CPU_OK;

    u32 eip, cs_sel, fl, esp = v->gpr[R_ESP];
    TRY(stack_peek(v, 2 * opsize, opsize, &fl)); /* the last one first: cr2 shows it */
    TRY(stack_peek(v, opsize, opsize, &cs_sel));
    TRY(stack_peek(v, 0, opsize, &eip));
    if (unlikely((fl & FL_VM) && opsize == 4 && v->cpl == 0))
        return iret_to_v86(v, eip, cs_sel, fl);

    u16 sel = (u16)cs_sel;
    u32 err = sel & 0xfffc, rpl = sel & 3, ss_sel = 0, new_esp = 0;
    struct desc cs, sd;
    if (unlikely(err == 0))
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(desc_load(v, sel, EXC_GP, &cs));
    if (unlikely(!desc_is_code(&cs) || rpl < v->cpl ||
                 (desc_conforming(&cs) ? desc_dpl(&cs) > rpl : desc_dpl(&cs) != rpl)))
        return cpu_raise_err(v, EXC_GP, err);
    if (unlikely(!desc_present(&cs)))
        return cpu_raise_err(v, EXC_NP, err);
    bool outer = rpl > v->cpl;
    if (outer) {
        TRY(stack_peek(v, 3 * opsize, opsize, &new_esp));
        TRY(stack_peek(v, 4 * opsize, opsize, &ss_sel));
        ss_sel &= 0xffff;
        err = ss_sel & 0xfffc;
        if (unlikely(err == 0))
            return cpu_raise_err(v, EXC_GP, 0);
        TRY(desc_load(v, (u16)ss_sel, EXC_GP, &sd));
        if (unlikely((ss_sel & 3) != rpl || !desc_is_wdata(&sd) || desc_dpl(&sd) != rpl))
            return cpu_raise_err(v, EXC_GP, err);
        if (unlikely(!desc_present(&sd)))
            return cpu_raise_err(v, EXC_SS, err);
    }
    if (unlikely(eip > desc_limit(&cs)))
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(desc_mark_accessed(v, &cs));
    if (outer)
        TRY(desc_mark_accessed(v, &sd));

    /* which flags the old CPL may change */
    u32 mask = FL_IRET;
    if (opsize == 4)
        mask |= FL_RF | FL_AC | FL_ID;
    if (v->cpl <= cpu_iopl(v))
        mask |= FL_IF;
    if (v->cpl == 0)
        mask |= FL_IOPL | (opsize == 4 ? FL_VIF | FL_VIP : 0);
    flags_write(v, fl, mask);
    v->seg[S_CS] = seg_from_desc(sel, &cs);
    if (outer) {
        v->cpl = (u8)rpl;
        v->seg[S_SS] = seg_from_desc((u16)ss_sel, &sd);
        stack_set(v, new_esp); /* a 16-bit stack keeps the upper half of ESP, as processors do */
        seg_drop_privileged(v);
    } else {
        stack_set(v, esp + 3 * opsize);
    }
    v->next_eip = eip;
    mode_refresh(v);
    if (opsize == 4 && (v->opts & OPT(gates)))
        iret_remember(v, &cs, outer ? &sd : NULL);
    return CPU_OK;
}
