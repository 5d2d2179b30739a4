/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hardware task switches: every source, both TSS sizes, faults before and after the commit point. */
#include "fake.h"

/* Fills the 32-bit TSS at `base` for a CPL 0 or 3 task. */
static void tss32(u32 base, u32 eip, u32 fl, int cpl)
{
    u32 ds = cpl ? D3 : D0;
    memset(fk->mem + base, 0, 104);
    poke(base + 0x04, STACK0, 4);
    poke(base + 0x08, D0, 4);
    poke(base + 0x1c, 0x77000, 4); /* cr3 */
    poke(base + 0x20, eip, 4);
    poke(base + 0x24, fl, 4);
    for (u32 k = 0; k < 8; k++)
        poke(base + 0x28 + 4 * k, 0xb0000000 + k, 4);
    poke(base + 0x38, 0x7800, 4); /* esp */
    for (u32 k = 0; k < 6; k++)
        poke(base + 0x48 + 4 * k, k == S_CS ? (u32)(cpl ? C3 : C0) : ds, 4);
    poke(base + 0x60, LD, 4);
    poke(base + 0x64, 104u << 16, 4);
}
static void tss16(u32 base, u16 ip)
{
    memset(fk->mem + base, 0, 44);
    poke(base + 0x0e, ip, 2);
    poke(base + 0x10, FL_1, 2);
    for (u32 k = 0; k < 8; k++)
        poke(base + 0x12 + 2 * k, 0xc00 + k, 2);
    poke(base + 0x1a, 0x7800, 2);
    poke(base + 0x22, D0, 2);
    poke(base + 0x24, C0, 2);
    poke(base + 0x26, D0, 2);
    poke(base + 0x28, D0, 2);
}
static u8 type_of(u16 sel)
{
    return fk->mem[GDT + (sel & ~7u) + 5] & 15;
}
static void reset_types(void)
{
    build_tables();
}

static void call_and_return(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    tss32(TSS_B, 0x5500, FL_1 | FL_IF, 0);
    v->gpr[R_EBX] = 0x1234;
    v->aflags |= FL_CF;
    v->dr[7] = DR7_FIXED | 0x2; /* G0 stays, locals go */
    v->dr[7] |= 4;
    u32 sp = v->gpr[R_ESP];
    assert_int_equal(exec(v, "9a 00 00 00 00 98 00"), CPU_OK);
    assert_int_equal(v->eip, 0x5500);
    assert_int_equal(v->seg[S_TR].sel, TSB);
    assert_int_equal(v->gpr[R_EAX], 0xb0000000);
    assert_int_equal(v->gpr[R_ESP], 0x7800);
    assert_int_equal(v->gpr[R_EDI], 0xb0000007);
    assert_int_equal(cpu_eflags(v), FL_1 | FL_IF | FL_NT);
    assert_int_equal(peek16m(TSS_B), TSA);
    assert_int_equal(type_of(TSA), 11);
    assert_int_equal(type_of(TSB), 11);
    assert_true(v->cr0 & CR0_TS);
    assert_int_equal(v->dr[7] & 0xff, 2);
    assert_int_equal(peek32m(TSS_A + 0x20), 0x4007);
    assert_int_equal(peek32m(TSS_A + 0x24), FL_1 | FL_CF);
    assert_int_equal(peek32m(TSS_A + 0x34), 0x1234);
    assert_int_equal(peek32m(TSS_A + 0x38), sp);
    assert_int_equal(peek32m(TSS_A + 0x4c), C0);
    v->dr[7] = DR7_FIXED;
    cpu_update_mode(v);
    /* iret with NT goes back */
    assert_int_equal(exec(v, "cf"), CPU_OK);
    assert_int_equal(v->eip, 0x4007);
    assert_int_equal(v->seg[S_TR].sel, TSA);
    assert_int_equal(type_of(TSA), 11);
    assert_int_equal(type_of(TSB), 9);
    assert_int_equal(cpu_eflags(v), FL_1 | FL_CF);
    assert_int_equal(v->gpr[R_EBX], 0x1234);
    assert_int_equal(v->gpr[R_ESP], sp);
    assert_int_equal(peek32m(TSS_B + 0x24), FL_1 | FL_IF); /* NT cleared in the image */
    assert_int_equal(peek32m(TSS_B + 0x20), 0x5501);
}

static void jumps(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    tss32(TSS_B, 0x5500, FL_1 | FL_NT, 3);
    assert_int_equal(exec(v, "ea 00 00 00 00 98 00"), CPU_OK);
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->mode & MODE_CPL, 3);
    assert_int_equal(type_of(TSA), 9);
    assert_int_equal(type_of(TSB), 11);
    assert_int_equal(peek16m(TSS_B), 0);
    assert_true(v->sflags & FL_NT);
    /* back through the user's task gate to another TSS: the 16-bit one */
    gdt_set(GT, mkgate(TSC16, 0, DT_TASK, 3, 0));
    tss16(TSS_C, 0x5600);
    assert_int_equal(exec(v, "ea 00 00 00 00 93 00"), CPU_OK);
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->eip, 0x5600);
    assert_int_equal(v->gpr[R_EAX], 0xffff0c00);
    assert_int_equal(v->gpr[R_ESP], 0xffff7800);
    assert_int_equal(v->seg[S_FS].sel, 0);
    assert_true(v->seg[S_GS].attr & SA_NULL);
    assert_int_equal(type_of(TSC16), 3);
    assert_int_equal(type_of(TSB), 9);
    assert_true(v->seg[S_LDTR].attr & SA_NULL);
    /* and from 16 bits to 32 */
    exec(v, "0f 06");
    v->gpr[R_ESI] = 0x12345678;
    assert_int_equal(exec(v, "ea 00 00 00 00 98 00"), CPU_OK);
    assert_int_equal(peek16m(TSS_C + 0x0e), 0x5609);
    assert_int_equal(peek16m(TSS_C + 0x1e), 0x5678);
    assert_int_equal(type_of(TSC16), 1);
}

static void to_v86(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    tss32(TSS_B, 0x100, FL_1 | FL_VM | FL_IOPL, 3);
    for (u32 k = 0; k < 6; k++)
        poke(TSS_B + 0x48 + 4 * k, 0x1000 * (k + 1), 4);
    assert_int_equal(exec(v, "ea 00 00 00 00 98 00"), CPU_OK);
    assert_int_equal(v->cpl, 3);
    assert_true(v->mode & MODE_VM);
    assert_int_equal(v->seg[S_CS].base, 0x20000);
    assert_int_equal(v->seg[S_GS].base, 0x60000);
}

static void faults_in_old_task(void **state)
{
    struct vcpu *v = *state;
    const char *jmp = "ea 00 00 00 00 98 00";
    enter_pm(v, 0);
    tss32(TSS_B, 0x5500, FL_1, 0);
    gdt_set(TSB, mkdesc(TSS_B, 103, 0x8b));
    expect_fault(v, jmp, EXC_GP, TSB); /* busy */
    gdt_set(TSB, mkdesc(TSS_B, 103, 0x09));
    expect_fault(v, jmp, EXC_NP, TSB);
    gdt_set(TSB, mkdesc(TSS_B, 102, 0x89));
    expect_fault(v, jmp, EXC_TS, TSB); /* too small */
    gdt_set(TSB, mkdesc(TSS_B, 103, 0x89));
    gdt_set(GT, mkgate(TSB | 4, 0, DT_TASK, 3, 0));
    expect_fault(v, "ea 00 00 00 00 93 00", EXC_GP, TSB | 4);
    gdt_set(GT, mkgate(D0, 0, DT_TASK, 3, 0));
    expect_fault(v, "ea 00 00 00 00 93 00", EXC_GP, D0);
    /* page faults leave everything, in memory too */
    gdt_set(TSB, mkdesc(0x2ffd0, 103, 0x89));
    set_page(v, 0x30000, 0);
    expect_fault(v, jmp, EXC_PF, 0);
    assert_int_equal(type_of(TSA), 11);
    assert_int_equal(type_of(TSB), 9);
    assert_int_equal(peek32m(TSS_A + 0x20), 0);
    set_page(v, 0x30000, 7);
    set_page(v, TSS_A, PG_P);
    expect_fault(v, jmp, EXC_PF, PF_P | PF_W);
    set_page(v, TSS_A, 7);
    /* iret with NT and a bad link */
    enter_pm(v, 0);
    v->sflags |= FL_NT;
    poke(TSS_A, TSB, 2);
    expect_fault(v, "cf", EXC_TS, TSB); /* not busy */
    poke(TSS_A, 0x200, 2);
    expect_fault(v, "cf", EXC_TS, 0x200);
    poke(TSS_A, 0, 2);
    expect_fault(v, "cf", EXC_TS, 0);
    reset_types();
}

static void faults_in_new_task(void **state)
{
    struct vcpu *v = *state;
    static const struct {
        u32 at, val;
        int vec;
        u32 err;
    } t[] = {
        {0x60, TSA, EXC_TS, TSA},   {0x60, 0x200, EXC_TS, 0x200}, {0x4c, 0, EXC_TS, 0},
        {0x4c, D0, EXC_TS, D0},     {0x4c, CNP, EXC_NP, CNP},     {0x4c, 0x18, EXC_TS, 0x18},
        {0x50, 0, EXC_TS, 0},       {0x50, D3, EXC_TS, 0x20},     {0x50, SNP, EXC_SS, SNP},
        {0x54, TSA, EXC_TS, TSA},   {0x54, XO, EXC_TS, 0x78},     {0x58, DNP, EXC_NP, 0x68},
        {0x48, D0 | 3, EXC_TS, D0}, {0x20, 0xfffffff, -1, 0},
    };
    for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
        reset_types();
        enter_pm(v, 0);
        tss32(TSS_B, 0x5500, FL_1, 0);
        poke(TSS_B + t[k].at, t[k].val, 4);
        int rc = exec(v, "ea 00 00 00 00 98 00");
        assert_int_equal(v->seg[S_TR].sel, TSB);
        assert_int_equal(v->gpr[R_EAX], 0xb0000000);
        if (t[k].vec < 0) {
            assert_int_equal(rc, CPU_OK);
            continue;
        }
        assert_int_equal(rc, CPU_FAULT);
        assert_int_equal(v->fault.vector, t[k].vec);
        assert_int_equal(v->fault.error, t[k].err);
        assert_int_equal(v->eip, 0x5500);
    }
    /* EIP beyond the limit of CS */
    reset_types();
    enter_pm(v, 0);
    tss32(TSS_B, 0x5500, FL_1, 0);
    poke(TSS_B + 0x4c, CSM, 4);
    assert_int_equal(exec(v, "ea 00 00 00 00 98 00"), CPU_FAULT);
    assert_int_equal(v->fault.vector, EXC_GP);
    assert_int_equal(v->eip, 0x5500);
    reset_types();
}

static void by_exception(void **state)
{
    struct vcpu *v = *state;
    /* a task gate for #GP: the error code is pushed on the new task's stack */
    enter_pm(v, 3);
    tss32(TSS_B, 0x5500, FL_1, 0);
    idt_set(EXC_GP, mkgate(TSB, 0, DT_TASK, 0, 0));
    v->gpr[R_EAX] = D0;
    step(v, "8e d8");
    assert_int_equal(v->eip, 0x5500);
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->gpr[R_ESP], 0x77fc);
    assert_int_equal(peek32m(0x77fc), D0);
    assert_int_equal(peek16m(TSS_B), TSA);
    assert_true(v->sflags & FL_NT);
    assert_int_equal(peek32m(TSS_A + 0x20), 0x4000);
    assert_int_equal(peek32m(TSS_A + 0x24), FL_1 | FL_RF);
    v->gpr[R_ESP] += 4;
    exec(v, "cf");
    assert_int_equal(v->eip, 0x4000);
    assert_int_equal(v->cpl, 3);
    assert_true(v->sflags & FL_RF);
    /* int n through a task gate returns behind itself */
    step(v, "cd 82");
    assert_int_equal(v->eip, 0x5501);
    assert_int_equal(peek32m(TSS_A + 0x20), 0x4002);
    /* the T flag: #DB in the new task before its first instruction */
    reset_types();
    enter_pm(v, 0);
    tss32(TSS_B, 0x5500, FL_1, 0);
    poke(TSS_B + 0x64, 1, 2);
    step(v, "ea 00 00 00 00 98 00");
    assert_int_equal(v->eip, 0x6010);
    assert_true(v->dr[6] & DR6_BT);
    assert_int_equal(peek32m(v->gpr[R_ESP]), 0x5500);
    reset_types();
}

static void paging(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    tss32(TSS_B, 0x5500, FL_1, 0);
    v->cr0 |= CR0_PG;
    int n = fk->cr3_loads;
    exec(v, "ea 00 00 00 00 98 00");
    assert_int_equal(v->cr3, 0x77000);
    assert_int_equal(fk->cr3_loads, n + 1);
    /* PAE: the PDPTEs come along, and are checked in the old task */
    reset_types();
    enter_pm(v, 0);
    v->cr4 |= CR4_PAE;
    poke(0x77000, 0x55001, 8);
    exec(v, "ea 00 00 00 00 98 00");
    assert_int_equal(v->pdpte[0], 0x55001);
    reset_types();
    enter_pm(v, 0);
    poke(0x77008, 0x55003, 8);
    expect_fault(v, "ea 00 00 00 00 98 00", EXC_GP, 0);
    v->cr0 &= ~CR0_PG;
    v->cr4 = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(call_and_return),    BOTH(jumps),        BOTH(to_v86), BOTH(faults_in_old_task),
        BOTH(faults_in_new_task), BOTH(by_exception), BOTH(paging)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
