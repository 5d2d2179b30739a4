/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Part of thunks.S: fxsave and fxrstor, r8d = the operand's linear address. By way of v->fx, which has nothing
 * in it while the state is in the host's registers: so devices may change the operand meanwhile, and the
 * host's pointers are not shown. By xmm8-11, which nobody keeps anything in. Left to the interpreter: an
 * operand that is not in memory or not in one piece, x87 instructions that have run since the pointers were
 * known (the host has pointers then), and FERR#.
 *
 * Both can be done twice. So a kick that meets them is not stepped through, but has the interpreter do them
 * again.
 */
        .globl  th_fxsave, th_fxsave_exact, th_fxrstor, th_unable, bt_fx_start, bt_fx_looks
        .macro  FX_OPERAND table                /* r9 = its host address, r10 = v->fx */
        testl   $15, %r8d
        jnz     th_seg_miss
        movl    %r8d, %r9d
        shrl    $12, %r9d
        movq    -\table(%r14, %r9, 8), %r9
        testq   %r9, %r9
        jz      th_seg_miss
        movl    %r8d, %r10d
        addl    $511, %r10d
        jc      th_seg_miss
        shrl    $12, %r10d
        cmpq    -\table(%r14, %r10, 8), %r9
        jne     th_seg_miss
        movl    %r8d, %r8d
        addq    %r8, %r9
        leaq    VO_FX(%r15), %r10
        .endm
        .macro  FX_64 from, to, at
        movaps  \at(\from), %xmm8
        movaps  \at+16(\from), %xmm9
        movaps  \at+32(\from), %xmm10
        movaps  \at+48(\from), %xmm11
        movaps  %xmm8, \at(\to)
        movaps  %xmm9, \at+16(\to)
        movaps  %xmm10, \at+32(\to)
        movaps  %xmm11, \at+48(\to)
        .endm
        .macro  FX_REGISTERS from, to           /* ST0-7, XMM0-7 */
        FX_64   \from, \to, 32
        FX_64   \from, \to, 96
        FX_64   \from, \to, 160
        FX_64   \from, \to, 224
        .endm

bt_fx_start:
th_fxsave_exact:                        /* pointers are the same in all engines if they are 0 */
        movl    VO_FPU_IP(%r15), %r9d
        orl     VO_FPU_DP(%r15), %r9d
        orl     VO_FPU_CS(%r15), %r9d   /* and DS */
        orw     VO_FPU_OP(%r15), %r9w
        jnz     th_seg_miss
        .p2align 4
th_fxsave:
        FX_OPERAND WT_OFF
        fxsave64 (%r10)
        cmpl    $0, 8(%r10)             /* the lower half of the instruction pointer */
        jne     th_seg_miss
        FX_REGISTERS %r10, %r9
        movl    (%r10), %r8d            /* FCW, FSW */
        movl    %r8d, (%r9)
        movzwl  VO_FPU_OP(%r15), %r8d
        shll    $16, %r8d
        movzbl  4(%r10), %r11d          /* tags */
        orl     %r11d, %r8d
        movl    %r8d, 4(%r9)
        movl    VO_FPU_IP(%r15), %r8d
        movl    %r8d, 8(%r9)
        movzwl  VO_FPU_CS(%r15), %r8d
        movl    %r8d, 12(%r9)
        movl    VO_FPU_DP(%r15), %r8d
        movl    %r8d, 16(%r9)
        movzwl  VO_FPU_DS(%r15), %r8d
        movl    %r8d, 20(%r9)
        movl    24(%r10), %r8d          /* MXCSR, and its mask with SSE2 */
        movl    %r8d, 24(%r9)
        movl    $0xffff, 28(%r9)
        jmp     fx_done
        .p2align 4
th_fxrstor:
        cmpb    $0, VO_FPU_FERR(%r15)
        jne     th_seg_miss
        FX_OPERAND RT_OFF
        FX_REGISTERS %r9, %r10
        movl    24(%r9), %r8d
        testl   $0xffff0000, %r8d       /* #GP */
        jnz     th_seg_miss
        movl    %r8d, 24(%r10)
        movl    (%r9), %r8d
        movl    %r8d, (%r10)
        movl    4(%r9), %r8d
        movzbl  %r8b, %r11d
        movl    %r11d, 4(%r10)
        shrl    $16, %r8d
        andl    $0x7ff, %r8d
        movw    %r8w, VO_FPU_OP(%r15)
        movl    8(%r9), %r8d
        movl    %r8d, VO_FPU_IP(%r15)
        movzwl  12(%r9), %r8d
        movw    %r8w, VO_FPU_CS(%r15)
        movl    16(%r9), %r8d
        movl    %r8d, VO_FPU_DP(%r15)
        movzwl  20(%r9), %r8d
        movw    %r8w, VO_FPU_DS(%r15)
        xorl    %r8d, %r8d              /* the host has none */
        movq    %r8, 8(%r10)
        movq    %r8, 16(%r10)
        fxrstor64 (%r10)
fx_done:
        xorl    %r8d, %r8d
bt_fx_looks:
        cmpl    VO_KICK(%r15), %r8d
        ret
