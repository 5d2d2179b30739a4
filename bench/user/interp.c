/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bytecode machine, as in every scripting language: each round runs the same program (prime numbers by
 * trial division, then the longest Collatz sequence below a bound) through two interpreters, one with a
 * switch in a loop and one that jumps from instruction to instruction (computed goto). Indirect branches with
 * many targets, loads that depend on loads.
 */
#include "bench.h"

enum op { HALT, LOADI, MOVE, ADD, ADDI, SUB, MUL, REM, SHR, ANDI, JMP, JZ, JLT, JGE, STORE, LOAD, OPS };

struct insn {
    uint8_t op, a, b;
    int32_t c;
};

/* Registers r0..r15, memory m[0..4095]. Jump targets are indices. */
static const struct insn program[] = {
    /* primes below r1: their number in r0 */
    {LOADI, 0, 0, 0}, /*  0 */
    {LOADI, 2, 0, 2}, /*  1 n = 2 */
    {JGE, 2, 1, 15},  /*  2 while n < limit */
    {LOADI, 3, 0, 2}, /*  3   d = 2 */
    {MOVE, 4, 3, 0},  /*  4 */
    {MUL, 4, 3, 0},   /*  5   d * d */
    {JLT, 2, 4, 12},  /*  6   > n: prime */
    {MOVE, 5, 2, 0},  /*  7 */
    {REM, 5, 3, 0},   /*  8 */
    {JZ, 5, 0, 13},   /*  9   divides: not prime */
    {ADDI, 3, 0, 1},  /* 10   d++, and again */
    {JMP, 0, 0, 4},   /* 11 */
    {ADDI, 0, 0, 1},  /* 12   count++ */
    {ADDI, 2, 0, 1},  /* 13 n++ */
    {JMP, 0, 0, 2},   /* 14 */
    /* Collatz: the longest sequence of starts 1..r6, its length in r7, its start in r8 */
    {LOADI, 7, 0, 0},  /* 15 */
    {LOADI, 9, 0, 1},  /* 16 start = 1 */
    {MOVE, 10, 9, 0},  /* 17 n = start */
    {LOADI, 11, 0, 0}, /* 18 steps = 0 */
    {MOVE, 12, 10, 0}, /* 19 */
    {ADDI, 12, 0, -1}, /* 20 */
    {JZ, 12, 0, 32},   /* 21 until n == 1 */
    {ADDI, 11, 0, 1},  /* 22   steps++ */
    {MOVE, 12, 10, 0}, /* 23 */
    {ANDI, 12, 0, 1},  /* 24 */
    {JZ, 12, 0, 30},   /* 25 */
    {LOADI, 12, 0, 3}, /* 26   odd: n = 3 n + 1 */
    {MUL, 10, 12, 0},  /* 27 */
    {ADDI, 10, 0, 1},  /* 28 */
    {JMP, 0, 0, 19},   /* 29 */
    {SHR, 10, 10, 1},  /* 30   even: n = n / 2 */
    {JMP, 0, 0, 19},   /* 31 */
    {STORE, 11, 9, 0}, /* 32 m[start] = steps */
    {JGE, 7, 11, 36},  /* 33 */
    {MOVE, 7, 11, 0},  /* 34 */
    {MOVE, 8, 9, 0},   /* 35 */
    {ADDI, 9, 0, 1},   /* 36 start++ */
    {JLT, 9, 6, 17},   /* 37 */
    {LOAD, 14, 8, 0},  /* 38 r14 = m[best start] */
    {ADD, 14, 0, 0},   /* 39 */
    {SUB, 14, 8, 0},   /* 40 */
    {HALT, 0, 0, 0},   /* 41 */
};

static uint32_t reg[16], memory[4096];

#define A reg[i->a]
#define B reg[i->b]

static __attribute__((noinline)) void run_switch(void)
{
    for (const struct insn *i = program;; i++) {
        switch ((enum op)i->op) {
        case HALT:
            return;
        case LOADI:
            A = (uint32_t)i->c;
            break;
        case MOVE:
            A = B;
            break;
        case ADD:
            A += B;
            break;
        case ADDI:
            A += (uint32_t)i->c;
            break;
        case SUB:
            A -= B;
            break;
        case MUL:
            A *= B;
            break;
        case REM:
            A %= B;
            break;
        case SHR:
            A = B >> i->c;
            break;
        case ANDI:
            A &= (uint32_t)i->c;
            break;
        case JMP:
            i = program + i->c - 1;
            break;
        case JZ:
            if (!A)
                i = program + i->c - 1;
            break;
        case JLT:
            if (A < B)
                i = program + i->c - 1;
            break;
        case JGE:
            if (A >= B)
                i = program + i->c - 1;
            break;
        case STORE:
            memory[B & 4095] = A;
            break;
        case LOAD:
            A = memory[B & 4095];
            break;
        case OPS:
            return;
        }
    }
}

static __attribute__((noinline)) void run_goto(void)
{
    static const void *const label[OPS] = {&&halt, &&loadi, &&move, &&add, &&addi, &&sub, &&mul,   &&rem,
                                           &&shr,  &&andi,  &&jmp,  &&jz,  &&jlt,  &&jge, &&store, &&load};
    const struct insn *i = program;
#define NEXT goto *label[(++i)->op]
#define TAKE                                                                                                 \
    do {                                                                                                     \
        i = program + i->c;                                                                                  \
        goto *label[i->op];                                                                                  \
    } while (0)
    goto *label[i->op];
loadi:
    A = (uint32_t)i->c;
    NEXT;
move:
    A = B;
    NEXT;
add:
    A += B;
    NEXT;
addi:
    A += (uint32_t)i->c;
    NEXT;
sub:
    A -= B;
    NEXT;
mul:
    A *= B;
    NEXT;
rem:
    A %= B;
    NEXT;
shr:
    A = B >> i->c;
    NEXT;
andi:
    A &= (uint32_t)i->c;
    NEXT;
jmp:
    TAKE;
jz:
    if (!A)
        TAKE;
    NEXT;
jlt:
    if (A < B)
        TAKE;
    NEXT;
jge:
    if (A >= B)
        TAKE;
    NEXT;
store:
    memory[B & 4095] = A;
    NEXT;
load:
    A = memory[B & 4095];
    NEXT;
halt:;
}

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 80);
    uint32_t sum = 0;
    bench_start();
    for (unsigned r = 0; r < rounds; r++) {
        memset(reg, 0, sizeof(reg));
        reg[1] = 3000;
        reg[6] = 3000;
        if (r & 1)
            run_goto();
        else
            run_switch();
        sum = sum * 31 + bench_hash(reg, sizeof(reg));
    }
    bench_end("interp", sum ^ bench_hash(memory, sizeof(memory)));
    return 0;
}
