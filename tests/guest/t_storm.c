/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Computations under a storm of interrupts: what an interrupt at any boundary must leave as it was.
 *
 * Each computation runs twice, without interrupts and with them, and must give the same registers, flags and
 * memory. The handler is not polite: it checks its frame, overwrites every register, all flags and the whole
 * x87/SSE state and puts them back, and never runs within itself. The interrupts come from the timer; with
 * "storm=fragment" or "storm=instruction" on the command line from IRQ 5, which novt's --kick=...,irq=5
 * raises at every boundary of that kind: then each one must have been hit. With "storm=nmi" it is NMIs that
 * --kick=instruction,nmi raises, a second one within each first one's handler. "storm=host" is for
 * --kick=host,irq=5: one while each host instruction runs.
 */
#include "kernel.h"

#define SLOTS 4096

/* Written by the handler. */
static volatile u32 storm_count, storm_bad, storm_depth, storm_where[SLOTS];
static volatile u32 storm_cs, storm_esp; /* what the frame must show; storm_esp 0: not known */
static u8 storm_fpu[512] __attribute__((aligned(16)));
static u8 storm_junk[512] __attribute__((aligned(16)));
static u32 storm_vector, storm_irq;
static bool storm_all; /* an interrupt at every instruction */
static bool storm_forced, storm_nmi;

extern u8 storm_isr[];
asm(".text\nstorm_isr:\n\t"
    "pushal\n\tpushl %ds\n\tpushl %es\n\t"
    "movl $0x10, %eax\n\tmovl %eax, %ds\n\tmovl %eax, %es\n\t"
    /* 40(%esp): eip, cs, eflags */
    "incl storm_depth\n\tcmpl $1, storm_depth\n\tje 7f\n\tincl storm_bad\n7:\t"
    "fxsave storm_fpu\n\tfxrstor storm_junk\n\t"
    "movl storm_count, %eax\n\tandl $4095, %eax\n\tmovl 40(%esp), %ecx\n\tmovl %ecx, storm_where(, %eax, "
    "4)\n\t"
    "movl 44(%esp), %ecx\n\tcmpw storm_cs, %cx\n\tjne 8f\n\t"
    "testl $0x200, 48(%esp)\n\tjz 8f\n\t"
    "cmpl $0, storm_esp\n\tje 1f\n\tleal 52(%esp), %ecx\n\tsubl storm_esp, %ecx\n\tjz 1f\n"
    "8:\tincl storm_bad\n"
    "1:\tincl storm_count\n\t"
    "movb $0x20, %al\n\toutb %al, $0x20\n\t"
    "movl $-1, %eax\n\tmovl %eax, %ebx\n\tmovl %eax, %ecx\n\tmovl %eax, %edx\n\tmovl %eax, %esi\n\tmovl "
    "%eax, "
    "%edi\n\tmovl %eax, %ebp\n\t"
    "std\n\taddl $0x7fffffff, %eax\n\t"
    "decl storm_depth\n\tfxrstor storm_fpu\n\tpopl %es\n\tpopl %ds\n\tpopal\n\tiret\n");

static void source_on(void)
{
    if (!storm_forced)
        pit_start(4000);
    pic_mask((u16) ~(1u << storm_irq));
}

/* An edge that came meanwhile is taken here. */
static void source_off(void)
{
    asm volatile("cli");
    pic_mask(0xffff);
    if (!storm_forced) {
        pit_stop();
        pic_mask((u16) ~(1u << storm_irq));
        asm volatile("sti; nop; nop; cli");
        pic_mask(0xffff);
    }
}

static void storm_begin(u32 cs, u32 esp)
{
    idt[storm_vector] = make_gate(SEL_KCODE, (u32)storm_isr, ACC_INT32, 0);
    storm_cs = cs;
    storm_esp = esp;
    storm_count = storm_bad = 0;
    source_on();
}

/* Ends it and says whether it was one. */
static void storm_end(const char *name)
{
    asm volatile("cli");
    u32 n = storm_count, bad = storm_bad;
    source_off();
    check_eq(name, bad, 0);
    if (!n)
        check("and there were interrupts", false);
}

/* ---- straight lines: an interrupt before each instruction, none in a shadow ---- */

extern u8 line_first[], line_shadow1[], line_shadow2[], line_last[];

static u32 times_at(const u8 *eip)
{
    u32 n = 0;
    for (u32 i = 0; i < storm_count && i < SLOTS; i++)
        n += storm_where[i] == (u32)eip;
    return n;
}

static void line(void)
{
    u32 sum = 0, esp;
    asm volatile("movl %%esp, %0" : "=r"(esp));
    storm_begin(SEL_KCODE, 0);
    for (u32 round = 0; round < 400 && (storm_forced ? round < 2 : storm_count < 3); round++) {
        storm_count = 0;
        asm volatile(
            "movl %%ss, %%edx\n\tsti\n\tline_shadow1:\n\tmovl $1, %0\n"
            "line_first:\n\taddl $2, %0\n\tleal 1(%0), %%ecx\n\txorl %%ecx, %%ecx\n\tsbbl %%ecx, %%ecx\n\t"
            "movl %%edx, %%ss\nline_shadow2:\n\tincl %0\n\tpushl %0\n\tpopl %%eax\n\tjmp 1f\n\tincl %0\n"
            "1:\tmovl %%eax, %0\nline_last:\n\tcli"
            : "=r"(sum)
            :
            : "eax", "ecx", "edx", "memory", "cc");
    }
    bool inside = true, each = true;
    for (u32 i = 0; i < storm_count && i < SLOTS; i++)
        inside &= storm_where[i] >= (u32)line_first && storm_where[i] <= (u32)line_last;
    check_eq("a straight line's result", sum, 4);
    check("all interrupts came between its ends", inside);
    check("none behind sti", !times_at(line_shadow1));
    check("none behind mov ss", !times_at(line_shadow2));
    if (storm_all) {
        /* add, lea, xor, sbb, mov ss, (inc), push, pop, jmp, mov, cli */
        check_eq(storm_nmi ? "two at each instruction" : "one at each instruction", storm_count,
                 storm_nmi ? 20 : 10);
        for (u32 i = 0; i + 1 < storm_count; i++)
            each &= storm_nmi && !(i & 1) ? storm_where[i] == storm_where[i + 1]
                                          : storm_where[i] < storm_where[i + 1];
        check("in their order", each);
    }
    storm_count = 1; /* a timer may have been too slow for a line as short as this */
    storm_end("frames in a straight line");
}

/* ---- integer code ---- */

struct result {
    u32 eax, ebx, ecx, edx, esi, edi, ebp, flags;
    u8 mem[64];
};

static void integer(struct result *r, u32 rounds)
{
    memset(r, 0, sizeof(*r));
    static u32 out[8];
    static u8 *buffer, bytes[64];
    static u32 left;
    memset(bytes, 0, sizeof(bytes));
    buffer = bytes;
    left = rounds;
    asm volatile(
        "pushl %%ebp\n\tmovl $0x12345678, %%eax\n\tmovl $0x9abcdef0, %%ebx\n\tmovl $0x0fedcba9, %%ecx\n\t"
        "movl $0x87654321, %%edx\n\tmovl $7, %%esi\n\tmovl $3, %%edi\n\txorl %%ebp, %%ebp\n"
        "1:\taddl %%ebx, %%eax\n\tadcl %%ecx, %%ebx\n\tsbbl %%edx, %%ecx\n\trcll $3, %%edx\n\t"
        "rcrl $5, %%esi\n\tsetc %%al\n\tseto %%ah\n\tcmovcl %%eax, %%edi\n\tshldl $7, %%ebx, %%esi\n\t"
        "pushfl\n\tpopl %%ebp\n\tandl $0x8d5, %%ebp\n\txorl %%ebp, %%edi\n\t"
        "pushl %%eax\n\tpushl %%edx\n\tmovl $13, %%ebp\n\txorl %%edx, %%edx\n\tdivl %%ebp\n\t"
        "imull $31, %%edx, %%ebp\n\tpopl %%edx\n\tpopl %%eax\n\taddl %%ebp, %%edx\n\t"
        "call 2f\n\tjmp 4f\n2:\tpushl %%ecx\n\tandl $31, %%ecx\n\tmovl buffer_, %%ebp\n\t"
        "xorb %%al, (%%ebp, %%ecx)\n\tlock xaddl %%ebx, 32(%%ebp)\n\tincl 36(%%ebp)\n\t"
        "cmpxchgl %%edx, 40(%%ebp)\n\tbtsl %%ecx, 44(%%ebp)\n\tpopl %%ecx\n\tret\n"
        "4:\tbswap %%eax\n\tpushal\n\tpopal\n\tpushl %%eax\n\tandl $3, %%eax\n\tjmp *6f(, %%eax, 4)\n"
        "6:\t.long 7f, 8f, 9f, 7f\n7:\tincl %%esi\n8:\tdecl %%edi\n9:\tpopl %%eax\n\t"
        "decl left_\n\tjnz 1b\n\t"
        "movl %%eax, out_\n\tmovl %%ebx, out_+4\n\tmovl %%ecx, out_+8\n\tmovl %%edx, out_+12\n\t"
        "movl %%esi, out_+16\n\tmovl %%edi, out_+20\n\tmovl %%ebp, out_+24\n\taddl %%ebx, %%eax\n\t"
        "pushfl\n\tpopl out_+28\n\tpopl %%ebp\n\t"
        ".set buffer_, %c0\n\t.set left_, %c1\n\t.set out_, %c2"
        :
        : "i"(&buffer), "i"(&left), "i"(out)
        : "eax", "ebx", "ecx", "edx", "esi", "edi", "memory", "cc");
    memcpy(r, out, sizeof(out));
    memcpy(r->mem, bytes, sizeof(bytes));
    r->flags &= ~(u32)FL_IF;
}

static void clear(void *p, u32 bytes) /* few instructions, each of which may be interrupted */
{
    u32 c = bytes / 4;
    asm volatile("rep stosl" : "+c"(c), "+D"(p) : "a"(0) : "memory");
}

/* ---- strings, faults that are repaired, code that changes, floating point ---- */

static void strings(struct result *r, u32 rounds)
{
    u8 *a = arena, *b = arena + 4096 - 16;
    clear(arena, 3 * 4096);
    for (u32 n = 0; n < rounds; n++) {
        u32 c, d, s;
        for (u32 i = 0; i < 64; i++)
            a[i] = (u8)(i * 7 + n);
        c = 48, s = (u32)a, d = (u32)b; /* crosses a page */
        asm volatile("rep movsb" : "+c"(c), "+S"(s), "+D"(d) : : "memory", "cc");
        r->ecx += c;
        r->esi += s;
        r->edi += d;
        c = 12, d = (u32)b + 2048;
        asm volatile("rep stosl" : "+c"(c), "+D"(d) : "a"(0x01020304 * n) : "memory", "cc");
        c = 64, d = (u32)a;
        asm volatile("repne scasb" : "+c"(c), "+D"(d) : "a"(a[40]) : "memory", "cc");
        r->eax = r->eax * 31 + c;
        c = 48, s = (u32)a, d = (u32)b;
        b[33] ^= (u8)(n & 1);
        asm volatile("repe cmpsb\n\tpushfl\n\tpopl %3"
                     : "+c"(c), "+S"(s), "+D"(d), "=r"(r->flags)
                     :
                     : "memory", "cc");
        r->ebx = r->ebx * 31 + c;
        asm volatile("std\n\trep movsb\n\tcld" : "+c"(c), "+S"(s), "+D"(d) : : "memory", "cc");
    }
    r->flags &= ~(u32)FL_IF;
    memcpy(r->mem, b, 64);
}

static u32 storm_faults;

static void repair(struct frame *f)
{
    u32 page = (read_cr2() - WINDOW) >> 12;
    (void)f;
    storm_faults++;
    set_pte(page, ARENA(page) | P_U | P_W | P_P);
}

static void faulting(struct result *r, u32 rounds)
{
    clear(arena, sizeof(arena));
    for (u32 n = 0; n < rounds; n++) {
        for (u32 page = 8; page < 12; page++) {
            set_pte(page, n & 1 ? ARENA(page) | P_P : 0);
            invlpg(WINDOW_AT(page));
        }
        u32 s = WINDOW_AT(9) - 8, d = WINDOW_AT(10) - 6, c = 4;
        asm volatile(
            "movl %3, (%2)\n\tincl (%1)\n\trep movsl\n\tpushl -2(%2)\n\tpopl 4(%1)\n\tlock addl %3, 8(%1)"
            : "+c"(c), "+S"(s), "+D"(d)
            : "r"(0x11223344 + n)
            : "memory", "cc");
        r->esi ^= s;
        r->edi ^= d;
        r->eax = r->eax * 33 + *(volatile u32 *)WINDOW_AT(11) + ((volatile u32 *)WINDOW_AT(9))[1];
    }
    r->ebx = storm_faults;
    memcpy(r->mem, &arena[10 * 4096 - 32], 64);
}

static void changing(struct result *r, u32 rounds)
{
    /* mov eax, imm32; inc dword [next imm]; add edx, imm8; ret: changes the instruction behind the next */
    static const u8 code[] = {0xb8, 0, 0, 0, 0, 0xfe, 0x05, 0, 0, 0, 0, 0x83, 0xc2, 1, 0xc3};
    u8 *p = arena + 5 * 4096;
    memcpy(p, code, sizeof(code));
    *(u32 *)(p + 7) = (u32)(p + 13);
    u32 sum = 0, d = 0;
    for (u32 n = 0; n < rounds; n++) {
        *(volatile u32 *)(p + 1) = n * 3;
        u32 a;
        asm volatile("call *%2" : "=a"(a), "+d"(d) : "r"(p) : "memory", "cc");
        sum = sum * 5 + a;
    }
    r->eax = sum;
    r->edx = d;
}

static void floating(struct result *r, u32 rounds)
{
    static const double tenth = 0.1;
    static u16 status;
    static u32 integer_result, left;
    static u64 sse[2];
    left = rounds;
    asm volatile("fninit\n\tfld1\n\tfldpi\n\tfldz\n"
                 "1:\tfldl %4\n\tfadd %%st, %%st(1)\n\tfmul %%st(2), %%st\n\tfsqrt\n\tfxch %%st(3)\n\t"
                 "fsubp %%st, %%st(3)\n\tfcomi %%st(2), %%st\n\tfcmovb %%st(1), %%st\n\tfst %%st(4)\n\t"
                 "fabs\n\tdecl %3\n\tjnz 1b\n\tfxam\n\tfnstsw %0\n\tfstpl %1\n\tfistpl %2"
                 : "=m"(status), "=m"(*(double *)r->mem), "=m"(integer_result), "+m"(left)
                 : "m"(tenth)
                 : "memory", "cc");
    asm volatile("fstpl %0\n\tfninit" : "=m"(*(double *)(r->mem + 8)));
    r->eax = status;
    r->ebx = integer_result;
    if (cpu_features() & FEAT_SSE2) {
        u32 n = rounds;
        asm volatile("movsd %2, %%xmm0\n\tmovapd %%xmm0, %%xmm1\n\tpxor %%xmm2, %%xmm2\n1:\taddsd %2, "
                     "%%xmm0\n\tmulsd %%xmm0, %%xmm1\n\t"
                     "sqrtsd %%xmm1, %%xmm1\n\tpaddd %%xmm1, %%xmm2\n\tpshufd $0x4e, %%xmm2, %%xmm2\n\t"
                     "ucomisd %%xmm1, %%xmm0\n\tja 2f\n\txorps %%xmm1, %%xmm2\n2:\tdecl %1\n\tjnz 1b\n\t"
                     "movups %%xmm2, %0"
                     : "=m"(sse), "+r"(n)
                     : "m"(tenth)
                     : "memory", "cc");
        memcpy(r->mem + 16, sse, 16);
    }
}

/* ---- outer rings ---- */

static u32 user_work(u32 rounds)
{
    u32 h = 1, v[16];
    for (u32 i = 0; i < 16; i++)
        v[i] = i * 0x01010101u;
    for (u32 n = 0; n < rounds; n++)
        for (u32 i = 0; i < 16; i++) {
            h = h * 33 + v[(i + h) & 15];
            v[i] ^= h >> (n & 7);
            if (h & 0x100)
                asm volatile("pushl %%gs\n\tpopl %%eax\n\tint $0x80" : : "a"(5) : "memory");
        }
    return h;
}

static u32 count_call(struct frame *f)
{
    (void)f;
    return 0;
}

extern u8 storm16_begin[], storm16_end[];
#define BLOB16 0x8000u
asm(".text\nstorm16_begin:\n.code16\n\t"
    "xorl %eax, %eax\n\tmovw $9, %cx\n1:\taddw %cx, %ax\n\tcall 2f\n\tpushw %ax\n\tpopw 0x40\n\tmovw $0x900, "
    "%dx\n\t"
    "movw %dx, %es\n\tincl %es:0x44\n\tpushl %eax\n\tpopl %ebx\n\tloop 1b\n\tmovw %ax, 0x48\n\thlt\n"
    "2:\trolw $3, %ax\n\tret\nstorm16_end:\n.code32\n");

static void v86_halt(struct frame *f)
{
    leave_user(f->eax & 0xffff);
}

static u32 v86_work(u32 flags)
{
    struct user_regs r = {0, BLOB16 >> 4, FL_VM | flags | 2, 0x1000, 0x600, 0x111, 0x900, 0x222, 0x333, 0, 0};
    return enter_user(&r);
}

static void compare(const char *name, void (*run)(struct result *, u32), u32 rounds)
{
    static struct result quiet, loud;
    memset(&quiet, 0, sizeof(quiet));
    storm_faults = 0;
    run(&quiet, rounds);
    storm_begin(SEL_KCODE, 0);
    for (u32 n = 0; n < 2000 && (n == 0 || storm_count < 5); n++) {
        memset(&loud, 0, sizeof(loud));
        storm_faults = 0;
        asm volatile("sti" : : : "memory");
        run(&loud, rounds);
        asm volatile("cli" : : : "memory");
    }
    storm_end(name);
    check("gives the same", !memcmp(&quiet, &loud, sizeof(quiet)));
}

/* ---- behind a fault handler's iret RF is set until the instruction has been executed: who interrupts before
 * it pushes it so ---- */
extern u8 storm_again[];
static volatile u32 rf_mapped, rf_bad, rf_seen, rf_count;
static bool rf_wait;

static void on_rf_irq(struct frame *f)
{
    rf_count++;
    if (f->eip == (u32)storm_again) {
        rf_seen += rf_mapped;
        rf_bad += !!(f->eflags & FL_RF) != rf_mapped;
    }
    if (!storm_nmi)
        pic_eoi(storm_irq);
}

static void on_rf_fault(struct frame *f)
{
    (void)f;
    set_pte(9, ARENA(9) | P_P | P_W);
    rf_mapped = 1;
    if (rf_wait) {
        outb(0x20, 0x0a); /* OCW3: read IRR */
        while (!(inb(0x20) & 1))
            ;
    }
}

static void resumed(void)
{
    void (*old)(struct frame *) = handlers[V_PF];

    handlers[V_PF] = on_rf_fault;
    handlers[storm_vector] = on_rf_irq;
    set_gate((u8)storm_vector, ACC_INT32);
    rf_count = rf_bad = rf_seen = 0;
    source_on();
    asm volatile("sti");
    for (u32 n = 0; n < (storm_forced ? 20 : 400); n++) {
        u32 got;
        rf_wait = !storm_forced && n < 20;
        set_pte(9, 0);
        invlpg(WINDOW_AT(9));
        *(volatile u32 *)ARENA(9) = n;
        rf_mapped = 0;
        asm volatile("storm_again: movl (%1), %0" : "=r"(got) : "r"(WINDOW_AT(9)) : "memory");
        rf_bad += got != n || !rf_mapped;
    }
    source_off();
    handlers[V_PF] = old;
    check_tcg_gap("interrupts behind a fault see RF",
                  rf_bad == 0 && rf_count && (storm_forced || rf_seen >= 10));
    handlers[storm_vector] = NULL;
}

void test_storm(void)
{
    storm_forced = storm_mode != 0;
    storm_all = storm_mode == 2 || storm_mode == 3;
    storm_nmi = storm_mode == 3;
    storm_irq = storm_forced ? 5 : 0;
    storm_vector = storm_nmi ? V_NMI : V_IRQ0 + storm_irq;
    u32 cr4 = read_cr4(), want, got = 0;
    write_cr4(cr4 | CR4_OSFXSR | CR4_OSXMM);
    memset(storm_fpu, 0, sizeof(storm_fpu));
    asm volatile("fninit\n\tfld1\n\tfldpi\n\tfldl2e\n\tfxsave storm_junk\n\tfninit");
    memset(storm_junk + 160, 0xa5, 128);
    line();
    compare("integer code", integer, storm_forced ? 20 : 4000);
    compare("string instructions", strings, storm_forced ? 4 : 200);
    compare("code that changes itself", changing, storm_forced ? 20 : 400);
    compare("floating point", floating, storm_forced ? 20 : 4000);
    paging_on();
    handlers[V_PF] = repair;
    compare("integer code with paging", integer, storm_forced ? 20 : 4000);
    compare("page faults", faulting, storm_forced ? 12 : 100);
    resumed();
    handlers[V_PF] = NULL;
    syscall_hook = count_call;
    want = run_user(user_work, storm_forced ? 2 : 500, 0);
    storm_begin(SEL_UCODE, 0);
    for (u32 n = 0; n < 2000 && (n == 0 || storm_count < 5); n++)
        got = run_user(user_work, storm_forced ? 2 : 500, FL_IF);
    asm volatile("cli");
    storm_bad = 0; /* system calls run with IF set and another cs */
    storm_end("at cpl 3");
    check_eq("a user's program", got, want);
    syscall_hook = NULL;
    paging_off();
    write_cr3(0);
    memcpy((void *)BLOB16, storm16_begin, (u32)(storm16_end - storm16_begin));
    handlers[V_GP] = v86_halt;
    want = v86_work(0);
    storm_begin(BLOB16 >> 4, 0);
    for (u32 n = 0; n < 4000 && (n == 0 || storm_count < 3); n++)
        got = v86_work(FL_IF);
    storm_end("in V86");
    check_eq("a V86 program", got, want);
    handlers[V_GP] = NULL;
    set_gate((u8)storm_vector, ACC_INT32);
    write_cr4(cr4);
}
