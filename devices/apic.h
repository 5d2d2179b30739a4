/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC of the one CPU and the board's I/O APIC. Both are optional: a bus without them has the two
 * 8259A alone. Functions of this header want the bus lock held unless they say otherwise.
 */
#ifndef NOVT_DEVICES_APIC_H
#define NOVT_DEVICES_APIC_H

#include "devices/devices.h"

struct memory;
struct apic;
struct ioapic;

#define APIC_BASE_DEFAULT 0xfee00000ull
#define IOAPIC_BASE       0xfec00000ull

/* What the APICs need of the machine besides the bus. */
struct apic_host {
    /* The time stamp counter as the guest reads it, from any thread; NULL: no TSC-deadline mode. tsc_hz: how
     * fast it counts, as well as that is known. */
    u64 (*tsc)(void *opaque);
    u64 (*tsc_hz)(void *opaque);
    void *opaque;
};

/* Local APIC with ID 0, enabled, at its default address; takes the lock. mem may be NULL (tests): then it is
 * in no memory map. Returns 0 or a negative errno. */
int apic_create(struct bus *b, struct memory *mem, const struct apic_host *host);
/* I/O APIC with 24 pins at FEC00000h; needs apic_create() before. The same. */
int ioapic_create(struct bus *b, struct memory *mem);

/* The local APIC's half of a write to IA32_APIC_BASE (bits 11, 12-35), which the CPU has checked. Takes the
 * lock; on the vCPU thread. */
void apic_set_base(struct bus *b, u64 val);
/* IA32_TSC_DEADLINE (write it again when the guest wrote its TSC): 0 disarms, and outside TSC-deadline mode
 * it reads and stays 0. Take the lock. */
u64 apic_tsc_deadline(struct bus *b);
void apic_set_tsc_deadline(struct bus *b, u64 tsc);

/* Register access by offset within the 4 KiB page, as the memory map does it: for tests. */
u32 apic_read(struct apic *a, u32 reg);
void apic_write(struct apic *a, u32 reg, u32 val);
u32 ioapic_read(struct ioapic *io, u32 reg);
void ioapic_write(struct ioapic *io, u32 reg, u32 val);
struct apic *apic_of(struct bus *b); /* or NULL */
struct ioapic *ioapic_of(struct bus *b);

#endif
