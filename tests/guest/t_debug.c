/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debugging: single step, breakpoints, watchpoints, RF, GD (SDM vol. 3, chapter 17). */
#include "kernel.h"

static volatile u32 steps, hits, hit_eip, hit_dr6, set_rf, watched[4] __attribute__((aligned(16)));

#define READ_DR(n)                                                                                           \
    ({                                                                                                       \
        u32 v_;                                                                                              \
        asm volatile("movl %%dr" #n ", %0" : "=r"(v_));                                                      \
        v_;                                                                                                  \
    })
#define WRITE_DR(n, v) asm volatile("movl %0, %%dr" #n : : "r"(v) : "memory")

static u32 step_eips[64];

static void on_step(struct frame *f)
{
    if (steps < 64)
        step_eips[steps] = f->eip;
    steps++;
    hit_dr6 = READ_DR(6);
    WRITE_DR(6, 0xffff0ff0);
}

static void on_break(struct frame *f)
{
    hits++;
    hit_eip = f->eip;
    hit_dr6 = READ_DR(6);
    WRITE_DR(6, 0xffff0ff0);
    if (set_rf)
        f->eflags |= FL_RF;
}

#define STEP(text, ...)                                                                                      \
    ({                                                                                                       \
        steps = 0;                                                                                           \
        asm volatile("pushfl\n\torl $0x100, (%%esp)\n\tpopfl\n\t" text                                       \
                     "\n\tpushfl\n\tandl $~0x100, (%%esp)\n\tpopfl" __VA_ARGS__);                            \
        steps;                                                                                               \
    })

static u32 user_step(u32 arg)
{
    u32 v = arg;
    asm volatile("pushfl\n\torl $0x100, (%%esp)\n\tpopfl\n\tincl %0\n\tincl %0\n\tincl %0\n\tpushfl\n\t"
                 "andl $~0x100, (%%esp)\n\tpopfl"
                 : "+r"(v)
                 :
                 : "memory", "cc");
    return v;
}

extern u8 debug_here[], debug_next[];

static void single_step(void)
{
    handlers[V_DB] = on_step;
    /* Each instruction traps after it, the closing pushf, and, popf also traps? No: TF is clear after it, but
     * the trap for an instruction is decided by TF at its start, so the last popf counts too. */
    check_eq("three nops", STEP("nop\n\tnop\n\tnop", : : : "memory", "cc"), 3 + 3);
    check("BS in dr6", hit_dr6 & 0x4000);
    check_eq("first stop is after the first instruction", step_eips[1] - step_eips[0], 1);
    check_eq("a branch is one step", STEP("jmp 1f\n\tnop\n1:\tnop", : : : "memory", "cc"), 2 + 3);
    check_eq("a call and its return", STEP("call 1f\n\tjmp 2f\n1:\tret\n2:", : : : "memory", "cc"), 3 + 3);
    u32 c = 5, d = ARENA(0);
    check_eq("each iteration of rep", STEP("rep stosb", : "+c"(c), "+D"(d) : "a"(0) : "memory", "cc"), 5 + 3);
    check_eq("mov ss hides the next one",
             STEP("movl %%ss, %%eax\n\tmovl %%eax, %%ss\n\tnop\n\tnop",
                  :
                  :
                  : "eax", "memory", "cc"),
             3 + 3);
    check_eq("cpuid", STEP("cpuid", : : "a"(0) : "ebx", "ecx", "edx", "memory", "cc"), 1 + 3);
    check_eq("division", STEP("divl %%ecx", : : "a"(100), "d"(0), "c"(7) : "memory", "cc"), 1 + 3);
    check_eq("stepping at cpl 3", run_user(user_step, 5, 0) + (steps = 0), 8);
    run_user(user_step, 5, 0);
    check_eq("its steps", steps, 3 + 3);
    /* int n clears TF in the handler and the frame keeps it. */
    steps = 0;
    check_eq("pushf shows TF",
             STEP("pushfl\n\tpopl %%eax\n\tandl $0x100, %%eax\n\tmovl %%eax, watched",
                  :
                  :
                  : "eax", "memory", "cc") +
                 watched[0],
             4 + 3 + 0x100);
    handlers[V_DB] = NULL;
    /* TCG has no icebp. */
    CHECK_FAULT_TCG_GAP("icebp", V_DB, 0, ".byte 0xf1", ::);
}

static void breakpoints(void)
{
    handlers[V_DB] = on_break;
    hits = 0;
    set_rf = 1;
    WRITE_DR(0, debug_here);
    WRITE_DR(7, 0x402); /* global 0, execute */
    u32 v = 0;
    for (u32 i = 0; i < 3; i++)
        asm volatile("jmp 1f\n1:\tincl %0\n\t.globl debug_here\ndebug_here:\n\tincl %0\ndebug_next:"
                     : "+r"(v)
                     :
                     : "memory", "cc");
    WRITE_DR(7, 0x400);
    check_eq("instruction breakpoint", hits, 3);
    check_eq("is a fault before the instruction", hit_eip, (u32)debug_here);
    check_eq("B0 in dr6", hit_dr6 & 15, 1);
    check_eq("RF lets the instruction run", v, 6);
    hits = 0;
    WRITE_DR(1, &watched[1]);
    WRITE_DR(7, 0x400 | 8 | 0x00d00000); /* global 1, write, 4 bytes */
    watched[0] = 1;
    watched[2] = 1;
    v = watched[1];
    check_eq("a watch of writes ignores reads and neighbours", hits, 0);
    asm volatile("movl $5, %0\n1:\tnop\n\tmovl $1b, %1" : "=m"(watched[1]), "=r"(v) : : "memory");
    check_eq("a write", hits, 1);
    check_eq("is a trap after the instruction", hit_eip, v);
    check_eq("B1 in dr6", hit_dr6 & 15, 2);
    ((volatile u8 *)watched)[6] = 1;
    check_eq("a byte of it", hits, 2);
    asm volatile("incl %0" : "+m"(watched[1]) : : "cc");
    check_eq("a read-modify-write", hits, 3);
    WRITE_DR(7, 0x400 | 8 | 0x00f00000); /* read or write */
    v = watched[1];
    check_eq("a watch of reads and writes", hits, 4);
    WRITE_DR(7, 0x400);
    v = watched[1];
    check_eq("switched off", hits, 4);
    handlers[V_DB] = NULL;
    WRITE_DR(2, 0x12345678);
    check_eq("dr2 reads back", READ_DR(2), 0x12345678);
    check_eq("dr7's constant bit", READ_DR(7) & 0x400, 0x400);
    check_eq("dr4 is dr6", READ_DR(4), READ_DR(6));
    write_cr4(read_cr4() | CR4_DE);
    CHECK_FAULT("dr4 with CR4.DE", V_UD, 0, "movl %%dr4, %%eax", : : : "eax");
    write_cr4(read_cr4() & ~(u32)CR4_DE);
    WRITE_DR(7, 0x2400); /* GD, which TCG ignores */
    CHECK_FAULT_TCG_GAP("a register access with GD", V_DB, 0, "movl %%dr0, %%eax", : : : "eax");
    check_tcg_gap("GD is cleared by the fault", !(READ_DR(7) & 0x2000));
    check_tcg_gap("BD in dr6", READ_DR(6) & 0x2000);
    WRITE_DR(6, 0xffff0ff0);
    WRITE_DR(7, 0x400);
    (void)v;
}

void test_debug(void)
{
    single_step();
    breakpoints();
}
