/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Turns one unit of guest code into host code.
 *
 * A unit is a straight run of guest instructions within one page (or a single instruction that crosses a page
 * boundary), with side exits at conditional branches. The translator sees bytes, an address and a mode, and
 * writes position-independent host code; it knows nothing of guest memory, the cache or the monitor. Light
 * code with a memo.
 */
#ifndef NOVT_TRANSLATOR_TRANSLATOR_H
#define NOVT_TRANSLATOR_TRANSLATOR_H

#include "base/opts.h"
#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "translator/abi.h"

#define UNIT_MAX_INSNS 96
#define UNIT_MAX_LINKS (2 * UNIT_MAX_INSNS + 2)
#define CODE_LINE      64    /* of the host's caches */
#define FRAGMENT_ALIGN 64    /* where a unit's host code may begin */
#define UNIT_MAX_CODE  32768 /* bytes of host code that any unit fits into */

/* One guest instruction's place in the host code. */
struct pcmap {
    u16 host;  /* offset of its first host byte in the fragment */
    u16 guest; /* offset of the instruction from the unit's eip */
    u8 flags;  /* PCM_* */
    i16 sp;    /* at its start and while it runs, guest esp is its register plus this */
};
#define PCM_SAVED    1 /* at its start, guest flags are in r12 */
#define PCM_OP_SAVED 2 /* when its main host instruction runs, guest flags are in r12 */
#define PCM_INHIBIT  4 /* interrupts are inhibited at its start (after sti) */

#define INT3 0xcc /* the trap of unit_env.traps: the first byte of an instruction's host code */

/* Where a return comes back behind a call. When the unit is invalidated, the code behind it must not run: a
 * jump to `miss`, which looks the return address up, is written over the first LANDING_PATCH bytes. */
struct unit_landing {
    u32 at, miss; /* offsets */
};
#define LANDING_PATCH 5

/* A direct exit that can be chained: if `far` to the target's checked entry, else, within the page, to its
 * code. */
struct unit_link {
    u32 target; /* guest eip */
    u32 patch;  /* offset of the rel32 to patch */
    u32 stub;   /* offset of the stub that the rel32 goes to while unlinked */
    bool far;   /* to another page */
    u16 arm;    /* what it is of a conditional branch: unit_arm(), 0: nothing */
};

/* One of the two arms of the conditional branch at offset `off` of a unit's page: how an exit is known where
 * branches are counted. */
#define ARM_PASSED 0x8000u /* of the branch that is not taken */
#define ARM_OFF    0x0fffu
#define ARM_IS     0x4000u /* so that it is not 0 */
static inline u16 unit_arm(u32 off, bool passed)
{
    return (u16)(ARM_IS | (off & ARM_OFF) | (passed ? ARM_PASSED : 0));
}

/* What is known of a conditional branch from a run before. */
#define HINT_TAKEN        1u /* mostly taken */
#define HINT_NEVER_TAKEN  2u
#define HINT_NEVER_PASSED 4u

/* Whether minus twice any address in a unit that begins here, with its sign, is a displacement of 32 bits,
 * and never one of 8: the lowest and the highest GiB. */
static inline bool eip_near_0(u32 eip)
{
    return eip + 0x40000000 - PAGE_SIZE < 0x80000000 - 3 * PAGE_SIZE && eip + 2 * PAGE_SIZE >= 3 * PAGE_SIZE;
}

/* Whether indirect branches leave it to their target to bring OF back (exits.c): it has a checked entry, the
 * last instruction of which does that, if OF matters at all. */
static inline bool entry_restores_of(u64 opts, u32 mode)
{
    const u64 need = OPT(ofcheck) | OPT(chain) | OPT(xpage);
    return (opts & need) == need && (mode & MODE_FLATCS);
}
#define ENTRY_OF_BYTES 7 /* that instruction: adox r11d, [r15 + VO_ONE] */

/* What in a unit's code depends on the guest address that it was made for. A copy of the code with these
 * changed is the same unit at another address, as many whole pages away (tcache/move.c): every place that
 * emits something of the kind says so (unit_moves(), xl.h). */
enum move_kind {
    MOVE_EIP,      /* imm32: an address */
    MOVE_NEG_EIP,  /* disp32: minus an address */
    MOVE_NEG_2EIP, /* disp32: minus twice an address (eip_near_0()) */
    MOVE_EXEC,     /* disp32 from the view's base: the exec-table entry of a page */
    MOVE_LINK,     /* imm32: the number of one of the unit's links */
    MOVE_INSN,     /* imm64: a struct insn that was kept, of which any copy will do */
};
struct unit_move {
    u16 at; /* offset */
    u16 kind;
};
#define UNIT_MAX_MOVES 1024

struct unit_env {
    const struct cpu_model *model;
    struct insn_memo *memo; /* of that model; NULL: without, and then translating is heavy code */
    u64 opts;
    u32 mode; /* MODE_* */
    u32 eip;  /* of the first instruction */
    u32 cs_base, cs_limit;
    const u8 *bytes; /* guest code at eip */
    u32 avail;       /* bytes up to the end of the page */
    const u8 *cross; /* up to 30 bytes from eip on, running into the next page; NULL if that page is not
                        available */
    u32 cross_avail;
    u32 cross_expect; /* exec-table value of the second page */
    u32 first_link;   /* number of the unit's first link */
    u32 line_at;      /* where in a line of CODE_LINE bytes its code begins */
    bool may_lead;    /* or `lead` bytes behind that, as the unit says */
    bool count;       /* emit instruction counting */
    bool profile;     /* count which arm conditional branches take, by their link (TH_TAKEN, TH_PASSED) */
    /* Count each instruction down in BT_LEFT where it starts, and leave through TH_INTR before one when
     * nothing is left. Every input (rdtsc, in) must then go through a callout. */
    bool exact;
    bool host_tsc;  /* the guest's time stamp is the host's plus v->tsc_offset: rdtsc may be inlined */
    bool traps;     /* int3 at the unit's entry and at the targets of its jumps, for forced stops */
    bool traps_all; /* and at every instruction */
    /* Storage for decoded instructions that the host code refers to; returns NULL when full. */
    struct insn *(*keep_insn)(void *opaque, const struct insn *i);
    /* Whether the instruction at this offset of the unit must use table form; may be NULL. */
    bool (*table_site)(void *opaque, u32 off);
    /* Whether the division at this offset has failed before, and should be checked; may be NULL. */
    bool (*check_site)(void *opaque, u32 off);
    /* Whether the unit must end before the instruction at this offset; may be NULL. */
    bool (*stop_before)(void *opaque, u32 off);
    /* HINT_* of the conditional branch at this offset, which the instruction at `next` follows; may be NULL.
     */
    u32 (*hint)(void *opaque, u32 off, u32 next);
    void *opaque;
};

struct unit {
    u32 guest_len; /* bytes of guest code covered */
    u32 depends;   /* bytes whose change makes the unit another one: more behind an undefined encoding */
    u32 n_insns;
    bool crosses; /* depends on the next page too */
    u32 leaks;    /* sensitive instructions that were copied: must be 0 */
    u32 host_len;
    u32 n_links;
    u32 n_landings; /* those with code of the unit behind them */
    bool fixed;     /* cannot be moved */
    bool of;        /* OF is live at its start */
    u32 lead;       /* its code begins so many bytes behind where it should have: see may_lead */
    u32 n_moves;
    struct unit_move moves[UNIT_MAX_MOVES];
    struct unit_landing landings[UNIT_MAX_INSNS];
    struct pcmap pcmap[UNIT_MAX_INSNS];
    struct unit_link links[UNIT_MAX_LINKS];
    struct insn insns[UNIT_MAX_INSNS]; /* as decoded, for dumps */
};

enum xlate_status {
    XLATE_OK,
    XLATE_NEED_CROSS, /* the first instruction runs into the next page: call again with env->cross */
    XLATE_FULL,       /* code buffer or instruction storage full */
    XLATE_INTERP, /* the first instruction cannot be fetched here (too long, beyond the CS limit): interpret
                     it */
};

/* Writes the checked entry of a fragment for eip (linear address lin, of a page whose exec-table value is
 * `expected`), whose code must follow immediately; of: it may look at OF. Returns how many bytes that are,
 * whatever the addresses; *check: the offset to which others jump. 0: nothing is chained across pages. */
#define ENTRY_MAX 48
u32 translate_entry(u64 opts, u32 eip, u32 lin, u32 expected, bool of, u8 *code, u32 *check);

/* opts without what this host's processor cannot do. Slow: under a hypervisor cpuid traps. */
u64 translate_host_opts(u64 opts);

/* Translates into code[0..cap), 8 bytes at least; env->opts must be possible on this host for the code to
 * run. */
enum xlate_status translate_unit(const struct unit_env *env, u8 *code, u32 cap, struct unit *out);

#endif
