/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between vga.c (registers), vga_mem.c (the A0000 window), vga_draw.c (pictures) and vga_text.c. */
#ifndef NOVT_DEVICES_VGA_INT_H
#define NOVT_DEVICES_VGA_INT_H

#include "devices/internal.h"
#include "devices/pci.h"
#include "devices/vga.h"

enum {
    VBE_ID,
    VBE_XRES,
    VBE_YRES,
    VBE_BPP,
    VBE_ENABLE,
    VBE_BANK,
    VBE_VIRT_WIDTH,
    VBE_VIRT_HEIGHT,
    VBE_X_OFFSET,
    VBE_Y_OFFSET,
    VBE_VIDEO_MEMORY_64K,
    VBE_COUNT
};
#define VBE_ENABLED 0x01
#define VBE_GETCAPS 0x02
#define VBE_8BIT    0x20
#define VBE_LFB     0x40
#define VBE_NOCLEAR 0x80
#define VBE_MAX_X   2560
#define VBE_MAX_Y   1600

struct vga {
    struct bus *b;
    struct memory *mem;
    struct pci_dev pci;
    int window, mmio; /* regions */
    u32 lfb, regs;    /* where the BARs are mapped, 0: nowhere */

    int fd;
    u8 *vram; /* planar memory: byte p of dword n is plane p at address n */
    u32 latch;

    u8 misc, feature, st00;
    u8 sr_index, sr[8];
    u8 gr_index, gr[16];
    u8 ar_index, ar[32], ar_flip;
    u8 cr_index, cr[32];
    u8 dac[256][3], dac_mask, dac_read, dac_write, dac_sub, dac_state, dac_latch[3];
    u16 vbe_index, vbe[VBE_COUNT];
    u8 edid[128];

    /* vga_dirty.c: who looks, and what was written since they did */
    struct vga_viewer *viewers;
    struct bus_timer *refresh;
    u64 refresh_at;            /* when the timer fires; 0: it does not */
    bool awake;                /* it was set for marks that are there: more of them need nothing */
    bool changed;              /* registers: everything may look different */
    u64 dirty[VGA_PAGES / 64]; /* written through the windows */
    u8 lfb_dirty[VGA_PAGES];   /* not traced: may be written through BAR 0 at any time. vCPU thread. */
    u32 lfb_wake;              /* wake_fd was written to; atomic */
    int wake_fd;               /* from light code on the vCPU thread to the event thread */
    struct bus_work trace;
};

static inline bool vbe_on(const struct vga *v)
{
    return v->vbe[VBE_ENABLE] & VBE_ENABLED;
}
static inline bool vga_graphics(const struct vga *v)
{
    return vbe_on(v) || (v->gr[6] & 1);
}
static inline u32 vga_start(const struct vga *v)
{
    return (u32)v->cr[0x0c] << 8 | v->cr[0x0d];
}
static inline u32 vga_lines(const struct vga *v)
{
    return (v->cr[0x12] | (u32)(v->cr[7] & 2) << 7 | (u32)(v->cr[7] & 0x40) << 3) + 1;
}

/* vga_dirty.c */
#define VGA_BLINK_NS (NS_PER_SEC * 16 / 60) /* half a period of the cursor */
int vga_dirty_init(struct vga *v);
void vga_dirty_done(struct vga *v);
void vga_wake(struct vga *v);
void vga_keep_blinking(struct vga *v); /* viewers that blink are called at the next phase */
/* The frame buffer is not mapped any more, or mapped now: what was traced is not. */
void vga_untraced(struct vga *v);
static inline void vga_mark(struct vga *v, u64 offset)
{
    u64 page = offset >> PAGE_SHIFT & (VGA_PAGES - 1);
    v->dirty[page >> 6] |= 1ull << (page & 63);
    if (v->viewers && !v->awake)
        vga_wake(v);
}
static inline void vga_registers_changed(struct vga *v)
{
    v->changed = true;
    if (v->viewers && !v->awake)
        vga_wake(v);
}
/* vga_draw.c */
void vga_size(const struct vga *v, u32 *width, u32 *height);
/* Pages of video memory that are on the screen; they may wrap. */
void vga_visible(const struct vga *v, u32 *first, u32 *count);
/* vga_mem.c */
u32 vga_window_read(void *opaque, u64 addr, int size);
void vga_window_write(void *opaque, u64 addr, int size, u32 val);

#endif
