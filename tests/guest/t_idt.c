/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exceptions and software interrupts: vectors, error codes, return addresses, gates (SDM vol. 3, chapter 6).
 */
#include "kernel.h"

static u32 seen_flags, seen_eip, seen_frame_flags, seen_count;

static void on_vector(struct frame *f)
{
    seen_flags = read_flags();
    seen_eip = f->eip;
    seen_frame_flags = f->eflags;
    seen_count++;
}

static u32 user_int70(u32 arg)
{
    asm volatile("int $0x70");
    return arg;
}

static u32 user_int3(u32 arg)
{
    asm volatile("int3");
    return arg + 1;
}

static u32 at; /* address of the instruction under test */
#define AT "movl $.Lat%=, at\n.Lat%=:\n\t"

static void exceptions(void)
{
    CHECK_FAULT("divide by zero", V_DE, 0, AT "divl %0", : : "r"(0), "a"(1), "d"(0));
    check_eq("divide by zero: eip", last.eip, at);
    check("a fault pushes the flags' constant bit", last.eflags & 2);
    CHECK_FAULT("idiv overflow", V_DE, 0, "idivl %0", : : "r"(-1), "a"(0x80000000), "d"(0xffffffff));
    CHECK_FAULT("div by a byte overflow", V_DE, 0, "divb %%cl", : : "c"(1), "a"(0x100));
    CHECK_FAULT("aam 0", V_DE, 0, ".byte 0xd4, 0", : : "a"(1));
    CHECK_FAULT("ud2", V_UD, 0, AT "ud2", ::);
    check_eq("ud2: eip", last.eip, at);
    CHECK_FAULT("int3", V_BP, 0, AT "int3", ::);
    check_eq("int3: eip is the next", last.eip, at + 1);
    CHECK_FAULT("int 3 in two bytes", V_BP, 0, AT ".byte 0xcd, 3", ::);
    check_eq("int 3 in two bytes: eip is the next", last.eip, at + 2);
    CHECK_FAULT("into with OF", V_OF, 0, "movb $0x7f, %%al\n\taddb $1, %%al\n\t" AT "into",
                :
                :
                : "eax", "cc");
    check_eq("into: eip is the next", last.eip, at + 1);
    CHECK_NO_FAULT("into without OF", "xorl %%eax, %%eax\n\tinto", : : : "eax", "cc");
    {
        static const int bounds[2] = {-5, 10};
        CHECK_NO_FAULT("bound at the lower end", "boundl %0, %1", : : "r"(-5), "m"(bounds));
        CHECK_NO_FAULT("bound at the upper end", "boundl %0, %1", : : "r"(10), "m"(bounds));
        CHECK_FAULT("bound below", V_BR, 0, AT "boundl %0, %1", : : "r"(-6), "m"(bounds));
        check_eq("bound: eip", last.eip, at);
        CHECK_FAULT("bound above", V_BR, 0, "boundl %0, %1", : : "r"(11), "m"(bounds));
    }
    CHECK_FAULT("bound with a register", V_UD, 0, ".byte 0x62, 0xc0", ::);
    CHECK_FAULT("lock on a register", V_UD, 0, ".byte 0xf0, 0x01, 0xc0", ::);
    /* TCG accepts lock where it means nothing. */
    CHECK_FAULT_TCG_GAP("lock on mov", V_UD, 0, ".byte 0xf0, 0x89, 0x00", : : "a"(arena));
    CHECK_FAULT("an instruction of 16 bytes", V_GP, 0,
                ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90", ::);
    CHECK_NO_FAULT("an instruction of 15 bytes",
                   ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90", ::);
    /* TCG leaves RF clear in the flags that a fault pushes. */
    CHECK_FAULT("fault", V_UD, 0, "ud2", ::);
    check_tcg_gap("a fault pushes RF", last.eflags & FL_RF);
}

static void gates(void)
{
    handlers[0x70] = on_vector;
    set_gate(0x70, ACC_INT32);
    seen_count = 0;
    asm volatile("sti\n\tint $0x70\n\tcli" : : : "memory");
    check_eq("int through an interrupt gate", seen_count, 1);
    check("an interrupt gate clears IF", !(seen_flags & FL_IF));
    check("the pushed flags have IF", seen_frame_flags & FL_IF);
    set_gate(0x70, ACC_TRAP32);
    asm volatile("sti\n\tint $0x70\n\tcli" : : : "memory");
    check("a trap gate leaves IF", seen_flags & FL_IF);
    asm volatile("pushfl\n\torl $0x4000, (%%esp)\n\tpopfl\n\tint $0x70" : : : "memory", "cc");
    check("NT is cleared in the handler", !(seen_flags & FL_NT));
    check("and kept in the frame", seen_frame_flags & FL_NT);
    check("and restored", read_flags() & FL_NT);
    write_flags(2);
    check_eq("int at cpl 3 through a dpl 0 gate", run_user(user_int70, 5, 0), FAULTED(V_GP));
    check_eq("its error code", last.error, 0x70 * 8 + 2);
    set_gate(0x70, ACC_TRAP32 | ACC_DPL3);
    check_eq("int at cpl 3 through a dpl 3 gate", run_user(user_int70, 5, 0), 5);
    check_eq("int3 at cpl 3", run_user(user_int3, 5, 0), FAULTED(V_BP));
    set_gate(V_BP, ACC_TRAP32);
    check_eq("int3 at cpl 3 through a dpl 0 gate", run_user(user_int3, 5, 0), FAULTED(V_GP));
    check_eq("its error code too", last.error, V_BP * 8 + 2);
    set_gate(V_BP, ACC_TRAP32 | ACC_DPL3);
    set_gate(0x70, ACC_INT32 & ~0x80);
    CHECK_FAULT("gate not present", V_NP, 0x70 * 8 + 2, AT "int $0x70", ::);
    check_eq("gate not present: eip is the int", last.eip, at);
    idt[0x70] = make_gate(SEL_KCODE, 0, ACC_CALL32, 0);
    CHECK_FAULT("not an interrupt gate", V_GP, 0x70 * 8 + 2, "int $0x70", ::);
    idt[0x70] = make_gate(0, 0, ACC_INT32, 0);
    CHECK_FAULT("gate with a null selector", V_GP, 0, "int $0x70", ::);
    idt[0x70] = make_gate(SEL_KDATA, 0, ACC_INT32, 0);
    CHECK_FAULT("gate to data", V_GP, SEL_KDATA, "int $0x70", ::);
    set_desc(SEL_T0, make_desc(0, 0xfffff, ACC_CODE & ~0x80, DESC_G | DESC_D));
    idt[0x70] = make_gate(SEL_T0, 0, ACC_INT32, 0);
    CHECK_FAULT("gate to code not present", V_NP, SEL_T0, "int $0x70", ::);
    load_idt(0x81 * 8 - 1);
    CHECK_FAULT("vector past the table", V_GP, 0x90 * 8 + 2, "int $0x90", ::);
    load_idt(0x90 * 8 + 6);
    CHECK_FAULT("vector partly past the table", V_GP, 0x90 * 8 + 2, "int $0x90", ::);
    load_idt(sizeof(idt) - 1);
    /* An exception whose handler cannot be reached: EXT is set in the error code (SDM vol. 3, 6.13); TCG
     * leaves it clear. */
    set_gate(V_UD, ACC_INT32 & ~0x80);
    CHECK_FAULT_TCG_GAP("exception with a gate not present", V_NP, V_UD * 8 + 2 + 1, "ud2", ::);
    idt[V_UD] = make_gate(SEL_T0, 0, ACC_INT32, 0);
    CHECK_FAULT_TCG_GAP("exception with a handler not present", V_NP, SEL_T0 + 1, "ud2", ::);
    set_gate(V_UD, ACC_INT32);
    /* Contributory upon contributory is a double fault (table 6-5). */
    set_gate(V_GP, ACC_INT32 & ~0x80);
    CHECK_FAULT("double fault", V_DF, 0, "movl %0, %%fs", : : "r"(GDT_BYTES));
    set_gate(V_GP, ACC_INT32);
    set_gate(V_DE, ACC_INT32 & ~0x80);
    CHECK_FAULT("double fault after #DE", V_DF, 0, "divl %0", : : "r"(0), "a"(1), "d"(0));
    set_gate(V_DE, ACC_INT32);
    handlers[0x70] = NULL;
}

/* 16-bit gates push 16-bit frames. */
extern u8 idt_stub16[];
static u32 frame16[2];
asm(".text\nidt_stub16:\n\tmovw (%esp), %ax\n\tmovw %ax, frame16\n\tmovw 2(%esp), %ax\n\tmovw %ax, frame16 + "
    "2\n\t"
    "movw 4(%esp), %ax\n\tmovw %ax, frame16 + 4\n\t.byte 0x66\n\tiret");

static void gate16(void)
{
    /* The handler's offset is 16 bits wide, and so is the return address: a code segment based at 1 MiB holds
     * both. */
    static u32 before, after;
    set_desc(SEL_T1, make_desc(0x100000, 0xfffff, ACC_CODE, DESC_G | DESC_D));
    idt[0x71] = make_gate(SEL_T1, (u32)idt_stub16 - 0x100000, 0x86, 0);
    asm volatile("ljmp %2, $1f - 0x100000\n1:\n\tmovl %%esp, %0\n\tint $0x71\n2:\n\tmovl %%esp, %1\n\t"
                 "ljmp %3, $3f\n3:\n\tmovl $2b, at"
                 : "=m"(before), "=m"(after)
                 : "i"(SEL_T1), "i"(SEL_KCODE)
                 : "eax", "memory");
    check_eq("16-bit gate: returns with esp as before", after, before);
    check_eq("16-bit gate: ip", frame16[0] & 0xffff, (at - 0x100000) & 0xffff);
    check_eq("16-bit gate: cs", frame16[0] >> 16, SEL_T1);
    set_gate(0x71, ACC_INT32);
}

void test_idt(void)
{
    exceptions();
    gates();
    gate16();
}
