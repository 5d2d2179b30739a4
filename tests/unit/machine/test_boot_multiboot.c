/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The multiboot loader against generated ELF files and address-field images: a good one of each kind,
 * modules, the information structure, symbols, and one thing wrong at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/boot.h"

#define RAM (16 * MiB)

static u8 *ram;
static u64 ram_size = RAM;
static char dir[] = "/tmp/novt-test-XXXXXX";

static void ram_write(void *opaque, u64 gpa, const void *data, u64 len)
{
    assert_true(gpa + len <= ram_size && !(gpa < 768 * KiB && gpa + len > 640 * KiB));
    memcpy(ram + gpa, data, len);
}

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static int next;
    char *p = paths[next++ % 4];
    snprintf(p, sizeof(paths[0]), "%s/%s", dir, name);
    return p;
}

static const char *save(const char *name, const void *data, size_t len)
{
    const char *path = path_of(name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
    return path;
}

static void header(u8 *p, u32 flags)
{
    put32(p, 0x1badb002);
    put32(p + 4, flags);
    put32(p + 8, -(0x1badb002 + flags));
}

/* A higher-half ELF kernel: virtual C0100000h, physical 1 MiB, 256 bytes in the file, 4 KiB in memory, two
 * symbols. */
#define TEXT  0x1000u
#define SYMS  0x1200u
#define STRS  0x1300u
#define SHDRS 0x1400u
static u8 elf[0x1600];

static void good_elf(void)
{
    memset(elf, 0, sizeof(elf));
    Elf32_Ehdr eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
                     .e_type = ET_EXEC,
                     .e_machine = EM_386,
                     .e_version = EV_CURRENT,
                     .e_entry = 0xc0100010,
                     .e_phoff = sizeof(Elf32_Ehdr),
                     .e_shoff = SHDRS,
                     .e_ehsize = sizeof(Elf32_Ehdr),
                     .e_phentsize = sizeof(Elf32_Phdr),
                     .e_phnum = 1,
                     .e_shentsize = sizeof(Elf32_Shdr),
                     .e_shnum = 3,
                     .e_shstrndx = 2};
    Elf32_Phdr ph = {PT_LOAD, TEXT, 0xc0100000, 0x100000, 0x100, 0x1000, PF_R | PF_X, 0x1000};
    Elf32_Shdr sh[3] = {
        {0},
        {.sh_type = SHT_SYMTAB,
         .sh_offset = SYMS,
         .sh_size = 3 * sizeof(Elf32_Sym),
         .sh_link = 2,
         .sh_info = 1,
         .sh_addralign = 4,
         .sh_entsize = sizeof(Elf32_Sym)},
        {.sh_type = SHT_STRTAB, .sh_offset = STRS, .sh_size = 14, .sh_addralign = 1},
    };
    Elf32_Sym sym[3] = {
        {0},
        {7, 0xc0100020, 0x10, ELF32_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1},
        {1, 0xc0100010, 0, ELF32_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1},
    };
    memcpy(elf, &eh, sizeof(eh));
    memcpy(elf + sizeof(eh), &ph, sizeof(ph));
    memcpy(elf + SHDRS, sh, sizeof(sh));
    memcpy(elf + SYMS, sym, sizeof(sym));
    memcpy(elf + STRS, "\0start\0second", 14);
    memset(elf + TEXT, 0x5a, 0x100);
    header(elf + TEXT, 3);
}

static Elf32_Ehdr *ehdr(void)
{
    return (Elf32_Ehdr *)elf;
}

static Elf32_Phdr *phdr(void)
{
    return (Elf32_Phdr *)(elf + sizeof(Elf32_Ehdr));
}

static int load_bytes(struct boot *b, const void *data, size_t len)
{
    b->kernel = save("kernel", data, len);
    b->ram = (struct boot_ram){ram_size, ram_write, NULL};
    memset(ram, 0xee, ram_size);
    return boot_load(b);
}

static void expect_error(struct boot *b, const void *data, size_t len, const char *text)
{
    assert_int_not_equal(load_bytes(b, data, len), 0);
    if (!strstr(b->error, text))
        fail_msg("error is: %s\nexpected in it: %s", b->error, text);
}

static int setup(void **state)
{
    good_elf();
    ram_size = RAM;
    return 0;
}

static void good(void **state)
{
    struct boot b = {.append = "a b"};
    assert_int_equal(load_bytes(&b, elf, sizeof(elf)), 0);
    assert_int_equal(b.entry.eip, 0x100010); /* physical, though the file gives a virtual one */
    assert_int_equal(b.entry.eax, 0x2badb002);
    assert_int_equal(ram[0x100080], 0x5a);
    assert_int_equal(ram[0x100100], 0); /* cleared beyond the file's part */
    assert_int_equal(ram[0x100fff], 0);
    assert_int_equal(ram[0x101000], 0xee);
    const u8 *mi = ram + b.entry.ebx;
    assert_int_equal(get32(mi), 1 | 4 | 64 | 512);
    assert_int_equal(get32(mi + 4), 639);
    assert_int_equal(get32(mi + 8), 15 * 1024);
    char want[200];
    snprintf(want, sizeof(want), "%s a b", b.kernel);
    assert_string_equal((char *)ram + get32(mi + 16), want);
    assert_string_equal((char *)ram + get32(mi + 64), "novt");
    u32 len = get32(mi + 44), at = get32(mi + 48);
    assert_int_equal(len, 4 * 24);
    assert_int_equal(get32(ram + at), 20);
    assert_int_equal(get64(ram + at + 3 * 24 + 4), MiB);
    assert_int_equal(get64(ram + at + 3 * 24 + 12), RAM - MiB);
    assert_true(get64(ram + b.entry.gdt_base + b.entry.cs) == 0x00cf9b000000ffffull);
    u32 off;
    assert_string_equal(symbols_at(b.symbols, 0xc0100024, &off), "second");
    assert_int_equal(off, 4);
    assert_string_equal(symbols_at(b.symbols, 0xc0100010, &off), "start");
    assert_null(symbols_at(b.symbols, 0xc010000f, &off));
    u32 lo, hi;
    assert_true(symbols_range(b.symbols, "second", &lo, &hi));
    assert_int_equal(lo, 0xc0100020);
    assert_int_equal(hi, 0xc010002f);
    assert_true(symbols_range(b.symbols, "start", &lo, &hi)); /* no size: to the next symbol */
    assert_int_equal(hi, 0xc010001f);
    assert_false(symbols_range(b.symbols, "nobody", &lo, &hi));
    assert_false(symbols_range(NULL, "start", &lo, &hi));
    symbols_free(b.symbols);
}

static void modules(void **state)
{
    u8 data[6000];
    memset(data, 0x21, sizeof(data));
    const char *m1 = save("one", data, 6000), *m2 = save("two", data, 10);
    char list[300];
    snprintf(list, sizeof(list), "%s x=1,,2 y,%s", m1, m2);
    struct boot b = {.initrd = list};
    assert_int_equal(load_bytes(&b, elf, sizeof(elf)), 0);
    const u8 *mi = ram + b.entry.ebx;
    assert_true(get32(mi) & 8);
    assert_int_equal(get32(mi + 20), 2);
    const u8 *mod = ram + get32(mi + 24);
    assert_int_equal(get32(mod), 0x101000); /* page-aligned above the kernel */
    assert_int_equal(get32(mod + 4), 0x101000 + 6000);
    assert_int_equal(ram[0x101000 + 5999], 0x21);
    char want[200];
    snprintf(want, sizeof(want), "%s x=1,2 y", m1);
    assert_string_equal((char *)ram + get32(mod + 8), want);
    assert_int_equal(get32(mod + 16), 0x103000);
    assert_int_equal(get32(mod + 20), 0x10300a);
    symbols_free(b.symbols);
    b.symbols = NULL;

    b.initrd = path_of("nothing");
    expect_error(&b, elf, sizeof(elf), "cannot open module");
    symbols_free(b.symbols);
    b.symbols = NULL;
    ram_size = 0x102000;
    b.initrd = m1;
    expect_error(&b, elf, sizeof(elf), "does not fit into the guest's memory");
    symbols_free(b.symbols);
}

/* A flat binary loaded by the address fields, in base memory, so that the information must move out of its
 * way. */
static void aout(void **state)
{
    static u8 flat[0x3000];
    memset(flat, 0x33, sizeof(flat));
    header(flat + 0x40, 0x10003);
    u32 fields[5] = {0x1040, 0x1000, 0, 0x8000,
                     0x1100}; /* header, load, load end (whole file), bss end, entry */
    for (int i = 0; i < 5; i++)
        put32(flat + 0x4c + 4 * i, fields[i]);
    struct boot b = {0};
    assert_int_equal(load_bytes(&b, flat, sizeof(flat)), 0);
    assert_int_equal(b.entry.eip, 0x1100);
    assert_int_equal(ram[0x1000], 0x33);
    assert_int_equal(ram[0x3fff], 0x33);
    assert_int_equal(ram[0x4000], 0);
    assert_int_equal(ram[0x7fff], 0);
    assert_int_equal(b.entry.ebx, 0x8000);
    assert_null(b.symbols);

    put32(flat + 0x4c, 0x900); /* header below the load address */
    expect_error(&b, flat, sizeof(flat), "broken multiboot header");
    put32(flat + 0x4c, 0x2000); /* load address before the file's start */
    expect_error(&b, flat, sizeof(flat), "broken multiboot header");
    put32(flat + 0x4c, 0x1040);
    put32(flat + 0x54, 0x800); /* data ends before it begins */
    expect_error(&b, flat, sizeof(flat), "broken multiboot header");
    put32(flat + 0x54, 0x9000); /* more than the file has */
    expect_error(&b, flat, sizeof(flat), "truncated");
    put32(flat + 0x54, 0);
    put32(flat + 0x58, 0xb0000); /* bss over the video memory */
    expect_error(&b, flat, sizeof(flat), "no memory");
    put32(flat + 0x58, 0x9f000); /* nothing left for the information */
    expect_error(&b, flat, sizeof(flat), "leaves no room");
    expect_error(&b, flat, 0x4c, "truncated");
}

static void bad(void **state)
{
    struct boot b = {0};
    header(elf + TEXT, 8);
    expect_error(&b, elf, sizeof(elf), "something unknown");
    good_elf();
    ehdr()->e_machine = EM_ARM;
    expect_error(&b, elf, sizeof(elf), "another processor");
    good_elf();
    elf[EI_CLASS] = ELFCLASS64;
    expect_error(&b, elf, sizeof(elf), "64-bit ELF");
    good_elf();
    ehdr()->e_type = ET_DYN;
    expect_error(&b, elf, sizeof(elf), "not an ELF executable");
    good_elf();
    ehdr()->e_phoff = 0x10000000;
    expect_error(&b, elf, sizeof(elf), "program headers");
    good_elf();
    phdr()->p_offset = 0x10000000;
    expect_error(&b, elf, sizeof(elf), "truncated");
    good_elf();
    phdr()->p_offset = 0xfffffff0;
    expect_error(&b, elf, sizeof(elf), "truncated");
    good_elf();
    phdr()->p_paddr = 0xfffff800;
    expect_error(&b, elf, sizeof(elf), "no memory");
    good_elf();
    phdr()->p_memsz = 0xffffffff;
    expect_error(&b, elf, sizeof(elf), "no memory");
    good_elf();
    phdr()->p_memsz = 0x10;
    expect_error(&b, elf, sizeof(elf), "larger in the file");
    good_elf();
    phdr()->p_type = PT_NOTE;
    expect_error(&b, elf, sizeof(elf), "nothing to load");
    good_elf();
    memset(elf, 'x', 4);
    expect_error(&b, elf, sizeof(elf), "neither ELF nor says where");
    good_elf();
    put32(elf + TEXT + 8, 0); /* checksum: then it is not a multiboot kernel */
    expect_error(&b, elf, sizeof(elf), "without a multiboot header");
    assert_null(b.symbols);
}

static void fuzzed(void **state)
{
    srand(2);
    for (int n = 0; n < 500; n++) {
        good_elf();
        for (int i = 0; i < 1 + n % 6; i++)
            elf[n & 1 ? (size_t)rand() % 0x60 : (size_t)SYMS + (size_t)rand() % (sizeof(elf) - SYMS)] =
                (u8)rand();
        struct boot b = {0};
        load_bytes(&b, elf, n % 5 ? sizeof(elf) : TEXT + 64 + (size_t)rand() % (sizeof(elf) - TEXT - 64));
        u32 off;
        symbols_at(b.symbols, 0xc0100024, &off);
        symbols_free(b.symbols);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(good, setup),   cmocka_unit_test_setup(modules, setup),
        cmocka_unit_test_setup(aout, setup),   cmocka_unit_test_setup(bad, setup),
        cmocka_unit_test_setup(fuzzed, setup),
    };
    ram = calloc(1, RAM);
    if (!ram || !mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    static const char *const names[] = {"kernel", "one", "two"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        unlink(path_of(names[i]));
    rmdir(dir);
    free(ram);
    return failed;
}
