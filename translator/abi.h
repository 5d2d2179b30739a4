/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contract between translated code and the monitor: who holds what in which host register, and the vcpu
 * slots that translated code uses.
 *
 * - rax, rcx, rdx, rbx, rsi, rdi: the guest's registers of these names, upper halves zero
 * - rbp: guest esp; r13: guest ebp; upper halves zero. (The stack is what memory operands name most, and rbp
 *   as a base takes two bytes less than r12: no REX prefix, no SIB.)
 * - r12: saved flags while the flags state is SAVED: AH-layout in bits 8-15, OF in bit 0
 * - r14: base of the current address-space view (tables below it, window above it)
 * - r15: struct vcpu
 * - r8-r11: scratch within one guest instruction
 * - rsp: the return stack: one host return address a guest call, so that the CPU predicts guest returns. It
 *   belongs to the current context (view, mode, code segment); its bottom entry leads to th_underflow. Thunks
 *   switch to the C stack.
 * - EFLAGS: guest arithmetic flags and DF (flags state HOST)
 * - x87/MMX/SSE: the guest's
 *
 * This header is also included by monitor/thunks.S, so it holds only macros.
 */
#ifndef NOVT_TRANSLATOR_ABI_H
#define NOVT_TRANSLATOR_ABI_H

/* Host registers, by number, that hold something else than their name says. */
#define ABI_ESP   5  /* rbp: guest esp */
#define ABI_EBP   13 /* r13: guest ebp */
#define ABI_FLAGS 12 /* r12: saved flags */

/* Offsets into struct vcpu (checked by static assertions in monitor/create.c). */
#define VO_MINUS_TWO 0 /* -2, 8 bytes: here it takes no displacement */
#define VO_GPR       8
#define VO_ESP       24
#define VO_EIP       40
#define VO_AFLAGS    44
#define VO_MODE      52
#define VO_IFLAG     56
#define VO_ONE       60 /* 1 */
#define VO_KICK      64
#define VO_INTR      68
#define VO_BT        72
#define VO_TABLES    584 /* rtab, wtab, xtab */
#define VO_SEG       608
#define VO_SEG_SIZE  16
#define VO_SEG_FAST  2
#define VO_SEG_BASE  4
#define VO_SEG_LIMIT 8
#define VO_LDTR      704
#define VO_TSC       736
#define VO_SEGC      744 /* struct seg_cached[], 64 bytes each */
#define VO_GDTR      4840
#define VO_CPL       57
#define VO_SFLAGS    48
#define VO_CR0       4856
#define VO_CR2       4860
#define VO_CR3       4864
#define VO_CR4       4868
#define VO_PORTS     4872
#define VO_DF_SEEN   4880
#define VO_SYSENTER  4960 /* the three MSRs: cs, esp, eip */
#define VO_IDTR      4848
#define VO_NMI       5248 /* nmi_blocked */
#define VO_FX        6528 /* fx, 512 bytes */
#define VO_FPU_IP    7040
#define VO_FPU_DP    7044
#define VO_FPU_CS    7048
#define VO_FPU_DS    7050
#define VO_FPU_OP    7052
#define VO_FPU_FERR  7054
#define INSN_LEN     27 /* struct insn: its length */
#define INSN_IMM     52 /* and first immediate */

#define BT_OFF(n) (VO_BT + 8 * (n))

/* v->bt[] slots. The first seven are reached by displacements of 8 bits: what nearly every unit names. */
#define BT_IBTC    0  /* the context's view of the indirect-branch target cache, see below */
#define BT_THUNK0  1  /* first thunk address */
#define BT_BASE    37 /* r14 */
#define BT_HOSTRSP 38 /* rsp of the C caller */
#define BT_RESUME  39 /* where a callout continues */
#define BT_TMP     40 /* values that must survive a second memory access of one instruction */
#define BT_COUNT   41 /* retired guest instructions (only with counting on) */
#define BT_RETRY   42 /* start of the instruction whose lookup missed */
#define BT_ARMS    43 /* how often each link's branch was taken and passed, two u32 (only with a profile) */
#define BT_LEFT    44 /* exact counting: instructions that may still start before TH_INTR is called */
#define BT_RSP     45 /* rsp of the return stack while C code runs */
#define BT_CTX     47 /* the current context (monitor/bt.h), 0: to be selected */
#define BT_GS      48 /* GS base, as last set: in window form the window */
#define BT_PF      49 /* a page fault was delivered from window code: base of its view, which wants the page */
#define BT_INTS    50 /* software interrupts that were not counted by C code yet */
#define BT_SUPER   52 /* r14 of the supervisor's view of the current space */
#define BT_INVLPG  51 /* a bit for each page that invlpg does anything to; 0: it is not known */

/* Thunks: jmp [r15 + BT_OFF(BT_THUNK0 + n)]. r8-r11 carry arguments, see monitor/thunks.S. */
#define TH_LINK 0 /* r9d link number: find or translate what it leads to, chain */
/* Where a comparison by adox (exits.c) has failed. OF is set now; what it was before is bit 0 of r11. TH_FAR:
 * of a checked entry (entry.c), of a fragment for eip r8d: this view has another page there. */
#define TH_FAR        1
#define TH_RET_MISS   2  /* r8d target eip of a return */
#define TH_IND_OF     3  /* r8d target eip of an indirect branch */
#define TH_READ_MISS  4  /* r8d linear, r9d eip, r10 next, r11 retry */
#define TH_WRITE_MISS 5  /* the same */
#define TH_SLOW       6  /* r9d eip, r10 next: interpret this instruction */
#define TH_EXEC       7  /* r8 struct insn *, r9d eip, r10 next: execute this decoded instruction */
#define TH_LOOKUP     8  /* r8d target eip: find or translate, fill the branch cache */
#define TH_INTR       9  /* r9d eip: an interrupt is pending and IF is set */
#define TH_IBRANCH    10 /* r8d target eip: like TH_LOOKUP, but looks in the branch cache first */
/* Called, not jumped to: they return with ZF set if they did it, else with nothing changed (but see
 * TH_REP_*); r8-r11 and flags are lost. */
/* r8d selector | CPL << 16, r9d offset of the segment register in struct vcpu, DS or ES: protected mode */
#define TH_SEG_LOAD 11
#define TH_SEG_FSGS 12 /* the same, for FS or GS */
#define TH_SEG_REAL 13 /* r8w selector, r9d as above, any of the four: real and virtual-8086 mode */
#define TH_VERW     14 /* r8d selector | CPL << 16 | SEGC_VERW: ZF if it is known to be writable */
/* r8d image, r9d flags that must not change, and DF: arithmetic flags to r12, DF clear */
#define TH_POPF    15
#define TH_POPF_IF 16 /* the same, and sets IF */
#define TH_IN      17 /* r8w port: r9d = the byte */
/* rep movs or stos in table form, segments flat, addresses 32 bits: any part of it, none included, may have
 * been done when ZF is clear. */
#define TH_REP_MOVS8  18
#define TH_REP_MOVS32 19
#define TH_REP_STOS8  20
#define TH_REP_STOS32 21
#define TH_INVLPG     22 /* r8d linear: invlpg at CPL 0 */
/* Jumped to, as TH_EXEC: int, iret, sysenter and sysexit; r10 = 0. */
#define TH_SYS 23
/* The same, with the guest's flags in r12, and nothing in r10: does it at once if it was done before in the
 * same way. sysenter outside of CPL 0. */
#define TH_SYSENTER 24
#define TH_SYSEXIT  25
#define TH_INT      26 /* int n at CPL 3 */
#define TH_IRET     27 /* iretd at CPL 0 */
/* As TH_EXEC, with the guest's flags in r12, r10 may be 0: clts, and mov to CR0 of r11d. At once if all that
 * changes is CR0.TS, and what that leads to is known. */
#define TH_CLTS 28
#define TH_CR0  29
/* r9d number of the link of a conditional branch: it is taken, or passed. Called; come back with nothing
 * changed but r8 and r10. */
#define TH_TAKEN  30
#define TH_PASSED 31
/* Called, as TH_INVLPG: r8d linear address of the operand; x87 and SSE instructions do not trap. */
#define TH_FXSAVE  32
#define TH_FXRSTOR 33
/* As TH_CR0: mov to CR3 of r11d, which goes on in the new space at once if nothing else comes of it. */
#define TH_CR3      34
#define TH_SEG_BOTH 35 /* as TH_SEG_LOAD, DS and ES with the same selector */
#define TH_COUNT_   36

/* What bt_cr3() has done: nothing; all; all, but C code must see what comes next. */
#define CR3_NOT  0
#define CR3_DONE 1
#define CR3_LOOK 2

/* Up to how many elements the thunks of rep movs and stos do one by one: doublewords, bytes. */
#define REP_FEW32 32
#define REP_FEW8  12

/*
 * The indirect-branch target cache: tags, 8 bytes each, and behind them the host addresses that belong to
 * them. Indexed by the low 16 bits of eip, from where BT_IBTC points: each context begins at another place,
 * so that they do not evict each other. The distance is no multiple of the host cache's way size.
 *
 * A tag is -(2 * eip + IBTC_TAG), 0 where there is none. Where it stands says which context it belongs to:
 * for the same eip each context looks elsewhere.
 */
#define IBTC_TAG      2
#define IBTC_ENTRIES  131072
#define IBTC_HOST_OFF (IBTC_ENTRIES * 8 + 2112)
#define IBTC_BYTES    (IBTC_HOST_OFF + IBTC_ENTRIES * 8)

#endif
