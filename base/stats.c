/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Printing of the counters that base/stats.def lists. Counting itself is a plain increment of a field of
 * struct stats by the vCPU that owns it; nothing here runs while the guest does. The text form is for people,
 * the JSON form is one flat object with the same names, so that scripts need no parser of their own.
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

void stats_json(const struct stats *s, FILE *out)
{
    fputs("{\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
        fprintf(out, "  \"%s\": %" PRIu64 "%s\n", counters[i].name, value(s, i),
                i + 1 < ARRAY_SIZE(counters) ? "," : "");
    fputs("}\n", out);
}
