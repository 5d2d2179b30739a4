/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the machine tells people: the end of a guest that triple-faulted, the dump when novt itself has a bug,
 * statistics.
 *
 * The crash report must work in any guest state, so it only probes: no accessed bits, no faults, no device
 * accesses.
 */
#include "machine/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "cpu/insn.h"
#include "monitor/monitor.h"
#include "shadowpt/shadowpt.h"

static const char *const vector_names[32] = {
    [EXC_DE] = "#DE divide error",
    [EXC_DB] = "#DB debug",
    [EXC_NMI] = "NMI",
    [EXC_BP] = "#BP breakpoint",
    [EXC_OF] = "#OF overflow",
    [EXC_BR] = "#BR bound range",
    [EXC_UD] = "#UD undefined instruction",
    [EXC_NM] = "#NM no FPU",
    [EXC_DF] = "#DF double fault",
    [EXC_TS] = "#TS invalid TSS",
    [EXC_NP] = "#NP segment not present",
    [EXC_SS] = "#SS stack fault",
    [EXC_GP] = "#GP general protection",
    [EXC_PF] = "#PF page fault",
    [EXC_MF] = "#MF x87 error",
    [EXC_AC] = "#AC alignment",
    [EXC_MC] = "#MC machine check",
    [EXC_XM] = "#XM SIMD error",
};

const char *report_symbol(void *opaque, u32 eip, u32 *offset)
{
    struct vm *vm = opaque;
    return symbols_at(vm->symbols, eip, offset);
}

/* Reads guest code without side effects; returns how many of len bytes could be read. */
static u32 peek(struct vm *vm, u32 lin, u8 *buf, u32 len)
{
    for (u32 i = 0; i < len; i++) {
        u64 gpa;
        if (shadow_probe(vm->cpu, lin + i, &gpa) != CPU_OK)
            return i;
        const u8 *p = memory_host(vm->mem, gpa);
        if (!p)
            return i;
        buf[i] = *p;
    }
    return len;
}

static void disassemble(struct vm *vm, u32 eip, int lines, FILE *out)
{
    struct vcpu *v = vm->cpu;
    bool cs32 = v->seg[S_CS].attr & SA_DB;
    for (int i = 0; i < lines; i++) {
        u8 bytes[INSN_MAX];
        u32 n = peek(vm, v->seg[S_CS].base + eip, bytes, sizeof(bytes));
        struct insn insn;
        char text[128];
        if (!n || insn_decode(v->model, bytes, n, cs32, &insn)) {
            fprintf(out, "  %08x  (no code can be read here)\n", eip);
            return;
        }
        insn_format(&insn, eip, cs32, text, sizeof(text));
        fprintf(out, "%s %08x  ", i ? " " : ">", eip);
        for (u32 j = 0; j < 8; j++)
            fprintf(out, j < insn.len ? "%02x" : "  ", j < insn.len ? bytes[j] : 0);
        fprintf(out, "  %s\n", text);
        eip += insn.len;
    }
}

static void print_fault(const struct cpu_fault *f, FILE *out)
{
    const char *name = f->vector < 32 && vector_names[f->vector] ? vector_names[f->vector] : "interrupt";
    fprintf(out, "vector %u (%s)", f->vector, name);
    if (f->has_error)
        fprintf(out, ", error code %04x", f->error);
    if (f->vector == EXC_PF)
        fprintf(out, ", address %08x", f->cr2);
    fputc('\n', out);
}

static void print_state(struct vm *vm, FILE *out)
{
    struct vcpu *v = vm->cpu;
    u32 offset;
    const char *name = symbols_at(vm->symbols, v->eip, &offset);
    cpu_dump(v, out);
    if (name)
        fprintf(out, "in %s+%x\n", name, offset);
    disassemble(vm, v->eip, 8, out);
}

void report_triple_fault(struct vm *vm)
{
    cpu_fpu_park(vm->cpu);
    error_report("the guest's CPU shut down: triple fault");
    static const char *const step[] = {"exception", "raised by delivering it",
                                       "raised by delivering that (double fault)",
                                       "raised by delivering the double fault"};
    const struct cpu_fault *chain = vm->cpu->fault_chain;
    for (int i = 0; i < 4; i++) {
        /* The origin is one of the pair unless it was benign, such as #UD, and another fault came between. */
        if (i == 1 && chain[0].vector == chain[1].vector && chain[0].error == chain[1].error)
            continue;
        fprintf(stderr, "%s: ", step[i]);
        print_fault(&chain[i], stderr);
    }
    print_state(vm, stderr);
}

static u64 json_safe(double x)
{
    return x < 0 ? 0 : (u64)x;
}

static u64 monotonic_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

void report_phases_start(struct vm *vm)
{
    if (!vm->cfg.stats || !(vm->phases = calloc(1, sizeof(*vm->phases))))
        return;
    vm->phases_ns = monotonic_ns();
    phases_start(vm->phases);
    vm->cpu->phases = vm->phases;
}

static u64 timeval_ns(struct timeval t)
{
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_usec * 1000u;
}

/* Ends the phases. False: there were none. */
static bool measured(struct vm *vm, struct stats_time *t)
{
    struct rusage r;
    if (!vm->phases)
        return false;
    phases_settle(vm->phases);
    vm->cpu->phases = NULL;
    *t = (struct stats_time){.phases = vm->phases, .ns = monotonic_ns() - vm->phases_ns};
    if (!getrusage(RUSAGE_THREAD, &r)) {
        t->user_ns = timeval_ns(r.ru_utime);
        t->system_ns = timeval_ns(r.ru_stime);
        t->page_faults = (u64)r.ru_minflt;
        t->switches = (u64)r.ru_nvcsw;
        t->preempted = (u64)r.ru_nivcsw;
    }
    t->signal_cycles = vm->have_monitor ? monitor_signal_cycles() : 0;
    return true;
}

void report_stats(struct vm *vm)
{
    const struct machine_config *cfg = &vm->cfg;
    if (!cfg->stats)
        return;
    if (vm->have_monitor)
        monitor_update_stats(vm->cpu);
    const struct stats *s = &vm->cpu->stats;
    struct stats_time t;
    bool timed = measured(vm, &t);
    FILE *out = stderr;
    if (cfg->stats_file && !(out = fopen(cfg->stats_file, "we"))) {
        error_report("cannot write statistics to '%s': %s", cfg->stats_file, strerror(errno));
        return;
    }
    size_t len = cfg->stats_file ? strlen(cfg->stats_file) : 0;
    if (len > 5 && !strcmp(cfg->stats_file + len - 5, ".json"))
        stats_json(s, timed ? &t : NULL, out);
    else
        stats_print(s, out);
    if (!cfg->stats_file || strcmp(cfg->stats_file + len - (len > 5 ? 5 : 0), ".json")) {
        u64 total = s->insns_bt + s->insns_interp;
        if (total && (cfg->count || cfg->engine != ENGINE_BT))
            fprintf(out,
                    "%" PRIu64 ".%03" PRIu64 " %% of guest instructions ran from the translation cache\n",
                    json_safe(s->insns_bt * 100.0 / total), json_safe(s->insns_bt * 100000.0 / total) % 1000);
        if (timed)
            stats_print_time(&t, out);
    }
    if (out != stderr && fclose(out))
        error_report("cannot write statistics to '%s': %s", cfg->stats_file, strerror(errno));
}
