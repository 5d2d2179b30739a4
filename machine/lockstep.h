/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lockstep, record and replay; private to machine/. */
#ifndef NOVT_MACHINE_LOCKSTEP_H
#define NOVT_MACHINE_LOCKSTEP_H

#include "machine/input.h"
#include "machine/vm.h"

struct lockstep;

/* --lockstep: builds the second CPU and its memory, booted as the first. Returns NULL after reporting a host
 * failure. */
struct lockstep *lockstep_create(struct vm *vm);
void lockstep_destroy(struct lockstep *ls);
/* For struct monitor_config's sync. Light. Ends the process with EXIT_DIFFERS at the first difference. */
void lockstep_sync(void *opaque);
/* The first CPU was reset and has booted again: the same for the second. */
void lockstep_reset(struct lockstep *ls);
/* At the end of the run: a last comparison, all of memory. Says how far it got. */
void lockstep_finish(struct lockstep *ls);

/* --replay: runs the guest from the log instead of from devices. Returns the process exit status. */
int replay_run(struct vm *vm);
void replay_due(void *opaque);

/* machine/wiring.c's recorder. The FPU must be parked. */
void record_input(struct vm *vm, enum input_kind kind, u16 port, int size, u64 val);

#endif
