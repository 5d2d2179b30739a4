/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floppy disk controller: an 82077AA at 3F0h-3F5h and 3F7h with drives A and B (Intel 290166).
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
#define MSR_NDMA 0x20
#define MSR_BUSY 0x10

#define DOR_RESET 0x04 /* 0: in reset */
#define DOR_DMA   0x08

#define ST0_ABNORMAL 0x40
#define ST0_INVALID  0x80
#define ST0_SEEK     0x20
#define ST0_EC       0x10
#define ST0_NR       0x08
#define ST0_POLL     0xc0
#define ST1_EN       0x80
#define ST1_DE       0x20
#define ST1_OR       0x10
#define ST1_ND       0x04
#define ST1_NW       0x02
#define ST1_MA       0x01
#define ST2_CM       0x40
#define ST2_DD       0x20
#define ST2_WC       0x10
#define ST2_SH       0x08
#define ST2_SN       0x04

#define EIS        0x40 /* CONFIGURE: implied seek */
#define EFIFO      0x20 /* no FIFO: the default */
#define LAST_TRACK 84   /* where the head stops */
#define STEPS      79   /* of a RECALIBRATE */

enum { IDLE, EXECUTE, RESULT };
enum { READ, READ_TRACK, VERIFY, WRITE, SCAN, FORMAT };
enum { PIO_IN = 1, PIO_OUT };

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
    u8 sense, st0[4], pcn[4]; /* drives that have a status for SENSE INTERRUPT; it; present cylinders */
    u8 config[3], locked, perp, specify[2];
    /* the transfer */
    u8 c, h, r, n, eot;
    u8 unit, side, op; /* drive, and the head that is selected */
    u8 count, at;      /* sectors in buf, and how many of them are done */
    u16 left;          /* VERIFY with EC: sectors to go, else 0 */
    bool nd, tc, implied;
    u8 pio;
    u16 pos;         /* bytes of the sector or the headers that the CPU has moved */
    u8 data[SECTOR]; /* what a scan compares with; FORMAT's headers */
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
    f->pio = 0;
    f->result[0] = st0 | (f->implied ? ST0_SEEK : 0) | f->side << 2 | f->unit;
    f->result[1] = st1;
    f->result[2] = st2;
    f->result[3] = f->c;
    f->result[4] = f->h;
    f->result[5] = f->r;
    f->result[6] = f->n;
    results(f, 7);
    set_irq(f, true);
}

/* After a sector: the address behind it (82077AA, table 5-8). Returns false at the end of the cylinder. */
static bool next_sector(struct fdc *f)
{
    bool mt = f->op != READ_TRACK && (f->cmd[0] & 0x80);
    if (f->r != f->eot) {
        f->r += f->op == SCAN && f->cmd[8] == 2 ? 2 : 1;
        return true;
    }
    f->r = 1;
    if (mt)
        f->h = !f->h;
    if (mt && f->h)
        return true;
    f->c++;
    return false;
}

static u64 position(const struct fdc *f, const struct floppy *d)
{
    return ((u64)(f->c * d->heads + f->h) * d->sectors + f->r - 1) * SECTOR;
}

/* Do the heads see sectors? The data rate must be the medium's: 1 Mb/s for 36 sectors a track, 250 kb/s (300
 * where a drive for 1.2 MB turns a slow disk faster) for 8 and 9, 500 for the others. Guests find out by this
 * which disk it is. */
static bool readable(const struct fdc *f, const struct floppy *d, int head)
{
    u8 rate = f->dsr & 3;
    bool right = d->sectors == 36 ? rate == 3 : d->sectors <= 9 ? rate == 1 || rate == 2 : rate == 0;
    return d->blk && right && d->track < d->cylinders && head < d->heads;
}

/* ST1 of a sector that is not there, 0 if it is. */
static u8 missing(const struct fdc *f, const struct floppy *d)
{
    if (!readable(f, d, f->side))
        return ST1_MA;
    return !f->r || f->r > d->sectors || position(f, d) + SECTOR > block_size(d->blk) ? ST1_ND : 0;
}

static void start_track(struct fdc *f);

/* Another sector was moved. Returns true if the next one is wanted; else the command has ended. */
static bool sector_done(struct fdc *f, bool tc)
{
    f->at++;
    if ((f->cmd[0] & 0x1f) == 0x0c) { /* READ DELETED DATA stops at a normal sector and stays there */
        end_transfer(f, 0, 0, ST2_CM);
        return false;
    }
    bool more = next_sector(f), end = tc;
    if (f->op == VERIFY)
        end = f->left ? !--f->left : !more;
    else if (f->op == READ_TRACK)
        end |= !more;
    if (end) /* READ TRACK sees IDs that it did not expect, and goes on */
        end_transfer(f, 0, f->op == READ_TRACK && f->cmd[4] != 1 ? ST1_ND : 0, 0);
    else if (!more)
        end_transfer(f, ST0_ABNORMAL, ST1_EN, 0);
    return !end && more;
}

static void ask_cpu(struct fdc *f, u8 direction)
{
    f->pio = direction;
    f->pos = 0;
    set_irq(f, true);
}

/* Bytes from memory. Returns how many; -1: nobody sent them in time, and the command has ended. */
static int fetch(struct fdc *f, u8 *to, u32 len)
{
    u32 n = f->dor & DOR_DMA ? dma_move(f->b, CHANNEL, to, len, false, &f->tc) : 0;
    if (n < len && !f->tc) {
        end_transfer(f, ST0_ABNORMAL, ST1_OR, 0);
        return -1;
    }
    return (int)n;
}

/* SCAN EQUAL, LOW OR EQUAL, HIGH OR EQUAL of n bytes; FFh on either side fits everything. */
static void scan_sector(struct fdc *f, int n)
{
    bool equal = true, met = true;
    for (int i = 0; i < n; i++) {
        u8 disk = f->buf[i], cpu = f->data[i];
        if (disk == cpu || disk == 0xff || cpu == 0xff)
            continue;
        equal = false;
        met &= (f->cmd[0] & 0x1f) == 0x19 ? disk < cpu : (f->cmd[0] & 0x1f) == 0x1d ? disk > cpu : false;
    }
    if (met)
        end_transfer(f, 0, 0, equal ? ST2_SH : 0);
    else if (!next_sector(f) || f->tc)
        end_transfer(f, 0, 0, ST2_SN);
    else
        start_track(f);
}

static void track_read(void *opaque, int result)
{
    struct fdc *f = opaque;
    if (result) {
        end_transfer(f, ST0_ABNORMAL, ST1_DE, ST2_DD);
        return;
    }
    if (f->nd && f->op != VERIFY) {
        ask_cpu(f, f->op == SCAN ? PIO_OUT : PIO_IN);
        return;
    }
    if (f->op == SCAN) {
        int n = fetch(f, f->data, SECTOR);
        if (n >= 0)
            scan_sector(f, n);
        return;
    }
    while (f->at < f->count) {
        bool tc = false;
        if (f->op != VERIFY) {
            u8 *from = f->buf + f->at * SECTOR;
            u32 n = f->dor & DOR_DMA ? dma_move(f->b, CHANNEL, from, SECTOR, true, &tc) : 0;
            if (n < SECTOR && !tc) {
                end_transfer(f, ST0_ABNORMAL, ST1_OR, 0);
                return;
            }
        }
        if (!sector_done(f, tc))
            return;
    }
    start_track(f);
}

static void sector_written(void *opaque, int result)
{
    struct fdc *f = opaque;
    if (result)
        end_transfer(f, ST0_ABNORMAL, ST1_DE, ST2_DD);
    else if (sector_done(f, f->tc))
        start_track(f);
}

static void submit(struct fdc *f, enum block_op op, u32 sectors, void (*done)(void *opaque, int result))
{
    struct floppy *d = &f->drive[f->unit];
    f->req = (struct block_req){.op = op,
                                .offset = position(f, d),
                                .len = sectors * SECTOR,
                                .buf = f->buf,
                                .done = done,
                                .opaque = f};
    block_submit(d->blk, &f->req);
}

static void start_track(struct fdc *f)
{
    struct floppy *d = &f->drive[f->unit];
    f->side = f->h & 1;
    u8 st1 = missing(f, d);
    if (st1) {
        end_transfer(f, ST0_ABNORMAL, st1, 0);
        return;
    }
    f->phase = EXECUTE;
    f->pio = f->at = 0;
    if (f->op == WRITE) { /* one sector a request: where TC ends the data is known only while it is fetched */
        memset(f->buf, 0, SECTOR);
        if (f->nd)
            ask_cpu(f, PIO_OUT);
        else if (fetch(f, f->buf, SECTOR) >= 0)
            submit(f, BLOCK_WRITE, 1, sector_written);
        return;
    }
    u32 last = f->eot < d->sectors && f->eot >= f->r ? f->eot : d->sectors;
    u64 room = (block_size(d->blk) - position(f, d)) / SECTOR;
    f->count = last - f->r + 1u < room ? (u8)(last - f->r + 1) : (u8)room;
    if (f->op == SCAN)
        f->count = 1;
    submit(f, BLOCK_READ, f->count, track_read);
}

/* READ DELETED DATA with SK: every sector up to EOT has the wrong mark and is skipped. */
static void skip_all(struct fdc *f)
{
    do {
        f->side = f->h & 1;
        u8 st1 = missing(f, &f->drive[f->unit]);
        if (st1) {
            end_transfer(f, ST0_ABNORMAL, st1, ST2_CM);
            return;
        }
    } while (next_sector(f));
    end_transfer(f, ST0_ABNORMAL, ST1_EN, ST2_CM);
}

static void step_to(struct floppy *d, u8 track)
{
    if (track > LAST_TRACK)
        track = LAST_TRACK;
    if (d->blk && track != d->track)
        d->changed = 0; /* a step pulse with a disk in place clears the change line */
    d->track = track;
}

static void begin(struct fdc *f, u8 op)
{
    f->op = op;
    f->unit = f->cmd[1] & 3;
    f->side = f->cmd[1] >> 2 & 1;
    f->nd = f->specify[1] & 1;
    f->tc = f->implied = false;
    f->left = 0;
}

static void transfer(struct fdc *f, u8 op)
{
    begin(f, op);
    f->c = f->cmd[2];
    f->h = f->cmd[3];
    f->r = f->cmd[4];
    f->n = f->cmd[5];
    f->eot = f->cmd[6];
    if (op == VERIFY && (f->cmd[1] & 0x80))
        f->left = f->cmd[8] ? f->cmd[8] : 256;
    struct floppy *d = f->unit < 2 ? &f->drive[f->unit] : NULL;
    if (!d || !d->present || !d->blk) {
        end_transfer(f, ST0_ABNORMAL | ST0_NR, ST1_MA, 0);
        return;
    }
    if (f->config[1] & EIS) {
        step_to(d, f->c);
        f->pcn[f->unit] = f->c;
        f->implied = true;
    }
    if (op == WRITE && block_read_only(d->blk)) {
        end_transfer(f, ST0_ABNORMAL, ST1_NW, 0);
    } else if (!readable(f, d, f->side)) {
        end_transfer(f, ST0_ABNORMAL, ST1_MA, 0);
    } else if (d->track != f->c) {
        end_transfer(f, ST0_ABNORMAL, ST1_ND, ST2_WC);
    } else if (f->n != 2 || f->h != f->side) {
        end_transfer(f, ST0_ABNORMAL, ST1_ND, 0);
    } else if ((f->cmd[0] & 0x3f) == 0x2c) {
        skip_all(f);
    } else {
        if (op == READ_TRACK) /* from the index hole on, whatever R says */
            f->r = 1;
        start_track(f);
    }
}

static void formatted(void *opaque, int result)
{
    struct fdc *f = opaque;
    end_transfer(f, result ? ST0_ABNORMAL : 0, result ? ST1_DE : 0, 0);
}

/* The headers are there, and are believed to be in order; the track is filled. */
static void fill_track(struct fdc *f)
{
    struct floppy *d = &f->drive[f->unit];
    memset(f->buf, f->cmd[5], d->sectors * SECTOR);
    submit(f, BLOCK_WRITE, d->sectors, formatted);
}

static void format_track(struct fdc *f)
{
    begin(f, FORMAT);
    f->h = f->side;
    f->n = f->cmd[2];
    f->eot = f->cmd[3]; /* the same register */
    f->r = 1;
    struct floppy *d = f->unit < 2 ? &f->drive[f->unit] : NULL;
    f->c = d ? d->track : 0;
    if (!d || !d->present || !d->blk) {
        end_transfer(f, ST0_ABNORMAL | ST0_NR, ST1_MA, 0);
        return;
    }
    if (block_read_only(d->blk)) {
        end_transfer(f, ST0_ABNORMAL, ST1_NW, 0);
        return;
    }
    if (f->n != 2 || f->eot != d->sectors || !readable(f, d, f->side) ||
        position(f, d) + d->sectors * SECTOR > block_size(d->blk)) { /* the image cannot hold such a track */
        end_transfer(f, ST0_ABNORMAL, ST1_ND, 0);
        return;
    }
    f->phase = EXECUTE;
    if (f->nd)
        ask_cpu(f, PIO_OUT);
    else if (fetch(f, f->data, d->sectors * 4u) >= 0)
        fill_track(f);
}

/* ---- data by the CPU ---- */

static u8 pio_read(struct fdc *f)
{
    u8 val = f->buf[f->at * SECTOR + f->pos++];
    set_irq(f, false); /* each byte is asked for by an edge */
    if (f->pos == SECTOR) {
        f->pos = 0;
        if (!sector_done(f, false))
            return val;
        if (f->at == f->count) {
            start_track(f);
            return val;
        }
    }
    set_irq(f, true);
    return val;
}

static void pio_write(struct fdc *f, u8 val)
{
    u32 len = f->op == FORMAT ? f->drive[f->unit].sectors * 4u : SECTOR;
    (f->op == WRITE ? f->buf : f->data)[f->pos++] = val;
    set_irq(f, false);
    if (f->pos < len) {
        set_irq(f, true);
        return;
    }
    f->pio = 0;
    if (f->op == WRITE)
        submit(f, BLOCK_WRITE, 1, sector_written);
    else if (f->op == SCAN)
        scan_sector(f, SECTOR);
    else
        fill_track(f);
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
        step_to(d, track);
    f->st0[unit] = st0;
    f->sense |= 1 << unit;
    results(f, 0);
    set_irq(f, true);
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
        results(f, 1);
        return;
    }
    f->sense &= ~(1 << unit);
    f->result[0] = f->st0[unit];
    f->result[1] = f->pcn[unit];
    set_irq(f, false);
    if (to_sense(f, &sought) >= 0 && sought) /* overlapped seeks: an interrupt each */
        set_irq(f, true);
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
    begin(f, READ);
    struct floppy *d = f->unit < 2 ? &f->drive[f->unit] : NULL;
    f->h = f->side;
    f->n = 2;
    f->r = 1;
    f->c = d ? d->track : 0;
    if (!d || !readable(f, d, f->side))
        end_transfer(f, ST0_ABNORMAL, ST1_MA, 0);
    else
        end_transfer(f, 0, 0, 0);
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
        transfer(f, READ_TRACK);
        return;
    case 0x06:
    case 0x0c:
        transfer(f, READ);
        return;
    case 0x16:
        transfer(f, VERIFY);
        return;
    case 0x05:
    case 0x09:
        transfer(f, WRITE);
        return;
    case 0x11:
    case 0x19:
    case 0x1d:
        transfer(f, SCAN);
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
        results(f, 1);
        break;
    case 0x18:
        f->result[0] = 0x41;
        results(f, 1);
        break;
    case 0x12:
        f->perp = f->cmd[1] & 0x80 ? f->cmd[1] & 0x3f : (f->perp & 0x3c) | (f->cmd[1] & 3); /* OW */
        results(f, 0);
        break;
    case 0x13:
        memcpy(f->config, f->cmd + 1, 3);
        f->config[1] &= 0x7f;
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
    if (f->phase == EXECUTE && f->pio == PIO_OUT) {
        pio_write(f, val);
        return;
    }
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
    if (f->phase == EXECUTE && f->pio == PIO_IN)
        return pio_read(f);
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
    f->got = f->pio = f->sense = 0;
    f->config[0] = 0; /* LOCK holds EFIFO, FIFOTHR and PRETRK */
    f->config[1] = f->locked ? f->config[1] & (EFIFO | 15) : EFIFO;
    f->config[2] = f->locked ? f->config[2] : 0;
    f->perp &= 0x3c; /* GAP and WGATE go */
    set_irq(f, false);
}

static void leave_reset(struct fdc *f)
{
    f->sense = 15; /* the poll that follows finds all drives changed */
    for (int i = 0; i < 4; i++)
        f->st0[i] = ST0_POLL | i;
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
        end_transfer(f, ST0_ABNORMAL | ST0_NR, ST1_MA, 0);
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
