/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linear accesses that missed the inline lookup: struct cpu_ops' mem_read, mem_write, mem_probe_write and
 * fetch.
 *
 * Every page of an access is resolved (rights, A/D) before a byte moves. Resolving the second page may put a
 * trace on the first, so a write that crosses pages never uses a host address taken earlier: it goes by
 * physical address through memory_write(), which looks at the watch flags then.
 *
 * Data breakpoints and alignment checks come after the page checks (SDM vol. 3, 6.9) and only for instruction
 * accesses, not for descriptor table and TSS accesses, which differ in privilege (except at CPL 0-2).
 */
#include "base/copy.h"
#include "shadowpt/internal.h"

struct place {
    u8 *host; /* direct access is allowed, else NULL: go by gpa */
    u64 gpa;  /* valid only if host is NULL */
};

static inline int resolve(struct vcpu *v, u32 lin, enum shadow_access acc, int user, struct place *p)
{
    struct shadow *s = sh_of(v);
    struct sh_view *vw = &s->cur->view[user];
    u32 lp = lin >> PAGE_SHIFT;
    int kind = acc == SH_WRITE ? K_W : K_R;
    u64 e = sh_entry(vw, kind, lp);
    if (likely(e)) {
        p->host = (u8 *)(e + lin);
        return CPU_OK;
    }
    p->host = NULL;
    if (acc == SH_WRITE) {
        u32 i = (lp ^ vw->id) % TW_SIZE;
        if (s->tw[i].tag == 1 + ((u32)vw->id << 20 | lp) && s->map.watch[s->tw[i].page]) {
            p->gpa = (u64)s->tw[i].page << PAGE_SHIFT | (lin & PAGE_MASK);
            return CPU_OK;
        }
    }
    switch (shadow_fill(v, lin, acc, user, &p->gpa)) {
    case SH_FILLED:
        p->host = (u8 *)(sh_entry(vw, kind, lp) + lin);
        return CPU_OK;
    case SH_SLOW:
        return CPU_OK;
    default:
        return CPU_FAULT;
    }
}

/* Data breakpoints and #AC. */
static inline int check_access(struct vcpu *v, u32 lin, u32 len, bool write, int user)
{
    if (likely(!v->slow_access) || user != (v->cpl == 3))
        return CPU_OK;
    return cpu_access_check(v, lin, len, write);
}

static void read_place(struct vcpu *v, const struct place *p, void *buf, u32 len)
{
    struct shadow *s = sh_of(v);
    if (likely(p->host)) {
        copy_bytes(buf, p->host, len);
        return;
    }
    if (memory_kind(s->m, p->gpa) == MEM_MMIO)
        v->stats.mmio_reads++;
    memory_read(s->m, p->gpa, buf, len);
}

static void write_place(struct vcpu *v, u64 gpa, const void *buf, u32 len)
{
    struct shadow *s = sh_of(v);
    if (memory_kind(s->m, gpa) == MEM_MMIO)
        v->stats.mmio_writes++;
    memory_write(s->m, gpa, buf, len);
}

/* Physical address of a place: write places with a host address are RAM. */
static inline u64 place_gpa(const struct shadow *s, const struct place *p)
{
    return p->host ? (u64)(p->host - s->map.base) : p->gpa;
}

bool shadow_write_open(struct vcpu *v, u32 lin, u32 len)
{
    struct shadow *s = sh_of(v);
    struct sh_view *vw = &s->cur->view[v->cpl == 3];
    u32 lp = lin >> PAGE_SHIFT, i = (lp ^ vw->id) % TW_SIZE;
    u64 page = (u64)s->tw[i].page << PAGE_SHIFT;

    if (unlikely((lin & PAGE_MASK) + len > PAGE_SIZE))
        return false;
    if (unlikely(!sh_line(vw, K_W, lp)))
        sh_mark(s, vw, K_W, lp);
    s->open.entry = &vw->wt[lp];
    s->open.gpa = page | (lin & PAGE_MASK);
    s->open.len = len;
    vw->wt[lp] = (u64)s->map.base + page - ((u64)lp << PAGE_SHIFT);
    return true;
}

bool shadow_write_close(struct vcpu *v)
{
    struct shadow *s = sh_of(v);

    *s->open.entry = 0;
    if (likely(s->map.watch[s->open.gpa >> PAGE_SHIFT] == MEMW_PT))
        sh_pt_written(s, s->open.gpa, s->open.len);
    else
        memory_touched(s->m, s->open.gpa, s->open.len, 0);
    return s->map.watch[s->open.gpa >> PAGE_SHIFT];
}

int shadow_mem_read(struct vcpu *v, u32 lin, void *buf, u32 len, int user)
{
    struct place a, b;
    u32 first = PAGE_SIZE - (lin & PAGE_MASK);
    if (resolve(v, lin, SH_READ, user, &a) != CPU_OK)
        return CPU_FAULT;
    if (likely(len <= first)) {
        if (check_access(v, lin, len, false, user) != CPU_OK)
            return CPU_FAULT;
        read_place(v, &a, buf, len);
        return CPU_OK;
    }
    NOVT_ASSERT(len - first <= PAGE_SIZE);
    if (resolve(v, lin + first, SH_READ, user, &b) != CPU_OK ||
        check_access(v, lin, len, false, user) != CPU_OK)
        return CPU_FAULT;
    read_place(v, &a, buf, first);
    read_place(v, &b, (u8 *)buf + first, len - first);
    return CPU_OK;
}

int shadow_mem_write(struct vcpu *v, u32 lin, const void *buf, u32 len, int user)
{
    struct place a, b;
    u32 first = PAGE_SIZE - (lin & PAGE_MASK);
    if (resolve(v, lin, SH_WRITE, user, &a) != CPU_OK)
        return CPU_FAULT;
    if (likely(len <= first)) {
        if (check_access(v, lin, len, true, user) != CPU_OK)
            return CPU_FAULT;
        if (likely(a.host))
            copy_bytes(a.host, buf, len);
        else
            write_place(v, a.gpa, buf, len);
        return CPU_OK;
    }
    NOVT_ASSERT(len - first <= PAGE_SIZE);
    if (resolve(v, lin + first, SH_WRITE, user, &b) != CPU_OK ||
        check_access(v, lin, len, true, user) != CPU_OK)
        return CPU_FAULT;
    u64 ga = place_gpa(sh_of(v), &a), gb = place_gpa(sh_of(v), &b);
    write_place(v, ga, buf, first);
    write_place(v, gb, (const u8 *)buf + first, len - first);
    return CPU_OK;
}

int shadow_mem_probe_write(struct vcpu *v, u32 lin, u32 len, int user)
{
    struct place p;
    u32 first = PAGE_SIZE - (lin & PAGE_MASK);
    if (resolve(v, lin, SH_WRITE, user, &p) != CPU_OK)
        return CPU_FAULT;
    if (unlikely(len > first)) {
        NOVT_ASSERT(len - first <= PAGE_SIZE);
        if (resolve(v, lin + first, SH_WRITE, user, &p) != CPU_OK)
            return CPU_FAULT;
    }
    return check_access(v, lin, len, true, user); /* so that the write will not fault for its alignment */
}

int shadow_fetch(struct vcpu *v, u32 lin, const u8 **host, u64 *gpa)
{
    struct shadow *s = sh_of(v);
    int user = v->cpl == 3;
    u32 x = (u32)sh_entry(&s->cur->view[user], K_X, lin >> PAGE_SHIFT);
    if (likely(x))
        *gpa = (u64)(x - 1) << PAGE_SHIFT | (lin & PAGE_MASK);
    else if (shadow_fill(v, lin, SH_EXEC, user, gpa) == SH_FAULT)
        return CPU_FAULT;
    *host = memory_host(s->m, *gpa);
    return CPU_OK;
}

const u32 *shadow_code_page(struct vcpu *v, u64 gpa)
{
    struct shadow *s = sh_of(v);
    if (!(memory_watch_flags(s->m, gpa) & MEMW_CODE)) {
        v->stats.code_pages++;
        memory_watch(s->m, gpa, MEMW_CODE);
    }
    return memory_code_gen(s->m, gpa);
}

u64 shadow_phys_read64(struct vcpu *v, u64 gpa)
{
    const struct shadow *s = sh_of(v);
    if (likely(gpa < 4 * GiB && !(gpa & 7) && s->map.kind[gpa >> PAGE_SHIFT] == MEM_RAM)) /* the PDPTEs */
        return __atomic_load_n((const u64 *)(s->map.base + gpa), __ATOMIC_RELAXED);
    return memory_read64(s->m, gpa);
}
