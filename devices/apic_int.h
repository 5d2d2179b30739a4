/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What bus.c, apic.c, ioapic.c and pit.c say to each other. Lock held throughout. */
#ifndef NOVT_DEVICES_APIC_INT_H
#define NOVT_DEVICES_APIC_INT_H

#include "devices/apic.h"
#include "devices/internal.h"

enum delivery { DM_FIXED, DM_LOWEST, DM_SMI, DM_RESERVED, DM_NMI, DM_INIT, DM_STARTUP, DM_EXTINT };

/* ---- apic.c ---- */

/* A message for the CPU: true if it was accepted. level: an EOI is to be told to the I/O APIC. */
bool apic_deliver(struct apic *a, enum delivery mode, u8 vector, bool level);
/* Is the CPU among the destinations (8-bit xAPIC ID or logical address)? */
bool apic_addressed(const struct apic *a, u8 dest, bool logical);
/* LINT0 (the 8259A's INTR) or LINT1 (NMI) changes. */
void apic_lint(struct apic *a, int n, int level);
/* Is there a vector that the CPU should take now? */
bool apic_pending(const struct apic *a);
/* Is LINT0 a way for the 8259A's vectors (virtual wire, or APIC off)? */
bool apic_takes_pic(const struct apic *a);
/* INTA: the vector, now in service, or -1. */
int apic_ack(struct apic *a);
bool apic_requested(const struct apic *a, u8 vector); /* IRR bit */

/* ---- ioapic.c ---- */

void ioapic_set_pin(struct ioapic *io, int pin, int level);
void ioapic_eoi(struct ioapic *io, u8 vector);
void ioapic_retry(struct ioapic *io);     /* the local APIC may accept now what it refused before */
bool ioapic_takes_pic(struct ioapic *io); /* pin 0 passes the 8259A's vectors on */
/* The edge-triggered vector that the pin sends, or -1 if it is masked or does not send a vector. */
int ioapic_edge_vector(const struct ioapic *io, int pin);

/* ---- bus.c ---- */

void bus_update_intr(struct bus *b); /* recomputes the CPU's INTR */
void bus_nmi_pin(struct bus *b);     /* an NMI reaches the CPU itself */

#endif
