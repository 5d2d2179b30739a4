/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP, QEMU's machine protocol: JSON objects over a stream (docs/interop/qmp-spec in QEMU).
 *
 * Messages need no separator, so a scanner follows brackets and strings to find where one ends; only then is
 * it parsed (jansson). What a peer can make novt keep is bounded: a message has at most MSG_MAX bytes and
 * DEPTH_MAX levels. After a message that is too large nothing that follows can be trusted, so the peer is
 * told and disconnected; other garbage is reported and skipped up to the next line or object.
 *
 * A peer negotiates first (qmp_capabilities); before that it gets no events. Commands are executed in order,
 * each answered before the next is looked at.
 */
#include "control/qmp.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

#define MSG_MAX   65536u
#define DEPTH_MAX 128

struct qmp {
    struct channel ch;
    bool pretty, negotiated;
    char msg[MSG_MAX];
    u32 len;
    int depth;
    bool in_string, escaped;
    bool garbage; /* reported; skipping */
};

static const struct channel_ops qmp_ops;

/* ---- output ---- */

/* Sends and frees j. */
static void send(struct qmp *q, json_t *j)
{
    char *text = json_dumps(j, q->pretty ? JSON_INDENT(4) : 0);
    if (text) {
        channel_write(&q->ch, text, strlen(text));
        channel_write(&q->ch, "\r\n", 2);
    }
    free(text);
    json_decref(j);
}

/* id is borrowed, NULL: none. */
static void send_error(struct qmp *q, json_t *id, const char *class, const char *desc)
{
    json_t *j = json_pack("{s:{s:s,s:s}}", "error", "class", class, "desc", desc);
    if (!j) /* desc quotes what the peer sent, which may be cut within a character */
        j = json_pack("{s:{s:s,s:s}}", "error", "class", class, "desc", "invalid request");
    if (id)
        json_object_set(j, "id", id);
    send(q, j);
}

json_t *qmp_error(struct qmp_call *q, const char *class, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(q->desc, sizeof(q->desc), fmt, ap);
    va_end(ap);
    q->class = class;
    return NULL;
}

json_t *qmp_version(void)
{
    int v[3] = {0};
    if (sscanf(NOVT_VERSION, "%d.%d.%d", &v[0], &v[1], &v[2]) < 1)
        v[0] = 0;
    return json_pack("{s:{s:i,s:i,s:i},s:s}", "qemu", "micro", v[2], "minor", v[1], "major", v[0], "package",
                     "novt " NOVT_VERSION);
}

void qmp_event(struct control *c, const char *name, json_t *data)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    for (int i = 0; i < c->n_channels; i++) {
        struct qmp *q = (struct qmp *)c->channels[i];
        if (q->ch.ops != &qmp_ops || !q->ch.here || !q->negotiated)
            continue;
        json_t *j = json_pack("{s:{s:I,s:I},s:s}", "timestamp", "seconds", (json_int_t)ts.tv_sec,
                              "microseconds", (json_int_t)ts.tv_nsec / 1000, "event", name);
        if (data)
            json_object_set(j, "data", data);
        send(q, j);
    }
    json_decref(data);
}

static void qmp_machine_event(struct channel *ch, enum machine_event e, bool guest, const char *reason)
{
    static const char *const names[] = {[MACHINE_STOPPED] = "STOP",
                                        [MACHINE_RESUMED] = "RESUME",
                                        [MACHINE_RESET] = "RESET",
                                        [MACHINE_POWERDOWN] = "POWERDOWN",
                                        [MACHINE_SHUTDOWN] = "SHUTDOWN"};
    struct control *c = ch->ctl;
    for (int i = 0; i < c->n_channels; i++) { /* once, not for each of us */
        if (c->channels[i]->ops != &qmp_ops || !c->channels[i]->here)
            continue;
        if (c->channels[i] != ch)
            return;
        break;
    }
    json_t *data = NULL;
    if (e == MACHINE_RESET || e == MACHINE_SHUTDOWN)
        data = json_pack("{s:b,s:s}", "guest", guest, "reason", reason ? reason : "none");
    qmp_event(c, names[e], data);
}

/* ---- one request ---- */

static const char *type_name(char t)
{
    return t == 's' ? "string" : t == 'i' ? "integer" : t == 'b' ? "boolean" : t == 'a' ? "array" : "object";
}

static bool type_fits(char t, const json_t *j)
{
    return t == 's'   ? json_is_string(j)
           : t == 'i' ? json_is_integer(j)
           : t == 'b' ? json_is_boolean(j)
           : t == 'a' ? json_is_array(j)
                      : json_is_object(j);
}

/* Arguments against the list of parameters. */
static bool check_args(struct qmp_call *q, const char *params)
{
    size_t known = 0;
    for (const char *p = params; *p;) {
        char name[32];
        size_t n = strcspn(p, ":?");
        bool optional = p[n] == '?';
        char type = p[n + 1 + optional];
        snprintf(name, sizeof(name), "%.*s", (int)n, p);
        p += n + 2 + optional;
        p += *p == ',';
        json_t *j = json_object_get(q->args, name);
        known += j != NULL;
        if (!j && !optional) {
            qmp_error(q, "GenericError", "Parameter '%s' is missing", name);
            return false;
        }
        if (j && !type_fits(type, j)) {
            qmp_error(q, "GenericError", "Invalid parameter type for '%s', expected: %s", name,
                      type_name(type));
            return false;
        }
    }
    if (known == json_object_size(q->args))
        return true;
    const char *key;
    json_t *value;
    json_object_foreach(q->args, key, value)
    {
        const char *p = params;
        size_t n = strlen(key);
        while (*p && (strncmp(p, key, n) || (p[n] != ':' && p[n] != '?'))) {
            p += strcspn(p, ",");
            p += *p == ',';
        }
        if (!*p) {
            qmp_error(q, "GenericError", "Parameter '%.100s' is unexpected", key);
            return false;
        }
    }
    return true;
}

static json_t *execute(struct qmp *q, struct qmp_call *call, const char *name)
{
    if (!strcmp(name, "qmp_capabilities")) {
        if (q->negotiated)
            return qmp_error(call, "CommandNotFound",
                             "Capabilities negotiation is already complete, command ignored");
        if (!check_args(call, "enable?:a"))
            return NULL;
        if (json_array_size(json_object_get(call->args, "enable")))
            return qmp_error(call, "GenericError", "there is no capability to enable");
        q->negotiated = true;
        return json_object();
    }
    if (!q->negotiated)
        return qmp_error(call, "CommandNotFound",
                         "Expecting capabilities negotiation with 'qmp_capabilities'");
    for (const struct qmp_command *k = qmp_commands; k->name; k++)
        if (!strcmp(k->name, name))
            return check_args(call, k->params) ? k->fn(call) : NULL;
    return qmp_error(call, "CommandNotFound", "The command %.100s has not been found", name);
}

static void request(struct qmp *q, json_t *j)
{
    json_t *id = json_object_get(j, "id"), *name = json_object_get(j, "execute");
    json_t *args = json_object_get(j, "arguments");
    struct qmp_call call = {.c = q->ch.ctl};
    const char *key;
    json_t *value;
    if (!json_is_object(j)) {
        send_error(q, NULL, "GenericError", "QMP input must be a JSON object");
        return;
    }
    json_object_foreach(j, key, value)
    {
        if (strcmp(key, "id") && strcmp(key, "execute") && strcmp(key, "arguments")) {
            char desc[200];
            snprintf(desc, sizeof(desc), "QMP input member '%.100s' is unexpected", key);
            send_error(q, id, "GenericError", desc);
            return;
        }
    }
    if (!json_is_string(name)) {
        send_error(q, id, "GenericError",
                   name ? "QMP input member 'execute' must be a string" : "QMP input lacks member 'execute'");
        return;
    }
    if (args && !json_is_object(args)) {
        send_error(q, id, "GenericError", "QMP input member 'arguments' must be an object");
        return;
    }
    call.args = args ? json_incref(args) : json_object();
    json_t *result = execute(q, &call, json_string_value(name));
    json_decref(call.args);
    if (!result) {
        send_error(q, id, call.class ? call.class : "GenericError", call.desc);
        return;
    }
    json_t *answer = json_pack("{s:o}", "return", result);
    if (id)
        json_object_set(answer, "id", id);
    send(q, answer);
}

static void message(struct qmp *q)
{
    json_error_t err;
    json_t *j = json_loadb(q->msg, q->len, JSON_REJECT_DUPLICATES, &err);
    q->len = 0;
    if (!j) {
        char desc[JSON_ERROR_TEXT_LENGTH + 32];
        snprintf(desc, sizeof(desc), "JSON parse error, %s", err.text);
        send_error(q, NULL, "GenericError", desc);
        return;
    }
    request(q, j);
    json_decref(j);
}

/* ---- framing ---- */

static void give_up(struct qmp *q, const char *why)
{
    send_error(q, NULL, "GenericError", why);
    q->len = 0;
    q->depth = 0;
    chardev_hangup(q->ch.chr);
}

static void qmp_byte(struct channel *ch, u8 b)
{
    struct qmp *q = (struct qmp *)ch;
    bool opens = b == '{' || b == '[';
    if (!q->depth) {
        if (opens) {
            q->garbage = false;
        } else {
            if (b == '\n')
                q->garbage = false;
            else if (b != ' ' && b != '\t' && b != '\r' && !q->garbage) {
                q->garbage = true;
                send_error(q, NULL, "GenericError", "JSON parse error, an object was expected");
            }
            return;
        }
    }
    if (q->len == MSG_MAX) {
        give_up(q, "JSON parse error, the message is too large");
        return;
    }
    q->msg[q->len++] = (char)b;
    if (q->in_string) {
        if (q->escaped)
            q->escaped = false;
        else if (b == '\\')
            q->escaped = true;
        else if (b == '"')
            q->in_string = false;
        return;
    }
    if (b == '"') {
        q->in_string = true;
    } else if (opens) {
        if (++q->depth > DEPTH_MAX)
            give_up(q, "JSON parse error, the message is nested too deeply");
    } else if ((b == '}' || b == ']') && !--q->depth) {
        message(q);
    }
}

static void qmp_peer(struct channel *ch, bool here)
{
    struct qmp *q = (struct qmp *)ch;
    q->negotiated = q->in_string = q->escaped = q->garbage = false;
    q->len = 0;
    q->depth = 0;
    if (here)
        send(q, json_pack("{s:{s:o,s:[]}}", "QMP", "version", qmp_version(), "capabilities"));
}

static void qmp_free(struct channel *ch)
{
    free(ch);
}

static const struct channel_ops qmp_ops = {
    .byte = qmp_byte, .peer = qmp_peer, .event = qmp_machine_event, .free = qmp_free};

int qmp_create(struct control *c, const char *chardev, bool pretty)
{
    struct qmp *q = calloc(1, sizeof(*q));
    NOVT_ASSERT(q);
    q->pretty = pretty;
    return channel_open(c, &q->ch, &qmp_ops, chardev, "QMP");
}
