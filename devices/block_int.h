/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the queue and its thread (block.c) and what holds an image's bytes: files (block_file.c), NBD
 * exports (block_nbd.c), and the overlay of a snapshot over either (block_snapshot.c).
 *
 * A store's functions are called by the image's thread only, one at a time, except size and flags, which do
 * not change after opening, and hurry(). They return 0 or a negative errno. Reads beyond the end of an odd
 * tail give zeros.
 */
#ifndef NOVT_DEVICES_BLOCK_INT_H
#define NOVT_DEVICES_BLOCK_INT_H

#include "devices/block.h"
#include "devices/internal.h"

struct store;

struct store_ops {
    int (*read)(struct store *s, u8 *buf, u64 len, u64 off);
    int (*write)(struct store *s, const u8 *buf, u64 len, u64 off);
    int (*flush)(struct store *s);
    /* Makes a stretch read as zeros, giving its space back if unmap is set. -EOPNOTSUPP: cannot. */
    int (*zero)(struct store *s, u64 off, u64 len, bool unmap);
    /* True if the stretch reads as zeros and takes no space. NULL: unknown. */
    bool (*is_hole)(struct store *s, u64 off, u64 len);
    /* Any thread: end what waits for others soon. NULL: nothing waits. */
    void (*hurry)(struct store *s);
    void (*close)(struct store *s);
};

struct store {
    const struct store_ops *ops;
    u64 size; /* bytes; the last sector may be partial */
};

/* Each opens its kind, or returns NULL with a message in err. */
struct store *file_open(const struct block_config *cfg, char *err, size_t n);
struct store *nbd_open(const struct block_config *cfg, char *err, size_t n);
struct store *snapshot_open(struct store *base, const char *path, char *err, size_t n);
bool nbd_is_uri(const char *path);

/* Plain descriptors: all of it, or an error; reading past the end gives zeros. */
int fd_read(int fd, u8 *buf, u64 len, u64 off);
int fd_write(int fd, const u8 *buf, u64 len, u64 off);
/* Always -1, after printing into err. */
int block_fail(char *err, size_t n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
