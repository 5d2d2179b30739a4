/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Contexts: everything besides eip that translated code depends on while it runs. A context is an
 * address-space view, a mode and a code segment. It owns a return stack, a place in the indirect-branch
 * cache, which makes its tags there different from all others' (translator/abi.h), and a salt, which says
 * whether it is still the one that somebody has seen.
 *
 * Invariant: whatever runs with r14, GS base, branch cache and return stack of a context was looked up in
 * that context, so neither the branch cache nor a predicted return can lead to code of another privilege
 * level or address space. When an exec-table entry of a view goes away, the view's epoch moves on and all its
 * contexts with it.
 */
#include "monitor/bt.h"
#include "shadowpt/shadowpt.h"

static inline u32 mode_with(const struct vcpu *v, bool window)
{
    const u32 flat = MODE_PE | MODE_FLATDS | MODE_FLATES | MODE_FLATSS;
    u32 mode = v->mode & ~MODE_STEP;

    if ((mode & (flat | MODE_VM)) != flat || !window)
        return mode;
    return mode | MODE_WIN | (shadow_window_low(v) ? MODE_LOW : 0);
}

u32 bt_mode(const struct vcpu *v)
{
    return mode_with(v, shadow_window_on(v));
}

static u32 *view_epoch(struct bt *b, u64 base)
{
    return &b->epoch[(base >> 33) & (VIEW_SLOTS - 1)];
}

/* The empty return stack of a context: one entry, which is never popped. */
void bt_forget_returns(struct bt *b, struct ctx *c)
{
    u8 *stack = b->ret_stacks + (u64)(c - b->ctx) * RET_STACK;
    u64 *bottom = (u64 *)(stack + RET_STACK - 64);

    *bottom = (u64)(uintptr_t)th_underflow;
    c->rsp = (u64)(uintptr_t)bottom;
}

static inline bool same(const struct ctx *c, const struct ctx *k)
{
    return c->base == k->base && c->mode == k->mode && c->epoch == k->epoch && c->cs_base == k->cs_base &&
           c->cs_limit == k->cs_limit;
}

/* Is c the context of the current view (at base), mode and code segment? While memory is looked at word by
 * word (slow_access), base is that of the empty view, which no context has. */
static inline bool is_current(const struct ctx *c, const struct vcpu *v, u64 base)
{
    return c->base == base && !((c->mode ^ v->mode) & ~(MODE_WIN | MODE_LOW | MODE_STEP)) &&
           *c->window_on == c->in_window && *c->epoch_of == c->epoch && c->cs_base == v->seg[S_CS].base &&
           c->cs_limit == v->seg[S_CS].limit;
}

static inline void set_gs(struct vcpu *v, u64 window)
{
    if (window && v->bt[BT_GS] != window) {
        __asm__ volatile("wrgsbase %0" : : "r"(window)); /* unprivileged where HWCAP2_FSGSBASE says so */
        v->bt[BT_GS] = window;
    }
}

static inline void enter_context(struct vcpu *v, const struct ctx *n)
{
    set_gs(v, n->window);
    v->bt[BT_CTX] = (u64)(uintptr_t)n;
    v->bt[BT_IBTC] = n->ibtc;
    v->bt[BT_RSP] = n->rsp;
}

/* Looks for the context that follows c, or makes it. */
static __attribute__((noinline)) void find_context(struct vcpu *v, struct ctx *c, u64 base)
{
    struct bt *b = bt_of(v);

    shadow_window_settle(v);
    bool window = shadow_window_on(v);
    struct ctx k = {.base = base,
                    .mode = mode_with(v, window),
                    .cs_base = v->seg[S_CS].base,
                    .cs_limit = v->seg[S_CS].limit,
                    .epoch = *view_epoch(b, base)};
    struct ctx *n = &b->ctx[(u32)((base >> 33) * 31 + (k.mode ^ k.mode >> 7) + k.cs_base) % CTX_CACHE];

    if (!n->salt || !same(n, &k)) {
        if (unlikely(b->places == CTX_PLACES))
            bt_forget_branches(b);
        *n = k;
        n->salt = (b->next_salt += 1ull << 32);
        bt_forget_returns(b, n);
        n->ibtc = (u64)(uintptr_t)&b->ibtc[b->places++ * CTX_SPREAD % CTX_PLACES];
        n->window = k.mode & MODE_WIN ? shadow_window_base(v) : 0;
        n->epoch_of = view_epoch(b, base);
        n->window_on = shadow_window_flag(v);
        n->sys.from_mode = n->ts.from_mode = n->gate.from_mode = NO_MODE;
        n->iret[0].from_mode = n->iret[1].from_mode = NO_MODE;
    }
    n->in_window = *n->window_on; /* where the mode is not for windows, either will do */
    if (c)
        c->next = n;
    enter_context(v, n);
}

/* Makes r14, the branch cache and the return stack match the current view, mode and code segment. */
void bt_select_context(struct vcpu *v)
{
    struct ctx *c = bt_ctx(v), *n;
    u64 base = bt_view_base(v);

    v->bt[BT_BASE] = base;
    v->bt[BT_SUPER] = shadow_supervisor_base(v);
    if (unlikely(!c)) {
        find_context(v, NULL, base);
        return;
    }
    if (likely(is_current(c, v, base))) {
        set_gs(v, c->window);
        return;
    }
    c->rsp = v->bt[BT_RSP];
    n = c->next; /* mostly there and back again: a system call */
    if (likely(n && n->salt && is_current(n, v, base)))
        enter_context(v, n);
    else
        find_context(v, c, base);
}

int bt_cr3(struct vcpu *v, u32 value)
{
    struct bt *b = bt_of(v);

    if (unlikely(cpu_write_cr(v, 3, value) != CPU_OK))
        return CR3_NOT; /* who finds this fault again delivers it */
    v->stats.insns_callout++;
    b->retry_eip = ~0u;
    if (unlikely(v->events || !v->fpu_live || v->debug || b->cfg.windows_always))
        return CR3_LOOK;
    bt_select_context(v);
    return unlikely(v->bt[BT_PF] == v->bt[BT_BASE]) ? CR3_LOOK : CR3_DONE;
}

void bt_exec_removed(void *opaque, u64 base, u32 page)
{
    struct bt *b = opaque;

    (void)page;
    ++*view_epoch(b, base);
    if (base == b->v->bt[BT_BASE])
        b->v->events |= EV_SMC;
}
