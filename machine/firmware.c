/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware: the BIOS image in memory, shadow RAM, and what the machine tells the firmware.
 *
 * The image ends at 4 GiB. Its last 128 KiB also show at E0000-FFFFF, where the i440FX's PAM registers choose
 * for each block between the ROM and the RAM behind, separately for reads and writes (Intel 290549, 3.2.18):
 *
 *    RE WE   reads   writes
 *     0  0   ROM     nowhere
 *     0  1   ROM     RAM       (copying the BIOS into RAM)
 *     1  0   RAM     nowhere
 *     1  1   RAM     RAM
 *
 * Each choice but the last is a region over all of C0000-FFFFF of which parts are mapped, so PAM writes
 * allocate nothing. The ROM's copy below 1 MiB is ours for the machine's life: shadow entries point into it.
 *
 * SMRAM stays closed: A0000-BFFFF belongs to the video adapter whatever D_OPEN says, since nothing here runs
 * in SMM.
 */
#include "machine/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "devices/fwcfg.h"
#include "devices/pci.h"

#define SHADOW_BASE 0xc0000u
#define SHADOW_SIZE 0x40000u
#define ROM_WINDOW  0x20000u /* E0000-FFFFF */

struct firmware {
    struct memory *mem;
    u8 *low;                  /* what C0000-FFFFF reads as from the bus */
    int rom, through, locked; /* regions by RE, WE: 00, 01, 10 */
    u8 state[13];             /* of the blocks of pam_block() */
};

/* The 13 blocks: C0000-EFFFF in steps of 16 KiB, then F0000-FFFFF. */
static u32 pam_block(int i, u32 *size)
{
    *size = i < 12 ? 0x4000 : 0x10000;
    return SHADOW_BASE + (u32)i * 0x4000;
}

/* 59h bits 5:4 are F0000; 5Ah-5Fh hold two blocks each, the lower one in bits 1:0. */
static u8 pam_bits(const u8 *config, int i)
{
    u8 v = i < 12 ? config[0x5a + i / 2] >> (i & 1 ? 4 : 0) : config[0x59] >> 4;
    return v & 3;
}

static void pam_changed(void *opaque, const u8 *config)
{
    struct firmware *f = opaque;
    for (int i = 0; i < 13; i++) {
        u32 size, base = pam_block(i, &size);
        u8 bits = pam_bits(config, i); /* bit 0: RE, bit 1: WE */
        if (bits == f->state[i])
            continue;
        f->state[i] = bits;
        LOG(dev, "shadow RAM %05x-%05x: reads %s, writes %s", base, base + size - 1, bits & 1 ? "RAM" : "ROM",
            bits & 2 ? "RAM" : "nowhere");
        if (bits == 3)
            memory_map_ram(f->mem, base, size);
        else
            memory_map_region(f->mem, bits == 0 ? f->rom : bits == 2 ? f->through : f->locked, base, size);
    }
}

static int load_bios(struct vm *vm, struct firmware *f)
{
    static const char *const defaults[] = {"/usr/share/seabios/bios-256k.bin",
                                           "/usr/share/qemu/bios-256k.bin",
                                           "/usr/local/share/qemu/bios-256k.bin"};
    struct boot b = {.ram.size = 16 * MiB}; /* what a file may hold */
    const char *path = vm->cfg.bios;
    u8 *image;
    u64 size = 0;
    int err = -EINVAL;
    for (size_t i = 0; !path && i < ARRAY_SIZE(defaults); i++)
        if (boot_file_size(&b, "BIOS image", defaults[i], &size) == 0)
            path = defaults[i];
    if (!path) {
        error_report("no firmware found: install the package seabios, or give one with -bios FILE");
        return -EINVAL;
    }
    if (boot_read_file(&b, "BIOS image", path, &image, &size)) {
        error_report("%s", b.error);
        return -EINVAL;
    }
    if (size < 64 * KiB || size > 16 * MiB || (size & 0xffff))
        error_report("BIOS image '%s' has %llu bytes: it must be a multiple of 64 KiB, at most 16 MiB", path,
                     (unsigned long long)size);
    else if ((err = memory_add_rom(f->mem, 4 * GiB - size, image, size, "bios")))
        error_report("cannot map the BIOS image: %s", strerror(-err));
    else
        memcpy(f->low + SHADOW_SIZE - (size < ROM_WINDOW ? size : ROM_WINDOW),
               image + size - (size < ROM_WINDOW ? size : ROM_WINDOW), size < ROM_WINDOW ? size : ROM_WINDOW);
    free(image);
    return err;
}

int firmware_read_rom(const char *name, u8 **image, u64 *size)
{
    static const char *const dirs[] = {"/usr/share/seabios", "/usr/share/qemu", "/usr/share/vgabios"};
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        struct boot b = {.ram.size = 16 * MiB}; /* what a file may hold */
        char path[256];
        snprintf(path, sizeof(path), "%s/%s", dirs[i], name);
        if (!boot_read_file(&b, "option ROM", path, image, size))
            return 0;
    }
    return -ENOENT;
}

/* The file of a video BIOS, or nothing if there is none: then the screen stays dark, not the machine. */
static void add_option_rom(struct fwcfg *fw, const char *item, const char *name)
{
    u8 *image;
    u64 size;
    if (firmware_read_rom(name, &image, &size)) {
        warn_report("%s not found (package seabios): no picture before the guest's own driver", name);
        return;
    }
    if (size <= 128 * KiB)
        fwcfg_add_file(fw, item, image, (u32)size);
    free(image);
}

static void add_e820(struct fwcfg *fw, u64 ram)
{
    u8 e[40];
    put64(e, 0);
    put64(e + 8, ram);
    put32(e + 16, 1);
    fwcfg_add_file(fw, "etc/e820", e, 20);
}

static int describe(struct vm *vm, struct firmware *f)
{
    struct fwcfg *fw;
    u64 ram = memory_ram_size(vm->mem);
    int err = fwcfg_create(vm->bus, &fw);
    if (err)
        return err;
    fwcfg_add(fw, FWCFG_UUID, vm->cfg.uuid, 16);
    fwcfg_add_int(fw, FWCFG_IRQ0_OVERRIDE, 1, 4);
    fwcfg_add_int(fw, FWCFG_RAM_SIZE, ram, 8);
    fwcfg_add_int(fw, FWCFG_NOGRAPHIC, vm->cfg.nographic, 2);
    fwcfg_add_int(fw, FWCFG_NB_CPUS, 1, 2);
    fwcfg_add_int(fw, FWCFG_MAX_CPUS, 1, 2);
    fwcfg_add_int(fw, FWCFG_BOOT_MENU, vm->cfg.boot_menu, 2);
    add_e820(fw, ram);
    if (vm->cfg.boot_menu) {
        u8 wait[8];
        put64(wait, vm->cfg.boot_menu_wait ? vm->cfg.boot_menu_wait : 5000);
        fwcfg_add_file(fw, "etc/boot-menu-wait", wait, 8);
    }
    if (vm->cfg.have_reboot_timeout) {
        u8 wait[4];
        put32(wait, (u32)vm->cfg.reboot_timeout);
        fwcfg_add_file(fw, "etc/boot-fail-wait", wait, 4);
    }
    if (vm->cfg.nographic && vm->cfg.serial[0] && strcmp(vm->cfg.serial[0], "none")) {
        u8 port[8];
        put64(port, 0x3f8);
        fwcfg_add_file(fw, "etc/sercon-port", port, 8);
    }
    if (vm->cfg.vga)
        add_option_rom(fw, "pci1234,1111.rom", "vgabios-stdvga.bin");
    tables_to_firmware(vm, fw);
    return 0;
}

int firmware_create(struct vm *vm)
{
    if (memory_ram_size(vm->mem) < MiB) {
        error_report("the firmware needs at least 1 MiB of memory");
        return -EINVAL;
    }
    struct firmware *f = calloc(1, sizeof(*f));
    void *low;
    if (!f || posix_memalign(&low, PAGE_SIZE, SHADOW_SIZE)) {
        free(f);
        return -ENOMEM;
    }
    vm->firmware = f;
    f->mem = vm->mem;
    f->low = low;
    memset(f->low, 0xff, SHADOW_SIZE);
    int err = load_bios(vm, f);
    if (err)
        return err;
    f->rom = memory_new_rom(f->mem, SHADOW_BASE, f->low, SHADOW_SIZE, false, "rom");
    f->through = memory_new_rom(f->mem, SHADOW_BASE, f->low, SHADOW_SIZE, true, "rom, shadowing");
    f->locked = memory_new_rom(f->mem, SHADOW_BASE, memory_base(f->mem) + SHADOW_BASE, SHADOW_SIZE, false,
                               "ram, write-protected");
    memset(f->state, 0xff, sizeof(f->state));
    pci_set_pam_hook(vm->bus, pam_changed, f);
    return describe(vm, f);
}

void firmware_destroy(struct vm *vm)
{
    if (!vm->firmware)
        return;
    free(vm->firmware->low);
    free(vm->firmware);
}
