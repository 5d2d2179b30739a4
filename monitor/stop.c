/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kick: stopping translated code at a guest instruction boundary.
 *
 * The signal handler has the host's registers where the thread was interrupted. What it does depends on
 * where:
 *
 *  at a boundary     the guest's state is complete: save it and leave.
 *  in a repeated string instruction in window form: leave, too; it goes on later.
 *  within the sequence of a guest instruction, before it has changed anything: roll back. The host code from
 * the instruction's start to here is followed with symbols in place of values (trace()). If every guest
 * register is still in some host register, memory has not been written, and the flags are where they were,
 * put aside, or dead, the guest is where the instruction begins. behind that       roll forward: what is left
 * (a change of esp, flags, jumps, the check of a return's landing) is executed by software (hoststep.c) until
 * a boundary is reached. in a thunk that leads to C code: that looks at v->kick before it resumes
 * (bt_resume). In bt_resume: leave at once, all state is in struct vcpu. In the others: roll forward.
 *  elsewhere         C code; as above.
 *
 * Where software does not know the next host instruction, the host is single-stepped over it (TF), at the
 * price of an exception and a signal; after each step all of the above is tried again. trace() and hoststep.c
 * may know less than the translator emits, but what they know they know exactly: neither relies on the
 * translator to say what it has done so far. The only thing they take from it is that flags which are lost
 * and not put aside are dead (flags.c; with --no-opt=flags none are lost).
 *
 * Not stopped at: a boundary in the shadow of sti (PCM_INHIBIT).
 *
 * Must not: do anything that is not async-signal-safe; it only reads immutable parts of the cache.
 */
#include <signal.h>
#include <ucontext.h>
#include "base/opts.h"
#include "monitor/bt.h"
#include "monitor/hoststep.h"

#define HOST_TF      0x100
#define FORWARD_MAX  256 /* host instructions executed by software in a row */
#define MAX_PENDING  4
#define FLAGS_STATUS 0x8d5u

static const u8 greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

enum { RAX, RCX, RSP = 4, R8 = 8, R12 = 12, R13, R14, R15 };

bool bt_in_thunks(const u8 *pc)
{
    return pc >= bt_thunks_start && pc < bt_thunks_end;
}

bool bt_in_code(struct vcpu *v, const u8 *pc)
{
    const u8 *code = tcache_code(bt_of(v)->tc);
    return pc >= code && pc < code + tcache_code_size(bt_of(v)->tc);
}

/* A thunk's repeated string instruction, one page of it: v->kick is looked at behind it. */
static bool in_rep_thunk(const u8 *pc)
{
    for (u32 i = 0; i < ARRAY_SIZE(bt_rep_places); i++)
        if (pc == bt_rep_places[i])
            return true;
    return false;
}

/* A repeated string instruction in window form (translator/act_string.c): the registers are the guest's at
 * every iteration. *compares: it writes the flags. */
static bool at_rep(const u8 *pc, bool *compares)
{
    u8 op;

    if (*pc != 0xf2 && *pc != 0xf3)
        return false;
    op = pc[1] == 0x66 ? pc[2] : pc[1];
    *compares = (op & 0xfe) == 0xa6 || (op & 0xfe) == 0xae;
    return op >= 0xa4 && op <= 0xaf && op != 0xa8 && op != 0xa9;
}

void bt_spill(struct vcpu *v, const greg_t *g, bool saved)
{
    v->gpr[R_EAX] = (u32)g[REG_RAX];
    v->gpr[R_ECX] = (u32)g[REG_RCX];
    v->gpr[R_EDX] = (u32)g[REG_RDX];
    v->gpr[R_EBX] = (u32)g[REG_RBX];
    v->gpr[R_ESP] = (u32)g[REG_RBP];
    v->gpr[R_EBP] = (u32)g[REG_R13];
    v->gpr[R_ESI] = (u32)g[REG_RSI];
    v->gpr[R_EDI] = (u32)g[REG_RDI];
    v->aflags = (u32)g[REG_EFL] & FL_HOST;
    if (saved) {
        u32 s = (u32)g[REG_R12];
        v->aflags = (v->aflags & FL_DF) | ((s >> 8) & (FL_ARITH & 0xff)) | (s & 1 ? FL_OF : 0);
    }
}

u32 bt_find_insn(const struct fragment *f, u32 off)
{
    u32 k = f->n_insns - 1u;
    while (k && f->pcmap[k].host > off)
        k--;
    return k;
}

/* The guest's state is that before instruction k, but for what is pending of esp: leave translated code. */
static void leave(struct vcpu *v, greg_t *g, const struct fragment *f, u32 k, bool saved)
{
    bt_spill(v, g, saved);
    v->gpr[R_ESP] += (u32)f->pcmap[k].sp;
    v->eip = f->key.eip + f->pcmap[k].guest;
    g[REG_RIP] = (greg_t)(uintptr_t)bt_leave_async;
    v->stats.exit_async++;
}

/* At a boundary, or in the middle of a repeated string instruction: leaves translated code there. */
static bool stop_here(struct vcpu *v, greg_t *g, const u8 *pc)
{
    struct bt *b = bt_of(v);
    const struct fragment *f = tcache_find_host(b->tc, pc);
    u32 off, k;
    bool compares;

    if (!f)
        return false;
    off = (u32)(pc - fragment_host(b->tc, f));
    k = bt_find_insn(f, off);
    if (at_rep(pc, &compares)) {
        v->bt[BT_LEFT]++; /* it goes on later, and is counted again */
        leave(v, g, f, k, !compares && (f->pcmap[k].flags & PCM_OP_SAVED));
        return true;
    }
    while (k + 1 < f->n_insns &&
           f->pcmap[k + 1].host == off) /* empty sequences (nop): the last one is next to run */
        k++;
    if (f->pcmap[k].host != off || (f->pcmap[k].flags & PCM_INHIBIT))
        return false;
    leave(v, g, f, k, f->pcmap[k].flags & PCM_SAVED);
    return true;
}

/* ---- back ---- */

/* What a host register holds, in terms of the guest's state at the instruction's start. */
struct symbol {
    u8 what; /* a register by its host encoding; or: */
#define SYM_NONE  0xff
#define SYM_LAHF  0xfe /* the flags below OF are in bits 8-15 */
#define SYM_FLAGS 0xfd /* and OF is bit 0: as r12 has them */
    u8 plus;           /* SYM_NONE, or this register has been added to it */
    bool swapped;      /* its two low bytes */
};

struct trace {
    struct symbol r[16];
    bool flags; /* EFLAGS are the guest's, */
    u8 adox;    /* but for OF, which a comparison (exits.c) has changed: 1; its jo was not taken: 2; the adox
                   that    brings OF back has run: 0 again */
    bool aside; /* r12 has them */
    bool counted; /* BT_LEFT has been counted down */
    i8 pushed;    /* quadwords */
};

struct pending {
    const u8 *at;
    struct trace t;
};

static void sym_set(struct trace *t, u8 reg, struct symbol val)
{
    for (u32 n = 0; n < 16; n++)
        if (t->r[n].plus == reg)
            t->r[n] = (struct symbol){SYM_NONE, SYM_NONE, false};
    if (reg == ABI_FLAGS)
        t->aside = val.what == SYM_FLAGS;
    t->r[reg] = val;
}

static void sym_lose(struct trace *t, u8 reg)
{
    sym_set(t, reg, (struct symbol){SYM_NONE, SYM_NONE, false});
}

static bool is_guest(struct symbol s)
{
    return s.what < 16;
}

/* A register is written; not these, which are nobody's scratch. */
static bool sym_result(struct trace *t, const struct host_insn *i, u8 reg)
{
    if (i->size == 1 && !i->rex && reg >= 4)
        reg -= 4;
    if (reg == RSP || reg == R14 || reg == R15)
        return false;
    sym_lose(t, reg);
    return true;
}

/* Two ways lead here. */
static void sym_merge(struct trace *t, const struct trace *o)
{
    for (u8 n = 0; n < 16; n++)
        if (t->r[n].what != o->r[n].what || t->r[n].plus != o->r[n].plus ||
            t->r[n].swapped != o->r[n].swapped)
            t->r[n] = (struct symbol){SYM_NONE, SYM_NONE, false};
    t->flags = t->flags && o->flags;
    t->adox = t->adox | o->adox ? 1 : 0;
    t->aside = t->aside && o->aside;
}

static bool trace_mov(struct trace *t, const struct host_insn *i)
{
    if (!i->to_reg && i->mem) { /* only the slots that are scratch, and the count */
        bool slot = i->base == R15 && i->index < 0 && !i->guest && i->size == 8;
        if (slot && i->disp == BT_OFF(BT_LEFT))
            t->counted = true;
        else if (!(i->base == R15 && i->index < 0 && !i->guest && i->disp == BT_OFF(BT_TMP)))
            return false;
        return true;
    }
    u8 to = i->to_reg ? i->reg : i->rm, from = i->to_reg ? i->rm : i->reg;
    struct symbol s = t->r[from];
    if (i->mem || i->has_imm || i->size < 4)
        return sym_result(t, i, to);
    if (to == RSP || to == R14 || to == R15)
        return false;
    if (i->size == 4 && s.plus != SYM_NONE)
        s = (struct symbol){SYM_NONE, SYM_NONE, false};
    if (from != to || i->size == 8)
        sym_set(t, to, s);
    else if (t->r[to].plus != SYM_NONE)
        sym_lose(t, to);
    return true;
}

static bool trace_lea(struct trace *t, const struct host_insn *i)
{
    struct symbol s = t->r[i->reg];

    if (i->size == 8 && i->base == i->reg && i->index >= 0 && i->index != i->base && i->scale == 1 &&
        !i->disp && is_guest(s) && s.plus == SYM_NONE && !s.swapped) {
        sym_set(t, i->reg, (struct symbol){s.what, (u8)i->index, false});
        return true;
    }
    return sym_result(t, i, i->reg);
}

/* One host instruction on symbols; false: it is not one that can be taken back. Jumps are the caller's. */
static bool trace_one(struct trace *t, const struct host_insn *i)
{
    switch (i->op) {
    case HOST_MOV:
        return trace_mov(t, i);
    case HOST_LEA:
        return trace_lea(t, i);
    case HOST_MOVZX:
    case HOST_MOVSX:
    case HOST_CMOV:
        return sym_result(t, i, i->reg);
    case HOST_ALU:
    case HOST_SHIFT:
        t->flags = false;
        if (i->op == HOST_ALU && i->alu == 7)
            return true;
        return !(i->mem && !i->to_reg) && sym_result(t, i, i->to_reg ? i->reg : i->rm);
    case HOST_TEST:
    case HOST_BT:
        t->flags = false;
        return true;
    case HOST_NOT:
        return !i->mem && sym_result(t, i, i->rm);
    case HOST_ADOX:
        t->adox = t->adox == 2 && i->mem && i->base == R15 && i->index < 0 && i->disp == VO_ONE ? 0 : 1;
        return sym_result(t, i, i->reg);
    case HOST_XCHG:
        if (i->size != 1 || i->rex || i->reg != i->rm + 4 || !is_guest(t->r[i->rm]))
            return false;
        t->r[i->rm].swapped = !t->r[i->rm].swapped;
        return true;
    case HOST_LAHF:
        sym_set(t, RAX, (struct symbol){t->flags && !t->adox ? SYM_LAHF : SYM_NONE, SYM_NONE, false});
        return true;
    case HOST_SETCC: /* seto al */
        if (i->mem || i->rm != RAX)
            return false;
        sym_set(t, RAX,
                (struct symbol){t->r[RAX].what == SYM_LAHF && !i->cc && t->flags ? SYM_FLAGS : SYM_NONE,
                                SYM_NONE, false});
        return true;
    case HOST_SAHF:
        t->flags = false; /* they are in r12 still */
        return true;
    case HOST_PUSHF:
        t->pushed++;
        return true;
    case HOST_POP:
        t->pushed--;
        return i->rm >= R8 && i->rm < R12 && t->pushed >= 0 && sym_result(t, i, i->rm);
    case HOST_NOP:
        return true;
    default:
        return false;
    }
}

/* Follows the host code from an instruction's start up to pc: *t is what holds there. */
static bool trace(const u8 *start, const u8 *pc, struct trace *t)
{
    struct pending pending[MAX_PENDING];
    u32 n_pending = 0;
    bool alive = true;
    const u8 *at = start;

    for (;;) {
        for (u32 n = 0; n < n_pending; n++) {
            if (pending[n].at != at)
                continue;
            if (alive)
                sym_merge(t, &pending[n].t);
            else
                *t = pending[n].t;
            alive = true;
        }
        if (at >= pc)
            return at == pc && alive;
        struct host_insn i;
        if (!alive || !host_decode(at, &i))
            return false;
        const u8 *to = at + i.len + (i64)i.imm;
        bool jump = i.op == HOST_JCC || i.op == HOST_JRCXZ || i.op == HOST_JMP;
        if (jump && to <= pc) {
            if (to <= at || n_pending == MAX_PENDING)
                return false;
            pending[n_pending++] = (struct pending){to, *t};
        }
        if (i.op == HOST_JMP || i.op == HOST_JMP_M)
            alive = false;
        else if (i.op == HOST_JCC && i.cc == 0 && t->adox)
            t->adox = 2;
        else if (!jump && !trace_one(t, &i))
            return false;
        at += i.len;
        /* behind an unconditional jump, what nothing within leads to is not this instruction's road */
        bool reached = alive;
        for (u32 n = 0; n < n_pending; n++)
            reached |= pending[n].at >= at;
        if (!reached)
            return false;
        if (!alive) {
            const u8 *next = NULL;
            for (u32 n = 0; n < n_pending; n++)
                if (pending[n].at >= at && (!next || pending[n].at < next))
                    next = pending[n].at;
            at = next;
        }
    }
}

static const u8 guest_regs[8] = {0, 1, 2, 3, 6, 7, ABI_ESP, ABI_EBP};

/* The registers as they were where t began; false: one is lost. */
static bool recover(const struct trace *t, greg_t *g)
{
    u64 was[8];

    for (u32 n = 0; n < 8; n++) {
        u8 reg = guest_regs[n], at = reg;
        if (t->r[reg].what != reg)
            for (at = 0; at < 16 && t->r[at].what != reg; at++)
                ;
        if (at == 16)
            return false;
        u64 val = (u64)g[greg_of[at]];
        if (t->r[at].plus != SYM_NONE)
            val -= (u64)g[greg_of[t->r[at].plus]];
        if (t->r[at].swapped)
            val = (val & ~0xffffull) | (val & 0xff) << 8 | (val >> 8 & 0xff);
        was[n] = (u32)val;
    }
    for (u32 n = 0; n < 8; n++)
        g[greg_of[guest_regs[n]]] = (greg_t)was[n];
    g[REG_RSP] += 8 * t->pushed;
    return true;
}

/* Leaves translated code at the start of the instruction that pc is in the middle of, if that is possible. By
 * the pc map whatever lies out of line is the last instruction's; the road of that one leads there only if it
 * is, since what is out of line stands in the order of instructions, and only jumps back to what is shared.
 */
static bool roll_back(struct vcpu *v, greg_t *g, const u8 *pc)
{
    struct bt *b = bt_of(v);
    const struct fragment *f = tcache_find_host(b->tc, pc);
    struct trace t = {.flags = true};
    u32 k;

    if (!f)
        return false;
    k = bt_find_insn(f, (u32)(pc - fragment_host(b->tc, f)));
    if (f->pcmap[k].flags & PCM_INHIBIT)
        return false;
    for (u8 n = 0; n < 16; n++)
        t.r[n] = (struct symbol){SYM_NONE, SYM_NONE, false};
    for (u32 n = 0; n < 8; n++)
        t.r[guest_regs[n]].what = guest_regs[n];
    if (f->pcmap[k].flags & PCM_SAVED) {
        t.flags = false;
        t.aside = true;
        t.r[ABI_FLAGS].what = SYM_FLAGS;
    }
    if (!trace(fragment_host(b->tc, f) + f->pcmap[k].host, pc, &t))
        return false;
    if (!t.aside && (t.adox || (!t.flags && !(v->opts & OPT(flags)))))
        return false;
    if (!recover(&t, g))
        return false;
    v->bt[BT_LEFT] += t.counted;
    leave(v, g, f, k, t.aside && (!t.flags || t.adox));
    v->stats.kick_back++;
    return true;
}

/* ---- forward ---- */

/* The memory that the code between guest instructions uses: none of it faults. Thunks know what they do. */
static bool may_access(void *opaque, u64 addr, u32 size, bool write)
{
    struct vcpu *v = opaque;
    struct bt *b = bt_of(v);
    u64 stack = addr - (u64)(uintptr_t)b->ret_stacks, base = v->bt[BT_BASE];

    if (stack < (u64)CTX_CACHE * RET_STACK)
        return stack % RET_STACK >= PAGE_SIZE;
    if (addr - (u64)(uintptr_t)v < sizeof(*v) || b->soft_in_thunk)
        return true;
    if (write)
        return false;
    return addr - (u64)(uintptr_t)b->ibtc < IBTC_BYTES || addr - (base - SPACE_RT_OFF) < SPACE_RT_OFF - size;
}

static void to_state(const greg_t *g, struct host_state *s)
{
    for (u32 n = 0; n < 16; n++)
        s->r[n] = (u64)g[greg_of[n]];
    s->pc = (u64)g[REG_RIP];
    s->flags = (u64)g[REG_EFL];
}

static void from_state(const struct host_state *s, greg_t *g)
{
    for (u32 n = 0; n < 16; n++)
        g[greg_of[n]] = (greg_t)s->r[n];
    g[REG_RIP] = (greg_t)s->pc;
    g[REG_EFL] = (greg_t)s->flags;
}

/* Where the thread is in a thunk: need nothing be done, since it or C code will look at v->kick? */
static bool thunk_looks(greg_t *g)
{
    const u8 *pc = (const u8 *)(uintptr_t)g[REG_RIP];

    if (pc >= bt_resume && pc < bt_resume_end) {
        g[REG_RIP] = (greg_t)(uintptr_t)bt_leave_kick;
        return true;
    }
    return pc < bt_to_c_end || in_rep_thunk(pc) || (pc >= bt_fx_start && pc <= bt_fx_looks);
}

/* One host instruction by software. */
static bool soft_step(struct vcpu *v, greg_t *g)
{
    struct host_state s = {.access = may_access, .opaque = v};
    struct host_insn i;
    const u8 *pc = (const u8 *)(uintptr_t)g[REG_RIP];

    bt_of(v)->soft_in_thunk = bt_in_thunks(pc);
    if (!host_decode(pc, &i))
        return false;
    to_state(g, &s);
    if (!host_exec(&s, &i))
        return false;
    from_state(&s, g);
    v->stats.kick_soft_steps++;
    return true;
}

/* Does all that leads out of translated code without single steps. False: the next host instruction must be
 * stepped. */
static bool stop(struct vcpu *v, greg_t *g)
{
    bool soft = v->opts & OPT(softstep);

    for (u32 n = 0; n < FORWARD_MAX; n++) {
        const u8 *pc = (const u8 *)(uintptr_t)g[REG_RIP];
        if (bt_in_code(v, pc)) {
            if (stop_here(v, g, pc) || (soft && roll_back(v, g, pc)))
                return true;
        } else if (!bt_in_thunks(pc) || thunk_looks(g)) {
            return true;
        }
        if (!soft || !soft_step(v, g))
            return false;
    }
    return false;
}

void bt_seek_boundary(struct vcpu *v, greg_t *g)
{
    struct bt *b = bt_of(v);

    g[REG_EFL] &= ~(greg_t)HOST_TF;
    b->stepping = b->probing = false;
    if (!__atomic_load_n(&v->kick, __ATOMIC_RELAXED))
        return;
    if (!stop(v, g)) {
        g[REG_EFL] |= HOST_TF;
        b->stepping = true;
        v->stats.exit_kick_steps++;
    }
}

/* ---- forced stops ---- */

/* Translated code ran into a trap of monitor_config.kicks: the same as a kick there. */
static void stop_at_trap(struct vcpu *v, greg_t *g, const u8 *pc)
{
    struct bt *b = bt_of(v);

    if (!stop_here(v, g, pc))
        return; /* in the shadow of sti: not here; a kick that is looking for a boundary steps on */
    g[REG_EFL] &= ~(greg_t)HOST_TF;
    b->stepping = false;
    b->kick_stopped = true;
    b->kick_eip = v->eip;
    b->kick_host = (u32)(pc - tcache_code(b->tc));
    __atomic_store_n(&v->kick, 1, __ATOMIC_SEQ_CST);
}

/* A place where a kick is tried once: whether it is the first time. */
static bool first_time(struct vcpu *v, const u8 *pc)
{
    struct bt *b = bt_of(v);
    u64 bit = bt_in_code(v, pc) ? (u64)(pc - tcache_code(b->tc))
                                : tcache_code_size(b->tc) + (u64)(pc - bt_thunks_start);
    u8 mask = (u8)(1u << (bit & 7));

    if (b->kick_tried[bit / 8] & mask)
        return false;
    b->kick_tried[bit / 8] |= mask;
    return true;
}

u64 bt_kick_tried_bytes(const struct bt *b)
{
    return (tcache_code_size(b->tc) + (u64)(bt_thunks_end - bt_thunks_start)) / 8 + 1;
}

static bool at_boundary(struct vcpu *v, const u8 *pc)
{
    struct bt *b = bt_of(v);
    const struct fragment *f = bt_in_code(v, pc) ? tcache_find_host(b->tc, pc) : NULL;

    return f && f->pcmap[bt_find_insn(f, (u32)(pc - fragment_host(b->tc, f)))].host ==
                    (u32)(pc - fragment_host(b->tc, f));
}

void bt_probe(struct vcpu *v, greg_t *g)
{
    struct bt *b = bt_of(v);
    const u8 *pc = (const u8 *)(uintptr_t)g[REG_RIP];

    g[REG_EFL] &= ~(greg_t)HOST_TF;
    b->probing = false;
    if ((!bt_in_code(v, pc) && !bt_in_thunks(pc)) || at_boundary(v, pc)) {
        tcache_patch_nop(b->tc, b->kick_host); /* all of it has been tried */
    } else if (first_time(v, pc)) {
        v->stats.forced_stops++;
        __atomic_store_n(&v->kick, 1, __ATOMIC_SEQ_CST);
        bt_seek_boundary(v, g);
    } else {
        g[REG_EFL] |= HOST_TF;
        b->probing = true;
    }
}

void bt_forced_stop(struct vcpu *v, greg_t *g)
{
    struct bt *b = bt_of(v);
    const u8 *pc = (const u8 *)(uintptr_t)g[REG_RIP] - 1;

    if (b->cfg.kicks != KICKS_HOST) {
        stop_at_trap(v, g, pc);
        return;
    }
    if (b->stepping) { /* a kick on its way */
        if (stop_here(v, g, pc)) {
            g[REG_EFL] &= ~(greg_t)HOST_TF;
            b->stepping = false;
        }
        return;
    }
    /* the instruction's host code, one step at a time */
    b->probing = true;
    b->kick_host = (u32)(pc - tcache_code(b->tc));
    g[REG_EFL] |= HOST_TF;
}
