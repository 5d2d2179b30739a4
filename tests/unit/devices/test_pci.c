/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fixture.h"
#include "devices/pci.h"
#include <errno.h>

static struct fix *start(void)
{
    struct fix *f = fix_new();
    assert_int_equal(pci_create(f->b), 0);
    return f;
}

static u32 in32(struct fix *f, u16 p)
{
    return bus_in(f->b, p, 4);
}

static void out32(struct fix *f, u16 p, u32 v)
{
    bus_out(f->b, p, 4, v);
}

static u32 cfg(struct fix *f, int devfn, int reg)
{
    out32(f, 0xcf8, 0x80000000u | devfn << 8 | reg);
    return in32(f, 0xcfc);
}

static void cfg_write(struct fix *f, int devfn, int reg, int size, u32 v)
{
    out32(f, 0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc));
    bus_out(f->b, 0xcfc + (reg & 3), size, v);
}

/* pci_check_type1() and type2() of Linux. */
static void test_mechanism(void **st)
{
    struct fix *f = start();
    outb(f, 0xcfb, 1);
    u32 old = in32(f, 0xcf8);
    out32(f, 0xcf8, 0x80000000);
    assert_int_equal(in32(f, 0xcf8), 0x80000000);
    out32(f, 0xcf8, old);
    outb(f, 0xcfb, 0);
    outb(f, 0xcf8, 0);
    outb(f, 0xcfa, 0);
    assert_false(inb(f, 0xcf8) == 0 && inb(f, 0xcfa) == 0);
    out32(f, 0xcf8, 0xffffffff);
    assert_int_equal(in32(f, 0xcf8), 0x80fffffc);
    bus_out(f->b, 0xcf8, 2, 0); /* not a dword: not the address register */
    assert_int_equal(in32(f, 0xcf8), 0x80fffffc);
    assert_int_equal(f->resets, 0);
    fix_free(f);
}

static void test_host_bridge(void **st)
{
    struct fix *f = start();
    assert_int_equal(cfg(f, 0, 0), 0x12378086);
    assert_int_equal(cfg(f, 0, 8) >> 16, 0x0600);
    assert_int_equal(cfg(f, 0, 0x0c) >> 16 & 0xff, 0);
    assert_int_equal(bus_in(f->b, 0xcfd, 1), 0xf8 & 0); /* latency timer */
    assert_int_equal(cfg(f, 0, 4) & 0xffff, 0x0006);
    out32(f, 0xcf8, 0x80000000);
    assert_int_equal(bus_in(f->b, 0xcfe, 2), 0x1237);
    assert_int_equal(bus_in(f->b, 0xcfd, 1), 0x80);
    assert_int_equal(bus_in(f->b, 0xcfd, 2), 0x3780);
    cfg_write(f, 0, 0, 4, 0); /* read-only */
    assert_int_equal(cfg(f, 0, 0), 0x12378086);
    cfg_write(f, 0, 0x59, 1, 0x30);
    cfg_write(f, 0, 0x5a, 2, 0x3333);
    assert_int_equal(cfg(f, 0, 0x58), 0x33333000 | (cfg(f, 0, 0x58) & 0xff));
    cfg_write(f, 0, 0x72, 1, 0x4a);
    assert_int_equal(cfg(f, 0, 0x70) >> 16 & 0xff, 0x4a);
    cfg_write(f, 0, 0x72, 1, 0x5a); /* D_LCK: closes and locks */
    assert_int_equal(cfg(f, 0, 0x70) >> 16 & 0xff, 0x1a);
    cfg_write(f, 0, 0x72, 1, 0x40);
    assert_int_equal(cfg(f, 0, 0x70) >> 16 & 0xff, 0x1a);
    bus_reset(f->b);
    assert_int_equal(cfg(f, 0, 0x70) >> 16 & 0xff, 0x02);
    assert_int_equal(cfg(f, 0, 0x58) >> 8, 0);
    fix_free(f);
}

static void test_absent(void **st)
{
    struct fix *f = start();
    for (int devfn = 1; devfn < 256; devfn++)
        assert_int_equal(cfg(f, devfn, 0), 0xffffffff);
    out32(f, 0xcf8, 0x80010000); /* bus 1 */
    assert_int_equal(in32(f, 0xcfc), 0xffffffff);
    out32(f, 0xcfc, 0);
    out32(f, 0xcf8, 0); /* not enabled */
    assert_int_equal(in32(f, 0xcfc), 0xffffffff);
    assert_int_equal(bus_in(f->b, 0xcfc, 2), 0xffff);
    out32(f, 0xcf8, 0x800000fc);
    in32(f, 0xcff); /* runs out of the window */
    out32(f, 0xcff, 0xffffffff);
    fix_free(f);
}

static void test_cf9(void **st)
{
    struct fix *f = start();
    outb(f, 0xcf9, 0x02);
    assert_int_equal(f->resets, 0);
    assert_int_equal(inb(f, 0xcf9), 0x02);
    outb(f, 0xcf9, 0x06);
    assert_int_equal(f->resets, 1);
    outb(f, 0xcf9, 0x06);
    assert_int_equal(f->resets, 1);
    outb(f, 0xcf9, 0x02);
    outb(f, 0xcf9, 0x0e);
    assert_int_equal(f->resets, 2);
    bus_reset(f->b);
    assert_int_equal(inb(f, 0xcf9), 0);
    assert_int_equal(in32(f, 0xcf8), 0);
    fix_free(f);
}

struct mapped {
    int maps, unmaps, writes;
    u32 addr[6];
    bool on[6];
};

static void on_map(void *o, int bar, u32 addr, bool on)
{
    struct mapped *m = o;
    m->maps += on;
    m->unmaps += !on;
    m->addr[bar] = addr;
    m->on[bar] = on;
}

static void on_written(void *o, int reg, int size)
{
    ((struct mapped *)o)->writes++;
}

static void test_bars(void **st)
{
    struct fix *f = start();
    struct mapped m = {0};
    static struct pci_dev d;
    memset(&d, 0, sizeof(d));
    d.devfn = 3 << 3;
    d.map = on_map;
    d.written = on_written;
    d.opaque = &m;
    pci_set_id(&d, 0x1af4, 0x1000, 0x0200, 1);
    pci_set_bar(&d, 0, 0x20, PCI_BAR_IO);
    pci_set_bar(&d, 1, 0x1000, 0);
    d.wmask[PCI_INT_LINE] = 0xff;
    assert_int_equal(pci_add(f->b, &d), 0);
    assert_int_equal(pci_add(f->b, &d), -EEXIST);
    int fn = d.devfn;
    assert_int_equal(cfg(f, fn, 0), 0x10001af4);
    cfg_write(f, fn, 0x10, 4, 0xffffffff);
    assert_int_equal(cfg(f, fn, 0x10), 0xffffffe1);
    cfg_write(f, fn, 0x14, 4, 0xffffffff);
    assert_int_equal(cfg(f, fn, 0x14), 0xfffff000);
    assert_int_equal(cfg(f, fn, 0x18), 0);
    cfg_write(f, fn, 4, 2, 0xffff); /* decoding a probe pattern: nothing may be mapped */
    assert_int_equal(cfg(f, fn, 4) & 0xffff, 3);
    assert_int_equal(m.maps, 0);
    cfg_write(f, fn, 0x10, 4, 0xc001);
    assert_true(m.on[0]);
    assert_int_equal(m.addr[0], 0xc000);
    cfg_write(f, fn, 0x14, 4, 0xfebf1000);
    assert_true(m.on[1]);
    assert_int_equal(m.addr[1], 0xfebf1000);
    cfg_write(f, fn, 0x10, 4, 0xc041); /* moves */
    assert_int_equal(m.addr[0], 0xc040);
    assert_int_equal(m.unmaps, 1);
    cfg_write(f, fn, 4, 2, 2); /* I/O off */
    assert_false(m.on[0]);
    assert_true(m.on[1]);
    cfg_write(f, fn, 4, 2, 3);
    assert_true(m.on[0]);
    cfg_write(f, fn, 0x3c, 1, 11);
    assert_int_equal(cfg(f, fn, 0x3c) & 0xff, 11);
    assert_true(m.writes > 5);
    bus_reset(f->b);
    assert_false(m.on[0]);
    assert_false(m.on[1]);
    assert_int_equal(cfg(f, fn, 0x10), 1);
    assert_int_equal(cfg(f, fn, 4) & 0xffff, 0);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mechanism), cmocka_unit_test(test_host_bridge),
                                       cmocka_unit_test(test_absent), cmocka_unit_test(test_cf9),
                                       cmocka_unit_test(test_bars)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
