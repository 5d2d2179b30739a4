/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paging walks by table: every combination of rights, WP, privilege, access and page size, with the results
 * stated from the SDM here (not from the reference walk, which is compared as well), error codes, A and D,
 * reserved bits.
 */
#include "env.h"

#define PD   0x10000u
#define PT   0x11000u
#define PDPT 0x12000u
#define DATA 0x400000u
#define LIN  0x80403000u

enum shape { S4K, S4M, SPAE4K, SPAE2M, SHAPES };

static void map(struct env *e, enum shape sh, u64 pde_bits, u64 pte_bits)
{
    u32 pdi = LIN >> 22, pti = LIN >> 12 & 0x3ff, pdi2 = LIN >> 21 & 0x1ff, pti2 = LIN >> 12 & 0x1ff;
    switch (sh) {
    case S4K:
        poke32(e, PD + pdi * 4, PT | (u32)pde_bits);
        poke32(e, PT + pti * 4, (DATA + 0x3000) | (u32)pte_bits);
        break;
    case S4M:
        poke32(e, PD + pdi * 4, DATA | PTE_PS | (u32)pde_bits);
        break;
    case SPAE4K:
        poke64(e, PD + pdi2 * 8, PT | pde_bits);
        poke64(e, PT + pti2 * 8, (DATA + 0x3000) | pte_bits);
        break;
    default:
        poke64(e, PD + pdi2 * 8, DATA | PTE_PS | pde_bits);
        break;
    }
}

static u32 pde_of(struct env *e, enum shape sh)
{
    return sh < SPAE4K ? peek32(e, PD + (LIN >> 22) * 4) : peek32(e, PD + (LIN >> 21 & 0x1ff) * 8);
}
static u32 pte_of(struct env *e, enum shape sh)
{
    return sh == S4K ? peek32(e, PT + (LIN >> 12 & 0x3ff) * 4) : peek32(e, PT + (LIN >> 12 & 0x1ff) * 8);
}

static struct env start(enum shape sh, u64 efer, bool wp)
{
    struct env e = env_new(16 * MiB, 4);
    for (u32 i = 0; i < 4; i++)
        poke64(&e, PDPT + i * 8, i == LIN >> 30 ? PD | 1 : 0);
    paging_on(&e, sh < SPAE4K ? PD : PDPT, sh < SPAE4K ? CR4_PSE : CR4_PAE, efer, wp);
    return e;
}

/* All 64 combinations of (P, W, U) at two levels, times NX, WP, user, access, shape. */
static void rights(void **st)
{
    u32 cases = 0;
    for (int sh = 0; sh < SHAPES; sh++)
        for (int nxe = 0; nxe < (sh >= SPAE4K ? 2 : 1); nxe++)
            for (int wp = 0; wp < 2; wp++) {
                struct env e = start(sh, nxe ? EFER_NXE : 0, wp);
                bool two = sh == S4K || sh == SPAE4K;
                for (u32 bits = 0; bits < 256; bits++) {
                    u64 d = bits & 7, t = bits >> 3 & 7;
                    bool nxd = bits >> 6 & 1, nxt = bits >> 7 & 1;
                    if ((!two && (t || nxt)) || ((nxd || nxt) && !nxe))
                        continue;
                    if (!two)
                        t = 7;
                    for (int user = 0; user < 2; user++)
                        for (int acc = 0; acc < 3; acc++) {
                            map(&e, sh, d | (nxd ? PTE_NX : 0), t | (nxt ? PTE_NX : 0));
                            bool p = d & t & 1, w = d & t & 2, u = d & t & 4, nx = nxd || nxt;
                            bool ok = p && (u || !user);
                            if (acc == SH_WRITE)
                                ok = ok && (w || (!user && !wp));
                            if (acc == SH_EXEC)
                                ok = ok && !nx;
                            u32 err = (p ? PF_P : 0) | (acc == SH_WRITE ? PF_W : 0) | (user ? PF_U : 0) |
                                      (acc == SH_EXEC && nxe ? PF_I : 0);
                            struct ref r = ref_walk(&e, LIN | 0x123, acc, user);
                            u64 gpa = 0;
                            enum shadow_result res = shadow_fill(e.v, LIN | 0x123, acc, user, &gpa);
                            assert_int_equal(r.ok, ok);
                            if (ok) {
                                assert_int_equal(res, SH_FILLED);
                                assert_true(gpa == DATA + 0x3123 && r.gpa == gpa);
                                u32 leaf = PTE_A | (acc == SH_WRITE ? PTE_D : 0);
                                assert_int_equal(pde_of(&e, sh) & (PTE_A | PTE_D), two ? PTE_A : leaf);
                                if (two)
                                    assert_int_equal(pte_of(&e, sh) & (PTE_A | PTE_D), leaf);
                                assert_true(rt(&e, LIN, user) + LIN == (u64)memory_base(e.m) + DATA + 0x3000);
                                assert_int_equal(wt(&e, LIN, user) != 0, acc == SH_WRITE);
                                assert_int_equal(xt(&e, LIN, user),
                                                 acc == SH_EXEC ? 1 + (DATA >> 12) + 3 : 0);
                            } else {
                                assert_int_equal(res, SH_FAULT);
                                assert_int_equal(e.v->fault.vector, EXC_PF);
                                assert_true(e.v->fault.has_error);
                                assert_int_equal(e.v->fault.error, err);
                                assert_int_equal(r.error, err);
                                assert_int_equal(e.v->fault.cr2, LIN | 0x123);
                                /* A fault leaves A and D alone. */
                                assert_int_equal(pde_of(&e, sh) & (PTE_A | PTE_D), 0);
                                assert_int_equal(rt(&e, LIN, user) | wt(&e, LIN, user), 0);
                                assert_int_equal(xt(&e, LIN, user), 0);
                            }
                            cases++;
                        }
                }
                env_free(&e);
            }
    assert_true(cases > 4000);
}

static void expect(struct env *e, enum shadow_access acc, int user, u32 err)
{
    assert_int_equal(fill(e, LIN, acc, user), SH_FAULT);
    assert_int_equal(e->v->fault.error, err);
}

static void reserved(void **st)
{
    /* 4 MiB: bits 21:17 with PSE-36; 20:13 are address bits above 4 GiB, where there is nothing. */
    struct env e = start(S4M, 0, true);
    for (u32 b = 17; b < 22; b++) {
        map(&e, S4M, 7 | 1u << b, 0);
        expect(&e, SH_READ, 1, PF_P | PF_U | PF_RSVD);
        expect(&e, SH_WRITE, 0, PF_P | PF_W | PF_RSVD);
    }
    map(&e, S4M, 7 | 1u << 13, 0);
    u64 gpa;
    u32 val = 0;
    assert_int_equal(shadow_fill(e.v, LIN, SH_READ, 0, &gpa), SH_SLOW);
    assert_true(gpa == (1ull << 32) + DATA + 0x3000);
    assert_int_equal(shadow_mem_read(e.v, LIN, &val, 4, 0), CPU_OK);
    assert_int_equal(val, ~0u);
    /* Without CR4.PSE, PS means nothing: the 4 MiB PDE points to a table. */
    poke32(&e, DATA + (LIN >> 12 & 0x3ff) * 4, (DATA + 0x5000) | 7);
    map(&e, S4M, 7, 0);
    paging_on(&e, PD, 0, 0, true);
    assert_int_equal(shadow_fill(e.v, LIN, SH_READ, 0, &gpa), SH_FILLED);
    assert_true(gpa == DATA + 0x5000);
    env_free(&e);

    /* PAE: 62:36 at both levels, 63 without NXE, 20:13 in a 2 MiB PDE. */
    for (u32 b = 36; b < 64; b++) {
        e = start(SPAE4K, b == 63 ? 0 : EFER_NXE, true);
        map(&e, SPAE4K, 7 | 1ull << b, 7);
        expect(&e, SH_READ, 1, PF_P | PF_U | PF_RSVD);
        map(&e, SPAE4K, 7 | 1ull << b, 0); /* found before the absent PTE is */
        expect(&e, SH_READ, 1, PF_P | PF_U | PF_RSVD);
        map(&e, SPAE4K, 7, 7 | 1ull << b);
        expect(&e, SH_WRITE, 0, PF_P | PF_W | PF_RSVD);
        map(&e, SPAE4K, 5, 5 | 1ull << b); /* and before the rights */
        expect(&e, SH_WRITE, 1, PF_P | PF_W | PF_U | PF_RSVD);
        env_free(&e);
    }
    e = start(SPAE2M, EFER_NXE, true);
    for (u32 b = 13; b < 21; b++) {
        map(&e, SPAE2M, 7 | 1ull << b, 0);
        expect(&e, SH_EXEC, 0, PF_P | PF_I | PF_RSVD);
    }
    /* An absent PDPTE. */
    assert_int_equal(fill(&e, 0x1000, SH_WRITE, 1), SH_FAULT);
    assert_int_equal(e.v->fault.error, PF_W | PF_U);
    env_free(&e);

    /* A model without PSE-36 and PAT: bits 21:12 of a large PDE and bit 7 of a PTE. */
    static const struct cpu_model p5 = {.name = "p5", .features = CPUF_FPU | CPUF_PSE};
    e = start(S4M, 0, true);
    struct vcpu *v = e.v;
    shadow_destroy(v);
    v->model = &p5;
    assert_int_equal(shadow_create(v, e.m, 2), 0);
    for (u32 b = 12; b < 22; b++) {
        map(&e, S4M, 7 | 1u << b, 0);
        expect(&e, SH_READ, 0, PF_P | PF_RSVD);
    }
    map(&e, S4K, 7, 7 | PTE_PAT);
    expect(&e, SH_READ, 0, PF_P | PF_RSVD);
    map(&e, S4K, 7, 7);
    assert_int_equal(fill(&e, LIN, SH_READ, 0), SH_FILLED);
    env_free(&e);
}

static void accessed_dirty(void **st)
{
    for (int sh = 0; sh < SHAPES; sh++) {
        struct env e = start(sh, 0, true);
        map(&e, sh, 7, 7);
        assert_int_equal(fill(&e, LIN, SH_READ, 0), SH_FILLED);
        assert_int_equal(wt(&e, LIN, 0), 0); /* D is clear: the first write must be seen */
        u32 val = 1;
        assert_int_equal(shadow_mem_write(e.v, LIN, &val, 4, 0), CPU_OK);
        bool two = sh == S4K || sh == SPAE4K;
        assert_true((two ? pte_of(&e, sh) : pde_of(&e, sh)) & PTE_D);
        assert_true(wt(&e, LIN, 0) != 0);
        /* Once dirty, a read in the other view installs the write entry, too. */
        assert_int_equal(fill(&e, LIN, SH_READ, 1), SH_FILLED);
        assert_true(wt(&e, LIN, 1) != 0);
        /* The guest clears A and D: the entries go, and the bits come back with the next access. */
        map(&e, sh, 7, 7);
        assert_int_equal(rt(&e, LIN, 0) | wt(&e, LIN, 0) | rt(&e, LIN, 1) | wt(&e, LIN, 1), 0);
        assert_int_equal(shadow_mem_read(e.v, LIN, &val, 4, 1), CPU_OK);
        assert_int_equal((two ? pte_of(&e, sh) : pde_of(&e, sh)) & (PTE_A | PTE_D), PTE_A);
        env_free(&e);
    }
}

/* Cross-page accesses: both pages are checked before anything changes; CR2 names the faulting byte. */
static void crossing(void **st)
{
    struct env e = start(S4K, 0, true);
    map(&e, S4K, 7, 7);
    u32 next = PT + ((LIN >> 12 & 0x3ff) + 1) * 4;
    u64 val = 0x1122334455667788ull, back = 0;
    assert_int_equal(shadow_mem_write(e.v, LIN + 0xffc, &val, 8, 1), CPU_FAULT);
    assert_int_equal(e.v->fault.cr2, LIN + 0x1000);
    assert_int_equal(e.v->fault.error, PF_W | PF_U);
    assert_int_equal(peek32(&e, DATA + 0x3ffc), 0);
    poke32(&e, next, (DATA + 0x9000) | 5);
    assert_int_equal(shadow_mem_probe_write(e.v, LIN + 0xffc, 8, 1), CPU_FAULT);
    assert_int_equal(e.v->fault.error, PF_P | PF_W | PF_U);
    assert_int_equal(shadow_mem_read(e.v, LIN + 0xffc, &back, 8, 1), CPU_OK);
    assert_true(back == 0);
    poke32(&e, next, (DATA + 0x9000) | 7);
    assert_int_equal(shadow_mem_probe_write(e.v, LIN + 0xffc, 8, 1), CPU_OK);
    assert_true(peek32(&e, next) & PTE_D);
    assert_int_equal(peek32(&e, DATA + 0x9000), 0);
    assert_int_equal(shadow_mem_write(e.v, LIN + 0xffc, &val, 8, 1), CPU_OK);
    assert_int_equal(peek32(&e, DATA + 0x3ffc), 0x55667788);
    assert_int_equal(peek32(&e, DATA + 0x9000), 0x11223344);
    assert_int_equal(shadow_mem_read(e.v, LIN + 0xffc, &back, 8, 1), CPU_OK);
    assert_true(back == val);
    env_free(&e);
}

static void no_paging(void **st)
{
    struct env e = env_new(16 * MiB, 4);
    u32 val = 0xabcd1234, back = 0;
    assert_int_equal(shadow_mem_write(e.v, 0x5ffe, &val, 4, 0), CPU_OK);
    assert_int_equal(peek32(&e, 0x5ffe), val);
    assert_true(wt(&e, 0x5000, 0) && rt(&e, 0x3f000, 0)); /* a whole line */
    assert_int_equal(rt(&e, 0x40000, 0), 0);
    assert_int_equal(fill(&e, 0x9f000, SH_READ, 0), SH_FILLED); /* a line that is half hole */
    assert_true(wt(&e, 0x80000, 0) != 0);
    assert_int_equal(wt(&e, 0xa0000, 0) | rt(&e, 0xa0000, 0), 0);
    assert_int_equal(shadow_mem_read(e.v, 0xa0000, &back, 4, 0), CPU_OK);
    assert_int_equal(back, ~0u);
    assert_int_equal(shadow_mem_write(e.v, 0xfffffffe, &val, 4, 0), CPU_OK); /* wraps to 0 */
    assert_int_equal(peek32(&e, 0) & 0xffff, 0xabcd);
    /* ROM: readable and executable through the tables, writes are dropped. */
    memory_add_rom(e.m, 0xf0000, "rom!", 4, "bios");
    assert_int_equal(fill(&e, 0xf0000, SH_READ, 0), SH_FILLED);
    assert_memory_equal((void *)(rt(&e, 0xf0000, 0) + 0xf0000), "rom!", 4);
    assert_int_equal(shadow_mem_write(e.v, 0xf0000, &val, 4, 0), CPU_OK);
    assert_memory_equal(memory_host(e.m, 0xf0000), "rom!", 4);
    const u8 *host;
    u64 gpa;
    assert_int_equal(shadow_fetch(e.v, 0xf0001, &host, &gpa), CPU_OK);
    assert_int_equal(*host, 'o');
    assert_true(gpa == 0xf0001);
    assert_int_equal(shadow_fetch(e.v, 0xb0000, &host, &gpa), CPU_OK);
    assert_null(host);
    assert_true(gpa == 0xb0000);
    env_free(&e);
}

static void slow_access(void **st)
{
    struct env e = env_new(16 * MiB, 4);
    u32 val = 5;
    fill(&e, 0x1000, SH_WRITE, 0);
    assert_true(e.v->wtab[1] != 0);
    e.v->slow_access = 1;
    shadow_cpl_changed(e.v);
    assert_true(e.v->wtab[1] == 0 && e.v->rtab[1] == 0);
    access_checks = 0;
    assert_int_equal(shadow_mem_write(e.v, 0x1000, &val, 4, 0), CPU_OK);
    assert_int_equal(access_checks, 1);
    assert_int_equal(shadow_mem_read(e.v, 0x1000, &val, 4, 1), CPU_OK); /* not this CPL's: a system access */
    assert_int_equal(access_checks, 1);
    access_check_result = CPU_FAULT;
    assert_int_equal(shadow_mem_read(e.v, 0x1001, &val, 4, 0), CPU_FAULT);
    assert_int_equal(e.v->fault.vector, EXC_AC);
    access_check_result = CPU_OK;
    assert_true(e.v->rtab[1] == 0);
    e.v->slow_access = 0;
    shadow_cpl_changed(e.v);
    assert_true(e.v->wtab[1] != 0);
    env_free(&e);
}

/* Tables in ROM, in holes, beyond memory: the guest may point anywhere. */
static void odd_tables(void **st)
{
    struct env e = env_new(16 * MiB, 4);
    static u32 pd[1024];
    for (u32 i = 0; i < 1024; i++)
        pd[i] = DATA | PTE_PS | 7;
    memory_add_rom(e.m, 0xf0000, pd, sizeof(pd), "tables");
    paging_on(&e, 0xf0000, CR4_PSE, 0, true);
    u32 val = 77, back = 0;
    assert_int_equal(shadow_mem_write(e.v, LIN, &val, 4, 1), CPU_OK);
    assert_int_equal(shadow_mem_read(e.v, LIN, &back, 4, 1), CPU_OK);
    assert_int_equal(back, 77);
    assert_int_equal(rt(&e, LIN, 1), 0);
    const u8 *host;
    u64 gpa;
    assert_int_equal(shadow_fetch(e.v, LIN, &host, &gpa), CPU_OK);
    assert_int_equal(*host, 77);
    set_cr3(&e, 0xa0000); /* a hole: all ones, so bits 21:17 are set in every large PDE */
    assert_int_equal(shadow_mem_read(e.v, LIN, &back, 4, 0), CPU_FAULT);
    assert_int_equal(e.v->fault.error, PF_P | PF_RSVD);
    set_cr3(&e, 0xfffff000);
    assert_int_equal(shadow_mem_read(e.v, LIN, &back, 4, 0), CPU_FAULT);
    paging_on(&e, 0xfffff000, 0, 0, true);
    assert_int_equal(shadow_mem_read(e.v, LIN, &back, 4, 0), CPU_OK);
    assert_int_equal(back, ~0u);
    env_free(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rights),     cmocka_unit_test(reserved),  cmocka_unit_test(accessed_dirty),
        cmocka_unit_test(crossing),   cmocka_unit_test(no_paging), cmocka_unit_test(slow_access),
        cmocka_unit_test(odd_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
