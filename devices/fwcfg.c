/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's firmware configuration device: what firmware asks about the machine (specification: "QEMU Firmware
 * Configuration (fw_cfg) Device").
 *
 * Items are numbered byte strings. Port 510h selects one (16 bits), port 511h reads it byte by byte; past its
 * end come zeros, as from an item that does not exist. Items 20h and up are files, listed by name in item 19h
 * with big-endian sizes and selectors. Port 514h takes the big-endian address of a DMA descriptor (high half,
 * then low half, whose write starts the transfer): control, length and address; skip, read and select work,
 * writes are refused since nothing here can be written.
 *
 * Invariants: items keep their lengths once the guest runs, and all but live files their contents; the cursor
 * may pass the end of an item, never overflow.
 *
 * Must not: trust the descriptor. Lengths are the guest's: a transfer is cut at DMA_MAX, so that one port
 * write cannot hold the machine.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/fwcfg.h"
#include "devices/internal.h"

#define MAX_ITEMS 64
#define DMA_MAX   (16 * MiB)

#define CTL_ERROR  0x01
#define CTL_READ   0x02
#define CTL_SKIP   0x04
#define CTL_SELECT 0x08
#define CTL_WRITE  0x10

struct item {
    u16 key;
    u32 len;
    u8 *data;
    char name[56]; /* files */
    void (*refresh)(void *opaque, u8 *data, u32 len);
    void *opaque;
};

struct fwcfg {
    struct bus *b;
    struct item items[MAX_ITEMS];
    u32 n_items;
    u16 next_file;
    u8 *dir; /* item FWCFG_FILE_DIR, rebuilt when a file is added */
    u16 selected;
    u32 cursor;
    u32 dma_high;
};

static const u8 dma_signature[8] = "QEMU CFG"; /* port 514h, big-endian */

static const struct item *find(const struct fwcfg *f, u16 key)
{
    for (u32 i = 0; i < f->n_items; i++)
        if (f->items[i].key == key)
            return &f->items[i];
    return NULL;
}

static void select_item(struct fwcfg *f, u16 key)
{
    f->selected = key & 0xbfff; /* bit 14 asks for writing */
    f->cursor = 0;
    const struct item *it = find(f, f->selected);
    LOG(dev, "fw_cfg: item %04x%s", f->selected, it ? "" : " (none)");
    if (it && it->refresh)
        it->refresh(it->opaque, it->data, it->len);
}

/* Bytes of the selected item from the cursor on; zeros past its end. buf NULL: skips. */
static void take(struct fwcfg *f, u8 *buf, u32 len)
{
    const struct item *it = find(f, f->selected);
    u32 have = it && f->cursor < it->len ? it->len - f->cursor : 0;
    u32 n = len < have ? len : have;
    if (buf) {
        if (n)
            memcpy(buf, it->data + f->cursor, n);
        memset(buf + n, 0, len - n);
    }
    f->cursor = len > UINT32_MAX - f->cursor ? UINT32_MAX : f->cursor + len;
}

static u32 be32(const u8 *p)
{
    return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}

static void dma(struct fwcfg *f, u64 desc)
{
    u8 d[16];
    bus_mem_read(f->b, desc, d, sizeof(d));
    u32 ctl = be32(d), len = be32(d + 4), result = 0;
    u64 addr = (u64)be32(d + 8) << 32 | be32(d + 12);
    if (ctl & CTL_SELECT)
        select_item(f, ctl >> 16);
    if (ctl & CTL_READ) {
        u8 buf[4096];
        if (len > DMA_MAX) {
            result = CTL_ERROR;
            len = 0;
        }
        while (len) {
            u32 n = len < sizeof(buf) ? len : sizeof(buf);
            take(f, buf, n);
            bus_mem_write(f->b, addr, buf, n);
            addr += n;
            len -= n;
        }
    } else if (ctl & CTL_WRITE) {
        result = CTL_ERROR;
    } else if (ctl & CTL_SKIP) {
        take(f, NULL, len);
    }
    u8 done[4] = {0, 0, 0, (u8)result};
    bus_mem_write(f->b, desc, done, sizeof(done));
}

static u32 fwcfg_read(void *opaque, u16 port, int size)
{
    struct fwcfg *f = opaque;
    u8 val = 0;
    if (port == 0x511)
        take(f, &val, 1);
    return val;
}

static void fwcfg_write(void *opaque, u16 port, int size, u32 val)
{
    struct fwcfg *f = opaque;
    if (port == 0x510 && size == 2)
        select_item(f, val);
}

static u32 dma_read(void *opaque, u16 port, int size)
{
    u32 v = 0;
    memcpy(&v, dma_signature + (port - 0x514), (size_t)size);
    return v;
}

static void dma_write(void *opaque, u16 port, int size, u32 val)
{
    struct fwcfg *f = opaque;
    if (size != 4)
        return;
    if (port == 0x514) {
        f->dma_high = __builtin_bswap32(val);
    } else if (port == 0x518) {
        u64 desc = (u64)f->dma_high << 32 | __builtin_bswap32(val);
        f->dma_high = 0;
        dma(f, desc);
    }
}

static const struct port_ops fwcfg_ops = {.read = fwcfg_read, .write = fwcfg_write};
static const struct port_ops dma_ops = {.read = dma_read, .write = dma_write};

static const struct device_field fwcfg_fields[] = {DEV_FIELD(struct fwcfg, selected, 0),
                                                   DEV_FIELD(struct fwcfg, cursor, 0),
                                                   DEV_FIELD(struct fwcfg, dma_high, 0), DEV_END};

static void fwcfg_destroy(void *dev)
{
    struct fwcfg *f = dev;
    for (u32 i = 0; i < f->n_items; i++)
        free(f->items[i].data);
    free(f);
}

static const struct device_desc fwcfg_desc = {
    .name = "fw_cfg", .fields = fwcfg_fields, .destroy = fwcfg_destroy};

/* ---- items ---- */

static struct item *new_item(struct fwcfg *f, u16 key, const void *data, u32 len)
{
    NOVT_ASSERT(f->n_items < MAX_ITEMS && !find(f, key));
    struct item *it = &f->items[f->n_items++];
    it->key = key;
    it->len = len;
    it->data = dev_alloc(len ? len : 1);
    memcpy(it->data, data, len);
    return it;
}

void fwcfg_add(struct fwcfg *f, u16 key, const void *data, u32 len)
{
    new_item(f, key, data, len);
}

void fwcfg_add_int(struct fwcfg *f, u16 key, u64 val, int size)
{
    new_item(f, key, &val, (u32)size); /* little-endian host */
}

static void put_be(u8 *p, u64 val, int size)
{
    for (int i = 0; i < size; i++)
        p[i] = val >> (8 * (size - 1 - i));
}

/* The directory: a count, then 64 bytes a file: size, selector, reserved, name. */
static void write_directory(struct fwcfg *f)
{
    struct item *dir = (struct item *)find(f, FWCFG_FILE_DIR);
    u32 count = f->next_file - FWCFG_FILE_FIRST;
    free(dir->data);
    dir->len = 4 + 64 * count;
    dir->data = dev_alloc(dir->len);
    put_be(dir->data, count, 4);
    u8 *p = dir->data + 4;
    for (u32 i = 0; i < f->n_items; i++) {
        const struct item *it = &f->items[i];
        if (!it->name[0]) /* no file: also the keys from 8000h on, which belong to the architecture */
            continue;
        put_be(p, it->len, 4);
        put_be(p + 4, it->key, 2);
        memcpy(p + 8, it->name, sizeof(it->name));
        p += 64;
    }
}

void fwcfg_add_file(struct fwcfg *f, const char *name, const void *data, u32 len)
{
    NOVT_ASSERT(strlen(name) < sizeof(((struct item *)0)->name));
    struct item *it = new_item(f, f->next_file++, data, len);
    strcpy(it->name, name);
    write_directory(f);
}

void fwcfg_add_live_file(struct fwcfg *f, const char *name, const void *data, u32 len,
                         void (*fn)(void *opaque, u8 *data, u32 len), void *opaque)
{
    fwcfg_add_file(f, name, data, len);
    f->items[f->n_items - 1].refresh = fn;
    f->items[f->n_items - 1].opaque = opaque;
}

int fwcfg_create(struct bus *b, struct fwcfg **out)
{
    struct fwcfg *f = dev_alloc(sizeof(*f));
    f->b = b;
    f->next_file = FWCFG_FILE_FIRST;
    int err = bus_add_ports(b, 0x510, 2, 1 | 2, &fwcfg_ops, f);
    err = err ? err : bus_add_ports(b, 0x514, 8, 1 | 2 | 4, &dma_ops, f);
    if (err) {
        bus_drop_ports(b, f);
        free(f);
        return err;
    }
    fwcfg_add(f, FWCFG_SIGNATURE, "QEMU", 4);
    fwcfg_add_int(f, FWCFG_ID, 3, 4); /* traditional interface and DMA */
    fwcfg_add(f, FWCFG_FILE_DIR, "\0\0\0\0", 4);
    bus_add_device(b, &fwcfg_desc, f);
    *out = f;
    return 0;
}
