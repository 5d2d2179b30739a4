/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decode, translate, verify: any guest bytes in any mode and with any optimisations must come out as a
 * fragment that the verifier accepts, with no sensitive instruction in it, or with a reason why there is
 * none.
 */
#include <stdio.h>
#include <stdlib.h>
#include "tests/fuzz/unit.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static struct fuzz_unit f;
    static struct verifier *v;
    struct in in = {data, data + size};
    u32 at;

    if (!v)
        v = verifier_create();
    switch (fuzz_translate(&f, &in, 256)) {
    case XLATE_OK:
        break;
    case XLATE_INTERP:
    case XLATE_FULL: /* more instructions to keep than there is room for */
        return 0;
    case XLATE_NEED_CROSS:
        abort(); /* it has got what it needs */
    }
    if (f.u.leaks || !f.u.n_insns || f.u.host_len > sizeof(f.code))
        abort();
    struct verify_in vi = fuzz_verify_in(&f);
    if (!verify_fragment(v, &vi, &at)) {
        fprintf(stderr, "refused at %x: %s (mode %x, opts %llx, eip %x, %u links)\n", at, verifier_why(v),
                f.env.mode, (unsigned long long)f.env.opts, f.env.eip, f.u.n_links);
        verify_print(v, &vi, at);
        abort();
    }
    return 0;
}
