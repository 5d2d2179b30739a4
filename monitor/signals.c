/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host signals on the vCPU thread.
 *
 * Two kinds concern the guest:
 *
 *  kick (SIGUSR1)   someone set v->kick: translated code is stopped at a guest instruction boundary (stop.c).
 *
 *  fault            SIGFPE, SIGSEGV, SIGBUS, SIGILL at a pc in translated code: a guest instruction that
 * faults on the host as well (divide, misaligned SSE operand, unmasked FP exception). The pc map names the
 *                   instruction; its state is intact because sequences change nothing before their last
 * faulting step; the interpreter then finds out what the guest sees.
 *
 *                   A call at the end of the return stack starts it anew.
 *
 * A third one is novt's own clock: a timer of the thread's CPU time makes a kick where no other has come for
 * TICK_MS and the current view has no window, so that guests without a timer interrupt get one, too
 * (window.c).
 *
 * Anything else is our own bug: default action. The handlers only read immutable parts of the cache, so they
 * are async-signal-safe.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include "base/log.h"
#include "monitor/bt.h"

#define KICK_SIGNAL SIGUSR1
#define HOST_TF     0x100
#define ALT_STACK   (256 * 1024)
#define TICK_MS     4

static __thread struct vcpu *current; /* the vCPU whose thread this is */

/* The thread's timer: whether to make a kick of it. */
static bool tick_wanted(struct vcpu *v)
{
    struct bt *b = bt_of(v);
    const u32 flat = MODE_PE | MODE_FLATDS | MODE_FLATES | MODE_FLATSS;
    const struct ctx *c = bt_ctx(v);
    bool looked = b->looked;

    b->looked = false;
    return !looked && b->windows && c && (c->mode & (flat | MODE_VM | MODE_WIN)) == flat &&
           ((c->mode & MODE_CPL) == 3 || bt_kernel_window_of_use(v));
}

/* The time in a handler is its own where translated code or a thunk was interrupted: there, nobody is in the
 * middle of a change of phase (base/phases.c). A walk to a boundary is one stay, whatever its steps. */
static void phase_in(struct vcpu *v, const greg_t *g, enum phase to)
{
    const u8 *pc = (const u8 *)(uintptr_t)g[REG_RIP];

    if (unlikely(v->phases) && v->phases->now == PHASE_code && (bt_in_code(v, pc) || bt_in_thunks(pc)))
        phase_enter(v->phases, to);
}

/* Back to translated code; if it was left, the run loop is next, which says so itself. */
static void phase_out(struct vcpu *v, const greg_t *g)
{
    const u8 *pc = (const u8 *)(uintptr_t)g[REG_RIP];

    if (unlikely(v->phases) &&
        (v->phases->now == PHASE_signal_kick || v->phases->now == PHASE_signal_fault) &&
        !bt_of(v)->stepping && (bt_in_code(v, pc) || bt_in_thunks(pc)) && pc != bt_leave_async &&
        pc != bt_leave_fault && pc != bt_leave_kick)
        phase_leave(v->phases, PHASE_code);
}

static void on_kick(int sig, siginfo_t *si, void *ctx)
{
    greg_t *g = ((ucontext_t *)ctx)->uc_mcontext.gregs;

    (void)sig;
    if (!current || !current->tc)
        return;
    phase_in(current, g, PHASE_signal_kick);
    /* The same signal, of which only one is pending at a time: a kick may hide behind a tick. */
    if (si->si_code == SI_TIMER && tick_wanted(current))
        __atomic_store_n(&current->kick, 1, __ATOMIC_SEQ_CST);
    current->stats.host_signals++;
    bt_seek_boundary(current, g);
    phase_out(current, g);
}

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
static struct sigaction before[ARRAY_SIZE(faults)];

static void take_fault(int sig, const siginfo_t *si, greg_t *g)
{
    const u8 *pc = (const u8 *)(uintptr_t)g[REG_RIP];
    struct vcpu *v = current;

    if (v)
        v->stats.host_signals++;
    if (v && v->tc && sig == SIGTRAP) {
        bool step = si->si_code == TRAP_TRACE;
        if (!step && pc == bt_kick_trap) {
            bt_seek_boundary(v, g);
            return;
        }
        if (!step && bt_of(v)->cfg.kicks && bt_in_code(v, pc - 1) && pc[-1] == INT3) {
            bt_forced_stop(v, g);
            return;
        }
        if (bt_of(v)->probing) {
            bt_probe(v, g);
            return;
        }
        if (bt_of(v)->stepping) {
            bt_seek_boundary(v, g);
            return;
        }
    }
    if (v && v->tc && sig != SIGTRAP && bt_in_code(v, pc)) {
        struct bt *b = bt_of(v);
        u64 depth = (u64)(uintptr_t)si->si_addr - (u64)(uintptr_t)b->ret_stacks;
        if (sig == SIGSEGV && depth < (u64)CTX_CACHE * RET_STACK) {
            /* A call overflowed the return stack: forget what is on it. */
            g[REG_RSP] = (greg_t)(uintptr_t)(b->ret_stacks + depth / RET_STACK * RET_STACK + RET_STACK - 64);
            return;
        }
        const struct fragment *f = tcache_find_host(b->tc, pc);
        if (f) {
            u32 k = bt_find_insn(f, (u32)(pc - fragment_host(b->tc, f)));
            b->hf.frag = f;
            b->hf.insn = k;
            b->hf.addr = (u64)(uintptr_t)si->si_addr;
            b->hf.addr_valid = sig == SIGSEGV && si->si_code > 0 && si->si_code != SI_KERNEL;
            b->hf.write = g[REG_ERR] & 2;
            b->hf.divide = sig == SIGFPE && si->si_code == FPE_INTDIV;
            bt_spill(v, g, f->pcmap[k].flags & PCM_OP_SAVED);
            v->gpr[R_ESP] += (u32)f->pcmap[k].sp;
            v->eip = f->key.eip + f->pcmap[k].guest;
            g[REG_RIP] = (greg_t)(uintptr_t)bt_leave_fault;
            g[REG_EFL] &= ~(greg_t)HOST_TF;
            b->stepping = b->probing = false;
            return;
        }
    }
    static const char msg[] = "novt: internal error: host fault outside translated code\n";
    ssize_t n = write(2, msg, sizeof(msg) - 1);
    (void)n;
    /* The instruction faults again, for whoever was there before us: the terminal's keeper, a core dump. */
    for (u32 i = 0; i < ARRAY_SIZE(faults); i++)
        if (faults[i] == sig)
            sigaction(sig, &before[i], NULL);
}

static void on_fault(int sig, siginfo_t *si, void *ctx)
{
    greg_t *g = ((ucontext_t *)ctx)->uc_mcontext.gregs;
    bool guest = current && current->tc;

    if (guest)
        phase_in(current, g, sig == SIGTRAP ? PHASE_signal_kick : PHASE_signal_fault);
    take_fault(sig, si, g);
    if (guest)
        phase_out(current, g);
}

void bt_own_thread(struct vcpu *v)
{
    if (current == v)
        return;
    current = v;
    v->bt[BT_GS] = 0; /* the thread's GS base is another CPU's window */
}

int bt_signals_init(struct vcpu *v)
{
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    stack_t ss = {.ss_size = ALT_STACK};

    ss.ss_sp = mmap(NULL, ALT_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ss.ss_sp == MAP_FAILED || sigaltstack(&ss, NULL) < 0)
        return -errno;
    sigfillset(&sa.sa_mask);
    sa.sa_sigaction = on_kick;
    if (sigaction(KICK_SIGNAL, &sa, NULL) < 0)
        return -errno;
    sa.sa_sigaction = on_fault;
    for (u32 i = 0; i < ARRAY_SIZE(faults); i++) {
        struct sigaction old;
        if (sigaction(faults[i], &sa, &old) < 0)
            return -errno;
        if (old.sa_sigaction != on_fault)
            before[i] = old;
    }
    current = v;
    bt_of(v)->thread = pthread_self();
    return 0;
}

void bt_tick_start(struct vcpu *v)
{
    struct bt *b = bt_of(v);
    struct itimerspec every = {{0, TICK_MS * 1000000}, {0, TICK_MS * 1000000}};
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KICK_SIGNAL};

    ev._sigev_un._tid = (int)syscall(SYS_gettid); /* sigev_notify_thread_id, which not every libc names */
    b->ticking = timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &b->tick) == 0;
    if (b->ticking)
        timer_settime(b->tick, 0, &every, NULL);
}

void bt_tick_stop(struct vcpu *v)
{
    if (bt_of(v)->ticking)
        timer_delete(bt_of(v)->tick);
}

void monitor_attach(struct vcpu *v)
{
    if (!v->tc)
        return;
    current = v;
    v->bt[BT_GS] = 0;
}

void bt_signals_kick(struct vcpu *v)
{
    if (!pthread_equal(pthread_self(), bt_of(v)->thread))
        pthread_kill(bt_of(v)->thread, KICK_SIGNAL);
}
