/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segments: what may be loaded where, bases, limits and rights, far transfers (SDM vol. 3, chapters 3 and 5).
 */
#include "kernel.h"

static void loads(void)
{
    set_desc(SEL_T0, make_desc(0, 0xfffff, ACC_DATA & ~0x80, DESC_G | DESC_D)); /* not present */
    set_desc(SEL_T1, make_desc(0, 0xfffff, ACC_CODE_XO, DESC_G | DESC_D));
    set_desc(SEL_T2, make_desc(0, 0xfffff, ACC_DATA_RO, DESC_G | DESC_D));
    set_desc(SEL_T3, make_desc(0, 0xfffff, ACC_CODE, DESC_G | DESC_D));
    CHECK_NO_FAULT("null selector into fs", "movl %0, %%fs", : : "r"(0));
    CHECK_NO_FAULT("null selector with rpl into fs", "movl %0, %%fs", : : "r"(3));
    CHECK_FAULT("null selector into ss", V_GP, 0, "movl %0, %%ss", : : "r"(0));
    CHECK_FAULT("selector past the table", V_GP, GDT_BYTES, "movl %0, %%fs", : : "r"(GDT_BYTES | 3));
    CHECK_FAULT("data not present", V_NP, SEL_T0, "movl %0, %%fs", : : "r"(SEL_T0));
    CHECK_FAULT("stack not present", V_SS, SEL_T0, "movl %0, %%ss", : : "r"(SEL_T0));
    CHECK_FAULT("execute-only code into fs", V_GP, SEL_T1, "movl %0, %%fs", : : "r"(SEL_T1));
    CHECK_FAULT("read-only data into ss", V_GP, SEL_T2, "movl %0, %%ss", : : "r"(SEL_T2));
    CHECK_FAULT("code into ss", V_GP, SEL_T3, "movl %0, %%ss", : : "r"(SEL_T3));
    CHECK_NO_FAULT("readable code into fs", "movl %0, %%fs", : : "r"(SEL_T3));
    CHECK_FAULT("ss with rpl 3", V_GP, SEL_KDATA, "movl %0, %%ss", : : "r"(SEL_KDATA | 3));
    CHECK_FAULT("ss with dpl 3", V_GP, SEL_UDATA & ~3, "movl %0, %%ss", : : "r"(SEL_UDATA));
    CHECK_FAULT("data with rpl above dpl", V_GP, SEL_KDATA, "movl %0, %%fs", : : "r"(SEL_KDATA | 1));
    CHECK_FAULT("tss into fs", V_GP, SEL_TSS, "movl %0, %%fs", : : "r"(SEL_TSS));
    CHECK_FAULT("mov to cs", V_UD, 0, ".byte 0x8e, 0xc8", : : "a"(SEL_KCODE));
    u32 v = 0xffffffff;
    asm volatile("movl %1, %%fs\n\tmovl %%fs, %0" : "=r"(v) : "r"(SEL_KDATA));
    check_eq("mov from fs clears the upper half", v, SEL_KDATA);
    asm volatile("pushl %%fs\n\tpopl %0" : "=r"(v));
    check_eq("push fs", v & 0xffff, SEL_KDATA);
    CHECK_FAULT("pop fs of a bad selector keeps esp", V_GP, GDT_BYTES, "pushl %0\n\tpopl %%fs",
                :
                : "r"(GDT_BYTES));
    asm volatile("movl %%fs, %0" : "=r"(v));
    check_eq("a failed load leaves the old selector", v, SEL_KDATA);
    set_desc(SEL_T4, make_desc(0, 0xfffff, ACC_DATA, DESC_G | DESC_D));
    asm volatile("movl %0, %%fs" : : "r"(SEL_T4) : "memory");
    check_eq("a load sets the accessed bit", (u32)(gdt[SEL_T4 >> 3] >> 40) & 1, 1);
    set_desc(SEL_T4, make_desc(0, 0xfffff, ACC_DATA, DESC_G | DESC_D));
    asm volatile("verr %w0" : : "r"(SEL_T4) : "memory", "cc");
    check_eq("verr does not", (u32)(*(volatile u64 *)&gdt[SEL_T4 >> 3] >> 40) & 1, 0);
    asm volatile("movl %0, %%fs" : : "r"(0));
}

static u32 fs_load(u32 offset)
{
    u32 v;
    asm volatile("movl %%fs:(%1), %0" : "=r"(v) : "r"(offset) : "memory");
    return v;
}

static void bases_and_limits(void)
{
    memset(arena, 0, 3 * 4096);
    *(u32 *)arena = 0x11223344;
    *(u32 *)(arena + 0xffc) = 0x55667788;
    set_desc(SEL_T0, make_desc(ARENA(0), 0xfff, ACC_DATA, DESC_D));
    asm volatile("movl %0, %%fs" : : "r"(SEL_T0));
    check_eq("base is added", fs_load(0), 0x11223344);
    check_eq("the last word within the limit", fs_load(0xffc), 0x55667788);
    asm volatile("movl %0, %%fs:8" : : "r"(0xabcdef01) : "memory");
    check_eq("store through a base", *(volatile u32 *)(arena + 8), 0xabcdef01);
    u32 d = ARENA(1), s = 0;
    asm volatile("movsl %%fs:(%%esi), %%es:(%%edi)" : "+S"(s), "+D"(d) : : "memory");
    check_eq("string source through a base", *(volatile u32 *)ARENA(1), 0x11223344);
    asm volatile(".byte 0x64, 0x8d, 0x40, 8" : "=a"(d) : "0"(4)); /* lea %fs:8(%eax), %eax */
    check_eq("lea ignores the base", d, 12);
    /* A negative offset wraps at 4 GiB. */
    set_desc(SEL_T1, make_desc(ARENA(1), 0xfffff, ACC_DATA, DESC_G | DESC_D));
    asm volatile("movl %0, %%fs" : : "r"(SEL_T1));
    check_eq("base plus offset wraps", fs_load((u32)-4096), 0x11223344);

    /* TCG checks neither limits nor rights of data accesses. */
    asm volatile("movl %0, %%fs" : : "r"(SEL_T0));
    CHECK_FAULT_TCG_GAP("byte past the limit", V_GP, 0, "movb %%fs:0x1000, %%al", : : : "eax");
    CHECK_FAULT_TCG_GAP("word across the limit", V_GP, 0, "movl %%fs:0xffd, %%eax", : : : "eax");
    CHECK_FAULT_TCG_GAP("store past the limit", V_GP, 0, "movl %%eax, %%fs:0x1000", : : : "memory");
    check_eq("and nothing was stored", *(volatile u32 *)ARENA(1) == 0x11223344 || peer_is_qemu, 1);
    CHECK_FAULT_TCG_GAP("string past the limit", V_GP, 0, "lodsl %%fs:(%%esi), %%eax",
                        :
                        : "S"(0xffe)
                        : "eax");
    CHECK_FAULT_TCG_GAP("read-modify-write past the limit", V_GP, 0, "incl %%fs:0xffe", : : : "memory", "cc");
    *(u32 *)arena = 0x11223344; /* where TCG let them through */
    *(u32 *)(arena + 0xffc) = 0x55667788;
    set_desc(SEL_T0, make_desc(ARENA(0), 0, ACC_DATA, DESC_G | DESC_D));
    asm volatile("movl %0, %%fs" : : "r"(SEL_T0));
    check_eq("granularity: limit 0 is a page", fs_load(0xffc), 0x55667788);
    CHECK_FAULT_TCG_GAP("granularity: and no more", V_GP, 0, "movl %%fs:0x1000, %%eax", : : : "eax");
    set_desc(SEL_T0, make_desc(ARENA(0) - 0x1000, 0xfff, ACC_DATA_DOWN, DESC_D));
    asm volatile("movl %0, %%fs" : : "r"(SEL_T0));
    check_eq("expand-down: above the limit", fs_load(0x1000), 0x11223344);
    CHECK_FAULT_TCG_GAP("expand-down: at the limit", V_GP, 0, "movb %%fs:0xfff, %%al", : : : "eax");
    set_desc(SEL_T0, make_desc(ARENA(0) - 0x1000, 0xfff, ACC_DATA_DOWN, 0));
    asm volatile("movl %0, %%fs" : : "r"(SEL_T0));
    check_eq("expand-down, 16-bit: above the limit", fs_load(0x1000), 0x11223344);
    CHECK_FAULT_TCG_GAP("expand-down, 16-bit: past 64 KiB", V_GP, 0, "movb %%fs:0x10000, %%al", : : : "eax");
    set_desc(SEL_T0, make_desc(0, 0xfffff, ACC_DATA_RO, DESC_G | DESC_D));
    asm volatile("movl %0, %%fs" : : "r"(SEL_T0));
    CHECK_FAULT_TCG_GAP("store into read-only data", V_GP, 0, "movl %%eax, %%fs:(%0)",
                        :
                        : "r"(arena)
                        : "memory");
    *(u32 *)arena = 0x11223344;
    check_eq("read of read-only data", fs_load(ARENA(0)), 0x11223344);
    set_desc(SEL_T0, make_desc(0, 0xfffff, ACC_CODE, DESC_G | DESC_D));
    asm volatile("movl %0, %%fs" : : "r"(SEL_T0));
    CHECK_FAULT_TCG_GAP("store into code", V_GP, 0, "movl %%eax, %%fs:(%0)", : : "r"(arena) : "memory");
    CHECK_FAULT_TCG_GAP("store through cs", V_GP, 0, "movl %%eax, %%cs:(%0)", : : "r"(arena) : "memory");
    asm volatile("movl %0, %%fs" : : "r"(0));
    CHECK_FAULT_TCG_GAP("access through a null selector", V_GP, 0, "movl %%fs:(%0), %%eax",
                        :
                        : "r"(arena)
                        : "eax");
    /* A stack limit that holds the kernel's stack, and an access beyond it through ebp. */
    set_desc(SEL_T0, make_desc(0, 0x7ff, ACC_DATA, DESC_G | DESC_D));
    asm volatile("movl %0, %%ss" : : "r"(SEL_T0));
    CHECK_FAULT_TCG_GAP("stack past the limit", V_SS, 0,
                        "pushl %%ebp\n\tmovl $0x800000, %%ebp\n\tmovl (%%ebp), %%eax\n\tnop",
                        :
                        :
                        : "eax", "memory");
    asm volatile("movl %0, %%ss" : : "r"(SEL_KDATA));
}

static void local_table(void)
{
    CHECK_FAULT("ldt selector without an ldt", V_GP, 4, "movl %0, %%fs", : : "r"(4));
    CHECK_FAULT("lldt of a data segment", V_GP, SEL_KDATA, "lldt %w0", : : "r"(SEL_KDATA));
    set_desc(SEL_T5, make_desc((u32)ldt, sizeof(ldt) - 1, ACC_LDT & ~0x80, 0));
    CHECK_FAULT("lldt not present", V_NP, SEL_T5, "lldt %w0", : : "r"(SEL_T5));
    ldt[1] = make_desc(ARENA(0), 0xfff, ACC_DATA, DESC_D);
    CHECK_NO_FAULT("lldt", "lldt %w0", : : "r"(SEL_LDT));
    *(u32 *)arena = 0x600df00d;
    asm volatile("movl %0, %%fs" : : "r"(12));
    check_eq("load from the ldt", fs_load(0), 0x600df00d);
    CHECK_FAULT("past the ldt", V_GP, 0x24, "movl %0, %%fs", : : "r"(0x24));
    u16 sel;
    asm volatile("sldt %0" : "=r"(sel));
    check_eq("sldt", sel, SEL_LDT);
    asm volatile("movl %0, %%fs\n\tlldt %w0" : : "r"(0));
    CHECK_FAULT("ltr of a busy tss", V_GP, SEL_TSS, "ltr %w0", : : "r"(SEL_TSS));
    if (!peer_is_qemu) /* TCG loads it */
        CHECK_FAULT("ltr of null", V_GP, 0, "ltr %w0", : : "r"(0));
}

static void far_pointers(void)
{
    struct {
        u32 offset;
        u16 selector;
    } __attribute__((packed)) p = {0x12345678, SEL_KDATA};
    u32 v, s;
    asm volatile("lfs %2, %0\n\tmovl %%fs, %1" : "=&r"(v), "=r"(s) : "m"(p));
    check("lfs", v == 0x12345678 && s == SEL_KDATA);
    asm volatile("lgs %2, %0\n\tmovl %%gs, %1" : "=&r"(v), "=r"(s) : "m"(p));
    check("lgs", v == 0x12345678 && s == SEL_KDATA);
    asm volatile("les %2, %0\n\tmovl %%es, %1" : "=&r"(v), "=r"(s) : "m"(p));
    check("les", v == 0x12345678 && s == SEL_KDATA);
    p.offset = 0;
    asm volatile("movl %%esp, %1\n\tmovl %1, %2\n\tlss %2, %%esp\n\tmovl %%esp, %0"
                 : "=r"(v), "=&r"(s), "+m"(p.offset)
                 :
                 : "memory");
    check_eq("lss", v, s);
    p.selector = GDT_BYTES;
    v = 1;
    CHECK_FAULT("lfs of a bad selector", V_GP, GDT_BYTES, "lfs %1, %0", : "+r"(v) : "m"(p));
    check_eq("leaves the register", v, 1);
    CHECK_FAULT("lds with a register operand", V_UD, 0, ".byte 0xc5, 0xc0", ::);
    asm volatile("movl %0, %%fs\n\tmovl %0, %%gs" : : "r"(0));
}

extern u8 seg_far_function[], seg_fall_off[];
asm(".text\nseg_far_function:\n\tmovl %cs, %eax\n\tlret\n"
    /* Two bytes within the limit, then one outside. */
    "seg_fall_off:\n\tnop\n\tnop\n\tnop\n\tlret");

static void far_transfers(void)
{
    u32 cs;
    set_desc(SEL_T0, make_desc(0x100000, 0xfffff, ACC_CODE, DESC_G | DESC_D));
    set_desc(SEL_T1, make_desc(0, 0xfffff, ACC_CODE & ~0x80, DESC_G | DESC_D));
    set_desc(SEL_T2, make_desc(0, 0xfff, ACC_CODE, DESC_D));
    set_desc(SEL_T3, make_desc(0, 0xfffff, ACC_CODE_CONF, DESC_G | DESC_D));
    struct {
        u32 offset;
        u16 selector;
    } __attribute__((packed)) p = {(u32)seg_far_function - 0x100000, SEL_T0};
    asm volatile("lcall *%1" : "=a"(cs) : "m"(p) : "memory");
    check_eq("far call to a code segment with a base", cs, SEL_T0);
    p.offset = (u32)seg_far_function;
    p.selector = SEL_T3;
    asm volatile("lcall *%1" : "=a"(cs) : "m"(p) : "memory");
    check_eq("far call to a conforming segment", cs, SEL_T3);
    p.selector = 0;
    CHECK_FAULT("far jump to null", V_GP, 0, "ljmp *%0", : : "m"(p));
    p.selector = SEL_T1;
    CHECK_FAULT("far jump: not present", V_NP, SEL_T1, "ljmp *%0", : : "m"(p));
    CHECK_FAULT("far call: not present", V_NP, SEL_T1, "lcall *%0", : : "m"(p));
    p.selector = SEL_KDATA;
    CHECK_FAULT("far jump to data", V_GP, SEL_KDATA, "ljmp *%0", : : "m"(p));
    p.selector = SEL_UCODE;
    CHECK_FAULT("far jump to an outer ring", V_GP, SEL_UCODE & ~3, "ljmp *%0", : : "m"(p));
    p.selector = SEL_KCODE | 1;
    CHECK_FAULT("far jump with rpl above cpl", V_GP, SEL_KCODE, "ljmp *%0", : : "m"(p));
    p.selector = SEL_T2;
    p.offset = 0x1000;
    CHECK_FAULT("far jump past the limit", V_GP, 0, "ljmp *%0", : : "m"(p));
    CHECK_FAULT("far return: not present", V_NP, SEL_T1, "pushl %0\n\tpushl $0\n\tlret", : : "r"(SEL_T1));
    CHECK_FAULT("far return to null", V_GP, 0, "pushl $0\n\tpushl $0\n\tlret", ::);
    CHECK_FAULT("iret to a data segment", V_GP, SEL_KDATA, "pushfl\n\tpushl %0\n\tpushl $0\n\tiret",
                :
                : "r"(SEL_KDATA));
    CHECK_FAULT("far call through a register", V_UD, 0, ".byte 0xff, 0xd8", ::);
    /* Execution that runs past the limit: TCG has no code limits. */
    set_desc(SEL_T2, make_desc((u32)seg_fall_off, 1, ACC_CODE, DESC_D));
    p.offset = 0;
    p.selector = SEL_T2;
    CHECK_FAULT_TCG_GAP("running past the code limit", V_GP, 0, "lcall *%0", : : "m"(p) : "memory");
    if (!peer_is_qemu)
        check_eq("at the first instruction outside", last.eip, 2);
    p.offset = (u32)seg_far_function;
    asm volatile("pushl %1\n\tpushl $1f\n\tlret $0\n1:\tmovl %%cs, %0"
                 : "=r"(cs)
                 : "r"(SEL_KCODE)
                 : "memory");
    check_eq("far return within the ring", cs, SEL_KCODE);
    asm volatile("pushl $0x77\n\tpushl %1\n\tpushl $1f\n\tlret $4\n1:\tmovl %%esp, %0"
                 : "=r"(cs)
                 : "r"(SEL_KCODE)
                 : "memory");
    u32 esp;
    asm volatile("movl %%esp, %0" : "=r"(esp));
    check_eq("far return that pops bytes", cs, esp);
}

/* The same instruction loads the same selector again and again while the descriptor changes under it: each
 * load must see what is in memory then (SDM vol. 3, 3.4.3), whatever an engine remembers of the one before.
 */
static __attribute__((noinline)) u32 try_fs(u32 sel)
{
    asm volatile("movl %0, %%fs" : : "r"(0)); /* a trap reloads what it finds */
    return TRY("movl %0, %%fs", : : "r"(sel) : "memory");
}

static __attribute__((noinline)) bool writable(u32 sel)
{
    bool z;
    asm volatile("verw %w1\n\tsetz %0" : "=q"(z) : "r"(sel) : "cc", "memory");
    return z;
}

static u32 user_try_fs(u32 sel)
{
    asm volatile("movl %0, %%fs" : : "r"(sel) : "memory");
    return 1;
}

static u32 read_ds(u32 sel, u32 offset)
{
    u32 v;
    asm volatile("movl %1, %%ds\n\tmovl (%2), %0\n\tmovl %3, %%ds"
                 : "=&r"(v)
                 : "r"(sel), "r"(offset), "r"(SEL_KDATA)
                 : "memory");
    return v;
}

/* Both data segments with one selector, either first, as kernels load them. */
static u32 read_both(u32 sel, u32 offset)
{
    u32 a, b, c, d;
    asm volatile("movl %2, %%ds\n\tmovl %2, %%es\n\tmovl %%ds:(%3), %0\n\tmovl %%es:(%3), %1\n\t"
                 "movl %4, %%ds\n\tmovl %4, %%es"
                 : "=&r"(a), "=&r"(b)
                 : "r"(sel), "r"(offset), "r"(SEL_KDATA)
                 : "memory");
    asm volatile("movl %2, %%es\n\tmovl %2, %%ds\n\tmovl %%ds:(%3), %0\n\tmovl %%es:(%3), %1\n\t"
                 "movl %4, %%es\n\tmovl %4, %%ds"
                 : "=&r"(c), "=&r"(d)
                 : "r"(sel), "r"(offset), "r"(SEL_KDATA)
                 : "memory");
    return a == b && b == c && c == d ? a : ~a;
}

static u32 user_both(u32 sel)
{
    u32 ds, es;
    asm volatile("movl %2, %%ds\n\tmovl %2, %%es\n\tmovl %%ds, %0\n\tmovl %%es, %1"
                 : "=&r"(ds), "=&r"(es)
                 : "r"(sel)
                 : "memory");
    asm volatile("movl %0, %%ds\n\tmovl %0, %%es" : : "r"(SEL_UDATA) : "memory");
    return ds == es ? ds : 0;
}

static void both(void)
{
    u64 flat = make_desc(0, 0xfffff, ACC_DATA, DESC_G | DESC_D);
    u32 ds, es;

    *(u32 *)ARENA(0) = 0xa0a0a0a0;
    *(u32 *)ARENA(1) = 0xb1b1b1b1;
    set_desc(SEL_T1, flat);
    for (int k = 0; k < 3; k++)
        check_eq("ds and es: flat", read_both(SEL_T1, ARENA(1)), 0xb1b1b1b1);
    set_desc(SEL_T1, make_desc(0x1000, 0xfffff, ACC_DATA, DESC_G | DESC_D));
    check_eq("ds and es: a base, first of fs", try_fs(SEL_T1), V_NONE);
    check_eq("null after it", try_fs(0), V_NONE);
    for (int k = 0; k < 3; k++)
        check_eq("ds and es: with a base", read_both(SEL_T1, ARENA(0)), 0xb1b1b1b1);
    for (int k = 0; k < 3; k++) {
        set_desc(SEL_T1, flat);
        check_eq("ds and es: flat again", read_both(SEL_T1, ARENA(0)), 0xa0a0a0a0);
        set_desc(SEL_T1, make_desc(0, 0xfffff, ACC_DATA & ~0x80, DESC_G | DESC_D));
        CHECK_FAULT("ds and es: not present", V_NP, SEL_T1, "movl %0, %%ds\n\tmovl %0, %%es",
                    :
                    : "r"(SEL_T1));
        asm volatile("movl %%ds, %0\n\tmovl %%es, %1" : "=r"(ds), "=r"(es));
        check("ds and es: as they were", ds == SEL_KDATA && es == SEL_KDATA);
    }
    /* one of them is not flat: what both become is a change of it alone */
    set_desc(SEL_T1, flat);
    set_desc(SEL_T0, make_desc(ARENA(0), 0xfffff, ACC_DATA, DESC_G | DESC_D));
    for (int k = 0; k < 3; k++) {
        u32 v;
        asm volatile("movl %1, %%es\n\tmovl %2, %%ds\n\tmovl %2, %%es\n\tmovl %%es:(%3), %0"
                     : "=r"(v)
                     : "r"(SEL_T0), "r"(SEL_KDATA), "r"(ARENA(1))
                     : "memory");
        check_eq("es was not flat", v, 0xb1b1b1b1);
    }
    check_eq("ds and es at ring 3", run_user(user_both, SEL_UDATA, 0), SEL_UDATA);
    check_eq("ds and es at ring 3 again", run_user(user_both, SEL_UDATA, 0), SEL_UDATA);
    check_eq("ds and es at ring 3, of ring 0", run_user(user_both, SEL_T1, 0), FAULTED(V_GP));
}

static void in_another_table(u32 table, u16 limit)
{
    struct table_reg r = {limit, table};
    asm volatile("lgdt %0" : : "m"(r) : "memory");
}

static void reloads(void)
{
    u64 there = make_desc(ARENA(0), 0xfff, ACC_DATA, DESC_D);

    *(u32 *)ARENA(0) = 0xa0a0a0a0;
    *(u32 *)ARENA(1) = 0xb1b1b1b1;
    set_desc(SEL_T0, there);
    for (int k = 0; k < 3; k++)
        check("reload", try_fs(SEL_T0) == V_NONE && fs_load(0) == 0xa0a0a0a0);
    set_desc(SEL_T0, make_desc(ARENA(1), 0xfff, ACC_DATA, DESC_D));
    check("reload: another base", try_fs(SEL_T0) == V_NONE && fs_load(0) == 0xb1b1b1b1);
    set_desc(SEL_T0, make_desc(ARENA(1), 0xfff, ACC_DATA & ~0x80, DESC_D));
    check_eq("reload: not present any more", try_fs(SEL_T0), V_NP);
    set_desc(SEL_T0, make_desc(0, 0xfffff, ACC_CODE_XO, DESC_G | DESC_D));
    check_eq("reload: execute-only now", try_fs(SEL_T0), V_GP);
    set_desc(SEL_T0, there);
    check_eq("reload: as at first", try_fs(SEL_T0), V_NONE);
    check_eq("reload: accessed", (u32)(*(volatile u64 *)&gdt[SEL_T0 >> 3] >> 40) & 1, 1);
    set_desc(SEL_T0, there);
    check_eq("reload: accessed bit clear again", try_fs(SEL_T0), V_NONE);
    check_eq("reload: and set again", (u32)(*(volatile u64 *)&gdt[SEL_T0 >> 3] >> 40) & 1, 1);
    set_desc(SEL_T0, make_desc(ARENA(0), 0x7ff, ACC_DATA, DESC_D));
    check_eq("reload: a lower limit", try_fs(SEL_T0), V_NONE);
    CHECK_FAULT_TCG_GAP("reload: holds", V_GP, 0, "movl %%fs:0x800, %%eax", : : : "eax");
    check_eq("reload: with rpl above dpl", try_fs(SEL_T0 | 3), V_GP);
    check_eq("reload: null", try_fs(0), V_NONE);
    CHECK_FAULT_TCG_GAP("reload: null is used", V_GP, 0, "movl %%fs:0, %%eax", : : : "eax");
    check("reload: after null", try_fs(SEL_T0) == V_NONE && fs_load(0) == 0xa0a0a0a0);

    /* what ring 0 may load, ring 3 may not */
    check_eq("reload: from ring 3", run_user(user_try_fs, SEL_T0, 0), FAULTED(V_GP));
    set_desc(SEL_T0, there | (u64)ACC_DPL3 << 40);
    check_eq("reload: from ring 3, dpl 3", run_user(user_try_fs, SEL_T0 | 3, 0), 1);
    check_eq("reload: from ring 3 again", run_user(user_try_fs, SEL_T0 | 3, 0), 1);
    set_desc(SEL_T0, there);
    check_eq("reload: dpl 0 again", run_user(user_try_fs, SEL_T0 | 3, 0), FAULTED(V_GP));

    /* the data segment turns from flat to not flat and back */
    set_desc(SEL_T1, make_desc(0, 0xfffff, ACC_DATA, DESC_G | DESC_D));
    for (int k = 0; k < 3; k++)
        check_eq("reload ds: flat", read_ds(SEL_T1, ARENA(1)), 0xb1b1b1b1);
    set_desc(SEL_T1, make_desc(0x1000, 0xfffff, ACC_DATA, DESC_G | DESC_D));
    check_eq("reload ds: with a base", read_ds(SEL_T1, ARENA(0)), 0xb1b1b1b1);
    set_desc(SEL_T1, make_desc(0, 0xfffff, ACC_DATA, DESC_G | DESC_D));
    check_eq("reload ds: flat again", read_ds(SEL_T1, ARENA(0)), 0xa0a0a0a0);

    check("verw again", writable(SEL_T1) && writable(SEL_T1));
    set_desc(SEL_T1, make_desc(0, 0xfffff, ACC_DATA_RO, DESC_G | DESC_D));
    check("verw: read-only now", !writable(SEL_T1));
    set_desc(SEL_T1, make_desc(0, 0xfffff, ACC_DATA, DESC_G | DESC_D));
    check("verw: writable again", writable(SEL_T1));

    /* another table, and a shorter one */
    u64 *other = (u64 *)ARENA(2);
    memcpy(other, gdt, GDT_BYTES);
    other[SEL_T0 >> 3] = make_desc(ARENA(1), 0xfff, ACC_DATA, DESC_D);
    check("reload: before lgdt", try_fs(SEL_T0) == V_NONE && fs_load(0) == 0xa0a0a0a0);
    in_another_table((u32)other, GDT_BYTES - 1);
    check("reload: from another table", try_fs(SEL_T0) == V_NONE && fs_load(0) == 0xb1b1b1b1);
    in_another_table((u32)other, SEL_T0 + 6);
    check_eq("reload: beyond its end", try_fs(SEL_T0), V_GP);
    check("verw: beyond its end", !writable(SEL_T0));
    in_another_table((u32)other, SEL_T0 + 7);
    check("reload: the last of it", try_fs(SEL_T0) == V_NONE && writable(SEL_T0));
    load_gdt(GDT_BYTES - 1);

    /* in pages that come and go */
    u64 *two = (u64 *)ARENA(3);
    memcpy(two, other, GDT_BYTES);
    two[SEL_T0 >> 3] = make_desc(ARENA(0), 0xfff, ACC_DATA | 1, DESC_D);
    paging_on();
    in_another_table(WINDOW_AT(2), GDT_BYTES - 1);
    for (int k = 0; k < 3; k++)
        check("reload: paged", try_fs(SEL_T0) == V_NONE && fs_load(0) == 0xb1b1b1b1);
    set_pte(2, ARENA(3) | P_P | P_W);
    invlpg(WINDOW_AT(2));
    check("reload: another page of the table", try_fs(SEL_T0) == V_NONE && fs_load(0) == 0xa0a0a0a0);
    set_pte(2, ARENA(3) | P_P);
    invlpg(WINDOW_AT(2));
    check_eq("reload: accessed already, read-only page", try_fs(SEL_T0), V_NONE);
    check("reload: the page's A bit", window_table[2] & P_A);
    two[SEL_T0 >> 3] = make_desc(ARENA(1), 0xfff, ACC_DATA, DESC_D);
    check_eq("reload: not accessed, read-only page", try_fs(SEL_T0), V_PF);
    check("reload: where", last.error == 3 && last.cr2 - WINDOW_AT(2) - SEL_T0 < 8);
    set_pte(2, ARENA(3) | P_P | P_W);
    invlpg(WINDOW_AT(2));
    check("reload: writable page", try_fs(SEL_T0) == V_NONE && fs_load(0) == 0xb1b1b1b1);
    in_another_table((u32)other, GDT_BYTES - 1);
    paging_off();
    load_gdt(GDT_BYTES - 1);
    asm volatile("movl %0, %%fs" : : "r"(0));
}

/* A function that is called between two uses of a segment may load it. */
static void loaded_by_the_callee(void)
{
    set_desc(SEL_T0, make_desc(ARENA(0), 0xfff, ACC_DATA, DESC_D));
    set_desc(SEL_T1, make_desc(ARENA(0), 0xfffff, ACC_DATA, DESC_G | DESC_D));
    for (int k = 0; k < 3; k++) {
        asm volatile("movl %0, %%fs" : : "r"(SEL_T1));
        CHECK_FAULT_TCG_GAP("fs shrinks in a callee", V_GP, 0,
                            "movl %%fs:0x1000, %%edx; call 1f; movl %%fs:0x1000, %%edx; jmp 2f\n"
                            "1: movl %%ecx, %%fs; ret\n2:",
                            :
                            : "c"(SEL_T0)
                            : "edx", "memory");
        asm volatile("movl %0, %%gs" : : "r"(SEL_T1));
        CHECK_FAULT_TCG_GAP("gs shrinks in a callee", V_GP, 0,
                            "movl %%gs:0x1000, %%edx; call 1f; movl %%gs:0x1000, %%edx; jmp 2f\n"
                            "1: movl %%ecx, %%gs; ret\n2:",
                            :
                            : "c"(SEL_T0)
                            : "edx", "memory");
    }
    asm volatile("movl %0, %%fs; movl %0, %%gs" : : "r"(0));
}

void test_seg(void)
{
    loads();
    reloads();
    both();
    bases_and_limits();
    local_table();
    far_pointers();
    far_transfers();
    loaded_by_the_callee();
}
