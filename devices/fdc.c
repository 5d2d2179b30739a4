/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floppy disk controller: an 82077AA at 3F0h-3F5h and 3F7h with drives A and B (Intel 290166).
 *
 * A command is a few bytes through the FIFO, perhaps data by DMA channel 2, and result bytes. Data is read
 * from the image a track at a time; the DMA controller's TC, or the end of the track given by the command,
 * ends a transfer. Seeks take no time. The FIFO answers one byte an access, so a command never sees a half
 * state.
 *
 * The medium's geometry comes from the image's size, and the drive's kind from the medium that it had first.
 *
 * Not here: data by programmed I/O (SPECIFY with ND = 1): such a command ends with "overrun", which makes
 * drivers fall back to DMA.
 *
 * Invariants: `left` result bytes wait iff phase is RESULT; the request is pending iff phase is EXECUTE.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/dma.h"
#include "devices/fdc.h"
#include "devices/internal.h"

#define IRQ     6
#define CHANNEL 2
#define MAX_SPT 36

#define MSR_RQM  0x80
#define MSR_DIO  0x40
#define MSR_BUSY 0x10

#define DOR_RESET 0x04 /* 0: in reset */
#define DOR_DMA   0x08

#define ST0_ABNORMAL 0x40
#define ST0_INVALID  0x80
#define ST0_SEEK     0x20
#define ST0_NR       0x08
#define ST1_EN       0x80
#define ST1_DE       0x20
#define ST1_OR       0x10
#define ST1_ND       0x04
#define ST1_NW       0x02
#define ST1_MA       0x01

enum { IDLE, EXECUTE, RESULT };

struct floppy {
    struct block *blk;
    bool present;
    u8 type; /* CMOS */
    u8 track, heads, sectors, cylinders;
    u8 changed;
};

struct fdc {
    struct bus *b;
    struct floppy drive[2];
    u8 dor, dsr, tdr, phase;
    u8 cmd[16], got, want;
    u8 result[16], result_len, result_pos;
    u8 irq;
    u8 reset_sense; /* how many SENSE INTERRUPTs after reset still report a drive */
    u8 st0, seek_done;
    u8 config[3], locked, perp, specify[2];
    /* the transfer */
    u8 c, h, r, n, eot;
    u8 unit, count; /* sectors under way */
    bool write, verify;
    u8 buf[MAX_SPT * SECTOR];
    struct block_req req;
};

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

static void set_irq(struct fdc *f, bool on)
{
    f->irq = on;
    bus_set_irq(f->b, IRQ, on && (f->dor & DOR_DMA));
}

static void results(struct fdc *f, int n)
{
    f->phase = n ? RESULT : IDLE;
    f->result_len = n;
    f->result_pos = 0;
    f->got = 0;
}

/* ---- reading and writing ---- */

static void end_transfer(struct fdc *f, u8 st0, u8 st1, u8 st2)
{
    f->result[0] = st0 | f->h << 2 | f->unit;
    f->result[1] = st1;
    f->result[2] = st2;
    f->result[3] = f->c;
    f->result[4] = f->h;
    f->result[5] = f->r;
    f->result[6] = f->n;
    results(f, 7);
    set_irq(f, true);
}

/* After the last sector: the address behind it (82077AA, table 5-8). Returns false at the end of the
 * cylinder. */
static bool next_sector(struct fdc *f, bool mt)
{
    if (f->r != f->eot) {
        f->r++;
        return true;
    }
    f->r = 1;
    if (mt && f->h == 0 && f->drive[f->unit].heads == 2) {
        f->h = 1;
        return true;
    }
    if (mt)
        f->h = 0;
    f->c++;
    return false;
}

static void start_track(struct fdc *f);

static u64 position(const struct fdc *f, const struct floppy *d)
{
    return ((u64)(f->c * d->heads + f->h) * d->sectors + f->r - 1) * SECTOR;
}

static void track_read(void *opaque, int result)
{
    struct fdc *f = opaque;
    bool mt = f->cmd[0] & 0x80, tc = false;
    if (result) {
        end_transfer(f, ST0_ABNORMAL, ST1_DE, 0x20);
        return;
    }
    for (int i = 0; i < f->count; i++) {
        u32 n = f->verify ? SECTOR : dma_move(f->b, CHANNEL, f->buf + i * SECTOR, SECTOR, true, &tc);
        if (n < SECTOR && !tc) {
            end_transfer(f, ST0_ABNORMAL, ST1_OR, 0);
            return;
        }
        bool more = next_sector(f, mt);
        if (tc || (f->verify && !more)) {
            end_transfer(f, 0, 0, 0);
            return;
        }
        if (!more) {
            end_transfer(f, ST0_ABNORMAL, ST1_EN, 0);
            return;
        }
    }
    start_track(f);
}

static void track_written(void *opaque, int result)
{
    struct fdc *f = opaque;
    if (result) {
        end_transfer(f, ST0_ABNORMAL, ST1_DE, 0x20);
        return;
    }
    if (f->verify) { /* TC came with the last sector */
        end_transfer(f, 0, 0, 0);
        return;
    }
    if (f->phase == EXECUTE)
        start_track(f);
}

/* One sector a request: where TC ends the data is known only while it is fetched. */
static void write_sector(struct fdc *f)
{
    struct floppy *d = &f->drive[f->unit];
    bool tc = false;
    u64 pos = position(f, d);
    memset(f->buf, 0, SECTOR);
    u32 n = dma_move(f->b, CHANNEL, f->buf, SECTOR, false, &tc);
    if (n < SECTOR && !tc) {
        end_transfer(f, ST0_ABNORMAL, ST1_OR, 0);
        return;
    }
    bool more = next_sector(f, f->cmd[0] & 0x80);
    f->verify = tc || !more;
    f->req = (struct block_req){
        .op = BLOCK_WRITE, .offset = pos, .len = SECTOR, .buf = f->buf, .done = track_written, .opaque = f};
    block_submit(d->blk, &f->req);
}

static void start_track(struct fdc *f)
{
    struct floppy *d = &f->drive[f->unit];
    if (f->c >= d->cylinders || f->h >= d->heads || !f->r || f->r > d->sectors ||
        position(f, d) + SECTOR > block_size(d->blk)) {
        end_transfer(f, ST0_ABNORMAL, ST1_ND, 0);
        return;
    }
    f->phase = EXECUTE;
    if (f->write) {
        write_sector(f);
        return;
    }
    u32 last = f->eot < d->sectors && f->eot >= f->r ? f->eot : d->sectors;
    u64 pos = position(f, d), room = (block_size(d->blk) - pos) / SECTOR;
    f->count = last - f->r + 1u < room ? (u8)(last - f->r + 1) : (u8)room;
    f->req = (struct block_req){.op = BLOCK_READ,
                                .offset = pos,
                                .len = f->count * SECTOR,
                                .buf = f->buf,
                                .done = track_read,
                                .opaque = f};
    block_submit(d->blk, &f->req);
}

static void transfer(struct fdc *f, bool write)
{
    f->unit = f->cmd[1] & 3;
    f->c = f->cmd[2];
    f->h = f->cmd[3] & 1;
    f->r = f->cmd[4];
    f->n = f->cmd[5];
    f->eot = f->cmd[6];
    f->write = write;
    f->verify = (f->cmd[0] & 0x1f) == 0x16;
    struct floppy *d = f->unit < 2 ? &f->drive[f->unit] : NULL;
    if (!d || !d->present || !d->blk)
        end_transfer(f, ST0_ABNORMAL | ST0_NR, ST1_MA, 0);
    else if (f->specify[1] & 1)
        end_transfer(f, ST0_ABNORMAL, ST1_OR, 0);
    else if (write && block_read_only(d->blk))
        end_transfer(f, ST0_ABNORMAL, ST1_NW, 0);
    else if (f->n != 2 || d->track != f->c)
        end_transfer(f, ST0_ABNORMAL, ST1_ND, d->track != f->c ? 0x10 : 0);
    else
        start_track(f);
}

static void formatted(void *opaque, int result)
{
    struct fdc *f = opaque;
    end_transfer(f, result ? ST0_ABNORMAL : 0, result ? ST1_DE : 0, 0);
}

/* FORMAT TRACK: the headers come by DMA and are believed to be in order; the track is filled. */
static void format_track(struct fdc *f)
{
    struct floppy *d;
    u8 ids[MAX_SPT * 4];
    bool tc;
    f->unit = f->cmd[1] & 3;
    f->h = f->cmd[1] >> 2 & 1;
    f->n = f->cmd[2];
    f->r = 1;
    d = f->unit < 2 ? &f->drive[f->unit] : NULL;
    if (!d || !d->blk) {
        end_transfer(f, ST0_ABNORMAL | ST0_NR, ST1_MA, 0);
        return;
    }
    f->c = d->track;
    if (block_read_only(d->blk)) {
        end_transfer(f, ST0_ABNORMAL, ST1_NW, 0);
        return;
    }
    if (f->n != 2 || f->cmd[3] != d->sectors || f->h >= d->heads || f->c >= d->cylinders ||
        position(f, d) + d->sectors * SECTOR > block_size(d->blk)) {
        end_transfer(f, ST0_ABNORMAL, ST1_ND, 0);
        return;
    }
    dma_move(f->b, CHANNEL, ids, d->sectors * 4u, false, &tc);
    memset(f->buf, f->cmd[5], d->sectors * SECTOR);
    f->phase = EXECUTE;
    f->req = (struct block_req){.op = BLOCK_WRITE,
                                .offset = position(f, d),
                                .len = d->sectors * SECTOR,
                                .buf = f->buf,
                                .done = formatted,
                                .opaque = f};
    block_submit(d->blk, &f->req);
}

/* ---- other commands ---- */

static void seek_end(struct fdc *f, int unit, u8 track)
{
    u8 st0 = ST0_SEEK | unit;
    if (unit < 2 && f->drive[unit].present) {
        f->drive[unit].track = track > 84 ? 84 : track;
        if (f->drive[unit].blk)
            f->drive[unit].changed = 0; /* a step pulse with a disk in place clears the change line */
    } else {
        st0 |= ST0_ABNORMAL | 0x10; /* equipment check: no track 0 */
    }
    f->st0 = st0;
    f->seek_done = 1;
    results(f, 0);
    set_irq(f, true);
}

static void sense_interrupt(struct fdc *f)
{
    if (f->reset_sense) {
        f->result[0] = 0xc0 | (4 - f->reset_sense);
        f->result[1] = 0;
        f->reset_sense--;
    } else if (f->seek_done) {
        f->result[0] = f->st0;
        f->result[1] = (f->st0 & 3) < 2 ? f->drive[f->st0 & 1].track : 0;
        f->seek_done = 0;
    } else {
        f->result[0] = ST0_INVALID;
        results(f, 1);
        return;
    }
    set_irq(f, false);
    results(f, 2);
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
    results(f, 1);
}

static void read_id(struct fdc *f)
{
    f->unit = f->cmd[1] & 3;
    f->h = f->cmd[1] >> 2 & 1;
    struct floppy *d = f->unit < 2 ? &f->drive[f->unit] : NULL;
    f->n = 2;
    f->r = 1;
    f->c = d ? d->track : 0;
    if (!d || !d->blk || f->h >= d->heads || f->c >= d->cylinders)
        end_transfer(f, ST0_ABNORMAL, ST1_MA, 0);
    else
        end_transfer(f, 0, 0, 0);
}

static void dump_registers(struct fdc *f)
{
    u8 *r = f->result;
    r[0] = f->drive[0].track;
    r[1] = f->drive[1].track;
    r[2] = r[3] = 0;
    r[4] = f->specify[0];
    r[5] = f->specify[1];
    r[6] = f->eot;
    r[7] = f->locked << 7 | (f->perp & 0x3f);
    r[8] = f->config[1];
    r[9] = f->config[2];
    results(f, 10);
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
    case 0x16: /* VERIFY */
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
    case 0x06:
    case 0x0c:
    case 0x16:
        transfer(f, false);
        return;
    case 0x05:
    case 0x09:
        transfer(f, true);
        return;
    case 0x0d:
        format_track(f);
        return;
    case 0x0a:
        read_id(f);
        return;
    }
    switch (cmd) {
    case 0x03:
        memcpy(f->specify, f->cmd + 1, 2);
        results(f, 0);
        break;
    case 0x04:
        sense_drive(f);
        break;
    case 0x07:
        seek_end(f, f->cmd[1] & 3, 0);
        break;
    case 0x08:
        sense_interrupt(f);
        break;
    case 0x0f:
        seek_end(f, f->cmd[1] & 3, f->cmd[2]);
        break;
    case 0x8f:
    case 0xcf: { /* RELATIVE SEEK */
        int u = f->cmd[1] & 3, t = u < 2 ? f->drive[u].track : 0;
        t += cmd == 0xcf ? f->cmd[2] : -(int)f->cmd[2];
        seek_end(f, u, (u8)(t < 0 ? 0 : t > 255 ? 255 : t));
        break;
    }
    case 0x0e:
        dump_registers(f);
        break;
    case 0x10:
        f->result[0] = 0x90; /* enhanced controller */
        results(f, 1);
        break;
    case 0x18:
        f->result[0] = 0x41;
        results(f, 1);
        break;
    case 0x12:
        f->perp = f->cmd[1];
        results(f, 0);
        break;
    case 0x13:
        memcpy(f->config, f->cmd + 1, 3);
        results(f, 0);
        break;
    case 0x14:
    case 0x94:
        f->locked = cmd >> 7;
        f->result[0] = f->locked << 4;
        results(f, 1);
        break;
    }
}

static void fifo_write(struct fdc *f, u8 val)
{
    if (f->phase != IDLE || !(f->dor & DOR_RESET))
        return;
    if (!f->got) {
        f->want = command_length(val);
        if (!f->want) {
            f->result[0] = ST0_INVALID;
            results(f, 1);
            return;
        }
    }
    f->cmd[f->got++] = val;
    if (f->got == f->want)
        execute(f);
}

static u8 fifo_read(struct fdc *f)
{
    if (f->phase != RESULT)
        return 0;
    u8 val = f->result[f->result_pos++];
    if (f->result_len == 7)
        set_irq(f, false); /* the first result byte takes the interrupt back */
    if (f->result_pos == f->result_len)
        results(f, 0);
    return val;
}

/* ---- registers ---- */

static void controller_reset(struct fdc *f)
{
    block_cancel(&f->req);
    f->phase = IDLE;
    f->got = 0;
    f->seek_done = 0;
    if (!f->locked)
        memset(f->config, 0, sizeof(f->config));
    f->perp = 0;
    set_irq(f, false);
}

static void leave_reset(struct fdc *f)
{
    f->reset_sense = 4;
    set_irq(f, true);
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
        set_irq(f, f->irq);
}

static u8 msr(const struct fdc *f)
{
    if (!(f->dor & DOR_RESET))
        return 0;
    switch (f->phase) {
    case EXECUTE:
        return MSR_BUSY;
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
    if (f->req.pending && f->req.blk == d->blk) {
        block_cancel(&f->req);
        end_transfer(f, ST0_ABNORMAL | ST0_NR, ST1_MA, 0);
    }
    block_close(d->blk);
    d->blk = blk;
    d->changed = 1;
    geometry(d);
}

#define F(m) DEV_FIELD(struct fdc, m, 0)
static const struct device_field fdc_fields[] = {
    F(dor),       F(dsr),         F(tdr),    F(phase),   F(cmd),        F(got),        F(want),
    F(result),    F(irq),         F(perp),   F(config),  F(result_len), F(result_pos), F(st0),
    F(seek_done), F(reset_sense), F(locked), F(specify), DEV_END};

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
