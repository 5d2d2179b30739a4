/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Symbols of the guest's kernel and programs: names for addresses in dumps, and addresses for names in --dump
 * filters. */
#ifndef NOVT_MACHINE_SYMBOLS_H
#define NOVT_MACHINE_SYMBOLS_H

#include "base/types.h"

struct symbols;
struct Elf; /* libelf.h, whose elf.h collides with cpu.h */

/* Copies the function and object symbols out of an open 32-bit ELF file. Returns NULL if it has none. */
struct symbols *symbols_from_elf(struct Elf *elf);
/* Those of a file: an ELF kernel, or lines "ADDRESS TYPE NAME" as in System.map and /proc/kallsyms. Returns 0
 * with *out, or a negative errno; -EINVAL: neither. */
int symbols_from_file(const char *path, struct symbols **out);
/* Adds those of `from`, which is freed, to *to (NULL: it becomes *to). False: no memory, and only `from` is
 * gone. */
bool symbols_merge(struct symbols **to, struct symbols *from);
void symbols_free(struct symbols *s);
/* The last symbol at or below addr, with the distance in *offset; NULL if there is none. s may be NULL. */
const char *symbols_at(const struct symbols *s, u32 addr, u32 *offset);
/* Address range of a name: [*lo, *hi]. A symbol without a size ends where the next begins. s may be NULL. */
bool symbols_range(const struct symbols *s, const char *name, u32 *lo, u32 *hi);

#endif
