/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memory/: layout, kinds, MMIO splitting, ROM, watchers, generations. */
#include "env.h"

static void layout(void **st)
{
    int err = 0;
    assert_null(memory_create(0, &err));
    assert_int_equal(err, -22);
    assert_null(memory_create(123456, &err));
    assert_null(memory_create(4 * GiB, &err));
    struct memory *m = memory_create(3 * GiB, &err);
    assert_non_null(m);
    assert_int_equal(memory_kind(m, 3 * GiB - 1), MEM_RAM);
    assert_int_equal(memory_kind(m, 3 * GiB), MEM_HOLE);
    memory_destroy(m);
    m = memory_create(16 * MiB, &err);
    assert_int_equal(memory_kind(m, 0x9ffff), MEM_RAM);
    assert_int_equal(memory_kind(m, 0xa0000), MEM_HOLE);
    assert_int_equal(memory_kind(m, 0xbffff), MEM_HOLE);
    assert_int_equal(memory_kind(m, 0xc0000), MEM_RAM);
    assert_int_equal(memory_kind(m, 16 * MiB - 1), MEM_RAM);
    assert_int_equal(memory_kind(m, 16 * MiB), MEM_HOLE);
    assert_int_equal(memory_kind(m, 1ull << 40), MEM_HOLE);
    assert_null(memory_host(m, 0xa0000));
    assert_null(memory_host(m, 1ull << 40));
    assert_ptr_equal(memory_host(m, 0x1234), memory_base(m) + 0x1234);
    u64 x = 0;
    memory_read(m, 0xa0000 - 4, &x, 8);
    assert_true(x == 0xffffffff00000000ull);
    memory_write(m, 1ull << 40, &x, 8);
    memory_read(m, (1ull << 32) - 4, &x, 8);
    assert_true(x == ~0ull);
    assert_true(memory_fd(m) >= 0);
    memory_destroy(m);
    m = memory_create(4096, &err);
    assert_int_equal(memory_kind(m, 0xfff), MEM_RAM);
    assert_int_equal(memory_kind(m, 0x1000), MEM_HOLE);
    memory_destroy(m);
    m = memory_create(700 * KiB, &err);
    assert_int_equal(memory_kind(m, 650 * KiB), MEM_HOLE);
    assert_int_equal(memory_kind(m, 700 * KiB), MEM_HOLE);
    memory_destroy(m);
    memory_destroy(NULL);
}

static char trace[256];
static u32 dev_read(void *o, u64 addr, int size)
{
    sprintf(trace + strlen(trace), "r%llx/%d ", (unsigned long long)addr, size);
    return 0x44332211;
}
static void dev_write(void *o, u64 addr, int size, u32 val)
{
    sprintf(trace + strlen(trace), "w%llx/%d=%x ", (unsigned long long)addr, size, val);
}
static int gates;
static void enter(void *o)
{
    gates++;
}

static void mmio(void **st)
{
    int err;
    struct memory *m = memory_create(16 * MiB, &err);
    const struct mmio_ops ops = {dev_read, dev_write};
    assert_int_equal(memory_add_mmio(m, 0xfee00800, 0x1000, &ops, NULL, "x"), -22);
    assert_int_equal(memory_add_mmio(m, 0xfffff000, 0x2000, &ops, NULL, "x"), -22);
    assert_int_equal(memory_add_mmio(m, 0xfee00000, 0, &ops, NULL, "x"), -22);
    assert_int_equal(memory_add_mmio(m, 0xfffff000, 0x1000, &ops, NULL, "top"), 0);
    assert_int_equal(memory_add_mmio(m, 0xa0000, 0x20000, &ops, NULL, "vga"), 0);
    memory_set_io_gate(m, enter, NULL, NULL);
    u8 buf[16] = {1, 2, 3, 4, 5, 6, 7, 8};
    trace[0] = 0;
    memory_write(m, 0xa0000, buf, 4);
    memory_write(m, 0xa0001, buf, 4);
    memory_write(m, 0xa0010, buf, 8);
    assert_string_equal(trace, "w0/4=4030201 w1/1=1 w2/2=302 w4/1=4 w10/4=4030201 w14/4=8070605 ");
    trace[0] = 0;
    memory_read(m, 0xbffff, buf, 2); /* crosses into RAM */
    assert_string_equal(trace, "r1ffff/1 ");
    assert_int_equal(buf[0], 0x11);
    assert_int_equal(buf[1], 0);
    assert_int_equal(gates, 4);
    for (int i = 0; i < 300; i++)
        err = memory_add_mmio(m, 0xe0000000, 0x1000, &ops, NULL, "many");
    assert_int_equal(err, -28);
    memory_destroy(m);
}

static void rom(void **st)
{
    int err;
    struct memory *m = memory_create(16 * MiB, &err);
    u32 x = 0x11111111;
    memory_write(m, 0xfffff, &x, 1);
    assert_int_equal(memory_add_rom(m, 0xff000, "hello", 5, "bios"), 0);
    assert_int_equal(memory_kind(m, 0xff000), MEM_ROM);
    assert_memory_equal(memory_host(m, 0xff000), "hello\0\0", 7);
    memory_write(m, 0xff000, &x, 4);
    memory_read(m, 0xff000, &x, 4);
    assert_memory_equal(&x, "hell", 4);
    memory_read(m, 0xfffff, &x, 1);
    assert_int_equal(x & 0xff, 0);
    assert_int_equal(memory_add_rom(m, 0xff000, "x", 0, "none"), -22);
    memory_destroy(m);
}

static u64 w_gpa, w_len, w_calls, revoked;
static u32 gen_seen;
static const u32 *gen_ptr;
static void written(void *o, u64 gpa, u32 len)
{
    w_gpa = gpa;
    w_len = len;
    w_calls++;
    gen_seen = gen_ptr ? *gen_ptr : 0;
}
static void revoke(void *o, u64 page)
{
    revoked = page;
}

static void watch(void **st)
{
    int err;
    struct memory *m = memory_create(16 * MiB, &err);
    const struct mem_watcher w = {.written = written, .revoke = revoke, .flags = MEMW_CODE, .opaque = &w_gpa};
    memory_add_watcher(m, &w);
    u32 x = 7;
    memory_watch(m, 0x200000, MEMW_PT); /* not ours, but the first flag */
    assert_int_equal(revoked, 0x200);
    memory_write(m, 0x200010, &x, 4);
    assert_int_equal(w_calls, 0);
    revoked = 0;
    memory_watch(m, 0x200000, MEMW_CODE);
    assert_int_equal(revoked, 0);
    gen_ptr = memory_code_gen(m, 0x200fff);
    assert_int_equal(*gen_ptr, 0);
    memory_write(m, 0x200010, &x, 4);
    assert_int_equal(w_calls, 1);
    assert_int_equal(w_gpa, 0x200010);
    assert_int_equal(w_len, 4);
    assert_int_equal(gen_seen, 1); /* bumped before the watcher runs */
    u8 buf[8192];
    memset(buf, 1, sizeof(buf));
    memory_write(m, 0x1ff800, buf, 0x1000);
    assert_int_equal(w_calls, 2);
    assert_int_equal(w_gpa, 0x200000);
    assert_int_equal(w_len, 0x800);
    memory_touched(m, 0x200000, 4, MEMW_CODE);
    assert_int_equal(w_calls, 2);
    memory_unwatch(m, 0x200000, MEMW_CODE);
    assert_int_equal(memory_watch_flags(m, 0x200000), MEMW_PT);
    memory_write(m, 0x200010, &x, 4);
    assert_int_equal(w_calls, 2);
    /* Replacing a watched page is a write to it. */
    memory_watch(m, 0x200000, MEMW_CODE);
    memory_add_rom(m, 0x200000, "r", 1, "rom");
    assert_int_equal(w_calls, 3);
    memory_watch(m, 1ull << 40, MEMW_CODE);
    assert_int_equal(memory_watch_flags(m, 1ull << 40), 0);
    assert_non_null(memory_code_gen(m, 1ull << 40));
    memory_remove_watcher(m, &w_gpa);
    memory_write(m, 0x200010, &x, 4);
    assert_int_equal(w_calls, 3);
    memory_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout),
        cmocka_unit_test(mmio),
        cmocka_unit_test(rom),
        cmocka_unit_test(watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
