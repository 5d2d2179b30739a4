/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to tcache/: the host's memory for what the cache gives out in order, found before it is used
 * (ahead.c). */
#ifndef NOVT_TCACHE_AHEAD_H
#define NOVT_TCACHE_AHEAD_H

#include <pthread.h>
#include "base/types.h"

#define HUGE (2ull * MiB) /* a large page of the host */

/* A part of the cache that fills from its start. Offsets are from rw. */
struct region {
    u8 *rw; /* where it is written */
    u8 *rx; /* where else it is mapped, NULL: nowhere */
    u64 start, end;
    u64 at;    /* what is below has memory, or somebody sees to it; only grows */
    u64 want;  /* for the thread: how far `at` should be */
    u64 asked; /* the `at` that the thread was last asked to move */
};

enum {
    REGION_SIDE,
    REGION_CODE,
    REGION_FRAGS = REGION_CODE + 2,
    REGION_LINKS = REGION_FRAGS + 2,
    REGIONS = 7
};

struct ahead {
    struct region region[REGIONS];
    bool large;    /* the host gives large pages where it is asked for them */
    u64 margin;    /* how long before its use memory is asked for */
    bool threaded; /* of whom: a thread, or whoever uses it */
    bool stop;
    u32 bell; /* futex(2): changes when the thread has something to do */
    pthread_t thread;
};

/* Region n is bytes [start, end) of rw, and the same of rx. For large pages both are at a multiple of HUGE.
 */
void ahead_region(struct ahead *a, u32 n, u8 *rw, u8 *rx, u64 start, u64 end);
/* threaded: by a thread, if there can be one. */
void ahead_start(struct ahead *a, bool large, bool threaded);
void ahead_stop(struct ahead *a);

void ahead_more(struct ahead *a, struct region *r, u64 used);
/* Region n will be used up to this offset at most until this is called again. Light. */
static inline void ahead_use(struct ahead *a, u32 n, u64 used)
{
    struct region *r = &a->region[n];
    if (unlikely(used + a->margin > __atomic_load_n(&r->at, __ATOMIC_RELAXED)))
        ahead_more(a, r, used);
}

/* Region n will be used up to this offset at once: all of it has memory when this returns. */
void ahead_fill(struct ahead *a, u32 n, u64 used);

#endif
