/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Into a case and out of it, on the real CPU. nat_enter() loads everything from struct nat and jumps to the
 * code segment under test; the code comes back through an exit stub (nat_leave, k in r11d) or by a signal
 * (nat_signal), and nat_enter() returns k, or -1 for a signal.
 *
 * All memory is addressed by rip, so neither segments nor registers matter. FS and GS bases belong to the C
 * library: nothing may be called before they are back.
 */
#define GPR    0
#define FLAGS  32
#define TARGET 40
#define SEL    48
#define OGPR   64
#define OFLAGS 96
#define OSEL   104
#define RSP    120
#define FSBASE 128
#define GSBASE 136
#define ACTIVE 144
#define CHAIN  152
#define FXIN   192
#define FXOUT  704

        .bss
        .balign 64
        .globl nat
nat:    .skip 1216

        .text
        .globl nat_enter, nat_leave, nat_signal
        .type nat_enter, @function
nat_enter:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        mov     %rsp, nat+RSP(%rip)
        rdfsbase %rax
        mov     %rax, nat+FSBASE(%rip)
        rdgsbase %rax
        mov     %rax, nat+GSBASE(%rip)
        fxrstor64 nat+FXIN(%rip)
        movl    $1, nat+ACTIVE(%rip)
        mov     nat+SEL+0(%rip), %es
        mov     nat+SEL+6(%rip), %ds
        mov     nat+SEL+8(%rip), %fs
        mov     nat+SEL+10(%rip), %gs
        pushq   nat+FLAGS(%rip)
        popfq
        mov     nat+SEL+4(%rip), %ss
        mov     nat+GPR+0(%rip), %eax
        mov     nat+GPR+4(%rip), %ecx
        mov     nat+GPR+8(%rip), %edx
        mov     nat+GPR+12(%rip), %ebx
        mov     nat+GPR+16(%rip), %esp
        mov     nat+GPR+20(%rip), %ebp
        mov     nat+GPR+24(%rip), %esi
        mov     nat+GPR+28(%rip), %edi
        ljmp    *nat+TARGET(%rip)

nat_leave:
        mov     %eax, nat+OGPR+0(%rip)
        mov     %ecx, nat+OGPR+4(%rip)
        mov     %edx, nat+OGPR+8(%rip)
        mov     %ebx, nat+OGPR+12(%rip)
        mov     %esp, nat+OGPR+16(%rip)
        mov     %ebp, nat+OGPR+20(%rip)
        mov     %esi, nat+OGPR+24(%rip)
        mov     %edi, nat+OGPR+28(%rip)
        mov     nat+RSP(%rip), %rsp
        pushfq
        popq    nat+OFLAGS(%rip)
        fxsave64 nat+FXOUT(%rip)
        mov     %es, nat+OSEL+0(%rip)
        mov     %ss, nat+OSEL+4(%rip)
        mov     %ds, nat+OSEL+6(%rip)
        mov     %fs, nat+OSEL+8(%rip)
        mov     %gs, nat+OSEL+10(%rip)
back:
        pushq   $2
        popfq
        fninit
        movl    $0x1f80, -8(%rsp)
        ldmxcsr -8(%rsp)
        mov     $0x2b, %eax
        mov     %eax, %ss
        xor     %eax, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %fs
        mov     %eax, %gs
        mov     nat+FSBASE(%rip), %rax
        wrfsbase %rax
        mov     nat+GSBASE(%rip), %rax
        wrgsbase %rax
        movl    $0, nat+ACTIVE(%rip)
        mov     %r11d, %eax
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret
        .size nat_enter, . - nat_enter

/* The handler of every fault signal: rdi, rsi, rdx as for a C handler. Not ours: on to the engines' handler. */
        .type nat_signal, @function
nat_signal:
        cmpl    $0, nat+ACTIVE(%rip)
        jne     1f
        jmp     *nat+CHAIN(%rip)
1:      mov     %es, nat+OSEL+0(%rip)
        mov     %ds, nat+OSEL+6(%rip)
        mov     %fs, nat+OSEL+8(%rip)
        mov     %gs, nat+OSEL+10(%rip)
        pushq   $2
        popfq
        mov     nat+FSBASE(%rip), %rax
        wrfsbase %rax
        and     $-16, %rsp
        call    native_signal_info
        mov     nat+RSP(%rip), %rsp
        mov     $-1, %r11d
        jmp     back
        .size nat_signal, . - nat_signal

        .section .note.GNU-stack, "", @progbits
