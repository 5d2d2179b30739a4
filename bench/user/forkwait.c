/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fork, the child exits, the parent waits: page-table copies, copy on write, context switches. */
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    unsigned n = bench_work(argc, argv, 5000), sum = 0;
    bench_start();
    for (unsigned i = 0; i < n; i++) {
        pid_t pid = fork();
        int status;
        if (pid < 0)
            return 1;
        if (pid == 0)
            _exit((int)(i & 0x7f));
        if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
            return 1;
        sum += (unsigned)WEXITSTATUS(status);
    }
    bench_end("forkwait", sum);
    return 0;
}
