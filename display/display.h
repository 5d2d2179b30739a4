/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What shows a VM's screen to people and takes their input: VNC (also in a browser), and the terminal.
 *
 * The screen itself is devices/vga.h's; pictures in files are devices/screen.h's and vga_screendump().
 */
#ifndef NOVT_DISPLAY_DISPLAY_H
#define NOVT_DISPLAY_DISPLAY_H

#include "devices/devices.h"
#include "devices/ps2.h"
#include "devices/vga.h"

struct display;

struct display_config {
    const char *vnc;  /* -vnc's value, NULL or "none": no server */
    bool curses;      /* the text screen on the terminal */
    const char *name; /* of the VM, for titles; may be NULL */
};

/* Starts what the configuration asks for; what fails is reported. 0, -EINVAL for a wrong option, or another
 * negative errno. The bus's event thread need not run yet. Not with the bus lock held. */
int display_create(struct bus *b, struct vga *v, struct ps2 *keyboard, struct ps2 *mouse,
                   const struct display_config *cfg, struct display **out);
/* Ends threads and connections; before the bus goes, without its lock. d may be NULL. */
void display_destroy(struct display *d);

/* For the monitor, from any thread but the display's own, with or without the bus lock; d may be NULL.
 * Sets the VNC password (the first 8 characters count); NULL or "": nobody gets in while -vnc has
 * password=on. 0, or -ENOENT: there is no VNC server, or it runs without password=on. */
int display_set_vnc_password(struct display *d, const char *password);
/* What "info vnc" says: listening addresses and clients. Returns the length. */
size_t display_vnc_info(struct display *d, char *buf, size_t size);

#endif
