/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of a machine, for those who look inside: control/. All but `bus` only on the vCPU thread
 * (deferred work). */
#ifndef NOVT_MACHINE_PARTS_H
#define NOVT_MACHINE_PARTS_H

#include "machine/machine.h"

struct machine_parts {
    const struct machine_config *cfg;
    struct vcpu *cpu;
    struct memory *mem;
    struct bus *bus;
    struct vga *vga;              /* NULL: none */
    struct display *display;      /* NULL: nobody looks */
    struct ps2 *keyboard, *mouse; /* the same */
    bool translates;              /* monitor_*() may be used: --engine=bt */
    bool power_button;            /* the board has ACPI */
};
struct machine_parts machine_parts(struct vm *vm);
/* Name of the kernel's symbol at or below addr, NULL if it has none. */
const char *machine_symbol(struct vm *vm, u32 addr, u32 *offset);

#endif
