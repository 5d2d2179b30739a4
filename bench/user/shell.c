/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A shell script run by busybox: a loop with arithmetic and functions, command substitution (fork, pipe),
 * pipelines of small programs (fork, exec). $BENCH_BUSYBOX names the binary, /bin/busybox unless set: the
 * same one everywhere. */
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

static const char script[] = "b=$1 n=$2 sum=0 i=0\n"
                             "add() { sum=$(( (sum * 31 + $1) & 0x3fffffff )); }\n"
                             "while [ $i -lt $n ]; do\n"
                             "    j=0\n"
                             "    while [ $j -lt 200 ]; do\n"
                             "        case $j in *7) add $j ;; *[13]) add $((j * 2)) ;; *) : ;; esac\n"
                             "        j=$((j + 1))\n"
                             "    done\n"
                             "    word=$(echo $sum $i)\n"
                             "    add ${#word}\n"
                             "    lines=$($b seq 1 50 | $b grep -v 7 | $b wc -l)\n"
                             "    add $lines\n"
                             "    $b true && add 1\n"
                             "    x=$($b printf '%s-%d' \"$word\" $i | $b sed 's/[02468]/e/g')\n"
                             "    add ${#x}\n"
                             "    i=$((i + 1))\n"
                             "done\n"
                             "echo $sum\n";

int main(int argc, char **argv)
{
    unsigned n = bench_work(argc, argv, 200);
    const char *busybox = getenv("BENCH_BUSYBOX");
    char rounds[16], said[64];
    size_t got = 0;
    long r;
    int out[2], status;
    if (!busybox)
        busybox = "/bin/busybox";
    snprintf(rounds, sizeof(rounds), "%u", n);
    if (pipe(out))
        return 1;
    bench_start();
    pid_t pid = fork();
    if (pid < 0)
        return 1;
    if (pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        execl(busybox, "sh", "-c", script, "sh", busybox, rounds, (char *)NULL);
        _exit(255);
    }
    close(out[1]);
    while (got < sizeof(said) - 1 && (r = read(out[0], said + got, sizeof(said) - 1 - got)) > 0)
        got += (size_t)r;
    said[got] = 0;
    if (waitpid(pid, &status, 0) != pid || status) {
        fprintf(stderr, "shell: %s: status %#x\n", busybox, (unsigned)status);
        return 1;
    }
    bench_end("shell", (uint32_t)strtoul(said, NULL, 10));
    return 0;
}
