/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control and debug registers, MSRs, cpuid, descriptor-table registers, and what is left. */
#include "fake.h"

static void cr_writes(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    static const u32 bad0[] = {CR0_PG, CR0_NW | CR0_PE};
    for (size_t k = 0; k < ARRAY_SIZE(bad0); k++) {
        v->gpr[R_EAX] = bad0[k];
        expect_fault(v, "0f 22 c0", EXC_GP, 0);
    }
    v->gpr[R_EAX] = CR0_PE | CR0_PG | CR0_WP | 0x0f00ff00;
    int n = fk->paging_changes;
    assert_int_equal(exec(v, "0f 22 c0"), CPU_OK);
    assert_int_equal(v->cr0, CR0_PE | CR0_PG | CR0_WP | CR0_ET);
    assert_int_equal(fk->paging_changes, n + 1);
    exec(v, "0f 20 c1");
    assert_int_equal(v->gpr[R_ECX], v->cr0);
    v->gpr[R_EAX] = CR0_PE | CR0_TS;
    exec(v, "0f 22 c0");
    assert_true(v->mode & MODE_NOFPU);
    exec(v, "0f 06");
    assert_false(v->mode & MODE_NOFPU);
    /* lmsw sets PE but cannot clear it */
    v->gpr[R_EAX] = CR0_MP | 0xfff0;
    exec(v, "0f 01 f0");
    assert_int_equal(v->cr0, CR0_PE | CR0_MP | CR0_ET);
    exec(v, "0f 01 e1"); /* smsw ecx */
    assert_int_equal(v->gpr[R_ECX], v->cr0);
    /* cr4 */
    v->gpr[R_EAX] = 1u << 13;
    expect_fault(v, "0f 22 e0", EXC_GP, 0);
    v->gpr[R_EAX] = CR4_OSFXSR | CR4_TSD | CR4_PSE;
    n = fk->paging_changes;
    exec(v, "0f 22 e0");
    assert_int_equal(fk->paging_changes, n + 1);
    assert_true((v->mode & (MODE_SSE | MODE_TSD)) == (MODE_SSE | MODE_TSD));
    v->gpr[R_EAX] = 0;
    exec(v, "0f 22 e0");
    /* cr3, and PAE's PDPTEs with reserved bits */
    v->gpr[R_EAX] = 0x70018;
    n = fk->cr3_loads;
    exec(v, "0f 22 d8");
    assert_int_equal(fk->cr3_loads, n + 1);
    v->cr4 = CR4_PAE, v->cr0 |= CR0_PG;
    poke(0x70020, 0x55001, 8), poke(0x70028, 0x56000, 8), poke(0x70030, 0, 8),
        poke(0x70038, 0x1000000001ull, 8);
    v->gpr[R_EAX] = 0x70020;
    expect_fault(v, "0f 22 d8", EXC_GP, 0); /* beyond 36 bits */
    poke(0x70038, 0x0f00000001ull, 8);
    assert_int_equal(exec(v, "0f 22 d8"), CPU_OK);
    assert_int_equal(v->pdpte[0], 0x55001);
    assert_int_equal(v->pdpte[3], 0x0f00000001ull);
    poke(0x70028, 0x56002, 8); /* not present: anything goes */
    assert_int_equal(exec(v, "0f 22 d8"), CPU_OK);
    v->cr4 = 0, v->cr0 &= ~CR0_PG;
    v->gpr[R_EAX] = 0xdead0000;
    exec(v, "0f 22 d0");
    assert_int_equal(v->cr2, 0xdead0000);
    expect_fault(v, "0f 22 c8", EXC_UD, -1);
    expect_fault(v, "0f 20 e8", EXC_UD, -1);
    /* to real mode and back */
    v->gpr[R_EAX] = 0;
    exec(v, "0f 22 c0");
    assert_false(v->mode & MODE_PE);
    assert_int_equal(v->cpl, 0);
}

static void privileged(void **state)
{
    struct vcpu *v = *state;
    static const char *const list[] = {
        "0f 22 c0",
        "0f 20 c0",
        "0f 21 c0",
        "0f 23 c0",
        "0f 06",
        "0f 01 f0",
        "0f 01 15 00 90 00 00",
        "0f 01 1d 00 90 00 00",
        "0f 01 3d 00 90 00 00",
        "0f 08",
        "0f 09",
        "f4",
        "0f 32",
        "0f 30",
        "0f 33",
        "0f 00 d0",
        "0f 35",
    };
    enter_pm(v, 3);
    for (size_t k = 0; k < ARRAY_SIZE(list); k++)
        expect_fault(v, list[k], EXC_GP, 0);
    static const char *const none[] = {"0f 0b",    "0f b9 c0", "0f ff c0", "0f aa",    "0f 01 c8", "0f 01 c9",
                                       "0f 01 d0", "0f 01 f8", "0f 05",    "0f 01 e8", "0f 00 f0"};
    enter_pm(v, 0);
    for (size_t k = 0; k < ARRAY_SIZE(none); k++)
        expect_fault(v, none[k], EXC_UD, -1);
    assert_int_equal(exec(v, "0f 09"), CPU_OK);
    int n = fk->invlpgs;
    exec(v, "0f 01 3d 00 90 00 00");
    assert_int_equal(fk->invlpgs, n + 1);
}

static void debug_registers(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    v->gpr[R_EAX] = 0xffffffff;
    exec(v, "0f 23 f0");
    assert_int_equal(v->dr[6], 0xffffefff);
    v->gpr[R_EAX] = 0xffff2355 & ~DR7_GD;
    exec(v, "0f 23 f8");
    assert_int_equal(v->dr[7], 0xffff0755);
    assert_true(v->mode & MODE_STEP);
    exec(v, "0f 21 e9"); /* dr5 is dr7 */
    assert_int_equal(v->gpr[R_ECX], 0xffff0755);
    v->cr4 |= CR4_DE;
    expect_fault(v, "0f 21 e9", EXC_UD, -1);
    v->cr4 = 0;
    v->gpr[R_EAX] = DR7_GD;
    exec(v, "0f 23 f8");
    expect_fault(v, "0f 23 f8", EXC_DB, -1);
    assert_int_equal(v->fault.dr6, DR6_BD);
    v->dr[7] = DR7_FIXED;
    cpu_update_mode(v);
}

static void tables(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    exec(v, "0f 01 05 00 90 00 00"); /* sgdt */
    assert_int_equal(peek16m(0x9000), GDT_LIMIT);
    assert_int_equal(peek32m(0x9002), GDT);
    poke(0x9000, 0x12345678abcdull, 6);
    exec(v, "0f 01 1d 00 90 00 00"); /* lidt */
    assert_int_equal(v->idtr.limit, 0xabcd);
    assert_int_equal(v->idtr.base, 0x12345678);
    exec(v, "66 0f 01 1d 00 90 00 00");
    assert_int_equal(v->idtr.base, 0x345678);
    v->gpr[R_EAX] = 0;
    exec(v, "8e c0");
    expect_fault(v, "26 0f 01 1d 00 90 00 00", EXC_GP, 0);
    set_page(v, 0xa000, 0);
    memset(fk->mem + 0x9ffc, 0x66, 4);
    expect_fault(v, "0f 01 0d fc 9f 00 00", EXC_PF, PF_W);
    assert_int_equal(peek32m(0x9ffc), 0x66666666);
}

static void msrs(void **state)
{
    struct vcpu *v = *state;
    u64 val;
    enter_pm(v, 0);
    static const u32 unknown[] = {0x3a, 0x10a, 0x48, 0x1b0, 0xc0000081, 0x40000000, 0x210, 0x251, 0xffffffff};
    for (size_t k = 0; k < ARRAY_SIZE(unknown); k++) {
        v->gpr[R_ECX] = unknown[k];
        expect_fault(v, "0f 32", EXC_GP, 0);
        expect_fault(v, "0f 30", EXC_GP, 0);
    }
    static const struct {
        u32 msr;
        u64 good, bad;
    } t[] = {
        {0x174, 0x60, 0},
        {0x175, 0xc0001000, 0},
        {0x277, 0x0606060606060606ull, 2},
        {0x2ff, 0xc06, 0xc07},
        {0x200, 0x80000006, 0x80000003},
        {0x201, 0xfc0000800, 0xf00000000800ull},
        {0x250, 0x0606060606060606ull, 7},
        {0xc0000080, EFER_NXE, EFER_SCE},
        {0x1b, 0xfed00900, 0xfee00d00}, /* no x2APIC mode */
    };
    for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
        assert_int_equal(cpu_wrmsr(v, t[k].msr, t[k].good), CPU_OK);
        if (t[k].bad)
            assert_int_equal(cpu_wrmsr(v, t[k].msr, t[k].bad), CPU_FAULT);
        assert_int_equal(cpu_rdmsr(v, t[k].msr, &val), CPU_OK);
        assert_int_equal(val, t[k].good);
    }
    v->gpr[R_ECX] = 0x10, v->gpr[R_EAX] = 0, v->gpr[R_EDX] = 0x100;
    exec(v, "0f 30");
    exec(v, "0f 31");
    assert_int_equal(v->gpr[R_EDX], 0x100);
    v->cr4 |= CR4_TSD;
    assert_int_equal(exec(v, "0f 31"), CPU_OK);
    enter_pm(v, 3);
    expect_fault(v, "0f 31", EXC_GP, 0);
    v->cr4 = 0;
    assert_int_equal(exec(v, "0f 31"), CPU_OK);
}

static u32 id(struct vcpu *v, u32 leaf, int reg)
{
    u32 out[4];
    cpu_cpuid(v, leaf, 0, out);
    return out[reg];
}

static void cpuid(void **state)
{
    static const char *const names[] = {"qemu32",   "486",      "pentium", "pentium2",
                                        "pentium3", "pentium4", "max"};
    struct vcpu *v = *state;
    enter_pm(v, 0);
    v->gpr[R_EAX] = 0;
    exec(v, "0f a2");
    assert_int_equal(v->gpr[R_EBX], 0x756e6547); /* Genu ineI ntel */
    assert_int_equal(v->gpr[R_EDX], 0x49656e69);
    assert_int_equal(v->gpr[R_ECX], 0x6c65746e);
    for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
        const struct cpu_model *m = cpu_model_find(names[k]);
        assert_non_null(m);
        struct vcpu *c = cpu_create(m, &fk_ops, 0);
        assert_int_equal(id(c, 1, 3), m->features);
        assert_int_equal((id(c, 1, 0) >> 8) & 15, m->family);
        assert_int_equal(id(c, 1, 2), m->featuresx & CPUFX_DEADLINE ? 1u << 24 : 0);
        c->msr_apic_base &= ~0x800ull; /* switched off: not shown */
        assert_int_equal(id(c, 1, 3), m->features & ~CPUF_APIC);
        assert_true(id(c, 0, 0) >= 1 && id(c, 0, 0) <= 2);
        if (m->featuresx & CPUFX_NX)
            assert_int_equal(id(c, 0x80000001, 3), 1u << 20);
        assert_int_equal(c->gpr[R_EDX], id(c, 1, 0) & 0xf0fff);
        cpu_destroy(c);
    }
    assert_null(cpu_model_find("z80"));
    assert_null(cpu_model_find("pentium33"));
    assert_ptr_equal(cpu_model_find("QEMU32"), cpu_model_find("qemu32"));
    assert_int_equal(id(v, 0x80000000, 0), 0x80000004);
    assert_int_equal(id(v, 0x80000002, 0), 0x74766f6e); /* novt */
    assert_int_equal(id(v, 0x12345, 0), id(v, 2, 0));
    /* features by name */
    struct cpu_model m;
    const char *bad;
    assert_int_equal(cpu_model_parse("QEMU32,-apic,+nx,sse2=off", &m, &bad), 0);
    assert_int_equal(m.features, cpu_model_find("qemu32")->features & ~(CPUF_APIC | CPUF_SSE2));
    assert_int_equal(m.featuresx & (CPUFX_NX | CPUFX_DEADLINE), CPUFX_NX); /* no APIC, no deadline timer */
    assert_int_equal(cpu_model_parse("486,apic=on", &m, &bad), 0);
    assert_int_equal(m.features, cpu_model_find("486")->features | CPUF_APIC);
    static const char *const wrong[] = {"z80",      "",         "486,",           "486,+",
                                        "486,+vmx", "486,apic", "486,apic=maybe", "486,=on"};
    for (size_t k = 0; k < ARRAY_SIZE(wrong); k++)
        assert_int_equal(cpu_model_parse(wrong[k], &m, &bad), -1);
    /* a 486 has no CR4 bits for PAE, no MSRs, no TSC */
    struct vcpu *c = cpu_create(cpu_model_find("486"), &fk_ops, 0);
    c->rtab = v->rtab, c->wtab = v->wtab, c->xtab = v->xtab;
    expect_fault(c, "0f 31", EXC_UD, -1);
    expect_fault(c, "0f 32", EXC_UD, -1);
    c->gpr[R_EAX] = CR4_PAE;
    expect_fault(c, "0f 22 e0", EXC_GP, 0);
    cpu_destroy(c);
}

static void reset(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 3);
    v->cr4 = CR4_PSE;
    v->efer = EFER_NXE;
    v->stats.halts = 7;
    int n = fk->paging_changes;
    cpu_reset(v);
    assert_int_equal(fk->paging_changes, n + 1);
    assert_int_equal(v->cr0, 0x60000010);
    assert_int_equal(v->cr4, 0);
    assert_int_equal(v->efer, 0);
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->mode, MODE_IOPL_OK);
    assert_int_equal(cpu_eflags(v), FL_1);
    assert_int_equal(v->dr[6], 0xffff0ff0);
    assert_int_equal(v->dr[7], 0x400);
    assert_int_equal(v->stats.halts, 7);
    if (fk->tables)
        assert_ptr_equal(v->rtab, fk->tab[0][0]);
    FILE *out = tmpfile();
    cpu_dump(v, out);
    assert_true(ftell(out) > 500);
    fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {BOTH(cr_writes), BOTH(privileged), BOTH(debug_registers),
                                       BOTH(tables),    BOTH(msrs),       BOTH(cpuid),
                                       BOTH(reset)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
