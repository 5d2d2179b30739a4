/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the screen shows, and when a viewer is told: text details, graphics modes, panning, splits, tracing.
 */
#include <unistd.h>
#include "vga_fixture.h"

static void attr(struct fix *f, u8 index, u8 val)
{
    inb(f, 0x3da);
    outb(f, 0x3c0, index);
    outb(f, 0x3c0, val);
    outb(f, 0x3c0, 0x20);
}

static void poke(u32 gpa, u8 val)
{
    memory_write(m, gpa, &val, 1);
}

static void dispi(struct fix *f, u16 index, u16 val)
{
    bus_out(f->b, 0x1ce, 2, index);
    bus_out(f->b, 0x1cf, 2, val);
}

/* Colour n of 16 or 256 is 0x0n0n0n in steps of 4, and the attribute controller lets colours through. */
static void palette(struct fix *f)
{
    outb(f, 0x3c8, 0);
    for (u32 i = 0; i < 256; i++) {
        outb(f, 0x3c9, i & 63);
        outb(f, 0x3c9, i >> 6);
        outb(f, 0x3c9, 0);
    }
    for (u8 i = 0; i < 16; i++)
        attr(f, i, i);
    attr(f, 0x12, 15);
}

static u32 color(u32 i)
{
    u32 r = i & 63, g = i >> 6;
    return (r << 2 | r >> 4) << 16 | (g << 2 | g >> 4) << 8;
}

/* lines x groups of eight pixels (characters); no split, nothing repeated. */
static void geometry(struct fix *f, u32 groups, u32 lines, u32 max_scan)
{
    reg(f, 0x3d4, 0x11, 0);
    reg(f, 0x3d4, 1, groups - 1);
    reg(f, 0x3d4, 0x12, lines - 1);
    reg(f, 0x3d4, 7, 0x10 | ((lines - 1) >> 7 & 2) | ((lines - 1) >> 3 & 0x40));
    reg(f, 0x3d4, 9, 0x40 | max_scan);
    reg(f, 0x3d4, 0x18, 0xff);
    reg(f, 0x3d4, 0x13, groups / 2);
    reg(f, 0x3d4, 0x17, 0xe3);
    reg(f, 0x3d4, 0x0c, 0);
    reg(f, 0x3d4, 0x0d, 0);
}

static void text_mode(struct fix *f)
{
    geometry(f, 80, 400, 15);
    reg(f, 0x3ce, 6, 0x0e);
    reg(f, 0x3ce, 5, 0x10);
    reg(f, 0x3c4, 4, 2);
    reg(f, 0x3c4, 2, 3);
    reg(f, 0x3c4, 1, 0);
    reg(f, 0x3c4, 3, 0);
    reg(f, 0x3d4, 0x0a, 0x20); /* no cursor */
    reg(f, 0x3d4, 0x14, 0x1f); /* no underline */
    attr(f, 0x10, 0x0c);
    attr(f, 0x13, 8);
    palette(f);
}

/* Glyph row of a character in font map 0 or (second) 1 (8000h in plane 2). */
static void glyph(struct fix *f, u32 map, u8 ch, u32 row, u8 bits)
{
    reg(f, 0x3ce, 6, 4);
    reg(f, 0x3ce, 5, 0);
    reg(f, 0x3c4, 4, 6);
    reg(f, 0x3c4, 2, 4);
    reg(f, 0x3ce, 8, 0xff);
    poke(0xa0000 + map + ch * 32u + row, bits);
    reg(f, 0x3ce, 6, 0x0e);
    reg(f, 0x3ce, 5, 0x10);
    reg(f, 0x3c4, 4, 2);
    reg(f, 0x3c4, 2, 3);
}

static void cell(u32 col, u32 row, u8 ch, u8 at)
{
    poke(0xb8000 + (row * 80 + col) * 2, ch);
    poke(0xb8001 + (row * 80 + col) * 2, at);
}

static struct vga_picture pic;

static u32 at(u32 x, u32 y)
{
    assert_true(x < pic.width && y < pic.height);
    return pic.pixels[y * pic.width + x];
}

static void shot(struct fix *f)
{
    bus_lock(f->b);
    assert_true(vga_draw(vga, &pic, NULL, NULL, NULL) >= 0);
    bus_unlock(f->b);
}

static void text_details(void **st)
{
    struct fix *f = make();
    text_mode(f);
    glyph(f, 0, 'x', 3, 0x81);
    glyph(f, 0x4000, 'x', 3, 0x42);
    glyph(f, 0, 0xc4, 3, 0x81);
    cell(1, 1, 'x', 0x4f);
    cell(2, 1, 0xc4, 0x12);
    shot(f);
    assert_int_equal(pic.width, 720);
    assert_int_equal(pic.height, 400);
    assert_int_equal(at(9, 19), color(15));
    assert_int_equal(at(10, 19), color(4));
    assert_int_equal(at(16, 19), color(15));
    assert_int_equal(at(17, 19), color(4)); /* the ninth dot is background, */
    assert_int_equal(at(26, 19), color(2)); /* but not for lines */
    attr(f, 0x10, 0x08);
    shot(f);
    assert_int_equal(at(26, 19), color(1));
    reg(f, 0x3c4, 3, 4); /* attribute bit 3 chooses font map 1 */
    shot(f);
    assert_int_equal(at(9, 19), color(4));
    assert_int_equal(at(10, 19), color(15));
    reg(f, 0x3c4, 1, 1); /* 8 dots */
    shot(f);
    assert_int_equal(pic.width, 640);
    assert_int_equal(at(9, 19), color(15));
    /* bright background instead of blinking */
    cell(3, 1, ' ', 0x9f);
    shot(f);
    assert_int_equal(at(24, 20), color(1));
    attr(f, 0x10, 0x04);
    shot(f);
    assert_int_equal(at(24, 20), color(9));
    /* underline */
    cell(4, 1, ' ', 0x01);
    reg(f, 0x3d4, 0x14, 12);
    shot(f);
    assert_int_equal(at(35, 16 + 12), color(1));
    assert_int_equal(at(35, 16 + 11), color(0));
    /* cursor: a block in lines 13 and 14, moved by the skew */
    cell(5, 1, ' ', 0x07);
    reg(f, 0x3d4, 0x0a, 13);
    reg(f, 0x3d4, 0x0b, 14);
    reg(f, 0x3d4, 0x0e, 0);
    reg(f, 0x3d4, 0x0f, 85);
    shot(f);
    assert_int_equal(at(40, 16 + 12), color(0));
    assert_int_equal(at(40, 16 + 13), color(7));
    assert_int_equal(at(47, 16 + 14), color(7));
    assert_int_equal(at(40, 16 + 15), color(0));
    /* fine scrolling: up by the preset row scan, left by panning */
    reg(f, 0x3d4, 8, 3);
    attr(f, 0x13, 2);
    shot(f);
    assert_int_equal(at(38, 16 + 10), color(7));
    assert_int_equal(at(37, 16 + 10), color(0));
    done(f);
}

static void small_fonts(void **st)
{
    struct fix *f = make();
    struct vga_cells *c = calloc(1, sizeof(*c));
    text_mode(f);
    for (u32 height = 8; height <= 14; height += 6) {
        geometry(f, 80, height == 8 ? 400 : 350, height - 1);
        glyph(f, 0, 'q', height - 1, 0xff);
        cell(0, 2, 'q', 7);
        shot(f);
        assert_int_equal(pic.height, height == 8 ? 400 : 350);
        assert_int_equal(at(0, 3 * height - 1), color(7));
        assert_int_equal(at(0, 3 * height - 2), color(0));
        bus_lock(f->b);
        vga_read_cells(vga, c);
        bus_unlock(f->b);
        assert_int_equal(c->rows, height == 8 ? 50 : 25);
        assert_int_equal(c->cell[2][0], 'q' | 7 << 8);
    }
    free(c);
    done(f);
}

static void split_screen(void **st)
{
    struct fix *f = make();
    struct vga_cells *c = calloc(1, sizeof(*c));
    text_mode(f);
    glyph(f, 0, 'a', 0, 0xff);
    cell(0, 0, 'a', 2);  /* address 0 */
    cell(0, 10, 'a', 3); /* address 800 */
    reg(f, 0x3d4, 0x0c, 800 >> 8);
    reg(f, 0x3d4, 0x0d, 800 & 255);
    reg(f, 0x3d4, 0x18, 159); /* lines 160 and on begin again at 0 */
    reg(f, 0x3d4, 7, 0x02);
    reg(f, 0x3d4, 9, 15);
    shot(f);
    assert_int_equal(at(0, 0), color(3));
    assert_int_equal(at(0, 159), color(0));
    assert_int_equal(at(0, 160), color(2));
    bus_lock(f->b);
    vga_read_cells(vga, c);
    bus_unlock(f->b);
    assert_int_equal(c->cell[0][0], 'a' | 3 << 8);
    assert_int_equal(c->cell[10][0], 'a' | 2 << 8);
    /* The bottom part does not pan if AR10 says so. */
    attr(f, 0x13, 3);
    shot(f);
    assert_int_equal(at(3, 0), color(3));
    assert_int_equal(at(4, 0), color(0));
    assert_int_equal(at(3, 160), color(2));
    assert_int_equal(at(4, 160), color(0));
    attr(f, 0x10, 0x2c);
    shot(f);
    assert_int_equal(at(8, 160), color(0));
    assert_int_equal(at(7, 160), color(2));
    free(c);
    done(f);
}

static void planar_mode(struct fix *f, u32 groups, u32 lines)
{
    geometry(f, groups, lines, 0);
    reg(f, 0x3ce, 6, 5);
    reg(f, 0x3ce, 5, 0);
    reg(f, 0x3ce, 8, 0xff);
    reg(f, 0x3c4, 4, 6);
    reg(f, 0x3c4, 2, 15);
    attr(f, 0x10, 1);
    attr(f, 0x13, 0);
    palette(f);
}

static void planar_graphics(void **st)
{
    struct fix *f = make();
    planar_mode(f, 80, 480);
    reg(f, 0x3ce, 5, 2);
    reg(f, 0x3ce, 8, 0x40);
    poke(0xa0000 + 80 * 10 + 3, 11);
    shot(f);
    assert_int_equal(pic.width, 640);
    assert_int_equal(pic.height, 480);
    assert_int_equal(at(25, 10), color(11));
    assert_int_equal(at(24, 10), color(0));
    attr(f, 0x12, 3); /* only planes 0 and 1 */
    shot(f);
    assert_int_equal(at(25, 10), color(3));
    attr(f, 0x13, 1);
    shot(f);
    assert_int_equal(at(24, 10), color(3));
    reg(f, 0x3d4, 0x0d, 80); /* a line further down in memory */
    shot(f);
    assert_int_equal(at(24, 9), color(3));
    /* the plane's 64 KiB wrap */
    reg(f, 0x3d4, 0x0c, (65536 - 80) >> 8);
    reg(f, 0x3d4, 0x0d, (65536 - 80) & 255);
    shot(f);
    assert_int_equal(at(24, 11), color(3));
    done(f);
}

static void cga(void **st)
{
    struct fix *f = make();
    planar_mode(f, 40, 400);
    reg(f, 0x3d4, 9, 0xc1); /* double scan, two rows a character */
    reg(f, 0x3d4, 0x13, 20);
    reg(f, 0x3d4, 0x17, 0xa2);
    reg(f, 0x3ce, 6, 0x0f);
    reg(f, 0x3ce, 5, 0x30);
    reg(f, 0x3c4, 4, 2);
    reg(f, 0x3c4, 2, 3);
    attr(f, 0x12, 3);
    poke(0xb8000 + 80 + 1, 0x1b);     /* line 2: pixels 4-7 are 0 1 2 3 */
    poke(0xb8000 + 0x2000 + 2, 0xc0); /* line 1, pixel 8 is 3 */
    shot(f);
    assert_int_equal(pic.width, 320);
    assert_int_equal(pic.height, 200);
    for (u32 i = 0; i < 4; i++)
        assert_int_equal(at(4 + i, 2), color(i));
    assert_int_equal(at(8, 1), color(3));
    assert_int_equal(at(8, 2), color(0));
    /* 640x200 in two colours */
    geometry(f, 80, 400, 1);
    reg(f, 0x3d4, 9, 0xc1);
    reg(f, 0x3d4, 0x17, 0xc2);
    reg(f, 0x3ce, 5, 0);
    reg(f, 0x3ce, 6, 0x0d);
    reg(f, 0x3c4, 4, 6);
    reg(f, 0x3c4, 2, 15);
    attr(f, 0x12, 1);
    poke(0xb8000 + 0x2000 + 80 + 5, 0x10);
    shot(f);
    assert_int_equal(pic.width, 640);
    assert_int_equal(at(43, 3), color(1));
    assert_int_equal(at(42, 3), color(0));
    done(f);
}

static void colors_256(void **st)
{
    struct fix *f = make();
    planar_mode(f, 80, 400);
    reg(f, 0x3d4, 9, 0x41); /* each line twice */
    reg(f, 0x3d4, 0x13, 40);
    reg(f, 0x3ce, 5, 0x40);
    reg(f, 0x3c4, 4, 0x0e); /* chain-4: mode 13h */
    poke(0xa0000 + 320 * 7 + 6, 200);
    shot(f);
    assert_int_equal(pic.width, 320);
    assert_int_equal(pic.height, 200);
    assert_int_equal(at(6, 7), color(200));
    reg(f, 0x3c4, 4, 6); /* mode X: the same memory, planes by the mask */
    reg(f, 0x3c4, 2, 1 << 3);
    poke(0xa0000 + 80 * 8 + 2, 77);
    shot(f);
    assert_int_equal(at(11, 8), color(77));
    assert_int_equal(at(10, 8), color(0));
    attr(f, 0x13, 6); /* three pixels */
    shot(f);
    assert_int_equal(at(8, 8), color(77));
    outb(f, 0x3c6, 0x0f); /* the PEL mask */
    shot(f);
    assert_int_equal(at(8, 8), color(77 & 15));
    done(f);
}

static void set_lfb(struct fix *f, u32 addr)
{
    bus_out(f->b, 0xcf8, 4, 0x80001010);
    bus_out(f->b, 0xcfc, 4, addr);
    bus_out(f->b, 0xcf8, 4, 0x80001004);
    bus_out(f->b, 0xcfc, 2, 2);
}

static void vbe_depths(void **st)
{
    static const struct {
        u16 bpp;
        u32 bytes, raw, want;
    } depths[] = {{8, 1, 200, 0},
                  {15, 2, 0x7c1f, 0xff00ff},
                  {16, 2, 0x07e0, 0x00ff00},
                  {24, 3, 0x123456, 0x123456},
                  {32, 4, 0xff654321, 0x654321}};
    struct fix *f = make();
    set_lfb(f, 0xe0000000);
    palette(f);
    for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
        dispi(f, 4, 0);
        dispi(f, 1, 800);
        dispi(f, 2, 600);
        dispi(f, 3, depths[i].bpp);
        dispi(f, 4, 0x41);
        dispi(f, 6, 1000); /* virtual width */
        dispi(f, 8, 8);
        dispi(f, 9, 2);
        u32 off = (1000 * (5 + 2) + 9 + 8) * depths[i].bytes;
        memory_write(m, 0xe0000000 + off, &depths[i].raw, depths[i].bytes);
        shot(f);
        assert_int_equal(pic.width, 800);
        assert_int_equal(at(9, 5), depths[i].want ? depths[i].want : color(200));
        assert_int_equal(at(8, 5), 0);
    }
    dispi(f, 4, 0); /* 16 colours, through the bank */
    dispi(f, 3, 4);
    dispi(f, 4, 1);
    reg(f, 0x3ce, 5, 2);
    reg(f, 0x3ce, 8, 0x20);
    reg(f, 0x3c4, 4, 6);
    reg(f, 0x3c4, 2, 15);
    poke(0xa0000 + 100 * 20 + 1, 13);
    shot(f);
    assert_int_equal(at(10, 20), color(13));
    done(f);
}

static void monitor_id(void **st)
{
    struct fix *f = make();
    u8 edid[128], sum = 0;
    bus_out(f->b, 0xcf8, 4, 0x80001018);
    bus_out(f->b, 0xcfc, 4, 0xe1000000);
    bus_out(f->b, 0xcf8, 4, 0x80001004);
    bus_out(f->b, 0xcfc, 2, 2);
    memory_read(m, 0xe1000000, edid, sizeof(edid));
    for (int i = 0; i < 128; i++)
        sum += edid[i];
    assert_int_equal(sum, 0);
    assert_memory_equal(edid, "\x00\xff\xff\xff\xff\xff\xff\x00", 8);
    assert_int_equal(edid[56] | (edid[58] & 0xf0) << 4, 1024);
    assert_int_equal(edid[59] | (edid[61] & 0xf0) << 4, 768);
    done(f);
}

/* ---- viewers ---- */

static struct vga_viewer viewer;
static u32 calls, rects, area, rx, ry, rw, rh;

static void on_changed(void *o)
{
    calls++;
}

static void on_rect(void *o, u32 x, u32 y, u32 w, u32 h)
{
    rects++;
    area += w * h;
    rx = x, ry = y, rw = w, rh = h;
}

static void view(struct fix *f, bool blink)
{
    viewer = (struct vga_viewer){
        .changed = on_changed, .opaque = f, .period_ms = 33, .pixels = true, .blink = blink};
    bus_lock(f->b);
    vga_add_viewer(vga, &viewer);
    bus_unlock(f->b);
    free(pic.pixels);
    pic = (struct vga_picture){0};
}

/* Lets time pass, and the vCPU thread come by. */
static void pass(struct fix *f, u64 ms)
{
    for (u64 i = 0; i < ms; i++) {
        advance(f, MS(1));
        bus_run_deferred(f->b);
    }
}

static int draw(struct fix *f)
{
    rects = area = 0;
    bus_lock(f->b);
    int r = vga_draw(vga, &pic, &viewer, on_rect, NULL);
    bus_unlock(f->b);
    return r;
}

static void traced(void **st)
{
    struct fix *f = make();
    set_lfb(f, 0xe0000000);
    dispi(f, 1, 640);
    dispi(f, 2, 480);
    dispi(f, 3, 32);
    dispi(f, 4, 0x41);
    view(f, false);
    pass(f, 100);
    assert_true(calls >= 1);
    assert_int_equal(draw(f), 1);
    /* What is on the screen is traced, and nothing else. */
    u32 shown = 640 * 480 * 4;
    assert_int_equal(memory_watch_flags(m, 0xe0000000), MEMW_DIRTY);
    assert_int_equal(memory_watch_flags(m, 0xe0000000 + shown - 1), MEMW_DIRTY);
    assert_int_equal(memory_watch_flags(m, 0xe0000000 + shown + 4096), 0);
    /* An idle screen: no timer, no call. */
    pass(f, 200);
    calls = 0;
    u64 fired = f->fired;
    advance(f, SECS(60));
    assert_int_equal(calls, 0);
    assert_int_equal(f->fired, fired);
    assert_int_equal(bus_next_deadline(f->b), 0);
    /* A write: the trace goes, one call comes, one pixel differs. */
    u32 red = 0xff0000;
    memory_write(m, 0xe0000000 + (640 * 100 + 50) * 4, &red, 4);
    assert_int_equal(memory_watch_flags(m, 0xe0000000 + (640 * 100 + 50) * 4), 0);
    memory_write(m, 0xe0000000 + (640 * 100 + 51) * 4, &red, 4);
    bus_start(f->b); /* the wake-up comes through a descriptor */
    for (int i = 0; i < 2000 && !__atomic_load_n(&calls, __ATOMIC_SEQ_CST); i++) {
        f->now += MS(1);
        usleep(1000);
        bus_run_deferred(f->b);
    }
    bus_stop(f->b);
    assert_true(calls >= 1);
    assert_int_equal(draw(f), 0);
    assert_int_equal(rects, 1);
    assert_int_equal(area, 2);
    assert_int_equal(rx, 50);
    assert_int_equal(ry, 100);
    assert_int_equal(memory_watch_flags(m, 0xe0000000 + (640 * 100 + 50) * 4), MEMW_DIRTY);
    /* Moved: nothing is traced at the old place. */
    set_lfb(f, 0xd0000000);
    assert_int_equal(memory_watch_flags(m, 0xe0000000), 0);
    pass(f, 100);
    draw(f);
    assert_int_equal(at(50, 100), red);
    assert_int_equal(memory_watch_flags(m, 0xd0000000), MEMW_DIRTY);
    /* Nobody looks: after the first write nothing traces again. */
    bus_lock(f->b);
    vga_remove_viewer(vga, &viewer);
    bus_unlock(f->b);
    memory_write(m, 0xd0000000, &red, 4);
    pass(f, 500);
    assert_int_equal(memory_watch_flags(m, 0xd0000000), 0);
    assert_int_equal(bus_next_deadline(f->b), 0);
    done(f);
}

/* The guest is stopped: its thread does not come to trace, and what was written is shown all the same. */
static void stopped(void **st)
{
    struct fix *f = make();
    set_lfb(f, 0xe0000000);
    dispi(f, 1, 64);
    dispi(f, 2, 64);
    dispi(f, 3, 32);
    dispi(f, 4, 0x41);
    view(f, false);
    advance(f, MS(200));
    assert_int_equal(draw(f), 1);
    u32 red = 0xff0000;
    memory_write(m, 0xe0000000, &red, 4);
    bus_lock(f->b);
    dispi(f, 9, 0); /* any register wakes */
    bus_unlock(f->b);
    calls = 0;
    advance(f, MS(200));
    assert_true(calls >= 1);
    draw(f);
    assert_int_equal(at(0, 0), red);
    assert_int_equal(bus_next_deadline(f->b), 0);
    done(f);
}

static void text_viewer(void **st)
{
    struct fix *f = make();
    text_mode(f);
    glyph(f, 0, 'x', 0, 0xff);
    view(f, true);
    pass(f, 100);
    assert_int_equal(draw(f), 1);
    pass(f, 100);
    calls = 0;
    pass(f, 5000);
    assert_int_equal(calls, 0); /* no cursor, nothing blinks */
    cell(10, 5, 'x', 7);
    cell(11, 5, 'x', 7);
    calls = 0;
    pass(f, 100);
    assert_int_equal(calls, 1); /* both writes */
    draw(f);
    assert_int_equal(rects, 1);
    assert_int_equal(rx, 90);
    assert_int_equal(ry, 80);
    assert_int_equal(rw, 17);
    assert_int_equal(rh, 1);
    /* A storm of writes is one call a period. */
    calls = 0;
    for (int i = 0; i < 330; i++) {
        cell((u32)i % 80, 7, 'x', (u8)i & 0x7f);
        pass(f, 1);
        draw(f);
    }
    assert_in_range(calls, 8, 12);
    /* The cursor blinks: a call a phase; moving it shows both places. */
    cell(3, 0, ' ', 7);
    reg(f, 0x3d4, 0x0f, 3);
    reg(f, 0x3d4, 0x0b, 15);
    reg(f, 0x3d4, 0x0a, 0);
    pass(f, 100);
    draw(f);
    calls = 0;
    for (int i = 0; i < 1600; i++) {
        u32 before = calls;
        pass(f, 1);
        if (calls != before)
            draw(f);
    }
    assert_in_range(calls, 5, 7);
    assert_int_equal(rw, 9);
    assert_int_equal(rh, 16);
    done(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_details),    cmocka_unit_test(small_fonts), cmocka_unit_test(split_screen),
        cmocka_unit_test(planar_graphics), cmocka_unit_test(cga),         cmocka_unit_test(colors_256),
        cmocka_unit_test(vbe_depths),      cmocka_unit_test(monitor_id),  cmocka_unit_test(traced),
        cmocka_unit_test(stopped),         cmocka_unit_test(text_viewer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
