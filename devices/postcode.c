/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest finds where the two 8237A DMA controllers and their page registers are (00h-0Fh, 80h-8Fh,
 * C0h-DFh), POST code port included. No device here does DMA, so these are registers that remember: addresses
 * and counts behind the byte flip-flop, modes and masks. Status is always "no request, no terminal count".
 */
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/internal.h"

struct dma8237 {
    u16 reg[8]; /* base address and count of channels 0-3 */
    u8 high;    /* flip-flop: the next byte is the high one */
    u8 command, mask;
};

struct postcode {
    struct dma8237 dma[2];
    u8 page[16];
};

static u32 page_read(void *opaque, u16 port, int size)
{
    struct postcode *p = opaque;
    return p->page[port & 15];
}

static void page_write(void *opaque, u16 port, int size, u32 val)
{
    struct postcode *p = opaque;
    if (port == 0x80)
        LOG(dev, "POST code %02x", val);
    p->page[port & 15] = val;
}

/* The second controller sits on a 16-bit bus: its registers are two ports apart. */
static struct dma8237 *which(struct postcode *p, u16 port, int *reg)
{
    *reg = port >= 0xc0 ? (port - 0xc0) >> 1 : port;
    return &p->dma[port >= 0xc0];
}

static u32 dma_read(void *opaque, u16 port, int size)
{
    int reg;
    struct dma8237 *d = which(opaque, port, &reg);
    if (reg < 8) {
        u8 v = d->reg[reg] >> (d->high ? 8 : 0);
        d->high = !d->high;
        return v;
    }
    return reg == 15 ? d->mask | 0xf0 : 0; /* status, temporary; the others are write-only */
}

static void dma_write(void *opaque, u16 port, int size, u32 val)
{
    int reg;
    struct dma8237 *d = which(opaque, port, &reg);
    if (reg < 8) {
        u16 keep = d->high ? 0x00ff : 0xff00;
        d->reg[reg] = (d->reg[reg] & keep) | (d->high ? val << 8 : val);
        d->high = !d->high;
        return;
    }
    switch (reg) {
    case 8:
        d->command = val;
        break;
    case 10:
        d->mask = val & 4 ? d->mask | 1 << (val & 3) : d->mask & ~(1 << (val & 3));
        break;
    case 12:
        d->high = 0;
        break;
    case 13: /* master clear */
        d->high = d->command = 0;
        d->mask = 15;
        break;
    case 14:
        d->mask = 0;
        break;
    case 15:
        d->mask = val & 15;
        break;
    }
}

static const struct port_ops page_ops = {.read = page_read, .write = page_write};
static const struct port_ops dma_ops = {.read = dma_read, .write = dma_write};

#define DMA_FIELDS(n)                                                                                        \
    DEV_FIELD(struct postcode, dma[n].reg, 0), DEV_FIELD(struct postcode, dma[n].high, 0),                   \
        DEV_FIELD(struct postcode, dma[n].command, 0), DEV_FIELD(struct postcode, dma[n].mask, 15)

static const struct device_field postcode_fields[] = {DMA_FIELDS(0), DMA_FIELDS(1),
                                                      DEV_FIELD(struct postcode, page, 0), DEV_END};

static void postcode_destroy(void *dev)
{
    free(dev);
}

static const struct device_desc postcode_desc = {
    .name = "dma", .fields = postcode_fields, .destroy = postcode_destroy};

int postcode_create(struct bus *b)
{
    struct postcode *p = dev_alloc(sizeof(*p));
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
    bus_add_device(b, &postcode_desc, p);
    return 0;
}
