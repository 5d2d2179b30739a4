/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bt bts btr btc, bsf bsr, setcc, cmovcc, bswap.
 *
 * With a bit offset in a register, the bt family on memory addresses a bit string: the offset is signed and
 * reaches beyond the operand (SDM vol. 2, BT). The host instruction runs on the addressed word only, with the
 * guest's flags loaded, for the flags that the manual leaves undefined.
 */
#include "cpu/interp.h"

/* bt writes nothing back; n is already reduced to the operand's width. */
#define DEFINE_BT(name, N, T, S, store)                                                                      \
    static inline T op_##name##N(T a, T n, u32 *fl)                                                          \
    {                                                                                                        \
        u32 f = FLAGS_PACK(*fl);                                                                             \
        __asm__(ASM_FLAGS_IN #name S " %2, %0" ASM_FLAGS_OUT : "+r"(a), "+&a"(f) : "r"(n) : "cc");           \
        *fl = flags_unpack(f, *fl);                                                                          \
        return a;                                                                                            \
    }                                                                                                        \
    static inline int name##N##_mem(struct vcpu *v, u32 off, const struct insn *i, T n)                      \
    {                                                                                                        \
        struct rmw m;                                                                                        \
        T a;                                                                                                 \
        u32 fl = v->aflags;                                                                                  \
        if (!store) {                                                                                        \
            TRY(mem_read##N(v, i->seg, off, &a));                                                            \
            op_##name##N(a, n &(N - 1), &v->aflags);                                                         \
            return CPU_OK;                                                                                   \
        }                                                                                                    \
        TRY(rmw_open_at##N(v, i->seg, off, &m, &a));                                                         \
        T r = op_##name##N(a, n & (N - 1), &fl);                                                             \
        TRY(rmw_close##N(v, &m, r));                                                                         \
        v->aflags = fl;                                                                                      \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_##name##N##_rr(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        T r = op_##name##N(GPR##N(v, i->rm), GPR##N(v, i->reg) & (N - 1), &v->aflags);                       \
        if (store)                                                                                           \
            GPR##N(v, i->rm) = r;                                                                            \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_##name##N##_ri(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        T r = op_##name##N(GPR##N(v, i->rm), (T)i->imm & (N - 1), &v->aflags);                               \
        if (store)                                                                                           \
            GPR##N(v, i->rm) = r;                                                                            \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_##name##N##_mr(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        return name##N##_mem(v, bit_string##N(v, i), i, GPR##N(v, i->reg));                                  \
    }                                                                                                        \
    static int h_##name##N##_mi(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        return name##N##_mem(v, insn_ea(v, i), i, (T)i->imm);                                                \
    }

/* Offset of the word that holds bit reg of the string at the memory operand. */
static inline u32 bit_string16(const struct vcpu *v, const struct insn *i)
{
    return (insn_ea(v, i) + (u32)(((i16)v->gpr[i->reg] >> 4) * 2)) & addr_mask(i);
}
static inline u32 bit_string32(const struct vcpu *v, const struct insn *i)
{
    return (insn_ea(v, i) + (u32)(((i32)v->gpr[i->reg] >> 5) * 4)) & addr_mask(i);
}

#define DEFINE_BITS(N, T, S)                                                                                 \
    DEFINE_BT(bt, N, T, S, false)                                                                            \
    DEFINE_BT(bts, N, T, S, true)                                                                            \
    DEFINE_BT(btr, N, T, S, true)                                                                            \
    DEFINE_BT(btc, N, T, S, true)                                                                            \
    DEFINE_SCAN(bsf, N, T, S)                                                                                \
    DEFINE_SCAN(bsr, N, T, S)                                                                                \
    static int h_cmov##N(struct vcpu *v, const struct insn *i)                                               \
    {                                                                                                        \
        T b = 0;                                                                                             \
        if (i->has_mem) /* read, and faults, even if the condition is false */                               \
            TRY(op_read##N(v, i, &b));                                                                       \
        else                                                                                                 \
            b = GPR##N(v, i->rm);                                                                            \
        if (cond_true(v->aflags, i->opcode & 15))                                                            \
            GPR##N(v, i->reg) = b;                                                                           \
        return CPU_OK;                                                                                       \
    }

/* A source of 0 leaves the destination as it was, which the manual calls undefined but every CPU does. */
#define DEFINE_SCAN(name, N, T, S)                                                                           \
    static int h_##name##N(struct vcpu *v, const struct insn *i)                                             \
    {                                                                                                        \
        T b, a = GPR##N(v, i->reg);                                                                          \
        u32 f = FLAGS_PACK(v->aflags);                                                                       \
        if (i->has_mem)                                                                                      \
            TRY(op_read##N(v, i, &b));                                                                       \
        else                                                                                                 \
            b = GPR##N(v, i->rm);                                                                            \
        __asm__(ASM_FLAGS_IN #name S " %2, %0" ASM_FLAGS_OUT : "+r"(a), "+&a"(f) : "r"(b) : "cc");           \
        v->aflags = flags_unpack(f, v->aflags);                                                              \
        if (b)                                                                                               \
            GPR##N(v, i->reg) = a;                                                                           \
        return CPU_OK;                                                                                       \
    }

DEFINE_BITS(16, u16, "w")
DEFINE_BITS(32, u32, "l")

static int h_setcc_r(struct vcpu *v, const struct insn *i)
{
    GPR8(v, i->rm) = cond_true(v->aflags, i->opcode & 15);
    return CPU_OK;
}
static int h_setcc_m(struct vcpu *v, const struct insn *i)
{
    return op_write8(v, i, cond_true(v->aflags, i->opcode & 15));
}

static int h_bswap32(struct vcpu *v, const struct insn *i)
{
    u32 *r = &v->gpr[i->opcode & 7];
    *r = __builtin_bswap32(*r);
    return CPU_OK;
}
/* Undefined by the manual; real CPUs clear the low half. */
static int h_bswap16(struct vcpu *v, const struct insn *i)
{
    v->gpr[i->opcode & 7] &= 0xffff0000u;
    return CPU_OK;
}

#define FORMS(name, N)                                                                                       \
    {                                                                                                        \
        h_##name##N##_rr, h_##name##N##_ri, h_##name##N##_mr, h_##name##N##_mi                               \
    }
#define SIZES(name)                                                                                          \
    {                                                                                                        \
        FORMS(name, 16), FORMS(name, 32)                                                                     \
    }
static const insn_fn bt_table[4][2][4] = {SIZES(bt), SIZES(bts), SIZES(btr), SIZES(btc)};

insn_fn bit_lookup(const struct insn *i)
{
    bool w = i->opsize == 4;

    if (i->map != 1)
        return NULL;
    switch (i->opcode) {
    case 0x40 ... 0x4f:
        return w ? h_cmov32 : h_cmov16;
    case 0x90 ... 0x9f:
        return i->has_mem ? h_setcc_m : h_setcc_r;
    case 0xa3: /* bt bts btr btc, by register: A3 AB B3 BB */
    case 0xab:
    case 0xb3:
    case 0xbb:
        return bt_table[(i->opcode >> 3) & 3][w][i->has_mem ? 2 : 0];
    case 0xba:
        return i->reg >= 4 ? bt_table[i->reg - 4][w][i->has_mem ? 3 : 1] : NULL;
    case 0xbc:
        return w ? h_bsf32 : h_bsf16;
    case 0xbd:
        return w ? h_bsr32 : h_bsr16;
    case 0xc8 ... 0xcf:
        return w ? h_bswap32 : h_bswap16;
    default:
        return NULL;
    }
}
