/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process's terminal, raw while a guest owns it. */
#ifndef NOVT_DEVICES_TERMINAL_H
#define NOVT_DEVICES_TERMINAL_H

#include "base/types.h"

/* Makes standard input raw, if it is a terminal (else false), and sees to it that it is put back at exit and
 * on fatal signals. */
bool terminal_enter(void);
void terminal_leave(void);
/* Text that puts the terminal's screen back, written before the settings are; at most 63 bytes; NULL: none.
 */
void terminal_set_leave_text(const char *text);

#endif
