/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Corners: every combination of CR0.EM, MP and TS; x87 errors with CR0.NE clear; each SSE exception; TF and
 * RF around interrupts; I/O breakpoints; breakpoints on strings; page sizes and global pages by turns (SDM
 * vol. 3, 2.5, 13.1, 17.2, 17.3, 4.10).
 */
#include "kernel.h"

#define READ_DR(n)                                                                                           \
    ({                                                                                                       \
        u32 v_;                                                                                              \
        asm volatile("movl %%dr" #n ", %0" : "=r"(v_));                                                      \
        v_;                                                                                                  \
    })
#define WRITE_DR(n, v) asm volatile("movl %0, %%dr" #n : : "r"(v) : "memory")

/* ---- floating-point availability (SDM vol. 3, tables 2-2 and 13-1) ---- */

static void availability(void)
{
    u32 cr0 = read_cr0(), cr4 = read_cr4();
    asm volatile("fninit");
    write_cr4(cr4 | CR4_OSFXSR | CR4_OSXMM);
    bool good[4] = {true, true, true, true};
    for (u32 bits = 0; bits < 8; bits++) {
        u32 em = bits & 1, mp = bits & 2, ts = bits & 4;
        write_cr0((cr0 & ~(u32)(CR0_EM | CR0_MP | CR0_TS)) | (em ? CR0_EM : 0) | (mp ? CR0_MP : 0) |
                  (ts ? CR0_TS : 0));
        good[0] &= TRY("fnop", ::) == (em || ts ? V_NM : V_NONE);
        good[1] &= TRY("fwait", ::) == (mp && ts ? V_NM : V_NONE);
        if (cpu_features() & FEAT_MMX)
            good[2] &= TRY("pxor %%mm0, %%mm0", ::) == (em ? V_UD : ts ? V_NM : V_NONE);
        if (cpu_features() & FEAT_SSE)
            good[3] &= TRY("xorps %%xmm0, %%xmm0", ::) == (em ? V_UD : ts ? V_NM : V_NONE);
    }
    write_cr0(cr0);
    check("x87 with each of EM, MP, TS", good[0]);
    check("fwait with each of EM, MP, TS", good[1]);
    /* EM comes before TS; in TCG TS comes first. */
    check_tcg_gap("mmx with each of EM, MP, TS", good[2]);
    check_tcg_gap("sse with each of EM, MP, TS", good[3]);
    asm volatile("fninit");
    if (cpu_features() & FEAT_SSE) {
        write_cr4(cr4 & ~(u32)(CR4_OSFXSR | CR4_OSXMM));
        check_eq("sse without OSFXSR", TRY("xorps %%xmm0, %%xmm0", ::), V_UD);
        check_eq("mmx without OSFXSR", TRY("pxor %%mm0, %%mm0", ::), V_NONE);
        check_eq("prefetch without OSFXSR", TRY("prefetcht0 arena", ::), V_NONE);
        check_eq("sfence without OSFXSR", TRY("sfence", ::), V_NONE);
        asm volatile("emms");
    }
    write_cr4(cr4);
}

static volatile u32 irq13_count, irq13_eip;

static void on_irq13(struct frame *f)
{
    irq13_count++;
    irq13_eip = f->eip;
    outb(0xf0, 0); /* FERR# off, IGNNE# on until the error is cleared */
    asm volatile("fnclex");
    pic_eoi(13);
}

/* CR0.NE = 0: errors are reported as the PC/AT does, by IRQ 13, at the next waiting x87 instruction. */
static void external_errors(void)
{
    static const u16 unmasked = 0x37b;
    u32 cr0 = read_cr0(), after;
    if (peer_is_qemu) /* 7.2 ends with a failed assertion of its own here (tcg_handle_interrupt) */
        return;
    write_cr0(cr0 & ~(u32)CR0_NE);
    handlers[V_IRQ8 + 5] = on_irq13;
    pic_mask((u16) ~(1u << 13 | 1u << 2));
    irq13_count = 0;
    asm volatile("sti\n\tfninit\n\tfldcw %1\n\tfldz\n\tfld1\n\tfdiv %%st(1), %%st\n\tmovl $1f, "
                 "%0\n1:\tfwait\n\tnop\n\tnop\n\tcli"
                 : "=m"(after)
                 : "m"(unmasked)
                 : "memory");
    check_eq("an error with NE clear comes by IRQ 13", irq13_count, 1);
    u16 sw;
    asm volatile("fnstsw %0" : "=m"(sw));
    check_eq("and was cleared by its handler", sw & 0x80ff, 0);
    /* Masked in the controller the instruction waits; here, nothing pending, it does not. */
    pic_mask(0xffff);
    handlers[V_IRQ8 + 5] = NULL;
    check_eq("no #MF with NE clear", TRY("fninit\n\tfwait", ::), V_NONE);
    write_cr0(cr0);
    asm volatile("fnclex\n\tfninit");
    outb(0xf0, 0);
}

static void sse_errors(void)
{
    if (!(cpu_features() & FEAT_SSE))
        return;
    u32 cr4 = read_cr4(), mx, vector;
    static const u32 def = 0x1f80;
    static const float one = 1, zero = 0, three = 3, huge = 3e38f, tiny = 1e-38f;
    static const u32 snan = 0x7f800001, denormal = 1;
    static const struct {
        const char *name;
        u32 flag;
        const void *a, *b;
        u32 op; /* 0 div, 1 mul, 2 add */
    } cases[] = {
        {"invalid", 1, &snan, &one, 2},        {"denormal", 2, &denormal, &one, 2},
        {"divide by zero", 4, &one, &zero, 0}, {"overflow", 8, &huge, &huge, 1},
        {"underflow", 16, &tiny, &tiny, 1},    {"precision", 32, &one, &three, 0},
    };
    for (u32 on = 0; on < 2; on++) {
        write_cr4((cr4 & ~(u32)CR4_OSXMM) | CR4_OSFXSR | (on ? CR4_OSXMM : 0));
        puts(on ? "# #XM\n" : "# no OSXMMEXCPT: #UD\n");
        for (u32 n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
            u32 ctl = 0x1f80 & ~(cases[n].flag << 7);
            asm volatile("ldmxcsr %0\n\tmovss %1, %%xmm0\n\tmovss %2, %%xmm1"
                         :
                         : "m"(ctl), "m"(*(const u32 *)cases[n].a), "m"(*(const u32 *)cases[n].b));
            if (cases[n].op == 0)
                vector = TRY("divss %%xmm1, %%xmm0", ::);
            else if (cases[n].op == 1)
                vector = TRY("mulss %%xmm1, %%xmm0", ::);
            else
                vector = TRY("addss %%xmm1, %%xmm0", ::);
            u32 kept;
            asm volatile("stmxcsr %0\n\tldmxcsr %2\n\tmovss %%xmm0, %1" : "=m"(mx), "=m"(kept) : "m"(def));
            /* TCG raises no #XM; without OSXMMEXCPT it is #UD. */
            check_tcg_gap(cases[n].name, vector == (on ? V_XM : V_UD) && (mx & cases[n].flag) &&
                                             kept == *(const u32 *)cases[n].a);
        }
    }
    write_cr4(cr4);
}

/* ---- TF, RF ---- */

static volatile u32 steps, step_eips[32], hits, hit_dr6, hit_eip, hit_ecx, int_flags;

static void on_step(struct frame *f)
{
    if (steps < 32)
        step_eips[steps] = f->eip;
    steps++;
    hit_dr6 = READ_DR(6);
    WRITE_DR(6, 0xffff0ff0);
}

static void on_hit(struct frame *f)
{
    hits++;
    hit_eip = f->eip;
    hit_ecx = f->ecx;
    hit_dr6 = READ_DR(6);
    WRITE_DR(6, 0xffff0ff0);
    f->eflags |= FL_RF;
}

static void on_int70(struct frame *f)
{
    (void)f;
    int_flags = read_flags();
}

static bool stepped(u32 eip)
{
    for (u32 i = 0; i < steps && i < 32; i++)
        if (step_eips[i] == eip)
            return true;
    return false;
}

extern u8 corner_a[], corner_b[], corner_c[], corner_d[];
#define TF_ON  "pushfl\n\torl $0x100, (%%esp)\n\tpopfl\n\t"
#define TF_OFF "\n\tpushfl\n\tandl $~0x100, (%%esp)\n\tpopfl"

static void stepping(void)
{
    handlers[V_DB] = on_step;
    handlers[0x70] = on_int70;
    steps = 0;
    /* int n saves TF and clears it: no trap behind it, one behind the instruction after the handler. */
    asm volatile(TF_ON "nop\n\tint $0x70\ncorner_a:\tnop\ncorner_b:\tnop" TF_OFF : : : "memory", "cc");
    check("no TF in the handler of int n", !(int_flags & FL_TF));
    check("the next instruction is stepped", stepped((u32)corner_b));
    check_eq("steps around int n", steps, 3 + 3);
    steps = 0;
    /* A fault's handler runs without TF, too; the instruction is tried again and stepped. */
    asm volatile(TF_ON "xorl %%eax, %%eax\n\tmovl $3, %%ecx\n\trep stosb\ncorner_c:" TF_OFF
                 :
                 : "D"(arena)
                 : "eax", "ecx", "memory", "cc");
    check_eq("steps of a rep with three iterations", steps, 2 + 3 + 3);
    check("BS in dr6", hit_dr6 & 0x4000);
    /* iret that sets TF: the trap comes behind the instruction that it returns to. */
    steps = 0;
    asm volatile(
        "pushfl\n\torl $0x100, (%%esp)\n\tpushl %%cs\n\tpushl $corner_d\n\tiret\ncorner_d:\tnop" TF_OFF
        :
        :
        : "memory", "cc");
    check_eq("iret that sets TF", step_eips[0], (u32)corner_d + 1);
    handlers[V_DB] = NULL;
    handlers[0x70] = NULL;
}

static void breakpoints(void)
{
    extern u8 corner_rep[];
    static u8 watched[16] __attribute__((aligned(16)));
    handlers[V_DB] = on_hit;
    hits = 0;
    /* An instruction breakpoint on a rep: once, before the first iteration, thanks to RF. */
    WRITE_DR(0, corner_rep);
    WRITE_DR(7, 0x402);
    u32 c = 5, d = (u32)arena;
    asm volatile("corner_rep:\n\trep stosb" : "+c"(c), "+D"(d) : "a"(1) : "memory");
    WRITE_DR(7, 0x400);
    /* TCG reports it at each iteration. */
    check_tcg_gap("an instruction breakpoint on a rep", hits == 1);
    check_tcg_gap("before its first iteration", hit_eip == (u32)corner_rep && hit_ecx == 5 && !c);
    /* A watchpoint in the middle of a rep's data: a trap behind that iteration. */
    hits = 0;
    WRITE_DR(1, &watched[6]);
    WRITE_DR(7, 0x400 | 8 | 0x00100000); /* write, one byte */
    c = 10, d = (u32)watched;
    asm volatile("rep stosb" : "+c"(c), "+D"(d) : "a"(1) : "memory");
    WRITE_DR(7, 0x400);
    check_eq("a watchpoint within a rep", hits, 1);
    check_eq("stops behind that iteration", hit_ecx, 3);
    check_eq("B1 in dr6", hit_dr6 & 15, 2);
    /* Two bytes at an odd address: the length's low bits of the address do not count. */
    hits = 0;
    WRITE_DR(1, &watched[5]);
    WRITE_DR(7, 0x400 | 8 | 0x00500000); /* write, two bytes: covers 4 and 5 */
    ((volatile u8 *)watched)[6] = 1;
    ((volatile u8 *)watched)[4] = 1;
    WRITE_DR(7, 0x400);
    check_eq("a watchpoint's address is aligned to its length", hits, 1);
    /* mov ss delays a data breakpoint's trap past the next instruction. */
    hits = 0;
    static u16 ss = SEL_KDATA;
    WRITE_DR(1, &ss);
    WRITE_DR(7, 0x400 | 8 | 0x00700000); /* read or write, two bytes */
    u32 after;
    asm volatile("movw ss_, %%ss\n\tnop\n1:\tnop\n\tmovl $1b, %0\n\t.set ss_, %c1"
                 : "=r"(after)
                 : "i"(&ss)
                 : "memory");
    WRITE_DR(7, 0x400);
    /* TCG reports it at once. */
    check_tcg_gap("a watchpoint hit by mov ss traps behind the next instruction",
                  hits == 1 && hit_eip == after);
    /* I/O breakpoints. */
    hits = 0;
    write_cr4(read_cr4() | CR4_DE);
    WRITE_DR(2, 0x61);
    WRITE_DR(7, 0x400 | 0x20 | 0x02000000); /* global 2, I/O, one byte */
    inb(0x61);
    u32 one = hits, b = hit_dr6 & 15;
    inb(0x60 + 4);
    WRITE_DR(7, 0x400);
    inb(0x61);
    check_eq("an I/O breakpoint", one, 1);
    check_eq("B2 in dr6", b, 4);
    check_eq("not on another port", hits, 1);
    write_cr4(read_cr4() & ~(u32)CR4_DE);
    handlers[V_DB] = NULL;
}

/* ---- page sizes, global pages ---- */

/* What kernels do with memory that they have no address for: one page after the other at the same few
 * addresses, each mapped global for some accesses. Two that stay lie beside them. */
#define KMAPS 2000u
static void kmaps(void)
{
    bool good = true;

    for (u32 p = 0; p < 8; p++)
        *(volatile u32 *)ARENA(p) = 0;
    for (u32 p = 24; p < 28; p += 3)
        set_pte(p, ARENA(p) | P_G | P_W | P_P);
    for (u32 n = 0; n < KMAPS; n++) {
        u32 p = 25 + (n >> 1 & 1), from = n % 8, to = (n * 5 + 3) % 8;
        volatile u32 *at = (volatile u32 *)WINDOW_AT(p);
        set_pte(p, ARENA(from) | P_G | P_W | P_P);
        invlpg((u32)at);
        u32 was = *at;
        *at = was + 1;
        *(volatile u32 *)WINDOW_AT(24) = n;
        good &= *(volatile u32 *)ARENA(from) == was + 1;
        set_pte(p, ARENA(to) | P_G | P_W | P_P);
        invlpg((u32)at);
        at[1 + n % 1023] = n;
        memcpy((void *)WINDOW_AT(27), (const void *)at, 64);
        good &= *(volatile u32 *)(ARENA(to) + 4 * (1 + n % 1023)) == n;
        good &= *(volatile u32 *)ARENA(27) == *(volatile u32 *)ARENA(to);
        set_pte(p, 0);
        invlpg((u32)at);
    }
    check("pages mapped for some accesses each", good);
    check_eq("what lies beside them", *(volatile u32 *)ARENA(24), KMAPS - 1);
    good = true;
    for (u32 p = 0; p < 8; p++)
        good &= *(volatile u32 *)ARENA(p) == KMAPS / 8;
    check("and nothing is lost", good);
    CHECK_FAULT("behind the last one", V_PF, 2, "movl %%eax, (%0)", : : "r"(WINDOW_AT(25)) : "memory");
}

static void pages(void)
{
    u32 features = cpu_features();
    paging_on();
    volatile u32 *pde = &((volatile u32 *)page_dir)[0x7fc00000 >> 22];
    volatile u32 *at = (volatile u32 *)0x7fc00000;
    static u32 other[1024] __attribute__((aligned(4096)));
    memset(other, 0, sizeof(other));
    *(volatile u32 *)arena = 0x600d;
    for (u32 i = 0; i < 1024; i++)
        other[i] = ARENA(0) | P_W | P_P;
    bool good = true;
    for (u32 n = 0; n < 20; n++) {
        *(volatile u32 *)arena = n;
        *pde = (u32)other | P_W | P_P; /* 4 KiB pages */
        invlpg((u32)at);
        good &= at[0] == n && at[1024] == n;
        *pde = ((u32)arena & 0xffc00000) | P_PS | P_W | P_P; /* one page of 4 MiB */
        invlpg((u32)at);
        good &= at[((u32)arena & 0x3fffff) / 4] == n;
        at[((u32)arena & 0x3fffff) / 4] = n + 1;
        good &= *(volatile u32 *)arena == n + 1;
    }
    check("small and large pages by turns at one address", good);
    /* Reserved bits of a large page's entry. */
    *pde = ((u32)arena & 0xffc00000) | 0x200000 | P_PS | P_W | P_P;
    invlpg((u32)at);
    /* RSVD comes with P (SDM vol. 3, 4.7); TCG leaves P clear. */
    CHECK_FAULT_TCG_GAP("a reserved bit of a 4 MiB page", V_PF, 8 | 1, "movl (%0), %%eax",
                        :
                        : "r"(at)
                        : "eax");
    CHECK_FAULT_TCG_GAP("and for a write", V_PF, 8 | 2 | 1, "movl %%eax, (%0)", : : "r"(at) : "memory");
    *pde = 0;
    invlpg((u32)at);
    if (features & FEAT_PGE) {
        /* Many global pages, dropped one by one by invlpg and all by CR4.PGE. */
        write_cr4(read_cr4() | CR4_PGE);
        for (u32 p = 16; p < 32; p++) {
            *(volatile u32 *)ARENA(p) = p;
            set_pte(p, ARENA(p) | P_G | P_W | P_P);
            invlpg(WINDOW_AT(p));
            good &= *(volatile u32 *)WINDOW_AT(p) == p;
        }
        for (u32 p = 16; p < 32; p++) {
            set_pte(p, ARENA(p ^ 1) | P_G | P_W | P_P);
            invlpg(WINDOW_AT(p));
        }
        for (u32 p = 16; p < 32; p++)
            good &= *(volatile u32 *)WINDOW_AT(p) == (p ^ 1);
        check("invlpg on one global page after the other", good);
        for (u32 p = 16; p < 32; p++)
            set_pte(p, ARENA(p) | P_G | P_W | P_P);
        write_cr4(read_cr4() & ~(u32)CR4_PGE);
        for (u32 p = 16; p < 32; p++)
            good &= *(volatile u32 *)WINDOW_AT(p) == p;
        check("CR4.PGE cleared drops them all", good);
        write_cr4(read_cr4() | CR4_PGE);
        kmaps();
        write_cr4(read_cr4() & ~(u32)CR4_PGE);
        /* G without PGE means nothing: a CR3 load drops the page. */
        set_pte(16, ARENA(17) | P_G | P_W | P_P);
        write_cr3(read_cr3());
        check_eq("a G bit without PGE", *(volatile u32 *)WINDOW_AT(16), 17);
    }
    /* invlpg with every address within the page, and through a segment. */
    set_pte(20, ARENA(20) | P_W | P_P);
    invlpg(WINDOW_AT(20));
    *(volatile u32 *)ARENA(20) = 20;
    *(volatile u32 *)ARENA(21) = 21;
    (void)*(volatile u32 *)WINDOW_AT(20);
    set_pte(20, ARENA(21) | P_W | P_P);
    invlpg(WINDOW_AT(20) + 0xfff);
    check_eq("invlpg with the last byte's address", *(volatile u32 *)WINDOW_AT(20), 21);
    set_desc(SEL_T0, make_desc(0x1000, 0xfffff, ACC_DATA, DESC_G | DESC_D));
    set_pte(20, ARENA(20) | P_W | P_P);
    asm volatile("movl %0, %%fs\n\tinvlpg %%fs:(%1)" : : "r"(SEL_T0), "r"(WINDOW_AT(19)) : "memory");
    check_eq("invlpg through a segment with a base", *(volatile u32 *)WINDOW_AT(20), 20);
    asm volatile("movl %0, %%fs" : : "r"(0));
    CHECK_FAULT("invlpg with a register", V_UD, 0, ".byte 0x0f, 0x01, 0xf8", ::);
    paging_off();
    write_cr3(0);
}

/* CR0 changes at the same place again and again, now only by TS, now by more; flags live through it. */
static void task_switched(void)
{
    u32 cr0 = read_cr0(), n = 0, flags_good = 0;
    static const u32 bits[] = {8, 0, 8, 0, 8, 4, 12, 4, 8, 0, 8, 0x10000, 0x10008, 8, 0, 8, 2, 10, 8, 0};
    const u32 changed = 4 | 8 | 2 | 0x10000;

    for (u32 k = 0; k < 3 * sizeof(bits) / sizeof(bits[0]); k++) {
        u32 want = (cr0 & ~changed) | bits[k % (sizeof(bits) / sizeof(bits[0]))], fl;
        asm volatile("cmpl %1, %1\n\tstc\n\tmovl %1, %%cr0\n\tpushfl\n\tpopl %0"
                     : "=r"(fl)
                     : "r"(want)
                     : "cc", "memory");
        flags_good += (fl & (FL_CF | FL_ZF | FL_SF | FL_OF)) == (FL_CF | FL_ZF);
        n += read_cr0() == want && TRY("fnop", ::) == (want & 12 ? V_NM : V_NONE);
    }
    check_eq("TS and more by mov to CR0", n, 60);
    check_eq("flags live through it", flags_good, 60);
    n = flags_good = 0;
    for (u32 k = 0; k < 40; k++) {
        u32 em = k % 5 == 4 ? 4 : 0, fl;
        write_cr0((cr0 & ~changed) | 8 | em);
        asm volatile("cmpl %%eax, %%eax\n\tstc\n\tclts\n\tpushfl\n\tpopl %0" : "=r"(fl) : : "cc", "memory");
        flags_good += (fl & (FL_CF | FL_ZF | FL_SF | FL_OF)) == (FL_CF | FL_ZF);
        n += (read_cr0() & 12) == em && TRY("fnop", ::) == (em ? V_NM : V_NONE);
    }
    check_eq("clts", n, 40);
    check_eq("clts: flags", flags_good, 40);
    write_cr0(cr0);
}

void test_corner(void)
{
    task_switched();
    availability();
    external_errors();
    sse_errors();
    stepping();
    breakpoints();
    pages();
}
