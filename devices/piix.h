/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The functions of the PIIX3/PIIX4 south bridge, and what connects them. */
#ifndef NOVT_DEVICES_PIIX_H
#define NOVT_DEVICES_PIIX_H

#include "devices/devices.h"

struct piix3;
struct piix4_pm;

/* ISA bridge at 0:1.0. Registers itself as the PCI interrupt router. */
int piix3_create(struct bus *b, struct piix3 **out);
void piix3_set_sci(struct piix3 *p, int level);
/* Called for every APM command (port B2h), lock held. */
void piix3_set_apm_hook(struct piix3 *p, void (*fn)(void *opaque, u8 cmd), void *opaque);

#define APM_ACPI_ENABLE  0xf1
#define APM_ACPI_DISABLE 0xf0

/* ACPI power management at 0:1.3. Soft-off asks the machine to quit with status 0. */
int piix4_pm_create(struct bus *b, struct piix3 *isa, struct piix4_pm **out);
/* Where the ports are (a multiple of 64), 0: nowhere. Lock held. */
u16 piix4_pm_base(struct piix4_pm *p);
/* The power button is pressed. Lock held. */
void piix4_pm_power_button(struct piix4_pm *p);

#endif
