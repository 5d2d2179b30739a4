/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * novt's engines run the case: the interpreter, and the translator in table form, in window form, and with
 * every fragment verified. Each has a small guest of its own: PAE paging with NX, the region where the host
 * has it, an LDT with the same descriptors, no GDT and no IDT. So whatever ends a case - the exit's far jump
 * or a fault - becomes a triple fault that leaves the registers as they are, and v->fault_chain tells what it
 * was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/opts.h"
#include "insn.h"
#include "memory/memory.h"
#include "monitor/bt.h"
#include "monitor/monitor.h"
#include "shadowpt/shadowpt.h"
#include "tests/bare_cpu.h"

#define RAM     (1 * MiB)
#define REGION_ 0x10000u /* guest-physical */
#define PDPT    0x40000u
#define PD_LOW  0x41000u
#define PD_HIGH 0x42000u
#define PT_REG  0x43000u
#define PT_SYS  0x44000u
#define PT_LOW  0x45000u
#define LDT3    0x50000u
#define LDT0    0x51000u
#define SYS_LIN 0xfff00000u /* LDTs, supervisor only */
#define PTE_P   1ull
#define PTE_W   2ull
#define PTE_U   4ull
#define PTE_NX  (1ull << 63)

struct engine {
    enum engine_kind kind;
    struct memory *m;
    struct vcpu *v;
    u8 *ram;   /* the region */
    u8 *clean; /* what it holds between cases */
    struct code_runs runs;
    int level;  /* of the last case */
    u64 system; /* system_hash() in the state that cases start from */
};

static const struct cpu_ops ops = {
    SHADOW_CPU_OPS,
    BARE_CPU_OPS,
};

static void put64(struct engine *e, u32 gpa, u64 val)
{
    memory_write(e->m, gpa, &val, 8);
}

static void build_guest(struct engine *e)
{
    static const u64 bits[] = {[PK_RO] = PTE_NX, [PK_RW] = PTE_NX | PTE_W, [PK_RX] = 0};

    e->clean = malloc(REGION);
    for (u32 n = 0; n < REGION; n++)
        e->clean[n] = base_byte(n);
    build_exit_page(e->clean + EXIT_PAGE * PAGE_SIZE);
    memory_write(e->m, REGION_, e->clean, REGION);
    put64(e, PDPT, PD_LOW | PTE_P);
    put64(e, PDPT + 24, PD_HIGH | PTE_P);
    put64(e, PD_LOW + 8 * (BASE >> 21 & 511), PT_REG | PTE_P | PTE_W | PTE_U);
    put64(e, PD_HIGH + 8 * (SYS_LIN >> 21 & 511), PT_SYS | PTE_P | PTE_W);
    for (u32 p = 0; p < REGION_PAGES; p++)
        if (page_kind[p] != PK_ABSENT)
            put64(e, PT_REG + 8 * p, (REGION_ + p * PAGE_SIZE) | PTE_P | PTE_U | bits[page_kind[p]]);
    /* the region again where V86 code reaches it; reset_system() shows it at that level only */
    for (u32 p = 0; p < REGION_PAGES; p++)
        if (page_kind[p] != PK_ABSENT)
            put64(e, PT_LOW + 8 * (p + (REGION_ >> PAGE_SHIFT)),
                  (REGION_ + p * PAGE_SIZE) | PTE_P | PTE_U | bits[page_kind[p]]);
    put64(e, PT_SYS + 8 * (SYS_LIN >> 12 & 511), LDT3 | PTE_P | PTE_W);
    put64(e, PT_SYS + 8 * ((SYS_LIN >> 12 & 511) + 1), LDT0 | PTE_P | PTE_W);
    for (u32 n = 0; n < SG_COUNT; n++) {
        put64(e, LDT3 + 8 * n, segment_desc(&segments[n]));
        put64(e, LDT0 + 8 * n, segment_desc(&segments[n]) & ~(3ull << 45));
    }
    e->ram = memory_host(e->m, REGION_);
}

static void reset_system(struct engine *e)
{
    struct vcpu *v = e->v;

    put64(e, PD_LOW, e->level == AT_V86 ? PT_LOW | PTE_P | PTE_W | PTE_U : 0);
    cpu_reset(v);
    v->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_ET | CR0_NE | CR0_MP | CR0_AM;
    if (e->level == AT_REAL)
        v->cr0 = CR0_ET | CR0_NE | CR0_MP;
    v->cr3 = PDPT;
    v->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    v->efer = EFER_NXE;
    for (int n = 0; n < 4; n++)
        v->pdpte[n] = memory_read64(e->m, PDPT + 8 * (u32)n);
    v->gdtr = (struct dtr){0, 0};
    v->idtr = (struct dtr){0, 0};
    v->seg[S_TR] = (struct seg){.sel = 0, .limit = 0, .attr = SA_P | 11};
    v->ops->paging_changed(v);
    cpu_update_mode(v);
}

/* Control and debug registers, descriptor-table registers, MSRs, LDTR and TR. */
static u64 system_hash(const struct vcpu *v)
{
    u64 h = 0xcbf29ce484222325ull;
    u32 cr2 = v->cr2;

#define MIX(p, n)                                                                                            \
    for (u32 k_ = 0; k_ < (n); k_++)                                                                         \
    h = (h ^ ((const u8 *)(p))[k_]) * 0x100000001b3ull
    ((struct vcpu *)v)->cr2 = 0;
    MIX(&v->cr0, 4 * sizeof(u32));
    MIX(v->dr, offsetof(struct vcpu, fault_depth) - offsetof(struct vcpu, dr));
    ((struct vcpu *)v)->cr2 = cr2;
    MIX(&v->gdtr.base, 4);
    MIX(&v->gdtr.limit, 2);
    MIX(&v->idtr.base, 4);
    MIX(&v->idtr.limit, 2);
    MIX(&v->seg[S_TR].base, sizeof(struct seg) - offsetof(struct seg, base));
    MIX(&v->seg[S_TR].sel, 2);
    return h;
}

struct engine *engine_create(enum engine_kind kind)
{
    struct engine *e = calloc(1, sizeof(*e));
    struct monitor_config cfg = {.tcache_bytes = 16 * MiB,
                                 .windows_always = kind == ENG_WINDOW || kind == ENG_WINDOW_APART,
                                 .verify = kind == ENG_VERIFY};
    int err;

    e->kind = kind;
    e->level = AT_USER;
    e->m = memory_create(RAM, &err);
    if (!e->m) {
        fprintf(stderr, "insn-test: memory_create: %s\n", strerror(-err));
        return NULL;
    }
    bool apart = kind == ENG_TABLE_APART || kind == ENG_WINDOW_APART;
    e->v = cpu_create(cpu_model_find("max"), &ops, apart ? OPT_ALL & ~OPT(chain) : OPT_ALL);
    err = shadow_create(e->v, e->m, 4);
    if (!err && kind != ENG_INTERP)
        err = monitor_create(e->v, e->m, &cfg);
    if (err) {
        fprintf(stderr, "insn-test: cannot create an engine: %s\n", strerror(-err));
        return NULL;
    }
    build_guest(e);
    reset_system(e);
    e->system = system_hash(e->v);
    return e;
}

struct vcpu *engine_vcpu(struct engine *e)
{
    return e->v;
}

static void put_guest(void *opaque, u32 lin, const u8 *b, u32 len)
{
    struct engine *e = opaque;
    u32 page = (lin - BASE) >> PAGE_SHIFT;

    if (page_kind[page] == PK_RX) { /* watched: translations must go */
        memory_write(e->m, REGION_ + (lin - BASE), b, len);
        code_runs_add(&e->runs, lin, len);
    } else {
        memcpy(e->ram + (lin - BASE), b, len);
    }
}

static void load_state(struct engine *e, const struct icase *c, int level)
{
    struct vcpu *v = e->v;
    int ring = level == AT_RING0 || level == AT_REAL ? 0 : 3;

    memcpy(v->gpr, c->gpr, sizeof(v->gpr));
    cpu_set_eflags(v, c->flags);
    v->cpl = (u8)ring;
    v->eip = c->lin - case_cs_base(c);
    for (int s = 0; s < 6; s++) {
        if (!segment_reg(c->sel[s], &v->seg[s]))
            abort();
        if (level == AT_V86 || level == AT_REAL) { /* 64 KiB at the region's alias, or at 0 */
            u32 base = v->seg[s].base ? REGION_ : 0;
            v->seg[s] = (struct seg){.sel = (u16)(base >> 4),
                                     .base = base,
                                     .limit = 0xffff,
                                     .attr = SA_P | SA_S | SA_RW | SA_A | (level == AT_V86 ? SA_DPL : 0)};
            if (s == S_CS && level == AT_REAL)
                v->seg[s].attr |= SA_CODE;
        } else if (ring == 0 && c->sel[s] > 3) {
            v->seg[s].sel &= ~3u;
            v->seg[s].attr &= ~SA_DPL;
        }
    }
    v->seg[S_LDTR] = (struct seg){
        .sel = 8, .base = ring ? SYS_LIN : SYS_LIN + PAGE_SIZE, .limit = SG_COUNT * 8 - 1, .attr = SA_P | 2};
    if (level == AT_V86)
        v->sflags |= FL_VM | (c->lin & 1 ? FL_IOPL : 0);
    fp_to_fx(&c->fp, v->fx);
    v->fpu_ip = v->fpu_dp = v->fpu_cs = v->fpu_ds = v->fpu_op = 0;
    v->cr2 = 0;
    v->intr_shadow = 0;
    v->events = 0;
    v->fault_depth = 0;
    v->fault_chain[0] = v->fault_chain[1] = (struct cpu_fault){0};
    cpu_update_mode(v);
}

void engine_run(struct engine *e, const struct icase *c, u64 opts, int level, struct outcome *o)
{
    struct vcpu *v = e->v;
    u64 left = 2000000;

    if (level != e->level) {
        e->level = level;
        reset_system(e);
        e->system = system_hash(v);
    }
    if (level == AT_REAL) /* nothing is protected */
        for (u32 p = 0; p < REGION_PAGES; p++)
            if (memcmp(e->ram + p * PAGE_SIZE, e->clean + p * PAGE_SIZE, PAGE_SIZE))
                memory_write(e->m, REGION_ + p * PAGE_SIZE, e->clean + p * PAGE_SIZE, PAGE_SIZE);

    for (u32 n = 0; n < e->runs.n; n++) {
        static const u8 int3[32] = {[0 ... 31] = 0xcc};
        memory_write(e->m, REGION_ + (e->runs.lin[n] - BASE), int3, e->runs.len[n]);
    }
    e->runs.n = 0;
    case_lay_out(c, put_guest, e);
    load_state(e, c, level);
    v->opts = opts;
    if (e->kind == ENG_INTERP) {
        while (!(v->events & ~(EV_MODE | EV_SMC)) && left) {
            u64 n = interp_run(v, 1000);
            left -= n < left ? n : left;
            v->events &= ~(EV_MODE | EV_SMC);
        }
    } else {
        monitor_attach(v);
        monitor_run_bt(v);
    }
    cpu_fpu_park(v);

    const struct cpu_fault *f = &v->fault_chain[0];
    if (f->is_soft && !f->is_trap && f->vector != EXC_BP && f->vector != EXC_OF)
        f = &v->fault_chain[1];
    else if (f->is_soft && !f->is_trap) /* int3, into */
        v->eip = v->next_eip;
    else if (f->is_trap)
        v->eip = v->next_eip;
    memcpy(o->gpr, v->gpr, sizeof(o->gpr));
    o->flags = cpu_eflags(v);
    for (int s = 0; s < 6; s++)
        o->sel[s] = v->seg[s].sel;
    o->lin = v->seg[S_CS].base + v->eip;
    o->vector = f->vector;
    o->error = f->has_error ? f->error : 0;
    o->cr2 = f->vector == EXC_PF ? f->cr2 : 0;
    o->cs_unknown = false;
    if (level >= AT_V86 && o->lin - REGION_ < REGION)
        o->lin += BASE - REGION_;
    if (f->vector == EXC_GP && f->error == (level >= AT_V86 ? 0 : EXIT_SEL & ~3u)) { /* through an exit? */
        u32 far = o->lin - PAGE_LIN(EXIT_PAGE);
        if (o->lin == c->lin + c->len || o->lin == c->lin + NEAR_PAD || o->lin == c->lin - NEAR_PAD ||
            (far < PAD_COUNT * 32 && far % 32 <= 1)) { /* behind its 66 prefix is one for 32-bit code */
            if (far < PAD_COUNT * 32)
                o->lin &= ~1u;
            o->vector = VEC_NONE;
            o->error = 0;
        }
    }
    o->system = level != AT_USER ? system_hash(v) : 0;
    if (v->events & EV_HALT) {
        o->vector = VEC_HALT;
        o->lin = v->seg[S_CS].base + v->eip;
    } else if (!(v->events & EV_SHUTDOWN)) { /* did not end */
        o->vector = VEC_SYS;
        o->error = NO_END;
    }
    fx_to_fp(v->fx, &o->fp);
    v->events = 0;
    if (o->system && o->system != e->system) /* a system instruction has left its mark */
        reset_system(e);
}

const u8 *engine_ram(struct engine *e, u32 page)
{
    return e->ram + page * PAGE_SIZE;
}

void engine_drop_tables(struct engine *e)
{
    shadow_flush_all(e->v);
    e->v->ops->paging_changed(e->v);
}
