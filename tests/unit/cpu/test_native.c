/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interpreter against the real CPU: random integer instructions with random registers, flags and memory
 * run through interp_exec() and natively in 32-bit compatibility mode (CS 23h of every 64-bit Linux process),
 * and the complete outcome is compared: registers, arithmetic flags, memory, or the fault.
 *
 * Flags that the manual calls undefined are compared too, except where the code below says otherwise: the
 * interpreter runs the host's own instructions for them.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <cmocka.h>
#include "fixture.h"

#define BASE  0x20000000u
#define CODE  BASE
#define DATA  (BASE + 2 * PAGE_SIZE)
#define STACK (BASE + 6 * PAGE_SIZE)
#define BYTES (FX_PAGES * PAGE_SIZE)

/* What the trampoline loads and stores; below 4 GiB. */
struct native {
    u32 gpr[8];
    u32 eflags;
    u32 target_off;
    u16 target_sel;
    u32 back_off;
    u16 back_sel;
    u64 host_rsp;
};

static struct native *nat;
static u8 *stub, *ram;
static sigjmp_buf escape;
static volatile int got_signal;
static u32 rng_state = 12345;

static u32 rnd(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 17;
    rng_state ^= rng_state << 5;
    return rng_state;
}

static void on_signal(int sig, siginfo_t *si, void *ctx)
{
    ucontext_t *uc = ctx;
    static const int map[16] = {[R_EAX] = REG_RAX, [R_ECX] = REG_RCX, [R_EDX] = REG_RDX, [R_EBX] = REG_RBX,
                                [R_ESP] = REG_RSP, [R_EBP] = REG_RBP, [R_ESI] = REG_RSI, [R_EDI] = REG_RDI};
    for (int n = 0; n < 8; n++)
        nat->gpr[n] = (u32)uc->uc_mcontext.gregs[map[n]];
    nat->eflags = (u32)uc->uc_mcontext.gregs[REG_EFL];
    got_signal = sig;
    siglongjmp(escape, 1);
}

#define PUT(...)                                                                                             \
    do {                                                                                                     \
        const u8 b_[] = {__VA_ARGS__};                                                                       \
        memcpy(p, b_, sizeof(b_));                                                                           \
        p += sizeof(b_);                                                                                     \
    } while (0)
#define A32(x)                                                                                               \
    (u8)(u32)(u64)(x), (u8)((u32)(u64)(x) >> 8), (u8)((u32)(u64)(x) >> 16), (u8)((u32)(u64)(x) >> 24)

static u8 *leave32; /* 32-bit code after the tested instruction jumps here */

static bool native_setup(void)
{
    u8 *low =
        mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    ram = mmap((void *)(u64)BASE, BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (low == MAP_FAILED || ram != (u8 *)(u64)BASE)
        return false;
    nat = (void *)(low + 4096);
    u8 *p = stub = low;

    /* enter (64-bit): save callee-saved registers, switch to the 32-bit half */
    PUT(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* push rbx rbp r12-r15 */
    PUT(0x48, 0x89, 0x24, 0x25, A32(&nat->host_rsp));                /* mov [host_rsp], rsp */
    PUT(0xb8, 0x2b, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0);                /* mov eax, 2b; mov ds, es */
    u8 *enter32 = p + 7;
    nat->target_off = (u32)(u64)enter32;
    nat->target_sel = 0x23;
    PUT(0xff, 0x2c, 0x25, A32(&nat->target_off)); /* jmp far [target] */
    /* 32-bit: registers and flags from nat, then the instruction at CODE */
    PUT(0xbc, A32(&nat->eflags), 0x9d); /* mov esp, &eflags; popf */
    PUT(0xa1, A32(&nat->gpr[0]));
    PUT(0x8b, 0x0d, A32(&nat->gpr[1]), 0x8b, 0x15, A32(&nat->gpr[2]), 0x8b, 0x1d, A32(&nat->gpr[3]));
    PUT(0x8b, 0x25, A32(&nat->gpr[4]), 0x8b, 0x2d, A32(&nat->gpr[5]), 0x8b, 0x35, A32(&nat->gpr[6]));
    PUT(0x8b, 0x3d, A32(&nat->gpr[7]));
    PUT(0xe9, A32((u64)CODE - (u64)(p + 5)));
    leave32 = p;
    PUT(0xa3, A32(&nat->gpr[0]));
    PUT(0x89, 0x0d, A32(&nat->gpr[1]), 0x89, 0x15, A32(&nat->gpr[2]), 0x89, 0x1d, A32(&nat->gpr[3]));
    PUT(0x89, 0x25, A32(&nat->gpr[4]), 0x89, 0x2d, A32(&nat->gpr[5]), 0x89, 0x35, A32(&nat->gpr[6]));
    PUT(0x89, 0x3d, A32(&nat->gpr[7]));
    PUT(0xbc, A32(&nat->target_off), 0x9c); /* mov esp, &eflags+4; pushf */
    nat->back_off = (u32)(u64)(p + 6);
    nat->back_sel = 0x33;
    PUT(0xff, 0x2d, A32(&nat->back_off));                                        /* jmp far [back] */
    PUT(0x48, 0x8b, 0x24, 0x25, A32(&nat->host_rsp));                            /* 64-bit again */
    PUT(0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3); /* cld; pop ...; ret */

    return true;
}

/* cmocka has handlers of its own around each test. */
static void take_signals(void)
{
    static u8 altstack[65536];
    stack_t ss = {.ss_sp = altstack, .ss_size = sizeof(altstack)};
    sigaltstack(&ss, NULL);
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigaction(SIGFPE, &sa, NULL);
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGILL, &sa, NULL);
    sigaction(SIGTRAP, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
}

/* Runs one instruction natively. Returns 0 or the signal. */
static int native_run(void)
{
    got_signal = 0;
    if (sigsetjmp(escape, 0) == 0)
        ((void (*)(void))stub)();
    __asm__ volatile("cld");
    return got_signal;
}

/* ---- random instructions ---- */

/* Opcodes to draw from: two hex digits, "0f" first for the second map; a '/' list names ModRM.reg values. */
struct op {
    u8 map, opcode;
    bool modrm;
    u8 regs;       /* mask of allowed ModRM.reg, 0 = any */
    u8 imm;        /* bytes; 4: operand size */
    u16 undefined; /* flags not compared */
};

static struct op ops[256];
static u32 op_count;

static void add_op(u8 map, u8 opcode, bool modrm, u8 regs, u8 imm, u16 undefined)
{
    ops[op_count++] = (struct op){map, opcode, modrm, regs, imm, undefined};
}

static void build_ops(void)
{
    for (u32 g = 0; g < 8; g++) {
        for (u32 k = 0; k < 4; k++)
            add_op(0, g * 8 + k, true, 0, 0, 0);
        add_op(0, g * 8 + 4, false, 0, 1, 0);
        add_op(0, g * 8 + 5, false, 0, 4, 0);
    }
    /* OF after the decimal instructions is undefined, and the host's microcode has its own idea */
    add_op(0, 0x27, false, 0, 0, FL_OF);
    add_op(0, 0x2f, false, 0, 0, FL_OF);
    add_op(0, 0x37, false, 0, 0, FL_OF | FL_SF | FL_ZF | FL_PF);
    add_op(0, 0x3f, false, 0, 0, FL_OF | FL_SF | FL_ZF | FL_PF);
    add_op(0, 0xd4, false, 0, 1, FL_OF | FL_AF | FL_CF);
    add_op(0, 0xd5, false, 0, 1, FL_OF | FL_AF | FL_CF);
    add_op(0, 0xd6, false, 0, 0, 0);
    for (u32 k = 0x40; k < 0x50; k++)
        add_op(0, k, false, 0, 0, 0);
    for (u32 k = 0x50; k < 0x60; k++)
        add_op(0, k, false, 0, 0, 0);
    add_op(0, 0x60, false, 0, 0, 0);
    add_op(0, 0x61, false, 0, 0, 0);
    add_op(0, 0x68, false, 0, 4, 0);
    add_op(0, 0x69, true, 0, 4, 0);
    add_op(0, 0x6a, false, 0, 1, 0);
    add_op(0, 0x6b, true, 0, 1, 0);
    add_op(0, 0x80, true, 0, 1, 0);
    add_op(0, 0x81, true, 0, 4, 0);
    add_op(0, 0x82, true, 0, 1, 0);
    add_op(0, 0x83, true, 0, 1, 0);
    for (u32 k = 0x84; k < 0x8c; k++)
        add_op(0, k, true, 0, 0, 0);
    add_op(0, 0x8d, true, 0, 0, 0);
    add_op(0, 0x8f, true, 1, 0, 0);
    for (u32 k = 0x90; k < 0x9a; k++)
        add_op(0, k, false, 0, 0, 0);
    add_op(0, 0x9e, false, 0, 0, 0);
    add_op(0, 0x9f, false, 0, 0, 0);
    for (u32 k = 0xa4; k < 0xa8; k++)
        add_op(0, k, false, 0, 0, 0);
    add_op(0, 0xa8, false, 0, 1, 0);
    add_op(0, 0xa9, false, 0, 4, 0);
    for (u32 k = 0xaa; k < 0xb0; k++)
        add_op(0, k, false, 0, 0, 0);
    for (u32 k = 0xb0; k < 0xb8; k++)
        add_op(0, k, false, 0, 1, 0);
    for (u32 k = 0xb8; k < 0xc0; k++)
        add_op(0, k, false, 0, 4, 0);
    add_op(0, 0xc0, true, 0, 1, 0);
    add_op(0, 0xc1, true, 0, 1, 0);
    add_op(0, 0xc6, true, 1, 1, 0);
    add_op(0, 0xc7, true, 1, 4, 0);
    add_op(0, 0xc9, false, 0, 0, 0);
    for (u32 k = 0xd0; k < 0xd4; k++)
        add_op(0, k, true, 0, 0, 0);
    add_op(0, 0xd7, false, 0, 0, 0);
    add_op(0, 0xf5, false, 0, 0, 0);
    add_op(0, 0xf6, true, 0x03, 1, 0);
    add_op(0, 0xf6, true, 0xfc, 0, 0);
    add_op(0, 0xf7, true, 0x03, 4, 0);
    add_op(0, 0xf7, true, 0xfc, 0, 0);
    add_op(0, 0xf8, false, 0, 0, 0);
    add_op(0, 0xf9, false, 0, 0, 0);
    add_op(0, 0xfc, false, 0, 0, 0);
    add_op(0, 0xfd, false, 0, 0, 0);
    add_op(0, 0xfe, true, 3, 0, 0);
    add_op(0, 0xff, true, 0x43, 0, 0);
    for (u32 k = 0x40; k < 0x50; k++)
        add_op(1, k, true, 0, 0, 0);
    for (u32 k = 0x90; k < 0xa0; k++)
        add_op(1, k, true, 0, 0, 0);
    static const u8 two[] = {0xa3, 0xab, 0xb3, 0xbb, 0xa5, 0xad, 0xaf, 0xb0, 0xb1,
                             0xb6, 0xb7, 0xbe, 0xbf, 0xbc, 0xbd, 0xc0, 0xc1, 0x1f};
    for (u32 k = 0; k < sizeof(two); k++)
        add_op(1, two[k], true, 0, 0, 0);
    add_op(1, 0xa4, true, 0, 1, 0);
    add_op(1, 0xac, true, 0, 1, 0);
    add_op(1, 0xba, true, 0xf0, 1, 0);
    add_op(1, 0xc7, true, 2, 0, 0);
    for (u32 k = 0xc8; k < 0xd0; k++)
        add_op(1, k, false, 0, 0, 0);
}

/* Writes a random instruction of kind o at code; returns its length. Memory operands stay inside DATA. */
static u32 gen_insn(const struct op *o, u8 *code)
{
    u8 *p = code;
    bool w66 = rnd() % 3 == 0;

    if (w66)
        *p++ = 0x66;
    if (o->map == 0 && o->opcode >= 0xa4 && o->opcode <= 0xaf && (o->opcode & 0xfe) != 0xa8 && rnd() % 2)
        *p++ = rnd() % 2 ? 0xf2 : 0xf3;
    if (o->map)
        *p++ = 0x0f;
    *p++ = o->opcode;
    if (o->modrm) {
        u8 reg;
        do
            reg = rnd() & 7;
        while (o->regs && !(o->regs >> reg & 1));
        bool mem_only = o->opcode == 0x8d || (o->map && o->opcode == 0xc7);
        if (!mem_only && rnd() % 2) {
            *p++ = 0xc0 | reg << 3 | (rnd() & 7);
        } else if (rnd() % 4 == 0) { /* [disp32] */
            u32 a = DATA + rnd() % 4096;
            *p++ = reg << 3 | 5;
            memcpy(p, &a, 4);
            p += 4;
        } else if (rnd() % 2) { /* [ebx + disp8] or [esi + disp32] */
            if (rnd() % 2) {
                *p++ = 0x40 | reg << 3 | R_EBX;
                *p++ = rnd() & 0xff;
            } else {
                u32 a = rnd() % 512;
                *p++ = 0x80 | reg << 3 | R_ESI;
                memcpy(p, &a, 4);
                p += 4;
            }
        } else { /* [ebp + edx*scale + disp8], [esp + disp8] */
            *p++ = 0x40 | reg << 3 | 4;
            *p++ = rnd() % 2 ? (u8)((rnd() & 3) << 6 | R_EDX << 3 | R_EBP) : 0x24;
            *p++ = rnd() & 0x7f;
        }
    }
    u32 n = o->imm == 4 ? (w66 ? 2 : 4) : o->imm;
    for (; n; n--)
        *p++ = rnd() & 0xff;
    return p - code;
}

static u32 interesting(void)
{
    static const u32 t[] = {0,          1,           0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
                            0x7fffffff, 0x80000000u, ~0u,  0x10, 0x1f, 0x20,   9};
    return rnd() % 3 == 0 ? t[rnd() % ARRAY_SIZE(t)] : rnd() >> (rnd() & 31);
}

static void compare_one(struct fx *f, const struct op *o, u32 number)
{
    u8 code[32];
    u32 len = gen_insn(o, code), gpr[8], fl;
    struct insn in;
    char text[96];

    gpr[R_EAX] = interesting();
    gpr[R_ECX] = interesting();
    gpr[R_EDX] = rnd() & 0xff;
    if (o->map == 0 && (o->opcode & 0xfe) == 0xf6) /* let some divisions succeed */
        gpr[R_EDX] = rnd() % 4 ? rnd() & 0xff : interesting();
    gpr[R_EBX] = DATA + 2048 + (rnd() & 0xff);
    gpr[R_EBP] = DATA + 4096 + (rnd() & 0xfff);
    gpr[R_ESP] = STACK + (rnd() & 0xfff & (rnd() % 8 ? ~3u : ~0u));
    gpr[R_ESI] = DATA + 4096 + (rnd() & 0xff);
    gpr[R_EDI] = DATA + 4096 + (rnd() & 0x1ff);
    bool string = o->map == 0 && o->opcode >= 0xa4 && o->opcode <= 0xaf && (o->opcode & 0xfe) != 0xa8;
    if (string)
        gpr[R_ECX] = rnd() & 0x3f;
    if (o->map == 1 && (o->opcode & 0xe7) == 0xa3 &&
        (code[len - 1] & 0xc0) != 0xc0) { /* bit strings: stay near */
        gpr[R_ECX] = (rnd() & 0x3ff) - 0x200;
        gpr[R_EAX] = (rnd() & 0x3ff) - 0x200;
    }
    fl = FL_1 | (rnd() & FL_ARITH) | (string && rnd() % 2 ? FL_DF : 0);

    /* some equal bytes, for the comparisons */
    u32 fill = rnd() % 4 == 0 ? 0x20202020 : 0;
    for (u32 n = 0; n < 5 * PAGE_SIZE; n += 4)
        *(u32 *)(f->ram + 2 * PAGE_SIZE + n) = fill ? fill : rnd();
    memcpy(ram + 2 * PAGE_SIZE, f->ram + 2 * PAGE_SIZE, 6 * PAGE_SIZE);

    memcpy(ram, code, len);
    ram[len] = 0xe9;
    *(i32 *)(ram + len + 1) = (i32)((u64)leave32 - (CODE + len + 5));
    assert_int_equal(insn_decode(&fx_model_full, code, 15, true, &in), 0);
    insn_format(&in, CODE, true, text, sizeof(text));
    if (in.len != len || in.fn == insn_ud)
        fail_msg("%s: length %u, expected %u", text, in.len, len);

    fx_reset_cpu(f);
    memcpy(f->v->gpr, gpr, sizeof(gpr));
    f->v->aflags = fl & FL_HOST;
    int r = interp_exec(f->v, &in);

    memcpy(nat->gpr, gpr, sizeof(gpr));
    nat->eflags = fl | FL_IF;
    int sig = native_run();

    if ((r != CPU_OK) != (sig != 0))
        fail_msg("case %u: %s: interpreter %s, native signal %d", number, text, r ? "faults" : "ok", sig);
    if (sig) {
        int want = f->v->fault.vector == EXC_DE ? SIGFPE : SIGSEGV;
        if (sig != want)
            fail_msg("case %u: %s: fault %u, native signal %d", number, text, f->v->fault.vector, sig);
    }
    for (int n = 0; n < 8; n++) {
        if (f->v->gpr[n] != nat->gpr[n])
            fail_msg(
                "case %u: %s: register %d: interpreter %08x, native %08x (before: %08x; eax %08x ecx %08x)",
                number, text, n, f->v->gpr[n], nat->gpr[n], gpr[n], gpr[R_EAX], gpr[R_ECX]);
    }
    u32 diff = (f->v->aflags ^ nat->eflags) & FL_HOST & ~o->undefined;
    if (diff && !sig)
        fail_msg(
            "case %u: %s: flags: interpreter %04x, native %04x (before %04x; eax %08x ecx %08x edx %08x)",
            number, text, f->v->aflags, nat->eflags & FL_HOST, fl, gpr[R_EAX], gpr[R_ECX], gpr[R_EDX]);
    /* the flag liveness must cover what happened */
    u32 changed = (f->v->aflags ^ fl) & FL_HOST;
    if (!sig && (changed & ~in.fl_write))
        fail_msg("case %u: %s: changes flags %04x that fl_write %04x lacks", number, text, changed,
                 in.fl_write);
    if (memcmp(ram + 2 * PAGE_SIZE, f->ram + 2 * PAGE_SIZE, 6 * PAGE_SIZE) != 0)
        fail_msg("case %u: %s: memory differs", number, text);
}

static void run_all(bool tables, u32 rounds)
{
    struct fx *f = fx_create(BASE);
    take_signals();
    f->use_tables = tables;
    for (u32 n = 0; n < FX_PAGES; n++)
        fx_set_page(f, n, PG_RW);
    for (u32 n = 0; n < op_count; n++) {
        for (u32 k = 0; k < rounds; k++)
            compare_one(f, &ops[n], n * rounds + k);
    }
    fx_destroy(f);
}

static void test_native_fast(void **state)
{
    if (!nat)
        skip();
    run_all(true, 300);
}
static void test_native_slow(void **state)
{
    if (!nat)
        skip();
    run_all(false, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_native_fast),
        cmocka_unit_test(test_native_slow),
    };
    build_ops();
    if (!native_setup())
        nat = NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
