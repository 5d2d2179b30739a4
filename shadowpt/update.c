/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An entry of a leaf table changed whose page is in the shadow: the shadow follows (OPT(ptfollow)).
 *
 * Removing what was there would do, and the next use would fill it again: a callout, a walk, the table pages
 * linked once more. But whoever changes the entry of a page in use mostly uses the page next, and here all is
 * at hand: the table is linked, so the directory entry above it is what it was when it was walked (a change
 * of it would have unlinked the table), and what the new entry allows follows from the two.
 *
 * So the views that had the page get what a walk would find now, as far as that needs no A or D bit to be set
 * (fill.c does that, with its order of things) and no new right: a view that did not have the page gets
 * nothing, but for the page that the guest's last fault was about, whose entry its handler writes now. Exec
 * entries stay or go, as their removal has to be told. What is in windows goes: its use brings it back.
 *
 * Must not unlink or link table pages: sh_pt_written() is on its way through their lists.
 */
#include "shadowpt/internal.h"

struct leaf {
    u64 gpa;
    u32 flags; /* of both levels: PTE_P, W, U and A; of the entry: PTE_D */
    bool nx;
};

/* What a walk of lp would find, whose leaf table is linked and has the entry at pte_p. False: nothing that
 * was accessed before and is RAM. */
static inline bool read_leaf(const struct shadow *s, const struct sh_space *sp, u32 lp, const u8 *pte_p,
                             struct leaf *w)
{
    u64 pde, pte;

    if (unlikely(s->phys_mask != ~0ull))
        return false;
    /* The directory is linked, so it is RAM. */
    if (sp->key & KEY_PAE) {
        const u64 *dir = (const u64 *)(s->map.base + (sp->pdpte[lp >> 18] & PAE_ADDR));
        pde = __atomic_load_n(dir + (lp >> 9 & 0x1ff), __ATOMIC_RELAXED);
        pte = __atomic_load_n((const u64 *)pte_p, __ATOMIC_RELAXED);
        if (pte & (s->rsvd_pae | (sp->key & KEY_NXE ? 0 : PTE_NX)))
            return false;
        w->gpa = pte & PAE_ADDR;
        w->nx = (pde | pte) >> 63;
        if (w->gpa >= 4 * GiB)
            return false;
    } else {
        const u32 *dir = (const u32 *)(s->map.base + (sp->key & ~PAGE_MASK));
        pde = __atomic_load_n(dir + (lp >> 10), __ATOMIC_RELAXED);
        pte = __atomic_load_n((const u32 *)pte_p, __ATOMIC_RELAXED);
        w->gpa = pte & ~PAGE_MASK;
        w->nx = false;
    }
    w->flags = (u32)(pte & (pde | PTE_D));
    return (w->flags & (PTE_P | PTE_A)) == (PTE_P | PTE_A) && !(pte & s->pat_rsvd) &&
           s->map.kind[w->gpa >> PAGE_SHIFT] == MEM_RAM;
}

/* The view's entries for page lp, in chunk c; bit: its line. */
static inline void follow(struct shadow *s, const struct sh_space *sp, struct sh_view *vw, u32 lp, u32 c,
                          u32 bit, const struct leaf *w)
{
    u32 page = (u32)(w->gpa >> PAGE_SHIFT);
    u64 entry = (u64)s->map.base + w->gpa - ((u64)lp << PAGE_SHIFT);

    sh_tw_forget(s, vw, lp);
    sh_win_drop(s, vw, lp);
    if (unlikely(!(vw->line[K_R][c] & bit)))
        sh_mark(s, vw, K_R, lp);
    vw->rt[lp] = entry;
    if ((w->flags & PTE_D) && ((w->flags & PTE_W) || (!vw->user && !(sp->key & KEY_WP))) &&
        !s->map.watch[page] && likely(s->node_left >= RMAP_RESERVE)) {
        if (!(vw->line[K_W][c] & bit) || vw->wt[lp] != entry) {
            sh_rmap_add(s, vw, lp, page);
            sh_mark(s, vw, K_W, lp);
            vw->wt[lp] = entry;
        }
    } else if ((vw->line[K_W][c] & bit) && vw->wt[lp]) {
        vw->wt[lp] = 0;
    }
    if ((vw->line[K_X][c] & bit) && vw->xt[lp] && (vw->xt[lp] != 1 + page || w->nx)) {
        vw->xt[lp] = 0;
        sh_exec_removed(s, vw, lp);
    }
}

bool sh_page_changed(struct shadow *s, struct sh_space *sp, u32 lp, const u8 *pte_p)
{
    u32 c = lp >> 9, bit = 1u << (lp >> 6 & 7);
    u64 chunk = 1ull << (c & 63);
    bool faulted = unlikely(lp == s->v->cr2 >> PAGE_SHIFT) && sp == s->cur, done = false;
    struct leaf w;

    sh_kwin_drop(s, lp, 1);
    if (!((sp->view[0].any[c >> 6] | sp->view[1].any[c >> 6]) & chunk) && !faulted)
        return false;
    if (unlikely(!(s->v->opts & OPT(ptfollow))) || !read_leaf(s, sp, lp, pte_p, &w)) {
        sh_invalidate_view(s, &sp->view[0], lp);
        sh_invalidate_view(s, &sp->view[1], lp);
        return false;
    }
    for (u32 i = 0; i < 2; i++) {
        struct sh_view *vw = &sp->view[i];
        u32 user = w.flags & PTE_U;
        if (!(vw->any[c >> 6] & chunk) && !faulted)
            continue;
        if (((vw->line[K_R][c] & bit) && vw->rt[lp] && (!i || user)) || (faulted && !user == !i)) {
            follow(s, sp, vw, lp, c, bit, &w);
            done = true;
        } else {
            sh_invalidate_view(s, vw, lp);
        }
    }
    s->v->stats.shadow_followed += done;
    return done;
}
