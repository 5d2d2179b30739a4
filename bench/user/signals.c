/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A signal to oneself and its handler: the kernel builds a frame on the user's stack and takes it down again.
 * Every fourth signal is a real fault (a store to a read-only page, which the handler makes good by moving
 * the pointer). */
#define _GNU_SOURCE
#include "bench.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static volatile uint32_t count, faults;

static void on_user(int sig)
{
    count += (uint32_t)sig;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    (void)sig;
    (void)info;
    faults++;
    u->uc_mcontext.gregs[REG_EIP] += 2; /* the length of movb %al, (%edx) */
}

int main(int argc, char **argv)
{
    unsigned n = bench_work(argc, argv, 100000);
    struct sigaction user = {.sa_handler = on_user},
                     fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || sigaction(SIGUSR1, &user, NULL) || sigaction(SIGSEGV, &fault, NULL))
        return 1;
    int pid = getpid();
    bench_start();
    for (unsigned i = 0; i < n; i++) {
        if (i & 3)
            syscall(SYS_kill, pid, SIGUSR1);
        else
            asm volatile(".byte 0x88, 0x02" : : "a"(1), "d"(page) : "memory");
    }
    bench_end("signals", count * 31 + faults);
    return 0;
}
