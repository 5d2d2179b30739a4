/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot 1 (the Multiboot Specification, version 0.6.96): ELF32 kernels through libelf, and any file with
 * the address fields of the "a.out kludge".
 *
 * Layout: the kernel where it asks to be; modules (-initrd "file args,file args") page-aligned above it; the
 * GDT and the information structure with its strings in one block at the first free place of base memory that
 * the kernel left. Entry: flat protected mode, EAX = 2BADB002h, EBX = information structure, interrupts and
 * paging off.
 *
 * The file is untrusted: libelf checks the structure, we check every range against the file and RAM.
 */
#include "machine/boot.h"

#include <errno.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MB_MAGIC      0x1badb002u
#define MB_BOOT_MAGIC 0x2badb002u
#define MB_SEARCH     8192u
#define MB_PAGE_ALIGN 0x00000001u
#define MB_MEMORY     0x00000002u
#define MB_VIDEO      0x00000004u
#define MB_AOUT       0x00010000u
#define MB_KNOWN      (MB_PAGE_ALIGN | MB_MEMORY | MB_VIDEO | MB_AOUT)

/* Information structure: flags and field offsets. */
enum {
    MI_FLAGS = 0,
    MI_MEM_LOWER = 4,
    MI_MEM_UPPER = 8,
    MI_CMDLINE = 16,
    MI_MODS_COUNT = 20,
    MI_MODS_ADDR = 24,
    MI_MMAP_LENGTH = 44,
    MI_MMAP_ADDR = 48,
    MI_LOADER_NAME = 64,
    MI_SIZE = 120,
};
#define MIF_MEMORY  (1u << 0)
#define MIF_CMDLINE (1u << 2)
#define MIF_MODS    (1u << 3)
#define MIF_MMAP    (1u << 6)
#define MIF_LOADER  (1u << 9)

#define MAX_MODULES  64
#define MAX_SEGMENTS 64
#define INFO_MAX     (64 * KiB)

struct range {
    u64 start, end;
};

struct module {
    u32 start, end;
    char *text; /* the file name and what follows it: the module's string */
};

struct mb_image {
    const u8 *file;
    u64 len;
    u32 header; /* its offset in the file */
    u32 flags;
    struct range seg[MAX_SEGMENTS]; /* guest-physical ranges the kernel occupies */
    int segs;
    u64 end; /* of the highest one */
    struct module mod[MAX_MODULES];
    int mods;
};

static bool find_header(const u8 *image, u64 len, u32 *off)
{
    u64 end = len < MB_SEARCH ? len : MB_SEARCH;
    for (u32 i = 0; i + 12 <= end; i += 4) {
        if (get32(image + i) == MB_MAGIC && !(MB_MAGIC + get32(image + i + 4) + get32(image + i + 8))) {
            *off = i;
            return true;
        }
    }
    return false;
}

bool multiboot_probe(const u8 *image, u64 len)
{
    u32 off;
    return find_header(image, len, &off);
}

/* Copies `filesz` bytes of the file to gpa and clears up to memsz. */
static int load_segment(struct boot *b, struct mb_image *k, u64 off, u64 filesz, u64 gpa, u64 memsz)
{
    if (off > k->len || filesz > k->len - off)
        return boot_fail(b,
                         "kernel '%s' is truncated: a segment reaches to byte %llu of a file of %llu bytes",
                         b->kernel, (unsigned long long)(off + filesz), (unsigned long long)k->len);
    if (!boot_is_ram(b, gpa, memsz))
        return boot_fail(
            b,
            "kernel '%s' wants to be loaded at %llx-%llx, where the guest has no memory: it has %llu MiB; "
            "give more with -m",
            b->kernel, (unsigned long long)gpa, (unsigned long long)(gpa + memsz - 1),
            (unsigned long long)(b->ram.size / MiB));
    if (k->segs == MAX_SEGMENTS)
        return boot_fail(b, "kernel '%s' has more than %d segments to load", b->kernel, MAX_SEGMENTS);
    b->ram.write(b->ram.opaque, gpa, k->file + off, filesz);
    boot_zero(b, gpa + filesz, memsz - filesz);
    k->seg[k->segs++] = (struct range){gpa, gpa + memsz};
    if (gpa + memsz > k->end)
        k->end = gpa + memsz;
    return 0;
}

static int load_aout(struct boot *b, struct mb_image *k)
{
    const u8 *h = k->file + k->header;
    if (k->header + 32ull > k->len)
        return boot_fail(b, "kernel '%s' is truncated: it ends within the multiboot header", b->kernel);
    u32 header_addr = get32(h + 12), load = get32(h + 16), load_end = get32(h + 20), bss_end = get32(h + 24);
    if (load > header_addr || header_addr - load > k->header)
        return boot_fail(
            b,
            "kernel '%s' has a broken multiboot header: load address %x does not fit to header address "
            "%x at file offset %x",
            b->kernel, load, header_addr, k->header);
    u64 off = k->header - (header_addr - load);
    u64 filesz = load_end ? (u64)load_end - load : k->len - off;
    if (load_end && load_end < load)
        return boot_fail(
            b, "kernel '%s' has a broken multiboot header: its data ends (%x) before it begins (%x)",
            b->kernel, load_end, load);
    u64 memsz = bss_end > load + filesz ? (u64)bss_end - load : filesz;
    b->entry.eip = get32(h + 28);
    return load_segment(b, k, off, filesz, load, memsz);
}

static int load_elf_segments(struct boot *b, struct mb_image *k, Elf *elf)
{
    Elf32_Ehdr *eh = elf32_getehdr(elf);
    if (!eh)
        return boot_fail(b, "kernel '%s' is a damaged ELF file: %s", b->kernel, elf_errmsg(-1));
    if (eh->e_machine != EM_386)
        return boot_fail(b, "kernel '%s' is an ELF file for another processor; novt runs 32-bit x86 guests",
                         b->kernel);
    if (eh->e_type != ET_EXEC)
        return boot_fail(b, "kernel '%s' is not an ELF executable (type %u); link it at a fixed address",
                         b->kernel, eh->e_type);
    size_t count = 0;
    Elf32_Phdr *ph = elf32_getphdr(elf);
    /* libelf hands out pointers into the file: a misaligned table would be one too. */
    if (eh->e_phoff % 4 || !ph || elf_getphdrnum(elf, &count))
        return boot_fail(b, "kernel '%s' is an ELF file without readable program headers", b->kernel);
    b->entry.eip = eh->e_entry;
    bool entry_found = false;
    for (size_t i = 0; i < count; i++) {
        if (ph[i].p_type != PT_LOAD || !ph[i].p_memsz)
            continue;
        if (ph[i].p_filesz > ph[i].p_memsz)
            return boot_fail(
                b, "kernel '%s' is a damaged ELF file: segment %zu is larger in the file than in memory",
                b->kernel, i);
        int err = load_segment(b, k, ph[i].p_offset, ph[i].p_filesz, ph[i].p_paddr, ph[i].p_memsz);
        if (err)
            return err;
        /* The entry point is a virtual address; a higher-half kernel may give one, but runs at its physical
         * address. */
        if (!entry_found && eh->e_entry >= ph[i].p_vaddr && eh->e_entry - ph[i].p_vaddr < ph[i].p_memsz) {
            b->entry.eip = eh->e_entry - ph[i].p_vaddr + ph[i].p_paddr;
            entry_found = true;
        }
    }
    if (!k->segs)
        return boot_fail(b, "kernel '%s' is an ELF file with nothing to load", b->kernel);
    return 0;
}

static int load_elf(struct boot *b, struct mb_image *k)
{
    if (k->len < EI_NIDENT || memcmp(k->file, ELFMAG, SELFMAG))
        return boot_fail(
            b,
            "kernel '%s' has a multiboot header but is neither ELF nor says where to load it (address "
            "fields, flag 16)",
            b->kernel);
    if (k->file[EI_CLASS] != ELFCLASS32)
        return boot_fail(b, "kernel '%s' is a 64-bit ELF file; novt runs 32-bit x86 guests", b->kernel);
    elf_version(EV_CURRENT);
    Elf *elf =
        elf_memory((char *)(uintptr_t)k->file, k->len); /* libelf does not write to it: no elf_update() */
    if (!elf || elf_kind(elf) != ELF_K_ELF) {
        if (elf)
            elf_end(elf);
        return boot_fail(b, "kernel '%s' is a damaged ELF file: %s", b->kernel, elf_errmsg(-1));
    }
    int err = load_elf_segments(b, k, elf);
    if (!err) {
        symbols_free(b->symbols);
        b->symbols = symbols_from_elf(elf);
    }
    elf_end(elf);
    return err;
}

/* Splits "file args,file args" (",," is a comma, as in QEMU) and loads each file above the kernel. */
static int load_modules(struct boot *b, struct mb_image *k)
{
    const char *p = b->initrd;
    u64 at = k->end < MiB ? MiB : k->end;
    while (p && *p) {
        if (k->mods == MAX_MODULES)
            return boot_fail(b, "more than %d multiboot modules (-initrd)", MAX_MODULES);
        char *text = malloc(strlen(p) + 1), *o = text;
        if (!text)
            return boot_fail(b, "no host memory for the module list");
        struct module *m = &k->mod[k->mods++];
        m->text = text;
        for (; *p && !(*p == ',' && p[1] != ','); p++) {
            p += *p == ',';
            *o++ = *p;
        }
        *o = 0;
        p += *p == ',';

        size_t name_len = strcspn(text, " ");
        char *path = strndup(text, name_len);
        u64 size = 0;
        int err = path ? boot_file_size(b, "module", path, &size) : boot_fail(b, "no host memory");
        at = ALIGN_UP(at, (u64)PAGE_SIZE);
        if (!err && !boot_is_ram(b, at, size))
            err = boot_fail(
                b,
                "module '%s' (%llu KiB) does not fit into the guest's memory (%llu MiB) above the kernel: "
                "give more with -m",
                path, (unsigned long long)(size / KiB), (unsigned long long)(b->ram.size / MiB));
        if (!err)
            err = boot_copy_file(b, "module", path, at, size);
        free(path);
        if (err)
            return err;
        m->start = (u32)at;
        m->end = (u32)(at + size);
        at += size;
    }
    return 0;
}

/* First place of len bytes in base memory (above the BIOS data) that the kernel does not occupy; 0 if there
 * is none. */
static u32 find_low(const struct mb_image *k, u64 len)
{
    for (u64 at = 0x1000; at + len <= 0x9f000;) {
        u64 next = 0;
        for (int i = 0; i < k->segs; i++)
            if (k->seg[i].start < at + len && at < k->seg[i].end)
                next = k->seg[i].end;
        if (!next)
            return (u32)at;
        at = ALIGN_UP(next, (u64)PAGE_SIZE);
    }
    return 0;
}

/* The block in low memory: information structure, memory map, module list, strings, GDT; all offsets from its
 * start. */
static int write_info(struct boot *b, struct mb_image *k)
{
    size_t strings = strlen(b->kernel) + strlen(b->append ? b->append : "") + 2;
    for (int i = 0; i < k->mods; i++)
        strings += strlen(k->mod[i].text) + 1;
    size_t mmap_off = MI_SIZE, mods_off = mmap_off + 24 * E820_MAX, gdt_off = mods_off + 16 * (size_t)k->mods;
    size_t name_off = gdt_off + 32, str_off = name_off + 16, len = str_off + strings;
    if (len > INFO_MAX)
        return boot_fail(b, "the kernel command line and module strings are too long (%zu bytes)", strings);
    u32 at = find_low(k, len);
    if (!at)
        return boot_fail(b, "kernel '%s' leaves no room for the multiboot information below 640 KiB",
                         b->kernel);
    u8 *blk = calloc(1, len);
    if (!blk)
        return boot_fail(b, "no host memory for the multiboot information");

    struct e820_entry e[E820_MAX];
    int n = boot_e820(b, e);
    for (int i = 0; i < n; i++) {
        u8 *p = blk + mmap_off + 24 * i;
        put32(p, 20); /* size of what follows */
        put64(p + 4, e[i].base);
        put64(p + 12, e[i].len);
        put32(p + 20, e[i].type);
    }
    put32(blk + MI_FLAGS, MIF_MEMORY | MIF_CMDLINE | MIF_MMAP | MIF_LOADER | (k->mods ? MIF_MODS : 0));
    put32(blk + MI_MEM_LOWER, 639);
    put32(blk + MI_MEM_UPPER, (u32)(b->ram.size > MiB ? (b->ram.size - MiB) / KiB : 0));
    put32(blk + MI_MMAP_LENGTH, 24 * (u32)n);
    put32(blk + MI_MMAP_ADDR, at + (u32)mmap_off);
    put32(blk + MI_MODS_COUNT, (u32)k->mods);
    put32(blk + MI_MODS_ADDR, at + (u32)mods_off);
    memcpy(blk + name_off, "novt", 5);
    put32(blk + MI_LOADER_NAME, at + (u32)name_off);
    put32(blk + MI_CMDLINE, at + (u32)str_off);
    /* The kernel's name, then its arguments, as the other loaders do. */
    size_t s = str_off +
               (size_t)sprintf((char *)blk + str_off, "%s%s%s", b->kernel, b->append && *b->append ? " " : "",
                               b->append ? b->append : "") +
               1;
    for (int i = 0; i < k->mods; i++) {
        u8 *p = blk + mods_off + 16 * i;
        put32(p, k->mod[i].start);
        put32(p + 4, k->mod[i].end);
        put32(p + 8, at + (u32)s);
        s += (size_t)sprintf((char *)blk + s, "%s", k->mod[i].text) + 1;
    }
    b->ram.write(b->ram.opaque, at, blk, len);
    free(blk);
    boot_write_gdt(b, at + (u32)gdt_off);
    b->entry.eax = MB_BOOT_MAGIC;
    b->entry.ebx = at;
    return 0;
}

int multiboot_load(struct boot *b, const u8 *image, u64 len)
{
    struct mb_image k = {.file = image, .len = len};
    if (!find_header(image, len, &k.header))
        return boot_fail(b, "kernel '%s' has no multiboot header", b->kernel);
    k.flags = get32(image + k.header + 4);
    if (k.flags & 0xffff & ~MB_KNOWN)
        return boot_fail(b, "kernel '%s' asks its multiboot loader for something unknown (header flags %x)",
                         b->kernel, k.flags);
    int err = k.flags & MB_AOUT ? load_aout(b, &k) : load_elf(b, &k);
    if (!err)
        err = load_modules(b, &k);
    if (!err)
        err = write_info(b, &k);
    for (int i = 0; i < k.mods; i++)
        free(k.mod[i].text);
    return err;
}
