/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual-8086 mode: what traps with IOPL 0 and 3, interrupts reflected by a small monitor, interrupts and
 * faults out of it, frames with the data segments (SDM vol. 3, 20.2 and 20.3).
 */
#include "kernel.h"

extern u8 v86_begin[], v86_end[], v86_main[], v86_iopl3[], v86_spin[], v86_priv[];
#define BLOB   0x8000u
#define RESULT ((volatile u16 *)0x9000)

asm(".text\n"
    "v86_begin:\n"
    ".code16\n"
    "v86_main:\n\t"
    "movw %cs, 0x0\n\tmovw %ds, 0x2\n\tmovw %ss, 0x4\n\t"
    "movw $0x1111, %ax\n\tint $0x60\n\tmovw %ax, 0x6\n\t"
    "pushfw\n\tpopw %ax\n\tmovw %ax, 0x8\n\tcli\n\tsti\n\tpushw $0x3202\n\tpopfw\n\t"
    "movw $0x900, %ax\n\tmovw %ax, %es\n\tmovw $0x7788, %es:0x20\n\tmovw $0xffff, %ax\n\tmovw %ax, %gs\n\t"
    "movl %gs:0x10, %eax\n\tmovl %eax, 0xa\n\t"
    "movw $10, %cx\n\txorw %ax, %ax\n1:\taddw %cx, %ax\n\tcall 2f\n\tloop 1b\n\tjmp 3f\n2:\tincw "
    "%ax\n\tret\n3:\tmovw %ax, 0xe\n\t"
    "lcall $0x800, $(v86_far - v86_begin)\n\tmovw %ax, 0x10\n\t"
    "hlt\n"
    "v86_far:\n\tmovw $0xfa, %ax\n\tlretw\n"
    "v86_int60:\n\taddw $0x2222, %ax\n\tiretw\n"
    /* IOPL 3: these do not trap. int does not either, but goes through the IDT. */
    "v86_iopl3:\n\tcli\n\tpushfw\n\tpopw %ax\n\tmovw %ax, 0\n\tsti\n\tpushfw\n\tpopw %ax\n\tmovw %ax, 2\n\t"
    "pushw $0x2\n\tpopfw\n\tpushfw\n\tpopw 4\n\tint $0x70\n\tmovw %ax, 6\n\tsti\n\thlt\n"
    "v86_spin:\n\tincl 0\n\tcmpw $5, 0x10\n\tjb v86_spin\n\thlt\n"
    /* Each of these faults; the monitor skips them by the length in si. */
    "v86_priv:\n\tmovw $3, %si\n\tmovl %cr0, %eax\n\tmovw $2, %si\n\tclts\n\tmovw $3, %si\n\tlarw %ax, "
    "%bx\n\t"
    "movw $3, %si\n\tsldtw %ax\n\tmovw $5, %si\n\tlgdtw 0\n\tmovw $2, %si\n\tinb $0x60, %al\n\tmovw $2, "
    "%si\n\tud2\n\t"
    "movw $2, %si\n\tdivw %si\n\tmovw $3, %si\n\tsmsww %ax\n\tmovw $0, %si\n\thlt\n"
    "v86_end:\n"
    ".code32\n");

static volatile u32 faults_seen[16], fault_count, ints, clis, stis, pushfs, popfs, irets, halts, ticks_v86,
    other;
static volatile struct frame seen;
static bool vif;

static u16 pop16(struct frame *f)
{
    u16 v = *(u16 *)((f->ss & 0xffff) * 16 + (f->esp & 0xffff));
    f->esp = (f->esp & ~0xffffu) | ((f->esp + 2) & 0xffff);
    return v;
}

static void push16(struct frame *f, u16 v)
{
    f->esp = (f->esp & ~0xffffu) | ((f->esp - 2) & 0xffff);
    *(u16 *)((f->ss & 0xffff) * 16 + (f->esp & 0xffff)) = v;
}

/* The monitor: what a #GP from V86 with IOPL 0 means. */
static void monitor(struct frame *f)
{
    if (!(f->eflags & FL_VM))
        panic("#GP outside V86");
    const u8 *ip = (const u8 *)((f->cs & 0xffff) * 16 + (f->eip & 0xffff));
    seen = *f;
    if (f->error)
        leave_user(0xbad00000 | f->error);
    switch (ip[0]) {
    case 0xcd: {
        ints++;
        u32 vector = ((volatile u32 *)0)[ip[1]];
        push16(f, (u16)((f->eflags & 0xcff) | (vif ? FL_IF : 0)));
        push16(f, (u16)f->cs);
        push16(f, (u16)(f->eip + 2));
        f->eip = vector & 0xffff;
        f->cs = vector >> 16;
        break;
    }
    case 0xcf:
        irets++;
        f->eip = pop16(f);
        f->cs = pop16(f);
        f->eflags = (f->eflags & ~0xcffu) | (pop16(f) & 0xcff);
        break;
    case 0xfa:
        clis++;
        f->eip++;
        break;
    case 0xfb:
        stis++;
        vif = true;
        f->eip++;
        break;
    case 0x9c:
        pushfs++;
        push16(f, (u16)(f->eflags | 0x3000));
        f->eip++;
        break;
    case 0x9d:
        popfs++;
        pop16(f);
        f->eip++;
        break;
    case 0xf4:
        halts++;
        leave_user(0x4a17);
    default:
        other++;
        leave_user(0xbad00000 | ip[0]);
    }
}

static void skip(struct frame *f)
{
    if (fault_count < 16)
        faults_seen[fault_count] = f->vector;
    fault_count++;
    if (!(f->esi & 0xffff))
        leave_user(0x4a17);
    f->eip += f->esi & 0xffff;
}

static void on_int70(struct frame *f)
{
    seen = *f;
    f->eax = 0x7070;
}

static void on_tick(struct frame *f)
{
    ticks_v86++;
    RESULT[8]++;
    seen = *f;
    pic_eoi(0);
}

static u32 enter_v86(const u8 *code, u32 flags)
{
    struct user_regs r = {(u32)(code - v86_begin),
                          BLOB >> 4,
                          FL_VM | flags | 2,
                          0x1000,
                          0x600,
                          0x111,
                          0x900,
                          0x222,
                          0x333,
                          0,
                          0};
    return enter_user(&r);
}

void test_v86(void)
{
    memcpy((void *)BLOB, v86_begin, (u32)(v86_end - v86_begin));
    memset((void *)0x9000, 0, 0x100);
    u32 keep = ((volatile u32 *)0)[0x60];
    extern u8 v86_int60[];
    ((volatile u32 *)0)[0x60] = (BLOB >> 4) << 16 | (u32)(v86_int60 - v86_begin);
    handlers[V_GP] = monitor;
    vif = false;
    check_eq("runs to its hlt", enter_v86(v86_main, 0), 0x4a17);
    check("segments", RESULT[0] == BLOB >> 4 && RESULT[1] == 0x900 && RESULT[2] == 0x600);
    check_eq("int reflected", RESULT[3], 0x3333);
    check("int and iret trapped once each", ints == 1 && irets == 1);
    check("cli, sti, pushf, popf trapped", clis == 1 && stis == 1 && pushfs == 1 && popfs == 1);
    check_eq("pushf shows what the monitor gave", RESULT[4] & 0x3000, 0x3000);
    check_eq("segment arithmetic", *(volatile u16 *)0x9020, 0x7788);
    check_eq("past 1 MiB", RESULT[5] | (u32)RESULT[6] << 16, 0x1badb002);
    check_eq("loop and call", RESULT[7], 65);
    check_eq("far call", RESULT[8], 0xfa);
    check_eq("no other trap", other, 0);
    check("the frame has the data segments", (seen.v_es & 0xffff) == 0x900 && (seen.v_ds & 0xffff) == 0x900 &&
                                                 (seen.v_gs & 0xffff) == 0xffff &&
                                                 (seen.v_fs & 0xffff) == 0x222);
    check("and they are null in the handler",
          !(seen.ds & 0xffff) && !(seen.es & 0xffff) && !(seen.fs & 0xffff));
    check("VM in the frame", seen.eflags & FL_VM);
    check("VM is not shown by pushf in the kernel", !(read_flags() & FL_VM));

    memset((void *)0x9000, 0, 0x100);
    handlers[0x70] = on_int70;
    set_gate(0x70, ACC_INT32 | ACC_DPL3);
    clis = stis = pushfs = 0;
    check_eq("IOPL 3 runs to its hlt", enter_v86(v86_iopl3, FL_IOPL3 | FL_IF), 0x4a17);
    check("cli and sti act on IF", !(RESULT[0] & FL_IF) && (RESULT[1] & FL_IF));
    check_eq("popf leaves IOPL", RESULT[2] & 0x3200, 0x3000);
    check_eq("nothing trapped", clis + stis + pushfs, 0);
    check_eq("int went through the idt", RESULT[3], 0x7070);
    check("its frame", (seen.cs & 0xffff) == BLOB >> 4 && (seen.eflags & FL_VM));
    set_gate(0x70, ACC_INT32);
    check_eq("a gate of dpl 0 refuses", enter_v86(v86_iopl3, FL_IOPL3 | FL_IF), 0xbad00000 | (0x70 * 8 + 2));
    handlers[0x70] = NULL;

    memset((void *)0x9000, 0, 0x100);
    handlers[V_IRQ0] = on_tick;
    pit_start(200); /* slow enough for a handler that is stopped at each instruction */
    pic_mask(0xfffe);
    check_eq("timer interrupts out of V86", enter_v86(v86_spin, FL_IF), 0x4a17);
    timer_off();
    check("five of them, all from V86",
          ticks_v86 >= 5 && (seen.eflags & FL_VM) && (seen.cs & 0xffff) == BLOB >> 4);

    handlers[V_GP] = skip;
    handlers[V_UD] = skip;
    handlers[V_DE] = skip;
    fault_count = 0;
    check_eq("privileged instructions", enter_v86(v86_priv, 0), 0x4a17);
    static const u32 want[] = {V_GP, V_GP, V_UD, V_UD, V_GP, V_GP, V_UD};
    bool good = true;
    for (u32 i = 0; i < sizeof(want) / 4; i++)
        good = good && faults_seen[i] == want[i];
    check("mov cr0 #GP, clts #GP, lar #UD, sldt #UD, lgdt #GP, in #GP, ud2 #UD", good);
    check_eq("smsw and a division do not fault", fault_count, sizeof(want) / 4 + 1);
    handlers[V_GP] = handlers[V_UD] = handlers[V_DE] = NULL;
    ((volatile u32 *)0)[0x60] = keep;
}
