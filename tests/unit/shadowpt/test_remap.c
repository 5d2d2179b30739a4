/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that changes under the guest: shadow RAM, regions that move, frame buffers, the A20 gate. */
#include "env.h"
#include <sys/mman.h>
#include <unistd.h>

static u8 pc_rom[64 * 1024] __attribute__((aligned(4096)));

static u8 rd(struct env *e, u32 lin)
{
    u8 x = 0;
    assert_int_equal(shadow_mem_read(e->v, lin, &x, 1, 0), CPU_OK);
    return x;
}

static void wr(struct env *e, u32 lin, u8 x)
{
    assert_int_equal(shadow_mem_write(e->v, lin, &x, 1, 0), CPU_OK);
}

/* The four settings of a PAM field. */
static void shadow_ram(void **st)
{
    struct env e = env_new(4 * MiB, 4);
    memset(pc_rom, 0x5a, sizeof(pc_rom));
    int rom = memory_new_rom(e.m, 0xf0000, pc_rom, sizeof(pc_rom), false, "rom");
    int through = memory_new_rom(e.m, 0xf0000, pc_rom, sizeof(pc_rom), true, "shadowing");
    int locked =
        memory_new_rom(e.m, 0xf0000, memory_base(e.m) + 0xf0000, sizeof(pc_rom), false, "ram, locked");
    assert_true(rom > 0 && through > rom && locked > through);
    assert_int_equal(memory_new_rom(e.m, 0xf0000, pc_rom + 1, 4096, false, "unaligned"), -22);
    assert_int_equal(memory_map_region(e.m, rom, 0xe0000, 0x10000), -22);
    wr(&e, 0xf1000, 1);
    assert_int_equal(rd(&e, 0xf1000), 1);
    memory_map_region(e.m, rom, 0xf0000, 0x10000);
    assert_int_equal(rd(&e, 0xf1000), 0x5a);
    wr(&e, 0xf1000, 2);
    assert_int_equal(rd(&e, 0xf1000), 0x5a);
    memory_map_region(e.m, through, 0xf0000, 0x10000);
    wr(&e, 0xf1000, 3);
    assert_int_equal(rd(&e, 0xf1000), 0x5a);
    memory_map_region(e.m, locked, 0xf0000, 0x10000);
    assert_int_equal(rd(&e, 0xf1000), 3);
    wr(&e, 0xf1000, 4);
    assert_int_equal(rd(&e, 0xf1000), 3);
    assert_int_equal(memory_map_ram(e.m, 0xf0000, 0x10000), 0);
    wr(&e, 0xf1000, 5);
    assert_int_equal(rd(&e, 0xf1000), 5);
    assert_int_equal(memory_map_ram(e.m, 4 * MiB, 4096), -22);
    assert_int_equal(shadow_audit(e.v), 0);
    env_free(&e);
}

static u64 last;
static u32 dev_read(void *o, u64 addr, int size)
{
    last = addr;
    return 0x77;
}

static void moving(void **st)
{
    struct env e = env_new(4 * MiB, 4);
    const struct mmio_ops ops = {.read = dev_read};
    int r = memory_new_mmio(e.m, &ops, NULL, "bar");
    assert_true(memory_is_hole(e.m, 0xe0000000, 0x1000));
    assert_false(memory_is_hole(e.m, 4 * MiB - 4096, 8192));
    for (u32 base = 0xe0000000; base < 0xe0100000; base += 0x4000) { /* many moves, one region */
        assert_int_equal(memory_map_region(e.m, r, base, 0x1000), 0);
        assert_int_equal(rd(&e, base + 0x123), 0x77);
        assert_int_equal(last, 0x123);
        assert_int_equal(memory_unmap(e.m, base, 0x1000), 0);
        assert_int_equal(rd(&e, base + 0x123), 0xff);
    }
    env_free(&e);
}

static void frame_buffer(void **st)
{
    struct env e = env_new(4 * MiB, 4);
    int fd = memfd_create("vram", 0);
    assert_int_equal(ftruncate(fd, 2 * MiB), 0);
    u8 *own = mmap(NULL, 2 * MiB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_int_equal(memory_map_fd(e.m, 2 * MiB, 2 * MiB, fd, 0), -22);
    assert_int_equal(memory_map_fd(e.m, 0xe0000000, 2 * MiB, fd, 0), 0);
    wr(&e, 0xe0001234, 9);
    assert_int_equal(own[0x1234], 9);
    /* Through a 4 KiB page, then everything dropped, then again: reverse mappings beyond RAM. */
    for (int i = 0; i < 3; i++) {
        u32 pde = 0x2003, pte = 0xe0001003;
        memory_write(e.m, 0x1000, &pde, 4);
        memory_write(e.m, 0x2004, &pte, 4);
        paging_on(&e, 0x1000, 0, 0, true);
        wr(&e, 0x1234, (u8)(20 + i));
        assert_int_equal(own[0x1234], 20 + i);
        memory_watch(e.m, 0xe0001000, MEMW_DIRTY);
        assert_int_equal(e.v->wtab[1], 0);
        memory_unwatch(e.m, 0xe0001000, MEMW_DIRTY);
        wr(&e, 0x1234, 1);
        shadow_flush_all(e.v);
    }
    assert_int_equal(memory_unmap(e.m, 0xe0000000, 2 * MiB), 0);
    assert_int_equal(rd(&e, 0x1234), 0xff);
    munmap(own, 2 * MiB);
    close(fd);
    env_free(&e);
}

static void a20(void **st)
{
    struct env e = env_new(4 * MiB, 4);
    wr(&e, 0x000500, 1);
    wr(&e, 0x100500, 2);
    wr(&e, 0x300500, 3);
    shadow_set_a20(e.v, false);
    assert_int_equal(rd(&e, 0x100500), 1);
    wr(&e, 0x100501, 7);
    assert_int_equal(rd(&e, 0x000501), 7);
    assert_int_equal(rd(&e, 0x300500), rd(&e, 0x200500));
    /* A watch on the page is seen through both addresses. */
    wr(&e, 0x000500, 1);
    wr(&e, 0x100500, 1);
    memory_watch(e.m, 0, MEMW_DIRTY);
    assert_int_equal(e.v->wtab[0] | e.v->wtab[0x100], 0);
    memory_unwatch(e.m, 0, MEMW_DIRTY);
    assert_int_equal(shadow_audit(e.v), 0);
    shadow_set_a20(e.v, true);
    assert_int_equal(rd(&e, 0x100500), 2);
    assert_int_equal(rd(&e, 0x300500), 3);
    env_free(&e);
}

/* Page tables are found without A20, too. */
static void a20_tables(void **st)
{
    struct env e = env_new(4 * MiB, 4);
    u32 pde = 0x102003, pte = 0x105003; /* tables at 1000h, 2000h; page at 5000h */
    u8 x = 0x42;
    memory_write(e.m, 0x1000, &pde, 4);
    memory_write(e.m, 0x2000, &pte, 4);
    memory_write(e.m, 0x5000, &x, 1);
    shadow_set_a20(e.v, false);
    paging_on(&e, 0x101000, 0, 0, true);
    assert_int_equal(rd(&e, 0), 0x42);
    assert_int_equal(shadow_audit(e.v), 0);
    env_free(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shadow_ram), cmocka_unit_test(moving),     cmocka_unit_test(frame_buffer),
        cmocka_unit_test(a20),        cmocka_unit_test(a20_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
