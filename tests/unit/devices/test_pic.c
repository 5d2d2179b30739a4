/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fixture.h"

static struct fix *start(void)
{
    struct fix *f = fix_new();
    assert_int_equal(pic_create(f->b), 0);
    return f;
}

static int ack(struct fix *f)
{
    return bus_intr_ack(f->b);
}

static u8 isr(struct fix *f, u16 port)
{
    outb(f, port, 0x0b);
    return inb(f, port);
}

static u8 irr(struct fix *f, u16 port)
{
    outb(f, port, 0x0a);
    return inb(f, port);
}

static void pulse(struct fix *f, int irq)
{
    set_irq(f, irq, 1);
    set_irq(f, irq, 0);
}

static void test_quiet_before_init(void **st)
{
    struct fix *f = start();
    for (int i = 0; i < 16; i++)
        set_irq(f, i, 1);
    assert_int_equal(f->intr, 0);
    assert_int_equal(ack(f), -1);
    fix_free(f);
}

static void test_edge(void **st)
{
    struct fix *f = start();
    init_pics(f);
    assert_int_equal(inb(f, 0x21), 0);
    set_irq(f, 4, 1);
    assert_int_equal(f->intr, 1);
    assert_int_equal(irr(f, 0x20), 0x10);
    assert_int_equal(ack(f), 0x34);
    assert_int_equal(f->intr, 0);
    assert_int_equal(isr(f, 0x20), 0x10);
    assert_int_equal(irr(f, 0x20), 0);
    /* The line is still up: no new edge, no new request, EOI or not. */
    outb(f, 0x20, 0x20);
    assert_int_equal(f->intr, 0);
    set_irq(f, 4, 1);
    assert_int_equal(f->intr, 0);
    set_irq(f, 4, 0);
    set_irq(f, 4, 1);
    assert_int_equal(f->intr, 1);
    assert_int_equal(ack(f), 0x34);
    assert_int_equal(ack(f), -1);
    fix_free(f);
}

static void test_linux_probe(void **st)
{
    struct fix *f = start();
    outb(f, 0xa1, 0xff);
    outb(f, 0x21, 0xfb);
    assert_int_equal(inb(f, 0x21), 0xfb);
    assert_int_equal(inb(f, 0xa1), 0xff);
    fix_free(f);
}

static void test_priority_and_nesting(void **st)
{
    struct fix *f = start();
    init_pics(f);
    set_irq(f, 5, 1);
    set_irq(f, 3, 1);
    assert_int_equal(ack(f), 0x33);
    assert_int_equal(f->intr, 0); /* 5 waits for 3 */
    set_irq(f, 1, 1);
    assert_int_equal(f->intr, 1); /* 1 nests */
    assert_int_equal(ack(f), 0x31);
    assert_int_equal(isr(f, 0x20), 0x0a);
    outb(f, 0x20, 0x20); /* non-specific: the highest, 1 */
    assert_int_equal(isr(f, 0x20), 0x08);
    assert_int_equal(f->intr, 0);
    outb(f, 0x20, 0x63); /* specific: 3 */
    assert_int_equal(f->intr, 1);
    assert_int_equal(ack(f), 0x35);
    outb(f, 0x20, 0x20);
    fix_free(f);
}

static void test_mask(void **st)
{
    struct fix *f = start();
    init_pics(f);
    outb(f, 0x21, 0x10);
    set_irq(f, 4, 1);
    assert_int_equal(f->intr, 0);
    assert_int_equal(irr(f, 0x20), 0x10);
    outb(f, 0x21, 0x00);
    assert_int_equal(f->intr, 1);
    assert_int_equal(ack(f), 0x34);
    fix_free(f);
}

static void test_cascade(void **st)
{
    struct fix *f = start();
    init_pics(f);
    set_irq(f, 12, 1);
    assert_int_equal(irr(f, 0x20), 0x04);
    assert_int_equal(ack(f), 0x3c);
    assert_int_equal(isr(f, 0x20), 0x04);
    assert_int_equal(isr(f, 0xa0), 0x10);
    /* A higher slave request is held by the master's in-service bit 2 (no special fully nested mode). */
    set_irq(f, 8, 1);
    assert_int_equal(f->intr, 0);
    outb(f, 0x20, 0x62);
    assert_int_equal(f->intr, 1);
    assert_int_equal(ack(f), 0x38);
    outb(f, 0xa0, 0x20);
    outb(f, 0x20, 0x20);
    assert_int_equal(isr(f, 0xa0), 0x10);
    /* Same-level pending on the slave: EOI of both lets it through. */
    set_irq(f, 13, 1);
    assert_int_equal(f->intr, 0);
    outb(f, 0xa0, 0x20);
    assert_int_equal(f->intr, 1);
    assert_int_equal(ack(f), 0x3d);
    fix_free(f);
}

static void test_two_slave_requests(void **st)
{
    struct fix *f = start();
    init_pics(f);
    set_irq(f, 10, 1);
    set_irq(f, 11, 1);
    assert_int_equal(ack(f), 0x3a);
    outb(f, 0xa0, 0x20);
    outb(f, 0x20, 0x20);
    assert_int_equal(f->intr, 1);
    assert_int_equal(ack(f), 0x3b);
    outb(f, 0xa0, 0x20);
    outb(f, 0x20, 0x20);
    assert_int_equal(f->intr, 0);
    fix_free(f);
}

static void test_sfnm(void **st)
{
    struct fix *f = start();
    init_pics(f);
    outb(f, 0x20, 0x11);
    outb(f, 0x21, 0x30);
    outb(f, 0x21, 0x04);
    outb(f, 0x21, 0x11); /* special fully nested */
    set_irq(f, 12, 1);
    assert_int_equal(ack(f), 0x3c);
    set_irq(f, 8, 1);
    assert_int_equal(f->intr, 1);
    assert_int_equal(ack(f), 0x38);
    fix_free(f);
}

static void test_spurious7(void **st)
{
    struct fix *f = start();
    init_pics(f);
    set_irq(f, 3, 1);
    set_irq(f, 3, 0);
    assert_int_equal(f->intr, 0);
    assert_int_equal(ack(f), 0x37); /* the CPU had begun to acknowledge */
    assert_int_equal(isr(f, 0x20), 0);
    assert_int_equal(ack(f), -1);
    /* A real IRQ 7 has its in-service bit. */
    set_irq(f, 7, 1);
    assert_int_equal(ack(f), 0x37);
    assert_int_equal(isr(f, 0x20), 0x80);
    fix_free(f);
}

static void test_spurious15(void **st)
{
    struct fix *f = start();
    init_pics(f);
    pulse(f, 9);
    assert_int_equal(ack(f), 0x3f);
    assert_int_equal(isr(f, 0xa0), 0);
    assert_int_equal(isr(f, 0x20), 0x04); /* the master wants its EOI */
    outb(f, 0x20, 0x20);
    assert_int_equal(isr(f, 0x20), 0);
    assert_int_equal(ack(f), -1);
    fix_free(f);
}

static void test_aeoi(void **st)
{
    struct fix *f = start();
    init_pics(f);
    outb(f, 0x20, 0x11);
    outb(f, 0x21, 0x30);
    outb(f, 0x21, 0x04);
    outb(f, 0x21, 0x03); /* automatic EOI */
    set_irq(f, 4, 1);
    set_irq(f, 5, 1);
    assert_int_equal(ack(f), 0x34);
    assert_int_equal(isr(f, 0x20), 0);
    assert_int_equal(f->intr, 1);
    assert_int_equal(ack(f), 0x35);
    assert_int_equal(f->intr, 0);
    /* Rotation in automatic EOI mode. */
    outb(f, 0x20, 0x80);
    pulse(f, 4);
    set_irq(f, 5, 0);
    set_irq(f, 4, 1);
    assert_int_equal(ack(f), 0x34); /* now 4 is the lowest, 5 the highest */
    set_irq(f, 4, 0);
    set_irq(f, 4, 1);
    set_irq(f, 0, 1);
    set_irq(f, 6, 1);
    assert_int_equal(ack(f), 0x36);
    assert_int_equal(ack(f), 0x30);
    assert_int_equal(ack(f), 0x34);
    fix_free(f);
}

static void test_aeoi_slave(void **st)
{
    struct fix *f = start();
    init_pics(f);
    outb(f, 0x20, 0x11);
    outb(f, 0x21, 0x30);
    outb(f, 0x21, 0x04);
    outb(f, 0x21, 0x03);
    outb(f, 0xa0, 0x11);
    outb(f, 0xa1, 0x38);
    outb(f, 0xa1, 0x02);
    outb(f, 0xa1, 0x03);
    set_irq(f, 9, 1);
    set_irq(f, 10, 1);
    assert_int_equal(ack(f), 0x39);
    assert_int_equal(f->intr, 1); /* the slave's INT made a new edge */
    assert_int_equal(ack(f), 0x3a);
    assert_int_equal(f->intr, 0);
    fix_free(f);
}

static void test_rotation(void **st)
{
    struct fix *f = start();
    init_pics(f);
    outb(f, 0x20, 0xc2 + 2); /* set priority: 4 lowest, 5 highest */
    set_irq(f, 0, 1);
    set_irq(f, 6, 1);
    assert_int_equal(ack(f), 0x36);
    set_irq(f, 5, 1);
    assert_int_equal(ack(f), 0x35);
    outb(f, 0x20, 0xa0); /* rotate on non-specific EOI: 5 becomes lowest */
    assert_int_equal(isr(f, 0x20), 0x40);
    assert_int_equal(f->intr, 0); /* 0 is below 6 */
    outb(f, 0x20, 0xe6);          /* rotate on specific EOI: 6 lowest, 7 highest */
    assert_int_equal(f->intr, 1);
    assert_int_equal(ack(f), 0x30);
    set_irq(f, 7, 1);
    assert_int_equal(ack(f), 0x37);
    assert_int_equal(isr(f, 0x20), 0x81);
    fix_free(f);
}

static void test_special_mask(void **st)
{
    struct fix *f = start();
    init_pics(f);
    set_irq(f, 3, 1);
    assert_int_equal(ack(f), 0x33);
    set_irq(f, 6, 1);
    assert_int_equal(f->intr, 0);
    outb(f, 0x21, 0x08);
    assert_int_equal(f->intr, 0);
    outb(f, 0x20, 0x68); /* special mask mode on */
    assert_int_equal(f->intr, 1);
    assert_int_equal(ack(f), 0x36);
    outb(f, 0x20, 0x20); /* non-specific EOI leaves the masked level alone */
    assert_int_equal(isr(f, 0x20), 0x08);
    outb(f, 0x20, 0x48); /* off */
    outb(f, 0x20, 0x20);
    assert_int_equal(isr(f, 0x20), 0);
    fix_free(f);
}

static void test_poll(void **st)
{
    struct fix *f = start();
    init_pics(f);
    outb(f, 0x20, 0x0c);
    assert_int_equal(inb(f, 0x20), 0x00);
    assert_int_equal(inb(f, 0x20), irr(f, 0x20)); /* one read only */
    set_irq(f, 5, 1);
    outb(f, 0x20, 0x0c);
    assert_int_equal(inb(f, 0x20), 0x85);
    assert_int_equal(isr(f, 0x20), 0x20);
    assert_int_equal(f->intr, 0);
    outb(f, 0x20, 0x20);
    set_irq(f, 11, 1);
    outb(f, 0x20, 0x0c);
    assert_int_equal(inb(f, 0x21), 0x82); /* either address */
    outb(f, 0xa0, 0x0c);
    assert_int_equal(inb(f, 0xa0), 0x83);
    assert_int_equal(isr(f, 0xa0), 0x08);
    assert_int_equal(ack(f), -1);
    fix_free(f);
}

static void test_level(void **st)
{
    struct fix *f = start();
    init_pics(f);
    outb(f, 0x4d0, 0xff);
    outb(f, 0x4d1, 0xff);
    assert_int_equal(inb(f, 0x4d0), 0xf8);
    assert_int_equal(inb(f, 0x4d1), 0xde);
    set_irq(f, 11, 1);
    assert_int_equal(ack(f), 0x3b);
    assert_int_equal(irr(f, 0xa0), 0x08); /* as long as the line is up */
    outb(f, 0xa0, 0x20);
    outb(f, 0x20, 0x20);
    assert_int_equal(f->intr, 1);
    assert_int_equal(ack(f), 0x3b);
    set_irq(f, 11, 0);
    outb(f, 0xa0, 0x20);
    outb(f, 0x20, 0x20);
    assert_int_equal(f->intr, 0);
    fix_free(f);
}

static void test_icw(void **st)
{
    struct fix *f = start();
    init_pics(f);
    set_irq(f, 4, 1);
    set_irq(f, 3, 1);
    assert_int_equal(ack(f), 0x33);
    outb(f, 0x20, 0x13); /* single, ICW4: clears ISR, IMR and edges */
    assert_int_equal(f->intr, 0);
    outb(f, 0x21, 0x47);
    outb(f, 0x21, 0x01); /* no ICW3 */
    assert_int_equal(isr(f, 0x20), 0);
    assert_int_equal(f->intr, 0);
    outb(f, 0x21, 0xf0);
    assert_int_equal(inb(f, 0x21), 0xf0);
    set_irq(f, 3, 0);
    set_irq(f, 3, 1);
    assert_int_equal(ack(f), 0x43); /* low bits of ICW2 are ignored */
    /* Without ICW4, three writes and done; AEOI off. */
    outb(f, 0x20, 0x10);
    outb(f, 0x21, 0x50);
    outb(f, 0x21, 0x04);
    outb(f, 0x21, 0xee);
    assert_int_equal(inb(f, 0x21), 0xee);
    fix_free(f);
}

static void test_reset(void **st)
{
    struct fix *f = start();
    init_pics(f);
    set_irq(f, 4, 1);
    assert_int_equal(f->intr, 1);
    bus_reset(f->b);
    assert_int_equal(f->intr, 0);
    assert_int_equal(inb(f, 0x21), 0xff);
    assert_int_equal(ack(f), -1);
    init_pics(f);
    set_irq(f, 4, 1);
    assert_int_equal(ack(f), 0x34);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quiet_before_init),
                                       cmocka_unit_test(test_edge),
                                       cmocka_unit_test(test_linux_probe),
                                       cmocka_unit_test(test_priority_and_nesting),
                                       cmocka_unit_test(test_mask),
                                       cmocka_unit_test(test_cascade),
                                       cmocka_unit_test(test_two_slave_requests),
                                       cmocka_unit_test(test_sfnm),
                                       cmocka_unit_test(test_spurious7),
                                       cmocka_unit_test(test_spurious15),
                                       cmocka_unit_test(test_aeoi),
                                       cmocka_unit_test(test_aeoi_slave),
                                       cmocka_unit_test(test_rotation),
                                       cmocka_unit_test(test_special_mask),
                                       cmocka_unit_test(test_poll),
                                       cmocka_unit_test(test_level),
                                       cmocka_unit_test(test_icw),
                                       cmocka_unit_test(test_reset)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
