/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ways out of a unit: chained direct exits, indirect branches, callouts, and the out-of-line stubs.
 *
 * A direct exit is `jmp rel32` (or jcc or call rel32) to its stub until it is chained to its target: within
 * the page to the target's code, else to its checked entry (entry.c). Flags survive both, so exits need no
 * knowledge of the target's liveness.
 *
 * Comparing without losing flags: adox adds OF and sets OF to the carry out, and changes nothing else. The
 * doubling makes the difference even: 0 plus -2 plus OF does not carry, whatever OF was; 2 and more always
 * do. Bit 0 of the sum is then what OF was. Where they are equal the sum is -2 or -1, and adding 1 makes that
 * OF again; it is left away where OF is dead. Where they differ the thunk does it. On hosts without ADX, or
 * with --no-opt=ofcheck, jrcxz compares, which costs two moves and a jump that is taken:
 *
 *      mov  r11, rcx
 *      lea  ecx, [difference]
 *      jrcxz same
 *      mov  rcx, r11
 *      jmp  stub
 *  same: mov rcx, r11
 *
 * Calls are host calls, so that the host predicts their returns. A guest ret pops the guest's return address
 * into r8, with its sign, and does a host ret, which lands behind the host call of some call site; the
 * landing goes on only if r8d is the address that its own call pushed, and otherwise looks r8d up like any
 * indirect branch:
 *
 *      call target
 *      lea  r11, [r8 + r8 - 2 * return address]      (where the displacement has no room:
 *                                                     lea r11d, [r8 - return address]
 *                                                     lea r11, [r11 + r11])
 *      adox r11, [-2]
 *      jo   stub                                     -> TH_RET_MISS
 *      adox r11d, [1]
 *      (the code behind the call, or where the unit ends with the call a direct exit to it)
 *
 * An indirect branch looks its target up in the branch cache (abi.h). The tag is minus what is added to it
 * here, so that equal is 0. Whether OF matters only the target knows, so it brings OF back
 * itself: the cache leads to the last instruction of its checked entry, which does so with the sum in r11d
 * (entry.c). Whoever comes that way with OF as it should be has -2 there.
 *
 *      movzx r9d, (target's low 16 bits)
 *      mov  r10, [BT_IBTC]
 *      mov  r11, [r10 + r9 * 8]                      the tag
 *      lea  r11, [r11 + target * 2 + IBTC_TAG]
 *      adox r11, [-2]
 *      jo   stub                                     -> TH_IND_OF
 *      call [r10 + r9 * 8 + IBTC_HOST_OFF]           or jmp
 *
 * The host's return stack belongs to one context (address-space view, mode, code segment; monitor/run.c), so
 * a landing never runs with other rights or another address space than its call did.
 */
#include "translator/xl.h"

void count_flush(struct xl *x)
{
    struct emit *e = &x->e;

    if (x->env->count && x->uncounted) {
        e_rm(e, 1, 0x8b, R11, R15, -1, 1, BT_OFF(BT_COUNT));
        e_lea64(e, R11, R11, -1, 1, (i32)x->uncounted);
        e_rm(e, 1, 0x89, R11, R15, -1, 1, BT_OFF(BT_COUNT));
    }
    x->uncounted = 0;
}

void count_exact(struct xl *x)
{
    struct emit *e = &x->e;
    u32 stop, go;

    e_mov_rr64(e, R11, RCX);
    e_rm(e, 1, 0x8b, RCX, R15, -1, 1, BT_OFF(BT_LEFT));
    stop = e_jrcxz(e);
    e_lea64(e, RCX, RCX, -1, 1, -1);
    e_rm(e, 1, 0x89, RCX, R15, -1, 1, BT_OFF(BT_LEFT));
    e_mov_rr64(e, RCX, R11);
    go = e_jmp(e);
    e_fix8(e, stop, e->pos);
    e_mov_rr64(e, RCX, R11);
    if (x->sp_pend)
        e_lea32(e, ABI_ESP, ABI_ESP, -1, 1, x->sp_pend);
    if (x->fs == FS_SAVED)
        fl_emit_restore(e);
    e_mov_eip(x, R9, insn_eip(x, x->k));
    jmp_thunk(e, TH_INTR);
    e_fix32(e, go, e->pos);
}

void stub_add(struct xl *x, enum stub_kind kind, u32 from, u32 size, u32 back, u32 link)
{
    if (x->n_stubs == MAX_STUBS) {
        x->e.overflow = true;
        return;
    }
    x->stubs[x->n_stubs++] = (struct stub){.kind = kind,
                                           .insn = (u8)x->k,
                                           .saved = x->fs == FS_SAVED,
                                           .size = (u8)size,
                                           .from = from,
                                           .back = back,
                                           .link = link};
}

void jump_insn(struct xl *x, u32 at, u32 insn)
{
    if (x->n_fixups == MAX_FIXUPS) {
        x->e.overflow = true;
        return;
    }
    x->fixups[x->n_fixups++] = (struct fixup){.at = at, .insn = (u8)insn};
}

/* Whether a jump to instruction t of the unit may take a displacement of 8 bits. One ahead is promised so
 * when few bytes of the guest's lie between: where the promise does not hold, the unit is made again without
 * promises. */
static bool is_near(const struct xl *x, u32 t)
{
    if (t <= x->k)
        return x->e.pos + 2 - x->host[t] <= 128;
    return x->env->mode & MODE_WIN && !x->all_far &&
           x->u->pcmap[t].guest - x->u->pcmap[x->k].guest <= NEAR_GUEST;
}

/* A jump to instruction t of the unit, on a condition or (cc < 0) always. */
static void jump_within(struct xl *x, int cc, u32 t)
{
    struct emit *e = &x->e;

    if (!is_near(x, t)) {
        jump_insn(x, cc < 0 ? e_jmp(e) : e_jcc(e, cc), t);
        return;
    }
    jump_insn(x, cc < 0 ? e_jmp8(e) : e_jcc8(e, cc), t);
    if (!e->overflow)
        x->fixups[x->n_fixups - 1].near = true;
}

int unit_insn_at(const struct xl *x, u32 target)
{
    u32 lo = 0, hi = x->u->n_insns, off = target - x->env->eip;

    if (off >= x->u->guest_len)
        return -1;
    while (lo + 1 < hi) { /* the last one that starts at or before it */
        u32 mid = (lo + hi) / 2;
        if (x->u->pcmap[mid].guest <= off)
            lo = mid;
        else
            hi = mid;
    }
    return x->u->pcmap[lo].guest == off ? (int)lo : -1;
}

static bool same_page(const struct xl *x, u32 target)
{
    u32 base = x->env->cs_base;
    return !x->u->crosses && ((x->env->eip + base) >> PAGE_SHIFT) == ((target + base) >> PAGE_SHIFT);
}

/* Whether the exit may be chained; far: to another page. */
static bool may_chain(const struct xl *x, bool far)
{
    u64 need = far ? OPT(xpage) | OPT(chain) : OPT(chain);

    return (x->env->opts & need) == need && (!far || (x->env->mode & MODE_FLATCS));
}

/* The jump whose rel32 is at `from` leads to another unit: chained, if that may be. kind: of the
 * link's stub. Returns the link, NULL: there is none. */
static struct unit_link *exit_to(struct xl *x, u32 target, u32 from, enum stub_kind kind)
{
    u32 n = x->u->n_links;
    bool far = !same_page(x, target);

    if (!may_chain(x, far)) {
        stub_add(x, STUB_LOOKUP, from, 0, 0, target);
        return NULL;
    }
    if (n == UNIT_MAX_LINKS) {
        x->e.overflow = true;
        return NULL;
    }
    x->u->links[n] = (struct unit_link){.target = target, .patch = from, .far = far};
    x->u->n_links++;
    stub_add(x, kind, from, 0, 0, n);
    return &x->u->links[n];
}

/* Calls the thunk that counts an arm of the branch that this link is of. */
static void count_arm(struct xl *x, u32 link, int th)
{
    e_mov_ri32(&x->e, R9, x->env->first_link + link);
    unit_moves(x, MOVE_LINK);
    e_rm(&x->e, 0, 0xff, 2, R15, -1, 1, BT_OFF(BT_THUNK0 + th));
}

/* Jumps if reg, which is even, is not 0. Returns the rel32's position. of: OF matters behind it. */
static u32 jump_nonzero(struct emit *e, int w, int reg, bool of)
{
    u32 at;

    e_adox(e, w, reg, R15, VO_MINUS_TWO);
    at = e_jcc(e, 0); /* jo */
    if (of)
        e_adox(e, 0, reg, R15, VO_ONE);
    return at;
}

/*
 * Before a call of `bytes` bytes: a landing that would lie across two lines begins the next one. The host
 * fetches it anew, as the target of a return, and would get but an instruction or two of it in the first
 * cycle.
 */
static void align_landing(struct xl *x, u32 bytes)
{
    const u32 landing = (eip_near_0(x->env->eip) ? 8 : 7 + 4) + 6 + 6 /* lea or two, adox, jo */
                        + (fl_live(x, x->k + 1, FL_OF) ? 7 : 0);      /* adox */
    u32 at = (x->line_at + x->e.pos + bytes) & (CODE_LINE - 1);

    if ((x->env->opts & OPT(ofcheck)) && (x->env->opts & OPT(align)) && (x->env->mode & MODE_WIN) &&
        at + landing > CODE_LINE)
        e_nops(&x->e, CODE_LINE - at);
}

void exit_direct(struct xl *x, u32 target)
{
    int t = unit_insn_at(x, target);

    fl_host(x);
    count_flush(x);
    if (t >= 0 && (x->mark[t] & MARK_TARGET))
        jump_within(x, -1, (u32)t);
    else
        exit_to(x, target, e_jmp(&x->e), STUB_LINK);
}

/* Behind a host call: guest ret came here with the address that it popped in r8d. */
static void emit_landing(struct xl *x)
{
    struct emit *e = &x->e;
    struct unit *u = x->u;
    u32 ret = next_eip(x, &u->insns[x->k]), at = e->pos, same, miss;
    bool goes_on = x->k + 1 < u->n_insns;

    x->fs = FS_HOST;
    if (x->env->opts & OPT(ofcheck)) {
        if (eip_near_0(x->env->eip)) {
            e_lea64(e, R11, R8, R8, 1, -2 * (i32)ret);
            unit_moves(x, MOVE_NEG_2EIP);
        } else {
            e_lea32(e, R11, R8, -1, 1, -(i32)ret);
            unit_moves(x, MOVE_NEG_EIP);
            e_lea64(e, R11, R11, R11, 1, 0);
        }
        same = jump_nonzero(e, 1, R11, fl_live(x, x->k + 1, FL_OF));
        miss = 0; /* the stub says it */
        stub_add(x, STUB_RET_OF, same, 0, 0, goes_on ? u->n_landings + 1 : 0);
    } else {
        e_mov_rr64(e, R11, RCX);
        e_lea32(e, RCX, R8, -1, 1, -(i32)ret);
        unit_moves(x, MOVE_NEG_EIP);
        same = e_jrcxz(e);
        e_mov_rr64(e, RCX, R11);
        miss = e->pos;
        jmp_thunk(e, TH_IBRANCH);
        e_fix8(e, same, e->pos);
        e_mov_rr64(e, RCX, R11);
    }
    if (goes_on) {
        u->landings[u->n_landings++] = (struct unit_landing){.at = at, .miss = miss};
        x->mark[x->k + 1] |= MARK_LANDED;
        return;
    }
    exit_direct(x, ret);
    x->done = true;
}

void exit_push(struct xl *x, u32 target)
{
    if (x->k + 1 < x->u->n_insns && insn_eip(x, x->k + 1) == target)
        return; /* here */
    sp_flush(x);
    exit_direct(x, target);
    x->done = true;
}

void exit_call(struct xl *x, u32 target)
{
    /* `call next` only wants to know its own address: no ret will ever match it */
    if (!(x->env->opts & OPT(ras)) || target == next_eip(x, &x->u->insns[x->k])) {
        exit_push(x, target);
        return;
    }
    sp_flush(x);
    fl_host(x);
    count_flush(x);
    align_landing(x, 5);
    exit_to(x, target, e_call(&x->e), STUB_LINK);
    emit_landing(x);
}

void exit_return(struct xl *x)
{
    sp_flush(x);
    fl_host(x);
    count_flush(x);
    e8(&x->e, 0xc3); /* ret */
    x->done = true;
}

void exit_cond(struct xl *x, int cc, u32 target, bool passed)
{
    int t = unit_insn_at(x, target);
    struct unit_link *l;

    fl_host(x);
    count_flush(x);
    if (t >= 0 && (x->mark[t] & MARK_TARGET)) {
        jump_within(x, cc, (u32)t);
        return;
    }
    l = exit_to(x, target, e_jcc(&x->e, cc), x->env->profile ? STUB_TAKEN : STUB_LINK);
    if (!l)
        return;
    l->arm = insn_arm(x, passed);
    if (unlikely(x->env->profile))
        count_arm(x, (u32)(l - x->u->links), TH_PASSED);
}

void exit_indirect(struct xl *x, int reg, bool call)
{
    struct emit *e = &x->e;
    u32 miss, landing = 0;
    bool of = x->fs == FS_HOST && (x->env->opts & OPT(ofcheck));

    call = call && (x->env->opts & OPT(ras)) && (x->env->opts & OPT(ibtc));

    sp_flush(x);
    count_flush(x);
    x->done = !call;
    if (!(x->env->opts & OPT(ibtc))) {
        fl_host(x);
        if (reg != R8)
            e_mov_rr32(e, R8, reg);
        jmp_thunk(e, TH_LOOKUP);
        return;
    }
    e_movzx16(e, R9, reg);
    e_rm(e, 1, 0x8b, R10, R15, -1, 1, BT_OFF(BT_IBTC));
    if (x->fs == FS_SAVED || of) {
        e_rm(e, 1, 0x8b, R11, R10, R9, 8, 0);
        e_lea64(e, R11, R11, reg, 2, IBTC_TAG);
    }
    if (x->fs == FS_SAVED) {
        e_rr(e, 1, 0x85, R11, R11); /* test */
        miss = e_jcc(e, 5);
        fl_emit_restore(e);
        if (entry_restores_of(x->env->opts, x->env->mode))
            e_mov_ri32(e, R11, (u32)-2);
    } else if (of) {
        miss = jump_nonzero(e, 1, R11, !entry_restores_of(x->env->opts, x->env->mode));
    } else {
        u32 hit;
        if (reg == RCX)
            e_mov_rr32(e, R8, reg), reg = R8;
        e_mov_rr64(e, R11, RCX);
        e_rm(e, 1, 0x8b, RCX, R10, R9, 8, 0);
        e_lea64(e, RCX, RCX, reg, 2, IBTC_TAG);
        hit = e_jrcxz(e);
        e_mov_rr64(e, RCX, R11);
        miss = e_jmp(e);
        e_fix8(e, hit, e->pos);
        e_mov_rr64(e, RCX, R11);
    }
    if (call)
        align_landing(x, 8);
    e_rm(e, 0, 0xff, call ? 2 : 4, R10, R9, 8, IBTC_HOST_OFF); /* call or jmp [r10 + r9 * 8 + ...] */
    if (call)
        landing = e->pos;
    stub_add(x, of ? STUB_IND_OF : STUB_IND_MISS, miss, 0, (u32)reg, landing);
    x->fs = FS_HOST;
    if (call)
        emit_landing(x);
}

/* The instruction in r8, its eip in r9, the guest's flags in the host's (or saved): what a callout for it
 * takes. False: no room. */
static bool exit_insn(struct xl *x, const struct insn *i, bool saved)
{
    struct emit *e = &x->e;
    struct insn *kept = unit_keep(x, i);

    if (!kept) {
        e->overflow = true;
        return false;
    }
    if (saved)
        fl_force_saved(x);
    else
        fl_host(x);
    count_flush(x);
    e_mov_insn(x, R8, kept);
    e_mov_eip(x, R9, insn_eip(x, x->k));
    return true;
}

void exit_exec(struct xl *x, const struct insn *i)
{
    struct emit *e = &x->e;

    if (!exit_insn(x, i, false))
        return;
    x->full = 0; /* it may load a segment register */
    x->df_clear = false;
    u32 at = e_lea_rip(e, R10);
    jmp_thunk(e, TH_EXEC);
    e_fix32(e, at, e->pos);
}

void exit_clts(struct xl *x, const struct insn *i)
{
    struct emit *e = &x->e;

    if (x->env->exact) {
        exit_exec(x, i);
        return;
    }
    if (!exit_insn(x, i, true))
        return;
    e_mov_ri32(e, R10, 0);
    jmp_thunk(e, TH_CLTS);
    x->done = true;
}

void exit_cr3(struct xl *x, const struct insn *i)
{
    struct emit *e = &x->e;

    if (x->env->exact) {
        exit_exec(x, i);
        return;
    }
    if (!exit_insn(x, i, true))
        return;
    e_mov_ri32(e, R10, 0);
    e_mov_rr32(e, R11, hreg(i->rm));
    jmp_thunk(e, TH_CR3);
    x->done = true;
}

/* Who does it, if it was done before in the same way. */
static int sys_thunk(const struct xl *x, const struct insn *i)
{
    u32 mode = x->env->mode, cpl = mode & MODE_CPL;

    if (i->map == 1)
        return (i->opcode == 0x34) == (cpl == 0) ? TH_SYS : cpl ? TH_SYSENTER : TH_SYSEXIT;
    if (!(x->env->opts & OPT(gates)) || (mode & (MODE_PE | MODE_VM)) != MODE_PE)
        return TH_SYS;
    if (i->opcode == 0xcd && cpl == 3)
        return TH_INT;
    return i->opcode == 0xcf && i->opsize == 4 && cpl == 0 ? TH_IRET : TH_SYS;
}

void exit_sys(struct xl *x, const struct insn *i)
{
    struct emit *e = &x->e;
    int th = TH_SYS;

    if (!x->env->exact)
        th = sys_thunk(x, i);
    if (!exit_insn(x, i, th != TH_SYS))
        return;
    if (th == TH_SYS)
        e_mov_ri32(e, R10, 0);
    jmp_thunk(e, th);
    x->done = true;
}

/* Out of a stub by the thunk: by a jump that another stub of the unit has already, if it is near. So stubs,
 * which lie between what is run, stay short. */
static void stub_leave(struct xl *x, int th)
{
    struct emit *e = &x->e;
    u32 at = x->leaves[th];

    if (at && e->pos + 2 - at <= 128) {
        e8(e, 0xeb);
        e8(e, (u8)(at - (e->pos + 1)));
        return;
    }
    x->leaves[th] = e->pos;
    jmp_thunk(e, th);
}

/* The place of a jump to the thunk, wherever it is. */
static u32 stub_thunk(struct xl *x, int th)
{
    if (!x->leaves[th])
        stub_leave(x, th);
    return x->leaves[th];
}

/* The instruction's own address, and where the next one starts. */
static void stub_args(struct xl *x, const struct stub *s)
{
    struct emit *e = &x->e;

    if (s->saved)
        fl_emit_restore(e);
    e_mov_eip(x, R9, insn_eip(x, s->insn));
    if (x->done && s->insn + 1u == x->u->n_insns)
        e_mov_ri32(
            e, R10,
            0); /* nothing follows a branch, even where its target happens to be the next instruction */
    else
        jump_insn(x, e_lea_rip(e, R10), s->insn + 1u);
}

static void stub_emit(struct xl *x, u32 n)
{
    struct emit *e = &x->e;
    struct stub *s = &x->stubs[n];

    x->k = s->insn;
    x->fs = s->saved ? FS_SAVED : FS_HOST;
    if (s->from)
        e_fix32(e, s->from, e->pos);
    switch (s->kind) {
    case STUB_MISS_R:
    case STUB_MISS_W:
        stub_args(x, s);
        jump_insn(x, e_lea_rip(e, R11), s->insn);
        stub_leave(x, s->kind == STUB_MISS_R ? TH_READ_MISS : TH_WRITE_MISS);
        break;
    case STUB_MISALIGNED:
        e_lea32(e, R10, R8, -1, 1, (i32)s->size - 1);
        e_rr(e, 0, 0x33, R10, R8);
        e_rex(e, 0, 0, 0, R10);
        e8(e, 0xf7);
        e_modrm(e, 3, 0, R10);
        e32(e, 0xfffff000u);
        e_fix32(e, e_jcc(e, 4), s->back);
        /* fall through: the access crosses a page */
        /* FALLTHRU */
    case STUB_SLOW:
        stub_args(x, s);
        stub_leave(x, TH_SLOW);
        break;
    case STUB_EXEC:
    case STUB_CR0: {
        const struct insn *i = &x->u->insns[s->insn];
        struct insn *kept = unit_keep(x, i);
        struct stub args = *s;
        if (!kept) {
            e->overflow = true;
            break;
        }
        if (s->kind == STUB_CR0)
            args.saved = false; /* they stay so */
        stub_args(x, &args);
        e_mov_insn(x, R8, kept);
        if (s->kind == STUB_CR0)
            e_mov_rr32(e, R11, hreg(i->rm));
        stub_leave(x, s->kind == STUB_CR0 ? TH_CR0 : TH_EXEC);
        break;
    }
    case STUB_SLOW_OUT:
        if (s->saved)
            fl_emit_restore(e);
        e_mov_eip(x, R9, insn_eip(x, s->insn));
        e_mov_ri32(e, R10, 0);
        stub_leave(x, TH_SLOW);
        break;
    case STUB_LOOKUP:
        e_mov_eip(x, R8, s->link);
        stub_leave(x, TH_LOOKUP);
        break;
    case STUB_TAKEN:
        count_arm(x, s->link, TH_TAKEN);
        /* Its stub here and not behind the others: a kick in a stub is traced from the unit's last
         * instruction (monitor/stop.c), whose stub must not hold what others jump to. */
        x->u->links[s->link].patch = e_jmp(e);
        e_fix32(e, x->u->links[s->link].patch, e->pos);
        /* FALLTHRU */
    case STUB_LINK:
        x->u->links[s->link].stub = e->pos;
        e_mov_ri32(e, R9, x->env->first_link + s->link);
        unit_moves(x, MOVE_LINK);
        stub_leave(x, TH_LINK);
        break;
    case STUB_IND_MISS:
        if (s->saved)
            fl_emit_restore(e);
        /* FALLTHRU */
    case STUB_IND_OF:
        if (s->link) { /* push the landing as the call would have */
            u32 over = e_call(e);
            e_fix32(e, e_jmp(e), s->link);
            e_fix32(e, over, e->pos);
        }
        if (s->back != R8)
            e_mov_rr32(e, R8, (int)s->back);
        stub_leave(x, s->kind == STUB_IND_OF ? TH_IND_OF : TH_LOOKUP);
        break;
    case STUB_RET_OF:
        e_fix32(e, s->from, stub_thunk(x, TH_RET_MISS));
        if (s->link)
            x->u->landings[s->link - 1].miss = stub_thunk(x, TH_IBRANCH);
        break;
    }
}

void stubs_emit(struct xl *x)
{
    for (u32 n = 0; n < x->n_stubs; n++)
        stub_emit(x, n);
    for (u32 n = 0; n < x->n_fixups; n++) {
        const struct fixup *f = &x->fixups[n];
        u32 to = x->host[f->insn];
        if (!f->near)
            e_fix32(&x->e, f->at, to);
        else if (to > f->at + 1 + 127)
            x->too_far = true;
        else
            e_fix8(&x->e, f->at, to);
    }
}
