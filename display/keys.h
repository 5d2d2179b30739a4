/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what people type (X keysyms, as RFB has them) to keys of a PC keyboard. No state but its own:
 * testable. */
#ifndef NOVT_DISPLAY_KEYS_H
#define NOVT_DISPLAY_KEYS_H

#include "base/types.h"

struct key_event {
    u8 code; /* set 1, as for ps2_key() */
    bool extended, down;
};

#define KEYS_HELD 16 /* keys of one source that are down at a time */
#define KEYS_MAX  24 /* events that one call makes at most */

/* One source of keysyms, such as a VNC client. */
struct keys {
    struct {
        u32 keysym;
        u8 code;
        bool extended;
    } held[KEYS_HELD];
    u32 nheld;
    u8 mods; /* which of Shift, Ctrl, Alt, AltGr are down */
};

/* A keysym goes down or up. leds: the guest's keyboard lights (ps2_leds()). Writes the key events that make
 * the character appear in a guest with a US layout, whatever the person's own layout is: Shift and AltGr are
 * let go or pressed around the key where they differ. Returns how many; 0 for keysyms without a key. */
int keys_translate(struct keys *k, u32 keysym, bool down, u8 leds, struct key_event out[KEYS_MAX]);
/* A key by its position (QEMU's extended key event): 7 bits of set 1, bit 7 for E0. 0 if there is no such
 * key. */
int keys_raw(u32 keycode, bool down, struct key_event out[KEYS_MAX]);

/* The modifiers' keysyms, for those who press them themselves. */
#define KEYSYM_SHIFT_L   0xffe1u
#define KEYSYM_CONTROL_L 0xffe3u
#define KEYSYM_ALT_L     0xffe9u
#define KEYSYM_F1        0xffbeu
#define KEYSYM_DELETE    0xffffu

#endif
