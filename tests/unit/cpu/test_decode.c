/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * insn_decode(): lengths, fields, flags, feature gating and invalid encodings, one line a case.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "fixture.h"

static u32 parse_hex(const char *s, u8 *out)
{
    u32 n = 0;
    while (*s) {
        char *end;
        out[n++] = (u8)strtoul(s, &end, 16);
        s = end;
        while (*s == ' ')
            s++;
    }
    return n;
}

enum { OK, UD, LONG };
enum { FULL = 1, P486 = 2, C16 = 4 }; /* models (default both) and code size of a case */

struct dcase {
    const char *bytes;
    u8 where; /* FULL: only on the full model is it `kind`; on the other it is UD */
    u8 kind;
};

/* Encodings that exist everywhere, only from some model on, or nowhere. */
static const struct dcase gating[] = {
    {"90", 0, OK},
    {"f3 90", 0, OK},
    {"0f af c1", 0, OK},
    {"0f c8", 0, OK},          /* bswap */
    {"0f b1 0b", 0, OK},       /* cmpxchg */
    {"0f a2", 0, OK},          /* cpuid */
    {"d9 c0", 0, OK},          /* fld st0 */
    {"0f 31", FULL, OK},       /* rdtsc */
    {"0f 32", FULL, OK},       /* rdmsr */
    {"0f c7 08", FULL, OK},    /* cmpxchg8b */
    {"0f 44 c1", FULL, OK},    /* cmovz */
    {"0f 1f 00", FULL, OK},    /* nop */
    {"0f 1e fa", FULL, OK},    /* nop (endbr without CET) */
    {"f3 0f 1e fb", FULL, OK}, /* endbr32 is a nop */
    {"0f 0b", FULL, OK},       /* ud2 */
    {"0f 33", FULL, OK},       /* rdpmc */
    {"0f 34", FULL, OK},       /* sysenter */
    {"da c1", FULL, OK},       /* fcmovb */
    {"db f1", FULL, OK},       /* fcomi */
    {"0f 6f c1", FULL, OK},    /* movq mm */
    {"0f d7 c1", FULL, OK},    /* pmovmskb mm: SSE */
    {"0f e0 c1", FULL, OK},    /* pavgb mm: SSE */
    {"0f 58 c1", FULL, OK},    /* addps */
    {"66 0f 58 c1", FULL, OK}, /* addpd */
    {"0f d4 c1", FULL, OK},    /* paddq mm: SSE2 */
    {"0f ae 00", FULL, OK},    /* fxsave */
    {"0f ae 38", FULL, OK},    /* clflush */
    {"0f ae f8", FULL, OK},    /* sfence */
    {"0f c3 01", FULL, OK},    /* movnti */
    {"f3 0f bd c1", 0, OK},    /* bsr, not lzcnt */
    {"f3 0f bc c1", 0, OK},    /* bsf, not tzcnt */
    {"f2 f0 01 08", 0, OK},    /* xacquire is nothing */
    {"0f 20 c0", 0, OK},       /* mov eax, cr0 */
    {"0f 20 00", 0, OK},       /* the same: mod is ignored */
    {"0f 21 e0", 0, OK},       /* mov eax, dr4 */
    {"c4 08", 0, OK},          /* les */
    {"c5 08", 0, OK},          /* lds */
    {"62 08", 0, OK},          /* bound */
    {"8f c0", 0, OK},          /* pop eax */
    {"82 c0 01", 0, OK},       /* add al, 1 (alias) */
    {"c0 f0 01", 0, OK},       /* shl /6 */
    {"f6 c8 01", 0, OK},       /* test /1 */
    {"d6", 0, OK},             /* salc */
    {"f1", 0, OK},             /* icebp */
    {"f0 01 08", 0, OK},       /* lock add [eax], ecx */
    {"f0 0f c7 08", FULL, OK}, /* lock cmpxchg8b */
    /* nowhere */
    {"f0 01 c8", 0, UD},          /* lock with a register */
    {"f0 90", 0, UD},             /* lock nop */
    {"f0 8b 00", 0, UD},          /* lock with a load */
    {"f0 0f 20 c0", 0, UD},       /* lock mov cr */
    {"c4 c0 00 00 00", 0, UD},    /* les with a register = VEX */
    {"c5 f8 77", 0, UD},          /* vzeroupper */
    {"62 f1 7c 48 58 c1", 0, UD}, /* EVEX */
    {"8f e8 78 c0 c1 01", 0, UD}, /* XOP */
    {"8f c8", 0, UD},             /* pop /1 */
    {"8d c0", 0, UD},             /* lea with a register */
    {"8e c8", 0, UD},             /* mov cs */
    {"8e f0", 0, UD},             /* mov segment register 6 */
    {"0f 22 c8", 0, UD},          /* mov cr1 */
    {"0f 22 e8", 0, UD},          /* mov cr5 */
    {"0f 38 00 c1", 0, UD},       /* pshufb mm: SSSE3 */
    {"66 0f 3a 0f c1 01", 0, UD}, /* palignr */
    {"f2 0f 7c c1", 0, UD},       /* haddps */
    {"f3 0f b8 c1", 0, UD},       /* popcnt */
    {"0f 0f c1 bf", 0, UD},       /* 3DNow! */
    {"0f 0d 08", 0, UD},          /* prefetchw */
    {"0f 05", 0, UD},             /* syscall */
    {"0f 01 d0", 0, UD},          /* xgetbv */
    {"0f 01 c1", 0, UD},          /* vmcall */
    {"0f 01 c8", 0, UD},          /* monitor */
    {"0f 01 f9", 0, UD},          /* rdtscp */
    {"0f 01 ca", 0, UD},          /* clac */
    {"0f c7 f0", 0, UD},          /* rdrand */
    {"0f c7 c8", 0, UD},          /* cmpxchg8b with a register */
    {"66 0f ae 38", 0, UD},       /* clflushopt */
    {"0f ae 20", 0, UD},          /* xsave */
    {"c7 f8 00 00 00 00", 0, UD}, /* xbegin */
    {"0f 04", 0, UD},
    {"0f 0a", 0, UD},
    {"0f 36", 0, UD},
    {"fe d0", 0, UD},       /* group 4 /2 */
    {"ff f8", 0, UD},       /* group 5 /7 */
    {"c6 48 01 01", 0, UD}, /* group 11 /1 */
};

static int decode(const struct cpu_model *m, const char *bytes, bool cs32, struct insn *in)
{
    u8 buf[32];
    u32 n = parse_hex(bytes, buf);
    return insn_decode(m, buf, n, cs32, in);
}

static void test_gating(void **state)
{
    for (size_t n = 0; n < ARRAY_SIZE(gating); n++) {
        const struct dcase *c = &gating[n];
        struct insn in;
        for (int m = 0; m < 2; m++) {
            u8 want = c->where == FULL && m == 1 ? UD : c->kind;
            if (decode(m ? &fx_model_486 : &fx_model_full, c->bytes, true, &in) != 0)
                fail_msg("%s: not decoded", c->bytes);
            if ((in.fn == insn_ud) != (want == UD))
                fail_msg("%s (%s): %s", c->bytes, m ? "486" : "full", in.fn == insn_ud ? "#UD" : "exists");
            if (in.len < 1 || in.len > 15 || memcmp(in.raw, (u8[1]){(u8)strtoul(c->bytes, NULL, 16)}, 1) != 0)
                fail_msg("%s: len %u", c->bytes, in.len);
        }
    }
}

/* Fields: the expected values as text. */
struct fcase {
    const char *bytes;
    bool cs16;
    const char *want;
};

#define X "-" /* no base or index */
static const struct fcase fields[] = {
    {"01 c8", 0, "len=2 map=0 op=01 os=4 as=4 mod=3 reg=1 rm=0 mem=0 seg=3 ms=0 imm=0@2"},
    {"66 01 c8", 0, "len=3 map=0 op=01 os=2 as=4 mod=3 reg=1 rm=0 mem=0 seg=3 ms=0 imm=0@3"},
    {"01 c8", 1, "len=2 map=0 op=01 os=2 as=2 mod=3 reg=1 rm=0 mem=0 seg=3 ms=0 imm=0@2"},
    {"66 67 01 08", 1, "len=4 map=0 op=01 os=4 as=4 mod=0 reg=1 rm=0 mem=1[0+-*1+0] seg=3 ms=4 imm=0@4"},
    {"8b 44 b5 f0", 0,
     "len=4 map=0 op=8b os=4 as=4 mod=1 reg=0 rm=4 mem=1[5+6*4+fffffff0] seg=2 ms=4 imm=0@4"},
    {"8b 04 25 10 00 00 00", 0,
     "len=7 map=0 op=8b os=4 as=4 mod=0 reg=0 rm=4 mem=1[-+-*1+10] seg=3 ms=4 imm=0@7"},
    {"8b 04 2d 10 00 00 00", 0,
     "len=7 map=0 op=8b os=4 as=4 mod=0 reg=0 rm=4 mem=1[-+5*1+10] seg=3 ms=4 imm=0@7"},
    {"8b 04 24", 0, "len=3 map=0 op=8b os=4 as=4 mod=0 reg=0 rm=4 mem=1[4+-*1+0] seg=2 ms=4 imm=0@3"},
    {"3e 8b 04 24", 0, "len=4 map=0 op=8b os=4 as=4 mod=0 reg=0 rm=4 mem=1[4+-*1+0] seg=3 ms=4 imm=0@4"},
    {"65 8b 0d 14 00 00 00", 0,
     "len=7 map=0 op=8b os=4 as=4 mod=0 reg=1 rm=5 mem=1[-+-*1+14] seg=5 ms=4 imm=0@7"},
    {"8b 02", 1, "len=2 map=0 op=8b os=2 as=2 mod=0 reg=0 rm=2 mem=1[5+6*1+0] seg=2 ms=2 imm=0@2"},
    {"8b 46 fe", 1, "len=3 map=0 op=8b os=2 as=2 mod=1 reg=0 rm=6 mem=1[5+-*1+fffffffe] seg=2 ms=2 imm=0@3"},
    {"8b 06 34 12", 1, "len=4 map=0 op=8b os=2 as=2 mod=0 reg=0 rm=6 mem=1[-+-*1+1234] seg=3 ms=2 imm=0@4"},
    {"83 c0 ff", 0, "len=3 map=0 op=83 os=4 as=4 mod=3 reg=0 rm=0 mem=0 seg=3 ms=0 imm=ffffffff@2"},
    {"81 00 78 56 34 12", 0,
     "len=6 map=0 op=81 os=4 as=4 mod=0 reg=0 rm=0 mem=1[0+-*1+0] seg=3 ms=4 imm=12345678@2"},
    {"c8 34 12 05", 0, "len=4 map=0 op=c8 os=4 as=4 mod=0 reg=0 rm=0 mem=0 seg=3 ms=0 imm=1234@1 imm2=5"},
    {"ea 78 56 34 12 10 00", 0,
     "len=7 map=0 op=ea os=4 as=4 mod=0 reg=0 rm=0 mem=0 seg=3 ms=0 imm=12345678@1 imm2=10"},
    {"a1 78 56 34 12", 0, "len=5 map=0 op=a1 os=4 as=4 mod=0 reg=0 rm=0 mem=0 seg=3 ms=0 imm=12345678@1"},
    {"a1 34 f2", 1, "len=3 map=0 op=a1 os=2 as=2 mod=0 reg=0 rm=0 mem=0 seg=3 ms=0 imm=f234@1"},
    {"e8 fb ff ff ff", 0, "len=5 map=0 op=e8 os=4 as=4 mod=0 reg=0 rm=0 mem=0 seg=3 ms=0 imm=fffffffb@1"},
    {"0f 84 00 01 00 00", 0, "len=6 map=1 op=84 os=4 as=4 mod=0 reg=0 rm=0 mem=0 seg=3 ms=0 imm=100@2"},
    {"f3 a5", 0, "len=2 map=0 op=a5 os=4 as=4 mod=0 reg=0 rm=0 mem=0 seg=3 ms=0 imm=0@2"},
    {"0f 01 38", 0, "len=3 map=1 op=01 os=4 as=4 mod=0 reg=7 rm=0 mem=1[0+-*1+0] seg=3 ms=0 imm=0@3"},
    {"8d 44 88 01", 0, "len=4 map=0 op=8d os=4 as=4 mod=1 reg=0 rm=4 mem=1[0+1*4+1] seg=3 ms=0 imm=0@4"},
    {"0f 1f 44 00 00", 0, "len=5 map=1 op=1f os=4 as=4 mod=1 reg=0 rm=4 mem=1[0+0*1+0] seg=3 ms=0 imm=0@5"},
    {"0f 01 10", 0, "len=3 map=1 op=01 os=4 as=4 mod=0 reg=2 rm=0 mem=1[0+-*1+0] seg=3 ms=6 imm=0@3"},
    {"0f ae 00", 0, "len=3 map=1 op=ae os=4 as=4 mod=0 reg=0 rm=0 mem=1[0+-*1+0] seg=3 ms=512 imm=0@3"},
    {"dd 30", 0, "len=2 map=0 op=dd os=4 as=4 mod=0 reg=6 rm=0 mem=1[0+-*1+0] seg=3 ms=108 imm=0@2"},
    {"66 dd 30", 0, "len=3 map=0 op=dd os=2 as=4 mod=0 reg=6 rm=0 mem=1[0+-*1+0] seg=3 ms=94 imm=0@3"},
    {"d9 30", 0, "len=2 map=0 op=d9 os=4 as=4 mod=0 reg=6 rm=0 mem=1[0+-*1+0] seg=3 ms=28 imm=0@2"},
    {"db 28", 0, "len=2 map=0 op=db os=4 as=4 mod=0 reg=5 rm=0 mem=1[0+-*1+0] seg=3 ms=10 imm=0@2"},
    {"66 0f 6f 00", 0, "len=4 map=1 op=6f os=2 as=4 mod=0 reg=0 rm=0 mem=1[0+-*1+0] seg=3 ms=16 imm=0@4"},
    {"f3 0f 10 00", 0, "len=4 map=1 op=10 os=4 as=4 mod=0 reg=0 rm=0 mem=1[0+-*1+0] seg=3 ms=4 imm=0@4"},
    {"0f c7 08", 0, "len=3 map=1 op=c7 os=4 as=4 mod=0 reg=1 rm=0 mem=1[0+-*1+0] seg=3 ms=8 imm=0@3"},
    {"ff 28", 0, "len=2 map=0 op=ff os=4 as=4 mod=0 reg=5 rm=0 mem=1[0+-*1+0] seg=3 ms=6 imm=0@2"},
    {"62 00", 0, "len=2 map=0 op=62 os=4 as=4 mod=0 reg=0 rm=0 mem=1[0+-*1+0] seg=3 ms=8 imm=0@2"},
    {"0f 20 18", 0, "len=3 map=1 op=20 os=4 as=4 mod=3 reg=3 rm=0 mem=0 seg=3 ms=0 imm=0@3"},
};

static void regname(char *s, u8 r)
{
    if (r == NOREG)
        strcpy(s, X);
    else
        sprintf(s, "%u", r);
}

static void test_fields(void **state)
{
    for (size_t n = 0; n < ARRAY_SIZE(fields); n++) {
        const struct fcase *c = &fields[n];
        struct insn in;
        char got[256], b[4], x[4];
        if (decode(&fx_model_full, c->bytes, !c->cs16, &in) != 0)
            fail_msg("%s: not decoded", c->bytes);
        char *p = got;
        p += sprintf(p, "len=%u map=%u op=%02x os=%u as=%u mod=%u reg=%u rm=%u mem=%u", in.len, in.map,
                     in.opcode, in.opsize, in.adsize, in.mod, in.reg, in.rm, in.has_mem);
        if (in.has_mem) {
            regname(b, in.base);
            regname(x, in.index);
            p += sprintf(p, "[%s+%s*%u+%x]", b, x, in.scale, (u32)in.disp);
        }
        p += sprintf(p, " seg=%u ms=%u imm=%x@%u", in.seg, in.memsize, in.imm, in.imm_off);
        if (in.imm2)
            sprintf(p, " imm2=%x", in.imm2);
        if (strcmp(got, c->want) != 0)
            fail_msg("%s:\n  got  %s\n  want %s", c->bytes, got, c->want);
    }
}

/* Flags read and written, as letters. */
static const struct {
    const char *bytes, *rd, *wr;
} flags[] = {
    {"01 c8", "", "OSZAPC"},
    {"11 c8", "C", "OSZAPC"},
    {"40", "", "OSZAP"},
    {"21 c8", "", "OSZAPC"},
    {"89 c8", "", ""},
    {"74 00", "Z", ""},
    {"7c 00", "OS", ""},
    {"77 00", "ZC", ""},
    {"0f 94 c0", "Z", ""},
    {"d3 e0", "OSZAPC", "OSZAPC"},
    {"c1 e0 03", "A", "OSZAPC"},
    {"c1 e0 00", "OSZAPC", "OSZAPC"},
    {"c1 e0 20", "OSZAPC", "OSZAPC"},
    {"d1 e0", "A", "OSZAPC"},
    {"d1 d0", "C", "OC"},
    {"f3 a6", "DOSZAPC", "OSZAPC"},
    {"a6", "D", "OSZAPC"},
    {"a5", "D", ""},
    {"fc", "", "D"},
    {"f9", "", "C"},
    {"f5", "C", "C"},
    {"9e", "", "SZAPC"},
    {"9f", "SZAPC", ""},
    {"9c", "DOSZAPC", ""},
    {"cd 80", "DOSZAPC", NULL},
    {"cf", "DOSZAPC", "DOSZAPC"},
    {"9d", "", "DOSZAPC"},
    {"d6", "C", ""},
    {"0f 42 c1", "C", ""},
    {"da c1", "C", NULL},
    {"db f1", "", NULL},
    {"0f ba e0 01", "", NULL},
    {"0f bc c1", "OSAPC", NULL},
    {"e1 00", "Z", ""},
    {"0f c7 08", "", "Z"},
    {"0f b1 0b", "", "OSZAPC"},
    {"27", "AC", "OSZAPC"},
};

static u16 letters(const char *s)
{
    u16 f = 0;
    for (; *s; s++)
        f |= *s == 'O'   ? FL_OF
             : *s == 'S' ? FL_SF
             : *s == 'Z' ? FL_ZF
             : *s == 'A' ? FL_AF
             : *s == 'P' ? FL_PF
             : *s == 'C' ? FL_CF
                         : FL_DF;
    return f;
}

static void test_flags(void **state)
{
    for (size_t n = 0; n < ARRAY_SIZE(flags); n++) {
        struct insn in;
        if (decode(&fx_model_full, flags[n].bytes, true, &in) != 0)
            fail_msg("%s: not decoded", flags[n].bytes);
        if ((in.fl_read & letters(flags[n].rd)) != letters(flags[n].rd) ||
            (!(letters(flags[n].rd) & FL_SF) && in.fl_read != letters(flags[n].rd)))
            fail_msg("%s: reads %04x, want %s", flags[n].bytes, in.fl_read, flags[n].rd);
        if (flags[n].wr && in.fl_write != letters(flags[n].wr))
            fail_msg("%s: writes %04x, want %s", flags[n].bytes, in.fl_write, flags[n].wr);
    }
}

/* Every proper prefix of a valid instruction asks for more bytes; prefixes only, too. */
static void test_truncated(void **state)
{
    static const char *const full[] = {
        "66 81 84 b5 78 56 34 12 01 02", "0f 01 10",    "c4 08",       "62 08", "8f 00",
        "ea 78 56 34 12 10 00",          "f3 0f 10 00", "c8 34 12 05",
    };
    for (size_t k = 0; k < ARRAY_SIZE(full); k++) {
        u8 buf[16];
        struct insn in;
        u32 len = parse_hex(full[k], buf);
        for (u32 n = 0; n < len; n++)
            assert_int_equal(insn_decode(&fx_model_full, buf, n, true, &in), -1);
        assert_int_equal(insn_decode(&fx_model_full, buf, len, true, &in), 0);
        assert_int_equal(in.len, len);
    }
}

static void test_too_long(void **state)
{
    u8 b[32];
    struct insn in;
    memset(b, 0x66, sizeof(b));
    assert_int_equal(insn_decode(&fx_model_full, b, 15, true, &in), 1);
    assert_int_equal(insn_decode(&fx_model_full, b, 14, true, &in), -1);
    b[14] = 0x90;
    assert_int_equal(insn_decode(&fx_model_full, b, 15, true, &in), 0);
    assert_int_equal(in.len, 15);
    b[14] = 0x01; /* needs a 16th byte */
    b[15] = 0xc8;
    assert_int_equal(insn_decode(&fx_model_full, b, 16, true, &in), 1);
    b[14] = 0x0f;
    assert_int_equal(insn_decode(&fx_model_full, b, 16, true, &in), 1);
    b[14] = 0xc4;
    assert_int_equal(insn_decode(&fx_model_full, b, 16, true, &in), 1);
}

/* No bytes whatever crash the decoder, give a bad length, or leave fn empty. */
static void test_random(void **state)
{
    u32 s = 99;
    char text[128];
    for (u32 n = 0; n < 300000; n++) {
        u8 b[16];
        struct insn in;
        for (u32 k = 0; k < 16; k++) {
            s = s * 1103515245 + 12345;
            b[k] = s >> 16;
        }
        if (n & 1)
            b[0] = 0x0f;
        int r = insn_decode(n & 2 ? &fx_model_full : &fx_model_486, b, 1 + n % 16, n & 4, &in);
        if (r == 0) {
            assert_in_range(in.len, 1, 15);
            assert_true(in.len <= 1 + n % 16);
            assert_non_null(in.fn);
            if (n % 16 == 15) {
                insn_format(&in, 0x1000, n & 4, text, sizeof(text));
                assert_true(strlen(text) > 0);
            }
        }
    }
}

static void test_format(void **state)
{
    struct insn in;
    char text[64];
    decode(&fx_model_full, "e8 00 00 00 00", true, &in);
    insn_format(&in, 0x1000, true, text, sizeof(text));
    assert_string_equal(text, "call 0x00001005");
    decode(&fx_model_full, "0f 04", true, &in);
    insn_format(&in, 0x1000, true, text, sizeof(text));
    assert_string_equal(text, "(bad) 0f 04");
    insn_format(&in, 0x1000, true, text, 8);
    assert_true(strlen(text) < 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gating),    cmocka_unit_test(test_fields),   cmocka_unit_test(test_flags),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_too_long), cmocka_unit_test(test_random),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
