/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A unit translated from fuzz input, in any mode that a CPU can be in, and its description for the verifier.
 */
#ifndef NOVT_TESTS_FUZZ_UNIT_H
#define NOVT_TESTS_FUZZ_UNIT_H

#include "base/opts.h"
#include "shadowpt/shadowpt.h"
#include "tcache/verify.h"
#include "tests/fuzz/fuzz.h"

struct fuzz_unit {
    u8 code[UNIT_MAX_CODE];
    struct unit u;
    struct unit_env env;
    u8 bytes[PAGE_SIZE], cross[2 * INSN_MAX];
    u8 sites; /* which instructions must use table form */
    u8 hints; /* which branches are known to go which way */
    struct insn kept_store[UNIT_MAX_INSNS];
    const struct insn *kept[UNIT_MAX_INSNS];
    u32 n_kept;
};

static struct insn *fuzz_keep(void *opaque, const struct insn *i)
{
    struct fuzz_unit *f = opaque;
    if (f->n_kept == UNIT_MAX_INSNS)
        return NULL;
    f->kept_store[f->n_kept] = *i;
    f->kept[f->n_kept] = &f->kept_store[f->n_kept];
    return &f->kept_store[f->n_kept++];
}

static bool fuzz_table_site(void *opaque, u32 off)
{
    const struct fuzz_unit *f = opaque;
    return f->sites >> (off & 7) & 1;
}

static u32 fuzz_hint(void *opaque, u32 off, u32 next)
{
    const struct fuzz_unit *f = opaque;
    return f->hints >> (off & 3) * 2 & 1         ? HINT_TAKEN
           : f->hints >> ((off & 3) * 2 + 1) & 1 ? HINT_NEVER_PASSED
                                                 : 0;
}

/* 16 bytes of settings, then guest code; `most`: of the latter. */
static enum xlate_status fuzz_translate(struct fuzz_unit *f, struct in *in, u32 most)
{
    static const u8 rings[] = {0, 0, 3, 1};
    u8 kind = take8(in), shape = take8(in), more = take8(in), odd = take8(in);
    u32 mode = MODE_SSE, page_off = take16(in) & PAGE_MASK, n;
    struct unit_env *e = &f->env;

    switch (kind & 7) {
    case 0: /* real */
        mode |= MODE_IOPL_OK;
        break;
    case 1: /* V86 */
        mode |= MODE_PE | MODE_VM | 3 | (kind & 8 ? MODE_IOPL_OK : 0);
        break;
    default:
        mode |= MODE_PE | rings[kind >> 4 & 3] | (kind & 8 ? MODE_IOPL_OK : 0) | (shape & 1 ? 0 : MODE_CS32) |
                (shape & 2 ? 0 : MODE_SS32) | (shape & 4 ? 0 : MODE_FLATCS) | (shape & 8 ? 0 : MODE_FLATDS) |
                (shape & 16 ? 0 : MODE_FLATES) | (shape & 32 ? 0 : MODE_FLATSS);
        if (!(mode & MODE_CPL))
            mode |= MODE_IOPL_OK;
    }
    mode |= (more & 1 ? MODE_NOFPU : 0) | (more & 2 ? MODE_TSD : 0) | (more & 4 ? MODE_WIN : 0);
    if (more & 8)
        mode &= ~MODE_SSE;
    *e = (struct unit_env){
        .model = cpu_model_find(more & 16 ? "pentium3" : "qemu32"),
        .opts = more & 32 ? (u32)take16(in) : OPT_ALL,
        .mode = mode,
        .cs_limit = 0xffffffff,
        .first_link = odd & 1 ? 0 : 1000,
        .count = more & 64,
        .exact = more & 128,
        .host_tsc = true,
        .profile = odd & 8,
        .keep_insn = fuzz_keep,
        .opaque = f,
    };
    if (!e->model)
        e->model = cpu_model_find("qemu32");
    if (!(mode & MODE_FLATCS)) {
        e->cs_base = take32(in);
        e->cs_limit = mode & MODE_CS32 ? take32(in) : 0xffff;
        if (!(mode & MODE_PE) || (mode & MODE_VM))
            e->cs_base &= 0xffff0;
    }
    e->eip = mode & MODE_CS32 ? take32(in) : take16(in);
    if (odd & 2) { /* runs into the next page */
        e->eip -= (e->eip + e->cs_base) & PAGE_MASK;
        e->eip += PAGE_SIZE - 1 - (page_off & 15);
        if (!(mode & MODE_CS32))
            e->eip &= 0xffff;
    }
    if (e->eip > e->cs_limit)
        e->eip = e->cs_limit;
    if (odd & 4) {
        f->sites = take8(in);
        e->table_site = fuzz_table_site;
    }
    if (odd & 16) {
        f->hints = take8(in);
        e->hint = fuzz_hint;
    }
    n = left(in) < most ? left(in) : most;
    e->avail = PAGE_SIZE - ((e->eip + e->cs_base) & PAGE_MASK);
    if (e->avail > n + 16)
        e->avail = n + 16;
    e->bytes = f->bytes;
    take(in, f->bytes, n < e->avail ? n : e->avail);
    if (n < e->avail)
        memset(f->bytes + n, 0x90, e->avail - n);
    f->n_kept = 0;
    enum xlate_status st = translate_unit(e, f->code, sizeof(f->code), &f->u);
    if (st != XLATE_NEED_CROSS)
        return st;
    n = e->avail < INSN_MAX ? e->avail : INSN_MAX;
    memcpy(f->cross, f->bytes, n);
    take(in, f->cross + n, INSN_MAX);
    e->cross = f->cross;
    e->cross_avail = n + INSN_MAX;
    e->cross_expect = 1 + (take32(in) & 0xfffff);
    f->n_kept = 0;
    return translate_unit(e, f->code, sizeof(f->code), &f->u);
}

static struct verify_in fuzz_verify_in(const struct fuzz_unit *f)
{
    return (struct verify_in){
        .code = f->code,
        .len = f->u.host_len,
        .eip = f->env.eip,
        .mode = f->env.mode,
        .cs_base = f->env.cs_base,
        .guest_len = f->u.guest_len,
        .pcmap = f->u.pcmap,
        .n_insns = f->u.n_insns,
        .links = f->u.links,
        .n_links = f->u.n_links,
        .first_link = f->env.first_link,
        .crosses = f->u.crosses,
        .kept = f->kept,
        .n_kept = f->n_kept,
    };
}

#endif
