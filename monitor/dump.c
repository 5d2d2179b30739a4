/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --dump: a unit's guest code and its host code, one under the other, instruction by instruction. Heavy:
 * called while the FPU is parked. */
#include <capstone/capstone.h>
#include <stdio.h>
#include "machine/machine.h"
#include "base/log.h"
#include "monitor/bt.h"
#include "tcache/verify.h"

static void host_lines(csh cs, const struct bt *b, const struct fragment *f, u32 from, u32 to)
{
    const u8 *code = fragment_host(b->tc, f) + from;
    size_t size = to - from;
    uint64_t addr = (uint64_t)(uintptr_t)code;
    cs_insn *i = cs_malloc(cs);

    while (i && size && cs_disasm_iter(cs, &code, &size, &addr, i))
        fprintf(stderr, "        %05x  %s %s\n",
                (u32)((const u8 *)(uintptr_t)i->address - tcache_code(b->tc)), i->mnemonic, i->op_str);
    cs_free(i, 1);
}

void bt_dump_unit(struct vcpu *v, const struct fragment *f, const struct unit *u)
{
    struct bt *b = bt_of(v);
    u32 off = 0;
    char text[128];
    const char *name = NULL;
    csh cs = 0;

    if (!(b->cfg.dump & (DUMP_GUEST | DUMP_HOST)) || f->key.eip + u->guest_len <= b->cfg.dump_lo ||
        f->key.eip > b->cfg.dump_hi)
        return;
    if (b->cfg.symbol)
        name = b->cfg.symbol(b->cfg.opaque, f->key.eip, &off);
    fprintf(stderr, "unit %08x %s%s%x mode %05x: %u insns, %u bytes -> %u host bytes at %05x\n", f->key.eip,
            name ? name : "", name ? "+" : "", off, f->key.mode, u->n_insns, u->guest_len, u->host_len,
            f->host);
    if (b->cfg.dump & DUMP_HOST && cs_open(CS_ARCH_X86, CS_MODE_64, &cs) != CS_ERR_OK)
        cs = 0;
    for (u32 k = 0; k < u->n_insns; k++) {
        u32 eip = f->key.eip + u->pcmap[k].guest;
        insn_format(&u->insns[k], eip, f->key.mode & MODE_CS32, text, sizeof(text));
        fprintf(stderr, "  %08x  %s%s\n", eip, text, u->pcmap[k].flags & PCM_SAVED ? "   ; flags saved" : "");
        if (cs)
            host_lines(cs, b, f, u->pcmap[k].host, k + 1 < u->n_insns ? u->pcmap[k + 1].host : u->host_len);
    }
    if (cs)
        cs_close(&cs);
}

/* Decodes the guest's bytes anew: units are not kept. */
void monitor_dump_at(struct vcpu *v, u32 eip)
{
    struct bt *b = bt_of(v);
    const struct fragment *f;
    csh cs = 0;
    u32 shown = 0;

    if (cs_open(CS_ARCH_X86, CS_MODE_64, &cs) != CS_ERR_OK)
        return;
    for (u32 n = 0; (f = tcache_fragment(b->tc, n)); n++) {
        u32 off = eip - f->key.eip;
        if (!f->valid || off >= f->guest_len || f->key.mode != bt_mode(v) || shown++ == 4)
            continue;
        fprintf(stderr, "fragment %u: unit %08x mode %05x, %u instructions, host code at %05x%s\n", n,
                f->key.eip, f->key.mode, f->n_insns, f->host, f->page2 ? ", crosses a page" : "");
        for (u32 k = 0; k < f->n_insns; k++) {
            u32 guest = f->pcmap[k].guest, at = (u32)(f->key.gpa & PAGE_MASK) + guest;
            const u8 *p = memory_host(b->m, f->key.gpa);
            struct insn i;
            char text[128] = "(crosses a page)";
            if (p && at < PAGE_SIZE &&
                insn_decode(v->model, p + guest, PAGE_SIZE - at, f->key.mode & MODE_CS32, &i) == 0)
                insn_format(&i, f->key.eip + guest, f->key.mode & MODE_CS32, text, sizeof(text));
            fprintf(stderr, "  %08x  %s%s\n", f->key.eip + guest, text,
                    f->pcmap[k].flags & PCM_SAVED ? "   ; flags saved" : "");
            host_lines(cs, b, f, f->pcmap[k].host, k + 1 < f->n_insns ? f->pcmap[k + 1].host : f->host_len);
        }
    }
    cs_close(&cs);
}

/* A copy of the unit's code in which the traps of --kick, which go to our own signal handler, are nops: the
 * verifier's contract knows none. */
static const u8 *without_traps(const struct unit *u, const u8 *code, u8 copy[UNIT_MAX_CODE])
{
    for (u32 n = 0; n < u->host_len; n++)
        copy[n] = code[n];
    for (u32 k = 0; k < u->n_insns; k++)
        if (copy[u->pcmap[k].host] == INT3)
            copy[u->pcmap[k].host] = 0x90;
    return copy;
}

void bt_verify_unit(struct vcpu *v, const struct frag_key *k, const u8 *code, u32 first_link)
{
    struct bt *b = bt_of(v);
    const struct unit *u = &b->unit;
    struct verify_in in = {
        .code = code,
        .len = u->host_len,
        .eip = k->eip,
        .mode = k->mode,
        .cs_base = k->cs_base,
        .guest_len = u->guest_len,
        .pcmap = u->pcmap,
        .n_insns = u->n_insns,
        .links = u->links,
        .n_links = u->n_links,
        .first_link = first_link,
        .landings = u->landings,
        .n_landings = u->n_landings,
        .crosses = u->crosses,
        .kept = b->kept,
        .n_kept = b->n_kept,
    };
    u8 copy[UNIT_MAX_CODE];
    u32 at;

    if (b->cfg.kicks)
        in.code = without_traps(u, code, copy);
    v->stats.tc_verified++;
    if (verify_fragment(b->verifier, &in, &at))
        return;
    for (u32 n = 0; n < u->n_insns; n++) {
        char text[128];
        insn_format(&u->insns[n], k->eip + u->pcmap[n].guest, k->mode & MODE_CS32, text, sizeof(text));
        fprintf(stderr, "  %08x  %s\n", k->eip + u->pcmap[n].guest, text);
    }
    verify_print(b->verifier, &in, at);
    NOVT_BUG("translation of %08x, mode %05x, at %05x: %s", k->eip, k->mode, at, verifier_why(b->verifier));
}
