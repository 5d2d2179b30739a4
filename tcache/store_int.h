/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to the files of --code-cache: the file's form, and what saving has at hand. */
#ifndef NOVT_TCACHE_STORE_INT_H
#define NOVT_TCACHE_STORE_INT_H

#include "base/build_id.h"
#include "tcache/internal.h"
#include "tcache/store.h"

#define STORE_NOWHERE 0xfffffffeull /* a page number; the exec table's value would be one more */

enum { PART_CODE, PART_FRAGS, PART_LINKS, PART_SIDE, PART_PAGES, PART_CONTENTS, PARTS };

struct store_head {
    char magic[8];
    u32 version, size; /* of this */
    u8 build[BUILD_ID_MAX];
    u64 flavour;
    u32 n_frags, n_links, n_pages, zero;
    u64 bytes[PARTS];
    u64 sum; /* of the parts */
    u64 head_sum;
};

/* All of a head but the numbers and sums. */
int store_make_head(struct store_head *h, u64 flavour);
u64 store_head_sum(const struct store_head *h);

u64 store_page_hash(const u8 *bytes);
/* Makes s->index of s->pages; -ENOMEM. store_drop() frees it, and what was read. */
int store_index(struct store *s, u32 n_pages);
void store_drop(struct store *s);
/* The next page with this hash behind p, from the first on if that is NULL. */
struct store_page *store_next_like(const struct store *s, u64 hash, const struct store_page *p);
/* A page of guest memory as it was when code was first looked for there; NULL: nobody knows. */
const u8 *store_seen(const struct tcache *tc, u64 page);

struct saver {
    struct tcache *from, *to;
    const struct tcache_source *source;
    u32 *frag; /* by fragment of `from`: 1 + number in `to`, 0: it is left out */
    u32 *live; /* by guest page: 1 + page in the file */
    u32 pages_max, n_pages;
    struct store_page *pages;
    const u8 **contents;
};

/* The page of the file that fragments of this guest page belong to; 0: no memory. */
u32 save_page(struct saver *s, u64 gpa);
/* Fragment n of the new cache is of page `page` of the file, and has no addresses from now on. */
void save_sleep(struct saver *s, u32 n, u32 page);
/* Whether there is room in the file for one more fragment with so many links. */
bool save_room(const struct saver *s, u32 links);
/* Whether fragment n can be saved; learned: also if it depends on what was learned of its instructions. */
bool save_can(const struct saver *s, u32 n, bool learned);

/* relay.c: adds them translated anew, along the arms that their branches took, and chained. -ENOMEM. */
int relay(struct saver *s);

#endif
