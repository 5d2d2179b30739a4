/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters. One line a counter in base/stats.def; each vCPU owns one struct stats, so counting is a plain
 * increment. --stats prints them at exit, readable and as JSON.
 */
#ifndef NOVT_BASE_STATS_H
#define NOVT_BASE_STATS_H

#include <stdio.h>
#include "base/types.h"

struct stats {
#define STAT(name, desc) u64 name;
#include "base/stats.def"
#undef STAT
};

/* Prints every counter as "name value  description". */
void stats_print(const struct stats *s, FILE *out);
/* Prints one JSON object with every counter. */
void stats_json(const struct stats *s, FILE *out);

#endif
