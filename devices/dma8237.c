/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two 8237A DMA controllers of a PC, their page registers, and the POST code port among those (00h-0Fh,
 * 80h-8Fh, C0h-DFh; Intel 8237A datasheet).
 *
 * Channels 0-3 move bytes inside a 64 KiB page, channels 5-7 words inside a 128 KiB one; the page register
 * gives the address bits above. There is no bus to arbitrate: a device that has data calls dma_move(), and
 * the channel's address, count and mode decide where it goes. At the end of the count the channel reaches TC:
 * status bit, and the channel is masked unless it auto-initialises.
 *
 * Memory is touched on the vCPU thread only (bus_mem_write()).
 *
 * Invariant: whatever is programmed, an address is below 16 MiB, wraps inside its page, and a move ends.
 */
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/dma.h"
#include "devices/internal.h"

#define MODE_DECREMENT 0x20
#define MODE_AUTO      0x10

struct controller {
    u16 base_addr[4], base_count[4], addr[4], count[4];
    u8 mode[4];
    u8 high; /* flip-flop: the next byte is the high one */
    u8 command, mask, request, status;
};

struct dma {
    struct bus *b;
    struct controller c[2];
    u8 page[16];
};

/* Page register (80h + n) of each channel. */
static const u8 page_of[8] = {7, 3, 1, 2, 0xf, 0xb, 9, 0xa};

static u32 page_read(void *opaque, u16 port, int size)
{
    struct dma *p = opaque;
    return p->page[port & 15];
}

static int page_peek(void *opaque, u16 port)
{
    return (int)page_read(opaque, port, 1);
}

static void page_write(void *opaque, u16 port, int size, u32 val)
{
    struct dma *p = opaque;
    if (port == 0x80)
        LIGHT_LOG(p->b, dev, "POST code %02x", val);
    p->page[port & 15] = val;
}

/* The second controller sits on a 16-bit bus: its registers are two ports apart. */
static struct controller *which(struct dma *p, u16 port, int *reg)
{
    *reg = port >= 0xc0 ? (port - 0xc0) >> 1 : port;
    return &p->c[port >= 0xc0];
}

static u32 dma_read(void *opaque, u16 port, int size)
{
    int reg;
    struct controller *c = which(opaque, port, &reg);
    if (reg < 8) {
        u16 v = reg & 1 ? c->count[reg >> 1] : c->addr[reg >> 1];
        u8 b = v >> (c->high ? 8 : 0);
        c->high = !c->high;
        return b;
    }
    if (reg == 8) {
        u8 v = c->status | c->request << 4;
        c->status = 0;
        return v;
    }
    return reg == 15 ? c->mask | 0xf0 : 0; /* temporary; the others are write-only */
}

static void set_half(u16 *reg, bool high, u8 val)
{
    *reg = high ? (*reg & 0x00ff) | val << 8 : (*reg & 0xff00) | val;
}

static void dma_write(void *opaque, u16 port, int size, u32 val)
{
    int reg;
    struct controller *c = which(opaque, port, &reg);
    if (reg < 8) {
        u16 *base = reg & 1 ? &c->base_count[reg >> 1] : &c->base_addr[reg >> 1];
        set_half(base, c->high, val);
        *(reg & 1 ? &c->count[reg >> 1] : &c->addr[reg >> 1]) = *base;
        c->high = !c->high;
        return;
    }
    switch (reg) {
    case 8:
        c->command = val;
        break;
    case 9:
        c->request = val & 4 ? c->request | 1 << (val & 3) : c->request & ~(1 << (val & 3));
        break;
    case 10:
        c->mask = val & 4 ? c->mask | 1 << (val & 3) : c->mask & ~(1 << (val & 3));
        break;
    case 11:
        c->mode[val & 3] = val;
        break;
    case 12:
        c->high = 0;
        break;
    case 13: /* master clear */
        c->high = c->command = c->status = c->request = 0;
        c->mask = 15;
        break;
    case 14:
        c->mask = 0;
        break;
    case 15:
        c->mask = val & 15;
        break;
    }
}

/* ---- transfers ---- */

static struct dma *dma_of(struct bus *b);

u32 dma_move(struct bus *b, int channel, u8 *buf, u32 len, bool to_memory, bool *tc)
{
    struct dma *p = dma_of(b);
    *tc = false;
    if (!p || channel < 0 || channel > 7 || channel == 4)
        return 0;
    struct controller *c = &p->c[channel >> 2];
    int n = channel & 3, shift = channel >> 2;
    u8 kind = c->mode[n] >> 2 & 3; /* 0 verify, 1 to memory, 2 from memory */
    if ((c->command & 4) || (c->mask >> n & 1))
        return 0;
    u32 page = (u32)(p->page[page_of[channel]] & (shift ? 0xfe : 0xff)) << 16, done = 0;
    u32 unit = 1u << shift;
    while (done + unit <= len) {
        u32 at = page | (u32)c->addr[n] << shift;
        u32 run = unit;
        if (!(c->mode[n] & MODE_DECREMENT)) { /* as far as count and page allow in one go */
            u32 units = (u32)c->count[n] + 1, left = 0x10000u - c->addr[n];
            units = units < left ? units : left;
            units = units < (len - done) / unit ? units : (len - done) / unit;
            run = units * unit;
        }
        if (kind == 1 && to_memory)
            bus_mem_write(b, at, buf + done, run);
        else if (kind == 2 && !to_memory)
            bus_mem_read(b, at, buf + done, run);
        done += run;
        u32 units = run >> shift;
        c->addr[n] += c->mode[n] & MODE_DECREMENT ? -(int)units : (int)units;
        c->count[n] -= units;
        if (c->count[n] == 0xffff) {
            *tc = true;
            c->status |= 1 << n;
            c->request &= ~(1 << n);
            if (c->mode[n] & MODE_AUTO) {
                c->addr[n] = c->base_addr[n];
                c->count[n] = c->base_count[n];
            } else {
                c->mask |= 1 << n;
            }
            break;
        }
    }
    return done;
}

/* ---- life ---- */

static const struct port_ops page_ops = {
    .read = page_read, .write = page_write, .peek = page_peek, .light = true};
static const struct port_ops dma_ops = {.read = dma_read, .write = dma_write, .light = true};

#define FIELDS(n)                                                                                            \
    DEV_FIELD(struct dma, c[n].base_addr, 0), DEV_FIELD(struct dma, c[n].base_count, 0),                     \
        DEV_FIELD(struct dma, c[n].addr, 0), DEV_FIELD(struct dma, c[n].count, 0),                           \
        DEV_FIELD(struct dma, c[n].mode, 0), DEV_FIELD(struct dma, c[n].high, 0),                            \
        DEV_FIELD(struct dma, c[n].command, 0), DEV_FIELD(struct dma, c[n].mask, 15),                        \
        DEV_FIELD(struct dma, c[n].request, 0), DEV_FIELD(struct dma, c[n].status, 0)

static const struct device_field dma_fields[] = {FIELDS(0), FIELDS(1), DEV_FIELD(struct dma, page, 0),
                                                 DEV_END};

static void dma_destroy(void *dev)
{
    free(dev);
}

static const struct device_desc dma_desc = {.name = "dma", .fields = dma_fields, .destroy = dma_destroy};

static struct dma *dma_of(struct bus *b)
{
    for (u32 i = 0; i < b->n_devs; i++)
        if (b->devs[i].desc == &dma_desc)
            return b->devs[i].dev;
    return NULL;
}

int dma_create(struct bus *b)
{
    struct dma *p = dev_alloc(sizeof(*p));
    p->b = b;
    int err = bus_add_ports(b, 0x00, 16, 1, &dma_ops, p);
    if (!err)
        err = bus_add_ports(b, 0xc0, 32, 1, &dma_ops, p);
    if (!err)
        err = bus_add_ports(b, 0x80, 16, 1, &page_ops, p);
    if (err) {
        bus_drop_ports(b, p);
        free(p);
        return err;
    }
    bus_add_device(b, &dma_desc, p);
    return 0;
}
