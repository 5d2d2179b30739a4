/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character back ends on stream sockets, in the file system or TCP; servers mostly.
 *
 * A server has one peer at a time: while one is there the listening socket is not watched, and further ones
 * wait in its backlog. The peer is not trusted: nobody waits for it (a peer that leaves SOCKET_OUT_MAX bytes
 * unread is thrown out), and what it sends is read no faster than the front end takes it.
 *
 * A peer that has sent its last byte (half-closed) still gets the answers: the connection is closed by
 * deferred work, which runs after what its input had set off, and then only when the output is written.
 *
 * Invariant: in_fd == out_fd is the connection, or -1.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/log.h"
#include "devices/chardev_int.h"

#define LINGER_NS (10 * NS_PER_SEC) /* how long a closing peer may take to read the rest */

static void accept_ready(void *opaque);

static void connected(struct chardev *c, int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
               sizeof(one)); /* fails on the others, which don't need it */
    c->in_fd = c->out_fd = fd;
    c->eof = c->escaped = c->closing = false;
    c->in_count = c->back_count = c->out_count = 0;
    c->connected = true;
    if (c->fe.opened)
        c->fe.opened(c->fe.opaque);
    chardev_update_watch(c);
}

static void accept_ready(void *opaque)
{
    struct chardev *c = opaque;
    int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return; /* gone again, or no descriptors left: the next one */
    bus_unwatch_fd(c->b, c->listen_fd);
    connected(c, fd);
}

void socket_lost(struct chardev *c)
{
    if (!c->connected)
        return;
    c->eof = true;
    chardev_update_watch(c);
    c->connected = false;
    close(c->in_fd);
    c->in_fd = c->out_fd = -1;
    c->in_count = c->back_count = c->out_count = 0;
    bus_cancel(c->b, &c->hangup);
    if (c->fe.closed)
        c->fe.closed(c->fe.opaque);
    if (c->listen_fd >= 0)
        bus_watch_fd(c->b, c->listen_fd, accept_ready, c);
}

void socket_drained(struct chardev *c)
{
    if (c->closing)
        socket_lost(c);
}

void chardev_hangup(struct chardev *c)
{
    if (!c->socket || !c->connected)
        return;
    if (!c->closing)
        c->closing_until = bus_host_now(c->b) + LINGER_NS;
    c->closing = true;
    c->eof = true;
    chardev_update_watch(c);
    chardev_drain(c, 0, 0);
    if (c->connected && !c->out_count)
        socket_lost(c);
    else if (c->connected && !c->flush_armed)
        chardev_write(c, NULL, 0);
}

static void hangup(void *opaque)
{
    struct chardev *c = opaque;
    if (c->eof && !c->in_count && !c->back_count)
        chardev_hangup(c);
}

void socket_close(struct chardev *c)
{
    if (c->listen_fd >= 0) {
        bus_unwatch_fd(c->b, c->listen_fd);
        close(c->listen_fd);
        c->listen_fd = -1;
    }
    socket_lost(c);
    if (c->unlink_path)
        unlink(c->unlink_path);
    free(c->unlink_path);
    c->unlink_path = NULL;
}

/* ---- opening ---- */

struct spec {
    char addr[512];
    bool server, wait;
};

static bool flag(const char *item, const char *name, bool *out)
{
    size_t n = strlen(name);
    if (strncmp(item, name, n))
        return false;
    if (!item[n] || !strcmp(item + n, "=on") || !strcmp(item + n, "=yes"))
        *out = true;
    else if (!strcmp(item + n, "=off") || !strcmp(item + n, "=no"))
        *out = false;
    else
        return false;
    return true;
}

static bool parse(const char *text, struct spec *s, char *err, size_t size)
{
    size_t n = strcspn(text, ",");
    *s = (struct spec){.wait = true};
    if (!n || n >= sizeof(s->addr)) {
        snprintf(err, size, "a socket needs an address: unix:PATH or tcp:HOST:PORT");
        return false;
    }
    memcpy(s->addr, text, n);
    for (const char *p = text + n; *p == ',';) {
        char item[32];
        bool ignored;
        n = strcspn(++p, ",");
        snprintf(item, sizeof(item), "%.*s", (int)n, p);
        p += n;
        if (!strcmp(item, "nowait"))
            s->wait = false;
        else if (!flag(item, "server", &s->server) && !flag(item, "wait", &s->wait) &&
                 !flag(item, "nodelay", &ignored)) {
            snprintf(err, size, "a socket's options are server=on|off and wait=on|off, not '%s'", item);
            return false;
        }
    }
    return true;
}

static int unix_socket(struct chardev *c, const struct spec *s, char *err, size_t size)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(s->addr) >= sizeof(a.sun_path)) {
        snprintf(err, size, "the path '%s' is too long for a socket (at most %zu bytes)", s->addr,
                 sizeof(a.sun_path) - 1);
        return -1;
    }
    memcpy(a.sun_path, s->addr, strlen(s->addr));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        goto fail;
    if (!s->server) {
        if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
            return fd;
        goto fail;
    }
    struct stat st;
    if (!lstat(s->addr, &st) && S_ISSOCK(st.st_mode))
        unlink(s->addr); /* of a VM that was killed */
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
        goto fail;
    c->unlink_path = strdup(s->addr);
    /* nobody can connect before listen() */
    if (!chmod(s->addr, 0600) && !listen(fd, 4))
        return fd;
fail:
    snprintf(err, size, "cannot %s the socket '%s': %s", s->server ? "make" : "connect to", s->addr,
             strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static int tcp_socket(const struct spec *s, char *err, size_t size)
{
    char host[512];
    const char *colon = strrchr(s->addr, ':'), *why = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int fd = -1, one = 1;
    if (!colon || !colon[1]) {
        snprintf(err, size, "'%s' has no port: tcp:HOST:PORT", s->addr);
        return -1;
    }
    size_t n = (size_t)(colon - s->addr);
    const char *first = s->addr;
    if (n > 1 && *first == '[' && first[n - 1] == ']') /* [::1] */
        first++, n -= 2;
    snprintf(host, sizeof(host), "%.*s", (int)n, first);
    int r = getaddrinfo(n ? host : "127.0.0.1", colon + 1, &hints, &list);
    if (r)
        why = gai_strerror(r);
    for (struct addrinfo *a = r ? NULL : list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (s->server ? !bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 4)
                      : !connect(fd, a->ai_addr, a->ai_addrlen))
            break;
        why = strerror(errno);
        close(fd);
        fd = -1;
    }
    if (!r)
        freeaddrinfo(list);
    if (fd < 0)
        snprintf(err, size, "cannot %s '%s': %s", s->server ? "listen on" : "connect to", s->addr,
                 why ? why : strerror(errno));
    return fd;
}

/* wait=on: nothing goes on before there is a peer. The signals that end novt are blocked by now, and should
 * end it. */
static void wait_for_peer(struct chardev *c, const char *spec)
{
    sigset_t none, old;
    sigemptyset(&none);
    sigaddset(&none, SIGINT);
    sigaddset(&none, SIGTERM);
    sigaddset(&none, SIGHUP);
    warn_report("waiting for a connection to %s (wait=off doesn't)", spec);
    pthread_sigmask(SIG_UNBLOCK, &none, &old);
    struct pollfd p = {.fd = c->listen_fd, .events = POLLIN};
    while (!c->connected) {
        if (poll(&p, 1, -1) > 0)
            accept_ready(c);
        else if (errno != EINTR)
            break;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct chardev *socket_open(struct bus *b, const char *name, char *err, size_t size)
{
    bool tcp = !strncmp(name, "tcp:", 4);
    struct spec s;
    if (!parse(name + (tcp ? 4 : 5), &s, err, size))
        return NULL;
    struct chardev *c = chardev_new(b); /* the bus frees it, whatever happens */
    c->socket = true;
    c->hangup = (struct bus_work){.fn = hangup, .opaque = c};
    int fd = tcp ? tcp_socket(&s, err, size) : unix_socket(c, &s, err, size);
    if (fd < 0)
        return NULL;
    bus_lock(b);
    if (s.server) {
        c->listen_fd = fd;
        bus_watch_fd(b, fd, accept_ready, c);
        if (s.wait)
            wait_for_peer(c, name);
    } else {
        int fl = fcntl(fd, F_GETFL);
        fcntl(fd, F_SETFL, fl | O_NONBLOCK);
        connected(c, fd);
    }
    bus_unlock(b);
    return c;
}
