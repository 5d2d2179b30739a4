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
#include "tcache/verify.h"

#include <capstone/capstone.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "shadowpt/shadowpt.h"

/* ---- abstract values ---- */

enum kind {
    K_ANY,    /* anything */
    K_U32,    /* upper half zero, at most max */
    K_CONST,  /* exactly aux */
    K_PAGE,   /* value ref >> 12 */
    K_LOW16,  /* value ref & ffff */
    K_IDX,    /* 2 * (value ref & ffff) */
    K_PLUS,   /* (u32)(value ref + aux) */
    K_CROSS,  /* that, xor value ref: upper bits set iff [ref, ref + aux] crosses a page */
    K_XT,     /* exec-table entry of page aux */
    K_XTD,    /* that minus the constant at offset aux */
    K_RENT,   /* read-table entry for value ref */
    K_WENT,   /* write-table entry for value ref */
    K_HOST_R, /* host address of the byte at linear address ref, readable */
    K_HOST_W, /* writable */
    K_IBTC,   /* the branch cache */
    K_IBENT,  /* its entry for value ref */
    K_SUM,    /* sum of the parts in `parts`: tag of entry aux, value ref, salt */
    K_COUNT,  /* counter slot aux plus something */
    K_CODE,   /* address of the fragment's byte aux */
};
#define PART_TAG  1
#define PART_EIP  2
#define PART_SALT 4

struct val {
    u8 kind;
    u8 nonzero; /* entries: known */
    u8 parts;
    u8 within; /* an access of so many bytes at this linear address stays within its page (0: not known, 1
                  byte does) */
    u32 max;
    u32 id; /* 0: none */
    u32 ref;
    u64 aux;
};

enum fkind {
    F_NONE,
    F_ZERO /* ZF = value id is 0 */,
    F_ALIGNED /* ZF => within */,
    F_SUM /* ZF => the tag matches */
};

struct state {
    struct val r[16];
    struct val tmp; /* v->bt[BT_TMP] */
    u8 flag;
    u8 flag_n;
    bool live;
    u32 flag_id, flag_ref;
    u32 ib_ok, ib_ref; /* branch-cache entry (id) whose tag has matched, for which target value */
    u32 xt_ok;         /* offset of the constant that the exec table was compared with */
    u64 xt_page;
};

enum {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    NOREG_ = 16,
    REG_RIP,
    REG_BAD,
    REG_FP
};

struct opnd {
    u8 type; /* X86_OP_* */
    u8 reg, width;
    u8 size;
};

struct hi { /* one host instruction */
    u32 off;
    u8 len;
    u8 op, op2; /* opcode; op = 0F: second byte in op2 */
    u8 modrm;
    bool w, o66, a67, f2, f3, gs, has_mem;
    u8 base, index, scale, memsize, n;
    i64 disp, imm;
    struct opnd o[3];
    u8 entry; /* execution may begin here with nothing known (1), or with an address in r8 (2: behind a call)
               */
    bool label; /* jumped to from within */
    i32 state;  /* index of the label's incoming state */
};

#define MAX_HI     UNIT_MAX_CODE
#define MAX_LABELS 4096
#define MAX_PASSES 16

struct verifier {
    csh cs;
    cs_insn *insn;
    struct hi *hi;
    u32 n;
    u16 *at; /* 1 + instruction number by offset */
    struct state *labels;
    u32 n_labels;
    bool changed;
    const struct verify_in *in;
    u32 bad_at;
    char why[160];
};

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

static bool __attribute__((format(printf, 3, 4)))
bad(struct verifier *v, const struct hi *h, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(v->why, sizeof(v->why), fmt, ap);
    va_end(ap);
    v->bad_at = h ? h->off : 0;
    return false;
}

/* ---- decoding ---- */

static u8 reg_number(u32 r, u8 *width)
{
    static const u16 r64[16] = {X86_REG_RAX, X86_REG_RCX, X86_REG_RDX, X86_REG_RBX, X86_REG_RSP, X86_REG_RBP,
                                X86_REG_RSI, X86_REG_RDI, X86_REG_R8,  X86_REG_R9,  X86_REG_R10, X86_REG_R11,
                                X86_REG_R12, X86_REG_R13, X86_REG_R14, X86_REG_R15};
    static const u16 r32[16] = {X86_REG_EAX,  X86_REG_ECX,  X86_REG_EDX,  X86_REG_EBX,
                                X86_REG_ESP,  X86_REG_EBP,  X86_REG_ESI,  X86_REG_EDI,
                                X86_REG_R8D,  X86_REG_R9D,  X86_REG_R10D, X86_REG_R11D,
                                X86_REG_R12D, X86_REG_R13D, X86_REG_R14D, X86_REG_R15D};
    static const u16 r16[16] = {X86_REG_AX,   X86_REG_CX,   X86_REG_DX,   X86_REG_BX,
                                X86_REG_SP,   X86_REG_BP,   X86_REG_SI,   X86_REG_DI,
                                X86_REG_R8W,  X86_REG_R9W,  X86_REG_R10W, X86_REG_R11W,
                                X86_REG_R12W, X86_REG_R13W, X86_REG_R14W, X86_REG_R15W};
    static const u16 r8[16] = {X86_REG_AL,   X86_REG_CL,   X86_REG_DL,   X86_REG_BL,
                               X86_REG_SPL,  X86_REG_BPL,  X86_REG_SIL,  X86_REG_DIL,
                               X86_REG_R8B,  X86_REG_R9B,  X86_REG_R10B, X86_REG_R11B,
                               X86_REG_R12B, X86_REG_R13B, X86_REG_R14B, X86_REG_R15B};
    static const u16 high[4] = {X86_REG_AH, X86_REG_CH, X86_REG_DH, X86_REG_BH};

    *width = 0;
    if (r == X86_REG_INVALID)
        return NOREG_;
    if (r == X86_REG_RIP)
        return REG_RIP;
    if ((r >= X86_REG_ST0 && r <= X86_REG_ST7) || (r >= X86_REG_MM0 && r <= X86_REG_MM7) ||
        (r >= X86_REG_XMM0 && r <= X86_REG_XMM7) || (r >= X86_REG_FP0 && r <= X86_REG_FP7))
        return REG_FP;
    for (u8 i = 0; i < 16; i++) {
        if (r == r64[i])
            return *width = 8, i;
        if (r == r32[i])
            return *width = 4, i;
        if (r == r16[i])
            return *width = 2, i;
        if (r == r8[i])
            return *width = 1, i;
        if (i < 4 && r == high[i])
            return *width = 1, i;
    }
    return REG_BAD;
}

/* Prefixes and opcode from the bytes themselves. */
static bool parse_bytes(struct verifier *v, struct hi *h, const u8 *p, u32 len)
{
    u32 i = 0;
    for (; i < len; i++) {
        if (p[i] == 0x66 && !h->o66)
            h->o66 = true;
        else if (p[i] == 0x67 && !h->a67)
            h->a67 = true;
        else if (p[i] == 0xf2 && !h->f2 && !h->f3)
            h->f2 = true;
        else if (p[i] == 0xf3 && !h->f2 && !h->f3)
            h->f3 = true;
        else if (p[i] == 0x65 && !h->gs)
            h->gs = true;
        else
            break;
    }
    if (i < len && (p[i] & 0xf0) == 0x40)
        h->w = p[i++] & 8;
    if (i >= len)
        return bad(v, h, "prefixes without an instruction");
    h->op = p[i++];
    if (h->op == 0x0f) {
        if (i >= len)
            return bad(v, h, "opcode map without an opcode");
        h->op2 = p[i++];
    }
    return true;
}

static bool convert(struct verifier *v, struct hi *h, const cs_insn *c)
{
    const cs_x86 *x = &c->detail->x86;

    if (!parse_bytes(v, h, c->bytes, c->size))
        return false;
    if (x->opcode[0] != h->op || (h->op == 0x0f && x->opcode[1] != h->op2))
        return bad(v, h, "two decoders disagree on the opcode of '%s'", c->mnemonic);
    h->modrm = x->modrm;
    h->base = h->index = NOREG_;
    if (x->op_count > 3)
        return bad(v, h, "%d operands: '%s'", x->op_count, c->mnemonic);
    h->n = x->op_count;
    for (u32 k = 0; k < h->n; k++) {
        const cs_x86_op *o = &x->operands[k];
        struct opnd *d = &h->o[k];
        d->type = (u8)o->type;
        d->size = o->size;
        d->reg = NOREG_;
        if (o->type == X86_OP_REG) {
            d->reg = reg_number(o->reg, &d->width);
            if (d->reg == REG_BAD || d->reg == REG_RIP)
                return bad(v, h, "register operand of '%s %s'", c->mnemonic, c->op_str);
        } else if (o->type == X86_OP_IMM) {
            h->imm = o->imm;
        } else if (o->type == X86_OP_MEM) {
            u8 width;
            h->has_mem = true;
            h->memsize = o->size;
            h->base = reg_number(o->mem.base, &width);
            h->index = reg_number(o->mem.index, &width);
            if (o->mem.index == X86_REG_RIZ || o->mem.index == X86_REG_EIZ)
                h->index = NOREG_;
            h->scale = (u8)o->mem.scale;
            h->disp = o->mem.disp;
            if ((o->mem.base == X86_REG_EIP) || h->base == REG_BAD || h->index == REG_BAD ||
                h->index == REG_RIP)
                return bad(v, h, "address of '%s %s'", c->mnemonic, c->op_str);
        }
    }
    return true;
}

static bool decode(struct verifier *v)
{
    const struct verify_in *in = v->in;
    const u8 *p = in->code;
    size_t left = in->len;
    u64 addr = 0;

    v->n = 0;
    memset(v->at, 0, (in->len + 1) * sizeof(*v->at));
    while (left) {
        struct hi *h = &v->hi[v->n];
        *h = (struct hi){.off = (u32)addr, .state = -1};
        if (!cs_disasm_iter(v->cs, &p, &left, &addr, v->insn))
            return bad(v, h, "not an instruction");
        h->len = (u8)v->insn->size;
        if (!convert(v, h, v->insn))
            return false;
        v->at[h->off] = (u16)++v->n;
    }
    return true;
}

/* ---- values ---- */

static bool is_u32(const struct val *a)
{
    switch (a->kind) {
    case K_U32:
    case K_PAGE:
    case K_LOW16:
    case K_IDX:
    case K_PLUS:
    case K_CROSS:
    case K_XT:
    case K_XTD:
        return true;
    case K_CONST:
        return a->aux <= 0xffffffff;
    default:
        return false;
    }
}

/* Number for what instruction h computes into slot 0..31. */
static u32 number(const struct verifier *v, const struct hi *h, u32 slot)
{
    return ((u32)(h - v->hi) + 1) * 32 + slot;
}

/* The instruction numbers its result anew: whoever still holds the number from an earlier pass knows nothing
 * any more. */
static void forget_number(struct state *s, u32 id)
{
    for (u32 i = 0; i <= 16; i++) {
        struct val *a = i < 16 ? &s->r[i] : &s->tmp;
        if (a->id == id)
            a->id = 0, a->within = 0;
        if (a->ref == id)
            *a = is_u32(a) ? (struct val){.kind = K_U32, .max = ~0u} : (struct val){.kind = K_ANY};
        if (a->kind == K_SUM && a->aux == id)
            *a = (struct val){.kind = K_ANY};
    }
    if (s->flag_id == id || s->flag_ref == id)
        s->flag = F_NONE;
    if (s->ib_ok == id || s->ib_ref == id)
        s->ib_ok = 0;
}

static struct val fresh(struct verifier *v, struct state *s, const struct hi *h, u32 slot, enum kind k)
{
    u32 id = number(v, h, slot);
    forget_number(s, id);
    return (struct val){.kind = (u8)k, .id = id, .max = ~0u};
}

static bool guest_reg(u32 r)
{
    return r != RSP && (r < R8 || r == R12);
}

static void canonical(struct verifier *v, struct state *s, const struct hi *h)
{
    *s = (struct state){.live = true};
    for (u32 i = 0; i < 16; i++)
        if (guest_reg(i))
            s->r[i] = (struct val){.kind = K_U32, .id = number(v, h, 16 + (i & 15)), .max = ~0u};
    if (h->entry == 2)
        s->r[R8] = (struct val){.kind = K_U32, .id = number(v, h, 16 + R8), .max = ~0u};
}

/* Execution may begin at offset `to`. */
static bool add_entry(struct verifier *v, const struct hi *h, i64 to, u8 kind)
{
    if (to < 0 || to >= v->in->len || !v->at[to])
        return bad(v, h, "address of something that is not an instruction of the fragment");
    struct hi *t = &v->hi[v->at[to] - 1];
    if (!t->entry || t->entry > kind) { /* judged so from the next pass on */
        t->entry = kind;
        v->changed = true;
    }
    return true;
}

/* Does the state keep the contract at an instruction boundary? */
static bool keeps_contract(struct verifier *v, const struct hi *h, const struct state *s)
{
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    for (u32 i = 0; i < 16; i++)
        if (guest_reg(i) && !is_u32(&s->r[i]))
            return bad(v, h, "the upper half of %s may not be zero here", names[i]);
    return true;
}

/* May execution with state s go on at the entry point t? */
static bool enters(struct verifier *v, const struct hi *h, const struct hi *t, const struct state *s)
{
    if (t->entry == 2 && !is_u32(&s->r[R8]))
        return bad(v, h, "r8 is not an address at a return point");
    return keeps_contract(v, h, s);
}

static bool val_equal(const struct val *a, const struct val *b)
{
    return a->kind == b->kind && a->nonzero == b->nonzero && a->parts == b->parts && a->within == b->within &&
           a->max == b->max && a->id == b->id && a->ref == b->ref && a->aux == b->aux;
}

static struct val val_join(const struct val *a, const struct val *b, u32 id)
{
    struct val r = *a;
    if (val_equal(a, b))
        return r;
    if (a->kind == b->kind && a->id == b->id && a->ref == b->ref && a->aux == b->aux &&
        a->parts == b->parts) {
        r.nonzero &= b->nonzero;
        r.within = a->within < b->within ? a->within : b->within;
        r.max = a->max > b->max ? a->max : b->max;
        return r;
    }
    if (is_u32(a) && is_u32(b)) {
        r = (struct val){.kind = K_U32, .max = ~0u, .id = id};
        if (a->id && a->id == b->id)
            r.id = a->id;
        return r;
    }
    return (struct val){.kind = K_ANY};
}

/* ---- control flow ---- */

/* State s reaches the instruction at offset `to`. */
static bool flow_to(struct verifier *v, const struct hi *h, i64 to, const struct state *s)
{
    if (to < 0 || to >= v->in->len || !v->at[to])
        return bad(v, h, "jump to %lld, which is not an instruction of the fragment", (long long)to);
    struct hi *t = &v->hi[v->at[to] - 1];
    if (t->entry)
        return enters(v, h, t, s);
    if (t->state < 0) {
        if (v->n_labels == MAX_LABELS)
            return bad(v, h, "too many labels");
        t->state = (i32)v->n_labels++;
        t->label = true;
        v->labels[t->state] = *s;
        v->changed = true;
        return true;
    }
    struct state *old = &v->labels[t->state];
    struct state j = *old;
    for (u32 i = 0; i < 16; i++)
        j.r[i] = val_join(&old->r[i], &s->r[i], number(v, t, 16 + i));
    j.tmp = val_join(&old->tmp, &s->tmp, 0);
    if (j.flag != s->flag || j.flag_n != s->flag_n || j.flag_id != s->flag_id || j.flag_ref != s->flag_ref) {
        j.flag = F_NONE;
        j.flag_n = 0;
        j.flag_id = j.flag_ref = 0;
    }
    if (j.ib_ok != s->ib_ok || j.ib_ref != s->ib_ref)
        j.ib_ok = j.ib_ref = 0;
    if (j.xt_ok != s->xt_ok || j.xt_page != s->xt_page)
        j.xt_ok = 0, j.xt_page = 0;
    bool same = j.flag == old->flag && j.flag_id == old->flag_id && j.ib_ok == old->ib_ok &&
                j.xt_ok == old->xt_ok && val_equal(&j.tmp, &old->tmp);
    for (u32 i = 0; same && i < 16; i++)
        same = val_equal(&j.r[i], &old->r[i]);
    if (!same) {
        *old = j;
        v->changed = true;
    }
    return true;
}

static const struct unit_link *link_at(const struct verifier *v, const struct hi *h)
{
    for (u32 i = 0; i < v->in->n_links; i++)
        if (v->in->links[i].patch == h->off + h->len - 4u)
            return &v->in->links[i];
    return NULL;
}

static u32 link_page(const struct verifier *v, u32 eip)
{
    return (eip + v->in->cs_base) >> PAGE_SHIFT;
}

/* An exit that may be patched to lead to another fragment's start. */
static bool check_link(struct verifier *v, const struct hi *h, const struct unit_link *l,
                       const struct state *s)
{
    if (!keeps_contract(v, h, s))
        return false;
    if (l->expect) {
        if (s->xt_ok != l->expect || s->xt_page != link_page(v, l->target))
            return bad(v, h, "a chain to another page without a check of that page");
    } else if (v->in->crosses || link_page(v, l->target) != link_page(v, v->in->eip)) {
        return bad(v, h, "an unchecked chain to another page");
    }
    return true;
}

/* What a branch outcome says about values. zf: the outcome. */
static void refine(struct state *s, bool zf)
{
    for (u32 i = 0; i <= 16; i++) {
        struct val *a = i < 16 ? &s->r[i] : &s->tmp;
        if (s->flag == F_ZERO && !zf && a->id && a->id == s->flag_id)
            a->nonzero = 1;
        if (s->flag == F_ALIGNED && zf && a->id && a->id == s->flag_ref && a->within < s->flag_n)
            a->within = s->flag_n;
    }
    if (s->flag == F_SUM && zf) {
        s->ib_ok = s->flag_id;
        s->ib_ref = s->flag_ref;
    }
}

static bool jump(struct verifier *v, const struct hi *h, struct state *s)
{
    const struct unit_link *l = link_at(v, h);
    bool rel32 = h->op == 0xe9 || h->op == 0xe8 || (h->op == 0x0f && (h->op2 & 0xf0) == 0x80);
    bool cond = h->op != 0xe9 && h->op != 0xeb && h->op != 0xe8, rcx = h->op == 0xe3;
    int cc = rcx ? -1 : (h->op == 0x0f ? h->op2 : h->op) & 15;
    struct state t = *s;

    if (h->a67 || h->o66 || h->f2 || h->f3 || h->gs)
        return bad(v, h, "prefix on a jump");
    if (cond && !rcx && (cc == 4 || cc == 5)) {
        refine(&t, cc == 4);
        refine(s, cc == 5);
    }
    if (rcx) {
        const struct val *c = &s->r[RCX];
        if (c->kind == K_SUM && c->parts == (PART_TAG | PART_EIP | PART_SALT)) {
            t.ib_ok = (u32)c->aux;
            t.ib_ref = c->ref;
        } else if (c->kind == K_XTD) {
            t.xt_ok = (u32)c->aux;
            t.xt_page = c->ref;
        }
    }
    if (l) {
        if (!rel32)
            return bad(v, h, "a chainable jump with a short displacement");
        if (!check_link(v, h, l, &t))
            return false;
        if (h->imm != l->stub)
            return bad(v, h, "a chainable jump does not lead to its stub");
    }
    if (h->op == 0xe8 && !add_entry(v, h, h->off + h->len, 2))
        return false;
    if (!flow_to(v, h, h->imm, &t))
        return false;
    s->live = cond;
    return true;
}

/* Back to a return point, or to th_underflow: whatever a call pushed. */
static bool host_return(struct verifier *v, const struct hi *h, struct state *s)
{
    if (h->a67 || h->o66 || h->f2 || h->f3 || h->gs || h->w)
        return bad(v, h, "prefix on ret");
    s->live = false;
    if (!is_u32(&s->r[R8]))
        return bad(v, h, "r8 is not an address at ret");
    return keeps_contract(v, h, s);
}

static bool code_arg(struct verifier *v, const struct hi *h, const struct state *s, u32 r, bool may_be_zero)
{
    const struct val *a = &s->r[r];
    if (a->kind == K_CODE || (may_be_zero && a->kind == K_CONST && a->aux == 0))
        return true;
    return bad(v, h, "r%u is not an address in the fragment", r);
}

static bool eip_arg(struct verifier *v, const struct hi *h, const struct state *s)
{
    const struct val *a = &s->r[R9];
    u32 mask = v->in->mode & MODE_CS32 ? ~0u : 0xffff;
    if (a->kind == K_CONST && a->aux <= 0xffffffff && (((u32)a->aux - v->in->eip) & mask) <= v->in->guest_len)
        return true;
    return bad(v, h, "r9 is not the address of an instruction of the unit");
}

/* jmp [r15 + thunk]: what the C side relies on. */
static bool leave(struct verifier *v, const struct hi *h, const struct state *s, i64 disp)
{
    i64 n = (disp - BT_OFF(BT_THUNK0)) / 8;
    if (disp < BT_OFF(BT_THUNK0) || disp % 8 != BT_OFF(BT_THUNK0) % 8 || n >= TH_COUNT_)
        return bad(v, h, "jump through a slot that holds no thunk");
    if (!keeps_contract(v, h, s))
        return false;
    switch (n) {
    case TH_READ_MISS:
    case TH_WRITE_MISS:
        if (!is_u32(&s->r[R8]))
            return bad(v, h, "r8 is not a linear address");
        return eip_arg(v, h, s) && code_arg(v, h, s, R10, true) && code_arg(v, h, s, R11, false);
    case TH_SLOW:
        return eip_arg(v, h, s) && code_arg(v, h, s, R10, true);
    case TH_EXEC:
        for (u32 i = 0; i < v->in->n_kept; i++)
            if (s->r[R8].kind == K_CONST && s->r[R8].aux == (u64)(uintptr_t)v->in->kept[i])
                return eip_arg(v, h, s) && code_arg(v, h, s, R10, true);
        return bad(v, h, "r8 is not an instruction that was kept for this unit");
    case TH_LOOKUP:
    case TH_IBRANCH:
        return is_u32(&s->r[R8]) || bad(v, h, "r8 is not an address");
    case TH_LINK:
        if (!is_u32(&s->r[R8]) || s->r[R9].kind != K_CONST ||
            s->r[R9].aux - v->in->first_link >= v->in->n_links)
            return bad(v, h, "r9 is not the number of a link of this unit");
        if (s->r[R8].kind != K_CONST || s->r[R8].aux != v->in->links[s->r[R9].aux - v->in->first_link].target)
            return bad(v, h, "r8 is not the target of the link in r9");
        return true;
    case TH_INTR:
        return eip_arg(v, h, s);
    default:
        return bad(v, h, "thunk %lld is unknown to the verifier", (long long)n);
    }
}

/* ---- memory ---- */

#define RD 1
#define WR 2

/* Fields of struct vcpu that translated code may touch. */
static const struct {
    u16 off, end;
    u8 size, rights; /* size: the only size, 0: 4 or 8 */
} fields[] = {
    {VO_AFLAGS + 4, VO_AFLAGS + 8, 4, RD}, /* sflags */
    {VO_IFLAG, VO_IFLAG + 1, 1, RD | WR},
    {VO_INTR, VO_INTR + 4, 4, RD},
    {BT_OFF(BT_IBTC), BT_OFF(BT_IBTC) + 8, 8, RD},
    {BT_OFF(BT_SALT), BT_OFF(BT_SALT) + 8, 8, RD},
    {BT_OFF(BT_SPREAD), BT_OFF(BT_SPREAD) + 4, 4, RD},
    {BT_OFF(BT_TMP), BT_OFF(BT_TMP) + 8, 0, RD | WR},
    {BT_OFF(BT_COUNT), BT_OFF(BT_COUNT) + 8, 8, RD | WR},
    {BT_OFF(BT_LEFT), BT_OFF(BT_LEFT) + 8, 8, RD | WR},
};

static bool field_ok(i64 off, u32 size, int rights)
{
    for (u32 i = 0; i < ARRAY_SIZE(fields); i++)
        if (off >= fields[i].off && off + size <= fields[i].end && !(rights & ~fields[i].rights) &&
            (fields[i].size ? size == fields[i].size : size == 4 || size == 8) &&
            (off - fields[i].off) % size == 0)
            return true;
    if (rights == RD && off >= VO_SEG && off < VO_SEG + S_COUNT * VO_SEG_SIZE) {
        i64 f = (off - VO_SEG) % VO_SEG_SIZE;
        return (f == 0 && size == 2) || (f == VO_SEG_FAST && size == 1) ||
               ((f == VO_SEG_BASE || f == VO_SEG_LIMIT) && size == 4);
    }
    return false;
}

static bool entry_for(const struct val *e, const struct val *lin, u32 size, int rights)
{
    return (e->kind == K_WENT || (e->kind == K_RENT && rights == RD)) && e->nonzero && lin->id &&
           e->ref == lin->id && is_u32(lin) && (size == 1 || size <= lin->within);
}

/* Checks the memory operand. `load`, if not NULL, gets the value that a plain mov of `size` bytes would read.
 */
static bool memory(struct verifier *v, const struct hi *h, struct state *s, u32 size, int rights,
                   struct val *load)
{
    if (load)
        *load = (struct val){.kind = K_ANY};
    if (!size || size > 16)
        return bad(v, h, "memory operand of %u bytes", size);
    if (h->gs || h->a67) {
        if (!h->gs || !h->a67)
            return bad(v, h, "gs without 32-bit addressing, or the reverse");
        if (!(v->in->mode & MODE_WIN))
            return bad(v, h, "a window access outside window mode");
        if (h->base == REG_RIP || h->base == RSP || h->base == R14 || h->base == R15 || h->index == R14 ||
            h->index == R15)
            return bad(v, h, "register of a window access");
        return true;
    }
    if (h->base == R15) {
        if (h->index != NOREG_ || !field_ok(h->disp, size, rights))
            return bad(v, h, "field %lld of the vcpu, %u bytes, rights %d", (long long)h->disp, size, rights);
        if (load && h->disp == BT_OFF(BT_TMP))
            *load = size == 8 ? s->tmp : is_u32(&s->tmp) ? s->tmp : (struct val){.kind = K_U32, .max = ~0u};
        if (load && h->disp == BT_OFF(BT_IBTC))
            load->kind = K_IBTC;
        if (load && h->disp == BT_OFF(BT_SALT))
            *load = (struct val){.kind = K_SUM, .parts = PART_SALT};
        if (load && (h->disp == BT_OFF(BT_COUNT) || h->disp == BT_OFF(BT_LEFT)))
            *load = (struct val){.kind = K_COUNT, .aux = (u64)h->disp};
        return true;
    }
    if (h->base == R14) {
        const struct val *i = h->index < 16 ? &s->r[h->index] : NULL;
        if (rights != RD)
            return bad(v, h, "a write to the tables");
        if (!i && h->disp >= -(i64)SPACE_XT_OFF && h->disp < -(i64)SPACE_XT_OFF + 0x400000 &&
            h->disp % 4 == 0 && size == 4) {
            if (load)
                *load = (struct val){.kind = K_XT, .aux = (u64)(h->disp + (i64)SPACE_XT_OFF) / 4};
            return true;
        }
        if (i && i->kind == K_PAGE && h->scale == 8 && size == 8 &&
            (h->disp == -(i64)SPACE_RT_OFF || h->disp == -(i64)SPACE_WT_OFF)) {
            if (load)
                *load = (struct val){.kind = h->disp == -(i64)SPACE_RT_OFF ? K_RENT : K_WENT, .ref = i->ref};
            return true;
        }
        return bad(v, h, "a table access that is none");
    }
    if (h->base >= 16)
        return bad(v, h, "an address without a base");
    const struct val *b = &s->r[h->base], *x = h->index < 16 ? &s->r[h->index] : NULL;
    if (b->kind == K_IBENT && !x && h->disp == 0 && size == 8 && rights == RD) {
        if (load)
            *load = (struct val){.kind = K_SUM, .parts = PART_TAG, .aux = b->id};
        return true;
    }
    if (x && h->scale == 1 && h->disp == 0 &&
        (entry_for(x, b, size, rights) || entry_for(b, x, size, rights)))
        return true;
    return bad(
        v, h,
        "memory access of %u bytes through registers that do not form a checked guest address (rights %d)",
        size, rights);
}

/* ---- instructions ---- */

static bool writable_reg(u32 r)
{
    return r < 16 && r != RSP && r != R14 && r != R15;
}

/* A register written by something that is not followed further. */
static void clobber(struct verifier *v, struct state *s, const struct hi *h, u32 r, u32 width, u32 slot)
{
    bool narrow = width == 4 || (width < 4 && is_u32(&s->r[r]));
    s->r[r] = fresh(v, s, h, slot, narrow ? K_U32 : K_ANY);
}

static bool set(struct verifier *v, struct state *s, const struct hi *h, u32 r, u32 width, struct val val)
{
    if (!writable_reg(r))
        return bad(v, h, "write to a reserved register");
    if (width < 4) {
        clobber(v, s, h, r, width, 0);
        return true;
    }
    if (width == 4 && !is_u32(&val))
        val = (struct val){.kind = K_U32, .max = ~0u};
    if (!val.id) {
        u32 id = number(v, h, 0);
        forget_number(s, id);
        val.id = id;
    }
    s->r[r] = val;
    return true;
}

static bool readable(struct verifier *v, const struct hi *h, u32 r)
{
    return r < 16 && r != RSP && r != R14 && r != R15 ? true : bad(v, h, "use of a reserved register");
}

/* A sum of two 64-bit values, for the branch-cache's tag. */
static struct val sum(const struct val *a, const struct val *b)
{
    const struct val *in[2] = {a, b};
    struct val r = {.kind = K_SUM};
    for (int i = 0; i < 2; i++) {
        u8 parts = in[i]->kind == K_SUM ? in[i]->parts : is_u32(in[i]) && in[i]->id ? PART_EIP : 0;
        if (!parts || (r.parts & parts))
            return (struct val){.kind = K_ANY};
        r.parts |= parts;
        if (parts & PART_TAG)
            r.aux = in[i]->aux;
        if (parts & PART_EIP)
            r.ref = in[i]->kind == K_SUM ? in[i]->ref : in[i]->id;
    }
    return r;
}

static bool do_lea(struct verifier *v, const struct hi *h, struct state *s)
{
    const struct val *b = h->base < 16 ? &s->r[h->base] : NULL, *x = h->index < 16 ? &s->r[h->index] : NULL;
    struct val r = {.kind = K_ANY};
    u32 dst = h->o[0].reg, width = h->o[0].width;

    if (h->gs || h->a67 || h->f2 || h->f3 || width < 4)
        return bad(v, h, "form of lea");
    if (h->base == REG_RIP) {
        i64 to = h->off + h->len + h->disp;
        if (x || width != 8)
            return bad(v, h, "form of lea");
        if (!add_entry(v, h, to, 1))
            return false;
        return set(v, s, h, dst, 8, (struct val){.kind = K_CODE, .aux = (u64)to});
    }
    if ((h->base < 16 && !readable(v, h, h->base)) || (x && !readable(v, h, h->index)))
        return false;
    if (width == 8) {
        if (b && x && b->kind == K_IBTC && x->kind == K_IDX && h->scale == 8 && h->disp == 0)
            r = (struct val){.kind = K_IBENT, .ref = x->ref};
        else if (b && x && h->scale == 1 && h->disp == 0 && entry_for(x, b, 1, RD))
            r = (struct val){
                .kind = x->kind == K_WENT ? K_HOST_W : K_HOST_R, .ref = x->ref, .within = b->within};
        else if (b && x && h->scale == 1 && h->disp == 0)
            r = sum(b, x);
        else if (b && !x && b->kind == K_COUNT)
            r = *b, r.id = 0;
    } else {
        if (b && x && b->kind == K_LOW16 && x->kind == K_LOW16 && b->ref == x->ref && h->scale == 1 &&
            h->disp == 0)
            r = (struct val){.kind = K_IDX, .ref = b->ref};
        else if (b && !x && b->kind == K_XT)
            r = (struct val){.kind = K_XTD,
                             .aux = h->disp >= -128 && h->disp < 128 ? 0 : h->off + h->len - 4u,
                             .ref = (u32)b->aux};
        else if (b && !x && is_u32(b) && b->id && h->disp >= 0 && h->disp < 16)
            r = (struct val){.kind = K_PLUS, .ref = b->id, .aux = (u64)h->disp};
        /* disp32 form with a small constant: its place is known by the length */
        if (b && !x && b->kind == K_XT && h->len >= 6)
            r.aux = h->off + h->len - 4u;
    }
    r.max = ~0u;
    return set(v, s, h, dst, width, r);
}

static bool do_mov(struct verifier *v, const struct hi *h, struct state *s)
{
    struct val val = {.kind = K_ANY};
    u32 width = h->o[0].type == X86_OP_REG ? h->o[0].width : h->memsize;

    if (h->f2 || h->f3 || h->n != 2)
        return bad(v, h, "form of mov");
    if (h->o[1].type == X86_OP_REG) {
        if (!readable(v, h, h->o[1].reg))
            return false;
        val = s->r[h->o[1].reg];
    } else if (h->o[1].type == X86_OP_IMM) {
        u64 imm = (u64)h->imm;
        val = (struct val){.kind = K_CONST,
                           .aux = width == 8   ? imm
                                  : width == 4 ? (u32)imm
                                  : width == 2 ? (u16)imm
                                               : (u8)imm};
        val.max = val.aux > 0xffffffff ? ~0u : (u32)val.aux;
    } else if (!memory(v, h, s, width, RD, &val)) {
        return false;
    }
    if (h->o[0].type == X86_OP_REG) {
        val.max = val.max ? val.max : ~0u;
        return set(v, s, h, h->o[0].reg, width, val);
    }
    if (!memory(v, h, s, width, WR, NULL))
        return false;
    if (h->base == R15 && !h->gs) {
        if (h->disp == VO_IFLAG && !(val.kind == K_CONST && val.aux <= 1 && (v->in->mode & MODE_IOPL_OK)))
            return bad(v, h, "the interrupt flag set to something odd, or without the right to");
        if ((h->disp == BT_OFF(BT_COUNT) || h->disp == BT_OFF(BT_LEFT)) &&
            !(val.kind == K_COUNT && val.aux == (u64)h->disp))
            return bad(v, h, "a counter set to something else than itself");
        if (h->disp >= BT_OFF(BT_TMP) && h->disp < BT_OFF(BT_TMP) + 8)
            s->tmp = h->disp != BT_OFF(BT_TMP) ? (struct val){.kind = K_ANY}
                     : width == 8              ? val
                                  : (struct val){.kind = K_ANY}; /* the upper half stays what it was */
    }
    return true;
}

static bool sse_opcode(const struct hi *h)
{
    u8 o = h->op2;
    if ((o >= 0x10 && o <= 0x17) || (o >= 0x28 && o <= 0x2f) || (o >= 0x50 && o <= 0x77) || o == 0x7e ||
        o == 0x7f || o == 0xc2 || (o >= 0xc4 && o <= 0xc6))
        return true;
    return o >= 0xd1 && o <= 0xfe && o != 0xf0 &&
           o != 0xf7; /* D0, F0: SSE3; F7: maskmov, an address in rdi */
}

/* Bytes of the memory operand of an MMX or SSE instruction (SDM vol. 2); 0: there is no such form up to SSE2.
 * Capstone's sizes are not reliable here: it gives comisd sixteen. */
static u32 simd_size(const struct hi *h)
{
    u8 o = h->op2;
    bool none = !h->o66 && !h->f2 && !h->f3;
    u32 scalar = h->f3 ? 4 : h->f2 ? 8 : 16, mmx = none ? 8 : h->o66 && !h->f2 && !h->f3 ? 16 : 0;

    switch (o) {
    case 0x10:
    case 0x11:
    case 0x51:
    case 0x58:
    case 0x59:
    case 0x5c:
    case 0x5d:
    case 0x5e:
    case 0x5f:
    case 0xc2:
        return scalar;
    case 0x52:
    case 0x53:
        return none ? 16 : h->f3 ? 4 : 0;
    case 0x12:
    case 0x13:
    case 0x16:
    case 0x17:
        return h->f2 || h->f3 ? 0 : 8;
    case 0x14:
    case 0x15:
    case 0x28:
    case 0x29:
    case 0x2b:
    case 0x54:
    case 0x55:
    case 0x56:
    case 0x57:
    case 0xc6:
        return h->f2 || h->f3 ? 0 : 16;
    case 0x2a:
        return h->f2 || h->f3 ? 4 : 8;
    case 0x2c:
    case 0x2d:
        return h->f3 ? 4 : h->f2 || none ? 8 : 16;
    case 0x2e:
    case 0x2f:
        return h->f2 || h->f3 ? 0 : none ? 4 : 8;
    case 0x5a:
        return h->f3 ? 4 : h->f2 || none ? 8 : 16;
    case 0x5b:
        return h->f2 ? 0 : 16;
    case 0x60:
    case 0x61:
    case 0x62:
        return none ? 4 : mmx;
    case 0x6c:
    case 0x6d:
        return none ? 0 : mmx;
    case 0x6e:
        return h->f2 || h->f3 ? 0 : 4;
    case 0x6f:
    case 0x7f:
        return none ? 8 : h->f2 ? 0 : 16;
    case 0x70:
        return none ? 8 : 16;
    case 0x7e:
        return h->f3 ? 8 : h->f2 ? 0 : 4;
    case 0xc4:
        return h->f2 || h->f3 ? 0 : 2;
    case 0xd6:
        return h->o66 && !h->f2 && !h->f3 ? 8 : 0;
    case 0xe6:
        return none ? 0 : h->f3 ? 8 : 16;
    case 0x50:
    case 0x71:
    case 0x72:
    case 0x73:
    case 0x77:
    case 0x7c:
    case 0x7d:
    case 0xc5:
    case 0xd7:
    case 0xd0:
    case 0xf0:
    case 0xf7:
        return 0;
    }
    return mmx;
}

/* Direction of the ModRM memory operand; 0: the form is not allowed. *size gets its size where it is known
 * here. */
static int direction(const struct hi *h, u32 *size)
{
    u8 op = h->op, r = h->modrm >> 3 & 7;

    if (op == 0x0f) {
        u8 o = h->op2;
        if (sse_opcode(h) && !(*size = simd_size(h)))
            return 0;
        switch (o) {
        case 0xa3:
        case 0xaf:
        case 0xb6:
        case 0xb7:
        case 0xbc:
        case 0xbd:
        case 0xbe:
        case 0xbf:
            return RD;
        case 0xab:
        case 0xb3:
        case 0xbb:
        case 0xa4:
        case 0xa5:
        case 0xac:
        case 0xad:
        case 0xb0:
        case 0xb1:
        case 0xc0:
        case 0xc1:
            return RD | WR;
        case 0xba:
            return r == 4 ? RD : r > 4 ? RD | WR : 0;
        case 0xc7:
            *size = 8;
            return r == 1 ? RD | WR : 0;
        case 0xc3:
            *size = 4;
            return WR;
        case 0xae:
            *size = 4;
            return r == 3 ? WR : 0;
        case 0x11:
        case 0x13:
        case 0x17:
        case 0x29:
        case 0x2b:
        case 0x7f:
        case 0xd6:
        case 0xe7:
            return WR;
        case 0x7e:
            return h->f3 ? RD : WR;
        }
        if (o >= 0x40 && o <= 0x4f)
            return RD;
        if (o >= 0x90 && o <= 0x9f)
            return *size = 1, WR;
        return RD; /* other SSE and MMX */
    }
    if (op < 0x40)
        return op & 2 || (op & 0x38) == 0x38 ? RD : RD | WR;
    switch (op) {
    case 0x69:
    case 0x6b:
    case 0x84:
    case 0x85:
        return RD;
    case 0x80:
    case 0x81:
    case 0x83:
        return r == 7 ? RD : RD | WR;
    case 0x86:
    case 0x87:
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xfe:
    case 0xff:
        return RD | WR;
    case 0xf6:
    case 0xf7:
        return r == 2 || r == 3 ? RD | WR : RD;
    }
    /* x87: sizes by opcode and /r (SDM vol. 2, B.17); 0: environment images and reserved forms */
    static const i8 x87[8][8] = {
        {4, 4, 4, 4, 4, 4, 4, 4},      {4, 0, -4, -4, 0, 2, 0, -2},    {4, 4, 4, 4, 4, 4, 4, 4},
        {4, 0, -4, -4, 0, 10, 0, -10}, {8, 8, 8, 8, 8, 8, 8, 8},       {8, 0, -8, -8, 0, 0, 0, -2},
        {2, 2, 2, 2, 2, 2, 2, 2},      {2, 0, -2, -2, 10, 8, -10, -8},
    };
    if (op >= 0xd8 && op <= 0xdf) {
        int n = x87[op - 0xd8][r];
        *size = (u32)(n < 0 ? -n : n);
        return n ? n < 0 ? WR : RD : 0;
    }
    return 0;
}

/* Instructions that are not followed but known to touch nothing besides their operands and rax, rcx, rdx,
 * rbx, flags, FPU. */
static bool plain_opcode(const struct hi *h)
{
    u8 op = h->op, r = h->modrm >> 3 & 7;
    if (op == 0x0f) {
        u8 o = h->op2;
        if ((h->f2 || h->f3) && !(sse_opcode(h)))
            return false;
        if ((o >= 0x40 && o <= 0x4f) || (o >= 0x90 && o <= 0x9f) || (o >= 0xc8 && o <= 0xcf))
            return true;
        switch (o) {
        case 0xa3:
        case 0xab:
        case 0xb3:
        case 0xbb:
        case 0xa4:
        case 0xa5:
        case 0xac:
        case 0xad:
        case 0xaf:
        case 0xb0:
        case 0xb1:
        case 0xb6:
        case 0xb7:
        case 0xbe:
        case 0xbf:
        case 0xbc:
        case 0xbd:
        case 0xc0:
        case 0xc1:
            return true;
        case 0xba:
            return r >= 4;
        case 0xc3:
            return h->has_mem;
        case 0xc7:
            return r == 1 && h->has_mem;
        case 0xae: /* stmxcsr and fences; not rdfsbase and its kin, fxrstor, clflush */
            return h->has_mem ? r == 3 && !h->o66 : r >= 5 && !h->o66;
        }
        return sse_opcode(h);
    }
    if (h->f2 || h->f3)
        return false;
    if (op < 0x40)
        return (op & 7) < 6;
    if (op >= 0xd8 && op <= 0xdf)
        return true;
    switch (op) {
    case 0x69:
    case 0x6b:
    case 0x80:
    case 0x81:
    case 0x83:
    case 0x84:
    case 0x85:
    case 0x86:
    case 0x87:
    case 0x90:
    case 0x91:
    case 0x92:
    case 0x93:
    case 0x94:
    case 0x95:
    case 0x96:
    case 0x97:
    case 0x98:
    case 0x99:
    case 0x9b:
    case 0x9e:
    case 0x9f:
    case 0xa8:
    case 0xa9:
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xf5:
    case 0xf8:
    case 0xf9:
    case 0xfc:
    case 0xfd:
    case 0xf6:
    case 0xf7:
        return true;
    case 0xfe:
    case 0xff:
        return r < 2;
    }
    return false;
}

/* Forms whose first operand, if it is a 32-bit register, is always written and so zero-extended. */
static bool writes_first(const struct hi *h)
{
    u8 op = h->op;
    if (op == 0x0f)
        return h->op2 == 0xaf || h->op2 == 0xb6 || h->op2 == 0xb7 || h->op2 == 0xbe || h->op2 == 0xbf;
    return op < 0x40 || op == 0x69 || op == 0x6b || op == 0x80 || op == 0x81 || op == 0x83;
}

static bool do_plain(struct verifier *v, const struct hi *h, struct state *s)
{
    bool flags_only = h->op == 0x84 || h->op == 0x85 || h->op == 0xa8 || h->op == 0xa9 ||
                      (h->op < 0x40 && (h->op & 0x38) == 0x38) ||
                      ((h->op == 0x80 || h->op == 0x81 || h->op == 0x83) && (h->modrm >> 3 & 7) == 7);

    if (h->w)
        return bad(v, h, "a 64-bit operation that is not followed");
    if ((h->gs || h->a67) && !h->has_mem)
        return bad(v, h, "address prefixes without a memory operand");
    if (h->has_mem) {
        u32 size = h->memsize;
        int dir = direction(h, &size);
        if (!dir)
            return bad(v, h, "form not allowed with a memory operand");
        /* the bit offset in a register also moves the address (SDM vol. 2, BT) */
        if (h->op == 0x0f && (h->op2 == 0xa3 || h->op2 == 0xab || h->op2 == 0xb3 || h->op2 == 0xbb)) {
            const struct val *bit = h->o[1].reg < 16 ? &s->r[h->o[1].reg] : NULL;
            if (!bit || !is_u32(bit) || bit->max >= size * 8)
                return bad(v, h, "a bit offset that may leave the operand");
        }
        if (!memory(v, h, s, size, dir, NULL))
            return false;
        if ((dir & WR) && h->base == R15 && !h->gs)
            return bad(v, h, "a field of the vcpu changed by something else than mov");
    }
    s->flag = F_NONE;
    for (u32 k = 0; k < h->n; k++) {
        if (h->o[k].type != X86_OP_REG || h->o[k].reg == REG_FP)
            continue;
        if (!readable(v, h, h->o[k].reg))
            return false;
        /* written for certain, or perhaps only read: then a dirty upper half may stay */
        if (!flags_only) {
            bool whole = h->o[k].width == 4 && ((k == 0 && writes_first(h)) || is_u32(&s->r[h->o[k].reg]));
            clobber(v, s, h, h->o[k].reg, whole ? 4 : h->o[k].width == 4 ? 8 : h->o[k].width, 1 + k);
        }
    }
    if (!flags_only) /* what some of them do besides */
        for (u32 r = RAX; r <= RBX; r++)
            clobber(v, s, h, r, is_u32(&s->r[r]) ? 4 : 8, 8 + r);
    return true;
}

/* Integer operations that carry knowledge. False with v->why empty: not one of them. */
static bool do_known(struct verifier *v, const struct hi *h, struct state *s)
{
    const struct opnd *a = &h->o[0], *b = &h->o[1];
    u8 r = h->modrm >> 3 & 7;
    bool rr = h->n == 2 && a->type == X86_OP_REG && b->type == X86_OP_REG && a->reg < 16 && b->reg < 16;
    bool ri = h->n == 2 && a->type == X86_OP_REG && b->type == X86_OP_IMM && a->reg < 16;

    v->why[0] = 0;
    if (h->f2 || h->f3 || ((rr || ri) && (h->gs || h->a67)))
        return false;
    if ((rr && (!writable_reg(a->reg) || !writable_reg(b->reg))) || (ri && !writable_reg(a->reg)))
        return false;
    if (h->op == 0x85 && rr && h->w && a->reg == b->reg) { /* test r, r */
        s->flag = F_ZERO;
        s->flag_id = s->r[a->reg].id;
        s->flag_ref = 0;
        if (!s->flag_id)
            s->flag = F_NONE;
        return true;
    }
    if ((h->op == 0xf6 || h->op == 0xf7) && r < 2 && ri && !h->w) { /* test r, imm */
        const struct val *x = &s->r[a->reg];
        u32 imm = (u32)h->imm;
        s->flag = F_NONE;
        s->flag_id = 0;
        if (a->width == 1 && !(imm & (imm + 1)) && imm < 128 && x->id && is_u32(x) &&
            !(a->reg < 4 && h->len == 3)) {
            s->flag = F_ALIGNED;
            s->flag_ref = x->id;
            s->flag_n = (u8)(imm + 1);
        } else if (a->width == 4 && imm == 0xfffff000u && x->kind == K_CROSS) {
            s->flag = F_ALIGNED;
            s->flag_ref = x->ref;
            s->flag_n = (u8)(x->aux + 1);
        }
        return true;
    }
    if (h->op == 0xc1 && ri && a->width == 4 && r == 5) { /* shr */
        struct val *x = &s->r[a->reg], n = {.kind = K_U32, .max = ~0u >> (h->imm & 31)};
        if ((h->imm & 31) == 12 && is_u32(x) && x->id)
            n = (struct val){.kind = K_PAGE, .ref = x->id, .max = 0xfffff};
        s->flag = F_NONE;
        return set(v, s, h, a->reg, 4, n);
    }
    if ((h->op == 0x83 || h->op == 0x81) && ri && a->width == 4 && r == 4 && h->imm >= 0) { /* and */
        s->flag = F_NONE;
        return set(v, s, h, a->reg, 4, (struct val){.kind = K_U32, .max = (u32)h->imm});
    }
    if ((h->op == 0x33 || h->op == 0x31) && rr && a->width == 4) { /* xor */
        const struct val *x = &s->r[a->reg], *y = &s->r[b->reg];
        struct val n = {.kind = K_U32, .max = ~0u};
        if (x->kind == K_PLUS && y->id && x->ref == y->id)
            n = (struct val){.kind = K_CROSS, .ref = x->ref, .aux = x->aux, .max = ~0u};
        s->flag = F_NONE;
        return set(v, s, h, a->reg, 4, n);
    }
    if (h->op == 0x0f && h->op2 == 0xb7 && rr && b->width == 2 && a->width == 4 && s->r[b->reg].id &&
        is_u32(&s->r[b->reg]))
        return set(v, s, h, a->reg, 4, (struct val){.kind = K_LOW16, .ref = s->r[b->reg].id, .max = 0xffff});
    if ((h->op == 0x03 || h->op == 0x01) && h->w && rr) { /* add */
        s->flag = F_NONE;
        struct val n = sum(&s->r[a->reg], &s->r[b->reg]);
        if (!set(v, s, h, a->reg, 8, n))
            return false;
        goto tag;
    }
    if (h->op == 0x03 && h->w && h->n == 2 && b->type == X86_OP_MEM && a->reg < 16 && writable_reg(a->reg)) {
        struct val m;
        if (!memory(v, h, s, 8, RD, &m))
            return false;
        s->flag = F_NONE;
        if (!set(v, s, h, a->reg, 8, sum(&s->r[a->reg], &m)))
            return false;
        goto tag;
    }
    if ((h->op == 0x2b || h->op == 0x29) && h->w &&
        rr) { /* sub: back from a host address; checked when it is cut to 32 bits */
        s->flag = F_NONE;
        return set(v, s, h, a->reg, 8, (struct val){.kind = K_ANY});
    }
    return false;
tag:
    if (s->r[a->reg].kind == K_SUM && s->r[a->reg].parts == (PART_TAG | PART_EIP | PART_SALT)) {
        s->flag = F_SUM;
        s->flag_id = (u32)s->r[a->reg].aux;
        s->flag_ref = s->r[a->reg].ref;
    }
    return true;
}

static bool do_string(struct verifier *v, const struct hi *h, struct state *s)
{
    u32 n = h->op & 1 ? h->o66 ? 2 : 4 : 1;
    bool rd = h->op < 0xa6 || h->op >= 0xac, wr = h->op < 0xac;
    const struct val *src = &s->r[RSI], *dst = &s->r[RDI];

    if (h->w || h->f2 || h->f3 || h->gs || h->a67)
        return bad(v, h, "prefix on a string instruction");
    if (rd && !((src->kind == K_HOST_R || src->kind == K_HOST_W) && (n == 1 || src->within >= n)))
        return bad(v, h, "rsi is not a checked host address");
    if (wr && !(dst->kind == K_HOST_W && (n == 1 || dst->within >= n)))
        return bad(v, h, "rdi is not a checked host address");
    if (rd)
        s->r[RSI] = fresh(v, s, h, 0, K_ANY);
    if (wr)
        s->r[RDI] = fresh(v, s, h, 1, K_ANY);
    if (!wr) /* lods */
        clobber(v, s, h, RAX, n, 2);
    return true;
}

/* One instruction: checks it and moves the state behind it. */
static bool step(struct verifier *v, const struct hi *h, struct state *s)
{
    u8 op = h->op, r = h->modrm >> 3 & 7;

    if ((op & 0xf0) == 0x70 || op == 0xe3 || op == 0xe8 || op == 0xe9 || op == 0xeb ||
        (op == 0x0f && (h->op2 & 0xf0) == 0x80))
        return jump(v, h, s);
    if (op == 0xc3)
        return host_return(v, h, s);
    if (op == 0xff && (r == 4 || r == 2)) {
        s->live = false;
        if (!h->has_mem || h->gs || h->a67 || h->o66 || h->f2 || h->f3 || h->index != NOREG_ ||
            h->memsize != 8)
            return bad(v, h, "an indirect jump");
        if (r == 2 && !add_entry(v, h, h->off + h->len, 2))
            return false;
        if (h->base == R15 && r == 4)
            return leave(v, h, s, h->disp);
        if (h->base < 16 && s->r[h->base].kind == K_IBENT && h->disp == 8) {
            if (s->ib_ok != s->r[h->base].id || !s->ib_ok)
                return bad(v, h, "a jump through the branch cache whose tag was not compared");
            return keeps_contract(v, h, s);
        }
        return bad(v, h, "an indirect jump");
    }
    if (op == 0x8d)
        return do_lea(v, h, s);
    if ((op >= 0x88 && op <= 0x8b) || op == 0xc6 || op == 0xc7 || (op >= 0xb0 && op <= 0xbf)) {
        if ((op == 0xc6 || op == 0xc7) && r != 0)
            return bad(v, h, "not a mov");
        return do_mov(v, h, s);
    }
    if (op == 0xa4 || op == 0xa5 || op == 0xaa || op == 0xab || op == 0xac || op == 0xad)
        return do_string(v, h, s);
    if (op == 0x9c) { /* pushfq; pop r: to look at DF */
        const struct hi *p = h + 1;
        if (h->w || h->o66 || p >= v->hi + v->n || (p->op & 0xf8) != 0x58 || p->entry || p->label || p->o66 ||
            h->a67 || h->gs)
            return bad(v, h, "pushfq without its pop");
        return true;
    }
    if ((op & 0xf8) == 0x58) {
        if (h == v->hi || (h - 1)->op != 0x9c || h->entry || h->label || h->o66 || h->a67 || h->gs ||
            h->o[0].width != 8)
            return bad(v, h, "pop");
        return set(v, s, h, h->o[0].reg, 8, (struct val){.kind = K_ANY});
    }
    if (do_known(v, h, s))
        return true;
    if (v->why[0])
        return false;
    if (plain_opcode(h))
        return do_plain(v, h, s);
    return bad(v, h, "instruction not allowed (opcode %02x %02x)", op, op == 0x0f ? h->op2 : 0);
}

static bool pass(struct verifier *v)
{
    struct state s = {.live = false};

    for (u32 k = 0; k < v->n; k++) {
        struct hi *h = &v->hi[k];
        if (h->entry) {
            if (s.live && !enters(v, h, h, &s))
                return false;
            canonical(v, &s, h);
        } else if (h->label) {
            if (s.live && !flow_to(v, h, h->off, &s))
                return false;
            s = v->labels[h->state];
        }
        if (s.live && !step(v, h, &s))
            return false;
    }
    if (s.live)
        return bad(v, &v->hi[v->n - 1], "runs off the fragment's end");
    return true;
}

/* The pc map, the links' places, and the entry points that they imply. */
static bool check_tables(struct verifier *v)
{
    const struct verify_in *in = v->in;

    if (!in->n_insns || in->pcmap[0].host != 0)
        return bad(v, NULL, "the pc map does not begin at the start");
    for (u32 k = 0; k < in->n_insns; k++) {
        const struct pcmap *p = &in->pcmap[k];
        if (p->host >= in->len || !v->at[p->host])
            return bad(v, NULL, "pc map entry %u is not an instruction", k);
        if (k && (p->host < p[-1].host || p->guest <= p[-1].guest))
            return bad(v, NULL, "pc map entry %u goes backwards", k);
        if (p->guest >= in->guest_len)
            return bad(v, NULL, "pc map entry %u is outside the unit", k);
        v->hi[v->at[p->host] - 1].entry = 1;
    }
    for (u32 i = 0; i < in->n_links; i++) {
        const struct unit_link *l = &in->links[i];
        bool found = false, disp = !l->expect;
        if (l->stub >= in->len || !v->at[l->stub])
            return bad(v, NULL, "the stub of link %u is not an instruction", i);
        for (u32 back = 1; back <= 2; back++) {
            const struct hi *h;
            if (l->patch >= back && l->patch + 4 <= in->len && v->at[l->patch - back]) {
                h = &v->hi[v->at[l->patch - back] - 1];
                found |= h->len == back + 4 && (back == 1 ? h->op == 0xe9 || h->op == 0xe8
                                                          : h->op == 0x0f && (h->op2 & 0xf0) == 0x80);
            }
            if (l->expect >= 2 && l->expect + 4 <= in->len && v->at[l->expect - 2]) {
                h = &v->hi[v->at[l->expect - 2] - 1];
                disp |= h->len == 6 && h->op == 0x8d && h->modrm >> 6 == 2;
            }
        }
        if (!found || !disp)
            return bad(v, NULL, "link %u patches something else than a jump and its constant (%u %u: %d %d)",
                       i, l->patch, l->expect, found, disp);
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
        good = bad(v, NULL, "length");
    else
        good = decode(v) && check_tables(v);
    v->changed = true;
    for (u32 n = 0; good && v->changed; n++) {
        v->changed = false;
        good = n < MAX_PASSES ? pass(v) : bad(v, NULL, "no fixed point");
    }
    *at = v->bad_at;
    if (good)
        v->why[0] = 0;
    return good;
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
