/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What light device code stands on: the bus lock, and the clock.
 *
 * A device access that has to save the guest's FPU state first costs 300 cycles more than one that has not.
 * So the frequent and simple devices (interrupt controllers, timer, POST port: struct port_ops' light) are
 * light code, as the CPU is (cpu/cpu.h): compiled for general registers only, and whatever may use the FPU,
 * such as libc, is behind bus_heavy(), which makes the vCPU's thread park the state.
 *
 * The lock is recursive and a futex: `lock` is 0, 1 (held) or 2 (held, and somebody may sleep), the owner a
 * thread of this process. The clock is the host's time-stamp counter, held to CLOCK_MONOTONIC: a straight
 * line through the point where the two were last compared, which is done again before the line is used for
 * longer than it was measured over, or for more than a second. Where the line was off, the next one makes up
 * for it within a second, so that time neither jumps nor runs backwards. On a host whose counter may change
 * its rate there is no line, and each look at the clock is a heavy one.
 *
 * Must not: call libc, but behind bus_heavy().
 */
#include <cpuid.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include "base/log.h"
#include "base/syscall.h"
#include "devices/internal.h"

/* ---- lock ---- */

static void lock_slow(struct bus *b)
{
    for (int n = 0; n < 100; n++) { /* most holders are gone in less than a microsecond */
        u32 free = 0;
        if (__atomic_compare_exchange_n(&b->lock, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return;
        __builtin_ia32_pause();
    }
    while (__atomic_exchange_n(&b->lock, 2, __ATOMIC_ACQUIRE))
        host_syscall(SYS_futex, (u64)(uintptr_t)&b->lock, FUTEX_WAIT_PRIVATE, 2, 0, 0, 0);
}

void bus_lock(struct bus *b)
{
    u64 self = host_thread();
    u32 free = 0;
    if (__atomic_load_n(&b->lock_owner, __ATOMIC_RELAXED) == self) {
        b->lock_depth++;
        return;
    }
    if (unlikely(!__atomic_compare_exchange_n(&b->lock, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
        lock_slow(b);
    __atomic_store_n(&b->lock_owner, self, __ATOMIC_RELAXED);
}

void bus_unlock(struct bus *b)
{
    NOVT_ASSERT(b->lock_owner == host_thread());
    if (b->lock_depth) {
        b->lock_depth--;
        return;
    }
    u8 wake = b->wake;
    b->wake = 0;
    __atomic_store_n(&b->lock_owner, 0, __ATOMIC_RELAXED);
    if (unlikely(__atomic_exchange_n(&b->lock, 0, __ATOMIC_RELEASE) == 2))
        host_syscall(SYS_futex, (u64)(uintptr_t)&b->lock, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
    if (unlikely(wake) && b->host.wake)
        b->host.wake(b->host.opaque);
}

void bus_heavy(struct bus *b)
{
    if (b->host.heavy)
        b->host.heavy(b->host.opaque);
}

/* ---- clock ---- */

#define SHIFT       32
#define MAX_LINE_NS NS_PER_SEC /* a line is not used for longer */
#define MIN_LINE_NS NS_PER_MS  /* nor measured over less */
#define MAX_SLEW_NS NS_PER_MS  /* what it is off by, and more, is a jump of the counter's: not made up for */
#define ANCHOR_NS   (16 * NS_PER_SEC)

static u64 tsc_ns(u64 cycles, u64 mult)
{
    return (u64)((unsigned __int128)cycles * mult >> SHIFT);
}

/* The line's time, or false where it ends. */
static bool line_now(const struct bus_clock *c, u64 *ns)
{
    u32 seq;
    u64 cycles, limit;
    do {
        seq = __atomic_load_n(&c->seq, __ATOMIC_ACQUIRE);
        cycles = __builtin_ia32_rdtsc() - __atomic_load_n(&c->tsc, __ATOMIC_RELAXED);
        limit = __atomic_load_n(&c->limit, __ATOMIC_RELAXED);
        *ns = __atomic_load_n(&c->ns, __ATOMIC_RELAXED) +
              tsc_ns(cycles, __atomic_load_n(&c->mult, __ATOMIC_RELAXED));
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (unlikely((seq & 1) || __atomic_load_n(&c->seq, __ATOMIC_RELAXED) != seq));
    return likely(cycles < limit);
}

/* The two clocks at the same moment, as good as the host lets us. */
static void both_clocks(u64 *tsc, u64 *ns)
{
    u64 best = UINT64_MAX;
    for (int n = 0; n < 4; n++) {
        struct timespec ts;
        u64 before = __builtin_ia32_rdtsc();
        clock_gettime(CLOCK_MONOTONIC, &ts);
        u64 after = __builtin_ia32_rdtsc();
        if (after - before < best) {
            best = after - before;
            *tsc = before + best / 2;
            *ns = (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
        }
    }
}

/* Draws a new line. The old one has ended; heavy, lock held. */
static u64 next_line(struct bus_clock *c)
{
    u64 tsc = 0, host = 0, ns, line;
    both_clocks(&tsc, &host);
    if (line_now(c, &line)) /* another thread was here */
        return line;
    host += c->offset;
    ns = host;
    if (c->mult && tsc - c->tsc < 64 * c->limit && (i64)(tsc - c->tsc) > 0)
        ns = c->ns + tsc_ns(tsc - c->tsc, c->mult);
    i64 off = (i64)(host - ns); /* the line is behind by this */
    if (off > (i64)MAX_SLEW_NS || off < -(i64)MAX_SLEW_NS) {
        c->offset -= off; /* goes on from here: the time of a host that slept, or a counter that was set */
        host = ns;
        off = 0;
        c->anchor_ns = c->half_ns = 0;
    }
    if (!c->anchor_ns || tsc <= c->anchor_tsc) {
        c->anchor_tsc = tsc;
        c->anchor_ns = host;
    }
    u64 span = host - c->anchor_ns, mult = 0, limit = 0;
    if (c->steady && span >= MIN_LINE_NS) {
        u64 last = span < MAX_LINE_NS ? span : MAX_LINE_NS;
        mult = (u64)(((unsigned __int128)span << SHIFT) / (tsc - c->anchor_tsc));
        limit = (u64)(((unsigned __int128)last << SHIFT) / mult);
        mult += (u64)(i64)((__int128)(i64)mult * off / (i64)(MAX_LINE_NS));
    }
    __atomic_store_n(&c->seq, c->seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&c->tsc, tsc, __ATOMIC_RELAXED);
    __atomic_store_n(&c->ns, ns, __ATOMIC_RELAXED);
    __atomic_store_n(&c->mult, mult, __ATOMIC_RELAXED);
    __atomic_store_n(&c->limit, limit, __ATOMIC_RELAXED);
    __atomic_store_n(&c->seq, c->seq + 1, __ATOMIC_RELEASE);
    /* The host's clock is steered, too: an old anchor makes room for one half as old. */
    if (span > ANCHOR_NS) {
        c->anchor_tsc = c->half_tsc;
        c->anchor_ns = c->half_ns;
        c->half_ns = 0;
    } else if (span > ANCHOR_NS / 2 && !c->half_ns) {
        c->half_tsc = tsc;
        c->half_ns = host;
    }
    return ns;
}

static u64 host_now(struct bus *b)
{
    u64 ns;
    if (likely(line_now(&b->line, &ns)))
        return ns;
    bus_heavy(b);
    bus_lock(b);
    ns = next_line(&b->line);
    bus_unlock(b);
    return ns;
}

void bus_clock_init(struct bus *b)
{
    u32 eax, ebx, ecx, edx = 0;
    /* the invariant TSC: one rate, in all states (SDM vol. 3, 18.17.1; APM vol. 3, CPUID 8000_0007h) */
    b->line.steady = __get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) && (edx & 0x100);
    b->clock_base = b->host_base = host_now(b);
}

u64 bus_now(struct bus *b)
{
    if (unlikely(b->clock != NULL)) {
        bus_heavy(b);
        return b->clock(b->clock_opaque);
    }
    u64 stopped = __atomic_load_n(&b->clock_stopped, __ATOMIC_RELAXED);
    if (unlikely(stopped))
        return stopped;
    return host_now(b) - __atomic_load_n(&b->clock_base, __ATOMIC_RELAXED);
}

bool bus_quick_now(struct bus *b, u64 *ns)
{
    if (unlikely(b->clock || __atomic_load_n(&b->clock_stopped, __ATOMIC_RELAXED) || !line_now(&b->line, ns)))
        return false;
    *ns -= __atomic_load_n(&b->clock_base, __ATOMIC_RELAXED);
    return true;
}

u64 bus_host_now(struct bus *b)
{
    if (unlikely(b->clock != NULL)) {
        bus_heavy(b);
        return b->clock(b->clock_opaque);
    }
    return host_now(b) - b->host_base;
}

void bus_stop_clock(struct bus *b)
{
    bus_lock(b);
    if (!b->clock_stopped) {
        u64 now = bus_now(b);
        __atomic_store_n(&b->clock_stopped, now ? now : 1, __ATOMIC_RELAXED);
    }
    bus_unlock(b);
}

void bus_start_clock(struct bus *b)
{
    bus_lock(b);
    if (b->clock_stopped) {
        __atomic_store_n(&b->clock_base, host_now(b) - b->clock_stopped, __ATOMIC_RELAXED);
        __atomic_store_n(&b->clock_stopped, 0, __ATOMIC_RELAXED);
        event_look_again(b); /* it had no deadline of the guest's */
    }
    bus_unlock(b);
}
