/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Windows: a view's linear address space as host mappings.
 *
 * The window of a view is the 4 GiB behind its base, reserved PROT_NONE. While it is on, translated code
 * accesses guest memory there directly. It is a cache of the tables: a window page is mapped readable only
 * while its read entry is set and writable only while its write entry is set, to the same page of RAM. win[]
 * says which pages are mapped; whoever clears a table entry calls sh_win_drop() or sh_win_readonly() first,
 * so a stale page cannot be reached.
 *
 * What is not mapped is a hole in the address space (space.c says why nothing else gets there): a mapping
 * then splits no reservation and removing it makes none. While a program does not run, pages that leave its
 * window are only noted (gone[], win_on is WIN_STALE): contexts compare win_on before they enter translated
 * code, and settle() unmaps them by runs first. So a page that leaves costs a bit, an exit one system call.
 *
 * Each mapping costs microseconds and up to two of the process's memory areas (vm.max_map_count), so runs
 * that are contiguous in guest-physical memory are mapped by one call, and all windows are emptied when
 * WIN_AREAS is exceeded. The system calls are made directly: this is light code.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/syscall.h"
#include "shadowpt/internal.h"

#define WIN_AREAS  48000u /* of vm.max_map_count = 65530 */
#define WIN_RUN    64u    /* pages mapped by one call at most */
#define WIN_AROUND 16u    /* pages around a fault that are mapped if they can be, whatever it takes */
#define SETTLE_GAP 512u   /* pages between two that are unmapped by one call at most */

/*
 * The lowest 4 GiB of the host's address space, where nothing else is in a program whose code can be
 * anywhere: there an offset with 32-bit addressing is an address, and operands need no segment, whose base
 * costs a cycle at each load and a byte. They are the window of one program at a time, whose code has a form
 * of its own (MODE_LOW); the supervisor's window is never there, so GS, which holds the base of that, need
 * not change between such a program and its kernel. The first 64 KiB are no programs' to map; operands there
 * stay in table form. Not to be had: by a second VM in the process, or under tools that keep something there.
 */
#define LOW_FIRST 0x10000ull /* at lower addresses the host maps nothing (vm.mmap_min_addr) */
#define LOW_BYTES (4 * GiB - LOW_FIRST + LOW_BEHIND) /* what runs over the end meets nothing */
#define LOW_TICKS 1u /* interrupts of the guest's after which it may be another's */

/* A program that has its own place rises to the low one when such were found running so often since the owner
 * was; twice as often each time that it was taken so from one that lives. */
#define LOW_MISSED 3u
#define LOW_RISES  10u

bool sh_low_reserve(bool holes)
{
    void *at = (void *)(uintptr_t)LOW_FIRST;
    void *p = mmap(at, LOW_BYTES, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

    if (p != MAP_FAILED && p != at)
        munmap(p, LOW_BYTES);
    if (p != at)
        return false;
    if (holes) /* nobody gets in who does not ask for it by MAP_32BIT or an address */
        munmap(at, 4 * GiB - LOW_FIRST);
    return true;
}

void sh_low_free(void)
{
    munmap((void *)(uintptr_t)LOW_FIRST, LOW_BYTES);
}

static inline u8 on(const struct sh_view *vw)
{
    return vw->win_base ? WIN_HIGH : WIN_LOW;
}

/* The first page that a window can hold. */
static inline u32 lowest(const struct sh_view *vw)
{
    return vw->win_base ? 0 : LOW_FIRST >> PAGE_SHIFT;
}

long sh_sys_mmap(u64 addr, u64 len, int prot, int flags, int fd, u64 off)
{
    return host_syscall(SYS_mmap, addr, len, (u64)prot, (u64)flags, (u64)(i64)fd, off);
}

static long unmap_host(const struct shadow *s, u64 addr, u64 len)
{
    if (addr < LOW_FIRST) { /* nothing of it is mapped */
        if (addr + len <= LOW_FIRST)
            return 0;
        len -= LOW_FIRST - addr;
        addr = LOW_FIRST;
    }
    if (likely(s->holes))
        return host_syscall(SYS_munmap, addr, len, 0, 0, 0, 0);
    return host_syscall(SYS_mmap, addr, len, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, (u64)-1, 0);
}

void sh_window_unmap(const struct shadow *s, u64 base, u32 lp, u32 pages)
{
    enum phase was = phase_begin(s->v->phases, PHASE_win_unmap);
    long r = unmap_host(s, base + ((u64)lp << PAGE_SHIFT), (u64)pages << PAGE_SHIFT);
    if (unlikely(r < 0)) {
        /* Out of memory areas: the page must go, whatever it costs. Giving up the whole window frees areas.
         */
        r = unmap_host(s, base, SH_PAGES * (u64)PAGE_SIZE);
        NOVT_ASSERT(r >= 0);
    }
    phase_end(s->v->phases, was);
}

bool sh_window_protect(const struct shadow *s, u64 base, u32 lp, u32 pages)
{
    enum phase was = phase_begin(s->v->phases, PHASE_win_protect);
    long r = host_syscall(SYS_mprotect, base + ((u64)lp << PAGE_SHIFT), (u64)pages << PAGE_SHIFT, PROT_READ,
                          0, 0, 0);

    phase_end(s->v->phases, was);
    return r >= 0;
}

static void unmap(struct shadow *s, const struct sh_view *vw, u32 lp, u32 pages)
{
    sh_window_unmap(s, vw->win_base, lp, pages);
    s->win_areas += 2;
    s->v->stats.window_drops++;
}

static inline bool mapped(const struct sh_view *vw, u32 lp)
{
    return vw->win->mapped[lp >> 6] >> (lp & 63) & 1;
}

/* The first page from `from` on, below end, with a bit in map; end if there is none. */
static u32 next_page(const u64 *map, u32 from, u32 end)
{
    while (from < end) {
        u64 word = map[from >> 6] >> (from & 63);
        if (word) {
            from += (u32)__builtin_ctzll(word);
            return from < end ? from : end;
        }
        from = (from | 63) + 1;
    }
    return end;
}

/* May it wait until the window is used again? Only translated code at CPL 3 uses it, and that looks at win_on
 * before it starts to. */
static inline bool may_wait(const struct shadow *s, const struct sh_view *vw)
{
    return (s->v->opts & OPT(windefer)) && !(s->v->cpl == 3 && vw == &s->cur->view[1]);
}

/* Does a walk find the page, with the right to it, and need no A or D bit to be set? */
static bool found_as_is(struct shadow *s, u32 lin, bool write, bool user, struct sh_walk *w)
{
    return sh_walk(s, s->cur, lin, w) == WALK_OK && w->accessed && (!write || w->dirty) &&
           sh_allowed(s->cur, w, write ? SH_WRITE : SH_READ, user);
}

/* Would the tables still lead from lp to the page that is mapped there, without a change of the guest's? */
static bool leads_there(struct shadow *s, const struct sh_view *vw, u32 lp)
{
    struct sh_walk w;

    return found_as_is(s, lp << PAGE_SHIFT, false, true, &w) && w.gpa >> PAGE_SHIFT == vw->win->frame[lp];
}

/* Fills the tables with what the guest's say of the pages `gone` of this word. False: everything was dropped,
 * for want of memory. */
static bool refill(struct shadow *s, struct sh_view *vw, u32 word, u64 gone)
{
    u32 first = word * 64 + (u32)__builtin_ctzll(gone), end = word * 64 + 64 - (u32)__builtin_clzll(gone);

    for (u32 lp = first; lp < end; lp++)
        if ((gone >> (lp & 63) & 1) && leads_there(s, vw, lp)) {
            shadow_fill(s->v, lp << PAGE_SHIFT, SH_READ, true, NULL);
            if (unlikely(!vw->win_on))
                return false;
            sh_fill_around(s, vw, lp, first, end);
            return true;
        }
    return true;
}

static bool entry_leads_there(const struct shadow *s, const struct sh_view *vw, u32 lp)
{
    u64 addend = sh_entry(vw, K_R, lp);

    return addend &&
           addend + ((u64)lp << PAGE_SHIFT) == (u64)s->map.base + ((u64)vw->win->frame[lp] << PAGE_SHIFT);
}

/* Takes the right to write from the pages `bits` of this word, by runs. Returns those for which that failed.
 */
static u64 protect_runs(struct shadow *s, const struct sh_view *vw, u32 word, u64 bits)
{
    u64 failed = 0;

    while (bits) {
        u32 at = (u32)__builtin_ctzll(bits);
        u64 above = ~(bits >> at);
        u32 n = above ? (u32)__builtin_ctzll(above) : 64;
        u64 run = (n == 64 ? ~0ull : (1ull << n) - 1) << at;
        if (unlikely(!sh_window_protect(s, vw->win_base, word * 64 + at, n)))
            failed |= run;
        s->win_areas += 2;
        s->v->stats.window_protects++;
        bits &= ~run;
    }
    return failed;
}

/* Of the pages that are gone, those that are the same as before can stay: a fork writes all entries of the
 * parent anew, without the right to write, or gives the table's trace up by so many writes. Unmapping them
 * would cost a call here, and a signal and a mapping later for each. */
static bool keep(struct shadow *s, struct sh_view *vw)
{
    struct sh_win *win = vw->win;

    for (u32 i = 0; i < ARRAY_SIZE(win->gone_words); i++)
        for (u64 m = win->gone_words[i]; m; m &= m - 1) {
            u32 w = i * 64 + (u32)__builtin_ctzll(m);
            u64 same = 0, readonly = 0;
            if (unlikely(!refill(s, vw, w, win->gone[w])))
                return false;
            for (u64 bits = win->gone[w]; bits; bits &= bits - 1) {
                u32 lp = w * 64 + (u32)__builtin_ctzll(bits);
                u64 bit = bits & -bits;
                if (!entry_leads_there(s, vw, lp))
                    continue;
                same |= bit;
                if ((win->writable[w] & bit) && !sh_entry(vw, K_W, lp))
                    readonly |= bit;
            }
            same &= ~protect_runs(s, vw, w, readonly);
            win->writable[w] &= ~readonly;
            win->mapped[w] |= same;
            win->gone[w] &= ~same;
            u32 kept = (u32)__builtin_popcountll(same);
            s->v->stats.window_kept += kept;
            vw->win_clock.lost -= kept < vw->win_clock.lost ? kept : vw->win_clock.lost;
            if (!win->gone[w])
                win->gone_words[i] &= ~(m & -m);
        }
    return true;
}

/* Tells the host of the pages of a window that are gone: by one call for all of them that have nothing mapped
 * between them. */
static void settle(struct shadow *s, struct sh_view *vw)
{
    struct sh_win *win = vw->win;

    if ((s->v->opts & OPT(winkeep)) && !keep(s, vw))
        return;
    u32 first = 0, end = 0; /* the run to be unmapped */

    for (u32 i = 0; i < ARRAY_SIZE(win->gone_words); i++)
        for (u64 m = win->gone_words[i]; m; m &= m - 1) {
            u32 w = i * 64 + (u32)__builtin_ctzll(m);
            for (u64 bits = win->gone[w]; bits; bits &= bits - 1) {
                u32 lp = w * 64 + (u32)__builtin_ctzll(bits);
                if (end && lp > end + SETTLE_GAP) {
                    unmap(s, vw, first, end - first);
                    end = 0;
                }
                if (end && next_page(win->mapped, end, lp) < lp) {
                    unmap(s, vw, first, end - first);
                    end = 0;
                }
                if (!end)
                    first = lp;
                end = lp + 1;
            }
            win->gone[w] = 0;
            win->gone_words[i] &= ~(m & -m);
        }
    if (end)
        unmap(s, vw, first, end - first);
    vw->win_on = on(vw);
}

void shadow_window_settle(struct vcpu *v)
{
    struct sh_view *vw = &sh_of(v)->cur->view[1];
    if (v->cpl == 3 && vw->win_on == WIN_STALE)
        settle(sh_of(v), vw);
}

static inline void mark_gone(struct sh_view *vw, u32 word, u64 bits)
{
    vw->win->gone[word] |= bits;
    vw->win->gone_words[word >> 6] |= 1ull << (word & 63);
    vw->win_on = WIN_STALE;
}

void sh_win_drop_slow(struct shadow *s, struct sh_view *vw, u32 lp)
{
    if (!mapped(vw, lp))
        return;
    vw->win->mapped[lp >> 6] &= ~(1ull << (lp & 63));
    vw->win_clock.lost++;
    if (may_wait(s, vw))
        mark_gone(vw, lp >> 6, 1ull << (lp & 63));
    else
        unmap(s, vw, lp, 1);
}

void sh_win_readonly_slow(struct shadow *s, struct sh_view *vw, u32 lp)
{
    if (!mapped(vw, lp))
        return;
    s->win_areas += 2;
    s->v->stats.window_protects++;
    vw->win->writable[lp >> 6] &= ~(1ull << (lp & 63));
    if (unlikely(!sh_window_protect(s, vw->win_base, lp, 1))) {
        vw->win->mapped[lp >> 6] &= ~(1ull << (lp & 63));
        unmap(s, vw, lp, 1);
    }
}

void sh_win_drop_chunk_slow(struct shadow *s, struct sh_view *vw, u32 c)
{
    bool wait = may_wait(s, vw);
    u32 pages = 0;
    for (u32 i = c * 8; i < c * 8 + 8; i++) {
        if (!vw->win->mapped[i])
            continue;
        pages += (u32)__builtin_popcountll(vw->win->mapped[i]);
        if (wait)
            mark_gone(vw, i, vw->win->mapped[i]);
        vw->win->mapped[i] = 0;
    }
    vw->win_clock.lost += pages;
    if (pages && !wait)
        unmap(s, vw, c << 9, 512);
}

static void empty(struct shadow *s, struct sh_view *vw)
{
    bool any = vw->win_on == WIN_STALE;
    for (u32 i = 0; i < SH_PAGES / 64; i++)
        if (vw->win->mapped[i]) {
            any = true;
            vw->win->mapped[i] = 0;
        }
    for (u32 i = 0; i < ARRAY_SIZE(vw->win->gone_words); i++)
        for (; vw->win->gone_words[i]; vw->win->gone_words[i] &= vw->win->gone_words[i] - 1)
            vw->win->gone[i * 64 + (u32)__builtin_ctzll(vw->win->gone_words[i])] = 0;
    vw->win_on = on(vw);
    if (any)
        unmap(s, vw, 0, SH_PAGES);
}

void sh_win_off(struct shadow *s, struct sh_view *vw)
{
    if (!vw->win_on)
        return;
    empty(s, vw);
    vw->win_on = 0;
    if (s->low_owner == vw) {
        s->low_owner = NULL;
        vw->win_base = vw->base;
    }
}

static bool low_is_free(const struct shadow *s)
{
    return !s->low_owner || sh_gone(s->low_owner);
}

/* Turns a program's window on at the low place, whether or not it was on elsewhere. Its owner, if it is still
 * there, gets its own place, and maps its pages there when it runs again. */
static void take_low(struct shadow *s, struct sh_view *vw)
{
    struct sh_view *owner = s->low_owner;

    sh_win_off(s, vw);
    if (low_is_free(s))
        s->low_rises = 0;
    if (owner) {
        sh_win_off(s, owner);
        owner->win_on = on(owner);
        s->v->stats.window_moves++;
    }
    s->low_owner = vw;
    s->low_taken = s->v->stats.interrupts;
    s->low_missed = 0;
    vw->win_base = 0;
    vw->win_on = on(vw);
}

static struct sh_view *current(struct shadow *s)
{
    return &s->cur->view[s->v->cpl == 3];
}

u64 shadow_window_base(const struct vcpu *v)
{
    const struct shadow *s = sh_of(v);
    const struct sh_view *vw = &s->cur->view[v->cpl == 3];
    return v->cpl != 3 ? s->kwin_base : vw->win_base;
}

bool shadow_window_on(const struct vcpu *v)
{
    return !v->slow_access && *shadow_window_flag(v);
}

bool shadow_window_low(const struct vcpu *v)
{
    return !shadow_window_base(v);
}

const u8 *shadow_window_flag(const struct vcpu *v)
{
    const struct shadow *s = sh_of(v);
    return v->cpl != 3 ? &s->cur->kwin_on : &s->cur->view[1].win_on;
}

bool shadow_window_useful(const struct vcpu *v)
{
    return v->cpl == 3 || sh_kwin_useful(sh_of(v));
}

bool shadow_window_enable(struct vcpu *v)
{
    struct shadow *s = sh_of(v);
    struct sh_view *vw = current(s);
    if (v->cpl != 3) {
        v->stats.windows_on++;
        return sh_kwin_enable(s);
    }
    if (!vw->win) {
        long r = host_syscall(SYS_mmap, 0, sizeof(*vw->win), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, (u64)-1, 0);
        if (r < 0)
            return false;
        vw->win = (struct sh_win *)r;
    }
    /* That happens to a program but once or twice: who is found running is the one to be served. */
    if (!vw->win_on && s->low && (low_is_free(s) || v->stats.interrupts - s->low_taken >= LOW_TICKS))
        take_low(s, vw);
    else
        vw->win_on = on(vw);
    v->stats.windows_on++;
    return true;
}

void shadow_window_tick(struct vcpu *v)
{
    struct shadow *s = sh_of(v);
    struct sh_view *vw = current(s);

    if (v->cpl != 3 || !s->low)
        return;
    NOVT_ASSERT(vw->win_on);
    if (vw == s->low_owner) {
        s->low_missed = 0;
        return;
    }
    if (!low_is_free(s)) {
        if (++s->low_missed < LOW_MISSED << s->low_rises)
            return;
        s->low_rises += s->low_rises < LOW_RISES;
    }
    take_low(s, vw);
}

void shadow_window_disable(struct vcpu *v)
{
    struct shadow *s = sh_of(v);
    if (v->cpl != 3) {
        sh_kwin_disable(s);
    } else {
        sh_win_off(s, current(s));
    }
}

struct shadow_window_clock *shadow_window_clock(struct vcpu *v)
{
    return v->cpl == 3 ? &current(sh_of(v))->win_clock : &sh_of(v)->kwin_clock;
}

/* Maps pages [lp, lp+n) of the window at base to RAM from gpa on. A large guest page covers memory that the
 * guest may never touch: populating would allocate it, so the supervisor window takes minor faults instead.
 * The fault of a single page costs less than having it populated.
 */
bool sh_window_map_run(struct shadow *s, u64 base, u32 lp, u32 n, u64 gpa, bool write)
{
    bool later = base == s->kwin_base;
    u64 flags = MAP_SHARED | MAP_FIXED | (later || n == 1 ? 0 : MAP_POPULATE),
        at = base + ((u64)lp << PAGE_SHIFT);
    enum phase was = phase_begin(s->v->phases, PHASE_win_map);
    long r = host_syscall(SYS_mmap, at, (u64)n << PAGE_SHIFT, PROT_READ | (write ? PROT_WRITE : 0), flags,
                          (u64)memory_fd(s->m), gpa);
    if (r >= 0 && n == 1 && !later)
        *(volatile const u8 *)(uintptr_t)at;
    phase_end(s->v->phases, was);
    if (r < 0)
        return false;
    s->win_areas += 2;
    s->v->stats.window_maps++;
    s->v->stats.window_pages += n;
    return true;
}

static bool map_run(struct shadow *s, struct sh_view *vw, u32 lp, u32 n, u64 addend, bool write)
{
    u64 gpa = addend + ((u64)lp << PAGE_SHIFT) - (u64)s->map.base;

    if (!sh_window_map_run(s, vw->win_base, lp, n, gpa, write))
        return false;
    for (u32 i = 0; i < n; i++) {
        u64 *writable = &vw->win->writable[(lp + i) >> 6], bit = 1ull << ((lp + i) & 63);
        vw->win->mapped[(lp + i) >> 6] |= bit;
        *writable = write ? *writable | bit : *writable & ~bit;
        vw->win->frame[lp + i] = (u32)(gpa >> PAGE_SHIFT) + i;
    }
    return true;
}

/* The run that page lp is in, within [*first, *end): physically contiguous pages whose entries have the same
 * rights and which are not mapped yet. lp itself may be, for reading only. False: lp has no entry in RAM, or
 * no place. */
static bool find_run(const struct shadow *s, const struct sh_view *vw, u32 lp, u32 *first, u32 *end)
{
    u64 addend = sh_entry(vw, K_R, lp), ram = memory_ram_size(s->m);
    bool write = sh_entry(vw, K_W, lp) != 0;
    u32 a = lp, b = lp;

    if (lp < lowest(vw))
        return false;
    if (*first < lowest(vw))
        *first = lowest(vw);
    if (!addend || addend + ((u64)lp << PAGE_SHIFT) - (u64)s->map.base >= ram)
        return false; /* ROM, or a frame buffer, which is another file */
    u64 ram_end = (u64)s->map.base + ram - addend;
    while (a > *first && !mapped(vw, a - 1) && sh_entry(vw, K_R, a - 1) == addend &&
           (sh_entry(vw, K_W, a - 1) != 0) == write)
        a--;
    for (b++; b < *end && ((u64)b << PAGE_SHIFT) < ram_end && !mapped(vw, b) &&
              sh_entry(vw, K_R, b) == addend && (sh_entry(vw, K_W, b) != 0) == write;)
        b++;
    *first = a;
    *end = b;
    return true;
}

static bool map_run_at(struct shadow *s, struct sh_view *vw, u32 lp, u32 *first, u32 *end)
{
    return find_run(s, vw, lp, first, end) &&
           map_run(s, vw, *first, *end - *first, sh_entry(vw, K_R, lp), sh_entry(vw, K_W, lp) != 0);
}

/* Maps what the tables know of the WIN_AROUND pages around lp, which is mapped already. */
static void map_around(struct shadow *s, struct sh_view *vw, u32 lp)
{
    u32 first = lp & ~(WIN_AROUND - 1), end = first + WIN_AROUND;

    for (u32 p = first; p < end;) {
        u32 from = p, to = end;
        p = !mapped(vw, p) && map_run_at(s, vw, p, &from, &to) ? to : p + 1;
    }
}

/* Memory areas of the process: lines of /proc/self/maps. */
static u32 count_areas(void)
{
    u64 buf[512];
    const u8 *p = (const u8 *)buf;
    u32 lines = 0;
    long n, fd = host_syscall(SYS_open, (u64) "/proc/self/maps", 0, 0, 0, 0, 0);

    if (fd < 0)
        return WIN_AREAS; /* cannot tell: assume the worst */
    while ((n = host_syscall(SYS_read, (u64)fd, (u64)buf, sizeof(buf), 0, 0, 0)) > 0)
        for (long i = 0; i < n; i++)
            lines += p[i] == '\n';
    host_syscall(SYS_close, (u64)fd, 0, 0, 0, 0, 0);
    return lines;
}

static void evict(struct shadow *s)
{
    sh_kwin_empty(s);
    for (u32 i = 0; i < s->used_spaces; i++)
        for (int k = 0; k < 2; k++)
            if (s->spaces[i].view[k].win_on)
                empty(s, &s->spaces[i].view[k]);
    s->win_areas = 0;
    s->v->stats.window_evictions++;
}

enum shadow_mapped shadow_window_map(struct vcpu *v, u32 lin, bool want_write, bool anyway)
{
    struct shadow *s = sh_of(v);
    struct sh_view *vw = current(s);
    u32 lp = lin >> PAGE_SHIFT, first = lp & ~(WIN_RUN - 1), end = first + WIN_RUN;

    shadow_window_settle(v);
    if (unlikely(s->win_areas > WIN_AREAS)) {
        s->win_areas = count_areas(); /* it only ever grew; neighbours merge, and programs end */
        if (s->win_areas > WIN_AREAS - WIN_AREAS / 8)
            evict(s);
    }
    if (v->cpl != 3)
        return sh_kwin_map(s, lin, want_write, anyway);
    if (unlikely(!vw->win_on)) /* a fill that found no room dropped everything */
        return SH_MISFIT;
    if (unlikely(lp < lowest(vw)))
        return SH_NO_PLACE;
    if (v->opts & OPT(winaround))
        sh_fill_around(s, vw, lp, lp & ~(WIN_AROUND - 1), (lp | (WIN_AROUND - 1)) + 1);
    if (!map_run_at(s, vw, lp, &first, &end))
        return SH_MISFIT;
    if (v->opts & OPT(winaround))
        map_around(s, vw, lp);
    return SH_MAPPED;
}

bool shadow_window_prefill(struct vcpu *v, u32 lin, bool write)
{
    struct shadow *s = sh_of(v);
    struct sh_walk w;

    if (!found_as_is(s, lin, write, v->cpl == 3, &w))
        return false;
    if (shadow_fill(v, lin, write ? SH_WRITE : SH_READ, v->cpl == 3, NULL) != SH_FILLED)
        return false;
    return v->cpl != 3 || mapped(current(s), lin >> PAGE_SHIFT) ||
           shadow_window_map(v, lin, write, true) == SH_MAPPED;
}
