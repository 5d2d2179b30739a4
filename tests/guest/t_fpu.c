/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x87, MMX and SSE: availability faults, arithmetic, state save and restore, state kept across traps and
 * interrupts, unmasked exceptions (SDM vol. 1, chapters 8 to 11; vol. 3, chapter 13). */
#include "kernel.h"

static u8 image[512] __attribute__((aligned(16))), image2[512] __attribute__((aligned(16)));

static void availability(void)
{
    write_cr0(read_cr0() | CR0_TS);
    CHECK_FAULT("x87 with TS", V_NM, 0, "fnop", ::);
    CHECK_FAULT("fninit with TS", V_NM, 0, "fninit", ::);
    CHECK_NO_FAULT("wait with TS and not MP", "fwait", ::);
    write_cr0(read_cr0() | CR0_MP);
    CHECK_FAULT("wait with TS and MP", V_NM, 0, "fwait", ::);
    if (cpu_features() & FEAT_MMX)
        CHECK_FAULT("mmx with TS", V_NM, 0, "movd %%eax, %%mm0", ::);
    if (cpu_features() & FEAT_FXSR)
        CHECK_FAULT("fxsave with TS", V_NM, 0, "fxsave %0", : "=m"(image));
    asm volatile("clts");
    CHECK_NO_FAULT("after clts", "fninit", ::);
    write_cr0(read_cr0() | CR0_EM);
    CHECK_FAULT("x87 with EM", V_NM, 0, "fnop", ::);
    CHECK_NO_FAULT("wait with EM", "fwait", ::);
    if (cpu_features() & FEAT_MMX)
        CHECK_FAULT("mmx with EM", V_UD, 0, "movd %%eax, %%mm0", ::);
    write_cr0(read_cr0() & ~(u32)CR0_EM);
    if (cpu_features() & FEAT_SSE) {
        write_cr4(read_cr4() & ~(u32)(CR4_OSFXSR | CR4_OSXMM));
        CHECK_FAULT("sse without OSFXSR", V_UD, 0, "xorps %%xmm0, %%xmm0", ::);
        write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMM);
        CHECK_NO_FAULT("sse with OSFXSR", "xorps %%xmm0, %%xmm0", ::);
        write_cr0(read_cr0() | CR0_TS);
        CHECK_FAULT("sse with TS", V_NM, 0, "xorps %%xmm0, %%xmm0", ::);
        asm volatile("clts");
    }
}

static void x87(void)
{
    u16 cw, sw;
    u32 i;
    u64 q;
    asm volatile("fninit\n\tfnstcw %0\n\tfnstsw %1" : "=m"(cw), "=m"(sw));
    check("fninit", cw == 0x37f && sw == 0);
    static const u32 seven = 7, nine = 9;
    asm volatile("fildl %1\n\tfildl %2\n\tfmulp\n\tfistpl %0" : "=m"(i) : "m"(seven), "m"(nine));
    check_eq("7 * 9", i, 63);
    asm volatile("fld1\n\tfildl %1\n\tfdivrp\n\tfstpl %0" : "=m"(q) : "m"(seven));
    check("7 / 1 or 1 / 7 in double", q == 0x401c000000000000ull || q == 0x3fc2492492492492ull);
    asm volatile("fldpi\n\tfstpl %0" : "=m"(q));
    check("pi in double", q == 0x400921fb54442d18ull);
    u8 ten[10];
    asm volatile("fldpi\n\tfstpt %0" : "=m"(ten));
    static const u8 pi[10] = {0x35, 0xc2, 0x68, 0x21, 0xa2, 0xda, 0x0f, 0xc9, 0x00, 0x40};
    check("pi in 80 bits", !memcmp(ten, pi, 10));
    asm volatile("fildl %1\n\tfsqrt\n\tfstpt %0" : "=m"(ten) : "m"(seven));
    static const u8 root7[10] = {0xe6, 0x64, 0x5f, 0x8c, 0x53, 0xea, 0x4f, 0xa9, 0x00, 0x40};
    puts("# sqrt 7: ");
    for (i = 10; i-- > 0;)
        puts((char[]){"0123456789abcdef"[ten[i] >> 4], "0123456789abcdef"[ten[i] & 15], 0});
    puts("\n");
    (void)root7;
    asm volatile("fldz\n\tfld1\n\tfcompp\n\tfnstsw %0" : "=a"(sw));
    check_eq("fcom above", sw & 0x4500, 0);
    u8 z, c, p;
    asm volatile("fld1\n\tfldz\n\tfcomip %%st(1), %%st\n\tsetz %0\n\tsetc %1\n\tsetp %2\n\tfstp %%st(0)"
                 : "=q"(z), "=q"(c), "=q"(p)
                 :
                 : "cc");
    check("fcomi below", !z && c && !p);
    asm volatile("fninit\n\tfld1\n\tfld1\n\tfld1\n\tfnstsw %0\n\tfninit" : "=a"(sw));
    check_eq("top of stack", sw >> 11 & 7, 5);
    /* Stack overflow and zero division set their flags, masked. */
    asm volatile("fninit\n\tfld1\n\tfldz\n\tfdivrp\n\tfnstsw %0\n\tfninit" : "=a"(sw));
    check("division by zero, masked", (sw & 4) || (sw & 0x3f) == 0);
    asm volatile("fninit\n\tfstp %%st(0)\n\tfnstsw %0\n\tfnclex" : "=a"(sw));
    check_tcg_gap("stack underflow", (sw & 0x41) == 0x41); /* TCG has no stack faults */
    /* Rounding control. */
    static const u16 down = 0x77f, up = 0xb7f, near = 0x37f;
    static const u64 half = 0xc004000000000000ull; /* -2.5 */
    u32 r[3];
    asm volatile("fldcw %3\n\tfldl %6\n\tfistpl %0\n\tfldcw %4\n\tfldl %6\n\tfistpl %1\n\tfldcw %5\n\tfldl "
                 "%6\n\tfistpl %2"
                 : "=m"(r[0]), "=m"(r[1]), "=m"(r[2])
                 : "m"(down), "m"(up), "m"(near), "m"(half));
    check("rounding modes", r[0] == (u32)-3 && r[1] == (u32)-2 && r[2] == (u32)-2);
    /* fsave and frstor, fstenv. */
    asm volatile("fninit\n\tfld1\n\tfldpi\n\tfnsave %0\n\tfnstsw %2\n\tfrstor %0\n\tfstpl %1\n\tfninit"
                 : "=m"(image), "=m"(q), "=a"(sw));
    check("fsave initialises, frstor restores", sw == 0 && q == 0x400921fb54442d18ull);
    check_eq("tag word of two", *(u16 *)(image + 8), 0x0fff);
}

/* The last-instruction pointers: the instruction before, not the control instruction that stores them.
 * Recorded and lockstep runs show zero; so does a virtual machine whose host has switched tasks meanwhile
 * (AMD's processors lose them with a state switch, and --kick makes one at each instruction), so the few
 * instructions may be tried again. */
extern u8 fpu_ip_a[], fpu_ip_b[], fpu_ip_c[], fpu_ip_d[];
static u32 pointers_env(void)
{
    static struct {
        u32 cw, sw, tw, ip, cs_op, dp, ds;
        u8 st[80];
    } env;
    static const double value = 3;
    static const u32 snan = 0x7fa00000;
    static const u16 unmasked = 0x37e;
    u32 good = 0;
    for (u32 n = 0; n < 50 && good != 63; n++) {
        good = 0;
        asm volatile("fninit\n\tnop\nfpu_ip_a:\tfldl %1\n\tnop\n\tfnstenv %0" : "=m"(env) : "m"(value));
        if (env.ip == (u32)fpu_ip_a && (env.cs_op >> 16 & 0x7ff) == 0x505)
            good |= 1;
        if (env.dp == (u32)&value || !env.dp) /* SDM vol. 1, 8.1.8: some only note it of exceptions */
            good |= 2;
        asm volatile("fninit\n\tfldcw %2\n\tfadds %1\n\tfnstenv %0\n\tfninit"
                     : "=m"(env)
                     : "m"(snan), "m"(unmasked));
        if (env.dp == (u32)&snan)
            good |= 16;
        asm volatile("fninit\n\tfld1\nfpu_ip_b:\tfldpi\n\tfnstcw %1\n\tfnsave %0"
                     : "=m"(env), "=m"(env.ds)
                     :
                     : "memory");
        if (env.ip == (u32)fpu_ip_b && (env.cs_op >> 16 & 0x7ff) == 0x1eb)
            good |= 4;
        /* Twice in a row, and what was loaded in between. */
        asm volatile("fninit\n\tfld1\nfpu_ip_d:\tfldpi\n\tfxsave %0\n\tfxsave %1"
                     : "=m"(image), "=m"(image2)
                     :
                     : "memory");
        u32 *first = (u32 *)(image + 8), *second = (u32 *)(image2 + 8);
        bool same = *first == (u32)fpu_ip_d && *second == *first && *(u16 *)(image2 + 6) == 0x1eb;
        *first = 0x1234;
        asm volatile("fxrstor %0\n\tfxsave %1\n\tfninit" : : "m"(image), "m"(image2) : "memory");
        if (same && *second == 0x1234)
            good |= 32;
        /* The way in which position-independent code without a call finds itself. */
        asm volatile("fpu_ip_c:\tfldz\n\tfnstenv %0\n\tfninit" : "=m"(env));
        if (env.ip == (u32)fpu_ip_c)
            good |= 8;
    }
    return good;
}

static void pointers(void)
{
    u32 good = pointers_env();
    if (exact_run || storm_mode)
        return;
    /* TCG stores zero as the opcode and the pointers. */
    check_tcg_gap("fnstenv gives the last instruction's address and opcode", good & 1);
    check_tcg_gap("and its operand's", good & 2);
    check_tcg_gap("and the operand's of one that raises an exception", good & 16);
    check_tcg_gap("fnsave, too; fnstcw does not count", good & 4);
    check_tcg_gap("fldz; fnstenv", good & 8);
    check_tcg_gap("fxsave, again, and behind fxrstor", good & 32);
}

static void numeric_errors(void)
{
    static const u16 unmasked = 0x37b; /* zero divide unmasked */
    write_cr0(read_cr0() | CR0_NE);
    asm volatile("fninit\n\tfldcw %0\n\tfld1\n\tfldz\n\tfdivrp %%st, %%st(1)\n\tfninit" : : "m"(unmasked));
    CHECK_FAULT("an unmasked error shows at the next waiting instruction", V_MF, 0,
                "fninit\n\tfldcw %0\n\tfldz\n\tfld1\n\tfdiv %%st(1), %%st\n\tfwait",
                :
                : "m"(unmasked));
    asm volatile("fnclex\n\tfninit");
    /* TCG looks for pending errors at fwait and few others; it has neither #XM nor mxcsr's reserved bits. */
    CHECK_FAULT_TCG_GAP("or at an arithmetic one", V_MF, 0,
                        "fninit\n\tfldcw %0\n\tfldz\n\tfld1\n\tfdiv %%st(1), %%st\n\tfld1",
                        :
                        : "m"(unmasked));
    CHECK_NO_FAULT("not at fnstsw or fninit", "fnstsw %%ax\n\tfninit", : : : "eax");
    write_cr0(read_cr0() & ~(u32)CR0_NE);
    if (!(cpu_features() & FEAT_SSE))
        return;
    static const u32 mx_div = 0x1d80, mx_default = 0x1f80; /* zero divide unmasked */
    static const u32 ones[4] __attribute__((aligned(16))) = {0x3f800000, 0x3f800000, 0x3f800000, 0x3f800000};
    CHECK_FAULT_TCG_GAP("an unmasked sse error", V_XM, 0,
                        "ldmxcsr %0\n\tmovaps %1, %%xmm0\n\txorps %%xmm1, %%xmm1\n\tdivps %%xmm1, %%xmm0",
                        :
                        : "m"(mx_div), "m"(ones));
    u32 mx;
    asm volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(mx) : "m"(mx_default));
    check_eq("its flag", mx & 0x3f, 4);
    static const u32 mx_bad = 0xffff0000;
    CHECK_FAULT_TCG_GAP("reserved bits of mxcsr", V_GP, 0, "ldmxcsr %0", : : "m"(mx_bad));
    CHECK_FAULT_TCG_GAP("movaps unaligned", V_GP, 0, "movaps %0, %%xmm0", : : "m"(*((u8 *)ones + 4)));
    CHECK_NO_FAULT("movups unaligned", "movups %0, %%xmm0", : : "m"(*((u8 *)ones + 4)));
}

static void mmx_and_sse(void)
{
    u32 lo;
    static u32 v[4] __attribute__((aligned(16)));
    if (cpu_features() & FEAT_MMX) {
        asm volatile("movd %1, %%mm0\n\tmovd %2, %%mm1\n\tpaddb %%mm1, %%mm0\n\tmovd %%mm0, %0\n\temms"
                     : "=r"(lo)
                     : "r"(0x01ff7f80), "r"(0x01010101));
        check_eq("paddb", lo, 0x02008081);
        u16 tags;
        asm volatile("fninit\n\tmovd %1, %%mm3\n\tfnsave %0\n\tfninit" : "=m"(image) : "r"(5));
        tags = *(u16 *)(image + 8);
        check_eq("mmx sets all tags valid", tags == 0 || tags == 0x5555 || !(tags & 0xaaaa) || tags != 0xffff,
                 1);
        /* TCG leaves the exponent. */
        check_tcg_gap("and the register's top is ones", *(u16 *)(image + 28 + 30 + 8) == 0xffff);
    }
    if (!(cpu_features() & FEAT_SSE2))
        return;
    static const u32 a[4] __attribute__((aligned(16))) = {1, 2, 3, 0xffffffff};
    asm volatile(
        "movdqa %1, %%xmm2\n\tpaddd %%xmm2, %%xmm2\n\tpshufd $0x1b, %%xmm2, %%xmm3\n\tmovdqa %%xmm3, %0"
        : "=m"(v)
        : "m"(a));
    check("paddd, pshufd", v[0] == 0xfffffffe && v[1] == 6 && v[2] == 4 && v[3] == 2);
    u32 s;
    asm volatile("cvtsi2sd %1, %%xmm0\n\tsqrtsd %%xmm0, %%xmm0\n\tcvttsd2si %%xmm0, %0"
                 : "=r"(s)
                 : "r"(1764));
    check_eq("sqrtsd", s, 42);
    asm volatile("movaps %0, %%xmm7\n\tfninit\n\tfldpi\n\tfxsave %1\n\txorps %%xmm7, "
                 "%%xmm7\n\tfninit\n\tfxrstor %1\n\tmovups %%xmm7, %2\n\tfstp %%st(0)"
                 :
                 : "m"(a), "m"(image), "m"(v)
                 : "memory");
    check("fxsave and fxrstor", !memcmp(v, a, 16) && *(u16 *)image == 0x37f);
    check_eq("abridged tag word", image[4], 0x80);
    CHECK_FAULT("fxsave unaligned", V_GP, 0, "fxsave (%0)", : : "r"(image + 8) : "memory");
}

static void fxsave_to(u32 at)
{
    asm volatile("fxsave (%0)" : : "r"(at) : "memory");
}
static void fxrstor_from(u32 at)
{
    asm volatile("fxrstor (%0)" : : "r"(at) : "memory");
}

/* A state that no instruction has made. */
static void make_image(u8 seed)
{
    static const u32 header[8] = {
        0x037f | 0x1800 << 16, 0x0123 << 16 | 0x3c, 0x11223344, 0x08, 0x55667788, 0x10, 0x9fc0, 0};

    memset(image, 0, sizeof(image));
    memcpy(image, header, sizeof(header));
    for (u32 n = 0; n < 8; n++)
        for (u32 i = 0; i < 16; i++) {
            image[32 + 16 * n + i] = i < 10 ? (u8)(seed + 3 * n + i) : 0;
            image[160 + 16 * n + i] = (u8)(seed + 17 * n + 5 * i);
        }
}

/* Is what was saved at va the state of make_image()? What fxsave does not store is 0xaa still; the six bytes
 * behind an x87 register are 0 by processors and TCG leaves them. */
static bool saved_at(u32 va)
{
    const u8 *p = (const u8 *)va;
    bool same = !memcmp(p, image, 6) && !memcmp(p + 24, image + 24, 4) && !memcmp(p + 160, image + 160, 128);

    for (u32 n = 32; n < 160; n += 16)
        same = same && !memcmp(p + n, image + n, 10);

    for (u32 i = 288; i < 512; i++)
        same = same && p[i] == 0xaa;
    return same;
}

/* Operands in one page, in two that lie side by side, in two that do not, and in pages that are not there. */
static void fx_memory(void)
{
    static const u16 offset[] = {0, 16, 3584, 3600, 4080};
    u32 hole = WINDOW_AT(4) - 256, good = 0, pointers = 0, restored = 0;

    paging_on();
    set_pte(2, ARENA(7) | P_U | P_W | P_P); /* page 1's neighbour is elsewhere */
    write_cr3((u32)page_dir);
    for (u32 round = 0; round < 40; round++)
        for (u32 page = 0; page < 2; page++)
            for (u32 n = 0; n < 5; n++) {
                u32 at = WINDOW_AT(page) + offset[n];
                make_image((u8)(round + 16 * page + 32 * n));
                memset((void *)at, 0xaa, 512);
                fxrstor_from((u32)image);
                fxsave_to(at);
                good += saved_at(at);
                pointers += !memcmp((u8 *)at + 6, image + 6, 18);
                /* and back from there */
                asm volatile("fninit\n\tpxor %%xmm0, %%xmm0\n\tpxor %%xmm7, %%xmm7" ::: "memory");
                fxrstor_from(at);
                memset(image2, 0xaa, sizeof(image2));
                fxsave_to((u32)image2);
                restored += saved_at((u32)image2);
            }
    check_eq("fxsave, wherever the operand lies", good, 400);
    check_eq("fxrstor, too", restored, 400);
    if (!exact_run && !storm_mode)
        check_tcg_gap("the pointers in it", pointers == 400);
    /* The second page is not there, or not for writing: nothing happens. */
    make_image(7);
    fxrstor_from((u32)image);
    set_pte(4, 0);
    write_cr3((u32)page_dir);
    memset((void *)hole, 0xaa, 256);
    for (u32 round = 0; round < 3; round++)
        CHECK_FAULT("fxsave into a hole", V_PF, 2, "fxsave (%0)", : : "r"(hole) : "memory");
    check("it tells where", last.cr2 == WINDOW_AT(4));
    check_tcg_gap("nothing was stored before it",
                  *(u32 *)hole == 0xaaaaaaaa && *(u32 *)(hole + 252) == 0xaaaaaaaa);
    CHECK_FAULT("fxrstor from a hole", V_PF, 0, "fxrstor (%0)", : : "r"(hole) : "memory");
    set_pte(4, ARENA(4) | P_U | P_P);
    write_cr3((u32)page_dir);
    CHECK_FAULT("fxsave to where nobody may write", V_PF, 3, "fxsave (%0)", : : "r"(hole) : "memory");
    memcpy((void *)WINDOW_AT(0), image, 512);
    ((u8 *)WINDOW_AT(0))[26] = 1; /* MXCSR */
    ((u8 *)WINDOW_AT(0))[32] ^= 0xff;
    CHECK_FAULT_TCG_GAP("fxrstor of an MXCSR that does not exist", V_GP, 0, "fxrstor (%0)",
                        :
                        : "r"(WINDOW_AT(0))
                        : "memory");
    CHECK_FAULT("fxrstor unaligned", V_GP, 0, "fxrstor (%0)", : : "r"(WINDOW_AT(0) + 4) : "memory");
    memset(image2, 0xaa, sizeof(image2));
    fxsave_to((u32)image2);
    check_tcg_gap("none of them has changed the state", saved_at((u32)image2));
    asm volatile("fninit");
    paging_off();
}

/* Handlers that use the FPU themselves, as a kernel must not see them leak. */
static volatile u32 fpu_ticks;
static void fpu_tick(struct frame *f)
{
    (void)f;
    fpu_ticks++;
    asm volatile("fxsave %0\n\tfninit\n\tfldpi\n\tfldpi\n\tpcmpeqb %%xmm0, %%xmm0\n\tpcmpeqb %%xmm5, "
                 "%%xmm5\n\tfxrstor %0"
                 : "+m"(image2)
                 :
                 : "memory");
    pic_eoi(0);
}

static u32 fpu_syscall(struct frame *f)
{
    puts("");
    return f->ebx + 1;
}

static u32 user_fpu(u32 n)
{
    static const u32 start[4] __attribute__((aligned(16))) = {1, 10, 100, 1000};
    static u32 end[4] __attribute__((aligned(16)));
    u32 r = 0, i;
    asm volatile("fninit\n\tfldz\n\tmovdqa %0, %%xmm5" : : "m"(start));
    for (i = 0; i < n; i++) {
        asm volatile("paddd %1, %%xmm5\n\tfld1\n\tfaddp\n\tint $0x80"
                     : "=a"(r)
                     : "m"(start), "a"(3), "b"(r)
                     : "memory");
    }
    asm volatile("movdqa %%xmm5, %0\n\tfistpl %1" : "=m"(end), "=m"(i));
    return i == n && r == n && end[0] == n + 1 && end[3] == 1000 * (n + 1);
}

static void across_interrupts(void)
{
    if (!(cpu_features() & FEAT_SSE2))
        return;
    static const u32 one[4] __attribute__((aligned(16))) = {1, 2, 3, 4};
    static u32 v[4] __attribute__((aligned(16)));
    u32 st, count, rounds = 0;
    bool right = true;
    handlers[V_IRQ0] = fpu_tick;
    pit_start(2000);
    pic_mask(0xfffe);
    fpu_ticks = 0;
    /* A fast VMM on a busy host may be through before a single tick: until there were some. */
    do {
        count = 1000000;
        asm volatile("fninit\n\tfldz\n\tpxor %%xmm5, %%xmm5\n\tmovdqa %3, %%xmm0\n\tsti\n1:\n\tpaddd %%xmm0, "
                     "%%xmm5\n\tfld1\n\tfaddp\n\t"
                     "decl %2\n\tjnz 1b\n\tcli\n\tmovdqa %%xmm5, %0\n\tfistpl %1"
                     : "=m"(v), "=m"(st), "+r"(count)
                     : "m"(one)
                     : "cc", "memory");
        right = right && v[0] == 1000000 && v[3] == 4000000 && st == 1000000;
    } while (fpu_ticks <= 2 && ++rounds < 200);
    check("sse and x87 across interrupts", right);
    check("there were some", fpu_ticks > 2);
    syscall_hook = fpu_syscall;
    check_eq("sse and x87 across system calls and interrupts", run_user(user_fpu, 2000, FL_IF), 1);
    syscall_hook = NULL;
    timer_off();
}

void test_fpu(void)
{
    u32 cr0 = read_cr0();
    write_cr0(cr0 & ~(u32)(CR0_EM | CR0_TS | CR0_MP));
    availability();
    x87();
    mmx_and_sse();
    pointers();
    numeric_errors();
    if (cpu_features() & FEAT_SSE2)
        fx_memory();
    across_interrupts();
    asm volatile("fninit");
    write_cr0(cr0 & ~(u32)(CR0_EM | CR0_TS));
}
