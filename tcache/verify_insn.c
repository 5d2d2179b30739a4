/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One instruction's effect on the abstract state: moves and address computations that carry knowledge,
 * integer operations of the lookup sequences, string instructions, and the rest, which only destroys
 * knowledge.
 *
 * Each function checks the instruction's operands and leaves the state as it is behind it. What is not
 * understood must make a value weaker, never keep it: the test of mutations found a rule that broke that
 * (test_found).
 */
#include "tcache/verify_int.h"

bool vf_lea(struct verifier *v, const struct hi *h, struct state *s)
{
    const struct val *b = h->base < 16 ? &s->r[h->base] : NULL, *x = h->index < 16 ? &s->r[h->index] : NULL;
    struct val r = {.kind = K_ANY};
    u32 dst = h->o[0].reg, width = h->o[0].width;

    if (h->gs || h->a67 || h->f2 || h->f3 || width < 4)
        return vf_bad(v, h, "form of lea");
    if (h->base == REG_RIP) {
        i64 to = h->off + h->len + h->disp;
        if (x || width != 8)
            return vf_bad(v, h, "form of lea");
        if (!vf_add_entry(v, h, to, 1))
            return false;
        return vf_set(v, s, h, dst, 8, (struct val){.kind = K_CODE, .aux = (u64)to});
    }
    if ((h->base < 16 && !vf_readable(v, h, h->base)) || (x && !vf_readable(v, h, h->index)))
        return false;
    if (width == 8) {
        if (b && x && h->scale == 1 && h->disp == 0 && vf_entry_for(x, b, 1, RD))
            r = (struct val){
                .kind = x->kind == K_WENT ? K_HOST_W : K_HOST_R, .ref = x->ref, .within = b->within};
        else if (b && x && h->scale == 1 && h->disp == 0 && vf_is_u32(b) && x->kind == K_WINDOW)
            r.kind = K_IN_WIN;
        else if (b && x && h->scale == 2 && h->disp == IBTC_TAG && b->kind == K_TAG && vf_is_u32(x) && x->id)
            r = (struct val){.kind = K_SUM, .aux = b->aux, .ref = x->id};
        else if (b && !x && b->kind == K_COUNT)
            r = *b, r.id = 0;
    } else {
        if (b && !x && vf_is_u32(b) && b->id && h->disp >= 0 && h->disp < 16)
            r = (struct val){.kind = K_PLUS, .ref = b->id, .aux = (u64)h->disp};
    }
    r.max = ~0u;
    return vf_set(v, s, h, dst, width, r);
}

bool vf_mov(struct verifier *v, const struct hi *h, struct state *s)
{
    struct val val = {.kind = K_ANY};
    u32 width = h->o[0].type == X86_OP_REG ? h->o[0].width : h->memsize;

    if (h->f2 || h->f3 || h->n != 2)
        return vf_bad(v, h, "form of mov");
    if (h->o[1].type == X86_OP_REG) {
        if (!vf_readable(v, h, h->o[1].reg))
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
    } else if (!vf_memory(v, h, s, width, RD, &val)) {
        return false;
    }
    if (h->o[0].type == X86_OP_REG) {
        val.max = val.max ? val.max : ~0u;
        return vf_set(v, s, h, h->o[0].reg, width, val);
    }
    if (!vf_memory(v, h, s, width, WR, NULL))
        return false;
    if (h->base == R15 && !h->gs) {
        if (h->disp == VO_IFLAG && !(val.kind == K_CONST && val.aux <= 1 && (v->in->mode & MODE_IOPL_OK)))
            return vf_bad(v, h, "the interrupt flag set to something odd, or without the right to");
        if ((h->disp == BT_OFF(BT_COUNT) || h->disp == BT_OFF(BT_LEFT)) &&
            !(val.kind == K_COUNT && val.aux == (u64)h->disp))
            return vf_bad(v, h, "a counter set to something else than itself");
        if (h->disp >= BT_OFF(BT_TMP) && h->disp < BT_OFF(BT_TMP) + 8)
            s->tmp = h->disp != BT_OFF(BT_TMP) ? (struct val){.kind = K_ANY}
                     : width == 8              ? val
                                  : (struct val){.kind = K_ANY}; /* the upper half stays what it was */
    }
    return true;
}

bool vf_plain(struct verifier *v, const struct hi *h, struct state *s)
{
    bool flags_only = h->op == 0x84 || h->op == 0x85 || h->op == 0xa8 || h->op == 0xa9 ||
                      (h->op < 0x40 && (h->op & 0x38) == 0x38) ||
                      ((h->op == 0x80 || h->op == 0x81 || h->op == 0x83) && (h->modrm >> 3 & 7) == 7);

    if (h->w)
        return vf_bad(v, h, "a 64-bit operation that is not followed");
    if ((h->gs || h->a67) && !h->has_mem)
        return vf_bad(v, h, "address prefixes without a memory operand");
    if (h->has_mem) {
        u32 size = h->memsize;
        int dir = vf_direction(h, &size);
        if (!dir)
            return vf_bad(v, h, "form not allowed with a memory operand");
        /* the bit offset in a register also moves the address (SDM vol. 2, BT) */
        if (h->op == 0x0f && (h->op2 == 0xa3 || h->op2 == 0xab || h->op2 == 0xb3 || h->op2 == 0xbb)) {
            const struct val *bit = h->o[1].reg < 16 ? &s->r[h->o[1].reg] : NULL;
            if (!bit || !vf_is_u32(bit) || bit->max >= size * 8)
                return vf_bad(v, h, "a bit offset that may leave the operand");
        }
        if (!vf_memory(v, h, s, size, dir, NULL))
            return false;
        if ((dir & WR) && h->base == R15 && !h->gs)
            return vf_bad(v, h, "a field of the vcpu changed by something else than mov");
    }
    s->flag = F_NONE;
    for (u32 k = 0; k < h->n; k++) {
        if (h->o[k].type != X86_OP_REG || h->o[k].reg == REG_FP)
            continue;
        if (!vf_readable(v, h, h->o[k].reg))
            return false;
        /* written for certain, or perhaps only read: then a dirty upper half may stay */
        if (!flags_only) {
            bool whole =
                h->o[k].width == 4 && ((k == 0 && vf_writes_first(h)) || vf_is_u32(&s->r[h->o[k].reg]));
            vf_clobber(v, s, h, h->o[k].reg, whole ? 4 : h->o[k].width == 4 ? 8 : h->o[k].width, 1 + k);
        }
    }
    if (!flags_only) /* what some of them do besides */
        for (u32 r = RAX; r <= RBX; r++)
            vf_clobber(v, s, h, r, vf_is_u32(&s->r[r]) ? 4 : 8, 8 + r);
    return true;
}

/* Integer operations that carry knowledge. False with v->why empty: not one of them. */
bool vf_known(struct verifier *v, const struct hi *h, struct state *s)
{
    const struct opnd *a = &h->o[0], *b = &h->o[1];
    u8 r = h->modrm >> 3 & 7;
    bool rr = h->n == 2 && a->type == X86_OP_REG && b->type == X86_OP_REG && a->reg < 16 && b->reg < 16;
    bool ri = h->n == 2 && a->type == X86_OP_REG && b->type == X86_OP_IMM && a->reg < 16;

    v->why[0] = 0;
    if (h->f2 || h->f3 || ((rr || ri) && (h->gs || h->a67)))
        return false;
    if ((rr && (!vf_writable_reg(a->reg) || !vf_writable_reg(b->reg))) || (ri && !vf_writable_reg(a->reg)))
        return false;
    if (h->op == 0x85 && rr && h->w && a->reg == b->reg) { /* test r, r */
        const struct val *x = &s->r[a->reg];
        if (x->kind == K_SUM) {
            s->flag = F_SUM;
            s->flag_id = (u32)x->aux;
            s->flag_ref = x->ref;
            return true;
        }
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
        if (a->width == 1 && !(imm & (imm + 1)) && imm < 128 && x->id && vf_is_u32(x) &&
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
        if ((h->imm & 31) == 12 && vf_is_u32(x) && x->id)
            n = (struct val){.kind = K_PAGE, .ref = x->id, .max = 0xfffff};
        s->flag = F_NONE;
        return vf_set(v, s, h, a->reg, 4, n);
    }
    if ((h->op == 0x83 || h->op == 0x81) && ri && a->width == 4 && r == 4 && h->imm >= 0) { /* and */
        s->flag = F_NONE;
        return vf_set(v, s, h, a->reg, 4, (struct val){.kind = K_U32, .max = (u32)h->imm});
    }
    if ((h->op == 0x33 || h->op == 0x31) && rr && a->width == 4) { /* xor */
        const struct val *x = &s->r[a->reg], *y = &s->r[b->reg];
        struct val n = {.kind = K_U32, .max = ~0u};
        if (x->kind == K_PLUS && y->id && x->ref == y->id)
            n = (struct val){.kind = K_CROSS, .ref = x->ref, .aux = x->aux, .max = ~0u};
        s->flag = F_NONE;
        return vf_set(v, s, h, a->reg, 4, n);
    }
    if (h->op == 0x0f && h->op2 == 0xb7 && rr && b->width == 2 && a->width == 4 && s->r[b->reg].id &&
        vf_is_u32(&s->r[b->reg]))
        return vf_set(v, s, h, a->reg, 4,
                      (struct val){.kind = K_LOW16, .ref = s->r[b->reg].id, .max = 0xffff});
    if ((h->op == 0x03 || h->op == 0x01) && h->w && rr) { /* add */
        s->flag = F_NONE;
        return vf_set(v, s, h, a->reg, 8, (struct val){.kind = K_ANY});
    }
    if (h->op == 0xf7 && r == 2 && h->w && h->n == 1 && a->type == X86_OP_REG && a->reg < 16 && !h->gs &&
        !h->a67 && !h->o66) /* not: the same */
        return vf_set(v, s, h, a->reg, 8, (struct val){.kind = K_ANY});
    if ((h->op == 0x2b || h->op == 0x29) && h->w &&
        rr) { /* sub: back from a host address; checked when it is cut to 32 bits */
        s->flag = F_NONE;
        return vf_set(v, s, h, a->reg, 8, (struct val){.kind = K_ANY});
    }
    return false;
}

/*
 * adox r, -2: r + OF - 2, and no overflow only if r, where it is even, was 0: the doubled difference of a
 * tag (K_SUM), and others, of which no overflow says nothing. adox r, 1
 * brings OF back.
 */
bool vf_adox(struct verifier *v, const struct hi *h, struct state *s)
{
    u32 r = h->o[0].reg;
    struct val was;

    if (h->op3 != 0xf6 || !h->f3 || h->f2 || h->o66 || h->a67 || h->gs || h->n != 2 ||
        h->o[0].type != X86_OP_REG || h->o[1].type != X86_OP_MEM || r < R8 || r > R11 ||
        h->o[0].width != (h->w ? 8 : 4) || h->memsize != h->o[0].width || h->base != R15 ||
        h->index != NOREG_ || !(h->disp == VO_MINUS_TWO || (h->disp == VO_ONE && !h->w)))
        return vf_bad(v, h, "form of adox");
    if (!vf_readable(v, h, r) || !vf_memory(v, h, s, h->memsize, RD, NULL))
        return false;
    was = s->r[r];
    s->flag = F_NONE;
    if (h->disp == VO_MINUS_TWO && h->w && was.kind == K_SUM) {
        s->flag = F_OF_SUM;
        s->flag_id = (u32)was.aux;
        s->flag_ref = was.ref;
    }
    return vf_set(v, s, h, r, h->w ? 8 : 4, (struct val){.kind = h->w ? K_ANY : K_U32, .max = ~0u});
}

/*
 * A repeated instruction goes on by itself, so it may only do so in the window: it reaches what lies behind
 * it one element after the other, and the first page there, as the last one before the window, is never
 * mapped.
 */
bool vf_string(struct verifier *v, const struct hi *h, struct state *s)
{
    u32 n = h->op & 1 ? h->o66 ? 2 : 4 : 1;
    u8 op = h->op & 0xfe;
    bool src = op == 0xa4 || op == 0xa6 || op == 0xac, dst = op != 0xac, wr = op == 0xa4 || op == 0xaa;
    bool rep = h->f2 || h->f3;
    const struct val *r[2] = {src ? &s->r[RSI] : NULL, dst ? &s->r[RDI] : NULL};

    if (h->w || h->gs || h->a67)
        return vf_bad(v, h, "prefix on a string instruction");
    if (rep && !vf_is_u32(&s->r[RCX]))
        return vf_bad(v, h, "rcx is not a count");
    for (u32 k = 0; k < 2; k++) {
        if (!r[k] || r[k]->kind == K_IN_WIN ||
            ((v->in->mode & MODE_WIN) && vf_low_window(v) && vf_is_u32(r[k])))
            continue;
        if (rep)
            return vf_bad(v, h, "a repeated string instruction outside the window");
        if (!(r[k]->kind == K_HOST_W || (r[k]->kind == K_HOST_R && !(k && wr))) ||
            !(n == 1 || r[k]->within >= n))
            return vf_bad(v, h,
                          k ? "rdi is not a checked host address" : "rsi is not a checked host address");
    }
    if (src)
        s->r[RSI] = vf_fresh(v, s, h, 0, K_ANY);
    if (dst)
        s->r[RDI] = vf_fresh(v, s, h, 1, K_ANY);
    if (rep)
        s->r[RCX] = vf_fresh(v, s, h, 3, K_U32);
    if (op == 0xac)
        vf_clobber(v, s, h, RAX, n, 2);
    if (op == 0xa6 || op == 0xae)
        s->flag = F_NONE;
    return true;
}
