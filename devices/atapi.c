/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ATAPI CD-ROM drive: PACKET command and the MMC commands that systems use to find, read and eject a disc
 * (ATA/ATAPI-6, 9.8; SFF-8020i; MMC-3).
 *
 * A command's data is a reply in the buffer, or sectors of 2048 bytes that are read as they are needed:
 * `left` sectors from `lba`. Either goes to the host in PIO stretches of at most the byte count limit, each
 * announced by an interrupt with the count in the LBA mid/high registers, or by bus master. The end of a
 * command is an interrupt with "command complete" in the interrupt reason (the sector count register).
 *
 * Errors are sense data: key, ASC, ASCQ; the key also shows in the error register. A change of the medium is
 * told once to every command but INQUIRY, REQUEST SENSE and GET EVENT.
 */
#include <string.h>
#include "base/log.h"
#include "devices/ide_int.h"

#define CD_SECTOR 2048u

#define IR_CD 1 /* command, not data */
#define IR_IO 2 /* to the host */

enum { NO_SENSE = 0, NOT_READY = 2, MEDIUM_ERROR = 3, ILLEGAL = 5, ATTENTION = 6 };
#define ASC_BAD_COMMAND 0x20
#define ASC_BAD_LBA     0x21
#define ASC_BAD_FIELD   0x24
#define ASC_CHANGED     0x28
#define ASC_NO_MEDIUM   0x3a
#define ASC_READ_ERROR  0x11
#define ASC_LOCKED      0x53

static u32 be16(const u8 *p)
{
    return (u32)p[0] << 8 | p[1];
}
static u32 be32(const u8 *p)
{
    return be16(p) << 16 | be16(p + 2);
}
static void put_be16(u8 *p, u32 v)
{
    p[0] = v >> 8;
    p[1] = v;
}
static void put_be32(u8 *p, u32 v)
{
    put_be16(p, v >> 16);
    put_be16(p + 2, v);
}

static u32 disc_sectors(const struct ide_drive *d)
{
    u64 n = d->blk ? (block_size(d->blk) + CD_SECTOR - 1) / CD_SECTOR : 0;
    return n < 0xffffffff ? (u32)n : 0xffffffff;
}

/* ---- ends of commands ---- */

static void complete(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    d->count[0] = IR_CD | IR_IO;
    d->error = 0;
    d->status &= ~ST_ERR;
    ide_done(c);
}

static void check(struct ide_chan *c, u8 key, u8 asc)
{
    struct ide_drive *d = ide_selected(c);
    d->sense = key;
    d->asc = asc;
    d->ascq = 0;
    d->count[0] = IR_CD | IR_IO;
    ide_abort(c, key << 4 | (key == ILLEGAL ? ER_ABRT : 0));
}

void atapi_medium_gone(struct ide_chan *c)
{
    block_cancel(&c->req);
    if (c->dma)
        ide_dma_end(c);
    c->left = 0;
    ide_selected(c)->status &= ~(ST_BSY | ST_DRQ);
    check(c, NOT_READY, ASC_NO_MEDIUM);
}

/* ---- data ---- */

static void more(struct ide_chan *c);

/* A stretch of the reply by PIO: `chunk` is the byte count limit. What was taken is dropped first. */
static void pio_reply(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    u32 n = c->reply - c->reply_pos;
    memmove(c->buf, c->buf + c->reply_pos, n);
    c->reply = n;
    if (n > c->chunk)
        n = c->chunk;
    c->reply_pos = n;
    d->lba_mid[0] = n;
    d->lba_high[0] = n >> 8;
    d->count[0] = IR_IO;
    ide_pio(c, n, true, more);
    ide_irq(c, true);
}

static void dma_reply(struct ide_chan *c)
{
    if (!ide_dma_move(c, c->reply, true)) {
        LOG(guest_errors, "atapi: the PRD table is too short");
        c->bm_status &= ~BMS_ACTIVE;
        c->dma = false;
        complete(c);
        return;
    }
    c->reply_pos = c->reply;
    more(c);
}

static void have_reply(struct ide_chan *c)
{
    c->reply_pos = 0;
    if (c->dma)
        dma_reply(c);
    else
        pio_reply(c);
}

static void sectors_read(void *opaque, int result)
{
    struct ide_chan *c = opaque;
    if (result) {
        if (c->dma)
            ide_dma_end(c);
        check(c, MEDIUM_ERROR, ASC_READ_ERROR);
        return;
    }
    have_reply(c);
}

/* The last stretch has been taken: the rest of the reply, more sectors, or the end. */
static void more(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    if (c->reply_pos < c->reply) {
        pio_reply(c);
        return;
    }
    if (!c->left) {
        if (c->dma)
            ide_dma_end(c);
        complete(c);
        return;
    }
    u32 n = c->dma ? IDE_CHUNK / CD_SECTOR : 32;
    n = n < c->left ? n : c->left;
    u64 off = c->lba * CD_SECTOR, len = (u64)n * CD_SECTOR, size = block_size(d->blk);
    c->lba += n;
    c->left -= n;
    c->reply = (u32)len;
    if (off + len > size) { /* an image whose last CD sector is not whole */
        memset(c->buf, 0, len);
        len = size - off;
    }
    ide_submit(c, BLOCK_READ, off, (u32)len, sectors_read);
}

static void dma_start(struct ide_chan *c)
{
    if (c->left)
        more(c);
    else
        have_reply(c);
}

/* A reply of n bytes is in the buffer; the host wants at most `limit` of it. */
static void reply(struct ide_chan *c, u32 n, u32 limit)
{
    c->left = 0;
    c->reply = n < limit ? n : limit;
    if (!c->reply)
        complete(c);
    else if (c->dma)
        ide_dma_begin(c, dma_start);
    else
        have_reply(c);
}

static void read_sectors(struct ide_chan *c, u32 lba, u32 n)
{
    struct ide_drive *d = ide_selected(c);
    if (lba >= disc_sectors(d) || n > disc_sectors(d) - lba) {
        check(c, ILLEGAL, ASC_BAD_LBA);
        return;
    }
    c->lba = lba;
    c->left = n;
    c->reply = c->reply_pos = 0;
    if (!n)
        complete(c);
    else if (c->dma)
        ide_dma_begin(c, dma_start);
    else
        more(c);
}

/* ---- commands ---- */

static void inquiry(struct ide_chan *c)
{
    u8 *r = c->buf;
    memset(r, 0, 36);
    r[0] = 5; /* CD-ROM */
    r[1] = 0x80;
    r[3] = 0x21;
    r[4] = 31;
    memcpy(r + 8, "NOVT    ", 8);
    memcpy(r + 16, "NOVT DVD-ROM    ", 16);
    memcpy(r + 32, NOVT_VERSION "    ", 4);
    reply(c, 36, be16(c->packet + 3));
}

static void request_sense(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    u8 *r = c->buf;
    memset(r, 0, 18);
    r[0] = 0xf0;
    r[2] = d->sense;
    r[7] = 10;
    r[12] = d->asc;
    r[13] = d->ascq;
    d->sense = d->asc = d->ascq = 0;
    reply(c, 18, c->packet[4]);
}

/* MMC-3, 6.26: one data track from 0 and the lead-out. */
static void put_address(u8 *p, u32 lba, bool msf)
{
    if (msf) {
        lba += 150;
        p[0] = 0;
        p[1] = lba / 75 / 60;
        p[2] = lba / 75 % 60;
        p[3] = lba % 75;
    } else {
        put_be32(p, lba);
    }
}

static void read_toc(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    bool msf = c->packet[1] & 2;
    u8 format = c->packet[2] & 15 ? c->packet[2] & 15 : c->packet[9] >> 6, start = c->packet[6], *r = c->buf;
    u32 n = 4, limit = be16(c->packet + 7);
    memset(r, 0, 64);
    r[2] = r[3] = 1;
    switch (format) {
    case 0:
        if (start > 1 && start != 0xaa) {
            check(c, ILLEGAL, ASC_BAD_FIELD);
            return;
        }
        if (start <= 1) {
            r[n + 1] = 0x14;
            r[n + 2] = 1;
            put_address(r + n + 4, 0, msf);
            n += 8;
        }
        r[n + 1] = 0x14;
        r[n + 2] = 0xaa;
        put_address(r + n + 4, disc_sectors(d), msf);
        n += 8;
        break;
    case 1: /* sessions */
        r[n + 1] = 0x14;
        r[n + 2] = 1;
        put_address(r + n + 4, 0, msf);
        n += 8;
        break;
    case 2: { /* raw: A0, A1, A2, track 1 */
        static const u8 points[] = {0xa0, 0xa1, 0xa2, 1};
        for (int i = 0; i < 4; i++, n += 11) {
            r[n] = 1;
            r[n + 1] = 0x14;
            r[n + 3] = points[i];
            if (i < 2)
                r[n + 8] = 1;
            else
                put_address(r + n + 7, i == 2 ? disc_sectors(d) : 0, true);
        }
        break;
    }
    default:
        check(c, ILLEGAL, ASC_BAD_FIELD);
        return;
    }
    put_be16(r, n - 2);
    reply(c, n, limit);
}

static void mode_sense(struct ide_chan *c, bool ten)
{
    struct ide_drive *d = ide_selected(c);
    u8 page = c->packet[2] & 0x3f, *r = c->buf, *p = r + (ten ? 8 : 4);
    u32 limit = ten ? be16(c->packet + 7) : c->packet[4];
    memset(r, 0, 128);
    if ((c->packet[2] >> 6) == 3) { /* saved values */
        check(c, ILLEGAL, 0x39);
        return;
    }
    if (page == 0x01 || page == 0x3f) { /* error recovery */
        p[0] = 0x01;
        p[1] = 6;
        p[3] = 5;
        p += 8;
    }
    if (page == 0x0e || page == 0x3f) { /* audio */
        p[0] = 0x0e;
        p[1] = 14;
        p[2] = 4;
        p += 16;
    }
    if (page == 0x2a || page == 0x3f) { /* capabilities */
        p[0] = 0x2a;
        p[1] = 20;
        p[2] = 0x3b; /* reads CD-R, CD-RW, DVD-ROM */
        p[4] = 0x70;
        p[6] = 0x29 | (d->locked ? 2 : 0); /* lockable, tray, eject */
        put_be16(p + 8, 706);
        p[11] = 2;
        put_be16(p + 12, 512);
        put_be16(p + 14, 706);
        p += 22;
    }
    if (p == r + (ten ? 8 : 4)) {
        check(c, ILLEGAL, ASC_BAD_FIELD);
        return;
    }
    u32 n = (u32)(p - r);
    if (ten) {
        put_be16(r, n - 2);
        r[2] = d->blk ? 0x01 : 0x70; /* 120 mm data disc, or none */
    } else {
        r[0] = n - 1;
        r[1] = d->blk ? 0x01 : 0x70;
    }
    reply(c, n, limit);
}

static void get_configuration(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    u8 *r = c->buf;
    bool dvd = disc_sectors(d) > 80 * 60 * 75;
    memset(r, 0, 64);
    put_be16(r + 6, d->blk ? (dvd ? 0x10 : 0x08) : 0);
    u8 *p = r + 8;
    /* profile list: DVD-ROM, CD-ROM */
    p[2] = 3;
    p[3] = 8;
    put_be16(p + 4, 0x10);
    p[6] = d->blk && dvd;
    put_be16(p + 8, 0x08);
    p[10] = d->blk && !dvd;
    p += 12;
    /* core, removable medium */
    put_be16(p, 1);
    p[2] = 0x0b;
    p[3] = 8;
    put_be32(p + 4, 2); /* ATAPI */
    p[8] = 1;
    p += 12;
    put_be16(p, 3);
    p[2] = 3;
    p[3] = 4;
    p[4] = 0x29;
    p += 8;
    put_be32(r, (u32)(p - r) - 4);
    reply(c, (u32)(p - r), be16(c->packet + 7));
}

static void get_event(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    u8 *r = c->buf;
    if (!(c->packet[1] & 1)) { /* asynchronous operation */
        check(c, ILLEGAL, ASC_BAD_FIELD);
        return;
    }
    memset(r, 0, 8);
    r[3] = 0x10; /* only the media class */
    if (c->packet[4] & 0x10) {
        put_be16(r, 6);
        r[2] = 4;
        r[4] = d->eject_request  ? 1
               : d->changed == 2 ? (d->blk ? 2 : 3)
                                 : 0; /* eject request, new, removed */
        r[5] = (d->blk ? 2 : 0) | (d->tray_open ? 1 : 0);
        if (!d->eject_request && d->changed == 2)
            d->changed = 1;
        d->eject_request = 0;
        reply(c, 8, be16(c->packet + 7));
    } else {
        put_be16(r, 2);
        r[2] = 0x80;
        reply(c, 4, be16(c->packet + 7));
    }
}

static void start_stop(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    u8 how = c->packet[4] & 3;
    if (how == 2 && d->locked) {
        check(c, d->blk ? ILLEGAL : NOT_READY, ASC_LOCKED);
        return;
    }
    if (how == 2 && !d->tray_open) { /* eject: the image is given back */
        struct block *blk = d->blk;
        d->blk = NULL;
        d->tray_open = 1;
        block_close(blk);
    } else if (how == 3) {
        d->tray_open = 0;
    }
    complete(c);
}

static void read_capacity(struct ide_chan *c)
{
    put_be32(c->buf, disc_sectors(ide_selected(c)) - 1);
    put_be32(c->buf + 4, CD_SECTOR);
    reply(c, 8, 8);
}

/* READ CD: user data of data sectors only. */
static void read_cd(struct ide_chan *c)
{
    u32 n = (u32)c->packet[6] << 16 | be16(c->packet + 7);
    switch (c->packet[9] & 0xf8) {
    case 0x00:
        complete(c);
        break;
    case 0x10:
        read_sectors(c, be32(c->packet + 2), n);
        break;
    default:
        check(c, ILLEGAL, ASC_BAD_FIELD);
    }
}

static void disc_information(struct ide_chan *c)
{
    u8 *r = c->buf;
    memset(r, 0, 34);
    put_be16(r, 32);
    r[2] = 0x0e; /* complete, last session complete */
    r[3] = r[4] = r[5] = r[6] = 1;
    r[7] = 0x20;
    reply(c, 34, be16(c->packet + 7));
}

static void mechanism_status(struct ide_chan *c)
{
    memset(c->buf, 0, 8);
    c->buf[1] = ide_selected(c)->tray_open ? 0x10 : 0;
    reply(c, 8, be16(c->packet + 8));
}

static bool needs_medium(u8 op)
{
    static const u8 ops[] = {0x00, 0x25, 0x28, 0xa8, 0xbe, 0x43, 0x51, 0x2b, 0x44, 0xad};
    return memchr(ops, op, sizeof(ops)) != NULL;
}

static void execute(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    const u8 *p = c->packet;
    LOG(dev, "atapi %02x %02x%02x%02x%02x%02x %02x%02x%02x%02x%02x%02x", p[0], p[1], p[2], p[3], p[4], p[5],
        p[6], p[7], p[8], p[9], p[10], p[11]);
    if (d->changed && p[0] != 0x12 && p[0] != 0x03 && p[0] != 0x4a && p[0] != 0x46) {
        d->changed = 0;
        check(c, ATTENTION, ASC_CHANGED);
        return;
    }
    if (!d->blk && needs_medium(p[0])) {
        check(c, NOT_READY, ASC_NO_MEDIUM);
        return;
    }
    switch (p[0]) {
    case 0x00: /* TEST UNIT READY */
    case 0x2b: /* SEEK */
    case 0xbb: /* SET CD SPEED */
    case 0x4e: /* STOP PLAY */
        complete(c);
        break;
    case 0x03:
        request_sense(c);
        break;
    case 0x12:
        inquiry(c);
        break;
    case 0x1a:
        mode_sense(c, false);
        break;
    case 0x5a:
        mode_sense(c, true);
        break;
    case 0x1b:
        start_stop(c);
        break;
    case 0x1e:
        d->locked = p[4] & 1;
        complete(c);
        break;
    case 0x25:
        read_capacity(c);
        break;
    case 0x28:
        read_sectors(c, be32(p + 2), be16(p + 7));
        break;
    case 0xa8:
        read_sectors(c, be32(p + 2), be32(p + 6));
        break;
    case 0xbe:
        read_cd(c);
        break;
    case 0x43:
        read_toc(c);
        break;
    case 0x46:
        get_configuration(c);
        break;
    case 0x4a:
        get_event(c);
        break;
    case 0x51:
        disc_information(c);
        break;
    case 0xbd:
        mechanism_status(c);
        break;
    default:
        LOG(unimp, "atapi: command %02x", p[0]);
        check(c, ILLEGAL, ASC_BAD_COMMAND);
    }
}

static void packet_given(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    memcpy(c->packet, c->buf, 12);
    d->status = (d->status & ~ST_DRQ) | ST_BSY;
    c->next = NULL;
    c->left = 0;
    execute(c);
}

void atapi_packet(struct ide_chan *c)
{
    struct ide_drive *d = ide_selected(c);
    if (d->feature[0] & 2) { /* overlapped */
        ide_abort(c, ER_ABRT);
        return;
    }
    c->dma = d->feature[0] & 1;
    c->dma_ready = false;
    /* Byte count limit of the PIO stretches: even, as 9.8 wants of all but the last one. */
    c->chunk = d->lba_mid[0] | (u32)d->lba_high[0] << 8;
    if (c->chunk == 0xffff || !c->chunk)
        c->chunk = 0xfffe;
    c->chunk &= ~1u;
    d->count[0] = IR_CD;
    ide_pio(c, 12, false, packet_given);
}
