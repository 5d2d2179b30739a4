/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PIIX4 power management function (0:1.3): the ACPI fixed registers (Intel 290562, 7.2; ACPI 1.0, 4.7).
 *
 * PMBASE (40h, enabled by bit 0 of 80h) places 64 bytes of ports:
 *   0 PM1_STS, 2 PM1_EN, 4 PM1_CNT, 8 PM_TMR, 0Ch GPE0_STS, 0Eh GPE0_EN
 * The timer counts 3.579545 MHz in 24 bits; its status bit is set whenever bit 23 changes, which is computed
 * when somebody looks, and a bus timer runs only while it can raise an interrupt. The SCI is up while an
 * enabled status bit is set and SCI_EN is.
 *
 * SLP_EN with the type of S5 (0 in our tables; any other type than S1's is treated the same, since there is
 * nothing to sleep in) ends the machine with status 0.
 *
 * SeaBIOS's ACPI tables also know QEMU's general-purpose events (AFE0h) and PCI hot-plug registers (AE00h).
 * They are here so that they say "nothing happened": all ones there would eject every device.
 *
 * Invariant: `wrap` is the number of changes of bit 23 that PM1_STS has taken notice of.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/internal.h"
#include "devices/pci.h"
#include "devices/piix.h"

#define PM_HZ 3579545ull

#define STS_TMR    0x0001
#define STS_GBL    0x0020
#define STS_PWRBTN 0x0100
#define STS_RTC    0x0400
#define STS_WAK    0x8000
#define EN_MASK    (STS_TMR | STS_GBL | STS_PWRBTN | STS_RTC)

#define CNT_SCI_EN 0x0001
#define CNT_TYPE   0x1c00
#define CNT_SLP_EN 0x2000

struct piix4_pm {
    struct bus *b;
    struct piix3 *isa;
    struct pci_dev pci;
    u16 sts, en, cnt;
    u16 gpe_sts, gpe_en;
    u16 hotplug_en; /* the enable half of AFE0h; its status half never has a bit */
    u64 wrap;
    u16 io; /* where the ports are, 0: nowhere */
    struct bus_timer *timer;
};

static u64 ticks(u64 ns)
{
    return (u64)((unsigned __int128)ns * PM_HZ / NS_PER_SEC);
}

static void update(struct piix4_pm *p)
{
    u64 now = bus_now(p->b), halves = ticks(now) >> 23;
    if (halves != p->wrap) {
        p->wrap = halves;
        p->sts |= STS_TMR;
    }
    bool sci = (p->cnt & CNT_SCI_EN) && ((p->sts & p->en & EN_MASK) || (p->gpe_sts & p->gpe_en));
    piix3_set_sci(p->isa, sci);
    u64 at = 0;
    if ((p->en & STS_TMR) && !(p->sts & STS_TMR))
        at = (u64)((unsigned __int128)((halves + 1) << 23) * NS_PER_SEC / PM_HZ) + 1;
    bus_timer_set(p->timer, at);
}

static void fire(void *opaque, u64 now)
{
    update(opaque);
}

static void write_control(struct piix4_pm *p, u16 val)
{
    p->cnt = val & ~CNT_SLP_EN;
    if (!(val & CNT_SLP_EN))
        return;
    if ((val & CNT_TYPE) >> 10 == 1) { /* S1: wakes at once */
        p->sts |= STS_WAK;
        return;
    }
    LOG(dev, "ACPI soft-off");
    bus_request_shutdown(p->b);
}

static u16 reg_read(struct piix4_pm *p, int reg)
{
    switch (reg) {
    case 0:
        return p->sts;
    case 2:
        return p->en;
    case 4:
        return p->cnt;
    case 8:
        return ticks(bus_now(p->b));
    case 10:
        return ticks(bus_now(p->b)) >> 16 & 0xff;
    case 12:
        return p->gpe_sts;
    case 14:
        return p->gpe_en;
    }
    return 0;
}

static void reg_write(struct piix4_pm *p, int reg, u16 val, u16 mask)
{
    switch (reg) {
    case 0:
        p->sts &= ~(val & mask);
        break;
    case 2:
        p->en = (p->en & ~mask) | (val & mask & EN_MASK);
        break;
    case 4:
        write_control(p, (p->cnt & ~mask) | (val & mask));
        break;
    case 12:
        p->gpe_sts &= ~(val & mask);
        break;
    case 14:
        p->gpe_en = (p->gpe_en & ~mask) | (val & mask);
        break;
    }
}

static u32 pm_read(void *opaque, u16 port, int size)
{
    struct piix4_pm *p = opaque;
    int reg = port - p->io;
    update(p);
    if (size == 4 && reg == 8)
        return ticks(bus_now(p->b)) & 0xffffff;
    if (size == 4)
        return reg_read(p, reg & ~1) | (u32)reg_read(p, (reg & ~1) + 2) << 16;
    u16 v = reg_read(p, reg & ~1);
    return reg & 1 ? v >> 8 : v;
}

static void pm_write(void *opaque, u16 port, int size, u32 val)
{
    struct piix4_pm *p = opaque;
    int reg = port - p->io;
    update(p);
    if (size == 1)
        reg_write(p, reg & ~1, reg & 1 ? val << 8 : val, reg & 1 ? 0xff00 : 0x00ff);
    else
        reg_write(p, reg & ~1, val, 0xffff);
    if (size == 4)
        reg_write(p, (reg & ~1) + 2, val >> 16, 0xffff);
    update(p);
}

static const struct port_ops pm_ops = {.read = pm_read, .write = pm_write};

#define HOTPLUG_GPE 0xafe0
#define HOTPLUG_PCI 0xae00

static u32 hotplug_read(void *opaque, u16 port, int size)
{
    struct piix4_pm *p = opaque;
    return port == HOTPLUG_GPE + 2 ? p->hotplug_en & 0xff : port == HOTPLUG_GPE + 3 ? p->hotplug_en >> 8 : 0;
}

static void hotplug_write(void *opaque, u16 port, int size, u32 val)
{
    struct piix4_pm *p = opaque;
    if (port == HOTPLUG_GPE + 2)
        p->hotplug_en = (p->hotplug_en & 0xff00) | (val & 0xff);
    else if (port == HOTPLUG_GPE + 3)
        p->hotplug_en = (p->hotplug_en & 0xff) | (val & 0xff) << 8;
}

static const struct port_ops hotplug_ops = {.read = hotplug_read, .write = hotplug_write};

static void move_ports(struct piix4_pm *p)
{
    u16 base;
    memcpy(&base, p->pci.config + 0x40, 2);
    base &= 0xffc0;
    u16 want = p->pci.config[0x80] & 1 ? base : 0;
    if (want == p->io)
        return;
    if (p->io)
        bus_remove_ports(p->b, p->io, 64);
    p->io = want;
    if (want && bus_add_ports(p->b, want, 64, 1 | 2 | 4, &pm_ops, p)) {
        LOG(dev, "power management ports at %04x: taken", want);
        p->io = 0;
    }
}

static void config_written(void *opaque, int reg, int size)
{
    struct piix4_pm *p = opaque;
    if ((reg + size > 0x40 && reg < 0x44) || (reg <= 0x80 && reg + size > 0x80))
        move_ports(p);
}

static void apm_command(void *opaque, u8 cmd)
{
    struct piix4_pm *p = opaque;
    if (cmd == APM_ACPI_ENABLE)
        p->cnt |= CNT_SCI_EN;
    else if (cmd == APM_ACPI_DISABLE)
        p->cnt &= ~CNT_SCI_EN;
    update(p);
}

u16 piix4_pm_base(struct piix4_pm *p)
{
    return p->io;
}

void piix4_pm_power_button(struct piix4_pm *p)
{
    p->sts |= STS_PWRBTN;
    update(p);
}

static const struct device_field pm_fields[] = {
    DEV_FIELD(struct piix4_pm, sts, 0),    DEV_FIELD(struct piix4_pm, en, 0),
    DEV_FIELD(struct piix4_pm, cnt, 0),    DEV_FIELD(struct piix4_pm, gpe_sts, 0),
    DEV_FIELD(struct piix4_pm, gpe_en, 0), DEV_FIELD(struct piix4_pm, hotplug_en, 0),
    DEV_KEEP(struct piix4_pm, wrap),       DEV_KEEP(struct piix4_pm, pci.config),
    DEV_KEEP(struct piix4_pm, io),         DEV_END};

static void pm_reset(void *dev)
{
    struct piix4_pm *p = dev;
    memset(p->pci.config + 0x40, 0, 0xc0);
    p->pci.config[0x40] = 1;
    p->pci.config[0x90] = 1;
    p->pci.config[0x5b] = 0x02; /* DEVACTB.APMC_EN: tells firmware that SMM needs no setting up */
    move_ports(p);
    p->wrap = ticks(bus_now(p->b)) >> 23;
    update(p);
}

static void pm_destroy(void *dev)
{
    free(dev);
}

static const struct device_desc pm_desc = {
    .name = "piix4-pm", .fields = pm_fields, .reset = pm_reset, .destroy = pm_destroy};

int piix4_pm_create(struct bus *b, struct piix3 *isa, struct piix4_pm **out)
{
    struct piix4_pm *p = dev_alloc(sizeof(*p));
    p->b = b;
    p->isa = isa;
    struct pci_dev *d = &p->pci;
    d->name = "PIIX4 PM";
    d->devfn = 1 << 3 | 3;
    d->opaque = p;
    d->written = config_written;
    pci_set_id(d, 0x8086, 0x7113, 0x0680, 3);
    d->config[PCI_STATUS] = 0x80;
    d->config[PCI_STATUS + 1] = 0x02;
    d->wmask[PCI_COMMAND] = 1;
    d->config[PCI_INT_PIN] = 1; /* the SCI, wired to IRQ 9 */
    d->config[PCI_INT_LINE] = 9;
    memset(d->wmask + 0x40, 0xff, 0xc0);
    d->wmask[0x40] = 0xc0; /* PMBASE: 64 bytes of ports */
    d->wmask[0x42] = d->wmask[0x43] = 0;
    d->wmask[0x90] = 0xf0;
    int err = bus_add_ports(b, HOTPLUG_GPE, 4, 1, &hotplug_ops, p);
    err = err ? err : bus_add_ports(b, HOTPLUG_PCI, 16, 1, &hotplug_ops, p);
    err = err ? err : pci_add(b, d);
    if (err) {
        bus_drop_ports(b, p);
        free(p);
        return err;
    }
    p->timer = bus_timer_new(b, fire, p);
    piix3_set_apm_hook(isa, apm_command, p);
    bus_add_device(b, &pm_desc, p);
    *out = p;
    return 0;
}
