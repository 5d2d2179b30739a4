/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text screen on the process's terminal. */
#ifndef NOVT_DISPLAY_CURSES_DISPLAY_H
#define NOVT_DISPLAY_CURSES_DISPLAY_H

#include "display/input.h"

struct bus;
struct vga;
struct curses;

/* Takes the terminal over; one VM of a process can have it. Reports what is wrong. 0 or a negative errno.
 * Without the bus lock, before other threads start (SIGWINCH becomes theirs to ignore). */
int curses_create(struct bus *b, struct vga *v, struct input *in, const char *name, struct curses **out);
void curses_destroy(struct curses *c); /* gives the terminal back; c may be NULL */

#endif
