/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The operations of ops.h as a 32-bit Linux program: what they cost natively. Besides, what the host's kernel
 * takes for a system call, and for a divide fault and a page fault that reach a process as signals and end in
 * sigreturn: the price of every trap of a VMM without hardware help.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "ops.h"

static void *nowhere(void)
{
    static void *page;
    if (!page)
        page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page;
}

OP(int80, 0, "movl $20, %%eax\n\tint $0x80") /* getpid */
OP(signal_divide, 0, "xorl %%ecx, %%ecx\n\tdivl %%ecx")
OP(signal_page, nowhere(), "movl (%1), %%eax")

static void skip(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EIP] += 2;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(u32);
        u32 ops;
    } tests[] = {
        {"loop", op_loop, 1},
        {"rdtsc", op_rdtsc, OPS},
        {"call_ret", op_call_ret, OPS},
        {"call_ind", op_call_ind, OPS},
        {"call_ind4", op_call_ind4, OPS},
        {"pushf_popf", op_pushf_popf, OPS},
        {"mov_ds", op_mov_ds, OPS},
        {"push_pop_es", op_push_pop_es, OPS},
        {"int80", op_int80, OPS},
        {"signal_divide", op_signal_divide, OPS},
        {"signal_page", op_signal_page, OPS},
    };
    struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO};
    u32 rounds = argc > 1 ? (u32)strtoul(argv[1], NULL, 10) : 0;

    if (sigaction(SIGFPE, &action, NULL) < 0 || sigaction(SIGSEGV, &action, NULL) < 0) {
        perror("sigaction");
        return 1;
    }
    for (u32 n = 0; n < sizeof(tests) / sizeof(tests[0]); n++) {
        struct timing t = measure(tests[n].run, tests[n].ops, rounds, SAMPLES);
        printf("nano %s %u.%u %u.%u %u.%u\n", tests[n].name, t.median / 10, t.median % 10, t.min / 10,
               t.min % 10, t.max / 10, t.max % 10);
    }
    return 0;
}
