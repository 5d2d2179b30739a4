/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry, interrupt stubs, and the way into ring 3 and V86 and back.
 *
 * Every vector has a stub that makes the frame of struct frame (kernel.h) and calls trap(). enter_user() keeps the
 * kernel's registers on its stack and leaves by iret; leave_user() comes back from wherever a trap happened, as if
 * enter_user() returned.
 */
#define SEL_KDATA 0x10

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

        /* isr_table[v] is the stub of vector v. Vectors whose exception has no error code push a zero. */
        .altmacro
        .macro isr v
isr\v:
        .if !((\v == 8) || (\v >= 10 && \v <= 14) || (\v == 17) || (\v == 21))
        pushl $0
        .endif
        pushl $\v
        jmp isr_common
        .endm
        .macro isr_ref v
        .long isr\v
        .endm

        .set i, 0
        .rept 256
        isr %i
        .set i, i + 1
        .endr

        .section .rodata
        .globl isr_table
        .align 4
isr_table:
        .set i, 0
        .rept 256
        isr_ref %i
        .set i, i + 1
        .endr
        .text

isr_common:
        pushal
        pushl %ds
        pushl %es
        pushl %fs
        pushl %gs
        movl $SEL_KDATA, %eax
        movl %eax, %ds
        movl %eax, %es
        cld
        pushl %esp
        call trap
        addl $4, %esp
        .globl isr_return
isr_return:
        popl %gs
        popl %fs
        popl %es
        popl %ds
        popal
        addl $8, %esp
        iret

        /* u32 enter_user(const struct user_regs *regs): the words of an iret frame, last word first in memory:
         * eip cs eflags esp ss es ds fs gs (the last four for V86 only), then eax. */
        .globl enter_user
enter_user:
        pushl %ebp
        pushl %ebx
        pushl %esi
        pushl %edi
        movl 20(%esp), %esi
        movl %esp, user_resume_esp
        movl %esp, tss + 4              /* esp0: traps from ring 3 push below what was saved here */
        movl $9, %ecx
1:      pushl -4(%esi, %ecx, 4)
        loop 1b
        movl 36(%esi), %eax
        movl 40(%esi), %edx
        testl $0x20000, 8(%esp)         /* VM: the frame brings the data segments */
        jnz 2f
        movl 16(%esp), %ecx
        movl %ecx, %ds
        movl %ecx, %es
2:      xorl %ebx, %ebx
        xorl %esi, %esi
        xorl %edi, %edi
        xorl %ebp, %ebp
        iret

        /* leave_user(value): enter_user() returns value. */
        .globl leave_user
leave_user:
        movl 4(%esp), %eax
        movl $SEL_KDATA, %ecx
        movl %ecx, %ds
        movl %ecx, %es
        movl %ecx, %ss
        movl user_resume_esp, %esp
        popl %edi
        popl %esi
        popl %ebx
        popl %ebp
        ret

        /* Where a user function's return lands: hands eax to leave_user through the exit system call. */
        .globl user_exit
user_exit:
        movl %eax, %ebx
        movl $0xe0, %eax
        int $0x80
1:      jmp 1b

        .bss
        .align 4096
        .skip 65536
        .globl stack_top
stack_top:
        .align 4096
        .skip 16384
        .globl user_stack_top
user_stack_top:
        .globl user_resume_esp
user_resume_esp:
        .long 0
