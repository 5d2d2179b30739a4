/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Translations from and for a file (tcache/store.h): what they depend on besides the cache's keys, and taking
 * those of a page over when code is first looked for there. Heavy.
 */
#include <errno.h>
#include <string.h>
#include <xxhash.h>
#include "base/log.h"
#include "monitor/bt.h"
#include "shadowpt/shadowpt.h"
#include "tcache/store.h"

/* Forced stops change code, and what is dumped is dumped when it is translated. */
static bool possible(const struct bt *b)
{
    return !b->cfg.kicks && !b->cfg.dump;
}

/* All of struct unit_env that is the same for the whole run. */
static u64 flavour(const struct vcpu *v)
{
    const struct bt *b = bt_of((struct vcpu *)v);
    const struct cpu_model *m = v->model;
    const struct {
        u64 opts;
        u32 family, model, stepping, features, featuresx, count, exact, host_tsc;
    } all = {v->opts & b->host_opts, m->family,    m->model,     m->stepping, m->features,
             m->featuresx,           b->cfg.count, b->cfg.exact, !v->ops->tsc};

    return XXH3_64bits(&all, sizeof(all));
}

/* learned: instructions of the page, by offset, for which something was learned that the file does not know.
 */
struct adoption {
    struct vcpu *v;
    u64 learned[PAGE_SIZE / 64];
};

static void renew(void *opaque, struct insn *i, u32 mode)
{
    struct vcpu *v = ((struct adoption *)opaque)->v;
    struct insn fresh;

    if (insn_decode(v->model, i->raw, INSN_MAX, mode & MODE_CS32, &fresh) || fresh.len != i->len)
        NOVT_BUG("an instruction in the file of translations cannot be decoded");
    *i = fresh;
}

static bool has_learned(struct adoption *x, const struct fragment *f)
{
    struct bt *b = bt_of(x->v);
    bool any = false;

    for (u32 n = 0; n < f->n_insns; n++) {
        u64 gpa = f->key.gpa + f->pcmap[n].guest;
        if (*bt_table_site(b, gpa) != gpa + 1 && *bt_check_site(b, gpa) != gpa + 1)
            continue;
        x->learned[(gpa & PAGE_MASK) >> 6] |= 1ull << (gpa & 63);
        any = true;
    }
    return any;
}

static void adopted(void *opaque, struct fragment *f)
{
    struct adoption *x = opaque;
    struct vcpu *v = x->v;
    struct bt *b = bt_of(v);

    v->stats.tc_adopted++;
    if (unlikely(bt_learned(b, f->key.gpa)) && has_learned(x, f))
        return; /* bt_see_page() drops it */
    if (b->cfg.code_made)
        b->cfg.code_made(b->cfg.code_opaque, fragment_host(b->tc, f), f->host_len,
                         f->key.cs_base + f->key.eip);
    if (b->verifier)
        bt_check_made(v, f);
}

void bt_see_page(struct vcpu *v, u64 gpa)
{
    struct bt *b = bt_of(v);
    struct adoption x = {.v = v};
    const struct tcache_adopter a = {.renew = renew, .adopted = adopted, .opaque = &x};
    bool whole = !(v->debug && v->debug->n_breaks); /* units end where a debugger's breakpoint is */

    shadow_code_page(v, gpa);
    if (!tcache_see(b->tc, gpa, memory_host(b->m, gpa), whole ? &a : NULL))
        return;
    v->stats.tc_adopted_pages++;
    for (u32 n = 0; n < ARRAY_SIZE(x.learned); n++)
        for (u64 m = x.learned[n]; m; m &= m - 1)
            bt_retranslate(v, gpa + n * 64 + (u32)__builtin_ctzll(m));
}

void bt_count_arms(struct vcpu *v)
{
    struct bt *b = bt_of(v);

    v->bt[BT_ARMS] = (u64)(uintptr_t)tcache_count_arms(b->tc);
    b->profile = v->bt[BT_ARMS];
}

int monitor_load_code(struct vcpu *v, const char *path)
{
    struct bt *b = bt_of(v);
    int err;

    if (!possible(b))
        return -ENOTSUP;
    err = tcache_load(b->tc, path, flavour(v));
    if ((err == -ENOENT || err == -EPROTO || err == -EBADMSG) && v->opts & OPT(profile))
        bt_count_arms(v);
    return err;
}

static const u8 *page_bytes(void *opaque, u64 gpa)
{
    struct bt *b = bt_of(opaque);
    return memory_host(b->m, gpa);
}

/* A unit that is made for the file. */
struct making {
    struct tcache *to;
    const struct tcache_hints *hints;
    u32 page_off; /* of the unit's first byte */
};

static struct insn *keep_in_file(void *opaque, const struct insn *i)
{
    const struct making *m = opaque;
    struct insn *p = tcache_alloc(m->to, sizeof(*p));

    if (p)
        *p = *i;
    return p;
}

static u32 hint(void *opaque, u32 off, u32 next)
{
    const struct making *m = opaque;

    (void)next;
    return m->hints->of(m->hints->opaque, m->page_off + off);
}

static struct fragment *make(void *opaque, struct tcache *to, const struct frag_key *k, const u8 *page,
                             const struct tcache_hints *hints)
{
    struct vcpu *v = opaque;
    struct unit *u = &bt_of(v)->unit;
    struct making m = {to, hints, (u32)(k->gpa & PAGE_MASK)};
    struct unit_env env = bt_unit_env(v, k);
    u8 *code;
    u32 cap;

    if (!tcache_reserve(to, &code, &cap, &env.first_link))
        return NULL;
    env.bytes = page + m.page_off;
    env.line_at = (u32)(uintptr_t)code & (CODE_LINE - 1);
    env.may_lead = true;
    env.keep_insn = keep_in_file;
    env.hint = hint;
    env.opaque = &m;
    if (translate_unit(&env, code, cap, u) != XLATE_OK || u->fixed || u->insns[u->n_insns - 1].fn == insn_ud)
        return NULL;
    return tcache_commit(to, k, 0, u);
}

int monitor_save_code(struct vcpu *v, const char *path, u32 *written)
{
    const struct tcache_source source = {.page = page_bytes, .make = make, .opaque = v};
    struct bt *b = bt_of(v);

    *written = 0;
    return possible(b) ? tcache_save(b->tc, path, flavour(v), &source, written) : -ENOTSUP;
}
