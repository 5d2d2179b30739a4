/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs one case everywhere and compares: the real CPU, the interpreter, and the translator in one
 * configuration or in all. Registers, flags, selectors, x87/MMX/SSE state, the fault with its error code and
 * cr2, where execution went on, and every byte of the region.
 *
 * What is not compared is in slack_for(), each line with its reason.
 */
#include <stdio.h>
#include <string.h>
#include <Zydis/Zydis.h>
#include "base/opts.h"
#include "cpu/fpu.h"
#include "insn.h"

static const struct config {
    const char *name;
    u8 engine;
    u64 off; /* optimisations that are off */
} configs[] = {
    {"table", ENG_TABLE, 0},
    {"window", ENG_WINDOW, 0},
    {"table, --no-opt=flags", ENG_TABLE, OPT(flags)},
    {"table, --no-opt=all", ENG_TABLE_APART, OPT_ALL},
    {"window, --no-opt=flags", ENG_WINDOW, OPT(flags)},
    {"window, all others off", ENG_WINDOW_APART, OPT_ALL & ~OPT(window)},
    {"table, --no-opt=chain", ENG_TABLE_APART, OPT(chain)},
    {"table, --no-opt=xpage", ENG_TABLE_APART, OPT(xpage)},
    {"table, --no-opt=ibtc", ENG_TABLE, OPT(ibtc)},
    {"table, --no-opt=ras", ENG_TABLE, OPT(ras)},
    {"table, --no-opt=superblock", ENG_TABLE, OPT(superblock)},
    {"table, --no-opt=inline_sens", ENG_TABLE, OPT(inline_sens)},
    {"table, --no-opt=string", ENG_TABLE, OPT(string)},
    {"table, --no-opt=icache", ENG_TABLE, OPT(icache)},
    {"table, --no-opt=largefill", ENG_TABLE, OPT(largefill)},
    {"table, --no-opt=window", ENG_TABLE, OPT(window)},
    {"table, --no-opt=keepspaces", ENG_TABLE, OPT(keepspaces)},
    {"verified", ENG_VERIFY, 0},
};
#define N_CONFIGS ARRAY_SIZE(configs)

const char *config_name(u32 cfg)
{
    return configs[cfg].name;
}

/* The configuration of generated case n: the common ones more often. The verified one costs 50 us. */
static u32 pick_config(u64 n)
{
    u32 k = (u32)(n * 0x9e3779b97f4a7c15ull >> 40);

    if (k % 256 == 255)
        return N_CONFIGS - 1;
    return k & 3 ? (k >> 8) % 6 : (k >> 8) % (N_CONFIGS - 1);
}

static bool lock_bad(const struct insn *in)
{
    return (in->pfx & PFX_LOCK) && in->fn == insn_ud;
}

static void env_slack(struct slack *s, u32 lin, u32 opsize)
{
    /* fnstenv, fnsave: FIP, FCS, FOP, FDP, FDS are the host's own instruction's (docs/fidelity.md) */
    s->mem_lin[0] = lin + (opsize == 2 ? 6 : 12);
    s->mem_len[0] = opsize == 2 ? 8 : 16;
    s->why = "x87 instruction and data pointers";
}

static void put_image(void *opaque, u32 lin, const u8 *b, u32 len)
{
    memcpy((u8 *)opaque + (lin - BASE), b, len);
}

/* A byte of memory before the case. */
static u8 byte_before(const struct icase *c, u32 lin)
{
    for (u32 k = c->n_patch; k-- > 0;)
        if (lin - c->patch[k].lin < c->patch[k].len)
            return c->patch[k].b[lin - c->patch[k].lin];
    if (lin - BASE >= REGION)
        return 0;
    if (page_kind[(lin - BASE) >> PAGE_SHIFT] == PK_RX) { /* code, exits */
        static u8 img[REGION];
        memset(img + PAGE_SIZE * 14, 0xcc, 2 * PAGE_SIZE);
        build_exit_page(img + EXIT_PAGE * PAGE_SIZE);
        case_lay_out(c, put_image, img);
        return img[lin - BASE];
    }
    return base_byte(lin - BASE);
}

/* The n bytes below the stack pointer: their linear address. */
static u32 below_stack(const struct icase *c, u32 n)
{
    struct seg ss;
    u32 sp = c->gpr[R_ESP] - n;

    segment_reg(c->sel[S_SS], &ss);
    return ss.base + (ss.attr & SA_DB ? sp : sp & 0xffff);
}

/* push or pop of a segment register with 32-bit operand size, of whose four bytes some CPUs access two? */
static bool seg_on_stack(const struct insn *in)
{
    u32 op = in->opcode;

    if (in->opsize != 4)
        return false;
    return in->map == 0 ? op == 0x06 || op == 0x0e || op == 0x16 || op == 0x1e || op == 0x07 || op == 0x17 ||
                              op == 0x1f
                        : in->map == 1 && (op == 0xa0 || op == 0xa1 || op == 0xa8 || op == 0xa9);
}

/* ret far and iret, of whose selector of 32 bits Intel's read 16? */
static bool far_return(const struct insn *in)
{
    return in->map == 0 && (in->opcode == 0xca || in->opcode == 0xcb || in->opcode == 0xcf);
}

/* Does the instruction take a selector from memory that is one of the GDT? lin: of the ModRM operand. */
static bool uses_gdt(const struct icase *c, const struct insn *in, u32 lin)
{
    struct seg ss;

    segment_reg(c->sel[S_SS], &ss);
    u32 top = ss.base + (ss.attr & SA_DB ? c->gpr[R_ESP] : c->gpr[R_ESP] & 0xffff);
    switch (in->map << 8 | in->opcode) {
    case 0x8e:
    case 0x102:
    case 0x103:
    case 0x100:
        if (!in->has_mem)
            return false;
        break;
    case 0xc4: /* les and its like; far calls and jumps */
    case 0xc5:
    case 0x1b2:
    case 0x1b4:
    case 0x1b5:
        lin += in->opsize;
        break;
    case 0xff:
        if (in->reg != 3 && in->reg != 5)
            return false;
        lin += in->opsize;
        break;
    case 0x07:
    case 0x17:
    case 0x1f:
    case 0x1a1:
    case 0x1a9:
        lin = top;
        break;
    case 0xca:
    case 0xcb:
    case 0xcf:
        lin = top + in->opsize;
        break;
    default:
        return false;
    }
    u32 sel = byte_before(c, lin) | (u32)byte_before(c, lin + 1) << 8;
    return sel > 3 && !(sel & 4);
}

void slack_for(const struct icase *c, const struct insn *in, struct slack *s)
{
    memset(s, 0, sizeof(*s));
    s->flags = undefined_flags(in, c);
    if (lock_bad(in)) {
        if (in->map == 1 && in->opcode <= 0x22) {
            s->no_native = true;
            s->why = "lock: AMD's mov cr8, and #UD after other faults of 0F 00 (SDM: #UD)";
        }
        return;
    }
    u32 ea = (u32)in->disp;
    if (in->base != NOREG)
        ea += c->gpr[in->base];
    if (in->index != NOREG)
        ea += c->gpr[in->index] * in->scale;
    if (in->adsize == 2)
        ea &= 0xffff;
    struct seg sg = {0};
    segment_reg(c->sel[in->seg < 6 ? in->seg : S_DS], &sg);
    u32 lin = sg.base + ea;

    if (in->has_mem && in->adsize == 2 && in->fpu == 1 && in->memsize > 8 && ea + in->memsize > 0x10000) {
        s->no_native = true;
        s->why = "a long x87 operand beyond 16-bit addresses: wraps part by part, or #GP";
    }
    if (uses_gdt(c, in, lin)) {
        s->no_native = true;
        s->why = "a selector of the GDT: the host's own";
    }
    if ((in->mnemonic == ZYDIS_MNEMONIC_LDMXCSR && (byte_before(c, lin + 2) & 2)) ||
        (in->mnemonic == ZYDIS_MNEMONIC_FXRSTOR && (byte_before(c, lin + 26) & 2))) {
        s->no_native = true;
        s->why = "MXCSR bit 17: AMD's MM, reserved on the guest's CPU";
    }
    if (in->has_mem && in->fpu == 1 && in->memsize == 10 && (in->fpu_attr & FPA_STORE)) {
        s->mem_lin[0] = lin;
        s->mem_len[0] = 10;
        s->only_faults = true;
        s->cpu_only = (lin & PAGE_MASK) <= PAGE_SIZE - 10; /* else translated code's as well */
        s->why = "an 80-bit store that faults: its first part";
    }
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
        env_slack(s, lin, in->opsize);
        break;
    case ZYDIS_MNEMONIC_FXSAVE:
        /* FOP, FIP, FCS, FDP, FDS; MXCSR_MASK names the host's bits; reserved and software-available bytes
         * are left alone by some CPUs and cleared by others (SDM vol. 1, 10.5.1) */
        s->mem_lin[0] = lin + 6;
        s->mem_len[0] = 18;
        s->mem_lin[1] = lin + 28;
        s->mem_len[1] = 4;
        s->mem_lin[2] = lin + 288;
        s->mem_len[2] = 224;
        s->why = "x87 pointers, MXCSR_MASK, reserved bytes";
        break;
    case ZYDIS_MNEMONIC_CALL: /* pushed before a bad target is found, by some CPUs */
        if (in->opcode == 0x9a || in->reg == 3) {
            s->mem_len[0] = 2u * in->opsize;
            s->mem_lin[0] = below_stack(c, s->mem_len[0]);
            s->only_faults = true;
            s->why = "far call that faults: below the stack pointer";
        } else {
            s->mem_len[0] = in->opsize;
            s->mem_lin[0] = below_stack(c, in->opsize);
            s->only_faults = s->cpu_only = true;
            s->why = "near call that faults: below the stack pointer";
        }
        break;
    case ZYDIS_MNEMONIC_PUSH: /* SDM vol. 2, PUSH: zero-extended (AMD), or 16 bits written (Intel) */
        if (seg_on_stack(in)) {
            s->mem_len[0] = 2;
            s->mem_lin[0] = below_stack(c, 2);
            s->cpu_only = true;
            s->why = "a segment register pushed as 32 bits: the upper half";
        }
        break;
    case ZYDIS_MNEMONIC_PUSHA:
    case ZYDIS_MNEMONIC_PUSHAD:
    case ZYDIS_MNEMONIC_ENTER: /* several pushes */
        s->mem_len[0] = in->mnemonic == ZYDIS_MNEMONIC_ENTER ? 33 * 4 : 8 * in->opsize;
        s->mem_lin[0] = below_stack(c, 0) - s->mem_len[0];
        s->only_faults = true;
        s->why = "pusha, enter that fault half-way: below the stack pointer";
        break;
    case ZYDIS_MNEMONIC_CPUID:
        s->no_native = true;
        s->why = "cpuid: the model's values, not the host's";
        break;
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDPMC:
        s->no_native = true;
        s->why = "rdtsc, rdpmc: time stamps and counters are the host's";
        break;
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
        s->no_native = true;
        s->why = "sgdt, sidt, sldt, str, smsw: the host's tables, or UMIP";
        break;
    case ZYDIS_MNEMONIC_SYSENTER:
        s->no_native = true;
        s->why = "sysenter: the host's system calls";
        break;
    case ZYDIS_MNEMONIC_INT:
        if (in->imm == 0x80) {
            s->no_native = true;
            s->why = "int 80h: the host's system calls";
        }
        break;
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
        if (in->pfx & PFX_REP) {
            s->no_native = true;
            s->why = "F3 bsf, bsr: tzcnt, lzcnt on hosts with BMI";
        }
        break;
    default:
        break;
    }
}

static char why[200];

static const char *compare(const struct outcome *a, const struct outcome *b, u32 flags_slack)
{
    static const u32 compared =
        FL_ARITH | FL_DF | FL_IF | FL_IOPL | FL_NT | FL_AC | FL_ID | FL_TF | FL_VM | FL_VIF | FL_VIP;

    if (a->vector != b->vector || a->error != b->error || a->cr2 != b->cr2) {
        snprintf(why, sizeof(why), "fault %d(%x)@%08x, expected %d(%x)@%08x", (i8)b->vector, b->error, b->cr2,
                 (i8)a->vector, a->error, a->cr2);
        return why;
    }
    if (a->lin != b->lin) {
        snprintf(why, sizeof(why), "goes on at %08x, expected %08x", b->lin, a->lin);
        return why;
    }
    if (a->system != b->system)
        return "control registers, descriptor tables or MSRs differ";
    for (int r = 0; r < 8; r++)
        if (a->gpr[r] != b->gpr[r]) {
            snprintf(why, sizeof(why), "register %d %08x, expected %08x", r, b->gpr[r], a->gpr[r]);
            return why;
        }
    if ((a->flags ^ b->flags) & compared & ~flags_slack) {
        snprintf(why, sizeof(why), "flags %06x, expected %06x", b->flags & compared, a->flags & compared);
        return why;
    }
    for (int s = 0; s < 6; s++)
        if (a->sel[s] != b->sel[s] && (a->sel[s] > 3 || b->sel[s] > 3) &&
            !(s == S_CS && (a->cs_unknown || b->cs_unknown))) {
            snprintf(why, sizeof(why), "selector %d %04x, expected %04x", s, b->sel[s], a->sel[s]);
            return why;
        }
    if (a->fp.fcw != b->fp.fcw || a->fp.fsw != b->fp.fsw || a->fp.tags != b->fp.tags ||
        a->fp.mxcsr != b->fp.mxcsr) {
        snprintf(why, sizeof(why), "fcw %04x fsw %04x tags %02x mxcsr %04x, expected %04x %04x %02x %04x",
                 b->fp.fcw, b->fp.fsw, b->fp.tags, b->fp.mxcsr, a->fp.fcw, a->fp.fsw, a->fp.tags,
                 a->fp.mxcsr);
        return why;
    }
    for (int n = 0; n < 8; n++) {
        if (memcmp(a->fp.st[n], b->fp.st[n], 10)) {
            snprintf(why, sizeof(why), "st%d differs", n);
            return why;
        }
        if (memcmp(a->fp.xmm[n], b->fp.xmm[n], 16)) {
            snprintf(why, sizeof(why), "xmm%d differs", n);
            return why;
        }
    }
    return NULL;
}

static u8 clean[REGION]; /* what the region holds between cases */

/* The pages that differ from what they held before: most cases change none or one. */
static u32 changed_pages(const u8 *ram)
{
    u32 mask = 0;

    for (u32 p = 0; p < REGION_PAGES; p++)
        if (page_kind[p] == PK_RW && memcmp(ram + p * PAGE_SIZE, clean + p * PAGE_SIZE, PAGE_SIZE))
            mask |= 1u << p;
    return mask;
}

static const char *compare_ram(const u8 *a, const u8 *b, u32 pages)
{
    for (u32 p = 0; p < REGION_PAGES; p++) {
        if (!(pages >> p & 1) || !memcmp(a + p * PAGE_SIZE, b + p * PAGE_SIZE, PAGE_SIZE))
            continue;
        for (u32 n = p * PAGE_SIZE; n < (p + 1) * PAGE_SIZE; n++)
            if (a[n] != b[n]) {
                snprintf(why, sizeof(why), "memory %08x %02x, expected %02x", BASE + n, b[n], a[n]);
                return why;
            }
    }
    return NULL;
}

/* Renames a's registers, whose TOP is 0, for b's TOP. */
static void rotate_st(struct fpstate *a, const struct fpstate *b)
{
    u32 top = b->fsw >> 11 & 7;
    struct fpstate t = *a;

    for (u32 n = 0; n < 8; n++)
        memcpy(a->st[n], t.st[(n + top) & 7], 10);
}

static void set_slack(u8 *ram, const struct slack *s, const u8 *from)
{
    for (u32 k = 0; k < 4; k++)
        for (u32 n = 0; n < s->mem_len[k]; n++) {
            u32 off = s->mem_lin[k] + n - BASE;
            if (off < REGION && page_kind[off >> PAGE_SHIFT] == PK_RW)
                ram[off] = from ? from[off] : 0;
        }
}

/* Takes away what nobody's memory need be like after a case. */
static void blank(u8 *ram, const struct slack *s, const struct outcome *o)
{
    if (!s->cpu_only && !(s->only_faults && o->vector == VEC_NONE))
        set_slack(ram, s, NULL);
}

/* Where only the CPU's memory may be different: makes it the interpreter's. */
static void explain_ram(const struct icase *c, const struct slack *s, const struct outcome *n, const u8 *iram)
{
    if (s->cpu_only && !(s->only_faults && (n->vector == VEC_NONE || n->lin != c->lin)))
        set_slack(native_ram, s, iram);
}

static void restore(u8 *ram, u32 pages)
{
    for (u32 p = 0; p < REGION_PAGES; p++)
        if (pages >> p & 1)
            memcpy(ram + p * PAGE_SIZE, clean + p * PAGE_SIZE, PAGE_SIZE);
}

/* Did a string instruction fault at its source operand? By cr2, for a page fault; segments' faults do not
 * say. */
static bool faults_at_source(const struct icase *c, const struct insn *in, const struct outcome *o)
{
    struct seg sg = {0};

    if (o->vector == EXC_SS || o->vector == EXC_GP)
        return true;
    segment_reg(c->sel[in->seg < 6 ? in->seg : S_DS], &sg);
    return o->vector == EXC_PF &&
           o->cr2 - (sg.base + (in->adsize == 2 ? o->gpr[R_ESI] & 0xffff : o->gpr[R_ESI])) < in->opsize;
}

static bool is_jcc(const struct insn *in)
{
    return in->map == 0 ? in->opcode >> 4 == 0x7 || (in->opcode >= 0xe0 && in->opcode <= 0xe3)
                        : in->map == 1 && in->opcode >> 4 == 0x8;
}

/* Does no other instruction follow before the code segment's limit? */
static bool ends_its_segment(const struct icase *c, const struct insn *in)
{
    struct seg cs;

    segment_reg(c->sel[S_CS], &cs);
    return c->lin - cs.base + in->len > cs.limit;
}

/* Where the manual leaves the order of things open and this CPU and the interpreter choose differently: makes
 * the CPU's outcome the interpreter's. */
static void explain(const struct icase *c, const struct insn *in, struct outcome *n, const struct outcome *i)
{
    bool image = in->fpu == 1 && in->memsize > 8; /* environments, states, 80-bit operands: moved in parts */

    /* a return to another RPL: some CPUs read the outer stack pointer before they find that it is no outer
     * RPL */
    if (far_return(in) && (n->vector == EXC_PF || n->vector == EXC_SS) && i->vector == EXC_GP)
        n->vector = i->vector, n->error = i->error, n->cr2 = 0;
    /* which part of a long image is touched first; whether the limit is checked for all of it before */
    if (image && n->vector != VEC_NONE && i->vector != VEC_NONE && n->vector >= EXC_SS &&
        n->vector <= EXC_AC && i->vector >= EXC_SS && i->vector <= EXC_AC)
        n->vector = i->vector, n->error = i->error, n->cr2 = i->cr2;
    /* a call's return address is pushed before its target is found beyond the limit; the manual has it the
     * other way */
    if (in->mnemonic == ZYDIS_MNEMONIC_CALL && i->vector == EXC_GP &&
        (n->vector == EXC_PF || n->vector == EXC_SS))
        n->vector = i->vector, n->error = i->error, n->cr2 = 0;
    /* maskmov looks at byte after byte; maskmovdqu of Intel's at the upper eight first */
    if (in->map == 1 && in->opcode == 0xf7 && n->vector == EXC_PF &&
        (i->vector == EXC_GP || i->vector == EXC_SS))
        n->vector = i->vector, n->error = 0, n->cr2 = 0;
    if (in->map == 1 && in->opcode == 0xf7 && n->vector == EXC_PF && i->vector == EXC_PF &&
        n->cr2 - i->cr2 < 16)
        n->cr2 = i->cr2, n->error = i->error;
    /* bound: some CPUs compare with the lower bound before they read the upper one */
    if (in->mnemonic == ZYDIS_MNEMONIC_BOUND && n->vector == EXC_BR && i->vector >= EXC_SS &&
        i->vector <= EXC_AC)
        n->vector = i->vector, n->error = i->error, n->cr2 = i->cr2;
    /* an operand that wraps at 4 GiB: beyond the limit (AMD), or in the last page and the first (SDM vol. 3,
     * 6.3) */
    if ((i->vector == EXC_GP || i->vector == EXC_SS) && !i->error && n->vector == EXC_PF &&
        n->cr2 > 0xfffffff0u)
        n->vector = i->vector, n->error = 0, n->cr2 = 0;
    /* #AC against what else is wrong with the access */
    if ((c->flags & FL_AC) && n->vector == EXC_AC && i->vector != VEC_NONE)
        n->vector = i->vector, n->error = i->error, n->cr2 = i->cr2;
    /* lar: limit bits 19:16 are undefined (SDM vol. 2, LAR) */
    if (in->mnemonic == ZYDIS_MNEMONIC_LAR && in->opsize == 4)
        n->gpr[in->reg] = (n->gpr[in->reg] & ~0xf0000u) | (i->gpr[in->reg] & 0xf0000);
    /* popa stops half-way */
    if (in->map == 0 && in->opcode == 0x61 && n->vector != VEC_NONE && n->vector == i->vector)
        memcpy(n->gpr, i->gpr, sizeof(n->gpr));
    /* cmps: this CPU reads the source first (Zen 5), others the destination (Zen 3, and the interpreter) */
    if (in->map == 0 && (in->opcode == 0xa6 || in->opcode == 0xa7) && faults_at_source(c, in, n) &&
        i->vector >= EXC_SS && i->vector <= EXC_AC)
        n->vector = i->vector, n->error = i->error, n->cr2 = i->cr2;
    /* a conditional jump that is taken, the last instruction within its segment: a Zen 5 may find the one
     * behind it beyond the limit, depending on what it predicted (one in twenty million cases) */
    if (is_jcc(in) && n->vector == EXC_GP && !n->error && ends_its_segment(c, in))
        *n = *i;
    /* int1: hypervisors that intercept #DB may leave eip at the instruction */
    if (in->map == 0 && in->opcode == 0xf1 && n->vector == EXC_DB && n->lin == c->lin)
        n->lin = i->lin;
    /* TF from an unprepared stack: the host stops in the exit, where the guest is gone already */
    if (in->map == 0 && (in->opcode == 0x9d || in->opcode == 0xcf) && n->vector == EXC_DB)
        *n = *i;
}

/* Did the CPU go on where others and the interpreter fault, as the manual lets it? */
static bool went_on(const struct insn *in, const struct outcome *n, const struct outcome *i)
{
    if (i->vector == VEC_NONE || (i->vector == n->vector && i->error == n->error && i->cr2 == n->cr2))
        return false;
    /* only two of four bytes are accessed; behind a far return the CPU may meet another fault */
    if ((seg_on_stack(in) || far_return(in)) &&
        (i->vector == EXC_PF || i->vector == EXC_SS || i->vector == EXC_AC))
        return true;
    /* #AC of unaligned 16-byte accesses: SDM vol. 2, MOVUPS ("may or may not be generated") */
    return i->vector == EXC_AC && (in->fpu_attr & FPA_XMM) && !(in->fpu_attr & FPA_ALIGN) &&
           in->memsize == 16;
}

static bool insn_is_repcc(const struct insn *i)
{
    return i->map == 0 && (i->pfx & (PFX_REP | PFX_REPNE)) &&
           (i->opcode == 0xa6 || i->opcode == 0xa7 || i->opcode == 0xae || i->opcode == 0xaf);
}

bool rig_init(struct rig *r, bool native)
{
    memset(r, 0, sizeof(*r));
    for (u32 n = 0; n < REGION; n++)
        clean[n] = base_byte(n);
    if (native)
        native_reserve(); /* native_init() says that it could not */
    for (int k = 0; k < ENG_COUNT; k++)
        if (!(r->eng[k] = engine_create((enum engine_kind)k)))
            return false;
    r->native = native && native_init();
    return true;
}

static void copy_writable(u8 *to, const u8 *from)
{
    for (u32 p = 0; p < REGION_PAGES; p++)
        if (page_kind[p] == PK_RW)
            memcpy(to + p * PAGE_SIZE, from + p * PAGE_SIZE, PAGE_SIZE);
}

static void run_native(struct rig *r, const struct icase *c, const struct slack *sl, struct outcome *n)
{
    native_run(c, n);
    blank(native_ram, sl, n);
    r->runs_native++;
}

/* The interpreter's outcome i, with its memory and which pages of it changed, against the CPU's, of which n
 * becomes what the interpreter may be compared with, and whose memory is as between cases afterwards. */
static const char *against_cpu(const struct icase *c, const struct insn *in, const struct slack *sl,
                               struct outcome *n, const struct outcome *i, const u8 *iram, u32 ipages)
{
    const char *bad;
    u32 flags = sl->flags, pages = changed_pages(native_ram);

    n->system = i->system;
    explain(c, in, n, i);
    /* a misaligned SSE operand's #GP and the stack segment's limit (#SS): SDM vol. 2 orders them not */
    if ((in->fpu_attr & FPA_ALIGN) && i->vector == EXC_SS && n->vector == EXC_GP && !n->error && !i->error)
        n->vector = EXC_SS;
    /* an MMX instruction that faults may have left the x87 in MMX mode already: it will be started again */
    if ((in->fpu_attr & FPA_MMX) && i->vector != VEC_NONE && n->fp.tags == 0xff && !(n->fp.fsw & 0x3800)) {
        n->fp.tags = i->fp.tags;
        rotate_st(&n->fp, &i->fp);
        n->fp.fsw = (u16)((n->fp.fsw & ~0x3800) | (i->fp.fsw & 0x3800));
    }
    /* rep cmps, scas that fault: the manual restores the flags (SDM vol. 2, REP), this CPU does not */
    if (n->vector != VEC_NONE && (insn_is_repcc(in) || n->lin != c->lin)) /* or: others ran behind it */
        flags |= FL_ARITH;
    if (went_on(in, n, i)) {
        *n = *i;
        bad = NULL;
    } else {
        bad = compare(n, i, flags);
        if (!bad)
            bad = compare_ram(native_ram, iram, pages | ipages);
    }
    restore(native_ram, pages);
    return bad;
}

/* A jump to itself, which goes on for ever everywhere: there is no outcome to compare. */
static bool endless(const struct icase *c, const struct insn *in, const struct outcome *o)
{
    bool jump = in->map == 1 ? (in->opcode & 0xf0) == 0x80
                             : (in->opcode & 0xf0) == 0x70 || in->opcode == 0xe9 || in->opcode == 0xeb ||
                                   (in->opcode == 0xff && in->reg == 4);

    return in->map <= 1 && jump && o->vector == VEC_SYS && o->error == NO_END && o->lin == c->lin;
}

const char *rig_check(struct rig *r, const struct icase *c, const struct insn *in, bool all, u64 n, int level,
                      struct outcome *ref, u8 *ref_ram)
{
    static char msg[300];
    struct outcome ni, ii, bi;
    struct slack sl;
    const char *bad = NULL;
    bool native;
    u32 ipages;
    u8 *iram = (u8 *)engine_ram(r->eng[ENG_INTERP], 0);

    slack_for(c, in, &sl);
    native = r->native && level == AT_USER && !sl.no_native;
    engine_run(r->eng[ENG_INTERP], c, OPT_ALL, level, &ii);
    *ref = ii;
    if (endless(c, in, &ii)) {
        if (ref_ram)
            copy_writable(ref_ram, iram);
        restore(iram, changed_pages(iram));
        return NULL;
    }
    if (native)
        run_native(r, c, &sl, &ni);
    blank(iram, &sl, &ii);
    r->runs_engine++;
    if (native)
        explain_ram(c, &sl, &ni, iram);
    ipages = changed_pages(iram);
    if (native)
        *ref = ni;
    if (ref_ram)
        copy_writable(ref_ram, native ? native_ram : iram);
    if (native) {
        bad = against_cpu(c, in, &sl, &ni, &ii, iram, ipages);
        ref->vector = ni.vector, ref->error = ni.error, ref->cr2 = ni.cr2, ref->lin = ni.lin;
        if (bad)
            snprintf(msg, sizeof(msg), "interpreter against the CPU: %s", bad);
        else
            ref->sel[S_CS] = ii.sel[S_CS];
    }
    for (u32 k = all ? 0 : pick_config(n); !bad && k < N_CONFIGS; k++) {
        const struct config *cf = &configs[k];
        struct engine *e = r->eng[cf->engine];
        u8 *bram = (u8 *)engine_ram(e, 0);
        u32 slack = sl.flags;

        engine_run(e, c, OPT_ALL & ~cf->off, level, &bi);
        blank(bram, &sl, &bi);
        r->runs_engine++;
        if (!(cf->off & OPT(flags)) && ii.vector != VEC_NONE) /* flags that die here (docs/fidelity.md) */
            slack |= ii.lin == c->lin ? in->fl_write & FL_ARITH : FL_ARITH;
        u32 pages = changed_pages(bram);
        bad = compare(&ii, &bi, slack);
        if (!bad)
            bad = compare_ram(iram, bram, pages | ipages);
        if (bad)
            snprintf(msg, sizeof(msg), "translator (%s) against the interpreter: %s", cf->name, bad);
        restore(bram, pages);
        if (!all)
            break;
    }
    restore(iram, ipages);
    return bad ? msg : NULL;
}

static char shrink_kind; /* first letter of the message: who failed */

/* Tries a simpler case; keeps it if it fails still. */
static bool try_case(struct rig *r, struct icase *c, const struct icase *t, const struct insn *in, int level)
{
    struct outcome o;
    const char *bad;

    if (!memcmp(c, t, sizeof(*c)) || !(bad = rig_check(r, t, in, true, 0, level, &o, NULL)) ||
        *bad != shrink_kind)
        return false;
    *c = *t;
    return true;
}

void rig_shrink(struct rig *r, struct icase *c, const struct insn *in, int level)
{
    struct icase d, t;

    struct outcome o;
    const char *bad = rig_check(r, c, in, true, 0, level, &o, NULL);

    if (!bad)
        return;
    shrink_kind = *bad;
    case_default(&d);
    t = *c;
    t.fp = d.fp;
    try_case(r, c, &t, in, level);
    for (int k = 0; k < 8; k++) {
        t = *c;
        memset(t.fp.xmm[k], 0, 16);
        try_case(r, c, &t, in, level);
        t = *c;
        memset(t.fp.st[k], 0, 10);
        try_case(r, c, &t, in, level);
        t = *c;
        t.gpr[k] = d.gpr[k];
        if (!try_case(r, c, &t, in, level)) {
            t.gpr[k] = c->gpr[k] & 0xff;
            try_case(r, c, &t, in, level);
        }
    }
    t = *c;
    t.fp.mxcsr = d.fp.mxcsr;
    try_case(r, c, &t, in, level);
    t = *c;
    t.fp.fcw = d.fp.fcw;
    try_case(r, c, &t, in, level);
    for (u32 b = 1; b <= FL_ID; b <<= 1) {
        t = *c;
        t.flags = (t.flags & ~b) | (d.flags & b);
        try_case(r, c, &t, in, level);
    }
    for (int s = 0; s < 6; s++) {
        t = *c;
        t.sel[s] = d.sel[s];
        if (s != S_CS)
            try_case(r, c, &t, in, level);
    }
    for (u32 k = 0; k < c->n_patch;) {
        t = *c;
        memmove(&t.patch[k], &t.patch[k + 1], (MAX_PATCH - k - 1) * sizeof(t.patch[0]));
        memset(&t.patch[MAX_PATCH - 1], 0, sizeof(t.patch[0]));
        t.n_patch--;
        if (!try_case(r, c, &t, in, level))
            k++;
    }
}
