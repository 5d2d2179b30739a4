/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The oracle: is what a fragment does, does in fact, within the isolation property (docs/fidelity.md)?
 *
 * It runs the fragment natively, one host instruction at a time, from a random state. Before each instruction
 * it decodes it with Zydis - the verifier uses Capstone -, computes its addresses from the actual registers,
 * and judges them against the places that really are what they should be: eight guest pages with different
 * rights, each followed by one that nothing may touch; tables that lead there; a return stack; a branch cache
 * in which entries that do not match lead to poison. It knows nothing of how the verifier argues.
 */
#include "tests/unit/translator/verify_test.h"

#include <asm/prctl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <Zydis/Zydis.h>

#include "shadowpt/shadowpt.h"

#define GUEST_PAGES                                                                                          \
    8u /* host pages that linear page p maps to: p % 8; readable unless % 4 == 3, writable if even */
#define STACK_BYTES 65536u

static u8 *area, *base; /* tables, window */
static u8 *guest_mem;   /* GUEST_PAGES pages, each followed by one that nothing may touch */
static u8 *code_page, *ret_stack;
static u64 *ibtc;
#define IBTC_HOST(tag) ((tag)[IBTC_HOST_OFF / 8])
static struct vcpu *vc;
#define LOW_FIRST 0x10000ull /* a host maps nothing below */
static ZydisDecoder zd;
#define STOP_THUNK(n)                                                                                        \
    (0x7000000000000ull + 16 * (n)) /* never mapped: reaching it is seen before it is fetched */
#define STOP_IBTC   0x7100000000000ull
#define STOP_POISON 0x7200000000000ull
#define STOP_BOTTOM 0x7300000000000ull

static struct {
    const struct frag *f;
    ucontext_t saved;
    u8 saved_fp[512];
    greg_t start[NGREG];
    u32 steps;
    bool running;
    const char *violation;
    u32 at;
    u32 lo, hi; /* bytes of interest */
    bool touched;
} run;

static int greg_of(ZydisRegister r)
{
    static const int map[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    ZydisRegister big = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);
    return big >= ZYDIS_REGISTER_RAX && big <= ZYDIS_REGISTER_R15 ? map[big - ZYDIS_REGISTER_RAX] : -1;
}

/* No sum: a mutant may push -1 and return to it. */
static bool inside(u64 a, u64 n, const void *lo, u64 len)
{
    u64 off = a - (u64)(uintptr_t)lo;
    return off <= len && n <= len - off;
}

/* The unit's window begins at 0, and the GS base is that of another. */
static bool low(void)
{
    return run.f->env.mode & MODE_LOW;
}

static const char faults[] = "a fault";

/* The isolation property for one access. */
static const char *judge_access(u64 a, u32 n, bool write, bool gs)
{
    if (gs && low())
        return "an access to another window";
    if (gs)
        return inside(a, n, base, 4 * GiB + 16) ? NULL : "an access through gs leaves the window";
    if ((run.f->env.mode & MODE_WIN) && low() && n <= 16) {
        if (a < 4 * GiB)
            return NULL;
        if (a + LOW_BEFORE < 4 * GiB + LOW_BEHIND + LOW_BEFORE - 16)
            return faults; /* as much as it may reach beyond it: nothing is mapped there */
    }
    for (u32 p = 0; p < GUEST_PAGES; p++)
        if (inside(a, n, guest_mem + 2 * p * PAGE_SIZE, PAGE_SIZE))
            return (write ? p % 2 == 0 : p % 4 != 3) ? NULL : "guest page without the right";
    if (inside(a, n, ret_stack, STACK_BYTES))
        return NULL; /* only push, call, pop and ret get here: see judge() */
    if (inside(a, n, vc, offsetof(struct vcpu, next_eip))) {
        u64 off = a - (u64)(uintptr_t)vc;
        if (!write || off == VO_IFLAG || (off >= BT_OFF(BT_TMP) && off + n <= BT_OFF(BT_TMP) + 8) ||
            off == BT_OFF(BT_COUNT) || off == BT_OFF(BT_LEFT) || off == VO_CR2 || off == VO_DF_SEEN)
            return NULL;
        return "a write to the vcpu";
    }
    if (!write && (inside(a, n, area, SPACE_RT_OFF) || inside(a, n, ibtc, IBTC_BYTES)))
        return NULL;
    return write ? "a write outside" : "a read outside";
}

static u64 address(const greg_t *g, const ZydisDecodedInstruction *i, const ZydisDecodedOperand *o, u64 pc)
{
    u64 ea = o->mem.disp.has_displacement ? (u64)o->mem.disp.value : 0;
    if (o->mem.base == ZYDIS_REGISTER_RIP || o->mem.base == ZYDIS_REGISTER_EIP)
        ea += pc + i->length;
    else if (o->mem.base)
        ea += (u64)g[greg_of(o->mem.base)];
    if (o->mem.index)
        ea += (u64)g[greg_of(o->mem.index)] * o->mem.scale;
    if (i->address_width == 32)
        ea = (u32)ea;
    return o->mem.segment == ZYDIS_REGISTER_GS ? ea + (u64)(uintptr_t)base : ea;
}

/* A string instruction's access; one that is repeated is judged at every iteration. What lies behind the
 * window and before it is not mapped in fact. */
static const char *judge_string(u64 a, u32 n, bool write, bool rep)
{
    bool win = run.f->env.mode & MODE_WIN;

    if (win && low()) {
        if (a < 4 * GiB && a >= LOW_FIRST)
            return NULL;
        if (a + PAGE_SIZE < 4 * GiB + 2 * PAGE_SIZE)
            return faults;
    }
    if (win && !low() && inside(a, n, base, 4 * GiB))
        return NULL;
    if (win && !low() && inside(a, n, base - PAGE_SIZE, 4 * GiB + 2 * PAGE_SIZE))
        return faults;
    return rep ? "a repeated string instruction outside the window" : judge_access(a, n, write, false);
}

static const char *judge(const greg_t *g, u64 pc)
{
    ZydisDecodedInstruction i;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];

    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zd, (const void *)(uintptr_t)pc,
                                             run.f->len - (pc - (u64)(uintptr_t)code_page), &i, ops)))
        return "an undefined instruction";
    /* the host's time stamp is no secret, but for rings that the guest's CR4.TSD keeps from it */
    bool no_tsc = (run.f->env.mode & MODE_TSD) && (run.f->env.mode & MODE_CPL);
    if (i.mnemonic == ZYDIS_MNEMONIC_RDTSC && !no_tsc)
        return NULL;
    switch (i.meta.category) {
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_SEGOP:
    case ZYDIS_CATEGORY_RDWRFSGS:
        return "a system instruction";
    default:
        break;
    }
    if ((i.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) || i.mnemonic == ZYDIS_MNEMONIC_UD2)
        return "a privileged instruction";
    if (i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return "a far transfer";
    if (i.mnemonic == ZYDIS_MNEMONIC_POPFQ || i.mnemonic == ZYDIS_MNEMONIC_POPF)
        return "flags from the stack"; /* TF: nothing behind it would be judged */
    for (u32 k = 0; k < i.operand_count; k++) {
        const ZydisDecodedOperand *o = &ops[k];
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) {
            ZydisRegisterClass c = ZydisRegisterGetClass(o->reg.value);
            if (c == ZYDIS_REGCLASS_SEGMENT || c == ZYDIS_REGCLASS_CONTROL || c == ZYDIS_REGCLASS_DEBUG)
                return "a write to a system register";
        }
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.type == ZYDIS_MEMOP_TYPE_AGEN ||
            i.mnemonic == ZYDIS_MNEMONIC_NOP)
            continue;
        u64 a = address(g, &i, o, pc);
        u32 n = o->size / 8;
        if (o->mem.segment == ZYDIS_REGISTER_FS)
            return "an access through fs";
        bool stack = o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && greg_of(o->mem.base) == REG_RSP;
        if (stack && (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            a -= 8;
        /* the bit offset in a register moves the address */
        if ((i.mnemonic == ZYDIS_MNEMONIC_BT || i.mnemonic == ZYDIS_MNEMONIC_BTS ||
             i.mnemonic == ZYDIS_MNEMONIC_BTR || i.mnemonic == ZYDIS_MNEMONIC_BTC) &&
            ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
            i64 bit = (i64)g[greg_of(ops[1].reg.value)];
            bit = n == 2 ? (i16)bit : n == 4 ? (i32)bit : bit;
            a += (u64)((bit >> (n == 2 ? 4 : n == 4 ? 5 : 6)) * n);
        }
        if (!stack && inside(a, n, ret_stack, STACK_BYTES))
            return "an access to the return stack";
        if (i.meta.category == ZYDIS_CATEGORY_STRINGOP) {
            bool rep = i.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
            const char *bad = o->mem.segment == ZYDIS_REGISTER_GS || i.address_width != 64
                                  ? "a string instruction with a prefix"
                              : rep && !g[REG_RCX]
                                  ? NULL
                                  : judge_string(a, n, o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE, rep);
            if (bad)
                return bad;
            continue;
        }
        if (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ) {
            const char *bad = judge_access(a, n, false, o->mem.segment == ZYDIS_REGISTER_GS);
            if (bad)
                return bad;
        }
        if (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) {
            const char *bad = judge_access(a, n, true, o->mem.segment == ZYDIS_REGISTER_GS);
            if (bad)
                return bad;
        }
    }
    return NULL;
}

/* Execution leaves: is everything as the C side relies on? */
static const char *judge_exit(const greg_t *g, u64 pc)
{
    static const int guest[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RBP, REG_RSI, REG_RDI, REG_R13};
    u64 lo = (u64)(uintptr_t)code_page;

    if (pc == STOP_POISON)
        return "a branch-cache entry whose tag does not match";
    if (pc != STOP_IBTC && pc != STOP_BOTTOM &&
        (pc < STOP_THUNK(0) || pc >= STOP_THUNK(TH_COUNT_) || pc % 16))
        return "a jump outside";
    for (u32 k = 0; k < ARRAY_SIZE(guest); k++)
        if ((u64)g[guest[k]] >> 32)
            return "an upper half that is not zero";
    if (g[REG_R14] != run.start[REG_R14] || g[REG_R15] != run.start[REG_R15])
        return "r14 or r15 changed";
    if (!inside((u64)g[REG_RSP], 0, ret_stack, STACK_BYTES))
        return "rsp off the return stack";
    if (vc->iflag > 1)
        return "the interrupt flag is no flag";
    if (pc == STOP_IBTC || pc == STOP_BOTTOM)
        return NULL;
    u32 th = (u32)(pc - STOP_THUNK(0)) / 16;
    u64 r8 = (u64)g[REG_R8], r9 = (u64)g[REG_R9], r10 = (u64)g[REG_R10], r11 = (u64)g[REG_R11];
    bool resumes = th == TH_READ_MISS || th == TH_WRITE_MISS || th == TH_SLOW || th == TH_EXEC;
    if (resumes && r10 && (r10 < lo || r10 >= lo + run.f->len))
        return "r10 is no place to resume";
    if ((th == TH_READ_MISS || th == TH_WRITE_MISS) && (r11 < lo || r11 >= lo + run.f->len))
        return "r11 is no place to resume";
    if (th == TH_IND_OF && r8 >> 32)
        return "r8 is no address";
    if ((th == TH_LINK || th == TH_TAKEN || th == TH_PASSED) &&
        r9 - run.f->env.first_link >= run.f->u.n_links)
        return "r9 is no link";
    if (th == TH_EXEC || th == TH_SYS || th == TH_SYSENTER || th == TH_SYSEXIT || th == TH_INT ||
        th == TH_IRET || th == TH_CLTS || th == TH_CR0 || th == TH_CR3) {
        for (u32 k = 0; k < run.f->n_kept; k++)
            if (r8 == (u64)(uintptr_t)run.f->kept[k])
                return NULL;
        return "r8 is no instruction";
    }
    return NULL;
}

static bool is_rep(u64 stop)
{
    return stop >= STOP_THUNK(TH_REP_MOVS8) && stop <= STOP_THUNK(TH_REP_STOS32);
}

/* A thunk that returns is called: from the code, and with the place of a data segment register? */
static const char *judge_call(const greg_t *g, u64 pc)
{
    const char *bad = judge_exit(g, pc);
    u64 seg = (u64)g[REG_R9] - VO_SEG;

    if (bad)
        return bad;
    if (!inside((u64)g[REG_RSP], 8, ret_stack, STACK_BYTES) ||
        !inside(*(u64 *)g[REG_RSP], 1, code_page, run.f->len))
        return "a thunk that returns was not called";
    if (pc == STOP_THUNK(TH_SEG_BOTH) || pc == STOP_THUNK(TH_POPF) || pc == STOP_THUNK(TH_POPF_IF) ||
        pc == STOP_THUNK(TH_IN) || pc == STOP_THUNK(TH_TAKEN) || pc == STOP_THUNK(TH_PASSED))
        return NULL;
    if (pc == STOP_THUNK(TH_INVLPG))
        return run.f->env.mode & MODE_CPL ? "invlpg outside of CPL 0" : NULL;
    if (pc == STOP_THUNK(TH_FXSAVE) || pc == STOP_THUNK(TH_FXRSTOR))
        return run.f->env.mode & MODE_NOFPU ? "FPU state with CR0.TS" : NULL;
    if (is_rep(pc))
        return run.f->env.mode & MODE_FLATES ? NULL : "a string thunk, but ES is not flat";
    if (pc != STOP_THUNK(TH_VERW) && (seg % VO_SEG_SIZE || seg / VO_SEG_SIZE > S_GS ||
                                      seg / VO_SEG_SIZE == S_CS || seg / VO_SEG_SIZE == S_SS))
        return "r9 is no data segment register";
    if ((pc == STOP_THUNK(TH_SEG_FSGS) && seg / VO_SEG_SIZE < S_FS) ||
        (pc == STOP_THUNK(TH_SEG_LOAD) && seg / VO_SEG_SIZE >= S_FS))
        return "r9 is not one of the thunk's registers";
    return NULL;
}

/* What it leaves: success or not, anything in the scratch registers and flags. */
static u64 return_from_thunk(greg_t *g, u64 thunk)
{
    bool ok = rnd() & 1;

    if (ok && is_rep(thunk)) {
        g[REG_RCX] = 0;
        g[REG_RSI] = rnd();
        g[REG_RDI] = rnd();
    }
    g[REG_RIP] = *(greg_t *)g[REG_RSP];
    g[REG_RSP] += 8;
    if (thunk == STOP_THUNK(TH_POPF) || thunk == STOP_THUNK(TH_POPF_IF)) /* flags that are put aside */
        g[REG_R12] = rnd();
    g[REG_R8] = !ok;
    g[REG_R9] = (greg_t)((u64)rnd() << 32 | rnd());
    g[REG_R10] = (greg_t)((u64)rnd() << 32 | rnd());
    g[REG_R11] = (greg_t)((u64)rnd() << 32 | rnd());
    g[REG_EFL] = (g[REG_EFL] & ~(greg_t)0x8d5) | (rnd() & 0x895) | (ok ? 0x40 : 0);
    return (u64)g[REG_RIP];
}

static void finish(ucontext_t *uc)
{
    run.running = false;
    memcpy(uc->uc_mcontext.gregs, run.saved.uc_mcontext.gregs, sizeof(uc->uc_mcontext.gregs));
    memcpy(uc->uc_mcontext.fpregs, run.saved_fp, sizeof(run.saved_fp));
}

static void on_trap(int sig, siginfo_t *si, void *ctx)
{
    ucontext_t *uc = ctx;
    greg_t *g = uc->uc_mcontext.gregs;
    u64 pc;

    if (!run.running) { /* the int3 of execute() */
        memcpy(run.saved.uc_mcontext.gregs, g, sizeof(uc->uc_mcontext.gregs));
        memcpy(run.saved_fp, uc->uc_mcontext.fpregs, sizeof(run.saved_fp));
        memcpy(g, run.start, sizeof(run.start));
        g[REG_CSGSFS] = run.saved.uc_mcontext.gregs[REG_CSGSFS];
        run.running = true;
    }
    pc = (u64)g[REG_RIP];
    if (sig != SIGTRAP) { /* a fault that the monitor would handle: SIGFPE, a misaligned SSE operand, a window
                             page */
        finish(uc);
        return;
    }
    if (pc == STOP_THUNK(TH_SEG_LOAD) || pc == STOP_THUNK(TH_SEG_FSGS) || pc == STOP_THUNK(TH_SEG_REAL) ||
        pc == STOP_THUNK(TH_VERW) || pc == STOP_THUNK(TH_POPF) || pc == STOP_THUNK(TH_POPF_IF) ||
        pc == STOP_THUNK(TH_IN) || pc == STOP_THUNK(TH_INVLPG) || pc == STOP_THUNK(TH_TAKEN) ||
        pc == STOP_THUNK(TH_PASSED) || is_rep(pc)) {
        if ((run.violation = judge_call(g, pc))) {
            finish(uc);
            return;
        }
        pc = return_from_thunk(g, pc);
    }
    if (!inside(pc, 1, code_page, run.f->len)) {
        run.violation = judge_exit(g, pc);
        finish(uc);
        return;
    }
    run.at = (u32)(pc - (u64)(uintptr_t)code_page);
    if (run.at < run.hi && run.at + 15 > run.lo) { /* near: look how long it is */
        ZydisDecodedInstruction i;
        if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&zd, NULL, (const void *)(uintptr_t)pc,
                                                       run.f->len - run.at, &i)))
            run.touched |= run.at + i.length > run.lo;
    }
    if (++run.steps > 300 || (run.violation = judge(g, pc))) {
        if (run.violation == faults)
            run.violation = NULL;
        finish(uc);
        return;
    }
    g[REG_EFL] |= 0x100;
}

struct execution oracle_run(const struct frag *f, const u8 *code, u32 entry, u32 lo, u32 hi)
{
    static const u32 interesting[] = {0,          1,          0xfff,      0x1000,     0x2ffd,
                                      0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0xffff};
    greg_t *g = run.start;

    memcpy(code_page, code, f->len);
    run.f = f;
    run.lo = lo;
    run.hi = hi;
    run.touched = false;
    run.at = entry;
    run.violation = NULL;
    run.steps = 0;
    memset(g, 0, sizeof(run.start));
    for (int r = REG_R8; r <= REG_R11; r++)
        g[r] = (greg_t)((u64)rnd() << 32 | rnd());
    g[REG_R12] = (greg_t)((u64)rnd() << 32 | rnd());
    static const int guest[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RBP, REG_RSI, REG_RDI, REG_R13};
    for (u32 k = 0; k < ARRAY_SIZE(guest); k++)
        g[guest[k]] = rnd() % 3   ? (greg_t)(rnd() & ~3u)
                      : rnd() % 2 ? (greg_t)rnd()
                                  : (greg_t)interesting[rnd() % ARRAY_SIZE(interesting)];
    if (rnd() % 2) /* a repeated string instruction comes to its end */
        g[REG_RCX] = rnd() % 8;
    g[REG_R14] = (greg_t)(uintptr_t)base;
    g[REG_R15] = (greg_t)(uintptr_t)vc;
    g[REG_RSP] = (greg_t)(uintptr_t)(ret_stack + STACK_BYTES / 2);
    g[REG_EFL] = (rnd() & 0xcd5) | 0x302;
    g[REG_RIP] = (greg_t)(uintptr_t)(code_page + entry);
    for (u32 k = 0; k < STACK_BYTES / 8; k++)
        ((u64 *)ret_stack)[k] = STOP_BOTTOM;
    vc->iflag = rnd() & 1;
    vc->intr_line = rnd() & 1;
    vc->bt[BT_LEFT] = rnd() % 4;
    vc->bt[BT_TMP] = (u64)rnd() << 32 | rnd();
    u64 *matching[64];
    for (u32 k = 0; k < 64; k++) { /* some entries match */
        u32 eip = rnd() % 2 ? ((u32 *)guest_mem)[rnd() % 1024] : (u32)g[REG_RAX];
        u64 *tag = &ibtc[eip & 0xffff];
        *tag = -(2 * (u64)eip + IBTC_TAG);
        IBTC_HOST(tag) = STOP_IBTC;
        matching[k] = tag;
    }
    __asm__ volatile("int3" ::: "memory", "cc");
    for (u32 k = 0; k < 64; k++)
        IBTC_HOST(matching[k]) = STOP_POISON;
    return (struct execution){
        .violation = run.violation, .at = run.at, .steps = run.steps, .touched = run.touched};
}

int oracle_setup(void)
{
    area = mmap(NULL, SPACE_RT_OFF + 4 * GiB + 2 * GiB, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    guest_mem =
        mmap(NULL, 2 * GUEST_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    code_page =
        mmap(NULL, UNIT_MAX_CODE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ret_stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ibtc = mmap(NULL, IBTC_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    vc = calloc(1, sizeof(*vc));
    if (area == MAP_FAILED || guest_mem == MAP_FAILED || code_page == MAP_FAILED || ret_stack == MAP_FAILED ||
        ibtc == MAP_FAILED || !vc)
        return -1;
    for (u32 k = 0; k < IBTC_ENTRIES; k++)
        IBTC_HOST(&ibtc[k]) = STOP_POISON;
    frags_low_window =
        mmap((void *)LOW_FIRST, 4 * GiB, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == (void *)LOW_FIRST;
    base = area + SPACE_RT_OFF;
    for (u32 p = 0; p < 1u << 20; p++) {
        u64 e = (u64)(uintptr_t)(guest_mem + 2 * (p % GUEST_PAGES) * PAGE_SIZE) - ((u64)p << PAGE_SHIFT);
        ((u64 *)(base - SPACE_RT_OFF))[p] = p % 4 != 3 ? e : 0;
        ((u64 *)(base - SPACE_WT_OFF))[p] = p % 2 == 0 ? e : 0;
        ((u32 *)(base - SPACE_XT_OFF))[p] = p % 2;
    }
    for (u32 i = 0; i < 2 * GUEST_PAGES * PAGE_SIZE; i++)
        guest_mem[i] = (u8)rnd();
    for (int s = 0; s < S_COUNT; s++)
        vc->seg[s] = (struct seg){.sel = (u16)rnd(), .base = 0x1000, .limit = 0xffff};
    for (u32 n = 0; n < TH_COUNT_; n++)
        vc->bt[BT_THUNK0 + n] = STOP_THUNK(n);
    vc->bt[BT_GS] = (u64)(uintptr_t)base;
    vc->bt[BT_IBTC] = (u64)(uintptr_t)ibtc;
    vc->minus_two = (u64)-2;
    vc->one = 1;
    ZydisDecoderInit(&zd, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return syscall(SYS_arch_prctl, ARCH_SET_GS, base) ? -1 : 0;
}

void oracle_catch_signals(void)
{
    static u8 stack[65536];
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction sa = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    static const int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

    sigaltstack(&ss, NULL);
    sigfillset(&sa.sa_mask);
    for (u32 i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &sa, NULL);
}
