/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sensitive unprivileged instructions of Robin and Irvine at CPL 0 and 3: they must show the guest's
 * values. */
#include "kernel.h"

static struct table_reg got;

static u32 do_sgdt(u32 arg)
{
    (void)arg;
    got.limit = 0, got.base = 0;
    asm volatile("sgdt %0" : "=m"(got));
    return got.limit == GDT_BYTES - 1 && got.base == (u32)gdt;
}

static u32 do_sidt(u32 arg)
{
    (void)arg;
    got.limit = 0, got.base = 0;
    asm volatile("sidt %0" : "=m"(got));
    return got.limit == sizeof(idt) - 1 && got.base == (u32)idt;
}

static u32 do_sldt(u32 arg)
{
    u32 v;
    (void)arg;
    asm volatile("sldt %0" : "=r"(v));
    return v & 0xffff;
}

static u32 do_str(u32 arg)
{
    u32 v;
    (void)arg;
    asm volatile("str %0" : "=r"(v));
    return v & 0xffff;
}

static u32 do_str_mem(u32 arg)
{
    u32 v = 0xaaaaaaaa;
    (void)arg;
    asm volatile("str %0" : "+m"(v));
    return v;
}

static u32 do_smsw(u32 arg)
{
    u32 v;
    (void)arg;
    asm volatile("smsw %0" : "=r"(v));
    return v & 0xffff;
}

/* lar: the rights, or FFFFFFFFh when ZF is clear. */
static u32 do_lar(u32 sel)
{
    u32 v = 0;
    u8 z;
    asm volatile("larl %2, %0\n\tsetz %1" : "+r"(v), "=q"(z) : "r"(sel) : "cc");
    return z ? v : 0xffffffff;
}

static u32 do_lsl(u32 sel)
{
    u32 v = 0;
    u8 z;
    asm volatile("lsll %2, %0\n\tsetz %1" : "+r"(v), "=q"(z) : "r"(sel) : "cc");
    return z ? v : 0xdeadbeef;
}

static u32 do_verr(u32 sel)
{
    u8 z;
    asm volatile("verr %w1\n\tsetz %0" : "=q"(z) : "r"(sel) : "cc");
    return z;
}

static u32 do_verw(u32 sel)
{
    u8 z;
    asm volatile("verw %w1\n\tsetz %0" : "=q"(z) : "r"(sel) : "cc");
    return z;
}

static u32 do_push_cs(u32 arg)
{
    u32 v;
    (void)arg;
    asm volatile("pushl %%cs\n\tpopl %0" : "=r"(v));
    return v & 0xffff;
}

static u32 do_push_ss(u32 arg)
{
    u32 v;
    (void)arg;
    asm volatile("pushl %%ss\n\tpopl %0" : "=r"(v));
    return v & 0xffff;
}

static u32 do_mov_ss_mem(u32 arg)
{
    u32 v = 0xaaaaaaaa;
    (void)arg;
    asm volatile("movw %%ss, %0" : "+m"(*(u16 *)&v));
    return v;
}

static u32 do_call_far_cs(u32 arg)
{
    /* What a far call pushes as cs. */
    u32 v;
    (void)arg;
    asm volatile(
        "movl %%cs, %%eax\n\tmovw %%ax, 1f + 5\n\tjmp 1f\n1:\tlcall $0, $2f\n2:\taddl $4, %%esp\n\tpopl %0"
        : "=r"(v)
        :
        : "eax", "memory");
    return v & 0xffff;
}

static u32 do_cpuid(u32 leaf)
{
    u32 a, b, c, d;
    cpuid(leaf, &a, &b, &c, &d);
    return leaf == 0 ? a : d;
}

static u32 do_arpl(u32 pair)
{
    u32 dst = pair & 0xffff, src = pair >> 16;
    u8 z;
    asm volatile("arpl %w2, %w0\n\tsetz %1" : "+r"(dst), "=q"(z) : "r"(src) : "cc");
    return dst | (u32)z << 16;
}

static u32 in_ring(u32 ring, u32 (*fn)(u32), u32 arg)
{
    return ring ? run_user(fn, arg, 0) : fn(arg);
}

void test_sysinsn(void)
{
    set_desc(SEL_T0, make_desc(0, 0x12345, ACC_DATA | ACC_DPL3, DESC_D));          /* byte limit */
    set_desc(SEL_T1, make_desc(0, 0x12, ACC_DATA_RO | ACC_DPL3, DESC_G | DESC_D)); /* page limit, read only */
    set_desc(SEL_T2, make_desc(0, 0xfffff, ACC_CODE_XO | ACC_DPL3, DESC_G | DESC_D)); /* execute only */
    set_desc(SEL_T3, make_desc(0, 0xfffff, ACC_CODE_CONF, DESC_G | DESC_D));          /* conforming, DPL 0 */
    set_desc(SEL_T4, make_desc(0, 0xfffff, (ACC_DATA | ACC_DPL3) & ~0x80, DESC_G | DESC_D)); /* not present */
    gdt[SEL_T5 >> 3] = make_gate(SEL_KCODE, 0, ACC_CALL32 | ACC_DPL3, 0);
    gdt[SEL_T6 >> 3] = make_gate(SEL_KCODE, 0, ACC_INT32 | ACC_DPL3, 0);
    asm volatile("lldt %w0" : : "r"(SEL_LDT));
    for (u32 ring = 0; ring < 2; ring++) {
        puts(ring ? "# cpl 3\n" : "# cpl 0\n");
        u32 rpl = ring ? 3 : 0;
        check_eq("sgdt", in_ring(ring, do_sgdt, 0), 1);
        check_eq("sidt", in_ring(ring, do_sidt, 0), 1);
        check_eq("sldt", in_ring(ring, do_sldt, 0), SEL_LDT);
        check_eq("str", in_ring(ring, do_str, 0), SEL_TSS);
        check_eq("str to memory is 16 bits", in_ring(ring, do_str_mem, 0), 0xaaaa0000 | SEL_TSS);
        check_eq("smsw", in_ring(ring, do_smsw, 0), read_cr0() & 0xffff);
        check_eq("push cs", in_ring(ring, do_push_cs, 0), ring ? SEL_UCODE : SEL_KCODE);
        check_eq("push ss", in_ring(ring, do_push_ss, 0), ring ? SEL_UDATA : SEL_KDATA);
        check_eq("mov ss to memory is 16 bits", in_ring(ring, do_mov_ss_mem, 0),
                 0xaaaa0000u | (ring ? SEL_UDATA : SEL_KDATA));
        check_eq("far call pushes cs", in_ring(ring, do_call_far_cs, 0), ring ? SEL_UCODE : SEL_KCODE);
        check_eq("cpuid", in_ring(ring, do_cpuid, 1), cpu_features());
        check_eq("lar of data", in_ring(ring, do_lar, SEL_T0 | rpl), 0x00400000 | (ACC_DATA | ACC_DPL3) << 8);
        check_eq("lar of kernel data", in_ring(ring, do_lar, SEL_KDATA),
                 ring ? 0xffffffff : 0x00c00000u | (ACC_DATA | 1) << 8);
        check_eq("lar of a conforming segment", in_ring(ring, do_lar, SEL_T3),
                 0x00c00000 | ACC_CODE_CONF << 8);
        check_eq("lar of a call gate", in_ring(ring, do_lar, SEL_T5 | rpl) & 0xff00,
                 (ACC_CALL32 | ACC_DPL3) << 8);
        check_eq("lar of an interrupt gate", in_ring(ring, do_lar, SEL_T6 | rpl), 0xffffffff);
        check_eq("lar of the busy tss", in_ring(ring, do_lar, SEL_TSS), ring ? 0xffffffff : 0x8b00);
        check_eq("lar of null", in_ring(ring, do_lar, 0), 0xffffffff);
        check_eq("lar past the table", in_ring(ring, do_lar, GDT_BYTES), 0xffffffff);
        check_eq("lar of data not present", in_ring(ring, do_lar, SEL_T4 | rpl), 0x00c07200);
        check_eq("lsl, bytes", in_ring(ring, do_lsl, SEL_T0 | rpl), 0x12345);
        check_eq("lsl, pages", in_ring(ring, do_lsl, SEL_T1 | rpl), 0x12fff);
        check_eq("lsl of a call gate", in_ring(ring, do_lsl, SEL_T5 | rpl), 0xdeadbeef);
        check_eq("lsl of the tss", in_ring(ring, do_lsl, SEL_TSS),
                 ring ? 0xdeadbeef : sizeof(struct tss) - 1);
        check_eq("verr of data", in_ring(ring, do_verr, SEL_T0 | rpl), 1);
        check_eq("verr of kernel data", in_ring(ring, do_verr, SEL_KDATA), !ring);
        check_eq("verr of execute-only code", in_ring(ring, do_verr, SEL_T2 | rpl), 0);
        check_eq("verr of conforming code", in_ring(ring, do_verr, SEL_T3), 1);
        check_eq("verr of null", in_ring(ring, do_verr, 0), 0);
        check_eq("verr of a gate", in_ring(ring, do_verr, SEL_T5 | rpl), 0);
        check_eq("verw of data", in_ring(ring, do_verw, SEL_T0 | rpl), 1);
        check_eq("verw of read-only data", in_ring(ring, do_verw, SEL_T1 | rpl), 0);
        check_eq("verw of code", in_ring(ring, do_verw, SEL_UCODE), 0);
        check_eq("verw of kernel data", in_ring(ring, do_verw, SEL_KDATA), !ring);
        check_eq("arpl raises", in_ring(ring, do_arpl, 0x00030010), 0x10013);
        check_eq("arpl leaves", in_ring(ring, do_arpl, 0x00010013), 0x00013);
    }
    asm volatile("lldt %w0" : : "r"(0));
    struct table_reg odd = {0x1ff, (u32)idt};
    asm volatile("lidt %0" : : "m"(odd));
    asm volatile("sidt %0" : "=m"(got));
    load_idt(sizeof(idt) - 1);
    check_eq("sidt after another lidt", got.limit, 0x1ff);
}
