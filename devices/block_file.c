/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw image files and the host's block devices.
 *
 * Locks are open file description locks, which vanish with the process, and they keep QEMU's convention (its
 * qemu-img, qemu-nbd and machines check it as well): a lock on byte 100 + n says "I do n to this image", one
 * on byte 200 + n "nobody else may", where n is 0 for reading, 1 for writing, 3 for changing the size. All
 * are shared locks; the conflict is found by asking whether anybody has the opposite byte, after one's own
 * are set, so of two that come at once at least one sees the other. Any number may read, one may write and
 * none beside.
 *
 * A file that is no multiple of 512 bytes long has a last sector whose end reads as zeros; the file grows to
 * the multiple only when the guest writes that sector.
 *
 * fdatasync() reports an error once, and the pages that were lost count as clean afterwards: so after one
 * failure every later flush fails as well, because it could not keep its promise.
 *
 * O_DIRECT (cache=none) wants aligned requests: the buffers are, offsets are multiples of 512. Where the disk
 * wants more, or at an odd tail, the flag is dropped for good.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "devices/block_int.h"

struct file_store {
    struct store s;
    int fd;
    bool direct, no_punch;
    int flush_failed; /* a negative errno, for good */
};

static struct file_store *file_of(struct store *s)
{
    return (struct file_store *)s;
}

int fd_read(int fd, u8 *buf, u64 len, u64 off)
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

int fd_write(int fd, const u8 *buf, u64 len, u64 off)
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

/* True if the error was O_DIRECT's: it is off now, and the request may be tried again. */
static bool drop_direct(struct file_store *f, int err)
{
    if (err != -EINVAL || !f->direct)
        return false;
    f->direct = false;
    return fcntl(f->fd, F_SETFL, fcntl(f->fd, F_GETFL) & ~O_DIRECT) == 0;
}

static int file_read(struct store *s, u8 *buf, u64 len, u64 off)
{
    struct file_store *f = file_of(s);
    int err = fd_read(f->fd, buf, len, off);
    return drop_direct(f, err) ? fd_read(f->fd, buf, len, off) : err;
}

static int file_write(struct store *s, const u8 *buf, u64 len, u64 off)
{
    struct file_store *f = file_of(s);
    int err = fd_write(f->fd, buf, len, off);
    return drop_direct(f, err) ? fd_write(f->fd, buf, len, off) : err;
}

static int file_flush(struct store *s)
{
    struct file_store *f = file_of(s);
    if (!f->flush_failed && fdatasync(f->fd) && errno != EROFS && errno != EINVAL)
        f->flush_failed = -errno;
    return f->flush_failed;
}

static int file_zero(struct store *s, u64 off, u64 len, bool unmap)
{
    struct file_store *f = file_of(s);
    if (!unmap || f->no_punch)
        return -EOPNOTSUPP;
    if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != ENODEV)
        return -errno;
    f->no_punch = true;
    return -EOPNOTSUPP;
}

static bool file_is_hole(struct store *s, u64 off, u64 len)
{
    if (off + len > s->size) /* the tail may have to grow */
        return false;
    off_t data = lseek(file_of(s)->fd, (off_t)off, SEEK_DATA);
    return data < 0 ? errno == ENXIO : (u64)data >= off + len;
}

static void file_close(struct store *s)
{
    close(file_of(s)->fd);
    free(s);
}

static const struct store_ops file_ops = {.read = file_read,
                                          .write = file_write,
                                          .flush = file_flush,
                                          .zero = file_zero,
                                          .is_hole = file_is_hole,
                                          .close = file_close};

enum {
    BYTE_DOES = 100,
    BYTE_FORBIDS = 200,
    TO_READ = 0,
    TO_WRITE = 1,
    TO_RESIZE = 3,
};

/* File systems without locks are no reason to refuse: false only if there is a lock in the way. */
static bool lock_byte(int fd, int byte)
{
    struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &l) == 0 || (errno != EAGAIN && errno != EACCES);
}

static bool others_lock(int fd, int byte)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

/* False if another uses the image in a way that does not go with ours. Closing fd gives the locks back. */
static bool lock_image(int fd, bool shared)
{
    static const int changes[] = {TO_WRITE, TO_RESIZE};
    bool ok = lock_byte(fd, BYTE_DOES + TO_READ);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        ok = ok && lock_byte(fd, BYTE_FORBIDS + changes[i]);
        if (!shared)
            ok = ok && lock_byte(fd, BYTE_DOES + changes[i]);
    }
    ok = ok && !others_lock(fd, BYTE_FORBIDS + TO_READ);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
        ok = ok && !others_lock(fd, BYTE_DOES + changes[i]) &&
             (shared || !others_lock(fd, BYTE_FORBIDS + changes[i]));
    return ok;
}

static int get_size(struct file_store *f, const char *path, char *err, size_t n)
{
    struct stat st;
    if (fstat(f->fd, &st))
        return block_fail(err, n, "cannot look at '%s': %s", path, strerror(errno));
    if (S_ISBLK(st.st_mode)) {
        u64 bytes = 0;
        if (ioctl(f->fd, BLKGETSIZE64, &bytes))
            return block_fail(err, n, "cannot get the size of '%s': %s", path, strerror(errno));
        f->s.size = bytes;
    } else if (S_ISREG(st.st_mode)) {
        f->s.size = (u64)st.st_size;
    } else {
        return block_fail(err, n, "'%s' is no disk image%s", path,
                          S_ISDIR(st.st_mode) ? " but a directory" : "");
    }
    if (!f->s.size)
        return block_fail(err, n, "'%s' is empty: give it a size, such as with truncate -s 1G", path);
    return 0;
}

/* Formats that would be read as garbage. */
static int check_format(struct file_store *f, const char *path, char *err, size_t n)
{
    static const struct {
        const char *magic, *name;
        u8 len;
    } formats[] = {{"QFI\xfb", "qcow2", 4}, {"KDMV", "VMDK", 4}, {"vhdxfile", "VHDX", 8}, {"QED", "QED", 4}};
    u8 *head = aligned_alloc(4096, 4096);
    if (!head || file_read(&f->s, head, 4096, 0)) {
        free(head);
        return 0; /* the guest will see the error */
    }
    const char *name = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (!memcmp(head, formats[i].magic, formats[i].len))
            name = formats[i].name;
    free(head);
    return name ? block_fail(err, n,
                             "'%s' is a %s image: convert it with qemu-img convert -O raw, or serve it with "
                             "qemu-nbd -k SOCKET and give nbd:unix:SOCKET",
                             path, name)
                : 0;
}

struct store *file_open(const struct block_config *cfg, char *err, size_t n)
{
    bool shared = cfg->read_only || cfg->snapshot;
    int flags = (shared ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
    struct file_store *f = dev_alloc(sizeof(*f));
    f->s.ops = &file_ops;
    f->direct = cfg->cache == CACHE_NONE || cfg->cache == CACHE_DIRECTSYNC;
    f->fd = open(cfg->path, flags | (f->direct ? O_DIRECT : 0));
    if (f->fd < 0 && errno == EINVAL && f->direct) { /* tmpfs and others have none */
        f->direct = false;
        f->fd = open(cfg->path, flags);
    }
    int bad = 0;
    if (f->fd < 0 && !shared && (errno == EACCES || errno == EROFS || errno == EPERM))
        bad = block_fail(err, n, "cannot write to '%s': %s (readonly=on or -snapshot leave it alone)",
                         cfg->path, strerror(errno));
    else if (f->fd < 0)
        bad = block_fail(err, n, "cannot open '%s': %s", cfg->path, strerror(errno));
    if (!bad)
        bad = get_size(f, cfg->path, err, n);
    if (!bad && !lock_image(f->fd, shared))
        bad = block_fail(err, n, "'%s' is in use by another machine or drive%s", cfg->path,
                         shared ? " that writes to it: stop that one first"
                                : ": stop that one first (several may share an image with readonly=on or "
                                  "-snapshot, if all do)");
    if (!bad)
        bad = check_format(f, cfg->path, err, n);
    if (!bad)
        return &f->s;
    if (f->fd >= 0)
        close(f->fd);
    free(f);
    return NULL;
}
