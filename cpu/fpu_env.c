/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 control instructions, and the memory images of FPU state: environments, fnsave, fxsave, MXCSR.
 *
 * Images are made by the host's own instruction into a buffer, which gives exact control, status and tag
 * words; then the instruction, data pointer and opcode fields are replaced by the guest's (v->fpu_ip and
 * siblings), and the result is put into the format that operand size and mode ask for (SDM vol. 1, figures
 * 8-9 to 8-12). The host's pointers never leave this file.
 *
 * Every store probes memory first: fnstenv, fnsave change the FPU and must not do so and fault.
 */
#include "cpu/fpu.h"

/* The 28-byte protected-mode environment that fnstenv makes in 64-bit mode. */
struct env32 {
    u32 cw, sw, tw, ip, cs_op, dp, ds;
};

struct fxsave {
    u16 cw, sw;
    u8 tw, rsvd0;
    u16 op;
    u32 ip;
    u16 cs, rsvd1;
    u32 dp;
    u16 ds, rsvd2;
    u32 mxcsr, mxcsr_mask;
    u8 st[8][16];
    u8 xmm[16][16];
    u8 rsvd3[96];
} __attribute__((aligned(64)));

#define FX_LEGACY 160 /* header and ST0-7 */
#define FX_SSE    288 /* and XMM0-7 */

static bool has_sse(const struct vcpu *v)
{
    return !v->model || (v->model->features & CPUF_SSE);
}
/* Bits of MXCSR that may be set: DAZ came with SSE2. */
static u32 mxcsr_mask(const struct vcpu *v)
{
    return !v->model || (v->model->features & CPUF_SSE2) ? 0xffff : 0xffbf;
}
static bool real_format(const struct vcpu *v)
{
    return !(v->cr0 & CR0_PE) || (v->sflags & FL_VM);
}

static int ctrl_begin(struct vcpu *v, const struct insn *i)
{
    if (unlikely(v->cr0 & (CR0_EM | CR0_TS)))
        return cpu_raise(v, EXC_NM);
    return CPU_OK;
}
#define CTRL_WAIT(v, i)                                                                                      \
    do {                                                                                                     \
        if (unlikely(fpu_get_fsw(v) & FSW_ES))                                                               \
            return fpu_pending(v, i);                                                                        \
    } while (0)

/* Gives the monitor the chance to name the guest instruction behind the host's last x87 instruction: the
 * pointers are those of an environment that the host has just stored, the lower halves of its own addresses.
 */
static void name_pointers(struct vcpu *v, const struct env32 *e)
{
    if (v->ops->fpu_env)
        v->ops->fpu_env(v, e->ip, fpu_host_dp(e->sw, e->dp));
}

/* The host's fxsave, and what it knows of the last x87 instruction goes to v->fpu_ip and its siblings. */
static void save_and_name(struct vcpu *v, struct fxsave *fx)
{
    struct env32 e;

    cpu_fpu_live(v);
    __asm__ volatile("fxsave64 %0" : "=m"(*fx));
    if (!v->ops->fpu_env)
        return;
    if (host_cpu.fxsave_has_pointers) {
        e.sw = fx->sw;
        e.ip = fx->ip; /* the lower halves, as fnstenv's */
        e.dp = fx->dp;
    } else {
        __asm__ volatile("fnstenv %0\n\t" /* which masks all exceptions */
                         "fldcw %1"
                         : "=m"(e)
                         : "m"(fx->cw));
    }
    name_pointers(v, &e);
}

static void set_pointers(struct vcpu *v, u16 cs, u32 ip, u16 ds, u32 dp, u16 op)
{
    v->fpu_cs = cs;
    v->fpu_ip = ip;
    v->fpu_ds = ds;
    v->fpu_dp = dp;
    v->fpu_op = op & 0x7ff;
}

/* ---- small ones ---- */

static int x_fwait(struct vcpu *v, const struct insn *i)
{
    if (unlikely((v->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)))
        return cpu_raise(v, EXC_NM);
    CTRL_WAIT(v, i);
    return CPU_OK;
}

/* feni, fdisi, fsetpm: nothing since the 387 */
static int x_fnop_old(struct vcpu *v, const struct insn *i)
{
    return ctrl_begin(v, i);
}

static int x_fnclex(struct vcpu *v, const struct insn *i)
{
    TRY(ctrl_begin(v, i));
    cpu_fpu_live(v);
    __asm__ volatile("fnclex");
    fpu_ferr_update(v);
    return CPU_OK;
}

static int x_fninit(struct vcpu *v, const struct insn *i)
{
    TRY(ctrl_begin(v, i));
    cpu_fpu_live(v);
    __asm__ volatile("fninit");
    set_pointers(v, 0, 0, 0, 0, 0);
    fpu_ferr_update(v);
    return CPU_OK;
}

static int x_fnstsw_ax(struct vcpu *v, const struct insn *i)
{
    TRY(ctrl_begin(v, i));
    v->gpr[R_EAX] = (v->gpr[R_EAX] & 0xffff0000) | fpu_get_fsw(v);
    return CPU_OK;
}

static int x_fnstsw(struct vcpu *v, const struct insn *i)
{
    TRY(ctrl_begin(v, i));
    return mem_write16(v, i->seg, insn_ea(v, i), fpu_get_fsw(v));
}

static int x_fnstcw(struct vcpu *v, const struct insn *i)
{
    TRY(ctrl_begin(v, i));
    return mem_write16(v, i->seg, insn_ea(v, i), fpu_get_fcw(v));
}

static int x_fldcw(struct vcpu *v, const struct insn *i)
{
    u16 cw;

    TRY(ctrl_begin(v, i));
    CTRL_WAIT(v, i);
    TRY(mem_read16(v, i->seg, insn_ea(v, i), &cw));
    cpu_fpu_live(v);
    __asm__ volatile("fldcw %0" : : "m"(cw));
    return CPU_OK;
}

/* ---- environments ---- */

static u32 put16(u8 *out, u32 at, u32 val)
{
    u16 w = (u16)val;
    __builtin_memcpy(out + at, &w, 2);
    return at + 2;
}
static u32 put32(u8 *out, u32 at, u32 val)
{
    __builtin_memcpy(out + at, &val, 4);
    return at + 4;
}
static u32 get16(const u8 *in, u32 at)
{
    u16 w;
    __builtin_memcpy(&w, in + at, 2);
    return w;
}
static u32 get32(const u8 *in, u32 at)
{
    u32 d;
    __builtin_memcpy(&d, in + at, 4);
    return d;
}

/* Builds the guest's image from the host's control, status and tag words. Returns its size. */
static u32 env_build(struct vcpu *v, const struct env32 *e, u32 opsize, u8 *out)
{
    u32 at = 0;

    if (real_format(v)) {
        u32 ip = ((u32)v->fpu_cs << 4) + v->fpu_ip;
        u32 dp = ((u32)v->fpu_ds << 4) + v->fpu_dp;
        if (opsize == 2) {
            at = put16(out, at, e->cw);
            at = put16(out, at, e->sw);
            at = put16(out, at, e->tw);
            at = put16(out, at, ip);
            at = put16(out, at, (ip >> 16 & 15) << 12 | v->fpu_op);
            at = put16(out, at, dp);
            return put16(out, at, (dp >> 16 & 15) << 12);
        }
        at = put32(out, at, e->cw);
        at = put32(out, at, e->sw);
        at = put32(out, at, e->tw);
        at = put32(out, at, 0xffff0000 | (ip & 0xffff));
        at = put32(out, at, (ip >> 16) << 12 | v->fpu_op);
        at = put32(out, at, 0xffff0000 | (dp & 0xffff));
        return put32(out, at, (dp >> 16) << 12);
    }
    if (opsize == 2) {
        at = put16(out, at, e->cw);
        at = put16(out, at, e->sw);
        at = put16(out, at, e->tw);
        at = put16(out, at, v->fpu_ip);
        at = put16(out, at, v->fpu_cs);
        at = put16(out, at, v->fpu_dp);
        return put16(out, at, v->fpu_ds);
    }
    at = put32(out, at, e->cw);
    at = put32(out, at, e->sw);
    at = put32(out, at, e->tw);
    at = put32(out, at, v->fpu_ip);
    at = put32(out, at, v->fpu_cs | (u32)v->fpu_op << 16);
    at = put32(out, at, v->fpu_dp);
    return put32(out, at, 0xffff0000 | v->fpu_ds);
}

/* The inverse: fills e for the host's fldenv (null pointers) and sets the guest's pointers. */
static void env_parse(struct vcpu *v, const u8 *in, u32 opsize, struct env32 *e)
{
    u32 w[7];

    for (u32 n = 0; n < 7; n++)
        w[n] = opsize == 2 ? get16(in, 2 * n) : get32(in, 4 * n);
    *e = (struct env32){.cw = w[0] & 0xffff, .sw = w[1] & 0xffff, .tw = w[2] & 0xffff};
    if (!real_format(v))
        set_pointers(v, (u16)w[4], w[3], (u16)w[6], w[5], opsize == 2 ? 0 : (u16)(w[4] >> 16));
    else if (opsize == 2)
        set_pointers(v, 0, w[3] | (w[4] >> 12) << 16, 0, w[5] | (w[6] >> 12) << 16, (u16)w[4]);
    else
        set_pointers(v, 0, (w[3] & 0xffff) | (w[4] >> 12) << 16, 0, (w[5] & 0xffff) | (w[6] >> 12) << 16,
                     (u16)w[4]);
}

static int x_fnstenv(struct vcpu *v, const struct insn *i)
{
    struct env32 e;
    u8 out[28];
    u32 lin;

    TRY(ctrl_begin(v, i));
    TRY(mem_linear(v, i->seg, insn_ea(v, i), i->memsize, SEGF_W, &lin));
    TRY(lin_probe_write(v, lin, i->memsize));
    cpu_fpu_live(v);
    __asm__ volatile("fnstenv %0" : "=m"(e)); /* and masks every exception, as it should */
    name_pointers(v, &e);
    fpu_ferr_update(v);
    return lin_store(v, lin, out, env_build(v, &e, i->opsize, out));
}

static int x_fldenv(struct vcpu *v, const struct insn *i)
{
    struct env32 e;
    u8 in[28];
    u32 lin;

    TRY(ctrl_begin(v, i));
    CTRL_WAIT(v, i);
    TRY(mem_linear(v, i->seg, insn_ea(v, i), i->memsize, SEGF_R, &lin));
    TRY(lin_load(v, lin, in, i->memsize));
    env_parse(v, in, i->opsize, &e);
    cpu_fpu_live(v);
    __asm__ volatile("fldenv %0" : : "m"(e));
    fpu_ferr_update(v);
    return CPU_OK;
}

static int x_fnsave(struct vcpu *v, const struct insn *i)
{
    struct {
        struct env32 e;
        u8 st[80];
    } s;
    u8 out[108];
    u32 lin, n;

    TRY(ctrl_begin(v, i));
    TRY(mem_linear(v, i->seg, insn_ea(v, i), i->memsize, SEGF_W, &lin));
    TRY(lin_probe_write(v, lin, i->memsize));
    cpu_fpu_live(v);
    __asm__ volatile("fnsave %0" : "=m"(s)); /* and initialises */
    name_pointers(v, &s.e);
    n = env_build(v, &s.e, i->opsize, out);
    fpu_copy(out + n, s.st, 80);
    set_pointers(v, 0, 0, 0, 0, 0);
    fpu_ferr_update(v);
    return lin_store(v, lin, out, n + 80);
}

static int x_frstor(struct vcpu *v, const struct insn *i)
{
    struct {
        struct env32 e;
        u8 st[80];
    } s;
    u8 in[108];
    u32 lin;

    TRY(ctrl_begin(v, i));
    CTRL_WAIT(v, i);
    TRY(mem_linear(v, i->seg, insn_ea(v, i), i->memsize, SEGF_R, &lin));
    TRY(lin_load(v, lin, in, i->memsize));
    env_parse(v, in, i->opsize, &s.e);
    fpu_copy(s.st, in + i->memsize - 80, 80);
    cpu_fpu_live(v);
    __asm__ volatile("frstor %0" : : "m"(s));
    fpu_ferr_update(v);
    return CPU_OK;
}

/* ---- fxsave, fxrstor ---- */

static int fx_linear(struct vcpu *v, const struct insn *i, int acc, u32 *lin)
{
    TRY(ctrl_begin(v, i));
    TRY(mem_linear(v, i->seg, insn_ea(v, i), 512, acc, lin));
    if (*lin & 15)
        return cpu_raise_err(v, EXC_GP, 0);
    return CPU_OK;
}

static int x_fxsave(struct vcpu *v, const struct insn *i)
{
    struct fxsave fx;
    u32 lin;

    TRY(fx_linear(v, i, SEGF_W, &lin));
    TRY(lin_probe_write(v, lin, 512));
    save_and_name(v, &fx);
    fx.rsvd0 = 0;
    fx.rsvd1 = fx.rsvd2 = 0;
    fx.op = v->fpu_op;
    fx.ip = v->fpu_ip;
    fx.cs = v->fpu_cs;
    fx.dp = v->fpu_dp;
    fx.ds = v->fpu_ds;
    fx.mxcsr_mask = mxcsr_mask(v);
    if (!has_sse(v))
        fx.mxcsr = fx.mxcsr_mask = 0;
    return lin_store(v, lin, &fx, has_sse(v) ? FX_SSE : FX_LEGACY);
}

static int x_fxrstor(struct vcpu *v, const struct insn *i)
{
    struct fxsave fx;
    u32 lin;

    TRY(fx_linear(v, i, SEGF_R, &lin));
    TRY(lin_load(v, lin, &fx, 512));
    if (has_sse(v)) {
        if (fx.mxcsr & ~mxcsr_mask(v))
            return cpu_raise_err(v, EXC_GP, 0);
    } else {
        fx.mxcsr = fpu_get_mxcsr(v);
    }
    set_pointers(v, fx.cs, fx.ip, fx.ds, fx.dp, fx.op);
    fx.op = 0;
    fx.ip = fx.dp = 0;
    fx.cs = fx.rsvd1 = fx.ds = fx.rsvd2 = 0;
    fx.mxcsr_mask = 0;
    fpu_zero(fx.xmm[8], sizeof(fx) - offsetof(struct fxsave, xmm[8]));
    cpu_fpu_live(v); /* so that v->fx does not count any more */
    __asm__ volatile("fxrstor64 %0" : : "m"(fx));
    fpu_ferr_update(v);
    return CPU_OK;
}

/* ---- mxcsr ---- */

static int mxcsr_begin(struct vcpu *v)
{
    if (unlikely((v->cr0 & CR0_EM) || !(v->cr4 & CR4_OSFXSR)))
        return cpu_raise(v, EXC_UD);
    if (unlikely(v->cr0 & CR0_TS))
        return cpu_raise(v, EXC_NM);
    return CPU_OK;
}

static int x_stmxcsr(struct vcpu *v, const struct insn *i)
{
    TRY(mxcsr_begin(v));
    return mem_write32(v, i->seg, insn_ea(v, i), fpu_get_mxcsr(v));
}

static int x_ldmxcsr(struct vcpu *v, const struct insn *i)
{
    u32 mx;

    TRY(mxcsr_begin(v));
    TRY(mem_read32(v, i->seg, insn_ea(v, i), &mx));
    if (mx & ~mxcsr_mask(v))
        return cpu_raise_err(v, EXC_GP, 0);
    cpu_fpu_live(v);
    __asm__ volatile("ldmxcsr %0" : : "m"(mx));
    return CPU_OK;
}

/* ---- lookup ---- */

static insn_fn found(struct insn *i, u8 fpu, u16 attr, u32 memsize, insn_fn fn)
{
    i->fpu = fpu;
    i->fpu_attr = FPA_VALID | attr;
    i->memsize = (u16)memsize;
    return fn;
}

insn_fn fpu_env_lookup(struct insn *i)
{
    const u16 nw = FPA_CTRL | FPA_NOWAIT;
    u32 env = i->opsize == 2 ? 14 : 28;

    if (i->map == 1) {
        if (i->opcode != 0xae || !i->has_mem || (i->pfx & (PFX_REP | PFX_REPNE | PFX_66)))
            return NULL;
        switch (i->reg) {
        case 0:
            return found(i, 1, nw | FPA_STORE | FPA_ALIGN, 512, x_fxsave);
        case 1:
            return found(i, 1, nw | FPA_ALIGN, 512, x_fxrstor);
        case 2:
            return found(i, 3, FPA_XMM, 4, x_ldmxcsr);
        case 3:
            return found(i, 3, FPA_XMM | FPA_STORE, 4, x_stmxcsr);
        }
        return NULL;
    }
    if (i->opcode == 0x9b)
        return found(i, 1, FPA_CTRL, 0, x_fwait);
    if (!i->has_modrm)
        return NULL;
    if (i->has_mem) {
        switch (i->opcode << 4 | i->reg) {
        case 0xd94:
            return found(i, 1, FPA_CTRL, env, x_fldenv);
        case 0xd95:
            return found(i, 1, FPA_CTRL, 2, x_fldcw);
        case 0xd96:
            return found(i, 1, nw | FPA_STORE, env, x_fnstenv);
        case 0xd97:
            return found(i, 1, nw | FPA_STORE, 2, x_fnstcw);
        case 0xdd4:
            return found(i, 1, FPA_CTRL, env + 80, x_frstor);
        case 0xdd6:
            return found(i, 1, nw | FPA_STORE, env + 80, x_fnsave);
        case 0xdd7:
            return found(i, 1, nw | FPA_STORE, 2, x_fnstsw);
        }
        return NULL;
    }
    switch (i->opcode << 8 | 0xc0 | i->reg << 3 | i->rm) {
    case 0xdbe0:
    case 0xdbe1:
    case 0xdbe4:
        return found(i, 1, nw, 0, x_fnop_old);
    case 0xdbe2:
        return found(i, 1, nw, 0, x_fnclex);
    case 0xdbe3:
        return found(i, 1, nw, 0, x_fninit);
    case 0xdfe0:
        return found(i, 1, nw, 0, x_fnstsw_ax);
    }
    return NULL;
}
