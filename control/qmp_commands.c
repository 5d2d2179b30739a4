/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's commands. Names, arguments, results and error classes are QEMU's; a command that isn't here is
 * answered with CommandNotFound, so that clients can tell. Arguments are checked against the table at the end
 * before a command sees them.
 */
#include "control/qmp.h"
#include "display/display.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *arg_string(const struct qmp_call *q, const char *name)
{
    return json_string_value(json_object_get(q->args, name));
}

static bool arg_true(const struct qmp_call *q, const char *name)
{
    return json_is_true(json_object_get(q->args, name));
}

/* ---- life ---- */

static json_t *query_status(struct qmp_call *q)
{
    enum run_state s = machine_state(q->c->vm);
    return json_pack("{s:s,s:b,s:b}", "status", run_state_name(s), "singlestep", 0, "running",
                     s == RUN_RUNNING);
}

static json_t *stop(struct qmp_call *q)
{
    machine_stop_now(q->c->vm, RUN_PAUSED);
    return json_object();
}

static json_t *cont(struct qmp_call *q)
{
    if (!machine_cont_over_now(q->c->vm))
        return qmp_error(q, "GenericError", "Resetting the Virtual Machine is required");
    return json_object();
}

static json_t *quit(struct qmp_call *q)
{
    machine_quit(q->c->vm, 0, "host-qmp-quit");
    return json_object();
}

static json_t *system_reset(struct qmp_call *q)
{
    machine_reset(q->c->vm);
    return json_object();
}

static json_t *system_powerdown(struct qmp_call *q)
{
    machine_powerdown(q->c->vm);
    return json_object();
}

static json_t *inject_nmi(struct qmp_call *q)
{
    const struct bus_host *host = bus_host(q->c->m.bus);
    host->raise_nmi(host->opaque);
    return json_object();
}

/* ---- what this is ---- */

static json_t *query_version(struct qmp_call *q)
{
    return qmp_version();
}

static json_t *query_name(struct qmp_call *q)
{
    return q->c->cfg->name ? json_pack("{s:s?}", "name", q->c->cfg->name) : json_object();
}

static json_t *query_commands(struct qmp_call *q)
{
    json_t *list = json_array();
    json_array_append_new(list, json_pack("{s:s}", "name", "qmp_capabilities"));
    for (const struct qmp_command *k = qmp_commands; k->name; k++)
        json_array_append_new(list, json_pack("{s:s}", "name", k->name));
    return list;
}

static json_t *query_target(struct qmp_call *q)
{
    return json_pack("{s:s}", "arch", "i386");
}

static json_t *query_kvm(struct qmp_call *q)
{
    return json_pack("{s:b,s:b}", "enabled", 0, "present", 0);
}

static json_t *query_uuid(struct qmp_call *q)
{
    return json_pack("{s:s}", "UUID", "00000000-0000-0000-0000-000000000000");
}

static json_t *query_cpus(struct qmp_call *q)
{
    return json_pack("[{s:i,s:s,s:s,s:{}}]", "cpu-index", 0, "target", "i386", "qom-path", "/machine/cpu",
                     "props");
}

static json_t *query_mice(struct qmp_call *q)
{
    if (!q->c->m.mouse)
        return json_array();
    return json_pack("[{s:s,s:i,s:b,s:b}]", "name", "PS/2 mouse", "index", 0, "current", 1, "absolute", 0);
}

static json_t *query_chardev(struct qmp_call *q)
{
    json_t *list = json_array();
    for (int i = 0; i < q->c->n_channels; i++) {
        char label[24];
        snprintf(label, sizeof(label), "control%d", i);
        json_t *j = json_pack("{s:s,s:s,s:b}", "label", label, "filename", q->c->channels[i]->name,
                              "frontend-open", q->c->channels[i]->here);
        if (j) /* a name that is no UTF-8 has no place in JSON */
            json_array_append_new(list, j);
    }
    return list;
}

/* ---- drives ---- */

static bool has_tray(const struct drive_info *d)
{
    return strstr(d->name, "-cd") != NULL;
}

static json_t *describe_drive(const struct drive_info *d)
{
    json_t *j = json_pack("{s:s,s:s,s:b,s:b,s:s}", "device", d->name, "type", "unknown", "removable",
                          d->removable, "locked", d->locked, "qdev", d->id ? d->id : d->name);
    if (!j) /* an id that is no UTF-8 */
        return json_pack("{s:s}", "device", d->name);
    if (has_tray(d))
        json_object_set_new(j, "tray_open", json_boolean(d->tray_open));
    if (!*d->path)
        return j;
    json_t *path = json_string(d->path);
    if (!path)
        path = json_string("(its name is no UTF-8)");
    json_t *image = json_pack("{s:O,s:s,s:I,s:I}", "filename", path, "format", "raw", "virtual-size",
                              (json_int_t)d->size, "actual-size", (json_int_t)d->size);
    json_object_set_new(j, "inserted",
                        json_pack("{s:o,s:b,s:s,s:b,s:o}", "file", path, "ro", d->read_only, "drv", "raw",
                                  "encrypted", 0, "image", image));
    json_object_set_new(j, "io-status", json_string("ok"));
    return j;
}

static json_t *query_block(struct qmp_call *q)
{
    json_t *list = json_array();
    struct drive_info d;
    for (int n = 0; drives_info(q->c->vm, n, &d); n++)
        json_array_append_new(list, describe_drive(&d));
    return list;
}

/* The drive that "device" or "id" names; false after setting the error. */
static bool find_drive(struct qmp_call *q, struct drive_info *d)
{
    const char *id = arg_string(q, "id"), *device = arg_string(q, "device"), *name = id ? id : device;
    if (!id == !device) {
        qmp_error(q, "GenericError", "Need exactly one of 'device' and 'id'");
        return false;
    }
    for (int n = 0; drives_info(q->c->vm, n, d); n++)
        if (!strcmp(d->name, name) || (d->id && !strcmp(d->id, name)))
            return true;
    qmp_error(q, id ? "GenericError" : "DeviceNotFound", "Device '%.60s' not found", name);
    return false;
}

static void tray_moved(struct control *c, const struct drive_info *d, bool open)
{
    if (has_tray(d))
        qmp_event(c, "DEVICE_TRAY_MOVED",
                  json_pack("{s:s,s:s,s:b}", "device", d->name, "id", d->name, "tray-open", open));
}

static json_t *eject(struct qmp_call *q)
{
    struct drive_info d;
    char err[400];
    if (!find_drive(q, &d))
        return NULL;
    if (drives_eject(q->c->vm, d.name, arg_true(q, "force"), err, sizeof(err)))
        return qmp_error(q, "GenericError", "%s", err);
    if (!d.tray_open)
        tray_moved(q->c, &d, true);
    return json_object();
}

static json_t *change_medium(struct qmp_call *q)
{
    struct drive_info d;
    char err[400];
    const char *mode = arg_string(q, "read-only-mode"), *format = arg_string(q, "format");
    if (format && strcmp(format, "raw"))
        return qmp_error(q, "GenericError", "Unknown driver '%.40s': novt has raw", format);
    int read_only = !mode || !strcmp(mode, "retain") ? -1
                    : !strcmp(mode, "read-only")     ? 1
                    : !strcmp(mode, "read-write")    ? 0
                                                     : -2;
    if (read_only == -2)
        return qmp_error(q, "GenericError", "Parameter 'read-only-mode' does not accept value '%.40s'", mode);
    if (!find_drive(q, &d))
        return NULL;
    if (drives_change(q->c->vm, d.name, arg_string(q, "filename"), read_only, arg_true(q, "force"), err,
                      sizeof(err)))
        return qmp_error(q, "GenericError", "%s", err);
    if (!d.tray_open)
        tray_moved(q->c, &d, true);
    tray_moved(q->c, &d, false);
    return json_object();
}

/* Opening a tray takes the medium out, and a tray is closed by putting one in. */
static json_t *open_tray(struct qmp_call *q)
{
    struct drive_info d;
    if (!find_drive(q, &d))
        return NULL;
    if (!has_tray(&d))
        return qmp_error(q, "GenericError", "Device '%s' does not have a tray", d.name);
    return d.tray_open ? json_object() : eject(q);
}

static json_t *remove_medium(struct qmp_call *q)
{
    struct drive_info d;
    if (!find_drive(q, &d))
        return NULL;
    if (!has_tray(&d))
        return eject(q);
    if (!d.tray_open)
        return qmp_error(q, "GenericError", "Tray of device '%s' is not open", d.name);
    return json_object();
}

/* ---- screen, keys, mouse ---- */

static json_t *screendump(struct qmp_call *q)
{
    const char *path = arg_string(q, "filename"), *format = arg_string(q, "format");
    if (format && strcmp(format, "png") && strcmp(format, "ppm"))
        return qmp_error(q, "GenericError", "Parameter 'format' does not accept value '%.40s'", format);
    size_t n = strlen(path);
    bool png = format ? !strcmp(format, "png") : n > 4 && !strcmp(path + n - 4, ".png");
    int err = screen_dump(q->c, path, png);
    if (err == -ENODEV)
        return qmp_error(q, "GenericError", "There is no console to take a screendump from");
    if (err)
        return qmp_error(q, "GenericError", "failed to open file '%.200s': %s", path, strerror(-err));
    return json_object();
}

static json_t *vnc_password(struct qmp_call *q, const char *password)
{
    if (display_set_vnc_password(q->c->m.display, password))
        return qmp_error(q, "GenericError", "There is no VNC server with password=on");
    return json_object();
}

static json_t *set_password(struct qmp_call *q)
{
    if (strcmp(arg_string(q, "protocol"), "vnc"))
        return qmp_error(q, "GenericError", "Parameter 'protocol' accepts vnc only");
    return vnc_password(q, arg_string(q, "password"));
}

static json_t *change_vnc_password(struct qmp_call *q)
{
    return vnc_password(q, arg_string(q, "password"));
}

/* A KeyValue: {"type": "qcode", "data": "a"} or {"type": "number", "data": 30}; -1 after setting the error.
 */
static int key_value(struct qmp_call *q, json_t *j)
{
    const char *type = json_string_value(json_object_get(j, "type"));
    json_t *data = json_object_get(j, "data");
    int code = -1;
    if (type && !strcmp(type, "qcode") && json_is_string(data)) {
        code = key_code(json_string_value(data), json_string_length(data));
    } else if (type && !strcmp(type, "number") && json_is_integer(data)) {
        json_int_t n = json_integer_value(data);
        if (n > 0 && n < 256 && (n & 0x7f))
            code = (int)(n & 0x80 ? 0x100 | (n & 0x7f) : n);
    }
    if (code < 0)
        qmp_error(q, "GenericError",
                  "a key is {\"type\": \"qcode\", \"data\": NAME} or {\"type\": \"number\", "
                  "\"data\": CODE}, with a known name or a code from 1 to 255");
    return code;
}

static json_t *send_key(struct qmp_call *q)
{
    json_t *keys = json_object_get(q->args, "keys"), *hold = json_object_get(q->args, "hold-time");
    int codes[16];
    size_t n = json_array_size(keys);
    json_int_t ms = hold ? json_integer_value(hold) : 100;
    if (!n || n > ARRAY_SIZE(codes) || ms < 0 || ms > 100000)
        return qmp_error(q, "GenericError", "1 to %zu keys, hold-time up to 100000", ARRAY_SIZE(codes));
    for (size_t i = 0; i < n; i++)
        if ((codes[i] = key_value(q, json_array_get(keys, i))) < 0)
            return NULL;
    if (!keys_chord(q->c, codes, (int)n, (u32)ms))
        return qmp_error(q, "GenericError",
                         q->c->m.keyboard ? "too many keys wait to be typed"
                                          : "this machine has no keyboard");
    return json_object();
}

static bool send_button(struct qmp_call *q, json_t *data, u8 *buttons, int *wheel)
{
    static const struct {
        const char *name;
        u8 bit;
        int wheel;
    } list[] = {{"left", 1, 0}, {"right", 2, 0}, {"middle", 4, 0}, {"wheel-up", 0, -1}, {"wheel-down", 0, 1}};
    const char *name = json_string_value(json_object_get(data, "button"));
    json_t *down = json_object_get(data, "down");
    for (size_t i = 0; name && json_is_boolean(down) && i < ARRAY_SIZE(list); i++) {
        if (strcmp(list[i].name, name))
            continue;
        if (json_is_true(down)) {
            *buttons |= list[i].bit;
            *wheel += list[i].wheel;
        } else {
            *buttons &= (u8)~list[i].bit;
        }
        return true;
    }
    qmp_error(q, "GenericError",
              "a button event is {\"down\": BOOL, \"button\": left, right, middle, wheel-up or "
              "wheel-down}");
    return false;
}

static bool send_axis(struct qmp_call *q, json_t *data, int *x, int *y)
{
    const char *axis = json_string_value(json_object_get(data, "axis"));
    json_t *value = json_object_get(data, "value");
    json_int_t n = json_integer_value(value);
    if (!axis || (strcmp(axis, "x") && strcmp(axis, "y")) || !json_is_integer(value) || n < -100000 ||
        n > 100000) {
        qmp_error(q, "GenericError", "a motion is {\"axis\": \"x\" or \"y\", \"value\": NUMBER}");
        return false;
    }
    *(*axis == 'x' ? x : y) += (int)n;
    return true;
}

static json_t *input_send_event(struct qmp_call *q)
{
    json_t *events = json_object_get(q->args, "events");
    int x = 0, y = 0, wheel = 0;
    u8 buttons = q->c->buttons;
    bool mouse = false;
    if (json_array_size(events) > 256)
        return qmp_error(q, "GenericError", "at most 256 events at once");
    for (size_t i = 0; i < json_array_size(events); i++) {
        json_t *e = json_array_get(events, i), *data = json_object_get(e, "data");
        const char *type = json_string_value(json_object_get(e, "type"));
        if (type && !strcmp(type, "key")) {
            json_t *down = json_object_get(data, "down");
            int code = key_value(q, json_object_get(data, "key"));
            if (code < 0)
                return NULL;
            if (!json_is_boolean(down))
                return qmp_error(q, "GenericError", "a key event is {\"down\": BOOL, \"key\": KEY}");
            if (!keys_put(q->c, code, json_is_true(down), 0))
                return qmp_error(q, "GenericError",
                                 q->c->m.keyboard ? "too many keys wait to be typed"
                                                  : "this machine has no keyboard");
        } else if (type && !strcmp(type, "btn")) {
            if (!send_button(q, data, &buttons, &wheel))
                return NULL;
            mouse_event(q->c, x, y, wheel, buttons); /* each change counts: a click is two of them */
            x = y = wheel = 0;
        } else if (type && !strcmp(type, "rel")) {
            if (!send_axis(q, data, &x, &y))
                return NULL;
            mouse = true;
        } else {
            return qmp_error(q, "GenericError",
                             "an event's type is key, btn or rel; the mouse is not absolute");
        }
    }
    if (mouse)
        mouse_event(q->c, x, y, wheel, buttons);
    return json_object();
}

/* ---- the rest ---- */

/* The human monitor's text for a line; NULL: no memory. */
static char *human(struct control *c, const char *line)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    hmp_execute(c, line, out);
    fclose(out);
    return text;
}

static json_t *human_text(struct qmp_call *q, const char *line)
{
    char *text = human(q->c, line);
    json_t *j = text ? json_string(text) : NULL;
    for (char *p = text; !j && p && *p; p++) /* bytes that are no UTF-8, such as in a path */
        if (*p & 0x80)
            *p = '?';
    if (!j && text)
        j = json_string(text);
    free(text);
    return j ? j : qmp_error(q, "GenericError", "no memory");
}

static json_t *human_monitor_command(struct qmp_call *q)
{
    json_t *cpu = json_object_get(q->args, "cpu-index");
    if (cpu && json_integer_value(cpu))
        return qmp_error(q, "GenericError", "Parameter 'cpu-index' expects a CPU number");
    return human_text(q, arg_string(q, "command-line"));
}

static json_t *query_jit(struct qmp_call *q)
{
    json_t *text = human_text(q, "info jit");
    return text ? json_pack("{s:o}", "human-readable-text", text) : NULL;
}

static json_t *save_memory(struct qmp_call *q, bool phys)
{
    json_int_t at = json_integer_value(json_object_get(q->args, "val"));
    json_int_t size = json_integer_value(json_object_get(q->args, "size"));
    const char *path = arg_string(q, "filename");
    if (at < 0 || size < 0 || at > 0xffffffffll || size > 0x100000000ll)
        return qmp_error(q, "GenericError", "val and size are within 4 GiB");
    FILE *f = fopen(path, "wbe");
    if (!f)
        return qmp_error(q, "GenericError", "cannot write '%.200s': %s", path, strerror(errno));
    u8 page[PAGE_SIZE];
    const char *why = NULL;
    for (u64 done = 0; done < (u64)size && !why;) {
        size_t n = size - done < sizeof(page) ? (size_t)size - done : sizeof(page);
        u64 from = (u64)at + done;
        if ((phys ? target_read_phys(q->c, from, page, n) : target_read(q->c, (u32)from, page, n)) != n)
            why = "there is no memory in part of the range";
        else if (fwrite(page, 1, n, f) != n)
            why = strerror(errno);
        done += n;
    }
    if (fclose(f) && !why)
        why = strerror(errno);
    return why ? qmp_error(q, "GenericError", "'%.200s': %s", path, why) : json_object();
}

static json_t *memsave(struct qmp_call *q)
{
    return save_memory(q, false);
}

static json_t *pmemsave(struct qmp_call *q)
{
    return save_memory(q, true);
}

#define WHICH "device?:s,id?:s"
const struct qmp_command qmp_commands[] = {
    {"query-status", "", query_status},
    {"stop", "", stop},
    {"cont", "", cont},
    {"quit", "", quit},
    {"system_reset", "", system_reset},
    {"system_powerdown", "", system_powerdown},
    {"inject-nmi", "", inject_nmi},
    {"query-version", "", query_version},
    {"query-name", "", query_name},
    {"query-commands", "", query_commands},
    {"query-target", "", query_target},
    {"query-kvm", "", query_kvm},
    {"query-uuid", "", query_uuid},
    {"query-cpus-fast", "", query_cpus},
    {"query-mice", "", query_mice},
    {"query-chardev", "", query_chardev},
    {"query-block", "", query_block},
    {"eject", WHICH ",force?:b", eject},
    {"blockdev-change-medium", WHICH ",filename:s,format?:s,read-only-mode?:s,force?:b", change_medium},
    {"blockdev-open-tray", WHICH ",force?:b", open_tray},
    {"blockdev-remove-medium", WHICH, remove_medium},
    {"screendump", "filename:s,format?:s,device?:s,head?:i", screendump},
    {"set_password", "protocol:s,password:s,connected?:s", set_password},
    {"change-vnc-password", "password:s", change_vnc_password},
    {"send-key", "keys:a,hold-time?:i", send_key},
    {"input-send-event", "device?:s,head?:i,events:a", input_send_event},
    {"human-monitor-command", "command-line:s,cpu-index?:i", human_monitor_command},
    {"x-query-jit", "", query_jit},
    {"memsave", "val:i,size:i,filename:s,cpu-index?:i", memsave},
    {"pmemsave", "val:i,size:i,filename:s", pmemsave},
    {NULL, NULL, NULL},
};
