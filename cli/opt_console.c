/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handlers of the options that connect the guest and its user: screen, keyboard, serial ports, character back
 * ends, monitors, GDB. -serial, -chardev, -monitor and -qmp add up, as in QEMU. Back ends are opened later:
 * here their names become the machine's words (cli_backend()).
 */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

HANDLER(set_nographic)
{
    c->cfg.nographic = true;
    return CLI_OK;
}

HANDLER(set_vga)
{
    if (strcmp(val, "std") && strcmp(val, "none"))
        return cli_fail(o, "'%s' is not supported by novt yet: std or none", val);
    c->cfg.vga = c->cfg.vga_given = !strcmp(val, "std");
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
            if (*v && cli_on_off(o, v, &mux))
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
            if (*v && cli_on_off(o, v, &pretty))
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
