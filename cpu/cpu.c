/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Life of a vCPU, and v->mode: the summary of everything that the meaning of code depends on.
 *
 * cpu_update_mode() runs at every segment load, privilege change and popf that touches TF or IOPL, so it is
 * straight-line code over the six segments. It is the only writer of v->mode and v->slow_access and the only
 * caller of ops->cpl_changed: the current tables are always the user view's iff CPL is 3, and empty ones iff
 * slow_access.
 *
 * cpu_reset() is the architecture's RESET#: it never touches what belongs to novt (ops, shadow, caches,
 * counters).
 */
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "cpu/hostcpu.h"
#include "cpu/sys.h"

void cpu_update_mode(struct vcpu *v)
{
    for (int k = 0; k < 6; k++)
        seg_calc(&v->seg[k]);
    mode_refresh(v);
}

void mode_refresh(struct vcpu *v)
{
    u32 old = v->mode, m = v->cpl;
    const struct seg *s = v->seg;

    /* moved bit by bit, without branches: shifts and masks of where each already is */
    m |= mode_of_cs(&s[S_CS]) | mode_of_ss(&s[S_SS]);
    m |= (v->cr0 & CR0_PE) * MODE_PE;
    m |= (v->sflags & FL_VM) / FL_VM * MODE_VM;
    m |= (u32)(s[S_DS].flat & (s[S_DS].fast >> 1)) * MODE_FLATDS;
    m |= (u32)(s[S_ES].flat & (s[S_ES].fast >> 1)) * MODE_FLATES;
    m |= v->cr0 & (CR0_EM | CR0_TS) ? MODE_NOFPU : 0;
    m |= v->cpl <= cpu_iopl(v) ? MODE_IOPL_OK : 0; /* real mode has CPL 0 */
    m |= (v->cr4 & CR4_OSFXSR) / CR4_OSFXSR * MODE_SSE;
    m |= (v->cr4 & CR4_TSD) / CR4_TSD * MODE_TSD;

    u8 slow = v->cpl == 3 && (v->sflags & FL_AC) && (v->cr0 & CR0_AM);
    if (unlikely(v->dr[7] & DR7_ANY)) {
        m |= MODE_STEP;
        for (int k = 0; k < 4; k++) /* R/W 1 and 3 watch data */
            slow |= ((v->dr[7] >> (2 * k)) & 3) && ((v->dr[7] >> (16 + 4 * k)) & 1);
    }
    if (unlikely(v->debug && v->debug->n_watches))
        slow = 1;
    if (unlikely(slow || (v->sflags & FL_TF)))
        m |= MODE_STEP;

    if (m == old && slow == v->slow_access)
        return;
    v->mode = m;
    v->events |= EV_MODE;
    bool view = ((old & MODE_CPL) == 3) != (v->cpl == 3) || slow != v->slow_access;
    v->slow_access = slow;
    if (view)
        v->ops->cpl_changed(v);
}

bool cpu_debug_break(struct vcpu *v)
{
    struct cpu_debug *d = v->debug;
    u32 lin = v->seg[S_CS].base + v->eip;

    for (u32 n = 0; n < d->n_breaks; n++) {
        if (d->breaks[n] != lin)
            continue;
        d->hit = DEBUG_HIT_BREAK;
        d->hit_addr = lin;
        v->events |= EV_STOP;
        return true;
    }
    return false;
}

/* The instruction completes, then the machine stops. */
static void check_watches(struct vcpu *v, u32 lin, u32 len, bool write)
{
    struct cpu_debug *d = v->debug;

    if (d->hit != DEBUG_NO_HIT)
        return;
    for (u32 n = 0; n < d->n_watches; n++) {
        const struct cpu_watch *w = &d->watches[n];
        if (!(w->kind & (write ? CPU_WATCH_WRITE : CPU_WATCH_READ)) ||
            (lin - w->first > w->last - w->first && w->first - lin >= len))
            continue;
        d->hit = DEBUG_HIT_WATCH;
        d->hit_addr = lin - w->first > w->last - w->first ? w->first : lin;
        d->hit_watch = n;
        v->events |= EV_STOP;
        return;
    }
}

int cpu_access_check(struct vcpu *v, u32 lin, u32 len, bool write)
{
    if (unlikely(v->debug && v->debug->n_watches))
        check_watches(v, lin, len, write);
    /* alignment that each operand size needs (SDM vol. 3, table 6-7); 0: not checked */
    if (v->cpl == 3 && (v->sflags & FL_AC) && (v->cr0 & CR0_AM)) {
        u32 mask = 0;
        switch (len) {
        case 2:
        case 14: /* environment and state images, 16- and 32-bit */
        case 94:
            mask = 1;
            break;
        case 4:
        case 6:
        case 28:
        case 108:
            mask = 3;
            break;
        case 8:
        case 10:
            mask = 7;
            break;
        case 16:
            mask = 15;
            break;
        }
        if (lin & mask)
            return cpu_raise_err(v, EXC_AC, 0);
    }
    for (int k = 0; k < 4; k++) {
        u32 rw = (v->dr[7] >> (16 + 4 * k)) & 3;
        if (!((v->dr[7] >> (2 * k)) & 3) || !(rw & 1) || (rw == 1 && !write))
            continue;
        static const u8 lengths[4] = {1, 2, 8, 4};
        u32 size = lengths[(v->dr[7] >> (18 + 4 * k)) & 3], at = v->dr[k] & ~(size - 1);
        if (lin - at < size || at - lin < len) /* either start lies in the other's range */
            v->dr6_pending |= 1u << k;
    }
    return CPU_OK;
}

void cpu_io_breakpoint(struct vcpu *v, u16 port, int size)
{
    if (!(v->cr4 & CR4_DE))
        return;
    for (int k = 0; k < 4; k++) {
        if (!((v->dr[7] >> (2 * k)) & 3) || ((v->dr[7] >> (16 + 4 * k)) & 3) != 2)
            continue;
        static const u8 lengths[4] = {1, 2, 8, 4};
        u32 len = lengths[(v->dr[7] >> (18 + 4 * k)) & 3], at = v->dr[k] & ~(len - 1);
        if ((u32)port - at < len || at - (u32)port < (u32)size)
            v->dr6_pending |= 1u << k;
    }
}

/* Architectural state after RESET# (SDM vol. 3, table 9-1). */
static void reset_state(struct vcpu *v)
{
    const struct cpu_model *m = v->model;

    memset(v->gpr, 0, sizeof(v->gpr));
    v->gpr[R_EDX] = (u32)m->family << 8 | (u32)(m->model & 15) << 4 | m->stepping;
    if (m->family == 15 || m->family == 6)
        v->gpr[R_EDX] |= (u32)(m->model >> 4) << 16;
    cpu_set_eflags(v, FL_1);
    v->eip = v->next_eip = 0xfff0;
    v->cpl = 0;
    v->intr_shadow = 0;
    v->events &= ~(EV_HALT | EV_SHUTDOWN | EV_RESET);
    v->nmi_pending = 0;
    v->nmi_blocked = 0;
    v->fault_depth = 0;
    v->fault = (struct cpu_fault){0};
    v->dr6_pending = 0;
    v->cr0 = CR0_CD | CR0_NW | CR0_ET;
    v->cr2 = v->cr3 = v->cr4 = 0;
    memset(v->dr, 0, sizeof(v->dr));
    v->dr[6] = DR6_FIXED;
    v->dr[7] = DR7_FIXED;
    memset(v->pdpte, 0, sizeof(v->pdpte));
    v->gdtr = v->idtr = (struct dtr){0, 0xffff};

    for (int k = 0; k < 6; k++)
        v->seg[k] = (struct seg){.limit = 0xffff, .attr = SA_P | SA_S | SA_RW | SA_A};
    v->seg[S_CS].sel = 0xf000;
    v->seg[S_CS].base = 0xffff0000;
    v->seg[S_CS].attr = SA_P | SA_S | SA_CODE | SA_RW | SA_A;
    v->seg[S_LDTR] = (struct seg){.limit = 0xffff, .attr = SA_P | DT_LDT};
    v->seg[S_TR] = (struct seg){.limit = 0xffff, .attr = SA_P | DT_TSS32_BUSY};

    v->tsc_offset = 0 - __builtin_ia32_rdtsc();
    v->efer = 0;
    v->msr_sysenter_cs = v->msr_sysenter_esp = v->msr_sysenter_eip = 0;
    v->msr_pat = 0x0007040600070406ull;
    v->msr_misc_enable = 0x1801; /* fast strings; no BTS, no PEBS */
    v->msr_apic_base = 0xfee00100ull | (m->features & CPUF_APIC ? 1u << 11 : 0);
    v->msr_mtrr_def_type = 0;
    memset(v->msr_mtrr_fix, 0, sizeof(v->msr_mtrr_fix));
    memset(v->msr_mtrr_phys, 0, sizeof(v->msr_mtrr_phys));
    v->msr_mcg_status = 0;
    v->msr_ucode_rev = 0;
}

struct vcpu *cpu_create(const struct cpu_model *model, const struct cpu_ops *ops, u64 opts)
{
    struct vcpu *v = aligned_alloc(64, ALIGN_UP(sizeof(*v), 64));
    if (!v) {
        error_report("out of memory: cannot allocate a virtual CPU");
        exit(4);
    }
    host_cpu_probe();
    memset(v, 0, sizeof(*v));
    v->model = model;
    v->ops = ops;
    v->opts = opts;
    v->segc[0].tag = SEGC_NONE;
    reset_state(v);
    cpu_fpu_reset(v);
    cpu_update_mode(v); /* CPL 0, no breakpoints: calls no ops */
    return v;
}

void cpu_destroy(struct vcpu *v)
{
    if (!v)
        return;
    cpu_fpu_park(v);
    free(v->icache);
    free(v);
}

void cpu_reset(struct vcpu *v)
{
    cpu_fpu_park(v);
    reset_state(v);
    cpu_fpu_reset(v);
    v->ops->paging_changed(v);
    cpu_update_mode(v);
}
