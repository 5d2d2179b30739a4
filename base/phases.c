/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of phase (base/phases.h). Light code.
 *
 * A signal handler may change the phase as well, but only where it has interrupted translated code or a thunk
 * (monitor/signals.c), never in the middle of a function here. `now` is written last: a handler that finds
 * PHASE_code finds everything else done.
 */
#include "base/phases.h"

static inline void change(struct phases *p, enum phase to)
{
    u64 now = __builtin_ia32_rdtsc();

    p->cycles[p->now] += now - p->since;
    p->since = now;
    __asm__ volatile("" ::: "memory");
    p->now = to;
}

enum phase phase_enter(struct phases *p, enum phase to)
{
    enum phase was = p->now;

    p->times[to]++;
    change(p, to);
    return was;
}

void phase_leave(struct phases *p, enum phase to)
{
    change(p, to);
}

void phases_start(struct phases *p)
{
    p->start = p->since = __builtin_ia32_rdtsc();
    p->now = PHASE_other;
}

void phases_settle(struct phases *p)
{
    change(p, p->now);
}
