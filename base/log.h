/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Diagnostics: log channels, host errors, and our own bugs.
 *
 * Three classes of trouble are kept apart everywhere:
 *   guest fault   a value (struct cpu_fault) that travels to exception delivery; never logged as an error
 *   host failure  a negative errno that the caller must check; reported with error_report()
 *   our bug       NOVT_BUG / NOVT_ASSERT: prints a state dump and aborts
 */
#ifndef NOVT_BASE_LOG_H
#define NOVT_BASE_LOG_H

#include "base/types.h"

/* Log channels: LOG_CHANNEL(name, description). Enabled with -d name[,name...]. */
#define LOG_CHANNELS(X)                                                                                      \
    X(int, "interrupts and exceptions delivered to the guest")                                               \
    X(cpu, "mode changes, control registers, task switches")                                                 \
    X(in_asm, "guest code of each translated unit")                                                          \
    X(out_asm, "host code of each fragment")                                                                 \
    X(exec, "fragments entered from the monitor")                                                            \
    X(mmu, "shadow page table fills, traces and space switches")                                             \
    X(ioport, "accesses to ports that no device claims")                                                     \
    X(unimp, "guest accesses to unimplemented features")                                                     \
    X(guest_errors, "guest accesses that a device rejects")                                                  \
    X(dev, "device state changes")                                                                           \
    X(signal, "host signals taken by the vCPU thread")

enum log_channel {
#define X(name, desc) LOG_##name,
    LOG_CHANNELS(X)
#undef X
        LOG_COUNT
};

extern u32 log_mask; /* process-wide: one bit a channel */

#define LOG_ON(ch) (unlikely(log_mask & (1u << LOG_##ch)))
#define LOG(ch, ...)                                                                                         \
    do {                                                                                                     \
        if (LOG_ON(ch))                                                                                      \
            log_printf(LOG_##ch, __VA_ARGS__);                                                               \
    } while (0)

/* Writes one line to the log file (stderr unless log_open() was called). Not async-signal-safe.
 * Clobbers host SSE state: light code (see docs/how-it-works.md) must park the guest FPU first. */
void log_printf(enum log_channel ch, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Sends the log to `path`. Returns 0 or a negative errno. */
int log_open(const char *path);
/* Parses "a,b,c" into log_mask. Returns 0, or -EINVAL with *bad pointing at the unknown name. */
int log_parse(const char *list, const char **bad);
void log_list(void); /* prints the channels and what they show */

/* "novt: error: ..." on stderr. */
void error_report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void warn_report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Our own invariant failed: prints where and why, calls the registered state dumper, aborts. */
_Noreturn void bug_report(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Registers the function that prints machine state when a bug is reported. */
void bug_set_dumper(void (*dump)(void *opaque), void *opaque);

#define NOVT_BUG(...) bug_report(__FILE__, __LINE__, __VA_ARGS__)
#define NOVT_ASSERT(cond)                                                                                    \
    do {                                                                                                     \
        if (unlikely(!(cond)))                                                                               \
            NOVT_BUG("assertion failed: %s", #cond);                                                         \
    } while (0)

#endif
