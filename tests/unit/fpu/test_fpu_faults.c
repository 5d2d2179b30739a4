/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults of x87, MMX and SSE instructions, their order, and that they leave everything as it was. */
#include "fixture.h"

#define GUARD 0x5a

static void fresh(struct fixture *f)
{
    struct vcpu *v = f->v;

    cpu_fpu_park(v);
    memset(f->absent, 0, sizeof(f->absent));
    memset(f->readonly, 0, sizeof(f->readonly));
    fixture_tables(f, true);
    random_fx(v->fx, false, 0x3f);
    v->cr0 = CR0_PE | CR0_NE | CR0_MP;
    v->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
    v->gpr[R_EDI] = MEM_LIN + 0x100;
    v->seg[S_DS].fast = SEGF_R | SEGF_W;
    memset(f->mem, GUARD, MEM_SIZE);
    memset(&v->fault, 0, sizeof(v->fault));
}

static u8 before[512];
static void keep(struct fixture *f)
{
    cpu_fpu_park(f->v);
    memcpy(before, f->v->fx, 512);
}
static void check_kept(struct fixture *f)
{
    cpu_fpu_park(f->v);
    assert_memory_equal(before, f->v->fx, 6);
    assert_memory_equal(before + 24, f->v->fx + 24, 4);
    assert_memory_equal(before + 32, f->v->fx + 32, 256);
    for (u32 n = 0; n < MEM_SIZE; n++)
        assert_int_equal(f->mem[n], GUARD);
}
static void expect(struct fixture *f, int vector, const u8 *code, u32 len)
{
    keep(f);
    assert_int_equal(fixture_run(f, code, len), CPU_FAULT);
    assert_int_equal(f->v->fault.vector, vector);
    check_kept(f);
}
#define FAULTS(f, vector, ...)                                                                               \
    do {                                                                                                     \
        static const u8 code_[] = {__VA_ARGS__};                                                             \
        expect(f, vector, code_, sizeof(code_));                                                             \
    } while (0)

static void test_nm_ud(void **state)
{
    struct fixture *f = fixture_new();
    struct vcpu *v = f->v;

    /* x87: EM or TS give #NM; fwait needs MP and TS */
    fresh(f);
    v->cr0 |= CR0_EM;
    FAULTS(f, EXC_NM, 0xd8, 0x07);
    FAULTS(f, EXC_NM, 0xd9, 0xe8);
    FAULTS(f, EXC_NM, 0xdb, 0xe3);
    FAULTS(f, EXC_NM, 0xdf, 0xe0);
    FAULTS(f, EXC_NM, 0xd9, 0x1f);
    FAULTS(f, EXC_NM, 0x0f, 0xae, 0x07);
    FAULTS(f, EXC_NM, 0x0f, 0xae, 0x0f);
    assert_int_equal(RUN(f, 0x9b), CPU_OK);
    v->cr0 = CR0_PE | CR0_NE | CR0_TS;
    FAULTS(f, EXC_NM, 0xdd, 0x37);
    FAULTS(f, EXC_NM, 0xda, 0xc1);
    assert_int_equal(RUN(f, 0x9b), CPU_OK);
    v->cr0 |= CR0_MP;
    FAULTS(f, EXC_NM, 0x9b);
    /* MMX, SSE: TS gives #NM, EM #UD, which comes first */
    FAULTS(f, EXC_NM, 0x0f, 0xfe, 0xca);
    FAULTS(f, EXC_NM, 0x0f, 0x77);
    FAULTS(f, EXC_NM, 0x0f, 0x58, 0xca);
    FAULTS(f, EXC_NM, 0x0f, 0x28, 0x07);
    FAULTS(f, EXC_NM, 0x0f, 0x29, 0x07);
    FAULTS(f, EXC_NM, 0x0f, 0xae, 0x17);
    FAULTS(f, EXC_NM, 0x0f, 0xf7, 0xca);
    v->cr0 |= CR0_EM;
    FAULTS(f, EXC_UD, 0x0f, 0xfe, 0xca);
    FAULTS(f, EXC_UD, 0x0f, 0x77);
    FAULTS(f, EXC_UD, 0x0f, 0x58, 0xca);
    FAULTS(f, EXC_UD, 0x0f, 0xae, 0x1f);
    FAULTS(f, EXC_UD, 0x0f, 0x29, 0x07);
    /* without OSFXSR: #UD for anything with XMM registers, not for MMX and fxsave */
    fresh(f);
    v->cr4 = 0;
    FAULTS(f, EXC_UD, 0x0f, 0x58, 0xca);
    FAULTS(f, EXC_UD, 0x0f, 0x29, 0x07);
    FAULTS(f, EXC_UD, 0x0f, 0xae, 0x17);
    FAULTS(f, EXC_UD, 0x0f, 0x2a, 0xca);
    FAULTS(f, EXC_UD, 0xf3, 0x0f, 0xd6, 0xca);
    assert_int_equal(RUN(f, 0x0f, 0xe0, 0xca), CPU_OK);
    assert_int_equal(RUN(f, 0x0f, 0xae, 0x07), CPU_OK);
    /* no FPU state, no check: movnti, fences, prefetch, clflush */
    fresh(f);
    v->cr0 |= CR0_EM | CR0_TS;
    v->cr4 = 0;
    v->gpr[R_EBX] = 0x12345678;
    assert_int_equal(RUN(f, 0x0f, 0xc3, 0x1f), CPU_OK);
    assert_int_equal(*(u32 *)(f->mem + 0x100), 0x12345678);
    assert_int_equal(RUN(f, 0x0f, 0xae, 0xe8), CPU_OK);
    assert_int_equal(RUN(f, 0x0f, 0xae, 0xf0), CPU_OK);
    assert_int_equal(RUN(f, 0x0f, 0xae, 0xf8), CPU_OK);
    assert_int_equal(RUN(f, 0x0f, 0xae, 0x3f), CPU_OK);
    v->gpr[R_EDI] = 0x500; /* unmapped */
    assert_int_equal(RUN(f, 0x0f, 0x18, 0x0f), CPU_OK);
    assert_int_equal(RUN(f, 0x0f, 0xae, 0x3f), CPU_FAULT);
    assert_int_equal(v->fault.vector, EXC_PF);
    fixture_free(f);
}

static void test_alignment(void **state)
{
    struct fixture *f = fixture_new();

    fresh(f);
    f->v->gpr[R_EDI] = 0x508; /* unmapped as well: #GP(0) comes before #PF */
    FAULTS(f, EXC_GP, 0x0f, 0x28, 0x07);
    assert_int_equal(f->v->fault.error, 0);
    assert_int_equal(f->v->fault.has_error, 1);
    FAULTS(f, EXC_GP, 0x0f, 0x29, 0x07);
    FAULTS(f, EXC_GP, 0x0f, 0x58, 0x07);
    FAULTS(f, EXC_GP, 0x66, 0x0f, 0xfe, 0x07);
    FAULTS(f, EXC_GP, 0x66, 0x0f, 0xe7, 0x07);
    FAULTS(f, EXC_GP, 0x66, 0x0f, 0x2d, 0x07);
    FAULTS(f, EXC_GP, 0x0f, 0xae, 0x07);
    FAULTS(f, EXC_GP, 0x0f, 0xae, 0x0f);
    FAULTS(f, EXC_PF, 0x0f, 0x10, 0x07);
    FAULTS(f, EXC_PF, 0xf3, 0x0f, 0x58, 0x07);
    FAULTS(f, EXC_PF, 0x0f, 0x5a, 0x07);
    FAULTS(f, EXC_PF, 0x0f, 0xfe, 0x07);
    FAULTS(f, EXC_PF, 0x66, 0x0f, 0x12, 0x07);
    fixture_free(f);
}

/* Page faults in the second page of the operand, segment limits: nothing changes. */
static void test_memory_faults(void **state)
{
    static const u8 codes[][4] = {
        {0xd9, 0x1f},             /* fstp m32 */
        {0xdd, 0x1f},             /* fstp m64 */
        {0xdb, 0x3f},             /* fstp m80 */
        {0xdf, 0x37},             /* fbstp */
        {0xdf, 0x3f},             /* fistp m64 */
        {0xd9, 0x37},             /* fnstenv */
        {0xdd, 0x37},             /* fnsave */
        {0x0f, 0x7f, 0x0f},       /* movq m64, mm1 */
        {0x0f, 0xe7, 0x0f},       /* movntq */
        {0x0f, 0x11, 0x07},       /* movups */
        {0x0f, 0x13, 0x07},       /* movlps */
        {0x66, 0x0f, 0xd6, 0x07}, /* movq m64, xmm0 */
        {0x0f, 0xf7, 0xca},       /* maskmovq */
        {0x66, 0x0f, 0xf7, 0xca}, /* maskmovdqu */
        {0x0f, 0xc3, 0x07},       /* movnti */
        {0x0f, 0xae, 0x1f},       /* stmxcsr */
        {0xd9, 0x07},             /* loads from here: fld m32 */
        {0xdb, 0x2f},             /* fld m80 */
        {0xd8, 0x07},             /* fadd m32 */
        {0xd9, 0x27},             /* fldenv */
        {0xdd, 0x27},             /* frstor */
        {0x0f, 0x6f, 0x0f},       /* movq mm1, m64 */
        {0x0f, 0x10, 0x07},       /* movups */
        {0xf2, 0x0f, 0x58, 0x07}, /* addsd */
        {0xf2, 0x0f, 0x2d, 0x07}, /* cvtsd2si */
        {0x0f, 0x2e, 0x07},       /* ucomiss */
    };
    struct fixture *f = fixture_new();

    for (u32 n = 0; n < ARRAY_SIZE(codes); n++) {
        u32 len = codes[n][2] ? codes[n][3] ? 4 : 3 : 2;
        bool store = n < 16;
        for (u32 how = 0; how < 4; how++) {
            fresh(f);
            f->v->gpr[R_EDI] = MEM_LIN + PAGE_SIZE - 1;
            f->absent[1] = how == 0;
            f->readonly[1] = how == 1;
            f->absent[0] = how == 2;
            if (how == 1 && !store)
                continue;
            if (how == 3) {
                f->v->seg[S_DS].fast = 0;
                f->v->seg[S_DS].limit = f->v->gpr[R_EDI];
            }
            fixture_tables(f, true);
            expect(f, how == 3 ? EXC_GP : EXC_PF, codes[n], len);
            if (how != 3)
                assert_int_equal(f->v->fault.cr2, how == 2 ? MEM_LIN + PAGE_SIZE - 1 : MEM_LIN + PAGE_SIZE);
        }
    }
    /* fxsave, 16-byte aligned across a page */
    fresh(f);
    f->v->gpr[R_EDI] = MEM_LIN + PAGE_SIZE - 16;
    f->readonly[1] = true;
    fixture_tables(f, true);
    FAULTS(f, EXC_PF, 0x0f, 0xae, 0x07);
    f->absent[1] = true;
    fixture_tables(f, true);
    FAULTS(f, EXC_PF, 0x0f, 0xae, 0x0f);
    fixture_free(f);
}

/* Makes a zero-divide exception pending. */
static void pend(struct fixture *f)
{
    static const u16 cw = 0x37b;

    memcpy(f->mem + 0x200, &cw, 2);
    f->v->gpr[R_EDI] = MEM_LIN + 0x200;
    assert_int_equal(RUN(f, 0xdb, 0xe3), CPU_OK); /* fninit */
    assert_int_equal(RUN(f, 0xd9, 0x2f), CPU_OK); /* fldcw */
    assert_int_equal(RUN(f, 0xd9, 0xe8), CPU_OK); /* fld1 */
    assert_int_equal(RUN(f, 0xd9, 0xee), CPU_OK); /* fldz */
    assert_int_equal(RUN(f, 0xde, 0xf9), CPU_OK); /* fdivp */
    memset(f->mem, GUARD, MEM_SIZE);
    f->v->gpr[R_EDI] = MEM_LIN + 0x100;
}

static void test_mf(void **state)
{
    struct fixture *f = fixture_new();

    for (int round = 0; round < 2; round++) {
        fresh(f);
        pend(f);
        FAULTS(f, EXC_MF, 0x9b);
        FAULTS(f, EXC_MF, 0xd9, 0xe8);
        if (round)
            f->v->gpr[R_EDI] = 0x500; /* #MF before #PF */
        FAULTS(f, EXC_MF, 0xd8, 0x07);
        FAULTS(f, EXC_MF, 0xdd, 0x1f);
        FAULTS(f, EXC_MF, 0xd9, 0x2f);
        FAULTS(f, EXC_MF, 0xd9, 0x27);
        FAULTS(f, EXC_MF, 0xdd, 0x27);
        FAULTS(f, EXC_MF, 0xda, 0xc1);
        FAULTS(f, EXC_MF, 0x0f, 0xfe, 0xca);
        FAULTS(f, EXC_MF, 0x0f, 0x77);
        FAULTS(f, EXC_MF, 0x0f, 0x2a, 0xca);
        FAULTS(f, EXC_MF, 0x66, 0x0f, 0x2a, 0xca); /* cvtpi2pd xmm, mm */
        FAULTS(f, EXC_MF, 0x0f, 0xf7, 0xca);
        /* no x87 or MMX registers */
        assert_int_equal(RUN(f, 0x0f, 0x58, 0xca), CPU_OK);
        f->v->gpr[R_EDI] = MEM_LIN + 0x100;
        assert_int_equal(RUN(f, 0x66, 0x0f, 0x2a, 0x07), CPU_OK); /* cvtpi2pd xmm, m64 */
        /* non-waiting ones */
        assert_int_equal(RUN(f, 0xdf, 0xe0), CPU_OK);
        assert_int_equal(f->v->gpr[R_EAX] & 0x84, 0x84);
        assert_int_equal(RUN(f, 0xd9, 0x3f), CPU_OK);
        assert_int_equal(RUN(f, 0xdb, 0xe0), CPU_OK);
        assert_int_equal(RUN(f, 0x0f, 0xae, 0x07), CPU_OK); /* fxsave */
        memset(f->mem, GUARD, MEM_SIZE);
        FAULTS(f, EXC_MF, 0x9b);
        if (round)
            assert_int_equal(RUN(f, 0xdb, 0xe2), CPU_OK); /* fnclex */
        else
            assert_int_equal(RUN(f, 0xd9, 0x37), CPU_OK); /* fnstenv masks */
        assert_int_equal(RUN(f, 0x9b), CPU_OK);
        assert_int_equal(RUN(f, 0xd9, 0xe8), CPU_OK);
    }
    fixture_free(f);
}

static void test_ferr(void **state)
{
    struct fixture *f = fixture_new();
    struct vcpu *v = f->v;

    fresh(f);
    v->cr0 &= ~CR0_NE;
    pend(f);
    assert_int_equal(f->ferr_calls, 0);
    for (int n = 0; n < 3; n++) { /* frozen, IRQ 13 raised once */
        keep(f);
        assert_int_equal(RUN(f, 0xd9, 0xe8), CPU_OK);
        assert_int_equal(v->next_eip, v->eip);
        check_kept(f);
        assert_int_equal(f->ferr, 1);
        assert_int_equal(f->ferr_calls, 1);
    }
    /* the handler writes port F0h: instructions run on, the error stays */
    v->fpu_ignne = 1;
    assert_int_equal(RUN(f, 0xd9, 0xe8), CPU_OK);
    assert_int_equal(v->next_eip, v->eip + 2);
    assert_int_equal(RUN(f, 0x9b), CPU_OK);
    assert_int_equal(v->next_eip, v->eip + 1);
    assert_int_equal(fpu_get_fsw(v) & 0x84, 0x84);
    assert_int_equal(fpu_get_fcw(v) & 0x3f, 0x3b);
    assert_int_equal(f->ferr, 1);
    assert_int_equal(RUN(f, 0xdb, 0xe2), CPU_OK); /* fnclex */
    assert_int_equal(f->ferr, 0);
    assert_int_equal(v->fpu_ferr | v->fpu_ignne, 0);
    assert_int_equal(RUN(f, 0x9b), CPU_OK);
    assert_int_equal(v->next_eip, v->eip + 1);
    /* and again, ended by fldcw under IGNNE# */
    pend(f);
    assert_int_equal(RUN(f, 0x9b), CPU_OK);
    assert_int_equal(v->next_eip, v->eip);
    assert_int_equal(f->ferr, 1);
    v->fpu_ignne = 1;
    f->mem[0x100] = 0x7f;
    f->mem[0x101] = 0x03;
    assert_int_equal(RUN(f, 0xd9, 0x2f), CPU_OK);
    assert_int_equal(fpu_get_fcw(v), 0x37f);
    assert_int_equal(f->ferr, 0);
    fixture_free(f);
}

static void test_xm(void **state)
{
    struct fixture *f = fixture_new();
    struct vcpu *v = f->v;
    u32 mx = 0x1f80 & ~0x200; /* ZM clear */
    static const u32 one = 0x3f800000;

    for (int os = 0; os < 2; os++) {
        fresh(f);
        v->cr4 = CR4_OSFXSR | (os ? CR4_OSXMMEXCPT : 0);
        memcpy(v->fx + 24, &mx, 4);
        memset(v->fx + 160, 0, 128);
        memcpy(v->fx + 160, &one, 4);
        assert_int_equal(RUN(f, 0xf3, 0x0f, 0x5e, 0xc1), CPU_FAULT); /* divss xmm0, xmm1 */
        assert_int_equal(v->fault.vector, os ? EXC_XM : EXC_UD);
        assert_int_equal(v->fault.has_error, 0);
        cpu_fpu_park(v);
        assert_memory_equal(v->fx + 160, &one, 4);
        assert_int_equal(fx_mxcsr(v->fx), mx | 4);
        assert_int_equal(RUN(f, 0xf3, 0x0f, 0x58, 0xc0), CPU_OK); /* addss: an old flag does not matter */
    }
    fixture_free(f);
}

static void test_undefined(void **state)
{
    static const u8 codes[][4] = {
        {0xd9, 0x0f}, /* D9 /1 */
        {0xd9, 0xd1}, /* after fnop */
        {0xd9, 0xe2},
        {0xda, 0xe8},
        {0xdb, 0x0f}, /* fisttp: SSE3 */
        {0xdb, 0x27},
        {0xdd, 0x2f},
        {0xde, 0xd8},
        {0xdf, 0xe1},
        {0x0f, 0x13, 0xc1},       /* movlps store, register form */
        {0x0f, 0x50, 0x07},       /* movmskps, memory form */
        {0x0f, 0x6c, 0xc1},       /* punpcklqdq has no MMX form */
        {0xf2, 0x0f, 0x7c, 0xc1}, /* haddps: SSE3 */
        {0xf2, 0x0f, 0xf0, 0x07}, /* lddqu */
        {0xf3, 0x0f, 0x12, 0xc1}, /* movsldup */
        {0x0f, 0x71, 0xc1},       /* group 71 /0 */
        {0x0f, 0x73, 0xd9},       /* psrldq has no MMX form */
        {0x0f, 0xc3, 0xc1},       /* movnti, register form */
        {0xf3, 0x0f, 0xfe, 0xc1},
        {0x0f, 0xae, 0x27}, /* xsave */
        {0x0f, 0xae, 0xc1},
    };
    for (u32 n = 0; n < ARRAY_SIZE(codes); n++) {
        struct insn i;
        u32 len = codes[n][2] ? codes[n][3] ? 4 : 3 : 2;
        if (fixture_decode(codes[n], len, &i))
            fail_msg("%02x %02x %02x %02x has a handler", codes[n][0], codes[n][1], codes[n][2], codes[n][3]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nm_ud),         cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_memory_faults), cmocka_unit_test(test_mf),
        cmocka_unit_test(test_ferr),          cmocka_unit_test(test_xm),
        cmocka_unit_test(test_undefined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
