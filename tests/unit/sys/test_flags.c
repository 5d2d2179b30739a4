/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pushf, popf, cli, sti by CPL, IOPL, VM, VME, PVI; I/O permission and in, out, ins, outs. */
#include "fake.h"

#define ALLBITS 0x003f7fd5u

static void popf_rules(void **state)
{
    struct vcpu *v = *state;
    static const struct {
        int cpl, iopl;
        bool o16;
        u32 changed; /* of a popf of all ones from all clear, and the other way round */
    } t[] = {
        {0, 0, false, FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_AC | FL_ID},
        {0, 0, true, FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT},
        {3, 3, false, FL_ARITH | FL_TF | FL_IF | FL_DF | FL_NT | FL_AC | FL_ID},
        {3, 0, false, FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID},
        {3, 2, true, FL_ARITH | FL_TF | FL_DF | FL_NT},
        {1, 1, true, FL_ARITH | FL_TF | FL_IF | FL_DF | FL_NT},
    };
    for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
        for (int ones = 0; ones < 2; ones++) {
            u32 keep = (u32)t[k].iopl << 12,
                from = ones ? FL_1 | keep : (ALLBITS & ~(FL_VM | FL_IOPL | FL_RF)) | keep | FL_1;
            enter_pm(v, t[k].cpl);
            cpu_set_eflags(v, from);
            cpu_update_mode(v);
            poke(v->gpr[R_ESP], ones ? ~0u : 0, 4);
            u32 sp = v->gpr[R_ESP];
            assert_int_equal(exec(v, t[k].o16 ? "66 9d" : "9d"), CPU_OK);
            assert_int_equal(v->gpr[R_ESP], sp + (t[k].o16 ? 2 : 4));
            u32 want = ones ? from | t[k].changed : from & ~t[k].changed;
            assert_int_equal(cpu_eflags(v), want);
            assert_int_equal(!!(v->mode & MODE_STEP), ones);
        }
    }
    /* models without CPUID or VME have fewer bits: here only that pushf hides VM and RF */
    enter_pm(v, 3);
    v->sflags |= FL_RF | FL_IOPL | FL_ID;
    exec(v, "9c");
    assert_int_equal(peek32m(v->gpr[R_ESP]), FL_IOPL | FL_ID | FL_1);
    v->sflags = 0;
}

static void v86_flags(void **state)
{
    struct vcpu *v = *state;
    enter_v86(v, 3, 0x1000);
    v->iflag = 1;
    exec(v, "9c");
    assert_int_equal(peek16m(0x107fe), FL_IF | FL_IOPL | FL_1);
    exec(v, "66 9c"); /* 32-bit form is allowed at IOPL 3, without VM */
    assert_int_equal(peek32m(0x107fa), FL_IF | FL_IOPL | FL_1);
    poke(0x107fa, FL_ZF | FL_VM | FL_1, 4);
    exec(v, "66 9d");
    assert_int_equal(cpu_eflags(v), FL_VM | FL_IOPL | FL_ZF | FL_1);
    exec(v, "fb");
    assert_int_equal(v->iflag, 1);
    exec(v, "fa");
    assert_int_equal(v->iflag, 0);

    static const char *const sensitive[] = {"9c", "9d", "66 9c", "66 9d", "fa", "fb"};
    enter_v86(v, 0, 0x1000);
    for (size_t k = 0; k < ARRAY_SIZE(sensitive); k++)
        expect_fault(v, sensitive[k], EXC_GP, 0);
    v->cr4 |= CR4_VME;
    expect_fault(v, "66 9c", EXC_GP, 0);
    expect_fault(v, "66 9d", EXC_GP, 0);
    assert_int_equal(exec(v, "fb"), CPU_OK);
    assert_int_equal(cpu_eflags(v) & (FL_VIF | FL_IF), FL_VIF);
    exec(v, "9c");
    assert_int_equal(peek16m(0x107fe), FL_IF | FL_IOPL | FL_1);
    exec(v, "fa");
    assert_false(v->sflags & FL_VIF);
    exec(v, "9d");
    assert_int_equal(cpu_eflags(v), FL_VM | FL_VIF | FL_1);
    exec(v, "fa");
    v->sflags |= FL_VIP;
    expect_fault(v, "fb", EXC_GP, 0);
    poke(0x10800, FL_IF, 2);
    expect_fault(v, "9d", EXC_GP, 0);
    v->sflags &= ~FL_VIP;
    poke(0x10800, FL_TF, 2);
    expect_fault(v, "9d", EXC_GP, 0);
    v->cr4 = 0;
}

static void cli_sti(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    exec(v, "fb");
    assert_int_equal(v->iflag, 1);
    assert_int_equal(v->intr_shadow, 1);
    v->intr_shadow = 0;
    exec(v, "fb");
    assert_int_equal(v->intr_shadow, 0); /* was set already */
    exec(v, "fa");
    assert_int_equal(v->iflag, 0);
    enter_pm(v, 3);
    expect_fault(v, "fa", EXC_GP, 0);
    expect_fault(v, "fb", EXC_GP, 0);
    v->cr4 |= CR4_PVI;
    assert_int_equal(exec(v, "fb"), CPU_OK);
    assert_int_equal(cpu_eflags(v) & (FL_VIF | FL_IF), FL_VIF);
    exec(v, "fa");
    assert_int_equal(cpu_eflags(v) & (FL_VIF | FL_IF), 0);
    v->sflags |= FL_VIP;
    expect_fault(v, "fb", EXC_GP, 0);
    v->cr4 = 0;
    enter_pm(v, 1);
    expect_fault(v, "fa", EXC_GP, 0);
    enter_pm(v, 3);
    v->sflags |= FL_IOPL;
    cpu_update_mode(v);
    assert_int_equal(exec(v, "fb"), CPU_OK);
    assert_int_equal(v->iflag, 1);
}

static void io_permission(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    fk->in_val = 0x44332211;
    v->gpr[R_EAX] = 0xaaaaaaaa, v->gpr[R_EDX] = 0x12340070;
    exec(v, "ec");
    assert_int_equal(v->gpr[R_EAX], 0xaaaaaa11);
    assert_int_equal(fk->last_port, 0x70);
    exec(v, "66 ed");
    assert_int_equal(v->gpr[R_EAX], 0xaaaa2212);
    exec(v, "e5 80");
    assert_int_equal(v->gpr[R_EAX], 0x44332213);
    assert_int_equal(fk->last_port, 0x80);
    exec(v, "ee");
    assert_int_equal(fk->last_val, 0x13);
    exec(v, "e7 f4");
    assert_int_equal(fk->last_val, 0x44332213);
    /* the bitmap, at TSS_A + 136 */
    enter_pm(v, 3);
    v->gpr[R_EDX] = 0x70;
    assert_int_equal(exec(v, "ec"), CPU_OK);
    fk->mem[TSS_A + 136 + 0x70 / 8] = 0x02; /* port 71h */
    int n = fk->ins;
    assert_int_equal(exec(v, "ec"), CPU_OK);
    expect_fault(v, "66 ed", EXC_GP, 0);
    expect_fault(v, "ed", EXC_GP, 0);
    assert_int_equal(fk->ins, n + 1);
    v->gpr[R_EDX] = 0x77; /* two bytes of the map, one bit in each */
    fk->mem[TSS_A + 136 + 0x78 / 8] = 0x01;
    assert_int_equal(exec(v, "ec"), CPU_OK);
    expect_fault(v, "66 ed", EXC_GP, 0);
    v->gpr[R_EDX] = 0xffff; /* beyond the TSS */
    expect_fault(v, "ec", EXC_GP, 0);
    v->seg[S_TR].attr = 0x83; /* 16-bit TSS */
    v->gpr[R_EDX] = 0x10;
    expect_fault(v, "ec", EXC_GP, 0);
    v->sflags |= FL_IOPL;
    cpu_update_mode(v);
    assert_int_equal(exec(v, "ec"), CPU_OK);
    /* V86 always asks the bitmap */
    enter_v86(v, 3, 0x1000);
    v->gpr[R_EDX] = 0x71;
    expect_fault(v, "ec", EXC_GP, 0);
    v->gpr[R_EDX] = 0x72;
    assert_int_equal(exec(v, "ec"), CPU_OK);
    /* I/O breakpoints */
    enter_pm(v, 0);
    v->cr4 |= CR4_DE;
    v->dr[1] = 0x60, v->dr[7] = 1 << 2 | 2u << 20;
    cpu_update_mode(v);
    exec(v, "e4 60");
    assert_int_equal(v->dr6_pending, 2);
    v->dr6_pending = 0;
    exec(v, "e4 61");
    assert_int_equal(v->dr6_pending, 0);
    v->dr[7] = DR7_FIXED, v->cr4 = 0;
}

static void io_strings(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    fk->in_val = 0x100;
    v->gpr[R_EDI] = 0x9000, v->gpr[R_ECX] = 3, v->gpr[R_EDX] = 0x1f0;
    exec(v, "f3 66 6d"); /* rep insw */
    assert_int_equal(v->gpr[R_EDI], 0x9006);
    assert_int_equal(v->gpr[R_ECX], 0);
    assert_int_equal(peek16m(0x9004), 0x102);
    exec(v, "f3 6d");
    assert_int_equal(v->gpr[R_EDI], 0x9006);
    /* a fault on the way keeps the progress and does not touch the port */
    set_page(v, 0xd000, 0);
    v->gpr[R_EDI] = 0xcff8, v->gpr[R_ECX] = 5;
    int n = fk->ins;
    assert_int_equal(exec(v, "f3 6d"), CPU_FAULT);
    assert_int_equal(v->fault.vector, EXC_PF);
    assert_int_equal(v->gpr[R_EDI], 0xd000);
    assert_int_equal(v->gpr[R_ECX], 3);
    assert_int_equal(fk->ins, n + 2);
    /* long ones come in pieces */
    set_page(v, 0xd000, 7);
    v->gpr[R_ESI] = 0xd000, v->gpr[R_ECX] = 1000;
    u32 eip = v->eip, rounds = 0;
    n = fk->outs;
    while (v->gpr[R_ECX]) {
        v->eip = eip;
        exec(v, "f3 6e");
        rounds++;
        assert_true(rounds < 100);
    }
    assert_true(rounds > 1);
    assert_int_equal(fk->outs, n + 1000);
    assert_int_equal(v->gpr[R_ESI], 0xd000 + 1000);
    v->kick = 1; /* somebody wants us: one iteration */
    v->eip = eip, v->gpr[R_ECX] = 10;
    exec(v, "f3 6e");
    assert_int_equal(v->gpr[R_ECX], 9);
    assert_int_equal(v->eip, eip);
    v->kick = 0;
    /* backwards, 16-bit addresses, segment override */
    v->aflags |= FL_DF;
    v->gpr[R_ESI] = 0xabcd0001, v->gpr[R_ECX] = 0x10002;
    fk->mem[1] = 0x5a, fk->mem[0] = 0x5b;
    exec(v, "f3 26 67 6e");
    assert_int_equal(v->gpr[R_ESI], 0xabcdffff);
    assert_int_equal(v->gpr[R_ECX], 0x10000);
    assert_int_equal(fk->last_val, 0x5b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {BOTH(popf_rules), BOTH(v86_flags), BOTH(cli_sti), BOTH(io_permission),
                                       BOTH(io_strings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
