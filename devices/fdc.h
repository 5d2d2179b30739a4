/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Floppy controller at 3F0h, IRQ 6, DMA channel 2, two drives. */
#ifndef NOVT_DEVICES_FDC_H
#define NOVT_DEVICES_FDC_H

#include "devices/block.h"

struct fdc;

int fdc_create(struct bus *b, struct fdc **out);
/* Connects drive 0 or 1; blk may be NULL: an empty drive. The drive owns blk. Before the guest runs. */
void fdc_attach(struct fdc *f, int drive, struct block *blk);
bool fdc_has(const struct fdc *f, int drive);
/* CMOS type of the drive: 4 = 1.44 MB, 5 = 2.88 MB, 2 = 1.2 MB; 0 = none. */
u8 fdc_drive_type(const struct fdc *f, int drive);
struct block *fdc_medium(const struct fdc *f, int drive); /* NULL: none */
/* Another disk, or none. Lock held. */
void fdc_change_medium(struct fdc *f, int drive, struct block *blk);

#endif
