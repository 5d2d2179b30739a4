/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lockstep: the interpreter beside the translator.
 *
 * The second CPU has its own memory and shadow and no devices: it follows the first one's inputs
 * (machine/input.c). Whenever the monitor has the first CPU's state at an instruction boundary, the second is
 * run up to the same count of instructions and everything architectural is compared: registers, flags,
 * segments with their hidden parts, control and debug registers, descriptor tables, x87/SSE state, and the
 * memory that the second CPU wrote since the last comparison. Memory that only the first CPU wrote shows in
 * the comparison of all of RAM, every FULL_EVERY instructions and at the end.
 *
 * The second memory's pages all carry MEMW_DIRTY, so that no write takes a shortcut and each is reported with
 * its physical address.
 *
 * Not compared: undefined things that the hardware leaves open too are compared all the same; only the time
 * stamp offset (host time), the interrupt shadow (the translator has it in the code's position) and host
 * pointers in the x87 image are not. In the middle of a rep the two may stand at different iterations: that
 * boundary is left out.
 */
#include "machine/lockstep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/opts.h"
#include "cpu/insn.h"
#include "monitor/monitor.h"
#include "shadowpt/shadowpt.h"

#define FULL_EVERY (1ull << 26)
#define LOG_MAX    65536

struct written {
    u64 gpa;
    u32 len;
};

struct lockstep {
    struct vm *vm;
    struct vm other; /* only what machine_boot() needs */
    struct follower f;
    struct written *log;
    u32 n_log;
    bool log_full;
    u64 last_full, last_count;
    u32 last_eip;
    u64 compared;
};

static void written(void *opaque, u64 gpa, u32 len)
{
    struct lockstep *ls = opaque;
    if (ls->n_log == LOG_MAX)
        ls->log_full = true;
    else
        ls->log[ls->n_log++] = (struct written){gpa, len};
}

static void watch_all(struct lockstep *ls)
{
    for (u64 gpa = 0; gpa < memory_ram_size(ls->other.mem); gpa += PAGE_SIZE)
        if (memory_kind(ls->other.mem, gpa) == MEM_RAM)
            memory_watch(ls->other.mem, gpa, MEMW_DIRTY);
}

struct lockstep *lockstep_create(struct vm *vm)
{
    int err = 0;
    struct lockstep *ls = calloc(1, sizeof(*ls));
    if (!ls)
        return NULL;
    ls->vm = vm;
    ls->log = malloc(LOG_MAX * sizeof(*ls->log));
    ls->other.cfg = vm->cfg;
    ls->other.tables = vm->tables;
    ls->other.mem = memory_create(vm->cfg.ram_bytes, &err);
    if (!ls->log || !ls->other.mem) {
        error_report("--lockstep: no host memory for the second machine");
        lockstep_destroy(ls);
        return NULL;
    }
    struct vcpu *s = ls->other.cpu = cpu_create(vm->cpu->model, &follow_ops, vm->cfg.opts & ~OPT(string));
    s->vm = &ls->f;
    ls->f.v = s;
    ls->f.q = vm->inputs;
    if (shadow_create(s, ls->other.mem, 64) < 0 || machine_boot(&ls->other)) {
        error_report("--lockstep: cannot build the second machine");
        lockstep_destroy(ls);
        return NULL;
    }
    struct mem_watcher w = {.written = written, .flags = MEMW_DIRTY, .opaque = ls};
    memory_add_watcher(ls->other.mem, &w);
    watch_all(ls);
    return ls;
}

void lockstep_destroy(struct lockstep *ls)
{
    if (!ls)
        return;
    if (ls->other.cpu) {
        if (ls->other.cpu->shadow)
            shadow_destroy(ls->other.cpu);
        cpu_destroy(ls->other.cpu);
    }
    if (ls->other.mem)
        memory_destroy(ls->other.mem);
    symbols_free(ls->other.symbols);
    free(ls->log);
    free(ls);
}

/* ---- reporting ---- */

static void show_code(struct lockstep *ls, u32 eip)
{
    struct vcpu *s = ls->f.v;
    u8 bytes[INSN_MAX];
    u32 n = 0;
    struct insn i;
    char text[128] = "(cannot be read)";
    for (u64 gpa; n < INSN_MAX && shadow_probe(s, s->seg[S_CS].base + eip + n, &gpa) == CPU_OK; n++) {
        const u8 *p = memory_host(ls->other.mem, gpa);
        if (!p)
            break;
        bytes[n] = *p;
    }
    if (n && insn_decode(s->model, bytes, n, s->mode & MODE_CS32, &i) == 0)
        insn_format(&i, eip, s->mode & MODE_CS32, text, sizeof(text));
    fprintf(stderr, "  %08x  %s\n", eip, text);
}

static _Noreturn void differ(struct lockstep *ls, const char *what)
{
    struct vcpu *v = ls->vm->cpu;
    struct follower *f = &ls->f;
    u32 n = f->traced < FOLLOW_TRACE ? (u32)f->traced : FOLLOW_TRACE;

    chardev_restore_terminal();
    fflush(stdout);
    fprintf(stderr,
            "\nnovt: lockstep: %s\nafter %" PRIu64 " instructions; last equal after %" PRIu64
            " at eip %08x; %" PRIu64 " comparisons\n",
            what, f->count, ls->last_count, ls->last_eip, ls->compared);
    fprintf(stderr, "---- translator\n");
    cpu_dump(v, stderr);
    fprintf(stderr, "---- interpreter\n");
    cpu_dump(f->v, stderr);
    fprintf(stderr, "---- the interpreter's last instructions\n");
    for (u32 k = n; k; k--)
        show_code(ls, f->trace[(f->traced - k) % FOLLOW_TRACE]);
    fprintf(stderr, "---- host code of the last one, and of what was last equal\n");
    if (n && v->tc) {
        monitor_dump_at(v, f->trace[(f->traced - 1) % FOLLOW_TRACE]);
        monitor_dump_at(v, ls->last_eip);
    }
    fflush(stderr);
    if (ls->vm->inputs->file)
        fflush(ls->vm->inputs->file);
    _exit(EXIT_DIFFERS);
}

/* ---- comparing ---- */

static void differ_value(struct lockstep *ls, const char *name, u64 a, u64 b)
{
    char text[160];
    snprintf(text, sizeof(text), "%s: translator %" PRIx64 ", interpreter %" PRIx64, name, a, b);
    differ(ls, text);
}

#define CHECK(name, field)                                                                                   \
    do {                                                                                                     \
        if (v->field != s->field)                                                                            \
            differ_value(ls, name, (u64)v->field, (u64)s->field);                                            \
    } while (0)

static void compare_system(struct lockstep *ls, const struct vcpu *v, const struct vcpu *s)
{
    static const char *const names[S_COUNT] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    for (int i = 0; i < S_COUNT; i++) {
        CHECK(names[i], seg[i].sel);
        CHECK(names[i], seg[i].base);
        CHECK(names[i], seg[i].limit);
        CHECK(names[i], seg[i].attr);
    }
    CHECK("cr0", cr0);
    CHECK("cr2", cr2);
    CHECK("cr3", cr3);
    CHECK("cr4", cr4);
    for (int i = 0; i < 8; i++)
        CHECK("debug register", dr[i]);
    for (int i = 0; i < 4; i++)
        CHECK("pdpte", pdpte[i]);
    CHECK("gdtr base", gdtr.base);
    CHECK("gdtr limit", gdtr.limit);
    CHECK("idtr base", idtr.base);
    CHECK("idtr limit", idtr.limit);
    CHECK("efer", efer);
    CHECK("sysenter cs", msr_sysenter_cs);
    CHECK("sysenter esp", msr_sysenter_esp);
    CHECK("sysenter eip", msr_sysenter_eip);
    CHECK("nmi blocked", nmi_blocked);
}

static void compare_fpu(struct lockstep *ls, const struct vcpu *v, const struct vcpu *s)
{
    /* FXSAVE64 image: FCW FSW FTW at 0-4, MXCSR at 24, registers at 32 (10 of 16 bytes), XMM0-7 at 160 */
    if (!memcmp(v->fx, s->fx, 5) && !memcmp(v->fx + 24, s->fx + 24, 4) &&
        !memcmp(v->fx + 160, s->fx + 160, 128)) {
        bool same = true;
        for (int i = 0; i < 8; i++)
            same &= !memcmp(v->fx + 32 + 16 * i, s->fx + 32 + 16 * i, 10);
        if (same)
            return;
    }
    for (int i = 0; i < 288; i += 16)
        if (memcmp(v->fx + i, s->fx + i, 16)) {
            fprintf(stderr, "fx image at %d: translator ", i);
            for (int k = 0; k < 16; k++)
                fprintf(stderr, "%02x", v->fx[i + k]);
            fprintf(stderr, " interpreter ");
            for (int k = 0; k < 16; k++)
                fprintf(stderr, "%02x", s->fx[i + k]);
            fprintf(stderr, "\n");
        }
    differ(ls, "x87/SSE state");
}

static void compare_bytes(struct lockstep *ls, u64 gpa, u64 len)
{
    const u8 *a = memory_base(ls->vm->mem), *b = memory_base(ls->other.mem);
    if (likely(!memcmp(a + gpa, b + gpa, len)))
        return;
    while (a[gpa] == b[gpa])
        gpa++;
    char text[160];
    snprintf(text, sizeof(text),
             "memory at physical %" PRIx64
             ": translator %02x %02x %02x %02x, interpreter %02x %02x %02x %02x",
             gpa, a[gpa], a[gpa + 1], a[gpa + 2], a[gpa + 3], b[gpa], b[gpa + 1], b[gpa + 2], b[gpa + 3]);
    differ(ls, text);
}

static void compare_all_memory(struct lockstep *ls)
{
    u64 ram = memory_ram_size(ls->vm->mem);
    compare_bytes(ls, 0, ram < 640 * KiB ? ram : 640 * KiB);
    for (u64 gpa = 768 * KiB; gpa < ram; gpa += MiB)
        compare_bytes(ls, gpa, ram - gpa < MiB ? ram - gpa : MiB);
    ls->last_full = ls->f.count;
}

static void compare(struct lockstep *ls)
{
    const struct vcpu *v = ls->vm->cpu, *s = ls->f.v;
    static const char *const names[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};

    if (unlikely(v->eip == s->eip && v->gpr[R_ECX] != s->gpr[R_ECX] && monitor_unfinished(ls->f.v)))
        return; /* within a rep */
    CHECK("eip", eip);
    for (int i = 0; i < 8; i++)
        CHECK(names[i], gpr[i]);
    CHECK("flags", aflags);
    CHECK("system flags", sflags);
    CHECK("IF", iflag);
    CHECK("CPL", cpl);
    CHECK("mode", mode);
    compare_system(ls, v, s);
    compare_fpu(ls, v, s);
    for (u32 i = 0; i < ls->n_log; i++)
        compare_bytes(ls, ls->log[i].gpa, ls->log[i].len);
    ls->n_log = 0;
    if (ls->log_full || ls->f.count - ls->last_full >= FULL_EVERY)
        compare_all_memory(ls);
    ls->log_full = false;
    ls->last_count = ls->f.count;
    ls->last_eip = v->eip;
    ls->compared++;
}

static void follow_and_compare(struct lockstep *ls)
{
    cpu_fpu_live(ls->f.v); /* normalises a state that was never loaded as the first CPU's loads do */
    if (!follow_run(&ls->f, monitor_count(ls->vm->cpu)))
        differ(ls, ls->f.trouble);
    cpu_fpu_park(ls->f.v);
    if (inputs_peek(ls->f.q))
        differ(ls, "the translator used an input that the interpreter did not ask for");
    compare(ls);
}

__attribute__((target("general-regs-only"))) void lockstep_sync(void *opaque)
{
    struct vm *vm = opaque;
    cpu_fpu_park(vm->cpu);
    follow_and_compare(vm->lockstep);
}

void lockstep_reset(struct lockstep *ls)
{
    ls->f.v->events = 0;
    ls->f.v->intr_shadow = 0;
    if (machine_boot(&ls->other))
        differ(ls, "the second machine does not boot again");
    watch_all(ls);
    ls->n_log = 0;
    compare_all_memory(ls);
}

void lockstep_finish(struct lockstep *ls)
{
    lockstep_sync(ls->vm);
    compare_all_memory(ls);
    fprintf(stderr, "novt: lockstep: %" PRIu64 " instructions, %" PRIu64 " comparisons, 0 differences\n",
            ls->f.count, ls->compared);
}
