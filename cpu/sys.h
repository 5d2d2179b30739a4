/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the system part of the CPU (segment.c, far.c, iret.c, exception.c, task.c, sysinsn*.c); not for
 * others.
 *
 * Descriptors are kept raw as fetched, with the linear address that they came from, so that the accessed and
 * busy bits can be set later. Stack frames are written in one piece: a frame either appears whole or faults
 * with nothing changed, whatever privilege its stack has.
 */
#ifndef NOVT_CPU_SYS_H
#define NOVT_CPU_SYS_H

#include "cpu/cpu.h"
#include "cpu/access.h"

/* System descriptor types (SDM vol. 3, table 3-2). */
enum {
    DT_TSS16 = 1,
    DT_LDT = 2,
    DT_TSS16_BUSY = 3,
    DT_CALL16 = 4,
    DT_TASK = 5,
    DT_INT16 = 6,
    DT_TRAP16 = 7,
    DT_TSS32 = 9,
    DT_TSS32_BUSY = 11,
    DT_CALL32 = 12,
    DT_INT32 = 14,
    DT_TRAP32 = 15,
};

#define DR6_FIXED 0xffff0ff0u
#define DR6_BD    (1u << 13)
#define DR6_BS    (1u << 14)
#define DR6_BT    (1u << 15)
#define DR7_FIXED (1u << 10)
#define DR7_GD    (1u << 13)
#define DR7_ANY   0xffu /* L0, G0 .. L3, G3 */
#define DR7_LOCAL 0x155u

struct desc {
    u64 raw;
    u32 lin; /* linear address it was read from */
};

static inline u32 desc_attr(const struct desc *d)
{
    return (u32)(d->raw >> 40) & 0xf0ff;
}
static inline u32 desc_type(const struct desc *d)
{
    return (u32)(d->raw >> 40) & SA_TYPE;
}
static inline u32 desc_dpl(const struct desc *d)
{
    return (u32)(d->raw >> 45) & 3;
}
static inline bool desc_present(const struct desc *d)
{
    return (d->raw >> 47) & 1;
}
static inline bool desc_is_s(const struct desc *d)
{
    return (d->raw >> 44) & 1;
}
static inline bool desc_is_code(const struct desc *d)
{
    return (desc_attr(d) & (SA_S | SA_CODE)) == (SA_S | SA_CODE);
}
static inline bool desc_conforming(const struct desc *d) /* of a code segment */
{
    return (desc_attr(d) & SA_EC) != 0;
}
static inline bool desc_is_wdata(const struct desc *d)
{
    return (desc_attr(d) & (SA_S | SA_CODE | SA_RW)) == (SA_S | SA_RW);
}
static inline u32 desc_base(const struct desc *d)
{
    return ((u32)(d->raw >> 16) & 0xffffff) | ((u32)(d->raw >> 56) << 24);
}
static inline u32 desc_limit(const struct desc *d)
{
    u32 l = ((u32)d->raw & 0xffff) | ((u32)(d->raw >> 32) & 0xf0000);
    return (d->raw >> 55) & 1 ? (l << 12) | 0xfff : l;
}
/* Gates: target selector, offset. */
static inline u16 gate_sel(const struct desc *d)
{
    return (u16)(d->raw >> 16);
}
static inline u32 gate_off(const struct desc *d, bool is32)
{
    return ((u32)d->raw & 0xffff) | (is32 ? (u32)(d->raw >> 32) & 0xffff0000 : 0);
}

static inline bool sys_protected(const struct vcpu *v) /* protected mode, not V86 */
{
    return (v->cr0 & CR0_PE) && !(v->sflags & FL_VM);
}

/* Supervisor reads, inline when the current tables are the supervisor's. */
static inline int sys_read(struct vcpu *v, u32 lin, void *out, u32 len)
{
    if (likely(v->cpl != 3)) {
        u64 e = v->rtab[lin >> PAGE_SHIFT];
        if (likely(e && (lin & PAGE_MASK) <= PAGE_SIZE - len)) {
            __builtin_memcpy(out, (const void *)(e + lin), len);
            return CPU_OK;
        }
    }
    return v->ops->mem_read(v, lin, out, len, 0);
}

/* Address of the descriptor that sel names; false if it is outside its table (or the LDT is not usable). */
static inline bool desc_locate(const struct vcpu *v, u16 sel, u32 *lin)
{
    if (sel & 4) {
        const struct seg *l = &v->seg[S_LDTR];
        if (unlikely((l->attr & SA_NULL) || (sel | 7u) > l->limit))
            return false;
        *lin = l->base + (sel & ~7u);
    } else {
        if (unlikely((sel | 7u) > v->gdtr.limit))
            return false;
        *lin = v->gdtr.base + (sel & ~7u);
    }
    return true;
}
/* Fetches the descriptor of sel; outside its table: `vector` with the selector as error code. */
static inline int desc_load(struct vcpu *v, u16 sel, u8 vector, struct desc *d)
{
    if (unlikely(!desc_locate(v, sel, &d->lin)))
        return cpu_raise_err(v, vector, sel & 0xfffc);
    return sys_read(v, d->lin, &d->raw, 8);
}
/* Sets the accessed bit of a code or data descriptor in memory, if it is clear. */
static inline int desc_mark_accessed(struct vcpu *v, struct desc *d)
{
    if (likely((d->raw >> 40) & SA_A))
        return CPU_OK;
    u8 byte = (u8)(d->raw >> 40) | SA_A;
    TRY(sys_store(v, d->lin + 5, &byte, 1));
    d->raw |= (u64)SA_A << 40;
    return CPU_OK;
}

/* cpu_update_mode() for those who keep seg[].fast and flat right themselves. */
void mode_refresh(struct vcpu *v);

/* seg_refresh(), inline: which accesses need neither limit nor type check. */
static inline void seg_calc(struct seg *s)
{
    /* by type: read-only, read/write, expand-down (never), execute-only, execute/read */
    static const u8 rights[16] = {1, 1, 3, 3, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1};
    u8 r = rights[s->attr & SA_TYPE];
    r &= (u8)(0 - (s->limit == ~0u)) & (u8)(0 - ((s->attr & (SA_P | SA_S | SA_NULL)) == (SA_P | SA_S)));
    s->fast = r;
    s->flat = (s->base == 0) & ((r >> 1) | (r & ((s->attr & SA_CODE) / SA_CODE)));
}
static inline struct seg seg_from_desc(u16 sel, const struct desc *d)
{
    struct seg s = {.sel = sel, .base = desc_base(d), .limit = desc_limit(d), .attr = desc_attr(d)};
    seg_calc(&s);
    return s;
}
/* Remembers what a descriptor of the GDT gave (struct seg_cached). */
void segc_put(struct vcpu *v, u32 tag, const struct desc *d, const struct seg *s);
/* Entries and irets done before (gatecache.c). The first of each pair does it and returns true, or has
 * changed nothing; gate_enter() leaves v->eip at the handler. The second remembers what has just succeeded:
 * with CS and SS of the descriptors loaded, `from` = the CPL before, ss NULL if it was not loaded. */
bool gate_enter(struct vcpu *v, const struct cpu_fault *f, u32 return_eip);
void gate_remember(struct vcpu *v, const struct cpu_fault *f, u32 from, const struct desc *gate,
                   const struct desc *cs);
bool iret_again(struct vcpu *v);
void iret_remember(struct vcpu *v, const struct desc *cs, const struct desc *ss);
/* A null selector keeps the hidden base and limit, as processors do (a later real-mode load relies on the
 * limit). */
static inline void seg_set_null(struct seg *s, u16 sel)
{
    s->sel = sel;
    s->attr |= SA_NULL;
    s->fast = 0;
    s->flat = 0;
}
/* Null DS, ES, FS and GS that the new (less privileged) CPL may not use (SDM vol. 2, RET and IRET). */
static inline void seg_drop_privileged(struct vcpu *v)
{
    static const u8 list[4] = {S_ES, S_DS, S_FS, S_GS};
    for (int i = 0; i < 4; i++) {
        struct seg *s = &v->seg[list[i]];
        bool conforming = (s->attr & (SA_CODE | SA_EC)) == (SA_CODE | SA_EC);
        if (!(s->attr & SA_NULL) && !conforming && ((s->attr & SA_DPL) >> SA_DPL_SHIFT) < v->cpl)
            seg_set_null(s, 0);
    }
}

/* ---- flags ---- */

/* The EFLAGS bits that the model can hold. */
static inline u32 flags_model(const struct vcpu *v)
{
    u32 m = FL_ALL;
    if (!(v->model->featuresx & CPUFX_CPUID))
        m &= ~FL_ID;
    if (!(v->model->features & CPUF_VME))
        m &= ~(FL_VIF | FL_VIP);
    return m;
}
/* Replaces the flags in mask; returns whether the mode may have changed. */
static inline bool flags_write(struct vcpu *v, u32 val, u32 mask)
{
    u32 old = cpu_eflags(v), fl;
    mask &= flags_model(v);
    fl = (old & ~mask) | (val & mask);
    cpu_set_eflags(v, fl);
    return ((old ^ fl) & (FL_TF | FL_IOPL | FL_VM | FL_AC)) != 0;
}

/* ---- stacks ---- */

static inline u32 seg_stack_mask(const struct seg *ss)
{
    return ss->attr & SA_DB ? ~0u : 0xffffu;
}
static inline void stack_set(struct vcpu *v, u32 esp)
{
    u32 m = seg_stack_mask(&v->seg[S_SS]);
    v->gpr[R_ESP] = (v->gpr[R_ESP] & ~m) | (esp & m);
}
/* Reads the value at ofs bytes above the top of the current stack. */
static inline int stack_peek(struct vcpu *v, u32 ofs, u32 size, u32 *out)
{
    u32 off = (v->gpr[R_ESP] + ofs) & seg_stack_mask(&v->seg[S_SS]);
    if (size == 4)
        return mem_read32(v, S_SS, off, out);
    u16 w;
    TRY(mem_read16(v, S_SS, off, &w));
    *out = w;
    return CPU_OK;
}
#define FRAME_MAX 40
/* Pushes n values of `size` bytes, vals[0] first, on the stack ss:*esp with the given rights (user: CPL 3).
 * Limit violations are #SS(error). On success *esp is the new stack pointer; nothing is written on a fault.
 */
int stack_push_frame(struct vcpu *v, const struct seg *ss, u32 *esp, const u32 *vals, int n, u32 size,
                     int user, u32 error);
/* The same on the current stack, setting ESP. */
int stack_push(struct vcpu *v, const u32 *vals, int n, u32 size);

/* Stack for privilege level dpl from the current TSS: its pointer and checked descriptor (#TS, #SS as for
 * call gates and interrupt gates: SDM vol. 2, CALL). Sets the accessed bit. */
int tss_inner_stack(struct vcpu *v, u32 dpl, struct seg *ss, u32 *esp);

/* task_switch() with the EFLAGS image that the old TSS gets. */
int task_switch_flags(struct vcpu *v, u16 tss_sel, enum task_source src, u32 return_eip, u32 flags,
                      bool has_error, u32 error);
/* Follows a task gate whose own checks are done. */
int task_gate(struct vcpu *v, const struct desc *gate, enum task_source src, u32 return_eip, u32 flags,
              bool has_error, u32 error);

/* Checks and loads the PDPTEs for cr3 into out; false if a present one has reserved bits set (SDM vol.
 * 3, 4.4.1). */
bool pdpte_read(struct vcpu *v, u32 cr3, u64 out[4]);

/* Records an I/O breakpoint hit (CR4.DE, DR7.R/W = 2). */
void cpu_io_breakpoint(struct vcpu *v, u16 port, int size);

/* The bits of v->mode that CS and SS decide, besides CPL and IOPL_OK; without branches. */
static inline u32 mode_of_cs(const struct seg *s)
{
    return (s->attr & SA_DB) / SA_DB * MODE_CS32 | s->flat * MODE_FLATCS;
}
static inline u32 mode_of_ss(const struct seg *s)
{
    return (s->attr & SA_DB) / SA_DB * MODE_SS32 | (u32)(s->flat & (s->fast >> 1)) * MODE_FLATSS;
}

#endif
