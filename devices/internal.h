/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this folder share and others need not see: the bus itself, and helpers for devices. */
#ifndef NOVT_DEVICES_INTERNAL_H
#define NOVT_DEVICES_INTERNAL_H

#include <pthread.h>
#include "devices/devices.h"

#define NS_PER_SEC 1000000000ull
#define NS_PER_MS  1000000ull
#define NS_PER_US  1000ull

struct port_range {
    const struct port_ops *ops; /* NULL: free slot */
    void *opaque;
    u32 base, count;
    u8 sizes;
};

/* The host's clock as a straight line: light.c. */
struct bus_clock {
    u32 seq;                  /* odd: being changed */
    bool steady;              /* the counter is good for it */
    u64 tsc, ns, mult, limit; /* ns at tsc; ns a cycle << 32; cycles for which it is good */
    u64 offset;               /* to CLOCK_MONOTONIC, ns */
    u64 anchor_tsc, anchor_ns, half_tsc, half_ns;
};

struct bus_device {
    const struct device_desc *desc;
    void *dev;
};

struct event_loop;
struct pic;

/* Keeps the event thread off the processor of the CPU's thread (apart.c). */
struct apart {
    const u32 *cpu; /* where that is, from its struct rseq; NULL: not known */
    int without;    /* the processor that the event thread does not run on, -1: none */
};

/* Called by the event thread when it has done its work, without the lock. Heavy. */
void apart_keep(struct apart *a);

struct bus {
    u32 lock, lock_depth; /* light.c; recursive: the machine's callbacks may come back */
    u64 lock_owner;
    struct bus_clock line;
    struct bus_host host;

    u16 *page[256]; /* port >> 8 -> index + 1 into ranges for each port; NULL: nothing there */
    struct port_range *ranges;
    u32 n_ranges, cap_ranges;
    struct port_table *table; /* written with the lock held */

    struct bus_device *devs;
    u32 n_devs, cap_devs;

    u64 (*clock)(void *opaque); /* test clock, or NULL */
    void *clock_opaque;
    u64 host_base;     /* CLOCK_MONOTONIC at creation, ns */
    u64 clock_base;    /* the same, moved on by the time that the machine was paused; atomic */
    u64 clock_stopped; /* 0: it runs; else what bus_now() says while it does not; atomic */
    struct event_loop *ev;
    bool (*cpu_asleep)(void *opaque); /* bus_share_timers(), or NULL */
    void *cpu_opaque;
    struct apart apart;

    struct pic *pic;
    struct apic *apic;                  /* NULL: none */
    struct ioapic *ioapic;              /* the same */
    u8 pic_intr;                        /* INTR of the master 8259A */
    u8 intr;                            /* the CPU's INTR as last told to the machine */
    u8 wake;                            /* it rose: host.wake() is due when the lock is released */
    void (*ack_hook[16])(void *opaque); /* the interrupt was acknowledged: its IRR bit is free again */
    void *ack_opaque[16];
    bool a20; /* the gate, as the keyboard controller or port 92h set it last */
    struct chardev *stdio;
    struct chardev *chardevs;  /* all of them */
    pthread_mutex_t work_lock; /* taken last; for the queue of bus_defer(): */
    struct bus_work *work, **work_tail;
};

/* event.c */
struct event_loop *event_create(void);
void event_destroy(struct bus *b);
bool event_running(struct bus *b);
u64 host_monotonic_ns(void);          /* CLOCK_MONOTONIC; heavy */
void event_look_again(struct bus *b); /* wakes the event thread, lock held */

/* light.c */
void bus_clock_init(struct bus *b);
/* bus_now(), or false where that takes more than a look at the time-stamp counter. */
bool bus_quick_now(struct bus *b, u64 *ns);
/* Whoever may use the FPU in an access that is light (struct port_ops): from here on the guest's state is out
 * of the way. */
void bus_heavy(struct bus *b);
#define LIGHT_LOG(b, ch, ...)                                                                                \
    do {                                                                                                     \
        if (LOG_ON(ch)) {                                                                                    \
            bus_heavy(b);                                                                                    \
            log_printf(LOG_##ch, __VA_ARGS__);                                                               \
        }                                                                                                    \
    } while (0)

/* bus.c: the master 8259A's INTR changes. */
void bus_pic_intr(struct bus *b, u8 level);
/* Would an edge of this ISA interrupt reach the CPU? Has the last one reached it, unanswered? */
bool bus_irq_open(struct bus *b, int irq);
bool bus_irq_waiting(struct bus *b, int irq);

/* pic.c */
void pic_set_irq(struct pic *p, int irq, int level);
int pic_ack(struct pic *p);
bool pic_irq_requested(struct pic *p, int irq); /* IRR bit */
bool pic_irq_masked(struct pic *p, int irq);    /* IMR bit */

/* Calls fn after each INTA (or poll) that took irq, lock held. */
void bus_set_ack_hook(struct bus *b, int irq, void (*fn)(void *opaque), void *opaque);
void bus_set_a20(struct bus *b, bool on);
void bus_request_reset(struct bus *b, bool hard);
void bus_request_quit(struct bus *b, int status);
void bus_request_shutdown(struct bus *b); /* the guest switches the power off */

/* Gives back every port range of a device whose creation failed half-way. */
void bus_drop_ports(struct bus *b, void *opaque);

/* calloc that cannot fail: devices are made once, at start. */
void *dev_alloc(size_t size);

#define DEV_FIELD(T, m, rst)                                                                                 \
    {                                                                                                        \
        .name = #m, .offset = offsetof(T, m), .size = sizeof(((T *)0)->m), .reset = (rst), .keep = false     \
    }
#define DEV_KEEP(T, m)                                                                                       \
    {                                                                                                        \
        .name = #m, .offset = offsetof(T, m), .size = sizeof(((T *)0)->m), .reset = 0, .keep = true          \
    }
#define DEV_END                                                                                              \
    {                                                                                                        \
        .name = NULL                                                                                         \
    }

#endif
