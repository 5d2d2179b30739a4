/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest-physical memory: RAM (one memfd), ROM, MMIO regions, and per-page watch flags.
 *
 * The physical address space is a page-granular map. RAM pages have a host address; every other page is ROM
 * (host address, writes ignored), MMIO (device callbacks) or a hole (reads all ones, writes dropped, as an
 * empty bus).
 *
 * A RAM page may carry watch flags (MEMW_*). While any is set, no one may hold a writable shortcut to the
 * page: the shadow revokes its write-table entries when the first flag is set, and every write then comes
 * through mem_write(), which notifies the watchers after the bytes are in place. Light code (see cpu/cpu.h).
 */
#ifndef NOVT_MEMORY_MEMORY_H
#define NOVT_MEMORY_MEMORY_H

#include "base/types.h"

struct memory;

/* Watch flags of a physical page. */
#define MEMW_CODE  0x01 /* holds decoded or translated code */
#define MEMW_PT    0x02 /* is a guest page table that the shadow depends on */
#define MEMW_DIRTY 0x04 /* dirty logging (migration, frame buffer) wants to know of the next write */

enum mem_kind { MEM_HOLE, MEM_RAM, MEM_ROM, MEM_MMIO };

struct mmio_ops {
    /* addr: offset from the region's start; size: 1, 2 or 4. Called with the device lock held. */
    u32 (*read)(void *opaque, u64 addr, int size);
    void (*write)(void *opaque, u64 addr, int size, u32 val);
};

struct mem_watcher {
    /* A page carrying one of `flags` was written: bytes [gpa, gpa+len), never crossing a page, now hold the
     * new value. */
    void (*written)(void *opaque, u64 gpa, u32 len);
    /* A page is about to get its first watch flag: revoke every writable shortcut to it. */
    void (*revoke)(void *opaque, u64 page);
    void *opaque;
    u8 flags;
    /* Pages changed their kind or host address (memory_add_*): forget every shortcut to them. May be NULL. */
    void (*remapped)(void *opaque, u64 page, u64 count);
};

/* The per-page arrays (1 Mi entries: below 4 GiB), for light code that cannot afford a call. Read-only for
 * everyone outside memory/, except that RAM itself may be written by the rules of memory_host(). */
struct mem_map {
    u8 *base;        /* memory_base() */
    const u8 *kind;  /* enum mem_kind */
    const u8 *watch; /* MEMW_* */
    const u32 *gen;  /* code generations */
};

/* Creates ram_bytes (multiple of 4 KiB, at most 3 GiB below the PCI hole in this stage) of RAM, laid out as a
 * PC does: [0, 640K), [768K.. with C0000-FFFFF as RAM), and from 1 MiB up; A0000-BFFFF is a hole until a
 * device claims it. On failure returns NULL with *err a negative errno. */
struct memory *memory_create(u64 ram_bytes, int *err);
void memory_destroy(struct memory *m);
u64 memory_ram_size(const struct memory *m);
int memory_fd(const struct memory *m); /* the memfd; RAM at gpa is at file offset gpa (holes included) */

/* Registers [base, base+size), page-granular, as MMIO or ROM (data is copied, padded with zeros). Replaces
 * what was there. Returns 0 or a negative errno. */
int memory_add_mmio(struct memory *m, u64 base, u64 size, const struct mmio_ops *ops, void *opaque,
                    const char *name);
int memory_add_rom(struct memory *m, u64 base, const void *data, u64 size, const char *name);

/* Regions that come and go (shadow RAM, PCI BARs): made once, then mapped and unmapped by the vCPU thread.
 *
 * memory_new_*() return a region number (> 0) or a negative errno and map nothing. A ROM region's data
 * (page-aligned, `size` bytes) is borrowed and stands at `base`; any part of it can be mapped. With write_ram
 * writes go to the RAM at the same address (reads from ROM, writes to RAM: shadowing). */
int memory_new_mmio(struct memory *m, const struct mmio_ops *ops, void *opaque, const char *name);
int memory_new_rom(struct memory *m, u64 base, u8 *data, u64 size, bool write_ram, const char *name);
/* Maps [base, base+size) of a region, whatever is there; an MMIO region then begins at base. */
int memory_map_region(struct memory *m, int region, u64 base, u64 size);
/* The range is plain RAM again (it must lie below memory_ram_size()). */
int memory_map_ram(struct memory *m, u64 base, u64 size);
/* The range becomes a hole. */
int memory_unmap(struct memory *m, u64 base, u64 size);
/* True if nothing is mapped in the range and it is no RAM. */
bool memory_is_hole(const struct memory *m, u64 base, u64 size);
/* Maps a descriptor's pages as RAM (frame buffers): a range that must be a hole at or above
 * memory_ram_size(). memory_unmap() takes it away again. */
int memory_map_fd(struct memory *m, u64 base, u64 size, int fd, u64 offset);

/* One watcher a flag set; at most 4. revoke and remapped are called whatever the flags. */
void memory_add_watcher(struct memory *m, const struct mem_watcher *w);
void memory_remove_watcher(struct memory *m, const void *opaque);

enum mem_kind memory_kind(const struct memory *m, u64 gpa);
/* Host address of a RAM or ROM byte (valid to the end of its page), or NULL. Writing through it bypasses
 * watchers: only for pages without flags, or by code that notifies itself. */
u8 *memory_host(const struct memory *m, u64 gpa);
/* Host address of gpa 0's mapping: RAM byte gpa is at memory_base(m) + gpa. ROM lies elsewhere. */
u8 *memory_base(const struct memory *m);
const struct mem_map *memory_map(const struct memory *m);

u8 memory_watch_flags(const struct memory *m, u64 gpa);
void memory_watch(struct memory *m, u64 gpa,
                  u8 flag); /* sets; revokes shortcuts when it is the page's first */
void memory_unwatch(struct memory *m, u64 gpa, u8 flag); /* clears */
/* Code generation of a RAM/ROM page: bumped by every write to it while MEMW_CODE is set (before the watchers
 * run). */
const u32 *memory_code_gen(const struct memory *m, u64 gpa);

/* Physical access of any length and alignment: RAM, ROM, MMIO, holes; watchers are told. MMIO takes accesses
 * apart into naturally sized ones. */
void memory_read(struct memory *m, u64 gpa, void *buf, u64 len);
void memory_write(struct memory *m, u64 gpa, const void *buf, u64 len);
/* Notifies as memory_write() does, for code that wrote [gpa, gpa+len) (within a page) itself; watchers of the
 * flags in `skip` do not hear of it. */
void memory_touched(struct memory *m, u64 gpa, u32 len, u8 skip);
/* Called around MMIO callbacks (park the FPU, take the device lock); set by the machine. */
void memory_set_io_gate(struct memory *m, void (*enter)(void *), void (*leave)(void *), void *opaque);

static inline u32 memory_read32(struct memory *m, u64 gpa)
{
    u32 v;
    memory_read(m, gpa, &v, 4);
    return v;
}
static inline u64 memory_read64(struct memory *m, u64 gpa)
{
    u64 v;
    memory_read(m, gpa, &v, 8);
    return v;
}

#endif
