/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control flow: indirect branches through tables, deep and mismatched calls and returns, loops, conditions.
 */
#include "kernel.h"

#define LEAF(n)                                                                                              \
    static __attribute__((noinline)) u32 leaf##n(u32 x)                                                      \
    {                                                                                                        \
        return x * (n + 3) + n;                                                                              \
    }
/* clang-format off */
LEAF(0)
LEAF(1)
LEAF(2)
LEAF(3)
LEAF(4)
LEAF(5)
LEAF(6)
LEAF(7)
/* clang-format on */

static u32 (*volatile const table[8])(u32) = {leaf0, leaf1, leaf2, leaf3, leaf4, leaf5, leaf6, leaf7};

static __attribute__((noinline)) u32 depth(u32 n)
{
    u32 r = n ? depth(n - 1) + 1 : 0;
    asm volatile("" : "+r"(r)); /* no tail call */
    return r;
}

static __attribute__((noinline)) u32 fib(u32 n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

u32 flow_other[64]; /* a second stack */

static u32 conditions(u32 a, u32 b)
{
    u32 bits = 0;
#define COND(i, cc)                                                                                          \
    {                                                                                                        \
        u32 t = 0;                                                                                           \
        u8 s;                                                                                                \
        u32 m = 0, one = 1;                                                                                  \
        asm volatile("cmpl %4, %3\n\tj" cc " 1f\n\tjmp 2f\n1:\tmovl $1, %0\n2:\tcmpl %4, %3\n\tset" cc       \
                     " %1\n\t"                                                                               \
                     "cmov" cc " %5, %2"                                                                     \
                     : "+r"(t), "=q"(s), "+r"(m)                                                             \
                     : "r"(a), "r"(b), "r"(one)                                                              \
                     : "cc");                                                                                \
        if (t != s || t != m)                                                                                \
            return 0xffffffff;                                                                               \
        bits |= t << i;                                                                                      \
    }
    COND(0, "o");
    COND(1, "no");
    COND(2, "b");
    COND(3, "ae");
    COND(4, "e");
    COND(5, "ne");
    COND(6, "be");
    COND(7, "a");
    COND(8, "s");
    COND(9, "ns");
    COND(10, "p");
    COND(11, "np");
    COND(12, "l");
    COND(13, "ge");
    COND(14, "le");
    COND(15, "g");
    return bits;
}

static u32 conditions_model(u32 a, u32 b)
{
    u32 d = a - b, p = 1, bits = 0;
    for (u32 i = 0; i < 8; i++)
        p ^= d >> i & 1;
    bool o = ((a ^ b) & (a ^ d)) >> 31, c = a < b, z = a == b, s = d >> 31;
    bool cc[8] = {o, c, z, c || z, s, p, s != o, z || s != o};
    for (u32 i = 0; i < 8; i++)
        bits |= (cc[i] ? 1u : 2u) << (2 * i);
    return bits;
}

/* Calls over an instruction that stops speculation, which a translator may take for what nobody returns
 * behind: as compilers and kernels have them, with flags, and where somebody does return. */
static void traps(void)
{
    static u32 targets[3];
    u32 v, sum = 0, flags = 0, want = 0, esp = 0;
    u8 *p = arena + 4096 - 5;

    for (u32 i = 0; i < 3000; i++) { /* a retpoline with three targets; flags come through it */
        asm volatile("movl $2f, %3\n\tmovl $3f, %3 + 4\n\tmovl $4f, %3 + 8\n\t"
                     "movl %3(, %4, 4), %%ecx\n\tbtl $0, %5\n\tcall 9f\n\tsetc %b1\n\tjmp 8f\n"
                     "9:\tcall 1f\n7:\tpause\n\tlfence\n\tjmp 7b\n1:\tmovl %%ecx, (%%esp)\n\tret\n"
                     "2:\tmovl $1, %0\n\tret\n3:\tmovl $10, %0\n\tret\n4:\tmovl $100, %0\n\tret\n8:"
                     : "=&r"(v), "+q"(flags), "+r"(esp)
                     : "m"(targets[0]), "r"(i % 3), "r"(i)
                     : "ecx", "memory", "cc");
        sum += v + 1000 * (flags & 1);
    }
    for (u32 i = 0; i < 3000; i++)
        want += (i % 3 ? i % 3 == 1 ? 10 : 100 : 1) + 1000 * (i & 1);
    check_eq("retpoline", sum, want);
    sum = 0;
    for (u32 i = 0; i < 200; i++) { /* as a kernel fills the return stack: what was pushed is there */
        asm volatile("movl %%esp, %%ebx\n\t.rept 32\n\tcall 1f\n\tint3\n1:\n\t.endr\n\t"
                     "movl %%ebx, %0\n\tsubl %%esp, %0\n\tmovl (%%esp), %%eax\n\t"
                     "movl 124(%%esp), %%edx\n\taddl $128, %%esp\n\tsubl %%edx, %%eax\n\tsubl %%eax, %0"
                     : "=&r"(v)
                     :
                     : "eax", "ebx", "edx", "memory", "cc");
        sum += v == 128u - 31 * 6; /* a call and an int3 are six bytes */
    }
    check_eq("32 calls over int3", sum, 200);
    asm volatile("movl $1, %0\n\tcall 1f\n\tpause\n\tincl %0\n\tjmp 2f\n1:\tret\n2:"
                 : "=&r"(v)
                 :
                 : "memory", "cc");
    check_eq("a return behind a call over pause", v, 2);
    asm volatile(
        "movl $1, %0\n\tcall 1f\n3:\tint3\n4:\tincl %0\n\tjmp 2f\n1:\taddl $4b - 3b, (%%esp)\n\tret\n2:"
        : "=&r"(v)
        :
        : "memory", "cc");
    check_eq("a return further than behind a call over int3", v, 2);
    asm volatile("movl $1, %0\n\tmovl $3f, %%eax\n\tcall 1f\n\tincl %0\n\tjmp 2f\n"
                 "1:\tcmpl $1, %0\n\tjne 4f\n\tpushl %%eax\n4:\tret\n3:\taddl $4, %0\n\tjmp 1b\n2:"
                 : "=&r"(v)
                 :
                 : "eax", "memory", "cc");
    check_eq("a ret behind a push that is also jumped to", v, 6);
    asm volatile("pushl $1f\n\tpushl (%%esp)\n\tret\n1:\tpopl %0\n\tsubl $1b, %0"
                 : "=&r"(v)
                 :
                 : "memory", "cc");
    check_eq("push from memory; ret", v, 0);
    /* The call ends with its page, and the trap and the target are in the next. */
    static const u8 over[] = {0xe8, 1, 0, 0, 0, 0xcc, 0x58, 0xc3}; /* call +1; int3; pop %eax; ret */
    for (u32 k = 0; k < sizeof(over); k++) {
        p = arena + 4096 - k;
        memcpy(p, over, sizeof(over));
        sum += ((u32(*)(void))p)() == (u32)p + 5;
    }
    check_eq("calls over a trap across a page boundary", sum, 200 + sizeof(over));
    memset(arena, 0xcc, 8192);
}

void test_flow(void)
{
    u32 x = 1, y = 1, seed = 1;
    for (u32 i = 0; i < 100000; i++) {
        seed = seed * 1103515245 + 12345;
        u32 n = seed >> 16 & 7;
        x = table[n](x);
        y = y * (n + 3) + n;
    }
    check_eq("calls through a table", x, y);
    check_eq("a call depth of 1500", depth(1500), 1500);
    for (u32 i = 1; i <= 70; i++)
        if (depth(i) != i)
            check_eq("call depths around any return stack's size", depth(i), i);
    check_eq("recursion", fib(20), 6765);
    u32 v;
    /* Returns that do not match their calls: retpoline, pop of the return address, pushed returns, exchanged
     * ones. */
    bool good = true;
    for (u32 i = 0; i < 2000; i++) {
        asm volatile("movl $2f, %%eax\n\tcall 1f\n3:\tjmp 3b\n1:\tmovl %%eax, (%%esp)\n\tret\n2:\tmovl $7, %0"
                     : "=r"(v)
                     :
                     : "eax", "memory");
        good = good && v == 7;
    }
    check("a return whose address was replaced", good);
    asm volatile("call 1f\n1:\tpopl %0\n\tsubl $1b, %0" : "=r"(v) : : "memory", "cc");
    check_eq("call next; pop", v, 0);
    asm volatile("pushl $1f\n\tret\n\tud2\n1:\tmovl $5, %0" : "=r"(v) : : "memory");
    check_eq("push; ret", v, 5);
    asm volatile("movl %%esp, %%ebx\n\tcall 1f\n\tjmp 2f\n1:\taddl $4, %%esp\n\tjmp 3f\n2:\tud2\n3:\tmovl "
                 "%%ebx, %0\n\tsubl %%esp, %0"
                 : "=r"(v)
                 :
                 : "ebx", "memory", "cc");
    check_eq("a call that never returns", v, 0);
    /* A stack switched inside a call, as a context switch does. */
    asm volatile("movl $1f, flow_other + 4*60\n\tcall 2f\n\tjmp 3f\n"
                 "2:\tmovl %%esp, %%ebx\n\tmovl $flow_other + 4*60, %%esp\n\tret\n"
                 "1:\tmovl $9, %0\n\tmovl %%ebx, %%esp\n\tret\n3:"
                 : "=r"(v)
                 :
                 : "ebx", "memory");
    check_eq("a stack switched under a call", v, 9);
    traps();
    asm volatile("movl %%esp, %%ebx\n\tpushl $1\n\tpushl $2\n\tpushl $3\n\tcall 1f\n\tjmp 2f\n1:\tret "
                 "$12\n2:\tmovl %%ebx, %0\n\tsubl %%esp, %0"
                 : "=r"(v)
                 :
                 : "ebx", "memory", "cc");
    check_eq("ret that pops", v, 0);
    asm volatile("movl $4f, %%eax\n\tpushl %%eax\n\tjmp *(%%esp)\n\tud2\n4:\tpopl %0\n\tsubl $4b, %0"
                 : "=r"(v)
                 :
                 : "eax", "memory", "cc");
    check_eq("jmp through the stack", v, 0);
    asm volatile("pushl $5f\n\tcall *(%%esp)\n\tjmp 6f\n5:\tmovl 4(%%esp), %%eax\n\tret\n6:\taddl $4, "
                 "%%esp\n\tmovl %%eax, %0\n\tsubl $5b, %0"
                 : "=r"(v)
                 :
                 : "eax", "memory", "cc");
    check_eq("call through the stack", v, 0);
    asm volatile("movl $7f, %%ecx\n\tcall *%%ecx\n\tjmp 8f\n7:\tmovl $0x33, %%eax\n\tret\n8:\tmovl %%eax, %0"
                 : "=r"(v)
                 :
                 : "eax", "ecx", "memory");
    check_eq("call through a register", v, 0x33);
    asm volatile("xorl %%eax, %%eax\n\tmovl $1000, %%ecx\n1:\tincl %%eax\n\tloop 1b\n\tmovl %%eax, %0"
                 : "=r"(v)
                 :
                 : "eax", "ecx", "cc");
    check_eq("loop", v, 1000);
    asm volatile("xorl %%eax, %%eax\n\tmovl $100, %%ecx\n1:\tincl %%eax\n\tcmpl $10, %%eax\n\tloopne "
                 "1b\n\tmovl %%ecx, %0"
                 : "=r"(v)
                 :
                 : "eax", "ecx", "cc");
    check_eq("loopne", v, 90);
    asm volatile("movl $10, %%ecx\n1:\tcmpl %%eax, %%eax\n\tloope 1b\n\tmovl %%ecx, %0"
                 : "=r"(v)
                 :
                 : "eax", "ecx", "cc");
    check_eq("loope", v, 0);
    asm volatile(
        "movl $0x10000, %%ecx\n\tmovl $1, %0\n\tjecxz 1f\n\tmovl $2, %0\n\taddr16 jecxz 1f\n\tmovl $3, %0\n1:"
        : "=&r"(v)
        :
        : "ecx");
    check_eq("jecxz and jcxz", v, 2);
    static const u32 values[] = {0,          1,          2,          0x7f,       0x80,      0xff,
                                 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0x12345678};
    for (u32 i = 0; i < sizeof(values) / 4; i++)
        for (u32 j = 0; j < sizeof(values) / 4; j++)
            good = good && conditions(values[i], values[j]) == conditions_model(values[i], values[j]);
    check("jcc, setcc, cmovcc in all conditions", good);
    /* A run of code that crosses a page boundary at every byte of a five-byte instruction, and a branch
     * across. */
    for (u32 k = 0; k < 6; k++) {
        u8 *p = arena + 4096 - k;
        p[0] = 0xb8, p[1] = 0x78, p[2] = 0x56, p[3] = 0x34, p[4] = 0x12, p[5] = 0xeb, p[6] = 1, p[7] = 0xcc,
        p[8] = 0xc3;
        good = good && ((u32(*)(void))p)() == 0x12345678;
    }
    check("instructions across a page boundary", good);
    /* A long block without branches. */
    u8 *p = arena;
    *p++ = 0x31, *p++ = 0xc0;
    for (u32 i = 0; i < 12000; i++)
        *p++ = 0x40;
    *p++ = 0xc3;
    check_eq("12,000 instructions without a branch", ((u32(*)(void))arena)(), 12000);
    /* A long chain of jumps forwards and backwards over pages. */
    memset(arena, 0xcc, sizeof(arena));
    for (u32 i = 0; i < 60; i++) {
        u8 *q = arena + i * 4096 + i * 8;
        q[0] = 0x40; /* inc %eax */
        q[1] = 0xe9;
        u32 to = (u32)(arena + (i + 1) * 4096 + (i + 1) * 8), rel = to - ((u32)q + 6);
        memcpy(q + 2, &rel, 4);
    }
    arena[60 * 4096 + 60 * 8] = 0xc3;
    for (u32 i = 0; i < 50; i++) {
        asm volatile("xorl %%eax, %%eax\n\tcall *%1" : "=a"(v) : "r"(arena) : "memory", "cc");
        good = good && v == 60;
    }
    check("a chain of jumps over 60 pages", good);
    /* Many small functions, more than any small cache of targets. */
    memset(arena, 0xcc, sizeof(arena));
    for (u32 i = 0; i < 20000; i++) {
        u8 *q = arena + i * 8;
        q[0] = 0xb8;
        memcpy(q + 1, &i, 4);
        q[5] = 0xc3;
    }
    for (u32 round = 0; round < 3; round++)
        for (u32 i = 0; i < 20000; i++)
            good = good && ((u32(*)(void))(arena + i * 8))() == i;
    check("20,000 functions", good);
}
