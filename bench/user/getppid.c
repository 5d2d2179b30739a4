/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cheapest system call, entered by int 0x80. */
#include "bench.h"
#include <sys/syscall.h>

int main(int argc, char **argv)
{
    unsigned n = bench_work(argc, argv, 1000000);
    uint32_t odd = 0;
    int first, ret;
    asm volatile("int $0x80" : "=a"(first) : "a"(SYS_getppid) : "memory");
    bench_start();
    for (unsigned i = 0; i < n; i++) {
        asm volatile("int $0x80" : "=a"(ret) : "a"(SYS_getppid) : "memory");
        odd += ret != first;
    }
    bench_end("getppid", odd);
    return 0;
}
