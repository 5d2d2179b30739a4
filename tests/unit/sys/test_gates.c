/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Far calls and returns through gates and levels; iret to every kind of mode; sysenter and sysexit. */
#include "fake.h"

static void call_same_level(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    u32 esp = v->gpr[R_ESP];
    exec(v, "9a 34 52 00 00 08 00");
    assert_int_equal(v->eip, 0x5234);
    assert_int_equal(v->gpr[R_ESP], esp - 8);
    assert_int_equal(peek32m(esp - 8), 0x4007);
    assert_int_equal(peek32m(esp - 4), C0);
    exec(v, "ca 04 00"); /* retf 4 */
    assert_int_equal(v->eip, 0x4007);
    assert_int_equal(v->gpr[R_ESP], esp + 4);
    /* 16-bit operands */
    enter_pm(v, 0);
    exec(v, "66 9a 34 52 08 00");
    assert_int_equal(v->gpr[R_ESP], esp - 4);
    assert_int_equal(peek32m(esp - 4), 0x00084006);
    exec(v, "66 cb");
    assert_int_equal(v->eip, 0x4006);
    /* conforming code keeps CPL */
    enter_pm(v, 3);
    exec(v, "9a 00 00 00 00 cb 00");
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->seg[S_CS].sel, CC | 3);
    assert_int_equal(v->eip, 0x4200);
    /* an unwritable stack: page fault, nothing changed */
    enter_pm(v, 0);
    set_page(v, 0x7000, PG_P);
    expect_fault(v, "9a 34 52 00 00 08 00", EXC_PF, PF_P | PF_W);
    set_page(v, 0x7000, 7);
    /* a stack whose limit is too small */
    v->gpr[R_EAX] = DSM;
    exec(v, "8e d0");
    v->gpr[R_ESP] = 0x1004;
    expect_fault(v, "9a 34 52 00 00 08 00", EXC_SS, 0);
}

static void call_gate_inner(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 3);
    poke(STACK3, 0x11111111ull | 0x22222222ull << 32, 8); /* parameters 1 and 2 */
    exec(v, "9a 00 00 00 00 83 00");
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->seg[S_CS].sel, C0);
    assert_int_equal(v->seg[S_SS].sel, D0);
    assert_int_equal(v->eip, 0x4000);
    assert_int_equal(v->gpr[R_ESP], STACK0 - 24);
    static const u32 want[6] = {0x4007, C3, 0x11111111, 0x22222222, STACK3, D3};
    for (u32 k = 0; k < 6; k++)
        assert_int_equal(peek32m(STACK0 - 24 + 4 * k), want[k]);
    assert_int_equal(v->mode & MODE_CPL, 0);
    /* and back, popping the parameters on both stacks; DS of DPL 0 is dropped, ES of DPL 3 stays */
    v->gpr[R_EAX] = D0;
    exec(v, "8e d8");
    exec(v, "ca 08 00");
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->eip, 0x4007);
    assert_int_equal(v->gpr[R_ESP], STACK3 + 8);
    assert_int_equal(v->seg[S_SS].sel, D3);
    assert_int_equal(v->seg[S_DS].sel, 0);
    assert_true(v->seg[S_DS].attr & SA_NULL);
    assert_int_equal(v->seg[S_ES].sel, D3);

    /* 16-bit gate */
    enter_pm(v, 3);
    poke(STACK3, 0xabcd, 2);
    exec(v, "9a 00 00 00 00 8b 00");
    assert_int_equal(v->gpr[R_ESP], STACK0 - 10);
    static const u16 want16[5] = {0x4007, C3, 0xabcd, (u16)STACK3, D3};
    for (u32 k = 0; k < 5; k++)
        assert_int_equal(peek16m(STACK0 - 10 + 2 * k), want16[k]);
    exec(v, "66 ca 02 00");
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->gpr[R_ESP], STACK3 + 2);
}

static void call_gate_faults(void **state)
{
    struct vcpu *v = *state;
    const char *call = "9a 00 00 00 00 83 00";
    enter_pm(v, 3);
    expect_fault(v, "9a 00 00 00 00 d3 00", EXC_NP, 0xd0);
    expect_fault(v, "9a 00 00 00 00 d8 00", EXC_GP, G0); /* gate DPL 0 */
    expect_fault(v, "9a 00 00 00 00 eb 00", EXC_GP, 0);  /* offset beyond the limit */
    v->seg[S_TR].limit = 7;
    expect_fault(v, call, EXC_TS, TSA);
    v->seg[S_TR].limit = 0x1ff;
    static const struct {
        u16 ss;
        int vec;
        u32 err;
    } t[] = {{0, EXC_TS, 0},   {D3, EXC_TS, 0x20}, {D0 | 1, EXC_TS, D0},   {D1, EXC_TS, 0x48},
             {C0, EXC_TS, C0}, {SNP, EXC_SS, SNP}, {0x200, EXC_TS, 0x200}, {TSA, EXC_TS, TSA}};
    for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
        poke(TSS_A + 8, t[k].ss, 2);
        expect_fault(v, call, t[k].vec, (int)t[k].err);
    }
    poke(TSS_A + 8, DSM, 2); /* limit fff, stack pointer beyond */
    expect_fault(v, call, EXC_SS, DSM);
    poke(TSS_A + 8, D0, 2);
    set_page(v, STACK0 - 1, PG_P); /* the new stack is read-only: supervisor write */
    expect_fault(v, call, EXC_PF, PF_P | PF_W);
    set_page(v, STACK0 - 1, PG_P | PG_W); /* supervisor-only is fine */
    assert_int_equal(exec(v, call), CPU_OK);
    set_page(v, STACK0 - 1, 7);
    enter_pm(v, 3);
    v->gpr[R_ESP] = 0xd000 - 4; /* second parameter on an absent page */
    set_page(v, 0xd000, 0);
    expect_fault(v, call, EXC_PF, PF_U);
    set_page(v, 0xd000, 7);
    /* 16-bit TSS */
    enter_pm(v, 3);
    v->seg[S_TR] = (struct seg){.sel = TSC16, .base = TSS_C, .limit = 43, .attr = 0x83};
    poke(TSS_C + 2, 0x7800, 2);
    poke(TSS_C + 4, D0, 2);
    exec(v, call);
    assert_int_equal(v->gpr[R_ESP], 0x7800 - 24);
}

static void far_ret_faults(void **state)
{
    struct vcpu *v = *state;
    static const struct {
        int cpl;
        u16 cs, ss;
        int vec;
        u32 err;
    } t[] = {
        {0, 0, 0, EXC_GP, 0},         {0, D0, 0, EXC_GP, D0},     {3, C0, 0, EXC_GP, C0},
        {0, CNP, 0, EXC_NP, CNP},     {0, C3, 0, EXC_GP, 0},      {0, C3, D0, EXC_GP, D0},
        {0, C3, RO, EXC_GP, 0x70},    {0, C3, DNP, EXC_SS, 0x68}, {0, C3, 0x20, EXC_GP, 0x20},
        {0, 0x200, 0, EXC_GP, 0x200}, {0, CSM, 0, EXC_GP, 0},     {0, 0x18, 0, EXC_GP, 0x18},
        {0, C0 | 3, D3, EXC_GP, C0},  {0, CC | 3, D3, -1, 0},
    };
    for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
        enter_pm(v, t[k].cpl);
        u32 sp = v->gpr[R_ESP];
        poke(sp, 0x5000, 4);
        poke(sp + 4, t[k].cs, 4);
        poke(sp + 8, 0x9000, 4);
        poke(sp + 12, t[k].ss, 4);
        if (t[k].vec >= 0) {
            expect_fault(v, "cb", t[k].vec, (int)t[k].err);
            /* iret has the same rules */
            poke(sp + 8, FL_1, 4);
            poke(sp + 12, 0x9000, 4);
            poke(sp + 16, t[k].ss, 4);
            expect_fault(v, "cf", t[k].vec, (int)t[k].err);
        } else {
            assert_int_equal(exec(v, "cb"), CPU_OK);
            assert_int_equal(v->cpl, t[k].cs & 3);
        }
    }
    enter_pm(v, 0);
    v->gpr[R_EAX] = DSM;
    exec(v, "8e d0");
    v->gpr[R_ESP] = 0xffc;
    expect_fault(v, "cb", EXC_SS, 0);
}

static void iret_push(struct vcpu *v, u32 a, u32 b, u32 c, u32 d, u32 e)
{
    u32 sp = v->gpr[R_ESP];
    poke(sp, a, 4), poke(sp + 4, b, 4), poke(sp + 8, c, 4), poke(sp + 12, d, 4), poke(sp + 16, e, 4);
}

static void iret_levels(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    u32 sp = v->gpr[R_ESP];
    v->nmi_blocked = 1;
    iret_push(v, 0x5000, C0, FL_IF | FL_CF | FL_1, 0, 0);
    exec(v, "cf");
    assert_int_equal(v->eip, 0x5000);
    assert_int_equal(v->gpr[R_ESP], sp + 12);
    assert_int_equal(cpu_eflags(v), FL_IF | FL_CF | FL_1);
    assert_int_equal(v->nmi_blocked, 0);
    /* a fault unblocks NMIs, too */
    enter_pm(v, 0);
    v->nmi_blocked = 1;
    iret_push(v, 0x5000, 0, FL_1, 0, 0);
    expect_fault(v, "cf", EXC_GP, 0);
    assert_int_equal(v->nmi_blocked, 0);
    /* outer */
    enter_pm(v, 0);
    v->gpr[R_EAX] = 0;
    exec(v, "8e e0"); /* fs null stays null */
    iret_push(v, 0x5000, C3, FL_IF | FL_IOPL | FL_ID | FL_AC | FL_1, 0x9f00, D3);
    exec(v, "cf");
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->gpr[R_ESP], 0x9f00);
    assert_int_equal(v->seg[S_SS].sel, D3);
    assert_int_equal(v->seg[S_DS].sel, 0);
    assert_int_equal(cpu_eflags(v), FL_IF | FL_IOPL | FL_ID | FL_AC | FL_1);
    assert_int_equal(v->mode & MODE_CPL, 3);
    /* CPL 3 may not change IOPL, nor IF above IOPL */
    enter_pm(v, 3);
    iret_push(v, 0x5000, C3, FL_IF | FL_IOPL | FL_ZF | FL_VM | FL_VIF | FL_1, 0, 0);
    exec(v, "cf");
    assert_int_equal(cpu_eflags(v), FL_ZF | FL_1);
    assert_int_equal(v->eip, 0x5000);
    enter_pm(v, 3);
    v->sflags |= FL_IOPL;
    cpu_update_mode(v);
    iret_push(v, 0x5000, C3, FL_IF | FL_1, 0, 0);
    exec(v, "cf");
    assert_int_equal(cpu_eflags(v), FL_IF | FL_IOPL | FL_1);
    /* a 16-bit stack keeps the upper half of ESP */
    enter_pm(v, 0);
    gdt_set(D16, mkdesc(0, 0xffff, A_D | A_A | 0x60));
    iret_push(v, 0x5000, C3, FL_1, 0x12349f00, D16 | 3);
    v->gpr[R_ESP] = sp;
    exec(v, "cf");
    assert_int_equal(v->gpr[R_ESP], 0x00009f00 | (sp & 0xffff0000));
    /* 16-bit operands leave the upper flags alone */
    enter_pm(v, 0);
    v->sflags |= FL_AC;
    poke(sp, 0x5000 | (u64)C0 << 16 | (u64)(FL_ZF | FL_1) << 32, 6);
    exec(v, "66 cf");
    assert_int_equal(cpu_eflags(v), FL_AC | FL_ZF | FL_1);
    assert_int_equal(v->gpr[R_ESP], sp + 6);
}

static void iret_v86(void **state)
{
    struct vcpu *v = *state;
    static const u32 frame[9] = {
        0x100, 0x1000, FL_VM | FL_IF | FL_IOPL | FL_1, 0x800, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000};
    enter_pm(v, 0);
    u32 sp = v->gpr[R_ESP];
    memcpy(fk->mem + sp, frame, sizeof(frame));
    exec(v, "cf");
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->mode & (MODE_VM | MODE_CPL | MODE_PE | MODE_CS32 | MODE_SS32 | MODE_IOPL_OK),
                     MODE_VM | 3 | MODE_PE | MODE_IOPL_OK);
    assert_int_equal(v->seg[S_CS].base, 0x10000);
    assert_int_equal(v->seg[S_SS].base, 0x20000);
    assert_int_equal(v->seg[S_ES].sel, 0x3000);
    assert_int_equal(v->seg[S_DS].sel, 0x4000);
    assert_int_equal(v->seg[S_FS].sel, 0x5000);
    assert_int_equal(v->seg[S_GS].sel, 0x6000);
    assert_int_equal(v->seg[S_GS].limit, 0xffff);
    assert_int_equal(v->gpr[R_ESP], 0x800);
    assert_int_equal(v->eip, 0x100);
    /* within V86: IOPL 3 */
    poke(0x20800, 0x200 | 0x1100ull << 16 | (u64)(FL_CF | FL_1) << 32, 6);
    exec(v, "cf");
    assert_int_equal(v->seg[S_CS].base, 0x11000);
    assert_int_equal(v->eip, 0x200);
    assert_int_equal(cpu_eflags(v), FL_VM | FL_IOPL | FL_CF | FL_1);
    /* IOPL < 3 */
    v->sflags &= ~FL_IOPL;
    cpu_update_mode(v);
    expect_fault(v, "cf", EXC_GP, 0);
    v->cr4 |= CR4_VME;
    expect_fault(v, "66 cf", EXC_GP, 0);
    poke(0x20806, 0x300 | 0x1100ull << 16 | (u64)(FL_IF | FL_1) << 32, 6);
    v->sflags |= FL_VIP;
    expect_fault(v, "cf", EXC_GP, 0);
    v->sflags &= ~FL_VIP;
    exec(v, "cf");
    assert_int_equal(v->eip, 0x300);
    assert_int_equal(cpu_eflags(v) & (FL_VIF | FL_IF), FL_VIF);
    /* EIP beyond 64K */
    enter_pm(v, 0);
    memcpy(fk->mem + sp, frame, sizeof(frame));
    poke(sp, 0x10000, 4);
    expect_fault(v, "cf", EXC_GP, 0);
}

static void iret_real(void **state)
{
    struct vcpu *v = *state;
    cpu_reset(v);
    exec(v, "ea 00 01 00 20");
    v->gpr[R_ESP] = 0x7000;
    poke(0x7000, 0x300 | 0x3000ull << 16 | (u64)(FL_IF | FL_IOPL | FL_NT | FL_OF | FL_1) << 32, 6);
    exec(v, "cf");
    assert_int_equal(v->eip, 0x300);
    assert_int_equal(v->seg[S_CS].base, 0x30000);
    assert_int_equal(cpu_eflags(v), FL_IF | FL_IOPL | FL_NT | FL_OF | FL_1);
    assert_int_equal(v->gpr[R_ESP], 0x7006);
}

static void sysenter(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 3);
    expect_fault(v, "0f 34", EXC_GP, 0); /* SYSENTER_CS = 0 */
    v->msr_sysenter_cs = C0, v->msr_sysenter_esp = 0x7e00, v->msr_sysenter_eip = 0x5500;
    v->iflag = 1;
    exec(v, "0f 34");
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->eip, 0x5500);
    assert_int_equal(v->gpr[R_ESP], 0x7e00);
    assert_int_equal(v->seg[S_CS].sel, C0);
    assert_int_equal(v->seg[S_SS].sel, D0);
    assert_int_equal(v->iflag, 0);
    assert_int_equal(v->mode & (MODE_CPL | MODE_FLATCS | MODE_FLATSS | MODE_CS32),
                     MODE_FLATCS | MODE_FLATSS | MODE_CS32);
    v->gpr[R_ECX] = 0x9000, v->gpr[R_EDX] = 0x5600;
    exec(v, "0f 35");
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->seg[S_CS].sel, C3);
    assert_int_equal(v->seg[S_SS].sel, D3);
    assert_int_equal(v->gpr[R_ESP], 0x9000);
    assert_int_equal(v->eip, 0x5600);
    expect_fault(v, "0f 35", EXC_GP, 0);
    cpu_reset(v);
    expect_fault(v, "0f 34", EXC_GP, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {BOTH(call_same_level), BOTH(call_gate_inner), BOTH(call_gate_faults),
                                       BOTH(far_ret_faults),  BOTH(iret_levels),     BOTH(iret_v86),
                                       BOTH(iret_real),       BOTH(sysenter)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
