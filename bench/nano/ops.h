/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operations that user space may do as well: shared by the guest kernel (nano.c) and the Linux program
 * (user.c), so that both time the same instructions.
 *
 * An operation is a function of a number of rounds; each round does OPS of them in a row, so that the loop
 * around them costs little. "loop" shows what the loop itself costs.
 */
#ifndef NANO_OPS_H
#define NANO_OPS_H

#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define OPS     16
#define STR(x)  STR_(x)
#define STR_(x) #x

/* A function that runs the text OPS times a round. The text may use eax, ecx and edx; ebx is the argument. */
#define OP(name, arg, text)                                                                                  \
    static void op_##name(u32 rounds)                                                                        \
    {                                                                                                        \
        u32 arg_ = (u32)(arg);                                                                               \
        asm volatile(".p2align 4\n1:\n\t.rept " STR(OPS) "\n\t" text "\n\t.endr\n\tdecl %0\n\tjnz 1b"        \
                     : "+S"(rounds), "+b"(arg_)                                                              \
                     :                                                                                       \
                     : "eax", "ecx", "edx", "memory", "cc");                                                 \
    }

/* Callees, each in a cache line of its own. */
asm(".text\n\t.p2align 6\nnano_f0:\tret\n\t.p2align 6\nnano_f1:\tret\n\t.p2align 6\nnano_f2:\tret\n\t"
    ".p2align 6\nnano_f3:\tret\n\t.p2align 4");
extern void nano_f0(void), nano_f1(void), nano_f2(void), nano_f3(void);
static void (*const nano_callees[4])(void) = {nano_f0, nano_f1, nano_f2, nano_f3};

static inline u32 tsc(void)
{
    u32 lo, hi;
    asm volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return lo;
}

OP(rdtsc, 0, "rdtsc")
OP(call_ret, 0, "call nano_f0")
OP(call_ind, nano_f0, "call *%1")
OP(call_ind4, nano_callees,
   "leal 1(%%edx), %%eax\n\tmovl %%eax, %%edx\n\tandl $3, %%eax\n\tcall *(%1,%%eax,4)")
OP(pushf_popf, 0, "pushfl\n\tpopfl")
OP(mov_ds, 0, "movl %%ds, %%eax\n\tmovl %%eax, %%ds")
OP(push_pop_es, 0, "pushl %%es\n\tpopl %%es")

static void op_loop(u32 rounds)
{
    asm volatile(".p2align 4\n1:\tdecl %0\n\tjnz 1b" : "+S"(rounds) : : "cc");
}

/* For samples of up to 2^32 cycles: tenths of a cycle an operation. */
static inline u32 tenths(u32 cycles, u32 ops)
{
    u64 n = (u64)cycles * 10;
    u32 quotient, rest;
    u32 high = (u32)(n >> 32);
    if (high >= ops)
        return ~0u;
    asm("divl %4" : "=a"(quotient), "=d"(rest) : "a"((u32)n), "d"(high), "r"(ops) : "cc");
    return quotient;
}

static inline void sort(u32 *a, u32 n)
{
    for (u32 i = 1; i < n; i++)
        for (u32 k = i; k && a[k - 1] > a[k]; k--) {
            u32 t = a[k];
            a[k] = a[k - 1];
            a[k - 1] = t;
        }
}

#define MAX_SAMPLES 255
#define SAMPLES     31
#define TARGET      400000u /* cycles a sample should take at least, so that reading the clock does not count */

struct timing {
    u32 median, min, max; /* tenths of a cycle an operation */
};

static inline u32 cycles_of(void (*run)(u32), u32 rounds)
{
    u32 before = tsc();

    run(rounds);
    return tsc() - before;
}

/* Runs an operation until a sample is long enough twice in a row (rounds 0; a VMM may still be translating,
 * or learning, the first time), or so many rounds, and then takes the samples. */
static inline struct timing measure(void (*run)(u32), u32 ops, u32 rounds, u32 samples)
{
    static u32 sample[MAX_SAMPLES];

    if (!rounds) {
        rounds = 1;
        while (rounds < 1u << 24 && (cycles_of(run, rounds) < TARGET || cycles_of(run, rounds) < TARGET))
            rounds *= 2;
    } else {
        run(rounds); /* warm */
    }
    for (u32 n = 0; n < samples; n++)
        sample[n] = tenths(cycles_of(run, rounds), rounds * ops);
    sort(sample, samples);
    return (struct timing){sample[samples / 2], sample[0], sample[samples - 1]};
}

#endif
