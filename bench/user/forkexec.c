/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fork, the child executes this program again and exits, the parent waits: what a shell does all day. */
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "child"))
        return atoi(argv[2]);
    unsigned n = bench_work(argc, argv, 2000), sum = 0;
    bench_start();
    for (unsigned i = 0; i < n; i++) {
        pid_t pid = fork();
        int status;
        if (pid < 0)
            return 1;
        if (pid == 0) {
            char code[16];
            snprintf(code, sizeof(code), "%u", i & 0x7f);
            execl("/proc/self/exe", argv[0], "child", code, (char *)NULL);
            _exit(255);
        }
        if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
            return 1;
        sum += (unsigned)WEXITSTATUS(status);
    }
    bench_end("forkexec", sum);
    return 0;
}
