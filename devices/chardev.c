/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character back ends: stdio, file, pipe, null, and a function; the buffers of them all. Sockets are in
 * chardev_socket.c, the sharing of one back end by several front ends in chardev_mux.c.
 *
 * Output is gathered for up to a millisecond and written by the event thread, because a guest's console
 * writes single bytes and a system call for each would cost more than the byte's port access. When the buffer
 * is full the writer waits: output is never lost to a slow reader. A reader that is gone (EPIPE, EIO) drops
 * it.
 *
 * Input passes an escape filter (stdio only; Ctrl-A and a letter) and is offered to the front end. What that
 * refuses stays here. On a terminal the descriptor is read on even if the buffer is full, so that Ctrl-A x
 * always works, and the overflow is dropped as a serial line would; anything else (pipe, file) is simply not
 * read further, so nothing of it is lost. For the same reason escapes are looked at when read on a terminal,
 * but in their place in the stream elsewhere.
 *
 * Descriptors that we inherited are never made non-blocking: that would change them for the shell that we
 * share them with. A terminal or pipe is opened again through /proc to get a description of our own; where
 * that fails, poll() goes before each small write.
 *
 * Must not: read or write guest memory, or call the front end without the bus lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "devices/chardev_int.h"

#define BACK_SIZE  sizeof(((struct chardev *)0)->back)
#define FLUSH_NS   NS_PER_MS
#define RETRY_NS   (2 * NS_PER_MS)
#define RETRY_MAX  (64 * NS_PER_MS)
#define CTRL_A     0x01
#define NOTHING    (-1)
#define STALLED_MS 10000 /* how long closing waits for a reader that does not read */

/* ---- output ---- */

/* Writes one contiguous piece. Returns bytes written, 0 if the reader is not ready, -1 if there is no reader
 * any more. */
static ssize_t out_piece(struct chardev *c)
{
    size_t len = c->out_count;
    if (len > c->out_size - c->out_head)
        len = c->out_size - c->out_head;
    if (c->out_polls) {
        struct pollfd p = {.fd = c->out_fd, .events = POLLOUT};
        if (poll(&p, 1, 0) <= 0)
            return 0;
        if (len > 512)
            len = 512; /* a ready pipe takes PIPE_BUF bytes at once, a terminal may take less */
    }
    ssize_t n;
    do {
        n = write(c->out_fd, c->out + c->out_head, len);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    c->out_head = (c->out_head + n) % c->out_size;
    c->out_count -= n;
    return n;
}

/* Writes until the buffer is empty, or holds at most `keep` bytes, waiting for the reader at most wait_ms (<
 * 0: no limit) without progress. */
void chardev_drain(struct chardev *c, u32 keep, int wait_ms)
{
    int waited = 0;
    while (c->out_fd >= 0 && c->out_count > keep) {
        ssize_t n = out_piece(c);
        if (n > 0) {
            waited = 0;
            continue;
        }
        if (n == 0 && (wait_ms < 0 || waited < wait_ms)) {
            struct pollfd p = {.fd = c->out_fd, .events = POLLOUT};
            poll(&p, 1, 100);
            waited += 100;
            continue;
        }
        if (n < 0) {
            LOG(dev, "console output failed: %s; dropped from here on", strerror(errno));
            if (c->socket) {
                socket_lost(c);
                return;
            }
            if (c->own_out)
                close(c->out_fd);
            c->out_fd = -1;
            c->out_count = 0;
        }
        return;
    }
}

static void flush_fire(void *opaque, u64 now)
{
    struct chardev *c = opaque;
    u32 before = c->out_count;
    chardev_drain(c, 0, 0);
    if (c->closing && c->out_count && now > c->closing_until)
        socket_lost(c);
    c->retry_ns = c->out_count != before || !c->retry_ns ? RETRY_NS
                  : c->retry_ns < RETRY_MAX              ? c->retry_ns * 2
                                                         : RETRY_MAX;
    c->flush_armed = c->out_count != 0;
    if (c->flush_armed)
        bus_timer_set(c->flush_timer, now + c->retry_ns);
    else if (c->socket)
        socket_drained(c);
}

/* Makes room in a socket's buffer, whose reader the guest must not wait for. */
static bool out_grow(struct chardev *c, u32 need)
{
    u32 size = c->out_size;
    while (size - c->out_count < need && size < SOCKET_OUT_MAX)
        size *= 2;
    u8 *out = size - c->out_count >= need ? malloc(size) : NULL;
    if (!out)
        return false;
    for (u32 i = 0; i < c->out_count; i++)
        out[i] = c->out[(c->out_head + i) % c->out_size];
    free(c->out);
    c->out = out;
    c->out_size = size;
    c->out_head = 0;
    return true;
}

void chardev_write(struct chardev *c, const u8 *buf, int len)
{
    if (c->fn) {
        c->fn(c->fn_opaque, buf, len);
        return;
    }
    while (len > 0 && c->out_fd >= 0) {
        if (c->socket && (u32)len > c->out_size - c->out_count && !out_grow(c, len)) {
            LOG(dev, "a peer does not read what it is sent: disconnected");
            c->out_count = 0;
            socket_lost(c);
            return;
        }
        if (c->out_count == c->out_size)
            chardev_drain(c, c->out_size / 2, -1);
        u32 room = c->out_size - c->out_count;
        for (; room && len; room--, len--)
            c->out[(c->out_head + c->out_count++) % c->out_size] = *buf++;
    }
    if (!c->out_count || c->flush_armed)
        return;
    if (!event_running(c->b)) {
        chardev_drain(c, 0, c->socket ? 0 : -1);
        return;
    }
    c->flush_armed = true;
    c->retry_ns = 0;
    bus_timer_set(c->flush_timer, bus_host_now(c->b) + FLUSH_NS);
}

void chardev_flush(struct chardev *c)
{
    chardev_drain(c, 0, -1);
}

void chardev_push(struct chardev *c)
{
    if (c->mux)
        c = c->mux;
    chardev_drain(c, 0, 0);
}

u32 chardev_pending(const struct chardev *c)
{
    return c->mux ? c->mux->out_count : c->out_count;
}

static void say(struct chardev *c, const char *text)
{
    chardev_write(c, (const u8 *)text, strlen(text));
}

/* ---- input ---- */

static int escape_command(struct chardev *c, u8 ch)
{
    switch (ch) {
    case CTRL_A:
        return CTRL_A;
    case 'x':
    case 'X':
        say(c, "\r\nnovt: quit\r\n");
        bus_request_quit(c->b, 0);
        break;
    case 'b':
        if (c->fe.send_break)
            c->fe.send_break(c->fe.opaque);
        break;
    case 'c':
    case 'C':
        if (!mux_switch(c))
            say(c, "\r\nnovt: no monitor here: -serial mon:stdio has one\r\n");
        break;
    case 'h':
    case '?':
        say(c, "\r\nCtrl-A x  quit novt\r\n"
               "Ctrl-A c  switch between the console and the monitor\r\n"
               "Ctrl-A b  send a break\r\n"
               "Ctrl-A h  this help\r\n"
               "Ctrl-A Ctrl-A  send Ctrl-A\r\n");
        break;
    }
    return NOTHING;
}

/* Returns the byte that the guest gets for this one, or NOTHING. */
static int escape_filter(struct chardev *c, u8 ch)
{
    if (c->escaped) {
        c->escaped = false;
        return escape_command(c, ch);
    }
    if (ch == CTRL_A) {
        c->escaped = true;
        return NOTHING;
    }
    return ch;
}

static void in_ready(void *opaque);

void chardev_update_watch(struct chardev *c)
{
    bool want = c->in_fd >= 0 && !c->eof && (c->tty || c->in_count < IN_SIZE);
    if (want == c->watched)
        return;
    c->watched = want;
    if (want)
        bus_watch_fd(c->b, c->in_fd, in_ready, c);
    else
        bus_unwatch_fd(c->b, c->in_fd);
}

/* The next byte to offer, into *ch; false if there is none. */
static bool in_next(struct chardev *c, u8 *ch)
{
    if (c->back_count) {
        *ch = c->back[0];
        memmove(c->back, c->back + 1, --c->back_count);
        return true;
    }
    while (c->in_count) {
        u8 raw = c->in[c->in_head];
        c->in_head = (c->in_head + 1) % IN_SIZE;
        c->in_count--;
        int out = c->escapes && !c->tty ? escape_filter(c, raw) : raw;
        if (out != NOTHING) {
            *ch = out;
            return true;
        }
    }
    return false;
}

void chardev_unread(struct chardev *c, const u8 *buf, int len)
{
    if (len > (int)(BACK_SIZE - c->back_count))
        len = BACK_SIZE - c->back_count;
    memmove(c->back + len, c->back, c->back_count);
    memcpy(c->back, buf, len);
    c->back_count += len;
}

void chardev_accept(struct chardev *c)
{
    if (c->delivering || !c->fe.receive)
        return;
    c->delivering = true;
    u8 ch;
    while (in_next(c, &ch)) {
        if (c->fe.receive(c->fe.opaque, &ch, 1) < 1) {
            chardev_unread(c, &ch, 1);
            break;
        }
    }
    c->delivering = false;
    if (c->mux)
        chardev_accept(c->mux);
    chardev_update_watch(c);
    if (c->socket && c->eof && !c->in_count && !c->back_count)
        bus_defer(c->b, &c->hangup); /* after what was asked for before */
}

static void in_put(struct chardev *c, u8 ch)
{
    if (c->in_count < IN_SIZE)
        c->in[(c->in_head + c->in_count++) % IN_SIZE] = ch;
}

static void in_ready(void *opaque)
{
    struct chardev *c = opaque;
    struct pollfd p = {.fd = c->in_fd, .events = POLLIN};
    if (poll(&p, 1, 0) <= 0)
        return;
    u8 buf[512];
    size_t len = sizeof(buf);
    if (!c->tty && len > IN_SIZE - c->in_count)
        len = IN_SIZE - c->in_count;
    ssize_t n = len ? read(c->in_fd, buf, len) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 && len)
        c->eof = true;
    for (ssize_t i = 0; i < n; i++) {
        int ch = c->tty && c->escapes ? escape_filter(c, buf[i]) : buf[i];
        if (ch != NOTHING)
            in_put(c, ch);
    }
    chardev_accept(c);
    chardev_update_watch(c);
}

int chardev_feed(struct chardev *c, const u8 *buf, int len)
{
    int n = 0;
    for (; n < len && c->in_count < IN_SIZE; n++)
        in_put(c, buf[n]);
    chardev_accept(c);
    return n;
}

void chardev_set_frontend(struct chardev *c, const struct chardev_frontend *f)
{
    bus_lock(c->b);
    c->fe = *f;
    if (c->fe.opened && (!c->socket || c->connected))
        c->fe.opened(c->fe.opaque);
    chardev_accept(c);
    bus_unlock(c->b);
}

/* ---- making and closing ---- */

static void chardev_destroy(void *dev)
{
    struct chardev *c = dev;
    c->fe = (struct chardev_frontend){0};
    if (c->socket) {
        chardev_drain(c, 0, SOCKET_STALLED_MS);
        socket_close(c);
    } else {
        chardev_drain(c, 0, STALLED_MS);
    }
    bus_cancel(c->b, &c->hangup);
    if (c->watched)
        bus_unwatch_fd(c->b, c->in_fd);
    if (c->b->stdio == c) {
        terminal_leave();
        c->b->stdio = NULL;
    }
    if (c->own_in && c->in_fd >= 0)
        close(c->in_fd);
    if (c->own_out && c->out_fd >= 0)
        close(c->out_fd);
    free(c->out);
    free(c->name);
    free(c);
}

static const struct device_desc chardev_desc = {.name = "chardev", .destroy = chardev_destroy};

struct chardev *chardev_new(struct bus *b)
{
    struct chardev *c = dev_alloc(sizeof(*c));
    c->b = b;
    c->out_size = OUT_SIZE;
    c->out = dev_alloc(OUT_SIZE);
    c->next = b->chardevs;
    b->chardevs = c;
    c->listen_fd = -1;
    c->in_fd = c->out_fd = -1;
    c->flush_timer = bus_host_timer_new(b, flush_fire, c);
    bus_add_device(b, &chardev_desc, c);
    return c;
}

struct chardev *chardev_null(struct bus *b)
{
    return chardev_new(b);
}

struct chardev *chardev_fn(struct bus *b, void (*fn)(void *opaque, const u8 *buf, int len), void *opaque)
{
    struct chardev *c = chardev_new(b);
    c->fn = fn;
    c->fn_opaque = opaque;
    return c;
}

struct chardev *chardev_file(struct bus *b, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return NULL;
    struct chardev *c = chardev_new(b);
    c->out_fd = fd;
    c->own_out = true;
    struct stat st;
    c->out_polls = !fstat(fd, &st) && !S_ISREG(st.st_mode);
    return c;
}

/* Picks how to write to fd without ever blocking in write(). */
static void open_output(struct chardev *c, int fd)
{
    struct stat st;
    c->out_fd = fd;
    if (fstat(fd, &st)) {
        c->out_fd = -1; /* closed by whoever started us */
        return;
    }
    if (S_ISREG(st.st_mode))
        return;
    if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (own >= 0) {
            c->out_fd = own;
            c->own_out = true;
            return;
        }
    }
    c->out_polls = true;
}

struct chardev *chardev_stdio(struct bus *b)
{
    if (b->stdio)
        return b->stdio;
    struct chardev *c = chardev_new(b);
    b->stdio = c;
    c->escapes = true;
    open_output(c, STDOUT_FILENO);
    if (fcntl(STDIN_FILENO, F_GETFD) >= 0) {
        c->in_fd = STDIN_FILENO;
        c->tty = terminal_enter();
    }
    terminal_ignore_sigpipe();
    bus_lock(b);
    chardev_update_watch(c);
    bus_unlock(b);
    return c;
}

struct chardev *chardev_pipe(struct bus *b, const char *path)
{
    char name[4096];
    snprintf(name, sizeof(name), "%s.in", path);
    int in = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(name, sizeof(name), "%s.out", path);
    int out = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (in < 0 || out < 0) {
        if (in >= 0)
            close(in);
        if (out >= 0)
            close(out);
        in = out = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (in < 0)
            return NULL;
    }
    struct chardev *c = chardev_new(b);
    c->in_fd = in;
    c->out_fd = out;
    c->own_in = true;
    c->own_out = in != out;
    bus_lock(b);
    chardev_update_watch(c);
    bus_unlock(b);
    return c;
}
