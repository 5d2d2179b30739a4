/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fixture.h"
#include <errno.h>
#include <time.h>

static struct fix *start(const char *base, u64 ram)
{
    struct fix *f = fix_new();
    f->now = SECS(10);
    assert_int_equal(pic_create(f->b), 0);
    init_pics(f);
    assert_int_equal(rtc_create(f->b, base, ram), 0);
    return f;
}

static u8 get(struct fix *f, u8 reg)
{
    outb(f, 0x70, reg);
    return inb(f, 0x71);
}

static void set(struct fix *f, u8 reg, u8 val)
{
    outb(f, 0x70, reg);
    outb(f, 0x71, val);
}

static void expect_time(struct fix *f, int cc, int yy, int mo, int d, int h, int mi, int s)
{
    assert_int_equal(get(f, 0x32), cc);
    assert_int_equal(get(f, 9), yy);
    assert_int_equal(get(f, 8), mo);
    assert_int_equal(get(f, 7), d);
    assert_int_equal(get(f, 4), h);
    assert_int_equal(get(f, 2), mi);
    assert_int_equal(get(f, 0), s);
}

static bool irq8(struct fix *f)
{
    outb(f, 0xa0, 0x0a);
    return inb(f, 0xa0) & 1;
}

static void test_base(void **st)
{
    struct fix *f = fix_new();
    static const char *const bad[] = {"",
                                      "yesterday",
                                      "2020-13-01",
                                      "2021-02-29",
                                      "2020-02-29T25:00:00",
                                      "2020-02-29x",
                                      "2020-02-29T10:00:00x"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(rtc_create(f->b, bad[i], 0), -EINVAL);
    fix_free(f);
    f = start("2020-02-28T23:59:50", 0);
    expect_time(f, 0x20, 0x20, 0x02, 0x28, 0x23, 0x59, 0x50);
    assert_int_equal(get(f, 6), 6); /* Friday */
    f->now += SECS(15);
    expect_time(f, 0x20, 0x20, 0x02, 0x29, 0x00, 0x00, 0x05);
    assert_int_equal(get(f, 6), 7);
    f->now += SECS(86400ull * 366);
    expect_time(f, 0x20, 0x21, 0x03, 0x01, 0x00, 0x00, 0x05);
    fix_free(f);
    time_t t = time(NULL);
    f = start("utc", 0);
    struct tm tm;
    gmtime_r(&t, &tm);
    int hour = get(f, 4), min = get(f, 2), sec = get(f, 0);
    int got = ((hour >> 4) * 10 + (hour & 15)) * 3600 + ((min >> 4) * 10 + (min & 15)) * 60 +
              (sec >> 4) * 10 + (sec & 15);
    int want = tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;
    assert_true((got - want + 86400) % 86400 <= 2);
    fix_free(f);
    f = start("localtime", 0);
    fix_free(f);
}

static void test_formats(void **st)
{
    struct fix *f = start("2021-12-31T13:45:58", 0);
    set(f, 0x0b, 0x06); /* binary */
    expect_time(f, 0x20, 21, 12, 31, 13, 45, 58);
    set(f, 0x0b, 0x04); /* 12 h */
    assert_int_equal(get(f, 4), 0x81);
    set(f, 0x0b, 0x00);
    assert_int_equal(get(f, 4), 0x81);
    f->now += SECS(3600 * 11);
    assert_int_equal(get(f, 4), 0x12); /* midnight is 12 AM */
    f->now += SECS(3600 * 12);
    assert_int_equal(get(f, 4), 0x92);
    fix_free(f);
}

static void test_set(void **st)
{
    struct fix *f = start("2000-01-01", 0);
    set(f, 0x0b, 0x82);
    assert_int_equal(get(f, 0x0a) & 0x80, 0);
    set(f, 0, 0x30);
    set(f, 2, 0x59);
    set(f, 4, 0x23);
    set(f, 6, 0x03);
    set(f, 7, 0x31);
    set(f, 8, 0x12);
    set(f, 9, 0x99);
    set(f, 0x32, 0x19);
    f->now += SECS(5);
    expect_time(f, 0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x30); /* held */
    set(f, 0x0b, 0x02);
    f->now += SECS(30);
    expect_time(f, 0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00);
    assert_int_equal(get(f, 6), 4); /* the guest's own day of the week goes on */
    /* Without SET, each byte takes effect by itself. */
    set(f, 4, 0x12);
    f->now += SECS(1);
    expect_time(f, 0x20, 0x00, 0x01, 0x01, 0x12, 0x00, 0x01);
    fix_free(f);
}

static void test_divider(void **st)
{
    struct fix *f = start("2000-01-01", 0);
    set(f, 0x0b, 0x82); /* as Linux sets the clock */
    set(f, 0x0a, 0x76);
    set(f, 0, 0x10);
    set(f, 0x0b, 0x02);
    f->now += SECS(3);
    assert_int_equal(get(f, 0), 0x10);
    set(f, 0x0a, 0x26);
    f->now += MS(499);
    assert_int_equal(get(f, 0), 0x10);
    f->now += MS(2); /* half a second after the divider's release */
    assert_int_equal(get(f, 0), 0x11);
    fix_free(f);
}

static void test_uip(void **st)
{
    struct fix *f = start("2000-01-01", 0);
    assert_int_equal(get(f, 0x0a), 0x26);
    f->now += MS(997);
    assert_int_equal(get(f, 0x0a) & 0x80, 0);
    f->now += MS(1);
    assert_int_equal(get(f, 0x0a) & 0x80, 0x80);
    assert_int_equal(get(f, 0), 0);
    f->now += MS(2);
    assert_int_equal(get(f, 0x0a) & 0x80, 0);
    assert_int_equal(get(f, 0), 1);
    fix_free(f);
}

static void test_update_interrupt(void **st)
{
    struct fix *f = start("2000-01-01", 0);
    advance(f, SECS(3));
    assert_int_equal(f->fired, 0);        /* nothing enabled: the host sleeps */
    assert_int_equal(get(f, 0x0c), 0x50); /* but the flags are there (PF runs always) */
    assert_int_equal(get(f, 0x0c), 0x00);
    set(f, 0x0b, 0x12);
    assert_false(irq8(f));
    advance(f, MS(1001));
    assert_true(irq8(f));
    advance(f, SECS(5)); /* not read: no further wake-ups */
    assert_true(f->fired <= 1);
    assert_int_equal(get(f, 0x0c), 0xd0);
    assert_false(irq8(f));
    advance(f, SECS(1));
    assert_true(irq8(f));
    set(f, 0x0b, 0x92); /* SET clears UIE */
    assert_int_equal(get(f, 0x0b), 0x82);
    fix_free(f);
}

static void test_periodic(void **st)
{
    struct fix *f = start("2000-01-01", 0);
    for (int rs = 1; rs < 16; rs++) {
        int hz = rs < 3 ? 256 >> (rs - 1) : 32768 >> (rs - 1);
        set(f, 0x0b, 0x02);
        set(f, 0x0a, 0x20 | rs);
        set(f, 0x0b, 0x42);
        get(f, 0x0c);
        int n = 0;
        f->fired = 0;
        u64 end = f->now + SECS(1);
        while (f->now < end) {
            advance(f, US(20));
            if (irq8(f)) {
                assert_int_equal(get(f, 0x0c) & 0xc0, 0xc0);
                n++;
            }
        }
        assert_in_range(n, hz - 1, hz + 1);
    }
    set(f, 0x0a, 0x20); /* rate 0: off */
    get(f, 0x0c);
    f->fired = 0;
    advance(f, SECS(2));
    assert_int_equal(f->fired, 0);
    fix_free(f);
}

static void test_alarm(void **st)
{
    struct fix *f = start("2000-01-01T23:59:50", 0);
    set(f, 1, 0x05);
    set(f, 3, 0x00);
    set(f, 5, 0x00);
    get(f, 0x0c);
    set(f, 0x0b, 0x22);
    advance(f, MS(14900));
    assert_false(irq8(f));
    advance(f, MS(200));
    assert_true(irq8(f));
    assert_int_equal(get(f, 0x0c) & 0xa0, 0xa0);
    advance(f, SECS(86400) - SECS(1));
    assert_false(irq8(f));
    advance(f, SECS(1));
    assert_true(irq8(f));
    get(f, 0x0c);
    /* "Don't care": every minute at :30. */
    set(f, 1, 0x30);
    set(f, 3, 0xff);
    set(f, 5, 0xc0);
    int n = 0;
    for (int i = 0; i < 600; i++) {
        advance(f, SECS(1));
        if (irq8(f)) {
            n++;
            get(f, 0x0c);
        }
    }
    assert_int_equal(n, 10);
    /* Never matches; must not spin. */
    set(f, 1, 0x77);
    f->fired = 0;
    advance(f, SECS(200000));
    assert_int_equal(f->fired, 0);
    fix_free(f);
}

static void test_cmos(void **st)
{
    struct fix *f = start("utc", 256 * MiB);
    assert_int_equal(get(f, 0x15) | get(f, 0x16) << 8, 640);
    assert_int_equal(get(f, 0x17) | get(f, 0x18) << 8, 0xffff);
    assert_int_equal(get(f, 0x30) | get(f, 0x31) << 8, 0xffff);
    assert_int_equal(get(f, 0x34) | get(f, 0x35) << 8, 240 * 16);
    assert_int_equal(get(f, 0x0d), 0x80);
    set(f, 0x0d, 0);
    assert_int_equal(get(f, 0x0d), 0x80);
    u16 sum = 0;
    rtc_cmos_set(f->b, 0x2d, 0x12);
    for (int i = 0x10; i <= 0x2d; i++)
        sum += get(f, i);
    assert_int_equal(get(f, 0x2e) << 8 | get(f, 0x2f), sum);
    set(f, 0x0f, 0x0a);
    set(f, 0x7f, 0x5a);
    set(f, 0xff, 0xa5); /* NMI mask, index 7Fh */
    bus_reset(f->b);
    assert_int_equal(get(f, 0x0f), 0x0a); /* the battery keeps it */
    assert_int_equal(get(f, 0x7f), 0xa5);
    assert_int_equal(inb(f, 0x70), 0xff);
    fix_free(f);
    f = start("utc", 8 * MiB);
    assert_int_equal(get(f, 0x17) | get(f, 0x18) << 8, 7 * 1024);
    assert_int_equal(get(f, 0x34) | get(f, 0x35) << 8, 0);
    fix_free(f);
}

static void test_reset(void **st)
{
    struct fix *f = start("2000-01-01", 0);
    set(f, 0x0b, 0x72);
    advance(f, MS(10));
    assert_true(irq8(f));
    bus_reset(f->b);
    assert_int_equal(get(f, 0x0b), 0x02);
    f->fired = 0;
    advance(f, SECS(5));
    assert_int_equal(f->fired, 0);
    expect_time(f, 0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x05);
    fix_free(f);
}

static void test_garbage_time(void **st)
{
    struct fix *f = start("2000-01-01", 0);
    for (int i = 0; i < 256; i++) {
        set(f, 0x0b, 0x80 | (i & 0x7f));
        for (int r = 0; r < 10; r++)
            set(f, r, i * 37 + r * 101);
        set(f, 0x32, i);
        set(f, 0x0b, i & 0x7f);
        advance(f, SECS(2));
        for (int r = 0; r < 14; r++)
            get(f, r);
    }
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base),        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_set),         cmocka_unit_test(test_divider),
        cmocka_unit_test(test_uip),         cmocka_unit_test(test_update_interrupt),
        cmocka_unit_test(test_periodic),    cmocka_unit_test(test_alarm),
        cmocka_unit_test(test_cmos),        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_garbage_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
