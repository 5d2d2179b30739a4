/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fills: from a miss to table entries, or to the guest's page fault.
 *
 * Order matters and is: walk, check rights, set A/D, link the table pages (which may revoke write entries,
 * even of the page being filled, if it is a table itself), and only then look at the target page's watch
 * flags and install. So a write entry never exists for a watched page.
 *
 * One walk installs what it can: a read fill installs the write entry, too, if the mapping is already dirty
 * and writable at this privilege; large mappings fill a whole line of 64 pages (OPT(largefill)), since
 * kernels touch their direct map everywhere. Nothing is installed that would need A or D set where it is not.
 */
#include "shadowpt/internal.h"

static inline void set_read(struct shadow *s, struct sh_view *vw, u32 lp, u64 entry)
{
    sh_mark(s, vw, K_R, lp);
    vw->rt[lp] = entry;
    s->v->stats.shadow_fills_read++;
}

static inline void fill_words(u64 *p, u64 val, u64 n)
{
    __asm__ volatile("rep stosq" : "+D"(p), "+c"(n) : "a"(val) : "memory");
}

static inline bool all_bytes(const u8 *p, u64 pattern)
{
    u64 diff = 0;
    for (u32 i = 0; i < LINE_PAGES; i += 8) {
        u64 x;
        __builtin_memcpy(&x, p + i, 8);
        diff |= x ^ pattern;
    }
    return !diff;
}

/* The line around lp, mapped by a large page: entry is the same for all of it. */
static void fill_line(struct shadow *s, struct sh_view *vw, u32 lp, u32 page, u64 entry, bool wr)
{
    u32 lp0 = lp & ~(LINE_PAGES - 1), page0 = page & ~(LINE_PAGES - 1);
    const u8 *kind = s->map.kind + page0, *watch = s->map.watch + page0;
    sh_mark(s, vw, K_R, lp);
    if (wr) {
        sh_mark(s, vw, K_W, lp);
        sh_big_link(s, vw, lp >> 9, page >> 9);
    }
    if (likely(all_bytes(kind, MEM_RAM * 0x0101010101010101ull))) {
        fill_words(vw->rt + lp0, entry, LINE_PAGES);
        s->v->stats.shadow_fills_read += LINE_PAGES;
        if (!wr)
            return;
        if (all_bytes(watch, 0)) {
            fill_words(vw->wt + lp0, entry, LINE_PAGES);
            s->v->stats.shadow_fills_write += LINE_PAGES;
            return;
        }
        for (u32 i = 0; i < LINE_PAGES; i++)
            if (!watch[i]) {
                vw->wt[lp0 + i] = entry;
                s->v->stats.shadow_fills_write++;
            }
        return;
    }
    for (u32 i = 0; i < LINE_PAGES; i++) {
        if (kind[i] != MEM_RAM)
            continue;
        vw->rt[lp0 + i] = entry;
        s->v->stats.shadow_fills_read++;
        if (wr && !watch[i]) {
            vw->wt[lp0 + i] = entry;
            s->v->stats.shadow_fills_write++;
        }
    }
}

static __attribute__((cold, noinline)) void log_fill(struct shadow *s, u32 lin, enum shadow_access acc,
                                                     int user, const char *what, u64 val)
{
    cpu_fpu_park(s->v);
    LOG(mmu, "fill %08x %s%s: %s %llx (cr3 %08x)", lin,
        acc == SH_READ    ? "r"
        : acc == SH_WRITE ? "w"
                          : "x",
        user ? "u" : "s", what, (unsigned long long)val, s->cur->key & ~31u);
}

/* Before a fill takes anything: keep the bounded pools from running out in its middle. */
static __attribute__((cold, noinline)) void make_room(struct shadow *s)
{
    if (s->node_left < RMAP_RESERVE) {
        s->v->stats.shadow_rmap_full++;
        shadow_flush_all(s->v);
    }
    if (s->over)
        sh_trim(s);
}

/* A write was allowed but hit a watched page: the next one there needs no walk (shadow_write_slow(),
 * access.c).
 */
static inline void remember_slow(struct shadow *s, const struct sh_view *vw, u32 lp, u32 page)
{
    u32 i = (lp ^ vw->id) % TW_SIZE;
    s->tw[i].tag = 1 + ((u32)vw->id << 20 | lp);
    s->tw[i].page = page;
}

bool shadow_write_slow(const struct vcpu *v, u32 lin)
{
    const struct shadow *s = sh_of(v);
    u32 lp = lin >> PAGE_SHIFT, id = s->cur->view[v->cpl == 3].id, i = (lp ^ id) % TW_SIZE;
    return s->tw[i].tag == 1 + (id << 20 | lp) && s->map.watch[s->tw[i].page];
}

/* A program that begins has its pages of code brought in by its kernel several at a time, and executes most
 * of them for the first time soon: each was a look-up by the monitor. As many as a cache line has entries. */
#define EXEC_AROUND 16u

/* Installs what the walk found: rights are checked, A and D are set, the table pages are linked. */
static enum shadow_result install(struct shadow *s, struct sh_space *sp, struct sh_view *vw, u32 lin,
                                  const struct sh_walk *w, enum shadow_access acc)
{
    struct vcpu *v = s->v;
    u32 lp = lin >> PAGE_SHIFT, page = (u32)(w->gpa >> PAGE_SHIFT);
    enum mem_kind kind = w->gpa < 4 * GiB ? (enum mem_kind)s->map.kind[page] : MEM_HOLE;
    u64 entry;
    bool wr = false;
    /* Without A20 two lines of a large mapping are the same memory, which its record cannot say. */
    bool large = w->large && s->phys_mask == ~0ull;
    if (likely(kind == MEM_RAM)) {
        entry = (u64)s->map.base + w->gpa - ((u64)lp << PAGE_SHIFT);
        wr = w->dirty && sh_allowed(sp, w, SH_WRITE, vw->user);
        if (acc == SH_WRITE && s->map.watch[page] && sh_entry(vw, K_R, lp)) {
            remember_slow(s, vw, lp, page); /* nothing to add */
            return SH_SLOW;
        }
        if (large && (v->opts & OPT(largefill))) {
            fill_line(s, vw, lp, page, entry, wr);
        } else {
            set_read(s, vw, lp, entry);
            if (wr && !s->map.watch[page]) {
                if (large)
                    sh_big_link(s, vw, lp >> 9, page >> 9);
                else
                    sh_rmap_add(s, vw, lp, page);
                sh_mark(s, vw, K_W, lp);
                vw->wt[lp] = entry;
                v->stats.shadow_fills_write++;
            }
        }
        if (acc == SH_WRITE && s->map.watch[page]) {
            remember_slow(s, vw, lp, page);
            return SH_SLOW;
        }
    } else if (kind == MEM_ROM) {
        entry = (u64)memory_host(s->m, w->gpa) - ((u64)lp << PAGE_SHIFT);
        set_read(s, vw, lp, entry);
        if (acc == SH_WRITE)
            return SH_SLOW;
    } else {
        return SH_SLOW;
    }
    if (acc == SH_EXEC) {
        sh_mark(s, vw, K_X, lp);
        vw->xt[lp] = 1 + page;
        v->stats.shadow_fills_exec++;
    }
    return SH_FILLED;
}

/* Is there anything to add for a page whose entry in the guest's table begins with low? */
static inline bool wanted(const struct sh_view *vw, u32 p, u32 low, enum shadow_access acc)
{
    if ((low & (PTE_P | PTE_A)) != (PTE_P | PTE_A))
        return false;
    if (acc == SH_EXEC)
        return !sh_entry(vw, K_X, p);
    return !sh_entry(vw, K_R, p) || ((low & PTE_D) && !sh_entry(vw, K_W, p));
}

/* sh_fill_around(); at: the walk of lp. acc: SH_READ, which also gives what may be written as it is; SH_EXEC:
 * what has been executed or decoded somewhere. */
static void fill_around(struct shadow *s, struct sh_view *vw, u32 lp, const struct sh_walk *at, u32 first,
                        u32 end, enum shadow_access acc)
{
    const u32 kinds =
        acc == SH_EXEC ? MEMW_CODE : 0; /* code that was never translated takes a look-up anyway */
    struct sh_space *sp = s->cur;
    struct sh_walk w;
    const u8 *table;
    u32 size = sp->key & KEY_PAE ? 8 : 4;

    if (s->over || s->node_left < end - first + RMAP_RESERVE || at->large || !at->cacheable || !at->pte_p)
        return;
    table = at->pte_p - (u64)(lp - first) * size;
    for (u32 p = first; p < end; p++, table += size) {
        u32 low = __atomic_load_n((const u32 *)table, __ATOMIC_RELAXED);
        if (wanted(vw, p, low, acc) && sh_walk(s, sp, p << PAGE_SHIFT, &w) == WALK_OK && w.accessed &&
            w.gpa < 4 * GiB && s->map.kind[w.gpa >> PAGE_SHIFT] == MEM_RAM &&
            (s->map.watch[w.gpa >> PAGE_SHIFT] & kinds) == kinds && sh_allowed(sp, &w, acc, vw->user)) {
            install(s, sp, vw, p << PAGE_SHIFT, &w, acc);
            s->v->stats.shadow_fills_around++;
        }
    }
}

static inline void link_leaf(struct shadow *s, struct sh_space *sp, u32 lin, const struct sh_walk *w)
{
    if (!w->large)
        sh_use_link(s, sp, sp->key & KEY_PAE ? lin >> 21 : (lin >> 22) * 2, w->pt_page);
}

static __attribute__((noinline, cold)) enum shadow_result
timed_fill(struct vcpu *v, u32 lin, enum shadow_access acc, int user, u64 *gpa_out)
{
    enum phase was = phase_enter(v->phases, PHASE_fill);
    enum shadow_result r = shadow_fill(v, lin, acc, user, gpa_out);

    phase_leave(v->phases, was);
    return r;
}

enum shadow_result shadow_fill(struct vcpu *v, u32 lin, enum shadow_access acc, int user, u64 *gpa_out)
{
    struct shadow *s = sh_of(v);
    struct sh_space *sp = s->cur, *master = NULL;
    struct sh_view *vw = &sp->view[user];
    struct sh_walk w;
    enum shadow_result res;
    u32 lp = lin >> PAGE_SHIFT;

    if (phase_wanted(v->phases, PHASE_fill))
        return timed_fill(v, lin, acc, user, gpa_out);
    v->stats.shadow_walks++;
    if (unlikely(s->over || s->node_left < RMAP_RESERVE))
        make_room(s);
    do {
        int r = sh_walk(s, sp, lin, &w);
        if (unlikely(r != WALK_OK || !sh_allowed(sp, &w, acc, user))) {
            u32 err = sh_error(sp, r, acc, user);
            if (LOG_ON(mmu))
                log_fill(s, lin, acc, user, "fault", err);
            cpu_raise_pf(v, lin, err);
            return SH_FAULT;
        }
    } while (unlikely(!sh_set_ad(s, &w, acc == SH_WRITE)));

    u64 gpa = w.gpa | (lin & PAGE_MASK);
    if (gpa_out)
        *gpa_out = gpa;
    if (LOG_ON(mmu))
        log_fill(s, lin, acc, user, "gpa", gpa);
    if (unlikely(!w.cacheable))
        return SH_SLOW;
    if (likely(sp->key & KEY_PG)) {
        sh_use_link(s, sp, SLOT_PD + (sp->key & KEY_PAE ? lin >> 30 : 0), w.pd_page);
        link_leaf(s, sp, lin, &w);
        if (likely(v->opts & OPT(clonefill))) {
            master = sh_master(s, sp, vw, lin, &w);
            if (master && sh_clone_chunk(s, &master->view[user], vw, lp >> 9, w.large) &&
                sh_entry(vw,
                         acc == SH_READ    ? K_R
                         : acc == SH_WRITE ? K_W
                                           : K_X,
                         lp))
                return SH_FILLED;
        }
    }
    res = install(s, sp, vw, lin, &w, acc);
    if (acc == SH_EXEC && user && res == SH_FILLED && (v->opts & OPT(execaround)))
        fill_around(s, vw, lp, &w, lp & ~(EXEC_AROUND - 1), (lp | (EXEC_AROUND - 1)) + 1, SH_EXEC);
    if (master && w.gpa < 4 * GiB && s->map.kind[w.gpa >> PAGE_SHIFT] == MEM_RAM) {
        /* The master gets what any of its copies needed. Its own directory is traced already. */
        link_leaf(s, master, lin, &w);
        install(s, master, &master->view[user], lin, &w, acc == SH_EXEC ? SH_EXEC : SH_READ);
    }
    return res;
}

void sh_fill_around(struct shadow *s, struct sh_view *vw, u32 lp, u32 first, u32 end)
{
    struct sh_walk w;

    if (sh_walk(s, s->cur, lp << PAGE_SHIFT, &w) == WALK_OK)
        fill_around(s, vw, lp, &w, first, end, SH_READ);
}

int shadow_probe(struct vcpu *v, u32 lin, u64 *gpa)
{
    struct shadow *s = sh_of(v);
    struct sh_walk w;
    if (sh_walk(s, s->cur, lin, &w) != WALK_OK)
        return CPU_FAULT;
    *gpa = w.gpa | (lin & PAGE_MASK);
    return CPU_OK;
}
