/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Part of thunks.S: int n at CPL 3 and iretd at CPL 0, as they were done from this context last time (struct
 * ctx, gate and iret), if everything that decided it still is what it was: registers, flags, and the bytes of
 * the descriptors and of the TSS, which are read through the table of the supervisor's view. r8-r10 as for
 * th_sys, where they go otherwise, having changed nothing; the guest's flags are in r12.
 *
 * Not done here, since what follows is more than going on at the target: flags other than arithmetic ones and
 * IF that are not the same as last time, IF where an interrupt waits, the end of an NMI's handler, frames
 * that cross a page or whose page has no table entry, and a view that a page is to be mapped for (BT_PF).
 */

/* Are the 8 bytes at the linear address in \at, of the view at \base, \raw? Clobbers r8; they are in \tmp
 * then. */
        .macro  PEEK base, at, tmp
        movl    \at, %r8d
        movl    %r8d, %\tmp\()d
        shrl    $12, %\tmp\()d
        movq    -RT_OFF(%\base, %\tmp, 8), %\tmp
        testq   %\tmp, %\tmp
        jz      gate_miss
        movq    (%\tmp, %r8), %\tmp
        .endm
        .macro  HOLDS base, at, raw, tmp
        PEEK    \base, \at, \tmp
        cmpq    \raw, %\tmp
        jne     gate_miss
        .endm

        .globl  th_int, th_iret
        .p2align 4
th_int:
        movq    %r8, BT_OFF(BT_TMP)(%r15)
        movl    %r9d, VO_EIP(%r15)
        movq    BT_OFF(BT_CTX)(%r15), %r10
        SAME    q, VO_SFLAGS(%r15), (CTX_GATE + 16)(%r10), r11, gate_miss /* and mode */
        movzbl  INSN_IMM(%r8), %r11d
        cmpl    (CTX_GATE + 92)(%r10), %r11d
        jne     gate_miss
        cmpl    $0, log_mask(%rip)
        jne     gate_miss
        SAME    q, VO_IDTR(%r15), (CTX_GATE + 64)(%r10), r11, gate_miss
        SAME    q, VO_GDTR(%r15), (CTX_GATE + 72)(%r10), r11, gate_miss
        SAME    q, (VO_SEG + 7 * VO_SEG_SIZE + VO_SEG_BASE)(%r15), (CTX_GATE + 80)(%r10), r11, gate_miss
        SAME    l, (VO_SEG + 7 * VO_SEG_SIZE + 12)(%r15), (CTX_GATE + 88)(%r10), r11d, gate_miss
        movq    CTX_GATE(%r10), %r9
        STILL_VALID r9, r8, (CTX_GATE + 8)(%r10), gate_miss
        movq    (%r9), %r9              /* the supervisor's view */
        HOLDS   r9, (CTX_GATE + 96)(%r10), (CTX_GATE + 112)(%r10), r11
        HOLDS   r9, (CTX_GATE + 100)(%r10), (CTX_GATE + 120)(%r10), r11
        HOLDS   r9, (CTX_GATE + 104)(%r10), (CTX_GATE + 128)(%r10), r11
        PEEK    r9, (CTX_GATE + 108)(%r10), r11
        movq    %r11, %r8               /* ss0:esp0 */
        shrq    $32, %r8
        cmpw    (CTX_GATE + 48)(%r10), %r8w
        jne     gate_miss
        leal    -20(%r11), %r8d         /* the frame's address: the stack is flat */
        movl    %r8d, %r11d
        andl    $0xfff, %r11d
        cmpl    $(4096 - 20), %r11d
        ja      gate_miss
        movl    %r8d, %r11d
        shrl    $12, %r11d
        movq    -WT_OFF(%r9, %r11, 8), %r11
        testq   %r11, %r11
        jz      gate_miss
        addq    %r8, %r11
        /* nothing is in the way */
        movl    %ebp, 12(%r11)
        movl    %r8d, %ebp
        movzwl  (VO_SEG + 1 * VO_SEG_SIZE)(%r15), %r8d
        movl    %r8d, 4(%r11)
        movzwl  (VO_SEG + 2 * VO_SEG_SIZE)(%r15), %r8d
        movl    %r8d, 16(%r11)
        movq    BT_OFF(BT_TMP)(%r15), %r8
        movzbl  INSN_LEN(%r8), %r8d
        addl    VO_EIP(%r15), %r8d
        movl    %r8d, (%r11)
        movq    %rsp, %r8               /* the return stack may be full */
        movq    BT_OFF(BT_HOSTRSP)(%r15), %rsp
        pushfq
        popq    %r9
        movq    %r8, %rsp
        andl    $0x400, %r9d
        orl     (CTX_GATE + 16)(%r10), %r9d
        movzbl  VO_IFLAG(%r15), %r8d
        shll    $9, %r8d
        leal    2(%r9, %r8), %r9d
        movl    %r12d, %r8d
        shrl    $8, %r8d
        andl    $0xd5, %r8d
        orl     %r8d, %r9d
        movl    %r12d, %r8d
        andl    $1, %r8d
        shll    $11, %r8d
        orl     %r8d, %r9d
        movl    %r9d, 8(%r11)
        movl    (CTX_GATE + 24)(%r10), %r8d
        movl    %r8d, VO_SFLAGS(%r15)
        movl    (CTX_GATE + 140)(%r10), %r8d
        andb    %r8b, VO_IFLAG(%r15)
        addq    $1, BT_OFF(BT_INTS)(%r15)
        movl    (CTX_GATE + 136)(%r10), %r9d
        movq    CTX_GATE(%r10), %r11
        CHANGE_OVER CTX_GATE, 0, 1
        movl    %r9d, %r8d
        ENTER_AT

        /* Would the return take the segment away? It stays if it is null or of DPL 3. */
        .macro  KEEPS seg
        movl    (VO_SEG + \seg * VO_SEG_SIZE + 12)(%r15), %r8d
        andl    $0x10060, %r8d          /* SA_NULL, SA_DPL */
        cmpl    $0x60, %r8d
        jb      gate_miss
        .endm

        /* r10 = context, r11 = host address of the frame. */
        .macro  IRET_TO cpl, rec
        SAME    q, VO_SFLAGS(%r15), (\rec + 16)(%r10), r8, gate_miss /* and mode */
        cmpb    $0, VO_NMI(%r15)
        jne     gate_miss
        movl    8(%r11), %r9d
        testl   $0x200, %r9d
        jz      1f
        cmpl    $0, VO_INTR(%r15)
        jne     gate_miss
1:      andl    $~0xad5, %r9d           /* arithmetic flags, IF */
        cmpl    (\rec + 96)(%r10), %r9d
        jne     gate_miss
        movzwl  4(%r11), %r8d
        cmpw    (\rec + 32)(%r10), %r8w
        jne     gate_miss
        movl    (%r11), %r8d
        cmpl    (\rec + 40)(%r10), %r8d /* CS's limit */
        ja      gate_miss
        SAME    q, VO_GDTR(%r15), (\rec + 64)(%r10), r8, gate_miss
        HOLDS   r14, (\rec + 72)(%r10), (\rec + 80)(%r10), r9
        .if \cpl
        movzwl  16(%r11), %r8d
        cmpw    (\rec + 48)(%r10), %r8w
        jne     gate_miss
        HOLDS   r14, (\rec + 76)(%r10), (\rec + 88)(%r10), r9
        KEEPS   0
        KEEPS   3
        KEEPS   4
        KEEPS   5
        .endif
        movq    \rec\()(%r10), %r9
        STILL_VALID r9, r8, (\rec + 8)(%r10), gate_miss
        movq    (%r9), %r8
        cmpq    BT_OFF(BT_PF)(%r15), %r8
        je      gate_miss
        /* nothing is in the way */
        movl    8(%r11), %r8d
        CLEAR_DF
        movl    %r8d, %r12d
        andl    $0xd5, %r12d
        shll    $8, %r12d
        btl     $11, %r8d
        adcl    $0, %r12d
        shrl    $9, %r8d
        andl    $1, %r8d
        movb    %r8b, VO_IFLAG(%r15)
        movl    (\rec + 24)(%r10), %r8d
        movl    %r8d, VO_SFLAGS(%r15)
        .if \cpl
        movl    12(%r11), %ebp
        .else
        leal    12(%rbp), %ebp
        .endif
        movl    (%r11), %r8d
        movq    %r9, %r11
        movl    %r8d, %r9d
        CHANGE_OVER \rec, \cpl, \cpl
        movl    %r9d, %r8d
        ENTER_AT
        .endm

        .p2align 4
th_iret:
        movq    %r8, BT_OFF(BT_TMP)(%r15)
        movl    %r9d, VO_EIP(%r15)
        movq    BT_OFF(BT_CTX)(%r15), %r10
        movl    %ebp, %r8d             /* the stack is flat where there is a record */
        andl    $0xfff, %r8d
        cmpl    $(4096 - 20), %r8d
        ja      gate_miss
        movl    %ebp, %r11d
        shrl    $12, %r11d
        movq    -RT_OFF(%r14, %r11, 8), %r11
        testq   %r11, %r11
        jz      gate_miss
        addq    %rbp, %r11
        testb   $3, 4(%r11)
        jz      th_iret_inner
        IRET_TO 3, (CTX_IRET + IRET_SIZE)
        .p2align 4
th_iret_inner:
        IRET_TO 0, CTX_IRET

gate_miss:
        movl    VO_EIP(%r15), %r9d
        jmp     sys_miss_r8
