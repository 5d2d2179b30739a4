/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC of a uniprocessor (SDM vol. 3, chapter 11, xAPIC mode).
 *
 * A request register (IRR), an in-service register (ISR) and a trigger-mode register (TMR) of 256 bits each;
 * the processor priority is the higher of the task priority and the highest vector in service. A vector in
 * IRR is for the CPU while its class is above that. EOI takes the highest bit out of ISR and, for a
 * level-triggered one, is told to the I/O APIC.
 *
 * The 8259A reaches the CPU through LINT0 when that is programmed as ExtINT, or when the APIC is switched off
 * in IA32_APIC_BASE (bus.c puts the two together). Reset leaves LINT0 as ExtINT and LINT1 as NMI, both open:
 * what a BIOS leaves (MultiProcessor Specification 1.4, 3.6.2.2, virtual wire mode), so that guests which are
 * loaded directly, or never heard of APICs, get their interrupts.
 *
 * The timer does not count: its value is computed from the bus clock, which is its bus clock of 1 GHz too. In
 * TSC-deadline mode the guest's time stamp counter decides; the host's clock only says when to look.
 *
 * There are no other processors: IPIs go to this one or nowhere. INIT and start-up messages to itself do
 * nothing.
 *
 * Invariants:
 *  - accepted only while both enables are on (bit 11 of the base, bit 8 of SVR); vectors below 16 never are
 *  - every change of IRR, ISR, TPR, enables or LINT0 is followed by bus_update_intr()
 *
 * Must not: raise timer interrupts faster than MIN_INTERVAL_NS by itself, whatever count the guest programs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/apic_int.h"
#include "memory/memory.h"

#define MIN_INTERVAL_NS (50 * NS_PER_US)

enum {
    REG_ID = 0x20,
    REG_VERSION = 0x30,
    REG_TPR = 0x80,
    REG_APR = 0x90,
    REG_PPR = 0xa0,
    REG_EOI = 0xb0,
    REG_LDR = 0xd0,
    REG_DFR = 0xe0,
    REG_SVR = 0xf0,
    REG_ISR = 0x100,
    REG_TMR = 0x180,
    REG_IRR = 0x200,
    REG_ESR = 0x280,
    REG_ICR_LO = 0x300,
    REG_ICR_HI = 0x310,
    REG_LVT = 0x320, /* timer, thermal, performance, LINT0, LINT1, error */
    REG_TMICT = 0x380,
    REG_TMCCT = 0x390,
    REG_TDCR = 0x3e0,
};

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

#define VERSION          (0x14 | (LVT_COUNT - 1) << 16)
#define SVR_ENABLE       0x100u
#define SVR_MASK         0x1ffu
#define BASE_ENABLE      0x800u
#define LVT_MASKED       0x10000u
#define LVT_LEVEL        0x8000u
#define LVT_TIMERMODE    0x60000u
#define TIMER_ONESHOT    0x00000u
#define TIMER_PERIODIC   0x20000u
#define TIMER_DEADLINE   0x40000u
#define ESR_SEND_ILLEGAL 0x20u
#define ESR_RECV_ILLEGAL 0x40u
#define ESR_ILLEGAL_REG  0x80u

/* What of each LVT entry can be written (SDM figure 11-8). */
static const u32 lvt_mask[LVT_COUNT] = {0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};

struct apic {
    struct bus *b;
    struct memory *mem;
    struct apic_host host;
    int region; /* of mem */
    u32 mapped; /* where the page is, or 0 */
    u64 base;   /* IA32_APIC_BASE */
    u32 id, tpr, ldr, dfr, svr;
    u32 esr, errors; /* as read, and collected since */
    u32 icr_lo, icr_hi;
    u32 lvt[LVT_COUNT];
    u32 irr[8], isr[8], tmr[8];
    u8 lint[2]; /* levels of the pins */
    u32 initial, divide;
    u64 start;    /* ns at which the timer counted from `initial` */
    u64 expired;  /* periods that were answered since */
    u64 deadline; /* TSC */
    struct bus_timer *timer;
};

/* ---- vectors ---- */

static bool get_bit(const u32 *set, u8 n)
{
    return set[n >> 5] >> (n & 31) & 1;
}

static void put_bit(u32 *set, u8 n, bool on)
{
    u32 bit = 1u << (n & 31);
    set[n >> 5] = on ? set[n >> 5] | bit : set[n >> 5] & ~bit;
}

/* The highest vector in the set, or -1. */
static int highest(const u32 *set)
{
    for (int i = 7; i >= 0; i--)
        if (set[i])
            return i * 32 + 31 - __builtin_clz(set[i]);
    return -1;
}

static u32 ppr(const struct apic *a)
{
    int isr = highest(a->isr);
    u32 serving = isr < 0 ? 0 : (u32)isr & 0xf0;
    return (a->tpr & 0xf0) >= serving ? a->tpr : serving;
}

static bool on(const struct apic *a)
{
    return (a->base & BASE_ENABLE) && (a->svr & SVR_ENABLE);
}

static int deliverable(const struct apic *a)
{
    int vec = on(a) ? highest(a->irr) : -1;
    return vec >= 0 && ((u32)vec & 0xf0) > (ppr(a) & 0xf0) ? vec : -1;
}

bool apic_pending(const struct apic *a)
{
    return deliverable(a) >= 0;
}

bool apic_requested(const struct apic *a, u8 vector)
{
    return get_bit(a->irr, vector);
}

int apic_ack(struct apic *a)
{
    int vec = deliverable(a);
    if (vec >= 0) {
        put_bit(a->irr, (u8)vec, false);
        put_bit(a->isr, (u8)vec, true);
        bus_update_intr(a->b);
    }
    return vec;
}

static void error(struct apic *a, u32 bit)
{
    LIGHT_LOG(a->b, guest_errors, "APIC: error %02x", bit);
    bool first = !(a->errors & bit);
    a->errors |= bit;
    u32 lvt = a->lvt[LVT_ERROR];
    if (first && !(lvt & LVT_MASKED) && (lvt & 0xff) >= 16)
        apic_deliver(a, DM_FIXED, (u8)lvt, false);
}

bool apic_deliver(struct apic *a, enum delivery mode, u8 vector, bool level)
{
    if (!(a->base & BASE_ENABLE))
        return false;
    switch (mode) {
    case DM_NMI:
        bus_nmi_pin(a->b);
        return true;
    case DM_FIXED:
    case DM_LOWEST:
        if (!on(a))
            return false;
        if (vector < 16) {
            error(a, ESR_RECV_ILLEGAL);
            return true; /* taken off the bus, and lost */
        }
        put_bit(a->irr, vector, true);
        put_bit(a->tmr, vector, level);
        bus_update_intr(a->b);
        return true;
    default: /* SMI, INIT, start-up: nothing that this CPU does; ExtINT is a level (ioapic_takes_pic()) */
        return true;
    }
}

bool apic_addressed(const struct apic *a, u8 dest, bool logical)
{
    if (dest == 0xff)
        return true;
    if (!logical)
        return dest == a->id >> 24;
    u8 mine = a->ldr >> 24;
    if (a->dfr >> 28 == 0xf)
        return dest & mine; /* flat */
    if (a->dfr >> 28 == 0)
        return dest >> 4 == mine >> 4 && (dest & mine & 15); /* cluster */
    return false;
}

static void eoi(struct apic *a)
{
    int vec = highest(a->isr);
    if (vec < 0)
        return;
    put_bit(a->isr, (u8)vec, false);
    if (get_bit(a->tmr, (u8)vec) && a->b->ioapic)
        ioapic_eoi(a->b->ioapic, (u8)vec);
    u32 lint0 = a->lvt[LVT_LINT0]; /* a level-triggered pin that is still up asks again */
    if (a->lint[0] && (lint0 & 0xff) == (u32)vec && (lint0 & (LVT_LEVEL | LVT_MASKED | 0x700)) == LVT_LEVEL)
        apic_deliver(a, DM_FIXED, (u8)vec, true);
    bus_update_intr(a->b);
}

/* ---- pins ---- */

bool apic_takes_pic(const struct apic *a)
{
    if (!(a->base & BASE_ENABLE))
        return true;
    return (a->lvt[LVT_LINT0] & (LVT_MASKED | 0x700)) == DM_EXTINT << 8;
}

void apic_lint(struct apic *a, int n, int level)
{
    bool rise = level && !a->lint[n];
    a->lint[n] = !!level;
    u32 lvt = a->lvt[LVT_LINT0 + n];
    if (!(a->base & BASE_ENABLE)) {
        if (n == 1 && rise)
            bus_nmi_pin(a->b); /* the pin is plain NMI then */
        return;
    }
    enum delivery mode = lvt >> 8 & 7;
    if (rise && !(lvt & LVT_MASKED) && mode != DM_EXTINT)
        apic_deliver(a, mode, (u8)lvt, (lvt & LVT_LEVEL) && mode == DM_FIXED);
}

/* ---- timer ---- */

static u32 divisor(const struct apic *a)
{
    u32 code = (a->divide & 3) | (a->divide >> 1 & 4);
    return code == 7 ? 1 : 2u << code;
}

static u64 period(const struct apic *a)
{
    return (u64)a->initial * divisor(a); /* ns: the bus clock is 1 GHz */
}

static u32 timer_mode(const struct apic *a)
{
    return a->lvt[LVT_TIMER] & LVT_TIMERMODE;
}

static u32 current_count(const struct apic *a)
{
    u64 total = period(a), gone = bus_now(a->b) - a->start;
    if (!total || timer_mode(a) == TIMER_DEADLINE)
        return 0;
    if (timer_mode(a) == TIMER_PERIODIC)
        gone %= total;
    return gone >= total ? 0 : a->initial - (u32)(gone / divisor(a));
}

/* The bus time at which the guest's TSC will be about `deadline`, never quite now: fire() looks at the TSC
 * itself, and may have to come back. */
static u64 deadline_ns(const struct apic *a, u64 now)
{
    u64 tsc = a->host.tsc(a->host.opaque), hz = a->host.tsc_hz(a->host.opaque);
    if (a->deadline <= tsc)
        return now + 1;
    unsigned __int128 ns = (unsigned __int128)(a->deadline - tsc) * NS_PER_SEC / (hz ? hz : 1);
    return now + (ns > NS_PER_SEC * 3600 ? NS_PER_SEC * 3600 : ns < NS_PER_US ? NS_PER_US : (u64)ns);
}

static void arm(struct apic *a)
{
    u64 now = bus_now(a->b), total = period(a), at = 0;
    if (a->lvt[LVT_TIMER] & LVT_MASKED) {
        bus_timer_set(a->timer, 0);
        return;
    }
    switch (timer_mode(a)) {
    case TIMER_ONESHOT:
        at = total && !a->expired ? a->start + total : 0;
        break;
    case TIMER_PERIODIC:
        at = total ? a->start + (a->expired + 1) * total : 0;
        if (at && at < now + MIN_INTERVAL_NS && total < MIN_INTERVAL_NS)
            at = now + MIN_INTERVAL_NS;
        break;
    case TIMER_DEADLINE:
        at = a->deadline ? deadline_ns(a, now) : 0;
        break;
    }
    bus_timer_set(a->timer, at);
}

static void fire(void *opaque, u64 now)
{
    struct apic *a = opaque;
    u64 total = period(a);
    if (timer_mode(a) == TIMER_DEADLINE) {
        if (a->host.tsc(a->host.opaque) < a->deadline) { /* not yet, by the clock that counts */
            arm(a);
            return;
        }
        a->deadline = 0;
    } else {
        /* What is late is one interrupt, as with a CPU that was held up. */
        a->expired = timer_mode(a) == TIMER_ONESHOT ? 1 : total ? (now - a->start) / total : 0;
    }
    apic_deliver(a, DM_FIXED, (u8)a->lvt[LVT_TIMER], false);
    arm(a);
}

static void start_timer(struct apic *a, u32 count)
{
    if (timer_mode(a) == TIMER_DEADLINE)
        return; /* writes are ignored (SDM 11.5.4.1) */
    a->initial = count;
    a->start = bus_now(a->b);
    a->expired = 0;
    arm(a);
}

/* The value that runs goes on with the new divisor. */
static void set_divide(struct apic *a, u32 val)
{
    u32 left = current_count(a), old = divisor(a);
    u64 now = bus_now(a->b);
    a->divide = val & 0xb;
    if (divisor(a) != old && a->initial) {
        a->start = now - (u64)(a->initial - left) * divisor(a);
        a->expired = timer_mode(a) == TIMER_ONESHOT && !left;
        if (a->start > now) /* the machine is younger than that */
            a->start = 0;
    }
    arm(a);
}

u64 apic_tsc_deadline(struct bus *b)
{
    bus_lock(b);
    u64 val = b->apic && timer_mode(b->apic) == TIMER_DEADLINE ? b->apic->deadline : 0;
    bus_unlock(b);
    return val;
}

void apic_set_tsc_deadline(struct bus *b, u64 tsc)
{
    bus_lock(b);
    struct apic *a = b->apic;
    if (a && timer_mode(a) == TIMER_DEADLINE) {
        a->deadline = tsc;
        arm(a);
    }
    bus_unlock(b);
}

/* ---- registers ---- */

static void write_svr(struct apic *a, u32 val)
{
    a->svr = val & SVR_MASK;
    if (!(val & SVR_ENABLE)) {
        for (int i = 0; i < LVT_COUNT; i++) /* SDM 11.4.7.2 */
            a->lvt[i] |= LVT_MASKED;
        arm(a);
    } else if (a->b->ioapic) {
        ioapic_retry(a->b->ioapic);
    }
    bus_update_intr(a->b);
}

static void write_lvt(struct apic *a, int n, u32 val)
{
    u32 mask = lvt_mask[n], was = a->lvt[n];
    if (n == LVT_TIMER && !a->host.tsc)
        mask &= ~TIMER_DEADLINE;
    if (n == LVT_TIMER && (was & LVT_MASKED) && period(a)) { /* what ran out unseen is lost */
        u64 gone = (bus_now(a->b) - a->start) / period(a);
        a->expired = timer_mode(a) == TIMER_ONESHOT ? gone > 0 : gone;
    }
    val &= mask;
    if (!(a->svr & SVR_ENABLE))
        val |= LVT_MASKED;
    a->lvt[n] = val;
    if (n == LVT_TIMER) {
        if ((was ^ val) & TIMER_DEADLINE) { /* into or out of TSC-deadline mode: disarms */
            a->deadline = 0;
            a->initial = 0;
        }
        if ((was ^ val) & LVT_TIMERMODE && val & TIMER_PERIODIC && period(a))
            a->expired = (bus_now(a->b) - a->start) / period(a);
        arm(a);
    } else if (n == LVT_LINT0 && a->lint[0] && (was & LVT_MASKED)) {
        a->lint[0] = 0; /* the pin is up: seen as a rise when it is opened */
        apic_lint(a, 0, 1);
    }
    bus_update_intr(a->b);
}

static void write_icr(struct apic *a, u32 val)
{
    a->icr_lo = val & 0xccfff;
    enum delivery mode = val >> 8 & 7;
    u32 shorthand = val >> 18 & 3;
    bool here = shorthand == 1 || shorthand == 2 ||
                (shorthand == 0 && apic_addressed(a, a->icr_hi >> 24, val & 0x800));
    if ((mode == DM_FIXED || mode == DM_LOWEST) && (val & 0xff) < 16)
        error(a, ESR_SEND_ILLEGAL);
    else if (here && mode != DM_EXTINT && on(a))
        apic_deliver(a, mode, (u8)val, false);
}

u32 apic_read(struct apic *a, u32 reg)
{
    u32 *sets[3] = {a->isr, a->tmr, a->irr};
    if (reg >= REG_ISR && reg < REG_ISR + 0x180)
        return sets[(reg - REG_ISR) >> 7][reg >> 4 & 7];
    if (reg >= REG_LVT && reg < REG_LVT + 16 * LVT_COUNT) {
        u32 n = (reg - REG_LVT) >> 4;
        u32 level = n == LVT_LINT0 && (a->lvt[n] & LVT_LEVEL) && get_bit(a->isr, (u8)a->lvt[n]);
        return a->lvt[n] | level << 14; /* remote IRR */
    }
    switch (reg & ~15u) {
    case REG_ID:
        return a->id;
    case REG_VERSION:
        return VERSION;
    case REG_TPR:
        return a->tpr;
    case REG_APR:
    case REG_EOI:
        return 0;
    case REG_PPR:
        return ppr(a);
    case REG_LDR:
        return a->ldr;
    case REG_DFR:
        return a->dfr;
    case REG_SVR:
        return a->svr;
    case REG_ESR:
        return a->esr;
    case REG_ICR_LO:
        return a->icr_lo;
    case REG_ICR_HI:
        return a->icr_hi;
    case REG_TMICT:
        return a->initial;
    case REG_TMCCT:
        return current_count(a);
    case REG_TDCR:
        return a->divide;
    default:
        error(a, ESR_ILLEGAL_REG);
        return 0;
    }
}

void apic_write(struct apic *a, u32 reg, u32 val)
{
    if (reg >= REG_LVT && reg < REG_LVT + 16 * LVT_COUNT) {
        write_lvt(a, (int)((reg - REG_LVT) >> 4), val);
        return;
    }
    switch (reg & ~15u) {
    case REG_ID:
        a->id = val & 0xff000000;
        break;
    case REG_TPR:
        a->tpr = val & 0xff;
        bus_update_intr(a->b);
        break;
    case REG_EOI:
        eoi(a);
        break;
    case REG_LDR:
        a->ldr = val & 0xff000000;
        break;
    case REG_DFR:
        a->dfr = val | 0x0fffffff;
        break;
    case REG_SVR:
        write_svr(a, val);
        break;
    case REG_ESR: /* a write of anything makes the collected errors readable */
        a->esr = a->errors;
        a->errors = 0;
        break;
    case REG_ICR_LO:
        write_icr(a, val);
        break;
    case REG_ICR_HI:
        a->icr_hi = val & 0xff000000;
        break;
    case REG_TMICT:
        start_timer(a, val);
        break;
    case REG_TDCR:
        set_divide(a, val);
        break;
    default:
        error(a, ESR_ILLEGAL_REG);
    }
}

/* Registers are the first four bytes of each sixteen, and are made for 32-bit accesses: others read a part,
 * and write nothing (SDM 11.4.1: undefined). */
static u32 mmio_read(void *opaque, u64 addr, int size)
{
    if (addr & 12)
        return 0;
    return apic_read(opaque, (u32)addr & 0xff0) >> (8 * (addr & 3));
}

static void mmio_write(void *opaque, u64 addr, int size, u32 val)
{
    if (size == 4 && !(addr & 15))
        apic_write(opaque, (u32)addr, val);
}

static const struct mmio_ops mmio = {mmio_read, mmio_write};

/* ---- where it is ---- */

/* The page goes where the guest puts it, unless something else than RAM is there already. */
static void place(struct apic *a)
{
    u64 want = a->base & BASE_ENABLE ? a->base & ~0xfffull : 0;
    if (!a->mem || want == a->mapped)
        return;
    if (a->mapped && a->mapped < memory_ram_size(a->mem))
        memory_map_ram(a->mem, a->mapped, PAGE_SIZE);
    else if (a->mapped)
        memory_unmap(a->mem, a->mapped, PAGE_SIZE);
    a->mapped = 0;
    bool video = want < MiB && want >= 640 * KiB; /* and shadow RAM: others change that part of the map */
    if (!want || want >= 4 * GiB || video ||
        (memory_kind(a->mem, want) != MEM_RAM && memory_kind(a->mem, want) != MEM_HOLE) ||
        (memory_kind(a->mem, want) == MEM_RAM && want >= memory_ram_size(a->mem)))
        return;
    if (!memory_map_region(a->mem, a->region, want, PAGE_SIZE))
        a->mapped = (u32)want;
}

void apic_set_base(struct bus *b, u64 val)
{
    bus_lock(b);
    struct apic *a = b->apic;
    if (a && val != a->base) {
        LOG(dev, "APIC base %09llx%s", (unsigned long long)(val & ~0xfffull),
            val & BASE_ENABLE ? "" : ", off");
        a->base = val;
        place(a);
        bus_update_intr(b);
    }
    bus_unlock(b);
}

/* ---- life ---- */

static const struct device_field apic_fields[] = {
    DEV_FIELD(struct apic, base, APIC_BASE_DEFAULT | BASE_ENABLE | 0x100),
    DEV_FIELD(struct apic, id, 0),
    DEV_FIELD(struct apic, tpr, 0),
    DEV_FIELD(struct apic, ldr, 0),
    DEV_FIELD(struct apic, dfr, 0xffffffff),
    DEV_FIELD(struct apic, svr, 0xff),
    DEV_FIELD(struct apic, esr, 0),
    DEV_FIELD(struct apic, errors, 0),
    DEV_FIELD(struct apic, icr_lo, 0),
    DEV_FIELD(struct apic, icr_hi, 0),
    DEV_FIELD(struct apic, lvt[LVT_TIMER], LVT_MASKED),
    DEV_FIELD(struct apic, lvt[LVT_THERMAL], LVT_MASKED),
    DEV_FIELD(struct apic, lvt[LVT_PERF], LVT_MASKED),
    DEV_FIELD(struct apic, lvt[LVT_LINT0], DM_EXTINT << 8),
    DEV_FIELD(struct apic, lvt[LVT_LINT1], DM_NMI << 8),
    DEV_FIELD(struct apic, lvt[LVT_ERROR], LVT_MASKED),
    DEV_FIELD(struct apic, irr, 0),
    DEV_FIELD(struct apic, isr, 0),
    DEV_FIELD(struct apic, tmr, 0),
    DEV_KEEP(struct apic, lint), /* the 8259A's business */
    DEV_FIELD(struct apic, initial, 0),
    DEV_FIELD(struct apic, divide, 0),
    DEV_FIELD(struct apic, start, 0),
    DEV_FIELD(struct apic, expired, 0),
    DEV_FIELD(struct apic, deadline, 0),
    DEV_END};

static void apic_reset(void *dev)
{
    struct apic *a = dev;
    bus_timer_set(a->timer, 0);
    place(a);
    bus_update_intr(a->b);
}

static void apic_destroy(void *dev)
{
    struct apic *a = dev;
    a->b->apic = NULL;
    free(a);
}

static const struct device_desc apic_desc = {
    .name = "apic", .fields = apic_fields, .reset = apic_reset, .destroy = apic_destroy};

struct apic *apic_of(struct bus *b)
{
    return b->apic;
}

int apic_create(struct bus *b, struct memory *mem, const struct apic_host *host)
{
    struct apic *a = dev_alloc(sizeof(*a));
    a->b = b;
    a->mem = mem;
    if (host)
        a->host = *host;
    if (mem && (a->region = memory_new_mmio(mem, &mmio, a, "apic")) < 0) {
        int err = a->region;
        free(a);
        return err;
    }
    a->timer = bus_timer_new(b, fire, a);
    bus_lock(b);
    b->apic = a;
    bus_add_device(b, &apic_desc, a);
    bus_unlock(b);
    return 0;
}
