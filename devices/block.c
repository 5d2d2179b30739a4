/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw images behind block.h.
 *
 * Each image has one worker thread with a queue. The worker touches the request's buffer and the file only;
 * when it is done it marks the request finished and hands it back through bus_defer(), both under the queue
 * mutex, so that block_cancel() finds a finished request either already handed back or in the work queue.
 *
 * Locking order: bus lock, then the queue mutex, then the work queue's. The worker never takes the bus lock,
 * so block_cancel() and block_close() may wait for it with the bus lock held.
 *
 * Image locks are open file description locks over the whole file: shared for read-only and snapshot use,
 * exclusive for writing. They conflict with the byte-range locks that QEMU takes, in both directions.
 *
 * A snapshot's overlay is an unlinked temporary file as large as the image, sparse, and a bitmap of the 4 KiB
 * clusters that live there. A write to a part of a cluster copies the rest first.
 *
 * Errors are the guest's to see (the request fails) and the user's (one message for each kind and image).
 */
#include "devices/block.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "devices/internal.h"

#define CLUSTER 4096u

struct block {
    struct bus *b;
    char *path;
    int fd;
    u64 size;
    bool read_only, is_device;
    int overlay; /* -1: none */
    u8 *map;     /* clusters in the overlay */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t more, finished;
    struct block_req *queue, **tail;
    bool stop;
    bool told_read, told_write;
};

/* ---- plain files ---- */

static int read_all(int fd, u8 *buf, u64 len, u64 off)
{
    while (len) {
        ssize_t n = pread(fd, buf, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (!n) { /* the odd tail of a file, or one that was cut meanwhile */
            memset(buf, 0, len);
            return 0;
        }
        buf += n;
        off += (u64)n;
        len -= (u64)n;
    }
    return 0;
}

static int write_all(int fd, const u8 *buf, u64 len, u64 off)
{
    while (len) {
        ssize_t n = pwrite(fd, buf, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (!n)
            return -EIO;
        buf += n;
        off += (u64)n;
        len -= (u64)n;
    }
    return 0;
}

/* ---- overlay ---- */

static bool in_overlay(const struct block *k, u64 cluster)
{
    return k->map[cluster >> 3] >> (cluster & 7) & 1;
}

static int overlay_read(struct block *k, u8 *buf, u64 len, u64 off)
{
    while (len) {
        u64 c = off / CLUSTER, n = CLUSTER - off % CLUSTER;
        bool over = in_overlay(k, c);
        while (n < len && in_overlay(k, c + 1) == over) {
            c++;
            n += CLUSTER;
        }
        if (n > len)
            n = len;
        int err = read_all(over ? k->overlay : k->fd, buf, n, off);
        if (err)
            return err;
        buf += n;
        off += n;
        len -= n;
    }
    return 0;
}

static int overlay_write(struct block *k, const u8 *buf, u64 len, u64 off)
{
    while (len) {
        u64 c = off / CLUSTER, in = off % CLUSTER, n = CLUSTER - in;
        u8 whole[CLUSTER];
        if (n > len)
            n = len;
        int err = 0;
        if (n == CLUSTER || in_overlay(k, c)) {
            err = write_all(k->overlay, buf, n, off);
        } else {
            err = read_all(k->fd, whole, CLUSTER, c * CLUSTER);
            memcpy(whole + in, buf, n);
            err = err ? err : write_all(k->overlay, whole, CLUSTER, c * CLUSTER);
        }
        if (err)
            return err;
        k->map[c >> 3] |= 1u << (c & 7);
        buf += n;
        off += n;
        len -= n;
    }
    return 0;
}

/* Discarded sectors read as zeros here; holes stay holes. */
static int discard(struct block *k, u64 off, u64 len)
{
    if (k->overlay >= 0) { /* nothing of it stays anyway, but it must read as zeros */
        static const u8 zeros[CLUSTER];
        while (len) {
            u64 n = len < CLUSTER ? len : CLUSTER;
            int err = overlay_write(k, zeros, n, off);
            if (err)
                return err;
            off += n;
            len -= n;
        }
        return 0;
    }
    if (fallocate(k->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) == 0)
        return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno; /* discarding is advice */
}

/* ---- worker ---- */

static void complain(struct block *k, bool write, int err)
{
    bool *told = write ? &k->told_write : &k->told_read;
    if (!*told)
        error_report("cannot %s '%s': %s (the guest sees an I/O error)", write ? "write to" : "read from",
                     k->path, strerror(-err));
    *told = true;
}

static int carry_out(struct block *k, const struct block_req *r)
{
    int err = 0;
    if (r->op != BLOCK_FLUSH && (r->offset > k->size || r->len > k->size - r->offset))
        return -EIO;
    if ((r->op == BLOCK_WRITE || r->op == BLOCK_DISCARD) && k->read_only)
        return -EROFS;
    switch (r->op) {
    case BLOCK_READ:
        err = k->overlay >= 0 ? overlay_read(k, r->buf, r->len, r->offset)
                              : read_all(k->fd, r->buf, r->len, r->offset);
        break;
    case BLOCK_WRITE:
        err = k->overlay >= 0 ? overlay_write(k, r->buf, r->len, r->offset)
                              : write_all(k->fd, r->buf, r->len, r->offset);
        break;
    case BLOCK_FLUSH:
        if (k->overlay < 0 && !k->read_only && fdatasync(k->fd))
            err = -errno;
        break;
    case BLOCK_DISCARD:
        err = discard(k, r->offset, r->len);
        break;
    }
    if (err)
        complain(k, r->op != BLOCK_READ, err);
    return err;
}

static void *worker(void *arg)
{
    struct block *k = arg;
    pthread_setname_np(pthread_self(), "novt-block");
    pthread_mutex_lock(&k->mutex);
    for (;;) {
        while (!k->queue && !k->stop)
            pthread_cond_wait(&k->more, &k->mutex);
        struct block_req *r = k->queue;
        if (!r)
            break;
        pthread_mutex_unlock(&k->mutex);
        int result = carry_out(k, r);
        pthread_mutex_lock(&k->mutex);
        k->queue = r->next;
        if (!k->queue)
            k->tail = &k->queue;
        r->result = result;
        r->finished = true;
        bus_defer(k->b, &r->work);
        pthread_cond_broadcast(&k->finished);
    }
    pthread_mutex_unlock(&k->mutex);
    return NULL;
}

static void hand_back(void *opaque)
{
    struct block_req *r = opaque;
    r->pending = false;
    r->done(r->opaque, r->result);
}

void block_submit(struct block *k, struct block_req *r)
{
    NOVT_ASSERT(!r->pending);
    r->work = (struct bus_work){.fn = hand_back, .opaque = r};
    r->blk = k;
    r->next = NULL;
    r->pending = true;
    r->finished = false;
    pthread_mutex_lock(&k->mutex);
    *k->tail = r;
    k->tail = &r->next;
    pthread_cond_signal(&k->more);
    pthread_mutex_unlock(&k->mutex);
}

void block_cancel(struct block_req *r)
{
    if (!r->pending)
        return;
    struct block *k = r->blk;
    pthread_mutex_lock(&k->mutex);
    while (!r->finished)
        pthread_cond_wait(&k->finished, &k->mutex);
    pthread_mutex_unlock(&k->mutex);
    r->pending = false;
    bus_cancel(k->b, &r->work);
}

/* ---- life ---- */

static int lock_image(int fd, bool shared)
{
    struct flock l = {.l_type = shared ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &l) == 0)
        return 0;
    return errno == EAGAIN || errno == EACCES ? -EBUSY
                                              : 0; /* file systems without locks are no reason to refuse */
}

static int open_overlay(struct block *k)
{
    const char *dir = getenv("TMPDIR");
    char name[4096];
    snprintf(name, sizeof(name), "%s/novt-snapshot-XXXXXX", dir && *dir ? dir : "/var/tmp");
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    unlink(name);
    k->map = calloc(1, k->size / CLUSTER / 8 + 2);
    if (!k->map) {
        close(fd);
        return -ENOMEM;
    }
    k->overlay = fd;
    return 0;
}

static int fail(char *err, size_t n, const char *fmt, const char *path, const char *why)
{
    snprintf(err, n, fmt, path, why);
    return -1;
}

static int open_file(struct block *k, const struct block_config *cfg, char *err, size_t n)
{
    bool shared = cfg->read_only || cfg->snapshot;
    struct stat st;
    k->fd = open(cfg->path, (shared ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (k->fd < 0 && !shared && (errno == EACCES || errno == EROFS || errno == EPERM))
        return fail(err, n, "cannot write to '%s': %s (readonly=on or -snapshot leave it alone)", cfg->path,
                    strerror(errno));
    if (k->fd < 0)
        return fail(err, n, "cannot open '%s': %s", cfg->path, strerror(errno));
    if (fstat(k->fd, &st))
        return fail(err, n, "cannot look at '%s': %s", cfg->path, strerror(errno));
    if (S_ISBLK(st.st_mode)) {
        u64 bytes = 0;
        if (ioctl(k->fd, BLKGETSIZE64, &bytes))
            return fail(err, n, "cannot get the size of '%s': %s", cfg->path, strerror(errno));
        k->size = bytes;
        k->is_device = true;
    } else if (S_ISREG(st.st_mode)) {
        k->size = (u64)st.st_size;
    } else {
        return fail(err, n, "'%s' is no disk image%s", cfg->path,
                    S_ISDIR(st.st_mode) ? " but a directory" : "");
    }
    if (!k->size)
        return fail(err, n, "'%s' is empty: %s", cfg->path, "give it a size, such as with truncate -s 1G");
    u8 magic[4];
    if (read_all(k->fd, magic, 4, 0) == 0 && !memcmp(magic, "QFI\xfb", 4))
        return fail(err, n, "'%s' is a qcow2 image: %s", cfg->path,
                    "convert it with qemu-img convert -O raw");
    k->size = ALIGN_UP(k->size, (u64)SECTOR);
    if (lock_image(k->fd, shared))
        return fail(err, n, "'%s' is in use by another machine%s", cfg->path,
                    shared ? " that writes to it" : " (several may share it with readonly=on or -snapshot)");
    return 0;
}

struct block *block_open(struct bus *b, const struct block_config *cfg, char *err, size_t n)
{
    struct block *k = dev_alloc(sizeof(*k));
    k->b = b;
    k->fd = k->overlay = -1;
    k->read_only = cfg->read_only;
    k->path = strdup(cfg->path);
    k->tail = &k->queue;
    int bad = open_file(k, cfg, err, n), e = 0;
    if (!bad && cfg->snapshot && !cfg->read_only && (e = open_overlay(k)))
        bad = fail(err, n, "cannot make a temporary file for the snapshot of '%s': %s", cfg->path,
                   strerror(-e));
    if (!bad) {
        pthread_mutex_init(&k->mutex, NULL);
        pthread_cond_init(&k->more, NULL);
        pthread_cond_init(&k->finished, NULL);
        sigset_t all, old;
        sigfillset(&all);
        sigdelset(&all, SIGSEGV);
        sigdelset(&all, SIGBUS);
        sigdelset(&all, SIGABRT);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        e = pthread_create(&k->thread, NULL, worker, k);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (e)
            bad = fail(err, n, "cannot start a thread for '%s': %s", cfg->path, strerror(e));
    }
    if (!bad)
        return k;
    if (k->fd >= 0)
        close(k->fd);
    if (k->overlay >= 0)
        close(k->overlay);
    free(k->map);
    free(k->path);
    free(k);
    return NULL;
}

void block_close(struct block *k)
{
    if (!k)
        return;
    pthread_mutex_lock(&k->mutex);
    k->stop = true;
    pthread_cond_signal(&k->more);
    pthread_mutex_unlock(&k->mutex);
    pthread_join(k->thread, NULL);
    pthread_mutex_destroy(&k->mutex);
    pthread_cond_destroy(&k->more);
    pthread_cond_destroy(&k->finished);
    close(k->fd);
    if (k->overlay >= 0)
        close(k->overlay);
    free(k->map);
    free(k->path);
    free(k);
}

u64 block_size(const struct block *k)
{
    return k->size;
}

bool block_read_only(const struct block *k)
{
    return k->read_only;
}

const char *block_path(const struct block *k)
{
    return k->path;
}
