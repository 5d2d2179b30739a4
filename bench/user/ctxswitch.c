/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Four processes pass a token round through pipes; each works on 32 KiB of its own whenever it has it. What
 * an address-space switch costs when there is something to switch to. */
#define _GNU_SOURCE
#include "bench.h"
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#define RING 4
#define SET  (32 << 10)
static uint32_t set[SET / 4];

/* Every cache line is read and some are written. */
static uint32_t work(uint32_t token)
{
    for (unsigned i = 0; i < SET / 4; i += 16)
        token += set[i];
    for (unsigned i = 0; i < SET / 4; i += 256)
        set[i] += token;
    return token;
}

int main(int argc, char **argv)
{
    unsigned n = bench_work(argc, argv, 20000);
    int pipes[RING][2], status, bad = 0;
    uint32_t token = 1;
    cpu_set_t one;
    /* All on one CPU: the guest has one, and the native run should do the same work. */
    CPU_ZERO(&one);
    CPU_SET((unsigned)(sched_getcpu() < 0 ? 0 : sched_getcpu()), &one);
    (void)!sched_setaffinity(0, sizeof(one), &one);
    for (unsigned i = 0; i < SET / 4; i++)
        set[i] = i;
    for (int i = 0; i < RING; i++)
        if (pipe(pipes[i]))
            return 1;
    /* Process i reads pipe i and writes pipe i + 1; process 0 is this one. */
    for (int i = 1; i < RING; i++) {
        pid_t pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            for (int j = 0; j < RING; j++) {
                if (j != i)
                    close(pipes[j][0]);
                if (j != (i + 1) % RING)
                    close(pipes[j][1]);
            }
            while (read(pipes[i][0], &token, sizeof(token)) == sizeof(token)) {
                token = work(token);
                if (write(pipes[(i + 1) % RING][1], &token, sizeof(token)) != sizeof(token))
                    _exit(1);
            }
            _exit(0);
        }
    }
    for (int j = 0; j < RING; j++) {
        if (j != 0)
            close(pipes[j][0]);
        if (j != 1)
            close(pipes[j][1]);
    }
    bench_start();
    for (unsigned i = 0; i < n; i++) {
        token = work(token);
        if (write(pipes[1][1], &token, sizeof(token)) != sizeof(token) ||
            read(pipes[0][0], &token, sizeof(token)) != sizeof(token))
            return 1;
    }
    bench_end("ctxswitch", token);
    close(pipes[1][1]);
    while (wait(&status) > 0)
        bad |= status;
    return bad != 0;
}
