/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parsers of option values: sizes, numbers, comma lists, character back ends; and the edit distance behind
 * suggestions. Each refuses with a message that names the option, the value and what would be right. Strings
 * made here live until cli_free().
 */
#include "cli/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

int cli_fail(const struct option *o, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    error_report("option -%s: %s", o->name, text);
    return CLI_BAD;
}

char *cli_keep(struct cli *c, const char *s, size_t len)
{
    char *copy = c->owned_count < (int)ARRAY_SIZE(c->owned) ? malloc(len + 1) : NULL;
    if (!copy) {
        error_report("too many option values");
        exit(EXIT_USAGE);
    }
    memcpy(copy, s, len);
    copy[len] = 0;
    c->owned[c->owned_count++] = copy;
    return copy;
}

void cli_free(struct cli *c)
{
    while (c->owned_count)
        free(c->owned[--c->owned_count]);
}

static int digits(const char *val, int base, u64 *out, char **end)
{
    if (*val < '0' || *val > '9') /* strtoull takes spaces and signs */
        return -EINVAL;
    errno = 0;
    *out = strtoull(val, end, base);
    return errno ? -ERANGE : 0;
}

int cli_number(const struct option *o, const char *val, u64 max, u64 *out)
{
    char *end;
    if (digits(val, 0, out, &end) || *end)
        return cli_fail(o, "'%s' is not a number", val);
    if (*out > max)
        return cli_fail(o, "%s is too large, at most 0x%llx", val, (unsigned long long)max);
    return CLI_OK;
}

int cli_size(const struct option *o, const char *val, u64 default_unit, u64 *out)
{
    char *end;
    u64 n, unit = default_unit;
    int err = digits(val, 10, &n, &end);
    if (err == -EINVAL)
        return cli_fail(o, "'%s' is not a size: a number with suffix k, M or G", val);
    switch (*end) {
    case 'b':
    case 'B':
        unit = 1;
        end++;
        break;
    case 'k':
    case 'K':
        unit = KiB;
        end++;
        break;
    case 'm':
    case 'M':
        unit = MiB;
        end++;
        break;
    case 'g':
    case 'G':
        unit = GiB;
        end++;
        break;
    case 't':
    case 'T':
        unit = 1024 * GiB;
        end++;
        break;
    }
    if (*end)
        return cli_fail(o, "'%s' is not a size: a number with suffix k, M or G", val);
    if (err || __builtin_mul_overflow(n, unit, out))
        *out = UINT64_MAX; /* whatever the limit is, it is beyond */
    return CLI_OK;
}

char *cli_item(struct cli *c, const char **p)
{
    if (!*p || !**p)
        return NULL;
    char *item = cli_keep(c, *p, strlen(*p)), *w = item;
    const char *r = *p;
    for (; *r && !(*r == ',' && r[1] != ','); r++) {
        r += *r == ',';
        *w++ = *r;
    }
    *w = 0;
    *p = r + (*r == ',');
    return item;
}

const char *cli_key(const char *item, const char *key)
{
    size_t len = strlen(key);
    if (strncmp(item, key, len))
        return NULL;
    return item[len] == '=' ? item + len + 1 : item[len] ? NULL : item + len;
}

int cli_distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    int row[MAX + 1];
    size_t la = strlen(a), lb = strlen(b);
    if (la > MAX || lb > MAX)
        return MAX;
    for (size_t j = 0; j <= lb; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= la; i++) {
        int diag = row[0]; /* distance of the prefixes one shorter each */
        row[0] = (int)i;
        for (size_t j = 1; j <= lb; j++) {
            int up = row[j];
            int best = diag + (a[i - 1] != b[j - 1]);
            if (up + 1 < best)
                best = up + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diag = up;
        }
    }
    return row[lb];
}

int cli_add_monitor(struct cli *c, const struct option *o, const char *chardev, enum control_mode mode)
{
    struct control_config *k = &c->control;
    if (k->n_monitors == MAX_MONITORS)
        return cli_fail(o, "at most %d monitors", MAX_MONITORS);
    k->monitors[k->n_monitors].chardev = chardev;
    k->monitors[k->n_monitors++].mode = mode;
    return CLI_OK;
}

/* mon:WHERE shares the back end with a monitor. */
static const char *with_monitor(struct cli *c, const struct option *o, const char *val)
{
    char name[4200];
    if (!strncmp(val, "mon:", 4)) {
        cli_fail(o, "one mon: is enough");
        return NULL;
    }
    const char *backend = cli_backend(c, o, val);
    if (!backend || !strncmp(backend, "mux:", 4) || !strcmp(backend, "none"))
        return backend;
    snprintf(name, sizeof(name), "mux:%s", backend);
    backend = cli_keep(c, name, strlen(name));
    return cli_add_monitor(c, o, backend, CONTROL_HMP) == CLI_OK ? backend : NULL;
}

const char *cli_backend(struct cli *c, const struct option *o, const char *val)
{
    static const struct {
        const char *name, *machine;
    } plain[] = {
        {"stdio", "stdio"},
        {"null", "null"},
        {"/dev/null", "null"},
        {"none", "none"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
        if (!strcmp(val, plain[i].name))
            return plain[i].machine;
    static const char *const with_address[] = {"file:", "pipe:", "unix:", "tcp:"};
    for (size_t i = 0; i < ARRAY_SIZE(with_address); i++) {
        size_t n = strlen(with_address[i]);
        if (strncmp(val, with_address[i], n))
            continue;
        if (val[n])
            return val;
        cli_fail(o, "%s needs a path or an address: %s", with_address[i],
                 i < 2    ? "file:PATH, pipe:PATH"
                 : i == 2 ? "unix:PATH,server=on,wait=off"
                          : "tcp:HOST:PORT,server=on,wait=off");
        return NULL;
    }
    if (!strncmp(val, "mon:", 4))
        return with_monitor(c, o, val + 4);
    if (!strncmp(val, "chardev:", 8)) {
        for (int i = 0; i < c->chardevs; i++)
            if (!strcmp(c->chardev[i].id, val + 8))
                return c->chardev[i].backend;
        cli_fail(o, "there is no -chardev with id=%s", val + 8);
        return NULL;
    }
    static const char *const theirs[] = {
        "vc", "pty", "udp:", "telnet:", "websocket:", "/dev/", "braille", "msmouse", "con:", "COM"};
    for (size_t i = 0; i < ARRAY_SIZE(theirs); i++) {
        if (!strncmp(val, theirs[i], strlen(theirs[i]))) {
            cli_fail(
                o,
                "'%s' is not supported by novt yet: use stdio, null, none, file:, pipe:, unix: or tcp:", val);
            return NULL;
        }
    }
    cli_fail(o,
             "unknown back end '%s': use stdio, null, none, file:PATH, pipe:PATH, unix:PATH or tcp:HOST:PORT",
             val);
    return NULL;
}

bool cli_is_help(const char *val)
{
    return !strcmp(val, "help") || !strcmp(val, "?");
}

int cli_on_off(const struct option *o, const char *v, bool *out)
{
    if (!strcmp(v, "on") || !*v)
        *out = true;
    else if (!strcmp(v, "off"))
        *out = false;
    else
        return cli_fail(o, "'%s': give on or off", v);
    return CLI_OK;
}
