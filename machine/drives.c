/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images become drives: which image sits at which slot, what the CMOS says of them, and media that come
 * and go while the machine runs.
 *
 * CMOS bytes as PC BIOSes and QEMU keep them: 10h floppy types, 12h and 19h-24h the first two hard disks,
 * 14h equipment, 38h and 3Dh the boot order, 39h how each disk's geometry is translated.
 *
 * A new image is opened before the bus lock is taken: a server may let us wait.
 */
#include "machine/drives.h"
#include "machine/vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "devices/block.h"
#include "devices/fdc.h"
#include "devices/ide.h"

/* ---- opening ---- */

/* A drive with werror=stop or rerror=stop parked a request: on the vCPU thread. */
static void stop_for_error(void *opaque)
{
    machine_stop_now(opaque, RUN_IO_ERROR);
}

static struct block *medium(const struct vm *vm, int slot)
{
    return slot < 4 ? ide_medium(vm->ide, slot) : fdc_medium(vm->fdc, slot - 4);
}

static void retry_parked(void *opaque, enum machine_event event, bool guest, const char *reason)
{
    struct vm *vm = opaque;
    for (int i = 0; event == MACHINE_RESUMED && i < DRIVE_SLOTS; i++)
        if (medium(vm, i))
            block_retry(medium(vm, i));
}

static struct block *open_image(struct vm *vm, const struct block_config *image, bool floppy, bool cdrom,
                                char *err, size_t n)
{
    struct block_config cfg = *image;
    cfg.snapshot = (cfg.snapshot || vm->cfg.snapshot) && !cfg.read_only && !cdrom;
    cfg.read_only |= cdrom;
    /* A floppy whose file cannot be written is write-protected, as QEMU has it. */
    if (floppy && !cfg.read_only && !cfg.snapshot && access(cfg.path, W_OK) &&
        (errno == EACCES || errno == EROFS)) {
        warn_report("'%s' cannot be written: the floppy is write-protected (readonly=on says so)", cfg.path);
        cfg.read_only = true;
    }
    struct block *k = block_open(vm->bus, &cfg, err, n);
    if (k)
        block_on_stop(k, stop_for_error, vm);
    return k;
}

static struct block *open_drive(struct vm *vm, const struct drive_config *d)
{
    char err[1024];
    struct block *k = open_image(vm, &d->image, d->floppy, d->cdrom, err, sizeof(err));
    if (!k)
        error_report("drive: %s", err);
    return k;
}

/* ---- at start ---- */

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
        error_report("drive '%s': index %d does not exist, IDE has 0 to 3",
                     d->image.path ? d->image.path : "", d->index);
        return -EINVAL;
    }
    if (ide_has(vm->ide, d->index)) {
        error_report("two drives have index %d: '%s' is one of them", d->index,
                     d->image.path ? d->image.path : "(empty)");
        return -EINVAL;
    }
    struct block *k = d->image.path ? open_drive(vm, d) : NULL;
    if (d->image.path && !k)
        return -EINVAL;
    ide_attach(vm->ide, d->index, k, d->cdrom);
    if (d->serial)
        ide_set_serial(vm->ide, d->index, d->serial);
    vm->drive[d->index].cfg = d;
    if (!d->cdrom)
        describe_disk(vm, d->index, block_size(k) / SECTOR);
    return 0;
}

static int add_floppy(struct vm *vm, const struct drive_config *d)
{
    if (d->index < 0 || d->index > 1 || fdc_has(vm->fdc, d->index)) {
        error_report("floppy drive '%s': there is no free drive with index %d",
                     d->image.path ? d->image.path : "", d->index);
        return -EINVAL;
    }
    struct block *k = d->image.path ? open_drive(vm, d) : NULL;
    if (d->image.path && !k)
        return -EINVAL;
    fdc_attach(vm->fdc, d->index, k);
    vm->drive[4 + d->index].cfg = d;
    return 0;
}

/* CMOS 10h and the equipment byte: FPU, PS/2 mouse, VGA, and how many floppy drives. */
static void describe_floppies(struct vm *vm)
{
    int n = fdc_has(vm->fdc, 0) + fdc_has(vm->fdc, 1);
    rtc_cmos_set(vm->bus, 0x10, fdc_drive_type(vm->fdc, 0) << 4 | fdc_drive_type(vm->fdc, 1));
    rtc_cmos_set(vm->bus, 0x14, 0x06 | (n ? 1 | (n - 1) << 6 : 0));
}

void drives_boot_order(struct vm *vm)
{
    const char *order = vm->cfg.boot_order ? vm->cfg.boot_order : "cad";
    if (vm->cfg.boot_once && !vm->booted)
        order = vm->cfg.boot_once;
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
    drives_boot_order(vm);
    vm->drive_observer = (struct machine_observer){.event = retry_parked, .opaque = vm};
    machine_observe(vm, &vm->drive_observer);
    return 0;
}

/* ---- while it runs ---- */

static bool exists(const struct vm *vm, int slot)
{
    return slot < 4 ? vm->ide && ide_has(vm->ide, slot) : vm->fdc && fdc_has(vm->fdc, slot - 4);
}

static bool removable(const struct vm *vm, int slot)
{
    return slot >= 4 || ide_is_cdrom(vm->ide, slot);
}

static void describe(struct vm *vm, int slot, struct drive_info *out)
{
    struct block *k = medium(vm, slot);
    const struct drive_config *cfg = vm->drive[slot].cfg;
    *out = (struct drive_info){.removable = removable(vm, slot), .id = cfg ? cfg->id : NULL};
    if (slot < 4) {
        snprintf(out->name, sizeof(out->name), "ide%d-%s%d", slot >> 1, out->removable ? "cd" : "hd",
                 slot & 1);
        out->locked = ide_locked(vm->ide, slot);
        out->tray_open = ide_tray_open(vm->ide, slot);
    } else {
        snprintf(out->name, sizeof(out->name), "floppy%d", slot - 4);
    }
    if (k) {
        snprintf(out->path, sizeof(out->path), "%s", block_path(k));
        out->read_only = block_read_only(k);
        out->size = block_size(k);
    }
}

bool drives_info(struct vm *vm, int i, struct drive_info *out)
{
    bool found = false;
    bus_lock(vm->bus);
    for (int slot = 0; slot < DRIVE_SLOTS && !found; slot++) {
        if (exists(vm, slot) && i-- == 0) {
            describe(vm, slot, out);
            found = true;
        }
    }
    bus_unlock(vm->bus);
    return found;
}

/* The slot of a removable drive, or a negative errno. Lock held. */
static int find(struct vm *vm, const char *name, char *err, size_t n)
{
    struct drive_info info;
    for (int slot = 0; slot < DRIVE_SLOTS; slot++) {
        if (!exists(vm, slot))
            continue;
        describe(vm, slot, &info);
        if (strcmp(info.name, name) != 0 && (!info.id || strcmp(info.id, name) != 0))
            continue;
        if (info.removable)
            return slot;
        snprintf(err, n, "Device '%s' is not removable", name);
        return -EINVAL;
    }
    snprintf(err, n, "Device '%s' not found", name);
    return -ENODEV;
}

static int let_go(struct vm *vm, int slot, const char *name, bool force, char *err, size_t n)
{
    if (slot >= 4 || force || !medium(vm, slot) || !ide_locked(vm->ide, slot))
        return 0;
    ide_request_eject(vm->ide, slot);
    snprintf(err, n, "Device '%s' is locked and force was not specified, wait for tray to open and try again",
             name);
    return -EBUSY;
}

static void put_medium(struct vm *vm, int slot, struct block *k)
{
    if (slot < 4)
        ide_change_medium(vm->ide, slot, k);
    else
        fdc_change_medium(vm->fdc, slot - 4, k);
}

int drives_eject(struct vm *vm, const char *name, bool force, char *err, size_t n)
{
    bus_lock(vm->bus);
    int slot = find(vm, name, err, n), bad = slot < 0 ? slot : let_go(vm, slot, name, force, err, n);
    if (!bad)
        put_medium(vm, slot, NULL);
    bus_unlock(vm->bus);
    return bad;
}

int drives_change(struct vm *vm, const char *name, const char *path, int read_only, bool force, char *err,
                  size_t n)
{
    struct block_config image = {0};
    bus_lock(vm->bus);
    int slot = find(vm, name, err, n), bad = slot < 0 ? slot : let_go(vm, slot, name, force, err, n);
    if (!bad && vm->drive[slot].cfg)
        image = vm->drive[slot].cfg->image;
    bus_unlock(vm->bus);
    if (bad)
        return bad;
    image.path = path;
    if (read_only >= 0)
        image.read_only = read_only;
    struct block *k = open_image(vm, &image, slot >= 4, slot < 4, err, n);
    if (!k)
        return -EINVAL;
    bus_lock(vm->bus);
    put_medium(vm, slot, k);
    bus_unlock(vm->bus);
    return 0;
}
