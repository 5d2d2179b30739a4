/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A display that is a file. The file is replaced by rename, so a reader sees one whole screen or another.
 *
 * The adapter says when something changed (struct vga_viewer); an idle screen costs nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "devices/internal.h"
#include "devices/screen.h"

#define PERIOD_MS 200

struct screen {
    struct bus *b;
    struct vga *vga;
    char *path, *temp;
    bool png, told;
    char last[64 * 1024];
    size_t last_len;
    struct vga_viewer viewer;
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

static void show(void *opaque)
{
    struct screen *s = opaque;
    vga_viewer_clear(&s->viewer);
    int err = s->png ? vga_screendump(s->vga, s->temp) : write_text(s);
    if (!err && rename(s->temp, s->path))
        err = -errno;
    if (err < 0 && !s->told) {
        warn_report("cannot write the screen to '%s': %s", s->path, strerror(-err));
        s->told = true;
    }
}

static void screen_destroy(void *dev)
{
    struct screen *s = dev;
    show(s);
    vga_remove_viewer(s->vga, &s->viewer);
    free(s->path);
    free(s->temp);
    free(s);
}

static const struct device_field screen_fields[] = {DEV_END};
static const struct device_desc screen_desc = {
    .name = "screen", .fields = screen_fields, .destroy = screen_destroy};

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
    s->viewer = (struct vga_viewer){.changed = show, .opaque = s, .period_ms = PERIOD_MS, .pixels = s->png};
    bus_add_device(b, &screen_desc, s);
    bus_lock(b);
    vga_add_viewer(v, &s->viewer);
    bus_unlock(b);
    return 0;
}
