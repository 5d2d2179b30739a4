/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The value of -vnc: QEMU's words where it has them.
 *
 * One difference: no host means the loopback address, not every address of the machine. Who wants others to
 * see the VM says so (0.0.0.0:1).
 */
#include "display/vnc_options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RFB_PORT 5900
#define WS_PORT  5700

struct error {
    char *text;
    size_t size;
};

static int __attribute__((format(printf, 2, 3))) fail(const struct error *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, e->size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static bool number(const char *s, u32 max, u32 *out)
{
    u64 n = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        n = n * 10 + (u64)(*s - '0');
        if (n > max)
            return false;
    }
    *out = (u32)n;
    return true;
}

static bool copy(char *to, size_t size, const char *from, size_t len)
{
    if (len >= size)
        return false;
    memcpy(to, from, len);
    to[len] = 0;
    return true;
}

/* HOST:NUMBER, with [..] around an IPv6 address. */
static bool host_number(const char *text, char *host, size_t size, u32 max, u32 *n)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    if (!colon || !number(colon + 1, max, n))
        return false;
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']')
        return copy(host, size, text + 1, len - 2);
    return !memchr(text, ':', len) && copy(host, size, text, len);
}

static int where(const char *item, struct vnc_options *o, const struct error *e)
{
    u32 n;
    if (!strcmp(item, "none")) {
        o->none = true;
        return 0;
    }
    if (!strncmp(item, "unix:", 5)) {
        if (!item[5] || !copy(o->unix_path, sizeof(o->unix_path), item + 5, strlen(item + 5)))
            return fail(e, "unix:PATH: a path of 1 to %zu characters", sizeof(o->unix_path) - 1);
        return 0;
    }
    if (!host_number(item, o->host, sizeof(o->host), 65535 - RFB_PORT, &n))
        return fail(
            e,
            "'%s': give a display number such as :0 or 192.0.2.1:0 (port %d + the number), unix:PATH or none",
            item, RFB_PORT);
    o->port = (u16)(RFB_PORT + n);
    o->ws_port = WS_PORT + n <= 65535 ? (u16)(WS_PORT + n) : 0;
    return 0;
}

static int on_off(const char *name, const char *v, bool *out, const struct error *e)
{
    if (!v || !strcmp(v, "on") || !strcmp(v, "yes"))
        *out = true;
    else if (!strcmp(v, "off") || !strcmp(v, "no"))
        *out = false;
    else
        return fail(e, "%s=%s: on or off", name, v);
    return 0;
}

static int websocket(const char *v, struct vnc_options *o, const struct error *e)
{
    u32 n;
    o->websocket = true;
    if (!v || !strcmp(v, "on") || !strcmp(v, "yes")) {
        if (!o->ws_port)
            return fail(e, "websocket: give its port: websocket=PORT");
        return 0;
    }
    if (!strcmp(v, "off") || !strcmp(v, "no")) {
        o->websocket = false;
        return 0;
    }
    if (!number(v, 65535, &n) && !host_number(v, o->ws_host, sizeof(o->ws_host), 65535, &n))
        return fail(e, "websocket=%s: on, off, PORT or HOST:PORT", v);
    if (!n)
        return fail(e, "websocket: port 0 is none");
    o->ws_port = (u16)n;
    return 0;
}

/* Makes no difference here: QEMU's tuning. */
static bool harmless(const char *name)
{
    static const char *const names[] = {"lossy",       "non-adaptive", "lock-key-sync", "key-delay-ms",
                                        "connections", "id",           "power-control"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static int option(char *item, struct vnc_options *o, const struct error *e)
{
    char *v = strchr(item, '=');
    u32 n;
    if (v)
        *v++ = 0;
    if (!strcmp(item, "websocket"))
        return websocket(v, o, e);
    if (!strcmp(item, "password"))
        return on_off(item, v, &o->password, e);
    if (!strcmp(item, "password-file")) {
        if (!v || !*v || !copy(o->password_file, sizeof(o->password_file), v, strlen(v)))
            return fail(e, "password-file=FILE: the name of a file with the password in its first line");
        o->password = true;
        return 0;
    }
    if (!strcmp(item, "share")) {
        if (v && !strcmp(v, "allow-exclusive"))
            o->share = VNC_EXCLUSIVE;
        else if (v && !strcmp(v, "force-shared"))
            o->share = VNC_SHARED;
        else if (v && !strcmp(v, "ignore"))
            o->share = VNC_IGNORE;
        else
            return fail(e, "share=%s: allow-exclusive, force-shared or ignore", v ? v : "");
        return 0;
    }
    if (!strcmp(item, "to")) {
        if (!v || !number(v, 65535 - RFB_PORT, &n) || o->port > RFB_PORT + n)
            return fail(e, "to=%s: the last display number to try, not below the first", v ? v : "");
        o->to = (u16)(RFB_PORT + n);
        return 0;
    }
    if (harmless(item))
        return 0;
    return fail(e, "'%s' is not supported by novt: websocket, password, password-file, share and to are",
                item);
}

int vnc_options_parse(const char *text, struct vnc_options *o, char *err, size_t size)
{
    const struct error e = {err, size};
    char item[512];
    memset(o, 0, sizeof(*o));
    for (bool first = true; first || *text; first = false) {
        size_t n = 0;
        for (; *text; text++) { /* ",," is a comma */
            if (*text == ',' && text[1] != ',')
                break;
            text += *text == ',';
            if (n + 1 == sizeof(item))
                return fail(&e, "'%.40s...': too long", item);
            item[n++] = *text;
            item[n] = 0;
        }
        item[n] = 0;
        text += *text == ',';
        int r = first ? where(item, o, &e) : option(item, o, &e);
        if (r)
            return r;
    }
    if (o->unix_path[0] && o->websocket && !o->ws_port)
        return fail(&e, "websocket with unix: needs its port: websocket=PORT");
    if (o->unix_path[0] && o->to)
        return fail(&e, "to= has no meaning with unix:");
    if (!o->to)
        o->to = o->port;
    return 0;
}
