/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floppy controller: commands that move data, by DMA and by the CPU: the geometries, write protection, where
 * transfers end and what ST0-ST2 and the result bytes say then.
 */
#include "fdc_fixture.h"

/* ---- data by DMA ---- */

static void geometries(void **st)
{
    static const struct {
        u32 sectors;
        u8 type, cyl, spt, rate;
    } g[] = {{720, 4, 40, 9, 2},
             {1440, 4, 80, 9, 2},
             {2400, 2, 80, 15, 0},
             {2880, 4, 80, 18, 0},
             {5760, 5, 80, 36, 3}};
    for (size_t i = 0; i < ARRAY_SIZE(g); i++) {
        struct fix *f = make(g[i].sectors, false);
        u8 spt = g[i].spt, c = g[i].cyl - 1;
        assert_int_equal(fdc_drive_type(fdc, 0), g[i].type);
        for (u8 rate = 0; rate < 4; rate++) {
            bool right = rate == g[i].rate || (rate == 1 && spt == 9);
            outb(f, 0x3f7, rate);
            SEND(f, 0x4a, 0);
            results(f, 7);
            RESULT(right ? 0 : 0x40, right ? 0 : 1, 0, 0, 0, 1);
        }
        outb(f, 0x3f7, g[i].rate);
        seek(f, 0, c);
        took_irq(f);
        /* the last cylinder, both sides by MT: as many as the 8237 counts */
        u32 n = 2u * spt;
        dma(f, 0x46, n * 512);
        SEND(f, 0xe6, 0, c, 0, 1, 2, spt, 0x1b, 0xff);
        settle(f);
        assert_true(irq6(f));
        results(f, 7);
        assert_false(irq6(f)); /* the first result byte took it back */
        RESULT(0x04, 0, 0, c + 1, 0, 1);
        for (u32 s = 0; s < n; s++) {
            assert_int_equal(number(mem + AT + s * 512), g[i].sectors - n + s);
            assert_int_equal(number(mem + AT + s * 512 + 508), ~(g[i].sectors - n + s));
        }
        assert_int_equal(inb(f, 8) & 4, 4);
        fix_free(f);
    }
}

static void reading(void **st)
{
    struct fix *f = make(2880, true);
    seek(f, 0, 1);
    /* TC inside the track, inside a sector, and at its end */
    dma(f, 0x46, 1024);
    SEND(f, 0x46, 4, 1, 1, 3, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x04, 0, 0, 1, 1, 5);
    assert_int_equal(number(mem + AT), 36 + 18 + 2);
    assert_int_equal(number(mem + AT + 512), 36 + 18 + 3);
    memset(mem, 0xaa, sizeof(mem));
    dma(f, 0x46, 100);
    SEND(f, 0x46, 0, 1, 0, 18, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0, 0, 0, 2, 0, 1);
    assert_int_equal(number(mem + AT), 36 + 17);
    assert_int_equal(mem[AT + 99], 0);
    assert_int_equal(mem[AT + 100], 0xaa);
    dma(f, 0x46, 512);
    SEND(f, 0xc6, 0, 1, 0, 18, 2, 18, 0x1b, 0xff); /* MT goes on at the other side */
    results(f, 7);
    RESULT(0, 0, 0, 1, 1, 1);
    /* EOT without TC */
    dma(f, 0x46, 4096);
    SEND(f, 0x46, 0, 1, 0, 2, 2, 3, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x80, 0, 2, 0, 1);
    /* EOT that the track does not have */
    dma(f, 0x46, 4096);
    SEND(f, 0x46, 0, 1, 0, 17, 2, 30, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x04, 0, 1, 0, 19);
    /* nobody takes the data: masked channel, DMA gate */
    outb(f, 0x0a, 6);
    SEND(f, 0x46, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x10, 0, 1, 0, 1);
    dma(f, 0x46, 512);
    outb(f, 0x3f2, 0x14);
    SEND(f, 0x46, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x10, 0, 1, 0, 1);
    outb(f, 0x3f2, 0x1c);
    /* MSR while the data moves, and the interrupt that the first result byte takes back */
    took_irq(f);
    SEND(f, 0x46, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
    assert_int_equal(inb(f, 0x3f4), 0x10);
    outb(f, 0x3f5, 0x10); /* ignored */
    settle(f);
    assert_true(irq6(f));
    results(f, 7);
    assert_false(irq6(f)); /* the first result byte took it back */
    RESULT(0, 0, 0, 1, 0, 2);
    fix_free(f);
}

static void bad_addresses(void **st)
{
    static const struct {
        u8 unit, c, h, r, n, st0, st1, st2;
    } t[] = {
        {0, 5, 0, 0, 2, 0x40, 0x04, 0},    {0, 5, 0, 19, 2, 0x40, 0x04, 0}, {0, 6, 0, 1, 2, 0x40, 0x04, 0x10},
        {0, 5, 1, 1, 2, 0x40, 0x04, 0},    {0, 5, 0, 1, 3, 0x40, 0x04, 0},  {0, 5, 0, 1, 0, 0x40, 0x04, 0},
        {1, 5, 0, 1, 2, 0x49, 0x01, 0},    {3, 5, 0, 1, 2, 0x4b, 0x01, 0},  {4, 5, 0, 1, 2, 0x44, 0x04, 0},
        {0, 5, 0xff, 1, 2, 0x40, 0x04, 0},
    };
    static const u8 commands[] = {0x46, 0x45, 0x4c, 0x49, 0x42, 0x56, 0x51};
    struct fix *f = make(2880, false);
    seek(f, 0, 5);
    for (size_t k = 0; k < sizeof(commands); k++)
        for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
            if (commands[k] == 0x42 && (!t[i].r || t[i].r == 19))
                continue; /* READ TRACK does not look for a sector */
            dma(f, commands[k] == 0x45 || commands[k] == 0x49 || commands[k] == 0x51 ? 0x4a : 0x46, 512);
            SEND(f, commands[k], t[i].unit, t[i].c, t[i].h, t[i].r, t[i].n, 18, 0x1b, 1);
            results(f, 7);
            RESULT(t[i].st0, t[i].st1, t[i].st2, t[i].c, t[i].h, t[i].r);
        }
    seek(f, 0, 81); /* behind the last cylinder */
    SEND(f, 0x46, 0, 81, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 1, 0, 81, 0, 1);
    /* implied seek */
    SEND(f, 0x13, 0, 0x40, 0);
    dma(f, 0x46, 512);
    SEND(f, 0x46, 0, 20, 0, 4, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x20, 0, 0, 20, 0, 5);
    assert_int_equal(number(mem + AT), 20 * 36 + 3);
    nothing_to_sense(f);
    fix_free(f);
    f = make(0, false); /* an empty drive */
    for (size_t k = 0; k < sizeof(commands); k++) {
        SEND(f, commands[k], 0, 0, 0, 1, 2, 18, 0x1b, 1);
        results(f, 7);
        RESULT(0x48, 1, 0, 0, 0, 1);
    }
    SEND(f, 0x4d, 0, 2, 18, 0x50, 0xf6);
    results(f, 7);
    assert_int_equal(res[0], 0x48);
    SEND(f, 0x4a, 0);
    results(f, 7);
    RESULT(0x40, 1, 0, 0, 0, 1);
    fix_free(f);
}

static void writing(void **st)
{
    struct fix *f = make(2880, false);
    seek(f, 0, 2);
    for (u32 s = 0; s < 4; s++) {
        memset(mem + AT + s * 512, 0x11, 512);
        memset(mem + AT + s * 512, 0xe0 + s, 4);
    }
    took_irq(f);
    dma(f, 0x4a, 1024 + 256); /* over the end of side 0; the third sector ends in zeros */
    SEND(f, 0xc5, 0, 2, 0, 17, 2, 18, 0x1b, 0xff);
    settle(f);
    assert_true(irq6(f));
    results(f, 7);
    assert_false(irq6(f)); /* the first result byte took it back */
    RESULT(0x04, 0, 0, 2, 1, 2);
    assert_int_equal(on_disk(72 + 15), 72 + 15);
    assert_int_equal(on_disk(72 + 16), 0xe0e0e0e0);
    assert_int_equal(on_disk(72 + 17), 0xe1e1e1e1);
    assert_int_equal(on_disk(72 + 18), 0xe2e2e2e2);
    assert_int_equal(on_disk(72 + 19), 72 + 19);
    dma(f, 0x46, 512);
    SEND(f, 0x46, 4, 2, 1, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    assert_int_equal(mem[AT + 255], 0x11);
    assert_int_equal(mem[AT + 256], 0);
    dma(f, 0x4a, 4096); /* EOT without TC */
    SEND(f, 0x45, 0, 2, 0, 3, 2, 4, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x80, 0, 3, 0, 1);
    outb(f, 0x0a, 6); /* no data comes */
    SEND(f, 0x45, 0, 2, 0, 5, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x10, 0, 2, 0, 5);
    assert_int_equal(on_disk(72 + 4), 72 + 4);
    /* FORMAT */
    for (u8 i = 0; i < 18; i++)
        memcpy(mem + AT + i * 4, (u8[]){2, 1, i + 1, 2}, 4);
    dma(f, 0x4a, 18 * 4);
    SEND(f, 0x4d, 4, 2, 18, 0x50, 0xf6);
    results(f, 7);
    assert_int_equal(res[0], 0x04);
    for (u32 s = 0; s < 18; s++)
        assert_int_equal(on_disk(72 + 18 + s), 0xf6f6f6f6);
    assert_int_equal(on_disk(72 + 36), 72 + 36);
    assert_int_equal(on_disk(72 + 15), 72 + 15);
    SEND(f, 0x4d, 4, 2, 9, 0x50, 0xf6); /* a track that the image cannot hold; no headers */
    results(f, 7);
    assert_int_equal(res[0], 0x44);
    outb(f, 0x0a, 6);
    SEND(f, 0x4d, 0, 2, 18, 0x50, 0);
    results(f, 7);
    assert_int_equal(res[0], 0x40);
    assert_int_equal(res[1], 0x10);
    assert_int_equal(on_disk(72), 72);
    fix_free(f);
    f = make(2880, true); /* write protected */
    dma(f, 0x4a, 512);
    SEND(f, 0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 2, 0, 0, 0, 1);
    SEND(f, 0x49, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 2, 0, 0, 0, 1);
    SEND(f, 0x4d, 0, 2, 18, 0x50, 0xf6);
    results(f, 7);
    assert_int_equal(res[1], 2);
    assert_int_equal(on_disk(0), 0);
    fix_free(f);
}

static void other_reads(void **st)
{
    struct fix *f = make(2880, true);
    /* VERIFY: to EOT, both sides, a count, a count too far; nothing moves */
    dma(f, 0x46, 512);
    SEND(f, 0x56, 0, 0, 0, 1, 2, 18, 0x1b, 0);
    results(f, 7);
    RESULT(0, 0, 0, 1, 0, 1);
    SEND(f, 0xd6, 0, 0, 0, 1, 2, 18, 0x1b, 0);
    results(f, 7);
    RESULT(4, 0, 0, 1, 0, 1);
    SEND(f, 0xd6, 0x80, 0, 0, 17, 2, 18, 0x1b, 4);
    results(f, 7);
    RESULT(4, 0, 0, 0, 1, 3);
    SEND(f, 0x56, 0x80, 0, 0, 17, 2, 18, 0x1b, 4);
    results(f, 7);
    RESULT(0x40, 0x80, 0, 1, 0, 1);
    SEND(f, 0x56, 0, 0, 0, 17, 2, 20, 0x1b, 0);
    results(f, 7);
    RESULT(0x40, 4, 0, 0, 0, 19);
    assert_int_equal(inb(f, 8) & 4, 0);
    /* READ TRACK starts behind the index hole whatever R says */
    dma(f, 0x46, 3 * 512);
    SEND(f, 0x42, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0, 0, 0, 0, 0, 4);
    dma(f, 0x46, 4096);
    SEND(f, 0x42, 0, 0, 0, 9, 2, 2, 0x1b, 0xff);
    results(f, 7);
    RESULT(0, 4, 0, 1, 0, 1);
    assert_int_equal(number(mem + AT), 0);
    assert_int_equal(number(mem + AT + 512), 1);
    /* READ DELETED DATA: one normal sector with the mark; with SK none */
    dma(f, 0x46, 1024);
    SEND(f, 0x4c, 0, 0, 0, 6, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0, 0, 0x40, 0, 0, 6);
    assert_int_equal(number(mem + AT), 5);
    assert_int_equal(number(mem + AT + 512), 1);
    SEND(f, 0x6c, 0, 0, 0, 6, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x80, 0x40, 1, 0, 1);
    fix_free(f);
}

static void scans(void **st)
{
    struct fix *f = make(2880, true);
    static const struct {
        u8 cmd, byte, stp, st0, st1, st2, r;
    } t[] = {
        {0x51, 3, 1, 0, 0, 0x08, 4},    /* EQUAL finds sector 4, whose number is 3 */
        {0x51, 3, 2, 0x40, 4, 0, 19},   /* every other: 1, 3, 5 ... pass EOT */
        {0x51, 99, 1, 0, 0, 0x04, 1},   /* none */
        {0x59, 0xff, 1, 0, 0, 0x08, 1}, /* FFh fits everything */
        {0x59, 5, 1, 0, 0, 0, 1},       /* LOW OR EQUAL: the first is lower */
        {0x5d, 5, 1, 0, 0, 0x08, 6},    /* HIGH OR EQUAL: equal comes first */
    };
    for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
        /* only the first byte counts: the rest is masked */
        for (int s = 0; s < 18; s++) {
            memset(mem + AT + s * 512, 0xff, 512);
            mem[AT + s * 512] = t[i].byte;
        }
        dma(f, 0x4a, 0x8000);
        SEND(f, t[i].cmd, 0, 0, 0, 1, 2, 18, 0x1b, t[i].stp);
        results(f, 7);
        RESULT(t[i].st0, t[i].st1, t[i].st2, t[i].st2 == 4 ? 1 : 0, 0, t[i].r);
    }
    fix_free(f);
}

/* ---- data by the CPU ---- */

static void by_cpu(void **st)
{
    struct fix *f = make(2880, false);
    SEND(f, 3, 0xdf, 0x03); /* ND */
    took_irq(f);
    SEND(f, 0xc6, 0, 0, 0, 17, 2, 18, 0x1b, 0xff);
    for (u32 i = 0; i < 20 * 512; i++) { /* over both sides to EOT */
        settle(f);
        assert_int_equal(inb(f, 0x3f4), 0xf0);
        if (i < 3)
            assert_true(took_irq(f)); /* one each */
        u8 v = inb(f, 0x3f5);
        if (i % 512 == 0)
            assert_int_equal(v, 16 + i / 512);
        else if (i % 512 == 508)
            assert_int_equal(v, (u8) ~(16 + i / 512));
    }
    took_irq(f);
    results(f, 7);
    RESULT(0x44, 0x80, 0, 1, 0, 1);
    SEND(f, 0x45, 0, 0, 0, 4, 2, 5, 0x1b, 0xff);
    for (u32 i = 0; i < 2 * 512; i++) {
        settle(f);
        assert_int_equal(inb(f, 0x3f4), 0xb0);
        outb(f, 0x3f5, i < 512 ? 0x77 : 0x88);
    }
    results(f, 7);
    RESULT(0x40, 0x80, 0, 1, 0, 1);
    assert_int_equal(on_disk(3), 0x77777777);
    assert_int_equal(on_disk(4), 0x88888888);
    assert_int_equal(on_disk(5), 5);
    SEND(f, 0x51, 0, 0, 0, 4, 2, 18, 0x1b, 1);
    for (u32 i = 0; i < 2 * 512; i++) {
        settle(f);
        assert_int_equal(inb(f, 0x3f4), 0xb0);
        outb(f, 0x3f5, 0x88);
    }
    results(f, 7);
    RESULT(0, 0, 8, 0, 0, 5);
    SEND(f, 0x4d, 4, 2, 18, 0x50, 0x5a);
    for (u32 i = 0; i < 18 * 4; i++) {
        assert_int_equal(inb(f, 0x3f4), 0xb0);
        outb(f, 0x3f5, i % 4 == 2 ? i / 4 + 1 : i % 4 == 3 ? 2 : i % 4);
    }
    results(f, 7);
    assert_int_equal(res[0], 4);
    assert_int_equal(on_disk(18), 0x5a5a5a5a);
    assert_int_equal(on_disk(35), 0x5a5a5a5a);
    /* the disk goes, or a reset comes, in the middle */
    SEND(f, 0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    settle(f);
    inb(f, 0x3f5);
    bus_lock(f->b);
    fdc_change_medium(fdc, 0, NULL);
    bus_unlock(f->b);
    results(f, 7);
    RESULT(0x48, 1, 0, 0, 0, 1);
    bus_lock(f->b);
    fdc_change_medium(fdc, 0, open_block(f, path, false));
    bus_unlock(f->b);
    SEND(f, 0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    outb(f, 0x3f5, 1);
    outb(f, 0x3f4, 0x80);
    assert_int_equal(inb(f, 0x3f4), 0x80);
    sense(f, 0xc0, 0);
    assert_int_equal(on_disk(0), 0);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(geometries), cmocka_unit_test(reading),     cmocka_unit_test(bad_addresses),
        cmocka_unit_test(writing),    cmocka_unit_test(other_reads), cmocka_unit_test(scans),
        cmocka_unit_test(by_cpu),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
