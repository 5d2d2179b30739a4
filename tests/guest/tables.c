/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptor tables, the task state segment, and running a function at CPL 3. */
#include "kernel.h"

u64 gdt[GDT_BYTES / 8] __attribute__((aligned(8)));
u64 ldt[4] __attribute__((aligned(8)));
u64 idt[256] __attribute__((aligned(8)));
struct tss tss __attribute__((aligned(4096))), tss2 __attribute__((aligned(4096)));
extern const u32 isr_table[256];
extern void user_exit(void);

/* SDM vol. 3, figure 3-8. */
u64 make_desc(u32 base, u32 limit, u8 access, u8 flags)
{
    u32 lo = (base << 16) | (limit & 0xffff);
    u32 hi = (base & 0xff000000) | ((u32)(flags & 0xf0) << 16) | (limit & 0xf0000) | ((u32)access << 8) |
             (base >> 16 & 0xff);
    return (u64)hi << 32 | lo;
}

/* SDM vol. 3, figures 5-8 and 6-2. */
u64 make_gate(u16 selector, u32 offset, u8 access, u8 params)
{
    u32 lo = (u32)selector << 16 | (offset & 0xffff);
    u32 hi = (offset & 0xffff0000) | (u32)access << 8 | params;
    return (u64)hi << 32 | lo;
}

void set_desc(u16 selector, u64 desc)
{
    gdt[selector >> 3] = desc;
}

void set_gate(u8 vector, u8 access)
{
    idt[vector] = make_gate(SEL_KCODE, isr_table[vector], access, 0);
}

void load_gdt(u16 limit)
{
    struct table_reg r = {limit, (u32)gdt};
    asm volatile("lgdt %0" : : "m"(r));
}

void load_idt(u16 limit)
{
    struct table_reg r = {limit, (u32)idt};
    asm volatile("lidt %0" : : "m"(r));
}

void tables_init(void)
{
    set_desc(SEL_KCODE, make_desc(0, 0xfffff, ACC_CODE, DESC_G | DESC_D));
    set_desc(SEL_KDATA, make_desc(0, 0xfffff, ACC_DATA, DESC_G | DESC_D));
    set_desc(SEL_UCODE, make_desc(0, 0xfffff, ACC_CODE | ACC_DPL3, DESC_G | DESC_D));
    set_desc(SEL_UDATA, make_desc(0, 0xfffff, ACC_DATA | ACC_DPL3, DESC_G | DESC_D));
    tss.ss0 = SEL_KDATA;
    tss.esp0 = (u32)stack_top;
    tss.iomap = offsetof(struct tss, bitmap);
    memset(tss.bitmap, 0xff, sizeof(tss.bitmap));
    set_desc(SEL_TSS, make_desc((u32)&tss, sizeof(tss) - 1, ACC_TSS32, 0));
    set_desc(SEL_LDT, make_desc((u32)ldt, sizeof(ldt) - 1, ACC_LDT, 0));
    load_gdt(GDT_BYTES - 1);
    asm volatile("ljmp %0, $1f\n1:\tmovl %1, %%ds\n\tmovl %1, %%es\n\tmovl %1, %%ss\n\t"
                 "movl %2, %%fs\n\tmovl %2, %%gs"
                 :
                 : "i"(SEL_KCODE), "r"(SEL_KDATA), "r"(0)
                 : "memory");
    for (u32 v = 0; v < 256; v++)
        set_gate((u8)v, ACC_INT32);
    set_gate(V_BP, ACC_TRAP32 | ACC_DPL3);
    set_gate(V_OF, ACC_TRAP32 | ACC_DPL3);
    set_gate(V_SYS, ACC_TRAP32 | ACC_DPL3);
    load_idt(sizeof(idt) - 1);
    asm volatile("lldt %w0\n\tltr %w1" : : "r"(0), "r"(SEL_TSS));
}

u32 run_user(u32 (*fn)(u32), u32 arg, u32 eflags)
{
    u32 *sp = (u32 *)user_stack_top;
    *--sp = arg;
    *--sp = (u32)user_exit;
    struct user_regs r = {(u32)fn, SEL_UCODE, eflags | 2, (u32)sp, SEL_UDATA, 0, 0, 0, 0, 0, 0};
    last.vector = V_NONE;
    return enter_user(&r);
}
