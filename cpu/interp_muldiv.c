/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mul imul div idiv, the decimal adjustments, and the sign extensions of the accumulator.
 *
 * Quotients that do not fit are found before the host divides: a host #DE must never happen. The division
 * itself is the host's instruction with the guest's flags loaded, and so is the multiplication, so undefined
 * flags are the hardware's. The decimal instructions do not exist in 64-bit mode and are computed (SDM vol.
 * 2, AAA to DAS); flags that are undefined there are as real CPUs leave them: SF, ZF, PF by the result, the
 * others 0.
 */
#include "cpu/interp.h"

/* ---- one-operand multiply and divide: accumulator and rm ---- */

#define DEFINE_MUL(name, N, T, S, LO, HI)                                                                    \
    static inline void op_##name##N(struct vcpu *v, T b)                                                     \
    {                                                                                                        \
        T lo = (T)v->gpr[R_EAX], hi;                                                                         \
        u32 f = FLAGS_PACK(v->aflags);                                                                       \
        __asm__(ASM_FLAGS_IN "mov %0, %%" LO "\n\t" #name S " %3\n\tmov %%" LO ", %0" ASM_FLAGS_OUT          \
                : "+&r"(lo), "=&d"(hi), "+&a"(f)                                                             \
                : "r"(b)                                                                                     \
                : "cc");                                                                                     \
        v->aflags = flags_unpack(f, v->aflags);                                                              \
        set_result##N(v, lo, hi);                                                                            \
    }

static inline void set_result16(struct vcpu *v, u16 lo, u16 hi)
{
    GPR16(v, R_EAX) = lo;
    GPR16(v, R_EDX) = hi;
}
static inline void set_result32(struct vcpu *v, u32 lo, u32 hi)
{
    v->gpr[R_EAX] = lo;
    v->gpr[R_EDX] = hi;
}

DEFINE_MUL(mul, 16, u16, "w", "ax", "dx")
DEFINE_MUL(mul, 32, u32, "l", "eax", "edx")
DEFINE_MUL(imul, 16, u16, "w", "ax", "dx")
DEFINE_MUL(imul, 32, u32, "l", "eax", "edx")

#define DEFINE_MUL8(name)                                                                                    \
    static inline void op_##name##8(struct vcpu * v, u8 b)                                                   \
    {                                                                                                        \
        u16 r = (u16)v->gpr[R_EAX];                                                                          \
        u32 f = FLAGS_PACK(v->aflags);                                                                       \
        __asm__(ASM_FLAGS_IN "mov %0, %%ax\n\t" #name "b %2\n\tmov %%ax, %0" ASM_FLAGS_OUT                   \
                : "+&r"(r), "+&a"(f)                                                                         \
                : "q"(b)                                                                                     \
                : "cc");                                                                                     \
        v->aflags = flags_unpack(f, v->aflags);                                                              \
        GPR16(v, R_EAX) = r;                                                                                 \
    }
DEFINE_MUL8(mul)
DEFINE_MUL8(imul)

/* Executes the host division of hi:lo by d, known not to fault. */
#define DEFINE_HOSTDIV(name, N, T, S, LO)                                                                    \
    static inline void host_##name##N(struct vcpu *v, T lo, T hi, T d)                                       \
    {                                                                                                        \
        u32 f = FLAGS_PACK(v->aflags);                                                                       \
        T q;                                                                                                 \
        __asm__(ASM_FLAGS_IN "mov %3, %%" LO "\n\t" #name S " %4\n\tmov %%" LO ", %0" ASM_FLAGS_OUT          \
                : "=&r"(q), "+&a"(f), "+d"(hi)                                                               \
                : "r"(lo), "r"(d)                                                                            \
                : "cc");                                                                                     \
        v->aflags = flags_unpack(f, v->aflags);                                                              \
        set_result##N(v, q, hi);                                                                             \
    }
DEFINE_HOSTDIV(div, 16, u16, "w", "ax")
DEFINE_HOSTDIV(div, 32, u32, "l", "eax")
DEFINE_HOSTDIV(idiv, 16, u16, "w", "ax")
DEFINE_HOSTDIV(idiv, 32, u32, "l", "eax")

#define DEFINE_HOSTDIV8(name)                                                                                \
    static inline void host_##name##8(struct vcpu * v, u16 n, u8 d)                                          \
    {                                                                                                        \
        u32 f = FLAGS_PACK(v->aflags);                                                                       \
        u16 r;                                                                                               \
        __asm__(ASM_FLAGS_IN "mov %2, %%ax\n\t" #name "b %3\n\tmov %%ax, %0" ASM_FLAGS_OUT                   \
                : "=&r"(r), "+&a"(f)                                                                         \
                : "r"(n), "q"(d)                                                                             \
                : "cc");                                                                                     \
        v->aflags = flags_unpack(f, v->aflags);                                                              \
        GPR16(v, R_EAX) = r;                                                                                 \
    }
DEFINE_HOSTDIV8(div)
DEFINE_HOSTDIV8(idiv)

/* Does n / d fit a signed number of the given width? */
static inline bool idiv_fits(i64 n, i64 d, int bits)
{
    if (d == 0 || (d == -1 && n == INT64_MIN))
        return false;
    i64 q = n / d;
    return q >= -(1ll << (bits - 1)) && q < (1ll << (bits - 1));
}

static int do_div8(struct vcpu *v, u8 d)
{
    u16 n = GPR16(v, R_EAX);
    if (d == 0 || (n >> 8) >= d)
        return cpu_raise(v, EXC_DE);
    host_div8(v, n, d);
    return CPU_OK;
}
static int do_div16(struct vcpu *v, u16 d)
{
    if (GPR16(v, R_EDX) >= d)
        return cpu_raise(v, EXC_DE);
    host_div16(v, GPR16(v, R_EAX), GPR16(v, R_EDX), d);
    return CPU_OK;
}
static int do_div32(struct vcpu *v, u32 d)
{
    if (v->gpr[R_EDX] >= d)
        return cpu_raise(v, EXC_DE);
    host_div32(v, v->gpr[R_EAX], v->gpr[R_EDX], d);
    return CPU_OK;
}
static int do_idiv8(struct vcpu *v, u8 d)
{
    if (!idiv_fits((i16)GPR16(v, R_EAX), (i8)d, 8))
        return cpu_raise(v, EXC_DE);
    host_idiv8(v, GPR16(v, R_EAX), d);
    return CPU_OK;
}
static int do_idiv16(struct vcpu *v, u16 d)
{
    i32 n = (i32)((u32)GPR16(v, R_EDX) << 16 | GPR16(v, R_EAX));
    if (!idiv_fits(n, (i16)d, 16))
        return cpu_raise(v, EXC_DE);
    host_idiv16(v, GPR16(v, R_EAX), GPR16(v, R_EDX), d);
    return CPU_OK;
}
static int do_idiv32(struct vcpu *v, u32 d)
{
    i64 n = (i64)((u64)v->gpr[R_EDX] << 32 | v->gpr[R_EAX]);
    if (!idiv_fits(n, (i32)d, 32))
        return cpu_raise(v, EXC_DE);
    host_idiv32(v, v->gpr[R_EAX], v->gpr[R_EDX], d);
    return CPU_OK;
}

#define DEFINE_F6(N, T, ST, S)                                                                               \
    static inline int rm_value##N(struct vcpu *v, const struct insn *i, T *b)                                \
    {                                                                                                        \
        if (i->has_mem)                                                                                      \
            return op_read##N(v, i, b);                                                                      \
        *b = GPR##N(v, i->rm);                                                                               \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_mul##N(struct vcpu *v, const struct insn *i)                                                \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(rm_value##N(v, i, &b));                                                                          \
        op_mul##N(v, b);                                                                                     \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_imul##N(struct vcpu *v, const struct insn *i)                                               \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(rm_value##N(v, i, &b));                                                                          \
        op_imul##N(v, b);                                                                                    \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_div##N(struct vcpu *v, const struct insn *i)                                                \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(rm_value##N(v, i, &b));                                                                          \
        return do_div##N(v, b);                                                                              \
    }                                                                                                        \
    static int h_idiv##N(struct vcpu *v, const struct insn *i)                                               \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(rm_value##N(v, i, &b));                                                                          \
        return do_idiv##N(v, b);                                                                             \
    }
FOR_SIZES(DEFINE_F6)

/* ---- imul reg, rm[, imm] ---- */

#define DEFINE_IMUL(N, T, S)                                                                                 \
    static inline T imul_low##N(T a, T b, u32 *fl)                                                           \
    {                                                                                                        \
        u32 f = FLAGS_PACK(*fl);                                                                             \
        __asm__(ASM_FLAGS_IN "imul" S " %2, %0" ASM_FLAGS_OUT : "+&r"(a), "+&a"(f) : "r"(b) : "cc");         \
        *fl = flags_unpack(f, *fl);                                                                          \
        return a;                                                                                            \
    }                                                                                                        \
    static int h_imul##N##_2(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(rm_value##N(v, i, &b));                                                                          \
        GPR##N(v, i->reg) = imul_low##N(GPR##N(v, i->reg), b, &v->aflags);                                   \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_imul##N##_3(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(rm_value##N(v, i, &b));                                                                          \
        GPR##N(v, i->reg) = imul_low##N(b, (T)i->imm, &v->aflags);                                           \
        return CPU_OK;                                                                                       \
    }
DEFINE_IMUL(16, u16, "w")
DEFINE_IMUL(32, u32, "l")

/* ---- decimal arithmetic ---- */

/* SF, ZF and PF of al, plus the given CF and AF; OF is 0. */
static void set_bcd_flags(struct vcpu *v, u8 al, u32 carries)
{
    u32 fl = (v->aflags & FL_DF) | carries;
    if (al == 0)
        fl |= FL_ZF;
    if (al & 0x80)
        fl |= FL_SF;
    if (!__builtin_parity(al))
        fl |= FL_PF;
    v->aflags = fl;
}

static int h_daa(struct vcpu *v, const struct insn *i)
{
    u8 old = GPR8(v, R_EAX), al = old;
    u32 cf = v->aflags & FL_CF, fl = 0;

    if ((al & 15) > 9 || (v->aflags & FL_AF)) {
        al += 6;
        fl |= FL_AF;
    }
    if (old > 0x99 || cf) {
        al += 0x60;
        fl |= FL_CF;
    }
    GPR8(v, R_EAX) = al;
    set_bcd_flags(v, al, fl);
    return CPU_OK;
}

static int h_das(struct vcpu *v, const struct insn *i)
{
    u8 old = GPR8(v, R_EAX), al = old;
    u32 cf = v->aflags & FL_CF, fl = 0;

    if ((al & 15) > 9 || (v->aflags & FL_AF)) {
        if (cf || al < 6)
            fl |= FL_CF;
        al -= 6;
        fl |= FL_AF;
    }
    if (old > 0x99 || cf) {
        al -= 0x60;
        fl |= FL_CF;
    }
    GPR8(v, R_EAX) = al;
    set_bcd_flags(v, al, fl);
    return CPU_OK;
}

static int h_aaa(struct vcpu *v, const struct insn *i)
{
    u16 ax = GPR16(v, R_EAX);
    u32 fl = 0;

    if ((ax & 15) > 9 || (v->aflags & FL_AF)) {
        ax += 0x106;
        fl = FL_AF | FL_CF;
    }
    ax &= 0xff0f;
    GPR16(v, R_EAX) = ax;
    set_bcd_flags(v, (u8)ax, fl);
    return CPU_OK;
}

static int h_aas(struct vcpu *v, const struct insn *i)
{
    u16 ax = GPR16(v, R_EAX);
    u32 fl = 0;

    if ((ax & 15) > 9 || (v->aflags & FL_AF)) {
        ax -= 0x106;
        fl = FL_AF | FL_CF;
    }
    ax &= 0xff0f;
    GPR16(v, R_EAX) = ax;
    set_bcd_flags(v, (u8)ax, fl);
    return CPU_OK;
}

static int h_aam(struct vcpu *v, const struct insn *i)
{
    u8 al = GPR8(v, R_EAX), base = (u8)i->imm;

    if (base == 0)
        return cpu_raise(v, EXC_DE);
    GPR16(v, R_EAX) = (u16)((al / base) << 8 | al % base);
    set_bcd_flags(v, al % base, 0);
    return CPU_OK;
}

static int h_aad(struct vcpu *v, const struct insn *i)
{
    u16 ax = GPR16(v, R_EAX);
    u8 al = (u8)((ax & 0xff) + (ax >> 8) * (u8)i->imm);

    GPR16(v, R_EAX) = al;
    set_bcd_flags(v, al, 0);
    return CPU_OK;
}

static int h_salc(struct vcpu *v, const struct insn *i)
{
    GPR8(v, R_EAX) = v->aflags & FL_CF ? 0xff : 0;
    return CPU_OK;
}

/* ---- cbw cwde cwd cdq ---- */

static int h_cbw(struct vcpu *v, const struct insn *i)
{
    GPR16(v, R_EAX) = (u16)(i16)(i8)v->gpr[R_EAX];
    return CPU_OK;
}
static int h_cwde(struct vcpu *v, const struct insn *i)
{
    v->gpr[R_EAX] = (u32)(i32)(i16)v->gpr[R_EAX];
    return CPU_OK;
}
static int h_cwd(struct vcpu *v, const struct insn *i)
{
    GPR16(v, R_EDX) = v->gpr[R_EAX] & 0x8000 ? 0xffff : 0;
    return CPU_OK;
}
static int h_cdq(struct vcpu *v, const struct insn *i)
{
    v->gpr[R_EDX] = v->gpr[R_EAX] & 0x80000000u ? ~0u : 0;
    return CPU_OK;
}

insn_fn muldiv_lookup(const struct insn *i)
{
    static const insn_fn group3[4][3] = {
        {h_mul8, h_mul16, h_mul32},
        {h_imul8, h_imul16, h_imul32},
        {h_div8, h_div16, h_div32},
        {h_idiv8, h_idiv16, h_idiv32},
    };
    bool w = i->opsize == 4;

    if (i->map == 1)
        return i->opcode == 0xaf ? (w ? h_imul32_2 : h_imul16_2) : NULL;
    if (i->map != 0)
        return NULL;
    switch (i->opcode) {
    case 0x27:
        return h_daa;
    case 0x2f:
        return h_das;
    case 0x37:
        return h_aaa;
    case 0x3f:
        return h_aas;
    case 0x69:
    case 0x6b:
        return w ? h_imul32_3 : h_imul16_3;
    case 0x98:
        return w ? h_cwde : h_cbw;
    case 0x99:
        return w ? h_cdq : h_cwd;
    case 0xd4:
        return h_aam;
    case 0xd5:
        return h_aad;
    case 0xd6:
        return h_salc;
    case 0xf6:
    case 0xf7:
        return i->reg >= 4 ? group3[i->reg - 4][insn_size_index(i)] : NULL;
    default:
        return NULL;
    }
}
