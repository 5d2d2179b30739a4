/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images: raw files and NBD exports, read and written by a thread of their own, so that neither the vCPU
 * nor the event thread waits for the host's disk or a server.
 *
 * A request is embedded in its owner. block_submit(), block_cancel() and block_close() are called with the
 * bus lock held; `done` is called on the vCPU thread (bus_defer()) with the lock held, once, unless the
 * request was cancelled. The image's thread works on copies: `buf` is read in block_submit() and filled just
 * before `done`, so it belongs to the owner again as soon as a request is cancelled. Offsets and lengths are
 * in bytes and multiples of 512. Requests of one image are carried out in the order of submission.
 */
#ifndef NOVT_DEVICES_BLOCK_H
#define NOVT_DEVICES_BLOCK_H

#include "devices/devices.h"

#define SECTOR    512u
#define BLOCK_MAX (256u * 1024u) /* bytes of a read or write */

struct block;

/* What stands between a write and the host's disk; QEMU's cache=. */
enum block_cache {
    CACHE_WRITEBACK,    /* the host's page cache; the guest's flush is fdatasync() */
    CACHE_NONE,         /* the same around the page cache (O_DIRECT) */
    CACHE_WRITETHROUGH, /* every write is on the disk before the guest hears of it */
    CACHE_DIRECTSYNC,   /* the same around the page cache */
    CACHE_UNSAFE,       /* flushes are ignored */
};

enum block_zeroes {
    ZEROES_HOLES, /* zeros written into a hole leave the hole */
    ZEROES_WRITE, /* zeros are written like everything else */
    ZEROES_UNMAP, /* zeros make holes, if `discard` is set */
};

/* What a host error becomes; QEMU's rerror= and werror=. */
enum block_policy {
    ERROR_REPORT, /* the guest sees an I/O error */
    ERROR_IGNORE, /* the guest sees success */
    ERROR_STOP,   /* the request waits until block_retry() */
    ERROR_ENOSPC, /* stop if the host is out of space, else report */
};

struct block_config {
    const char *path; /* a file, a block device, nbd:..., nbd://..., nbd+unix://... */
    bool read_only;
    bool snapshot; /* writes go to a temporary file that is forgotten at the end */
    bool discard;  /* the guest's TRIM makes holes */
    enum block_cache cache;
    enum block_zeroes zeroes;
    enum block_policy rerror, werror;
};

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD };

struct block_job;

struct block_req {
    enum block_op op;
    u64 offset;
    u32 len;  /* at most BLOCK_MAX, for discards any */
    bool fua; /* a write is complete when it is on the disk */
    u8 *buf;
    void (*done)(void *opaque, int result); /* 0 or a negative errno */
    void *opaque;
    /* private */
    struct block *blk;
    struct block_job *job;
    struct bus_work refused; /* hands a request back that found the queue full */
    bool pending;
};

/* Opens and locks an image. On failure returns NULL with a message for the user in err. */
struct block *block_open(struct bus *b, const struct block_config *cfg, char *err, size_t err_size);
/* Waits for what was written to reach the image (a silent server: seconds), flushes, closes. */
void block_close(struct block *k);
/* Bytes, a multiple of 512: an odd tail of the file counts as a sector. */
u64 block_size(const struct block *k);
bool block_read_only(const struct block *k);
bool block_discards(const struct block *k);    /* TRIM has an effect, and trimmed sectors read as zeros */
bool block_write_cache(const struct block *k); /* false: writes are on the disk when they are complete */
const char *block_path(const struct block *k);
void block_submit(struct block *k, struct block_req *r);
/* `done` will not be called. A write may or may not still happen, before anything that is submitted later.
 * No-op for an idle request. Does not wait. */
void block_cancel(struct block_req *r);
/* ERROR_STOP: fn is called when a request was parked, on the vCPU thread with the lock held; without one,
 * errors are reported to the guest. block_retry() runs parked requests again. */
void block_on_stop(struct block *k, void (*fn)(void *opaque), void *opaque);
void block_retry(struct block *k);

#endif
