/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a BIOS says of interrupts to systems from before ACPI, or with it switched off: the MP tables (Intel
 * MultiProcessor Specification 1.4) and the PCI interrupt routing table ($PIR). SeaBIOS makes its own; these
 * are for guests that are loaded directly.
 *
 * The same wiring as the MADT and _PRT say: the I/O APIC's pin n is the 8259As' IRQ n, but for the timer on
 * pin 2; PCI slots rotate over PIRQA-D, which the board sets to IRQs 10, 10, 11, 11 (machine/handover.c), and
 * which stay active high when an I/O APIC takes them; power management, function 3 of the PIIX, has IRQ 9.
 *
 * Must not: depend on anything but the facts, as machine/acpi.c.
 */
#include <string.h>

#include "base/log.h"
#include "machine/boot.h"
#include "machine/tables.h"

#define BUS_PCI 0
#define BUS_ISA 1
#define IOAPIC  0 /* its ID, as in the MADT */

#define ACTIVE_HIGH 1 /* flags of an interrupt entry; the rest as the bus does: PCI is level-triggered */

#define SLOTS 32

static u8 sum(const u8 *p, u32 len)
{
    u8 s = 0;
    while (len--)
        s = (u8)(s + *p++);
    return s;
}

/* Entries that say which interrupt comes in where (MP 1.4, 4.3.4 and 4.3.5). kind 3: at an I/O APIC's pin, 4:
 * at a local APIC's; type 0: vectored, 1: NMI, 3: an 8259A's. */
static u8 *interrupt(u8 *p, u8 kind, u8 type, u16 flags, u8 bus, u8 irq, u8 apic, u8 pin)
{
    p[0] = kind;
    p[1] = type;
    put16(p + 2, flags);
    p[4] = bus;
    p[5] = irq;
    p[6] = apic;
    p[7] = pin;
    return p + 8;
}

static u8 *bus(u8 *p, u8 id, const char *name)
{
    p[0] = 1;
    p[1] = id;
    memcpy(p + 2, name, 6);
    return p + 8;
}

/* The IRQ of a slot's pin, 0 = INTA. */
static u8 slot_irq(u32 slot, u32 pin)
{
    if (slot == 1 && pin == 0)
        return 9;
    return ((slot - 1 + pin) & 3) < 2 ? 10 : 11;
}

static void mp_build(struct legacy_tables *t, const struct board_facts *f, u32 at)
{
    u8 *p = t->mp;
    memcpy(p, "PCMP", 4);
    p[6] = 4; /* revision 1.4 */
    memcpy(p + 8, "NOVT    NOVTPC      ", 20);
    put32(p + 36, 0xfee00000);
    p += 44;
    /* The processor: enabled, and it boots. */
    p[1] = 0; /* local APIC's ID and version */
    p[2] = 0x14;
    p[3] = 3;
    put32(p + 4, f->cpu_signature);
    put32(p + 8, f->cpu_features);
    p += 20;
    p = bus(p, BUS_PCI, "PCI   ");
    p = bus(p, BUS_ISA, "ISA   ");
    p[0] = 2;
    p[1] = IOAPIC;
    p[2] = 0x11;
    p[3] = 1;
    put32(p + 4, 0xfec00000);
    p += 8;
    u16 entries = 4;
    for (u32 slot = 1; slot < SLOTS; slot++)
        for (u32 pin = 0; pin < 4; pin++, entries++)
            p = interrupt(p, 3, 0, ACTIVE_HIGH, BUS_PCI, (u8)(slot << 2 | pin), IOAPIC, slot_irq(slot, pin));
    for (u8 irq = 0; irq < 16; irq++) {
        if (irq == 2 || (irq >= 9 && irq <= 11)) /* the cascade; what PCI has */
            continue;
        p = interrupt(p, 3, 0, 0, BUS_ISA, irq, IOAPIC, irq ? irq : 2);
        entries++;
    }
    p = interrupt(p, 4, 3, 0, BUS_ISA, 0, 0xff, 0); /* 8259As at LINT0, NMI at LINT1, of every processor */
    p = interrupt(p, 4, 1, 0, BUS_ISA, 0, 0xff, 1);
    entries += 2;
    put16(t->mp + 34, entries);
    t->mp_len = (u32)(p - t->mp);
    NOVT_ASSERT(t->mp_len <= sizeof(t->mp));
    put16(t->mp + 4, (u16)t->mp_len);
    t->mp[7] = (u8)-sum(t->mp, t->mp_len);
    /* The floating pointer. No default configuration, no IMCR: the board comes up in virtual wire mode. */
    memcpy(t->mp_pointer, "_MP_", 4);
    put32(t->mp_pointer + 4, at);
    t->mp_pointer[8] = 1;
    t->mp_pointer[9] = 4;
    t->mp_pointer[10] = (u8)-sum(t->mp_pointer, sizeof(t->mp_pointer));
}

static void pir_build(struct legacy_tables *t)
{
    u8 *p = t->pir;
    memcpy(p, "$PIR", 4);
    put16(p + 4, 0x0100);
    put16(p + 6, PIR_SIZE);
    p[9] = 1 << 3;             /* the router: bus 0, device 1, function 0 */
    put32(p + 12, 0x70008086); /* it is a PIIX3 */
    p += 32;
    for (u32 slot = 1; slot < SLOTS; slot++, p += 16) {
        p[1] = (u8)(slot << 3);
        for (u32 pin = 0; pin < 4; pin++) {
            p[2 + 3 * pin] = (u8)(0x60 + ((slot - 1 + pin) & 3)); /* the link is its register */
            put16(p + 3 + 3 * pin, 1 << 5 | 1 << 10 | 1 << 11);
        }
        p[14] = (u8)slot;
    }
    t->pir[31] = (u8)-sum(t->pir, PIR_SIZE);
}

void legacy_build(struct legacy_tables *t, const struct board_facts *f, u32 mp_at)
{
    memset(t, 0, sizeof(*t));
    pir_build(t);
    if (f->apic)
        mp_build(t, f, mp_at);
}
