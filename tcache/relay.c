/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Translations for a file, laid along the arms that conditional branches mostly took (Pettis, Hansen: Profile
 * guided code positioning, PLDI 1990). In a run that has no file to read, translated code counts both arms of
 * each conditional branch that leaves its unit (struct unit_env's profile). When the file is written, each
 * unit is translated once more: it goes on where a branch mostly goes, and ends where nobody ever went on. So
 * the straight path is longer, and what is never executed does not lie between. Units stay in the order of
 * their first execution. What only was the taken arm of branches that are turned round is left out; what is
 * reached by a new exit, and was in the middle of a unit before, follows the unit that needs it.
 *
 * All of it is a hint: what is missing is translated when it is met.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "tcache/store_int.h"

#define WANT_MAX 1024u /* what does not fit is left out */

/* Where an exit led: of units of a page, to this address, in this mode. */
struct led {
    u32 page, target, mode;
    u32 to; /* 1 + fragment of `from`, 0: free */
};

struct relay {
    struct saver *s;
    u8 **hints; /* by guest page: HINT_* by offset; NULL: nothing was counted */
    struct led *led;
    u32 led_mask;
    u32 n_want;
    struct frag_key want[WANT_MAX];
};

/* ---- what was counted ---- */

static u8 hint_of(u32 taken, u32 passed)
{
    return (u8)((taken > passed ? HINT_TAKEN : 0) | (taken ? 0 : HINT_NEVER_TAKEN) |
                (passed ? 0 : HINT_NEVER_PASSED));
}

/* Adds up what the units of a page have counted; false: it is in none that can be saved. */
static bool add_up(const struct saver *s, u64 page, u32 (*sum)[2], bool *counted)
{
    const struct tcache *tc = s->from;
    bool any = false;

    for (u32 n = tc->page_head[page][TRANSLATED]; n;) {
        const struct fragment *f = &tc->frags[(n & ~SLOT1) - 1];
        u32 slot = n & SLOT1 ? 1 : 0;
        n = f->page_next[slot];
        if (slot || !save_can(s, (u32)(f - tc->frags), true))
            continue;
        for (u32 l = f->first_link; l < f->first_link + f->n_links; l++) {
            u32 off = tc->arm[l] & ARM_OFF;
            if (!tc->arm[l] || tc->arm[l] & ARM_PASSED)
                continue;
            sum[off][0] += tc->arms[l][0];
            sum[off][1] += tc->arms[l][1];
            counted[off] = any = true;
        }
    }
    return any;
}

static bool make_hints(struct relay *r)
{
    const struct tcache *tc = r->s->from;
    u32(*sum)[2] = calloc(PAGE_SIZE, sizeof(*sum));
    bool *counted = calloc(PAGE_SIZE, 1);
    bool room = sum && counted;

    r->hints = calloc(tc->phys_pages, sizeof(*r->hints));
    for (u64 page = 0; room && r->hints && page < tc->phys_pages; page++) {
        if (!tc->page_head[page][TRANSLATED] || !add_up(r->s, page, sum, counted))
            continue;
        room = (r->hints[page] = calloc(PAGE_SIZE, 1)) != NULL;
        for (u32 off = 0; room && off < PAGE_SIZE; off++)
            if (counted[off])
                r->hints[page][off] = hint_of(sum[off][0], sum[off][1]);
        memset(sum, 0, PAGE_SIZE * sizeof(*sum));
        memset(counted, 0, PAGE_SIZE);
    }
    free(sum);
    free(counted);
    return room && r->hints;
}

static u32 hint_at(void *hints, u32 off)
{
    return hints ? ((const u8 *)hints)[off] : 0;
}

/* ---- where exits led ---- */

static struct led *led_place(const struct relay *r, u64 page, u32 target, u32 mode)
{
    u32 at = (((u32)page ^ target * 0x9e3779b1u) * 0x85ebca6bu ^ mode) * 0xc2b2ae35u;
    struct led *l;

    for (at = at ^ at >> 15;; at++) {
        l = &r->led[at & r->led_mask];
        if (!l->to || (l->page == (u32)page && l->target == target && l->mode == mode))
            return l;
    }
}

static bool note_exits(struct relay *r)
{
    const struct tcache *tc = r->s->from;
    const struct arena *a = &tc->arena[TRANSLATED];

    for (r->led_mask = 1023; r->led_mask < 2 * a->n_links; r->led_mask = r->led_mask * 2 + 1)
        ;
    r->led = calloc(r->led_mask + 1ull, sizeof(*r->led));
    if (!r->led)
        return false;
    for (u32 n = 0; n < a->n_links; n++) {
        const struct link *l = &tc->links[n];
        const struct fragment *f = &tc->frags[l->owner];
        if (f->valid && l->led)
            *led_place(r, f->key.gpa >> PAGE_SHIFT, l->target, f->key.mode) =
                (struct led){(u32)(f->key.gpa >> PAGE_SHIFT), l->target, f->key.mode, l->led};
    }
    return true;
}

/* ---- units ---- */

/* Is fragment n only where branches lead that are turned round now, so that units go on there? */
static bool only_turned(const struct relay *r, u32 n)
{
    const struct tcache *tc = r->s->from;
    const struct fragment *f = &tc->frags[n];

    if (!f->incoming[TRANSLATED] || f->incoming[COPIES])
        return false;
    for (u32 l = f->incoming[TRANSLATED]; l && l != ~0u; l = tc->links[l - 1].next) {
        const struct fragment *from = &tc->frags[tc->links[l - 1].owner];
        u16 arm = tc->arm[l - 1];
        u64 page = f->key.gpa >> PAGE_SHIFT;
        if (!arm || arm & ARM_PASSED || from->key.gpa >> PAGE_SHIFT != page ||
            (f->key.gpa & PAGE_MASK) <= (arm & ARM_OFF) ||
            !(hint_at(r->hints[page], arm & ARM_OFF) & HINT_TAKEN))
            return false;
    }
    return true;
}

/* What a link of f, one of the new ones, leads to within the page. */
static struct frag_key key_of(const struct fragment *f, const struct link *l)
{
    struct frag_key k = f->key;

    k.eip = l->target;
    k.gpa = (k.gpa & ~(u64)PAGE_MASK) | ((k.cs_base + k.eip) & PAGE_MASK);
    return k;
}

/* Whether nobody ever went along this arm of a branch in k's page. */
static bool never(const struct relay *r, const struct frag_key *k, u16 arm)
{
    return hint_at(r->hints[k->gpa >> PAGE_SHIFT], arm & ARM_OFF) &
           (arm & ARM_PASSED ? HINT_NEVER_PASSED : HINT_NEVER_TAKEN);
}

/* Does link n of the new ones lead to what will be there only if it is made now? */
static bool wanted(const struct relay *r, const struct fragment *f, u32 n)
{
    struct tcache *from = r->s->from, *to = r->s->to;
    struct frag_key k = key_of(f, &to->links[n]);
    const struct fragment *old;

    if (to->links[n].far || k.eip > k.cs_limit || tcache_lookup(to, &k))
        return false;
    old = tcache_lookup(from, &k);
    if (old && !old->original && save_can(r->s, (u32)(old - from->frags), true))
        return only_turned(r, (u32)(old - from->frags));
    if (!to->arm[n])
        return true;
    return hint_at(r->hints[k.gpa >> PAGE_SHIFT], to->arm[n] & ARM_OFF) && !never(r, &k, to->arm[n]);
}

/* Makes what is wanted, and what that wants in turn. False: there is no memory; without room no more is made.
 */
static bool make(struct relay *r)
{
    const struct tcache_source *source = r->s->source;

    while (r->n_want && save_room(r->s, UNIT_MAX_LINKS)) {
        struct frag_key k = r->want[--r->n_want];
        u64 page = k.gpa >> PAGE_SHIFT;
        const struct tcache_hints hints = {hint_at, r->hints[page]};
        const struct fragment *f;

        if (tcache_lookup(r->s->to, &k))
            continue;
        if (!(f = source->make(source->opaque, r->s->to, &k, store_seen(r->s->from, page), &hints)))
            continue;
        if (!save_page(r->s, k.gpa))
            return false;
        for (u32 i = f->n_links; i-- > 0;)
            if (r->n_want < WANT_MAX && wanted(r, f, f->first_link + i))
                r->want[r->n_want++] = key_of(f, &r->s->to->links[f->first_link + i]);
    }
    r->n_want = 0;
    return true;
}

static bool make_all(struct relay *r)
{
    const struct tcache *tc = r->s->from;

    for (u32 n = 0; n < tc->arena[TRANSLATED].n_frags; n++) {
        if (!save_can(r->s, n, true) || only_turned(r, n))
            continue;
        r->want[r->n_want++] = tc->frags[n].key;
        if (!make(r))
            return false;
    }
    return true;
}

/* Will link n of the new ones, which leads to k in its page, be taken, as far as that is known? */
static bool led_before(const struct relay *r, const struct frag_key *k, u32 n)
{
    u16 arm = r->s->to->arm[n];

    if (arm)
        return !never(r, k, arm);
    return led_place(r, k->gpa >> PAGE_SHIFT, k->eip, k->mode)->to || !tcache_lookup(r->s->from, k);
}

/* Exits lead where they led, and to what is in the page. */
static void chain(struct relay *r)
{
    struct tcache *from = r->s->from, *to = r->s->to;

    for (u32 n = 0; n < from->arena[TRANSLATED].n_frags; n++) {
        const struct fragment *f = tcache_lookup(to, &from->frags[n].key);
        r->s->frag[n] = f ? (u32)(f - to->frags) + 1 : 0;
    }
    for (u32 n = 0; n < to->arena[TRANSLATED].n_links; n++) {
        struct link *l = &to->links[n];
        const struct fragment *f = &to->frags[l->owner];
        struct frag_key k = key_of(f, l);
        struct fragment *target;
        u32 led;

        if (!l->far) {
            if (!(target = tcache_lookup(to, &k)))
                continue;
            tcache_link(to, n, target);
            if (!led_before(r, &k, n))
                l->led = 0; /* no copy has to have it */
            continue;
        }
        led = led_place(r, f->key.gpa >> PAGE_SHIFT, l->target, f->key.mode)->to;
        if (!led || !(led = r->s->frag[led - 1]))
            continue;
        target = &to->frags[led - 1];
        if (target->key.eip != l->target || target->key.mode != f->key.mode)
            l->led = led;
        else if (!tc_may_be_direct(to, l))
            tcache_link(to, n, target);
    }
}

static void sleep_all(struct relay *r)
{
    struct tcache *to = r->s->to;

    for (u32 n = 0; n < to->arena[TRANSLATED].n_frags; n++) {
        save_sleep(r->s, n, r->s->live[to->frags[n].key.gpa >> PAGE_SHIFT]);
        to->frags[n].valid = false;
    }
}

int relay(struct saver *s)
{
    struct relay *r = calloc(1, sizeof(*r));
    bool good;

    if (!r)
        return -ENOMEM;
    r->s = s;
    tc_fold_arms(s->from);
    good = tc_keep_arms(s->to) && make_hints(r) && note_exits(r) && make_all(r);
    if (good) {
        chain(r);
        sleep_all(r);
    }
    for (u64 page = 0; r->hints && page < s->from->phys_pages; page++)
        free(r->hints[page]);
    free(r->hints);
    free(r->led);
    free(r);
    return good ? 0 : -ENOMEM;
}
