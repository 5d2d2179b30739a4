/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * add or adc sbb and sub xor cmp test, inc dec neg not: all forms.
 *
 * The computation is the host's own instruction, so the flags are exactly the hardware's, including AF after
 * logical operations. One handler per operation, operand size and form:
 *
 *   rr  rm (register) op= reg       xr  reg op= rm (register)
 *   mr  memory op= reg              xm  reg op= memory
 *   ri  rm (register) op= imm       mi  memory op= imm        ai  accumulator op= imm
 */
#include "cpu/interp.h"

/* ---- the operations: T op(T a, T b, u32 *fl) ---- */

#define DEFINE_OP(name, N, T, S)                                                                             \
    static inline T op_##name##N(T a, T b, u32 *fl)                                                          \
    {                                                                                                        \
        u32 f;                                                                                               \
        __asm__(#name S " %2, %0" ASM_FLAGS_OUT : "+q"(a), "=&a"(f) : "q"(b) : "cc");                        \
        *fl = flags_unpack(f, *fl);                                                                          \
        return a;                                                                                            \
    }
/* The same with CF as an input. */
#define DEFINE_OPC(name, N, T, S)                                                                            \
    static inline T op_##name##N(T a, T b, u32 *fl)                                                          \
    {                                                                                                        \
        u32 f;                                                                                               \
        __asm__("btl $0, %3\n\t" #name S " %2, %0" ASM_FLAGS_OUT                                             \
                : "+q"(a), "=&a"(f)                                                                          \
                : "q"(b), "r"(*fl)                                                                           \
                : "cc");                                                                                     \
        *fl = flags_unpack(f, *fl);                                                                          \
        return a;                                                                                            \
    }
/* One operand; inc and dec leave CF alone, so it is loaded first. */
#define DEFINE_OP1(name, N, T, S)                                                                            \
    static inline T op_##name##N(T a, u32 *fl)                                                               \
    {                                                                                                        \
        u32 f;                                                                                               \
        __asm__("btl $0, %2\n\t" #name S " %0" ASM_FLAGS_OUT : "+q"(a), "=&a"(f) : "r"(*fl) : "cc");         \
        *fl = flags_unpack(f, *fl);                                                                          \
        return a;                                                                                            \
    }

/* ---- the forms ---- */

/* store: whether the result is written back (not for cmp and test); a constant. */
#define DEFINE_FORMS(name, N, T, store)                                                                      \
    static int h_##name##N##_rr(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        T r = op_##name##N(GPR##N(v, i->rm), GPR##N(v, i->reg), &v->aflags);                                 \
        if (store)                                                                                           \
            GPR##N(v, i->rm) = r;                                                                            \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_##name##N##_xr(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        T r = op_##name##N(GPR##N(v, i->reg), GPR##N(v, i->rm), &v->aflags);                                 \
        if (store)                                                                                           \
            GPR##N(v, i->reg) = r;                                                                           \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_##name##N##_xm(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(op_read##N(v, i, &b));                                                                           \
        T r = op_##name##N(GPR##N(v, i->reg), b, &v->aflags);                                                \
        if (store)                                                                                           \
            GPR##N(v, i->reg) = r;                                                                           \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static inline int name##N##_mem(struct vcpu *v, const struct insn *i, T b)                               \
    {                                                                                                        \
        struct rmw m;                                                                                        \
        T a;                                                                                                 \
        u32 fl = v->aflags;                                                                                  \
        if (!store) {                                                                                        \
            TRY(op_read##N(v, i, &a));                                                                       \
            op_##name##N(a, b, &v->aflags);                                                                  \
            return CPU_OK;                                                                                   \
        }                                                                                                    \
        TRY(rmw_open##N(v, i, &m, &a));                                                                      \
        T r = op_##name##N(a, b, &fl);                                                                       \
        TRY(rmw_close##N(v, &m, r));                                                                         \
        v->aflags = fl;                                                                                      \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_##name##N##_mr(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        return name##N##_mem(v, i, GPR##N(v, i->reg));                                                       \
    }                                                                                                        \
    static int h_##name##N##_mi(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        return name##N##_mem(v, i, (T)i->imm);                                                               \
    }                                                                                                        \
    static int h_##name##N##_ri(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        T r = op_##name##N(GPR##N(v, i->rm), (T)i->imm, &v->aflags);                                         \
        if (store)                                                                                           \
            GPR##N(v, i->rm) = r;                                                                            \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_##name##N##_ai(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        T r = op_##name##N(GPR##N(v, R_EAX), (T)i->imm, &v->aflags);                                         \
        if (store)                                                                                           \
            GPR##N(v, R_EAX) = r;                                                                            \
        return CPU_OK;                                                                                       \
    }

#define DEFINE_FORMS1(name, N, T)                                                                            \
    static int h_##name##N##_r(struct vcpu *v, const struct insn *i)                                         \
    {                                                                                                        \
        GPR##N(v, i->rm) = op_##name##N(GPR##N(v, i->rm), &v->aflags);                                       \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_##name##N##_m(struct vcpu *v, const struct insn *i)                                         \
    {                                                                                                        \
        struct rmw m;                                                                                        \
        T a;                                                                                                 \
        u32 fl = v->aflags;                                                                                  \
        TRY(rmw_open##N(v, i, &m, &a));                                                                      \
        T r = op_##name##N(a, &fl);                                                                          \
        TRY(rmw_close##N(v, &m, r));                                                                         \
        v->aflags = fl;                                                                                      \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_##name##N##_o(struct vcpu *v, const struct insn *i) /* register in the opcode */            \
    {                                                                                                        \
        u32 r = i->opcode & 7;                                                                               \
        GPR##N(v, r) = op_##name##N(GPR##N(v, r), &v->aflags);                                               \
        return CPU_OK;                                                                                       \
    }

#define DEFINE_ALU(N, T, ST, S)                                                                              \
    DEFINE_OP(add, N, T, S)                                                                                  \
    DEFINE_OP(or, N, T, S)                                                                                   \
    DEFINE_OPC(adc, N, T, S)                                                                                 \
    DEFINE_OPC(sbb, N, T, S)                                                                                 \
    DEFINE_OP(and, N, T, S)                                                                                  \
    DEFINE_OP(sub, N, T, S)                                                                                  \
    DEFINE_OP(xor, N, T, S)                                                                                  \
    DEFINE_OP(cmp, N, T, S)                                                                                  \
    DEFINE_OP(test, N, T, S)                                                                                 \
    DEFINE_OP1(inc, N, T, S)                                                                                 \
    DEFINE_OP1(dec, N, T, S)                                                                                 \
    DEFINE_OP1(neg, N, T, S)                                                                                 \
    static inline T op_not##N(T a, u32 *fl)                                                                  \
    {                                                                                                        \
        return ~a;                                                                                           \
    }                                                                                                        \
    DEFINE_FORMS(add, N, T, true)                                                                            \
    DEFINE_FORMS(or, N, T, true)                                                                             \
    DEFINE_FORMS(adc, N, T, true)                                                                            \
    DEFINE_FORMS(sbb, N, T, true)                                                                            \
    DEFINE_FORMS(and, N, T, true)                                                                            \
    DEFINE_FORMS(sub, N, T, true)                                                                            \
    DEFINE_FORMS(xor, N, T, true)                                                                            \
    DEFINE_FORMS(cmp, N, T, false)                                                                           \
    DEFINE_FORMS(test, N, T, false)                                                                          \
    DEFINE_FORMS1(inc, N, T)                                                                                 \
    DEFINE_FORMS1(dec, N, T)                                                                                 \
    DEFINE_FORMS1(neg, N, T)                                                                                 \
    DEFINE_FORMS1(not, N, T)
FOR_SIZES(DEFINE_ALU)

/* ---- tables ---- */

enum { F_RR, F_XR, F_MR, F_XM, F_RI, F_MI, F_AI, F_COUNT };
#define FORMS(name, N)                                                                                       \
    {                                                                                                        \
        h_##name##N##_rr, h_##name##N##_xr, h_##name##N##_mr, h_##name##N##_xm, h_##name##N##_ri,            \
            h_##name##N##_mi, h_##name##N##_ai                                                               \
    }
#define SIZES(name)                                                                                          \
    {                                                                                                        \
        FORMS(name, 8), FORMS(name, 16), FORMS(name, 32)                                                     \
    }

enum { A_TEST = 8 };
static const insn_fn alu_table[9][3][F_COUNT] = {
    SIZES(add), SIZES(or),  SIZES(adc), SIZES(sbb),  SIZES(and),
    SIZES(sub), SIZES(xor), SIZES(cmp), SIZES(test),
};

enum { U_INC, U_DEC, U_NEG, U_NOT };
#define FORMS1(name, N)                                                                                      \
    {                                                                                                        \
        h_##name##N##_r, h_##name##N##_m, h_##name##N##_o                                                    \
    }
#define SIZES1(name)                                                                                         \
    {                                                                                                        \
        FORMS1(name, 8), FORMS1(name, 16), FORMS1(name, 32)                                                  \
    }
static const insn_fn unary_table[4][3][3] = {SIZES1(inc), SIZES1(dec), SIZES1(neg), SIZES1(not )};

insn_fn alu_lookup(const struct insn *i)
{
    int sz = insn_size_index(i), m = i->has_mem;
    u8 op = i->opcode;

    if (i->map != 0)
        return NULL;
    if (op < 0x40) {
        switch (op & 7) {
        case 0:
        case 1:
            return alu_table[op >> 3][sz][m ? F_MR : F_RR];
        case 2:
        case 3:
            return alu_table[op >> 3][sz][m ? F_XM : F_XR];
        case 4:
        case 5:
            return alu_table[op >> 3][sz][F_AI];
        default:
            return NULL;
        }
    }
    switch (op) {
    case 0x40 ... 0x4f: /* bit 0 is part of the register here */
        return unary_table[op < 0x48 ? U_INC : U_DEC][i->opsize == 2 ? 1 : 2][2];
    case 0x80 ... 0x83:
        return alu_table[i->reg][sz][m ? F_MI : F_RI];
    case 0x84:
    case 0x85:
        return alu_table[A_TEST][sz][m ? F_MR : F_RR];
    case 0xa8:
    case 0xa9:
        return alu_table[A_TEST][sz][F_AI];
    case 0xf6:
    case 0xf7:
        if (i->reg <= 1)
            return alu_table[A_TEST][sz][m ? F_MI : F_RI];
        if (i->reg <= 3)
            return unary_table[i->reg == 2 ? U_NOT : U_NEG][sz][m];
        return NULL;
    case 0xfe:
    case 0xff:
        return i->reg <= 1 ? unary_table[i->reg == 0 ? U_INC : U_DEC][sz][m] : NULL;
    default:
        return NULL;
    }
}
