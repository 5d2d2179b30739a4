/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the fpu*.c files: instruction attributes, thunks, and the checks that precede every x87, MMX and
 * SSE instruction. The translator may look at insn.fpu_attr, nobody else needs this header.
 */
#ifndef NOVT_CPU_FPU_H
#define NOVT_CPU_FPU_H

#include "cpu/access.h"
#include "cpu/cpu.h"
#include "cpu/hostcpu.h"
#include "cpu/insn.h"

/* insn.fpu_attr */
#define FPA_VALID 0x0001
#define FPA_MMX                                                                                              \
    0x0002 /* uses MMX registers: switches the x87 to MMX mode, reports pending x87 exceptions               \
            */
#define FPA_XMM    0x0004 /* uses XMM registers: needs CR4.OSFXSR */
#define FPA_STORE  0x0008 /* the memory operand is written (otherwise read) */
#define FPA_ALIGN  0x0010 /* the memory operand must be 16-byte aligned: #GP(0) */
#define FPA_FP     0x0020 /* may raise SIMD floating-point exceptions */
#define FPA_GRM    0x0040 /* register form: rm names a general register */
#define FPA_GREG   0x0080 /* reg names a general register */
#define FPA_EFL    0x0100 /* writes (or, x87, reads) EFLAGS */
#define FPA_NOMEM  0x0200 /* no memory form */
#define FPA_NOREG  0x0400 /* no register form */
#define FPA_IMM    0x0800 /* imm8 follows */
#define FPA_CTRL   0x1000 /* x87 control instruction: leaves FIP, FDP and FOP alone */
#define FPA_NOWAIT 0x2000 /* x87: does not report pending exceptions */

/* Host code for one instruction form: mem replaces the memory operand, *gpr the general register operand
 * (read and written), flags are loaded into EFLAGS before. Returns EFLAGS (only thunks made with
 * THUNK_FLAGS). */
typedef u64 (*fpu_thunk)(void *mem, u32 *gpr, u64 flags);
enum thunk_kind { THUNK_PLAIN, THUNK_GPR, THUNK_FLAGS };
/* Finds or makes the thunk for `len` (1..6) bytes of host code. Heavy code. Never NULL. (cpu/fpu_thunk.c) */
void *fpu_thunk_get(const u8 *code, u32 len, enum thunk_kind kind);
u32 fpu_thunk_count(void); /* thunks made so far */

insn_fn x87_lookup(struct insn *i);     /* cpu/fpu_x87.c: D8-DF, 9B */
insn_fn fpu_env_lookup(struct insn *i); /* cpu/fpu_env.c: control words, environments, fxsave, mxcsr */
insn_fn simd_lookup(struct insn *i);    /* cpu/fpu_simd.c: MMX, SSE, SSE2 */

/* Runs the thunk of an instruction that may raise SIMD exceptions, with live state and some of them unmasked:
 * CPU_OK with *g and *flags updated, or #XM (#UD without CR4.OSXMMEXCPT) with nothing changed but MXCSR's
 * flags. (cpu/fpu_xm.c) */
int simd_unmasked(struct vcpu *v, const struct insn *i, void *mem, u32 *g, u64 *flags);

/* A waiting instruction met a pending unmasked exception (SDM vol. 1, 8.7): #MF, or IRQ 13 and a frozen CPU,
 * or, while IGNNE# is asserted, runs i with the exception ignored. The caller returns the result at once. */
int fpu_pending(struct vcpu *v, const struct insn *i);
/* ES may just have been cleared: lowers FERR# (and IGNNE#) if so. */
void fpu_ferr_update(struct vcpu *v);

/* For more than a few bytes: the compiler may turn __builtin_memcpy of a fixed size into a call of libc's,
 * which uses vector registers. */
static inline void fpu_copy(void *to, const void *from, size_t n)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}
static inline void fpu_zero(void *to, size_t n)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(0) : "memory");
}

static inline u16 fpu_get_fsw(const struct vcpu *v)
{
    u16 sw;
    if (v->fpu_live)
        __asm__ volatile("fnstsw %0" : "=a"(sw));
    else
        __builtin_memcpy(&sw, v->fx + 2, 2);
    return sw;
}
static inline u16 fpu_get_fcw(const struct vcpu *v)
{
    u16 cw;
    if (v->fpu_live)
        __asm__ volatile("fnstcw %0" : "=m"(cw));
    else
        __builtin_memcpy(&cw, v->fx, 2);
    return cw;
}
static inline u32 fpu_get_mxcsr(const struct vcpu *v)
{
    u32 mx;
    if (v->fpu_live)
        __asm__ volatile("stmxcsr %0" : "=m"(mx));
    else
        __builtin_memcpy(&mx, v->fx + 24, 4);
    return mx;
}
#define FSW_ES  0x80
#define FSW_TOP 0x3800
/* Exceptions that keep a store from happening if they are unmasked: all but precision. */
#define FCW_NO_STORE 0x1f

/* The operand pointer of an environment that the host has stored, if it tells the last instruction's, else 0.
 */
static inline u32 fpu_host_dp(u32 fsw, u32 dp)
{
    return host_cpu.x87_dp_of_exceptions && !(fsw & FSW_ES) ? 0 : dp;
}

/* Host address of [lin, lin+len) if one table entry covers it, else NULL. */
static inline void *fpu_host(const u64 *tab, u32 lin, u32 len)
{
    u64 e = tab[lin >> PAGE_SHIFT];
    return likely(e && (lin & PAGE_MASK) <= PAGE_SIZE - len) ? (void *)(e + lin) : NULL;
}

#endif
