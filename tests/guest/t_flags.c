/* SPDX-License-Identifier: GPL-2.0-or-later */
/* EFLAGS: what pushf, popf, cli, sti and iret may see and change at each privilege level (SDM vol. 2, POPF).
 */
#include "kernel.h"

static u32 try_popf(u32 set)
{
    u32 v;
    asm volatile("pushfl\n\tpushl %1\n\tpopfl\n\tpushfl\n\tpopl %0\n\tpopfl"
                 : "=r"(v)
                 : "r"(set)
                 : "memory", "cc");
    return v;
}

static u32 user_popf(u32 set)
{
    return try_popf(set);
}

static u32 user_popfw(u32 set)
{
    u32 v;
    asm volatile("pushfl\n\tpushw %w1\n\tpopfw\n\tpushfl\n\tpopl %0\n\tpopfl"
                 : "=r"(v)
                 : "r"(set)
                 : "memory", "cc");
    return v;
}

static u32 user_pushf(u32 arg)
{
    (void)arg;
    return read_flags();
}

static u32 user_cli(u32 arg)
{
    u32 v;
    (void)arg;
    asm volatile("cli\n\tpushfl\n\tpopl %0\n\tsti" : "=r"(v));
    return v;
}

static u32 user_sti(u32 arg)
{
    u32 v;
    (void)arg;
    asm volatile("sti\n\tpushfl\n\tpopl %0" : "=r"(v));
    return v;
}

/* iret within CPL 3 to the next instruction with these flags. */
static u32 user_iret(u32 set)
{
    u32 v;
    asm volatile("pushfl\n\tpushl %1\n\tpushl %%cs\n\tpushl $1f\n\tiret\n1:\tpushfl\n\tpopl %0\n\tpopfl"
                 : "=r"(v)
                 : "r"(set)
                 : "memory", "cc");
    return v;
}

enum { ARITH = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF };

void test_flags(void)
{
    check_eq("arithmetic flags set", try_popf(ARITH | 2) & ARITH, ARITH);
    check_eq("arithmetic flags clear", try_popf(2) & ARITH, 0);
    check_eq("bit 1 reads as one, 3, 5 and 15 as zero", try_popf(0x802a) & 0x802a, 2);
    check_eq("popf at cpl 0 sets IF", try_popf(FL_IF | 2) & FL_IF, FL_IF);
    check_eq("popf at cpl 0 sets IOPL and NT", try_popf(FL_IOPL3 | FL_NT | 2) & (FL_IOPL3 | FL_NT),
             FL_IOPL3 | FL_NT);
    check_eq("popf sets DF", try_popf(FL_DF | 2) & FL_DF, FL_DF);
    check_eq("popf sets AC and ID", try_popf(FL_AC | FL_ID | 2) & (FL_AC | FL_ID), FL_AC | FL_ID);
    check_eq("popf does not set VM or RF", try_popf(FL_VM | FL_RF | 2) & (FL_VM | FL_RF), 0);
    check_eq("popf does not set the reserved bits", try_popf(0xffc00002) & 0xffc00000, 0);
    asm volatile("sti");
    check("sti shows in pushf", read_flags() & FL_IF);
    asm volatile("cli");
    check("cli shows in pushf", !(read_flags() & FL_IF));
    u32 v;
    asm volatile("pushl $0x40202\n\tpopfl\n\tpushw $0x0ad7\n\tpopfw\n\tpushfl\n\tpopl %0\n\tpushl $2\n\tpopfl"
                 : "=r"(v)
                 :
                 : "memory", "cc");
    check_eq("popfw leaves the upper half", v, 0x40ad7);
    /* Behind popf and cld DF is clear, but not behind what is called or jumped back from then. */
    asm volatile("pushl $2\n\tpopfl\n\tcall 1f\n\tpushfl\n\tpopl %0\n\tcld\n\tjmp 2f\n1:\tstd\n\tret\n2:"
                 : "=r"(v)
                 :
                 : "memory", "cc");
    check_eq("DF set by a function", v & FL_DF, FL_DF);
    asm volatile(
        "xorl %0, %0\n\tmovl $3, %%ecx\n\tpushl $2\n\tpopfl\n\tcld\n"
        "1:\tpushfl\n\taddl (%%esp), %0\n\taddl $4, %%esp\n\tandl $0xfc00, %0\n\tstd\n\tloop 1b\n\tcld"
        : "=&r"(v)
        :
        : "ecx", "memory", "cc");
    check_eq("DF set further down in a loop", v, 2 * FL_DF);
    asm volatile("cld\n\tpushfl\n\torl $0x400, (%%esp)\n\tpopfl\n\tpushfl\n\tpopl %0\n\tcld"
                 : "=r"(v)
                 :
                 : "memory", "cc");
    check_eq("DF set by popf behind cld", v & FL_DF, FL_DF);
    for (int k = 0; k < 3; k++) {
        asm volatile("std\n\tpushl $2\n\tpopfl\n\tpushfl\n\tpopl %0\n\tcld" : "=r"(v) : : "memory", "cc");
        check_eq("DF cleared by popf behind std", v & FL_DF, 0);
        asm volatile("pushl $0x402\n\tpopfl\n\tpushl $2\n\tpopfl\n\tpushfl\n\tpopl %0\n\tcld"
                     : "=r"(v)
                     :
                     : "memory", "cc");
        check_eq("DF cleared by popf behind popf", v & FL_DF, 0);
        asm volatile("cld\n\tpushfl\n\tpushl %%cs\n\tpushl $1f\n\tstd\n\tiret\n1:\tpushfl\n\tpopl %0\n\tcld"
                     : "=r"(v)
                     :
                     : "memory", "cc");
        check_eq("DF cleared by iret", v & FL_DF, 0);
    }
    asm volatile("stc\n\tverw %w1\n\tpushl $2\n\tpopfl\n\tpushfl\n\tpopl %0"
                 : "=r"(v)
                 : "r"(0x10)
                 : "memory", "cc");
    check_eq("verw before popf", v & ARITH, 0);
    asm volatile("stc\n\tverw %w1\n\tpushfl\n\tpopl %0\n\tpushl $2\n\tpopfl"
                 : "=r"(v)
                 : "r"(0)
                 : "memory", "cc");
    check_eq("verw of a null selector", v & (FL_ZF | FL_CF), FL_CF);
    asm volatile("pushl %%ds\n\tcld\n\tpushl %%es\n\tleal (%%esi), %%esi\n\tpushfl\n\tpushl $5\n\tpopl "
                 "%0\n\taddl $12, %%esp"
                 : "=r"(v)
                 :
                 : "memory", "cc");
    check_eq("pushes of segments and flags", v, 5);
    asm volatile("pushl $2\n\tpopfl\n\tstc\n\tpushfl\n\tpopl %0" : "=r"(v) : : "memory", "cc");
    check_eq("stc", v & ARITH, FL_CF);
    asm volatile("movb $0xff, %%ah\n\tsahf\n\tmovb $0, %%ah\n\tlahf\n\tmovzbl %%ah, %0"
                 : "=r"(v)
                 :
                 : "eax", "cc");
    check_eq("sahf and lahf", v, 0xd7);

    check_eq("pushf at cpl 3 sees IF", run_user(user_pushf, 0, FL_IF) & (FL_IF | FL_IOPL3), FL_IF);
    check_eq("pushf at cpl 3 sees IOPL", run_user(user_pushf, 0, FL_IOPL3) & (FL_IF | FL_IOPL3), FL_IOPL3);
    check_eq("pushf at cpl 3 sees no host flags", run_user(user_pushf, 0, 0) & ~(u32)ARITH, 2);
    check_eq("popf at cpl 3 leaves IF set", run_user(user_popf, 2, FL_IF) & FL_IF, FL_IF);
    check_eq("popf at cpl 3 leaves IF clear", run_user(user_popf, FL_IF | 2, 0) & FL_IF, 0);
    check_eq("popf at cpl 3 leaves IOPL", run_user(user_popf, FL_IOPL3 | 2, 0) & FL_IOPL3, 0);
    check_eq("popf at cpl 3 sets NT, AC, ID, DF",
             run_user(user_popf, FL_NT | FL_AC | FL_ID | FL_DF | 2, 0) & (FL_NT | FL_AC | FL_ID | FL_DF),
             FL_NT | FL_AC | FL_ID | FL_DF);
    check_eq("popf at cpl 3, IOPL 3, changes IF", run_user(user_popf, FL_IOPL3 | 2, FL_IOPL3 | FL_IF) & FL_IF,
             0);
    check_eq("but IOPL it does not", run_user(user_popf, 2, FL_IOPL3) & FL_IOPL3, FL_IOPL3);
    check_eq("popfw at cpl 3 leaves IF", run_user(user_popfw, 0xed7, 0) & (FL_IF | ARITH | FL_DF),
             ARITH | FL_DF);
    check_eq("cli at cpl 3", run_user(user_cli, 0, FL_IF), FAULTED(V_GP));
    check_eq("cli at cpl 3, IOPL 3", run_user(user_cli, 0, FL_IF | FL_IOPL3) & FL_IF, 0);
    check_eq("sti at cpl 3", run_user(user_sti, 0, 0), FAULTED(V_GP));
    check_eq("sti at cpl 3, IOPL 3", run_user(user_sti, 0, FL_IOPL3) & FL_IF, FL_IF);
    check_eq("iret at cpl 3 leaves IF and IOPL",
             run_user(user_iret, FL_IF | FL_IOPL3 | ARITH | 2, 0) & (FL_IF | FL_IOPL3 | ARITH), ARITH);
    check_eq("iret at cpl 3, IOPL 3, changes IF",
             run_user(user_iret, FL_IF | 2, FL_IOPL3) & (FL_IF | FL_IOPL3), FL_IF | FL_IOPL3);
    check_eq("iret at cpl 3 does not set VM", run_user(user_iret, FL_VM | 2, 0) & FL_VM, 0);
    check_eq("the kernel's flags are untouched", read_flags() & ~(u32)ARITH, 2);
}
