/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what a terminal sends to keysyms, and from the screen's characters to the terminal's. */
#ifndef NOVT_DISPLAY_CURSES_KEYS_H
#define NOVT_DISPLAY_CURSES_KEYS_H

#include "base/types.h"

struct typed {
    u32 keysym; /* 0: no such key */
    bool shift, ctrl, alt;
};
/* A character as typed: ASCII control characters are Ctrl and a letter, except those with keys of their own.
 */
struct typed curses_character(u32 ch);
/* A function key: curses' KEY_* code. */
struct typed curses_function(int key);
/* ASCII stand-in for a character of code page 437, for terminals without UTF-8. */
char curses_ascii(u8 ch);

#endif
