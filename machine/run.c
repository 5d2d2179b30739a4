/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's life: run guest code, sleep while the CPU is halted, reset, stop.
 *
 * One thread, the caller of machine_run(), is the vCPU. Other threads speak to it in two ways only: the wires
 * of struct vcpu (intr_line, nmi_pending) and the request bits, each followed by a kick that makes it look.
 * v->events belongs to the vCPU thread.
 *
 * Sleeping without losing a wake-up: the sleeper announces itself, notes how often it was woken, and only
 * then looks at the wires; the waker sets a wire first, and if someone announced himself, counts and wakes.
 * Both use sequentially consistent accesses, so either the sleeper sees the wire or the waker sees the
 * sleeper, whose futex call returns at once if it was woken since.
 */
#include "machine/lockstep.h"
#include "machine/vm.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/hostsig.h"
#include "base/log.h"
#include "base/opts.h"
#include "base/syscall.h"
#include "monitor/monitor.h"
#include "shadowpt/shadowpt.h"

__attribute__((target("general-regs-only"))) void run_wake(struct vm *vm)
{
    if (vm->have_monitor)
        monitor_kick(vm->cpu);
    else
        __atomic_store_n(&vm->cpu->kick, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&vm->sleeping, __ATOMIC_SEQ_CST)) {
        __atomic_add_fetch(&vm->woken, 1, __ATOMIC_SEQ_CST);
        host_syscall(SYS_futex, (u64)(uintptr_t)&vm->woken, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
    }
}

void run_request(struct vm *vm, u32 request)
{
    __atomic_or_fetch(&vm->requests, request, __ATOMIC_SEQ_CST);
    run_wake(vm);
}

/* Requests become events; the kick that announced them is spent. */
static void take_kick(struct vm *vm)
{
    struct vcpu *v = vm->cpu;
    __atomic_store_n(&v->kick, 0, __ATOMIC_SEQ_CST);
    u32 req = __atomic_load_n(&vm->requests, __ATOMIC_SEQ_CST);
    if (req & REQ_QUIT)
        v->events |= EV_QUIT;
    if (req & (REQ_RESET | REQ_HOST_RESET))
        v->events |= EV_RESET;
    u32 control = req & (REQ_STOP | REQ_CONT | REQ_POWERDOWN);
    if (control) {
        __atomic_and_fetch(&vm->requests, ~control, __ATOMIC_SEQ_CST);
        lifecycle_take(vm, control);
    }
    if (req & REQ_WORK) { /* a device wants this thread, such as for DMA */
        __atomic_and_fetch(&vm->requests, ~REQ_WORK, __ATOMIC_SEQ_CST);
        enum phase was = phase_begin(v->phases, PHASE_work);
        bus_run_deferred(vm->bus);
        phase_end(v->phases, was);
    }
}

static bool nothing_to_do(struct vm *vm)
{
    struct vcpu *v = vm->cpu;
    return !__atomic_load_n(&vm->requests, __ATOMIC_SEQ_CST) &&
           !(v->iflag && __atomic_load_n(&v->intr_line, __ATOMIC_SEQ_CST)) &&
           !(__atomic_load_n(&v->nmi_pending, __ATOMIC_SEQ_CST) && !v->nmi_blocked);
}

/* Sleeps until woken, at most `ns`; not at all if woken since `seen`. */
static void sleep_ns(struct vm *vm, u32 seen, u64 ns)
{
    struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    if (ns)
        syscall(SYS_futex, &vm->woken, FUTEX_WAIT_PRIVATE, seen, ns == UINT64_MAX ? NULL : &ts, NULL, 0);
}

/* For the bus: does the vCPU run the guest's timers itself? */
static bool asleep(void *opaque)
{
    struct vm *vm = opaque;
    return __atomic_load_n(&vm->sleeping, __ATOMIC_SEQ_CST) && lifecycle_running(vm);
}

/* The CPU executed hlt: sleeps until an interrupt, an NMI or a request, then delivers what can be delivered.
 */
static void run_wait(struct vm *vm)
{
    struct vcpu *v = vm->cpu;
    enum phase was = phase_begin(v->phases, PHASE_halted);
    __atomic_store_n(&vm->sleeping, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        u32 seen = __atomic_load_n(&vm->woken, __ATOMIC_SEQ_CST);
        phase_begin(v->phases, PHASE_timers);
        u64 left = v->opts & OPT(wakeup) ? bus_run_guest_timers(vm->bus) : UINT64_MAX;
        phase_end(v->phases, PHASE_halted);
        if (!nothing_to_do(vm))
            break;
        sleep_ns(vm, seen, left);
    }
    __atomic_store_n(&vm->sleeping, 0, __ATOMIC_SEQ_CST);
    phase_end(v->phases, was);
    cpu_poll_interrupts(v); /* clears EV_HALT if it delivered one */
}

/* Only an interrupt, an NMI or a reset ends hlt; with IF = 0 and no NMI source on this board, nothing does.
 */
static bool halted_for_good(const struct vcpu *v)
{
    return !v->iflag && !__atomic_load_n(&v->nmi_pending, __ATOMIC_SEQ_CST);
}

/* Stopped: nothing but a request wakes it. */
static void wait_stopped(struct vm *vm)
{
    enum phase was = phase_begin(vm->cpu->phases, PHASE_stopped);
    __atomic_store_n(&vm->sleeping, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        u32 seen = __atomic_load_n(&vm->woken, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&vm->requests, __ATOMIC_SEQ_CST))
            break;
        sleep_ns(vm, seen, UINT64_MAX);
    }
    __atomic_store_n(&vm->sleeping, 0, __ATOMIC_SEQ_CST);
    phase_end(vm->cpu->phases, was);
}

#define SHUTDOWN_STATUS 0x0f /* CMOS: what the firmware shall do after a reset */

/* Software for the 286 has no other way out of protected mode than a reset of the processor: it leaves one of
 * these codes in the CMOS, and the firmware jumps where 40:67h points. It expects memory, interrupt
 * controllers, timers and the screen as they were. Without such a code a reset is the end of the system that
 * asked for it, and all devices start anew, however it was made. */
static bool comes_back(const struct vm *vm)
{
    if (vm->cfg.kernel || !vm->bus)
        return false;
    u8 code = rtc_cmos_get(vm->bus, SHUTDOWN_STATUS);
    return code == 0x05 || (code >= 0x09 && code <= 0x0c);
}

/* A reset of the processor only. */
static int processor_reset(struct vm *vm)
{
    LOG(cpu, "processor reset, shutdown status %02x", rtc_cmos_get(vm->bus, SHUTDOWN_STATUS));
    __atomic_and_fetch(&vm->requests, ~(REQ_RESET | REQ_HARD_RESET), __ATOMIC_SEQ_CST);
    vm->cpu->events &= ~(EV_RESET | EV_SHUTDOWN | EV_HALT);
    vm->cpu->intr_shadow = 0;
    if (vm->have_monitor)
        monitor_flush(vm->cpu);
    if (vm->have_shadow)
        shadow_set_a20(vm->cpu, true); /* the board holds it open until the first jump */
    int err = machine_boot(vm);
    if (!err && vm->lockstep)
        lockstep_reset(vm->lockstep);
    return err;
}

static int reset(struct vm *vm, bool guest)
{
    struct vcpu *v = vm->cpu;
    bus_reset(vm->bus);
    vm->booted = true;
    if (vm->cfg.boot_once && !vm->cfg.kernel)
        drives_boot_order(vm);
    __atomic_and_fetch(&vm->requests, ~(REQ_RESET | REQ_HOST_RESET | REQ_HARD_RESET), __ATOMIC_SEQ_CST);
    __atomic_store_n(&v->nmi_pending, 0, __ATOMIC_SEQ_CST);
    v->events = 0;
    v->intr_shadow = 0;
    if (vm->have_monitor)
        monitor_flush(v);
    int err = machine_boot(vm);
    if (!err && vm->lockstep)
        lockstep_reset(vm->lockstep);
    if (!err) {
        lifecycle_reset(vm);
        lifecycle_tell(vm, MACHINE_RESET, guest, guest ? "guest-reset" : "host-qmp-system-reset");
    }
    return err;
}

/* A triple fault shuts the CPU down, and a PC's board answers with reset. Operating systems use that to
 * reboot: they load an empty IDT and fault; or to come back to real mode. Any other triple fault is the
 * guest's (or our) disaster, which should be seen. */
static bool deliberate(const struct vm *vm)
{
    return vm->cpu->idtr.limit == 0 || comes_back(vm);
}

/* The machine would end here; with -no-shutdown it stops instead, and this is false. */
static bool end_of_guest(struct vm *vm, enum run_state state, const char *reason)
{
    lifecycle_tell(vm, MACHINE_SHUTDOWN, !strncmp(reason, "guest", 5), reason);
    vm->cpu->events &= ~(EV_SHUTDOWN | EV_RESET);
    if (!vm->cfg.no_shutdown)
        return true;
    machine_stop_now(vm, state);
    return false;
}

/* Stops and resets: returns true with *status if the machine ends. */
static bool handle_events(struct vm *vm, int *status)
{
    struct vcpu *v = vm->cpu;
    bool host_reset = __atomic_load_n(&vm->requests, __ATOMIC_SEQ_CST) & REQ_HOST_RESET;
    if (v->events & EV_QUIT) {
        *status = vm->quit_status;
        lifecycle_tell(vm, MACHINE_SHUTDOWN, false, vm->quit_reason);
        return true;
    }
    if (__atomic_load_n(&vm->requests, __ATOMIC_SEQ_CST) & REQ_SHUTDOWN) {
        __atomic_and_fetch(&vm->requests, ~REQ_SHUTDOWN, __ATOMIC_SEQ_CST);
        *status = EXIT_OK;
        if (end_of_guest(vm, RUN_SHUTDOWN, "guest-shutdown"))
            return true;
    }
    if (v->events & EV_SHUTDOWN) {
        if (!deliberate(vm)) {
            report_triple_fault(vm);
            *status = EXIT_TRIPLE_FAULT;
            if (end_of_guest(vm, RUN_INTERNAL_ERROR, "guest-panic"))
                return true;
        } else {
            LOG(cpu, "triple fault: reset");
            v->events |= EV_RESET;
        }
    }
    if (v->events & EV_RESET) {
        u32 all = __atomic_load_n(&vm->requests, __ATOMIC_SEQ_CST) & (REQ_HOST_RESET | REQ_HARD_RESET);
        if (!all && comes_back(vm)) {
            if (processor_reset(vm)) {
                *status = EXIT_HOST;
                return true;
            }
        } else if (vm->cfg.no_reboot) {
            *status = EXIT_OK;
            if (end_of_guest(vm, RUN_SHUTDOWN, host_reset ? "host-qmp-system-reset" : "guest-reset"))
                return true;
            __atomic_and_fetch(&vm->requests, ~(REQ_RESET | REQ_HOST_RESET | REQ_HARD_RESET),
                               __ATOMIC_SEQ_CST);
        } else if (reset(vm, !host_reset)) {
            *status = EXIT_HOST;
            return true;
        }
    }
    /* Somebody who looks at the screen wants to read what the guest's last words were: it stays, as a PC
     * does. */
    bool keep = vm->cfg.no_shutdown || vm->display;
    if (lifecycle_running(vm) && (v->events & EV_HALT) && halted_for_good(v) && !keep) {
        /* A request may be on its way (debug exit and hlt): it wins. */
        take_kick(vm);
        if ((v->events & (EV_QUIT | EV_RESET)) || !lifecycle_running(vm) ||
            (__atomic_load_n(&vm->requests, __ATOMIC_SEQ_CST) & REQ_SHUTDOWN))
            return handle_events(vm, status);
        warn_report(
            "the guest halted with interrupts off at eip %08x: nothing can wake it (-no-shutdown keeps the "
            "machine)",
            v->eip);
        *status = EXIT_HALTED;
        lifecycle_tell(vm, MACHINE_SHUTDOWN, true, "guest-panic");
        return true;
    }
    return false;
}

/* A debugger's single step, or the step past a breakpoint that has just been reported. */
static void step(struct vm *vm)
{
    bool stop = vm->step == STEP_STOP;
    vm->step = STEP_NONE;
    monitor_step(vm->cpu, vm->step_interrupts);
    cpu_fpu_park(vm->cpu);
    if (stop)
        machine_stop_now(vm, RUN_DEBUG);
}

/* --kick=...,irq=N: an edge on that line wherever translated code was stopped with IF set. Not at the
 * boundary that the handler's iret leads to: that is the same place again, and the guest would get nowhere.
 */
static void kick_irq(struct vm *vm)
{
    struct vcpu *v = vm->cpu;
    if (!v->iflag || v->intr_shadow)
        return;
    bool back = vm->kick_raised && v->stats.interrupts != vm->kick_delivered;
    vm->kick_raised = !back;
    vm->kick_delivered = v->stats.interrupts;
    bus_lock(vm->bus);
    bus_set_irq(vm->bus, vm->cfg.kick_irq, 0);
    if (!back)
        bus_set_irq(vm->bus, vm->cfg.kick_irq, 1);
    bus_unlock(vm->bus);
}

/* --kick=...,nmi: an NMI wherever translated code was stopped with IF set (so that the guest says where it
 * wants them), and a second one as soon as the first one's handler runs: it must wait for the handler's iret.
 */
static void kick_nmi(struct vm *vm)
{
    struct vcpu *v = vm->cpu;
    bool raise = false;
    switch (vm->kick_nmi) {
    case 0:
        raise = v->iflag && !v->intr_shadow && !v->nmi_blocked;
        break;
    case 1: /* the first is pending, or its handler runs */
        raise = v->nmi_blocked;
        break;
    case 2: /* the second waits */
        if (v->nmi_blocked && !__atomic_load_n(&v->nmi_pending, __ATOMIC_SEQ_CST))
            vm->kick_nmi = 3;
        break;
    case 3: /* the second one's handler runs; behind it is the same place again */
        if (!v->nmi_blocked)
            vm->kick_nmi = 0;
        break;
    }
    if (raise) {
        vm->kick_nmi++;
        __atomic_store_n(&v->nmi_pending, 1, __ATOMIC_SEQ_CST);
    }
}

static int run_loop(struct vm *vm)
{
    struct vcpu *v = vm->cpu;
    int status;
    lifecycle_begin(vm);
    for (;;) {
        take_kick(vm);
        if (handle_events(vm, &status))
            return status;
        if (v->events & EV_STOP) {
            v->events &= ~EV_STOP;
            if (v->debug && v->debug->hit != DEBUG_NO_HIT)
                machine_stop_now(vm, RUN_DEBUG);
        }
        if (!lifecycle_running(vm)) {
            wait_stopped(vm);
            continue;
        }
        if (v->events & EV_HALT) {
            run_wait(vm);
            continue;
        }
        if (unlikely(vm->step)) {
            step(vm);
            continue;
        }
        if (vm->cfg.engine == ENGINE_BT) {
            monitor_run_bt(v);
        } else {
            v->events &=
                ~(EV_MODE | EV_SMC); /* the interpreter looks at the mode afresh for each instruction */
            monitor_run_interp(v);
        }
        cpu_fpu_park(v); /* what follows is heavy code */
        if (unlikely(vm->cfg.kick_irq))
            kick_irq(vm);
        if (unlikely(vm->cfg.kick_nmi))
            kick_nmi(vm);
    }
}

/* SIGINT, SIGTERM and SIGHUP arrive on the event thread as a readable descriptor: no handler, no race. The
 * first asks the machine to stop (status 0, as QEMU's); who sends another one seconds later doesn't want to
 * wait (timeout(1) sends two at once). */
static void on_signal(void *opaque)
{
    struct vm *vm = opaque;
    u8 sig;
    while (read(host_signals_fd(vm->signals), &sig, 1) == 1) {
        u64 now = bus_now(vm->bus);
        if (vm->signal_ns && now - vm->signal_ns > 2000000000ull) {
            chardev_restore_terminal();
            _exit(128 + sig);
        }
        if (!vm->signal_ns)
            vm->signal_ns = now | 1;
        lifecycle_quit(vm, EXIT_OK, "host-signal");
    }
}

int machine_run(struct vm *vm)
{
    struct vcpu *v = vm->cpu;
    report_phases_start(vm);
    if (vm->follower) {
        int replayed = replay_run(vm);
        report_stats(vm);
        return replayed;
    }
    if (vm->signals)
        bus_watch_fd(vm->bus, host_signals_fd(vm->signals), on_signal, vm);
    if (v->opts & OPT(wakeup))
        bus_share_timers(vm->bus, asleep, vm);
    if (v->opts & OPT(apart))
        bus_cpu_thread(vm->bus);
    vm->thread = host_thread();
    prctl(PR_SET_TIMERSLACK, 1000ul); /* a halted guest waits for its timers: not for 50 us more */
    int err = bus_start(vm->bus);
    if (err) {
        error_report("cannot start the device thread: %s", strerror(-err));
        return EXIT_HOST;
    }
    vm->started = true;
    int status = run_loop(vm);
    cpu_fpu_park(v);
    NOVT_ASSERT(!v->phases || v->phases->now == PHASE_other);
    bus_stop(vm->bus);
    vm->started = false;
    if (vm->cfg.code_cache && vm->have_monitor)
        code_cache_save(vm);
    if (vm->lockstep)
        lockstep_finish(vm->lockstep);
    if (vm->cfg.record)
        record_input(vm, INPUT_END, 0, 0, follow_checksum(v));
    if (vm->cfg.audit_shadow) {
        shadow_audit(v);
        if (v->stats.shadow_audit_diffs) {
            error_report("shadow audit: %llu of %llu entries differ from the guest's page tables",
                         (unsigned long long)v->stats.shadow_audit_diffs,
                         (unsigned long long)v->stats.shadow_audits);
            if (status == EXIT_OK)
                status = EXIT_HOST;
        }
    }
    report_stats(vm);
    return status;
}
