/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hardware task switches: jmp, call, iret, task gates with error codes, busy bits, CR0.TS, a stack that the
 * TSS names and that cannot be loaded (SDM vol. 3, chapter 7). */
#include "kernel.h"

static u8 task_stack[4096] __attribute__((aligned(16)));
static volatile u32 task_runs, task_arg, task_flags, task_link, task_error, task_cr0, task_tr;
extern u8 task_loop[], task_handler[];
asm(".text\n"
    /* Entered by a jump; jumps back, and goes on there when it is entered again. */
    "task_loop:\n\tincl task_runs\n\tmovl %eax, task_arg\n\tmovl %cr0, %eax\n\tmovl %eax, task_cr0\n\tstr "
    "%eax\n\tmovl %eax, task_tr\n\t"
    "pushfl\n\tpopl task_flags\n\tincl %esi\n\tljmp $0x28, $0\n\tjmp task_loop\n"
    /* Entered by a call or a task gate (then with an error code on the stack). */
    "task_handler:\n\tincl task_runs\n\tpushfl\n\tpopl task_flags\n\tmovzwl tss2, %eax\n\tmovl %eax, "
    "task_link\n\t"
    "cmpl $0, task_arg\n\tje 1f\n\tpopl task_error\n1:\tcall task_fix\n\tiret\n\tjmp task_handler");

static u32 *fix_at, fix_value;
void task_fix(void);
void task_fix(void)
{
    if (fix_at)
        *fix_at = fix_value;
}

static void make_task(const u8 *entry)
{
    memset(&tss2, 0, offsetof(struct tss, bitmap));
    tss2.eip = (u32)entry;
    tss2.eflags = 2;
    tss2.esp = (u32)task_stack + sizeof(task_stack);
    tss2.cs = SEL_KCODE;
    tss2.ss = tss2.ds = tss2.es = SEL_KDATA;
    tss2.eax = 0xaaaa5555;
    tss2.iomap = sizeof(struct tss);
    tss2.cr3 = read_cr3();
    tss.cr3 = read_cr3();
    set_desc(SEL_TSS2, make_desc((u32)&tss2, 0x67, ACC_TSS32, 0));
}

static u32 busy(u16 sel)
{
    return (u32)(((volatile u64 *)gdt)[sel >> 3] >> 41) & 1;
}

static u32 user_int80(u32 arg)
{
    asm volatile("int $0x80" : : "a"(2) : "memory");
    return arg;
}

static u32 syscall_zero(struct frame *f)
{
    (void)f;
    return 0;
}

void test_task(void)
{
    make_task(task_loop);
    task_runs = 0;
    u32 tr, b = 0x1234, kept;
    asm volatile("movl $0x77665544, %%edi\n\tljmp %2, $0\n\tmovl %%edi, %0"
                 : "=r"(kept)
                 : "b"(b), "i"(SEL_TSS2)
                 : "edi", "memory", "cc");
    check_eq("jmp to a task and back", task_runs, 1);
    check_eq("registers come from the tss", task_arg, 0xaaaa5555);
    check_eq("and are kept in the old one", kept, 0x77665544);
    check("TS is set by the switch", task_cr0 & CR0_TS);
    check_eq("tr inside", task_tr & 0xffff, SEL_TSS2);
    asm volatile("str %0" : "=r"(tr));
    check_eq("tr again", tr & 0xffff, SEL_TSS);
    check("busy bits: ours is, the other is not", busy(SEL_TSS) && !busy(SEL_TSS2));
    check("NT is clear after a jump", !(task_flags & FL_NT) && !(read_flags() & FL_NT));
    asm volatile("clts");
    asm volatile("ljmp %0, $0" : : "i"(SEL_TSS2) : "memory", "cc");
    check_eq("it goes on where it left", task_runs, 2);
    check_eq("with its own registers", tss2.esi, 2);
    asm volatile("clts");
    CHECK_FAULT("jmp to the busy task", V_GP, SEL_TSS, "ljmp %0, $0", : : "i"(SEL_TSS));
    set_desc(SEL_T0, make_desc((u32)&tss2, 0x67, ACC_TSS32 & ~0x80, 0));
    CHECK_FAULT("task not present", V_NP, SEL_T0, "ljmp %0, $0", : : "i"(SEL_T0));
    set_desc(SEL_T0, make_desc((u32)&tss2, 0x66, ACC_TSS32, 0));
    CHECK_FAULT("tss too small", V_TS, SEL_T0, "ljmp %0, $0", : : "i"(SEL_T0));

    make_task(task_handler);
    task_runs = task_arg = 0;
    asm volatile("lcall %0, $0" : : "i"(SEL_TSS2) : "eax", "memory", "cc");
    check_eq("call to a task and iret back", task_runs, 1);
    check_eq("the back link", task_link, SEL_TSS);
    check("NT inside", task_flags & FL_NT);
    check("both busy bits as before", busy(SEL_TSS) && !busy(SEL_TSS2));
    asm volatile("clts");

    /* A task gate in the GDT, and one in the IDT for a software interrupt. */
    gdt[SEL_T1 >> 3] = make_gate(SEL_TSS2, 0, ACC_TASK, 0);
    asm volatile("lcall %0, $0" : : "i"(SEL_T1) : "eax", "memory", "cc");
    check_eq("call through a task gate", task_runs, 2);
    asm volatile("clts");
    idt[0x70] = make_gate(SEL_TSS2, 0, ACC_TASK, 0);
    asm volatile("int $0x70" : : : "eax", "memory", "cc");
    check_eq("int through a task gate", task_runs, 3);
    asm volatile("clts");
    set_gate(0x70, ACC_INT32);

    /* A fault through a task gate pushes its error code on the new stack; the task repairs and the
     * instruction is tried again. */
    make_task(task_handler);
    idt[V_NP] = make_gate(SEL_TSS2, 0, ACC_TASK, 0);
    set_desc(SEL_T2, make_desc(0, 0xfffff, ACC_DATA & ~0x80, DESC_G | DESC_D));
    fix_at = (u32 *)&gdt[SEL_T2 >> 3] + 1;
    fix_value = *fix_at | 0x8000;
    task_arg = 1;
    task_runs = 0;
    CHECK_NO_FAULT("a fault repaired by a task", "movl %0, %%fs", : : "r"(SEL_T2) : "eax", "memory");
    check("once, with its error code", task_runs == 1 && task_error == SEL_T2);
    asm volatile("clts\n\tmovl %0, %%fs" : : "r"(0));
    set_gate(V_NP, ACC_INT32);

    /* The stack that the TSS names for ring 0 cannot be loaded: #TS, handled by a task. */
    make_task(task_handler);
    idt[V_TS] = make_gate(SEL_TSS2, 0, ACC_TASK, 0);
    syscall_hook = syscall_zero;
    tss.ss0 = SEL_UDATA;
    fix_at = &tss.ss0;
    fix_value = SEL_KDATA;
    task_runs = 0;
    check_eq("a bad stack in the tss", run_user(user_int80, 6, 0), 6);
    /* The processor reports the selector; EXT depends on what caused it, and an int n leaves it clear. */
    check("#TS names the stack selector", task_runs == 1 && (task_error & ~1u) == (SEL_UDATA & ~3));
    asm volatile("clts");
    set_gate(V_TS, ACC_INT32);
    fix_at = NULL;
    syscall_hook = NULL;

    /* Page tables change with the task. */
    static u32 other_dir[1024] __attribute__((aligned(4096)));
    paging_on();
    memcpy(other_dir, page_dir, sizeof(other_dir));
    make_task(task_loop);
    tss2.cr3 = (u32)other_dir;
    task_runs = 0;
    asm volatile("ljmp %0, $0" : : "i"(SEL_TSS2) : "memory", "cc");
    check_eq("a task with its own page tables", task_runs, 1);
    check_eq("and back in ours", read_cr3(), (u32)page_dir);
    asm volatile("clts");
    paging_off();
    write_cr3(0);
    tss.cr3 = 0;

    /* An LDT of its own. */
    make_task(task_loop);
    tss2.ldt = SEL_LDT;
    ldt[0] = make_desc(0, 0xfffff, ACC_DATA, DESC_G | DESC_D);
    tss2.fs = 4;
    asm volatile("ljmp %0, $0" : : "i"(SEL_TSS2) : "memory", "cc");
    u32 l;
    asm volatile("sldt %0" : "=r"(l));
    check("a task with an ldt", tss2.fs == 4 && (l & 0xffff) == 0);
    asm volatile("clts");
}
