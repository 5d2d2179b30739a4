/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a CPU's thread spends its time (--stats). At any moment the thread is in one phase of
 * base/phases.def; each change reads the host's time stamp counter once and charges what went by to the phase
 * that ends. So a phase's cycles are its own, without those of phases entered from it, and all of them add up
 * to the thread's time, whatever is forgotten ("other").
 *
 * Without --stats there is no struct phases, and what is left is a test of a pointer. Everything here but the
 * printing is light code (cpu/cpu.h).
 */
#ifndef NOVT_BASE_PHASES_H
#define NOVT_BASE_PHASES_H

#include <stdio.h>
#include "base/types.h"

enum phase {
#define PHASE(name, desc) PHASE_##name,
#include "base/phases.def"
#undef PHASE
    PHASE_COUNT
};

struct phases {
    u64 cycles[PHASE_COUNT];
    u64 times[PHASE_COUNT]; /* entered, returns from nested phases not counted */
    u64 start, since;       /* time stamps: of phases_start(), of the last change */
    enum phase now;
};

/* Begins to count, in PHASE_other. */
void phases_start(struct phases *p);
/* Charges what went by since the last change, so that the cycles add up to since - start. */
void phases_settle(struct phases *p);

/* Changes to a phase and counts that it was entered; returns the one before. */
enum phase phase_enter(struct phases *p, enum phase to);
/* Changes back. */
void phase_leave(struct phases *p, enum phase to);

/* The same, or nothing where p is NULL:  was = phase_begin(p, X); ...; phase_end(p, was). */
static inline enum phase phase_begin(struct phases *p, enum phase to)
{
    return unlikely(p) ? phase_enter(p, to) : PHASE_other;
}
static inline void phase_end(struct phases *p, enum phase was)
{
    if (unlikely(p))
        phase_leave(p, was);
}

/*
 * For functions that are called all the time, where even a value kept over the call would cost: the function
 * begins with
 *
 *     if (phase_wanted(p, X))
 *         return a cold function that enters X, calls this function again and leaves X;
 */
static inline bool phase_wanted(const struct phases *p, enum phase to)
{
    return unlikely(p) && p->now != to;
}

#endif
