/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One unit, from bytes to host code: decode, classify, liveness, emit. Read this file first.
 *
 *  1. decode up to UNIT_MAX_INSNS instructions, ending at the page's end, at an unconditional transfer (but
 *     for jumps to further down in the page), or before an instruction that needs the next page;
 *  2. classify each (classify.c) and find jumps that stay inside the unit;
 *  3. compute which arithmetic flags are live before each instruction;
 *  4. emit each instruction's action, recording where its host code starts (the pc map);
 *  5. emit the exit for falling off the end, then the out-of-line stubs.
 */
#include <cpuid.h>
#include <Zydis/Zydis.h>
#include "translator/xl.h"

#define TRAP_MAX  16 /* bytes that a call jumps over if nobody returns behind it; */
#define TRAP_LOOK 3  /* so many tell */

/* Direct jumps, whose targets may be in the unit. */
#define BRANCHES (ACTS(JCC) | ACTS(JMP) | ACTS(LOOP) | ACTS(JCXZ))
/* Copied, so that none of them may be sensitive. */
#define COPIES (ACTS(COPY) | ACTS(ADD_ESP) | ACTS(DIV))
/* Behind them flags are as struct insn says. What is left leaves the unit, or is executed by the interpreter,
 * and all flags are live before it. */
#define IN_LINE                                                                                              \
    (COPIES | ACTS(INCDEC) | ACTS(PUSH_R) | ACTS(POP_R) | ACTS(PUSH_I) | ACTS(PUSH_M) | ACTS(POP_M) |        \
     ACTS(XCHG_A) | ACTS(MOFFS) | ACTS(LEA) | ACTS(MOV_RI) | ACTS(BSWAP) | ACTS(LEAVE) | ACTS(NOP) |         \
     ACTS(BITS) | ACTS(CLI) | ACTS(STI) | ACTS(MOV_FROM_SREG) | ACTS(PUSH_SREG) | ACTS(MOV_TO_SREG) |        \
     ACTS(POP_SREG) | ACTS(VERW) | ACTS(RDTSC) | ACTS(POPF) | ACTS(FROM_CR) | ACTS(TO_CR) | ACTS(IN) |       \
     ACTS(INVLPG) | ACTS(FXSTATE) | ACTS(STRING) | ACTS(REP_STRING) | ACTS(CALL_OVER))

/* The actions that a unit ends with. */
static u64 unit_ends(const struct unit_env *env)
{
    u64 ends = ACTS(JMP) | ACTS(CALL_OVER) | ACTS(JMP_IND) | ACTS(RET) | ACTS(CLTS) | ACTS(CR3) | ACTS(SYS) |
               ACTS(EXEC_END);

    if (!call_goes_on(env, ACT_CALL))
        ends |= ACTS(CALL);
    if (!call_goes_on(env, ACT_CALL_IND))
        ends |= ACTS(CALL_IND);
    if (!(env->opts & OPT(superblock)))
        ends |= BRANCHES;
    return ends;
}

static int decode(const struct unit_env *env, const u8 *bytes, u32 avail, struct insn *i)
{
    bool cs32 = env->mode & MODE_CS32;

    return likely(env->memo) ? insn_memo_decode(env->memo, bytes, avail, cs32, i)
                             : insn_decode(env->model, bytes, avail, cs32, i);
}

/* Whether the unit goes on where instruction n, a jump, leads: further down in the page, so that offsets only
 * grow. What lies between counts as its own: a write there ends it, too. */
static bool jump_goes_on(const struct xl *x, u32 n, u32 off, u32 end)
{
    const u64 need = OPT(jumpthrough) | OPT(superblock) | OPT(chain);
    u32 to;

    if ((x->env->opts & need) != need || !(x->env->mode & MODE_FLATCS) || x->u->crosses ||
        x->u->insns[n].opsize != 4)
        return false;
    to = unit_branch_target(x, n) - x->env->eip;
    return to >= off && to < end;
}

/*
 * Whether nobody returns behind instruction n, a call: it leads a little further down, over an instruction
 * that stops speculation. So do retpolines (Turner: Retpoline, 2018) and code that fills the processor's
 * return stack when the task changes (Linux: asm/nospec-branch.h).
 */
static bool calls_over(const struct xl *x, u32 n, u32 off, u32 end)
{
    const u8 *b = x->env->bytes + off;
    u32 over = unit_branch_target(x, n) - x->env->eip - off;

    if (!(x->env->opts & OPT(retpoline)) || !(x->env->mode & MODE_FLATCS) || x->u->crosses ||
        x->u->insns[n].opsize != 4 || over - 1 >= TRAP_MAX || off + TRAP_LOOK > end)
        return false;
    return b[0] == 0xcc || (b[0] == 0xf3 && b[1] == 0x90) || /* int3, pause */
           (b[0] == 0x0f && b[1] == 0xae && b[2] == 0xe8);   /* lfence */
}

/* Whether the unit may go on where the branch n leads, and leave it where that is not taken. */
static bool turns(const struct xl *x, u32 n, u32 off, u32 end)
{
    return jump_goes_on(x, n, off, end) && unit_branch_target(x, n) - x->env->eip != off;
}

/* What a run before has found of instruction n, which begins at `off`: HINT_*. */
static u32 hint(const struct xl *x, u32 n, u32 off)
{
    return x->env->hint && x->cls[n].act == ACT_JCC
               ? x->env->hint(x->env->opaque, off, off + x->u->insns[n].len)
               : 0;
}

static enum xlate_status decode_unit(struct xl *x)
{
    const struct unit_env *env = x->env;
    struct unit *u = x->u;
    const u64 ends = unit_ends(env);
    const bool flat = env->mode & MODE_FLATCS;
    u32 off = 0, n = 0, end = env->avail, behind = 0; /* the last instruction */
    u32 looked = 0;                                   /* how far bytes were looked at beyond it */
    bool turned = false;                              /* is a branch whose taken arm is next */

    if (!flat && (u64)env->cs_limit + 1 - env->eip < end)
        end = (u32)(env->cs_limit + 1 - env->eip); /* what lies beyond is not looked at: #GP comes first */
    while (n < UNIT_MAX_INSNS && off < end) {
        struct insn *i = &u->insns[n];
        u32 hints;
        u8 act;
        int r;

        if (n && unlikely(env->stop_before) && env->stop_before(env->opaque, off))
            break;
        r = decode(env, env->bytes + off, end - off, i);
        if (unlikely(r < 0)) { /* runs into the next page */
            if (n)
                break;
            if (!flat && (u64)env->eip + env->avail > env->cs_limit)
                return XLATE_INTERP;
            if (!env->cross)
                return XLATE_NEED_CROSS;
            r = decode(env, env->cross, env->cross_avail, i);
            u->crosses = true;
        }
        if (unlikely(r) || (!flat && (u64)env->eip + off + i->len - 1 > env->cs_limit)) {
            if (n)
                break;
            return XLATE_INTERP;
        }
        if (n && x->cls[n - 1].act == ACT_JMP) { /* here is where it leads: nothing to do */
            x->cls[n - 1].act = ACT_NOP;
            x->n_branches--;
        }
        if (unlikely(turned)) {
            x->cls[n - 1].act = ACT_JCC_TURNED;
            x->n_branches--;
            turned = false;
        }
        u->pcmap[n].guest = (u16)off;
        classify(i, env->mode, env->opts, &x->cls[n]);
        x->mark[n] = 0;
        act = x->cls[n].act;
        u->leaks += i->sensitive && among(act, COPIES);
        if (among(act, BRANCHES))
            x->branch[x->n_branches++] = (u8)n;
        n++;
        hints = hint(x, n - 1, off);
        behind = off += i->len;
        if (act == ACT_CALL && unlikely(calls_over(x, n - 1, off, end))) {
            x->cls[n - 1].act = act = ACT_CALL_OVER;
            looked = off + TRAP_LOOK;
        }
        turned = unlikely(hints & HINT_TAKEN) && turns(x, n - 1, off, end);
        if (turned || (among(act, ACTS(JMP) | ACTS(CALL_OVER)) && jump_goes_on(x, n - 1, off, end)))
            off = unit_branch_target(x, n - 1) - env->eip;
        else if (u->crosses || among(act, ends) || hints & HINT_NEVER_PASSED)
            break;
    }
    x->mark[n] = 0;
    u->n_insns = n;
    u->guest_len = behind;
    u->depends = looked > behind ? looked : behind;
    if (n && u->insns[n - 1].mnemonic == ZYDIS_MNEMONIC_INVALID) {
        /* bytes behind the ones that count for its length may have made it undefined */
        u32 last = u->pcmap[n - 1].guest + INSN_MAX, seen = u->crosses ? env->cross_avail : env->avail;
        u->depends = last < seen ? last : seen;
    }
    return XLATE_OK;
}

u32 unit_branch_target(const struct xl *x, u32 k)
{
    const struct insn *i = &x->u->insns[k];
    u32 t = insn_eip(x, k) + i->len + i->imm;
    return i->opsize == 2 ? t & 0xffff : t;
}

static void find_targets(struct xl *x)
{
    if (!(x->env->opts & OPT(chain)))
        return;
    for (u32 n = 0; n < x->n_branches; n++) {
        u32 k = x->branch[n];
        int t = unit_insn_at(x, unit_branch_target(x, k));
        if (t >= 0)
            x->mark[t] |= (u32)t <= k ? MARK_TARGET | MARK_LOOP : MARK_TARGET;
    }
}

static void liveness(struct xl *x)
{
    u32 live = FL_ARITH;

    x->live[x->u->n_insns] = (u16)live;
    for (u32 k = x->u->n_insns; k-- > 0;) {
        const struct insn *i = &x->u->insns[k];
        live = among(x->cls[k].act, IN_LINE) ? (live & ~i->fl_write) | (i->fl_read & FL_ARITH) : FL_ARITH;
        x->live[k] = (u16)live;
    }
}

/* About how many bytes of host code the shortest loop has that the current instruction begins: two of three
 * instructions have a prefix that the guest's have not. */
static u32 loop_bytes(const struct xl *x)
{
    const struct unit *u = x->u;

    for (u32 n = 0; n < x->n_branches; n++) {
        u32 k = x->branch[n];
        if (k >= x->k && unit_insn_at(x, unit_branch_target(x, k)) == (int)x->k)
            return u->pcmap[k].guest + u->insns[k].len - u->pcmap[x->k].guest + (k - x->k) * 2 / 3 + 1;
    }
    return 0;
}

/*
 * A loop that fits into a cache line and lies across two takes up to five times as long on Zen 3, which keeps
 * decoded instructions by line of 64 bytes; operands with segment and address-size prefixes make it worse. In
 * table form each operand is longer than what could be gained. What is executed on the way to the loop costs,
 * too: a loop that fits into what is left of the line stays there, and a longer one begins in the first half
 * of a line.
 */
static void align_loop(struct xl *x)
{
    u32 at = (x->line_at + x->e.pos) & (CODE_LINE - 1), len;

    if (!x->k || !(x->env->mode & MODE_WIN) || !(x->env->opts & OPT(align)))
        return;
    len = loop_bytes(x);
    if (at + len > CODE_LINE && (len <= CODE_LINE || at >= CODE_LINE / 2))
        e_nops(&x->e, CODE_LINE - at);
}

/* Control comes to the instruction from elsewhere, too: nothing is pending there, or known. */
static void join(struct xl *x, u8 mark)
{
    if (mark & MARK_TARGET) {
        sp_flush(x);
        fl_host(x);
        count_flush(x);
    }
    x->full = 0;
    x->df_clear = false;
    if (mark & MARK_LOOP)
        align_loop(x);
}

static void emit_unit(struct xl *x)
{
    struct unit *u = x->u;
    struct emit *e = &x->e;

    if (x->env->traps)
        e8(e, INT3);
    if (u->crosses) { /* the second page must still be the one that was decoded */
        u32 page = ((x->env->eip + x->env->cs_base) >> PAGE_SHIFT) + 1;
        u32 same;
        e_mov_rr64(e, R11, RCX);
        e_rm(e, 0, 0x8b, RCX, R14, -1, 1, (i32)((page & 0xfffff) * 4) - 0x800000);
        unit_moves(x, MOVE_EXEC);
        e_lea32(e, RCX, RCX, -1, 1, -(i32)x->env->cross_expect);
        same = e_jrcxz(e);
        e_mov_rr64(e, RCX, R11);
        e_mov_eip(x, R8, x->env->eip);
        e_rm(e, 0, 0xff, 4, R15, -1, 1, BT_OFF(BT_THUNK0 + TH_LOOKUP));
        e_fix8(e, same, e->pos);
        e_mov_rr64(e, RCX, R11);
    }
    x->may_merge = sp_merge_allowed(x->env);
    for (x->k = 0; x->k < u->n_insns; x->k++) {
        struct pcmap *p = &u->pcmap[x->k];
        u8 mark = x->mark[x->k];

        x->table_only = unlikely(x->env->table_site) && (x->env->mode & MODE_WIN) &&
                        x->env->table_site(x->env->opaque, p->guest);
        x->sp_merge = x->may_merge && !x->inhibit && !x->table_only && sp_mergeable(x, x->k);
        if (!x->sp_merge)
            sp_flush(x);
        if (mark)
            join(x, mark);
        x->host[x->k] = x->k ? e->pos : 0;
        *p = (struct pcmap){.host = (u16)x->host[x->k],
                            .guest = p->guest,
                            .flags = (x->fs == FS_SAVED ? PCM_SAVED : 0) | (x->inhibit ? PCM_INHIBIT : 0),
                            .sp = (i16)x->sp_pend};
        if (unlikely(x->env->traps | x->env->traps_all) && x->k &&
            (x->env->traps_all || (mark & (MARK_TARGET | MARK_LANDED))))
            e8(e, INT3);
        if (unlikely(x->env->exact))
            count_exact(x);
        x->inhibit = false;
        x->op_saved = false;
        x->uncounted++;
        emit_insn(x, &u->insns[x->k]);
        p->flags |= x->op_saved ? PCM_OP_SAVED : 0;
    }
    sp_flush(x);
    x->host[u->n_insns] = e->pos;
    x->k = u->n_insns - 1;
    if (!x->done) {
        u32 n = u->n_links;
        exit_direct(x, next_eip(x, &u->insns[x->k]));
        if (x->cls[x->k].act == ACT_JCC && u->n_links > n)
            u->links[n].arm = insn_arm(x, true);
    }
    stubs_emit(x);
}

u64 translate_host_opts(u64 opts)
{
    u32 a, b = 0, c, d, version, id[3] = {0}; /* "GenuineIntel", in the order of ebx, edx, ecx */
    bool leaf7 = __get_cpuid_count(7, 0, &a, &b, &c, &d);
    bool adx = leaf7 && (b & 1u << 19) && (b & 1u << 8); /* and BMI2: rorx */

    if (!adx)
        opts &= ~OPT(ofcheck);
    if (__get_cpuid(0, &a, &id[0], &id[2], &id[1]) && !memcmp(id, "GenuineIntel", 12))
        return opts;
    opts &= ~OPT(shortrep);
    /* family 19h with AVX-512 is Zen 4; what is known of others is docs/performance.md's */
    bool zen4 = !memcmp(id, "AuthenticAMD", 12) && __get_cpuid(1, &version, &a, &c, &d) &&
                (version >> 8 & 15) + (version >> 20 & 255) == 0x19 && leaf7 && (b & 1u << 16);
    return zen4 ? opts : opts & ~OPT(addr64);
}

struct insn *unit_keep(struct xl *x, const struct insn *i)
{
    struct kept *kept = x->kept;

    if (x->n_kept < kept->n) { /* of the first attempt */
        *kept->insn[x->n_kept] = *i;
    } else {
        struct insn *p = kept->n < ARRAY_SIZE(kept->insn) ? x->env->keep_insn(x->env->opaque, i) : NULL;
        if (!p)
            return NULL;
        kept->insn[kept->n++] = p;
    }
    return kept->insn[x->n_kept++];
}

static enum xlate_status try_unit(const struct unit_env *env, bool all_far, struct kept *kept, u8 *code,
                                  u32 cap, struct unit *out, bool *too_far)
{
    struct xl x;
    enum xlate_status st;

    /* The arrays are filled as far as they are used: clearing all of it takes as long as ten instructions. */
    __builtin_memset(&x, 0, offsetof(struct xl, cls));
    x.env = env;
    x.u = out;
    x.all_far = all_far;
    x.kept = kept;
    /* gs: the window's base; 67: 32-bit addressing wraps at 4 GiB as the guest's does */
    x.win = low_window(env) ? (struct piece){0x67, 1} : (struct piece){0x6765, 2};
    x.addr64 = low_window(env) && (env->opts & OPT(addr64));
    out->n_insns = out->n_links = out->n_landings = out->guest_len = out->host_len = 0;
    out->crosses = out->fixed = false;
    out->n_moves = 0;
    out->leaks = 0;
    st = decode_unit(&x);
    if (st != XLATE_OK)
        return st;
    find_targets(&x);
    liveness(&x);
    out->of = fl_live(&x, 0, FL_OF);
    /* where indirect branches enter begins a line, and is in the same as what follows */
    out->lead = out->of && env->may_lead && entry_restores_of(env->opts, env->mode) ? ENTRY_OF_BYTES : 0;
    x.line_at = env->line_at + out->lead;
    x.e = emit_to(code + out->lead, cap < UNIT_MAX_CODE ? cap : UNIT_MAX_CODE);
    emit_unit(&x);
    if (x.e.overflow)
        return XLATE_FULL;
    out->host_len = x.e.pos;
    *too_far = x.too_far;
    return XLATE_OK;
}

enum xlate_status translate_unit(const struct unit_env *env, u8 *code, u32 cap, struct unit *out)
{
    bool too_far = false;
    struct kept kept;
    enum xlate_status st;

    kept.n = 0;
    st = try_unit(env, false, &kept, code, cap, out, &too_far);
    return likely(!too_far) ? st : try_unit(env, true, &kept, code, cap, out, &too_far);
}
