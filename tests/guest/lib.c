/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Output, checks, traps, interrupt controller and timer of the test kernel.
 *
 * Everything printed goes to port E9h and to COM1, so that a VMM without one of them still shows it. The
 * final status leaves through isa-debug-exit at port F4h: 10h for success, which becomes exit status 33.
 */
#include "kernel.h"

bool peer_is_qemu, exact_run;
u32 storm_mode;
volatile struct trap_record last;
trap_handler *handlers[256];
volatile u32 recover_eip, recover_esp, ticks;
u32 (*syscall_hook)(struct frame *f);
static u32 passed, failed, gaps;
static const char *subject = "start";

static void put_char(char c)
{
    outb(0xe9, (u8)c);
    for (u32 i = 0; i < 100000 && !(inb(0x3fd) & 0x20); i++)
        ;
    outb(0x3f8, (u8)c);
}

void puts(const char *s)
{
    for (; *s; s++) {
        if (*s == '\n')
            put_char('\r');
        put_char(*s);
    }
}

void put_hex(u32 v)
{
    for (int i = 28; i >= 0; i -= 4)
        put_char("0123456789abcdef"[v >> i & 15]);
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

static void put_name(const char *verdict, const char *name)
{
    puts(verdict);
    puts(subject);
    puts(".");
    puts(name);
}

void check(const char *name, bool good)
{
    if (good)
        passed++;
    else
        failed++;
    put_name(good ? "ok " : "FAIL ", name);
    puts("\n");
}

void check_eq(const char *name, u32 got, u32 want)
{
    if (got == want) {
        check(name, true);
        return;
    }
    failed++;
    put_name("FAIL ", name);
    puts(": got ");
    put_hex(got);
    puts(", want ");
    put_hex(want);
    puts("\n");
}

void check_tcg_gap(const char *name, bool good)
{
    if (good || !peer_is_qemu) {
        check(name, good);
        return;
    }
    gaps++;
    put_name("gap ", name);
    puts("\n");
}

void check_fault(const char *name, u32 vector, u32 error, u32 want_vector, u32 want_error)
{
    if (vector == want_vector && error == want_error) {
        check(name, true);
        return;
    }
    failed++;
    put_name("FAIL ", name);
    puts(": got vector ");
    put_hex(vector);
    puts(" error ");
    put_hex(error);
    puts(", want ");
    put_hex(want_vector);
    puts(" error ");
    put_hex(want_error);
    puts("\n");
}

void finish(bool good)
{
    outb(0xf4, good ? 0x10 : 0x11);
    /* No such device: a triple fault ends most VMMs. */
    struct table_reg none = {0, 0};
    asm volatile("lidt %0\n\tint3" : : "m"(none));
    for (;;)
        asm volatile("cli; hlt");
}

void panic(const char *why)
{
    put_name("FAIL ", why);
    puts(": vector ");
    put_hex(last.vector);
    puts(" error ");
    put_hex(last.error);
    puts(" cs:eip ");
    put_hex(last.cs);
    puts(":");
    put_hex(last.eip);
    puts(" cr2 ");
    put_hex(last.cr2);
    puts("\n");
    finish(false);
}

void *memset(void *d, int c, size_t n)
{
    u8 *p = d;
    while (n--)
        *p++ = (u8)c;
    return d;
}

void *memcpy(void *d, const void *s, size_t n)
{
    u8 *p = d;
    const u8 *q = s;
    while (n--)
        *p++ = *q++;
    return d;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const u8 *p = a, *q = b;
    for (; n--; p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}

/* Called by every stub in start.S. */
void trap(struct frame *f)
{
    if (handlers[f->vector]) {
        handlers[f->vector](f);
        return;
    }
    if (f->vector == V_SYS && (f->cs & 3) == 3 && !(f->eflags & FL_VM)) {
        if (f->eax == 0xe0)
            leave_user(f->ebx);
        f->eax = syscall_hook ? syscall_hook(f) : 0;
        return;
    }
    bool outer = (f->cs & 3) || (f->eflags & FL_VM);
    last.vector = f->vector;
    last.error = f->error;
    last.eip = f->eip;
    last.cs = f->cs & 0xffff;
    last.eflags = f->eflags;
    last.cr2 = read_cr2();
    last.count++;
    last.esp = outer ? f->esp : (u32)&f->esp;
    last.ss = outer ? f->ss & 0xffff : 0;
    last.frame = *f;
    if (recover_eip) {
        f->eip = recover_eip;
        if (!outer)
            f->cs = SEL_KCODE; /* the fault may have come from a subject's own code segment */
        recover_eip = 0;
        return;
    }
    if (outer)
        leave_user(FAULTED(f->vector));
    panic("unexpected trap");
}

/* 8259A: ICW1-ICW4, vectors 20h and 28h, all masked. */
void pic_init(void)
{
    outb(0x20, 0x11);
    outb(0xa0, 0x11);
    outb(0x21, V_IRQ0);
    outb(0xa1, V_IRQ8);
    outb(0x21, 4);
    outb(0xa1, 2);
    outb(0x21, 1);
    outb(0xa1, 1);
    pic_mask(0xffff);
}

void pic_mask(u16 mask)
{
    outb(0x21, (u8)mask);
    outb(0xa1, (u8)(mask >> 8));
}

void pic_eoi(u32 irq)
{
    if (irq >= 8)
        outb(0xa0, 0x20);
    outb(0x20, 0x20);
}

/* Channel 0, low byte then high byte, mode 2 (rate generator). */
void pit_start(u32 hz)
{
    u32 divisor = 1193182 / hz;
    outb(0x43, 0x34);
    outb(0x40, (u8)divisor);
    outb(0x40, (u8)(divisor >> 8));
}

/* Mode 0 without a count: the output stays low and no edge comes. */
void pit_stop(void)
{
    outb(0x43, 0x30);
}

static void tick(struct frame *f)
{
    (void)f;
    ticks++;
    pic_eoi(0);
}

void timer_on(u32 hz)
{
    ticks = 0;
    handlers[V_IRQ0] = tick;
    pit_start(hz);
    pic_mask(0xfffe);
}

void timer_off(void)
{
    asm volatile("cli");
    pit_stop();
    /* An edge that came meanwhile is taken here, not in the next subject. */
    asm volatile("sti; nop; nop; cli");
    pic_mask(0xffff);
    handlers[V_IRQ0] = NULL;
}

static bool wanted(const char *cmdline, const char *name)
{
    const char *p = cmdline;
    for (; p && *p; p++)
        if (p[0] == 'o' && !memcmp(p, "only=", 5)) {
            p += 5;
            for (;;) {
                const char *n = name;
                while (*n && *p == *n)
                    p++, n++;
                if (!*n && (*p == ',' || *p == ' ' || !*p))
                    return true;
                while (*p && *p != ',' && *p != ' ')
                    p++;
                if (*p != ',')
                    return false;
                p++;
            }
        }
    return true;
}

void kmain(u32 magic, const u32 *info)
{
    static char cmdline[256];
    /* The command line may lie where a subject writes: keep a copy. */
    if (magic == 0x2badb002 && (info[0] & 4))
        for (u32 i = 0; i + 1 < sizeof(cmdline) && ((const char *)info[4])[i]; i++)
            cmdline[i] = ((const char *)info[4])[i];
    outb(0x3f9, 0);    /* no UART interrupts */
    outb(0x3fb, 0x80); /* divisor latch */
    outb(0x3f8, 1);    /* 115200 baud */
    outb(0x3f9, 0);
    outb(0x3fb, 3); /* 8 data bits */
    outb(0x3fa, 7); /* FIFOs on and empty */
    for (const char *p = cmdline; *p; p++)
        peer_is_qemu |= !memcmp(p, "peer=qemu", 9);
    for (const char *p = cmdline; *p; p++)
        exact_run |= !memcmp(p, "exact", 5);
    for (const char *p = cmdline; *p; p++)
        if (!memcmp(p, "storm=", 6))
            storm_mode = p[6] == 'f' ? 1 : p[6] == 'n' ? 3 : p[6] == 'h' ? 4 : 2;
    tables_init();
    pic_init();
    pit_stop();
    check_eq("multiboot", magic, 0x2badb002);
    check("memory size given", (info[0] & 1) && info[2] >= 15 * 1024);
#define X(name)                                                                                              \
    if (wanted(cmdline, #name)) {                                                                            \
        subject = #name;                                                                                     \
        test_##name();                                                                                       \
    }
    SUBJECTS(X)
#undef X
    subject = "end";
    puts("guest: ");
    put_dec(passed);
    puts(" ok, ");
    put_dec(failed);
    puts(" failed");
    if (gaps) {
        puts(", ");
        put_dec(gaps);
        puts(" not modelled by this peer");
    }
    puts("\n");
    finish(!failed);
}
