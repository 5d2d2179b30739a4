/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The walk of the guest's page tables (SDM vol. 3, ch. 4): 32-bit paging with 4 KiB and 4 MiB pages, and PAE
 * paging with 4 KiB and 2 MiB pages and NX.
 *
 * Reading (sh_walk), rights (sh_allowed) and the A/D update (sh_set_ad) are apart, so that the audit, the
 * debugger and the fills use the same reader. A and D are set only once the access is known to be allowed, as
 * a TLB fill does; they are set with a compare-exchange, so that a table changed by another agent in between
 * is walked again (8.1.2.1).
 *
 * PDPTEs come from the space (registers, loaded at mov cr3; 4.4.1), never from memory. A table page that is
 * no RAM is read as ROM or all ones and makes the walk uncacheable, since no trace can watch it. Physical
 * addresses above 4 GiB exist for nobody. phys_mask (the A20 gate) applies to table addresses, too.
 */
#include "shadowpt/internal.h"

/* Host address of the entry at this offset of a table page: RAM (traced) or ROM (constant). NULL: reads as
 * all ones. */
static inline u8 *entry_host(const struct shadow *s, u64 gpa, u32 offset, struct sh_walk *w, bool *ram)
{
    if (likely(gpa < 4 * GiB && s->map.kind[gpa >> PAGE_SHIFT] == MEM_RAM)) {
        *ram = true;
        return s->map.base + gpa + offset;
    }
    *ram = false;
    w->cacheable = false;
    u8 *t = memory_host(s->m, gpa);
    return t ? t + offset : NULL;
}

static int walk32(const struct shadow *s, const struct sh_space *sp, u32 lin, struct sh_walk *w)
{
    bool ram;
    u32 root = sp->key & ~PAGE_MASK & (u32)s->phys_mask;
    u32 *p = (u32 *)entry_host(s, root, (lin >> 22) * 4, w, &ram);
    u32 pde = p ? __atomic_load_n(p, __ATOMIC_RELAXED) : ~0u;
    w->pd_page = root >> PAGE_SHIFT;
    w->pde_p = ram ? (u8 *)p : NULL;
    w->pde = pde;
    if (!(pde & PTE_P))
        return WALK_ABSENT;
    if ((pde & PTE_PS) && (sp->key & KEY_PSE)) {
        if (pde & s->rsvd_pde4m)
            return WALK_RSVD;
        w->large = true;
        /* PSE-36: bits 20:13 are address bits 39:32. */
        w->gpa = (u64)(pde >> 13 & 0xff) << 32 | (pde & 0xffc00000u) | (lin & 0x3ff000u);
        w->user = pde & PTE_U;
        w->write = pde & PTE_W;
        w->accessed = pde & PTE_A;
        w->dirty = pde & PTE_D;
        return WALK_OK;
    }
    u32 pt = pde & ~PAGE_MASK & (u32)s->phys_mask;
    p = (u32 *)entry_host(s, pt, (lin >> 12 & 0x3ff) * 4, w, &ram);
    u32 pte = p ? __atomic_load_n(p, __ATOMIC_RELAXED) : ~0u;
    w->pt_page = pt >> PAGE_SHIFT;
    w->pte_p = ram ? (u8 *)p : NULL;
    w->pte = pte;
    if (!(pte & PTE_P))
        return WALK_ABSENT;
    if (pte & s->pat_rsvd)
        return WALK_RSVD;
    w->gpa = pte & ~PAGE_MASK;
    w->user = pde & pte & PTE_U;
    w->write = pde & pte & PTE_W;
    w->accessed = pde & pte & PTE_A;
    w->dirty = pte & PTE_D;
    return WALK_OK;
}

static int walk_pae(const struct shadow *s, const struct sh_space *sp, u32 lin, struct sh_walk *w)
{
    bool ram;
    u64 pdpte = sp->pdpte[lin >> 30];
    u64 rsvd = s->rsvd_pae | (sp->key & KEY_NXE ? 0 : PTE_NX);
    if (!(pdpte & PTE_P))
        return WALK_ABSENT;
    u64 pd = pdpte & PAE_ADDR & s->phys_mask;
    u64 *p = (u64 *)entry_host(s, pd, (lin >> 21 & 0x1ff) * 8, w, &ram);
    u64 pde = p ? __atomic_load_n(p, __ATOMIC_RELAXED) : ~0ull;
    w->pd_page = (u32)(pd >> PAGE_SHIFT);
    w->pde_p = ram ? (u8 *)p : NULL;
    w->pde = pde;
    if (!(pde & PTE_P))
        return WALK_ABSENT;
    if (pde & rsvd)
        return WALK_RSVD;
    w->nx = pde >> 63;
    if (pde & PTE_PS) { /* 2 MiB, whatever CR4.PSE says */
        if (pde & (0x1fe000u | (s->pat_rsvd ? 0x1000u : 0)))
            return WALK_RSVD;
        w->large = true;
        w->gpa = (pde & PAE_ADDR & ~0x1fffffull) | (lin & 0x1ff000u);
        w->user = pde & PTE_U;
        w->write = pde & PTE_W;
        w->accessed = pde & PTE_A;
        w->dirty = pde & PTE_D;
        return WALK_OK;
    }
    u64 pt = pde & PAE_ADDR & s->phys_mask;
    p = (u64 *)entry_host(s, pt, (lin >> 12 & 0x1ff) * 8, w, &ram);
    u64 pte = p ? __atomic_load_n(p, __ATOMIC_RELAXED) : ~0ull;
    w->pt_page = (u32)(pt >> PAGE_SHIFT);
    w->pte_p = ram ? (u8 *)p : NULL;
    w->pte = pte;
    if (!(pte & PTE_P))
        return WALK_ABSENT;
    if (pte & (rsvd | s->pat_rsvd))
        return WALK_RSVD;
    w->gpa = pte & PAE_ADDR;
    w->user = pde & pte & PTE_U;
    w->write = pde & pte & PTE_W;
    w->nx = (pde | pte) >> 63;
    w->accessed = pde & pte & PTE_A;
    w->dirty = pte & PTE_D;
    return WALK_OK;
}

int sh_walk(const struct shadow *s, const struct sh_space *sp, u32 lin, struct sh_walk *w)
{
    int r = WALK_OK;
    w->pde_p = w->pte_p = NULL;
    w->pd_page = w->pt_page = NO_PAGE;
    w->nx = w->large = false;
    w->cacheable = true;
    if (sp->key & KEY_PAE) {
        r = walk_pae(s, sp, lin, w);
    } else if (sp->key & KEY_PG) {
        r = walk32(s, sp, lin, w);
    } else {
        w->gpa = lin & ~PAGE_MASK;
        w->user = w->write = w->accessed = w->dirty = w->large = true;
    }
    w->gpa &= s->phys_mask;
    return r;
}

/* 4.6: access rights. */
bool sh_allowed(const struct sh_space *sp, const struct sh_walk *w, enum shadow_access acc, int user)
{
    if (user && !w->user)
        return false;
    if (acc == SH_WRITE)
        return w->write || (!user && !(sp->key & KEY_WP));
    return acc != SH_EXEC || !w->nx;
}

/* 4.7: the error code. I/D is reported only where fetches can be forbidden: PAE with NXE. */
u32 sh_error(const struct sh_space *sp, int walk, enum shadow_access acc, int user)
{
    u32 e = walk == WALK_ABSENT ? 0 : PF_P;
    if (walk == WALK_RSVD)
        e |= PF_RSVD;
    if (acc == SH_WRITE)
        e |= PF_W;
    if (user)
        e |= PF_U;
    if (acc == SH_EXEC && (sp->key & (KEY_PAE | KEY_NXE)) == (KEY_PAE | KEY_NXE))
        e |= PF_I;
    return e;
}

/* The entry at p, read as old, gets bits. Entries in ROM (p is NULL) keep what they have. */
static bool set_bits(struct shadow *s, u8 *p, u64 old, u32 bits)
{
    u32 expect = (u32)old;
    if (!p || (expect & bits) == bits)
        return true;
    /* The low half holds all the bits that matter here; it is exchanged alone in PAE tables, too. */
    if (!__atomic_compare_exchange_n((u32 *)p, &expect, expect | bits, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
        return false;
    u64 gpa = (u64)(p - s->map.base);
    if (unlikely(s->map.watch[gpa >> PAGE_SHIFT] & (u8)~MEMW_PT)) /* our own trace need not know of A and D */
        memory_touched(s->m, gpa, 4, MEMW_PT);
    return true;
}

bool sh_set_ad(struct shadow *s, struct sh_walk *w, bool dirty)
{
    u32 leaf = dirty ? PTE_A | PTE_D : PTE_A;
    if (w->large) {
        if (!set_bits(s, w->pde_p, w->pde, leaf))
            return false;
    } else if (!set_bits(s, w->pde_p, w->pde, PTE_A) || !set_bits(s, w->pte_p, w->pte, leaf)) {
        return false;
    }
    w->accessed = true;
    w->dirty |= dirty;
    return true;
}
