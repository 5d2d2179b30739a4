/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry, the interrupt and system call handlers, and ring 3. The handlers are as short as handlers can be: what is timed is the
 * way in and out.
 */
#define SEL_KDATA 0x10
#define SEL_UCODE 0x1b
#define SEL_UDATA 0x23

        .section .multiboot, "a"
        .align 4
        .long 0x1badb002, 0x00000003, -(0x1badb002 + 0x00000003)

        .text
        .globl _start
_start:
        cli
        movl $stack_top, %esp
        pushl $0
        popf
        pushl %ebx
        pushl %eax
        call kmain
1:      hlt
        jmp 1b

        /* Handlers. An instruction that faults is skipped; all that do are two bytes long. */
        .macro handler name
        .globl \name
        .p2align 6
\name:
        .endm

handler on_int
        iret
handler on_skip
        addl $2, (%esp)
        iret
handler on_skip_error
        addl $4, %esp
        addl $2, (%esp)
        iret
handler on_fix                          /* a page fault that the handler mends: present again */
        addl $4, %esp
        pushl %eax
        movl fix_pte, %eax
        orl $1, (%eax)
        popl %eax
        iret
handler on_timer
        pushl %eax
        incl ticks
        movb $0x20, %al
        outb %al, $0x20
        popl %eax
        iret
handler on_sysenter
        sysexit
handler on_unexpected
        call unexpected

        /* void user_run(void (*run)(u32), u32 rounds): at CPL 3. The function returns to user_exit. */
        .globl user_run
        .p2align 4
user_run:
        pushl %ebp
        pushl %ebx
        pushl %esi
        pushl %edi
        movl %esp, user_resume
        movl %esp, tss + 4              /* esp0: traps from ring 3 push below */
        movl 20(%esp), %eax
        movl 24(%esp), %ecx
        movl %ecx, user_stack_top - 4
        movl $user_exit, user_stack_top - 8
        movl $SEL_UDATA, %ecx
        movl %ecx, %ds
        movl %ecx, %es
        pushl $SEL_UDATA
        pushl $user_stack_top - 8
        pushl $2
        pushl $SEL_UCODE
        pushl %eax
        iret
user_exit:
        int $0x82
handler on_user_exit
        movl $SEL_KDATA, %ecx
        movl %ecx, %ds
        movl %ecx, %es
        movl user_resume, %esp
        popl %edi
        popl %esi
        popl %ebx
        popl %ebp
        ret

        .bss
        .align 4096
        .skip 16384
        .globl stack_top
stack_top:
        .align 4096
        .skip 16384
        .globl user_stack_top
user_stack_top:
user_resume:
        .long 0
