/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What changed on the screen, and who is told.
 *
 * Writes to the A0000 window and to registers come through this folder's code and leave a mark. Writes to the
 * linear frame buffer do not: its pages are the guest's memory. While a viewer wants pixels, the pages on the
 * screen carry MEMW_DIRTY; the first write to one drops the trace, leaves a mark and wakes the event thread,
 * later writes are free. So each page costs two slow writes a refresh at most, and a picture that nobody
 * writes to costs nothing.
 *
 * A refresh: the timer runs on the event thread, at most once a period. It hands the marks of the windows to
 * the viewers. For pages of the frame buffer it asks the vCPU thread, which owns the watch flags, to trace
 * them again; that hands their marks to the viewers and sets the timer. Tracing comes before drawing, so a
 * write is either drawn or marked again. If the vCPU thread does not come (the guest is stopped), nothing is
 * being written, and the marks count as they are.
 *
 * Invariant: a page of the mapped frame buffer either carries MEMW_DIRTY or has lfb_dirty set.
 *
 * lfb_written() is light code: it runs within a guest's store.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/log.h"
#include "base/syscall.h"
#include "devices/vga_int.h"

#define LIGHT   __attribute__((target("general-regs-only")))
#define WAIT_NS (50 * NS_PER_MS) /* for the vCPU thread */

static inline void set_bit(u64 *map, u32 page)
{
    map[page >> 6] |= 1ull << (page & 63);
}

void vga_viewer_clear(struct vga_viewer *w)
{
    w->all = w->dirty = false;
    memset(w->pages, 0, sizeof(w->pages));
}

/* ---- the linear frame buffer ---- */

LIGHT static void lfb_written(void *opaque, u64 gpa, u32 len)
{
    struct vga *v = opaque;
    u64 page = (gpa - v->lfb) >> PAGE_SHIFT;
    if (!v->lfb || gpa < v->lfb || page >= VGA_PAGES)
        return;
    memory_unwatch(v->mem, gpa, MEMW_DIRTY);
    __atomic_store_n(&v->lfb_dirty[page], 1, __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&v->lfb_wake, 1, __ATOMIC_SEQ_CST))
        return;
    static const u64 one = 1;
    host_syscall(SYS_write, (u64)v->wake_fd, (u64)(uintptr_t)&one, sizeof(one), 0, 0, 0);
}

static void on_wake(void *opaque)
{
    struct vga *v = opaque;
    u64 n;
    ssize_t r = read(v->wake_fd, &n, sizeof(n));
    (void)r; /* non-blocking */
    __atomic_store_n(&v->lfb_wake, 0, __ATOMIC_SEQ_CST);
    if (!v->awake)
        vga_wake(v);
}

void vga_untraced(struct vga *v)
{
    if (v->lfb)
        for (u64 off = 0; off < VGA_VRAM; off += PAGE_SIZE)
            memory_unwatch(v->mem, v->lfb + off, MEMW_DIRTY);
    memset(v->lfb_dirty, 1, sizeof(v->lfb_dirty));
    vga_registers_changed(v);
}

static bool pixels_wanted(const struct vga *v)
{
    for (const struct vga_viewer *w = v->viewers; w; w = w->next)
        if (w->pixels)
            return true;
    return false;
}

/* Hands the frame buffer's marks that are on the screen to the viewers; with `trace` they are taken away.
 * Returns whether there were any. */
static bool take_lfb(struct vga *v, bool trace)
{
    u32 first, count;
    bool any = false;
    vga_visible(v, &first, &count);
    for (u32 i = 0; i < count; i++) {
        u32 page = (first + i) & (VGA_PAGES - 1);
        if (!__atomic_load_n(&v->lfb_dirty[page], __ATOMIC_RELAXED))
            continue;
        any = true;
        if (trace) {
            memory_watch(v->mem, v->lfb + ((u64)page << PAGE_SHIFT), MEMW_DIRTY);
            __atomic_store_n(&v->lfb_dirty[page], 0, __ATOMIC_RELAXED);
        }
        for (struct vga_viewer *w = v->viewers; w; w = w->next) {
            set_bit(w->pages, page);
            w->dirty |= w->pixels;
        }
    }
    return any;
}

static bool lfb_marked(const struct vga *v)
{
    u32 first, count;
    vga_visible(v, &first, &count);
    for (u32 i = 0; i < count; i++)
        if (__atomic_load_n(&v->lfb_dirty[(first + i) & (VGA_PAGES - 1)], __ATOMIC_RELAXED))
            return true;
    return false;
}

/* vCPU thread, lock held. */
static void trace_again(void *opaque)
{
    struct vga *v = opaque;
    if (!v->lfb || !pixels_wanted(v))
        return;
    if (take_lfb(v, true))
        vga_wake(v);
}

/* ---- refreshing ---- */

/* The timer fires then, if not before. */
static void set_refresh(struct vga *v, u64 at)
{
    if (v->refresh_at && v->refresh_at <= at)
        return;
    v->refresh_at = at ? at : 1;
    bus_timer_set(v->refresh, v->refresh_at);
}

void vga_keep_blinking(struct vga *v)
{
    set_refresh(v, (bus_host_now(v->b) / VGA_BLINK_NS + 1) * VGA_BLINK_NS);
}

void vga_wake(struct vga *v)
{
    u64 now = bus_host_now(v->b), at = UINT64_MAX;
    for (struct vga_viewer *w = v->viewers; w; w = w->next)
        at = w->next_ns < at ? w->next_ns : at;
    if (!v->viewers)
        return;
    v->awake = true;
    set_refresh(v, at > now ? at : now);
}

static bool any_bits(const u64 *map)
{
    for (u32 i = 0; i < VGA_PAGES / 64; i++)
        if (map[i])
            return true;
    return false;
}

/* Marks of the windows and of registers go to the viewers. */
static void take_marks(struct vga *v)
{
    bool any = any_bits(v->dirty);
    for (struct vga_viewer *w = v->viewers; w; w = w->next) {
        w->all |= v->changed;
        w->dirty |= v->changed || any;
        for (u32 i = 0; any && i < VGA_PAGES / 64; i++)
            w->pages[i] |= v->dirty[i];
    }
    if (any)
        memset(v->dirty, 0, sizeof(v->dirty));
    v->changed = false;
}

static void refresh(void *opaque, u64 now)
{
    struct vga *v = opaque;
    u64 next = UINT64_MAX;
    v->awake = false;
    v->refresh_at = 0;
    take_marks(v);
    if (v->lfb && pixels_wanted(v) && lfb_marked(v)) {
        if (__atomic_load_n(&v->trace.queued, __ATOMIC_RELAXED)) {
            take_lfb(v, false); /* asked before, and it did not come */
        } else {
            bus_defer(v->b, &v->trace);
            next = now + WAIT_NS;
        }
    }
    for (struct vga_viewer *w = v->viewers, *after; w; w = after) {
        after = w->next; /* it may remove itself */
        bool due = w->dirty || (w->blinking && w->phase != now / VGA_BLINK_NS);
        if (due && now < w->next_ns) {
            next = w->next_ns < next ? w->next_ns : next;
            v->awake |= w->dirty;
            continue;
        }
        if (due) {
            w->next_ns = now + w->period_ms * NS_PER_MS;
            w->phase = now / VGA_BLINK_NS;
            w->changed(w->opaque);
        }
    }
    for (struct vga_viewer *w = v->viewers; w; w = w->next)
        if (w->blinking)
            vga_keep_blinking(v);
    if (next != UINT64_MAX)
        set_refresh(v, next);
}

void vga_add_viewer(struct vga *v, struct vga_viewer *w)
{
    vga_viewer_clear(w);
    w->all = w->dirty = true;
    w->blinking = false;
    w->next_ns = w->phase = 0;
    w->next = v->viewers;
    v->viewers = w;
    vga_wake(v);
}

void vga_remove_viewer(struct vga *v, struct vga_viewer *w)
{
    for (struct vga_viewer **p = &v->viewers; *p; p = &(*p)->next) {
        if (*p == w) {
            *p = w->next;
            return;
        }
    }
}

int vga_dirty_init(struct vga *v)
{
    const struct mem_watcher watcher = {.written = lfb_written, .opaque = v, .flags = MEMW_DIRTY};
    v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (v->wake_fd < 0)
        return -errno;
    v->trace = (struct bus_work){.fn = trace_again, .opaque = v};
    v->refresh = bus_host_timer_new(v->b, refresh, v);
    memset(v->lfb_dirty, 1, sizeof(v->lfb_dirty));
    memory_add_watcher(v->mem, &watcher);
    bus_watch_fd(v->b, v->wake_fd, on_wake, v);
    return 0;
}

void vga_dirty_done(struct vga *v)
{
    bus_cancel(v->b, &v->trace);
    bus_timer_set(v->refresh, 0);
    bus_unwatch_fd(v->b, v->wake_fd);
    memory_remove_watcher(v->mem, v);
    close(v->wake_fd);
}
