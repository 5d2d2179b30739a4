/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * movs cmps scas lods stos, alone and under rep.
 *
 * A rep instruction runs a bounded number of iterations per call. Its progress is in ECX, ESI and EDI after
 * every iteration, so it may stop anywhere: on a fault, or with next_eip = eip, so that the loop can take an
 * interrupt and come back. While single-stepping or with data breakpoints set, one iteration is one step (SDM
 * vol. 3, 17.3.1.1).
 *
 * Fast path (OPT(string)): the stretch that stays within one source and one destination page is done by the
 * host's own repeated instruction, which treats overlap, and stops at a difference, exactly as the guest's
 * does. A page that needs attention on writes has no write-table entry, so it never gets here.
 *
 * A rep that overwrites itself goes on as processors do, with what they have decoded, until it is done: what
 * stands there is looked at again only when it is started again, which then takes an interrupt. (Checked on
 * an AMD Zen 3, forwards and backwards.)
 *
 * cmps and scas keep the flags of the last comparison in a local until they stop: a fault on the way leaves
 * EFLAGS as they were before the instruction (SDM vol. 2, REP).
 */
#include "cpu/interp.h"

#define REP_BUDGET 4096 /* units per call: an iteration of the slow path, or 16 of the fast one */

#define REP_SELF (1u << 20) /* for a rep that has overwritten itself: more than any program needs */

static inline u32 rep_budget(const struct vcpu *v)
{
    if (unlikely(v->rep_limit))
        return v->rep_limit;
    return v->mode & MODE_STEP ? 1 : REP_BUDGET;
}
static inline bool rep_free(const struct vcpu *v)
{
    return !(v->mode & MODE_STEP) && !v->rep_limit;
}
static inline bool rep_fast(const struct vcpu *v)
{
    return (v->opts & OPT(string)) && rep_free(v);
}

/* Did these n iterations, of which the first wrote `size` bytes at offset off of ES, write to the instruction
 * itself, which must not be looked at again before it is done? (Through another mapping of its page: not
 * noticed.) */
static inline bool overwrote_itself(const struct vcpu *v, const struct insn *i, u32 off, u32 size, u32 n)
{
    u32 lowest = v->aflags & FL_DF ? off - (n - 1) * size : off;
    u32 distance = v->seg[S_ES].base + lowest + n * size - 1 - (v->seg[S_CS].base + v->eip);
    return unlikely(distance < i->len + n * size - 1) && rep_free(v);
}

/* A stretch of a repeated instruction's elements at one of its pointers. */
struct run {
    u64 host; /* address of the first */
    u32 lin;
};

/* How many of at most max elements of `size` bytes, from offset off on (downwards with DF), stay within the
 * page and the address space, and where they are. 0: not plainly accessible. */
static inline u32 run_at(struct vcpu *v, int seg, u32 off, u32 mask, u32 size, int acc, u32 max,
                         struct run *r)
{
    u32 n, room, first;

    if (mem_linear(v, seg, off, size, acc, &r->lin) != CPU_OK)
        return 0;
    u64 entry = (acc == SEGF_W ? v->wtab : v->rtab)[r->lin >> PAGE_SHIFT];
    room = PAGE_SIZE - (r->lin & PAGE_MASK);
    if (mask == 0xffff && 0x10000 - off < room)
        room = 0x10000 - off;
    if (!entry || room < size)
        return 0;
    r->host = entry + r->lin;
    if (v->aflags & FL_DF) {
        room = r->lin & PAGE_MASK;
        n = (off < room ? off : room) / size + 1;
        n = n < max ? n : max;
        first = off - (n - 1) * size;
    } else {
        n = room / size;
        n = n < max ? n : max;
        first = off;
    }
    u32 lin;
    return n > 1 && mem_linear(v, seg, first, n * size, acc, &lin) == CPU_OK ? n : 0;
}

/* A host string instruction in the guest's direction; flags are the instruction's afterwards. */
#define IN_DIRECTION(op) "testl %k[df], %k[df]\n\tjz 1f\n\tstd\n1:\t" op "\n\tcld"

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
        u32 so = v->gpr[R_ESI] & mask, d = v->gpr[R_EDI] & mask, n;                                          \
        struct run sr, dr;                                                                                   \
        if (!(n = run_at(v, i->seg, so, mask, sizeof(T), SEGF_R, count, &sr)) ||                             \
            !(n = run_at(v, S_ES, d, mask, sizeof(T), SEGF_W, n, &dr)))                                      \
            return 0;                                                                                        \
        u64 left = n;                                                                                        \
        __asm__ volatile(IN_DIRECTION("rep movs" S)                                                          \
                         : "+S"(sr.host), "+D"(dr.host), "+c"(left)                                          \
                         : [df] "r"(v->aflags & FL_DF)                                                       \
                         : "memory", "cc");                                                                  \
        set_masked(&v->gpr[R_ESI], so + n * step##N(v), mask);                                               \
        set_masked(&v->gpr[R_EDI], d + n * step##N(v), mask);                                                \
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
        u32 d = v->gpr[R_EDI] & mask, n;                                                                     \
        struct run dr;                                                                                       \
        if (!(n = run_at(v, S_ES, d, mask, sizeof(T), SEGF_W, count, &dr)))                                  \
            return 0;                                                                                        \
        u64 left = n;                                                                                        \
        __asm__ volatile(IN_DIRECTION("rep stos" S)                                                          \
                         : "+D"(dr.host), "+c"(left)                                                         \
                         : "a"(v->gpr[R_EAX]), [df] "r"(v->aflags & FL_DF)                                   \
                         : "memory", "cc");                                                                  \
        set_masked(&v->gpr[R_EDI], d + n * step##N(v), mask);                                                \
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
    static u32 lods##N##_run(struct vcpu *v, const struct insn *i, u32 mask, u32 count)                      \
    {                                                                                                        \
        u32 so = v->gpr[R_ESI] & mask, n;                                                                    \
        struct run sr;                                                                                       \
        if (!(n = run_at(v, i->seg, so, mask, sizeof(T), SEGF_R, count, &sr)))                               \
            return 0;                                                                                        \
        __builtin_memcpy(&GPR##N(v, R_EAX),                                                                  \
                         (const void *)(sr.host + (u64)(i64)((i32)(n - 1) * (i32)step##N(v))), sizeof(T));   \
        set_masked(&v->gpr[R_ESI], so + n * step##N(v), mask);                                               \
        return n;                                                                                            \
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
    /* The same for comparisons, which end where ZF is not go_on. */                                         \
    static u32 cmps##N##_run(struct vcpu *v, const struct insn *i, u32 mask, u32 count, u32 go_on, u32 *fl)  \
    {                                                                                                        \
        u32 so = v->gpr[R_ESI] & mask, d = v->gpr[R_EDI] & mask, n, f = 0;                                   \
        struct run sr, dr;                                                                                   \
        if (!(n = run_at(v, S_ES, d, mask, sizeof(T), SEGF_R, count, &dr)) ||                                \
            !(n = run_at(v, i->seg, so, mask, sizeof(T), SEGF_R, n, &sr)))                                   \
            return 0;                                                                                        \
        u64 left = n;                                                                                        \
        if (go_on)                                                                                           \
            __asm__ volatile(IN_DIRECTION("repe cmps" S) ASM_FLAGS_OUT                                       \
                             : "+S"(sr.host), "+D"(dr.host), "+c"(left), "+&a"(f)                            \
                             : [df] "r"(v->aflags & FL_DF)                                                   \
                             : "memory", "cc");                                                              \
        else                                                                                                 \
            __asm__ volatile(IN_DIRECTION("repne cmps" S) ASM_FLAGS_OUT                                      \
                             : "+S"(sr.host), "+D"(dr.host), "+c"(left), "+&a"(f)                            \
                             : [df] "r"(v->aflags & FL_DF)                                                   \
                             : "memory", "cc");                                                              \
        n -= (u32)left;                                                                                      \
        *fl = flags_unpack(f, *fl);                                                                          \
        set_masked(&v->gpr[R_ESI], so + n * step##N(v), mask);                                               \
        set_masked(&v->gpr[R_EDI], d + n * step##N(v), mask);                                                \
        return n;                                                                                            \
    }                                                                                                        \
    static u32 scas##N##_run(struct vcpu *v, const struct insn *i, u32 mask, u32 count, u32 go_on, u32 *fl)  \
    {                                                                                                        \
        u32 d = v->gpr[R_EDI] & mask, n, f = v->gpr[R_EAX];                                                  \
        struct run dr;                                                                                       \
        if (!(n = run_at(v, S_ES, d, mask, sizeof(T), SEGF_R, count, &dr)))                                  \
            return 0;                                                                                        \
        u64 left = n;                                                                                        \
        if (go_on)                                                                                           \
            __asm__ volatile(IN_DIRECTION("repe scas" S) ASM_FLAGS_OUT                                       \
                             : "+D"(dr.host), "+c"(left), "+&a"(f)                                           \
                             : [df] "r"(v->aflags & FL_DF)                                                   \
                             : "memory", "cc");                                                              \
        else                                                                                                 \
            __asm__ volatile(IN_DIRECTION("repne scas" S) ASM_FLAGS_OUT                                      \
                             : "+D"(dr.host), "+c"(left), "+&a"(f)                                           \
                             : [df] "r"(v->aflags & FL_DF)                                                   \
                             : "memory", "cc");                                                              \
        n -= (u32)left;                                                                                      \
        *fl = flags_unpack(f, *fl);                                                                          \
        set_masked(&v->gpr[R_EDI], d + n * step##N(v), mask);                                                \
        return n;                                                                                            \
    }                                                                                                        \
    DEFINE_REP(movs, N, sizeof(T), true)                                                                     \
    DEFINE_REP(stos, N, sizeof(T), true)                                                                     \
    DEFINE_REP(lods, N, sizeof(T), false)                                                                    \
    DEFINE_REPCC(cmps, N)                                                                                    \
    DEFINE_REPCC(scas, N)

#define DEFINE_REP(name, N, SIZE, WRITES)                                                                    \
    static int h_##name##N(struct vcpu *v, const struct insn *i)                                             \
    {                                                                                                        \
        return name##N##_one(v, i, addr_mask(i));                                                            \
    }                                                                                                        \
    static int h_rep_##name##N(struct vcpu *v, const struct insn *i)                                         \
    {                                                                                                        \
        u32 mask = addr_mask(i), count = v->gpr[R_ECX] & mask, budget = rep_budget(v);                       \
        bool fast = rep_fast(v);                                                                             \
        while (count && budget) {                                                                            \
            u32 off = v->gpr[R_EDI] & mask, n = fast ? name##N##_run(v, i, mask, count) : 0;                 \
            if (!n) {                                                                                        \
                TRY(name##N##_one(v, i, mask));                                                              \
                n = 1;                                                                                       \
            }                                                                                                \
            if (WRITES && overwrote_itself(v, i, off, SIZE, n))                                              \
                budget = REP_SELF;                                                                           \
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
        bool fast = rep_fast(v);                                                                             \
        while (count && budget) {                                                                            \
            u32 n = fast ? name##N##_run(v, i, mask, count, go_on, &fl) : 0;                                 \
            if (!n) {                                                                                        \
                TRY(name##N##_one(v, i, mask, &fl));                                                         \
                n = 1;                                                                                       \
            }                                                                                                \
            u32 cost = n / 16 + 1;                                                                           \
            budget = cost < budget ? budget - cost : 0;                                                      \
            count -= n;                                                                                      \
            set_masked(&v->gpr[R_ECX], count, mask);                                                         \
            v->stats.rep_iterations += n;                                                                    \
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
