/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PIIX3 ISA bridge (0:1.0): PCI interrupt routing and the APM ports (Intel 290550, 2.2 and 2.5.6).
 *
 * A PCI function's INTx goes to PIRQ (slot - 1 + pin) mod 4, as boards of this family wire it; PIRQRC
 * registers 60h-63h route each PIRQ to an ISA interrupt or to nothing. Several may share one: the line is
 * their OR, together with the SCI of the power management function on IRQ 9.
 *
 * Port B2h takes APM commands: a system would enter SMM here. There is no SMM: the two commands that turn
 * ACPI mode on and off are done by the power management function (hook), the rest only stay in the register.
 *
 * Invariant: a routed ISA line is up iff one of its PIRQs (or SCI) is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/internal.h"
#include "devices/pci.h"
#include "devices/piix.h"

#define PIRQRC 0x60

struct piix3 {
    struct bus *b;
    struct pci_dev pci;
    u16 pirq[4]; /* how many functions assert each PIRQ */
    u8 sci;
    u16 driven; /* ISA lines that we hold up */
    u8 apmc, apms;
    void (*apm)(void *opaque, u8 cmd);
    void *apm_opaque;
};

/* The ISA lines that PIRQRC can reach (2.2.11): 3-7, 9-12, 14, 15. */
#define ROUTABLE 0xdef8

static void update_lines(struct piix3 *p)
{
    u16 want = p->sci ? 1u << 9 : 0;
    for (int i = 0; i < 4; i++) {
        u8 rc = p->pci.config[PIRQRC + i];
        if (p->pirq[i] && !(rc & 0x80))
            want |= ROUTABLE & (1u << (rc & 15));
    }
    u16 diff = want ^ p->driven;
    p->driven = want;
    for (int irq = 0; irq < 16; irq++)
        if (diff >> irq & 1)
            bus_set_irq(p->b, irq, want >> irq & 1);
}

static void intx(void *opaque, u8 devfn, int pin, int level)
{
    struct piix3 *p = opaque;
    u16 *n = &p->pirq[((devfn >> 3) - 1 + pin) & 3];
    *n = level ? *n + 1 : *n - 1;
    update_lines(p);
}

void piix3_set_sci(struct piix3 *p, int level)
{
    p->sci = !!level;
    update_lines(p);
}

void piix3_set_apm_hook(struct piix3 *p, void (*fn)(void *opaque, u8 cmd), void *opaque)
{
    p->apm = fn;
    p->apm_opaque = opaque;
}

static void config_written(void *opaque, int reg, int size)
{
    struct piix3 *p = opaque;
    if (reg + size > PIRQRC && reg < PIRQRC + 4)
        update_lines(p);
}

static u32 apm_read(void *opaque, u16 port, int size)
{
    struct piix3 *p = opaque;
    return port == 0xb2 ? p->apmc : p->apms;
}

static void apm_write(void *opaque, u16 port, int size, u32 val)
{
    struct piix3 *p = opaque;
    if (port == 0xb3) {
        p->apms = val;
        return;
    }
    p->apmc = val;
    if (p->apm)
        p->apm(p->apm_opaque, val);
}

static const struct port_ops apm_ops = {.read = apm_read, .write = apm_write};

static const struct device_field piix3_fields[] = {DEV_KEEP(struct piix3, pci.config), /* reset by the hook */
                                                   DEV_KEEP(struct piix3, pirq), /* the functions' business */
                                                   DEV_KEEP(struct piix3, sci),
                                                   DEV_KEEP(struct piix3, driven),
                                                   DEV_FIELD(struct piix3, apmc, 0),
                                                   DEV_FIELD(struct piix3, apms, 0),
                                                   DEV_END};

static const struct {
    u8 reg, wmask, reset;
} regs[] = {
    {0x4c, 0x7f, 0x4d}, {0x4e, 0xff, 0x03}, {0x4f, 0x01, 0x00}, /* I/O recovery, X-bus chip selects */
    {0x60, 0x8f, 0x80}, {0x61, 0x8f, 0x80}, {0x62, 0x8f, 0x80}, {0x63, 0x8f, 0x80}, /* PIRQRC */
    {0x69, 0xfe, 0x02}, {0x6a, 0xf1, 0x00}, {0x70, 0xef, 0x80}, {0x76, 0x8f, 0x0c}, {0x77, 0x8f, 0x0c},
    {0x78, 0xff, 0x02}, {0x79, 0xff, 0x00}, {0x82, 0x0f, 0x00}, {0xa0, 0x1f, 0x08}, {0xa2, 0xff, 0x00},
    {0xa3, 0xff, 0x00}, {0xa4, 0xff, 0x00}, {0xa5, 0xff, 0x00}, {0xa6, 0xff, 0x00}, {0xa7, 0xff, 0x00},
    {0xa8, 0xff, 0x0f}, {0xaa, 0xff, 0x00}, {0xab, 0xff, 0x00}, {0xac, 0xff, 0x00}, {0xae, 0xff, 0x00},
};

static void piix3_reset(void *dev)
{
    struct piix3 *p = dev;
    for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
        p->pci.config[regs[i].reg] = regs[i].reset;
    update_lines(p);
}

static void piix3_destroy(void *dev)
{
    free(dev);
}

static const struct device_desc piix3_desc = {
    .name = "piix3", .fields = piix3_fields, .reset = piix3_reset, .destroy = piix3_destroy};

int piix3_create(struct bus *b, struct piix3 **out)
{
    struct piix3 *p = dev_alloc(sizeof(*p));
    p->b = b;
    struct pci_dev *d = &p->pci;
    d->name = "PIIX3";
    d->devfn = 1 << 3;
    d->opaque = p;
    d->written = config_written;
    pci_set_id(d, 0x8086, 0x7000, 0x0601, 0);
    d->config[PCI_HEADER_TYPE] = 0x80; /* several functions */
    d->config[PCI_COMMAND] = 0x07;
    d->config[PCI_STATUS + 1] = 0x02;
    d->w1c[PCI_STATUS + 1] = 0x78;
    for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
        d->wmask[regs[i].reg] = regs[i].wmask;
    int err = bus_add_ports(b, 0xb2, 2, 1, &apm_ops, p);
    err = err ? err : pci_add(b, d);
    if (err) {
        bus_drop_ports(b, p);
        free(p);
        return err;
    }
    pci_set_router(b, intx, p);
    bus_add_device(b, &piix3_desc, p);
    *out = p;
    return 0;
}
