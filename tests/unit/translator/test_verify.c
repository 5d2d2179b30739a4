/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mutation test of the translation-cache verifier.
 *
 * Real units over a corpus of instruction forms are translated in several modes; all must be accepted. Then
 * their host code is damaged, at random (NOVT_MUTATIONS, NOVT_SEED) and by hand-made malicious instructions.
 * Every damaged fragment that the verifier accepts is *run*: natively, one host instruction at a time, from
 * random guest states and entry points, and before each instruction an oracle that knows nothing of the
 * verifier decodes it with Zydis, computes its addresses from the actual register values, and checks them
 * against what isolation allows (docs/fidelity.md). One violation fails the test. The hand-made ones must all
 * be refused without running.
 */
#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <cmocka.h>
#include <Zydis/Zydis.h>
#include "base/opts.h"
#include "shadowpt/shadowpt.h"
#include "tcache/verify.h"

/* ---- the corpus
 * ------------------------------------------------------------------------------------------------------------
 */

#define U(s)                                                                                                 \
    {                                                                                                        \
        (const u8 *)(s), sizeof(s) - 1                                                                       \
    }
static const struct {
    const u8 *bytes;
    u32 len;
} corpus[] = {
    U("\x01\x03\x8b\x43\x04\x39\xc8\x75\x02\x89\x0b\xc3"),
    U("\x50\x53\x6a\x05\x68\x78\x56\x34\x12\x58\x5b\xff\x33\x8f\x03\xc9\xc3"),
    U("\xe8\x00\x10\x00\x00"),
    U("\x40\xe8\x10\x00\x00\x00"),
    U("\xff\x24\x85\x00\x20\x00\x00"),
    U("\xff\x13"),
    U("\x01\xd8\xff\xd0"),
    U("\xa4\xa5\x66\xa5\xaa\xab\xac\xad\xc3"),
    U("\xf3\xa5\xf3\xab\xc3"),
    U("\x9c\xfa\xfb\x90\x9c\x40\xc3"),
    U("\x8c\xd8\x8c\x1b\x1e\x06\xc3"),
    U("\x0f\xa3\x03\x0f\xab\x0b\x0f\xba\x2b\x05\x0f\xb3\xc8\xc3"),
    U("\xd9\x03\xdc\x43\x08\xdb\x2b\xdb\x3b\xdf\x7b\x08\xd9\x3b\xd9\x2b\xc3"),
    U("\x0f\x28\x03\x0f\x11\x4b\x10\x66\x0f\x6f\x03\xf3\x0f\x10\x03\xf2\x0f\x58\x03\x0f\xae\x1b\xc3"),
    U("\x8a\x23\x00\x33\x88\x3b\x86\x2b\xc3"),
    U("\xf7\x23\xf7\x33\x0f\xaf\x03\x69\x03\x10\x00\x00\x00\xf7\xfb\xc3"),
    U("\xc1\x23\x03\xd3\x2b\x0f\xa4\x03\x05\x0f\xad\xc3\xd1\xd8\xc3"),
    U("\x8b\x44\x24\x08\x89\x04\x24\x8d\x64\x24\xfc\x03\x24\x24\xc3"),
    U("\x0f\xb1\x0b\x0f\xc1\x03\x0f\xc7\x0b\x0f\xb0\x0b\x87\x03\xc3"),
    U("\x49\x40\xe2\xfc\xe3\x02\x75\xf8\xeb\xf6"),
    U("\x0f\x84\x00\x20\x00\x00\x0f\x8f\x20\x00\x00\x00\xe9\x00\x40\x00\x00"),
    U("\x0f\xa2\xe4\x80\xe6\x80\xf4"),
    U("\x0f\x94\x03\x0f\x44\x03\x0f\xb6\x03\x0f\xbf\x03\x0f\xc8\x0f\x93\xc0\xc3"),
    U("\xa1\x00\x20\x00\x00\xa2\x04\x20\x00\x00\x66\xa3\x08\x20\x00\x00\xc3"),
    U("\x64\xa1\x00\x00\x00\x00\x65\x89\x03\xc3"),
    U("\x0f\x6f\x03\x0f\xfc\x03\x0f\x7f\x03\x0f\x62\x03\x0f\x77\xc3"),
    U("\xc2\x08\x00"),
    U("\x66\x01\x03\x66\x50\x66\x58\x66\x8b\x03\x66\xf7\x33\x66\xb8\x34\x12\xc3"),
    U("\x67\x8b\x07\x67\x89\x46\x04\xc3"),
    U("\x11\x03\x13\x0b\x85\x03\xa8\x01\x73\x03\x19\x13\x40\xc3"),
};

#define FLAT                                                                                                 \
    (MODE_PE | MODE_CS32 | MODE_SS32 | MODE_FLATCS | MODE_FLATDS | MODE_FLATES | MODE_FLATSS | MODE_SSE)
static const struct {
    u32 mode, opts, cs_base, cs_limit;
    bool exact;
} ways[] = {
    {FLAT | MODE_FULLFS | MODE_FULLGS | MODE_IOPL_OK, OPT_ALL, 0, 0xffffffff, false},
    {FLAT | MODE_FULLGS | 3, 0, 0, 0xffffffff, false},
    {FLAT | MODE_WIN | MODE_FULLGS | 3, OPT_ALL, 0, 0xffffffff, false},
    {FLAT | MODE_IOPL_OK, OPT_ALL & ~OPT(flags), 0, 0xffffffff, true},
    {MODE_IOPL_OK | MODE_SSE, OPT_ALL, 0x1000, 0xffff, false},
};

struct frag {
    u8 code[UNIT_MAX_CODE];
    u32 len;
    struct unit u;
    struct unit_env env;
    struct insn kept_store[UNIT_MAX_INSNS];
    const struct insn *kept[UNIT_MAX_INSNS];
    u32 n_kept;
};

#define MAX_FRAGS (ARRAY_SIZE(corpus) * ARRAY_SIZE(ways))
static struct frag *frags;
static u32 n_frags;
static struct verifier *vf;

static struct insn *keep(void *opaque, const struct insn *i)
{
    struct frag *f = opaque;
    if (f->n_kept == UNIT_MAX_INSNS)
        return NULL;
    f->kept_store[f->n_kept] = *i;
    f->kept[f->n_kept] = &f->kept_store[f->n_kept];
    return &f->kept_store[f->n_kept++];
}

static bool verify(const struct frag *f, const u8 *code)
{
    struct verify_in in = {
        .code = code,
        .len = f->len,
        .eip = f->env.eip,
        .mode = f->env.mode,
        .cs_base = f->env.cs_base,
        .guest_len = f->u.guest_len,
        .pcmap = f->u.pcmap,
        .n_insns = f->u.n_insns,
        .links = f->u.links,
        .n_links = f->u.n_links,
        .first_link = f->env.first_link,
        .crosses = f->u.crosses,
        .kept = f->kept,
        .n_kept = f->n_kept,
    };
    u32 at;
    return verify_fragment(vf, &in, &at);
}

static int setup(void **state)
{
    vf = verifier_create();
    frags = calloc(MAX_FRAGS, sizeof(*frags));
    assert_non_null(vf);
    assert_non_null(frags);
    for (u32 w = 0; w < ARRAY_SIZE(ways); w++)
        for (u32 c = 0; c < ARRAY_SIZE(corpus); c++) {
            struct frag *f = &frags[n_frags];
            f->env = (struct unit_env){
                .model = cpu_model_find("qemu32"),
                .opts = ways[w].opts,
                .mode = ways[w].mode,
                .eip = 0x5100 + c * 16,
                .cs_base = ways[w].cs_base,
                .cs_limit = ways[w].cs_limit,
                .bytes = corpus[c].bytes,
                .avail = corpus[c].len,
                .first_link = 1000,
                .exact = ways[w].exact,
                .keep_insn = keep,
                .opaque = f,
            };
            if (translate_unit(&f->env, f->code, sizeof(f->code), &f->u) != XLATE_OK)
                continue;
            f->len = f->u.host_len;
            n_frags++;
        }
    return 0;
}

static void test_originals(void **state)
{
    assert_true(n_frags > MAX_FRAGS / 2);
    for (u32 i = 0; i < n_frags; i++)
        if (!verify(&frags[i], frags[i].code))
            fail_msg("unit %u, mode %x, is refused: %s", i, frags[i].env.mode, verifier_why(vf));
}

/* ---- the oracle: one concrete step at a time
 * ------------------------------------------------------------------------- */

#define GUEST_PAGES                                                                                          \
    8u /* host pages that linear page p maps to: p % 8; readable unless % 4 == 3, writable if even */
#define STACK_BYTES 65536u

static u8 *area, *base; /* tables, window */
static u8 *guest_mem;   /* GUEST_PAGES pages, each followed by one that nothing may touch */
static u8 *code_page, *ret_stack;
static struct ibtc {
    u64 tag, host;
} * ibtc;
static struct vcpu *vc;
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
} run;

static u64 rng = 0x9e3779b97f4a7c15ull;
static u32 rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (u32)(rng >> 16);
}

static int greg_of(ZydisRegister r)
{
    static const int map[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    ZydisRegister big = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);
    return big >= ZYDIS_REGISTER_RAX && big <= ZYDIS_REGISTER_R15 ? map[big - ZYDIS_REGISTER_RAX] : -1;
}

static bool inside(u64 a, u64 n, const void *lo, u64 len)
{
    return a >= (u64)(uintptr_t)lo && a + n <= (u64)(uintptr_t)lo + len;
}

/* The isolation property for one access. */
static const char *judge_access(u64 a, u32 n, bool write, bool gs)
{
    if (gs)
        return inside(a, n, base, 4 * GiB + 16) ? NULL : "an access through gs leaves the window";
    for (u32 p = 0; p < GUEST_PAGES; p++)
        if (inside(a, n, guest_mem + 2 * p * PAGE_SIZE, PAGE_SIZE))
            return (write ? p % 2 == 0 : p % 4 != 3) ? NULL : "guest page without the right";
    if (inside(a, n, ret_stack, STACK_BYTES))
        return NULL; /* only push, call, pop and ret get here: see judge() */
    if (inside(a, n, vc, offsetof(struct vcpu, next_eip))) {
        u64 off = a - (u64)(uintptr_t)vc;
        if (!write || off == VO_IFLAG || (off >= BT_OFF(BT_TMP) && off + n <= BT_OFF(BT_TMP) + 8) ||
            off == BT_OFF(BT_COUNT) || off == BT_OFF(BT_LEFT))
            return NULL;
        return "a write to the vcpu";
    }
    if (!write && (inside(a, n, area, SPACE_RT_OFF) || inside(a, n, ibtc, IBTC_ENTRIES * 16)))
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

static const char *judge(const greg_t *g, u64 pc)
{
    ZydisDecodedInstruction i;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];

    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zd, (const void *)(uintptr_t)pc,
                                             run.f->len - (pc - (u64)(uintptr_t)code_page), &i, ops)))
        return "an undefined instruction";
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
    for (u32 k = 0; k < i.operand_count; k++) {
        const ZydisDecodedOperand *o = &ops[k];
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) {
            ZydisRegisterClass c = ZydisRegisterGetClass(o->reg.value);
            if (c == ZYDIS_REGCLASS_SEGMENT || c == ZYDIS_REGCLASS_CONTROL || c == ZYDIS_REGCLASS_DEBUG)
                return "a write to a system register";
        }
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
            continue;
        u64 a = address(g, &i, o, pc);
        u32 n = o->size / 8;
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
        if (i.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE))
            return "a repeated string instruction";
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
    static const int guest[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RBP, REG_RSI, REG_RDI, REG_R12};
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
    if (th == TH_LINK && r9 - run.f->env.first_link >= run.f->u.n_links)
        return "r9 is no link";
    if (th == TH_EXEC) {
        for (u32 k = 0; k < run.f->n_kept; k++)
            if (r8 == (u64)(uintptr_t)run.f->kept[k])
                return NULL;
        return "r8 is no instruction";
    }
    return NULL;
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
    if (!inside(pc, 1, code_page, run.f->len)) {
        run.violation = judge_exit(g, pc);
        finish(uc);
        return;
    }
    run.at = (u32)(pc - (u64)(uintptr_t)code_page);
    if (++run.steps > 300 || (run.violation = judge(g, pc))) {
        finish(uc);
        return;
    }
    g[REG_EFL] |= 0x100;
}

/* Runs the code in code_page from offset `entry` with a random state. NULL: isolation held. */
static const char *execute(const struct frag *f, u32 entry)
{
    static const u32 interesting[] = {0,          1,          0xfff,      0x1000,     0x2ffd,
                                      0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0xffff};
    greg_t *g = run.start;

    run.f = f;
    run.violation = NULL;
    run.steps = 0;
    memset(g, 0, sizeof(run.start));
    for (int r = REG_R8; r <= REG_R11; r++)
        g[r] = (greg_t)((u64)rnd() << 32 | rnd());
    g[REG_R13] = (greg_t)((u64)rnd() << 32 | rnd());
    static const int guest[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RBP, REG_RSI, REG_RDI, REG_R12};
    for (u32 k = 0; k < ARRAY_SIZE(guest); k++)
        g[guest[k]] = rnd() % 3   ? (greg_t)(rnd() & ~3u)
                      : rnd() % 2 ? (greg_t)rnd()
                                  : (greg_t)interesting[rnd() % ARRAY_SIZE(interesting)];
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
    vc->bt[BT_SALT] = (u64)(1 + rnd() % 9) << 32;
    for (u32 k = 0; k < 64; k++) { /* some entries match */
        u32 eip = rnd() % 2 ? ((u32 *)guest_mem)[rnd() % 1024] : (u32)g[REG_RAX];
        struct ibtc *e = &ibtc[(eip + (u32)vc->bt[BT_SPREAD]) & (IBTC_ENTRIES - 1)];
        e->tag = -((u64)eip + vc->bt[BT_SALT]);
        e->host = STOP_IBTC;
    }
    __asm__ volatile("int3" ::: "memory", "cc");
    for (u32 k = 0; k < IBTC_ENTRIES; k++)
        ibtc[k].host = STOP_POISON;
    return run.violation;
}

static int oracle_setup(void **state)
{
    setup(state);
    area = mmap(NULL, SPACE_RT_OFF + 4 * GiB + 2 * GiB, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    guest_mem =
        mmap(NULL, 2 * GUEST_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    code_page =
        mmap(NULL, UNIT_MAX_CODE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ret_stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ibtc = mmap(NULL, IBTC_ENTRIES * 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    vc = calloc(1, sizeof(*vc));
    assert_true(area != MAP_FAILED && guest_mem != MAP_FAILED && code_page != MAP_FAILED && vc);
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
    vc->bt[BT_IBTC] = (u64)(uintptr_t)ibtc;
    ZydisDecoderInit(&zd, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return syscall(SYS_arch_prctl, ARCH_SET_GS, base) ? -1 : 0;
}

/* cmocka installs its own handlers around each test. */
static void catch_signals(void)
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

/* The oracle must not find fault with what the translator makes. */
static void test_oracle(void **state)
{
    catch_signals();
    for (u32 i = 0; i < n_frags; i++) {
        const struct frag *f = &frags[i];
        memcpy(code_page, f->code, f->len);
        for (u32 k = 0; k < 10; k++) {
            const char *bad = execute(f, f->u.pcmap[rnd() % f->u.n_insns].host);
            if (bad)
                fail_msg("unit %u, mode %x, at %x: the oracle says %s", i, f->env.mode, run.at, bad);
        }
    }
}

/* ---- mutations
 * ----------------------------------------------------------------------------------------------------------------
 */

static void mutate(const struct frag *f, u8 *code)
{
    u32 at = rnd() % f->len, n;
    memcpy(code, f->code, f->len);
    switch (rnd() % 8) {
    case 0:
    case 1:
    case 2:
    case 3:
        code[at] ^= (u8)(1u << (rnd() % 8));
        break;
    case 4:
    case 5:
        code[at] = (u8)rnd();
        break;
    case 6: /* a run of bytes */
        for (n = 2 + rnd() % 6; n && at < f->len; n--)
            code[at++] = (u8)rnd();
        break;
    case 7: { /* an instruction is left out */
        ZydisDecodedInstruction i;
        u32 off = 0;
        while (off < f->len &&
               ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&zd, NULL, code + off, f->len - off, &i))) {
            if (off + i.length > at) {
                memset(code + off, 0x90, i.length);
                break;
            }
            off += i.length;
        }
        break;
    }
    }
}

static void test_random(void **state)
{
    static u8 code[UNIT_MAX_CODE];
    const char *s = getenv("NOVT_SEED"), *m = getenv("NOVT_MUTATIONS");
    u32 total = m ? (u32)atoi(m) : 12000, refused = 0, same = 0, harmless = 0, harmful = 0, sampled = 0,
        confirmed = 0;
    u64 steps = 0;

    catch_signals();
    if (s)
        rng ^= strtoull(s, NULL, 0) * 0x2545f4914f6cdd1dull;
    for (u32 n = 0; n < total; n++) {
        const struct frag *f = &frags[rnd() % n_frags];
        mutate(f, code);
        if (!memcmp(code, f->code, f->len)) {
            same++;
            continue;
        }
        if (!verify(f, code)) {
            /* does the oracle see what is wrong with some of those, too? */
            if (++refused % 8 == 0) {
                sampled++;
                memcpy(code_page, code, f->len);
                for (u32 k = 0; k < 4; k++)
                    if (execute(f, f->u.pcmap[rnd() % f->u.n_insns].host)) {
                        confirmed++;
                        break;
                    }
            }
            continue;
        }
        const char *bad = NULL;
        memcpy(code_page, code, f->len);
        for (u32 k = 0; k < 12 && !bad; k++) {
            bad = execute(f, f->u.pcmap[rnd() % f->u.n_insns].host);
            steps += run.steps;
        }
        if (bad) {
            print_message("accepted, but at %x: %s (unit mode %x eip %x)\n", run.at, bad, f->env.mode,
                          f->env.eip);
            for (u32 k = 0; k < f->len; k++)
                if (code[k] != f->code[k])
                    print_message("  byte %x: %02x -> %02x\n", k, f->code[k], code[k]);
            struct verify_in in = {
                .code = code, .len = f->len, .eip = f->env.eip, .pcmap = f->u.pcmap, .n_insns = f->u.n_insns};
            verify_print(vf, &in, run.at);
            harmful++;
        } else {
            harmless++;
        }
    }
    print_message("random mutations: %u tried, %u unchanged, %u refused, %u accepted and harmless in %llu "
                  "steps, %u harmful\n",
                  total, same, refused, harmless, (unsigned long long)steps, harmful);
    print_message("of %u refused ones that were run, %u did harm\n", sampled, confirmed);
    assert_int_equal(harmful, 0);
    assert_true(confirmed > sampled / 20);
}

/* ---- malicious by hand
 * ------------------------------------------------------------------------------------------------------ */

/* Each is put where a guest instruction begins (nothing known), and behind a checked four-byte read lookup of
 * eax (r8, r9 valid). None may be accepted in either place. */
static const struct {
    const u8 *bytes;
    u32 len;
} evil[] = {
    /* system */
    U("\x0f\x05"),
    U("\x0f\x34"),
    U("\xcd\x80"),
    U("\xcc"),
    U("\xf4"),
    U("\xfa"),
    U("\xfb"),
    U("\xe4\x60"),
    U("\xe6\x60"),
    U("\xec"),
    U("\xee"),
    U("\x6c"),
    U("\x6e"),
    U("\x0f\x0b"),
    U("\x0f\x30"),
    U("\x0f\x32"),
    U("\x0f\x31"),
    U("\x0f\xa2"),
    U("\x0f\x01\xd0"),
    U("\x0f\x01\xf9"),
    U("\x0f\x01\xef"),
    U("\x0f\x08"),
    U("\x0f\x09"),
    U("\x0f\x20\xc0"),
    U("\x0f\x22\xd8"),
    U("\x0f\x00\xd8"),
    U("\x0f\x01\x18"),
    U("\x8e\xd8"),
    U("\x8e\xe8"),
    U("\x8c\xd8"),
    U("\x0f\xa1"),
    U("\x0f\xa9"),
    U("\x0f\xb4\x00"),
    U("\x0f\xb5\x00"),
    U("\xf3\x0f\xae\xc0"),
    U("\xf3\x0f\xae\xc8"),
    U("\xf3\x0f\xae\xd0"),
    U("\xf3\x0f\xae\xd8"),
    U("\xf3\x48\x0f\xae\xd8"),
    U("\x0f\xae\x00"),
    U("\x0f\xae\x08"),
    U("\x43\x0f\xae\x0c\x08"),
    U("\x43\x0f\xae\x04\x08"),
    U("\x43\x0f\xae\x3c\x08"),
    U("\x43\x0f\xae\x14\x08"),
    U("\x48\xcf"),
    U("\xcf"),
    U("\xcb"),
    U("\xca\x00\x00"),
    U("\xc2\x00\x00"),
    U("\x48\xff\x28"),
    U("\x48\xff\x18"),
    U("\xf1"),
    U("\x9d"),
    U("\x48\x0f\x07"),
    U("\x0f\x18\x00"),
    U("\x0f\x0d\x08"),
    U("\x0f\xc7\xf0"),
    U("\x0f\xc7\xf8"),
    U("\xc7\xf8\x00\x00\x00\x00"),
    U("\xc6\xf8\x00"),
    U("\x0f\xff"),
    U("\x0f\xb9\xc0"),
    /* control */
    U("\xff\xe0"),
    U("\xff\xd0"),
    U("\xff\x20"),
    U("\xff\x10"),
    U("\x41\xff\x20"),
    U("\x43\xff\x24\x08"),
    U("\x43\xff\x14\x08"),
    U("\x41\xff\x27"),
    U("\x41\xff\x67\x10"),
    U("\x41\xff\xa7\x08\x01\x00\x00"),
    U("\x41\xff\x97\x28\x01\x00\x00"),
    U("\x41\xff\x62\x08"),
    U("\x41\xff\x52\x08"),
    U("\xeb\xfd"),
    U("\xe9\x00\x10\x00\x00"),
    U("\xe9\x01\x00\x00\x00"),
    U("\xe8\x00\x00\x10\x00"),
    U("\x0f\x84\x00\x00\x10\x00"),
    U("\x75\x7f"),
    U("\xe3\x7f"),
    U("\x67\xe3\x00"),
    U("\xe2\x00"),
    U("\xe0\x00"),
    U("\x66\xe9\x00\x00"),
    U("\x48\xc7\xc0\xff\xff\xff\xff\xff\xe0"),
    U("\x50"),
    U("\x58"),
    U("\x5c"),
    U("\x9c"),
    U("\x9c\x5c"),
    U("\x9c\x41\x5f"),
    U("\x9c\x41\x5e"),
    U("\x66\x9c"),
    U("\x6a\x00"),
    U("\x68\x00\x00\x00\x00"),
    U("\xff\x30"),
    U("\x8f\x00"),
    U("\xc9"),
    U("\xc8\x00\x00\x00"),
    U("\x4d\x89\xf8\xc3"),
    U("\x49\xb8\x00\x00\x00\x00\x01\x00\x00\x00\xc3"),
    /* reserved registers and upper halves */
    U("\x48\x89\xc4"),
    U("\x89\xc4"),
    U("\x66\x89\xc4"),
    U("\x48\x83\xec\x08"),
    U("\x48\x8d\x64\x24\x08"),
    U("\x49\x89\xc6"),
    U("\x49\x89\xc7"),
    U("\x41\x89\xc6"),
    U("\x41\x89\xc7"),
    U("\x49\xff\xc6"),
    U("\x49\xff\xc7"),
    U("\x4d\x31\xf6"),
    U("\x4d\x31\xff"),
    U("\x4d\x8d\x77\x08"),
    U("\x49\x87\xc7"),
    U("\x4d\x8b\x7f\x10"),
    U("\x41\xb6\x00"),
    U("\x41\xb7\x00"),
    U("\x41\x0f\x94\xc6"),
    U("\x4c\x89\xf8"),
    U("\x4c\x89\xf0"),
    U("\x48\x89\xe0"),
    U("\x44\x89\xf8"),
    U("\x48\xff\xc0"),
    U("\x48\xf7\xd0"),
    U("\x48\x0f\xc8"),
    U("\x48\x98"),
    U("\x48\x99"),
    U("\x48\xb8\x00\x00\x00\x00\x01\x00\x00\x00"),
    U("\x48\xc7\xc1\xff\xff\xff\xff"),
    U("\x48\x63\xc8"),
    U("\x48\xf7\xe0"),
    U("\x48\xc1\xe0\x20"),
    U("\x48\x0f\xaf\xc0"),
    U("\x49\xff\xc4"),
    U("\x4c\x0f\xbe\xe0"),
    U("\x48\x0f\x7e\xc0"),
    U("\x66\x48\x0f\x7e\xc0"),
    U("\xf3\x48\x0f\x2c\xc0"),
    U("\x48\x0f\x50\xc0"),
    U("\x66\x48\x0f\xd7\xc0"),
    /* memory */
    U("\x8b\x00"),
    U("\x89\x00"),
    U("\x41\x8b\x00"),
    U("\x41\x8b\x01"),
    U("\x41\x89\x01"),
    U("\x43\x89\x04\x08"),
    U("\x43\x01\x04\x08"),
    U("\x43\x8b\x44\x08\x04"),
    U("\x43\x8b\x44\x08\xfc"),
    U("\x43\x8b\x84\x08\x00\x10\x00\x00"),
    U("\x43\x8b\x04\x48"),
    U("\x43\x8b\x04\xc8"),
    U("\x42\x8b\x04\x08"),
    U("\x43\x8b\x04\x00"),
    U("\x43\x8b\x04\x09"),
    U("\x47\x8b\x04\x10"),
    U("\x4b\x8b\x04\x08"),
    U("\x43\x0f\x10\x04\x08"),
    U("\x43\x0f\x11\x04\x08"),
    U("\x43\xdd\x04\x08"),
    U("\x43\xdb\x2c\x08"),
    U("\x43\xdd\x1c\x08"),
    U("\x43\xd9\x34\x08"),
    U("\x43\xd9\x24\x08"),
    U("\x43\xdd\x34\x08"),
    U("\x43\x0f\xc7\x0c\x08"),
    U("\x4b\x0f\xc7\x0c\x08"),
    U("\x43\x0f\xa3\x04\x08"),
    U("\x43\x0f\xab\x04\x08"),
    U("\x43\x0f\xbb\x04\x08"),
    U("\x66\x43\x0f\xa3\x04\x08"),
    U("\x43\x0f\x6f\x04\x08"),
    U("\xf3\x43\x0f\x7e\x04\x08"),
    U("\xf2\x43\x0f\x10\x04\x08"),
    U("\x67\x43\x8b\x04\x08"),
    U("\x64\x43\x8b\x04\x08"),
    U("\x65\x43\x8b\x04\x08"),
    U("\x64\x8b\x04\x25\x28\x00\x00\x00"),
    U("\x65\x8b\x04\x25\x00\x00\x00\x00"),
    U("\x65\x67\x8b\x00"),
    U("\x65\x67\x89\x00"),
    U("\x65\x48\x8b\x00"),
    U("\x8b\x05\x00\x00\x00\x00"),
    U("\x89\x05\x00\x00\x00\x00"),
    U("\x8b\x04\x24"),
    U("\x89\x04\x24"),
    U("\x48\x89\x44\x24\xf8"),
    U("\x8b\x04\x25\x00\x00\x40\x00"),
    U("\xa1\x00\x00\x00\x00\x00\x00\x00\x00"),
    U("\xa3\x00\x00\x00\x00\x00\x00\x00\x00"),
    U("\x41\x89\x07"),
    U("\x41\x89\x47\x10"),
    U("\x41\x89\x47\x20"),
    U("\x41\xc6\x47\x2c\x02"),
    U("\x41\xc6\x47\x2d\x00"),
    U("\x41\xc6\x47\x2f\x01"),
    U("\x49\x89\x87\xe8\x00\x00\x00"),
    U("\x49\x89\x87\xf0\x00\x00\x00"),
    U("\x49\x89\x87\x00\x01\x00\x00"),
    U("\x49\x89\x87\x08\x01\x00\x00"),
    U("\x49\x89\x87\x28\x01\x00\x00"),
    U("\x49\x89\x87\x30\x01\x00\x00"),
    U("\x49\x8b\x87\xf0\x00\x00\x00"),
    U("\x41\x8b\x87\x00\x10\x00\x00"),
    U("\x41\x89\x47\x60"),
    U("\x41\x89\x47\x64"),
    U("\x43\x8b\x04\x07"),
    U("\x41\x8b\x06"),
    U("\x41\x89\x06"),
    U("\x4d\x8b\x8e\x00\x00\x80\xfe"),
    U("\x41\x89\x86\x00\x00\x80\xff"),
    U("\x4f\x89\x8c\xce\x00\x00\x00\xff"),
    U("\x4f\x8b\x8c\xce\x00\x00\x80\xfe"),
    U("\x41\x8b\x86\x00\x00\xc0\xff"),
    U("\x41\x8b\x86\x02\x00\x80\xff"),
    U("\xa4"),
    U("\xa5"),
    U("\x48\xa5"),
    U("\xaa"),
    U("\xab"),
    U("\xac"),
    U("\xae"),
    U("\xa6"),
    U("\xf3\xa4"),
    U("\xf3\xab"),
    U("\xf3\x48\xab"),
    U("\x4a\x8d\x3c\x0f\xaa"),
    U("\x4b\x8d\x3c\x08\xaa"),
    U("\x4b\x8d\x34\x08\xac\x90"),
    U("\x0f\xf7\xc1"),
    U("\x66\x0f\xf7\xc1"),
    U("\xd7"),
    U("\x43\x0f\x38\xf0\x04\x08"),
    U("\x43\x0f\x38\x00\x04\x08"),
    U("\x43\x0f\x3a\x0f\x04\x08\x00"),
    U("\xc5\xf8\x10\x00"),
    U("\xc4\xe2\x79\x92\x04\x08"),
    U("\x62\xf1\x7c\x48\x10\x00"),
    U("\xf0\x43\x01\x04\x08"),
    U("\xf3\x90\xf3\xa6"),
    U("\x43\x0f\x1f\x04\x08"),
    U("\x8d\xc0"),
    U("\x43\x8f\x04\x08"),
    U("\x43\xff\x34\x08"),
};

static void test_malicious(void **state)
{
    /* lea r8d,[rax]; mov r9d,r8d; shr r9d,12; mov r9,[r14+r9*8-RT]; test r9,r9; jz out; test r8b,3; jnz out
     */
    static const u8 look[] = {0x44, 0x8d, 0x00, 0x45, 0x89, 0xc1, 0x41, 0xc1, 0xe9, 0x0c, 0x4f, 0x8b, 0x8c,
                              0xce, 0x00, 0x00, 0x80, 0xfe, 0x4d, 0x85, 0xc9, 0x0f, 0x84, 0,    0,    0,
                              0,    0x41, 0xf6, 0xc0, 0x03, 0x0f, 0x85, 0,    0,    0,    0};
    static const u8 good[] = {0x43, 0x8b, 0x04, 0x08}; /* mov eax, [r8+r9] */
    static struct frag f;
    u32 tried = 0, accepted = 0;

    f.env = frags[0].env;
    f.u = (struct unit){.guest_len = 8, .n_insns = 1};
    for (u32 e = 0; e <= ARRAY_SIZE(evil); e++)
        for (u32 behind = 0; behind < 2; behind++) {
            u32 at = 0, out;
            /* last: a legal one, to show that the frame itself is accepted */
            const u8 *bytes = e < ARRAY_SIZE(evil) ? evil[e].bytes : good;
            u32 len = e < ARRAY_SIZE(evil) ? evil[e].len : sizeof(good);
            if (e == ARRAY_SIZE(evil) && !behind)
                continue;
            if (behind) {
                memcpy(f.code, look, sizeof(look));
                at = sizeof(look);
            }
            memcpy(f.code + at, bytes, len);
            at += len;
            out = at;
            memcpy(f.code + at, "\x41\xb8\x00\x51\x00\x00\x41\xff\xa7",
                   9); /* mov r8d, 5100h; jmp [TH_LOOKUP] */
            u32 slot = BT_OFF(BT_THUNK0 + TH_LOOKUP), rel = out - 27, rel2 = out - 37;
            memcpy(f.code + at + 9, &slot, 4);
            f.len = at + 13;
            if (behind) {
                memcpy(f.code + 23, &rel, 4);
                memcpy(f.code + 33, &rel2, 4);
            }
            bool ok = verify(&f, f.code);
            if (e == ARRAY_SIZE(evil)) {
                if (!ok)
                    fail_msg("the frame is refused: %s", verifier_why(vf));
                continue;
            }
            tried++;
            if (ok) {
                accepted++;
                print_message("accepted%s: case %u:", behind ? " behind a lookup" : "", e);
                for (u32 k = 0; k < len; k++)
                    print_message(" %02x", bytes[k]);
                print_message("\n");
            }
        }
    print_message("malicious by hand: %u tried, %u accepted\n", tried, accepted);
    assert_true(tried >= 200);
    assert_int_equal(accepted, 0);
}

/* What random mutations once got past the verifier, cut down. Each stands at the start of a guest
 * instruction. */
static void test_found(void **state)
{
    static const struct {
        const u8 *bytes;
        u32 len;
    } found[] = {
        /* add r12d, r8d was taken to clear the upper half of r8, too: lookup of r8 follows, byte load */
        U("\x45\x01\xc4\x45\x89\xc1\x41\xc1\xe9\x0c\x4f\x8b\x8c\xce\x00\x00\x80\xfe\x4d\x85\xc9\x74\x04\x43"
          "\x8a\x04\x08"),
    };
    static struct frag f;
    u32 slot = BT_OFF(BT_THUNK0 + TH_LOOKUP);

    f.env = frags[0].env;
    f.u = (struct unit){.guest_len = 8, .n_insns = 1};
    for (u32 n = 0; n < ARRAY_SIZE(found); n++) {
        memcpy(f.code, found[n].bytes, found[n].len);
        memcpy(f.code + found[n].len, "\x41\xb8\x00\x51\x00\x00\x41\xff\xa7", 9);
        memcpy(f.code + found[n].len + 9, &slot, 4);
        f.len = found[n].len + 13;
        assert_false(verify(&f, f.code));
    }
}

/* Damaged tables: pc map, links, kept instructions. */
static void test_tables(void **state)
{
    static struct frag f;
    u32 refused = 0, tried = 0;
    for (u32 i = 0; i < n_frags; i++) {
        for (u32 way = 0; way < 6; way++) {
            f = frags[i];
            u32 k = rnd() % f.u.n_insns;
            if (way == 0)
                f.u.pcmap[k].host += 1 + (rnd() & 1);
            else if (way == 1 && f.u.n_insns > 1)
                f.u.pcmap[f.u.n_insns - 1].guest = 0;
            else if (way == 2 && f.u.n_links)
                f.u.links[rnd() % f.u.n_links].patch += 1;
            else if (way == 3 && f.u.n_links)
                f.u.links[rnd() % f.u.n_links].stub += 1;
            else if (way == 4 && f.n_kept)
                f.kept[rnd() % f.n_kept] = NULL;
            else if (way == 5 && f.u.n_links)
                f.u.links[rnd() % f.u.n_links].target ^= 0x10000;
            else
                continue;
            /* an entry may happen to fall on another instruction's start: that is a legal map */
            bool ok = verify(&f, f.code);
            tried++;
            refused += !ok;
            if (ok && way != 0)
                fail_msg("unit %u: damage %u to the tables is accepted", i, way);
        }
    }
    print_message("damaged tables: %u tried, %u refused\n", tried, refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_originals), cmocka_unit_test(test_oracle), cmocka_unit_test(test_random),
        cmocka_unit_test(test_malicious), cmocka_unit_test(test_found),  cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests(tests, oracle_setup, NULL);
}
