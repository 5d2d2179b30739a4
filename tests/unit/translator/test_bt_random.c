/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Translator against interpreter: random straight-line programs over every copied instruction form, run by
 * both engines from the same state in flat protected mode without paging, and compared in registers, flags
 * and memory.
 *
 * A mismatch is shrunk to the shortest failing prefix and printed with its bytes, so that it can become a
 * case of its own. NOVT_SEED and NOVT_PROGRAMS choose other and longer runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/opts.h"
#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "memory/memory.h"
#include "monitor/monitor.h"
#include "shadowpt/shadowpt.h"
#include "tests/bare_cpu.h"

#define RAM   (4 * MiB)
#define CODE  0x100000u
#define DATA  0x200000u
#define STACK 0x280000u

struct side {
    struct memory *m;
    struct vcpu *v;
};

static const struct cpu_ops ops = {
    SHADOW_CPU_OPS,
    BARE_CPU_OPS,
};

static bool windows; /* the translator's side uses window form */

static void side_init(struct side *s, bool bt, u64 opts)
{
    int err;

    s->m = memory_create(RAM, &err);
    assert_non_null(s->m);
    s->v = cpu_create(cpu_model_find("qemu32"), &ops, opts);
    assert_int_equal(shadow_create(s->v, s->m, 4), 0);
    if (bt) {
        struct monitor_config cfg = {.tcache_bytes = 1 * MiB, .windows_always = windows, .verify = true};
        assert_int_equal(monitor_create(s->v, s->m, &cfg), 0);
    }
}

static void side_done(struct side *s)
{
    monitor_destroy(s->v);
    shadow_destroy(s->v);
    cpu_destroy(s->v);
    memory_destroy(s->m);
}

static bool undefined_ok; /* instructions that leave flags undefined may be generated */

/* xorshift: the same numbers everywhere */
static u64 rng;
static u32 rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (u32)(rng >> 16);
}
static u32 below(u32 n)
{
    return rnd() % n;
}

/* One instruction form: opcode bytes, then ModRM and immediate. */
struct form {
    const char *op;
    u8 n;
    char modrm; /* 'v' general registers, 'b' byte registers, 'd' reg field is a digit, 'x' XMM, 'm' MMX, 'M'
                   memory only, 'f' x87 memory, 0 none */
    u8 digits;  /* for 'd'/'f': which /digits are allowed (bit mask) */
    u8 imm;     /* bytes; 0xff: operand size */
    u8 word;    /* a 66 prefix is allowed */
    u8 nomem;   /* registers only */
};
#define F(op, ...)                                                                                           \
    {                                                                                                        \
        op, sizeof(op) - 1, __VA_ARGS__                                                                      \
    }
static const struct form forms[] = {
    F("\x00", 'b', 0, 0, 0, 0),         F("\x01", 'v', 0, 0, 1, 0),
    F("\x02", 'b', 0, 0, 0, 0),         F("\x03", 'v', 0, 0, 1, 0),
    F("\x04", 0, 0, 1, 0, 0),           F("\x05", 0, 0, 0xff, 1, 0),
    F("\x08", 'b', 0, 0, 0, 0),         F("\x09", 'v', 0, 0, 1, 0),
    F("\x10", 'b', 0, 0, 0, 0),         F("\x11", 'v', 0, 0, 1, 0),
    F("\x13", 'v', 0, 0, 1, 0),         F("\x18", 'b', 0, 0, 0, 0),
    F("\x19", 'v', 0, 0, 1, 0),         F("\x1a", 'b', 0, 0, 0, 0),
    F("\x1b", 'v', 0, 0, 1, 0),         F("\x21", 'v', 0, 0, 1, 0),
    F("\x28", 'b', 0, 0, 0, 0),         F("\x29", 'v', 0, 0, 1, 0),
    F("\x2b", 'v', 0, 0, 1, 0),         F("\x31", 'v', 0, 0, 1, 0),
    F("\x32", 'b', 0, 0, 0, 0),         F("\x38", 'b', 0, 0, 0, 0),
    F("\x39", 'v', 0, 0, 1, 0),         F("\x3b", 'v', 0, 0, 1, 0),
    F("\x3c", 0, 0, 1, 0, 0),           F("\x3d", 0, 0, 0xff, 1, 0),
    F("\x27", 0, 0, 0, 0, 0),           F("\x2f", 0, 0, 0, 0, 0),
    F("\x37", 0, 0, 0, 0, 0),           F("\x3f", 0, 0, 0, 0, 0),
    F("\x40", 0, 0, 0, 1, 0),           F("\x41", 0, 0, 0, 1, 0),
    F("\x4a", 0, 0, 0, 1, 0),           F("\x48", 0, 0, 0, 1, 0),
    F("\x50", 0, 0, 0, 1, 0),           F("\x51", 0, 0, 0, 1, 0),
    F("\x54", 0, 0, 0, 1, 0),           F("\x58", 0, 0, 0, 1, 0),
    F("\x5a", 0, 0, 0, 1, 0),           F("\x68", 0, 0, 0xff, 1, 0),
    F("\x6a", 0, 0, 1, 1, 0),           F("\x69", 'v', 0, 0xff, 1, 0),
    F("\x6b", 'v', 0, 1, 1, 0),         F("\x80", 'b', 0xff, 1, 0, 0),
    F("\x81", 'd', 0xff, 0xff, 1, 0),   F("\x83", 'd', 0xff, 1, 1, 0),
    F("\x84", 'b', 0, 0, 0, 0),         F("\x85", 'v', 0, 0, 1, 0),
    F("\x86", 'b', 0, 0, 0, 0),         F("\x87", 'v', 0, 0, 1, 0),
    F("\x88", 'b', 0, 0, 0, 0),         F("\x89", 'v', 0, 0, 1, 0),
    F("\x8a", 'b', 0, 0, 0, 0),         F("\x8b", 'v', 0, 0, 1, 0),
    F("\x8c", 'd', 0x0f, 0, 1, 0),      F("\x8d", 'M', 0, 0, 1, 0),
    F("\x90", 0, 0, 0, 0, 0),           F("\x91", 0, 0, 0, 1, 0),
    F("\x92", 0, 0, 0, 1, 0),           F("\x98", 0, 0, 0, 1, 0),
    F("\x99", 0, 0, 0, 1, 0),           F("\x9c", 0, 0, 0, 1, 0),
    F("\x9d", 0, 0, 0, 0, 0),           F("\x9e", 0, 0, 0, 0, 0),
    F("\x9f", 0, 0, 0, 0, 0),           F("\xa8", 0, 0, 1, 0, 0),
    F("\xa9", 0, 0, 0xff, 1, 0),        F("\xb0", 0, 0, 1, 0, 0),
    F("\xb4", 0, 0, 1, 0, 0),           F("\xb5", 0, 0, 1, 0, 0),
    F("\xb8", 0, 0, 0xff, 1, 0),        F("\xb9", 0, 0, 0xff, 1, 0),
    F("\xc0", 'b', 0xff, 1, 0, 0),      F("\xc1", 'd', 0xff, 1, 1, 0),
    F("\xd0", 'b', 0xff, 0, 0, 0),      F("\xd1", 'd', 0xff, 0, 1, 0),
    F("\xd2", 'b', 0xff, 0, 0, 0),      F("\xd3", 'd', 0xff, 0, 1, 0),
    F("\xc6", 'b', 1, 1, 0, 0),         F("\xc7", 'd', 1, 0xff, 1, 0),
    F("\xd6", 0, 0, 0, 0, 0),           F("\xf5", 0, 0, 0, 0, 0),
    F("\xf8", 0, 0, 0, 0, 0),           F("\xf9", 0, 0, 0, 0, 0),
    F("\xfc", 0, 0, 0, 0, 0),           F("\xf6", 'b', 0x3c, 0, 0, 0),
    F("\xf7", 'd', 0x3c, 0, 1, 0),      F("\xfe", 'b', 3, 0, 0, 0),
    F("\xff", 'd', 0x43, 0, 1, 0),      F("\x8f", 'd', 1, 0, 1, 0),
    F("\xa4", 0, 0, 0, 0, 0),           F("\xa5", 0, 0, 0, 1, 0),
    F("\xa6", 0, 0, 0, 0, 0),           F("\xa7", 0, 0, 0, 1, 0),
    F("\xaa", 0, 0, 0, 0, 0),           F("\xab", 0, 0, 0, 1, 0),
    F("\xac", 0, 0, 0, 0, 0),           F("\xad", 0, 0, 0, 1, 0),
    F("\xae", 0, 0, 0, 0, 0),           F("\xfa", 0, 0, 0, 0, 0),
    F("\xfb\x90", 0, 0, 0, 0, 0),       F("\xc9\x55", 0, 0, 0, 0, 0),
    F("\x0f\x40", 'v', 0, 0, 1, 0),     F("\x0f\x42", 'v', 0, 0, 1, 0),
    F("\x0f\x4d", 'v', 0, 0, 1, 0),     F("\x0f\x4e", 'v', 0, 0, 1, 0),
    F("\x0f\x90", 'b', 1, 0, 0, 0),     F("\x0f\x94", 'b', 1, 0, 0, 0),
    F("\x0f\x9c", 'b', 1, 0, 0, 0),     F("\x0f\x9a", 'b', 1, 0, 0, 0),
    F("\x0f\xa3", 'v', 0, 0, 1, 0),     F("\x0f\xab", 'v', 0, 0, 1, 0),
    F("\x0f\xb3", 'v', 0, 0, 1, 0),     F("\x0f\xbb", 'v', 0, 0, 1, 0),
    F("\x0f\xba", 'd', 0xf0, 1, 1, 0),  F("\x0f\xa4", 'v', 0, 1, 0, 0),
    F("\x0f\xac", 'v', 0, 1, 0, 0),     F("\x0f\xa5", 'v', 0, 0, 0, 0),
    F("\x0f\xad", 'v', 0, 0, 0, 0),     F("\x0f\xaf", 'v', 0, 0, 1, 0),
    F("\x0f\xb0", 'b', 0, 0, 0, 0),     F("\x0f\xb1", 'v', 0, 0, 1, 0),
    F("\x0f\xc0", 'b', 0, 0, 0, 0),     F("\x0f\xc1", 'v', 0, 0, 1, 0),
    F("\x0f\xb6", 'v', 0, 0, 1, 0),     F("\x0f\xb7", 'v', 0, 0, 0, 0),
    F("\x0f\xbe", 'v', 0, 0, 1, 0),     F("\x0f\xbf", 'v', 0, 0, 0, 0),
    F("\x0f\xbc", 'v', 0, 0, 1, 0),     F("\x0f\xbd", 'v', 0, 0, 1, 0),
    F("\xf3\x0f\xbc", 'v', 0, 0, 0, 0), F("\x0f\xc8", 0, 0, 0, 0, 0),
    F("\x0f\xc9", 0, 0, 0, 0, 0),       F("\x0f\xc7", 'd', 2, 0, 0, 2),
    F("\x0f\x1f", 'd', 1, 0, 1, 0),     F("\xd8", 'f', 0xff, 0, 0, 0),
    F("\xd9", 'f', 0x0d, 0, 0, 0),      F("\xda", 'f', 0xff, 0, 0, 0),
    F("\xdb", 'f', 0x0d, 0, 0, 0),      F("\xdc", 'f', 0xff, 0, 0, 0),
    F("\xdd", 'f', 0x0d, 0, 0, 0),      F("\xde", 'f', 0xff, 0, 0, 0),
    F("\xdf", 'f', 0x2d, 0, 0, 0),      F("\xd8", 'f', 0xff, 0, 0, 1),
    F("\xdc", 'f', 0xf3, 0, 0, 1),      F("\xde", 'f', 0xf3, 0, 0, 1),
    F("\xd9\xe8", 0, 0, 0, 0, 0),       F("\xd9\xc9", 0, 0, 0, 0, 0),
    F("\xd9\xe0", 0, 0, 0, 0, 0),       F("\xd9\xfa", 0, 0, 0, 0, 0),
    F("\xdf\xe0", 0, 0, 0, 0, 0),       F("\xdb\xf0", 0, 0, 0, 0, 0),
    F("\xda\xc1", 0, 0, 0, 0, 0),       F("\x0f\x58", 'x', 0, 0, 0, 0),
    F("\xf3\x0f\x58", 'x', 0, 0, 0, 0), F("\xf2\x0f\x59", 'x', 0, 0, 0, 0),
    F("\x66\x0f\x5e", 'x', 0, 0, 0, 0), F("\x0f\x10", 'x', 0, 0, 0, 0),
    F("\x0f\x11", 'x', 0, 0, 0, 0),     F("\xf2\x0f\x10", 'x', 0, 0, 0, 0),
    F("\xf2\x0f\x11", 'x', 0, 0, 0, 0), F("\x66\x0f\x6f", 'x', 0, 0, 0, 0),
    F("\x66\x0f\xef", 'x', 0, 0, 0, 0), F("\x66\x0f\xfe", 'x', 0, 0, 0, 0),
    F("\x66\x0f\x70", 'x', 0, 1, 0, 0), F("\x0f\xc6", 'x', 0, 1, 0, 0),
    F("\x66\x0f\x2f", 'x', 0, 0, 0, 0), F("\x0f\x2e", 'x', 0, 0, 0, 0),
    F("\xf2\x0f\x2a", 'v', 0, 0, 0, 0), F("\xf2\x0f\x2c", 'v', 0, 0, 0, 0),
    F("\xf3\x0f\x2d", 'v', 0, 0, 0, 0), F("\x66\x0f\x6e", 'v', 0, 0, 0, 0),
    F("\x66\x0f\x7e", 'v', 0, 0, 0, 0), F("\xf3\x0f\x7e", 'x', 0, 0, 0, 0),
    F("\x66\x0f\xd6", 'x', 0, 0, 0, 0), F("\x0f\x50", 'v', 0, 0, 0, 1),
    F("\x66\x0f\xd7", 'v', 0, 0, 0, 1), F("\x66\x0f\xc5", 'v', 0, 1, 0, 1),
    F("\x66\x0f\xc4", 'v', 0, 1, 0, 0), F("\xf2\x0f\xc2", 'x', 0, 1, 0, 0),
    F("\x0f\xae\x1b", 0, 0, 0, 0, 0),   F("\x0f\x6f", 'm', 0, 0, 0, 0),
    F("\x0f\x7f", 'm', 0, 0, 0, 0),     F("\x0f\xfc", 'm', 0, 0, 0, 0),
    F("\x0f\x73", 'd', 0x44, 1, 0, 1),  F("\x0f\x6e", 'v', 0, 0, 0, 0),
    F("\x0f\xc3", 'M', 0, 0, 0, 0),     F("\x0f\x18", 'd', 2, 0, 0, 2),
    F("\x0f\xae\xf0", 0, 0, 0, 0, 0),   F("\x74\x00", 0, 0, 0, 0, 0),
    F("\x7c\x01\x40", 0, 0, 0, 0, 0),   F("\x72\x02\x40\x41", 0, 0, 0, 0, 0),
    F("\xeb\x01\x90", 0, 0, 0, 0, 0),   F("\xe8\x00\x00\x00\x00\x58", 0, 0, 0, 0, 0),
    F("\xe3\x01\x42", 0, 0, 0, 0, 0),   F("\xe2\x01\x42", 0, 0, 0, 0, 0),
    F("\x06", 0, 0, 0, 0, 0),           F("\x1e\x5a", 0, 0, 0, 0, 0),
    F("\x60\x61", 0, 0, 0, 0, 0),       F("\xf3\x90", 0, 0, 0, 0, 0),
};

static u32 modrm_mem(u8 *p, u32 reg)
{
    static const u8 bases[] = {3, 5, 6, 7};
    u32 b = bases[below(4)];

    switch (below(6)) {
    case 0: /* [esp + disp8] */
        p[0] = (u8)(0x44 | reg << 3);
        p[1] = 0x24;
        p[2] = (u8)below(128);
        return 3;
    case 1: { /* [disp32] */
        u32 d = DATA + below(0x2000);
        p[0] = (u8)(0x05 | reg << 3);
        memcpy(p + 1, &d, 4);
        return 5;
    }
    case 2: { /* [base + disp32] */
        i32 d = (i32)below(0x1000) - 0x800;
        p[0] = (u8)(0x80 | reg << 3 | b);
        memcpy(p + 1, &d, 4);
        return 5;
    }
    case 3: /* [base + edi*scale... index kept small: esi and edi differ from DATA by < 64K] */
        p[0] = (u8)(0x44 | reg << 3);
        p[1] = (u8)(below(4) << 6 | (below(2) ? 1 : 4) << 3 | b); /* index ecx or none */
        p[2] = (u8)rnd();
        return 3;
    default: /* [base + disp8] */
        p[0] = (u8)(0x40 | reg << 3 | b);
        p[1] = (u8)rnd();
        return 2;
    }
}

/* Flags that the architecture leaves undefined keep their old value on some CPUs; the translator does not
 * bring dead flags back for them unless --no-opt=flags. */
static bool leaves_undefined(const u8 *p, u32 n)
{
    u32 k = p[0] == 0x66 || p[0] == 0xf3 ? 1 : 0;

    (void)n;
    if (p[k] == 0x0f)
        return p[k + 1] == 0xaf || p[k + 1] == 0xbc || p[k + 1] == 0xbd || p[k + 1] == 0xa3 ||
               p[k + 1] == 0xab || p[k + 1] == 0xb3 || p[k + 1] == 0xbb || p[k + 1] == 0xba;
    return p[k] == 0x69 || p[k] == 0x6b || ((p[k] == 0xf6 || p[k] == 0xf7) && (p[k + 1] & 0x20));
}

static u32 gen_one(u8 *p)
{
    static const u8 gregs[] = {0, 1, 2}, bregs[] = {0, 1, 2, 4, 5, 6};
    const struct form *f = &forms[below(ARRAY_SIZE(forms))];
    bool word = f->word && below(4) == 0;
    u32 n = 0, reg, rm;

    if (word)
        p[n++] = 0x66;
    memcpy(p + n, f->op, f->n);
    n += f->n;
    if (f->modrm) {
        bool mem = f->modrm == 'M' || f->nomem == 2 || (!f->nomem && below(2));
        do
            reg = below(8);
        while (f->digits && !(f->digits >> reg & 1));
        rm = below(8);
        if (!f->digits && (f->modrm == 'v' || f->modrm == 'M'))
            reg = gregs[below(3)];
        if (!f->digits && f->modrm == 'b')
            reg = bregs[below(6)];
        rm = f->modrm == 'b'                                         ? bregs[below(6)]
             : f->modrm == 'x' || f->modrm == 'm' || f->modrm == 'f' ? below(8)
                                                                     : gregs[below(3)];
        if (mem)
            n += modrm_mem(p + n, reg);
        else
            p[n++] = (u8)(0xc0 | reg << 3 | rm);
    }
    for (u32 k = f->imm == 0xff ? (word ? 2 : 4) : f->imm; k; k--)
        p[n++] = (u8)rnd();
    return n;
}

static u32 gen_insn(u8 *p)
{
    u32 n;
    do
        n = gen_one(p);
    while (!undefined_ok && leaves_undefined(p, n));
    return n;
}

static void set_flat(struct vcpu *v)
{
    for (int s = 0; s < 6; s++) {
        v->seg[s].sel = s == S_CS ? 0x10 : 0x18;
        v->seg[s].base = 0;
        v->seg[s].limit = 0xffffffff;
        v->seg[s].attr = SA_P | SA_S | SA_DB | SA_G | SA_A | SA_RW | (s == S_CS ? SA_CODE : 0);
        seg_refresh(&v->seg[s]);
    }
    v->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_MP;
    v->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
    v->idtr.limit = 0;
    cpu_update_mode(v);
}

static void load(struct side *s, const u8 *code, u32 len, const u8 *data, const u32 *regs, u32 flags)
{
    struct vcpu *v = s->v;

    cpu_fpu_park(v);
    cpu_reset(v);
    set_flat(v);
    memory_write(s->m, DATA - 0x8000, data, 0x18000);
    memory_write(s->m, STACK - 0x1000, data, 0x2000);
    memory_write(s->m, CODE, code, len);
    memcpy(v->gpr, regs, 32);
    v->eip = CODE;
    cpu_set_eflags(v, flags | 2);
    v->fx[0] = 0x7f; /* as after fninit: all exceptions masked */
    v->fx[1] = 0x03;
    v->fx[4] = 0;
    v->events = 0;
    v->kick = 0;
}

static void run(struct side *s)
{
    if (s->v->tc)
        monitor_run_bt(s->v);
    else
        monitor_run_interp(s->v);
    cpu_fpu_park(s->v);
}

static const char *compare(struct side *a, struct side *b, char *why, size_t size)
{
    static u8 ma[0x18000], mb[0x18000];
    struct vcpu *x = a->v, *y = b->v;

    for (int r = 0; r < 8; r++)
        if (x->gpr[r] != y->gpr[r]) {
            snprintf(why, size, "reg %d: interp %08x bt %08x", r, x->gpr[r], y->gpr[r]);
            return why;
        }
    if (!undefined_ok &&
        x->events == EV_SHUTDOWN) /* flags that die in the unit are not exact at a fault: see flags.c */
        x->aflags = y->aflags;
    y->events &= ~(EV_MODE | EV_SMC); /* the monitor's own */
    x->events &= ~(EV_MODE | EV_SMC);
    if (x->eip != y->eip || cpu_eflags(x) != cpu_eflags(y) || x->events != y->events) {
        snprintf(why, size, "eip %08x/%08x eflags %08x/%08x events %x/%x", x->eip, y->eip, cpu_eflags(x),
                 cpu_eflags(y), x->events, y->events);
        return why;
    }
    if (memcmp(x->fx, y->fx, 6) || memcmp(x->fx + 24, y->fx + 24, 4) || memcmp(x->fx + 32, y->fx + 32, 256)) {
        for (int n = 0; n < 288; n++)
            if (x->fx[n] != y->fx[n] && !(n >= 6 && n < 24)) {
                snprintf(why, size, "fx byte %d: %02x/%02x", n, x->fx[n], y->fx[n]);
                return why;
            }
    }
    memory_read(a->m, DATA - 0x8000, ma, sizeof(ma));
    memory_read(b->m, DATA - 0x8000, mb, sizeof(mb));
    for (u32 n = 0; n < sizeof(ma); n++)
        if (ma[n] != mb[n]) {
            snprintf(why, size, "memory %08x: %02x/%02x", DATA - 0x8000 + n, ma[n], mb[n]);
            return why;
        }
    memory_read(a->m, STACK - 0x1000, ma, 0x2000);
    memory_read(b->m, STACK - 0x1000, mb, 0x2000);
    for (u32 n = 0; n < 0x2000; n++)
        if (ma[n] != mb[n]) {
            snprintf(why, size, "stack %08x: %02x/%02x", STACK - 0x1000 + n, ma[n], mb[n]);
            return why;
        }
    return NULL;
}

static const char *run_both(struct side *a, struct side *b, const u8 *code, u32 len, const u8 *data,
                            const u32 *regs, u32 flags, char *why, size_t size)
{
    u8 prog[1024];

    memcpy(prog, code, len);
    memset(prog + len, 0xf4, 16);
    load(a, prog, len + 16, data, regs, flags);
    load(b, prog, len + 16, data, regs, flags);
    run(a);
    run(b);
    return compare(a, b, why, size);
}

static void random_programs(u64 opts, u32 programs)
{
    static u8 data[0x18000];
    struct side a, b;
    char why[160];

    undefined_ok = !(opts & OPT(flags));
    side_init(&a, false, OPT_ALL);
    side_init(&b, true, opts);
    for (u32 p = 0; p < programs; p++) {
        u8 code[800];
        u32 at[41], n = 1 + below(40), len = 0, regs[8];

        for (u32 k = 0; k < sizeof(data); k += 4) {
            u32 w = rnd();
            memcpy(data + k, &w, 4);
        }
        for (u32 k = 0; k < n; k++) {
            at[k] = len;
            len += gen_insn(code + len);
        }
        at[n] = len;
        for (int r = 0; r < 8; r++)
            regs[r] = below(3) ? rnd() : below(256);
        regs[R_ECX] = below(0x400);
        regs[R_EBX] = DATA + below(0x4000);
        regs[R_EBP] = DATA + below(0x4000);
        regs[R_ESI] = DATA + below(0x4000);
        regs[R_EDI] = DATA + below(0x4000);
        regs[R_ESP] = STACK - 512 + (below(2) ? below(64) : 4 * below(32));
        u32 flags = rnd() & FL_ARITH;
        if (run_both(&a, &b, code, len, data, regs, flags, why, sizeof(why))) {
            u32 k = 1;
            while (k < n && !run_both(&a, &b, code, at[k], data, regs, flags, why, sizeof(why)))
                k++;
            run_both(&a, &b, code, at[k], data, regs, flags, why, sizeof(why));
            fprintf(stderr, "program %u, prefix of %u insns, flags %x: %s\n", p, k, flags, why);
            for (u32 j = k > 6 ? k - 6 : 0; j < k; j++) {
                struct insn in;
                char text[100];
                insn_decode(a.v->model, code + at[j], 15, true, &in);
                insn_format(&in, CODE + at[j], true, text, sizeof(text));
                fprintf(stderr, "  %08x ", CODE + at[j]);
                for (u32 q = at[j]; q < at[j + 1]; q++)
                    fprintf(stderr, "%02x", code[q]);
                fprintf(stderr, "  %s\n", text);
            }
            for (int r = 0; r < 8; r++)
                fprintf(stderr, "  r%d=%08x", r, regs[r]);
            fprintf(stderr, "\n");
            fail_msg("translator and interpreter differ");
        }
    }
    side_done(&a);
    side_done(&b);
}

static u32 programs_wanted(u32 dflt)
{
    const char *s = getenv("NOVT_PROGRAMS"), *seed = getenv("NOVT_SEED");

    rng = 0x9e3779b97f4a7c15ull * (seed ? strtoull(seed, NULL, 0) : 1);
    return s ? (u32)strtoul(s, NULL, 0) : dflt;
}

static void test_all_opts(void **state)
{
    random_programs(OPT_ALL, programs_wanted(20000));
}
static void test_no_opts(void **state)
{
    random_programs(0, programs_wanted(5000));
}
static void test_exact_flags(void **state)
{
    random_programs(OPT_ALL & ~OPT(flags), programs_wanted(5000));
}

static void test_windows(void **state)
{
    windows = true;
    random_programs(OPT_ALL, programs_wanted(5000));
    random_programs(OPT_ALL & ~OPT(flags), programs_wanted(5000));
    windows = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_opts),
        cmocka_unit_test(test_no_opts),
        cmocka_unit_test(test_exact_flags),
        cmocka_unit_test(test_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
