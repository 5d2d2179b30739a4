/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC server's sockets: listening on TCP and unix sockets, and a small web server on the WebSocket port
 * that hands out noVNC's files (Debian's package novnc), so that a browser needs nothing but the address.
 *
 * A WebSocket handshake is looked at but left in the socket: libvncserver reads it again. It is passed on
 * only when it is complete and comes from a page of this server (http_origin_allowed()), so no page of the
 * web can reach the VM through the browser of the person who runs it.
 *
 * Invariants: no call here blocks; every connection ends after DEADLINE_NS; there are at most
 * NET_CONNECTIONS.
 */
#include "display/vnc_int.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define PAGES       "/usr/share/novnc"
#define DEADLINE_NS 20000000000ull
#define PAUSE_NS    1000000000ull

static u64 now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000ull + (u64)t.tv_nsec;
}

/* ---- listening ---- */

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static int add_listener(struct net *n, int fd, bool websocket, bool loopback, const char *name)
{
    if (listen(fd, 16))
        return -errno;
    struct net_listener *l = &n->listener[n->nlisteners++];
    *l = (struct net_listener){.fd = fd, .websocket = websocket, .loopback = loopback};
    snprintf(l->name, sizeof(l->name), "%s", name);
    return 0;
}

static int listen_address(struct net *n, const struct addrinfo *ai, bool websocket, const char *host,
                          u16 port)
{
    char name[320];
    int one = 1, err;
    if (n->nlisteners == NET_LISTENERS)
        return 0;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    snprintf(name, sizeof(name), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
    err = bind(fd, ai->ai_addr, ai->ai_addrlen)
              ? -errno
              : add_listener(n, fd, websocket, is_loopback(ai->ai_addr), name);
    if (err)
        close(fd);
    return err;
}

static int listen_tcp(struct net *n, const char *host, u16 port, bool websocket)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list;
    char service[8];
    const char *name = host[0] ? host : "127.0.0.1";
    u32 before = n->nlisteners;
    int err = 0;
    snprintf(service, sizeof(service), "%u", port);
    int r = getaddrinfo(name, service, &hints, &list);
    if (r) {
        error_report("-vnc: host '%s': %s", name, gai_strerror(r));
        return -EINVAL;
    }
    for (const struct addrinfo *ai = list; ai && (!err || err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL);
         ai = ai->ai_next) {
        int e = ai->ai_family == AF_INET || ai->ai_family == AF_INET6
                    ? listen_address(n, ai, websocket, name, port)
                    : -EAFNOSUPPORT;
        err = e ? e : err;
    }
    freeaddrinfo(list);
    /* A name may have addresses of a kind that this machine has not; one is enough. */
    if (n->nlisteners > before && err != -EADDRINUSE)
        return 0;
    while (n->nlisteners > before)
        close(n->listener[--n->nlisteners].fd);
    return err ? err : -EADDRNOTAVAIL;
}

/* A socket file that nobody listens on any more is in the way. */
static void remove_stale(const struct sockaddr_un *a)
{
    struct stat st;
    if (lstat(a->sun_path, &st) || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) && errno == ECONNREFUSED)
        unlink(a->sun_path);
    close(fd);
}

static int listen_unix(struct net *n, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    remove_stale(&a);
    int err = bind(fd, (const struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
    if (!err) {
        snprintf(n->unix_path, sizeof(n->unix_path), "%s", path);
        err = chmod(path, 0600) ? -errno : add_listener(n, fd, false, true, path); /* the owner's only */
    }
    if (err)
        close(fd);
    return err;
}

static int open_rfb(struct net *n, const struct vnc_options *o)
{
    int err;
    if (o->unix_path[0]) {
        err = listen_unix(n, o->unix_path);
        if (err)
            error_report("-vnc: cannot listen on '%s': %s", o->unix_path, strerror(-err));
        return err;
    }
    for (u32 port = o->port;; port++) {
        err = listen_tcp(n, o->host, (u16)port, false);
        if (err != -EADDRINUSE || port >= o->to)
            break;
    }
    if (err && err != -EINVAL)
        error_report(
            "-vnc: cannot listen on %s:%u: %s%s", o->host[0] ? o->host : "127.0.0.1", o->port, strerror(-err),
            err == -EADDRINUSE ? "; choose another display number, or let one be found with ,to=99" : "");
    return err;
}

int net_open(struct net *n, const struct vnc_options *o)
{
    for (u32 i = 0; i < NET_CONNECTIONS; i++)
        n->connection[i].fd = n->connection[i].file = -1;
    n->pages = !access(PAGES "/vnc.html", R_OK);
    int err = open_rfb(n, o);
    if (!err && o->websocket) {
        const char *host = o->ws_host[0] ? o->ws_host : o->host;
        err = listen_tcp(n, host, o->ws_port, true);
        if (err && err != -EINVAL)
            error_report("-vnc: websocket: cannot listen on %s:%u: %s", host[0] ? host : "127.0.0.1",
                         o->ws_port, strerror(-err));
    }
    if (err)
        net_close(n);
    return err;
}

static void drop(struct net_connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    if (c->file >= 0)
        close(c->file);
    memset(c, 0, sizeof(*c));
    c->fd = c->file = -1;
}

void net_close(struct net *n)
{
    for (u32 i = 0; i < n->nlisteners; i++)
        close(n->listener[i].fd);
    n->nlisteners = 0;
    for (u32 i = 0; i < NET_CONNECTIONS; i++)
        drop(&n->connection[i]);
    if (n->unix_path[0])
        unlink(n->unix_path);
    n->unix_path[0] = 0;
}

/* ---- answering browsers ---- */

static void answer(struct net_connection *c, const char *status, const char *type, const char *extra, u64 len)
{
    c->answering = true;
    c->head_sent = 0;
    c->head_len =
        (u32)snprintf(c->head, sizeof(c->head),
                      "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %llu\r\nConnection: close\r\n"
                      "X-Content-Type-Options: nosniff\r\nX-Frame-Options: SAMEORIGIN\r\n%s\r\n",
                      status, type, (unsigned long long)len, extra);
}

static void answer_text(struct net_connection *c, const char *status, const char *text)
{
    answer(c, status, "text/plain; charset=utf-8", "", strlen(text));
    c->head_len += (u32)snprintf(c->head + c->head_len, sizeof(c->head) - c->head_len, "%s", text);
}

static void answer_file(struct net *n, struct net_connection *c, const struct http_request *r)
{
    char path[sizeof(PAGES) + sizeof(r->path)];
    struct stat st;
    if (!n->pages) {
        answer_text(c, "404 Not Found",
                    "noVNC is not installed here (Debian's package novnc); a WebSocket works.\n");
        return;
    }
    if (!strcmp(r->path, "/")) {
        answer(c, "302 Found", "text/plain", "Location: /vnc.html?autoconnect=true\r\n", 0);
        return;
    }
    snprintf(path, sizeof(path), PAGES "%s", r->path);
    int fd = http_path_safe(r->path) ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        answer_text(c, "404 Not Found", "There is no such page.\n");
        return;
    }
    answer(c, "200 OK", http_content_type(r->path), "Cache-Control: no-cache\r\n", (u64)st.st_size);
    if (r->head) {
        close(fd);
        return;
    }
    c->file = fd;
    c->left = (u64)st.st_size;
}

/* Something of the request has come. */
static void read_request(struct net *n, struct net_connection *c)
{
    char buf[HTTP_MAX];
    struct http_request r;
    ssize_t got = recv(c->fd, buf, sizeof(buf), MSG_PEEK);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        drop(c);
        return;
    }
    int len = http_parse(buf, (size_t)got, &r), more = (int)got + 1, one = 1;
    if (!len) { /* wake us only when there is more than we have seen */
        setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &more, sizeof(more));
        return;
    }
    setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
    if (len > 0 && r.websocket && http_origin_allowed(&r, c->loopback)) {
        int fd = c->fd;
        c->fd = -1;
        drop(c);
        n->rfb(n->opaque, fd, true);
        return;
    }
    if (recv(c->fd, buf, len > 0 ? (size_t)len : (size_t)got, 0) < 0) {
        drop(c);
        return;
    }
    if (len < 0) {
        answer_text(c, "400 Bad Request", "Not a request that is understood here.\n");
    } else if (r.websocket) {
        LOG(dev, "vnc: WebSocket from a page of '%s' refused, we are '%s'", r.origin, r.host);
        answer_text(c, "403 Forbidden", "Only pages of this server may open a WebSocket here.\n");
    } else {
        answer_file(n, c, &r);
    }
}

static void write_answer(struct net_connection *c)
{
    while (c->head_sent < c->head_len) {
        ssize_t k = send(c->fd, c->head + c->head_sent, c->head_len - c->head_sent, MSG_NOSIGNAL);
        if (k < 0 && errno == EAGAIN)
            return;
        if (k <= 0) {
            drop(c);
            return;
        }
        c->head_sent += (u32)k;
    }
    while (c->file >= 0 && c->left) {
        ssize_t k = sendfile(c->fd, c->file, NULL, c->left);
        if (k < 0 && errno == EAGAIN)
            return;
        if (k <= 0)
            break;
        c->left -= (u64)k;
    }
    shutdown(c->fd, SHUT_WR);
    drop(c);
}

/* ---- accepting ---- */

static struct net_connection *free_connection(struct net *n)
{
    for (u32 i = 0; i < NET_CONNECTIONS; i++)
        if (n->connection[i].fd < 0)
            return &n->connection[i];
    return NULL;
}

static void take_connection(struct net *n, const struct net_listener *l)
{
    struct net_connection *c = l->websocket ? free_connection(n) : NULL;
    if (l->websocket && !c)
        return;
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
            n->paused_until = now_ns() + PAUSE_NS;
        return;
    }
    if (!c) {
        n->rfb(n->opaque, fd, false);
        return;
    }
    c->fd = fd;
    c->loopback = l->loopback;
    c->deadline_ns = now_ns() + DEADLINE_NS;
}

u32 net_poll(struct net *n, struct pollfd *p, int *timeout_ms)
{
    u64 now = now_ns(), first = UINT64_MAX;
    bool room = free_connection(n) != NULL, paused = now < n->paused_until;
    u32 k = 0;
    for (u32 i = 0; i < n->nlisteners; i++) {
        const struct net_listener *l = &n->listener[i];
        p[k++] = (struct pollfd){.fd = paused || (l->websocket && !room) ? -1 : l->fd, .events = POLLIN};
    }
    if (paused)
        first = n->paused_until;
    for (u32 i = 0; i < NET_CONNECTIONS; i++) {
        const struct net_connection *c = &n->connection[i];
        p[k++] = (struct pollfd){.fd = c->fd, .events = c->answering ? POLLOUT : POLLIN};
        if (c->fd >= 0 && c->deadline_ns < first)
            first = c->deadline_ns;
    }
    if (first != UINT64_MAX) {
        u64 ms = first > now ? (first - now) / 1000000 + 1 : 0;
        if (*timeout_ms < 0 || ms < (u64)*timeout_ms)
            *timeout_ms = (int)ms;
    }
    return k;
}

void net_process(struct net *n, const struct pollfd *p, u32 count)
{
    u32 listeners = n->nlisteners;
    u64 now = now_ns();
    for (u32 i = 0; i < NET_CONNECTIONS && listeners + i < count; i++) {
        struct net_connection *c = &n->connection[i];
        if (c->fd < 0 || c->fd != p[listeners + i].fd)
            continue;
        if (now >= c->deadline_ns)
            drop(c);
        else if (p[listeners + i].revents && !c->answering)
            read_request(n, c);
        if (c->fd >= 0 && c->answering && now < c->deadline_ns)
            write_answer(c);
    }
    for (u32 i = 0; i < listeners && i < count; i++)
        if (p[i].revents)
            take_connection(n, &n->listener[i]);
}
