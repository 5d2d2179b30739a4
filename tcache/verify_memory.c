/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory operands: the only forms in which a fragment may touch memory. A field of struct vcpu from a list;
 * the tables and the branch cache, reading; the window, by gs: and 32-bit addressing, or where it is the
 * host's lowest 4 GiB by what can reach nothing else; a guest page through a table entry that is known to be
 * non-zero, to belong to the very linear address that is its other half, to carry the right, with an access
 * that is known to stay within the page. Everything else is refused.
 */
#include "shadowpt/shadowpt.h"
#include "tcache/verify_int.h"

/* Fields of struct vcpu that translated code may touch. */
static const struct {
    u16 off, end;
    u8 size, rights; /* size: the only size, 0: 4 or 8 */
} fields[] = {
    {VO_AFLAGS + 4, VO_AFLAGS + 8, 4, RD}, /* sflags */
    {VO_IFLAG, VO_IFLAG + 1, 1, RD | WR},
    {VO_INTR, VO_INTR + 4, 4, RD},
    {VO_ONE, VO_ONE + 4, 4, RD},
    {VO_MINUS_TWO, VO_MINUS_TWO + 8, 0, RD},
    {VO_TSC, VO_TSC + 8, 4, RD},
    {VO_CR0, VO_CR0 + 4, 4, RD},
    {VO_CR2, VO_CR2 + 4, 4, RD | WR},
    {VO_CR3, VO_CR4 + 4, 4, RD},
    {VO_DF_SEEN, VO_DF_SEEN + 1, 1, WR},
    {BT_OFF(BT_IBTC), BT_OFF(BT_IBTC) + 8, 8, RD},
    {BT_OFF(BT_TMP), BT_OFF(BT_TMP) + 8, 0, RD | WR},
    {BT_OFF(BT_COUNT), BT_OFF(BT_COUNT) + 8, 8, RD | WR},
    {BT_OFF(BT_GS), BT_OFF(BT_GS) + 8, 8, RD},
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

bool vf_entry_for(const struct val *e, const struct val *lin, u32 size, int rights)
{
    return (e->kind == K_WENT || (e->kind == K_RENT && rights == RD)) && e->nonzero && lin->id &&
           e->ref == lin->id && vf_is_u32(lin) && (size == 1 || size <= lin->within);
}

/* Checks the memory operand. `load`, if not NULL, gets the value that a plain mov of `size` bytes would read.
 */
bool vf_memory(struct verifier *v, const struct hi *h, struct state *s, u32 size, int rights,
               struct val *load)
{
    if (load)
        *load = (struct val){.kind = K_ANY};
    if (!size || size > 16)
        return vf_bad(v, h, "memory operand of %u bytes", size);
    if (h->gs || h->a67) {
        if (!h->a67 || h->gs == vf_low_window(v))
            return vf_bad(v, h, "gs without 32-bit addressing, or the reverse");
        if (!(v->in->mode & MODE_WIN))
            return vf_bad(v, h, "a window access outside window mode");
        if (h->base == REG_RIP || h->base == RSP || h->base == R14 || h->base == R15 || h->index == R14 ||
            h->index == R15)
            return vf_bad(v, h, "register of a window access");
        return true;
    }
    if ((v->in->mode & MODE_WIN) && vf_low_window(v) && h->index == NOREG_ &&
        (h->base == NOREG_ ? h->disp >= 0
                           : h->disp >= -LOW_BEFORE && h->base < 16 && vf_is_u32(&s->r[h->base])))
        return true; /* all that a register of 32 bits and a displacement reach is the window's or nobody's */
    if (h->base == R15) {
        if (h->index != NOREG_ || !field_ok(h->disp, size, rights))
            return vf_bad(v, h, "field %lld of the vcpu, %u bytes, rights %d", (long long)h->disp, size,
                          rights);
        if (h->disp >= VO_CR0 && h->disp <= VO_CR4 && (v->in->mode & MODE_CPL))
            return vf_bad(v, h, "a control register at CPL %u", v->in->mode & MODE_CPL);
        if (load && h->disp == BT_OFF(BT_TMP))
            *load = size == 8            ? s->tmp
                    : vf_is_u32(&s->tmp) ? s->tmp
                                         : (struct val){.kind = K_U32, .max = ~0u};
        if (load && h->disp == BT_OFF(BT_IBTC))
            load->kind = K_IBTC;
        if (load && h->disp == BT_OFF(BT_GS) && (v->in->mode & MODE_WIN) && !vf_low_window(v))
            load->kind = K_WINDOW;
        if (load && (h->disp == BT_OFF(BT_COUNT) || h->disp == BT_OFF(BT_LEFT)))
            *load = (struct val){.kind = K_COUNT, .aux = (u64)h->disp};
        return true;
    }
    if (h->base == R14) {
        const struct val *i = h->index < 16 ? &s->r[h->index] : NULL;
        if (rights != RD)
            return vf_bad(v, h, "a write to the tables");
        if (!i && h->disp >= -(i64)SPACE_XT_OFF && h->disp < -(i64)SPACE_XT_OFF + 0x400000 &&
            h->disp % 4 == 0 && size == 4) {
            if (load)
                *load = (struct val){.kind = K_U32, .max = ~0u};
            return true;
        }
        if (i && i->kind == K_PAGE && h->scale == 8 && size == 8 &&
            (h->disp == -(i64)SPACE_RT_OFF || h->disp == -(i64)SPACE_WT_OFF)) {
            if (load)
                *load = (struct val){.kind = h->disp == -(i64)SPACE_RT_OFF ? K_RENT : K_WENT, .ref = i->ref};
            return true;
        }
        return vf_bad(v, h, "a table access that is none");
    }
    if (h->base >= 16)
        return vf_bad(v, h, "an address without a base");
    const struct val *b = &s->r[h->base], *x = h->index < 16 ? &s->r[h->index] : NULL;
    if (b->kind == K_IBTC && x && x->kind == K_LOW16 && h->scale == 8 && h->disp == 0 && size == 8 &&
        rights == RD) {
        if (load)
            *load = (struct val){.kind = K_TAG, .aux = x->ref};
        return true;
    }
    if (x && h->scale == 1 && h->disp == 0 &&
        (vf_entry_for(x, b, size, rights) || vf_entry_for(b, x, size, rights)))
        return true;
    return vf_bad(
        v, h,
        "memory access of %u bytes through registers that do not form a checked guest address (rights %d)",
        size, rights);
}
