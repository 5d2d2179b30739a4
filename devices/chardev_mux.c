/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening back ends by name, and sharing one among several front ends.
 *
 * A shared back end (mux:NAME) has ports, each a back end of its own towards its front end: what is written
 * to a port goes to the shared one, and what comes in goes to the port that has the focus. Ctrl-A c moves the
 * focus. A port has a buffer like any back end, so a guest that doesn't read its console keeps nobody from
 * the monitor, until that is full and the input is no terminal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/chardev_int.h"

bool mux_switch(struct chardev *c)
{
    if (c->n_ports < 2)
        return false;
    c->focus = (c->focus + 1) % c->n_ports;
    struct chardev *p = c->port[c->focus];
    if (p->fe.focused)
        p->fe.focused(p->fe.opaque);
    return true;
}

static void port_write(void *opaque, const u8 *buf, int len)
{
    chardev_write(opaque, buf, len);
}

static int mux_receive(void *opaque, const u8 *buf, int len)
{
    struct chardev *c = opaque;
    return chardev_feed(c->port[c->focus], buf, len);
}

static void mux_break(void *opaque)
{
    struct chardev *c = opaque, *p = c->port[c->focus];
    if (p->fe.send_break)
        p->fe.send_break(p->fe.opaque);
}

static void mux_opened(void *opaque)
{
    struct chardev *c = opaque;
    for (u32 i = 0; i < c->n_ports; i++)
        if (c->port[i]->fe.opened)
            c->port[i]->fe.opened(c->port[i]->fe.opaque);
}

static void mux_closed(void *opaque)
{
    struct chardev *c = opaque;
    for (u32 i = 0; i < c->n_ports; i++)
        if (c->port[i]->fe.closed)
            c->port[i]->fe.closed(c->port[i]->fe.opaque);
}

static struct chardev *new_port(struct bus *b, struct chardev *c, char *err, size_t size)
{
    if (c->n_ports == MUX_MAX) {
        snprintf(err, size, "at most %d devices share '%s'", MUX_MAX, c->name);
        return NULL;
    }
    struct chardev *p = chardev_fn(b, port_write, c);
    p->mux = c;
    c->port[c->n_ports++] = p;
    if (c->n_ports == 1) {
        const struct chardev_frontend fe = {.receive = mux_receive,
                                            .opaque = c,
                                            .send_break = mux_break,
                                            .opened = mux_opened,
                                            .closed = mux_closed};
        c->escapes = true;
        chardev_set_frontend(c, &fe);
    }
    return p;
}

static struct chardev *open_mux(struct bus *b, const char *name, char *err, size_t size)
{
    struct chardev *c = b->chardevs;
    while (c && !(c->name && !strcmp(c->name, name)))
        c = c->next;
    if (!c) {
        c = chardev_open(b, name, err, size);
        if (!c)
            return NULL;
        c->name = strdup(name);
        NOVT_ASSERT(c->name);
    }
    return new_port(b, c, err, size);
}

struct chardev *chardev_open(struct bus *b, const char *name, char *err, size_t size)
{
    struct chardev *c = NULL;
    if (!strcmp(name, "null"))
        return chardev_null(b);
    if (!strcmp(name, "stdio")) {
        if (b->stdio) {
            snprintf(err, size, "stdio is taken: mon:stdio shares it");
            return NULL;
        }
        return chardev_stdio(b);
    }
    if (!strncmp(name, "mux:", 4) && strncmp(name + 4, "mux:", 4))
        return open_mux(b, name + 4, err, size);
    if (!strncmp(name, "file:", 5)) {
        if (!(c = chardev_file(b, name + 5)))
            snprintf(err, size, "cannot write to '%s': %s", name + 5, strerror(errno));
        return c;
    }
    if (!strncmp(name, "pipe:", 5)) {
        if (!(c = chardev_pipe(b, name + 5)))
            snprintf(err, size, "cannot open the pipes '%s.in' and '%s.out': %s (mkfifo makes them)",
                     name + 5, name + 5, strerror(errno));
        return c;
    }
    if (!strncmp(name, "unix:", 5) || !strncmp(name, "tcp:", 4))
        return socket_open(b, name, err, size);
    snprintf(err, size, "there is no back end '%s'", name);
    return NULL;
}
