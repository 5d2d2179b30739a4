/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Optimisation switches: names to bits, from the one list in base/opts.h. Every optimisation starts enabled;
 * --no-opt=NAME clears its bit, so that a wrong result can be bisected to the optimisation that causes it.
 */
#include "base/opts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *desc;
} switches[OPT_BIT_COUNT] = {
#define X(name, desc) {#name, desc},
    OPT_LIST(X)
#undef X
};

int opts_disable(u64 *opts, const char *list, const char **bad)
{
    u64 clear = 0;
    while (*list) {
        size_t len = strcspn(list, ",");
        int found = -1;
        for (int i = 0; i < OPT_BIT_COUNT; i++)
            if (strlen(switches[i].name) == len && !strncmp(switches[i].name, list, len))
                found = i;
        if (found >= 0) {
            clear |= 1ull << found;
        } else if (len == 3 && !strncmp(list, "all", 3)) {
            clear |= OPT_ALL;
        } else if (len) {
            *bad = list;
            return -EINVAL;
        }
        list += len;
        list += *list == ',';
    }
    *opts &= ~clear;
    return 0;
}

void opts_list(void)
{
    printf("Optimisations (all on; --no-opt=name[,name...] or --no-opt=all switches them off):\n");
    for (int i = 0; i < OPT_BIT_COUNT; i++)
        printf("  %-13s %s\n", switches[i].name, switches[i].desc);
}
