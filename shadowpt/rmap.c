/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way back from a physical page to the write-table entries that map it, so that watching a page can
 * revoke them.
 *
 * Two structures. Entries from 4 KiB PTEs have a node in the list of their physical page. Nodes are not
 * removed when their entry is: a node is a hint, checked against the table when used, and replaced by the
 * next addition if it has gone stale; the pool is bounded, and a fill that finds it empty flushes everything.
 * Entries from large pages (and from no paging) have none: a chunk of a view that maps a 2 MiB physical
 * region has one record in the list of the region, exact, found by (view, chunk) without allocation.
 *
 * Invariant (audited): for every wt entry, sh_revoke() of its page would find it.
 */
#include "base/copy.h"
#include "shadowpt/internal.h"

static inline struct sh_view *view_of(struct shadow *s, u32 id)
{
    return &s->spaces[id >> 1].view[id & 1];
}

static inline bool maps(const struct shadow *s, const struct sh_view *vw, u32 lp, u32 page)
{
    u64 host = (u64)s->map.base + ((u64)page << PAGE_SHIFT);
    return sh_entry(vw, K_W, lp) == host - ((u64)lp << PAGE_SHIFT);
}

/* Does the place that a node names still map the page for writing? */
static inline bool node_maps(struct shadow *s, u32 key, u32 page)
{
    u32 lp = key & (SH_PAGES - 1);
    if (unlikely(key >> 20 == KWIN_ID))
        return sh_kwin_maps(s, lp, page);
    return maps(s, view_of(s, key >> 20), lp, page);
}

void sh_rmap_add(struct shadow *s, struct sh_view *vw, u32 lp, u32 page)
{
    sh_rmap_add_key(s, (u32)vw->id << 20 | lp, page);
}

void sh_rmap_add_key(struct shadow *s, u32 key, u32 page)
{
    u32 n = s->rmap_head[page];
    for (u32 tries = 0; n && tries < 4; tries++) {
        struct sh_node *node = &s->nodes[n - 1];
        if (node->key == key)
            return;
        if (!node_maps(s, node->key, page)) {
            node->key = key;
            return;
        }
        n = node->next;
    }
    NOVT_ASSERT(s->node_left);
    s->node_left--;
    u32 i = s->node_free;
    if (i)
        s->node_free = s->nodes[i - 1].next;
    else
        i = ++s->node_bump;
    s->nodes[i - 1] = (struct sh_node){.next = s->rmap_head[page], .key = key};
    s->rmap_head[page] = i;
    s->rmap_high |= (u64)page << PAGE_SHIFT >= memory_ram_size(s->m);
}

void sh_rmap_reset(struct shadow *s)
{
    clear_words(s->rmap_head, memory_ram_size(s->m) >> PAGE_SHIFT);
    if (unlikely(s->rmap_high)) /* a frame buffer was mapped by 4 KiB pages */
        for (u32 i = (u32)(memory_ram_size(s->m) >> PAGE_SHIFT); i < SH_PAGES; i++)
            if (s->rmap_head[i])
                s->rmap_head[i] = 0;
    s->rmap_high = false;
    s->node_free = s->node_bump = 0;
    s->node_left = RMAP_NODES;
}

void sh_big_unlink(struct shadow *s, struct sh_view *vw, u32 chunk)
{
    u32 id = (u32)vw->id * SH_CHUNKS + chunk;
    struct sh_big *b = &s->bigs[id];
    if (b->prev)
        s->bigs[b->prev - 1].next = b->next;
    else
        s->big_head[b->region - 1] = b->next;
    if (b->next)
        s->bigs[b->next - 1].prev = b->prev;
    *b = (struct sh_big){0};
    vw->big[chunk >> 6] &= ~(1ull << (chunk & 63));
}

void sh_big_link(struct shadow *s, struct sh_view *vw, u32 chunk, u32 region)
{
    u32 id = (u32)vw->id * SH_CHUNKS + chunk;
    struct sh_big *b = &s->bigs[id];
    if (likely(b->region == region + 1))
        return;
    if (b->region)
        sh_big_unlink(s, vw, chunk);
    u32 head = s->big_head[region];
    *b = (struct sh_big){.region = region + 1, .next = head};
    if (head)
        s->bigs[head - 1].prev = id + 1;
    s->big_head[region] = id + 1;
    vw->big[chunk >> 6] |= 1ull << (chunk & 63);
}

static void revoke_entry(struct shadow *s, struct sh_view *vw, u32 lp, u32 page)
{
    if (maps(s, vw, lp, page)) {
        sh_win_readonly(s, vw, lp);
        vw->wt[lp] = 0;
        s->v->stats.shadow_revoked++;
    }
}

void sh_revoke(void *opaque, u64 page64)
{
    struct shadow *s = opaque;
    u32 page = (u32)page64;
    for (u32 n = s->big_head[page >> 9]; n; n = s->bigs[n - 1].next) {
        u32 id = n - 1;
        revoke_entry(s, view_of(s, id / SH_CHUNKS), (id % SH_CHUNKS) << 9 | (page & 511), page);
    }
    u32 n = s->rmap_head[page];
    s->rmap_head[page] = 0;
    while (n) {
        struct sh_node *node = &s->nodes[n - 1];
        u32 next = node->next;
        u32 lp = node->key & (SH_PAGES - 1);
        if (node->key >> 20 == KWIN_ID)
            sh_kwin_revoke(s, lp, page);
        else
            revoke_entry(s, view_of(s, node->key >> 20), lp, page);
        node->next = s->node_free;
        s->node_free = n;
        s->node_left++;
        n = next;
    }
}

bool sh_rmap_has_key(const struct shadow *s, u32 key, u32 page)
{
    for (u32 n = s->rmap_head[page]; n; n = s->nodes[n - 1].next)
        if (s->nodes[n - 1].key == key)
            return true;
    return false;
}

bool sh_rmap_knows(struct shadow *s, const struct sh_view *vw, u32 lp, u32 page)
{
    if (s->bigs[(u32)vw->id * SH_CHUNKS + (lp >> 9)].region == (page >> 9) + 1 && ((lp ^ page) & 511) == 0)
        return true;
    return sh_rmap_has_key(s, (u32)vw->id << 20 | lp, page);
}
