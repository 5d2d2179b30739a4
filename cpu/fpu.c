/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ownership of the host's FPU, and the entry to the x87/MMX/SSE part of the interpreter.
 *
 * The guest's x87, MMX and XMM0-7 state is in exactly one of two places: in v->fx (parked) or in the host's
 * registers (live), as v->fpu_live says. While it is live no code may run that uses those registers for
 * itself, which is why all light code is compiled for general registers only; before heavy code runs,
 * cpu_fpu_park() saves the state and gives novt the state that the C ABI promises (FCW 37Fh, empty register
 * stack, MXCSR 1F80h).
 *
 * fxsave64, fninit and fxrstor64 do not report pending x87 exceptions, so a guest with an unmasked exception
 * pending can be parked and made live at any time. XMM8-15 and the upper halves of YMM are not guest state.
 *
 * The last-instruction pointers in v->fx and in the host's registers are host addresses. They never reach the
 * guest: images are built with v->fpu_ip and its siblings (cpu/fpu_env.c).
 *
 * Instructions run on the host's own FPU through thunks (cpu/fpu_thunk.c), so results are the host's,
 * exactly.
 */
#include "cpu/fpu.h"

#define FX_POINTERS     8 /* SDM vol. 1, table 10-2: instruction and data pointer */
#define FX_POINTERS_LEN 16

void cpu_fpu_park(struct vcpu *v)
{
    static const u32 mxcsr = 0x1f80;
    u32 env[7]; /* SDM vol. 1, figure 8-9: [1] status, [3] instruction pointer, [5] operand pointer */

    if (!v->fpu_live)
        return;
    /* fnstenv, because AMD's fxsave leaves the instruction pointers out unless an exception is pending */
    __asm__ volatile("fxsave64 %0\n\t"
                     "fnstenv %1\n\t"
                     "fninit\n\t"
                     "ldmxcsr %2"
                     : "=m"(v->fx), "=m"(env)
                     : "m"(mxcsr)
                     : "memory");
    v->fpu_live = 0;
    if (env[3] && v->ops->fpu_env)
        v->ops->fpu_env(v, env[3], fpu_host_dp(env[1], env[5]));
}

void cpu_fpu_park_last(struct vcpu *v)
{
    cpu_fpu_park(v);
    fpu_zero(v->fx + FX_POINTERS, FX_POINTERS_LEN);
}

void cpu_fpu_live(struct vcpu *v)
{
    if (likely(v->fpu_live))
        return;
    __asm__ volatile("fxrstor64 %0" : : "m"(v->fx) : "memory");
    v->fpu_live = 1;
}

void cpu_fpu_reset(struct vcpu *v)
{
    static const u16 fcw = 0x0040; /* not FNINIT's 37Fh: SDM vol. 3, table 9-1 */
    static const u32 mxcsr = 0x1f80;

    cpu_fpu_park(v);
    fpu_zero(v->fx, sizeof(v->fx));
    __builtin_memcpy(v->fx, &fcw, 2);
    v->fx[4] = 0xff; /* tag word 5555h: eight zeros, none empty */
    __builtin_memcpy(v->fx + 24, &mxcsr, 4);
    v->fpu_ip = v->fpu_dp = 0;
    v->fpu_cs = v->fpu_ds = v->fpu_op = 0;
    fpu_ferr_update(v);
}

void fpu_ferr_update(struct vcpu *v)
{
    if (likely(!v->fpu_ferr) || (fpu_get_fsw(v) & FSW_ES))
        return;
    v->fpu_ferr = 0;
    v->fpu_ignne = 0;
    v->ops->ferr(v, 0);
}

int fpu_pending(struct vcpu *v, const struct insn *i)
{
    u32 env[7];
    u16 cw;
    int r;

    if (v->cr0 & CR0_NE)
        return cpu_raise(v, EXC_MF);
    if (!v->fpu_ignne) {
        /* The CPU stops before this instruction until an interrupt comes (SDM vol. 1, 8.7.2): keep coming
         * back here, and let the run loop deliver IRQ 13. */
        if (!v->fpu_ferr) {
            v->fpu_ferr = 1;
            v->ops->ferr(v, 1);
        }
        v->next_eip = v->eip;
        return CPU_OK;
    }
    if (i->opcode == 0x9b && i->map == 0)
        return CPU_OK;
    /* fnstenv masks every exception, which ends the pending state but keeps the flags. */
    cpu_fpu_live(v);
    __asm__ volatile("fnstenv %0" : "=m"(env));
    r = i->fn(v, i);
    cpu_fpu_live(v);
    cw = (u16)env[0];
    if (r == CPU_OK && (i->fpu_attr & FPA_CTRL))
        fpu_ferr_update(v); /* it has set the control word itself */
    else
        __asm__ volatile("fldcw %0" : : "m"(cw));
    return r;
}

insn_fn fpu_lookup(struct insn *i)
{
    insn_fn fn = NULL;

    if (i->map > 1)
        return NULL;
    i->thunk = NULL;
    i->fpu_attr = 0;
    fn = fpu_env_lookup(i);
    if (!fn)
        fn = i->map == 0 ? x87_lookup(i) : simd_lookup(i);
    return fn;
}
