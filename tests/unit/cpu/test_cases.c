/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs int_cases.def through interp_exec(), with and without the access tables and the string fast path. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "fixture.h"
#include "base/opts.h"

struct icase {
    const char *code, *text, *in, *out;
};

#define CASE(...) {__VA_ARGS__},
static const struct icase cases[] = {
#include "int_cases.def"
};

static const char *const regs[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};

/* Applies "name=value ..." to the vCPU and memory. Returns false on an unknown word. */
static bool apply(struct fx *f, const char *s, bool *any_flags, char *fault)
{
    char word[64];
    int n;

    fault[0] = 0;
    *any_flags = false;
    while (sscanf(s, " %63s%n", word, &n) == 1) {
        char *eq = strchr(word, '=');
        bool done = false;
        s += n;
        if (word[0] == '#') {
            strcpy(fault, word);
            continue;
        }
        if (strcmp(word, "cs16") == 0) {
            fx_cs16(f);
            continue;
        }
        if (strcmp(word, "ss16") == 0) {
            fx_ss16(f);
            continue;
        }
        if (!eq)
            return false;
        *eq++ = 0;
        u32 val = (u32)strtoul(eq, NULL, 16);
        for (int r = 0; r < 8; r++) {
            if (strcmp(word, regs[r]) == 0) {
                f->v->gpr[r] = val;
                done = true;
            }
        }
        if (strcmp(word, "eip") == 0) {
            f->v->eip = val;
        } else if (strcmp(word, "fl") == 0) {
            static const char name[] = "OSZAPCD";
            static const u32 bit[] = {FL_OF, FL_SF, FL_ZF, FL_AF, FL_PF, FL_CF, FL_DF};
            *any_flags = *eq == '*';
            f->v->aflags = 0;
            for (; *eq && *eq != '*'; eq++)
                f->v->aflags |= bit[strchr(name, *eq) - name];
        } else if (word[0] == '@') {
            *(u32 *)fx_host(f, (u32)strtoul(word + 1, NULL, 16)) = val;
        } else if (!done) {
            return false;
        }
    }
    return true;
}

static void fault_text(const struct cpu_fault *x, char *s)
{
    static const char *const names[20] = {
        [EXC_DE] = "#DE", [EXC_BR] = "#BR", [EXC_UD] = "#UD", [EXC_SS] = "#SS", [EXC_GP] = "#GP"};
    if (x->vector == EXC_PF)
        sprintf(s, "#PF:%x@%x", x->error, x->cr2);
    else
        strcpy(s, x->vector < 20 && names[x->vector] ? names[x->vector] : "#?");
}

static void prepare(struct fx *f, const struct icase *c)
{
    char fault[64];
    bool any;

    memset(f->ram, 0, FX_PAGES * PAGE_SIZE);
    memset(f->code, 0, sizeof(f->code));
    for (u32 n = 0; n < FX_PAGES; n++)
        fx_set_page(f, n, n == 0 || n == 5 ? PG_ABSENT : n == 6 ? PG_RO : PG_RW);
    fx_reset_cpu(f);
    f->v->eip = 0x1000;
    f->v->gpr[R_ESP] = 0x4000;
    if (!apply(f, c->in, &any, fault))
        fail_msg("%s: cannot parse \"%s\"", c->text, c->in);
}

static void run_case(struct fx *f, struct fx *want, const struct icase *c)
{
    u8 code[16];
    u32 len = 0;
    struct insn in;
    char fault[64], got[64] = "";
    bool any;

    for (const char *s = c->code; *s; len++) {
        char *end;
        code[len] = (u8)strtoul(s, &end, 16);
        for (s = end; *s == ' '; s++)
            ;
    }
    prepare(f, c);
    prepare(want, c);
    bool cs32 = f->v->mode & MODE_CS32;
    assert_int_equal(insn_decode(&fx_model_full, code, len, cs32, &in), 0);
    if (in.len != len)
        fail_msg("%s: length %u", c->text, in.len);

    want->v->eip += len;
    if (!apply(want, c->out, &any, fault))
        fail_msg("%s: cannot parse \"%s\"", c->text, c->out);
    if (fault[0])
        want->v->eip = 0x1000;

    if (interp_exec(f->v, &in) != CPU_OK)
        fault_text(&f->v->fault, got);
    if (strcmp(got, fault) != 0)
        fail_msg("%s | %s: fault \"%s\", want \"%s\"", c->text, c->in, got, fault);
    for (int r = 0; r < 8; r++) {
        if (f->v->gpr[r] != want->v->gpr[r])
            fail_msg("%s | %s: %s = %x, want %x", c->text, c->in, regs[r], f->v->gpr[r], want->v->gpr[r]);
    }
    if (f->v->eip != want->v->eip)
        fail_msg("%s | %s: eip = %x, want %x", c->text, c->in, f->v->eip, want->v->eip);
    if (!any && f->v->aflags != want->v->aflags)
        fail_msg("%s | %s: flags = %x, want %x", c->text, c->in, f->v->aflags, want->v->aflags);
    for (u32 n = 0; n < FX_PAGES * PAGE_SIZE; n += 4) {
        u32 a = *(u32 *)(f->ram + n), b = *(u32 *)(want->ram + n);
        if (a != b)
            fail_msg("%s | %s: @%x = %x, want %x", c->text, c->in, n, a, b);
    }
}

static void run_all(bool tables, u64 opts)
{
    struct fx *f = fx_create(0), *want = fx_create(0);
    f->use_tables = tables;
    f->v->opts = opts;
    for (size_t n = 0; n < ARRAY_SIZE(cases); n++)
        run_case(f, want, &cases[n]);
    fx_destroy(f);
    fx_destroy(want);
}

static void test_fast(void **state)
{
    run_all(true, OPT_ALL);
}
static void test_no_string_opt(void **state)
{
    run_all(true, OPT_ALL & ~OPT(string));
}
static void test_slow(void **state)
{
    run_all(false, OPT_ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fast),
        cmocka_unit_test(test_no_string_opt),
        cmocka_unit_test(test_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
