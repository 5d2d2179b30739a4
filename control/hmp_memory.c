/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor's memory dumps, expressions and ports.
 *
 * Expressions are QEMU's: numbers, 'c', $register, unary + - ~, ( ), and * / % (bound tighter than) + - & |
 * ^, from left to right, in 64 bits.
 */
#include "control/internal.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memory/memory.h"
#include "shadowpt/shadowpt.h"

#define MAX_DEPTH 64
#define MAX_DUMP  65536 /* elements */

/* ---- expressions ---- */

struct expr {
    struct control *c;
    const char *p, *why;
    int depth;
};

static u64 sum(struct expr *e);

static u64 fail(struct expr *e, const char *why)
{
    if (!e->why)
        e->why = why;
    return 0;
}

static void blanks(struct expr *e)
{
    while (isspace((u8)*e->p))
        e->p++;
}

static u64 unary(struct expr *e)
{
    char *end;
    u64 val = 0;
    blanks(e);
    if (e->depth >= MAX_DEPTH)
        return fail(e, "too deep");
    e->depth++;
    switch (*e->p) {
    case '+':
        e->p++;
        val = unary(e);
        break;
    case '-':
        e->p++;
        val = -unary(e);
        break;
    case '~':
        e->p++;
        val = ~unary(e);
        break;
    case '(':
        e->p++;
        val = sum(e);
        blanks(e);
        if (*e->p == ')')
            e->p++;
        else
            fail(e, "')' expected");
        break;
    case '\'':
        if (!e->p[1] || e->p[2] != '\'') {
            val = fail(e, "character constant expected");
        } else {
            val = (u8)e->p[1];
            e->p += 3;
        }
        break;
    case '$': {
        size_t n = 0;
        e->p++;
        while (isalnum((u8)e->p[n]) || e->p[n] == '_' || e->p[n] == '.')
            n++;
        if (!target_register(e->c, e->p, n, &val))
            val = fail(e, "unknown register");
        e->p += n;
        break;
    }
    default:
        errno = 0;
        val = isdigit((u8)*e->p)
                  ? strtoull(e->p, &end, 0)
                  : fail(e, *e->p ? "invalid char in expression" : "unexpected end of expression");
        if (!e->why && errno)
            val = fail(e, "number too large");
        if (!e->why)
            e->p = end;
    }
    e->depth--;
    blanks(e);
    return val;
}

static u64 product(struct expr *e)
{
    u64 val = unary(e);
    while (!e->why && (*e->p == '*' || *e->p == '/' || *e->p == '%')) {
        char op = *e->p++;
        u64 b = unary(e);
        if (op == '*')
            val *= b;
        else if (!b)
            return fail(e, "division by zero");
        else
            val = op == '/' ? val / b : val % b;
    }
    return val;
}

static u64 logic(struct expr *e)
{
    u64 val = product(e);
    while (!e->why && (*e->p == '&' || *e->p == '|' || *e->p == '^')) {
        char op = *e->p++;
        u64 b = product(e);
        val = op == '&' ? val & b : op == '|' ? val | b : val ^ b;
    }
    return val;
}

static u64 sum(struct expr *e)
{
    u64 val = logic(e);
    while (!e->why && (*e->p == '+' || *e->p == '-')) {
        char op = *e->p++;
        u64 b = logic(e);
        val = op == '+' ? val + b : val - b;
    }
    return val;
}

bool expr_eval(struct control *c, const char *s, const char **end, u64 *val, const char **why)
{
    struct expr e = {.c = c, .p = s};
    *val = sum(&e);
    *end = e.p;
    *why = e.why;
    return !e.why;
}

/* The next expression of a command; all: nothing may follow. */
static bool expression(struct hmp_call *h, const char **p, bool all, u64 *val)
{
    const char *why;
    if (!expr_eval(h->c, *p, p, val, &why)) {
        fprintf(h->out, "%s\n", why);
        return false;
    }
    if (all && **p) {
        fprintf(h->out, "'%s' behind the expression\n", *p);
        return false;
    }
    return true;
}

/* ---- formats ---- */

struct format {
    u32 count;
    char letter; /* x d u o c i s */
    u32 size;    /* bytes */
};

static bool format(struct hmp_call *h, const char **p, struct format *f)
{
    while (isspace((u8) * *p))
        ++*p;
    if (**p != '/')
        return true;
    ++*p;
    if (isdigit((u8) * *p)) {
        u64 n = 0;
        for (; isdigit((u8) * *p); ++*p)
            n = n * 10 + (u64)(**p - '0') > MAX_DUMP ? MAX_DUMP : n * 10 + (u64)(**p - '0');
        f->count = (u32)n;
    }
    for (; **p && !isspace((u8) * *p); ++*p) {
        switch (**p) {
        case 'x':
        case 'd':
        case 'u':
        case 'o':
        case 'c':
        case 'i':
        case 's':
            f->letter = **p;
            if (**p == 'c' || **p == 's')
                f->size = 1;
            break;
        case 'b':
            f->size = 1;
            break;
        case 'h':
            f->size = 2;
            break;
        case 'w':
            f->size = 4;
            break;
        case 'g':
        case 'L':
            f->size = 8;
            break;
        default:
            fprintf(h->out, "invalid char in format: '%c'\n", **p);
            return false;
        }
    }
    return true;
}

static void print_value(FILE *out, const struct format *f, u64 val)
{
    int digits = (int)f->size * 2;
    i64 s = f->size == 8 ? (i64)val : (i64)(val << (64 - 8 * f->size)) >> (64 - 8 * f->size);
    switch (f->letter) {
    case 'd':
        fprintf(out, "%" PRId64, s);
        break;
    case 'u':
        fprintf(out, "%" PRIu64, val);
        break;
    case 'o':
        fprintf(out, "0%" PRIo64, val);
        break;
    case 'c':
        fprintf(out, val >= ' ' && val < 127 ? "'%c'" : "'\\x%02x'", (int)(val & 0xff));
        break;
    default:
        fprintf(out, "0x%0*" PRIx64, digits, val);
    }
}

static void dump(struct hmp_call *h, bool phys)
{
    struct control *c = h->c;
    struct format f = {.count = 1, .letter = 'x', .size = 4};
    const char *p = h->rest;
    u64 addr;
    if (!format(h, &p, &f) || !expression(h, &p, true, &addr))
        return;
    if (!phys)
        addr = (u32)addr;
    if (f.letter == 'i') {
        const struct vcpu *v = c->m.cpu;
        u32 n = f.count < 4096 ? f.count : 4096;
        target_disassemble(c, (u32)addr, (u32)addr - v->seg[S_CS].base, (int)n, phys, h->out);
        return;
    }
    if (f.letter == 's') {
        u8 b;
        fprintf(h->out, "0x%08" PRIx64 ": \"", addr);
        for (u32 n = 0; n < 4096; n++) {
            if ((phys ? target_read_phys(c, addr + n, &b, 1) : target_read(c, (u32)addr + n, &b, 1)) != 1 ||
                !b)
                break;
            fprintf(h->out, b >= ' ' && b < 127 ? "%c" : "\\x%02x", b);
        }
        fprintf(h->out, "\"\n");
        return;
    }
    u32 per_line = f.letter == 'c' ? 8 : f.size == 1 ? 8 : f.size == 8 ? 2 : f.size == 4 ? 4 : 8;
    for (u32 n = 0; n < f.count; n++) {
        u64 val = 0, at = addr + (u64)n * f.size;
        if (n % per_line == 0)
            fprintf(h->out, "%s%0*" PRIx64 ":", n ? "\n" : "", phys && at >> 32 ? 16 : 8,
                    phys ? at : (u32)at);
        size_t got = phys ? target_read_phys(c, at, &val, f.size) : target_read(c, (u32)at, &val, f.size);
        if (got != f.size) {
            fprintf(h->out, " Cannot access memory\n");
            return;
        }
        fputc(' ', h->out);
        print_value(h->out, &f, val);
    }
    fputc('\n', h->out);
}

void hmp_x(struct hmp_call *h)
{
    dump(h, false);
}

void hmp_xp(struct hmp_call *h)
{
    dump(h, true);
}

void hmp_print(struct hmp_call *h)
{
    struct format f = {.letter = 'x', .size = 8};
    const char *p = h->rest;
    u64 val;
    if (!format(h, &p, &f) || !expression(h, &p, true, &val))
        return;
    if (f.letter == 'x')
        fprintf(h->out, "%#" PRIx64, val);
    else
        print_value(h->out, &f, val);
    fputc('\n', h->out);
}

void hmp_gva2gpa(struct hmp_call *h)
{
    const char *p = h->rest;
    u64 addr, gpa;
    if (!expression(h, &p, true, &addr))
        return;
    if (shadow_probe(h->c->m.cpu, (u32)addr, &gpa) != CPU_OK)
        fprintf(h->out, "Unmapped\n");
    else
        fprintf(h->out, "gpa: %#" PRIx64 "\n", gpa);
}

/* ---- ports ---- */

static bool port_args(struct hmp_call *h, struct format *f, const char **p, u64 *port)
{
    *f = (struct format){.count = 1, .letter = 'x', .size = 1};
    if (!format(h, p, f))
        return false;
    while (isspace((u8) * *p))
        ++*p;
    char *end;
    *port = strtoull(*p, &end, 0); /* a number, so that a value can follow */
    if (end == *p || *port > 0xffff || f->size > 4) {
        fprintf(h->out, "usage: i/FMT PORT or o/FMT PORT VALUE, FMT b, h or w, PORT up to 0xffff\n");
        return false;
    }
    *p = end;
    return true;
}

void hmp_in(struct hmp_call *h)
{
    struct format f;
    const char *p = h->rest;
    u64 port;
    if (!port_args(h, &f, &p, &port))
        return;
    u32 val = bus_in(h->c->m.bus, (u16)port, (int)f.size);
    fprintf(h->out, "port%c[0x%04x] = ", f.size == 1 ? 'b' : f.size == 2 ? 'w' : 'l', (u32)port);
    print_value(h->out, &f, val);
    fputc('\n', h->out);
}

void hmp_out(struct hmp_call *h)
{
    struct format f;
    const char *p = h->rest;
    u64 port, val;
    if (port_args(h, &f, &p, &port) && expression(h, &p, true, &val))
        bus_out(h->c->m.bus, (u16)port, (int)f.size, (u32)val);
}

/* ---- files ---- */

static void save(struct hmp_call *h, bool phys)
{
    u64 addr, size;
    if (h->argc != 3) {
        fprintf(h->out, "parameters: ADDR SIZE FILE\n");
        return;
    }
    if (!hmp_number(h, h->argv[0], phys ? 4 * GiB : 4 * GiB - 1, &addr) ||
        !hmp_number(h, h->argv[1], 4 * GiB, &size))
        return;
    FILE *f = fopen(h->argv[2], "wbe");
    if (!f) {
        fprintf(h->out, "Error: cannot write '%s': %s\n", h->argv[2], strerror(errno));
        return;
    }
    u8 page[PAGE_SIZE];
    for (u64 done = 0; done < size;) {
        size_t n = size - done < sizeof(page) ? size - done : sizeof(page);
        if ((phys ? target_read_phys(h->c, addr + done, page, n)
                  : target_read(h->c, (u32)(addr + done), page, n)) != n) {
            fprintf(h->out, "Error: no memory at %#" PRIx64 "\n", addr + done);
            break;
        }
        if (fwrite(page, 1, n, f) != n) {
            fprintf(h->out, "Error: cannot write '%s': %s\n", h->argv[2], strerror(errno));
            break;
        }
        done += n;
    }
    if (fclose(f))
        fprintf(h->out, "Error: cannot write '%s': %s\n", h->argv[2], strerror(errno));
}

void hmp_memsave(struct hmp_call *h)
{
    save(h, false);
}

void hmp_pmemsave(struct hmp_call *h)
{
    save(h, true);
}
