/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The floppy controller's inside: fdc.c has registers, seeks and media, fdc_data.c the commands that move
 * data. */
#ifndef NOVT_DEVICES_FDC_INT_H
#define NOVT_DEVICES_FDC_INT_H

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

/* ---- fdc.c ---- */

void fdc_set_irq(struct fdc *f, bool on);
/* The result phase begins: n bytes of f->result; 0: the command is over. */
void fdc_results(struct fdc *f, int n);
void fdc_step_to(struct floppy *d, u8 track);

/* ---- fdc_data.c: they run the command in f->cmd, and end in the result phase, perhaps later ---- */

void fdc_transfer(struct fdc *f, u8 op);
void fdc_format_track(struct fdc *f);
void fdc_read_id(struct fdc *f);
/* The FIFO in the execution phase, when the CPU moves the data. */
u8 fdc_pio_read(struct fdc *f);
void fdc_pio_write(struct fdc *f, u8 val);
/* The running command ends with these states. */
void fdc_end_transfer(struct fdc *f, u8 st0, u8 st1, u8 st2);

#endif
