/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segment loads, checks of accesses, descriptor inspection, far jmp without privilege change, v->mode. */
#include "fake.h"

static void loads(void **state)
{
    struct vcpu *v = *state;
    static const struct {
        int cpl, seg;
        u16 sel;
        int vec; /* -1: loads */
        u32 err;
    } t[] = {
        {0, S_DS, D0, -1, 0},
        {0, S_DS, D3, -1, 0},
        {0, S_ES, 0, -1, 0},
        {0, S_FS, 3, -1, 0},
        {0, S_DS, 7, -1, 0},             /* LDT */
        {0, S_DS, 0x27, EXC_GP, 0x24},   /* beyond the LDT limit */
        {0, S_DS, 0x100, EXC_GP, 0x100}, /* beyond the GDT limit */
        {0, S_DS, C0, -1, 0},            /* readable code */
        {0, S_DS, XO, EXC_GP, 0x78},     /* execute-only */
        {0, S_DS, RO, -1, 0},
        {0, S_DS, DNP, EXC_NP, 0x68},
        {0, S_DS, TSA, EXC_GP, TSA}, /* system */
        {0, S_DS, LD, EXC_GP, LD},
        {0, S_GS, D0 | 3, EXC_GP, D0}, /* RPL > DPL */
        {3, S_DS, D0, EXC_GP, D0},     /* CPL > DPL */
        {3, S_DS, CC, -1, 0},          /* conforming: no privilege check */
        {3, S_ES, D3, -1, 0},
        {3, S_ES, 0x20, -1, 0}, /* RPL 0 */
        {1, S_ES, D0 | 1, EXC_GP, D0},
        {1, S_ES, D1, -1, 0},
        {0, S_SS, D0, -1, 0},
        {0, S_SS, 0, EXC_GP, 0},
        {0, S_SS, 3, EXC_GP, 0},
        {0, S_SS, D0 | 1, EXC_GP, D0},
        {0, S_SS, D3, EXC_GP, 0x20},
        {0, S_SS, C0, EXC_GP, C0},
        {0, S_SS, SNP, EXC_SS, SNP},
        {3, S_SS, RO, EXC_GP, 0x70},
        {3, S_SS, D3, -1, 0},
        {3, S_SS, DNP, EXC_SS, 0x68},
        {3, S_SS, D0, EXC_GP, D0},
        {0, S_SS, 0xfff8, EXC_GP, 0xfff8},
    };
    static const char *const to_ax[8] = {"8e c0", "", "8e d0", "8e d8", "8e e0", "8e e8"};
    for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
        enter_pm(v, t[k].cpl);
        v->gpr[R_EAX] = t[k].sel;
        v->intr_shadow = 0;
        if (t[k].vec < 0) {
            assert_int_equal(exec(v, to_ax[t[k].seg]), CPU_OK);
            assert_int_equal(v->seg[t[k].seg].sel, t[k].sel);
            assert_int_equal(!!(v->seg[t[k].seg].attr & SA_NULL), (t[k].sel & 0xfffc) == 0);
            assert_int_equal(v->intr_shadow, t[k].seg == S_SS);
        } else {
            expect_fault(v, to_ax[t[k].seg], t[k].vec, (int)t[k].err);
        }
    }
    enter_pm(v, 0);
    expect_fault(v, "8e c8", EXC_UD, -1); /* mov cs, ax */
}

static void accessed_bit(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 3);
    v->gpr[R_EAX] = NA;
    assert_int_equal(exec(v, "8e d8"), CPU_OK);
    assert_int_equal(fk->mem[GDT + 0xe5] & 1, 1);
    assert_int_equal(v->seg[S_DS].attr & SA_A, SA_A);
    /* a clear bit in a read-only GDT page faults as a supervisor write; a set one does not write */
    set_page(v, GDT, PG_P);
    assert_int_equal(exec(v, "8e c0"), CPU_OK);
    poke(GDT + 0xe5, 0xf2, 1);
    expect_fault(v, "8e e0", EXC_PF, PF_P | PF_W);
    assert_int_equal(v->fault.cr2, GDT + 0xe5);
    /* an absent GDT: read fault, not user */
    set_page(v, GDT, 0);
    expect_fault(v, "8e e0", EXC_PF, 0);
}

static void checks(void **state)
{
    struct vcpu *v = *state;
    u32 lin;
    enter_pm(v, 3);
    v->gpr[R_EAX] = ED;
    exec(v, "8e c0");
    assert_int_equal(seg_check(v, S_ES, 0x1000, 4, SEGF_W, &lin), CPU_OK);
    assert_int_equal(lin, 0x1000);
    assert_int_equal(seg_check(v, S_ES, 0xfff, 4, SEGF_R, &lin), CPU_FAULT);
    assert_int_equal(v->fault.vector, EXC_GP);
    assert_int_equal(seg_check(v, S_ES, 0xfffffffc, 4, SEGF_R, &lin), CPU_OK);
    assert_int_equal(seg_check(v, S_ES, 0xfffffffd, 4, SEGF_R, &lin), CPU_FAULT);
    v->gpr[R_EAX] = RO;
    exec(v, "8e c0");
    expect_fault(v, "26 a2 00 90 00 00", EXC_GP, 0); /* mov es:[9000], al */
    assert_int_equal(exec(v, "26 a0 00 90 00 00"), CPU_OK);
    expect_fault(v, "2e a2 00 90 00 00", EXC_GP, 0); /* cs: is code */
    v->gpr[R_EAX] = 0;
    exec(v, "8e c0");
    expect_fault(v, "26 a0 00 90 00 00", EXC_GP, 0);
    /* limits: #SS for the stack, #GP otherwise */
    enter_pm(v, 0);
    v->gpr[R_EAX] = DSM;
    exec(v, "8e d0");
    exec(v, "8e d8");
    expect_fault(v, "a1 fd 0f 00 00", EXC_GP, 0);
    expect_fault(v, "36 a1 fd 0f 00 00", EXC_SS, 0);
    assert_int_equal(exec(v, "a1 fc 0f 00 00"), CPU_OK);
}

static void inspection(void **state)
{
    struct vcpu *v = *state;
    static const struct {
        int cpl;
        u16 sel;
        bool lar, lsl, verr, verw;
    } t[] = {
        {0, 0, 0, 0, 0, 0},     {0, C0, 1, 1, 1, 0},     {0, D0, 1, 1, 1, 1},    {3, D0, 0, 0, 0, 0},
        {3, D3, 1, 1, 1, 1},    {3, RO, 1, 1, 1, 0},     {3, XO, 1, 1, 0, 0},    {3, CC, 1, 1, 1, 0},
        {0, TSA, 1, 1, 0, 0},   {0, LD, 1, 1, 0, 0},     {3, G32, 1, 0, 0, 0},   {3, GT, 1, 0, 0, 0},
        {0, 0x100, 0, 0, 0, 0}, {0, D0 | 3, 0, 0, 0, 0}, {0, TSC16, 1, 1, 0, 0}, {3, DNP, 1, 1, 1, 1},
    };
    for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
        enter_pm(v, t[k].cpl);
        v->gpr[R_EAX] = t[k].sel;
        v->gpr[R_ECX] = 0x55555555;
        exec(v, "0f 02 c8");
        assert_int_equal(!!(v->aflags & FL_ZF), t[k].lar);
        if (!t[k].lar)
            assert_int_equal(v->gpr[R_ECX], 0x55555555);
        exec(v, "0f 03 c8");
        assert_int_equal(!!(v->aflags & FL_ZF), t[k].lsl);
        exec(v, "0f 00 e0");
        assert_int_equal(!!(v->aflags & FL_ZF), t[k].verr);
        exec(v, "0f 00 e8");
        assert_int_equal(!!(v->aflags & FL_ZF), t[k].verw);
    }
    enter_pm(v, 0);
    v->gpr[R_EAX] = D3;
    exec(v, "0f 02 c8");
    assert_int_equal(v->gpr[R_ECX], 0x00c0f300);
    exec(v, "0f 03 c8");
    assert_int_equal(v->gpr[R_ECX], 0xffffffff);
    exec(v, "66 0f 02 d0");
    assert_int_equal(v->gpr[R_EDX] & 0xffff, 0xf300);
    /* arpl */
    v->gpr[R_EAX] = 0x10, v->gpr[R_ECX] = 3;
    exec(v, "63 c8");
    assert_int_equal(v->gpr[R_EAX], 0x13);
    assert_true(v->aflags & FL_ZF);
    exec(v, "63 c8");
    assert_false(v->aflags & FL_ZF);
    /* none of them exists in real mode and V86 */
    enter_v86(v, 3, 0x100);
    static const char *const none[] = {"0f 02 c8", "0f 03 c8", "0f 00 e0", "0f 00 e8", "63 c8",
                                       "0f 00 c0", "0f 00 c8", "0f 00 d0", "0f 00 d8"};
    for (size_t k = 0; k < ARRAY_SIZE(none); k++)
        expect_fault(v, none[k], EXC_UD, -1);
}

static void system_segments(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    v->gpr[R_EAX] = 0xffff0000 | TSB;
    assert_int_equal(exec(v, "0f 00 d8"), CPU_OK);
    assert_int_equal(v->seg[S_TR].base, TSS_B);
    assert_int_equal(fk->mem[GDT + TSB + 5], 0x8b);
    expect_fault(v, "0f 00 d8", EXC_GP, TSB); /* busy now */
    exec(v, "0f 00 c9");                      /* str ecx */
    assert_int_equal(v->gpr[R_ECX], TSB);
    v->gpr[R_EAX] = 0;
    expect_fault(v, "0f 00 d8", EXC_GP, 0);
    assert_int_equal(exec(v, "0f 00 d0"), CPU_OK); /* lldt 0 */
    v->gpr[R_EAX] = 7;
    expect_fault(v, "8e d8", EXC_GP, 4); /* no LDT now */
    expect_fault(v, "0f 00 d0", EXC_GP, 4);
    v->gpr[R_EAX] = D0;
    expect_fault(v, "0f 00 d0", EXC_GP, D0);
    v->gpr[R_EAX] = LD;
    assert_int_equal(exec(v, "0f 00 d0"), CPU_OK);
    exec(v, "0f 00 c1"); /* sldt ecx */
    assert_int_equal(v->gpr[R_ECX], LD);
    enter_pm(v, 3);
    expect_fault(v, "0f 00 d0", EXC_GP, 0);
    expect_fault(v, "0f 00 d8", EXC_GP, 0);
}

static void push_pop(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    u32 esp = v->gpr[R_ESP];
    exec(v, "1e"); /* push ds; pop es; 16-bit push fs, pop gs */
    assert_int_equal(v->gpr[R_ESP], esp - 4);
    assert_int_equal(peek32m(esp - 4), D0);
    exec(v, "07");
    assert_int_equal(v->gpr[R_ESP], esp);
    exec(v, "66 0f a0");
    assert_int_equal(v->gpr[R_ESP], esp - 2);
    exec(v, "66 0f a9");
    assert_int_equal(v->gpr[R_ESP], esp);
    /* pop ss to a 16-bit stack moves all of ESP, by the old stack's width */
    v->gpr[R_ESP] = 0x7efc;
    poke(0x7efc, D16, 4);
    exec(v, "17");
    assert_int_equal(v->gpr[R_ESP], 0x7f00);
    assert_int_equal(v->intr_shadow, 1);
    assert_false(v->mode & MODE_SS32);
    poke(0x9000, 0x12345678 | (u64)D3 << 32, 8);
    assert_int_equal(exec(v, "0f b4 0d 00 90 00 00"), CPU_OK); /* lfs ecx, [9000] */
    assert_int_equal(v->gpr[R_ECX], 0x12345678);
    assert_int_equal(v->seg[S_FS].sel, D3);
    poke(0x9004, TSA, 2);
    expect_fault(v, "c5 0d 00 90 00 00", EXC_GP, TSA); /* lds */
    expect_fault(v, "0f b2 c8", EXC_UD, -1);
}

static void jumps(void **state)
{
    struct vcpu *v = *state;
    static const struct {
        int cpl;
        u16 sel;
        int vec;
        u32 err;
    } t[] = {
        {0, C0, -1, 0},          {0, 0, EXC_GP, 0},
        {0, D0, EXC_GP, D0},     {0, C3, EXC_GP, 0x18},
        {0, C0 | 1, EXC_GP, C0}, {3, C3, -1, 0},
        {3, 0x18, -1, 0},        {3, C0, EXC_GP, C0},
        {3, CC, -1, 0},          {0, CC3, EXC_GP, 0xf8},
        {0, CNP, EXC_NP, CNP},   {0, CCNP, EXC_NP, CCNP},
        {0, CSM, EXC_GP, 0},     {0, 0x100, EXC_GP, 0x100},
        {3, G32, EXC_GP, C0},    {3, GCC, -1, 0},
        {3, GNP, EXC_NP, 0xd0},  {3, G0, EXC_GP, G0},
        {0, G32, -1, 0},         {0, G0, -1, 0},
        {0, LD, EXC_GP, LD},     {3, TSB, EXC_GP, TSB},
        {0, TSA, EXC_GP, TSA},
    };
    for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
        char hex[32];
        enter_pm(v, t[k].cpl);
        snprintf(hex, sizeof(hex), "ea 34 52 00 00 %02x %02x", t[k].sel & 0xff, t[k].sel >> 8);
        if (t[k].vec >= 0) {
            expect_fault(v, hex, t[k].vec, (int)t[k].err);
            continue;
        }
        assert_int_equal(exec(v, hex), CPU_OK);
        assert_int_equal(v->cpl, t[k].cpl);
        assert_int_equal(v->seg[S_CS].sel & 3, t[k].cpl);
        assert_int_equal(v->eip, (t[k].sel & ~3) == (GCC & ~3)                     ? 0x4200
                                 : (t[k].sel & ~3) == (G0 & ~3) || t[k].sel == G32 ? 0x4000
                                                                                   : 0x5234);
    }
    /* to 16-bit code: the mode follows */
    enter_pm(v, 0);
    exec(v, "ea 00 01 00 00 50 00");
    assert_int_equal(v->mode & (MODE_CS32 | MODE_FLATCS), 0);
    /* indirect */
    enter_pm(v, 0);
    poke(0x9000, 0x5234 | (u64)C0 << 32, 8);
    assert_int_equal(exec(v, "ff 2d 00 90 00 00"), CPU_OK);
    assert_int_equal(v->eip, 0x5234);
}

static void real_mode(void **state)
{
    struct vcpu *v = *state;
    cpu_reset(v);
    assert_int_equal(v->mode & (MODE_PE | MODE_CPL | MODE_CS32), 0);
    assert_int_equal(v->eip, 0xfff0);
    assert_int_equal(v->seg[S_CS].base, 0xffff0000);
    exec(v, "ea 00 01 00 20"); /* jmp 2000:0100 */
    assert_int_equal(v->seg[S_CS].base, 0x20000);
    assert_int_equal(v->eip, 0x100);
    v->gpr[R_EAX] = 0x3000;
    exec(v, "8e d8");
    assert_int_equal(v->seg[S_DS].base, 0x30000);
    exec(v, "c6 06 10 00 5a");
    assert_int_equal(fk->mem[0x30010], 0x5a);
    expect_fault(v, "66 a1 fd ff", EXC_GP, 0); /* dword at FFFDh */
    /* cs: is writable in real mode */
    assert_int_equal(exec(v, "2e c6 06 10 00 77"), CPU_OK);
    /* unreal mode: a 4 GiB limit survives real-mode loads */
    v->seg[S_ES] = (struct seg){.limit = ~0u, .attr = 0x93 | SA_G | SA_DB};
    cpu_update_mode(v);
    v->gpr[R_EAX] = 0;
    exec(v, "8e c0");
    assert_int_equal(exec(v, "26 67 c6 05 00 00 09 00 11"), CPU_OK);
    assert_int_equal(fk->mem[0x90000], 0x11);
    /* far call and return */
    v->gpr[R_ESP] = 0x7000;
    v->seg[S_SS].base = 0;
    exec(v, "9a 34 12 00 40");
    assert_int_equal(v->gpr[R_ESP], 0x6ffc);
    assert_int_equal(v->seg[S_CS].base, 0x40000);
    exec(v, "cb");
    assert_int_equal(v->seg[S_CS].sel, 0x2000);
    assert_int_equal(v->gpr[R_ESP], 0x7000);
    /* a far jmp beyond the limit with 32-bit operands */
    expect_fault(v, "66 ea 00 00 01 00 00 10", EXC_GP, 0);
}

static void modes(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    assert_int_equal(v->mode, MODE_CS32 | MODE_SS32 | MODE_PE | MODE_FLATCS | MODE_FLATDS | MODE_FLATES |
                                  MODE_FLATSS | MODE_IOPL_OK);
    enter_pm(v, 3);
    assert_int_equal(v->mode & (MODE_CPL | MODE_IOPL_OK), 3);
    v->events = 0;
    v->sflags |= FL_IOPL;
    cpu_update_mode(v);
    assert_true(v->mode & MODE_IOPL_OK);
    assert_int_equal(v->events, EV_MODE);
    v->sflags |= FL_TF;
    cpu_update_mode(v);
    assert_true(v->mode & MODE_STEP);
    v->sflags = 0;
    /* alignment checks: slow_access, told to the shadow */
    v->cr0 |= CR0_AM;
    v->sflags = FL_AC;
    int n = fk->cpl_changes;
    cpu_update_mode(v);
    assert_int_equal(v->slow_access, 1);
    assert_int_equal(fk->cpl_changes, n + 1);
    expect_fault(v, "a1 01 90 00 00", EXC_AC, 0);
    assert_int_equal(exec(v, "a1 04 90 00 00"), CPU_OK);
    v->gpr[R_EAX] = D3;
    assert_int_equal(exec(v, "8e d8"), CPU_OK); /* descriptor reads are not checked */
    v->sflags = 0;
    cpu_update_mode(v);
    assert_int_equal(v->slow_access, 0);
    /* data breakpoints */
    v->dr[0] = 0x9002, v->dr[7] = 1 | 1u << 16 | 1u << 18; /* L0, write, 2 bytes */
    cpu_update_mode(v);
    exec(v, "a1 00 90 00 00");
    assert_int_equal(v->dr6_pending, 0);
    exec(v, "a3 00 90 00 00");
    assert_int_equal(v->dr6_pending, 1);
    v->dr6_pending = 0;
    exec(v, "a2 01 90 00 00");
    assert_int_equal(v->dr6_pending, 0);
    exec(v, "a2 03 90 00 00");
    assert_int_equal(v->dr6_pending, 1);
    v->dr[7] = DR7_FIXED;
    v->seg[S_DS].base = 4;
    cpu_update_mode(v);
    assert_false(v->mode & (MODE_FLATDS | MODE_STEP));
    assert_int_equal(v->seg[S_DS].fast, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {BOTH(loads),      BOTH(accessed_bit),    BOTH(checks),
                                       BOTH(inspection), BOTH(system_segments), BOTH(push_pop),
                                       BOTH(jumps),      BOTH(real_mode),       BOTH(modes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
