/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What translating costs, without a guest: cuts a file into units, one behind the other, and translates each
 * and enters it into a translation cache, as the monitor does. Prints how many there were, host instructions
 * for each (by the host's counter, where it has one), and a checksum of all that the translator made, which
 * does not change as long as the emitted code does not.
 *
 *      bench-translate FILE [OFFSET [BYTES [ROUNDS [NO-OPT,... [SHAPE]]]]]
 *
 * SHAPE is the number of one mode, without it all of them are gone through. FILE is taken as flat 32-bit
 * code: that of a program, from the offset that `readelf -l` says. A linear walk has other units than a guest
 * that runs the program (it meets data, and no targets of jumps), but the same instructions.
 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/opts.h"
#include "tcache/tcache.h"

#define CACHE (64u << 20)
#define BASE  0x08048000u /* where the file's first page would be */

static const struct {
    const char *name;
    u32 mode;
} shapes[] = {
#define FLAT                                                                                                 \
    (MODE_CS32 | MODE_SS32 | MODE_PE | MODE_FLATCS | MODE_FLATDS | MODE_FLATES | MODE_FLATSS | MODE_SSE)
    {"user, window form", FLAT | MODE_WIN | 3},
    {"kernel, window form", FLAT | MODE_WIN | MODE_IOPL_OK},
    {"user, table form", FLAT | 3},
    {"user, low window form", FLAT | MODE_WIN | MODE_LOW | 3},
};

struct bench {
    const u8 *file;
    u64 size;
    struct tcache *tc;
    struct insn_memo *memo;
    const struct cpu_model *model;
    u64 opts;
    u32 mode;
    struct unit unit;
    u64 sum, units, insns, host, refused;
    bool check; /* sum what was made */
};

static struct insn *keep(void *opaque, const struct insn *i)
{
    struct bench *b = opaque;
    struct insn *p = tcache_alloc(b->tc, sizeof(*p));

    if (p)
        *p = *i;
    return p;
}

static void heavy(void *opaque)
{
}

static void forget(void *opaque, u64 gpa)
{
}

static void sum(struct bench *b, const void *p, u64 n)
{
    const u8 *c = p;
    for (u64 k = 0; k < n; k++)
        b->sum = (b->sum ^ c[k]) * 0x100000001b3ull; /* FNV-1a */
}

#define SUM(b, x) sum(b, &(x), sizeof(x))

static void sum_unit(struct bench *b, const u8 *code)
{
    const struct unit *u = &b->unit;
    u32 at = 0;

    for (u32 k = 0; k < u->n_moves; k++) { /* a pointer is not the same twice: what it points to is */
        if (u->moves[k].kind != MOVE_INSN)
            continue;
        const struct insn *i;
        memcpy(&i, code + u->moves[k].at, sizeof(i));
        sum(b, i->raw, i->len);
        sum(b, code + at, u->moves[k].at - at);
        at = u->moves[k].at + 8u;
    }
    sum(b, code + at, u->host_len - at);
    SUM(b, u->guest_len);
    SUM(b, u->depends);
    SUM(b, u->leaks);
    SUM(b, u->crosses);
    SUM(b, u->fixed);
    SUM(b, u->of);
    for (u32 k = 0; k < u->n_insns; k++) {
        SUM(b, u->pcmap[k].host);
        SUM(b, u->pcmap[k].guest);
        SUM(b, u->pcmap[k].flags);
        SUM(b, u->pcmap[k].sp);
    }
    for (u32 k = 0; k < u->n_links; k++) {
        SUM(b, u->links[k].target);
        SUM(b, u->links[k].patch);
        SUM(b, u->links[k].stub);
        SUM(b, u->links[k].far);
    }
    sum(b, u->landings, u->n_landings * sizeof(u->landings[0]));
    sum(b, u->moves, u->n_moves * sizeof(u->moves[0]));
}

/* The unit at this offset. Returns its length. */
static u32 one(struct bench *b, u64 off)
{
    u32 eip = BASE + (u32)off;
    struct frag_key key = {.gpa = off, .eip = eip, .mode = b->mode, .cs_limit = 0xffffffff};
    struct unit_env env = {
        .model = b->model,
        .memo = b->memo,
        .opts = b->opts,
        .mode = b->mode,
        .eip = eip,
        .cs_limit = 0xffffffff,
        .bytes = b->file + off,
        .avail = PAGE_SIZE - (eip & PAGE_MASK),
        .host_tsc = true,
        .keep_insn = keep,
        .opaque = b,
    };
    enum xlate_status st;
    u8 *code;
    u32 cap;

    if (!tcache_reserve(b->tc, &code, &cap, &env.first_link)) {
        tcache_flush(b->tc, forget, b);
        if (!tcache_reserve(b->tc, &code, &cap, &env.first_link))
            abort();
    }
    env.line_at = (u32)(uintptr_t)code & (CODE_LINE - 1);
    st = translate_unit(&env, code, cap, &b->unit);
    if (st == XLATE_NEED_CROSS) {
        env.cross = env.bytes;
        env.cross_avail = env.avail + INSN_MAX;
        env.cross_expect = 1 + (u32)((off + env.avail) >> PAGE_SHIFT);
        st = translate_unit(&env, code, cap, &b->unit);
    }
    if (st != XLATE_OK) {
        b->refused++;
        return 1;
    }
    if (b->check)
        sum_unit(b, code);
    if (!tcache_commit(b->tc, &key, b->unit.crosses ? env.cross_expect : 0, &b->unit))
        abort();
    b->units++;
    b->insns += b->unit.n_insns;
    b->host += b->unit.host_len;
    return b->unit.guest_len;
}

static void walk(struct bench *b)
{
    for (u64 off = 0; off + INSN_MAX < b->size;)
        off += one(b, off);
}

/* Host instructions of this process in user mode; -1: the host does not say. */
static int counter(void)
{
    struct perf_event_attr a = {.type = PERF_TYPE_HARDWARE,
                                .size = sizeof(a),
                                .config = PERF_COUNT_HW_INSTRUCTIONS,
                                .exclude_kernel = 1,
                                .exclude_hv = 1};
    return (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

static u64 count(int fd)
{
    u64 n = 0;
    return fd >= 0 && read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* PAGE_SIZE readable bytes stand behind the file's. */
static const u8 *load(const char *path, u64 off, u64 *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    u8 *p;

    if (fd < 0 || fstat(fd, &st) || (u64)st.st_size <= off)
        return NULL;
    if (*size > (u64)st.st_size - off)
        *size = (u64)st.st_size - off;
    p = calloc(1, *size + PAGE_SIZE);
    if (!p || pread(fd, p, *size, (off_t)off) != (ssize_t)*size)
        return NULL;
    close(fd);
    return p;
}

int main(int argc, char **argv)
{
    static struct bench b;
    u64 off = argc > 2 ? strtoull(argv[2], NULL, 0) : 0, rounds = argc > 4 ? strtoull(argv[4], NULL, 0) : 1;
    const char *bad;
    int err, fd;

    b.size = argc > 3 ? strtoull(argv[3], NULL, 0) : 1u << 20;
    if (argc < 2 || !(b.file = load(argv[1], off, &b.size)) || b.size > 1u << 30) {
        fprintf(stderr, "usage: bench-translate FILE [OFFSET [BYTES [ROUNDS [NO-OPT,... [SHAPE]]]]]\n");
        return 1;
    }
    b.opts = OPT_ALL;
    if (argc > 5 && opts_disable(&b.opts, argv[5], &bad)) {
        fprintf(stderr, "bench-translate: no such optimisation: %s\n", bad);
        return 1;
    }
    b.opts = translate_host_opts(b.opts);
    b.model = cpu_model_find("qemu32");
    b.memo = insn_memo_create(b.model, heavy, NULL);
    b.tc = tcache_create(CACHE, (b.size >> PAGE_SHIFT) + 2, b.opts, &err);
    if (!b.memo || !b.tc) {
        fprintf(stderr, "bench-translate: no memory\n");
        return 1;
    }
    fd = counter();
    for (u32 k = 0; k < ARRAY_SIZE(shapes); k++) {
        u64 from, spent;
        if (argc > 6 && (u32)atoi(argv[6]) != k)
            continue;
        b.mode = shapes[k].mode;
        b.sum = 0xcbf29ce484222325ull;
        b.check = true;
        walk(&b); /* what there is to learn is learned here */
        b.check = false;
        b.units = b.insns = b.host = b.refused = 0;
        tcache_flush(b.tc, forget, &b);
        from = count(fd);
        for (u64 r = 0; r < rounds; r++)
            walk(&b);
        spent = count(fd) - from;
        if (!b.units)
            continue;
        printf(
            "%-20s %8llu units %8llu instructions %9llu bytes of host code, sum %016llx: %.0f a unit, %.1f "
            "an instruction\n",
            shapes[k].name, (unsigned long long)b.units, (unsigned long long)b.insns,
            (unsigned long long)b.host, (unsigned long long)b.sum, (double)spent / (double)b.units,
            (double)spent / (double)b.insns);
    }
    return 0;
}
