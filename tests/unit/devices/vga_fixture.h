/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VGA with 2 MiB of guest memory on the test bus, colour registers at 3Dxh, and access to memory on. */
#ifndef TEST_DEVICES_VGA_FIXTURE_H
#define TEST_DEVICES_VGA_FIXTURE_H

#include "fixture.h"
#include "devices/pci.h"
#include "devices/vga.h"

static struct memory *m;
static struct vga *vga;

static struct fix *make(void)
{
    struct fix *f = fix_new();
    int err = 0;
    m = memory_create(2 * MiB, &err);
    assert_int_equal(pci_create(f->b), 0);
    assert_int_equal(vga_create(f->b, m, &vga), 0);
    outb(f, 0x3c2, 0x63);
    return f;
}

static void done(struct fix *f)
{
    fix_free(f);
    memory_destroy(m);
}

static void reg(struct fix *f, u16 port, u8 index, u8 val)
{
    outb(f, port, index);
    outb(f, port + 1, val);
}

#endif
