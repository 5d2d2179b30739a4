/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APIC and I/O APIC, alone and with the 8259As. */
#include "fixture.h"
#include "devices/apic.h"

static struct apic *a;
static struct ioapic *io;
static u64 tsc_add; /* guest TSC minus the clock */

static u64 fake_tsc(void *o)
{
    return ((struct fix *)o)->now * 3 + tsc_add; /* 3 GHz */
}

static u64 fake_hz(void *o)
{
    return 2900000000ull; /* not quite: a rate is never known exactly */
}

static struct fix *make(void)
{
    struct fix *f = fix_new();
    struct apic_host h = {fake_tsc, fake_hz, f};
    tsc_add = 0;
    assert_int_equal(ioapic_create(f->b, NULL), -19);
    assert_int_equal(apic_create(f->b, NULL, &h), 0);
    assert_int_equal(ioapic_create(f->b, NULL), 0);
    assert_int_equal(pic_create(f->b), 0);
    a = apic_of(f->b);
    io = ioapic_of(f->b);
    f->now += MS(10);
    return f;
}

static void wr(struct fix *f, u32 reg, u32 val)
{
    bus_lock(f->b);
    apic_write(a, reg, val);
    bus_unlock(f->b);
}

static u32 rd(struct fix *f, u32 reg)
{
    bus_lock(f->b);
    u32 v = apic_read(a, reg);
    bus_unlock(f->b);
    return v;
}

static void enable(struct fix *f)
{
    wr(f, 0xf0, 0x1ff);
    wr(f, 0x350, 0x10000); /* LINT0 masked: the 8259A is out */
}

static void redirect(struct fix *f, u32 pin, u32 low, u32 high)
{
    bus_lock(f->b);
    ioapic_write(io, 0, 0x11 + 2 * pin);
    ioapic_write(io, 0x10, high);
    ioapic_write(io, 0, 0x10 + 2 * pin);
    ioapic_write(io, 0x10, low);
    bus_unlock(f->b);
}

static u32 entry(struct fix *f, u32 pin)
{
    bus_lock(f->b);
    ioapic_write(io, 0, 0x10 + 2 * pin);
    u32 v = ioapic_read(io, 0x10);
    bus_unlock(f->b);
    return v;
}

static void self_ipi(struct fix *f, u8 vector)
{
    wr(f, 0x300, 0x40000 | vector);
}

static bool bit(struct fix *f, u32 set, u8 vector)
{
    return rd(f, set + 16 * (vector >> 5)) >> (vector & 31) & 1;
}

/* ---- local APIC ---- */

static void registers(void **st)
{
    struct fix *f = make();
    assert_int_equal(rd(f, 0x20), 0);
    assert_int_equal(rd(f, 0x30), 0x50014);
    assert_int_equal(rd(f, 0xf0), 0xff);
    assert_int_equal(rd(f, 0xe0), 0xffffffff);
    assert_int_equal(rd(f, 0x350), 0x700); /* virtual wire */
    assert_int_equal(rd(f, 0x360), 0x400);
    wr(f, 0xf0, 0xffffffff);
    assert_int_equal(rd(f, 0xf0), 0x1ff);
    wr(f, 0xe0, 0);
    assert_int_equal(rd(f, 0xe0), 0x0fffffff);
    wr(f, 0xd0, 0xffffffff);
    assert_int_equal(rd(f, 0xd0), 0xff000000);
    for (u32 reg = 0x320; reg <= 0x370; reg += 16) {
        static const u32 mask[] = {0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};
        wr(f, reg, 0xffffffff);
        assert_int_equal(rd(f, reg), mask[(reg - 0x320) / 16]);
    }
    wr(f, 0x320, 0x20);
    wr(f, 0xf0, 0xff); /* switching off masks everything, and keeps it so */
    assert_int_equal(rd(f, 0x320), 0x10020);
    wr(f, 0x320, 0x20);
    assert_int_equal(rd(f, 0x320), 0x10020);
    assert_int_equal(rd(f, 0x280), 0);
    rd(f, 0x40); /* no such register */
    assert_int_equal(rd(f, 0x280), 0);
    wr(f, 0x280, 0);
    assert_int_equal(rd(f, 0x280), 0x80);
    wr(f, 0x280, 0);
    assert_int_equal(rd(f, 0x280), 0);
    bus_reset(f->b);
    assert_int_equal(rd(f, 0xf0), 0xff);
    assert_int_equal(rd(f, 0x350), 0x700);
    fix_free(f);
}

static void priorities(void **st)
{
    struct fix *f = make();
    self_ipi(f, 0x41); /* switched off: lost */
    assert_int_equal(f->intr, 0);
    enable(f);
    self_ipi(f, 0x41);
    self_ipi(f, 0x45);
    assert_true(bit(f, 0x200, 0x41));
    assert_int_equal(f->intr, 1);
    wr(f, 0x80, 0x4f); /* the class of the task priority holds back */
    assert_int_equal(f->intr, 0);
    assert_int_equal(bus_intr_ack(f->b), -1);
    assert_int_equal(rd(f, 0xa0), 0x4f);
    wr(f, 0x80, 0x3f);
    assert_int_equal(f->intr, 1);
    assert_int_equal(bus_intr_ack(f->b), 0x45); /* the higher one first */
    assert_true(bit(f, 0x100, 0x45));
    assert_false(bit(f, 0x200, 0x45));
    assert_int_equal(rd(f, 0xa0), 0x40);
    assert_int_equal(f->intr, 0); /* 41 is of the same class */
    self_ipi(f, 0x52);            /* nested */
    assert_int_equal(bus_intr_ack(f->b), 0x52);
    assert_int_equal(rd(f, 0xa0), 0x50);
    wr(f, 0xb0, 0);
    assert_false(bit(f, 0x100, 0x52));
    assert_int_equal(f->intr, 0);
    wr(f, 0xb0, 0);
    assert_int_equal(f->intr, 1);
    assert_int_equal(bus_intr_ack(f->b), 0x41);
    wr(f, 0xb0, 0);
    wr(f, 0xb0, 0); /* nothing in service: nothing happens */
    assert_int_equal(f->intr, 0);
    fix_free(f);
}

static void messages(void **st)
{
    struct fix *f = make();
    enable(f);
    wr(f, 0x310, 0x01000000);
    wr(f, 0x300, 0x61); /* to APIC 1, which is not there */
    assert_int_equal(f->intr, 0);
    wr(f, 0x310, 0);
    wr(f, 0x300, 0x61);
    assert_int_equal(bus_intr_ack(f->b), 0x61);
    wr(f, 0xb0, 0);
    wr(f, 0x300, 0xc0062); /* all but itself */
    assert_int_equal(f->intr, 0);
    wr(f, 0xd0, 0x02000000); /* logical, flat */
    wr(f, 0x310, 0x05000000);
    wr(f, 0x300, 0x863);
    assert_int_equal(f->intr, 0);
    wr(f, 0x310, 0x06000000);
    wr(f, 0x300, 0x863);
    assert_int_equal(bus_intr_ack(f->b), 0x63);
    wr(f, 0xb0, 0);
    wr(f, 0xe0, 0x0fffffff); /* cluster */
    wr(f, 0xd0, 0x34000000);
    wr(f, 0x310, 0x2f000000);
    wr(f, 0x300, 0x864);
    assert_int_equal(f->intr, 0);
    wr(f, 0x310, 0x3c000000);
    wr(f, 0x300, 0x864);
    assert_int_equal(bus_intr_ack(f->b), 0x64);
    wr(f, 0xb0, 0);
    wr(f, 0x300, 0x40400); /* NMI to itself */
    assert_int_equal(f->nmis, 1);
    wr(f, 0x300, 0x40500); /* INIT, start-up: nothing */
    wr(f, 0x300, 0xc4610);
    assert_int_equal(f->intr, 0);
    wr(f, 0x370, 0xfe); /* an error interrupt, once for an error */
    self_ipi(f, 0x0f);
    assert_int_equal(bus_intr_ack(f->b), 0xfe);
    wr(f, 0xb0, 0);
    self_ipi(f, 0x0e);
    assert_int_equal(f->intr, 0);
    wr(f, 0x280, 0);
    assert_int_equal(rd(f, 0x280), 0x20);
    bus_lock(f->b);
    bus_raise_nmi(f->b);
    wr(f, 0x360, 0x10400);
    bus_raise_nmi(f->b); /* LINT1 is masked */
    bus_unlock(f->b);
    assert_int_equal(f->nmis, 2);
    fix_free(f);
}

static void timer(void **st)
{
    struct fix *f = make();
    enable(f);
    wr(f, 0x3e0, 0x3); /* by 16 */
    wr(f, 0x320, 0x31);
    wr(f, 0x380, 1000); /* 16 us */
    f->now += US(8);
    assert_int_equal(rd(f, 0x390), 500);
    advance(f, US(7));
    assert_int_equal(f->intr, 0);
    advance(f, US(2));
    assert_int_equal(bus_intr_ack(f->b), 0x31);
    wr(f, 0xb0, 0);
    assert_int_equal(rd(f, 0x390), 0);
    advance(f, MS(10));
    assert_int_equal(f->intr, 0);
    wr(f, 0x320, 0x20031); /* periodic: 1 ms */
    wr(f, 0x380, 62500);
    for (int i = 0; i < 5; i++) {
        advance(f, MS(1));
        assert_int_equal(bus_intr_ack(f->b), 0x31);
        wr(f, 0xb0, 0);
    }
    stall(f, MS(10)); /* what is late comes once, and in step again */
    assert_int_equal(bus_intr_ack(f->b), 0x31);
    wr(f, 0xb0, 0);
    assert_int_equal(bus_next_deadline(f->b), f->now + MS(1));
    wr(f, 0x320, 0x30031); /* masked: the counter goes on */
    assert_int_equal(bus_next_deadline(f->b), 0);
    f->now += US(500);
    assert_int_equal(rd(f, 0x390), 31250);
    wr(f, 0x320, 0x20031);
    assert_int_equal(bus_next_deadline(f->b), f->now + US(500));
    wr(f, 0x380, 0);
    assert_int_equal(bus_next_deadline(f->b), 0);
    wr(f, 0x3e0, 0xb);
    wr(f, 0x380, 1); /* a period of 1 ns does not keep the host busy */
    f->fired = 0;
    advance(f, MS(1));
    assert_true(f->fired <= 21);
    wr(f, 0x320, 0x10031); /* one-shot that ends while masked: lost */
    bus_intr_ack(f->b);
    wr(f, 0xb0, 0);
    wr(f, 0x380, 100);
    advance(f, US(1));
    wr(f, 0x320, 0x31);
    advance(f, US(1));
    assert_int_equal(f->intr, 0);
    fix_free(f);
}

static void deadline(void **st)
{
    struct fix *f = make();
    enable(f);
    apic_set_tsc_deadline(f->b, 1); /* not in that mode */
    assert_int_equal(apic_tsc_deadline(f->b), 0);
    wr(f, 0x320, 0x40033);
    apic_set_tsc_deadline(f->b, fake_tsc(f) + 3 * US(100));
    assert_true(apic_tsc_deadline(f->b) != 0);
    advance(f, US(99));
    assert_int_equal(f->intr, 0);
    advance(f, US(10));
    assert_int_equal(bus_intr_ack(f->b), 0x33);
    assert_int_equal(apic_tsc_deadline(f->b), 0);
    wr(f, 0xb0, 0);
    apic_set_tsc_deadline(f->b, 5); /* long ago */
    advance(f, US(1));
    assert_int_equal(bus_intr_ack(f->b), 0x33);
    wr(f, 0xb0, 0);
    apic_set_tsc_deadline(f->b, fake_tsc(f) + 3 * MS(1));
    tsc_add = -3 * MS(1); /* the guest sets its TSC back: the deadline moves away */
    advance(f, US(1900));
    assert_int_equal(f->intr, 0);
    advance(f, US(200));
    assert_int_equal(f->intr, 1);
    bus_intr_ack(f->b);
    wr(f, 0xb0, 0);
    apic_set_tsc_deadline(f->b, fake_tsc(f) + 3 * MS(1));
    wr(f, 0x320, 0x33); /* another mode: disarmed */
    advance(f, MS(2));
    assert_int_equal(f->intr, 0);
    fix_free(f);
}

/* ---- I/O APIC ---- */

static void edges(void **st)
{
    struct fix *f = make();
    enable(f);
    bus_lock(f->b);
    ioapic_write(io, 0, 1);
    assert_int_equal(ioapic_read(io, 0x10), 0x170011);
    ioapic_write(io, 0, 0);
    ioapic_write(io, 0x10, 0xffffffff);
    assert_int_equal(ioapic_read(io, 0x10), 0x0f000000);
    ioapic_write(io, 0, 0xff); /* beyond the last */
    ioapic_write(io, 0x10, ~0u);
    assert_int_equal(ioapic_read(io, 0x10), 0);
    bus_unlock(f->b);
    assert_int_equal(entry(f, 4), 0x10000);
    set_irq(f, 4, 1); /* masked: lost */
    redirect(f, 4, 0x54, 0);
    assert_int_equal(f->intr, 0);
    set_irq(f, 4, 0);
    set_irq(f, 4, 1);
    assert_int_equal(bus_intr_ack(f->b), 0x54);
    assert_false(bit(f, 0x180, 0x54));
    wr(f, 0xb0, 0);
    assert_int_equal(f->intr, 0); /* still up: no new edge */
    set_irq(f, 4, 0);
    redirect(f, 2, 0x50, 0); /* the timer is at pin 2 */
    set_irq(f, 0, 1);
    assert_int_equal(bus_intr_ack(f->b), 0x50);
    wr(f, 0xb0, 0);
    redirect(f, 4, 0x54, 0x07000000); /* to an APIC that is not there */
    set_irq(f, 4, 1);
    assert_int_equal(f->intr, 0);
    set_irq(f, 4, 0);
    redirect(f, 4, 0x454, 0); /* NMI */
    set_irq(f, 4, 1);
    assert_int_equal(f->nmis, 1);
    assert_int_equal(f->intr, 0);
    fix_free(f);
}

static void levels(void **st)
{
    struct fix *f = make();
    enable(f);
    set_irq(f, 10, 1);
    redirect(f, 10, 0x805a, 0); /* opened while up: comes */
    assert_int_equal(entry(f, 10), 0xc05a);
    assert_int_equal(bus_intr_ack(f->b), 0x5a);
    assert_true(bit(f, 0x180, 0x5a));
    assert_int_equal(f->intr, 0);
    wr(f, 0xb0, 0); /* still up: again */
    assert_int_equal(bus_intr_ack(f->b), 0x5a);
    set_irq(f, 10, 0);
    set_irq(f, 10, 1); /* remote IRR: waits for EOI */
    assert_int_equal(f->intr, 0);
    set_irq(f, 10, 0);
    wr(f, 0xb0, 0);
    assert_int_equal(entry(f, 10), 0x805a);
    assert_int_equal(f->intr, 0);
    redirect(f, 11, 0x805a, 0); /* two pins, one vector: one EOI answers both */
    set_irq(f, 10, 1);
    set_irq(f, 11, 1);
    assert_int_equal(bus_intr_ack(f->b), 0x5a);
    set_irq(f, 10, 0);
    set_irq(f, 11, 0);
    wr(f, 0xb0, 0);
    assert_int_equal(entry(f, 10) | entry(f, 11), 0x805a);
    set_irq(f, 10, 1); /* to edge and back clears a remote IRR */
    redirect(f, 10, 0x1005a, 0);
    assert_int_equal(entry(f, 10), 0x1005a);
    set_irq(f, 10, 0);
    bus_intr_ack(f->b);
    wr(f, 0xb0, 0);
    wr(f, 0xf0, 0xff); /* refused by an APIC that is off; comes when it is on */
    redirect(f, 10, 0x805b, 0);
    set_irq(f, 10, 1);
    assert_int_equal(entry(f, 10), 0x805b);
    wr(f, 0xf0, 0x1ff);
    assert_int_equal(bus_intr_ack(f->b), 0x5b);
    fix_free(f);
}

/* ---- together with the 8259As ---- */

static void virtual_wire(void **st)
{
    struct fix *f = make();
    init_pics(f);
    set_irq(f, 4, 1); /* as after reset: through LINT0 */
    assert_int_equal(f->intr, 1);
    assert_int_equal(bus_intr_ack(f->b), 0x34);
    assert_int_equal(rd(f, 0x120), 0); /* not the APIC's vector */
    outb(f, 0x20, 0x20);
    set_irq(f, 4, 0);
    enable(f); /* LINT0 masked */
    set_irq(f, 4, 1);
    assert_int_equal(f->intr, 0);
    assert_int_equal(bus_intr_ack(f->b), -1);
    wr(f, 0x350, 0x700);
    assert_int_equal(f->intr, 1);
    self_ipi(f, 0x22); /* the APIC's own come first */
    assert_int_equal(bus_intr_ack(f->b), 0x22);
    assert_int_equal(bus_intr_ack(f->b), 0x34);
    wr(f, 0xb0, 0);
    outb(f, 0x20, 0x20);
    set_irq(f, 4, 0);
    wr(f, 0x350, 0x10000);
    redirect(f, 0, 0x700, 0); /* the I/O APIC's pin 0 as ExtINT */
    set_irq(f, 4, 1);
    assert_int_equal(bus_intr_ack(f->b), 0x34);
    outb(f, 0x20, 0x20);
    set_irq(f, 4, 0);
    redirect(f, 0, 0x10700, 0);
    set_irq(f, 4, 1);
    assert_int_equal(f->intr, 0);
    apic_set_base(f->b, 0xfee00100); /* APIC off: INTR is the CPU's pin */
    assert_int_equal(f->intr, 1);
    assert_int_equal(bus_intr_ack(f->b), 0x34);
    outb(f, 0x20, 0x20);
    set_irq(f, 4, 0);
    apic_set_base(f->b, 0xfee00900);
    wr(f, 0x350, 0x66); /* LINT0 as an ordinary edge */
    set_irq(f, 4, 1);
    assert_int_equal(bus_intr_ack(f->b), 0x66);
    fix_free(f);
}

/* Timer ticks that the guest was late for come one after the other through the I/O APIC, too. */
static void owed_ticks(void **st)
{
    struct fix *f = make();
    assert_int_equal(pit_create(f->b), 0);
    enable(f);
    outb(f, 0x21, 0xff);
    redirect(f, 2, 0x50, 0);
    outb(f, 0x43, 0x34);
    outb(f, 0x40, 1193182 / 1000 & 0xff); /* 1000 Hz */
    outb(f, 0x40, 1193182 / 1000 >> 8);
    assert_int_equal(bus_intr_ack(f->b), 0x50); /* the output's rise at the control word */
    wr(f, 0xb0, 0);
    stall(f, US(10100));
    int n = 0;
    while (f->intr && n < 100) {
        assert_int_equal(bus_intr_ack(f->b), 0x50);
        wr(f, 0xb0, 0);
        n++;
    }
    assert_int_equal(n, 10);
    redirect(f, 2, 0x10050, 0); /* masked: nothing is owed */
    stall(f, MS(10));
    redirect(f, 2, 0x50, 0);
    assert_int_equal(f->intr, 0);
    fix_free(f);
}

/* Any access is safe, and a reset gives the first state again. */
static void hostile(void **st)
{
    struct fix *f = make();
    u32 seed = 12345;
    init_pics(f);
    for (int i = 0; i < 200000; i++) {
        seed = seed * 1664525 + 1013904223;
        u32 reg = seed >> 16 & 0xff0, kind = seed >> 28;
        seed = seed * 1664525 + 1013904223;
        u32 val = seed;
        if (kind < 6)
            wr(f, reg, val >> (seed & 7));
        else if (kind < 8)
            rd(f, reg);
        else if (kind < 11)
            redirect(f, val % 30, val, val << 8);
        else if (kind < 13)
            set_irq(f, val & 15, val >> 8 & 1);
        else if (kind < 14)
            apic_set_base(f->b, (val & 0xfffff000) | (val & 0x800) | 0x100);
        else if (kind < 15)
            advance(f, val & 0xffff);
        else
            assert_true(bus_intr_ack(f->b) < 256);
    }
    bus_reset(f->b);
    assert_int_equal(rd(f, 0x30), 0x50014);
    assert_int_equal(rd(f, 0x350), 0x700);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(registers),  cmocka_unit_test(priorities),
                                       cmocka_unit_test(messages),   cmocka_unit_test(timer),
                                       cmocka_unit_test(deadline),   cmocka_unit_test(edges),
                                       cmocka_unit_test(levels),     cmocka_unit_test(virtual_wire),
                                       cmocka_unit_test(owed_ticks), cmocka_unit_test(hostile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
