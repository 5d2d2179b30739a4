/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPL 3: entering by iret and sysexit, coming back by int 0x80 and sysenter, what is refused there, I/O
 * rights. */
#include "kernel.h"

static u32 sum_call(struct frame *f)
{
    return f->eax + f->ebx * 2 + f->ecx * 3 + f->edx * 5 + f->esi * 7 + f->edi * 11;
}

static u32 user_calls(u32 n)
{
    u32 sum = 0;
    for (u32 i = 0; i < n; i++) {
        u32 r;
        asm volatile("int $0x80" : "=a"(r) : "a"(1), "b"(i), "c"(3), "d"(4), "S"(5), "D"(6) : "memory");
        sum += r;
    }
    return sum;
}

static u32 user_selectors(u32 which)
{
    u32 cs, ss, ds, esp;
    asm volatile("movl %%cs, %0\n\tmovl %%ss, %1\n\tmovl %%ds, %2\n\tmovl %%esp, %3"
                 : "=r"(cs), "=r"(ss), "=r"(ds), "=r"(esp));
    return which == 0 ? cs : which == 1 ? ss : which == 2 ? ds : (u32)(esp < (u32)user_stack_top);
}

#define PRIVILEGED(X)                                                                                        \
    X(hlt, "hlt")                                                                                            \
    X(cli, "cli")                                                                                            \
    X(sti, "sti")                                                                                            \
    X(lgdt, "lgdt (%esp)")                                                                                   \
    X(lidt, "lidt (%esp)")                                                                                   \
    X(lldt, "lldt %ax")                                                                                      \
    X(ltr, "ltr %ax")                                                                                        \
    X(lmsw, "lmsw %ax")                                                                                      \
    X(clts, "clts")                                                                                          \
    X(mov_from_cr0, "movl %cr0, %eax")                                                                       \
    X(mov_to_cr3, "movl %eax, %cr3")                                                                         \
    X(mov_from_dr7, "movl %dr7, %eax")                                                                       \
    X(mov_to_dr0, "movl %eax, %dr0")                                                                         \
    X(invlpg, "invlpg (%esp)")                                                                               \
    X(invd, "invd")                                                                                          \
    X(wbinvd, "wbinvd")                                                                                      \
    X(rdmsr, "rdmsr")                                                                                        \
    X(wrmsr, "wrmsr")                                                                                        \
    X(in_imm, "inb $0x60, %al")                                                                              \
    X(in_dx, "movw $0x60, %dx; inl %dx, %eax")                                                               \
    X(out_imm, "outb %al, $0x80")                                                                            \
    X(insb, "movw $0x60, %dx; insb")                                                                         \
    X(outsb, "movw $0x80, %dx; outsb")                                                                       \
    X(sysexit, "sysexit")
#define X(name, text)                                                                                        \
    static u32 user_##name(u32 arg)                                                                          \
    {                                                                                                        \
        asm volatile(text);                                                                                  \
        return arg;                                                                                          \
    }
PRIVILEGED(X)
#undef X

static void refused(void)
{
#define X(name, text)                                                                                        \
    check(#name " at cpl 3", run_user(user_##name, 0, 0) == FAULTED(V_GP) && last.error == 0 &&              \
                                 last.cs == SEL_UCODE && (last.ss == SEL_UDATA));
    PRIVILEGED(X)
#undef X
}

static u32 user_out(u32 port)
{
    outb((u16)port, '.');
    return 7;
}

static u32 user_outw(u32 port)
{
    asm volatile("outw %w0, %w1" : : "a"(0x2e2e), "d"(port));
    return 7;
}

static void io_rights(void)
{
    check_eq("out refused by the bitmap", run_user(user_out, 0xe9, 0), FAULTED(V_GP));
    tss.bitmap[0xe9 / 8] &= (u8) ~(1 << (0xe9 % 8));
    check_eq("out allowed by the bitmap", run_user(user_out, 0xe9, 0), 7);
    check_eq("a word needs both ports' bits", run_user(user_outw, 0xe9, 0), FAULTED(V_GP));
    check_eq("its error code", last.error, 0);
    tss.bitmap[0xe9 / 8] |= (u8)(1 << (0xe9 % 8));
    check_eq("out refused again", run_user(user_out, 0xe9, 0), FAULTED(V_GP));
    check_eq("out with IOPL 3", run_user(user_out, 0xe9, FL_IOPL3), 7);
    u16 keep = tss.iomap;
    tss.iomap = 0xffff;
    check_eq("no bitmap: refused", run_user(user_out, 0xe9, 0), FAULTED(V_GP));
    tss.iomap = keep;
    puts("\n");
}

/* ---- sysenter ---- */
static volatile u32 entry_cs, entry_ss, entry_flags, entry_count;
extern u8 user_sysenter_entry[], user_sysenter_return[], user_sysenter_code[];
asm(".text\n"
    "user_sysenter_entry:\n\t"
    "pushfl\n\tpopl entry_flags\n\tmovl %cs, %eax\n\tmovl %eax, entry_cs\n\tmovl %ss, %eax\n\tmovl %eax, "
    "entry_ss\n\t"
    "incl entry_count\n\tmovl %ebp, %ecx\n\tmovl $user_sysenter_return, %edx\n\tmovl $0x5e, %eax\n\tsysexit\n"
    /* u32 user_sysenter_code(u32 n): n system calls. */
    "user_sysenter_code:\n\tpushl %ebx\n\tmovl 8(%esp), %ebx\n\tpushl %ebp\n\tmovl %esp, %ebp\n"
    "1:\tsysenter\n"
    "user_sysenter_return:\n\tdecl %ebx\n\tjnz 1b\n\tpopl %ebp\n\tpopl %ebx\n\tmovl %cs, %ecx\n\tshll $8, "
    "%ecx\n\t"
    "orl %ecx, %eax\n\tmovl %ss, %ecx\n\tshll $16, %ecx\n\torl %ecx, %eax\n\tret");

static void write_msr(u32 msr, u32 v)
{
    asm volatile("wrmsr" : : "c"(msr), "a"(v), "d"(0));
}

static u32 read_msr(u32 msr)
{
    u32 v, hi;
    asm volatile("rdmsr" : "=a"(v), "=d"(hi) : "c"(msr));
    return v;
}

static void fast_calls(void)
{
    static u8 stack[4096] __attribute__((aligned(16)));
    if (!(cpu_features() & FEAT_SEP))
        return;
    write_msr(0x174, 0);
    u32 (*code)(u32) = (u32(*)(u32))user_sysenter_code;
    check_eq("sysenter with a null selector", run_user(code, 1, 0), FAULTED(V_GP));
    write_msr(0x174, SEL_KCODE);
    write_msr(0x175, (u32)stack + sizeof(stack));
    write_msr(0x176, (u32)user_sysenter_entry);
    check("sysenter registers read back",
          read_msr(0x174) == SEL_KCODE && read_msr(0x176) == (u32)user_sysenter_entry);
    check_eq("sysenter and sysexit", run_user(code, 1, FL_IF), 0x5e | SEL_UCODE << 8 | SEL_UDATA << 16);
    check("selectors inside", (entry_cs & 0xffff) == SEL_KCODE && (entry_ss & 0xffff) == SEL_KDATA);
    check("sysenter clears IF", !(entry_flags & FL_IF));
    entry_count = 0;
    run_user(code, 1000, 0);
    check_eq("a thousand of them", entry_count, 1000);
    CHECK_FAULT("rdmsr of an unknown register", peer_is_qemu ? V_NONE : V_GP, peer_is_qemu ? 0xbad : 0,
                "rdmsr",
                :
                : "c"(0x12345678)
                : "eax", "edx");
}

/* The same way again and again while what decides it changes: the registers, flags, the ring it starts from.
 */
extern u8 user_sysenter_nested[], user_sysenter_flags[], user_sysenter_flags_return[], user_sysenter_plain[];
asm(".text\n"
    /* every other entry enters once more, from ring 0 */
    "user_sysenter_nested:\n\tincl entry_count\n\ttestl $1, entry_count\n\tjz 1f\n\tsysenter\n"
    "1:\tmovl %cs, %eax\n\tmovl %eax, entry_cs\n\tmovl %ebp, %ecx\n\tmovl $user_sysenter_return, %edx\n\t"
    "movl $0x5f, %eax\n\tsysexit\n"
    "user_sysenter_plain:\n\tpushfl\n\tpopl entry_flags\n\tsysexit\n"
    /* u32 user_sysenter_flags(u32 flags): the flags after a system call that comes with them; 8 times, then a
     * word is read from where they do not belong */
    "user_sysenter_flags:\n\tpushl %ebp\n\tpushl %ebx\n\tmovl 12(%esp), %eax\n\tmovl $8, %ebx\n"
    "2:\tmovl %esp, %ecx\n\tmovl $user_sysenter_flags_return, %edx\n\tpushl %eax\n\tpopfl\n\tsysenter\n"
    "user_sysenter_flags_return:\n\tpushfl\n\tpopl %ebp\n\tpushl $2\n\tpopfl\n\tdecl %ebx\n\tjnz 2b\n\t"
    "pushl %ebp\n\tandl $~0x100, (%esp)\n\tpopfl\n\tmovl -5(%esp), %edx\n\tpushl $2\n\tpopfl\n\t"
    "movl %ebp, %eax\n\tpopl %ebx\n\tpopl %ebp\n\tret");

static u32 user_cli_sti(u32 arg)
{
    asm volatile("cli\n\tsti" : : : "memory");
    return arg;
}

static void fast_calls_again(void)
{
    static u8 stack[4096] __attribute__((aligned(16)));
    u32 (*code)(u32) = (u32(*)(u32))user_sysenter_code;
    u32 (*with_flags)(u32) = (u32(*)(u32))user_sysenter_flags;
    const u32 arith = FL_CF | FL_ZF | FL_SF | FL_OF;

    if (!(cpu_features() & FEAT_SEP))
        return;
    write_msr(0x174, SEL_KCODE);
    write_msr(0x175, (u32)stack + sizeof(stack));
    write_msr(0x176, (u32)user_sysenter_nested);
    entry_count = 0;
    check_eq("sysenter within sysenter", run_user(code, 40, FL_IF), 0x5f | SEL_UCODE << 8 | SEL_UDATA << 16);
    check_eq("as often as it should", entry_count, 80);
    write_msr(0x176, (u32)user_sysenter_entry);
    check_eq("another entry", run_user(code, 40, FL_IF), 0x5e | SEL_UCODE << 8 | SEL_UDATA << 16);
    /* Selectors that name nothing: the segments are what they are (SDM vol. 2, SYSENTER). The way back is int
     * 0x80, which does not look at them either. */
    for (u32 k = 0; k < 3; k++) {
        write_msr(0x174, 0x60);
        check_eq("another selector", run_user(code, 40, 0), 0x5e | 0x73 << 8 | 0x7b << 16);
        check("inside as well", (entry_cs & 0xffff) == 0x60 && (entry_ss & 0xffff) == 0x68);
        write_msr(0x174, SEL_KCODE);
        check_eq("and back", run_user(code, 40, 0), 0x5e | SEL_UCODE << 8 | SEL_UDATA << 16);
        check("and back inside", (entry_cs & 0xffff) == SEL_KCODE && (entry_ss & 0xffff) == SEL_KDATA);
    }
    write_msr(0x174, 0);
    check_eq("a null selector when it was known", run_user(code, 1, 0), FAULTED(V_GP));
    write_msr(0x174, SEL_KCODE);

    write_msr(0x176, (u32)user_sysenter_plain);
    for (u32 k = 0; k < 2; k++) {
        check_eq("flags live through both ways", run_user(with_flags, arith | 2, 0) & 0xfff, arith | 2);
        check_eq("and inside", entry_flags & 0xfff, arith | 2);
        check_eq("DF, too", run_user(with_flags, FL_DF | FL_CF | 2, 0) & 0xfff, FL_DF | FL_CF | 2);
        check_eq("no flags", run_user(with_flags, 2, 0) & 0xfff, 2);
        check_eq("ID and NT", run_user(with_flags, FL_ID | FL_NT | 2, 0) & (FL_ID | FL_NT), FL_ID | FL_NT);
        asm volatile("movl %%cr0, %%eax\n\torl $0x40000, %%eax\n\tmovl %%eax, %%cr0" : : : "eax");
        check_eq("AC without a system call in between", run_user(with_flags, 2, 0) & FL_AC, 0);
        check_tcg_gap("AC through both ways", run_user(with_flags, FL_AC | 2, 0) == FAULTED(V_AC));
        asm volatile("movl %%cr0, %%eax\n\tandl $~0x40000, %%eax\n\tmovl %%eax, %%cr0" : : : "eax");
        check_eq("AC without AM", run_user(with_flags, FL_AC | 2, 0) & FL_AC, FL_AC);
        check_eq("IOPL through both ways", run_user(with_flags, 2, FL_IOPL3 | FL_IF) & FL_IOPL3, FL_IOPL3);
        check_eq("IOPL 3 lets cli", run_user(user_cli_sti, 7, FL_IOPL3 | FL_IF), 7);
        check_eq("IOPL 0 through both ways", run_user(with_flags, 2, 0) & FL_IOPL3, 0);
        check_eq("IOPL 0 does not", run_user(user_cli_sti, 7, FL_IF), FAULTED(V_GP));
    }
}

/* ---- return to an outer ring with bad selectors: the iret faults inside ---- */
static void bad_returns(void)
{
    CHECK_FAULT("iret outwards with a null ss", V_GP, 0,
                "pushl $0\n\tpushl %%esp\n\tpushl $2\n\tpushl %0\n\tpushl $0\n\tiret",
                :
                : "i"(SEL_UCODE));
    CHECK_FAULT("iret outwards with a kernel ss", V_GP, SEL_KDATA,
                "pushl %1\n\tpushl %%esp\n\tpushl $2\n\tpushl %0\n\tpushl $0\n\tiret",
                :
                : "i"(SEL_UCODE), "i"(SEL_KDATA));
    CHECK_FAULT("iret inwards is refused", V_GP, SEL_KCODE, "pushl $2\n\tpushl %0\n\tpushl $0\n\tiret",
                :
                : "i"(SEL_KCODE | 1));
}

static u32 user_fs(u32 arg)
{
    u32 fs;
    (void)arg;
    asm volatile("movl %%fs, %0" : "=r"(fs));
    return fs;
}

static u32 user_load_kernel_ds(u32 arg)
{
    asm volatile("movl %0, %%fs" : : "r"(SEL_KDATA));
    return arg;
}

static u32 user_add(u32 at)
{
    for (u32 i = 0; i < 100; i++)
        ++*(volatile u32 *)at;
    return *(volatile u32 *)at;
}

/* A program's memory, in two address spaces in turn, seen by it and by the kernel: whoever's pages the engine
 * keeps at hand, each meets its own. And at addresses so low that a host maps nothing there. */
static void programs_memory(u32 turns)
{
    static u32 dir[1024] __attribute__((aligned(4096))), table[1024] __attribute__((aligned(4096)));
    static const u32 low[] = {0x5000, 0xfffe, 0x10000, 0x1fffe};
    volatile u32 *mine = (volatile u32 *)WINDOW_AT(0);
    bool good = true;

    paging_on();
    memcpy(dir, page_dir, sizeof(dir));
    table[0] = ARENA(1) | P_U | P_W | P_P;
    dir[WINDOW >> 22] = (u32)table | P_U | P_W | P_P;
    *(u32 *)ARENA(0) = *(u32 *)ARENA(1) = 0;
    for (u32 i = 0; i < turns; i++) {
        write_cr3(i & 1 ? (u32)dir : (u32)page_dir);
        u32 want = (i / 2) * 101;
        good =
            good && *mine == want && run_user(user_add, WINDOW_AT(0), 0) == want + 100 && *mine == want + 100;
        good = good && ++*mine == want + 101 && *(u32 *)ARENA(i & 1) == want + 101;
    }
    check("two programs' memory at one address", good);
    write_cr3((u32)page_dir);
    for (u32 i = 0; i < sizeof(low) / sizeof(low[0]); i++) {
        u32 was = *(volatile u32 *)low[i];
        check_eq("a program at low addresses", run_user(user_add, low[i], 0), was + 100);
        check_eq("as the kernel sees it", *(volatile u32 *)low[i], was + 100);
        *(volatile u32 *)low[i] = was;
    }
    paging_off();
}

/* Operands whose register and displacement meet on the other side of 4 GiB, again and again: behind it, */
static u32 user_beyond(u32 at)
{
    u32 sum = 0;
    for (u32 i = 0; i < 10; i++)
        asm volatile("addl 0x7fff0000(%1), %0\n\tincl 0x7fff0000(%1)" : "+r"(sum) : "r"(at - 0x7fff0000));
    return sum;
}

/* before it, near and far, */
static u32 user_before(u32 at)
{
    u32 sum = 0;
    for (u32 i = 0; i < 10; i++)
        asm volatile("addl -0x70(%1), %0\n\tincl -0x8000(%2)\n\taddl -0x7fff0000(%3), %0"
                     : "+r"(sum)
                     : "r"(at + 0x70), "r"(at + 0x8000), "r"(at + 0x7fff0000));
    return sum;
}

/* without a register, */
static u32 user_absolute(u32 arg)
{
    u32 sum = 0;
    for (u32 i = 0; i < 10; i++)
        asm volatile("addl 0xfffff010, %0\n\tincl 0xfffff010" : "+r"(sum));
    return sum + arg;
}

/* and a stack that begins at 0. */
static u32 user_stack_of_0(u32 arg)
{
    u32 got, esp;
    asm volatile(
        "movl %%esp, %1\n\txorl %%esp, %%esp\n\tpushl %2\n\tpushl %2\n\tincl (%%esp)\n\tpopl %0\n\tpopl "
        "%2\n\taddl %2, %0\n\tmovl %1, %%esp"
        : "=&r"(got), "=&r"(esp), "+r"(arg));
    return got;
}

static void wrapping(void)
{
    static u32 dir[1024] __attribute__((aligned(4096))), table[1024] __attribute__((aligned(4096)));
    volatile u32 *at = (volatile u32 *)(ARENA(2) + 0x10);

    /* A new program, and time has passed: it gets the engine's best place. */
    paging_on();
    timer_on(1000);
    asm volatile("sti");
    while (ticks < 3)
        ;
    asm volatile("cli");
    timer_off();
    memcpy(dir, page_dir, sizeof(dir));
    write_cr3((u32)dir);
    *at = 5;
    check_eq("operands that wrap at 4 GiB", run_user(user_beyond, (u32)at, 0), 95);
    check_eq("and what was stored", *at, 15);
    check_eq("one that wraps to no page", run_user(user_beyond, 0x7fe00000, 0), FAULTED(V_PF));
    check("its cr2 and error", last.cr2 == 0x7fe00000 && last.error == 4);
    for (u32 mapped = 0; mapped < 2; mapped++) {
        table[1023] = mapped ? ARENA(2) | P_U | P_W | P_P : 0;
        dir[1023] = (u32)table | P_U | P_W | P_P;
        write_cr3((u32)dir);
        *at = 7;
        u32 want = mapped ? 10 * 14 + 45 + 55 : FAULTED(V_PF);
        check_eq("operands that wrap below 0", run_user(user_before, 0xfffff010, 0), want);
        check("their cr2", mapped || (last.cr2 == 0xfffff010 && last.error == 4));
        check_eq("an address at the end", run_user(user_absolute, 1, 0),
                 mapped ? 10 * 17 + 45 + 1 : FAULTED(V_PF));
        check_eq("a stack that begins at 0", run_user(user_stack_of_0, 33, 0), mapped ? 67 : FAULTED(V_PF));
        check("its cr2", mapped || (last.cr2 == 0xfffffffc && last.error == 6));
    }
    paging_off();
}

void test_user(void)
{
    syscall_hook = sum_call;
    check_eq("cs at cpl 3", run_user(user_selectors, 0, 0), SEL_UCODE);
    check_eq("ss at cpl 3", run_user(user_selectors, 1, 0), SEL_UDATA);
    check_eq("ds at cpl 3", run_user(user_selectors, 2, 0), SEL_UDATA);
    check_eq("the user's stack", run_user(user_selectors, 3, 0), 1);
    u32 want = 0;
    for (u32 i = 0; i < 500; i++)
        want += 1 + i * 2 + 9 + 20 + 35 + 66;
    check_eq("500 system calls with arguments", run_user(user_calls, 500, 0), want);
    check_eq("and with interrupts on", run_user(user_calls, 500, FL_IF), want);
    syscall_hook = NULL;
    refused();
    io_rights();
    fast_calls();
    fast_calls_again();
    bad_returns();
    programs_memory(storm_mode == 4 ? 4 : 200);
    wrapping();
    /* A return to an outer ring drops kernel data segments (SDM vol. 3, 5.8.3... "RET", "IRET"). */
    asm volatile("movl %0, %%fs" : : "r"(SEL_KDATA));
    check_eq("iret outwards nulls kernel segments", run_user(user_fs, 0, 0) & 0xffff, 0);
    asm volatile("movl %0, %%fs" : : "r"(SEL_UDATA));
    check_eq("and keeps the user's", run_user(user_fs, 0, 0) & 0xffff, SEL_UDATA);
    asm volatile("movl %0, %%fs" : : "r"(0));
    check_eq("loading a kernel segment at cpl 3", run_user(user_load_kernel_ds, 0, 0), FAULTED(V_GP));
    check_eq("its selector in the error code", last.error, SEL_KDATA);
}
