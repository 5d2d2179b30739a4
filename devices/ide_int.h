/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the IDE controller (ide.c), disks (ata.c) and CD-ROM drives (atapi.c).
 *
 * A channel runs at most one command at a time, on the selected drive. Data moves in one of two ways: through
 * `buf` by PIO, a stretch [pos, end) at a time, after which `next` decides what follows; or by bus master, a
 * stretch of at most IDE_CHUNK at a time between `buf` and the PRD table. While the drive is BSY nothing of
 * the guest reaches the command.
 */
#ifndef NOVT_DEVICES_IDE_INT_H
#define NOVT_DEVICES_IDE_INT_H

#include "devices/ide.h"
#include "devices/internal.h"
#include "devices/pci.h"

#define ST_ERR  0x01
#define ST_DRQ  0x08
#define ST_DSC  0x10
#define ST_DF   0x20
#define ST_DRDY 0x40
#define ST_BSY  0x80

#define ER_ABRT 0x04
#define ER_IDNF 0x10
#define ER_UNC  0x40

#define IDE_CHUNK BLOCK_MAX
#define MULT_MAX  16

struct ide_chan;

struct ide_drive {
    struct block *blk; /* NULL: no medium, or no drive */
    bool present, cdrom;
    char serial[21];
    /* task file; [1] is what was there before the last write (48-bit commands) */
    u8 feature[2], count[2], lba_low[2], lba_mid[2], lba_high[2];
    u8 select, status, error;
    u8 mult;     /* sectors a block of READ/WRITE MULTIPLE, 0: off */
    u8 dma_mode; /* as SET FEATURES 03h gave it */
    u8 write_cache;
    u16 heads, sectors; /* of the CHS translation */
    /* ATAPI */
    u8 sense, asc, ascq;
    u8 locked, tray_open;
    u8 eject_request; /* the user asks for the disc: GET EVENT tells */
    u8 smart;
    u8 changed; /* 1: report unit attention; 2: and a GET EVENT "new media" */
};

struct ide_chan {
    struct ide *ide;
    int n; /* 0, 1 */
    struct ide_drive drive[2];
    u8 unit;
    u8 control; /* 3F6h: nIEN, SRST, HOB */
    u8 irq;     /* asserted by the drive */
    /* PIO */
    u8 *buf;
    u32 pos, end;
    bool to_host;
    void (*next)(struct ide_chan *c); /* pos reached end */
    /* what the command still has to do */
    u8 command;
    u64 lba;
    u32 left;  /* sectors (ATA, 512; CD, 2048) or bytes, by the command */
    u32 chunk; /* how much of it is under way */
    bool lba48;
    bool fua;            /* the command wants its data on the disk before it ends */
    bool dma, dma_ready; /* the command moves by bus master; it waits for the start bit */
    void (*dma_step)(struct ide_chan *c);
    struct block_req req;
    u32 reply,
        reply_pos; /* bytes in buf that the host takes or gives in stretches, and how many have moved */
    u8 packet[12]; /* ATAPI */
    /* bus master */
    u8 bm_cmd, bm_status;
    u32 bm_table;
    u32 prd, prd_addr, prd_len; /* cursor */
    bool prd_last;
};

struct ide {
    struct bus *b;
    struct pci_dev pci;
    struct ide_chan chan[2];
    u16 bm_io;
};

#define BM_START   0x01
#define BM_READ    0x08 /* to memory */
#define BMS_ACTIVE 0x01
#define BMS_ERROR  0x02
#define BMS_IRQ    0x04

static inline struct ide_drive *ide_selected(struct ide_chan *c)
{
    return &c->drive[c->unit];
}

/* ide.c */
void ide_irq(struct ide_chan *c, bool on);
/* Presents buf[0..len) for PIO; next is called when all of it has moved. */
void ide_pio(struct ide_chan *c, u32 len, bool to_host, void (*next)(struct ide_chan *c));
/* The same for buf[at..at+len). */
void ide_pio_at(struct ide_chan *c, u32 at, u32 len, bool to_host, void (*next)(struct ide_chan *c));
/* The command will move data by bus master: step is called now or when the guest sets the start bit. */
void ide_dma_begin(struct ide_chan *c, void (*step)(struct ide_chan *c));
/* Moves len bytes between buf and the PRD table; false: the table is too short. */
bool ide_dma_move(struct ide_chan *c, u32 len, bool to_host);
void ide_dma_end(struct ide_chan *c);
/* Ends the command: status without BSY and DRQ, interrupt. */
void ide_done(struct ide_chan *c);
void ide_abort(struct ide_chan *c, u8 error);
/* Starts an image request on buf; the drive is BSY until done. */
void ide_submit(struct ide_chan *c, enum block_op op, u64 offset, u32 len,
                void (*done)(void *opaque, int result));
/* Register values that say what kind of drive it is, after reset and such. */
void ide_signature(struct ide_drive *d);

/* ata.c */
void ata_command(struct ide_chan *c, u8 cmd);
void ide_identify(struct ide_chan *c, u16 *w); /* both kinds of drives */
void ata_set_features(struct ide_chan *c);
/* atapi.c */
void atapi_packet(struct ide_chan *c);
/* The disc went away under a command: ends it. */
void atapi_medium_gone(struct ide_chan *c);

#endif
