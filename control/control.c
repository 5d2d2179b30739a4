/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Consoles: between character back ends and the protocols.
 *
 * receive() runs on the event thread and stores at most CHANNEL_IN bytes; what does not fit stays with the
 * back end. Then work() runs on the vCPU thread, between two guest instructions, and gives the bytes to the
 * protocol one at a time. A peer that asks for much and reads nothing is not served further until it has
 * read: see CHANNEL_OUT.
 *
 * A console that is closed with input pending loses it; the protocol hears of it in left(), where it may
 * touch the CPU.
 *
 * Must not: wait for a peer.
 */
#include "control/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define RETRY_NS 20000000ull

void channel_write(struct channel *ch, const void *buf, size_t len)
{
    const u8 *p = buf;
    while (len) { /* chardev_write() takes an int */
        size_t n = len < (1u << 20) ? len : 1u << 20;
        chardev_write(ch->chr, p, (int)n);
        p += n;
        len -= n;
    }
}

static int receive(void *opaque, const u8 *buf, int len)
{
    struct channel *ch = opaque;
    int n = 0;
    while (n < len && ch->n_in < CHANNEL_IN)
        ch->in[ch->n_in++] = buf[n++];
    if (n)
        bus_defer(ch->ctl->m.bus, &ch->work);
    return n;
}

static void work(void *opaque)
{
    struct channel *ch = opaque;
    if (ch->left) {
        ch->left = false;
        if (ch->ops->left)
            ch->ops->left(ch);
    }
    u32 done = 0;
    while (done < ch->n_in && ch->here && chardev_pending(ch->chr) < CHANNEL_OUT)
        ch->ops->byte(ch, ch->in[done++]);
    if (done > ch->n_in) /* the peer went meanwhile */
        done = ch->n_in;
    memmove(ch->in, ch->in + done, ch->n_in - done);
    ch->n_in -= done;
    chardev_push(ch->chr);
    if (ch->n_in && ch->here)
        bus_timer_set(ch->retry, bus_host_now(ch->ctl->m.bus) + RETRY_NS);
    else
        chardev_accept(ch->chr);
}

static void retry(void *opaque, u64 now)
{
    struct channel *ch = opaque;
    bus_defer(ch->ctl->m.bus, &ch->work);
}

static void opened(void *opaque)
{
    struct channel *ch = opaque;
    ch->here = true;
    if (ch->ops->peer)
        ch->ops->peer(ch, true);
}

static void closed(void *opaque)
{
    struct channel *ch = opaque;
    ch->here = false;
    ch->n_in = 0;
    ch->left = true;
    if (ch->ops->peer)
        ch->ops->peer(ch, false);
    bus_defer(ch->ctl->m.bus, &ch->work);
}

static void focused(void *opaque)
{
    struct channel *ch = opaque;
    if (ch->ops->focused)
        ch->ops->focused(ch);
}

int channel_open(struct control *c, struct channel *ch, const struct channel_ops *ops, const char *chardev,
                 const char *what)
{
    char err[512];
    ch->ctl = c;
    ch->ops = ops;
    ch->name = chardev;
    ch->work = (struct bus_work){.fn = work, .opaque = ch};
    ch->retry = bus_host_timer_new(c->m.bus, retry, ch);
    c->channels[c->n_channels++] = ch;
    ch->chr = chardev_open(c->m.bus, chardev, err, sizeof(err));
    if (!ch->chr) {
        error_report("%s: %s", what, err);
        return -EIO;
    }
    const struct chardev_frontend fe = {
        .receive = receive, .opaque = ch, .opened = opened, .closed = closed, .focused = focused};
    chardev_set_frontend(ch->chr, &fe);
    return 0;
}

static void on_event(void *opaque, enum machine_event e, bool guest, const char *reason)
{
    struct control *c = opaque;
    for (int i = 0; i < c->n_channels; i++) {
        struct channel *ch = c->channels[i];
        if (ch->here && ch->ops->event) {
            ch->ops->event(ch, e, guest, reason);
            chardev_push(ch->chr);
        }
    }
}

struct control *control_create(struct vm *vm, const struct control_config *cfg)
{
    struct control *c = calloc(1, sizeof(*c));
    NOVT_ASSERT(c);
    c->vm = vm;
    c->m = machine_parts(vm);
    c->cfg = cfg;
    c->keys = keys_create(c);
    c->observer = (struct machine_observer){.event = on_event, .opaque = c};
    int err = 0;
    for (int i = 0; i < cfg->n_monitors && !err; i++) {
        const char *chardev = cfg->monitors[i].chardev;
        if (cfg->monitors[i].mode == CONTROL_HMP)
            err = hmp_create(c, chardev);
        else
            err = qmp_create(c, chardev, cfg->monitors[i].mode == CONTROL_QMP_PRETTY);
    }
    if (!err && cfg->gdb)
        err = gdb_create(c, cfg->gdb);
    if (err) {
        control_destroy(c);
        return NULL;
    }
    machine_observe(vm, &c->observer);
    return c;
}

void control_destroy(struct control *c)
{
    if (!c)
        return;
    machine_unobserve(c->vm, &c->observer);
    bus_lock(c->m.bus);
    for (int i = 0; i < c->n_channels; i++) {
        struct channel *ch = c->channels[i];
        if (ch->chr)
            chardev_set_frontend(ch->chr, &(struct chardev_frontend){0});
        bus_timer_set(ch->retry, 0);
        bus_cancel(c->m.bus, &ch->work);
        ch->ops->free(ch);
    }
    keys_free(c->keys);
    bus_unlock(c->m.bus);
    free(c);
}
