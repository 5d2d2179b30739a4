/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 16-bit protected mode and real mode: the way there and back, 16-bit addressing and stacks, the interrupt
 * vector table (SDM vol. 3, 9.9 and 20.1).
 *
 * The code between m16_begin and m16_end is copied to 8000h and runs there; results are left at 9000h.
 */
#include "kernel.h"

extern u8 m16_begin[], m16_end[], m16_pm16[], m16_real[], m16_v86[];
#define BLOB    0x8000u
#define RESULT  ((volatile u16 *)0x9000)
#define AT16(l) (BLOB + (u32)((l)-m16_begin))

asm(".text\n"
    ".set OFF, 0x8000\n"
    "m16_begin:\n"
    ".code16\n"
    /* Called by a far call with a 32-bit operand from 32-bit code; a stack segment of 16 bits is in use. */
    "m16_pm16:\n\t"
    "movw %sp, %ax\n\tpushw $0x1234\n\tsubw %sp, %ax\n\tmovw %ax, 0x9000\n\tpopw %ax\n\tmovw %ax, 0x9002\n\t"
    "pushl $0x89abcdef\n\tpopw 0x9004\n\tpopw 0x9006\n\t"
    "movw $0x9000, %bx\n\tmovw $0x10, %si\n\tmovw $0x5566, (%bx,%si)\n\t"
    "movl $0x10009000, %ebx\n\tmovw 0x10(%bx), %ax\n\tmovw %ax, 0x9008\n\t"
    "call 1f\n1:\tpopw %ax\n\tsubw $(1b - m16_begin + OFF), %ax\n\tmovw %ax, 0x900a\n\t"
    "movw $5, %cx\n\txorw %ax, %ax\n2:\tincw %ax\n\tloop 2b\n\tmovw %ax, 0x900c\n\t"
    "movl $0x7fffffff, %eax\n\tincl %eax\n\tseto %al\n\tmovb %al, 0x900e\n\t"
    "lretl\n"

    /* Entered by a far jump from 32-bit code with 16-bit data segments loaded. */
    "m16_real:\n\t"
    "movl %cr0, %eax\n\tandl $~1, %eax\n\tmovl %eax, %cr0\n\t"
    "ljmp $0, $(3f - m16_begin + OFF)\n3:\n\t"
    "xorw %ax, %ax\n\tmovw %ax, %ds\n\tmovw %ax, %es\n\tmovw %ax, %ss\n\tmovl $0x7c00, %esp\n\t"
    "lidtl m16_ivt - m16_begin + OFF\n\t"
    "movw %cs, 0x9000\n\t"
    /* A vector of ours, through memory at 0. */
    "movw $(m16_int60 - m16_begin + OFF), 0x60*4\n\tmovw $0, 0x60*4+2\n\t"
    "movw $(m16_int0 - m16_begin + OFF), 0\n\tmovw $0, 2\n\t"
    "movw $(m16_int6 - m16_begin + OFF), 6*4\n\tmovw $0, 6*4+2\n\t"
    "movw $(m16_int13 - m16_begin + OFF), 13*4\n\tmovw $0, 13*4+2\n\t"
    "movw $(m16_irq - m16_begin + OFF), 0x20*4\n\tmovw $0, 0x20*4+2\n\t"
    "movw $0x1111, %ax\n\tint $0x60\n\tmovw %ax, 0x9002\n\t"
    /* Division by zero: ip of the instruction. */
    "xorw %cx, %cx\n\tmovw $1, %ax\n\tcwd\n4:\tdivw %cx\n\tsubw $(4b - m16_begin + OFF), %bx\n\tmovw %bx, "
    "0x9004\n\t"
    /* Segment arithmetic, also past 1 MiB: the multiboot header is at FFFFh:0010h. */
    "movw $0x900, %ax\n\tmovw %ax, %es\n\tmovw $0x7788, %es:0x20\n\tmovw 0x9020, %ax\n\tmovw %ax, 0x9006\n\t"
    "movw $0xffff, %ax\n\tmovw %ax, %fs\n\tmovl %fs:0x10, %eax\n\tmovl %eax, 0x9008\n\t"
    "movw %fs, %ax\n\tmovw %ax, 0x900c\n\t"
    /* lar is not recognised in real mode. */
    "movw $0, 0x900e\n\tlarw %ax, %bx\n\t"
    /* Flags: cli, sti, pushf, popf. */
    "cli\n\tpushfw\n\tpopw %ax\n\tandw $0x200, %ax\n\tmovw %ax, 0x9010\n\t"
    "pushw $0x3202\n\tpopfw\n\tpushfw\n\tpopw 0x9012\n\tpushw $2\n\tpopfw\n\t"
    /* Timer interrupts through the vector table, with hlt. */
    "movw $0, 0x9014\n\tsti\n5:\thlt\n\tcmpw $3, 0x9014\n\tjb 5b\n\tcli\n\t"
    /* Far call and return, string move, 32-bit operands and addresses. */
    "lcall $(0x8000 >> 4), $(m16_far - m16_begin)\n\tmovw %ax, 0x9016\n\t"
    "movw $0x9000, %si\n\tmovw $0x9100, %di\n\tmovw $8, %cx\n\tmovw $0, %ax\n\tmovw %ax, %es\n\tcld\n\trep "
    "movsw\n\t"
    "movl $0x9102, %ebx\n\tmovw (%ebx), %ax\n\tmovw %ax, 0x9018\n\t"
    /* A word at FFFFh is past the limit. */
    "movw $0, 0x901a\n\tmovw 0xffff, %ax\n\tnop\n\tnop\n\t"
    /* smsw, and sgdt in 16 bits. */
    "smsww %ax\n\tmovw %ax, 0x901c\n\t"
    "sgdtw 0x9020\n\t"
    /* push and pop at sp = 0 wrap within the segment. */
    "movw %sp, %bp\n\tmovw $(0x9300 >> 4), %ax\n\tmovw %ss, %cx\n\tmovw %ax, %ss\n\txorw %sp, %sp\n\tpushw "
    "$0x4321\n\tmovw %sp, %dx\n\t"
    "popw %ax\n\tmovw %cx, %ss\n\tmovw %bp, %sp\n\tmovw %dx, 0x9028\n\tmovw %ax, 0x902a\n\t"
    /* Back. */
    "lidtl m16_idt - m16_begin + OFF\n\t"
    "movl %cr0, %eax\n\torl $1, %eax\n\tmovl %eax, %cr0\n\tljmpl $0x08, $m16_back\n"
    "m16_int60:\n\tpushw %bp\n\tmovw %sp, %bp\n\tmovw 6(%bp), %ax\n\tandw $0x200, %ax\n\tpopw %bp\n\torw "
    "$0x2222, %ax\n\tiretw\n"
    "m16_int0:\n\tpushw %bp\n\tmovw %sp, %bp\n\tmovw 2(%bp), %bx\n\taddw $2, 2(%bp)\n\tpopw %bp\n\tiretw\n"
    "m16_int6:\n\tpushw %bp\n\tmovw %sp, %bp\n\taddw $3, 2(%bp)\n\tpopw %bp\n\tmovw $0x6666, "
    "0x900e\n\tiretw\n"
    "m16_int13:\n\tpushw %bp\n\tmovw %sp, %bp\n\taddw $3, 2(%bp)\n\tpopw %bp\n\tmovw $0xdddd, "
    "0x901a\n\tiretw\n"
    "m16_irq:\n\tpushw %ax\n\tincw 0x9014\n\tmovb $0x20, %al\n\toutb %al, $0x20\n\tpopw %ax\n\tiretw\n"
    "m16_far:\n\tmovw %cs, %ax\n\tlretw\n"
    "m16_ivt:\n\t.word 0x3ff\n\t.long 0\n"
    "m16_idt:\n\t.word 0x7ff\n\t.long idt\n"
    "m16_end:\n"
    ".code32\n");

static u32 m16_esp;

void test_mode16(void)
{
    memcpy((void *)BLOB, m16_begin, (u32)(m16_end - m16_begin));
    memset((void *)0x9000, 0, 0x400);
    /* 16-bit protected mode: code of 16 bits at base 0, a 16-bit stack in low memory. */
    set_desc(SEL_T0, make_desc(0, 0xffff, ACC_CODE, 0));
    set_desc(SEL_T1, make_desc(0, 0xffff, ACC_DATA, 0));
    struct {
        u32 offset;
        u16 selector;
    } __attribute__((packed)) p = {AT16(m16_pm16), SEL_T0};
    asm volatile("movl %%esp, m16_esp\n\tmovl %0, %%ecx\n\tmovl %1, %%eax\n\tmovw %%ax, %%ss\n\tmovl "
                 "$0x12347c00, %%esp\n\t"
                 "pushl %%ecx\n\tpopl %%ecx\n\tlcall *(%%ecx)\n\tmovl %%esp, %%edx\n\tmovl %2, %%ecx\n\t"
                 "movl %%ecx, %%ss\n\tmovl m16_esp, %%esp\n\tmovl %%edx, m16_esp"
                 :
                 : "D"(&p), "i"(SEL_T1), "i"(SEL_KDATA)
                 : "eax", "ebx", "ecx", "edx", "esi", "memory", "cc");
    check_eq("a 16-bit stack changes sp only", m16_esp, 0x12347c00);
    check_eq("16-bit push", RESULT[0], 2);
    check_eq("16-bit pop", RESULT[1], 0x1234);
    check("32-bit push, two 16-bit pops", RESULT[2] == 0xcdef && RESULT[3] == 0x89ab);
    check_eq("16-bit addressing ignores upper halves", RESULT[4], 0x5566);
    check_eq("16-bit call pushes ip", RESULT[5], 0);
    check_eq("16-bit loop", RESULT[6], 5);
    check_eq("32-bit operand in 16-bit code", RESULT[7] & 0xff, 1);

    /* Real mode. */
    memset((void *)0x9000, 0, 0x400);
    static u32 ivt[256];
    u32 sel = SEL_T1;
    for (u32 i = 0; i < 256; i++)
        ivt[i] = ((volatile u32 *)0)[i];
    pit_start(1000);
    pic_mask(0xfffe);
    p.offset = AT16(m16_real);
    asm volatile("pushal\n\tmovl %%esp, m16_esp\n\tmovw %w0, %%ds\n\tmovw %w0, %%es\n\tmovw %w0, %%ss\n\t"
                 "ljmp *%%cs:(%%ebx)\n"
                 "m16_back:\n\tmovl $0x10, %%eax\n\tmovw %%ax, %%ds\n\tmovw %%ax, %%es\n\tmovw %%ax, %%ss\n\t"
                 "movl m16_esp, %%esp\n\tpopal\n\txorl %%eax, %%eax\n\tmovl %%eax, %%fs"
                 : "+a"(sel)
                 : "b"(&p)
                 : "memory", "cc");
    handlers[V_IRQ0] = NULL;
    pit_stop();
    timer_on(1000);
    timer_off();
    for (u32 i = 0; i < 256; i++)
        ((volatile u32 *)0)[i] = ivt[i];
    check_eq("real mode's cs", RESULT[0], 0);
    check_eq("int through the vector table, IF clear", RESULT[1], 0x2222);
    check_eq("division fault's ip", RESULT[2], 0);
    check_eq("segment times 16", RESULT[3], 0x7788);
    check_eq("FFFFh:10h is 1 MiB", RESULT[4] | (u32)RESULT[5] << 16, 0x1badb002);
    check_eq("mov from fs", RESULT[6], 0xffff);
    check_eq("lar in real mode", RESULT[7], 0x6666);
    check_eq("cli", RESULT[8], 0);
    check_eq("popf changes IOPL and IF", RESULT[9] & 0x3200, 0x3200);
    check("timer interrupts", RESULT[10] >= 3);
    check_eq("far call", RESULT[11], 0x800);
    check_eq("rep movsw, 32-bit address", RESULT[12], 0x2222);
    check_tcg_gap("a word at FFFFh", RESULT[13] == 0xdddd);
    check_eq("smsw without PE", RESULT[14] & 1, 0);
    check("16-bit sgdt", RESULT[16] == GDT_BYTES - 1 &&
                             (RESULT[17] | ((u32)RESULT[18] & 0xff) << 16) == ((u32)gdt & 0xffffff));
    check("sp wraps", RESULT[20] == 0xfffe && RESULT[21] == 0x4321);
    u32 cs;
    asm volatile("movl %%cs, %0" : "=r"(cs));
    check_eq("back in protected mode", cs, SEL_KCODE);
    check("paging works after it", (paging_on(), paging_off(), true));
}
