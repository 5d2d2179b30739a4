/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The drives of a machine, for monitors: what there is, ejecting and changing media. Names are QEMU's
 * ("ide0-hd0", "ide1-cd0", "floppy0") or the id= of -drive.
 *
 * All may be called from any thread, with the bus lock held or not.
 */
#ifndef NOVT_MACHINE_DRIVES_H
#define NOVT_MACHINE_DRIVES_H

#include "base/types.h"

struct vm;

struct drive_info {
    char name[16];
    const char *id; /* NULL: none was given */
    char path[512]; /* of the medium; empty: there is none */
    bool removable, read_only, locked, tray_open;
    u64 size; /* bytes */
};
#define DRIVE_SLOTS 6
/* The i-th drive, i from 0; false: there are no more. */
bool drives_info(struct vm *vm, int i, struct drive_info *out);
/* Takes the medium out. A guest that has locked its drive is asked to let go, unless force is set. Returns 0,
 * or a negative errno with a message in err. */
int drives_eject(struct vm *vm, const char *name, bool force, char *err, size_t n);
/* Another medium in place of the present one, if any. read_only: 0 or 1, -1: as the drive was configured. The
 * same. */
int drives_change(struct vm *vm, const char *name, const char *path, int read_only, bool force, char *err,
                  size_t n);

#endif
