/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Printing of the counters that base/stats.def lists and of the phases of base/phases.def. Counting itself is
 * a plain increment of a field of struct stats by the vCPU that owns it; nothing here runs while the guest
 * does. The text form is for people, the JSON form is one flat object with the same names, so that scripts
 * need no parser of their own.
 */
#include "base/stats.h"

#include <inttypes.h>

static const struct {
    const char *name;
    const char *desc;
    size_t offset;
} counters[] = {
#define STAT(name, desc) {#name, desc, offsetof(struct stats, name)},
#include "base/stats.def"
#undef STAT
};

static u64 value(const struct stats *s, size_t i)
{
    return *(const u64 *)((const char *)s + counters[i].offset);
}

void stats_print(const struct stats *s, FILE *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
        fprintf(out, "%-28s %16" PRIu64 "  %s\n", counters[i].name, value(s, i), counters[i].desc);
}

static const struct {
    const char *name, *desc;
} phases[PHASE_COUNT] = {
#define PHASE(name, desc) {#name, desc},
#include "base/phases.def"
#undef PHASE
};

static u64 total(const struct phases *p)
{
    return p->since - p->start;
}

static double share(const struct phases *p, u64 cycles)
{
    return total(p) ? 100.0 * (double)cycles / (double)total(p) : 0;
}

void stats_print_time(const struct stats_time *t, FILE *out)
{
    const struct phases *p = t->phases;
    u64 signals = p->times[PHASE_signal_kick] + p->times[PHASE_signal_fault],
        busy = t->user_ns + t->system_ns;

    fprintf(out, "%-14s %12s %18s %8s  where the CPU's thread spent %.3f s\n", "phase", "times", "cycles",
            "share", (double)t->ns / 1e9);
    for (int i = 0; i < PHASE_COUNT; i++)
        if (p->cycles[i] || p->times[i])
            fprintf(out, "%-14s %12" PRIu64 " %18" PRIu64 " %6.2f %%  %s\n", phases[i].name, p->times[i],
                    p->cycles[i], share(p, p->cycles[i]), phases[i].desc);
    fprintf(out, "%-14s %12s %18" PRIu64 " %6.2f %%\n", "total", "", total(p), 100.0);
    fprintf(out,
            "on the host: %.3f s user, %.3f s system%s; %" PRIu64 " minor page faults; %" PRIu64
            " times it slept, %" PRIu64 " times another thread was preferred\n",
            (double)t->user_ns / 1e9, (double)t->system_ns / 1e9, busy > t->ns ? " (starting included)" : "",
            t->page_faults, t->switches, t->preempted);
    if (t->signal_cycles && signals)
        fprintf(out,
                "from a fault to its signal handler the host's kernel takes %" PRIu64
                " cycles, %.2f %% in all: "
                "part of 'code', estimated\n",
                t->signal_cycles, share(p, signals * t->signal_cycles));
}

static void json(FILE *out, const char *prefix, const char *name, u64 val)
{
    fprintf(out, ",\n  \"%s%s\": %" PRIu64, prefix, name, val);
}

void stats_json(const struct stats *s, const struct stats_time *t, FILE *out)
{
    fprintf(out, "{\n  \"%s\": %" PRIu64, counters[0].name, value(s, 0));
    for (size_t i = 1; i < ARRAY_SIZE(counters); i++)
        json(out, "", counters[i].name, value(s, i));
    for (int i = 0; t && i < PHASE_COUNT; i++) {
        json(out, "cycles_", phases[i].name, t->phases->cycles[i]);
        json(out, "times_", phases[i].name, t->phases->times[i]);
    }
    if (t) {
        json(out, "", "cycles_total", total(t->phases));
        json(out, "", "wall_ns", t->ns);
        json(out, "", "thread_user_ns", t->user_ns);
        json(out, "", "thread_system_ns", t->system_ns);
        json(out, "", "thread_page_faults", t->page_faults);
        json(out, "", "thread_switches", t->switches);
        json(out, "", "thread_preempted", t->preempted);
        json(out, "", "signal_cycles", t->signal_cycles);
    }
    fputs("\n}\n", out);
}
