/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to translator/: the state of one translation, and the steps that its files offer each other. */
#ifndef NOVT_TRANSLATOR_XL_H
#define NOVT_TRANSLATOR_XL_H

#include "base/opts.h"
#include "shadowpt/shadowpt.h"
#include "translator/emit.h"
#include "translator/translator.h"

/* What an instruction does with its memory operand. */
enum memacc { MA_NONE, MA_R, MA_W, MA_RW };

/* What the ModRM reg field and a register in the rm field name. */
enum opkind {
    OK_NONE, /* opcode extension, or unused */
    OK_G,    /* general register of the operand size */
    OK_GB,   /* byte register */
    OK_G32,  /* general register, always 32 bits (or only 16: movzx source) */
    OK_OTHER /* x87, MMX, XMM: never needs mapping */
};

/* How the translator treats an instruction. */
enum action {
    ACT_EXEC,    /* callout: executed by the interpreter's handler */
    ACT_COPY,    /* copied with registers and memory operand mapped; `sens` opcodes never get here */
    ACT_ADD_ESP, /* add or sub esp, constant: copied, or part of a run of pushes and pops */
    ACT_DIV,     /* copied, or checked where it has failed before */
    ACT_INCDEC,
    ACT_PUSH_R,
    ACT_POP_R,
    ACT_PUSH_I,
    ACT_PUSH_M,
    ACT_POP_M,
    ACT_XCHG_A,
    ACT_MOFFS,
    ACT_LEA,
    ACT_MOV_RI,
    ACT_BSWAP,
    ACT_LEAVE,
    ACT_NOP,
    ACT_BITS, /* bt/bts/btr/btc Ev, Gv */
    ACT_JCC,
    ACT_JCC_TURNED, /* the unit goes on where it leads, and leaves where it is not taken */
    ACT_JMP,
    ACT_CALL,
    ACT_CALL_OVER, /* a call that nobody returns behind: a push and a jump */
    ACT_JMP_IND,
    ACT_CALL_IND,
    ACT_RET,
    ACT_LOOP,
    ACT_JCXZ,
    ACT_CLI,
    ACT_STI,
    ACT_PUSHF,
    ACT_MOV_FROM_SREG,
    ACT_PUSH_SREG,
    ACT_MOV_TO_SREG, /* data segment registers only */
    ACT_POP_SREG,
    ACT_VERW,
    ACT_RDTSC,
    ACT_POPF,
    ACT_FROM_CR,
    ACT_TO_CR,
    ACT_IN,
    ACT_INVLPG,
    ACT_FXSTATE,
    ACT_STRING,     /* one movs/cmps/stos/lods/scas */
    ACT_REP_STRING, /* the same, repeated */
    ACT_CLTS,
    ACT_CR3,
    ACT_SYS,      /* int n, iret, sysenter, sysexit */
    ACT_EXEC_END, /* callout after which control never falls through */
    ACT_ASK,      /* only in the table: depends on more than the opcode */
    ACT_COUNT
};

/* Sets of actions. */
#define ACTS(x) (1ull << ACT_##x)
_Static_assert(ACT_COUNT <= 64, "a set of actions is a u64");
static inline bool among(u8 act, u64 set)
{
    return set >> act & 1;
}

struct cls {
    u8 act;
    u8 acc;     /* enum memacc, of the ModRM memory operand */
    u8 reg, rm; /* enum opkind */
};

/* The one table: instruction -> class. */
void classify(const struct insn *i, u32 mode, u64 opts, struct cls *c);

enum flstate { FS_HOST, FS_SAVED };

struct fixup {
    u32 at;    /* the displacement's position */
    u8 insn;   /* target: start of this instruction's code (n_insns: the end of the unit) */
    bool near; /* 8 bits wide, not 32 */
};

enum stub_kind {
    STUB_MISS_R,
    STUB_MISS_W,
    STUB_MISALIGNED,
    STUB_SLOW,
    STUB_EXEC,     /* callout, as exit_exec() */
    STUB_CR0,      /* mov to CR0 of another value than it has; the flags are saved */
    STUB_SLOW_OUT, /* interpreted, and what follows is looked up anew: this unit assumes what does not hold */
    STUB_LOOKUP,   /* link = where to */
    STUB_LINK,
    STUB_TAKEN,    /* a conditional branch that is counted: link = index into unit->links */
    STUB_IND_MISS, /* link = where an indirect call's landing is, 0: a jump */
    STUB_IND_OF,   /* the same, compared by adox */
    STUB_RET_OF,   /* a landing's; back = where it goes on, link = 1 + number in unit->landings, 0: none */
};

struct stub {
    u8 kind;
    u8 insn;
    u8 saved; /* flags state when it is entered */
    u8 size;
    u32 from; /* the rel32 that jumps here */
    u32 back; /* MISALIGNED: where to go on when the access does not cross a page; *_OF: if it was equal */
    u32 link; /* LINK: index into unit->links */
};

/* How the host names the operand that was prepared last: an instruction but for its opcode and ModRM's reg
 * field. */
struct hostmem {
    struct piece mem; /* ModRM, SIB and displacement */
    u32 rex;          /* REX.X and REX.B */
    bool win;         /* window form, else [r8 + r9] */
    bool plain;       /* window form without prefixes */
};

#define MARK_TARGET 1 /* jumped to from within the unit */
#define MARK_LOOP   2 /* jumped to from itself or further down in the unit */
#define MARK_LANDED 4 /* behind a call that the unit goes on after */

#define NEAR_GUEST                                                                                           \
    32 /* bytes of the guest's that a jump of 8 bits can pass in window form, nearly always                  \
        */

#define MAX_STUBS  (6 * UNIT_MAX_INSNS)
#define MAX_FIXUPS (8 * UNIT_MAX_INSNS)

/* The decoded instructions that a unit's host code refers to. A unit that is made again has the same. */
struct kept {
    u32 n;
    struct insn *insn[2 * UNIT_MAX_INSNS];
};

struct xl {
    const struct unit_env *env;
    struct unit *u;
    struct emit e;
    u32 line_at;       /* where in a line the code begins */
    u32 k;             /* the instruction being emitted */
    struct hostmem hm; /* the operand prepared by memop.c */
    struct piece win;  /* prefixes of an operand in window form, */
    bool addr64;       /* of none where its 64-bit address is the same, but for one that wraps */
    struct kept *kept;
    u32 n_kept;      /* of them, in this attempt */
    bool aligned;    /* this instruction's operand must be aligned to its size: #GP, before any #PF */
    bool table_only; /* this instruction's sequence cannot take a host fault: no window form */
    enum flstate fs;
    u32 uncounted; /* guest instructions since the last count */
    i32 sp_pend;   /* guest esp is its register plus this */
    bool sp_merge; /* this instruction may leave esp's change pending: nothing leaves it or comes back into it
                    */
    bool op_saved; /* while the main host instruction runs, the guest's flags are in r12 */
    bool df_clear; /* known */
    u32 both;      /* the second of two segment loads that are done in one, 0: none */
    bool inhibit;  /* the previous instruction was sti: no interrupt before this one */
    bool done;     /* control does not fall through */
    bool all_far;  /* jumps ahead within the unit take 32 bits: */
    bool too_far;  /* one with 8 does not reach */
    u8 full;       /* 1 << S_FS, S_GS: known to need no limit or type check from here on */
    bool may_merge; /* sp_merge_allowed() */
    u32 n_stubs;
    u32 n_fixups;
    u32 n_branches;
    u32 leaves[TH_COUNT_]; /* where the last jump to this thunk from a stub is, 0: nowhere */
    /* arrays, from here on: filled as far as they are used */
    struct cls cls[UNIT_MAX_INSNS];
    u8 branch[UNIT_MAX_INSNS];    /* the instructions that are direct jumps */
    u32 host[UNIT_MAX_INSNS + 1]; /* host offset of each instruction */
    u16 live[UNIT_MAX_INSNS + 1]; /* arithmetic flags live at the start of each instruction */
    u8 mark[UNIT_MAX_INSNS + 1];  /* MARK_*: how else than from above control comes to an instruction */
    struct stub stubs[MAX_STUBS];
    struct fixup fixups[MAX_FIXUPS];
};

/* The mode's bit for a segment of base 0 and 4 GiB, if there is one. */
static inline u32 flat_bit(int seg)
{
    static const u32 bit[8] = {
        [S_DS] = MODE_FLATDS, [S_ES] = MODE_FLATES, [S_SS] = MODE_FLATSS, [S_CS] = MODE_FLATCS};
    return bit[seg];
}
/* Real or virtual-8086 mode: a segment's base is its selector times 16. */
static inline bool real_like(const struct xl *x)
{
    return !(x->env->mode & MODE_PE) || (x->env->mode & MODE_VM);
}
/* Where window form means an address by itself, not an offset from GS. */
static inline bool low_window(const struct unit_env *env)
{
    return env->mode & MODE_LOW;
}
static inline int hreg(int g) /* guest register number -> host */
{
    return g == R_ESP ? ABI_ESP : g == R_EBP ? ABI_EBP : g;
}
static inline u32 insn_eip(const struct xl *x, u32 k)
{
    return x->env->eip + x->u->pcmap[k].guest;
}
static inline u32 next_eip(const struct xl *x, const struct insn *i)
{
    return insn_eip(x, x->k) + i->len;
}

/* unit_link's arm of the current instruction, a conditional branch. */
static inline u16 insn_arm(const struct xl *x, bool passed)
{
    return unit_arm(x->env->cs_base + insn_eip(x, x->k), passed);
}

/* Where the host code finds the instruction; NULL: no room. */
struct insn *unit_keep(struct xl *x, const struct insn *i);

/* The 4 bytes emitted last (MOVE_INSN: 8) depend on where the unit is: enum move_kind. */
static inline void unit_moves(struct xl *x, enum move_kind kind)
{
    struct unit *u = x->u;

    if (u->n_moves == UNIT_MAX_MOVES) {
        u->fixed = true;
        return;
    }
    u->moves[u->n_moves++] =
        (struct unit_move){.at = (u16)(x->e.pos - (kind == MOVE_INSN ? 8 : 4)), .kind = (u16)kind};
}
/* reg = a guest address, which moves with the unit. */
static inline void e_mov_eip(struct xl *x, int reg, u32 eip)
{
    e_mov_ri32(&x->e, reg, eip);
    unit_moves(x, MOVE_EIP);
}
/* reg = a kept instruction. */
static inline void e_mov_insn(struct xl *x, int reg, const struct insn *kept)
{
    e_mov_ri64(&x->e, reg, (u64)(uintptr_t)kept);
    unit_moves(x, MOVE_INSN);
}

/* ---- flags (flags.c) ---- */
/* Whether any of these flags may be looked at from instruction k on. */
static inline bool fl_live(const struct xl *x, u32 k, u32 flags)
{
    return !(x->env->opts & OPT(flags)) || (x->live[k] & flags);
}
/* Whether it costs nothing to clobber arithmetic flags here. */
bool fl_free(const struct xl *x);
/* Makes the scratch sequence that follows free to clobber arithmetic flags. */
void fl_clobber(struct xl *x);
/* Brings the guest's flags into host EFLAGS. */
void fl_host(struct xl *x);
/* Before the main host instruction of i: restores flags if it needs them; afterwards the state is HOST if it
 * wrote any. */
void fl_for_op(struct xl *x, u32 rd, u32 wr);
static inline void fl_before_op(struct xl *x, const struct insn *i)
{
    u32 wr = i->fl_write & FL_ARITH, rd = i->fl_read & FL_ARITH;

    x->op_saved = x->fs == FS_SAVED;
    if (wr | rd)
        fl_for_op(x, rd, wr);
}
/* Puts the flags aside even if they are dead. */
void fl_force_saved(struct xl *x);
void fl_emit_restore(struct emit *e); /* r12 -> EFLAGS; uses r11 */

/* ---- memory operands (memop.c) ---- */
#define OP_66 1u
#define OP_F3 2u
#define OP_F2 4u
#define OP_W  8u /* operands of 64 bits; for op_mem() */
static inline struct piece p_prefixes(struct piece p, u32 pfx)
{
    if (unlikely(pfx)) {
        if (pfx & OP_66)
            p = p_byte(p, 0x66);
        if (pfx & OP_F3)
            p = p_byte(p, 0xf3);
        if (pfx & OP_F2)
            p = p_byte(p, 0xf2);
    }
    return p;
}
/* An opcode of map 0 or 1 as p_op() takes it. */
static inline u32 op_bytes(int map, u8 op)
{
    return map == 1 ? 0x0fu | (u32)op << 8 : op;
}
/* Whether accesses through this segment can be emitted inline. */
bool seg_inline_slow(const struct xl *x, int seg, bool write);
static inline bool seg_inline(const struct xl *x, int seg, bool write)
{
    return likely(x->env->mode & flat_bit(seg) & (MODE_FLATDS | MODE_FLATSS | MODE_FLATES)) ||
           seg_inline_slow(x, seg, write);
}
/* Prepares the ModRM operand of i: afterwards op_mem() accesses it. sp_adj is added where esp is the base
 * (pop [esp+n]). Scratch registers used: r8-r10 (r11 for flags). */
void mem_operand(struct xl *x, const struct insn *i, u32 size, bool write, i32 sp_adj);
/* The same for the stack slot at esp + delta, and for linear address r8d. */
void mem_stack(struct xl *x, i32 delta, u32 size, bool write);
void mem_linear_r8(struct xl *x, u32 size, bool write);
/* The operand is [base + index * scale + disp], host registers, -1: none. */
static inline void mem_is(struct xl *x, bool win, int base, int index, int scale, i32 disp)
{
    x->hm = (struct hostmem){
        .mem = base < 0 ? p_mem_no_base(0, index, scale, disp) : p_mem(0, base, index, scale, disp),
        .rex = rex_bits(0, 0, index < 0 ? 0 : index, base < 0 ? 0 : base),
        .win = win,
        .plain = x->addr64 && index < 0 && disp >= (base < 0 ? 0 : -LOW_BEFORE),
    };
}
/* One host instruction on the prepared operand: prefixes (OP_*), opcode map (0, 1), opcode, ModRM reg field.
 */
void op_mem(struct xl *x, u32 pfx, int map, u8 op, int reg);
/* r8d = offset only (lea). */
void ea_offset(struct xl *x, const struct insn *i, int dst, i32 sp_adj);
/* r8d = linear -> r9 = table entry, with checks: afterwards [r8 + r9] is the operand's host address. Table
 * form whatever the mode. */
void mem_lookup(struct xl *x, u32 size, bool write);
/* Adds the segment's base to r8d (and checks its limit). */
void seg_apply(struct xl *x, int seg, u32 size, bool write);

/* ---- exits (exits.c) ---- */
static inline void jmp_thunk(struct emit *e, int th)
{
    e_rm(e, 0, 0xff, 4, R15, -1, 1, BT_OFF(BT_THUNK0 + th)); /* jmp [r15 + slot] */
}
void exit_direct(struct xl *x, u32 target); /* jmp to a guest eip */
/* jcc to a guest eip; passed: the arm of a guest's branch that is not taken */
void exit_cond(struct xl *x, int cc, u32 target, bool passed);
/* reg, r8d or a register of the guest, = guest eip; call: of a call, which returns behind it */
void exit_indirect(struct xl *x, int reg, bool call);
void exit_call(struct xl *x,
               u32 target); /* direct call: the return address is on the guest's stack already */
void exit_push(struct xl *x, u32 target); /* the same, that nobody returns behind */
/* Whether the unit continues behind a call of this action. */
static inline bool call_goes_on(const struct unit_env *env, u8 act)
{
    u64 need = OPT(callthrough) | OPT(ras) | (act == ACT_CALL_IND ? OPT(ibtc) : 0);

    return (env->opts & need) == need;
}
void exit_return(struct xl *x);                     /* r8d = guest eip that was popped */
void exit_exec(struct xl *x, const struct insn *i); /* callout; falls through in flags state HOST */
void exit_clts(struct xl *x, const struct insn *i);
void exit_cr3(struct xl *x, const struct insn *i); /* neither comes back here */
void exit_sys(struct xl *x, const struct insn *i); /* callout that never comes back here */
void jump_insn(struct xl *x, u32 at, u32 insn);    /* rel32 at `at` goes to an instruction of the unit */
int unit_insn_at(const struct xl *x, u32 target);  /* index of the unit's instruction at eip, or -1 */
u32 unit_branch_target(const struct xl *x, u32 k); /* where instruction k, a direct branch, goes to */
void stub_add(struct xl *x, enum stub_kind kind, u32 from, u32 size, u32 back, u32 link);
void stubs_emit(struct xl *x);
void count_flush(struct xl *x);
void count_exact(struct xl *x); /* at the start of an instruction */
/* call [r15 + slot]; jne to a stub */
static inline void call_thunk(struct xl *x, int th, enum stub_kind otherwise)
{
    e_rm(&x->e, 0, 0xff, 2, R15, -1, 1, BT_OFF(BT_THUNK0 + th));
    stub_add(x, otherwise, e_jcc(&x->e, 5), 0, 0, 0);
}

/* ---- pieces of stack operations (act_stack.c) ---- */
bool sp_mov(const struct insn *i);    /* mov of esp to a register */
void sp_add(struct xl *x, i32 delta); /* esp += delta */
void sp_flush_pending(struct xl *x);  /* what is pending goes into the register of esp */
static inline void sp_flush(struct xl *x)
{
    if (x->sp_pend)
        sp_flush_pending(x);
}
bool sp_merge_allowed(const struct unit_env *env); /* anywhere in the unit */
bool sp_mergeable(const struct xl *x,
                  u32 k); /* instruction k may run with esp's change pending, in a unit where that may be */
void store_op(struct xl *x, int reg, u32 n);      /* [r8 + r9] = reg, n bytes */
void load_op(struct xl *x, int reg, u32 n);       /* reg = [r8 + r9], zero-extended */
void set_reg(struct xl *x, u8 g, int reg, u32 n); /* guest register g = host register, n bytes */
bool push_keeps_r8(const struct xl *x);           /* a push of a constant or r8 leaves r8 as it is */
bool push_const(struct xl *x, u32 imm, u32 n);    /* false: the stack segment needs the interpreter */
bool push_eip(struct xl *x, u32 eip, u32 n);      /* the same for a return address */
bool pop_value(struct xl *x, u32 n);              /* r8d = [esp]; esp unchanged */
bool pop_address(struct xl *x, u32 n);            /* r8 = [esp], 32 bits with their sign */

/* ---- actions (act_*.c) ---- */
void emit_insn(struct xl *x, const struct insn *i);
/* Each emits one kind of instruction; false: it is left to the interpreter. */
bool act_copy(struct xl *x, const struct insn *i, struct cls c);
bool act_div(struct xl *x, const struct insn *i, struct cls c);
bool act_add_esp(struct xl *x, const struct insn *i, struct cls c);
bool act_push_r(struct xl *x, const struct insn *i, struct cls c);
bool act_push_i(struct xl *x, const struct insn *i, struct cls c);
bool act_push_sreg(struct xl *x, const struct insn *i, struct cls c);
bool act_push_m(struct xl *x, const struct insn *i, struct cls c);
bool act_pop_r(struct xl *x, const struct insn *i, struct cls c);
bool act_pop_m(struct xl *x, const struct insn *i, struct cls c);
bool act_leave(struct xl *x, const struct insn *i, struct cls c);
bool act_jcc(struct xl *x, const struct insn *i, struct cls c);
bool act_call_over(struct xl *x, const struct insn *i, struct cls c);
bool act_jcc_turned(struct xl *x, const struct insn *i, struct cls c);
bool act_jmp(struct xl *x, const struct insn *i, struct cls c);
bool act_call(struct xl *x, const struct insn *i, struct cls c);
bool act_jmp_ind(struct xl *x, const struct insn *i, struct cls c);
bool act_call_ind(struct xl *x, const struct insn *i, struct cls c);
bool act_ret(struct xl *x, const struct insn *i, struct cls c);
bool act_loop(struct xl *x, const struct insn *i, struct cls c);
bool act_jcxz(struct xl *x, const struct insn *i, struct cls c);
bool act_mov_to_sreg(struct xl *x, const struct insn *i, struct cls c);
bool act_pop_sreg(struct xl *x, const struct insn *i, struct cls c);
bool act_verw(struct xl *x, const struct insn *i, struct cls c);
bool act_rdtsc(struct xl *x, const struct insn *i, struct cls c);
bool act_popf(struct xl *x, const struct insn *i, struct cls c);
bool act_from_cr(struct xl *x, const struct insn *i, struct cls c);
bool act_to_cr(struct xl *x, const struct insn *i, struct cls c);
bool act_in(struct xl *x, const struct insn *i, struct cls c);
bool act_invlpg(struct xl *x, const struct insn *i, struct cls c);
bool act_fxstate(struct xl *x, const struct insn *i, struct cls c);
bool act_string(struct xl *x, const struct insn *i, struct cls c);

#endif
