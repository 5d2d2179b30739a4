/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads a request's head. Everything in it comes from whoever connects: lengths are bounded by the
 * structures, what does not fit or looks odd is refused, nothing is guessed.
 */
#include "display/http.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX up to the query. */
static bool decode_path(const char *from, size_t len, char *to, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < len && from[i] != '?' && from[i] != '#'; i++) {
        int c = (u8)from[i];
        if (c == '%') {
            if (i + 2 >= len || hex(from[i + 1]) < 0 || hex(from[i + 2]) < 0)
                return false;
            c = hex(from[i + 1]) << 4 | hex(from[i + 2]);
            i += 2;
        }
        if (c < 0x20 || c >= 0x7f || n + 1 >= size)
            return false;
        to[n++] = (char)c;
    }
    to[n] = 0;
    return n && to[0] == '/';
}

/* The name in "name:port" or "[address]:port", in lower case. */
static bool host_name(const char *s, size_t len, char *to, size_t size)
{
    size_t n = 0;
    if (len && s[0] == '[') {
        const char *end = memchr(s, ']', len);
        if (!end)
            return false;
        n = (size_t)(end - s) + 1;
    } else {
        while (n < len && s[n] != ':' && s[n] != '/')
            n++;
    }
    if (!n || n >= size)
        return false;
    for (size_t i = 0; i < n; i++)
        to[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] | 0x20) : s[i];
    to[n] = 0;
    return true;
}

static bool has_word(const char *s, size_t len, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= len; i++)
        if (!strncasecmp(s + i, word, n))
            return true;
    return false;
}

static bool is(const char *name, size_t len, const char *want)
{
    return strlen(want) == len && !strncasecmp(name, want, len);
}

static bool header(struct http_request *r, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    if (!colon)
        return false;
    size_t name = (size_t)(colon - line);
    const char *v = colon + 1;
    size_t vlen = len - name - 1;
    for (; vlen && (*v == ' ' || *v == '\t'); v++)
        vlen--;
    while (vlen && (v[vlen - 1] == ' ' || v[vlen - 1] == '\t'))
        vlen--;
    if (is(line, name, "host"))
        return !r->host[0] && host_name(v, vlen, r->host, sizeof(r->host));
    if (is(line, name, "upgrade"))
        r->websocket |= has_word(v, vlen, "websocket");
    if (is(line, name, "origin") || is(line, name, "sec-websocket-origin")) {
        const char *p = vlen > 7 && !strncasecmp(v, "http://", 7)    ? v + 7
                        : vlen > 8 && !strncasecmp(v, "https://", 8) ? v + 8
                                                                     : NULL;
        char second[sizeof(r->origin)] = "";
        if (!p || !host_name(p, vlen - (size_t)(p - v), second, sizeof(second)) ||
            (r->origin[0] && strcmp(second, r->origin)))
            r->bad_origin = true;
        memcpy(r->origin, second, sizeof(second));
    }
    return true;
}

int http_parse(const char *buf, size_t len, struct http_request *r)
{
    memset(r, 0, sizeof(*r));
    const char *end = memmem(buf, len < HTTP_MAX ? len : HTTP_MAX, "\r\n\r\n", 4);
    if (memchr(buf, 0, end ? (size_t)(end - buf) : len))
        return -EINVAL;
    static const char get[] = "GET ", head[] = "HEAD ";
    r->head = len && buf[0] == 'H';
    const char *method = r->head ? head : get;
    size_t mlen = strlen(method);
    if (memcmp(buf, method, len < mlen ? len : mlen))
        return -EINVAL;
    if (!end)
        return len >= HTTP_MAX ? -EINVAL : 0;
    const char *line = buf, *eol = memmem(buf, len, "\r\n", 2), *p = buf + mlen;
    const char *sp = memchr(p, ' ', (size_t)(eol - p));
    if (!sp || eol - sp != 9 || memcmp(sp, " HTTP/1.", 8) ||
        !decode_path(p, (size_t)(sp - p), r->path, sizeof(r->path)))
        return -EINVAL;
    while (eol < end) {
        line = eol + 2;
        eol = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        if (!header(r, line, (size_t)(eol - line)))
            return -EINVAL;
    }
    return (int)(end - buf) + 4;
}

/* An address in figures, of either kind. */
static bool is_address(const char *host)
{
    if (host[0] == '[')
        return true;
    return host[0] && strspn(host, "0123456789.") == strlen(host);
}

bool http_origin_allowed(const struct http_request *r, bool loopback)
{
    if (r->bad_origin || !r->origin[0] || strcmp(r->origin, r->host))
        return false;
    return !loopback || !strcmp(r->host, "localhost") || is_address(r->host);
}

bool http_path_safe(const char *path)
{
    if (path[0] != '/')
        return false;
    for (const char *p = path; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                     strchr("/._-+", *p);
        if (!plain || (*p == '/' && (p[1] == '.' || p[1] == '/')))
            return false;
    }
    return true;
}

const char *http_content_type(const char *path)
{
    static const char *const types[][2] = {{".html", "text/html; charset=utf-8"},
                                           {".js", "text/javascript; charset=utf-8"},
                                           {".css", "text/css; charset=utf-8"},
                                           {".svg", "image/svg+xml"},
                                           {".png", "image/png"},
                                           {".ico", "image/x-icon"},
                                           {".json", "application/json"},
                                           {".woff", "font/woff"},
                                           {".ttf", "font/ttf"},
                                           {".mp3", "audio/mpeg"},
                                           {".oga", "audio/ogg"},
                                           {".txt", "text/plain; charset=utf-8"}};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof(types) / sizeof(types[0]); i++)
        if (!strcmp(dot, types[i][0]))
            return types[i][1];
    return "application/octet-stream";
}
