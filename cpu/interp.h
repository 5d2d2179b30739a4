/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the interpreter share: operand access, flags, stack, branches. Internal to cpu/.
 *
 * Handlers follow one order: addresses and segment checks, probes for writing, reads, computation in locals,
 * writes, and only then registers and flags. So a fault anywhere leaves the guest as it was.
 */
#ifndef NOVT_CPU_INTERP_H
#define NOVT_CPU_INTERP_H

#include "cpu/insn.h"
#include "cpu/access.h"
#include "base/opts.h"

/* ---- registers ---- */

#define GPR8(v, r)  (((u8 *)&(v)->gpr[(r)&3])[((r) >> 2) & 1]) /* al cl dl bl ah ch dh bh */
#define GPR16(v, r) (*(u16 *)&(v)->gpr[r])
#define GPR32(v, r) ((v)->gpr[r])

/* X(bits, unsigned type, signed type, asm suffix) for every operand size. */
#define FOR_SIZES(X)                                                                                         \
    X(8, u8, i8, "b")                                                                                        \
    X(16, u16, i16, "w")                                                                                     \
    X(32, u32, i32, "l")

/* Index into per-size tables: bit 0 of most opcodes tells byte operands from word/dword ones. */
static inline int insn_size_index(const struct insn *i)
{
    return !(i->opcode & 1) ? 0 : i->opsize == 2 ? 1 : 2;
}

static inline u32 addr_mask(const struct insn *i)
{
    return i->adsize == 2 ? 0xffff : ~0u;
}
/* Replaces the part of *reg selected by mask. */
static inline void set_masked(u32 *reg, u32 val, u32 mask)
{
    *reg = (*reg & ~mask) | (val & mask);
}

/* ---- flags ----
 * lahf and seto carry the arithmetic flags between host and guest: AH = SF ZF - AF - PF - CF, AL = OF. For
 * inputs, adding 7Fh to an AL of 0 or 1 sets OF, and sahf leaves OF alone. */

#define ASM_FLAGS_IN   "addb $0x7f, %%al\n\tsahf\n\t"
#define ASM_FLAGS_OUT  "\n\tlahf\n\tseto %%al"
#define FLAGS_PACK(fl) ((((fl)&0xff) << 8) | (((fl) >> 11) & 1))

static inline u32 flags_unpack(u32 ax, u32 old)
{
    return ((ax >> 8) & (FL_ARITH & 0xff)) | ((ax & 1) << 11) | (old & FL_DF);
}

/* Condition codes of jcc, setcc, cmovcc. */
static inline bool cond_true(u32 fl, u32 cc)
{
    bool r;
    switch (cc >> 1) {
    case 0:
        r = fl & FL_OF;
        break;
    case 1:
        r = fl & FL_CF;
        break;
    case 2:
        r = fl & FL_ZF;
        break;
    case 3:
        r = fl & (FL_CF | FL_ZF);
        break;
    case 4:
        r = fl & FL_SF;
        break;
    case 5:
        r = fl & FL_PF;
        break;
    case 6:
        r = ((fl >> 7) ^ (fl >> 11)) & 1;
        break;
    default:
        r = (((fl >> 7) ^ (fl >> 11)) & 1) || (fl & FL_ZF);
        break;
    }
    return r ^ (cc & 1);
}

/* ---- memory operands ---- */

/* A memory operand opened for read-modify-write: the host address if there is one, else the linear address. A
 * lock prefix needs nothing more while a VM has one vCPU. */
struct rmw {
    void *host;
    u32 lin;
};

#define DEFINE_OPERAND(N, T, ST, S)                                                                          \
    static inline int op_read##N(struct vcpu *v, const struct insn *i, T *out)                               \
    {                                                                                                        \
        return mem_read##N(v, i->seg, insn_ea(v, i), out);                                                   \
    }                                                                                                        \
    static inline int op_write##N(struct vcpu *v, const struct insn *i, T val)                               \
    {                                                                                                        \
        return mem_write##N(v, i->seg, insn_ea(v, i), val);                                                  \
    }                                                                                                        \
    static inline int rmw_open_at##N(struct vcpu *v, int seg, u32 off, struct rmw *m, T *val)                \
    {                                                                                                        \
        TRY(mem_linear(v, seg, off, sizeof(T), SEGF_R | SEGF_W, &m->lin));                                   \
        u64 e = v->wtab[m->lin >> PAGE_SHIFT];                                                               \
        if (likely(e && (m->lin & PAGE_MASK) <= PAGE_SIZE - sizeof(T))) {                                    \
            m->host = (void *)(e + m->lin);                                                                  \
            __builtin_memcpy(val, m->host, sizeof(T));                                                       \
            return CPU_OK;                                                                                   \
        }                                                                                                    \
        m->host = NULL;                                                                                      \
        TRY(lin_probe_write(v, m->lin, sizeof(T)));                                                          \
        return lin_read##N(v, m->lin, val);                                                                  \
    }                                                                                                        \
    static inline int rmw_open##N(struct vcpu *v, const struct insn *i, struct rmw *m, T *val)               \
    {                                                                                                        \
        return rmw_open_at##N(v, i->seg, insn_ea(v, i), m, val);                                             \
    }                                                                                                        \
    static inline int rmw_close##N(struct vcpu *v, const struct rmw *m, T val)                               \
    {                                                                                                        \
        if (likely(m->host != NULL)) {                                                                       \
            __builtin_memcpy(m->host, &val, sizeof(T));                                                      \
            return CPU_OK;                                                                                   \
        }                                                                                                    \
        return lin_write##N(v, m->lin, val);                                                                 \
    }
FOR_SIZES(DEFINE_OPERAND)
#undef DEFINE_OPERAND

/* ---- stack ---- */

static inline u32 stack_mask(const struct vcpu *v)
{
    return v->mode & MODE_SS32 ? ~0u : 0xffff;
}
static inline void set_sp(struct vcpu *v, u32 sp)
{
    set_masked(&v->gpr[R_ESP], sp, stack_mask(v));
}
static inline int push16(struct vcpu *v, u16 val)
{
    u32 sp = (v->gpr[R_ESP] - 2) & stack_mask(v);
    TRY(mem_write16(v, S_SS, sp, val));
    set_sp(v, sp);
    return CPU_OK;
}
static inline int push32(struct vcpu *v, u32 val)
{
    u32 sp = (v->gpr[R_ESP] - 4) & stack_mask(v);
    TRY(mem_write32(v, S_SS, sp, val));
    set_sp(v, sp);
    return CPU_OK;
}
/* Reads the top of the stack without popping it. */
static inline int peek16(struct vcpu *v, u16 *val)
{
    return mem_read16(v, S_SS, v->gpr[R_ESP] & stack_mask(v), val);
}
static inline int peek32(struct vcpu *v, u32 *val)
{
    return mem_read32(v, S_SS, v->gpr[R_ESP] & stack_mask(v), val);
}

/* ---- branches ---- */

/* Checks the target of a near branch against the CS limit. Nothing changes if it faults. */
static inline int branch_check(struct vcpu *v, u32 target)
{
    if (unlikely(target > v->seg[S_CS].limit))
        return cpu_raise_err(v, EXC_GP, 0);
    return CPU_OK;
}
static inline u32 branch_target(const struct vcpu *v, const struct insn *i)
{
    u32 t = v->next_eip + i->imm;
    return i->opsize == 2 ? t & 0xffff : t;
}

/* ---- parts of int_lookup(), by subject ---- */

insn_fn alu_lookup(const struct insn *i);
insn_fn shift_lookup(const struct insn *i);
insn_fn muldiv_lookup(const struct insn *i);
insn_fn bit_lookup(const struct insn *i);
insn_fn mov_lookup(const struct insn *i);
insn_fn stack_lookup(const struct insn *i);
insn_fn flow_lookup(const struct insn *i);
insn_fn string_lookup(const struct insn *i);

/* Is i a string instruction under rep, which may stop half-way with eip staying? Includes ins and outs. */
static inline bool insn_is_rep(const struct insn *i)
{
    return i->map == 0 && (i->pfx & (PFX_REP | PFX_REPNE)) &&
           ((i->opcode >= 0x6c && i->opcode <= 0x6f) || (i->opcode >= 0xa4 && i->opcode <= 0xa7) ||
            (i->opcode >= 0xaa && i->opcode <= 0xaf));
}

/* ---- the decode cache (cpu/icache.c) ---- */

struct ic_entry {
    u64 tag;        /* IC_TAG() of the first byte, or 0; bit 63: the bytes cross into another page */
    const u32 *gen; /* code generation of the page, and its value when the bytes were read */
    u32 gen_val;
    u32 gen2_val; /* the same for the second page */
    const u32 *gen2;
    u64 gpa2; /* guest-physical address of the second page */
    struct insn insn;
};

#define IC_BITS          17
#define IC_CROSS         (1ull << 63)
#define IC_TAG(gpa, c32) (((gpa) << 2) | ((u64)(c32) << 1) | 1)

struct icache {
    struct ic_entry scratch; /* for what may not be cached */
    struct ic_entry e[1 << IC_BITS];
};

static inline u32 ic_index(u64 gpa)
{
    return (u32)(gpa ^ (gpa >> IC_BITS)) & ((1 << IC_BITS) - 1);
}

/* The slow half of insn_fetch(). */
int icache_miss(struct vcpu *v, u32 eip, const struct insn **out);

/* insn_fetch() inlined: a hit costs an exec-table load, a tag compare and a generation compare. The exec
 * table is the one authority on linear page -> physical page at the current privilege, so nothing here needs
 * flushing when paging changes. */
static inline int icache_fetch(struct vcpu *v, const struct insn **out)
{
    u32 eip = v->eip;
    u32 lin = v->seg[S_CS].base + eip;
    u32 x = v->xtab[lin >> PAGE_SHIFT];
    struct icache *ic = v->icache;

    if (likely(x && ic)) {
        u64 gpa = ((u64)(x - 1) << PAGE_SHIFT) | (lin & PAGE_MASK);
        struct ic_entry *e = &ic->e[ic_index(gpa)];
        if (likely(e->tag == IC_TAG(gpa, !!(v->mode & MODE_CS32)) &&
                   __atomic_load_n(e->gen, __ATOMIC_RELAXED) == e->gen_val &&
                   (u64)eip + e->insn.len - 1 <= v->seg[S_CS].limit)) {
            *out = &e->insn;
            return CPU_OK;
        }
    }
    return icache_miss(v, eip, out);
}

#endif
