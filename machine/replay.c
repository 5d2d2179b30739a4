/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --record and --replay: a run's inputs in a file, and the run again from it.
 *
 * A replay has no devices and no time of its own: ports and the time stamp counter read what was recorded,
 * and interrupts come at the recorded instruction. So it is the same run instruction for instruction, by
 * either engine, as often as one likes; a run that goes another way stops where it does. What the guest sends
 * to the first serial port is shown.
 *
 * The translator is stopped at each interrupt's place by its exact count (monitor_set_stop).
 */
#include "machine/lockstep.h"

#include <inttypes.h>

#include "base/log.h"
#include "monitor/monitor.h"

void record_input(struct vm *vm, enum input_kind kind, u16 port, int size, u64 val)
{
    struct vcpu *v = vm->cpu;
    struct input in = {
        .kind = (u8)kind, .size = (u8)size, .port = port, .val = val, .count = monitor_count(v)};
    in.eip = v->eip;
    in.ecx = v->gpr[R_ECX];
    inputs_put(vm->inputs, &in);
    if (!vm->lockstep)
        vm->inputs->head = vm->inputs->tail; /* nobody follows: only the file wants it */
}

/* Takes the interrupts that belong here and sets the next stop: the next interrupt, or the end. */
static void deliver(struct vm *vm)
{
    struct follower *f = vm->follower;
    u64 now = f->count = monitor_count(vm->cpu);
    const struct input *in;

    while (!f->trouble && (in = inputs_peek(f->q)) && inputs_stop(in->kind) && in->kind != INPUT_END &&
           in->count == now)
        follow_interrupt(f);
    in = inputs_ahead(f->q);
    if (f->trouble || !in || in->count <= now)
        vm->cpu->events |= EV_QUIT;
    else
        monitor_set_stop(vm->cpu, in->count);
}

__attribute__((target("general-regs-only"))) void replay_due(void *opaque)
{
    struct vm *vm = opaque;
    cpu_fpu_park(vm->cpu);
    deliver(vm);
}

static void run_translated(struct vm *vm)
{
    struct vcpu *v = vm->cpu;
    while (!(v->events & (EV_QUIT | EV_SHUTDOWN | EV_RESET)) && !vm->follower->trouble) {
        deliver(vm);
        if (v->events & EV_HALT) {
            if (!vm->follower->trouble)
                v->events |= EV_QUIT; /* the recorded run ended in hlt */
            break;
        }
        if (!(v->events & EV_QUIT))
            monitor_run_bt(v);
        cpu_fpu_park(v);
    }
    vm->follower->count = monitor_count(v);
}

int replay_run(struct vm *vm)
{
    struct follower *f = vm->follower;
    const struct input *in;

    if (vm->have_monitor)
        run_translated(vm);
    else
        follow_run(f, ~0ull);
    cpu_fpu_park(vm->cpu);
    in = f->trouble ? NULL : inputs_peek(f->q);
    if (in && in->kind == INPUT_END && in->count == f->count && in->val == follow_checksum(vm->cpu)) {
        fprintf(stderr, "novt: replay: %" PRIu64 " instructions, the same end\n", f->count);
        return EXIT_OK;
    }
    fflush(stdout);
    error_report("replay: after %" PRIu64 " instructions: %s", f->count,
                 f->trouble ? f->trouble : "the end differs from the recorded run's");
    cpu_dump(vm->cpu, stderr);
    return EXIT_DIFFERS;
}
