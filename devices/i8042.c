/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8042 keyboard controller at 60h/64h, with or without keyboard and mouse (ps2.c).
 *
 * The controller itself is complete: command byte, RAM, self and interface tests, input and output port,
 * loop-back of both output buffers, A20 and the reset line. A byte sent to the keyboard or the auxiliary
 * device gets no clock from the other side; after TIMEOUT_NS the controller puts FEh into the output buffer
 * with the time-out bit set, as the PS/2 controller does.
 *
 * With a device, its bytes come into the output buffer one at a time, BYTE_NS after the last one was read, as
 * a serial line's would, translated from set 2 to set 1 if the command byte says so.
 *
 * Invariants:
 *  - obf says that `out` waits to be read; the interrupt line of its source is up exactly then (if enabled)
 *  - at most one time-out is outstanding; it waits for the output buffer to be free
 */
#include <stdlib.h>
#include "base/log.h"
#include "devices/internal.h"
#include "devices/ps2.h"

#define TIMEOUT_NS NS_PER_MS
#define RETRY_NS   NS_PER_MS
#define BYTE_NS    (200 * NS_PER_US)

#define STAT_OBF     0x01
#define STAT_SYS     0x04
#define STAT_CMD     0x08
#define STAT_UNLOCK  0x10
#define STAT_AUX     0x20
#define STAT_TIMEOUT 0x40

#define CTR_KBD_INT 0x01
#define CTR_AUX_INT 0x02
#define CTR_SYS     0x04
#define CTR_KBD_DIS 0x10
#define CTR_AUX_DIS 0x20
#define CTR_XLATE   0x40

#define OUT_RESET 0x01 /* 0: processor reset */
#define OUT_A20   0x02

struct i8042 {
    struct bus *b;
    u8 ram[32]; /* [0] is the command byte */
    u8 out;
    u8 obf;
    u8 status;  /* AUX, TIMEOUT and CMD bits */
    u8 command; /* waits for its data byte at 60h; 0: none */
    u8 outport;
    u8 sys;     /* self test passed */
    u8 sending; /* 0, or the source of the time-out to come: 1 keyboard, 2 auxiliary */
    struct bus_timer *timer;
    struct ps2 *dev[2]; /* keyboard, auxiliary; NULL: nothing plugged in */
    u8 release;         /* F0 seen: the next code is a key's release */
};

static void update_irq(struct i8042 *k)
{
    bool aux = k->status & STAT_AUX;
    bus_set_irq(k->b, 1, k->obf && !aux && (k->ram[0] & CTR_KBD_INT));
    bus_set_irq(k->b, 12, k->obf && aux && (k->ram[0] & CTR_AUX_INT));
}

static void put(struct i8042 *k, u8 val, u8 flags)
{
    /* A second byte before the first was read replaces it; the line falls in between, so the edge is seen. */
    k->obf = 0;
    update_irq(k);
    k->out = val;
    k->obf = 1;
    k->status = (k->status & STAT_CMD) | flags;
    update_irq(k);
}

static const u8 set1[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

u8 i8042_translate(u8 code)
{
    return code < 0x80 ? set1[code] : code == 0x83 ? 0x41 : code == 0x84 ? 0x54 : code;
}

/* A device's next byte comes into the free output buffer. */
static void pull(struct i8042 *k)
{
    u8 val;
    if (k->obf || k->sending)
        return;
    if (k->dev[0] && !(k->ram[0] & CTR_KBD_DIS) && ps2_take(k->dev[0], &val)) {
        if (!(k->ram[0] & CTR_XLATE)) {
            put(k, val, 0);
        } else if (val == 0xf0) {
            k->release = 0x80;
            pull(k);
        } else {
            put(k, i8042_translate(val) | k->release, 0);
            k->release = 0;
        }
    } else if (k->dev[1] && !(k->ram[0] & CTR_AUX_DIS) && ps2_take(k->dev[1], &val)) {
        put(k, val, STAT_AUX);
    }
}

static void pull_later(struct i8042 *k)
{
    if (!k->obf && !k->sending &&
        ((k->dev[0] && ps2_waiting(k->dev[0])) || (k->dev[1] && ps2_waiting(k->dev[1]))))
        bus_timer_set(k->timer, bus_now(k->b) + BYTE_NS);
}

static void send_to_device(struct i8042 *k, int which, u8 val)
{
    /* Sending enables the interface (and clears the disable bit) on the PS/2 controller. */
    k->ram[0] &= which == 2 ? ~CTR_AUX_DIS : ~CTR_KBD_DIS;
    if (k->dev[which - 1]) {
        if (which == 1)
            k->release = 0;
        ps2_send(k->dev[which - 1], val);
        pull_later(k);
        return;
    }
    k->sending = which;
    bus_timer_set(k->timer, bus_now(k->b) + TIMEOUT_NS);
}

static void timeout_fire(void *opaque, u64 now)
{
    struct i8042 *k = opaque;
    if (!k->sending) {
        pull(k);
        return;
    }
    if (k->obf) {
        bus_timer_set(k->timer, now + RETRY_NS);
        return;
    }
    u8 flags = STAT_TIMEOUT | (k->sending == 2 ? STAT_AUX : 0);
    k->sending = 0;
    put(k, 0xfe, flags);
}

static void write_outport(struct i8042 *k, u8 val)
{
    k->outport = val;
    bus_set_a20(k->b, val & OUT_A20);
    if (!(val & OUT_RESET))
        bus_request_reset(k->b, false);
}

static u8 read_outport(const struct i8042 *k)
{
    u8 v = k->outport & ~0x30;
    if (k->obf)
        v |= k->status & STAT_AUX ? 0x20 : 0x10;
    return v;
}

static void write_command(struct i8042 *k, u8 cmd)
{
    k->status |= STAT_CMD;
    k->command = 0;
    if (cmd >= 0x20 && cmd <= 0x3f) {
        put(k, k->ram[cmd & 0x1f], 0);
        return;
    }
    if (cmd >= 0x60 && cmd <= 0x7f) {
        k->command = cmd;
        return;
    }
    if (cmd >= 0xf0) { /* pulses the output port bits whose command bit is 0 */
        if (!(cmd & OUT_RESET))
            bus_request_reset(k->b, false);
        return;
    }
    switch (cmd) {
    case 0xa4: /* is there a password? no */
        put(k, 0xf1, 0);
        break;
    case 0xa7:
        k->ram[0] |= CTR_AUX_DIS;
        break;
    case 0xa8:
        k->ram[0] &= ~CTR_AUX_DIS;
        pull_later(k);
        break;
    case 0xa9: /* interface tests: the lines are not stuck */
    case 0xab:
        put(k, 0x00, 0);
        break;
    case 0xaa:
        k->sys = 1;
        k->ram[0] |= CTR_SYS;
        put(k, 0x55, 0);
        break;
    case 0xad:
        k->ram[0] |= CTR_KBD_DIS;
        break;
    case 0xae:
        k->ram[0] &= ~CTR_KBD_DIS;
        pull_later(k);
        break;
    case 0xc0: /* input port: not locked, colour display jumper */
        put(k, 0xb0, 0);
        break;
    case 0xc1: /* polls it into the status register; bits there do not stick here */
    case 0xc2:
        break;
    case 0xd0:
        put(k, read_outport(k), 0);
        break;
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xd4:
        k->command = cmd;
        break;
    case 0xdd: /* A20 off and on: extensions that many boot loaders use */
        write_outport(k, k->outport & ~OUT_A20);
        break;
    case 0xdf:
        write_outport(k, k->outport | OUT_A20);
        break;
    case 0xe0: /* test inputs: both clocks idle high */
        put(k, 0x03, 0);
        break;
    default:
        LOG(unimp, "i8042: command %02x", cmd);
    }
}

static void write_data(struct i8042 *k, u8 val)
{
    u8 cmd = k->command;
    k->status &= ~STAT_CMD;
    k->command = 0;
    if (cmd >= 0x60 && cmd <= 0x7f) {
        k->ram[cmd & 0x1f] = val;
        if (cmd == 0x60) {
            k->sys = !!(val & CTR_SYS);
            update_irq(k);
            pull_later(k);
        }
        return;
    }
    switch (cmd) {
    case 0xd1:
        write_outport(k, val);
        break;
    case 0xd2:
        put(k, val, 0);
        break;
    case 0xd3:
        put(k, val, STAT_AUX);
        break;
    case 0xd4:
        send_to_device(k, 2, val);
        break;
    default:
        send_to_device(k, 1, val);
    }
}

static void i8042_write(void *opaque, u16 port, int size, u32 val)
{
    if (port == 0x64)
        write_command(opaque, val);
    else
        write_data(opaque, val);
}

static u32 i8042_read(void *opaque, u16 port, int size)
{
    struct i8042 *k = opaque;
    if (port == 0x64)
        return k->status | STAT_UNLOCK | (k->obf ? STAT_OBF : 0) | (k->sys ? STAT_SYS : 0);
    k->obf = 0;
    k->status &= STAT_CMD;
    update_irq(k);
    pull_later(k);
    return k->out; /* stays in the buffer when nothing new came */
}

static const struct port_ops i8042_ops = {.read = i8042_read, .write = i8042_write};

static const struct device_field i8042_fields[] = {
    DEV_FIELD(struct i8042, ram, 0),     DEV_FIELD(struct i8042, out, 0),
    DEV_FIELD(struct i8042, obf, 0),     DEV_FIELD(struct i8042, status, 0),
    DEV_FIELD(struct i8042, command, 0), DEV_FIELD(struct i8042, outport, 0xcf),
    DEV_FIELD(struct i8042, sys, 0),     DEV_FIELD(struct i8042, sending, 0),
    DEV_FIELD(struct i8042, release, 0), DEV_END};

static void i8042_reset(void *dev)
{
    struct i8042 *k = dev;
    /* As firmware leaves it: there may be none here to do so. */
    k->ram[0] = CTR_KBD_INT | CTR_SYS | CTR_AUX_DIS | CTR_XLATE;
    k->sys = 1;
    bus_timer_set(k->timer, 0);
    update_irq(k);
    bus_set_a20(k->b, true);
}

static void i8042_destroy(void *dev)
{
    free(dev);
}

static const struct device_desc i8042_desc = {
    .name = "i8042", .fields = i8042_fields, .reset = i8042_reset, .destroy = i8042_destroy};

static struct i8042 *i8042_of(struct bus *b)
{
    for (u32 i = 0; i < b->n_devs; i++)
        if (b->devs[i].desc == &i8042_desc)
            return b->devs[i].dev;
    return NULL;
}

void i8042_attach(struct bus *b, int port, struct ps2 *p)
{
    struct i8042 *k = i8042_of(b);
    NOVT_ASSERT(k);
    k->dev[port] = p;
}

void i8042_device_ready(struct bus *b)
{
    pull_later(i8042_of(b));
}

int i8042_create(struct bus *b)
{
    struct i8042 *k = dev_alloc(sizeof(*k));
    k->b = b;
    int err = bus_add_ports(b, 0x60, 1, 1, &i8042_ops, k);
    if (!err)
        err = bus_add_ports(b, 0x64, 1, 1, &i8042_ops, k);
    if (err) {
        bus_drop_ports(b, k);
        free(k);
        return err;
    }
    k->timer = bus_timer_new(b, timeout_fire, k);
    bus_add_device(b, &i8042_desc, k);
    return 0;
}
