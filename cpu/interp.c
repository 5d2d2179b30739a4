/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interpreter's loop: the reference semantics, one instruction at a time.
 *
 * What happens around an instruction (SDM vol. 3, 6.9, table 6-2 and 17.3):
 *   before   instruction breakpoints (#DB fault, unless RF), fetch faults
 *   during   the handler; its fault leaves everything as it was, except for the progress of REP
 *   after    RF is cleared (iret, popf and task switches set their own), the interrupt shadow ends, and data
 *            breakpoints and single step make a #DB trap. mov ss and pop ss hold such traps back for one
 * instruction.
 *
 * interp_run() has a fast path for instructions around which nothing of that can happen; full_step() does it
 * all. Light code; the handlers that are heavy park the FPU themselves.
 */
#include "cpu/interp.h"

#define DR6_BS    (1u << 14)
#define DR7_ALL_E 0xffu

/* DR6 bits of the instruction breakpoints at lin (SDM vol. 3, 17.2.4): enabled, R/W = 00, LEN = 00. */
static u32 insn_breakpoints(const struct vcpu *v, u32 lin)
{
    u32 dr7 = v->dr[7], hit = 0;
    for (u32 n = 0; n < 4; n++) {
        if ((dr7 >> (2 * n) & 3) && (dr7 >> (16 + 4 * n) & 15) == 0 && v->dr[n] == lin)
            hit |= 1u << n;
    }
    return hit;
}

static bool loads_ss(const struct insn *i)
{
    return i->map == 0 && ((i->opcode == 0x8e && i->reg == S_SS) || i->opcode == 0x17);
}

static inline int exec(struct vcpu *v, const struct insn *i)
{
    v->next_eip = v->eip + i->len; /* does not wrap at 64 KiB, in no mode: beyond is beyond the limit */
    TRY(i->fn(v, i));
    v->eip = v->next_eip;
    return CPU_OK;
}

int interp_exec(struct vcpu *v, const struct insn *i)
{
    return exec(v, i);
}

static void full_step(struct vcpu *v)
{
    const struct insn *i;
    u32 start = v->eip;
    u32 rf = v->sflags & FL_RF, tf = v->sflags & FL_TF;
    u8 shadow = v->intr_shadow;

    if (unlikely((v->mode & MODE_STEP) && (v->dr[7] & DR7_ALL_E) && !rf)) {
        u32 hit = insn_breakpoints(v, v->seg[S_CS].base + start);
        if (hit) {
            cpu_raise(v, EXC_DB);
            v->fault.dr6 = hit;
            goto fault;
        }
    }
    if (icache_fetch(v, &i) != CPU_OK)
        goto fault;
    bool rep = insn_is_rep(i), holds_traps = loads_ss(i);

    v->sflags &= ~FL_RF;
    if (exec(v, i) != CPU_OK) {
        v->sflags |= rf;
        goto fault;
    }
    if (rep && v->eip == start)
        v->sflags |= rf; /* not completed yet */
    if (shadow)
        v->intr_shadow = 0;
    if (unlikely((tf || v->dr6_pending) && !holds_traps)) {
        u32 dr6 = v->dr6_pending | (tf ? DR6_BS : 0);
        v->dr6_pending = 0;
        v->next_eip = v->eip;
        cpu_raise(v, EXC_DB);
        v->fault.is_trap = 1;
        v->fault.dr6 = dr6;
        v->intr_shadow = 0;
        cpu_deliver_fault(v);
    }
    return;

fault:
    v->dr6_pending = 0;
    v->intr_shadow = 0;
    cpu_deliver_fault(v);
}

void interp_step(struct vcpu *v)
{
    v->stats.insns_interp++;
    full_step(v);
}

/* Is there anything besides the next instruction to think of? One test for the common case. */
static inline bool needs_attention(const struct vcpu *v)
{
    return v->events | __atomic_load_n(&v->kick, __ATOMIC_RELAXED) |
           __atomic_load_n(&v->intr_line, __ATOMIC_RELAXED) |
           __atomic_load_n(&v->nmi_pending, __ATOMIC_RELAXED) | (v->mode & MODE_STEP) | (v->sflags & FL_RF) |
           v->intr_shadow | v->dr6_pending;
}

enum attend { STOP, AGAIN, STEPPED, NOTHING };

/* Takes an interrupt (AGAIN: look anew), executes an instruction by full_step(), or finds that the fast path
 * will do. */
static enum attend attend(struct vcpu *v)
{
    if (__atomic_load_n(&v->kick, __ATOMIC_RELAXED) || (v->events & ~EV_HALT))
        return STOP;
    if (cpu_interrupt_ready(v) && cpu_poll_interrupts(v))
        return AGAIN;
    if (v->events)
        return STOP;
    if ((v->mode & MODE_STEP) | (v->sflags & FL_RF) | v->intr_shadow | v->dr6_pending) {
        full_step(v);
        return STEPPED;
    }
    return NOTHING; /* an interrupt is pending, but masked */
}

u64 interp_run(struct vcpu *v, u64 max)
{
    u64 n = 0;

    while (n < max) {
        const struct insn *i;

        if (unlikely(needs_attention(v))) {
            enum attend a = attend(v);
            if (a == STOP)
                break;
            n += a == STEPPED;
            if (a != NOTHING)
                continue;
        }
        if (unlikely(icache_fetch(v, &i) != CPU_OK || exec(v, i) != CPU_OK))
            cpu_deliver_fault(v);
        n++;
    }
    v->stats.insns_interp += n;
    return n;
}
