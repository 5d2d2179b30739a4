/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User windows: what one fault maps of the pages around it, with which rights, and that nothing that the
 * guest has not touched gets in or is marked as touched.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "env.h"

#define PD   0x10000u
#define PT   0x11000u
#define DATA 0x400000u

static int zero_fd = -1;

/* Host rights to a window page, as the kernel sees them: 0 none, 1 read, 3 write. */
static int rights(struct env *e, u32 lin)
{
    u8 *p = (u8 *)shadow_window_base(e->v) + lin, keep;
    int pipes[2], r = 0;

    assert_int_equal(pipe(pipes), 0);
    if (write(pipes[1], p, 1) == 1) {
        assert_int_equal(read(pipes[0], &keep, 1), 1);
        r = 1;
        if (read(zero_fd, p, 1) == 1) {
            *p = keep;
            r = 3;
        }
    }
    close(pipes[0]);
    close(pipes[1]);
    return r;
}

/* Pages 0..63: odd ones go to other frames, in reverse; rights and bits are the caller's. Not in the low
 * window, which does not have all of them. */
static struct env start(u64 opts)
{
    struct env e = env_with(16 * MiB, 4, OPT_ALL & ~OPT(winlow));
    e.v->opts = opts;
    poke32(&e, PD, PT | 0x27);
    paging_on(&e, PD, CR4_PSE, 0, true);
    set_cpl(&e, 3);
    assert_true(shadow_window_enable(e.v));
    return e;
}

static u32 frame(u32 page)
{
    return DATA + (page & 1 ? 0x200 - page : page) * 0x1000;
}

static void pte(struct env *e, u32 page, u32 bits)
{
    poke32(e, PT + page * 4, frame(page) | bits);
    *(u32 *)(memory_base(e->m) + frame(page)) = 0xd0000 + page;
}

enum { RO = PTE_P | PTE_U, RW = RO | PTE_W };

static void touch(struct env *e, u32 page, bool write)
{
    assert_int_equal(fill(e, page << 12, write ? SH_WRITE : SH_READ, 1), SH_FILLED);
    assert_int_equal(shadow_window_map(e->v, page << 12, write, false), SH_MAPPED);
    assert_int_equal(rights(e, page << 12) & (write ? 3 : 1), write ? 3 : 1);
}

static u32 window_value(struct env *e, u32 page)
{
    return *(u32 *)(shadow_window_base(e->v) + ((u64)page << 12));
}

static void around(void **st)
{
    struct env e = start(OPT_ALL);

    (void)st;
    for (u32 i = 16; i < 32; i++)
        pte(&e, i, RW);
    pte(&e, 17, RW | PTE_A);
    pte(&e, 18, RW | PTE_A | PTE_D);
    pte(&e, 19, RO | PTE_A | PTE_D);                  /* dirty, but no longer writable */
    pte(&e, 20, PTE_P | PTE_W | PTE_A);               /* the supervisor's */
    pte(&e, 21, PTE_W | PTE_U | PTE_A);               /* not present */
    pte(&e, 22, PTE_P | PTE_U | PTE_W);               /* never touched */
    poke32(&e, PT + 23 * 4, 0xf0000000 | RW | PTE_A); /* no RAM there */
    poke32(&e, PT + 24 * 4, PT | RW | PTE_A | PTE_D); /* the table itself: no writing */
    pte(&e, 15, RW | PTE_A);                          /* in other blocks */
    pte(&e, 32, RW | PTE_A);
    u32 before[64];
    for (u32 i = 0; i < 64; i++)
        before[i] = peek32(&e, PT + i * 4);

    touch(&e, 16, false);
    static const struct {
        u32 page;
        int rights;
    } want[] = {{15, 0}, {16, 1}, {17, 1}, {18, 3}, {19, 1}, {20, 0}, {21, 0},
                {22, 0}, {23, 0}, {24, 1}, {25, 0}, {31, 0}, {32, 0}};
    for (u32 i = 0; i < ARRAY_SIZE(want); i++)
        if (rights(&e, want[i].page << 12) != want[i].rights)
            fail_msg("page %u: rights %d", want[i].page, rights(&e, want[i].page << 12));
    for (u32 i = 0; i < 64; i++)
        if (i != 16)
            assert_int_equal(peek32(&e, PT + i * 4), before[i]);
    assert_int_equal(peek32(&e, PT + 16 * 4), before[16] | PTE_A);
    for (u32 i = 16; i < 20; i++)
        assert_int_equal(window_value(&e, i), 0xd0000 + i);
    assert_int_equal(shadow_audit(e.v), 0);

    /* a page that was mapped for reading becomes writable, and its neighbours stay */
    touch(&e, 17, true);
    assert_int_equal(rights(&e, 16 << 12), 1);
    assert_int_equal(rights(&e, 18 << 12), 3);
    assert_int_equal(peek32(&e, PT + 16 * 4) & PTE_D, 0);
    /* what the guest takes away is gone at once */
    poke32(&e, PT + 18 * 4, 0);
    assert_int_equal(rights(&e, 18 << 12), 0);
    pte(&e, 19, PTE_P | PTE_A);
    assert_int_equal(rights(&e, 19 << 12), 0);
    assert_int_equal(rights(&e, 17 << 12), 3);
    env_free(&e);
}

static void alone(void **st)
{
    struct env e = start(OPT_ALL & ~OPT(winaround));

    (void)st;
    for (u32 i = 0; i < 64; i++)
        pte(&e, i, RW | PTE_A | PTE_D);
    touch(&e, 16, false);
    assert_int_equal(rights(&e, 16 << 12), 3); /* dirty already */
    assert_int_equal(rights(&e, 15 << 12), 0);
    assert_int_equal(rights(&e, 17 << 12), 0);
    env_free(&e);
}

/* Runs: contiguous frames go in together, beyond the block, if their entries are known. */
static void runs(void **st)
{
    struct env e = start(OPT_ALL);

    (void)st;
    for (u32 i = 0; i < 64; i++)
        poke32(&e, PT + i * 4, (DATA + i * 0x1000) | RW | PTE_A | PTE_D);
    for (u32 i = 0; i < 64; i += 1)
        if (i < 16 || i >= 32)
            assert_int_equal(fill(&e, i << 12, SH_WRITE, 1), SH_FILLED);
    u64 maps = e.v->stats.window_maps;
    touch(&e, 20, true);
    assert_int_equal(e.v->stats.window_maps, maps + 1);
    for (u32 i = 0; i < 64; i++)
        assert_int_equal(rights(&e, i << 12), 3);
    env_free(&e);
}

/* Pages that leave a window while nothing runs in it: gone by the time that something may, and nothing else.
 */
static void deferred(void **st)
{
    struct env e = start(OPT_ALL);

    (void)st;
    for (u32 i = 0; i < 64; i++)
        poke32(&e, PT + i * 4, (DATA + i * 0x1000) | RW | PTE_A | PTE_D);
    for (u32 i = 0; i < 64; i++)
        assert_int_equal(fill(&e, i << 12, SH_WRITE, 1), SH_FILLED);
    touch(&e, 0, true);
    const u8 *flag = shadow_window_flag(e.v);
    assert_int_equal(*flag, 1);
    u64 drops = e.v->stats.window_drops;
    set_cpl(&e, 0);
    for (u32 i = 8; i < 24; i++)
        poke32(&e, PT + i * 4, 0);
    poke32(&e, PT + 30 * 4, (DATA + 30 * 0x1000) | RO | PTE_A);
    assert_int_equal(e.v->stats.window_drops, drops);
    assert_int_equal(*flag, WIN_STALE);
    set_cpl(&e, 3);
    shadow_window_settle(e.v);
    assert_int_equal(*flag, 1);
    assert_int_equal(e.v->stats.window_drops, drops + 1);
    for (u32 i = 0; i < 64; i++)
        assert_int_equal(rights(&e, i << 12), i >= 8 && i < 24 ? 0 : i == 30 ? 1 : 3);

    /* holes between pages that go are no obstacle; a table's pages go together */
    set_cpl(&e, 0);
    poke32(&e, PT + 7 * 4, 0);
    poke32(&e, PT + 24 * 4, 0);
    drops = e.v->stats.window_drops;
    set_cpl(&e, 3);
    shadow_window_settle(e.v);
    assert_int_equal(e.v->stats.window_drops, drops + 1);
    assert_int_equal(rights(&e, 6 << 12), 3);
    assert_int_equal(rights(&e, 7 << 12), 0);
    assert_int_equal(rights(&e, 24 << 12), 0);
    assert_int_equal(rights(&e, 25 << 12), 3);
    set_cpl(&e, 0);
    poke32(&e, PD, 0);
    assert_int_equal(*flag, WIN_STALE);
    set_cpl(&e, 3);
    shadow_window_settle(e.v);
    for (u32 i = 0; i < 64; i++)
        assert_int_equal(rights(&e, i << 12), 0);

    /* a window that is mapped into is settled first; one that is given up forgets what it owed */
    poke32(&e, PD, PT | 0x27);
    for (u32 i = 0; i < 8; i++) {
        poke32(&e, PT + i * 4, (DATA + i * 0x1000) | RW | PTE_A | PTE_D);
        touch(&e, i, true);
    }
    set_cpl(&e, 0);
    poke32(&e, PT + 4 * 4, (DATA + 9 * 0x1000) | RW | PTE_A | PTE_D);
    set_cpl(&e, 3);
    touch(&e, 4, true);
    assert_int_equal(window_value(&e, 4), *(u32 *)(memory_base(e.m) + DATA + 9 * 0x1000));
    shadow_window_settle(e.v);
    assert_int_equal(rights(&e, 4 << 12), 3);
    set_cpl(&e, 0);
    poke32(&e, PT + 5 * 4, 0);
    set_cpl(&e, 3);
    shadow_window_disable(e.v);
    assert_int_equal(*flag, 0);
    assert_true(shadow_window_enable(e.v));
    touch(&e, 6, true);
    shadow_window_settle(e.v);
    assert_int_equal(rights(&e, 6 << 12), 3);
    env_free(&e);
}

/* A fork takes the right to write from all of the parent's pages: they stay mapped, and only so. What leads
 * elsewhere, or nowhere, or is not accessed, or is the supervisor's now, goes. */
static void kept(void **st)
{
    struct env e = start(OPT_ALL);
    u32 before[64];

    (void)st;
    for (u32 i = 0; i < 64; i++) {
        pte(&e, i, i == 40 ? RO | PTE_A : RW | PTE_A | PTE_D);
        touch(&e, i, i != 40);
    }
    u64 maps = e.v->stats.window_maps, calls = e.v->stats.window_protects;
    struct shadow_window_clock *clock = shadow_window_clock(e.v);
    const u8 *flag = shadow_window_flag(e.v);
    clock->lost = 0;
    set_cpl(&e, 0);
    for (u32 i = 0; i < 64; i++)
        pte(&e, i, RO | PTE_A | PTE_D);
    pte(&e, 3, RW | PTE_A | PTE_D);                          /* as before */
    pte(&e, 10, 0);                                          /* not present */
    poke32(&e, PT + 11 * 4, frame(12) | RW | PTE_A | PTE_D); /* another page */
    pte(&e, 13, RO);                                         /* the guest would see A change */
    pte(&e, 14, PTE_P | PTE_W | PTE_A | PTE_D);              /* the supervisor's */
    pte(&e, 15, RW | PTE_A);                                 /* D would change */
    poke32(&e, PT + 16 * 4, PT | RW | PTE_A | PTE_D);        /* the table itself */
    for (u32 i = 0; i < 64; i++)
        before[i] = peek32(&e, PT + i * 4);
    assert_int_equal(*flag, WIN_STALE);
    set_cpl(&e, 3);
    assert_int_equal(clock->lost, 64);
    shadow_window_settle(e.v);
    assert_int_equal(*flag, 1);
    for (u32 i = 0; i < 64; i++) {
        int want = i == 3 ? 3 : i == 10 || i == 11 || i == 13 || i == 14 || i == 16 ? 0 : 1;
        if (rights(&e, i << 12) != want)
            fail_msg("page %u: rights %d, not %d", i, rights(&e, i << 12), want);
        if (want)
            assert_int_equal(window_value(&e, i), 0xd0000 + i);
        assert_int_equal(peek32(&e, PT + i * 4), before[i]);
    }
    assert_int_equal(e.v->stats.window_maps, maps);
    assert_true(e.v->stats.window_protects - calls <=
                7); /* by runs, and none for what could not be written */
    assert_int_equal(clock->lost, 5);
    assert_int_equal(shadow_audit(e.v), 0);

    /* a copy made on write: the new page, writable; once more, with nothing to be taken away */
    poke32(&e, PT + 20 * 4, frame(12) | RW | PTE_A | PTE_D);
    touch(&e, 20, true);
    assert_int_equal(window_value(&e, 20), 0xd0000 + 12);
    calls = e.v->stats.window_protects;
    set_cpl(&e, 0);
    pte(&e, 21, RO | PTE_A | PTE_D);
    set_cpl(&e, 3);
    shadow_window_settle(e.v);
    assert_int_equal(rights(&e, 21 << 12), 1);
    assert_int_equal(e.v->stats.window_protects, calls);

    /* a page that is watched by the time that its program runs again */
    pte(&e, 22, RW | PTE_A | PTE_D);
    touch(&e, 22, true);
    set_cpl(&e, 0);
    pte(&e, 22, RW | PTE_A | PTE_D);
    memory_watch(e.m, frame(22), MEMW_CODE);
    set_cpl(&e, 3);
    shadow_window_settle(e.v);
    assert_int_equal(rights(&e, 22 << 12), 1);

    /* so many writes that the table's trace is given up; and the whole directory entry */
    set_cpl(&e, 0);
    u64 given = e.v->stats.shadow_pt_given_up;
    for (u32 n = 0; n < 3; n++)
        for (u32 i = 30; i < 64; i++)
            pte(&e, i, RO | PTE_A | PTE_D);
    assert_true(e.v->stats.shadow_pt_given_up > given);
    maps = e.v->stats.window_maps;
    set_cpl(&e, 3);
    shadow_window_settle(e.v);
    for (u32 i = 30; i < 64; i++)
        assert_int_equal(rights(&e, i << 12), 1);
    assert_int_equal(e.v->stats.window_maps, maps);
    pte(&e, 30, 0); /* and it is traced again */
    assert_int_equal(rights(&e, 30 << 12), 0);
    set_cpl(&e, 0);
    poke32(&e, PD, 0);
    poke32(&e, PD, PT | 0x27);
    set_cpl(&e, 3);
    shadow_window_settle(e.v);
    assert_int_equal(rights(&e, 31 << 12), 1);
    assert_int_equal(shadow_audit(e.v), 0);

    /* switched off */
    e.v->opts &= ~OPT(winkeep);
    set_cpl(&e, 0);
    pte(&e, 31, RO | PTE_A | PTE_D);
    set_cpl(&e, 3);
    shadow_window_settle(e.v);
    assert_int_equal(rights(&e, 31 << 12), 0);
    env_free(&e);
}

/* A root that is used again by another program: its window starts anew. One whose program is still there
 * keeps it. */
static void another_program(void **st)
{
    struct env e = start(OPT_ALL);
    const u8 *flag = shadow_window_flag(e.v);
    struct shadow_window_clock *clock = shadow_window_clock(e.v);

    (void)st;
    for (u32 i = 0; i < 4; i++) {
        pte(&e, i, RW);
        touch(&e, i, true);
    }
    clock->offs = 3;
    set_cpl(&e, 0);
    for (u32 i = 0; i < 3; i++)
        pte(&e, i, 0);
    shadow_cr3_loaded(e.v);
    assert_int_equal(*flag, WIN_STALE);
    assert_int_equal(clock->lost, 3);
    assert_int_equal(clock->offs, 3);
    pte(&e, 3, 0);
    poke32(&e, PD, 0);
    shadow_cr3_loaded(e.v);
    assert_int_equal(*flag, 0);
    assert_int_equal(clock->lost, 0);
    assert_int_equal(clock->offs, 0);
    poke32(&e, PD, PT | 0x27);
    set_cpl(&e, 3);
    for (u32 i = 0; i < 4; i++)
        assert_int_equal(rights(&e, i << 12), 0);
    env_free(&e);
}

#if !defined(__SANITIZE_ADDRESS__) /* which has something of its own there */
enum { PD2 = 0x13000, PT2 = 0x12000 };

/* Two programs with 64 pages each; the one of PD is the current one. */
static struct env two_programs(void)
{
    struct env e = env_new(16 * MiB, 4);

    poke32(&e, PD, PT | 0x27);
    poke32(&e, PD2, PT2 | 0x27);
    for (u32 i = 0; i < 64; i++) {
        poke32(&e, PT + i * 4, (DATA + i * 0x1000) | RW | PTE_A | PTE_D);
        poke32(&e, PT2 + i * 4, (DATA + 0x80000 + i * 0x1000) | RW | PTE_A | PTE_D);
        poke32(&e, DATA + i * 0x1000, 0xd0000 + i);
        poke32(&e, DATA + 0x80000 + i * 0x1000, 0xe0000 + i);
    }
    paging_on(&e, PD, CR4_PSE, 0, true);
    set_cpl(&e, 3);
    return e;
}

/* The host's lowest 4 GiB: without the first 64 KiB, for one program at a time; who loses them maps its pages
 * elsewhere. */
static void low(void **st)
{
    struct env e = two_programs();
    u64 high = shadow_window_base(e.v);

    (void)st;
    assert_true(high >= 4 * GiB && !shadow_window_low(e.v));
    assert_true(shadow_window_enable(e.v));
    assert_true(shadow_window_base(e.v) == 0 && shadow_window_low(e.v));
    assert_int_equal(*shadow_window_flag(e.v), WIN_LOW);
    for (u32 i = 0; i < 64; i++)
        assert_int_equal(fill(&e, i << 12, SH_WRITE, 1), SH_FILLED);
    for (u32 i = 0; i < 16; i++)
        assert_int_equal(shadow_window_map(e.v, i << 12, false, false), SH_NO_PLACE);
    touch(&e, 20, true);
    for (u32 i = 0; i < 64; i++)
        assert_int_equal(rights(&e, i << 12), i < 16 ? 0 : 3);
    assert_int_equal(window_value(&e, 33), 0xd0000 + 33);
    set_cpl(&e, 0);
    assert_true(!shadow_window_low(e.v) && shadow_window_base(e.v) >= 4 * GiB);
    /* another program gets it when some time has passed, or nobody has it */
    set_cpl(&e, 3);
    set_cr3(&e, PD2);
    assert_true(shadow_window_enable(e.v));
    assert_false(shadow_window_low(e.v));
    assert_int_equal(*shadow_window_flag(e.v), WIN_HIGH);
    touch(&e, 20, true);
    assert_int_equal(window_value(&e, 20), 0xe0000 + 20);
    assert_int_equal(*(u32 *)(20ul << 12), 0xd0000 + 20);
    shadow_window_disable(e.v);
    e.v->stats.interrupts += 100;
    assert_true(shadow_window_enable(e.v));
    assert_true(shadow_window_low(e.v));
    assert_int_equal(e.v->stats.window_moves, 1);
    assert_int_equal(rights(&e, 20 << 12), 0);
    touch(&e, 20, true);
    assert_int_equal(window_value(&e, 20), 0xe0000 + 20);
    set_cr3(&e, PD);
    assert_true(shadow_window_base(e.v) == high && !shadow_window_low(e.v));
    assert_int_equal(*shadow_window_flag(e.v), WIN_HIGH);
    assert_int_equal(rights(&e, 20 << 12), 0);
    touch(&e, 20, true);
    touch(&e, 3, true);
    assert_int_equal(window_value(&e, 20), 0xd0000 + 20);
    assert_int_equal(*(u32 *)(20ul << 12), 0xe0000 + 20);
    shadow_window_disable(e.v);
    /* its owner is gone: at once */
    poke32(&e, PD2, 0);
    assert_true(shadow_window_enable(e.v));
    assert_true(shadow_window_low(e.v));
    shadow_window_disable(e.v);
    assert_true(shadow_window_base(e.v) == high);
    assert_true(shadow_window_enable(e.v));
    assert_true(shadow_window_low(e.v));
    env_free(&e);
}

static void ticks(struct env *e, u32 cr3, u32 n)
{
    set_cr3(e, cr3);
    while (n--)
        shadow_window_tick(e->v);
}

/* Who got another place has the low one when it alone was found running some times, and waits longer each
 * time that the other is still there; or when the other is gone. */
static void low_rises(void **st)
{
    struct env e = two_programs();

    (void)st;
    assert_true(shadow_window_enable(e.v));
    touch(&e, 20, true);
    set_cr3(&e, PD2);
    assert_true(shadow_window_enable(e.v));
    touch(&e, 20, true);
    for (u32 i = 0; i < 10; i++) { /* both run */
        ticks(&e, PD2, 2);
        assert_false(shadow_window_low(e.v));
        ticks(&e, PD, 1);
        assert_true(shadow_window_low(e.v));
    }
    ticks(&e, PD2, 2);
    assert_false(shadow_window_low(e.v));
    assert_int_equal(window_value(&e, 20), 0xe0000 + 20);
    ticks(&e, PD2, 1);
    assert_true(shadow_window_low(e.v));
    assert_int_equal(*shadow_window_flag(e.v), WIN_LOW);
    assert_int_equal(rights(&e, 20 << 12), 0);
    touch(&e, 20, true);
    assert_int_equal(*(u32 *)(20ul << 12), 0xe0000 + 20);
    assert_int_equal(e.v->stats.window_moves, 1);
    ticks(&e, PD, 5);
    assert_int_equal(*shadow_window_flag(e.v), WIN_HIGH);
    ticks(&e, PD, 1);
    assert_true(shadow_window_low(e.v));
    ticks(&e, PD2, 11);
    assert_false(shadow_window_low(e.v));
    poke32(&e, PD, 0);
    ticks(&e, PD2, 1);
    assert_true(shadow_window_low(e.v));
    assert_int_equal(rights(&e, 20 << 12), 0);
    touch(&e, 20, true);
    assert_int_equal(window_value(&e, 20), 0xe0000 + 20);
    env_free(&e);
}
#endif

/* The count of memory areas is too high at most: all windows are emptied only if there really are that many.
 */
static void areas(void **st)
{
    enum { MANY = 45000 };
    struct env e = start(OPT_ALL);
    u8 *p;

    (void)st;
    for (u32 i = 0; i < 48; i++)
        pte(&e, i, RW);
    touch(&e, 0, true);
    sh_of(e.v)->win_areas = 1u << 20;
    touch(&e, 16, true);
    assert_int_equal(e.v->stats.window_evictions, 0);
    assert_int_equal(rights(&e, 0), 3);
    assert_true(sh_of(e.v)->win_areas < 10000);

    p = mmap(NULL, 2 * MANY * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    for (u32 i = 0; i < MANY; i++)
        if (mprotect(p + i * 8192ull, 4096, PROT_READ) < 0)
            break; /* no more than vm.max_map_count, which is what this is about */
    sh_of(e.v)->win_areas = 1u << 20;
    touch(&e, 32, true);
    munmap(p, 2 * MANY * 4096);
    assert_int_equal(e.v->stats.window_evictions, 1);
    assert_int_equal(rights(&e, 0), 0);
    assert_int_equal(rights(&e, 16 << 12), 0);
    assert_int_equal(rights(&e, 32 << 12), 3);
    env_free(&e);
}

/* Without windefer pages go at once, and so they do while their program runs. */
static void at_once(void **st)
{
    struct env e = start(OPT_ALL & ~(OPT(windefer) | OPT(winholes)));

    (void)st;
    for (u32 i = 0; i < 32; i++)
        poke32(&e, PT + i * 4, (DATA + i * 0x1000) | RW | PTE_A | PTE_D);
    touch(&e, 3, true);
    touch(&e, 9, true);
    set_cpl(&e, 0);
    poke32(&e, PT + 3 * 4, 0);
    assert_int_equal(*(set_cpl(&e, 3), shadow_window_flag(e.v)), 1);
    assert_int_equal(rights(&e, 3 << 12), 0);
    e.v->opts = OPT_ALL;
    poke32(&e, PT + 9 * 4, 0);
    assert_int_equal(*shadow_window_flag(e.v), 1);
    assert_int_equal(rights(&e, 9 << 12), 0);
    assert_int_equal(rights(&e, 10 << 12), 3);
    env_free(&e);
}

/* Nothing but guest memory ever gets into the holes of a window: not the mappings of whoever else is in this
 * process. */
static void holes(void **st)
{
    struct env e = start(OPT_ALL), f = start(OPT_ALL);
    u64 a = shadow_window_base(e.v), b = shadow_window_base(f.v);
    void *p[64];

    (void)st;
    assert_true(a < 0x280000000000 && b < 0x280000000000 && a != b);
    for (u32 i = 0; i < 64; i++) {
        u64 size = i < 32 ? 4096ull << i % 16 : 1ull << (12 + i % 30);
        p[i] = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_true(p[i] == MAP_FAILED || (u64)p[i] > 0x280000000000);
    }
    for (u32 i = 0; i < 64; i++) {
        u64 size = i < 32 ? 4096ull << i % 16 : 1ull << (12 + i % 30);
        if (p[i] != MAP_FAILED)
            munmap(p[i], size);
    }
    env_free(&e);
    env_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(around),
        cmocka_unit_test(alone),
        cmocka_unit_test(runs),
        cmocka_unit_test(deferred),
        cmocka_unit_test(kept),
        cmocka_unit_test(areas),
        cmocka_unit_test(another_program),
        cmocka_unit_test(at_once),
        cmocka_unit_test(holes),
#if !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(low),
        cmocka_unit_test(low_rises)
#endif
    };

    zero_fd = open("/dev/zero", O_RDONLY);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
