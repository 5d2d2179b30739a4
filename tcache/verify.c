/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verifier's argument: abstract interpretation of the fragment.
 *
 * Each register holds an abstract value: "upper half zero" at least for the guest's, and for scratch
 * registers where it came from: a page number of value n, a table entry for value n, the same known to be
 * non-zero, a branch-cache entry... Every value that is computed gets a number, so that "this table entry
 * belongs to that linear address" is a comparison. Conditional branches refine: behind `jz miss` an entry is
 * non-zero; behind the crossing tests the access is known to stay within its page. A memory operand is
 * accepted only if its registers' values say that it is safe; nothing is recognised by the instructions
 * around it, so the translator may order and combine them as it likes.
 *
 * Entry points (each guest instruction's start, every address handed to a thunk, every return point) begin
 * with nothing known but the register contract, and whatever flows into one must fulfil it. So each guest
 * instruction is judged by itself, and a stop, a fault or a retry anywhere finds the same. Values numbered by
 * an instruction lose their number everywhere when that instruction is passed again, which keeps loops sound.
 *
 * Instructions: a list by opcode, everything else is refused. Operands, sizes and lengths come from Capstone;
 * direction of memory accesses, x87 sizes and prefixes are judged here.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shadowpt/shadowpt.h"
#include "tcache/verify_int.h"

struct verifier *verifier_create(void)
{
    struct verifier *v = calloc(1, sizeof(*v));
    if (!v)
        return NULL;
    v->hi = malloc(MAX_HI * sizeof(*v->hi));
    v->at = malloc((UNIT_MAX_CODE + 1) * sizeof(*v->at));
    v->labels = malloc(MAX_LABELS * sizeof(*v->labels));
    if (!v->hi || !v->at || !v->labels || cs_open(CS_ARCH_X86, CS_MODE_64, &v->cs) != CS_ERR_OK) {
        v->cs = 0;
        verifier_destroy(v);
        return NULL;
    }
    cs_option(v->cs, CS_OPT_DETAIL, CS_OPT_ON);
    v->insn = cs_malloc(v->cs);
    return v;
}

void verifier_destroy(struct verifier *v)
{
    if (!v)
        return;
    if (v->insn)
        cs_free(v->insn, 1);
    if (v->cs)
        cs_close(&v->cs);
    free(v->hi);
    free(v->at);
    free(v->labels);
    free(v);
}

const char *verifier_why(const struct verifier *v)
{
    return v->why;
}

bool __attribute__((format(printf, 3, 4)))
vf_bad(struct verifier *v, const struct hi *h, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(v->why, sizeof(v->why), fmt, ap);
    va_end(ap);
    v->bad_at = h ? h->off : 0;
    return false;
}

static bool plain_indirect(const struct hi *h)
{
    return h->op == 0xff && h->has_mem && h->memsize == 8 && !h->gs && !h->a67 && !h->o66 && !h->f2 && !h->f3;
}

bool vf_through_vcpu(const struct hi *h)
{
    return plain_indirect(h) && h->base == R15 && h->index == NOREG_;
}

/* One instruction: checks it and moves the state behind it. */
static bool step(struct verifier *v, const struct hi *h, struct state *s)
{
    u8 op = h->op, r = h->modrm >> 3 & 7;

    if ((op & 0xf0) == 0x70 || op == 0xe3 || op == 0xe8 || op == 0xe9 || op == 0xeb ||
        (op == 0x0f && (h->op2 & 0xf0) == 0x80))
        return vf_jump(v, h, s);
    if (op == 0xc3)
        return vf_return(v, h, s);
    if (op == 0xff && (r == 4 || r == 2)) {
        s->live = false;
        if (!plain_indirect(h))
            return vf_bad(v, h, "an indirect jump");
        if (r == 2 && !vf_add_entry(v, h, h->off + h->len, 2))
            return false;
        if (vf_through_vcpu(h))
            return r == 4 ? vf_leave(v, h, s, h->disp) : vf_call_thunk(v, h, s, h->disp);
        if (h->base < 16 && h->index < 16 && s->r[h->base].kind == K_IBTC && s->r[h->index].kind == K_LOW16 &&
            h->scale == 8 && h->disp == IBTC_HOST_OFF) {
            /* of the value that the index is of: tags tell contexts apart only together with their places */
            if (s->ib_ok != s->r[h->index].ref || !s->ib_ok || s->ib_ref != s->ib_ok)
                return vf_bad(v, h, "a jump through the branch cache whose tag was not compared");
            return vf_keeps_contract(v, h, s);
        }
        return vf_bad(v, h, "an indirect jump");
    }
    if (op == 0x0f && h->op2 == 0x31) { /* rdtsc */
        if (h->f2 || h->f3 || h->o66 || h->w || h->a67 || h->gs)
            return vf_bad(v, h, "prefix on rdtsc");
        if ((v->in->mode & MODE_TSD) && (v->in->mode & MODE_CPL))
            return vf_bad(v, h, "rdtsc in a ring that CR4.TSD keeps from it");
        vf_clobber(v, s, h, RAX, 4, 0);
        vf_clobber(v, s, h, RDX, 4, 1);
        return true;
    }
    if (op == 0x0f && h->op2 == 0x1f) /* e_nops(): its operand is not looked at */
        return r == 0 && !h->f2 && !h->f3 && !h->gs && !h->a67 && !h->w && h->base == RAX &&
                       (h->index == NOREG_ || h->index == RAX) && !h->disp
                   ? true
                   : vf_bad(v, h, "form of nop");
    if (op == 0x8d)
        return vf_lea(v, h, s);
    if (op == 0x0f && h->op2 == 0x38)
        return vf_adox(v, h, s);
    if ((op >= 0x88 && op <= 0x8b) || op == 0xc6 || op == 0xc7 || (op >= 0xb0 && op <= 0xbf)) {
        if ((op == 0xc6 || op == 0xc7) && r != 0)
            return vf_bad(v, h, "not a mov");
        return vf_mov(v, h, s);
    }
    if (op == 0x63 && h->w && h->has_mem && !h->o66 && !h->f2 && !h->f3) /* movsxd: a return's address */
        return vf_memory(v, h, s, 4, RD, NULL) &&
               vf_set(v, s, h, h->o[0].reg, 8, (struct val){.kind = K_ANY});
    if (op >= 0xa4 && op <= 0xaf && op != 0xa8 && op != 0xa9)
        return vf_string(v, h, s);
    if (op == 0x9c) { /* pushfq; pop r: to look at DF */
        const struct hi *p = h + 1;
        if (h->w || h->o66 || p >= v->hi + v->n || (p->op & 0xf8) != 0x58 || p->entry || p->label || p->o66 ||
            h->a67 || h->gs)
            return vf_bad(v, h, "pushfq without its pop");
        return true;
    }
    if ((op & 0xf8) == 0x58) {
        if (h == v->hi || (h - 1)->op != 0x9c || h->entry || h->label || h->o66 || h->a67 || h->gs ||
            h->o[0].width != 8)
            return vf_bad(v, h, "pop");
        return vf_set(v, s, h, h->o[0].reg, 8, (struct val){.kind = K_ANY});
    }
    if (vf_known(v, h, s))
        return true;
    if (v->why[0])
        return false;
    if (vf_plain_opcode(h))
        return vf_plain(v, h, s);
    return vf_bad(v, h, "instruction not allowed (opcode %02x %02x)", op, op == 0x0f ? h->op2 : 0);
}

static bool pass(struct verifier *v)
{
    struct state s = {.live = false};

    for (u32 k = 0; k < v->n; k++) {
        struct hi *h = &v->hi[k];
        if (h->entry) {
            if (s.live && !vf_enters(v, h, h, &s))
                return false;
            vf_canonical(v, &s, h);
        } else if (h->label) {
            if (s.live && !vf_flow_to(v, h, h->off, &s))
                return false;
            s = v->labels[h->state];
        }
        if (s.live && !step(v, h, &s))
            return false;
    }
    if (s.live)
        return vf_bad(v, &v->hi[v->n - 1], "runs off the fragment's end");
    return true;
}

/* The pc map, the links' places, and the entry points that they imply. */
static bool check_tables(struct verifier *v)
{
    const struct verify_in *in = v->in;

    if (!in->n_insns || in->pcmap[0].host != 0)
        return vf_bad(v, NULL, "the pc map does not begin at the start");
    for (u32 k = 0; k < in->n_insns; k++) {
        const struct pcmap *p = &in->pcmap[k];
        if (p->host >= in->len || !v->at[p->host])
            return vf_bad(v, NULL, "pc map entry %u is not an instruction", k);
        if (k && (p->host < p[-1].host || p->guest <= p[-1].guest))
            return vf_bad(v, NULL, "pc map entry %u goes backwards", k);
        if (p->guest >= in->guest_len)
            return vf_bad(v, NULL, "pc map entry %u is outside the unit", k);
        v->hi[v->at[p->host] - 1].entry = 1;
    }
    for (u32 i = 0; i < in->n_links; i++) {
        const struct unit_link *l = &in->links[i];
        bool found = false;
        if (l->stub >= in->len || !v->at[l->stub])
            return vf_bad(v, NULL, "the stub of link %u is not an instruction", i);
        for (u32 back = 1; back <= 2; back++) {
            const struct hi *h;
            if (l->patch >= back && l->patch + 4 <= in->len && v->at[l->patch - back]) {
                h = &v->hi[v->at[l->patch - back] - 1];
                found |= h->len == back + 4 && (back == 1 ? h->op == 0xe9 || h->op == 0xe8
                                                          : h->op == 0x0f && (h->op2 & 0xf0) == 0x80);
            }
        }
        if (!found)
            return vf_bad(v, NULL, "link %u patches something else than a jump (at %u)", i, l->patch);
    }
    return true;
}

/* A landing may be overwritten by a jump to its miss: then whatever returns there runs into that. */
static bool check_landings(struct verifier *v)
{
    const struct verify_in *in = v->in;

    for (u32 i = 0; i < in->n_landings; i++) {
        const struct unit_landing *l = &in->landings[i];
        if (l->at + LANDING_PATCH > in->len || !v->at[l->at] || v->hi[v->at[l->at] - 1].entry != 2)
            return vf_bad(v, NULL, "landing %u is not a return point", i);
        if (!vf_add_entry(v, NULL, l->miss, 2))
            return false;
        if (l->miss < l->at + LANDING_PATCH)
            return vf_bad(v, NULL, "landing %u overwrites its own miss", i);
        for (u32 k = 1; k < LANDING_PATCH; k++) {
            const struct hi *h = v->at[l->at + k] ? &v->hi[v->at[l->at + k] - 1] : NULL;
            if (h && (h->entry || h->label))
                return vf_bad(v, h, "landing %u is entered in its middle", i);
        }
    }
    return true;
}

bool verify_fragment(struct verifier *v, const struct verify_in *in, u32 *at)
{
    bool good;

    v->in = in;
    v->why[0] = 0;
    v->bad_at = v->n_labels = 0;
    if (!in->len || in->len > UNIT_MAX_CODE)
        good = vf_bad(v, NULL, "length");
    else
        good = vf_decode(v) && check_tables(v);
    v->changed = true;
    for (u32 n = 0; good && v->changed; n++) {
        v->changed = false;
        good =
            n < MAX_PASSES ? pass(v) && (v->changed || check_landings(v)) : vf_bad(v, NULL, "no fixed point");
    }
    *at = v->bad_at;
    if (good)
        v->why[0] = 0;
    return good;
}

/* There are but three kinds of checked entry, without choices: no need to understand what one does. */
bool verify_entry(const u8 *code, u32 len, u32 check, u32 eip, u32 lin, u32 expected)
{
    struct {
        u8 bytes[ENTRY_MAX];
        u32 n;
    } want = {.n = 0};
    u32 entry = (lin >> PAGE_SHIFT) * 4 - (u32)SPACE_XT_OFF;
    bool of = len && code[0] == 0x41;

#define WANT(...)                                                                                            \
    do {                                                                                                     \
        const u8 part[] = {__VA_ARGS__};                                                                     \
        memcpy(want.bytes + want.n, part, sizeof(part));                                                     \
        want.n += (u32)sizeof(part);                                                                         \
    } while (0)
#define LE32(x) (u8)(x), (u8)((x) >> 8), (u8)((x) >> 16), (u8)((x) >> 24)
    if (!of)
        WANT(0x49, 0x8b, 0xcb);  /* mov rcx, r11 */
    WANT(0x41, 0xb8, LE32(eip)); /* mov r8d; jmp [r15] */
    if (of)
        WANT(0x41, 0xff, 0x67, (u8)BT_OFF(BT_THUNK0 + TH_FAR));
    else
        WANT(0x41, 0xff, 0xa7, LE32((u32)BT_OFF(BT_THUNK0 + TH_IBRANCH)));
    if (check != want.n)
        return false;
    if (of) {
        WANT(0x45, 0x8b, 0x9e, LE32(entry));               /* mov r11d, [r14] */
        WANT(0x47, 0x8d, 0x9c, 0x1b, LE32(-2 * expected)); /* lea r11d, [r11 + r11 - 2 * expected] */
        _Static_assert(VO_MINUS_TWO == 0, "no displacement");
        WANT(0xf3, 0x45, 0x0f, 0x38, 0xf6, 0x1f); /* adox r11d, [r15]: -2 */
        WANT(0x70, (u8)(0 - (want.n + 2)));       /* jo miss */
        if (len > want.n)
            WANT(0xf3, 0x45, 0x0f, 0x38, 0xf6, 0x5f, (u8)VO_ONE); /* adox r11d, [r15]: OF as it was */
    } else {
        WANT(0x4c, 0x8b, 0xd9, 0x41, 0x8b, 0x8e, LE32(entry)); /* mov r11, rcx; mov ecx, [r14] */
        WANT(0x8d, 0x89, LE32(0 - expected), 0xe3, 2);         /* lea ecx, [rcx - expected]; jrcxz */
        WANT(0xeb, (u8)(0 - (want.n + 2)), 0x49, 0x8b, 0xcb);  /* jmp miss; mov rcx, r11 */
    }
#undef WANT
#undef LE32
    return len == want.n && !memcmp(code, want.bytes, len);
}

void verify_print(struct verifier *v, const struct verify_in *in, u32 mark)
{
    const u8 *p = in->code;
    size_t left = in->len;
    u64 addr = 0;

    while (left && cs_disasm_iter(v->cs, &p, &left, &addr, v->insn)) {
        u32 off = (u32)v->insn->address;
        for (u32 k = 0; k < in->n_insns; k++)
            if (in->pcmap[k].host == off)
                fprintf(stderr, "  %08x:\n", in->eip + in->pcmap[k].guest);
        fprintf(stderr, "%s %05x  %s %s\n", off == mark ? ">>" : "  ", off, v->insn->mnemonic,
                v->insn->op_str);
    }
}
