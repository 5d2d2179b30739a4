/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A display that is a file. The file is replaced by rename, so a reader sees one whole screen or another.
 *
 * The timer runs on the event thread and asks the adapter whether anything changed; an idle screen costs five
 * look-ups a second.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/internal.h"
#include "devices/screen.h"

#define PERIOD_NS (200 * NS_PER_MS)

struct screen {
    struct bus *b;
    struct vga *vga;
    char *path, *temp;
    bool png, told;
    char last[64 * 1024];
    size_t last_len;
    struct bus_timer *timer;
};

static int write_text(struct screen *s)
{
    static const size_t cap = sizeof(s->last);
    char *text = malloc(cap);
    if (!text)
        return -ENOMEM;
    size_t n = vga_text(s->vga, text, cap);
    if (n == s->last_len && !memcmp(text, s->last, n)) {
        free(text);
        return 1;
    }
    memcpy(s->last, text, n);
    s->last_len = n;
    FILE *f = fopen(s->temp, "we");
    int err = 0;
    if (!f)
        err = -errno;
    else if (fwrite(text, 1, n, f) != n)
        err = -EIO;
    if (f && fclose(f) && !err)
        err = -EIO;
    free(text);
    return err;
}

static void show(struct screen *s)
{
    if (!vga_changed(s->vga))
        return;
    int err = s->png ? vga_screendump(s->vga, s->temp) : write_text(s);
    if (!err && rename(s->temp, s->path))
        err = -errno;
    if (err < 0 && !s->told) {
        warn_report("cannot write the screen to '%s': %s", s->path, strerror(-err));
        s->told = true;
    }
}

static void tick(void *opaque, u64 now)
{
    struct screen *s = opaque;
    show(s);
    bus_timer_set(s->timer, now + PERIOD_NS);
}

static void screen_reset(void *dev)
{
    struct screen *s = dev;
    bus_timer_set(s->timer, bus_host_now(s->b) + PERIOD_NS);
}

static void screen_destroy(void *dev)
{
    struct screen *s = dev;
    show(s);
    free(s->path);
    free(s->temp);
    free(s);
}

static const struct device_field screen_fields[] = {DEV_END};
static const struct device_desc screen_desc = {
    .name = "screen", .fields = screen_fields, .reset = screen_reset, .destroy = screen_destroy};

int screen_create(struct bus *b, struct vga *v, const char *path)
{
    struct screen *s = dev_alloc(sizeof(*s));
    size_t n = strlen(path);
    s->b = b;
    s->vga = v;
    s->path = strdup(path);
    s->temp = malloc(n + 5);
    if (!s->path || !s->temp)
        return -ENOMEM;
    snprintf(s->temp, n + 5, "%s.tmp", path);
    s->png = n > 4 && !strcmp(path + n - 4, ".png");
    s->timer = bus_host_timer_new(b, tick, s);
    bus_add_device(b, &screen_desc, s);
    return 0;
}
