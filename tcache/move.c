/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The same guest bytes at another address: a copy of the host code with the addresses in it changed.
 *
 * Programs and libraries load at random places, so each run of one has the same physical pages of code at new
 * linear addresses. Translated code is position independent but for what struct unit_move lists, so a copy
 * costs a tenth of a translation. What a translation depends on besides the bytes, the mode and the code
 * segment is the same for all addresses, except where an address is so near to 0 or to 4 GiB that the
 * encoding of an instruction changes: nothing is copied from or to there.
 *
 * Copies have their own part of the cache, which is flushed by itself when it is full: nearly all of them are
 * of processes that are gone.
 *
 * A copy shares the side tables (instruction map, landings, moves) with its original; these live until the
 * next flush, whatever becomes of the original. Its own exits begin unchained; but where an exit led, at
 * whatever address, is kept with the original's link, which foretells where those of the next copy will lead
 * (monitor/find.c, follow()).
 */
#include "base/log.h"
#include "tcache/internal.h"

/* An address in the unit, or behind it, must not fit into a byte, with either sign. */
static bool far_from_ends(u32 eip)
{
    u32 page = eip >> PAGE_SHIFT;
    return page >= 1 && page <= 0xffffd;
}

static bool may_copy(const struct fragment *f, u32 eip)
{
    return far_from_ends(eip) && far_from_ends(f->key.eip) && eip_near_0(f->key.eip) == eip_near_0(eip);
}

struct fragment *tcache_alike(struct tcache *tc, const struct frag_key *k)
{
    const struct arena *a = &tc->arena[COPIES];

    if (!(k->mode & MODE_FLATCS) || a->end - a->start < 2 * UNIT_MAX_CODE)
        return NULL;
    for (u32 n = *tc_alike_list(tc, k); n; n = tc->frags[n - 1].alike_next) {
        struct fragment *f = &tc->frags[n - 1];
        if (f->key.gpa == k->gpa && f->key.mode == k->mode && may_copy(f, k->eip))
            return f;
    }
    return NULL;
}

static void copy_bytes(void *to, const void *from, u64 n)
{
    n = (n + 7) / 8;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static void move_one(u8 *code, const struct unit_move *m, u32 delta, u32 links)
{
    u32 x;

    __builtin_memcpy(&x, code + m->at, 4);
    switch ((enum move_kind)m->kind) {
    case MOVE_EIP:
        x += delta;
        break;
    case MOVE_NEG_EIP:
        x -= delta;
        break;
    case MOVE_NEG_2EIP:
        x -= 2 * delta;
        break;
    case MOVE_EXEC: /* four bytes for each page of 4 GiB, from -SPACE_XT_OFF on */
        x = ((x + (delta >> PAGE_SHIFT) * 4) & 0x3fffff) - 0x800000;
        break;
    case MOVE_LINK:
        x += links;
        break;
    case MOVE_INSN:
        return;
    }
    __builtin_memcpy(code + m->at, &x, 4);
}

static const struct fragment *original(const struct tcache *tc, const struct fragment *f)
{
    NOVT_ASSERT(f->original);
    return &tc->frags[f->original - 1];
}

void tcache_expect_foretell(const struct tcache *tc, const struct fragment *f)
{
    const struct link *l = &tc->links[original(tc, f)->first_link];

    for (u32 n = 0; n < f->n_links; n++)
        if (l[n].led) {
            __builtin_prefetch(&tc->frags[l[n].led - 1]);
            __builtin_prefetch((const u8 *)&tc->frags[l[n].led - 1] + CODE_LINE);
        }
}

void tcache_expect_move(const struct tcache *tc, const struct fragment *from, const struct frag_key *k)
{
    for (u32 i = 0; i < from->host_len; i += CODE_LINE)
        __builtin_prefetch(tc->rw + from->host + i);
    for (u32 i = 0; i < from->n_moves; i += CODE_LINE / sizeof(*from->moves))
        __builtin_prefetch(&from->moves[i]);
    for (u32 i = 0; i < from->n_links; i += CODE_LINE / sizeof(*tc->links))
        __builtin_prefetch(&tc->links[from->first_link + i]);
    tc_expect_enter(tc, k);
}

struct fragment *tcache_foretell(struct tcache *tc, const struct fragment *f, u32 n, struct frag_key *k)
{
    const struct fragment *o = original(tc, f);
    u32 led = tc->links[o->first_link + n].led;
    struct fragment *to;

    NOVT_ASSERT(n < f->n_links);
    if (!led)
        return NULL;
    to = &tc->frags[led - 1];
    *k = to->key;
    k->eip += f->key.eip - o->key.eip;
    return to->valid && to->key.mode == f->key.mode && may_copy(to, k->eip) ? to : NULL;
}

struct fragment *tcache_latest(struct tcache *tc, const struct fragment *from, const struct frag_key *k)
{
    struct fragment *f;

    if (!from->latest || from->latest_eip != k->eip || from->latest > tc->arena[COPIES].n_frags)
        return NULL;
    f = &tc->frags[from->latest - 1];
    return f->valid && f->key.eip == k->eip && f->original == tc_original(tc, from) ? f : NULL;
}

struct fragment *tcache_move(struct tcache *tc, struct fragment *from, const struct frag_key *k)
{
    struct arena *a = &tc->arena[COPIES];
    struct fragment *f = tc_next(tc, a);
    u32 at = (u32)tc_copy_at(tc, a, from), first = a->n_links;
    u8 *code = tc->rw + at;

    if (!f)
        return NULL;
    copy_bytes(code, tc->rw + from->host, from->host_len);
    for (u32 i = 0; i < from->n_moves; i++)
        move_one(code, &from->moves[i], k->eip - from->key.eip, first - from->first_link);
    *f = *from;
    f->key = *k;
    f->host = at;
    f->first_link = first;
    f->incoming[TRANSLATED] = f->incoming[COPIES] = 0;
    f->alike_next = 0;
    f->original = tc_original(tc, from);
    f->latest = 0;
    from->latest = a->n_frags + 1;
    from->latest_eip = k->eip;
    for (u32 i = 0; i < f->n_links; i++) {
        const struct link *o = &tc->links[from->first_link + i];
        struct link *l = &tc->links[first + i];
        *l = (struct link){.owner = a->n_frags,
                           .far = o->far,
                           .patch = o->patch - from->host + f->host,
                           .stub = o->stub - from->host + f->host,
                           .target = o->target + (k->eip - from->key.eip)};
        tc_unchain(tc, l);
    }
    return tc_enter(tc, a);
}
