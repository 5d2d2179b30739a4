/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floppy controller: resets, registers, seeks, disk change, and a guest that writes anything anywhere.
 */
#include "fdc_fixture.h"

static void resets(void **st)
{
    struct fix *f = make(2880, false);
    nothing_to_sense(f);
    outb(f, 0x3f2, 0x08);
    assert_int_equal(inb(f, 0x3f2), 0x08);
    assert_int_equal(inb(f, 0x3f4), 0); /* in reset nothing is ready */
    outb(f, 0x3f5, 8);
    assert_int_equal(inb(f, 0x3f5), 0);
    outb(f, 0x3f4, 0x80); /* the DSR's reset inside the DOR's: no interrupt */
    assert_false(took_irq(f));
    outb(f, 0x3f2, 0x0c);
    assert_int_equal(inb(f, 0x3f4), 0x80);
    assert_true(took_irq(f));
    sense(f, 0xc0, 0);
    assert_false(took_irq(f)); /* one interrupt, four states */
    sense(f, 0xc1, 0);
    sense(f, 0xc2, 0);
    sense(f, 0xc3, 0);
    nothing_to_sense(f);
    /* the DSR's ends by itself and cuts a command short */
    SEND(f, 0x0f, 0);
    assert_int_equal(inb(f, 0x3f4), 0x90);
    outb(f, 0x3f4, 0x80);
    assert_int_equal(inb(f, 0x3f4), 0x80);
    assert_true(took_irq(f));
    /* a seek before the four were asked for comes first */
    SEND(f, 0x07, 0);
    sense(f, 0x20, 0);
    sense(f, 0xc1, 0);
    /* DOR bit 3 clear: no interrupt line */
    outb(f, 0x3f2, 0x14);
    outb(f, 0x3f4, 0x80);
    assert_false(took_irq(f));
    outb(f, 0x3f2, 0x1c);
    assert_true(took_irq(f));
    bus_reset(f->b);
    assert_int_equal(inb(f, 0x3f2), 0);
    assert_int_equal(inb(f, 0x3f4), 0);
    fix_free(f);
}

static void registers(void **st)
{
    struct fix *f = make(2880, false);
    SEND(f, 0x10);
    assert_int_equal(get(f), 0x90);
    SEND(f, 3, 0xaf, 0x1e);
    SEND(f, 0x13, 0, 0x57, 0x21);
    SEND(f, 0x12, 0x8f); /* D1, D0, GAP, WGATE */
    SEND(f, 0x12, 0x30); /* without OW the drive bits stay */
    seek(f, 0, 7);
    seek(f, 1, 3);
    const u8 want[10] = {7, 3, 0, 0, 0xaf, 0x1e, 0, 0x0c, 0x57, 0x21};
    SEND(f, 0x0e);
    results(f, 10);
    assert_memory_equal(res, want, 10);
    SEND(f, 0x94);
    assert_int_equal(get(f), 0x10);
    SEND(f, 0x12, 3);
    outb(f, 0x3f4, 0x80); /* LOCK: EFIFO, FIFOTHR, PRETRK; SPECIFY and the D bits in any case */
    SEND(f, 0x0e);
    results(f, 10);
    assert_int_equal(res[4], 0xaf);
    assert_int_equal(res[5], 0x1e);
    assert_int_equal(res[7], 0x8c);
    assert_int_equal(res[8], 0x07);
    assert_int_equal(res[9], 0x21);
    SEND(f, 0x14);
    assert_int_equal(get(f), 0);
    outb(f, 0x3f2, 0x18);
    outb(f, 0x3f2, 0x1c);
    SEND(f, 0x0e);
    results(f, 10);
    assert_int_equal(res[7], 0x0c);
    assert_int_equal(res[8], 0x20); /* no FIFO, the default */
    assert_int_equal(res[9], 0);
    outb(f, 0x3f3, 0xfe);
    assert_int_equal(inb(f, 0x3f3), 2);
    fix_free(f);
}

static void invalid(void **st)
{
    struct fix *f = make(2880, false);
    int n = 0;
    for (int c = 0; c < 256; c++) {
        static const u8 known[] = {2, 5, 6, 9, 0xc, 0xd, 0x11, 0x16, 0x19, 0x1d};
        static const u8 exact[] = {3,    4,    7,    8,    0xf,  0x8f, 0xcf, 0x12,
                                   0x4a, 0x0a, 0x13, 0x0e, 0x10, 0x14, 0x94, 0x18};
        if (memchr(known, c & 0x1f, sizeof(known)) || memchr(exact, c, sizeof(exact)))
            continue;
        SEND(f, c);
        assert_int_equal(get(f), 0x80);
        assert_int_equal(inb(f, 0x3f4), 0x80);
        n++;
    }
    assert_int_equal(n, 256 - 80 - 16);
    assert_false(took_irq(f));
    fix_free(f);
}

static void seeks(void **st)
{
    struct fix *f = make(2880, false);
    make_image(other, 1440);
    fdc_attach(fdc, 1, open_block(f, other, true));
    /* overlapped: an interrupt and a state each */
    SEND(f, 0x0f, 0, 30);
    assert_true(took_irq(f));
    SEND(f, 0x0f, 5, 40);
    sense(f, 0x20, 30);
    assert_true(took_irq(f));
    sense(f, 0x21, 40);
    assert_false(took_irq(f));
    nothing_to_sense(f);
    SEND(f, 4, 0); /* SENSE DRIVE: head, track 0, write protection */
    assert_int_equal(get(f), 0x28);
    SEND(f, 4, 5);
    assert_int_equal(get(f), 0x6d);
    SEND(f, 7, 1);
    sense(f, 0x21, 0);
    SEND(f, 4, 1);
    assert_int_equal(get(f), 0x79);
    SEND(f, 0xcf, 0, 12); /* RELATIVE SEEK: in, out */
    sense(f, 0x20, 42);
    SEND(f, 0x8f, 0, 2);
    sense(f, 0x20, 40);
    SEND(f, 0x4a, 4);
    results(f, 7);
    RESULT(0x04, 0, 0, 40, 1, 1);
    assert_int_equal(res[6], 2);
    /* 79 steps do not reach track 0 from 82 */
    seek(f, 0, 82);
    SEND(f, 0x4a, 0); /* nor is that track formatted */
    results(f, 7);
    RESULT(0x40, 1, 0, 82, 0, 1);
    SEND(f, 7, 0);
    sense(f, 0x70, 0);
    SEND(f, 7, 0);
    sense(f, 0x20, 0);
    SEND(f, 4, 0);
    assert_int_equal(get(f), 0x38);
    /* no such drive: no track 0; a plain seek cannot know */
    SEND(f, 7, 2);
    sense(f, 0x72, 0);
    seek(f, 3, 9);
    fix_free(f);
}

static void change_line(void **st)
{
    struct fix *f = make(2880, false);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0x80); /* after power-on */
    SEND(f, 7, 0);
    sense(f, 0x20, 0);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0x80); /* the head was there: no step */
    seek(f, 0, 1);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0);
    bus_lock(f->b);
    fdc_change_medium(fdc, 0, NULL);
    bus_unlock(f->b);
    assert_null(fdc_medium(fdc, 0));
    seek(f, 0, 2);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0x80); /* steps do not help an empty drive */
    outb(f, 0x3f2, 0x0c);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0); /* motor off */
    outb(f, 0x3f2, 0x2d);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0); /* no drive B */
    outb(f, 0x3f2, 0x1c);
    make_image(other, 1440);
    bus_lock(f->b);
    fdc_change_medium(fdc, 0, open_block(f, other, true));
    bus_unlock(f->b);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0x80);
    seek(f, 0, 0);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0);
    assert_int_equal(fdc_drive_type(fdc, 0), 4);
    /* another density: the old rate finds nothing */
    SEND(f, 0x4a, 0);
    results(f, 7);
    RESULT(0x40, 1, 0, 0, 0, 1);
    outb(f, 0x3f7, 2);
    SEND(f, 0x4a, 0);
    results(f, 7);
    RESULT(0, 0, 0, 0, 0, 1);
    fix_free(f);
}

/* ---- anything ---- */

static void hostile(void **st)
{
    struct fix *f = make(2880, false);
    make_image(other, 1440);
    fdc_attach(fdc, 1, open_block(f, other, true));
    u32 x = 12345, commands = 0, data = 0;
    for (int i = 0; i < 200000; i++) {
        x = x * 1664525 + 1013904223;
        u8 val = x >> 24, what = x >> 16 & 31;
        if (what < 2)
            outb(f, 0x3f0 + (x >> 8 & 7), val);
        else if (what == 2)
            outb(f, x >> 8 & 15, val); /* the 8237 */
        else if (what == 3)
            dma(f, val & 1 ? 0x46 : 0x5a, (val + 1) * 64u);
        else if (what == 4)
            outb(f, 0x3f2, 0x3c | (val & 3));
        else if (what == 5 && (val & 1) && inb(f, 0x3f4) == 0x10)
            settle(f); /* else a slow host would only ever show a busy controller */
        else if (what == 5)
            bus_run_deferred(f->b);
        else if (what == 6 && val < 16)
            outb(f, 0x3f7, val);
        else if (what == 7 && val < 4) {
            bus_lock(f->b);
            fdc_change_medium(fdc, 0, NULL);
            fdc_change_medium(fdc, 0, val & 1 ? NULL : open_block(f, path, false));
            bus_unlock(f->b);
        } else if (what == 8 && inb(f, 0x3f4) == 0x80) { /* a whole command that could succeed */
            static const u8 ops[] = {0x46, 0xc6, 0x45, 0xc5, 0xd6, 0x42, 0x51, 0x59, 0x4c, 0x6c};
            outb(f, 0x3f7, 0);
            SEND(f, 3, val, x >> 8 & 1);
            SEND(f, 0x13, 0, 0x40, 0);
            SEND(f, ops[val % sizeof(ops)], 0, val & 1, 0, x >> 10 & 15, 2, 18, 0x1b, val & 3);
        } else if (what < 20) { /* small values and the media's own numbers get further */
            static const u8 likely[] = {0x46, 0xc5, 0x4d, 0x51, 0x07, 0x0f, 0, 1, 2, 4, 18, 9, 3, 8};
            outb(f, 0x3f5, what < 17 ? likely[val % sizeof(likely)] : val);
        } else {
            u8 m = inb(f, 0x3f4);
            commands += m == 0xd0;
            data += (m & 0xa0) == 0xa0;
            inb(f, m & 0x40 ? 0x3f5 : 0x3f0 + (x >> 8 & 7));
        }
    }
    assert_true(commands > 1000);
    assert_true(data > 100);
    /* and it still works */
    bus_lock(f->b);
    fdc_change_medium(fdc, 0, NULL);
    make_image(path, 2880);
    fdc_change_medium(fdc, 0, open_block(f, path, false));
    bus_unlock(f->b);
    bus_reset(f->b);
    outb(f, 0x3f2, 0x1c);
    outb(f, 0x3f7, 0);
    outb(f, 0x0d, 0);
    outb(f, 0x08, 0);
    dma(f, 0x46, 512);
    SEND(f, 0x46, 0, 0, 0, 7, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0, 0, 0, 0, 0, 8);
    assert_int_equal(number(mem + AT), 6);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resets), cmocka_unit_test(registers),   cmocka_unit_test(invalid),
        cmocka_unit_test(seeks),  cmocka_unit_test(change_line), cmocka_unit_test(hostile),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
