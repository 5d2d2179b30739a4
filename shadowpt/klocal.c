/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is not global in the supervisor window (kwindow.c).
 *
 * Kernels that do not map themselves global (page-table isolation; processors without PGE) mostly have the
 * same page-directory entries in all address spaces all the same. Their own pages (user access not allowed)
 * are mapped, too, by chunks that are *bound*: to the directory entry that they were mapped by. A space *fits
 * in* if its directory has these very entries for all bound chunks; only its supervisor code has the window,
 * any other's is in table form (with page-table isolation that of the few instructions that run on a
 * program's own tables). A chunk with other tables in a space that has most in common is per space, and never
 * bound again. Whether a space fits in is found out when it begins to run, and remembered (kwin_gen) as long
 * as nothing was bound since and nothing changed in its directory, which is traced. What is mapped is kept
 * right by the traces of the leaf tables: those of any space, and since that may end before the window does,
 * one of the window's own (kspace). The invariant is that the current space fits in if its kwin_on is set.
 */
#include "base/opts.h"
#include "shadowpt/internal.h"

#define LOCAL_ASKED 32u /* pages that are not global were to be mapped so often: then they are */
#define LOCAL_UNFIT 64u /* spaces did not fit in so often that should: then they are not any more */

enum { LOCAL_UNKNOWN, LOCAL_YES, LOCAL_NO };

static inline bool has(const u64 *bits, u32 c)
{
    return bits[c >> 6] >> (c & 63) & 1;
}

/* The chunks that one directory entry maps: c and so many more. */
static inline u32 group(const struct shadow *s, u32 *c)
{
    u32 n = s->kwin_mode & KEY_PAE ? 1 : 2;

    *c &= ~(n - 1);
    return n;
}

static void unbind(struct shadow *s, u32 c)
{
    u32 n = group(s, &c);

    if (!has(s->klocal->bound, c))
        return;
    for (u32 i = c; i < c + n; i++)
        s->klocal->bound[i >> 6] &= ~(1ull << (i & 63));
    if (s->uses[s->kspace->index * USE_STRIDE + c].page)
        sh_use_unlink(s, s->kspace, c);
}

bool sh_local_bind(struct shadow *s, u32 lp, const struct sh_walk *w)
{
    struct sh_local *l = s->klocal;
    u32 c = lp >> 9, n = group(s, &c);
    u64 pde;

    if (has(l->never, c) || !w->cacheable || !sh_traced_pde(s, s->cur, c, &pde))
        return false;
    if (has(l->bound, c)) {
        if (l->pde[c] == pde)
            return true;
        sh_kwin_drop_slow(s, c << 9, n << 9); /* cannot happen while traces work, but must not map a mix */
    }
    for (u32 i = c; i < c + n; i++) {
        l->bound[i >> 6] |= 1ull << (i & 63);
        l->pde[i] = pde;
    }
    s->kspace->key = s->kwin_mode;
    if (!w->large)
        sh_use_link(s, s->kspace, c, w->pt_page);
    s->cur->kwin_gen = ++s->kwin_gen;
    return true;
}

bool sh_local_wanted(struct shadow *s)
{
    struct sh_local *l = s->klocal;

    if (!(s->v->opts & OPT(winlocal)) || l->state == LOCAL_NO)
        return false;
    if (l->state == LOCAL_UNKNOWN && (s->v->cr4 & CR4_PGE) && ++l->asked > LOCAL_ASKED)
        l->state = LOCAL_YES;
    return l->state == LOCAL_YES || !(s->v->cr4 & CR4_PGE);
}

#define LOCAL_RECOUNT 32u /* calls that map or drop pages, until the global chunks are counted again */

/* Chunks that hold global pages, and none that are not: about so many. */
static u32 global_chunks(const struct shadow *s)
{
    struct sh_local *l = s->klocal;
    u32 n = 0;

    if (l->counted && s->kwin_changes - l->counted_at < LOCAL_RECOUNT)
        return l->global;
    for (u32 c = 0; c < SH_CHUNKS; c++) {
        u64 any = 0;
        for (u32 i = 0; i < 512 / 64; i++)
            any |= s->kwin[c * (512 / 64) + i];
        n += any && !has(l->bound, c);
    }
    l->counted = true;
    l->counted_at = s->kwin_changes;
    l->global = n;
    return n;
}

/* Chunks where others have other tables are theirs alone (Windows NT's hyperspace). */
static void never_again(struct shadow *s, const u64 *chunks)
{
    for (u32 i = 0; i < SH_CHUNKS / 64; i++)
        for (u64 m = chunks[i]; m; m &= m - 1) {
            u32 c = i * 64 + (u32)__builtin_ctzll(m), n = group(s, &c);
            sh_kwin_drop_slow(s, c << 9, n << 9);
            unbind(s, c);
            for (u32 k = c; k < c + n; k++)
                s->klocal->never[k >> 6] |= 1ull << (k & 63);
        }
}

static bool fits(struct shadow *s, struct sh_space *sp)
{
    struct sh_local *l = s->klocal;
    u64 other[SH_CHUNKS / 64];
    u32 same = 0, differ = 0, absent = 0, global;

    for (u32 i = 0; i < SH_CHUNKS / 64; i++) {
        other[i] = 0;
        for (u64 m = l->bound[i]; m; m &= m - 1) {
            u32 c = i * 64 + (u32)__builtin_ctzll(m);
            u64 pde;
            if (!sh_traced_pde(s, sp, c, &pde) || pde == (l->pde[c] & ~(u64)PTE_A))
                return false; /* not known; or a walk would set a bit */
            if (pde == l->pde[c]) {
                same++;
            } else {
                other[i] |= m & -m;
                differ++;
                absent += !(pde & PTE_P);
            }
        }
    }
    if (!differ)
        return true;
    global = global_chunks(s);
    if (differ < same || (!absent && differ < same + global)) {
        never_again(s, other);
        return true;
    }
    /* Page-table isolation: programs' own tables lack most of the kernel. */
    if (absent && global <= same + differ)
        return false;
    if (++l->unfit > LOCAL_UNFIT) { /* a kernel with tables of its own in each process; or a global one */
        l->state = LOCAL_NO;
        sh_kwin_empty(s);
        return true;
    }
    return false;
}

void sh_kwin_choose_slow(struct shadow *s)
{
    struct sh_space *sp = s->cur;

    sp->kwin_on = s->kwin_on && fits(s, sp);
    sp->kwin_gen = s->kwin_gen;
    s->v->stats.kwindow_unfit += s->kwin_on && !sp->kwin_on;
}

void sh_kwin_chunks_gone(struct shadow *s, struct sh_space *sp, u32 c, u32 n)
{
    bool bound = false;

    if (!s->kwin_on)
        return;
    for (u32 i = c; i < c + n; i++)
        bound |= has(s->klocal->bound, i);
    if (sp != s->cur && sp != s->kspace) {
        /* What is bound is right for who fits in; this one has to be looked at again. What is global stays,
         * as in a TLB: mostly the directory of a program that has ended is becoming something else. */
        if (bound)
            sp->kwin_gen = 0;
        return;
    }
    sh_kwin_drop_slow(s, c << 9, n << 9);
    for (u32 i = c; bound && i < c + n; i++)
        unbind(s, i);
}

static bool any_bound(const struct shadow *s)
{
    u64 any = 0;

    for (u32 i = 0; i < SH_CHUNKS / 64; i++)
        any |= s->klocal->bound[i];
    return any;
}

void sh_kwin_directory_gone(struct shadow *s, struct sh_space *sp)
{
    sp->kwin_gen = 0;
    if (sp == s->cur && s->kwin_on && any_bound(s)) /* nobody would notice if it did not fit in any more */
        sh_kwin_empty(s);
}

bool sh_kwin_needs(const struct shadow *s, u32 page)
{
    const struct sh_use *u = &s->uses[s->cur->index * USE_STRIDE + SLOT_PD];

    return s->kwin_on && any_bound(s) &&
           (u[0].page == page + 1 || u[1].page == page + 1 || u[2].page == page + 1 || u[3].page == page + 1);
}

void sh_local_forget(struct shadow *s)
{
    for (u32 i = 0; i < SH_CHUNKS / 64; i++)
        while (s->klocal->bound[i])
            unbind(s, i * 64 + (u32)__builtin_ctzll(s->klocal->bound[i]));
    s->kwin_gen++; /* who did not fit in may now */
}

bool sh_kwin_useful(const struct shadow *s)
{
    return !(s->cur->key & KEY_PG) || (s->v->cr4 & CR4_PGE) ||
           ((s->v->opts & OPT(winlocal)) && s->klocal->state != LOCAL_NO);
}
