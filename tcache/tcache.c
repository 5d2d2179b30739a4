/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Implementation of tcache.h: flat arrays indexed by number (0 is "none" in every list, so numbers are stored
 * plus one), all of them sparse anonymous memory, so that an idle cache costs nothing.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/copy.h"
#include "base/log.h"
#include "base/opts.h"
#include "base/syscall.h"
#include "tcache/internal.h"

/* How many bytes of code a fragment needs at least on average, so that the code area is what runs out (about
 * 700 are seen, with 1.8 links and 160 bytes of side tables). */
#define FRAG_CODE  256u
#define FRAG_LINKS 3u
#define SIDE_SHARE 3u /* side tables: a third of the code's bytes */
#define COPY_SHARE 8u /* copies: an eighth */

#define HASH_NEAR   10u /* 1 KiB of code */
#define HASH_SPREAD 64u /* has so many lists, side by side */

/* Two mappings of the same memory (mremap(2): an old size of 0 makes another one of shared pages), each where
 * large pages can be: code is spread over megabytes. Anonymous and not a memfd, because perf looks for names
 * of jitted code (--perf-map) only where no file is mapped. */
static bool map_code(struct tcache *tc)
{
    u64 span = ALIGN_UP(tc->size, HUGE);
    u8 *p = mmap(NULL, 2 * span + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    u8 *first, *end;

    if (p == MAP_FAILED)
        return false;
    first = (u8 *)ALIGN_UP((u64)(uintptr_t)p, HUGE);
    end = p + 2 * span + HUGE;
    tc->rw = mmap(first, tc->size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (tc->rw == MAP_FAILED ||
        mremap(tc->rw, 0, tc->size, MREMAP_MAYMOVE | MREMAP_FIXED, first + span) == MAP_FAILED) {
        munmap(p, 2 * span + HUGE);
        tc->rw = NULL;
        return false;
    }
    tc->rx = first + span;
    /* what is left of the reservation stays a guard behind each of them, but for the ends */
    if (first > p)
        munmap(p, (u64)(first - p));
    munmap(tc->rx + span, (u64)(end - (tc->rx + span)));
    if (tc->large) { /* if the host allows it */
        madvise(tc->rw, tc->size, MADV_HUGEPAGE);
        madvise(tc->rx, tc->size, MADV_HUGEPAGE);
    }
    return mprotect(tc->rx, tc->size, PROT_READ | PROT_EXEC) == 0;
}

static void *map(u64 size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* An array that is looked at here and there: at the start of a large page. */
static void *map_array(const struct tcache *tc, u64 size)
{
    u8 *p = map(size + HUGE), *first;

    if (!p)
        return NULL;
    first = (u8 *)ALIGN_UP((u64)(uintptr_t)p, HUGE);
    if (first > p)
        munmap(p, (u64)(first - p));
    munmap(first + ALIGN_UP(size, (u64)PAGE_SIZE), HUGE - (u64)(first - p));
    if (tc->large)
        madvise(first, size, MADV_HUGEPAGE);
    return first;
}

/* Copies get one part of `share`, 0: nothing. */
static void split(struct tcache *tc, u32 share)
{
    u64 code = share ? ALIGN_UP(tc->size / share, tc->size >= 16 * HUGE ? HUGE : (u64)PAGE_SIZE) : 0;
    u32 frags = share ? tc->frags_max / share : 0, links = share ? tc->links_max / share : 0;

    tc->arena[TRANSLATED] = (struct arena){
        .start = 1, /* offset 0 means "none" */
        .end = tc->size - code,
        .frags_end = tc->frags_max - frags,
        .links_end = tc->links_max - links,
    };
    tc->arena[COPIES] = (struct arena){
        .start = tc->size - code,
        .end = tc->size,
        .frag0 = tc->frags_max - frags,
        .frags_end = tc->frags_max,
        .link0 = tc->links_max - links,
        .links_end = tc->links_max,
    };
}

/* Who finds memory for what is given out in order. */
static void prepare(struct tcache *tc)
{
    for (u32 n = 0; n < ARENAS; n++) {
        const struct arena *a = &tc->arena[n];
        u64 page = PAGE_SIZE, frag = sizeof(*tc->frags), link = sizeof(*tc->links);
        ahead_region(&tc->ahead, REGION_CODE + n, tc->rw, tc->rx, n == COPIES ? a->start : 0, a->end);
        ahead_region(&tc->ahead, REGION_FRAGS + n, (u8 *)tc->frags, NULL, a->frag0 * frag,
                     ALIGN_UP(a->frags_end * frag, page));
        ahead_region(&tc->ahead, REGION_LINKS + n, (u8 *)tc->links, NULL, a->link0 * link,
                     ALIGN_UP(a->links_end * link, page));
    }
    ahead_region(&tc->ahead, REGION_SIDE, tc->side, NULL, 0, ALIGN_UP(tc->side_bytes, (u64)PAGE_SIZE));
    ahead_start(&tc->ahead, tc->large, tc->large && tc->opts & OPT(memahead));
}

static void reset(struct arena *a)
{
    a->used = a->start;
    a->n_frags = a->frag0;
    a->n_links = a->link0;
}

struct tcache *tcache_create(u64 bytes, u64 phys_pages, u64 opts, int *err)
{
    struct tcache *tc = map(sizeof(*tc));
    u8 entry[ENTRY_MAX];
    u32 check = 0;

    *err = -ENOMEM;
    if (!tc)
        return NULL;
    tc->size = ALIGN_UP(bytes, (u64)PAGE_SIZE);
    tc->phys_pages = phys_pages;
    tc->opts = opts;
    tc->large = opts & OPT(largepages);
    for (u32 of = 0; of < 2; of++) {
        tc->entry[of].len = translate_entry(opts, 0, 0, 0, of, entry, &check);
        tc->entry[of].check = tc->entry[of].len - check;
    }
    tc->frags_max = (u32)(tc->size / FRAG_CODE);
    tc->links_max = tc->frags_max * FRAG_LINKS + UNIT_MAX_LINKS;
    tc->side_bytes = tc->size / SIDE_SHARE + SIDE_SPARE;
    for (tc->hash_mask = 1023; tc->hash_mask < tc->frags_max / 2; tc->hash_mask = tc->hash_mask * 2 + 1)
        ;
    if (!map_code(tc)) {
        *err = -errno;
        goto fail;
    }
    tc->frags = map_array(tc, (u64)tc->frags_max * sizeof(*tc->frags));
    tc->links = map_array(tc, (u64)tc->links_max * sizeof(*tc->links));
    tc->side = map_array(tc, tc->side_bytes);
    tc->hash = map_array(tc, (tc->hash_mask + 1ull) * sizeof(*tc->hash));
    tc->alike = map_array(tc, (tc->hash_mask + 1ull) * sizeof(*tc->alike));
    tc->page_head = map_array(tc, phys_pages * sizeof(*tc->page_head));
    tc->direct = map(DIRECT_MAX * sizeof(*tc->direct));
    if (!tc->direct || !tc->frags || !tc->links || !tc->side || !tc->hash || !tc->alike || !tc->page_head)
        goto fail;
    split(tc, COPY_SHARE);
    prepare(tc);
    reset(&tc->arena[TRANSLATED]);
    reset(&tc->arena[COPIES]);
    return tc;
fail:
    tcache_destroy(tc);
    return NULL;
}

void tcache_destroy(struct tcache *tc)
{
    if (!tc)
        return;
    ahead_stop(&tc->ahead);
    store_free(tc);
    if (tc->rw)
        munmap(tc->rw, ALIGN_UP(tc->size, HUGE) + tc->size);
    if (tc->frags)
        munmap(tc->frags, (u64)tc->frags_max * sizeof(*tc->frags));
    if (tc->links)
        munmap(tc->links, (u64)tc->links_max * sizeof(*tc->links));
    if (tc->direct)
        munmap(tc->direct, DIRECT_MAX * sizeof(*tc->direct));
    if (tc->side)
        munmap(tc->side, tc->side_bytes);
    if (tc->hash)
        munmap(tc->hash, (tc->hash_mask + 1ull) * sizeof(*tc->hash));
    if (tc->alike)
        munmap(tc->alike, (tc->hash_mask + 1ull) * sizeof(*tc->alike));
    if (tc->page_head)
        munmap(tc->page_head, tc->phys_pages * sizeof(*tc->page_head));
    if (tc->arms)
        munmap(tc->arms, tc->links_max * sizeof(*tc->arms));
    if (tc->arm)
        munmap(tc->arm, tc->links_max * sizeof(*tc->arm));
    munmap(tc, sizeof(*tc));
}

bool tc_keep_arms(struct tcache *tc)
{
    tc->arm = map(tc->links_max * sizeof(*tc->arm));
    return tc->arm;
}

void *tcache_count_arms(struct tcache *tc)
{
    NOVT_ASSERT(!tcache_fragments(tc) && !tc->arms);
    if (tc_keep_arms(tc))
        tc->arms = map(tc->links_max * sizeof(*tc->arms));
    return tc->arms;
}

const u8 *tcache_code(const struct tcache *tc)
{
    return tc->rx;
}
u64 tcache_code_size(const struct tcache *tc)
{
    return tc->size;
}
u64 tcache_code_used(const struct tcache *tc)
{
    return tc->arena[TRANSLATED].used + tc->arena[COPIES].used - tc->arena[COPIES].start;
}
u32 tcache_fragments(const struct tcache *tc)
{
    return tc->arena[TRANSLATED].n_frags + tc->arena[COPIES].n_frags - tc->arena[COPIES].frag0;
}
u32 tcache_generation(const struct tcache *tc)
{
    return tc->generation;
}

/* h: of all but the lower bits of gpa. What is near in memory is near in the table: code that is looked up
 * together shares its cache lines. */
static u32 spread(const struct tcache *tc, u32 h, u64 gpa)
{
    return ((h ^ h >> 15) * HASH_SPREAD + ((u32)gpa >> (HASH_NEAR - 6)) % HASH_SPREAD) & tc->hash_mask;
}

static u32 hash_of(const struct tcache *tc, const struct frag_key *k)
{
    /* with the address: programs that load at random addresses leave many fragments of the same bytes */
    u32 h = ((u32)(k->gpa >> HASH_NEAR) ^ (k->eip >> HASH_NEAR) * 0xc2b2ae35u) * 0x9e3779b1u ^
            k->mode * 0x85ebca6bu;
    return spread(tc, h, k->gpa);
}

u32 *tc_alike_list(struct tcache *tc, const struct frag_key *k)
{
    u32 h = (u32)(k->gpa >> HASH_NEAR) * 0x9e3779b1u ^ k->mode * 0x85ebca6bu;
    return &tc->alike[spread(tc, h, k->gpa)];
}

static bool key_equal(const struct frag_key *a, const struct frag_key *b)
{
    return a->gpa == b->gpa && a->eip == b->eip && a->mode == b->mode && a->cs_base == b->cs_base &&
           a->cs_limit == b->cs_limit;
}

struct fragment *tcache_lookup(struct tcache *tc, const struct frag_key *k)
{
    const u32 *head = tc->hash[hash_of(tc, k)];

    for (u32 a = 0; a < ARENAS; a++)
        for (u32 n = head[a]; n; n = tc->frags[n - 1].hash_next)
            if (key_equal(&tc->frags[n - 1].key, k))
                return &tc->frags[n - 1];
    return NULL;
}

const struct fragment *tcache_find_host(const struct tcache *tc, const u8 *pc)
{
    u64 off = (u64)(pc - tc->rx);
    const struct arena *a = &tc->arena[off < tc->arena[COPIES].start ? TRANSLATED : COPIES];
    u32 lo = a->frag0, hi = a->n_frags, first = lo;

    if (pc < tc->rx || off >= a->used)
        return NULL;
    while (lo < hi) { /* last fragment that starts at or before off */
        u32 mid = (lo + hi) / 2;
        if (tc->frags[mid].host <= off)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == first)
        return NULL;
    const struct fragment *f = &tc->frags[lo - 1];
    return off < f->host + f->host_len && !f->dormant ? f : NULL;
}

const struct fragment *tcache_fragment(const struct tcache *tc, u32 n)
{
    const struct arena *a = &tc->arena[TRANSLATED];

    if (n >= a->n_frags) {
        n -= a->n_frags;
        a = &tc->arena[COPIES];
    }
    return n < a->n_frags - a->frag0 ? &tc->frags[a->frag0 + n] : NULL;
}

void tcache_expect_link(const struct tcache *tc, u32 link)
{
    NOVT_ASSERT(link < tc->links_max);
    __builtin_prefetch(&tc->frags[tc->links[link].owner]);
}

struct fragment *tcache_link_owner(struct tcache *tc, u32 link)
{
    NOVT_ASSERT(link < tc->links_max);
    return &tc->frags[tc->links[link].owner];
}

u32 tcache_link_target(const struct tcache *tc, u32 link)
{
    NOVT_ASSERT(link < tc->links_max);
    return tc->links[link].target;
}

struct fragment *tc_next(struct tcache *tc, struct arena *a)
{
    u32 n;

    if (tc_code_at(tc, a) + CODE_LINE + UNIT_MAX_CODE > a->end || a->n_frags == a->frags_end ||
        a->n_links + UNIT_MAX_LINKS > a->links_end)
        return NULL;
    n = a == &tc->arena[COPIES];
    ahead_use(&tc->ahead, REGION_CODE + n, tc_code_at(tc, a) + CODE_LINE + UNIT_MAX_CODE);
    ahead_use(&tc->ahead, REGION_FRAGS + n, (a->n_frags + 1ull) * sizeof(*tc->frags));
    ahead_use(&tc->ahead, REGION_LINKS + n, (a->n_links + UNIT_MAX_LINKS) * sizeof(*tc->links));
    return &tc->frags[a->n_frags];
}

bool tcache_reserve(struct tcache *tc, u8 **code, u32 *cap, u32 *first_link)
{
    struct arena *a = &tc->arena[TRANSLATED];

    if (tc->side_used + SIDE_SPARE > tc->side_bytes || !tc_next(tc, a))
        return false;
    *code = tc->rw + tc_code_at(tc, a);
    *cap = UNIT_MAX_CODE;
    *first_link = a->n_links;
    return true;
}

void *tcache_alloc(struct tcache *tc, u32 size)
{
    u64 at = ALIGN_UP(tc->side_used, 8ull);

    if (at + size > tc->side_bytes)
        return NULL;
    ahead_use(&tc->ahead, REGION_SIDE, at + size);
    tc->side_used = at + size;
    return tc->side + at;
}

static void page_add(struct tcache *tc, u32 n, u32 slot, u64 page)
{
    u32 *head;

    NOVT_ASSERT(page < tc->phys_pages);
    head = &tc->page_head[page][tc_arena(tc, n)];
    tc->frags[n].page_next[slot] = *head;
    *head = (n + 1) | (slot ? SLOT1 : 0);
}

static bool has_entry(const struct tcache *tc, const struct fragment *f)
{
    return tc->entry[1].len && (f->key.mode & MODE_FLATCS);
}

void tc_entry(struct tcache *tc, const struct fragment *f)
{
    u32 check;

    if (has_entry(tc, f))
        translate_entry(tc->opts, f->key.eip, f->key.cs_base + f->key.eip,
                        (u32)(f->key.gpa >> PAGE_SHIFT) + 1, f->of, tc->rw + f->host - tc->entry[f->of].len,
                        &check);
}

const u8 *tcache_entry(const struct tcache *tc, const struct fragment *f, u32 *len, u32 *check)
{
    *len = has_entry(tc, f) ? tc->entry[f->of].len : 0;
    *check = tc->entry[f->of].len - tc->entry[f->of].check;
    return fragment_host(tc, f) - *len;
}

const u8 *tcache_indirect(const struct tcache *tc, const struct fragment *f)
{
    const u8 *host = fragment_host(tc, f);
    return f->of && entry_restores_of(tc->opts, f->key.mode) ? host - ENTRY_OF_BYTES : host;
}

void tc_expect_enter(const struct tcache *tc, const struct frag_key *k)
{
    __builtin_prefetch(&tc->hash[hash_of(tc, k)], 1);
    __builtin_prefetch(&tc->page_head[k->gpa >> PAGE_SHIFT], 1);
}

void tc_list_alike(struct tcache *tc, u32 n)
{
    u32 *alike = tc_alike_list(tc, &tc->frags[n].key);

    tc->frags[n].alike_next = *alike;
    *alike = n + 1;
}

/* Puts fragment n on the lists by which it is found. */
void tc_list(struct tcache *tc, u32 n)
{
    struct fragment *f = &tc->frags[n];
    u32 *head = &tc->hash[hash_of(tc, &f->key)][tc_arena(tc, n)];

    page_add(tc, n, 0, f->key.gpa >> PAGE_SHIFT);
    if (f->page2)
        page_add(tc, n, 1, f->page2 - 1);
    f->hash_next = *head;
    *head = n + 1;
}

struct fragment *tc_enter(struct tcache *tc, struct arena *a)
{
    struct fragment *f = &tc->frags[a->n_frags];

    a->n_links += f->n_links;
    a->used = f->host + f->host_len;
    tc_entry(tc, f);
    tc_list(tc, a->n_frags++);
    return f;
}

/* size bytes that live until the next flush; from: readable to a multiple of 8. NULL: full. */
static void *keep_words(struct tcache *tc, const void *from, u32 size)
{
    u8 *to = tcache_alloc(tc, ALIGN_UP(size, 8u));

    for (u32 n = 0; to && n < size; n += 8)
        __builtin_memcpy(to + n, (const u8 *)from + n, 8);
    return to;
}

struct fragment *tcache_commit(struct tcache *tc, const struct frag_key *k, u32 page2, const struct unit *u)
{
    struct arena *a = &tc->arena[TRANSLATED];
    u32 n = a->n_frags;
    struct fragment *f = &tc->frags[n];
    bool moves = !u->fixed;
    const struct pcmap *map_copy = keep_words(tc, u->pcmap, u->n_insns * (u32)sizeof(u->pcmap[0]));
    const struct unit_landing *landings =
        keep_words(tc, u->landings, u->n_landings * (u32)sizeof(u->landings[0]));
    const struct unit_move *list =
        keep_words(tc, u->moves, moves ? u->n_moves * (u32)sizeof(u->moves[0]) : 0);

    if (!map_copy || !landings || !list)
        return NULL;
    *f = (struct fragment){
        .key = *k,
        .page2 = page2,
        .host = (u32)tc_code_at(tc, a) + u->lead,
        .host_len = u->host_len,
        .guest_len = (u16)u->depends,
        .n_insns = (u16)u->n_insns,
        .valid = true,
        .pcmap = map_copy,
        .landings = landings,
        .n_landings = (u16)u->n_landings,
        .first_link = a->n_links,
        .n_links = u->n_links,
        .movable = moves,
        .of = u->of,
        .moves = list,
        .n_moves = u->n_moves,
    };
    for (u32 i = 0; i < u->n_links; i++) {
        const struct unit_link *l = &u->links[i];
        tc->links[a->n_links + i] = (struct link){.owner = n,
                                                  .far = l->far,
                                                  .patch = f->host + l->patch,
                                                  .stub = f->host + l->stub,
                                                  .target = l->target};
        if (unlikely(tc->arm))
            tc->arm[a->n_links + i] = l->arm;
    }
    if (moves)
        tc_list_alike(tc, n);
    return tc_enter(tc, a);
}

void tcache_patch_nop(struct tcache *tc, u32 at)
{
    tc->rw[at] = 0x90;
}

/* Where an exit led is kept with the original, for the next copy. */
static void note_led(struct tcache *tc, const struct link *l, u32 link, const struct fragment *to)
{
    const struct fragment *owner = &tc->frags[l->owner], *o = &tc->frags[tc_original(tc, owner) - 1];

    if (o->movable && to->movable)
        tc->links[link - owner->first_link + o->first_link].led = tc_original(tc, to);
}

static void link_to(struct tcache *tc, u32 link, struct fragment *f, bool check)
{
    struct link *l = &tc->links[link];
    u32 from, *head;

    NOVT_ASSERT(link < tc->links_max && f->valid);
    if (l->next) /* chained already, for another physical page: that target's list owns it */
        return;
    NOVT_ASSERT(!l->far || has_entry(tc, f));
    if (!check && tc_may_be_direct(tc, l) && tc->n_directs < DIRECT_MAX &&
        tc_arena(tc, l->owner) == TRANSLATED && !f->original) {
        l->direct = 1;
        tc->direct[tc->n_directs++] = link;
    }
    tc_patch32(tc, l->patch, f->host - (l->far && !l->direct ? tc->entry[f->of].check : 0) - (l->patch + 4));
    from = tc_arena(tc, l->owner);
    head = &f->incoming[from];
    if (from == COPIES && !*head && !f->original) {
        f->copies_lead_next = tc->copies_lead_to;
        tc->copies_lead_to = (u32)(f - tc->frags) + 1;
    }
    l->next = *head ? *head : ~0u;
    *head = link + 1;
    note_led(tc, l, link, f);
}

void tcache_link(struct tcache *tc, u32 link, struct fragment *f)
{
    link_to(tc, link, f, true);
}

void tcache_link_direct(struct tcache *tc, u32 link, struct fragment *f)
{
    link_to(tc, link, f, false);
}

bool tcache_link_direct_of_use(const struct tcache *tc, u32 link)
{
    NOVT_ASSERT(link < tc->links_max);
    return tc_may_be_direct(tc, &tc->links[link]);
}

void tcache_check_links(struct tcache *tc)
{
    for (u32 i = 0; i < tc->n_directs; i++) {
        const struct link *first = &tc->links[tc->direct[i]];
        struct fragment *f;
        u32 rel, n, *p;

        if (!first->direct)
            continue;
        __builtin_memcpy(&rel, tc->rw + first->patch, 4);
        f = (struct fragment *)tcache_find_host(tc, tc->rx + (u32)(first->patch + 4 + rel));
        /* all that lead to the same fragment */
        p = &f->incoming[TRANSLATED];
        for (n = *p; n && n != ~0u;) {
            struct link *l = &tc->links[n - 1];
            n = l->next;
            if (l->direct) {
                tc_unchain(tc, l);
                *p = p == &f->incoming[TRANSLATED] && n == ~0u ? 0 : n;
            } else {
                p = &l->next;
            }
        }
        NOVT_ASSERT(!first->direct);
    }
    tc->n_directs = 0;
}

/* Calls that the fragment made return into a lookup from now on. */
static void close_landings(struct tcache *tc, const struct fragment *f)
{
    for (u32 i = 0; i < f->n_landings; i++) {
        const struct unit_landing *l = &f->landings[i];
        tc->rw[f->host + l->at] = 0xe9;
        tc_patch32(tc, f->host + l->at + 1, l->miss - (l->at + LANDING_PATCH));
    }
}

static void unlink_incoming(struct tcache *tc, struct fragment *f, u32 from)
{
    u32 n = f->incoming[from];

    f->incoming[from] = 0;
    while (n && n != ~0u) {
        struct link *l = &tc->links[n - 1];
        n = l->next;
        tc_unchain(tc, l);
    }
}

static void unlist(struct tcache *tc, u32 n)
{
    u32 *p;

    for (p = &tc->hash[hash_of(tc, &tc->frags[n].key)][tc_arena(tc, n)]; *p && *p != n + 1;)
        p = &tc->frags[*p - 1].hash_next;
    if (*p)
        *p = tc->frags[n].hash_next;
    for (p = tc_alike_list(tc, &tc->frags[n].key); *p && *p != n + 1;)
        p = &tc->frags[*p - 1].alike_next;
    if (*p)
        *p = tc->frags[n].alike_next;
}

/* Bytes that the fragment uses of the physical page that list slot stands for. */
static bool overlaps(const struct fragment *f, u32 slot, u64 gpa, u32 len)
{
    u32 off = (u32)gpa & PAGE_MASK, start = (u32)f->key.gpa & PAGE_MASK;

    if (slot) /* the tail of an instruction that started on the page before */
        return off < start + f->guest_len - PAGE_SIZE;
    return off < start + f->guest_len && off + len > start;
}

/* The same of one of the page's lists. */
static u32 invalidate(struct tcache *tc, u32 *p, u64 gpa, u32 len,
                      void (*dropped)(void *, const struct fragment *), void *opaque)
{
    u32 count = 0;

    while (*p) {
        u32 slot = *p & SLOT1 ? 1 : 0, n = (*p & ~SLOT1) - 1;
        struct fragment *f = &tc->frags[n];

        if (f->valid && overlaps(f, slot, gpa, len)) {
            f->valid = false;
            unlink_incoming(tc, f, TRANSLATED);
            unlink_incoming(tc, f, COPIES);
            close_landings(tc, f);
            unlist(tc, n);
            dropped(opaque, f);
            count++;
        }
        if (!f->valid)
            *p = f->page_next[slot]; /* the other page's list drops it when it is next walked */
        else
            p = &f->page_next[slot];
    }
    return count;
}

u32 tcache_invalidate(struct tcache *tc, u64 gpa, u32 len, void (*dropped)(void *, const struct fragment *),
                      void *opaque)
{
    u32 count = 0;

    if ((gpa >> PAGE_SHIFT) >= tc->phys_pages)
        return 0;
    for (u32 a = 0; a < ARENAS; a++)
        count += invalidate(tc, &tc->page_head[gpa >> PAGE_SHIFT][a], gpa, len, dropped, opaque);
    return count;
}

bool tcache_page_used(const struct tcache *tc, u64 gpa)
{
    if ((gpa >> PAGE_SHIFT) >= tc->phys_pages)
        return false;
    for (u32 a = 0; a < ARENAS; a++)
        for (u32 n = tc->page_head[gpa >> PAGE_SHIFT][a]; n;) {
            const struct fragment *f = &tc->frags[(n & ~SLOT1) - 1];
            if (f->valid)
                return true;
            n = f->page_next[n & SLOT1 ? 1 : 0];
        }
    return false;
}

void tcache_unsee(struct tcache *tc, u64 gpa)
{
    if (tc->seen.page)
        tc->seen.page[gpa >> PAGE_SHIFT] = 0;
}

bool tcache_unseen(const struct tcache *tc, u64 gpa)
{
    return tc->seen.page && !tc->seen.page[gpa >> PAGE_SHIFT];
}

/* No page's list of the arena has the fragment any more, nor any other that is there. */
static void clear_pages(struct tcache *tc, const struct fragment *f, u32 arena)
{
    tc->page_head[f->key.gpa >> PAGE_SHIFT][arena] = 0;
    if (arena == TRANSLATED)
        tcache_unsee(tc, f->key.gpa);
    if (f->page2)
        tc->page_head[f->page2 - 1][arena] = 0;
}

void tcache_flush(struct tcache *tc, void (*forget)(void *, u64 gpa), void *opaque)
{
    struct fragment *f;

    for (u32 n = 0; (f = (struct fragment *)tcache_fragment(tc, n)); n++) {
        f->valid = false;
        if (!f->dormant)
            clear_pages(tc, f, tc_arena(tc, (u32)(f - tc->frags)));
    }
    for (u32 n = 0; (f = (struct fragment *)tcache_fragment(tc, n)); n++) {
        if (f->dormant)
            continue;
        forget(opaque, f->key.gpa & ~(u64)PAGE_MASK);
        if (f->page2)
            forget(opaque, (u64)(f->page2 - 1) << PAGE_SHIFT);
    }
    clear_words(tc->hash[0], (tc->hash_mask + 1ull) * ARENAS);
    clear_words(tc->alike, tc->hash_mask + 1ull);
    if (unlikely(tc->arms))
        madvise(tc->arms, tc->links_max * sizeof(*tc->arms), MADV_DONTNEED);
    reset(&tc->arena[TRANSLATED]);
    reset(&tc->arena[COPIES]);
    tc->copies_lead_to = 0;
    tc->n_directs = 0;
    tc->side_used = 0;
    tc->store.n_pages = 0;
    tc->generation++;
}

void tc_fold_arms(struct tcache *tc)
{
    const struct arena *a = &tc->arena[COPIES];

    for (u32 n = a->frag0; n < a->n_frags; n++) {
        const struct fragment *f = &tc->frags[n], *o = &tc->frags[f->original - 1];
        for (u32 i = 0; i < f->n_links; i++)
            for (u32 arm = 0; arm < 2; arm++) {
                tc->arms[o->first_link + i][arm] += tc->arms[f->first_link + i][arm];
                tc->arms[f->first_link + i][arm] = 0;
            }
    }
}

/* Costs what there is of copies, and no more: their lists are their own. */
void tcache_flush_copies(struct tcache *tc)
{
    struct arena *a = &tc->arena[COPIES];

    if (unlikely(tc->arms))
        tc_fold_arms(tc);
    for (u32 n = a->frag0; n < a->n_frags; n++) {
        struct fragment *f = &tc->frags[n];
        tc->hash[hash_of(tc, &f->key)][COPIES] = 0;
        clear_pages(tc, f, COPIES);
        unlink_incoming(tc, f, TRANSLATED);
    }
    while (tc->copies_lead_to) {
        struct fragment *f = &tc->frags[tc->copies_lead_to - 1];
        tc->copies_lead_to = f->copies_lead_next;
        f->incoming[COPIES] = 0;
    }
    reset(a);
    tc->generation++;
}

void tcache_unchained(const struct tcache *tc, const struct fragment *f, u8 *to)
{
    __builtin_memcpy(to, fragment_host(tc, f), f->host_len);
    for (u32 i = 0; i < f->n_links; i++) {
        const struct link *l = &tc->links[f->first_link + i];
        u32 rel = l->stub - (l->patch + 4);
        __builtin_memcpy(to + (l->patch - f->host), &rel, 4);
    }
}

bool tcache_in_copies(const struct tcache *tc, u64 host)
{
    u64 off = host - (u64)(uintptr_t)tc->rx;
    return off >= tc->arena[COPIES].start && off < tc->size;
}
