/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's own view of itself; private to machine/. */
#ifndef NOVT_MACHINE_VM_H
#define NOVT_MACHINE_VM_H

#include <pthread.h>
#include "cpu/cpu.h"
#include "devices/devices.h"
#include "machine/lifecycle.h"
#include "machine/boot.h"
#include "machine/drives.h"
#include "machine/machine.h"
#include "machine/symbols.h"
#include "memory/memory.h"

/* Requests to the vCPU's run loop from devices and signals; in vm->requests. */
#define REQ_RESET      1u
#define REQ_QUIT       2u
#define REQ_WORK       4u /* bus_run_deferred() */
#define REQ_STOP       8u
#define REQ_CONT       16u
#define REQ_POWERDOWN  32u
#define REQ_HOST_RESET 128u /* the user's reset button */
#define REQ_HARD_RESET 256u /* with REQ_RESET: of the board, and not of the processor only */
#define REQ_SHUTDOWN   64u  /* the guest switched the power off */

struct firmware;

struct vm {
    struct machine_config cfg;
    struct memory *mem;
    struct bus *bus;
    struct vcpu *cpu;
    struct cpu_ops ops; /* the CPU's */
    struct cpu_model model;
    struct symbols *symbols;
    struct perf_map *perf_map; /* NULL: not asked for */
    bool have_monitor, have_shadow, started;
    struct host_signals *signals; /* SIGINT, SIGTERM, SIGHUP; NULL: none are taken */
    u64 signal_ns;                /* when the first terminating signal came, or 0 */
    u32 requests;                 /* REQ_*, atomic */
    int quit_status;              /* written once, before REQ_QUIT is set */
    const char *quit_reason;      /* the same */
    u32 quitting;                 /* atomic: somebody writes quit_status */
    u32 state;                    /* enum run_state, atomic; written by the vCPU thread */
    u64 stopped_tsc;              /* the host's TSC when the guest's time stopped */
    enum { STEP_NONE, STEP_STOP, STEP_OVER } step;
    bool step_interrupts;
    struct machine_observer *observers;
    /* Where a halted vCPU sleeps: see run_wait(). Both atomic; `woken` counts. */
    u32 sleeping, woken;
    u64 thread; /* host_thread() of the vCPU's, once it runs */
    /* exact runs (machine/lockstep.h); NULL unless asked for */
    struct inputs *inputs; /* recorded, or to be replayed */
    struct lockstep *lockstep;
    struct follower *follower; /* replay: the CPU's source of input */
    struct firmware *firmware; /* NULL: the kernel is loaded directly */
    struct piix3 *piix3;
    struct piix4_pm *pm;
    struct ide *ide;
    struct fdc *fdc;
    struct vga *vga;
    struct ps2 *keyboard, *mouse;
    struct display *display; /* NULL: nobody looks */
    u8 cmos_disks, cmos_translation;
    u64 kick_delivered; /* --kick=irq: stats.interrupts when the last one was raised */
    bool kick_raised;
    u8 kick_nmi; /* --kick=nmi: 0: none under way, then the steps of kick_nmi() */
    struct {
        const struct drive_config *cfg; /* NULL: a drive that nobody asked for */
    } drive[DRIVE_SLOTS];               /* IDE 0-3, floppy 0-1 */
    struct machine_observer drive_observer;
    u64 start_tsc, start_ns; /* the host's two clocks when the machine was made */
    bool booted;             /* has been reset since */
    struct phases *phases;   /* --stats: where the vCPU thread's time goes */
    u64 phases_ns;           /* when that began, by the host's clock */
    enum phase mmio_from;    /* the phase before a memory-mapped access; under the bus lock */
    struct tables *tables;   /* for the guest, or its firmware */
};

/* machine/wiring.c: everything between the parts. */
/* What the CPU calls; in vm->ops. */
const struct cpu_ops *wiring_ops(struct vm *vm);
/* Creates the bus and all devices. Returns 0 or a negative errno after reporting it. */
int wiring_devices(struct vm *vm);
void wiring_memory(struct vm *vm); /* I/O gate */

/* machine/boot_cpu.c: loads the guest and puts the CPU at its entry. Returns 0, or -EINVAL after reporting
 * it. */
int machine_boot(struct vm *vm);

/* machine/drives.c: opens the images and connects them; after the controllers. The same. */
int drives_create(struct vm *vm);
void drives_boot_order(struct vm *vm); /* tells the firmware, through the CMOS */

/* machine/firmware.c: maps the BIOS and its shadow RAM, and creates fw_cfg; after all devices. Returns 0 or a
 * negative errno after reporting it. */
int firmware_create(struct vm *vm);
void firmware_destroy(struct vm *vm);
/* An option ROM's file from where distributions install them; the caller frees it. -ENOENT: not found. */
int firmware_read_rom(const char *name, u8 **image, u64 *size);

/* machine/textmode.c: the screen of a guest that is loaded directly. */
void textmode_set(struct vm *vm);
/* Does the board have what a PC has besides processor, memory and serial ports? A guest that is loaded
 * directly and has neither disks nor a screen needs none of it. */
static inline bool vm_whole_board(const struct vm *vm)
{
    const struct machine_config *c = &vm->cfg;
    return !c->kernel || c->ndrives || c->vnc || c->curses || c->screen || c->keyboard || c->vga_given;
}
static inline bool vm_has_screen(const struct vm *vm)
{
    return vm->cfg.vga && vm_whole_board(vm);
}

/* machine/handover.c: builds the tables; after all devices. Returns 0 or a negative errno after reporting it.
 */
int tables_create(struct vm *vm);
void tables_destroy(struct vm *vm);
/* Adds them to the firmware's files. */
struct fwcfg;
void tables_to_firmware(struct vm *vm, struct fwcfg *fw);
/* A guest that is loaded directly: does what firmware would do to the board, and puts the tables into memory.
 */
void handover_direct(struct vm *vm);

/* machine/code_cache.c: --code-cache, when the monitor is made; when the guest has stopped for good. Returns
 * 0 or a negative errno after reporting it. */
int code_cache_load(struct vm *vm);
void code_cache_save(struct vm *vm);

/* machine/run.c: from any thread. */
void run_request(struct vm *vm, u32 request);
void run_wake(struct vm *vm);

/* machine/lifecycle.c, for the run loop. */
void lifecycle_begin(struct vm *vm);              /* before the first instruction */
void lifecycle_take(struct vm *vm, u32 requests); /* the requests that change the state */
void lifecycle_reset(struct vm *vm);              /* the machine has been reset */
void lifecycle_tell(struct vm *vm, enum machine_event event, bool guest, const char *reason);
/* A wish to end the machine. The first one counts. */
void lifecycle_quit(struct vm *vm, int status, const char *reason);
static inline bool lifecycle_running(const struct vm *vm)
{
    return vm->state == RUN_RUNNING;
}

/* machine/report.c */
void report_triple_fault(struct vm *vm);
void report_stats(struct vm *vm);
/* --stats: the phases (base/phases.h) begin now, on the vCPU's thread. */
void report_phases_start(struct vm *vm);
const char *report_symbol(void *vm, u32 eip, u32 *offset); /* for struct monitor_config */

#endif
