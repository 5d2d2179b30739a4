/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Implementation of store.h. The file: a head, then the cache's own arrays as they are (code, fragments,
 * links, side tables), pages and their bytes; each part begins at a page.
 *
 * In the file there are no addresses of the host's: what refers to side tables is an offset in them until the
 * fragment is adopted. A dormant fragment's gpa is of no page (STORE_NOWHERE), so that its checked entry
 * compares with a value that no exec table has. save.c writes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include "base/log.h"
#include "tcache/store_int.h"

#define MAGIC   "novtcode"
#define VERSION 1u

int store_make_head(struct store_head *h, u64 flavour)
{
    memset(h, 0, sizeof(*h));
    memcpy(h->magic, MAGIC, 8);
    h->version = VERSION;
    h->size = sizeof(*h);
    h->flavour = flavour;
    return build_id(h->build) ? 0 : -ENOTSUP;
}

u64 store_head_sum(const struct store_head *h)
{
    return XXH3_64bits(h, offsetof(struct store_head, head_sum));
}

u64 store_page_hash(const u8 *bytes)
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
static int check_head(const struct tcache *tc, const struct store_head *h, u64 flavour, u64 file_bytes)
{
    const struct arena *a = &tc->arena[TRANSLATED];
    struct store_head mine;
    int err = store_make_head(&mine, flavour);
    u64 end = PAGE_SIZE;

    if (err)
        return err;
    if (memcmp(h->magic, MAGIC, 8))
        return -EPERM; /* whatever it is, it must not be overwritten */
    if (memcmp(h, &mine, offsetof(struct store_head, n_frags)))
        return -EPROTO;
    if (h->head_sum != store_head_sum(h))
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

void store_drop(struct store *s)
{
    free(s->index);
    if (s->map)
        munmap(s->map, s->map_bytes);
}

void store_free(struct tcache *tc)
{
    store_drop(&tc->store);
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

int store_index(struct store *s, u32 n_pages)
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
    struct store_head h;
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
        err = store_index(&s, h.n_pages);
    if (err) { /* what was read is beyond what is used */
        store_drop(&s);
        return err;
    }
    a->used = h.bytes[PART_CODE];
    a->n_frags = h.n_frags;
    a->n_links = h.n_links;
    tc->side_used = h.bytes[PART_SIDE];
    s.n_pages = h.n_pages;
    if (tc->store.map) /* of a file that was read before, and flushed */
        memset(tc->seen.page, 0, tc->phys_pages * sizeof(*tc->seen.page));
    store_drop(&tc->store);
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

struct store_page *store_next_like(const struct store *s, u64 hash, const struct store_page *p)
{
    u32 n = p ? p->next : s->index[hash & s->index_mask];

    while (n && s->pages[n - 1].hash != hash)
        n = s->pages[n - 1].next;
    return n ? &s->pages[n - 1] : NULL;
}

static struct store_page *find_page(const struct store *s, const u8 *bytes)
{
    u64 hash = store_page_hash(bytes);
    struct store_page *p = NULL;

    while ((p = store_next_like(s, hash, p)))
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

const u8 *store_seen(const struct tcache *tc, u64 page)
{
    const struct seen *s = &tc->seen;

    if (s->page[page] == SEEN_SHOT)
        return s->slot[page] ? s->shot + (s->slot[page] - 1ull) * PAGE_SIZE : NULL;
    return s->page[page] ? tc->store.contents + (s->page[page] - 1ull) * PAGE_SIZE : NULL;
}
