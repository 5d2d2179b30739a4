/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 16550A UART (National PC16550D datasheet) on a character back end.
 *
 * Transmission takes no time: a byte written to THR is in the back end before the write returns, so THRE and
 * TEMT are always set, and the THRE interrupt is due again at once. Reception is paced at CREDIT bytes in a
 * millisecond, somewhat above 115200 baud, so that a pipe full of input does not overrun the guest's line
 * discipline.
 *
 * Input is kept back while nobody can be waiting for it: until the receive interrupt is enabled or the guest
 * polls LSR for data many times in a row. Bytes that a FIFO reset would discard go back to the back end. To
 * the guest this looks like a sender that sends later; without it, what is piped into a booting guest would
 * be lost in the driver's probing.
 *
 * Invariants:
 *  - rx holds at most capacity() entries; err[i] are the LSR error bits of rx[i], shown when it becomes the
 * oldest
 *  - the IRQ line is up exactly when an enabled interrupt is pending, OUT2 is set and loop-back is off (PC
 * wiring)
 */
#include <stdlib.h>
#include "base/log.h"
#include "devices/internal.h"

#define FIFO_SIZE 16
#define CREDIT    16
#define CREDIT_NS NS_PER_MS
#define POLLS     24 /* LSR reads in a row that make a polling guest; firmware polls at timer ticks only */

#define IER_RDI  0x01
#define IER_THRI 0x02
#define IER_RLSI 0x04
#define IER_MSI  0x08

#define IIR_NONE 0x01
#define IIR_MSI  0x00
#define IIR_THRI 0x02
#define IIR_RDI  0x04
#define IIR_RLSI 0x06
#define IIR_CTI  0x0c
#define IIR_FIFO 0xc0

#define LCR_DLAB 0x80

#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10

#define LSR_DR      0x01
#define LSR_OE      0x02
#define LSR_BI      0x10
#define LSR_ERRORS  0x1e
#define LSR_THRE    0x20
#define LSR_TEMT    0x40
#define LSR_FIFOERR 0x80

#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI  0x40
#define MSR_DCD 0x80

#define FROM_HOST 0x100 /* in rx[]: may be given back */

struct uart {
    struct bus *b;
    struct chardev *chr;
    u16 base;
    int irq;

    u8 ier, fcr, lcr, mcr, lsr, msr, scr, dll, dlm;
    u8 thr_int;   /* THRE interrupt is due */
    u8 timed_out; /* character time-out */
    u16 rx[FIFO_SIZE];
    u8 err[FIFO_SIZE];
    u8 rx_head, rx_count;

    u8 polls;   /* LSR reads without data since the last write */
    u8 refused; /* the back end holds bytes that we did not take */
    u8 credit;
    u64 credit_at; /* when credit is full again */
    struct bus_timer *cti_timer, *pace_timer;
};

static bool fifo_on(const struct uart *u)
{
    return u->fcr & 1;
}

static int capacity(const struct uart *u)
{
    return fifo_on(u) ? FIFO_SIZE : 1;
}

static int trigger(const struct uart *u)
{
    static const u8 level[4] = {1, 4, 8, 14};
    return fifo_on(u) ? level[u->fcr >> 6] : 1;
}

/* ---- interrupts ---- */

static u8 interrupt_id(const struct uart *u)
{
    if ((u->ier & IER_RLSI) && (u->lsr & LSR_ERRORS))
        return IIR_RLSI;
    if (u->ier & IER_RDI) {
        if (u->rx_count >= trigger(u))
            return IIR_RDI;
        if (u->timed_out && u->rx_count)
            return IIR_CTI;
    }
    if ((u->ier & IER_THRI) && u->thr_int)
        return IIR_THRI;
    if ((u->ier & IER_MSI) && (u->msr & 0x0f))
        return IIR_MSI;
    return IIR_NONE;
}

static void update_irq(struct uart *u)
{
    bool wired = (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
    bus_set_irq(u->b, u->irq, wired && interrupt_id(u) != IIR_NONE);
}

/* Four character times without a read or a new byte; kept within what is worth a host wake-up. */
static u64 timeout_ns(const struct uart *u)
{
    u32 divisor = u->dll | u->dlm << 8;
    u32 bits = 1 + 5 + (u->lcr & 3) + !!(u->lcr & 8) + 1 + !!(u->lcr & 4);
    u64 ns = 4ull * bits * (divisor ? divisor : 1) * 16 * NS_PER_SEC / 1843200;
    return ns < 100 * NS_PER_US ? 100 * NS_PER_US : ns > 5 * NS_PER_MS ? 5 * NS_PER_MS : ns;
}

static void restart_timeout(struct uart *u)
{
    u->timed_out = 0;
    bus_timer_set(u->cti_timer, fifo_on(u) && u->rx_count ? bus_now(u->b) + timeout_ns(u) : 0);
}

static void cti_fire(void *opaque, u64 now)
{
    struct uart *u = opaque;
    u->timed_out = u->rx_count != 0;
    update_irq(u);
}

/* ---- receiver ---- */

/* The oldest entry's errors show in LSR once. */
static void show_errors(struct uart *u)
{
    if (u->rx_count) {
        u->lsr |= u->err[u->rx_head];
        u->err[u->rx_head] = 0;
    }
}

static void rx_push(struct uart *u, u16 val, u8 err)
{
    bus_port_changed(u->b, u->base, 8);
    if (u->rx_count == capacity(u)) {
        u->lsr |= LSR_OE;
        if (fifo_on(u))
            return; /* the shift register is overwritten, the FIFO is not */
        u->rx_count = 0;
    }
    int at = (u->rx_head + u->rx_count) % FIFO_SIZE;
    u->rx[at] = val;
    u->err[at] = err;
    u->rx_count++;
    if (u->rx_count == 1)
        show_errors(u);
    restart_timeout(u);
}

/* Empties the receiver; what came from the host goes back there. */
static void rx_clear(struct uart *u)
{
    u8 back[FIFO_SIZE];
    int n = 0;
    for (; u->rx_count; u->rx_count--) {
        u16 v = u->rx[u->rx_head];
        u->err[u->rx_head] = 0;
        u->rx_head = (u->rx_head + 1) % FIFO_SIZE;
        if (v & FROM_HOST)
            back[n++] = v;
    }
    if (n && u->chr) {
        chardev_unread(u->chr, back, n);
        u->refused = 1;
    }
    restart_timeout(u);
}

static bool guest_listens(const struct uart *u)
{
    return !(u->mcr & MCR_LOOP) && ((u->ier & IER_RDI) || u->polls >= POLLS);
}

static int uart_receive(void *opaque, const u8 *buf, int len)
{
    struct uart *u = opaque;
    int n = 0;
    if (guest_listens(u)) {
        u64 now = bus_now(u->b);
        if (now >= u->credit_at) {
            u->credit = CREDIT;
            u->credit_at = now + CREDIT_NS;
        }
        for (; n < len && u->credit && u->rx_count < capacity(u); n++, u->credit--)
            rx_push(u, buf[n] | FROM_HOST, 0);
        if (!u->credit && n < len)
            bus_timer_set(u->pace_timer, u->credit_at);
    }
    u->refused = n < len;
    bus_port_changed(u->b, u->base, 8);
    if (n)
        update_irq(u);
    return n;
}

/* Called when something that made us refuse input may have changed. */
static void ask_for_input(struct uart *u)
{
    if (u->refused && u->chr && guest_listens(u) && u->rx_count < capacity(u))
        chardev_accept(u->chr);
}

static void pace_fire(void *opaque, u64 now)
{
    ask_for_input(opaque);
}

static void uart_break(void *opaque)
{
    struct uart *u = opaque;
    if (u->mcr & MCR_LOOP)
        return;
    rx_push(u, 0, LSR_BI);
    update_irq(u);
}

/* ---- registers ---- */

/* The modem inputs: a connected, ready peer, or in loop-back the four outputs. */
static void update_msr(struct uart *u)
{
    u8 in = MSR_DCD | MSR_DSR | MSR_CTS;
    if (u->mcr & MCR_LOOP) {
        in = 0;
        in |= u->mcr & MCR_RTS ? MSR_CTS : 0;
        in |= u->mcr & 0x01 ? MSR_DSR : 0;
        in |= u->mcr & MCR_OUT1 ? MSR_RI : 0;
        in |= u->mcr & MCR_OUT2 ? MSR_DCD : 0;
    }
    u8 changed = (u->msr ^ in) & 0xf0;
    u8 delta = (changed >> 4) & 0x0b;
    if ((changed & MSR_RI) && !(in & MSR_RI))
        delta |= 0x04; /* trailing edge only */
    u->msr = in | (u->msr & 0x0f) | delta;
}

static void write_thr(struct uart *u, u8 val)
{
    u->thr_int = 0;
    if (u->mcr & MCR_LOOP)
        rx_push(u, val, 0);
    else if (u->chr)
        chardev_write(u->chr, &val, 1);
    update_irq(u);  /* the request falls while the byte is in THR ... */
    u->thr_int = 1; /* ... and THR is empty again */
}

static void write_fcr(struct uart *u, u8 val)
{
    if ((val ^ u->fcr) & 1) /* switching the mode clears both FIFOs */
        val |= 0x06;
    if (val & 0x02) {
        rx_clear(u);
        u->lsr &= ~LSR_BI;
    }
    if (val & 0x04)
        u->thr_int = 1;
    u->fcr = val & 1 ? val & 0xc9 : 0;
}

static void uart_write(void *opaque, u16 port, int size, u32 val)
{
    struct uart *u = opaque;
    u->polls = 0;
    switch (port - u->base) {
    case 0:
        if (u->lcr & LCR_DLAB)
            u->dll = val;
        else
            write_thr(u, val);
        break;
    case 1:
        if (u->lcr & LCR_DLAB) {
            u->dlm = val;
        } else {
            if ((val & IER_THRI) && !(u->ier & IER_THRI))
                u->thr_int = 1; /* enabling it while THR is empty requests it */
            u->ier = val & 0x0f;
        }
        break;
    case 2:
        write_fcr(u, val);
        break;
    case 3:
        u->lcr = val;
        break;
    case 4:
        u->mcr = val & 0x1f;
        update_msr(u);
        break;
    case 7:
        u->scr = val;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
    ask_for_input(u);
    update_irq(u);
}

static u8 read_rbr(struct uart *u)
{
    u8 v = u->rx[u->rx_head];
    if (u->rx_count) {
        u->rx_head = (u->rx_head + 1) % FIFO_SIZE;
        u->rx_count--;
        show_errors(u);
    }
    restart_timeout(u);
    return v; /* without new data, the last byte again */
}

static u8 read_lsr(struct uart *u)
{
    u8 v = u->lsr | LSR_THRE | LSR_TEMT;
    if (u->rx_count) {
        v |= LSR_DR;
    } else if (u->polls < POLLS) {
        u->polls++;
    }
    if (fifo_on(u)) {
        for (int i = 0; i < u->rx_count; i++)
            if (u->err[(u->rx_head + i) % FIFO_SIZE])
                v |= LSR_FIFOERR;
        if (u->lsr & (LSR_ERRORS & ~LSR_OE))
            v |= LSR_FIFOERR;
    }
    u->lsr = 0;
    return v;
}

static u32 uart_read(void *opaque, u16 port, int size)
{
    struct uart *u = opaque;
    u8 v = 0;
    switch (port - u->base) {
    case 0:
        if (u->lcr & LCR_DLAB)
            return u->dll;
        v = read_rbr(u);
        break;
    case 1:
        return u->lcr & LCR_DLAB ? u->dlm : u->ier;
    case 2:
        v = interrupt_id(u);
        if (v == IIR_THRI)
            u->thr_int = 0;
        v |= fifo_on(u) ? IIR_FIFO : 0;
        break;
    case 3:
        return u->lcr;
    case 4:
        return u->mcr;
    case 5:
        v = read_lsr(u);
        break;
    case 6:
        v = u->msr;
        u->msr &= 0xf0;
        break;
    case 7:
        return u->scr;
    }
    ask_for_input(u);
    update_irq(u);
    return v;
}

/* LSR while nothing is received and nothing is wrong: polling transmitters read little else. */
static int uart_peek(void *opaque, u16 port)
{
    const struct uart *u = opaque;
    bool quiet = !u->rx_count && !u->lsr && !u->refused && u->polls >= POLLS;
    return port - u->base == 5 && quiet ? LSR_THRE | LSR_TEMT : -1;
}

static const struct port_ops uart_ops = {.read = uart_read, .write = uart_write, .peek = uart_peek};

/* ---- life ---- */

static const struct device_field uart_fields[] = {
    DEV_FIELD(struct uart, ier, 0),       DEV_FIELD(struct uart, fcr, 0),
    DEV_FIELD(struct uart, lcr, 0),       DEV_FIELD(struct uart, mcr, 0),
    DEV_FIELD(struct uart, lsr, 0),       DEV_FIELD(struct uart, msr, MSR_DCD | MSR_DSR | MSR_CTS),
    DEV_FIELD(struct uart, scr, 0),       DEV_FIELD(struct uart, dll, 12), /* 9600 baud */
    DEV_FIELD(struct uart, dlm, 0),       DEV_FIELD(struct uart, thr_int, 0),
    DEV_FIELD(struct uart, timed_out, 0), DEV_FIELD(struct uart, rx, 0),
    DEV_FIELD(struct uart, err, 0),       DEV_FIELD(struct uart, rx_head, 0),
    DEV_FIELD(struct uart, rx_count, 0),  DEV_FIELD(struct uart, polls, 0),
    DEV_KEEP(struct uart, refused),       DEV_FIELD(struct uart, credit, 0),
    DEV_FIELD(struct uart, credit_at, 0), DEV_END};

static void uart_reset(void *dev)
{
    struct uart *u = dev;
    bus_timer_set(u->cti_timer, 0);
    bus_timer_set(u->pace_timer, 0);
    bus_set_irq(u->b, u->irq, 0);
}

static void uart_destroy(void *dev)
{
    struct uart *u = dev;
    if (u->chr)
        chardev_set_frontend(u->chr, &(struct chardev_frontend){0});
    free(u);
}

static const struct device_desc uart_desc = {
    .name = "uart", .fields = uart_fields, .reset = uart_reset, .destroy = uart_destroy};

int uart_create(struct bus *b, u16 base, int irq, struct chardev *c)
{
    struct uart *u = dev_alloc(sizeof(*u));
    u->b = b;
    u->base = base;
    u->irq = irq;
    u->chr = c;
    int err = bus_add_ports(b, base, 8, 1, &uart_ops, u);
    if (err) {
        free(u);
        return err;
    }
    u->cti_timer = bus_timer_new(b, cti_fire, u);
    u->pace_timer = bus_timer_new(b, pace_fire, u);
    bus_add_device(b, &uart_desc, u);
    if (c)
        chardev_set_frontend(
            c, &(struct chardev_frontend){.receive = uart_receive, .opaque = u, .send_break = uart_break});
    return 0;
}
