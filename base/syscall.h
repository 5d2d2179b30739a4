/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A system call of the host's without libc: for light code, which the C library may not be called from. The
 * kernel keeps all registers but rax, rcx and r11. Returns what the kernel does: a value, or a negative
 * errno. */
#ifndef NOVT_BASE_SYSCALL_H
#define NOVT_BASE_SYSCALL_H

#include "base/types.h"

static inline long host_syscall(long n, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    register u64 r10 __asm__("r10") = d;
    register u64 r8 __asm__("r8") = e;
    register u64 r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "+a"(n)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return n;
}

/* Names the calling thread: two of one process are never the same at a time. Light. */
static inline u64 host_thread(void)
{
    u64 self;
    __asm__("movq %%fs:0, %0" : "=r"(self)); /* the thread control block points to itself (x86-64 psABI) */
    return self;
}

#endif
