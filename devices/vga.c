/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VGA registers, Bochs VBE ("DISPI") registers, and the PCI function (IBM VGA technical reference; Bochs'
 * vbe_dispi interface, version B0C5).
 *
 * BAR 0 is the frame buffer, mapped into the guest as memory. BAR 2 shows the monitor's EDID at 0, the legacy
 * registers at 400h, the DISPI registers at 500h and the byte order register at 604h.
 *
 * Setting the DISPI enable bit also programs the standard registers that the drawing code and the window look
 * at: firmware does not.
 *
 * Invariant: whatever the registers hold, drawing reads inside video memory (it masks every offset).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/log.h"
#include "devices/vga_int.h"

/* ---- timing: the registers count scan lines of 31.8 us, as a VGA monitor wants them ---- */

#define LINE_NS 31778ull

static u8 status1(struct vga *v)
{
    u32 total = (v->cr[6] | (u32)(v->cr[7] & 1) << 8 | (u32)(v->cr[7] & 0x20) << 4) + 2;
    if (total < 200 || vbe_on(v)) /* not set up, or a mode whose timing nobody programmed */
        total = 449;
    u64 t = bus_now(v->b) % (total * LINE_NS), line = t / LINE_NS;
    u32 shown = vga_lines(v), start = v->cr[0x10] | (u32)(v->cr[7] & 4) << 6 | (u32)(v->cr[7] & 0x80) << 2;
    if (shown >= total - 4)
        shown = total - 4;
    if (start < shown || start >= total - 2)
        start = total - 3;
    bool retrace = line >= start && line < start + 2;
    bool blank = line >= shown || t % LINE_NS > LINE_NS * 4 / 5;
    v->ar_flip = 0;
    return (retrace ? 8 : 0) | (blank ? 1 : 0);
}

/* ---- DISPI ---- */

static u32 vbe_bytes(const struct vga *v)
{
    u32 bpp = v->vbe[VBE_BPP];
    return bpp == 4 ? 0 : (bpp + 7) / 8;
}

/* Keeps the virtual screen inside video memory. */
static void vbe_fix(struct vga *v)
{
    u16 *r = v->vbe;
    if (r[VBE_XRES] > VBE_MAX_X)
        r[VBE_XRES] = VBE_MAX_X;
    if (r[VBE_YRES] > VBE_MAX_Y)
        r[VBE_YRES] = VBE_MAX_Y;
    if (r[VBE_VIRT_WIDTH] < r[VBE_XRES])
        r[VBE_VIRT_WIDTH] = r[VBE_XRES];
    u32 line = vbe_bytes(v) ? r[VBE_VIRT_WIDTH] * vbe_bytes(v) : r[VBE_VIRT_WIDTH] / 2u;
    u32 height = line ? (u32)VGA_VRAM / line : 0;
    r[VBE_VIRT_HEIGHT] = height < 0xffff ? height : 0xffff;
}

static void vbe_enable(struct vga *v, u16 val)
{
    u16 *r = v->vbe;
    bool was = vbe_on(v);
    r[VBE_ENABLE] = val & (VBE_ENABLED | VBE_GETCAPS | VBE_8BIT | VBE_LFB | VBE_NOCLEAR);
    if (!(val & VBE_ENABLED) || was)
        return;
    r[VBE_VIRT_WIDTH] = r[VBE_XRES];
    r[VBE_X_OFFSET] = r[VBE_Y_OFFSET] = r[VBE_BANK] = 0;
    vbe_fix(v);
    u32 line = vbe_bytes(v) ? r[VBE_VIRT_WIDTH] * vbe_bytes(v) : r[VBE_VIRT_WIDTH] / 2u;
    if (!(val & VBE_NOCLEAR)) {
        u64 n = (u64)line * r[VBE_YRES];
        memset(v->vram, 0, n < VGA_VRAM ? n : VGA_VRAM);
    }
    v->gr[6] = (v->gr[6] & ~0x0c) | 0x05; /* graphics, A0000 64K */
    v->cr[0x17] |= 3;
    v->cr[0x13] = line >> 3;
    v->cr[1] = (r[VBE_XRES] >> 3) - 1;
    u32 last = r[VBE_YRES] - 1u;
    v->cr[0x12] = last;
    v->cr[7] = (v->cr[7] & ~0x42) | (last >> 7 & 2) | (last >> 3 & 0x40);
    v->cr[0x18] = 0xff;
    v->cr[7] |= 0x10;
    v->cr[9] |= 0x40;
    v->cr[9] &= ~0x9f;
    if (r[VBE_BPP] == 4) {
        v->gr[5] &= ~0x60;
        v->sr[4] &= ~8;
    } else {
        v->gr[5] = (v->gr[5] & ~0x60) | 0x40;
        v->sr[4] |= 8;
        v->sr[2] |= 15;
    }
}

static u16 vbe_read(struct vga *v, u16 index)
{
    if (index >= VBE_COUNT)
        return 0;
    if (index == VBE_VIDEO_MEMORY_64K)
        return VGA_VRAM >> 16;
    if (v->vbe[VBE_ENABLE] & VBE_GETCAPS) {
        if (index == VBE_XRES)
            return VBE_MAX_X;
        if (index == VBE_YRES)
            return VBE_MAX_Y;
        if (index == VBE_BPP)
            return 32;
    }
    return v->vbe[index];
}

static void vbe_write(struct vga *v, u16 index, u16 val)
{
    vga_registers_changed(v);
    switch (index) {
    case VBE_ID:
        if (val >= 0xb0c0 && val <= 0xb0c5)
            v->vbe[VBE_ID] = val;
        break;
    case VBE_XRES:
    case VBE_YRES:
        v->vbe[index] = val;
        vbe_fix(v);
        break;
    case VBE_VIRT_WIDTH:
        v->vbe[index] = val;
        vbe_fix(v);
        break;
    case VBE_BPP:
        if (val == 0)
            val = 8;
        if (val == 4 || val == 8 || val == 15 || val == 16 || val == 24 || val == 32)
            v->vbe[index] = val;
        break;
    case VBE_BANK:
        v->vbe[index] = val & ((VGA_VRAM >> 16) - 1);
        break;
    case VBE_X_OFFSET:
    case VBE_Y_OFFSET:
        v->vbe[index] = val;
        break;
    case VBE_ENABLE:
        vbe_enable(v, val);
        break;
    }
}

/* ---- legacy registers ---- */

static u8 dac_data_read(struct vga *v)
{
    u8 val = v->dac[v->dac_read][v->dac_sub];
    if (++v->dac_sub == 3) {
        v->dac_sub = 0;
        v->dac_read++;
    }
    return val;
}

static void dac_data_write(struct vga *v, u8 val)
{
    v->dac_latch[v->dac_sub] = v->vbe[VBE_ENABLE] & VBE_8BIT ? val : val & 0x3f;
    if (++v->dac_sub == 3) {
        u8 *c = v->dac[v->dac_write++];
        bool same = !memcmp(c, v->dac_latch, 3);
        memcpy(c, v->dac_latch, 3);
        v->dac_sub = 0;
        if (!same)
            vga_registers_changed(v);
    }
}

/* The CRTC and status ports move with the colour/mono bit of the miscellaneous register. */
static bool absent(const struct vga *v, u16 port)
{
    return v->misc & 1 ? port >= 0x3b0 && port <= 0x3bf : port >= 0x3d0 && port <= 0x3df;
}

static u8 read_reg(struct vga *v, u16 port)
{
    if (absent(v, port))
        return 0xff;
    switch (port) {
    case 0x3c0:
        return v->ar_flip ? 0 : v->ar_index;
    case 0x3c1:
        return v->ar[v->ar_index & 31];
    case 0x3c2:
        return v->st00 | 0x10; /* switch sense: colour */
    case 0x3c4:
        return v->sr_index;
    case 0x3c5:
        return v->sr[v->sr_index & 7];
    case 0x3c6:
        return v->dac_mask;
    case 0x3c7:
        return v->dac_state;
    case 0x3c8:
        return v->dac_write;
    case 0x3c9:
        return dac_data_read(v);
    case 0x3ca:
        return v->feature;
    case 0x3cc:
        return v->misc;
    case 0x3ce:
        return v->gr_index;
    case 0x3cf:
        return v->gr[v->gr_index & 15];
    case 0x3b4:
    case 0x3d4:
        return v->cr_index;
    case 0x3b5:
    case 0x3d5:
        return v->cr[v->cr_index & 31];
    case 0x3ba:
    case 0x3da:
        return status1(v);
    }
    return 0xff;
}

/* A register that the screen shows. */
static void set(struct vga *v, u8 *reg, u8 val)
{
    if (*reg != val)
        vga_registers_changed(v);
    *reg = val;
}

static void write_crtc(struct vga *v, u8 val)
{
    u8 i = v->cr_index;
    if ((i == 0x0e || i == 0x0f) &&
        v->cr[i] != val) { /* the text cursor: where it was and where it will be */
        vga_mark(v, ((u64)v->cr[0x0e] << 8 | v->cr[0x0f]) << 2);
        v->cr[i] = val;
        vga_mark(v, ((u64)v->cr[0x0e] << 8 | v->cr[0x0f]) << 2);
        return;
    }
    set(v, &v->cr[i], val);
}

static void attr_write(struct vga *v, u8 val)
{
    if (!v->ar_flip) {
        if ((v->ar_index ^ val) & 0x20)
            vga_registers_changed(v);
        v->ar_index = val & 0x3f;
    } else {
        static const u8 masks[5] = {0xef, 0xff, 0x3f, 0x0f, 0x0f};
        int i = v->ar_index & 31;
        if (i < 16)
            set(v, &v->ar[i], val & 0x3f);
        else if (i < 0x15)
            set(v, &v->ar[i], val & masks[i - 0x10]);
    }
    v->ar_flip ^= 1;
}

static void write_reg(struct vga *v, u16 port, u8 val)
{
    static const u8 sr_mask[8] = {3, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0xff};
    static const u8 gr_mask[16] = {15, 15, 15, 0x1f, 3, 0x7b, 15, 15, 0xff};
    if (absent(v, port))
        return;
    switch (port) {
    case 0x3c0:
        attr_write(v, val);
        break;
    case 0x3c2:
        set(v, &v->misc, val & ~0x10);
        break;
    case 0x3c4:
        v->sr_index = val & 7;
        break;
    case 0x3c5:
        if (v->sr_index == 2) /* the planes that writes go to do not show */
            v->sr[2] = val & sr_mask[2];
        else
            set(v, &v->sr[v->sr_index], val & sr_mask[v->sr_index]);
        break;
    case 0x3c6:
        set(v, &v->dac_mask, val);
        break;
    case 0x3c7:
        v->dac_read = val;
        v->dac_sub = 0;
        v->dac_state = 3;
        break;
    case 0x3c8:
        v->dac_write = val;
        v->dac_sub = 0;
        v->dac_state = 0;
        break;
    case 0x3c9:
        dac_data_write(v, val);
        break;
    case 0x3ce:
        v->gr_index = val & 15;
        break;
    case 0x3cf:
        if (v->gr_index == 5 || v->gr_index == 6) /* the others are about accesses only */
            set(v, &v->gr[v->gr_index], val & gr_mask[v->gr_index]);
        else
            v->gr[v->gr_index] = val & gr_mask[v->gr_index];
        break;
    case 0x3b4:
    case 0x3d4:
        v->cr_index = val & 31;
        break;
    case 0x3b5:
    case 0x3d5:
        if ((v->cr[0x11] & 0x80) && v->cr_index <= 7) { /* protected, but for line compare's bit 8 */
            if (v->cr_index == 7)
                set(v, &v->cr[7], (v->cr[7] & ~0x10) | (val & 0x10));
            break;
        }
        write_crtc(v, val);
        break;
    case 0x3ba:
    case 0x3da:
        v->feature = val & 0x10;
        break;
    }
}

static u32 port_read(void *opaque, u16 port, int size)
{
    return read_reg(opaque, port);
}

static void port_write(void *opaque, u16 port, int size, u32 val)
{
    write_reg(opaque, port, val);
}

static u32 dispi_read(void *opaque, u16 port, int size)
{
    struct vga *v = opaque;
    if (size != 2)
        return ~0u;
    if (port == 0x1ce)
        return v->vbe_index;
    return vbe_read(v, v->vbe_index);
}

static void dispi_write(void *opaque, u16 port, int size, u32 val)
{
    struct vga *v = opaque;
    if (port == 0x1ce)
        v->vbe_index = val;
    else
        vbe_write(v, v->vbe_index, val);
}

static const struct port_ops legacy_ops = {.read = port_read, .write = port_write};
static const struct port_ops dispi_ops = {.read = dispi_read, .write = dispi_write};

/* ---- BAR 2 ---- */

static u32 bar2_read(void *opaque, u64 addr, int size)
{
    struct vga *v = opaque;
    u32 r = 0;
    if (addr >= 0x400 && addr < 0x420) {
        for (int i = 0; i < size; i++)
            r |= (u32)read_reg(v, (u16)(0x3c0 + addr - 0x400 + (u64)i)) << (8 * i);
        return r;
    }
    if (addr >= 0x500 && addr < 0x516 && size == 2)
        return vbe_read(v, (u16)((addr - 0x500) / 2));
    if (addr < sizeof(v->edid)) {
        for (int i = 0; i < size && addr + (u64)i < sizeof(v->edid); i++)
            r |= (u32)v->edid[addr + (u64)i] << (8 * i);
        return r;
    }
    if (addr == 0x600)
        return 8; /* size of the extended register block */
    if (addr == 0x604)
        return 0x1e1e1e1e; /* little-endian */
    return addr < 0x400 ? 0 : ~0u;
}

static void bar2_write(void *opaque, u64 addr, int size, u32 val)
{
    struct vga *v = opaque;
    if (addr >= 0x400 && addr < 0x420) {
        for (int i = 0; i < size; i++)
            write_reg(v, (u16)(0x3c0 + addr - 0x400 + (u64)i), val >> (8 * i));
    } else if (addr >= 0x500 && addr < 0x516 && size == 2) {
        vbe_write(v, (u16)((addr - 0x500) / 2), val);
    }
}

/* BARs are placed only where nothing else is: RAM and the BIOS win. */
static void map_bar(void *opaque, int bar, u32 addr, bool mapped)
{
    struct vga *v = opaque;
    u32 *at = bar == 0 ? &v->lfb : &v->regs, size = bar == 0 ? VGA_VRAM : 4096;
    if (*at) {
        if (bar == 0)
            vga_untraced(v);
        memory_unmap(v->mem, *at, size);
    }
    *at = 0;
    if (!mapped || !memory_is_hole(v->mem, addr, size))
        return;
    int err = bar == 0 ? memory_map_fd(v->mem, addr, size, v->fd, 0)
                       : memory_map_region(v->mem, v->mmio, addr, size);
    if (err)
        LOG(dev, "vga: BAR %d cannot be mapped at %08x: %s", bar, addr, strerror(-err));
    else
        *at = addr;
}

/* ---- life ---- */

#define F(m)  DEV_FIELD(struct vga, m, 0)
#define FK(m) DEV_KEEP(struct vga, m)
static const struct device_field vga_fields[] = {
    FK(pci.config), FK(lfb),      FK(regs),     F(latch),    F(misc),     F(feature),   F(st00),
    F(sr_index),    F(sr),        F(gr_index),  F(gr),       F(ar_index), F(ar),        F(ar_flip),
    F(cr_index),    F(cr),        F(dac),       F(dac_mask), F(dac_read), F(dac_write), F(dac_sub),
    F(dac_state),   F(dac_latch), F(vbe_index), F(vbe),      DEV_END};

static void vga_reset(void *dev)
{
    struct vga *v = dev;
    v->misc = 0; /* mono addresses, RAM off: firmware sets the mode */
    v->dac_mask = 0xff;
    v->vbe[VBE_ID] = 0xb0c5;
    v->vbe[VBE_BPP] = 8;
    vga_registers_changed(v);
    memset(v->vram, 0, 256 * KiB);
}

/* ---- the monitor (VESA E-EDID 1.3): any size up to the largest that DISPI takes ---- */

static void detailed_timing(u8 *p, u32 width, u32 height)
{
    u32 hblank = 160, vblank = 30, clock = (width + hblank) * (height + vblank) * 60 / 10000; /* of 10 kHz */
    const u8 t[18] = {clock,
                      clock >> 8,
                      width,
                      hblank,
                      (width >> 8 & 15) << 4 | hblank >> 8,
                      height,
                      vblank,
                      (height >> 8 & 15) << 4,
                      48,
                      32,
                      3 << 4 | 6,
                      0,
                      0,
                      0,
                      0,
                      0,
                      0,
                      0x1a};
    memcpy(p, t, sizeof(t));
}

static void make_edid(u8 *e)
{
    static const u8 head[] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0},
                    range[] = {0, 0, 0, 0xfd, 0, 50, 125, 30, 160, 30, 0, 10, 32, 32, 32, 32, 32, 32},
                    name[] = "\0\0\0\xfc\0novt screen\n ";
    memcpy(e, head, sizeof(head));
    e[8] = ('N' - 64) << 2 | ('V' - 64) >> 3; /* maker: three letters of five bits */
    e[9] = (u8)(('V' - 64) << 5 | ('T' - 64));
    e[10] = 1;
    e[17] = 2026 - 1990;
    e[18] = 1, e[19] = 3;       /* version 1.3 */
    e[20] = 0x80;               /* digital */
    e[21] = 32, e[22] = 24;     /* cm */
    e[23] = 120;                /* gamma 2.2 */
    e[24] = 0x0a;               /* RGB, the first detailed timing is preferred */
    e[35] = 0x21, e[36] = 0x08; /* 640x480, 800x600 and 1024x768 at 60 Hz */
    for (int i = 38; i < 54; i++)
        e[i] = 1;
    detailed_timing(e + 54, 1024, 768);
    memcpy(e + 72, range, 18);
    memcpy(e + 90, name, 18);
    e[111] = 0x10; /* the fourth descriptor: unused */
    u8 sum = 0;
    for (int i = 0; i < 127; i++)
        sum += e[i];
    e[127] = -sum;
}

static void vga_destroy(void *dev)
{
    struct vga *v = dev;
    vga_dirty_done(v);
    munmap(v->vram, VGA_VRAM);
    close(v->fd);
    free(v);
}

static const struct device_desc vga_desc = {
    .name = "vga", .fields = vga_fields, .reset = vga_reset, .destroy = vga_destroy};

static int make_vram(struct vga *v)
{
    v->fd = memfd_create("novt-vram", MFD_CLOEXEC);
    if (v->fd < 0)
        return -errno;
    void *p = MAP_FAILED;
    if (ftruncate(v->fd, (off_t)VGA_VRAM) == 0)
        p = mmap(NULL, VGA_VRAM, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (p == MAP_FAILED) {
        int err = -errno;
        close(v->fd);
        return err;
    }
    v->vram = p;
    return 0;
}

int vga_create(struct bus *b, struct memory *m, struct vga **out)
{
    static const struct mmio_ops window = {vga_window_read, vga_window_write}, bar2 = {bar2_read, bar2_write};
    struct vga *v = dev_alloc(sizeof(*v));
    v->b = b;
    v->mem = m;
    make_edid(v->edid);
    int err = make_vram(v);
    if (err) {
        free(v);
        return err;
    }
    if ((err = vga_dirty_init(v))) {
        munmap(v->vram, VGA_VRAM);
        close(v->fd);
        free(v);
        return err;
    }
    err = bus_add_ports(b, 0x3c0, 16, 1, &legacy_ops, v);
    err = err ? err : bus_add_ports(b, 0x3b4, 2, 1, &legacy_ops, v);
    err = err ? err : bus_add_ports(b, 0x3ba, 1, 1, &legacy_ops, v);
    err = err ? err : bus_add_ports(b, 0x3d4, 2, 1, &legacy_ops, v);
    err = err ? err : bus_add_ports(b, 0x3da, 1, 1, &legacy_ops, v);
    err = err ? err : bus_add_ports(b, 0x1ce, 3, 2, &dispi_ops, v); /* words at 1CEh and 1CFh */
    struct pci_dev *d = &v->pci;
    d->name = "VGA";
    d->devfn = 2 << 3;
    d->opaque = v;
    d->map = map_bar;
    pci_set_id(d, 0x1234, 0x1111, 0x0300, 2);
    pci_set_bar(d, 0, VGA_VRAM, 8);
    pci_set_bar(d, 2, 4096, 0);
    d->wmask[PCI_COMMAND] |= 1;
    err = err ? err : (v->window = memory_new_mmio(m, &window, v, "vga")) < 0 ? v->window : 0;
    err = err ? err : (v->mmio = memory_new_mmio(m, &bar2, v, "vga registers")) < 0 ? v->mmio : 0;
    err = err ? err : memory_map_region(m, v->window, 0xa0000, 0x20000);
    err = err ? err : pci_add(b, d);
    if (err) {
        bus_drop_ports(b, v);
        vga_destroy(v);
        return err;
    }
    bus_add_device(b, &vga_desc, v);
    *out = v;
    return 0;
}
