/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the back ends (chardev.c) and the process's terminal (terminal.c). */
#ifndef NOVT_DEVICES_CHARDEV_INT_H
#define NOVT_DEVICES_CHARDEV_INT_H

#include "devices/internal.h"

/* If stdin is a terminal: makes it raw, and arranges that exit() and fatal signals restore it. Returns
 * whether it is one. */
bool terminal_enter(void);
void terminal_leave(void);
/* A reader that goes away must be an error of write(), not the end of the VM. */
void terminal_ignore_sigpipe(void);

#endif
