/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Translations in a file (tcache/store.c): the verifier's corpus, a unit a page, chained at random, is saved,
 * read into another cache, and taken over by pages at other physical addresses; then every byte is what a
 * translation for there is, and every exit leads where it led. Files that are not what they should be. And
 * units that are laid along the arms that were counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/opts.h"
#include "tcache/internal.h"
#include "tcache/store.h"
#include "tests/unit/translator/verify_test.h"

#define UNITS   400u
#define PAGES   (4 * UNITS)
#define FLAVOUR 0x1234567890abcdefull

static char **programs;
static int n_programs;
static char path[] = "/tmp/novt-store-XXXXXX";

/* Unit n is of page n. */
static struct {
    const struct frag *f;
    struct frag_key k;
    bool saved, removed;
    u32 to; /* where all of its far exits lead */
} unit[UNITS];
static u32 n_units;
static u8 page[UNITS][PAGE_SIZE];

static void nothing(void *opaque, u64 gpa)
{
}

static void dropped_one(void *opaque, const struct fragment *f)
{
}

static struct tcache *cache(void)
{
    int err;
    struct tcache *tc = tcache_create(32 * MiB, PAGES, translate_host_opts(OPT_ALL), &err);

    assert_non_null(tc);
    return tc;
}

static struct insn *keep(void *opaque, const struct insn *i)
{
    struct insn *p = tcache_alloc(opaque, sizeof(*p));

    assert_non_null(p);
    *p = *i;
    return p;
}

static void renew(void *opaque, struct insn *i, u32 mode)
{
    struct insn fresh;

    assert_null(i->fn);
    assert_int_equal(insn_decode(cpu_model_find("qemu32"), i->raw, INSN_MAX, mode & MODE_CS32, &fresh), 0);
    assert_int_equal(fresh.len, i->len);
    *i = fresh;
}

static u32 n_adopted;
static void adopted(void *opaque, struct fragment *f)
{
    assert_true(f->valid && !f->dormant);
    n_adopted++;
}

static const struct tcache_adopter adopter = {.renew = renew, .adopted = adopted};

/* Pages as they are in the end. One in eight has changed where its unit is, one in eight elsewhere. */
static const u8 *bytes_of(void *opaque, u64 gpa)
{
    static u8 now[PAGE_SIZE];
    u32 n = (u32)(gpa >> PAGE_SHIFT), off, len;

    assert_true(n < n_units && !(gpa & PAGE_MASK));
    memcpy(now, page[n], PAGE_SIZE);
    off = (u32)unit[n].k.gpa & PAGE_MASK;
    len = unit[n].f->u.depends;
    if (n % 8 == 1)
        now[off + len - 1] ^= 1;
    if (n % 8 == 2)
        now[off ? off - 1 : len] ^= 1;
    return now;
}

static const struct tcache_source source = {.page = bytes_of};

static void pick_units(void)
{
    const u64 entries = OPT(ofcheck) | OPT(chain) | OPT(xpage); /* what the cache makes depends on these */

    frags_make(programs, n_programs);
    for (u32 n = 0; n < n_frags && n_units < UNITS; n += 1 + n_frags / (2 * UNITS)) {
        const struct frag *f = &frags[n];
        u32 off = f->env.eip & PAGE_MASK, avail = f->env.avail;
        if (f->u.crosses || (f->env.opts ^ translate_host_opts(OPT_ALL)) & entries)
            continue;
        if (avail > PAGE_SIZE - off)
            avail = PAGE_SIZE - off;
        for (u32 i = 0; i < PAGE_SIZE; i++)
            page[n_units][i] = (u8)rnd();
        memcpy(page[n_units] + off, f->env.bytes, avail);
        unit[n_units].f = f;
        unit[n_units].k = (struct frag_key){.gpa = (u64)n_units << PAGE_SHIFT | off,
                                            .eip = f->env.eip,
                                            .mode = f->env.mode,
                                            .cs_base = f->env.cs_base,
                                            .cs_limit = f->env.cs_limit};
        n_units++;
    }
    assert_true(n_units > UNITS / 2);
}

/* away: how far from where it is otherwise the guest has the page. */
static struct fragment *translate(struct tcache *tc, u32 n, u32 away)
{
    static struct unit u;
    struct unit_env env = unit[n].f->env;
    struct frag_key k = unit[n].k;
    u8 *at;
    u32 cap;

    env.keep_insn = keep;
    env.opaque = tc;
    env.eip = k.eip += away;
    assert_true(tcache_reserve(tc, &at, &cap, &env.first_link));
    env.line_at = (u32)(uintptr_t)at & (CODE_LINE - 1);
    env.may_lead = true;
    assert_int_equal(translate_unit(&env, at, cap, &u), XLATE_OK);
    return tcache_commit(tc, &k, 0, &u);
}

/* A cache with all units. One in eight can only be made from what its page has become, one follows from more
 * than its bytes, one has been dropped, and the exits of both are chained, and exits lead to them. */
static struct tcache *full(void)
{
    struct tcache *tc = cache();
    static struct fragment *f[UNITS];
    u32 dropped = 0;

    assert_int_equal(tcache_load(tc, "/nonexistent/file", FLAVOUR), -ENOENT);
    for (u32 n = 0; n < n_units; n++) {
        u64 gpa = (u64)n << PAGE_SHIFT;
        assert_true(tcache_unseen(tc, gpa));
        assert_int_equal(tcache_see(tc, gpa, page[n], &adopter), 0);
        assert_false(tcache_unseen(tc, gpa));
        f[n] = translate(tc, n, 0);
    }
    for (u32 n = 0; n < n_units; n++) {
        bool flat = f[n]->key.mode & MODE_FLATCS;
        unit[n].to = rnd() % n_units;
        for (u32 l = 0; l < f[n]->n_links; l++) {
            u32 to = tc->links[f[n]->first_link + l].far ? unit[n].to : n;
            if (flat && f[to]->key.mode & MODE_FLATCS)
                tcache_link(tc, f[n]->first_link + l, f[to]);
        }
        f[n]->local = n % 8 == 3;
    }
    for (u32 n = 5; n < n_units; n += 8)
        assert_int_equal(tcache_invalidate(tc, unit[n].k.gpa, 1, dropped_one, &dropped), 1);
    for (u32 n = 0; n < n_units; n++)
        unit[n].saved = f[n]->valid && f[n]->movable && !f[n]->local && n % 8 != 1;
    return tc;
}

static void save_all(void)
{
    struct tcache *tc = full();
    u32 written, want = 0;

    for (u32 n = 0; n < n_units; n++)
        want += unit[n].saved;
    assert_int_equal(tcache_save(tc, path, FLAVOUR, &source, &written), 0);
    assert_int_equal(written, want);
    assert_true(want > n_units / 2);
    tcache_destroy(tc);
}

/* The fragment is what a translation for its address would be. */
static void check_code(struct tcache *tc, const struct fragment *f, u32 n)
{
    static u8 code[UNIT_MAX_CODE], mine[UNIT_MAX_CODE], entry[ENTRY_MAX];
    static struct unit u;
    struct unit_env env = unit[n].f->env;
    u32 len, check, want_check;
    const u8 *e = tcache_entry(tc, f, &len, &check);

    env.keep_insn = keep;
    env.opaque = tc;
    env.first_link = f->first_link;
    env.line_at = f->host & (CODE_LINE - 1);
    assert_int_equal(translate_unit(&env, code, sizeof(code), &u), XLATE_OK);
    assert_int_equal(u.host_len, f->host_len);
    assert_int_equal(u.n_links, f->n_links);
    assert_int_equal(u.n_moves, f->n_moves);
    assert_memory_equal(u.pcmap, f->pcmap, u.n_insns * sizeof(u.pcmap[0]));
    assert_memory_equal(u.landings, f->landings, u.n_landings * sizeof(u.landings[0]));
    assert_memory_equal(u.moves, f->moves, u.n_moves * sizeof(u.moves[0]));
    tcache_unchained(tc, f, mine);
    for (u32 i = 0; i < u.n_moves; i++)
        if (u.moves[i].kind == MOVE_INSN) {
            const struct insn *p, *q;
            memcpy(&p, code + u.moves[i].at, 8);
            memcpy(&q, mine + u.moves[i].at, 8);
            assert_memory_equal(p, q, sizeof(*p));
            memset(code + u.moves[i].at, 0, 8);
            memset(mine + u.moves[i].at, 0, 8);
        }
    assert_memory_equal(mine, code, u.host_len);
    if (!len)
        return;
    assert_int_equal(translate_entry(tc->opts, f->key.eip, f->key.cs_base + f->key.eip,
                                     (u32)(f->key.gpa >> PAGE_SHIFT) + 1, f->of, entry, &want_check),
                     len);
    assert_int_equal(check, want_check);
    assert_memory_equal(entry, e, len);
}

/* Where link l's displacement leads. */
static const u8 *leads_to(const struct tcache *tc, u32 l)
{
    i32 rel;
    memcpy(&rel, tc->rw + tc->links[l].patch, 4);
    return tc->rx + tc->links[l].patch + 4 + rel;
}

static void round_trip(void **st)
{
    struct tcache *tc = cache();
    static u32 place[UNITS]; /* a permutation */
    static struct fragment *f[UNITS];
    u32 count = 0, dropped = 0;

    save_all();
    assert_int_equal(tcache_load(tc, path, FLAVOUR), 0);
    for (u32 n = 0; n < tcache_fragments(tc); n++) { /* they sleep */
        const struct fragment *d = tcache_fragment(tc, n);
        assert_true(d->dormant && !d->valid);
        assert_null(tcache_find_host(tc, fragment_host(tc, d)));
        count++;
    }
    for (u32 n = 0; n < n_units; n++) {
        assert_null(tcache_lookup(tc, &unit[n].k));
        assert_null(tcache_alike(tc, &unit[n].k));
        place[n] = n;
    }
    for (u32 n = n_units; n-- > 1;) {
        u32 k = rnd() % (n + 1), t = place[n];
        place[n] = place[k];
        place[k] = t;
    }
    n_adopted = 0;
    for (u32 i = 0; i < n_units; i++) {
        u32 n = place[i];
        u64 gpa = (u64)(n_units + i) << PAGE_SHIFT;
        struct frag_key k = unit[n].k;
        u8 changed[PAGE_SIZE];

        memcpy(changed, page[n], PAGE_SIZE);
        changed[rnd() % PAGE_SIZE] ^= 1;
        assert_int_equal(tcache_see(tc, gpa, changed, &adopter), 0);
        assert_int_equal(tcache_see(tc, gpa, page[n], &adopter), unit[n].saved);
        assert_int_equal(tcache_page_used(tc, gpa), unit[n].saved);
        assert_int_equal(tcache_see(tc, gpa + (u64)n_units * PAGE_SIZE, page[n], &adopter), 0); /* once */
        k.gpa = gpa | (k.gpa & PAGE_MASK);
        f[n] = tcache_lookup(tc, &k);
        assert_int_equal(f[n] != NULL, unit[n].saved);
        if (f[n])
            check_code(tc, f[n], n);
    }
    assert_int_equal(n_adopted, count);
    for (u32 n = 0; n < n_units; n++)
        for (u32 l = 0; f[n] && l < f[n]->n_links; l++) {
            const struct link *x = &tc->links[f[n]->first_link + l];
            const struct fragment *to = f[x->far ? unit[n].to : n];
            const u8 *at = tc->rx + x->stub;
            assert_ptr_equal(tcache_link_owner(tc, f[n]->first_link + l), f[n]);
            if (to && to->key.mode & f[n]->key.mode & MODE_FLATCS) {
                u32 len, check;
                const u8 *entry = tcache_entry(tc, to, &len, &check);
                at = x->far ? entry + check : fragment_host(tc, to);
            }
            assert_ptr_equal(leads_to(tc, f[n]->first_link + l), at);
        }
    /* a write ends them, and what led there leads to its stub */
    for (u32 n = 0; n < n_units; n++)
        if (f[n]) {
            assert_int_equal(tcache_invalidate(tc, f[n]->key.gpa, 1, dropped_one, &dropped), 1);
            for (u32 m = 0; m < n_units; m++)
                for (u32 l = 0; f[m] && unit[m].to == n && l < f[m]->n_links; l++)
                    if (tc->links[f[m]->first_link + l].far)
                        assert_ptr_equal(leads_to(tc, f[m]->first_link + l),
                                         tc->rx + tc->links[f[m]->first_link + l].stub);
        }
    tcache_destroy(tc);
}

/* Saved again, what was not needed is there as well, until it has not been for long. */
static void again(void **st)
{
    u32 written, saved = 0, more = 0;

    save_all();
    for (u32 n = 0; n < n_units; n++)
        saved += unit[n].saved;
    for (u32 run = 0; run < 10; run++) {
        struct tcache *tc = cache();
        u32 half = 0;
        assert_int_equal(tcache_load(tc, path, FLAVOUR), 0);
        assert_int_equal(tcache_fragments(tc), run < 9 ? saved + more : tcache_fragments(tc));
        for (u32 n = 0; n < n_units / 2; n++)
            half += tcache_see(tc, (u64)n << PAGE_SHIFT, page[n], &adopter);
        assert_int_equal(tcache_save(tc, path, FLAVOUR, &source, &written), 0);
        assert_int_equal(written, 0); /* nothing new */
        half -= more;
        for (u32 n = run % 2, k = 0; n < n_units / 2 && k < 60; n++)
            if (unit[n].saved && unit[n].k.mode & MODE_FLATCS) {
                struct fragment *f = translate(tc, n, 0x10000 * (run + 1));
                more += f->movable;
                k++;
            }
        assert_int_equal(tcache_save(tc, path, FLAVOUR, &source, &written), 0);
        assert_int_equal(written, (run < 8 ? saved : half) + more);
        tcache_destroy(tc);
    }
}

/* After a flush nothing is taken over, and the cache can be filled again. */
static void flushed(void **st)
{
    struct tcache *tc = cache();
    u32 written;

    save_all();
    assert_int_equal(tcache_load(tc, path, FLAVOUR), 0);
    for (u32 n = 0; n < n_units; n += 2)
        tcache_see(tc, (u64)n << PAGE_SHIFT, page[n], &adopter);
    tcache_flush(tc, nothing, NULL);
    assert_int_equal(tcache_fragments(tc), 0);
    for (u32 n = 0; n < n_units; n++) {
        assert_int_equal(tcache_see(tc, (u64)n << PAGE_SHIFT, page[n], &adopter), 0);
        assert_null(tcache_lookup(tc, &unit[n].k));
    }
    translate(tc, 0, 0);
    assert_int_equal(tcache_save(tc, path, FLAVOUR, &source, &written), 0);
    assert_int_equal(written, unit[0].saved);
    tcache_flush(tc, nothing, NULL);
    assert_int_equal(tcache_load(tc, path, FLAVOUR), 0);
    assert_int_equal(tcache_see(tc, 0, page[0], &adopter), unit[0].saved);
    tcache_destroy(tc);
}

static void put(const char *name, const void *bytes, size_t n)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

/* Nothing is read from a file that is not whole, and ours; and the cache is as good as before. */
static void refused(void **st)
{
    struct tcache *tc = cache(), *small;
    struct stat s;
    u8 *all;
    int fd, err;

    save_all();
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    all = malloc((size_t)s.st_size);
    fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, all, (size_t)s.st_size), s.st_size);
    close(fd);
    assert_int_equal(tcache_load(tc, path, FLAVOUR + 1), -EPROTO);
    for (u32 n = 0; n < 300; n++) {
        u64 at = n < 150 ? n : (u64)rnd() * 4096 % (u64)s.st_size + rnd() % 100;
        all[at] ^= (u8)(1u << n % 8);
        put(path, all, (size_t)s.st_size);
        err = tcache_load(tc, path, FLAVOUR);
        assert_true(at < 8 ? err == -EPERM : err == -EBADMSG || err == -EPROTO || (!err && at >= 136));
        if (!err) { /* between the parts */
            tcache_flush(tc, nothing, NULL);
            fd = 0;
        }
        all[at] ^= (u8)(1u << n % 8);
    }
    put(path, all, (size_t)s.st_size - 1);
    assert_int_equal(tcache_load(tc, path, FLAVOUR), -EBADMSG);
    put(path, all, 5000);
    assert_int_equal(tcache_load(tc, path, FLAVOUR), -EBADMSG);
    put(path, all, 20);
    assert_int_equal(tcache_load(tc, path, FLAVOUR), -EPERM);
    put(path, "#!/bin/sh\n", 10);
    assert_int_equal(tcache_load(tc, path, FLAVOUR), -EPERM);
    put(path, all, 0);
    assert_int_equal(tcache_load(tc, path, FLAVOUR), -ENOENT);
    put(path, all, (size_t)s.st_size);
    chmod(path, 0620);
    assert_int_equal(tcache_load(tc, path, FLAVOUR), -EPERM);
    chmod(path, 0600);
    assert_int_equal(tcache_load(tc, "/tmp", FLAVOUR), -EPERM);
    assert_int_equal(tcache_load(tc, "/nonexistent/file", FLAVOUR), -ENOENT);
    small = tcache_create(128 * KiB, PAGES, translate_host_opts(OPT_ALL), &err);
    assert_int_equal(tcache_load(small, path, FLAVOUR), -EFBIG);
    assert_non_null(translate(small, 0, 0));
    tcache_destroy(small);
    assert_int_equal(tcache_fragments(tc), 0);
    assert_int_equal(tcache_load(tc, path, FLAVOUR), 0);
    assert_true(tcache_fragments(tc) > 0);
    tcache_destroy(tc);
    free(all);
}

/* What cannot be written leaves the file that is there alone. */
static void not_written(void **st)
{
    struct tcache *tc = full();
    u32 written;

    assert_int_equal(tcache_save(tc, "/nonexistent/file", FLAVOUR, &source, &written), -ENOENT);
    tcache_destroy(tc);
}

/* ---- laid anew ---- */

#define BASE 0x400000u
#define AT(off)                                                                                              \
    {                                                                                                        \
        .gpa = (off), .eip = BASE + (off),                                                                   \
        .mode = MODE_PE | MODE_CS32 | MODE_SS32 | MODE_FLATCS | MODE_FLATDS | MODE_FLATES | MODE_FLATSS |    \
                MODE_SSE | MODE_WIN | 3,                                                                     \
        .cs_limit = 0xffffffff                                                                               \
    }
static const struct {
    u32 off;
    struct bytes code;
} laid[] = {
    {0x0, U("\x39\xc8\x74\x0c\x41\xeb\x19")},                  /* cmp; je 10; inc; jmp 20 */
    {0x10, U("\x40\x75\x1d\x0f\x82\xe7\x0f\x00\x00\x43\xc3")}, /* inc; jne 30; jb 1000; inc; ret */
    {0x20, U("\x42\xc3")},
    {0x30, U("\x47\xc3")},
    {0x1000, U("\x48\xc3")},
};
static u8 laid_pages[2 * PAGE_SIZE];

static const u8 *laid_page(void *opaque, u64 gpa)
{
    return laid_pages + gpa;
}

static u32 laid_hint(void *opaque, u32 off, u32 next)
{
    const struct tcache_hints *h = opaque;
    return h->of(h->opaque, off); /* the unit begins with the page, or has no branch */
}

static struct insn *keep_none(void *opaque, const struct insn *i)
{
    return NULL;
}

static struct fragment *make_laid(void *opaque, struct tcache *to, const struct frag_key *k, const u8 *bytes,
                                  const struct tcache_hints *hints)
{
    static struct unit u;
    struct unit_env env = {
        .model = cpu_model_find("qemu32"),
        .opts = translate_host_opts(OPT_ALL),
        .mode = k->mode,
        .eip = k->eip,
        .cs_limit = k->cs_limit,
        .bytes = bytes + (k->gpa & PAGE_MASK),
        .avail = PAGE_SIZE - (u32)(k->gpa & PAGE_MASK),
        .profile = !hints,
        .may_lead = true,
        .hint = hints ? laid_hint : NULL,
        .keep_insn = keep_none,
        .opaque = (void *)(uintptr_t)hints,
    };
    u8 *at;
    u32 cap;

    assert_true(tcache_reserve(to, &at, &cap, &env.first_link));
    env.line_at = (u32)(uintptr_t)at & (CODE_LINE - 1);
    assert_int_equal(translate_unit(&env, at, cap, &u), XLATE_OK);
    return tcache_commit(to, k, 0, &u);
}

/* The fragment's link that is this arm of the branch at `off`. */
static u32 link_of(const struct tcache *tc, const struct fragment *f, u32 off, bool passed)
{
    for (u32 l = f->first_link; l < f->first_link + f->n_links; l++)
        if (tc->arm[l] == unit_arm(off, passed))
            return l;
    fail();
    return 0;
}

static void count(struct tcache *tc, const struct fragment *f, u32 off, u32 taken, u32 passed)
{
    u32 l = link_of(tc, f, off, false);

    tc->arms[l][0] += taken;
    tc->arms[l][1] += passed;
}

static bool goes_along(const struct fragment *f, const u16 *guest, u32 n)
{
    for (u32 i = 0; i < n && i < f->n_insns; i++)
        if (f->pcmap[i].guest != guest[i])
            return false;
    return f->n_insns == n;
}

/* Two units and what they lead to are counted; the file has the straight path, the arm that was passed, and
 * not what nobody went to. */
static void along_arms(void **st)
{
    static const struct frag_key key[] = {AT(0), AT(0x10), AT(0x1000), AT(0x4), AT(0x30), AT(0x19)};
    static const u16 straight[] = {0, 2, 0x10, 0x11, 0x13}, aside[] = {0, 1, 0x1c, 0x1d};
    const struct tcache_source from = {.page = laid_page, .make = make_laid};
    struct frag_key elsewhere = key[0];
    struct fragment *f[6], *copy;
    struct tcache *tc = cache();
    u32 written, jump;

    for (u32 n = 0; n < ARRAY_SIZE(laid); n++)
        memcpy(laid_pages + laid[n].off, laid[n].code.bytes, laid[n].code.len);
    assert_int_equal(tcache_load(tc, "/nonexistent/file", FLAVOUR), -ENOENT);
    assert_non_null(tcache_count_arms(tc));
    for (u32 page_no = 0; page_no < 2; page_no++)
        tcache_see(tc, page_no * PAGE_SIZE, laid_pages + page_no * PAGE_SIZE, NULL);
    for (u32 n = 0; n < 3; n++)
        f[n] = make_laid(NULL, tc, &key[n], laid_pages + (key[n].gpa & ~(u64)PAGE_MASK), NULL);
    tcache_link(tc, link_of(tc, f[0], 2, false), f[1]);
    tcache_link(tc, link_of(tc, f[1], 0x13, false), f[2]);
    elsewhere.eip += 0x10000;
    copy = tcache_move(tc, f[0], &elsewhere);
    assert_non_null(copy);
    tc->arms[copy->first_link + (link_of(tc, f[0], 2, false) - f[0]->first_link)][0] = 10;
    count(tc, f[0], 2, 0, 3);
    count(tc, f[1], 0x11, 0, 10);
    count(tc, f[1], 0x13, 10, 0);
    assert_int_equal(tcache_save(tc, path, FLAVOUR, &from, &written), 0);
    assert_int_equal(written, 3);
    tcache_destroy(tc);

    tc = cache();
    assert_int_equal(tcache_load(tc, path, FLAVOUR), 0);
    assert_int_equal(tcache_see(tc, 0, laid_pages, &adopter), 2);
    assert_int_equal(tcache_see(tc, PAGE_SIZE, laid_pages + PAGE_SIZE, &adopter), 1);
    for (u32 n = 0; n < 6; n++)
        f[n] = tcache_lookup(tc, &key[n]);
    assert_true(f[0] && f[2] && f[3] && !f[1] && !f[4] && !f[5]);
    assert_true(goes_along(f[0], straight, ARRAY_SIZE(straight)));
    assert_true(goes_along(f[3], aside, ARRAY_SIZE(aside)));
    assert_int_equal(f[0]->n_links, 4);
    assert_ptr_equal(leads_to(tc, f[0]->first_link), fragment_host(tc, f[3]));
    jump = f[0]->first_link + 2;
    assert_true(tc->links[jump].far && tc->links[jump].target == BASE + 0x1000);
    assert_ptr_not_equal(leads_to(tc, jump), tc->rx + tc->links[jump].stub);
    tcache_destroy(tc);
}

/* Counts end with what was counted. */
static void arms_flushed(void **st)
{
    static const struct frag_key key = AT(0);
    struct tcache *tc = cache();
    struct fragment *f;

    assert_non_null(tcache_count_arms(tc));
    f = make_laid(NULL, tc, &key, laid_pages, NULL);
    count(tc, f, 2, 10, 3);
    tcache_flush(tc, nothing, NULL);
    f = make_laid(NULL, tc, &key, laid_pages, NULL);
    assert_int_equal(tc->arms[link_of(tc, f, 2, false)][0], 0);
    tcache_destroy(tc);
}

static int clean(void **st)
{
    unlink(path);
    frags_free();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),   cmocka_unit_test(again),       cmocka_unit_test(flushed),
        cmocka_unit_test(refused),      cmocka_unit_test(not_written), cmocka_unit_test(along_arms),
        cmocka_unit_test(arms_flushed),
    };
    int fd = mkstemp(path);

    programs = argv + 1;
    n_programs = argc - 1;
    if (fd < 0)
        return 1;
    close(fd);
    pick_units();
    return cmocka_run_group_tests(tests, NULL, clean);
}
