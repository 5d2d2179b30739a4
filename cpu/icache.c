/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instruction fetch and the decode cache.
 *
 * The cache is direct-mapped, keyed by guest-physical address and code size. An entry is valid while the code
 * generation of its page (two pages, if it crosses) is what it was before the bytes were read;
 * ops->code_page() makes the memory bump the generation on every write from then on. Since the key is
 * physical, paging changes need no flush: the way from linear to physical is asked anew each time (exec
 * table, or ops->fetch).
 *
 * The bytes are copied out of guest memory before they are decoded: devices may write to them meanwhile, and
 * the decoder must see one version. The generation is read before the copy, so such a write leaves a stale
 * generation behind.
 *
 * Faults, in this order per byte: CS limit (#GP(0)), page (#PF), and #GP(0) for more than 15 bytes.
 *
 * This is light code around a heavy call: the FPU is parked before insn_decode(), calloc() and free().
 */
#include <stdlib.h>
#include "cpu/interp.h"
#include "base/log.h"

static struct icache *icache_get(struct vcpu *v)
{
    if (unlikely(!v->icache)) {
        cpu_fpu_park(v);
        v->icache = calloc(1, sizeof(struct icache));
        NOVT_ASSERT(v->icache != NULL);
    }
    return v->icache;
}

void interp_flush(struct vcpu *v)
{
    if (!v->icache)
        return;
    cpu_fpu_park(v);
    free(v->icache);
    v->icache = NULL;
}

/* Copies n bytes of code at lin, within one page. Code outside RAM and ROM is read as data. */
static int copy_code(struct vcpu *v, const u8 *host, u32 lin, u8 *buf, u32 n)
{
    if (!host)
        return v->ops->mem_read(v, lin, buf, n, v->cpl == 3);
    for (u32 k = 0; k < n; k++)
        buf[k] = ((const volatile u8 *)host)[k];
    return CPU_OK;
}

int icache_miss(struct vcpu *v, u32 eip, const struct insn **out)
{
    struct icache *ic = icache_get(v);
    bool cs32 = v->mode & MODE_CS32;
    const struct seg *cs = &v->seg[S_CS];
    u32 lin = cs->base + eip;
    const u8 *host, *host2;
    u64 gpa, gpa2 = 0;
    u8 buf[INSN_MAX];

    if (unlikely(eip > cs->limit))
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(v->ops->fetch(v, lin, &host, &gpa));

    u32 allowed = cs->limit - eip < INSN_MAX ? cs->limit - eip + 1 : INSN_MAX;
    u32 in_page = PAGE_SIZE - (lin & PAGE_MASK);
    u32 avail = allowed < in_page ? allowed : in_page;

    struct ic_entry *e = &ic->e[ic_index(gpa)];
    bool cache = host && (v->opts & OPT(icache));
    u64 tag = IC_TAG(gpa, cs32);

    /* The exec table may not hold the page although the cache does, and a hit that crosses pages ends up here
     * too. */
    if (cache && (e->tag & ~IC_CROSS) == tag && *e->gen == e->gen_val && e->insn.len <= allowed) {
        if (e->tag == tag) {
            *out = &e->insn;
            return CPU_OK;
        }
        TRY(v->ops->fetch(v, (lin & ~PAGE_MASK) + PAGE_SIZE, &host2, &gpa2));
        if (host2 && gpa2 == e->gpa2 && *e->gen2 == e->gen2_val) {
            *out = &e->insn;
            return CPU_OK;
        }
    }

    const u32 *gen = cache ? v->ops->code_page(v, gpa) : NULL, *gen2 = NULL;
    if (!gen)
        cache = false;
    if (!cache)
        e = &ic->scratch;
    e->tag = 0;
    u32 gen_val = gen ? __atomic_load_n(gen, __ATOMIC_ACQUIRE) : 0, gen2_val = 0;

    TRY(copy_code(v, host, lin, buf, avail));
    cpu_fpu_park(v);
    v->stats.decodes++;
    int r = insn_decode(v->model, buf, avail, cs32, &e->insn);
    if (r < 0 && avail < allowed) {
        u32 lin2 = lin + avail;
        TRY(v->ops->fetch(v, lin2, &host2, &gpa2));
        if (cache)
            gen2 = host2 ? v->ops->code_page(v, gpa2) : NULL;
        if (!gen2)
            cache = false;
        else
            gen2_val = __atomic_load_n(gen2, __ATOMIC_ACQUIRE);
        TRY(copy_code(v, host2, lin2, buf + avail, allowed - avail));
        cpu_fpu_park(v); /* MMIO may have woken it */
        r = insn_decode(v->model, buf, allowed, cs32, &e->insn);
        tag |= IC_CROSS;
    }
    if (r != 0)
        return cpu_raise_err(v, EXC_GP, 0);
    if (cache) {
        e->gen = gen;
        e->gen_val = gen_val;
        e->gen2 = gen2;
        e->gen2_val = gen2_val;
        e->gpa2 = gpa2;
        e->tag = tag;
    }
    *out = &e->insn;
    return CPU_OK;
}

int insn_fetch(struct vcpu *v, const struct insn **out)
{
    return icache_fetch(v, out);
}
