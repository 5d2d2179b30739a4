/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keysyms, terminal keys and raw codes become PC keys; the queue in front of the keyboard; the pointer. */
#include "tests/unit/devices/fixture.h"

#include <ncurses.h>
#include <stdio.h>
#include "display/curses_keys.h"
#include "display/input.h"

static struct keys k;
static char seen[1024];

/* "2a+ 1e+ 1e- 2a-": what a list of keysyms (negative: up) makes. */
static const char *events(u8 leds, const int *keysyms, size_t n)
{
    struct key_event e[KEYS_MAX];
    size_t len = 0;
    seen[0] = 0;
    for (size_t i = 0; i < n; i++) {
        int c = keys_translate(&k, (u32)abs(keysyms[i]), keysyms[i] > 0, leds, e);
        assert_in_range(c, 0, KEYS_MAX);
        for (int j = 0; j < c; j++)
            len += (size_t)snprintf(seen + len, sizeof(seen) - len, "%s%s%02x%c", len ? " " : "",
                                    e[j].extended ? "e0" : "", e[j].code, e[j].down ? '+' : '-');
    }
    return seen;
}

#define EVENTS(leds, ...)                                                                                    \
    events(leds, (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))
#define SHIFT 0xffe1
#define CTRL  0xffe3
#define ALT   0xffe9
#define ALTGR 0xfe03
#define NUM   2
#define CAPS  4

static void characters(void **st)
{
    memset(&k, 0, sizeof(k));
    assert_string_equal(EVENTS(0, 'a', -'a'), "1e+ 1e-");
    /* a client that sends Shift itself */
    assert_string_equal(EVENTS(0, SHIFT, 'A', -'A', -SHIFT), "2a+ 1e+ 1e- 2a-");
    /* one that sends only the character */
    assert_string_equal(EVENTS(0, 'A', -'A'), "2a+ 1e+ 2a- 1e-");
    /* German: / is Shift and 7; the guest must see no Shift */
    assert_string_equal(EVENTS(0, SHIFT, '/', -'/', -SHIFT), "2a+ 2a- 35+ 2a+ 35- 2a-");
    assert_string_equal(EVENTS(0, 0xffe2, '/', -'/', -0xffe2), "36+ 36- 35+ 36+ 35- 36-");
    /* German: @ is AltGr and q */
    assert_string_equal(EVENTS(0, ALTGR, '@', -'@', -ALTGR), "e038+ e038- 2a+ 03+ 2a- e038+ 03- e038-");
    /* commands stay as they are */
    assert_string_equal(EVENTS(0, CTRL, 'c', -'c', -CTRL), "1d+ 2e+ 2e- 1d-");
    assert_string_equal(EVENTS(0, CTRL, SHIFT, 'C', -'C', -SHIFT, -CTRL), "1d+ 2a+ 2e+ 2e- 2a- 1d-");
    assert_string_equal(EVENTS(0, CTRL, 'C', -'C', -CTRL), "1d+ 2e+ 2e- 1d-");
    /* the guest's Caps Lock */
    assert_string_equal(EVENTS(CAPS, 'A', -'A'), "1e+ 1e-");
    assert_string_equal(EVENTS(CAPS, 'a', -'a'), "2a+ 1e+ 2a- 1e-");
    assert_string_equal(EVENTS(CAPS, '!', -'!'), "2a+ 02+ 2a- 02-");
    /* Shift goes up before the key, which is then named differently */
    assert_string_equal(EVENTS(0, SHIFT, '%', -SHIFT, -'5'), "2a+ 06+ 2a- 06-");
    /* Unicode keysyms and dead keys of ASCII characters; others have no key */
    assert_string_equal(EVENTS(0, 0x100007e, -0x100007e), "2a+ 29+ 2a- 29-");
    assert_string_equal(EVENTS(0, 0xfe52, -0xfe52), "2a+ 07+ 2a- 07-");
    assert_string_equal(EVENTS(0, 0xe4, -0xe4, 0x10020ac, -0x10020ac), "");
    /* it repeats */
    assert_string_equal(EVENTS(0, 'x', 'x', 'x', -'x'), "2d+ 2d+ 2d+ 2d-");
    assert_int_equal(k.nheld, 0);
    assert_int_equal(k.mods, 0);
}

static void every_printing_character(void **st)
{
    static const char keys[] = "`1234567890-=qwertyuiop[]\\asdfghjkl;'zxcvbnm,./ ";
    static const char shifted[] = "~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:\"ZXCVBNM<>? ";
    char plain[16], with[64];
    for (size_t i = 0; keys[i] != ' '; i++) {
        memset(&k, 0, sizeof(k));
        snprintf(plain, sizeof(plain), "%s", EVENTS(0, keys[i], -keys[i]));
        assert_int_equal(strlen(plain), 7);
        snprintf(with, sizeof(with), "2a+ %.3s 2a- %s", plain, plain + 4);
        assert_string_equal(EVENTS(0, shifted[i], -shifted[i]), with);
    }
}

static void special_keys(void **st)
{
    static const struct {
        u32 keysym;
        const char *want;
    } cases[] = {
        {0xff08, "0e+ 0e-"},     {0xff09, "0f+ 0f-"},     {0xff0d, "1c+ 1c-"},     {0xff1b, "01+ 01-"},
        {0xff13, "e046+ e046-"}, {0xff61, "e037+ e037-"}, {0xff14, "46+ 46-"},     {0xff7f, "45+ 45-"},
        {0xff50, "e047+ e047-"}, {0xff51, "e04b+ e04b-"}, {0xff52, "e048+ e048-"}, {0xff53, "e04d+ e04d-"},
        {0xff54, "e050+ e050-"}, {0xff55, "e049+ e049-"}, {0xff56, "e051+ e051-"}, {0xff57, "e04f+ e04f-"},
        {0xff63, "e052+ e052-"}, {0xffff, "e053+ e053-"}, {0xffbe, "3b+ 3b-"},     {0xffc7, "44+ 44-"},
        {0xffc8, "57+ 57-"},     {0xffc9, "58+ 58-"},     {0xffe4, "e01d+ e01d-"}, {0xffea, "e038+ e038-"},
        {0xffeb, "e05b+ e05b-"}, {0xff67, "e05d+ e05d-"}, {0xffe5, "3a+ 3a-"},     {0xff8d, "e01c+ e01c-"},
        {0xffaf, "e035+ e035-"}, {0xffaa, "37+ 37-"},     {0xffad, "4a+ 4a-"},     {0xffab, "4e+ 4e-"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&k, 0, sizeof(k));
        assert_string_equal(EVENTS(0, (int)cases[i].keysym, -(int)cases[i].keysym), cases[i].want);
    }
    /* The keypad: digits with Num Lock, arrows without; the other way round they come from elsewhere. */
    assert_string_equal(EVENTS(NUM, 0xffb7, -0xffb7), "47+ 47-");
    assert_string_equal(EVENTS(0, 0xff95, -0xff95), "47+ 47-");
    assert_string_equal(EVENTS(0, 0xffb7, -0xffb7), "08+ 08-");
    assert_string_equal(EVENTS(NUM, 0xff95, -0xff95), "e047+ e047-");
    assert_string_equal(EVENTS(0, 0xffae, -0xffae), "34+ 34-");
    /* Nonsense. */
    for (u32 s = 0; s < 0x20; s++)
        assert_string_equal(EVENTS(0, 0x2000000 + (int)s), "");
}

static void many_held(void **st)
{
    struct key_event e[KEYS_MAX];
    int down[256] = {0};
    u32 x = 7;
    memset(&k, 0, sizeof(k));
    for (int i = 0; i < 200000; i++) {
        x = x * 1664525 + 1013904223;
        u32 keysym = x >> 30 ? 0xff00 | (x >> 8 & 0xff) : 0x20 + (x >> 8) % 100;
        int n = keys_translate(&k, keysym, x >> 20 & 1, (u8)(x >> 24 & 7), e);
        assert_in_range(n, 0, KEYS_MAX);
        for (int j = 0; j < n; j++)
            down[e[j].code | e[j].extended << 7] = e[j].down;
        assert_in_range(k.nheld, 0, KEYS_HELD);
    }
    /* What is held is known: nothing is stuck when all of it is let go. */
    while (k.nheld) {
        int n = keys_translate(&k, k.held[0].keysym, false, 0, e);
        for (int j = 0; j < n; j++)
            down[e[j].code | e[j].extended << 7] = e[j].down;
    }
    for (int i = 0; i < 256; i++)
        if ((i & 0x7f) != 0x2a && (i & 0x7f) != 0x36 &&
            (i & 0x7f) != 0x38) /* shown again around characters */
            assert_int_equal(down[i], 0);
}

static void raw_codes(void **st)
{
    struct key_event e[KEYS_MAX];
    assert_int_equal(keys_raw(0x1e, true, e), 1);
    assert_int_equal(e[0].code, 0x1e);
    assert_false(e[0].extended);
    assert_int_equal(keys_raw(0xc8, true, e), 1);
    assert_int_equal(e[0].code, 0x48);
    assert_true(e[0].extended);
    assert_int_equal(keys_raw(0x54, false, e), 1); /* Print Screen */
    assert_int_equal(e[0].code, 0x37);
    assert_true(e[0].extended);
    assert_int_equal(keys_raw(0, true, e), 0);
    assert_int_equal(keys_raw(0x80, true, e), 0);
    assert_int_equal(keys_raw(0x100, true, e), 0);
    assert_int_equal(keys_raw(0xffffffff, true, e), 0);
}

/* ---- through the keyboard ---- */

static struct ps2 *kbd, *mouse;
static struct input in;

static struct fix *board(bool translate)
{
    struct fix *f = fix_new();
    pic_create(f->b);
    i8042_create(f->b);
    ps2_create(f->b, &kbd, &mouse);
    outb(f, 0x64, 0x60);
    outb(f, 0x60, translate ? 0x41 : 0x01);
    bus_lock(f->b);
    input_init(&in, kbd, mouse);
    bus_unlock(f->b);
    return f;
}

static void put(struct fix *f, u8 code, bool extended, bool down)
{
    const struct key_event e = {code, extended, down};
    bus_lock(f->b);
    input_keys(&in, &e, 1);
    bus_unlock(f->b);
}

/* The bytes that the guest reads, as hex. */
static const char *guest_reads(struct fix *f)
{
    size_t n = 0;
    seen[0] = 0;
    for (advance(f, MS(1)); (inb(f, 0x64) & 1) && n < sizeof(seen) - 4; advance(f, MS(1)))
        n += (size_t)snprintf(seen + n, sizeof(seen) - n, "%s%02x", n ? " " : "", inb(f, 0x60));
    return seen;
}

static void odd_keys(void **st)
{
    for (int translate = 0; translate < 2; translate++) {
        struct fix *f = board(translate);
        put(f, 0x46, true, true);
        put(f, 0x46, true, false);
        assert_string_equal(guest_reads(f), translate ? "e1 1d 45 e1 9d c5" : "e1 14 77 e1 f0 14 f0 77");
        put(f, 0x1d, false, true);
        put(f, 0x46, true, true);
        put(f, 0x1d, false, false);
        assert_string_equal(guest_reads(f), translate ? "1d e0 46 e0 c6 9d" : "14 e0 7e e0 f0 7e f0 14");
        put(f, 0x37, true, true);
        put(f, 0x37, true, false);
        assert_string_equal(guest_reads(f),
                            translate ? "e0 2a e0 37 e0 b7 e0 aa" : "e0 12 e0 7c e0 f0 7c e0 f0 12");
        put(f, 0x2a, false, true);
        put(f, 0x37, true, true);
        put(f, 0x37, true, false);
        put(f, 0x2a, false, false);
        assert_string_equal(guest_reads(f), translate ? "2a e0 37 e0 b7 aa" : "12 e0 7c e0 f0 7c f0 12");
        put(f, 0x38, false, true);
        put(f, 0x37, true, true);
        put(f, 0x37, true, false);
        put(f, 0x38, false, false);
        assert_string_equal(guest_reads(f), translate ? "38 54 d4 b8" : "11 84 f0 84 f0 11");
        fix_free(f);
    }
}

/* A burst waits; nothing is lost or out of order. A flood is bounded, and what went down comes up. */
static void bursts(void **st)
{
    struct fix *f = board(true);
    for (int i = 0; i < 100; i++) {
        put(f, (u8)(0x10 + i % 8), false, true);
        put(f, (u8)(0x10 + i % 8), false, false);
    }
    for (int i = 0; i < 100; i++) {
        advance(f, MS(1));
        assert_int_equal(inb(f, 0x60), 0x10 + i % 8);
        advance(f, MS(1));
        assert_int_equal(inb(f, 0x60), 0x90 + i % 8);
    }
    put(f, 0x1e, false, true);
    for (int i = 0; i < 10000; i++) {
        put(f, 0x30, false, true);
        put(f, 0x30, false, false);
    }
    assert_true(in.count <= INPUT_ROOM);
    put(f, 0x1e, false, false);
    u8 last = 0, down = 0;
    for (advance(f, MS(1)); inb(f, 0x64) & 1; advance(f, MS(1))) {
        last = inb(f, 0x60);
        down = (last & 0x7f) == 0x30 ? !(last & 0x80) : down;
    }
    assert_int_equal(last, 0x9e);
    assert_false(down);
    assert_int_equal(in.count, 0);
    fix_free(f);
}

static void pointer(void **st)
{
    struct fix *f = board(true);
    struct pointer p = {0};
    outb(f, 0x64, 0xa8);
    outb(f, 0x64, 0xd4);
    outb(f, 0x60, 0xf4);
    assert_string_equal(guest_reads(f), "fa");
    bus_lock(f->b);
    input_pointer(&in, &p, 100, 100, 0); /* where it is first tells nothing */
    input_pointer(&in, &p, 110, 95, 0);
    bus_unlock(f->b);
    assert_string_equal(guest_reads(f), "08 0a 05");
    bus_lock(f->b);
    input_pointer(&in, &p, 110, 95, 4); /* RFB's right is the mouse's second button */
    input_pointer(&in, &p, 110, 95, 0);
    input_pointer(&in, &p, 110, 95, 2);
    bus_unlock(f->b);
    assert_string_equal(guest_reads(f), "0a 00 00 08 00 00 0c 00 00");
    /* The queue is full, then the guest reads: what was held back follows, the buttons at the end are right.
     */
    bus_lock(f->b);
    for (int i = 0; i < 200; i++)
        input_pointer(&in, &p, 110 + i, 95, i & 1);
    input_pointer(&in, &p, 500, 95, 1);
    bus_unlock(f->b);
    int x = 0;
    u8 buttons = 0;
    for (advance(f, MS(1)); inb(f, 0x64) & 1; advance(f, MS(1))) {
        u8 b[3];
        for (int i = 0; i < 3; i++) {
            b[i] = inb(f, 0x60);
            advance(f, MS(1));
        }
        assert_true(b[0] & 8);
        x += b[1] - (b[0] & 0x10 ? 256 : 0);
        buttons = b[0] & 7;
        f->now -= MS(1);
    }
    assert_int_equal(x, 390);
    assert_int_equal(buttons, 1);
    fix_free(f);
}

/* ---- terminals ---- */

static void terminal(void **st)
{
    struct typed t = curses_character('A');
    assert_int_equal(t.keysym, 'A');
    t = curses_character(3);
    assert_true(t.keysym == 'c' && t.ctrl);
    assert_int_equal(curses_character(13).keysym, 0xff0d);
    assert_int_equal(curses_character(127).keysym, 0xff08);
    assert_int_equal(curses_character(9).keysym, 0xff09);
    assert_int_equal(curses_character(27).keysym, 0xff1b);
    t = curses_character(0x1c);
    assert_true(t.keysym == '\\' && t.ctrl);
    assert_int_equal(curses_character(0x20ac).keysym, 0x10020ac);
    assert_int_equal(curses_function(KEY_UP).keysym, 0xff52);
    assert_int_equal(curses_function(KEY_F(5)).keysym, 0xffc2);
    t = curses_function(KEY_F(14));
    assert_true(t.keysym == 0xffbf && t.shift && !t.ctrl && !t.alt);
    t = curses_function(KEY_F(36));
    assert_true(t.keysym == 0xffc9 && t.ctrl && !t.shift);
    t = curses_function(KEY_F(50));
    assert_true(t.keysym == 0xffbf && t.alt && !t.ctrl);
    t = curses_function(KEY_BTAB);
    assert_true(t.keysym == 0xff09 && t.shift);
    assert_int_equal(curses_function(KEY_RESIZE).keysym, 0);
    for (int c = 0; c < 256; c++)
        assert_in_range(curses_ascii((u8)c), 0x20, 0x7e);
    assert_int_equal(curses_ascii('k'), 'k');
    assert_int_equal(curses_ascii(0xc4), '-');
    assert_int_equal(curses_ascii(0xb3), '|');
    assert_int_equal(curses_ascii(0xda), '+');
    assert_int_equal(curses_ascii(0xe1), 's');
    assert_int_equal(curses_ascii(0xf6), '/');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters),   cmocka_unit_test(every_printing_character),
        cmocka_unit_test(special_keys), cmocka_unit_test(many_held),
        cmocka_unit_test(raw_codes),    cmocka_unit_test(odd_keys),
        cmocka_unit_test(bursts),       cmocka_unit_test(pointer),
        cmocka_unit_test(terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
