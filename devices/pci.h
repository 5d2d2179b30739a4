/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions on bus 0. A device embeds a struct pci_dev, fills config[] and wmask[], declares BARs, and
 * registers it; the core answers configuration cycles and tells the device where its BARs are decoded.
 */
#ifndef NOVT_DEVICES_PCI_H
#define NOVT_DEVICES_PCI_H

#include "devices/devices.h"

#define PCI_VENDOR      0x00
#define PCI_DEVICE      0x02
#define PCI_COMMAND     0x04
#define PCI_STATUS      0x06
#define PCI_REVISION    0x08
#define PCI_CLASS_PROG  0x09
#define PCI_CLASS       0x0a
#define PCI_HEADER_TYPE 0x0e
#define PCI_BAR0        0x10
#define PCI_SUBSYSTEM   0x2c
#define PCI_INT_LINE    0x3c
#define PCI_INT_PIN     0x3d

#define PCI_CMD_IO  1
#define PCI_CMD_MEM 2

#define PCI_BAR_IO 1 /* bit 0 of a BAR */

struct pci_dev;

struct pci_bar {
    u32 size; /* a power of two; 0: no such BAR */
    u8 type;  /* the read-only low bits: PCI_BAR_IO, or 0 (memory), 8 (prefetchable) */
    bool mapped;
    u32 addr; /* where it is decoded, if mapped */
};

struct pci_dev {
    const char *name;
    u8 devfn; /* device << 3 | function */
    u8 config[256];
    u8 wmask[256]; /* bits the guest can write */
    u8 w1c[256];   /* bits that a written 1 clears */
    struct pci_bar bar[6];
    /* The BAR begins (mapped) or ends to be decoded at addr. Lock held. May be NULL. */
    void (*map)(void *opaque, int bar, u32 addr, bool mapped);
    /* After a write to config[reg..reg+size). May be NULL. */
    void (*written)(void *opaque, int reg, int size);
    void *opaque;
};

/* Puts the function on bus 0. Returns 0, -EEXIST (devfn taken) or -ENODEV (no pci_create() before). The
 * caller keeps ownership; command, status and BARs are reset with the bus. */
int pci_add(struct bus *b, struct pci_dev *d);
/* Declares BAR n; before pci_add(). */
void pci_set_bar(struct pci_dev *d, int n, u32 size, u8 type);
/* INTA#-INTD# (pin 0-3) of a function, a level: the device calls it only when it changes. Lock held. */
void pci_set_intx(struct bus *b, struct pci_dev *d, int pin, int level);
/* Who takes INTx to the interrupt controller (the south bridge). */
void pci_set_router(struct bus *b, void (*fn)(void *opaque, u8 devfn, int pin, int level), void *opaque);
/* Called when the host bridge's PAM (59h-5Fh) or SMRAM (72h) registers may have changed; config is its
 * configuration space. Also called at once. Lock held. */
void pci_set_pam_hook(struct bus *b, void (*fn)(void *opaque, const u8 *config), void *opaque);
/* Fills the identification registers; class is base << 8 | sub. */
void pci_set_id(struct pci_dev *d, u16 vendor, u16 device, u16 class, u8 revision);

/* The function at devfn, or NULL. Lock held. */
const struct pci_dev *pci_function(struct bus *b, u8 devfn);

#endif
