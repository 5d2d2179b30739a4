/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rol ror rcl rcr shl shr sar (and /6, an alias of shl), shld, shrd.
 *
 * The host executes the operation with the guest's flags loaded. So flags that the count leaves alone (all of
 * them for a count of 0), and those that the manual calls undefined, come out as on hardware. A memory
 * operand is written even if the count is 0: the access is a read-modify-write to the hardware as well.
 */
#include "cpu/hostcpu.h"
#include "cpu/interp.h"

#define DEFINE_SHIFT(name, N, T, S)                                                                          \
    static inline T op_##name##N(T a, u8 count, u32 *fl)                                                     \
    {                                                                                                        \
        u32 f = FLAGS_PACK(*fl);                                                                             \
        __asm__(ASM_FLAGS_IN #name S " %%cl, %0" ASM_FLAGS_OUT : "+q"(a), "+&a"(f) : "c"(count) : "cc");     \
        *fl = flags_unpack(f, *fl);                                                                          \
        return a;                                                                                            \
    }                                                                                                        \
    static int h_##name##N##_r(struct vcpu *v, const struct insn *i)                                         \
    {                                                                                                        \
        GPR##N(v, i->rm) = op_##name##N(GPR##N(v, i->rm), shift_count(v, i), &v->aflags);                    \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_##name##N##_m(struct vcpu *v, const struct insn *i)                                         \
    {                                                                                                        \
        struct rmw m;                                                                                        \
        T a;                                                                                                 \
        u32 fl = v->aflags;                                                                                  \
        TRY(rmw_open##N(v, i, &m, &a));                                                                      \
        T r = op_##name##N(a, shift_count(v, i), &fl);                                                       \
        TRY(rmw_close##N(v, &m, r));                                                                         \
        v->aflags = fl;                                                                                      \
        return CPU_OK;                                                                                       \
    }

#define DEFINE_DOUBLE(name, N, T, S)                                                                         \
    static inline T op_##name##N(T a, T b, u8 count, u32 *fl)                                                \
    {                                                                                                        \
        u32 f = FLAGS_PACK(*fl);                                                                             \
        __asm__(ASM_FLAGS_IN #name S " %%cl, %2, %0" ASM_FLAGS_OUT                                           \
                : "+r"(a), "+&a"(f)                                                                          \
                : "r"(b), "c"(count)                                                                         \
                : "cc");                                                                                     \
        *fl = flags_unpack(f, *fl);                                                                          \
        return a;                                                                                            \
    }                                                                                                        \
    static int h_##name##N##_r(struct vcpu *v, const struct insn *i)                                         \
    {                                                                                                        \
        GPR##N(v, i->rm) =                                                                                   \
            op_##name##N(GPR##N(v, i->rm), GPR##N(v, i->reg), double_count(v, i), &v->aflags);               \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_##name##N##_m(struct vcpu *v, const struct insn *i)                                         \
    {                                                                                                        \
        struct rmw m;                                                                                        \
        T a;                                                                                                 \
        u32 fl = v->aflags;                                                                                  \
        TRY(rmw_open##N(v, i, &m, &a));                                                                      \
        T r = op_##name##N(a, GPR##N(v, i->reg), double_count(v, i), &fl);                                   \
        TRY(rmw_close##N(v, &m, r));                                                                         \
        v->aflags = fl;                                                                                      \
        return CPU_OK;                                                                                       \
    }

static inline u8 shift_count(const struct vcpu *v, const struct insn *i)
{
    return i->opcode < 0xd0 ? (u8)i->imm : i->opcode < 0xd2 ? 1 : (u8)v->gpr[R_ECX];
}
static inline u8 double_count(const struct vcpu *v, const struct insn *i)
{
    return i->opcode & 1 ? (u8)v->gpr[R_ECX] : (u8)i->imm;
}

#define DEFINE_SHIFTS(N, T, ST, S)                                                                           \
    DEFINE_SHIFT(rol, N, T, S)                                                                               \
    DEFINE_SHIFT(ror, N, T, S)                                                                               \
    DEFINE_SHIFT(rcl, N, T, S)                                                                               \
    DEFINE_SHIFT(rcr, N, T, S)                                                                               \
    DEFINE_SHIFT(shl, N, T, S)                                                                               \
    DEFINE_SHIFT(shr, N, T, S)                                                                               \
    DEFINE_SHIFT(sar, N, T, S)
FOR_SIZES(DEFINE_SHIFTS)

/* By an immediate: the host's instruction above is by CL, whose OF some processors treat differently. */
#define DEFINE_ROTATE(name, N)                                                                               \
    static int h_##name##N##_ri(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        u32 of = v->aflags & FL_OF;                                                                          \
        h_##name##N##_r(v, i);                                                                               \
        if (host_cpu.rotate_keeps_of && (i->imm & 31) != 1)                                                  \
            v->aflags = (v->aflags & ~FL_OF) | of;                                                           \
        return CPU_OK;                                                                                       \
    }
#define DEFINE_ROTATES(N, T, ST, S)                                                                          \
    DEFINE_ROTATE(rol, N)                                                                                    \
    DEFINE_ROTATE(ror, N)
FOR_SIZES(DEFINE_ROTATES)
DEFINE_DOUBLE(shld, 16, u16, "w")
DEFINE_DOUBLE(shld, 32, u32, "l")
DEFINE_DOUBLE(shrd, 16, u16, "w")
DEFINE_DOUBLE(shrd, 32, u32, "l")

#define FORMS(name, N)                                                                                       \
    {                                                                                                        \
        h_##name##N##_r, h_##name##N##_m                                                                     \
    }
#define SIZES(name)                                                                                          \
    {                                                                                                        \
        FORMS(name, 8), FORMS(name, 16), FORMS(name, 32)                                                     \
    }
static const insn_fn shift_table[8][3][2] = {
    SIZES(rol), SIZES(ror), SIZES(rcl), SIZES(rcr), SIZES(shl), SIZES(shr), SIZES(shl), SIZES(sar),
};
static const insn_fn rotate_table[2][3] = {
    {h_rol8_ri, h_rol16_ri, h_rol32_ri},
    {h_ror8_ri, h_ror16_ri, h_ror32_ri},
};
static const insn_fn double_table[2][2][2] = {
    {FORMS(shld, 16), FORMS(shld, 32)},
    {FORMS(shrd, 16), FORMS(shrd, 32)},
};

insn_fn shift_lookup(const struct insn *i)
{
    if (i->map == 0) {
        switch (i->opcode) {
        case 0xc0:
        case 0xc1:
            if (i->reg < 2 && !i->has_mem)
                return rotate_table[i->reg][insn_size_index(i)];
            /* fallthrough */
        case 0xd0 ... 0xd3:
            return shift_table[i->reg][insn_size_index(i)][i->has_mem];
        default:
            return NULL;
        }
    }
    if (i->map == 1) {
        switch (i->opcode) {
        case 0xa4:
        case 0xa5:
            return double_table[0][i->opsize == 4][i->has_mem];
        case 0xac:
        case 0xad:
            return double_table[1][i->opsize == 4][i->has_mem];
        default:
            return NULL;
        }
    }
    return NULL;
}
