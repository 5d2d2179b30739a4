/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code that changes: by itself, from elsewhere, through another mapping, by its page tables (SDM vol.
 * 3, 8.1.3 and 11.6: the processor sees its own stores to code after a jump; on P6 and later even without
 * one). */
#include "kernel.h"

typedef u32 fn(void);

/* mov $v, %eax; ret */
static void put_return(void *at, u32 v)
{
    u8 *p = at;
    p[0] = 0xb8;
    p[1] = (u8)v, p[2] = (u8)(v >> 8), p[3] = (u8)(v >> 16), p[4] = (u8)(v >> 24);
    p[5] = 0xc3;
    asm volatile("" : : : "memory");
}

extern u8 smc_patch[], smc_loop_patch[];

static void put_jump(u32 frame, u32 off, u32 to)
{
    u32 rel = to - (off + 5);
    u8 *p = (u8 *)ARENA(frame) + (off & 0xfff);
    *p = 0xe9;
    memcpy(p + 1, &rel, 4);
}

/* Code in two pages that goes to and fro between them, at many addresses, where the second page is sometimes
 * another one, becomes another one, or goes away: where an exit led at one address says nothing for sure of
 * the next. */
static void two_pages_under_many_addresses(u32 times)
{
    bool good = true;

    put_jump(4, 0x0, 0x1000);
    put_jump(4, 0x20, 0x1040);
    for (u32 n = 5; n <= 6; n++) {
        put_jump(n, 0x1000, 0x20);
        put_return((void *)(ARENA(n) + 0x40), n);
    }
    for (u32 i = 0; i < times; i++) {
        u32 page = WINDOW_PAGES + 2 * i, n = i % 3 == 2 ? 6 : 5;
        fn *f = (fn *)WINDOW_AT(page);
        set_pte(page, ARENA(4) | P_U | P_W | P_P);
        set_pte(page + 1, ARENA(n) | P_U | P_W | P_P);
        good = good && f() == n && f() == n;
        if (i % 4 == 3) {
            n = 11 - n;
            set_pte(page + 1, ARENA(n) | P_U | P_W | P_P);
            invlpg(WINDOW_AT(page + 1));
            good = good && f() == n && f() == n;
        }
        if (i % 4 == 1) {
            set_pte(page + 1, 0);
            invlpg(WINDOW_AT(page + 1));
            CHECK_FAULT("the second page goes away", V_PF, 0, "call *%0", : : "r"(f) : "eax", "memory");
        }
        set_pte(page, 0);
        set_pte(page + 1, 0);
        invlpg(WINDOW_AT(page));
        invlpg(WINDOW_AT(page + 1));
    }
    check("two pages under many addresses", good);
}

/*
 * Functions in one frame under many addresses call each other deeply, in any order: more of them than a small
 * cache has copies of at a time, so that calls return, and go again, to what is not there any more, while
 * their pages stay where they are. At the bottom of calls at CPL 3 it is the kernel's calls that take the
 * place of what these will return to.
 */
enum { CHAIN_PAGES = 64, CHAIN_KINDS = 16, CHAIN_SIZE = 192, CHAIN_MAX = 450 };

static struct chain {
    u32 depth, want;
    u32 next[CHAIN_MAX + 1]; /* who is called with so many to go; that many functions run */
} chains[2];
static bool chain_good;

/* Any order; `last`: where in the frame the function is that ends it, 0: any. */
static void chain_plan(struct chain *c, u32 last)
{
    static u32 seed = 1;

    c->want = 0;
    for (u32 n = 1; n <= c->depth; n++) {
        seed = seed * 1103515245 + 12345;
        u32 page = seed >> 16 & (CHAIN_PAGES - 1), k = seed >> 24 & (CHAIN_KINDS - 1);
        c->next[n] = WINDOW_AT(WINDOW_PAGES + page) + (n == 1 && last ? last : k * CHAIN_SIZE);
        c->want += n > 1 ? k + 1 : 0;
    }
}

static u32 chain_run(u32 which)
{
    struct chain *c = &chains[which];
    u32 sum = 0, count = c->depth, edx;

    asm volatile("call *%3"
                 : "+a"(sum), "+c"(count), "=d"(edx)
                 : "r"(c->next[c->depth]), "D"(c->next)
                 : "memory", "cc");
    return sum == c->want && !count;
}

static u32 chain_in_kernel(struct frame *f)
{
    chain_plan(&chains[0], 0);
    chain_good = chain_good && chain_run(0);
    return f->eax;
}

static void calls_under_many_addresses(u32 depth, u32 rounds)
{
    /* mov $1, %eax; int $0x80; xor %eax, %eax; dec %ecx; ret */
    static const u8 system_call[] = {0xb8, 1, 0, 0, 0, 0xcd, 0x80, 0x31, 0xc0, 0x49, 0xc3};
    u32 last = CHAIN_KINDS * CHAIN_SIZE;
    bool good = true;

    /* dec %ecx; jz 1f; inc %edx, k times; call *(%edi, %ecx, 4); add $k + 1, %eax; inc %edx, k times; 1: ret
     */
    for (u32 k = 0; k < CHAIN_KINDS; k++) {
        u8 *p = (u8 *)ARENA(2) + k * CHAIN_SIZE;
        *p++ = 0x49;
        *p++ = 0x74;
        *p++ = (u8)(6 + 2 * k);
        for (u32 i = 0; i < k; i++)
            *p++ = 0x42;
        memcpy(p, "\xff\x14\x8f\x83\xc0", 5);
        p[5] = (u8)(k + 1);
        p += 6;
        for (u32 i = 0; i < k; i++)
            *p++ = 0x42;
        *p = 0xc3;
    }
    memcpy((void *)(ARENA(2) + last), system_call, sizeof(system_call));
    for (u32 page = 0; page < CHAIN_PAGES; page++)
        set_pte(WINDOW_PAGES + page, ARENA(2) | P_U | P_W | P_P);
    chains[0].depth = chains[1].depth = depth;
    chain_good = true;
    syscall_hook = chain_in_kernel;
    for (u32 round = 0; round < rounds; round++) {
        chain_plan(&chains[0], 0);
        good = good && chain_run(0) && chain_run(0);
        chain_plan(&chains[1], last);
        good = good && run_user(chain_run, 1, 2) == 1 && chain_good;
    }
    syscall_hook = NULL;
    for (u32 page = 0; page < CHAIN_PAGES; page++) {
        set_pte(WINDOW_PAGES + page, 0);
        invlpg(WINDOW_AT(WINDOW_PAGES + page));
    }
    check("calls under many addresses", good);
}

/* add $by, %eax at code + at, and jmp to `to` behind it. */
static void put_step(u8 *code, u32 at, u8 by, u32 to)
{
    u32 rel = to - (at + 8);

    code[at] = 0x83, code[at + 1] = 0xc0, code[at + 2] = by;
    code[at + 3] = 0xe9;
    memcpy(code + at + 4, &rel, 4);
}

/* A road through one page, in jumps up and down, to its very end: whichever part of it changes, and what lies
 * between. */
static void jumps_in_a_page(u8 *code)
{
    static const u32 road[] = {0, 100, 40, 1000, 1008, 600, 4000, 4087};
    static const u32 beside[] = {20, 60, 500, 1500, 3000};
    const u32 n = sizeof(road) / sizeof(road[0]);
    u32 sum = 0;
    bool good = true;

    memset(code, 0xcc, 4096);
    for (u32 i = 0; i + 1 < n; i++)
        put_step(code, road[i], (u8)i, road[i + 1]), sum += i;
    code[4087] = 0xe9; /* into the next page */
    memcpy(code + 4088, &(u32){4}, 4);
    code[4096] = 0xc3;
    for (u32 round = 0; round < 40; round++) {
        u32 at = road[round % (n - 1)] + 2, by = (round * 37 & 63) + 8, v = 0;
        asm volatile("call *%1" : "+a"(v) : "r"(code) : "memory", "cc");
        good = good && v == sum;
        sum += by - code[at];
        code[at] = (u8)by;
        code[beside[round % (sizeof(beside) / sizeof(beside[0]))]] = (u8)round;
    }
    check("jumps within a page, each part of it rewritten", good);
    /* from the middle, and to the end */
    u32 v = 0, part = 0;
    for (u32 i = 3; i + 1 < n; i++)
        part += code[road[i] + 2];
    asm volatile("call *%1" : "+a"(v) : "r"(code + road[3]) : "memory", "cc");
    check_eq("entered in the middle", v, part);
}

void test_smc(void)
{
    bool good = true;
    u8 *code = arena;
    jumps_in_a_page(code);
    for (u32 i = 0; i < 300; i++) {
        put_return(code, i);
        good = good && ((fn *)code)() == i;
    }
    check("code rewritten before each call", good);
    put_return(code + 4096 - 3, 0x11223344);
    check_eq("code across a page boundary", ((fn *)(code + 4096 - 3))(), 0x11223344);
    code[4096] = 0x99; /* a byte of the immediate, in the second page */
    check_eq("its second page rewritten", ((fn *)(code + 4096 - 3))(), 0x11993344);
    code[4095] = 0x88;
    check_eq("its first page rewritten", ((fn *)(code + 4096 - 3))(), 0x11998844);

    /* An instruction that changes a later one of the same block, after a jump. */
    u32 v;
    asm volatile("movl $0, smc_patch + 1\n\tjmp 1f\n1:\n\tmovl $0x1234, smc_patch + 1\n\tjmp smc_patch\n"
                 "smc_patch:\n\tmovl $0x55555555, %%eax\n\tmovl %%eax, %0"
                 : "=r"(v)
                 :
                 : "eax", "memory");
    check_eq("the next instruction after a jump", v, 0x1234);
    asm volatile("movl $0x4321, 1f + 1\n1:\n\tmovl $0x55555555, %%eax\n\tmovl %%eax, %0"
                 : "=r"(v)
                 :
                 : "eax", "memory");
    check_eq("the very next instruction", v, 0x4321);
    /* A loop that patches its own constant each time round. */
    asm volatile(
        "xorl %%ecx, %%ecx\n\txorl %0, %0\n"
        "1:\n\tmovl %%ecx, smc_loop_patch + 1\n\tjmp smc_loop_patch\nsmc_loop_patch:\n\tmovl $0, %%eax\n\t"
        "addl %%eax, %0\n\tincl %%ecx\n\tcmpl $1000, %%ecx\n\tjb 1b"
        : "=&r"(v)
        :
        : "eax", "ecx", "cc", "memory");
    check_eq("a loop that patches itself", v, 999 * 1000 / 2);
    /* A function that patches the code its caller goes on with: directly, through a pointer, from deeper
     * down. */
    asm volatile("xorl %%ecx, %%ecx\n\txorl %0, %0\n"
                 "1:\n\tcall 2f\n3:\n\tmovl $0, %%eax\n\taddl %%eax, %0\n\tincl %%ecx\n\tcmpl $1000, "
                 "%%ecx\n\tjb 1b\n\t"
                 "jmp 4f\n2:\n\tmovl %%ecx, 3b + 1\n\tret\n4:"
                 : "=&r"(v)
                 :
                 : "eax", "ecx", "cc", "memory");
    check_eq("a function that patches the code behind its call", v, 999 * 1000 / 2);
    asm volatile(
        "xorl %%ecx, %%ecx\n\txorl %0, %0\n\tmovl $2f, %%edx\n"
        "1:\n\tcall *%%edx\n3:\n\tmovl $0, %%eax\n\taddl %%eax, %0\n\tincl %%ecx\n\tcmpl $1000, %%ecx\n\tjb "
        "1b\n\t"
        "jmp 4f\n5:\n\tmovl %%ecx, 3b + 1\n\tret\n2:\n\ttestb $3, %%cl\n\tjnz 6f\n\tcall 5b\n6:\tret\n4:"
        : "=&r"(v)
        :
        : "eax", "ecx", "edx", "cc", "memory");
    check_eq("now and then, called through a pointer, from deeper down", v, 4 * (249 * 250 / 2) * 4);
    /* By every kind of store. */
    put_return(code, 1);
    ((fn *)code)();
    u32 image = 0x22222222, s = (u32)&image, d = (u32)code + 1, c = 4;
    asm volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
    check_eq("patched by rep movsb", ((fn *)code)(), 0x22222222);
    d = (u32)code + 1, c = 1;
    asm volatile("rep stosl" : "+D"(d), "+c"(c) : "a"(0x33333333) : "memory");
    check_eq("patched by rep stosl", ((fn *)code)(), 0x33333333);
    asm volatile("lock xaddl %%eax, (%0)" : : "r"(code + 1), "a"(0x11111111) : "memory", "cc");
    check_eq("patched by xadd", ((fn *)code)(), 0x44444444);
    asm volatile("lock cmpxchgl %1, (%0)"
                 :
                 : "r"(code + 1), "r"(0x55555555), "a"(0x44444444)
                 : "memory", "cc");
    check_eq("patched by cmpxchg", ((fn *)code)(), 0x55555555);
    asm volatile("xchgl %%eax, (%0)" : : "r"(code + 1), "a"(0x66666666) : "memory");
    check_eq("patched by xchg", ((fn *)code)(), 0x66666666);
    asm volatile("incb (%0)" : : "r"(code + 1) : "memory", "cc");
    check_eq("patched by inc", ((fn *)code)(), 0x66666667);
    asm volatile("btcl $4, (%0)" : : "r"(code + 1) : "memory", "cc");
    check_eq("patched by btc", ((fn *)code)(), 0x66666677);
    asm volatile("movl %%esp, %%ebx\n\tleal 5(%0), %%esp\n\tpushl $0x77777777\n\tmovl %%ebx, %%esp"
                 :
                 : "r"(code)
                 : "ebx", "memory");
    check_eq("patched by push", ((fn *)code)(), 0x77777777);
    if (cpu_features() & FEAT_SSE2) {
        write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMM);
        static u8 block[16] __attribute__((aligned(16)));
        put_return(block, 0x5e5e);
        asm volatile("movaps %0, %%xmm0\n\tmovaps %%xmm0, (%1)" : : "m"(block), "r"(code) : "memory");
        check_eq("patched by movaps", ((fn *)code)(), 0x5e5e);
    }
    static const u64 image8 = 0x0000c300001111b8ull;
    asm volatile("fninit\n\tfildll %0\n\tfistpll (%1)" : : "m"(image8), "r"(code) : "memory");
    check_eq("patched by fistp", ((fn *)code)(), 0x1111);

    /* A rep that overwrites itself goes on until it is done (with interrupts off), through pages of code. TCG
     * stops as soon as it has. */
    for (u32 op = 0; op < 4; op++) {
        bool down = op & 1, words = op & 2;
        u32 left = words ? 4000 : 16000, at = 8000, size = words ? 4 : 1;
        memset(code, 0x90, 20000);
        code[20000] = 0xc3;
        ((fn *)code)();
        code[at] = 0xf3;
        code[at + 1] = words ? 0xab : 0xaa;
        d = (u32)code + (down ? 16800 - size : 800);
        if (down)
            asm volatile("std");
        asm volatile("call *%2\n\tcld"
                     : "+D"(d), "+c"(left)
                     : "r"(code + at), "a"(0x90909090)
                     : "memory", "cc");
        check_tcg_gap("a rep that overwrites itself is finished", left == 0);
        check_tcg_gap("and where it ended", d == (u32)code + (down ? 800 - size : 16800));
        good = true;
        for (u32 i = 800; i < 16800; i++)
            good = good && code[i] == 0x90;
        check_tcg_gap("and what it wrote", good);
    }

    /* Data and code in one page: stores beside the code must not change it, and must be seen. */
    put_return(code, 0x7777);
    volatile u32 *data = (volatile u32 *)(code + 64);
    for (u32 i = 0; i < 2000; i++) {
        *data = i;
        good = good && ((fn *)code)() == 0x7777 && *data == i;
    }
    check("code and data in one page", good);

    /* The same frame at another address. */
    paging_on();
    code = (u8 *)WINDOW_AT(0);
    set_pte(1, ARENA(0) | P_U | P_W | P_P);
    set_pte(2, ARENA(2) | P_U | P_W | P_P);
    write_cr3((u32)page_dir);
    u8 *alias = (u8 *)WINDOW_AT(1);
    for (u32 i = 0; i < 100; i++) {
        put_return(alias, 0xa000 + i);
        good = good && ((fn *)code)() == 0xa000 + i;
    }
    check("rewritten through an alias", good);
    for (u32 i = 0; i < 100; i++) {
        put_return((void *)ARENA(0), 0xb000 + i);
        good = good && ((fn *)code)() == 0xb000 + i && ((fn *)alias)() == 0xb000 + i;
    }
    check("rewritten through the identity map, run through two", good);
    /* Another frame under the same address. */
    put_return((void *)ARENA(0), 100);
    put_return((void *)ARENA(2), 102);
    for (u32 i = 0; i < 100; i++) {
        set_pte(0, ARENA((i & 1) * 2) | P_U | P_W | P_P);
        invlpg(WINDOW_AT(0));
        good = good && ((fn *)code)() == 100 + (i & 1) * 2;
    }
    check("another frame under the same address", good);
    /* One frame under many addresses, as a library in many programs: its translations are copied, which takes
     * more than a small cache has for copies. (Stopped at each instruction of the host: a few.) */
    const u32 pages = storm_mode == 4 ? 2 : 900;
    for (u32 k = 0; k < 64; k++)
        put_return((void *)(ARENA(2) + k * 64), 0xc000 + k);
    for (u32 page = WINDOW_PAGES; page < WINDOW_PAGES + pages; page++) {
        set_pte(page, ARENA(2) | P_U | P_W | P_P);
        for (u32 k = 0; k < 64; k++)
            good = good && ((fn *)(WINDOW_AT(page) + k * 64))() == 0xc000 + k;
        set_pte(page, 0);
        invlpg(WINDOW_AT(page));
    }
    check("one frame under many addresses", good);
    two_pages_under_many_addresses(storm_mode == 4 ? 3 : 60);
    calls_under_many_addresses(storm_mode == 4 ? 10 : 450, storm_mode == 4 ? 1 : 6);
    put_return((void *)ARENA(2), 102);
    /* Remapped without having run in between, then through a caller in another page that was chained to it.
     */
    static u8 caller[64] __attribute__((aligned(64)));
    u32 n = 0;
    caller[n++] = 0xe8; /* call WINDOW; inc %eax; ret */
    u32 rel = WINDOW_AT(0) - ((u32)caller + 5);
    memcpy(caller + n, &rel, 4);
    n += 4;
    caller[n++] = 0x40;
    caller[n++] = 0xc3;
    for (u32 i = 0; i < 50; i++) {
        set_pte(0, ARENA((i & 1) * 2) | P_U | P_W | P_P);
        invlpg(WINDOW_AT(0));
        good = good && ((fn *)caller)() == 101 + (i & 1) * 2;
    }
    check("through a call from another page", good);
    set_pte(0, 0);
    invlpg(WINDOW_AT(0));
    CHECK_FAULT("the code's page goes away", V_PF, 0, "call *%0", : : "r"(caller) : "eax", "memory");
    check("at the call's target", last.cr2 == WINDOW_AT(0) && last.eip == WINDOW_AT(0));
    set_pte(0, ARENA(0) | P_U | P_W | P_P);
    check_eq("and comes back", ((fn *)caller)(), 101);
    /* Rewritten while paging is off. */
    write_cr0(read_cr0() & ~CR0_PG);
    put_return((void *)ARENA(0), 555);
    write_cr0(read_cr0() | CR0_PG);
    check_eq("rewritten while paging was off", ((fn *)code)(), 555);
    /* Code in the second page of a block that continues from the first; the second is remapped. */
    memset((void *)ARENA(4), 0x90, 4096);
    put_return((void *)ARENA(5), 5);
    put_return((void *)ARENA(6), 6);
    for (u32 i = 0; i < 20; i++) {
        set_pte(5, ARENA(5 + (i & 1)) | P_U | P_W | P_P);
        invlpg(WINDOW_AT(5));
        good = good && ((fn *)WINDOW_AT(4))() == 5 + (i & 1);
    }
    check("falling through into a remapped page", good);
    /* An instruction across two pages whose second page is remapped. */
    put_return((void *)(ARENA(4) + 4094), 0);
    memset((void *)ARENA(5), 5, 3), memset((void *)ARENA(6), 6, 3);
    *(u8 *)(ARENA(5) + 3) = *(u8 *)(ARENA(6) + 3) = 0xc3;
    for (u32 i = 0; i < 20; i++) {
        set_pte(5, ARENA(5 + (i & 1)) | P_U | P_W | P_P);
        invlpg(WINDOW_AT(5));
        u32 want = i & 1 ? 0x06060600 : 0x05050500;
        good = good && ((fn *)(WINDOW_AT(4) + 4094))() == want;
    }
    check("an instruction whose second page is remapped", good);
    set_pte(5, 0);
    invlpg(WINDOW_AT(5));
    CHECK_FAULT("and goes away", V_PF, 0, "call *%0", : : "r"(WINDOW_AT(4) + 4094) : "eax", "memory");
    check("fault at the second page, eip at the instruction",
          last.cr2 == WINDOW_AT(5) && last.eip == WINDOW_AT(4) + 4094);
    paging_off();
}
