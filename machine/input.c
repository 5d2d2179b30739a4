/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The queue of inputs and its file.
 *
 * The file is little-endian, fixed 32-byte records behind a 64-byte header that names the machine; it is
 * trusted no further than that a damaged one must not crash: every value is checked against what the CPU asks
 * for.
 */
#include "machine/input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

_Static_assert(sizeof(struct input) == 32, "file format");

static const char magic[8] = "novtlog1";

int inputs_init(struct inputs *q)
{
    memset(q, 0, sizeof(*q));
    q->size = 4096;
    q->ring = malloc(q->size * sizeof(*q->ring));
    return q->ring ? 0 : -ENOMEM;
}

void inputs_done(struct inputs *q)
{
    if (q->file)
        fclose(q->file);
    free(q->ring);
    memset(q, 0, sizeof(*q));
}

int inputs_record(struct inputs *q, const char *path, const char *what)
{
    char head[64] = {0};
    memcpy(head, magic, sizeof(magic));
    strncpy(head + 8, what, sizeof(head) - 9);
    q->file = fopen(path, "wbe");
    if (!q->file || fwrite(head, sizeof(head), 1, q->file) != 1)
        return errno ? -errno : -EIO;
    return 0;
}

int inputs_replay(struct inputs *q, const char *path, const char *what)
{
    char head[64];
    q->file = fopen(path, "rbe");
    if (!q->file)
        return -errno;
    q->reading = true;
    if (fread(head, sizeof(head), 1, q->file) != 1 || memcmp(head, magic, sizeof(magic)) || head[63] ||
        strncmp(head + 8, what, 55))
        return -EPROTO;
    return 0;
}

static void grow(struct inputs *q)
{
    struct input *ring = malloc(2 * q->size * sizeof(*ring));
    NOVT_ASSERT(ring);
    for (u64 i = q->head; i < q->tail; i++)
        ring[i & (2 * q->size - 1)] = q->ring[i & (q->size - 1)];
    free(q->ring);
    q->ring = ring;
    q->size *= 2;
}

static void push(struct inputs *q, const struct input *in)
{
    if (q->tail - q->head == q->size)
        grow(q);
    q->ring[q->tail++ & (q->size - 1)] = *in;
}

void inputs_put(struct inputs *q, const struct input *in)
{
    if (q->file && fwrite(in, sizeof(*in), 1, q->file) != 1) {
        warn_report("--record: the log cannot be written (%s): recording ends", strerror(errno));
        fclose(q->file);
        q->file = NULL;
    }
    push(q, in);
}

bool inputs_fill(struct inputs *q)
{
    struct input in;
    if (!q->reading || fread(&in, sizeof(in), 1, q->file) != 1)
        return false;
    push(q, &in);
    return true;
}

const struct input *inputs_ahead(struct inputs *q)
{
    for (u64 i = q->head;; i++) {
        if (i == q->tail && !inputs_fill(q))
            return NULL;
        if (inputs_stop(q->ring[i & (q->size - 1)].kind))
            return &q->ring[i & (q->size - 1)];
    }
}
