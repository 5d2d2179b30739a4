/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The board: which device sits where, and how CPU, memory and bus reach each other.
 *
 * The CPU's side of each wire is called with the guest's FPU state in the host's registers, so the functions
 * that light code calls park it before they enter heavy code, and are compiled without SSE themselves
 * (LIGHT); port accesses leave that to the bus, which knows the devices that are light. The bus's side
 * (set_intr, request_*) is called with the bus lock held, from the vCPU thread or the event thread.
 */
#include "machine/lockstep.h"
#include "machine/vm.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/opts.h"
#include "base/syscall.h"
#include "devices/apic.h"
#include "devices/fdc.h"
#include "devices/ide.h"
#include "devices/piix.h"
#include "devices/ps2.h"
#include "devices/screen.h"
#include "display/display.h"
#include "monitor/monitor.h"
#include "shadowpt/shadowpt.h"

_Static_assert(PORT_VALUE == BUS_PORT_VALUE && PORT_QUICK == BUS_PORT_QUICK &&
                   PORT_QUICK_OFF == offsetof(struct port_table, quick[0].read) &&
                   PORT_QUICK_OFF + 8 == offsetof(struct port_table, quick[0].opaque),
               "the CPU reads what the bus wrote");

#define LIGHT __attribute__((target("general-regs-only")))

/* ---- CPU -> bus ---- */

/* A device may have asked for reset or quit: act on it at the next instruction rather than at the next kick.
 */
LIGHT static void take_requests(struct vcpu *v, struct vm *vm)
{
    u32 req = __atomic_load_n(&vm->requests, __ATOMIC_ACQUIRE);
    if (unlikely(req))
        v->events |= (req & REQ_QUIT ? EV_QUIT : 0) | (req & REQ_RESET ? EV_RESET : 0) |
                     (req & REQ_SHUTDOWN ? EV_STOP : 0);
}

LIGHT static u32 cpu_io_in(struct vcpu *v, u16 port, int size)
{
    struct vm *vm = v->vm;
    u32 val = bus_in(vm->bus, port, size);
    if (unlikely(vm->inputs)) {
        cpu_fpu_park(v);
        record_input(vm, INPUT_IN, port, size, val);
    }
    take_requests(v, vm);
    return val;
}

LIGHT static void cpu_io_out(struct vcpu *v, u16 port, int size, u32 val)
{
    struct vm *vm = v->vm;
    bus_out(vm->bus, port, size, val);
    if (unlikely(vm->inputs)) {
        cpu_fpu_park(v);
        record_input(vm, INPUT_OUT, port, size, val | (u64)v->fpu_ignne << 32);
    }
    take_requests(v, vm);
}

LIGHT static int cpu_intr_ack(struct vcpu *v)
{
    struct vm *vm = v->vm;
    int vector = bus_intr_ack(vm->bus);
    if (unlikely(vm->inputs) && vector >= 0) {
        cpu_fpu_park(v);
        record_input(vm, INPUT_INTR, 0, 0, (u64)vector);
    }
    return vector;
}

LIGHT static void recorded_nmi(struct vcpu *v)
{
    cpu_fpu_park(v);
    record_input(v->vm, INPUT_NMI, 0, 0, 0);
}

LIGHT static u64 recorded_tsc(struct vcpu *v)
{
    struct vm *vm = v->vm;
    u64 now = __builtin_ia32_rdtsc() + v->tsc_offset;
    cpu_fpu_park(v);
    record_input(vm, INPUT_TSC, 0, 0, now);
    return now;
}

LIGHT static void cpu_ferr(struct vcpu *v, int level)
{
    struct vm *vm = v->vm;
    bus_lock(vm->bus);
    bus_set_irq(vm->bus, 13, level);
    bus_unlock(vm->bus);
}

LIGHT static void cpu_apic_base(struct vcpu *v, u64 val)
{
    cpu_fpu_park(v);
    apic_set_base(((struct vm *)v->vm)->bus, val);
}

LIGHT static u64 cpu_tsc_deadline(struct vcpu *v)
{
    cpu_fpu_park(v);
    return apic_tsc_deadline(((struct vm *)v->vm)->bus);
}

LIGHT static void cpu_set_tsc_deadline(struct vcpu *v, u64 val)
{
    cpu_fpu_park(v);
    apic_set_tsc_deadline(((struct vm *)v->vm)->bus, val);
}

#define CPU_OPS                                                                                              \
    SHADOW_CPU_OPS, .io_in = cpu_io_in, .io_out = cpu_io_out, .intr_ack = cpu_intr_ack, .ferr = cpu_ferr,    \
                    .apic_base = cpu_apic_base, .tsc_deadline = cpu_tsc_deadline,                            \
                    .set_tsc_deadline = cpu_set_tsc_deadline,

static const struct cpu_ops wiring_cpu_ops = {CPU_OPS.fpu_env = monitor_fpu_env};
static const struct cpu_ops wiring_recorded_ops = {CPU_OPS.tsc = recorded_tsc, .fpu_env = follow_fpu_env,
                                                   .nmi_taken = recorded_nmi};
#undef CPU_OPS

/* The same where somebody asked where the time goes (base/phases.h). */
LIGHT static u32 timed_in(struct vcpu *v, u16 port, int size)
{
    enum phase was = phase_begin(v->phases, PHASE_port);
    u32 val = cpu_io_in(v, port, size);
    phase_end(v->phases, was);
    return val;
}

LIGHT static void timed_out(struct vcpu *v, u16 port, int size, u32 val)
{
    enum phase was = phase_begin(v->phases, PHASE_port);
    cpu_io_out(v, port, size, val);
    phase_end(v->phases, was);
}

LIGHT static void timed_cr3(struct vcpu *v)
{
    enum phase was = phase_begin(v->phases, PHASE_paging);
    shadow_cr3_loaded(v);
    phase_end(v->phases, was);
}

LIGHT static void timed_paging(struct vcpu *v)
{
    enum phase was = phase_begin(v->phases, PHASE_paging);
    shadow_paging_changed(v);
    phase_end(v->phases, was);
}

LIGHT static void timed_invlpg(struct vcpu *v, u32 lin)
{
    enum phase was = phase_begin(v->phases, PHASE_paging);
    shadow_invlpg(v, lin);
    phase_end(v->phases, was);
}

const struct cpu_ops *wiring_ops(struct vm *vm)
{
    vm->ops = vm->inputs ? wiring_recorded_ops : wiring_cpu_ops;
    if (vm->cfg.stats) {
        vm->ops.io_in = timed_in;
        vm->ops.io_out = timed_out;
        vm->ops.cr3_loaded = timed_cr3;
        vm->ops.paging_changed = timed_paging;
        vm->ops.invlpg = timed_invlpg;
    }
    return &vm->ops;
}

/* ---- memory-mapped I/O ---- */

/* Another thread's access is not the vCPU's time. */
LIGHT static struct phases *phases_here(struct vm *vm)
{
    return unlikely(vm->cpu->phases) && vm->thread == host_thread() ? vm->cpu->phases : NULL;
}

LIGHT static void io_enter(void *opaque)
{
    struct vm *vm = opaque;
    enum phase was = phase_begin(phases_here(vm), PHASE_mmio);
    cpu_fpu_park(vm->cpu);
    bus_lock(vm->bus);
    vm->mmio_from = was;
}

LIGHT static void io_leave(void *opaque)
{
    struct vm *vm = opaque;
    enum phase was = vm->mmio_from;
    bus_unlock(vm->bus);
    phase_end(phases_here(vm), was);
    take_requests(vm->cpu, vm);
}

void wiring_memory(struct vm *vm)
{
    memory_set_io_gate(vm->mem, io_enter, io_leave, vm);
}

/* ---- bus -> CPU ---- */

/* Heavy code comes in an access that did not say so in advance. Before the machine runs there is only one
 * thread. */
LIGHT static void heavy(void *opaque)
{
    struct vm *vm = opaque;
    if (!vm->thread || vm->thread == host_thread())
        cpu_fpu_park(vm->cpu);
}

LIGHT static void set_intr(void *opaque, int level)
{
    struct vm *vm = opaque;
    __atomic_store_n(&vm->cpu->intr_line, (u32) !!level, __ATOMIC_SEQ_CST);
}

/* The vCPU's own thread looks at the line before it goes on with guest code. */
LIGHT static void wake(void *opaque)
{
    struct vm *vm = opaque;
    if (host_thread() != vm->thread)
        run_wake(vm);
}

LIGHT static void raise_nmi(void *opaque)
{
    struct vm *vm = opaque;
    __atomic_store_n(&vm->cpu->nmi_pending, 1, __ATOMIC_SEQ_CST);
    run_wake(vm);
}

static void request_reset(void *opaque, bool hard)
{
    run_request(opaque, hard ? REQ_RESET | REQ_HARD_RESET : REQ_RESET);
}

static void request_quit(void *opaque, int status)
{
    lifecycle_quit(opaque, status, "host-ui");
}

static void request_shutdown(void *opaque)
{
    run_request(opaque, REQ_SHUTDOWN);
}

static void set_a20(void *opaque, int enabled)
{
    struct vm *vm = opaque;
    LOG(dev, "A20 %s", enabled ? "enabled" : "disabled");
    if (vm->have_shadow)
        shadow_set_a20(vm->cpu, enabled);
}

/* DMA. Always on the vCPU thread, with the FPU parked. */
static void dma_read(void *opaque, u64 gpa, void *buf, u64 len)
{
    struct vm *vm = opaque;
    memory_read(vm->mem, gpa, buf, len);
}

static void dma_write(void *opaque, u64 gpa, const void *buf, u64 len)
{
    struct vm *vm = opaque;
    memory_write(vm->mem, gpa, buf, len);
}

static void deferred(void *opaque)
{
    run_request(opaque, REQ_WORK);
}

/* Ports F0h and F1h: writing clears the FERR# latch of IRQ 13, which reports x87 errors as on a PC/AT (CR0.NE
 * = 0), and asserts IGNNE# until FERR# goes away, so that the handler can use the FPU. Only the vCPU thread
 * gets here. */
static u32 coproc_read(void *opaque, u16 port, int size)
{
    return 0xff;
}

static void coproc_write(void *opaque, u16 port, int size, u32 val)
{
    struct vm *vm = opaque;
    if (vm->cpu->fpu_ferr)
        vm->cpu->fpu_ignne = 1;
    bus_set_irq(vm->bus, 13, 0);
}

static const struct port_ops coproc_ops = {coproc_read, coproc_write};

/* ---- devices ---- */

/* A character back end by its -serial name. NULL after reporting. "none" has no device at all and is not
 * asked for. */
static struct chardev *backend(struct vm *vm, const char *what, const char *name)
{
    char err[512];
    struct chardev *c = chardev_open(vm->bus, name, err, sizeof(err));
    if (!c)
        error_report("%s: %s", what, err);
    return c;
}

static int add_serial(struct vm *vm, int n, u16 base, int irq)
{
    const char *name = vm->cfg.serial[n];
    if (!name || !strcmp(name, "none"))
        return 0;
    struct chardev *c = backend(vm, n ? "second serial port" : "serial port", name);
    return c ? uart_create(vm->bus, base, irq, c) : -EIO;
}

static int add_parallel(struct vm *vm)
{
    const char *name = vm->cfg.parallel;
    if (!name || !strcmp(name, "none"))
        return 0;
    struct chardev *c = backend(vm, "parallel port", name);
    return c ? parallel_create(vm->bus, 0x378, 7, c) : -EIO;
}

static int add_debug_ports(struct vm *vm)
{
    const struct machine_config *cfg = &vm->cfg;
    int err = 0;
    if (cfg->debugcon && strcmp(cfg->debugcon, "none")) {
        struct chardev *c = backend(vm, "debug console", cfg->debugcon);
        err = c ? debugcon_create(vm->bus, cfg->debugcon_iobase ? cfg->debugcon_iobase : 0xe9, c) : -EIO;
    }
    if (!err && cfg->debug_exit_iobase >= 0)
        err = debug_exit_create(vm->bus, (u16)cfg->debug_exit_iobase, (u16)cfg->debug_exit_iosize);
    return err;
}

/* What a PC has besides. */
static int add_board(struct vm *vm)
{
    struct bus *b = vm->bus;
    int err = ps2_create(b, &vm->keyboard, &vm->mouse);
    err = err ? err : ide_create(b, &vm->ide);
    err = err ? err : fdc_create(b, &vm->fdc);
    if (!err && vm->cfg.vga)
        err = vga_create(b, vm->mem, &vm->vga);
    if (!err && vm->vga && vm->cfg.screen)
        err = screen_create(b, vm->vga, vm->cfg.screen);
    if (!err && vm->cfg.keyboard) {
        struct chardev *c = backend(vm, "keyboard", vm->cfg.keyboard);
        if (!c)
            return -EIO;
        ps2_set_source(vm->keyboard, c);
    }
    err = err ? err : drives_create(vm);
    const struct display_config display = {.vnc = vm->cfg.vnc, .curses = vm->cfg.curses};
    return err ? err : display_create(b, vm->vga, vm->keyboard, vm->mouse, &display, &vm->display);
}

static u64 host_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

/* For the APIC's timer: the guest's time stamp counter, and the host's. */
static u64 guest_tsc(void *opaque)
{
    struct vm *vm = opaque;
    return __builtin_ia32_rdtsc() + __atomic_load_n(&vm->cpu->tsc_offset, __ATOMIC_RELAXED);
}

/* From all the time since the machine was made; the clocks of the host, which no pause stops. */
static u64 tsc_hz(void *opaque)
{
    struct vm *vm = opaque;
    u64 ns = host_ns() - vm->start_ns;
    return ns ? (u64)((unsigned __int128)(__builtin_ia32_rdtsc() - vm->start_tsc) * 1000000000u / ns) : 0;
}

static int add_apics(struct vm *vm)
{
    struct apic_host host = {.opaque = vm};
    if (!(vm->model.features & CPUF_APIC))
        return 0;
    if (vm->model.featuresx & CPUFX_DEADLINE) {
        host.tsc = guest_tsc;
        host.tsc_hz = tsc_hz;
        vm->start_tsc = __builtin_ia32_rdtsc();
        vm->start_ns = host_ns();
    }
    int err = apic_create(vm->bus, vm->mem, &host);
    return err ? err : ioapic_create(vm->bus, vm->mem);
}

int wiring_devices(struct vm *vm)
{
    struct bus_host host = {.set_intr = set_intr,
                            .wake = wake,
                            .raise_nmi = raise_nmi,
                            .request_reset = request_reset,
                            .request_quit = request_quit,
                            .request_shutdown = request_shutdown,
                            .set_a20 = set_a20,
                            .opaque = vm,
                            .mem_read = dma_read,
                            .mem_write = dma_write,
                            .deferred = deferred,
                            .heavy = heavy,
                            .quick_ports = vm->cpu->opts & OPT(quickports)};
    vm->bus = bus_create(&host);
    if (!vm->bus) {
        error_report("no host memory for the devices");
        return -ENOMEM;
    }
    if (!vm->inputs) /* recorded and compared runs see every access */
        vm->cpu->ports = bus_port_table(vm->bus);
    struct bus *b = vm->bus;
    const char *rtc = vm->cfg.rtc_base ? vm->cfg.rtc_base : "utc";
    int err = add_apics(vm);
    err = err ? err : pic_create(b);
    err = err ? err : pit_create(b);
    if (!err && (err = rtc_create(b, rtc, vm->cfg.ram_bytes)) == -EINVAL) {
        error_report("-rtc base=%s: give utc, localtime or a date such as 2024-02-29T13:00:00", rtc);
        return err;
    }
    err = err ? err : i8042_create(b);
    err = err ? err : port92_create(b);
    err = err ? err : pci_create(b);
    err = err ? err : dma_create(b);
    err = err ? err : bus_add_ports(b, 0xf0, 2, 1, &coproc_ops, vm);
    err = err ? err : add_serial(vm, 0, 0x3f8, 4);
    err = err ? err : add_serial(vm, 1, 0x2f8, 3);
    err = err ? err : add_parallel(vm);
    err = err ? err : add_debug_ports(vm);
    err = err ? err : piix3_create(b, &vm->piix3);
    err = err ? err : piix4_pm_create(b, vm->piix3, &vm->pm);
    if (!err && vm_whole_board(vm))
        err = add_board(vm);
    err = err ? err : tables_create(vm);
    if (!err && !vm->cfg.kernel)
        err = firmware_create(vm);
    if (err == -EEXIST) {
        error_report("a device's I/O ports are taken by another one: choose another iobase");
        err = -EINVAL; /* the command line's fault */
    } else if (err && err != -EIO) {
        error_report("cannot create the devices: %s", strerror(-err));
    }
    return err;
}
