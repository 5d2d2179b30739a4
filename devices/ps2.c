/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PS/2 keyboard and mouse (IBM PS/2 technical reference; Chapweske, "The PS/2 Keyboard/Mouse Interface").
 *
 * Each is a queue of bytes for the controller and a small command interpreter. The keyboard speaks scan code
 * set 2, or set 1 if told to; set 3 is refused. Replies to commands go ahead of keys: a command empties the
 * queue, as the device's buffer is flushed.
 *
 * Typed text (ps2_type, the terminal source) becomes key presses; it is taken from its source only as fast as
 * the guest takes keys, so that pasted text is not lost.
 *
 * Invariant: at most QUEUE bytes wait; a key that does not fit whole is dropped (and FFh/00h says so), a
 * mouse packet is dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/internal.h"
#include "devices/ps2.h"

#define QUEUE 64
#define ROOM  32 /* typed keys wait while more than this is queued */

struct ps2 {
    struct bus *b;
    bool mouse;
    u8 q[QUEUE], head, count;
    u8 command; /* waits for its argument */
    u8 enabled, set, leds;
    u8 resend;
    /* mouse */
    u8 resolution, rate, remote, wrap, scale21, id, buttons;
    u8 rates[2]; /* the last two, for the wheel's knock */
    int dx, dy, dz;
    u8 clicked; /* the buttons' state was not told yet */
    /* keyboard */
    u8 mods; /* MOD_* that are down */
    void (*drain)(void *opaque);
    void *drain_opaque;
    /* typing */
    struct chardev *source;
    u8 esc[8], esc_len;
};

enum { MOD_SHIFT_L = 1, MOD_SHIFT_R = 2, MOD_CTRL_L = 4, MOD_CTRL_R = 8, MOD_ALT_L = 16, MOD_ALT_R = 32 };
#define MOD_SHIFT (MOD_SHIFT_L | MOD_SHIFT_R)
#define MOD_CTRL  (MOD_CTRL_L | MOD_CTRL_R)
#define MOD_ALT   (MOD_ALT_L | MOD_ALT_R)

static bool mouse_packet(struct ps2 *p);

static void push(struct ps2 *p, u8 val)
{
    if (p->count == QUEUE)
        return;
    p->q[(p->head + p->count++) % QUEUE] = val;
    i8042_device_ready(p->b);
}

bool ps2_waiting(const struct ps2 *p)
{
    return p->count;
}

bool ps2_take(struct ps2 *p, u8 *val)
{
    if (!p->count)
        return false;
    *val = p->resend = p->q[p->head];
    p->head = (p->head + 1) % QUEUE;
    p->count--;
    if (p->source && p->count <= ROOM / 2)
        chardev_accept(p->source);
    if (p->drain && p->count <= ROOM / 2)
        p->drain(p->drain_opaque);
    if (p->mouse && p->enabled && !p->remote && (p->clicked || p->dx || p->dy || p->dz))
        mouse_packet(p);
    return true;
}

/* ---- keyboard ---- */

static void keyboard_defaults(struct ps2 *p)
{
    p->set = 2;
    p->leds = 0;
}

static void keyboard_argument(struct ps2 *p, u8 cmd, u8 val)
{
    switch (cmd) {
    case 0xed:
        p->leds = val & 7;
        push(p, 0xfa);
        break;
    case 0xf0:
        if (!val) {
            push(p, 0xfa);
            push(p, p->set);
        } else if (val <= 2) {
            p->set = val;
            push(p, 0xfa);
        } else {
            push(p, 0xfe);
        }
        break;
    default: /* F3 typematic: keys do not repeat by themselves here */
        push(p, 0xfa);
    }
}

static void keyboard_command(struct ps2 *p, u8 val)
{
    switch (val) {
    case 0xed:
    case 0xf0:
    case 0xf3:
        p->command = val;
        push(p, 0xfa);
        break;
    case 0xee:
        push(p, 0xee);
        break;
    case 0xf2:
        push(p, 0xfa);
        push(p, 0xab);
        push(p, 0x83);
        break;
    case 0xf4:
        p->enabled = 1;
        push(p, 0xfa);
        break;
    case 0xf5:
        keyboard_defaults(p);
        p->enabled = 0;
        push(p, 0xfa);
        break;
    case 0xf6:
        keyboard_defaults(p);
        push(p, 0xfa);
        break;
    case 0xfe:
        push(p, p->resend);
        break;
    case 0xff:
        keyboard_defaults(p);
        p->enabled = 1;
        push(p, 0xfa);
        push(p, 0xaa);
        break;
    default:
        push(p, 0xfe);
    }
}

/* Set 1 -> set 2: the inverse of the controller's translation. */
static u8 to_set2(u8 code)
{
    for (u32 c = 1; c < 0x84; c++)
        if (i8042_translate((u8)c) == code && c != 0x7f)
            return (u8)c;
    return 0;
}

#define LONGEST_KEY 8

bool ps2_room(const struct ps2 *p)
{
    return p->count <= ROOM;
}

void ps2_set_drain(struct ps2 *p, void (*fn)(void *opaque), void *opaque)
{
    p->drain = fn;
    p->drain_opaque = opaque;
}

u8 ps2_leds(const struct ps2 *p)
{
    return p->leds;
}

/* One code in the set that is spoken. */
static void push_code(struct ps2 *p, u8 set1, bool down)
{
    if (p->set == 1) {
        push(p, set1 | (down ? 0 : 0x80));
        return;
    }
    if (!down)
        push(p, 0xf0);
    push(p, set1 == 0x54 ? 0x84 : to_set2(set1));
}

static void push_extended(struct ps2 *p, u8 set1, bool down)
{
    push(p, 0xe0);
    push_code(p, set1, down);
}

/* Pause has no release: it sends everything when it goes down. With Ctrl it is Break. */
static void pause_key(struct ps2 *p, bool down)
{
    if (!down)
        return;
    if (p->mods & MOD_CTRL) {
        push_extended(p, 0x46, true);
        push_extended(p, 0x46, false);
        return;
    }
    push(p, 0xe1);
    push_code(p, 0x1d, true);
    push_code(p, 0x45, true);
    push(p, 0xe1);
    push_code(p, 0x1d, false);
    push_code(p, 0x45, false);
}

/* SysRq with Alt; else a shifted keypad *, unless Shift or Ctrl are there already. */
static void print_key(struct ps2 *p, bool down)
{
    bool shift = !(p->mods & (MOD_SHIFT | MOD_CTRL));
    if (p->mods & MOD_ALT) {
        push_code(p, 0x54, down);
        return;
    }
    if (shift && down)
        push_extended(p, 0x2a, true);
    push_extended(p, 0x37, down);
    if (shift && !down)
        push_extended(p, 0x2a, false);
}

static u8 modifier(u8 code, bool extended)
{
    switch (code) {
    case 0x2a:
        return extended ? 0 : MOD_SHIFT_L;
    case 0x36:
        return extended ? 0 : MOD_SHIFT_R;
    case 0x1d:
        return extended ? MOD_CTRL_R : MOD_CTRL_L;
    case 0x38:
        return extended ? MOD_ALT_R : MOD_ALT_L;
    }
    return 0;
}

void ps2_key(struct ps2 *p, u8 code, bool extended, bool down)
{
    code &= 0x7f;
    u8 mod = modifier(code, extended);
    p->mods = down ? p->mods | mod : p->mods & ~mod;
    if (!p->enabled || (!to_set2(code) && code != 0x54) || p->count + LONGEST_KEY > QUEUE)
        return;
    if (extended && code == 0x46)
        pause_key(p, down);
    else if (extended && code == 0x37)
        print_key(p, down);
    else if (extended)
        push_extended(p, code, down);
    else
        push_code(p, code, down);
}

/* ASCII 20h-7Eh on a US keyboard: set 1 code, 80h with shift. */
static const u8 us_keys[95] = {
    0x39, 0x82, 0xa8, 0x84, 0x85, 0x86, 0x88, 0x28, 0x8a, 0x8b, 0x89, 0x8d, 0x33, 0x0c, 0x34,
    0x35, /*  !"#.. */
    0x0b, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0xa7, 0x27, 0xb3, 0x0d, 0xb4,
    0xb5, /* 0-9:;<=>? */
    0x83, 0x9e, 0xb0, 0xae, 0xa0, 0x92, 0xa1, 0xa2, 0xa3, 0x97, 0xa4, 0xa5, 0xa6, 0xb2, 0xb1,
    0x98, /* @A-O */
    0x99, 0x90, 0x93, 0x9f, 0x94, 0x96, 0xaf, 0x91, 0xad, 0x95, 0xac, 0x1a, 0x2b, 0x1b, 0x87,
    0x8c, /* P-Z[\]^_ */
    0x29, 0x1e, 0x30, 0x2e, 0x20, 0x12, 0x21, 0x22, 0x23, 0x17, 0x24, 0x25, 0x26, 0x32, 0x31,
    0x18,                                                                                     /* `a-o */
    0x19, 0x10, 0x13, 0x1f, 0x14, 0x16, 0x2f, 0x11, 0x2d, 0x15, 0x2c, 0x9a, 0xab, 0x9b, 0xa9, /* p-z{|}~ */
};

u8 ps2_us_key(u8 c)
{
    return c >= 0x20 && c < 0x7f ? us_keys[c - 0x20] : 0;
}

static void stroke(struct ps2 *p, u8 code, bool extended, bool shift, bool ctrl)
{
    if (shift)
        ps2_key(p, 0x2a, false, true);
    if (ctrl)
        ps2_key(p, 0x1d, false, true);
    ps2_key(p, code, extended, true);
    ps2_key(p, code, extended, false);
    if (ctrl)
        ps2_key(p, 0x1d, false, false);
    if (shift)
        ps2_key(p, 0x2a, false, false);
}

bool ps2_type(struct ps2 *p, u8 c)
{
    if (p->count > ROOM || !p->enabled)
        return false;
    if (c == '\n' || c == '\r')
        stroke(p, 0x1c, false, false, false);
    else if (c == '\t')
        stroke(p, 0x0f, false, false, false);
    else if (c == '\b' || c == 0x7f)
        stroke(p, 0x0e, false, false, false);
    else if (c == 0x1b)
        stroke(p, 0x01, false, false, false);
    else if (c >= 0x20 && c < 0x7f)
        stroke(p, us_keys[c - 0x20] & 0x7f, false, us_keys[c - 0x20] & 0x80, false);
    else if (c >= 1 && c <= 26)
        stroke(p, us_keys['a' + c - 1 - 0x20] & 0x7f, false, false, true);
    else
        return false;
    return true;
}

/* What terminals send for keys that are no characters. */
static const struct {
    const char *seq;
    u8 code;
    bool extended;
} sequences[] = {
    {"[A", 0x48, true},    {"[B", 0x50, true},    {"[C", 0x4d, true},    {"[D", 0x4b, true},
    {"[H", 0x47, true},    {"[F", 0x4f, true},    {"[1~", 0x47, true},   {"[4~", 0x4f, true},
    {"[2~", 0x52, true},   {"[3~", 0x53, true},   {"[5~", 0x49, true},   {"[6~", 0x51, true},
    {"OP", 0x3b, false},   {"OQ", 0x3c, false},   {"OR", 0x3d, false},   {"OS", 0x3e, false},
    {"[15~", 0x3f, false}, {"[17~", 0x40, false}, {"[18~", 0x41, false}, {"[19~", 0x42, false},
    {"[20~", 0x43, false}, {"[21~", 0x44, false}, {"[23~", 0x57, false}, {"[24~", 0x58, false},
};

/* Consumes a terminal's bytes; returns how many. An escape that begins no sequence is the Escape key. */
static int source_receive(void *opaque, const u8 *buf, int len)
{
    struct ps2 *p = opaque;
    int i = 0;
    while (i < len && p->count <= ROOM && p->enabled) {
        if (buf[i] != 0x1b || i + 1 == len) {
            ps2_type(p, buf[i++]);
            continue;
        }
        size_t k, n = 0;
        for (k = 0; k < ARRAY_SIZE(sequences); k++) {
            n = strlen(sequences[k].seq);
            if ((size_t)(len - i - 1) >= n && !memcmp(buf + i + 1, sequences[k].seq, n))
                break;
        }
        if (k < ARRAY_SIZE(sequences)) {
            stroke(p, sequences[k].code, sequences[k].extended, false, false);
            i += 1 + (int)n;
        } else {
            ps2_type(p, buf[i++]);
        }
    }
    return i;
}

void ps2_set_source(struct ps2 *p, struct chardev *c)
{
    const struct chardev_frontend f = {.receive = source_receive, .opaque = p};
    p->source = c;
    chardev_set_frontend(c, &f);
}

/* ---- mouse ---- */

static void mouse_defaults(struct ps2 *p)
{
    p->resolution = 2;
    p->rate = 100;
    p->scale21 = p->remote = p->wrap = 0;
    p->enabled = 0;
    p->dx = p->dy = p->dz = p->clicked = 0;
}

static int clamp(int v, int max)
{
    return v > max ? max : v < -max ? -max : v;
}

/* A packet of what has not been told yet; more than fits stays for the next. */
static bool mouse_packet(struct ps2 *p)
{
    int x = clamp(p->dx, 255), y = clamp(p->dy, 255), z = clamp(p->dz, 7);
    if (p->count + 4 > QUEUE)
        return false;
    p->clicked = 0;
    p->dx -= x;
    p->dy -= y;
    p->dz -= z;
    push(p, 0x08 | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0) | (p->buttons & 7));
    push(p, (u8)x);
    push(p, (u8)y);
    if (p->id == 3)
        push(p, (u8)z);
    return true;
}

void ps2_mouse(struct ps2 *p, int dx, int dy, int dz, u8 buttons)
{
    p->dx = clamp(p->dx + dx, 4096);
    p->dy = clamp(p->dy - dy, 4096); /* PS/2's y grows upwards */
    p->dz = clamp(p->dz + dz, 64);
    p->clicked |= p->buttons != buttons;
    p->buttons = buttons;
    if (p->id != 3)
        p->dz = 0;
    if (!p->enabled || p->remote)
        return;
    while (p->clicked || p->dx || p->dy || p->dz)
        if (!mouse_packet(p)) /* the rest follows when there is room */
            break;
}

static void mouse_argument(struct ps2 *p, u8 cmd, u8 val)
{
    push(p, 0xfa);
    if (cmd == 0xe8) {
        p->resolution = val & 3;
        return;
    }
    if (p->rates[0] == 200 && p->rates[1] == 100 && val == 80)
        p->id = 3; /* the knock of wheel mice: 200, 100, 80 */
    p->rates[0] = p->rates[1];
    p->rates[1] = val;
    p->rate = val;
}

static void mouse_command(struct ps2 *p, u8 val)
{
    if (p->wrap && val != 0xec && val != 0xff) {
        push(p, val);
        return;
    }
    switch (val) {
    case 0xe6:
    case 0xe7:
        p->scale21 = val & 1;
        break;
    case 0xe8:
    case 0xf3:
        p->command = val;
        break;
    case 0xe9:
        push(p, 0xfa);
        push(p, (p->remote ? 0x40 : 0) | (p->enabled ? 0x20 : 0) | (p->scale21 ? 0x10 : 0) |
                    (p->buttons & 1 ? 4 : 0) | (p->buttons & 4 ? 2 : 0) | (p->buttons & 2 ? 1 : 0));
        push(p, p->resolution);
        push(p, p->rate);
        return;
    case 0xea:
        p->remote = 0;
        break;
    case 0xeb:
        push(p, 0xfa);
        mouse_packet(p);
        return;
    case 0xec:
        p->wrap = 0;
        break;
    case 0xee:
        p->wrap = 1;
        break;
    case 0xf0:
        p->remote = 1;
        break;
    case 0xf2:
        push(p, 0xfa);
        push(p, p->id);
        return;
    case 0xf4:
        p->enabled = 1;
        break;
    case 0xf5:
        p->enabled = 0;
        break;
    case 0xf6:
        mouse_defaults(p);
        break;
    case 0xff:
        mouse_defaults(p);
        p->id = 0;
        push(p, 0xfa);
        push(p, 0xaa);
        push(p, 0x00);
        return;
    default:
        push(p, 0xfe);
        return;
    }
    push(p, 0xfa);
}

void ps2_send(struct ps2 *p, u8 val)
{
    u8 cmd = p->command;
    p->head = p->count = 0;
    p->command = 0;
    if (p->mouse) {
        if (cmd)
            mouse_argument(p, cmd, val);
        else
            mouse_command(p, val);
    } else if (cmd && val < 0xed) {
        keyboard_argument(p, cmd, val);
    } else {
        keyboard_command(p, val);
    }
}

/* ---- life ---- */

#define F(m) DEV_FIELD(struct ps2, m, 0)
static const struct device_field ps2_fields[] = {
    F(q),          F(head), F(count),  F(command), F(enabled), F(set), F(leds),    F(resend),
    F(resolution), F(rate), F(remote), F(wrap),    F(scale21), F(id),  F(buttons), F(rates),
    F(dx),         F(dy),   F(dz),     F(clicked), F(mods),    DEV_END};

static void ps2_reset(void *dev)
{
    struct ps2 *p = dev;
    if (p->mouse) {
        mouse_defaults(p);
    } else {
        keyboard_defaults(p);
        p->enabled = 1;
    }
}

static void ps2_destroy(void *dev)
{
    free(dev);
}

static const struct device_desc ps2_desc = {
    .name = "ps2", .fields = ps2_fields, .reset = ps2_reset, .destroy = ps2_destroy};

int ps2_create(struct bus *b, struct ps2 **keyboard, struct ps2 **mouse)
{
    for (int i = 0; i < 2; i++) {
        struct ps2 *p = dev_alloc(sizeof(*p));
        p->b = b;
        p->mouse = i;
        bus_add_device(b, &ps2_desc, p);
        i8042_attach(b, i, p);
        if (i == 0 && keyboard)
            *keyboard = p;
        if (i == 1 && mouse)
            *mouse = p;
    }
    return 0;
}
