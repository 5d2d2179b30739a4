/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verifier's own types; see verify.c for the argument. Not for others. */
#ifndef NOVT_TCACHE_VERIFY_INT_H
#define NOVT_TCACHE_VERIFY_INT_H

#include <capstone/capstone.h>

#include "tcache/verify.h"

/* ---- abstract values ---- */

enum kind {
    K_ANY,    /* anything */
    K_U32,    /* upper half zero, at most max */
    K_CONST,  /* exactly aux */
    K_PAGE,   /* value ref >> 12 */
    K_LOW16,  /* value ref & ffff */
    K_PLUS,   /* (u32)(value ref + aux) */
    K_CROSS,  /* that, xor value ref: upper bits set iff [ref, ref + aux] crosses a page */
    K_RENT,   /* read-table entry for value ref */
    K_WENT,   /* write-table entry for value ref */
    K_HOST_R, /* host address of the byte at linear address ref, readable */
    K_HOST_W, /* writable */
    K_IBTC,   /* the branch cache */
    K_TAG,    /* tag of the branch cache's entry for value aux */
    K_SUM,    /* that plus twice value ref plus IBTC_TAG: even, and 0 only if ref is what the tag is for */
    K_COUNT,  /* counter slot aux plus something */
    K_CODE,   /* address of the fragment's byte aux */
    K_WINDOW, /* base of the window */
    K_IN_WIN, /* that plus 32 bits */
};

struct val {
    u8 kind;
    u8 nonzero; /* entries: known */
    u8 within;  /* an access of so many bytes at this linear address stays within its page (0: not known, 1
                   byte does) */
    u32 max;
    u32 id; /* 0: none */
    u32 ref;
    u64 aux;
};

enum fkind {
    F_NONE,
    F_ZERO /* ZF = value id is 0 */,
    F_ALIGNED /* ZF => within */,
    F_SUM /* ZF => the tag matches */,
    F_OF_SUM /* no OF => the tag matches */
};

struct state {
    struct val r[16];
    struct val tmp; /* v->bt[BT_TMP] */
    u8 flag;
    u8 flag_n;
    bool live;
    u32 flag_id, flag_ref;
    u32 ib_ok, ib_ref; /* value for whose branch-cache entry the tag has matched, with which target value */
};

enum {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    NOREG_ = 16,
    REG_RIP,
    REG_BAD,
    REG_FP
};

struct opnd {
    u8 type; /* X86_OP_* */
    u8 reg, width;
    u8 size;
};

struct hi { /* one host instruction */
    u32 off;
    u8 len;
    u8 op, op2, op3; /* opcode; op = 0F: second byte in op2; op2 = 38: third in op3 */
    u8 modrm;
    bool w, o66, a67, f2, f3, gs, has_mem;
    u8 base, index, scale, memsize, n;
    i64 disp, imm;
    struct opnd o[3];
    u8 entry; /* execution may begin here with nothing known (1), or with an address in r8 (2: behind a call)
               */
    bool label; /* jumped to from within */
    i32 state;  /* index of the label's incoming state */
};

#define MAX_HI     UNIT_MAX_CODE
#define MAX_LABELS 4096
#define MAX_PASSES 16

struct verifier {
    csh cs;
    cs_insn *insn;
    struct hi *hi;
    u32 n;
    u16 *at; /* 1 + instruction number by offset */
    struct state *labels;
    u32 n_labels;
    bool changed;
    const struct verify_in *in;
    u32 bad_at;
    char why[160];
};

#define RD 1 /* direction of a memory operand */
#define WR 2

/* Is the window that this unit may use the one whose offsets are addresses? */
static inline bool vf_low_window(const struct verifier *v)
{
    return v->in->mode & MODE_LOW;
}
static inline bool vf_is_u32(const struct val *a)
{
    switch (a->kind) {
    case K_U32:
    case K_PAGE:
    case K_LOW16:
    case K_PLUS:
    case K_CROSS:
        return true;
    case K_CONST:
        return a->aux <= 0xffffffff;
    default:
        return false;
    }
}

static inline bool vf_writable_reg(u32 r)
{
    return r < 16 && r != RSP && r != R14 && r != R15;
}

/* Records the offence at h and returns false. */
bool __attribute__((format(printf, 3, 4)))
vf_bad(struct verifier *v, const struct hi *h, const char *fmt, ...);

/* verify_decode.c */
bool vf_decode(struct verifier *v);

/* verify_value.c */
/* Number for what instruction h computes into slot 0..31. */
u32 vf_number(const struct verifier *v, const struct hi *h, u32 slot);
void vf_forget(struct state *s, u32 id);
struct val vf_fresh(struct verifier *v, struct state *s, const struct hi *h, u32 slot, enum kind k);
bool vf_equal(const struct val *a, const struct val *b);
struct val vf_join(const struct val *a, const struct val *b, u32 id);
/* Register r gets a value that is not followed further. */
void vf_clobber(struct verifier *v, struct state *s, const struct hi *h, u32 r, u32 width, u32 slot);
bool vf_set(struct verifier *v, struct state *s, const struct hi *h, u32 r, u32 width, struct val val);
bool vf_readable(struct verifier *v, const struct hi *h, u32 r);

/* verify_flow.c */
void vf_canonical(struct verifier *v, struct state *s, const struct hi *h);
bool vf_add_entry(struct verifier *v, const struct hi *h, i64 to, u8 kind);
bool vf_keeps_contract(struct verifier *v, const struct hi *h, const struct state *s);
bool vf_enters(struct verifier *v, const struct hi *h, const struct hi *t, const struct state *s);
bool vf_flow_to(struct verifier *v, const struct hi *h, i64 to, const struct state *s);
bool vf_jump(struct verifier *v, const struct hi *h, struct state *s);
bool vf_return(struct verifier *v, const struct hi *h, struct state *s);
/* Is it a jump or call through a field of struct vcpu? */
bool vf_through_vcpu(const struct hi *h);
bool vf_leave(struct verifier *v, const struct hi *h, const struct state *s, i64 disp);
bool vf_call_thunk(struct verifier *v, const struct hi *h, const struct state *s, i64 disp);

/* verify_memory.c */
bool vf_entry_for(const struct val *e, const struct val *lin, u32 size, int rights);
/* Checks the memory operand. `load`, if not NULL, gets the value that a plain mov of `size` bytes would read.
 */
bool vf_memory(struct verifier *v, const struct hi *h, struct state *s, u32 size, int rights,
               struct val *load);

/* verify_forms.c */
/* Direction of the ModRM memory operand, RD | WR; 0: not allowed. *size gets its size where the form fixes
 * it. */
int vf_direction(const struct hi *h, u32 *size);
bool vf_plain_opcode(const struct hi *h);
bool vf_writes_first(const struct hi *h);

/* verify_insn.c: each checks the instruction and moves the state behind it */
bool vf_lea(struct verifier *v, const struct hi *h, struct state *s);
bool vf_mov(struct verifier *v, const struct hi *h, struct state *s);
bool vf_plain(struct verifier *v, const struct hi *h, struct state *s);
/* False with v->why empty: none of the operations that carry knowledge. */
bool vf_known(struct verifier *v, const struct hi *h, struct state *s);
bool vf_string(struct verifier *v, const struct hi *h, struct state *s);
bool vf_adox(struct verifier *v, const struct hi *h, struct state *s);

#endif
