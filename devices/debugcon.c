/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debug console (port E9h by custom): a byte written goes to the back end, a read gives E9h so that a guest
 * can tell it is there. No state, no interrupt, no input.
 */
#include <stdlib.h>
#include "devices/internal.h"

struct debugcon {
    struct chardev *chr;
};

static void debugcon_write(void *opaque, u16 port, int size, u32 val)
{
    struct debugcon *d = opaque;
    u8 ch = val;
    if (d->chr)
        chardev_write(d->chr, &ch, 1);
}

static u32 debugcon_read(void *opaque, u16 port, int size)
{
    return 0xe9;
}

static void debugcon_destroy(void *dev)
{
    free(dev);
}

static const struct port_ops debugcon_ops = {.read = debugcon_read, .write = debugcon_write};
static const struct device_field debugcon_fields[] = {DEV_END};
static const struct device_desc debugcon_desc = {
    .name = "debugcon", .fields = debugcon_fields, .destroy = debugcon_destroy};

int debugcon_create(struct bus *b, u16 base, struct chardev *c)
{
    struct debugcon *d = dev_alloc(sizeof(*d));
    d->chr = c;
    int err = bus_add_ports(b, base, 1, 1, &debugcon_ops, d);
    if (err) {
        free(d);
        return err;
    }
    bus_add_device(b, &debugcon_desc, d);
    return 0;
}
