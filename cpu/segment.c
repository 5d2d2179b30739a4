/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segment registers: the checks of every access that is not covered by seg.fast, loads of the data segment
 * registers, and the stack helpers that privilege changes share.
 *
 * Invariants
 *  - seg[].fast and flat always agree with base, limit and attr (seg_calc); cpu_update_mode() re-establishes
 * them for whoever wrote the fields directly.
 *  - A null selector leaves base and limit alone and sets SA_NULL, so that a later real-mode load finds a
 * usable limit.
 *  - Real mode loads change selector and base only (limit and rights stay: "unreal mode" works); V86 loads
 * fix all.
 *  - A load that faults changes nothing, except that the accessed bit may already be set in memory.
 */
#include "cpu/sys.h"

void seg_refresh(struct seg *s)
{
    seg_calc(s);
}

/* Is [off, off+len) within the segment's limit (SDM vol. 3, 5.3)? An access that wraps at 4 GiB is refused,
 * which the manual allows for 4 GiB segments. */
static inline bool seg_in_limit(const struct seg *s, u32 off, u32 len)
{
    u32 last = off + (len - 1);
    if (last < off)
        return false;
    if ((s->attr & (SA_CODE | SA_EC | SA_S)) == (SA_EC | SA_S))
        return off > s->limit && last <= seg_stack_mask(s);
    return last <= s->limit;
}

int seg_check(struct vcpu *v, int seg, u32 off, u32 len, int acc, u32 *lin)
{
    const struct seg *s = &v->seg[seg];
    if (unlikely(s->attr & SA_NULL))
        goto fault;
    if (sys_protected(v)) {
        bool code = s->attr & SA_CODE, rw = s->attr & SA_RW;
        if ((acc & SEGF_W) && (code || !rw))
            return cpu_raise_err(v, EXC_GP, 0);
        if ((acc & SEGF_R) && code && !rw)
            return cpu_raise_err(v, EXC_GP, 0);
    }
    if (unlikely(!seg_in_limit(s, off, len)))
        goto fault;
    *lin = s->base + off;
    return CPU_OK;
fault:
    return cpu_raise_err(v, seg == S_SS ? EXC_SS : EXC_GP, 0);
}

void seg_load_real(struct vcpu *v, int seg, u16 sel)
{
    struct seg *s = &v->seg[seg];
    s->sel = sel;
    s->base = (u32)sel << 4;
    if (v->sflags & FL_VM) {
        s->limit = 0xffff;
        s->attr = SA_P | SA_S | (3u << SA_DPL_SHIFT) | SA_RW | SA_A;
    } else {
        s->attr = (s->attr & ~SA_NULL) | SA_P | SA_S;
    }
    seg_calc(s);
}

static inline void seg_commit(struct vcpu *v, int seg, const struct seg *n)
{
    struct seg *s = &v->seg[seg];
    bool same = s->base == n->base && s->limit == n->limit && s->attr == n->attr;
    *s = *n;
    if (!same)
        mode_refresh(v);
}

void segc_put(struct vcpu *v, u32 tag, const struct desc *d, const struct seg *s)
{
    struct seg_cached *c = &v->segc[tag >> 3 & (SEGC_ENTRIES - 1)];

    if (!(tag & 0xfffc) || (d->lin & 7))
        return;
    *c = (struct seg_cached){
        .tag = tag, .lin = d->lin, .raw = d->raw, .page = (d->lin >> PAGE_SHIFT) * 8, .seg = *s};
    if (tag & 4) {
        c->attr = v->seg[S_LDTR].attr;
        c->table = (u64)v->seg[S_LDTR].limit << 32 | v->seg[S_LDTR].base;
    } else {
        __builtin_memcpy(&c->table, &v->gdtr, sizeof(c->table));
    }
}

int seg_load(struct vcpu *v, int seg, u16 sel)
{
    if (unlikely(!sys_protected(v))) {
        seg_load_real(v, seg, sel);
        mode_refresh(v);
        return CPU_OK;
    }
    u32 err = sel & 0xfffc, rpl = sel & 3;
    if (unlikely(err == 0)) {
        if (seg == S_SS)
            return cpu_raise_err(v, EXC_GP, 0);
        bool was = v->seg[seg].attr & SA_NULL;
        seg_set_null(&v->seg[seg], sel);
        if (!was)
            mode_refresh(v);
        return CPU_OK;
    }
    struct desc d;
    TRY(desc_load(v, sel, EXC_GP, &d));
    u32 attr = desc_attr(&d), dpl = desc_dpl(&d);
    if (seg == S_SS) {
        if (unlikely(rpl != v->cpl || !desc_is_wdata(&d) || dpl != v->cpl))
            return cpu_raise_err(v, EXC_GP, err);
        if (unlikely(!(attr & SA_P)))
            return cpu_raise_err(v, EXC_SS, err);
    } else {
        if (unlikely(!(attr & SA_S) || (attr & (SA_CODE | SA_RW)) == SA_CODE))
            return cpu_raise_err(v, EXC_GP, err);
        bool conforming = (attr & (SA_CODE | SA_EC)) == (SA_CODE | SA_EC);
        if (unlikely(!conforming && (rpl > dpl || v->cpl > dpl)))
            return cpu_raise_err(v, EXC_GP, err);
        if (unlikely(!(attr & SA_P)))
            return cpu_raise_err(v, EXC_NP, err);
    }
    TRY(desc_mark_accessed(v, &d));
    struct seg n = seg_from_desc(sel, &d);
    seg_commit(v, seg, &n);
    if (seg != S_SS)
        segc_put(v, (u32)v->cpl << 16 | sel, &d, &n);
    return CPU_OK;
}

/* ---- stack frames ---- */

/* A frame that wraps at the end of its 16-bit (or 4 GiB) stack, or that needs more than one look at the
 * tables: each value on its own, in the order of the pushes (which cr2 shows), all checked before any write.
 */
static __attribute__((noinline)) int push_each(struct vcpu *v, const struct seg *ss, u32 *esp,
                                               const u32 *vals, int n, u32 size, int user, u32 error)
{
    u32 mask = seg_stack_mask(ss), sp = *esp & mask;
    for (int i = 0; i < n; i++) {
        sp = (sp - size) & mask;
        if (!seg_in_limit(ss, sp, size))
            return cpu_raise_err(v, EXC_SS, error);
        TRY(v->ops->mem_probe_write(v, ss->base + sp, size, user));
    }
    sp = *esp & mask;
    for (int i = 0; i < n; i++) {
        sp = (sp - size) & mask;
        TRY(v->ops->mem_write(v, ss->base + sp, &vals[i], size, user));
    }
    *esp = (*esp & ~mask) | sp;
    return CPU_OK;
}

int stack_push_frame(struct vcpu *v, const struct seg *ss, u32 *esp, const u32 *vals, int n, u32 size,
                     int user, u32 error)
{
    u32 mask = seg_stack_mask(ss), bytes = (u32)n * size, lo = (*esp - bytes) & mask;
    u32 last = lo + (bytes - 1);
    if (unlikely(last < lo || last > mask || v->slow_access))
        return push_each(v, ss, esp, vals, n, size, user, error);
    if (unlikely(!seg_in_limit(ss, lo, bytes)))
        return cpu_raise_err(v, EXC_SS, error);
    u32 buf[FRAME_MAX];
    if (likely(size == 4)) {
        for (int i = 0; i < n; i++)
            buf[n - 1 - i] = vals[i];
    } else {
        u16 *b16 = (u16 *)buf;
        for (int i = 0; i < n; i++)
            b16[n - 1 - i] = (u16)vals[i];
    }
    u32 lin = ss->base + lo;
    u64 e = user == (v->cpl == 3) ? v->wtab[lin >> PAGE_SHIFT] : 0;
    if (likely(e && (lin & PAGE_MASK) <= PAGE_SIZE - bytes)) {
        u8 *p = (u8 *)(e + lin);
        for (u32 i = 0; i < bytes; i += 2)
            __builtin_memcpy(p + i, (u8 *)buf + i, 2);
    } else {
        return push_each(v, ss, esp, vals, n, size, user, error);
    }
    *esp = (*esp & ~mask) | lo;
    return CPU_OK;
}

int stack_push(struct vcpu *v, const u32 *vals, int n, u32 size)
{
    return stack_push_frame(v, &v->seg[S_SS], &v->gpr[R_ESP], vals, n, size, v->cpl == 3, 0);
}

int tss_inner_stack(struct vcpu *v, u32 dpl, struct seg *ss, u32 *esp)
{
    const struct seg *tr = &v->seg[S_TR];
    u16 sel;
    if (likely(tr->attr & 8)) {
        u32 at = dpl * 8 + 4;
        struct {
            u32 esp;
            u16 ss, pad;
        } t;
        if (unlikely(at + 5 > tr->limit))
            return cpu_raise_err(v, EXC_TS, tr->sel & 0xfffc);
        if (likely(at + 7 <= tr->limit)) {
            TRY(sys_read(v, tr->base + at, &t, 8));
        } else {
            TRY(sys_read(v, tr->base + at, &t.esp, 4));
            TRY(sys_read(v, tr->base + at + 4, &t.ss, 2));
        }
        *esp = t.esp;
        sel = t.ss;
    } else {
        u32 at = dpl * 4 + 2;
        u16 t[2];
        if (unlikely(at + 3 > tr->limit))
            return cpu_raise_err(v, EXC_TS, tr->sel & 0xfffc);
        TRY(sys_read(v, tr->base + at, t, 4));
        *esp = t[0];
        sel = t[1];
    }
    u32 err = sel & 0xfffc;
    struct desc d;
    if (unlikely(err == 0))
        return cpu_raise_err(v, EXC_TS, err);
    TRY(desc_load(v, sel, EXC_TS, &d));
    if (unlikely((sel & 3u) != dpl || desc_dpl(&d) != dpl || !desc_is_wdata(&d)))
        return cpu_raise_err(v, EXC_TS, err);
    if (unlikely(!desc_present(&d)))
        return cpu_raise_err(v, EXC_SS, err);
    TRY(desc_mark_accessed(v, &d));
    *ss = seg_from_desc(sel, &d);
    return CPU_OK;
}
