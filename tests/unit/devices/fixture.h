/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bus with a fake machine and a clock that the test moves. */
#ifndef TEST_DEVICES_FIXTURE_H
#define TEST_DEVICES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "devices/internal.h"

struct fix {
    struct bus *b;
    u64 now;
    int intr, intr_changes, wakes, nmis, resets, quits, status, a20;
    u8 out[8192];
    int out_len;
    u64 fired; /* timer passes that advance() made */
};

static inline void fix_intr(void *o, int level)
{
    struct fix *f = o;
    f->intr = level;
    f->intr_changes++;
}

/* Whoever is told comes for the lock at once. */
static inline void fix_wake(void *o)
{
    struct fix *f = o;
    f->wakes++;
    assert_int_equal(__atomic_load_n(&f->b->lock, __ATOMIC_ACQUIRE), 0);
}

static inline void fix_nmi(void *o)
{
    ((struct fix *)o)->nmis++;
}

static inline void fix_reset(void *o, bool hard)
{
    ((struct fix *)o)->resets++;
}

static inline void fix_quit(void *o, int status)
{
    struct fix *f = o;
    f->status = status;
    __atomic_add_fetch(&f->quits, 1, __ATOMIC_SEQ_CST); /* tests with a real event thread look from outside */
}

static inline void fix_a20(void *o, int on)
{
    ((struct fix *)o)->a20 = on;
}

static inline u64 fix_clock(void *o)
{
    return ((struct fix *)o)->now;
}

static inline void fix_output(void *o, const u8 *buf, int len)
{
    struct fix *f = o;
    for (int i = 0; i < len && f->out_len < (int)sizeof(f->out); i++)
        f->out[f->out_len++] = buf[i];
}

static inline struct fix *fix_new(void)
{
    struct fix *f = calloc(1, sizeof(*f));
    struct bus_host h = {.set_intr = fix_intr,
                         .wake = fix_wake,
                         .raise_nmi = fix_nmi,
                         .request_reset = fix_reset,
                         .request_quit = fix_quit,
                         .set_a20 = fix_a20,
                         .opaque = f};
    f->a20 = -1;
    f->now = 1000000000ull;
    f->b = bus_create(&h);
    assert_non_null(f->b);
    bus_set_clock(f->b, fix_clock, f);
    return f;
}

static inline void fix_free(struct fix *f)
{
    bus_destroy(f->b);
    free(f);
}

/* Moves the clock, stopping at each timer's deadline as a punctual event thread would. */
static inline void advance(struct fix *f, u64 ns)
{
    u64 end = f->now + ns;
    for (;;) {
        u64 at = bus_next_deadline(f->b);
        if (!at || at > end)
            break;
        if (at > f->now)
            f->now = at;
        bus_run_timers(f->b);
        f->fired++;
    }
    f->now = end;
}

/* Moves the clock past timers without running them, then runs them late. */
static inline void stall(struct fix *f, u64 ns)
{
    f->now += ns;
    bus_run_timers(f->b);
}

static inline void outb(struct fix *f, u16 port, u8 val)
{
    bus_out(f->b, port, 1, val);
}

static inline u8 inb(struct fix *f, u16 port)
{
    return bus_in(f->b, port, 1);
}

static inline void set_irq(struct fix *f, int irq, int level)
{
    bus_lock(f->b);
    bus_set_irq(f->b, irq, level);
    bus_unlock(f->b);
}

/* ICWs as PC firmware and Linux write them: vectors 30h and 38h, everything unmasked. */
static inline void init_pics(struct fix *f)
{
    outb(f, 0x20, 0x11);
    outb(f, 0x21, 0x30);
    outb(f, 0x21, 0x04);
    outb(f, 0x21, 0x01);
    outb(f, 0xa0, 0x11);
    outb(f, 0xa1, 0x38);
    outb(f, 0xa1, 0x02);
    outb(f, 0xa1, 0x01);
}

#define US(n)   ((n)*1000ull)
#define MS(n)   ((n)*1000000ull)
#define SECS(n) ((n)*1000000000ull)

#endif
