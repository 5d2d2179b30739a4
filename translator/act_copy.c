/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that long mode still has: the same instruction again, with registers and memory operand
 * mapped.
 *
 * Two encodings need care. A REX prefix turns ah/ch/dh/bh into spl/bpl/sil/dil, and every memory operand
 * needs one (r8, r9): the high byte is then swapped with the low one around the instruction. And prefixes
 * that mean nothing to the guest's CPU may mean something to a newer host (rep bsf = tzcnt), so only prefixes
 * that the opcode defines are kept. LOCK is dropped: the guest has one CPU, and devices write memory only
 * under its nose.
 */
#include "translator/xl.h"

static bool is_high(u8 kind, u8 reg)
{
    return kind == OK_GB && reg >= 4;
}

static int map_reg(u8 kind, u8 reg)
{
    return kind == OK_G || kind == OK_G32 ? hreg(reg) : reg;
}

/* The prefixes that the opcode defines. */
static u32 prefixes(const struct insn *i, struct cls c)
{
    if (i->fpu >= 2)
        return (i->pfx & PFX_66 ? OP_66 : 0) | (i->pfx & PFX_REP ? OP_F3 : 0) |
               (i->pfx & PFX_REPNE ? OP_F2 : 0);
    if (i->opsize != 2 || i->fpu || (i->map == 1 && i->opcode == 0xae)) /* 66 mfence is tpause today */
        return 0;
    if (i->map == 1 && (i->opcode == 0xb6 || i->opcode == 0xbe)) /* movzx, movsx r16, r/m8 */
        return OP_66;
    return c.reg != OK_GB && c.rm != OK_GB ? OP_66 : 0;
}

static u8 opcode(const struct insn *i)
{
    return i->map == 0 && i->opcode == 0x82 ? 0x80 : i->opcode; /* 82 is an alias that long mode lacks */
}

/* Prefixes, REX and opcode bytes of the register forms. */
static struct piece opcode_piece(const struct insn *i, struct cls c, int reg, int rm)
{
    return p_join(p_prefixes((struct piece){0}, prefixes(i, c)),
                  p_op(0, reg, 0, rm, op_bytes(i->map, opcode(i))));
}

static void emit_imm(struct xl *x, const struct insn *i)
{
    if (i->len != i->imm_off)
        e_word(&x->e, i->imm, i->len - i->imm_off);
}

static void emit_swap(struct xl *x, u8 reg) /* xchg low, high: neither flags nor anything else change */
{
    e8(&x->e, 0x86);
    e_modrm(&x->e, 3, reg, reg - 4);
}

bool act_copy(struct xl *x, const struct insn *i, struct cls c)
{
    int reg = i->has_modrm ? map_reg(c.reg, i->reg) : 0;

    if (!i->has_modrm) {
        if (i->map == 0 && i->opcode == 0xfc && x->df_clear) /* cld takes some cycles */
            return true;
        fl_before_op(x, i);
        if (i->map == 0 && i->opcode == 0xfd)
            e_mov_mi8(&x->e, R15, VO_DF_SEEN, 1);
        e_piece(&x->e, opcode_piece(i, c, 0, 0));
        emit_imm(x, i);
        if (i->map == 0 && (i->opcode == 0xfc || i->opcode == 0xfd))
            x->df_clear = i->opcode == 0xfc;
        return true;
    }
    if (!i->has_mem) {
        int rm = map_reg(c.rm, i->rm);
        bool rex = reg >= 8 || rm >= 8;
        if (rex && (is_high(c.reg, i->reg) || is_high(c.rm, i->rm)))
            return false;
        if (x->sp_pend && sp_mov(i)) {
            e_lea32(&x->e, i->opcode == 0x89 ? rm : reg, ABI_ESP, -1, 1, x->sp_pend);
            return true;
        }
        fl_before_op(x, i);
        if (i->map == 1 && i->opcode == 0xae) /* fences: rm is ignored, but 0 is what disassemblers know */
            rm = 0;
        e_piece(&x->e, p_byte(opcode_piece(i, c, reg, rm), modrm(3, reg, rm)));
        emit_imm(x, i);
        return true;
    }
    bool write = c.acc != MA_R;
    bool high = is_high(c.reg, i->reg);
    if (c.acc == MA_NONE || !i->memsize || i->memsize > 16 || !seg_inline(x, i->seg, write) ||
        (high && i->map == 1 && i->opcode == 0xb0)) /* cmpxchg uses al too */
        return false;
    x->table_only |= high; /* a fault must not find the halves swapped */
    mem_operand(x, i, i->memsize, write, 0);
    fl_before_op(x, i);
    if (high) {
        emit_swap(x, i->reg);
        reg -= 4;
    }
    op_mem(x, prefixes(i, c), i->map, opcode(i), reg);
    emit_imm(x, i);
    if (high)
        emit_swap(x, i->reg);
    return true;
}
