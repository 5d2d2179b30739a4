/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rings 1 and 2, which few systems use: the eighteen sensitive instructions of Robin and Irvine there, I/O
 * privilege between the rings, gates and returns between all of them, and iret's refusals (SDM vol. 3, 5.5 to
 * 5.10; vol. 2, IRET).
 *
 * Ring n has code at T(2n-2) and data at T(2n-1); ring 3 the usual ones.
 */
#include "kernel.h"

static const u16 code_of[4] = {SEL_KCODE, SEL_T0 | 1, SEL_T2 | 2, SEL_UCODE};
static const u16 data_of[4] = {SEL_KDATA, SEL_T1 | 1, SEL_T3 | 2, SEL_UDATA};
extern void user_exit(void);
static u8 inner_stack[3][4096] __attribute__((aligned(16)));

static void on_sys(struct frame *f)
{
    if (f->eax == 0xe0)
        leave_user(f->ebx);
    f->eax = f->cs & 0xffff;
}

/* fn(arg) at that ring with these EFLAGS: what it returns, or FAULTED(vector). */
static u32 in_ring(u32 ring, u32 (*fn)(u32), u32 arg, u32 eflags)
{
    u32 *sp = (u32 *)(ring == 3 ? user_stack_top : inner_stack[ring] + sizeof(inner_stack[ring]) - 256);
    *--sp = arg;
    *--sp = (u32)user_exit;
    struct user_regs r = {(u32)fn, code_of[ring], eflags | 2, (u32)sp, data_of[ring], 0, 0, 0, 0, 0, 0};
    last.vector = V_NONE;
    return enter_user(&r);
}

static u32 do_tables(u32 arg)
{
    struct table_reg g = {0, 0}, i = {0, 0};
    (void)arg;
    asm volatile("sgdt %0\n\tsidt %1" : "=m"(g), "=m"(i));
    return g.limit == GDT_BYTES - 1 && g.base == (u32)gdt && i.limit == sizeof(idt) - 1 && i.base == (u32)idt;
}

static u32 do_selectors(u32 arg)
{
    u32 l, t, s;
    (void)arg;
    asm volatile("sldt %0\n\tstr %1\n\tsmsw %2" : "=r"(l), "=r"(t), "=r"(s));
    return (l & 0xffff) | (t & 0xffff) << 8 | (s & 0x3f) << 24;
}

static u32 do_segments(u32 arg)
{
    u32 c, s, m, f;
    (void)arg;
    asm volatile("pushl %%cs\n\tpopl %0\n\tpushl %%ss\n\tpopl %1\n\tmovl %%ds, %2\n\t"
                 "movl %%cs, %%eax\n\tpushl %%eax\n\tpushl $1f\n\tlret\n1:\tmovl %%cs, %3"
                 : "=&r"(c), "=&r"(s), "=&r"(m), "=&r"(f)
                 :
                 : "eax", "memory");
    return (c & 0xffff) == (f & 0xffff) && (s & 0xffff) == (m & 0xffff) ? (c & 0xffff) | s << 16 : 0;
}

/* lar, lsl, verr, verw of a selector: a bit each for "visible". */
static u32 do_rights(u32 sel)
{
    u8 a, b, c, d;
    asm volatile(
        "larl %4, %%eax\n\tsetz %0\n\tlsll %4, %%eax\n\tsetz %1\n\tverr %w4\n\tsetz %2\n\tverw %w4\n\tsetz %3"
        : "=m"(a), "=m"(b), "=m"(c), "=m"(d)
        : "r"(sel)
        : "eax", "cc");
    return a | b << 1 | c << 2 | d << 3;
}

static u32 do_popf(u32 fl)
{
    u32 v;
    asm volatile("pushl %1\n\tpopfl\n\tpushfl\n\tpopl %0\n\tpushl $2\n\tpopfl"
                 : "=r"(v)
                 : "r"(fl)
                 : "memory", "cc");
    return v;
}

static u32 do_cli_sti(u32 arg)
{
    u32 a, b;
    asm volatile("sti\n\tpushfl\n\tpopl %0\n\tcli\n\tpushfl\n\tpopl %1"
                 : "=r"(a), "=r"(b)
                 :
                 : "memory", "cc");
    return arg + ((a & FL_IF) && !(b & FL_IF));
}

static u32 do_in(u32 port)
{
    u8 v;
    asm volatile("inb %w1, %0" : "=a"(v) : "d"(port));
    return 0x100 | v;
}

static u32 do_int80(u32 arg)
{
    u32 v;
    asm volatile("int $0x80" : "=a"(v) : "a"(arg) : "memory");
    return v;
}

static u32 do_int70(u32 arg)
{
    asm volatile("int $0x70" : "+a"(arg) : : "memory");
    return arg;
}

static u32 do_load_ds(u32 sel)
{
    u32 v;
    asm volatile("movl %%ds, %0\n\tmovl %1, %%ds\n\tmovl %0, %%ds" : "=&r"(v) : "r"(sel));
    return 1;
}

static u32 do_read_fs(u32 sel)
{
    u32 v;
    asm volatile("movl %1, %%fs\n\tmovl %%fs:0, %0\n\tmovl %2, %%fs" : "=&r"(v) : "r"(sel), "r"(0));
    return v;
}

static u32 do_read_es(u32 sel)
{
    u32 v;
    asm volatile("movl %1, %%es\n\tmovl %%es:0, %0\n\tpushl %%ss\n\tpopl %%es"
                 : "=&r"(v)
                 : "r"(sel)
                 : "memory");
    return v;
}

static u32 do_load_ss(u32 sel)
{
    u32 v;
    asm volatile("movl %%ss, %0\n\tmovl %1, %%ss\n\tmovl %0, %%ss" : "=&r"(v) : "r"(sel));
    return 1;
}

static u32 do_hlt(u32 arg)
{
    asm volatile("hlt");
    return arg;
}

/* Outwards by lret and back by a gate with DPL 3 into this ring. */
static u32 do_gate(u32 sel)
{
    u32 v;
    asm volatile("movw %w1, 1f + 5\n\tjmp 1f\n1:\tlcall $0, $0" : "=a"(v) : "r"(sel) : "memory");
    return v;
}

extern u8 ring_gate[], ring_int[], ring_same[];
static volatile u32 gate_cs, gate_ss, gate_esp, gate_frame[6];
asm(".text\n"
    "ring_gate:\n\tmovl %cs, %eax\n\tmovl %eax, gate_cs\n\tmovl %ss, %eax\n\tmovl %eax, gate_ss\n\tmovl "
    "%esp, "
    "gate_esp\n\tmovl $0x9a7e, %eax\n\tlret\n"
    "ring_same:\n\tmovl $0x1470, %eax\n\tiret\n"
    "ring_int:\n\tmovl %cs, %eax\n\tmovl %eax, gate_cs\n\tmovl %ss, %eax\n\tmovl %eax, gate_ss\n\tmovl %esp, "
    "gate_esp\n\t"
    "popl gate_frame\n\tpopl gate_frame + 4\n\tpopl gate_frame + 8\n\tpopl gate_frame + 12\n\tpopl "
    "gate_frame + 16\n\t"
    "subl $20, %esp\n\tmovl $0x1470, %eax\n\tiret\n");

static void sensitive(u32 ring)
{
    u32 sys = SEL_TSS << 8 | (read_cr0() & 0x3f) << 24;
    check_eq("sgdt, sidt", in_ring(ring, do_tables, 0, 0), 1);
    check_eq("sldt, str, smsw", in_ring(ring, do_selectors, 0, 0), sys);
    check_eq("push cs, push ss, mov ds, far ret", in_ring(ring, do_segments, 0, 0),
             code_of[ring] | (u32)data_of[ring] << 16);
    /* A segment is visible where max(CPL, RPL) <= DPL. */
    check_eq("lar, lsl, verr, verw of its data", in_ring(ring, do_rights, data_of[ring], 0), 15);
    check_eq("of ring 1's", in_ring(ring, do_rights, data_of[1], 0), ring <= 1 ? 15 : 0);
    check_eq("of ring 2's", in_ring(ring, do_rights, data_of[2], 0), ring <= 2 ? 15 : 0);
    check_eq("of ring 0's", in_ring(ring, do_rights, SEL_KDATA, 0), 0);
    check_eq("of ring 3's", in_ring(ring, do_rights, SEL_UDATA, 0), 15);
    check_eq("popf leaves IF where CPL > IOPL", in_ring(ring, do_popf, FL_IF | 2, (ring - 1) << 12) & FL_IF,
             0);
    check_eq("popf changes IF where CPL <= IOPL", in_ring(ring, do_popf, FL_IF | 2, ring << 12) & FL_IF,
             FL_IF);
    check_eq("popf leaves IOPL", in_ring(ring, do_popf, FL_IOPL3 | 2, 0x1000) & FL_IOPL3, 0x1000);
    check_eq("sti where CPL > IOPL", in_ring(ring, do_cli_sti, 0, (ring - 1) << 12), FAULTED(V_GP));
    check_eq("sti, cli where CPL <= IOPL", in_ring(ring, do_cli_sti, 0, ring << 12), 1);
    check_eq("in where CPL > IOPL", in_ring(ring, do_in, 0x61, (ring - 1) << 12), FAULTED(V_GP));
    check_eq("in where CPL <= IOPL", in_ring(ring, do_in, 0x61, ring << 12) & 0x100, 0x100);
    check_eq("hlt", in_ring(ring, do_hlt, 0, FL_IOPL3), FAULTED(V_GP));
    check_eq("int 80h", in_ring(ring, do_int80, 5, 0), code_of[ring]);
    check_eq("int through a gate of ring 1", in_ring(ring, do_int70, 1, 0),
             ring <= 1 ? 0x1470 : FAULTED(V_GP));
    check_eq("mov ds, ring 0's data", in_ring(ring, do_load_ds, SEL_KDATA, 0), FAULTED(V_GP));
    check_eq("its error code", last.error, SEL_KDATA);
    check_eq("mov ds, ring 3's data", in_ring(ring, do_load_ds, SEL_UDATA, 0), 1);
    check_eq("mov ss, its own", in_ring(ring, do_load_ss, data_of[ring], 0), 1);
    check_eq("mov ss, ring 3's", in_ring(ring, do_load_ss, SEL_UDATA, 0), ring == 3 ? 1 : FAULTED(V_GP));
    check_eq("mov ss, its own with another rpl", in_ring(ring, do_load_ss, data_of[ring] & ~3u, 0),
             FAULTED(V_GP));
}

/* The same selectors again and again, of the GDT and of two LDTs, while what they stand for changes. */
static void loads(u32 ring)
{
    enum { LOCAL = 3 << 3 | 4 | 3 };
    static u64 other[4];
    bool global = true, local = true;

    for (u32 p = 0; p < 16; p++)
        *(volatile u32 *)ARENA(p) = 0xa0 + p;
    for (u32 n = 0; n < 300; n++) {
        u32 from = n / 4 % 4, ldt_from = 4 + n / 5 % 3, other_from = 8 + n / 3 % 4, which = n / 7 % 3;
        u32 room = n / 11 % 3 ? 31 : 23, want;
        u32 (*const read)(u32) = n % 13 ? do_read_fs : do_read_es;
        set_desc(SEL_T6, make_desc(ARENA(from), 0xfff, ACC_DATA | ACC_DPL3, DESC_D));
        set_desc(SEL_T7, make_desc((u32)other, room, ACC_LDT, 0));
        ldt[3] = make_desc(ARENA(ldt_from), 0xfff, ACC_DATA | ACC_DPL3, DESC_D);
        other[3] = make_desc(ARENA(other_from), 0xfff, ACC_DATA | ACC_DPL3, DESC_D);
        asm volatile("lldt %w0" : : "r"(which == 0 ? 0 : which == 1 ? SEL_LDT : SEL_T7));
        want = which == 0   ? FAULTED(V_GP)
               : which == 1 ? 0xa0 + ldt_from
               : room == 31 ? 0xa0 + other_from
                            : FAULTED(V_GP);
        for (u32 times = 0; times < 3; times++) {
            global &= in_ring(ring, read, SEL_T6 | 3, 0) == 0xa0 + from;
            local &= in_ring(ring, read, LOCAL, 0) == want;
        }
        /* What LDTR has counts, until it is loaded again; but each descriptor is read. */
        if (which == 2 && room == 31) {
            set_desc(SEL_T7, make_desc((u32)other, 23, ACC_LDT, 0));
            local &= in_ring(ring, read, LOCAL, 0) == want;
            other[3] = make_desc(ARENA(3), 0xfff, ACC_DATA | ACC_DPL3, DESC_D);
            local &= in_ring(ring, read, LOCAL, 0) == 0xa3;
            other[3] = make_desc(ARENA(3), 0xfff, ACC_DATA, DESC_D);
            local &= in_ring(ring, read, LOCAL, 0) == FAULTED(V_GP);
        }
        set_desc(SEL_T7, make_desc((u32)other, 31, ACC_LDT, 0));
        other[3] = make_desc(ARENA(other_from), 0xfff, ACC_DATA | ACC_DPL3, DESC_D);
        for (u32 times = 0; times < 3; times++) { /* only LDTR changes */
            asm volatile("lldt %w0" : : "r"(SEL_LDT));
            local &= in_ring(ring, read, LOCAL, 0) == 0xa0 + ldt_from;
            if (times == 2) {
                asm volatile("lldt %w0" : : "r"(0));
                local &= in_ring(ring, read, LOCAL, 0) == FAULTED(V_GP);
            }
            asm volatile("lldt %w0" : : "r"(SEL_T7));
            local &= in_ring(ring, read, LOCAL, 0) == 0xa0 + other_from;
        }
    }
    asm volatile("lldt %w0" : : "r"(0));
    check("loads of the gdt's segments that change", global);
    check("of the ldt's", local);
}

static void between(void)
{
    gdt[SEL_T4 >> 3] = make_gate(SEL_T0, (u32)ring_gate, ACC_CALL32 | ACC_DPL3, 0);
    gdt[SEL_T5 >> 3] = make_gate(SEL_T2, (u32)ring_gate, ACC_CALL32 | 0x40, 0); /* DPL 2 */
    check_eq("call gate from ring 3 to ring 1", in_ring(3, do_gate, SEL_T4 | 3, 0), 0x9a7e);
    check("runs in ring 1 on its stack",
          (gate_cs & 0xffff) == code_of[1] && (gate_ss & 0xffff) == data_of[1] && gate_esp == tss.esp1 - 16);
    check_eq("call gate from ring 2 to ring 1", in_ring(2, do_gate, SEL_T4 | 2, 0), 0x9a7e);
    check("on ring 1's stack", gate_esp == tss.esp1 - 16);
    check_eq("call gate within ring 1", in_ring(1, do_gate, SEL_T4 | 1, 0), 0x9a7e);
    check("on the same stack", gate_esp != tss.esp1 - 16 && (gate_ss & 0xffff) == data_of[1]);
    check_eq("gate of dpl 2 from ring 3", in_ring(3, do_gate, SEL_T5 | 3, 0), FAULTED(V_GP));
    check_eq("gate of dpl 2 from ring 2", in_ring(2, do_gate, SEL_T5 | 2, 0), 0x9a7e);
    check_eq("gate to an outer ring", in_ring(1, do_gate, SEL_T5 | 1, 0), FAULTED(V_GP));
    check_eq("names the code segment", last.error, SEL_T2);
    idt[0x71] = make_gate(SEL_T0, (u32)ring_int, ACC_INT32 | ACC_DPL3, 0);
    idt[0x70] = idt[0x71];
    check_eq("int from ring 3 into ring 1", in_ring(3, do_int70, 1, FL_IF), 0x1470);
    check("its frame", (gate_frame[1] & 0xffff) == SEL_UCODE && (gate_frame[4] & 0xffff) == SEL_UDATA &&
                           (gate_frame[2] & FL_IF) && gate_esp == tss.esp1 - 20);
    idt[0x70] = make_gate(SEL_T2, (u32)ring_int, ACC_INT32 | ACC_DPL3, 0);
    check_eq("int from ring 1 into ring 2", in_ring(1, do_int70, 1, 0), FAULTED(V_GP));
    check_eq("names the code segment, too", last.error, SEL_T2);
    u16 keep = (u16)tss.ss1;
    idt[0x70] = idt[0x71];
    tss.ss1 = 0;
    check_eq("a null stack for ring 1", in_ring(3, do_int70, 1, 0), FAULTED(V_TS));
    tss.ss1 = SEL_KDATA;
    check_eq("a stack of ring 0 for ring 1", in_ring(3, do_int70, 1, 0), FAULTED(V_TS));
    check_eq("its error code", last.error & ~1u, SEL_KDATA);
    set_desc(SEL_T6, make_desc(0, 0xfffff, (ACC_DATA | 0x20) & ~0x80, DESC_G | DESC_D));
    tss.ss1 = SEL_T6 | 1;
    /* #SS by the manual (INT, INTER-PRIVILEGE-LEVEL-INTERRUPT); TCG raises #TS. */
    check_tcg_gap("a stack that is not present", in_ring(3, do_int70, 1, 0) == FAULTED(V_SS));
    check_eq("its error code", last.error & ~1u, SEL_T6);
    tss.ss1 = keep;
}

/* iret with such a frame at ring 0. */
#define IRET(name, vector, error, ss, esp, fl, cs, eip)                                                      \
    CHECK_FAULT(name, vector, error, "pushl %0\n\tpushl %1\n\tpushl %2\n\tpushl %3\n\tpushl %4\n\tiret",     \
                :                                                                                            \
                : "i"(ss), "r"(esp), "i"(fl), "i"(cs), "r"(eip)                                              \
                : "memory", "cc")

static void irets(void)
{
    u32 sp = (u32)user_stack_top, ip = (u32)do_hlt;
    u32 tiny = 0x2000;
    set_desc(SEL_T6, make_desc(0, 0xfffff, (ACC_CODE | ACC_DPL3) & ~0x80, DESC_G | DESC_D));
    set_desc(SEL_T7, make_desc(0, 0xfff, ACC_CODE | ACC_DPL3, DESC_D));
    set_desc(SEL_T8, make_desc(0, 0xfffff, (ACC_DATA | ACC_DPL3) & ~0x80, DESC_G | DESC_D));
    set_desc(SEL_T9, make_desc(0, 0xfffff, ACC_DATA_RO | ACC_DPL3, DESC_G | DESC_D));
    IRET("iret to a null cs", V_GP, 0, SEL_UDATA, sp, 2, 0, ip);
    IRET("iret to data", V_GP, SEL_UDATA & ~3, SEL_UDATA, sp, 2, SEL_UDATA, ip);
    IRET("iret to code of ring 3 with rpl 0", V_GP, SEL_UCODE & ~3, SEL_UDATA, sp, 2, SEL_UCODE & ~3, ip);
    IRET("iret to code that is not present", V_NP, SEL_T6, SEL_UDATA, sp, 2, SEL_T6 | 3, ip);
    IRET("iret past the table", V_GP, GDT_BYTES, SEL_UDATA, sp, 2, GDT_BYTES | 3, ip);
    if (!peer_is_qemu) /* TCG knows no code segment limits and would run what is there */
        IRET("iret to an eip beyond the limit", V_GP, 0, SEL_UDATA, sp, 2, SEL_T7 | 3, tiny);
    IRET("iret to a null stack", V_GP, 0, 0, sp, 2, SEL_UCODE, ip);
    IRET("iret to a stack of another ring", V_GP, SEL_KDATA, SEL_KDATA, sp, 2, SEL_UCODE, ip);
    IRET("iret to a stack with another rpl", V_GP, SEL_UDATA & ~3, SEL_UDATA & ~3, sp, 2, SEL_UCODE, ip);
    /* TCG raises #NP. */
    CHECK_FAULT_TCG_GAP("iret to a stack that is not present", V_SS, SEL_T8,
                        "pushl %0\n\tpushl %1\n\tpushl $2\n\tpushl %2\n\tpushl %3\n\tiret",
                        :
                        : "i"(SEL_T8 | 3), "r"(sp), "i"(SEL_UCODE), "r"(ip)
                        : "memory", "cc");
    IRET("iret to a read-only stack", V_GP, SEL_T9, SEL_T9 | 3, sp, 2, SEL_UCODE, ip);
    tss.link = 0;
    write_flags(FL_NT | 2);
    CHECK_FAULT("iret with NT and no task behind", V_TS, 0, "iret", ::);
    tss.link = SEL_TSS2;
    set_desc(SEL_TSS2, make_desc((u32)&tss2, 0x67, ACC_TSS32, 0));
    CHECK_FAULT("iret with NT to a task that is not busy", V_TS, SEL_TSS2, "iret", ::);
    tss.link = 0;
    write_flags(2);
}

static u32 user_iret_inwards(u32 arg)
{
    asm volatile("pushfl\n\tpushl %0\n\tpushl $1f\n\tiret\n1:" : : "r"(arg) : "memory", "cc");
    return arg;
}

/* Outer rings lose data segments that they may not have (SDM vol. 2, IRET). */
static u32 user_segments(u32 arg)
{
    u32 d, f;
    (void)arg;
    asm volatile("movl %%fs, %0\n\tmovl %%gs, %1" : "=r"(d), "=r"(f));
    return (d & 0xffff) | f << 16;
}

void test_ring(void)
{
    for (u32 ring = 1; ring < 3; ring++) {
        set_desc(code_of[ring] & ~7, make_desc(0, 0xfffff, (u8)(ACC_CODE | ring << 5), DESC_G | DESC_D));
        set_desc(data_of[ring] & ~7, make_desc(0, 0xfffff, (u8)(ACC_DATA | ring << 5), DESC_G | DESC_D));
    }
    tss.ss1 = data_of[1];
    tss.esp1 = (u32)inner_stack[1] + 2048;
    tss.ss2 = data_of[2];
    tss.esp2 = (u32)inner_stack[2] + 2048;
    handlers[V_SYS] = on_sys;
    /* DPL 1, into ring 1: from there without a stack switch */
    idt[0x70] = make_gate(SEL_T0, (u32)ring_same, (u8)(ACC_INT32 | 0x20), 0);
    for (u32 ring = 1; ring < 4; ring++) {
        puts(ring == 1 ? "# ring 1\n" : ring == 2 ? "# ring 2\n" : "# ring 3\n");
        sensitive(ring);
        loads(ring);
    }
    between();
    irets();
    check_eq("iret inwards", in_ring(3, user_iret_inwards, SEL_T0 | 1, 0), FAULTED(V_GP));
    check_eq("iret from ring 1 inwards", in_ring(1, user_iret_inwards, SEL_KCODE, 0), FAULTED(V_GP));
    asm volatile("movl %0, %%fs\n\tmovl %1, %%gs" : : "r"(SEL_KDATA), "r"(SEL_UDATA));
    check_eq("iret to ring 3 clears ring 0's data", in_ring(3, user_segments, 0, 0), (u32)SEL_UDATA << 16);
    asm volatile("movl %0, %%fs\n\tmovl %1, %%gs" : : "r"(SEL_T1), "r"(SEL_T3));
    check_eq("iret to ring 2 clears ring 1's", in_ring(2, user_segments, 0, 0), (u32)SEL_T3 << 16);
    asm volatile("movl %0, %%fs\n\tmovl %0, %%gs" : : "r"(0));
    handlers[V_SYS] = NULL;
    set_gate(0x70, ACC_INT32);
    set_gate(0x71, ACC_INT32);
    tss.ss1 = tss.ss2 = tss.esp1 = tss.esp2 = 0;
}
