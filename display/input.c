/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys and mouse on their way to the PS/2 devices.
 *
 * A PS/2 keyboard remembers a few keys and loses the rest. People behind a network and programs that type
 * send bursts, so they wait here until the guest has taken what came before. The queue is bounded: when it is
 * half full, keys no longer go down; those that are down can always go up again, since at most 256 are down.
 */
#include <string.h>
#include "display/input.h"

static void feed(void *opaque)
{
    struct input *in = opaque;
    while (in->count && ps2_room(in->keyboard)) {
        struct key_event e = in->queue[in->head];
        in->head = (in->head + 1) % INPUT_ROOM;
        in->count--;
        ps2_key(in->keyboard, e.code, e.extended, e.down);
    }
}

void input_init(struct input *in, struct ps2 *keyboard, struct ps2 *mouse)
{
    memset(in, 0, sizeof(*in));
    in->keyboard = keyboard;
    in->mouse = mouse;
    ps2_set_drain(keyboard, feed, in);
}

void input_keys(struct input *in, const struct key_event *e, int n)
{
    for (int i = 0; i < n; i++) {
        u8 *down = &in->down[(e[i].code & 0x7f) | e[i].extended << 7];
        if (e[i].down ? in->count >= INPUT_PRESS : !*down)
            continue;
        *down = e[i].down;
        in->queue[(in->head + in->count++) % INPUT_ROOM] = e[i];
    }
    feed(in);
}

u8 input_leds(const struct input *in)
{
    return ps2_leds(in->keyboard);
}

void input_pointer(struct input *in, struct pointer *p, int x, int y, u8 buttons)
{
    int dx = p->known ? x - p->x : 0, dy = p->known ? y - p->y : 0, dz = 0;
    u8 pressed = buttons & ~p->buttons;
    if (pressed & 8)
        dz--;
    if (pressed & 16)
        dz++;
    u8 was = p->buttons & 7;
    *p = (struct pointer){.x = x, .y = y, .known = true, .buttons = buttons};
    if (dx || dy || dz || was != (buttons & 7))
        ps2_mouse(in->mouse, dx, dy, dz, (buttons & 1) | (buttons & 4) >> 1 | (buttons & 2) << 1);
}
