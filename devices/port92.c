/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System control port A (92h): bit 0 fast reset on its rising edge, bit 1 A20. The other bits are storage.
 *
 * The A20 line is what this port or the keyboard controller said last, as on QEMU's board: SeaBIOS, whose int
 * 15h/2400h writes only here, could not close the gate if the line were the OR of both.
 */
#include <stdlib.h>
#include "devices/internal.h"

struct port92 {
    struct bus *b;
    u8 val;
};

static void port92_write(void *opaque, u16 port, int size, u32 val)
{
    struct port92 *p = opaque;
    bool reset = (val & 1) && !(p->val & 1);
    p->val = val;
    bus_set_a20(p->b, val & 2);
    if (reset)
        bus_request_reset(p->b, false);
}

static u32 port92_read(void *opaque, u16 port, int size)
{
    struct port92 *p = opaque;
    return p->val;
}

static const struct port_ops port92_ops = {.read = port92_read, .write = port92_write};
static const struct device_field port92_fields[] = {DEV_FIELD(struct port92, val, 0), DEV_END};

static void port92_destroy(void *dev)
{
    free(dev);
}

static const struct device_desc port92_desc = {
    .name = "port92", .fields = port92_fields, .destroy = port92_destroy};

int port92_create(struct bus *b)
{
    struct port92 *p = dev_alloc(sizeof(*p));
    p->b = b;
    int err = bus_add_ports(b, 0x92, 1, 1, &port92_ops, p);
    if (err) {
        free(p);
        return err;
    }
    bus_add_device(b, &port92_desc, p);
    return 0;
}
