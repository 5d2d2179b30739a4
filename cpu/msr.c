/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Model-specific registers (SDM vol. 4). What the model lacks, and everything unknown, is #GP(0).
 *
 * MTRRs and PAT are stored and read back; memory types mean nothing here. Machine-check banks: none.
 */
#include "cpu/sys.h"

enum {
    MSR_P5_MC_ADDR = 0x0,
    MSR_P5_MC_TYPE = 0x1,
    MSR_TSC = 0x10,
    MSR_PLATFORM_ID = 0x17,
    MSR_APIC_BASE = 0x1b,
    MSR_EBL_CR_POWERON = 0x2a,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_UCODE_WRITE = 0x79,
    MSR_UCODE_REV = 0x8b,
    MSR_MTRRCAP = 0xfe,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_MCG_CAP = 0x179,
    MSR_MCG_STATUS = 0x17a,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_DEBUGCTL = 0x1d9,
    MSR_MTRR_PHYS0 = 0x200, /* base, mask, base, mask ... 8 pairs */
    MSR_MTRR_PHYS_END = 0x210,
    MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_EFER = 0xc0000080,
};

static const u16 mtrr_fix[11] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
#define PHYS_MASK ((1ull << 36) - 1)

static u64 *mtrr_slot(struct vcpu *v, u32 index)
{
    if (index >= MSR_MTRR_PHYS0 && index < MSR_MTRR_PHYS_END)
        return &v->msr_mtrr_phys[index - MSR_MTRR_PHYS0];
    for (int k = 0; k < 11; k++) {
        if (mtrr_fix[k] == index)
            return &v->msr_mtrr_fix[k];
    }
    return index == MSR_MTRR_DEF_TYPE ? &v->msr_mtrr_def_type : NULL;
}

/* Does the model have this MSR at all? */
static bool msr_exists(const struct vcpu *v, u32 index)
{
    u32 f = v->model->features;
    bool p6 = v->model->family >= 6;
    if (!(f & CPUF_MSR))
        return false;
    switch (index) {
    case MSR_P5_MC_ADDR:
    case MSR_P5_MC_TYPE:
    case MSR_TSC:
        return true;
    case MSR_PLATFORM_ID:
    case MSR_APIC_BASE:
    case MSR_EBL_CR_POWERON:
    case MSR_UCODE_WRITE:
    case MSR_UCODE_REV:
    case MSR_MISC_ENABLE:
    case MSR_DEBUGCTL:
        return p6;
    case MSR_TSC_DEADLINE:
        return v->model->featuresx & CPUFX_DEADLINE;
    case MSR_SYSENTER_CS:
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP:
        return f & CPUF_SEP;
    case MSR_MCG_CAP:
    case MSR_MCG_STATUS:
        return f & CPUF_MCA;
    case MSR_PAT:
        return f & CPUF_PAT;
    case MSR_EFER:
        return v->model->featuresx & CPUFX_NX;
    case MSR_MTRRCAP:
        return f & CPUF_MTRR;
    default:
        return (f & CPUF_MTRR) && mtrr_slot((struct vcpu *)v, index);
    }
}

int cpu_rdmsr(struct vcpu *v, u32 index, u64 *val)
{
    if (!msr_exists(v, index))
        return cpu_raise_err(v, EXC_GP, 0);
    switch (index) {
    case MSR_TSC:
        *val = cpu_tsc(v);
        break;
    case MSR_APIC_BASE:
        *val = v->msr_apic_base;
        break;
    case MSR_TSC_DEADLINE:
        *val = v->ops->tsc_deadline ? v->ops->tsc_deadline(v) : 0;
        break;
    case MSR_UCODE_WRITE:
        return cpu_raise_err(v, EXC_GP, 0);
    case MSR_UCODE_REV:
        *val = v->msr_ucode_rev;
        break;
    case MSR_MTRRCAP:
        *val = 0x508; /* 8 variable ranges, fixed ranges, write combining */
        break;
    case MSR_SYSENTER_CS:
        *val = v->msr_sysenter_cs;
        break;
    case MSR_SYSENTER_ESP:
        *val = v->msr_sysenter_esp;
        break;
    case MSR_SYSENTER_EIP:
        *val = v->msr_sysenter_eip;
        break;
    case MSR_MCG_STATUS:
        *val = v->msr_mcg_status;
        break;
    case MSR_MISC_ENABLE:
        *val = v->msr_misc_enable;
        break;
    case MSR_PAT:
        *val = v->msr_pat;
        break;
    case MSR_EFER:
        *val = v->efer;
        break;
    case MSR_P5_MC_ADDR:
    case MSR_P5_MC_TYPE:
    case MSR_PLATFORM_ID:
    case MSR_EBL_CR_POWERON:
    case MSR_MCG_CAP:
    case MSR_DEBUGCTL:
        *val = 0;
        break;
    default:
        *val = *mtrr_slot(v, index);
        break;
    }
    return CPU_OK;
}

static bool mtrr_type_ok(u64 t)
{
    return t <= 1 || (t >= 4 && t <= 6);
}

static bool mtrr_value_ok(u32 index, u64 val)
{
    if (index == MSR_MTRR_DEF_TYPE)
        return !(val & ~0xcffull) && mtrr_type_ok(val & 0xff);
    if (index < MSR_MTRR_PHYS_END) {
        if (val & ~PHYS_MASK)
            return false;
        return index & 1 ? !(val & 0x7ff) : !(val & 0xf00) && mtrr_type_ok(val & 0xff);
    }
    for (int k = 0; k < 64; k += 8) {
        if (!mtrr_type_ok((val >> k) & 0xff))
            return false;
    }
    return true;
}

static bool pat_ok(u64 val)
{
    for (int k = 0; k < 64; k += 8) {
        u32 t = (val >> k) & 0xff;
        if (t > 7 || t == 2 || t == 3)
            return false;
    }
    return true;
}

int cpu_wrmsr(struct vcpu *v, u32 index, u64 val)
{
    u64 *slot;
    if (!msr_exists(v, index))
        goto gp;
    switch (index) {
    case MSR_TSC:
        v->tsc_offset = val - __builtin_ia32_rdtsc();
        if (v->ops->tsc_deadline && (v->model->featuresx & CPUFX_DEADLINE))
            v->ops->set_tsc_deadline(v, v->ops->tsc_deadline(v)); /* comes nearer or moves away */
        break;
    case MSR_APIC_BASE: { /* without a local APIC the enable bit stays clear */
        bool apic = v->model->features & CPUF_APIC;
        if (val & ~(PHYS_MASK & ~0x6ffull)) /* x2APIC mode is not there */
            goto gp;
        v->msr_apic_base = (apic ? val : val & ~(1ull << 11)) | 0x100; /* the boot processor, forever */
        if (apic && v->ops->apic_base)
            v->ops->apic_base(v, v->msr_apic_base);
        break;
    }
    case MSR_TSC_DEADLINE:
        if (v->ops->set_tsc_deadline)
            v->ops->set_tsc_deadline(v, val);
        break;
    case MSR_UCODE_WRITE: /* no update is ever accepted, and none is refused loudly */
    case MSR_P5_MC_ADDR:
    case MSR_P5_MC_TYPE:
    case MSR_EBL_CR_POWERON:
        break;
    case MSR_UCODE_REV:
        v->msr_ucode_rev = val;
        break;
    case MSR_SYSENTER_CS:
        v->msr_sysenter_cs = (u32)val;
        break;
    case MSR_SYSENTER_ESP:
        v->msr_sysenter_esp = (u32)val;
        break;
    case MSR_SYSENTER_EIP:
        v->msr_sysenter_eip = (u32)val;
        break;
    case MSR_MCG_STATUS:
        if (val)
            goto gp;
        v->msr_mcg_status = 0;
        break;
    case MSR_MISC_ENABLE:
        v->msr_misc_enable = (val & ~0x1800ull) | 0x1800; /* BTS and PEBS are absent */
        break;
    case MSR_DEBUGCTL: /* last-branch records are not kept */
        if (val & ~0x7full)
            goto gp;
        break;
    case MSR_PAT:
        if (!pat_ok(val))
            goto gp;
        v->msr_pat = val;
        break;
    case MSR_EFER:
        if (val & ~(u64)EFER_NXE)
            goto gp;
        if (v->efer != val) {
            v->efer = val;
            v->ops->paging_changed(v);
        }
        break;
    case MSR_PLATFORM_ID:
    case MSR_MCG_CAP:
    case MSR_MTRRCAP:
        goto gp;
    default:
        slot = mtrr_slot(v, index);
        if (!mtrr_value_ok(index, val))
            goto gp;
        *slot = val;
        break;
    }
    return CPU_OK;
gp:
    return cpu_raise_err(v, EXC_GP, 0);
}
