/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI configuration mechanism 1 (PCI 2.1, 3.7.4) on one bus, the i440FX host bridge at 0:0.0, and the reset
 * control register CF9h.
 *
 * CF8h is the address register for aligned 32-bit accesses only; other accesses of those ports go to the ISA
 * side, where CF9h lives and the rest is empty. CFCh-CFFh reach the addressed register as bytes, words or
 * dwords; with bit 31 of the address clear they go to the ISA side too, which is empty. Functions that do not
 * exist read all ones.
 *
 * The host bridge is configuration space only: its PAM and SMRAM registers act through a hook of the machine,
 * which owns the memory map.
 *
 * Invariants:
 *  - a guest changes only bits in wmask (and clears those in w1c); everything else of config[] is the
 * device's
 *  - bar[].mapped and addr are what map() last said
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/internal.h"
#include "devices/pci.h"

struct pci {
    struct bus *b;
    u32 address;
    u8 reset_control;
    struct pci_dev *fn[256];
    struct pci_dev host;
    void (*router)(void *opaque, u8 devfn, int pin, int level);
    void *router_opaque;
    void (*pam)(void *opaque, const u8 *config);
    void *pam_opaque;
};

/* ---- functions ---- */

void pci_set_id(struct pci_dev *d, u16 vendor, u16 device, u16 class, u8 revision)
{
    memcpy(d->config + PCI_VENDOR, &vendor, 2);
    memcpy(d->config + PCI_DEVICE, &device, 2);
    memcpy(d->config + PCI_CLASS, &class, 2);
    d->config[PCI_REVISION] = revision;
    /* Firmware knows by the subsystem IDs that it runs in a virtual machine with fw_cfg. */
    memcpy(d->config + PCI_SUBSYSTEM, "\xf4\x1a\x00\x11", 4);
}

void pci_set_bar(struct pci_dev *d, int n, u32 size, u8 type)
{
    NOVT_ASSERT(n >= 0 && n < 6 && size >= 4 && !(size & (size - 1)));
    NOVT_ASSERT(type == PCI_BAR_IO ? size <= 0x10000 : size >= 16);
    d->bar[n] = (struct pci_bar){.size = size, .type = type};
    u32 mask = ~(size - 1);
    memcpy(d->wmask + PCI_BAR0 + 4 * n, &mask, 4);
    d->config[PCI_BAR0 + 4 * n] = type;
    d->wmask[PCI_COMMAND] |= type == PCI_BAR_IO ? PCI_CMD_IO : PCI_CMD_MEM;
}

static u32 config_u32(const struct pci_dev *d, int reg)
{
    u32 v;
    memcpy(&v, d->config + reg, 4);
    return v;
}

static void update_bars(struct pci_dev *d)
{
    for (int i = 0; i < 6; i++) {
        struct pci_bar *bar = &d->bar[i];
        if (!bar->size)
            continue;
        bool io = bar->type & PCI_BAR_IO;
        u32 addr = config_u32(d, PCI_BAR0 + 4 * i) & ~(bar->size - 1);
        bool on = (d->config[PCI_COMMAND] & (io ? PCI_CMD_IO : PCI_CMD_MEM)) && addr;
        /* A sizing probe, a range that wraps, or an I/O address beyond 64K is not decoded. */
        if (addr + (bar->size - 1) < addr || addr + bar->size == 0 || (io && addr + bar->size > 0x10000))
            on = false;
        if (on == bar->mapped && (!on || addr == bar->addr))
            continue;
        if (bar->mapped && d->map)
            d->map(d->opaque, i, bar->addr, false);
        bar->mapped = on;
        bar->addr = addr;
        if (on && d->map)
            d->map(d->opaque, i, addr, true);
    }
}

static void config_write(struct pci_dev *d, int reg, int size, u32 val)
{
    for (int i = 0; i < size; i++) {
        u8 v = val >> (8 * i), *c = &d->config[reg + i];
        *c = (*c & ~d->wmask[reg + i]) | (v & d->wmask[reg + i]);
        *c &= ~(v & d->w1c[reg + i]);
    }
    update_bars(d);
    if (d->written)
        d->written(d->opaque, reg, size);
}

static void fn_reset(struct pci_dev *d)
{
    for (int i = 0; i < 2; i++) {
        d->config[PCI_COMMAND + i] &= ~d->wmask[PCI_COMMAND + i];
        d->config[PCI_STATUS + i] &= ~d->w1c[PCI_STATUS + i];
    }
    for (int i = 0; i < 6; i++) {
        if (!d->bar[i].size)
            continue;
        u32 v = d->bar[i].type;
        memcpy(d->config + PCI_BAR0 + 4 * i, &v, 4);
    }
    if (d->wmask[PCI_INT_LINE])
        d->config[PCI_INT_LINE] = 0;
    update_bars(d);
}

/* ---- ports ---- */

static u32 ones(int size)
{
    return size == 4 ? 0xffffffffu : (1u << (8 * size)) - 1;
}

/* The addressed function, or NULL. */
static struct pci_dev *target(struct pci *p)
{
    if (p->address >> 16 & 0xff)
        return NULL; /* only bus 0 */
    return p->fn[p->address >> 8 & 0xff];
}

static u32 data_read(void *opaque, u16 port, int size)
{
    struct pci *p = opaque;
    struct pci_dev *d = target(p);
    int reg = (p->address & 0xfc) + (port & 3);
    if (!(p->address & 0x80000000u) || !d)
        return ones(size);
    u32 v = 0;
    memcpy(&v, d->config + reg, size); /* the bus cut accesses that pass CFFh */
    return v;
}

static void data_write(void *opaque, u16 port, int size, u32 val)
{
    struct pci *p = opaque;
    struct pci_dev *d = target(p);
    if ((p->address & 0x80000000u) && d)
        config_write(d, (p->address & 0xfc) + (port & 3), size, val);
}

/* CF9h: bit 1 picks hard or soft, the rising edge of bit 2 resets (PIIX3, 2.5.5.2). */
static void reset_control_write(struct pci *p, u8 val)
{
    bool reset = (val & 4) && !(p->reset_control & 4);
    p->reset_control = val & 0x06;
    if (reset)
        bus_request_reset(p->b, val & 2);
}

static u32 address_read(void *opaque, u16 port, int size)
{
    struct pci *p = opaque;
    if (size == 4)
        return p->address;
    return port == 0xcf9 ? p->reset_control : 0xff;
}

static void address_write(void *opaque, u16 port, int size, u32 val)
{
    struct pci *p = opaque;
    if (size == 4)
        p->address = val & 0x80fffffcu;
    else if (port == 0xcf9)
        reset_control_write(p, val);
}

/* A range of four: a dword fits only at CF8h itself, and words are cut into bytes. */
static const struct port_ops address_ops = {.read = address_read, .write = address_write};
static const struct port_ops data_ops = {.read = data_read, .write = data_write};

/* ---- host bridge ---- */

#define SMRAM  0x72
#define D_LCK  0x10
#define D_OPEN 0x40
#define C_BASE 0x02

static const struct {
    u8 reg, wmask, reset;
} host_regs[] = {
    {0x0d, 0xf8, 0x00},                        /* latency timer */
    {0x50, 0xff, 0x00},    {0x51, 0xff, 0x01}, /* PMC configuration */
    {0x57, 0xff, 0x01},    {0x58, 0xff, 0x00}, /* DRAM control and timing */
    {0x59, 0xff, 0x00},    {0x5a, 0xff, 0x00}, {0x5b, 0xff, 0x00},
    {0x5c, 0xff, 0x00}, /* PAM0-6 */
    {0x5d, 0xff, 0x00},    {0x5e, 0xff, 0x00}, {0x5f, 0xff, 0x00},
    {0x60, 0xff, 0x01},    {0x61, 0xff, 0x01}, {0x62, 0xff, 0x01},
    {0x63, 0xff, 0x01}, /* DRAM rows */
    {0x64, 0xff, 0x01},    {0x65, 0xff, 0x01}, {0x66, 0xff, 0x01},
    {0x67, 0xff, 0x01},    {0x68, 0xff, 0x00}, /* fixed hole */
    {0x70, 0xff, 0x00},    {0x71, 0xff, 0x10}, /* multi-transaction timer, CPU latency */
    {SMRAM, 0x78, C_BASE}, {0x90, 0xff, 0x00}, {0x92, 0xff, 0x00},
    {0x93, 0xff, 0x00}, /* error command, (reserved), turbo reset */
};

static void host_written(void *opaque, int reg, int size)
{
    struct pci *p = opaque;
    u8 *smram = &p->host.config[SMRAM];
    if (*smram & D_LCK) { /* locks itself and D_OPEN until reset */
        *smram &= ~D_OPEN;
        p->host.wmask[SMRAM] = 0;
    }
    if (p->pam && ((reg < 0x60 && reg + size > 0x59) || (reg <= SMRAM && reg + size > SMRAM)))
        p->pam(p->pam_opaque, p->host.config);
}

static void host_init(struct pci *p)
{
    struct pci_dev *d = &p->host;
    d->name = "i440FX";
    d->opaque = p;
    d->written = host_written;
    pci_set_id(d, 0x8086, 0x1237, 0x0600, 2);
    d->config[PCI_COMMAND] = 0x06;
    d->wmask[PCI_COMMAND] = 0x40;
    d->wmask[PCI_COMMAND + 1] = 0x01;
    d->config[PCI_STATUS] = 0x80;
    d->config[PCI_STATUS + 1] = 0x02;
    d->w1c[PCI_STATUS + 1] = 0xf1;
}

static void host_reset(struct pci *p)
{
    for (size_t i = 0; i < ARRAY_SIZE(host_regs); i++) {
        p->host.config[host_regs[i].reg] = host_regs[i].reset;
        p->host.wmask[host_regs[i].reg] = host_regs[i].wmask;
    }
    if (p->pam)
        p->pam(p->pam_opaque, p->host.config);
}

/* ---- life ---- */

static const struct device_field pci_fields[] = {DEV_FIELD(struct pci, address, 0),
                                                 DEV_FIELD(struct pci, reset_control, 0),
                                                 DEV_KEEP(struct pci, host.config), /* reset by the hook */
                                                 DEV_KEEP(struct pci, host.wmask), DEV_END};

static void pci_reset(void *dev)
{
    struct pci *p = dev;
    for (int i = 0; i < 256; i++)
        if (p->fn[i])
            fn_reset(p->fn[i]);
    host_reset(p);
}

static void pci_destroy(void *dev)
{
    free(dev);
}

static const struct device_desc pci_desc = {
    .name = "pci", .fields = pci_fields, .reset = pci_reset, .destroy = pci_destroy};

static struct pci *pci_of(struct bus *b)
{
    for (u32 i = 0; i < b->n_devs; i++)
        if (b->devs[i].desc == &pci_desc)
            return b->devs[i].dev;
    return NULL;
}

int pci_add(struct bus *b, struct pci_dev *d)
{
    struct pci *p = pci_of(b);
    if (!p)
        return -ENODEV;
    if (p->fn[d->devfn])
        return -EEXIST;
    bus_lock(b);
    p->fn[d->devfn] = d;
    fn_reset(d);
    bus_unlock(b);
    return 0;
}

const struct pci_dev *pci_function(struct bus *b, u8 devfn)
{
    struct pci *p = pci_of(b);
    return p ? p->fn[devfn] : NULL;
}

void pci_set_intx(struct bus *b, struct pci_dev *d, int pin, int level)
{
    struct pci *p = pci_of(b);
    if (p->router)
        p->router(p->router_opaque, d->devfn, pin, level);
}

void pci_set_router(struct bus *b, void (*fn)(void *opaque, u8 devfn, int pin, int level), void *opaque)
{
    struct pci *p = pci_of(b);
    p->router = fn;
    p->router_opaque = opaque;
}

void pci_set_pam_hook(struct bus *b, void (*fn)(void *opaque, const u8 *config), void *opaque)
{
    struct pci *p = pci_of(b);
    bus_lock(b);
    p->pam = fn;
    p->pam_opaque = opaque;
    fn(opaque, p->host.config);
    bus_unlock(b);
}

int pci_create(struct bus *b)
{
    struct pci *p = dev_alloc(sizeof(*p));
    p->b = b;
    int err = bus_add_ports(b, 0xcf8, 4, 1 | 4, &address_ops, p);
    if (!err)
        err = bus_add_ports(b, 0xcfc, 4, 1 | 2 | 4, &data_ops, p);
    if (err) {
        bus_drop_ports(b, p);
        free(p);
        return err;
    }
    host_init(p);
    p->fn[0] = &p->host;
    bus_add_device(b, &pci_desc, p);
    return 0;
}
