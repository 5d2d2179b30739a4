/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every form of forms.def, with random operands and states: executed by the interpreter and by the host
 * itself, on the direct path, through the memory callbacks, and across a page boundary; then again with
 * exceptions unmasked, where the host's SIGFPE says what the guest should have seen.
 */
#include "fixture.h"
#include <signal.h>
#include <ucontext.h>

struct form {
    const u8 *stub, *insn, *end;
    const char *text;
    u64 fp;
};

/* u64 stub(void *mem, u32 *eax, const void *fx_in, void *fx_out, u64 flags): loads the state, runs the one
 * instruction, stores the state. The instruction's bytes are also the guest's. */
#define FORM(text, fp)     FORM_(text, fp, __LINE__)
#define FORM_(text, fp, n) FORM__(text, fp, n)
#define FORM__(text, fp, n)                                                                                  \
    __asm__(".pushsection .text\n"                                                                           \
            "stub" #n ": mov (%rsi), %eax; push %r8; popfq; fxrstor64 (%rdx)\n"                              \
            "insn" #n ": " text "\n"                                                                         \
            "end" #n ": pushfq; fxsave64 (%rcx); fninit; pop %r8; mov %eax, (%rsi)\n"                        \
            "push $0x1f80; ldmxcsr (%rsp); pop %rax; mov %r8, %rax; ret\n"                                   \
            ".popsection\n"                                                                                  \
            ".pushsection .rodata.str\n"                                                                     \
            "text" #n ": .asciz \"" text "\"\n"                                                              \
            ".popsection\n"                                                                                  \
            ".pushsection forms, \"aw\"\n"                                                                   \
            ".quad stub" #n ", insn" #n ", end" #n ", text" #n ", " #fp "\n"                                 \
            ".popsection\n");
#include "forms.def"

/* section bounds, made by the linker */
extern const struct form __start_forms[], __stop_forms[];

static sigjmp_buf trap_jmp;
static volatile u32 trap_mxcsr;
static volatile int trap_signo;

static void on_trap(int sig, siginfo_t *si, void *uc)
{
    trap_signo = sig;
    trap_mxcsr = ((ucontext_t *)uc)->uc_mcontext.fpregs->mxcsr;
    siglongjmp(trap_jmp, 1);
}

struct result {
    u8 fx[512] __attribute__((aligned(64)));
    u8 mem[64] __attribute__((aligned(64)));
    u32 eax;
    u64 flags;
    bool trapped;
    u32 mxcsr;
};

static void run_host(const struct form *t, const u8 *fx, const u8 *mem, u32 eax, u64 flags, struct result *r)
{
    static u8 in[512] __attribute__((aligned(64)));

    memcpy(in, fx, 512);
    memcpy(r->mem, mem, 64);
    r->eax = eax;
    r->trapped = false;
    if (sigsetjmp(trap_jmp, 1)) {
        u32 mx = 0x1f80;
        __asm__ volatile("fninit; ldmxcsr %0; cld" : : "m"(mx));
        r->trapped = true;
        r->mxcsr = trap_mxcsr;
        return;
    }
    r->flags = ((u64(*)(void *, u32 *, const void *, void *, u64))(uintptr_t)t->stub)(r->mem, &r->eax, in,
                                                                                      r->fx, flags);
}

enum mode { DIRECT, CALLBACK, CROSSING };

static void fail_form(const struct form *t, const char *what, enum mode mode)
{
    fail_msg("%s: %s differs (mode %d)", t->text, what, mode);
}

static void one(struct fixture *f, const struct form *t, const struct insn *i, enum mode mode,
                bool x87_unmasked, u32 mxcsr_masks)
{
    struct result r;
    struct vcpu *v = f->v;
    u8 fx[512], mem[64], *at;
    u32 off = mode == CROSSING ? PAGE_SIZE - 1 : 256, eax = (u32)rng();
    u32 size = i->memsize ? i->memsize : 16;
    u64 fl = rng() & FL_ARITH;
    int ret;

    if (mode == CROSSING)
        off = PAGE_SIZE - size / 2;
    random_fx(fx, x87_unmasked, mxcsr_masks);
    random_mem(mem, sizeof(mem));
    run_host(t, fx, mem, eax, fl | 2, &r);

    cpu_fpu_park(v);
    memcpy(v->fx, fx, 512);
    at = f->mem + off;
    memcpy(at, mem, 64);
    fixture_tables(f, mode != CALLBACK);
    for (u32 n = 0; n < 8; n++)
        v->gpr[n] = 0xdead0000 + n;
    v->gpr[R_EAX] = eax;
    v->gpr[R_EDI] = MEM_LIN + off;
    v->aflags = (u32)fl;
    if (rng() & 1)
        cpu_fpu_live(v);
    ret = fixture_exec(f, i);
    cpu_fpu_park(v);
    if (r.trapped) {
        u32 want = r.mxcsr;
        if (ret == CPU_OK)
            fail_form(t, "the host trapped; result", mode);
        assert_int_equal(v->fault.vector, EXC_XM);
        if (fx_mxcsr(v->fx) != want)
            fail_msg("%s: mxcsr %04x after the trap, host %04x, before %04x", t->text, fx_mxcsr(v->fx), want,
                     fx_mxcsr(fx));
        memcpy(fx + 24, &want, 4);
        memcpy(r.fx, fx, 288);
        if (strstr(t->text, "2pi") ||
            strstr(t->text, "pi2")) /* switches the x87 to MMX mode even so (tests/insn compares that) */
            memcpy(r.fx, v->fx, 160);
        memcpy(r.mem, mem, 64);
        r.eax = eax;
        r.flags = fl;
    } else if (ret != CPU_OK) {
        fail_msg("%s: fault %d, host none; mxcsr %04x -> host %04x", t->text, v->fault.vector, fx_mxcsr(fx),
                 fx_mxcsr(r.fx));
    }
    if (memcmp(v->fx, r.fx, 6))
        fail_form(t, "x87 control state", mode);
    if (fx_mxcsr(v->fx) != fx_mxcsr(r.fx))
        fail_msg("%s: mxcsr %04x, host %04x, before %04x", t->text, fx_mxcsr(v->fx), fx_mxcsr(r.fx),
                 fx_mxcsr(fx));
    if (memcmp(v->fx + 32, r.fx + 32, 128))
        fail_form(t, "x87 registers", mode);
    if (memcmp(v->fx + 160, r.fx + 160, 128))
        fail_form(t, "xmm registers", mode);
    if (memcmp(at, r.mem, 64))
        fail_form(t, "memory", mode);
    if (v->gpr[R_EAX] != r.eax)
        fail_form(t, "eax", mode);
    for (u32 n = 1; n < 7; n++)
        if (v->gpr[n] != 0xdead0000 + n)
            fail_form(t, "another register", mode);
    if (v->aflags != (r.flags & FL_ARITH))
        fail_form(t, "eflags", mode);
}

static void each(struct fixture *f, bool x87_unmasked, bool sse_unmasked, bool only_fp, u32 rounds)
{
    for (const struct form *t = __start_forms; t < __stop_forms; t++) {
        struct insn i;
        bool maskmov = t->insn[t->end - t->insn - 2] == 0xf7 && t->insn[0] != 0xdd;

        if (only_fp && !t->fp)
            continue;
        if (!fixture_decode(t->insn, (u32)(t->end - t->insn), &i))
            fail_msg("%s: no handler", t->text);
        for (u32 n = 0; n < rounds; n++) {
            enum mode mode = n % 3;
            u32 masks = sse_unmasked ? rng() & 0x3f : 0x3f;
            if (mode == CROSSING && (!(i.has_mem || maskmov) || (i.fpu_attr & FPA_ALIGN)))
                mode = DIRECT;
            one(f, t, &i, mode, x87_unmasked, masks);
        }
    }
}

static void test_masked(void **state)
{
    struct fixture *f = fixture_new();
    each(f, false, false, false, 300);
    fixture_free(f);
}

static void test_x87_unmasked(void **state)
{
    struct fixture *f = fixture_new();
    each(f, true, false, false, 150);
    fixture_free(f);
}

static void test_sse_unmasked(void **state)
{
    struct sigaction sa = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO}, old;
    struct fixture *f = fixture_new();

    sigaction(SIGFPE, &sa, &old); /* here, as cmocka has handlers of its own around a test */
    each(f, false, true, true, 900);
    sigaction(SIGFPE, &old, NULL);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masked),
        cmocka_unit_test(test_x87_unmasked),
        cmocka_unit_test(test_sse_unmasked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
