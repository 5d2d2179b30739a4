/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time and the event thread.
 *
 * One thread per VM waits in ppoll() for watched host file descriptors, for the earliest timer, and for an
 * eventfd by which other threads tell it that the earliest timer became earlier, that the set of descriptors
 * changed, or that it should end. It holds the bus lock whenever it is not waiting, so every callback runs
 * under the lock.
 *
 * Timers sit in binary heaps by deadline. A timer fires once; its callback arms it again if it wants to.
 * There are two clocks and a heap for each: the guest's, which stands still while the machine is paused, and
 * the host's, for what goes on then (consoles, displays). Deadlines are compared with the timer's own clock.
 * Each heap's `sleep_until` says which of its deadlines the thread sleeps for (0: it does not sleep), so that
 * a timer set to a later time costs no system call.
 *
 * A halted vCPU runs the guest's timers itself (bus_run_guest_timers()), which saves the hand-over from this
 * thread to that one. This one then looks a little later (SHARE_NS), so that the two do not meet; where the
 * vCPU runs, or did not know of a timer, it is this one that fires it.
 *
 * Invariants:
 *  - t->slot is the timer's index in the heap, -1 when it is not armed
 *  - one pass fires at most as many timers as there were armed when it began: a callback that arms itself in
 * the past cannot keep the thread from its descriptors
 *  - all signals are blocked in the thread except those of its own faults, so that kicks and terminal signals
 * go elsewhere
 *
 * Must not: wait with the lock held.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "base/syscall.h"
#include "devices/internal.h"

#define SHARE_NS (100 * NS_PER_US) /* a halted vCPU needs less to wake up by itself */

struct bus_timer {
    struct bus *b;
    struct heap *heap;
    bus_timer_fn fn;
    void *opaque;
    u64 deadline;
    int slot;
    struct bus_timer *next; /* all timers of the bus */
};

struct watch {
    int fd;
    void (*fn)(void *opaque);
    void *opaque;
};

struct heap {
    struct bus_timer **at;
    u32 n, cap;
    u32 timers;      /* that belong here, armed or not */
    u64 sleep_until; /* while sleeping: this clock's earliest deadline; UINT64_MAX: none */
};

struct event_loop {
    struct heap guest, host;
    struct bus_timer *all;

    struct watch *watches;
    u32 n_watches, cap_watches;
    struct pollfd *polled;
    u32 cap_polled;

    int wake_fd;
    bool wake_sent;
    bool sleeping;
    bool running, stop;
    pthread_t thread;
};

/* Ends the thread's sleep. One write is enough until it woke. */
static void event_wake(struct event_loop *ev)
{
    if (!ev->sleeping || ev->wake_sent)
        return;
    u64 one = 1;
    ev->wake_sent = host_syscall(SYS_write, (u64)ev->wake_fd, (u64)(uintptr_t)&one, sizeof(one), 0, 0, 0) > 0;
}

u64 host_monotonic_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (u64)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

void event_look_again(struct bus *b)
{
    event_wake(b->ev);
}

void bus_set_clock(struct bus *b, u64 (*fn)(void *opaque), void *opaque)
{
    bus_lock(b);
    b->clock = fn;
    b->clock_opaque = opaque;
    bus_unlock(b);
}

struct event_loop *event_create(void)
{
    struct event_loop *ev = calloc(1, sizeof(*ev));
    if (!ev)
        return NULL;
    ev->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ev->wake_fd < 0) {
        free(ev);
        return NULL;
    }
    return ev;
}

void event_destroy(struct bus *b)
{
    struct event_loop *ev = b->ev;
    while (ev->all) {
        struct bus_timer *t = ev->all;
        ev->all = t->next;
        free(t);
    }
    close(ev->wake_fd);
    free(ev->guest.at);
    free(ev->host.at);
    free(ev->watches);
    free(ev->polled);
    free(ev);
    b->ev = NULL;
}

bool event_running(struct bus *b)
{
    return b->ev->running && !b->ev->stop;
}

/* ---- timers ---- */

static inline void heap_put(struct heap *h, u32 i, struct bus_timer *t)
{
    h->at[i] = t;
    t->slot = i;
}

static void heap_up(struct heap *h, u32 i)
{
    struct bus_timer *t = h->at[i];
    while (i && h->at[(i - 1) / 2]->deadline > t->deadline) {
        heap_put(h, i, h->at[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(h, i, t);
}

static void heap_down(struct heap *h, u32 i)
{
    struct bus_timer *t = h->at[i];
    for (;;) {
        u32 c = 2 * i + 1;
        if (c >= h->n)
            break;
        if (c + 1 < h->n && h->at[c + 1]->deadline < h->at[c]->deadline)
            c++;
        if (h->at[c]->deadline >= t->deadline)
            break;
        heap_put(h, i, h->at[c]);
        i = c;
    }
    heap_put(h, i, t);
}

static void heap_remove(struct heap *h, struct bus_timer *t)
{
    u32 i = t->slot;
    struct bus_timer *last = h->at[--h->n];
    t->slot = -1;
    if (last == t)
        return;
    heap_put(h, i, last);
    heap_up(h, i);
    heap_down(h, last->slot);
}

static u64 heap_deadline(const struct heap *h)
{
    return h->n ? h->at[0]->deadline : 0;
}

static struct bus_timer *timer_new(struct bus *b, struct heap *h, bus_timer_fn fn, void *opaque)
{
    struct bus_timer *t = dev_alloc(sizeof(*t));
    *t = (struct bus_timer){.b = b, .heap = h, .fn = fn, .opaque = opaque, .slot = -1};
    bus_lock(b);
    struct event_loop *ev = b->ev;
    t->next = ev->all;
    ev->all = t;
    if (++h->timers > h->cap) {
        u32 cap = h->cap ? h->cap * 2 : 16;
        struct bus_timer **at = realloc(h->at, cap * sizeof(*at));
        NOVT_ASSERT(at);
        h->at = at;
        h->cap = cap;
    }
    bus_unlock(b);
    return t;
}

struct bus_timer *bus_timer_new(struct bus *b, bus_timer_fn fn, void *opaque)
{
    return timer_new(b, &b->ev->guest, fn, opaque);
}

struct bus_timer *bus_host_timer_new(struct bus *b, bus_timer_fn fn, void *opaque)
{
    return timer_new(b, &b->ev->host, fn, opaque);
}

void bus_timer_set(struct bus_timer *t, u64 deadline_ns)
{
    struct event_loop *ev = t->b->ev;
    struct heap *h = t->heap;
    if (!deadline_ns) {
        if (t->slot >= 0)
            heap_remove(h, t);
        t->deadline = 0;
        return;
    }
    t->deadline = deadline_ns;
    if (t->slot < 0) {
        heap_put(h, h->n++, t);
        heap_up(h, t->slot);
    } else {
        heap_up(h, t->slot);
        heap_down(h, t->slot);
    }
    if (h->at[0] == t && deadline_ns < h->sleep_until)
        event_wake(ev);
}

u64 bus_next_deadline(struct bus *b)
{
    u64 guest = heap_deadline(&b->ev->guest), host = heap_deadline(&b->ev->host);
    return guest && (!host || guest < host) ? guest : host;
}

static u64 left_until(u64 deadline, u64 now)
{
    return deadline > now ? deadline - now : 0;
}

static void run_heap(struct heap *h, u64 now)
{
    for (u32 budget = h->n; budget && h->n && h->at[0]->deadline <= now; budget--) {
        struct bus_timer *t = h->at[0];
        heap_remove(h, t);
        t->deadline = 0;
        t->fn(t->opaque, now);
    }
}

static void run_guest_timers(struct bus *b)
{
    if (!b->clock_stopped)
        run_heap(&b->ev->guest, bus_now(b));
}

void bus_run_timers(struct bus *b)
{
    bus_lock(b);
    run_heap(&b->ev->host, bus_host_now(b));
    run_guest_timers(b);
    bus_unlock(b);
}

u64 bus_run_guest_timers(struct bus *b)
{
    u64 left = UINT64_MAX;
    bus_lock(b);
    run_guest_timers(b);
    if (b->ev->guest.n && !b->clock_stopped)
        left = left_until(heap_deadline(&b->ev->guest), bus_now(b));
    bus_unlock(b);
    return left;
}

void bus_share_timers(struct bus *b, bool (*asleep)(void *opaque), void *opaque)
{
    bus_lock(b);
    b->cpu_asleep = asleep;
    b->cpu_opaque = opaque;
    bus_unlock(b);
}

/* ---- descriptors ---- */

static struct watch *watch_find(struct event_loop *ev, int fd)
{
    for (u32 i = 0; i < ev->n_watches; i++)
        if (ev->watches[i].fd == fd)
            return &ev->watches[i];
    return NULL;
}

void bus_watch_fd(struct bus *b, int fd, void (*fn)(void *opaque), void *opaque)
{
    bus_lock(b);
    struct event_loop *ev = b->ev;
    struct watch *w = watch_find(ev, fd);
    if (!w) {
        if (ev->n_watches == ev->cap_watches) {
            u32 cap = ev->cap_watches ? ev->cap_watches * 2 : 8;
            w = realloc(ev->watches, cap * sizeof(*w));
            NOVT_ASSERT(w);
            ev->watches = w;
            ev->cap_watches = cap;
        }
        w = &ev->watches[ev->n_watches++];
    }
    *w = (struct watch){.fd = fd, .fn = fn, .opaque = opaque};
    event_wake(ev);
    bus_unlock(b);
}

void bus_unwatch_fd(struct bus *b, int fd)
{
    bus_lock(b);
    struct event_loop *ev = b->ev;
    struct watch *w = watch_find(ev, fd);
    if (w) {
        *w = ev->watches[--ev->n_watches];
        event_wake(ev); /* or a level-triggered descriptor would keep it busy */
    }
    bus_unlock(b);
}

/* ---- the thread ---- */

/* Fills ev->polled: [0] is the eventfd. Returns the number of entries. */
static u32 poll_set(struct event_loop *ev)
{
    if (ev->n_watches + 1 > ev->cap_polled) {
        u32 cap = ev->n_watches + 8;
        struct pollfd *p = realloc(ev->polled, cap * sizeof(*p));
        NOVT_ASSERT(p);
        ev->polled = p;
        ev->cap_polled = cap;
    }
    ev->polled[0] = (struct pollfd){.fd = ev->wake_fd, .events = POLLIN};
    for (u32 i = 0; i < ev->n_watches; i++)
        ev->polled[i + 1] = (struct pollfd){.fd = ev->watches[i].fd, .events = POLLIN};
    return ev->n_watches + 1;
}

static void dispatch(struct bus *b, u32 n)
{
    struct event_loop *ev = b->ev;
    for (u32 i = 1; i < n; i++) {
        struct pollfd p = ev->polled[i];
        if (!p.revents)
            continue;
        struct watch *w = watch_find(ev, p.fd); /* an earlier callback may have removed it */
        if (!w)
            continue;
        if (p.revents & POLLNVAL) {
            LOG(dev, "descriptor %d is not open, no longer watched", p.fd);
            bus_unwatch_fd(b, p.fd);
            continue;
        }
        w->fn(w->opaque);
    }
}

static bool asleep(struct bus *b)
{
    return b->cpu_asleep && b->cpu_asleep(b->cpu_opaque);
}

/* How much later than the guest's deadlines this thread looks. */
static u64 guest_slack(struct bus *b)
{
    return asleep(b) ? SHARE_NS : 0;
}

static void run_timers(struct bus *b)
{
    run_heap(&b->ev->host, bus_host_now(b));
    if (b->ev->guest.n && bus_now(b) >= heap_deadline(&b->ev->guest) + guest_slack(b))
        run_guest_timers(b);
}

/* How long to sleep, in ns; UINT64_MAX: until something happens. */
static u64 sleep_time(struct bus *b)
{
    struct event_loop *ev = b->ev;
    u64 wait = UINT64_MAX, left;
    ev->guest.sleep_until = ev->host.sleep_until = UINT64_MAX;
    if (ev->guest.n && !b->clock_stopped) {
        ev->guest.sleep_until = heap_deadline(&ev->guest) + guest_slack(b);
        wait = left_until(ev->guest.sleep_until, bus_now(b));
    }
    if (ev->host.n) {
        ev->host.sleep_until = heap_deadline(&ev->host);
        left = left_until(ev->host.sleep_until, bus_host_now(b));
        wait = left < wait ? left : wait;
    }
    return wait;
}

static void *event_thread(void *arg)
{
    struct bus *b = arg;
    struct event_loop *ev = b->ev;
    pthread_setname_np(pthread_self(), "novt-events");
    prctl(PR_SET_TIMERSLACK, 1000ul); /* guest timers are worth more than the default 50 us */

    bus_lock(b);
    while (!ev->stop) {
        run_timers(b);
        if (ev->stop)
            break;
        u64 wait = sleep_time(b);
        struct timespec ts = {.tv_sec = wait / NS_PER_SEC, .tv_nsec = wait % NS_PER_SEC};
        struct timespec *timeout = wait == UINT64_MAX ? NULL : &ts;
        u32 n = poll_set(ev);
        ev->sleeping = true;
        bool in_the_way = !asleep(b);
        bus_unlock(b);
        if (in_the_way)
            apart_keep(&b->apart);
        int r = ppoll(ev->polled, n, timeout, NULL);
        bus_lock(b);
        ev->sleeping = false;
        ev->guest.sleep_until = ev->host.sleep_until = 0;
        if (ev->wake_sent) {
            u64 count;
            ssize_t got = read(ev->wake_fd, &count, sizeof(count));
            (void)got; /* non-blocking; only its emptiness matters */
            ev->wake_sent = false;
        }
        if (r > 0)
            dispatch(b, n);
    }
    bus_unlock(b);
    return NULL;
}

int bus_start(struct bus *b)
{
    struct event_loop *ev = b->ev;
    if (ev->running)
        return 0;
    sigset_t block, old;
    sigfillset(&block);
    static const int own[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGTTIN};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        sigdelset(&block, own[i]);
    ev->stop = false;
    bus_lock(b);
    pthread_sigmask(SIG_SETMASK, &block, &old);
    int err = pthread_create(&ev->thread, NULL, event_thread, b);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    ev->running = !err;
    bus_unlock(b);
    return -err;
}

void bus_stop(struct bus *b)
{
    struct event_loop *ev = b->ev;
    if (!ev->running)
        return;
    NOVT_ASSERT(!pthread_equal(ev->thread, pthread_self()));
    bus_lock(b);
    ev->stop = true;
    event_wake(ev);
    bus_unlock(b);
    pthread_join(ev->thread, NULL);
    ev->running = false;
}
