/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The little of HTTP that a browser needs to get noVNC's pages and to open a WebSocket (RFC 9112, RFC 6455).
 */
#ifndef NOVT_DISPLAY_HTTP_H
#define NOVT_DISPLAY_HTTP_H

#include "base/types.h"

#define HTTP_MAX 8192 /* bytes of a request's head */

struct http_request {
    bool head;        /* HEAD, not GET */
    bool websocket;   /* asks for an upgrade */
    char path[512];   /* decoded, without query; begins with '/' */
    char host[256];   /* Host's name, without port; "": none */
    char origin[256]; /* Origin's host name, without port; "": no such header */
    bool bad_origin;  /* an Origin that names no host, such as "null" */
};

/* buf: what has come so far. 0: the head is not complete; -EINVAL: not a request that we answer; else its
 * length. */
int http_parse(const char *buf, size_t len, struct http_request *r);
/* May a page from that origin talk to a server on this machine's loopback (or elsewhere)? A page of some web
 * site in the same browser must not: its name differs from ours. A name that was made to point at us (DNS
 * rebinding) is told by being a name: on the loopback, only localhost and addresses count. */
bool http_origin_allowed(const struct http_request *r, bool loopback);
/* Is it safe to look for that path below a folder: no "..", nothing hidden, plain characters. */
bool http_path_safe(const char *path);
const char *http_content_type(const char *path);

#endif
