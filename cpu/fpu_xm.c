/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SSE instructions while the guest has SIMD exceptions unmasked.
 *
 * The host must not take the guest's exceptions, so the instruction runs with all of them masked on a saved
 * copy of the state, and the flags that it raises decide. An exception is a fault: the state is put back,
 * with the flags added to MXCSR (SDM vol. 1, 11.5.3), and #XM raised. What masking changes is corrected:
 *
 *  - An unmasked exception found before the operation (invalid, denormal, divide by zero) keeps the operation
 * from happening, so also the flags of exceptions found after it.
 *  - Unmasked underflow means any tiny result, exact ones included, and it disables flush-to-zero. A trial
 * run with flush-to-zero on finds tiny results, as it flags them all.
 *  - With overflow or underflow unmasked, precision says whether rounding lost something as if the exponent
 * had no bounds. The x87, set to the same precision, has an exponent range that is as good as unbounded, so
 * it repeats the operation.
 *
 * The tests compare all this with what the host's CPU does. MXCSR is the guest's when simd_unmasked() is
 * called, and after.
 */
#include "cpu/fpu.h"

#define MX_FLAGS 0x003fu
#define MX_PRE   0x0007u /* IE, DE, ZE */
#define MX_OE    0x0008u
#define MX_UE    0x0010u
#define MX_PE    0x0020u
#define MX_DAZ   0x0040u
#define MX_MASKS 0x1f80u
#define MX_UM    0x0800u
#define MX_FTZ   0x8000u

static u32 get_mxcsr(void)
{
    u32 mx;
    __asm__ volatile("stmxcsr %0" : "=m"(mx));
    return mx;
}
static void set_mxcsr(u32 mx)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(mx));
}

static u64 lane(const u8 *p, u32 n, bool dbl, bool daz)
{
    u64 q = 0;

    __builtin_memcpy(&q, p + (dbl ? 8 : 4) * n, 4);
    if (dbl)
        __builtin_memcpy(&q, p + 8 * n, 8);
    if (daz && !(q & (dbl ? 0x7ff0000000000000 : 0x7f800000)))
        q &= dbl ? 0x8000000000000000 : 0x80000000;
    return q;
}

/* Would rounding be inexact in some lane, were the exponent unbounded? save: the state before. Leaves the x87
 * in disorder. */
static bool inexact_unbounded(const struct insn *i, const void *mem, const u8 *save, u32 mx)
{
    bool dbl = i->pfx & PFX_REP ? false : i->pfx & PFX_REPNE ? true : i->pfx & PFX_66;
    bool packed = !(i->pfx & (PFX_REP | PFX_REPNE)), daz = mx & MX_DAZ, cvt = i->opcode == 0x5a;
    u32 lanes = !packed ? 1 : dbl ? 2 : 4;
    const u8 *dst = save + 160 + 16 * i->reg;
    const u8 *src = i->has_mem ? mem : save + 160 + 16 * i->rm;
    u16 cw = (u16)(0x3f | (mx >> 13 & 3) << 10 | (dbl && !cvt ? 0x200 : 0)), sw;

    __asm__ volatile("fninit; fldcw %0" : : "m"(cw));
    for (u32 n = 0; n < lanes; n++) {
        u64 a = lane(dst, n, dbl, daz), b = lane(src, n, dbl, daz);
        if (cvt)
            __asm__ volatile("fldl %0; fld1" : : "m"(b));
        else if (dbl)
            __asm__ volatile("fldl %0; fldl %1" : : "m"(a), "m"(b));
        else
            __asm__ volatile("flds %0; flds %1" : : "m"(*(u32 *)&a), "m"(*(u32 *)&b));
        switch (i->opcode) {
        case 0x58:
            __asm__ volatile(".byte 0xde,0xc1"); /* faddp: st1 + st0 */
            break;
        case 0x5c:
            __asm__ volatile(".byte 0xde,0xe9"); /* fsubp: st1 - st0 */
            break;
        case 0x5e:
            __asm__ volatile(".byte 0xde,0xf9"); /* fdivp: st1 / st0 */
            break;
        default:                                 /* mul, and conversion to single as multiplication by 1 */
            __asm__ volatile(".byte 0xde,0xc9"); /* fmulp */
            break;
        }
        __asm__ volatile("fstp %%st(0); fnstsw %0" : "=a"(sw));
        if (sw & MX_PE)
            return true;
    }
    return false;
}

int simd_unmasked(struct vcpu *v, const struct insn *i, void *mem, u32 *g, u64 *flags)
{
    u8 save[512] __attribute__((aligned(64)));
    fpu_thunk fn = (fpu_thunk)i->thunk;
    u32 mx = get_mxcsr(), work = (mx & ~MX_FLAGS) | MX_MASKS;
    u32 gpr = *g, raised = 0, unmasked = ~(mx >> 7) & MX_FLAGS;
    u64 fl;

    __asm__ volatile("fxsave64 %0" : "=m"(save) : : "memory");
    if (!(mx & MX_UM)) {
        set_mxcsr(work | MX_FTZ);
        fn(mem, &gpr, *flags);
        raised = get_mxcsr() & MX_UE;
        __asm__ volatile("fxrstor64 %0" : : "m"(save) : "memory");
        gpr = *g;
        work &= ~MX_FTZ;
    }
    set_mxcsr(work);
    fl = fn(mem, &gpr, *flags);
    raised |= get_mxcsr() & MX_FLAGS;
    if (raised & unmasked & MX_PRE)
        raised &= MX_PRE;
    if (!(raised & unmasked)) {
        set_mxcsr(mx | raised);
        *g = gpr;
        *flags = fl;
        return CPU_OK;
    }
    if (raised & unmasked & (MX_OE | MX_UE)) {
        /* a masked overflow, and a masked underflow that is flagged, are inexact by themselves */
        raised &= raised & ~unmasked & (MX_OE | MX_UE) ? MX_FLAGS : MX_FLAGS & ~MX_PE;
        if (inexact_unbounded(i, mem, save, mx))
            raised |= MX_PE;
    }
    __asm__ volatile("fxrstor64 %0" : : "m"(save) : "memory");
    if (i->fpu_attr & FPA_MMX) { /* cvtps2pi and its like have switched the x87 to MMX mode by then */
        u64 t;
        __asm__ volatile("movq %%mm0, %0" : "=m"(t));
    }
    set_mxcsr(mx | raised);
    return cpu_raise(v, v->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
}
