/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real CPU runs the case: code and data segments from modify_ldt, the region mapped at the address that
 * the guest knows it by, registers and FPU state loaded by native_stub.S. A fault arrives as a signal, whose
 * context has the vector, error code and cr2.
 *
 * Nothing else of this process lies below 4 GiB, so a case cannot reach it; and a seccomp filter (main.c)
 * stops what would be a system call. The process must be one that may be lost all the same.
 */
#include <asm/ldt.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#undef PF_W /* ELF's; ours is the page-fault error bit */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include "insn.h"

struct nat { /* offsets: native_stub.S */
    u32 gpr[8];
    u64 flags;
    u32 target_off;
    u16 target_sel, pad0;
    u16 sel[6];
    u32 pad1;
    u32 ogpr[8];
    u64 oflags;
    u16 osel[6];
    u32 pad2;
    u64 rsp, fsbase, gsbase, active;
    void *chain;
    u8 pad3[32];
    u8 fxin[512] __attribute__((aligned(64)));
    u8 fxout[512];
};
_Static_assert(offsetof(struct nat, target_off) == 40 && offsetof(struct nat, sel) == 48 &&
                   offsetof(struct nat, ogpr) == 64 && offsetof(struct nat, osel) == 104 &&
                   offsetof(struct nat, rsp) == 120 && offsetof(struct nat, chain) == 152 &&
                   offsetof(struct nat, fxin) == 192 && offsetof(struct nat, fxout) == 704,
               "native_stub.S");
extern struct nat nat;
int nat_enter(void);
void nat_signal(int sig, siginfo_t *si, void *ctx);
void native_signal_info(int sig, siginfo_t *si, void *ctx);

u8 *native_ram;
static u8 *code_alias; /* the code pages, writable */
static struct {
    u32 vector, error, cr2, eip;
    u16 cs;
} trap;

void native_signal_info(int sig, siginfo_t *si, void *ctx)
{
    ucontext_t *uc = ctx;
    const greg_t *g = uc->uc_mcontext.gregs;
    static const int map[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI};

    for (int n = 0; n < 8; n++)
        nat.ogpr[n] = (u32)g[map[n]];
    nat.oflags = (u64)g[REG_EFL];
    trap.vector = sig == SIGSYS ? VEC_SYS : (u32)g[REG_TRAPNO];
    trap.error = (u32)g[REG_ERR];
    trap.cr2 = (u32)g[REG_CR2];
    trap.eip = (u32)g[REG_RIP];
    trap.cs = (u16)g[REG_CSGSFS];
    nat.osel[S_SS] = (u16)((u64)g[REG_CSGSFS] >> 48);
    memcpy(nat.fxout, uc->uc_mcontext.fpregs, 512);
}

bool native_reserve(void)
{
    native_ram = mmap((void *)(uintptr_t)BASE, REGION, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    return native_ram != MAP_FAILED;
}

static bool map_region(void)
{
    int fd = memfd_create("insn-region", 0);
    u8 *w;

    if (fd < 0 || ftruncate(fd, REGION) < 0)
        return false;
    w = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (w == MAP_FAILED || native_ram == MAP_FAILED)
        return false;
    for (u32 n = 0; n < REGION; n++)
        w[n] = base_byte(n);
    build_exit_page(w + EXIT_PAGE * PAGE_SIZE);
    for (u32 p = 0; p < REGION_PAGES; p++) {
        static const int prot[] = {
            [PK_RO] = PROT_READ, [PK_RW] = PROT_READ | PROT_WRITE, [PK_RX] = PROT_READ | PROT_EXEC};
        if (page_kind[p] == PK_ABSENT) {
            if (munmap(native_ram + p * PAGE_SIZE, PAGE_SIZE) < 0)
                return false;
        } else if (mmap(native_ram + p * PAGE_SIZE, PAGE_SIZE, prot[page_kind[p]],
                        MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, p * PAGE_SIZE) == MAP_FAILED) {
            return false;
        }
    }
    for (u32 p = 0; p < REGION_PAGES; p++) /* present in the page tables, so that P is right in error codes */
        if (page_kind[p] != PK_ABSENT)
            (void)*(volatile u8 *)(native_ram + p * PAGE_SIZE);
    for (u32 p = 0; p < REGION_PAGES; p++)
        if (page_kind[p] == PK_RW)
            *(volatile u8 *)(native_ram + p * PAGE_SIZE) = w[p * PAGE_SIZE];
    code_alias = w;
    close(fd);
    return true;
}

bool native_init(void)
{
    static const int sigs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER}, old;
    stack_t ss;

    if (!(getauxval(AT_HWCAP2) & 2)) {
        fprintf(stderr, "insn-test: no native runs: the kernel does not allow wrfsbase (needs 5.9)\n");
        return false;
    }
    for (u32 n = 0; n < SG_COUNT; n++) {
        const struct segment *s = &segments[n];
        struct user_desc d = {.entry_number = n,
                              .base_addr = s->base,
                              .limit = s->limit,
                              .seg_32bit = s->big,
                              .contents = s->contents,
                              .read_exec_only = s->ro,
                              .limit_in_pages = s->pages,
                              .seg_not_present = s->absent};
        if (syscall(SYS_modify_ldt, 0x11, &d, sizeof(d)) < 0) {
            fprintf(stderr, "insn-test: no native runs: modify_ldt, segment %u: %s\n", n, strerror(errno));
            return false;
        }
    }
    if (!map_region()) {
        fprintf(stderr, "insn-test: no native runs: cannot map the region at %x: %s\n", BASE,
                strerror(errno));
        return false;
    }
    if (sigaltstack(NULL, &ss) < 0)
        return false;
    if (ss.ss_flags & SS_DISABLE) {
        ss = (stack_t){.ss_size = 256 * 1024};
        ss.ss_sp = mmap(NULL, ss.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (ss.ss_sp == MAP_FAILED || sigaltstack(&ss, NULL) < 0)
            return false;
    }
    sa.sa_sigaction = nat_signal;
    sigaction(SIGSEGV, NULL, &old);
    nat.chain = old.sa_flags & SA_SIGINFO ? (void *)old.sa_sigaction : NULL;
    for (u32 n = 0; n < ARRAY_SIZE(sigs); n++)
        sigaction(sigs[n], &sa, NULL);
    return true;
}

static struct code_runs native_runs;

static void put_native(void *opaque, u32 lin, const u8 *b, u32 len)
{
    if (page_kind[(lin - BASE) >> PAGE_SHIFT] == PK_RX)
        code_runs_add(&native_runs, lin, len);
    memcpy(code_alias + (lin - BASE), b, len);
}

void native_run(const struct icase *c, struct outcome *o)
{
    int k;

    for (u32 n = 0; n < native_runs.n; n++)
        memset(code_alias + (native_runs.lin[n] - BASE), 0xcc, native_runs.len[n]);
    native_runs.n = 0;
    case_lay_out(c, put_native, NULL);
    memcpy(nat.gpr, c->gpr, sizeof(nat.gpr));
    nat.flags = c->flags;
    nat.target_off = c->lin - case_cs_base(c);
    nat.target_sel = c->sel[S_CS];
    memcpy(nat.sel, c->sel, sizeof(nat.sel));
    fp_to_fx(&c->fp, nat.fxin);
    k = nat_enter();
    memcpy(o->gpr, nat.ogpr, sizeof(o->gpr));
    o->flags = (u32)nat.oflags;
    memcpy(o->sel, nat.osel, sizeof(o->sel));
    fx_to_fp(nat.fxout, &o->fp);
    o->error = o->cr2 = 0;
    o->cs_unknown = k >= 0;
    if (k >= 0) {
        o->vector = VEC_NONE;
        o->lin = k == 0   ? c->lin + c->len
                 : k == 1 ? c->lin + NEAR_PAD
                 : k == 2 ? c->lin - NEAR_PAD
                          : PAD_LIN((u32)k);
        o->sel[S_CS] = 0;
        return;
    }
    struct seg s;
    o->vector = (u8)trap.vector;
    o->sel[S_CS] = trap.cs;
    o->lin = trap.eip + (segment_reg(trap.cs, &s) ? s.base : 0);
    if (trap.vector != EXC_UD && trap.vector != EXC_DB && trap.vector != EXC_BP && trap.vector != VEC_SYS)
        o->error = trap.error;
    if (trap.vector == EXC_PF)
        o->cr2 = trap.cr2;
    if (trap.vector < 8 || trap.vector == EXC_MF || trap.vector == EXC_XM)
        o->error = 0;
}
