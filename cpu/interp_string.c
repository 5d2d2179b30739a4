/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * movs cmps scas lods stos, alone and under rep.
 *
 * A rep instruction runs a bounded number of iterations per call. Its progress is in ECX, ESI and EDI after
 * every iteration, so it may stop anywhere: on a fault, or with next_eip = eip, so that the loop can take an
 * interrupt and come back. While single-stepping or with data breakpoints set, one iteration is one step (SDM
 * vol. 3, 17.3.1.1).
 *
 * Fast path (OPT(string), DF = 0): the stretch of movs or stos that stays within one source and one
 * destination page is done by the host's rep movs/stos, which treats overlap exactly as the guest's does. A
 * page that needs attention on writes has no write-table entry, so it never gets here.
 *
 * cmps and scas keep the flags of the last comparison in a local until they stop: a fault on the way leaves
 * EFLAGS as they were before the instruction (SDM vol. 2, REP).
 */
#include "cpu/interp.h"

#define REP_BUDGET 4096 /* units per call: an iteration of the slow path, or 16 of the fast one */

static inline u32 rep_budget(const struct vcpu *v)
{
    if (unlikely(v->rep_limit))
        return v->rep_limit;
    return v->mode & MODE_STEP ? 1 : REP_BUDGET;
}
static inline bool rep_fast(const struct vcpu *v)
{
    return (v->opts & OPT(string)) && !(v->mode & MODE_STEP) && !v->rep_limit && !(v->aflags & FL_DF);
}

/* Bytes from offset off to where the page or the 16-bit address space ends, at most max. */
static inline u32 run_length(u32 lin, u32 off, u32 mask, u32 max)
{
    u32 n = PAGE_SIZE - (lin & PAGE_MASK);
    if (mask == 0xffff && 0x10000 - off < n)
        n = 0x10000 - off;
    return n < max ? n : max;
}

/* Linear address of [off, off+bytes), or false if any of it is not plainly allowed. */
static inline bool run_linear(struct vcpu *v, int seg, u32 off, u32 bytes, int acc, u32 *lin)
{
    return mem_linear(v, seg, off, bytes, acc, lin) == CPU_OK;
}

#define DEFINE_STRING(N, T, ST, S)                                                                           \
    static inline u32 step##N(const struct vcpu *v)                                                          \
    {                                                                                                        \
        return v->aflags & FL_DF ? -(u32)sizeof(T) : (u32)sizeof(T);                                         \
    }                                                                                                        \
    static inline void advance##N(struct vcpu *v, int reg, u32 mask)                                         \
    {                                                                                                        \
        set_masked(&v->gpr[reg], v->gpr[reg] + step##N(v), mask);                                            \
    }                                                                                                        \
    static inline int movs##N##_one(struct vcpu *v, const struct insn *i, u32 mask)                          \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(mem_read##N(v, i->seg, v->gpr[R_ESI] & mask, &b));                                               \
        TRY(mem_write##N(v, S_ES, v->gpr[R_EDI] & mask, b));                                                 \
        advance##N(v, R_ESI, mask);                                                                          \
        advance##N(v, R_EDI, mask);                                                                          \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    /* Does up to count elements at once; returns how many (0: use the slow path for the next one). */       \
    static u32 movs##N##_run(struct vcpu *v, const struct insn *i, u32 mask, u32 count)                      \
    {                                                                                                        \
        u32 so = v->gpr[R_ESI] & mask, d = v->gpr[R_EDI] & mask, sl, dl;                                     \
        if (!run_linear(v, i->seg, so, sizeof(T), SEGF_R, &sl) ||                                            \
            !run_linear(v, S_ES, d, sizeof(T), SEGF_W, &dl))                                                 \
            return 0;                                                                                        \
        u64 se = v->rtab[sl >> PAGE_SHIFT], de = v->wtab[dl >> PAGE_SHIFT];                                  \
        u32 bytes = run_length(dl, d, mask, run_length(sl, so, mask, PAGE_SIZE));                            \
        u32 n = bytes / sizeof(T) < count ? bytes / (u32)sizeof(T) : count;                                  \
        if (!se || !de || n < 2)                                                                             \
            return 0;                                                                                        \
        if (!run_linear(v, i->seg, so, n * sizeof(T), SEGF_R, &sl) ||                                        \
            !run_linear(v, S_ES, d, n * sizeof(T), SEGF_W, &dl))                                             \
            return 0;                                                                                        \
        u64 src = se + sl, dst = de + dl, left = n;                                                          \
        __asm__ volatile("rep movs" S : "+S"(src), "+D"(dst), "+c"(left)::"memory");                         \
        set_masked(&v->gpr[R_ESI], so + n * (u32)sizeof(T), mask);                                           \
        set_masked(&v->gpr[R_EDI], d + n * (u32)sizeof(T), mask);                                            \
        return n;                                                                                            \
    }                                                                                                        \
    static inline int stos##N##_one(struct vcpu *v, const struct insn *i, u32 mask)                          \
    {                                                                                                        \
        TRY(mem_write##N(v, S_ES, v->gpr[R_EDI] & mask, (T)v->gpr[R_EAX]));                                  \
        advance##N(v, R_EDI, mask);                                                                          \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static u32 stos##N##_run(struct vcpu *v, const struct insn *i, u32 mask, u32 count)                      \
    {                                                                                                        \
        u32 d = v->gpr[R_EDI] & mask, dl;                                                                    \
        if (!run_linear(v, S_ES, d, sizeof(T), SEGF_W, &dl))                                                 \
            return 0;                                                                                        \
        u64 de = v->wtab[dl >> PAGE_SHIFT];                                                                  \
        u32 bytes = run_length(dl, d, mask, PAGE_SIZE);                                                      \
        u32 n = bytes / sizeof(T) < count ? bytes / (u32)sizeof(T) : count;                                  \
        if (!de || n < 2 || !run_linear(v, S_ES, d, n * sizeof(T), SEGF_W, &dl))                             \
            return 0;                                                                                        \
        u64 dst = de + dl, left = n;                                                                         \
        __asm__ volatile("rep stos" S : "+D"(dst), "+c"(left) : "a"(v->gpr[R_EAX]) : "memory");              \
        set_masked(&v->gpr[R_EDI], d + n * (u32)sizeof(T), mask);                                            \
        return n;                                                                                            \
    }                                                                                                        \
    static inline int lods##N##_one(struct vcpu *v, const struct insn *i, u32 mask)                          \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(mem_read##N(v, i->seg, v->gpr[R_ESI] & mask, &b));                                               \
        GPR##N(v, R_EAX) = b;                                                                                \
        advance##N(v, R_ESI, mask);                                                                          \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static inline u32 lods##N##_run(struct vcpu *v, const struct insn *i, u32 mask, u32 count)               \
    {                                                                                                        \
        return 0;                                                                                            \
    }                                                                                                        \
    static inline u32 compare##N(T a, T b, u32 fl)                                                           \
    {                                                                                                        \
        u32 f;                                                                                               \
        __asm__("cmp" S " %2, %1" ASM_FLAGS_OUT : "=&a"(f) : "q"(a), "q"(b) : "cc");                         \
        return flags_unpack(f, fl);                                                                          \
    }                                                                                                        \
    static inline int cmps##N##_one(struct vcpu *v, const struct insn *i, u32 mask, u32 *fl)                 \
    {                                                                                                        \
        T a, b;                                                                                              \
        TRY(mem_read##N(v, S_ES, v->gpr[R_EDI] & mask, &b)); /* which faults first: as CPUs do */            \
        TRY(mem_read##N(v, i->seg, v->gpr[R_ESI] & mask, &a));                                               \
        *fl = compare##N(a, b, *fl);                                                                         \
        advance##N(v, R_ESI, mask);                                                                          \
        advance##N(v, R_EDI, mask);                                                                          \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    static inline int scas##N##_one(struct vcpu *v, const struct insn *i, u32 mask, u32 *fl)                 \
    {                                                                                                        \
        T b;                                                                                                 \
        TRY(mem_read##N(v, S_ES, v->gpr[R_EDI] & mask, &b));                                                 \
        *fl = compare##N((T)v->gpr[R_EAX], b, *fl);                                                          \
        advance##N(v, R_EDI, mask);                                                                          \
        return CPU_OK;                                                                                       \
    }                                                                                                        \
    DEFINE_REP(movs, N)                                                                                      \
    DEFINE_REP(stos, N)                                                                                      \
    DEFINE_REP(lods, N)                                                                                      \
    DEFINE_REPCC(cmps, N)                                                                                    \
    DEFINE_REPCC(scas, N)

#define DEFINE_REP(name, N)                                                                                  \
    static int h_##name##N(struct vcpu *v, const struct insn *i)                                             \
    {                                                                                                        \
        return name##N##_one(v, i, addr_mask(i));                                                            \
    }                                                                                                        \
    static int h_rep_##name##N(struct vcpu *v, const struct insn *i)                                         \
    {                                                                                                        \
        u32 mask = addr_mask(i), count = v->gpr[R_ECX] & mask, budget = rep_budget(v);                       \
        bool fast = rep_fast(v);                                                                             \
        while (count && budget) {                                                                            \
            u32 n = fast ? name##N##_run(v, i, mask, count) : 0;                                             \
            if (!n) {                                                                                        \
                TRY(name##N##_one(v, i, mask));                                                              \
                n = 1;                                                                                       \
            }                                                                                                \
            u32 cost = n / 16 + 1;                                                                           \
            budget = cost < budget ? budget - cost : 0;                                                      \
            count -= n;                                                                                      \
            set_masked(&v->gpr[R_ECX], count, mask);                                                         \
            v->stats.rep_iterations += n;                                                                    \
        }                                                                                                    \
        if (count)                                                                                           \
            v->next_eip = v->eip;                                                                            \
        return CPU_OK;                                                                                       \
    }

#define DEFINE_REPCC(name, N)                                                                                \
    static int h_##name##N(struct vcpu *v, const struct insn *i)                                             \
    {                                                                                                        \
        return name##N##_one(v, i, addr_mask(i), &v->aflags);                                                \
    }                                                                                                        \
    static int h_rep_##name##N(struct vcpu *v, const struct insn *i)                                         \
    {                                                                                                        \
        u32 mask = addr_mask(i), count = v->gpr[R_ECX] & mask, budget = rep_budget(v);                       \
        u32 fl = v->aflags, go_on = i->pfx & PFX_REP ? FL_ZF : 0;                                            \
        while (count && budget) {                                                                            \
            TRY(name##N##_one(v, i, mask, &fl));                                                             \
            count--;                                                                                         \
            budget--;                                                                                        \
            set_masked(&v->gpr[R_ECX], count, mask);                                                         \
            v->stats.rep_iterations++;                                                                       \
            if ((fl & FL_ZF) != go_on) {                                                                     \
                v->aflags = fl;                                                                              \
                return CPU_OK;                                                                               \
            }                                                                                                \
        }                                                                                                    \
        v->aflags = fl;                                                                                      \
        if (count)                                                                                           \
            v->next_eip = v->eip;                                                                            \
        return CPU_OK;                                                                                       \
    }
FOR_SIZES(DEFINE_STRING)

#define BOTH(name)                                                                                           \
    {                                                                                                        \
        {h_##name##8, h_##name##16, h_##name##32},                                                           \
        {                                                                                                    \
            h_rep_##name##8, h_rep_##name##16, h_rep_##name##32                                              \
        }                                                                                                    \
    }

insn_fn string_lookup(const struct insn *i)
{
    static const insn_fn movs[2][3] = BOTH(movs), cmps[2][3] = BOTH(cmps), stos[2][3] = BOTH(stos),
                         lods[2][3] = BOTH(lods), scas[2][3] = BOTH(scas);
    int sz = insn_size_index(i), rep = !!(i->pfx & (PFX_REP | PFX_REPNE));

    if (i->map != 0)
        return NULL;
    switch (i->opcode) {
    case 0xa4:
    case 0xa5:
        return movs[rep][sz];
    case 0xa6:
    case 0xa7:
        return cmps[rep][sz];
    case 0xaa:
    case 0xab:
        return stos[rep][sz];
    case 0xac:
    case 0xad:
        return lods[rep][sz];
    case 0xae:
    case 0xaf:
        return scas[rep][sz];
    default:
        return NULL;
    }
}
