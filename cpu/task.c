/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hardware task switching (SDM vol. 3, ch. 7): 16- and 32-bit TSS, all four sources, nesting, the T flag.
 *
 * The architecture has a commit point. Before it every fault belongs to the old task and nothing has changed:
 * so both TSSs and the descriptors to be written are probed first. After it the new task's registers are
 * loaded unchecked (with its segment registers unusable), and then its LDT and segments are checked one by
 * one; a fault there is delivered in the new task, with v->eip at its first instruction.
 *
 * The TSS may overlap the page tables or descriptors that its own switch uses; a hostile guest then gets some
 * consistent-looking nonsense, as on hardware, but the host sees only checked accesses.
 */
#include "base/log.h"
#include "cpu/sys.h"

/* TSS images; the fields that a switch saves are contiguous (eip .. gs, ip .. ds). */
struct tss32 {
    u32 link;
    u32 inner[6];
    u32 cr3;
    u32 eip, eflags;
    u32 gpr[8];
    u32 seg[6]; /* ES CS SS DS FS GS: the numbering of enum sreg */
    u32 ldt;
    u16 trap, iobase;
};
struct tss16 {
    u16 link;
    u16 inner[6];
    u16 ip, flags;
    u16 gpr[8];
    u16 seg[4];
    u16 ldt;
};
_Static_assert(sizeof(struct tss32) == 104 && sizeof(struct tss16) == 44, "TSS layout");

#define TSS32_SAVE_OFF offsetof(struct tss32, eip)
#define TSS32_SAVE_LEN (offsetof(struct tss32, ldt) - TSS32_SAVE_OFF)
#define TSS16_SAVE_OFF offsetof(struct tss16, ip)
#define TSS16_SAVE_LEN (offsetof(struct tss16, ldt) - TSS16_SAVE_OFF)

/* A segment register of the new task that is not loaded yet: its selector shows, any use faults. */
static void seg_set_pending(struct seg *s, u16 sel)
{
    *s = (struct seg){.sel = sel, .attr = SA_NULL};
}

static int load_ldt(struct vcpu *v, u16 sel)
{
    struct desc d;
    u32 err = sel & 0xfffc;
    seg_set_pending(&v->seg[S_LDTR], sel);
    if (err == 0)
        return CPU_OK;
    if (sel & 4)
        return cpu_raise_err(v, EXC_TS, err);
    TRY(desc_load(v, sel, EXC_TS, &d));
    if (desc_is_s(&d) || desc_type(&d) != DT_LDT || !desc_present(&d))
        return cpu_raise_err(v, EXC_TS, err);
    v->seg[S_LDTR] = seg_from_desc(sel, &d);
    return CPU_OK;
}

/* One segment register of the new task; the checks of table 7-1. */
static int load_task_seg(struct vcpu *v, int seg)
{
    u16 sel = v->seg[seg].sel;
    u32 err = sel & 0xfffc, rpl = sel & 3;
    struct desc d;
    if (err == 0)
        return seg == S_CS || seg == S_SS ? cpu_raise_err(v, EXC_TS, err) : CPU_OK;
    TRY(desc_load(v, sel, EXC_TS, &d));
    u32 dpl = desc_dpl(&d);
    u8 absent = EXC_NP;
    switch (seg) {
    case S_CS:
        if (!desc_is_code(&d) || (desc_conforming(&d) ? dpl > rpl : dpl != rpl))
            return cpu_raise_err(v, EXC_TS, err);
        break;
    case S_SS:
        if (!desc_is_wdata(&d) || dpl != v->cpl || rpl != v->cpl)
            return cpu_raise_err(v, EXC_TS, err);
        absent = EXC_SS;
        break;
    default:
        if (!desc_is_s(&d) || (desc_attr(&d) & (SA_CODE | SA_RW)) == SA_CODE)
            return cpu_raise_err(v, EXC_TS, err);
        if (!(desc_is_code(&d) && desc_conforming(&d)) && (dpl < v->cpl || dpl < rpl))
            return cpu_raise_err(v, EXC_TS, err);
        break;
    }
    if (!desc_present(&d))
        return cpu_raise_err(v, absent, err);
    TRY(desc_mark_accessed(v, &d));
    v->seg[seg] = seg_from_desc(sel, &d);
    return CPU_OK;
}

/* Everything after the commit point. */
static int finish(struct vcpu *v, u16 ldt, bool is32, bool has_error, u32 error, bool trap)
{
    static const u8 order[6] = {S_CS, S_SS, S_ES, S_DS, S_FS, S_GS};
    TRY(load_ldt(v, ldt));
    if (!(v->sflags & FL_VM)) {
        for (int k = 0; k < 6; k++)
            TRY(load_task_seg(v, order[k]));
    }
    mode_refresh(v);
    if (has_error)
        TRY(stack_push(v, &error, 1, is32 ? 4 : 2));
    if (trap) {
        v->fault = (struct cpu_fault){.vector = EXC_DB, .is_trap = 1, .dr6 = DR6_BT};
        return CPU_FAULT;
    }
    if (v->eip > v->seg[S_CS].limit)
        return cpu_raise_err(v, EXC_GP, 0);
    return CPU_OK;
}

int task_switch_flags(struct vcpu *v, u16 tss_sel, enum task_source src, u32 return_eip, u32 flags,
                      bool has_error, u32 error)
{
    u32 err = tss_sel & 0xfffc;
    u8 bad = src == TASK_IRET ? EXC_TS : EXC_GP;
    struct seg *tr = &v->seg[S_TR], old_tr = *tr;
    struct desc d;

    /* -- the new TSS's descriptor -- */
    if ((tss_sel & 4) || err == 0)
        return cpu_raise_err(v, bad, err);
    TRY(desc_load(v, tss_sel, bad, &d));
    u32 want = src == TASK_IRET ? DT_TSS16_BUSY : DT_TSS16;
    if (desc_is_s(&d) || (desc_type(&d) & 7) != want)
        return cpu_raise_err(v, bad, err);
    if (!desc_present(&d))
        return cpu_raise_err(v, EXC_NP, err);
    bool new32 = desc_type(&d) & 8, old32 = old_tr.attr & 8;
    u32 limit = desc_limit(&d), base = desc_base(&d);
    if (limit < (new32 ? 103u : 43u))
        return cpu_raise_err(v, EXC_TS, err);
    bool nested = src == TASK_CALL || src == TASK_INT, leave = src == TASK_JMP || src == TASK_IRET;

    /* -- everything that will be read or written must be there (faults still in the old task) -- */
    struct tss32 n32;
    struct tss16 n16;
    u32 save_at = old_tr.base + (old32 ? TSS32_SAVE_OFF : TSS16_SAVE_OFF);
    u32 save_len = old32 ? TSS32_SAVE_LEN : TSS16_SAVE_LEN, old_desc = 0;
    if (new32)
        TRY(sys_load(v, base, &n32, sizeof(n32)));
    else
        TRY(sys_load(v, base, &n16, sizeof(n16)));
    if (save_at - old_tr.base + save_len - 1 > old_tr.limit)
        return cpu_raise_err(v, EXC_TS, old_tr.sel & 0xfffc);
    TRY(v->ops->mem_probe_write(v, save_at, save_len, 0));
    if (leave) {
        if (!desc_locate(v, old_tr.sel & ~4u, &old_desc))
            return cpu_raise_err(v, EXC_TS, old_tr.sel & 0xfffc);
        TRY(v->ops->mem_probe_write(v, old_desc + 5, 1, 0));
    }
    if (src != TASK_IRET)
        TRY(v->ops->mem_probe_write(v, d.lin + 5, 1, 0));
    if (nested)
        TRY(v->ops->mem_probe_write(v, base, 2, 0));
    bool set_cr3 = new32 && (v->cr0 & CR0_PG);
    u64 pdpte[4];
    if (set_cr3 && (v->cr4 & CR4_PAE) && !pdpte_read(v, n32.cr3, pdpte))
        return cpu_raise_err(v, EXC_GP, 0);

    if (LOG_ON(cpu)) {
        cpu_fpu_park(v);
        log_printf(LOG_cpu, "task switch %04x -> %04x (source %d)", old_tr.sel, tss_sel, src);
    }

    /* -- the old task's state; busy bits; back link -- */
    u8 type;
    if (leave) {
        TRY(sys_read(v, old_desc + 5, &type, 1));
        type &= (u8)~2u;
        TRY(sys_store(v, old_desc + 5, &type, 1));
    }
    if (src == TASK_IRET)
        flags &= ~FL_NT;
    if (old32) {
        struct tss32 o;
        o.eip = return_eip;
        o.eflags = flags;
        for (int k = 0; k < 8; k++)
            o.gpr[k] = v->gpr[k];
        for (int k = 0; k < 6; k++)
            o.seg[k] = v->seg[k].sel;
        TRY(sys_store(v, save_at, &o.eip, TSS32_SAVE_LEN));
    } else {
        struct tss16 o;
        o.ip = (u16)return_eip;
        o.flags = (u16)flags;
        for (int k = 0; k < 8; k++)
            o.gpr[k] = (u16)v->gpr[k];
        for (int k = 0; k < 4; k++)
            o.seg[k] = v->seg[k].sel;
        TRY(sys_store(v, save_at, &o.ip, TSS16_SAVE_LEN));
    }
    if (nested)
        TRY(sys_store(v, base, &old_tr.sel, 2));
    if (src != TASK_IRET) {
        type = (u8)(d.raw >> 40) | 2;
        TRY(sys_store(v, d.lin + 5, &type, 1));
        d.raw |= 2ull << 40;
    }

    /* -- commit: the new task's registers -- */
    *tr = seg_from_desc(tss_sel, &d);
    v->cr0 |= CR0_TS;
    v->dr[7] &= ~DR7_LOCAL;
    u32 fl = new32 ? n32.eflags : n16.flags, eip = new32 ? n32.eip : n16.ip;
    if (nested)
        fl |= FL_NT;
    cpu_set_eflags(v, fl & flags_model(v));
    if (!new32)
        v->sflags &= ~FL_VM;
    for (int k = 0; k < 8; k++)
        v->gpr[k] = new32 ? n32.gpr[k] : 0xffff0000u | n16.gpr[k];
    v->eip = v->next_eip = eip;
    bool vm = v->sflags & FL_VM;
    for (int k = 0; k < 6; k++) {
        u16 sel = new32 ? (u16)n32.seg[k] : k < 4 ? n16.seg[k] : 0;
        if (vm)
            seg_load_real(v, k, sel);
        else
            seg_set_pending(&v->seg[k], sel);
    }
    v->cpl = vm ? 3 : v->seg[S_CS].sel & 3;
    mode_refresh(v);
    if (set_cr3) {
        v->cr3 = n32.cr3;
        if (v->cr4 & CR4_PAE) {
            for (int k = 0; k < 4; k++)
                v->pdpte[k] = pdpte[k];
        }
        v->ops->cr3_loaded(v);
    }
    int rc = finish(v, new32 ? (u16)n32.ldt : n16.ldt, new32, has_error, error, new32 && (n32.trap & 1));
    if (rc != CPU_OK)
        mode_refresh(v);
    return rc;
}

int task_switch(struct vcpu *v, u16 tss_sel, enum task_source src, u32 return_eip, bool has_error, u32 error)
{
    return task_switch_flags(v, tss_sel, src, return_eip, cpu_eflags(v), has_error, error);
}

int task_gate(struct vcpu *v, const struct desc *gate, enum task_source src, u32 return_eip, u32 flags,
              bool has_error, u32 error)
{
    return task_switch_flags(v, gate_sel(gate), src, return_eip, flags, has_error, error);
}
