/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debian's i386 gcc compiles C files at -O2, one process chain (driver, compiler, assembler) after the other,
 * as make would. The files and the compiler are in a small Debian root ($BENCH_CCROOT, /cc unless set), which
 * this program makes its root folder: the same tree in the guest and on the host. The object files' bytes
 * make the checksum. gcc sizes its garbage collection by the machine's memory; fixed here, so that every
 * machine does the same work.
 *
 * Files differ, so there is no such thing as half the work: 100 percent is all files, less is the first file
 * alone.
 *
 * With BENCH_LONG it is one file of that many pairs of functions, made here: the compiler runs for seconds,
 * and what starting it costs counts for nothing. That work can be halved.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int compile(const char *source, const char *object)
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        execle("/usr/bin/gcc", "gcc", "-O2", "-c", "-w", "-DBENCH_NAME=\"x\"", "-DBENCH_KIND=0",
               "-DBENCH_ROUNDS=1", "--param", "ggc-min-expand=100", "--param", "ggc-min-heapsize=131072",
               "-o", object, source, (char *)NULL,
               (char *const[]){"PATH=/usr/bin", "TMPDIR=/tmp", "LC_ALL=C", NULL});
        _exit(255);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

/* What went wrong once may tell more by whether it does again. */
static int failed(const char *source, const char *object)
{
    fprintf(stderr, "compile: %s failed; ", source);
    fprintf(stderr, "again, it %s\n", compile(source, object) ? "does, too" : "does not");
    return -1;
}

static uint32_t file_hash(const char *path)
{
    static unsigned char bytes[1 << 20];
    int fd = open(path, O_RDONLY);
    long n = fd < 0 ? 0 : read(fd, bytes, sizeof(bytes));
    if (fd >= 0)
        close(fd);
    return n > 0 ? bench_hash(bytes, (size_t)n) : 0;
}

#ifdef BENCH_LONG
/* One pair of functions: a list that is walked by a switch, and an array that is divided. */
static void write_functions(FILE *f, unsigned i)
{
    fprintf(f, "struct s%u { int a, b; struct s%u *n; char c[%u]; };\n", i, i, i + 3);
    fprintf(f, "int g%u(struct s%u *p, int k)\n{\n    int t = 0;\n    for (; p; p = p->n)\n", i, i);
    fprintf(f, "        switch (p->a & 7) {\n        case 0: t += p->b * %u; break;\n", i);
    fprintf(f,
            "        case 1: t -= p->c[k]; break;\n        case 3:\n        case 5: t ^= k << 3; break;\n");
    fprintf(f, "        default:\n            if (p->b > k)\n                t += g%u(p->n, k - 1);\n", i);
    fprintf(f, "            else\n                t /= p->a | 1;\n        }\n    return t;\n}\n");
    fprintf(f, "int h%u(int *a, unsigned n)\n{\n    int s = 0;\n    for (unsigned j = 0; j < n; j++) {\n", i);
    fprintf(f, "        a[j] = a[j] * %u + j;\n        if (a[j] %% 5 == 2)\n            s += a[j] >> 2;\n",
            i * 7 + 3);
    fprintf(f, "    }\n    return s + g%u((struct s%u *)a, n);\n}\n", i, i);
}

static int work(int argc, char **argv, const char *object, uint32_t *sum)
{
    const char *source = "/tmp/novt-bench-long.c"; /* the object file has its name */
    unsigned pairs = bench_work(argc, argv, BENCH_LONG);
    FILE *f = fopen(source, "w");
    int err;

    if (!f) {
        perror(source);
        return -1;
    }
    for (unsigned i = 0; i < pairs; i++)
        write_functions(f, i);
    err = fclose(f);
    bench_start();
    err = err || compile(source, object);
    if (err)
        failed(source, object);
    unlink(source);
    if (err)
        return -1;
    *sum = file_hash(object);
    return 0;
}
#else
static int source_file(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 2 && !strcmp(e->d_name + n - 2, ".c");
}

static int work(int argc, char **argv, const char *object, uint32_t *sum)
{
    unsigned percent = bench_work(argc, argv, 100);
    struct dirent **name;
    char source[300];
    int n = scandir("/src", &name, source_file, alphasort);

    if (n <= 0) {
        fprintf(stderr, "compile: no C files in /src\n");
        return -1;
    }
    if (percent < 100)
        n = 1;
    bench_done = (unsigned)n;
    bench_start();
    for (int i = 0; i < n; i++) {
        snprintf(source, sizeof(source), "/src/%s", name[i]->d_name);
        if (compile(source, object))
            return failed(source, object);
        *sum = *sum * 31 + file_hash(object);
    }
    return 0;
}
#endif

int main(int argc, char **argv)
{
    const char *root = getenv("BENCH_CCROOT");
    uint32_t sum = 0;
    char object[64];
    if (!root)
        root = "/cc";
    /* Whoever is not root gets a user namespace in which it is. */
    if (chroot(root) && (unshare(CLONE_NEWUSER) || chroot(root))) {
        perror(root);
        return 1;
    }
    if (chdir("/"))
        return 1;
    snprintf(object, sizeof(object), "/tmp/novt-bench-%d.o", getpid());
    if (work(argc, argv, object, &sum)) {
        fprintf(stderr, "compile: the compiler's root is %s\n", root);
        return 1;
    }
    bench_end(BENCH_NAME, sum);
    unlink(object);
    return 0;
}
