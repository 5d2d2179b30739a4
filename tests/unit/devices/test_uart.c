/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The UART on its own and through the steps of Linux's 8250 driver. */
#include "fixture.h"

#define B 0x3f8
enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct chardev *chr;

static struct fix *start(void)
{
    struct fix *f = fix_new();
    assert_int_equal(pic_create(f->b), 0);
    init_pics(f);
    chr = chardev_fn(f->b, fix_output, f);
    assert_int_equal(uart_create(f->b, B, 4, chr), 0);
    return f;
}

static u8 rd(struct fix *f, int r)
{
    return inb(f, B + r);
}

static void wr(struct fix *f, int r, u8 v)
{
    outb(f, B + r, v);
}

static bool irq4(struct fix *f)
{
    outb(f, 0x20, 0x0a);
    return inb(f, 0x20) & 0x10;
}

static int feed(struct fix *f, const void *p, int n)
{
    bus_lock(f->b);
    int r = chardev_feed(chr, p, n);
    bus_unlock(f->b);
    return r;
}

static void test_registers(void **st)
{
    struct fix *f = start();
    assert_int_equal(rd(f, LSR), 0x60);
    assert_int_equal(rd(f, MSR), 0xb0);
    assert_int_equal(rd(f, IIR), 0x01);
    for (int v = 0; v < 256; v++) {
        wr(f, SCR, v);
        assert_int_equal(rd(f, SCR), v);
        wr(f, LCR, v);
        assert_int_equal(rd(f, LCR), v);
        wr(f, LCR, 0);
        wr(f, IER, v);
        assert_int_equal(rd(f, IER), v & 0x0f);
        wr(f, MCR, v);
        assert_int_equal(rd(f, MCR), v & 0x1f);
    }
    wr(f, IER, 0);
    wr(f, LCR, 0x83);
    wr(f, RBR, 0x34);
    wr(f, IER, 0x12);
    assert_int_equal(rd(f, RBR), 0x34);
    assert_int_equal(rd(f, IER), 0x12);
    wr(f, LCR, 0x03);
    assert_int_equal(rd(f, IER), 0);
    assert_int_equal(f->out_len, 0);
    bus_reset(f->b);
    assert_int_equal(rd(f, LCR), 0);
    assert_int_equal(rd(f, SCR), 0);
    fix_free(f);
}

/* autoconfig() of drivers/tty/serial/8250/8250_port.c */
static void test_linux_autoconfig(void **st)
{
    struct fix *f = start();
    wr(f, IER, 0);
    assert_int_equal(rd(f, IER) & 0x0f, 0);
    wr(f, IER, 0x0f);
    assert_int_equal(rd(f, IER) & 0x0f, 0x0f);
    wr(f, IER, 0);
    u8 mcr = rd(f, MCR), lcr = rd(f, LCR);
    wr(f, MCR, 0x10 | 0x0a);
    assert_int_equal(rd(f, MSR) & 0xf0, 0x90);
    wr(f, MCR, mcr);
    wr(f, LCR, 0xbf);
    wr(f, 2, 0); /* EFR */
    wr(f, LCR, 0);
    wr(f, IIR, 1);
    assert_int_equal(rd(f, IIR) >> 6, 3); /* 16550A */
    wr(f, LCR, 0x80);
    assert_int_not_equal(rd(f, 2), 0); /* no EFR in mode A */
    wr(f, LCR, 0xbf);
    assert_int_not_equal(rd(f, 2), 0); /* nor in mode B */
    wr(f, LCR, 0);                     /* National Super I/O test */
    u8 s1 = rd(f, MCR);
    wr(f, LCR, 0xe0);
    u8 s2 = rd(f, 2);
    assert_int_equal((s1 ^ s2) & 0x10, 0);
    wr(f, LCR, 0);
    wr(f, MCR, s1 ^ 0x10);
    wr(f, LCR, 0xe0);
    s2 = rd(f, 2);
    wr(f, LCR, 0);
    wr(f, MCR, s1);
    assert_int_equal((s1 ^ s2) & 0x10, 0);
    wr(f, IIR, 1); /* 16750 test */
    assert_int_equal(rd(f, IIR) >> 5, 6);
    wr(f, IIR, 0x21);
    assert_int_equal(rd(f, IIR) >> 5, 6);
    wr(f, LCR, 0x80);
    wr(f, IIR, 0x21);
    assert_int_equal(rd(f, IIR) >> 5, 6);
    wr(f, LCR, 0);
    wr(f, IIR, 1);
    wr(f, IER, 0x40); /* XScale UUE must not stick */
    assert_int_equal(rd(f, IER), 0);
    wr(f, LCR, lcr);
    fix_free(f);
}

static void test_size_fifo(void **st)
{
    struct fix *f = start();
    wr(f, LCR, 0);
    wr(f, IIR, 0x07);
    wr(f, MCR, 0x10);
    wr(f, LCR, 0x80);
    wr(f, 0, 1);
    wr(f, 1, 0);
    wr(f, LCR, 3);
    for (int i = 0; i < 256; i++)
        wr(f, 0, i);
    int n = 0;
    bool overrun = false;
    for (u8 lsr; n < 256 && ((lsr = rd(f, LSR)) & 1); n++) {
        overrun |= lsr & 2;
        assert_int_equal(rd(f, RBR), n);
    }
    assert_int_equal(n, 16);
    assert_true(overrun);
    assert_int_equal(f->out_len, 0);
    fix_free(f);
}

/* The THRE and TXEN tests of serial8250_do_startup(). */
static void test_linux_startup(void **st)
{
    struct fix *f = start();
    wr(f, IIR, 1);
    wr(f, IIR, 7);
    wr(f, IIR, 0);
    rd(f, LSR), rd(f, RBR), rd(f, IIR), rd(f, MSR);
    assert_int_not_equal(rd(f, LSR), 0xff);
    wr(f, IER, 2);
    u8 iir1 = rd(f, IIR);
    wr(f, IER, 0);
    wr(f, IER, 2);
    u8 iir = rd(f, IIR);
    wr(f, IER, 0);
    assert_int_equal(iir1 & 0x0f, 2);
    assert_int_equal(iir & 0x0f, 2);
    wr(f, LCR, 3);
    wr(f, MCR, 0x0b);
    wr(f, IER, 2);
    assert_true(rd(f, LSR) & 0x40);
    assert_int_equal(rd(f, IIR) & 1, 0);
    wr(f, IER, 0);
    fix_free(f);
}

/* An interrupt-driven console: each burst of 16 makes one interrupt, until the driver switches THRI off. */
static void test_thre_interrupts(void **st)
{
    struct fix *f = start();
    wr(f, IIR, 0xc1);
    wr(f, MCR, 0x0b);
    wr(f, IER, 0x05);
    assert_false(irq4(f));
    int left = 100, irqs = 0, sent = 0;
    wr(f, IER, 0x07);
    while (irq4(f)) {
        assert_int_equal(bus_intr_ack(f->b), 0x34);
        irqs++;
        while (!((rd(f, IIR)) & 1)) {
            for (int i = 0; i < 16 && left; i++, left--)
                wr(f, 0, 'a' + sent++ % 26);
            if (!left)
                wr(f, IER, 0x05);
        }
        outb(f, 0x20, 0x20);
    }
    assert_int_equal(left, 0);
    assert_int_equal(f->out_len, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(f->out[i], 'a' + i % 26);
    /* IIR read clears it; the next written byte brings it back, with an edge. */
    wr(f, IER, 0x02);
    assert_int_equal(rd(f, IIR) & 0x0f, 2);
    assert_int_equal(rd(f, IIR) & 0x0f, 1);
    while (bus_intr_ack(f->b) >= 0)
        outb(f, 0x20, 0x20);
    wr(f, 0, 'x');
    assert_true(irq4(f));
    bus_intr_ack(f->b);
    outb(f, 0x20, 0x20);
    wr(f, 0, 'y'); /* again an edge although the request was not served */
    assert_true(irq4(f));
    fix_free(f);
}

static void test_out2_gates_irq(void **st)
{
    struct fix *f = start();
    wr(f, IER, 2);
    assert_false(irq4(f));
    wr(f, MCR, 8);
    assert_true(irq4(f));
    wr(f, MCR, 0x18);
    assert_false(irq4(f));
    fix_free(f);
}

static void test_receive_trigger(void **st)
{
    static const int level[4] = {1, 4, 8, 14};
    for (int t = 0; t < 4; t++) {
        struct fix *f = start();
        wr(f, LCR, 0x83);
        wr(f, 0, 1);
        wr(f, LCR, 3);
        wr(f, IIR, 1 | t << 6);
        wr(f, MCR, 8);
        wr(f, IER, 1);
        for (int i = 1; i < level[t]; i++) {
            assert_int_equal(feed(f, "x", 1), 1);
            assert_int_equal(rd(f, IIR), 0xc1);
        }
        if (level[t] > 1) { /* character time-out */
            assert_false(irq4(f));
            advance(f, MS(1));
            assert_true(irq4(f));
            assert_int_equal(rd(f, IIR), 0xcc);
            assert_int_equal(rd(f, RBR), 'x');
            assert_int_equal(rd(f, IIR), 0xc1); /* cleared by the read */
            feed(f, "x", 1);
        }
        feed(f, "y", 1);
        assert_int_equal(rd(f, IIR), 0xc4);
        assert_true(irq4(f));
        for (int i = 1; i < level[t]; i++)
            assert_int_equal(rd(f, RBR), 'x');
        assert_int_equal(rd(f, LSR), 0x61);
        assert_int_equal(rd(f, RBR), 'y');
        assert_int_equal(rd(f, LSR), 0x60);
        assert_int_equal(rd(f, IIR), 0xc1);
        assert_false(irq4(f));
        fix_free(f);
    }
}

static void test_flow_control(void **st)
{
    struct fix *f = start();
    u8 data[4000], got[4000];
    for (int i = 0; i < 4000; i++)
        data[i] = i * 7 + (i >> 8);
    wr(f, IIR, 0x81);
    wr(f, MCR, 8);
    wr(f, IER, 1);
    assert_int_equal(feed(f, data, 4000), 4000);
    int n = 0;
    u64 begin = f->now;
    for (int idle = 0; n < 4000 && idle < 1000000; idle++) {
        advance(f, US(5));
        u8 lsr = rd(f, LSR);
        assert_int_equal(lsr & 0x9e, 0);
        if (lsr & 1)
            got[n++] = rd(f, RBR);
    }
    assert_int_equal(n, 4000);
    assert_memory_equal(data, got, 4000);
    assert_true(f->now - begin > MS(200)); /* paced */
    assert_true(f->now - begin < MS(400));
    /* The reader stops: the back end fills, and says so. */
    int total = 0, r;
    while ((r = feed(f, data, 4000)) > 0)
        total += r;
    assert_in_range(total, 4096, 4096 + 64);
    fix_free(f);
}

static void test_early_input_survives_probing(void **st)
{
    struct fix *f = start();
    feed(f, "hello", 5);
    assert_int_equal(rd(f, LSR), 0x60); /* nobody listens yet */
    for (int i = 0; i < 1000; i++) {    /* a polling console's output is not listening */
        assert_int_equal(rd(f, LSR), 0x60);
        wr(f, 0, '.');
    }
    wr(f, IIR, 7);
    wr(f, IIR, 0);
    rd(f, RBR);
    wr(f, IIR, 1);
    wr(f, IER, 1);
    assert_int_equal(rd(f, RBR), 'h');
    /* Closed and opened again, as when init takes the console over. */
    wr(f, IER, 0);
    wr(f, IIR, 7);
    wr(f, IIR, 0);
    assert_int_equal(rd(f, LSR), 0x60);
    rd(f, RBR);
    wr(f, IIR, 1);
    wr(f, IER, 5);
    char got[5] = {0};
    advance(f, MS(2));
    for (int i = 0; rd(f, LSR) & 1; i++)
        got[i] = rd(f, RBR);
    assert_string_equal(got, "ello");
    fix_free(f);
}

static void test_polling_guest(void **st)
{
    struct fix *f = start();
    feed(f, "ab", 2);
    int i = 0;
    while (!(rd(f, LSR) & 1) && i < 100)
        i++;
    assert_true(i < 100);
    assert_int_equal(rd(f, RBR), 'a');
    for (i = 0; !(rd(f, LSR) & 1) && i < 100; i++)
        ;
    assert_int_equal(rd(f, RBR), 'b');
    fix_free(f);
}

static void test_loopback(void **st)
{
    struct fix *f = start();
    rd(f, MSR);
    wr(f, MCR, 0x10);
    assert_int_equal(rd(f, MSR), 0x0b); /* CTS, DSR, DCD fell */
    wr(f, MCR, 0x1f);
    assert_int_equal(rd(f, MSR), 0xfb);
    wr(f, MCR, 0x1b);
    assert_int_equal(rd(f, MSR), 0xb4); /* RI: trailing edge */
    wr(f, IER, 8);
    assert_int_equal(rd(f, IIR), 1);
    wr(f, MCR, 0x10);
    assert_int_equal(rd(f, IIR), 0);
    rd(f, MSR);
    assert_int_equal(rd(f, IIR), 1);
    wr(f, IER, 1);
    wr(f, 0, 0x77);
    assert_int_equal(rd(f, IIR), 4);
    wr(f, 0, 0x78); /* 16450 mode: overrun replaces it */
    assert_int_equal(rd(f, LSR), 0x63);
    assert_int_equal(rd(f, LSR), 0x61);
    assert_int_equal(rd(f, RBR), 0x78);
    assert_int_equal(f->out_len, 0);
    wr(f, IER, 5);
    wr(f, 0, 1);
    wr(f, 0, 2);
    assert_int_equal(rd(f, IIR), 6); /* line status first */
    rd(f, LSR);
    assert_int_equal(rd(f, IIR), 4);
    fix_free(f);
}

static void test_no_backend(void **st)
{
    struct fix *f = fix_new();
    assert_int_equal(uart_create(f->b, 0x2f8, 3, NULL), 0);
    outb(f, 0x2f8, 'x');
    assert_int_equal(inb(f, 0x2fd), 0x60);
    assert_int_equal(bus_in(f->b, 0x2f8, 2), 0); /* two byte accesses */
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_registers),
                                       cmocka_unit_test(test_linux_autoconfig),
                                       cmocka_unit_test(test_size_fifo),
                                       cmocka_unit_test(test_linux_startup),
                                       cmocka_unit_test(test_thre_interrupts),
                                       cmocka_unit_test(test_out2_gates_irq),
                                       cmocka_unit_test(test_receive_trigger),
                                       cmocka_unit_test(test_flow_control),
                                       cmocka_unit_test(test_early_input_survives_probing),
                                       cmocka_unit_test(test_polling_guest),
                                       cmocka_unit_test(test_loopback),
                                       cmocka_unit_test(test_no_backend)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
