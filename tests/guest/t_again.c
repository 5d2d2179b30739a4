/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The same way in and out again and again, while the tables on the way change: gates, descriptors, the stack
 * in the TSS. The processor reads them each time (SDM vol. 3, 6.12.1), whatever an engine remembers of the
 * last time.
 */
#include "kernel.h"

extern const u32 isr_table[256];
static u32 hits, seen_vector, seen_cs, seen_ss, seen_flags, seen_top, saved_esp0;

static void on_int(struct frame *f)
{
    hits++;
    seen_vector = f->vector;
    seen_flags = read_flags();
    seen_top = (u32)(&f->ss + 1);
    asm volatile("movl %%cs, %0\n\tmovl %%ss, %1" : "=r"(seen_cs), "=r"(seen_ss));
}

static __attribute__((noinline)) u32 user_int(u32 arg)
{
    asm volatile("int $0x70" : : : "memory");
    return arg;
}

static bool accessed(u32 sel)
{
    return ((volatile u64 *)gdt)[sel >> 3] >> 40 & 1;
}

static u32 user_flags(u32 arg)
{
    (void)arg;
    return read_flags();
}

static u32 user_segments(u32 arg)
{
    u32 fs, gs;
    (void)arg;
    asm volatile("movl %%fs, %0\n\tmovl %%gs, %1" : "=r"(fs), "=r"(gs));
    return fs | gs << 16;
}

/* From ring 3, when ways that work have been taken often enough to be known. */
static u32 from_user(void)
{
    return run_user(user_int, 5, FL_IF);
}
static void warm(const char *name)
{
    set_gate(0x70, ACC_TRAP32 | ACC_DPL3);
    for (u32 k = 0; k < 3; k++) {
        hits = 0;
        bool good = from_user() == 5 && hits == 1 && seen_vector == 0x70;
        asm volatile("int $0x70" : : : "memory");
        check(name, good && hits == 2);
    }
}

static void gates(void)
{
    warm("again: as ever");
    check("again: a trap gate keeps IF", from_user() == 5 && (seen_flags & FL_IF));
    set_gate(0x70, ACC_INT32 | ACC_DPL3);
    check("again: an interrupt gate now", from_user() == 5 && !(seen_flags & FL_IF));
    idt[0x70] = make_gate(SEL_KCODE, isr_table[0x71], ACC_TRAP32 | ACC_DPL3, 0);
    check("again: another handler", from_user() == 5 && seen_vector == 0x71);
    asm volatile("int $0x70" : : : "memory");
    check("again: another handler from ring 0", seen_vector == 0x71);
    warm("again: back");
    set_gate(0x70, ACC_TRAP32);
    check_eq("again: dpl 0 now", from_user(), FAULTED(V_GP));
    check_eq("again: dpl 0 now: error", last.error, 0x70 * 8 + 2);
    hits = 0;
    asm volatile("int $0x70" : : : "memory");
    check_eq("again: dpl 0 from ring 0", hits, 1);
    warm("again: back from dpl 0");
    set_gate(0x70, (ACC_TRAP32 | ACC_DPL3) & ~0x80);
    check_eq("again: not present now", from_user(), FAULTED(V_NP));
    check_eq("again: not present now: error", last.error, 0x70 * 8 + 2);
    warm("again: back from not present");
    load_idt(0x70 * 8 + 6);
    CHECK_FAULT("again: beyond the table now", V_GP, 0x70 * 8 + 2, "int $0x70", ::);
    load_idt(sizeof(idt) - 1);
    warm("again: back in the table");

    u64 *other = (u64 *)ARENA(8);
    memcpy(other, idt, sizeof(idt));
    other[0x70] = make_gate(SEL_KCODE, isr_table[0x71], ACC_TRAP32 | ACC_DPL3, 0);
    struct table_reg r = {sizeof(idt) - 1, (u32)other};
    asm volatile("lidt %0" : : "m"(r) : "memory");
    check("again: another table", from_user() == 5 && seen_vector == 0x71);
    load_idt(sizeof(idt) - 1);
}

static void code_segments(void)
{
    u64 code = make_desc(0, 0xfffff, ACC_CODE | 1, DESC_G | DESC_D);

    set_desc(SEL_T0, code);
    idt[0x70] = make_gate(SEL_T0, isr_table[0x70], ACC_TRAP32 | ACC_DPL3, 0);
    for (u32 k = 0; k < 3; k++)
        check("again: through another segment", from_user() == 5 && seen_cs == SEL_T0);
    set_desc(SEL_T0, code & ~(1ull << 40));
    check("again: accessed bit clear", from_user() == 5);
    check_tcg_gap("again: and set", accessed(SEL_T0)); /* TCG sets it at data segment loads only */
    set_desc(SEL_T0, code & ~(1ull << 47));
    check_eq("again: handler's segment not present", from_user(), FAULTED(V_NP));
    check_eq("again: handler's segment not present: error", last.error, SEL_T0);
    set_desc(SEL_T0, make_desc(0, 0xfffff, ACC_DATA | 1, DESC_G | DESC_D));
    check_eq("again: handler's segment is data", from_user(), FAULTED(V_GP));
    check_eq("again: handler's segment is data: error", last.error, SEL_T0);
    set_desc(SEL_T0, make_desc(0, 0xfff, ACC_CODE | 1, DESC_D));
    if (!peer_is_qemu) { /* which has no code limits */
        check_eq("again: handler beyond its segment", from_user(), FAULTED(V_GP));
        check_eq("again: handler beyond its segment: error", last.error, 0);
    }
    set_desc(SEL_T0, code);
    hits = 0;
    check("again: back in its segment", from_user() == 5 && hits == 1);
}

/* int 0x80 from ring 3: takes the kernel's stack where eax says, for the traps that follow. */
static u32 move_stack(struct frame *f)
{
    saved_esp0 = tss.esp0;
    tss.esp0 = f->edx;
    return 0;
}

static __attribute__((noinline)) u32 user_on_stack(u32 top)
{
    asm volatile("int $0x80\n\tint $0x70" : : "a"(0x1234), "d"(top) : "memory");
    return 5;
}

static void stacks(void)
{
    warm("again: stacks");
    from_user();
    check_eq("again: the frame is below esp0", seen_top, tss.esp0);
    syscall_hook = move_stack;
    for (u32 k = 0; k < 12; k++) { /* the frame's words on both sides of a page boundary */
        u32 top = ARENA(5) + 4 * k;
        hits = 0;
        check_eq("again: a frame across pages", run_user(user_on_stack, top, 0), 5);
        check("again: a frame across pages: where", hits == 1 && seen_top == top);
    }
    /* another stack segment */
    set_desc(SEL_T1, make_desc(0, 0xfffff, ACC_DATA | 1, DESC_G | DESC_D));
    tss.ss0 = SEL_T1;
    for (u32 k = 0; k < 3; k++)
        check("again: another ss0", run_user(user_on_stack, ARENA(5), 0) == 5 && seen_ss == SEL_T1);
    set_desc(SEL_T1, make_desc(0, 0xfffff, ACC_DATA, DESC_G | DESC_D));
    check("again: ss0 not accessed", run_user(user_on_stack, ARENA(5), 0) == 5);
    check_tcg_gap("again: and set", accessed(SEL_T1)); /* TCG sets it at data segment loads only */
    tss.ss0 = SEL_KDATA;

    /* pages of the stack: D is set by the push, and the write goes where the tables say */
    paging_on();
    for (u32 k = 0; k < 3; k++)
        check_eq("again: a paged stack", run_user(user_on_stack, WINDOW_AT(6), 0), 5);
    set_pte(5, ARENA(5) | P_P | P_W);
    invlpg(WINDOW_AT(5));
    check_eq("again: a clean page", run_user(user_on_stack, WINDOW_AT(6), 0), 5);
    check("again: a clean page: D", (window_table[5] & (P_A | P_D)) == (P_A | P_D));
    *(volatile u32 *)(ARENA(7) + 4092) = 0;
    set_pte(5, ARENA(7) | P_P | P_W);
    invlpg(WINDOW_AT(5));
    check_eq("again: another page", run_user(user_on_stack, WINDOW_AT(6), 0), 5);
    check_eq("again: another page: ss", *(volatile u32 *)(ARENA(7) + 4092) & 0xffff, SEL_UDATA);
    paging_off();
    syscall_hook = NULL;
}

extern u8 again_landing[];
asm(".text\nagain_landing:\n\tint $0x80\n");

/* iret to cs:again_landing with this stack segment; the landing's int 0x80 comes back by leave_user(). */
static __attribute__((noinline)) void check_iret(const char *name, u32 cs, u32 ss, u32 vector, u32 error)
{
    u32 got = TRY("pushl %1\n\tpushl $user_stack_top\n\tpushl $2\n\tpushl %0\n\tpushl $again_landing\n\tiret",
                  :
                  : "r"(cs), "r"(ss)
                  : "memory");
    check_fault(name, got, last.error, vector, error);
}

static u32 come_back(struct frame *f)
{
    (void)f;
    leave_user(1);
}

static u32 go_and_return(u32 cs, u32 ss, u32 flags)
{
    struct user_regs r = {(u32)again_landing, cs, flags, (u32)user_stack_top, ss, 0, 0, 0, 0, 0x4321, 0};
    return enter_user(&r);
}

static u8 again_carry;
static void irets(void)
{
    u64 code = make_desc(0, 0xfffff, ACC_CODE | ACC_DPL3 | 1, DESC_G | DESC_D);
    u64 data = make_desc(0, 0xfffff, ACC_DATA | ACC_DPL3 | 1, DESC_G | DESC_D);
    static const struct {
        const char *name;
        bool of_ss;
        u32 base_attr, vector, error;
    } bad[] = {
        {"again: iret: cs not present", false, 0x7b, V_NP, SEL_T2},
        {"again: iret: cs of dpl 0", false, 0x9b, V_GP, SEL_T2},
        {"again: iret: cs is data", false, 0xf3, V_GP, SEL_T2},
        {"again: iret: ss not present", true, 0x73, V_SS, SEL_T3},
        {"again: iret: ss of dpl 0", true, 0x93, V_GP, SEL_T3},
        {"again: iret: ss read-only", true, 0xf1, V_GP, SEL_T3},
        {"again: iret: ss is code", true, 0xfb, V_GP, SEL_T3},
    };

    set_desc(SEL_T2, code);
    set_desc(SEL_T3, data);
    syscall_hook = come_back;
    for (u32 n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
        for (u32 k = 0; k < 3; k++)
            check_eq("again: iret", go_and_return(SEL_T2 | 3, SEL_T3 | 3, 2), 1);
        set_desc(bad[n].of_ss ? SEL_T3 : SEL_T2,
                 make_desc(0, 0xfffff, (u8)bad[n].base_attr, DESC_G | DESC_D));
        if (bad[n].vector != V_SS || !peer_is_qemu) /* TCG: #NP */
            check_iret(bad[n].name, SEL_T2 | 3, SEL_T3 | 3, bad[n].vector, bad[n].error);
        set_desc(SEL_T2, code);
        set_desc(SEL_T3, data);
    }
    check_eq("again: iret: as ever", go_and_return(SEL_T2 | 3, SEL_T3 | 3, 2), 1);
    check_iret("again: iret: null ss", SEL_T2 | 3, 0, V_GP, 0);
    check_iret("again: iret: ss with another rpl", SEL_T2 | 3, SEL_T3, V_GP, SEL_T3);
    set_desc(SEL_T2, make_desc(0, 0xfff, ACC_CODE | ACC_DPL3 | 1, DESC_D));
    if (!peer_is_qemu)
        check_iret("again: iret: beyond the limit", SEL_T2 | 3, SEL_T3 | 3, V_GP, 0);
    set_desc(SEL_T2, code & ~(1ull << 40));
    check_eq("again: iret: cs not accessed", go_and_return(SEL_T2 | 3, SEL_T3 | 3, 2), 1);
    if (!peer_is_qemu)
        check_eq("again: iret: and set", (u32)(((volatile u64 *)gdt)[SEL_T2 >> 3] >> 40) & 1, 1);
    syscall_hook = NULL;

    /* flags */
    for (u32 k = 0; k < 3; k++)
        check_eq("again: iret: flags",
                 run_user(user_flags, 0, FL_CF | FL_OF | FL_DF) & (FL_CF | FL_OF | FL_DF | FL_IF),
                 FL_CF | FL_OF | FL_DF);
    check_eq("again: iret: IF, IOPL, AC, ID",
             run_user(user_flags, 0, FL_IF | FL_IOPL3 | FL_AC | FL_ID) &
                 (FL_IF | FL_IOPL3 | FL_AC | FL_ID | FL_CF),
             FL_IF | FL_IOPL3 | FL_AC | FL_ID);
    check_eq("again: iret: and without", run_user(user_flags, 0, 0) & (FL_IF | FL_IOPL3 | FL_AC | FL_ID), 0);
    check_eq("again: iret: TF", run_user(user_flags, 0, FL_TF), FAULTED(V_DB));
    check_eq("again: iret: without TF", run_user(user_flags, 0, 0) & FL_TF, 0);
    tss.link = 0;
    write_flags(FL_NT | 2);
    u32 v = TRY("pushfl\n\tpushl %0\n\tpushl $1f\n\tiret\n1:", : : "r"(SEL_KCODE) : "memory");
    write_flags(2);
    check_eq("again: iret under NT", v, V_TS);

    /* segments that ring 3 may not keep */
    static const struct {
        u32 fs, gs, want;
    } keep[] = {{SEL_UDATA, SEL_UDATA, SEL_UDATA | SEL_UDATA << 16},
                {SEL_KDATA, SEL_UDATA, SEL_UDATA << 16},
                {SEL_UDATA, SEL_KDATA, SEL_UDATA},
                {SEL_UDATA, SEL_UDATA, SEL_UDATA | SEL_UDATA << 16},
                {0, SEL_KDATA, 0},
                {SEL_UDATA, 0, SEL_UDATA}};
    for (u32 n = 0; n < sizeof(keep) / sizeof(keep[0]); n++) {
        asm volatile("movl %0, %%fs\n\tmovl %1, %%gs" : : "r"(keep[n].fs), "r"(keep[n].gs));
        u32 got = run_user(user_segments, 0, 0);
        asm volatile("movl %0, %%fs\n\tmovl %0, %%gs" : : "r"(0));
        check_eq("again: iret: segments", got, keep[n].want);
    }
}

/* iretd within ring 0, its frame at `at`: the flags that it leaves, and where esp is then. */
static __attribute__((noinline)) u32 iret_at(u32 at, u32 flags, u32 *esp)
{
    u32 got, where;
    asm volatile(
        "movl %%esp, %%esi\n\tmovl $1f, (%2)\n\tmovl $0, 4(%2)\n\tmovw %%cs, 4(%2)\n\tmovl %3, 8(%2)\n\t"
        "movl %2, %%esp\n\tiret\n1:\tmovl %%esp, %1\n\tmovl %%esi, %%esp\n\tpushfl\n\tpopl %0\n\t"
        "pushl $2\n\tpopfl"
        : "=&r"(got), "=&r"(where)
        : "r"(at), "r"(flags)
        : "esi", "memory", "cc");
    *esp = where;
    return got;
}

static void check_iret_at(const char *name, u32 at, u32 flags)
{
    const u32 seen = FL_CF | FL_OF | FL_DF | FL_IOPL3 | FL_AC | FL_ID | FL_RF | FL_NT;
    u32 esp, got = iret_at(at, flags, &esp);
    check(name, (got & seen) == (flags & seen & ~FL_RF) && esp == at + 12);
}

static void irets_within(void)
{
    static const u32 flags[] = {2, FL_CF | FL_OF | 2, FL_DF | 2, 2,         FL_IOPL3 | 2,
                                2, FL_AC | 2,         FL_ID | 2, FL_RF | 2, 2};
    u32 esp;

    for (u32 n = 0; n < sizeof(flags) / sizeof(flags[0]); n++)
        for (u32 k = 0; k < 3; k++)
            check_iret_at("again: iret within ring 0", ARENA(5) + 0x100, flags[n]);
    for (u32 k = 0; k < 24; k++) /* a frame on both sides of a page boundary */
        check_iret_at("again: iret within ring 0 near a page's end", ARENA(6) - 4 * (k % 8), flags[k % 2]);

    paging_on();
    for (u32 k = 0; k < 3; k++)
        check_iret_at("again: iret from a paged stack", WINDOW_AT(6) + 0x100, 2);
    iret_at(ARENA(7) + 0x100, FL_CF | 2, &esp); /* the frame stays there */
    set_pte(6, ARENA(7) | P_P);
    invlpg(WINDOW_AT(6));
    u32 v = TRY("movl %0, %%esp\n\tmovl $.Lagain%=, %1\n\tiret\n.Lagain%=:\n\tsetc %2",
                :
                : "r"(WINDOW_AT(6) + 0x100), "m"(*(u32 *)(ARENA(7) + 0x100)), "m"(again_carry)
                : "memory", "cc");
    check("again: iret from another page, read-only", v == V_NONE && again_carry == 1);
    paging_off();
}

/* Calls that are never returned from, as kernels make them against speculation: an engine that keeps their
 * return addresses must stand it whatever instruction finds its store full. */
static u8 again_from[4] = {1, 2, 3, 4}, again_to[4];
static u32 esp_before, esp_after;
static void calls_without_returns(void)
{
    asm volatile("movl %%esp, esp_before\n\tmovl $20000, %%eax\n"
                 "1:\tmovl $again_from, %%esi\n\tmovl $again_to, %%edi\n\tmovl $4, %%ecx\n\trep movsb\n\t"
                 "call 2f\n\tud2\n2:\taddl $4, %%esp\n\tpushfl\n\tpopl %%ecx\n\tpushl %%fs\n\tpopl %%fs\n\t"
                 "decl %%eax\n\tjnz 1b\n\tmovl %%esp, esp_after"
                 :
                 :
                 : "eax", "ecx", "esi", "edi", "cc", "memory");
    check("again: calls without returns", esp_before == esp_after && !memcmp(again_from, again_to, 4));
}

void test_again(void)
{
    calls_without_returns();
    handlers[0x70] = on_int;
    handlers[0x71] = on_int;
    gates();
    code_segments();
    stacks();
    irets();
    irets_within();
    handlers[0x70] = NULL;
    handlers[0x71] = NULL;
    set_gate(0x70, ACC_INT32);
    tables_init();
}
