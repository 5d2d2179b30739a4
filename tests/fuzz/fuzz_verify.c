/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verifier against damaged fragments: real units with bytes, maps and links overwritten, or plain
 * garbage. It must neither crash nor run on; what it accepts is the mutation test's business (test_verify.c).
 */
#include "tests/fuzz/unit.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static struct fuzz_unit f;
    static struct verifier *v;
    struct in in = {data, data + size};
    u32 at, n = take8(&in) % 64, changes = take8(&in);

    if (!v)
        v = verifier_create();
    if (fuzz_translate(&f, &in, n) != XLATE_OK) {
        f.u = (struct unit){.guest_len = 8, .n_insns = 1, .host_len = 64};
        memset(f.code, 0x90, 64);
    }
    struct verify_in vi = fuzz_verify_in(&f);
    if (changes & 0x80) { /* all of it */
        vi.len = 1 + left(&in) % 1024;
        take(&in, f.code, vi.len);
    }
    for (u32 k = changes & 15; k--;) {
        u32 where = take16(&in);
        f.code[where % vi.len] = take8(&in);
    }
    if (changes & 0x10 && vi.n_insns) {
        struct pcmap *p = &f.u.pcmap[take8(&in) % vi.n_insns];
        p->host = take16(&in);
        p->guest ^= take8(&in);
    }
    if (changes & 0x20 && vi.n_links) {
        struct unit_link *l = &f.u.links[take8(&in) % vi.n_links];
        l->patch = take16(&in);
        l->stub ^= take16(&in);
        l->far ^= take8(&in) & 1;
    }
    if (changes & 0x40) /* more entry points than the unit had */
        for (u32 k = 0; k < 16 && vi.n_insns < UNIT_MAX_INSNS; k++) {
            struct pcmap *p = &f.u.pcmap[vi.n_insns++];
            *p = (struct pcmap){.host = (u16)(p[-1].host + take8(&in)), .guest = (u16)(p[-1].guest + 1)};
            vi.guest_len = p->guest + 1u;
        }
    u8 exact[1024]; /* so that a read beyond the end is seen */
    if (vi.len <= sizeof(exact)) {
        u8 *copy = exact + sizeof(exact) - vi.len;
        memcpy(copy, f.code, vi.len);
        vi.code = copy;
    }
    verify_fragment(v, &vi, &at);
    return 0;
}
