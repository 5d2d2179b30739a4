/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random guest tables, random writes to them (by the guest's own mappings and by physical address), random
 * accesses, space switches and watches, each access compared with the reference walk; the auditor must never
 * find a difference.
 *
 * The tables' pages are few and used at random as directories, tables and data at once, so that self maps,
 * shared and freed tables occur all the time. SHADOWPT_SEED and SHADOWPT_STEPS vary a run.
 */
#include "env.h"

#define POOL  0x100000u /* table pages: 16 of them */
#define NPOOL 16u
#define DATA  0x400000u /* 4 MiB-aligned data */
#define PDPT  0x50000u  /* 8 PDPTs of 32 bytes */

static u64 random_entry(u64 *seed, bool pae, bool dir)
{
    u32 r = rnd(seed);
    u64 e = rnd(seed) & 0x67; /* P W U A D */
    if (r & 7)
        e |= 7 & ~(1u << (r >> 3 & 3)); /* mostly usable */
    if (!(r >> 5 & 3))
        e = e & ~1ull;
    if (dir && !(r >> 7 & 3))
        e |= PTE_PS | DATA | (r >> 9 & 1 ? 0x800000 : 0);
    else if (dir || !(r >> 10 & 3))
        e |= POOL + (r >> 12) % NPOOL * 0x1000;
    else
        e |= DATA + ((r >> 12) & 0x3ff) * 0x1000;
    if (!(r >> 22 & 63))
        e |= 0xf0000000; /* beyond RAM */
    if (pae && !(r >> 28 & 3))
        e |= PTE_NX;
    return e;
}

struct run {
    struct env e;
    u64 seed;
    bool pae;
    u64 faults, hits, fills, writes;
    u32 recent[8]; /* addresses that were fine, to come back to */
};

static u32 random_lin(struct run *r)
{
    u32 a = rnd(&r->seed), b = rnd(&r->seed);
    if (a >> 30 == 0)
        return r->recent[a & 7];
    /* Few regions, few pages in each. */
    u32 pdi = r->pae ? (a & 3) * 512 + (a >> 2 & 3) : (a & 7) * 128;
    u32 lin = r->pae ? pdi << 21 | (a >> 8 & 15) << 12 : pdi << 22 | (a >> 8 & 15) << 12;
    return lin | (b & 0xfff);
}

static void random_table_write(struct run *r)
{
    u32 a = rnd(&r->seed);
    r->e.v->cr2 = r->recent[a >> 29]; /* as if a fault there were being handled */
    u32 page = POOL + a % NPOOL * 0x1000;
    /* The entries that random_lin() uses, in either role. */
    u32 idx = a >> 8 & 15;
    bool dir = a >> 12 & 1;
    if (dir)
        idx = r->pae ? a >> 16 & 3 : (a >> 16 & 7) * 128;
    u64 val = random_entry(&r->seed, r->pae, dir);
    if (r->pae)
        poke64(&r->e, page + idx * 8, val);
    else
        poke32(&r->e, page + idx * 4, (u32)val);
    r->writes++;
}

static void check(struct run *r, u32 lin, int acc, int user)
{
    struct env *e = &r->e;
    struct ref ref = ref_walk(e, lin, acc, user);
    /* Set entries must agree with the reference now. */
    u64 entry = acc == SH_READ ? rt(e, lin, user) : acc == SH_WRITE ? wt(e, lin, user) : xt(e, lin, user);
    if (entry) {
        assert_true(ref.ok && ref.accessed);
        if (acc == SH_WRITE)
            assert_true(ref.dirty && !memory_watch_flags(e->m, ref.gpa));
        if (acc == SH_EXEC)
            assert_true((entry - 1) << 12 == (ref.gpa & ~0xfffull));
        else
            assert_true(entry + lin == (u64)memory_base(e->m) + ref.gpa);
        r->hits++;
        return;
    }
    u64 gpa = 0;
    enum shadow_result res = shadow_fill(e->v, lin, acc, user, &gpa);
    if (!ref.ok) {
        assert_int_equal(res, SH_FAULT);
        assert_int_equal(e->v->fault.error, ref.error);
        assert_int_equal(e->v->fault.cr2, lin);
        r->faults++;
        return;
    }
    assert_true(res != SH_FAULT);
    assert_true(gpa == ref.gpa);
    ref = ref_walk(e, lin, acc, user);
    assert_true(ref.ok && ref.accessed && (acc != SH_WRITE || ref.dirty));
    if (res == SH_SLOW && acc == SH_WRITE && gpa < 16 * MiB)
        assert_true(memory_watch_flags(e->m, gpa) != 0);
    if (acc == SH_EXEC && res == SH_FILLED && !(rnd(&r->seed) & 1))
        shadow_code_page(e->v, gpa); /* what is near may be filled with it then */
    r->recent[rnd(&r->seed) & 7] = lin;
    r->fills++;
}

static void random_access(struct run *r)
{
    struct env *e = &r->e;
    u32 lin = random_lin(r), a = rnd(&r->seed);
    int user = a & 1;
    check(r, lin, (a >> 1) % 3, user);
    if (!(a >> 4 & 3)) { /* a read or write by the ops, maybe crossing pages */
        u32 len = 1u << (a >> 6 & 3), val[2] = {a, a}, got[2];
        struct ref r1 = ref_walk(e, lin, SH_WRITE, user), r2 = ref_walk(e, lin + len - 1, SH_WRITE, user);
        /* Table pages get no garbage that would leave the pool. */
        bool table = r1.ok && r1.gpa >= POOL && r1.gpa < POOL + NPOOL * 0x1000;
        table |= r2.ok && r2.gpa >= POOL && r2.gpa < POOL + NPOOL * 0x1000;
        if (table) {
            if (!r1.ok)
                return;
            if (lin % 8 == 0 && r->pae) {
                u64 x = random_entry(&r->seed, true, a >> 9 & 1);
                assert_int_equal(shadow_mem_write(e->v, lin, &x, 8, user), CPU_OK);
            } else if (lin % 4 == 0 && !r->pae) {
                u32 x = (u32)random_entry(&r->seed, false, a >> 9 & 1);
                assert_int_equal(shadow_mem_write(e->v, lin, &x, 4, user), CPU_OK);
            }
            return;
        }
        int ret = shadow_mem_write(e->v, lin, val, len, user);
        assert_int_equal(ret == CPU_OK, r1.ok && r2.ok);
        if (ret == CPU_OK && r1.gpa < 16 * MiB && r2.gpa < 16 * MiB &&
            ref_walk(e, lin, SH_READ, user).gpa == r1.gpa) {
            assert_int_equal(shadow_mem_read(e->v, lin, got, len, user), CPU_OK);
            if (r1.gpa / 4096 == r2.gpa / 4096)
                assert_memory_equal(got, val, len);
        }
    }
}

static void random_root(struct run *r)
{
    u32 a = rnd(&r->seed);
    struct env *e = &r->e;
    if (r->pae) {
        u32 cr3 = PDPT + (a & 7) * 32;
        for (u32 i = 0; i < 4; i++)
            if (!(a >> (4 + i) & 1))
                poke64(e, cr3 + i * 8, (POOL + (a >> (8 + 4 * i)) % NPOOL * 0x1000) | (a >> 24 & 7 ? 1 : 0));
        set_cr3(e, cr3);
    } else {
        set_cr3(e, POOL + a % NPOOL * 0x1000);
    }
}

static void run(bool pae, u32 cr4, u64 efer, u64 seed, u64 steps, u64 opts)
{
    struct run r = {.e = env_new(16 * MiB, 5), .seed = seed, .pae = pae};
    struct env *e = &r.e;
    e->v->opts = opts;
    for (u32 i = 0; i < 600; i++)
        random_table_write(&r);
    paging_on(e, pae ? PDPT : POOL, cr4, efer, true);
    random_root(&r);
    for (u64 i = 0; i < steps; i++) {
        u32 a = rnd(&r.seed) % 1000;
        if (a < 700)
            random_access(&r);
        else if (a < 940)
            random_table_write(&r);
        else if (a < 970)
            random_root(&r);
        else if (a < 980)
            paging_on(e, e->v->cr3, cr4, efer, a & 1);
        else if (a < 985)
            memory_watch(e->m, DATA + (rnd(&r.seed) & 15) * 0x1000, MEMW_DIRTY);
        else if (a < 990)
            memory_unwatch(e->m, DATA + (rnd(&r.seed) & 15) * 0x1000, MEMW_DIRTY);
        else if (a < 992)
            shadow_code_page(e->v, POOL + (rnd(&r.seed) % NPOOL) * 0x1000);
        else if (a < 993 && !(i & 31))
            shadow_flush_all(e->v);
        else if (a < 996)
            for (u32 k = 0; k < 70; k++) /* a storm */
                poke32(e, POOL + (a & 15) * 0x1000 + k * 64, 0);
        else
            assert_int_equal(shadow_audit(e->v), 0);
    }
    assert_int_equal(shadow_audit(e->v), 0);
    assert_true(r.faults > steps / 100 && r.fills > steps / 100 && r.hits > steps / 100);
    assert_true(!(opts & OPT(clonefill)) || r.e.v->stats.shadow_clones > steps / 10000);
    print_message(
        "  %llu clones, %llu hits, %llu fills, %llu faults, %llu table writes, %llu entries audited\n",
        (unsigned long long)e->v->stats.shadow_clones, (unsigned long long)r.hits,
        (unsigned long long)r.fills, (unsigned long long)r.faults, (unsigned long long)r.writes,
        (unsigned long long)e->v->stats.shadow_audits);
    env_free(e);
}

static u64 env_num(const char *name, u64 def)
{
    const char *s = getenv(name);
    return s ? strtoull(s, NULL, 0) : def;
}

static void random_32bit(void **st)
{
    u64 seed = env_num("SHADOWPT_SEED", 0x1234567), steps = env_num("SHADOWPT_STEPS", 300000);
    run(false, CR4_PSE, 0, seed, steps, OPT_ALL);
    run(false, 0, 0, seed + 1, steps / 4, OPT_ALL);
    run(false, CR4_PSE, 0, seed + 2, steps / 4, OPT_ALL & ~OPT(largefill));
    run(false, CR4_PSE, 0, seed + 3, steps / 4, OPT_ALL & ~OPT(keepspaces));
    run(false, CR4_PSE, 0, seed + 4, steps / 4, OPT_ALL & ~OPT(clonefill));
}

static void random_pae(void **st)
{
    u64 seed = env_num("SHADOWPT_SEED", 0x7654321), steps = env_num("SHADOWPT_STEPS", 300000);
    run(true, CR4_PAE, EFER_NXE, seed, steps, OPT_ALL);
    run(true, CR4_PAE, 0, seed + 1, steps / 4, OPT_ALL);
    run(true, CR4_PAE, EFER_NXE, seed + 2, steps / 4, OPT_ALL & ~OPT(clonefill));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_32bit), cmocka_unit_test(random_pae)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
