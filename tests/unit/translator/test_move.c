/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moved fragments (tcache/move.c) against translations for the same address: each unit of the verifier's
 * corpus, in each way to translate it, is put in a cache, chained to itself, copied to other addresses, and
 * every byte of the copies compared. So no place that emits an address can forget to say so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/opts.h"
#include "tcache/tcache.h"
#include "tests/unit/translator/verify_test.h"

#define PAGES 16u

static char **programs;
static int n_programs;
static struct insn kept[4 * UNIT_MAX_INSNS];
static u32 n_kept;

static struct insn *keep(void *opaque, const struct insn *i)
{
    (void)opaque;
    assert_true(n_kept < ARRAY_SIZE(kept));
    kept[n_kept] = *i;
    return &kept[n_kept++];
}

static void nothing(void *opaque, u64 gpa)
{
    (void)opaque;
    (void)gpa;
}

static void none_dropped(void *opaque, const struct fragment *f)
{
    (void)f;
    ++*(u32 *)opaque;
}

static const u32 deltas[] = {0x1000, 0xfffff000, 0x10000000, 0xb7654000, 0x7ffff000, 0xe0000000};

static bool same_code(const struct unit *u, const u8 *a, const u8 *b)
{
    u8 *x = malloc(u->host_len), *y = malloc(u->host_len);
    bool same = true;

    assert_non_null(x);
    assert_non_null(y);
    memcpy(x, a, u->host_len);
    memcpy(y, b, u->host_len);
    for (u32 i = 0; i < u->n_moves; i++)
        if (u->moves[i].kind == MOVE_INSN) {
            const struct insn *p, *q;
            memcpy(&p, x + u->moves[i].at, 8);
            memcpy(&q, y + u->moves[i].at, 8);
            same &= !memcmp(p, q, sizeof(*p));
            memset(x + u->moves[i].at, 0, 8);
            memset(y + u->moves[i].at, 0, 8);
        }
    for (u32 i = 0; i < u->host_len && same; i++)
        if (x[i] != y[i]) {
            printf("byte %x of %x: %02x, translated it would be %02x\n", i, u->host_len, x[i], y[i]);
            same = false;
        }
    free(x);
    free(y);
    return same;
}

/* Returns whether the unit could be moved. */
static bool try_unit(struct tcache *tc, const struct frag *f)
{
    static u8 code[UNIT_MAX_CODE];
    static struct unit u;
    struct frag_key k = {.gpa = 0x3000 | (f->env.eip & PAGE_MASK),
                         .eip = f->env.eip,
                         .mode = f->env.mode,
                         .cs_base = f->env.cs_base,
                         .cs_limit = f->env.cs_limit};
    struct unit_env env = f->env;
    struct fragment *from;
    u8 *at;
    u32 cap, tried = 0, dropped = 0;
    bool moved_any = false;
    static u32 which;
    static u8 before[UNIT_MAX_CODE];

    tcache_flush(tc, nothing, NULL);
    n_kept = 0;
    env.keep_insn = keep;
    assert_true(tcache_reserve(tc, &at, &cap, &env.first_link));
    env.line_at = (u32)(uintptr_t)at & (CODE_LINE - 1);
    assert_int_equal(translate_unit(&env, at, cap, &u), XLATE_OK);
    from = tcache_commit(tc, &k, u.crosses ? 5 : 0, &u);
    assert_non_null(from);
    assert_int_equal(from->movable, !u.fixed);
    /* what chaining changed must not be seen in copies */
    for (u32 n = 0; n < from->n_links; n += 2)
        tcache_link(tc, from->first_link + n, from);
    memcpy(before, fragment_host(tc, from), from->host_len);
    for (u32 d = 0; d < ARRAY_SIZE(deltas); d++) {
        struct frag_key k2 = k;
        struct fragment *src, *copy;

        k2.eip += deltas[d];
        src = tcache_alike(tc, &k2);
        if (!src)
            continue;
        assert_ptr_equal(src, from);
        tried++;
        moved_any = true;
        assert_null(tcache_lookup(tc, &k2));
        copy = tcache_move(tc, src, &k2);
        assert_non_null(copy);
        assert_ptr_equal(tcache_lookup(tc, &k2), copy);
        env.eip = k2.eip;
        env.first_link = copy->first_link;
        env.line_at = copy->host & (CODE_LINE - 1);
        u32 mark = n_kept; /* the original's stay */
        assert_int_equal(translate_unit(&env, code, sizeof(code), &u), XLATE_OK);
        assert_false(u.fixed);
        assert_int_equal(u.host_len, copy->host_len);
        if (!same_code(&u, fragment_host(tc, copy), code))
            fail_msg("a unit at %08x, mode %05x, moved to %08x", k.eip, k.mode, k2.eip);
        n_kept = mark;
        /* into the copy from the original, and the other way round */
        for (u32 n = 1; n < from->n_links; n += 2)
            tcache_link(tc, from->first_link + n, copy);
        /* its links are its own: chained and unchained they leave the original alone */
        for (u32 n = 0; n < copy->n_links; n++) {
            assert_ptr_equal(tcache_link_owner(tc, copy->first_link + n), copy);
            tcache_link(tc, copy->first_link + n, n & 1 ? copy : from);
        }
    }
    /* copies go by themselves: the original's links into them are its own again, and it can be copied anew */
    if (tried && which++ % 3 == 0) {
        u32 left = tcache_fragments(tc);
        tcache_flush_copies(tc);
        assert_int_equal(tcache_fragments(tc), left - tried);
        assert_memory_equal(before, fragment_host(tc, from), from->host_len);
        assert_ptr_equal(tcache_lookup(tc, &k), from);
        for (u32 n = 1; n < from->n_links; n += 2)
            tcache_link(tc, from->first_link + n, from);
        for (u32 d = 0; d < ARRAY_SIZE(deltas); d++) {
            struct frag_key k2 = k;
            k2.eip += deltas[d];
            assert_null(tcache_lookup(tc, &k2));
        }
        tried = 0;
    }
    /* one write to the bytes ends all of them */
    assert_int_equal(tcache_invalidate(tc, k.gpa, 1, none_dropped, &dropped), tried + 1);
    assert_int_equal(dropped, tried + 1);
    assert_null(tcache_alike(tc, &k));
    assert_null(tcache_lookup(tc, &k));
    return moved_any;
}

static void moved(void **st)
{
    int err;
    struct tcache *tc = tcache_create(1 * MiB, PAGES, translate_host_opts(OPT_ALL), &err);
    u32 n, could = 0;

    (void)st;
    assert_non_null(tc);
    frags_make(programs, n_programs);
    for (n = 0; n < n_frags; n++)
        could += try_unit(tc, &frags[n]);
    printf("%u of %u units moved\n", could, n_frags);
    /* real mode, V86 and odd code segments stay where they are; all else moves */
    assert_true(could > n_frags / 2);
    frags_free();
    tcache_destroy(tc);
}

static struct unit_env window_env(const u8 *bytes, u32 len)
{
    return (struct unit_env){.model = cpu_model_find("qemu32"),
                             .opts = OPT_ALL,
                             .mode = MODE_PE | MODE_CS32 | MODE_SS32 | MODE_FLATCS | MODE_FLATDS |
                                     MODE_FLATES | MODE_FLATSS | MODE_WIN,
                             .cs_limit = 0xffffffff,
                             .bytes = bytes,
                             .avail = len,
                             .keep_insn = keep};
}

static struct fragment *commit(struct tcache *tc, struct unit_env *env, const struct frag_key *k)
{
    static struct unit u;
    u8 *at;
    u32 cap;

    env->eip = k->eip;
    assert_true(tcache_reserve(tc, &at, &cap, &env->first_link));
    assert_int_equal(translate_unit(env, at, cap, &u), XLATE_OK);
    return tcache_commit(tc, k, 0, &u);
}

/* Near 0 and 4 GiB addresses have other encodings: nothing comes from there or goes there. */
static void ends(void **st)
{
    int err;
    struct tcache *tc = tcache_create(1 * MiB, PAGES, translate_host_opts(OPT_ALL), &err);
    static const u8 bytes[] = {0xe8, 0, 1, 0, 0, 0xc3}; /* call +100h; ret */
    struct unit_env env = window_env(bytes, sizeof(bytes));
    struct frag_key k = {.mode = env.mode, .cs_limit = 0xffffffff};
    static const u32 near[] = {0x1010, 0x3fffd010, 0xc0001010, 0xffffd010};
    static const u32 far[] = {0x3fffe010, 0x40000010, 0xbffff010, 0xc0000010};

    (void)st;
    for (u32 n = 0; n < 2;
         n++) { /* in the lowest and the highest GiB code says twice an address in 32 bits */
        k.eip = n ? 0x80005010 : 0x5010;
        k.gpa = n ? 0x2010 : 0x1010;
        assert_non_null(commit(tc, &env, &k));
        for (u32 i = 0; i < 4; i++) {
            k.eip = near[i];
            assert_true(!tcache_alike(tc, &k) == (n == 1));
            k.eip = far[i];
            assert_true(!tcache_alike(tc, &k) == (n == 0));
        }
    }
    k.eip = 0x10;
    assert_null(tcache_alike(tc, &k));
    k.eip = 0xffffe010;
    assert_null(tcache_alike(tc, &k));
    k.eip = 0xfffff010;
    assert_null(tcache_alike(tc, &k));
    k.eip = 0x1010;
    k.mode &= ~MODE_WIN;
    assert_null(tcache_alike(tc, &k));
    tcache_destroy(tc);
}

/* Where a copy's exit will lead is where its original's led, or that of any other copy. */
static void foretold(void **st)
{
    int err;
    struct tcache *tc = tcache_create(1 * MiB, PAGES, translate_host_opts(OPT_ALL), &err);
    static const u8 bytes[] = {0xe9, 0xfb, 0x0f, 0, 0}; /* jmp to the next page */
    struct unit_env env = window_env(bytes, sizeof(bytes));
    struct frag_key k = {.gpa = 0x1010, .eip = 0x40005010, .mode = env.mode, .cs_limit = 0xffffffff}, k2,
                    there;
    struct fragment *from, *to, *copy, *copy_to, *other;
    u32 dropped = 0;
    u8 before[1024];

    (void)st;
    from = commit(tc, &env, &k);
    k.gpa += 0x1000;
    k.eip += 0x1000;
    to = commit(tc, &env, &k);
    assert_int_equal(from->n_links, 1);
    k2 = from->key;
    k2.eip += 0x70000;
    copy = tcache_move(tc, from, &k2);
    assert_null(tcache_foretell(tc, copy, 0, &there)); /* nobody knows yet */
    tcache_link(tc, from->first_link, to);
    assert_ptr_equal(tcache_foretell(tc, copy, 0, &there), to);
    assert_int_equal(there.gpa, to->key.gpa);
    assert_int_equal(there.eip, to->key.eip + 0x70000);
    assert_null(tcache_latest(tc, to, &there));
    copy_to = tcache_move(tc, to, &there);
    assert_ptr_equal(tcache_latest(tc, to, &there), copy_to);
    tcache_link(tc, copy->first_link, copy_to);
    /* a third; its exit leads elsewhere, and the next copy's will */
    k2.eip += 0x100000;
    other = tcache_move(tc, from, &k2);
    assert_ptr_equal(tcache_foretell(tc, other, 0, &there), to);
    assert_null(tcache_latest(tc, to, &there));
    tcache_link(tc, other->first_link, other);
    assert_ptr_equal(tcache_foretell(tc, copy, 0, &there), from);
    /* copies go, and what was learnt stays */
    tcache_flush_copies(tc);
    there = to->key;
    there.eip += 0x70000;
    assert_null(tcache_latest(tc, to, &there));
    other = tcache_move(tc, from, &k2);
    assert_ptr_equal(tcache_foretell(tc, other, 0, &there), from);
    assert_int_equal(there.eip, k2.eip);
    /* what is not true any more is not foretold */
    tcache_link(tc, other->first_link, to);
    assert_ptr_equal(tcache_foretell(tc, other, 0, &there), to);
    assert_int_equal(tcache_invalidate(tc, to->key.gpa, 1, none_dropped, &dropped), 1);
    assert_null(tcache_foretell(tc, other, 0, &there));
    /* what copies led to forgets them with their links, whose numbers others get */
    k.gpa += 0x1000;
    k.eip += 0x1000;
    to = commit(tc, &env, &k);
    tcache_flush_copies(tc);
    for (u32 n = 0; n < 2; n++) {
        if (n)
            tcache_flush_copies(tc);
        other = tcache_move(tc, from, &k2);
        tcache_link(tc, other->first_link, n ? from : to);
    }
    assert_true(other->host_len <= sizeof(before));
    memcpy(before, fragment_host(tc, other), other->host_len);
    assert_int_equal(tcache_invalidate(tc, to->key.gpa, 1, none_dropped, &dropped), 1);
    assert_memory_equal(before, fragment_host(tc, other), other->host_len);
    tcache_destroy(tc);
}

/* Where the fragment's only exit leads: offset from the fragment `to`. */
static i64 leads(struct tcache *tc, const struct fragment *f, const struct fragment *to)
{
    i32 rel;

    memcpy(&rel, fragment_host(tc, f) + 1, 4);
    return fragment_host(tc, f) + 5 + rel - fragment_host(tc, to);
}

/* Chains past the check, with and without others to the same fragment, and all taken back at once. */
static void direct(void **st)
{
    int err;
    struct tcache *tc = tcache_create(1 * MiB, PAGES, translate_host_opts(OPT_ALL), &err);
    static const u8 bytes[] = {0xe9, 0xfb, 0x0f, 0, 0}; /* jmp to the next page */
    struct unit_env env = window_env(bytes, sizeof(bytes));
    struct frag_key k = {.eip = 0xc0005010, .mode = env.mode, .cs_limit = 0xffffffff};
    struct fragment *from[4], *to[2], *copy;
    u8 before[4][64];
    u32 dropped = 0, len, check, far, n;

    (void)st;
    for (n = 0; n < 6; n++) {
        k.gpa = 0x1010 + n * 0x1000;
        k.eip += 0x1000;
        if (n < 4) {
            from[n] = commit(tc, &env, &k);
            assert_int_equal(*fragment_host(tc, from[n]), 0xe9);
            assert_true(from[n]->host_len <= sizeof(before[n]));
            memcpy(before[n], fragment_host(tc, from[n]), from[n]->host_len);
            assert_true(tcache_link_direct_of_use(tc, from[n]->first_link));
        } else {
            to[n - 4] = commit(tc, &env, &k);
        }
    }
    tcache_entry(tc, to[0], &len, &check);
    assert_true(len);
    far = len - check;
    for (u32 which = 0; which < 16; which++) { /* those of them without the check */
        for (n = 0; n < 4; n++) {
            struct fragment *t = to[n == 3];
            (which >> n & 1 ? tcache_link_direct : tcache_link)(tc, from[n]->first_link, t);
            assert_int_equal(leads(tc, from[n], t), which >> n & 1 ? 0 : -(i64)far);
        }
        tcache_check_links(tc);
        for (n = 0; n < 4; n++) {
            if (which >> n & 1)
                assert_memory_equal(before[n], fragment_host(tc, from[n]), from[n]->host_len);
            else
                assert_int_equal(leads(tc, from[n], to[n == 3]), -(i64)far);
        }
        tcache_check_links(tc); /* of none */
        /* one of them goes, with what is chained to it in either way */
        tcache_link_direct(tc, from[0]->first_link, to[0]);
        k = to[0]->key;
        assert_int_equal(tcache_invalidate(tc, k.gpa, 1, none_dropped, &dropped), 1);
        for (n = 0; n < 3; n++)
            assert_memory_equal(before[n], fragment_host(tc, from[n]), from[n]->host_len);
        to[0] = commit(tc, &env, &k);
        tcache_check_links(tc);
        k = to[1]->key;
        assert_int_equal(tcache_invalidate(tc, k.gpa, 1, none_dropped, &dropped), 1);
        to[1] = commit(tc, &env, &k);
    }
    /* copies keep the check, and so does code of programs, or that has no window */
    k = from[0]->key;
    k.eip += 0x70000;
    copy = tcache_move(tc, from[0], &k);
    tcache_link_direct(tc, copy->first_link, to[0]);
    assert_int_equal(leads(tc, copy, to[0]), -(i64)far);
    for (n = 0; n < 2; n++) {
        k.gpa = 0x8010 + n * 0x1000;
        k.mode = n ? env.mode | 3 : env.mode & ~MODE_WIN;
        env.mode = k.mode;
        copy = commit(tc, &env, &k);
        assert_false(tcache_link_direct_of_use(tc, copy->first_link));
        env.mode = from[0]->key.mode;
    }
    /* nothing of it is left behind a flush */
    tcache_link_direct(tc, from[0]->first_link, to[0]);
    tcache_flush(tc, nothing, NULL);
    k = from[0]->key;
    from[0] = commit(tc, &env, &k);
    tcache_check_links(tc);
    tcache_destroy(tc);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(moved), cmocka_unit_test(ends),
                                       cmocka_unit_test(foretold), cmocka_unit_test(direct)};

    programs = argv + 1;
    n_programs = argc - 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
