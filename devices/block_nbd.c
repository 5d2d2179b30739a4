/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images behind an NBD server, through libnbd: qcow2 by qemu-nbd, anything by nbdkit, other machines' disks.
 *
 * The server is not trusted to be quick, honest or alive. Every step has a deadline: connecting, and each
 * request. A connection that breaks or is silent too long is dropped, the request fails (once it is tried on
 * a new connection), and reconnecting is tried again no more often than RETRY_NS, so a guest with a dead disk
 * sees errors and keeps running. closing has a deadline of its own (hurry()).
 *
 * A lost connection may have lost what was written since the last flush, which only the guest can repair: the
 * next flush fails once.
 *
 * Servers may want requests in units of more than a sector: those are rounded out, writes by reading first.
 * An export that came back smaller gives errors beyond its end.
 */
#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "devices/block_int.h"

#define CONNECT_NS (10 * NS_PER_SEC)
#define REQUEST_NS (30 * NS_PER_SEC)
#define CLOSE_NS   (3 * NS_PER_SEC)
#define RETRY_NS   (5 * NS_PER_SEC)
#define MAX_UNIT   65536u

struct nbd_store {
    struct store s;
    struct nbd_handle *h; /* NULL: not connected */
    char *path;
    int hurry_fd;
    u64 close_at; /* 0: not closing */
    u64 retry_at;
    u64 now_size; /* of the export as it is now */
    u32 unit, max;
    bool can_flush, can_zero;
    bool dirty, lost; /* written since the last flush; that may be gone */
    u8 *bounce;       /* MAX_UNIT, for what is not aligned to `unit` */
};

static struct nbd_store *nbd_of(struct store *s)
{
    return (struct nbd_store *)s;
}

bool nbd_is_uri(const char *path)
{
    static const char *const schemes[] = {"nbd:", "nbds:", "nbd+unix:", "nbds+unix:"};
    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
        if (!strncmp(path, schemes[i], strlen(schemes[i])))
            return true;
    return false;
}

/* ---- waiting ---- */

/* Lets libnbd's state machine run until it wants something else; 0, or a negative errno. */
static int step(struct nbd_store *d, u64 deadline)
{
    unsigned dir = nbd_aio_get_direction(d->h);
    int fd = nbd_aio_get_fd(d->h);
    u64 now = host_monotonic_ns();
    if (d->close_at && d->close_at < deadline)
        deadline = d->close_at;
    if (fd < 0 || !dir)
        return -ENOTCONN;
    if (now >= deadline)
        return -ETIMEDOUT;
    struct pollfd p[2] = {{.fd = fd}, {.fd = d->close_at ? -1 : d->hurry_fd, .events = POLLIN}};
    p[0].events =
        (dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) | (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0);
    int ms = (int)((deadline - now) / NS_PER_MS) + 1;
    if (poll(p, 2, ms) < 0)
        return errno == EINTR ? 0 : -errno;
    if (p[1].revents)
        d->close_at = host_monotonic_ns() + CLOSE_NS;
    int err = 0;
    if ((p[0].revents & (POLLIN | POLLHUP | POLLERR)) && (dir & LIBNBD_AIO_DIRECTION_READ))
        err = nbd_aio_notify_read(d->h);
    else if ((p[0].revents & (POLLOUT | POLLHUP | POLLERR)) && (dir & LIBNBD_AIO_DIRECTION_WRITE))
        err = nbd_aio_notify_write(d->h);
    return err ? -ENOTCONN : 0;
}

static int errno_of_nbd(void)
{
    int e = nbd_get_errno();
    return e ? -e : -EIO;
}

/* ---- connecting ---- */

/* nbd:HOST:PORT[:exportname=NAME] and nbd:unix:PATH[:exportname=NAME], which QEMU knew before there were
 * URIs. */
static int connect_old_form(struct nbd_store *d)
{
    char *text = strdup(d->path + 4);
    char *name = strstr(text, ":exportname=");
    int err;
    if (name) {
        *name = 0;
        nbd_set_export_name(d->h, name + 12);
    }
    if (!strncmp(text, "unix:", 5)) {
        err = nbd_aio_connect_unix(d->h, text + 5);
    } else {
        char *port = strrchr(text, ':');
        if (port)
            *port++ = 0;
        err = nbd_aio_connect_tcp(d->h, text, port && *port ? port : "10809");
    }
    free(text);
    return err;
}

static void disconnect(struct nbd_store *d)
{
    nbd_close(d->h); /* requests in flight are forgotten, their buffers with them */
    d->h = NULL;
    d->retry_at = host_monotonic_ns() + RETRY_NS;
    d->lost |= d->dirty;
}

/* What the server says of itself. */
static int ask_limits(struct nbd_store *d)
{
    int64_t size = nbd_get_size(d->h), unit = nbd_get_block_size(d->h, LIBNBD_SIZE_MINIMUM),
            max = nbd_get_block_size(d->h, LIBNBD_SIZE_MAXIMUM);
    if (size < 0)
        return -EIO;
    if (unit < 1)
        unit = 1;
    if (unit > MAX_UNIT || (unit & (unit - 1)) || max < 0 || (max && max < unit))
        return -EPROTO;
    d->now_size = (u64)size;
    d->unit = (u32)unit;
    d->max = max && max < (int64_t)BLOCK_MAX ? (u32)max & ~(d->unit - 1) : BLOCK_MAX;
    d->can_flush = nbd_can_flush(d->h) > 0;
    d->can_zero = nbd_can_zero(d->h) > 0;
    return 0;
}

static int connect_now(struct nbd_store *d)
{
    if (host_monotonic_ns() < d->retry_at || (d->close_at && host_monotonic_ns() >= d->close_at))
        return -ENOTCONN;
    d->h = nbd_create();
    if (!d->h)
        return -ENOMEM;
    nbd_set_uri_allow_transports(d->h, LIBNBD_ALLOW_TRANSPORT_TCP | LIBNBD_ALLOW_TRANSPORT_UNIX);
    bool old_form = !strncmp(d->path, "nbd:", 4) && strncmp(d->path, "nbd://", 6) != 0;
    int err = old_form ? connect_old_form(d) : nbd_aio_connect_uri(d->h, d->path);
    err = err ? errno_of_nbd() : 0;
    u64 deadline = host_monotonic_ns() + CONNECT_NS;
    while (!err && !nbd_aio_is_ready(d->h)) {
        err = step(d, deadline);
        if (!err && (nbd_aio_is_dead(d->h) || nbd_aio_is_closed(d->h)))
            err = -ENOTCONN;
        if (err == -ENOTCONN)
            err = errno_of_nbd();
    }
    err = err ? err : ask_limits(d);
    if (err)
        disconnect(d);
    else
        d->retry_at = 0;
    return err;
}

/* ---- requests ---- */

struct nbd_op {
    enum { OP_READ, OP_WRITE, OP_FLUSH, OP_ZERO } what;
    u8 *buf;
    u64 len, off;
};

static int64_t issue(struct nbd_store *d, const struct nbd_op *o)
{
    switch (o->what) {
    case OP_READ:
        return nbd_aio_pread(d->h, o->buf, o->len, o->off, NBD_NULL_COMPLETION, 0);
    case OP_WRITE:
        return nbd_aio_pwrite(d->h, o->buf, o->len, o->off, NBD_NULL_COMPLETION, 0);
    case OP_FLUSH:
        return nbd_aio_flush(d->h, NBD_NULL_COMPLETION, 0);
    default:
        return nbd_aio_zero(d->h, o->len, o->off, NBD_NULL_COMPLETION, 0);
    }
}

/* One request on the connection that there is. -ENOTCONN: it is gone. */
static int try_once(struct nbd_store *d, const struct nbd_op *o)
{
    int64_t cookie = issue(d, o);
    int err = 0, done = 0;
    if (cookie < 0)
        return nbd_aio_is_ready(d->h) ? errno_of_nbd() : -ENOTCONN;
    u64 deadline = host_monotonic_ns() + REQUEST_NS;
    while (!err) {
        done = nbd_aio_command_completed(d->h, (u64)cookie);
        if (done > 0)
            return 0;
        if (done < 0)
            err = errno_of_nbd();
        else if (nbd_aio_is_dead(d->h) || nbd_aio_is_closed(d->h))
            err = -ENOTCONN;
        else
            err = step(d, deadline);
    }
    return nbd_aio_is_dead(d->h) || nbd_aio_is_closed(d->h) ? -ENOTCONN : err;
}

static int request(struct nbd_store *d, const struct nbd_op *o)
{
    for (int i = 0; i < 2; i++) {
        int err = d->h ? 0 : connect_now(d);
        if (err)
            return -EIO;
        if (o->what != OP_FLUSH && (o->off > d->now_size || o->len > d->now_size - o->off))
            return -EIO;
        err = try_once(d, o);
        if (!err)
            return 0;
        if (err != -ENOTCONN && err != -ETIMEDOUT)
            return err;
        disconnect(d);
        if (err == -ETIMEDOUT)
            return -EIO; /* once is long enough */
        d->retry_at = 0;
    }
    return -EIO;
}

/* A stretch inside one unit, when it does not cover it. */
static int partial(struct nbd_store *d, u8 *buf, u64 len, u64 off, bool write)
{
    u64 at = off - off % d->unit;
    struct nbd_op o = {OP_READ, d->bounce, d->unit, at};
    if (at + o.len > d->s.size)
        o.len = d->s.size - at;
    int err = request(d, &o);
    if (err)
        return err;
    if (!write) {
        memcpy(buf, d->bounce + (off - at), len);
        return 0;
    }
    memcpy(d->bounce + (off - at), buf, len);
    o.what = OP_WRITE;
    return request(d, &o);
}

static int transfer(struct nbd_store *d, u8 *buf, u64 len, u64 off, bool write)
{
    if (off + len > d->s.size) { /* the odd tail of an export: nothing can be kept there */
        u64 keep = off < d->s.size ? d->s.size - off : 0;
        if (!write)
            memset(buf + keep, 0, len - keep);
        len = keep;
    }
    while (len) {
        u64 n = len < d->max ? len : d->max, in = off % d->unit;
        int err;
        if (in || n < d->unit) {
            n = d->unit - in < len ? d->unit - in : len;
            err = partial(d, buf, n, off, write);
        } else {
            n -= n % d->unit;
            err = request(d, &(struct nbd_op){write ? OP_WRITE : OP_READ, buf, n, off});
        }
        if (err)
            return err;
        buf += n;
        off += n;
        len -= n;
    }
    return 0;
}

static int nbd_read(struct store *s, u8 *buf, u64 len, u64 off)
{
    return transfer(nbd_of(s), buf, len, off, false);
}

static int nbd_write(struct store *s, const u8 *buf, u64 len, u64 off)
{
    struct nbd_store *d = nbd_of(s);
    d->dirty = true;
    return transfer(d, (u8 *)buf, len, off, true);
}

static int nbd_do_flush(struct store *s)
{
    struct nbd_store *d = nbd_of(s);
    if (!d->h && connect_now(d))
        return -EIO;
    int err = d->can_flush ? request(d, &(struct nbd_op){OP_FLUSH, NULL, 0, 0}) : 0;
    if (!err && d->lost)
        err = -EIO;
    d->lost = d->dirty = false;
    return err;
}

/* TRIM says nothing of what is read afterwards, WRITE ZEROES does and may make a hole. */
static int nbd_do_zero(struct store *s, u64 off, u64 len, bool unmap)
{
    struct nbd_store *d = nbd_of(s);
    if (!d->h && connect_now(d))
        return -EIO;
    if (!d->can_zero || off % d->unit || len % d->unit || off + len > d->s.size)
        return -EOPNOTSUPP;
    d->dirty = true;
    return request(d, &(struct nbd_op){OP_ZERO, NULL, len, off});
}

static void nbd_hurry(struct store *s)
{
    u64 one = 1;
    if (write(nbd_of(s)->hurry_fd, &one, sizeof(one)) < 0)
        LOG(dev, "nbd: cannot hurry");
}

static void nbd_do_close(struct store *s)
{
    struct nbd_store *d = nbd_of(s);
    if (d->h) {
        nbd_aio_disconnect(d->h, 0); /* a courtesy, sent if the socket takes it at once */
        nbd_close(d->h);
    }
    close(d->hurry_fd);
    free(d->bounce);
    free(d->path);
    free(d);
}

static const struct store_ops nbd_ops = {.read = nbd_read,
                                         .write = nbd_write,
                                         .flush = nbd_do_flush,
                                         .zero = nbd_do_zero,
                                         .hurry = nbd_hurry,
                                         .close = nbd_do_close};

struct store *nbd_open(const struct block_config *cfg, char *err, size_t n)
{
    struct nbd_store *d = dev_alloc(sizeof(*d));
    d->s.ops = &nbd_ops;
    d->path = strdup(cfg->path);
    d->bounce = aligned_alloc(4096, MAX_UNIT);
    d->hurry_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int e = d->hurry_fd < 0 ? -errno : connect_now(d), bad = 0;
    if (e == -ETIMEDOUT)
        bad = block_fail(err, n, "'%s': the server does not answer", cfg->path);
    else if (e == -EPROTO)
        bad = block_fail(err, n, "'%s': the server wants blocks of a size that novt cannot give", cfg->path);
    else if (e)
        bad = block_fail(err, n,
                         "cannot connect to '%s': %s (is the server running, and its export's name right?)",
                         cfg->path, strerror(-e));
    else if (!d->now_size || d->now_size > 1ull << 57)
        bad = block_fail(err, n, "'%s': the server's export has an impossible size, %llu bytes", cfg->path,
                         (unsigned long long)d->now_size);
    else if (!cfg->read_only && !cfg->snapshot && nbd_is_read_only(d->h))
        bad = block_fail(err, n, "'%s': the server lets it only be read: give readonly=on or snapshot=on",
                         cfg->path);
    d->s.size = d->now_size;
    if (!bad)
        return &d->s;
    if (d->hurry_fd >= 0)
        nbd_do_close(&d->s);
    return NULL;
}
