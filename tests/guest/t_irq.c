/* SPDX-License-Identifier: GPL-2.0-or-later */
/* External interrupts: 8259 and 8254, hlt, the shadow of sti and mov ss, interrupts taken in every kind of
 * code. */
#include "kernel.h"

static volatile u32 irq_eip, irq_rings, irq_flags, irq_count, irq_stray;

static void on_irq0(struct frame *f)
{
    irq_eip = f->eip;
    irq_rings |= 1u << (f->cs & 3);
    irq_flags = f->eflags;
    irq_count++;
    pic_eoi(0);
}

static volatile u32 irq_leave;

static void on_irq0_leave(struct frame *f)
{
    on_irq0(f);
    f->eip = irq_leave;
}

static void on_stray(struct frame *f)
{
    (void)f;
    irq_stray++;
}

/* Until the controller has a request of the timer's. */
static void await_irq0(void)
{
    outb(0x20, 0x0a); /* OCW3: read IRR */
    while (!(inb(0x20) & 1))
        ;
}

/* One edge of the timer's output after a short count (mode 0), awaited with interrupts off. */
static void one_shot(void)
{
    outb(0x43, 0x30);
    outb(0x40, 50);
    outb(0x40, 0);
    await_irq0();
}

static void shadows(void)
{
    handlers[V_IRQ0] = on_irq0;
    /* An edge from before may wait in the controller: take it with the timer's output held low (mode 0, no
     * count). */
    outb(0x43, 0x30);
    pic_mask(0xfffe);
    asm volatile("sti\n\tnop\n\tnop\n\tcli" : : : "memory");
    u32 after;
    one_shot();
    irq_count = 0;
    asm volatile("sti\n\tnop\n1:\n\tcli\n\tmovl $1b, %0" : "=r"(after) : : "memory");
    check_eq("a pending interrupt after sti", irq_count, 1);
    check_eq("comes after the next instruction", irq_eip, after);
    one_shot();
    irq_count = 0;
    asm volatile("sti\n\tcli" : : : "memory");
    check_eq("sti; cli lets none in", irq_count, 0);
    asm volatile("sti\n\tmovl %%ss, %%eax\n\tmovl %%eax, %%ss\n1:\tnop\n\tcli\n\tmovl $1b, %0"
                 : "=r"(after)
                 :
                 : "eax", "memory");
    check_eq("the interrupt was still pending", irq_count, 1);
    one_shot();
    irq_count = 0;
    asm volatile("movl %%ss, %%eax\n\tpushfl\n\torl $0x200, (%%esp)\n\tpopfl\n1:\tnop\n\tcli\n\tmovl $1b, %0"
                 : "=r"(after)
                 :
                 : "eax", "memory", "cc");
    check_eq("popf has no shadow", irq_count == 1 && irq_eip == after, 1);
    one_shot();
    irq_count = 0;
    asm volatile("jmp 2f\n3:\tsti\n\tret\n2:\n\tcall 3b\n1:\tnop\n\tcli\n\tmovl $1b, %0"
                 : "=r"(after)
                 :
                 : "memory", "cc");
    check("sti; ret: behind the call", irq_count == 1 && irq_eip == after);
    one_shot();
    irq_count = 0;
    asm volatile("sti\n\tjmp 1f\n\tnop\n1:\tnop\n\tcli\n\tmovl $1b, %0" : "=r"(after) : : "memory");
    check("sti; jmp: at its target", irq_count == 1 && irq_eip == after);
    /* Linux's local_irq_restore(): past sti or through it, to a call that is jumped to. */
    for (u32 on = 0; on < 2; on++) {
        one_shot();
        irq_count = 0;
        asm volatile(
            "jmp 4f\n3:\tnop\n5:\tret\n4:\ttestl %1, %1\n\tje 2f\n\tsti\n2:\tcall 3b\n\tcli\n\tmovl $5b, %0"
            : "=r"(after)
            : "r"(on)
            : "memory", "cc");
        check_eq("sti; call, jumped to: interrupts", irq_count, on);
        check("sti; call: at its target", !on || irq_eip == after - 1);
    }
    /* A branch to itself right behind sti. */
    handlers[V_IRQ0] = on_irq0_leave;
    outb(0x43, 0x30);
    outb(0x40, 0);
    outb(0x40, 8);
    irq_count = 0;
    asm volatile("movl $2f, %0\n\tsti\n1:\tjmp 1b\n2:\tcli" : "=m"(irq_leave) : : "memory");
    check_eq("sti; jmp to itself ends by an interrupt", irq_count, 1);
    irq_count = 0;
    outb(0x43, 0x30);
    outb(0x40, 0);
    outb(0x40, 8);
    asm volatile("movl $2f, %0\n\tmovl $1f, %%eax\n\tsti\n1:\tjmp *%%eax\n2:\tcli"
                 : "=m"(irq_leave)
                 :
                 : "eax", "memory");
    check_eq("the same, indirectly", irq_count, 1);
    handlers[V_IRQ0] = on_irq0;
    /* hlt right after sti: the interrupt must end the halt, not come before it. */
    irq_count = 0;
    one_shot();
    asm volatile("sti\n\thlt\n1:\tcli\n\tmovl $1b, %0" : "=r"(after) : : "memory");
    check("sti; hlt with one pending", irq_count == 1 && irq_eip == after);
    outb(0x43, 0x30);
    outb(0x40, 0);
    outb(0x40, 8); /* 1.7 ms */
    irq_count = 0;
    asm volatile("sti\n\thlt\n1:\tcli\n\tmovl $1b, %0" : "=r"(after) : : "memory");
    check("sti; hlt waits", irq_count == 1 && irq_eip == after);
    check("the frame has IF", irq_flags & FL_IF);
}

static u32 user_once(u32 n)
{
    return n + irq_count;
}

/* iret lets an interrupt in that waits, before the first instruction that it leads to; and has done so
 * without one before. */
static void after_iret(void)
{
    u32 after = 0;

    handlers[V_IRQ0] = on_irq0;
    for (u32 k = 0; k < 9; k++) {
        u32 waits = k % 3 == 2;
        irq_count = irq_eip = 0;
        if (waits)
            one_shot();
        asm volatile("pushfl\n\torl $0x200, (%%esp)\n\tpushl %%cs\n\tpushl $1f\n\tiret\n1:\tnop\n\tcli\n\t"
                     "movl $1b, %0"
                     : "=r"(after)
                     :
                     : "memory", "cc");
        check("iret with IF", irq_count == waits && irq_eip == (waits ? after : 0));
        irq_count = irq_eip = 0;
        if (waits)
            one_shot();
        check_eq("iret to ring 3 with IF", run_user(user_once, 5, FL_IF), 5 + waits);
        asm volatile("cli"); /* a trap gate led back */
        check_eq("iret to ring 3 with IF: where", irq_eip, waits ? (u32)user_once : 0);
        irq_count = 0;
        if (waits)
            one_shot();
        check_eq("iret to ring 3 without IF", run_user(user_once, 5, 0), 5);
        if (waits)
            asm volatile("sti\n\tnop\n\tcli" : : : "memory");
        check_eq("iret to ring 3 without IF: still there", irq_count, waits);
    }
}

static u32 user_spin(u32 n)
{
    u32 i = 0;
    while (irq_count < n)
        i++;
    return 77;
}

/* 3 million rounds of flags, shifts, pushes and calls; what is in r[4] then depends on every one. */
static void mix(u32 r[4])
{
    u32 a = 1, b = 2, c = 3, d = 5, count = 3000000;
    asm volatile("1:\n\taddl %1, %0\n\tadcl %2, %1\n\txorl %3, %2\n\trcll $3, %3\n\tpushl %0\n\tpopl %0\n\t"
                 "call 2f\n\tjmp 3f\n2:\tret\n3:\tdecl %4\n\tjnz 1b"
                 : "+a"(a), "+b"(b), "+c"(c), "+d"(d), "+S"(count)
                 :
                 : "cc", "memory");
    r[0] = a;
    r[1] = b;
    r[2] = c;
    r[3] = d;
}

static void periodic(void)
{
    u64 t0, t1;
    timer_on(1000);
    asm volatile("sti");
    while (ticks < 20)
        asm volatile("hlt");
    asm volatile("cli");
    check("ticks with hlt", ticks >= 20);
    ticks = 0;
    asm volatile("sti");
    u32 spins = 0;
    while (ticks < 20)
        spins++;
    asm volatile("cli");
    check("ticks in a loop without calls", ticks >= 20);
    ticks = 0;
    asm volatile("sti\n1:\tcmpl $10, ticks\n\tjb 1b\n\tcli" : : : "memory", "cc");
    check("ticks in a loop of two instructions", ticks >= 10);
    handlers[V_IRQ0] = on_irq0;
    irq_count = 0;
    asm volatile("sti\n\tjmp 1f\n1:\tmovl $1, %%eax\n2:\tcmpl $3, irq_count\n\tjb 2b\n\tcli"
                 :
                 :
                 : "eax", "memory", "cc");
    irq_count = irq_rings = 0;
    check_eq("ticks at cpl 3", run_user(user_spin, 5, FL_IF), 77);
    check("the frame has the user's cs", irq_rings & 8);
    /* cli keeps them out. */
    asm volatile("cli");
    irq_count = 0;
    asm volatile("rdtsc" : "=A"(t0));
    do
        asm volatile("rdtsc" : "=A"(t1));
    while (t1 - t0 < 20000000);
    check_eq("none with IF clear", irq_count, 0);
    await_irq0();
    asm volatile("sti\n\tnop\n\tcli");
    /* A real 8259 latches one edge. A VMM whose own clock stood still may owe the guest more ticks and
     * deliver them one after the other (novt's 8254 does), so more than one is right, too. */
    check("those waiting", irq_count >= 1);
    /* Masked in the controller. */
    pic_mask(0xffff);
    irq_count = 0;
    asm volatile("sti");
    asm volatile("rdtsc" : "=A"(t0));
    do
        asm volatile("rdtsc" : "=A"(t1));
    while (t1 - t0 < 20000000);
    asm volatile("cli");
    check_eq("none when masked", irq_count, 0);
    timer_off();
    /* Registers and flags survive interrupts at any point of a long computation. */
    timer_on(5000);
    u32 rounds = 0;
    bool same = true;
    /* A fast VMM on a busy host may be through before many ticks are delivered: until there were some. */
    do {
        u32 first[4], second[4];
        asm volatile("sti");
        mix(first);
        asm volatile("cli");
        mix(second);
        same = same && !memcmp(first, second, sizeof(first));
    } while (ticks <= 10 && ++rounds < 200);
    check("there were some", ticks > 10);
    timer_off();
    check("a computation under interrupts", same);
    (void)spins;
}

static void controller(void)
{
    pic_mask(0xfefb);
    check("masks read back", inb(0x21) == 0xfb && inb(0xa1) == 0xfe);
    pic_mask(0xffff);
    handlers[V_IRQ0] = on_stray;
    irq_stray = 0;
    pic_mask(0xfffe);
    one_shot();
    outb(0x20, 0x0a);
    check_eq("a request shows in IRR", inb(0x20) & 1, 1);
    asm volatile("sti\n\tnop\n\tcli");
    outb(0x20, 0x0b);
    check_eq("one in service shows in ISR", inb(0x20) & 1, 1);
    irq_stray = 0;
    one_shot();
    asm volatile("sti\n\tnop\n\tnop\n\tcli");
    check_eq("none of the same level before its EOI", irq_stray, 0);
    outb(0x20, 0x60); /* specific EOI of level 0 */
    asm volatile("sti\n\tnop\n\tnop\n\tcli");
    check_eq("then it comes", irq_stray, 1);
    pic_eoi(0);
    outb(0x20, 0x0b);
    check_eq("nothing in service", inb(0x20), 0);
    pic_mask(0xffff);
    handlers[V_IRQ0] = NULL;
    /* Timer counters can be read, and count down. */
    outb(0x43, 0x34);
    outb(0x40, 0xff);
    outb(0x40, 0xff);
    u32 first, second = 0;
    outb(0x43, 0);
    first = inb(0x40);
    first |= (u32)inb(0x40) << 8;
    for (u32 i = 0; i < 1000000; i++) {
        outb(0x43, 0);
        second = inb(0x40);
        second |= (u32)inb(0x40) << 8;
        if (second < first)
            break;
    }
    check("the timer counts down", second < first);
    /* Channel 2 by its gate at port 61h, as Linux calibrates with. */
    outb(0x61, (u8)((inb(0x61) & ~2) | 1));
    outb(0x43, 0xb0);
    outb(0x42, 0xa9);
    outb(0x42, 0x04); /* 1 ms */
    u32 i = 0;
    while (!(inb(0x61) & 0x20) && i < 100000000)
        i++;
    check("channel 2's output rises", i < 100000000);
    pit_stop();
}

static u32 nested_depth, nested_max;
static void on_nested(struct frame *f)
{
    (void)f;
    pic_eoi(0);
    if (++nested_depth > nested_max)
        nested_max = nested_depth;
    if (nested_depth < 3) {
        u32 want = nested_max + 1;
        if (want > 3)
            want = 3;
        asm volatile("sti");
        for (u32 i = 0; i < 200000000 && *(volatile u32 *)&nested_max < want; i++)
            ;
        asm volatile("cli");
    }
    nested_depth--;
}

static void nested(void)
{
    timer_on(2000);
    handlers[V_IRQ0] = on_nested;
    asm volatile("sti");
    for (u32 i = 0; i < 400000000 && *(volatile u32 *)&nested_max < 3; i++)
        ;
    asm volatile("cli");
    check_eq("interrupts within handlers", nested_max, 3);
    timer_off();
}

void test_irq(void)
{
    shadows();
    after_iret();
    periodic();
    controller();
    nested();
}
