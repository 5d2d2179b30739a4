/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A snapshot: writes go to a temporary file that is forgotten at the end, the image stays as it is.
 *
 * The overlay is an unlinked file in $TMPDIR (/var/tmp), as large as the image and sparse, with a bitmap of
 * the 4 KiB clusters that live there. A write to a part of a cluster copies the rest of it first. A hole in
 * the overlay reads as zeros, so a discarded cluster takes no space there.
 *
 * Nothing of it outlives the process, so there is nothing to flush.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/block_int.h"

#define CLUSTER 4096u

struct snapshot {
    struct store s;
    struct store *base;
    int fd;
    u8 *map; /* clusters in the overlay; one bit more than there are, always 0 */
};

static struct snapshot *snapshot_of(struct store *s)
{
    return (struct snapshot *)s;
}

static bool in_overlay(const struct snapshot *p, u64 cluster)
{
    return p->map[cluster >> 3] >> (cluster & 7) & 1;
}

static int snapshot_read(struct store *s, u8 *buf, u64 len, u64 off)
{
    struct snapshot *p = snapshot_of(s);
    while (len) {
        u64 c = off / CLUSTER, n = CLUSTER - off % CLUSTER;
        bool over = in_overlay(p, c);
        while (n < len && in_overlay(p, c + 1) == over) {
            c++;
            n += CLUSTER;
        }
        n = n < len ? n : len;
        int err = over ? fd_read(p->fd, buf, n, off) : p->base->ops->read(p->base, buf, n, off);
        if (err)
            return err;
        buf += n;
        off += n;
        len -= n;
    }
    return 0;
}

/* Copies a cluster into the overlay, so that a part of it can be written. */
static int copy_up(struct snapshot *p, u64 cluster)
{
    _Alignas(4096) u8 whole[CLUSTER];
    u64 at = cluster * CLUSTER, end = ALIGN_UP(p->s.size, (u64)SECTOR), n = CLUSTER;
    if (in_overlay(p, cluster))
        return 0;
    if (n > end - at)
        n = end - at;
    int err = p->base->ops->read(p->base, whole, n, at);
    err = err ? err : fd_write(p->fd, whole, n, at);
    if (!err)
        p->map[cluster >> 3] |= 1u << (cluster & 7);
    return err;
}

/* The clusters that a stretch covers in part, which are its first and last, are copied; then fn's part. */
static int prepare(struct snapshot *p, u64 len, u64 off)
{
    u64 end = off + len;
    int err = off % CLUSTER ? copy_up(p, off / CLUSTER) : 0;
    if (!err && end % CLUSTER && end < p->s.size)
        err = copy_up(p, end / CLUSTER);
    return err;
}

static void mark(struct snapshot *p, u64 len, u64 off)
{
    for (u64 c = off / CLUSTER; c <= (off + len - 1) / CLUSTER; c++)
        p->map[c >> 3] |= 1u << (c & 7);
}

static int snapshot_write(struct store *s, const u8 *buf, u64 len, u64 off)
{
    struct snapshot *p = snapshot_of(s);
    int err = prepare(p, len, off);
    err = err ? err : fd_write(p->fd, buf, len, off);
    if (!err)
        mark(p, len, off);
    return err;
}

static int snapshot_flush(struct store *s)
{
    return 0;
}

static int snapshot_zero(struct store *s, u64 off, u64 len, bool unmap)
{
    struct snapshot *p = snapshot_of(s);
    int err = prepare(p, len, off);
    if (!err && fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len))
        err = errno == ENOSYS || errno == ENODEV ? -EOPNOTSUPP : -errno;
    if (!err)
        mark(p, len, off);
    return err;
}

static void snapshot_hurry(struct store *s)
{
    struct store *base = snapshot_of(s)->base;
    if (base->ops->hurry)
        base->ops->hurry(base);
}

static void snapshot_close(struct store *s)
{
    struct snapshot *p = snapshot_of(s);
    p->base->ops->close(p->base);
    close(p->fd);
    free(p->map);
    free(p);
}

static const struct store_ops snapshot_ops = {.read = snapshot_read,
                                              .write = snapshot_write,
                                              .flush = snapshot_flush,
                                              .zero = snapshot_zero,
                                              .hurry = snapshot_hurry,
                                              .close = snapshot_close};

struct store *snapshot_open(struct store *base, const char *path, char *err, size_t n)
{
    const char *dir = getenv("TMPDIR");
    char name[4096];
    if (!dir || !*dir)
        dir = "/var/tmp";
    snprintf(name, sizeof(name), "%s/novt-snapshot-XXXXXX", dir);
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0) {
        block_fail(
            err, n,
            "cannot make a temporary file for the snapshot of '%s' in %s: %s (TMPDIR chooses the folder)",
            path, dir, strerror(errno));
        return NULL;
    }
    unlink(name);
    struct snapshot *p = dev_alloc(sizeof(*p));
    p->s = (struct store){.ops = &snapshot_ops, .size = base->size};
    p->base = base;
    p->fd = fd;
    p->map = calloc(1, base->size / CLUSTER / 8 + 2);
    if (p->map)
        return &p->s;
    block_fail(err, n, "no host memory for a snapshot of '%s'", path);
    close(fd);
    free(p);
    return NULL;
}
