/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The I/O bus and the devices of a PC.
 *
 * All device code runs under one lock (bus_lock), taken by the vCPU thread around port and MMIO accesses and
 * by the event thread around timers and host input. A device is a struct of its own, one create call that
 * registers its ports, and one field table used for reset and (later) migration. Devices see the CPU only
 * through struct bus_host.
 */
#ifndef NOVT_DEVICES_DEVICES_H
#define NOVT_DEVICES_DEVICES_H

#include <stdio.h>
#include "base/types.h"

struct bus;

/* What devices ask of the machine. All but wake() are called with the bus lock held. */
struct bus_host {
    void (*set_intr)(void *opaque, int level); /* INTR of the CPU: from the 8259A, the local APIC, or both */
    /* INTR rose: make the CPU look at it. Called by whoever raised it, once it has released the lock: telling
     * another thread can take longer than that thread takes to come for the lock. NULL: not of interest. */
    void (*wake)(void *opaque);
    void (*raise_nmi)(void *opaque);
    /* Port 92h, i8042, CF9h; hard: CF9h's, of the whole board and not of the processor only. */
    void (*request_reset)(void *opaque, bool hard);
    void (*request_quit)(void *opaque, int status); /* debug exit, user quit: process exit status */
    void (*set_a20)(void *opaque, int enabled);
    void *opaque;
    /* DMA: guest-physical memory, on the vCPU thread only (see bus_defer()). NULL: none. */
    void (*mem_read)(void *opaque, u64 gpa, void *buf, u64 len);
    void (*mem_write)(void *opaque, u64 gpa, const void *buf, u64 len);
    /* Something was queued by bus_defer(): make the vCPU thread call bus_run_deferred() soon. */
    void (*deferred)(void *opaque);
    /* The guest switched the power off (ACPI soft-off). NULL: request_quit(0). */
    void (*request_shutdown)(void *opaque);
    /* What follows may use the FPU: called first in accesses that are not light. Any thread. NULL: so may
     * all. */
    void (*heavy)(void *opaque);
    bool quick_ports; /* the CPU may call struct port_ops' quick functions */
};

/* ---- bus ---- */

struct port_ops {
    u32 (*read)(void *opaque, u16 port, int size); /* size 1, 2 or 4; port is absolute */
    void (*write)(void *opaque, u16 port, int size, u32 val);
    /* The byte that reading the port gives now, if reading changes nothing at all, else -1. The CPU may then
     * read it without asking, until the next write to the range, a read of it for which peek says -1, or
     * bus_port_changed(). NULL: never. */
    int (*peek)(void *opaque, u16 port);
    /* Reads the byte that read() would give, at once: on the CPU's thread straight out of translated code,
     * without the lock, so from what only the CPU's accesses change. Else -1, and nothing has changed. It is
     * light code, does nothing that anybody beside the device could notice (no interrupt, timer or callback),
     * and has no string instructions. Not together with peek. NULL: none. */
    int (*quick)(void *opaque, u16 port);
    /* read and write are light code (light.c): the guest's FPU state may stay where it is. */
    bool light;
};

struct bus *bus_create(const struct bus_host *host);
void bus_destroy(struct bus *b); /* destroys all devices, stops the event thread */
void bus_lock(struct bus *b);
void bus_unlock(struct bus *b);
const struct bus_host *bus_host(struct bus *b);

/* Claims ports [base, base+count). Accesses of sizes not in `sizes` (bit mask 1|2|4) are split into smaller
 * ones, as ISA does. Returns 0, -EEXIST, or -EINVAL (beyond FFFFh). Unclaimed ports read all ones. */
int bus_add_ports(struct bus *b, u16 base, u16 count, int sizes, const struct port_ops *ops, void *opaque);
/* The CPU's accesses; take the lock themselves. */
u32 bus_in(struct bus *b, u16 port, int size);
void bus_out(struct bus *b, u16 port, int size, u32 val);
/* What peek() said of these ports is no longer so (for another reason than an access). Lock held. */
void bus_port_changed(struct bus *b, u16 base, u16 count);
/* Each port: BUS_PORT_VALUE | value where it may be read without asking; BUS_PORT_QUICK | number of the quick
 * function that gives the byte; else 0. */
#define BUS_PORT_VALUE 0x100u
#define BUS_PORT_QUICK 0x200u
#define BUS_QUICK_MAX  256
struct port_table {
    u16 port[65536];
    struct {
        int (*read)(void *opaque, u16 port);
        void *opaque;
    } quick[BUS_QUICK_MAX];
};
const struct port_table *bus_port_table(const struct bus *b);
/* ISA interrupt lines 0..15: level 0 or 1. */
void bus_set_irq(struct bus *b, int irq, int level);
/* NMI from the board: through LINT1 where there is a local APIC. Lock held. */
void bus_raise_nmi(struct bus *b);
/* INTA cycle: the vector, or -1 if nothing is pending (a spurious interrupt gives the PIC's IRQ 7 vector, not
 * -1). Takes the lock itself. */
int bus_intr_ack(struct bus *b);
/* Gives ports back that bus_add_ports() claimed with the same base and count (a moved PCI I/O BAR). */
void bus_remove_ports(struct bus *b, u16 base, u16 count);

/* Device life: create calls register one of these; reset runs in registration order. */
struct device_field {
    const char *name;
    u32 offset, size; /* within the device's struct; size in bytes */
    u64 reset;        /* value at reset, for sizes 1, 2, 4, 8; larger fields are cleared */
    bool keep;        /* not changed by reset */
};
struct device_desc {
    const char *name;
    const struct device_field *fields; /* ends with name = NULL */
    void (*reset)(void *dev);          /* after the fields were reset; may be NULL */
    void (*destroy)(void *dev);        /* frees dev */
};
/* Puts the device into its reset state at once, so that it can be used without a bus_reset(). */
void bus_add_device(struct bus *b, const struct device_desc *desc, void *dev);
/* Takes the lock itself; calls set_intr() if INTR was up, and set_a20(1). */
void bus_reset(struct bus *b);

/* ---- time and the event thread ---- */

/* The guest's time in ns since the machine started: the host's CLOCK_MONOTONIC, less the time it was stopped.
 */
u64 bus_now(struct bus *b);
/* The host's time since then, which never stops: for consoles and displays, which work while the machine is
 * paused. */
u64 bus_host_now(struct bus *b);
/* Stops the guest's time, and with it every timer of bus_timer_new(); lets it go on where it stood.
 * Idempotent. */
void bus_stop_clock(struct bus *b);
void bus_start_clock(struct bus *b);
struct bus_timer;
typedef void (*bus_timer_fn)(void *opaque, u64 now_ns);
struct bus_timer *bus_timer_new(struct bus *b, bus_timer_fn fn, void *opaque);      /* bus_now() */
struct bus_timer *bus_host_timer_new(struct bus *b, bus_timer_fn fn, void *opaque); /* bus_host_now() */
void bus_timer_set(struct bus_timer *t, u64 deadline_ns);                           /* absolute; 0 disarms */
/* Calls fn on the event thread (lock held) when fd is readable, until removed. */
void bus_watch_fd(struct bus *b, int fd, void (*fn)(void *opaque), void *opaque);
void bus_unwatch_fd(struct bus *b, int fd);
int bus_start(struct bus *b); /* starts the event thread; 0 or a negative errno */
void bus_stop(
    struct bus *b); /* stops and joins it; the caller must not hold the lock; bus_start() may follow */
/* For tests: replaces the clock behind bus_now() (fn NULL: the host's again). */
void bus_set_clock(struct bus *b, u64 (*fn)(void *opaque), void *opaque);
/* Runs the timers that are due now, as the event thread does; takes the lock. For tests and for machines
 * without the thread. */
void bus_run_timers(struct bus *b);
/* Deadline of the earliest armed timer of either clock, or 0. Lock held. */
u64 bus_next_deadline(struct bus *b);

/* A CPU that sleeps is best woken by itself: while asleep() says so, the event thread leaves the guest's
 * timers to bus_run_guest_timers(), and does what is not done in time. Called on the event thread, lock held;
 * NULL: never. Before bus_start(). */
void bus_share_timers(struct bus *b, bool (*asleep)(void *opaque), void *opaque);
/* The caller is the CPU's thread: as far as the host allows, the event thread keeps off the processor that
 * the CPU's thread runs on. Before bus_start(). */
void bus_cpu_thread(struct bus *b);
/* Runs the guest's timers that are due; takes the lock. How long until the next one is, in ns, UINT64_MAX if
 * there is none (or the clock stands still). */
u64 bus_run_guest_timers(struct bus *b);

/* ---- DMA and work for the vCPU thread ---- */

/* Guest-physical memory is watched by structures that belong to the vCPU thread, so devices touch it on that
 * thread only: in port accesses, or in a deferred call. Lock held. Without a machine, reads give all ones. */
void bus_mem_read(struct bus *b, u64 gpa, void *buf, u64 len);
void bus_mem_write(struct bus *b, u64 gpa, const void *buf, u64 len);
/* A piece of work for the vCPU thread, embedded in its owner; queued at most once at a time. */
struct bus_work {
    void (*fn)(void *opaque);
    void *opaque;
    struct bus_work *next;
    bool queued;
};
void bus_defer(struct bus *b, struct bus_work *w); /* any thread, with or without the lock */
void bus_cancel(struct bus *b, struct bus_work *w);
void bus_run_deferred(struct bus *b); /* takes the lock; on the vCPU thread */

/* ---- character back ends ---- */

struct chardev;
/* Input from the host reaches the front end through this; returns how many bytes it took (the rest is kept
 * and offered again after chardev_accept()). */
struct chardev_frontend {
    int (*receive)(void *opaque, const u8 *buf, int len);
    void *opaque;
    void (*send_break)(void *opaque); /* Ctrl-A b; may be NULL */
    /* A peer is there (called at once where there always is one), and is gone. May be NULL. Lock held. */
    void (*opened)(void *opaque);
    void (*closed)(void *opaque);
    void (*focused)(void *opaque); /* of a share (mux:): typed input comes here from now on; may be NULL */
};
/* Opens a back end by its name, as in -serial:
 *   null   stdio   file:PATH   pipe:PATH (PATH.in and PATH.out, or PATH)
 *   unix:PATH[,server=on][,wait=off]   tcp:[HOST]:PORT[,server=on][,wait=off]
 *   mux:NAME   a share of NAME: Ctrl-A c takes the input from one to the next
 * server and nowait alone mean server=on and wait=off. A server takes one client at a time, and the next when
 * that is gone; without a client output is dropped. Sockets on paths can be used by their owner only; a TCP
 * server without HOST listens on the loopback. NULL with a message for the user in err. */
struct chardev *chardev_open(struct bus *b, const char *name, char *err, size_t err_size);
/* Back ends belong to the bus and die with it. stdio: raw terminal if stdin is one (restored at exit and on
 * fatal signals); Ctrl-A x quits, Ctrl-A c switches (mux:), Ctrl-A b sends a break, Ctrl-A h prints
 * help, Ctrl-A Ctrl-A sends Ctrl-A. stdin at EOF or not a terminal is fine. A second call on the same bus
 * gives the same back end. */
struct chardev *chardev_stdio(struct bus *b);
struct chardev *chardev_file(struct bus *b, const char *path); /* output only; NULL with errno */
struct chardev *chardev_null(struct bus *b);
/* Output goes to fn (lock held); input comes from chardev_feed(). For tests and for consoles inside novt. */
struct chardev *chardev_fn(struct bus *b, void (*fn)(void *opaque, const u8 *buf, int len), void *opaque);
/* Queues input as if it had come from the host; returns how many bytes fitted. Lock held. */
int chardev_feed(struct chardev *c, const u8 *buf, int len);
void chardev_set_frontend(struct chardev *c, const struct chardev_frontend *f);
void chardev_write(struct chardev *c, const u8 *buf, int len);
void chardev_accept(struct chardev *c); /* the front end has room again */
/* Gives bytes back that the front end took but the guest did not read; they are offered again first. At most
 * 64 are kept. */
void chardev_unread(struct chardev *c, const u8 *buf, int len);
/* Writes out what can be written without waiting; how much is left. Lock held. */
void chardev_push(struct chardev *c);
u32 chardev_pending(const struct chardev *c);
/* Hangs up on the peer of a socket, once it has what was written. Lock held. */
void chardev_hangup(struct chardev *c);
/* Writes out what is buffered, waiting for a slow reader. */
void chardev_flush(struct chardev *c);
/* Puts the terminal back as it was. Async-signal-safe; for crash paths. The usual exits and fatal signals do
 * it by themselves. */
void chardev_restore_terminal(void);

/* ---- devices: each create call registers ports, fields and timers ---- */

int pic_create(struct bus *b);               /* two 8259A at 20h, A0h, ELCR at 4D0h */
void pic_describe(struct bus *b, FILE *out); /* for people; lock held */
int pit_create(struct bus *b);               /* 8254 at 40h, port 61h gate and speaker bits */
int rtc_create(struct bus *b, const char *base,
               u64 ram_bytes); /* MC146818 at 70h, IRQ 8; base: "utc", "localtime", "YYYY-MM-DD[Thh:mm:ss]";
                                  -EINVAL: none of these */
void rtc_cmos_set(struct bus *b, u8 index, u8 val); /* CMOS byte, for the machine's wiring */
u8 rtc_cmos_get(struct bus *b, u8 index);           /* likewise; not a byte of the time */
int i8042_create(struct bus *b);  /* 60h/64h: self test, reset line, A20, no keyboard attached yet */
int port92_create(struct bus *b); /* system control port A: A20, fast reset */
int uart_create(struct bus *b, u16 base, int irq, struct chardev *c);     /* 16550A */
int parallel_create(struct bus *b, u16 base, int irq, struct chardev *c); /* SPP; bytes printed go to c */
int pci_create(
    struct bus *b); /* configuration mechanism 1 at CF8h/CFCh (CF9h: reset), i440FX host bridge at 0:0.0 */
int debugcon_create(struct bus *b, u16 base,
                    struct chardev *c);                   /* port E9h: writes go to c, reads give E9h */
int debug_exit_create(struct bus *b, u16 base, u16 size); /* isa-debug-exit: exit status (value << 1) | 1 */
int dma_create(struct bus *b);                            /* two 8237A with page registers; port 80h */

#endif
