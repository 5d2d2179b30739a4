/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory ahead of its use (tcache/ahead.c): whoever prepares a region, its bytes stay what is written to
 * them, the same ones are in both mappings, preparing goes on to the end and not beyond it.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/mman.h>

#include "tcache/ahead.h"

#define CODE (24 * MiB)
#define SIDE (5 * MiB)
#define STEP (12 * KiB)

static u8 *aligned(u64 size, int flags)
{
    u8 *p = mmap(NULL, size + 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(p != MAP_FAILED);
    p = (u8 *)ALIGN_UP((u64)(uintptr_t)p, HUGE);
    assert_true(mmap(p, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
    return p; /* what follows stays inaccessible */
}

static u64 at(const struct ahead *a, u32 n)
{
    return __atomic_load_n(&a->region[n].at, __ATOMIC_RELAXED);
}

static void fill(bool large, bool threaded)
{
    struct ahead a = {0};
    u8 *rw = aligned(CODE, MAP_SHARED), *rx = aligned(CODE, MAP_SHARED), *side = aligned(SIDE, MAP_PRIVATE);

    assert_true(mremap(rw, 0, CODE, MREMAP_MAYMOVE | MREMAP_FIXED, rx) == rx);
    ahead_region(&a, REGION_CODE, rw, rx, HUGE, CODE);
    ahead_region(&a, REGION_SIDE, side, NULL, 0, SIDE - PAGE_SIZE);
    ahead_start(&a, large, threaded);
    for (u64 n = HUGE; n < CODE; n += STEP) {
        u64 end = n + STEP < CODE ? n + STEP : CODE;
        ahead_use(&a, REGION_CODE, end);
        assert_true(at(&a, REGION_CODE) >= end);
        for (u64 i = n; i < end; i += 64)
            rw[i] = (u8)(i / 64 * 7 + 1);
        if (n / 4 + STEP < SIDE - PAGE_SIZE) {
            ahead_use(&a, REGION_SIDE, n / 4 + STEP);
            side[n / 4] = (u8)(n / STEP + 1);
        }
    }
    if (threaded) /* what was asked for is done, too, though nobody waits for it */
        while (at(&a, REGION_SIDE) <= SIDE / 2)
            sched_yield();
    ahead_stop(&a);
    assert_true(at(&a, REGION_CODE) == ~0ull);
    for (u64 i = 0; i < CODE; i += 64)
        assert_int_equal(rx[i], i < HUGE ? 0 : (u8)(i / 64 * 7 + 1));
    for (u64 n = HUGE; n < CODE; n += STEP)
        if (n / 4 + STEP < SIDE - PAGE_SIZE)
            assert_int_equal(side[n / 4], (u8)(n / STEP + 1));
    munmap(rw, CODE);
    munmap(rx, CODE);
    munmap(side, SIDE);
}

static void filled(void **st)
{
    (void)st;
    for (u32 n = 0; n < 4; n++)
        fill(n & 1, n & 2);
}

/* The thread takes what is asked for and not more, and ends when it is told to, at work or not. */
static void thread(void **st)
{
    (void)st;
    for (u32 n = 0; n < 50; n++) {
        struct ahead a = {0};
        u8 *rw = aligned(CODE, MAP_PRIVATE);

        ahead_region(&a, REGION_LINKS, rw, NULL, 0, CODE);
        ahead_start(&a, true, true);
        assert_true(a.threaded);
        if (n & 1) {
            ahead_use(&a, REGION_LINKS, 0);
            if (n & 2)
                while (!at(&a, REGION_LINKS))
                    sched_yield();
        }
        ahead_stop(&a);
        assert_true(at(&a, REGION_LINKS) <= (n & 1 ? HUGE : 0));
        munmap(rw, CODE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(filled), cmocka_unit_test(thread)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
