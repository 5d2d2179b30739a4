/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decoding by memo gives what insn_decode() gives, with the handlers of the whole CPU. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "cpu/insn.h"

/* Field by field, the first time and later: every opcode behind
 * every prefix and pair of them, with every ModRM, with numbers and ends of the readable bytes at random. */
static void heavy(void *calls)
{
    ++*(u32 *)calls;
}

static void memo_against_plain(const struct cpu_model *model)
{
    static const u8 pfx[] = {0, 0x66, 0xf0, 0xf2, 0xf3, 0x2e, 0x65, 0x36, 0x67};
    u32 s = 7, hits = 0, slow = 0;
    struct insn_memo *m = insn_memo_create(model, heavy, &slow);

    assert_non_null(m);
    for (u32 n = 0; n < ARRAY_SIZE(pfx) * ARRAY_SIZE(pfx) * 512 * 256; n++) {
        u32 p1 = n / 512 / 256 / ARRAY_SIZE(pfx), p2 = n / 512 / 256 % ARRAY_SIZE(pfx), at = 0;
        u8 b[2 * INSN_MAX];
        struct insn a, c;

        if (p1 && p2 && n % 7) /* pairs: a seventh */
            continue;
        for (u32 k = 0; k < sizeof(b); k++) {
            s = s * 1103515245 + 12345;
            b[k] = s >> 28 & 1 ? (u8)(s >> 16) : (u8)(s >> 27 & 3) << 6 >> 6;
        }
        if (pfx[p1])
            b[at++] = pfx[p1];
        if (pfx[p2])
            b[at++] = pfx[p2];
        if (n >> 16 & 1)
            b[at++] = 0x0f;
        b[at++] = (u8)(n >> 8);
        b[at] = (u8)n;
        u32 avail = s >> 24 & 3 ? INSN_MAX + (s >> 20 & 7) : s >> 20 & 15;
        bool cs32 = s >> 10 & 15;
        int r = insn_decode(model, b, avail, cs32, &a);
        for (u32 again = 0; again < 2; again++) {
            memset(&c, 0xcc, sizeof(c));
            assert_int_equal(insn_memo_decode(m, b, avail, cs32, &c), r);
            if (r)
                continue;
            if (!memcmp(&a, &c, offsetof(struct insn, imm_off) + 1) &&
                !memcmp(&a.disp, &c.disp,
                        offsetof(struct insn, raw) + INSN_MAX - offsetof(struct insn, disp)))
                hits++;
            else
                fail_msg("%02x %02x %02x %02x %02x %02x, %u bytes", b[0], b[1], b[2], b[3], b[4], b[5],
                         avail);
        }
    }
    assert_true(hits > 1000000);
    assert_true(slow < hits / 4 * 3); /* the rest is undefined, MMX, SSE or x87, or odd */
    insn_memo_destroy(m);
}

static void test_memo(void **state)
{
    memo_against_plain(cpu_model_find("max"));
    memo_against_plain(cpu_model_find("486"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memo)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
