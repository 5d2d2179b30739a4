/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to tcache/: the cache's arrays, and the steps that its files offer each other. */
#ifndef NOVT_TCACHE_INTERNAL_H
#define NOVT_TCACHE_INTERNAL_H

#include "tcache/ahead.h"
#include "tcache/tcache.h"

struct link {
    u32 owner : 30;  /* fragment number */
    u32 far : 1;     /* leads to the target's checked entry */
    u32 direct : 1;  /* that is left out now; it is in tc->direct */
    u32 patch, stub; /* absolute offsets in the code area */
    u32 target;      /* guest eip */
    u32 next;        /* in the target's list of incoming ones, 1 + number; ~0: the last */
    u32 led; /* of an original: 1 + number of the original of what it was chained to last, also as a copy's */
};

/* The cache is divided: code that was translated, and copies of it (move.c), which are dropped by themselves
 * when they have filled their part. In each part code, fragments and links are given out in order. */
enum { TRANSLATED, COPIES, ARENAS };
struct arena {
    u64 start, used, end; /* of the code area */
    u32 frag0, n_frags, frags_end;
    u32 link0, n_links, links_end;
};

/* What was read from a file (store.c): pages of guest code, and the fragments made from each, which stay
 * dormant until the page is met. */
struct store_page {
    u64 hash;  /* of its bytes */
    u32 frags; /* 1 + number of its first fragment, chained by page_next[0] */
    u32 n_frags;
    u32 next; /* in its list of the index, 1 + number */
    u32 idle; /* how many runs that saved did not meet it */
    bool adopted;
};
struct store {
    struct store_page *pages;
    const u8 *contents; /* PAGE_SIZE bytes for each */
    u32 n_pages;        /* 0: nothing was read, or it was flushed */
    u32 *index, index_mask;
    void *map; /* of both of them; stays until the end */
    u64 map_bytes;
};

/* What each page of guest memory had in it when code was first looked for there. */
struct seen {
    u32 *page; /* by guest page: 0: nothing was; 1 + page of the store; SEEN_SHOT: it is in `shot` */
    u32 *slot; /* by guest page: 1 + its place in `shot`, 0: it has none yet */
    u8 *shot;
    u32 n_shots;
};
#define SEEN_SHOT 0xffffffffu
#define SHOTS_MAX 32768u /* pages */

struct tcache {
    u8 *rw, *rx;
    u64 size;
    bool large; /* ask the host for large pages */
    u64 opts;
    struct {
        u32 len, check; /* bytes before a fragment's code: its checked entry, where others jump to */
    } entry[2];         /* by whether OF is live */
    struct arena arena[ARENAS];
    struct ahead ahead;
    struct fragment *frags;
    struct link *links;
    u8 *side;
    u64 side_used;
    u32 frags_max, links_max;
    u64 side_bytes;
    u32 (*hash)[ARENAS]; /* 1 + fragment number; copies have lists of their own, which go with them */
    u32 *alike;          /* the same, by bytes and mode only: fragments that others can be copied from */
    u32 hash_mask;
    u32 (*page_head)[ARENAS]; /* per physical page: 1 + fragment number, with the list's slot (0 or 1) in bit
                                 31 */
    u32 *direct, n_directs;   /* links without the check, and such that were; DIRECT_MAX at most */
    u32 copies_lead_to;       /* 1 + number of the first of the translations that copies' exits lead to */
    u64 phys_pages;
    u32 generation;
    struct store store;
    struct seen seen; /* all NULL: nothing is kept for a file */
    u32 (*arms)[2];   /* by link: how often its branch was taken and passed; NULL: that is not counted */
    u16 *arm;         /* by link: struct unit_link's; NULL: not kept */
};

#define DIRECT_MAX 131072u
#define SLOT1      0x80000000u
#define SIDE_SPARE 16384 /* side tables: at most what one unit needs */

/* Whose lists fragment n is on. */
static inline u32 tc_arena(const struct tcache *tc, u32 n)
{
    return n < tc->arena[COPIES].frag0 ? TRANSLATED : COPIES;
}

static inline void tc_patch32(struct tcache *tc, u32 at, u32 val)
{
    __builtin_memcpy(tc->rw + at, &val, 4);
}

/* Where a copy of f has its code: in the same place of a line. */
static inline u64 tc_copy_at(const struct tcache *tc, const struct arena *a, const struct fragment *f)
{
    u64 at = a->used + tc->entry[f->of].len;
    return at + ((f->host - at) & (CODE_LINE - 1));
}

/* Where the arena's next fragment has its code: behind a checked entry. */
static inline u64 tc_code_at(const struct tcache *tc, const struct arena *a)
{
    return ALIGN_UP(a->used + tc->entry[1].len, (u64)FRAGMENT_ALIGN);
}

/* The exit leads to its own stub again. */
static inline void tc_unchain(struct tcache *tc, struct link *l)
{
    tc_patch32(tc, l->patch, l->stub - (l->patch + 4));
    l->next = 0;
    l->direct = 0;
}

/* Does the link lead to a checked entry, from code that may do without (tcache_link_direct())? */
static inline bool tc_may_be_direct(const struct tcache *tc, const struct link *l)
{
    u32 mode = tc->frags[l->owner].key.mode;

    return l->far && (tc->opts & OPT(kdirect)) && (mode & MODE_WIN) && (mode & MODE_CPL) != MODE_CPL;
}

/* 1 + number of what the fragment is a copy of: itself, if it is none. */
static inline u32 tc_original(const struct tcache *tc, const struct fragment *f)
{
    return f->original ? f->original : (u32)(f - tc->frags) + 1;
}

/* Writes the checked entry of a fragment. */
void tc_entry(struct tcache *tc, const struct fragment *f);
void store_free(struct tcache *tc);
/* From now on tc->arm says which arm each link is; false: no memory. */
bool tc_keep_arms(struct tcache *tc);
/* What copies have counted is their originals'. */
void tc_fold_arms(struct tcache *tc);
/* Puts fragment n on the lists by which it is found; on the one of what copies are made from. */
void tc_list(struct tcache *tc, u32 n);
void tc_list_alike(struct tcache *tc, u32 n);
/* Enters the fragment that tc_next() gave out, which is filled in but for the lists. */
struct fragment *tc_enter(struct tcache *tc, struct arena *a);
/* tc_enter() will be called with this key soon. */
void tc_expect_enter(const struct tcache *tc, const struct frag_key *k);
/* Space for one more unit in the arena: its fragment; its code goes to tc_code_at(), its first link is
 * a->n_links. NULL: full. */
struct fragment *tc_next(struct tcache *tc, struct arena *a);
/* The list of tc->alike that k belongs to. */
u32 *tc_alike_list(struct tcache *tc, const struct frag_key *k);

#endif
