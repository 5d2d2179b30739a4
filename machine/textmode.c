/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The screen of a guest that is loaded directly: no video BIOS runs, so the adapter is put into text mode
 * here, as kernels expect to find it. The characters' shapes are those of the video BIOS that would have run:
 * its image has a table of 256 glyphs of 16 bytes, which is found by its letter A.
 */
#include "machine/vm.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "devices/vga.h"

#define GLYPH 16

static const u8 *find_font(const u8 *rom, u64 size)
{
    static const u8 letter[GLYPH] = {0, 0, 0x10, 0x38, 0x6c, 0xc6, 0xc6, 0xfe, 0xc6, 0xc6, 0xc6, 0xc6};
    for (u64 at = 'A' * GLYPH; at + (256 - 'A') * GLYPH <= size; at++)
        if (!memcmp(rom + at, letter, GLYPH))
            return rom + at - 'A' * GLYPH;
    return NULL;
}

void textmode_set(struct vm *vm)
{
    u8 *rom = NULL;
    u64 size = 0;
    const u8 *font = NULL;
    if (!firmware_read_rom("vgabios-stdvga.bin", &rom, &size))
        font = find_font(rom, size);
    if (!font)
        warn_report("no font for the text screen: vgabios-stdvga.bin not found (package seabios)");
    bus_lock(vm->bus);
    vga_set_text_mode(vm->vga, font);
    bus_unlock(vm->bus);
    free(rom);
}
