/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Call gates and far returns between rings (SDM vol. 3, 5.8.3 to 5.8.6). */
#include "kernel.h"

static volatile u32 gate_cs, gate_ss, gate_p0, gate_p1, gate_esp, gate_user_esp, gate_user_ss;
extern u8 gate_target[], gate_target0[], gate_same[];
asm(".text\n"
    /* Two parameters are copied from the caller's stack; the return pops them on both. */
    "gate_target:\n\tmovl %cs, %eax\n\tmovl %eax, gate_cs\n\tmovl %ss, %eax\n\tmovl %eax, gate_ss\n\t"
    "movl 8(%esp), %eax\n\tmovl %eax, gate_p0\n\tmovl 12(%esp), %eax\n\tmovl %eax, gate_p1\n\t"
    "movl 16(%esp), %eax\n\tmovl %eax, gate_user_esp\n\tmovl 20(%esp), %eax\n\tmovl %eax, gate_user_ss\n\t"
    "movl $0x6a7e, %eax\n\tlret $8\n"
    "gate_target0:\n\tmovl %esp, gate_esp\n\tmovl $0x6a70, %eax\n\tlret\n"
    "gate_same:\n\tmovl %cs, %eax\n\tlret");

static u32 user_gate_params(u32 arg)
{
    u32 v, before, after;
    (void)arg;
    asm volatile(
        "movl %%esp, %1\n\tpushl $0x22222222\n\tpushl $0x11111111\n\tlcall %3, $0xffff\n\tmovl %%esp, %2"
        : "=a"(v), "=&r"(before), "=&r"(after)
        : "i"(SEL_T0 | 3)
        : "memory");
    return before == after ? v : 0xbad;
}

static u32 user_gate_plain(u32 arg)
{
    u32 v;
    (void)arg;
    asm volatile("lcall %1, $0" : "=a"(v) : "i"(SEL_T1 | 3) : "memory");
    return v;
}

static u32 user_gate_refused(u32 arg)
{
    u32 v;
    (void)arg;
    asm volatile("lcall %1, $0" : "=a"(v) : "i"(SEL_T2 | 3) : "memory");
    return v;
}

static u32 user_gate_jump(u32 arg)
{
    asm volatile("ljmp %0, $0" : : "i"(SEL_T1 | 3) : "memory");
    return arg;
}

static u32 user_conforming(u32 arg)
{
    u32 v;
    (void)arg;
    asm volatile("lcall %1, $gate_same" : "=a"(v) : "i"(SEL_T4) : "memory");
    return v;
}

static u32 user_direct(u32 arg)
{
    asm volatile("lcall %0, $gate_same" : : "i"(SEL_KCODE) : "memory");
    return arg;
}

static u32 user_lret_inwards(u32 arg)
{
    asm volatile("pushl %0\n\tpushl $0\n\tlret" : : "i"(SEL_KCODE) : "memory");
    return arg;
}

void test_gate(void)
{
    gdt[SEL_T0 >> 3] = make_gate(SEL_KCODE, (u32)gate_target, ACC_CALL32 | ACC_DPL3, 2);
    gdt[SEL_T1 >> 3] = make_gate(SEL_KCODE, (u32)gate_target0, ACC_CALL32 | ACC_DPL3, 0);
    gdt[SEL_T2 >> 3] = make_gate(SEL_KCODE, (u32)gate_target0, ACC_CALL32, 0);
    gdt[SEL_T3 >> 3] = make_gate(SEL_KCODE, (u32)gate_target0, (ACC_CALL32 | ACC_DPL3) & ~0x80, 0);
    set_desc(SEL_T4, make_desc(0, 0xfffff, ACC_CODE_CONF, DESC_G | DESC_D));
    check_eq("call gate to ring 0", run_user(user_gate_params, 0, 0), 0x6a7e);
    check("selectors inside", (gate_cs & 0xffff) == SEL_KCODE && (gate_ss & 0xffff) == SEL_KDATA);
    check("parameters are copied", gate_p0 == 0x11111111 && gate_p1 == 0x22222222);
    check("the caller's stack is above them", (gate_user_ss & 0xffff) == SEL_UDATA &&
                                                  gate_user_esp < (u32)user_stack_top &&
                                                  *(u32 *)gate_user_esp == 0x11111111);
    bool good = true;
    for (u32 i = 0; i < 100; i++)
        good = good && run_user(user_gate_plain, 0, 0) == 0x6a70;
    check("a hundred calls without parameters", good);
    check_eq("the frame is four words", gate_esp, tss.esp0 - 16);
    check_eq("gate of dpl 0 from ring 3", run_user(user_gate_refused, 0, 0), FAULTED(V_GP));
    check_eq("its error code", last.error, SEL_T2);
    check_eq("jump through a gate to an inner ring", run_user(user_gate_jump, 0, 0), FAULTED(V_GP));
    check_eq("names the code segment", last.error, SEL_KCODE);
    CHECK_FAULT("gate not present", V_NP, SEL_T3, "lcall %0, $0", : : "i"(SEL_T3));
    check_eq("conforming code keeps the ring", run_user(user_conforming, 0, 0), SEL_T4 | 3);
    check_eq("kernel code called directly", run_user(user_direct, 0, 0), FAULTED(V_GP));
    check_eq("kernel code called directly: error", last.error, SEL_KCODE);
    check_eq("far return inwards", run_user(user_lret_inwards, 0, 0), FAULTED(V_GP));
    u32 v, before, after;
    asm volatile("movl %%esp, %1\n\tlcall %3, $0\n\tmovl %%esp, %2"
                 : "=a"(v), "=&r"(before), "=&r"(after)
                 : "i"(SEL_T1)
                 : "memory");
    check("gate from the same ring", v == 0x6a70 && before == after);
    check_eq("with a frame of two words", gate_esp, before - 8);
    gdt[SEL_T5 >> 3] =
        make_gate(SEL_KCODE, (u32)gate_target0 + 6, ACC_CALL32, 0); /* after the store of esp */
    asm volatile("pushl %1\n\tpushl $1f\n\tljmp %2, $0\n1:"
                 : "=a"(v)
                 : "i"(SEL_KCODE), "i"(SEL_T5)
                 : "memory");
    check_eq("jump through a gate in the same ring", v, 0x6a70);
}
