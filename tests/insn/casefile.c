/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The case format: code | state in => state out, fault ; assembly
 *
 *     01 03 | ebx=20001000 eax=1 fl=C [20001000]=ffffffff => fl=ZAPC [20001000]=00000000 ; add [ebx], eax
 *
 * Numbers are hexadecimal. Left of `=>` what differs from the default state (README.md), right of it what the
 * instruction changed; everything else must be as before. A fault is `#PF:7@20004000` (error code and cr2
 * where there are any). `to=` is where execution goes on, a linear address, if not behind the instruction.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "insn.h"

static const char *const regs[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
static const char *const sregs[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
static const struct {
    char c;
    u32 bit;
} letters[] = {{'O', FL_OF}, {'D', FL_DF}, {'S', FL_SF}, {'Z', FL_ZF}, {'A', FL_AF},
               {'P', FL_PF}, {'C', FL_CF}, {'N', FL_NT}, {'L', FL_AC}, {'I', FL_ID}};
static const struct {
    const char *name;
    u8 vector;
    bool error;
} faults[] = {{"DE", 0, 0},  {"DB", 1, 0},  {"BP", 3, 0},  {"OF", 4, 0},  {"BR", 5, 0},
              {"UD", 6, 0},  {"NM", 7, 0},  {"TS", 10, 1}, {"NP", 11, 1}, {"SS", 12, 1},
              {"GP", 13, 1}, {"PF", 14, 1}, {"MF", 16, 0}, {"AC", 17, 1}, {"XM", 19, 0}};

static int hexdigit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Big-endian hexadecimal digits into n bytes. */
static bool parse_big(const char *s, u8 *out, u32 n)
{
    size_t len = strlen(s);

    memset(out, 0, n);
    if (!len || len > 2 * n)
        return false;
    for (size_t k = 0; k < len; k++) {
        int d = hexdigit(s[len - 1 - k]);
        if (d < 0)
            return false;
        out[k / 2] |= (u8)(d << (k & 1 ? 4 : 0));
    }
    return true;
}

static bool parse_flags(const char *s, u32 *out)
{
    *out = 0;
    for (; *s; s++) {
        u32 k = 0;
        while (k < ARRAY_SIZE(letters) && letters[k].c != *s)
            k++;
        if (k == ARRAY_SIZE(letters))
            return false;
        *out |= letters[k].bit;
    }
    return true;
}

static bool parse_patch(const char *t, struct icase *c)
{
    char *end;
    u32 lin = (u32)strtoul(t + 1, &end, 16), n = 0;
    struct patch *p = &c->patch[c->n_patch];

    if (end[0] != ']' || end[1] != '=' || c->n_patch == MAX_PATCH)
        return false;
    p->lin = lin;
    for (end += 2; hexdigit(end[0]) >= 0; end += 2) {
        if (hexdigit(end[1]) < 0 || n == sizeof(p->b) || lin + n - BASE >= REGION ||
            page_kind[(lin + n - BASE) >> PAGE_SHIFT] == PK_ABSENT)
            return false;
        p->b[n++] = (u8)(hexdigit(end[0]) << 4 | hexdigit(end[1]));
    }
    p->len = (u16)n;
    c->n_patch++;
    return *end == 0 && n;
}

/* One token of either side. */
static bool parse_state(const char *t, struct icase *c)
{
    const char *eq = strchr(t, '=');
    u32 v;

    if (t[0] == '[')
        return parse_patch(t, c);
    if (!eq)
        return false;
    v = (u32)strtoul(eq + 1, NULL, 16);
    for (int k = 0; k < 8; k++)
        if (!strncmp(t, regs[k], 3) && eq == t + 3) {
            c->gpr[k] = v;
            return true;
        }
    for (int k = 0; k < 6; k++)
        if (!strncmp(t, sregs[k], 2) && eq == t + 2) {
            c->sel[k] = (u16)v;
            return true;
        }
    if (!strncmp(t, "fl=", 3)) {
        if (!parse_flags(eq + 1, &c->flags))
            return false;
        c->flags |= FL_1 | FL_IF;
    } else if (!strncmp(t, "fcw=", 4)) {
        c->fp.fcw = (u16)v;
    } else if (!strncmp(t, "fsw=", 4)) {
        c->fp.fsw = (u16)v;
    } else if (!strncmp(t, "tags=", 5)) {
        c->fp.tags = (u8)v;
    } else if (!strncmp(t, "mxcsr=", 6)) {
        c->fp.mxcsr = v;
    } else if (!strncmp(t, "st", 2) && t[2] >= '0' && t[2] <= '7' && eq == t + 3) {
        return parse_big(eq + 1, c->fp.st[t[2] - '0'], 10);
    } else if (!strncmp(t, "xmm", 3) && t[3] >= '0' && t[3] <= '7' && eq == t + 4) {
        return parse_big(eq + 1, c->fp.xmm[t[3] - '0'], 16);
    } else {
        return false;
    }
    return true;
}

static bool parse_fault(const char *t, struct expect *x)
{
    for (u32 k = 0; k < ARRAY_SIZE(faults); k++)
        if (!strncmp(t + 1, faults[k].name, 2)) {
            const char *p = t + 3;
            x->vector = faults[k].vector;
            if (*p == ':')
                x->error = (u32)strtoul(p + 1, (char **)&p, 16);
            if (*p == '@')
                x->cr2 = (u32)strtoul(p + 1, (char **)&p, 16);
            return *p == 0;
        }
    return false;
}

int case_parse(const char *line, struct icase *c, struct expect *x, const char **err)
{
    static char buf[4096], bad[128];
    char *p, *save;
    int part = 0; /* code, in, out */

    if (strlen(line) >= sizeof(buf)) {
        *err = "line too long";
        return -1;
    }
    strcpy(buf, line);
    if ((p = strchr(buf, ';')))
        *p = 0;
    case_default(c);
    memset(x, 0, sizeof(*x));
    x->vector = VEC_NONE;
    x->native = true;
    x->level = AT_USER;
    p = strtok_r(buf, " \t\r\n", &save);
    if (!p || *p == '#')
        return 1;
    for (; p; p = strtok_r(NULL, " \t\r\n", &save)) {
        bool ok = true;
        if (!strcmp(p, "|") && part == 0) {
            part = 1;
        } else if (!strcmp(p, "=>") && part < 2) {
            part = 2;
            x->given = true;
            x->after = *c;
            x->after.n_patch = 0;
        } else if (part == 0) {
            int a = hexdigit(p[0]), b = a < 0 ? -1 : hexdigit(p[1]);
            ok = b >= 0 && !p[2] && c->len < INSN_MAX;
            if (ok)
                c->code[c->len++] = (u8)(a << 4 | b);
        } else if (part == 1 && !strncmp(p, "at=", 3)) {
            c->lin = (u32)strtoul(p + 3, NULL, 16);
            ok = c->lin >= PAGE_LIN(14) && c->lin < CODE_END;
        } else if (part == 1 && !strcmp(p, "-native")) {
            x->native = false;
        } else if (part == 1 && (!strcmp(p, "ring0") || !strcmp(p, "v86") || !strcmp(p, "real"))) {
            x->level = *p == 'v' ? AT_V86 : p[1] == 'i' ? AT_RING0 : AT_REAL;
        } else if (part == 1) {
            ok = parse_state(p, c);
        } else if (p[0] == '#') {
            ok = parse_fault(p, x);
        } else if (!strncmp(p, "to=", 3)) {
            x->has_lin = true;
            x->lin = (u32)strtoul(p + 3, NULL, 16);
        } else if (!strncmp(p, "fl?=", 4)) {
            ok = parse_flags(p + 4, &x->flags_mask);
        } else {
            ok = parse_state(p, &x->after);
        }
        if (!ok) {
            snprintf(bad, sizeof(bad), "cannot read '%.60s'", p);
            *err = bad;
            return -1;
        }
    }
    for (int s = 0; s < 6; s++) {
        struct seg sg;
        if (!segment_reg(c->sel[s], &sg) || (s == S_CS && (sg.attr & SA_NULL))) {
            *err = "no such segment";
            return -1;
        }
    }
    if (!c->len) {
        *err = "no code";
        return -1;
    }
    return 0;
}

static void put_image(void *opaque, u32 lin, const u8 *b, u32 len)
{
    memcpy((u8 *)opaque + (lin - BASE), b, len);
}

static void before_image(const struct icase *c, u8 *img)
{
    for (u32 n = 0; n < REGION; n++)
        img[n] = base_byte(n);
    case_lay_out(c, put_image, img);
}

static void print_flags(FILE *f, const char *name, u32 fl)
{
    fprintf(f, " %s=", name);
    for (u32 k = 0; k < ARRAY_SIZE(letters); k++)
        if (fl & letters[k].bit)
            fputc(letters[k].c, f);
}

static void print_big(FILE *f, const char *name, int n, const u8 *b, u32 len)
{
    fprintf(f, " %s%d=", name, n);
    while (len)
        fprintf(f, "%02x", b[--len]);
}

/* What differs between two states. */
static void print_state(FILE *f, const u32 *gpr, const u32 *gpr0, const u16 *sel, const u16 *sel0, u32 fl,
                        u32 fl0, const struct fpstate *p, const struct fpstate *q)
{
    u32 mask = 0;

    for (int s = 0; s < 6; s++)
        if (sel[s] != sel0[s])
            fprintf(f, " %s=%x", sregs[s], sel[s]);
    for (int r = 0; r < 8; r++)
        if (gpr[r] != gpr0[r])
            fprintf(f, " %s=%x", regs[r], gpr[r]);
    for (u32 k = 0; k < ARRAY_SIZE(letters); k++)
        mask |= letters[k].bit;
    if ((fl ^ fl0) & mask)
        print_flags(f, "fl", fl);
    if (p->fcw != q->fcw)
        fprintf(f, " fcw=%x", p->fcw);
    if (p->fsw != q->fsw)
        fprintf(f, " fsw=%x", p->fsw);
    if (p->tags != q->tags)
        fprintf(f, " tags=%x", p->tags);
    if (p->mxcsr != q->mxcsr)
        fprintf(f, " mxcsr=%x", p->mxcsr);
    for (int n = 0; n < 8; n++)
        if (memcmp(p->st[n], q->st[n], 10))
            print_big(f, "st", n, p->st[n], 10);
    for (int n = 0; n < 8; n++)
        if (memcmp(p->xmm[n], q->xmm[n], 16))
            print_big(f, "xmm", n, p->xmm[n], 16);
}

void case_print(FILE *f, const struct icase *c, const struct insn *in, const struct outcome *o, const u8 *ram,
                int level)
{
    static u8 img[REGION];
    struct icase d;
    char text[128];
    u32 undef;

    case_default(&d);
    for (u32 n = 0; n < c->len; n++)
        fprintf(f, "%s%02x", n ? " " : "", c->code[n]);
    fprintf(f, " |");
    if (level != AT_USER)
        fprintf(f, " %s", level == AT_RING0 ? "ring0" : level == AT_V86 ? "v86" : "real");
    if (c->lin != d.lin)
        fprintf(f, " at=%x", c->lin);
    print_state(f, c->gpr, d.gpr, c->sel, d.sel, c->flags, d.flags, &c->fp, &d.fp);
    for (u32 k = 0; k < c->n_patch; k++) {
        fprintf(f, " [%x]=", c->patch[k].lin);
        for (u32 n = 0; n < c->patch[k].len; n++)
            fprintf(f, "%02x", c->patch[k].b[n]);
    }
    fprintf(f, " =>");
    u16 sel[6];
    memcpy(sel, o->sel, sizeof(sel));
    if (o->cs_unknown && !sel[S_CS])
        sel[S_CS] = c->sel[S_CS];
    undef = undefined_flags(in, c);
    if (o->vector != VEC_NONE)
        undef |= in->fl_write & FL_ARITH;
    u32 fl = (o->flags & ~undef) | (c->flags & undef);
    print_state(f, o->gpr, c->gpr, sel, c->sel, fl, c->flags, &o->fp, &c->fp);
    if (undef)
        print_flags(f, "fl?", undef);
    before_image(c, img);
    for (u32 p = 0; ram && p < REGION_PAGES; p++) {
        if (page_kind[p] != PK_RW)
            continue;
        for (u32 n = p * PAGE_SIZE; n < (p + 1) * PAGE_SIZE; n++) {
            u32 run = 0;
            while (run < 64 && n + run < (p + 1) * PAGE_SIZE && ram[n + run] != img[n + run])
                run++;
            if (!run)
                continue;
            fprintf(f, " [%x]=", BASE + n);
            for (u32 k = 0; k < run; k++)
                fprintf(f, "%02x", ram[n + k]);
            n += run - 1;
        }
    }
    if (o->vector != VEC_NONE) {
        u32 k = 0;
        while (k < ARRAY_SIZE(faults) && faults[k].vector != o->vector)
            k++;
        fprintf(f, " #%s", k < ARRAY_SIZE(faults) ? faults[k].name : "??");
        if (k < ARRAY_SIZE(faults) && faults[k].error)
            fprintf(f, ":%x", o->error);
        if (o->vector == EXC_PF)
            fprintf(f, "@%x", o->cr2);
    }
    if (o->lin != (o->vector == VEC_NONE ? c->lin + c->len : c->lin))
        fprintf(f, " to=%x", o->lin);
    insn_format(in, c->lin - case_cs_base(c), case_cs32(c), text, sizeof(text));
    fprintf(f, " ; %s\n", text);
}

const char *case_check(const struct icase *c, const struct expect *x, const struct outcome *o, const u8 *ram)
{
    static u8 img[REGION];
    static char msg[160];
    u32 lin = x->has_lin ? x->lin : x->vector == VEC_NONE ? c->lin + c->len : c->lin;

    if (o->vector != x->vector || o->error != x->error || o->cr2 != x->cr2) {
        snprintf(msg, sizeof(msg), "fault %d(%x)@%x, the case says %d(%x)@%x", (i8)o->vector, o->error,
                 o->cr2, (i8)x->vector, x->error, x->cr2);
        return msg;
    }
    if (o->lin != lin) {
        snprintf(msg, sizeof(msg), "goes on at %x, the case says %x", o->lin, lin);
        return msg;
    }
    for (int r = 0; r < 8; r++)
        if (o->gpr[r] != x->after.gpr[r]) {
            snprintf(msg, sizeof(msg), "%s=%x, the case says %x", regs[r], o->gpr[r], x->after.gpr[r]);
            return msg;
        }
    for (int s = 0; s < 6; s++)
        if (x->level < AT_V86 &&
            o->sel[s] != (x->level == AT_RING0 ? x->after.sel[s] & ~3 : x->after.sel[s]) &&
            !(s == S_CS && o->cs_unknown)) {
            snprintf(msg, sizeof(msg), "%s=%x, the case says %x", sregs[s], o->sel[s], x->after.sel[s]);
            return msg;
        }
    u32 mask = 0;
    for (u32 k = 0; k < ARRAY_SIZE(letters); k++)
        mask |= letters[k].bit;
    if ((o->flags ^ x->after.flags) & mask & ~x->flags_mask) {
        snprintf(msg, sizeof(msg), "flags %x, the case says %x", o->flags & mask, x->after.flags & mask);
        return msg;
    }
    if (memcmp(&o->fp, &x->after.fp, sizeof(o->fp)))
        return "x87, MMX or SSE state is not what the case says";
    before_image(c, img);
    for (u32 k = 0; k < x->after.n_patch; k++)
        memcpy(img + (x->after.patch[k].lin - BASE), x->after.patch[k].b, x->after.patch[k].len);
    for (u32 n = 0; n < REGION; n++)
        if (page_kind[n >> PAGE_SHIFT] == PK_RW && img[n] != ram[n]) {
            snprintf(msg, sizeof(msg), "[%x]=%02x, the case says %02x", BASE + n, ram[n], img[n]);
            return msg;
        }
    return NULL;
}
