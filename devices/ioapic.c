/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O APIC (Intel 82093AA, 290566): 24 pins that send messages to the local APIC.
 *
 * Pins 0-15 are the ISA interrupts, except that IRQ 0 comes in at pin 2 and the 8259A's INTR at pin 0, as on
 * every PC; 16-23 are not connected, since PCI interrupts come through the PIIX3's routing to ISA lines. An
 * edge-triggered pin sends when it rises, unless masked (then the edge is lost); a level-triggered one sends
 * while it is up and the message before was not yet answered with EOI (remote IRR).
 *
 * The polarity bit is kept but not looked at: pins say whether their source asks, however that source is
 * wired. Guests without ACPI take PCI interrupts for active low, as the MultiProcessor Specification has
 * them, those with ACPI for what the tables say.
 *
 * Invariant: remote IRR is set only for a level-triggered entry, by a message that the local APIC accepted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/apic_int.h"
#include "memory/memory.h"

#define PINS    24
#define VERSION (0x11 | (PINS - 1) << 16)

#define RTE_LOGICAL    0x800u
#define RTE_REMOTE_IRR 0x4000u
#define RTE_LEVEL      0x8000u
#define RTE_MASKED     0x10000u
#define RTE_LOW_WRITE  0x1afffu /* of the low half: all but delivery status and remote IRR */

struct ioapic {
    struct bus *b;
    u32 select, id;
    u32 lines; /* levels of the pins */
    u32 low[PINS], high[PINS];
};

static enum delivery mode_of(u32 low)
{
    return low >> 8 & 7;
}

/* Sends the pin's message; returns whether the CPU took it. */
static bool send(struct ioapic *io, int pin)
{
    u32 low = io->low[pin];
    struct apic *a = io->b->apic;
    if (!a || !apic_addressed(a, io->high[pin] >> 24, low & RTE_LOGICAL))
        return false;
    return apic_deliver(a, mode_of(low), (u8)low, low & RTE_LEVEL);
}

/* A level-triggered pin that is up and unanswered. */
static void service(struct ioapic *io, int pin)
{
    u32 low = io->low[pin];
    if (!(low & RTE_LEVEL) || (low & (RTE_MASKED | RTE_REMOTE_IRR)) || !(io->lines >> pin & 1))
        return;
    enum delivery mode = mode_of(low);
    if (mode != DM_FIXED && mode != DM_LOWEST)
        return; /* the others are edges, whatever the bit says */
    io->low[pin] |= RTE_REMOTE_IRR;
    if (!send(io, pin))
        io->low[pin] &= ~RTE_REMOTE_IRR;
}

void ioapic_set_pin(struct ioapic *io, int pin, int level)
{
    bool rise = level && !(io->lines >> pin & 1);
    io->lines = level ? io->lines | 1u << pin : io->lines & ~(1u << pin);
    u32 low = io->low[pin];
    if (low & RTE_MASKED)
        return;
    bool vector = mode_of(low) == DM_FIXED || mode_of(low) == DM_LOWEST;
    if ((low & RTE_LEVEL) && vector)
        service(io, pin);
    else if (rise && mode_of(low) != DM_EXTINT)
        send(io, pin);
}

void ioapic_eoi(struct ioapic *io, u8 vector)
{
    for (int i = 0; i < PINS; i++) {
        if ((io->low[i] & 0xff) != vector || !(io->low[i] & RTE_REMOTE_IRR))
            continue;
        io->low[i] &= ~RTE_REMOTE_IRR;
        service(io, i);
    }
}

void ioapic_retry(struct ioapic *io)
{
    for (int i = 0; i < PINS; i++)
        service(io, i);
}

bool ioapic_takes_pic(struct ioapic *io)
{
    u32 low = io->low[0];
    return !(low & RTE_MASKED) && mode_of(low) == DM_EXTINT &&
           apic_addressed(io->b->apic, io->high[0] >> 24, low & RTE_LOGICAL);
}

int ioapic_edge_vector(const struct ioapic *io, int pin)
{
    u32 low = io->low[pin];
    enum delivery mode = mode_of(low);
    if ((low & (RTE_MASKED | RTE_LEVEL)) || (mode != DM_FIXED && mode != DM_LOWEST))
        return -1;
    return (int)(low & 0xff);
}

/* ---- registers ---- */

static void write_low(struct ioapic *io, int pin, u32 val)
{
    u32 was = io->low[pin];
    io->low[pin] = (was & ~RTE_LOW_WRITE) | (val & RTE_LOW_WRITE);
    if (!(val & RTE_LEVEL))
        io->low[pin] &= ~RTE_REMOTE_IRR; /* how guests clear a stuck one */
    service(io, pin);
    bus_update_intr(io->b); /* pin 0 may have become a way for the 8259A, or none */
}

u32 ioapic_read(struct ioapic *io, u32 reg)
{
    if (reg == 0)
        return io->select;
    if (reg != 0x10)
        return 0;
    switch (io->select) {
    case 0:
    case 2: /* arbitration ID: follows the ID */
        return io->id;
    case 1:
        return VERSION;
    default:
        if (io->select < 0x10 || io->select >= 0x10 + 2 * PINS)
            return 0;
        u32 pin = (io->select - 0x10) >> 1;
        return io->select & 1 ? io->high[pin] : io->low[pin];
    }
}

void ioapic_write(struct ioapic *io, u32 reg, u32 val)
{
    if (reg == 0) {
        io->select = val & 0xff;
        return;
    }
    if (reg != 0x10)
        return;
    if (io->select == 0) {
        io->id = val & 0x0f000000;
    } else if (io->select >= 0x10 && io->select < 0x10 + 2 * PINS) {
        int pin = (int)(io->select - 0x10) >> 1;
        if (io->select & 1) {
            io->high[pin] = val & 0xff000000;
            bus_update_intr(io->b);
        } else {
            write_low(io, pin, val);
        }
    }
}

static u32 mmio_read(void *opaque, u64 addr, int size)
{
    u32 reg = (u32)addr & 0xff;
    return ioapic_read(opaque, reg & ~3u) >> (8 * (reg & 3));
}

static void mmio_write(void *opaque, u64 addr, int size, u32 val)
{
    u32 reg = (u32)addr & 0xff;
    if (size == 4 || reg == 0) /* the index register takes bytes, too */
        ioapic_write(opaque, reg, val);
}

static const struct mmio_ops mmio = {mmio_read, mmio_write};

/* ---- life ---- */

static const struct device_field ioapic_fields[] = {
    DEV_FIELD(struct ioapic, select, 0), DEV_FIELD(struct ioapic, id, 0),
    DEV_KEEP(struct ioapic, lines),      DEV_KEEP(struct ioapic, low), /* masked by the hook */
    DEV_FIELD(struct ioapic, high, 0),   DEV_END};

static void ioapic_reset(void *dev)
{
    struct ioapic *io = dev;
    for (int i = 0; i < PINS; i++)
        io->low[i] = RTE_MASKED;
    bus_update_intr(io->b);
}

static void ioapic_destroy(void *dev)
{
    struct ioapic *io = dev;
    io->b->ioapic = NULL;
    free(io);
}

static const struct device_desc ioapic_desc = {
    .name = "ioapic", .fields = ioapic_fields, .reset = ioapic_reset, .destroy = ioapic_destroy};

struct ioapic *ioapic_of(struct bus *b)
{
    return b->ioapic;
}

int ioapic_create(struct bus *b, struct memory *mem)
{
    if (!b->apic)
        return -ENODEV;
    struct ioapic *io = dev_alloc(sizeof(*io));
    io->b = b;
    if (mem) {
        int err = memory_add_mmio(mem, IOAPIC_BASE, PAGE_SIZE, &mmio, io, "ioapic");
        if (err) {
            free(io);
            return err;
        }
    }
    bus_lock(b);
    b->ioapic = io;
    bus_add_device(b, &ioapic_desc, io);
    bus_unlock(b);
    return 0;
}
