/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest-physical accesses: the slow path of the CPU, the walker's and the devices' way to memory.
 *
 * Each access is cut at page boundaries and routed by the page's kind. Writes to RAM are made with one store
 * where the size allows (1, 2, 4, 8 bytes), so that another thread never sees half of an aligned value; then
 * the watchers of the page hear of them. A watcher may clear flags, drop tables and read memory, but must not
 * write guest memory.
 *
 * Light code: no libc here (memcpy uses vector registers). MMIO callbacks are ordinary code, hence the gate.
 */
#include "base/copy.h"
#include "base/types.h"
#include "memory/internal.h"

static inline void fill_bytes(void *dst, u8 val, u64 n)
{
    __asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(val) : "memory");
}

void memory_touched(struct memory *m, u64 gpa, u32 len, u8 skip)
{
    if (gpa >= 4 * GiB)
        return;
    u64 page = gpa >> PAGE_SHIFT;
    u8 flags = m->watch[page] & (u8)~skip;
    if (likely(!flags))
        return;
    if (flags & MEMW_CODE)
        m->gen[page]++;
    for (u32 i = 0; i < m->nwatchers; i++)
        if ((m->watchers[i].flags & flags) && m->watchers[i].written)
            m->watchers[i].written(m->watchers[i].opaque, gpa, len);
}

static void mmio(struct memory *m, u64 gpa, u8 *buf, u32 len, bool write)
{
    const struct region *r = &m->regions[m->region[gpa >> PAGE_SHIFT]];
    if (m->gate_enter)
        m->gate_enter(m->gate_opaque);
    while (len) {
        u32 size = len >= 4 && !(gpa & 3) ? 4 : len >= 2 && !(gpa & 1) ? 2 : 1;
        u32 val = 0;
        if (write) {
            copy_bytes(&val, buf, size);
            if (r->ops.write)
                r->ops.write(r->opaque, gpa - r->base, (int)size, val);
        } else {
            val = r->ops.read ? r->ops.read(r->opaque, gpa - r->base, (int)size) : ~0u;
            copy_bytes(buf, &val, size);
        }
        gpa += size;
        buf += size;
        len -= size;
    }
    if (m->gate_leave)
        m->gate_leave(m->gate_opaque);
}

static inline u32 in_page(u64 gpa, u64 len)
{
    u32 room = PAGE_SIZE - (u32)(gpa & PAGE_MASK);
    return len < room ? (u32)len : room;
}

void memory_read(struct memory *m, u64 gpa, void *buf, u64 len)
{
    u8 *p = buf;
    while (len) {
        u32 n = in_page(gpa, len);
        switch (memory_kind(m, gpa)) {
        case MEM_RAM:
            copy_bytes(p, m->base + gpa, n);
            break;
        case MEM_ROM:
            copy_bytes(p, memory_host(m, gpa), n);
            break;
        case MEM_MMIO:
            mmio(m, gpa, p, n, false);
            break;
        default:
            fill_bytes(p, 0xff, n);
        }
        gpa += n;
        p += n;
        len -= n;
    }
}

void memory_write(struct memory *m, u64 gpa, const void *buf, u64 len)
{
    const u8 *p = buf;
    while (len) {
        u32 n = in_page(gpa, len);
        switch (memory_kind(m, gpa)) {
        case MEM_RAM:
            copy_bytes(m->base + gpa, p, n);
            if (m->watch[gpa >> PAGE_SHIFT])
                memory_touched(m, gpa, n, 0);
            break;
        case MEM_MMIO:
            mmio(m, gpa, (u8 *)p, n, true);
            break;
        case MEM_ROM:
            if (m->regions[m->region[gpa >> PAGE_SHIFT]].write_ram && gpa + n <= m->ram_bytes)
                copy_bytes(m->base + gpa, p, n); /* not what the page reads as: nobody to tell */
            break;
        default: /* holes ignore writes */
            break;
        }
        gpa += n;
        p += n;
        len -= n;
    }
}
