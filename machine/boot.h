/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boot loaders: from image files to bytes in guest RAM and the CPU state at the entry point.
 *
 * A loader writes RAM through struct boot_ram, so it runs the same against a machine and in a unit test. It
 * reports trouble as text in boot->error, written for the person who typed the command line, and returns
 * -EINVAL.
 */
#ifndef NOVT_MACHINE_BOOT_H
#define NOVT_MACHINE_BOOT_H

#include "base/types.h"
#include "machine/symbols.h"

struct boot_ram {
    u64 size; /* end of RAM; [640 KiB, 768 KiB) is not RAM */
    void (*write)(void *opaque, u64 gpa, const void *data, u64 len);
    void *opaque;
};

/* CPU state at the guest's entry: protected mode, flat 4 GiB segments from the table at gdt_base, paging and
 * interrupts off. */
struct boot_entry {
    u32 eip, eax, ebx, esi, esp;
    u32 gdt_base;
    u16 gdt_limit;
    u16 cs, ds; /* selectors of the flat code and data segments */
};

struct e820_entry {
    u64 base, len;
    u32 type; /* 1: RAM, 2: reserved */
};
#define E820_MAX 8

struct boot {
    /* in */
    const char *kernel, *initrd, *append; /* initrd and append may be NULL */
    struct boot_ram ram;
    bool screen; /* there is a VGA, in text mode 3 */
    /* out */
    struct boot_entry entry;
    struct symbols *symbols; /* of an ELF kernel, or NULL; the caller frees it */
    char error[768];
};

/* Reads the files, recognises the kernel's format and loads everything. Returns 0, or -EINVAL with b->error
 * set. */
int boot_load(struct boot *b);

/* The loaders; `image` is the whole kernel file. *_probe: does the file carry that format's mark? */
bool linux_probe(const u8 *image, u64 len);
bool linux_probe_old(const u8 *image, u64 len); /* may be a Linux image before boot protocol 2.00 */
int linux_load(struct boot *b, const u8 *image, u64 len);
bool multiboot_probe(const u8 *image, u64 len);
int multiboot_load(struct boot *b, const u8 *image, u64 len);

/* Shared by the loaders (machine/boot.c). */
int boot_fail(struct boot *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Checks that `path` is a readable, non-empty regular file ("what" names it in errors) and gives its size. */
int boot_file_size(struct boot *b, const char *what, const char *path, u64 *size);
/* Reads a whole file; the caller frees *data. */
int boot_read_file(struct boot *b, const char *what, const char *path, u8 **data, u64 *size);
/* Copies a file of the given size to guest memory. */
int boot_copy_file(struct boot *b, const char *what, const char *path, u64 gpa, u64 size);
void boot_zero(struct boot *b, u64 gpa, u64 len);
/* Memory map as a PC BIOS reports it; returns the number of entries. */
int boot_e820(const struct boot *b, struct e820_entry e[E820_MAX]);
/* Writes the flat GDT at gpa and sets the GDT and selector fields of b->entry. */
void boot_write_gdt(struct boot *b, u32 gpa);
bool boot_is_ram(const struct boot *b, u64 gpa, u64 len);

static inline u16 get16(const u8 *p)
{
    return (u16)(p[0] | p[1] << 8);
}
static inline u32 get32(const u8 *p)
{
    return get16(p) | (u32)get16(p + 2) << 16;
}
static inline u64 get64(const u8 *p)
{
    return get32(p) | (u64)get32(p + 4) << 32;
}
static inline void put16(u8 *p, u16 v)
{
    p[0] = (u8)v;
    p[1] = (u8)(v >> 8);
}
static inline void put32(u8 *p, u32 v)
{
    put16(p, (u16)v);
    put16(p + 2, (u16)(v >> 16));
}
static inline void put64(u8 *p, u64 v)
{
    put32(p, (u32)v);
    put32(p + 4, (u32)(v >> 32));
}

#endif
