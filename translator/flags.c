/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the guest's arithmetic flags are.
 *
 * The table lookup of a memory operand needs shr and test, which destroy flags. Where no later instruction
 * can see the flags (liveness over the unit) that is free. Elsewhere they are put aside in r12 once (lahf +
 * seto) and stay there over any number of memory operands, until an instruction reads or partly changes them,
 * or control leaves the unit.
 *
 * With --no-opt=flags every flag counts as live everywhere, so that the flags image pushed by a fault or an
 * interrupt is exact even where the guest overwrites those flags before it could read them.
 */
#include "translator/xl.h"

static void emit_save(struct emit *e)
{
    e_mov_rr64(e, R11, RAX);
    e8(e, 0x9f); /* lahf */
    e8(e, 0x0f); /* seto al */
    e8(e, 0x90);
    e8(e, 0xc0);
    e_mov_rr32(e, ABI_FLAGS, RAX);
    e_mov_rr64(e, RAX, R11);
}

void fl_emit_restore(struct emit *e)
{
    e_mov_rr64(e, R11, RAX);
    e_mov_rr32(e, RAX, ABI_FLAGS);
    e8(e, 0x04); /* add al, 0x7f: sets OF iff al was 1 */
    e8(e, 0x7f);
    e8(e, 0x9e); /* sahf */
    e_mov_rr64(e, RAX, R11);
}

bool fl_free(const struct xl *x)
{
    return x->fs == FS_SAVED || ((x->env->opts & OPT(flags)) && !x->live[x->k]);
}

void fl_clobber(struct xl *x)
{
    if (fl_free(x))
        return;
    emit_save(&x->e);
    x->fs = FS_SAVED;
}

void fl_force_saved(struct xl *x)
{
    if (x->fs == FS_HOST)
        emit_save(&x->e);
    x->fs = FS_SAVED;
}

void fl_host(struct xl *x)
{
    if (x->fs == FS_SAVED)
        fl_emit_restore(&x->e);
    x->fs = FS_HOST;
}

void fl_for_op(struct xl *x, u32 rd, u32 wr)
{
    if (x->fs == FS_SAVED && !(wr == FL_ARITH && !rd && (x->env->opts & OPT(flags)))) {
        fl_emit_restore(&x->e);
        x->op_saved = false;
    }
    x->fs = FS_HOST;
}
