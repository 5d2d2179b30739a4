/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest CPU: its state, the operations on it, and the reference semantics (the interpreter).
 *
 * Everything in cpu/, memory/, shadowpt/, tcache/ and most of monitor/ is *light* code: compiled with
 * -mgeneral-regs-only, because the guest's x87/MMX/SSE state lives in the host's registers while it runs.
 * Light code must not call libc or any other code that may touch those registers without calling
 * cpu_fpu_park() first. cpu_fpu_park() is idempotent and cheap when already parked; whoever needs live guest
 * FPU state calls cpu_fpu_live() before using it.
 *
 * Guest faults are values: a function that can fault returns CPU_OK (0) or CPU_FAULT (-1) with v->fault
 * filled in, and its caller returns at once. Nothing guest-visible may have changed before a fault, except
 * for the documented partial progress of REP string instructions.
 */
#ifndef NOVT_CPU_CPU_H
#define NOVT_CPU_CPU_H

#include "base/phases.h"
#include "base/stats.h"
#include "base/types.h"

/* ---- registers ---- */

enum gpr { R_EAX, R_ECX, R_EDX, R_EBX, R_ESP, R_EBP, R_ESI, R_EDI };
enum sreg { S_ES, S_CS, S_SS, S_DS, S_FS, S_GS, S_LDTR, S_TR, S_COUNT, S_NONE = 0xff };

/* EFLAGS (SDM vol. 1, 3.4.3). */
#define FL_CF         (1u << 0)
#define FL_1          (1u << 1)
#define FL_PF         (1u << 2)
#define FL_AF         (1u << 4)
#define FL_ZF         (1u << 6)
#define FL_SF         (1u << 7)
#define FL_TF         (1u << 8)
#define FL_IF         (1u << 9)
#define FL_DF         (1u << 10)
#define FL_OF         (1u << 11)
#define FL_IOPL       (3u << 12)
#define FL_IOPL_SHIFT 12
#define FL_NT         (1u << 14)
#define FL_RF         (1u << 16)
#define FL_VM         (1u << 17)
#define FL_AC         (1u << 18)
#define FL_VIF        (1u << 19)
#define FL_VIP        (1u << 20)
#define FL_ID         (1u << 21)
#define FL_ARITH      (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)
#define FL_HOST       (FL_ARITH | FL_DF) /* the flags that live in host EFLAGS while translated code runs */
#define FL_ALL        0x003f7fd5u        /* every flag of the model that is not constant */

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)

#define CR4_VME        (1u << 0)
#define CR4_PVI        (1u << 1)
#define CR4_TSD        (1u << 2)
#define CR4_DE         (1u << 3)
#define CR4_PSE        (1u << 4)
#define CR4_PAE        (1u << 5)
#define CR4_MCE        (1u << 6)
#define CR4_PGE        (1u << 7)
#define CR4_PCE        (1u << 8)
#define CR4_OSFXSR     (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)

#define EFER_SCE (1u << 0)
#define EFER_NXE (1u << 11)

/* Exception vectors. */
enum {
    EXC_DE = 0,
    EXC_DB = 1,
    EXC_NMI = 2,
    EXC_BP = 3,
    EXC_OF = 4,
    EXC_BR = 5,
    EXC_UD = 6,
    EXC_NM = 7,
    EXC_DF = 8,
    EXC_TS = 10,
    EXC_NP = 11,
    EXC_SS = 12,
    EXC_GP = 13,
    EXC_PF = 14,
    EXC_MF = 16,
    EXC_AC = 17,
    EXC_MC = 18,
    EXC_XM = 19,
};

/* Page-fault error code bits. */
#define PF_P    1u
#define PF_W    2u
#define PF_U    4u
#define PF_RSVD 8u
#define PF_I    16u

/* Segment attributes, in the layout of the descriptor's bytes 5-6 (and of a VMCS access-rights field). */
#define SA_TYPE      0x000fu
#define SA_A         0x0001u /* accessed */
#define SA_RW        0x0002u /* data: writable; code: readable */
#define SA_EC        0x0004u /* data: expand-down; code: conforming */
#define SA_CODE      0x0008u
#define SA_S         0x0010u /* code or data, not system */
#define SA_DPL       0x0060u
#define SA_DPL_SHIFT 5
#define SA_P         0x0080u
#define SA_AVL       0x1000u
#define SA_DB        0x4000u
#define SA_G         0x8000u
#define SA_NULL      0x10000u /* loaded with a null selector: any use faults */

struct seg {
    u16 sel;
    u8 fast; /* SEGF_* that need no limit or type check: limit 4 GiB, expand-up, present, type allows it */
    u8 flat; /* fast for read (and write, unless code) and base 0 */
    u32 base;
    u32 limit; /* in bytes, scaled by G; last valid offset (expand-down: last invalid) */
    u32 attr;  /* SA_* */
};
#define SEGF_R 1
#define SEGF_W 2

struct dtr {
    u32 base;
    u16 limit;
};

/* A load of a data segment register that succeeded: what it was made from, and what came out. Good as long as
 * the GDT or LDT is where it was and still holds `raw`; see monitor/thunks.S, th_seg_load. */
#define SEGC_ENTRIES 64
#define SEGC_NONE    ~0u /* a tag: what 0 is in the other entries, where no null selector is looked for */
#define SEGC_VERW    0x100000u /* in a tag: verw found the segment writable; `seg` is unused */
struct seg_cached {
    u32 tag;   /* selector | CPL << 16 | SEGC_VERW, of a selector that is not null; 0: none */
    u32 lin;   /* where the descriptor was read, 8-byte aligned */
    u64 table; /* which had room for it: GDTR, or LDTR's base and limit, as in struct vcpu */
    u64 raw;   /* the descriptor, accessed bit set */
    u32 page;  /* 8 * number of lin's page */
    u32 attr;  /* LDTR's, where it is the table */
    struct seg seg;
    u64 pad2[2]; /* 64 bytes: the thunk scales by 8 only */
};

/* The same for entries through gates of the IDT, and for irets (cpu/gatecache.c). */
#define GATEC_ENTRIES 32
#define IRETC_ENTRIES 8
struct gate_cached {
    u32 key; /* 0: none */
    u32 off, mode, ss_mode;
    u64 raw, cs_raw, ss_raw;
    struct seg cs, ss; /* ss of the entry from CPL 3 */
    u8 keep_if;
};
static inline u32 cpu_gate_key(u8 vector, u32 from_cpl, bool soft)
{
    return vector | from_cpl << 8 | (u32)soft << 10 | 1u << 11;
}
struct iret_cached {
    u32 key; /* 0: none */
    u32 mode, ss_mode;
    u64 cs_raw, ss_raw;
    struct seg cs, ss; /* ss of the return to CPL 3 */
};

struct cpu_fault {
    u8 vector;
    u8 has_error;
    u8 is_soft; /* int n, int3, into: a software interrupt, delivered with DPL check and eip after the insn */
    u8 is_trap; /* reported after the instruction (single step, data breakpoint): eip already advanced */
    u8 is_ext;  /* external interrupt or NMI: sets EXT in error codes of nested faults */
    u32 error;
    u32 cr2; /* for #PF */
    u32 dr6; /* for #DB: bits to set */
};

#define CPU_OK    0
#define CPU_FAULT (-1)

/* Reasons for the run loop to look up from running instructions; in v->events. */
#define EV_HALT     (1u << 0) /* hlt executed: wait for an interrupt */
#define EV_SHUTDOWN (1u << 1) /* triple fault */
#define EV_RESET    (1u << 2) /* a device asked for reset (port 92h, CF9h, i8042) */
#define EV_QUIT     (1u << 3) /* power off, debug exit, user quit */
#define EV_STOP     (1u << 4) /* pause (monitor, debugger) */
#define EV_MODE                                                                                              \
    (1u << 5) /* v->mode changed: translated code must be looked up again (cleared by the monitor) */
#define EV_SMC                                                                                               \
    (1u << 6) /* code was invalidated: the running fragment may be stale (cleared by the monitor) */

struct vcpu;
struct insn;

/*
 * What a debugger outside of the guest wants of this CPU (control/). Addresses are linear. Nothing of it is
 * visible to the guest: breakpoints are kept out of translated code (monitor/), watched data is found where
 * the guest's own data breakpoints are. After a change of `watches` call cpu_update_mode(), after one of
 * `breaks` monitor_flush().
 */
#define CPU_DEBUG_BREAKS  256
#define CPU_DEBUG_WATCHES 32
#define CPU_WATCH_READ    1
#define CPU_WATCH_WRITE   2
enum cpu_debug_hit { DEBUG_NO_HIT, DEBUG_HIT_BREAK, DEBUG_HIT_WATCH };
struct cpu_debug {
    u32 n_breaks, n_watches;
    u32 breaks[CPU_DEBUG_BREAKS];
    struct cpu_watch {
        u32 first, last; /* bytes */
        u8 kind;         /* CPU_WATCH_* bits */
    } watches[CPU_DEBUG_WATCHES];
    enum cpu_debug_hit hit; /* why EV_STOP was raised */
    u32 hit_addr;           /* linear */
    u8 hit_watch;           /* number in watches */
};

/* What the CPU needs of the world around it. The monitor and shadowpt fill this in; unit tests use a small
 * fake. */
struct cpu_ops {
    /* -- linear memory; slow paths: called when the inline table lookup in cpu/access.h missed --
     * Reads or writes len (1..512) bytes at lin, which may cross pages; all pages' rights are checked before
     * anything is written. `user` = 1: the access is made with CPL 3 rights, 0: supervisor rights (descriptor
     * tables, TSS). Returns CPU_OK or CPU_FAULT with v->fault = #PF. MMIO goes to devices. */
    int (*mem_read)(struct vcpu *v, u32 lin, void *buf, u32 len, int user);
    int (*mem_write)(struct vcpu *v, u32 lin, const void *buf, u32 len, int user);
    /* Checks that a write (and read) of len bytes at lin would succeed, with all side effects of the check
     * (A and D bits) but without the write: for read-modify-write and multi-part pushes. */
    int (*mem_probe_write)(struct vcpu *v, u32 lin, u32 len, int user);
    /* Instruction fetch: translates the linear page of `lin` for execution at the current CPL. Gives the host
     * address of the byte at lin (valid to the end of that 4 KiB page) and its guest-physical address. If the
     * page is not RAM or ROM, *host = NULL and *gpa is the address. Returns CPU_OK or CPU_FAULT (#PF with I
     * only under NXE). */
    int (*fetch)(struct vcpu *v, u32 lin, const u8 **host, u64 *gpa);
    /* Marks the guest-physical page as holding decoded or translated code, so that writes to it are noticed
     * and v->ops->... code-write watchers run (bumping *gen). Returns the page's code generation pointer. */
    const u32 *(*code_page)(struct vcpu *v, u64 gpa);
    /* -- paging state changes: called after the architectural register in v has its new value -- */
    void (*cr3_loaded)(struct vcpu *v);     /* mov cr3 or task switch */
    void (*paging_changed)(struct vcpu *v); /* CR0.PG/WP, CR4.PSE/PAE/PGE, EFER.NXE changed */
    void (*invlpg)(struct vcpu *v, u32 lin);
    void (*cpl_changed)(struct vcpu *v); /* select the supervisor or user view */
    /* Reads 8 bytes of guest-physical memory (PDPTEs). */
    u64 (*phys_read64)(struct vcpu *v, u64 gpa);
    /* -- I/O; parked FPU is the callee's business -- */
    u32 (*io_in)(struct vcpu *v, u16 port, int size);
    void (*io_out)(struct vcpu *v, u16 port, int size, u32 val);
    /* Acknowledges the external interrupt (INTA cycle): returns the vector, or -1 if it went away. */
    int (*intr_ack)(struct vcpu *v);
    /* An NMI is delivered now: for those who record it. May be NULL. */
    void (*nmi_taken)(struct vcpu *v);
    /* FERR# for CR0.NE = 0: raise (1) or clear (0) IRQ 13. */
    void (*ferr)(struct vcpu *v, int level);
    /* An x87 environment image is about to be shown to the guest; host_ip and host_dp are the lower halves of
     * the host's last x87 instruction and data pointers (0: it has lost them, or does not tell). If host_ip
     * lies in translated code, sets v->fpu_ip, fpu_cs and fpu_op, and where it can fpu_dp and fpu_ds, for the
     * guest instruction that it belongs to. Light; may be NULL. */
    void (*fpu_env)(struct vcpu *v, u32 host_ip, u32 host_dp);
    /* The time stamp counter as the guest reads it; NULL: the host's plus v->tsc_offset. */
    u64 (*tsc)(struct vcpu *v);
    /* IA32_APIC_BASE was written (models with CPUF_APIC). NULL: nobody to tell. */
    void (*apic_base)(struct vcpu *v, u64 val);
    /* IA32_TSC_DEADLINE (models with CPUFX_DEADLINE); both or none. */
    u64 (*tsc_deadline)(struct vcpu *v);
    void (*set_tsc_deadline)(struct vcpu *v, u64 val);
};

/* In vcpu.ports; the same as BUS_PORT_*, and where the functions are. */
#define PORT_VALUE     0x100u
#define PORT_QUICK     0x200u
#define PORT_QUICK_OFF 131072

/* v->mode: everything that the meaning of a piece of code depends on besides its bytes and address. */
#define MODE_CPL     0x0003u /* current privilege level (3 in V86, 0 in real mode) */
#define MODE_CS32    0x0004u /* CS.D */
#define MODE_SS32    0x0008u /* SS.B */
#define MODE_PE      0x0010u /* protected mode */
#define MODE_VM      0x0020u /* virtual-8086 */
#define MODE_FLATCS  0x0040u /* CS base 0, limit 4 GiB */
#define MODE_FLATDS  0x0080u /* DS base 0, limit 4 GiB, writable data */
#define MODE_FLATES  0x0100u
#define MODE_FLATSS  0x0200u
#define MODE_NOFPU   0x1000u  /* CR0.EM or CR0.TS: x87/SSE instructions fault with #NM/#UD */
#define MODE_IOPL_OK 0x2000u  /* CPL <= IOPL: cli, sti, in, out allowed without checks (in V86: IOPL = 3) */
#define MODE_SSE     0x4000u  /* CR4.OSFXSR */
#define MODE_STEP    0x8000u  /* TF set, or an enabled debug register: only the interpreter may run */
#define MODE_TSD     0x10000u /* CR4.TSD */
#define MODE_WIN     0x20000u /* set by the monitor, not here: translate memory operands in window form */
#define MODE_LOW     0x40000u /* with it: the window is the host's lowest 4 GiB, and needs no segment */

/* CPU feature bits of -cpu models, as CPUID.1:EDX bits. */
#define CPUF_FPU   (1u << 0)
#define CPUF_VME   (1u << 1)
#define CPUF_DE    (1u << 2)
#define CPUF_PSE   (1u << 3)
#define CPUF_TSC   (1u << 4)
#define CPUF_MSR   (1u << 5)
#define CPUF_PAE   (1u << 6)
#define CPUF_MCE   (1u << 7)
#define CPUF_CX8   (1u << 8)
#define CPUF_APIC  (1u << 9)
#define CPUF_SEP   (1u << 11)
#define CPUF_MTRR  (1u << 12)
#define CPUF_PGE   (1u << 13)
#define CPUF_MCA   (1u << 14)
#define CPUF_CMOV  (1u << 15)
#define CPUF_PAT   (1u << 16)
#define CPUF_PSE36 (1u << 17)
#define CPUF_CLFSH (1u << 19)
#define CPUF_MMX   (1u << 23)
#define CPUF_FXSR  (1u << 24)
#define CPUF_SSE   (1u << 25)
#define CPUF_SSE2  (1u << 26)
/* our own bits for what CPUID does not say */
#define CPUFX_NX       (1u << 0) /* CPUID.80000001h:EDX.NX */
#define CPUFX_CPUID    (1u << 1) /* cpuid and EFLAGS.ID exist (late 486) */
#define CPUFX_P6       (1u << 2) /* multi-byte nop, ud2, rdpmc */
#define CPUFX_486      (1u << 3) /* bswap, xadd, cmpxchg, invd, wbinvd, invlpg, EFLAGS.AC */
#define CPUFX_DEADLINE (1u << 4) /* CPUID.1:ECX.TSC-deadline: the local APIC's timer mode and its MSR */

struct cpu_model {
    const char *name;
    const char *desc;
    const char *vendor; /* 12 characters */
    const char *brand;  /* up to 48 characters, or NULL: no extended leaves 2-4 */
    u8 family, model, stepping;
    u32 features;  /* CPUF_* */
    u32 featuresx; /* CPUFX_* */
    u32 caches[2]; /* descriptors: ecx, edx of cpuid's leaf 2 */
};

/*
 * The fields up to `bt` are addressed by translated code through r15: keep them first and below 4 KiB, and do
 * not reorder without reading translator/.
 */
struct vcpu {
    u64 minus_two; /* -2, as `one` */
    u32 gpr[8];
    u32 eip;
    u32 aflags; /* FL_HOST bits only (arithmetic flags and DF) */
    u32 sflags; /* every other flag except IF and bit 1 */
    u32 mode;   /* MODE_*; thunks compare it together with sflags */
    u8 iflag;   /* EFLAGS.IF: 0 or 1 */
    u8 cpl;
    u8 intr_shadow; /* sti or mov ss just executed: no interrupt before the next instruction completes */
    u8 fpu_live;    /* guest x87/SSE state is in the host's registers, not in fx */
    u32 one;        /* 1: a constant of translated code */
    u32 kick;       /* set by other threads (atomically): leave translated code at the next boundary */
    u32 intr_line;  /* INTR from the PIC; written by other threads under the device lock, atomically */
    u64 bt[64];     /* scratch owned by monitor/ and translator/ (translator/abi.h) */
    u64 *rtab;      /* current view: linear page -> host address minus linear address; 0 = not mapped */
    u64 *wtab;      /* the same for writes (installed only when a write needs no notice and D is set) */
    u32 *xtab;      /* linear page -> 1 + guest-physical page number, for execution; 0 = not mapped */
    struct seg seg[S_COUNT];
    u64 tsc_offset; /* guest TSC = host TSC + offset */
    struct seg_cached segc[SEGC_ENTRIES];
    struct dtr gdtr, idtr;
    u32 cr0, cr2, cr3, cr4;
    /* struct port_table (devices/devices.h): ports that have a value now which reading does not change,
     * PORT_VALUE | value each, or a function that gives it at once; written by the devices at any time. NULL:
     * all reads go through ops->io_in. */
    const void *ports;
    u8 df_seen; /* 0: the host's DF is clear while translated code runs, which need not clear it */
    /* ---- not addressed by translated code below ---- */
    u32 next_eip; /* where eip goes when the current instruction completes */
    u32 dr[8];
    u64 pdpte[4]; /* PAE page-directory-pointer registers */
    u64 efer;
    u64 msr_sysenter_cs, msr_sysenter_esp, msr_sysenter_eip;
    u64 msr_pat, msr_misc_enable, msr_apic_base, msr_mtrr_def_type;
    u64 msr_mtrr_fix[11], msr_mtrr_phys[16];
    u64 msr_mcg_status, msr_ucode_rev;
    u8 nmi_blocked; /* until the next iret */
    u8 fault_depth; /* 0 none, 1 delivering a contributory fault or #PF, 2 delivering #DF */
    struct cpu_fault fault;
    u32 events; /* EV_*: written by the vCPU thread only */
    u32 nmi_pending;
    const struct cpu_model *model;
    u64 opts;        /* OPT() bits */
    u32 dr6_pending; /* DR6 bits of data breakpoints hit by the current instruction: #DB after it */
    u8 slow_access; /* data breakpoints or alignment checks are on: the current tables are empty ones, so that
                     * every access takes the slow path, which calls cpu_access_check() */
    const struct cpu_ops *ops;
    void *vm;              /* owner, opaque here */
    void *shadow;          /* shadowpt's per-vCPU state, opaque here */
    void *tc;              /* tcache's and monitor's per-vCPU state, opaque here */
    void *icache;          /* the interpreter's decode cache, opaque here */
    struct phases *phases; /* where the time goes; NULL: nobody asked */
    u64 tsc_deadline;      /* reserved for the local APIC */
    struct stats stats;
    u8 host_fx[512] __attribute__((aligned(64))); /* novt's own FPU control state while the guest's is live */
    u8 fx[512] __attribute__((aligned(64))); /* guest x87/MMX/SSE state in FXSAVE64 layout while not live */
    u32 fpu_ip, fpu_dp; /* last non-control x87 instruction and its memory operand: offsets (the host's own
                           pointers */
    u16 fpu_cs, fpu_ds; /* are never shown to the guest) and selectors */
    u16 fpu_op;         /* its opcode, 11 bits */
    u8 fpu_ferr;        /* CR0.NE = 0: FERR# is asserted (IRQ 13 was raised through ops->ferr) */
    struct cpu_fault
        fault_chain[4]; /* after a triple fault: the origin, the pair that made #DF, what #DF raised */
    u8 fpu_ignne;  /* IGNNE# is asserted: set by the board when port F0h is written while fpu_ferr, cleared
                      with it */
    u32 rep_limit; /* 0, or how many iterations of a rep one step may do */
    struct cpu_debug *debug; /* NULL: no debugger */
    struct gate_cached gatec[GATEC_ENTRIES];
    struct iret_cached iretc[IRETC_ENTRIES];
};

/* ---- flags ---- */

static inline u32 cpu_eflags(const struct vcpu *v)
{
    return v->aflags | v->sflags | ((u32)v->iflag << 9) | FL_1;
}
/* Sets all of EFLAGS. Does not recompute the mode: call cpu_update_mode() if TF, VM or IOPL may have changed.
 */
static inline void cpu_set_eflags(struct vcpu *v, u32 fl)
{
    v->aflags = fl & FL_HOST;
    v->iflag = (fl >> 9) & 1;
    v->sflags = fl & (FL_ALL & ~(FL_HOST | FL_IF));
}
static inline u32 cpu_iopl(const struct vcpu *v)
{
    return (v->sflags & FL_IOPL) >> FL_IOPL_SHIFT;
}

/* ---- faults ---- */

static inline int cpu_raise(struct vcpu *v, u8 vector)
{
    v->fault = (struct cpu_fault){.vector = vector};
    return CPU_FAULT;
}
static inline int cpu_raise_err(struct vcpu *v, u8 vector, u32 error)
{
    v->fault = (struct cpu_fault){.vector = vector, .has_error = 1, .error = error};
    return CPU_FAULT;
}
static inline int cpu_raise_pf(struct vcpu *v, u32 lin, u32 error)
{
    v->fault = (struct cpu_fault){.vector = EXC_PF, .has_error = 1, .error = error, .cr2 = lin};
    return CPU_FAULT;
}

/* ---- life cycle (cpu/cpu.c) ---- */

/* Finds a model by its -cpu name (case-insensitive), or NULL. */
const struct cpu_model *cpu_model_find(const char *name);
void cpu_model_list(void); /* prints names and descriptions */
/* A -cpu value: a model's name, then ",+FEATURE", ",-FEATURE", ",FEATURE=on" or "=off" for CPUID bits.
 * Returns 0 with *out, or -1 with *bad at the word that is unknown, or that no model has. */
int cpu_model_parse(const char *spec, struct cpu_model *out, const char **bad);
/* Allocates and resets a vCPU. Never returns NULL (out of memory is fatal). */
struct vcpu *cpu_create(const struct cpu_model *model, const struct cpu_ops *ops, u64 opts);
void cpu_destroy(struct vcpu *v);
/* Power-up/RESET# state (SDM vol. 3, 9.1.1). Keeps model, ops, opts and statistics. */
void cpu_reset(struct vcpu *v);
/* Registers, segments, control registers and the code bytes at eip, for people. Parks the FPU. */
void cpu_dump(struct vcpu *v, FILE *out);

/* Recomputes v->mode (and seg[].fast/flat) from the architectural state; sets EV_MODE if it changed and calls
 * ops->cpl_changed when the privilege view changed. Call after any change of segments, CR0, CR4, CPL, VM, TF,
 * IOPL, DR7. */
void cpu_update_mode(struct vcpu *v);

/* ---- FPU ownership (cpu/fpu.c) ---- */

/* Guest FPU state: host registers -> v->fx; the host's own control words are restored. What the host knows of
 * the last x87 instruction is taken over into v->fpu_ip and its siblings. Idempotent. */
void cpu_fpu_park(struct vcpu *v);
/* The same, and the host forgets it: the code of that instruction is about to go away. */
void cpu_fpu_park_last(struct vcpu *v);
/* v->fx -> host registers. Idempotent. */
void cpu_fpu_live(struct vcpu *v);
/* Power-up state (SDM vol. 3, table 9-1), parked. Called by cpu_reset(). */
void cpu_fpu_reset(struct vcpu *v);

/* ---- segments (cpu/segment.c) ---- */

/* Slow path of the segment check: is an access of len bytes at offset off allowed (limit, type, null)? acc is
 * SEGF_R or SEGF_W (or both: read-modify-write). Returns CPU_OK with *lin, or CPU_FAULT with #GP(0) or
 * #SS(0). */
int seg_check(struct vcpu *v, int seg, u32 off, u32 len, int acc, u32 *lin);
/* Recomputes s->fast and s->flat. */
void seg_refresh(struct seg *s);
/* Loads ES, SS, DS, FS or GS with the checks and faults of mov/pop/lds (SDM vol. 2, MOV). In real and V86
 * mode: base = sel << 4. Calls cpu_update_mode(). */
int seg_load(struct vcpu *v, int seg, u16 sel);
/* Sets a segment register as in real mode or V86. */
void seg_load_real(struct vcpu *v, int seg, u16 sel);
/* Far jmp/call/ret/iret with all gates, privilege changes and task switches. Each sets v->next_eip and CS. */
int far_jmp(struct vcpu *v, u16 sel, u32 off, u32 opsize);
int far_call(struct vcpu *v, u16 sel, u32 off, u32 opsize, u32 return_eip);
int far_ret(struct vcpu *v, u32 opsize, u32 pop_bytes);
int do_iret(struct vcpu *v, u32 opsize);

/* ---- exceptions and interrupts (cpu/exception.c) ---- */

/* Delivers v->fault through the IDT (or IVT): error codes, stack switch, task gates, double fault; a triple
 * fault sets EV_SHUTDOWN. For faults v->eip is the faulting instruction; for traps and software interrupts
 * the return address is v->next_eip. Leaves v->eip at the handler.
 *
 * Software interrupts use the same road: the handler of int n, int3, into and icebp sets v->fault with
 * is_soft and returns CPU_FAULT; its caller delivers as for any fault. is_soft alone: the gate's DPL is
 * checked, and a fault on the way is the instruction's own (v->eip, EXT clear). is_soft with is_trap is
 * icebp: no DPL check. No caller needs to look at them.
 *
 * A task switch may fault after its commit point: CPU_FAULT then comes with v->eip (and everything else) in
 * the new task, so callers must not put back an eip that they saved before the instruction. */
void cpu_deliver_fault(struct vcpu *v);
/* Delivers an external interrupt or NMI at the current boundary. */
void cpu_deliver_interrupt(struct vcpu *v, u8 vector, bool nmi);
/* True if an interrupt or NMI could be delivered right now (line, IF, shadow, NMI blocking). */
static inline bool cpu_interrupt_ready(const struct vcpu *v)
{
    return !v->intr_shadow && ((v->iflag && __atomic_load_n(&v->intr_line, __ATOMIC_RELAXED)) ||
                               (__atomic_load_n(&v->nmi_pending, __ATOMIC_RELAXED) && !v->nmi_blocked));
}
/* int n outside V86, v->next_eip behind it. */
void cpu_soft_interrupt(struct vcpu *v, u8 vector);
/* iretd, if it can be done as one before was; else nothing has changed. Sets v->eip. */
bool cpu_iret_again(struct vcpu *v);
/* If one is ready, acknowledges and delivers it (clearing EV_HALT). Returns whether it did. */
bool cpu_poll_interrupts(struct vcpu *v);
/* Hardware task switch (SDM vol. 3, 7.3). */
enum task_source { TASK_JMP, TASK_CALL, TASK_IRET, TASK_INT };
int task_switch(struct vcpu *v, u16 tss_sel, enum task_source src, u32 return_eip, bool has_error, u32 error);

/* Called by ops->mem_read/mem_write (user-instruction accesses only, not sys_*) when v->slow_access is set:
 * records data breakpoint hits in v->dr6_pending, and raises #AC for misaligned accesses at CPL 3 with CR0.AM
 * and EFLAGS.AC. */
int cpu_access_check(struct vcpu *v, u32 lin, u32 len, bool write);
/* Whether the debugger has a breakpoint at v->eip; raises EV_STOP then. Asked before each instruction that
 * might have one. */
bool cpu_debug_break(struct vcpu *v);
static inline bool cpu_at_break(struct vcpu *v)
{
    return unlikely(v->debug != NULL) && cpu_debug_break(v);
}

/* ---- control state (cpu/system.c) ---- */

int cpu_write_cr(struct vcpu *v, int n, u32 val); /* with all checks: #GP(0) for bad values; calls ops */
u32 cpu_read_cr(struct vcpu *v, int n);
int cpu_rdmsr(struct vcpu *v, u32 index, u64 *val); /* #GP(0) if unknown */
int cpu_wrmsr(struct vcpu *v, u32 index, u64 val);
void cpu_cpuid(struct vcpu *v, u32 leaf, u32 sub, u32 out[4]); /* eax, ebx, ecx, edx */
u64 cpu_tsc(struct vcpu *v);
/* I/O permission: IOPL, then the TSS bitmap. CPU_OK or #GP(0). */
int cpu_io_allowed(struct vcpu *v, u16 port, int size);

/* ---- the interpreter (cpu/interp.c) ---- */

/* Executes exactly one guest instruction at v->eip (for REP: up to a bounded number of iterations; eip stays
 * if not finished), delivers its fault or trap if any, and maintains intr_shadow and single stepping. */
void interp_step(struct vcpu *v);
/* Executes one already decoded instruction at v->eip without delivering its fault: CPU_OK with v->eip
 * advanced, or CPU_FAULT with v->fault and v->eip unchanged. Traps (TF, data breakpoints) are not handled. */
int interp_exec(struct vcpu *v, const struct insn *i);
/* Runs instructions and delivers interrupts until v->events or v->kick is non-zero, or max instructions have
 * been executed. Returns how many were. */
u64 interp_run(struct vcpu *v, u64 max);
/* Forgets all decoded instructions (host memory remapped). */
void interp_flush(struct vcpu *v);

#endif
