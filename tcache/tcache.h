/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translation cache: host code and what is known of it.
 *
 * Code lives in one memfd mapped twice, writable at one address and executable at another (W^X). Fragments
 * are allocated in address order and never move; when code, fragments, links or side storage run out,
 * everything is flushed at once, which bounds the cache whatever the guest does. An invalidated fragment is
 * unlinked and unfindable, but its code stays in place until the flush, so that a callout made from it can
 * still return into the monitor; calls made from it return into a lookup (struct unit_landing).
 *
 * Invariants: lookup returns only valid fragments; a chained jump leads to a valid fragment or to its own
 * stub; every valid fragment is on the list of each physical page whose bytes it was made from. Light code
 * (see cpu/cpu.h).
 */
#ifndef NOVT_TCACHE_TCACHE_H
#define NOVT_TCACHE_TCACHE_H

#include "cpu/insn.h"
#include "translator/translator.h"

struct tcache;

/* What a fragment was made from, and where it may run. */
struct frag_key {
    u64 gpa; /* of the first byte */
    u32 eip;
    u32 mode; /* MODE_* */
    u32 cs_base, cs_limit;
};

/* Two cache lines: there are hundreds of thousands of them. The first is what looking up and chaining touch.
 */
struct fragment {
    struct frag_key key;
    u32 hash_next; /* 1 + number */
    u32 page2;     /* 1 + physical page number of the second page, 0: does not cross */
    u32 host;      /* offset of its first byte in the code area */
    u32 host_len;
    u32 incoming[2]; /* links chained to this fragment, 1 + number; 0: none: of translations and of copies */
    u16 guest_len;   /* struct unit's depends */
    u16 n_insns;
    bool valid;
    bool movable : 1, of : 1; /* of: OF is live at its start */
    bool local : 1;           /* follows from more than the key and guest_len bytes: is not for a file */
    bool dormant : 1;         /* read from a file, and its page has not been met (store.h) */
    u16 n_landings;
    const struct pcmap *pcmap __attribute__((aligned(CODE_LINE))); /* n_insns entries */
    const struct unit_landing *landings;                           /* n_landings entries */
    const struct unit_move *moves; /* a copy at another address shares the lists of what it was made from */
    u32 n_moves;
    u32 first_link, n_links;
    u32 page_next[2];
    u32 alike_next; /* 1 + number: in the list of fragments that copies are made from */
    u32 original;   /* of a copy: 1 + number */
    u32 latest;     /* of an original: 1 + number of its latest copy, which may be gone, and its address */
    u32 latest_eip;
    u32 copies_lead_next; /* 1 + number: in the list of what copies' exits lead to */
} __attribute__((aligned(CODE_LINE)));

/* bytes: size of the code area; opts: OPT(), as the translator gets them. Returns NULL with *err (negative
 * errno) on host failure. */
struct tcache *tcache_create(u64 bytes, u64 phys_pages, u64 opts, int *err);
void tcache_destroy(struct tcache *tc);

/* Executable address range of the code area. */
const u8 *tcache_code(const struct tcache *tc);
u64 tcache_code_size(const struct tcache *tc);
u64 tcache_code_used(const struct tcache *tc);
u32 tcache_fragments(const struct tcache *tc); /* since the last flush */

static inline const u8 *fragment_host(const struct tcache *tc, const struct fragment *f)
{
    return tcache_code(tc) + f->host;
}

struct fragment *tcache_lookup(struct tcache *tc, const struct frag_key *k);
/* The fragment whose code holds this address, valid or not, but not dormant; NULL if none. Async-signal-safe.
 */
const struct fragment *tcache_find_host(const struct tcache *tc, const u8 *pc);
/* Fragment number n since the last flush, valid or not; NULL beyond the last. */
const struct fragment *tcache_fragment(const struct tcache *tc, u32 n);
/* The link will be asked for soon: what it takes is fetched into the host's cache meanwhile. */
void tcache_expect_link(const struct tcache *tc, u32 link);
struct fragment *tcache_link_owner(struct tcache *tc, u32 link);
u32 tcache_link_target(const struct tcache *tc, u32 link); /* eip */

/* Reserves space for one unit: where to write its code, and the number of its first link. False: full, flush
 * and retry. */
bool tcache_reserve(struct tcache *tc, u8 **code, u32 *cap, u32 *first_link);
/* Storage that lives until the next flush, or NULL. */
void *tcache_alloc(struct tcache *tc, u32 size);
/* Makes the unit written to the reserved space findable. NULL: full. */
struct fragment *tcache_commit(struct tcache *tc, const struct frag_key *k, u32 page2, const struct unit *u);
/* Copies a fragment's code to `to`, with all its exits unchained. */
void tcache_unchained(const struct tcache *tc, const struct fragment *f, u8 *to);

/* A fragment of the same bytes, mode and code segment at an address a whole number of pages away, which
 * tcache_move() can copy; NULL if there is none. */
struct fragment *tcache_alike(struct tcache *tc, const struct frag_key *k);
/* Copies it to k's address. NULL: full, tcache_flush_copies(). */
struct fragment *tcache_move(struct tcache *tc, struct fragment *from, const struct frag_key *k);
/* Where link n (of f->n_links) of a copy will lead, going by where the same exit led at another address: what
 * can be copied to there, with *k its key at this address; NULL: not known. Whether k's bytes are what is
 * there now is for the caller to see. */
struct fragment *tcache_foretell(struct tcache *tc, const struct fragment *f, u32 n, struct frag_key *k);
/* What these will ask for soon is fetched into the host's caches meanwhile. */
void tcache_expect_foretell(const struct tcache *tc, const struct fragment *f);
void tcache_expect_move(const struct tcache *tc, const struct fragment *from, const struct frag_key *k);
/* The latest copy of `from`, if it is at this address; NULL otherwise. */
struct fragment *tcache_latest(struct tcache *tc, const struct fragment *from, const struct frag_key *k);

/* Chains link number `link` to f. */
void tcache_link(struct tcache *tc, u32 link, struct fragment *f);
/* The same past f's checked entry, if the link leads there: until tcache_check_links() it is certain that f
 * is what the link leads to, wherever the link's fragment runs. Only between translations, not copies. */
void tcache_link_direct(struct tcache *tc, u32 link, struct fragment *f);
/* Does it make a difference for that link, which belongs to code of a supervisor with a window? */
bool tcache_link_direct_of_use(const struct tcache *tc, u32 link);
/* Nothing is certain any more: what tcache_link_direct() chained is not chained. */
void tcache_check_links(struct tcache *tc);
/* The fragment's checked entry, *len bytes just before its code (0: it has none); *check: the offset in it
 * that other pages' code jumps to. */
const u8 *tcache_entry(const struct tcache *tc, const struct fragment *f, u32 *len, u32 *check);
/* Where indirect branches enter the fragment, with OF as it was or in r11d (translator/exits.c). */
const u8 *tcache_indirect(const struct tcache *tc, const struct fragment *f);

/* Before there is any fragment: from now on the cache knows which arms of branches links are, and has
 * counters for BT_ARMS (translator/abi.h), whose address is returned. NULL: no memory. */
void *tcache_count_arms(struct tcache *tc);

/* Makes a one-byte instruction at this offset of the code area a nop. */
void tcache_patch_nop(struct tcache *tc, u32 at);

/* Invalidates the fragments made from bytes [gpa, gpa+len) (within one page); dropped() is called for each.
 * Returns how many. */
u32 tcache_invalidate(struct tcache *tc, u64 gpa, u32 len, void (*dropped)(void *, const struct fragment *),
                      void *opaque);
/* Whether any valid fragment was made from this physical page. */
bool tcache_page_used(const struct tcache *tc, u64 gpa);
/* For a file (store.h): whether tcache_see() is to be called before a fragment is made from this page; and
 * that it has lost its fragments and may change. */
bool tcache_unseen(const struct tcache *tc, u64 gpa);
void tcache_unsee(struct tcache *tc, u64 gpa);
/* Drops everything. forget(page) is called for each physical page that held code. */
void tcache_flush(struct tcache *tc, void (*forget)(void *, u64 gpa), void *opaque);
/* Drops all copies that tcache_move() made. Pages keep their marks: what the copies were made from is there.
 */
void tcache_flush_copies(struct tcache *tc);
/* Is this host address in the part of the code area where copies are? */
bool tcache_in_copies(const struct tcache *tc, u64 host);
/* Changes at every flush. */
u32 tcache_generation(const struct tcache *tc);

#endif
