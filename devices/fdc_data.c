/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floppy controller's commands that move data: read, write, verify, scan, format, by DMA or by the CPU.
 *
 * Data is read from the image a track at a time, written and scanned a sector at a time, since where TC ends
 * the data is known only while it is fetched. Whatever an image's thread hands back comes in on the vCPU
 * thread (bus_defer()), and only while the command runs: fdc.c cancels the request when it cuts a command
 * short.
 *
 * Invariant: a command that has begun ends in fdc_end_transfer(), exactly once, whatever the guest
 * programmed.
 */
#include <string.h>
#include "devices/dma.h"
#include "devices/fdc_int.h"

/* ---- reading and writing ---- */

void fdc_end_transfer(struct fdc *f, u8 st0, u8 st1, u8 st2)
{
    f->pio = 0;
    f->result[0] = st0 | (f->implied ? ST0_SEEK : 0) | f->side << 2 | f->unit;
    f->result[1] = st1;
    f->result[2] = st2;
    f->result[3] = f->c;
    f->result[4] = f->h;
    f->result[5] = f->r;
    f->result[6] = f->n;
    fdc_results(f, 7);
    fdc_set_irq(f, true);
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
        fdc_end_transfer(f, 0, 0, ST2_CM);
        return false;
    }
    bool more = next_sector(f), end = tc;
    if (f->op == VERIFY)
        end = f->left ? !--f->left : !more;
    else if (f->op == READ_TRACK)
        end |= !more;
    if (end) /* READ TRACK sees IDs that it did not expect, and goes on */
        fdc_end_transfer(f, 0, f->op == READ_TRACK && f->cmd[4] != 1 ? ST1_ND : 0, 0);
    else if (!more)
        fdc_end_transfer(f, ST0_ABNORMAL, ST1_EN, 0);
    return !end && more;
}

static void ask_cpu(struct fdc *f, u8 direction)
{
    f->pio = direction;
    f->pos = 0;
    fdc_set_irq(f, true);
}

/* Bytes from memory. Returns how many; -1: nobody sent them in time, and the command has ended. */
static int fetch(struct fdc *f, u8 *to, u32 len)
{
    u32 n = f->dor & DOR_DMA ? dma_move(f->b, CHANNEL, to, len, false, &f->tc) : 0;
    if (n < len && !f->tc) {
        fdc_end_transfer(f, ST0_ABNORMAL, ST1_OR, 0);
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
        fdc_end_transfer(f, 0, 0, equal ? ST2_SH : 0);
    else if (!next_sector(f) || f->tc)
        fdc_end_transfer(f, 0, 0, ST2_SN);
    else
        start_track(f);
}

static void track_read(void *opaque, int result)
{
    struct fdc *f = opaque;
    if (result) {
        fdc_end_transfer(f, ST0_ABNORMAL, ST1_DE, ST2_DD);
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
                fdc_end_transfer(f, ST0_ABNORMAL, ST1_OR, 0);
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
        fdc_end_transfer(f, ST0_ABNORMAL, ST1_DE, ST2_DD);
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
        fdc_end_transfer(f, ST0_ABNORMAL, st1, 0);
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
            fdc_end_transfer(f, ST0_ABNORMAL, st1, ST2_CM);
            return;
        }
    } while (next_sector(f));
    fdc_end_transfer(f, ST0_ABNORMAL, ST1_EN, ST2_CM);
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

void fdc_transfer(struct fdc *f, u8 op)
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
        fdc_end_transfer(f, ST0_ABNORMAL | ST0_NR, ST1_MA, 0);
        return;
    }
    if (f->config[1] & EIS) {
        fdc_step_to(d, f->c);
        f->pcn[f->unit] = f->c;
        f->implied = true;
    }
    if (op == WRITE && block_read_only(d->blk)) {
        fdc_end_transfer(f, ST0_ABNORMAL, ST1_NW, 0);
    } else if (!readable(f, d, f->side)) {
        fdc_end_transfer(f, ST0_ABNORMAL, ST1_MA, 0);
    } else if (d->track != f->c) {
        fdc_end_transfer(f, ST0_ABNORMAL, ST1_ND, ST2_WC);
    } else if (f->n != 2 || f->h != f->side) {
        fdc_end_transfer(f, ST0_ABNORMAL, ST1_ND, 0);
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
    fdc_end_transfer(f, result ? ST0_ABNORMAL : 0, result ? ST1_DE : 0, 0);
}

/* The headers are there, and are believed to be in order; the track is filled. */
static void fill_track(struct fdc *f)
{
    struct floppy *d = &f->drive[f->unit];
    memset(f->buf, f->cmd[5], d->sectors * SECTOR);
    submit(f, BLOCK_WRITE, d->sectors, formatted);
}

void fdc_format_track(struct fdc *f)
{
    begin(f, FORMAT);
    f->h = f->side;
    f->n = f->cmd[2];
    f->eot = f->cmd[3]; /* the same register */
    f->r = 1;
    struct floppy *d = f->unit < 2 ? &f->drive[f->unit] : NULL;
    f->c = d ? d->track : 0;
    if (!d || !d->present || !d->blk) {
        fdc_end_transfer(f, ST0_ABNORMAL | ST0_NR, ST1_MA, 0);
        return;
    }
    if (block_read_only(d->blk)) {
        fdc_end_transfer(f, ST0_ABNORMAL, ST1_NW, 0);
        return;
    }
    if (f->n != 2 || f->eot != d->sectors || !readable(f, d, f->side) ||
        position(f, d) + d->sectors * SECTOR > block_size(d->blk)) { /* the image cannot hold such a track */
        fdc_end_transfer(f, ST0_ABNORMAL, ST1_ND, 0);
        return;
    }
    f->phase = EXECUTE;
    if (f->nd)
        ask_cpu(f, PIO_OUT);
    else if (fetch(f, f->data, d->sectors * 4u) >= 0)
        fill_track(f);
}

/* ---- data by the CPU ---- */

u8 fdc_pio_read(struct fdc *f)
{
    u8 val = f->buf[f->at * SECTOR + f->pos++];
    fdc_set_irq(f, false); /* each byte is asked for by an edge */
    if (f->pos == SECTOR) {
        f->pos = 0;
        if (!sector_done(f, false))
            return val;
        if (f->at == f->count) {
            start_track(f);
            return val;
        }
    }
    fdc_set_irq(f, true);
    return val;
}

void fdc_pio_write(struct fdc *f, u8 val)
{
    u32 len = f->op == FORMAT ? f->drive[f->unit].sectors * 4u : SECTOR;
    (f->op == WRITE ? f->buf : f->data)[f->pos++] = val;
    fdc_set_irq(f, false);
    if (f->pos < len) {
        fdc_set_irq(f, true);
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

void fdc_read_id(struct fdc *f)
{
    begin(f, READ);
    struct floppy *d = f->unit < 2 ? &f->drive[f->unit] : NULL;
    f->h = f->side;
    f->n = 2;
    f->r = 1;
    f->c = d ? d->track : 0;
    if (!d || !readable(f, d, f->side))
        fdc_end_transfer(f, ST0_ABNORMAL, ST1_MA, 0);
    else
        fdc_end_transfer(f, 0, 0, 0);
}
