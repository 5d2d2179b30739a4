/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control: mov to and from CR and DR, clts, lmsw, smsw, descriptor-table registers, invlpg, wbinvd, hlt,
 * rdtsc, rdpmc, MSRs, cpuid, sysenter and sysexit; and sys_lookup(), the door to all sysinsn_*.c.
 *
 * Order of checks: does the instruction exist (#UD), may this CPL use it (#GP(0)), then operands.
 */
#include "cpu/sysinsn.h"

/* ---- control and debug registers ---- */

static bool cr_exists(const struct vcpu *v, u32 n)
{
    if (n == 4) /* came with the features that it switches */
        return v->model->featuresx & CPUFX_CPUID;
    return n == 0 || n == 2 || n == 3;
}
static int mov_from_cr(struct vcpu *v, const struct insn *i)
{
    if (!cr_exists(v, i->reg))
        return cpu_raise(v, EXC_UD);
    NEED_CPL0(v);
    v->gpr[i->rm] = cpu_read_cr(v, i->reg);
    return CPU_OK;
}
static int mov_to_cr(struct vcpu *v, const struct insn *i)
{
    if (!cr_exists(v, i->reg))
        return cpu_raise(v, EXC_UD);
    NEED_CPL0(v);
    return cpu_write_cr(v, i->reg, v->gpr[i->rm]);
}

/* DR4 and DR5 are other names of DR6 and DR7 unless CR4.DE; GD makes any access a #DB (SDM vol. 3, 17.2). */
static int dr_access(struct vcpu *v, u32 *n)
{
    if (*n == 4 || *n == 5) {
        if (v->cr4 & CR4_DE)
            return cpu_raise(v, EXC_UD);
        *n += 2;
    }
    NEED_CPL0(v);
    if (v->dr[7] & DR7_GD) {
        v->fault = (struct cpu_fault){.vector = EXC_DB, .dr6 = DR6_BD};
        return CPU_FAULT;
    }
    return CPU_OK;
}
static int mov_from_dr(struct vcpu *v, const struct insn *i)
{
    u32 n = i->reg;
    TRY(dr_access(v, &n));
    v->gpr[i->rm] = v->dr[n];
    return CPU_OK;
}
static int mov_to_dr(struct vcpu *v, const struct insn *i)
{
    u32 n = i->reg, val = v->gpr[i->rm];
    TRY(dr_access(v, &n));
    if (n == 6)
        val = (val & 0xe00f) | DR6_FIXED;
    else if (n == 7)
        val = (val & ~0xdc00u) | DR7_FIXED;
    v->dr[n] = val;
    if (n == 7)
        mode_refresh(v);
    return CPU_OK;
}

static int clts(struct vcpu *v, const struct insn *i)
{
    NEED_CPL0(v);
    if (v->cr0 & CR0_TS) {
        v->cr0 &= ~CR0_TS;
        mode_refresh(v);
    }
    return CPU_OK;
}
static int smsw(struct vcpu *v, const struct insn *i)
{
    return rm_write_sel(v, i, v->cr0);
}
static int lmsw(struct vcpu *v, const struct insn *i)
{
    const u32 bits = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
    u16 msw;
    NEED_CPL0(v);
    TRY(rm_read16(v, i, &msw));
    return cpu_write_cr(v, 0, (v->cr0 & ~(bits & ~CR0_PE)) | (msw & bits)); /* PE can only be set */
}

/* ---- descriptor-table registers ---- */

static int sgdt_sidt(struct vcpu *v, const struct insn *i)
{
    const struct dtr *t = i->reg == 0 ? &v->gdtr : &v->idtr;
    u8 image[6];
    u32 lin;
    __builtin_memcpy(image, &t->limit, 2);
    __builtin_memcpy(image + 2, &t->base, 4);
    TRY(mem_linear(v, i->seg, insn_ea(v, i), 6, SEGF_W, &lin));
    return lin_store(v, lin, image, 6);
}
static int lgdt_lidt(struct vcpu *v, const struct insn *i)
{
    u8 image[6];
    u32 lin;
    struct dtr t;
    NEED_CPL0(v);
    TRY(mem_linear(v, i->seg, insn_ea(v, i), 6, SEGF_R, &lin));
    TRY(lin_load(v, lin, image, 6));
    __builtin_memcpy(&t.limit, image, 2);
    __builtin_memcpy(&t.base, image + 2, 4);
    if (i->opsize == 2)
        t.base &= 0xffffff;
    if (i->reg == 2)
        v->gdtr = t;
    else
        v->idtr = t;
    return CPU_OK;
}

static int invlpg(struct vcpu *v, const struct insn *i)
{
    NEED_CPL0(v);
    v->ops->invlpg(v, v->seg[i->seg].base + insn_ea(v, i));
    return CPU_OK;
}
static int invd_wbinvd(struct vcpu *v, const struct insn *i) /* caches are not modelled */
{
    NEED_CPL0(v);
    return CPU_OK;
}
static int hlt(struct vcpu *v, const struct insn *i)
{
    NEED_CPL0(v);
    v->events |= EV_HALT;
    v->stats.halts++;
    return CPU_OK;
}

/* ---- counters, MSRs, identification ---- */

static int rdtsc(struct vcpu *v, const struct insn *i)
{
    if ((v->cr4 & CR4_TSD) && v->cpl != 0)
        return raise_gp0(v);
    u64 t = cpu_tsc(v);
    v->gpr[R_EAX] = (u32)t;
    v->gpr[R_EDX] = (u32)(t >> 32);
    return CPU_OK;
}
static int rdpmc(struct vcpu *v, const struct insn *i) /* two counters that never count */
{
    if ((v->cpl != 0 && !(v->cr4 & CR4_PCE)) || v->gpr[R_ECX] > 1)
        return raise_gp0(v);
    v->gpr[R_EAX] = v->gpr[R_EDX] = 0;
    return CPU_OK;
}
static int rdmsr(struct vcpu *v, const struct insn *i)
{
    u64 val;
    NEED_CPL0(v);
    TRY(cpu_rdmsr(v, v->gpr[R_ECX], &val));
    v->gpr[R_EAX] = (u32)val;
    v->gpr[R_EDX] = (u32)(val >> 32);
    return CPU_OK;
}
static int wrmsr(struct vcpu *v, const struct insn *i)
{
    NEED_CPL0(v);
    return cpu_wrmsr(v, v->gpr[R_ECX], v->gpr[R_EAX] | (u64)v->gpr[R_EDX] << 32);
}
static int cpuid(struct vcpu *v, const struct insn *i)
{
    u32 out[4];
    cpu_cpuid(v, v->gpr[R_EAX], v->gpr[R_ECX], out);
    v->gpr[R_EAX] = out[0];
    v->gpr[R_EBX] = out[1];
    v->gpr[R_ECX] = out[2];
    v->gpr[R_EDX] = out[3];
    return CPU_OK;
}

/* ---- sysenter, sysexit ---- */

static struct seg flat_seg(u32 sel, u32 dpl, u32 type)
{
    struct seg s = {.sel = (u16)sel,
                    .limit = ~0u,
                    .attr = SA_G | SA_DB | SA_P | SA_S | SA_RW | SA_A | type | dpl << SA_DPL_SHIFT};
    seg_calc(&s);
    return s;
}
static int sysenter(struct vcpu *v, const struct insn *i)
{
    u32 cs = (u32)v->msr_sysenter_cs & 0xfffc;
    if (!(v->cr0 & CR0_PE) || cs == 0)
        return raise_gp0(v);
    v->sflags &= ~(FL_VM | FL_RF);
    v->iflag = 0;
    v->cpl = 0;
    v->seg[S_CS] = flat_seg(cs, 0, SA_CODE);
    v->seg[S_SS] = flat_seg(cs + 8, 0, 0);
    v->gpr[R_ESP] = (u32)v->msr_sysenter_esp;
    v->next_eip = (u32)v->msr_sysenter_eip;
    mode_refresh(v);
    return CPU_OK;
}
static int sysexit(struct vcpu *v, const struct insn *i)
{
    u32 cs = (u32)v->msr_sysenter_cs & 0xfffc;
    if (!(v->cr0 & CR0_PE) || v->cpl != 0 || cs == 0)
        return raise_gp0(v);
    v->cpl = 3;
    v->seg[S_CS] = flat_seg((cs + 16) | 3, 3, SA_CODE);
    v->seg[S_SS] = flat_seg((cs + 24) | 3, 3, 0);
    v->gpr[R_ESP] = v->gpr[R_ECX];
    v->next_eip = v->gpr[R_EDX];
    mode_refresh(v);
    return CPU_OK;
}

insn_fn ctl_insn_lookup(const struct insn *i)
{
    if (i->map == 0)
        return i->opcode == 0xf4 ? hlt : NULL;
    switch (i->opcode) {
    case 0x01:
        switch (i->reg) {
        case 0:
        case 1:
            return i->has_mem ? sgdt_sidt : insn_ud; /* register forms: monitor, mwait, VMX ... */
        case 2:
        case 3:
            return i->has_mem ? lgdt_lidt : insn_ud;
        case 4:
            return smsw;
        case 6:
            return lmsw;
        case 7:
            return i->has_mem ? invlpg : insn_ud;
        default:
            return insn_ud;
        }
    case 0x06:
        return clts;
    case 0x08:
    case 0x09:
        return invd_wbinvd;
    case 0x0b: /* ud2, ud1, ud0, rsm outside system management mode */
    case 0xaa:
    case 0xb9:
    case 0xff:
        return insn_ud;
    case 0x20:
        return mov_from_cr;
    case 0x21:
        return mov_from_dr;
    case 0x22:
        return mov_to_cr;
    case 0x23:
        return mov_to_dr;
    case 0x30:
        return wrmsr;
    case 0x31:
        return rdtsc;
    case 0x32:
        return rdmsr;
    case 0x33:
        return rdpmc;
    case 0x34:
        return sysenter;
    case 0x35:
        return sysexit;
    case 0xa2:
        return cpuid;
    }
    return NULL;
}

insn_fn sys_lookup(const struct insn *i)
{
    static insn_fn (*const parts[])(const struct insn *) = {seg_insn_lookup, flag_insn_lookup, io_insn_lookup,
                                                            ctl_insn_lookup};
    if (i->map > 1)
        return NULL;
    for (size_t k = 0; k < ARRAY_SIZE(parts); k++) {
        insn_fn fn = parts[k](i);
        if (fn)
            return fn;
    }
    return NULL;
}
