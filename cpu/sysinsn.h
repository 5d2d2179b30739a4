/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the handlers of sensitive and system instructions (sysinsn*.c). Each file contributes one lookup;
 * sys_lookup() asks them in turn.
 */
#ifndef NOVT_CPU_SYSINSN_H
#define NOVT_CPU_SYSINSN_H

#include "cpu/interp.h"
#include "cpu/sys.h"

static inline int raise_gp0(struct vcpu *v)
{
    return cpu_raise_err(v, EXC_GP, 0);
}
#define NEED_CPL0(v)                                                                                         \
    do {                                                                                                     \
        if (unlikely((v)->cpl != 0))                                                                         \
            return raise_gp0(v);                                                                             \
    } while (0)
/* Instructions that do not exist in real mode and V86. */
#define NEED_PROTECTED(v)                                                                                    \
    do {                                                                                                     \
        if (unlikely(!sys_protected(v)))                                                                     \
            return cpu_raise(v, EXC_UD);                                                                     \
    } while (0)

/* 16-bit source: register or memory. */
static inline int rm_read16(struct vcpu *v, const struct insn *i, u16 *out)
{
    if (i->has_mem)
        return op_read16(v, i, out);
    *out = (u16)v->gpr[i->rm];
    return CPU_OK;
}
/* Stores a selector or the like: memory always gets 16 bits, a register the operand size. */
static inline int rm_write_sel(struct vcpu *v, const struct insn *i, u32 val)
{
    if (i->has_mem)
        return op_write16(v, i, (u16)val);
    set_masked(&v->gpr[i->rm], val, i->opsize == 2 ? 0xffff : ~0u);
    return CPU_OK;
}
static inline void set_zf(struct vcpu *v, bool zf)
{
    v->aflags = zf ? v->aflags | FL_ZF : v->aflags & ~FL_ZF;
}

insn_fn seg_insn_lookup(
    const struct insn *i); /* sysinsn_seg.c: segment registers, far transfers, descriptor checks */
insn_fn flag_insn_lookup(const struct insn *i); /* sysinsn_flags.c: pushf, popf, cli, sti, int n, iret */
insn_fn io_insn_lookup(const struct insn *i);   /* sysinsn_io.c */
insn_fn
ctl_insn_lookup(const struct insn *i); /* sysinsn_ctl.c: control registers, MSRs, cpuid, sysenter ... */

#endif
