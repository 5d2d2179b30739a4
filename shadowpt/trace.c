/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Traces: which guest table pages the shadow depends on, and what a write to one removes or changes.
 *
 * A fill links each table page that it read to its slot in the space (a use) and the page carries MEMW_PT as
 * long as it has uses. One page may have many: a kernel's leaf table in every space, a page directory that
 * maps itself as a leaf table. A write removes exactly the entries that the changed PTEs or PDEs cover, in
 * every use (or changes them: update.c); a changed PDE also ends the use of the leaf table below it, since we
 * no longer know that the table is one.
 *
 * A page that is written PT_WRITES_MAX times without a walk in between is no longer a table, or is about to
 * be filled wholesale (fork, exit, a freed page reused for data): its uses are dropped with all they cover,
 * the trace ends, and the guest writes at full speed until a walk comes by again. This bounds what a write
 * storm costs.
 *
 * Invariant: a slot is linked only if the slots above it are, and every entry's table pages are linked.
 */
#include "shadowpt/internal.h"

bool sh_traced_pde(const struct shadow *s, const struct sh_space *sp, u32 c, u64 *pde)
{
    bool pae = sp->key & KEY_PAE;
    u32 page = s->uses[sp->index * USE_STRIDE + SLOT_PD + (pae ? c >> 9 : 0)].page;
    const u8 *dir = s->map.base + ((u64)(page - 1) << PAGE_SHIFT);

    if (!page)
        return false;
    *pde = pae ? __atomic_load_n((const u64 *)dir + (c & 0x1ff), __ATOMIC_RELAXED)
               : __atomic_load_n((const u32 *)dir + (c >> 1), __ATOMIC_RELAXED);
    return true;
}

void sh_use_unlink(struct shadow *s, struct sh_space *sp, u32 slot)
{
    struct sh_use *u = &s->uses[sp->index * USE_STRIDE + slot];
    u32 page = u->page - 1;
    if (u->prev)
        s->uses[u->prev - 1].next = u->next;
    else
        s->pt_head[page] = u->next;
    if (u->next)
        s->uses[u->next - 1].prev = u->prev;
    *u = (struct sh_use){0};
    sp->slots[slot >> 6] &= ~(1ull << (slot & 63));
    if (slot >= SLOT_PD)
        sh_kwin_directory_gone(s, sp);
    if (!s->pt_head[page]) {
        s->pt_last[page] = (u32)s->clock + 1;
        memory_unwatch(s->m, (u64)page << PAGE_SHIFT, MEMW_PT);
    }
}

void sh_use_link_slow(struct shadow *s, struct sh_space *sp, u32 slot, u32 page)
{
    u32 id = sp->index * USE_STRIDE + slot;
    struct sh_use *u = &s->uses[id];
    if (u->page)
        sh_use_drop(s, sp, slot); /* cannot happen while traces work, but must not corrupt the lists */
    u32 head = s->pt_head[page];
    *u = (struct sh_use){.page = page + 1, .next = head};
    if (head)
        s->uses[head - 1].prev = id + 1;
    s->pt_head[page] = id + 1;
    sp->slots[slot >> 6] |= 1ull << (slot & 63);
    if (slot >= SLOT_PD)
        sp->kwin_gen = 0; /* it can be compared from now on */
    if (!(s->map.watch[page] & MEMW_PT))
        memory_watch(s->m, (u64)page << PAGE_SHIFT, MEMW_PT);
    sp->idle = 0;
}

/* What a slot covers, in chunks. */
static inline void slot_range(const struct sh_space *sp, u32 slot, u32 *c, u32 *n)
{
    bool pae = sp->key & KEY_PAE;
    if (slot < SLOT_PD) {
        *c = slot;
        *n = pae ? 1 : 2;
    } else {
        *c = (slot - SLOT_PD) * 512;
        *n = pae ? 512 : SH_CHUNKS;
    }
}

void sh_use_drop(struct shadow *s, struct sh_space *sp, u32 slot)
{
    u32 c, n;
    slot_range(sp, slot, &c, &n);
    sh_clear_chunks(s, sp, c, n);
    if (slot >= SLOT_PD) {
        for (u32 word = c >> 6; word < (c + n) >> 6; word++)
            while (sp->slots[word])
                sh_use_unlink(s, sp, (word << 6) + (u32)__builtin_ctzll(sp->slots[word]));
    }
    if (s->uses[sp->index * USE_STRIDE + slot].page)
        sh_use_unlink(s, sp, slot);
    if (slot >= SLOT_PD && sp != s->cur && !sp->slots[SLOT_PD >> 6])
        sp->idle = 1; /* no directory left: most likely its root was freed */
}

/* Entries [first, last] of a page directory changed. */
static void pdes_written(struct shadow *s, struct sh_space *sp, u32 slot, u32 first, u32 last)
{
    bool pae = sp->key & KEY_PAE;
    u32 per = pae ? 1 : 2, c0 = (slot - SLOT_PD) * 512;
    for (u32 i = first; i <= last; i++) {
        u32 c = c0 + i * per;
        u64 any = 0;
        for (u32 k = c; k < c + per; k++)
            any |= (sp->view[0].any[k >> 6] | sp->view[1].any[k >> 6]) >> (k & 63) & 1;
        if (any)
            sh_clear_chunks(s, sp, c, per);
        else if (unlikely(sh_kwin_bound(s, c)))
            sh_kwin_chunks_gone(s, sp, c, per);
        if (sp->slots[c >> 6] >> (c & 63) & 1)
            sh_use_unlink(s, sp, c);
    }
}

static inline struct sh_space *space_of(struct shadow *s, u32 id)
{
    return &s->spaces[id / USE_STRIDE];
}

static __attribute__((noinline, cold)) void timed_pt_written(struct shadow *s, u64 gpa, u32 len)
{
    enum phase was = phase_enter(s->v->phases, PHASE_pt_write);

    sh_pt_written(s, gpa, len);
    phase_leave(s->v->phases, was);
}

void sh_pt_written(void *opaque, u64 gpa, u32 len)
{
    struct shadow *s = opaque;
    struct vcpu *v = s->v;
    u32 page = (u32)(gpa >> PAGE_SHIFT), off = (u32)gpa & PAGE_MASK, end = off + len - 1;
    if (phase_wanted(v->phases, PHASE_pt_write)) {
        timed_pt_written(s, gpa, len);
        return;
    }
    v->stats.shadow_pt_writes++;
    u16 before = s->pt_writes[page];
    u32 count = before + end / 4 - off / 4 + 1;
    bool followed = false;
    s->pt_writes[page] = count < 0xffff ? (u16)count : 0xffff;
    if (count > PT_WRITES_MAX && !sh_kwin_needs(s, page)) {
        v->stats.shadow_pt_given_up++;
        while (s->pt_head[page]) {
            u32 id = s->pt_head[page] - 1;
            sh_use_drop(s, space_of(s, id), id % USE_STRIDE);
        }
    } else {
        const u8 *host = s->map.base + ((u64)page << PAGE_SHIFT);
        bool directory = false;
        /* Leaf uses first: processing them unlinks nothing. */
        for (u32 n = s->pt_head[page]; n; n = s->uses[n - 1].next) {
            u32 slot = (n - 1) % USE_STRIDE;
            if (slot >= SLOT_PD) {
                directory = true;
                continue;
            }
            struct sh_space *sp = space_of(s, n - 1);
            u32 shift = sp->key & KEY_PAE ? 3 : 2, last = end >> shift;
            for (u32 i = off >> shift; i <= last; i++)
                followed |= sh_page_changed(s, sp, (slot << 9) + i, host + (i << shift));
        }
        /* The same page mapped to one place and another all the time is a table in use. */
        if (followed) {
            if (gpa == s->pt_followed)
                s->pt_writes[page] = before;
            s->pt_followed = gpa;
        }
        /* Directories: these unlink leaf uses, maybe of this very page, but never a directory. */
        for (u32 n = directory ? s->pt_head[page] : 0, next; n; n = next) {
            for (next = s->uses[n - 1].next; next && (next - 1) % USE_STRIDE < SLOT_PD;)
                next = s->uses[next - 1].next;
            u32 slot = (n - 1) % USE_STRIDE;
            if (slot < SLOT_PD)
                continue;
            struct sh_space *sp = space_of(s, n - 1);
            u32 shift = sp->key & KEY_PAE ? 3 : 2;
            pdes_written(s, sp, slot, off >> shift, end >> shift);
        }
    }
    if (unlikely(s->audit_on) && ++s->audit_count >= AUDIT_EVERY && !s->in_audit) {
        s->audit_count = 0;
        sh_audit_space(s, s->cur);
    }
}
