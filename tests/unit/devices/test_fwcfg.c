/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg: items, files, DMA; hostile descriptors. */
#include "fixture.h"
#include "devices/fwcfg.h"

static void select_key(struct fix *f, u16 key)
{
    bus_out(f->b, 0x510, 2, key);
}

static u32 data32(struct fix *f)
{
    u32 v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 8 | inb(f, 0x511);
    return v;
}

static struct fix *make(struct fwcfg **fw)
{
    struct fix *f = fix_new();
    assert_int_equal(fwcfg_create(f->b, fw), 0);
    fwcfg_add_int(*fw, FWCFG_RAM_SIZE, 0x12345678, 8);
    fwcfg_add_file(*fw, "etc/one", "abc", 3);
    fwcfg_add_file(*fw, "etc/two", "defg", 4);
    return f;
}

static void items(void **st)
{
    struct fwcfg *fw;
    struct fix *f = make(&fw);
    select_key(f, FWCFG_SIGNATURE);
    assert_int_equal(data32(f), 0x51454d55);
    assert_int_equal(data32(f), 0); /* past the end */
    select_key(f, FWCFG_ID);
    assert_int_equal(inb(f, 0x511), 3);
    select_key(f, FWCFG_RAM_SIZE);
    assert_int_equal(data32(f), 0x78563412);
    select_key(f, 0x3fff);
    assert_int_equal(data32(f), 0);
    select_key(f, FWCFG_FILE_DIR);
    assert_int_equal(data32(f), 2);
    assert_int_equal(data32(f), 3); /* size of the first file */
    u16 key = inb(f, 0x511) << 8;
    key |= inb(f, 0x511);
    assert_int_equal(key, FWCFG_FILE_FIRST);
    assert_int_equal(inb(f, 0x511) | inb(f, 0x511), 0);
    char name[56];
    for (int i = 0; i < 56; i++)
        name[i] = (char)inb(f, 0x511);
    assert_string_equal(name, "etc/one");
    select_key(f, FWCFG_FILE_FIRST + 1);
    assert_int_equal(inb(f, 0x511), 'd');
    fix_free(f);
}

static u8 mem[65536];
static void mr(void *o, u64 gpa, void *buf, u64 len)
{
    memset(buf, 0xff, len);
    if (gpa < sizeof(mem) && len <= sizeof(mem) - gpa)
        memcpy(buf, mem + gpa, len);
}
static void mw(void *o, u64 gpa, const void *buf, u64 len)
{
    if (gpa < sizeof(mem) && len <= sizeof(mem) - gpa)
        memcpy(mem + gpa, buf, len);
}

static void be(u8 *p, u64 v, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = v >> (8 * (n - 1 - i));
}

static u32 dma(struct fix *f, u32 ctl, u32 len, u64 addr)
{
    be(mem, ctl, 4);
    be(mem + 4, len, 4);
    be(mem + 8, addr, 8);
    bus_out(f->b, 0x514, 4, 0);
    bus_out(f->b, 0x518, 4, 0); /* descriptor at 0; big-endian zero is zero */
    return mem[3];
}

static void by_dma(void **st)
{
    struct bus_host h = {.mem_read = mr, .mem_write = mw};
    struct fix *f = calloc(1, sizeof(*f));
    f->b = bus_create(&h);
    struct fwcfg *fw;
    assert_int_equal(fwcfg_create(f->b, &fw), 0);
    fwcfg_add_file(fw, "etc/x", "hello", 5);
    assert_int_equal(bus_in(f->b, 0x514, 4), 0x554d4551); /* "QEMU" as bytes */
    memset(mem + 0x100, 0xee, 16);
    assert_int_equal(dma(f, FWCFG_FILE_FIRST << 16 | 0x0a, 8, 0x100), 0);
    assert_memory_equal(mem + 0x100, "hello\0\0\0\xee", 9);
    assert_int_equal(dma(f, FWCFG_FILE_FIRST << 16 | 0x0c, 3, 0), 0); /* skip */
    assert_int_equal(dma(f, 0x02, 2, 0x200), 0);
    assert_memory_equal(mem + 0x200, "lo", 2);
    assert_int_equal(dma(f, 0x10, 2, 0x200), 1);          /* writes are refused */
    assert_int_equal(dma(f, 0x02, 0xffffffff, 0x200), 1); /* so is a length beyond reason */
    assert_int_equal(dma(f, 0x0c, 0xffffffff, 0), 0);
    assert_int_equal(dma(f, 0x04, 0xffffffff, 0), 0); /* the cursor does not wrap */
    assert_int_equal(dma(f, 0x02, 4, 0xffffffffffffff00ull), 0);
    bus_out(f->b, 0x514, 4, 0xffffffff); /* a descriptor that is nowhere */
    bus_out(f->b, 0x518, 4, 0xffffffff);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(items), cmocka_unit_test(by_dma)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
