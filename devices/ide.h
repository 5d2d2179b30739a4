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
bool ide_is_cdrom(const struct ide *s, int slot);
struct block *ide_medium(const struct ide *s, int slot); /* NULL: none */
/* What IDENTIFY shows, at most 20 characters; before the guest runs. */
void ide_set_serial(struct ide *s, int slot, const char *serial);
/* The guest has locked the tray; it is open; ask the guest to open it. CD-ROM slots. Lock held. */
bool ide_locked(const struct ide *s, int slot);
bool ide_tray_open(const struct ide *s, int slot);
void ide_request_eject(struct ide *s, int slot);
/* Another disc: ejects what is there (NULL: nothing follows). CD-ROM slots only; lock held. */
void ide_change_medium(struct ide *s, int slot, struct block *blk);

#endif
