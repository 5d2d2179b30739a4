/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest-physical memory: layout, regions, watch flags.
 *
 * RAM is one memfd mapped once at a fixed place inside a 4 GiB reservation, at file offset = guest-physical
 * address, so that "host = base + gpa" needs no lookup and a stray access past the end of RAM hits PROT_NONE,
 * not our own data.
 *
 * What is known of a page lives in four arrays indexed by page number (kind, region, watch flags, code
 * generation). They are private anonymous mappings that stay untouched where nothing exists, so the metadata
 * costs about 2 bytes a RAM page plus 4 for pages near code. All of them end at 4 GiB: an address above is a
 * hole, and every function here must check for it before it indexes.
 *
 * Invariants: a page's region index is valid iff its kind is ROM or MMIO; replaced ROM data stays allocated
 * until memory_destroy(), since pointers to it may be cached until the `remapped` watchers have run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "memory/internal.h"

static void *sparse_array(u64 bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void set_kind(struct memory *m, u64 base, u64 size, enum mem_kind kind, u32 region)
{
    for (u64 p = base >> PAGE_SHIFT; p < (base + size) >> PAGE_SHIFT; p++) {
        m->kind[p] = (u8)kind;
        if (m->region[p] != region) /* keep the array untouched under plain RAM */
            m->region[p] = (u8)region;
    }
}

static int map_ram(struct memory *m)
{
    m->fd = memfd_create("novt-ram", MFD_CLOEXEC);
    if (m->fd < 0)
        return -errno;
    if (ftruncate(m->fd, (off_t)m->ram_bytes) < 0)
        return -errno;
    fcntl(m->fd, F_SETFL, O_NOATIME); /* or each mmap(2) of a window page notes when; nothing hangs on it */
    void *res = mmap(NULL, MEM_RESERVATION, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (res == MAP_FAILED)
        return -errno;
    m->base = res;
    if (mmap(res, m->ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, m->fd, 0) ==
        MAP_FAILED)
        return -errno;
    return 0;
}

struct memory *memory_create(u64 ram_bytes, int *err)
{
    if (!ram_bytes || (ram_bytes & PAGE_MASK) || ram_bytes > MEM_RAM_MAX) {
        *err = -EINVAL;
        return NULL;
    }
    struct memory *m = calloc(1, sizeof(*m));
    if (!m) {
        *err = -ENOMEM;
        return NULL;
    }
    m->fd = -1;
    m->ram_bytes = ram_bytes;
    m->nregions = 1;
    m->kind = sparse_array(MEM_PAGES);
    m->region = sparse_array(MEM_PAGES);
    m->watch = sparse_array(MEM_PAGES);
    m->gen = sparse_array(MEM_PAGES * sizeof(u32));
    *err = m->kind && m->region && m->watch && m->gen ? map_ram(m) : -ENOMEM;
    if (*err) {
        memory_destroy(m);
        return NULL;
    }
    set_kind(m, 0, ram_bytes, MEM_RAM, 0);
    if (ram_bytes > 640 * KiB) {
        u64 end = ram_bytes < 768 * KiB ? ram_bytes : 768 * KiB;
        set_kind(m, 640 * KiB, end - 640 * KiB, MEM_HOLE, 0);
    }
    m->map = (struct mem_map){.base = m->base, .kind = m->kind, .watch = m->watch, .gen = m->gen};
    return m;
}

void memory_destroy(struct memory *m)
{
    if (!m)
        return;
    for (u32 i = 1; i < m->nregions; i++)
        if (m->regions[i].own)
            free(m->regions[i].data);
    if (m->base)
        munmap(m->base, MEM_RESERVATION);
    if (m->fd >= 0)
        close(m->fd);
    if (m->kind)
        munmap(m->kind, MEM_PAGES);
    if (m->region)
        munmap(m->region, MEM_PAGES);
    if (m->watch)
        munmap(m->watch, MEM_PAGES);
    if (m->gen)
        munmap(m->gen, MEM_PAGES * sizeof(u32));
    free(m);
}

u64 memory_ram_size(const struct memory *m)
{
    return m->ram_bytes;
}

int memory_fd(const struct memory *m)
{
    return m->fd;
}

u8 *memory_base(const struct memory *m)
{
    return m->base;
}

const struct mem_map *memory_map(const struct memory *m)
{
    return &m->map;
}

/* ---- regions ---- */

static bool bad_range(u64 base, u64 size)
{
    return !size || ((base | size) & PAGE_MASK) || base >= 4 * GiB || size > 4 * GiB - base;
}

/* The range changes its kind: everyone forgets what they knew of it. */
static void remap(struct memory *m, u64 base, u64 size, enum mem_kind kind, u32 region)
{
    set_kind(m, base, size, kind, region);
    for (u32 i = 0; i < m->nwatchers; i++)
        if (m->watchers[i].remapped)
            m->watchers[i].remapped(m->watchers[i].opaque, base >> PAGE_SHIFT, size >> PAGE_SHIFT);
    /* What the page reads as has changed, which is a write to whoever watches it. */
    for (u64 gpa = base; gpa < base + size; gpa += PAGE_SIZE)
        memory_touched(m, gpa, PAGE_SIZE, 0);
}

static int new_region(struct memory *m, const struct region *r)
{
    if (m->nregions == MEM_REGIONS)
        return -ENOSPC;
    m->regions[m->nregions] = *r;
    return (int)m->nregions++;
}

static int add_region(struct memory *m, const struct region *r)
{
    if (bad_range(r->base, r->size))
        return -EINVAL;
    int n = new_region(m, r);
    if (n < 0)
        return n;
    remap(m, r->base, r->size, r->kind, (u32)n);
    return 0;
}

int memory_new_mmio(struct memory *m, const struct mmio_ops *ops, void *opaque, const char *name)
{
    struct region r = {.kind = MEM_MMIO, .ops = *ops, .opaque = opaque, .name = name};
    return new_region(m, &r);
}

int memory_new_rom(struct memory *m, u64 base, u8 *data, u64 size, bool write_ram, const char *name)
{
    if (bad_range(base, size) || ((u64)data & PAGE_MASK))
        return -EINVAL;
    struct region r = {
        .base = base, .size = size, .kind = MEM_ROM, .data = data, .write_ram = write_ram, .name = name};
    return new_region(m, &r);
}

int memory_map_region(struct memory *m, int region, u64 base, u64 size)
{
    if (region <= 0 || (u32)region >= m->nregions || bad_range(base, size))
        return -EINVAL;
    struct region *r = &m->regions[region];
    if (r->kind == MEM_ROM && (base < r->base || base + size > r->base + r->size))
        return -EINVAL;
    if (r->kind == MEM_MMIO) {
        r->base = base;
        r->size = size;
    }
    remap(m, base, size, r->kind, (u32)region);
    return 0;
}

int memory_map_ram(struct memory *m, u64 base, u64 size)
{
    if (bad_range(base, size) || base + size > m->ram_bytes)
        return -EINVAL;
    remap(m, base, size, MEM_RAM, 0);
    return 0;
}

bool memory_is_hole(const struct memory *m, u64 base, u64 size)
{
    if (bad_range(base, size))
        return false;
    for (u64 p = base >> PAGE_SHIFT; p < (base + size) >> PAGE_SHIFT; p++)
        if (m->kind[p] != MEM_HOLE)
            return false;
    return true;
}

int memory_unmap(struct memory *m, u64 base, u64 size)
{
    if (bad_range(base, size))
        return -EINVAL;
    remap(m, base, size, MEM_HOLE, 0);
    /* Only now does nobody hold an address in there. RAM keeps its mapping. */
    u64 from = base > m->ram_bytes ? base : m->ram_bytes;
    if (from < base + size &&
        mmap(m->base + from, base + size - from, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        return -errno;
    return 0;
}

int memory_map_fd(struct memory *m, u64 base, u64 size, int fd, u64 offset)
{
    if (bad_range(base, size) || base < m->ram_bytes || !memory_is_hole(m, base, size))
        return -EINVAL;
    if (mmap(m->base + base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) ==
        MAP_FAILED)
        return -errno;
    remap(m, base, size, MEM_RAM, 0);
    return 0;
}

int memory_add_mmio(struct memory *m, u64 base, u64 size, const struct mmio_ops *ops, void *opaque,
                    const char *name)
{
    struct region r = {
        .base = base, .size = size, .kind = MEM_MMIO, .ops = *ops, .opaque = opaque, .name = name};
    return add_region(m, &r);
}

int memory_add_rom(struct memory *m, u64 base, const void *data, u64 size, const char *name)
{
    if (!size || size > 4 * GiB)
        return -EINVAL;
    struct region r = {
        .base = base, .size = ALIGN_UP(size, (u64)PAGE_SIZE), .kind = MEM_ROM, .own = true, .name = name};
    if (posix_memalign((void **)&r.data, PAGE_SIZE, r.size))
        return -ENOMEM;
    memcpy(r.data, data, size);
    memset(r.data + size, 0, r.size - size);
    int err = add_region(m, &r);
    if (err)
        free(r.data);
    return err;
}

void memory_set_io_gate(struct memory *m, void (*enter)(void *), void (*leave)(void *), void *opaque)
{
    m->gate_enter = enter;
    m->gate_leave = leave;
    m->gate_opaque = opaque;
}

enum mem_kind memory_kind(const struct memory *m, u64 gpa)
{
    return gpa < 4 * GiB ? (enum mem_kind)m->kind[gpa >> PAGE_SHIFT] : MEM_HOLE;
}

u8 *memory_host(const struct memory *m, u64 gpa)
{
    switch (memory_kind(m, gpa)) {
    case MEM_RAM:
        return m->base + gpa;
    case MEM_ROM: {
        const struct region *r = &m->regions[m->region[gpa >> PAGE_SHIFT]];
        return r->data + (gpa - r->base);
    }
    default:
        return NULL;
    }
}

/* ---- watching ---- */

void memory_add_watcher(struct memory *m, const struct mem_watcher *w)
{
    NOVT_ASSERT(m->nwatchers < MEM_WATCHERS);
    m->watchers[m->nwatchers++] = *w;
}

void memory_remove_watcher(struct memory *m, const void *opaque)
{
    u32 n = 0;
    for (u32 i = 0; i < m->nwatchers; i++) {
        if (m->watchers[i].opaque == opaque)
            continue;
        if (n != i)
            m->watchers[n] = m->watchers[i];
        n++;
    }
    m->nwatchers = n;
}

u8 memory_watch_flags(const struct memory *m, u64 gpa)
{
    return gpa < 4 * GiB ? m->watch[gpa >> PAGE_SHIFT] : 0;
}

void memory_watch(struct memory *m, u64 gpa, u8 flag)
{
    if (gpa >= 4 * GiB)
        return;
    u64 page = gpa >> PAGE_SHIFT;
    u8 old = m->watch[page];
    /* The flag is set first: no one can take a new shortcut once revocation has begun. */
    m->watch[page] = old | flag;
    if (!old && flag)
        for (u32 i = 0; i < m->nwatchers; i++)
            if (m->watchers[i].revoke)
                m->watchers[i].revoke(m->watchers[i].opaque, page);
}

void memory_unwatch(struct memory *m, u64 gpa, u8 flag)
{
    if (gpa < 4 * GiB && (m->watch[gpa >> PAGE_SHIFT] & flag))
        m->watch[gpa >> PAGE_SHIFT] &= (u8)~flag;
}

const u32 *memory_code_gen(const struct memory *m, u64 gpa)
{
    return gpa < 4 * GiB ? &m->gen[gpa >> PAGE_SHIFT] : &m->no_gen;
}
