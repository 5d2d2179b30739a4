/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The queue of a disk image and the thread that works it off (block.h).
 *
 * A request becomes a job with a buffer of its own. The thread takes jobs in order, carries them out on the
 * image's store, and hands them back through bus_defer(); it never touches a request. So a request can be
 * cancelled at any time without waiting: its job goes on alone and is dropped when it comes back.
 *
 * Invariants:
 *  - job->req and req->job belong to the bus lock; `queue`, `parked`, `stop` to the mutex
 *  - at most MAX_JOBS jobs exist: what comes beyond is refused with -EBUSY, so that a guest which resets its
 *    drive before a slow server answers cannot grow us
 *  - the thread never takes the bus lock, so block_close() may wait for it with the lock held
 *
 * Errors are the guest's to see (by policy), and the user's: one message for each kind and image.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "devices/block_int.h"

#define MAX_JOBS   16
#define ZERO_BLOCK 4096u /* what detect-zeroes looks at as a whole */

struct block_job {
    struct block *k;
    struct block_req *req; /* NULL: cancelled */
    struct block_job *next;
    struct block_job *all_next;
    enum block_op op;
    u64 offset;
    u32 len;
    bool fua, done;
    int result;
    u8 *buf; /* aligned to 4096, BLOCK_MAX long; NULL: the operation has no data */
    struct bus_work work;
};

enum { TOLD_READ = 1, TOLD_WRITE = 2, TOLD_SPACE = 4, TOLD_FLUSH = 8 };

struct block {
    struct bus *b;
    struct store *s;
    char *path;
    struct block_config cfg;
    u64 size;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t more;
    struct block_job *queue, **tail;
    struct block_job *parked; /* ERROR_STOP: it waits for block_retry(); the thread does nothing meanwhile */
    bool stop;
    bool dirty; /* the thread's: written since the last flush */
    u8 told;
    u8 *spare; /* a buffer for the next job; bus lock */
    struct block_job *all;
    int jobs;
    void (*on_stop)(void *opaque);
    void *stop_opaque;
    struct bus_work stop_work;
};

int block_fail(char *err, size_t n, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err, n, fmt, ap);
    va_end(ap);
    return -1;
}

/* ---- the thread ---- */

static void complain(struct block *k, enum block_op op, int err)
{
    bool space = err == -ENOSPC || err == -EDQUOT;
    u8 kind = op == BLOCK_READ ? TOLD_READ : op == BLOCK_FLUSH ? TOLD_FLUSH : space ? TOLD_SPACE : TOLD_WRITE;
    if (k->told & kind)
        return;
    k->told |= kind;
    static const char *const what[] = {"cannot read from", "cannot write to", "cannot flush",
                                       "cannot discard in"};
    const char *hint = space ? "; free space on the host's file system and let the guest try again"
                       : op == BLOCK_READ ? "; look at the host's disk or the server (dmesg)"
                       : op == BLOCK_FLUSH
                           ? "; what the guest wrote since its last flush may not be on the disk"
                           : "; what was written before is safe";
    warn_report("%s '%s': %s: the guest sees an I/O error%s", what[op], k->path, strerror(-err), hint);
}

static bool all_zero(const u8 *p, u64 len)
{
    u64 w;
    memcpy(&w, p, 8); /* most data shows itself at once */
    return !w && !memcmp(p, p + 8, len - 8);
}

/* Zeros into `off`: false if they have to be written. */
static bool leave_hole(struct block *k, u64 off, u64 len)
{
    struct store *s = k->s;
    if (k->cfg.zeroes == ZEROES_UNMAP && k->cfg.discard && off + len <= s->size && s->ops->zero)
        return s->ops->zero(s, off, len, true) == 0;
    return s->ops->is_hole && s->ops->is_hole(s, off, len);
}

/* A write with runs of zeros in it, which may leave holes as they are. */
static int write_runs(struct block *k, const u8 *buf, u64 len, u64 off)
{
    while (len) {
        u64 n = 0;
        bool zero = false;
        while (n < len) {
            u64 part = ZERO_BLOCK - (off + n) % ZERO_BLOCK;
            part = part < len - n ? part : len - n;
            bool z = all_zero(buf + n, part);
            if (n && z != zero)
                break;
            zero = z;
            n += part;
        }
        if (!zero || !leave_hole(k, off, n)) {
            int err = k->s->ops->write(k->s, buf, n, off);
            if (err)
                return err;
        }
        buf += n;
        off += n;
        len -= n;
    }
    return 0;
}

/* Discarded sectors read as zeros: where no hole can be made they are written. */
static int discard(struct block *k, struct block_job *j)
{
    if (!k->cfg.discard)
        return 0;
    int err = k->s->ops->zero ? k->s->ops->zero(k->s, j->offset, j->len, true) : -EOPNOTSUPP;
    if (err != -EOPNOTSUPP)
        return err;
    static const u8 zeros[16 * ZERO_BLOCK] __attribute__((aligned(4096)));
    err = 0;
    for (u64 at = 0; at < j->len && !err; at += sizeof(zeros)) {
        u64 n = j->len - at < sizeof(zeros) ? j->len - at : sizeof(zeros);
        err = write_runs(k, zeros, n, j->offset + at);
    }
    return err;
}

static int flush(struct block *k)
{
    if (k->cfg.cache == CACHE_UNSAFE || k->cfg.read_only)
        return 0;
    int err = k->s->ops->flush(k->s);
    if (!err)
        k->dirty = false;
    return err;
}

static int carry_out(struct block *k, struct block_job *j)
{
    int err = 0;
    if (j->op != BLOCK_FLUSH && (j->offset > k->size || j->len > k->size - j->offset))
        return -EINVAL;
    if ((j->op == BLOCK_WRITE || j->op == BLOCK_DISCARD) && k->cfg.read_only)
        return -EROFS;
    switch (j->op) {
    case BLOCK_READ:
        err = k->s->ops->read(k->s, j->buf, j->len, j->offset);
        break;
    case BLOCK_WRITE:
        k->dirty = true;
        if (k->cfg.zeroes == ZEROES_WRITE || !j->len)
            err = k->s->ops->write(k->s, j->buf, j->len, j->offset);
        else
            err = write_runs(k, j->buf, j->len, j->offset);
        if (!err && (j->fua || !block_write_cache(k)))
            err = flush(k);
        break;
    case BLOCK_FLUSH:
        err = flush(k);
        break;
    case BLOCK_DISCARD:
        k->dirty = true;
        err = discard(k, j);
        break;
    }
    return err;
}

/* What a host error becomes; true: the job waits for block_retry(). */
static bool park(struct block *k, struct block_job *j)
{
    enum block_policy p = j->op == BLOCK_READ ? k->cfg.rerror : k->cfg.werror;
    bool space = j->result == -ENOSPC || j->result == -EDQUOT;
    if (p == ERROR_IGNORE)
        j->result = 0;
    if (!k->on_stop || !(p == ERROR_STOP || (p == ERROR_ENOSPC && space)))
        return false;
    warn_report("'%s': %s: the machine stops; remove the cause and continue it (cont)", k->path,
                strerror(-j->result));
    return true;
}

static void *worker(void *arg)
{
    struct block *k = arg;
    pthread_setname_np(pthread_self(), "novt-block");
    pthread_mutex_lock(&k->mutex);
    for (;;) {
        while ((!k->queue || k->parked) && !k->stop)
            pthread_cond_wait(&k->more, &k->mutex);
        struct block_job *j = k->queue;
        if (!j)
            break;
        pthread_mutex_unlock(&k->mutex);
        j->result = carry_out(k, j);
        bool own = j->result == -EINVAL || j->result == -EROFS, wait = false;
        if (j->result && !own && !(wait = park(k, j)) && j->result)
            complain(k, j->op, j->result);
        pthread_mutex_lock(&k->mutex);
        if (wait && !k->stop) {
            k->parked = j;
            bus_defer(k->b, &k->stop_work);
            continue;
        }
        k->queue = j->next;
        if (!k->queue)
            k->tail = &k->queue;
        j->done = true;
        bus_defer(k->b, &j->work);
    }
    pthread_mutex_unlock(&k->mutex);
    int err = k->dirty ? flush(k) : 0;
    if (err)
        complain(k, BLOCK_FLUSH, err);
    return NULL;
}

/* ---- requests ---- */

static void free_job(struct block_job *j)
{
    struct block *k = j->k;
    struct block_job **p = &k->all;
    while (*p != j)
        p = &(*p)->all_next;
    *p = j->all_next;
    k->jobs--;
    if (!k->spare)
        k->spare = j->buf;
    else
        free(j->buf);
    free(j);
}

static void hand_back(void *opaque)
{
    struct block_job *j = opaque;
    struct block_req *r = j->req;
    int result = j->result;
    if (r) {
        if (j->op == BLOCK_READ && !result)
            memcpy(r->buf, j->buf, j->len);
        r->pending = false;
        r->job = NULL;
    }
    free_job(j);
    if (r)
        r->done(r->opaque, result);
}

static void refuse(void *opaque)
{
    struct block_req *r = opaque;
    r->pending = false;
    r->done(r->opaque, -EBUSY);
}

static struct block_job *new_job(struct block *k, struct block_req *r)
{
    bool data = r->op == BLOCK_READ || r->op == BLOCK_WRITE;
    if (k->jobs == MAX_JOBS)
        return NULL;
    struct block_job *j = dev_alloc(sizeof(*j));
    *j = (struct block_job){
        .k = k, .req = r, .op = r->op, .offset = r->offset, .len = r->len, .fua = r->fua, .all_next = k->all};
    j->work = (struct bus_work){.fn = hand_back, .opaque = j};
    if (data) {
        NOVT_ASSERT(r->len <= BLOCK_MAX);
        j->buf = k->spare ? k->spare : aligned_alloc(4096, BLOCK_MAX);
        k->spare = NULL;
        NOVT_ASSERT(j->buf);
        if (r->op == BLOCK_WRITE)
            memcpy(j->buf, r->buf, r->len);
    }
    k->all = j;
    k->jobs++;
    return j;
}

void block_submit(struct block *k, struct block_req *r)
{
    NOVT_ASSERT(!r->pending);
    r->blk = k;
    r->pending = true;
    r->job = new_job(k, r);
    if (!r->job) {
        r->refused = (struct bus_work){.fn = refuse, .opaque = r};
        bus_defer(k->b, &r->refused);
        return;
    }
    pthread_mutex_lock(&k->mutex);
    *k->tail = r->job;
    k->tail = &r->job->next;
    pthread_cond_signal(&k->more);
    pthread_mutex_unlock(&k->mutex);
}

void block_cancel(struct block_req *r)
{
    if (!r->pending)
        return;
    if (r->job)
        r->job->req = NULL;
    else
        bus_cancel(r->blk->b, &r->refused);
    r->job = NULL;
    r->pending = false;
}

static void tell_stop(void *opaque)
{
    struct block *k = opaque;
    if (k->on_stop)
        k->on_stop(k->stop_opaque);
}

void block_on_stop(struct block *k, void (*fn)(void *opaque), void *opaque)
{
    k->on_stop = fn;
    k->stop_opaque = opaque;
}

void block_retry(struct block *k)
{
    pthread_mutex_lock(&k->mutex);
    k->parked = NULL;
    pthread_cond_signal(&k->more);
    pthread_mutex_unlock(&k->mutex);
}

/* ---- life ---- */

static int start(struct block *k)
{
    pthread_mutex_init(&k->mutex, NULL);
    pthread_cond_init(&k->more, NULL);
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = pthread_create(&k->thread, NULL, worker, k);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return err;
}

struct block *block_open(struct bus *b, const struct block_config *cfg, char *err, size_t n)
{
    struct store *s = nbd_is_uri(cfg->path) ? nbd_open(cfg, err, n) : file_open(cfg, err, n);
    if (!s)
        return NULL;
    if (cfg->snapshot && !cfg->read_only) {
        struct store *over = snapshot_open(s, cfg->path, err, n);
        if (!over) {
            s->ops->close(s);
            return NULL;
        }
        s = over;
    }
    struct block *k = dev_alloc(sizeof(*k));
    k->b = b;
    k->s = s;
    k->cfg = *cfg;
    k->path = strdup(cfg->path);
    k->cfg.path = k->path;
    k->size = ALIGN_UP(s->size, (u64)SECTOR);
    k->tail = &k->queue;
    k->stop_work = (struct bus_work){.fn = tell_stop, .opaque = k};
    if (k->cfg.snapshot)
        k->cfg.discard = true; /* it only makes the overlay smaller */
    int e = start(k);
    if (!e)
        return k;
    block_fail(err, n, "cannot start a thread for '%s': %s", cfg->path, strerror(e));
    s->ops->close(s);
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
    if (k->s->ops->hurry)
        k->s->ops->hurry(k->s);
    pthread_join(k->thread, NULL);
    bus_cancel(k->b, &k->stop_work);
    while (k->all) {
        bus_cancel(k->b, &k->all->work);
        if (k->all->req) {
            k->all->req->pending = false;
            k->all->req->job = NULL;
        }
        free_job(k->all);
    }
    k->s->ops->close(k->s);
    pthread_mutex_destroy(&k->mutex);
    pthread_cond_destroy(&k->more);
    free(k->spare);
    free(k->path);
    free(k);
}

u64 block_size(const struct block *k)
{
    return k->size;
}

bool block_read_only(const struct block *k)
{
    return k->cfg.read_only;
}

bool block_discards(const struct block *k)
{
    return k->cfg.discard && !k->cfg.read_only;
}

bool block_write_cache(const struct block *k)
{
    return k->cfg.cache != CACHE_WRITETHROUGH && k->cfg.cache != CACHE_DIRECTSYNC;
}

const char *block_path(const struct block *k)
{
    return k->path;
}
