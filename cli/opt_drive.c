/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handlers of -hda to -hdd, -fda, -fdb, -cdrom, -drive and what belongs to them. Each use adds a drive; where
 * it sits comes from the option's name, from index= or bus= and unit=, or is the first free place, as in
 * QEMU. Whether the image can be opened is the machine's business.
 */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

static struct drive_config *new_drive(struct cli *c, const struct option *o)
{
    if (c->cfg.ndrives == MAX_DRIVES) {
        cli_fail(o, "at most %d drives", MAX_DRIVES);
        return NULL;
    }
    return &c->cfg.drives[c->cfg.ndrives++];
}

/* -hda to -hdd, -cdrom, -fda, -fdb; a bare word on the command line comes here as -hda. */
HANDLER(set_disk)
{
    if (!*val)
        return cli_fail(o, "needs the name of an image file");
    struct drive_config *d = new_drive(c, o);
    if (!d)
        return CLI_BAD;
    d->image.path = val;
    d->cdrom = !strcmp(o->name, "cdrom");
    d->floppy = o->name[0] == 'f';
    d->index = d->cdrom ? 2 : o->name[2] - 'a';
    return CLI_OK;
}

/* The first free slot: -drive without index=. */
static int free_index(const struct cli *c, const struct drive_config *self)
{
    for (int i = self->cdrom ? 2 : 0;; i++) {
        bool used = false;
        for (int k = 0; k < c->cfg.ndrives; k++) {
            const struct drive_config *d = &c->cfg.drives[k];
            used |= d != self && d->floppy == self->floppy && d->index == i;
        }
        if (!used)
            return i;
    }
}

static int choice(const struct option *o, const char *key, const char *v, const char *const *names, int *out)
{
    char all[200] = "";
    for (int i = 0; names[i]; i++) {
        if (!strcmp(v, names[i])) {
            *out = i;
            return CLI_OK;
        }
        size_t at = strlen(all);
        snprintf(all + at, sizeof(all) - at, "%s%s", i ? ", " : "", names[i]);
    }
    return cli_fail(o, "%s=%s: give one of %s", key, v, all);
}

/* Options of -drive that say how its image is treated; QEMU's words. 1: not one of them. */
static int image_option(const struct option *o, const char *item, struct block_config *image)
{
    static const char *const caches[] = {"writeback",  "none",   "writethrough",
                                         "directsync", "unsafe", NULL}; /* enum block_cache */
    static const char *const zeroes[] = {"on", "off", "unmap", NULL};   /* enum block_zeroes */
    static const char *const discards[] = {"ignore", "off", "unmap", "on", NULL};
    static const char *const errors[] = {"report", "ignore", "stop", "enospc", NULL}; /* enum block_policy */
    const char *v;
    int n = 0, bad;
    if ((v = cli_key(item, "cache"))) {
        bad = choice(o, "cache", v, caches, &n);
        image->cache = (enum block_cache)n;
    } else if ((v = cli_key(item, "detect-zeroes"))) {
        bad = choice(o, "detect-zeroes", v, zeroes, &n);
        image->zeroes = (enum block_zeroes)n;
    } else if ((v = cli_key(item, "discard"))) {
        bad = choice(o, "discard", v, discards, &n);
        image->discard = n > 1;
    } else if ((v = cli_key(item, "werror"))) {
        bad = choice(o, "werror", v, errors, &n);
        image->werror = (enum block_policy)n;
    } else if ((v = cli_key(item, "rerror"))) {
        bad = choice(o, "rerror", v, errors, &n);
        image->rerror = (enum block_policy)n;
    } else if ((v = cli_key(item, "readonly")) || (v = cli_key(item, "read-only"))) {
        bad = cli_on_off(o, v, &image->read_only);
    } else if ((v = cli_key(item, "snapshot"))) {
        bad = cli_on_off(o, v, &image->snapshot);
    } else {
        return 1;
    }
    return bad;
}

HANDLER(set_drive)
{
    struct drive_config *d = new_drive(c, o);
    u64 index = 0, bus = 0, unit = 0;
    bool given = false, by_unit = false, nbd = false;
    if (!d)
        return CLI_BAD;
    for (char *item; (item = cli_item(c, &val));) {
        const char *v;
        int image = image_option(o, item, &d->image);
        if (image < 0)
            return image;
        if (!image || cli_key(item, "aio"))
            continue;
        if ((v = cli_key(item, "file"))) {
            d->image.path = v;
        } else if ((v = cli_key(item, "id"))) {
            d->id = v;
        } else if ((v = cli_key(item, "serial"))) {
            d->serial = v;
        } else if ((v = cli_key(item, "format"))) {
            nbd = !strcmp(v, "nbd");
            if (strcmp(v, "raw") && !nbd)
                return cli_fail(o,
                                "format '%s' is not supported by novt: use raw (qemu-img convert -O raw), or "
                                "serve the image with qemu-nbd -k SOCKET and give file=nbd:unix:SOCKET",
                                v);
        } else if ((v = cli_key(item, "if"))) {
            if (strcmp(v, "ide") && strcmp(v, "floppy") && strcmp(v, "none"))
                return cli_fail(o, "if=%s is not supported by novt yet: ide or floppy", v);
            d->floppy = !strcmp(v, "floppy");
        } else if ((v = cli_key(item, "media"))) {
            if (strcmp(v, "disk") && strcmp(v, "cdrom"))
                return cli_fail(o, "media=%s: disk or cdrom", v);
            d->cdrom = !strcmp(v, "cdrom");
        } else if ((v = cli_key(item, "index"))) {
            if (cli_number(o, v, 7, &index))
                return CLI_BAD;
            given = true;
        } else if ((v = cli_key(item, "bus"))) {
            if (cli_number(o, v, 1, &bus))
                return CLI_BAD;
            by_unit = true;
        } else if ((v = cli_key(item, "unit"))) {
            if (cli_number(o, v, 1, &unit))
                return CLI_BAD;
            by_unit = true;
        } else {
            return cli_fail(o, "'%s' is not supported by novt yet", item);
        }
    }
    if (!d->image.path && !d->cdrom && !d->floppy)
        return cli_fail(o, "needs file=FILE");
    if (nbd && (!d->image.path || strncmp(d->image.path, "nbd", 3)))
        return cli_fail(o, "format=nbd needs file=nbd://HOST[:PORT]/[EXPORT] or file=nbd:unix:SOCKET");
    d->index = given ? (int)index : by_unit ? (int)(bus * 2 + unit) : free_index(c, d);
    return CLI_OK;
}

HANDLER(set_snapshot)
{
    c->cfg.snapshot = true;
    return CLI_OK;
}

HANDLER(set_nodefaults)
{
    c->cfg.no_default_drives = true;
    return CLI_OK;
}
