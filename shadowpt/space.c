/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spaces: creation, lookup by key, switching, recycling, and which tables the vCPU sees.
 *
 * A space's key is CR3 together with the control bits that its tables' meaning depends on (PG, PAE, PSE, WP,
 * NXE), so a change of those bits is a switch to another space and never a flush. Under PAE the PDPTE
 * registers are kept with the space; a CR3 load that finds different ones drops the GiBs that changed (SDM
 * vol. 3, 4.4.1: they are reloaded by mov cr3 and not coherent with memory in between).
 *
 * Kept spaces are coherent through traces, so a CR3 load that finds its space costs a hash lookup. Recycling
 * prefers spaces whose root was given up by the guest, then unused ones, then the longest unused.
 *
 * No mmap on these paths but for the first use of each space.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "shadowpt/internal.h"

/* ---- the vCPU's view ---- */

static inline struct sh_view *current_view(const struct shadow *s)
{
    return &s->cur->view[s->v->cpl == 3];
}

void sh_select_view(struct shadow *s)
{
    struct vcpu *v = s->v;
    struct sh_view *vw = current_view(s);
    if (unlikely(v->slow_access)) {
        v->rtab = (u64 *)(s->empty_base - SPACE_RT_OFF);
        v->wtab = (u64 *)(s->empty_base - SPACE_WT_OFF);
    } else {
        v->rtab = vw->rt;
        v->wtab = vw->wt;
    }
    v->xtab = vw->xt;
}

void shadow_cpl_changed(struct vcpu *v)
{
    sh_select_view(sh_of(v));
}

u64 shadow_view_base(const struct vcpu *v)
{
    const struct shadow *s = sh_of(v);
    return v->slow_access ? s->empty_base : current_view(s)->base;
}

u64 shadow_supervisor_base(const struct vcpu *v)
{
    const struct shadow *s = sh_of(v);
    return v->slow_access ? s->empty_base : s->cur->view[VIEW_SUPER].base;
}

u64 shadow_exec_epoch(const struct vcpu *v)
{
    return sh_of(v)->epoch;
}

void shadow_set_exec_hook(struct vcpu *v, void (*hook)(void *opaque, u64 base, u32 page), void *opaque)
{
    sh_of(v)->exec_hook = hook;
    sh_of(v)->exec_opaque = opaque;
}

/* ---- lookup ---- */

static inline u32 key_of(const struct vcpu *v)
{
    if (!(v->cr0 & CR0_PG))
        return 0;
    u32 key = KEY_PG | (v->cr0 & CR0_WP ? KEY_WP : 0);
    if (v->cr4 & CR4_PAE)
        return key | KEY_PAE | (v->efer & EFER_NXE ? KEY_NXE : 0) | (v->cr3 & ~31u);
    return key | (v->cr4 & CR4_PSE ? KEY_PSE : 0) | (v->cr3 & ~PAGE_MASK);
}

static inline u32 hash_key(u32 key)
{
    return (key * 0x9e3779b1u) >> 24;
}

static void hash_remove(struct shadow *s, struct sh_space *sp)
{
    u16 *link = &s->hash[hash_key(sp->key)];
    while (*link != sp->index)
        link = &s->spaces[*link].hash_next;
    *link = sp->hash_next;
    sp->keyed = 0;
}

static void hash_insert(struct shadow *s, struct sh_space *sp, u32 key)
{
    u16 *head = &s->hash[hash_key(key)];
    sp->key = key;
    sp->hash_next = *head;
    sp->keyed = 1;
    *head = sp->index;
}

/* A space to give to a new key. */
static struct sh_space *take_space(struct shadow *s)
{
    struct sh_space *old = NULL;
    for (u32 i = 0; i < s->used_spaces; i++) {
        struct sh_space *sp = &s->spaces[i];
        if (sp == s->cur)
            continue;
        if (!old || sp->idle > old->idle || (sp->idle == old->idle && sp->stamp < old->stamp))
            old = sp;
    }
    if ((!old || !old->idle) && s->used_spaces < s->max_spaces) {
        struct sh_space *sp = &s->spaces[s->used_spaces];
        if (sh_map_tables(s, sp) == 0) {
            s->used_spaces++;
            return sp;
        }
        NOVT_ASSERT(old); /* the host is out of address space or map count: live with fewer */
        s->max_spaces = s->used_spaces;
    }
    if (!old->idle)
        s->v->stats.shadow_space_evicted++;
    sh_clear_space(s, old);
    if (old->keyed)
        hash_remove(s, old);
    return old;
}

static __attribute__((noinline)) struct sh_space *new_space(struct shadow *s, u32 key)
{
    struct sh_space *sp = take_space(s);
    s->v->stats.shadow_space_new++;
    s->epoch++; /* the views' identity may be an old one's */
    sp->kwin_gen = 0;
    hash_insert(s, sp, key);
    for (int i = 0; i < 4; i++)
        sp->pdpte[i] = key & KEY_PAE ? s->v->pdpte[i] : 0;
    return sp;
}

static void reload_pdptes(struct shadow *s, struct sh_space *sp)
{
    for (u32 i = 0; i < 4; i++) {
        if (likely(sp->pdpte[i] == s->v->pdpte[i]))
            continue;
        sh_use_drop(s, sp, SLOT_PD + i);
        sp->pdpte[i] = s->v->pdpte[i];
    }
}

bool sh_gone(const struct sh_view *vw)
{
    for (u32 word = 0; word < SH_CHUNKS / 64; word++)
        if (vw->any[word])
            return false;
    return true;
}

/* A program that has no page table any more is gone, and what comes next under the same root is another:
 * kernels use the page again. Nothing of what was learnt about the first one's window is true of it. */
static void forget_gone(struct shadow *s, struct sh_view *vw)
{
    struct shadow_window_clock *c = &vw->win_clock;

    if (likely(!(c->lost | c->offs | c->ticks)) || !sh_gone(vw))
        return;
    sh_win_off(s, vw);
    *c = (struct shadow_window_clock){0};
}

static void switch_space(struct shadow *s)
{
    struct vcpu *v = s->v;
    u32 key = key_of(v);
    struct sh_space *out = s->cur, *sp = NULL;
    for (u16 i = s->hash[hash_key(key)]; i != NO_SPACE; i = s->spaces[i].hash_next)
        if (s->spaces[i].key == key) {
            sp = &s->spaces[i];
            break;
        }
    if (likely(sp)) {
        v->stats.shadow_space_hits++;
        if (key & KEY_PAE)
            reload_pdptes(s, sp);
        if (unlikely(!(v->opts & OPT(keepspaces))))
            sh_clear_space(s, sp);
        forget_gone(s, &sp->view[1]);
    } else {
        sp = new_space(s, key);
    }
    sp->stamp = ++s->clock;
    sp->idle = 0;
    s->cur = sp;
    if (unlikely(LOG_ON(mmu))) {
        cpu_fpu_park(v);
        LOG(mmu, "space %u: cr3 %08x mode %02x", sp->index, key & ~31u, key & 31u);
    }
    sh_select_view(s);
    if (unlikely(s->audit_on)) {
        sh_audit_space(s, sp);
        if (out != sp)
            sh_audit_space(s, out);
    }
}

void shadow_cr3_loaded(struct vcpu *v)
{
    v->stats.shadow_cr3_loads++;
    switch_space(sh_of(v));
    sh_kwin_choose(sh_of(v));
}

void shadow_paging_changed(struct vcpu *v)
{
    switch_space(sh_of(v));
    sh_kwin_paging_changed(sh_of(v));
    sh_kwin_choose(sh_of(v));
}

void shadow_invlpg(struct vcpu *v, u32 lin)
{
    /* The traces already removed whatever the guest changed. */
    if (sh_of(v)->kwin_on)
        sh_kwin_invlpg(sh_of(v), lin >> PAGE_SHIFT);
    if (unlikely(!(v->opts & OPT(keepspaces))))
        sh_invalidate_page(sh_of(v), sh_of(v)->cur, lin >> PAGE_SHIFT);
}

const u64 *shadow_invlpg_pages(const struct vcpu *v)
{
    return v->opts & OPT(keepspaces) ? sh_of(v)->kwin : NULL; /* empty while it is off */
}

void shadow_flush_all(struct vcpu *v)
{
    struct shadow *s = sh_of(v);
    for (u32 i = 0; i < s->used_spaces; i++)
        sh_clear_space(s, &s->spaces[i]);
    sh_kwin_empty(s);
    sh_rmap_reset(s);
    s->epoch++;
    v->stats.shadow_flush_all++;
}

void shadow_set_a20(struct vcpu *v, bool on)
{
    struct shadow *s = sh_of(v);
    u64 mask = on ? ~0ull : ~(1ull << 20);
    if (s->phys_mask == mask)
        return;
    s->phys_mask = mask;
    shadow_flush_all(v);
}

static void remapped(void *opaque, u64 page, u64 count)
{
    struct shadow *s = opaque;
    shadow_flush_all(s->v);
}

/* ---- life ---- */

static void *carve(uintptr_t *p, u64 bytes)
{
    uintptr_t r = *p;
    *p += ALIGN_UP(bytes, (u64)PAGE_SIZE);
    return (void *)r;
}

/* Bookkeeping arrays: one sparse mapping. With s->arrays == NULL only measures. */
static u64 lay_out_arrays(struct shadow *s)
{
    uintptr_t p = (uintptr_t)s->arrays;
    s->spaces = carve(&p, (s->max_spaces + 1) * sizeof(*s->spaces));
    s->uses = carve(&p, (s->max_spaces + 1ull) * USE_STRIDE * sizeof(*s->uses));
    s->bigs = carve(&p, (u64)s->max_spaces * 2 * SH_CHUNKS * sizeof(*s->bigs));
    s->nodes = carve(&p, RMAP_NODES * sizeof(*s->nodes));
    s->masters = carve(&p, 2ull * SH_CHUNKS * MASTER_WAYS * sizeof(*s->masters));
    s->pt_head = carve(&p, SH_PAGES * sizeof(*s->pt_head));
    s->pt_last = carve(&p, SH_PAGES * sizeof(*s->pt_last));
    s->pt_writes = carve(&p, SH_PAGES * sizeof(*s->pt_writes));
    s->rmap_head = carve(&p, SH_PAGES * sizeof(*s->rmap_head));
    s->kwin = carve(&p, SH_PAGES / 8);
    s->klocal = carve(&p, sizeof(*s->klocal));
    s->big_head = carve(&p, SH_PAGES / 512 * sizeof(*s->big_head));
    return p - (uintptr_t)s->arrays;
}

static void *reserve(u64 bytes, int prot)
{
    void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/*
 * Address space for windows with holes in it. What is not mapped there is nobody's, so nothing else must ever
 * get into it: it lies far below where the host places mappings (downwards from the stack, or upwards from
 * TASK_SIZE / 3, for whoever has an unlimited stack) and above ELF files at fixed addresses.
 */
#define HOLES_FIRST 0x100000000000ull
#define HOLES_END   0x280000000000ull

static void *reserve_for_holes(u64 bytes)
{
    u8 mark; /* the host has put the stack at random: so are we */
    u64 at = HOLES_FIRST + ((u64)(uintptr_t)&mark >> 12 & 0x3ff) * VIEW_STRIDE;

    for (; at + bytes <= HOLES_END; at += ALIGN_UP(bytes, VIEW_STRIDE)) {
        void *p = mmap((void *)at, bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        if (p == (void *)at)
            return p;
        if (p != MAP_FAILED) /* a kernel that knows no MAP_FIXED_NOREPLACE */
            munmap(p, bytes);
    }
    return NULL;
}

static bool make_hole(const struct shadow *s, u64 base)
{
    return !s->holes || munmap((void *)base, 4 * GiB) == 0;
}

static int reserve_all(struct shadow *s)
{
    /* Address space may be limited (RLIMIT_AS): fewer spaces are slower, not wrong. */
    for (;;) {
        s->area_bytes = (2ull * s->max_spaces + 2) * VIEW_STRIDE + 4 * GiB;
        s->area = s->v->opts & OPT(winholes) ? reserve_for_holes(s->area_bytes) : NULL;
        s->holes = s->area;
        if (!s->area)
            s->area = reserve(s->area_bytes, PROT_NONE);
        if (s->area)
            break;
        if (s->max_spaces <= 2)
            return -ENOMEM;
        s->max_spaces = s->max_spaces / 2 < 2 ? 2 : s->max_spaces / 2;
    }
    s->arrays_bytes = lay_out_arrays(s);
    s->arrays = reserve(s->arrays_bytes, PROT_READ | PROT_WRITE);
    if (!s->arrays)
        return -ENOMEM;
    lay_out_arrays(s);
    s->kspace = &s->spaces[s->max_spaces];
    s->kspace->index = (u16)s->max_spaces;
    u64 base = ALIGN_UP((u64)s->area, 4 * GiB) + 4 * GiB;
    for (u32 i = 0; i < s->max_spaces; i++) {
        struct sh_space *sp = &s->spaces[i];
        sp->index = (u16)i;
        for (int k = 0; k < 2; k++, base += VIEW_STRIDE) {
            struct sh_view *vw = &sp->view[k];
            vw->base = vw->win_base = base;
            vw->rt = (u64 *)(base - SPACE_RT_OFF);
            vw->wt = (u64 *)(base - SPACE_WT_OFF);
            vw->xt = (u32 *)(base - SPACE_XT_OFF);
            vw->id = (u16)(i * 2 + (u32)k);
            vw->user = (u16)k;
            if (!make_hole(s, base))
                return -errno;
        }
    }
    s->empty_base = base;
    s->low = (s->v->opts & OPT(winlow)) && sh_low_reserve(s->holes);
    s->kwin_base = base + VIEW_STRIDE;
    return make_hole(s, s->kwin_base) ? sh_map_tables(s, NULL) : -errno;
}

static void free_shadow(struct shadow *s)
{
    if (s->low)
        sh_low_free();
    if (s->area)
        munmap(s->area, s->area_bytes);
    if (s->arrays)
        munmap(s->arrays, s->arrays_bytes);
    free(s);
}

static void reserved_bits(struct shadow *s, const struct cpu_model *model)
{
    u32 f = model ? model->features : ~0u;
    bool wide = f & (CPUF_PSE36 | CPUF_PAE); /* MAXPHYADDR 36 instead of 32 */
    s->rsvd_pde4m = f & CPUF_PSE36 ? 0x3e0000u : 0x3fe000u;
    s->pat_rsvd = f & CPUF_PAT ? 0 : PTE_PAT;
    if (s->pat_rsvd)
        s->rsvd_pde4m |= 0x1000u;
    s->rsvd_pae = ~PTE_NX & ~((1ull << (wide ? 36 : 32)) - 1);
}

int shadow_create(struct vcpu *v, struct memory *m, u32 max_spaces)
{
    struct shadow *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->v = v;
    s->m = m;
    s->phys_mask = ~0ull;
    s->kwin_gen = 1;
    s->map = *memory_map(m);
    s->max_spaces = max_spaces ? max_spaces : SH_DEFAULT_SPACES;
    if (s->max_spaces < 2)
        s->max_spaces = 2;
    if (s->max_spaces > SH_MAX_SPACES)
        s->max_spaces = SH_MAX_SPACES;
    s->node_left = RMAP_NODES;
    for (u32 i = 0; i < HASH_SIZE; i++)
        s->hash[i] = NO_SPACE;
    reserved_bits(s, v->model);
    int err = reserve_all(s);
    /* Two spaces at once: take_space() must always find one besides the current. */
    for (u32 i = 0; !err && i < 2; i++)
        err = sh_map_tables(s, &s->spaces[i]);
    if (err) {
        free_shadow(s);
        return err;
    }
    s->used_spaces = 2;
    for (u32 i = 0; i < 2; i++)
        s->spaces[i].idle = 1;
    const struct mem_watcher w = {
        .written = sh_pt_written, .revoke = sh_revoke, .remapped = remapped, .opaque = s, .flags = MEMW_PT};
    memory_add_watcher(m, &w);
    v->shadow = s;
    s->cur = new_space(s, key_of(v));
    s->cur->stamp = ++s->clock;
    s->cur->idle = 0;
    sh_select_view(s);
    return 0;
}

void shadow_destroy(struct vcpu *v)
{
    struct shadow *s = sh_of(v);
    if (!s)
        return;
    shadow_flush_all(v); /* takes the traces off memory */
    memory_remove_watcher(s->m, s);
    free_shadow(s);
    v->shadow = NULL;
    v->rtab = v->wtab = NULL;
    v->xtab = NULL;
}
