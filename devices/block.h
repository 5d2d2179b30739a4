/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images: raw files read and written by a thread of their own, so that the vCPU never waits for the
 * host's disk.
 *
 * A request is embedded in its owner. block_submit() and block_cancel() are called with the bus lock held;
 * `done` is called on the vCPU thread (bus_defer()) with the lock held, once, unless the request was
 * cancelled. Offsets and lengths are in bytes and multiples of 512. One request of a device is in flight at a
 * time or several: they are carried out in the order of submission.
 */
#ifndef NOVT_DEVICES_BLOCK_H
#define NOVT_DEVICES_BLOCK_H

#include "devices/devices.h"

#define SECTOR 512u

struct block;

struct block_config {
    const char *path;
    bool read_only;
    bool snapshot; /* writes go to a temporary file that is forgotten at the end */
};

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD };

struct block_req {
    enum block_op op;
    u64 offset;
    u32 len;
    u8 *buf;
    void (*done)(void *opaque, int result); /* 0 or a negative errno */
    void *opaque;
    /* private */
    struct bus_work work;
    struct block_req *next;
    struct block *blk;
    int result;
    bool pending, finished;
};

/* Opens and locks an image. On failure returns NULL with a message for the user in err. */
struct block *block_open(struct bus *b, const struct block_config *cfg, char *err, size_t err_size);
void block_close(struct block *k); /* waits for requests in flight; flushes; the bus lock may be held */
u64 block_size(
    const struct block *k); /* bytes, a multiple of 512; an odd tail of the file counts as a sector */
bool block_read_only(const struct block *k);
const char *block_path(const struct block *k);
void block_submit(struct block *k, struct block_req *r);
/* Waits until the worker is done with r; `done` will not be called. No-op for an idle request. */
void block_cancel(struct block_req *r);

#endif
