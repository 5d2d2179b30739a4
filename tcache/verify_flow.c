/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where execution may go: into the fragment (entry points, labels), and out of it (chainable exits, thunks,
 * returns).
 *
 * Invariants: every address that anybody outside may come back to is an entry point, begins with nothing
 * known but the contract, and is only reached by states that keep the contract; every other target of a jump
 * is a label whose state is the join of all that reach it. A thunk gets only arguments that the C side may
 * rely on without looking. An exit to another page may only be chained as such, to a checked entry (which
 * verify_entry() judges).
 */
#include "tcache/verify_int.h"

bool vf_guest_reg(u32 r)
{
    return r != RSP && (r < R8 || r == R13);
}

void vf_canonical(struct verifier *v, struct state *s, const struct hi *h)
{
    *s = (struct state){.live = true};
    for (u32 i = 0; i < 16; i++)
        if (vf_guest_reg(i))
            s->r[i] = (struct val){.kind = K_U32, .id = vf_number(v, h, 16 + (i & 15)), .max = ~0u};
    if (h->entry == 2)
        s->r[R8] = (struct val){.kind = K_ANY, .id = vf_number(v, h, 16 + R8)};
}

/* Execution may begin at offset `to`. */
bool vf_add_entry(struct verifier *v, const struct hi *h, i64 to, u8 kind)
{
    if (to < 0 || to >= v->in->len || !v->at[to])
        return vf_bad(v, h, "address of something that is not an instruction of the fragment");
    struct hi *t = &v->hi[v->at[to] - 1];
    if (!t->entry || t->entry > kind) { /* judged so from the next pass on */
        t->entry = kind;
        v->changed = true;
    }
    return true;
}

/* Does the state keep the contract at an instruction boundary? */
bool vf_keeps_contract(struct verifier *v, const struct hi *h, const struct state *s)
{
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    for (u32 i = 0; i < 16; i++)
        if (vf_guest_reg(i) && !vf_is_u32(&s->r[i]))
            return vf_bad(v, h, "the upper half of %s may not be zero here", names[i]);
    return true;
}

/* May execution with state s go on at the entry point t? */
bool vf_enters(struct verifier *v, const struct hi *h, const struct hi *t, const struct state *s)
{
    return vf_keeps_contract(v, h, s);
}

/* State s reaches the instruction at offset `to`. */
bool vf_flow_to(struct verifier *v, const struct hi *h, i64 to, const struct state *s)
{
    if (to < 0 || to >= v->in->len || !v->at[to])
        return vf_bad(v, h, "jump to %lld, which is not an instruction of the fragment", (long long)to);
    struct hi *t = &v->hi[v->at[to] - 1];
    if (t->entry)
        return vf_enters(v, h, t, s);
    if (t->state < 0) {
        if (v->n_labels == MAX_LABELS)
            return vf_bad(v, h, "too many labels");
        t->state = (i32)v->n_labels++;
        t->label = true;
        v->labels[t->state] = *s;
        v->changed = true;
        return true;
    }
    struct state *old = &v->labels[t->state];
    struct state j = *old;
    for (u32 i = 0; i < 16; i++)
        j.r[i] = vf_join(&old->r[i], &s->r[i], vf_number(v, t, 16 + i));
    j.tmp = vf_join(&old->tmp, &s->tmp, 0);
    if (j.flag != s->flag || j.flag_n != s->flag_n || j.flag_id != s->flag_id || j.flag_ref != s->flag_ref) {
        j.flag = F_NONE;
        j.flag_n = 0;
        j.flag_id = j.flag_ref = 0;
    }
    if (j.ib_ok != s->ib_ok || j.ib_ref != s->ib_ref)
        j.ib_ok = j.ib_ref = 0;
    bool same = j.flag == old->flag && j.flag_id == old->flag_id && j.ib_ok == old->ib_ok &&
                vf_equal(&j.tmp, &old->tmp);
    for (u32 i = 0; same && i < 16; i++)
        same = vf_equal(&j.r[i], &old->r[i]);
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

/* An exit that may be patched to lead to another fragment's code, or (far) to its checked entry. */
static bool check_link(struct verifier *v, const struct hi *h, const struct unit_link *l,
                       const struct state *s)
{
    if (!vf_keeps_contract(v, h, s))
        return false;
    if (!l->far && (v->in->crosses || link_page(v, l->target) != link_page(v, v->in->eip)))
        return vf_bad(v, h, "an unchecked chain to another page");
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

/* The jump to a thunk that is at offset `to`; NULL: something else is there. */
static const struct hi *leaves_at(const struct verifier *v, i64 to)
{
    const struct hi *t = to >= 0 && to < v->in->len && v->at[to] ? &v->hi[v->at[to] - 1] : NULL;
    return t && vf_through_vcpu(t) && (t->modrm >> 3 & 7) == 4 ? t : NULL;
}

bool vf_jump(struct verifier *v, const struct hi *h, struct state *s)
{
    const struct unit_link *l = link_at(v, h);
    bool rel32 = h->op == 0xe9 || h->op == 0xe8 || (h->op == 0x0f && (h->op2 & 0xf0) == 0x80);
    bool cond = h->op != 0xe9 && h->op != 0xeb && h->op != 0xe8, rcx = h->op == 0xe3;
    int cc = rcx ? -1 : (h->op == 0x0f ? h->op2 : h->op) & 15;
    bool jo = cond && cc == 0;
    struct state t = *s;

    if (h->a67 || h->o66 || h->f2 || h->f3 || h->gs)
        return vf_bad(v, h, "prefix on a jump");
    if (jo && s->flag == F_OF_SUM) {
        s->ib_ok = s->flag_id;
        s->ib_ref = s->flag_ref;
    }
    if (cond && !rcx && (cc == 4 || cc == 5)) {
        refine(&t, cc == 4);
        refine(s, cc == 5);
    }
    if (rcx) {
        const struct val *c = &s->r[RCX];
        if (c->kind == K_SUM) {
            t.ib_ok = (u32)c->aux;
            t.ib_ref = c->ref;
        }
    }
    if (l) {
        if (!rel32)
            return vf_bad(v, h, "a chainable jump with a short displacement");
        if (!check_link(v, h, l, &t))
            return false;
        if (h->imm != l->stub)
            return vf_bad(v, h, "a chainable jump does not lead to its stub");
    }
    if (h->op == 0xe8 && !vf_add_entry(v, h, h->off + h->len, 2))
        return false;
    /* what stubs share: each is judged by what itself says */
    const struct hi *out = cond || h->op == 0xe8 ? NULL : leaves_at(v, h->imm);
    if (out) {
        s->live = false;
        return vf_leave(v, h, &t, out->disp);
    }
    if (!vf_flow_to(v, h, h->imm, &t))
        return false;
    s->live = cond;
    return true;
}

/* Back to a return point, or to th_underflow: whatever a call pushed. */
bool vf_return(struct verifier *v, const struct hi *h, struct state *s)
{
    if (h->a67 || h->o66 || h->f2 || h->f3 || h->gs || h->w)
        return vf_bad(v, h, "prefix on ret");
    s->live = false;
    return vf_keeps_contract(v, h, s);
}

static bool code_arg(struct verifier *v, const struct hi *h, const struct state *s, u32 r, bool may_be_zero)
{
    const struct val *a = &s->r[r];
    if (a->kind == K_CODE || (may_be_zero && a->kind == K_CONST && a->aux == 0))
        return true;
    return vf_bad(v, h, "r%u is not an address in the fragment", r);
}

static bool eip_arg(struct verifier *v, const struct hi *h, const struct state *s)
{
    const struct val *a = &s->r[R9];
    if (a->kind == K_CONST && a->aux <= 0xffffffff && (u32)a->aux - v->in->eip <= v->in->guest_len)
        return true;
    return vf_bad(v, h, "r9 is not the address of an instruction of the unit");
}

static bool link_arg(struct verifier *v, const struct hi *h, const struct state *s)
{
    const struct val *a = &s->r[R9];
    if (a->kind == K_CONST && a->aux - v->in->first_link < v->in->n_links)
        return true;
    return vf_bad(v, h, "r9 is not the number of a link of this unit");
}

/* jmp [r15 + thunk]: what the C side relies on. */
bool vf_leave(struct verifier *v, const struct hi *h, const struct state *s, i64 disp)
{
    i64 n = (disp - BT_OFF(BT_THUNK0)) / 8;
    if (disp < BT_OFF(BT_THUNK0) || disp % 8 != BT_OFF(BT_THUNK0) % 8 || n >= TH_COUNT_)
        return vf_bad(v, h, "jump through a slot that holds no thunk");
    if (!vf_keeps_contract(v, h, s))
        return false;
    switch (n) {
    case TH_READ_MISS:
    case TH_WRITE_MISS:
        if (!vf_is_u32(&s->r[R8]))
            return vf_bad(v, h, "r8 is not a linear address");
        return eip_arg(v, h, s) && code_arg(v, h, s, R10, true) && code_arg(v, h, s, R11, false);
    case TH_SLOW:
        return eip_arg(v, h, s) && code_arg(v, h, s, R10, true);
    case TH_EXEC:
    case TH_SYS:
    case TH_SYSENTER:
    case TH_SYSEXIT:
    case TH_INT:
    case TH_IRET:
    case TH_CLTS:
    case TH_CR0:
    case TH_CR3:
        if (n == TH_SYSENTER && !(v->in->mode & MODE_CPL))
            return vf_bad(v, h, "sysenter at CPL 0");
        if ((n == TH_SYSEXIT || n == TH_CLTS || n == TH_CR0 || n == TH_CR3) && (v->in->mode & MODE_CPL))
            return vf_bad(v, h, "sysexit, clts, CR0 or CR3 outside of CPL 0");
        if ((n == TH_INT || n == TH_IRET) && ((v->in->mode & (MODE_PE | MODE_VM)) != MODE_PE ||
                                              (v->in->mode & MODE_CPL) != (n == TH_INT ? 3 : 0)))
            return vf_bad(v, h, "int elsewhere than at CPL 3, or iret than at CPL 0");
        if ((n == TH_CR0 || n == TH_CR3) && !vf_is_u32(&s->r[R11]))
            return vf_bad(v, h, "r11 is no value for CR0 or CR3");
        for (u32 i = 0; i < v->in->n_kept; i++)
            if (s->r[R8].kind == K_CONST && s->r[R8].aux == (u64)(uintptr_t)v->in->kept[i])
                return eip_arg(v, h, s) && (n == TH_SYSENTER || n == TH_SYSEXIT || n == TH_INT ||
                                            n == TH_IRET || code_arg(v, h, s, R10, true));
        return vf_bad(v, h, "r8 is not an instruction that was kept for this unit");
    case TH_IBRANCH: /* they take its lower half */
    case TH_RET_MISS:
        return true;
    case TH_LOOKUP:
    case TH_IND_OF:
        return vf_is_u32(&s->r[R8]) || vf_bad(v, h, "r8 is not an address");
    case TH_LINK:
        return link_arg(v, h, s);
    case TH_INTR:
        return eip_arg(v, h, s);
    default:
        return vf_bad(v, h, "thunk %lld is unknown to the verifier", (long long)n);
    }
}

/* call [r15 + thunk]: those that come back. r9 says which data segment register, and is
 * trusted; a string thunk gets the guest's own registers, and looks its pages up itself. */
bool vf_call_thunk(struct verifier *v, const struct hi *h, const struct state *s, i64 disp)
{
    const struct val *r9 = &s->r[R9];

    if (!vf_keeps_contract(v, h, s))
        return false;
    if (disp == BT_OFF(BT_THUNK0 + TH_SEG_BOTH) || disp == BT_OFF(BT_THUNK0 + TH_VERW) ||
        disp == BT_OFF(BT_THUNK0 + TH_POPF))
        return true;
    if (disp == BT_OFF(BT_THUNK0 + TH_TAKEN) || disp == BT_OFF(BT_THUNK0 + TH_PASSED))
        return link_arg(v, h, s);
    if (disp == BT_OFF(BT_THUNK0 + TH_INVLPG))
        return !(v->in->mode & MODE_CPL) || vf_bad(v, h, "invlpg outside of CPL 0");
    if (disp == BT_OFF(BT_THUNK0 + TH_FXSAVE) || disp == BT_OFF(BT_THUNK0 + TH_FXRSTOR))
        return !(v->in->mode & MODE_NOFPU) || vf_bad(v, h, "fxsave or fxrstor with CR0.EM or TS");
    if (disp == BT_OFF(BT_THUNK0 + TH_POPF_IF) || disp == BT_OFF(BT_THUNK0 + TH_IN))
        return v->in->mode & MODE_IOPL_OK && !(v->in->mode & MODE_VM)
                   ? true
                   : vf_bad(v, h, "popf or in without the right to");
    if (disp == BT_OFF(BT_THUNK0 + TH_REP_MOVS8) || disp == BT_OFF(BT_THUNK0 + TH_REP_MOVS32) ||
        disp == BT_OFF(BT_THUNK0 + TH_REP_STOS8) || disp == BT_OFF(BT_THUNK0 + TH_REP_STOS32))
        return (v->in->mode & MODE_FLATES) || vf_bad(v, h, "a string thunk, but ES is not flat");
    if (disp != BT_OFF(BT_THUNK0 + TH_SEG_LOAD) && disp != BT_OFF(BT_THUNK0 + TH_SEG_FSGS) &&
        disp != BT_OFF(BT_THUNK0 + TH_SEG_REAL))
        return vf_bad(v, h, "call through a slot that holds no thunk that returns");
    if (r9->kind == K_CONST)
        for (int seg = S_ES; seg <= S_GS; seg++)
            if (seg != S_CS && seg != S_SS && r9->aux == (u64)(VO_SEG + seg * VO_SEG_SIZE) &&
                (disp == BT_OFF(BT_THUNK0 + TH_SEG_REAL) ||
                 (seg >= S_FS) == (disp == BT_OFF(BT_THUNK0 + TH_SEG_FSGS))))
                return true;
    return vf_bad(v, h, "r9 is not the place of a data segment register");
}
