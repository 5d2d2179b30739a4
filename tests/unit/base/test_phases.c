/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Phases: whatever the order of changes, the phases' cycles add up to the time between start and settling,
 * nested phases are not charged to those around them, and both printed forms say the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/stats.h"

static u64 sum(const struct phases *p)
{
    u64 s = 0;
    for (int i = 0; i < PHASE_COUNT; i++)
        s += p->cycles[i];
    return s;
}

static void wait_for(u64 cycles)
{
    for (u64 t = __builtin_ia32_rdtsc(); __builtin_ia32_rdtsc() - t < cycles;)
        ;
}

static void test_sum(void **state)
{
    struct phases p = {0};
    u32 seed = 1;

    phases_start(&p);
    for (int i = 0; i < 10000; i++) {
        seed = seed * 1664525 + 1013904223;
        enum phase was = phase_begin(&p, (enum phase)((seed >> 8) % PHASE_COUNT));
        if (seed >> 31)
            phase_end(&p, was);
    }
    phases_settle(&p);
    assert_int_equal(sum(&p), p.since - p.start);
    assert_true(p.since > p.start);
    u64 times = 0;
    for (int i = 0; i < PHASE_COUNT; i++)
        times += p.times[i];
    assert_int_equal(times, 10000);
}

/* What is waited for is a lower bound, and the other phase has it. */
static void test_nested(void **state)
{
    struct phases p = {0};

    phases_start(&p);
    enum phase was = phase_begin(&p, PHASE_exec);
    assert_int_equal(was, PHASE_other);
    enum phase inner = phase_begin(&p, PHASE_port);
    assert_int_equal(inner, PHASE_exec);
    wait_for(1000000);
    u64 exec = p.cycles[PHASE_exec];
    phase_end(&p, inner);
    assert_int_equal(p.now, PHASE_exec);
    assert_int_equal(p.cycles[PHASE_exec], exec);
    assert_true(p.cycles[PHASE_port] >= 1000000);
    phase_end(&p, was);
    assert_int_equal(p.now, PHASE_other);
    assert_int_equal(p.times[PHASE_exec], 1);
    assert_int_equal(p.times[PHASE_port], 1);
    assert_false(phase_wanted(&p, PHASE_other));
    assert_true(phase_wanted(&p, PHASE_fill));
}

static void test_nobody_asked(void **state)
{
    enum phase was = phase_begin(NULL, PHASE_fill);
    phase_end(NULL, was);
    assert_false(phase_wanted(NULL, PHASE_fill));
}

static void test_printed(void **state)
{
    struct phases p = {.start = 1000,
                       .since = 5000,
                       .cycles = {[PHASE_code] = 3000, [PHASE_halted] = 1000},
                       .times = {[PHASE_code] = 7, [PHASE_halted] = 1, [PHASE_signal_fault] = 2}};
    struct stats s = {.exit_exec = 42};
    struct stats_time t = {.phases = &p, .ns = 2000000000, .signal_cycles = 100};
    char *text = NULL;
    size_t size;

    FILE *f = open_memstream(&text, &size);
    stats_print_time(&t, f);
    fclose(f);
    assert_non_null(strstr(text, "2.000 s"));
    assert_non_null(strstr(text, " 75.00 %  translated code"));
    assert_non_null(strstr(text, " 25.00 %  halted"));
    assert_non_null(strstr(text, "100 cycles, 5.00 %"));
    assert_null(strstr(text, "mprotect")); /* there was none */
    free(text);

    f = open_memstream(&text, &size);
    stats_json(&s, &t, f);
    fclose(f);
    assert_non_null(strstr(text, "\"exit_exec\": 42,\n"));
    assert_non_null(strstr(text, "\"cycles_halted\": 1000,\n"));
    assert_non_null(strstr(text, "\"times_code\": 7,\n"));
    assert_non_null(strstr(text, "\"cycles_total\": 4000,\n"));
    assert_non_null(strstr(text, "\"signal_cycles\": 100\n}\n"));
    free(text);

    f = open_memstream(&text, &size);
    stats_json(&s, NULL, f);
    fclose(f);
    assert_null(strstr(text, "cycles_"));
    assert_null(strstr(text, ",\n}"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_nobody_asked),
        cmocka_unit_test(test_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
