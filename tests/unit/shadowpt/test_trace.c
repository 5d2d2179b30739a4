/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Traces, revocation, spaces, the auditor: what is removed when, and that nothing stale stays. */
#include <fcntl.h>
#include <unistd.h>

#include "env.h"

#define PD   0x10000u
#define PT   0x11000u
#define PT2  0x12000u
#define PD2  0x13000u
#define DATA 0x400000u

static bool traced(struct env *e, u64 gpa)
{
    return memory_watch_flags(e->m, gpa) & MEMW_PT;
}

static struct env start(void)
{
    struct env e = env_new(16 * MiB, 4);
    poke32(&e, PD, PT | 7);
    poke32(&e, PD + 4, PT2 | 7);
    for (u32 i = 0; i < 1024; i++) {
        poke32(&e, PT + i * 4, (DATA + i * 0x1000) | 7);
        poke32(&e, PT2 + i * 4, (DATA + i * 0x1000) | 7);
    }
    for (u32 i = 0; i < 64; i++)
        *(u32 *)(memory_base(e.m) + DATA + i * 0x1000) = 0xd0000 + i;
    paging_on(&e, PD, CR4_PSE, 0, true);
    return e;
}

static void pte_write(void **st)
{
    struct env e = start();
    for (u32 i = 0; i < 8; i++)
        for (int u = 0; u < 2; u++)
            assert_int_equal(fill(&e, i << 12, SH_WRITE, u), SH_FILLED);
    assert_int_equal(fill(&e, 0x3000, SH_EXEC, 1), SH_FILLED);
    assert_true(traced(&e, PD) && traced(&e, PT) && !traced(&e, PT2));
    poke32(&e, PT + 3 * 4, (DATA + 0x20000) | 7);
    for (int u = 0; u < 2; u++) {
        assert_int_equal(rt(&e, 0x3000, u) | wt(&e, 0x3000, u) | xt(&e, 0x3000, u), 0);
        assert_true(wt(&e, 0x2000, u) && wt(&e, 0x4000, u));
    }
    assert_int_equal(fill(&e, 0x3000, SH_READ, 1), SH_FILLED);
    assert_int_equal(table_read32(&e, 0x3000, 1), 0xd0020);
    /* A write of one byte, or across two entries. */
    u8 b = 0;
    memory_write(e.m, PT + 2 * 4 + 1, &b, 1);
    assert_int_equal(table_read32(&e, 0x2000, 0), 0xd0000); /* still accessed: followed */
    u64 x = 0;
    memory_write(e.m, PT + 4 * 4 + 2, &x, 4);
    assert_ptr_equal(rt(&e, 0x4000, 0), memory_base(e.m)); /* now at physical 4000h */
    assert_int_equal(rt(&e, 0x5000, 0), 0);
    assert_true(rt(&e, 0x6000, 0) != 0);
    env_free(&e);
}

/* An entry in use changes: the views that had the page get what a walk would find, and nothing that needs A
 * or D to be set. */
static void follows(void **st)
{
    const u32 lin = 0x3000, at = PT + 3 * 4, other = DATA + 0x20000;
    for (int on = 1; on >= 0; on--) {
        struct env e = start();
        if (!on)
            e.v->opts &= ~OPT(ptfollow);
        for (int u = 0; u < 2; u++)
            assert_int_equal(fill(&e, lin, SH_WRITE, u), SH_FILLED);
        assert_int_equal(fill(&e, lin, SH_EXEC, 1), SH_FILLED);
        u64 epoch = shadow_exec_epoch(e.v), fills = e.v->stats.shadow_walks;
        poke32(&e, at, (DATA + 0x3000) | PTE_A | 5); /* the same page, read only (as fork does it) */
        if (!on) {
            assert_int_equal(rt(&e, lin, 0) | rt(&e, lin, 1) | wt(&e, lin, 0) | xt(&e, lin, 1), 0);
            env_free(&e);
            break;
        }
        for (int u = 0; u < 2; u++) {
            assert_int_equal(table_read32(&e, lin, u), 0xd0003);
            assert_int_equal(wt(&e, lin, u), 0);
        }
        assert_true(xt(&e, lin, 1) && shadow_exec_epoch(e.v) == epoch);
        poke32(&e, at, other | PTE_A | PTE_D | 7); /* another page, writable */
        for (int u = 0; u < 2; u++) {
            assert_int_equal(table_read32(&e, lin, u), 0xd0020);
            assert_int_equal(wt(&e, lin, u), rt(&e, lin, u));
        }
        assert_true(!xt(&e, lin, 1) && shadow_exec_epoch(e.v) != epoch);
        memory_watch(e.m, other, MEMW_DIRTY); /* its write entries are found */
        assert_int_equal(wt(&e, lin, 0) | wt(&e, lin, 1), 0);
        poke32(&e, at, other | PTE_A | PTE_D | 7); /* and a watched page gets none */
        assert_true(rt(&e, lin, 0) && !wt(&e, lin, 0));
        memory_unwatch(e.m, other, MEMW_DIRTY);
        poke32(&e, at, other | PTE_A | 7); /* clean */
        assert_true(rt(&e, lin, 1) && !wt(&e, lin, 1));
        poke32(&e, at, other | PTE_A | PTE_D | 3); /* the supervisor's */
        assert_true(rt(&e, lin, 0) && wt(&e, lin, 0) && !rt(&e, lin, 1));
        poke32(&e, at, other | PTE_A | PTE_D | 7); /* a view that does not have it does not get it */
        assert_true(rt(&e, lin, 0) && !rt(&e, lin, 1));
        assert_int_equal(e.v->stats.shadow_walks, fills);
        poke32(&e, at, other | PTE_D | 7); /* A would have to be set */
        assert_int_equal(rt(&e, lin, 0), 0);
        poke32(&e, at, other | PTE_A | 7);
        assert_int_equal(rt(&e, lin, 0) | rt(&e, lin, 1), 0);
        e.v->cr2 = lin + 0x123; /* but for the page of the last fault, in the view whose page it is */
        poke32(&e, at, other | PTE_A | 7);
        assert_true(!rt(&e, lin, 0) && rt(&e, lin, 1) && !wt(&e, lin, 1));
        poke32(&e, at, other | PTE_A | PTE_D | 3);
        assert_true(rt(&e, lin, 0) && wt(&e, lin, 0) && !rt(&e, lin, 1));
        poke32(&e, at, other | PTE_A | PTE_D | 6);
        assert_int_equal(rt(&e, lin, 0) | wt(&e, lin, 0), 0);
        poke32(&e, at, 0xf0000000 | PTE_A | 7); /* nothing is there */
        assert_int_equal(rt(&e, lin, 0) | rt(&e, lin, 1), 0);
        e.v->cr2 = 0;
        /* The same entry again and again is a table in use; a page full of data is none. */
        assert_int_equal(fill(&e, lin, SH_READ, 0), SH_SLOW);
        poke32(&e, at, other | 7);
        assert_int_equal(fill(&e, lin, SH_READ, 0), SH_FILLED);
        for (u32 i = 0; i < 300; i++)
            poke32(&e, at, (DATA + (i & 7) * 0x1000) | PTE_A | 7);
        assert_true(traced(&e, PT) && table_read32(&e, lin, 0) == 0xd0003);
        for (u32 i = 0; i < 300; i++)
            poke32(&e, PT + 64 + (i & 63) * 4, DATA | PTE_A | 7);
        assert_false(traced(&e, PT));
        /* In another space than the current one, too. */
        assert_int_equal(fill(&e, lin, SH_READ, 1), SH_FILLED);
        set_cr3(&e, 0x15000);
        poke32(&e, at, (DATA + 0x9000) | PTE_A | 7);
        set_cr3(&e, PD);
        assert_int_equal(table_read32(&e, lin, 1), 0xd0009);
        env_free(&e);
    }
}

/* One write to a watched page as if it were not. */
static void open_write(void **st)
{
    struct env e = start();
    u32 gen = 0;
    poke32(&e, PT + 9 * 4, PT | 7); /* 0x9000 maps the table itself */
    assert_int_equal(fill(&e, 0x3000, SH_READ, 0), SH_FILLED);
    assert_false(shadow_write_slow(e.v, 0x900c));
    assert_int_equal(fill(&e, 0x900c, SH_WRITE, 0), SH_SLOW);
    assert_true(shadow_write_slow(e.v, 0x900c) && !shadow_write_slow(e.v, 0xa00c));
    for (int code = 0; code < 2; code++) {
        if (code) {
            memory_watch(e.m, PT, MEMW_CODE);
            gen = *memory_code_gen(e.m, PT);
        }
        for (u32 i = 0; i < 8; i++) {
            assert_true(shadow_write_open(e.v, 0x900c, 4));
            *(u32 *)(wt(&e, 0x9000, 0) + 0x900c) = (DATA + i * 0x1000) | PTE_A | 7;
            shadow_write_close(e.v);
            assert_int_equal(wt(&e, 0x9000, 0), 0);
            assert_int_equal(table_read32(&e, 0x3000, 0), 0xd0000 + i);
            assert_int_equal(shadow_audit(e.v), 0);
        }
    }
    assert_int_equal(*memory_code_gen(e.m, PT), gen + 8);
    assert_false(shadow_write_open(e.v, 0x9ffd, 4));
    assert_true(shadow_write_open(e.v, 0x9ffc, 4));
    shadow_write_close(e.v);
    /* The table's own entry goes by such a write. */
    assert_true(shadow_write_open(e.v, 0x9024, 4));
    *(u32 *)(wt(&e, 0x9000, 0) + 0x9024) = 0;
    shadow_write_close(e.v);
    assert_int_equal(wt(&e, 0x9000, 0) | rt(&e, 0x9000, 0), 0);
    assert_false(shadow_write_slow(e.v, 0x9000));
    env_free(&e);
}

/* The guest writes its tables through its own mapping: that write must take the slow path, then act. */
static void through_mapping(void **st)
{
    struct env e = start();
    poke32(&e, PT + 9 * 4, PT | 7); /* 0x9000 maps the table itself */
    u32 val = (DATA + 0x5000) | 7, back;
    assert_int_equal(shadow_mem_read(e.v, 0x3000, &back, 4, 0), CPU_OK);
    assert_int_equal(back, 0xd0003);
    assert_int_equal(shadow_mem_write(e.v, 0x900c, &val, 4, 0), CPU_OK);
    assert_int_equal(wt(&e, 0x9000, 0), 0);
    assert_int_equal(shadow_mem_read(e.v, 0x3000, &back, 4, 0), CPU_OK);
    assert_int_equal(back, 0xd0005);
    /* Through the cache of watched writes: same again, then its own mapping changes. */
    val = (DATA + 0x6000) | 7;
    assert_int_equal(shadow_mem_write(e.v, 0x900c, &val, 4, 0), CPU_OK);
    assert_int_equal(shadow_mem_read(e.v, 0x3000, &back, 4, 0), CPU_OK);
    assert_int_equal(back, 0xd0006);
    val = (DATA + 0x7000) | 7;
    assert_int_equal(shadow_mem_write(e.v, 0x9024, &val, 4, 0), CPU_OK); /* PTE 9 */
    val = 0x77;
    assert_int_equal(shadow_mem_write(e.v, 0x9024, &val, 4, 0), CPU_OK);
    assert_int_equal(peek32(&e, DATA + 0x7024), 0x77);
    /* Mapped before it was a table: linking revokes the write entry. */
    assert_int_equal(fill(&e, 0x0a000, SH_WRITE, 0), SH_FILLED);
    poke32(&e, PD + 8, (DATA + 0xa000) | 7);
    assert_int_equal(fill(&e, 0x800000, SH_READ, 0), SH_FAULT); /* a fault traces nothing */
    assert_true(wt(&e, 0x0a000, 0) != 0);
    *(u32 *)(wt(&e, 0xa000, 0) + 0xa000) = DATA | 7;
    assert_int_equal(fill(&e, 0x800000, SH_READ, 0), SH_FILLED);
    assert_int_equal(wt(&e, 0x0a000, 0), 0);
    assert_true(e.v->stats.shadow_revoked > 0);
    /* A write that crosses into a page, whose walk puts the first page under trace. */
    poke32(&e, PD + 12, (DATA + 0xc000) | 7);
    poke32(&e, PT + 0xb * 4, (DATA + 0xc000) | 7);
    *(u32 *)(memory_base(e.m) + DATA + 0xc000) = (DATA + 0x1000) | 7;
    *(u32 *)(memory_base(e.m) + DATA + 0xcffc) = (DATA + 0x2000) | 7;
    poke32(&e, PT + 0xc * 4, (DATA + 0x3000) | 7);
    assert_int_equal(fill(&e, 0xb000, SH_WRITE, 0), SH_FILLED);
    assert_int_equal(fill(&e, 0xfff000, SH_READ, 0), SH_FILLED); /* PD[3] = DATA + 0xc000 becomes a table */
    u64 both = (u64)((DATA + 0x4000) | 7);
    assert_int_equal(shadow_mem_write(e.v, 0xbffc, &both, 8, 0), CPU_OK);
    assert_int_equal(rt(&e, 0xfff000, 0), 0);
    env_free(&e);
}

static void pde_write(void **st)
{
    struct env e = start();
    fill(&e, 0x1000, SH_READ, 0);
    fill(&e, 0x3ff000, SH_EXEC, 1);
    fill(&e, 0x401000, SH_READ, 0);
    assert_true(traced(&e, PT) && traced(&e, PT2));
    poke32(&e, PD, 0);
    assert_int_equal(rt(&e, 0x1000, 0) | rt(&e, 0x3ff000, 1) | xt(&e, 0x3ff000, 1), 0);
    assert_true(rt(&e, 0x401000, 0) != 0);
    assert_false(traced(&e, PT));
    assert_true(traced(&e, PT2) && traced(&e, PD));
    /* The freed table becomes data and another page the table. */
    fill(&e, 0x401000, SH_READ, 0);
    poke32(&e, PT + 4, 0x12345678);
    poke32(&e, PD, PT2 | 7);
    fill(&e, 0x1000, SH_READ, 0);
    /* One table at two places: a PTE write removes both. */
    assert_true(rt(&e, 0x1000, 0) && rt(&e, 0x401000, 0));
    poke32(&e, PT2 + 4, 0);
    assert_int_equal(rt(&e, 0x1000, 0) | rt(&e, 0x401000, 0), 0);
    /* One use ends, the other stays. */
    poke32(&e, PD, 0);
    assert_true(traced(&e, PT2));
    poke32(&e, PD + 4, 0);
    assert_false(traced(&e, PT2));
    /* Table to large page and back. */
    poke32(&e, PD, DATA | PTE_PS | 7);
    assert_int_equal(fill(&e, 0x5000, SH_WRITE, 0), SH_FILLED);
    assert_true(wt(&e, 0x5000, 0) && wt(&e, 0x3f000, 0));
    assert_int_equal(fill(&e, 0x200000, SH_WRITE, 0), SH_FILLED);
    poke32(&e, PD, PT2 | 7);
    assert_int_equal(wt(&e, 0x5000, 0) | rt(&e, 0x5000, 0) | wt(&e, 0x200000, 0), 0);
    env_free(&e);
}

/* A page directory that maps itself as a page table, as old kernels do. */
static void self_map(void **st)
{
    struct env e = start();
    poke32(&e, PD + 1023 * 4, PD | 3);
    u32 pd_lin = 0xfffff000, pt_lin = 0xffc00000, back, val;
    assert_int_equal(shadow_mem_read(e.v, pd_lin, &back, 4, 0), CPU_OK);
    assert_int_equal(back & ~PTE_A, PT | 7);
    assert_int_equal(shadow_mem_read(e.v, pt_lin + 8, &back, 4, 0), CPU_OK);
    assert_int_equal(back, (DATA + 0x2000) | 7);
    assert_int_equal(shadow_mem_read(e.v, 0x2000, &back, 4, 0), CPU_OK);
    assert_int_equal(back, 0xd0002);
    assert_int_equal(shadow_audit(e.v), 0);
    /* A PTE through the window. */
    val = (DATA + 0x8000) | 7;
    assert_int_equal(shadow_mem_write(e.v, pt_lin + 8, &val, 4, 0), CPU_OK);
    assert_int_equal(shadow_mem_read(e.v, 0x2000, &back, 4, 0), CPU_OK);
    assert_int_equal(back, 0xd0008);
    /* A PDE through the window: the region and the window's page of it go. */
    val = PT2 | 7;
    fill(&e, pt_lin, SH_READ, 0);
    assert_int_equal(shadow_mem_write(e.v, pd_lin, &val, 4, 0), CPU_OK);
    assert_int_equal(rt(&e, 0x2000, 0) | rt(&e, pt_lin, 0), 0);
    assert_int_equal(shadow_audit(e.v), 0);
    /* The self map's own entry goes: everything seen through it with it. */
    val = 0;
    fill(&e, pt_lin, SH_READ, 0);
    assert_int_equal(shadow_mem_write(e.v, pd_lin + 1023 * 4, &val, 4, 0), CPU_OK);
    assert_int_equal(rt(&e, pd_lin, 0) | rt(&e, pt_lin, 0), 0);
    assert_int_equal(shadow_mem_read(e.v, pd_lin, &back, 4, 0), CPU_FAULT);
    assert_true(traced(&e, PD));
    env_free(&e);
}

static void pae(void **st)
{
    struct env e = env_new(16 * MiB, 4);
    u32 pdpt = 0x14020;
    poke64(&e, pdpt, PD | 1);
    poke64(&e, pdpt + 24, PD2 | 1);
    poke64(&e, PD, PT | 7);
    poke64(&e, PD + 8, DATA | PTE_PS | 7);
    poke64(&e, PD2, PT | 7); /* the same table in another GiB */
    for (u32 i = 0; i < 512; i++)
        poke64(&e, PT + i * 8, (DATA + i * 0x1000) | 7);
    paging_on(&e, pdpt, CR4_PAE, EFER_NXE, true);
    assert_int_equal(fill(&e, 0x1000, SH_WRITE, 0), SH_FILLED);
    assert_int_equal(fill(&e, 0xc0001000, SH_WRITE, 0), SH_FILLED);
    assert_int_equal(fill(&e, 0x201000, SH_WRITE, 1), SH_FILLED);
    assert_int_equal(fill(&e, 0x1000, SH_EXEC, 0), SH_FILLED);
    poke32(&e, PT + 8 + 4, 0x80000000); /* the high half: NX */
    assert_true(rt(&e, 0x1000, 0) && rt(&e, 0xc0001000, 0) && wt(&e, 0x1000, 0));
    assert_int_equal(xt(&e, 0x1000, 0), 0);
    assert_int_equal(fill(&e, 0x1000, SH_EXEC, 0), SH_FAULT);
    assert_int_equal(e.v->fault.error, PF_P | PF_I);
    assert_int_equal(fill(&e, 0x1000, SH_READ, 0), SH_FILLED);
    poke64(&e, PD + 8, 0);
    assert_int_equal(rt(&e, 0x201000, 1), 0);
    /* PDPTEs are registers: memory changes count at the next CR3 load, and only for their GiB. */
    fill(&e, 0xc0002000, SH_READ, 0);
    poke64(&e, pdpt + 24, 0);
    assert_true(rt(&e, 0xc0002000, 0) && rt(&e, 0x1000, 0));
    set_cr3(&e, pdpt);
    assert_int_equal(rt(&e, 0xc0002000, 0), 0);
    assert_true(rt(&e, 0x1000, 0) != 0);
    assert_false(traced(&e, PD2));
    assert_true(traced(&e, PD) && traced(&e, PT));
    env_free(&e);
}

static u64 hook_base;
static u32 hook_page, hook_calls;
static void hook(void *o, u64 base, u32 page)
{
    hook_base = base;
    hook_page = page;
    hook_calls++;
}

static void exec_entries(void **st)
{
    struct env e = start();
    const u8 *host;
    u64 gpa;
    shadow_set_exec_hook(e.v, hook, NULL);
    assert_int_equal(shadow_fetch(e.v, 0x2010, &host, &gpa), CPU_OK);
    assert_true(gpa == DATA + 0x2010 && host == memory_base(e.m) + gpa);
    assert_int_equal(e.v->xtab[2], 1 + (DATA >> 12) + 2);
    const u32 *gen = shadow_code_page(e.v, gpa);
    assert_int_equal(e.v->stats.code_pages, 1);
    shadow_code_page(e.v, gpa);
    assert_int_equal(e.v->stats.code_pages, 1);
    u64 epoch = shadow_exec_epoch(e.v);
    u32 val = 0x90909090;
    /* Code is written: no write entry, the generation moves. */
    assert_int_equal(shadow_mem_write(e.v, 0x2000, &val, 4, 0), CPU_OK);
    assert_int_equal(*gen, 1);
    assert_int_equal(wt(&e, 0x2000, 0), 0);
    assert_true(shadow_exec_epoch(e.v) == epoch);
    poke32(&e, PT + 8, 0);
    assert_int_equal(hook_calls, 1);
    assert_true(hook_base == shadow_view_base(e.v) && hook_page == 2);
    assert_true(shadow_exec_epoch(e.v) != epoch);
    assert_int_equal(shadow_fetch(e.v, 0x2010, &host, &gpa), CPU_FAULT);
    shadow_fetch(e.v, 0x3010, &host, &gpa);
    shadow_flush_all(e.v);
    assert_int_equal(hook_calls, 2);
    assert_int_equal(hook_page, ~0u);
    env_free(&e);
}

/* A user page that begins to be executed brings those around it that hold code and were accessed before. */
static void exec_around(void **st)
{
    struct env e = env_new(16 * MiB, 4);

    (void)st;
    for (u32 off = 0; off < 2; off++) {
        poke32(&e, PD, PT | 7);
        for (u32 i = 0; i < 64; i++) {
            poke32(&e, PT + i * 4, (DATA + i * 0x1000) | 7 | PTE_A);
            shadow_code_page(e.v, DATA + i * 0x1000);
        }
        poke32(&e, PT + 17 * 4, (DATA + 17 * 0x1000) | 7);         /* not accessed */
        poke32(&e, PT + 18 * 4, (DATA + 18 * 0x1000) | 3 | PTE_A); /* the supervisor's */
        poke32(&e, PT + 19 * 4, (DATA + 19 * 0x1000) | 6 | PTE_A); /* not present */
        poke32(&e, PT + 20 * 4, (DATA + 70 * 0x1000) | 7 | PTE_A); /* no code */
        paging_on(&e, PD, CR4_PSE, 0, true);
        if (off)
            e.v->opts &= ~OPT(execaround);
        assert_int_equal(shadow_fill(e.v, 24 << 12, SH_EXEC, 1, NULL), SH_FILLED);
        for (u32 i = 0; i < 64; i++) {
            bool there = i == 24 || (!off && i >= 16 && i < 32 && (i < 17 || i > 20));
            assert_int_equal(xt(&e, i << 12, 1), there ? 1 + (DATA >> 12) + i : 0);
            assert_int_equal(xt(&e, i << 12, 0), 0);
        }
        assert_int_equal(peek32(&e, PT + 17 * 4) & PTE_A, 0);
        /* what changes is gone, or follows */
        poke32(&e, PT + 25 * 4, 0);
        poke32(&e, PT + 26 * 4, (DATA + 27 * 0x1000) | 7 | PTE_A);
        assert_int_equal(xt(&e, 25 << 12, 1), 0);
        assert_true(xt(&e, 26 << 12, 1) == 0 || xt(&e, 26 << 12, 1) == 1 + (DATA >> 12) + 27);
        assert_int_equal(shadow_audit(e.v), 0);
        shadow_flush_all(e.v);
    }
    env_free(&e);
}

static void revocation(void **st)
{
    struct env e = start();
    /* The same page writable through two PTEs, both views, two spaces, and a large page. */
    poke32(&e, PT + 20 * 4, (DATA + 0x1000) | 7);
    poke32(&e, PD + 8, DATA | PTE_PS | 7);
    u32 lins[] = {0x1000, 0x14000, 0x801000};
    for (int u = 0; u < 2; u++)
        for (int i = 0; i < 3; i++)
            fill(&e, lins[i], SH_WRITE, u);
    memcpy(memory_base(e.m) + PD2, memory_base(e.m) + PD, 4096);
    set_cr3(&e, PD2);
    for (int u = 0; u < 2; u++)
        for (int i = 0; i < 3; i++) {
            fill(&e, lins[i], SH_WRITE, u);
            assert_true(wt(&e, lins[i], u) != 0);
        }
    memory_watch(e.m, DATA + 0x1000, MEMW_DIRTY);
    for (int s = 0; s < 2; s++) {
        for (int u = 0; u < 2; u++)
            for (int i = 0; i < 3; i++) {
                assert_int_equal(wt(&e, lins[i], u), 0);
                assert_true(rt(&e, lins[i], u) != 0);
            }
        assert_true(wt(&e, 0x802000, 0) != 0);
        set_cr3(&e, PD);
    }
    assert_int_equal(fill(&e, 0x1000, SH_WRITE, 0), SH_SLOW);
    memory_unwatch(e.m, DATA + 0x1000, MEMW_DIRTY);
    assert_int_equal(fill(&e, 0x1000, SH_WRITE, 0), SH_FILLED);
    /* A line with a watched page in it. */
    shadow_flush_all(e.v);
    memory_watch(e.m, DATA + 0x5000, MEMW_DIRTY);
    assert_int_equal(fill(&e, 0x806000, SH_WRITE, 0), SH_FILLED);
    assert_true(wt(&e, 0x804000, 0) && !wt(&e, 0x805000, 0) && rt(&e, 0x805000, 0));
    u32 val = 3;
    assert_int_equal(shadow_mem_write(e.v, 0x805000, &val, 4, 0), CPU_OK);
    memory_unwatch(e.m, DATA + 0x5000, MEMW_DIRTY);
    assert_int_equal(shadow_mem_write(e.v, 0x805000, &val, 4, 0), CPU_OK);
    assert_true(wt(&e, 0x805000, 0) != 0);
    env_free(&e);
}

/* A space with the same page-directory entry as another gets the other's entries at once, and they are its
 * own. */
static void clones(void **st)
{
    struct env e = start();
    u64 *n = &e.v->stats.shadow_clones, before;
    poke32(&e, PD + 8, DATA | PTE_PS | 0x67);
    for (u32 lin = 0x1000; lin < 0x9000; lin += 0x1000)
        fill(&e, lin, SH_WRITE, 0);
    fill(&e, 0x2000, SH_EXEC, 0);
    fill(&e, 0x801000, SH_WRITE, 0);
    memcpy(memory_base(e.m) + PD2, memory_base(e.m) + PD, 4096);
    set_cr3(&e, PD2);
    before = *n;
    assert_int_equal(fill(&e, 0x3000, SH_READ, 0), SH_FILLED);
    assert_int_equal(fill(&e, 0x840000, SH_READ, 0), SH_FILLED);
    assert_int_equal(*n, before + 2);
    for (u32 lin = 0x1000; lin < 0x9000; lin += 0x1000)
        assert_true(rt(&e, lin, 0) && wt(&e, lin, 0));
    assert_true(xt(&e, 0x2000, 0) && wt(&e, 0x801000, 0) && rt(&e, 0x840000, 0));
    assert_false(rt(&e, 0x1000, 1)); /* the views are apart */
    assert_int_equal(shadow_audit(e.v), 0);
    /* What a copy adds, the master gets. */
    poke32(&e, PT + 9 * 4, (DATA + 0x9000) | 0x67);
    assert_int_equal(fill(&e, 0x9000, SH_WRITE, 0), SH_FILLED);
    set_cr3(&e, PD);
    assert_true(wt(&e, 0x9000, 0) && rt(&e, 0x840000, 0));
    /* Both are revocable and both are traced. */
    memory_watch(e.m, DATA + 0x5000, MEMW_DIRTY);
    poke32(&e, PT + 6 * 4, 0);
    for (int i = 0; i < 2; i++) {
        assert_true(!wt(&e, 0x5000, 0) && rt(&e, 0x5000, 0) && !rt(&e, 0x6000, 0) && rt(&e, 0x7000, 0));
        set_cr3(&e, PD2);
    }
    /* The copy's own directory: only the copy loses. */
    poke32(&e, PD2, PT | 5);
    assert_int_equal(rt(&e, 0x7000, 0), 0);
    set_cr3(&e, PD);
    assert_true(rt(&e, 0x7000, 0) != 0);
    /* Another right in the directory entry: no copy. */
    set_cr3(&e, PD2);
    before = *n;
    assert_int_equal(fill(&e, 0x7000, SH_WRITE, 0), SH_FAULT);
    assert_int_equal(fill(&e, 0x7000, SH_READ, 0), SH_FILLED);
    assert_true(*n == before && !wt(&e, 0x7000, 0) && !rt(&e, 0x8000, 0));
    /* The same entry under another CR0.WP: no copy. */
    poke32(&e, PD2, peek32(&e, PD));
    paging_on(&e, PD2, CR4_PSE, 0, false);
    assert_int_equal(fill(&e, 0x7000, SH_READ, 0), SH_FILLED);
    assert_true(*n == before && !rt(&e, 0x8000, 0));
    env_free(&e);
}

/* More write entries than the reverse map can hold: everything is dropped, nothing goes wrong. */
static void rmap_exhausted(void **st)
{
    struct env e = env_new(64 * MiB, 4);
    for (u32 i = 0; i < 1024; i++) /* every PDE: one of 4 tables, each page 4 times in it */
        poke32(&e, PD + i * 4, (0x20000 + (i & 3) * 0x1000) | 7);
    for (u32 t = 0; t < 4; t++)
        for (u32 i = 0; i < 1024; i++)
            poke32(&e, 0x20000 + t * 0x1000 + i * 4, (0x400000 + (t * 1024 + i) % 256 * 0x1000) | 0x67);
    paging_on(&e, PD, 0, 0, true);
    for (u32 lp = 0; lp < 600000; lp++)
        assert_int_equal(fill(&e, lp << 12, SH_READ, 0), SH_FILLED);
    assert_true(e.v->stats.shadow_rmap_full >= 1);
    memory_watch(e.m, 0x400000, MEMW_DIRTY);
    env_free(&e);
}

static void write_storm(void **st)
{
    struct env e = start();
    fill(&e, 0x1000, SH_READ, 0);
    fill(&e, 0x401000, SH_READ, 0);
    /* A leaf table is rewritten wholesale: it is given up, the rest stays. */
    for (u32 i = 0; i < 100; i++)
        poke32(&e, PT + i * 4, 0);
    assert_false(traced(&e, PT));
    assert_int_equal(rt(&e, 0x1000, 0), 0);
    assert_true(rt(&e, 0x401000, 0) != 0);
    poke32(&e, PT + 4, DATA | 7);
    assert_int_equal(fill(&e, 0x1000, SH_READ, 0), SH_FILLED);
    assert_true(traced(&e, PT));
    /* A walk in between restarts the count. */
    for (u32 i = 0; i < 300; i++) {
        poke32(&e, PT + 8 * 4, (DATA + (i & 7) * 0x1000) | 7);
        assert_int_equal(fill(&e, 0x8000, SH_READ, 0), SH_FILLED);
    }
    assert_true(traced(&e, PT));
    /* The root of a space that is not active is cleared in one write: its space is the first to be recycled.
     */
    set_cr3(&e, PD2);
    static const u8 zero[4096];
    memory_write(e.m, PD, zero, 4096);
    assert_false(traced(&e, PD) || traced(&e, PT) || traced(&e, PT2));
    assert_int_equal(shadow_audit(e.v), 0);
    u64 evicted = e.v->stats.shadow_space_evicted;
    set_cr3(&e, 0x15000);
    assert_int_equal(e.v->stats.shadow_space_evicted, evicted);
    env_free(&e);
}

static void spaces(void **st)
{
    struct env e = start();
    for (u32 i = 1; i < 10; i++)
        memcpy(memory_base(e.m) + PD + i * 0x8000, memory_base(e.m) + PD, 4096);
    fill(&e, 0x1000, SH_WRITE, 0);
    u64 base = shadow_view_base(e.v), epoch = shadow_exec_epoch(e.v);
    set_cr3(&e, PD + 0x8000);
    assert_int_equal(rt(&e, 0x1000, 0), 0);
    assert_true(shadow_view_base(e.v) != base && shadow_exec_epoch(e.v) != epoch);
    fill(&e, 0x1000, SH_WRITE, 0);
    u64 hits = e.v->stats.shadow_space_hits;
    set_cr3(&e, PD);
    assert_int_equal(e.v->stats.shadow_space_hits, hits + 1);
    assert_true(shadow_view_base(e.v) == base && rt(&e, 0x1000, 0));
    assert_ptr_equal(e.v->rtab, view(&e, 0)->rt);
    set_cpl(&e, 3);
    assert_ptr_equal(e.v->rtab, view(&e, 1)->rt);
    set_cpl(&e, 0);
    /* A table shared by two spaces: one write, both lose the entry. */
    poke32(&e, PT + 4, (DATA + 0x9000) | 7);
    assert_int_equal(rt(&e, 0x1000, 0), 0);
    set_cr3(&e, PD + 0x8000);
    assert_int_equal(rt(&e, 0x1000, 0), 0);
    /* More than fit: the least recently used goes, and comes back empty. */
    for (u32 i = 0; i < 10; i++) {
        set_cr3(&e, PD + i * 0x8000);
        assert_int_equal(fill(&e, 0x2000, SH_READ, 0), SH_FILLED);
        assert_int_equal(table_read32(&e, 0x2000, 0), 0xd0002);
    }
    assert_true(e.v->stats.shadow_space_evicted > 0);
    set_cr3(&e, PD);
    assert_int_equal(rt(&e, 0x2000, 0), 0);
    set_cr3(&e, PD + 0x48000);
    assert_true(rt(&e, 0x2000, 0) != 0);
    /* WP, PSE and PG are part of the identity. */
    poke32(&e, PT + 4, DATA | 5);
    assert_int_equal(fill(&e, 0x1000, SH_WRITE, 0), SH_FAULT);
    paging_on(&e, PD + 0x48000, CR4_PSE, 0, false);
    assert_int_equal(fill(&e, 0x1000, SH_WRITE, 0), SH_FILLED);
    paging_on(&e, PD + 0x48000, CR4_PSE, 0, true);
    assert_int_equal(wt(&e, 0x1000, 0), 0);
    e.v->cr0 &= ~CR0_PG;
    shadow_paging_changed(e.v);
    assert_int_equal(fill(&e, DATA, SH_READ, 0), SH_FILLED);
    assert_int_equal(table_read32(&e, DATA + 0x2000, 0), 0xd0002);
    /* Not keeping spaces flushes at every load. */
    e.v->opts &= ~OPT(keepspaces);
    paging_on(&e, PD, CR4_PSE, 0, true);
    fill(&e, 0x2000, SH_READ, 0);
    shadow_invlpg(e.v, 0x2000);
    assert_int_equal(rt(&e, 0x2000, 0), 0);
    fill(&e, 0x2000, SH_READ, 0);
    set_cr3(&e, PD);
    assert_int_equal(rt(&e, 0x2000, 0), 0);
    env_free(&e);
}

/* A guest that touches everything everywhere cannot grow the host's tables beyond the budget. */
static void budget(void **st)
{
    struct env e = env_new(16 * MiB, 8);
    for (u32 k = 0; k < 8; k++)
        for (u32 i = 0; i < 1024; i++)
            poke32(&e, PD + k * 0x1000 + i * 4, 0x400000u | PTE_PS | 0x67);
    e.v->opts &= ~OPT(largefill);
    for (u32 k = 0; k < 8; k++) {
        paging_on(&e, PD + k * 0x1000, CR4_PSE, 0, true);
        for (u32 c = 0; c < SH_CHUNKS; c++)
            for (int u = 0; u < 2; u++)
                assert_int_equal(fill(&e, c << 21, SH_EXEC, u), SH_FILLED);
        assert_true(sh_of(e.v)->resident <= TABLE_BUDGET);
    }
    assert_true(e.v->stats.shadow_space_evicted > 0);
    env_free(&e);
}

static void audit_finds(void **st)
{
    struct env e = start();
    fill(&e, 0x1000, SH_WRITE, 0);
    fill(&e, 0x2000, SH_EXEC, 1);
    assert_int_equal(shadow_audit(e.v), 0);
    u64 n = e.v->stats.shadow_audits;
    assert_true(n >= 4);
    int err = dup(2), null = open("/dev/null", O_WRONLY); /* the differences are reported there */
    dup2(null, 2);
    struct {
        u32 gpa, val;
        u64 bad;
    } inject[] = {
        {PT + 4, (DATA + 0x2000) | 0x67, 2}, /* another page */
        {PT + 4, DATA | 0x27, 2},            /* D cleared, wrong page */
        {PT + 4, (DATA + 0x1000) | 0x27, 1}, /* D cleared */
        {PT + 4, (DATA + 0x1000) | 0x65, 1}, /* read-only */
        {PT + 4, (DATA + 0x1000) | 0x47, 2}, /* A cleared */
        {PT + 8, (DATA + 0x2000) | 0x63, 2}, /* supervisor */
        {PD, 0, 4},                          /* absent */
    };
    for (u32 i = 0; i < ARRAY_SIZE(inject); i++) {
        u32 *p = (u32 *)(memory_base(e.m) + inject[i].gpa), old = *p; /* behind the trace's back */
        *p = inject[i].val;
        assert_int_equal(shadow_audit(e.v), inject[i].bad);
        *p = old;
        assert_int_equal(shadow_audit(e.v), 0);
    }
    memory_unwatch(e.m, PT, MEMW_PT);
    assert_int_equal(shadow_audit(e.v), 4); /* r and w of 1000, r and x of 2000 */
    memory_watch(e.m, PT, MEMW_PT);
    view(&e, 0)->wt[3] = view(&e, 0)->wt[1];
    assert_int_equal(shadow_audit(e.v), 1);
    view(&e, 0)->wt[3] = 0;
    dup2(err, 2);
    close(err);
    close(null);
    shadow_set_audit(e.v, true);
    n = e.v->stats.shadow_audits;
    set_cr3(&e, PD2);
    assert_true(e.v->stats.shadow_audits > n);
    env_free(&e);
}

static void probe(void **st)
{
    struct env e = start();
    u64 gpa = 0;
    e.v->fault.vector = 99;
    assert_int_equal(shadow_probe(e.v, 0x1234, &gpa), CPU_OK);
    assert_true(gpa == DATA + 0x1234);
    assert_int_equal(peek32(&e, PT + 4) & PTE_A, 0);
    assert_int_equal(shadow_probe(e.v, 0x80000000, &gpa), CPU_FAULT);
    assert_int_equal(e.v->fault.vector, 99);
    assert_false(traced(&e, PD));
    env_free(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pte_write),
        cmocka_unit_test(follows),
        cmocka_unit_test(open_write),
        cmocka_unit_test(through_mapping),
        cmocka_unit_test(pde_write),
        cmocka_unit_test(self_map),
        cmocka_unit_test(pae),
        cmocka_unit_test(exec_entries),
        cmocka_unit_test(exec_around),
        cmocka_unit_test(revocation),
        cmocka_unit_test(rmap_exhausted),
        cmocka_unit_test(write_storm),
        cmocka_unit_test(spaces),
        cmocka_unit_test(budget),
        cmocka_unit_test(probe),
        cmocka_unit_test(audit_finds),
        cmocka_unit_test(clones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
