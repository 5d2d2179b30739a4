/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables of a view: mapping their memory, removing entries, giving memory back.
 *
 * A view's tables are 20 MiB of sparse private memory. line[] says which 64-page lines may hold entries;
 * everything else is zero, so clearing costs what was filled, and nothing here touches a table page that no
 * fill has touched. Clearing writes zeros (the memory is warm and will be filled again); only sh_trim()
 * returns memory to the host, when the tables of all spaces together exceed TABLE_BUDGET.
 *
 * Every removal of an exec entry goes through sh_exec_removed(): the epoch moves on, the fetch cache is
 * dropped, the hook runs. A hook must not call back into the shadow.
 */
#include <errno.h>
#include <sys/mman.h>

#include "shadowpt/internal.h"

static void zero_words(void *p, u64 words)
{
    __asm__ volatile("rep stosq" : "+D"(p), "+c"(words) : "a"(0ull) : "memory");
}

void sh_exec_removed(struct shadow *s, const struct sh_view *vw, u32 page)
{
    s->epoch++;
    if (s->exec_hook)
        s->exec_hook(s->exec_opaque, vw->base, page);
}

void sh_invalidate_view(struct shadow *s, struct sh_view *vw, u32 lp)
{
    u32 c = lp >> 9, bit = 1u << ((lp >> 6) & 7), n = 0;

    sh_tw_forget(s, vw, lp);
    sh_win_drop(s, vw, lp);
    if ((vw->line[K_R][c] & bit) && vw->rt[lp]) {
        vw->rt[lp] = 0;
        n++;
    }
    if ((vw->line[K_W][c] & bit) && vw->wt[lp]) {
        vw->wt[lp] = 0;
        n++;
    }
    if ((vw->line[K_X][c] & bit) && vw->xt[lp]) {
        vw->xt[lp] = 0;
        n++;
        sh_exec_removed(s, vw, lp);
    }
    s->v->stats.shadow_invalidated += n;
}

void sh_invalidate_page(struct shadow *s, struct sh_space *sp, u32 lp)
{
    sh_kwin_drop(s, lp, 1);
    sh_invalidate_view(s, &sp->view[0], lp);
    sh_invalidate_view(s, &sp->view[1], lp);
}

/* Clears the marked lines of one chunk; returns how many entries that was, empty ones of its lines included.
 */
static u32 clear_chunk(struct shadow *s, struct sh_view *vw, u32 c, bool tell_pages)
{
    u32 n = 0, lp0 = c << 9;
    sh_win_drop_chunk(s, vw, c);
    for (u32 m = vw->line[K_R][c]; m; m &= m - 1) {
        zero_words(vw->rt + lp0 + (u32)__builtin_ctz(m) * LINE_PAGES, LINE_PAGES);
        n += LINE_PAGES;
    }
    for (u32 m = vw->line[K_W][c]; m; m &= m - 1) {
        zero_words(vw->wt + lp0 + (u32)__builtin_ctz(m) * LINE_PAGES, LINE_PAGES);
        n += LINE_PAGES;
    }
    for (u32 m = vw->line[K_X][c]; m; m &= m - 1) {
        u32 lp = lp0 + (u32)__builtin_ctz(m) * LINE_PAGES;
        for (u32 i = 0; i < LINE_PAGES; i++) {
            if (!vw->xt[lp + i])
                continue;
            vw->xt[lp + i] = 0;
            n++;
            if (tell_pages)
                sh_exec_removed(s, vw, lp + i);
        }
    }
    for (int k = 0; k < K_COUNT; k++)
        vw->line[k][c] = 0;
    vw->any[c >> 6] &= ~(1ull << (c & 63));
    if (vw->big[c >> 6] >> (c & 63) & 1)
        sh_big_unlink(s, vw, c);
    return n;
}

static void tw_clear(struct shadow *s)
{
    for (u32 i = 0; i < TW_SIZE; i++)
        s->tw[i].tag = 0;
}

void sh_clear_chunks(struct shadow *s, struct sh_space *sp, u32 c, u32 n)
{
    u32 gone = 0, end = c + n;
    tw_clear(s);
    if (n <= 2) /* a PDE changed; the end of a whole space says nothing about global pages */
        sh_kwin_chunks_gone(s, sp, c, n);
    for (int i = 0; i < 2; i++) {
        struct sh_view *vw = &sp->view[i];
        for (u32 word = c >> 6; word <= (end - 1) >> 6; word++) {
            u64 m = vw->any[word];
            if (word == c >> 6)
                m &= ~0ull << (c & 63);
            if (word == end >> 6)
                m &= ~(~0ull << (end & 63));
            for (; m; m &= m - 1)
                gone += clear_chunk(s, vw, (word << 6) + (u32)__builtin_ctzll(m), true);
        }
    }
    s->v->stats.shadow_invalidated += gone;
}

void sh_clear_space(struct shadow *s, struct sh_space *sp)
{
    tw_clear(s);
    for (int i = 0; i < 2; i++) {
        struct sh_view *vw = &sp->view[i];
        bool touched = false;
        sh_win_off(s, vw);
        vw->win_clock = (struct shadow_window_clock){0};
        for (u32 word = 0; word < SH_CHUNKS / 64; word++)
            for (u64 m = vw->any[word]; m; m &= m - 1) {
                clear_chunk(s, vw, (word << 6) + (u32)__builtin_ctzll(m), false);
                touched = true;
            }
        if (touched)
            sh_exec_removed(s, vw, ~0u);
    }
    for (u32 word = 0; word < ARRAY_SIZE(sp->slots); word++)
        while (sp->slots[word])
            sh_use_unlink(s, sp, (word << 6) + (u32)__builtin_ctzll(sp->slots[word]));
}

/* ---- memory ---- */

/* The tables of a view: [base - 24 MiB, base - 4 MiB), see shadowpt.h. */
static int map_view(u64 base, int prot)
{
    void *p = (void *)(base - SPACE_RT_OFF);
    u64 len = SPACE_RT_OFF - SPACE_XT_OFF + SH_PAGES * sizeof(u32);
    if (mmap(p, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        return -errno;
    /* One touched entry must cost 4 KiB, not 2 MiB. */
    madvise(p, len, MADV_NOHUGEPAGE);
    return 0;
}

/* sp == NULL: the read-only empty view. */
int sh_map_tables(struct shadow *s, struct sh_space *sp)
{
    if (!sp)
        return map_view(s->empty_base, PROT_READ);
    cpu_fpu_park(s->v);
    for (int i = 0; i < 2; i++) {
        int err = map_view(sp->view[i].base, PROT_READ | PROT_WRITE);
        if (err)
            return err;
    }
    sp->mapped = 1;
    return 0;
}

static void release_memory(struct shadow *s, struct sh_space *sp)
{
    for (int i = 0; i < 2; i++) {
        struct sh_view *vw = &sp->view[i];
        u32 n = 0;
        for (int k = 0; k < K_COUNT; k++)
            for (u32 word = 0; word < SH_CHUNKS / 64; word++) {
                n += (u32)__builtin_popcountll(vw->res[k][word]);
                vw->res[k][word] = 0;
            }
        if (!n)
            continue;
        s->resident -= n;
        madvise((void *)(vw->base - SPACE_RT_OFF), SPACE_RT_OFF - SPACE_XT_OFF + SH_PAGES * sizeof(u32),
                MADV_DONTNEED);
    }
}

static bool has_memory(const struct sh_space *sp)
{
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < K_COUNT; k++)
            for (u32 word = 0; word < SH_CHUNKS / 64; word++)
                if (sp->view[i].res[k][word])
                    return true;
    return false;
}

void sh_trim(struct shadow *s)
{
    cpu_fpu_park(s->v);
    s->over = 0;
    while (s->resident > TABLE_BUDGET - TABLE_BUDGET / 8) {
        struct sh_space *old = NULL;
        for (u32 i = 0; i < s->used_spaces; i++) {
            struct sh_space *sp = &s->spaces[i];
            if (sp != s->cur && (!old || sp->stamp < old->stamp) && has_memory(sp))
                old = sp;
        }
        if (!old)
            return;
        sh_clear_space(s, old);
        release_memory(s, old);
        s->v->stats.shadow_space_evicted++;
    }
}
