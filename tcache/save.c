/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes the file of store.h: a second cache is made, without gaps, of fragments that are copied as move.c
 * does, each at its place in a line, and chained there; or, where it was counted how branches go, that are
 * translated anew (relay.c). What belongs to a page of guest code is put to sleep with it: no address of the
 * host's stays in it, nor of the guest's memory.
 *
 * Not saved: what cannot be moved, what crosses pages, copies, and, unless it is made anew, what depends on
 * what was learned of its instructions.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include "base/log.h"
#include "tcache/store_int.h"

#define IDLE_MAX   8u  /* a page that so many runs had no use for is dropped */
#define FRESH_PART 16u /* the file is written again if one fragment of so many is new */

/* Where the side tables of a fragment are. */
static const void *side_of(const struct tcache *tc, const struct fragment *f, const void *p)
{
    return f->dormant ? tc->side + (uintptr_t)p : p;
}

/* What is in the side tables, by its place there. */
static const void *offset_of(const struct tcache *tc, const void *p)
{
    return (const void *)((const u8 *)p - tc->side);
}

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

u32 save_page(struct saver *s, u64 gpa)
{
    u32 *page = &s->live[gpa >> PAGE_SHIFT];

    if (!*page) {
        const u8 *bytes = store_seen(s->from, gpa >> PAGE_SHIFT);
        *page = add_page(s, bytes, store_page_hash(bytes), 0);
    }
    return *page;
}

bool save_room(const struct saver *s, u32 links)
{
    const struct tcache *to = s->to;
    const struct arena *a = &to->arena[TRANSLATED];

    return a->used <= a->end / 2 - UNIT_MAX_CODE - PAGE_SIZE && a->n_frags + 1 < a->frags_end / 2 &&
           a->n_links + links < a->links_end / 2 && to->side_used + SIDE_SPARE <= to->side_bytes / 2;
}

void save_sleep(struct saver *s, u32 n, u32 page)
{
    struct tcache *to = s->to;
    struct fragment *f = &to->frags[n];
    struct store_page *p = &s->pages[page - 1];

    for (u32 i = 0; i < f->n_moves; i++) {
        u8 *at = to->rw + f->host + f->moves[i].at;
        struct insn *kept;
        u64 offset;
        if (f->moves[i].kind != MOVE_INSN)
            continue;
        memcpy(&kept, at, 8);
        kept->fn = NULL;
        kept->thunk = NULL;
        offset = (u64)((u8 *)kept - to->side);
        memcpy(at, &offset, 8);
    }
    f->pcmap = offset_of(to, f->pcmap);
    f->landings = offset_of(to, f->landings);
    f->moves = offset_of(to, f->moves);
    f->key.gpa = STORE_NOWHERE << PAGE_SHIFT | (f->key.gpa & PAGE_MASK);
    f->dormant = true;
    f->page_next[0] = p->frags;
    p->frags = n + 1;
    p->n_frags++;
    tc_entry(to, f);
}

/* Fragment n as it is, of page `page` of the file. False: there is no room. */
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

    if (!f || !save_room(s, o->n_links))
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
        .pcmap = (const void *)side[0],
        .landings = (const void *)side[1],
        .moves = (const void *)side[2],
        .n_moves = o->n_moves,
        .first_link = a->n_links,
        .n_links = o->n_links,
    };
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
            memcpy(&kept, at, 8);
            *copy = *(const struct insn *)side_of(from, o, kept);
            memcpy(at, &copy, 8);
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
    save_sleep(s, a->n_frags, page);
    s->frag[n] = ++a->n_frags;
    a->n_links += f->n_links;
    a->used = f->host + f->host_len;
    return true;
}

bool save_can(const struct saver *s, u32 n, bool learned)
{
    const struct fragment *f = &s->from->frags[n];
    u32 off = (u32)(f->key.gpa & PAGE_MASK);
    const u8 *seen, *now;

    if (!f->valid || !f->movable || f->page2 || (f->local && !learned))
        return false;
    seen = store_seen(s->from, f->key.gpa >> PAGE_SHIFT);
    now = s->source->page(s->source->opaque, f->key.gpa - off);
    return seen && now && !memcmp(seen + off, now + off, f->guest_len);
}

/* Calls each() for all fragments that can be saved as they are, until it returns false. */
static bool each_live(struct saver *s, bool (*each)(struct saver *s, u32 n))
{
    for (u32 n = 0; n < s->from->arena[TRANSLATED].n_frags; n++)
        if (save_can(s, n, false) && !each(s, n))
            return false;
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
            count && old->n_pages ? store_next_like(old, store_page_hash(store_seen(tc, n)), NULL) : NULL;
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
    u32 page = save_page(s, s->from->frags[n].key.gpa);
    return page && add(s, n, page);
}

/* What was read and not needed, but for pages whose like has been added. */
static bool add_dormant(struct saver *s)
{
    struct tcache *tc = s->from;
    struct store live = {.pages = s->pages};
    bool room = true;

    if (!tc->store.n_pages)
        return true;
    if (store_index(&live, s->n_pages))
        return false;
    for (u32 n = 0; n < tc->store.n_pages && room; n++) {
        const struct store_page *p = &tc->store.pages[n];
        u32 page;
        live.pages = s->pages; /* it may have moved */
        if (p->adopted || p->idle >= IDLE_MAX || store_next_like(&live, p->hash, NULL))
            continue;
        page = add_page(s, tc->store.contents + (u64)n * PAGE_SIZE, p->hash, p->idle + 1);
        if (!page)
            break;
        for (u32 k = p->frags; k && room; k = tc->frags[k - 1].page_next[0])
            room = add(s, k - 1, page);
    }
    store_drop(&live);
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
            if (owner && !tc_may_be_direct(from, link)) /* these are chained when they are known to be */
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

static int write_parts(const struct saver *s, int fd, struct store_head *h)
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
    h->head_sum = store_head_sum(h);
    XXH3_freeState(sum);
    if (!err && pwrite(fd, h, sizeof(*h), 0) != sizeof(*h))
        err = errno ? -errno : -EIO;
    return err;
}

static int write_file(const struct saver *s, const char *path, u64 flavour)
{
    const struct tcache *tc = s->to;
    const struct arena *a = &tc->arena[TRANSLATED];
    struct store_head h;
    char *tmp;
    int fd, err = store_make_head(&h, flavour);

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

/* All that the file will have. -ENOMEM. */
static int fill(struct saver *s)
{
    if (s->from->arms) /* nothing was read */
        return relay(s);
    if (each_live(s, add_live) && !add_dormant(s))
        return -ENOMEM;
    chain(s);
    return 0;
}

int tcache_save(struct tcache *tc, const char *path, u64 flavour, const struct tcache_source *source,
                u32 *written)
{
    const u64 quiet = OPT(memahead) | OPT(largepages);
    u32 n_frags = tc->arena[TRANSLATED].n_frags;
    struct saver s = {.from = tc, .source = source};
    int err = 0;

    *written = 0;
    if (!tc->seen.page)
        return 0; /* tcache_load() has failed */
    s.frag = calloc(n_frags + 1ull, sizeof(*s.frag));
    s.live = calloc(tc->phys_pages, sizeof(*s.live));
    if (!s.frag || !s.live)
        err = -ENOMEM;
    else if (much_new(&s) && (s.to = tcache_create(tc->size, tc->phys_pages, tc->opts & ~quiet, &err))) {
        err = fill(&s);
        if (!err && !(err = write_file(&s, path, flavour)))
            *written = s.to->arena[TRANSLATED].n_frags;
    }
    tcache_destroy(s.to);
    free(s.frag);
    free(s.live);
    free(s.pages);
    free(s.contents);
    return err;
}
