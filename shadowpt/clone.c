/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clones: a kernel maps itself in every address space by the same page-directory entries, and each new space
 * would pay for hundreds of fills that some other space has had already.
 *
 * For each chunk, view kind and (by a hash) page-directory entry one space is the *master*. A fill in another
 * space whose directory entry has the same value goes to the master's tables as well, so the master collects
 * what any of them needed; and a space that has nothing in the chunk yet gets all of it at once, a copy.
 *
 * Why it is exact: an entry is a function of the directory entry, the leaf table that it names (large pages:
 * nothing more), the bits of CR0, CR4 and EFER in the key, and the watch flags of the target page. The first
 * is compared bit by bit, A and D included; the second is then the same page of memory; the third are
 * compared; for the fourth, the copies of write entries are entered in the reverse map like any others. The
 * caller has linked the table pages to the slots of the space that gets the entries, so from then on its
 * traces keep them right, whatever becomes of the master.
 */
#include "shadowpt/internal.h"

static inline u16 *master_slot(struct shadow *s, const struct sh_view *vw, u32 c, u64 pde)
{
    u32 way = (u32)(pde >> PAGE_SHIFT) * 0x9e3779b1u >> 30;
    return &s->masters[(vw->user * SH_CHUNKS + c) * MASTER_WAYS + way];
}

/* Does the directory of sp, as far as it is traced, have this entry for chunk c? */
static bool has_pde(const struct shadow *s, const struct sh_space *sp, u32 c, u64 pde)
{
    u64 has;

    return sh_traced_pde(s, sp, c, &has) && has == pde;
}

struct sh_space *sh_master(struct shadow *s, struct sh_space *sp, const struct sh_view *vw, u32 lin,
                           const struct sh_walk *w)
{
    bool pae = sp->key & KEY_PAE;
    u64 pde = pae ? __atomic_load_n((const u64 *)w->pde_p, __ATOMIC_RELAXED)
                  : __atomic_load_n((const u32 *)w->pde_p, __ATOMIC_RELAXED);
    u16 *slot = master_slot(s, vw, lin >> 21, pde);
    struct sh_space *m = &s->spaces[*slot];
    if (likely(m == sp))
        return NULL;
    if (m->keyed && ((m->key ^ sp->key) & 31) == 0 && has_pde(s, m, lin >> 21, pde))
        return m;
    *slot = sp->index;
    return NULL;
}

static void copy_words(void *to, const void *from, u64 words)
{
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

/* Write entries of 4 KiB pages: each must be found when its page becomes watched. */
static void enter_writes(struct shadow *s, struct sh_view *vw, u32 lp0)
{
    for (u32 lp = lp0; lp < lp0 + LINE_PAGES; lp++)
        if (vw->wt[lp])
            sh_rmap_add(s, vw, lp,
                        (u32)((vw->wt[lp] + ((u64)lp << PAGE_SHIFT) - (u64)s->map.base) >> PAGE_SHIFT));
}

bool sh_clone_chunk(struct shadow *s, const struct sh_view *from, struct sh_view *vw, u32 c, bool large)
{
    u32 lp0 = c << 9;
    if (vw->line[K_R][c] | vw->line[K_W][c] | vw->line[K_X][c])
        return false;
    if (!(from->any[c >> 6] >> (c & 63) & 1) || s->node_left < 512 + RMAP_RESERVE)
        return false;
    bool records = from->big[c >> 6] >> (c & 63) & 1;
    for (int k = 0; k < K_COUNT; k++)
        for (u32 m = from->line[k][c]; m; m &= m - 1) {
            u32 lp = lp0 + (u32)__builtin_ctz(m) * LINE_PAGES;
            sh_mark(s, vw, k, lp);
            if (k == K_R) {
                copy_words(vw->rt + lp, from->rt + lp, LINE_PAGES);
            } else if (k == K_X) {
                copy_words(vw->xt + lp, from->xt + lp, LINE_PAGES / 2);
            } else {
                copy_words(vw->wt + lp, from->wt + lp, LINE_PAGES);
                if (!(large && records))
                    enter_writes(s, vw, lp);
            }
        }
    if (large && records)
        sh_big_link(s, vw, c, s->bigs[(u32)from->id * SH_CHUNKS + c].region - 1);
    s->v->stats.shadow_clones++;
    return true;
}
