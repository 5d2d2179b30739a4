/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paging: faults and their error codes, A and D bits, WP, U/S, large pages, stale and fresh translations
 * (SDM vol. 3, chapter 4). */
#include "kernel.h"

static u32 user_read(u32 va)
{
    return *(volatile u32 *)va;
}

static u32 user_write(u32 va)
{
    *(volatile u32 *)va = 0x77;
    return 0;
}

static u32 user_jump(u32 va)
{
    return ((u32(*)(void))va)();
}

#define STORE(name, want, err, va)                                                                           \
    do {                                                                                                     \
        CHECK_FAULT(name, want, err, "movl %%eax, (%0)", : : "r"(va) : "memory");                            \
        check_eq(name ": cr2", last.cr2, va);                                                                \
    } while (0)

static u32 pte(u32 page)
{
    return ((volatile u32 *)window_table)[page];
}

static void faults(void)
{
    u32 va = WINDOW_AT(3), v;
    *(u32 *)ARENA(3) = 0x1234;
    check_eq("a mapped page reads its frame", *(volatile u32 *)va, 0x1234);
    set_pte(3, 0);
    invlpg(va);
    CHECK_FAULT("read of no page", V_PF, 0, "movl (%0), %%eax", : : "r"(va) : "eax");
    check_eq("read of no page: cr2", last.cr2, va);
    STORE("write to no page", V_PF, 2, va + 0x123);
    check_eq("user read of no page", run_user(user_read, va, 0), FAULTED(V_PF));
    check_eq("user read of no page: error", last.error, 4);
    check_eq("user write to no page", run_user(user_write, va, 0), FAULTED(V_PF));
    check_eq("user write to no page: error", last.error, 6);
    check_eq("user jump to no page", run_user(user_jump, va + 8, 0), FAULTED(V_PF));
    check_eq("user jump to no page: error", last.error, 4);
    check_eq("user jump to no page: eip", last.eip, va + 8);
    check_eq("user jump to no page: cr2", last.cr2, va + 8);
    CHECK_FAULT("no page table", V_PF, 0, "movl (%0), %%eax", : : "r"(0x7fc00000) : "eax");

    set_pte(3, ARENA(3) | P_W | P_P); /* kernel only */
    invlpg(va);
    check_eq("kernel page read by the kernel", *(volatile u32 *)va, 0x1234);
    check_eq("kernel page read by the user", run_user(user_read, va, 0), FAULTED(V_PF));
    check_eq("kernel page read by the user: error", last.error, 5);
    check_eq("kernel page written by the user", run_user(user_write, va, 0), FAULTED(V_PF));
    check_eq("kernel page written by the user: error", last.error, 7);
    check_eq("kernel page executed by the user", run_user(user_jump, va, 0), FAULTED(V_PF));
    check_eq("kernel page executed by the user: error", last.error, 5);

    set_pte(3, ARENA(3) | P_U | P_P); /* read only */
    invlpg(va);
    STORE("read-only page written with WP", V_PF, 3, va);
    check_eq("read-only page read by the user", run_user(user_read, va, 0), 0x1234);
    check_eq("read-only page written by the user", run_user(user_write, va, 0), FAULTED(V_PF));
    check_eq("read-only page written by the user: error", last.error, 7);
    write_cr0(read_cr0() & ~CR0_WP);
    CHECK_NO_FAULT("read-only page written without WP", "movl %1, (%0)", : : "r"(va), "r"(0x5678) : "memory");
    check_eq("and the write arrives", *(volatile u32 *)ARENA(3), 0x5678);
    check_eq("without WP the user still may not", run_user(user_write, va, 0), FAULTED(V_PF));
    write_cr0(read_cr0() | CR0_WP);
    STORE("WP again", V_PF, 3, va);

    /* Rights of the directory entry count as well. */
    set_pte(3, ARENA(3) | P_U | P_W | P_P);
    page_dir[WINDOW >> 22] = (u32)window_table | P_P | P_W;
    write_cr3((u32)page_dir);
    check_eq("kernel-only directory entry", run_user(user_read, va, 0), FAULTED(V_PF));
    check_eq("kernel-only directory entry: error", last.error, 5);
    page_dir[WINDOW >> 22] = (u32)window_table | P_P | P_U;
    write_cr3((u32)page_dir);
    STORE("read-only directory entry", V_PF, 3, va);
    page_dir[WINDOW >> 22] = 0;
    write_cr3((u32)page_dir);
    STORE("directory entry not present", V_PF, 2, va);
    page_dir[WINDOW >> 22] = (u32)window_table | P_P | P_W | P_U;
    write_cr3((u32)page_dir);
    asm volatile("movl (%1), %0" : "=r"(v) : "r"(va) : "memory");
    check_eq("directory entry restored", v, 0x5678);

    /* The kernel's own accesses while it delivers for the user are supervisor accesses: a far pointer to the
     * GDT in a kernel-only page. */
    u32 gdt_copy = WINDOW_AT(5);
    memcpy((void *)ARENA(5), gdt, GDT_BYTES);
    set_pte(5, ARENA(5) | P_W | P_P);
    invlpg(gdt_copy);
    struct table_reg r = {GDT_BYTES - 1, gdt_copy};
    asm volatile("lgdt %0" : : "m"(r));
    check_eq("descriptor tables in kernel pages", run_user(user_read, va, 0), 0x5678);
    load_gdt(GDT_BYTES - 1);
}

static void accessed_and_dirty(void)
{
    u32 va = WINDOW_AT(4);
    set_pte(4, ARENA(4) | P_U | P_W | P_P);
    invlpg(va);
    check_eq("A and D clear at first", pte(4) & (P_A | P_D), 0);
    (void)*(volatile u32 *)va;
    check_eq("a read sets A", pte(4) & (P_A | P_D), P_A);
    *(volatile u32 *)va = 1;
    check_eq("a write sets D", pte(4) & (P_A | P_D), P_A | P_D);
    set_pte(4, ARENA(4) | P_U | P_W | P_P);
    invlpg(va);
    *(volatile u32 *)va = 2;
    check_eq("a write alone sets both", pte(4) & (P_A | P_D), P_A | P_D);
    set_pte(4, ARENA(4) | P_U | P_W | P_P | P_A);
    invlpg(va);
    (void)*(volatile u32 *)va;
    check_eq("a read leaves D clear", pte(4) & P_D, 0);
    asm volatile("lock addl $1, (%0)" : : "r"(va) : "memory");
    check_eq("a read-modify-write sets D", pte(4) & P_D, P_D);
    set_pte(4, ARENA(4) | P_U | P_P);
    invlpg(va);
    CHECK_FAULT("a refused write", V_PF, 3, "movl %%eax, (%0)", : : "r"(va) : "memory");
    check_eq("a refused write leaves D clear", pte(4) & P_D, 0);
    page_dir[WINDOW >> 22] &= ~(u32)P_A;
    write_cr3((u32)page_dir);
    (void)*(volatile u32 *)va;
    check_eq("A in the directory entry", ((volatile u32 *)page_dir)[WINDOW >> 22] & P_A, P_A);
    /* Code fetch sets A. */
    *(u8 *)ARENA(4) = 0xc3;
    set_pte(4, ARENA(4) | P_U | P_W | P_P);
    invlpg(va);
    ((void (*)(void))va)();
    check_eq("a fetch sets A", pte(4) & (P_A | P_D), P_A);
    /* The same frame at two addresses: each entry has its own bits. */
    set_pte(6, ARENA(4) | P_U | P_W | P_P);
    set_pte(7, ARENA(4) | P_U | P_W | P_P);
    invlpg(WINDOW_AT(6));
    invlpg(WINDOW_AT(7));
    *(volatile u32 *)WINDOW_AT(6) = 9;
    check("bits belong to the entry", (pte(6) & P_D) && !(pte(7) & (P_A | P_D)));
    check_eq("aliases share the frame", *(volatile u32 *)WINDOW_AT(7), 9);
    set_pte(6, ARENA(6) | P_U | P_W | P_P);
    set_pte(7, ARENA(7) | P_U | P_W | P_P);
    write_cr3((u32)page_dir);
}

static void changes(void)
{
    u32 va = WINDOW_AT(8);
    *(u32 *)ARENA(8) = 8;
    *(u32 *)ARENA(9) = 9;
    (void)*(volatile u32 *)va;
    set_pte(8, ARENA(9) | P_U | P_W | P_P);
    invlpg(va);
    check_eq("changed entry after invlpg", *(volatile u32 *)va, 9);
    set_pte(8, ARENA(8) | P_U | P_W | P_P);
    write_cr3((u32)page_dir);
    check_eq("changed entry after a cr3 load", *(volatile u32 *)va, 8);
    set_pte(8, 0);
    invlpg(va);
    CHECK_FAULT("removed entry", V_PF, 0, "movl (%0), %%eax", : : "r"(va) : "eax");
    /* An entry that was not present is never cached: no flush is needed to add one. */
    set_pte(8, ARENA(8) | P_U | P_W | P_P);
    check_eq("added entry without a flush", *(volatile u32 *)va, 8);
    /* A fault on a stale read-only entry drops it: the retry sees the memory. */
    set_pte(8, ARENA(8) | P_U | P_P);
    invlpg(va);
    (void)*(volatile u32 *)va;
    set_pte(8, ARENA(8) | P_U | P_W | P_P);
    u32 vector = TRY("movl %1, (%0)", : : "r"(va), "r"(0x88) : "memory");
    if (vector == V_PF)
        vector = TRY("movl %1, (%0)", : : "r"(va), "r"(0x88) : "memory");
    check_eq("entry made writable, at most one spurious fault", vector, V_NONE);
    /* Another table for the same addresses: two address spaces. */
    static u32 other_dir[1024] __attribute__((aligned(4096))),
        other_table[1024] __attribute__((aligned(4096)));
    memcpy(other_dir, page_dir, sizeof(other_dir));
    memcpy(other_table, window_table, sizeof(other_table));
    other_table[8] = ARENA(9) | P_U | P_W | P_P;
    other_dir[WINDOW >> 22] = (u32)other_table | P_U | P_W | P_P;
    bool good = true;
    for (u32 i = 0; i < 200; i++) {
        write_cr3((u32)other_dir);
        good = good && *(volatile u32 *)va == 9 + i;
        (*(volatile u32 *)va)++;
        write_cr3((u32)page_dir);
        good = good && *(volatile u32 *)va == 0x88 + i;
        (*(volatile u32 *)va)++;
    }
    check("two address spaces in turn", good);
    /* A page table edited through its own mapping, over and over, with the effect checked each time. */
    set_pte(10, (u32)window_table | P_W | P_P);
    invlpg(WINDOW_AT(10));
    volatile u32 *self = (volatile u32 *)WINDOW_AT(10);
    for (u32 i = 0; i < 300; i++) {
        self[8] = ARENA(8 + (i & 1)) | P_U | P_W | P_P;
        invlpg(va);
        *(volatile u32 *)va = i;
        good = good && *(volatile u32 *)ARENA(8 + (i & 1)) == i;
    }
    check("a table edited through the page tables", good);
    /* Byte-wide and unaligned edits of an entry. */
    ((volatile u8 *)self)[8 * 4] = P_U | P_P;
    invlpg(va);
    CHECK_FAULT("entry edited by one byte", V_PF, 3, "movl %%eax, (%0)", : : "r"(va) : "memory");
    ((volatile u8 *)self)[8 * 4] = P_U | P_W | P_P;
    invlpg(va);
    asm volatile("lock btsl $1, %0\n\tlock btrl $1, %0" : "+m"(self[8]) : : "cc");
    invlpg(va);
    CHECK_FAULT("entry edited by lock btr", V_PF, 3, "movl %%eax, (%0)", : : "r"(va) : "memory");
    u32 d = (u32)&self[8];
    u32 image = ARENA(8) | P_U | P_W | P_P, s = (u32)&image;
    asm volatile("movsl" : "+S"(s), "+D"(d) : : "memory");
    invlpg(va);
    CHECK_NO_FAULT("entry edited by movs", "movl %%eax, (%0)", : : "r"(va) : "memory");
    asm volatile("xchgl %0, %1" : "+r"(s), "+m"(self[8]) : : "memory");
    check("xchg returns the entry with A and D", (s & (P_A | P_D)) == (P_A | P_D));
    asm volatile("lock cmpxchgl %2, %1" : "=a"(s), "+m"(self[8]) : "r"(image), "0"(self[8]) : "memory", "cc");
    invlpg(va);
    CHECK_NO_FAULT("entry edited by cmpxchg", "movl %%eax, (%0)", : : "r"(va) : "memory");
    set_pte(10, ARENA(10) | P_U | P_W | P_P);
    write_cr3((u32)page_dir);
}

/*
 * Entries written by every kind of instruction, over and over, while their page is in use: the mapping is
 * looked at after each, and flags and registers against the same instruction on a copy.
 */
static u32 writes_bad;

static void shows(u32 n, u32 entry, u32 frame)
{
    if (*(volatile u32 *)WINDOW_AT(entry) != 0xf0000 + frame)
        writes_bad |= 1u << n;
}

#define ENTRY 40
/* text on the entry and on a copy, eax and ecx in and out; the page is frame's then. */
#define EDIT(n, frame, text, a, c)                                                                           \
    do {                                                                                                     \
        u32 copy_ = *e, fl_, fl2_, a_ = (a), c_ = (c), a2_ = (a), c2_ = (c);                                 \
        asm volatile(text "\n\tpushfl\n\tpopl %0"                                                            \
                     : "=r"(fl2_), "+a"(a2_), "+c"(c2_)                                                      \
                     : "D"(&copy_)                                                                           \
                     : "memory", "cc");                                                                      \
        asm volatile(text "\n\tpushfl\n\tpopl %0"                                                            \
                     : "=r"(fl_), "+a"(a_), "+c"(c_)                                                         \
                     : "D"(e)                                                                                \
                     : "memory", "cc");                                                                      \
        invlpg(WINDOW_AT(ENTRY));                                                                            \
        if (((fl_ ^ fl2_) & 0xcd5) || a_ != a2_ || c_ != c2_ || *e != copy_)                                 \
            writes_bad |= 1u << 31;                                                                          \
        shows(n, ENTRY, frame);                                                                              \
    } while (0)

static void table_writes(void)
{
    u32 *e = &window_table[ENTRY], a = 30 + (ARENA(30) >> 12 & 1), b = a + 1; /* differ in bit 12 alone */
    u32 in_a = ARENA(a) | P_U | P_W | P_P, in_b = in_a + 0x1000, word, faulted = 0;

    writes_bad = 0;
    for (u32 n = a; n <= b; n++)
        *(u32 *)ARENA(n) = 0xf0000 + n;
    for (u32 k = 0; k < 60; k++) {
        EDIT(0, a, "movl %%eax, (%%edi)", in_a, 0);
        EDIT(1, b, "movw %%ax, (%%edi)", in_b, 0);
        EDIT(2, a, "movb %%ah, 1(%%edi)", in_a, 0);
        EDIT(3, b, "xorl $0x1000, (%%edi)", 0, 0);
        EDIT(4, a, "xorw $0x1000, (%%edi)", 0, 0);
        EDIT(5, b, "xorb $0x10, 1(%%edi)", 0, 0);
        EDIT(6, a, "subl %%eax, (%%edi)", 0x1000, 0);
        EDIT(7, b, "stc\n\tadcl %%eax, (%%edi)", 0xfff, 0);
        EDIT(8, a, "xchgl %%eax, (%%edi)", in_a, 0);
        EDIT(9, b, "lock; cmpxchgl %%ecx, (%%edi)", *e, in_b);
        EDIT(10, b, "lock; cmpxchgl %%ecx, (%%edi)", 0, in_a); /* fails */
        EDIT(11, a, "lock; btcl $12, (%%edi)", 0, 0);
        EDIT(12, b, "btcl %%eax, (%%edi)", 12, 0);
        EDIT(13, a, "lock; xaddl %%eax, (%%edi)", 0u - 0x1000, 0);
        EDIT(14, b, "addb $0x10, 1(%%edi)", 0, 0);
        EDIT(15, a, "movl %%eax, (%%edi)\n\tincl (%%edi)\n\tnotl %%ecx", in_a - 1, 0);
        EDIT(16, b, "movl $0, (%%edi)\n\torl %%eax, (%%edi)", in_b, 0);
        EDIT(17, a, "xchgl %%esp, %%ecx\n\tpushl %%eax\n\tpopl (%%edi)\n\txchgl %%esp, %%ecx", in_a,
             (u32)&word + 4);
        EDIT(18, b, "pushl %%edi\n\tcld\n\tstosl\n\tpopl %%edi", in_b, 0);
        /* The bit string begins elsewhere: the entry is not where the operand's address says. */
        asm volatile("btcl %1, %0" : "+m"(window_table[0]) : "r"(ENTRY * 32 + 12) : "memory", "cc");
        invlpg(WINDOW_AT(ENTRY));
        shows(19, ENTRY, a);
        /* Halves of two entries. */
        window_table[ENTRY - 1] = ((u32)window_table & 0xffff0000) | (ARENA(b) & 0xf000) | P_U | P_W | P_P;
        (void)*(volatile u32 *)(WINDOW_AT(ENTRY - 1));
        word = (in_b << 16) | ARENA(b) >> 16;
        asm volatile("movl %1, %0" : "=m"(*(u32 *)((u8 *)e - 2)) : "r"(word) : "memory");
        invlpg(WINDOW_AT(ENTRY));
        invlpg(WINDOW_AT(ENTRY - 1));
        shows(20, ENTRY, b);
        shows(21, ENTRY - 1, b);
        /* Across the end of the table. */
        word = *(volatile u32 *)((u8 *)window_table + 4094);
        *(volatile u32 *)((u8 *)window_table + 4094) = word;
        /* By the stack pointer. */
        asm volatile("movl %%esp, %%ecx\n\tmovl %1, %%esp\n\tpushl %0\n\tmovl %%ecx, %%esp"
                     :
                     : "r"(in_a), "r"(e + 1)
                     : "ecx", "memory");
        invlpg(WINDOW_AT(ENTRY));
        shows(22, ENTRY, a);
        /* Not present, and what is written then while its fault is the last one. */
        asm volatile("andl $~1, %0" : "+m"(*e) : : "cc");
        invlpg(WINDOW_AT(ENTRY));
        faulted += TRY("movl (%0), %%eax", : : "r"(WINDOW_AT(ENTRY)) : "eax") == V_PF;
        *e = in_b; /* A is clear: the next access has to set it */
        shows(23, ENTRY, b);
        if (!(*(volatile u32 *)e & P_A) || (*(volatile u32 *)e & P_D))
            writes_bad |= 1u << 24;
        asm volatile("andl $~3, %0" : "+m"(*e) : : "cc");
        invlpg(WINDOW_AT(ENTRY));
        faulted += TRY("movl (%0), %%eax", : : "r"(WINDOW_AT(ENTRY)) : "eax") == V_PF;
        asm volatile("orl $1, %0" : "+m"(*e) : : "cc"); /* accessed, read only, the user's */
        shows(25, ENTRY, b);
        faulted += run_user(user_write, WINDOW_AT(ENTRY), 0) == FAULTED(V_PF);
        if (run_user(user_read, WINDOW_AT(ENTRY), 0) != 0xf0000 + b)
            writes_bad |= 1u << 26;
        asm volatile("andl $~4, %0" : "+m"(*e) : : "cc");
        invlpg(WINDOW_AT(ENTRY));
        faulted += run_user(user_read, WINDOW_AT(ENTRY), 0) == FAULTED(V_PF);
        shows(27, ENTRY, b);
        asm volatile("orl $6, %0" : "+m"(*e) : : "cc");
        invlpg(WINDOW_AT(ENTRY));
        if (run_user(user_read, WINDOW_AT(ENTRY), 0) != 0xf0000 + b)
            writes_bad |= 1u << 28;
        *(volatile u32 *)WINDOW_AT(ENTRY) = 0xf0000 + b;
        if (!(*(volatile u32 *)e & P_D))
            writes_bad |= 1u << 29;
    }
    check_eq("entries written by all kinds of instructions", writes_bad, 0);
    check_eq("and their faults", faulted, 60 * 4);

    /* Code that lies in the table's own page, and writes an entry, and itself. */
    u8 *code = (u8 *)window_table + 4000;
    writes_bad = 0;
    for (u32 k = 0; k < 40; k++) {
        static const u8 text[] = {0xc7, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0xc3}; /* movl $imm, (entry); ret */
        memcpy(code, text, sizeof(text));
        *(u32 *)(code + 2) = (u32)e;
        for (u32 n = 0; n < 4; n++) {
            *(volatile u32 *)(code + 6) = n & 1 ? in_b : in_a;
            ((void (*)(void))code)();
            invlpg(WINDOW_AT(ENTRY));
            shows(n, ENTRY, n & 1 ? b : a);
        }
    }
    check_eq("entries written by code in the table", writes_bad, 0);
    memset(code, 0, 16);
    set_pte(ENTRY - 1, ARENA(ENTRY - 1) | P_U | P_W | P_P);
    set_pte(ENTRY, ARENA(ENTRY) | P_U | P_W | P_P);
    write_cr3((u32)page_dir);
}

static void crossing(void)
{
    u32 va = WINDOW_AT(12) + 4094, v;
    set_pte(12, ARENA(12) | P_U | P_W | P_P);
    set_pte(13, ARENA(20) | P_U | P_W | P_P); /* frames that are not neighbours */
    write_cr3((u32)page_dir);
    *(volatile u32 *)va = 0x44332211;
    check("a store across frames",
          *(volatile u16 *)(ARENA(12) + 4094) == 0x2211 && *(volatile u16 *)ARENA(20) == 0x4433);
    asm volatile("movl (%1), %0" : "=r"(v) : "r"(va) : "memory");
    check_eq("a load across frames", v, 0x44332211);
    set_pte(13, 0);
    invlpg(WINDOW_AT(13));
    CHECK_FAULT("a store into a missing second page", V_PF, 2, "movl %%eax, (%0)",
                :
                : "r"(va), "a"(0)
                : "memory");
    check_eq("cr2 is in the second page", last.cr2, WINDOW_AT(13));
    check_eq("the first page is untouched", *(volatile u16 *)(ARENA(12) + 4094), 0x2211);
    set_pte(13, ARENA(20) | P_U | P_P);
    invlpg(WINDOW_AT(13));
    CHECK_FAULT("a store into a read-only second page", V_PF, 3, "movl %%eax, (%0)",
                :
                : "r"(va), "a"(0)
                : "memory");
    check_eq("the first page is untouched then, too", *(volatile u16 *)(ARENA(12) + 4094), 0x2211);
    CHECK_FAULT("xadd into a read-only second page", V_PF, 3, "xaddl %%eax, (%0)",
                :
                : "r"(va), "a"(0)
                : "memory");
    set_pte(12, 0);
    invlpg(WINDOW_AT(12));
    CHECK_FAULT("a load from a missing first page", V_PF, 0, "movl (%0), %%eax", : : "r"(va) : "eax");
    check_eq("cr2 is the operand's address", last.cr2, va);
    set_pte(12, ARENA(12) | P_U | P_W | P_P);
    set_pte(13, ARENA(13) | P_U | P_W | P_P);
    write_cr3((u32)page_dir);
    /* push and call that fault leave esp. */
    set_pte(14, 0);
    invlpg(WINDOW_AT(14));
    u32 esp_after = 0;
    /* At CPL 3, where the fault is delivered on another stack. */
    extern u8 paging_user_push[], paging_user_call[], paging_user_pusha[], paging_user_enter[];
    struct user_regs r = {(u32)paging_user_push, SEL_UCODE, 2, WINDOW_AT(15), SEL_UDATA, 0, 0, 0, 0, 0, 0};
    check_eq("push to a missing page", enter_user(&r), FAULTED(V_PF));
    esp_after = last.esp;
    check_eq("push to a missing page: esp", esp_after, WINDOW_AT(15));
    check_eq("push to a missing page: cr2", last.cr2, WINDOW_AT(15) - 4);
    check_eq("push to a missing page: error", last.error, 6);
    r.eip = (u32)paging_user_call;
    check_eq("call with a missing stack", enter_user(&r), FAULTED(V_PF));
    check("call with a missing stack: esp, eip",
          last.esp == WINDOW_AT(15) && last.eip == (u32)paging_user_call);
    r.eip = (u32)paging_user_pusha;
    r.esp = WINDOW_AT(15) + 12; /* three registers fit, the fourth does not */
    check_eq("pusha across into a missing page", enter_user(&r), FAULTED(V_PF));
    check("pusha: esp, eip", last.esp == WINDOW_AT(15) + 12 && last.eip == (u32)paging_user_pusha);
    r.eip = (u32)paging_user_enter;
    r.esp = WINDOW_AT(15) + 4;
    /* SDM vol. 2, ENTER: "if a write using the final value of the stack pointer would cause a page fault".
     * TCG does not probe. */
    check_tcg_gap("enter touches the last word of the frame", enter_user(&r) == FAULTED(V_PF));
    check_tcg_gap("enter: esp, ebp", last.esp == WINDOW_AT(15) + 4 && last.frame.ebp == 0);
    set_pte(14, ARENA(14) | P_U | P_W | P_P);
    invlpg(WINDOW_AT(14));
}
asm(".text\npaging_user_push:\n\tpushl %eax\n\tud2\npaging_user_call:\n\tcall paging_user_call\n\tud2\n"
    "paging_user_pusha:\n\tpushal\n\tud2\npaging_user_enter:\n\tenter $16, $0\n\tud2");

static void large_and_global(void)
{
    u32 va = WINDOW + 0x400000;
    *(u32 *)ARENA(16) = 0x1616;
    page_dir[va >> 22] = (ARENA(16) & 0xffc00000) | P_PS | P_W | P_P;
    va += ARENA(16) & 0x3fffff;
    write_cr3((u32)page_dir);
    check_eq("a 4 MiB page", *(volatile u32 *)va, 0x1616);
    volatile u32 *pde = &((volatile u32 *)page_dir)[va >> 22];
    check_eq("its A, not D", *pde & (P_A | P_D), P_A);
    *(volatile u32 *)va = 0x1617;
    check_eq("its D", *pde & (P_A | P_D), P_A | P_D);
    check_eq("its frame", *(volatile u32 *)ARENA(16), 0x1617);
    *pde &= ~(u32)P_W;
    invlpg(va);
    CHECK_FAULT("read-only 4 MiB page", V_PF, 3, "movl %%eax, (%0)", : : "r"(va) : "memory");
    check_eq("kernel-only 4 MiB page", run_user(user_read, va, 0), FAULTED(V_PF));
    check_eq("kernel-only 4 MiB page: error", last.error, 5);
    /* Split into small pages. */
    static u32 small[1024] __attribute__((aligned(4096)));
    for (u32 i = 0; i < 1024; i++)
        small[i] =
            ((va & 0xffc00000) - (WINDOW + 0x400000) + (ARENA(16) & 0xffc00000) + i * 4096) | P_W | P_P;
    *pde = (u32)small | P_W | P_P;
    write_cr3((u32)page_dir);
    *(volatile u32 *)va = 0x1618;
    check_eq("split into small pages", *(volatile u32 *)ARENA(16), 0x1618);
    *pde = 0;
    write_cr3((u32)page_dir);
    CHECK_FAULT("and removed", V_PF, 0, "movl (%0), %%eax", : : "r"(va) : "eax");
    if (cpu_features() & FEAT_PGE) {
        write_cr4(read_cr4() | CR4_PGE);
        u32 g = WINDOW_AT(17);
        *(u32 *)ARENA(17) = 17;
        *(u32 *)ARENA(18) = 18;
        set_pte(17, ARENA(17) | P_G | P_U | P_W | P_P);
        invlpg(g);
        check_eq("a global page", *(volatile u32 *)g, 17);
        set_pte(17, ARENA(18) | P_G | P_U | P_W | P_P);
        invlpg(g);
        check_eq("invlpg drops a global page", *(volatile u32 *)g, 18);
        set_pte(17, ARENA(17) | P_G | P_U | P_W | P_P);
        write_cr4(read_cr4() & ~(u32)CR4_PGE);
        check_eq("clearing CR4.PGE drops global pages", *(volatile u32 *)g, 17);
        set_pte(17, ARENA(17) | P_U | P_W | P_P);
        write_cr3((u32)page_dir);
    }
}

static void switching(void)
{
    /* Off and on again: linear addresses become physical ones at once. */
    bool good = true;
    for (u32 i = 0; i < 20; i++) {
        *(volatile u32 *)WINDOW_AT(21) = i;
        write_cr0(read_cr0() & ~CR0_PG);
        good = good && *(volatile u32 *)ARENA(21) == i;
        write_cr0(read_cr0() | CR0_PG);
    }
    check("paging off and on", good);
    if (!peer_is_qemu) { /* TCG accepts all three, and is lost after the first */
        CHECK_FAULT("CR0.PG without PE", V_GP, 0, "movl %0, %%cr0", : : "r"(CR0_PG));
        CHECK_FAULT("CR0.NW without CD", V_GP, 0, "movl %0, %%cr0", : : "r"(read_cr0() | 0x20000000));
        CHECK_FAULT("a reserved bit of CR4", V_GP, 0, "movl %0, %%cr4", : : "r"(read_cr4() | 0x80000000));
    }
    CHECK_FAULT("mov to cr1", V_UD, 0, ".byte 0x0f, 0x22, 0xc8", ::);
    CHECK_FAULT("mov to cr5", V_UD, 0, ".byte 0x0f, 0x22, 0xe8", ::);
    write_cr0(read_cr0() & ~CR0_PG);
    asm volatile("movl %0, %%cr2" : : "r"(0x55aa1234));
    check_eq("cr2 can be written", read_cr2(), 0x55aa1234);
    write_cr0(read_cr0() | CR0_PG);
    u32 cr0;
    asm volatile("smsw %0" : "=r"(cr0));
    check_eq("smsw", cr0 & 0xffff, read_cr0() & 0xffff);
    asm volatile("lmsw %w0" : : "r"(0));
    check("lmsw cannot clear PE", read_cr0() & CR0_PE);
    asm volatile("lmsw %w0" : : "r"(1 | CR0_TS));
    check("lmsw sets TS", read_cr0() & CR0_TS);
    asm volatile("clts");
    check("clts", !(read_cr0() & CR0_TS));
}

/* Programs' pages of code in a directory that was never used: what lies around the page that is executed
 * first is what this directory says, and is accessed when it is. */
static u32 fresh_dir[1024] __attribute__((aligned(4096))), fresh_table[1024] __attribute__((aligned(4096)));

static u32 user_at(u32 page)
{
    return run_user((u32(*)(u32))WINDOW_AT(page), 0, 0);
}

static void fresh_code(void)
{
    u32 here = read_cr3();
    bool good = true;

    for (u32 i = 40; i < 48; i++) {
        u8 *code = (u8 *)WINDOW_AT(i); /* mov eax, 1000 + i; ret */
        code[0] = 0xb8;
        *(u32 *)(code + 1) = 1000 + i;
        code[5] = 0xc3;
        good = good && user_at(i) == 1000 + i;
    }
    check("code in pages", good);
    memcpy(fresh_dir, page_dir, sizeof(fresh_dir));
    memcpy(fresh_table, window_table, sizeof(fresh_table));
    fresh_dir[WINDOW >> 22] = (u32)fresh_table | P_P | P_W | P_U;
    for (u32 i = 40; i < 48; i++)
        fresh_table[i] = ARENA(87 - i) | P_P | P_U | P_A;
    fresh_table[42] &= ~(u32)P_A;
    fresh_table[43] &= ~(u32)P_P;
    fresh_table[44] &= ~(u32)P_U;
    write_cr3((u32)fresh_dir);
    check_eq("another directory's code", user_at(40), 1047);
    check_eq("its neighbour", user_at(41), 1046);
    check_eq("not accessed", fresh_table[42] & P_A, 0);
    check_eq("executed", user_at(42), 1045);
    check_eq("accessed", fresh_table[42] & P_A, P_A);
    check_eq("not present", user_at(43), FAULTED(V_PF));
    check_eq("the supervisor's", user_at(44), FAULTED(V_PF));
    fresh_table[41] = ARENA(43) | P_P | P_U | P_A;
    invlpg(WINDOW_AT(41));
    check_eq("a neighbour that became another page", user_at(41), 1043);
    fresh_table[45] = 0;
    invlpg(WINDOW_AT(45));
    check_eq("and one that went", user_at(45), FAULTED(V_PF));
    write_cr3(here);
    for (u32 i = 40; i < 48; i++)
        good = good && user_at(i) == 1000 + i;
    check("the first directory's code", good);
}

void test_paging(void)
{
    paging_on();
    faults();
    accessed_and_dirty();
    changes();
    table_writes();
    crossing();
    large_and_global();
    switching();
    fresh_code();
    paging_off();
}
