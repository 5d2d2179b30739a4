/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asks the processor what it does where the manual leaves it open, by doing it: cpuid would tell its name,
 * and hypervisors let it tell another one.
 */
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>
#include "cpu/hostcpu.h"
#include "cpu/cpu.h"

struct host_cpu host_cpu;

static sigjmp_buf fault_return;
static u16 fault_fsw;

static void on_fault(int sig, siginfo_t *si, void *context)
{
    const ucontext_t *uc = context;

    fault_fsw = uc->uc_mcontext.fpregs->swd;
    siglongjmp(fault_return, sig);
}

/* OF after `rol $4` of 0, with OF set before: the result's high bit and CF are 0, so it is computed to be 0.
 */
static bool rotate_keeps_of(void)
{
    u32 value = 0;
    u8 of;

    __asm__("movb $0x7f, %%al\n\t"
            "addb $1, %%al\n\t" /* OF = 1 */
            "roll $4, %1\n\t"
            "seto %0"
            : "=q"(of), "+r"(value)
            :
            : "rax", "cc");
    return of;
}

static bool x87_dp_of_exceptions(void)
{
    u32 env[7]; /* SDM vol. 1, figure 8-9: [3] instruction pointer, [5] operand pointer */
    u32 one = 0x3f800000;

    __asm__ volatile("fninit; flds %1; fnstenv %0; fninit" : "=m"(env) : "m"(one));
    return env[3] && !env[5]; /* AMD's lose both when the host's kernel switches just then */
}

static bool fxsave_has_pointers(void)
{
    struct {
        u64 control, ip, more[62];
    } fx __attribute__((aligned(16)));

    __asm__ volatile("fninit; fldz; fxsave64 %0; fninit" : "=m"(fx));
    return fx.ip;
}

void host_cpu_probe(void)
{
    static bool done;
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER}, old;
    u32 *nothing = (u32 *)-(i64)PAGE_SIZE; /* the kernel's half: never a program's */

    if (done)
        return;
    done = true;
    host_cpu.rotate_keeps_of = rotate_keeps_of();
    host_cpu.x87_dp_of_exceptions = x87_dp_of_exceptions();
    host_cpu.fxsave_has_pointers = fxsave_has_pointers();
    sigaction(SIGSEGV, &sa, &old);
    if (!sigsetjmp(fault_return, 1)) {
        /* an empty register, with that exception unmasked */
        __asm__ volatile("fninit; fldcw %1; fistpl %0; fnclex" : "=m"(*nothing) : "m"((const u16){0x37e}));
        host_cpu.x87_raises_first = true;
    }
    if (!sigsetjmp(fault_return, 1))
        __asm__ volatile("fninit; fincstp; movd %%mm0, %0" : "=m"(*nothing));
    host_cpu.mmx_fault_clears_top = !(fault_fsw >> 11 & 7);
    __asm__ volatile("fninit");
    sigaction(SIGSEGV, &old, NULL);
}
