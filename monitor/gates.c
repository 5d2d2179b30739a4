/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of privilege: sysenter, sysexit, int n and iret, and what is remembered of them, so that thunks.S
 * can do them again without leaving translated code.
 *
 * A record belongs to the context that the instruction was executed in (bt.h). It says where that led, and it
 * holds everything that decided it: v->mode and v->sflags, MSRs or table registers, and for gates the bytes
 * of the descriptors and of the TSS, which the thunk reads again through the same tables as C code would.
 *
 * Invariants
 *  - A record is true for ever: "from this context, with this mode and these flags, if those bytes are there,
 *    the result is this". So nothing has to be invalidated, but for the context that it leads to: the thunk
 *    checks that one's salt, epoch and window.
 *  - Nothing is remembered if anything else happened between the instruction and its target (an interrupt, a
 *    fault, a single step), or if more than the record depends on was involved: flags with side effects (TF,
 *    RF, NT, AC, VM), LDTs, operands that cross a page, segments that are not flat stacks.
 *  - The thunk changes nothing before it knows that it will succeed. Otherwise C does it, from the start.
 */
#include "base/log.h"
#include "base/opts.h"
#include "monitor/bt.h"

/*
 * Goes on where the instruction has led. *there: it is where the context that bt_continue() selects is,
 * nothing came in between, and c, the context that it came from, still is the one that had this salt before
 * it.
 */
static int go_on(struct vcpu *v, const struct ctx *c, u64 salt, bool *there)
{
    u32 mode = v->mode, eip = v->eip;
    u64 base = bt_view_base(v);
    int r = bt_continue(v);

    *there = r == 0 && v->mode == mode && v->eip == eip && bt_ctx(v)->base == base && c->salt == salt;
    return r;
}

/* sysenter, sysexit: remembered for the next time (thunks.S). */
int bt_sysenter_exit(struct vcpu *v, const struct insn *i)
{
    struct ctx *c = bt_ctx(v);
    u64 salt = c->salt;
    u32 mode = v->mode, sflags = v->sflags, msr_cs = (u32)v->msr_sysenter_cs, to_mode;
    struct seg cs, ss;
    bool there;
    int r;

    if (unlikely(interp_exec(v, i) != CPU_OK)) {
        cpu_deliver_fault(v);
        return bt_continue(v);
    }
    v->stats.insns_callout++;
    to_mode = v->mode;
    cs = v->seg[S_CS];
    ss = v->seg[S_SS];
    r = go_on(v, c, salt, &there);
    /* Flags that the instruction itself changes, or that it makes work, are not remembered with it; nor is
     * what it led to if something else came in between. */
    if (there && (i->opcode == 0x35) == !(mode & MODE_CPL) && !(sflags & (FL_VM | FL_RF | FL_TF | FL_AC)) &&
        !((mode | to_mode) & MODE_STEP)) {
        c->sys.to = bt_ctx(v);
        c->sys.to_salt = c->sys.to->salt;
        c->sys.from_mode = mode;
        c->sys.sflags = sflags;
        c->sys.msr_cs = msr_cs;
        c->sys.to_mode = to_mode;
        c->sys.cs = cs;
        c->sys.ss = ss;
    }
    return r;
}

/* Flags that change what the instructions do, or that are not worth a record. */
#define FL_ODD (FL_VM | FL_RF | FL_TF | FL_AC | FL_NT)

static inline bool same_seg(const struct seg *a, const struct seg *b)
{
    return a->sel == b->sel && a->fast == b->fast && a->flat == b->flat && a->base == b->base &&
           a->limit == b->limit && a->attr == b->attr;
}

static inline u64 dtr_raw(const struct dtr *d)
{
    u64 raw;
    __builtin_memcpy(&raw, d, sizeof(raw));
    return raw;
}

static inline bool in_page(u32 lin, u32 len)
{
    return (lin & PAGE_MASK) <= PAGE_SIZE - len;
}

/* Address of a descriptor of the GDT; false if it is not within one page of it. */
static bool gdt_at(const struct vcpu *v, u16 sel, u32 *at)
{
    *at = v->gdtr.base + (sel & ~7u);
    return !(sel & 4) && (sel | 7u) <= v->gdtr.limit && in_page(*at, 8);
}

/* Fills the record of the int n that has just led from c (mode, sflags) to where v is now, but for `to`.
 * False: not worth one. */
static bool gate_record(struct vcpu *v, struct ctx *c, u32 mode, u32 sflags, u8 vector)
{
    const struct gate_cached *g = &v->gatec[vector % GATEC_ENTRIES];
    const struct seg *tr = &v->seg[S_TR];

    if ((mode & MODE_CPL) != 3 || v->cpl != 0 || (sflags & FL_ODD) || v->slow_access || LOG_ON(int) ||
        ((mode | v->mode) & (MODE_STEP | MODE_VM)) || !(v->opts & OPT(gates)))
        return false;
    if (g->key != cpu_gate_key(vector, 3, true) || g->off != v->eip || !same_seg(&g->cs, &v->seg[S_CS]) ||
        !same_seg(&g->ss, &v->seg[S_SS]) || !(v->mode & MODE_FLATSS) || !(v->mode & MODE_SS32))
        return false;
    c->gate.from_mode = NO_MODE;
    c->gate.idt_at = v->idtr.base + vector * 8u;
    c->gate.tss_at = tr->base + 4;
    if (vector * 8u + 7 > v->idtr.limit || !(tr->attr & 8) || tr->limit < 11 || !in_page(c->gate.idt_at, 8) ||
        !in_page(c->gate.tss_at, 8) || !gdt_at(v, g->cs.sel, &c->gate.cs_at) ||
        !gdt_at(v, g->ss.sel, &c->gate.ss_at))
        return false;
    c->gate.sflags = sflags;
    c->gate.to_sflags = v->sflags;
    c->gate.to_mode = v->mode;
    c->gate.cs = g->cs;
    c->gate.ss = g->ss;
    c->gate.idtr = dtr_raw(&v->idtr);
    c->gate.gdtr = dtr_raw(&v->gdtr);
    c->gate.tr = tr->base | (u64)tr->limit << 32;
    c->gate.tr_attr = tr->attr;
    c->gate.vector = vector;
    c->gate.idt_raw = g->raw;
    c->gate.cs_raw = g->cs_raw;
    c->gate.ss_raw = g->ss_raw;
    c->gate.off = g->off;
    c->gate.keep_if = g->keep_if;
    return true;
}

int bt_soft_interrupt(struct vcpu *v, u8 vector)
{
    struct ctx *c = bt_ctx(v);
    u64 salt = c->salt;
    u32 mode = v->mode, sflags = v->sflags;
    bool good, there;
    int r;

    cpu_soft_interrupt(v, vector);
    good = gate_record(v, c, mode, sflags, vector);
    r = go_on(v, c, salt, &there);
    if (good && there) {
        c->gate.to = bt_ctx(v);
        c->gate.to_salt = bt_ctx(v)->salt;
        c->gate.from_mode = mode;
    }
    return r;
}

/* Fills d for the iret that has just led from CPL 0 (mode, sflags) to where v is now; image: the flags it
 * popped. */
static bool iret_record(struct vcpu *v, struct iret_done *d, u32 mode, u32 sflags, u32 image)
{
    const struct seg *cs = &v->seg[S_CS];
    const struct iret_cached *r = &v->iretc[cs->sel >> 3 & (IRETC_ENTRIES - 1)];
    const u32 stack = MODE_PE | MODE_FLATSS | MODE_SS32;

    if ((mode & (stack | MODE_VM | MODE_STEP | MODE_CPL)) != stack || v->slow_access ||
        (v->mode & (MODE_STEP | MODE_VM)) || !(v->opts & OPT(gates)))
        return false;
    if ((sflags & FL_ODD) || (image & (FL_ODD | FL_DF | FL_VIF | FL_VIP)) || (v->cpl != 0 && v->cpl != 3))
        return false;
    d->from_mode = NO_MODE;
    if (r->key != (cs->sel | 1u << 16) || !same_seg(&r->cs, cs) || !gdt_at(v, cs->sel, &d->cs_at))
        return false;
    if (v->cpl == 3 && (!same_seg(&r->ss, &v->seg[S_SS]) || !gdt_at(v, r->ss.sel, &d->ss_at)))
        return false;
    d->sflags = sflags;
    d->to_sflags = v->sflags;
    d->to_mode = v->mode;
    d->cs = r->cs;
    d->ss = r->ss;
    d->gdtr = dtr_raw(&v->gdtr);
    d->cs_raw = r->cs_raw;
    d->ss_raw = r->ss_raw;
    d->flags = image & ~(FL_ARITH | FL_IF);
    return true;
}

int bt_iret(struct vcpu *v, const struct insn *i)
{
    struct ctx *c = bt_ctx(v);
    struct iret_done *d;
    u64 salt = c->salt, e;
    u32 mode = v->mode, sflags = v->sflags, at = v->gpr[R_ESP], image = FL_TF;
    bool good, there;
    int r;

    e = v->rtab[at >> PAGE_SHIFT]; /* where gates are worth a record the stack is flat */
    if (likely(e && in_page(at, 20)))
        image = ((const u32 *)(e + at))[2];
    if (likely(cpu_iret_again(v))) {
        v->stats.insns_callout++;
    } else if (unlikely(interp_exec(v, i) != CPU_OK)) {
        cpu_deliver_fault(v);
        return bt_continue(v);
    } else {
        v->stats.insns_callout++;
    }
    d = &c->iret[v->cpl == 3];
    good = iret_record(v, d, mode, sflags, image);
    r = go_on(v, c, salt, &there);
    if (good && there) {
        d->to = bt_ctx(v);
        d->to_salt = bt_ctx(v)->salt;
        d->from_mode = mode;
    }
    return r;
}
