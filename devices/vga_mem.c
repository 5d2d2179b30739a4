/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The video memory window at A0000-BFFFF: addressing (planar, odd/even, chain-4), read and write modes,
 * latches (IBM VGA technical reference; FreeVGA, "Accessing the VGA Display Memory").
 *
 * Video memory is kept interleaved: the four planes of address n are the bytes of dword n. Then a planar
 * access is one 32-bit operation, chain-4 is a plain byte access, and the linear frame buffer shows what the
 * VBE modes mean.
 *
 * Must not: go beyond VGA_VRAM, whatever the bank register says.
 */
#include "devices/vga_int.h"

/* Window offset -> offset in video memory, or -1 if the window is not decoded there. */
static i64 translate(const struct vga *v, u64 addr)
{
    switch (v->gr[6] >> 2 & 3) {
    case 0:
        return (i64)addr;
    case 1:
        if (addr >= 0x10000)
            return -1;
        return (i64)addr + (vbe_on(v) ? (i64)v->vbe[VBE_BANK] << 16 : 0);
    case 2:
        return addr >= 0x10000 && addr < 0x18000 ? (i64)addr - 0x10000 : -1;
    default:
        return addr >= 0x18000 ? (i64)addr - 0x18000 : -1;
    }
}

/* One bit a plane -> one byte a plane. */
static u32 spread(u8 bits)
{
    return (bits & 1 ? 0xffu : 0) | (bits & 2 ? 0xff00u : 0) | (bits & 4 ? 0xff0000u : 0) |
           (bits & 8 ? 0xff000000u : 0);
}

/* A plane has 64 Ki bytes, but VBE's 16 colours use more. */
static inline u64 planar_offset(const struct vga *v, i64 n)
{
    return vbe_on(v) ? ((u64)n << 2) & (VGA_VRAM - 1) : ((u64)n & 0xffff) << 2;
}

static inline u32 *dword(const struct vga *v, i64 n)
{
    return (u32 *)(v->vram + planar_offset(v, n));
}

static u8 read_byte(struct vga *v, u64 addr)
{
    i64 a = translate(v, addr);
    if (a < 0)
        return 0xff;
    if (v->sr[4] & 8) /* chain-4 */
        return v->vram[a & (VGA_VRAM - 1)];
    if (v->gr[5] & 0x10) { /* odd/even */
        int plane = (v->gr[4] & 2) | (a & 1);
        v->latch = *dword(v, a >> 1);
        return v->latch >> (8 * plane);
    }
    v->latch = *dword(v, a);
    if (!(v->gr[5] & 8))
        return v->latch >> (8 * (v->gr[4] & 3));
    /* Read mode 1: where all planes that matter equal the colour. */
    u32 diff = (v->latch ^ spread(v->gr[2])) & spread(v->gr[7]);
    diff |= diff >> 16;
    diff |= diff >> 8;
    return ~diff;
}

static u32 repeat(u8 b)
{
    return b * 0x01010101u;
}

static void write_planar(struct vga *v, i64 a, u8 val)
{
    u32 mask = spread(v->sr[2] & 15), bits, data;
    u8 rotate = v->gr[3] & 7, rot = (u8)(val >> rotate | val << (8 - rotate));
    switch (v->gr[5] & 3) {
    case 0: {
        u32 sr = spread(v->gr[1] & 15);
        data = (repeat(rot) & ~sr) | (spread(v->gr[0] & 15) & sr);
        bits = v->gr[8];
        break;
    }
    case 1:
        *dword(v, a) = (*dword(v, a) & ~mask) | (v->latch & mask);
        return;
    case 2:
        data = spread(val & 15);
        bits = v->gr[8];
        break;
    default:
        data = spread(v->gr[0] & 15);
        bits = v->gr[8] & rot;
    }
    switch (v->gr[3] >> 3 & 3) {
    case 1:
        data &= v->latch;
        break;
    case 2:
        data |= v->latch;
        break;
    case 3:
        data ^= v->latch;
        break;
    }
    u32 bm = repeat((u8)bits);
    data = (data & bm) | (v->latch & ~bm);
    *dword(v, a) = (*dword(v, a) & ~mask) | (data & mask);
}

static void write_byte(struct vga *v, u64 addr, u8 val)
{
    i64 a = translate(v, addr);
    if (a < 0)
        return;
    if (v->sr[4] & 8) { /* chain-4 */
        if (v->sr[2] >> (a & 3) & 1) {
            v->vram[a & (VGA_VRAM - 1)] = val;
            vga_mark(v, (u64)a);
        }
    } else if (v->gr[5] & 0x10) {
        int plane = (v->gr[4] & 2) | (a & 1);
        u64 off = planar_offset(v, a >> 1);
        if (v->sr[2] >> plane & 1) {
            v->vram[off + (u64)plane] = val;
            vga_mark(v, off);
        }
    } else {
        write_planar(v, a, val);
        if ((v->sr[2] & 4) && !vga_graphics(v))
            vga_registers_changed(v); /* a font */
        else
            vga_mark(v, planar_offset(v, a));
    }
}

u32 vga_window_read(void *opaque, u64 addr, int size)
{
    u32 r = 0;
    if (!(((struct vga *)opaque)->misc & 2)) /* RAM is disabled */
        return ~0u;
    for (int i = 0; i < size; i++)
        r |= (u32)read_byte(opaque, addr + (u64)i) << (8 * i);
    return r;
}

void vga_window_write(void *opaque, u64 addr, int size, u32 val)
{
    if (!(((struct vga *)opaque)->misc & 2))
        return;
    for (int i = 0; i < size; i++)
        write_byte(opaque, addr + (u64)i, val >> (8 * i));
}
