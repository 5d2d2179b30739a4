/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mutation test of the translation-cache verifier.
 *
 * Real units (verify_frags.c) are translated in every mode and form; all must be accepted. Then their host
 * code is damaged: at random (NOVT_MUTATIONS, NOVT_SEED), and systematically: each instruction of each
 * fragment in each way that matters for isolation, one at a time. What the verifier accepts nevertheless is
 * *run* under an oracle (verify_oracle.c), at least RUNS times from random states and entry points, and until
 * the damaged instruction was executed. One violation of the isolation property fails the test. So "harmless"
 * is a judgement by execution that shares nothing with the verifier; "harmful-accepted" must be 0. Refused
 * mutants are run, too, to show that the oracle has teeth. Malicious instructions written by hand
 * (verify_evil.def) must all be refused.
 *
 * Arguments: programs whose code is cut into units as well. The last lines are for tools/fidelity.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <Zydis/Zydis.h>
#include "base/opts.h"
#include "shadowpt/shadowpt.h"
#include "tests/unit/translator/verify_test.h"

#define RUNS 12

struct score {
    u32 tried, unchanged, rejected, harmless, unreached, harmful;
    u64 steps;
};
static struct score at_random, crafted, tables;

static const struct bytes evil[] = {
#include "verify_evil.def"
};
static ZydisDecoder zd;

static void test_originals(void **state)
{
    assert_true(n_frags > 900);
    for (u32 i = 0; i < n_frags; i++)
        if (!verify(&frags[i], frags[i].code))
            fail_msg("unit %u, mode %x, opts %llx is refused: %s", i, frags[i].env.mode,
                     (unsigned long long)frags[i].env.opts, verifier_why(vf));
}

/* The oracle must not find fault with what the translator makes. */
static void test_oracle(void **state)
{
    oracle_catch_signals();
    for (u32 i = 0; i < n_frags; i++) {
        const struct frag *f = &frags[i];
        for (u32 k = 0; k < 3; k++) {
            struct execution e = oracle_run(f, f->code, f->u.pcmap[rnd() % f->u.n_insns].host, 0, 0);
            if (e.violation)
                fail_msg("unit %u, mode %x, at %x: the oracle says %s", i, f->env.mode, e.at, e.violation);
        }
    }
}

/* What it must find fault with, and survive: a jump to where no address is, steps that end. */
static void test_oracle_harm(void **state)
{
    static const u8 harm[][4] = {
        {0x6a, 0xff, 0xc3},       /* push -1; ret */
        {0x6a, 0x00, 0x9d, 0xc3}, /* push 0; popf; ret */
        {0xff, 0x60, 0xff},       /* jmp [rax - 1] */
    };
    static u8 code[UNIT_MAX_CODE];

    oracle_catch_signals();
    for (u32 i = 0; i < ARRAY_SIZE(harm); i++)
        for (u32 n = 0; n < n_frags; n += n_frags / 8) {
            const struct frag *f = &frags[n];
            assert_true(f->len >= sizeof(harm[i]));
            memcpy(code, f->code, f->len);
            memcpy(code, harm[i], sizeof(harm[i]));
            assert_non_null(oracle_run(f, code, 0, 0, sizeof(harm[i])).violation);
        }
}

/* ---- judging ---- */

static void report(const struct frag *f, const u8 *code, const struct execution *e)
{
    print_message("accepted, but at %x: %s (unit mode %x eip %x)\n", e->at, e->violation, f->env.mode,
                  f->env.eip);
    for (u32 k = 0; k < f->len; k++)
        if (code[k] != f->code[k])
            print_message("  byte %x: %02x -> %02x\n", k, f->code[k], code[k]);
    struct verify_in in = {
        .code = code, .len = f->len, .eip = f->env.eip, .pcmap = f->u.pcmap, .n_insns = f->u.n_insns};
    verify_print(vf, &in, e->at);
}

/* The entry point before the damage: its guest instruction's. */
static u32 entry_before(const struct frag *f, u32 off)
{
    u32 k = f->u.n_insns - 1;
    while (k && f->u.pcmap[k].host > off)
        k--;
    return f->u.pcmap[k].host;
}

/* Has the verifier, and if need be the oracle, judge a mutant whose bytes [lo, hi) differ. */
static void judge_mutant(const struct frag *f, const u8 *code, u32 lo, u32 hi, struct score *s)
{
    struct execution e;
    bool touched = false;

    s->tried++;
    if (!memcmp(code, f->code, f->len)) {
        s->unchanged++;
        return;
    }
    if (!verify(f, code)) {
        s->rejected++;
        return;
    }
    for (u32 k = 0; k < RUNS || (!touched && k < 3 * RUNS); k++) {
        u32 entry = k % 3 ? entry_before(f, lo) : f->u.pcmap[rnd() % f->u.n_insns].host;
        e = oracle_run(f, code, entry, lo, hi);
        s->steps += e.steps;
        touched |= e.touched;
        if (e.violation) {
            report(f, code, &e);
            s->harmful++;
            return;
        }
    }
    s->harmless++;
    s->unreached += !touched;
}

/* ---- random damage ---- */

static void mutate(const struct frag *f, u8 *code, u32 *lo, u32 *hi)
{
    u32 at = rnd() % f->len, n;
    memcpy(code, f->code, f->len);
    *lo = at;
    *hi = at + 1;
    switch (rnd() % 8) {
    case 0:
    case 1:
    case 2:
    case 3:
        code[at] ^= (u8)(1u << (rnd() % 8));
        break;
    case 4:
    case 5:
        code[at] = (u8)rnd();
        break;
    case 6: /* a run of bytes */
        for (n = 2 + rnd() % 6; n && at < f->len; n--)
            code[at++] = (u8)rnd();
        *hi = at;
        break;
    case 7: { /* an instruction is left out */
        ZydisDecodedInstruction i;
        u32 off = 0;
        while (off < f->len &&
               ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&zd, NULL, code + off, f->len - off, &i))) {
            if (off + i.length > at) {
                memset(code + off, 0x90, i.length);
                *lo = off;
                *hi = off + i.length;
                break;
            }
            off += i.length;
        }
        break;
    }
    }
}

static void test_random(void **state)
{
    static u8 code[UNIT_MAX_CODE];
    const char *s = getenv("NOVT_SEED"), *m = getenv("NOVT_MUTATIONS");
    u32 total = m ? (u32)atoi(m) : 12000, sampled = 0, confirmed = 0, lo, hi;

    oracle_catch_signals();
    if (s)
        rnd_seed(strtoull(s, NULL, 0));
    for (u32 n = 0; n < total; n++) {
        const struct frag *f = &frags[rnd() % n_frags];
        u32 refused = at_random.rejected;
        mutate(f, code, &lo, &hi);
        judge_mutant(f, code, lo, hi, &at_random);
        if (at_random.rejected == refused || at_random.rejected % 8)
            continue;
        sampled++; /* does the oracle see what is wrong with some of those, too? */
        for (u32 k = 0; k < 4; k++)
            if (oracle_run(f, code, entry_before(f, lo), lo, hi).violation) {
                confirmed++;
                break;
            }
    }
    print_message("of %u refused ones that were run, %u did harm\n", sampled, confirmed);
    assert_int_equal(at_random.harmful, 0);
    assert_true(confirmed > sampled / 20);
}

/* ---- crafted damage to the instructions that isolation hangs on ---- */

#define CRAFTS 16

/* Writes the mutant of instruction i at off; false: this damage does not apply. */
static bool craft(u32 way, const ZydisDecodedInstruction *i, u8 *p, u32 off)
{
    u8 *modrm = i->raw.modrm.offset ? p + i->raw.modrm.offset : NULL;
    u8 *disp = i->raw.disp.size ? p + i->raw.disp.offset : NULL;
    u8 *imm = i->raw.imm[0].size ? p + i->raw.imm[0].offset : NULL;
    u8 *rex = i->raw.rex.offset || (p[0] & 0xf0) == 0x40 ? p + i->raw.rex.offset : NULL;
    u8 *op = p + i->raw.prefix_count + (i->opcode_map == ZYDIS_OPCODE_MAP_0F);
    bool jcc8 = (p[0] & 0xf0) == 0x70, jcc32 = p[0] == 0x0f && (p[1] & 0xf0) == 0x80;
    i32 d;

    switch (way) {
    case 0: /* a check inverted */
        if (!jcc8 && !jcc32)
            return false;
        p[jcc32] ^= 1;
        return true;
    case 1: /* a check left out */
        if (!jcc8 && !jcc32 && p[0] != 0xe3)
            return false;
        memset(p, 0x90, i->length);
        return true;
    case 2: /* always, or another condition */
        if (jcc8)
            p[0] = 0xeb;
        else if (jcc32)
            p[0] = 0x90, p[1] = 0xe9;
        else
            return false;
        return true;
    case 3: /* the jump a little further */
        if (!jcc8 && !jcc32 && p[0] != 0xe9 && p[0] != 0xeb && p[0] != 0xe8 && p[0] != 0xe3)
            return false;
        p[jcc32 ? 2 : 1] += 1 + (u8)(rnd() % 8);
        return true;
    case 4: /* the other operand size, or 64 bits */
        return rex && (*rex & 0xf0) == 0x40 ? *rex ^= 8, true : false;
    case 5:
    case 6:
    case 7: /* another register bank: R, X, B */
        return rex && (*rex & 0xf0) == 0x40 ? *rex ^= (u8)(1 << (7 - way)), true : false;
    case 8: /* another register */
        return modrm ? *modrm ^= (u8)(8u << (rnd() % 3)), true : false;
    case 9: /* another base or register operand */
        return modrm ? *modrm ^= (u8)(1u << (rnd() % 3)), true : false;
    case 10: /* SIB: another base, index or scale */
        if (!modrm || (*modrm & 7) != 4 || *modrm >= 0xc0)
            return false;
        p[i->raw.sib.offset] ^= (u8)(1u << (rnd() % 8));
        return true;
    case 11: /* the wrong table: read rights for a write */
        if (!disp || i->raw.disp.size != 32)
            return false;
        memcpy(&d, disp, 4);
        d = d == -(i32)SPACE_RT_OFF   ? -(i32)SPACE_WT_OFF
            : d == -(i32)SPACE_WT_OFF ? -(i32)SPACE_RT_OFF
                                      : d + (i32)(8u << (rnd() % 20));
        memcpy(disp, &d, 4);
        return true;
    case 12: /* a displacement, an alignment mask, a page number, a link, an address */
        if (imm)
            imm[rnd() % (i->raw.imm[0].size / 8)] ^= (u8)(1u << (rnd() % 8));
        else if (disp)
            disp[0] ^= (u8)(1u << (rnd() % 8));
        else
            return false;
        return true;
    case 13: /* no window, or no 32-bit addresses in it */
        for (u32 k = 0; k < i->raw.prefix_count; k++)
            if (p[k] == 0x65 || p[k] == 0x67) {
                p[k] = (u8)(rnd() % 2 ? 0x3e : p[k] == 0x65 ? 0x64 : 0x2e);
                return true;
            }
        return false;
    case 14: /* the reverse direction, a byte instead of a word, a related operation */
        *op ^= (u8)(1u << (rnd() % 3));
        return true;
    case 15: /* nothing at all */
        memset(p, 0x90, i->length);
        return true;
    }
    return false;
}

static void test_crafted(void **state)
{
    static u8 code[UNIT_MAX_CODE];
    const char *m = getenv("NOVT_MUTATIONS");
    u32 of_1000 = m && atoi(m) > 12000 ? (u32)atoi(m) / 1000 : 10; /* a sample of all of them */
    ZydisDecodedInstruction i;

    oracle_catch_signals();
    for (u32 n = 0; n < n_frags; n++) {
        const struct frag *f = &frags[n];
        for (u32 off = 0; off < f->len; off += i.length) {
            assert_true(
                ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&zd, NULL, f->code + off, f->len - off, &i)));
            for (u32 way = 0; way < CRAFTS; way++) {
                if (rnd() % 1000 >= of_1000)
                    continue;
                memcpy(code, f->code, f->len);
                if (craft(way, &i, code + off, off))
                    judge_mutant(f, code, off, off + i.length, &crafted);
            }
        }
    }
    assert_true(crafted.tried > 5000);
    assert_int_equal(crafted.harmful, 0);
}

/* ---- malicious by hand ---- */

/* Each is put where a guest instruction begins (nothing known), and behind a checked four-byte read lookup of
 * eax (r8, r9 valid). None may be accepted in either place. */
/* What the verifier makes of one instruction at the start of a unit in this mode. */
static bool judged(u32 mode, const char *bytes, u32 len)
{
    static u8 buf[64];
    static struct frag f;

    f.code = buf;
    f.env = frags[0].env;
    f.env.mode = mode;
    f.u = (struct unit){.guest_len = 8, .n_insns = 1};
    memcpy(buf, bytes, len);
    memcpy(buf + len, "\x41\xb8\x00\x51\x00\x00\x41\xff\xa7", 9); /* mov r8d, 5100h; jmp [TH_LOOKUP] */
    u32 slot = BT_OFF(BT_THUNK0 + TH_LOOKUP);
    memcpy(buf + len + 9, &slot, 4);
    f.len = len + 13;
    return verify(&f, buf);
}

/* 64-bit addresses in the low window: what reaches nothing else, and only there. */
static void test_low_window(void **state)
{
#define I(text)                                                                                              \
    {                                                                                                        \
        text, sizeof(text) - 1                                                                               \
    }
    static const struct {
        const char *bytes;
        u32 len;
    } good[] =
        {
            I("\x8b\x03"),                     /* mov eax, [rbx] */
            I("\x89\x45\xf8"),                 /* mov [rbp - 8], eax */
            I("\x41\x01\x45\x7f"),             /* add [r13 + 127], eax */
            I("\x8b\x83\x00\x00\xff\xff"),     /* mov eax, [rbx - 65536] */
            I("\x8b\x83\xff\xff\xff\x7f"),     /* mov eax, [rbx + 2147483647] */
            I("\x0f\x11\x83\xff\xff\xff\x7f"), /* movups [rbx + 2147483647], xmm0 */
            I("\xff\x04\x25\xff\xff\xff\x7f"), /* inc dword [2147483647] */
            I("\x44\x8d\x04\x8b\x41\x8b\x00"), /* lea r8d, [rbx + rcx * 4]; mov eax, [r8] */
        },
      bad[] = {
          I("\x8b\x04\x8b"),                 /* mov eax, [rbx + rcx * 4] */
          I("\x8b\x83\xff\xff\xfe\xff"),     /* mov eax, [rbx - 65537] */
          I("\x89\x04\x25\x00\x00\x00\x80"), /* mov [-2147483648], eax */
          I("\x8b\x04\x8d\x00\x00\x00\x00"), /* mov eax, [rcx * 4] */
          I("\x41\x8b\x00"),                 /* mov eax, [r8] */
          I("\x4c\x8d\x04\x8b\x41\x8b\x00"), /* lea r8, [rbx + rcx * 4]; mov eax, [r8] */
          I("\x41\x8b\x06"),                 /* mov eax, [r14] */
          I("\x41\x89\x07"),                 /* mov [r15], eax */
          I("\x8b\x04\x24"),                 /* mov eax, [rsp] */
          I("\x8b\x05\x00\x00\x00\x00"),     /* mov eax, [rip] */
          I("\x65\x8b\x03"),                 /* mov eax, gs:[rbx] */
          I("\x64\x8b\x03"),                 /* mov eax, fs:[rbx] */
          I("\x0f\xab\x03"),                 /* bts [rbx], eax */
      };
#undef I
    u32 mode = (frags[0].env.mode | MODE_WIN) & ~MODE_LOW;

    (void)state;
    for (u32 k = 0; k < ARRAY_SIZE(good); k++) {
        if (!judged(mode | MODE_LOW, good[k].bytes, good[k].len))
            fail_msg("good %u: %s", k, verifier_why(vf));
        if (judged(mode, good[k].bytes, good[k].len) || judged(mode & ~MODE_WIN, good[k].bytes, good[k].len))
            fail_msg("good %u: accepted outside of the low window", k);
    }
    for (u32 k = 0; k < ARRAY_SIZE(bad); k++)
        if (judged(mode | MODE_LOW, bad[k].bytes, bad[k].len))
            fail_msg("bad %u: accepted", k);
}

/* What verify_evil.def has variations of. */
static void test_branch_cache(void **state)
{
    /* movzx r9d, ax; mov r10, [r15 + BT_IBTC]; mov r11, [r10 + r9 * 8]; lea r11, [r11 + rax * 2 + IBTC_TAG];
     * adox r11, [r15]; jo out; jmp [r10 + r9 * 8 + IBTC_HOST_OFF] */
    static const char bytes[] = "\x44\x0f\xb7\xc8\x4d\x8b\x57\x48\x4f\x8b\x1c\xca\x4d\x8d\x5c\x43\x02\xf3\x4d"
                                "\x0f\x38\xf6\x1f\x70\x08\x43\xff\xa4\xca\x40\x08\x10\x00";

    (void)state;
    if (!judged(frags[0].env.mode, bytes, sizeof(bytes) - 1))
        fail_msg("%s", verifier_why(vf));
}

static void test_malicious(void **state)
{
    /* lea r8d,[rax]; mov r9d,r8d; shr r9d,12; mov r9,[r14+r9*8-RT]; test r9,r9; jz out; test r8b,3; jnz out
     */
    static const u8 look[] = {0x44, 0x8d, 0x00, 0x45, 0x89, 0xc1, 0x41, 0xc1, 0xe9, 0x0c, 0x4f, 0x8b, 0x8c,
                              0xce, 0x00, 0x00, 0x80, 0xfe, 0x4d, 0x85, 0xc9, 0x0f, 0x84, 0,    0,    0,
                              0,    0x41, 0xf6, 0xc0, 0x03, 0x0f, 0x85, 0,    0,    0,    0};
    static const u8 good[] = {0x43, 0x8b, 0x04, 0x08}; /* mov eax, [r8+r9] */
    static u8 buf[128];
    static struct frag f;
    u32 tried = 0, accepted = 0;

    f.code = buf;
    f.env = frags[0].env;
    f.u = (struct unit){.guest_len = 8, .n_insns = 1};
    for (u32 e = 0; e <= ARRAY_SIZE(evil); e++)
        for (u32 behind = 0; behind < 2; behind++) {
            u32 at = 0, out;
            /* last: a legal one, to show that the frame itself is accepted */
            const u8 *bytes = e < ARRAY_SIZE(evil) ? evil[e].bytes : good;
            u32 len = e < ARRAY_SIZE(evil) ? evil[e].len : sizeof(good);
            if (e == ARRAY_SIZE(evil) && !behind)
                continue;
            if (behind) {
                memcpy(f.code, look, sizeof(look));
                at = sizeof(look);
            }
            memcpy(f.code + at, bytes, len);
            at += len;
            out = at;
            memcpy(f.code + at, "\x41\xb8\x00\x51\x00\x00\x41\xff\xa7",
                   9); /* mov r8d, 5100h; jmp [TH_LOOKUP] */
            u32 slot = BT_OFF(BT_THUNK0 + TH_LOOKUP), rel = out - 27, rel2 = out - 37;
            memcpy(f.code + at + 9, &slot, 4);
            f.len = at + 13;
            if (behind) {
                memcpy(f.code + 23, &rel, 4);
                memcpy(f.code + 33, &rel2, 4);
            }
            bool ok = verify(&f, f.code);
            if (e == ARRAY_SIZE(evil)) {
                if (!ok)
                    fail_msg("the frame is refused: %s", verifier_why(vf));
                continue;
            }
            tried++;
            if (ok) {
                accepted++;
                print_message("accepted%s: case %u:", behind ? " behind a lookup" : "", e);
                for (u32 k = 0; k < len; k++)
                    print_message(" %02x", bytes[k]);
                print_message("\n");
            }
        }
    crafted.tried += tried;
    crafted.rejected += tried - accepted;
    crafted.harmful += accepted;
    assert_true(tried >= 200);
    assert_int_equal(accepted, 0);
}

/* What random mutations once got past the verifier, cut down. Each stands at the start of a guest
 * instruction. */
static void test_found(void **state)
{
    static const struct {
        const u8 *bytes;
        u32 len;
    } found[] = {
        /* add ebp, r8d was taken to clear the upper half of r8, too: lookup of r8 follows, byte load */
        U("\x44\x01\xc5\x45\x89\xc1\x41\xc1\xe9\x0c\x4f\x8b\x8c\xce\x00\x00\x80\xfe\x4d\x85\xc9\x74\x04\x43"
          "\x8a\x04\x08"),
    };
    static u8 buf[128];
    static struct frag f;
    u32 slot = BT_OFF(BT_THUNK0 + TH_LOOKUP);

    f.code = buf;
    f.env = frags[0].env;
    f.u = (struct unit){.guest_len = 8, .n_insns = 1};
    for (u32 n = 0; n < ARRAY_SIZE(found); n++) {
        memcpy(f.code, found[n].bytes, found[n].len);
        memcpy(f.code + found[n].len, "\x41\xb8\x00\x51\x00\x00\x41\xff\xa7", 9);
        memcpy(f.code + found[n].len + 9, &slot, 4);
        f.len = found[n].len + 13;
        assert_false(verify(&f, f.code));
    }
}

/* Damaged tables: pc map, links, kept instructions. */
static void test_tables(void **state)
{
    static struct frag f;
    u32 refused = 0, tried = 0;
    for (u32 i = 0; i < n_frags; i++) {
        for (u32 way = 0; way < 8; way++) {
            f = frags[i];
            u32 k = rnd() % f.u.n_insns;
            if (way == 0)
                f.u.pcmap[k].host += 1 + (rnd() & 1);
            else if (way == 1 && f.u.n_insns > 1)
                f.u.pcmap[f.u.n_insns - 1].guest = 0;
            else if (way == 2 && f.u.n_links)
                f.u.links[rnd() % f.u.n_links].patch += 1;
            else if (way == 3 && f.u.n_links)
                f.u.links[rnd() % f.u.n_links].stub += 1;
            else if (way == 4 && f.n_kept)
                f.kept[rnd() % f.n_kept] = NULL;
            else if (way == 5 && f.u.n_links && !f.u.links[k %= f.u.n_links].far)
                f.u.links[k].target ^= 0x10000; /* where one to another page leads, only the table says */
            else if (way == 6 && f.u.n_landings)
                f.u.landings[rnd() % f.u.n_landings].at += 1 + rnd() % 3;
            else if (way == 7 && f.u.n_landings)
                f.u.landings[rnd() % f.u.n_landings].miss += rnd() % 2 ? 1 : -3;
            else
                continue;
            /* an entry may happen to fall on another instruction's start: that is a legal map */
            bool ok = verify(&f, f.code);
            tried++;
            refused += !ok;
            if (ok && way != 0)
                fail_msg("unit %u: damage %u to the tables is accepted", i, way);
        }
    }
    tables.tried = tried;
    tables.rejected = refused;
    tables.harmless = tried - refused;
}

static void print_score(const char *name, const struct score *s)
{
    print_message(
        "mutations %s: tried %u unchanged %u rejected %u harmless %u (not reached by a run %u) steps %llu "
        "harmful-accepted %u\n",
        name, s->tried, s->unchanged, s->rejected, s->harmless, s->unreached, (unsigned long long)s->steps,
        s->harmful);
}

/* What stands before fragments: taken as it is made, refused with any byte changed and for any other place.
 */
static void test_entries(void **state)
{
    static const u64 opts[] = {OPT(xpage) | OPT(chain) | OPT(ofcheck), OPT(xpage) | OPT(chain)};
    const u32 eip = 0x80481234, lin = 0xc0481234, expected = 0x12346;

    (void)state;
    for (u32 n = 0; n < 2 * ARRAY_SIZE(opts); n++) {
        u8 code[ENTRY_MAX];
        u32 check, len = translate_entry(opts[n / 2], eip, lin, expected, n & 1, code, &check);
        assert_true(len > 0 && len <= ENTRY_MAX);
        assert_true(verify_entry(code, len, check, eip, lin, expected));
        assert_false(verify_entry(code, len, check, eip + 1, lin, expected));
        assert_false(verify_entry(code, len, check, eip, lin + PAGE_SIZE, expected));
        assert_false(verify_entry(code, len, check, eip, lin, expected + 2));
        assert_false(verify_entry(code, len, 0, eip, lin, expected));
        assert_false(verify_entry(code, len - 1, check, eip, lin, expected));
        for (u32 k = 0; k < len * 8; k++) {
            code[k / 8] ^= (u8)(1 << k % 8);
            assert_false(verify_entry(code, len, check, eip, lin, expected));
            code[k / 8] ^= (u8)(1 << k % 8);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_originals),    cmocka_unit_test(test_oracle),
        cmocka_unit_test(test_oracle_harm),  cmocka_unit_test(test_random),
        cmocka_unit_test(test_malicious),    cmocka_unit_test(test_found),
        cmocka_unit_test(test_crafted),      cmocka_unit_test(test_tables),
        cmocka_unit_test(test_entries),      cmocka_unit_test(test_low_window),
        cmocka_unit_test(test_branch_cache),
    };
    ZydisDecoderInit(&zd, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (oracle_setup())
        return 1;
    frags_make(argv + 1, argc - 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    print_message("mutations: %u fragments, %u of them of real guest code\n", n_frags, n_real);
    print_score("random", &at_random);
    print_score("crafted", &crafted);
    print_score("tables", &tables);
    print_message(
        "mutations: random %u rejected %u harmless %u harmful-accepted %u; crafted %u rejected %u harmless "
        "%u harmful-accepted %u\n",
        at_random.tried - at_random.unchanged, at_random.rejected, at_random.harmless, at_random.harmful,
        crafted.tried - crafted.unchanged, crafted.rejected, crafted.harmless, crafted.harmful);
    frags_free();
    return failed;
}
