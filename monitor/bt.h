/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to monitor/: the state behind binary translation of one vCPU. */
#ifndef NOVT_MONITOR_BT_H
#define NOVT_MONITOR_BT_H

#include <pthread.h>
#include <sys/ucontext.h>
#include <time.h>
#include "monitor/monitor.h"
#include "shadowpt/shadowpt.h"
#include "tcache/tcache.h"

#define CTX_CACHE  128
#define RET_STACK  (64 * 1024u) /* host bytes of a return stack, its guard page at the low end included */
#define VIEW_SLOTS 4096

#define CHECK_SITES 1024u
#define TABLE_PAGES 16384u
#define FAULT_SITES 256u

/* A window operand that guest faults were delivered from. */
struct fault_site {
    u64 gpa;
    u32 count;
};

/* A context: everything besides eip that an indirect branch's target depends on; and its return stack. */
struct ctx {
    u64 base;
    u32 mode, cs_base, cs_limit, epoch;
    u64 salt;            /* 0: unused */
    u64 rsp;             /* while another context is current */
    u64 ibtc;            /* BT_IBTC */
    u64 window;          /* GS base, 0: not in window form, or in the window that needs none */
    const u32 *epoch_of; /* the view's; the context is good for nothing if it is not `epoch` any more */
    const u8 *window_on; /* whether the view's window is in use; nor if that is not `in_window` */
    u32 in_window;
    struct ctx *next; /* which one followed this last time; it may have become another */
    /* What sysenter, or at CPL 0 sysexit, led to from here last time. thunks.S does it again while the rest
     * of what decides it is the same: v->mode, v->sflags, the MSR, and that `to` is that context still. */
    struct {
        struct ctx *to;
        u64 to_salt;
        u32 sflags, from_mode, msr_cs, to_mode;
        struct seg cs, ss;
    } sys;
    /* The same for a change of CR0.TS; everything but the mode stays. */
    struct {
        struct ctx *to;
        u64 to_salt;
        u32 from_mode, to_mode;
    } ts;
    /* What int n at CPL 3 led to: besides the bytes in memory, read again each time, the registers that say
     * where they are. */
    struct {
        struct ctx *to;
        u64 to_salt;
        u32 sflags, from_mode, to_sflags, to_mode;
        struct seg cs, ss;
        u64 idtr, gdtr, tr; /* as they are in struct vcpu; TR's base and limit */
        u32 tr_attr, vector;
        u32 idt_at, cs_at, ss_at, tss_at; /* linear addresses */
        u64 idt_raw, cs_raw, ss_raw;
        u32 off, keep_if;
    } gate;
    /* And iretd at CPL 0: to CPL 0, to CPL 3. */
    struct iret_done {
        struct ctx *to;
        u64 to_salt;
        u32 sflags, from_mode, to_sflags, to_mode;
        struct seg cs, ss;
        u64 gdtr;
        u32 cs_at, ss_at;
        u64 cs_raw, ss_raw;
        u32 flags; /* of the image, but for arithmetic flags and IF */
    } iret[2];
};
#define NO_MODE (~0u) /* in from_mode of any of these: nothing is known */

#define KICK_SITES 65536u

struct bt {
    struct vcpu *v;
    struct memory *m;
    struct tcache *tc;
    struct monitor_config cfg;
    u64 *ibtc; /* tags, then host addresses: translator/abi.h */
    struct ctx ctx[CTX_CACHE];
    u8 *ret_stacks; /* CTX_CACHE of them */
    u64 next_salt;
    u32 places;            /* in the branch cache: given to contexts since it was empty */
    u32 epoch[VIEW_SLOTS]; /* per view: bumped when one of its exec-table entries goes away */
    pthread_t thread;
    bool kernel_window_off; /* for good */
    u32 kernel_misfits;
    u32 direct_undone; /* how often chains without checks had to be given up */
    bool windows;      /* the host lets us set the GS base */
    /* divisions that have failed: guest-physical addresses + 1, hashed */
    u64 check_sites[CHECK_SITES];
    struct fault_site fault_sites[FAULT_SITES];
    u32 faults; /* at all of them, since the host's time stamp was: */
    u64 faults_since;
    bool faults_hot;  /* they took much of the time when last looked at */
    u64 *table_sites; /* guest-physical addresses of instructions that stay in table form, hashed */
    u64 learned_pages[TABLE_PAGES / 64]; /* pages that may have sites of either kind, hashed */
    struct {
        const struct fragment *frag;
        u32 insn; /* of it */
        u64 addr; /* host address that faulted, if addr_valid */
        bool addr_valid, write;
        bool divide;       /* #DE */
    } hf;                  /* the last host fault in translated code */
    u8 again[TABLE_PAGES]; /* window.c: how often their table sites have got window form again; hashed */
    struct {
        u64 gpa;
        u32 when, count;
    } unsteady[256]; /* window.c: instructions that faulted at pages that would not stay in the window */
    struct {
        const struct fragment *frag;
        u32 off, generation;
    } x87;      /* fpu.c: where the last x87 instruction was, as last looked up */
    u32 pf_lin; /* a #PF was delivered from window code: map this page when its view, BT_PF, runs again */
    bool pf_write;
    timer_t tick; /* a kick now and then where no other comes; if ticking */
    bool ticking;
    bool looked;            /* since it fired last, bt_window_tick() has been called */
    struct fragment *found; /* by bt_continue() the last time, NULL: the branch cache knew it */
    bool stepping;          /* the kick handler is single-stepping to a boundary */
    bool soft_in_thunk;     /* stop.c: the host instruction that software executes is a thunk's */
    u64 host_opts;          /* OPT() bits that the host's processor can do */
    struct unit unit;
    struct insn_memo *memo;                  /* NULL: switched off */
    struct verifier *verifier;               /* NULL: off */
    const struct insn *kept[UNIT_MAX_INSNS]; /* instructions that the unit's host code refers to */
    u32 n_kept;
    bool unit_learned; /* the unit being translated depends on what was learned of its instructions */
    bool profile;      /* units count the arms that their branches take, in BT_ARMS */
    const struct fragment *unit_check; /* what it is compared with, NULL: nothing */
    u64 unit_gpa;                      /* its address, */
    u32 unit_lin;                      /* and the linear one */
    u64 rf_eip;    /* of the instruction that RF was cleared in advance for (run.c), NO_RF_EIP: of none */
    u32 retry_eip; /* of the last instruction whose miss was filled, since translated code was entered */
    /* forced stops: the place of the last one, which must be passed when translated code goes on there */
    bool kick_stopped;
    u32 kick_eip;
    u32 kick_host;   /* its offset in the code area */
    u16 *kick_sites; /* how often, hashed by host address, KICK_SITES of them; NULL: not counted */
    /* KICKS_HOST: behind the trap at kick_host, on the way to a host instruction where no kick was tried; a
     * bit for each byte of the code area, and behind it of the thunks. */
    bool probing;
    u8 *kick_tried;
    u64 stop; /* exact counting: what monitor_count() is when BT_LEFT reaches 0 */
};

#define NO_RF_EIP (1ull << 32)

/* Contexts start at different places in the branch cache, which is what tells their entries apart
 * (translator/abi.h): a place is not used again before the whole cache was emptied. */
#define CTX_PLACES 65536u
#define CTX_SPREAD 499u
_Static_assert(CTX_PLACES - 1 + 65536 < IBTC_ENTRIES && CTX_SPREAD % 2, "the branch cache is too small");

/* The tag of eip in a context, and the host address that goes with it. */
static inline u64 *bt_branch_tag(const struct ctx *c, u32 eip)
{
    return (u64 *)(uintptr_t)c->ibtc + (eip & 0xffff);
}
static inline u64 *bt_branch_host(u64 *tag)
{
    return tag + IBTC_HOST_OFF / 8;
}

static inline struct bt *bt_of(struct vcpu *v)
{
    return v->tc;
}

/* The current context; NULL: to be selected. */
static inline struct ctx *bt_ctx(const struct vcpu *v)
{
    return (struct ctx *)(uintptr_t)v->bt[BT_CTX];
}

/* The mode that code is translated for: the CPU's, and whether the view's window is on. */
u32 bt_mode(const struct vcpu *v);

/* Host code entry points (thunks.S). */
int bt_enter(struct vcpu *v);
extern const u8 *const bt_rep_places[4]; /* repeated string instructions in thunks */
extern const u8 bt_fx_start[], bt_fx_looks[];
extern const u8 bt_leave_async[], bt_leave_fault[], bt_leave_kick[], bt_kick_trap[], bt_thunks_start[],
    bt_thunks_end[];
/* In bt_resume, all state is in struct vcpu; up to bt_to_c_end, the way leads to C code or out. */
extern const u8 bt_resume[], bt_resume_end[], bt_to_c_end[];
extern const u8 th_read_miss[], th_write_miss[], th_slow[], th_exec[], th_lookup[], th_link[], th_intr[],
    th_ibranch[], th_underflow[], th_seg_load[], th_seg_fsgs[], th_seg_real[], th_verw[], th_popf[],
    th_popf_if[], th_in[], th_sys[], th_sysenter[], th_sysexit[], th_int[], th_iret[], th_clts[], th_cr0[],
    th_ret_miss[], th_ind_of[], th_far[], th_rep_movs8[], th_rep_movs32[], th_rep_stos8[], th_rep_stos32[],
    th_invlpg[], th_taken[], th_passed[], th_fxsave[], th_fxsave_exact[], th_fxrstor[], th_unable[], th_cr3[],
    th_seg_both[];

/* Instructions whose memory operands are no good for windows. */
#define TABLE_SITES 65536u
static inline u64 *bt_table_site(struct bt *b, u64 gpa)
{
    return &b->table_sites[(u32)(gpa * 0x9e3779b1u) >> 16];
}

static inline u32 bt_learned_page(u64 gpa)
{
    return (u32)(gpa >> PAGE_SHIFT) % TABLE_PAGES;
}

/* May the page have any? */
static inline bool bt_learned(const struct bt *b, u64 gpa)
{
    return b->learned_pages[bt_learned_page(gpa) >> 6] >> (bt_learned_page(gpa) & 63) & 1;
}

static inline u64 *bt_check_site(struct bt *b, u64 gpa)
{
    return &b->check_sites[(u32)(gpa * 0x9e3779b1u) >> 22];
}

/* Finds or makes the translation of v->eip. */
enum bt_found { BT_FOUND, BT_RETRY_EIP, BT_USE_INTERP };
enum bt_found bt_find(struct vcpu *v, struct fragment **out); /* find.c */
void bt_flush(struct vcpu *v);
/* From now on units count the arms that their branches take. */
void bt_count_arms(struct vcpu *v);
/* What translating a unit for k depends on, but for its bytes and what is known of its instructions. */
struct unit_env bt_unit_env(struct vcpu *v, const struct frag_key *k);
/* --verify: a fragment that was not translated for where it is must be what a translation would be. */
void bt_check_made(struct vcpu *v, struct fragment *f); /* find.c */
/* Code is looked for in this page for the first time: what a file has of it is taken over (store.c). Heavy.
 */
void bt_see_page(struct vcpu *v, u64 gpa);
/* Empties the branch cache, and makes all contexts invalid. */
void bt_forget_branches(struct bt *b);
/* Empties the context's return stack. */
void bt_forget_returns(struct bt *b, struct ctx *c);
/* Has the fragments that hold this instruction translated anew. */
void bt_retranslate(struct vcpu *v, u64 gpa);
void bt_code_written(void *opaque, u64 gpa, u32 len);
/* Checks the unit that was just translated; ends the process if it is not safe to run (dump.c). Heavy. */
void bt_verify_unit(struct vcpu *v, const struct frag_key *k, const u8 *code, u32 first_link);
/* Prints a unit and its host code (dump.c). Heavy: parks the FPU. */
void bt_dump_unit(struct vcpu *v, const struct fragment *f, const struct unit *u);
/* Installs signal handlers and the alternate stack for the calling thread (signals.c). */
int bt_signals_init(struct vcpu *v);
void bt_signals_kick(struct vcpu *v);
/* What the signal handlers do with the interrupted registers (stop.c): on a kick, and after each single step
 * that it needed; at a trap of monitor_config.kicks; after a single step behind one, while b->probing. */
void bt_seek_boundary(struct vcpu *v, greg_t *g);
void bt_forced_stop(struct vcpu *v, greg_t *g);
void bt_probe(struct vcpu *v, greg_t *g);
bool bt_in_code(struct vcpu *v, const u8 *pc);
bool bt_in_thunks(const u8 *pc);
/* Bytes of b->kick_tried. */
u64 bt_kick_tried_bytes(const struct bt *b);
/* The guest's registers into v; saved: its flags are in r12. The instruction at a host offset of f. */
void bt_spill(struct vcpu *v, const greg_t *g, bool saved);
u32 bt_find_insn(const struct fragment *f, u32 off);
/* The calling thread's kicks from its own timer: without one all is the same but that windows are turned on
 * only by other kicks. */
void bt_tick_start(struct vcpu *v);
void bt_tick_stop(struct vcpu *v);
/* The calling thread runs v from here on: its faults and its GS base are v's. */
void bt_own_thread(struct vcpu *v);

/* Base of the current view (r14). */
static inline u64 bt_view_base(const struct vcpu *v)
{
    return (u64)(uintptr_t)v->rtab + SPACE_RT_OFF;
}
/* Makes r14, GS base, the branch cache and the return stack those of the current view, mode and code segment
 * (context.c). */
void bt_select_context(struct vcpu *v);
void bt_exec_removed(void *opaque, u64 base, u32 page); /* the shadow's exec hook */

/* Is the supervisor, which is running, to have a window? */
bool bt_kernel_window_of_use(struct vcpu *v);
/* A kick found the current view running: turn its window on or off (window.c). */
void bt_window_tick(struct vcpu *v);
/* A page fault of the guest's is delivered. If its view has a window: the handler will map the page and come
 * back; have it in the window by then, and save a host fault. */
void bt_window_expect(struct vcpu *v, u32 lin, bool write);
/* A page that the guest has just written to, by the instruction before BT_RESUME, is not watched any more. */
void bt_window_again(struct vcpu *v);
/* The view that a page fault was delivered from is about to run again: map the page. */
void bt_window_prefill(struct vcpu *v);
/* Translated code faulted on the host. Returns whether to enter it again at BT_RESUME. */
bool bt_host_fault(struct vcpu *v);

bool bt_other_fault_first(struct vcpu *v, u32 lin, bool write); /* run.c */
void bt_page_moved(void *opaque); /* the hook of shadow_set_stays_hook(), opaque = struct bt (run.c) */

/* int n outside of V86, v->next_eip behind it, and iretd at CPL 0; then bt_continue() (gates.c). */
int bt_soft_interrupt(struct vcpu *v, u8 vector);
int bt_iret(struct vcpu *v, const struct insn *i);
int bt_sysenter_exit(struct vcpu *v, const struct insn *i);

/* mov to CR3 from translated code, whose registers but v->gpr are the guest's; BT_RSP is the return stack.
 * Returns CR3_*; unless it is CR3_NOT, value is loaded and, with CR3_DONE, its context selected (context.c).
 */
int bt_cr3(struct vcpu *v, u32 value);

/* One instruction by the interpreter; counted: translated code has counted it already (run.c). */
void bt_step(struct vcpu *v, bool counted);

/* Decides what runs next at v->eip: 0 with BT_RESUME set, or 1 to leave to the run loop (run.c). */
int bt_continue(struct vcpu *v);

#endif
