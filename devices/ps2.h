/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PS/2 keyboard and mouse, as they hang on the i8042. */
#ifndef NOVT_DEVICES_PS2_H
#define NOVT_DEVICES_PS2_H

#include "devices/devices.h"

struct ps2;

/* Plugs both into the i8042 (which must exist). Either pointer may be NULL. */
int ps2_create(struct bus *b, struct ps2 **keyboard, struct ps2 **mouse);

/* A key goes down or up: its set 1 code (1-7Fh), extended: with an E0 prefix. E0 46 is the Pause/Break key
 * and E0 37 Print Screen/SysRq; what they send depends on the modifiers that are down, as in the keyboard. A
 * key for which there is no room is lost: ps2_room(). Lock held. */
void ps2_key(struct ps2 *keyboard, u8 code, bool extended, bool down);
bool ps2_room(const struct ps2 *keyboard); /* any key fits */
/* Called when there is plenty of room again. */
void ps2_set_drain(struct ps2 *keyboard, void (*fn)(void *opaque), void *opaque);
/* The lights that the guest has set: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock. */
u8 ps2_leds(const struct ps2 *keyboard);
/* Key of a printing ASCII character (20h-7Eh) on a US keyboard: set 1 code, | 80h if it needs Shift. */
u8 ps2_us_key(u8 c);
/* Types a character of a US keyboard (ASCII; \n is Enter, \b Backspace, 1Bh Escape). Returns false if there
 * is no room yet or no such key. Lock held. */
bool ps2_type(struct ps2 *keyboard, u8 c);
/* Relative motion (y grows downwards), wheel, buttons: 1 left, 2 right, 4 middle. Lock held. */
void ps2_mouse(struct ps2 *mouse, int dx, int dy, int dz, u8 buttons);
/* Typed characters come from c, as if it were a terminal: arrows and function keys by their escape sequences.
 */
void ps2_set_source(struct ps2 *keyboard, struct chardev *c);

/* For the i8042: the next byte for the host (false: none), and a byte from it. */
bool ps2_take(struct ps2 *p, u8 *val);
bool ps2_waiting(const struct ps2 *p);
void ps2_send(struct ps2 *p, u8 val);
/* i8042.c: plugs in; ready() is how the device says that it has something. */
void i8042_attach(struct bus *b, int port, struct ps2 *p); /* port 0 keyboard, 1 auxiliary */
void i8042_device_ready(struct bus *b);
/* Set 2 -> set 1, as the controller translates; codes above 7Fh but two are unchanged. */
u8 i8042_translate(u8 code);

#endif
