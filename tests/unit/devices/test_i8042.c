/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keyboard controller and port 92h, which share the A20 line and the reset wire. */
#include "fixture.h"

static struct fix *start(void)
{
    struct fix *f = fix_new();
    assert_int_equal(pic_create(f->b), 0);
    init_pics(f);
    assert_int_equal(i8042_create(f->b), 0);
    assert_int_equal(port92_create(f->b), 0);
    return f;
}

static int command(struct fix *f, u8 cmd)
{
    outb(f, 0x64, cmd);
    if (!(inb(f, 0x64) & 1))
        return -1;
    return inb(f, 0x60);
}

static void command_data(struct fix *f, u8 cmd, u8 data)
{
    outb(f, 0x64, cmd);
    outb(f, 0x60, data);
}

static u8 irr(struct fix *f, u16 port)
{
    outb(f, port, 0x0a);
    return inb(f, port);
}

static void test_tests(void **st)
{
    struct fix *f = start();
    assert_int_equal(inb(f, 0x64) & 0x13, 0x10); /* empty, not locked */
    assert_int_equal(command(f, 0xaa), 0x55);
    assert_int_equal(inb(f, 0x64) & 0x05, 0x04);
    assert_int_equal(command(f, 0xab), 0);
    assert_int_equal(command(f, 0xa9), 0);
    assert_int_equal(command(f, 0xa4), 0xf1);
    assert_int_equal(command(f, 0xad), -1);
    assert_int_equal(command(f, 0x20) & 0x10, 0x10);
    assert_int_equal(command(f, 0xae), -1);
    assert_int_equal(command(f, 0x20) & 0x10, 0);
    assert_int_equal(command(f, 0xa7), -1);
    assert_int_equal(command(f, 0x20) & 0x20, 0x20);
    assert_int_equal(command(f, 0xa8), -1);
    assert_int_equal(command(f, 0x20) & 0x20, 0);
    outb(f, 0x64, 0xaa);
    assert_int_equal(inb(f, 0x64) & 0x08, 0x08); /* last write was a command */
    inb(f, 0x60);
    for (int i = 0; i < 32; i++)
        command_data(f, 0x60 + i, i * 5);
    for (int i = 0; i < 32; i++)
        assert_int_equal(command(f, 0x20 + i), i * 5);
    fix_free(f);
}

static void test_loop(void **st)
{
    struct fix *f = start();
    command_data(f, 0x60, 0x47); /* both interrupts on */
    command_data(f, 0xd3, 0x5a);
    assert_int_equal(inb(f, 0x64) & 0x21, 0x21);
    assert_int_equal(irr(f, 0xa0), 0x10);
    assert_int_equal(bus_intr_ack(f->b), 0x3c);
    assert_int_equal(inb(f, 0x60), 0x5a);
    assert_int_equal(inb(f, 0x64) & 0x21, 0);
    outb(f, 0xa0, 0x20);
    outb(f, 0x20, 0x20);
    command_data(f, 0xd2, 0xa5);
    assert_int_equal(inb(f, 0x64) & 0x21, 0x01);
    assert_int_equal(irr(f, 0x20), 0x02);
    command_data(f, 0x60, 0x44); /* off: the line falls */
    assert_int_equal(irr(f, 0x20), 0);
    assert_int_equal(inb(f, 0x60), 0xa5);
    fix_free(f);
}

static void test_nothing_attached(void **st)
{
    struct fix *f = start();
    outb(f, 0x60, 0xf2); /* identify */
    assert_int_equal(inb(f, 0x64) & 1, 0);
    advance(f, MS(5));
    assert_int_equal(inb(f, 0x64) & 0x61, 0x41); /* time-out */
    assert_int_equal(irr(f, 0x20), 0x02);
    assert_int_equal(inb(f, 0x60), 0xfe);
    assert_int_equal(inb(f, 0x64) & 0x61, 0);
    command_data(f, 0xd4, 0xf2);
    advance(f, MS(5));
    assert_int_equal(inb(f, 0x64) & 0x61, 0x61);
    assert_int_equal(inb(f, 0x60), 0xfe);
    /* A full output buffer holds the answer back. */
    outb(f, 0x64, 0xaa);
    outb(f, 0x60, 0xff);
    advance(f, MS(20));
    assert_int_equal(inb(f, 0x60), 0x55);
    advance(f, MS(5));
    assert_int_equal(inb(f, 0x60), 0xfe);
    fix_free(f);
}

static void test_a20(void **st)
{
    struct fix *f = start();
    assert_int_equal(f->a20, 1);
    assert_int_equal(command(f, 0xd0) & 3, 3);
    command_data(f, 0xd1, 0xdd);
    assert_int_equal(f->a20, 0);
    assert_int_equal(command(f, 0xd0) & 3, 1);
    outb(f, 0x92, 2);
    assert_int_equal(f->a20, 1);
    assert_int_equal(inb(f, 0x92), 2);
    outb(f, 0x92, 0);
    assert_int_equal(f->a20, 0);
    command(f, 0xdf);
    assert_int_equal(f->a20, 1);
    command(f, 0xdd);
    assert_int_equal(f->a20, 0);
    bus_reset(f->b);
    assert_int_equal(f->a20, 1);
    assert_int_equal(f->resets, 0);
    fix_free(f);
}

static void test_reset_lines(void **st)
{
    struct fix *f = start();
    outb(f, 0x64, 0xff); /* pulses nothing */
    assert_int_equal(f->resets, 0);
    outb(f, 0x64, 0xfe);
    assert_int_equal(f->resets, 1);
    command_data(f, 0xd1, 0x02);
    assert_int_equal(f->resets, 2);
    outb(f, 0x92, 1);
    assert_int_equal(f->resets, 3);
    outb(f, 0x92, 1); /* only the edge */
    assert_int_equal(f->resets, 3);
    bus_reset(f->b);
    assert_int_equal(inb(f, 0x92), 0);
    outb(f, 0x92, 3);
    assert_int_equal(f->resets, 4);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tests), cmocka_unit_test(test_loop),
                                       cmocka_unit_test(test_nothing_attached), cmocka_unit_test(test_a20),
                                       cmocka_unit_test(test_reset_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
