/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * int_lookup(): which handler executes an integer instruction. Each subject has a file of its own with the
 * handlers and their table; this one only asks them in turn. Lookup happens once per decode, so it need not
 * be fast; handlers are chosen per operand size and per register or memory form, so that they need not ask
 * again.
 */
#include "cpu/interp.h"

insn_fn int_lookup(const struct insn *i)
{
    static insn_fn (*const parts[])(const struct insn *) = {
        alu_lookup,   mov_lookup, stack_lookup,  flow_lookup,
        shift_lookup, bit_lookup, string_lookup, muldiv_lookup,
    };
    for (size_t n = 0; n < ARRAY_SIZE(parts); n++) {
        insn_fn fn = parts[n](i);
        if (fn)
            return fn;
    }
    return NULL;
}
