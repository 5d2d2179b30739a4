/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The displays of one VM: what was asked for is started, and shares one queue of keys. */
#include "display/display.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "display/curses_display.h"
#include "display/input.h"
#include "display/vnc_int.h"

struct display {
    struct bus *b;
    struct input input;
    struct vnc *vnc;
    struct curses *curses;
};

int display_create(struct bus *b, struct vga *v, struct ps2 *keyboard, struct ps2 *mouse,
                   const struct display_config *cfg, struct display **out)
{
    bool vnc = cfg->vnc && strcmp(cfg->vnc, "none");
    *out = NULL;
    if (!vnc && !cfg->curses)
        return 0;
    if (!v) {
        error_report("there is no screen to show: -vnc and -display curses need a video adapter (-vga std)");
        return -EINVAL;
    }
    struct display *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    d->b = b;
    bus_lock(b);
    input_init(&d->input, keyboard, mouse);
    bus_unlock(b);
    int err = vnc ? vnc_create(b, v, &d->input, cfg->vnc, cfg->name, &d->vnc) : 0;
    if (!err && cfg->curses)
        err = curses_create(b, v, &d->input, cfg->name, &d->curses);
    if (err) {
        display_destroy(d);
        return err;
    }
    *out = d;
    return 0;
}

void display_destroy(struct display *d)
{
    if (!d)
        return;
    curses_destroy(d->curses);
    vnc_destroy(d->vnc);
    bus_lock(d->b);
    ps2_set_drain(d->input.keyboard, NULL, NULL);
    bus_unlock(d->b);
    free(d);
}

int display_set_vnc_password(struct display *d, const char *password)
{
    return d && d->vnc ? vnc_set_password(d->vnc, password) : -ENOENT;
}

size_t display_vnc_info(struct display *d, char *buf, size_t size)
{
    if (d && d->vnc)
        return vnc_info(d->vnc, buf, size);
    static const char none[] = "no VNC server\n";
    size_t n = strlen(none) < size ? strlen(none) : size - 1;
    memcpy(buf, none, n);
    buf[n] = 0;
    return n;
}
