/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fixture.h"

#define HZ 1193182ull

static struct fix *start(void)
{
    struct fix *f = fix_new();
    assert_int_equal(pic_create(f->b), 0);
    assert_int_equal(pit_create(f->b), 0);
    init_pics(f);
    f->now = SECS(5); /* tick 5 * HZ begins exactly here */
    return f;
}

/* Sets the clock to the middle of the n-th tick after second 5. */
static void to_tick(struct fix *f, u64 n)
{
    u64 at = SECS(5) + (n * 1000000000ull + HZ / 2) / HZ + 100;
    assert_true(at >= f->now);
    advance(f, at - f->now);
}

static u16 read16(struct fix *f, u16 port)
{
    u8 lo = inb(f, port);
    return lo | inb(f, port) << 8;
}

static void load16(struct fix *f, u16 port, u16 v)
{
    outb(f, port, v);
    outb(f, port, v >> 8);
}

static bool out2(struct fix *f)
{
    return inb(f, 0x61) & 0x20;
}

static u8 status(struct fix *f, int ch)
{
    outb(f, 0x43, 0xe0 | 2 << ch);
    return inb(f, 0x40 + ch);
}

static int ack_eoi(struct fix *f)
{
    int v = bus_intr_ack(f->b);
    outb(f, 0x20, 0x20);
    return v;
}

static void test_mode0(void **st)
{
    struct fix *f = start();
    outb(f, 0x61, 1);
    outb(f, 0x43, 0xb0);
    assert_false(out2(f));
    load16(f, 0x42, 100);
    to_tick(f, 1);
    assert_int_equal(read16(f, 0x42), 100);
    to_tick(f, 2);
    assert_int_equal(read16(f, 0x42), 99);
    to_tick(f, 100);
    assert_int_equal(read16(f, 0x42), 1);
    assert_false(out2(f));
    to_tick(f, 101); /* N + 1 clocks after the write */
    assert_int_equal(read16(f, 0x42), 0);
    assert_true(out2(f));
    to_tick(f, 103);
    assert_int_equal(read16(f, 0x42), 0xfffe); /* counts on */
    assert_true(out2(f));
    /* The first byte of a new count stops it and pulls the output down. */
    outb(f, 0x42, 10);
    assert_false(out2(f));
    to_tick(f, 200);
    assert_false(out2(f));
    outb(f, 0x42, 0);
    to_tick(f, 210);
    assert_false(out2(f));
    to_tick(f, 211);
    assert_true(out2(f));
    fix_free(f);
}

static void test_mode0_gate(void **st)
{
    struct fix *f = start();
    outb(f, 0x61, 1);
    outb(f, 0x43, 0xb0);
    load16(f, 0x42, 100);
    to_tick(f, 11);
    assert_int_equal(read16(f, 0x42), 90);
    outb(f, 0x61, 0);
    to_tick(f, 500);
    assert_int_equal(read16(f, 0x42), 90);
    assert_false(out2(f));
    outb(f, 0x61, 1);
    to_tick(f, 589);
    assert_int_equal(read16(f, 0x42), 1);
    assert_false(out2(f));
    to_tick(f, 590);
    assert_true(out2(f));
    fix_free(f);
}

static void test_mode1(void **st)
{
    struct fix *f = start();
    outb(f, 0x61, 0);
    outb(f, 0x43, 0xb2);
    assert_true(out2(f));
    load16(f, 0x42, 50);
    assert_int_equal(status(f, 2) & 0x40, 0x40); /* not loaded before the trigger */
    to_tick(f, 100);
    assert_true(out2(f));
    outb(f, 0x61, 1);
    to_tick(f, 102);
    assert_false(out2(f));
    to_tick(f, 150);
    assert_false(out2(f));
    to_tick(f, 151);
    assert_true(out2(f));
    /* Retriggered in the middle, with a new count waiting. */
    outb(f, 0x61, 0);
    outb(f, 0x61, 1);
    to_tick(f, 170);
    load16(f, 0x42, 20);
    to_tick(f, 180);
    outb(f, 0x61, 0);
    assert_false(out2(f)); /* the gate's fall does nothing */
    outb(f, 0x61, 1);
    to_tick(f, 200);
    assert_false(out2(f));
    to_tick(f, 201);
    assert_true(out2(f));
    fix_free(f);
}

static void test_mode2(void **st)
{
    struct fix *f = start();
    outb(f, 0x61, 1);
    outb(f, 0x43, 0xb4);
    load16(f, 0x42, 10);
    for (int i = 0; i < 35; i++) {
        to_tick(f, 1 + i);
        assert_int_equal(read16(f, 0x42), 10 - i % 10);
        assert_int_equal(out2(f), i % 10 != 9);
    }
    /* A new count waits for the end of the period: loaded at tick 41. */
    load16(f, 0x42, 4);
    assert_int_equal(status(f, 2) & 0x40, 0x40);
    to_tick(f, 40);
    assert_int_equal(read16(f, 0x42), 1);
    to_tick(f, 41);
    assert_int_equal(read16(f, 0x42), 4);
    assert_int_equal(status(f, 2) & 0x40, 0);
    to_tick(f, 44);
    assert_false(out2(f));
    to_tick(f, 45);
    assert_int_equal(read16(f, 0x42), 4);
    /* Gate low: high at once, stopped; gate up: from the start. */
    to_tick(f, 48);
    outb(f, 0x61, 0);
    assert_true(out2(f));
    to_tick(f, 60);
    outb(f, 0x61, 1);
    to_tick(f, 61);
    assert_int_equal(read16(f, 0x42), 4);
    fix_free(f);
}

static void test_mode3(void **st)
{
    struct fix *f = start();
    outb(f, 0x61, 1);
    outb(f, 0x43, 0xb6);
    load16(f, 0x42, 8);
    for (int i = 0; i < 20; i++) {
        to_tick(f, 1 + i);
        assert_int_equal(read16(f, 0x42), 8 - 2 * (i % 4));
        assert_int_equal(out2(f), i % 8 < 4);
    }
    outb(f, 0x43, 0xb6);
    load16(f, 0x42, 5); /* odd: three high, two low */
    static const u8 val[5] = {4, 2, 0, 4, 2};
    for (int i = 0; i < 20; i++) {
        to_tick(f, 21 + i);
        assert_int_equal(out2(f), i % 5 < 3);
        assert_int_equal(read16(f, 0x42), val[i % 5]);
    }
    /* A new count in the high half takes over for the low half. */
    outb(f, 0x43, 0xb6);
    load16(f, 0x42, 20); /* tick 40: loaded at 41, high until 51 */
    to_tick(f, 45);
    load16(f, 0x42, 6);
    to_tick(f, 50);
    assert_true(out2(f));
    to_tick(f, 51);
    assert_false(out2(f));
    to_tick(f, 53);
    assert_false(out2(f));
    to_tick(f, 54);
    assert_true(out2(f));
    to_tick(f, 57);
    assert_false(out2(f));
    fix_free(f);
}

static void test_mode4_5(void **st)
{
    struct fix *f = start();
    outb(f, 0x61, 1);
    outb(f, 0x43, 0xb8);
    load16(f, 0x42, 6);
    to_tick(f, 6);
    assert_true(out2(f));
    to_tick(f, 7);
    assert_false(out2(f));
    to_tick(f, 8);
    assert_true(out2(f));
    assert_int_equal(read16(f, 0x42), 0xffff);

    outb(f, 0x61, 0);
    outb(f, 0x43, 0xba);
    load16(f, 0x42, 6);
    to_tick(f, 50);
    assert_true(out2(f));
    outb(f, 0x61, 1);
    to_tick(f, 56);
    assert_true(out2(f));
    to_tick(f, 57);
    assert_false(out2(f));
    to_tick(f, 58);
    assert_true(out2(f));
    fix_free(f);
}

static void test_bcd(void **st)
{
    struct fix *f = start();
    outb(f, 0x61, 1);
    outb(f, 0x43, 0xb1);
    load16(f, 0x42, 0x1000);
    to_tick(f, 2);
    assert_int_equal(read16(f, 0x42), 0x0999);
    to_tick(f, 1002);
    assert_int_equal(read16(f, 0x42), 0x9999);
    outb(f, 0x43, 0xb5);
    load16(f, 0x42, 0); /* 10000 */
    to_tick(f, 1004);
    assert_int_equal(read16(f, 0x42), 0x9999);
    load16(f, 0x42, 0xffff); /* not BCD: anything, but safe */
    to_tick(f, 30000);
    read16(f, 0x42);
    fix_free(f);
}

static void test_latch_and_readback(void **st)
{
    struct fix *f = start();
    outb(f, 0x61, 1);
    outb(f, 0x43, 0xb4);
    load16(f, 0x42, 1000);
    to_tick(f, 101);
    outb(f, 0x43, 0x80); /* latch 2 */
    to_tick(f, 201);
    outb(f, 0x43, 0x80); /* ignored */
    assert_int_equal(read16(f, 0x42), 900);
    assert_int_equal(read16(f, 0x42), 800);
    outb(f, 0x43, 0xc8); /* status and count of 2 */
    to_tick(f, 301);
    assert_int_equal(inb(f, 0x42), 0xb4); /* out, lo/hi, mode 2 */
    assert_int_equal(read16(f, 0x42), 800);
    assert_int_equal(read16(f, 0x42), 700);
    /* LSB only and MSB only. */
    outb(f, 0x43, 0x94);
    outb(f, 0x42, 50);
    to_tick(f, 312);
    assert_int_equal(inb(f, 0x42), 40);
    outb(f, 0x43, 0xa4);
    outb(f, 0x42, 2);
    to_tick(f, 315);
    assert_int_equal(inb(f, 0x42), 1); /* 01FEh */
    assert_int_equal(inb(f, 0x42), 1);
    assert_int_equal(inb(f, 0x43), 0xff);
    fix_free(f);
}

/* As Linux's quick_pit_calibrate() and pit_calibrate_tsc() use channel 2. */
static void test_linux_calibration(void **st)
{
    struct fix *f = start();
    outb(f, 0x61, (inb(f, 0x61) & ~2) | 1);
    outb(f, 0x43, 0xb0);
    load16(f, 0x42, 0xffff);
    f->now += 2000;
    inb(f, 0x42);
    assert_int_equal(inb(f, 0x42), 0xff);
    /* Each high byte lasts 256 clocks. */
    u64 t0 = 0;
    for (int want = 0xfe; want >= 0xf0; want--) {
        u8 hi;
        do {
            f->now += 500;
            inb(f, 0x42);
            hi = inb(f, 0x42);
        } while (hi > want);
        assert_int_equal(hi, want);
        if (t0) {
            i64 err = (i64)(f->now - t0) - (i64)(256 * 1000000000ull / HZ);
            assert_true(err > -2000 && err < 2000);
        }
        t0 = f->now;
    }
    u32 latch = HZ * 10 / 1000;
    outb(f, 0x43, 0xb0);
    outb(f, 0x42, latch);
    u64 begin = f->now;
    outb(f, 0x42, latch >> 8);
    while (!(inb(f, 0x61) & 0x20))
        f->now += 1000;
    assert_in_range(f->now - begin, 9990000, 10010000);
    fix_free(f);
}

/* A loop that polls output 2 and is not run for a while finds it low once more; one that looks now and then
 * does not. */
static void test_busy_poll(void **st)
{
    for (int busy = 0; busy < 2; busy++) {
        struct fix *f = start();
        outb(f, 0x43, 0xb0); /* channel 2, mode 0 */
        outb(f, 0x61, 1);
        load16(f, 0x42, 12000); /* 10.06 ms */
        for (int i = 0; i < (busy ? 100 : 50); i++) {
            advance(f, busy ? 1000 : 150000);
            assert_false(out2(f));
        }
        advance(f, 15000000);
        assert_int_equal(out2(f), !busy);
        advance(f, 1000);
        assert_true(out2(f));
        fix_free(f);
    }
}

static void test_refresh_and_61(void **st)
{
    struct fix *f = start();
    int toggles = 0;
    u8 was = inb(f, 0x61) & 0x10;
    for (int i = 0; i < 1000; i++) {
        f->now += 1000;
        u8 is = inb(f, 0x61) & 0x10;
        toggles += is != was;
        was = is;
    }
    assert_in_range(toggles, 65, 67);
    outb(f, 0x61, 0xff);
    assert_int_equal(inb(f, 0x61) & 0xcf, 0x0f);
    fix_free(f);
}

static int count_ticks(struct fix *f, u64 ns)
{
    int n = 0;
    u64 end = f->now + ns;
    while (f->now < end) {
        advance(f, US(10));
        while (f->intr) {
            assert_int_equal(ack_eoi(f), 0x30);
            n++;
        }
    }
    return n;
}

static void test_irq_periodic(void **st)
{
    struct fix *f = start();
    outb(f, 0x43, 0x34);
    load16(f, 0x40, 4773); /* 250 Hz */
    assert_int_equal(count_ticks(f, SECS(2) + US(100)), 499 + 1);
    outb(f, 0x43, 0x36);
    load16(f, 0x40, 0); /* 18.2 Hz */
    ack_eoi(f);
    assert_in_range(count_ticks(f, SECS(2)), 36, 37);
    fix_free(f);
}

static void test_irq_oneshot(void **st)
{
    struct fix *f = start();
    /* As Linux: mode 4, lo/hi, a count for each event. */
    outb(f, 0x43, 0x38);
    while (f->intr)
        ack_eoi(f); /* mode change may make an edge */
    for (int i = 0; i < 10; i++) {
        load16(f, 0x40, 1193 * (i + 1));
        assert_int_equal(count_ticks(f, MS(i + 1) - US(20)), 0);
        assert_int_equal(count_ticks(f, US(50)), 1);
    }
    assert_int_equal(count_ticks(f, SECS(1)), 0);
    /* Mode 0 as well; the line stays up. */
    outb(f, 0x43, 0x30);
    load16(f, 0x40, 1193);
    assert_int_equal(count_ticks(f, MS(3)), 1);
    assert_int_equal(count_ticks(f, SECS(1)), 0);
    fix_free(f);
}

static void test_backlog(void **st)
{
    struct fix *f = start();
    outb(f, 0x43, 0x34);
    load16(f, 0x40, 1193); /* 1000 Hz */
    count_ticks(f, MS(100));
    stall(f, MS(20)); /* the host was away */
    int n = 0;
    while (f->intr) { /* one at a time, each after an acknowledge */
        assert_int_equal(bus_intr_ack(f->b), 0x30);
        assert_int_equal(f->intr, 0);
        outb(f, 0x20, 0x20);
        n++;
    }
    assert_in_range(n, 19, 21);
    stall(f, SECS(100)); /* bounded */
    n = 0;
    while (f->intr) {
        ack_eoi(f);
        n++;
    }
    assert_in_range(n, 200, 256);
    /* Masked: what was missed is not made up for, beyond the request that the PIC holds. */
    outb(f, 0x21, 0x01);
    stall(f, MS(50));
    outb(f, 0x21, 0x00);
    n = 0;
    while (f->intr) {
        ack_eoi(f);
        n++;
    }
    assert_int_equal(n, 1);
    fix_free(f);
}

static void test_rate_limit(void **st)
{
    struct fix *f = start();
    static const u16 counts[] = {1, 2, 3, 10};
    for (int mode = 0; mode < 6; mode++) {
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
            outb(f, 0x43, 0x30 | mode << 1);
            load16(f, 0x40, counts[i]);
            f->fired = 0;
            advance(f, MS(100)); /* not acknowledged */
            assert_true(f->fired <= 2100);
            f->fired = 0;
            int n = count_ticks(f, MS(100));
            assert_true(n <= 2100);
            assert_true(f->fired <= 2100);
            if (mode == 2 || mode == 3)
                assert_true(n >= 1900);
        }
    }
    fix_free(f);
}

static void test_no_count(void **st)
{
    struct fix *f = start();
    outb(f, 0x43, 0x34);
    advance(f, SECS(1));
    assert_int_equal(f->fired, 0);
    read16(f, 0x40);
    bus_reset(f->b);
    assert_int_equal(read16(f, 0x40), 0);
    assert_int_equal(inb(f, 0x61) & 0x2f, 0);
    fix_free(f);
}

static void test_reset_stops(void **st)
{
    struct fix *f = start();
    outb(f, 0x43, 0x34);
    load16(f, 0x40, 1193);
    bus_reset(f->b);
    advance(f, SECS(1));
    assert_int_equal(f->fired, 0);
    fix_free(f);
}

static int quick(struct bus *b, u16 port)
{
    const struct port_table *t = bus_port_table(b);
    u16 entry = t->port[port];
    assert_true(entry & BUS_PORT_QUICK);
    return t->quick[entry & 0xff].read(t->quick[entry & 0xff].opaque, port);
}

static u64 stands_still(void *opaque)
{
    return *(u64 *)opaque;
}

/* The quick functions of 40h-42h and 61h give what a read gives, in turn with it, or say no and change
 * nothing. */
static void test_quick(void **state)
{
    struct bus_host h = {.quick_ports = true}, without = {0};
    struct bus *b = bus_create(&h), *slow = bus_create(&without);
    u64 now = 12345678;
    u32 seen = 0;
    int first = -1;
    assert_int_equal(pit_create(b), 0);
    assert_int_equal(pit_create(slow), 0);
    assert_int_equal(bus_port_table(slow)->port[0x40], 0); /* nobody asked for them */
    bus_destroy(slow);
    bus_reset(b); /* they stay */
    bus_out(b, 0x61, 1, 1);
    bus_out(b, 0x43, 1, 0xb0);
    bus_out(b, 0x42, 1, 0xff);
    bus_out(b, 0x42, 1, 0xff);
    assert_int_equal(quick(b, 0x43), -1);
    /* There is no line through the host's counter before a millisecond, and on some hosts never. */
    for (u64 until = bus_now(b) + 100000000u; first < 0 && bus_now(b) < until;)
        first = quick(b, 0x61);
    for (u32 n = 0; first >= 0 && n < 100; n++) {
        bus_out(b, 0x43, 1, 0x80); /* latched: nothing depends on the time */
        int lo = n & 1 ? quick(b, 0x42) : (int)bus_in(b, 0x42, 1),
            hi = n & 2 ? quick(b, 0x42) : (int)bus_in(b, 0x42, 1);
        if (lo < 0 || hi < 0) { /* the line has just ended: the other half is read next */
            (void)bus_in(b, 0x42, 1);
            (void)bus_in(b, 0x42, 1);
            bus_out(b, 0x43, 1, 0xb0);
            bus_out(b, 0x42, 1, 0xff);
            bus_out(b, 0x42, 1, 0xff);
            continue;
        }
        bus_out(b, 0x43, 1, 0xe8 & ~0x10); /* status and count of counter 2: the status comes first */
        int status = n & 1 ? quick(b, 0x42) : (int)bus_in(b, 0x42, 1);
        assert_int_equal(status < 0 ? 0x30 : status & 0x3f, 0x30);
        (void)bus_in(b, 0x42, 1);
        (void)bus_in(b, 0x42, 1);
        if (status < 0)
            (void)bus_in(b, 0x42, 1);
        int port61 = quick(b, 0x61);
        assert_true(port61 < 0 || (port61 & 0x0f) == 1);
    }
    /* Counter 0: an edge to give, and a count that waits for one, are not for the quick function. */
    for (u32 n = 0; first >= 0 && n < 20; n++) {
        bus_out(b, 0x43, 1, 0x14);
        bus_out(b, 0x40, 1, 200); /* 168 us */
        int free = quick(b, 0x40);
        assert_true(free < 0 || (free >= 1 && free <= 200));
        for (u64 until = bus_now(b) + 200000; bus_now(b) < until;)
            continue;
        assert_int_equal(quick(b, 0x40), -1); /* an edge */
        (void)bus_in(b, 0x40, 1);
        bus_out(b, 0x40, 1, 100);
        assert_int_equal(quick(b, 0x40), -1); /* 100 waits, or an edge came */
        for (u64 until = bus_now(b) + 200000; bus_now(b) < until;)
            continue;
        assert_int_equal(quick(b, 0x40), -1);
        assert_in_range(bus_in(b, 0x40, 1), 1, 100);
        free = quick(b, 0x40);
        assert_true(free < 0 || (free >= 1 && free <= 100));
        seen += free >= 0;
    }
    assert_true(first < 0 || seen);
    bus_set_clock(b, stands_still, &now);
    bus_out(b, 0x43, 1, 0xb0);
    bus_out(b, 0x42, 1, 0x34);
    bus_out(b, 0x42, 1, 0x12);
    assert_int_equal(quick(b, 0x42), -1); /* a clock of somebody's */
    assert_int_equal(quick(b, 0x61), -1);
    now += 1000000; /* 1193 ticks */
    u32 lo = bus_in(b, 0x42, 1);
    assert_int_equal(quick(b, 0x42), -1);
    u32 count = lo | bus_in(b, 0x42, 1) << 8;
    assert_in_range(count, 0x1234 - 1195, 0x1234 - 1190);
    bus_set_clock(b, NULL, NULL);
    bus_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mode0),
                                       cmocka_unit_test(test_quick),
                                       cmocka_unit_test(test_mode0_gate),
                                       cmocka_unit_test(test_mode1),
                                       cmocka_unit_test(test_mode2),
                                       cmocka_unit_test(test_mode3),
                                       cmocka_unit_test(test_mode4_5),
                                       cmocka_unit_test(test_bcd),
                                       cmocka_unit_test(test_latch_and_readback),
                                       cmocka_unit_test(test_linux_calibration),
                                       cmocka_unit_test(test_busy_poll),
                                       cmocka_unit_test(test_refresh_and_61),
                                       cmocka_unit_test(test_irq_periodic),
                                       cmocka_unit_test(test_irq_oneshot),
                                       cmocka_unit_test(test_backlog),
                                       cmocka_unit_test(test_rate_limit),
                                       cmocka_unit_test(test_no_count),
                                       cmocka_unit_test(test_reset_stops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
