/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters. One line a counter in base/stats.def; each vCPU owns one struct stats, so counting is a plain
 * increment. --stats prints them at exit, readable and as JSON.
 */
#ifndef NOVT_BASE_STATS_H
#define NOVT_BASE_STATS_H

#include <stdio.h>
#include "base/phases.h"
#include "base/types.h"

struct stats {
#define STAT(name, desc) u64 name;
#include "base/stats.def"
#undef STAT
};

/* Where a CPU's thread spent its time, with what the host says of the thread. */
struct stats_time {
    const struct phases *phases;
    u64 ns;                  /* from phases_start() to phases_settle() */
    u64 user_ns, system_ns;  /* the thread's, since it exists */
    u64 page_faults;         /* minor ones that the host's kernel handled */
    u64 switches, preempted; /* voluntary and involuntary context switches */
    u64 signal_cycles; /* what the host's kernel takes from a fault to its signal handler; 0: not known */
};

/* Prints every counter as "name value  description". */
void stats_print(const struct stats *s, FILE *out);
/* Prints the phases that there were as "name times cycles share  description". */
void stats_print_time(const struct stats_time *t, FILE *out);
/* Prints one JSON object with every counter; and, unless t is NULL, every phase: cycles_NAME and times_NAME,
 * cycles_total, which is their sum, and the other fields of *t. */
void stats_json(const struct stats *s, const struct stats_time *t, FILE *out);

#endif
