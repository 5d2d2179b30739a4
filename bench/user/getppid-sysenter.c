/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cheapest system call through the kernel's own entry code (__kernel_vsyscall, found by the auxiliary
 * vector): sysenter where the kernel and the processor have it, as in all our guests. */
#include "bench.h"
#include <elf.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

int main(int argc, char **argv)
{
    unsigned n = bench_work(argc, argv, 2000000);
    uint32_t odd = 0;
    unsigned long entry = getauxval(AT_SYSINFO);
    int first, ret;
    if (!entry) {
        fprintf(stderr, "getppid-sysenter: the kernel gave no AT_SYSINFO\n");
        return 1;
    }
    asm volatile("int $0x80" : "=a"(first) : "a"(SYS_getppid) : "memory");
    bench_start();
    for (unsigned i = 0; i < n; i++) {
        asm volatile("call *%1" : "=a"(ret) : "r"(entry), "0"(SYS_getppid) : "memory", "cc");
        odd += ret != first;
    }
    bench_end("getppid-sysenter", odd);
    return 0;
}
