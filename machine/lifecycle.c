/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The states of a machine and the ways between them.
 *
 * vm->state is written by the vCPU thread alone, between two instructions: either for a request bit that
 * another thread set (take_kick() in run.c hands them over), or by the *_now() functions, which work of
 * bus_defer() calls. So whoever stops a machine from deferred work finds the CPU's whole state at an
 * instruction boundary, and no instruction runs before the work returns.
 *
 * The guest's time stops with it: the bus clock (all timers of devices), and the TSC, whose offset takes up
 * the difference when it goes on. The CMOS clock counts guest time too, so a paused guest's clock is late
 * afterwards, as a laptop's that slept.
 *
 * Must not: be called with the guest's FPU state live.
 */
#include "machine/vm.h"

#include "base/log.h"
#include "devices/piix.h"

static const char *const names[RUN_STATES] = {
    [RUN_RUNNING] = "running",   [RUN_PRELAUNCH] = "prelaunch", [RUN_PAUSED] = "paused",
    [RUN_DEBUG] = "debug",       [RUN_SHUTDOWN] = "shutdown",   [RUN_INTERNAL_ERROR] = "internal-error",
    [RUN_IO_ERROR] = "io-error",
};

const char *run_state_name(enum run_state s)
{
    return names[s];
}

/* ---- requests ---- */

void machine_stop(struct vm *vm)
{
    run_request(vm, REQ_STOP);
}

void machine_cont(struct vm *vm)
{
    run_request(vm, REQ_CONT);
}

void machine_reset(struct vm *vm)
{
    run_request(vm, REQ_HOST_RESET);
}

void machine_powerdown(struct vm *vm)
{
    run_request(vm, REQ_POWERDOWN);
}

void lifecycle_quit(struct vm *vm, int status, const char *reason)
{
    if (!__atomic_exchange_n(&vm->quitting, 1, __ATOMIC_SEQ_CST)) {
        vm->quit_status = status;
        vm->quit_reason = reason;
        run_request(vm, REQ_QUIT);
    }
}

void machine_quit(struct vm *vm, int status, const char *reason)
{
    lifecycle_quit(vm, status, reason);
}

enum run_state machine_state(const struct vm *vm)
{
    return (enum run_state)__atomic_load_n(&vm->state, __ATOMIC_ACQUIRE);
}

/* ---- observers ---- */

void machine_observe(struct vm *vm, struct machine_observer *o)
{
    o->next = vm->observers;
    vm->observers = o;
}

void machine_unobserve(struct vm *vm, struct machine_observer *o)
{
    for (struct machine_observer **p = &vm->observers; *p; p = &(*p)->next) {
        if (*p == o) {
            *p = o->next;
            return;
        }
    }
}

void lifecycle_tell(struct vm *vm, enum machine_event event, bool guest, const char *reason)
{
    bus_lock(vm->bus);
    for (struct machine_observer *o = vm->observers; o; o = o->next)
        o->event(o->opaque, event, guest, reason);
    bus_unlock(vm->bus);
}

/* ---- changes ---- */

static void set_state(struct vm *vm, enum run_state s)
{
    LOG(dev, "machine: %s", names[s]);
    __atomic_store_n(&vm->state, s, __ATOMIC_RELEASE);
}

static void stop_time(struct vm *vm)
{
    bus_stop_clock(vm->bus);
    vm->stopped_tsc = __builtin_ia32_rdtsc();
}

static void start_time(struct vm *vm)
{
    vm->cpu->tsc_offset -= __builtin_ia32_rdtsc() - vm->stopped_tsc;
    bus_start_clock(vm->bus);
}

void lifecycle_begin(struct vm *vm)
{
    if (!vm->cfg.start_paused)
        return;
    set_state(vm, RUN_PRELAUNCH);
    stop_time(vm);
}

void machine_stop_now(struct vm *vm, enum run_state why)
{
    vm->step = STEP_NONE;
    if (vm->state != RUN_RUNNING) {
        if (machine_must_reset(why))
            set_state(vm, why);
        return;
    }
    set_state(vm, why);
    stop_time(vm);
    lifecycle_tell(vm, MACHINE_STOPPED, false, NULL);
}

bool machine_cont_now(struct vm *vm)
{
    if (machine_must_reset(vm->state))
        return false;
    if (vm->state == RUN_RUNNING)
        return true;
    if (vm->cpu->debug)
        vm->cpu->debug->hit = DEBUG_NO_HIT;
    set_state(vm, RUN_RUNNING);
    start_time(vm);
    lifecycle_tell(vm, MACHINE_RESUMED, false, NULL);
    return true;
}

bool machine_step_now(struct vm *vm, bool interrupts)
{
    if (!machine_cont_now(vm))
        return false;
    vm->step = STEP_STOP;
    vm->step_interrupts = interrupts;
    return true;
}

bool machine_cont_over_now(struct vm *vm)
{
    if (!machine_cont_now(vm))
        return false;
    vm->step = STEP_OVER;
    vm->step_interrupts = false;
    return true;
}

void lifecycle_reset(struct vm *vm)
{
    if (vm->state != RUN_RUNNING)
        vm->stopped_tsc = __builtin_ia32_rdtsc(); /* reset made the TSC zero now */
    if (machine_must_reset(vm->state))
        set_state(vm, RUN_PAUSED);
    vm->step = STEP_NONE;
}

void lifecycle_take(struct vm *vm, u32 requests)
{
    if (requests & REQ_STOP)
        machine_stop_now(vm, RUN_PAUSED);
    if (requests & REQ_CONT)
        machine_cont_now(vm);
    if (requests & REQ_POWERDOWN) {
        bus_lock(vm->bus);
        if (vm->pm)
            piix4_pm_power_button(vm->pm);
        bus_unlock(vm->bus);
        lifecycle_tell(vm, MACHINE_POWERDOWN, false, NULL);
    }
}
