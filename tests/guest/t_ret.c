/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Returns that are predicted and compared in host code: do flags survive each way of branching, and does a
 * return that does not match its call, by another address, another stack or another depth, go where it says?
 */
#include "kernel.h"

#define ARITH 0x8d5u

/* Pieces of code in the arena, each called with edx = flags to have at the branch and ecx = an address; eax =
 * flags behind the branch. */
enum { SET = 16, SEEN = 8192, FAR_SET = 4096, FAR_SEEN = 4096 + 16, FAR_SWAP = 4096 + 32, SKIP = 4096 + 48 };

static u8 *put(u32 at, const u8 *bytes, u32 n)
{
    memcpy(arena + at, bytes, n);
    return arena + at + n;
}

static void put_rel(u8 *at, u32 to)
{
    u32 rel = (u32)(arena + to) - (u32)(at + 4);
    memcpy(at, &rel, 4);
}

static u32 branch(u32 at, u32 flags)
{
    u32 seen;
    asm volatile("call *%1" : "=a"(seen) : "r"(arena + at), "c"(arena + SEEN), "d"(flags) : "memory", "cc");
    return seen;
}

static void flags_at_branches(void)
{
    static const u8 call[] = {0xe8, 0, 0, 0, 0, 0x9c, 0x58, 0xc3}, set_ret[] = {0x52, 0x9d, 0xc3},
                    seen[] = {0x9c, 0x58, 0xc3}, jmp[] = {0x52, 0x9d, 0xe9, 0, 0, 0, 0},
                    jmp_ecx[] = {0x52, 0x9d, 0xff, 0xe1}, call_ecx[] = {0x52, 0x9d, 0xff, 0xd1, 0xc3},
                    swap[] = {0x8d, 0x64, 0x24, 4, 0x51, 0x52, 0x9d, 0xc3},
                    jb[] = {0x52, 0x9d, 0x0f, 0x82, 0, 0, 0, 0, 0x9c, 0x58, 0xc3},
                    set_call[] = {0x52, 0x9d, 0xe8, 0, 0, 0, 0, 0xc3},
                    call_dead[] = {0xe8, 0, 0, 0, 0, 0x31, 0xc0, 0xc3},
                    call_skip[] = {0xe8, 0, 0, 0, 0, 0xcc, 0x9c, 0x58, 0xc3},
                    skip[] = {0x58, 0x40, 0x50, 0x52, 0x9d, 0xc3};
    static const struct {
        const char *name;
        u32 at;
    } ways[] = {{"flags over a return", 0},
                {"flags over a return to another page", 64},
                {"flags over a jump to another page", 128},
                {"flags over an indirect jump", 192},
                {"flags over an indirect call", 256},
                {"flags over a return to another address", 320},
                {"flags over a conditional jump to another page", 384},
                {"flags over a call to another page", 448},
                {"flags over a return to another address, dead behind the call", 512},
                {"flags over a return to the byte behind the one that the call pushed", 576}};

    memset(arena, 0xcc, 4 * 4096);
    put_rel(put(0, call, 8) - 7, SET);
    put(SET, set_ret, 3);
    put(FAR_SET, set_ret, 3);
    put(SEEN, seen, 3);
    put(FAR_SEEN, seen, 3);
    put(FAR_SWAP, swap, 8);
    put_rel(put(64, call, 8) - 7, FAR_SET);
    put_rel(put(128, jmp, 7) - 4, SEEN);
    put(192, jmp_ecx, 4);
    put(256, call_ecx, 5);
    put_rel(put(320, call, 8) - 7, FAR_SWAP);
    put_rel(put(384, jb, 11) - 7, SEEN);
    put_rel(put(448, set_call, 8) - 5, FAR_SEEN);
    put_rel(put(512, call_dead, 8) - 7, FAR_SWAP);
    put_rel(put(576, call_skip, 9) - 8, SKIP);
    put(SKIP, skip, 6);
    for (u32 w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
        bool good = true;
        for (u32 round = 0; round < 3; round++)
            for (u32 n = 0; n < 64; n++) {
                u32 f = (n & 1) | (n & 2) << 1 | (n & 4) << 2 | (n & 24) << 3 | (n & 32) << 6;
                good = good && (branch(ways[w].at, (read_flags() & ~ARITH) | f) & ARITH) == f;
            }
        check(ways[w].name, good);
    }
}

/* Calls n deep with nothing but return addresses on a stack of its own: longer than the host's return stack.
 */
static u32 deep(u32 n)
{
    u32 up;
    asm volatile("movl %%esp, %%ebx\n\tmovl %2, %%esp\n\tcall 1f\n\tmovl %%ebx, %%esp\n\tjmp 3f\n"
                 "1:\tdecl %%ecx\n\tjz 2f\n\tcall 1b\n2:\tincl %%eax\n\tret\n3:"
                 : "=a"(up), "+c"(n)
                 : "r"(arena + 56 * 4096), "0"(0)
                 : "ebx", "memory", "cc");
    return up;
}

/* ---- two stacks that call each other ---- */

static u32 esp_main, esp_other, steps, other_steps;

void ret_switch(u32 *save, u32 *load);
asm(".globl ret_switch\nret_switch:\tmovl 4(%esp), %eax\n\tmovl 8(%esp), %edx\n\tpushl %ebx\n\tpushl %esi\n\t"
    "pushl %edi\n\tpushl %ebp\n\tmovl %esp, (%eax)\n\tmovl (%edx), %esp\n\tpopl %ebp\n\tpopl %edi\n\tpopl "
    "%esi\n\t"
    "popl %ebx\n\tret");

static __attribute__((noinline)) u32 down(u32 n, u32 *save, u32 *load)
{
    u32 r = 0;
    if (n)
        r = down(n - 1, save, load) + 1;
    else
        ret_switch(save, load);
    asm volatile("" : "+r"(r));
    return r;
}

static void other_main(void)
{
    for (;;)
        other_steps += down(other_steps % 7, &esp_other, &esp_main) + 1;
}

static void coroutines(void)
{
    u32 *top = (u32 *)(arena + 40 * 4096), expect = 0;

    *--top = 0;
    *--top = (u32)other_main;
    top -= 4;
    memset(top, 0, 16);
    esp_other = (u32)top;
    steps = other_steps = 0;
    for (u32 i = 0; i < 3000; i++) {
        steps += down(i % 5, &esp_main, &esp_other);
        expect += i % 5;
    }
    check_eq("two stacks: steps of the one", steps, expect);
    for (u32 i = 0, n = 0; i < 2999; i++, expect = n) /* the last round has not come back yet */
        n += n % 7 + 1;
    check_eq("two stacks: steps of the other", other_steps, expect);
}

/* ---- out of many calls at once ---- */

static void *out[5];

static __attribute__((noinline)) u32 fall(u32 n)
{
    u32 r;
    if (!n)
        __builtin_longjmp(out, 1);
    r = fall(n - 1) + 1;
    asm volatile("" : "+r"(r));
    return r;
}

static __attribute__((noinline)) u32 jump_out(u32 n)
{
    if (__builtin_setjmp(out))
        return n;
    return fall(n) + 1000000;
}

static __attribute__((noinline)) u32 nest(u32 n)
{
    u32 r = n ? nest(n - 1) + 1 : jump_out(100);
    asm volatile("" : "+r"(r));
    return r;
}

void test_ret(void)
{
    bool good = true;

    flags_at_branches();
    for (u32 k = 0; k < 3; k++)
        check_eq("a call depth of 30,000", deep(30000), 30000);
    check_eq("a call depth of one", deep(1), 1);
    coroutines();
    for (u32 k = 0; k < 200; k++)
        good = good && nest(k % 20) == 100 + k % 20;
    check("jumps out of a hundred calls", good);
}
