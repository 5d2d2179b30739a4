/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control registers, the TSC, and I/O permission.
 *
 * A write is checked completely (reserved bits, impossible combinations, PDPTEs) before anything changes;
 * then the register changes, then the world is told: paging_changed or cr3_loaded first, the mode last, so
 * that a view switch already sees the new paging.
 */
#include "base/log.h"
#include "cpu/sys.h"

u64 cpu_tsc(struct vcpu *v)
{
    if (unlikely(v->ops->tsc))
        return v->ops->tsc(v);
    return __builtin_ia32_rdtsc() + v->tsc_offset;
}

bool pdpte_read(struct vcpu *v, u32 cr3, u64 out[4])
{
    /* present entries: bits 1-2, 5-8 and those beyond the 36 physical address bits are reserved */
    const u64 reserved = 0x1e6ull | ~0ull << 36;
    for (u32 k = 0; k < 4; k++) {
        out[k] = v->ops->phys_read64(v, (cr3 & ~31u) + 8 * k);
        if ((out[k] & 1) && (out[k] & reserved))
            return false;
    }
    return true;
}

static void pdpte_set(struct vcpu *v, const u64 in[4])
{
    for (int k = 0; k < 4; k++)
        v->pdpte[k] = in[k];
}

static u32 cr4_bits(const struct cpu_model *m)
{
    u32 f = m->features, bits = 0;
    bits |= f & CPUF_VME ? CR4_VME | CR4_PVI : 0;
    bits |= f & CPUF_TSC ? CR4_TSD : 0;
    bits |= f & CPUF_DE ? CR4_DE : 0;
    bits |= f & CPUF_PSE ? CR4_PSE : 0;
    bits |= f & CPUF_PAE ? CR4_PAE : 0;
    bits |= f & CPUF_MCE ? CR4_MCE : 0;
    bits |= f & CPUF_PGE ? CR4_PGE : 0;
    bits |= m->featuresx & CPUFX_P6 ? CR4_PCE : 0;
    bits |= f & CPUF_FXSR ? CR4_OSFXSR : 0;
    bits |= f & CPUF_SSE ? CR4_OSXMMEXCPT : 0;
    return bits;
}

static int write_cr0(struct vcpu *v, u32 val)
{
    const u32 known = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;
    u32 old = v->cr0;
    u64 pdpte[4];

    if (((val & CR0_PG) && !(val & CR0_PE)) || ((val & CR0_NW) && !(val & CR0_CD)))
        return cpu_raise_err(v, EXC_GP, 0);
    val = (val & known) | CR0_ET;
    if ((val & ~old & CR0_PG) && (v->cr4 & CR4_PAE)) {
        if (!pdpte_read(v, v->cr3, pdpte))
            return cpu_raise_err(v, EXC_GP, 0);
        pdpte_set(v, pdpte);
    }
    v->cr0 = val;
    if ((old ^ val) & CR0_PE) {
        v->cpl = 0;
        if (LOG_ON(cpu)) {
            cpu_fpu_park(v);
            log_printf(LOG_cpu, "cr0 %08x -> %08x at %08x", old, val, v->eip);
        }
    }
    if ((old ^ val) & (CR0_PG | CR0_WP)) {
        v->ops->paging_changed(v);
    }
    if ((old ^ val) & (CR0_PE | CR0_EM | CR0_TS | CR0_AM))
        mode_refresh(v);
    return CPU_OK;
}

static int write_cr3(struct vcpu *v, u32 val)
{
    u64 pdpte[4];
    if ((v->cr0 & CR0_PG) && (v->cr4 & CR4_PAE)) {
        if (!pdpte_read(v, val, pdpte))
            return cpu_raise_err(v, EXC_GP, 0);
        pdpte_set(v, pdpte);
    }
    v->cr3 = val;
    v->ops->cr3_loaded(v);
    return CPU_OK;
}

static int write_cr4(struct vcpu *v, u32 val)
{
    const u32 paging = CR4_PSE | CR4_PAE | CR4_PGE;
    u32 old = v->cr4;
    u64 pdpte[4];

    if (val & ~cr4_bits(v->model))
        return cpu_raise_err(v, EXC_GP, 0);
    if (((old ^ val) & paging) && (val & CR4_PAE) && (v->cr0 & CR0_PG)) {
        if (!pdpte_read(v, v->cr3, pdpte))
            return cpu_raise_err(v, EXC_GP, 0);
        pdpte_set(v, pdpte);
    }
    v->cr4 = val;
    if ((old ^ val) & paging) {
        v->ops->paging_changed(v);
    }
    if ((old ^ val) & (CR4_OSFXSR | CR4_TSD))
        mode_refresh(v);
    return CPU_OK;
}

int cpu_write_cr(struct vcpu *v, int n, u32 val)
{
    switch (n) {
    case 0:
        return write_cr0(v, val);
    case 2:
        v->cr2 = val;
        return CPU_OK;
    case 3:
        return write_cr3(v, val);
    case 4:
        return write_cr4(v, val);
    default:
        return cpu_raise(v, EXC_UD);
    }
}

u32 cpu_read_cr(struct vcpu *v, int n)
{
    switch (n) {
    case 0:
        return v->cr0;
    case 2:
        return v->cr2;
    case 3:
        return v->cr3;
    case 4:
        return v->cr4;
    default:
        return 0;
    }
}

int cpu_io_allowed(struct vcpu *v, u16 port, int size)
{
    if (likely(!(v->cr0 & CR0_PE) || (v->cpl <= cpu_iopl(v) && !(v->sflags & FL_VM))))
        return CPU_OK;
    /* the bitmap of a 32-bit TSS; two bytes are read whatever the port (SDM vol. 1, 19.5.2) */
    const struct seg *tr = &v->seg[S_TR];
    u16 base, bits;
    if (!(tr->attr & 8) || tr->limit < 103)
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(sys_read(v, tr->base + 102, &base, 2));
    u32 at = base + port / 8u;
    if (at + 1 > tr->limit)
        return cpu_raise_err(v, EXC_GP, 0);
    TRY(sys_read(v, tr->base + at, &bits, 2));
    if ((bits >> (port & 7)) & ((1u << size) - 1))
        return cpu_raise_err(v, EXC_GP, 0);
    return CPU_OK;
}
