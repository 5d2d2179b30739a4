/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Near control flow: jmp jcc call ret loop jcxz, and bound.
 *
 * A target beyond the CS limit is #GP(0) on the branch itself, with nothing changed. A 16-bit operand size
 * truncates EIP to 16 bits. Far transfers are in cpu/system.c.
 */
#include "cpu/interp.h"

static int h_jmp_rel(struct vcpu *v, const struct insn *i)
{
    u32 t = branch_target(v, i);
    TRY(branch_check(v, t));
    v->next_eip = t;
    return CPU_OK;
}

#define DEFINE_JCC(cc)                                                                                       \
    static int h_jcc##cc(struct vcpu *v, const struct insn *i)                                               \
    {                                                                                                        \
        if (cond_true(v->aflags, 0x##cc))                                                                    \
            return h_jmp_rel(v, i);                                                                          \
        return CPU_OK;                                                                                       \
    }
#define FOR_CC(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(a) X(b) X(c) X(d) X(e) X(f)
FOR_CC(DEFINE_JCC)

/* loopne, loope, loop: the count is CX or ECX by the address size. */
static int h_loop(struct vcpu *v, const struct insn *i)
{
    u32 mask = addr_mask(i), count = (v->gpr[R_ECX] - 1) & mask;
    bool taken = count != 0;

    if (i->opcode == 0xe0)
        taken = taken && !(v->aflags & FL_ZF);
    else if (i->opcode == 0xe1)
        taken = taken && (v->aflags & FL_ZF);
    if (taken)
        TRY(h_jmp_rel(v, i));
    set_masked(&v->gpr[R_ECX], count, mask);
    return CPU_OK;
}

static int h_jcxz(struct vcpu *v, const struct insn *i)
{
    return v->gpr[R_ECX] & addr_mask(i) ? CPU_OK : h_jmp_rel(v, i);
}

#define DEFINE_FLOW(N, T)                                                                                    \
    static inline int rm_target##N(struct vcpu *v, const struct insn *i, u32 *t)                             \
    {                                                                                                        \
        T val;                                                                                               \
        if (i->has_mem)                                                                                      \
            TRY(op_read##N(v, i, &val));                                                                     \
        else                                                                                                 \
            val = GPR##N(v, i->rm);                                                                          \
        *t = val;                                                                                            \
        return branch_check(v, val);                                                                         \
    }                                                                                                        \
    static int h_jmp##N##_rm(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        u32 t;                                                                                               \
        TRY(rm_target##N(v, i, &t));                                                                         \
        v->next_eip = t;                                                                                     \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_call##N##_rm(struct vcpu *v, const struct insn *i)                                          \
    {                                                                                                        \
        u32 t;                                                                                               \
        TRY(rm_target##N(v, i, &t));                                                                         \
        TRY(push##N(v, (T)v->next_eip));                                                                     \
        v->next_eip = t;                                                                                     \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_call##N##_rel(struct vcpu *v, const struct insn *i)                                         \
    {                                                                                                        \
        u32 t = branch_target(v, i);                                                                         \
        TRY(branch_check(v, t));                                                                             \
        TRY(push##N(v, (T)v->next_eip));                                                                     \
        v->next_eip = t;                                                                                     \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_ret##N(struct vcpu *v, const struct insn *i) /* imm is 0 for C3 */                          \
    {                                                                                                        \
        T t;                                                                                                 \
        TRY(peek##N(v, &t));                                                                                 \
        TRY(branch_check(v, t));                                                                             \
        set_sp(v, v->gpr[R_ESP] + (u32)sizeof(T) + (i->imm & 0xffff));                                       \
        v->next_eip = t;                                                                                     \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_bound##N(struct vcpu *v, const struct insn *i)                                              \
    {                                                                                                        \
        T lo, hi;                                                                                            \
        u32 off = insn_ea(v, i);                                                                             \
        TRY(mem_read##N(v, i->seg, off, &lo));                                                               \
        TRY(mem_read##N(v, i->seg, (off + (u32)sizeof(T)) & addr_mask(i), &hi));                             \
        i##N idx = (i##N)GPR##N(v, i->reg);                                                                  \
        if (idx < (i##N)lo || idx > (i##N)hi)                                                                \
            return cpu_raise(v, EXC_BR);                                                                     \
        return CPU_OK;                                                                                       \
    }
DEFINE_FLOW(16, u16)
DEFINE_FLOW(32, u32)

insn_fn flow_lookup(const struct insn *i)
{
#define X(cc) h_jcc##cc,
    static const insn_fn jcc[16] = {FOR_CC(X)};
#undef X
    bool w = i->opsize == 4;

    if (i->map == 1)
        return i->opcode >= 0x80 && i->opcode <= 0x8f ? jcc[i->opcode & 15] : NULL;
    if (i->map != 0)
        return NULL;
    switch (i->opcode) {
    case 0x62:
        return w ? h_bound32 : h_bound16;
    case 0x70 ... 0x7f:
        return jcc[i->opcode & 15];
    case 0xc2:
    case 0xc3:
        return w ? h_ret32 : h_ret16;
    case 0xe0 ... 0xe2:
        return h_loop;
    case 0xe3:
        return h_jcxz;
    case 0xe8:
        return w ? h_call32_rel : h_call16_rel;
    case 0xe9:
    case 0xeb:
        return h_jmp_rel;
    case 0xff:
        if (i->reg == 2)
            return w ? h_call32_rm : h_call16_rm;
        if (i->reg == 4)
            return w ? h_jmp32_rm : h_jmp16_rm;
        return NULL;
    default:
        return NULL;
    }
}
