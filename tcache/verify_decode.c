/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host code into instructions: Capstone gives operands, sizes and lengths; prefixes and opcode are read from
 * the bytes here as well, and where the two disagree the fragment is refused. Nothing is judged in this file
 * except that a form has a meaning that struct hi can hold: at most three operands, registers that the
 * verifier follows, no eip-relative address.
 *
 * The whole fragment is decoded in one line from offset 0. A jump into the middle of an instruction therefore
 * finds no entry in v->at, and is refused by whoever looks there.
 */
#include <string.h>
#include "tcache/verify_int.h"

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
        return vf_bad(v, h, "prefixes without an instruction");
    h->op = p[i++];
    if (h->op == 0x0f) {
        if (i >= len)
            return vf_bad(v, h, "opcode map without an opcode");
        h->op2 = p[i++];
        if (h->op2 == 0x38) {
            if (i >= len)
                return vf_bad(v, h, "opcode map without an opcode");
            h->op3 = p[i++];
        }
    }
    return true;
}

static bool convert(struct verifier *v, struct hi *h, const cs_insn *c)
{
    const cs_x86 *x = &c->detail->x86;

    if (!parse_bytes(v, h, c->bytes, c->size))
        return false;
    if (x->opcode[0] != h->op || (h->op == 0x0f && x->opcode[1] != h->op2) ||
        (h->op == 0x0f && h->op2 == 0x38 && x->opcode[2] != h->op3))
        return vf_bad(v, h, "two decoders disagree on the opcode of '%s'", c->mnemonic);
    h->modrm = x->modrm;
    h->base = h->index = NOREG_;
    if (x->op_count > 3)
        return vf_bad(v, h, "%d operands: '%s'", x->op_count, c->mnemonic);
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
                return vf_bad(v, h, "register operand of '%s %s'", c->mnemonic, c->op_str);
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
                return vf_bad(v, h, "address of '%s %s'", c->mnemonic, c->op_str);
        }
    }
    return true;
}

bool vf_decode(struct verifier *v)
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
            return vf_bad(v, h, "not an instruction");
        h->len = (u8)v->insn->size;
        if (!convert(v, h, v->insn))
            return false;
        v->at[h->off] = (u16)++v->n;
    }
    return true;
}
