/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Data movement: mov (general registers, memory, moffs), movzx movsx, lea, xchg, xadd, cmpxchg, cmpxchg8b,
 * xlat, lahf sahf, the flag bits clc stc cmc cld std, and the nops.
 *
 * mov to and from segment, control and debug registers is in cpu/system.c.
 */
#include "cpu/interp.h"

#define DEFINE_MOV(N, T, ST, S)                                                                              \
    static int h_mov##N##_rr(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        GPR##N(v, i->rm) = GPR##N(v, i->reg);                                                                \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_mov##N##_xr(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        GPR##N(v, i->reg) = GPR##N(v, i->rm);                                                                \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_mov##N##_mr(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        return op_write##N(v, i, GPR##N(v, i->reg));                                                         \
    }                                                                                                        \
    static int h_mov##N##_xm(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(op_read##N(v, i, &b));                                                                           \
        GPR##N(v, i->reg) = b;                                                                               \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_mov##N##_ri(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        GPR##N(v, i->rm) = (T)i->imm;                                                                        \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_mov##N##_mi(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        return op_write##N(v, i, (T)i->imm);                                                                 \
    }                                                                                                        \
    static int h_mov##N##_oi(struct vcpu *v, const struct insn *i) /* register in the opcode */              \
    {                                                                                                        \
        GPR##N(v, i->opcode & 7) = (T)i->imm;                                                                \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_mov##N##_ao(struct vcpu *v, const struct insn *i) /* accumulator, moffs */                  \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(mem_read##N(v, i->seg, i->imm, &b));                                                             \
        GPR##N(v, R_EAX) = b;                                                                                \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_mov##N##_oa(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        return mem_write##N(v, i->seg, i->imm, GPR##N(v, R_EAX));                                            \
    }                                                                                                        \
    static int h_xchg##N##_r(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        T a = GPR##N(v, i->rm);                                                                              \
        GPR##N(v, i->rm) = GPR##N(v, i->reg);                                                                \
        GPR##N(v, i->reg) = a;                                                                               \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_xchg##N##_m(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        struct rmw m;                                                                                        \
        T a;                                                                                                 \
        TRY(rmw_open##N(v, i, &m, &a));                                                                      \
        TRY(rmw_close##N(v, &m, GPR##N(v, i->reg)));                                                         \
        GPR##N(v, i->reg) = a;                                                                               \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static inline u32 add_flags##N(T a, T b, u32 fl)                                                         \
    {                                                                                                        \
        u32 f;                                                                                               \
        __asm__("add" S " %2, %0" ASM_FLAGS_OUT : "+q"(a), "=&a"(f) : "q"(b) : "cc");                        \
        return flags_unpack(f, fl);                                                                          \
    }                                                                                                        \
    static int h_xadd##N##_r(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        T a = GPR##N(v, i->rm), b = GPR##N(v, i->reg);                                                       \
        v->aflags = add_flags##N(a, b, v->aflags);                                                           \
        GPR##N(v, i->reg) = a;                                                                               \
        GPR##N(v, i->rm) = (T)(a + b); /* last: xadd of a register with itself keeps the sum */              \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_xadd##N##_m(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        struct rmw m;                                                                                        \
        T a, b = GPR##N(v, i->reg);                                                                          \
        TRY(rmw_open##N(v, i, &m, &a));                                                                      \
        TRY(rmw_close##N(v, &m, (T)(a + b)));                                                                \
        v->aflags = add_flags##N(a, b, v->aflags);                                                           \
        GPR##N(v, i->reg) = a;                                                                               \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static inline u32 cmp_flags##N(T a, T b, u32 fl)                                                         \
    {                                                                                                        \
        u32 f;                                                                                               \
        __asm__("cmp" S " %2, %1" ASM_FLAGS_OUT : "=&a"(f) : "q"(a), "q"(b) : "cc");                         \
        return flags_unpack(f, fl);                                                                          \
    }                                                                                                        \
    static int h_cmpxchg##N##_r(struct vcpu *v, const struct insn *i)                                        \
    {                                                                                                        \
        T acc = GPR##N(v, R_EAX), a = GPR##N(v, i->rm);                                                      \
        v->aflags = cmp_flags##N(acc, a, v->aflags);                                                         \
        if (acc == a)                                                                                        \
            GPR##N(v, i->rm) = GPR##N(v, i->reg);                                                            \
        else                                                                                                 \
            GPR##N(v, R_EAX) = a;                                                                            \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static int h_cmpxchg##N##_m(struct vcpu *v, const struct insn *i) /* writes even if not equal */         \
    {                                                                                                        \
        struct rmw m;                                                                                        \
        T acc = GPR##N(v, R_EAX), a;                                                                         \
        TRY(rmw_open##N(v, i, &m, &a));                                                                      \
        TRY(rmw_close##N(v, &m, acc == a ? GPR##N(v, i->reg) : a));                                          \
        v->aflags = cmp_flags##N(acc, a, v->aflags);                                                         \
        if (acc != a)                                                                                        \
            GPR##N(v, R_EAX) = a;                                                                            \
        return CPU_OK;                                                                                       \
    }
FOR_SIZES(DEFINE_MOV)

/* xchg of the accumulator and the register in the opcode. */
#define DEFINE_XCHG_O(N, T)                                                                                  \
    static int h_xchg##N##_o(struct vcpu *v, const struct insn *i)                                           \
    {                                                                                                        \
        T a = GPR##N(v, R_EAX);                                                                              \
        GPR##N(v, R_EAX) = GPR##N(v, i->opcode & 7);                                                         \
        GPR##N(v, i->opcode & 7) = a;                                                                        \
        return CPU_OK;                                                                                       \
    }
DEFINE_XCHG_O(16, u16)
DEFINE_XCHG_O(32, u32)

/* movzx, movsx: from N bits to the operand size D. */
#define DEFINE_EXTEND(name, N, T, CT, D, DT)                                                                 \
    static int h_##name##N##_##D(struct vcpu *v, const struct insn *i)                                       \
    {                                                                                                        \
        T b;                                                                                                 \
        if (i->has_mem)                                                                                      \
            TRY(op_read##N(v, i, &b));                                                                       \
        else                                                                                                 \
            b = GPR##N(v, i->rm);                                                                            \
        GPR##D(v, i->reg) = (DT)(CT)b;                                                                       \
        return CPU_OK;                                                                                       \
    }
DEFINE_EXTEND(movzx, 8, u8, u8, 16, u16)
DEFINE_EXTEND(movzx, 8, u8, u8, 32, u32)
DEFINE_EXTEND(movzx, 16, u16, u16, 16, u16)
DEFINE_EXTEND(movzx, 16, u16, u16, 32, u32)
DEFINE_EXTEND(movsx, 8, u8, i8, 16, u16)
DEFINE_EXTEND(movsx, 8, u8, i8, 32, u32)
DEFINE_EXTEND(movsx, 16, u16, i16, 16, u16)
DEFINE_EXTEND(movsx, 16, u16, i16, 32, u32)

static int h_lea16(struct vcpu *v, const struct insn *i)
{
    GPR16(v, i->reg) = (u16)insn_ea(v, i);
    return CPU_OK;
}
static int h_lea32(struct vcpu *v, const struct insn *i)
{
    v->gpr[i->reg] = insn_ea(v, i);
    return CPU_OK;
}

static int h_cmpxchg8b(struct vcpu *v, const struct insn *i)
{
    u32 lin;
    u64 old, expect = (u64)v->gpr[R_EDX] << 32 | v->gpr[R_EAX];

    TRY(mem_linear(v, i->seg, insn_ea(v, i), 8, SEGF_R | SEGF_W, &lin));
    TRY(lin_probe_write(v, lin, 8));
    TRY(lin_read64(v, lin, &old));
    TRY(lin_write64(v, lin, old == expect ? (u64)v->gpr[R_ECX] << 32 | v->gpr[R_EBX] : old));
    if (old == expect) {
        v->aflags |= FL_ZF;
    } else {
        v->aflags &= ~FL_ZF;
        v->gpr[R_EAX] = (u32)old;
        v->gpr[R_EDX] = (u32)(old >> 32);
    }
    return CPU_OK;
}

static int h_xlat(struct vcpu *v, const struct insn *i)
{
    u8 b;
    TRY(mem_read8(v, i->seg, (v->gpr[R_EBX] + GPR8(v, R_EAX)) & addr_mask(i), &b));
    GPR8(v, R_EAX) = b;
    return CPU_OK;
}

static int h_lahf(struct vcpu *v, const struct insn *i)
{
    GPR8(v, 4) = (u8)((v->aflags & (FL_ARITH & 0xff)) | FL_1);
    return CPU_OK;
}
static int h_sahf(struct vcpu *v, const struct insn *i)
{
    v->aflags = (v->aflags & (FL_OF | FL_DF)) | (GPR8(v, 4) & (FL_ARITH & 0xff));
    return CPU_OK;
}
static int h_clc(struct vcpu *v, const struct insn *i)
{
    v->aflags &= ~FL_CF;
    return CPU_OK;
}
static int h_stc(struct vcpu *v, const struct insn *i)
{
    v->aflags |= FL_CF;
    return CPU_OK;
}
static int h_cmc(struct vcpu *v, const struct insn *i)
{
    v->aflags ^= FL_CF;
    return CPU_OK;
}
static int h_cld(struct vcpu *v, const struct insn *i)
{
    v->aflags &= ~FL_DF;
    return CPU_OK;
}
static int h_std(struct vcpu *v, const struct insn *i)
{
    v->aflags |= FL_DF;
    return CPU_OK;
}
static int h_nop(struct vcpu *v, const struct insn *i)
{
    return CPU_OK;
}

#define BY_SIZE(name, form)                                                                                  \
    {                                                                                                        \
        h_##name##8##form, h_##name##16##form, h_##name##32##form                                            \
    }

static insn_fn mov_lookup_0f(const struct insn *i)
{
    static const insn_fn xadd[2][3] = {BY_SIZE(xadd, _r), BY_SIZE(xadd, _m)};
    static const insn_fn cmpxchg[2][3] = {BY_SIZE(cmpxchg, _r), BY_SIZE(cmpxchg, _m)};
    bool w = i->opsize == 4;

    switch (i->opcode) {
    case 0x18 ... 0x1f: /* hint nops */
        return h_nop;
    case 0xb0:
    case 0xb1:
        return cmpxchg[i->has_mem][insn_size_index(i)];
    case 0xb6:
        return w ? h_movzx8_32 : h_movzx8_16;
    case 0xb7:
        return w ? h_movzx16_32 : h_movzx16_16;
    case 0xbe:
        return w ? h_movsx8_32 : h_movsx8_16;
    case 0xbf:
        return w ? h_movsx16_32 : h_movsx16_16;
    case 0xc0:
    case 0xc1:
        return xadd[i->has_mem][insn_size_index(i)];
    case 0xc7:
        return i->reg == 1 && i->has_mem ? h_cmpxchg8b : NULL;
    default:
        return NULL;
    }
}

insn_fn mov_lookup(const struct insn *i)
{
    static const insn_fn mov_store[2][3] = {BY_SIZE(mov, _rr), BY_SIZE(mov, _mr)};
    static const insn_fn mov_load[2][3] = {BY_SIZE(mov, _xr), BY_SIZE(mov, _xm)};
    static const insn_fn mov_imm[2][3] = {BY_SIZE(mov, _ri), BY_SIZE(mov, _mi)};
    static const insn_fn mov_ao[3] = BY_SIZE(mov, _ao), mov_oa[3] = BY_SIZE(mov, _oa);
    static const insn_fn xchg[2][3] = {BY_SIZE(xchg, _r), BY_SIZE(xchg, _m)};
    int sz = insn_size_index(i), m = i->has_mem;
    bool w = i->opsize == 4;

    if (i->map == 1)
        return mov_lookup_0f(i);
    if (i->map != 0)
        return NULL;
    switch (i->opcode) {
    case 0x86:
    case 0x87:
        return xchg[m][sz];
    case 0x88:
    case 0x89:
        return mov_store[m][sz];
    case 0x8a:
    case 0x8b:
        return mov_load[m][sz];
    case 0x8d:
        return w ? h_lea32 : h_lea16;
    case 0x90: /* also pause */
        return h_nop;
    case 0x91 ... 0x97:
        return w ? h_xchg32_o : h_xchg16_o;
    case 0x9e:
        return h_sahf;
    case 0x9f:
        return h_lahf;
    case 0xa0:
    case 0xa1:
        return mov_ao[sz];
    case 0xa2:
    case 0xa3:
        return mov_oa[sz];
    case 0xb0 ... 0xb7:
        return h_mov8_oi;
    case 0xb8 ... 0xbf:
        return w ? h_mov32_oi : h_mov16_oi;
    case 0xc6:
    case 0xc7:
        return mov_imm[m][sz];
    case 0xd7:
        return h_xlat;
    case 0xf5:
        return h_cmc;
    case 0xf8:
        return h_clc;
    case 0xf9:
        return h_stc;
    case 0xfc:
        return h_cld;
    case 0xfd:
        return h_std;
    default:
        return NULL;
    }
}
