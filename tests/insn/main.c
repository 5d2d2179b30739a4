/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * insn-test: single instructions, run by the real CPU, the interpreter and the translator, and compared.
 *
 *     insn-test FILE.cases...            the cases of files, in every configuration
 *     insn-test --generate N --seed S    N generated cases, each in one configuration
 *     insn-test --report                 both, bounded, with figures that tools read
 *
 * Cases run in child processes, since the real CPU runs code that nobody has checked: a child that dies or
 * hangs is a reported failure of the case that it was at, and another one goes on behind it. A seccomp filter
 * lets no system call through that novt does not make itself.
 */
#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "insn.h"

#define MAX_JOBS  16
#define CHUNK     1024u
#define MAX_SHOWN 12u

struct job {
    u64 at, end; /* the case being run, and the end of the chunk */
    u64 begun;   /* bumped for every case: the watchdog looks at it */
    u64 native, engine, faults, mismatches;
    u32 shown;
    bool idle;
};
struct shared {
    u64 next, total; /* cases handed out */
    struct job job[MAX_JOBS];
    u8 covered[]; /* form x variant */
};

static struct options {
    u64 generate, seed, one;
    u32 jobs;
    bool report, no_native, list, have_one, emit, level_given;
    int level;
} opt = {.seed = 1, .jobs = 2, .level = AT_USER};

static struct shared *sh;
static bool no_native; /* the host cannot run cases: a reason to skip, not to fail */
#define EXIT_NO_NATIVE 3
#define EXIT_SKIP      77

#define ALLOW(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void sandbox(void)
{
    struct sock_filter f[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_read),
        ALLOW(SYS_write),
        ALLOW(SYS_mmap),
        ALLOW(SYS_munmap),
        ALLOW(SYS_mprotect),
        ALLOW(SYS_madvise),
        ALLOW(SYS_mremap),
        ALLOW(SYS_brk),
        ALLOW(SYS_rt_sigreturn),
        ALLOW(SYS_rt_sigaction),
        ALLOW(SYS_rt_sigprocmask),
        ALLOW(SYS_sigaltstack),
        ALLOW(SYS_fallocate),
        ALLOW(SYS_ftruncate),
        ALLOW(SYS_futex),
        ALLOW(SYS_getpid),
        ALLOW(SYS_gettid),
        ALLOW(SYS_tgkill),
        ALLOW(SYS_clock_gettime),
        ALLOW(SYS_fstat),
        ALLOW(SYS_newfstatat),
        ALLOW(SYS_lseek),
        ALLOW(SYS_memfd_create),
        ALLOW(SYS_sysinfo), /* qsort in Capstone */
        ALLOW(SYS_close),
        ALLOW(SYS_exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog p = {.len = ARRAY_SIZE(f), .filter = f};
    struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) < 0) {
        fprintf(stderr, "insn-test: cannot install the seccomp filter: %s\n", strerror(errno));
        exit(2);
    }
}

/* ---- generated cases ---- */

static void show(struct rig *r, struct icase *c, const struct insn *in, u64 n, const char *bad)
{
    static u8 ram[REGION];
    struct outcome o;
    const char *again;

    fprintf(stderr, "case %llu: %s\n  ", (unsigned long long)n, bad);
    again = rig_check(r, c, in, true, 0, opt.level, &o, ram);
    if (again) {
        rig_shrink(r, c, in, opt.level);
        again = rig_check(r, c, in, true, 0, opt.level, &o, ram);
        fprintf(stderr, "smaller: %s\n  ", again);
    } else {
        fprintf(stderr, "does not happen again: depends on what ran before\n  ");
    }
    case_print(stderr, c, in, &o, ram, opt.level);
}

static void run_generated(struct rig *r, struct job *j)
{
    struct icase c;
    struct insn in;
    struct outcome o;
    u32 form;

    for (;;) {
        while (j->at < j->end) {
            u64 n = j->at;
            const char *bad;

            __atomic_store_n(&j->begun, j->begun + 1, __ATOMIC_RELAXED);
            generate(opt.seed, n, opt.level, &c, &form, &in);
            bad = rig_check(r, &c, &in, false, n, opt.level, &o, NULL);
            if (in.fn != insn_ud)
                sh->covered[form * FORM_VARIANTS + form_variant(&forms[form], &in, case_cs32(&c))] = 1;
            j->faults += o.vector != VEC_NONE;
            if (bad) {
                j->mismatches++;
                if (j->shown++ < MAX_SHOWN)
                    show(r, &c, &in, n, bad);
            }
            if (n % 4096 == 0)
                for (int k = 0; k < ENG_COUNT; k++)
                    engine_drop_tables(r->eng[k]);
            j->native = r->runs_native;
            j->engine = r->runs_engine;
            j->at = n + 1;
        }
        u64 n = __atomic_fetch_add(&sh->next, CHUNK, __ATOMIC_RELAXED);
        if (n >= opt.generate)
            return;
        j->at = n;
        j->end = n + CHUNK < opt.generate ? n + CHUNK : opt.generate;
    }
}

static void child(u32 k)
{
    struct rig r;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!rig_init(&r, !opt.no_native))
        exit(2);
    if (!r.native && !opt.no_native)
        exit(EXIT_NO_NATIVE);
    r.runs_native = sh->job[k].native;
    r.runs_engine = sh->job[k].engine;
    sandbox();
    run_generated(&r, &sh->job[k]);
    fflush(NULL);
    _exit(0);
}

static pid_t spawn(u32 k)
{
    pid_t p;

    fflush(NULL);
    p = fork();
    if (p == 0)
        child(k);
    return p;
}

static void print_lost(struct job *j, const char *how)
{
    struct icase c;
    struct insn in;
    struct outcome o;
    u32 form;

    generate(opt.seed, j->at, opt.level, &c, &form, &in);
    memset(&o, 0, sizeof(o));
    o.vector = VEC_NONE;
    memcpy(o.gpr, c.gpr, sizeof(o.gpr));
    memcpy(o.sel, c.sel, sizeof(o.sel));
    o.flags = c.flags;
    o.fp = c.fp;
    o.lin = c.lin + c.len;
    fprintf(stderr, "case %llu: the child %s here\n  ", (unsigned long long)j->at, how);
    case_print(stderr, &c, &in, &o, NULL, opt.level);
}

/* The parent itself decodes nothing: decoding makes FPU thunks in memory that a fork would share. */
static void lost(u32 k, const char *how)
{
    struct job *j = &sh->job[k];
    pid_t p;

    fflush(NULL);
    p = fork();
    if (p == 0) {
        print_lost(j, how);
        _exit(0);
    }
    waitpid(p, NULL, 0);
    j->mismatches++;
    j->at++;
}

/* The forms are found by decoding, too: in a child, into shared memory. */
static bool find_forms(void)
{
    u32 *count = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t p;

    forms = mmap(NULL, MAX_FORMS * sizeof(*forms), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (forms == MAP_FAILED || (void *)count == MAP_FAILED || (p = fork()) < 0)
        return false;
    if (p == 0) {
        forms_init();
        *count = form_count;
        _exit(0);
    }
    waitpid(p, NULL, 0);
    form_count = *count;
    munmap(count, PAGE_SIZE);
    return form_count != 0;
}

/* Runs opt.generate cases in opt.jobs children. */
static bool generated(void)
{
    pid_t pid[MAX_JOBS];
    u64 seen[MAX_JOBS] = {0};
    u32 still[MAX_JOBS] = {0}, live = 0, deaths = 0;

    for (u32 k = 0; k < opt.jobs; k++, live++)
        pid[k] = spawn(k);
    while (live) {
        struct timespec t = {0, 200000000};
        int st;
        pid_t p;

        while ((p = waitpid(-1, &st, WNOHANG)) > 0) {
            u32 k = 0;
            while (k < opt.jobs && pid[k] != p)
                k++;
            if (k == opt.jobs)
                continue;
            pid[k] = 0;
            live--;
            if (WIFEXITED(st) && WEXITSTATUS(st) == 0)
                continue;
            if (WIFEXITED(st)) {
                no_native |= WEXITSTATUS(st) == EXIT_NO_NATIVE;
                return false;
            }
            lost(k, WTERMSIG(st) == SIGKILL ? "hangs" : strsignal(WTERMSIG(st)));
            if (++deaths > 20) {
                fprintf(stderr, "insn-test: too many children lost\n");
                for (k = 0; k < opt.jobs; k++)
                    if (pid[k])
                        kill(pid[k], SIGKILL);
                return false;
            }
            pid[k] = spawn(k);
            live++;
        }
        nanosleep(&t, NULL);
        for (u32 k = 0; k < opt.jobs; k++) {
            u64 b = __atomic_load_n(&sh->job[k].begun, __ATOMIC_RELAXED);
            still[k] = b == seen[k] ? still[k] + 1 : 0;
            seen[k] = b;
            if (pid[k] && still[k] > 150) /* 30 s for one case */
                kill(pid[k], SIGKILL), still[k] = 0;
        }
    }
    return true;
}

/* ---- case files ---- */

struct file_result {
    u64 cases, failed;
    u32 file, line; /* where the child is */
};

static void run_file(struct rig *r, const char *path, struct file_result *res)
{
    static u8 ram[REGION];
    FILE *f = fopen(path, "r");
    char line[4096];
    u32 number = 0;

    if (!f) {
        fprintf(stderr, "insn-test: %s: %s\n", path, strerror(errno));
        res->failed++;
        return;
    }
    while (fgets(line, sizeof(line), f)) {
        struct icase c;
        struct expect x;
        struct outcome o;
        struct insn in;
        const char *err, *bad;
        int p = case_parse(line, &c, &x, &err);

        number++;
        res->line = number;
        alarm(30); /* a case that never ends: the parent says which */
        if (p > 0)
            continue;
        if (p < 0) {
            fprintf(stderr, "%s:%u: %s\n", path, number, err);
            res->failed++;
            continue;
        }
        res->cases++;
        if (insn_decode(cpu_model_find("max"), c.code, INSN_MAX, case_cs32(&c), &in) != 0) {
            fprintf(stderr, "%s:%u: the code is not an instruction\n", path, number);
            res->failed++;
            continue;
        }
        bool native = r->native;
        r->native = native && x.native;
        bad = rig_check(r, &c, &in, true, 0, x.level, &o, ram);
        r->native = native;
        if (!bad && x.given)
            bad = case_check(&c, &x, &o, ram);
        if (bad) {
            fprintf(stderr, "%s:%u: %s\n", path, number, bad);
            res->failed++;
        }
        if (opt.emit) /* fill in, or print what is the case */
            case_print(stdout, &c, &in, &o, ram, x.level);
    }
    fclose(f);
}

static bool run_files(char **paths, int n, struct file_result *res)
{
    struct file_result *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int st;
    pid_t p;

    fflush(NULL);
    p = fork();
    if (p == 0) {
        struct rig r;
        if (!rig_init(&r, !opt.no_native))
            exit(2);
        if (!r.native && !opt.no_native)
            exit(EXIT_NO_NATIVE);
        for (int k = 0; k < n; k++, shared->file++)
            run_file(&r, paths[k], shared);
        fflush(NULL);
        _exit(0);
    }
    waitpid(p, &st, 0);
    *res = *shared;
    munmap(shared, sizeof(*shared));
    if (!WIFEXITED(st))
        fprintf(stderr, "%s:%u: the child %s here\n", res->file < (u32)n ? paths[res->file] : "?", res->line,
                WTERMSIG(st) == SIGALRM ? "hangs" : strsignal(WTERMSIG(st)));
    no_native |= WIFEXITED(st) && WEXITSTATUS(st) == EXIT_NO_NATIVE;
    return WIFEXITED(st) && WEXITSTATUS(st) == 0;
}

/* ---- main ---- */

static void usage(void)
{
    puts("usage: insn-test [OPTION...] [FILE.cases...]\n"
         "  --generate N   run N generated cases\n"
         "  --seed S       of the generator (default 1)\n"
         "  --one N        run generated case N in every configuration and print it\n"
         "  --level L      ring0, v86, real: translator against interpreter only (default: user)\n"
         "  --jobs J       child processes (default 2)\n"
         "  --no-native    leave the real CPU out\n"
         "  --emit         print the cases of the files with the outcome that they have\n"
         "  --list         print the forms\n"
         "  --report       end with lines for tools: forms, cases, mismatches;\n"
         "                 without other arguments: all committed cases and two million generated ones");
}

static void coverage(u32 *done, u32 *all, bool print)
{
    *done = *all = 0;
    for (u32 f = 0; f < form_count; f++)
        for (u32 v = 0; v < FORM_VARIANTS; v++) {
            if (!form_variant_exists(&forms[f], v))
                continue;
            ++*all;
            if (sh->covered[f * FORM_VARIANTS + v]) {
                ++*done;
            } else if (print) {
                char name[96];
                form_name(&forms[f], name, sizeof(name));
                printf("not covered: %s,%s code%s%s%s%s\n", name, v & 1 ? " 32-bit" : " 16-bit",
                       v & 2 ? ", 66" : "", v & 4 ? ", 32-bit addresses" : "", v & 8 ? ", lock" : "",
                       v >> 4 == 1   ? ", repz"
                       : v >> 4 == 2 ? ", repnz"
                                     : "");
            }
        }
}

static int run_one(void)
{
    struct rig r;
    struct icase c;
    struct insn in;
    u32 form;
    const char *bad;
    static u8 ram[REGION];
    struct outcome o;

    if (!rig_init(&r, !opt.no_native))
        return 2;
    generate(opt.seed, opt.one, opt.level, &c, &form, &in);
    bad = rig_check(&r, &c, &in, true, 0, opt.level, &o, ram);
    case_print(stdout, &c, &in, &o, ram, opt.level);
    printf("%s\n", bad ? bad : "all agree");
    return bad != NULL;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"generate", 1, 0, 'g'}, {"seed", 1, 0, 's'},      {"one", 1, 0, 'o'},  {"jobs", 1, 0, 'j'},
        {"report", 0, 0, 'r'},   {"no-native", 0, 0, 'n'}, {"emit", 0, 0, 'e'}, {"list", 0, 0, 'l'},
        {"level", 1, 0, 'R'},    {"help", 0, 0, 'h'},      {0, 0, 0, 0}};
    struct file_result files = {0, 0};
    u64 native = 0, engine = 0, bad = 0, faults = 0;
    u32 done, all;
    bool ok = true;
    int o;

    while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1)
        switch (o) {
        case 'g':
            opt.generate = strtoull(optarg, NULL, 0);
            break;
        case 's':
            opt.seed = strtoull(optarg, NULL, 0);
            break;
        case 'o':
            opt.one = strtoull(optarg, NULL, 0);
            opt.have_one = true;
            break;
        case 'j':
            opt.jobs = (u32)strtoul(optarg, NULL, 0);
            if (opt.jobs < 1 || opt.jobs > MAX_JOBS)
                opt.jobs = 2;
            break;
        case 'r':
            opt.report = true;
            break;
        case 'n':
            opt.no_native = true;
            break;
        case 'e':
            opt.emit = true;
            break;
        case 'l':
            opt.list = true;
            break;
        case 'R':
            opt.level_given = true;
            opt.level = !strcmp(optarg, "ring0")  ? AT_RING0
                        : !strcmp(optarg, "v86")  ? AT_V86
                        : !strcmp(optarg, "real") ? AT_REAL
                                                  : AT_USER;
            opt.no_native |=
                opt.level != AT_USER; /* there engines may take the region's addresses (OPT(winlow)) */
            break;
        default:
            usage();
            return o != 'h';
        }
    if (!find_forms()) {
        fprintf(stderr, "insn-test: cannot find the forms: out of memory?\n");
        return 2;
    }
    if (opt.list) {
        for (u32 f = 0; f < form_count; f++) {
            char name[96];
            form_name(&forms[f], name, sizeof(name));
            puts(name);
        }
        return 0;
    }
    if (opt.have_one)
        return run_one();
    if (opt.report && !opt.generate)
        opt.generate = 2000000;
    sh = mmap(NULL, sizeof(*sh) + form_count * FORM_VARIANTS, PROT_READ | PROT_WRITE,
              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sh == MAP_FAILED) {
        fprintf(stderr, "insn-test: out of memory\n");
        return 2;
    }
    glob_t found = {.gl_pathc = 0};
    if (optind < argc)
        ok = run_files(argv + optind, argc - optind, &files);
    else if (opt.report && !opt.level_given && glob(CASES_DIR "/*.cases", 0, NULL, &found) == 0)
        ok = run_files(found.gl_pathv, (int)found.gl_pathc, &files);
    if (opt.generate && ok)
        ok = generated();
    if (opt.emit)
        return files.failed != 0;
    for (u32 k = 0; k < MAX_JOBS; k++) {
        native += sh->job[k].native;
        engine += sh->job[k].engine;
        bad += sh->job[k].mismatches;
        faults += sh->job[k].faults;
    }
    coverage(&done, &all, opt.generate && opt.report);
    if (files.cases || files.failed)
        printf("case files: %llu cases, %llu failed\n", (unsigned long long)files.cases,
               (unsigned long long)files.failed);
    if (opt.generate) {
        printf("generated: %llu cases, seed %llu; %llu ran on the real CPU, %llu faulted, %llu engine runs\n",
               (unsigned long long)opt.generate, (unsigned long long)opt.seed, (unsigned long long)native,
               (unsigned long long)faults, (unsigned long long)engine);
        printf("forms: %u/%u\n", done, all);
    }
    printf("cases: %llu\n", (unsigned long long)(files.cases + (ok ? opt.generate : 0)));
    printf("mismatches: %llu\n", (unsigned long long)(bad + files.failed));
    return no_native ? EXIT_SKIP : !ok || bad || files.failed;
}
