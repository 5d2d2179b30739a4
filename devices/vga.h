/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VGA with Bochs VBE extensions, as a PCI function (1234:1111), and what a display needs of it. */
#ifndef NOVT_DEVICES_VGA_H
#define NOVT_DEVICES_VGA_H

#include "devices/devices.h"
#include "memory/memory.h"

struct vga;

#define VGA_VRAM (16 * MiB)

/* At 0:2.0, with the legacy ports and A0000-BFFFF of m. */
int vga_create(struct bus *b, struct memory *m, struct vga **out);

/* All of these are called with the bus lock held, from any thread. */

struct vga_image {
    u32 width, height;
    u32 *pixels; /* 0x00RRGGBB, rows without padding; the caller frees it */
};
/* Renders the screen. 0 or a negative errno. A blanked screen is black. */
int vga_render(struct vga *v, struct vga_image *img);
/* The screen as PNG. 0 or a negative errno (-EIO: cannot be written). */
int vga_screendump(struct vga *v, const char *path);
/* The text screen as UTF-8 lines without trailing spaces; in graphics modes one line that says which. Returns
 * the length without the ending 0; at most size - 1 bytes are written. */
size_t vga_text(struct vga *v, char *buf, size_t size);
/* Whether anything visible may have changed since the last call. */
bool vga_changed(struct vga *v);

#endif
