/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8254 interval timer (Intel 8254 datasheet 231164-005) and the system control port B at 61h.
 *
 * Nothing counts here: a counter is the tick at which it was loaded, and its value, output and next edge are
 * computed from the bus clock when somebody asks. A tick is 1/1193182 s since the bus was made. Channel 0's
 * output drives IRQ 0, channel 1 the refresh toggle (modelled as a fixed 15 us), channel 2's gate and output
 * are in port 61h.
 *
 * Host delays: the rising edges of channel 0 that passed since the last look are owed to the guest. One at a
 * time is put on IRQ 0, the next when the one before was acknowledged, so a periodic tick is not lost if the
 * host was late. The debt is bounded (BACKLOG_NS), and no debt is kept for a masked interrupt or for rates
 * that no guest could serve; edges come no faster than one in MIN_INTERVAL_NS, however small the count,
 * because each costs the host a wake-up.
 *
 * Calibration loops poll channel 2's output and take the time of the last poll that found it low. A host that
 * runs something else between that and the next poll makes Linux think the CPU many times slower (and keep
 * that: no check of its notices), after which the guest's time runs away. So a loop that polls busily and is
 * held up sees the output low once more, and with that the time that passed.
 *
 * Invariants:
 *  - count is 1..10000h (1..10000 in BCD) and the modulus of what runs now; next_count waits for the end of
 * the period (modes 2, 3)
 *  - while running, `start` is the tick at which the counter held `count`; while stopped, `elapsed` is how
 * far it had come
 */
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/internal.h"

#define PIT_HZ          1193182ull
#define BUSY_NS         100000ull /* polls of port 61h closer than this are a busy loop, */
#define BUSY_POLLS      64u       /* if there are so many of them */
#define HELD_UP_NS      500000ull /* longer between two of them: the host ran something else */
#define MIN_INTERVAL_NS (50 * NS_PER_US)
#define BACKLOG_NS      (250 * NS_PER_MS)
#define BACKLOG_MAX     256
#define REFRESH_NS      15085
#define TICK_0          0x10000ull

enum { RW_LATCH, RW_LSB, RW_MSB, RW_BOTH };

struct pit_channel {
    u32 count;      /* see above */
    u32 next_count; /* 0: none */
    u64 start, elapsed;
    u64 next_at; /* tick at which next_count takes over */
    u8 next_low; /* mode 3: it takes over for the low half */
    u8 mode, rw, bcd;
    u8 gate;
    u8 loaded;    /* a count was written since the control word */
    u8 running;   /* counts (gate and, in modes 1 and 5, trigger) */
    u8 triggered; /* modes 1 and 5: a gate edge came */
    u8 null_count;
    u8 write_half, write_low; /* RW_BOTH: low byte was written */
    u8 read_half;             /* RW_BOTH: next read gives the high byte */
    u8 latched, status_latched, status;
    u16 latch;
};

struct pit {
    struct bus *b;
    struct pit_channel ch[3];
    u8 port61; /* bits 0-3 as written */
    struct bus_timer *timer;
    u8 line;          /* IRQ 0 */
    u32 owed;         /* edges the guest has not got yet */
    u64 edges_from;   /* edges up to this tick are accounted for, */
    u64 edge_at;      /* and there is none before this one */
    u64 last_fire_ns; /* when the timer last ran, for the rate limit */
    u64 poll_ns;      /* when port 61h was last read with output 2 low; */
    u32 polls;        /* how many such reads came one right after the other */
};

/* 64 bits of ns times the frequency overflow, so whole seconds go separately. Ticks begin at TICK_0, so that
 * a period that began before the bus was made has a number. */
static u64 ns_to_tick(u64 ns)
{
    return TICK_0 + ns / NS_PER_SEC * PIT_HZ + ns % NS_PER_SEC * PIT_HZ / NS_PER_SEC;
}

/* ns that `ticks` last, rounded up. */
static u64 ticks_ns(u64 ticks)
{
    return ticks / PIT_HZ * NS_PER_SEC + (ticks % PIT_HZ * NS_PER_SEC + PIT_HZ - 1) / PIT_HZ;
}

static u64 now_tick(struct pit *p)
{
    return ns_to_tick(bus_now(p->b));
}

/* ---- one counter ---- */

static bool periodic(const struct pit_channel *c)
{
    return c->mode == 2 || c->mode == 3;
}

/* Ticks since the counter was loaded. */
static u64 elapsed(const struct pit_channel *c, u64 t)
{
    if (!c->running)
        return c->elapsed;
    return t > c->start ? t - c->start : 0;
}

/* Lets a count that waited for the end of the period take over. */
static void settle(struct pit_channel *c, u64 t)
{
    if (periodic(c) && c->next_count && c->running && t >= c->next_at) {
        c->start = c->next_at - (c->next_low ? (c->next_count + 1) / 2 : 0);
        c->count = c->next_count;
        c->null_count = 0;
        __atomic_store_n(&c->next_count, 0, __ATOMIC_RELEASE); /* see pit_quick() */
    }
}

static bool output(const struct pit_channel *c, u64 t)
{
    u64 d = elapsed(c, t);
    if (!c->loaded)
        return c->mode != 0;
    switch (c->mode) {
    case 0:
        return !c->write_half && d >= c->count;
    case 1:
        return !c->triggered || (c->running && t < c->start) || d >= c->count;
    case 2:
        return !c->gate || c->count == 1 || d % c->count != c->count - 1;
    case 3:
        return !c->gate || d % c->count < (c->count + 1) / 2;
    default:
        return (c->mode == 5 && !c->triggered) || d != c->count;
    }
}

/* d % count: a division of 64 bits takes much longer. */
static u32 phase_of(const struct pit_channel *c, u64 d)
{
    return likely(d <= UINT32_MAX) ? (u32)d % c->count : (u32)(d % c->count);
}

static u16 counter(const struct pit_channel *c, u64 t)
{
    u32 modulus = c->bcd ? 10000 : 0x10000, v;
    u64 d = elapsed(c, t);
    if (!c->loaded) {
        v = 0;
    } else if (!periodic(c)) {
        v = c->bcd ? (u32)((c->count + modulus - d % modulus) % modulus) : (u16)(c->count - d);
    } else if (c->mode == 2) {
        v = c->count - phase_of(c, d);
    } else {
        /* Counts by two; an odd count is loaded less one, and the high half lasts a tick longer. */
        u32 high = (c->count + 1) / 2, phase = phase_of(c, d);
        if (phase >= high)
            phase -= high;
        v = (c->count & ~1u) - 2 * phase;
    }
    if (!c->bcd)
        return v;
    v %= modulus;
    return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 << 12;
}

static u32 decode_count(const struct pit_channel *c, u16 raw)
{
    if (!c->bcd)
        return raw ? raw : 0x10000;
    u32 v = (raw & 15) + (raw >> 4 & 15) * 10 + (raw >> 8 & 15) * 100 + (raw >> 12) * 1000;
    v %= 10000; /* digits above 9 are undefined */
    return v ? v : 10000;
}

static void load(struct pit_channel *c, u64 t)
{
    c->start = t + 1; /* the next clock loads it */
    c->elapsed = 0;
    c->next_count = 0;
    c->null_count = 0;
}

static void write_count(struct pit_channel *c, u16 raw, u64 t)
{
    u32 n = decode_count(c, raw);
    settle(c, t);
    c->null_count = 1;
    if (c->mode == 1 || c->mode == 5) {
        c->next_count = n; /* the next trigger takes it */
        if (!c->loaded)
            c->count = n;
        c->loaded = 1;
        return;
    }
    if (periodic(c) && c->loaded && c->running) {
        /* The running period ends first; in mode 3, the half period. */
        u64 d = elapsed(c, t), phase = d % c->count;
        u64 left = c->count - phase;
        c->next_low = c->mode == 3 && c->count > 1 && phase < (c->count + 1) / 2;
        if (c->next_low)
            left = (c->count + 1) / 2 - phase;
        c->next_count = n;
        c->next_at = (t > c->start ? t : c->start) + left;
        return;
    }
    c->count = n;
    c->loaded = 1;
    c->running = c->gate;
    load(c, t);
}

static void set_gate(struct pit_channel *c, bool gate, u64 t)
{
    if (c->gate == gate)
        return;
    settle(c, t);
    u64 d = elapsed(c, t);
    c->gate = gate;
    if (!c->loaded)
        return;
    if (c->mode == 1 || c->mode == 5) {
        if (gate) {
            if (c->next_count)
                c->count = c->next_count;
            c->triggered = c->running = 1;
            load(c, t);
        }
    } else if (periodic(c)) {
        if (gate) {
            if (c->next_count)
                c->count = c->next_count;
            load(c, t);
        } else {
            c->elapsed = d;
        }
        c->running = gate;
    } else {
        if (gate)
            c->start = t - (d < t ? d : t);
        else
            c->elapsed = d;
        c->running = gate && !(c->mode == 0 && c->write_half);
    }
}

/* ---- IRQ 0 ---- */

static void set_line(struct pit *p, u8 level)
{
    p->line = level;
    bus_set_irq(p->b, 0, level);
}

/* Puts one owed edge on the wire unless the one before is still waiting. */
static void give_edge(struct pit *p)
{
    if (!p->owed)
        return;
    if (bus_irq_waiting(p->b, 0))
        return;
    p->owed--;
    set_line(p, 0);
    set_line(p, 1);
}

/* First tick after `after` at which the output rises, or 0. */
static u64 next_edge(const struct pit_channel *c, u64 after)
{
    if (!c->loaded || !c->running)
        return 0;
    u64 at;
    switch (c->mode) {
    case 0:
        at = c->write_half ? 0 : c->start + c->count;
        break;
    case 2:
    case 3:
        at = c->start + c->count;
        if (after >= c->start)
            at = c->start + ((after - c->start) / c->count + 1) * c->count;
        if (c->next_count && at > c->next_at) /* mode 3: after the high half comes the new count's low half */
            at = c->next_at + c->next_count / 2;
        break;
    default:
        at = c->start + c->count + 1;
    }
    return at > after ? at : 0;
}

/* Counts rising edges in (edges_from, t]. */
static u64 passed_edges(struct pit *p, u64 t)
{
    struct pit_channel *c = &p->ch[0];
    u64 n = 0;
    while (p->edges_from < t) {
        u64 at = next_edge(c, p->edges_from);
        if (!at || at > t)
            break;
        n++;
        p->edges_from = at;
        if (periodic(c)) {
            settle(c, at);
            if (!c->next_count) { /* whole periods at once */
                u64 more = (t - at) / c->count;
                n += more;
                p->edges_from += more * c->count;
            }
        }
    }
    settle(c, t);
    p->edges_from = t;
    return n;
}

static void arm(struct pit *p)
{
    u64 at = next_edge(&p->ch[0], p->edges_from);
    __atomic_store_n(&p->edge_at, at ? at : UINT64_MAX, __ATOMIC_RELAXED);
    if (!at) {
        bus_timer_set(p->timer, 0);
        return;
    }
    u64 ns = ticks_ns(at - TICK_0);
    if (p->last_fire_ns && ns < p->last_fire_ns + MIN_INTERVAL_NS)
        ns = p->last_fire_ns + MIN_INTERVAL_NS;
    bus_timer_set(p->timer, ns);
}

static void catch_up(struct pit *p, u64 t)
{
    struct pit_channel *c = &p->ch[0];
    if (likely(t < p->edge_at))
        return;
    u64 n = passed_edges(p, t);
    u64 next = next_edge(c, t);
    __atomic_store_n(&p->edge_at, next ? next : UINT64_MAX, __ATOMIC_RELAXED);
    if (n) {
        u64 period_ns = ticks_ns(c->count), cap = 1;
        bool masked = p->b->pic && !bus_irq_open(p->b, 0);
        if (periodic(c) && period_ns >= MIN_INTERVAL_NS && !masked)
            cap = BACKLOG_NS / period_ns;
        cap = cap < 1 ? 1 : cap > BACKLOG_MAX ? BACKLOG_MAX : cap;
        p->owed = p->owed + n < cap ? p->owed + n : cap;
        give_edge(p);
        if (masked || !periodic(c))
            p->owed = 0;
    }
}

static void pit_fire(void *opaque, u64 now)
{
    struct pit *p = opaque;
    p->last_fire_ns = now;
    catch_up(p, now_tick(p));
    arm(p);
}

static void pit_acked(void *opaque)
{
    give_edge(opaque);
}

/* ---- registers ---- */

static void latch_count(struct pit_channel *c, u64 t)
{
    if (c->latched)
        return;
    settle(c, t);
    c->latch = counter(c, t);
    c->latched = 1;
}

static void latch_status(struct pit_channel *c, u64 t)
{
    if (c->status_latched)
        return;
    settle(c, t);
    c->status = output(c, t) << 7 | c->null_count << 6 | c->rw << 4 | c->mode << 1 | c->bcd;
    c->status_latched = 1;
}

static void write_control(struct pit *p, u8 val)
{
    u64 t = now_tick(p);
    catch_up(p, t);      /* before settle() can hide an edge of channel 0 */
    if (val >> 6 == 3) { /* read-back */
        for (int i = 0; i < 3; i++) {
            if (!(val & (2 << i)))
                continue;
            if (!(val & 0x10))
                latch_status(&p->ch[i], t);
            if (!(val & 0x20))
                latch_count(&p->ch[i], t);
        }
        return;
    }
    struct pit_channel *c = &p->ch[val >> 6];
    int rw = val >> 4 & 3;
    if (rw == RW_LATCH) {
        latch_count(c, t);
        return;
    }
    u8 gate = c->gate;
    int mode = val >> 1 & 7;
    *c = (struct pit_channel){.mode = mode > 5 ? mode & 3 : mode, .rw = rw, .bcd = val & 1, .gate = gate};
    c->null_count = 1;
    c->count = 1;
    if (c == &p->ch[0]) {
        p->owed = 0;
        p->edges_from = t;
        set_line(p, output(c, t)); /* mode 0 pulls the output low, the others high */
        arm(p);
    }
}

static void write_channel(struct pit *p, int n, u8 val)
{
    struct pit_channel *c = &p->ch[n];
    u64 t = now_tick(p);
    if (n == 0)
        catch_up(p, t);
    if (c->rw == RW_BOTH && !c->write_half) {
        c->write_low = val;
        c->write_half = 1;
        if (c->mode == 0) { /* the first byte stops the counter and lowers the output */
            settle(c, t);
            c->elapsed = elapsed(c, t);
            c->running = 0;
        }
    } else if (c->rw != RW_LATCH) {
        u16 raw = c->rw == RW_LSB ? val : c->rw == RW_MSB ? val << 8 : c->write_low | val << 8;
        c->write_half = 0;
        write_count(c, raw, t);
    }
    if (n == 0) {
        p->edges_from = t;
        if (c->mode == 0) {
            p->owed = 0;
            set_line(p, 0);
        }
        arm(p);
    }
}

/* At tick t, up to which edges are accounted for. */
static u8 read_channel_at(struct pit *p, int n, u64 t)
{
    struct pit_channel *c = &p->ch[n];
    if (c->status_latched) {
        c->status_latched = 0;
        return c->status;
    }
    u16 v = c->latch;
    if (!c->latched) {
        settle(c, t);
        v = counter(c, t);
    }
    bool high = c->rw == RW_MSB || (c->rw == RW_BOTH && c->read_half);
    if (c->rw == RW_BOTH)
        c->read_half = !c->read_half;
    if (c->rw != RW_BOTH || high)
        c->latched = 0;
    return high ? v >> 8 : v;
}

static u8 read_channel(struct pit *p, int n)
{
    u64 t = 0;
    if (!p->ch[n].status_latched && !p->ch[n].latched) {
        t = now_tick(p);
        if (n == 0)
            catch_up(p, t);
    }
    return read_channel_at(p, n, t);
}

/* Where channel 0 has an edge to give, or a count that waits, it is left to read_channel(): those are what
 * the timer's thread changes, all else is the CPU's own. */
static int pit_quick(void *opaque, u16 port)
{
    struct pit *p = opaque;
    int n = port & 3;
    u64 ns, t;
    if (n == 3 || !bus_quick_now(p->b, &ns))
        return -1;
    t = ns_to_tick(ns);
    if (n == 0 && (__atomic_load_n(&p->ch[0].next_count, __ATOMIC_ACQUIRE) ||
                   t >= __atomic_load_n(&p->edge_at, __ATOMIC_RELAXED)))
        return -1;
    return read_channel_at(p, n, t);
}

static void pit_write(void *opaque, u16 port, int size, u32 val)
{
    if (port == 0x43)
        write_control(opaque, val);
    else
        write_channel(opaque, port & 3, val);
}

static u32 pit_read(void *opaque, u16 port, int size)
{
    return port == 0x43 ? 0xff : read_channel(opaque, port & 3); /* the 8254 does not drive the bus for 43h */
}

/* Port 61h (PIIX3 NMI status and control): 0 gate 2, 1 speaker, 2 SERR and 3 IOCHK disable, 4 refresh toggle,
 * 5 output 2. */
static void port61_write(void *opaque, u16 port, int size, u32 val)
{
    struct pit *p = opaque;
    p->port61 = val & 0x0f;
    set_gate(&p->ch[2], val & 1, now_tick(p));
}

/* Output 2 has gone high since a busy loop's last poll, which was long ago: it is told once that the output
 * is low. */
static bool held_up(struct pit *p, u64 now, bool high)
{
    u64 gap = now > p->poll_ns ? now - p->poll_ns : 0;
    bool hide = high && p->polls >= BUSY_POLLS && gap > HELD_UP_NS;
    p->polls = high ? 0 : gap < BUSY_NS ? p->polls + (p->polls < BUSY_POLLS) : 0;
    p->poll_ns = now;
    return hide;
}

static u32 port61_at(struct pit *p, u64 now)
{
    struct pit_channel *c = &p->ch[2];
    settle(c, ns_to_tick(now));
    bool high = output(c, ns_to_tick(now));
    if (held_up(p, now, high))
        high = false;
    return p->port61 | (now / REFRESH_NS & 1) << 4 | high << 5;
}

static u32 port61_read(void *opaque, u16 port, int size)
{
    struct pit *p = opaque;
    return port61_at(p, bus_now(p->b));
}

static int port61_quick(void *opaque, u16 port)
{
    struct pit *p = opaque;
    u64 ns;
    return bus_quick_now(p->b, &ns) ? (int)(port61_at(p, ns) & 0xff) : -1;
}

static const struct port_ops pit_ops = {
    .read = pit_read, .write = pit_write, .quick = pit_quick, .light = true};
static const struct port_ops port61_ops = {
    .read = port61_read, .write = port61_write, .quick = port61_quick, .light = true};

/* ---- life ---- */

/* Reset: as after a control word of mode 0, lo/hi, without a count. Gates 0 and 1 are tied high. */
#define CH_FIELDS(n, g)                                                                                      \
    DEV_FIELD(struct pit, ch[n].count, 1), DEV_FIELD(struct pit, ch[n].next_count, 0),                       \
        DEV_FIELD(struct pit, ch[n].start, 0), DEV_FIELD(struct pit, ch[n].elapsed, 0),                      \
        DEV_FIELD(struct pit, ch[n].next_at, 0), DEV_FIELD(struct pit, ch[n].next_low, 0),                   \
        DEV_FIELD(struct pit, ch[n].mode, 0), DEV_FIELD(struct pit, ch[n].rw, RW_BOTH),                      \
        DEV_FIELD(struct pit, ch[n].bcd, 0), DEV_FIELD(struct pit, ch[n].gate, g),                           \
        DEV_FIELD(struct pit, ch[n].loaded, 0), DEV_FIELD(struct pit, ch[n].running, 0),                     \
        DEV_FIELD(struct pit, ch[n].triggered, 0), DEV_FIELD(struct pit, ch[n].null_count, 1),               \
        DEV_FIELD(struct pit, ch[n].write_half, 0), DEV_FIELD(struct pit, ch[n].write_low, 0),               \
        DEV_FIELD(struct pit, ch[n].read_half, 0), DEV_FIELD(struct pit, ch[n].latched, 0),                  \
        DEV_FIELD(struct pit, ch[n].status_latched, 0), DEV_FIELD(struct pit, ch[n].status, 0),              \
        DEV_FIELD(struct pit, ch[n].latch, 0)

static const struct device_field pit_fields[] = {CH_FIELDS(0, 1),
                                                 CH_FIELDS(1, 1),
                                                 CH_FIELDS(2, 0),
                                                 DEV_FIELD(struct pit, port61, 0),
                                                 DEV_FIELD(struct pit, line, 0),
                                                 DEV_FIELD(struct pit, owed, 0),
                                                 DEV_FIELD(struct pit, edges_from, 0),
                                                 DEV_FIELD(struct pit, edge_at, UINT64_MAX),
                                                 DEV_FIELD(struct pit, last_fire_ns, 0),
                                                 DEV_END};

static void pit_reset(void *dev)
{
    struct pit *p = dev;
    bus_timer_set(p->timer, 0);
    bus_set_irq(p->b, 0, 0);
}

static void pit_destroy(void *dev)
{
    free(dev);
}

static const struct device_desc pit_desc = {
    .name = "pit", .fields = pit_fields, .reset = pit_reset, .destroy = pit_destroy};

int pit_create(struct bus *b)
{
    struct pit *p = dev_alloc(sizeof(*p));
    p->b = b;
    int err = bus_add_ports(b, 0x40, 4, 1, &pit_ops, p);
    if (!err)
        err = bus_add_ports(b, 0x61, 1, 1, &port61_ops, p);
    if (err) {
        bus_drop_ports(b, p);
        free(p);
        return err;
    }
    p->timer = bus_timer_new(b, pit_fire, p);
    bus_set_ack_hook(b, 0, pit_acked, p);
    bus_add_device(b, &pit_desc, p);
    return 0;
}
