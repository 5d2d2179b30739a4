/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Linux loader against generated bzImages: one good image of each kind, then one field wrong at a time.
 * RAM is a flat buffer behind struct boot_ram, so neither memory/ nor a machine is needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/boot.h"

#define RAM (64 * MiB)

static u8 *ram;
static char dir[] = "/tmp/novt-test-XXXXXX";

static void ram_write(void *opaque, u64 gpa, const void *data, u64 len)
{
    assert_true(gpa + len <= *(u64 *)opaque);
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

/* A bzImage of protocol 2.15 with 2 setup sectors and a protected-mode part of 20 KiB of 0xc3. */
#define PM_LEN 20480
static u8 image[512 * 3 + PM_LEN];

static void good_image(void)
{
    memset(image, 0, sizeof(image));
    image[0x1f1] = 2;
    put32(image + 0x1f4, PM_LEN / 16);
    put16(image + 0x1fe, 0xaa55);
    image[0x200] = 0xeb;
    image[0x201] = 0x6a;
    memcpy(image + 0x202, "HdrS", 4);
    put16(image + 0x206, 0x20f);
    image[0x211] = 1; /* LOADED_HIGH */
    put32(image + 0x214, 0x100000);
    put32(image + 0x22c, 0x7fffffff);
    put32(image + 0x230, 0x1000);
    image[0x234] = 1;
    put32(image + 0x238, 2047);
    put64(image + 0x258, 16 * MiB);
    put32(image + 0x260, 8 * MiB);
    memset(image + 512 * 3, 0xc3, PM_LEN);
}

static u64 ram_size;

static int load(struct boot *b, size_t len)
{
    b->kernel = save("kernel", image, len);
    b->ram = (struct boot_ram){ram_size, ram_write, &ram_size};
    memset(ram, 0, ram_size);
    return boot_load(b);
}

static void expect_error(struct boot *b, size_t len, const char *text)
{
    assert_int_not_equal(load(b, len), 0);
    if (!strstr(b->error, text))
        fail_msg("error is: %s\nexpected in it: %s", b->error, text);
}

static int setup(void **state)
{
    good_image();
    ram_size = RAM;
    return 0;
}

static void good(void **state)
{
    struct boot b = {.append = "console=ttyS0"};
    assert_int_equal(load(&b, sizeof(image)), 0);
    assert_int_equal(b.entry.eip, 0x100000);
    assert_int_equal(ram[0x100000], 0xc3);
    assert_int_equal(ram[0x100000 + PM_LEN - 1], 0xc3);
    assert_int_equal(ram[0x100000 + PM_LEN], 0);
    const u8 *z = ram + b.entry.esi;
    assert_memory_equal(z + 0x202, "HdrS", 4);
    assert_int_equal(get16(z + 0x1fe), 0xaa55);
    assert_int_equal(z[0x210], 0xff);
    assert_string_equal((char *)ram + get32(z + 0x228), "console=ttyS0");
    assert_int_equal(get32(z + 0x218), 0);
    assert_int_equal(z[0x1ef], 0); /* sentinel: the structure was initialised */
    /* e820: RAM to 9FC00h, holes, RAM from 1 MiB to the end */
    assert_int_equal(z[0x1e8], 4);
    assert_int_equal(get64(z + 0x2d0 + 8), 0x9fc00);
    assert_int_equal(get64(z + 0x2d0 + 60), MiB);
    assert_int_equal(get64(z + 0x2d0 + 68), RAM - MiB);
    assert_int_equal(get32(z + 0x2d0 + 76), 1);
    assert_int_equal(get32(z + 0x1e0), (RAM - MiB) / KiB);
    /* __BOOT_CS and __BOOT_DS */
    assert_int_equal(b.entry.cs, 0x10);
    assert_int_equal(b.entry.ds, 0x18);
    assert_true(get64(ram + b.entry.gdt_base + 0x10) == 0x00cf9b000000ffffull);
    assert_true(get64(ram + b.entry.gdt_base + 0x18) == 0x00cf93000000ffffull);
    assert_int_equal(get16(ram + 0x413), 639);
}

static void initrd_high(void **state)
{
    u8 rd[5000];
    memset(rd, 0x77, sizeof(rd));
    struct boot b = {.initrd = save("initrd", rd, sizeof(rd))};
    assert_int_equal(load(&b, sizeof(image)), 0);
    const u8 *z = ram + b.entry.esi;
    u32 at = get32(z + 0x218);
    assert_int_equal(at, RAM - 8192);
    assert_int_equal(get32(z + 0x21c), 5000);
    assert_int_equal(ram[at], 0x77);
    assert_int_equal(ram[at + 4999], 0x77);
    assert_int_equal(ram[at + 5000], 0);
    /* the header's limit is below the end of RAM */
    put32(image + 0x22c, 40 * MiB - 1);
    assert_int_equal(load(&b, sizeof(image)), 0);
    assert_int_equal(get32(ram + b.entry.esi + 0x218), 40 * MiB - 8192);
}

static void zimage_and_old_protocols(void **state)
{
    struct boot b = {.append = "root=/dev/fd0"};
    put16(image + 0x206, 0x201);
    image[0x211] = 0;
    assert_int_equal(load(&b, sizeof(image)), 0);
    assert_int_equal(b.entry.eip, 0x1000);
    assert_int_equal(ram[0x1000], 0xc3);
    const u8 *z = ram + b.entry.esi;
    assert_int_equal(b.entry.esi, 0x90000);
    assert_int_equal(get16(z + 0x20), 0xa33f);
    assert_string_equal((char *)z + get16(z + 0x22), "root=/dev/fd0");
}

static void setup_sects_zero_means_four(void **state)
{
    struct boot b = {0};
    image[0x1f1] = 0;
    put32(image + 0x1f4, 0);
    image[512 * 5] = 0x90;
    assert_int_equal(load(&b, sizeof(image)), 0);
    assert_int_equal(ram[0x100000], 0x90);
}

static void truncated(void **state)
{
    struct boot b = {0};
    expect_error(&b, 100, "only 100 bytes long");
    expect_error(&b, 0x210, "ends within the setup header");
    expect_error(&b, 1024, "2 setup sectors");
    expect_error(&b, 512 * 3, "2 setup sectors");
    expect_error(&b, 512 * 3 + 100, "is truncated: its header announces");
    expect_error(&b, sizeof(image) - 16, "is truncated: its header announces");
    assert_int_equal(load(&b, sizeof(image) - 15), 0); /* syssize is rounded up to 16 */
}

static void versions(void **state)
{
    struct boot b = {0};
    put16(image + 0x206, 0x100);
    expect_error(&b, sizeof(image), "protocol 1.00: novt needs 2.00");
    good_image();
    put16(image + 0x236, 1);
    expect_error(&b, sizeof(image), "64-bit (x86-64) Linux kernel");
    put16(image + 0x206, 0x20b); /* the field did not exist yet */
    assert_int_equal(load(&b, sizeof(image)), 0);
}

static void header_length_is_untrusted(void **state)
{
    struct boot b = {0};
    image[0x201] = 0xff;
    assert_int_equal(load(&b, sizeof(image)), 0);
    image[0x201] = 0;
    assert_int_equal(load(&b, sizeof(image)), 0);
}

static void memory_limits(void **state)
{
    struct boot b = {0};
    ram_size = 20 * MiB;
    expect_error(&b, sizeof(image), "needs at least 24 MiB of memory");
    ram_size = 24 * MiB;
    assert_int_equal(load(&b, sizeof(image)), 0);
    ram_size = 1 * MiB;
    expect_error(&b, sizeof(image), "give more with -m");
    ram_size = RAM;
    put64(image + 0x258, ~0ull - 100);
    expect_error(&b, sizeof(image), "give more with -m");
    put64(image + 0x258, 0xffffffffffff0000ull);
    put32(image + 0x260, 0xffffffff);
    expect_error(&b, sizeof(image), "give more with -m");
}

static void initrd_too_large(void **state)
{
    u8 *rd = calloc(1, 48 * MiB);
    struct boot b = {.initrd = save("big", rd, 48 * MiB)};
    expect_error(&b, sizeof(image), "does not fit into the guest's memory (64 MiB)");
    ram_size = 32 * MiB;
    expect_error(&b, sizeof(image), "does not fit into the guest's memory (32 MiB)");
    ram_size = RAM;
    put32(image + 0x22c, 30 * MiB - 1);
    expect_error(&b, sizeof(image), "does not fit below 30 MiB");
    put32(image + 0x22c, 0xffffffff); /* top + 1 does not wrap */
    put32(image + 0x260, 1 * MiB);
    put64(image + 0x258, 1 * MiB);
    ram_size = 51 * MiB;
    assert_int_equal(load(&b, sizeof(image)), 0);
    free(rd);
}

static void command_line(void **state)
{
    char text[3000];
    memset(text, 'x', sizeof(text));
    text[2047] = 0;
    struct boot b = {.append = text};
    assert_int_equal(load(&b, sizeof(image)), 0);
    text[2047] = 'x';
    text[2048] = 0;
    expect_error(&b, sizeof(image), "has 2048 characters, kernel");
    put16(image + 0x206, 0x205);
    text[256] = 0;
    expect_error(&b, sizeof(image), "takes at most 255");
}

static void files(void **state)
{
    struct boot b = {.kernel = path_of("nothing"), .ram = {RAM, ram_write, &ram_size}};
    assert_int_not_equal(boot_load(&b), 0);
    assert_non_null(strstr(b.error, "cannot open kernel"));
    assert_non_null(strstr(b.error, "No such file"));
    b.kernel = dir;
    assert_int_not_equal(boot_load(&b), 0);
    assert_non_null(strstr(b.error, "is a directory"));
    b.kernel = save("empty", "", 0);
    assert_int_not_equal(boot_load(&b), 0);
    assert_non_null(strstr(b.error, "is empty"));
    b.kernel = "/dev/zero";
    assert_int_not_equal(boot_load(&b), 0);
    assert_non_null(strstr(b.error, "not a regular file"));
    const char *fifo = path_of("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    b.kernel = fifo;
    assert_int_not_equal(boot_load(&b), 0);
    assert_non_null(strstr(b.error, "not a regular file"));
    b.initrd = path_of("nothing");
    expect_error(&b, sizeof(image), "cannot open initrd");
    b.initrd = dir;
    expect_error(&b, sizeof(image), "is a directory");
    b.initrd = save("empty", "", 0);
    expect_error(&b, sizeof(image), "is empty");
}

static void wrong_formats(void **state)
{
    static const struct {
        u32 off;
        const char *bytes;
        u32 len;
        const char *text;
    } t[] = {
        {0, "\177ELF\2\1\1", 7, "64-bit ELF"},
        {0, "\177ELF\1\1\1\0\0\0\0\0\0\0\0\0\2\0\50\0", 20, "another processor"},
        {0, "\177ELF\1\1\1\0\0\0\0\0\0\0\0\0\2\0\3\0", 20, "without a multiboot header"},
        {0x38, "ARM\x64", 4, "64-bit ARM"},
        {0, "\x1f\x8b", 2, "gzip"},
        {0, "!<arch>\n", 8, "dpkg-deb -x"},
        {0, "070701", 6, "looks like an initrd"},
        {0, "MZ", 2, "without a Linux boot header"},
        {0x8001, "CD001", 5, "ISO 9660"},
        {0, "x", 1, "neither a Linux bzImage nor a multiboot kernel"},
    };
    static u8 file[40000];
    for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
        memset(file, 0, sizeof(file));
        memcpy(file + t[i].off, t[i].bytes, t[i].len);
        struct boot b = {.kernel = save("other", file, sizeof(file)), .ram = {RAM, ram_write, &ram_size}};
        assert_int_not_equal(boot_load(&b), 0);
        if (!strstr(b.error, t[i].text))
            fail_msg("error is: %s\nexpected in it: %s", b.error, t[i].text);
    }
}

/* Random bytes in the header never crash the loader nor make it write outside RAM (ram_write asserts that).
 */
static void fuzzed_headers(void **state)
{
    srand(1);
    for (int n = 0; n < 300; n++) {
        good_image();
        for (int i = 0; i < 1 + n % 8; i++)
            image[0x1f1 + rand() % 0x80] = (u8)rand();
        struct boot b = {.append = "x"};
        load(&b, sizeof(image) - (n % 3 ? 0 : (size_t)rand() % sizeof(image)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(good, setup),
        cmocka_unit_test_setup(initrd_high, setup),
        cmocka_unit_test_setup(zimage_and_old_protocols, setup),
        cmocka_unit_test_setup(setup_sects_zero_means_four, setup),
        cmocka_unit_test_setup(truncated, setup),
        cmocka_unit_test_setup(versions, setup),
        cmocka_unit_test_setup(header_length_is_untrusted, setup),
        cmocka_unit_test_setup(memory_limits, setup),
        cmocka_unit_test_setup(initrd_too_large, setup),
        cmocka_unit_test_setup(command_line, setup),
        cmocka_unit_test_setup(files, setup),
        cmocka_unit_test_setup(wrong_formats, setup),
        cmocka_unit_test_setup(fuzzed_headers, setup),
    };
    ram = calloc(1, RAM);
    if (!ram || !mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    static const char *const names[] = {"kernel", "initrd", "big", "empty", "fifo", "other"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        unlink(path_of(names[i]));
    rmdir(dir);
    free(ram);
    return failed;
}
