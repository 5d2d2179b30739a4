/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The run loop and the callouts.
 *
 * monitor_run_bt() enters translated code; translated code leaves through a thunk to one of the co_*()
 * functions below, each of which handles one exit reason and then either resumes in place or asks
 * bt_continue() what is next. v->eip is exact whenever a co_*() function returns, because a kick may make the
 * thunk leave at that point.
 */
#include "base/log.h"
#include "base/opts.h"
#include "cpu/fpu.h"
#include "monitor/bt.h"
#include "shadowpt/shadowpt.h"

/* ---- exact counting ---- */

/* An instruction that can end without a fault and with eip where it was, to be started again: rep, and x87
 * instructions that wait for IRQ 13. A branch to itself is not one. */
static bool restartable(const struct insn *i)
{
    return i->fpu || (i->map == 0 && (i->opcode == 0x9b || ((i->pfx & (PFX_REP | PFX_REPNE)) &&
                                                            ((i->opcode >= 0x6c && i->opcode <= 0x6f) ||
                                                             (i->opcode >= 0xa4 && i->opcode <= 0xaf)))));
}

bool monitor_unfinished(struct vcpu *v)
{
    const struct insn *i;
    return insn_fetch(v, &i) == CPU_OK && restartable(i);
}

u64 monitor_count(const struct vcpu *v)
{
    const struct bt *b = v->tc;
    return b->stop - v->bt[BT_LEFT];
}

void monitor_set_stop(struct vcpu *v, u64 count)
{
    struct bt *b = v->tc;
    u64 now = monitor_count(v);

    NOVT_ASSERT(count > now);
    b->stop = count;
    v->bt[BT_LEFT] = count - now;
}

/* One instruction by the interpreter; counted: translated code has counted it already. */
void bt_step(struct vcpu *v, bool counted)
{
    u32 start = v->eip;
    enum phase was = phase_begin(v->phases, PHASE_interp);

    interp_step(v);
    phase_end(v->phases, was);
    if (unlikely(bt_of(v)->cfg.exact)) {
        if (!counted)
            v->bt[BT_LEFT]--;
        if (v->eip == start && monitor_unfinished(v))
            v->bt[BT_LEFT]++;
    }
}

/* ---- what runs next ---- */

/* Tag of v->eip in the branch cache. */
static u64 branch_tag(const struct vcpu *v)
{
    return -(2 * (u64)v->eip + IBTC_TAG);
}

/* Translated code stopped at a trap (monitor_config.kicks): if it goes on there, then behind it. */
static void pass_trap(struct vcpu *v)
{
    struct bt *b = bt_of(v);

    const u8 *to = (const u8 *)(uintptr_t)v->bt[BT_RESUME];

    b->kick_stopped = false;
    if (*to == 0xf3) /* from the branch cache: the end of a checked entry; code begins with a trap or nop */
        to += ENTRY_OF_BYTES;
    if (v->eip == b->kick_eip && *to == INT3)
        v->bt[BT_RESUME] = (u64)(uintptr_t)to + 1;
}

/* A forced stop is over: was it the last one at its place? */
static void count_trap(struct bt *b)
{
    b->v->stats.forced_stops++;
    if (b->kick_sites && ++b->kick_sites[b->kick_host % KICK_SITES] >= b->cfg.kick_times) {
        b->kick_sites[b->kick_host % KICK_SITES] = 0; /* another place may share the counter */
        tcache_patch_nop(b->tc, b->kick_host);
    }
}

/* RF (after iret from a fault handler) ends with the next instruction, which translated code would not do. It
 * matters to breakpoints in DR7, and to what an interrupt before that instruction pushes (a fault at it
 * pushes it in any case). Without the former it is cleared in advance, and the latter does not come: who
 * stops at rf_eip executes that instruction before anything else happens. */
static inline bool may_drop_rf(const struct vcpu *v)
{
    const struct bt *b = bt_of((struct vcpu *)v);
    return (v->opts & OPT(rfahead)) && !b->cfg.exact && !v->debug && !(v->dr[7] & 0xff);
}

/* The CPU's thread will execute what begins here in some tens of cycles. */
static inline void expect_code(const u8 *host)
{
    for (u32 n = 0; n < 3; n++)
        __builtin_prefetch(host + n * CODE_LINE);
}

/* bt_continue(); chain: what leads to v->eip will be chained to it, so it need not be in the branch cache,
 * where it would only take the place of what indirect branches lead to. b->found is the fragment then. */
static inline __attribute__((always_inline)) int what_next(struct vcpu *v, bool chain)
{
    struct bt *b = bt_of(v);
    struct fragment *f;
    u64 *tag = NULL;
    u32 rf;

    b->retry_eip = ~0u; /* whoever comes here is past it */
    for (;;) {
        if (unlikely(b->cfg.exact)) {
            if (b->cfg.sync)
                b->cfg.sync(b->cfg.exact_opaque);
            if (!v->bt[BT_LEFT])
                b->cfg.due(b->cfg.exact_opaque);
        }
        if (unlikely(v->events & ~(EV_MODE | EV_SMC)))
            return 1;
        v->events = 0;
        if (unlikely(v->eip == b->rf_eip)) { /* perhaps it was not executed yet: then RF is missing */
            b->rf_eip = NO_RF_EIP;
            bt_step(v, false);
            continue;
        }
        if (unlikely(__atomic_load_n(&v->kick, __ATOMIC_RELAXED)))
            return 1;
        if (unlikely(cpu_interrupt_ready(v)) && cpu_poll_interrupts(v))
            continue;
        if (cpu_at_break(v))
            return 1;
        /* (Atomic loads, or the compiler makes one wide load of what was just stored in pieces: that cannot
         * be forwarded.) */
        rf = __atomic_load_n(&v->sflags, __ATOMIC_RELAXED) & FL_RF;
        if (unlikely((v->mode & MODE_STEP) || __atomic_load_n(&v->intr_shadow, __ATOMIC_RELAXED) ||
                     (rf && !may_drop_rf(v)))) {
            bt_step(v, false);
            continue;
        }
        if (unlikely(b->cfg.windows_always) && b->windows && !v->slow_access && !shadow_window_on(v) &&
            !(v->cpl != 3 && !bt_kernel_window_of_use(v)))
            b->windows = shadow_window_enable(v);
        bt_select_context(v);
        if (!chain) {
            tag = bt_branch_tag(bt_ctx(v), v->eip);
            __builtin_prefetch(bt_branch_host(tag), 1);
        }
        b->found = NULL;
        if (chain || unlikely(*tag != branch_tag(v))) {
            switch (bt_find(v, &f)) {
            case BT_FOUND:
                break;
            case BT_RETRY_EIP: /* a fault at the fetch was delivered */
                v->bt[BT_LEFT]--;
                continue;
            case BT_USE_INTERP:
                bt_step(v, false);
                continue;
            }
            if (unlikely(v->events)) /* the lookup itself changed something (a flush) */
                continue;
            bt_select_context(v); /* a view may have lost exec entries to the fill */
            b->found = f;
            expect_code(fragment_host(b->tc, f));
            v->bt[BT_RESUME] = (u64)(uintptr_t)fragment_host(b->tc, f);
            if (!chain) {
                tag = bt_branch_tag(bt_ctx(v), v->eip);
                *bt_branch_host(tag) = (u64)(uintptr_t)tcache_indirect(b->tc, f);
                *tag = v->opts & OPT(ibtc) ? branch_tag(v) : 0;
            }
        } else {
            v->bt[BT_RESUME] = *bt_branch_host(tag);
        }
        if (unlikely(b->kick_stopped))
            pass_trap(v);
        if (unlikely(v->bt[BT_PF] == v->bt[BT_BASE])) {
            bt_window_prefill(v);
            if (v->events)
                continue;
        }
        if (!v->fpu_live)
            cpu_fpu_live(v);
        b->rf_eip = NO_RF_EIP;
        if (unlikely(rf)) {
            v->sflags &= ~FL_RF;
            b->rf_eip = v->eip;
        }
        return 0;
    }
}

int bt_continue(struct vcpu *v)
{
    return what_next(v, false);
}

/* An instruction at eip was executed by C code: go on behind it in the same fragment (BT_RESUME, 0 after
 * branches) if nothing else happened. */
static int resume_after(struct vcpu *v, u32 next)
{
    struct bt *b = bt_of(v);

    if (unlikely(b->cfg.sync))
        b->cfg.sync(b->cfg.exact_opaque);
    b->retry_eip = ~0u;
    if (likely(v->bt[BT_RESUME] && v->eip == next && !v->events && !v->intr_shadow &&
               !cpu_interrupt_ready(v) && v->bt[BT_BASE] == bt_view_base(v))) {
        if (!v->fpu_live)
            cpu_fpu_live(v);
        return 0;
    }
    return bt_continue(v);
}

/* ---- callouts: with the guest's registers in v; CALLOUT below makes them what thunks.S calls ---- */

static int interpret(struct vcpu *v, u32 eip)
{
    const struct insn *i;
    u32 next;
    bool again;

    v->eip = eip;
    v->stats.insns_slow++;
    if (insn_fetch(v, &i) != CPU_OK) {
        cpu_deliver_fault(v);
        return bt_continue(v);
    }
    next = eip + i->len;
    again = restartable(i);
    if (interp_exec(v, i) != CPU_OK) {
        cpu_deliver_fault(v);
        return bt_continue(v);
    }
    if (unlikely(again && v->eip == eip))
        v->bt[BT_LEFT]++;
    return resume_after(v, next);
}

static int do_slow(struct vcpu *v, u64 unused, u32 eip)
{
    v->stats.exit_slow++;
    return interpret(v, eip);
}

/* An x87 or MMX store, of which some hosts do something before they look at the operand? */
static bool store_acts_first(struct vcpu *v, u16 fsw)
{
    const struct insn *i;

    if (!(host_cpu.mmx_fault_clears_top && (fsw & FSW_TOP)) &&
        !(host_cpu.x87_raises_first && (~fpu_get_fcw(v) & FCW_NO_STORE)))
        return false;
    return insn_fetch(v, &i) == CPU_OK && i->fpu && (i->fpu_attr & FPA_STORE);
}

/* Might an instruction that met a page fault at lin, writing there or not, owe the guest something else
 * first? A pending x87 exception, if it is one that waits; the limit of a flat segment, if the operand runs
 * over its end; or what stores do first. The interpreter knows. v->eip: at the instruction. */
bool bt_other_fault_first(struct vcpu *v, u32 lin, bool write)
{
    u16 fsw = fpu_get_fsw(v);

    return unlikely(lin >> PAGE_SHIFT == 0xfffff || (fsw & FSW_ES) || (write && store_acts_first(v, fsw)));
}

static int miss(struct vcpu *v, u32 lin, u32 eip, enum shadow_access acc)
{
    v->eip = eip;
    /* An operand that wraps at 4 GiB is #GP before it can be #PF (cpu/segment.c); its size is not known here.
     */
    if (unlikely(lin > 0xfffffff0u))
        return interpret(v, eip);
    switch (shadow_fill(v, lin, acc, v->cpl == 3, NULL)) {
    case SH_FILLED:
        v->bt[BT_RESUME] = v->bt[BT_RETRY];
        /* A and D bits are set, so the instruction must run before anything else happens; and it may stand in
         * the shadow of sti, where no interrupt may come. */
        if (unlikely(v->events || cpu_interrupt_ready(v) || v->bt[BT_BASE] != bt_view_base(v)))
            return interpret(v, eip);
        v->bt[BT_LEFT]++; /* it starts, and is counted, again */
        bt_of(v)->retry_eip = eip;
        if (!v->fpu_live)
            cpu_fpu_live(v);
        return 0;
    case SH_FAULT:
        if (!bt_other_fault_first(v, lin, acc == SH_WRITE)) {
            bt_window_expect(v, lin, acc == SH_WRITE);
            cpu_deliver_fault(v);
            return bt_continue(v);
        }
        break;
    case SH_SLOW:
        break;
    }
    return interpret(v, eip);
}

/* A write to a page that is watched: a page table's, mostly. The instruction itself is the interpreter's, on
 * memory as if nobody watched. False: it is no plain one. */
static bool write_watched(struct vcpu *v, u32 lin, u32 eip, int *result)
{
    const struct insn *i;
    int r;

    v->eip = eip;
    if (unlikely(!(v->opts & OPT(ptstore)) || insn_fetch(v, &i) != CPU_OK || i->memsize - 1u >= 8 || i->fpu ||
                 lin != v->seg[i->seg].base + insn_ea(v, i)) ||
        !shadow_write_open(v, lin, i->memsize))
        return false;
    u32 next = eip + i->len;
    v->stats.insns_slow++;
    r = interp_exec(v, i);
    if (unlikely(!shadow_write_close(v)))
        bt_window_again(v);
    if (unlikely(r != CPU_OK)) {
        cpu_deliver_fault(v);
        *result = bt_continue(v);
    } else {
        *result = resume_after(v, next);
    }
    return true;
}

static int do_read_miss(struct vcpu *v, u32 lin, u32 eip)
{
    v->stats.exit_read_miss++;
    return miss(v, lin, eip, SH_READ);
}

static int do_write_miss(struct vcpu *v, u32 lin, u32 eip)
{
    int r;

    v->stats.exit_write_miss++;
    if (likely(shadow_write_slow(v, lin)))
        return likely(write_watched(v, lin, eip, &r)) ? r : interpret(v, eip);
    return miss(v, lin, eip, SH_WRITE);
}

/* CR0 has changed, and the mode with it: if TS was all, it is remembered for the next time (thunks.S). */
static int after_ts(struct vcpu *v, struct ctx *c, u64 salt, u32 mode)
{
    u32 to_mode = v->mode, to_eip = v->eip;
    u64 base = bt_view_base(v);
    int r = bt_continue(v);
    struct ctx *n = bt_ctx(v);

    if (r == 0 && v->mode == to_mode && v->eip == to_eip && n->base == base && c->base == base &&
        c->salt == salt && n->window == c->window && (mode ^ to_mode) == MODE_NOFPU && !(mode & MODE_STEP)) {
        c->ts.to = n;
        c->ts.to_salt = n->salt;
        c->ts.from_mode = mode;
        c->ts.to_mode = to_mode;
    }
    return r;
}

static inline bool writes_ts(const struct insn *i)
{
    return i->map == 1 && (i->opcode == 0x06 || (i->opcode == 0x22 && i->reg == 0));
}

static int do_exec(struct vcpu *v, const struct insn *i, u32 eip)
{
    u32 next = eip + i->len, mode = v->mode;
    struct ctx *c = bt_ctx(v);
    u64 salt = c->salt;

    v->stats.exit_exec++;
    v->eip = eip;
    if (interp_exec(v, i) != CPU_OK) {
        cpu_deliver_fault(v);
        return bt_continue(v);
    }
    v->stats.insns_callout++;
    if (unlikely((v->events & EV_MODE) && writes_ts(i)))
        return after_ts(v, c, salt, mode);
    if (unlikely(v->eip == eip && restartable(i)))
        v->bt[BT_LEFT]++;
    return resume_after(v, next);
}

/* int, iret, sysenter, sysexit: nothing ever goes on behind them in the same fragment. */
static int do_sys(struct vcpu *v, const struct insn *i, u32 eip)
{
    v->stats.exit_exec++;
    v->eip = eip;
    if (likely(i->opcode == 0xcd && i->map == 0 && !(v->mode & MODE_VM))) {
        v->next_eip = eip + i->len;
        return bt_soft_interrupt(v, (u8)i->imm);
    }
    if (likely(i->opcode == 0xcf && i->opsize == 4 && v->cpl == 0))
        return bt_iret(v, i);
    if (i->map == 1)
        return bt_sysenter_exit(v, i);
    if (unlikely(interp_exec(v, i) != CPU_OK))
        cpu_deliver_fault(v);
    else
        v->stats.insns_callout++;
    return bt_continue(v);
}

static int do_lookup(struct vcpu *v, u64 eip, u32 unused)
{
    v->stats.exit_lookup++;
    v->eip = (u32)eip;
    return bt_continue(v); /* which fills the branch cache */
}

/*
 * What holds for the operands of a kernel that has its window holds for its branches: a page that is in the
 * window is the same one wherever that code runs (shadowpt/kwindow.c), until something removes it. So a chain
 * from page to page needs no check meanwhile. Guests that remap their kernel's code all the time have them.
 */
#define DIRECT_UNDONE 1000u

static inline bool may_be_direct(struct vcpu *v, u32 link, u32 eip)
{
    struct bt *b = bt_of(v);

    return (v->opts & OPT(kdirect)) && v->cpl != 3 && b->direct_undone < DIRECT_UNDONE &&
           tcache_link_direct_of_use(b->tc, link) && shadow_page_stays(v, v->seg[S_CS].base + eip);
}

void bt_page_moved(void *opaque)
{
    struct bt *b = opaque;

    b->direct_undone++;
    b->v->stats.tc_directs_undone++;
    tcache_check_links(b->tc);
}

static int do_link(struct vcpu *v, u64 unused, u32 link)
{
    struct bt *b = bt_of(v);
    u32 gen = tcache_generation(b->tc), mode = v->mode, eip = tcache_link_target(b->tc, link);
    u32 undone = b->direct_undone;
    u64 base = v->bt[BT_BASE];
    bool direct;
    int r;

    v->stats.exit_link++;
    v->eip = eip;
    direct = may_be_direct(v, link, eip);
    tcache_expect_link(b->tc, link);
    r = what_next(v, true);
    /* Chain only if the lookup led straight to the target: no fault, interrupt or flush came between. */
    if (r == 0 && v->eip == eip && tcache_generation(b->tc) == gen && v->mode == mode &&
        v->bt[BT_BASE] == base && tcache_link_owner(b->tc, link)->valid) {
        if (direct && undone == b->direct_undone) {
            tcache_link_direct(b->tc, link, b->found);
            v->stats.tc_directs++;
        } else {
            tcache_link(b->tc, link, b->found);
        }
        v->stats.tc_links++;
    }
    return r;
}

static int do_intr(struct vcpu *v, u64 unused, u32 eip)
{
    v->stats.exit_intr++;
    v->eip = eip;
    return bt_continue(v);
}

/* The exit's own phase, where anybody asked for phases, and what comes after it: translated code or the run
 * loop. */
#define CALLOUT(name, type)                                                                                  \
    static __attribute__((noinline, cold)) int timed_##name(struct vcpu *v, type a, u32 b)                   \
    {                                                                                                        \
        phase_enter(v->phases, PHASE_##name);                                                                \
        int r = do_##name(v, a, b);                                                                          \
        phase_leave(v->phases, r ? PHASE_run : PHASE_code);                                                  \
        return r;                                                                                            \
    }                                                                                                        \
    int co_##name(struct vcpu *v, type a, u32 b);                                                            \
    int co_##name(struct vcpu *v, type a, u32 b)                                                             \
    {                                                                                                        \
        return likely(!v->phases) ? do_##name(v, a, b) : timed_##name(v, a, b);                              \
    }

CALLOUT(slow, u64)
CALLOUT(read_miss, u32)
CALLOUT(write_miss, u32)
CALLOUT(exec, const struct insn *)
CALLOUT(sys, const struct insn *)
CALLOUT(lookup, u64)
CALLOUT(link, u64)
CALLOUT(intr, u64)

/* ---- public ---- */

static bool host_fault(struct vcpu *v)
{
    enum phase was = phase_begin(v->phases, PHASE_host_fault);
    bool again = bt_host_fault(v);

    phase_end(v->phases, was);
    return again;
}

void monitor_run_bt(struct vcpu *v)
{
    enum phase was = phase_begin(v->phases, PHASE_run);

    bt_own_thread(v);
    while (bt_continue(v) == 0) {
        bt_of(v)->retry_eip = ~0u;
        v->stats.exit_leave++;
        int why;
        do {
            phase_begin(v->phases, PHASE_code);
            why = bt_enter(v);
            phase_end(v->phases, PHASE_run);
        } while (why == 2 && host_fault(v));
        if (unlikely(bt_of(v)->kick_stopped))
            count_trap(bt_of(v));
        if (unlikely(why != 2 && v->eip == bt_of(v)->retry_eip && v->bt[BT_LEFT])) {
            /* A kick may have come between a miss and the new start of its instruction: see miss(). Only a
             * kick leaves retry_eip as it is: after hlt or at an exact stop nothing more may run. */
            bt_of(v)->retry_eip = ~0u;
            bt_step(v, false);
        }
        if (why != 2)
            bt_window_tick(v);
    }
    phase_end(v->phases, was);
}

void monitor_run_interp(struct vcpu *v)
{
    enum phase was = phase_begin(v->phases, PHASE_interp);

    while (!(v->events & ~(EV_MODE | EV_SMC)) && !__atomic_load_n(&v->kick, __ATOMIC_RELAXED)) {
        v->events = 0;
        if (likely(!v->debug || !v->debug->n_breaks)) {
            interp_run(v, 1000000);
            continue;
        }
        if (cpu_interrupt_ready(v) && cpu_poll_interrupts(v))
            continue;
        if (cpu_at_break(v))
            break;
        interp_step(v);
    }
    phase_end(v->phases, was);
}

void monitor_step(struct vcpu *v, bool interrupts)
{
    u32 limit = v->rep_limit;

    if (interrupts && cpu_interrupt_ready(v))
        cpu_poll_interrupts(v);
    v->rep_limit = 1; /* as the processor's own single step: each iteration is an instruction */
    v->events &= ~(EV_MODE | EV_SMC);
    if (v->tc)
        bt_step(v, false);
    else
        interp_step(v);
    v->rep_limit = limit;
}

void monitor_kick(struct vcpu *v)
{
    __atomic_store_n(&v->kick, 1, __ATOMIC_SEQ_CST);
    if (v->tc)
        bt_signals_kick(v);
}

void monitor_flush(struct vcpu *v)
{
    if (v->tc)
        bt_flush(v);
    else
        interp_flush(v);
}

void monitor_update_stats(struct vcpu *v)
{
    v->stats.insns_bt = v->bt[BT_COUNT] + v->stats.insns_callout;
    v->stats.soft_ints += v->bt[BT_INTS];
    v->bt[BT_INTS] = 0;
}
