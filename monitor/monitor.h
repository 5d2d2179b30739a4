/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The run loop: enters translated code (or the interpreter), routes exits, delivers faults and interrupts.
 */
#ifndef NOVT_MONITOR_MONITOR_H
#define NOVT_MONITOR_MONITOR_H

#include "cpu/cpu.h"
#include "memory/memory.h"

enum monitor_kicks {
    KICKS_NONE,
    KICKS_FRAGMENT,    /* wherever a fragment begins, and at the targets of jumps within one */
    KICKS_INSTRUCTION, /* at every guest instruction */
    KICKS_HOST /* kicks at every host instruction of every guest instruction, one each time that it runs */
};

struct monitor_config {
    u64 tcache_bytes; /* 0: default 32 MiB */
    u32 dump;         /* DUMP_* of machine/machine.h */
    u32 dump_lo, dump_hi;
    /* Name of the guest symbol at an address for dumps, or NULL; may be NULL. */
    const char *(*symbol)(void *opaque, u32 eip, u32 *offset);
    void *opaque;
    /* Called for each fragment that was made (its executable host code, the guest-linear address of its first
     * instruction), and with host = NULL when some are gone: those that are left are told again after it.
     * NULL: nobody wants to know. Heavy. */
    void (*code_made)(void *opaque, const void *host, u32 len, u32 lin);
    void *code_opaque;
    bool windows_always; /* turn every view's window on at once (for tests) */
    bool tick;           /* now and then set v->kick where nobody else does, to turn windows on */
    bool count;          /* count retired guest instructions (costs a little) */
    /* Exact counting (costs a lot): monitor_count() is exact whenever C code sees the guest. sync() is called
     * with the guest's state at an instruction boundary, before anything else happens there; due() when the
     * count of monitor_set_stop() is reached: it must deliver something, set another stop, or set events.
     * sync may be NULL, and due if no stop is ever set. */
    bool exact;
    void (*sync)(void *opaque);
    void (*due)(void *opaque);
    void *exact_opaque;
    bool verify; /* check every fragment before it may run (tcache/verify.h) */
    /* Forced stops (a debugging aid, slow): translated code traps at these boundaries and is left there as by
     * a kick, with v->kick set; on the way back in it goes on. kick_times: how often at each place, 0:
     * always. */
    enum monitor_kicks kicks;
    u32 kick_times;
    bool count_arms; /* which arms branches take is counted, as if translations were to be written */
};

/* Prepares binary translation for v: code cache, entry and exit code, signal handlers of the calling thread's
 * process. Call on the thread that will run v. Returns 0 or a negative errno. */
int monitor_create(struct vcpu *v, struct memory *m, const struct monitor_config *cfg);
void monitor_destroy(struct vcpu *v);
/* Makes v the one of several vCPUs that the calling thread runs next (the last one created is), whatever
 * other code did to the host's GS base in between. */
void monitor_attach(struct vcpu *v);
/* Runs guest code by binary translation until v->events has something for the caller (EV_HALT, EV_SHUTDOWN,
 * EV_RESET, EV_QUIT, EV_STOP) or v->kick asks it to look up. Delivers interrupts itself. */
void monitor_run_bt(struct vcpu *v);
/* The same by the interpreter. */
void monitor_run_interp(struct vcpu *v);
/* One instruction (of rep: one iteration) by the interpreter, for debuggers. interrupts: one that is ready is
 * delivered before it. */
void monitor_step(struct vcpu *v, bool interrupts);
/* From any thread: makes v leave guest code soon. v->kick is set and, if needed, a signal sent to its thread.
 */
void monitor_kick(struct vcpu *v);
/* Guest instructions so far, with monitor_config.exact: completed ones, and those that ended in a fault. An
 * instruction that has to be started again (rep, interrupted) counts once, when it is done. */
u64 monitor_count(const struct vcpu *v);
/* Calls due() at the boundary where monitor_count() is `count` (which must lie ahead). */
void monitor_set_stop(struct vcpu *v, u64 count);
/* Whether the instruction at v->eip is one that may have been left unfinished with eip unmoved. Any engine.
 */
bool monitor_unfinished(struct vcpu *v);
/* Prints the translations that hold guest address eip, guest and host code. Heavy. */
void monitor_dump_at(struct vcpu *v, u32 eip);
/* struct cpu_ops' fpu_env: names the guest instruction that a host x87 instruction in translated code was
 * made for. */
void monitor_fpu_env(struct vcpu *v, u32 host_ip, u32 host_dp);
/* Host cycles from a fault to the first instruction of its signal handler: the median of some, tried now on
 * the calling thread, which monitor_create() was called on. 0: cannot be measured. Heavy; not while guest
 * code runs. */
u64 monitor_signal_cycles(void);
/* Forget all translations (reset). */
void monitor_flush(struct vcpu *v);
/* Translations of earlier runs, and for later ones: tcache/store.h has what is in the file, and the errors;
 * -ENOTSUP: not with what this run is for. Before guest code runs; after it, while guest memory is there.
 * Heavy. */
int monitor_load_code(struct vcpu *v, const char *path);
int monitor_save_code(struct vcpu *v, const char *path, u32 *written);
/* Prints translation counters that are computed, not counted, into v->stats. */
void monitor_update_stats(struct vcpu *v);

#endif
