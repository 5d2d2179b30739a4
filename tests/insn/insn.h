/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One instruction, its state before, its state after: what a case is, and who can run it.
 *
 * Every case runs in the same small world, which the engines and the real CPU share address for address: a
 * region of 16 pages at BASE, some absent, some read-only; code and data segments of many shapes in the LDT;
 * CPL 3, IOPL 0. So linear addresses, selectors, page-fault error codes and cr2 can be compared as they are.
 */
#ifndef NOVT_TESTS_INSN_H
#define NOVT_TESTS_INSN_H

#include "cpu/cpu.h"
#include "cpu/insn.h"

/* ---- the world (world.c) ---- */

#define BASE         0x20000000u
#define REGION_PAGES 16u
#define REGION       (REGION_PAGES * PAGE_SIZE)
enum page_kind { PK_ABSENT, PK_RO, PK_RW, PK_RX };
extern const u8 page_kind[REGION_PAGES];
#define PAGE_LIN(n) (BASE + (n)*PAGE_SIZE)

/* Exits: a far jump to 33h, which is the host's 64-bit code segment and, in the guest, beyond the GDT's
 * limit. One behind the tested instruction, one 40h before and one behind its start where there is room, and
 * the pads of page 12, even ones for 32-bit code, odd ones for 16-bit code. */
#define EXIT_PAGE  12u
#define EXIT_SEL   0x33
#define PAD_FIRST  4u
#define PAD_COUNT  64u
#define PAD_LIN(k) (PAGE_LIN(EXIT_PAGE) + (k)*32)
#define NEAR_PAD   0x40
#define CODE_LIN   (PAGE_LIN(14) + 0x400)
#define CODE_END   (PAGE_LIN(15) + PAGE_SIZE)

/* Selectors of the LDT's segments; the order is that of segments[] in world.c. */
enum seg_id {
    SG_ZERO,
    SG_CODE32,
    SG_DATA32,
    SG_CODE16,
    SG_DATA16,
    SG_CODE32B,
    SG_DATA32B,
    SG_SMALL,
    SG_RO,
    SG_DOWN32,
    SG_DOWN16,
    SG_XONLY,
    SG_ABSENT,
    SG_FLATRO,
    SG_ODD,
    SG_PAGES,
    SG_CONFORM,
    SG_WRAP,
    SG_CODESHORT,
    SG_ABSCODE,
    SG_COUNT
};
#define SEL(id) ((u16)((id) << 3 | 7))
struct segment {
    u32 base, limit; /* limit in bytes or pages */
    u8 contents;     /* 0 data, 1 expand-down, 2 code, 3 conforming */
    bool ro, pages, big, absent;
};
extern const struct segment segments[SG_COUNT];
u64 segment_desc(const struct segment *s); /* the descriptor, as the host's kernel builds it */
/* The segment register as loaded from sel: a selector of the LDT, or null. False: no such segment. */
bool segment_reg(u16 sel, struct seg *out);
u8 base_byte(u32 off);                 /* what the region holds before a case's own patches */
void build_exit_page(u8 *page);        /* pads and the 64-bit stubs that they lead to */
u32 put_exit(u8 *p, bool cs32, u32 k); /* the jump to stub k; returns its length */

/* ---- cases ---- */

#define MAX_PATCH 4
struct patch {
    u32 lin;
    u16 len;
    u8 b[64];
};
struct fpstate {
    u16 fcw, fsw;
    u8 tags; /* abridged: bit n set = physical register n is not empty */
    u32 mxcsr;
    u8 st[8][10]; /* st[n] is ST(n) */
    u8 xmm[8][16];
};
struct icase {
    u8 code[INSN_MAX + 1];
    u8 len;
    bool any_fp; /* fp is not the default */
    u32 lin;     /* where the code is */
    u16 sel[6];  /* enum sreg order */
    u32 gpr[8], flags;
    struct fpstate fp;
    struct patch patch[MAX_PATCH];
    u32 n_patch;
};
void case_default(struct icase *c);
u32 case_cs_base(const struct icase *c);
bool case_cs32(const struct icase *c);

/* Hands every run of bytes that the case puts into the region to put(): code, exits, patches. */
void case_lay_out(const struct icase *c, void (*put)(void *opaque, u32 lin, const u8 *b, u32 len),
                  void *opaque);
/* Remembers the runs that went into code pages, so that the next case finds them clean again. */
struct code_runs {
    u32 n, lin[4], len[4];
};
static inline void code_runs_add(struct code_runs *r, u32 lin, u32 len)
{
    if (r->n < ARRAY_SIZE(r->lin)) {
        r->lin[r->n] = lin;
        r->len[r->n++] = len;
    }
}
void fp_to_fx(const struct fpstate *f, u8 *fx); /* FXSAVE64 layout */
void fx_to_fp(const u8 *fx, struct fpstate *f);

#define VEC_NONE 0xff
#define VEC_HALT 0xfd /* hlt at CPL 0 */
#define VEC_SYS  0xfe /* native: a system call was tried; interpreter: it did not end, error NO_END */
#define NO_END   0xdead
struct outcome {
    u8 vector; /* or VEC_NONE */
    bool cs_unknown;
    u32 error, cr2;
    u32 lin; /* where execution went on, or the faulting instruction (for traps: the one behind it) */
    u32 gpr[8], flags;
    u16 sel[6];
    u64 system; /* hash of control registers, descriptor tables, MSRs (engines only) */
    struct fpstate fp;
};

/* ---- who runs cases ---- */

/* The real CPU (native.c, native_stub.S). Once per process, after the engines (it chains their handlers).
 * Returns false with a message if the host does not offer what it takes. */
bool native_init(void);
/* Before the engines: keeps the addresses of the region free, which their window of the lowest 4 GiB
 * (OPT(winlow)) would take. */
bool native_reserve(void);
void native_run(const struct icase *c, struct outcome *o);
extern u8 *native_ram; /* the region: what the case left there */

/* novt's engines (engine.c). A VM's options never change, so translated code may rely on what others of them
 * have made: those that decide together where indirect branches enter (entry_restores_of(),
 * translator/translator.h) are off in engines of their own, _APART. */
enum engine_kind {
    ENG_INTERP,
    ENG_TABLE,
    ENG_WINDOW,
    ENG_VERIFY,
    ENG_TABLE_APART,
    ENG_WINDOW_APART,
    ENG_COUNT
};
struct engine;
struct engine *engine_create(enum engine_kind kind);
/* Where a case runs: at CPL 3; at CPL 0, with the same segments but DPL 0; in V86 mode (IOPL 3 if c->lin is
 * odd) and in real mode, with 64 KiB segments over the region. The real CPU runs the first kind only. */
enum { AT_RING0 = 0, AT_USER = 3, AT_V86 = 4, AT_REAL = 5 };
/* opts: OPT_* in force for this case. */
void engine_run(struct engine *e, const struct icase *c, u64 opts, int level, struct outcome *o);
const u8 *engine_ram(struct engine *e, u32 page); /* the region's page after the case */
void engine_drop_tables(struct engine *e);        /* next accesses miss */
struct vcpu *engine_vcpu(struct engine *e);

/* ---- comparison (compare.c) ---- */

/* What need not be equal for this instruction, and why. */
struct slack {
    u32 flags;      /* undefined (forms.c) */
    bool no_native; /* not comparable with the host's CPU */
    const char *why;
    bool only_faults;           /* the following only if the instruction faulted */
    bool cpu_only;              /* only the real CPU's memory may differ from the interpreter's there */
    u32 mem_lin[4], mem_len[4]; /* bytes of memory that hold host-dependent values */
};
void slack_for(const struct icase *c, const struct insn *in, struct slack *s);

struct rig { /* everybody, and the counts */
    struct engine *eng[ENG_COUNT];
    bool native;
    u64 runs_native, runs_engine;
};
bool rig_init(struct rig *r, bool native);
/* Runs c everywhere (all: in every configuration; else in the one chosen by n) and compares. NULL, or what
 * differs. ref is the outcome on the real CPU, or the interpreter's; ref_ram (may be NULL) the region then.
 */
const char *rig_check(struct rig *r, const struct icase *c, const struct insn *in, bool all, u64 n, int level,
                      struct outcome *ref, u8 *ref_ram);
/* Makes c simpler while it still fails. */
void rig_shrink(struct rig *r, struct icase *c, const struct insn *in, int level);

/* ---- case files (casefile.c) ---- */

struct expect {         /* the right side of a case line */
    struct icase after; /* gpr, sel, flags, fp, patches as memory */
    u32 lin;
    u8 vector;
    u32 error, cr2;
    u32 flags_mask; /* flags not compared */
    bool given, native, has_lin;
    int level;
};
/* Parses a line; 0, 1 for an empty line or comment, -1 with *err set. */
int case_parse(const char *line, struct icase *c, struct expect *x, const char **err);
/* Prints c and what it led to (ram: the region then) as a case line. */
void case_print(FILE *f, const struct icase *c, const struct insn *in, const struct outcome *o, const u8 *ram,
                int level);
/* Compares o and ram with x; NULL, or what differs. */
const char *case_check(const struct icase *c, const struct expect *x, const struct outcome *o, const u8 *ram);

/* ---- forms and generation (forms.c, generate.c) ---- */

enum { FM_NONE, FM_MEM, FM_REG };
struct form {
    u8 map, op, mand; /* mandatory prefix: 0, 66h, F2h, F3h */
    u8 digit;         /* ModRM.reg, or 0xff: any */
    u8 rm;            /* of a register form that rm selects, or 0xff */
    u8 kind;          /* FM_* */
    u8 fpu;           /* as in struct insn */
    bool lock, rep;   /* lock is allowed; F2 and F3 mean repetition */
    bool addresses;   /* the address size matters */
    bool opsize;      /* prefix 66 is allowed, and is no mandatory one */
    u16 mnemonic;
};
#define MAX_FORMS 4096u
extern struct form *forms; /* room for MAX_FORMS */
extern u32 form_count;
void forms_init(void);
/* Variants of a form that are counted: operand size x address size x code size x lock x rep. */
#define FORM_VARIANTS 48
u32 form_variant(const struct form *f, const struct insn *in, bool cs32);
bool form_variant_exists(const struct form *f, u32 variant);
void form_name(const struct form *f, char *buf, size_t size);
u32 undefined_flags(const struct insn *in, const struct icase *c);

void generate(u64 seed, u64 n, int level, struct icase *c, u32 *form, struct insn *in);

#endif
