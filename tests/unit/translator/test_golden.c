/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Golden translations: what the translator makes of the snippets in golden_cases.def, as text in golden/.
 *
 *     test_golden DIRECTORY            compares; status 1 at a difference
 *     test_golden DIRECTORY --update   writes the files anew, to be reviewed as a diff
 *
 * Independent of where anything is: branch targets are labels, fields of struct vcpu and thunks have their
 * names, pointers to kept instructions are left out. All optimisations are on, whatever this host's processor
 * can do: the code is read here and not run. Guest instructions stand as comments where their host code
 * begins.
 */
#include <capstone/capstone.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/opts.h"
#include "translator/translator.h"

#define FLAT                                                                                                 \
    (MODE_PE | MODE_CS32 | MODE_SS32 | MODE_FLATCS | MODE_FLATDS | MODE_FLATES | MODE_FLATSS | MODE_SSE)
#define W0  (FLAT | MODE_IOPL_OK | MODE_WIN)
#define W3  (FLAT | MODE_WIN | 3)
#define L3  (FLAT | MODE_WIN | MODE_LOW | 3)
#define T3  (FLAT | 3)
#define EIP 0x401100u

enum { CHECKED = 1, COUNTED = 2, ARM_TAKEN = 4, ARM_NEVER = 8 };
struct golden {
    const char *file, *name;
    u32 mode;
    u32 known;
    const char *bytes;
    u32 len;
};
static const struct golden cases[] = {
#define CASE(file, name, mode, known, bytes) {#file, #name, mode, known, bytes, sizeof(bytes) - 1},
#include "golden_cases.def"
#undef CASE
};

static const char *const thunks[TH_COUNT_] = {
    [TH_READ_MISS] = "read_miss",
    [TH_WRITE_MISS] = "write_miss",
    [TH_SLOW] = "slow",
    [TH_EXEC] = "exec",
    [TH_LOOKUP] = "lookup",
    [TH_LINK] = "link",
    [TH_INTR] = "intr",
    [TH_IBRANCH] = "ibranch",
    [TH_SEG_LOAD] = "seg_load",
    [TH_SEG_FSGS] = "seg_fsgs",
    [TH_SEG_REAL] = "seg_real",
    [TH_SEG_BOTH] = "seg_both",
    [TH_VERW] = "verw",
    [TH_POPF] = "popf",
    [TH_POPF_IF] = "popf_if",
    [TH_IN] = "in",
    [TH_REP_MOVS8] = "rep_movs8",
    [TH_REP_MOVS32] = "rep_movs32",
    [TH_REP_STOS8] = "rep_stos8",
    [TH_REP_STOS32] = "rep_stos32",
    [TH_SYS] = "sys",
    [TH_RET_MISS] = "ret_miss",
    [TH_IND_OF] = "ind_of",
    [TH_FAR] = "far",
    [TH_SYSENTER] = "sysenter",
    [TH_SYSEXIT] = "sysexit",
    [TH_CLTS] = "clts",
    [TH_CR0] = "cr0",
    [TH_CR3] = "cr3",
    [TH_INT] = "int",
    [TH_IRET] = "iret",
    [TH_INVLPG] = "invlpg",
    [TH_TAKEN] = "taken",
    [TH_PASSED] = "passed",
    [TH_FXSAVE] = "fxsave",
    [TH_FXRSTOR] = "fxrstor",
};

/* The field of struct vcpu at an offset. */
static void field_name(u32 off, char *out, size_t size)
{
    static const struct {
        u32 off;
        const char *name;
    } fields[] = {
        {VO_EIP, "eip"},           {VO_AFLAGS, "aflags"},   {VO_SFLAGS, "sflags"},
        {VO_IFLAG, "iflag"},       {VO_CPL, "cpl"},         {VO_DF_SEEN, "df_seen"},
        {VO_MODE, "mode"},         {VO_KICK, "kick"},       {VO_INTR, "intr_line"},
        {VO_ONE, "one"},           {VO_TSC, "tsc_offset"},  {VO_CR0, "cr0"},
        {VO_CR2, "cr2"},           {VO_CR3, "cr3"},         {VO_CR4, "cr4"},
        {VO_GDTR, "gdtr"},         {VO_IDTR, "idtr"},       {BT_OFF(BT_BASE), "base"},
        {BT_OFF(BT_IBTC), "ibtc"}, {BT_OFF(BT_TMP), "tmp"}, {BT_OFF(BT_HOSTRSP), "host_rsp"},
    };
    static const char *const segs[] = {"es", "cs", "ss", "ds", "fs", "gs"}, *const parts[] = {"sel", "base",
                                                                                              "limit",
                                                                                              "attr"};

    for (u32 i = 0; i < ARRAY_SIZE(fields); i++)
        if (fields[i].off == off) {
            snprintf(out, size, "%s", fields[i].name);
            return;
        }
    if (off >= BT_OFF(BT_THUNK0) && off < BT_OFF(BT_THUNK0 + TH_COUNT_) &&
        thunks[(off - BT_OFF(BT_THUNK0)) / 8])
        snprintf(out, size, "th_%s", thunks[(off - BT_OFF(BT_THUNK0)) / 8]);
    else if (off >= BT_OFF(0) && off < BT_OFF(64))
        snprintf(out, size, "bt[%u]", (off - BT_OFF(0)) / 8);
    else if (off >= VO_SEG && off < VO_SEG + 6 * VO_SEG_SIZE && off % 4 == 0)
        snprintf(out, size, "%s.%s", segs[(off - VO_SEG) / VO_SEG_SIZE], parts[off % VO_SEG_SIZE / 4]);
    else
        snprintf(out, size, "%u", off);
}

/* op_str with "r15 + 0x1a0" as "vcpu.NAME". */
static void name_fields(const cs_insn *i, char *text, size_t size)
{
    const cs_x86 *x = &i->detail->x86;
    char field[32], from[32], *at;

    snprintf(text, size, "%s", i->op_str);
    for (u32 k = 0; k < x->op_count; k++) {
        const x86_op_mem *m = &x->operands[k].mem;
        if (x->operands[k].type != X86_OP_MEM || m->base != X86_REG_R15 || m->index || m->disp < 0)
            continue;
        if (m->disp == 0)
            snprintf(from, sizeof(from), "[r15]");
        else
            snprintf(from, sizeof(from), m->disp < 10 ? "[r15 + %d]" : "[r15 + 0x%x]", (int)m->disp);
        at = strstr(text, from);
        if (!at)
            continue;
        char rest[160];
        snprintf(rest, sizeof(rest), "%s", at + strlen(from));
        field_name((u32)m->disp, field, sizeof(field));
        snprintf(at, size - (size_t)(at - text), "vcpu.%s%s", field, rest);
    }
}

/* The offset in the fragment that an instruction refers to, or -1. */
static i64 target_of(const cs_insn *i)
{
    const cs_x86 *x = &i->detail->x86;

    for (u32 k = 0; k < x->op_count; k++) {
        if (x->operands[k].type == X86_OP_MEM && x->operands[k].mem.base == X86_REG_RIP)
            return (i64)i->address + i->size + x->operands[k].mem.disp;
        for (u32 g = 0; g < i->detail->groups_count; g++)
            if ((i->detail->groups[g] == CS_GRP_JUMP || i->detail->groups[g] == CS_GRP_CALL) &&
                x->operands[k].type == X86_OP_IMM)
                return x->operands[k].imm;
    }
    return -1;
}

struct listing {
    const u8 *code;
    const struct unit *u;
    csh cs;
    cs_insn *insn;
    int label[UNIT_MAX_CODE]; /* 0: none, -1: somebody refers to it, else its number */
};

static bool kept_pointer(const struct unit *u, u32 off)
{
    for (u32 k = 0; k < u->n_moves; k++)
        if (u->moves[k].kind == MOVE_INSN && u->moves[k].at == off)
            return true;
    return false;
}

static void print_host(struct listing *l, FILE *out, u32 *count)
{
    const cs_insn *i = l->insn;
    i64 to = target_of(i);
    char text[200];

    name_fields(i, text, sizeof(text));
    if (i->id == X86_INS_NOP)
        fprintf(out, "        nop     ; %d bytes\n", i->size);
    else if (to >= 0 && to < (i64)l->u->host_len && l->label[to]) {
        const char *rip = strstr(text, "[rip");
        if (rip)
            fprintf(out, "        %-7s %.*s[L%d]%s\n", i->mnemonic, (int)(rip - text), text, l->label[to],
                    strchr(rip, ']') + 1);
        else
            fprintf(out, "        %-7s L%d\n", i->mnemonic, l->label[to]);
    } else
        fprintf(out, "        %-7s %s\n", i->mnemonic, text);
    ++*count;
}

/* One walk over the code: with out NULL it only notes what is referred to. */
static void walk(struct listing *l, FILE *out)
{
    u32 next = 0, off = 0, count = 0;

    while (off < l->u->host_len) {
        for (; out && next < l->u->n_insns && l->u->pcmap[next].host <= off; next++) {
            char text[128];
            insn_format(&l->u->insns[next], EIP + l->u->pcmap[next].guest, true, text, sizeof(text));
            fprintf(out, "    ; %s", text);
            if (l->u->pcmap[next].sp)
                fprintf(out, "  (esp = rbp %+d)", l->u->pcmap[next].sp);
            if (l->u->pcmap[next].flags & PCM_SAVED)
                fprintf(out, "  (flags in r12)");
            fprintf(out, "\n");
        }
        if (out && l->label[off])
            fprintf(out, "    L%d:\n", l->label[off]);
        if (kept_pointer(l->u, off)) {
            if (out)
                fprintf(out, "        .quad   instruction\n");
            off += 8;
            continue;
        }
        const u8 *p = l->code + off;
        size_t left = l->u->host_len - off;
        u64 address = off;
        if (!cs_disasm_iter(l->cs, &p, &left, &address, l->insn)) {
            if (out)
                fprintf(out, "        .byte   0x%02x\n", l->code[off]);
            off++;
            continue;
        }
        if (out) {
            print_host(l, out, &count);
        } else {
            i64 to = target_of(l->insn);
            if (to >= 0 && to < (i64)l->u->host_len)
                l->label[to] = -1;
        }
        off += l->insn->size;
    }
    if (out)
        fprintf(out, "    ; %u host instructions\n\n", count);
}

/* Forward references need their numbers before the first line is printed. */
static void number_labels(struct listing *l)
{
    int n = 0;
    for (u32 off = 0; off < l->u->host_len; off++)
        if (l->label[off])
            l->label[off] = ++n;
}

static struct insn kept[UNIT_MAX_INSNS];
static u32 n_kept;

static struct insn *keep(void *opaque, const struct insn *i)
{
    return n_kept < UNIT_MAX_INSNS ? memcpy(&kept[n_kept++], i, sizeof(*i)) : NULL;
}

static bool yes(void *opaque, u32 off)
{
    return true;
}

static u32 taken(void *opaque, u32 off, u32 next)
{
    return HINT_TAKEN;
}

static u32 never_passed(void *opaque, u32 off, u32 next)
{
    return HINT_NEVER_PASSED;
}

static bool show(const struct golden *c, csh cs, FILE *out)
{
    static u8 code[UNIT_MAX_CODE];
    static struct unit u;
    struct unit_env env = {.model = cpu_model_find("qemu32"),
                           .opts = OPT_ALL,
                           .mode = c->mode,
                           .eip = EIP,
                           .cs_limit = 0xffffffff,
                           .bytes = (const u8 *)c->bytes,
                           .avail = c->len,
                           .first_link = 1,
                           .host_tsc = true,
                           .profile = c->known & COUNTED,
                           .check_site = c->known & CHECKED ? yes : NULL,
                           .hint = c->known & ARM_TAKEN   ? taken
                                   : c->known & ARM_NEVER ? never_passed
                                                          : NULL,
                           .keep_insn = keep};

    n_kept = 0;
    if (translate_unit(&env, code, sizeof(code), &u) != XLATE_OK) {
        fprintf(stderr, "%s: cannot be translated\n", c->name);
        return false;
    }
    for (u32 k = 0; k < u.n_moves; k++)
        if (u.moves[k].kind == MOVE_INSN)
            memset(code + u.moves[k].at, 0, 8);
    struct listing *l = calloc(1, sizeof(*l));
    if (!l || !(l->insn = cs_malloc(cs)))
        abort();
    l->code = code;
    l->u = &u;
    l->cs = cs;
    walk(l, NULL);
    number_labels(l);
    fprintf(out, "%s: %s form, CPL %u\n", c->name, c->mode & MODE_WIN ? "window" : "table",
            c->mode & MODE_CPL);
    walk(l, out);
    cs_free(l->insn, 1);
    free(l);
    return true;
}

static char *read_all(const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;

    if (!f)
        return NULL;
    if (getdelim(&text, &size, 0, f) < 0) {
        free(text);
        text = NULL;
    }
    fclose(f);
    return text;
}

/* Shows the first line in which they differ, with what it belongs to. */
static void complain(const char *path, const char *want, const char *have)
{
    char name[80] = "";
    u32 line = 1;

    while (*want && *have) {
        size_t a = strcspn(want, "\n"), b = strcspn(have, "\n");
        if (a != b || strncmp(want, have, a))
            break;
        if (*want != ' ' && a)
            snprintf(name, sizeof(name), "%.*s", (int)(a < 79 ? a : 79), want);
        want += a + (want[a] == '\n');
        have += b + (have[b] == '\n');
        line++;
    }
    fprintf(stderr, "%s:%u: (%s)\n  golden: %.*s\n  now:    %.*s\n", path, line, name,
            (int)strcspn(want, "\n"), want, (int)strcspn(have, "\n"), have);
}

/* Writes the file, or compares with it. */
static bool settle(const char *dir, const char *file, const char *text, bool update)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s.txt", dir, file);
    if (update) {
        FILE *f = fopen(path, "we");
        bool good = f && fputs(text, f) >= 0;
        if (f && fclose(f))
            good = false;
        if (!good)
            perror(path);
        return good;
    }
    char *want = read_all(path);
    bool same = want && !strcmp(want, text);
    if (!same)
        complain(path, want ? want : "", text);
    free(want);
    return same;
}

int main(int argc, char **argv)
{
    bool update = argc == 3 && !strcmp(argv[2], "--update"), good = true;
    csh cs;

    if (argc != 2 && !update) {
        fprintf(stderr, "usage: test_golden DIRECTORY [--update]\n");
        return 2;
    }
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &cs) != CS_ERR_OK)
        return 2;
    cs_option(cs, CS_OPT_DETAIL, CS_OPT_ON);
    for (u32 i = 0; i < ARRAY_SIZE(cases);) {
        const char *file = cases[i].file;
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        for (; i < ARRAY_SIZE(cases) && !strcmp(cases[i].file, file); i++)
            good &= show(&cases[i], cs, out);
        fclose(out);
        good &= settle(argv[1], file, text, update);
        free(text);
    }
    cs_close(&cs);
    if (!good && !update)
        fprintf(stderr, "if that is meant: tools/golden, and review the diff\n");
    return good ? 0 : 1;
}
