/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each option does: one small function a row of the table in options.c. A handler checks its value,
 * stores it in struct cli and returns CLI_OK; or reports and returns CLI_BAD; or prints a list and returns
 * CLI_DONE. Repeated options: the last one wins, except -serial, -chardev, -device, -d and --no-opt, which
 * add up, as in QEMU.
 */
#include "cli/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/opts.h"

#define RAM_MIN (1 * MiB)
#define RAM_MAX (3 * GiB)

static bool is_help(const char *val)
{
    return !strcmp(val, "help") || !strcmp(val, "?");
}

HANDLER(set_kernel)
{
    c->cfg.kernel = val;
    return CLI_OK;
}

HANDLER(set_initrd)
{
    c->cfg.initrd = val;
    return CLI_OK;
}

HANDLER(set_append)
{
    c->cfg.append = val;
    return CLI_OK;
}

HANDLER(set_bios)
{
    c->cfg.bios = val;
    return CLI_OK;
}

HANDLER(set_nographic)
{
    c->cfg.nographic = true;
    return CLI_OK;
}

HANDLER(set_vga)
{
    if (strcmp(val, "std") && strcmp(val, "none"))
        return cli_fail(o, "'%s' is not supported by novt yet: std or none", val);
    c->cfg.vga = !strcmp(val, "std");
    return CLI_OK;
}

HANDLER(set_screen)
{
    if (!*val)
        return cli_fail(o, "needs the name of a file");
    c->cfg.screen = val;
    return CLI_OK;
}

HANDLER(set_vnc)
{
    if (!*val)
        return cli_fail(o, "needs a display, such as :0");
    c->cfg.vnc = strcmp(val, "none") ? val : NULL;
    return CLI_OK;
}

HANDLER(set_curses)
{
    c->cfg.curses = true;
    return CLI_OK;
}

HANDLER(set_display)
{
    if (!strcmp(val, "none"))
        c->cfg.curses = false;
    else if (!strcmp(val, "curses") || !strcmp(val, "curses,charset=CP437"))
        c->cfg.curses = true;
    else if (!strncmp(val, "vnc=", 4) && val[4])
        return set_vnc(c, o, val + 4);
    else
        return cli_fail(o, "'%s' is not supported by novt yet: curses, vnc=:0 or none", val);
    return CLI_OK;
}

HANDLER(set_keyboard)
{
    c->cfg.keyboard = cli_backend(c, o, val);
    return c->cfg.keyboard ? CLI_OK : CLI_BAD;
}

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

static int on_off(const struct option *o, const char *v, bool *out)
{
    if (!strcmp(v, "on") || !*v)
        *out = true;
    else if (!strcmp(v, "off"))
        *out = false;
    else
        return cli_fail(o, "'%s': give on or off", v);
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
        bad = on_off(o, v, &image->read_only);
    } else if ((v = cli_key(item, "snapshot"))) {
        bad = on_off(o, v, &image->snapshot);
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

HANDLER(set_boot)
{
    bool first = true;
    for (char *item; (item = cli_item(c, &val)); first = false) {
        const char *v = cli_key(item, "order");
        u64 ms;
        if (!v && first && !strchr(item, '='))
            v = item;
        if (v) {
            if (strspn(v, "abcdnop") != strlen(v))
                return cli_fail(o, "order '%s': letters a (floppy), c (disk), d (CD-ROM)", v);
            c->cfg.boot_order = v;
        } else if ((v = cli_key(item, "once"))) {
            if (!*v || strspn(v, "abcdnop") != strlen(v))
                return cli_fail(o, "once '%s': letters a (floppy), c (disk), d (CD-ROM)", v);
            c->cfg.boot_once = v;
        } else if ((v = cli_key(item, "reboot-timeout"))) {
            bool never = !strcmp(v, "-1");
            if (!never && cli_number(o, v, 0xffff, &ms))
                return CLI_BAD;
            c->cfg.reboot_timeout = never ? -1 : (i64)ms;
            c->cfg.have_reboot_timeout = true;
        } else if ((v = cli_key(item, "menu"))) {
            if (on_off(o, v, &c->cfg.boot_menu))
                return CLI_BAD;
        } else if ((v = cli_key(item, "splash-time"))) {
            if (cli_number(o, v, 65535, &ms))
                return CLI_BAD;
            c->cfg.boot_menu_wait = (u32)ms;
        } else if (!cli_key(item, "strict")) {
            return cli_fail(o, "'%s' is not supported by novt yet", item);
        }
    }
    return CLI_OK;
}

HANDLER(set_nodefaults)
{
    c->cfg.no_default_drives = true;
    return CLI_OK;
}

HANDLER(set_global)
{
    u64 base;
    if (strncmp(val, "isa-debugcon.iobase=", 20))
        return cli_fail(o, "'%s' is not supported by novt yet: isa-debugcon.iobase=N", val);
    if (cli_number(o, val + 20, 0xffff, &base))
        return CLI_BAD;
    c->cfg.debugcon_iobase = (u16)base;
    return CLI_OK;
}

HANDLER(set_memory)
{
    u64 size = 0;
    bool given = false;
    for (char *item; (item = cli_item(c, &val));) {
        const char *v = cli_key(item, "size");
        if (!v && strchr(item, '='))
            return cli_fail(o, "'%s' is not supported by novt yet: memory cannot be added later", item);
        if (cli_size(o, v ? v : item, MiB, &size))
            return CLI_BAD;
        given = true;
    }
    if (!given)
        return cli_fail(o, "needs a size, such as 256M");
    if (size < RAM_MIN)
        return cli_fail(o, "%llu bytes are too little: a PC has at least 1M", (unsigned long long)size);
    if (size > RAM_MAX)
        return cli_fail(o, "at most 3G: above that a PC of this kind has no room for memory below 4 GiB");
    c->cfg.ram_bytes = ALIGN_UP(size, (u64)PAGE_SIZE);
    return CLI_OK;
}

HANDLER(set_cpu)
{
    if (is_help(val)) {
        cpu_model_list();
        return CLI_DONE;
    }
    struct cpu_model model;
    const char *bad;
    if (cpu_model_parse(val, &model, &bad)) {
        int n = (int)strcspn(bad, ",");
        if (bad == val)
            return cli_fail(o, "unknown CPU model '%.*s': -cpu help lists them", n, bad);
        return cli_fail(
            o, "unknown feature '%.*s': -NAME or +NAME of a CPUID bit that novt has, such as -apic", n, bad);
    }
    c->cfg.cpu = val;
    return CLI_OK;
}

HANDLER(set_smp)
{
    static const char *const keys[] = {"cpus", "sockets", "dies", "clusters", "cores", "threads", "maxcpus"};
    for (char *item; (item = cli_item(c, &val));) {
        const char *v = item;
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
            if (cli_key(item, keys[i]) && strchr(item, '='))
                v = cli_key(item, keys[i]);
        u64 n;
        if (cli_number(o, v, UINT32_MAX, &n))
            return CLI_BAD;
        if (!n)
            return cli_fail(o, "a machine needs a CPU");
        if (n != 1)
            return cli_fail(o, "%llu CPUs are not supported by novt yet: use 1", (unsigned long long)n);
    }
    return CLI_OK;
}

static int check_accel(const struct option *o, const char *list)
{
    static const char *const others[] = {"kvm", "hax", "hvf", "whpx", "nvmm", "xen"};
    char word[32];
    for (const char *p = list; *p;) { /* a colon list of alternatives: novt stands in for any of them */
        size_t n = strcspn(p, ":");
        snprintf(word, sizeof(word), "%.*s", (int)n, p);
        bool known = !strcmp(word, "tcg");
        for (size_t i = 0; i < ARRAY_SIZE(others); i++)
            known |= !strcmp(word, others[i]);
        if (!known)
            return cli_fail(
                o, "unknown accelerator '%s': leave it out, or choose one of novt's with --engine", word);
        p += n + (p[n] == ':');
    }
    return CLI_OK;
}

HANDLER(set_accel)
{
    char *item = cli_item(c, &val);
    if (!item)
        return cli_fail(o, "needs a name: tcg");
    const char *v = cli_key(item, "accel"); /* what follows (thread=, tb-size=, ...) tunes TCG */
    return check_accel(o, v ? v : item);
}

HANDLER(set_machine)
{
    static const char *const harmless[] = {"usb",
                                           "vmport",
                                           "hpet",
                                           "smm",
                                           "kernel-irqchip",
                                           "graphics",
                                           "sata",
                                           "pit",
                                           "pic",
                                           "i8042",
                                           "mem-merge",
                                           "dump-guest-core",
                                           "nvdimm",
                                           "hmat",
                                           "x-south-bridge",
                                           "fd-bootchk"};
    if (is_help(val)) {
        puts("Boards (-machine):\n  pc            PC with an i440FX host bridge (the default)");
        return CLI_DONE;
    }
    bool first = true;
    for (char *item; (item = cli_item(c, &val)); first = false) {
        const char *type = cli_key(item, "type");
        if (!type && first && !strchr(item, '='))
            type = item;
        const char *accel = cli_key(item, "accel");
        if (type) {
            if (strcmp(type, "pc") && strncmp(type, "pc-i440fx", 9))
                return cli_fail(o, "board '%s' is not supported by novt yet: use pc", type);
            continue;
        }
        if (accel) {
            if (check_accel(o, accel))
                return CLI_BAD;
            continue;
        }
        const char *acpi = cli_key(item, "acpi");
        bool ok = false, with_acpi = true;
        if (acpi) {
            if (on_off(o, acpi, &with_acpi))
                return CLI_BAD;
            c->cfg.no_acpi = !with_acpi;
            continue;
        }
        for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
            ok |= cli_key(item, harmless[i]) != NULL;
        if (!ok)
            return cli_fail(o, "property '%s' is not supported by novt yet", item);
    }
    return CLI_OK;
}

HANDLER(set_rtc)
{
    for (char *item; (item = cli_item(c, &val));) {
        const char *v;
        if ((v = cli_key(item, "base")) && *v)
            c->cfg.rtc_base = v;
        else if (!((v = cli_key(item, "clock")) &&
                   (!strcmp(v, "host") || !strcmp(v, "rt") || !strcmp(v, "vm"))) &&
                 !((v = cli_key(item, "driftfix")) && !strcmp(v, "none")))
            return cli_fail(o, "'%s' is not supported by novt yet: base=utc, base=localtime or base=DATE",
                            item);
    }
    return CLI_OK;
}

static int device_debug_exit(struct cli *c, const struct option *o, const char *val)
{
    u64 base = 0x501, size = 2; /* QEMU's defaults */
    for (char *item; (item = cli_item(c, &val));) {
        const char *v;
        if ((v = cli_key(item, "iobase"))) {
            if (cli_number(o, v, 0xffff, &base))
                return CLI_BAD;
        } else if ((v = cli_key(item, "iosize"))) {
            if (cli_number(o, v, 4, &size))
                return CLI_BAD;
            if (!size || size == 3)
                return cli_fail(o, "isa-debug-exit: iosize must be 1, 2 or 4");
        } else if (!cli_key(item, "id")) {
            return cli_fail(o, "isa-debug-exit has no property '%s': iobase=, iosize=", item);
        }
    }
    if (base + size > 0x10000)
        return cli_fail(o, "isa-debug-exit: ports %llx-%llx are beyond FFFFh", (unsigned long long)base,
                        (unsigned long long)(base + size - 1));
    c->cfg.debug_exit_iobase = (int)base;
    c->cfg.debug_exit_iosize = (int)size;
    return CLI_OK;
}

static int device_debugcon(struct cli *c, const struct option *o, const char *val)
{
    u64 base = 0xe9, readback;
    const char *chardev = NULL;
    for (char *item; (item = cli_item(c, &val));) {
        const char *v;
        if ((v = cli_key(item, "iobase"))) {
            if (cli_number(o, v, 0xffff, &base))
                return CLI_BAD;
        } else if ((v = cli_key(item, "readback"))) {
            if (cli_number(o, v, UINT32_MAX, &readback))
                return CLI_BAD;
            if (readback != 0xe9)
                return cli_fail(o, "isa-debugcon: readback is always 0xe9 in novt");
        } else if ((v = cli_key(item, "chardev"))) {
            chardev = v;
        } else if (!cli_key(item, "id")) {
            return cli_fail(o, "isa-debugcon has no property '%s': iobase=, chardev=", item);
        }
    }
    if (!chardev)
        return cli_fail(o, "isa-debugcon needs chardev=ID, the id of a -chardev");
    if (!base)
        return cli_fail(o, "isa-debugcon: iobase must not be 0");
    c->debugcon_chardev = chardev;
    c->cfg.debugcon_iobase = (u16)base;
    return CLI_OK;
}

HANDLER(set_device)
{
    static const struct {
        const char *name, *help;
        int (*set)(struct cli *c, const struct option *o, const char *val);
    } devices[] = {
        {"isa-debug-exit", "writing V to its port ends novt with status (V << 1) | 1; iobase=0x501, iosize=2",
         device_debug_exit},
        {"isa-debugcon", "bytes written to its port go to a chardev; iobase=0xe9, chardev=ID",
         device_debugcon},
    };
    if (is_help(val)) {
        puts("Devices (-device NAME,PROPERTY=VALUE,...):");
        for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
            printf("  %-14s  %s\n", devices[i].name, devices[i].help);
        return CLI_DONE;
    }
    char *name = cli_item(c, &val);
    const char *driver = name ? cli_key(name, "driver") : "";
    for (size_t i = 0; name && i < ARRAY_SIZE(devices); i++)
        if (!strcmp(driver ? driver : name, devices[i].name))
            return devices[i].set(c, o, val);
    return cli_fail(o, "device '%s' is not supported by novt yet: -device help lists those that are",
                    name ? name : "");
}

/* -chardev socket: its properties become the short form. */
static int chardev_socket_name(const struct option *o, const char *path, const char *host, const char *port,
                               const char *server, const char *wait, char *buf, size_t size)
{
    int n;
    if (path && *path && !host && !port)
        n = snprintf(buf, size, "unix:%s", path);
    else if (!path && port)
        n = snprintf(buf, size, "tcp:%s:%s", host ? host : "", port);
    else
        return cli_fail(o, "socket needs path=PATH, or host=HOST and port=PORT");
    if (server && n > 0 && (size_t)n < size)
        n += snprintf(buf + n, size - n, ",server=%s", *server ? server : "on");
    if (wait && n > 0 && (size_t)n < size)
        n += snprintf(buf + n, size - n, ",wait=%s", *wait ? wait : "on");
    return CLI_OK;
}

HANDLER(set_chardev)
{
    char *kind = cli_item(c, &val);
    const char *id = NULL, *path = NULL, *host = NULL, *port = NULL, *server = NULL, *wait = NULL;
    bool mux = false;
    for (char *item; (item = cli_item(c, &val));) {
        const char *v;
        if ((v = cli_key(item, "id")))
            id = v;
        else if ((v = cli_key(item, "path")))
            path = v;
        else if ((v = cli_key(item, "host")))
            host = v;
        else if ((v = cli_key(item, "port")))
            port = v;
        else if ((v = cli_key(item, "server")))
            server = v;
        else if ((v = cli_key(item, "wait")))
            wait = v;
        else if (!strcmp(item, "nowait"))
            wait = "off";
        else if ((v = cli_key(item, "mux"))) {
            if (*v && on_off(o, v, &mux))
                return CLI_BAD;
            mux |= !*v;
        } else if (!cli_key(item, "signal") && !cli_key(item, "nodelay"))
            return cli_fail(o, "'%s' is not supported by novt yet", item);
    }
    if (!id || !*id)
        return cli_fail(o, "needs an id: -chardev stdio,id=NAME");
    if (c->chardevs == MAX_CHARDEVS)
        return cli_fail(o, "at most %d of them", MAX_CHARDEVS);
    char buf[4300] = "mux:", *name = buf + 4;
    size_t size = sizeof(buf) - 4;
    if (kind && (!strcmp(kind, "stdio") || !strcmp(kind, "null"))) {
        snprintf(name, size, "%s", kind);
    } else if (kind && (!strcmp(kind, "file") || !strcmp(kind, "pipe"))) {
        if (!path || !*path)
            return cli_fail(o, "%s needs a path: -chardev %s,id=%s,path=PATH", kind, kind, id);
        snprintf(name, size, "%s:%s", kind, path);
    } else if (kind && !strcmp(kind, "socket")) {
        if (chardev_socket_name(o, path, host, port, server, wait, name, size))
            return CLI_BAD;
    } else {
        return cli_fail(o, "'%s' is not supported by novt yet: use stdio, null, file, pipe or socket",
                        kind ? kind : "");
    }
    for (int i = 0; i < c->chardevs; i++)
        if (!strcmp(c->chardev[i].id, id))
            return cli_fail(o, "there are two with id=%s", id);
    const char *backend = mux ? buf : name;
    c->chardev[c->chardevs].id = cli_keep(c, id, strlen(id));
    c->chardev[c->chardevs].backend = cli_keep(c, backend, strlen(backend));
    c->chardevs++;
    return CLI_OK;
}

HANDLER(set_monitor)
{
    c->monitor_given = true;
    const char *backend = cli_backend(c, o, val);
    if (!backend)
        return CLI_BAD;
    if (!strcmp(backend, "none"))
        return CLI_OK;
    return cli_add_monitor(c, o, backend, CONTROL_HMP);
}

HANDLER(set_qmp)
{
    const char *backend = cli_backend(c, o, val);
    if (!backend)
        return CLI_BAD;
    if (!strcmp(backend, "none"))
        return CLI_OK;
    return cli_add_monitor(c, o, backend, strcmp(o->name, "qmp") ? CONTROL_QMP_PRETTY : CONTROL_QMP);
}

HANDLER(set_mon)
{
    const char *chardev = NULL, *mode = "readline";
    bool pretty = false;
    for (char *item; (item = cli_item(c, &val));) {
        const char *v;
        if ((v = cli_key(item, "chardev")))
            chardev = v;
        else if ((v = cli_key(item, "mode")))
            mode = v;
        else if ((v = cli_key(item, "pretty"))) {
            if (*v && on_off(o, v, &pretty))
                return CLI_BAD;
            pretty |= !*v;
        } else if (!chardev)
            chardev = item;
        else
            return cli_fail(o, "has chardev=ID, mode=readline|control and pretty=on|off, not '%s'", item);
    }
    if (!chardev)
        return cli_fail(o, "needs chardev=ID, the id of a -chardev");
    if (strcmp(mode, "readline") && strcmp(mode, "control"))
        return cli_fail(o, "mode is readline or control, not '%s'", mode);
    char name[80];
    snprintf(name, sizeof(name), "chardev:%s", chardev);
    const char *backend = cli_backend(c, o, name);
    if (!backend)
        return CLI_BAD;
    if (!strcmp(mode, "readline")) {
        c->monitor_given = true;
        return cli_add_monitor(c, o, backend, CONTROL_HMP);
    }
    return cli_add_monitor(c, o, backend, pretty ? CONTROL_QMP_PRETTY : CONTROL_QMP);
}

HANDLER(set_gdb)
{
    if (c->control.gdb)
        return cli_fail(o, "one GDB is enough");
    const char *backend = cli_backend(c, o, val);
    if (!backend)
        return CLI_BAD;
    if (!strcmp(backend, "none"))
        return CLI_OK;
    if (!strncmp(backend, "tcp:", 4) && !strchr(backend, ',')) {
        char name[256];
        snprintf(name, sizeof(name), "%s,server=on,wait=off", backend);
        backend = cli_keep(c, name, strlen(name));
    }
    c->control.gdb = backend;
    return CLI_OK;
}

HANDLER(set_gdb_default)
{
    return set_gdb(c, o, "tcp::1234");
}

HANDLER(set_name)
{
    size_t n = strncmp(val, "guest=", 6) ? 0 : 6;
    c->control.name = cli_keep(c, val + n, strcspn(val + n, ","));
    return CLI_OK;
}

HANDLER(set_serial)
{
    if (c->serials == (int)ARRAY_SIZE(c->cfg.serial))
        return cli_fail(o, "novt has %d serial ports", (int)ARRAY_SIZE(c->cfg.serial));
    const char *backend = cli_backend(c, o, val);
    if (!backend)
        return CLI_BAD;
    c->cfg.serial[c->serials++] = backend;
    return CLI_OK;
}

HANDLER(set_debugcon)
{
    c->cfg.debugcon = cli_backend(c, o, val);
    return c->cfg.debugcon ? CLI_OK : CLI_BAD;
}

HANDLER(set_no_reboot)
{
    c->cfg.no_reboot = true;
    return CLI_OK;
}

HANDLER(set_no_shutdown)
{
    c->cfg.no_shutdown = true;
    return CLI_OK;
}

HANDLER(set_start_paused)
{
    c->cfg.start_paused = true;
    return CLI_OK;
}

HANDLER(set_action)
{
    for (char *item; (item = cli_item(c, &val));) {
        if (!strcmp(item, "reboot=shutdown"))
            c->cfg.no_reboot = true;
        else if (!strcmp(item, "reboot=reset"))
            c->cfg.no_reboot = false;
        else if (!strcmp(item, "shutdown=pause"))
            c->cfg.no_shutdown = true;
        else if (!strcmp(item, "shutdown=poweroff"))
            c->cfg.no_shutdown = false;
        else
            return cli_fail(
                o, "'%s' is not supported by novt yet: reboot=reset|shutdown, shutdown=poweroff|pause", item);
    }
    return CLI_OK;
}

HANDLER(set_engine)
{
    if (!strcmp(val, "bt"))
        c->cfg.engine = ENGINE_BT;
    else if (!strcmp(val, "interp"))
        c->cfg.engine = ENGINE_INTERP;
    else
        return cli_fail(o, "unknown engine '%s': bt or interp", val);
    return CLI_OK;
}

HANDLER(set_no_opt)
{
    const char *bad;
    if (is_help(val)) {
        opts_list();
        return CLI_DONE;
    }
    if (opts_disable(&c->cfg.opts, val, &bad))
        return cli_fail(o, "unknown optimisation '%.*s': --no-opt=help lists them", (int)strcspn(bad, ","),
                        bad);
    return CLI_OK;
}

HANDLER(set_audit)
{
    if (strcmp(val, "shadow"))
        return cli_fail(o, "'%s' cannot be audited: shadow", val);
    c->cfg.audit_shadow = true;
    return CLI_OK;
}

HANDLER(set_tcache)
{
    u64 size;
    if (cli_size(o, val, MiB, &size))
        return CLI_BAD;
    if (size < MiB || size > GiB)
        return cli_fail(o, "%s is out of range: 1M to 1G", val);
    c->cfg.tcache_bytes = ALIGN_UP(size, (u64)PAGE_SIZE);
    return CLI_OK;
}

HANDLER(set_windows)
{
    c->cfg.windows_always = !strcmp(val, "always");
    if (!strcmp(val, "never"))
        c->cfg.opts &= ~OPT(window);
    else if (!c->cfg.windows_always && strcmp(val, "auto"))
        return cli_fail(o, "'%s' is none of auto, always, never", val);
    return CLI_OK;
}

HANDLER(set_spaces)
{
    u64 n;
    if (cli_number(o, val, UINT32_MAX, &n))
        return CLI_BAD;
    if (n < 2 || n > 4096)
        return cli_fail(o, "%s is out of range: 2 to 4096", val);
    c->cfg.max_spaces = (u32)n;
    return CLI_OK;
}

HANDLER(set_stats)
{
    if (val && !*val)
        return cli_fail(o, "needs a file name after '='");
    c->cfg.stats = true;
    c->cfg.stats_file = val;
    return CLI_OK;
}

/* 0xLO-0xHI: false if it does not look like one. */
static bool address_range(const char *item, u32 *lo, u32 *hi)
{
    unsigned int l, h;
    char rest;
    if (sscanf(item, "0x%8x-0x%8x%c", &l, &h, &rest) != 2)
        return false;
    *lo = l;
    *hi = h;
    return true;
}

HANDLER(set_dump)
{
    static const struct {
        const char *name, *help;
        u32 bit;
    } kinds[] = {
        {"guest", "guest code of each unit", DUMP_GUEST},
        {"host", "host code of each fragment", DUMP_HOST},
        {"exits", "every exit from translated code", DUMP_EXITS},
        {"shadow", "shadow page table fills and traces", DUMP_SHADOW},
    };
    if (is_help(val)) {
        puts("What --dump shows (--dump=LIST, and an address range 0xLO-0xHI or a kernel symbol as filter):");
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
            printf("  %-8s %s\n", kinds[i].name, kinds[i].help);
        return CLI_DONE;
    }
    u32 bits = 0;
    for (char *item; (item = cli_item(c, &val));) {
        u32 bit = 0;
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
            if (!strcmp(item, kinds[i].name))
                bit = kinds[i].bit;
        bits |= bit;
        if (bit)
            continue;
        if (item[0] >= '0' && item[0] <= '9') {
            if (!address_range(item, &c->cfg.dump_lo, &c->cfg.dump_hi) || c->cfg.dump_lo > c->cfg.dump_hi)
                return cli_fail(o, "'%s' is not an address range: 0xLO-0xHI", item);
            c->cfg.dump_symbol = NULL;
        } else {
            c->cfg.dump_symbol = item; /* looked up when the kernel is loaded */
        }
    }
    if (!bits)
        return cli_fail(o, "say what to show: guest, host, exits, shadow");
    c->cfg.dump |= bits;
    return CLI_OK;
}

HANDLER(set_verify)
{
    c->cfg.verify = true;
    return CLI_OK;
}

HANDLER(set_kick)
{
    const char *p = val;
    for (char *item; (item = cli_item(c, &p));) {
        const char *irq = cli_key(item, "irq"), *times = cli_key(item, "times");
        char *end = NULL;
        unsigned long n = strtoul(irq ? irq : times ? times : "", &end, 0);
        if (!strcmp(item, "fragment"))
            c->cfg.kick = KICK_FRAGMENT;
        else if (!strcmp(item, "instruction"))
            c->cfg.kick = KICK_INSTRUCTION;
        else if (!strcmp(item, "nmi"))
            c->cfg.kick_nmi = true;
        else if (irq && *irq && !*end && n >= 3 && n <= 15)
            c->cfg.kick_irq = (u8)n;
        else if (times && *times && !*end && n && n < 65536)
            c->cfg.kick_times = (u32)n;
        else
            return cli_fail(o, "'%s' is not one of: fragment, instruction, nmi, irq=3..15, times=1..65535",
                            item);
    }
    return c->cfg.kick ? CLI_OK : cli_fail(o, "say where to stop: fragment or instruction");
}

HANDLER(set_lockstep)
{
    c->cfg.lockstep = true;
    c->cfg.opts &= ~OPT(flags); /* dead flags are not exact at boundaries */
    return CLI_OK;
}

HANDLER(set_record)
{
    c->cfg.record = val;
    return CLI_OK;
}

HANDLER(set_replay)
{
    c->cfg.replay = val;
    return CLI_OK;
}

HANDLER(set_log_items)
{
    const char *bad;
    if (is_help(val)) {
        log_list();
        return CLI_DONE;
    }
    if (log_parse(val, &bad))
        return cli_fail(o, "unknown log channel '%.*s': -d help lists them", (int)strcspn(bad, ","), bad);
    return CLI_OK;
}

HANDLER(set_log_file)
{
    int err = log_open(val);
    return err ? cli_fail(o, "cannot write '%s': %s", val, strerror(-err)) : CLI_OK;
}

HANDLER(show_help)
{
    cli_help();
    return CLI_DONE;
}

HANDLER(show_version)
{
    cli_version();
    return CLI_DONE;
}

HANDLER(ignore)
{
    return CLI_OK;
}

/* -display none and the like: QEMU's option, of which only "nothing" exists here. */
HANDLER(only_none)
{
    if (!strcmp(val, "none") || !strcmp(val, "null") || !strcmp(val, "/dev/null"))
        return CLI_OK;
    return cli_fail(o, "'%s' is not supported by novt yet: none", val);
}

HANDLER(not_supported)
{
    error_report("option -%s is not supported by novt yet (--help lists what is)", o->name);
    return CLI_BAD;
}
