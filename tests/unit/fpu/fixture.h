/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU with a small flat memory, enough for x87, MMX and SSE instructions: lookup, execution, faults.
 *
 * Memory is MEM_SIZE bytes at linear MEM_LIN. With `tables` on, v->rtab and v->wtab map it and handlers take
 * the direct path; off, every access goes through the ops, which, like real ones, park the FPU and use vector
 * registers.
 */
#ifndef NOVT_TESTS_FPU_FIXTURE_H
#define NOVT_TESTS_FPU_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cpu/fpu.h"

#define MEM_LIN  0x10000u
#define MEM_SIZE 0x4000u

struct fixture {
    struct vcpu *v;
    u8 *mem;
    bool absent[MEM_SIZE / PAGE_SIZE];   /* reads and writes fault */
    bool readonly[MEM_SIZE / PAGE_SIZE]; /* writes fault */
    int ferr, ferr_calls;
    u32 reads, writes, bytes_written;
};

struct fixture *fixture_new(void);
void fixture_free(struct fixture *f);
void fixture_tables(struct fixture *f, bool on);
/* Fills *i from machine code the way the decoder does (32-bit code, memory operands [edi] only) and looks it
 * up. */
bool fixture_decode(const u8 *code, u32 len, struct insn *i);
/* Executes i at eip 0x1234: CPU_OK or CPU_FAULT. */
int fixture_exec(struct fixture *f, const struct insn *i);
int fixture_run(struct fixture *f, const u8 *code, u32 len);
#define RUN(f, ...)                                                                                          \
    ({                                                                                                       \
        static const u8 code_[] = {__VA_ARGS__};                                                             \
        fixture_run(f, code_, sizeof(code_));                                                                \
    })

/* xorshift64*: reproducible */
extern u64 rng_state;
u64 rng(void);
void random_mem(u8 *p, u32 n); /* bytes with plenty of special floating-point values */
void random_fx(u8 *fx, bool unmask_x87, u32 mxcsr_masks); /* an FXSAVE64 image; mxcsr_masks: MXCSR[12:7] */

static inline u16 fx_fsw(const u8 *fx)
{
    u16 w;
    memcpy(&w, fx + 2, 2);
    return w;
}
static inline u32 fx_mxcsr(const u8 *fx)
{
    u32 m;
    memcpy(&m, fx + 24, 4);
    return m;
}

#endif
