/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the back ends (chardev.c) and the process's terminal (terminal.c). */
#ifndef NOVT_DEVICES_CHARDEV_INT_H
#define NOVT_DEVICES_CHARDEV_INT_H

#include "devices/internal.h"
#include "devices/terminal.h"

/* A reader that goes away must be an error of write(), not the end of the VM. */
void terminal_ignore_sigpipe(void);

#endif
