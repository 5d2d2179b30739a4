/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interpreter against translator: any program of a few hundred bytes, with its registers, mode and paging,
 * runs in both for at most STEPS instructions; then all registers and all memory must be the same.
 *
 * The interpreter runs first. A program that it finishes (hlt, triple fault) is run by the translator to its
 * end, in window form, in table form and without optimisations in turn; one that goes on is run with exact
 * counting and stopped at the same instruction. Flags that die are kept (--no-opt=flags): they would differ
 * by design (docs/fidelity.md).
 *
 * Memory: code at CODE, data around it, an IDT whose handlers are hlt at different addresses, a TSS, a GDT
 * with segments of odd shapes, and, with paging, an identity map with holes and read-only pages.
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/opts.h"
#include "cpu/interp.h"
#include "machine/machine.h"
#include "memory/memory.h"
#include "monitor/monitor.h"
#include "shadowpt/shadowpt.h"
#include "tests/bare_cpu.h"
#include "tests/fuzz/fuzz.h"

#define RAM      (1 * MiB)
#define GDT      0x1000u
#define IDT      0x2000u
#define HANDLERS 0x3000u
#define TSS      0x4000u
#define PD       0x5000u
#define PT       0x6000u
#define CODE     0x8000u
#define DATA     0x10000u
#define STACK    0x20000u
#define USED     0x40000u /* what a program can reach easily; all of RAM is compared */
#define STEPS    400
#define TURNS    (4 * STEPS) /* of the interpreter, which does at least 4,096 of a rep in one */

static bool tracing; /* NOVT_TRACE: what both do, for tools/fuzz --replay */

enum { INTERP, TABLE, WINDOW, PLAIN, EXACT, EXACT_WINDOW, SIDES };

struct side {
    struct memory *m;
    struct vcpu *v;
};
static struct side sides[SIDES];

__attribute__((target("general-regs-only"))) static void no_env(struct vcpu *v, u32 ip, u32 dp)
{
    v->fpu_ip = v->fpu_dp = 0;
    v->fpu_cs = v->fpu_ds = v->fpu_op = 0;
}

static const struct cpu_ops ops = {
    SHADOW_CPU_OPS,
    BARE_CPU_OPS,
    .fpu_env = no_env,
};

__attribute__((target("general-regs-only"))) static void due(void *opaque)
{
    struct side *s = opaque;
    s->v->events |= EV_QUIT;
}

/* What the CPUs own hangs on mapped memory, where the leak checker does not look. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void side_init(int n)
{
    struct side *s = &sides[n];
    u64 opts = OPT_ALL & ~OPT(flags);
    int err;

    s->m = memory_create(RAM, &err);
    must(s->m);
    s->v = cpu_create(cpu_model_find("qemu32"), &ops, n == PLAIN ? 0 : opts);
    must(!shadow_create(s->v, s->m, 4));
    if (n == INTERP)
        return;
    struct monitor_config cfg = {.tcache_bytes = 512 * KiB,
                                 .dump = tracing && n == TABLE ? DUMP_GUEST | DUMP_EXITS : 0,
                                 .dump_hi = ~0u,
                                 .windows_always = n == WINDOW || n == EXACT_WINDOW,
                                 .exact = n >= EXACT,
                                 .due = due,
                                 .exact_opaque = s,
                                 .verify = false}; /* fuzz_xlate does that */
    must(!monitor_create(s->v, s->m, &cfg));
}

/* ---- the program's world ---- */

static u8 image[USED];

static void put_desc(u32 at, u32 base, u32 limit, u32 attr)
{
    u64 d = (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(attr & 0xff) << 40 |
            (u64)(limit >> 16 & 15) << 48 | (u64)(attr >> 12 & 15) << 52 | (u64)(base >> 24) << 56;
    memcpy(image + at, &d, 8);
}

static void put_gate(u32 vector, u32 eip, u8 type, u16 sel)
{
    u64 d = (eip & 0xffff) | (u64)sel << 16 | (u64)type << 40 | (u64)(eip >> 16) << 48;
    memcpy(image + IDT + 8 * vector, &d, 8);
}

struct program {
    u8 flags, kind;
    u32 gpr[8], eflags, len;
    u8 code[512];
};

/* Selectors: 08 code, 10 data, 18 user code, 20 user data, 28 TSS, 30 16-bit code, 38 16-bit data, 40
 * expand-down, 48 call gate to ring 0, 50 LDT-like data with a base, 58 not present. */
static void build(struct program *p, struct in *in)
{
    u32 w = 0x9e3779b9;

    p->kind = take8(in);
    p->flags = take8(in);
    p->eflags = take16(in) & (FL_ARITH | FL_DF | FL_AC | FL_IOPL | FL_NT);
    if (take8(in) & 1)
        p->eflags |= FL_AC;
    for (int r = 0; r < 8; r++) {
        u8 how = take8(in);
        p->gpr[r] = how & 0x80 ? take32(in) : DATA + how * 61u;
    }
    if (!(p->kind & 0x40))
        p->gpr[R_ESP] = STACK + (p->gpr[R_ESP] & 0xfff);
    p->len = left(in) < sizeof(p->code) ? left(in) : sizeof(p->code);
    memset(p->code, 0xf4, sizeof(p->code));
    take(in, p->code, p->len);

    memset(image, 0, sizeof(image));
    for (u32 k = DATA; k < USED; k += 4) {
        w = w * 1664525 + 1013904223;
        memcpy(image + k, &w, 4);
    }
    memset(image + HANDLERS, 0xf4, 0x1000);
    put_desc(GDT + 0x08, 0, 0xfffff, 0xc09b);
    put_desc(GDT + 0x10, 0, 0xfffff, 0xc093);
    put_desc(GDT + 0x18, 0, 0xfffff, 0xc0fb);
    put_desc(GDT + 0x20, 0, 0xfffff, 0xc0f3);
    put_desc(GDT + 0x28, TSS, 0x67, 0x0089);
    put_desc(GDT + 0x30, 0, 0xffff, 0x009b);
    put_desc(GDT + 0x38, 0, 0xffff, 0x0093);
    put_desc(GDT + 0x40, 0x100, 0x8fff, 0x4097);
    u64 gate = HANDLERS + 0x800 | 0x08ull << 16 | 0xec01ull << 32;
    memcpy(image + GDT + 0x48, &gate, 8);
    put_desc(GDT + 0x50, 0x8000, 0x1ffff, 0x40f3);
    put_desc(GDT + 0x58, 0, 0xfffff, 0xc013);
    for (u32 n = 0; n < 256; n++)
        put_gate(n, HANDLERS + n * 4, n == 3 || n == 4 || n >= 0x80 ? 0xee : n & 1 ? 0x8f : 0x8e, 0x08);
    u32 esp0 = STACK + 0x2000, ss0 = 0x10;
    memcpy(image + TSS + 4, &esp0, 4);
    memcpy(image + TSS + 8, &ss0, 4);
    u16 iomap = 0x68;
    memcpy(image + TSS + 102, &iomap, 2);
    for (u32 k = 0; k < 1024; k++) {
        u32 pte = k << 12 | 7;
        if (k >= RAM >> 12)
            pte = 0;
        if (k == 0x13)
            pte = 0; /* a hole in the data */
        if (k == 0x14)
            pte &= ~2u; /* read-only */
        if (k == 0x15)
            pte &= ~4u; /* supervisor */
        if (k == 0x16)
            pte = 0x17007; /* two pages on one frame */
        memcpy(image + PT + 4 * k, &pte, 4);
    }
    u32 pde = PT | 7;
    memcpy(image + PD, &pde, 4);
    memcpy(image + CODE + (p->flags & 0x80 ? 0xfc0 : 0), p->code, sizeof(p->code));
}

static void set_seg(struct vcpu *v, int s, u16 sel, u32 attr, u32 base, u32 limit)
{
    v->seg[s] = (struct seg){.sel = sel, .base = base, .limit = limit, .attr = attr};
    seg_refresh(&v->seg[s]);
}

static void load(struct side *s, const struct program *p)
{
    struct vcpu *v = s->v;
    bool user = p->kind & 1, big = !(p->kind & 2);

    cpu_fpu_park(v);
    cpu_reset(v);
    memory_write(s->m, 0, image, sizeof(image));
    static const u8 zeros[RAM - USED];
    u8 *host = memory_base(s->m);
    for (u32 a = USED; a < RAM; a += PAGE_SIZE) /* only what the last program changed */
        if (memory_kind(s->m, a) == MEM_RAM && memcmp(host + a, zeros, PAGE_SIZE))
            memory_write(s->m, a, zeros, PAGE_SIZE);
    memcpy(v->gpr, p->gpr, sizeof(p->gpr));
    v->gdtr.base = GDT;
    v->gdtr.limit = 0x5f;
    v->idtr.base = IDT;
    v->idtr.limit = p->kind & 4 ? 0x7ff : 0; /* no IDT: every fault ends the program */
    if (!(p->kind & 8)) {
        v->cr0 = CR0_PE | CR0_ET | (p->flags & 1 ? CR0_NE : 0) | CR0_MP | (p->flags & 2 ? CR0_TS : 0) |
                 (p->flags & 4 ? CR0_AM : 0) | (p->flags & 8 ? CR0_WP : 0);
        v->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | (p->flags & 0x20 ? CR4_PSE : 0);
        u32 dpl = user ? 3u << SA_DPL_SHIFT : 0, db = big ? SA_DB | SA_G : 0;
        u32 limit = big ? 0xffffffff : 0xffff, attr = SA_P | SA_S | SA_A | SA_RW | dpl;
        for (int r = 0; r < 6; r++)
            set_seg(v, r,
                    r == S_CS ? (user  ? 0x1b
                                 : big ? 0x08
                                       : 0x30)
                              : (user  ? 0x23
                                 : big ? 0x10
                                       : 0x38),
                    attr | db | (r == S_CS ? SA_CODE : 0), 0, limit);
        if (p->flags & 0x10)
            set_seg(v, S_DS, 0x53, SA_P | SA_S | SA_A | SA_RW | SA_DB | 3u << SA_DPL_SHIFT, 0x8000, 0x1ffff);
        if (p->flags & 0x40)
            set_seg(v, S_ES, 0x40 | (user ? 3 : 0), SA_P | SA_S | SA_A | SA_RW | SA_EC | SA_DB | dpl, 0x100,
                    0x8fff);
        set_seg(v, S_TR, 0x28, SA_P | 0xb, TSS, 0x67);
        v->cpl = user ? 3 : 0;
        if (p->kind & 0x10) {
            v->cr3 = PD;
            v->cr0 |= CR0_PG;
        }
    } else { /* real mode */
        for (int r = 0; r < 6; r++)
            if (r != S_CS)
                set_seg(v, r, r == S_SS ? 0x1000 : 0x800, SA_P | SA_S | SA_A | SA_RW,
                        r == S_SS ? 0x10000 : 0x8000, 0xffff);
        set_seg(v, S_CS, 0, SA_P | SA_S | SA_A | SA_RW | SA_CODE, 0, 0xffff);
        v->cr0 = CR0_ET;
        v->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
        v->cpl = 0;
    }
    v->eip = CODE + (p->flags & 0x80 ? 0xfc0 : 0);
    cpu_set_eflags(v, p->eflags | 2);
    ops.paging_changed(v);
    cpu_update_mode(v);
    v->fx[0] = p->kind & 0x20 ? 0x40 : 0x7f; /* some exceptions unmasked */
    v->fx[1] = 0x03;
    v->fx[4] = 0;
    v->events = 0;
    v->kick = 0;
}

/* ---- running and comparing ---- */

#define OVER (EV_HALT | EV_SHUTDOWN | EV_RESET | EV_QUIT)

/* Counts as monitor_count() does. 0: in the middle of a repeated instruction that takes too long, where no
 * other engine can be stopped. */
static u64 interpret(struct side *s)
{
    struct vcpu *v = s->v;
    bool within = false;
    u64 n = 0;
    for (u32 k = 0; n < STEPS && k < TURNS; k++) {
        u32 start = v->eip;
        v->events &= ~(EV_MODE | EV_SMC);
        if (v->events & OVER)
            break;
        interp_run(v, 1);
        if (unlikely(tracing))
            fprintf(stderr, "%3llu [%02x %02x %02x] %04x:%08x -> %08x esp %08x\n", (unsigned long long)n,
                    memory_base(s->m)[0x803c], memory_base(s->m)[0x803d], memory_base(s->m)[0x803e],
                    v->seg[S_CS].sel, start, v->eip, v->gpr[R_ESP]);
        within = v->eip == start && monitor_unfinished(v);
        n += !within;
    }
    cpu_fpu_park(v);
    return within ? 0 : n;
}

static bool translated(struct side *s, u64 count, bool exact)
{
    struct vcpu *v = s->v;
    if (exact) {
        if (!count)
            return false;
        monitor_set_stop(v, monitor_count(v) + count);
    }
    while (!(v->events & OVER)) {
        v->events &= ~(EV_MODE | EV_SMC | EV_STOP);
        monitor_run_bt(v);
    }
    cpu_fpu_park(v);
    return true;
}

static void __attribute__((noreturn)) differs(const struct program *p, int n, const char *what, u64 a, u64 b)
{
    static const char *const names[] = {"interp", "table", "window", "no-opt", "exact", "exact window"};
    fprintf(stderr, "%s differs in %s: interpreter %llx, translator %llx\n", what, names[n],
            (unsigned long long)a, (unsigned long long)b);
    cpu_dump(sides[INTERP].v, stderr);
    cpu_dump(sides[n].v, stderr);
    for (u32 off = 0, k = 0; off < p->len && k < 60; k++) {
        struct insn i;
        char text[100];
        bool cs32 = !(p->kind & 0xa);
        if (insn_decode(sides[0].v->model, p->code + off, sizeof(p->code) - off, cs32, &i))
            break;
        insn_format(&i, CODE + off, cs32, text, sizeof(text));
        fprintf(stderr, "  %04x %s\n", CODE + off, text);
        off += i.len;
    }
    abort();
}

static void compare(const struct program *p, int n)
{
    struct vcpu *a = sides[INTERP].v, *b = sides[n].v;
    static const char *const regs[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};

    for (int r = 0; r < 8; r++)
        if (a->gpr[r] != b->gpr[r])
            differs(p, n, regs[r], a->gpr[r], b->gpr[r]);
    if (a->eip != b->eip)
        differs(p, n, "eip", a->eip, b->eip);
    if (cpu_eflags(a) != cpu_eflags(b))
        differs(p, n, "eflags", cpu_eflags(a), cpu_eflags(b));
    if ((a->events ^ b->events) & (EV_HALT | EV_SHUTDOWN))
        differs(p, n, "events", a->events, b->events);
    if (a->cr0 != b->cr0 || a->cr2 != b->cr2 || a->cr3 != b->cr3 || a->cr4 != b->cr4)
        differs(p, n, "cr2 and the control registers", a->cr2, b->cr2);
    for (int s = 0; s < S_COUNT; s++)
        if (a->seg[s].sel != b->seg[s].sel || a->seg[s].base != b->seg[s].base ||
            a->seg[s].limit != b->seg[s].limit || a->seg[s].attr != b->seg[s].attr)
            differs(p, n, "segment", (u32)s, a->seg[s].sel);
    if (a->gdtr.base != b->gdtr.base || a->idtr.base != b->idtr.base || a->idtr.limit != b->idtr.limit)
        differs(p, n, "descriptor table register", a->idtr.base, b->idtr.base);
    for (u32 k = 0; k < 288; k++)
        if (a->fx[k] != b->fx[k] && !(k >= 6 && k < 24) && !(k >= 28 && k < 32)) /* no pointers, no mask */
            fprintf(stderr, "FPU state byte %u: ", k), differs(p, n, "which", a->fx[k], b->fx[k]);
    const u8 *x = memory_base(sides[INTERP].m), *y = memory_base(sides[n].m);
    for (u32 page = 0; page < RAM; page += PAGE_SIZE) {
        if (memory_kind(sides[n].m, page) != MEM_RAM || !memcmp(x + page, y + page, PAGE_SIZE))
            continue;
        for (u32 k = page;; k++)
            if (x[k] != y[k])
                fprintf(stderr, "memory at %x: ", k), differs(p, n, "which", x[k], y[k]);
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static struct program p;
    struct in in = {data, data + size};

    tracing = getenv("NOVT_TRACE");
    if (!sides[0].m)
        for (int n = 0; n < SIDES; n++)
            side_init(n);
    build(&p, &in);
    load(&sides[INTERP], &p);
    u64 count = interpret(&sides[INTERP]);
    bool over = sides[INTERP].v->events & OVER;
    for (int n = over ? TABLE : EXACT; n < SIDES; n++) {
        load(&sides[n], &p);
        if (n < EXACT ? translated(&sides[n], 0, false) : !over && translated(&sides[n], count, true))
            compare(&p, n);
    }
    return 0;
}
