/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by memory.c and access.c. */
#ifndef NOVT_MEMORY_INTERNAL_H
#define NOVT_MEMORY_INTERNAL_H

#include "memory/memory.h"

#define MEM_PAGES       (1u << 20) /* 4 GiB: nothing exists above in this stage */
#define MEM_REGIONS     256        /* index 0 is "no region" */
#define MEM_WATCHERS    4
#define MEM_RAM_MAX     (3 * GiB)
#define MEM_RESERVATION (4 * GiB + 2 * MiB)

struct region {
    u64 base, size;
    enum mem_kind kind;
    struct mmio_ops ops; /* MMIO */
    void *opaque;
    u8 *data;       /* ROM: size bytes, page-aligned */
    bool own;       /* data is freed with the memory */
    bool write_ram; /* writes go to the RAM behind */
    const char *name;
};

struct memory {
    struct mem_map map;
    u8 *kind;   /* enum mem_kind of each page */
    u8 *region; /* index into regions[] of ROM and MMIO pages */
    u8 *watch;  /* MEMW_* */
    u32 *gen;   /* code generations */
    u8 *base;   /* RAM mapping, inside a larger reservation */
    u64 ram_bytes;
    int fd;
    u32 nregions;
    u32 nwatchers;
    struct region regions[MEM_REGIONS];
    struct mem_watcher watchers[MEM_WATCHERS];
    void (*gate_enter)(void *);
    void (*gate_leave)(void *);
    void *gate_opaque;
    u32 no_gen; /* the generation of pages that do not exist */
};

#endif
