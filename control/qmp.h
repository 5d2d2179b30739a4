/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between QMP's framing (qmp.c) and its commands (qmp_commands.c). */
#ifndef NOVT_CONTROL_QMP_H
#define NOVT_CONTROL_QMP_H

#include <jansson.h>
#include "control/internal.h"

struct qmp_call {
    struct control *c;
    json_t *args;      /* an object; checked against the command's parameters */
    const char *class; /* of the error */
    char desc[512];    /* of the error; "": none */
};

struct qmp_command {
    const char *name;
    /* Parameters: "name:t,name?:t": s string, i integer, b boolean, a array, o object; ?: may be missing. */
    const char *params;
    json_t *(*fn)(struct qmp_call *q); /* a new reference, or NULL with q->desc set */
};
extern const struct qmp_command qmp_commands[]; /* ends with name = NULL */

/* Sets the error and returns NULL. */
json_t *qmp_error(struct qmp_call *q, const char *class, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Tells every negotiated peer; takes over data (may be NULL). */
void qmp_event(struct control *c, const char *name, json_t *data);
json_t *qmp_version(void);

#endif
