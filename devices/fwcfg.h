/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg: what the machine tells its firmware. All items are added before the guest runs; data is copied. */
#ifndef NOVT_DEVICES_FWCFG_H
#define NOVT_DEVICES_FWCFG_H

#include "devices/devices.h"

#define FWCFG_SIGNATURE     0x00
#define FWCFG_ID            0x01
#define FWCFG_UUID          0x02
#define FWCFG_RAM_SIZE      0x03
#define FWCFG_NOGRAPHIC     0x04
#define FWCFG_NB_CPUS       0x05
#define FWCFG_BOOT_MENU     0x0e
#define FWCFG_MAX_CPUS      0x0f
#define FWCFG_FILE_DIR      0x19
#define FWCFG_FILE_FIRST    0x20
#define FWCFG_IRQ0_OVERRIDE 0x8002

struct fwcfg;

int fwcfg_create(struct bus *b, struct fwcfg **out);
void fwcfg_add(struct fwcfg *f, u16 key, const void *data, u32 len);
void fwcfg_add_int(struct fwcfg *f, u16 key, u64 val, int size); /* little-endian */
void fwcfg_add_file(struct fwcfg *f, const char *name, const void *data, u32 len);
/* The same for contents that depend on what the firmware did before: fn rewrites the data, of the same
 * length, whenever the file is selected. */
void fwcfg_add_live_file(struct fwcfg *f, const char *name, const void *data, u32 len,
                         void (*fn)(void *opaque, u8 *data, u32 len), void *opaque);

#endif
