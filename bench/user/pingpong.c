/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One byte to and fro between two processes through two pipes: blocking, waking, address-space switches. */
#define _GNU_SOURCE
#include "bench.h"
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    unsigned n = bench_work(argc, argv, 100000);
    uint32_t sum = 0;
    int to[2], from[2], status;
    unsigned char c = 0;
    cpu_set_t one;
    /* Both on one CPU: the guest has one, and the native run should do the same work. */
    CPU_ZERO(&one);
    CPU_SET((unsigned)(sched_getcpu() < 0 ? 0 : sched_getcpu()), &one);
    (void)!sched_setaffinity(0, sizeof(one), &one);
    if (pipe(to) || pipe(from))
        return 1;
    pid_t pid = fork();
    if (pid < 0)
        return 1;
    if (pid == 0) {
        close(to[1]);
        close(from[0]);
        while (read(to[0], &c, 1) == 1) {
            c++;
            if (write(from[1], &c, 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    bench_start();
    for (unsigned i = 0; i < n; i++) {
        if (write(to[1], &c, 1) != 1 || read(from[0], &c, 1) != 1)
            return 1;
        sum += c;
    }
    bench_end("pingpong", sum);
    close(to[1]);
    waitpid(pid, &status, 0);
    return status != 0;
}
