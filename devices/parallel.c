/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standard parallel port (IBM PC/AT Technical Reference, "Parallel Port"): data, status and control
 * registers, and a printer that is always ready.
 *
 * A byte is printed when STROBE falls back after having been up (the rising edge on the wire, where the
 * signal is inverted). The printer answers at once: BUSY is never seen, and ACK, a pulse, is an edge of the
 * interrupt line if the control register lets it through.
 */
#include <stdlib.h>
#include "devices/internal.h"

#define CTL_STROBE 0x01
#define CTL_INIT   0x04
#define CTL_IRQ    0x10
#define CTL_INPUT  0x20 /* the data pins are inputs (PS/2 and later) */

#define STATUS 0xdf /* not busy, ACK up, paper there, selected, no error; reserved bits 1 */

struct parallel {
    struct bus *b;
    struct chardev *c;
    u16 base;
    u8 irq;
    u8 data, control;
};

static void print(struct parallel *p)
{
    chardev_write(p->c, &p->data, 1);
    if (!(p->control & CTL_IRQ))
        return;
    bus_set_irq(p->b, p->irq, 1);
    bus_set_irq(p->b, p->irq, 0);
    bus_set_irq(p->b, p->irq, 1); /* an edge-triggered request lasts only while the line is up */
}

static u32 parallel_read(void *opaque, u16 port, int size)
{
    struct parallel *p = opaque;
    switch (port - p->base) {
    case 0:
        return p->control & CTL_INPUT ? 0xff : p->data;
    case 1:
        bus_set_irq(p->b, p->irq, 0);
        return STATUS;
    case 2:
        return 0xc0 | p->control;
    default:
        return 0xff;
    }
}

static void parallel_write(void *opaque, u16 port, int size, u32 val)
{
    struct parallel *p = opaque;
    u8 was = p->control;
    switch (port - p->base) {
    case 0:
        p->data = (u8)val;
        break;
    case 2:
        p->control = val & 0x3f;
        if (!(val & CTL_IRQ))
            bus_set_irq(p->b, p->irq, 0);
        if ((was & CTL_STROBE) && !(val & CTL_STROBE) && (val & CTL_INIT) && !(val & CTL_INPUT))
            print(p);
        break;
    }
}

static const struct port_ops parallel_ops = {parallel_read, parallel_write};

static const struct device_field parallel_fields[] = {
    DEV_FIELD(struct parallel, data, 0), DEV_FIELD(struct parallel, control, CTL_INIT | 0x08), DEV_END};

static void parallel_reset(void *dev)
{
    struct parallel *p = dev;
    bus_set_irq(p->b, p->irq, 0);
}

static void parallel_destroy(void *dev)
{
    free(dev);
}

static const struct device_desc parallel_desc = {
    .name = "parallel", .fields = parallel_fields, .reset = parallel_reset, .destroy = parallel_destroy};

int parallel_create(struct bus *b, u16 base, int irq, struct chardev *c)
{
    struct parallel *p = dev_alloc(sizeof(*p));
    *p = (struct parallel){.b = b, .c = c, .base = base, .irq = (u8)irq};
    int err = bus_add_ports(b, base, 3, 1, &parallel_ops, p);
    if (err) {
        free(p);
        return err;
    }
    bus_add_device(b, &parallel_desc, p);
    return 0;
}
