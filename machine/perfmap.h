/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --perf-map: names for translated code, for perf. */
#ifndef NOVT_MACHINE_PERFMAP_H
#define NOVT_MACHINE_PERFMAP_H

#include "base/types.h"

struct vm;
struct perf_map;

/* Opens the map that vm->cfg asks for; says what is wrong and returns -EINVAL, or -ENOMEM, if it cannot. */
int perf_map_create(struct vm *vm);
void perf_map_destroy(struct perf_map *m);
/* For struct monitor_config: the opaque is the map. */
void perf_map_code(void *opaque, const void *host, u32 len, u32 lin);

#endif
