/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * isa-debug-exit: a write ends the VM, and the process exits with (value << 1) | 1, so a guest's own status
 * is never taken for one of ours that are even. Reads give 0, as with QEMU's device of the same name.
 */
#include <stdlib.h>
#include "base/log.h"
#include "devices/internal.h"

static void debug_exit_write(void *opaque, u16 port, int size, u32 val)
{
    LOG(dev, "debug exit: value %x", val);
    bus_request_quit(opaque, (int)(val << 1 | 1));
}

static u32 debug_exit_read(void *opaque, u16 port, int size)
{
    return 0;
}

static const struct port_ops debug_exit_ops = {.read = debug_exit_read, .write = debug_exit_write};

int debug_exit_create(struct bus *b, u16 base, u16 size)
{
    return bus_add_ports(b, base, size ? size : 1, 1 | 2 | 4, &debug_exit_ops, b);
}
