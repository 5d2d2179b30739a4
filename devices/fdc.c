/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floppy disk controller: an 82077AA at 3F0h-3F5h and 3F7h with drives A and B (Intel 290166). Here are
 * registers, commands that move no data, and the media; fdc_data.c has the others.
 *
 * A command is a few bytes through the FIFO, perhaps data by DMA channel 2 or (SPECIFY with ND = 1) a byte at
 * a time by the CPU, and result bytes. Data is read from the image a track at a time, written and scanned a
 * sector at a time; the DMA controller's TC, or the end of the track given by the command, ends a transfer.
 * Seeks take no time.
 *
 * The medium's geometry comes from the image's size, and the drive's kind from the medium that it had first.
 * An image has no address marks: every sector is 512 bytes of normal data with the expected ID, so WRITE
 * DELETED DATA leaves normal data, READ DELETED DATA finds the wrong mark, and FORMAT TRACK takes the headers
 * that it is given for the usual ones. Where the chip would wait for an index pulse for ever (no medium), a
 * command ends with "not ready", which the 82077AA's predecessors said.
 *
 * Invariants: result bytes wait iff phase is RESULT; in EXECUTE either the request is pending or `pio` says
 * which way the CPU moves the next byte; `pio` is 0 otherwise.
 */
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/fdc_int.h"

static const struct {
    u32 sectors;
    u8 type, cyl, heads, spt;
} formats[] = {
    {2880, 4, 80, 2, 18}, {5760, 5, 80, 2, 36}, {1440, 4, 80, 2, 9},  {2400, 2, 80, 2, 15},
    {720, 4, 40, 2, 9},   {640, 4, 40, 2, 8},   {360, 4, 40, 1, 9},   {320, 4, 40, 1, 8},
    {3360, 4, 80, 2, 21}, {3444, 4, 82, 2, 21}, {3200, 4, 80, 2, 20}, {2988, 4, 83, 2, 18},
    {3840, 5, 80, 2, 24},
};

static void geometry(struct floppy *d)
{
    u64 n = d->blk ? block_size(d->blk) / SECTOR : 0;
    d->heads = 2;
    d->cylinders = 80;
    d->sectors = n > 2880 ? 36 : 18; /* a shorter image is a disk whose end is missing */
    u8 type = n > 2880 ? 5 : 4;
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        if (formats[i].sectors != n || formats[i].spt > MAX_SPT)
            continue;
        d->heads = formats[i].heads;
        d->cylinders = formats[i].cyl;
        d->sectors = formats[i].spt;
        type = formats[i].type;
    }
    if (!d->type)
        d->type = type;
}

void fdc_set_irq(struct fdc *f, bool on)
{
    f->irq = on;
    bus_set_irq(f->b, IRQ, on && (f->dor & DOR_DMA));
}

void fdc_results(struct fdc *f, int n)
{
    f->phase = n ? RESULT : IDLE;
    f->result_len = n;
    f->result_pos = 0;
    f->got = 0;
}

void fdc_step_to(struct floppy *d, u8 track)
{
    if (track > LAST_TRACK)
        track = LAST_TRACK;
    if (d->blk && track != d->track)
        d->changed = 0; /* a step pulse with a disk in place clears the change line */
    d->track = track;
}

/* ---- other commands ---- */

static void seek_end(struct fdc *f, int unit, u8 track, bool recalibrate)
{
    u8 st0 = ST0_SEEK | unit;
    struct floppy *d = unit < 2 && f->drive[unit].present ? &f->drive[unit] : NULL;
    f->pcn[unit] = track;
    if (recalibrate && (!d || d->track > STEPS)) { /* track 0 does not come within the steps */
        st0 |= ST0_ABNORMAL | ST0_EC;
        track = d ? d->track - STEPS : 0;
    }
    if (d)
        fdc_step_to(d, track);
    f->st0[unit] = st0;
    f->sense |= 1 << unit;
    fdc_results(f, 0);
    fdc_set_irq(f, true);
}

/* A drive that waits for SENSE INTERRUPT: one that sought before those that only a reset polled. -1: none. */
static int to_sense(const struct fdc *f, bool *sought)
{
    int polled = -1;
    *sought = true;
    for (int i = 0; i < 4; i++) {
        if ((f->sense >> i & 1) && (f->st0[i] & ST0_POLL) != ST0_POLL)
            return i;
        if ((f->sense >> i & 1) && polled < 0)
            polled = i;
    }
    *sought = false;
    return polled;
}

static void sense_interrupt(struct fdc *f)
{
    bool sought;
    int unit = to_sense(f, &sought);
    if (unit < 0) {
        f->result[0] = ST0_INVALID;
        fdc_results(f, 1);
        return;
    }
    f->sense &= ~(1 << unit);
    f->result[0] = f->st0[unit];
    f->result[1] = f->pcn[unit];
    fdc_set_irq(f, false);
    if (to_sense(f, &sought) >= 0 && sought) /* overlapped seeks: an interrupt each */
        fdc_set_irq(f, true);
    fdc_results(f, 2);
}

static void sense_drive(struct fdc *f)
{
    u8 unit = f->cmd[1] & 3;
    u8 st3 = 0x28 | (f->cmd[1] & 7); /* ready, two sides */
    if (unit < 2 && f->drive[unit].present && !f->drive[unit].track)
        st3 |= 0x10;
    if (unit < 2 && f->drive[unit].blk && block_read_only(f->drive[unit].blk))
        st3 |= 0x40;
    f->result[0] = st3;
    fdc_results(f, 1);
}

static void dump_registers(struct fdc *f)
{
    u8 *r = f->result;
    memcpy(r, f->pcn, 4);
    r[4] = f->specify[0];
    r[5] = f->specify[1];
    r[6] = f->eot;
    r[7] = f->locked << 7 | (f->perp & 0x3f);
    r[8] = f->config[1];
    r[9] = f->config[2];
    fdc_results(f, 10);
}

/* Bytes of a command, its first one included; 0: invalid. */
static u8 command_length(u8 cmd)
{
    switch (cmd & 0x1f) {
    case 0x02: /* READ TRACK */
    case 0x05:
    case 0x06:
    case 0x09:
    case 0x0c:
    case 0x11: /* SCAN */
    case 0x16: /* VERIFY */
    case 0x19:
    case 0x1d:
        return 9;
    case 0x0d:
        return 6;
    }
    switch (cmd) {
    case 0x03:
    case 0x0f:
    case 0x8f:
    case 0xcf:
        return 3;
    case 0x04:
    case 0x07:
    case 0x12:
    case 0x4a:
    case 0x0a:
        return 2;
    case 0x13:
        return 4;
    case 0x08:
    case 0x0e:
    case 0x10:
    case 0x14:
    case 0x94:
    case 0x18:
        return 1;
    }
    return 0;
}

static void execute(struct fdc *f)
{
    u8 cmd = f->cmd[0];
    LOG(dev, "fdc: %02x %02x %02x %02x %02x", cmd, f->cmd[1], f->cmd[2], f->cmd[3], f->cmd[4]);
    switch (cmd & 0x1f) {
    case 0x02:
        fdc_transfer(f, READ_TRACK);
        return;
    case 0x06:
    case 0x0c:
        fdc_transfer(f, READ);
        return;
    case 0x16:
        fdc_transfer(f, VERIFY);
        return;
    case 0x05:
    case 0x09:
        fdc_transfer(f, WRITE);
        return;
    case 0x11:
    case 0x19:
    case 0x1d:
        fdc_transfer(f, SCAN);
        return;
    case 0x0d:
        fdc_format_track(f);
        return;
    case 0x0a:
        fdc_read_id(f);
        return;
    }
    switch (cmd) {
    case 0x03:
        memcpy(f->specify, f->cmd + 1, 2);
        fdc_results(f, 0);
        break;
    case 0x04:
        sense_drive(f);
        break;
    case 0x07:
        seek_end(f, f->cmd[1] & 3, 0, true);
        break;
    case 0x08:
        sense_interrupt(f);
        break;
    case 0x0f:
        seek_end(f, f->cmd[1] & 3, f->cmd[2], false);
        break;
    case 0x8f:
    case 0xcf: { /* RELATIVE SEEK */
        int u = f->cmd[1] & 3, t = f->pcn[u];
        t += cmd == 0xcf ? f->cmd[2] : -(int)f->cmd[2];
        seek_end(f, u, (u8)(t < 0 ? 0 : t > 255 ? 255 : t), false);
        break;
    }
    case 0x0e:
        dump_registers(f);
        break;
    case 0x10:
        f->result[0] = 0x90; /* enhanced controller */
        fdc_results(f, 1);
        break;
    case 0x18:
        f->result[0] = 0x41;
        fdc_results(f, 1);
        break;
    case 0x12:
        f->perp = f->cmd[1] & 0x80 ? f->cmd[1] & 0x3f : (f->perp & 0x3c) | (f->cmd[1] & 3); /* OW */
        fdc_results(f, 0);
        break;
    case 0x13:
        memcpy(f->config, f->cmd + 1, 3);
        f->config[1] &= 0x7f;
        fdc_results(f, 0);
        break;
    case 0x14:
    case 0x94:
        f->locked = cmd >> 7;
        f->result[0] = f->locked << 4;
        fdc_results(f, 1);
        break;
    }
}

static void fifo_write(struct fdc *f, u8 val)
{
    if (f->phase == EXECUTE && f->pio == PIO_OUT) {
        fdc_pio_write(f, val);
        return;
    }
    if (f->phase != IDLE || !(f->dor & DOR_RESET))
        return;
    if (!f->got) {
        f->want = command_length(val);
        if (!f->want) {
            f->result[0] = ST0_INVALID;
            fdc_results(f, 1);
            return;
        }
    }
    f->cmd[f->got++] = val;
    if (f->got == f->want)
        execute(f);
}

static u8 fifo_read(struct fdc *f)
{
    if (f->phase == EXECUTE && f->pio == PIO_IN)
        return fdc_pio_read(f);
    if (f->phase != RESULT)
        return 0;
    u8 val = f->result[f->result_pos++];
    if (f->result_len == 7)
        fdc_set_irq(f, false); /* the first result byte takes the interrupt back */
    if (f->result_pos == f->result_len)
        fdc_results(f, 0);
    return val;
}

/* ---- registers ---- */

static void controller_reset(struct fdc *f)
{
    block_cancel(&f->req);
    f->phase = IDLE;
    f->got = f->pio = f->sense = 0;
    f->config[0] = 0; /* LOCK holds EFIFO, FIFOTHR and PRETRK */
    f->config[1] = f->locked ? f->config[1] & (EFIFO | 15) : EFIFO;
    f->config[2] = f->locked ? f->config[2] : 0;
    f->perp &= 0x3c; /* GAP and WGATE go */
    fdc_set_irq(f, false);
}

static void leave_reset(struct fdc *f)
{
    f->sense = 15; /* the poll that follows finds all drives changed */
    for (int i = 0; i < 4; i++)
        f->st0[i] = ST0_POLL | i;
    fdc_set_irq(f, true);
}

static void write_dor(struct fdc *f, u8 val)
{
    u8 old = f->dor;
    f->dor = val;
    if ((old & DOR_RESET) && !(val & DOR_RESET))
        controller_reset(f);
    else if (!(old & DOR_RESET) && (val & DOR_RESET))
        leave_reset(f);
    else
        fdc_set_irq(f, f->irq);
}

static u8 msr(const struct fdc *f)
{
    if (!(f->dor & DOR_RESET))
        return 0;
    switch (f->phase) {
    case EXECUTE:
        return MSR_BUSY | (f->pio ? MSR_RQM | MSR_NDMA : 0) | (f->pio == PIO_IN ? MSR_DIO : 0);
    case RESULT:
        return MSR_RQM | MSR_DIO | MSR_BUSY;
    default:
        return MSR_RQM | (f->got ? MSR_BUSY : 0);
    }
}

static u32 fdc_read(void *opaque, u16 port, int size)
{
    struct fdc *f = opaque;
    switch (port & 7) {
    case 2:
        return f->dor;
    case 3:
        return f->tdr;
    case 4:
        return msr(f);
    case 5:
        return fifo_read(f);
    case 7: {
        const struct floppy *d = &f->drive[f->dor & 1];
        bool motor = f->dor >> 4 >> (f->dor & 1) & 1;
        return motor && (f->dor & 3) < 2 && d->present && (d->changed || !d->blk) ? 0x80 : 0;
    }
    }
    return port == 0x3f1 ? 0xff : (f->irq ? 0x80 : 0);
}

static void fdc_write(void *opaque, u16 port, int size, u32 val)
{
    struct fdc *f = opaque;
    switch (port & 7) {
    case 2:
        write_dor(f, val);
        break;
    case 3:
        f->tdr = val & 3;
        break;
    case 4:
        f->dsr = val & 0x7f;
        if (val & 0x80) { /* a reset that ends by itself */
            controller_reset(f);
            if (f->dor & DOR_RESET)
                leave_reset(f);
        }
        break;
    case 5:
        fifo_write(f, val);
        break;
    case 7:
        f->dsr = (f->dsr & ~3) | (val & 3);
        break;
    }
}

static const struct port_ops fdc_ops = {.read = fdc_read, .write = fdc_write};

/* ---- life ---- */

void fdc_attach(struct fdc *f, int drive, struct block *blk)
{
    struct floppy *d = &f->drive[drive];
    d->present = true;
    d->blk = blk;
    d->changed = 1; /* as every drive says after power-on */
    geometry(d);
}

bool fdc_has(const struct fdc *f, int drive)
{
    return f->drive[drive].present;
}

u8 fdc_drive_type(const struct fdc *f, int drive)
{
    return f->drive[drive].type;
}

struct block *fdc_medium(const struct fdc *f, int drive)
{
    return f->drive[drive].blk;
}

void fdc_change_medium(struct fdc *f, int drive, struct block *blk)
{
    struct floppy *d = &f->drive[drive];
    if (f->phase == EXECUTE && f->unit == drive) {
        block_cancel(&f->req);
        fdc_end_transfer(f, ST0_ABNORMAL | ST0_NR, ST1_MA, 0);
    }
    block_close(d->blk);
    d->blk = blk;
    d->changed = 1;
    geometry(d);
}

#define F(m) DEV_FIELD(struct fdc, m, 0)
static const struct device_field fdc_fields[] = {
    F(dor),    F(tdr),    F(phase),  F(cmd),        F(got),        F(want), DEV_FIELD(struct fdc, dsr, 2),
    F(result), F(irq),    F(perp),   F(result_len), F(result_pos), F(st0),  F(sense),
    F(pcn),    F(config), F(locked), F(specify),    F(c),          F(h),    F(r),
    F(n),      F(eot),    F(pio),    DEV_END};

static void fdc_reset(void *dev)
{
    struct fdc *f = dev;
    controller_reset(f);
    f->drive[0].track = f->drive[1].track = 0;
}

static void fdc_destroy(void *dev)
{
    struct fdc *f = dev;
    block_cancel(&f->req);
    block_close(f->drive[0].blk);
    block_close(f->drive[1].blk);
    free(f);
}

static const struct device_desc fdc_desc = {
    .name = "fdc", .fields = fdc_fields, .reset = fdc_reset, .destroy = fdc_destroy};

int fdc_create(struct bus *b, struct fdc **out)
{
    struct fdc *f = dev_alloc(sizeof(*f));
    f->b = b;
    int err = bus_add_ports(b, 0x3f0, 6, 1, &fdc_ops, f);
    err = err ? err : bus_add_ports(b, 0x3f7, 1, 1, &fdc_ops, f);
    if (err) {
        bus_drop_ports(b, f);
        free(f);
        return err;
    }
    bus_add_device(b, &fdc_desc, f);
    *out = f;
    return 0;
}
