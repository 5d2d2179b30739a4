/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to tcache/: the cache's arrays, and the steps that its files offer each other. */
#ifndef NOVT_TCACHE_INTERNAL_H
#define NOVT_TCACHE_INTERNAL_H

#include "tcache/tcache.h"

struct link {
    u32 owner;               /* fragment number */
    u32 patch, stub, expect; /* absolute offsets in the code area; expect 0: same page */
    u32 next;                /* in the target's incoming list, 1 + number */
};

struct tcache {
    u8 *rw, *rx;
    u64 size, used;
    u64 ready;      /* bytes of code area that the host has memory for, in both mappings */
    u64 side_ready; /* the same, of side */
    struct fragment *frags;
    u32 n_frags;
    struct link *links;
    u32 n_links;
    u8 *side;
    u64 side_used;
    u32 frags_max, links_max;
    u64 side_bytes;
    u32 *hash;  /* 1 + fragment number */
    u32 *alike; /* the same, by bytes and mode only: fragments that others can be copied from */
    u32 hash_mask;
    u32 *page_head; /* per physical page: 1 + fragment number, with the list's slot (0 or 1) in bit 31 */
    u64 phys_pages;
    u32 generation;
};

#define SLOT1 0x80000000u

static inline void tc_patch32(struct tcache *tc, u32 at, u32 val)
{
    __builtin_memcpy(tc->rw + at, &val, 4);
}

/* Enters fragment n_frags, whose code is at tc->used and which is filled in but for the lists. */
struct fragment *tc_enter(struct tcache *tc, struct fragment *f);
/* The list of tc->alike that k belongs to. */
u32 *tc_alike_list(struct tcache *tc, const struct frag_key *k);

#endif
