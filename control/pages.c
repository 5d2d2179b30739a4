/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's page tables, page by page, for "info mem" and "info tlb" (SDM vol. 3, ch. 4). Read from RAM and
 * ROM only, so that looking has no effect.
 */
#include "control/internal.h"

#define P_PRESENT 0x001u
#define P_WRITE   0x002u
#define P_USER    0x004u
#define P_PWT     0x008u
#define P_PCD     0x010u
#define P_A       0x020u
#define P_D       0x040u
#define P_PS      0x080u
#define P_G       0x100u
#define PAE_FRAME 0x000ffffffffff000ull

static u64 entry(struct control *c, u64 table, u32 n, u32 size)
{
    u64 e = 0;
    return target_read_phys(c, table + (u64)n * size, &e, size) == size ? e : 0;
}

static void describe(struct page_mapping *p, u64 pde, u64 leaf)
{
    p->user = pde & leaf & P_USER;
    p->write = pde & leaf & P_WRITE;
    p->nx = (pde | leaf) >> 63;
    p->global = leaf & P_G;
    p->accessed = leaf & P_A;
    p->dirty = leaf & P_D;
    p->pcd = leaf & P_PCD;
    p->pwt = leaf & P_PWT;
}

/* One page directory entry's worth; false: end. */
static bool each_of_pde(struct control *c, bool pae, u64 pde, u32 lin, u32 first, u32 last,
                        bool (*fn)(void *, const struct page_mapping *), void *opaque)
{
    struct page_mapping p = {.lin = lin};
    u32 span = pae ? 2 * MiB : 4 * MiB;
    if ((pde & P_PS) && (pae || (c->m.cpu->cr4 & CR4_PSE))) {
        describe(&p, pde, pde);
        p.large = true;
        p.size = span;
        p.gpa = pae ? pde & PAE_FRAME & ~0x1fffffull : (pde & 0xffc00000u) | (pde >> 13 & 0xff) << 32;
        return fn(opaque, &p);
    }
    u64 table = pae ? pde & PAE_FRAME : pde & ~(u64)PAGE_MASK;
    p.size = PAGE_SIZE;
    for (u32 n = 0; n < span / PAGE_SIZE; n++, p.lin += PAGE_SIZE) {
        if (p.lin + PAGE_MASK < first || p.lin > last)
            continue;
        u64 pte = entry(c, table, n, pae ? 8 : 4);
        if (!(pte & P_PRESENT))
            continue;
        describe(&p, pde, pte);
        p.gpa = pae ? pte & PAE_FRAME : pte & ~(u64)PAGE_MASK;
        if (!fn(opaque, &p))
            return false;
    }
    return true;
}

void pages_each(struct control *c, u32 first, u32 last,
                bool (*fn)(void *opaque, const struct page_mapping *p), void *opaque)
{
    const struct vcpu *v = c->m.cpu;
    bool pae = v->cr4 & CR4_PAE;
    u32 span = pae ? 2 * MiB : 4 * MiB;
    if (!(v->cr0 & CR0_PG))
        return;
    for (u64 lin = ALIGN_DOWN(first, span); lin <= last; lin += span) {
        u64 pde;
        if (pae) {
            u64 pdpte = v->pdpte[lin >> 30];
            if (!(pdpte & P_PRESENT)) {
                lin |= (u64)(GiB - 1) & ~(u64)(span - 1);
                continue;
            }
            pde = entry(c, pdpte & PAE_FRAME, lin >> 21 & 0x1ff, 8);
        } else {
            pde = entry(c, v->cr3 & ~(u64)PAGE_MASK, lin >> 22, 4);
        }
        if ((pde & P_PRESENT) && !each_of_pde(c, pae, pde, (u32)lin, first, last, fn, opaque))
            return;
    }
}
