/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory of the host's for the cache's arrays, before it is needed.
 *
 * What the cache gives out in order is asked for in large pages, or 256 KiB at a time: a fault for each page
 * costs several times as much. Finding a large page takes the host a third of a millisecond, and where it is
 * a guest itself, whose memory comes from its hypervisor at the first touch, five: so a thread does it while
 * the CPU goes on, one part ahead of what is used.
 *
 * Who moves a region's `at` on (by compare and exchange) sees to the memory of that part; whoever uses it
 * before it is done takes page faults, and nothing else depends on it. Parts are prepared while others write
 * to them. ahead_more() is light code; the thread takes no lock and no signal.
 */
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "base/syscall.h"
#include "tcache/ahead.h"

#define PART      (256ull * KiB) /* where there are no large pages */
#define LARGE_MAX (8 * MiB)
#define MARGIN    (2 * MiB) /* a compiler fills it in 60 ms or more */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* Where the host cannot, or does not know how (Linux before 5.14), there will be faults. */
static bool advise(u8 *at, u64 len, int advice)
{
    return host_syscall(SYS_madvise, (u64)(uintptr_t)at, len, (u64)advice, 0, 0, 0) == 0;
}

/* A page fault, that is: it does not keep others from mapping memory meanwhile, as populating does. */
static void touch(u8 *at)
{
    __atomic_fetch_or(at, 0, __ATOMIC_RELAXED);
}

/* Makes len bytes large pages, in both mappings. Faults, and populating, give shared memory small pages
 * whatever MADV_HUGEPAGE says; collapsing does not. */
static bool prepare_large(const struct region *r, u64 at, u64 len)
{
    for (u64 n = 0; n < len; n += HUGE)
        touch(r->rw + at + n);
    if (!r->rx)
        return true;
    /* with one page there, the first call makes the memory large, the second maps it so where it is run */
    return advise(r->rw + at, len, MADV_COLLAPSE) && advise(r->rx + at, len, MADV_COLLAPSE);
}

static void prepare_small(const struct region *r, u64 at, u64 len)
{
    advise(r->rw + at, len, MADV_POPULATE_WRITE);
    if (r->rx)
        advise(r->rx + at, len, MADV_POPULATE_READ);
}

/* How much to prepare from `at` on. Each call to collapse has all processors do something first, and waits
 * for that: the more is used already, the more at a time. */
static u64 large_part(const struct region *r, u64 at)
{
    u64 len = ALIGN_DOWN((at - r->start) / 4, HUGE);

    if (len > LARGE_MAX)
        len = LARGE_MAX;
    if (len > r->end - at)
        len = ALIGN_DOWN(r->end - at, HUGE);
    return len && r->rx ? len : HUGE;
}

/* Prepares the part from `at` on, if nobody does already. */
static void part(struct ahead *a, struct region *r, u64 at, bool late)
{
    bool large = __atomic_load_n(&a->large, __ATOMIC_RELAXED) && at % HUGE == 0 && r->end - at >= HUGE;
    u64 len = large ? late ? HUGE : large_part(r, at) : r->end - at < PART ? r->end - at : PART;
    /* at the end there is nothing more to ask for */
    u64 next = at + len == r->end ? ~0ull : at + len;

    if (!__atomic_compare_exchange_n(&r->at, &at, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return;
    if (!large)
        prepare_small(r, at, len);
    else if (!prepare_large(r, at, len))
        __atomic_store_n(&a->large, false, __ATOMIC_RELAXED);
}

static void *ahead_thread(void *opaque)
{
    struct ahead *a = opaque;

    prctl(PR_SET_NAME, "novt-memory");
    for (;;) {
        u32 bell = __atomic_load_n(&a->bell, __ATOMIC_ACQUIRE);
        bool any = false;

        for (u32 n = 0; n < REGIONS; n++) {
            u64 at = __atomic_load_n(&a->region[n].at, __ATOMIC_RELAXED);
            if (__atomic_load_n(&a->stop, __ATOMIC_RELAXED))
                return NULL;
            if (at < __atomic_load_n(&a->region[n].want, __ATOMIC_RELAXED)) {
                part(a, &a->region[n], at, false);
                any = true;
            }
        }
        if (!any)
            host_syscall(SYS_futex, (u64)(uintptr_t)&a->bell, FUTEX_WAIT_PRIVATE, bell, 0, 0, 0);
    }
}

static void ring(struct ahead *a)
{
    __atomic_fetch_add(&a->bell, 1, __ATOMIC_RELEASE);
    host_syscall(SYS_futex, (u64)(uintptr_t)&a->bell, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

void ahead_more(struct ahead *a, struct region *r, u64 used)
{
    u64 at = __atomic_load_n(&r->at, __ATOMIC_RELAXED);

    if (used > at) { /* the thread is late, or there is none */
        part(a, r, at, true);
    } else if (a->threaded && r->asked != at) {
        r->asked = at;
        __atomic_store_n(&r->want, at + 1, __ATOMIC_RELAXED);
        ring(a);
    }
}

void ahead_fill(struct ahead *a, u32 n, u64 used)
{
    struct region *r = &a->region[n];
    u64 at;

    while ((at = __atomic_load_n(&r->at, __ATOMIC_RELAXED)) < used)
        part(a, r, at, false);
}

void ahead_region(struct ahead *a, u32 n, u8 *rw, u8 *rx, u64 start, u64 end)
{
    a->region[n] = (struct region){
        .rw = rw,
        .rx = rx,
        .start = start,
        .end = end,
        .at = ALIGN_DOWN(start, (u64)PAGE_SIZE),
        .asked = ~0ull,
    };
}

void ahead_start(struct ahead *a, bool large, bool threaded)
{
    sigset_t all, old;

    a->large = large;
    if (!threaded)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    a->threaded = pthread_create(&a->thread, NULL, ahead_thread, a) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    a->margin = a->threaded ? MARGIN : 0;
}

void ahead_stop(struct ahead *a)
{
    if (!a->threaded)
        return;
    __atomic_store_n(&a->stop, true, __ATOMIC_RELAXED);
    ring(a);
    pthread_join(a->thread, NULL);
    a->threaded = false;
}
