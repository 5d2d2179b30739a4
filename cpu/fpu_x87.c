/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 instructions except the control and environment ones (cpu/fpu_env.c).
 *
 * The order of checks is the hardware's: #NM, then pending exceptions of an earlier instruction (#MF), then
 * the memory operand, then the operation. An exception that the operation itself raises is only noted in the
 * status word; the next waiting instruction reports it. So the host never traps here, as ES is clear whenever
 * a thunk runs.
 *
 * A store that raises an unmasked exception other than precision leaves memory alone. Some processors do not
 * even look at the operand then (cpu/hostcpu.h).
 *
 * Stores check that memory can be written before they run: fstp must not pop and then fault.
 */
#include "cpu/fpu.h"

static inline int x87_begin(struct vcpu *v, const struct insn *i)
{
    if (unlikely(v->cr0 & (CR0_EM | CR0_TS)))
        return cpu_raise(v, EXC_NM);
    return CPU_OK;
}

/* Use after x87_begin(): returns from the handler if an exception is pending. */
#define X87_WAIT(v, i)                                                                                       \
    do {                                                                                                     \
        if (unlikely(fpu_get_fsw(v) & FSW_ES))                                                               \
            return fpu_pending(v, i);                                                                        \
    } while (0)

static inline void x87_note(struct vcpu *v, const struct insn *i)
{
    v->fpu_ip = v->eip;
    v->fpu_cs = v->seg[S_CS].sel;
    v->fpu_op = (u16)((i->opcode & 7) << 8 | i->raw[i->modrm_off]);
}
/* Behind the instruction. */
static inline void x87_note_mem(struct vcpu *v, const struct insn *i, u32 off)
{
    x87_note(v, i);
    if (host_cpu.x87_dp_of_exceptions && !(fpu_get_fsw(v) & FSW_ES))
        return;
    v->fpu_dp = off;
    v->fpu_ds = v->seg[i->seg].sel;
}

static int x87_reg(struct vcpu *v, const struct insn *i)
{
    TRY(x87_begin(v, i));
    X87_WAIT(v, i);
    cpu_fpu_live(v);
    x87_note(v, i);
    ((fpu_thunk)i->thunk)(NULL, NULL, 0);
    return CPU_OK;
}

/* fcmovcc, fcomi and friends */
static int x87_flags(struct vcpu *v, const struct insn *i)
{
    u64 fl;

    TRY(x87_begin(v, i));
    X87_WAIT(v, i);
    cpu_fpu_live(v);
    x87_note(v, i);
    fl = ((fpu_thunk)i->thunk)(NULL, NULL, v->aflags & FL_ARITH);
    v->aflags = (v->aflags & ~FL_ARITH) | ((u32)fl & FL_ARITH);
    return CPU_OK;
}

static int x87_load(struct vcpu *v, const struct insn *i)
{
    u8 bounce[16] __attribute__((aligned(16)));
    u32 off, lin;
    void *p;

    TRY(x87_begin(v, i));
    X87_WAIT(v, i);
    off = insn_ea(v, i);
    TRY(mem_linear(v, i->seg, off, i->memsize, SEGF_R, &lin));
    p = fpu_host(v->rtab, lin, i->memsize);
    if (unlikely(!p)) {
        TRY(lin_load(v, lin, bounce, i->memsize));
        p = bounce;
    }
    cpu_fpu_live(v);
    ((fpu_thunk)i->thunk)(p, NULL, 0);
    x87_note_mem(v, i, off);
    return CPU_OK;
}

/* Has an exception been raised that keeps a store from happening: unmasked, and not precision? ES was clear
 * before, so none had been. */
static bool x87_no_store(struct vcpu *v)
{
    return fpu_get_fsw(v) & ~fpu_get_fcw(v) & FCW_NO_STORE;
}

/* Stores by way of the bounce buffer. */
static int x87_store_slow(struct vcpu *v, const struct insn *i, u32 off, u32 lin)
{
    u8 bounce[16] __attribute__((aligned(16)));

    TRY(lin_probe_write(v, lin, i->memsize));
    cpu_fpu_live(v);
    ((fpu_thunk)i->thunk)(bounce, NULL, 0);
    x87_note_mem(v, i, off);
    return x87_no_store(v) ? CPU_OK : lin_store(v, lin, bounce, i->memsize);
}

/* On a host that raises exceptions before it looks at memory: does this store do so? Then it is done. */
static bool x87_store_raises(struct vcpu *v, const struct insn *i, u32 off)
{
    u8 before[512] __attribute__((aligned(16))), bounce[16];

    if (!(~fpu_get_fcw(v) & FCW_NO_STORE))
        return false;
    cpu_fpu_live(v);
    __asm__ volatile("fxsave64 %0" : "=m"(before));
    ((fpu_thunk)i->thunk)(bounce, NULL, 0);
    if (x87_no_store(v)) {
        x87_note_mem(v, i, off);
        return true;
    }
    __asm__ volatile("fxrstor64 %0" : : "m"(before));
    return false;
}

static int x87_store(struct vcpu *v, const struct insn *i)
{
    u32 off, lin;
    void *p;

    TRY(x87_begin(v, i));
    X87_WAIT(v, i);
    off = insn_ea(v, i);
    if (host_cpu.x87_raises_first && x87_store_raises(v, i, off))
        return CPU_OK;
    TRY(mem_linear(v, i->seg, off, i->memsize, SEGF_W, &lin));
    p = fpu_host(v->wtab, lin, i->memsize);
    if (unlikely(!p))
        return x87_store_slow(v, i, off, lin);
    cpu_fpu_live(v);
    ((fpu_thunk)i->thunk)(p, NULL, 0);
    x87_note_mem(v, i, off);
    return CPU_OK;
}

/* Memory operand of DxH /reg: bytes, negative for stores, 0 if undefined or not handled here (control,
 * fisttp). */
static const i8 mem_ops[8][8] = {
    {4, 4, 4, 4, 4, 4, 4, 4},      /* D8: fadd fmul fcom fcomp fsub fsubr fdiv fdivr m32 */
    {4, 0, -4, -4, 0, 0, 0, 0},    /* D9: fld - fst fstp m32; environment and control word */
    {4, 4, 4, 4, 4, 4, 4, 4},      /* DA: fiadd ... m32int */
    {4, 0, -4, -4, 0, 10, 0, -10}, /* DB: fild - fist fistp m32int; - fld m80 - fstp m80 */
    {8, 8, 8, 8, 8, 8, 8, 8},      /* DC: fadd ... m64 */
    {8, 0, -8, -8, 0, 0, 0, 0},    /* DD: fld - fst fstp m64; frstor - fnsave fnstsw */
    {2, 2, 2, 2, 2, 2, 2, 2},      /* DE: fiadd ... m16int */
    {2, 0, -2, -2, 10, 8, -10, -8} /* DF: fild - fist fistp m16int; fbld, fild m64int, fbstp, fistp m64int */
};

/* Register forms DxC0H + 8 * row + bit: defined ones, aliases included, control ones not. */
static const u8 reg_ops[8][8] = {
    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* D8 */
    {0xff, 0xff, 0x01, 0xff, 0x33, 0x7f, 0xff,
     0xff}, /* D9: fld fxch fnop fstp; fchs fabs ftst fxam; constants; math */
    {0xff, 0xff, 0xff, 0xff, 0x00, 0x02, 0x00, 0x00}, /* DA: fcmovcc, fucompp */
    {0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff, 0x00}, /* DB: fcmovncc, (control), fucomi, fcomi */
    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* DC */
    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00}, /* DD: ffree fxch fst fstp fucom fucomp */
    {0xff, 0xff, 0xff, 0x02, 0xff, 0xff, 0xff, 0xff}, /* DE: D9 is fcompp */
    {0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff,
     0x00}, /* DF: ffreep fxch fstp fstp; (fnstsw ax), fucomip, fcomip */
};

insn_fn x87_lookup(struct insn *i)
{
    u8 op = i->opcode & 7;
    u8 code[2] = {i->opcode, 0};
    bool flags;
    int size;

    if ((i->opcode & 0xf8) != 0xd8 || !i->has_modrm)
        return NULL;
    if (i->has_mem) {
        size = mem_ops[op][i->reg & 7];
        if (!size)
            return NULL;
        i->memsize = (u16)(size < 0 ? -size : size);
        i->fpu = 1;
        i->fpu_attr = FPA_VALID | (size < 0 ? FPA_STORE : 0);
        code[1] = (u8)(i->reg << 3 | 7);
        i->thunk = fpu_thunk_get(code, 2, THUNK_PLAIN);
        return size < 0 ? x87_store : x87_load;
    }
    if (!(reg_ops[op][i->reg & 7] >> (i->rm & 7) & 1))
        return NULL;
    flags = ((op == 2 || op == 3) && i->reg < 4) ||                 /* fcmovcc */
            ((op == 3 || op == 7) && (i->reg == 5 || i->reg == 6)); /* f(u)comi(p) */
    i->memsize = 0;
    i->fpu = 1;
    i->fpu_attr = FPA_VALID | (flags ? FPA_EFL : 0);
    code[1] = (u8)(0xc0 | i->reg << 3 | i->rm);
    i->thunk = fpu_thunk_get(code, 2, flags ? THUNK_FLAGS : THUNK_PLAIN);
    return flags ? x87_flags : x87_reg;
}
