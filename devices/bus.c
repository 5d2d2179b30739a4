/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The I/O bus: port table, device registry, and the wires between devices and the machine.
 *
 * Ports are looked up in a two-level table (256 pages of 256 entries, pages made on demand), so an access is
 * two loads. An access that a range cannot take as it is (size not offered, or it runs past the end of the
 * range) is cut in halves until it can; this is what the ISA bus does to 16-bit accesses of 8-bit cards. A
 * byte nobody claims reads FFh and its write is dropped.
 *
 * Invariants:
 *  - every device callback but struct port_ops' quick runs with the lock held; bus_in(), bus_out(),
 * bus_intr_ack() and bus_reset() take it themselves
 *  - a device's state is what its field table names; reset writes each field that is not `keep`, then calls
 * the device's hook
 *  - devices are destroyed in the reverse order of their registration, so a back end outlives the devices
 * that use it
 *
 * Must not: know any device but the interrupt controller, or call the machine without the lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/apic_int.h"
#include "devices/internal.h"

void *dev_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (!p)
        NOVT_BUG("out of memory for a device (%zu bytes)", size);
    return p;
}

struct bus *bus_create(const struct bus_host *host)
{
    struct bus *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->ev = event_create();
    b->table = calloc(1, sizeof(*b->table));
    if (!b->ev || !b->table) {
        if (b->ev)
            event_destroy(b);
        free(b->table);
        free(b);
        return NULL;
    }
    b->host = *host;
    pthread_mutex_init(&b->work_lock, NULL);
    b->work_tail = &b->work;
    bus_clock_init(b);
    return b;
}

void bus_destroy(struct bus *b)
{
    if (!b)
        return;
    bus_stop(b);
    bus_lock(b);
    while (b->n_devs) {
        struct bus_device *d = &b->devs[--b->n_devs];
        if (d->desc->destroy)
            d->desc->destroy(d->dev);
    }
    bus_unlock(b);
    event_destroy(b);
    for (int i = 0; i < 256; i++)
        free(b->page[i]);
    free(b->ranges);
    free(b->table);
    free(b->devs);
    pthread_mutex_destroy(&b->work_lock);
    free(b);
}

const struct bus_host *bus_host(struct bus *b)
{
    return &b->host;
}

/* ---- ports ---- */

static inline struct port_range *port_lookup(struct bus *b, u16 port)
{
    u16 *page = b->page[port >> 8];
    if (unlikely(!page))
        return NULL;
    u16 idx = page[port & 0xff];
    return idx ? &b->ranges[idx - 1] : NULL;
}

/* The number of a quick function is in the table as long as its range is there. */
static void quick_add(struct bus *b, const struct port_range *r)
{
    u32 n = 0;
    NOVT_ASSERT(!r->ops->peek);
    while (n < BUS_QUICK_MAX && b->table->quick[n].read)
        n++;
    if (n == BUS_QUICK_MAX || !(r->sizes & 1) || !b->host.quick_ports)
        return;
    b->table->quick[n].opaque = r->opaque;
    b->table->quick[n].read = r->ops->quick;
    for (u32 p = r->base; p < r->base + r->count; p++)
        __atomic_store_n(&b->table->port[p], (u16)(BUS_PORT_QUICK | n), __ATOMIC_RELEASE);
}

static void quick_remove(struct bus *b, const struct port_range *r)
{
    u16 entry = b->table->port[r->base];
    if (entry & BUS_PORT_QUICK)
        b->table->quick[entry & 0xff].read = NULL;
}

int bus_add_ports(struct bus *b, u16 base, u16 count, int sizes, const struct port_ops *ops, void *opaque)
{
    NOVT_ASSERT(ops);
    if (!count || (u32)base + count > 0x10000)
        return -EINVAL; /* an iobase from the command line may be anything */
    int err = 0;
    bus_lock(b);
    for (u32 p = base; p < (u32)base + count; p++) {
        if (port_lookup(b, p)) {
            err = -EEXIST;
            goto out;
        }
    }
    u32 slot = 0;
    while (slot < b->n_ranges && b->ranges[slot].ops)
        slot++;
    if (slot == b->n_ranges) {
        if (b->n_ranges == b->cap_ranges) {
            u32 cap = b->cap_ranges ? b->cap_ranges * 2 : 32;
            struct port_range *r = realloc(b->ranges, cap * sizeof(*r));
            NOVT_ASSERT(r && cap < 0xffff);
            b->ranges = r;
            b->cap_ranges = cap;
        }
        b->n_ranges++;
    }
    b->ranges[slot] =
        (struct port_range){.ops = ops, .opaque = opaque, .base = base, .count = count, .sizes = sizes};
    for (u32 p = base; p < (u32)base + count; p++) {
        if (!b->page[p >> 8])
            b->page[p >> 8] = dev_alloc(256 * sizeof(u16));
        b->page[p >> 8][p & 0xff] = slot + 1;
    }
    if (ops->quick)
        quick_add(b, &b->ranges[slot]);
out:
    bus_unlock(b);
    return err;
}

void bus_remove_ports(struct bus *b, u16 base, u16 count)
{
    bus_lock(b);
    struct port_range *r = port_lookup(b, base);
    NOVT_ASSERT(r && r->base == base && r->count == count);
    for (u32 p = base; p < (u32)base + count; p++)
        b->page[p >> 8][p & 0xff] = 0;
    quick_remove(b, r);
    bus_port_changed(b, base, count);
    *r = (struct port_range){0};
    bus_unlock(b);
}

void bus_drop_ports(struct bus *b, void *opaque)
{
    for (u32 i = 0; i < b->n_ranges; i++)
        if (b->ranges[i].ops && b->ranges[i].opaque == opaque)
            bus_remove_ports(b, b->ranges[i].base, b->ranges[i].count);
}

static inline u32 size_mask(int size)
{
    return size == 4 ? 0xffffffffu : (1u << (size * 8)) - 1;
}

/* Whether the access can go to r as one. */
static inline bool range_takes(const struct port_range *r, u16 port, int size)
{
    return (r->sizes & size) && port - r->base + size <= r->count;
}

void bus_port_changed(struct bus *b, u16 base, u16 count)
{
    for (u32 p = base; p < (u32)base + count; p++)
        __atomic_store_n(&b->table->port[p], 0, __ATOMIC_RELAXED);
}

const struct port_table *bus_port_table(const struct bus *b)
{
    return b->table;
}

/* Around a read: gives the value out if it stays. */
static void offer_value(struct bus *b, const struct port_range *r, u16 port, int size)
{
    int val = size == 1 ? r->ops->peek(r->opaque, port) : -1;
    if (val < 0)
        bus_port_changed(b, (u16)r->base, (u16)r->count);
    else
        __atomic_store_n(&b->table->port[port], (u16)(BUS_PORT_VALUE | val), __ATOMIC_RELAXED);
}

static u32 port_read(struct bus *b, u16 port, int size)
{
    struct port_range *r = port_lookup(b, port);
    if (likely(r && range_takes(r, port, size))) {
        const struct port_range range = *r; /* a read may move PCI ports */
        if (!range.ops->light)
            bus_heavy(b);
        if (range.ops->peek)
            offer_value(b, &range, port, size);
        return range.ops->read ? range.ops->read(range.opaque, port, size) & size_mask(size)
                               : size_mask(size);
    }
    if (size > 1) {
        int half = size / 2;
        u32 lo = port_read(b, port, half);
        return lo | port_read(b, port + half, half) << (half * 8);
    }
    LIGHT_LOG(b, ioport, "in  %04x: unclaimed", port);
    return 0xff;
}

static void port_write(struct bus *b, u16 port, int size, u32 val)
{
    struct port_range *r = port_lookup(b, port);
    if (likely(r && range_takes(r, port, size))) {
        if (!r->ops->light)
            bus_heavy(b);
        if (r->ops->peek)
            bus_port_changed(b, (u16)r->base, (u16)r->count);
        if (r->ops->write)
            r->ops->write(r->opaque, port, size, val & size_mask(size));
        return;
    }
    if (size > 1) {
        int half = size / 2;
        port_write(b, port, half, val);
        port_write(b, port + half, half, val >> (half * 8));
        return;
    }
    LIGHT_LOG(b, ioport, "out %04x: unclaimed, value %02x", port, val & 0xff);
}

u32 bus_in(struct bus *b, u16 port, int size)
{
    NOVT_ASSERT(size == 1 || size == 2 || size == 4);
    bus_lock(b);
    u32 v = port_read(b, port, size);
    bus_unlock(b);
    return v;
}

void bus_out(struct bus *b, u16 port, int size, u32 val)
{
    NOVT_ASSERT(size == 1 || size == 2 || size == 4);
    bus_lock(b);
    port_write(b, port, size, val);
    bus_unlock(b);
}

/* ---- wires ---- */

/* ISA interrupts are at the pins of their numbers, but the timer, which gives its place to the 8259A. */
static int ioapic_pin(int irq)
{
    return irq ? irq : 2;
}

void bus_set_irq(struct bus *b, int irq, int level)
{
    NOVT_ASSERT(irq >= 0 && irq < 16);
    if (b->pic)
        pic_set_irq(b->pic, irq, level);
    if (b->ioapic)
        ioapic_set_pin(b->ioapic, ioapic_pin(irq), level);
}

/* The 8259A's way to the CPU: always open without a local APIC, else through LINT0 or the I/O APIC's pin 0.
 */
static bool pic_reaches_cpu(struct bus *b)
{
    return !b->apic || apic_takes_pic(b->apic) || (b->ioapic && ioapic_takes_pic(b->ioapic));
}

void bus_update_intr(struct bus *b)
{
    u8 level = (b->pic_intr && pic_reaches_cpu(b)) || (b->apic && apic_pending(b->apic));
    if (level == b->intr)
        return;
    b->intr = level;
    b->wake = level;
    if (b->host.set_intr)
        b->host.set_intr(b->host.opaque, level);
}

void bus_pic_intr(struct bus *b, u8 level)
{
    b->pic_intr = level;
    if (b->apic)
        apic_lint(b->apic, 0, level);
    if (b->ioapic)
        ioapic_set_pin(b->ioapic, 0, level);
    bus_update_intr(b);
}

void bus_nmi_pin(struct bus *b)
{
    if (b->host.raise_nmi)
        b->host.raise_nmi(b->host.opaque);
}

void bus_raise_nmi(struct bus *b)
{
    if (!b->apic) {
        bus_nmi_pin(b);
        return;
    }
    apic_lint(b->apic, 1, 1);
    apic_lint(b->apic, 1, 0);
}

bool bus_irq_open(struct bus *b, int irq)
{
    if (b->pic && !pic_irq_masked(b->pic, irq))
        return true;
    return b->ioapic && ioapic_edge_vector(b->ioapic, ioapic_pin(irq)) >= 0;
}

bool bus_irq_waiting(struct bus *b, int irq)
{
    if (b->pic && !pic_irq_masked(b->pic, irq) && pic_irq_requested(b->pic, irq))
        return true;
    int vec = b->ioapic ? ioapic_edge_vector(b->ioapic, ioapic_pin(irq)) : -1;
    return vec >= 0 && apic_requested(b->apic, (u8)vec);
}

/* The APIC took a vector: tells who waits for that with an ISA interrupt (the timer). */
static void vector_taken(struct bus *b, int vec)
{
    for (int irq = 0; b->ioapic && irq < 16; irq++)
        if (b->ack_hook[irq] && ioapic_edge_vector(b->ioapic, ioapic_pin(irq)) == vec)
            b->ack_hook[irq](b->ack_opaque[irq]);
}

int bus_intr_ack(struct bus *b)
{
    bus_lock(b);
    int vec = b->apic ? apic_ack(b->apic) : -1;
    if (vec >= 0)
        vector_taken(b, vec);
    else if (b->pic && pic_reaches_cpu(b))
        vec = pic_ack(b->pic);
    bus_unlock(b);
    return vec;
}

void bus_set_ack_hook(struct bus *b, int irq, void (*fn)(void *opaque), void *opaque)
{
    b->ack_hook[irq] = fn;
    b->ack_opaque[irq] = opaque;
}

void bus_set_a20(struct bus *b, bool on)
{
    if (b->a20 == on)
        return;
    b->a20 = on;
    if (b->host.set_a20)
        b->host.set_a20(b->host.opaque, on);
}

void bus_request_reset(struct bus *b, bool hard)
{
    LOG(dev, "system reset requested");
    if (b->host.request_reset)
        b->host.request_reset(b->host.opaque, hard);
}

void bus_request_shutdown(struct bus *b)
{
    if (b->host.request_shutdown)
        b->host.request_shutdown(b->host.opaque);
    else
        bus_request_quit(b, 0);
}

void bus_request_quit(struct bus *b, int status)
{
    if (b->host.request_quit)
        b->host.request_quit(b->host.opaque, status);
}

/* ---- DMA, deferred work ---- */

void bus_mem_read(struct bus *b, u64 gpa, void *buf, u64 len)
{
    if (b->host.mem_read)
        b->host.mem_read(b->host.opaque, gpa, buf, len);
    else
        memset(buf, 0xff, len);
}

void bus_mem_write(struct bus *b, u64 gpa, const void *buf, u64 len)
{
    if (b->host.mem_write)
        b->host.mem_write(b->host.opaque, gpa, buf, len);
}

void bus_defer(struct bus *b, struct bus_work *w)
{
    pthread_mutex_lock(&b->work_lock);
    bool first = !w->queued;
    if (first) {
        w->queued = true;
        w->next = NULL;
        *b->work_tail = w;
        b->work_tail = &w->next;
    }
    pthread_mutex_unlock(&b->work_lock);
    if (first && b->host.deferred)
        b->host.deferred(b->host.opaque);
}

void bus_cancel(struct bus *b, struct bus_work *w)
{
    pthread_mutex_lock(&b->work_lock);
    if (w->queued) {
        struct bus_work **p = &b->work;
        while (*p != w)
            p = &(*p)->next;
        *p = w->next;
        if (!*p)
            b->work_tail = p;
        w->queued = false;
    }
    pthread_mutex_unlock(&b->work_lock);
}

static struct bus_work *next_work(struct bus *b)
{
    pthread_mutex_lock(&b->work_lock);
    struct bus_work *w = b->work;
    if (w) {
        b->work = w->next;
        if (!b->work)
            b->work_tail = &b->work;
        w->queued = false;
    }
    pthread_mutex_unlock(&b->work_lock);
    return w;
}

void bus_run_deferred(struct bus *b)
{
    bus_lock(b);
    u32 n = 0;
    pthread_mutex_lock(&b->work_lock);
    for (struct bus_work *w = b->work; w; w = w->next)
        n++;
    pthread_mutex_unlock(&b->work_lock);
    /* What is queued meanwhile waits for the next call: one pass ends. */
    for (struct bus_work *w; n && (w = next_work(b)); n--)
        w->fn(w->opaque);
    if (b->work && b->host.deferred)
        b->host.deferred(b->host.opaque);
    bus_unlock(b);
}

/* ---- devices ---- */

static void device_reset(struct bus_device *d)
{
    for (const struct device_field *f = d->desc->fields; f && f->name; f++) {
        if (f->keep)
            continue;
        void *p = (char *)d->dev + f->offset;
        if (f->size <= 8)
            memcpy(p, &f->reset, f->size); /* little-endian host */
        else
            memset(p, 0, f->size);
    }
    if (d->desc->reset)
        d->desc->reset(d->dev);
}

void bus_add_device(struct bus *b, const struct device_desc *desc, void *dev)
{
    bus_lock(b);
    if (b->n_devs == b->cap_devs) {
        u32 cap = b->cap_devs ? b->cap_devs * 2 : 16;
        struct bus_device *d = realloc(b->devs, cap * sizeof(*d));
        NOVT_ASSERT(d);
        b->devs = d;
        b->cap_devs = cap;
    }
    struct bus_device *d = &b->devs[b->n_devs++];
    d->desc = desc;
    d->dev = dev;
    device_reset(d);
    bus_unlock(b);
}

void bus_reset(struct bus *b)
{
    bus_lock(b);
    for (u32 p = 0; p < 65536; p++)
        if (!(b->table->port[p] & BUS_PORT_QUICK))
            b->table->port[p] = 0;
    for (u32 i = 0; i < b->n_devs; i++)
        device_reset(&b->devs[i]);
    b->a20 = true;
    if (b->host.set_a20)
        b->host.set_a20(b->host.opaque, 1);
    bus_unlock(b);
}
