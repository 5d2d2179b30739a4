/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building one PC and taking it down again.
 *
 * Order matters: memory, then the CPU, then the shadow (which watches memory and gives the CPU its tables),
 * then devices, then the guest's image, and the monitor last, when the CPU's state is what it will run.
 * Destruction is the reverse. Every failure is reported here or below with a message for the user;
 * machine_create() then returns NULL and leaves nothing.
 */
#include "machine/lockstep.h"
#include "machine/perfmap.h"
#include "machine/vm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hostsig.h"
#include "base/log.h"
#include "display/display.h"
#include "monitor/monitor.h"
#include "shadowpt/shadowpt.h"

#define DEFAULT_MAX_SPACES 64

static void dump_on_bug(void *opaque)
{
    struct vm *vm = opaque;
    chardev_restore_terminal();
    cpu_dump(vm->cpu, stderr);
}

/* Blocks the terminating signals in this thread, and so in all threads created later, and opens a descriptor
 * for them. */
static struct host_signals *open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN); /* a closed stdout is an error of write(), not the end of the machine */
    signal(SIGXFSZ, SIG_IGN); /* so is a limit of file sizes (ulimit -f): the guest sees an I/O error */
    return host_signals_open(&set);
}

static int create_memory(struct vm *vm)
{
    int err = 0;
    vm->mem = memory_create(vm->cfg.ram_bytes, &err);
    if (!vm->mem) {
        error_report("the host cannot provide %llu MiB of guest memory: %s; give less with -m",
                     (unsigned long long)(vm->cfg.ram_bytes / MiB), strerror(-err));
        return err ? err : -ENOMEM;
    }
    return 0;
}

static int create_cpu(struct vm *vm)
{
    const char *bad;
    if (cpu_model_parse(vm->cfg.cpu, &vm->model, &bad)) {
        error_report("unknown CPU model or feature '%s': -cpu help lists them", bad);
        return -EINVAL;
    }
    if (vm->inputs) { /* memory-mapped I/O is not followed yet */
        vm->model.features &= ~CPUF_APIC;
        vm->model.featuresx &= ~CPUFX_DEADLINE;
    }
    const struct cpu_ops *ops = vm->follower ? &follow_ops : wiring_ops(vm);
    vm->cpu = cpu_create(&vm->model, ops, vm->cfg.opts);
    vm->cpu->vm = vm;
    if (vm->follower) {
        vm->cpu->vm = vm->follower;
        *vm->follower = (struct follower){.v = vm->cpu, .q = vm->inputs, .show = true};
    }
    bug_set_dumper(dump_on_bug, vm);
    int err = shadow_create(vm->cpu, vm->mem, vm->cfg.max_spaces ? vm->cfg.max_spaces : DEFAULT_MAX_SPACES);
    if (err) {
        error_report(
            "cannot create the shadow page tables: %s (a limit on address space, ulimit -v, must allow some "
            "hundred GiB; nothing of it is used before it is needed)",
            strerror(-err));
        return err;
    }
    vm->have_shadow = true;
    if (vm->cfg.audit_shadow)
        shadow_set_audit(vm->cpu, true);
    return 0;
}

/* What a run depends on besides its inputs. The command line and images are the user's business. */
static void machine_identity(const struct vm *vm, char text[55])
{
    snprintf(text, 55, "%s %lluM", vm->cfg.cpu, (unsigned long long)(vm->cfg.ram_bytes / MiB));
}

/* --lockstep, --record, --replay: the queue of inputs and its file. */
static int create_inputs(struct vm *vm)
{
    struct machine_config *cfg = &vm->cfg;
    char text[55];
    int err = 0;
    if (!cfg->lockstep && !cfg->record && !cfg->replay)
        return 0;
    if (!cfg->kernel) {
        error_report(
            "--lockstep, --record and --replay need -kernel: firmware and drives are not followed yet");
        return -EINVAL;
    }
    if (cfg->engine != ENGINE_BT && !cfg->replay) {
        error_report("--lockstep and --record need --engine=bt, which counts instructions");
        return -EINVAL;
    }
    if (cfg->replay && (cfg->lockstep || cfg->record)) {
        error_report("--replay excludes --lockstep and --record: a replay is compared with the recorded run");
        return -EINVAL;
    }
    vm->inputs = calloc(1, sizeof(*vm->inputs));
    vm->follower = cfg->replay ? calloc(1, sizeof(*vm->follower)) : NULL;
    if (!vm->inputs || inputs_init(vm->inputs) || (cfg->replay && !vm->follower))
        return -ENOMEM;
    machine_identity(vm, text);
    if (cfg->record && (err = inputs_record(vm->inputs, cfg->record, text)))
        error_report("--record: cannot write '%s': %s", cfg->record, strerror(-err));
    if (cfg->replay && (err = inputs_replay(vm->inputs, cfg->replay, text)))
        error_report("--replay: '%s': %s", cfg->replay,
                     err == -EPROTO ? "not a log of this machine (-cpu and -m must be as recorded)"
                                    : strerror(-err));
    return err ? -EINVAL : 0;
}

_Static_assert(KICK_FRAGMENT == KICKS_FRAGMENT && KICK_INSTRUCTION == KICKS_INSTRUCTION &&
                   KICK_HOST == KICKS_HOST,
               "machine.h");

static int create_monitor(struct vm *vm)
{
    struct machine_config *cfg = &vm->cfg;
    for (int i = 0; i < MACHINE_SYMBOLS && cfg->symbols[i]; i++) {
        struct symbols *more;
        int bad = symbols_from_file(cfg->symbols[i], &more);
        if (!bad && i == 0) { /* in place of the kernel's own */
            symbols_free(vm->symbols);
            vm->symbols = NULL;
        }
        if (!bad && !symbols_merge(&vm->symbols, more))
            bad = -ENOMEM;
        if (bad) {
            error_report("--symbols: '%s': %s", cfg->symbols[i],
                         bad == -EINVAL ? "neither a 32-bit ELF file with symbols nor a list as System.map"
                                        : strerror(-bad));
            return -EINVAL;
        }
    }
    if (cfg->dump_symbol && !symbols_range(vm->symbols, cfg->dump_symbol, &cfg->dump_lo, &cfg->dump_hi)) {
        error_report(
            "--dump: the kernel has no symbol '%s'%s", cfg->dump_symbol,
            vm->symbols
                ? ""
                : " (only multiboot ELF kernels have symbols, and --symbols); give addresses, 0xLO-0xHI");
        return -EINVAL;
    }
    if (cfg->engine != ENGINE_BT && cfg->code_cache) {
        error_report("--code-cache needs --engine=bt: the interpreter translates nothing");
        return -EINVAL;
    }
    if (cfg->engine != ENGINE_BT)
        return 0;
    if (cfg->perf_map && perf_map_create(vm) < 0)
        return -EINVAL;
    struct monitor_config mc = {
        .code_made = vm->perf_map ? perf_map_code : NULL,
        .code_opaque = vm->perf_map,
        .tcache_bytes = cfg->tcache_bytes,
        .windows_always = cfg->windows_always,
        .tick = true,
        .count = cfg->count,
        .dump = cfg->dump,
        .dump_lo = cfg->dump_lo,
        .dump_hi = cfg->dump_hi,
        .verify = cfg->verify,
        .kicks = (enum monitor_kicks)cfg->kick,
        .kick_times = cfg->kick_times,
        .count_arms = cfg->kick_arms,
        .exact = vm->inputs != NULL,
        .sync = cfg->lockstep ? lockstep_sync : NULL,
        .due = replay_due,
        .exact_opaque = vm,
        .symbol = report_symbol,
        .opaque = vm,
    };
    int err = monitor_create(vm->cpu, vm->mem, &mc);
    if (err) {
        error_report("cannot set up binary translation: %s (--engine=interp runs without)", strerror(-err));
        return err;
    }
    vm->have_monitor = true;
    if (cfg->code_cache && (err = code_cache_load(vm)))
        return err;
    if (cfg->lockstep && !(vm->lockstep = lockstep_create(vm)))
        return -ENOMEM;
    return 0;
}

struct vm *machine_create(const struct machine_config *cfg, int *status)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    if (!vm) {
        error_report("no host memory for the machine");
        *status = EXIT_HOST;
        return NULL;
    }
    vm->cfg = *cfg;
    vm->signals = open_signals();
    int err = create_memory(vm);
    err = err ? err : create_inputs(vm);
    err = err ? err : create_cpu(vm);
    if (!err)
        wiring_memory(vm);
    err = err ? err : wiring_devices(vm);
    err = err ? err : machine_boot(vm); /* after the devices: the tables say what there is */
    err = err ? err : create_monitor(vm);
    if (err) {
        machine_destroy(vm);
        *status = err == -EINVAL ? EXIT_USAGE : EXIT_HOST; /* -EINVAL: the command line or the images */
        return NULL;
    }
    return vm;
}

void machine_destroy(struct vm *vm)
{
    if (!vm)
        return;
    bug_set_dumper(NULL, NULL);
    if (vm->started)
        bus_stop(vm->bus);
    display_destroy(vm->display);
    lockstep_destroy(vm->lockstep);
    if (vm->have_monitor)
        monitor_destroy(vm->cpu);
    if (vm->bus)
        bus_destroy(vm->bus);
    if (vm->have_shadow)
        shadow_destroy(vm->cpu);
    if (vm->cpu)
        cpu_destroy(vm->cpu);
    if (vm->mem)
        memory_destroy(vm->mem);
    host_signals_close(vm->signals);
    firmware_destroy(vm);
    tables_destroy(vm);
    perf_map_destroy(vm->perf_map);
    free(vm->phases);
    symbols_free(vm->symbols);
    if (vm->inputs)
        inputs_done(vm->inputs);
    free(vm->inputs);
    free(vm->follower);
    free(vm);
}
