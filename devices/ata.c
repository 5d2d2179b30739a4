/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ATA disk commands (ATA/ATAPI-6, T13/1410D), and the commands that disks share with CD-ROM drives.
 *
 * Reads and writes are loops over stretches: `lba` and `left` say what remains, `chunk` what is under way.
 * PIO moves 1 sector, or `mult` with READ/WRITE MULTIPLE, between two interrupts; bus master commands as much
 * as the buffer holds. The address registers are not updated while a command runs (6.2 allows it); on an
 * error they name the first sector of the stretch that failed.
 *
 * Everything the guest gives is checked against the disk's size before anything moves: beyond its end is
 * IDNF.
 */
#include <string.h>
#include "base/log.h"
#include "devices/ide_int.h"

/* ---- addresses ---- */

static u64 disk_sectors(const struct ide_drive *d)
{
    return d->blk ? block_size(d->blk) / SECTOR : 0;
}

static u64 get_lba(const struct ide_chan *c, const struct ide_drive *d)
{
    if (c->lba48)
        return (u64)d->lba_high[1] << 40 | (u64)d->lba_mid[1] << 32 | (u64)d->lba_low[1] << 24 |
               (u64)d->lba_high[0] << 16 | (u64)d->lba_mid[0] << 8 | d->lba_low[0];
    if (d->select & 0x40)
        return (u64)(d->select & 15) << 24 | (u64)d->lba_high[0] << 16 | (u64)d->lba_mid[0] << 8 |
               d->lba_low[0];
    u32 cyl = d->lba_mid[0] | (u32)d->lba_high[0] << 8;
    if (!d->lba_low[0] || d->lba_low[0] > d->sectors || (d->select & 15) >= d->heads)
        return UINT64_MAX;
    return ((u64)cyl * d->heads + (d->select & 15)) * d->sectors + d->lba_low[0] - 1;
}

static void put_lba(const struct ide_chan *c, struct ide_drive *d, u64 lba)
{
    if (!c->lba48 && !(d->select & 0x40)) {
        u32 track = (u32)(lba / d->sectors);
        d->lba_low[0] = lba % d->sectors + 1;
        d->select = (d->select & 0xf0) | (track % d->heads & 15);
        d->lba_mid[0] = track / d->heads;
        d->lba_high[0] = track / d->heads >> 8;
        return;
    }
    d->lba_low[0] = lba;
    d->lba_mid[0] = lba >> 8;
    d->lba_high[0] = lba >> 16;
    if (c->lba48) {
        d->lba_low[1] = lba >> 24;
        d->lba_mid[1] = lba >> 32;
        d->lba_high[1] = lba >> 40;
    } else {
        d->select = (d->select & 0xf0) | (lba >> 24 & 15);
    }
}

static u32 get_count(const struct ide_chan *c, const struct ide_drive *d)
{
    if (!c->lba48)
        return d->count[0] ? d->count[0] : 256;
    u32 n = d->count[0] | (u32)d->count[1] << 8;
    return n ? n : 65536;
}

/* Sets lba and left; false if the command was refused. */
static bool start(struct ide_chan *c, bool lba48)
{
    struct ide_drive *d = ide_selected(c);
    c->lba48 = lba48;
    c->lba = get_lba(c, d);
    c->left = get_count(c, d);
    if (c->lba >= disk_sectors(d) || c->left > disk_sectors(d) - c->lba) {
        ide_abort(c, ER_IDNF);
        return false;
    }
    return true;
}

static void fail(struct ide_chan *c, u8 error)
{
    put_lba(c, ide_selected(c), c->lba);
    ide_abort(c, error);
}

static void advance(struct ide_chan *c)
{
    c->lba += c->chunk;
    c->left -= c->chunk;
}

/* ---- PIO ---- */

/* The image is read and written in large stretches; the host sees the blocks that it asked for. */

static u32 per_irq(struct ide_chan *c)
{
    u8 cmd = c->command;
    bool multiple = cmd == 0xc4 || cmd == 0x29 || cmd == 0xc5 || cmd == 0x39 || cmd == 0xce;
    return multiple ? ide_selected(c)->mult : 1;
}

static void block_done(struct ide_chan *c);

/* The next block of the stretch: [reply_pos, reply) of the buffer is left. */
static void offer_block(struct ide_chan *c, bool to_host)
{
    u32 n = per_irq(c) * SECTOR, left = c->reply - c->reply_pos;
    ide_pio_at(c, c->reply_pos, n < left ? n : left, to_host, block_done);
}

static void finish(struct ide_chan *c)
{
    put_lba(c, ide_selected(c), c->lba - 1);
    ide_selected(c)->count[0] = 0;
}

static void read_done(void *opaque, int result)
{
    struct ide_chan *c = opaque;
    if (result) {
        fail(c, ER_UNC);
        return;
    }
    c->reply = c->chunk * SECTOR;
    c->reply_pos = 0;
    offer_block(c, true);
    ide_irq(c, true);
}

static void read_next(struct ide_chan *c)
{
    c->chunk = c->left < IDE_CHUNK / SECTOR ? c->left : IDE_CHUNK / SECTOR;
    ide_submit(c, BLOCK_READ, c->lba * SECTOR, c->chunk * SECTOR, read_done);
}

static void write_next(struct ide_chan *c)
{
    c->chunk = c->left < IDE_CHUNK / SECTOR ? c->left : IDE_CHUNK / SECTOR;
    c->reply = c->chunk * SECTOR;
    c->reply_pos = 0;
    offer_block(c, false);
}

static void write_done(void *opaque, int result)
{
    struct ide_chan *c = opaque;
    if (result) {
        fail(c, ER_ABRT);
        return;
    }
    advance(c);
    if (c->left) {
        write_next(c);
        ide_irq(c, true);
        return;
    }
    finish(c);
    ide_done(c);
}

/* A block has moved. */
static void block_done(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    bool to_host = c->to_host;
    c->reply_pos = c->end;
    if (c->reply_pos < c->reply) {
        offer_block(c, to_host);
        ide_irq(c, true);
        return;
    }
    if (!to_host) {
        ide_submit(c, BLOCK_WRITE, c->lba * SECTOR, c->chunk * SECTOR, write_done);
        return;
    }
    advance(c);
    if (c->left) {
        read_next(c);
        return;
    }
    finish(c);
    d->status = ST_DRDY | ST_DSC;
    c->next = NULL;
}

/* ---- bus master ---- */

static void dma_step(struct ide_chan *c);

static void dma_finish(struct ide_chan *c)
{
    finish(c);
    ide_dma_end(c);
    ide_done(c);
}

static void dma_short(struct ide_chan *c)
{
    LOG(guest_errors, "ide: the PRD table is too short");
    c->dma = false;
    c->bm_status &= ~BMS_ACTIVE;
    ide_selected(c)->status = ST_DRDY | ST_DSC;
}

static void dma_read_done(void *opaque, int result)
{
    struct ide_chan *c = opaque;
    if (result) {
        ide_dma_end(c);
        fail(c, ER_UNC);
    } else if (!ide_dma_move(c, c->chunk * SECTOR, true)) {
        dma_short(c);
    } else {
        advance(c);
        if (c->left)
            dma_step(c);
        else
            dma_finish(c);
    }
}

static void dma_write_done(void *opaque, int result)
{
    struct ide_chan *c = opaque;
    if (result) {
        ide_dma_end(c);
        fail(c, ER_ABRT);
        return;
    }
    advance(c);
    if (c->left)
        dma_step(c);
    else
        dma_finish(c);
}

static void dma_step(struct ide_chan *c)
{
    bool write = c->command == 0xca || c->command == 0xcb || c->command == 0x35 || c->command == 0x3d;
    c->chunk = c->left < IDE_CHUNK / SECTOR ? c->left : IDE_CHUNK / SECTOR;
    if (!write)
        ide_submit(c, BLOCK_READ, c->lba * SECTOR, c->chunk * SECTOR, dma_read_done);
    else if (ide_dma_move(c, c->chunk * SECTOR, false))
        ide_submit(c, BLOCK_WRITE, c->lba * SECTOR, c->chunk * SECTOR, dma_write_done);
    else
        dma_short(c);
}

#define TRIM_PAGES 8

/* DATA SET MANAGEMENT, TRIM: pages of 512 bytes with 64 ranges each (48-bit LBA, 16-bit count). */
static void trim_next(struct ide_chan *c);

static void trim_done(void *opaque, int result)
{
    struct ide_chan *c = opaque;
    if (result) {
        ide_dma_end(c);
        ide_abort(c, ER_ABRT);
        return;
    }
    trim_next(c);
}

static void trim_next(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    while (c->reply_pos + 8 <= c->reply) {
        u64 e;
        memcpy(&e, c->buf + c->reply_pos, 8);
        c->reply_pos += 8;
        u64 lba = e & 0xffffffffffffull, n = e >> 48;
        if (!n)
            continue;
        if (lba >= disk_sectors(d) || n > disk_sectors(d) - lba) {
            ide_dma_end(c);
            ide_abort(c, ER_IDNF);
            return;
        }
        ide_submit(c, BLOCK_DISCARD, lba * SECTOR, (u32)n * SECTOR, trim_done);
        return;
    }
    ide_dma_end(c);
    ide_done(c);
}

static void trim_step(struct ide_chan *c)
{
    c->reply = c->left * SECTOR;
    c->reply_pos = 0;
    if (!ide_dma_move(c, c->reply, false))
        dma_short(c);
    else
        trim_next(c);
}

/* ---- identification ---- */

static void text(u16 *w, const char *s, int words)
{
    for (int i = 0; i < words; i++) {
        u8 a = *s ? (u8)*s++ : ' ', b = *s ? (u8)*s++ : ' ';
        w[i] = a << 8 | b;
    }
}

void ide_identify(struct ide_chan *c, u16 *w)
{
    struct ide_drive *d = ide_selected(c);
    memset(w, 0, 512);
    text(w + 10, d->serial, 10);
    text(w + 23, NOVT_VERSION, 4);
    text(w + 27, d->cdrom ? "NOVT DVD-ROM" : "NOVT HARDDISK", 20);
    w[53] = 7; /* words 54-58, 64-70, 88 are valid */
    w[62] = w[63] = 7;
    w[64] = 3; /* PIO 3 and 4 */
    w[65] = w[66] = w[67] = w[68] = 120;
    w[80] = 0xf0; /* ATA/ATAPI 4-7: Linux wants 7 before it believes in TRIM */
    w[88] = 0x3f; /* UDMA 0-5 */
    if ((d->dma_mode & 0xf8) == 0x20)
        w[63] |= 0x100u << (d->dma_mode & 7);
    else if ((d->dma_mode & 0xf8) == 0x40)
        w[88] |= 0x100u << (d->dma_mode & 7);
    w[93] = 0x600b | (c->unit ? 0x0100 : 1); /* hardware reset result, 80-conductor cable */
    if (d->cdrom) {
        w[0] = 0x85c0; /* CD-ROM, removable, 12-byte packets, DRQ within 50 us */
        w[49] = 0x0f00;
        w[71] = w[72] = 30;
        return;
    }
    u64 n = disk_sectors(d);
    u8 sum = 0;
    u64 cyl = n / (16 * 63) < 16383 ? n / (16 * 63) : 16383;
    u32 chs = (u32)cyl * 16 * 63;
    u64 cur_cyl = n / ((u64)d->heads * d->sectors);
    w[0] = 0x0040;
    w[1] = cyl;
    w[3] = 16;
    w[4] = 63 * 512;
    w[5] = 512;
    w[6] = 63;
    w[20] = 3;
    w[21] = 512; /* 256 KiB of cache */
    w[22] = 4;
    w[47] = 0x8000 | MULT_MAX;
    w[48] = 1;
    w[49] = 0x0f00; /* LBA, DMA, IORDY */
    w[51] = w[52] = 0x200;
    w[54] = cur_cyl < 65535 ? cur_cyl : 65535;
    w[55] = d->heads;
    w[56] = d->sectors;
    w[57] = chs;
    w[58] = chs >> 16;
    w[59] = d->mult ? 0x100 | d->mult : 0;
    u32 lba28 = n < 0x0fffffff ? (u32)n : 0x0fffffff;
    w[60] = lba28;
    w[61] = lba28 >> 16;
    w[82] = 0x7029; /* NOP, READ/WRITE BUFFER, write cache, power management, SMART */
    w[83] = 0x7400; /* 48-bit, FLUSH CACHE (EXT) */
    w[84] = 0x4040; /* WRITE FUA EXT */
    w[85] = 0x7008 | (d->write_cache ? 0x20 : 0) | (d->smart ? 1 : 0);
    w[86] = 0x3400;
    w[87] = 0x4040;
    for (int i = 0; i < 4; i++)
        w[100 + i] = n >> (16 * i);
    if (block_discards(d->blk)) {
        w[69] = 0x4020; /* trimmed sectors read as zeros */
        w[105] = TRIM_PAGES;
        w[169] = 1;
    }
    for (int i = 0; i < 255; i++)
        sum += (u8)w[i] + (u8)(w[i] >> 8);
    w[255] = (u16)(u8) - (sum + 0xa5) << 8 | 0xa5; /* checksum: all bytes add up to 0 */
}

static void data_taken(struct ide_chan *c)
{
    ide_selected(c)->status = ST_DRDY | ST_DSC;
    c->next = NULL;
}

void ata_set_features(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    switch (d->feature[0]) {
    case 0x03: { /* transfer mode */
        u8 m = d->count[0], n = m & 7;
        bool ok = m <= 0x0c || ((m & 0xf8) == 0x20 && n <= 2) || ((m & 0xf8) == 0x40 && n <= 5);
        if (!ok) {
            ide_abort(c, ER_ABRT);
            return;
        }
        if (m >= 0x20)
            d->dma_mode = m;
        break;
    }
    case 0x02:
        d->write_cache = 1;
        break;
    case 0x82:
        d->write_cache = 0;
        break;
    case 0x05: /* power management, acoustic, read-ahead, defaults: nothing to do */
    case 0x85:
    case 0x42:
    case 0xc2:
    case 0x55:
    case 0xaa:
    case 0x66:
    case 0xcc:
        break;
    default:
        ide_abort(c, ER_ABRT);
        return;
    }
    ide_done(c);
}

/* SMART (ATA-6, 8.41): a disk that is well, with a few attributes whose values say so. */
static void smart(struct ide_chan *c)
{
    static const u8 attributes[][4] = {{1, 3, 100, 6}, {5, 3, 100, 36}, {9, 3, 100, 0}, {194, 2, 69, 50}};
    struct ide_drive *d = ide_selected(c);
    u8 *r = c->buf, sum = 0, what = d->feature[0];
    if (d->lba_mid[0] != 0x4f || d->lba_high[0] != 0xc2 || (!d->smart && what != 0xd8)) {
        ide_abort(c, ER_ABRT);
        return;
    }
    switch (what) {
    case 0xd0: /* READ DATA */
    case 0xd1: /* READ THRESHOLDS */
        memset(r, 0, 512);
        r[0] = 1;
        for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
            u8 *p = r + 2 + 12 * i;
            p[0] = attributes[i][0];
            p[1] = what == 0xd0 ? attributes[i][1] : attributes[i][3];
            if (what == 0xd0)
                p[3] = p[4] = attributes[i][2];
        }
        if (what == 0xd0) {
            r[368] = 3;
            r[370] = 1; /* error log: none, but the command is known */
        }
        for (int i = 0; i < 511; i++)
            sum += r[i];
        r[511] = -sum;
        ide_pio(c, 512, true, data_taken);
        ide_irq(c, true);
        return;
    case 0xd8: /* ENABLE */
    case 0xd9: /* DISABLE */
        d->smart = what == 0xd8;
        break;
    case 0xd2: /* attribute autosave, off-line tests: nothing to do */
    case 0xd3:
    case 0xd4:
    case 0xdb:
        break;
    case 0xda: /* RETURN STATUS: the signature unchanged says that no threshold is passed */
        break;
    default:
        ide_abort(c, ER_ABRT);
        return;
    }
    ide_done(c);
}

static void buffer_given(struct ide_chan *c)
{
    ide_done(c);
}

static void flush_done(void *opaque, int result)
{
    struct ide_chan *c = opaque;
    if (result)
        ide_abort(c, ER_ABRT);
    else
        ide_done(c);
}

/* Commands of both kinds of drives; false: not one of them. */
static bool common_command(struct ide_chan *c, u8 cmd)
{
    struct ide_drive *d = ide_selected(c);
    switch (cmd) {
    case 0x90: /* EXECUTE DEVICE DIAGNOSTIC: both drives */
        for (int i = 0; i < 2; i++) {
            c->drive[i].error = 1;
            c->drive[i].status = c->drive[i].cdrom ? 0 : ST_DRDY | ST_DSC;
            ide_signature(&c->drive[i]);
        }
        c->unit = 0;
        ide_irq(c, true);
        return true;
    case 0xef:
        ata_set_features(c);
        return true;
    case 0xe0: /* power: always active */
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0xe6:
    case 0x94:
    case 0x95:
    case 0x96:
    case 0x97:
    case 0x99:
        ide_done(c);
        return true;
    case 0xe5:
    case 0x98:
        d->count[0] = 0xff;
        ide_done(c);
        return true;
    }
    return false;
}

static void disk_command(struct ide_chan *c, u8 cmd)
{
    struct ide_drive *d = ide_selected(c);
    switch (cmd) {
    case 0xec:
        ide_identify(c, (u16 *)c->buf);
        ide_pio(c, 512, true, data_taken);
        ide_irq(c, true);
        return;
    case 0x20:
    case 0x21:
    case 0x24:
    case 0x29:
    case 0xc4:
        if (!per_irq(c))
            ide_abort(c, ER_ABRT);
        else if (start(c, cmd == 0x24 || cmd == 0x29))
            read_next(c);
        return;
    case 0x30:
    case 0x31:
    case 0x3c:
    case 0x34:
    case 0x39:
    case 0xc5:
    case 0xce:
        c->fua = cmd == 0xce;
        if (!per_irq(c))
            ide_abort(c, ER_ABRT);
        else if (start(c, cmd == 0x34 || cmd == 0x39 || cmd == 0xce))
            write_next(c); /* the first block without an interrupt */
        return;
    case 0xc8:
    case 0xc9:
    case 0x25:
    case 0xca:
    case 0xcb:
    case 0x35:
    case 0x3d:
        c->fua = cmd == 0x3d;
        if (start(c, cmd == 0x25 || cmd == 0x35 || cmd == 0x3d))
            ide_dma_begin(c, dma_step);
        return;
    case 0x40: /* READ VERIFY: the sectors are there */
    case 0x41:
    case 0x42:
        if (start(c, cmd == 0x42))
            ide_done(c);
        return;
    case 0x06:
        c->left = d->count[0] | (u32)d->count[1] << 8;
        if (d->feature[0] != 1 || !c->left || c->left > TRIM_PAGES || !block_discards(d->blk))
            ide_abort(c, ER_ABRT);
        else
            ide_dma_begin(c, trim_step);
        return;
    case 0xe7:
    case 0xea:
        ide_submit(c, BLOCK_FLUSH, 0, 0, flush_done);
        return;
    case 0xc6: {
        u8 n = d->count[0];
        if (n > MULT_MAX || (n & (n - 1))) {
            ide_abort(c, ER_ABRT);
            return;
        }
        d->mult = n;
        ide_done(c);
        return;
    }
    case 0x91: /* INITIALIZE DEVICE PARAMETERS */
        if (!d->count[0]) {
            ide_abort(c, ER_ABRT);
            return;
        }
        d->heads = (d->select & 15) + 1;
        d->sectors = d->count[0];
        ide_done(c);
        return;
    case 0xb0:
        smart(c);
        return;
    case 0xe4: /* READ BUFFER, WRITE BUFFER: any 512 bytes, kept until the next command */
        ide_pio(c, 512, true, data_taken);
        ide_irq(c, true);
        return;
    case 0xe8:
        ide_pio(c, 512, false, buffer_given);
        return;
    case 0xf8:
    case 0x27:
        c->lba48 = cmd == 0x27;
        d->select |= 0x40;
        u64 last = disk_sectors(d) - 1;
        put_lba(c, d, c->lba48 || last < 0x0fffffff ? last : 0x0fffffff - 1);
        ide_done(c);
        return;
    }
    if ((cmd & 0xf0) == 0x10 || cmd == 0x70) { /* RECALIBRATE, SEEK */
        ide_done(c);
        return;
    }
    LOG(unimp, "ide: command %02x", cmd);
    ide_abort(c, ER_ABRT);
}

static void cdrom_command(struct ide_chan *c, u8 cmd)
{
    struct ide_drive *d = ide_selected(c);
    switch (cmd) {
    case 0xa0:
        atapi_packet(c);
        return;
    case 0xa1:
        ide_identify(c, (u16 *)c->buf);
        ide_pio(c, 512, true, data_taken);
        ide_irq(c, true);
        return;
    case 0x08: /* DEVICE RESET: no interrupt */
        block_cancel(&c->req);
        c->dma = c->dma_ready = false;
        c->next = NULL;
        ide_signature(d);
        d->error = 1;
        d->status = 0;
        return;
    case 0xec:
    case 0x20: /* refused with the signature, by which drivers know us (5.16) */
    case 0x21:
        ide_signature(d);
        ide_abort(c, ER_ABRT);
        return;
    }
    ide_abort(c, ER_ABRT);
}

void ata_command(struct ide_chan *c, u8 cmd)
{
    struct ide_drive *d = ide_selected(c);
    LOG(dev, "ide%d.%d: command %02x count %02x lba %02x%02x%02x select %02x", c->n, c->unit, cmd,
        d->count[0], d->lba_high[0], d->lba_mid[0], d->lba_low[0], d->select);
    c->command = cmd;
    d->status = ST_DRDY | ST_DSC;
    d->error = 0;
    c->fua = false;
    if (common_command(c, cmd))
        return;
    if (d->cdrom)
        cdrom_command(c, cmd);
    else
        disk_command(c, cmd);
}
