/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The screen in a file: kept up to date while the guest runs, for tests and for looking over a VM's shoulder.
 */
#ifndef NOVT_DEVICES_SCREEN_H
#define NOVT_DEVICES_SCREEN_H

#include "devices/vga.h"

/* A name that ends in .png gets a picture, any other the screen's text. Written at most five times a second,
 * when something changed, and at the end; readers never see half of it. */
int screen_create(struct bus *b, struct vga *v, const char *path);

#endif
