/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tasks within tasks and faults on the way into one: links and busy bits three deep, switches that fail
 * before and after their commit point, a double fault handled by a task, the TSS's debug bit (SDM vol.
 * 3, 6.14.2, 7.2 to 7.5, 17.3.1.5).
 */
#include "kernel.h"

static struct tss tss3 __attribute__((aligned(4096)));
static u8 stack2[4096] __attribute__((aligned(16))), stack3[4096] __attribute__((aligned(16)));
static volatile u32 depth, runs, seen_link2, seen_link3, seen_busy, seen_eip, seen_error, seen_tr, seen_flags,
    seen_vector, resumed;
extern u8 nest_middle[], nest_inner[], nest_double[], nest_simple[], nest_at[], nest_ldt[];

static u32 busy(u16 sel)
{
    return (u32)(((volatile u64 *)gdt)[sel >> 3] >> 41) & 1;
}

void nest_look(void);
void nest_look(void)
{
    seen_link2 = tss2.link & 0xffff;
    seen_link3 = tss3.link & 0xffff;
    seen_busy = busy(SEL_TSS) | busy(SEL_TSS2) << 1 | busy(SEL_T0) << 2;
    runs++;
    /* Every task on the chain is busy. */
    CHECK_FAULT("call to the first task of the chain", V_GP, SEL_TSS, "lcall %0, $0", : : "i"(SEL_TSS));
    CHECK_FAULT("jump to the second", V_GP, SEL_TSS2, "ljmp %0, $0", : : "i"(SEL_TSS2));
    CHECK_FAULT("call to itself", V_GP, SEL_T0, "lcall %0, $0", : : "i"(SEL_T0));
    /* iret goes by the link, which must name a busy task. */
    u32 keep = tss3.link;
    set_desc(SEL_T1, make_desc((u32)&tss2, 0x67, ACC_TSS32, 0));
    tss3.link = SEL_T1;
    CHECK_FAULT("iret to a task that is not busy", V_TS, SEL_T1, "iret", ::);
    tss3.link = 4;
    CHECK_FAULT("iret to a selector of the ldt", V_TS, 4, "iret", ::);
    tss3.link = SEL_KDATA;
    CHECK_FAULT("iret to what is no task", V_TS, SEL_KDATA, "iret", ::);
    tss3.link = keep;
}

asm(".text\n"
    "nest_middle:\n\tincl depth\n\tlcall $0x40, $0\n\tincl resumed\n\tiret\n\tjmp nest_middle\n"
    "nest_inner:\n\tincl depth\n\tcall nest_look\n\tiret\n\tjmp nest_inner\n"
    "nest_simple:\n\tincl runs\n\tiret\n\tjmp nest_simple\n"
    "nest_ldt:\n\tpopl seen_error\n\tmovl $0, tss2 + 96\n\tmovzwl tss3, %eax\n\tmovl %eax, "
    "seen_link3\n\tiret\n\t"
    "jmp nest_ldt\n"
    /* The double fault's handler: sends the interrupted task on to where it can go on. */
    "nest_double:\n\tpopl seen_error\n\tmovl tss + 32, %eax\n\tmovl %eax, seen_eip\n\tmovl recover_eip, "
    "%eax\n\t"
    "movl %eax, tss + 32\n\tmovl $0, recover_eip\n\tmovl $8, last\n\tstr %eax\n\tmovl %eax, "
    "seen_tr\n\tpushfl\n\t"
    "popl seen_flags\n\tiret\n\tjmp nest_double\n");

static void make_task(struct tss *t, u16 sel, const u8 *entry, u8 *stack)
{
    memset(t, 0, offsetof(struct tss, bitmap));
    t->eip = (u32)entry;
    t->eflags = 2;
    t->esp = (u32)stack + 4096;
    t->cs = SEL_KCODE;
    t->ss = t->ds = t->es = SEL_KDATA;
    t->iomap = sizeof(struct tss);
    t->cr3 = read_cr3();
    tss.cr3 = read_cr3();
    set_desc(sel, make_desc((u32)t, 0x67, ACC_TSS32, 0));
}

static u32 fix_selector;

/* A fault in the first instruction of a task: repairs the descriptor it names. */
static void fix(struct frame *f)
{
    u32 tr;
    asm volatile("str %0" : "=r"(tr));
    seen_tr = tr & 0xffff;
    seen_eip = f->eip;
    seen_error = f->error;
    seen_vector = f->vector;
    ((u32 *)&gdt[fix_selector >> 3])[1] |= 0x8000;
    f->ds = f->es = SEL_KDATA;
}

static void on_debug(struct frame *f)
{
    u32 d;
    asm volatile("movl %%dr6, %0" : "=r"(d));
    asm volatile("movl %0, %%dr6" : : "r"(0xffff0ff0));
    seen_error = d;
    seen_eip = f->eip;
    seen_vector = f->vector;
}

#define ENTER(sel) asm volatile("lcall %0, $0\n\tclts" : : "i"(sel) : "eax", "memory", "cc")

static void chains(void)
{
    make_task(&tss2, SEL_TSS2, nest_middle, stack2);
    make_task(&tss3, SEL_T0, nest_inner, stack3);
    depth = runs = resumed = 0;
    ENTER(SEL_TSS2);
    check_eq("two tasks deep and back", depth == 2 && runs == 1 && resumed == 1, 1);
    check_eq("link of the second", seen_link2, SEL_TSS);
    check_eq("link of the third", seen_link3, SEL_TSS2);
    check_eq("all three busy inside", seen_busy, 7);
    check_eq("afterwards one", busy(SEL_TSS) | busy(SEL_TSS2) << 1 | busy(SEL_T0) << 2, 1);
    check("NT is clear again", !(read_flags() & FL_NT));
    check("and in the images of those that returned", !(tss2.eflags & FL_NT) && !(tss3.eflags & FL_NT));
}

static void failing(void)
{
    /* Before the commit point: nothing has happened. */
    make_task(&tss2, SEL_TSS2, nest_simple, stack2);
    runs = 0;
    set_desc(SEL_T1, make_desc((u32)&tss2, 0x67, ACC_TSS32 & ~0x80, 0));
    CHECK_FAULT("call to a task that is not present", V_NP, SEL_T1, "lcall %0, $0", : : "i"(SEL_T1));
    check("leaves our task as it was", busy(SEL_TSS) && !runs);
    if (peer_is_qemu) /* TCG raises the next ones in neither task: the old one is busy no more, the new one
                         not entered */
        return;
    /* A data segment of the new task is not present: the fault comes in the new task, before its first
     * instruction. */
    set_desc(SEL_T2, make_desc(0, 0xfffff, ACC_DATA & ~0x80, DESC_G | DESC_D));
    fix_selector = SEL_T2;
    handlers[V_NP] = fix;
    make_task(&tss2, SEL_TSS2, nest_simple, stack2);
    tss2.es = SEL_T2;
    seen_tr = 0;
    ENTER(SEL_TSS2);
    check_eq("a data segment not present in the new task", seen_vector, V_NP);
    check("names it", seen_error == SEL_T2);
    check_eq("in the new task", seen_tr, SEL_TSS2);
    check_eq("at its first instruction", seen_eip, (u32)nest_simple);
    check_eq("which then runs", runs, 1);
    handlers[V_NP] = NULL;
    handlers[V_TS] = fix;
    make_task(&tss2, SEL_TSS2, nest_simple, stack2);
    fix_selector = SEL_KDATA;
    tss2.ds = SEL_TSS;
    ENTER(SEL_TSS2);
    check("no data segment: #TS with its selector",
          seen_vector == V_TS && seen_error == SEL_TSS && runs == 2);
    handlers[V_TS] = NULL;
    /* Without an LDT no segment is loaded, the stack's neither: only another task can handle that. */
    make_task(&tss2, SEL_TSS2, nest_simple, stack2);
    make_task(&tss3, SEL_T0, nest_ldt, stack3);
    tss2.ldt = SEL_KDATA;
    idt[V_TS] = make_gate(SEL_T0, 0, ACC_TASK, 0);
    ENTER(SEL_TSS2);
    set_gate(V_TS, ACC_INT32);
    check_eq("no ldt: #TS with its selector", seen_error & ~1u, SEL_KDATA);
    check_eq("raised in the new task", seen_link3, SEL_TSS2);
    check_eq("which runs when that is repaired", runs, 3);
}

static void double_fault(void)
{
    make_task(&tss2, SEL_TSS2, nest_double, stack2);
    idt[V_DF] = make_gate(SEL_TSS2, 0, ACC_TASK, 0);
    set_gate(V_GP, ACC_INT32 & ~0x80);
    seen_error = 0xbad;
    u32 vector = TRY("nest_at:\n\tmovl %0, %%fs", : : "r"(GDT_BYTES) : "memory");
    asm volatile("clts");
    check_eq("a double fault taken by a task", vector, V_DF);
    check_eq("its error code", seen_error, 0);
    check_eq("in the handler's task", seen_tr & 0xffff, SEL_TSS2);
    check("with NT", seen_flags & FL_NT);
    check_eq("the faulting instruction is in our tss", seen_eip, (u32)nest_at);
    /* A stack that does not work: only a task can handle what comes then. */
    make_task(&tss2, SEL_TSS2, nest_double, stack2);
    set_gate(V_GP, ACC_INT32);
    set_desc(SEL_T3, make_desc(0, 0xfff, ACC_DATA, DESC_D));
    vector = TRY("movl %0, %%ss\n\tmovl $0x8000, %%esp\n\tpushl %%eax", : : "r"(SEL_T3) : "memory");
    asm volatile("movl %0, %%ss\n\tclts" : : "r"(SEL_KDATA));
    /* TCG checks no limits. */
    check_tcg_gap("a push beyond the stack: #SS, then a double fault", vector == V_DF);
    set_gate(V_DF, ACC_INT32);
}

static void debug_bit(void)
{
    make_task(&tss2, SEL_TSS2, nest_simple, stack2);
    tss2.trap = 1;
    handlers[V_DB] = on_debug;
    seen_vector = seen_error = seen_eip = 0;
    runs = 0;
    ENTER(SEL_TSS2);
    handlers[V_DB] = NULL;
    /* TCG ignores the bit. */
    check_tcg_gap("the debug bit of a tss", seen_vector == V_DB && (seen_error & 0x8000));
    check_tcg_gap("before its first instruction", seen_eip == (u32)nest_simple);
    check_eq("the task runs", runs, 1);
}

void test_nest(void)
{
    chains();
    failing();
    double_fault();
    debug_bit();
}
