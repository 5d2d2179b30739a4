/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU that is only paging state, with memory and shadow, and a reference walk written apart from
 * shadowpt/walk.c. cpu_fpu_park and cpu_access_check are fakes: the shadow's tests need no CPU.
 */
#ifndef NOVT_TEST_SHADOWPT_ENV_H
#define NOVT_TEST_SHADOWPT_ENV_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/log.h"
#include "base/opts.h"
#include "memory/memory.h"
#include "shadowpt/internal.h"

static int access_checks;
static int access_check_result;

void cpu_fpu_park(struct vcpu *v)
{
    v->fpu_live = 0;
}

int cpu_access_check(struct vcpu *v, u32 lin, u32 len, bool write)
{
    access_checks++;
    return access_check_result == CPU_OK ? CPU_OK : cpu_raise_err(v, EXC_AC, 0);
}

struct env {
    struct vcpu *v;
    struct memory *m;
};

static inline struct env env_with(u64 ram, u32 max_spaces, u64 opts)
{
    struct env e;
    int err = 0;
    e.v = aligned_alloc(64, ALIGN_UP(sizeof(*e.v), (size_t)64));
    memset(e.v, 0, sizeof(*e.v));
    e.v->opts = opts;
    e.m = memory_create(ram, &err);
    assert_non_null(e.m);
    assert_int_equal(shadow_create(e.v, e.m, max_spaces), 0);
    return e;
}

static inline struct env env_new(u64 ram, u32 max_spaces)
{
    return env_with(ram, max_spaces, OPT_ALL);
}

static inline void env_free(struct env *e)
{
    assert_int_equal(shadow_audit(e->v), 0);
    shadow_destroy(e->v);
    memory_destroy(e->m);
    free(e->v);
}

static inline void set_cr3(struct env *e, u32 cr3)
{
    e->v->cr3 = cr3;
    if (e->v->cr4 & CR4_PAE)
        for (u32 i = 0; i < 4; i++)
            e->v->pdpte[i] = memory_read64(e->m, (cr3 & ~31u) + i * 8);
    shadow_cr3_loaded(e->v);
}

/* Paging on, without PAE or with. */
static inline void paging_on(struct env *e, u32 cr3, u32 cr4, u64 efer, bool wp)
{
    e->v->cr4 = cr4;
    e->v->efer = efer;
    e->v->cr0 = CR0_PE | CR0_PG | (wp ? CR0_WP : 0);
    e->v->cr3 = cr3;
    if (cr4 & CR4_PAE)
        for (u32 i = 0; i < 4; i++)
            e->v->pdpte[i] = memory_read64(e->m, (cr3 & ~31u) + i * 8);
    shadow_paging_changed(e->v);
}

static inline void set_cpl(struct env *e, int cpl)
{
    e->v->cpl = (u8)cpl;
    shadow_cpl_changed(e->v);
}

/* What the guest does: physical writes that traces see. */
static inline void poke32(struct env *e, u64 gpa, u32 val)
{
    memory_write(e->m, gpa, &val, 4);
}
static inline void poke64(struct env *e, u64 gpa, u64 val)
{
    memory_write(e->m, gpa, &val, 8);
}
static inline u32 peek32(struct env *e, u64 gpa)
{
    return memory_read32(e->m, gpa);
}

static inline struct sh_view *view(struct env *e, int user)
{
    return &sh_of(e->v)->cur->view[user];
}
static inline u64 rt(struct env *e, u32 lin, int user)
{
    return view(e, user)->rt[lin >> 12];
}
static inline u64 wt(struct env *e, u32 lin, int user)
{
    return view(e, user)->wt[lin >> 12];
}
static inline u32 xt(struct env *e, u32 lin, int user)
{
    return view(e, user)->xt[lin >> 12];
}

static inline enum shadow_result fill(struct env *e, u32 lin, enum shadow_access acc, int user)
{
    u64 gpa;
    return shadow_fill(e->v, lin, acc, user, &gpa);
}

/* A read through the table as the inline path does it: the value, asserting a hit. */
static inline u32 table_read32(struct env *e, u32 lin, int user)
{
    u64 entry = rt(e, lin, user);
    assert_true(entry != 0);
    return *(u32 *)(entry + lin);
}

struct ref {
    bool ok;
    u32 error;
    u64 gpa;
    bool dirty, accessed;
};

/* The reference: SDM vol. 3, 4.3-4.7, levels as a loop; a model with PSE36, PAT and MAXPHYADDR 36. */
static inline struct ref ref_walk(struct env *e, u32 lin, int acc, int user)
{
    struct vcpu *v = e->v;
    struct ref r = {.ok = true, .gpa = lin, .dirty = true, .accessed = true};
    if (!(v->cr0 & CR0_PG))
        return r;
    bool pae = v->cr4 & CR4_PAE, nxe = pae && (v->efer & EFER_NXE);
    u32 err = (acc == SH_WRITE ? 2 : 0) | (user ? 4 : 0) | (acc == SH_EXEC && nxe ? 16 : 0);
    u64 table = v->cr3 & 0xfffff000u, rights = ~0ull, acc_bits = ~0ull, nx = 0, entry = 0;
    u32 shift = pae ? 21 : 22;
    r.ok = false;
    r.error = err;
    if (pae) {
        u64 pdpte = v->pdpte[lin / (1u << 30)];
        if (pdpte % 2 == 0)
            return r;
        table = pdpte & 0xffffff000ull;
    }
    for (;;) {
        u64 idx = (lin >> shift) & (pae ? 511 : 1023);
        entry = pae ? memory_read64(e->m, table + idx * 8) : memory_read32(e->m, table + idx * 4);
        if (entry % 2 == 0)
            return r;
        bool big = shift > 12 && (entry & 0x80) && (pae || (v->cr4 & CR4_PSE));
        u64 bad = 0;
        if (pae)
            bad = (nxe ? 0 : 1ull << 63) | 0x7ffffff000000000ull | (big ? 0x1fe000 : 0);
        else if (big)
            bad = 0x3e0000;
        if (entry & bad) {
            r.error = err | 1 | 8;
            return r;
        }
        rights &= entry;
        acc_bits &= entry;
        nx |= entry >> 63;
        if (big || shift == 12) {
            u64 mask = (1ull << shift) - 1;
            if (pae)
                r.gpa = (entry & 0xffffff000ull & ~mask) | (lin & mask);
            else if (big)
                r.gpa = (entry & 0xffc00000ull) | (entry >> 13 & 0xf) << 32 | (lin & mask);
            else
                r.gpa = (entry & 0xfffff000ull) | (lin & mask);
            break;
        }
        table = entry & (pae ? 0xffffff000ull : 0xfffff000ull);
        shift = 12;
    }
    r.dirty = entry & 0x40;
    r.accessed = acc_bits & 0x20;
    r.error = err | 1;
    if (user && !(rights & 4))
        return r;
    if (acc == SH_WRITE && !(rights & 2) && (user || (v->cr0 & CR0_WP)))
        return r;
    if (acc == SH_EXEC && nx)
        return r;
    r.ok = true;
    return r;
}

static inline u64 now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000ull + (u64)t.tv_nsec;
}

static inline u32 rnd(u64 *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (u32)(*seed >> 16);
}

#endif
