/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Delivery of exceptions, software interrupts and external interrupts (SDM vol. 3, ch. 6; vol. 2, INT n).
 *
 * One loop delivers an event; if that faults, the pair decides what comes next (table 6-5): the second fault
 * alone, #DF, or shutdown. Each turn delivers or moves up in benign -> contributory / #PF -> #DF -> shutdown,
 * but for one hole in the architecture: a benign fault can raise itself for ever (#AC from pushing #AC's
 * frame on a misaligned CPL 3 stack, in a conforming handler), and a processor then hangs. Here the loop
 * gives up after MAX_TURNS with nothing delivered: the guest repeats its instruction and hangs all the same,
 * but the run loop sees its events in between.
 *
 * Invariants
 *  - An attempt that faults leaves registers as they were: gates are checked, then the whole frame is written
 * with the rights of the new privilege level, then registers change. So a nested fault sees the state of the
 * first.
 *  - The return address is v->eip for faults and interrupts, v->next_eip for traps and software interrupts.
 *  - Error codes are made without EXT here and below; the loop adds it, since only it knows where the event
 * came from.
 */
#include "base/log.h"
#include "base/opts.h"
#include "cpu/sys.h"

#define MAX_TURNS 16

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT };

static enum fault_class fault_class(const struct cpu_fault *f)
{
    if (f->is_soft || f->is_ext)
        return BENIGN;
    switch (f->vector) {
    case EXC_DE:
    case EXC_TS:
    case EXC_NP:
    case EXC_SS:
    case EXC_GP:
        return CONTRIBUTORY;
    case EXC_PF:
        return PAGE_FAULT;
    default:
        return BENIGN;
    }
}

/* The EFLAGS image to push: RF is set for faults, except instruction breakpoints (SDM vol. 3, 17.3.1.1). */
static u32 flags_image(const struct vcpu *v, const struct cpu_fault *f)
{
    u32 fl = cpu_eflags(v);
    if (f->is_soft || f->is_trap || f->is_ext || f->vector == EXC_DF || f->vector == EXC_MC)
        return fl;
    if (f->vector == EXC_DB && !(f->dr6 & DR6_BD))
        return fl;
    return fl | FL_RF;
}

/* Real mode: interrupt vector table of far pointers. */
static int deliver_real(struct vcpu *v, u8 vector, u32 return_eip)
{
    u32 frame[3] = {cpu_eflags(v) & 0xffff, v->seg[S_CS].sel, return_eip}, at = vector * 4u;
    u16 target[2];
    if (at + 3 > v->idtr.limit)
        return cpu_raise_err(v, EXC_GP, at * 2 + 2);
    TRY(sys_read(v, v->idtr.base + at, target, 4));
    if (target[0] > v->seg[S_CS].limit)
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(stack_push(v, frame, 3, 2));
    seg_load_real(v, S_CS, target[1]);
    v->next_eip = target[0];
    v->iflag = 0;
    v->sflags &= ~(FL_TF | FL_AC | FL_RF);
    return CPU_OK;
}

/* Everything on the way from CPL 3 to a handler is read and written with supervisor rights. So the
 * supervisor's view is made current first, which opens the inline paths to its tables, and the user's again
 * if the delivery fails. */
static inline void view_borrow(struct vcpu *v)
{
    v->cpl = 0;
    v->mode &= ~MODE_CPL;
    v->ops->cpl_changed(v);
}
static inline void view_return(struct vcpu *v)
{
    v->cpl = 3;
    v->mode |= 3;
    v->ops->cpl_changed(v);
}

/* Fetches and checks the gate of f->vector and the code segment that it names (SDM vol. 3, 6.12.1). cpl is
 * the real one. A task gate ends the checks early. */
static inline int check_gate(struct vcpu *v, const struct cpu_fault *f, u32 cpl, struct desc *gate,
                             struct desc *cs)
{
    u32 at = f->vector * 8u, gerr = at + 2;
    if (unlikely(at + 7 > v->idtr.limit))
        return cpu_raise_err(v, EXC_GP, gerr);
    gate->lin = v->idtr.base + at;
    TRY(sys_read(v, gate->lin, &gate->raw, 8));
    u32 type = (u32)(gate->raw >> 40) & 0x1f; /* with S */
    if (unlikely(type != DT_TASK && (type & ~9u) != DT_INT16))
        return cpu_raise_err(v, EXC_GP, gerr);
    if (f->is_soft && !f->is_trap && desc_dpl(gate) < cpl)
        return cpu_raise_err(v, EXC_GP, gerr);
    if (unlikely(!desc_present(gate)))
        return cpu_raise_err(v, EXC_NP, gerr);
    if (unlikely(type == DT_TASK))
        return CPU_OK;

    u16 sel = gate_sel(gate);
    u32 err = sel & 0xfffc;
    if (unlikely(err == 0))
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(desc_load(v, sel, EXC_GP, cs));
    u32 dpl = desc_dpl(cs);
    if (unlikely(!desc_is_code(cs) || dpl > cpl))
        return cpu_raise_err(v, EXC_GP, err);
    if (unlikely(!desc_present(cs)))
        return cpu_raise_err(v, EXC_NP, err);
    /* from V86 only to CPL 0 */
    if (unlikely((v->sflags & FL_VM) && (desc_conforming(cs) || dpl != 0)))
        return cpu_raise_err(v, EXC_GP, err);
    return CPU_OK;
}

/* To a more privileged handler: a new stack, and everything that iret needs on it. */
static inline int enter_inner(struct vcpu *v, const struct cpu_fault *f, u32 return_eip,
                              const struct desc *gate, struct desc *cs)
{
    bool vm = v->sflags & FL_VM, is32 = desc_type(gate) & 8;
    u32 frame[FRAME_MAX], esp, off = gate_off(gate, is32), dpl = desc_dpl(cs);
    int n = 0;
    struct seg ss;

    TRY(tss_inner_stack(v, dpl, &ss, &esp));
    if (vm) {
        frame[n++] = v->seg[S_GS].sel;
        frame[n++] = v->seg[S_FS].sel;
        frame[n++] = v->seg[S_DS].sel;
        frame[n++] = v->seg[S_ES].sel;
    }
    frame[n++] = v->seg[S_SS].sel;
    frame[n++] = v->gpr[R_ESP];
    frame[n++] = flags_image(v, f);
    frame[n++] = v->seg[S_CS].sel;
    frame[n++] = return_eip;
    if (f->has_error && !f->is_soft && !f->is_ext)
        frame[n++] = f->error;
    if (unlikely(off > desc_limit(cs)))
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(desc_mark_accessed(v, cs));
    TRY(stack_push_frame(v, &ss, &esp, frame, n, is32 ? 4 : 2, 0, ss.sel & 0xfffc));

    /* nothing can fault any more */
    v->cpl = (u8)dpl;
    v->seg[S_CS] = seg_from_desc((u16)((gate_sel(gate) & ~3u) | dpl), cs);
    v->seg[S_SS] = ss;
    v->gpr[R_ESP] = esp;
    if (unlikely(vm)) {
        seg_set_null(&v->seg[S_ES], 0);
        seg_set_null(&v->seg[S_DS], 0);
        seg_set_null(&v->seg[S_FS], 0);
        seg_set_null(&v->seg[S_GS], 0);
    }
    v->next_eip = off;
    return CPU_OK;
}

/* To a handler of the same privilege (or a conforming one): on the current stack. */
static inline int enter_same(struct vcpu *v, const struct cpu_fault *f, u32 return_eip,
                             const struct desc *gate, struct desc *cs)
{
    bool is32 = desc_type(gate) & 8;
    u32 off = gate_off(gate, is32), frame[4] = {flags_image(v, f), v->seg[S_CS].sel, return_eip, f->error};
    int n = f->has_error && !f->is_soft && !f->is_ext ? 4 : 3;
    if (unlikely(off > desc_limit(cs)))
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(desc_mark_accessed(v, cs));
    TRY(stack_push(v, frame, n, is32 ? 4 : 2));
    v->seg[S_CS] = seg_from_desc((u16)((gate_sel(gate) & ~3u) | v->cpl), cs);
    v->next_eip = off;
    return CPU_OK;
}

/* Protected mode and V86: through the IDT. */
static int deliver_protected(struct vcpu *v, const struct cpu_fault *f, u32 return_eip)
{
    u32 cpl = v->cpl;
    struct desc gate, cs;
    bool borrowed = cpl == 3 && !v->slow_access;
    if (borrowed)
        view_borrow(v);

    int rc = check_gate(v, f, cpl, &gate, &cs);
    if (unlikely(rc != CPU_OK)) {
        if (borrowed)
            view_return(v);
        return rc;
    }
    if (likely(desc_type(&gate) != DT_TASK && !desc_conforming(&cs) && desc_dpl(&cs) < cpl)) {
        rc = enter_inner(v, f, return_eip, &gate, &cs);
        if (unlikely(rc != CPU_OK)) {
            if (borrowed)
                view_return(v);
            return rc;
        }
        v->events |= EV_MODE; /* the CPL in v->mode has changed already */
    } else {
        if (borrowed)
            view_return(v);
        if (unlikely(desc_type(&gate) == DT_TASK))
            return task_gate(v, &gate, TASK_INT, return_eip, flags_image(v, f),
                             f->has_error && !f->is_soft && !f->is_ext, f->error);
        TRY(enter_same(v, f, return_eip, &gate, &cs));
    }
    v->sflags &= ~(FL_TF | FL_NT | FL_RF | FL_VM);
    if ((desc_type(&gate) & 7) == DT_INT16)
        v->iflag = 0;
    if (likely(v->opts & OPT(gates)))
        gate_remember(v, f, cpl, &gate, &cs);
    return CPU_OK;
}

static __attribute__((noinline, cold)) void log_event(struct vcpu *v, const struct cpu_fault *f)
{
    cpu_fpu_park(v);
    log_printf(LOG_int, "%s %02x error %04x at %04x:%08x cpl %d esp %08x cr2 %08x eax %08x",
               f->is_ext    ? "interrupt"
               : f->is_soft ? "int"
                            : "exception",
               f->vector, f->error, v->seg[S_CS].sel, v->eip, v->cpl, v->gpr[R_ESP],
               f->vector == EXC_PF ? f->cr2 : v->cr2, v->gpr[R_EAX]);
}

/* Delivers ev, and whatever follows from it. */
static void deliver(struct vcpu *v, const struct cpu_fault *ev)
{
    struct cpu_fault f = *ev;
    /* in error codes of nested faults: set unless a software interrupt is the origin (SDM vol. 3, 6.13) */
    u32 ext = f.is_soft && !f.is_trap ? 0 : 1;

    v->intr_shadow = 0;
    if (likely(!LOG_ON(int) && gate_enter(v, ev, ev->is_soft ? v->next_eip : v->eip))) {
        if (!ev->is_soft && !ev->is_ext) {
            v->stats.exceptions++;
            if (ev->vector == EXC_PF) {
                v->stats.page_faults++;
                v->cr2 = ev->cr2;
            }
        }
        return;
    }
    if (f.is_trap && !f.is_soft)
        v->eip = v->next_eip;
    for (int turn = 0;; turn++) {
        if (unlikely(turn == MAX_TURNS)) {
            v->fault_depth = 0;
            mode_refresh(v);
            return;
        }
        if (LOG_ON(int))
            log_event(v, &f);
        if ((!f.is_soft || f.is_trap) && !f.is_ext) {
            v->stats.exceptions++;
            if (f.vector == EXC_PF) {
                v->stats.page_faults++;
                v->cr2 = f.cr2;
            } else if (f.vector == EXC_DB) {
                v->dr[6] = (v->dr[6] & ~0xfu) | f.dr6;
                v->dr[7] &= ~DR7_GD;
            }
        }
        enum fault_class first = fault_class(&f);
        v->fault_depth = f.vector == EXC_DF && !f.is_soft && !f.is_ext ? 2 : first != BENIGN;
        u32 return_eip = f.is_soft || f.is_trap ? v->next_eip : v->eip;
        int rc =
            v->cr0 & CR0_PE ? deliver_protected(v, &f, return_eip) : deliver_real(v, f.vector, return_eip);
        if (likely(rc == CPU_OK))
            break;

        struct cpu_fault second = v->fault;
        switch (second.vector) {
        case EXC_TS:
        case EXC_NP:
        case EXC_SS:
        case EXC_GP:
            second.error |= ext;
            break;
        }
        ext = 1;
        if (v->fault_depth == 2) {
            v->fault_chain[3] = second;
        } else {
            v->fault_chain[0] = *ev;
            v->fault_chain[1] = f;
            v->fault_chain[2] = second;
        }
        enum fault_class cls = fault_class(&second);
        if (v->fault_depth == 2 && !second.is_trap) {
            v->fault_depth = 0;
            v->fault = f;
            v->events |= EV_SHUTDOWN;
            mode_refresh(v);
            return;
        }
        if ((first == CONTRIBUTORY && cls == CONTRIBUTORY) || (first == PAGE_FAULT && cls != BENIGN)) {
            if (second.vector == EXC_PF) /* the processor has loaded CR2 by then */
                v->cr2 = second.cr2;
            f = (struct cpu_fault){.vector = EXC_DF, .has_error = 1};
        } else {
            f = second;
        }
    }
    v->fault_depth = 0;
    v->eip = v->next_eip;
    mode_refresh(v);
}

static inline enum phase phase_of(const struct cpu_fault *f)
{
    return f->vector == EXC_PF && !f->is_soft ? PHASE_page_fault : PHASE_exception;
}

static __attribute__((noinline, cold)) void timed_fault(struct vcpu *v)
{
    enum phase was = phase_enter(v->phases, phase_of(&v->fault));

    cpu_deliver_fault(v);
    phase_leave(v->phases, was);
}

void cpu_deliver_fault(struct vcpu *v)
{
    if (unlikely(v->phases) && phase_wanted(v->phases, phase_of(&v->fault))) {
        timed_fault(v);
        return;
    }
    struct cpu_fault f = v->fault;
    if (f.is_soft)
        v->stats.soft_ints++;
    deliver(v, &f);
}

void cpu_soft_interrupt(struct vcpu *v, u8 vector)
{
    struct cpu_fault f = {.vector = vector, .is_soft = 1};

    v->stats.soft_ints++;
    if (likely(!LOG_ON(int) && gate_enter(v, &f, v->next_eip)))
        v->intr_shadow = 0;
    else
        deliver(v, &f);
}

void cpu_deliver_interrupt(struct vcpu *v, u8 vector, bool nmi)
{
    struct cpu_fault f = {.vector = nmi ? EXC_NMI : vector, .is_ext = 1};
    v->stats.interrupts++;
    v->next_eip = v->eip;
    deliver(v, &f);
}

static __attribute__((noinline, cold)) bool timed_interrupt(struct vcpu *v)
{
    enum phase was = phase_enter(v->phases, PHASE_interrupt);
    bool taken = cpu_poll_interrupts(v);

    phase_leave(v->phases, was);
    return taken;
}

bool cpu_poll_interrupts(struct vcpu *v)
{
    if (!cpu_interrupt_ready(v))
        return false;
    if (phase_wanted(v->phases, PHASE_interrupt))
        return timed_interrupt(v);
    if (__atomic_load_n(&v->nmi_pending, __ATOMIC_RELAXED) && !v->nmi_blocked) {
        __atomic_store_n(&v->nmi_pending, 0, __ATOMIC_RELAXED);
        if (v->ops->nmi_taken)
            v->ops->nmi_taken(v);
        v->nmi_blocked = 1;
        v->events &= ~EV_HALT;
        cpu_deliver_interrupt(v, EXC_NMI, true);
        return true;
    }
    int vector = v->ops->intr_ack(v);
    if (vector < 0)
        return false;
    v->events &= ~EV_HALT;
    cpu_deliver_interrupt(v, (u8)vector, false);
    return true;
}
