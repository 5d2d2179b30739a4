/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images become drives: which image sits at which slot, and what the CMOS says of them.
 *
 * CMOS bytes as PC BIOSes and QEMU keep them: 10h floppy types, 12h and 19h-24h the first two hard disks,
 * 14h equipment, 38h and 3Dh the boot order, 39h how each disk's geometry is translated.
 */
#include "machine/vm.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "devices/block.h"
#include "devices/fdc.h"
#include "devices/ide.h"

static struct block *open_drive(struct vm *vm, const struct drive_config *d)
{
    char err[512];
    struct block_config cfg = {
        .path = d->path, .read_only = d->read_only || d->cdrom, .snapshot = d->snapshot || vm->cfg.snapshot};
    struct block *k = block_open(vm->bus, &cfg, err, sizeof(err));
    if (!k)
        error_report("drive: %s", err);
    return k;
}

/* The geometry translation that a BIOS of the time would choose: none, LARGE, LBA. */
static u8 translation(u64 sectors)
{
    u64 cyl = sectors / (16 * 63);
    if (cyl > 16383)
        cyl = 16383;
    return cyl <= 1024 ? 0 : cyl * 16 <= 131072 ? 2 : 1;
}

static void describe_disk(struct vm *vm, int slot, u64 sectors)
{
    u64 cyl = sectors / (16 * 63) < 16383 ? sectors / (16 * 63) : 16383;
    struct bus *b = vm->bus;
    vm->cmos_translation |= translation(sectors) << (2 * slot);
    if (slot > 1)
        return;
    u8 *types = &vm->cmos_disks, base = slot ? 0x24 : 0x1b;
    *types |= slot ? 0x0f : 0xf0;
    rtc_cmos_set(b, 0x12, *types);
    rtc_cmos_set(b, 0x19 + slot, 47); /* user-defined: what follows */
    rtc_cmos_set(b, base, cyl);
    rtc_cmos_set(b, base + 1, cyl >> 8);
    rtc_cmos_set(b, base + 2, 16);
    rtc_cmos_set(b, base + 3, 0xff); /* write precompensation: none */
    rtc_cmos_set(b, base + 4, 0xff);
    rtc_cmos_set(b, base + 5, 0xc8); /* more than eight heads */
    if (base + 8 != 0x2c)
        rtc_cmos_set(b, base + 6, cyl);
    rtc_cmos_set(b, base + 7, cyl >> 8);
    rtc_cmos_set(b, base + 8, 63);
}

static int add_ide(struct vm *vm, const struct drive_config *d)
{
    if (d->index < 0 || d->index > 3) {
        error_report("drive '%s': index %d does not exist, IDE has 0 to 3", d->path ? d->path : "", d->index);
        return -EINVAL;
    }
    if (ide_has(vm->ide, d->index)) {
        error_report("two drives have index %d: '%s' is one of them", d->index,
                     d->path ? d->path : "(empty)");
        return -EINVAL;
    }
    struct block *k = d->path ? open_drive(vm, d) : NULL;
    if (d->path && !k)
        return -EINVAL;
    ide_attach(vm->ide, d->index, k, d->cdrom);
    if (!d->cdrom)
        describe_disk(vm, d->index, block_size(k) / SECTOR);
    return 0;
}

static int add_floppy(struct vm *vm, const struct drive_config *d)
{
    if (d->index < 0 || d->index > 1 || fdc_has(vm->fdc, d->index)) {
        error_report("floppy drive '%s': there is no free drive with index %d", d->path ? d->path : "",
                     d->index);
        return -EINVAL;
    }
    struct block *k = d->path ? open_drive(vm, d) : NULL;
    if (d->path && !k)
        return -EINVAL;
    fdc_attach(vm->fdc, d->index, k);
    return 0;
}

/* CMOS 10h and the equipment byte: FPU, PS/2 mouse, VGA, and how many floppy drives. */
static void describe_floppies(struct vm *vm)
{
    int n = fdc_has(vm->fdc, 0) + fdc_has(vm->fdc, 1);
    rtc_cmos_set(vm->bus, 0x10, fdc_drive_type(vm->fdc, 0) << 4 | fdc_drive_type(vm->fdc, 1));
    rtc_cmos_set(vm->bus, 0x14, 0x06 | (n ? 1 | (n - 1) << 6 : 0));
}

static void boot_order(struct vm *vm)
{
    const char *order = vm->cfg.boot_order ? vm->cfg.boot_order : "cad";
    u8 dev[3] = {0};
    int n = 0;
    for (const char *p = order; *p && n < 3; p++)
        dev[n++] = *p == 'a' || *p == 'b' ? 1 : *p == 'c' ? 2 : *p == 'd' ? 3 : 4;
    rtc_cmos_set(vm->bus, 0x3d, dev[1] << 4 | dev[0]);
    rtc_cmos_set(vm->bus, 0x38, dev[2] << 4 | vm->cfg.no_fd_bootchk);
}

int drives_create(struct vm *vm)
{
    for (int i = 0; i < vm->cfg.ndrives; i++) {
        const struct drive_config *d = &vm->cfg.drives[i];
        int err = d->floppy ? add_floppy(vm, d) : add_ide(vm, d);
        if (err)
            return err;
    }
    if (!vm->cfg.no_default_drives && !ide_has(vm->ide, 2)) /* an empty CD-ROM drive, as QEMU has */
        ide_attach(vm->ide, 2, NULL, true);
    if (!vm->cfg.no_default_drives && !fdc_has(vm->fdc, 0))
        fdc_attach(vm->fdc, 0, NULL);
    describe_floppies(vm);
    rtc_cmos_set(vm->bus, 0x39, vm->cmos_translation);
    boot_order(vm);
    return 0;
}
