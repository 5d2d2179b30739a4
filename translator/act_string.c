/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions: movs, cmps, stos, lods, scas, alone and repeated.
 *
 * Window form is the host's own instruction, repeat prefix included, on rsi and rdi moved into the window:
 *
 *      mov  r8, [window's base]
 *      lea  rsi, [rsi + r8]
 *      lea  rdi, [rdi + r8]
 *      rep movsd
 *      mov  esi, esi
 *      mov  edi, edi
 *
 * The base is a multiple of 4 GiB, so the lower halves are the guest's registers at every moment, and a rep
 * keeps its progress in them: a host fault in its middle, or a kick (signals.c), finds the guest's state, and
 * the instruction is started again. Nothing has to be bounded. A window's neighbours are never mapped: a rep
 * that would go on beyond 4 GiB, or below 0, faults there, and the interpreter does it. DF is live in EFLAGS.
 *
 * A few doublewords are a thunk's before that, where that is faster.
 *
 * Table form is the same on host addresses for single instructions. Afterwards the guest pointer is the host
 * one minus the page's entry (segments are flat: linear = offset). rep movs and stos of bytes and doublewords
 * are a thunk's, a page at a time; the interpreter does the rest.
 */
#include "translator/xl.h"

static bool flat_seg(const struct xl *x, int seg)
{
    return (seg == S_DS && (x->env->mode & MODE_FLATDS)) || (seg == S_ES && (x->env->mode & MODE_FLATES)) ||
           (seg == S_SS && (x->env->mode & MODE_FLATSS)) || (seg == S_CS && (x->env->mode & MODE_FLATCS));
}

struct string {
    bool src, dst; /* uses esi, edi */
    bool write;    /* what edi points to is written */
    bool compares; /* writes flags */
    bool rep;
    u32 n; /* bytes an element */
};

static struct string parse(const struct insn *i)
{
    u8 op = i->opcode & 0xfe;

    return (struct string){.src = op == 0xa4 || op == 0xa6 || op == 0xac,
                           .dst = op != 0xac,
                           .write = op == 0xa4 || op == 0xaa,
                           .compares = op == 0xa6 || op == 0xae,
                           .rep = i->pfx & (PFX_REP | PFX_REPNE),
                           .n = i->opcode & 1 ? i->opsize : 1};
}

static void host_string(struct xl *x, const struct insn *i, const struct string *s)
{
    struct emit *e = &x->e;

    if (s->rep) /* movs, stos and lods do not care which prefix it is */
        e8(e, s->compares && (i->pfx & PFX_REPNE) ? 0xf2 : 0xf3);
    if (s->n == 2)
        e8(e, 0x66);
    e8(e, i->opcode);
}

/* A repeated comparison leaves the flags alone if ecx is 0. If it faults on the way they are what they were
 * before it (SDM vol. 2, REP), which not all processors do by themselves: the fault handler takes those that
 * are aside. */
static void flags_before_repeated(struct xl *x)
{
    if (x->fs == FS_SAVED)
        fl_emit_restore(&x->e);
    else
        fl_force_saved(x);
    x->fs = FS_HOST;
    x->op_saved = true;
}

static int rep_thunk_of(const struct insn *i, const struct string *s)
{
    return (s->src ? TH_REP_MOVS8 : TH_REP_STOS8) + (i->opcode & 1);
}

/* Few doublewords are the thunk's: where the page that follows is not mapped, as behind a stack, some hosts
 * take 300 cycles for them (docs/performance.md). What it does not do is left for the instruction behind
 * this. Returns where to jump to behind that, the position of a rel8. */
static u32 few_by_thunk(struct xl *x, const struct insn *i, const struct string *s)
{
    struct emit *e = &x->e;
    u32 many, done;

    fl_clobber(x);
    e8(e, 0x83); /* cmp ecx, few */
    e_modrm(e, 3, 7, RCX);
    e8(e, REP_FEW32);
    many = e_jcc8(e, 7); /* ja */
    e_rm(e, 0, 0xff, 2, R15, -1, 1, BT_OFF(BT_THUNK0 + rep_thunk_of(i, s)));
    done = e_jcc8(e, 4); /* je */
    e_fix8(e, many, e->pos);
    return done;
}

static void window_form(struct xl *x, const struct insn *i, const struct string *s)
{
    struct emit *e = &x->e;
    bool few = s->rep && s->write && s->n == 4 && (x->env->opts & OPT(shortrep));
    u32 done = few ? few_by_thunk(x, i, s) : 0;

    if (!s->compares)
        x->op_saved |= x->fs == FS_SAVED;
    else if (s->rep)
        flags_before_repeated(x);
    else
        fl_before_op(x, i);
    if (!low_window(x->env)) {
        e_rm(e, 1, 0x8b, R8, R15, -1, 1, BT_OFF(BT_GS));
        if (s->src)
            e_lea64(e, RSI, RSI, R8, 1, 0);
        if (s->dst)
            e_lea64(e, RDI, RDI, R8, 1, 0);
    }
    host_string(x, i, s);
    if (s->src)
        e_mov_rr32(e, RSI, RSI);
    if (s->dst)
        e_mov_rr32(e, RDI, RDI);
    if (few)
        e_fix8(e, done, e->pos);
}

/* A host pointer minus the table entry in `entry` is the guest's again; flags stay. */
static void back(struct emit *e, int reg, int entry)
{
    e_rex(e, 1, 0, 0, entry); /* not entry */
    e8(e, 0xf7);
    e_modrm(e, 3, 2, entry);
    e_lea32(e, reg, reg, entry, 1, 1);
}

static void table_form(struct xl *x, const struct insn *i, const struct string *s)
{
    struct emit *e = &x->e;
    bool both = s->src && s->dst;
    /* which of the two faults first: as CPUs do */
    int first = s->src && !s->compares ? RSI : RDI, second = first == RSI ? RDI : RSI;
    int last = both ? second : first;

    e_mov_rr32(e, R8, first);
    mem_lookup(x, s->n, !both && s->write);
    if (both) {
        e_rm(e, 1, 0x89, R9, R15, -1, 1, BT_OFF(BT_TMP));
        e_mov_rr32(e, R8, second);
        mem_lookup(x, s->n, s->write);
    }
    e_lea64(e, last, last, R9, 1, 0);
    if (both) {
        e_rm(e, 1, 0x8b, R10, R15, -1, 1, BT_OFF(BT_TMP));
        e_lea64(e, first, first, R10, 1, 0);
    }
    if (s->compares)
        fl_before_op(x, i);
    host_string(x, i, s);
    back(e, last, R9);
    if (both)
        back(e, first, R10);
}

/* The thunk does what lies in mapped pages; the interpreter goes on from there. */
static bool rep_thunk(struct xl *x, const struct insn *i, const struct string *s)
{
    if (!s->write || s->n == 2)
        return false;
    fl_clobber(x);
    call_thunk(x, rep_thunk_of(i, s), STUB_SLOW);
    return true;
}

bool act_string(struct xl *x, const struct insn *i, struct cls c)
{
    struct string s = parse(i);

    if (i->adsize != 4 || (s.src && !flat_seg(x, i->seg)) || (s.dst && !flat_seg(x, S_ES)))
        return false;
    if ((x->env->mode & MODE_WIN) && !x->table_only) {
        /* in the shadow of sti it could not be stopped midway */
        if (s.rep && (x->u->pcmap[x->k].flags & PCM_INHIBIT))
            return false;
        window_form(x, i, &s);
        return true;
    }
    if (s.rep)
        return rep_thunk(x, i, &s);
    table_form(x, i, &s);
    return true;
}
