/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control of a machine from outside: the human monitor, QMP, the GDB stub.
 *
 * Each sits behind a character back end. Input arrives on the event thread and is only stored there; it is
 * acted upon in deferred work on the vCPU thread, between two guest instructions, where the whole machine can
 * be looked at and changed without further locks. Peers are not trusted with anything but what the protocols
 * offer: sizes are bounded, and nobody waits for them.
 */
#ifndef NOVT_CONTROL_CONTROL_H
#define NOVT_CONTROL_CONTROL_H

#include "base/types.h"

struct vm;
struct control;

enum control_mode { CONTROL_HMP, CONTROL_QMP, CONTROL_QMP_PRETTY };

#define MAX_MONITORS 8

struct control_config {
    struct {
        const char *chardev; /* a back end's name (devices/devices.h) */
        enum control_mode mode;
    } monitors[MAX_MONITORS];
    int n_monitors;
    const char *gdb;  /* the same, or NULL */
    const char *name; /* of the machine, or NULL */
};

/* Opens the consoles. Between machine_create() and machine_run(). NULL after reporting. */
struct control *control_create(struct vm *vm, const struct control_config *cfg);
/* After machine_run(), before machine_destroy(). */
void control_destroy(struct control *c);

#endif
