/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Odds and ends: cpuid, time stamp counter, model-specific registers, cmpxchg8b, enter, xlat, prefixes, CMOS.
 */
#include "kernel.h"

static u64 rdtsc(void)
{
    u64 t;
    asm volatile("rdtsc" : "=A"(t));
    return t;
}

static u32 user_rdtsc(u32 arg)
{
    u64 a = rdtsc(), b = rdtsc();
    return b >= a ? arg : 0;
}

static u32 cmos(u8 reg)
{
    outb(0x70, reg);
    return inb(0x71);
}

void test_misc(void)
{
    u32 a, b, c, d, v;
    struct {
        u32 b, d, c, zero;
    } vendor;
    cpuid(0, &a, &vendor.b, &vendor.c, &vendor.d);
    check("cpuid has leaf 1", a >= 1);
    vendor.zero = 0;
    puts("# ");
    puts((const char *)&vendor);
    cpuid(1, &a, &b, &c, &d);
    puts(" signature ");
    put_hex(a);
    puts(" features ");
    put_hex(d);
    puts("\n");
    check("features: fpu, tsc, msr, cx8", (d & 0x131) == 0x131);
    u64 t0 = rdtsc(), t1 = t0;
    bool good = true;
    for (u32 i = 0; i < 10000; i++) {
        u64 t = rdtsc();
        good = good && t >= t1;
        t1 = t;
    }
    check("the time stamp counter goes forward", good && t1 > t0);
    check_eq("rdtsc at cpl 3", run_user(user_rdtsc, 9, 0), 9);
    write_cr4(read_cr4() | 4);
    check_eq("rdtsc at cpl 3 with CR4.TSD", run_user(user_rdtsc, 9, 0), FAULTED(V_GP));
    write_cr4(read_cr4() & ~4u);
    asm volatile("wrmsr" : : "c"(0x10), "a"(0), "d"(0));
    /* TCG ignores the write. */
    check_tcg_gap("the counter can be written", rdtsc() < 0x100000000ull);

    u64 m = 0x1122334455667788ull;
    u8 z;
    a = 0x55667788, d = 0x11223344;
    asm volatile("lock cmpxchg8b %1\n\tsetz %0"
                 : "=q"(z), "+m"(m), "+a"(a), "+d"(d)
                 : "b"(0xaaaabbbb), "c"(0xccccdddd)
                 : "cc", "memory");
    check("cmpxchg8b equal", z && m == 0xccccddddaaaabbbbull);
    asm volatile("cmpxchg8b %1\n\tsetz %0"
                 : "=q"(z), "+m"(m), "+a"(a), "+d"(d)
                 : "b"(1), "c"(2)
                 : "cc", "memory");
    check("cmpxchg8b different", !z && m == 0xccccddddaaaabbbbull && a == 0xaaaabbbb && d == 0xccccdddd);
    CHECK_FAULT("cmpxchg8b of a register", V_UD, 0, ".byte 0x0f, 0xc7, 0xc8", ::);

    static const u8 xlat_table[256] = {[7] = 0x77};
    asm volatile("xlatb" : "=a"(v) : "0"(0x12345607), "b"(xlat_table) : "memory");
    check_eq("xlat", v, 0x12345677);
    asm volatile(
        "movl %%esp, %%ecx\n\tpushl %%ebp\n\tmovl %%esp, %%edx\n\tmovl %%edx, %%ebp\n\tenter $32, $0\n\t"
        "movl %%ebp, %0\n\tsubl %%esp, %0\n\tsubl %%ebp, %%edx\n\tmovl %%edx, %1\n\tleave\n\tpopl %%ebp"
        : "=&a"(v), "=&b"(b)
        :
        : "ecx", "edx", "memory", "cc");
    check("enter and leave", v == 32 && b == 4);
    asm volatile("pushl %%ebp\n\tmovl %%esp, %%ebp\n\tpushl $0x11\n\tpushl $0x22\n\tenter $8, $3\n\tmovl "
                 "-4(%%ebp), %0\n\tmovl -8(%%ebp), %1\n\tmovl -12(%%ebp), %2\n\t"
                 "subl %%ebp, %2\n\tleave\n\taddl $8, %%esp\n\tpopl %%ebp"
                 : "=&a"(v), "=&b"(b), "=&c"(c)
                 :
                 : "edx", "memory", "cc");
    check("enter with nesting", v == 0x11 && b == 0x22 && c == 0);
    asm volatile("movl %%esp, %%ecx\n\tpushl %%esp\n\tpopl %0\n\tsubl %%ecx, %0"
                 : "=&a"(v)
                 :
                 : "ecx", "memory", "cc");
    check_eq("push esp pushes the old value", v, 0);
    asm volatile("movl %%esp, %%ecx\n\tpushl $0x5a5a\n\tmovl %%esp, %%edx\n\tpopl %%esp\n\tmovl %%esp, "
                 "%0\n\tmovl %%ecx, %%esp"
                 : "=&a"(v)
                 :
                 : "ecx", "edx", "memory");
    check_eq("pop esp", v, 0x5a5a);
    asm volatile("pushl $0x1111\n\tpushl $0x2222\n\tpushl $0x5678\n\tpopl (%%esp)\n\tpopl %0\n\tpopl %1"
                 : "=&a"(v), "=&b"(b)
                 :
                 : "memory");
    check("pop to memory addresses with the new esp", v == 0x5678 && b == 0x1111);
    asm volatile("pushw $-2\n\tpushw $0x1234\n\tpopl %0" : "=r"(v) : : "memory");
    check_eq("16-bit pushes", v, 0xfffe1234);
    asm volatile("pushl $-3\n\tpopl %0" : "=r"(v) : : "memory");
    check_eq("push of a sign-extended byte", v, (u32)-3);
    asm volatile("movl $0x12345678, %0\n\tmovw $0x9abc, %w0" : "=r"(v));
    check_eq("16-bit moves leave the upper half", v, 0x12349abc);
    u32 word = 0x11111111;
    asm volatile("addr16 movl 0x9200, %0" : "=r"(v) : : "memory");
    *(volatile u32 *)0x9200 = 0xfeed;
    asm volatile("movl $0x7fff0200, %%ebx\n\tmovl $0x7fff9000, %%esi\n\taddr16 movl (%%bx,%%si), %0"
                 : "=&a"(v)
                 :
                 : "ebx", "esi", "memory");
    check_eq("16-bit addressing", v, 0xfeed);
    asm volatile(
        "movl $3, %%edx\n\tbtsl %%edx, %0\n\tmovl $-1, %%edx\n\tleal %0, %%ecx\n\tbtl %%edx, 4(%%ecx)"
        : "+m"(word)
        :
        : "ecx", "edx", "cc");
    check_eq("bts of memory", word, 0x11111119);
    u32 bits[4] = {0};
    asm volatile("btsl %1, %0" : "+m"(bits) : "r"(97) : "cc");
    check_eq("bts beyond the word", bits[3], 2);
    asm volatile("btsl %1, (%0)" : : "r"(bits + 3), "r"(-64 + 5) : "memory", "cc");
    check_eq("bts before the word", ((volatile u32 *)bits)[1], 0x20);
    CHECK_FAULT("an undefined opcode", V_UD, 0, ".byte 0x0f, 0xff, 0xc0", ::);
    CHECK_FAULT("mov from segment register 6", V_UD, 0, ".byte 0x8c, 0xf0", ::);
    CHECK_FAULT("a group with no meaning", V_UD, 0, ".byte 0xfe, 0xd0", ::);
    CHECK_FAULT("lea of a register", V_UD, 0, ".byte 0x8d, 0xc0", ::);
    check("cmos seconds are bcd", (cmos(0) & 15) < 10 && (cmos(0) >> 4) < 6);
    check("cmos battery", cmos(0x0d) & 0x80);
    outb(0x70, 0x50);
    outb(0x71, 0x3c);
    check_eq("cmos memory", cmos(0x50), 0x3c);
    asm volatile(
        "movl $0x1f0000, %%ecx\n1:\tpushl %%ecx\n\tpopl %%eax\n\tdecl %%ecx\n\tjnz 1b\n\tmovl %%eax, %0"
        : "=r"(v)
        :
        : "eax", "ecx", "cc", "memory");
    check_eq("two million rounds", v, 1);
}
