/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries to handlers through gates of the IDT, and irets, that were done before in the same way.
 *
 * What a gate and the descriptors behind it lead to depends on their bytes and on little else, so an entry
 * that succeeded is remembered together with those bytes. The next one through the same vector reads them
 * again, all of them, through the supervisor's read table; if nothing has changed, the result is known
 * without decoding and checking anything. Nothing has to be invalidated, whoever writes the tables.
 *
 * Invariants
 *  - A hit does what the long way (exception.c, iret.c) would do, side effects included: the descriptors are
 * remembered with their accessed bits set, and a page whose table entry is set has its A (and D) bits set.
 *  - Whatever is unusual is a miss, and a miss has changed nothing: real mode, V86, task gates, 16-bit gates
 * and stacks, LDTs, conforming segments, single step and debug registers, alignment checks, frames that wrap
 * or cross a page, missing table entries. So a hit never faults.
 */
#include "base/opts.h"
#include "cpu/sys.h"

/* MODE_* bits that CS and SS decide, besides CPL and IOPL_OK. */
#define MODE_OF_CS (MODE_CS32 | MODE_FLATCS)
#define MODE_OF_SS (MODE_SS32 | MODE_FLATSS)

/* len bytes of the current view, or NULL. */
static inline const void *peek(const struct vcpu *v, u32 lin, u32 len)
{
    u64 e = v->rtab[lin >> PAGE_SHIFT];
    return likely(e && (lin & PAGE_MASK) <= PAGE_SIZE - len) ? (const void *)(e + lin) : NULL;
}
static inline bool holds(const struct vcpu *v, u32 lin, u64 raw)
{
    const u64 *p = peek(v, lin, 8);
    u64 now;
    if (unlikely(!p))
        return false;
    __builtin_memcpy(&now, p, 8);
    return now == raw;
}
/* Does the GDT still hold this descriptor for sel? */
static inline bool gdt_holds(const struct vcpu *v, u16 sel, u64 raw)
{
    return (sel | 7u) <= v->gdtr.limit && holds(v, v->gdtr.base + (sel & ~7u), raw);
}

/* A stack with 32-bit addresses and no limit, whose memory at esp..esp+len-1 lies in one page. */
static inline bool stack_page(const struct seg *ss, u32 esp, u32 len, u32 *lin)
{
    if (unlikely(ss->fast != (SEGF_R | SEGF_W) || !(ss->attr & SA_DB)))
        return false;
    *lin = ss->base + esp;
    return (*lin & PAGE_MASK) <= PAGE_SIZE - len && esp <= 0xffffffffu - (len - 1);
}

static inline bool plain(const struct vcpu *v)
{
    return (v->mode & (MODE_PE | MODE_VM | MODE_STEP)) == MODE_PE && !v->slow_access &&
           (v->opts & OPT(gates));
}

bool gate_enter(struct vcpu *v, const struct cpu_fault *f, u32 return_eip)
{
    const struct gate_cached *g = &v->gatec[f->vector % GATEC_ENTRIES];
    u32 at = f->vector * 8u, old = v->mode, esp = v->gpr[R_ESP], lin, n = 3;
    bool outer = v->cpl == 3, err = f->has_error && !f->is_soft && !f->is_ext;
    const struct seg *ss = &v->seg[S_SS];
    u64 e;

    if (g->key != cpu_gate_key(f->vector, v->cpl, f->is_soft) || f->is_trap || at + 7 > v->idtr.limit ||
        !plain(v))
        return false;
    if (outer) {
        const struct seg *tr = &v->seg[S_TR];
        const u32 *t;
        if (unlikely(!(tr->attr & 8) || tr->limit < 11))
            return false;
        v->cpl = 0; /* the supervisor's tables */
        v->ops->cpl_changed(v);
        t = peek(v, tr->base + 4, 8);
        if (unlikely(!t || (u16)t[1] != g->ss.sel || !gdt_holds(v, g->ss.sel, g->ss_raw)))
            goto miss;
        esp = t[0];
        ss = &g->ss;
        n = 5;
    }
    n += err;
    if (unlikely(!holds(v, v->idtr.base + at, g->raw) || !gdt_holds(v, g->cs.sel, g->cs_raw) ||
                 !stack_page(ss, esp - 4 * n, 4 * n, &lin)))
        goto miss;
    e = v->wtab[lin >> PAGE_SHIFT];
    if (unlikely(!e))
        goto miss;

    u32 *w = (u32 *)(e + lin), fl = cpu_eflags(v);
    if (err)
        *w++ = f->error;
    w[0] = return_eip;
    w[1] = v->seg[S_CS].sel;
    w[2] = f->is_soft || f->is_ext || f->vector == EXC_DF || f->vector == EXC_MC ? fl : fl | FL_RF;
    v->mode = (old & ~(MODE_CPL | MODE_OF_CS)) | g->mode | MODE_IOPL_OK;
    if (outer) {
        w[3] = v->gpr[R_ESP];
        w[4] = v->seg[S_SS].sel;
        v->seg[S_SS] = g->ss;
        v->mode = (v->mode & ~MODE_OF_SS) | g->ss_mode;
    }
    v->seg[S_CS] = g->cs;
    v->gpr[R_ESP] = esp - 4 * n;
    v->sflags &= ~(FL_TF | FL_NT | FL_RF);
    v->iflag &= g->keep_if;
    v->eip = v->next_eip = g->off;
    if (v->mode != old)
        v->events |= EV_MODE;
    return true;

miss:
    if (outer) {
        v->cpl = 3;
        v->ops->cpl_changed(v);
    }
    return false;
}

void gate_remember(struct vcpu *v, const struct cpu_fault *f, u32 from, const struct desc *gate,
                   const struct desc *cs)
{
    struct gate_cached *g = &v->gatec[f->vector % GATEC_ENTRIES];
    const struct seg *ss = &v->seg[S_SS];
    struct desc sd = {0};

    if ((from != 0 && from != 3) || v->cpl != 0 || f->is_trap || f->vector == EXC_DB ||
        !(desc_type(gate) & 8) || (gate_sel(gate) & 4) || desc_conforming(cs))
        return;
    g->key = 0;
    if (from == 3 && ((ss->sel & 4) || desc_load(v, ss->sel, EXC_TS, &sd) != CPU_OK))
        return;
    g->raw = gate->raw;
    g->cs_raw = cs->raw;
    g->ss_raw = sd.raw;
    g->cs = v->seg[S_CS];
    g->ss = *ss;
    g->off = gate_off(gate, true);
    g->keep_if = desc_type(gate) & 1;
    g->mode = mode_of_cs(&g->cs);
    g->ss_mode = mode_of_ss(ss);
    g->key = cpu_gate_key(f->vector, from, f->is_soft);
}

/* Would the return to CPL 3 take the segment away from it? (seg_drop_privileged()) */
static inline bool keeps(const struct seg *s)
{
    return (s->attr & SA_NULL) || (s->attr & SA_DPL) == SA_DPL;
}

bool cpu_iret_again(struct vcpu *v)
{
    if ((v->sflags & FL_NT) || !iret_again(v))
        return false;
    v->nmi_blocked = 0;
    v->eip = v->next_eip;
    return true;
}

bool iret_again(struct vcpu *v)
{
    const struct iret_cached *r;
    u32 lin, esp = v->gpr[R_ESP], cs, fl, model, old = v->mode;
    const u32 *w;
    bool outer;

    if (v->cpl != 0 || !plain(v) || !stack_page(&v->seg[S_SS], esp, 20, &lin) || !(w = peek(v, lin, 20)))
        return false;
    cs = (u16)w[1];
    fl = w[2];
    outer = (cs & 3) == 3;
    r = &v->iretc[cs >> 3 & (IRETC_ENTRIES - 1)];
    if (unlikely(r->key != (cs | 1u << 16) || (fl & (FL_VM | FL_TF | FL_AC)) || w[0] > r->cs.limit ||
                 !gdt_holds(v, (u16)cs, r->cs_raw)))
        return false;
    if (outer &&
        unlikely((u16)w[4] != r->ss.sel || !gdt_holds(v, r->ss.sel, r->ss_raw) || !keeps(&v->seg[S_DS]) ||
                 !keeps(&v->seg[S_ES]) || !keeps(&v->seg[S_FS]) || !keeps(&v->seg[S_GS])))
        return false;

    model = flags_model(v);
    cpu_set_eflags(v, (fl & model) | (cpu_eflags(v) & ~model));
    v->next_eip = w[0];
    v->seg[S_CS] = r->cs;
    v->mode = (old & ~MODE_OF_CS) | r->mode;
    if (outer) {
        v->gpr[R_ESP] = w[3];
        v->seg[S_SS] = r->ss;
        v->mode =
            (v->mode & ~(MODE_OF_SS | MODE_IOPL_OK)) | r->ss_mode | 3 | (cpu_iopl(v) == 3 ? MODE_IOPL_OK : 0);
        v->cpl = 3;
        v->ops->cpl_changed(v);
    } else {
        v->gpr[R_ESP] = esp + 12;
    }
    if (v->mode != old)
        v->events |= EV_MODE;
    return true;
}

void iret_remember(struct vcpu *v, const struct desc *cs, const struct desc *ss)
{
    const struct seg *c = &v->seg[S_CS], *s = &v->seg[S_SS];
    struct iret_cached *r = &v->iretc[c->sel >> 3 & (IRETC_ENTRIES - 1)];

    if ((v->cpl != 0 && v->cpl != 3) || (c->sel & 4) || desc_conforming(cs) || (v->cpl == 3 && !ss) ||
        (ss && ((s->sel & 4) || !(s->attr & SA_DB))))
        return;
    r->cs_raw = cs->raw;
    r->ss_raw = ss ? ss->raw : 0;
    r->cs = *c;
    r->ss = *s;
    r->mode = mode_of_cs(c);
    r->ss_mode = mode_of_ss(s);
    r->key = c->sel | 1u << 16;
}
