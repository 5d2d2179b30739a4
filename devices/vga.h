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

/* Text mode 3, the screen cleared. font: 256 glyphs of 16 rows, or NULL: all blank. */
void vga_set_text_mode(struct vga *v, const u8 *font);

struct vga_image {
    u32 width, height;
    u32 *pixels; /* 0x00RRGGBB, rows without padding; the caller frees it */
};
/* Renders the screen; what blinks is shown. 0 or a negative errno. A blanked screen is black. */
int vga_render(struct vga *v, struct vga_image *img);
/* An image as a PNG file; needs no lock. 0 or a negative errno (-EIO: cannot be written). */
int vga_write_png(const struct vga_image *img, const char *path);
/* The screen as PNG: both of the above. */
int vga_screendump(struct vga *v, const char *path);
/* The text screen as UTF-8 lines without trailing spaces; in graphics modes one line that says which. Returns
 * the length without the ending 0; at most size - 1 bytes are written. */
size_t vga_text(struct vga *v, char *buf, size_t size);

#define VGA_MAX_COLS 256
#define VGA_MAX_ROWS 128
/* The text screen's cells. */
struct vga_cells {
    bool graphics; /* there are none: the screen shows width x height pixels of bits each */
    u32 width, height, bits;
    bool blanked;
    u32 cols, rows;
    bool cursor; /* it is on the screen, at: */
    u32 cursor_col, cursor_row;
    bool blink;                           /* attribute bit 7 means blinking, not a bright background */
    u16 cell[VGA_MAX_ROWS][VGA_MAX_COLS]; /* character | attribute << 8 */
};
void vga_read_cells(const struct vga *v, struct vga_cells *c);
/* A character of code page 437 in Unicode; control characters as the glyphs that the screen shows. */
u16 vga_cp437(u8 c);

/* ---- following the screen ----
 *
 * A viewer is told when something that it may see has changed, and then draws; between two changes nothing at
 * all runs. Video memory behind the linear frame buffer is traced page by page (MEMW_DIRTY), only what is on
 * the screen, only while a viewer wants pixels. */

#define VGA_PAGES (VGA_VRAM >> 12)

struct vga_viewer {
    void (*changed)(void *opaque); /* on the event thread, lock held */
    void *opaque;
    u32 period_ms; /* between two calls at least */
    bool pixels;   /* false: only the text screen matters */
    bool blink;    /* draws cursor and blinking characters in their phases, and is called when those change */
    /* Private to devices/vga*.c: */
    struct vga_viewer *next;
    u64 next_ns, phase;
    bool all, blinking, dirty;
    u64 pages[VGA_PAGES / 64];
};
/* The first call of changed() comes soon. */
void vga_add_viewer(struct vga *v, struct vga_viewer *w);
void vga_remove_viewer(struct vga *v, struct vga_viewer *w);
/* The viewer has seen everything up to now (vga_draw() does that itself). */
void vga_viewer_clear(struct vga_viewer *w);

struct vga_picture {
    u32 width, height;
    u32 *pixels; /* as in struct vga_image; kept between drawings */
};
/* Brings p up to date with what changed since the viewer's last drawing (viewer NULL: everything is looked
 * at). Calls damaged() (may be NULL) for each rectangle that differs now. Returns 1 if p has new pixels of
 * another size (then without calling damaged()), 0, or -ENOMEM with p as it was. */
int vga_draw(struct vga *v, struct vga_picture *p, struct vga_viewer *viewer,
             void (*damaged)(void *opaque, u32 x, u32 y, u32 width, u32 height), void *opaque);

#endif
