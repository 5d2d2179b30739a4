/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The supervisor window: one window for all address spaces, holding what the guest itself declared to be the
 * same in all of them: pages mapped global (PTE.G with CR4.PGE; without paging, all of RAM). Kernels map
 * themselves so, and a window a process would cost each of them tens of thousands of mappings.
 *
 * What kernels that do not have in common is mapped, too: klocal.c.
 *
 * It is a TLB for global pages and may keep what a TLB may keep (SDM vol. 3, 4.10.2.4 and 4.10.4.1): CR3
 * loads leave it alone; invlpg removes a page; a change of CR4.PGE, PSE or PAE or of CR0.PG removes all, and
 * so does CR0.WP, whose effect is baked into the mappings. Beyond that, what a trace removes from any space's
 * tables is removed here as well; for a directory's entries, from the current space's.
 *
 * The watch flags of physical pages are not the guest's business and are coherent at all times: a writable
 * page has an rmap node with the view number KWIN_ID, so that watching the page takes the right to write
 * away. kphys[] says what is mapped writable.
 */
#include "shadowpt/internal.h"

#define KWIN_RUN  1024u /* pages mapped by one call at most: a 4 MiB page */
#define PTE_G     0x100u
#define KWIN_GONE 4u /* translations in a row that did not stay, and the next is not expected to, either */

static inline bool mapped(const struct shadow *s, u32 lp)
{
    return s->kwin[lp >> 6] >> (lp & 63) & 1;
}

static u64 *sparse_array(u64 bytes)
{
    long r = sh_sys_mmap(0, bytes, SH_PROT_RW, SH_MAP_PRIVATE, -1, 0);
    return r < 0 ? NULL : (u64 *)r;
}

bool sh_kwin_enable(struct shadow *s)
{
    if (!s->klarge)
        s->klarge = sparse_array(SH_PAGES / 8);
    if (!s->kphys)
        s->kphys = (u32 *)sparse_array(SH_PAGES * sizeof(u32));
    if (!s->kgone)
        s->kgone = (struct sh_fleeting *)sparse_array(SH_PAGES * sizeof(*s->kgone));
    if (!s->kstays)
        s->kstays = sparse_array(SH_PAGES / 8);
    if (!s->klarge || !s->kphys || !s->kgone || !s->kstays)
        return false;
    if (!s->kwin_on) {
        s->kwin_on = true;
        s->kwin_mode = s->cur->key & 31;
        s->kwin_gen++;
    }
    s->cur->kwin_gen = 0; /* what did not fit in may have caught up: spaces get entries as they need them */
    sh_kwin_choose(s);
    return true;
}

void sh_kwin_disable(struct shadow *s)
{
    sh_kwin_empty(s);
    s->kwin_on = false;
    s->kwin_gen++;
    sh_kwin_choose(s);
}

/* A page that had to stay does not. */
static void moved(struct shadow *s)
{
    if (!s->kstays_any)
        return;
    s->kstays_any = false;
    for (u32 i = 0; i < SH_PAGES / 64; i++)
        if (s->kstays[i])
            s->kstays[i] = 0;
    if (s->stays_hook)
        s->stays_hook(s->stays_opaque);
}

void shadow_set_stays_hook(struct vcpu *v, void (*hook)(void *opaque), void *opaque)
{
    sh_of(v)->stays_hook = hook;
    sh_of(v)->stays_opaque = opaque;
}

bool shadow_page_stays(struct vcpu *v, u32 lin)
{
    struct shadow *s = sh_of(v);
    u32 lp = lin >> PAGE_SHIFT;

    if (v->cpl == 3 || !s->cur->kwin_on ||
        (!mapped(s, lp) && shadow_window_map(v, lin, false, false) != SH_MAPPED) || !s->cur->kwin_on)
        return false;
    s->kstays[lp >> 6] |= 1ull << (lp & 63);
    s->kstays_any = true;
    return true;
}

void sh_kwin_empty(struct shadow *s)
{
    bool any = false;
    if (!s->kphys)
        return;
    moved(s);
    for (u32 i = 0; i < SH_PAGES / 64; i++) {
        if (!s->kwin[i])
            continue;
        any = true;
        s->kwin[i] = s->klarge[i] = 0;
        for (u32 k = 0; k < 64; k++)
            s->kphys[i * 64 + k] = 0;
    }
    sh_local_forget(s);
    if (any) {
        s->klocal->counted = false;
        sh_window_unmap(s, s->kwin_base, 0, SH_PAGES);
        s->v->stats.kwindow_flushes++;
    }
}

/*
 * Kernels map pages of memory that they have no address for at a few addresses, for some accesses each, one
 * after the other (Linux: kmap_local_page(), which 32-bit kernels need for memory beyond 896 MiB and for page
 * tables there). In the window each would take two system calls and a signal.
 */
static bool fleeting(const struct shadow *s, u32 lp)
{
    const struct sh_fleeting *g = &s->kgone[lp];

    return g->count >= KWIN_GONE && (u32)s->clock - g->when < TABLE_MEMORY && (s->v->opts & OPT(winfleeting));
}

static void note_gone(struct shadow *s, u32 lp)
{
    struct sh_fleeting *g = &s->kgone[lp];

    if ((u32)s->clock - g->when >= TABLE_MEMORY)
        g->count = 0;
    g->when = (u32)s->clock;
    g->count += g->count < KWIN_GONE;
}

void sh_kwin_drop_slow(struct shadow *s, u32 lp, u32 n)
{
    bool any = false, stays = false;
    for (u32 i = lp; i < lp + n; i++) {
        if (!s->kwin[i >> 6]) {
            i |= 63;
            continue;
        }
        if (mapped(s, i)) {
            any = true;
            stays |= s->kstays[i >> 6] >> (i & 63) & 1;
            s->kwin[i >> 6] &= ~(1ull << (i & 63));
            s->klarge[i >> 6] &= ~(1ull << (i & 63));
            s->kphys[i] = 0;
        }
    }
    if (!any)
        return;
    if (unlikely(stays))
        moved(s);
    if (n == 1)
        note_gone(s, lp);
    s->kwin_changes++;
    sh_window_unmap(s, s->kwin_base, lp, n);
    s->win_areas += 2;
    s->v->stats.window_drops++;
}

void sh_kwin_invlpg(struct shadow *s, u32 lp)
{
    if (!mapped(s, lp))
        return;
    if (s->klarge[lp >> 6] >> (lp & 63) & 1) { /* one TLB entry, however many pages */
        u32 mask = (s->cur->key & KEY_PAE ? 512u : 1024u) - 1;
        sh_kwin_drop_slow(s, lp & ~mask, mask + 1);
    } else {
        sh_kwin_drop_slow(s, lp, 1);
    }
}

bool sh_kwin_maps(const struct shadow *s, u32 lp, u32 page)
{
    return s->kphys && s->kphys[lp] == page + 1;
}

void sh_kwin_revoke(struct shadow *s, u32 lp, u32 page)
{
    if (!sh_kwin_maps(s, lp, page))
        return;
    s->kphys[lp] = 0;
    s->win_areas += 2;
    s->v->stats.window_protects++;
    if (!sh_window_protect(s, s->kwin_base, lp, 1)) {
        moved(s);
        s->kwin[lp >> 6] &= ~(1ull << (lp & 63));
        sh_window_unmap(s, s->kwin_base, lp, 1);
    }
}

void sh_kwin_paging_changed(struct shadow *s)
{
    u32 mode = s->cur->key & 31;
    if (mode == s->kwin_mode && (s->v->cr4 & CR4_PGE) == s->kwin_pge)
        return;
    /* What runs next is another program, so to speak: it has to show that it runs long. (Kernels' first code
     * behind the switch to paging maps nothing global yet, and would only show that it cannot use a window.)
     */
    sh_kwin_empty(s);
    if ((mode ^ s->kwin_mode) & KEY_PG) {
        s->kwin_on = false;
        *s->klocal = (struct sh_local){0};
    }
    s->kwin_mode = mode;
    s->kwin_pge = s->v->cr4 & CR4_PGE;
}

/* May the translation be shared by all address spaces? */
static bool global(const struct shadow *s, const struct sh_walk *w)
{
    if (!(s->cur->key & KEY_PG))
        return true;
    return (s->v->cr4 & CR4_PGE) && ((w->large ? w->pde : w->pte) & PTE_G);
}

static bool ram_page(const struct shadow *s, u64 gpa)
{
    return gpa < memory_ram_size(s->m) && s->map.kind[gpa >> PAGE_SHIFT] == MEM_RAM;
}

static bool writable_page(const struct shadow *s, u64 gpa)
{
    u32 page = (u32)(gpa >> PAGE_SHIFT);
    return !s->map.watch[page] && !sh_table_lately(s, page);
}

/* The rights that a mapping would have: -1 none, 0 read, 1 write. */
static int rights(const struct shadow *s, const struct sh_walk *w, bool anyway)
{
    if (!w->accessed || !ram_page(s, w->gpa))
        return -1;
    return w->dirty && sh_allowed(s->cur, w, SH_WRITE, 0) &&
           (anyway ? !s->map.watch[w->gpa >> PAGE_SHIFT] : writable_page(s, w->gpa));
}

/* Can page lp be mapped by the same call as one that is at `delta`, of those rights, its own or global? */
static bool alike(const struct shadow *s, u32 lp, u64 delta, int r, bool own)
{
    struct sh_walk w;

    return !mapped(s, lp) && !fleeting(s, lp) && sh_walk(s, s->cur, lp << PAGE_SHIFT, &w) == WALK_OK &&
           !w.large && w.gpa - ((u64)lp << PAGE_SHIFT) == delta && global(s, &w) == !own &&
           !(own && w.user) && rights(s, &w, false) == r;
}

enum shadow_mapped sh_kwin_map(struct shadow *s, u32 lin, bool write, bool anyway)
{
    struct sh_walk w;
    u32 lp = lin >> PAGE_SHIFT, first = lp, end = lp + 1, low = 0, high = SH_PAGES;
    u64 delta;
    bool own;
    int r;

    if (s->phys_mask != ~0ull || sh_walk(s, s->cur, lin, &w) != WALK_OK)
        return SH_MISFIT;
    own = !global(s, &w);
    r = rights(s, &w, anyway);
    if (r < 0 || (own && (w.user || !sh_local_wanted(s))))
        return SH_MISFIT;
    if (write && !r)
        return s->map.watch[w.gpa >> PAGE_SHIFT] ? SH_MISFIT : SH_UNSTEADY;
    if (!anyway && fleeting(s, lp))
        return SH_UNSTEADY;
    if (unlikely(s->node_left < KWIN_RUN + RMAP_RESERVE)) {
        s->v->stats.shadow_rmap_full++;
        shadow_flush_all(s->v);
    }
    if (own) {
        if (!sh_local_bind(s, lp, &w))
            return SH_MISFIT;
        low = lp & ~511u;
        high = low + 512;
    }
    delta = w.gpa - ((u64)lp << PAGE_SHIFT);
    if (w.large) {
        /* one walk speaks for the whole large page; only RAM and watch flags differ */
        u32 mask = (s->cur->key & KEY_PAE ? 512u : 1024u) - 1;
        while (first > (lp & ~mask) && !mapped(s, first - 1) &&
               ram_page(s, w.gpa - (lp - first + 1) * 4096ull) &&
               (w.dirty && sh_allowed(s->cur, &w, SH_WRITE, 0) &&
                writable_page(s, w.gpa - (lp - first + 1) * 4096ull)) == r)
            first--;
        while (end < (lp | mask) + 1 && !mapped(s, end) && ram_page(s, w.gpa + (end - lp) * 4096ull) &&
               (w.dirty && sh_allowed(s->cur, &w, SH_WRITE, 0) &&
                writable_page(s, w.gpa + (end - lp) * 4096ull)) == r)
            end++;
    } else {
        while (end < lp + 32 && end < high && alike(s, end, delta, r, own))
            end++;
        while (first > low && lp - first < 32 && alike(s, first - 1, delta, r, own))
            first--;
    }
    if (!sh_window_map_run(s, s->kwin_base, first, end - first, delta + ((u64)first << PAGE_SHIFT), r))
        return SH_MISFIT;
    s->kwin_changes++;
    for (u32 i = first; i < end; i++) {
        s->kwin[i >> 6] |= 1ull << (i & 63);
        if (w.large)
            s->klarge[i >> 6] |= 1ull << (i & 63);
        s->kphys[i] = 0;
        if (r) {
            u32 page = (u32)((delta + ((u64)i << PAGE_SHIFT)) >> PAGE_SHIFT);
            sh_rmap_add_key(s, KWIN_ID << 20 | i, page);
            s->kphys[i] = page + 1;
        }
    }
    return SH_MAPPED;
}
