/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * push pop (registers, memory, immediates), pusha popa, enter leave.
 *
 * Operand size and stack size are independent: SS.B says whether SP or ESP moves, the operand-size attribute
 * how much is pushed. Multi-part pushes probe every slot before the first write.
 */
#include "cpu/interp.h"

#define DEFINE_STACK(N, T)                                                                                   \
    static int h_push##N##_o(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        return push##N(v, GPR##N(v, i->opcode & 7)); /* push esp: the value before */                        \
    }                                                                                                        \
    static int h_push##N##_r(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        return push##N(v, GPR##N(v, i->rm));                                                                 \
    }                                                                                                        \
    static int h_push##N##_i(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        return push##N(v, (T)i->imm);                                                                        \
    }                                                                                                        \
    static int h_push##N##_m(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        T val;                                                                                               \
        TRY(op_read##N(v, i, &val));                                                                         \
        return push##N(v, val);                                                                              \
    }                                                                                                        \
    static inline int pop##N##_reg(struct vcpu *v, u32 reg)                                                  \
    {                                                                                                        \
        T val;                                                                                               \
        TRY(peek##N(v, &val));                                                                               \
        set_sp(v, v->gpr[R_ESP] + sizeof(T));                                                                \
        GPR##N(v, reg) = val; /* last: pop esp */                                                            \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_pop##N##_o(struct vcpu *v, const struct insn *i)                                            \
    {                                                                                                        \
        return pop##N##_reg(v, i->opcode & 7);                                                               \
    }                                                                                                        \
    static int h_pop##N##_r(struct vcpu *v, const struct insn *i)                                            \
    {                                                                                                        \
        return pop##N##_reg(v, i->rm);                                                                       \
    }                                                                                                        \
    /* The destination address is computed with the incremented ESP (SDM vol. 2, POP). */                    \
    static int h_pop##N##_m(struct vcpu *v, const struct insn *i)                                            \
    {                                                                                                        \
        u32 esp = v->gpr[R_ESP];                                                                             \
        T val;                                                                                               \
        TRY(peek##N(v, &val));                                                                               \
        set_sp(v, esp + sizeof(T));                                                                          \
        if (op_write##N(v, i, val) != CPU_OK) {                                                              \
            v->gpr[R_ESP] = esp;                                                                             \
            return CPU_FAULT;                                                                                \
        }                                                                                                    \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_pusha##N(struct vcpu *v, const struct insn *i)                                              \
    {                                                                                                        \
        u32 lin[8], mask = stack_mask(v), esp = v->gpr[R_ESP];                                               \
        for (u32 n = 0; n < 8; n++) {                                                                        \
            TRY(mem_linear(v, S_SS, (esp - (n + 1) * (u32)sizeof(T)) & mask, sizeof(T), SEGF_W, &lin[n]));   \
            TRY(lin_probe_write(v, lin[n], sizeof(T)));                                                      \
        }                                                                                                    \
        for (u32 n = 0; n < 8; n++)                                                                          \
            TRY(lin_write##N(v, lin[n], GPR##N(v, n)));                                                      \
        set_sp(v, esp - 8 * (u32)sizeof(T));                                                                 \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_popa##N(struct vcpu *v, const struct insn *i)                                               \
    {                                                                                                        \
        u32 mask = stack_mask(v), esp = v->gpr[R_ESP];                                                       \
        T val[8];                                                                                            \
        for (u32 n = 0; n < 8; n++)                                                                          \
            TRY(mem_read##N(v, S_SS, (esp + n * (u32)sizeof(T)) & mask, &val[n]));                           \
        for (u32 n = 0; n < 8; n++) {                                                                        \
            if (7 - n != R_ESP) /* the stored ESP is skipped */                                              \
                GPR##N(v, 7 - n) = val[n];                                                                   \
        }                                                                                                    \
        set_sp(v, esp + 8 * (u32)sizeof(T));                                                                 \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    /* SDM vol. 2, ENTER. Writes below ESP may have happened if a later one faults; registers have not       \
     * changed. */                                                                                           \
    static int h_enter##N(struct vcpu *v, const struct insn *i)                                              \
    {                                                                                                        \
        u32 mask = stack_mask(v), sp = v->gpr[R_ESP] - (u32)sizeof(T), bp = v->gpr[R_EBP], frame = sp, lin;  \
        u32 level = i->imm2 & 31;                                                                            \
        TRY(mem_write##N(v, S_SS, sp &mask, (T)bp));                                                         \
        for (u32 n = 1; n < level; n++) {                                                                    \
            T val;                                                                                           \
            bp -= sizeof(T);                                                                                 \
            sp -= sizeof(T);                                                                                 \
            TRY(mem_read##N(v, S_SS, bp &mask, &val));                                                       \
            TRY(mem_write##N(v, S_SS, sp &mask, val));                                                       \
        }                                                                                                    \
        if (level) {                                                                                         \
            sp -= sizeof(T);                                                                                 \
            TRY(mem_write##N(v, S_SS, sp &mask, (T)frame));                                                  \
        }                                                                                                    \
        sp -= i->imm & 0xffff;                                                                               \
        TRY(mem_linear(v, S_SS, sp &mask, sizeof(T), SEGF_W, &lin));                                         \
        TRY(lin_probe_write(v, lin, sizeof(T)));                                                             \
        GPR##N(v, R_EBP) = (T)frame;                                                                         \
        set_sp(v, sp);                                                                                       \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_leave##N(struct vcpu *v, const struct insn *i)                                              \
    {                                                                                                        \
        T val;                                                                                               \
        u32 bp = v->gpr[R_EBP];                                                                              \
        TRY(mem_read##N(v, S_SS, bp &stack_mask(v), &val));                                                  \
        set_sp(v, bp + sizeof(T));                                                                           \
        GPR##N(v, R_EBP) = val;                                                                              \
        return CPU_OK;                                                                                       \
    }
DEFINE_STACK(16, u16)
DEFINE_STACK(32, u32)

insn_fn stack_lookup(const struct insn *i)
{
    bool w = i->opsize == 4;

    if (i->map != 0)
        return NULL;
    switch (i->opcode) {
    case 0x50 ... 0x57:
        return w ? h_push32_o : h_push16_o;
    case 0x58 ... 0x5f:
        return w ? h_pop32_o : h_pop16_o;
    case 0x60:
        return w ? h_pusha32 : h_pusha16;
    case 0x61:
        return w ? h_popa32 : h_popa16;
    case 0x68:
    case 0x6a:
        return w ? h_push32_i : h_push16_i;
    case 0x8f:
        if (i->has_mem)
            return w ? h_pop32_m : h_pop16_m;
        return w ? h_pop32_r : h_pop16_r;
    case 0xc8:
        return w ? h_enter32 : h_enter16;
    case 0xc9:
        return w ? h_leave32 : h_leave16;
    case 0xff:
        if (i->reg != 6)
            return NULL;
        if (i->has_mem)
            return w ? h_push32_m : h_push16_m;
        return w ? h_push32_r : h_push16_r;
    default:
        return NULL;
    }
}
