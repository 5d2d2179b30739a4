/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keysyms to keys (X11/keysymdef.h's numbers; IBM PC AT technical reference, keyboard).
 *
 * A keysym says which character a person wanted, the guest gets keys and makes characters of them by its own
 * layout. We assume that this is the US one. So the key of a character is where a US keyboard has it, and
 * Shift must be as a US keyboard needs it: a German types / with Shift and 7, the guest must see the / key
 * without Shift. Around such a key the modifiers are let go or pressed for a moment. With Ctrl or Alt nothing
 * is changed: those are commands, not characters.
 *
 * Locks are the guest's: with its Caps Lock on, letters need the other Shift; with its Num Lock off, keypad
 * digits are typed on the upper row, and with it on the keypad's arrows come from the grey block.
 *
 * Invariant: what was reported down is reported up at the latest when its keysym goes up: held[] remembers
 * the key, whatever the modifiers are by then. A release that fits nothing lets all character keys go, so
 * none is stuck with clients that name another keysym when Shift went up before the key.
 */
#include "display/keys.h"
#include "devices/ps2.h"

enum { HELD_SHIFT_L = 1, HELD_SHIFT_R = 2, HELD_CTRL = 4, HELD_ALT = 8, HELD_ALTGR = 16 };

#define LED_NUM  2
#define LED_CAPS 4
#define E0       0x80

/* Keysyms FF00-FFFF: set 1 code, | E0. */
static const u8 function_keys[256] = {
    [0x08] = 0x0e,      [0x09] = 0x0f,      [0x0a] = 0x1c,
    [0x0b] = 0x4c,      [0x0d] = 0x1c,      [0x13] = E0 | 0x46,
    [0x14] = 0x46,      [0x15] = E0 | 0x37, [0x1b] = 0x01, /* Pause, Scroll Lock, SysRq, Escape */
    [0x22] = 0x7b,      [0x23] = 0x79,      [0x27] = 0x70, /* Japanese: Muhenkan, Henkan, Kana */
    [0x50] = E0 | 0x47, [0x51] = E0 | 0x4b, [0x52] = E0 | 0x48,
    [0x53] = E0 | 0x4d, [0x54] = E0 | 0x50, [0x55] = E0 | 0x49,
    [0x56] = E0 | 0x51, [0x57] = E0 | 0x4f, [0x58] = 0x4c, /* Home ... Begin */
    [0x61] = E0 | 0x37, [0x63] = E0 | 0x52, [0x67] = E0 | 0x5d,
    [0x6b] = E0 | 0x46,                                         /* Print, Insert, Menu, Break */
    [0x7e] = E0 | 0x38, [0x7f] = 0x45,                          /* AltGr, Num Lock */
    [0x80] = 0x39,      [0x89] = 0x0f,      [0x8d] = E0 | 0x1c, /* keypad: space, tab, Enter */
    [0x91] = 0x3b,      [0x92] = 0x3c,      [0x93] = 0x3d,
    [0x94] = 0x3e,      [0x95] = 0x47,      [0x96] = 0x4b,
    [0x97] = 0x48,      [0x98] = 0x4d,      [0x99] = 0x50,
    [0x9a] = 0x49,      [0x9b] = 0x51,      [0x9c] = 0x4f,
    [0x9d] = 0x4c,      [0x9e] = 0x52,      [0x9f] = 0x53,
    [0xaa] = 0x37,      [0xab] = 0x4e,      [0xac] = 0x53,
    [0xad] = 0x4a,      [0xae] = 0x53,      [0xaf] = E0 | 0x35,
    [0xbd] = 0x0d,      [0xb0] = 0x52,      [0xb1] = 0x4f,
    [0xb2] = 0x50,      [0xb3] = 0x51,      [0xb4] = 0x4b,
    [0xb5] = 0x4c,      [0xb6] = 0x4d,      [0xb7] = 0x47,
    [0xb8] = 0x48,      [0xb9] = 0x49,      [0xbe] = 0x3b,
    [0xbf] = 0x3c,      [0xc0] = 0x3d,      [0xc1] = 0x3e,
    [0xc2] = 0x3f, /* F1 ... */
    [0xc3] = 0x40,      [0xc4] = 0x41,      [0xc5] = 0x42,
    [0xc6] = 0x43,      [0xc7] = 0x44,      [0xc8] = 0x57,
    [0xc9] = 0x58,      [0xca] = 0x64,      [0xcb] = 0x65,
    [0xcc] = 0x66, /* F11 ... */
    [0xcd] = 0x67,      [0xce] = 0x68,      [0xcf] = 0x69,
    [0xd0] = 0x6a,      [0xd1] = 0x6b,      [0xd2] = 0x6c,
    [0xd3] = 0x6d,      [0xd4] = 0x6e,      [0xd5] = 0x76, /* ... F24 */
    [0xe1] = 0x2a,      [0xe2] = 0x36,      [0xe3] = 0x1d,
    [0xe4] = E0 | 0x1d, [0xe5] = 0x3a, /* Shift ... */
    [0xe7] = E0 | 0x5b, [0xe8] = E0 | 0x5c, [0xe9] = 0x38,
    [0xea] = E0 | 0x38, /* Meta, Alt */
    [0xeb] = E0 | 0x5b, [0xec] = E0 | 0x5c, [0xed] = E0 | 0x5b,
    [0xee] = E0 | 0x5c, [0xff] = E0 | 0x53,
};

static u8 modifier(u32 keysym)
{
    switch (keysym) {
    case 0xffe1:
        return HELD_SHIFT_L;
    case 0xffe2:
        return HELD_SHIFT_R;
    case 0xffe3:
    case 0xffe4:
        return HELD_CTRL;
    case 0xffe9:
        return HELD_ALT;
    case 0xffea:
    case 0xff7e:
    case 0xfe03:
        return HELD_ALTGR;
    }
    return 0;
}

/* The ASCII character of a keysym, or 0. */
static u8 character(u32 keysym, u8 leds)
{
    if (keysym >> 24 == 1) /* Unicode */
        keysym &= 0xffffff;
    if (keysym >= 0x20 && keysym < 0x7f)
        return (u8)keysym;
    switch (keysym) { /* dead keys */
    case 0xfe50:
        return '`';
    case 0xfe51:
        return '\'';
    case 0xfe52:
        return '^';
    case 0xfe53:
        return '~';
    case 0xfe57:
        return '"';
    }
    if (!(leds & LED_NUM) && keysym >= 0xffb0 && keysym <= 0xffb9)
        return (u8)('0' + keysym - 0xffb0);
    if (!(leds & LED_NUM) && keysym == 0xffae)
        return '.';
    return 0;
}

/* Key without a character: code | E0, or 0. */
static u8 function_key(u32 keysym, u8 leds)
{
    if (keysym == 0xfe03) /* ISO_Level3_Shift */
        return E0 | 0x38;
    if (keysym == 0xfe20) /* ISO_Left_Tab: Shift is down already */
        return 0x0f;
    if (keysym < 0xff00 || keysym > 0xffff)
        return 0;
    u8 code = function_keys[keysym & 0xff];
    bool keypad_arrow = keysym >= 0xff95 && keysym <= 0xff9f && keysym != 0xff9d;
    return keypad_arrow && (leds & LED_NUM) ? code | E0 : code;
}

static void put(struct key_event *out, int *n, u8 code, bool down)
{
    if (*n < KEYS_MAX)
        out[(*n)++] = (struct key_event){.code = code & 0x7f, .extended = code & E0, .down = down};
}

static u8 held_code(const struct keys *k, u32 i)
{
    return k->held[i].code | (k->held[i].extended ? E0 : 0);
}

static void forget(struct keys *k, u32 i)
{
    k->held[i] = k->held[--k->nheld];
}

static int release(struct keys *k, u32 keysym, struct key_event *out)
{
    int n = 0;
    k->mods &= ~modifier(keysym);
    for (u32 i = 0; i < k->nheld; i++) {
        if (k->held[i].keysym == keysym) {
            put(out, &n, held_code(k, i), false);
            forget(k, i);
            return n;
        }
    }
    for (u32 i = k->nheld; i-- && !modifier(keysym);) {
        if (!modifier(k->held[i].keysym)) {
            put(out, &n, held_code(k, i), false);
            forget(k, i);
        }
    }
    return n;
}

static void hold(struct keys *k, u32 keysym, u8 code, struct key_event *out, int *n)
{
    for (u32 i = 0; i < k->nheld; i++)
        if (k->held[i].keysym == keysym && held_code(k, i) == code)
            return;              /* it repeats */
    if (k->nheld == KEYS_HELD) { /* more than fingers: the first one goes up */
        put(out, n, held_code(k, 0), false);
        forget(k, 0);
    }
    k->held[k->nheld].keysym = keysym;
    k->held[k->nheld].code = code & 0x7f;
    k->held[k->nheld++].extended = code & E0;
}

static int press_character(struct keys *k, u32 keysym, u8 c, u8 leds, struct key_event *out)
{
    int n = 0;
    u8 us = ps2_us_key(c), code = us & 0x7f;
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool want = (us & 0x80) != 0, have = k->mods & (HELD_SHIFT_L | HELD_SHIFT_R);
    if (letter && (leds & LED_CAPS))
        want = !want;
    bool command = (k->mods & (HELD_CTRL | HELD_ALT)) && !(k->mods & HELD_ALTGR);
    bool shift = !command && want != have, altgr = k->mods & HELD_ALTGR;
    hold(k, keysym, code, out, &n);
    if (altgr)
        put(out, &n, E0 | 0x38, false);
    if (shift && want)
        put(out, &n, 0x2a, true);
    if (shift && (k->mods & HELD_SHIFT_L))
        put(out, &n, 0x2a, false);
    if (shift && (k->mods & HELD_SHIFT_R))
        put(out, &n, 0x36, false);
    put(out, &n, code, true);
    if (shift && (k->mods & HELD_SHIFT_R))
        put(out, &n, 0x36, true);
    if (shift && (k->mods & HELD_SHIFT_L))
        put(out, &n, 0x2a, true);
    if (shift && want)
        put(out, &n, 0x2a, false);
    if (altgr)
        put(out, &n, E0 | 0x38, true);
    return n;
}

int keys_translate(struct keys *k, u32 keysym, bool down, u8 leds, struct key_event out[KEYS_MAX])
{
    int n = 0;
    if (!down)
        return release(k, keysym, out);
    u8 c = character(keysym, leds);
    if (c)
        return press_character(k, keysym, c, leds, out);
    u8 code = function_key(keysym, leds);
    if (!code)
        return 0;
    k->mods |= modifier(keysym);
    hold(k, keysym, code, out, &n);
    put(out, &n, code, true);
    return n;
}

int keys_raw(u32 keycode, bool down, struct key_event out[KEYS_MAX])
{
    int n = 0;
    if (keycode == 0x54) /* how clients name Print Screen, and Pause as E0 45 or E0 46 */
        keycode = E0 | 0x37;
    else if (keycode == (E0 | 0x45))
        keycode = E0 | 0x46;
    if (!(keycode & 0x7f) || keycode > 0xff)
        return 0;
    put(out, &n, (u8)keycode, down);
    return n;
}
