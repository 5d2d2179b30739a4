/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a guest eip to a fragment: exec table, cache lookup, and translation where there is none.
 *
 * A fragment belongs to guest-physical bytes, an eip, a mode and (where CS is not flat) the code segment's
 * base and limit; it may run in any address space that maps those bytes at that address. The pages it was
 * made from carry MEMW_CODE, so that any write to them ends in bt_code_written().
 */
#include <sys/mman.h>
#include "base/log.h"
#include "base/opts.h"
#include "monitor/bt.h"
#include "shadowpt/shadowpt.h"
#include "tcache/verify.h"

#define FOLLOW_MAX 16 /* copies made at once */

/* Exec-table value of the page of lin, filling it: 0 if the page is not RAM or ROM. CPU_FAULT: v->fault is
 * set. */
static int exec_page(struct vcpu *v, u32 lin, u32 *x)
{
    const u8 *host;
    u64 gpa;

    *x = v->xtab[lin >> PAGE_SHIFT];
    if (likely(*x))
        return CPU_OK;
    if (v->ops->fetch(v, lin, &host, &gpa) != CPU_OK)
        return CPU_FAULT;
    *x = host ? v->xtab[lin >> PAGE_SHIFT] : 0;
    return CPU_OK;
}

static struct insn *keep_insn(void *opaque, const struct insn *i)
{
    struct bt *b = opaque;
    struct insn *p = tcache_alloc(b->tc, sizeof(*p));

    if (p) {
        *p = *i;
        if (b->n_kept < ARRAY_SIZE(b->kept))
            b->kept[b->n_kept++] = p;
    }
    return p;
}

static bool learned(struct bt *b, const u64 *site, u32 off)
{
    bool is = *site == b->unit_gpa + off + 1;

    b->unit_learned |= is;
    return is;
}

static bool table_site(void *opaque, u32 off)
{
    struct bt *b = opaque;
    return learned(b, bt_table_site(b, b->unit_gpa + off), off);
}

static bool check_site(void *opaque, u32 off)
{
    struct bt *b = opaque;
    return learned(b, bt_check_site(b, b->unit_gpa + off), off);
}

/* A debugger's breakpoint begins a unit of its own, which is never made: bt_continue() sees it first. */
static bool stop_before(void *opaque, u32 off)
{
    struct bt *b = opaque;
    const struct cpu_debug *d = b->v->debug;

    for (u32 n = 0; n < d->n_breaks; n++)
        if (d->breaks[n] == b->unit_lin + off)
            return true;
    return false;
}

static void forget_page(void *opaque, u64 gpa)
{
    struct bt *b = opaque;
    memory_unwatch(b->m, gpa, MEMW_CODE);
}

void bt_forget_branches(struct bt *b)
{
    for (u32 n = 0; n < IBTC_ENTRIES; n++)
        b->ibtc[n] = 0;
    for (u32 n = 0; n < CTX_CACHE; n++)
        b->ctx[n].salt = 0;
    b->v->bt[BT_CTX] = 0;
    b->places = 0;
}

void bt_flush(struct vcpu *v)
{
    struct bt *b = bt_of(v);

    cpu_fpu_park_last(v); /* the x87's pointers are looked up while the code that they point to is there */
    tcache_flush(b->tc, forget_page, b);
    if (b->kick_tried)
        madvise(b->kick_tried, bt_kick_tried_bytes(b), MADV_DONTNEED);
    interp_flush(v); /* pages lost their watch: the interpreter's decode cache must not trust them either */
    bt_forget_branches(b);
    v->events |= EV_SMC;
    v->stats.tc_flushes++;
    if (b->cfg.code_made)
        b->cfg.code_made(b->cfg.code_opaque, NULL, 0, 0);
}

/* Who keeps a list of all fragments begins it anew, with those that are left. */
static void list_again(struct bt *b)
{
    b->cfg.code_made(b->cfg.code_opaque, NULL, 0, 0);
    for (u32 n = 0; n < tcache_fragments(b->tc); n++) {
        const struct fragment *f = tcache_fragment(b->tc, n);
        if (f->valid)
            b->cfg.code_made(b->cfg.code_opaque, fragment_host(b->tc, f), f->host_len,
                             f->key.cs_base + f->key.eip);
    }
}

/* What leads to copies: no branch and no return does any more. The contexts stay, with what else they know.
 */
static void forget_copies(struct bt *b)
{
    struct ctx *now = bt_ctx(b->v);

    for (u32 n = 0; n < IBTC_ENTRIES; n++)
        if (b->ibtc[n] && tcache_in_copies(b->tc, *bt_branch_host(&b->ibtc[n])))
            b->ibtc[n] = 0;
    for (u32 n = 0; n < CTX_CACHE; n++)
        if (b->ctx[n].salt)
            bt_forget_returns(b, &b->ctx[n]);
    if (now)
        b->v->bt[BT_RSP] = now->rsp;
}

/* As bt_flush(), for copies only. */
static void flush_copies(struct vcpu *v)
{
    struct bt *b = bt_of(v);

    cpu_fpu_park_last(v);
    tcache_flush_copies(b->tc);
    forget_copies(b);
    v->events |= EV_SMC;
    v->stats.tc_copy_flushes++;
    if (unlikely(b->cfg.code_made))
        list_again(b);
}

static void fragment_dropped(void *opaque, const struct fragment *f)
{
    struct bt *b = opaque;
    u64 host = (u64)(uintptr_t)tcache_indirect(b->tc, f);

    for (u32 n = 0; n < CTX_CACHE; n++) { /* every context may have an entry for it, at a place of its own */
        u64 *tag;
        if (!b->ctx[n].salt)
            continue;
        tag = bt_branch_tag(&b->ctx[n], f->key.eip);
        if (*bt_branch_host(tag) == host)
            *tag = 0;
    }
    b->v->stats.tc_smc++;
}

void bt_code_written(void *opaque, u64 gpa, u32 len)
{
    struct bt *b = opaque;

    b->v->stats.code_page_writes++;
    if (tcache_invalidate(b->tc, gpa, len, fragment_dropped, b))
        b->v->events |= EV_SMC;
    if (!tcache_page_used(b->tc, gpa)) {
        memory_unwatch(b->m, gpa, MEMW_CODE);
        tcache_unsee(b->tc, gpa);
    }
}

void bt_retranslate(struct vcpu *v, u64 gpa)
{
    if (tcache_invalidate(bt_of(v)->tc, gpa, 1, fragment_dropped, bt_of(v)))
        v->events |= EV_SMC;
}

/* --verify: a copy, or what came from a file, must be what a translation for its address would be, byte by
 * byte; and that was verified. What it refers to and what the translation kept are compared by content. */
static void check_moved(struct bt *b, const struct fragment *f, const u8 *code)
{
    u8 moved[UNIT_MAX_CODE];
    u32 n = 0, i = 0;

    tcache_unchained(b->tc, f, moved);

    NOVT_ASSERT(!b->unit.fixed && f->host_len == b->unit.host_len && f->n_moves == b->unit.n_moves &&
                f->n_links == b->unit.n_links && f->n_insns == b->unit.n_insns);
    while (n < f->host_len) {
        while (i < f->n_moves && (f->moves[i].kind != MOVE_INSN || f->moves[i].at < n))
            i++;
        if (i < f->n_moves && f->moves[i].at == n) {
            const struct insn *x, *y;
            __builtin_memcpy(&x, moved + n, 8);
            __builtin_memcpy(&y, code + n, 8);
            NOVT_ASSERT(!__builtin_memcmp(x, y, sizeof(*x)));
            n += 8;
            continue;
        }
        if (unlikely(moved[n] != code[n]))
            NOVT_BUG("%08x for %08x, mode %05x, not translated: byte %x of %x is %02x, translated it would "
                     "be %02x",
                     (u32)f->key.gpa, f->key.eip, f->key.mode, n, f->host_len, moved[n], code[n]);
        n++;
    }
}

static void check_entry(struct bt *b, const struct fragment *f)
{
    u32 len, check;
    const u8 *entry = tcache_entry(b->tc, f, &len, &check);

    if (len && !verify_entry(entry, len, check, f->key.eip, f->key.cs_base + f->key.eip,
                             (u32)(f->key.gpa >> PAGE_SHIFT) + 1))
        NOVT_BUG("checked entry of %08x for %08x is none", (u32)f->key.gpa, f->key.eip);
}

struct unit_env bt_unit_env(struct vcpu *v, const struct frag_key *k)
{
    struct bt *b = bt_of(v);

    return (struct unit_env){
        .model = v->model,
        .memo = b->memo,
        .opts = v->opts & b->host_opts,
        .mode = k->mode,
        .eip = k->eip,
        .cs_base = k->cs_base,
        .cs_limit = k->cs_limit,
        .avail = PAGE_SIZE - (u32)(k->gpa & PAGE_MASK),
        .count = b->cfg.count,
        .exact = b->cfg.exact,
        .host_tsc = !v->ops->tsc,
        .traps = b->cfg.kicks != KICKS_NONE,
        .traps_all = b->cfg.kicks >= KICKS_INSTRUCTION,
    };
}

/* Which way the fragment that is compared with goes at this branch: where its next instruction is. */
static u32 hint_of_check(void *opaque, u32 off, u32 next)
{
    const struct fragment *f = ((struct bt *)opaque)->unit_check;
    u32 lo = 0, hi = f->n_insns;

    while (lo + 1 < hi) {
        u32 mid = (lo + hi) / 2;
        if (f->pcmap[mid].guest <= off)
            lo = mid;
        else
            hi = mid;
    }
    if (lo + 1 == f->n_insns)
        return HINT_NEVER_PASSED;
    return f->pcmap[lo + 1].guest == next ? 0 : HINT_TAKEN;
}

/* check: a fragment that must be what is made, byte by byte; NULL: one is made. */
static enum bt_found translate(struct vcpu *v, const struct frag_key *k, const struct fragment *check,
                               struct fragment **out)
{
    struct bt *b = bt_of(v);
    u32 lin = k->cs_base + k->eip, x2 = 0;
    u8 cross[2 * INSN_MAX];
    struct unit_env env = bt_unit_env(v, k);

    env.profile = b->profile;
    env.keep_insn = keep_insn;
    env.check_site = v->opts & OPT(faultsites) ? check_site : NULL;
    env.stop_before = v->debug && v->debug->n_breaks ? stop_before : NULL;
    env.hint = check ? hint_of_check : NULL;
    env.opaque = b;
    b->unit_check = check;
    if (bt_learned(b, k->gpa))
        env.table_site = table_site;
    if (unlikely(!b->memo || b->verifier || b->cfg.code_made))
        cpu_fpu_park(v);
    b->unit_gpa = k->gpa;
    b->unit_lin = lin;
    for (int attempt = 0; attempt < 4; attempt++) {
        enum xlate_status st;
        u8 *code;
        u32 cap;

        b->n_kept = 0;
        b->unit_learned = env.stop_before;
        shadow_code_page(v, k->gpa);
        env.bytes = memory_host(b->m, k->gpa);
        NOVT_ASSERT(env.bytes);
        if (!tcache_reserve(b->tc, &code, &cap, &env.first_link)) {
            if (check)
                return BT_FOUND;
            bt_flush(v);
            continue;
        }
        if (check)
            env.first_link = check->first_link;
        env.may_lead = !check;
        env.line_at =
            (u32)(check ? (uintptr_t)fragment_host(b->tc, check) : (uintptr_t)code) & (CODE_LINE - 1);
        st = translate_unit(&env, code, cap, &b->unit);
        if (st == XLATE_NEED_CROSS) {
            u32 n = env.avail < INSN_MAX ? env.avail : INSN_MAX;
            u64 gpa2;
            const u8 *h2;

            if (exec_page(v, lin + env.avail, &x2) != CPU_OK) {
                cpu_deliver_fault(v);
                return BT_RETRY_EIP;
            }
            if (!x2)
                return BT_USE_INTERP;
            gpa2 = (u64)(x2 - 1) << PAGE_SHIFT;
            shadow_code_page(v, gpa2);
            h2 = memory_host(b->m, gpa2);
            for (u32 i = 0; i < n; i++)
                cross[i] = env.bytes[i];
            for (u32 i = 0; i < INSN_MAX; i++)
                cross[n + i] = h2[i];
            b->n_kept = 0;
            env.cross = cross;
            env.cross_avail = n + INSN_MAX;
            env.cross_expect = x2;
            st = translate_unit(&env, code, cap, &b->unit);
        }
        if (st == XLATE_INTERP)
            return BT_USE_INTERP;
        if (st == XLATE_FULL) {
            if (check)
                return BT_FOUND;
            bt_flush(v);
            continue;
        }
        code += b->unit.lead;
        if (unlikely(b->verifier))
            bt_verify_unit(v, k, code, env.first_link);
        if (unlikely(check)) {
            check_moved(b, check, code);
            check_entry(b, check);
            return BT_FOUND;
        }
        *out = tcache_commit(b->tc, k, b->unit.crosses ? x2 : 0, &b->unit);
        if (!*out) {
            bt_flush(v);
            continue;
        }
        (*out)->local = b->unit_learned || b->unit.insns[b->unit.n_insns - 1].fn == insn_ud;
        if (unlikely(b->verifier))
            check_entry(b, *out);
        v->stats.tc_fragments++;
        v->stats.sensitive_leaks += b->unit.leaks;
        v->stats.tc_guest_insns += b->unit.n_insns;
        v->stats.tc_guest_bytes += b->unit.guest_len;
        v->stats.tc_host_bytes += b->unit.host_len;
        if (unlikely(b->cfg.code_made))
            b->cfg.code_made(b->cfg.code_opaque, fragment_host(b->tc, *out), b->unit.host_len, lin);
        if (unlikely(b->cfg.dump))
            bt_dump_unit(v, *out, &b->unit);
        return BT_FOUND;
    }
    return BT_USE_INTERP;
}

void bt_check_made(struct vcpu *v, struct fragment *f)
{
    translate(v, &f->key, f, &f);
}

/* x: exec-table value of the page of lin. */
static u64 physical(u32 x, u32 lin)
{
    return (u64)(x - 1) << PAGE_SHIFT | (lin & PAGE_MASK);
}

static void made_copy(struct vcpu *v, struct fragment *f)
{
    struct bt *b = bt_of(v);

    v->stats.tc_moved++;
    if (unlikely(b->cfg.code_made)) {
        cpu_fpu_park(v);
        b->cfg.code_made(b->cfg.code_opaque, fragment_host(b->tc, f), f->host_len,
                         f->key.cs_base + f->key.eip);
    }
    if (unlikely(b->verifier))
        bt_check_made(v, f);
}

/* Do the tables say, as far as they know, that what k was made from is there? */
static bool is_there(const struct vcpu *v, const struct fragment *from, const struct frag_key *k)
{
    u32 x = v->xtab[k->eip >> PAGE_SHIFT];
    return !from->page2 && x && physical(x, k->eip) == k->gpa;
}

/* An exit of a copy, and what it will lead to. */
struct follow_up {
    u32 link;
    struct fragment *from;
    struct frag_key k;
};

/* What f's exits will lead to, as far as that is there. Returns how many. */
static u32 follow_ups(struct vcpu *v, const struct fragment *f, struct follow_up *list, u32 max)
{
    struct tcache *tc = bt_of(v)->tc;
    u32 n = 0;

    tcache_expect_foretell(tc, f);
    for (u32 l = 0; l < f->n_links && n < max; l++) {
        struct follow_up *x = &list[n];
        x->from = tcache_foretell(tc, f, l, &x->k);
        if (!x->from || !is_there(v, x->from, &x->k))
            continue;
        x->link = f->first_link + l;
        tcache_expect_move(tc, x->from, &x->k);
        n++;
    }
    return n;
}

/* A copy's exits are chained at once to where they led at other addresses, and what is not there yet is
 * copied, too: it spares an exit to the monitor and two look-ups for each. */
static void follow(struct vcpu *v, struct fragment *f)
{
    struct bt *b = bt_of(v);
    struct follow_up list[2 * FOLLOW_MAX];
    u32 copies = 1, n = follow_ups(v, f, list, ARRAY_SIZE(list));

    for (u32 i = 0; i < n; i++) {
        struct follow_up *x = &list[i];
        struct fragment *to = tcache_latest(b->tc, x->from, &x->k);
        if (!to) {
            if (copies == FOLLOW_MAX || !(to = tcache_move(b->tc, x->from, &x->k)))
                continue;
            made_copy(v, to);
            v->stats.tc_followed++;
            copies++;
            n += follow_ups(v, to, &list[n], ARRAY_SIZE(list) - n);
        }
        tcache_link(b->tc, x->link, to);
        v->stats.tc_links++;
    }
}

/* Makes the fragment for k from one of the same bytes at another address; *out stays NULL if that cannot be.
 */
static enum bt_found reuse(struct vcpu *v, const struct frag_key *k, struct fragment *from,
                           struct fragment **out)
{
    struct bt *b = bt_of(v);
    u32 x2;

    tcache_expect_move(b->tc, from, k);
    if (from->page2) {
        if (exec_page(v, ((k->cs_base + k->eip) | PAGE_MASK) + 1, &x2) != CPU_OK) {
            cpu_deliver_fault(v);
            return BT_RETRY_EIP;
        }
        if (x2 != from->page2)
            return BT_FOUND;
    }
    *out = tcache_move(b->tc, from, k);
    if (unlikely(!*out)) {
        flush_copies(v);
        *out = tcache_move(b->tc, from, k);
        if (!*out)
            return BT_FOUND;
    }
    made_copy(v, *out);
    if (v->opts & OPT(follow))
        follow(v, *out);
    return BT_FOUND;
}

/* Whether all that a translation depends on, besides what the copy's key has, is the same everywhere: a
 * breakpoint is at one address, and forced stops change code. */
static inline bool may_reuse(const struct vcpu *v)
{
    const struct bt *b = bt_of((struct vcpu *)v);
    return (v->opts & OPT(reuse)) && !b->cfg.kicks && !b->cfg.dump && !(v->debug && v->debug->n_breaks);
}

/* What is looked for, but for the physical address. */
static struct frag_key wanted(const struct vcpu *v)
{
    bool flat = v->mode & MODE_FLATCS;

    return (struct frag_key){
        .eip = v->eip,
        .mode = bt_mode(v),
        .cs_base = flat ? 0 : v->seg[S_CS].base,
        .cs_limit = flat ? 0xffffffff : v->seg[S_CS].limit,
    };
}

enum bt_found bt_find(struct vcpu *v, struct fragment **out)
{
    struct bt *b = bt_of(v);
    struct frag_key k = wanted(v);
    u32 lin = k.cs_base + k.eip, x;

    if (unlikely(k.eip > k.cs_limit))
        return BT_USE_INTERP; /* #GP */
    if (unlikely(exec_page(v, lin, &x) != CPU_OK)) {
        cpu_deliver_fault(v);
        return BT_RETRY_EIP;
    }
    if (unlikely(!x))
        return BT_USE_INTERP;
    k.gpa = physical(x, lin);
    *out = tcache_lookup(b->tc, &k);
    if (!*out && unlikely(tcache_unseen(b->tc, k.gpa))) {
        enum phase was = phase_begin(v->phases, PHASE_adopt);
        cpu_fpu_park(v);
        bt_see_page(v, k.gpa & ~(u64)PAGE_MASK);
        *out = tcache_lookup(b->tc, &k);
        phase_end(v->phases, was);
    }
    if (!*out) {
        struct fragment *from = likely(may_reuse(v)) ? tcache_alike(b->tc, &k) : NULL;
        enum phase was;
        enum bt_found r;
        if (from) {
            was = phase_begin(v->phases, PHASE_copy);
            r = reuse(v, &k, from, out);
            phase_end(v->phases, was);
            if (*out || r != BT_FOUND)
                return r;
        }
        was = phase_begin(v->phases, PHASE_translate);
        r = translate(v, &k, NULL, out);
        phase_end(v->phases, was);
        return r;
    }
    if ((*out)->page2) {
        u32 x2;
        if (exec_page(v, (lin | PAGE_MASK) + 1, &x2) != CPU_OK) {
            cpu_deliver_fault(v);
            return BT_RETRY_EIP;
        }
        if (x2 != (*out)->page2)
            return BT_USE_INTERP; /* the same first page followed by another second one: rare, not worth a key
                                   */
    }
    return BT_FOUND;
}
