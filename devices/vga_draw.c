/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pictures of the screen: text, planar and CGA graphics, 256 colours, and the DISPI modes (IBM VGA technical
 * reference; FreeVGA, "VGA Display Generation").
 *
 * One pixel of the picture is one of the mode's (a 320x200 mode gives 320x200, not the 640x400 of the
 * monitor), text cells are 9 or 8 pixels wide as the sequencer says. A picture is kept by whoever looks: a
 * line is drawn again only if the video memory that it shows was written (struct vga_viewer), and reported
 * only where its pixels differ from before.
 *
 * Every standard mode is a list of scan lines, each with an address in video memory and a row within the
 * character: start address, preset row scan, panning, double scanning, line compare and CGA's interleaving
 * all act there (scan_at()).
 *
 * Must not: trust a register; all sizes are bounded by MAX_SIDE and every offset is masked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "devices/vga_int.h"

#define MAX_SIDE  2560u
#define LINE_ROOM (MAX_SIDE + 64) /* a cell more than is shown, for panning */
#define MERGE     8 /* changed lines with at most so many unchanged ones between make one rectangle */

/* Everything that is the same for all lines of one drawing. */
struct view {
    const struct vga *v;
    u32 dac[256], attr[16];
    bool cursor_on, chars_on; /* phases of blinking */
    bool blinks;              /* out: something on the screen blinks */
    u32 font_a, font_b;       /* in plane 2: with attribute bit 3, without */
};

struct scan {
    u32 addr;   /* dword of video memory at the left edge */
    u32 row;    /* within the character */
    bool split; /* below line compare */
};

static u32 dac_color(const struct vga *v, u32 index)
{
    const u8 *c = v->dac[index & v->dac_mask];
    if (v->vbe[VBE_ENABLE] & VBE_8BIT)
        return (u32)c[0] << 16 | (u32)c[1] << 8 | c[2];
    /* 6 bits become 8 by repeating the top ones. */
    u32 r = c[0] & 63, g = c[1] & 63, b = c[2] & 63;
    return (r << 2 | r >> 4) << 16 | (g << 2 | g >> 4) << 8 | (b << 2 | b >> 4);
}

static void make_view(const struct vga *v, struct view *w, bool blink)
{
    /* Fonts lie in plane 2, 8 KiB apart: maps by SR3 (FreeVGA, "Character Map Select"). */
    static const u16 map[8] = {0, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000};
    w->v = v;
    for (u32 i = 0; i < 256; i++)
        w->dac[i] = dac_color(v, i);
    for (u32 i = 0; i < 16; i++) { /* through the attribute controller: AR14 and the P5/P4 select */
        u32 a = v->ar[i];
        a = v->ar[0x10] & 0x80 ? (a & 0x0f) | (v->ar[0x14] & 0x0fu) << 4
                               : (a & 0x3f) | (v->ar[0x14] & 0x0cu) << 4;
        w->attr[i] = w->dac[a];
    }
    w->font_b = map[(v->sr[3] & 3) | (v->sr[3] >> 2 & 4)];
    w->font_a = map[(v->sr[3] >> 2 & 3) | (v->sr[3] >> 3 & 4)];
    u64 phase = blink ? bus_host_now(v->b) / VGA_BLINK_NS : 0;
    w->cursor_on = !(phase & 1);
    w->chars_on = !(phase & 2);
    w->blinks = false;
}

static inline u32 dword_at(const struct vga *v, u32 n)
{
    u32 x;
    memcpy(&x, v->vram + ((u64)(n & 0xffff) << 2), 4); /* standard modes see 64 Ki addresses */
    return x;
}

static inline u8 vram8(const struct vga *v, u64 off)
{
    return v->vram[off & (VGA_VRAM - 1)];
}

/* ---- standard modes ---- */

static u32 char_height(const struct vga *v)
{
    return (v->cr[9] & 0x1f) + 1u;
}

/* Scan lines that show the same: the picture has one of them. CGA's interleaved lines differ. */
static u32 same_lines(const struct vga *v)
{
    u32 repeat = v->cr[9] & 0x80 ? 2 : 1;
    return !vga_graphics(v) || (v->cr[0x17] & 3) != 3 ? repeat : repeat * char_height(v);
}

static struct scan scan_at(const struct vga *v, u32 y)
{
    u32 compare = v->cr[0x18] | (u32)(v->cr[7] & 0x10) << 4 | (u32)(v->cr[9] & 0x40) << 3;
    struct scan s = {.split = y > compare};
    u32 line = s.split ? y - compare - 1 : y, step = char_height(v);
    if (v->cr[9] & 0x80)
        line /= 2;
    if (!s.split) {
        line += v->cr[8] & 0x1f;                      /* preset row scan */
        s.addr = vga_start(v) + (v->cr[8] >> 5 & 3u); /* byte panning */
    }
    s.row = line % step;
    s.addr += line / step * v->cr[0x13] * 2;
    if (vga_graphics(v)) {
        u32 bank = v->cr[0x17] & 0x40 ? 13 : 12; /* word addresses take two bytes each */
        if (!(v->cr[0x17] & 1))                  /* CGA: odd scan lines 8 KiB further */
            s.addr = (s.addr & ~(1u << bank)) | (s.row & 1) << bank;
        if (!(v->cr[0x17] & 2)) /* Hercules-like: four banks */
            s.addr = (s.addr & ~(2u << bank)) | (s.row & 2) << bank;
    }
    return s;
}

/* Pixels that the line is moved to the left. */
static u32 panning(const struct vga *v, const struct scan *s)
{
    u32 pan = v->ar[0x13] & 15u;
    if (s->split && (v->ar[0x10] & 0x20))
        return 0;
    if (vga_graphics(v) && (v->gr[5] & 0x40))
        return pan >> 1 & 3;
    if (!vga_graphics(v) && !(v->sr[1] & 1)) /* 9 dots: 8 means none */
        return pan >= 8 ? 0 : pan + 1;
    return pan & 7;
}

static void text_line(struct view *w, const struct scan *s, u32 *out, u32 cells)
{
    const struct vga *v = w->v;
    bool nine = !(v->sr[1] & 1), blink = v->ar[0x10] & 8;
    u32 cursor = ((u32)v->cr[0x0e] << 8 | v->cr[0x0f]) + (v->cr[0x0b] >> 5 & 3u);
    bool cursor_row = !(v->cr[0x0a] & 0x20) && s->row >= (v->cr[0x0a] & 31u) && s->row <= (v->cr[0x0b] & 31u);
    for (u32 col = 0; col < cells; col++) {
        u32 n = (s->addr + col) & 0xffff, cell = dword_at(v, n);
        u8 ch = (u8)cell, attr = (u8)(cell >> 8), bg = attr >> 4;
        u32 font = attr & 8 ? w->font_a : w->font_b;
        u32 bits = v->vram[((font + ch * 32u + s->row) << 2 | 2) & (VGA_VRAM - 1)];
        if ((attr & 0x77) == 1 && s->row == (v->cr[0x14] & 31u)) /* underline */
            bits = 0xff;
        /* The ninth dot is background, but box drawing characters go through. */
        bits <<= 1;
        if ((bits & 2) && (v->ar[0x10] & 4) && ch >= 0xc0 && ch <= 0xdf)
            bits |= 1;
        if (blink) { /* instead of bright backgrounds */
            if (bg & 8) {
                w->blinks = true;
                if (!w->chars_on)
                    bits = 0;
            }
            bg &= 7;
        }
        if (n == (cursor & 0xffff) && cursor_row) {
            w->blinks = true;
            if (w->cursor_on)
                bits = 0x1ff;
        }
        u32 fore = w->attr[attr & 15], back = w->attr[bg];
        for (u32 k = 0; k < 8; k++)
            *out++ = bits >> (8 - k) & 1 ? fore : back;
        if (nine)
            *out++ = bits & 1 ? fore : back;
    }
}

/* The four planes' bits of eight pixels. */
static inline void planar_pixels(const u32 *color, u32 planes, u32 enable, u32 *out)
{
    for (u32 k = 0; k < 8; k++) {
        u32 s = 7 - k;
        u32 c =
            (planes >> s & 1) | (planes >> (s + 7) & 2) | (planes >> (s + 14) & 4) | (planes >> (s + 21) & 8);
        out[k] = color[c & enable];
    }
}

/* groups: of eight pixels (256 colours: of four). */
static void graphics_line(struct view *w, const struct scan *s, u32 *out, u32 groups)
{
    const struct vga *v = w->v;
    u32 mode = v->gr[5] >> 5 & 3, enable = v->ar[0x12] & 15u;
    for (u32 g = 0; g < groups; g++) {
        u32 d = dword_at(v, s->addr + g);
        if (mode >= 2) {
            for (u32 k = 0; k < 4; k++)
                *out++ = w->dac[d >> (8 * k) & 0xff];
        } else if (mode == 1) { /* CGA: two bits a pixel, alternately from even and odd planes */
            for (u32 k = 0; k < 8; k++) {
                u32 from = 8 * (k >> 2), s2 = 6 - 2 * (k & 3);
                u32 c = (d >> (from + s2) & 3) | (d >> (16 + from + s2) & 3) << 2;
                *out++ = w->attr[c & enable];
            }
        } else {
            planar_pixels(w->attr, d, enable, out);
            out += 8;
        }
    }
}

/* ---- DISPI modes ---- */

static u64 vbe_line_start(const struct vga *v, u32 y)
{
    const u16 *r = v->vbe;
    return (u64)(y + r[VBE_Y_OFFSET]) * r[VBE_VIRT_WIDTH] + r[VBE_X_OFFSET]; /* in pixels */
}

static inline u32 scale5(u32 c)
{
    return c << 3 | c >> 2;
}

static inline u32 scale6(u32 c)
{
    return c << 2 | c >> 4;
}

static void vbe_line(struct view *w, u32 y, u32 *out, u32 width)
{
    const struct vga *v = w->v;
    u32 bpp = v->vbe[VBE_BPP], bytes = (bpp + 7) / 8;
    u64 row = vbe_line_start(v, y);
    if (bpp == 4) {
        for (u32 x = 0; x < width; x++) {
            u64 a = (row + x) / 8 * 4;
            u32 planes = vram8(v, a) | (u32)vram8(v, a + 1) << 8 | (u32)vram8(v, a + 2) << 16 |
                         (u32)vram8(v, a + 3) << 24;
            u32 group[8];
            planar_pixels(w->attr, planes, 15, group);
            out[x] = group[(row + x) & 7];
        }
        return;
    }
    /* The line in one piece, so that the loops below need no masks. */
    u8 piece[MAX_SIDE * 4 + 4];
    u64 off = row * bytes & (VGA_VRAM - 1);
    u32 len = width * bytes, first = VGA_VRAM - off < len ? (u32)(VGA_VRAM - off) : len;
    const u8 *p = v->vram + off;
    if (first < len) {
        memcpy(piece, p, first);
        memcpy(piece + first, v->vram, len - first);
        p = piece;
    }
    for (u32 x = 0; x < width; x++) {
        u32 c;
        switch (bpp) {
        case 8:
            out[x] = w->dac[p[x]];
            break;
        case 15:
            c = p[2 * x] | (u32)p[2 * x + 1] << 8;
            out[x] = scale5(c >> 10 & 31) << 16 | scale5(c >> 5 & 31) << 8 | scale5(c & 31);
            break;
        case 16:
            c = p[2 * x] | (u32)p[2 * x + 1] << 8;
            out[x] = scale5(c >> 11) << 16 | scale6(c >> 5 & 63) << 8 | scale5(c & 31);
            break;
        case 24:
            out[x] = p[3 * x] | (u32)p[3 * x + 1] << 8 | (u32)p[3 * x + 2] << 16;
            break;
        default:
            memcpy(&c, p + 4 * x, 4);
            out[x] = c & 0xffffff;
        }
    }
}

/* ---- any mode ---- */

static u32 bound(u32 n)
{
    return n < 1 ? 1 : n > MAX_SIDE ? MAX_SIDE : n;
}

static u32 cell_width(const struct vga *v)
{
    return v->sr[1] & 1 ? 8 : 9;
}

void vga_size(const struct vga *v, u32 *width, u32 *height)
{
    u32 groups = v->cr[1] + 1u;
    if (vbe_on(v)) {
        *width = bound(v->vbe[VBE_XRES]);
        *height = bound(v->vbe[VBE_YRES]);
        return;
    }
    if (!vga_graphics(v))
        *width = bound(groups * cell_width(v));
    else
        *width = bound(groups * (v->gr[5] & 0x40 ? 4 : 8));
    *height = bound(vga_lines(v) / same_lines(v));
}

static bool blanked(const struct vga *v)
{
    /* the palette is being loaded, or the screen is off */
    return !vbe_on(v) && (!(v->ar_index & 0x20) || (v->sr[1] & 0x20));
}

/* Draws line y of the picture. */
static void draw_line(struct view *w, u32 y, u32 *out, u32 width)
{
    const struct vga *v = w->v;
    u32 tmp[LINE_ROOM];
    if (vbe_on(v)) {
        vbe_line(w, y, out, width);
        return;
    }
    struct scan s = scan_at(v, y * same_lines(v));
    u32 pan = panning(v, &s);
    if (!vga_graphics(v))
        text_line(w, &s, tmp, width / cell_width(v) + 1);
    else
        graphics_line(w, &s, tmp, v->gr[5] & 0x40 ? width / 4 + 1 : width / 8 + 1);
    memcpy(out, tmp + pan, width * sizeof(u32));
}

/* The bytes of video memory that line y shows. */
static void line_bytes(const struct vga *v, u32 y, u32 width, u64 *off, u32 *len)
{
    if (vbe_on(v)) {
        u32 bpp = v->vbe[VBE_BPP];
        u64 row = vbe_line_start(v, y);
        *off = bpp == 4 ? row / 2 & ~3ull : row * ((bpp + 7) / 8);
        *len = bpp == 4 ? width / 2 + 8 : width * ((bpp + 7) / 8);
        return;
    }
    struct scan s = scan_at(v, y * same_lines(v));
    *off = (u64)(s.addr & 0xffff) << 2;
    *len = (v->cr[1] + 2u) * 4;
}

static bool line_dirty(const struct vga *v, const u64 *pages, u32 y, u32 width)
{
    u64 off;
    u32 len;
    line_bytes(v, y, width, &off, &len);
    u64 limit = vbe_on(v) ? VGA_VRAM : 256 * KiB; /* both are powers of two: it wraps */
    for (u64 page = off >> PAGE_SHIFT; page <= (off + len - 1) >> PAGE_SHIFT; page++) {
        u64 p = page & ((limit >> PAGE_SHIFT) - 1);
        if (pages[p >> 6] >> (p & 63) & 1)
            return true;
    }
    return false;
}

void vga_visible(const struct vga *v, u32 *first, u32 *count)
{
    u64 off, last_off;
    u32 len, last_len, width, height;
    vga_size(v, &width, &height);
    *first = 0;
    *count = (u32)(256 * KiB >> PAGE_SHIFT);
    if (!vbe_on(v))
        return;
    line_bytes(v, 0, width, &off, &len);
    line_bytes(v, height - 1, width, &last_off, &last_len);
    u64 pages = ((last_off + last_len - 1) >> PAGE_SHIFT) - (off >> PAGE_SHIFT) + 1;
    *first = (u32)(off >> PAGE_SHIFT) & (VGA_PAGES - 1);
    *count = pages < VGA_PAGES ? (u32)pages : VGA_PAGES;
}

/* Changed lines grow into a rectangle until they are too far apart. */
struct damage {
    void (*fn)(void *opaque, u32 x, u32 y, u32 width, u32 height);
    void *opaque;
    u32 x0, x1, y0, y1; /* [x0, x1) x [y0, y1); empty: y1 == 0 */
};

static void damage_flush(struct damage *d)
{
    if (d->y1 && d->fn)
        d->fn(d->opaque, d->x0, d->y0, d->x1 - d->x0, d->y1 - d->y0);
    d->y1 = 0;
}

static void damage_line(struct damage *d, u32 y, u32 x0, u32 x1)
{
    if (d->y1 && y > d->y1 + MERGE)
        damage_flush(d);
    if (!d->y1)
        *d = (struct damage){d->fn, d->opaque, x0, x1, y, y + 1};
    d->x0 = x0 < d->x0 ? x0 : d->x0;
    d->x1 = x1 > d->x1 ? x1 : d->x1;
    d->y1 = y + 1;
}

/* Takes the line into the picture; true with the range that differs. */
static bool take_line(u32 *to, const u32 *from, u32 width, u32 *x0, u32 *x1)
{
    if (!memcmp(to, from, width * sizeof(u32)))
        return false;
    u32 a = 0, b = width;
    while (to[a] == from[a])
        a++;
    while (to[b - 1] == from[b - 1])
        b--;
    memcpy(to + a, from + a, (b - a) * sizeof(u32));
    *x0 = a;
    *x1 = b;
    return true;
}

static int set_size(struct vga_picture *p, u32 width, u32 height)
{
    u32 *pixels = calloc((size_t)width * height, sizeof(u32));
    if (!pixels)
        return -ENOMEM;
    free(p->pixels);
    p->width = width;
    p->height = height;
    p->pixels = pixels;
    return 1;
}

int vga_draw(struct vga *v, struct vga_picture *p, struct vga_viewer *viewer,
             void (*damaged)(void *opaque, u32 x, u32 y, u32 width, u32 height), void *opaque)
{
    u32 width, height, line[LINE_ROOM];
    struct damage d = {.fn = damaged, .opaque = opaque};
    struct view w;
    int resized = 0;
    vga_size(v, &width, &height);
    bool blank = blanked(v);
    if (blank && p->pixels) { /* modes are set with the screen off: keep the size until it is on again */
        width = p->width;
        height = p->height;
    } else if (blank) {
        width = 640;
        height = 400;
    }
    if (!p->pixels || p->width != width || p->height != height) {
        resized = set_size(p, width, height);
        if (resized < 0)
            return resized;
    }
    make_view(v, &w, viewer && viewer->blink);
    bool all = resized || !viewer || viewer->all || blank;
    bool text = !blank && !vga_graphics(v);
    bool again = text && viewer && viewer->blinking; /* something may have to blink */
    for (u32 y = 0; y < height; y++) {
        u32 x0, x1;
        if (!all && !again && !line_dirty(v, viewer->pages, y, width))
            continue;
        if (blank)
            memset(line, 0, width * sizeof(u32));
        else
            draw_line(&w, y, line, width);
        if (take_line(p->pixels + (size_t)y * width, line, width, &x0, &x1) && !resized)
            damage_line(&d, y, x0, x1);
    }
    damage_flush(&d);
    if (viewer) {
        if (all || again)
            viewer->blinking = text && w.blinks;
        else
            viewer->blinking |= text && w.blinks;
        vga_viewer_clear(viewer);
        if (viewer->blinking)
            vga_keep_blinking(v);
    }
    return resized;
}

int vga_render(struct vga *v, struct vga_image *img)
{
    struct vga_picture p = {0};
    int err = vga_draw(v, &p, NULL, NULL, NULL);
    if (err < 0)
        return err;
    *img = (struct vga_image){.width = p.width, .height = p.height, .pixels = p.pixels};
    return 0;
}
