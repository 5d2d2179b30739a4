/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shadow page tables.
 *
 * A *space* is one guest address space: a CR3 value (with the PDPTEs under PAE), or "no paging". Each space
 * has two *views*: supervisor (CPL 0-2) and user (CPL 3). A view owns a reserved 8 GiB stretch of host
 * address space:
 *
 *      base - SPACE_RT_OFF   read table   u64[1M]  linear page -> host address - linear address, 0 = miss
 *      base - SPACE_WT_OFF   write table  u64[1M]  the same, for writes
 *      base - SPACE_XT_OFF   exec table   u32[1M]  linear page -> 1 + guest-physical page number, 0 = miss
 *      base                  window, 4 GiB aligned, reserved PROT_NONE (window-form memory operands; later)
 *
 * Translated code holds `base` in r14; v->rtab/wtab/xtab point at the tables of the current view. Tables are
 * sparse zero-fill memory; they are caches of the truth (the guest's tables plus the watch flags of physical
 * pages) and may be dropped at any time.
 *
 * Invariants (shadow_audit checks them):
 *  - rt entry set  => a walk now succeeds for a read at that privilege, A is set at every level, same page.
 *  - wt entry set  => a walk now succeeds for a write, D is set, and the page has no watch flag and is RAM.
 *  - xt entry set  => a walk now succeeds for a fetch.
 *  - every guest page-table page that an entry was derived from carries MEMW_PT, and a write to it removes
 * the entries.
 *
 * So the shadow is always coherent, which is stricter than the TLB that the architecture promises; CR3 loads
 * and invlpg need no flush. Light code (see cpu/cpu.h).
 */
#ifndef NOVT_SHADOWPT_SHADOWPT_H
#define NOVT_SHADOWPT_SHADOWPT_H

#include "cpu/cpu.h"
#include "memory/memory.h"

#define SPACE_RT_OFF 0x1800000ull /* 24 MiB */
#define SPACE_WT_OFF 0x1000000ull /* 16 MiB */
#define SPACE_XT_OFF 0x0800000ull /* 8 MiB */

/* Around the low window (MODE_LOW) nothing is mapped, so that an operand there may have a 64-bit address: a
 * register, or none, and a displacement from -LOW_BEFORE. It faults where the guest's wraps at 4 GiB. */
#define LOW_BEFORE 0x10000      /* bytes, the host's highest: its kernel's */
#define LOW_BEHIND 0x80010000ll /* bytes from 4 GiB */

struct shadow;

enum shadow_view { VIEW_SUPER, VIEW_USER };

/* Access kinds for shadow_fill(). */
enum shadow_access { SH_READ, SH_WRITE, SH_EXEC };

/* What a fill found. */
enum shadow_result {
    SH_FILLED, /* the table entry is now set: retry the access */
    SH_FAULT,  /* the guest faults: v->fault holds the #PF */
    SH_SLOW,   /* allowed, but not through the table: MMIO, ROM write, hole, or a watched page; *gpa is set */
};

/* Creates the shadow for v and installs v->shadow, v->rtab, v->wtab, v->xtab. max_spaces: address spaces kept
 * (>= 2). Also registers a memory watcher for MEMW_PT and for revocation. Returns 0 or a negative errno. */
int shadow_create(struct vcpu *v, struct memory *m, u32 max_spaces);
void shadow_destroy(struct vcpu *v);

/* Resolves one linear page for an access with the given privilege (user: CPL 3 rights). Walks the guest's
 * tables, sets A and D, fills the tables of that view where allowed. *gpa (may be NULL) gets the physical
 * address of lin. */
enum shadow_result shadow_fill(struct vcpu *v, u32 lin, enum shadow_access acc, int user, u64 *gpa);

/* A write to the page of lin by the current view is known to be allowed, but not through the table (SH_SLOW).
 */
bool shadow_write_slow(const struct vcpu *v, u32 lin);

/* Where that is so: for the next instruction, which writes up to len bytes at lin and nothing else there, the
 * page is as if it were not watched: it has a write-table entry. shadow_write_close() takes that away again
 * and tells the watchers of the write. False: they cross into another page. shadow_write_close() returns
 * whether somebody still watches the page. */
bool shadow_write_open(struct vcpu *v, u32 lin, u32 len);
bool shadow_write_close(struct vcpu *v);

/* Walks without side effects (debugger, dumps): CPU_OK with *gpa, or CPU_FAULT (v->fault is untouched). */
int shadow_probe(struct vcpu *v, u32 lin, u64 *gpa);

/* The implementations behind struct cpu_ops (same contracts). */
int shadow_mem_read(struct vcpu *v, u32 lin, void *buf, u32 len, int user);
int shadow_mem_write(struct vcpu *v, u32 lin, const void *buf, u32 len, int user);
int shadow_mem_probe_write(struct vcpu *v, u32 lin, u32 len, int user);
int shadow_fetch(struct vcpu *v, u32 lin, const u8 **host, u64 *gpa);
const u32 *shadow_code_page(struct vcpu *v, u64 gpa);
void shadow_cr3_loaded(struct vcpu *v);
void shadow_paging_changed(struct vcpu *v);
void shadow_invlpg(struct vcpu *v, u32 lin);
void shadow_cpl_changed(
    struct vcpu *v); /* also called when v->slow_access changes: selects empty tables then */
u64 shadow_phys_read64(struct vcpu *v, u64 gpa);

/* Windows (see window.c): whether the current view's window is in use; turning it on and off. A view's window
 * goes off by itself when its space is cleared. */
u64 shadow_window_base(const struct vcpu *v); /* meaningless if not in use */
bool shadow_window_on(const struct vcpu *v);
/* Is its base 0, so that an offset is an address? One program's is, at a time. */
bool shadow_window_low(const struct vcpu *v);
/* Where the current view keeps whether its window is in use: the same place as long as the view is the same.
 */
const u8 *shadow_window_flag(const struct vcpu *v);
/* Before the current view's window is used again: pages that have left it meanwhile go. The flag is neither 0
 * nor 1 as long as there are any. */
void shadow_window_settle(struct vcpu *v);
bool shadow_window_enable(struct vcpu *v); /* false: no memory */
/* Could it hold anything? */
bool shadow_window_useful(const struct vcpu *v);
void shadow_window_disable(struct vcpu *v);
void shadow_window_tick(struct vcpu *v); /* the current view was found running with its window on */
/* What decides about the current view's window; cleared with the space. */
struct shadow_window_clock {
    u32 ticks; /* the caller's */
    u32 offs;  /* the caller's */
    u32 lost;  /* mapped pages that were dropped again: counted here, reset by the caller */
};
struct shadow_window_clock *shadow_window_clock(struct vcpu *v);
enum shadow_mapped {
    SH_MAPPED,
    SH_UNSTEADY, /* not unless anyway: it would not stay; for writing, what was a page table lately */
    SH_MISFIT,   /* the window cannot hold it: not RAM, not global, watched */
    SH_NO_PLACE, /* nor this: the host maps nothing there */
};
/* Maps the page of lin, whose read entry is set, with neighbours that need no further walk. */
enum shadow_mapped shadow_window_map(struct vcpu *v, u32 lin, bool want_write, bool anyway);
/* The same after a walk, if that needs no A or D bit to be set and no fault would result. */
bool shadow_window_prefill(struct vcpu *v, u32 lin, bool write);

/* Until the hook runs: wherever the supervisor's code has its window, the page of lin is what it is now, for
 * execution, too (which is known to be allowed). False: that is not certain. The hook must not call back. */
bool shadow_page_stays(struct vcpu *v, u32 lin);
void shadow_set_stays_hook(struct vcpu *v, void (*hook)(void *opaque), void *opaque);

/* A bit for each linear page: whether invlpg of it has anything to do. NULL: it always may. */
const u64 *shadow_invlpg_pages(const struct vcpu *v);

/* Base (r14) of the current view. */
u64 shadow_view_base(const struct vcpu *v);
/* The same of the view that descriptors are read through, whoever runs. */
u64 shadow_supervisor_base(const struct vcpu *v);
/* A number that changes whenever any exec-table entry is removed or the current view's identity may have been
 * reused: the indirect-branch caches compare or flush on it. */
u64 shadow_exec_epoch(const struct vcpu *v);
/* Called (if set) when an exec-table entry of a view is removed: base of the view, linear page; page = ~0 for
 * all of it. */
void shadow_set_exec_hook(struct vcpu *v, void (*hook)(void *opaque, u64 base, u32 page), void *opaque);

/* The A20 gate: with on = false, physical addresses of the CPU have bit 20 forced to zero (IA-PC, A20M#; SDM
 * vol. 3, 9.7.8 and 24.33.1). On the vCPU thread. */
void shadow_set_a20(struct vcpu *v, bool on);

/* Drops every table entry of every space (keeps nothing but the guest's own tables as truth). */
void shadow_flush_all(struct vcpu *v);
/* Compares every entry of every kept space with a fresh walk. Returns the number of differences (each logged
 * as mmu) and counts in v->stats. */
u64 shadow_audit(struct vcpu *v);
/* Turns on auditing at every CR3 load and every n-th invalidation (--audit=shadow). */
void shadow_set_audit(struct vcpu *v, bool on);

/* The part of struct cpu_ops that the shadow page tables are, for initialisers. */
#define SHADOW_CPU_OPS                                                                                       \
    .mem_read = shadow_mem_read, .mem_write = shadow_mem_write, .mem_probe_write = shadow_mem_probe_write,   \
    .fetch = shadow_fetch, .code_page = shadow_code_page, .cr3_loaded = shadow_cr3_loaded,                   \
    .paging_changed = shadow_paging_changed, .invlpg = shadow_invlpg, .cpl_changed = shadow_cpl_changed,     \
    .phys_read64 = shadow_phys_read64

#endif
