/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VGA: planar accesses, text, DISPI modes, pictures, hostile registers. PS/2 through the i8042. */
#include "vga_fixture.h"
#include "devices/ps2.h"

static void poke(u32 gpa, u8 val)
{
    memory_write(m, gpa, &val, 1);
}

static u8 peek(u32 gpa)
{
    u8 v;
    memory_read(m, gpa, &v, 1);
    return v;
}

static void planar(void **st)
{
    struct fix *f = make();
    reg(f, 0x3ce, 6, 5); /* graphics, A0000 64K */
    reg(f, 0x3c4, 4, 6); /* planar */
    reg(f, 0x3c4, 2, 15);
    reg(f, 0x3ce, 8, 0xff);
    poke(0xa0010, 0x81);
    for (u8 p = 0; p < 4; p++) {
        reg(f, 0x3ce, 4, p);
        assert_int_equal(peek(0xa0010), 0x81);
    }
    reg(f, 0x3c4, 2, 4); /* plane 2 only */
    poke(0xa0010, 0x42);
    reg(f, 0x3ce, 4, 2);
    assert_int_equal(peek(0xa0010), 0x42);
    reg(f, 0x3ce, 4, 1);
    assert_int_equal(peek(0xa0010), 0x81);
    reg(f, 0x3c4, 2, 15);
    reg(f, 0x3ce, 5, 1); /* write mode 1: the latches */
    peek(0xa0010);
    poke(0xa0020, 0);
    reg(f, 0x3ce, 4, 2);
    assert_int_equal(peek(0xa0020), 0x42);
    reg(f, 0x3ce, 5, 2); /* write mode 2: colour 5 through a mask */
    reg(f, 0x3ce, 8, 0xf0);
    peek(0xa0030);
    poke(0xa0030, 5);
    reg(f, 0x3ce, 4, 0);
    assert_int_equal(peek(0xa0030), 0xf0);
    reg(f, 0x3ce, 4, 1);
    assert_int_equal(peek(0xa0030), 0);
    reg(f, 0x3ce, 5, 0x08); /* read mode 1: where is colour 5? */
    reg(f, 0x3ce, 2, 5);
    reg(f, 0x3ce, 7, 15);
    assert_int_equal(peek(0xa0030), 0xf0);
    done(f);
}

static void text(void **st)
{
    struct fix *f = make();
    char buf[8192];
    reg(f, 0x3ce, 6, 0x0e); /* text, B8000 */
    reg(f, 0x3ce, 5, 0x10);
    reg(f, 0x3c4, 2, 3);
    reg(f, 0x3d4, 1, 79);
    reg(f, 0x3d4, 9, 15);
    reg(f, 0x3d4, 0x12, 0x8f);
    reg(f, 0x3d4, 7, 0x12); /* 400 lines, no split */
    reg(f, 0x3d4, 0x18, 0xff);
    reg(f, 0x3d4, 0x13, 40);
    const char *s = "Hello";
    for (u32 i = 0; i < 5; i++) {
        poke(0xb8000 + 160 + i * 2, (u8)s[i]);
        poke(0xb8001 + 160 + i * 2, 7);
    }
    poke(0xb8000 + 160 + 12, 0xc4);
    assert_int_equal(peek(0xb80a0), 'H');
    size_t n = vga_text(vga, buf, sizeof(buf));
    assert_int_equal(n, strlen(buf));
    assert_memory_equal(buf, "\n", 1);
    assert_memory_equal(buf + 1, "Hello ", 6);
    assert_memory_equal(buf + 7, "\xe2\x94\x80\n", 4);
    assert_int_equal(vga_text(vga, buf, 4), 3); /* a small buffer */
    struct vga_image img;
    outb(f, 0x3c0, 0x20);
    assert_int_equal(vga_render(vga, &img), 0);
    assert_int_equal(img.width, 720);
    assert_int_equal(img.height, 400);
    free(img.pixels);
    done(f);
}

static void dispi(struct fix *f, u16 index, u16 val)
{
    bus_out(f->b, 0x1ce, 2, index);
    bus_out(f->b, 0x1cf, 2, val);
}

static void linear(void **st)
{
    struct fix *f = make();
    bus_out(f->b, 0x1ce, 2, 0);
    assert_int_equal(bus_in(f->b, 0x1cf, 2), 0xb0c5);
    dispi(f, 1, 640);
    dispi(f, 2, 480);
    dispi(f, 3, 32);
    dispi(f, 4, 0x41);
    bus_out(f->b, 0xcf8, 4, 0x80001010);
    bus_out(f->b, 0xcfc, 4, 0xe0000000);
    bus_out(f->b, 0xcf8, 4, 0x80001004);
    bus_out(f->b, 0xcfc, 2, 2);
    u32 red = 0xff0000;
    memory_write(m, 0xe0000000 + (640 * 10 + 20) * 4, &red, 4);
    struct vga_image img;
    assert_int_equal(vga_render(vga, &img), 0);
    assert_int_equal(img.width, 640);
    assert_int_equal(img.pixels[640 * 10 + 20], red);
    free(img.pixels);
    dispi(f, 5, 0); /* the same through the bank */
    assert_int_equal(peek(0xa0000 + (640 * 10 + 20) * 4 + 2), 0xff);
    /* A BAR over RAM is not decoded. */
    bus_out(f->b, 0xcf8, 4, 0x80001010);
    bus_out(f->b, 0xcfc, 4, 0x01000000);
    assert_int_equal(memory_kind(m, 0xe0000000), MEM_HOLE);
    assert_int_equal(memory_kind(m, 0x01000000), MEM_RAM);
    bus_out(f->b, 0xcfc, 4, 0x00000000);
    assert_int_equal(memory_kind(m, 0x01000000), MEM_HOLE);
    done(f);
}

static void hostile(void **st)
{
    struct fix *f = make();
    char buf[4096];
    u32 x = 99;
    for (int i = 0; i < 60000; i++) {
        x = x * 1103515245 + 12345;
        u32 r = x >> 8;
        if (r & 1)
            bus_out(f->b, 0x3b4 + (r >> 1) % 40, 1, r >> 12);
        else if (r & 2)
            dispi(f, (r >> 3) % 12, r >> 8);
        else if (r & 4)
            poke(0xa0000 + (r >> 3) % 0x20000, r);
        else
            peek(0xa0000 + (r >> 3) % 0x20000);
        if (i % 600)
            continue;
        struct vga_image img;
        vga_text(vga, buf, sizeof(buf));
        assert_int_equal(vga_render(vga, &img), 0);
        free(img.pixels);
    }
    done(f);
}

static u8 take(struct fix *f)
{
    advance(f, MS(1));
    assert_int_equal(inb(f, 0x64) & 1, 1);
    return inb(f, 0x60);
}

static void keyboard(void **st)
{
    struct fix *f = fix_new();
    struct ps2 *kbd, *mouse;
    pic_create(f->b);
    i8042_create(f->b);
    ps2_create(f->b, &kbd, &mouse);
    outb(f, 0x64, 0x60);
    outb(f, 0x60, 0x41); /* interrupts, translation */
    outb(f, 0x60, 0xff);
    assert_int_equal(take(f), 0xfa);
    assert_int_equal(take(f), 0xaa);
    outb(f, 0x60, 0xf2);
    assert_int_equal(take(f), 0xfa);
    assert_int_equal(take(f), 0xab);
    assert_int_equal(take(f), 0x41); /* 83h, translated */
    bus_lock(f->b);
    assert_true(ps2_type(kbd, 'A'));
    ps2_key(kbd, 0x48, true, true);
    bus_unlock(f->b);
    const u8 want[] = {0x2a, 0x1e, 0x9e, 0xaa, 0xe0, 0x48};
    for (size_t i = 0; i < sizeof(want); i++)
        assert_int_equal(take(f), want[i]);
    advance(f, MS(1));
    assert_int_equal(inb(f, 0x64) & 1, 0);
    /* every key survives the way to set 2 and back */
    for (u8 c = 0x20; c < 0x7f; c++) {
        bus_lock(f->b);
        assert_true(ps2_type(kbd, c));
        bus_unlock(f->b);
        advance(f, MS(1));
        while (inb(f, 0x64) & 1) {
            assert_int_not_equal(inb(f, 0x60), 0);
            advance(f, MS(1));
        }
    }
    /* mouse: enable, move */
    outb(f, 0x64, 0xa8);
    outb(f, 0x64, 0xd4);
    outb(f, 0x60, 0xf4);
    assert_int_equal(take(f), 0xfa);
    bus_lock(f->b);
    ps2_mouse(mouse, 5, -3, 0, 1);
    bus_unlock(f->b);
    assert_int_equal(take(f), 0x09);
    assert_int_equal(take(f), 5);
    assert_int_equal(take(f), 3);
    bus_lock(f->b);
    for (int i = 0; i < 1000; i++) { /* nobody reads: nothing grows */
        ps2_mouse(mouse, 1000, 1000, 0, (u8)i);
        ps2_key(kbd, 0x1e, false, true);
    }
    bus_unlock(f->b);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planar),  cmocka_unit_test(text),     cmocka_unit_test(linear),
        cmocka_unit_test(hostile), cmocka_unit_test(keyboard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
