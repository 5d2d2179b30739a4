/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the remote protocol (gdb.c) and the registers as GDB numbers them (gdb_regs.c). */
#ifndef NOVT_CONTROL_GDB_H
#define NOVT_CONTROL_GDB_H

#include "control/internal.h"

#define GDB_REG_MAX 16 /* bytes of a register */

/* target.xml. The caller frees it. */
char *gdb_target_xml(void);
int gdb_reg_count(void);
int gdb_reg_size(int n); /* bytes */
/* The registers of "g": those that any debugger of this architecture knows; the others are asked for singly.
 */
int gdb_reg_basic_count(void);
void gdb_reg_read(struct control *c, int n, u8 *out);
/* False: it cannot have this value. */
bool gdb_reg_write(struct control *c, int n, const u8 *in);

#endif
