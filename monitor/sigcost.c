/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a host fault costs before anything of ours runs.
 *
 * The way from a fault to the first instruction of its handler is the host's kernel's alone, so no change of
 * phase (base/phases.h) can stand at its beginning. Here it is tried: a load from address 0, whose handler
 * notes the time and goes on behind it. The handler of monitor/signals.c is put aside meanwhile, so no guest
 * code may run.
 */
#include <signal.h>
#include <ucontext.h>
#include "monitor/monitor.h"

#define TRIES 33

static __thread u64 arrived;

static void on_fault(int sig, siginfo_t *si, void *ctx)
{
    arrived = __builtin_ia32_rdtsc();
    ((ucontext_t *)ctx)->uc_mcontext.gregs[REG_RIP] += 2; /* the load below */
}

static u64 one(void)
{
    u64 start = __builtin_ia32_rdtsc();

    __asm__ volatile("movb (%%rdi), %%al" : : "D"(0) : "rax", "memory");
    return arrived - start;
}

u64 monitor_signal_cycles(void)
{
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_ONSTACK}, was;
    u64 t[TRIES];

    sigfillset(&sa.sa_mask);
    sa.sa_sigaction = on_fault;
    if (sigaction(SIGSEGV, &sa, &was) < 0)
        return 0;
    one(); /* the handler's pages */
    for (u32 n = 0; n < TRIES; n++) {
        u64 cycles = one();
        u32 i = n;
        for (; i && t[i - 1] > cycles; i--)
            t[i] = t[i - 1];
        t[i] = cycles;
    }
    sigaction(SIGSEGV, &was, NULL);
    return t[TRIES / 2];
}
