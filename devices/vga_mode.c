/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text mode 3 as a video BIOS sets it, for guests that are loaded directly: 80x25 cells of 9x16 pixels,
 * colour registers at 3Dxh, the 64 colours of an EGA, the screen cleared (IBM VGA Technical Reference, mode
 * 3+).
 */
#include <string.h>
#include "devices/vga_int.h"

static const u8 seq[5] = {0x03, 0x00, 0x03, 0x00, 0x02};
static const u8 crtc[25] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
                            0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
static const u8 graphics[9] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff};
static const u8 attribute[21] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
                                 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};

void vga_set_text_mode(struct vga *v, const u8 *font)
{
    v->vbe[VBE_ENABLE] = 0;
    v->misc = 0x67;
    v->feature = 0;
    memcpy(v->sr, seq, sizeof(seq));
    memcpy(v->cr, crtc, sizeof(crtc));
    memcpy(v->gr, graphics, sizeof(graphics));
    memcpy(v->ar, attribute, sizeof(attribute));
    v->ar_index = 0x20; /* the palette belongs to the screen */
    v->ar_flip = 0;
    v->dac_mask = 0xff;
    for (int i = 0; i < 64; i++) { /* bits 2-0 are two thirds of red, green, blue, bits 5-3 the other third */
        for (int c = 0; c < 3; c++)
            v->dac[i][c] = (u8)((i >> (2 - c) & 1) * 0x2a + (i >> (5 - c) & 1) * 0x15);
    }
    for (u32 n = 0; n < 64 * KiB; n++) /* character, attribute, font, nothing */
        memcpy(v->vram + 4 * n, (const u8[4]){0x20, 0x07, 0, 0}, 4);
    for (u32 ch = 0; font && ch < 256; ch++)
        for (u32 row = 0; row < 16; row++)
            v->vram[4 * (32 * ch + row) + 2] = font[16 * ch + row];
    vga_registers_changed(v);
}
