/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String instructions: directions, counts, page crossings, faults midway that leave restartable registers. */
#include "kernel.h"

static void fill(u32 page, u32 pages, u32 seed)
{
    for (u32 i = 0; i < pages * 4096; i++)
        arena[page * 4096 + i] = (u8)(i * 7 + seed + (i >> 8));
}

static void plain(void)
{
    u32 s, d, c, a;
    fill(0, 3, 1);
    memset((void *)ARENA(8), 0, 3 * 4096);
    s = ARENA(0) + 5, d = ARENA(8) + 3, c = 9000;
    asm volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
    check("rep movsb", !memcmp((void *)(ARENA(0) + 5), (void *)(ARENA(8) + 3), 9000) &&
                           s == ARENA(0) + 9005 && d == ARENA(8) + 9003 && !c && !*(u8 *)(ARENA(8) + 9003));
    s = ARENA(0) + 1, d = ARENA(8) + 2, c = 1500;
    asm volatile("rep movsl" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
    check("rep movsl, unaligned", !memcmp((void *)(ARENA(0) + 1), (void *)(ARENA(8) + 2), 6000) && !c);
    s = ARENA(0) + 8001, d = ARENA(8) + 8000, c = 8001;
    asm volatile("std\n\trep movsb\n\tcld" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
    check("rep movsb backwards",
          !memcmp((void *)(ARENA(0) + 1), (void *)ARENA(8), 8001) && s == ARENA(0) && d == ARENA(8) - 1);
    /* Overlapping by one byte forwards replicates. */
    *(u8 *)ARENA(8) = 0x5a;
    s = ARENA(8), d = ARENA(8) + 1, c = 5000;
    asm volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
    check("overlapping rep movsb replicates",
          *(u8 *)(ARENA(8) + 5000) == 0x5a && *(u8 *)(ARENA(8) + 2500) == 0x5a);
    fill(8, 1, 9);
    for (u32 i = 0; i < 8; i++)
        arena[8 * 4096 + i] = (u8)i;
    s = ARENA(8), d = ARENA(8) + 6, c = 10;
    asm volatile("rep movsl" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
    bool good = true;
    for (u32 i = 12; i < 46; i++)
        good = good && *(u8 *)(ARENA(8) + i) == *(u8 *)(ARENA(8) + i - 6);
    check("overlapping rep movsl", good);
    d = ARENA(8), c = 3000;
    asm volatile("rep stosl" : "+D"(d), "+c"(c) : "a"(0x01020304) : "memory");
    check("rep stosl", *(u32 *)ARENA(8) == 0x01020304 && *(u32 *)(ARENA(8) + 11996) == 0x01020304 &&
                           d == ARENA(8) + 12000);
    d = ARENA(8), c = 0;
    asm volatile("rep stosl" : "+D"(d), "+c"(c) : "a"(0) : "memory");
    check("rep stos with a count of zero", *(u32 *)ARENA(8) == 0x01020304 && d == ARENA(8) && !c);
    *(u8 *)(ARENA(8) + 7777) = 0x99;
    d = ARENA(8), c = 12000;
    asm volatile("movb $0x99, %%al\n\trepne scasb" : "+D"(d), "+c"(c) : : "eax", "memory", "cc");
    check("repne scasb finds", d == ARENA(8) + 7778 && c == 12000 - 7778);
    d = ARENA(8), c = 3000;
    u8 z;
    asm volatile("repe scasl\n\tsetz %2" : "+D"(d), "+c"(c), "=q"(z) : "a"(0x01020304) : "memory", "cc");
    check("repe scasl stops at a difference", d == ARENA(8) + 7776 + 4 && !z);
    memcpy((void *)ARENA(12), (void *)ARENA(8), 12000);
    *(u8 *)(ARENA(12) + 9001) ^= 1;
    s = ARENA(8), d = ARENA(12), c = 12000;
    asm volatile("repe cmpsb\n\tsetb %3" : "+S"(s), "+D"(d), "+c"(c), "=q"(z) : : "memory", "cc");
    check("repe cmpsb", s == ARENA(8) + 9002 && d == ARENA(12) + 9002 && c == 12000 - 9002);
    c = 0, s = d = 0;
    asm volatile("xorl %%eax, %%eax\n\tstc\n\trepe cmpsb\n\tsetc %3"
                 : "+S"(s), "+D"(d), "+c"(c), "=q"(z)
                 :
                 : "eax", "memory", "cc");
    check("repe cmps of nothing leaves the flags", z == 1);
    s = ARENA(8), c = 100;
    asm volatile("rep lodsl" : "+S"(s), "+c"(c), "=a"(a) : : "memory");
    check("rep lodsl", a == 0x01020304 && s == ARENA(8) + 400);
    /* 16-bit addresses use si, di and cx alone. */
    if (ARENA(40) < 0x10000000) {
        static const char text[] = "sixteen";
        memcpy((void *)0x9000, text, 8);
        s = 0x12349000, d = 0x56789100, c = 0xabcd0008;
        asm volatile("addr16 rep movsb" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
        check("addr16 rep movsb",
              !memcmp((void *)0x9100, text, 8) && s == 0x12349008 && d == 0x56789108 && c == 0xabcd0000);
    }
    /* Port strings. */
    static const char dots[] = "# outsb\r\n";
    s = (u32)dots, c = sizeof(dots) - 1;
    asm volatile("rep outsb" : "+S"(s), "+c"(c) : "d"(0xe9) : "memory");
    check("rep outsb", s == (u32)dots + sizeof(dots) - 1 && !c);
    d = ARENA(8), c = 4;
    outb(0x70, 0x0d);
    asm volatile("rep insb" : "+D"(d), "+c"(c) : "d"(0x71) : "memory");
    check("rep insb", d == ARENA(8) + 4 && *(u8 *)ARENA(8) == *(u8 *)(ARENA(8) + 3) && !c);
}

/* At CPL 3, so that the registers at the fault come from the frame. */
extern u8 string_movsb[], string_movsl[], string_stosl[], string_scasb[], string_cmpsl[], string_lodsw[],
    string_std[];
asm(".text\nstring_movsb:\n\trep movsb\n\tud2\nstring_movsl:\n\trep movsl\n\tud2\nstring_stosl:\n\trep "
    "stosl\n\tud2\n"
    "string_scasb:\n\trepne scasb\n\tud2\nstring_cmpsl:\n\trepe cmpsl\n\tud2\nstring_lodsw:\n\trep "
    "lodsw\n\tud2\n"
    "string_std:\n\tstd\n\trep movsl\n\tud2");

static u32 go_args[5];
extern u8 string_go_user[];
asm(".text\nstring_go_user:\n\tmovl go_args + 4, %esi\n\tmovl go_args + 8, %edi\n\tmovl go_args + 12, "
    "%ecx\n\t"
    "movl go_args + 16, %eax\n\tjmp *go_args");

static u32 go(const u8 *code, u32 s, u32 d, u32 c, u32 a)
{
    go_args[0] = (u32)code, go_args[1] = s, go_args[2] = d, go_args[3] = c, go_args[4] = a;
    return run_user((u32(*)(u32))string_go_user, 0, 0);
}

static bool stopped(u32 s, u32 d, u32 c, const u8 *code, u32 cr2)
{
    return last.frame.esi == s && last.frame.edi == d && last.frame.ecx == c && last.eip == (u32)code &&
           last.cr2 == cr2;
}

static void midway(void)
{
    u32 src = WINDOW_AT(0), dst = WINDOW_AT(4);
    paging_on();
    fill(0, 3, 3);
    memset((void *)ARENA(4), 0, 3 * 4096);
    set_pte(5, 0);
    write_cr3((u32)page_dir);
    check_eq("rep movsb into a hole", go(string_movsb, src + 100, dst + 50, 9000, 0), FAULTED(V_PF));
    check("registers at the hole",
          stopped(src + 100 + 4046, WINDOW_AT(5), 9000 - 4046, string_movsb, WINDOW_AT(5)));
    check_eq("error code", last.error, 6);
    check("what was done before", !memcmp((void *)(ARENA(0) + 100), (void *)(ARENA(4) + 50), 4046));
    check_eq("rep movsl into a hole, across", go(string_movsl, src, WINDOW_AT(5) - 10, 100, 0),
             FAULTED(V_PF));
    check("two words were done", stopped(src + 8, WINDOW_AT(5) - 2, 98, string_movsl, WINDOW_AT(5)));
    check_eq("rep stosl into a hole", go(string_stosl, 0, WINDOW_AT(5) - 400, 1000, 0x77), FAULTED(V_PF));
    check("registers then", stopped(0, WINDOW_AT(5), 900, string_stosl, WINDOW_AT(5)));
    check_eq("repne scasb into a hole", go(string_scasb, 0, WINDOW_AT(5) - 300, 1000, 0x78), FAULTED(V_PF));
    check("registers then, too", stopped(0, WINDOW_AT(5), 700, string_scasb, WINDOW_AT(5)));
    check_eq("its error code", last.error, 4);
    check_eq("repne scasb below", go(string_scasb, 0, WINDOW_AT(5) - 300, 1000, 0x80), FAULTED(V_PF));
    /* SDM vol. 2, REP: as they were before the instruction; TCG leaves those of the last comparison */
    check_tcg_gap("flags at a fault of scas", !(last.eflags & 0x8d5));
    check_eq("rep lodsw into a hole", go(string_lodsw, WINDOW_AT(5) - 20, 0, 100, 0), FAULTED(V_PF));
    check("registers after lodsw", stopped(WINDOW_AT(5), 0, 90, string_lodsw, WINDOW_AT(5)));
    check_eq("repe cmpsl into a hole", go(string_cmpsl, WINDOW_AT(5) - 40, WINDOW_AT(5) - 40, 100, 0),
             FAULTED(V_PF));
    check("registers after cmpsl", stopped(WINDOW_AT(5), WINDOW_AT(5), 90, string_cmpsl, WINDOW_AT(5)));
    check_eq("backwards into a hole", go(string_std, src + 800, WINDOW_AT(6) + 80, 100, 0), FAULTED(V_PF));
    check("registers backwards",
          last.frame.edi == WINDOW_AT(5) + 4096 - 4 && last.frame.ecx == 100 - 21 && (last.eflags & FL_DF));
    /* A read-only destination, a source hole. */
    set_pte(5, ARENA(5) | P_U | P_P);
    set_pte(1, 0);
    write_cr3((u32)page_dir);
    check_eq("into a read-only page", go(string_movsb, src, WINDOW_AT(5) - 5, 100, 0), FAULTED(V_PF));
    check("stops there", stopped(src + 5, WINDOW_AT(5), 95, string_movsb, WINDOW_AT(5)) && last.error == 7);
    check_eq("from a hole", go(string_movsb, src + 4000, dst, 200, 0), FAULTED(V_PF));
    check("stops at the source",
          stopped(WINDOW_AT(1), dst + 96, 104, string_movsb, WINDOW_AT(1)) && last.error == 4);
    check_eq("a count of zero touches nothing", go(string_movsb, WINDOW_AT(1), WINDOW_AT(5), 0, 0),
             FAULTED(V_UD));
    paging_off();
}

/* The handler fills the hole and returns: the instruction goes on. */
static u32 filled;
static void fill_hole(struct frame *f)
{
    (void)f;
    u32 va = read_cr2() & ~0xfffu;
    set_pte((va - WINDOW) >> 12, ARENA((va - WINDOW) >> 12) | P_U | P_W | P_P);
    filled++;
}

static void restart(void)
{
    paging_on();
    fill(0, 16, 5);
    memset((void *)ARENA(32), 0, 16 * 4096);
    for (u32 i = 0; i < WINDOW_PAGES; i++)
        set_pte(i, 0);
    write_cr3((u32)page_dir);
    handlers[V_PF] = fill_hole;
    filled = 0;
    u32 s = WINDOW_AT(0) + 1, d = WINDOW_AT(32) + 2, c = 16000;
    asm volatile("rep movsl" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
    check("restarted at each hole", !memcmp((void *)(ARENA(0) + 1), (void *)(ARENA(32) + 2), 64000) && !c);
    check_eq("once a page", filled, 32);
    handlers[V_PF] = NULL;
    paging_off();
}

/* Blocks that run from ordinary pages into others: memory of a device, page tables, code, the end of the
 * address space. */
typedef u32 fn(void);

static void put_return(u8 *p, u32 v)
{
    p[0] = 0xb8;
    p[1] = (u8)v, p[2] = (u8)(v >> 8), p[3] = (u8)(v >> 16), p[4] = (u8)(v >> 24);
    p[5] = 0xc3;
    asm volatile("" : : : "memory");
}

static void movsl(u32 s, u32 d, u32 c)
{
    asm volatile("rep movsl" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
}

/* Video memory as a row of bytes at A0000h (chain four). */
static void video_on(void)
{
    static const u8 seq[] = {2, 0x0f, 4, 0x0e}, gr[] = {0, 0, 1, 0, 3, 0, 4, 0, 5, 0x40, 6, 5, 8, 0xff};
    outb(0x3c2, 0x63);
    for (u32 i = 0; i < sizeof(seq); i += 2)
        outb(0x3c4, seq[i]), outb(0x3c5, seq[i + 1]);
    for (u32 i = 0; i < sizeof(gr); i += 2)
        outb(0x3ce, gr[i]), outb(0x3cf, gr[i + 1]);
}

static void onto_device(void)
{
    u32 s = ARENA(0), d = WINDOW_AT(30), c = 2048;
    bool equal = true;
    fill(0, 2, 77);
    /* where there is nothing: what is written is lost */
    set_pte(31, 0x20000000 | P_W | P_P);
    write_cr3((u32)page_dir);
    asm volatile("rep movsl" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
    check("off the end of memory",
          !c && s == ARENA(2) && d == WINDOW_AT(32) && !memcmp((void *)ARENA(30), (void *)ARENA(0), 4096));
    movsl(WINDOW_AT(30), ARENA(4), 2048);
    for (u32 i = 1; i < 4096; i++)
        equal = equal && arena[5 * 4096 + i] == arena[5 * 4096];
    check("back from there", equal && !memcmp((void *)ARENA(4), (void *)ARENA(0), 4096));
    /* in a machine that has it (with --lockstep, none has: it would be an input) */
    video_on();
    *(volatile u32 *)0xa0000 = 0x12345678;
    if (*(volatile u32 *)0xa0000 == 0x12345678) {
        set_pte(31, 0xa0000 | P_W | P_P);
        write_cr3((u32)page_dir);
        s = ARENA(0), d = WINDOW_AT(30), c = 2048;
        movsl(s, d, c);
        asm volatile("repe cmpsl\n\tsete %0" : "=q"(equal), "+S"(s), "+D"(d), "+c"(c) : : "memory", "cc");
        check("into video memory and back", equal && !c && s == ARENA(2) && d == WINDOW_AT(32));
        memset((void *)ARENA(4), 0, 8192);
        movsl(WINDOW_AT(30), ARENA(4), 2048);
        check("out of video memory", !memcmp((void *)ARENA(4), (void *)ARENA(0), 8192));
        d = WINDOW_AT(30), c = 8192;
        asm volatile("rep stosb" : "+D"(d), "+c"(c) : "a"(0) : "memory");
        check("rep stosb into video memory",
              !*(u32 *)0xa0000 && !*(u32 *)(0xa0000 + 4092) && d == WINDOW_AT(32));
    }
    set_pte(31, ARENA(31) | P_W | P_P);
    write_cr3((u32)page_dir);
}

static void onto_page_table(void)
{
    bool good = true;
    *(u32 *)ARENA(10) = 10;
    *(u32 *)ARENA(11) = 11;
    fill(0, 1, 5);
    set_pte(40, (u32)window_table | P_W | P_P);
    write_cr3((u32)page_dir);
    for (u32 round = 0; round < 20; round++) {
        good = good && *(volatile u32 *)WINDOW_AT(10) == 10 + round % 2;
        memcpy((void *)ARENA(1), window_table, 4096);
        ((u32 *)ARENA(1))[10] = ARENA(11 - round % 2) | P_W | P_P;
        movsl(ARENA(0), WINDOW_AT(39), 2048);
        invlpg(WINDOW_AT(10));
    }
    check("a block over the page table in use", good && !memcmp((void *)ARENA(39), (void *)ARENA(0), 4096));
    set_pte(40, ARENA(40) | P_W | P_P);
    set_pte(10, ARENA(10) | P_W | P_P);
    write_cr3((u32)page_dir);
}

extern u8 string_over[], string_over_end[];
asm(".data\nstring_over:\n\tpushl %esi\n\tpushl %edi\n\tmovl $8192, %ecx\n\trep movsb\n\tmovl $0x11111111, "
    "%eax\n\t"
    "popl %edi\n\tpopl %esi\n\tret\nstring_over_end:\n.text");

static void onto_code(void)
{
    bool good = true;
    u32 v, s, d, c;
    for (u32 round = 0; round < 20; round++) {
        put_return((u8 *)ARENA(21) + 500, 1000 + round);
        good = good && ((fn *)(ARENA(21) + 500))() == 1000 + round;
        put_return((u8 *)ARENA(1) + 500, round);
        if (round % 2) {
            movsl(ARENA(0), ARENA(20), 3 * 1024);
        } else {
            s = ARENA(3) - 4, d = ARENA(23) - 4, c = 3 * 1024;
            asm volatile("std\n\trep movsl\n\tcld" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
        }
        good = good && ((fn *)(ARENA(21) + 500))() == round;
    }
    check("a block over code that was run", good);
    /* Over itself: what follows is the copy's. */
    u8 *code = (u8 *)ARENA(25) + 4090;
    good = true;
    for (u32 round = 0; round < 4; round++) {
        memcpy(code, string_over, (u32)(string_over_end - string_over));
        memcpy((void *)ARENA(0), (void *)ARENA(25), 8192);
        u8 *p = (u8 *)ARENA(0) + 4090;
        while (*p != 0xb8)
            p++;
        p[1] = (u8)round;
        s = ARENA(0), d = ARENA(25);
        asm volatile("call *%1" : "=a"(v), "+r"(code), "+S"(s), "+D"(d) : : "ecx", "memory");
        good = good && v == 0x11111100 + round;
    }
    check("a block over the instruction itself", good);
}

static void around_the_end(void)
{
    u32 s, d, c;
    u8 was[16]; /* of page 0, which is there to be read and written */
    bool good = true;
    page_dir[1023] = (u32)window_table | P_W | P_P;
    ((volatile u32 *)window_table)[1023] = ARENA(20) | P_W | P_P;
    write_cr3((u32)page_dir);
    fill(20, 1, 66);
    for (u32 i = 0; i < 16; i++)
        was[i] = ((volatile u8 *)0)[i];
    s = 0xfffffff0, d = ARENA(8), c = 32;
    asm volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
    check("rep movsb around 4 GiB", s == 16 && !c &&
                                        !memcmp((void *)ARENA(8), (void *)(ARENA(21) - 16), 16) &&
                                        !memcmp((void *)(ARENA(8) + 16), was, 16));
    s = 15, d = ARENA(8) + 31, c = 32;
    asm volatile("std\n\trep movsb\n\tcld" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
    check("and backwards", s == 0xffffffef && !c && !memcmp((void *)ARENA(8), (void *)(ARENA(21) - 16), 16) &&
                               !memcmp((void *)(ARENA(8) + 16), was, 16));
    d = 0xffffe800, c = 0x600 + 4;
    set_pte(1022, ARENA(19) | P_W | P_P);
    asm volatile("rep stosl" : "+D"(d), "+c"(c) : "a"(0x5a5a5a5a) : "memory");
    for (u32 i = 0; i < 4; i++) {
        good = good && ((volatile u32 *)0)[i] == 0x5a5a5a5a;
        ((volatile u32 *)0)[i] = ((u32 *)was)[i];
    }
    check("rep stosl around 4 GiB", good && d == 16 && *(u32 *)(ARENA(21) - 4) == 0x5a5a5a5a &&
                                        *(u32 *)(ARENA(19) + 0x800) == 0x5a5a5a5a);
    d = 0xfffffff8, c = 100;
    asm volatile("repne scasb" : "+D"(d), "+c"(c) : "a"(was[5]) : "memory", "cc");
    good = d <= 6 && d > 0 && c == 100 - 8 - d;
    check("repne scasb around 4 GiB", good);
    page_dir[1023] = 0;
    write_cr3((u32)page_dir);
}

static void special(void)
{
    paging_on();
    onto_device();
    onto_page_table();
    onto_code();
    around_the_end();
    paging_off();
}

/* A long rep must take interrupts between iterations, with registers that can go on. */
static volatile u32 irq_inside;
extern u8 string_long[], string_down[];
static void on_tick(struct frame *f)
{
    if ((f->eip == (u32)string_long || f->eip == (u32)string_down) && f->ecx)
        irq_inside++;
    pic_eoi(0);
}

static void interrupted(void)
{
    handlers[V_IRQ0] = on_tick;
    irq_inside = 0;
    pit_start(10000);
    pic_mask(0xfffe);
    asm volatile("sti");
    bool good = true;
    for (u32 round = 0; round < 400; round++) {
        u32 s = ARENA(0), d = ARENA(32), c = 100000;
        fill(0, 1, round);
        *(u32 *)ARENA(0) = round;
        asm volatile("jmp string_long\nstring_long:\n\trep movsb" : "+S"(s), "+D"(d), "+c"(c) : : "memory");
        good = good && !c && *(u32 *)ARENA(32) == round && s == ARENA(0) + 100000;
    }
    check("long copies under interrupts", good);
    puts(irq_inside ? "# some within a copy\n" : "# none within a copy\n");
    /* Backwards they are slow everywhere: until interrupts have come in their middle. */
    good = true;
    irq_inside = 0;
    for (u32 round = 0; round < 100000 && irq_inside < 20; round++) {
        u32 s = ARENA(32) - 1, d = ARENA(64) - 1, c = ARENA(32) - ARENA(0);
        *(u32 *)ARENA(0) = round;
        asm volatile("std\n\tjmp string_down\nstring_down:\n\trep movsb\n\tcld"
                     : "+S"(s), "+D"(d), "+c"(c)
                     :
                     : "memory");
        good = good && !c && *(u32 *)ARENA(32) == round && s == ARENA(0) - 1 && d == ARENA(32) - 1;
    }
    timer_off();
    check("long copies backwards", good);
    check("interrupts within them", irq_inside);
}

void test_string(void)
{
    plain();
    midway();
    restart();
    special();
    interrupted();
}
