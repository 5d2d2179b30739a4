/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ownership of the FPU, environments and FXSAVE images, pointers, thunk sharing, register operands other than
 * eax. */
#include "fixture.h"

static u16 m16(struct fixture *f, u32 at)
{
    u16 w;
    memcpy(&w, f->mem + at, 2);
    return w;
}
static u32 m32(struct fixture *f, u32 at)
{
    u32 d;
    memcpy(&d, f->mem + at, 4);
    return d;
}

static void test_park_live(void **state)
{
    struct fixture *f = fixture_new();
    struct vcpu *v = f->v;
    u8 fx[512];
    u16 cw, sw, tag[14];
    u32 mx;

    for (int n = 0; n < 1000; n++) {
        random_fx(v->fx, n & 1, rng() & 0x3f);
        if (n & 1)
            v->fx[2] = 0xff; /* with unmasked exceptions pending */
        memcpy(fx, v->fx, 512);
        cpu_fpu_live(v);
        cpu_fpu_live(v);
        assert_int_equal(v->fpu_live, 1);
        cpu_fpu_park(v);
        cpu_fpu_park(v);
        __asm__ volatile("fnstcw %0; fnstsw %1; stmxcsr %2" : "=m"(cw), "=m"(sw), "=m"(mx));
        __asm__ volatile("fnstenv %0; fninit" : "=m"(tag));
        assert_int_equal(v->fpu_live, 0);
        assert_int_equal(cw, 0x37f);
        assert_int_equal(sw, 0);
        assert_int_equal(mx, 0x1f80);
        assert_int_equal(tag[4], 0xffff);
        assert_memory_equal(fx, v->fx, 2);
        assert_memory_equal(fx + 4, v->fx + 4, 1);
        assert_memory_equal(fx + 24, v->fx + 24, 4);
        assert_memory_equal(fx + 32, v->fx + 32, 256);
    }
    cpu_fpu_live(v);
    cpu_fpu_reset(v);
    assert_int_equal(v->fpu_live, 0);
    assert_int_equal(v->fx[0], 0x40);
    assert_int_equal(v->fx[4], 0xff);
    assert_int_equal(fx_mxcsr(v->fx), 0x1f80);
    fixture_free(f);
}

/* Executes fld m32 at eip 0x1234 with cs, ds as given, so that the pointers are known. */
static void set_pointers(struct fixture *f)
{
    f->v->gpr[R_EDI] = MEM_LIN + 0x800;
    assert_int_equal(RUN(f, 0xdb, 0xe3), CPU_OK);
    assert_int_equal(RUN(f, 0xd9, 0x07), CPU_OK); /* opcode 107h */
    f->v->gpr[R_EDI] = MEM_LIN;
}

static void test_env_formats(void **state)
{
    struct fixture *f = fixture_new();
    struct vcpu *v = f->v;
    const u16 cs = v->seg[S_CS].sel, ds = v->seg[S_DS].sel;
    u32 dp = MEM_LIN + 0x800, ip = 0x1234;
    u8 native[28];

    /* protected, 32 bits */
    memset(f->mem, 0xcc, MEM_SIZE);
    set_pointers(f);
    cpu_fpu_park(v);
    __asm__ volatile("fxrstor64 %1; fnstenv %0; fninit" : "=m"(native) : "m"(v->fx));
    assert_int_equal(RUN(f, 0xd9, 0x37), CPU_OK);
    assert_memory_equal(f->mem, native, 12);
    assert_int_equal(m16(f, 8), 0x3fff);
    assert_int_equal(m32(f, 12), ip);
    assert_int_equal(m32(f, 16), cs | 0x107 << 16);
    assert_int_equal(m32(f, 20), dp);
    assert_int_equal(m16(f, 24), ds);
    assert_int_equal(f->mem[28], 0xcc);
    assert_int_equal(fpu_get_fcw(v) & 0x3f, 0x3f);
    /* protected, 16 bits */
    memset(f->mem, 0xcc, MEM_SIZE);
    assert_int_equal(RUN(f, 0x66, 0xd9, 0x37), CPU_OK);
    assert_int_equal(m16(f, 4), 0x3fff);
    assert_int_equal(m16(f, 6), ip);
    assert_int_equal(m16(f, 8), cs);
    assert_int_equal(m16(f, 10), (u16)dp);
    assert_int_equal(m16(f, 12), ds);
    assert_int_equal(f->mem[14], 0xcc);
    /* real, 32 bits; V86 is the same */
    v->cr0 &= ~CR0_PE;
    memset(f->mem, 0xcc, MEM_SIZE);
    assert_int_equal(RUN(f, 0xd9, 0x37), CPU_OK);
    ip += cs << 4;
    dp += ds << 4;
    assert_int_equal(m16(f, 12), (u16)ip);
    assert_int_equal(m32(f, 16), (ip >> 16) << 12 | 0x107);
    assert_int_equal(m16(f, 20), (u16)dp);
    assert_int_equal(m32(f, 24), (dp >> 16) << 12);
    v->cr0 |= CR0_PE;
    v->sflags |= FL_VM;
    assert_int_equal(RUN(f, 0xd9, 0x37), CPU_OK);
    assert_int_equal(m32(f, 24), (dp >> 16) << 12);
    /* real, 16 bits */
    memset(f->mem, 0xcc, MEM_SIZE);
    assert_int_equal(RUN(f, 0x66, 0xd9, 0x37), CPU_OK);
    assert_int_equal(m16(f, 6), (u16)ip);
    assert_int_equal(m16(f, 8), (ip >> 16 & 15) << 12 | 0x107);
    assert_int_equal(m16(f, 10), (u16)dp);
    assert_int_equal(m16(f, 12), (dp >> 16 & 15) << 12);
    assert_int_equal(f->mem[14], 0xcc);
    fixture_free(f);
}

/* fnsave, fninit, frstor gives the same state and pointers in every format. */
static void test_save_restore(void **state)
{
    struct fixture *f = fixture_new();
    struct vcpu *v = f->v;

    for (int format = 0; format < 4; format++) {
        for (int n = 0; n < 200; n++) {
            u8 fx[512];
            u8 pfx = format & 1 ? 0x66 : 0x3e;
            const u8 save[] = {pfx, 0xdd, 0x37}, restore[] = {pfx, 0xdd, 0x27};
            u32 size = format & 1 ? 94 : 108;

            fixture_tables(f, n & 1);
            v->sflags = format & 2 ? FL_VM : 0;
            v->gpr[R_EDI] = MEM_LIN + (u32)(rng() % 8000);
            random_fx(v->fx, n & 2, 0x3f);
            memcpy(fx, v->fx, 512);
            memset(f->mem, 0xcc, MEM_SIZE);
            v->fpu_ip = 0xf1234, v->fpu_dp = 0x9876;
            v->fpu_cs = format & 2 ? 0 : 8, v->fpu_ds = format & 2 ? 0 : 16;
            v->fpu_op = 0x345;
            assert_int_equal(fixture_run(f, pfx == 0x66 ? save : save + 1, pfx == 0x66 ? 3 : 2), CPU_OK);
            assert_int_equal(f->mem[v->gpr[R_EDI] - MEM_LIN + size], 0xcc);
            assert_int_equal(v->fpu_ip | v->fpu_dp | v->fpu_cs | v->fpu_ds | v->fpu_op, 0);
            cpu_fpu_park(v);
            assert_int_equal(v->fx[4], 0);
            assert_int_equal(fpu_get_fcw(v), 0x37f);
            assert_int_equal(fixture_run(f, pfx == 0x66 ? restore : restore + 1, pfx == 0x66 ? 3 : 2),
                             CPU_OK);
            cpu_fpu_park(v);
            assert_memory_equal(v->fx, fx, 6);
            for (int r = 0; r < 8; r++)
                assert_memory_equal(v->fx + 32 + 16 * r, fx + 32 + 16 * r, 10);
            assert_memory_equal(v->fx + 160, fx + 160, 128);
            assert_int_equal(v->fpu_ip, format == 1 ? 0x1234 : 0xf1234);
            assert_int_equal(v->fpu_dp, 0x9876);
            assert_int_equal(v->fpu_cs, format & 2 ? 0 : 8);
            assert_int_equal(v->fpu_ds, format & 2 ? 0 : 16);
            assert_int_equal(v->fpu_op, format == 1 ? 0 : 0x345);
            /* the environment alone */
            v->fpu_live = 0;
            assert_int_equal(RUN(f, 0xd9, 0x37), CPU_OK);
            cpu_fpu_park(v);
            v->fx[0] = 0x7f, v->fx[4] = 0;
            assert_int_equal(RUN(f, 0xd9, 0x27), CPU_OK);
            cpu_fpu_park(v);
            assert_memory_equal(v->fx, fx, 6);
        }
    }
    fixture_free(f);
}

static void test_fxsave(void **state)
{
    struct fixture *f = fixture_new();
    struct vcpu *v = f->v;
    struct cpu_model old = *v->model;
    static const u8 save[] = {0x0f, 0xae, 0x07};
    struct insn i;
    u8 fx[512], image[512];
    u32 mx;

    for (int n = 0; n < 200; n++) {
        fixture_tables(f, n & 1);
        memset(f->mem, 0xcc, MEM_SIZE);
        set_pointers(f);
        v->gpr[R_EDI] = MEM_LIN + 0x7f0 + 16 * (n & 15);
        cpu_fpu_park(v);
        random_fx(v->fx, false, rng() & 0x3f);
        memcpy(fx, v->fx, 512);
        assert_true(fixture_decode(save, sizeof(save), &i));
        if (n & 2)
            cpu_fpu_live(v); /* no test code that uses vector registers from here */
        assert_int_equal(fixture_exec(f, &i), CPU_OK);
        memcpy(image, f->mem + (v->gpr[R_EDI] - MEM_LIN), 512);
        assert_memory_equal(image, fx, 5);
        assert_memory_equal(image + 24, fx + 24, 4);
        assert_memory_equal(image + 32, fx + 32, 256);
        assert_int_equal(image[6] | image[7] << 8, 0x107);
        assert_int_equal(*(u32 *)(image + 8), 0x1234);
        assert_int_equal(*(u32 *)(image + 12), v->seg[S_CS].sel);
        assert_int_equal(*(u32 *)(image + 16), MEM_LIN + 0x800);
        assert_int_equal(*(u32 *)(image + 20), v->seg[S_DS].sel);
        assert_int_equal(*(u32 *)(image + 28), 0xffff);
        for (int b = 288; b < 512; b++)
            assert_int_equal(image[b], 0xcc);
        assert_int_equal(RUN(f, 0xdb, 0xe3), CPU_OK);
        assert_int_equal(RUN(f, 0x0f, 0x57, 0xc0), CPU_OK);
        assert_int_equal(RUN(f, 0x0f, 0xae, 0x0f), CPU_OK);
        cpu_fpu_park(v);
        assert_memory_equal(v->fx, fx, 5);
        assert_memory_equal(v->fx + 24, fx + 24, 4);
        assert_memory_equal(v->fx + 32, fx + 32, 256);
        assert_int_equal(v->fpu_ip, 0x1234);
        assert_int_equal(v->fpu_dp, MEM_LIN + 0x800);
        assert_int_equal(v->fpu_op, 0x107);
    }
    /* reserved bits of MXCSR */
    fixture_tables(f, true);
    v->gpr[R_EDI] = MEM_LIN;
    for (int bit = 0; bit < 32; bit++) {
        mx = 1u << bit;
        memcpy(f->mem, image, 512);
        memcpy(f->mem + 24, &mx, 4);
        assert_int_equal(RUN(f, 0x0f, 0xae, 0x0f), bit > 15 ? CPU_FAULT : CPU_OK);
        if (bit > 15)
            assert_int_equal(v->fault.vector, EXC_GP);
        memcpy(f->mem, &mx, 4);
        assert_int_equal(RUN(f, 0x0f, 0xae, 0x17), bit > 15 ? CPU_FAULT : CPU_OK);
        if (bit <= 15) {
            assert_int_equal(RUN(f, 0x0f, 0xae, 0x1f), CPU_OK);
            assert_int_equal(m32(f, 0), mx);
        }
    }
    /* a Pentium III has no DAZ; a Pentium II no XMM registers */
    old.features &= ~CPUF_SSE2;
    v->model = &old;
    mx = 0x1fc0;
    memcpy(f->mem, &mx, 4);
    assert_int_equal(RUN(f, 0x0f, 0xae, 0x17), CPU_FAULT);
    old.features &= ~CPUF_SSE;
    memset(f->mem, 0xcc, 512);
    assert_int_equal(RUN(f, 0x0f, 0xae, 0x07), CPU_OK);
    assert_int_equal(m32(f, 24), 0);
    assert_int_equal(m32(f, 160), 0xcccccccc);
    fixture_free(f);
}

static void test_pointers(void **state)
{
    struct fixture *f = fixture_new();
    struct vcpu *v = f->v;

    set_pointers(f);
    assert_int_equal(RUN(f, 0xd9, 0xe8), CPU_OK); /* fld1: no operand, FDP stays */
    assert_int_equal(v->fpu_op, 0x1e8);
    assert_int_equal(v->fpu_dp, MEM_LIN + 0x800);
    assert_int_equal(RUN(f, 0xd9, 0x3f), CPU_OK); /* control: all stay */
    assert_int_equal(RUN(f, 0xdf, 0xe0), CPU_OK);
    assert_int_equal(RUN(f, 0xd9, 0x2f), CPU_OK);
    assert_int_equal(RUN(f, 0x9b), CPU_OK);
    assert_int_equal(v->fpu_op, 0x1e8);
    assert_int_equal(RUN(f, 0x26, 0xdd, 0x1f), CPU_OK); /* fstp es:[edi] */
    assert_int_equal(v->fpu_op, 0x51f);
    assert_int_equal(v->fpu_ds, v->seg[S_ES].sel);
    assert_int_equal(v->fpu_dp, MEM_LIN);
    fixture_free(f);
}

static void test_registers(void **state)
{
    struct fixture *f = fixture_new();
    struct vcpu *v = f->v;
    struct insn a, b;
    static const u8 one[] = {0x66, 0x0f, 0x6e, 0xd3}, two[] = {0x66, 0x0f, 0x6e, 0xd6};
    u32 count;

    for (u32 r = 0; r < 8; r++) {
        const u8 in[] = {0x66, 0x0f, 0x6e, (u8)(0xd0 | r)}, out[] = {0x66, 0x0f, 0x7e, (u8)(0xd0 | (7 - r))};
        const u8 mask[] = {0x0f, 0x50, (u8)(0xc2 | r << 3)};
        for (u32 n = 0; n < 8; n++)
            v->gpr[n] = 0x81000000 + n;
        assert_int_equal(fixture_run(f, in, 4), CPU_OK); /* movd xmm2, r */
        assert_int_equal(fixture_run(f, out, 4), CPU_OK);
        for (u32 n = 0; n < 8; n++)
            assert_int_equal(v->gpr[n], 0x81000000 + (n == 7 - r ? r : n));
        assert_int_equal(fixture_run(f, mask, 3), CPU_OK); /* movmskps r, xmm2 */
        assert_int_equal(v->gpr[r], 1);
    }
    assert_true(fixture_decode(one, 4, &a));
    count = fpu_thunk_count();
    assert_true(fixture_decode(two, 4, &b));
    assert_ptr_equal(a.thunk, b.thunk);
    assert_int_equal(fpu_thunk_count(), count);
    fixture_free(f);
}

/* maskmov touches selected bytes only, also page by page. */
static void test_maskmov(void **state)
{
    struct fixture *f = fixture_new();
    struct vcpu *v = f->v;

    for (int n = 0; n < 100; n++) {
        u32 off = PAGE_SIZE - 8 + (u32)n % 3;
        u8 *src = v->fx + 160 + 16, *mask = v->fx + 160 + 32;
        u32 selected = 0;

        cpu_fpu_park(v);
        random_fx(v->fx, false, 0x3f);
        memset(f->mem, 0xcc, MEM_SIZE);
        fixture_tables(f, false);
        f->bytes_written = 0;
        v->gpr[R_EDI] = MEM_LIN + off;
        assert_int_equal(RUN(f, 0x66, 0x0f, 0xf7, 0xca), CPU_OK); /* maskmovdqu xmm1, xmm2 */
        cpu_fpu_park(v);
        for (int b = 0; b < 16; b++) {
            assert_int_equal(f->mem[off + b], mask[b] & 0x80 ? src[b] : 0xcc);
            selected += mask[b] >> 7;
        }
        assert_int_equal(f->bytes_written, selected);
    }
    fixture_free(f);
}

/* Garbage images and control words, then anything: the guest may fault, the host never. */
static void test_hostile(void **state)
{
    static const u8 codes[][5] = {
        {2, 0xd9, 0xe8},             /* fld1 */
        {2, 0xde, 0xf9},             /* fdivp */
        {2, 0xd9, 0xfa},             /* fsqrt */
        {1, 0x9b},                   /* fwait */
        {2, 0xd9, 0x2f},             /* fldcw */
        {2, 0xd9, 0x27},             /* fldenv */
        {3, 0x66, 0xd9, 0x27},       /* fldenv, 16-bit */
        {2, 0xdd, 0x27},             /* frstor */
        {2, 0xd9, 0x37},             /* fnstenv */
        {2, 0xdd, 0x37},             /* fnsave */
        {2, 0xdb, 0xe2},             /* fnclex */
        {3, 0x0f, 0xae, 0x0f},       /* fxrstor */
        {3, 0x0f, 0xae, 0x07},       /* fxsave */
        {3, 0x0f, 0xae, 0x17},       /* ldmxcsr */
        {2, 0xdf, 0x37},             /* fbstp */
        {2, 0xdf, 0x27},             /* fbld */
        {2, 0xd8, 0x07},             /* fadd m32 */
        {2, 0xdd, 0x1f},             /* fstp m64 */
        {3, 0x0f, 0xfe, 0xca},       /* paddd mm */
        {2, 0x0f, 0x77},             /* emms */
        {3, 0x0f, 0x5e, 0x07},       /* divps */
        {4, 0x66, 0x0f, 0x59, 0xca}, /* mulpd */
        {3, 0x0f, 0x2d, 0x0f},       /* cvtps2pi */
        {4, 0x66, 0x0f, 0x5a, 0xca}, /* cvtpd2ps */
    };
    struct fixture *f = fixture_new();
    struct vcpu *v = f->v;
    u32 faults = 0;

    for (int n = 0; n < 200000; n++) {
        const u8 *c = codes[rng() % ARRAY_SIZE(codes)];
        u32 at = 16 * (u32)(rng() % 64);
        if (n % 16 == 0) {
            random_mem(f->mem, 2048);
            fixture_tables(f, rng() & 1);
            v->cr0 ^= rng() & CR0_NE;
            v->sflags ^= rng() & FL_VM;
        }
        if (rng() & 1) { /* a valid MXCSR where fxrstor or ldmxcsr will look */
            u32 mx = (u32)rng() & 0xffff;
            memcpy(f->mem + at + (c[3] == 0x17 ? 0 : 24), &mx, 4);
        }
        v->gpr[R_EDI] = MEM_LIN + at;
        if (v->fpu_ferr && (rng() & 1))
            v->fpu_ignne = 1;
        faults += fixture_run(f, c + 1, c[0]) == CPU_FAULT;
    }
    assert_true(faults > 1000);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_park_live),    cmocka_unit_test(test_env_formats),
        cmocka_unit_test(test_save_restore), cmocka_unit_test(test_fxsave),
        cmocka_unit_test(test_pointers),     cmocka_unit_test(test_registers),
        cmocka_unit_test(test_maskmov),      cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
