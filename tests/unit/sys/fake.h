/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU on one mebibyte of flat memory, for tests of the system part of the CPU.
 *
 * Linear addresses are physical ones; each page has rights of its own, checked as paging would (present,
 * write with WP, user). In table mode the supervisor and user tables are filled, so that the inline fast
 * paths are used; otherwise every access takes the ops. Tests run in both.
 */
#ifndef TESTS_SYS_FAKE_H
#define TESTS_SYS_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "cpu/sys.h"
#include "base/opts.h"

#define MEM_SIZE 0x100000u
#define PG_P     1
#define PG_W     2
#define PG_U     4

struct fake {
    u8 mem[MEM_SIZE];
    u8 page[MEM_SIZE >> 12]; /* PG_* */
    u64 *tab[3][2];          /* supervisor, user, empty: read, write */
    u32 *xtab;
    bool tables;
    int writes; /* mem_write calls */
    int cr3_loads, paging_changes, cpl_changes, invlpgs, ins, outs;
    u16 last_port;
    u32 last_val, in_val;
    int vector; /* for intr_ack */
};

static struct fake *fk;

static int fk_access(struct vcpu *v, u32 lin, u32 len, bool write, int user)
{
    for (u32 a = lin & ~0xfffu; a - (lin & ~0xfffu) < (lin & 0xfff) + len; a += 0x1000) {
        u8 p = a < MEM_SIZE ? fk->page[a >> 12] : 0;
        u32 at = a < lin ? lin : a;
        if (!(p & PG_P))
            return cpu_raise_pf(v, at, (write ? PF_W : 0) | (user ? PF_U : 0));
        if ((write && !(p & PG_W)) || (user && !(p & PG_U)))
            return cpu_raise_pf(v, at, PF_P | (write ? PF_W : 0) | (user ? PF_U : 0));
    }
    if (v->slow_access && user == (v->cpl == 3))
        return cpu_access_check(v, lin, len, write);
    return CPU_OK;
}
static int fk_read(struct vcpu *v, u32 lin, void *buf, u32 len, int user)
{
    TRY(fk_access(v, lin, len, false, user));
    memcpy(buf, fk->mem + lin, len);
    return CPU_OK;
}
static int fk_write(struct vcpu *v, u32 lin, const void *buf, u32 len, int user)
{
    TRY(fk_access(v, lin, len, true, user));
    memcpy(fk->mem + lin, buf, len);
    fk->writes++;
    return CPU_OK;
}
static int fk_probe(struct vcpu *v, u32 lin, u32 len, int user)
{
    return fk_access(v, lin, len, true, user);
}
static int fk_fetch(struct vcpu *v, u32 lin, const u8 **host, u64 *gpa)
{
    TRY(fk_access(v, lin, 1, false, v->cpl == 3));
    *host = fk->mem + lin;
    *gpa = lin;
    return CPU_OK;
}
static const u32 *fk_code_page(struct vcpu *v, u64 gpa)
{
    static const u32 gen = 1;
    return &gen;
}
static void fk_cr3(struct vcpu *v)
{
    fk->cr3_loads++;
}
static void fk_paging(struct vcpu *v)
{
    fk->paging_changes++;
}
static void fk_invlpg(struct vcpu *v, u32 lin)
{
    fk->invlpgs++;
}
static void fk_cpl(struct vcpu *v)
{
    int k = v->slow_access || !fk->tables ? 2 : v->cpl == 3;
    fk->cpl_changes++;
    v->rtab = fk->tab[k][0];
    v->wtab = fk->tab[k][1];
}
static u64 fk_phys64(struct vcpu *v, u64 gpa)
{
    u64 r = 0;
    if (gpa + 8 <= MEM_SIZE)
        memcpy(&r, fk->mem + gpa, 8);
    return r;
}
static u32 fk_in(struct vcpu *v, u16 port, int size)
{
    fk->ins++;
    fk->last_port = port;
    return fk->in_val++;
}
static void fk_out(struct vcpu *v, u16 port, int size, u32 val)
{
    fk->outs++;
    fk->last_port = port;
    fk->last_val = val;
}
static int fk_ack(struct vcpu *v)
{
    __atomic_store_n(&v->intr_line, 0, __ATOMIC_RELAXED);
    return fk->vector;
}
static void fk_ferr(struct vcpu *v, int level)
{
}

static const struct cpu_ops fk_ops = {
    .mem_read = fk_read,
    .mem_write = fk_write,
    .mem_probe_write = fk_probe,
    .fetch = fk_fetch,
    .code_page = fk_code_page,
    .cr3_loaded = fk_cr3,
    .paging_changed = fk_paging,
    .invlpg = fk_invlpg,
    .cpl_changed = fk_cpl,
    .phys_read64 = fk_phys64,
    .io_in = fk_in,
    .io_out = fk_out,
    .intr_ack = fk_ack,
    .ferr = fk_ferr,
};

/* ---- memory helpers ---- */

static inline void poke(u32 a, u64 val, int len)
{
    memcpy(fk->mem + a, &val, (size_t)len);
}
static inline u32 peek32m(u32 a)
{
    u32 r;
    memcpy(&r, fk->mem + a, 4);
    return r;
}
static inline u16 peek16m(u32 a)
{
    u16 r;
    memcpy(&r, fk->mem + a, 2);
    return r;
}
static inline void set_tables(struct vcpu *v)
{
    for (u32 p = 0; p < MEM_SIZE >> 12; p++) {
        u8 f = fk->page[p];
        u64 e = (u64)(uintptr_t)fk->mem;
        fk->tab[0][0][p] = f & PG_P ? e : 0;
        fk->tab[0][1][p] = (f & (PG_P | PG_W)) == (PG_P | PG_W) ? e : 0;
        fk->tab[1][0][p] = (f & (PG_P | PG_U)) == (PG_P | PG_U) ? e : 0;
        fk->tab[1][1][p] = (f & (PG_P | PG_U | PG_W)) == (PG_P | PG_U | PG_W) ? e : 0;
    }
    fk_cpl(v);
}
static inline void set_page(struct vcpu *v, u32 addr, u8 flags)
{
    fk->page[addr >> 12] = flags;
    set_tables(v);
}

/* ---- layout ---- */

#define GDT    0x1000u
#define IDT    0x2000u
#define TSS_A  0x3000u /* current, 32-bit */
#define TSS_B  0x3200u /* 32-bit */
#define TSS_C  0x3400u /* 16-bit */
#define LDT    0x5000u
#define STACK0 0x8000u
#define STACK3 0xa000u
#define STACK1 0xb000u

enum {
    C0 = 0x08, /* code, DPL 0, 32 bits */
    D0 = 0x10, /* data, DPL 0 */
    C3 = 0x1b, /* code, DPL 3 */
    D3 = 0x23, /* data, DPL 3 */
    TSA = 0x28,
    LD = 0x30,
    CC = 0x38,  /* conforming code, DPL 0 */
    C1 = 0x41,  /* code, DPL 1 */
    D1 = 0x49,  /* data, DPL 1 */
    C16 = 0x50, /* 16-bit code, DPL 0, limit 64K */
    D16 = 0x58, /* 16-bit data, DPL 0, limit 64K */
    CNP = 0x60, /* code, DPL 0, absent */
    DNP = 0x6b, /* data, DPL 3, absent */
    RO = 0x73,  /* read-only data, DPL 3 */
    XO = 0x7b,  /* execute-only code, DPL 3 */
    G32 = 0x83, /* call gate, 32 bits, DPL 3, 2 parameters -> C0:4000 */
    G16 = 0x8b, /* call gate, 16 bits, DPL 3, 1 parameter -> C0:4100 */
    GT = 0x93,  /* task gate, DPL 3 -> TSB */
    TSB = 0x98,
    TSC16 = 0xa0,
    ED = 0xab,   /* expand-down data, DPL 3, limit 0xfff */
    CSM = 0xb0,  /* code, DPL 0, limit 0xfff bytes */
    SNP = 0xb8,  /* data, DPL 0, absent */
    CCNP = 0xc0, /* conforming, absent */
    GCC = 0xcb,  /* call gate 32, DPL 3 -> CC:4200 */
    GNP = 0xd3,  /* call gate, absent */
    G0 = 0xd8,   /* call gate, DPL 0 */
    NA = 0xe3,   /* data, DPL 3, accessed bit clear */
    GBIG = 0xeb, /* call gate to CSM beyond its limit */
    DSM = 0xf0,  /* data, DPL 0, limit 0x0fff: a small stack */
    CC3 = 0xfb,  /* conforming code DPL 3 */
    GDT_LIMIT = 0xff,
};

static inline u64 mkdesc(u32 base, u32 limit, u32 attr)
{
    return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(attr & 0xff) << 40 |
           (u64)((limit >> 16) & 15) << 48 | (u64)((attr >> 8) & 0xf0) << 48 | (u64)(base >> 24) << 56;
}
static inline u64 mkgate(u16 sel, u32 off, u32 type, u32 dpl, u32 params)
{
    return (off & 0xffff) | (u64)sel << 16 | (u64)(params & 31) << 32 | (u64)(0x80 | dpl << 5 | type) << 40 |
           (u64)(off >> 16) << 48;
}
static inline void gdt_set(u16 sel, u64 d)
{
    poke(GDT + (sel & ~7u), d, 8);
}
static inline void idt_set(int vec, u64 d)
{
    poke(IDT + (u32)vec * 8, d, 8);
}

#define A_C  0x9a /* code, readable */
#define A_D  0x92
#define A_32 0x4000
#define A_4G 0xc000
#define A_A  1

static inline void build_tables(void)
{
    gdt_set(C0, mkdesc(0, 0xfffff, A_C | A_A | A_4G));
    gdt_set(D0, mkdesc(0, 0xfffff, A_D | A_A | A_4G));
    gdt_set(C3, mkdesc(0, 0xfffff, A_C | A_A | 0x60 | A_4G));
    gdt_set(D3, mkdesc(0, 0xfffff, A_D | A_A | 0x60 | A_4G));
    gdt_set(TSA, mkdesc(TSS_A, 0x1ff, 0x8b));
    gdt_set(LD, mkdesc(LDT, 0x1f, 0x82));
    gdt_set(CC, mkdesc(0, 0xfffff, A_C | A_A | 4 | A_4G));
    gdt_set(C1, mkdesc(0, 0xfffff, A_C | A_A | 0x20 | A_4G));
    gdt_set(D1, mkdesc(0, 0xfffff, A_D | A_A | 0x20 | A_4G));
    gdt_set(C16, mkdesc(0, 0xffff, A_C | A_A));
    gdt_set(D16, mkdesc(0, 0xffff, A_D | A_A));
    gdt_set(CNP, mkdesc(0, 0xfffff, (A_C & 0x7f) | A_4G));
    gdt_set(DNP, mkdesc(0, 0xfffff, (A_D & 0x7f) | 0x60 | A_4G));
    gdt_set(RO, mkdesc(0, 0xfffff, 0x90 | A_A | 0x60 | A_4G));
    gdt_set(XO, mkdesc(0, 0xfffff, 0x98 | A_A | 0x60 | A_4G));
    gdt_set(G32, mkgate(C0, 0x4000, DT_CALL32, 3, 2));
    gdt_set(G16, mkgate(C0, 0x4100, DT_CALL16, 3, 1));
    gdt_set(GT, mkgate(TSB, 0, DT_TASK, 3, 0));
    gdt_set(TSB, mkdesc(TSS_B, 103, 0x89));
    gdt_set(TSC16, mkdesc(TSS_C, 43, 0x81));
    gdt_set(ED, mkdesc(0, 0xfff, A_D | A_A | 4 | 0x60 | A_32));
    gdt_set(CSM, mkdesc(0, 0xfff, A_C | A_A | A_32));
    gdt_set(SNP, mkdesc(0, 0xfffff, (A_D & 0x7f) | A_4G));
    gdt_set(CCNP, mkdesc(0, 0xfffff, (A_C & 0x7f) | 4 | A_4G));
    gdt_set(GCC, mkgate(CC, 0x4200, DT_CALL32, 3, 0));
    gdt_set(GNP, mkgate(C0, 0x4000, DT_CALL32, 3, 0) & ~(0x80ull << 40));
    gdt_set(G0, mkgate(C0, 0x4000, DT_CALL32, 0, 0));
    gdt_set(NA, mkdesc(0, 0xfffff, A_D | 0x60 | A_4G));
    gdt_set(GBIG, mkgate(CSM, 0x4000, DT_CALL32, 3, 0));
    gdt_set(DSM, mkdesc(0, 0xfff, A_D | A_A | A_32));
    gdt_set(CC3, mkdesc(0, 0xfffff, A_C | A_A | 4 | 0x60 | A_4G));
    poke(LDT, mkdesc(0x100, 0xfffff, A_D | A_A | 0x60 | A_4G), 8); /* LDT:0 (selector 7) */
    for (int k = 0; k < 32; k++)
        idt_set(k, mkgate(C0, 0x6000u + (u32)k * 16, DT_INT32, 0, 0));
    idt_set(3, mkgate(C0, 0x6030, DT_INT32, 3, 0));
    idt_set(4, mkgate(C0, 0x6040, DT_INT32, 3, 0));
    idt_set(0x80, mkgate(C0, 0x6800, DT_TRAP32, 3, 0));
    idt_set(0x81, mkgate(C0, 0x6810, DT_INT16, 3, 0));
    idt_set(0x82, mkgate(TSB, 0, DT_TASK, 3, 0));
    idt_set(0x83, mkgate(CC, 0x6830, DT_INT32, 3, 0));
    idt_set(0x84, mkgate(C1, 0x6840, DT_INT32, 3, 0));
    idt_set(0x85, mkgate(C0, 0x6850, DT_INT32, 0, 0));
    idt_set(0x86, mkgate(C0, 0x6860, DT_INT32, 3, 0) & ~(0x80ull << 40));
    idt_set(0x87, mkgate(C0, 0x6870, DT_CALL32, 3, 0));
    idt_set(0x88, mkgate(CNP, 0x6880, DT_INT32, 3, 0));
    idt_set(0x89, mkgate(D0, 0x6890, DT_INT32, 3, 0));
    idt_set(0x8a, mkgate(0, 0x68a0, DT_INT32, 3, 0));
    idt_set(0x8b, mkgate(C3, 0x68b0, DT_INT32, 3, 0));
    idt_set(0x8c, mkgate(CSM, 0x68c0, DT_INT32, 3, 0));
    poke(TSS_A + 4, STACK0, 4);
    poke(TSS_A + 8, D0, 2);
    poke(TSS_A + 12, STACK1, 4);
    poke(TSS_A + 16, D1, 2);
    poke(TSS_A + 102, 104 + 32, 2); /* redirection bitmap at 104, I/O bitmap at 136 */
    memset(fk->mem + TSS_A + 136, 0, 0x200 - 136);
}

/* 32-bit protected mode at the given CPL, flat segments, interrupts off. */
static inline void enter_pm(struct vcpu *v, int cpl)
{
    v->cr0 |= CR0_PE;
    v->cpl = (u8)cpl;
    cpu_set_eflags(v, FL_1);
    v->gdtr = (struct dtr){GDT, GDT_LIMIT};
    v->idtr = (struct dtr){IDT, 0x8d * 8 - 1};
    u32 cs = cpl == 0 ? C0 : cpl == 3 ? C3 : C1, ds = cpl == 0 ? D0 : cpl == 3 ? D3 : D1;
    for (int k = 0; k < 6; k++) {
        struct desc d;
        u32 sel = k == S_CS ? cs : ds;
        memcpy(&d.raw, fk->mem + GDT + (sel & ~7u), 8);
        v->seg[k] = seg_from_desc((u16)sel, &d);
    }
    v->seg[S_TR] = (struct seg){.sel = TSA, .base = TSS_A, .limit = 0x1ff, .attr = 0x8b};
    v->seg[S_LDTR] = (struct seg){.sel = LD, .base = LDT, .limit = 0x1f, .attr = 0x82};
    v->gpr[R_ESP] = cpl == 3 ? STACK3 : cpl == 0 ? STACK0 - 0x100 : STACK1 - 0x100;
    v->eip = v->next_eip = 0x4000;
    cpu_update_mode(v);
    v->events = 0;
    fk_cpl(v);
}
/* V86 with the given IOPL; all segments at `seg`. */
static inline void enter_v86(struct vcpu *v, int iopl, u16 seg)
{
    enter_pm(v, 3);
    cpu_set_eflags(v, FL_1 | FL_VM | (u32)iopl << 12);
    for (int k = 0; k < 6; k++)
        seg_load_real(v, k, seg);
    v->gpr[R_ESP] = 0x800;
    v->eip = v->next_eip = 0x100;
    cpu_update_mode(v);
    fk_cpl(v);
}

static inline struct vcpu *fake_new(bool tables, const char *model)
{
    fk = calloc(1, sizeof(*fk));
    fk->tables = tables;
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 2; b++)
            fk->tab[a][b] = calloc(1u << 20, 8);
    fk->xtab = calloc(1u << 20, 4);
    memset(fk->page, PG_P | PG_W | PG_U, sizeof(fk->page));
    struct vcpu *v = cpu_create(cpu_model_find(model), &fk_ops, OPT_ALL);
    v->xtab = fk->xtab;
    set_tables(v);
    build_tables();
    return v;
}
static inline void fake_free(struct vcpu *v)
{
    cpu_destroy(v);
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 2; b++)
            free(fk->tab[a][b]);
    free(fk->xtab);
    free(fk);
}

/* Executes the instruction given as hex text at v->eip, without delivering its fault. */
static inline int exec(struct vcpu *v, const char *hex)
{
    struct insn i;
    u8 bytes[16] = {0};
    u32 n = 0;
    for (const char *p = hex; *p; p++) {
        if (*p == ' ')
            continue;
        char two[3] = {p[0], p[1], 0};
        bytes[n++] = (u8)strtoul(two, NULL, 16);
        p++;
    }
    memset(&v->fault, 0, sizeof(v->fault));
    assert_int_equal(insn_decode(v->model, bytes, n, !!(v->mode & MODE_CS32), &i), 0);
    assert_true(i.len == n || i.fn == insn_ud);
    u32 eip = v->eip;
    u32 next = eip + i.len;
    v->next_eip = v->mode & MODE_CS32 ? next : next & 0xffff;
    if (i.fn(v, &i) != CPU_OK)
        return CPU_FAULT;
    v->eip = v->next_eip;
    return CPU_OK;
}
/* The same, delivering what it raises. */
static inline void step(struct vcpu *v, const char *hex)
{
    if (exec(v, hex) != CPU_OK)
        cpu_deliver_fault(v);
}
/* Expects the instruction to fault so, and nothing to have changed. err < 0: no error code. */
#define expect_fault(v, hex, vec, err)                                                                       \
    do {                                                                                                     \
        struct vcpu *before_ = malloc(sizeof(struct vcpu));                                                  \
        memcpy(before_, v, offsetof(struct vcpu, stats));                                                    \
        assert_int_equal(exec(v, hex), CPU_FAULT);                                                           \
        assert_int_equal((v)->fault.vector, vec);                                                            \
        assert_int_equal((v)->fault.has_error, (err) >= 0);                                                  \
        if ((err) >= 0)                                                                                      \
            assert_int_equal((v)->fault.error, (u32)(err));                                                  \
        assert_memory_equal(before_->gpr, (v)->gpr, sizeof((v)->gpr));                                       \
        assert_memory_equal(before_->seg, (v)->seg, sizeof((v)->seg));                                       \
        assert_int_equal(before_->eip, (v)->eip);                                                            \
        assert_int_equal(before_->mode, (v)->mode);                                                          \
        assert_int_equal(before_->cpl, (v)->cpl);                                                            \
        assert_int_equal(cpu_eflags(before_), cpu_eflags(v));                                                \
        assert_int_equal(before_->cr0, (v)->cr0);                                                            \
        assert_int_equal(before_->cr4, (v)->cr4);                                                            \
        free(before_);                                                                                       \
    } while (0)

/* Every test runs with and without tables: TESTS(name) makes two cmocka entries. */
static int setup_tab(void **state)
{
    *state = fake_new(true, "max");
    return 0;
}
static int setup_ops(void **state)
{
    *state = fake_new(false, "max");
    return 0;
}
static int teardown(void **state)
{
    fake_free(*state);
    return 0;
}
#define BOTH(f)                                                                                              \
    {#f " (tables)", f, setup_tab, teardown, NULL},                                                          \
    {                                                                                                        \
#f " (ops)", f, setup_ops, teardown, NULL                                                            \
    }

#endif
