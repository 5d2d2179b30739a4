/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One unit, from bytes to host code: decode, classify, liveness, emit. Read this file first.
 *
 *  1. decode up to UNIT_MAX_INSNS instructions, ending at the page's end, at an unconditional transfer, or
 * before an instruction that needs the next page;
 *  2. classify each (classify.c) and find jumps that stay inside the unit;
 *  3. compute which arithmetic flags are live before each instruction;
 *  4. emit each instruction's action, recording where its host code starts (the pc map);
 *  5. emit the exit for falling off the end, then the out-of-line stubs.
 */
#include <cpuid.h>
#include <Zydis/Zydis.h>
#include "translator/xl.h"

static bool ends_unit(const struct xl *x, u32 k)
{
    switch (x->cls[k].act) {
    case ACT_JMP:
    case ACT_JMP_IND:
    case ACT_RET:
    case ACT_CLTS:
    case ACT_SYS:
    case ACT_EXEC_END:
        return true;
    case ACT_CALL:
    case ACT_CALL_IND:
        return !call_goes_on(x, k);
    case ACT_JCC:
    case ACT_LOOP:
    case ACT_JCXZ:
        return !(x->env->opts & OPT(superblock));
    default:
        return false;
    }
}

static enum xlate_status decode_unit(struct xl *x)
{
    const struct unit_env *env = x->env;
    struct unit *u = x->u;
    u32 off = 0;

    for (u32 k = 0; k < UNIT_MAX_INSNS; k++) {
        struct insn *i = &u->insns[k];
        bool crosses = false;
        int r;

        if (off == env->avail || (k && unlikely(env->stop_before) && env->stop_before(env->opaque, off)))
            break;
        u32 room = env->avail - off;
        if (!(env->mode & MODE_FLATCS)) { /* what lies beyond the limit is not looked at: #GP comes first */
            u64 allowed = (u64)env->cs_limit + 1 - env->eip;
            if (allowed <= off)
                break;
            if (allowed - off < room)
                room = (u32)(allowed - off);
        }
        r = env->memo ? insn_memo_decode(env->memo, env->bytes + off, room, env->mode & MODE_CS32, i)
                      : insn_decode(env->model, env->bytes + off, room, env->mode & MODE_CS32, i);
        if (r < 0 && room < INSN_MAX &&
            (room < env->avail - off ||
             (!(env->mode & MODE_FLATCS) && (u64)env->eip + env->avail > env->cs_limit))) {
            if (k)
                break;
            return XLATE_INTERP;
        }
        if (r < 0) { /* runs into the next page */
            if (k)
                break;
            if (!env->cross)
                return XLATE_NEED_CROSS;
            r = env->memo
                    ? insn_memo_decode(env->memo, env->cross, env->cross_avail, env->mode & MODE_CS32, i)
                    : insn_decode(env->model, env->cross, env->cross_avail, env->mode & MODE_CS32, i);
            crosses = true;
        }
        if (r || (!(env->mode & MODE_FLATCS) && (u64)env->eip + off + i->len - 1 > env->cs_limit)) {
            if (k)
                break;
            return XLATE_INTERP;
        }
        u->pcmap[k].guest = (u16)off;
        x->cls[k] = classify(i, env->mode, env->opts);
        off += i->len;
        u->n_insns = k + 1;
        u->crosses = crosses;
        if (crosses || ends_unit(x, k))
            break;
    }
    u->guest_len = u->depends = off;
    if (u->n_insns && u->insns[u->n_insns - 1].mnemonic == ZYDIS_MNEMONIC_INVALID) {
        /* bytes behind the ones that count for its length may have made it undefined */
        u32 last = u->pcmap[u->n_insns - 1].guest + INSN_MAX,
            seen = u->crosses ? env->cross_avail : env->avail;
        u->depends = last < seen ? last : seen;
    }
    return XLATE_OK;
}

/*
 * Robin and Irvine's 18 mnemonics in their sensitive forms, and the privileged and virtualised rest. By
 * Zydis' mnemonic, not by our own table, so that a slip there is counted: none of these may ever be copied.
 */
static bool sensitive(const struct insn *i)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_INTO:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDMSR:
    case ZYDIS_MNEMONIC_WRMSR:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_IN:
    case ZYDIS_MNEMONIC_OUT:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_SYSEXIT:
    case ZYDIS_MNEMONIC_LGDT:
    case ZYDIS_MNEMONIC_LIDT:
    case ZYDIS_MNEMONIC_LLDT:
    case ZYDIS_MNEMONIC_LTR:
    case ZYDIS_MNEMONIC_LMSW:
    case ZYDIS_MNEMONIC_CLTS:
    case ZYDIS_MNEMONIC_INVLPG:
    case ZYDIS_MNEMONIC_ARPL:
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_LSS:
        return true;
    case ZYDIS_MNEMONIC_MOV: /* segment, control and debug registers */
        return (i->map == 0 && (i->opcode == 0x8c || i->opcode == 0x8e)) ||
               (i->map == 1 && i->opcode >= 0x20 && i->opcode <= 0x23);
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP: /* segment registers */
        return (i->map == 0 && i->opcode < 0x20) || (i->map == 1 && i->opcode >= 0xa0);
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_JMP: /* far */
        return i->opcode == 0x9a || i->opcode == 0xea || (i->opcode == 0xff && (i->reg == 3 || i->reg == 5));
    case ZYDIS_MNEMONIC_RET:
        return i->opcode == 0xca || i->opcode == 0xcb;
    default:
        return false;
    }
}

static u32 branch_target(const struct xl *x, u32 k)
{
    const struct insn *i = &x->u->insns[k];
    u32 t = insn_eip(x, k) + i->len + i->imm;
    return i->opsize == 2 ? t & 0xffff : t;
}

static void find_targets(struct xl *x)
{
    for (u32 k = 0; k <= x->u->n_insns; k++)
        x->target[k] = x->loop[k] = x->landed[k] = false;
    for (u32 k = 0; k < x->u->n_insns; k++) {
        u8 a = x->cls[k].act;
        if (a == ACT_JCC || a == ACT_JMP || a == ACT_LOOP || a == ACT_JCXZ) {
            int t = unit_insn_at(x, branch_target(x, k));
            if (t >= 0 && (x->env->opts & OPT(chain))) {
                x->target[t] = true;
                x->loop[t] |= (u32)t <= k;
            }
        }
    }
}

static void liveness(struct xl *x)
{
    u32 n = x->u->n_insns;

    x->live[n] = FL_ARITH;
    for (u32 k = n; k-- > 0;) {
        const struct insn *i = &x->u->insns[k];
        switch (x->cls[k].act) {
        case ACT_COPY:
        case ACT_INCDEC:
        case ACT_PUSH_R:
        case ACT_POP_R:
        case ACT_PUSH_I:
        case ACT_PUSH_M:
        case ACT_POP_M:
        case ACT_XCHG_A:
        case ACT_MOFFS:
        case ACT_LEA:
        case ACT_MOV_RI:
        case ACT_BSWAP:
        case ACT_LEAVE:
        case ACT_NOP:
        case ACT_BITS:
        case ACT_CLI:
        case ACT_STI:
        case ACT_MOV_FROM_SREG:
        case ACT_PUSH_SREG:
        case ACT_MOV_TO_SREG:
        case ACT_POP_SREG:
        case ACT_VERW:
        case ACT_RDTSC:
        case ACT_POPF:
        case ACT_FROM_CR:
        case ACT_TO_CR:
        case ACT_IN:
        case ACT_STRING:
        case ACT_REP_STRING:
            x->live[k] = (x->live[k + 1] & ~i->fl_write) | (i->fl_read & FL_ARITH);
            break;
        default: /* leaves the unit, or is executed by the interpreter: everything is live */
            x->live[k] = FL_ARITH;
        }
    }
}

/*
 * A loop that fits into a cache line and lies across two takes up to five times as long on Zen 3, which keeps
 * decoded instructions by line of 64 bytes; operands with segment and address-size prefixes make it worse. In
 * table form each operand is longer than what could be gained.
 */
static void align_loop(struct xl *x)
{
    if (x->loop[x->k] && x->k && (x->env->mode & MODE_WIN) && (x->env->opts & OPT(align)))
        e_nops(&x->e, -(x->env->line_at + x->e.pos) & (CODE_LINE - 1));
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
    for (x->k = 0; x->k < u->n_insns; x->k++) {
        struct pcmap *p = &u->pcmap[x->k];

        x->sp_merge = !x->inhibit && sp_mergeable(x, x->k);
        if (!x->sp_merge || x->target[x->k])
            sp_flush(x);
        if (x->target[x->k]) {
            fl_host(x);
            count_flush(x);
        }
        if (x->target[x->k] || x->landed[x->k]) {
            x->full = 0;
            x->df_clear = false;
        }
        align_loop(x);
        x->host[x->k] = x->k ? e->pos : 0;
        p->host = (u16)x->host[x->k];
        p->sp = (i16)x->sp_pend;
        p->flags = (x->fs == FS_SAVED ? PCM_SAVED : 0) | (x->inhibit ? PCM_INHIBIT : 0);
        if (x->k && (x->env->traps_all || (x->env->traps && (x->target[x->k] || x->landed[x->k]))))
            e8(e, INT3);
        if (x->env->exact)
            count_exact(x);
        x->inhibit = false;
        x->uncounted++;
        emit_insn(x, &u->insns[x->k]);
        if (x->op_saved)
            p->flags |= PCM_OP_SAVED;
        x->op_saved = false;
    }
    sp_flush(x);
    x->host[u->n_insns] = e->pos;
    x->k = u->n_insns - 1;
    if (!x->done)
        exit_direct(x, next_eip(x, &u->insns[u->n_insns - 1]));
    stubs_emit(x);
}

u64 translate_host_opts(u64 opts)
{
    u32 a, b = 0, c, d;
    bool adx =
        __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 19) && (b & 1u << 8); /* and BMI2: rorx */

    return adx ? opts : opts & ~OPT(ofcheck);
}

enum xlate_status translate_unit(const struct unit_env *env, u8 *code, u32 cap, struct unit *out)
{
    struct xl x;
    enum xlate_status st;

    /* The arrays are filled as far as they are used: clearing all of it takes as long as ten instructions. */
    __builtin_memset(&x, 0, offsetof(struct xl, cls));
    x.env = env;
    x.u = out;
    x.e = (struct emit){.buf = code, .cap = cap < UNIT_MAX_CODE ? cap : UNIT_MAX_CODE};
    out->n_insns = out->n_links = out->n_landings = out->guest_len = out->host_len = 0;
    out->crosses = out->fixed = false;
    out->n_moves = 0;
    out->leaks = 0;
    st = decode_unit(&x);
    if (st != XLATE_OK)
        return st;
    for (u32 k = 0; k < out->n_insns; k++)
        out->leaks += x.cls[k].act == ACT_COPY && sensitive(&out->insns[k]);
    find_targets(&x);
    liveness(&x);
    out->of = fl_live(&x, 0, FL_OF);
    emit_unit(&x);
    if (x.e.overflow)
        return XLATE_FULL;
    out->host_len = x.e.pos;
    return XLATE_OK;
}
