/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Abstract values: what is known of a register, how knowledge is numbered, forgotten and joined.
 *
 * Invariants: a number (val.id) names what one instruction computed the last time it was passed, and only
 * that; vf_forget removes it everywhere before it is given out again, so two values with the same number are
 * equal in every run of the code. A join keeps only what both sides say. vf_set refuses rsp, r14 and r15, so
 * no path writes them. Nothing here looks at memory operands or opcodes.
 */
#include "tcache/verify_int.h"

/* Number for what instruction h computes into slot 0..31. */
u32 vf_number(const struct verifier *v, const struct hi *h, u32 slot)
{
    return ((u32)(h - v->hi) + 1) * 32 + slot;
}

/* The instruction numbers its result anew: whoever still holds the number from an earlier pass knows nothing
 * any more. */
void vf_forget(struct state *s, u32 id)
{
    for (u32 i = 0; i <= 16; i++) {
        struct val *a = i < 16 ? &s->r[i] : &s->tmp;
        if (a->id == id)
            a->id = 0, a->within = 0;
        if (a->ref == id)
            *a = vf_is_u32(a) ? (struct val){.kind = K_U32, .max = ~0u} : (struct val){.kind = K_ANY};
        if ((a->kind == K_TAG || a->kind == K_SUM) && a->aux == id)
            *a = (struct val){.kind = K_ANY};
    }
    if (s->flag_id == id || s->flag_ref == id)
        s->flag = F_NONE;
    if (s->ib_ok == id || s->ib_ref == id)
        s->ib_ok = 0;
}

struct val vf_fresh(struct verifier *v, struct state *s, const struct hi *h, u32 slot, enum kind k)
{
    u32 id = vf_number(v, h, slot);
    vf_forget(s, id);
    return (struct val){.kind = (u8)k, .id = id, .max = ~0u};
}

bool vf_equal(const struct val *a, const struct val *b)
{
    return a->kind == b->kind && a->nonzero == b->nonzero && a->within == b->within && a->max == b->max &&
           a->id == b->id && a->ref == b->ref && a->aux == b->aux;
}

struct val vf_join(const struct val *a, const struct val *b, u32 id)
{
    struct val r = *a;
    if (vf_equal(a, b))
        return r;
    if (a->kind == b->kind && a->id == b->id && a->ref == b->ref && a->aux == b->aux) {
        r.nonzero &= b->nonzero;
        r.within = a->within < b->within ? a->within : b->within;
        r.max = a->max > b->max ? a->max : b->max;
        return r;
    }
    if (vf_is_u32(a) && vf_is_u32(b)) {
        r = (struct val){.kind = K_U32, .max = ~0u, .id = id};
        if (a->id && a->id == b->id)
            r.id = a->id;
        return r;
    }
    return (struct val){.kind = K_ANY};
}

/* A register written by something that is not followed further. */
void vf_clobber(struct verifier *v, struct state *s, const struct hi *h, u32 r, u32 width, u32 slot)
{
    bool narrow = width == 4 || (width < 4 && vf_is_u32(&s->r[r]));
    s->r[r] = vf_fresh(v, s, h, slot, narrow ? K_U32 : K_ANY);
}

bool vf_set(struct verifier *v, struct state *s, const struct hi *h, u32 r, u32 width, struct val val)
{
    if (!vf_writable_reg(r))
        return vf_bad(v, h, "write to a reserved register");
    if (width < 4) {
        vf_clobber(v, s, h, r, width, 0);
        return true;
    }
    if (width == 4 && !vf_is_u32(&val))
        val = (struct val){.kind = K_U32, .max = ~0u};
    if (!val.id) {
        u32 id = vf_number(v, h, 0);
        vf_forget(s, id);
        val.id = id;
    }
    s->r[r] = val;
    return true;
}

bool vf_readable(struct verifier *v, const struct hi *h, u32 r)
{
    return r < 16 && r != RSP && r != R14 && r != R15 ? true : vf_bad(v, h, "use of a reserved register");
}
