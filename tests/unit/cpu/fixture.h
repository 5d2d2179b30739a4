/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU on a small flat fake memory, with the siblings of the integer interpreter (segments, exceptions,
 * FPU) replaced by fakes that record what they are asked for. The memory is `pages` pages from linear address
 * `base`; each may be absent or read-only. With use_tables off, every access takes the slow path of
 * cpu/access.h.
 */
#ifndef NOVT_TEST_CPU_FIXTURE_H
#define NOVT_TEST_CPU_FIXTURE_H

#include "cpu/cpu.h"
#include "cpu/insn.h"

#define FX_PAGES 16
enum { PG_ABSENT, PG_RO, PG_RW };

struct fx {
    struct vcpu *v;
    u32 base;
    u8 *ram; /* FX_PAGES pages, aligned */
    u8 page[FX_PAGES];
    u32 gen[FX_PAGES];
    bool code[FX_PAGES];
    bool use_tables;
    u32 delivered; /* calls of cpu_deliver_fault() and the last fault */
    struct cpu_fault last;
    u32 last_eip, last_next; /* eip and next_eip at that time */
    u32 polls;               /* calls of cpu_poll_interrupts() */
    void (*on_poll)(struct fx *f);
};

extern const struct cpu_model fx_model_full; /* everything up to SSE2 */
extern const struct cpu_model fx_model_486;

/* 32-bit flat protected mode, CPL 0, interrupts off, all pages read-write, registers 0, eip = base. */
struct fx *fx_create(u32 base);
void fx_destroy(struct fx *f);
/* Registers, flags and mode as after fx_create(); memory is left alone. */
void fx_reset_cpu(struct fx *f);
void fx_set_page(struct fx *f, u32 page, u8 rights);
void fx_cs16(struct fx *f);
void fx_ss16(struct fx *f);
u8 *fx_host(struct fx *f, u32 lin);

int fx_fake_sys(struct vcpu *v, const struct insn *i);
int fx_fake_fpu(struct vcpu *v, const struct insn *i);

#endif
