/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pictures of the screen: text, planar and CGA graphics, 256 colours, and the DISPI modes; and PNG files.
 *
 * One pixel of the picture is one of the mode's (a 320x200 mode gives 320x200, not the 640x400 of the
 * monitor), text cells are 9 or 8 pixels wide as the sequencer says. Nothing is cached: drawing happens when
 * somebody looks.
 *
 * Must not: trust a register; all sizes are bounded by MAX_SIDE and every offset is masked.
 */
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/vga_int.h"

#define MAX_SIDE 2560u

static u32 dac_color(const struct vga *v, u8 index)
{
    const u8 *c = v->dac[index & v->dac_mask];
    if (v->vbe[VBE_ENABLE] & VBE_8BIT)
        return (u32)c[0] << 16 | (u32)c[1] << 8 | c[2];
    /* 6 bits become 8 by repeating the top ones. */
    u32 r = c[0] & 63, g = c[1] & 63, b = c[2] & 63;
    return (r << 2 | r >> 4) << 16 | (g << 2 | g >> 4) << 8 | (b << 2 | b >> 4);
}

/* A 4-bit colour through the attribute controller (AR14 and the P5/P4 select). */
static u32 attr_color(const struct vga *v, u8 index)
{
    u8 a = v->ar[index & 15];
    if (v->ar[0x10] & 0x80)
        a = (a & 0x0f) | (v->ar[0x14] & 0x0f) << 4;
    else
        a = (a & 0x3f) | (v->ar[0x14] & 0x0c) << 4;
    return dac_color(v, a);
}

static inline u8 vram8(const struct vga *v, u64 off)
{
    return v->vram[off & (VGA_VRAM - 1)];
}

static int make_image(struct vga_image *img, u32 w, u32 h)
{
    img->width = w < 1 ? 1 : w > MAX_SIDE ? MAX_SIDE : w;
    img->height = h < 1 ? 1 : h > MAX_SIDE ? MAX_SIDE : h;
    img->pixels = calloc((size_t)img->width * img->height, sizeof(u32));
    return img->pixels ? 0 : -ENOMEM;
}

/* ---- text ---- */

static int draw_text(struct vga *v, struct vga_image *img)
{
    u32 cols, rows, height, width = v->sr[1] & 1 ? 8 : 9;
    vga_text_size(v, &cols, &rows, &height);
    int err = make_image(img, cols * width, rows * height);
    if (err)
        return err;
    /* Fonts live in plane 2, 8 KiB apart: maps by SR3 (FreeVGA, "Character Map Select"). */
    static const u16 map[8] = {0, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000};
    u32 font_b = map[(v->sr[3] & 3) | (v->sr[3] >> 2 & 4)],
        font_a = map[(v->sr[3] >> 2 & 3) | (v->sr[3] >> 3 & 4)];
    u32 cursor = (u32)v->cr[0x0e] << 8 | v->cr[0x0f];
    bool blink = (bus_now(v->b) / (NS_PER_SEC / 4)) & 1;
    for (u32 y = 0; y < img->height; y++) {
        u32 row = y / height, line = y % height;
        for (u32 x = 0; x < img->width; x++) {
            u32 col = x / width, bit = x % width;
            u8 ch, attr;
            vga_cell(v, col, row, &ch, &attr);
            u8 bg = attr >> 4, fg = attr & 15;
            u32 font = attr & 8 ? font_a : font_b;
            u8 bits = vram8(v, ((u64)(font + ch * 32u + line) << 2) + 2);
            bool on = bit < 8 ? bits >> (7 - bit) & 1
                              : (v->ar[0x10] & 4) && ch >= 0xc0 && ch <= 0xdf && (bits & 1); /* box drawing */
            if (v->ar[0x10] & 8) { /* blinking instead of bright backgrounds */
                if ((bg & 8) && blink)
                    on = false;
                bg &= 7;
            }
            if (vga_start(v) + row * v->cr[0x13] * 2u + col == cursor && !(v->cr[0x0a] & 0x20) &&
                line >= (v->cr[0x0a] & 31u) && line <= (v->cr[0x0b] & 31u))
                on = true;
            img->pixels[(size_t)y * img->width + x] = attr_color(v, on ? fg : bg);
        }
    }
    return 0;
}

/* ---- standard graphics ---- */

/* Address of a line in video memory, in bytes of the interleaved layout. */
static u64 line_address(const struct vga *v, u32 y)
{
    u32 compare = v->cr[0x18] | (u32)(v->cr[7] & 0x10) << 4 | (u32)(v->cr[9] & 0x40) << 3;
    u32 step = (v->cr[9] & 0x1f) + 1u;
    bool doubled = v->cr[9] & 0x80;
    u32 row = y, scan = 0;
    u64 addr = vga_start(v);
    if (y > compare) {
        row = y - compare - 1;
        addr = 0;
    }
    if (doubled)
        row /= 2;
    scan = row % step;
    row /= step;
    addr += (u64)row * v->cr[0x13] * 2;
    if (!(v->cr[0x17] & 1)) /* CGA: odd scan lines 8 KiB further */
        addr = (addr & ~(1ull << 13)) | (u64)(scan & 1) << 13;
    if (!(v->cr[0x17] & 2))
        addr = (addr & ~(1ull << 14)) | (u64)(scan >> 1 & 1) << 14;
    return addr << 2;
}

static int draw_standard(struct vga *v, struct vga_image *img)
{
    u32 mode = v->gr[5] >> 5 & 3, lines = vga_lines(v), width = (v->cr[1] + 1u) * 8;
    u32 repeat = v->cr[9] & 0x80 ? 2 : 1;
    /* Lines that only repeat are left out; CGA's scan lines differ. */
    u32 step = (v->cr[0x17] & 3) == 3 ? (v->cr[9] & 0x1f) + 1u : 1;
    if (mode >= 2)
        width /= 2;
    else if (v->sr[1] & 8)
        width = width / 2 * 2; /* half the dot clock: the register counts the real pixels already */
    u32 skip = repeat * step;
    int err = make_image(img, width, lines / skip);
    if (err)
        return err;
    for (u32 y = 0; y < img->height; y++) {
        u64 base = line_address(v, y * skip);
        u32 *out = img->pixels + (size_t)y * img->width;
        for (u32 x = 0; x < img->width; x++) {
            u8 c;
            if (mode >= 2) {
                out[x] = dac_color(v, vram8(v, base + x));
                continue;
            }
            if (mode == 1) { /* CGA: two bits a pixel, alternately from planes 0 and 1 */
                u8 b = vram8(v, base + ((x >> 3) << 2) + (x >> 2 & 1));
                c = b >> (6 - 2 * (x & 3)) & 3;
            } else {
                u64 a = base + ((u64)(x >> 3) << 2);
                u32 s = 7 - (x & 7);
                c = (vram8(v, a) >> s & 1) | (vram8(v, a + 1) >> s & 1) << 1 |
                    (vram8(v, a + 2) >> s & 1) << 2 | (vram8(v, a + 3) >> s & 1) << 3;
            }
            out[x] = attr_color(v, c & v->ar[0x12]);
        }
    }
    return 0;
}

/* ---- DISPI modes ---- */

static int draw_vbe(struct vga *v, struct vga_image *img)
{
    const u16 *r = v->vbe;
    u32 bpp = r[VBE_BPP], bytes = (bpp + 7) / 8;
    int err = make_image(img, r[VBE_XRES], r[VBE_YRES]);
    if (err)
        return err;
    for (u32 y = 0; y < img->height && y < r[VBE_YRES]; y++) {
        u32 *out = img->pixels + (size_t)y * img->width;
        u64 row = (u64)(y + r[VBE_Y_OFFSET]) * r[VBE_VIRT_WIDTH] + r[VBE_X_OFFSET];
        for (u32 x = 0; x < img->width && x < r[VBE_XRES]; x++) {
            u64 p = (row + x) * bytes;
            u32 w = vram8(v, p) | (u32)vram8(v, p + 1) << 8;
            switch (bpp) {
            case 4: {
                u64 a = (row + x) / 8 * 4;
                u32 s = 7 - ((row + x) & 7);
                u8 c = (vram8(v, a) >> s & 1) | (vram8(v, a + 1) >> s & 1) << 1 |
                       (vram8(v, a + 2) >> s & 1) << 2 | (vram8(v, a + 3) >> s & 1) << 3;
                out[x] = attr_color(v, c);
                break;
            }
            case 8:
                out[x] = dac_color(v, (u8)w);
                break;
            case 15:
                out[x] =
                    (w >> 10 & 31) * 255 / 31 << 16 | (w >> 5 & 31) * 255 / 31 << 8 | (w & 31) * 255 / 31;
                break;
            case 16:
                out[x] =
                    (w >> 11 & 31) * 255 / 31 << 16 | (w >> 5 & 63) * 255 / 63 << 8 | (w & 31) * 255 / 31;
                break;
            default:
                out[x] = w | (u32)vram8(v, p + 2) << 16;
            }
        }
    }
    return 0;
}

int vga_render(struct vga *v, struct vga_image *img)
{
    if (vbe_on(v))
        return draw_vbe(v, img);
    if (!(v->ar_index & 0x20) || (v->sr[1] & 0x20)) { /* the palette is being loaded, or the screen is off */
        return make_image(img, 640, 400);
    }
    return v->gr[6] & 1 ? draw_standard(v, img) : draw_text(v, img);
}

/* ---- PNG ---- */

static void png_quiet(png_structp png, png_const_charp message)
{
    LOG(dev, "png: %s", message);
    png_longjmp(png, 1);
}

static int write_png(FILE *f, const struct vga_image *img)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, png_quiet, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    u8 *volatile row = malloc((size_t)img->width * 3);
    volatile int err = -EIO;
    if (info && row && !setjmp(png_jmpbuf(png))) {
        png_init_io(png, f);
        png_set_IHDR(png, info, img->width, img->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        png_write_info(png, info);
        for (u32 y = 0; y < img->height; y++) {
            for (u32 x = 0; x < img->width; x++) {
                u32 p = img->pixels[(size_t)y * img->width + x];
                row[x * 3] = p >> 16;
                row[x * 3 + 1] = p >> 8;
                row[x * 3 + 2] = p;
            }
            png_write_row(png, row);
        }
        png_write_end(png, NULL);
        err = 0;
    }
    free(row);
    png_destroy_write_struct(&png, &info);
    return err;
}

int vga_screendump(struct vga *v, const char *path)
{
    struct vga_image img;
    int err = vga_render(v, &img);
    if (err)
        return err;
    FILE *f = fopen(path, "wbe");
    if (!f) {
        free(img.pixels);
        return -errno;
    }
    err = write_png(f, &img);
    if (fclose(f) && !err)
        err = -EIO;
    free(img.pixels);
    return err;
}
