/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest kernel that times what an operating system asks of its processor, by the time-stamp counter.
 *
 * For each operation one line on COM1: "nano NAME median min max", in cycles. "NAME@4m" is the same with the
 * kernel in 4 MiB pages instead of 4 KiB ones. Words of the command line: test=NAME,... runs these only,
 * pages=4k or pages=4m one kind of page only, rounds=N fixes how often an operation runs a sample (OPS times
 * a round, or once: see the table), samples=N the number of samples; with both, what the guest does does not
 * depend on its speed, so that counters of the VMM can be compared.
 *
 * IF is 0 and the interrupt controllers are masked except in cli_sti and the timer's operations. Kernel pages
 * are global, as in real systems. Manual references are to the Intel SDM.
 */
#include <stdbool.h>
#include <stddef.h>

#include "ops.h"
#include "x86.h"

enum { SEL_KCODE = 0x08, SEL_KDATA = 0x10, SEL_UCODE = 0x1b, SEL_UDATA = 0x23, SEL_TSS = 0x28 };
enum { P_P = 1, P_W = 2, P_U = 4, P_PS = 0x80, P_G = 0x100 };
#define IDENTITY  8u          /* page tables' worth of memory mapped at its own address: 32 MiB */
#define PAGES     0x40000000u /* 4 KiB pages of the two address spaces' own */
#define N_PAGES   16u
#define PAGE(n)   (PAGES + (n)*4096u)
#define PAGE1     0x40001000
#define PAGE2     0x40002000
#define HOLE      0x80000000u /* nothing is mapped here */
#define STACK_GAP 64

struct tss {
    u32 link, esp0, ss0, rest[22];
    u16 trap, iomap;
} __attribute__((packed));
struct table_reg {
    u16 limit;
    u32 base;
} __attribute__((packed));

static u64 gdt[6] __attribute__((aligned(8)));
static u64 idt[256] __attribute__((aligned(8)));
struct tss tss __attribute__((aligned(128)));
static u32 dir_a[1024] __attribute__((aligned(4096))), dir_b[1024] __attribute__((aligned(4096)));
static u32 identity[IDENTITY][1024] __attribute__((aligned(4096)));
static u32 table_a[1024] __attribute__((aligned(4096))), table_b[1024] __attribute__((aligned(4096)));
static u8 frames[2 * N_PAGES][4096] __attribute__((aligned(4096)));
extern u8 stack_top[], user_stack_top[];
void user_run(void (*run)(u32), u32 rounds);
void on_int(void), on_skip(void), on_skip_error(void), on_fix(void), on_timer(void), on_sysenter(void),
    on_unexpected(void), on_user_exit(void);
volatile u32 ticks;
u32 *fix_pte;
static struct table_reg idt_reg, gdt_reg;

/* ---- small instructions, output ---- */

static inline void wrmsr(u32 msr, u32 v)
{
    asm volatile("wrmsr" : : "c"(msr), "a"(v), "d"(0));
}

void *memset(void *d, int c, size_t n)
{
    u8 *p = d;
    while (n--)
        *p++ = (u8)c;
    return d;
}

static void put_char(char c)
{
    while (!(inb(0x3fd) & 0x20))
        ;
    outb(0x3f8, (u8)c);
}

static void puts(const char *s)
{
    for (; *s; s++) {
        if (*s == '\n')
            put_char('\r');
        put_char(*s);
    }
}

static void put_dec(u32 v)
{
    char buf[12], *p = buf + sizeof(buf) - 1;
    *p = 0;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    puts(p);
}

static void put_tenths(u32 v)
{
    puts(" ");
    put_dec(v / 10);
    puts(".");
    put_dec(v % 10);
}

_Noreturn static void leave(bool good)
{
    outb(0xf4, good ? 0x10 : 0x11); /* isa-debug-exit: exit status 33 */
    struct table_reg none = {0, 0}; /* no such device: a triple fault ends most VMMs */
    asm volatile("lidt %0\n\tint3" : : "m"(none));
    for (;;)
        asm volatile("cli; hlt");
}

_Noreturn void unexpected(void)
{
    puts("nano: unexpected trap\n");
    leave(false);
}

/* ---- operations of ring 0 ---- */

OP(cli_sti, 0, "cli\n\tsti")
OP(irqsave, 0, "pushfl\n\tcli\n\tpopfl")
OP(in_80, 0, "inb $0x80, %%al")
OP(in_pit, 0, "inb $0x40, %%al")
OP(in_uart, 0x3fd, "movl %1, %%edx\n\tinb %%dx, %%al")
OP(in_pic, 0, "inb $0x21, %%al")
OP(out_80, 0, "outb %%al, $0x80")
OP(out_pic, 0, "movb $0xff, %%al\n\toutb %%al, $0x21")
OP(cr0_read, 0, "movl %%cr0, %%eax")
OP(cr0_write, read_cr0(), "movl %1, %%cr0")
OP(cr0_ts, read_cr0() | CR0_TS, "movl %1, %%cr0\n\tclts")
OP(cr2_write, 0, "movl %1, %%cr2")
OP(cr4_write, read_cr4(), "movl %1, %%cr4")
OP(cr3_reload, dir_a, "movl %1, %%cr3")
OP(invlpg, PAGES, "invlpg (%1)")
OP(invlpg_touch, PAGES, "invlpg (%1)\n\tmovl (%1), %%eax")
OP(iret, 0, "pushfl\n\tpushl %%cs\n\tpushl $2f\n\tiret\n2:")
OP(int_iret, 0, "int $0x80")
OP(sgdt, &gdt_reg, "sgdt (%1)")
OP(sidt, &idt_reg, "sidt (%1)")
OP(lidt, &idt_reg, "lidt (%1)")
OP(str, 0, "str %%ax")
/* After iret a processor looks at RF: the nop has that instruction to itself. */
OP(fault_divide, 0, "xorl %%ecx, %%ecx\n\tdivl %%ecx\n\tnop")
OP(fault_ud, 0, "ud2\n\tnop")
OP(fault_page, HOLE, "movl (%1), %%eax\n\tnop")
OP(fault_page_write, HOLE, "movl %%eax, (%1)\n\tnop")
OP(int80, 0, "int $0x80")
OP(sysenter, 0, "movl %%esp, %%ecx\n\tmovl $2f, %%edx\n\tsysenter\n2:")

/* The present bit of a page goes, the access faults, the handler sets it again. */
OP(fault_page_fix, &table_a[1], "andl $~1, (%1)\n\tinvlpg " STR(PAGE1) "\n\tmovl " STR(PAGE1) ", %%eax")
/* Entries of a page table in use: of pages that nobody touches; of a page that is used in between. */
OP(pte_write, &table_a[N_PAGES], "movl $0x100067, (%1)\n\tmovl $0x101067, (%1)")
OP(pte_write_use, &table_a[2], "xorl $0x1000, (%1)\n\tinvlpg " STR(PAGE2) "\n\tmovl " STR(PAGE2) ", %%eax")

static void touch4(void)
{
    for (u32 n = 0; n < 4; n++)
        (void)*(volatile u32 *)PAGE(n);
}

static void op_cr3_switch(u32 rounds)
{
    for (; rounds; rounds--) {
        asm volatile("movl %0, %%cr3" : : "r"(dir_b) : "memory");
        touch4();
        asm volatile("movl %0, %%cr3" : : "r"(dir_a) : "memory");
        touch4();
    }
}

/* ---- timer ---- */

#define PIT_HZ 1193182u

/* Channel 0 counts down from count once and raises IRQ 0: mode 0. */
static void pit_once(u16 count)
{
    outb(0x43, 0x30);
    outb(0x40, (u8)count);
    outb(0x40, (u8)(count >> 8));
}

static void pit_periodic(u32 hz)
{
    outb(0x43, 0x34);
    outb(0x40, (u8)(PIT_HZ / hz));
    outb(0x40, (u8)(PIT_HZ / hz >> 8));
}

static u16 pit_read(void)
{
    u8 low;
    outb(0x43, 0x00);
    low = inb(0x40);
    return (u16)(low | inb(0x40) << 8);
}

static u32 divide(u64 n, u32 d)
{
    u32 q, r;
    asm("divl %4" : "=a"(q), "=d"(r) : "a"((u32)n), "d"((u32)(n >> 32)), "r"(d) : "cc");
    return q;
}

static u32 cycles_per_1024_ticks;

/* By the counter on its way from F000h to 4000h; again if a busy host let it run through zero. */
static void calibrate(void)
{
    u16 from, to;
    u32 before, took;

    do {
        pit_once(0xffff);
        while (pit_read() < 0xf000)
            ; /* the count is loaded at the next tick */
        from = pit_read();
        before = tsc();
        while ((to = pit_read()) > 0x4000 && to <= from)
            ;
        took = tsc() - before;
    } while (to > 0x4000 || to < 0x1000 || from < 0x8000);
    cycles_per_1024_ticks = divide((u64)took << 10, (u32)(from - to));
}

/* One-shot, hlt, handler: what it takes beyond the timer's own time. */
static u32 hlt_wake(void)
{
    const u32 count = 2000;
    u32 want = divide((u64)cycles_per_1024_ticks * count, 1024), was = ticks, before = tsc(), took;
    pit_once(count);
    while (ticks == was)
        asm volatile("sti; hlt; cli" : : : "memory");
    took = tsc() - before;
    return took > want ? (took - want) * 10 : 0;
}

/* How long a timer interrupt keeps a program from running: the gap between two readings of the clock around
 * it, less their usual distance. */
static u32 timer_irq(void)
{
    u32 was = ticks, last, now, usual = ~0u;
    asm volatile("sti" : : : "memory");
    last = tsc();
    for (u32 n = 0; n < 1000 && ticks == was; n++) {
        now = tsc();
        if (now - last < usual)
            usual = now - last;
        last = now;
    }
    was = ticks;
    last = tsc();
    do {
        u32 t = tsc();
        now = t;
        if (ticks == was)
            last = t;
    } while (ticks == was);
    now = tsc();
    asm volatile("cli" : : : "memory");
    return now - last > usual ? (now - last - usual) * 10 : 0;
}

/* ---- the table ---- */

enum { USER = 1, SINGLE = 2, NEEDS_SEP = 4 };
static const struct test {
    const char *name;
    void (*run)(u32);
    u32 ops; /* a round */
    u32 flags;
    void (*handler)(void); /* of: */
    u8 vector;
    u32 (*single)(void); /* SINGLE: the operation times itself */
} tests[] = {
    {.name = "loop", .run = op_loop, .ops = 1},
    {.name = "rdtsc", .run = op_rdtsc, .ops = OPS},
    {.name = "call_ret", .run = op_call_ret, .ops = OPS},
    {.name = "call_ind", .run = op_call_ind, .ops = OPS},
    {.name = "call_ind4", .run = op_call_ind4, .ops = OPS},
    {.name = "pushf_popf", .run = op_pushf_popf, .ops = OPS},
    {.name = "pushf_popf_user", .run = op_pushf_popf, .ops = OPS, .flags = USER},
    {.name = "cli_sti", .run = op_cli_sti, .ops = OPS},
    {.name = "irqsave", .run = op_irqsave, .ops = OPS},
    {.name = "in_80", .run = op_in_80, .ops = OPS},
    {.name = "in_pit", .run = op_in_pit, .ops = OPS},
    {.name = "in_uart", .run = op_in_uart, .ops = OPS},
    {.name = "in_pic", .run = op_in_pic, .ops = OPS},
    {.name = "out_80", .run = op_out_80, .ops = OPS},
    {.name = "out_pic", .run = op_out_pic, .ops = OPS},
    {.name = "cr0_read", .run = op_cr0_read, .ops = OPS},
    {.name = "cr0_write", .run = op_cr0_write, .ops = OPS},
    {.name = "cr0_ts_clts", .run = op_cr0_ts, .ops = OPS},
    {.name = "cr2_write", .run = op_cr2_write, .ops = OPS},
    {.name = "cr4_write", .run = op_cr4_write, .ops = OPS},
    {.name = "cr3_reload", .run = op_cr3_reload, .ops = OPS},
    {.name = "cr3_switch", .run = op_cr3_switch, .ops = 2},
    {.name = "invlpg", .run = op_invlpg, .ops = OPS},
    {.name = "invlpg_touch", .run = op_invlpg_touch, .ops = OPS},
    {.name = "pte_write", .run = op_pte_write, .ops = 2 * OPS},
    {.name = "pte_write_use", .run = op_pte_write_use, .ops = OPS},
    {.name = "fault_page", .run = op_fault_page, .ops = OPS, .vector = 14, .handler = on_skip_error},
    {.name = "fault_page_write",
     .run = op_fault_page_write,
     .ops = OPS,
     .vector = 14,
     .handler = on_skip_error},
    {.name = "fault_page_user",
     .run = op_fault_page,
     .ops = OPS,
     .flags = USER,
     .vector = 14,
     .handler = on_skip_error},
    {.name = "fault_page_fix", .run = op_fault_page_fix, .ops = OPS, .vector = 14, .handler = on_fix},
    {.name = "fault_divide", .run = op_fault_divide, .ops = OPS, .vector = 0, .handler = on_skip},
    {.name = "fault_divide_user", .run = op_fault_divide, .ops = OPS, .flags = USER, .handler = on_skip},
    {.name = "fault_ud", .run = op_fault_ud, .ops = OPS, .vector = 6, .handler = on_skip},
    {.name = "int80", .run = op_int80, .ops = OPS, .flags = USER, .vector = 0x80, .handler = on_int},
    {.name = "sysenter", .run = op_sysenter, .ops = OPS, .flags = USER | NEEDS_SEP},
    {.name = "int_iret", .run = op_int_iret, .ops = OPS, .vector = 0x80, .handler = on_int},
    {.name = "iret", .run = op_iret, .ops = OPS},
    {.name = "mov_ds", .run = op_mov_ds, .ops = OPS},
    {.name = "mov_ds_user", .run = op_mov_ds, .ops = OPS, .flags = USER},
    {.name = "push_pop_es", .run = op_push_pop_es, .ops = OPS},
    {.name = "sgdt", .run = op_sgdt, .ops = OPS},
    {.name = "sidt", .run = op_sidt, .ops = OPS},
    {.name = "lidt", .run = op_lidt, .ops = OPS},
    {.name = "str", .run = op_str, .ops = OPS},
    {.name = "hlt_wake", .flags = SINGLE, .single = hlt_wake},
    {.name = "timer_irq", .flags = SINGLE, .single = timer_irq},
};

/* ---- start ---- */

static u64 descriptor(u32 base, u32 limit, u8 access, u8 flags)
{
    u32 lo = base << 16 | (limit & 0xffff);
    u32 hi =
        (base & 0xff000000) | (u32)flags << 20 | (limit & 0xf0000) | (u32)access << 8 | (base >> 16 & 0xff);
    return (u64)hi << 32 | lo;
}

static void gate(u32 vector, void (*handler)(void))
{
    u32 to = (u32)handler;
    idt[vector] =
        (u64)((to & 0xffff0000) | 0xee00) << 32 | SEL_KCODE << 16 | (to & 0xffff); /* DPL 3, interrupt */
}

static void descriptors(void)
{
    gdt[1] = descriptor(0, 0xfffff, 0x9b, 12);
    gdt[2] = descriptor(0, 0xfffff, 0x93, 12);
    gdt[3] = descriptor(0, 0xfffff, 0xfb, 12);
    gdt[4] = descriptor(0, 0xfffff, 0xf3, 12);
    gdt[5] = descriptor((u32)&tss, sizeof(tss) - 1, 0x89, 0);
    tss.ss0 = SEL_KDATA;
    tss.esp0 = (u32)stack_top;
    tss.iomap = sizeof(tss);
    gdt_reg = (struct table_reg){sizeof(gdt) - 1, (u32)gdt};
    idt_reg = (struct table_reg){sizeof(idt) - 1, (u32)idt};
    for (u32 v = 0; v < 256; v++)
        gate(v, on_unexpected);
    gate(0x20, on_timer);
    gate(0x82, on_user_exit);
    asm volatile("lgdt %0\n\tlidt %1\n\tljmp %2, $1f\n1:\tmovl %3, %%ds\n\tmovl %3, %%es\n\tmovl %3, %%ss\n\t"
                 "movl %4, %%fs\n\tmovl %4, %%gs\n\tlldt %w4\n\tltr %w5"
                 :
                 : "m"(gdt_reg), "m"(idt_reg), "i"(SEL_KCODE), "r"(SEL_KDATA), "r"(0), "r"(SEL_TSS)
                 : "memory");
    if (cpu_features() & FEAT_SEP) {
        wrmsr(0x174, SEL_KCODE);
        wrmsr(0x175, (u32)stack_top - STACK_GAP);
        wrmsr(0x176, (u32)on_sysenter);
    }
}

/* Kernel and user code share the identity pages; all may be used at CPL 3. */
static void paging(bool large)
{
    u32 global = cpu_features() & FEAT_PGE ? P_G : 0;

    asm volatile("movl %0, %%cr0" : : "r"(read_cr0() & ~(CR0_PG | CR0_WP)) : "memory");
    asm volatile("movl %0, %%cr4" : : "r"(0) : "memory");
    memset(dir_a, 0, sizeof(dir_a));
    memset(dir_b, 0, sizeof(dir_b));
    for (u32 d = 0; d < IDENTITY; d++) {
        for (u32 n = 0; n < 1024; n++)
            identity[d][n] = d << 22 | n << 12 | global | P_U | P_W | P_P;
        dir_a[d] = dir_b[d] =
            large ? d << 22 | P_PS | global | P_U | P_W | P_P : (u32)identity[d] | P_U | P_W | P_P;
    }
    for (u32 n = 0; n < 1024; n++) {
        table_a[n] = (u32)frames[n % N_PAGES] | P_U | P_W | P_P;
        table_b[n] = (u32)frames[N_PAGES + n % N_PAGES] | P_U | P_W | P_P;
    }
    dir_a[PAGES >> 22] = (u32)table_a | P_U | P_W | P_P;
    dir_b[PAGES >> 22] = (u32)table_b | P_U | P_W | P_P;
    fix_pte = &table_a[1];
    asm volatile("movl %0, %%cr3" : : "r"(dir_a) : "memory");
    asm volatile("movl %0, %%cr4" : : "r"(CR4_PSE | (global ? CR4_PGE : 0)) : "memory");
    asm volatile("movl %0, %%cr0" : : "r"(read_cr0() | CR0_PG | CR0_WP) : "memory");
}

/* 8259A: vectors 20h and 28h (ICW1-ICW4), all masked. */
static void pic(void)
{
    static const u8 words[] = {0x11, 0x20, 0x04, 0x01}, words2[] = {0x11, 0x28, 0x02, 0x01};
    for (u32 n = 0; n < 4; n++) {
        outb(n ? 0x21 : 0x20, words[n]);
        outb(n ? 0xa1 : 0xa0, words2[n]);
    }
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}

/* ---- command line ---- */

static char cmdline[512];

/* What follows "name=", or NULL. */
static const char *word(const char *name)
{
    for (const char *p = cmdline; *p; p++) {
        const char *q = p, *n = name;
        while (*n && *q == *n)
            q++, n++;
        if (!*n && *q == '=' && (p == cmdline || p[-1] == ' '))
            return q + 1;
    }
    return NULL;
}

static u32 number(const char *name)
{
    u32 v = 0;
    const char *p = word(name);
    while (p && *p >= '0' && *p <= '9')
        v = v * 10 + (u32)(*p++ - '0');
    return v;
}

/* Is the item in the list, or is there no list? */
static bool chosen(const char *list, const char *item)
{
    while (list) {
        const char *n = item;
        while (*n && *list == *n)
            list++, n++;
        if (!*n && (*list == ',' || *list == ' ' || !*list))
            return true;
        while (*list && *list != ',' && *list != ' ')
            list++;
        if (*list != ',')
            return false;
        list++;
    }
    return true;
}

static void (*user_function)(u32);

static void in_user_mode(u32 rounds)
{
    user_run(user_function, rounds);
}

static struct timing measure_single(u32 (*single)(void), u32 samples)
{
    static u32 sample[MAX_SAMPLES];

    single();
    for (u32 n = 0; n < samples; n++)
        sample[n] = single();
    sort(sample, samples);
    return (struct timing){sample[samples / 2], sample[0], sample[samples - 1]};
}

static void run_test(const struct test *t, const char *suffix, u32 rounds, u32 samples)
{
    struct timing r;

    if ((t->flags & NEEDS_SEP) && !(cpu_features() & FEAT_SEP))
        return;
    if (t->handler)
        gate(t->vector, t->handler);
    user_function = t->run;
    if (t->single == timer_irq || t->single == hlt_wake) {
        outb(0x21, 0xfe);
        if (t->single == timer_irq)
            pit_periodic(1000);
        r = measure_single(t->single, rounds && rounds < samples ? rounds : samples);
        outb(0x43, 0x30); /* no count: no more edges */
        asm volatile("sti; nop; nop; cli" : : : "memory");
        outb(0x21, 0xff);
    } else {
        r = measure(t->flags & USER ? in_user_mode : t->run, t->ops, rounds, samples);
    }
    asm volatile("cli; clts");
    if (t->handler)
        gate(t->vector, on_unexpected);
    puts("nano ");
    puts(t->name);
    puts(suffix);
    put_tenths(r.median);
    put_tenths(r.min);
    put_tenths(r.max);
    puts("\n");
}

void kmain(u32 magic, const u32 *info)
{
    u32 rounds, samples;

    if (magic == 0x2badb002 && (info[0] & 4))
        for (u32 n = 0; n + 1 < sizeof(cmdline) && ((const char *)info[4])[n]; n++)
            cmdline[n] = ((const char *)info[4])[n];
    outb(0x3f9, 0);    /* no UART interrupts */
    outb(0x3fb, 0x80); /* divisor latch: 115200 baud */
    outb(0x3f8, 1);
    outb(0x3f9, 0);
    outb(0x3fb, 3); /* 8 data bits */
    outb(0x3fa, 7); /* FIFOs on and empty */
    descriptors();
    pic();
    rounds = number("rounds");
    samples = number("samples");
    if (!samples || samples > MAX_SAMPLES)
        samples = SAMPLES;
    calibrate();
    puts("nano: cycles per second ");
    put_dec((u32)((u64)cycles_per_1024_ticks * PIT_HZ >> 10));
    puts("\n");
    for (u32 large = 0; large < 2; large++) {
        if (!chosen(word("pages"), large ? "4m" : "4k") || (large && !(cpu_features() & FEAT_PSE)))
            continue;
        paging(large);
        for (u32 n = 0; n < sizeof(tests) / sizeof(tests[0]); n++)
            if (chosen(word("test"), tests[n].name))
                run_test(&tests[n], large ? "@4m" : "", rounds, samples);
    }
    puts("nano: done\n");
    leave(true);
}
