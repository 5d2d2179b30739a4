/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Implementation of store.h. The file: a head, then the cache's own arrays as they are (code, fragments,
 * links, side tables), pages and their bytes; each part begins at a page.
 *
 * Saving makes a second cache, without gaps: each fragment is copied as move.c does, at its place in a line,
 * and chained there. In the file there are no addresses of the host's: what refers to side tables is an
 * offset in them until the fragment is adopted. A dormant fragment's gpa is of no page (NOWHERE), so that its
 * checked entry compares with a value that no exec table has.
 *
 * Not saved: what cannot be moved, what crosses pages, what depends on what was learned of its instructions,
 * and copies.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include "base/build_id.h"
#include "base/log.h"
#include "tcache/internal.h"
#include "tcache/store.h"

#define MAGIC      "novtcode"
#define VERSION    1u
#define NOWHERE    0xfffffffeull /* a page number; the exec table's value would be one more */
#define IDLE_MAX   8u            /* a page that so many runs had no use for is dropped */
#define FRESH_PART 16u           /* it is written again if one fragment of so many is new */

enum { PART_CODE, PART_FRAGS, PART_LINKS, PART_SIDE, PART_PAGES, PART_CONTENTS, PARTS };

struct head {
    char magic[8];
    u32 version, size; /* of this */
    u8 build[BUILD_ID_MAX];
    u64 flavour;
    u32 n_frags, n_links, n_pages, zero;
    u64 bytes[PARTS];
    u64 sum; /* of the parts */
    u64 head_sum;
};

static int make_head(struct head *h, u64 flavour)
{
    memset(h, 0, sizeof(*h));
    memcpy(h->magic, MAGIC, 8);
    h->version = VERSION;
    h->size = sizeof(*h);
    h->flavour = flavour;
    return build_id(h->build) ? 0 : -ENOTSUP;
}

static u64 head_sum(const struct head *h)
{
    return XXH3_64bits(h, offsetof(struct head, head_sum));
}

static u64 page_hash(const u8 *bytes)
{
    return XXH3_64bits(bytes, PAGE_SIZE);
}

/* ---- reading ---- */

static int read_at(int fd, void *to, u64 bytes, u64 from)
{
    while (bytes) {
        ssize_t n = pread(fd, to, bytes, (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EBADMSG;
        to = (u8 *)to + n;
        from += (u64)n;
        bytes -= (u64)n;
    }
    return 0;
}

/* Whether what the head says can be in this file, and in this cache. */
static int check_head(const struct tcache *tc, const struct head *h, u64 flavour, u64 file_bytes)
{
    const struct arena *a = &tc->arena[TRANSLATED];
    struct head mine;
    int err = make_head(&mine, flavour);
    u64 end = PAGE_SIZE;

    if (err)
        return err;
    if (memcmp(h->magic, MAGIC, 8))
        return -EPERM; /* whatever it is, it must not be overwritten */
    if (memcmp(h, &mine, offsetof(struct head, n_frags)))
        return -EPROTO;
    if (h->head_sum != head_sum(h))
        return -EBADMSG;
    for (u32 n = 0; n < PARTS; n++) {
        if (h->bytes[n] > file_bytes)
            return -EBADMSG;
        end += ALIGN_UP(h->bytes[n], (u64)PAGE_SIZE);
    }
    if (end != file_bytes || h->bytes[PART_FRAGS] != (u64)h->n_frags * sizeof(struct fragment) ||
        h->bytes[PART_LINKS] != (u64)h->n_links * sizeof(struct link) ||
        h->bytes[PART_PAGES] != (u64)h->n_pages * sizeof(struct store_page) ||
        h->bytes[PART_CONTENTS] != (u64)h->n_pages * PAGE_SIZE)
        return -EBADMSG;
    if (h->bytes[PART_CODE] > a->end / 2 || h->n_frags > a->frags_end / 2 || h->n_links > a->links_end / 2 ||
        h->bytes[PART_SIDE] > tc->side_bytes / 2)
        return -EFBIG;
    return 0;
}

static void drop(struct store *s)
{
    free(s->index);
    if (s->map)
        munmap(s->map, s->map_bytes);
}

void store_free(struct tcache *tc)
{
    drop(&tc->store);
    free(tc->seen.page);
    free(tc->seen.slot);
    if (tc->seen.shot)
        munmap(tc->seen.shot, (u64)SHOTS_MAX * PAGE_SIZE);
}

/* Pages are looked at from now on. */
static int begin_seeing(struct tcache *tc)
{
    struct seen *s = &tc->seen;

    if (s->page)
        return 0;
    s->shot = mmap(NULL, (u64)SHOTS_MAX * PAGE_SIZE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->shot == MAP_FAILED) {
        s->shot = NULL;
        return -ENOMEM;
    }
    s->slot = calloc(tc->phys_pages, sizeof(*s->slot));
    s->page = s->slot ? calloc(tc->phys_pages, sizeof(*s->page)) : NULL;
    return s->page ? 0 : -ENOMEM;
}

static int index_pages(struct store *s, u32 n_pages)
{
    for (s->index_mask = 1023; s->index_mask < 2 * n_pages; s->index_mask = s->index_mask * 2 + 1)
        ;
    s->index = calloc(s->index_mask + 1ull, sizeof(*s->index));
    if (!s->index)
        return -ENOMEM;
    for (u32 n = 0; n < n_pages; n++) {
        u32 *head = &s->index[s->pages[n].hash & s->index_mask];
        s->pages[n].next = *head;
        *head = n + 1;
    }
    return 0;
}

static int load(struct tcache *tc, int fd, u64 flavour)
{
    struct arena *a = &tc->arena[TRANSLATED];
    u8 *const to[] = {tc->rw, (u8 *)tc->frags, (u8 *)tc->links, tc->side};
    static const u32 regions[] = {REGION_CODE, REGION_FRAGS, REGION_LINKS, REGION_SIDE};
    struct store s = {0};
    XXH3_state_t *sum;
    struct head h;
    struct stat st;
    u64 at = PAGE_SIZE;
    int err;

    if (fstat(fd, &st))
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
        return -EPERM;
    if (st.st_size < (off_t)sizeof(h))
        return st.st_size ? -EPERM : -ENOENT; /* an empty one: of mktemp */
    if ((err = read_at(fd, &h, sizeof(h), 0)) || (err = check_head(tc, &h, flavour, (u64)st.st_size)))
        return err;
    if (!(sum = XXH3_createState()))
        return -ENOMEM;
    XXH3_64bits_reset(sum);
    for (u32 n = 0; n < ARRAY_SIZE(to) && !err; n++) {
        ahead_fill(&tc->ahead, regions[n], h.bytes[n]);
        if (!(err = read_at(fd, to[n], h.bytes[n], at)))
            XXH3_64bits_update(sum, to[n], h.bytes[n]);
        at += ALIGN_UP(h.bytes[n], (u64)PAGE_SIZE);
    }
    if (!err && h.n_pages) { /* read, not mapped: whoever truncates the file must not end the VM */
        u64 pages = ALIGN_UP(h.bytes[PART_PAGES], (u64)PAGE_SIZE);
        s.map_bytes = pages + h.bytes[PART_CONTENTS];
        s.map = mmap(NULL, s.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (s.map == MAP_FAILED) {
            s.map = NULL;
            err = -errno;
        } else if (!(err = read_at(fd, s.map, s.map_bytes, at))) {
            s.pages = s.map;
            s.contents = (const u8 *)s.map + pages;
            XXH3_64bits_update(sum, s.pages, h.bytes[PART_PAGES]);
            XXH3_64bits_update(sum, s.contents, h.bytes[PART_CONTENTS]);
        }
    }
    if (!err && XXH3_64bits_digest(sum) != h.sum)
        err = -EBADMSG;
    XXH3_freeState(sum);
    if (!err)
        err = index_pages(&s, h.n_pages);
    if (err) { /* what was read is beyond what is used */
        drop(&s);
        return err;
    }
    a->used = h.bytes[PART_CODE];
    a->n_frags = h.n_frags;
    a->n_links = h.n_links;
    tc->side_used = h.bytes[PART_SIDE];
    s.n_pages = h.n_pages;
    if (tc->store.map) /* of a file that was read before, and flushed */
        memset(tc->seen.page, 0, tc->phys_pages * sizeof(*tc->seen.page));
    drop(&tc->store);
    tc->store = s;
    return 0;
}

int tcache_load(struct tcache *tc, const char *path, u64 flavour)
{
    int fd, err = begin_seeing(tc);

    NOVT_ASSERT(!tcache_fragments(tc));
    if (err)
        return err;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    err = load(tc, fd, flavour);
    close(fd);
    return err;
}

/* ---- adopting ---- */

/* An offset in the side tables becomes an address. */
static void *in_side(const struct tcache *tc, const void *offset)
{
    return tc->side + (uintptr_t)offset;
}

/* Where the side tables of a fragment are. */
static const void *side_of(const struct tcache *tc, const struct fragment *f, const void *p)
{
    return f->dormant ? in_side(tc, p) : p;
}

static void wake(struct tcache *tc, u32 n, u64 gpa, const struct tcache_adopter *a)
{
    struct fragment *f = &tc->frags[n];

    NOVT_ASSERT(f->dormant);
    f->key.gpa = gpa | (f->key.gpa & PAGE_MASK);
    f->pcmap = in_side(tc, f->pcmap);
    f->landings = in_side(tc, f->landings);
    f->moves = in_side(tc, f->moves);
    f->dormant = false;
    f->valid = true;
    for (u32 i = 0; i < f->n_moves; i++) {
        u8 *at = tc->rw + f->host + f->moves[i].at;
        struct insn *kept;
        if (f->moves[i].kind != MOVE_INSN)
            continue;
        memcpy(&kept, at, 8);
        kept = in_side(tc, kept);
        a->renew(a->opaque, kept, f->key.mode);
        memcpy(at, &kept, 8);
    }
    tc_entry(tc, f);
    tc_list(tc, n);
    tc_list_alike(tc, n);
}

/* The next page with this hash behind p, from the first on if that is NULL. */
static struct store_page *next_like(const struct store *s, u64 hash, const struct store_page *p)
{
    u32 n = p ? p->next : s->index[hash & s->index_mask];

    while (n && s->pages[n - 1].hash != hash)
        n = s->pages[n - 1].next;
    return n ? &s->pages[n - 1] : NULL;
}

static struct store_page *find_page(const struct store *s, const u8 *bytes)
{
    u64 hash = page_hash(bytes);
    struct store_page *p = NULL;

    while ((p = next_like(s, hash, p)))
        if (!p->adopted && !memcmp(s->contents + (u64)(p - s->pages) * PAGE_SIZE, bytes, PAGE_SIZE))
            break;
    return p;
}

/* Keeps the page's bytes, if there is room. */
static void shoot(struct tcache *tc, u64 page, const u8 *bytes)
{
    struct seen *s = &tc->seen;

    s->page[page] = SEEN_SHOT;
    if (!s->slot[page]) {
        if (s->n_shots == SHOTS_MAX)
            return;
        s->slot[page] = ++s->n_shots;
    }
    memcpy(s->shot + (s->slot[page] - 1ull) * PAGE_SIZE, bytes, PAGE_SIZE);
}

u32 tcache_see(struct tcache *tc, u64 gpa, const u8 *bytes, const struct tcache_adopter *a)
{
    struct store_page *p = a && tc->store.n_pages ? find_page(&tc->store, bytes) : NULL;
    u64 page = gpa >> PAGE_SHIFT;
    u32 count = 0;

    NOVT_ASSERT(!(gpa & PAGE_MASK) && page < tc->phys_pages);
    if (!p) {
        shoot(tc, page, bytes);
        return 0;
    }
    p->adopted = true;
    tc->seen.page[page] = (u32)(p - tc->store.pages) + 1;
    for (u32 n = p->frags, next; n; n = next, count++) {
        next = tc->frags[n - 1].page_next[0];
        wake(tc, n - 1, gpa, a);
    }
    for (u32 n = tc->page_head[page][TRANSLATED], k = 0; k < count; k++) {
        struct fragment *f = &tc->frags[(n & ~SLOT1) - 1];
        n = f->page_next[0];
        a->adopted(a->opaque, f);
    }
    return count;
}

/* The page as it was seen; NULL: nobody knows. */
static const u8 *seen_bytes(const struct tcache *tc, u64 page)
{
    const struct seen *s = &tc->seen;

    if (s->page[page] == SEEN_SHOT)
        return s->slot[page] ? s->shot + (s->slot[page] - 1ull) * PAGE_SIZE : NULL;
    return s->page[page] ? tc->store.contents + (s->page[page] - 1ull) * PAGE_SIZE : NULL;
}

/* ---- saving ---- */

struct saver {
    struct tcache *from, *to;
    const u8 *(*page)(void *, u64);
    void *opaque;
    u32 *frag; /* by fragment of `from`: 1 + number in `to`, 0: it is left out */
    u32 *live; /* by guest page: 1 + page in the file */
    u32 *kept; /* by page of the file that was read: the same */
    u32 pages_max, n_pages;
    struct store_page *pages;
    const u8 **contents;
};

static u32 add_page(struct saver *s, const u8 *bytes, u64 hash, u32 idle)
{
    if (s->n_pages == s->pages_max) {
        u32 max = s->pages_max ? 2 * s->pages_max : 4096;
        struct store_page *p = realloc(s->pages, max * sizeof(*p));
        if (!p)
            return 0;
        s->pages = p;
        const u8 **c = realloc(s->contents, max * sizeof(*c));
        if (!c)
            return 0;
        s->contents = c;
        s->pages_max = max;
    }
    s->contents[s->n_pages] = bytes;
    s->pages[s->n_pages++] = (struct store_page){.hash = hash, .idle = idle};
    return s->n_pages;
}

/* A fragment without addresses, of page `page` of the file. False: there is no room. */
static bool add(struct saver *s, u32 n, u32 page)
{
    struct tcache *from = s->from, *to = s->to;
    struct arena *a = &to->arena[TRANSLATED];
    const struct fragment *o = &from->frags[n];
    struct fragment *f = tc_next(to, a);
    const struct pcmap *pcmap = side_of(from, o, o->pcmap);
    const struct unit_landing *landings = side_of(from, o, o->landings);
    const struct unit_move *moves = side_of(from, o, o->moves);
    u8 *code, *side[3];

    if (!f || a->used > a->end / 2 - UNIT_MAX_CODE - PAGE_SIZE || a->n_frags + 1 >= a->frags_end / 2 ||
        a->n_links + o->n_links >= a->links_end / 2 || to->side_used + SIDE_SPARE > to->side_bytes / 2)
        return false;
    side[0] = tcache_alloc(to, o->n_insns * (u32)sizeof(*pcmap));
    side[1] = tcache_alloc(to, o->n_landings * (u32)sizeof(*landings));
    side[2] = tcache_alloc(to, o->n_moves * (u32)sizeof(*moves));
    memcpy(side[0], pcmap, o->n_insns * sizeof(*pcmap));
    memcpy(side[1], landings, o->n_landings * sizeof(*landings));
    memcpy(side[2], moves, o->n_moves * sizeof(*moves));
    *f = (struct fragment){
        .key = o->key,
        .host = (u32)tc_copy_at(to, a, o),
        .host_len = o->host_len,
        .guest_len = o->guest_len,
        .n_insns = o->n_insns,
        .n_landings = o->n_landings,
        .valid = true, /* so that it can be chained */
        .movable = true,
        .of = o->of,
        .dormant = true,
        .pcmap = (const void *)(side[0] - to->side),
        .landings = (const void *)(side[1] - to->side),
        .moves = (const void *)(side[2] - to->side),
        .n_moves = o->n_moves,
        .first_link = a->n_links,
        .n_links = o->n_links,
    };
    f->key.gpa = NOWHERE << PAGE_SHIFT | (o->key.gpa & PAGE_MASK);
    f->page_next[0] = s->pages[page - 1].frags;
    s->pages[page - 1].frags = a->n_frags + 1;
    s->pages[page - 1].n_frags++;
    code = to->rw + f->host;
    memcpy(code, from->rw + o->host, o->host_len);
    for (u32 i = 0; i < o->n_moves; i++) {
        u8 *at = code + moves[i].at;
        if (moves[i].kind == MOVE_LINK) {
            u32 link;
            memcpy(&link, at, 4);
            link += f->first_link - o->first_link;
            memcpy(at, &link, 4);
        } else if (moves[i].kind == MOVE_INSN) {
            const struct insn *kept;
            struct insn *copy = tcache_alloc(to, sizeof(*copy));
            u64 offset = (u64)((u8 *)copy - to->side);
            memcpy(&kept, at, 8);
            *copy = *(const struct insn *)side_of(from, o, kept);
            copy->fn = NULL;
            copy->thunk = NULL;
            memcpy(at, &offset, 8);
        }
    }
    for (u32 i = 0; i < o->n_links; i++) {
        const struct link *l = &from->links[o->first_link + i];
        struct link *c = &to->links[f->first_link + i];
        *c = (struct link){.owner = a->n_frags,
                           .far = l->far,
                           .patch = l->patch - o->host + f->host,
                           .stub = l->stub - o->host + f->host,
                           .target = l->target,
                           .led = l->led}; /* of `from`, until all are there */
        tc_unchain(to, c);
    }
    tc_entry(to, f);
    s->frag[n] = ++a->n_frags;
    a->n_links += f->n_links;
    a->used = f->host + f->host_len;
    return true;
}

/* now: the page's bytes as they are. */
static bool can_be_saved(const struct tcache *tc, const struct fragment *f, const u8 *now)
{
    const u8 *seen = seen_bytes(tc, f->key.gpa >> PAGE_SHIFT);
    u32 off = (u32)(f->key.gpa & PAGE_MASK);

    return seen && now && f->valid && f->movable && !f->page2 && !f->local &&
           !memcmp(seen + off, now + off, f->guest_len);
}

/* Calls each() for all fragments that can be saved, until it returns false. */
static bool each_live(struct saver *s, bool (*each)(struct saver *s, u32 n))
{
    struct tcache *tc = s->from;

    for (u32 n = 0; n < tc->arena[TRANSLATED].n_frags; n++) {
        const struct fragment *f = &tc->frags[n];
        if (f->valid && can_be_saved(tc, f, s->page(s->opaque, f->key.gpa & ~(u64)PAGE_MASK)) && !each(s, n))
            return false;
    }
    return true;
}

static bool count_live(struct saver *s, u32 n)
{
    s->live[s->from->frags[n].key.gpa >> PAGE_SHIFT]++;
    return true;
}

/* Whether there is enough that the file that was read has not. Leaves s->live as it was. */
static bool much_new(struct saver *s)
{
    const struct tcache *tc = s->from;
    const struct store *old = &tc->store;
    u32 fresh = 0, there = 0;

    each_live(s, count_live);
    for (u64 n = 0; n < tc->phys_pages; n++) {
        u32 count = s->live[n];
        const struct store_page *p =
            count && old->n_pages ? next_like(old, page_hash(seen_bytes(tc, n)), NULL) : NULL;
        if (!p || p->n_frags < count)
            fresh += count - (p ? p->n_frags : 0);
        s->live[n] = 0;
    }
    for (u32 n = 0; n < old->n_pages; n++)
        there += old->pages[n].n_frags;
    return fresh > there / FRESH_PART;
}

static bool add_live(struct saver *s, u32 n)
{
    u64 gpa = s->from->frags[n].key.gpa >> PAGE_SHIFT;
    u32 *page = &s->live[gpa];

    if (!*page) {
        const u8 *bytes = seen_bytes(s->from, gpa);
        *page = add_page(s, bytes, page_hash(bytes), 0);
    }
    return *page && add(s, n, *page);
}

/* What was read and not needed, but for pages whose like has been added. */
static bool add_dormant(struct saver *s)
{
    struct tcache *tc = s->from;
    struct store live = {.pages = s->pages};
    bool room = true;

    if (!tc->store.n_pages)
        return true;
    if (index_pages(&live, s->n_pages))
        return false;
    for (u32 n = 0; n < tc->store.n_pages && room; n++) {
        const struct store_page *p = &tc->store.pages[n];
        u32 page;
        live.pages = s->pages; /* it may have moved */
        if (p->adopted || p->idle >= IDLE_MAX || next_like(&live, p->hash, NULL))
            continue;
        page = add_page(s, tc->store.contents + (u64)n * PAGE_SIZE, p->hash, p->idle + 1);
        if (!page)
            break;
        for (u32 k = p->frags; k && room; k = tc->frags[k - 1].page_next[0])
            room = add(s, k - 1, page);
    }
    drop(&live);
    return true;
}

/* All exits lead where they led. */
static void chain(struct saver *s)
{
    struct tcache *from = s->from, *to = s->to;

    for (u32 n = 0; n < from->arena[TRANSLATED].n_frags; n++) {
        u32 next;
        if (!s->frag[n])
            continue;
        for (u32 l = from->frags[n].incoming[TRANSLATED]; l && l != ~0u; l = next) {
            const struct link *link = &from->links[l - 1];
            u32 owner = s->frag[link->owner];
            next = link->next;
            if (owner)
                tcache_link(to,
                            to->frags[owner - 1].first_link + (l - 1 - from->frags[link->owner].first_link),
                            &to->frags[s->frag[n] - 1]);
        }
    }
    for (u32 n = 0; n < to->arena[TRANSLATED].n_links; n++)
        if (!to->links[n].next) /* chained ones have theirs */
            to->links[n].led = to->links[n].led ? s->frag[to->links[n].led - 1] : 0;
    for (u32 n = 0; n < to->arena[TRANSLATED].n_frags; n++)
        to->frags[n].valid = false;
}

static int write_all(int fd, const void *from, u64 bytes)
{
    while (bytes) {
        ssize_t n = write(fd, from, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        from = (const u8 *)from + n;
        bytes -= (u64)n;
    }
    return 0;
}

/* From where the file is to the next page's beginning. */
static int pad(int fd, u64 bytes)
{
    static const u8 zeros[PAGE_SIZE];
    return write_all(fd, zeros, ALIGN_UP(bytes, (u64)PAGE_SIZE) - bytes);
}

static int write_parts(const struct saver *s, int fd, struct head *h)
{
    const struct tcache *tc = s->to;
    const void *const from[] = {tc->rw, tc->frags, tc->links, tc->side, s->pages};
    XXH3_state_t *sum = XXH3_createState();
    int err;

    if (!sum)
        return -ENOMEM;
    XXH3_64bits_reset(sum);
    err = write_all(fd, h, sizeof(*h));
    err = err ? err : pad(fd, sizeof(*h));
    for (u32 n = 0; n < ARRAY_SIZE(from) && !err; n++) {
        XXH3_64bits_update(sum, from[n], h->bytes[n]);
        err = write_all(fd, from[n], h->bytes[n]);
        err = err ? err : pad(fd, h->bytes[n]);
    }
    for (u32 n = 0; n < s->n_pages && !err; n++) {
        XXH3_64bits_update(sum, s->contents[n], PAGE_SIZE);
        err = write_all(fd, s->contents[n], PAGE_SIZE);
    }
    h->sum = XXH3_64bits_digest(sum);
    h->head_sum = head_sum(h);
    XXH3_freeState(sum);
    if (!err && pwrite(fd, h, sizeof(*h), 0) != sizeof(*h))
        err = errno ? -errno : -EIO;
    return err;
}

static int write_file(const struct saver *s, const char *path, u64 flavour)
{
    const struct tcache *tc = s->to;
    const struct arena *a = &tc->arena[TRANSLATED];
    struct head h;
    char *tmp;
    int fd, err = make_head(&h, flavour);

    if (err)
        return err;
    h.n_frags = a->n_frags;
    h.n_links = a->n_links;
    h.n_pages = s->n_pages;
    h.bytes[PART_CODE] = a->used;
    h.bytes[PART_FRAGS] = (u64)h.n_frags * sizeof(struct fragment);
    h.bytes[PART_LINKS] = (u64)h.n_links * sizeof(struct link);
    h.bytes[PART_SIDE] = ALIGN_UP(tc->side_used, 8ull);
    h.bytes[PART_PAGES] = (u64)h.n_pages * sizeof(struct store_page);
    h.bytes[PART_CONTENTS] = (u64)h.n_pages * PAGE_SIZE;
    if (asprintf(&tmp, "%s.new-%d", path, (int)getpid()) < 0)
        return -ENOMEM;
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        err = -errno;
    } else {
        err = write_parts(s, fd, &h);
        if (close(fd) && !err)
            err = -errno;
        if (!err && rename(tmp, path))
            err = -errno;
        if (err)
            unlink(tmp);
    }
    free(tmp);
    return err;
}

int tcache_save(struct tcache *tc, const char *path, u64 flavour, const u8 *(*page)(void *opaque, u64 gpa),
                void *opaque, u32 *written)
{
    const u64 quiet = OPT(memahead) | OPT(largepages);
    u32 n_frags = tc->arena[TRANSLATED].n_frags;
    struct saver s = {.from = tc, .page = page, .opaque = opaque};
    int err = 0;

    *written = 0;
    if (!tc->seen.page)
        return 0; /* tcache_load() has failed */
    s.frag = calloc(n_frags + 1ull, sizeof(*s.frag));
    s.live = calloc(tc->phys_pages, sizeof(*s.live));
    if (!s.frag || !s.live)
        err = -ENOMEM;
    else if (much_new(&s) && (s.to = tcache_create(tc->size, tc->phys_pages, tc->opts & ~quiet, &err))) {
        if (each_live(&s, add_live) && !add_dormant(&s))
            err = -ENOMEM;
        else {
            chain(&s);
            err = write_file(&s, path, flavour);
            *written = s.to->arena[TRANSLATED].n_frags;
        }
    }
    tcache_destroy(s.to);
    free(s.frag);
    free(s.live);
    free(s.pages);
    free(s.contents);
    return err;
}
