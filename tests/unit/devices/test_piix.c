/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PIIX3 routing, PIIX4 power management, PAM hook, deferred work. */
#include "fixture.h"
#include "devices/pci.h"
#include "devices/piix.h"

static struct piix3 *isa;
static struct piix4_pm *pm;
static struct pci_dev card = {.name = "card", .devfn = 3 << 3};

static struct fix *make(void)
{
    struct fix *f = fix_new();
    assert_int_equal(pic_create(f->b), 0);
    assert_int_equal(pci_create(f->b), 0);
    assert_int_equal(piix3_create(f->b, &isa), 0);
    assert_int_equal(piix4_pm_create(f->b, isa, &pm), 0);
    pci_set_id(&card, 0x1234, 1, 0x0200, 0);
    assert_int_equal(pci_add(f->b, &card), 0);
    init_pics(f);
    return f;
}

static void cfg(struct fix *f, int devfn, int reg, int size, u32 val)
{
    bus_out(f->b, 0xcf8, 4, 0x80000000u | devfn << 8 | (reg & 0xfc));
    bus_out(f->b, 0xcfc + (reg & 3), size, val);
}

static void routing(void **st)
{
    struct fix *f = make();
    bus_lock(f->b);
    pci_set_intx(f->b, &card, 0, 1); /* slot 3, pin A: PIRQC; routed nowhere after reset */
    bus_unlock(f->b);
    assert_int_equal(f->intr, 0);
    cfg(f, 1 << 3, 0x62, 1, 0x0b);
    assert_int_equal(f->intr, 1);
    assert_int_equal(bus_intr_ack(f->b), 0x3b);
    cfg(f, 1 << 3, 0x62, 1, 0x01); /* IRQ 1 cannot be a target */
    outb(f, 0xa0, 0x20);
    outb(f, 0x20, 0x20);
    assert_int_equal(f->intr, 0);
    cfg(f, 1 << 3, 0x62, 1, 0x8b);
    assert_int_equal(f->intr, 0);
    bus_lock(f->b);
    pci_set_intx(f->b, &card, 0, 0);
    bus_unlock(f->b);
    fix_free(f);
}

static void pm_on(struct fix *f, u16 base)
{
    cfg(f, 1 << 3 | 3, 0x40, 4, base);
    cfg(f, 1 << 3 | 3, 0x80, 1, 1);
}

static void timer(void **st)
{
    struct fix *f = make();
    assert_int_equal(bus_in(f->b, 0x608, 4), 0xffffffff);
    pm_on(f, 0x600);
    u32 t0 = bus_in(f->b, 0x608, 4);
    advance(f, MS(100));
    assert_in_range(((bus_in(f->b, 0x608, 4) - t0) & 0xffffff), 357953, 357956);
    bus_out(f->b, 0x600, 2, 0xffff);
    bus_out(f->b, 0x602, 2, 1);
    bus_out(f->b, 0x604, 2, 1); /* SCI_EN */
    advance(f, SECS(3));        /* bit 23 changes every 2.34 s */
    assert_int_equal(bus_in(f->b, 0x600, 2) & 1, 1);
    assert_int_equal(bus_intr_ack(f->b), 0x39);
    bus_out(f->b, 0x600, 2, 1);
    assert_int_equal(bus_in(f->b, 0x600, 2) & 1, 0);
    fix_free(f);
}

static void power(void **st)
{
    struct fix *f = make();
    pm_on(f, 0xb000);
    outb(f, 0xb2, APM_ACPI_ENABLE);
    assert_int_equal(bus_in(f->b, 0xb004, 2), 1);
    bus_out(f->b, 0xb002, 2, 0x100);
    bus_lock(f->b);
    piix4_pm_power_button(pm);
    bus_unlock(f->b);
    assert_int_equal(bus_in(f->b, 0xb000, 2) & 0x100, 0x100);
    assert_int_equal(f->intr, 1);
    bus_out(f->b, 0xb000, 2, 0x100);
    assert_int_equal(bus_in(f->b, 0xb000, 2) & 0x100, 0);
    outb(f, 0xb2, APM_ACPI_DISABLE);
    assert_int_equal(bus_in(f->b, 0xb004, 2), 0);
    assert_int_equal(f->quits, 0);
    bus_out(f->b, 0xb004, 2, 0x2001);
    assert_int_equal(f->quits, 1);
    assert_int_equal(f->status, 0);
    bus_reset(f->b);
    assert_int_equal(bus_in(f->b, 0xb004, 2), 0xffff); /* unmapped by reset */
    fix_free(f);
}

/* The ports go wherever the guest says, over other devices, too: they lose. */
static void moving(void **st)
{
    struct fix *f = make();
    for (u32 base = 0; base < 0x10000; base += 64) {
        pm_on(f, base);
        bus_in(f->b, base + 8, 4);
        bus_in(f->b, base + 60, 4);
    }
    pm_on(f, 0x600);
    assert_int_not_equal(bus_in(f->b, 0x608, 4), 0xffffffff);
    fix_free(f);
}

static u8 pam[7];
static int pam_calls;
static void on_pam(void *o, const u8 *config)
{
    memcpy(pam, config + 0x59, 7);
    pam_calls++;
}

static void pam_hook(void **st)
{
    struct fix *f = make();
    pci_set_pam_hook(f->b, on_pam, NULL);
    assert_int_equal(pam_calls, 1);
    cfg(f, 0, 0x59, 1, 0x30);
    assert_int_equal(pam[0], 0x30);
    cfg(f, 0, 0x58, 4, 0x33333333);
    assert_int_equal(pam[2], 0x33);
    int n = pam_calls;
    cfg(f, 0, 0x50, 4, 0);
    assert_int_equal(pam_calls, n);
    bus_reset(f->b);
    assert_int_equal(pam[0] | pam[1] | pam[2], 0);
    fix_free(f);
}

static int ran[3];
static struct fix *again_f;
static struct bus_work again_w;
static void work(void *o)
{
    ++*(int *)o;
}
static void again(void *o)
{
    ran[2]++;
    bus_defer(again_f->b, &again_w);
}

static void deferred(void **st)
{
    struct fix *f = fix_new();
    struct bus_work a = {work, &ran[0]}, b = {work, &ran[1]};
    bus_lock(f->b);
    bus_defer(f->b, &a);
    bus_defer(f->b, &a); /* once */
    bus_defer(f->b, &b);
    bus_cancel(f->b, &b);
    bus_cancel(f->b, &b);
    bus_unlock(f->b);
    bus_run_deferred(f->b);
    assert_int_equal(ran[0], 1);
    assert_int_equal(ran[1], 0);
    again_f = f;
    again_w = (struct bus_work){.fn = again};
    bus_lock(f->b);
    bus_defer(f->b, &again_w);
    bus_defer(f->b, &a);
    bus_unlock(f->b);
    bus_run_deferred(f->b); /* ends, though one asks for itself again and again */
    assert_int_equal(ran[2], 1);
    assert_int_equal(ran[0], 2);
    bus_run_deferred(f->b);
    assert_int_equal(ran[2], 2);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routing), cmocka_unit_test(timer),    cmocka_unit_test(power),
        cmocka_unit_test(moving),  cmocka_unit_test(pam_hook), cmocka_unit_test(deferred),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
