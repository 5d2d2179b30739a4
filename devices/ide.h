/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PIIX3 IDE (0:1.1): two channels, four drives. */
#ifndef NOVT_DEVICES_IDE_H
#define NOVT_DEVICES_IDE_H

#include "devices/block.h"

struct ide;

int ide_create(struct bus *b, struct ide **out);
/* Puts a drive at slot 0-3 (primary master, primary slave, secondary master, secondary slave); before the
 * guest runs. The drive owns blk from then on. cdrom: an ATAPI CD-ROM, whose blk may be NULL (no medium). */
void ide_attach(struct ide *s, int slot, struct block *blk, bool cdrom);
bool ide_has(const struct ide *s, int slot);
/* Another disc: ejects what is there (NULL: nothing follows). CD-ROM slots only; lock held. */
void ide_change_medium(struct ide *s, int slot, struct block *blk);

#endif
