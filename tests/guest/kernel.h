/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the subjects of the test kernel share: checks, traps that are expected, descriptors, paging, ring 3.
 *
 * The kernel starts with paging off, flat segments, all interrupts masked and IF clear, and every subject
 * leaves it that way. Manual references are to the Intel SDM.
 */
#ifndef GUEST_KERNEL_H
#define GUEST_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "x86.h"

/* ---- checks (lib.c) ---- */
void puts(const char *s);
void put_hex(u32 v);
void check(const char *name, bool good);
void check_eq(const char *name, u32 got, u32 want);
/* Like the two above, for what real CPUs do and QEMU's TCG does not: there ("peer=qemu" on the command line)
 * a mismatch is printed as "gap" and not counted. Each use says what TCG leaves out. */
void check_tcg_gap(const char *name, bool good);
extern bool peer_is_qemu;
extern bool exact_run; /* "exact" on the command line: a recorded or a lockstep run */
extern u32 storm_mode; /* "storm=fragment" (1), "storm=instruction" (2), nmi (3) or host (4) on the command
                          line: see t_storm.c */
_Noreturn void finish(bool good);
_Noreturn void panic(const char *why);
void *memset(void *d, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* ---- traps ---- */
struct frame {
    u32 gs, fs, es, ds, edi, esi, ebp, esp_kernel, ebx, edx, ecx, eax;
    u32 vector, error, eip, cs, eflags;
    u32 esp, ss;                /* only from an outer ring */
    u32 v_es, v_ds, v_fs, v_gs; /* only from V86 */
};
enum {
    V_DE,
    V_DB,
    V_NMI,
    V_BP,
    V_OF,
    V_BR,
    V_UD,
    V_NM,
    V_DF,
    V_TS = 10,
    V_NP,
    V_SS,
    V_GP,
    V_PF,
    V_MF = 16,
    V_AC,
    V_MC,
    V_XM,
    V_IRQ0 = 0x20,
    V_IRQ8 = 0x28,
    V_SYS = 0x80,
    V_NONE = 0x100
};

struct trap_record {
    u32 vector, error, eip, cs, eflags, cr2, esp, ss, count;
    struct frame frame;
};
extern volatile struct trap_record last;
typedef void trap_handler(struct frame *f);
extern trap_handler *handlers[256]; /* a handler returns to the interrupted code; NULL: record and recover */
extern volatile u32 recover_eip, recover_esp;

/* Runs asm that may fault; the value is the vector, or V_NONE. Fault or not, execution goes on after it with
 * esp as before. The operands are those of an extended asm: TRY("movl %0, %%fs", : : "r"(sel)). */
#define TRY(text, ...)                                                                                       \
    ({                                                                                                       \
        last.vector = V_NONE;                                                                                \
        last.error = 0xbad;                                                                                  \
        asm volatile("movl %%esp, recover_esp\n\tmovl $.Lrecover%=, recover_eip\n\t" text                    \
                     "\n.Lrecover%=:\n\tmovl recover_esp, %%esp\n\tmovl $0, recover_eip" __VA_ARGS__);       \
        last.vector;                                                                                         \
    })
/* The asm faults with this vector and error code. */
#define CHECK_FAULT(name, want_vector, want_error, text, ...)                                                \
    do {                                                                                                     \
        u32 vector_ = TRY(text, __VA_ARGS__);                                                                \
        check_fault(name, vector_, last.error, want_vector, want_error);                                     \
    } while (0)
#define CHECK_NO_FAULT(name, text, ...) check_eq(name, TRY(text, __VA_ARGS__), V_NONE)
#define CHECK_FAULT_TCG_GAP(name, want_vector, want_error, text, ...)                                        \
    do {                                                                                                     \
        u32 vector_ = TRY(text, __VA_ARGS__);                                                                \
        check_tcg_gap(name, vector_ == (want_vector) && last.error == (want_error));                         \
    } while (0)
void check_fault(const char *name, u32 vector, u32 error, u32 want_vector, u32 want_error);

/* ---- descriptors (tables.c) ---- */
enum {
    SEL_KCODE = 0x08,
    SEL_KDATA = 0x10,
    SEL_UCODE = 0x1b,
    SEL_UDATA = 0x23,
    SEL_TSS = 0x28,
    SEL_TSS2 = 0x30,
    SEL_LDT = 0x38,
    SEL_T0 = 0x40, /* for the subjects: T0.. T9 */
    SEL_T1 = 0x48,
    SEL_T2 = 0x50,
    SEL_T3 = 0x58,
    SEL_T4 = 0x60,
    SEL_T5 = 0x68,
    SEL_T6 = 0x70,
    SEL_T7 = 0x78,
    SEL_T8 = 0x80,
    SEL_T9 = 0x88,
    GDT_BYTES = 0x90,
};
/* Access bytes: present, DPL 0, code/data. */
enum {
    ACC_DATA = 0x92,
    ACC_DATA_RO = 0x90,
    ACC_DATA_DOWN = 0x96,
    ACC_CODE = 0x9a,
    ACC_CODE_XO = 0x98,
    ACC_CODE_CONF = 0x9e,
    ACC_LDT = 0x82,
    ACC_TSS32 = 0x89,
    ACC_TSS16 = 0x81,
    ACC_CALL32 = 0x8c,
    ACC_INT32 = 0x8e,
    ACC_TRAP32 = 0x8f,
    ACC_TASK = 0x85,
    ACC_DPL3 = 0x60,
};
enum { DESC_G = 0x80, DESC_D = 0x40 };
extern u64 gdt[GDT_BYTES / 8], ldt[4];
extern u64 idt[256];
struct tss {
    u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    u32 es, cs, ss, ds, fs, gs, ldt;
    u16 trap, iomap;
    u8 bitmap[8192 + 1];
} __attribute__((packed, aligned(4)));
extern struct tss tss, tss2;
struct table_reg {
    u16 limit;
    u32 base;
} __attribute__((packed));

u64 make_desc(u32 base, u32 limit, u8 access, u8 flags); /* limit in the units that flags give */
u64 make_gate(u16 selector, u32 offset, u8 access, u8 params);
void set_desc(u16 selector, u64 desc);
void set_gate(u8 vector, u8 access); /* the vector's stub through a gate of this kind */
void tables_init(void);
void load_idt(u16 limit);
void load_gdt(u16 limit);

/* ---- ring 3 and V86 (start.S, tables.c) ---- */
struct user_regs {
    u32 eip, cs, eflags, esp, ss, es, ds, fs, gs, eax, edx;
};
u32 enter_user(const struct user_regs *regs);
_Noreturn void leave_user(u32 value);
/* Runs fn(arg) at CPL 3 with these EFLAGS; returns what it returns, or FAULTED(vector) when it faults. */
u32 run_user(u32 (*fn)(u32), u32 arg, u32 eflags);
#define FAULTED(vector) (0xdead0000u | (vector))
extern u32 (*syscall_hook)(struct frame *f); /* int 0x80 with eax other than the exit call: its eax */
extern u8 user_stack_top[], stack_top[];

/* ---- paging (paging.c): 4 MiB identity pages, user accessible, and a window of 4 KiB pages ---- */
enum { P_P = 1, P_W = 2, P_U = 4, P_A = 0x20, P_D = 0x40, P_PS = 0x80, P_G = 0x100 };
#define WINDOW       0x40000000u
#define WINDOW_PAGES 64
extern u32 page_dir[1024], window_table[1024];
extern u8 arena[WINDOW_PAGES * 4096]; /* physical pages to play with */
void paging_on(void);                 /* window page i -> arena page i, present, writable, user */
void paging_off(void);
void set_pte(u32 page, u32 pte); /* of the window; no flush */
#define ARENA(page)     ((u32)&arena[(page)*4096])
#define WINDOW_AT(page) (WINDOW + (page)*4096u)

/* ---- interrupt controller and timer (lib.c) ---- */
void pic_init(void);
void pic_mask(u16 mask); /* 1 = masked */
void pic_eoi(u32 irq);
void pit_start(u32 hz);
void pit_stop(void);
extern volatile u32 ticks; /* counted by the handler that timer_on() installs */
void timer_on(u32 hz);     /* IRQ 0 counts ticks; IF is left alone */
void timer_off(void);

/* clang-format off */
#define SUBJECTS(X) \
    X(seg) X(idt) X(paging) X(user) X(flags) X(sysinsn) X(gate) X(irq) X(string) X(smc) X(flow) X(ret) X(debug) X(alu) \
    X(misc) X(fpu) X(mode16) X(v86) X(task) X(pae) X(ring) X(nest) X(corner) X(storm) X(again) X(local)
/* clang-format on */
#define X(name) void test_##name(void);
SUBJECTS(X)
#undef X

#endif
