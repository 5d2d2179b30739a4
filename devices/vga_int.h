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
    u8 changed;
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

/* vga_mem.c */
u32 vga_window_read(void *opaque, u64 addr, int size);
void vga_window_write(void *opaque, u64 addr, int size, u32 val);
/* vga_text.c */
void vga_text_size(const struct vga *v, u32 *cols, u32 *rows, u32 *height);
/* Character and attribute at a cell. */
void vga_cell(const struct vga *v, u32 col, u32 row, u8 *ch, u8 *attr);

#endif
