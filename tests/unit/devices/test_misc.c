/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug console, debug exit, DMA and POST registers. */
#include "fixture.h"
#include <errno.h>

static void test_debugcon(void **st)
{
    struct fix *f = fix_new();
    assert_int_equal(debugcon_create(f->b, 0xe9, chardev_fn(f->b, fix_output, f)), 0);
    assert_int_equal(inb(f, 0xe9), 0xe9);
    outb(f, 0xe9, 'o');
    bus_out(f->b, 0xe9, 2, 'k' | '!' << 8); /* the second byte is another port's */
    assert_int_equal(f->out_len, 2);
    assert_memory_equal(f->out, "ok", 2);
    fix_free(f);
}

static void test_debug_exit(void **st)
{
    struct fix *f = fix_new();
    assert_int_equal(debug_exit_create(f->b, 0xffff, 4), -EINVAL);
    assert_int_equal(debug_exit_create(f->b, 0xf4, 4), 0);
    assert_int_equal(bus_in(f->b, 0xf4, 4), 0);
    assert_int_equal(f->quits, 0);
    bus_out(f->b, 0xf4, 4, 0x10);
    assert_int_equal(f->quits, 1);
    assert_int_equal(f->status, 0x21);
    outb(f, 0xf4, 0);
    assert_int_equal(f->status, 1);
    bus_out(f->b, 0xf6, 2, 0x7f);
    assert_int_equal(f->status, 0xff);
    fix_free(f);
}

static void test_dma(void **st)
{
    struct fix *f = fix_new();
    assert_int_equal(dma_create(f->b), 0);
    for (int p = 0x80; p < 0x90; p++) {
        outb(f, p, p * 3);
        assert_int_equal(inb(f, p), (u8)(p * 3));
    }
    outb(f, 0x0d, 0);
    outb(f, 0x02, 0x34);
    outb(f, 0x02, 0x12);
    assert_int_equal(inb(f, 0x02), 0x34);
    outb(f, 0x0c, 0); /* clears the flip-flop */
    assert_int_equal(inb(f, 0x02), 0x34);
    assert_int_equal(inb(f, 0x02), 0x12);
    assert_int_equal(inb(f, 0x08), 0);
    assert_int_equal(inb(f, 0x0f), 0xff);
    outb(f, 0x0a, 2); /* unmask channel 2 */
    assert_int_equal(inb(f, 0x0f), 0xfb);
    outb(f, 0xde, 0x05);
    assert_int_equal(inb(f, 0xde), 0xf5);
    outb(f, 0xc4, 0x78);
    outb(f, 0xc4, 0x56);
    assert_int_equal(inb(f, 0xc4), 0x78);
    assert_int_equal(inb(f, 0xc4), 0x56);
    bus_reset(f->b);
    assert_int_equal(inb(f, 0x80), 0);
    assert_int_equal(inb(f, 0x02), 0);
    fix_free(f);
}

/* The parallel port: a byte is printed once for each strobe; ACK is an interrupt if that is let through. */
static void test_parallel(void **st)
{
    struct fix *f = fix_new();
    assert_int_equal(pic_create(f->b), 0);
    assert_int_equal(parallel_create(f->b, 0x378, 7, chardev_fn(f->b, fix_output, f)), 0);
    init_pics(f);
    assert_int_equal(inb(f, 0x379), 0xdf);
    assert_int_equal(inb(f, 0x37a), 0xcc);
    outb(f, 0x378, 'x');
    assert_int_equal(inb(f, 0x378), 'x');
    outb(f, 0x37a, 0x0d);
    assert_int_equal(f->out_len, 0);
    outb(f, 0x37a, 0x0c);
    assert_int_equal(f->out_len, 1);
    assert_int_equal(f->out[0], 'x');
    assert_int_equal(f->intr, 0);
    for (int i = 0; i < 2; i++) {
        outb(f, 0x37a, 0x1d);
        outb(f, 0x37a, 0x1c);
        assert_int_equal(bus_intr_ack(f->b), 0x37);
        outb(f, 0x20, 0x20);
    }
    assert_int_equal(f->out_len, 3);
    outb(f, 0x37a, 0x2d); /* as an input it prints nothing */
    outb(f, 0x37a, 0x2c);
    assert_int_equal(f->out_len, 3);
    assert_int_equal(inb(f, 0x378), 0xff);
    assert_int_equal(parallel_create(f->b, 0x378, 7, chardev_null(f->b)), -17);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_debugcon), cmocka_unit_test(test_debug_exit),
                                       cmocka_unit_test(test_dma), cmocka_unit_test(test_parallel)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
