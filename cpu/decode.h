/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to decode.c and decode_memo.c. */
#ifndef NOVT_CPU_DECODE_H
#define NOVT_CPU_DECODE_H

#include "cpu/insn.h"

/* What the next instruction of the same kind needs besides struct insn. */
struct insn_shape {
    u8 imm_bytes; /* of the immediate, branch displacement or moffs address: 0, 1, 2, 4 */
    bool imm_signed;
    bool imm_flags; /* the flags that are read depend on the immediate */
    u16 rd;         /* flags read whatever the immediate */
};

/* insn_decode(), and the shape of what it found; the shape is undefined for undefined instructions. */
int insn_decode_shape(const struct cpu_model *model, const u8 *bytes, u32 avail, bool cs32, struct insn *out,
                      struct insn_shape *shape);
/* fl_read of i, which may depend on i->imm. rd: flags read whatever the immediate; wr: flags written. */
u16 insn_flags_read(const struct insn *i, u32 rd, u32 wr);
bool insn_sensitive(const struct insn *i);

#endif
