/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Far jmp, call and ret: direct code segments, call gates (16 and 32 bits, with parameters and stack switch),
 * task gates and TSS descriptors (SDM vol. 2, JMP, CALL, RET; vol. 3, 5.8).
 *
 * Each function makes every check and every memory access that can fault first; registers change only after
 * the last of them. On success CS is loaded and v->next_eip is the target. Task switches are the exception
 * that the architecture makes itself: task_switch() may fault in the new task's context, with v->eip there.
 *
 * do_iret() is in iret.c.
 */
#include "cpu/sys.h"

/* Commits CS with the RPL that it must show. */
static inline void load_cs(struct vcpu *v, u16 sel, u32 rpl, const struct desc *d)
{
    v->seg[S_CS] = seg_from_desc((u16)((sel & ~3u) | rpl), d);
}

/* Real mode and V86: is off within the code segment? The limit of CS is not changed by the transfer. */
static inline int real_target(struct vcpu *v, u32 off)
{
    u32 limit = v->sflags & FL_VM ? 0xffff : v->seg[S_CS].limit;
    return off <= limit ? CPU_OK : cpu_raise_err(v, EXC_GP, 0);
}

/* The code segment behind a direct far jmp or call: privilege, presence, offset. */
static int direct_target(struct vcpu *v, u16 sel, const struct desc *d, u32 off)
{
    u32 err = sel & 0xfffc, dpl = desc_dpl(d);
    if (!desc_is_code(d))
        return cpu_raise_err(v, EXC_GP, err);
    if (desc_conforming(d) ? dpl > v->cpl : ((sel & 3u) > v->cpl || dpl != v->cpl))
        return cpu_raise_err(v, EXC_GP, err);
    if (!desc_present(d))
        return cpu_raise_err(v, EXC_NP, err);
    if (off > desc_limit(d))
        return cpu_raise_err(v, EXC_GP, 0);
    return CPU_OK;
}

/* The checks common to all system descriptors that jmp and call may name. */
static int system_access(struct vcpu *v, u16 sel, const struct desc *d)
{
    u32 dpl = desc_dpl(d);
    if (dpl < v->cpl || (sel & 3u) > dpl)
        return cpu_raise_err(v, EXC_GP, sel & 0xfffc);
    if (!desc_present(d))
        return cpu_raise_err(v, EXC_NP, sel & 0xfffc);
    return CPU_OK;
}

/* Target code descriptor of a call gate. For jmp the privilege level may not change. */
static int gate_target(struct vcpu *v, u16 sel, bool is_jmp, struct desc *d)
{
    u32 err = sel & 0xfffc;
    if (err == 0)
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(desc_load(v, sel, EXC_GP, d));
    u32 dpl = desc_dpl(d);
    if (!desc_is_code(d) || dpl > v->cpl || (is_jmp && !desc_conforming(d) && dpl != v->cpl))
        return cpu_raise_err(v, EXC_GP, err);
    if (!desc_present(d))
        return cpu_raise_err(v, EXC_NP, err);
    return CPU_OK;
}

/* Task gates and TSS descriptors. */
static int task_transfer(struct vcpu *v, u16 sel, const struct desc *d, enum task_source src, u32 return_eip)
{
    if (desc_type(d) == DT_TASK)
        return task_gate(v, d, src, return_eip, cpu_eflags(v), false, 0);
    return task_switch(v, sel, src, return_eip, false, 0);
}

int far_jmp(struct vcpu *v, u16 sel, u32 off, u32 opsize)
{
    if (opsize == 2)
        off &= 0xffff;
    if (!sys_protected(v)) {
        TRY(real_target(v, off));
        seg_load_real(v, S_CS, sel);
        v->next_eip = off;
        mode_refresh(v);
        return CPU_OK;
    }
    struct desc d, cs;
    if ((sel & 0xfffc) == 0)
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(desc_load(v, sel, EXC_GP, &d));
    if (desc_is_s(&d)) {
        TRY(direct_target(v, sel, &d, off));
        TRY(desc_mark_accessed(v, &d));
        load_cs(v, sel, v->cpl, &d);
        v->next_eip = off;
        mode_refresh(v);
        return CPU_OK;
    }
    u32 type = desc_type(&d);
    switch (type) {
    case DT_CALL16:
    case DT_CALL32:
        TRY(system_access(v, sel, &d));
        TRY(gate_target(v, gate_sel(&d), true, &cs));
        off = gate_off(&d, type == DT_CALL32);
        if (off > desc_limit(&cs))
            return cpu_raise_err(v, EXC_GP, 0);
        TRY(desc_mark_accessed(v, &cs));
        load_cs(v, gate_sel(&d), v->cpl, &cs);
        v->next_eip = off;
        mode_refresh(v);
        return CPU_OK;
    case DT_TASK:
    case DT_TSS16:
    case DT_TSS32:
        TRY(system_access(v, sel, &d));
        return task_transfer(v, sel, &d, TASK_JMP, v->next_eip);
    default:
        return cpu_raise_err(v, EXC_GP, sel & 0xfffc);
    }
}

/* A call through a gate to more privileged code: new stack from the TSS, parameters copied. */
static int call_inner(struct vcpu *v, const struct desc *gate, struct desc *cs, u32 return_eip)
{
    bool is32 = desc_type(gate) == DT_CALL32;
    u32 size = is32 ? 4 : 2, dpl = desc_dpl(cs), off = gate_off(gate, is32);
    int params = (gate->raw >> 32) & 0x1f, n = 0;
    struct seg ss;
    u32 esp, frame[FRAME_MAX];

    TRY(tss_inner_stack(v, dpl, &ss, &esp));
    if (off > desc_limit(cs))
        return cpu_raise_err(v, EXC_GP, 0);
    frame[n++] = v->seg[S_SS].sel;
    frame[n++] = v->gpr[R_ESP];
    for (int k = params - 1; k >= 0; k--)
        TRY(stack_peek(v, (u32)k * size, size, &frame[n++]));
    frame[n++] = v->seg[S_CS].sel;
    frame[n++] = return_eip;
    TRY(desc_mark_accessed(v, cs));
    TRY(stack_push_frame(v, &ss, &esp, frame, n, size, 0, ss.sel & 0xfffc));

    v->cpl = (u8)dpl;
    load_cs(v, gate_sel(gate), dpl, cs);
    v->seg[S_SS] = ss;
    /* the frame is in place: with a 16-bit stack only SP is meaningful, and the rest comes from the TSS as
     * well */
    v->gpr[R_ESP] = esp;
    v->next_eip = off;
    mode_refresh(v);
    return CPU_OK;
}

int far_call(struct vcpu *v, u16 sel, u32 off, u32 opsize, u32 return_eip)
{
    u32 frame[2] = {v->seg[S_CS].sel, return_eip};
    if (opsize == 2)
        off &= 0xffff;
    if (!sys_protected(v)) {
        TRY(real_target(v, off));
        TRY(stack_push(v, frame, 2, opsize));
        seg_load_real(v, S_CS, sel);
        v->next_eip = off;
        mode_refresh(v);
        return CPU_OK;
    }
    struct desc d, cs;
    if ((sel & 0xfffc) == 0)
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(desc_load(v, sel, EXC_GP, &d));
    if (desc_is_s(&d)) {
        TRY(direct_target(v, sel, &d, off));
        TRY(desc_mark_accessed(v, &d));
        TRY(stack_push(v, frame, 2, opsize));
        load_cs(v, sel, v->cpl, &d);
        v->next_eip = off;
        mode_refresh(v);
        return CPU_OK;
    }
    u32 type = desc_type(&d);
    switch (type) {
    case DT_CALL16:
    case DT_CALL32:
        TRY(system_access(v, sel, &d));
        TRY(gate_target(v, gate_sel(&d), false, &cs));
        if (!desc_conforming(&cs) && desc_dpl(&cs) < v->cpl)
            return call_inner(v, &d, &cs, return_eip);
        off = gate_off(&d, type == DT_CALL32);
        if (off > desc_limit(&cs))
            return cpu_raise_err(v, EXC_GP, 0);
        TRY(desc_mark_accessed(v, &cs));
        TRY(stack_push(v, frame, 2, type == DT_CALL32 ? 4 : 2));
        load_cs(v, gate_sel(&d), v->cpl, &cs);
        v->next_eip = off;
        mode_refresh(v);
        return CPU_OK;
    case DT_TASK:
    case DT_TSS16:
    case DT_TSS32:
        TRY(system_access(v, sel, &d));
        return task_transfer(v, sel, &d, TASK_CALL, return_eip);
    default:
        return cpu_raise_err(v, EXC_GP, sel & 0xfffc);
    }
}

int far_ret(struct vcpu *v, u32 opsize, u32 pop_bytes)
{
    u32 eip, cs_sel, esp = v->gpr[R_ESP];
    TRY(stack_peek(v, opsize, opsize, &cs_sel)); /* the selector first: cr2 shows it */
    TRY(stack_peek(v, 0, opsize, &eip));
    u16 sel = (u16)cs_sel;
    if (!sys_protected(v)) {
        TRY(real_target(v, eip));
        seg_load_real(v, S_CS, sel);
        stack_set(v, esp + 2 * opsize + pop_bytes);
        v->next_eip = eip;
        mode_refresh(v);
        return CPU_OK;
    }

    u32 err = sel & 0xfffc, rpl = sel & 3;
    struct desc cs, sd;
    if (err == 0)
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(desc_load(v, sel, EXC_GP, &cs));
    if (!desc_is_code(&cs) || rpl < v->cpl ||
        (desc_conforming(&cs) ? desc_dpl(&cs) > rpl : desc_dpl(&cs) != rpl))
        return cpu_raise_err(v, EXC_GP, err);
    if (!desc_present(&cs))
        return cpu_raise_err(v, EXC_NP, err);

    if (rpl == v->cpl) {
        if (eip > desc_limit(&cs))
            return cpu_raise_err(v, EXC_GP, 0);
        TRY(desc_mark_accessed(v, &cs));
        load_cs(v, sel, rpl, &cs);
        stack_set(v, esp + 2 * opsize + pop_bytes);
        v->next_eip = eip;
        mode_refresh(v);
        return CPU_OK;
    }

    u32 new_esp, ss_sel;
    TRY(stack_peek(v, 2 * opsize + pop_bytes, opsize, &new_esp));
    TRY(stack_peek(v, 3 * opsize + pop_bytes, opsize, &ss_sel));
    ss_sel &= 0xffff;
    err = ss_sel & 0xfffc;
    if (err == 0)
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(desc_load(v, (u16)ss_sel, EXC_GP, &sd));
    if ((ss_sel & 3) != rpl || !desc_is_wdata(&sd) || desc_dpl(&sd) != rpl)
        return cpu_raise_err(v, EXC_GP, err);
    if (!desc_present(&sd))
        return cpu_raise_err(v, EXC_SS, err);
    if (eip > desc_limit(&cs))
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(desc_mark_accessed(v, &cs));
    TRY(desc_mark_accessed(v, &sd));

    v->cpl = (u8)rpl;
    load_cs(v, sel, rpl, &cs);
    v->seg[S_SS] = seg_from_desc((u16)ss_sel, &sd);
    stack_set(v, new_esp + pop_bytes); /* a 16-bit stack keeps the upper half of ESP, as processors do */
    seg_drop_privileged(v);
    v->next_eip = eip;
    mode_refresh(v);
    return CPU_OK;
}
