/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry to and exits from translated code. See translator/abi.h for the register contract.
 *
 * Every exit thunk saves the guest's registers, calls one C function, and then either goes on in translated code at
 * v->bt[BT_RESUME] (the function returned 0) or returns to the caller of bt_enter() with the function's result.
 * Between bt_thunks_start and bt_thunks_end a kick signal cannot be lost (stop.c): up to bt_to_c_end the way leads to a C
 * function, behind which bt_resume looks at v->kick, or out; in bt_resume the signal handler leaves at once; from the other
 * thunks it follows the code into translated code, or to one of those.
 */
#include "translator/abi.h"

#define RT_OFF (24 << 20) /* SPACE_RT_OFF, SPACE_WT_OFF; checked in create.c */
#define WT_OFF (16 << 20)
#define XT_OFF (8 << 20)

        .text
        .globl  th_ibranch, th_underflow
        .globl  bt_enter, bt_leave_async, bt_leave_fault, bt_leave_kick, bt_thunks_start, bt_thunks_end
        .globl  bt_resume, bt_resume_end, bt_to_c_end

        .macro  SAVE
        movl    %eax, (VO_GPR + 0)(%r15)
        movl    %ecx, (VO_GPR + 4)(%r15)
        movl    %edx, (VO_GPR + 8)(%r15)
        movl    %ebx, (VO_GPR + 12)(%r15)
        movl    %ebp, VO_ESP(%r15)
        movl    %r13d, (VO_GPR + 20)(%r15)
        movl    %esi, (VO_GPR + 24)(%r15)
        movl    %edi, (VO_GPR + 28)(%r15)
        movq    %rsp, BT_OFF(BT_RSP)(%r15)
        movq    BT_OFF(BT_HOSTRSP)(%r15), %rsp
        pushfq
        popq    %rax
        andl    $0xcd5, %eax
        movl    %eax, VO_AFLAGS(%r15)
        cld
        movq    %r10, BT_OFF(BT_RESUME)(%r15)
        movq    %r15, %rdi
        .endm

        .macro  THUNK name, func
        .globl  \name
        .p2align 4
\name:
        SAVE
        movq    %r8, %rsi
        movl    %r9d, %edx
        call    \func
        testl   %eax, %eax
        jz      bt_resume
        jmp     bt_leave
        .endm

bt_thunks_start:

        /* int bt_enter(struct vcpu *v): runs translated code at v->bt[BT_RESUME] until something leaves it. */
        .p2align 4
        .type   bt_enter, @function
bt_enter:
        pushq   %rbp
        pushq   %rbx
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        subq    $8, %rsp
        movq    %rdi, %r15
        movq    %rsp, BT_OFF(BT_HOSTRSP)(%r15)
        /* fall through */

        .p2align 4
bt_resume:
        cmpl    $0, VO_KICK(%r15)
        jne     bt_leave_kick
        movq    BT_OFF(BT_BASE)(%r15), %r14
        movl    VO_ESP(%r15), %ebp
        movl    VO_AFLAGS(%r15), %eax
        movzbl  %al, %r12d
        shll    $8, %r12d
        btl     $11, %eax
        adcl    $0, %r12d
        testl   $0x400, %eax
        jz      1f
        movb    $1, VO_DF_SEEN(%r15)
        std
1:      movl    %eax, %ecx
        andl    $0x800, %ecx
        addl    $0x7ffff800, %ecx       /* OF iff the bit was set */
        movb    %al, %ah
        sahf
        movl    (VO_GPR + 4)(%r15), %ecx
        movl    (VO_GPR + 8)(%r15), %edx
        movl    (VO_GPR + 12)(%r15), %ebx
        movl    (VO_GPR + 20)(%r15), %r13d
        movl    (VO_GPR + 24)(%r15), %esi
        movl    (VO_GPR + 28)(%r15), %edi
        movl    (VO_GPR + 0)(%r15), %eax
        movq    BT_OFF(BT_RSP)(%r15), %rsp
        movl    $-2, %r11d              /* from the branch cache: translator/exits.c */
        jmp     *BT_OFF(BT_RESUME)(%r15)
bt_resume_end:

        /* The signal handler has saved the guest's state and sends us here. */
bt_leave_fault:
        movq    %rsp, BT_OFF(BT_RSP)(%r15)
        movl    $2, %eax
        jmp     bt_leave
bt_leave_async:
        movq    %rsp, BT_OFF(BT_RSP)(%r15)
bt_leave_kick:
        movl    $1, %eax
bt_leave:
        cld
        movq    BT_OFF(BT_HOSTRSP)(%r15), %rsp
        addq    $8, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        ret

        .globl  th_read_miss, th_write_miss
        .p2align 4
th_read_miss:
        movq    %r11, BT_OFF(BT_RETRY)(%r15)
        SAVE
        movl    %r8d, %esi
        movl    %r9d, %edx
        call    co_read_miss
        testl   %eax, %eax
        jz      bt_resume
        jmp     bt_leave
        .p2align 4
th_write_miss:
        movq    %r11, BT_OFF(BT_RETRY)(%r15)
        SAVE
        movl    %r8d, %esi
        movl    %r9d, %edx
        call    co_write_miss
        testl   %eax, %eax
        jz      bt_resume
        jmp     bt_leave

        THUNK   th_slow, co_slow
        THUNK   th_exec, co_exec
        THUNK   th_sys, co_sys
        THUNK   th_lookup, co_lookup
        THUNK   th_link, co_link
        THUNK   th_intr, co_intr

bt_to_c_end:
        /*
         * sysenter and sysexit as they were done from this context last time (struct ctx), if everything that decided it
         * still is what it was. r8-r10 as for th_sys, where it goes otherwise; the guest's flags are in r12. There is
         * nothing to look for afterwards: neither lets an interrupt in that was kept out before.
         */
#define CTX_SALT      24
#define CTX_RSP       32
#define CTX_IBTC      40
#define CTX_WINDOW    48
#define CTX_EPOCH     20
#define CTX_EPOCH_OF  56
#define CTX_WINDOW_ON 64
#define CTX_IN_WINDOW 72
#define CTX_SYS       88
#define CTX_TS        152
#define CTX_GATE      176
#define CTX_IRET      320
#define IRET_SIZE     104

        .macro  FLAGS_BACK
        movq    %rax, %r11
        movl    %r12d, %eax
        addb    $0x7f, %al
        sahf
        movq    %r11, %rax
        .endm

        .macro  CLEAR_DF                        /* cld takes some cycles */
        cmpb    $0, VO_DF_SEEN(%r15)
        je      8f
        cld
        movb    $0, VO_DF_SEEN(%r15)
8:
        .endm

        /* To \miss unless the context in \ctx is the one that it was when \salt was noted, of a space that has not
         * changed since, with its window as it was. Clobbers \tmp. */
        .macro  STILL_VALID ctx, tmp, salt:req, miss
        movq    \salt, %\tmp
        cmpq    CTX_SALT(%\ctx), %\tmp
        jne     \miss
        movq    CTX_EPOCH_OF(%\ctx), %\tmp
        movl    (%\tmp), %\tmp\()d
        cmpl    CTX_EPOCH(%\ctx), %\tmp\()d
        jne     \miss
        movq    CTX_WINDOW_ON(%\ctx), %\tmp
        movzbl  (%\tmp), %\tmp\()d
        cmpl    CTX_IN_WINDOW(%\ctx), %\tmp\()d
        jne     \miss
        .endm

        /* To eip r8, in the context with the branch cache r10. */
        .macro  ENTER_AT
        movzwl  %r8w, %r9d
        leaq    IBTC_TAG(, %r8, 2), %r11
        addq    (%r10, %r9, 8), %r11
        jne     2f
        FLAGS_BACK
        movl    $-2, %r11d              /* OF is as it should be: translator/exits.c */
        jmp     *IBTC_HOST_OFF(%r10, %r9, 8)
2:      FLAGS_BACK
        jmp     th_lookup
        .endm

        /*
         * From the context in r10 to the one in r11, as the record at \rec says: mode, CPL, CS, with \stack SS; view, branch
         * cache, return stack, window. Leaves r10 = the branch cache; clobbers r8.
         */
        .macro  CHANGE_OVER rec, cpl, stack
        movq    %rsp, CTX_RSP(%r10)
        movl    (\rec + 28)(%r10), %r8d
        movl    %r8d, VO_MODE(%r15)
        movb    $\cpl, VO_CPL(%r15)
        movq    (\rec + 32)(%r10), %r8
        movq    %r8, (VO_SEG + 1 * VO_SEG_SIZE)(%r15)
        movq    (\rec + 40)(%r10), %r8
        movq    %r8, (VO_SEG + 1 * VO_SEG_SIZE + 8)(%r15)
        .if \stack
        movq    (\rec + 48)(%r10), %r8
        movq    %r8, (VO_SEG + 2 * VO_SEG_SIZE)(%r15)
        movq    (\rec + 56)(%r10), %r8
        movq    %r8, (VO_SEG + 2 * VO_SEG_SIZE + 8)(%r15)
        .endif
        movq    (%r11), %r14
        movq    CTX_RSP(%r11), %rsp
        movq    %r14, BT_OFF(BT_BASE)(%r15)
        leaq    -RT_OFF(%r14), %r8
        movq    %r8, VO_TABLES(%r15)
        leaq    -WT_OFF(%r14), %r8
        movq    %r8, (VO_TABLES + 8)(%r15)
        leaq    -XT_OFF(%r14), %r8
        movq    %r8, (VO_TABLES + 16)(%r15)
        movq    CTX_IBTC(%r11), %r10
        movq    %r10, BT_OFF(BT_IBTC)(%r15)
        movq    CTX_WINDOW(%r11), %r8
        movq    %r11, BT_OFF(BT_CTX)(%r15)
        testq   %r8, %r8
        jz      1f
        cmpq    BT_OFF(BT_GS)(%r15), %r8
        je      1f
        wrgsbase %r8
        movq    %r8, BT_OFF(BT_GS)(%r15)
1:
        .endm

        /* To \miss unless the record says the same as the field. sfx: l or q, as \reg, which is clobbered, is wide. */
        .macro  SAME sfx, field, record, reg, miss
        mov\sfx \field, %\reg
        cmp\sfx \record, %\reg
        jne     \miss
        .endm

        .macro  SYS_THUNK name, cpl, eip, esp
        .globl  \name
        .p2align 4
\name:
        movq    BT_OFF(BT_CTX)(%r15), %r10
        SAME    q, VO_SFLAGS(%r15), (CTX_SYS + 16)(%r10), r11, sys_miss /* and mode */
        SAME    l, VO_SYSENTER(%r15), (CTX_SYS + 24)(%r10), r11d, sys_miss
        movq    %r8, BT_OFF(BT_TMP)(%r15)
        movq    CTX_SYS(%r10), %r11
        STILL_VALID r11, r8, (CTX_SYS + 8)(%r10), sys_miss_r8
        CHANGE_OVER CTX_SYS, \cpl, 1
        .if \cpl
        movl    %\esp, %ebp
        movl    %\eip, %r8d
        .else
        movb    $0, VO_IFLAG(%r15)
        movl    (VO_SYSENTER + 8)(%r15), %ebp
        movl    (VO_SYSENTER + 16)(%r15), %r8d
        .endif
        ENTER_AT
        .endm

        SYS_THUNK th_sysenter, 0
        SYS_THUNK th_sysexit, 3, edx, ecx

sys_miss_r8:
        movq    BT_OFF(BT_TMP)(%r15), %r8
sys_miss:
        movl    $0, %r10d
        FLAGS_BACK
        jmp     th_sys

#include "monitor/thunks_gates.S"

        /*
         * clts, and mov to CR0: r8-r10 as for th_exec, where they go otherwise, r11d = the new value, the guest's flags
         * in r12. The same for a change of TS alone, which leads to a context that differs in the mode only. With EM the
         * mode would not change.
         */
        .globl  th_clts, th_cr0
        .p2align 4
th_clts:
        movl    VO_CR0(%r15), %r11d
        andl    $~8, %r11d
th_cr0:
        movq    %r8, BT_OFF(BT_TMP)(%r15)
        movq    %r10, BT_OFF(BT_RETRY)(%r15)
        movl    %r9d, VO_EIP(%r15)
        movl    VO_CR0(%r15), %r8d
        xorl    %r11d, %r8d
        cmpl    $8, %r8d
        jne     ts_miss
        testl   $4, %r11d
        jnz     ts_miss
        movq    BT_OFF(BT_CTX)(%r15), %r10
        movl    VO_MODE(%r15), %r8d
        cmpl    (CTX_TS + 16)(%r10), %r8d
        jne     ts_miss
        movq    CTX_TS(%r10), %r8
        STILL_VALID r8, r9, (CTX_TS + 8)(%r10), ts_miss
        movl    %r11d, VO_CR0(%r15)
        movl    (CTX_TS + 20)(%r10), %r11d
        movl    %r11d, VO_MODE(%r15)
        movq    %rsp, CTX_RSP(%r10)
        movq    CTX_RSP(%r8), %rsp
        movq    %r8, BT_OFF(BT_CTX)(%r15)
        movq    CTX_IBTC(%r8), %r10
        movq    %r10, BT_OFF(BT_IBTC)(%r15)
        movq    BT_OFF(BT_TMP)(%r15), %r8
        movzbl  INSN_LEN(%r8), %r8d
        addl    VO_EIP(%r15), %r8d
        ENTER_AT
ts_miss:
        movq    BT_OFF(BT_TMP)(%r15), %r8
        movq    BT_OFF(BT_RETRY)(%r15), %r10
        movl    VO_EIP(%r15), %r9d
        FLAGS_BACK
        jmp     th_exec

        /*
         * mov to CR3, as th_cr0: C code changes the space and the context, and needs no more registers than a C function
         * does. A kick that comes meanwhile is looked at before going on.
         */
        .macro  CR3_POP
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rax
        .endm

        .globl  th_cr3
        .p2align 4
th_cr3:
        movq    %rsp, BT_OFF(BT_RSP)(%r15)
        movq    BT_OFF(BT_HOSTRSP)(%r15), %rsp
        pushfq
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        testl   $0x400, 56(%rsp)
        jnz     cr3_miss
        movl    %r9d, VO_EIP(%r15)
        movq    %r15, %rdi
        movl    %r11d, %esi
        call    bt_cr3
        testl   %eax, %eax
        jz      cr3_miss
        movl    %eax, %r11d
        CR3_POP
        movzbl  INSN_LEN(%r8), %r8d
        addl    %r9d, %r8d
        movq    BT_OFF(BT_BASE)(%r15), %r14
        movq    BT_OFF(BT_RSP)(%r15), %rsp
        movq    BT_OFF(BT_IBTC)(%r15), %r10
        addl    VO_KICK(%r15), %r11d
        cmpl    $CR3_DONE, %r11d
        jne     2f
        ENTER_AT
cr3_miss:
        CR3_POP
        movq    BT_OFF(BT_RSP)(%r15), %rsp
        movl    $0, %r10d
        FLAGS_BACK
        jmp     th_exec

        /* The bottom of a return stack: stays where it is. */
        .p2align 4
th_underflow:
        leaq    -8(%rsp), %rsp
        /* Branch to guest eip r8d through the branch cache, flags untouched. From a return its sign is above it. */
th_ibranch:
        movl    %r8d, %r8d
        movzwl  %r8w, %r9d
        movq    BT_OFF(BT_IBTC)(%r15), %r10
        movq    %rcx, %r11
        movq    (%r10, %r9, 8), %rcx
        leaq    IBTC_TAG(%rcx, %r8, 2), %rcx
        jrcxz   1f
        movq    %r11, %rcx
        jmp     th_lookup
1:      movq    %r11, %rcx
        movl    $-2, %r11d              /* OF is as it should be: translator/exits.c */
        jmp     *IBTC_HOST_OFF(%r10, %r9, 8)

        /*
         * A comparison by adox (translator/exits.c) said "different": it has set OF, and bit 0 of the sum, r11, is what
         * OF was.
         */
        .globl  th_ret_miss, th_ind_of, th_far

        .macro  OF_BACK                 /* r10 and r11 are lost */
        movl    $0, %r10d
        adoxl   %r10d, %r10d            /* 0 + 0 + OF: no overflow */
        rorxl   $1, %r11d, %r11d
        adoxl   %r11d, %r11d
        .endm

        .p2align 4
th_ret_miss:
        OF_BACK
        jmp     th_ibranch

        .p2align 4
th_ind_of:
        OF_BACK
        jmp     th_lookup

        .p2align 4
th_far:
        OF_BACK
        jmp     th_ibranch

        /*
         * Loads of data segment registers, in protected mode from the cache of earlier loads. Called from translated
         * code with r8d = selector | CPL << 16, r9d = offset of the register in struct vcpu. ZF: done; else nothing has
         * changed.
         *
         * An entry may be used if selector and CPL are the same, the GDT or LDT is where it was, and as long, and the
         * descriptor in memory is the same eight bytes, read through the supervisor's table. What the load gives follows
         * from these alone. Null selectors have no entry. Left to the interpreter: whatever changes the mode (flat to not
         * flat, DS and ES).
         */
        .macro  SEGC_FIND name, absent
        movl    %r8d, %r10d
        andl    $0x1f8, %r10d
        leaq    VO_SEGC(%r15, %r10, 8), %r10
        cmpl    %r8d, (%r10)
        jne     \absent
        movq    VO_GDTR(%r15), %r11
        testb   $4, %r8b
        jnz     \name\()_ldt
\name\()_table:
        cmpq    %r11, 8(%r10)
        jne     th_seg_miss
        movl    24(%r10), %r11d
        addq    BT_OFF(BT_SUPER)(%r15), %r11
        movq    -RT_OFF(%r11), %r11
        testq   %r11, %r11
        jz      th_seg_miss
        movl    4(%r10), %r8d
        movq    (%r11, %r8), %r11
        cmpq    16(%r10), %r11
        jne     th_seg_miss
        .endm
        .macro  SEGC_LDT name           /* behind it */
\name\()_ldt:
        movl    VO_LDTR + 12(%r15), %r11d
        cmpl    %r11d, 28(%r10)
        jne     th_seg_miss
        movq    VO_LDTR + VO_SEG_BASE(%r15), %r11
        jmp     \name\()_table
        .endm

        .globl  th_seg_load, th_seg_both, th_seg_fsgs, th_seg_real, th_verw
        .p2align 4
th_seg_load:
        SEGC_FIND seg, seg_null
        movq    32(%r10), %r8
        movl    %r8d, %r11d
        xorl    (%r15, %r9), %r11d
        testl   $0xffff0000, %r11d      /* fast, flat */
        jnz     th_seg_miss
        movq    %r8, (%r15, %r9)
        movq    40(%r10), %r8
        movq    %r8, 8(%r15, %r9)
        ret
        SEGC_LDT seg
        .p2align 4
th_seg_both:
        SEGC_FIND both, th_seg_miss
        movq    32(%r10), %r8
        movl    (VO_SEG + 3 * VO_SEG_SIZE)(%r15), %r11d
        movl    VO_SEG(%r15), %r9d
        xorl    %r8d, %r11d
        xorl    %r8d, %r9d
        orl     %r9d, %r11d
        testl   $0xffff0000, %r11d
        jnz     th_seg_miss
        movq    %r8, (VO_SEG + 3 * VO_SEG_SIZE)(%r15)
        movq    %r8, VO_SEG(%r15)
        movq    40(%r10), %r8
        movq    %r8, (VO_SEG + 3 * VO_SEG_SIZE + 8)(%r15)
        movq    %r8, (VO_SEG + 8)(%r15)
        ret
        SEGC_LDT both
        .p2align 4
th_seg_fsgs:
        SEGC_FIND fsgs, fsgs_null
        movq    32(%r10), %r8
        movq    %r8, (%r15, %r9)
        movq    40(%r10), %r8
        movq    %r8, 8(%r15, %r9)
        ret
        SEGC_LDT fsgs
seg_null:
        cmpw    $0, 2(%r15, %r9)        /* base and limit stay */
        jne     th_seg_miss
fsgs_null:
        testl   $0xfffc, %r8d
        jnz     th_seg_miss
        movzwl  %r8w, %r8d
        movl    %r8d, (%r15, %r9)
        orl     $0x10000, 12(%r15, %r9)
        xorl    %r8d, %r8d
        ret
th_unable:
th_seg_miss:
        movl    $1, %r8d
        testl   %r8d, %r8d
        ret

        /* The arms of conditional branches: what is counted is a hint, so nobody minds if it wraps. */
        .macro  COUNT_ARM name, at
        .globl  \name
        .p2align 4
\name:
        movq    BT_OFF(BT_ARMS)(%r15), %r8
        movl    \at(%r8, %r9, 8), %r10d
        leal    1(%r10), %r10d
        movl    %r10d, \at(%r8, %r9, 8)
        ret
        .endm

        COUNT_ARM th_taken, 0
        COUNT_ARM th_passed, 4

        /* Segments as an 8086 has them; others (unreal mode) go to the interpreter. */
        .p2align 4
th_seg_real:
        cmpl    $0xffff, VO_SEG_LIMIT(%r15, %r9)
        jne     th_seg_miss
        movl    12(%r15, %r9), %r10d
        andl    $0x10090, %r10d
        cmpl    $0x90, %r10d
        jne     th_seg_miss
        movzwl  %r8w, %r8d
        movw    %r8w, (%r15, %r9)
        shll    $4, %r8d
        movl    %r8d, VO_SEG_BASE(%r15, %r9)
        xorl    %r8d, %r8d
        ret

        /*
         * popf: r8d = the image, r9d = the flags that must be what they are, and DF, which must be clear (it never is
         * set in sflags). The arithmetic flags go to r12, as flags that are put aside. th_popf_if sets IF as well, unless
         * an interrupt waits for it.
         */
        .globl  th_popf, th_popf_if, th_in
        .p2align 4
th_popf_if:
        movl    VO_SFLAGS(%r15), %r10d
        xorl    %r8d, %r10d
        testl   %r9d, %r10d
        jnz     th_seg_miss
        btl     $9, %r8d
        jnc     1f
        cmpl    $0, VO_INTR(%r15)
        jne     th_seg_miss
        movb    $1, VO_IFLAG(%r15)
        jmp     2f
1:      movb    $0, VO_IFLAG(%r15)
2:      CLEAR_DF
        movl    %r8d, %r12d
        andl    $0xd5, %r12d
        shll    $8, %r12d
        btl     $11, %r8d
        adcl    $0, %r12d
        xorl    %r8d, %r8d
        ret
        .p2align 4
th_popf:
        movl    VO_SFLAGS(%r15), %r10d
        xorl    %r8d, %r10d
        testl   %r9d, %r10d
        jnz     th_seg_miss
        jmp     2b

        /*
         * r8w = port: r9d = its value, if the device has given it in advance, or has a function that gives it at once.
         * That is light code, has no string instructions (DF may be set), and needs nothing but its arguments. A kick
         * that comes while it runs, or that it makes, may not come before the instruction is done: the trap behind it
         * makes the signal handler look.
         */
        .globl  bt_kick_trap
        .p2align 4
th_in:
        movq    VO_PORTS(%r15), %r10
        testq   %r10, %r10
        jz      th_seg_miss
        movzwl  %r8w, %r8d
        movzwl  (%r10, %r8, 2), %r9d
        testl   $0x100, %r9d            /* PORT_VALUE */
        jz      1f
        movzbl  %r9b, %r9d
        xorl    %r8d, %r8d
        ret
1:      testl   $0x200, %r9d            /* PORT_QUICK */
        jz      th_seg_miss
        movzbl  %r9b, %r9d
        shll    $4, %r9d
        movq    %rsp, %r11
        movq    BT_OFF(BT_HOSTRSP)(%r15), %rsp
        pushq   %r11
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        movl    %r8d, %esi
        movq    131080(%r10, %r9), %rdi /* PORT_QUICK_OFF */
        call    *131072(%r10, %r9)
        movl    %eax, %r9d
        popq    %rdi
        popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rax
        popq    %rsp
        testl   %r9d, %r9d
        js      th_seg_miss
        xorl    %r8d, %r8d
        cmpl    VO_KICK(%r15), %r8d
        jne     2f
        ret
2:      cmpl    %r8d, %r8d              /* ZF */
        int3
bt_kick_trap:
        ret

        /* r8d: is the supervisor's window the only place that may keep an old translation, and is the page not there? */
        .globl  th_invlpg
        .p2align 4
th_invlpg:
        movq    BT_OFF(BT_INVLPG)(%r15), %r10
        testq   %r10, %r10
        jz      th_seg_miss
        movl    %r8d, %r9d
        shrl    $12, %r9d
        shrl    $18, %r8d
        movq    (%r10, %r8, 8), %r10
        btq     %r9, %r10
        jc      th_seg_miss
        xorl    %r8d, %r8d
        ret

        .p2align 4
th_verw:
        SEGC_FIND verw, th_seg_miss
        ret
        SEGC_LDT verw

#include "monitor/thunks_fpu.S"

        /*
         * rep movs and rep stos in table form, upwards. Called like the thunks above, but what is not done may be a part:
         * the registers say which, and the interpreter goes on. The host's instruction runs from where both pages begin
         * to where one of them ends. A kick that meets it there is not stepped through, but looked at behind it. Few
         * elements, as entry paths have them, are faster one by one.
         */
        .macro  REP_ENTRY reg, table, out       /* \out = host address - linear address */
        movl    %\reg, %r11d
        shrl    $12, %r11d
        movq    -\table(%r14, %r11, 8), \out
        testq   \out, \out
        jz      th_seg_miss
        .endm

        .macro  REP_ROOM reg, out               /* \out = bytes to the end of the page that \reg points to */
        movl    %\reg, \out
        orl     $-4096, \out
        negl    \out
        .endm

        .macro  REP_ONE size, suffix, value, movs, at
        .if \movs
        mov\suffix \at(%r8, %r10, \size), %\value
        .endif
        mov\suffix %\value, \at(%r9, %r10, \size)
        .endm

        .macro  REP_THUNK name, size, shift, suffix, value, movs, few
        .globl  \name
        .p2align 4
\name:
        movq    %rsp, %r10              /* the return stack may be full, and a fault here is nobody's */
        movq    BT_OFF(BT_HOSTRSP)(%r15), %rsp
        pushfq
        popq    %r8
        movq    %r10, %rsp
        testl   $0x400, %r8d
        jnz     th_seg_miss
        testl   %ecx, %ecx
        jz      2f
1:      REP_ENTRY edi, WT_OFF, %r9
        REP_ROOM edi, %r11d
        .if \movs
        movq    %r11, %r10
        REP_ENTRY esi, RT_OFF, %r8
        REP_ROOM esi, %r11d
        cmpl    %r10d, %r11d
        cmoval  %r10d, %r11d
        .endif
        .if \shift
        shrl    $\shift, %r11d          /* elements, down to none if one crosses a page */
        jz      th_seg_miss
        .endif
        cmpl    %ecx, %r11d
        jb      6f
        cmpl    $\few, %ecx
        ja      6f
        /* all of it, one by one */
        .if \movs
        addq    %rsi, %r8
        .endif
        addq    %rdi, %r9
        xorl    %r10d, %r10d
        testl   $3, %ecx
        jz      4f
3:      REP_ONE \size, \suffix, \value, \movs, 0
        addl    $1, %r10d
        movl    %ecx, %r11d
        subl    %r10d, %r11d            /* down to a multiple of four that are left */
        testl   $3, %r11d
        jnz     3b
        cmpl    %ecx, %r10d
        je      5f
4:      REP_ONE \size, \suffix, \value, \movs, 0
        REP_ONE \size, \suffix, \value, \movs, \size
        REP_ONE \size, \suffix, \value, \movs, 2*\size
        REP_ONE \size, \suffix, \value, \movs, 3*\size
        addl    $4, %r10d
        cmpl    %ecx, %r10d
        jne     4b
5:      leal    (%rdi, %rcx, \size), %edi
        .if \movs
        leal    (%rsi, %rcx, \size), %esi
        .endif
2:      xorl    %r8d, %r8d
        movl    %r8d, %ecx
        ret
6:      movl    %ecx, %r10d
        cmpl    %r11d, %ecx
        cmoval  %r11d, %ecx
        subl    %ecx, %r10d             /* those behind this stretch */
        addq    %r9, %rdi
        .if \movs
        addq    %r8, %rsi
        .endif
\name\()_rep:
        .if \movs
        rep movs\suffix
        .else
        rep stos\suffix
        .endif
        subq    %r9, %rdi
        movl    %edi, %edi              /* beyond 4 GiB */
        .if \movs
        subq    %r8, %rsi
        movl    %esi, %esi
        .endif
        movl    %r10d, %ecx
        cmpl    $0, VO_KICK(%r15)
        jne     th_seg_miss
        testl   %ecx, %ecx
        jnz     1b
        ret
        .endm

        REP_THUNK th_rep_movs8, 1, 0, b, r11b, 1, REP_FEW8
        REP_THUNK th_rep_movs32, 4, 2, l, r11d, 1, REP_FEW32
        REP_THUNK th_rep_stos8, 1, 0, b, al, 0, REP_FEW8
        REP_THUNK th_rep_stos32, 4, 2, l, eax, 0, REP_FEW32

bt_thunks_end:
        .section .data.rel.ro, "aw", @progbits
        .globl  bt_rep_places
        .p2align 3
bt_rep_places:
        .quad   th_rep_movs8_rep, th_rep_movs32_rep, th_rep_stos8_rep, th_rep_stos32_rep
        .section .note.GNU-stack, "", @progbits
