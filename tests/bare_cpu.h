/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A CPU without a board: what struct cpu_ops asks of one, for tests that run instructions only. */
#ifndef NOVT_TESTS_BARE_CPU_H
#define NOVT_TESTS_BARE_CPU_H

#include "cpu/cpu.h"

/* Every port reads as another number, so that a wrong port or size shows. */
static u32 bare_in(struct vcpu *v, u16 port, int size)
{
    return 0x5a5a5a5a ^ port;
}

static void bare_out(struct vcpu *v, u16 port, int size, u32 val)
{
}

static int bare_ack(struct vcpu *v)
{
    return -1;
}

static void bare_ferr(struct vcpu *v, int level)
{
}

static u64 bare_tsc(struct vcpu *v)
{
    return 0x123456789abcdefull;
}

#define BARE_CPU_OPS                                                                                         \
    .io_in = bare_in, .io_out = bare_out, .intr_ack = bare_ack, .ferr = bare_ferr, .tsc = bare_tsc

#endif
