/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What passes from the board to the guest besides the guest's own image: ACPI and SMBIOS tables, and for
 * guests that are loaded directly the little that a BIOS does to the hardware, and its older tables.
 *
 * Firmware gets the tables as fw_cfg files and finishes them. It may have put the power management ports
 * elsewhere by then, so the ACPI file is made anew when it is read.
 *
 * A direct guest finds them finished in the F segment, which its memory map reserves:
 *
 *   F0000  RSDP        F0020  SMBIOS entry point        F0040  MP pointer        F0100  $PIR
 *   F0400  MP table    F1000  SMBIOS                    F2000  ACPI
 *
 * and PCI as a BIOS leaves it: interrupts routed, BARs assigned and decoded, power management ports placed.
 */
#include "machine/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "devices/fdc.h"
#include "devices/fwcfg.h"
#include "devices/pci.h"
#include "devices/piix.h"

#define RSDP_AT   0xf0000u
#define ENTRY_AT  0xf0020u
#define MP_PTR_AT 0xf0040u
#define PIR_AT    0xf0100u
#define MP_AT     0xf0400u
#define SMBIOS_AT 0xf1000u
#define ACPI_AT   0xf2000u

#define PM_BASE 0x600

struct tables {
    struct acpi_tables acpi;
    struct smbios_tables smbios;
    struct legacy_tables legacy;
};

static void collect(struct vm *vm, struct board_facts *f)
{
    u64 ram = memory_ram_size(vm->mem);
    u16 pm = vm->cfg.kernel ? 0 : piix4_pm_base(vm->pm);
    u32 id[4];
    cpu_cpuid(vm->cpu, 1, 0, id);
    *f = (struct board_facts){
        .ram_bytes = ram,
        .apic = vm->model.features & CPUF_APIC,
        .pm_base = pm ? pm : PM_BASE,
        .pci_hole = ram > 2 * GiB ? (u32)ALIGN_UP(ram, 256 * MiB) : 0x80000000u,
        .cpu_signature = id[0],
        .cpu_features = vm->model.features,
        .cpu_brand = vm->model.brand,
    };
    f->parallel = vm->cfg.parallel && strcmp(vm->cfg.parallel, "none");
    for (int i = 0; i < 2; i++) {
        if (vm->cfg.serial[i] && strcmp(vm->cfg.serial[i], "none"))
            f->serials |= 1u << i;
        if (vm->fdc && fdc_has(vm->fdc, i))
            f->floppies |= 1u << i;
    }
}

int tables_create(struct vm *vm)
{
    struct board_facts facts;
    vm->tables = calloc(1, sizeof(*vm->tables));
    if (!vm->tables) {
        error_report("no host memory for the guest's tables");
        return -ENOMEM;
    }
    collect(vm, &facts);
    vm->cfg.smbios.uuid = vm->cfg.have_uuid ? vm->cfg.uuid : NULL;
    acpi_build(&vm->tables->acpi, &facts);
    if (!smbios_build(&vm->tables->smbios, &vm->cfg.smbios, &facts)) {
        error_report("-smbios: the strings are too long, together at most 3 KiB and 255 characters each");
        return -EINVAL;
    }
    if (vm->cfg.kernel) {
        acpi_link(&vm->tables->acpi, ACPI_AT);
        smbios_link(&vm->tables->smbios, SMBIOS_AT);
        legacy_build(&vm->tables->legacy, &facts, MP_AT);
    }
    return 0;
}

void tables_destroy(struct vm *vm)
{
    free(vm->tables);
    vm->tables = NULL;
}

/* ---- with firmware ---- */

static void refresh(void *opaque, u8 *data, u32 len)
{
    struct vm *vm = opaque;
    struct board_facts facts;
    collect(vm, &facts);
    acpi_build(&vm->tables->acpi, &facts);
    NOVT_ASSERT(vm->tables->acpi.len == len);
    memcpy(data, vm->tables->acpi.tables, len);
}

void tables_to_firmware(struct vm *vm, struct fwcfg *fw)
{
    const struct acpi_tables *a = &vm->tables->acpi;
    const struct smbios_tables *s = &vm->tables->smbios;
    u8 loader[(ACPI_LINKS_MAX + 2) * ACPI_LOADER_ENTRY];
    fwcfg_add_file(fw, "etc/smbios/smbios-tables", s->tables, s->len);
    fwcfg_add_file(fw, "etc/smbios/smbios-anchor", s->entry, sizeof(s->entry));
    if (vm->cfg.no_acpi)
        return;
    fwcfg_add_live_file(fw, "etc/acpi/tables", a->tables, a->len, refresh, vm);
    fwcfg_add_file(fw, "etc/acpi/rsdp", a->rsdp, sizeof(a->rsdp));
    fwcfg_add_file(fw, "etc/table-loader", loader, acpi_loader(a, loader));
}

/* ---- without ---- */

static u32 config_read(struct bus *b, u32 devfn, u32 reg, int size)
{
    bus_out(b, 0xcf8, 4, 0x80000000u | devfn << 8 | (reg & 0xfc));
    return bus_in(b, (u16)(0xcfc + (reg & 3)), size);
}

static void config_write(struct bus *b, u32 devfn, u32 reg, int size, u32 val)
{
    bus_out(b, 0xcf8, 4, 0x80000000u | devfn << 8 | (reg & 0xfc));
    bus_out(b, (u16)(0xcfc + (reg & 3)), size, val);
}

/* Where the next BAR of each kind goes. */
struct room {
    u32 io, mem;
};

/* Returns the command bit that makes the BAR decode, or 0. */
static u32 assign_bar(struct bus *b, u32 devfn, u32 reg, struct room *r)
{
    config_write(b, devfn, reg, 4, ~0u);
    u32 mask = config_read(b, devfn, reg, 4);
    bool io = mask & PCI_BAR_IO;
    u32 size = -(mask & (io ? ~3u : ~15u)), *next = io ? &r->io : &r->mem;
    u32 at = size ? ALIGN_UP(*next, size) : 0;
    config_write(b, devfn, reg, 4, 0);
    if (!size || at < *next || at + size - 1 > (io ? 0xffffu : 0xfebfffffu))
        return 0;
    config_write(b, devfn, reg, 4, at);
    *next = at + size;
    return io ? PCI_CMD_IO : PCI_CMD_MEM;
}

static void set_up_function(struct bus *b, u32 devfn, struct room *r)
{
    static const u8 irqs[4] = {10, 10, 11, 11}; /* PIRQA-D */
    u32 command = config_read(b, devfn, PCI_COMMAND, 2), pin = config_read(b, devfn, PCI_INT_PIN, 1);
    config_write(b, devfn, PCI_COMMAND, 2, command & ~3u);
    if ((config_read(b, devfn, PCI_HEADER_TYPE, 1) & 0x7f) == 0)
        for (u32 reg = PCI_BAR0; reg < PCI_BAR0 + 24; reg += 4)
            command |= assign_bar(b, devfn, reg, r);
    if (pin)
        config_write(b, devfn, PCI_INT_LINE, 1, irqs[((devfn >> 3) - 1 + pin - 1) & 3]);
    switch (config_read(b, devfn, 0, 4)) {
    case 0x70008086: /* PIIX3: PIRQs, which are level-triggered */
        for (u32 i = 0; i < 4; i++)
            config_write(b, devfn, 0x60 + i, 1, irqs[i]);
        bus_out(b, 0x4d1, 1, 1u << (10 - 8) | 1u << (11 - 8));
        break;
    case 0x70108086: /* IDE: both channels decoded */
        config_write(b, devfn, 0x40, 2, 0x8000);
        config_write(b, devfn, 0x42, 2, 0x8000);
        command |= PCI_CMD_IO;
        break;
    case 0x71138086: /* power management */
        config_write(b, devfn, 0x40, 4, PM_BASE | 1);
        config_write(b, devfn, 0x80, 1, 1);
        config_write(b, devfn, PCI_INT_LINE, 1, 9);
        break;
    }
    config_write(b, devfn, PCI_COMMAND, 2, command);
}

static void set_up_pci(struct vm *vm)
{
    struct room r = {.io = 0xc000, .mem = 0xe0000000u};
    for (u32 slot = 0; slot < 32; slot++) {
        bool several = config_read(vm->bus, slot << 3, PCI_HEADER_TYPE, 1) & 0x80;
        for (u32 fn = 0; fn < (several ? 8u : 1u); fn++)
            if (config_read(vm->bus, slot << 3 | fn, PCI_VENDOR, 2) != 0xffff)
                set_up_function(vm->bus, slot << 3 | fn, &r);
    }
    bus_out(vm->bus, 0xcf8, 4, 0);
}

void handover_direct(struct vm *vm)
{
    const struct tables *t = vm->tables;
    if (vm->bus) /* the second machine of lockstep has none */
        set_up_pci(vm);
    if (vm->vga)
        textmode_set(vm);
    if (memory_ram_size(vm->mem) < MiB)
        return;
    memory_write(vm->mem, ENTRY_AT, t->smbios.entry, sizeof(t->smbios.entry));
    memory_write(vm->mem, SMBIOS_AT, t->smbios.tables, t->smbios.len);
    memory_write(vm->mem, PIR_AT, t->legacy.pir, sizeof(t->legacy.pir));
    if (t->legacy.mp_len) {
        memory_write(vm->mem, MP_PTR_AT, t->legacy.mp_pointer, sizeof(t->legacy.mp_pointer));
        memory_write(vm->mem, MP_AT, t->legacy.mp, t->legacy.mp_len);
    }
    if (vm->cfg.no_acpi)
        return;
    memory_write(vm->mem, RSDP_AT, t->acpi.rsdp, sizeof(t->acpi.rsdp));
    memory_write(vm->mem, ACPI_AT, t->acpi.tables, t->acpi.len);
}
