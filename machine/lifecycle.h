/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run control: pause, resume, reset, power button, quit, and who wants to know of them.
 *
 * A machine is stopped between two guest instructions. While it is stopped the guest's time stands still (TSC
 * and every timer of bus_timer_new()); the event thread goes on, so consoles and displays work. Words and
 * states are QEMU's.
 */
#ifndef NOVT_MACHINE_LIFECYCLE_H
#define NOVT_MACHINE_LIFECYCLE_H

#include "base/types.h"

struct vm;

enum run_state {
    RUN_RUNNING,
    RUN_PRELAUNCH,      /* -S: has not run yet */
    RUN_PAUSED,         /* somebody asked */
    RUN_DEBUG,          /* a breakpoint, watchpoint or single step */
    RUN_SHUTDOWN,       /* -no-shutdown: the guest switched the power off; only a reset leads back */
    RUN_IO_ERROR,       /* a drive with werror=stop or rerror=stop failed; resuming tries again */
    RUN_INTERNAL_ERROR, /* -no-shutdown: triple fault; only a reset leads back */
    RUN_STATES
};
/* "running", "prelaunch", "paused", "debug", "shutdown", "io-error", "internal-error" */
const char *run_state_name(enum run_state s);

/* ---- from any thread: asked here, done soon ---- */

void machine_stop(struct vm *vm);
void machine_cont(struct vm *vm);
void machine_reset(struct vm *vm);     /* as the reset button; a stopped machine stays stopped */
void machine_powerdown(struct vm *vm); /* as the power button, through ACPI; nothing on a board without it */
/* Ends machine_run() with this exit status; reason: "host-ui", "host-signal", "host-qmp-quit" (QMP's
 * ShutdownCause). */
void machine_quit(struct vm *vm, int status, const char *reason);
enum run_state machine_state(const struct vm *vm);

/* ---- on the vCPU thread only, in work of bus_defer() (which runs between instructions): at once ---- */

void machine_stop_now(struct vm *vm, enum run_state why); /* no-op unless it runs */
/* False: the machine must be reset first (machine_must_reset()). */
bool machine_cont_now(struct vm *vm);
/* Runs one instruction (of rep: one iteration) and stops in RUN_DEBUG. interrupts: one may be delivered
 * first. The same result. */
bool machine_step_now(struct vm *vm, bool interrupts);
/* Resumes past a breakpoint at the current instruction, if there is one. The same. */
bool machine_cont_over_now(struct vm *vm);
static inline bool machine_must_reset(enum run_state s)
{
    return s == RUN_SHUTDOWN || s == RUN_INTERNAL_ERROR;
}

/* ---- observers ---- */

enum machine_event {
    MACHINE_STOPPED, /* machine_state() says why */
    MACHINE_RESUMED,
    MACHINE_RESET,     /* done */
    MACHINE_POWERDOWN, /* the power button was pressed */
    MACHINE_SHUTDOWN,  /* the machine ends, or stops for good */
};
struct machine_observer {
    /* On the vCPU thread, bus lock held. guest: the guest did it. reason: QMP's ShutdownCause; NULL where
     * there is none. */
    void (*event)(void *opaque, enum machine_event event, bool guest, const char *reason);
    void *opaque;
    struct machine_observer *next; /* private */
};
/* Before machine_run(). The caller keeps o, which must live as long as vm, or until it is taken back, which
 * is for after machine_run(). */
void machine_observe(struct vm *vm, struct machine_observer *o);
void machine_unobserve(struct vm *vm, struct machine_observer *o);

#endif
