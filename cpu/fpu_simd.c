/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MMX, SSE and SSE2 instructions (opcode map 0F).
 *
 * One table row per opcode and mandatory prefix says how the instruction treats its operands; the operation
 * itself is the host's, through a thunk. The order of checks is that of SDM vol. 2, 2.4-2.5 and tables 23-4
 * to 23-8: #UD (CR0.EM, CR4.OSFXSR), #NM, pending x87 exceptions for MMX, segment, alignment (#GP(0)),
 * paging, then SIMD exceptions.
 *
 * SIMD exceptions are faults: the destination must keep its value. The host must not take them, so when the
 * guest has any unmasked, the instruction runs with all of them masked on a saved copy of the state, and the
 * flags raised decide (simd_unmasked()).
 */
#include "cpu/fpu.h"

struct simd_op {
    u8 size; /* bytes of the memory operand */
    u16 attr;
};

#define V  FPA_VALID
#define M  (V | FPA_MMX)
#define X  (V | FPA_XMM)
#define MX (V | FPA_MMX | FPA_XMM)
#define AL FPA_ALIGN
#define ST FPA_STORE
#define FP FPA_FP
#define NM FPA_NOMEM
#define NR FPA_NOREG
#define IM FPA_IMM
#define GM FPA_GRM
#define GR FPA_GREG
#define EF FPA_EFL

/* Mandatory prefix: the second index of the table. */
enum { P_NP, P_66, P_F3, P_F2 };

/* MMX form on 8 bytes, SSE2 form on 16 aligned ones. */
#define INT2                                                                                                 \
    {                                                                                                        \
        [P_NP] = {8, M}, [P_66] = { 16, X | AL }                                                             \
    }
/* The same for punpckl*: the MMX form reads 4 bytes. */
#define INT2L                                                                                                \
    {                                                                                                        \
        [P_NP] = {4, M}, [P_66] = { 16, X | AL }                                                             \
    }
#define SHIFT_IMM                                                                                            \
    {                                                                                                        \
        [P_NP] = {0, M | NM | IM}, [P_66] = { 0, X | NM | IM }                                               \
    }
/* ps, pd without exceptions */
#define PSPD                                                                                                 \
    {                                                                                                        \
        [P_NP] = {16, X | AL}, [P_66] = { 16, X | AL }                                                       \
    }
/* ps, pd, ss, sd with exceptions */
#define FP4                                                                                                  \
    {                                                                                                        \
        [P_NP] = {16, X | AL | FP}, [P_66] = {16, X | AL | FP}, [P_F3] = {4, X | FP}, [P_F2] = { 8, X | FP } \
    }

static const struct simd_op ops[256][4] = {
    [0x10] = {{16, X}, {16, X}, {4, X}, {8, X}},                     /* movups movupd movss movsd */
    [0x11] = {{16, X | ST}, {16, X | ST}, {4, X | ST}, {8, X | ST}}, /* stores of these */
    [0x12] = {{8, X}, {8, X | NR}},                                  /* movlps (movhlps), movlpd */
    [0x13] = {{8, X | ST | NR}, {8, X | ST | NR}},
    [0x14] = PSPD,                  /* unpckl */
    [0x15] = PSPD,                  /* unpckh */
    [0x16] = {{8, X}, {8, X | NR}}, /* movhps (movlhps), movhpd */
    [0x17] = {{8, X | ST | NR}, {8, X | ST | NR}},
    [0x28] = PSPD, /* movaps movapd */
    [0x29] = {{16, X | ST | AL}, {16, X | ST | AL}},
    [0x2a] = {{8, MX | FP}, {8, MX | FP}, {4, X | FP | GM}, {4, X | FP | GM}}, /* cvtpi2ps.. cvtsi2sd */
    [0x2b] = {{16, X | ST | AL | NR}, {16, X | ST | AL | NR}},                 /* movntps movntpd */
    [0x2c] = {{8, MX | FP},
              {16, MX | FP | AL},
              {4, X | FP | GR},
              {8, X | FP | GR}}, /* cvttps2pi.. cvttsd2si */
    [0x2d] = {{8, MX | FP}, {16, MX | FP | AL}, {4, X | FP | GR}, {8, X | FP | GR}}, /* cvtps2pi.. */
    [0x2e] = {{4, X | FP | EF}, {8, X | FP | EF}},                                   /* ucomiss ucomisd */
    [0x2f] = {{4, X | FP | EF}, {8, X | FP | EF}},                                   /* comiss comisd */
    [0x50] = {{0, X | NM | GR}, {0, X | NM | GR}},                                   /* movmskps movmskpd */
    [0x51] = FP4,                                                                    /* sqrt */
    [0x52] = {{16, X | AL}, {0, 0}, {4, X}},                                         /* rsqrtps rsqrtss */
    [0x53] = {{16, X | AL}, {0, 0}, {4, X}},                                         /* rcpps rcpss */
    [0x54] = PSPD,
    [0x55] = PSPD,
    [0x56] = PSPD,
    [0x57] = PSPD,
    [0x58] = FP4, /* add */
    [0x59] = FP4, /* mul */
    [0x5a] = {{8, X | FP},
              {16, X | AL | FP},
              {4, X | FP},
              {8, X | FP}}, /* cvtps2pd cvtpd2ps cvtss2sd cvtsd2ss */
    [0x5b] = {{16, X | AL | FP}, {16, X | AL | FP}, {16, X | AL | FP}}, /* cvtdq2ps cvtps2dq cvttps2dq */
    [0x5c] = FP4,                                                       /* sub */
    [0x5d] = FP4,                                                       /* min */
    [0x5e] = FP4,                                                       /* div */
    [0x5f] = FP4,                                                       /* max */
    [0x60] = INT2L,
    [0x61] = INT2L,
    [0x62] = INT2L,
    [0x63] = INT2,
    [0x64] = INT2,
    [0x65] = INT2,
    [0x66] = INT2,
    [0x67] = INT2,
    [0x68] = INT2,
    [0x69] = INT2,
    [0x6a] = INT2,
    [0x6b] = INT2,
    [0x6c] = {[P_66] = {16, X | AL}},
    [0x6d] = {[P_66] = {16, X | AL}},
    [0x6e] = {{4, M | GM}, {4, X | GM}},      /* movd from r/m32 */
    [0x6f] = {{8, M}, {16, X | AL}, {16, X}}, /* movq movdqa movdqu */
    [0x70] = {{8, M | IM},
              {16, X | AL | IM},
              {16, X | AL | IM},
              {16, X | AL | IM}}, /* pshufw pshufd pshufhw pshuflw */
    [0x71] = SHIFT_IMM,
    [0x72] = SHIFT_IMM,
    [0x73] = SHIFT_IMM,
    [0x74] = INT2,
    [0x75] = INT2,
    [0x76] = INT2,
    [0x7e] = {{4, M | GM | ST}, {4, X | GM | ST}, {8, X}},   /* movd to r/m32, movq xmm, xmm/m64 */
    [0x7f] = {{8, M | ST}, {16, X | AL | ST}, {16, X | ST}}, /* movq movdqa movdqu */
    [0xc2] = {{16, X | AL | FP | IM}, {16, X | AL | FP | IM}, {4, X | FP | IM}, {8, X | FP | IM}}, /* cmp */
    [0xc4] = {{2, M | GM | IM}, {2, X | GM | IM}},           /* pinsrw */
    [0xc5] = {{0, M | GR | NM | IM}, {0, X | GR | NM | IM}}, /* pextrw */
    [0xc6] = {{16, X | AL | IM}, {16, X | AL | IM}},         /* shufps shufpd */
    [0xd1] = INT2,
    [0xd2] = INT2,
    [0xd3] = INT2,
    [0xd4] = INT2,
    [0xd5] = INT2,
    [0xd6] = {{0, 0}, {8, X | ST}, {0, MX | NM}, {0, MX | NM}}, /* movq xmm/m64, xmm; movq2dq; movdq2q */
    [0xd7] = {{0, M | GR | NM}, {0, X | GR | NM}},              /* pmovmskb */
    [0xd8] = INT2,
    [0xd9] = INT2,
    [0xda] = INT2,
    [0xdb] = INT2,
    [0xdc] = INT2,
    [0xdd] = INT2,
    [0xde] = INT2,
    [0xdf] = INT2,
    [0xe0] = INT2,
    [0xe1] = INT2,
    [0xe2] = INT2,
    [0xe3] = INT2,
    [0xe4] = INT2,
    [0xe5] = INT2,
    [0xe6] = {{0, 0}, {16, X | AL | FP}, {8, X}, {16, X | AL | FP}}, /* cvttpd2dq cvtdq2pd cvtpd2dq */
    [0xe7] = {{8, M | ST | NR}, {16, X | ST | AL | NR}},             /* movntq movntdq */
    [0xe8] = INT2,
    [0xe9] = INT2,
    [0xea] = INT2,
    [0xeb] = INT2,
    [0xec] = INT2,
    [0xed] = INT2,
    [0xee] = INT2,
    [0xef] = INT2,
    [0xf1] = INT2,
    [0xf2] = INT2,
    [0xf3] = INT2,
    [0xf4] = INT2,
    [0xf5] = INT2,
    [0xf6] = INT2,
    [0xf8] = INT2,
    [0xf9] = INT2,
    [0xfa] = INT2,
    [0xfb] = INT2,
    [0xfc] = INT2,
    [0xfd] = INT2,
    [0xfe] = INT2,
};

#undef V
#undef M
#undef X
#undef MX
#undef AL
#undef ST
#undef FP
#undef NM
#undef NR
#undef IM
#undef GM
#undef GR
#undef EF

/* Checks before anything else; may return from the handler. */
#define SIMD_BEGIN(v, i, attr)                                                                               \
    do {                                                                                                     \
        if (unlikely((v)->cr0 & CR0_EM) || (((attr)&FPA_XMM) && unlikely(!((v)->cr4 & CR4_OSFXSR))))         \
            return cpu_raise(v, EXC_UD);                                                                     \
        if (unlikely((v)->cr0 & CR0_TS))                                                                     \
            return cpu_raise(v, EXC_NM);                                                                     \
        if (((attr)&FPA_MMX) && unlikely(fpu_get_fsw(v) & FSW_ES))                                           \
            return fpu_pending(v, i);                                                                        \
    } while (0)

/* ---- handlers ---- */

/* Register form, no general registers, no exceptions. */
static int simd_reg(struct vcpu *v, const struct insn *i)
{
    SIMD_BEGIN(v, i, i->fpu_attr);
    cpu_fpu_live(v);
    ((fpu_thunk)i->thunk)(NULL, NULL, 0);
    return CPU_OK;
}

/* Finds the memory operand of a load: its own address or a copy in bounce. */
static inline int load_operand(struct vcpu *v, const struct insn *i, u8 *bounce, void **p)
{
    u32 lin;

    TRY(mem_linear(v, i->seg, insn_ea(v, i), i->memsize, SEGF_R, &lin));
    if ((i->fpu_attr & FPA_ALIGN) && unlikely(lin & 15))
        return cpu_raise_err(v, EXC_GP, 0);
    *p = fpu_host(v->rtab, lin, i->memsize);
    if (unlikely(!*p)) {
        TRY(lin_load(v, lin, bounce, i->memsize));
        *p = bounce;
    }
    return CPU_OK;
}

static int simd_load(struct vcpu *v, const struct insn *i)
{
    u8 bounce[64] __attribute__((aligned(64)));
    void *p;

    SIMD_BEGIN(v, i, i->fpu_attr);
    TRY(load_operand(v, i, bounce, &p));
    cpu_fpu_live(v);
    ((fpu_thunk)i->thunk)(p, NULL, 0);
    return CPU_OK;
}

/* A store whose memory operand faults. The x87's TOP of an MMX store may be 0 by then (cpu/hostcpu.h). */
static int store_fault(struct vcpu *v, const struct insn *i)
{
    u32 env[7]; /* SDM vol. 1, figure 8-9: [1] status word */

    if ((i->fpu_attr & FPA_MMX) && host_cpu.mmx_fault_clears_top) {
        cpu_fpu_live(v);
        __asm__ volatile("fnstenv %0" : "=m"(env));
        env[1] &= ~(u32)FSW_TOP;
        __asm__ volatile("fldenv %0" : : "m"(env));
    }
    return CPU_FAULT;
}

/* No store raises SIMD exceptions or has a general register operand in its memory form. */
static int simd_store(struct vcpu *v, const struct insn *i)
{
    u8 bounce[64] __attribute__((aligned(64)));
    u32 lin;
    void *p;

    SIMD_BEGIN(v, i, i->fpu_attr);
    if (mem_linear(v, i->seg, insn_ea(v, i), i->memsize, SEGF_W, &lin))
        return store_fault(v, i);
    if ((i->fpu_attr & FPA_ALIGN) && unlikely(lin & 15))
        return cpu_raise_err(v, EXC_GP, 0);
    p = fpu_host(v->wtab, lin, i->memsize);
    if (likely(p)) {
        cpu_fpu_live(v);
        ((fpu_thunk)i->thunk)(p, NULL, 0);
        return CPU_OK;
    }
    /* An MMX store, too, changes the x87 tag word: nothing may happen before memory is known to be writable.
     */
    if (lin_probe_write(v, lin, i->memsize))
        return store_fault(v, i);
    cpu_fpu_live(v);
    ((fpu_thunk)i->thunk)(bounce, NULL, 0);
    return lin_store(v, lin, bounce, i->memsize);
}

/* Loads and register forms with everything: general registers, EFLAGS, exceptions. */
static int simd_any(struct vcpu *v, const struct insn *i)
{
    u8 bounce[64] __attribute__((aligned(64)));
    u16 attr = i->fpu_attr;
    void *p = NULL;
    u32 dummy = 0, *g = &dummy;
    u64 fl = v->aflags & FL_ARITH;

    SIMD_BEGIN(v, i, attr);
    if (i->has_mem)
        TRY(load_operand(v, i, bounce, &p));
    else if (attr & FPA_GRM)
        g = &v->gpr[i->rm];
    if (attr & FPA_GREG)
        g = &v->gpr[i->reg];
    cpu_fpu_live(v);
    if ((attr & FPA_FP) && unlikely((fpu_get_mxcsr(v) & 0x1f80) != 0x1f80))
        TRY(simd_unmasked(v, i, p, g, &fl));
    else
        fl = ((fpu_thunk)i->thunk)(p, g, fl);
    if (attr & FPA_EFL)
        v->aflags = (v->aflags & ~FL_ARITH) | ((u32)fl & FL_ARITH);
    return CPU_OK;
}

/*
 * maskmovq, maskmovdqu: bytes selected by a mask register go to seg:[(e)di]. When they cannot be stored
 * directly, the instruction runs on two different backgrounds: bytes that come out equal are the selected
 * ones.
 */
static int simd_maskmov(struct vcpu *v, const struct insn *i)
{
    u8 a[16] __attribute__((aligned(16))), b[16] __attribute__((aligned(16)));
    u32 len = i->fpu_attr & FPA_XMM ? 16 : 8, lin, n;
    u32 off = i->adsize == 2 ? v->gpr[R_EDI] & 0xffff : v->gpr[R_EDI];
    fpu_thunk fn = (fpu_thunk)i->thunk;
    void *p;

    SIMD_BEGIN(v, i, i->fpu_attr);
    TRY(mem_linear(v, i->seg_over == S_NONE ? S_DS : i->seg_over, off, len, SEGF_W, &lin));
    p = fpu_host(v->wtab, lin, len);
    if (likely(p)) {
        cpu_fpu_live(v);
        fn(p, NULL, 0);
        return CPU_OK;
    }
    for (n = 0; n < len; n += 8) /* #AC wants quadwords aligned, of maskmovdqu as well */
        TRY(lin_probe_write(v, lin + n, 8));
    __builtin_memset(a, 0x00, sizeof(a));
    __builtin_memset(b, 0xff, sizeof(b));
    cpu_fpu_live(v);
    fn(a, NULL, 0);
    fn(b, NULL, 0);
    for (n = 0; n < len; n++) {
        if (a[n] == b[n])
            TRY(lin_write8(v, lin + n, a[n]));
    }
    return CPU_OK;
}

static int simd_emms(struct vcpu *v, const struct insn *i)
{
    SIMD_BEGIN(v, i, FPA_MMX);
    cpu_fpu_live(v);
    __asm__ volatile("emms");
    return CPU_OK;
}

/* ---- cache and ordering: no FPU state, so no #NM ---- */

static int simd_movnti(struct vcpu *v, const struct insn *i)
{
    return mem_write32(v, i->seg, insn_ea(v, i), v->gpr[i->reg]);
}
static int simd_prefetch(struct vcpu *v, const struct insn *i)
{
    return CPU_OK;
}
static int simd_clflush(struct vcpu *v, const struct insn *i)
{
    u8 byte;
    return mem_read8(v, i->seg, insn_ea(v, i), &byte); /* checked like a load */
}
static int simd_fence(struct vcpu *v, const struct insn *i)
{
    __asm__ volatile("mfence" : : : "memory");
    return CPU_OK;
}

/* ---- lookup ---- */

static insn_fn special_lookup(struct insn *i)
{
    bool np = !(i->pfx & (PFX_66 | PFX_REP | PFX_REPNE));

    i->memsize = 0;
    i->fpu = 0;
    i->fpu_attr = FPA_VALID;
    switch (i->opcode) {
    case 0x18:
        return i->has_mem && i->reg < 4 ? simd_prefetch : NULL;
    case 0x77:
        i->fpu = 2;
        i->fpu_attr = FPA_VALID | FPA_MMX;
        return np ? simd_emms : NULL;
    case 0xae:
        if (!np)
            return NULL;
        if (i->has_mem)
            return i->reg == 7 ? simd_clflush : NULL;
        return i->reg >= 5 ? simd_fence : NULL;
    case 0xc3:
        i->memsize = 4;
        i->fpu_attr = FPA_VALID | FPA_STORE | FPA_GREG;
        return np && i->has_mem ? simd_movnti : NULL;
    }
    return NULL;
}

/* Is this row of the shift-by-immediate groups 71-73 defined? */
static bool shift_group_ok(const struct insn *i, bool xmm)
{
    switch (i->reg) {
    case 2:
    case 6:
        return true;
    case 4:
        return i->opcode != 0x73;
    case 3:
    case 7:
        return i->opcode == 0x73 && xmm;
    default:
        return false;
    }
}

/* Only the bits of an immediate that count, so that there are fewer thunks. */
static u8 imm_normal(const struct insn *i, bool xmm, u8 imm)
{
    switch (i->opcode) {
    case 0x71:
    case 0x72:
    case 0x73:
        return imm > 64 ? 64 : imm;
    case 0xc2:
        return imm & 7;
    case 0xc4:
    case 0xc5:
        return imm & (xmm ? 7 : 3);
    case 0xc6:
        return i->pfx & PFX_66 ? imm & 3 : imm;
    default:
        return imm;
    }
}

insn_fn simd_lookup(struct insn *i)
{
    static const u8 prefix[4] = {0, 0x66, 0xf3, 0xf2};
    u32 pfx = i->pfx & PFX_REP ? P_F3 : i->pfx & PFX_REPNE ? P_F2 : i->pfx & PFX_66 ? P_66 : P_NP;
    struct simd_op op = ops[i->opcode][pfx];
    bool maskmov = i->opcode == 0xf7 && pfx <= P_66;
    u8 code[6], reg = i->reg, rm = i->rm;
    u32 n = 0;
    u16 keep_mem = i->memsize;
    u8 keep_fpu = i->fpu;

    if (maskmov)
        op = (struct simd_op){0, FPA_VALID | FPA_NOMEM | (pfx == P_66 ? FPA_XMM : FPA_MMX)};
    if (!op.attr) {
        insn_fn fn = special_lookup(i);
        if (!fn) { /* not ours: leave it as it was */
            i->memsize = keep_mem;
            i->fpu = keep_fpu;
            i->fpu_attr = 0;
        }
        return fn;
    }
    if (!i->has_modrm || (op.attr & (i->has_mem ? FPA_NOMEM : FPA_NOREG)))
        return NULL;
    if (i->opcode >= 0x71 && i->opcode <= 0x73 && !shift_group_ok(i, pfx == P_66))
        return NULL;
    if (i->has_mem) {
        op.attr &= (u16)~FPA_GRM;
        if (i->opcode == 0x2a && pfx <= P_66)
            op.attr &= (u16)~FPA_MMX; /* cvtpi2ps, cvtpi2pd xmm, m64 do not touch the x87 */
        rm = 7;
    } else {
        op.attr &= (u16) ~(FPA_ALIGN);
        if (op.attr & FPA_GRM)
            rm = 0;
    }
    if (op.attr & FPA_GREG)
        reg = 0;

    if (pfx != P_NP)
        code[n++] = prefix[pfx];
    code[n++] = 0x0f;
    code[n++] = i->opcode;
    code[n++] = (u8)((i->has_mem ? 0 : 0xc0) | reg << 3 | rm);
    if (op.attr & FPA_IMM)
        code[n++] = imm_normal(i, op.attr & FPA_XMM, i->raw[i->imm_off]);
    i->thunk = fpu_thunk_get(code, n,
                             op.attr & FPA_EFL                ? THUNK_FLAGS
                             : op.attr & (FPA_GRM | FPA_GREG) ? THUNK_GPR
                                                              : THUNK_PLAIN);
    i->fpu = op.attr & FPA_XMM ? 3 : 2;
    i->fpu_attr = op.attr;
    i->memsize = i->has_mem ? op.size : 0;

    if (maskmov)
        return simd_maskmov;
    if (op.attr & (FPA_GRM | FPA_GREG | FPA_EFL | FPA_FP))
        return simd_any;
    if (!i->has_mem)
        return simd_reg;
    return op.attr & FPA_STORE ? simd_store : simd_load;
}
