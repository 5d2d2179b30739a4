/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decoder finds a handler for every form of forms.def, with the same attributes as a plain reading of the
 * bytes, and with any addressing form; models without a feature get #UD. */
#include "fixture.h"

struct form {
    const u8 *insn, *end;
    const char *text;
};
#define FORM(text, fp) FORM_(text, __LINE__)
#define FORM_(text, n) FORM__(text, n)
#define FORM__(text, n)                                                                                      \
    __asm__(".pushsection .rodata.insns\n"                                                                   \
            "insn" #n ": " text "\n"                                                                         \
            "end" #n ":\n"                                                                                   \
            ".popsection\n"                                                                                  \
            ".pushsection .rodata.str\n"                                                                     \
            "text" #n ": .asciz \"" text "\"\n"                                                              \
            ".popsection\n"                                                                                  \
            ".pushsection forms, \"aw\"\n"                                                                   \
            ".quad insn" #n ", end" #n ", text" #n "\n"                                                      \
            ".popsection\n");
#include "forms.def"
extern const struct form __start_forms[], __stop_forms[];

static void test_forms(void **state)
{
    struct fixture *f = fixture_new();

    for (const struct form *t = __start_forms; t < __stop_forms; t++) {
        u32 len = (u32)(t->end - t->insn);
        struct insn a, b;

        assert_true(fixture_decode(t->insn, len, &a));
        assert_int_equal(insn_decode(f->v->model, t->insn, len, true, &b), 0);
        if (b.fn == insn_ud)
            fail_msg("%s decodes to #UD", t->text);
        if (a.fn != b.fn || a.thunk != b.thunk || a.memsize != b.memsize || a.fpu != b.fpu ||
            a.fpu_attr != b.fpu_attr || a.len != b.len)
            fail_msg("%s: the decoder disagrees", t->text);
        if (a.has_mem) { /* es:[ebp+esi*4+12345678h] shares the thunk and executes */
            u8 code[INSN_MAX] = {0x26};
            u32 n = 1, at = a.modrm_off;
            memcpy(code + n, t->insn, at);
            n += at;
            code[n++] = (u8)(0x84 | a.reg << 3);
            code[n++] = 0xb5;
            memcpy(code + n, "\x78\x56\x34\x12", 4);
            n += 4;
            memcpy(code + n, t->insn + at + 1, len - at - 1);
            n += len - at - 1;
            assert_int_equal(insn_decode(f->v->model, code, n, true, &b), 0);
            assert_ptr_equal(a.fn, b.fn);
            assert_ptr_equal(a.thunk, b.thunk);
            assert_int_equal(b.seg, S_ES);
            assert_int_equal(b.len, n);
            f->v->gpr[R_EBP] = MEM_LIN - 0x12345678;
            f->v->gpr[R_ESI] = 0x100;
            memset(f->mem, 0, MEM_SIZE);
            if (fixture_exec(f, &b) != CPU_OK)
                fail_msg("%s: fault %d", t->text, f->v->fault.vector);
            cpu_fpu_reset(f->v);
        }
    }
    fixture_free(f);
}

/* In 16-bit code, [bx+di] wraps at 64 KiB. */
static void test_16bit(void **state)
{
    struct fixture *f = fixture_new();
    static const u8 code[] = {0xdd, 0x01};
    struct insn i;

    assert_int_equal(insn_decode(f->v->model, code, 2, false, &i), 0);
    f->v->seg[S_DS].base = MEM_LIN;
    f->v->gpr[R_EBX] = 0x1234ff00;
    memcpy(f->mem + 0x1221, "\0\0\0\0\0\0\0\x40", 8);
    f->v->gpr[R_EDI] = 0x1321;
    assert_int_equal(RUN(f, 0xdb, 0xe3), CPU_OK); /* fninit */
    assert_int_equal(fixture_exec(f, &i), CPU_OK);
    cpu_fpu_park(f->v);
    assert_int_equal(f->v->fx[32 + 7], 0x80);
    assert_int_equal(f->v->fx[32 + 9], 0x40);
    fixture_free(f);
}

static void test_features(void **state)
{
    static const struct {
        u32 feature;
        u8 code[4], len;
    } cases[] = {
        {CPUF_SSE2, {0x66, 0x0f, 0xfe, 0xc1}, 4},
        {CPUF_SSE, {0x0f, 0x58, 0xc1}, 3},
        {CPUF_MMX, {0x0f, 0xfe, 0xc1}, 3},
        {CPUF_FXSR, {0x0f, 0xae, 0x07}, 3},
        {CPUF_CMOV, {0xda, 0xc1}, 2},
        {CPUF_CMOV, {0xdb, 0xf1}, 2},
        {CPUF_SSE, {0x0f, 0xe0, 0xc1}, 3},
        {CPUF_SSE2, {0x0f, 0xd4, 0xc1}, 3},
        {CPUF_SSE2, {0x0f, 0xc3, 0x07}, 3},
        {CPUF_SSE, {0x0f, 0xae, 0x17}, 3},
        {CPUF_SSE, {0x0f, 0xae, 0xf8}, 3},
        {CPUF_SSE2, {0x0f, 0xae, 0xe8}, 3},
    };
    struct fixture *f = fixture_new();
    struct cpu_model m = *f->v->model;
    struct insn i;

    for (u32 n = 0; n < ARRAY_SIZE(cases); n++) {
        m.features = f->v->model->features;
        assert_int_equal(insn_decode(&m, cases[n].code, cases[n].len, true, &i), 0);
        assert_ptr_not_equal(i.fn, insn_ud);
        m.features &= ~cases[n].feature;
        assert_int_equal(insn_decode(&m, cases[n].code, cases[n].len, true, &i), 0);
        if (i.fn != insn_ud)
            fail_msg("case %u is not #UD without its feature", n);
    }
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_16bit),
        cmocka_unit_test(test_features),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
