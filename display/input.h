/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A queue between those who type and the PS/2 keyboard, which takes keys only as fast as the guest does. */
#ifndef NOVT_DISPLAY_INPUT_H
#define NOVT_DISPLAY_INPUT_H

#include "devices/ps2.h"
#include "display/keys.h"

#define INPUT_ROOM  1024
#define INPUT_PRESS 512 /* above this many waiting events, keys that go down are dropped */

struct input {
    struct ps2 *keyboard, *mouse;
    struct key_event queue[INPUT_ROOM];
    u32 head, count;
    u8 down[256]; /* [code | extended << 7]: reported or queued as down */
};

/* All with the bus lock held. */
void input_init(struct input *in, struct ps2 *keyboard, struct ps2 *mouse);
/* Keys that go up are never lost if they went down. */
void input_keys(struct input *in, const struct key_event *e, int n);
u8 input_leds(const struct input *in);

/* An absolute pointer, as RFB has it, becomes the relative motion of a mouse. */
struct pointer {
    int x, y;
    bool known; /* x and y are where the pointer was last */
    u8 buttons;
};
/* buttons: RFB's mask: 1 left, 2 middle, 4 right, 8 and 16 the wheel up and down. */
void input_pointer(struct input *in, struct pointer *p, int x, int y, u8 buttons);

#endif
