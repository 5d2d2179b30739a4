/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images without a drive: sizes, holes, discards, cancelling, host errors, and NBD servers, well-behaved
 * (nbdkit, where it is installed) and not (made here).
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "fixture.h"
#include "devices/block.h"

static char dir[] = "/tmp/novt-test-block-XXXXXX", path[64];
static struct bus *bus;
static u8 buf[BLOCK_MAX], was[BLOCK_MAX];

struct wait {
    struct block_req r;
    bool done;
    int result;
};

static void done(void *opaque, int result)
{
    struct wait *w = opaque;
    w->done = true;
    w->result = result;
}

static void submit(struct block *k, struct wait *w, enum block_op op, u64 off, u32 len)
{
    *w = (struct wait){.r = {.op = op, .offset = off, .len = len, .buf = buf, .done = done, .opaque = w}};
    block_submit(k, &w->r);
}

static void settle(struct wait *w, int seconds)
{
    struct timespec ts = {0, 1000000};
    for (int i = 0; i < seconds * 1000 && !w->done; i++) {
        bus_run_deferred(bus);
        nanosleep(&ts, NULL);
    }
    assert_true(w->done);
}

static int io(struct block *k, enum block_op op, u64 off, u32 len)
{
    struct wait w;
    submit(k, &w, op, off, len);
    settle(&w, 60);
    return w.result;
}

static struct block *try_open(struct block_config c, char *err, size_t n)
{
    if (!c.path)
        c.path = path;
    return block_open(bus, &c, err, n);
}

static struct block *open_it(struct block_config c)
{
    char err[600] = "";
    struct block *k = try_open(c, err, sizeof(err));
    if (!k)
        fail_msg("%s", err);
    return k;
}

static void make_file(u64 size)
{
    unlink(path);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static u64 file_size(void)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (u64)st.st_size;
}

static u64 file_blocks(void)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (u64)st.st_blocks * 512;
}

static void fill(u32 len, u8 with)
{
    for (u32 i = 0; i < len; i++)
        buf[i] = with ? with + i / 512 + i : 0;
    memcpy(was, buf, len);
}

static void odd_size(void **st)
{
    make_file(1000);
    struct block *k = open_it((struct block_config){0});
    assert_int_equal(block_size(k), 1024);
    assert_int_equal(file_size(), 1000); /* opening changes nothing */
    memset(buf, 0xaa, 1024);
    assert_int_equal(io(k, BLOCK_READ, 512, 512), 0);
    for (int i = 0; i < 512; i++)
        assert_int_equal(buf[i], 0);
    fill(512, 1);
    assert_int_equal(io(k, BLOCK_WRITE, 512, 512), 0); /* all of the tail is kept */
    fill(512, 0);
    assert_int_equal(io(k, BLOCK_READ, 512, 512), 0);
    assert_int_equal(buf[511], (u8)(1 + 511));
    assert_int_equal(io(k, BLOCK_READ, 1024, 512), -EINVAL);
    assert_int_equal(io(k, BLOCK_WRITE, 512, 1024), -EINVAL);
    assert_int_equal(io(k, BLOCK_READ, UINT64_MAX - 511, 512), -EINVAL);
    block_close(k);
    assert_int_equal(file_size(), 1024);
}

static void holes(void **st)
{
    make_file(4 << 20);
    struct block *k = open_it((struct block_config){0});
    fill(BLOCK_MAX, 0);
    assert_int_equal(io(k, BLOCK_WRITE, 0, BLOCK_MAX), 0);
    assert_int_equal(file_blocks(), 0); /* zeros into a hole */
    buf[100 * 1024] = 1;
    assert_int_equal(io(k, BLOCK_WRITE, 0, BLOCK_MAX), 0);
    assert_in_range(file_blocks(), 1, 64 * 1024);
    fill(4096, 0);
    assert_int_equal(io(k, BLOCK_WRITE, 100 * 1024, 4096), 0); /* zeros over data are written */
    memset(buf, 0xee, 4096);
    assert_int_equal(io(k, BLOCK_READ, 100 * 1024, 4096), 0);
    assert_memory_equal(buf, was, 4096);
    assert_false(block_discards(k));
    block_close(k);
    k = open_it((struct block_config){.zeroes = ZEROES_WRITE});
    assert_int_equal(io(k, BLOCK_WRITE, 1 << 20, 64 * 1024), 0);
    assert_in_range(file_blocks(), 64 * 1024, 256 * 1024);
    block_close(k);
    /* TRIM, and zeros that make holes */
    make_file(1 << 20);
    k = open_it((struct block_config){.discard = true, .zeroes = ZEROES_UNMAP});
    assert_true(block_discards(k));
    fill(BLOCK_MAX, 7);
    assert_int_equal(io(k, BLOCK_WRITE, 0, BLOCK_MAX), 0);
    u64 full = file_blocks();
    assert_in_range(full, BLOCK_MAX, 2 * BLOCK_MAX);
    assert_int_equal(io(k, BLOCK_DISCARD, 512, BLOCK_MAX / 2), 0);
    assert_true(file_blocks() < full);
    assert_int_equal(io(k, BLOCK_READ, 0, BLOCK_MAX), 0);
    assert_memory_equal(buf, was, 512);
    for (u32 i = 512; i < 512 + BLOCK_MAX / 2; i++)
        assert_int_equal(buf[i], 0);
    assert_memory_equal(buf + 512 + BLOCK_MAX / 2, was + 512 + BLOCK_MAX / 2, BLOCK_MAX / 2 - 512);
    full = file_blocks();
    fill(64 * 1024, 0);
    assert_int_equal(io(k, BLOCK_WRITE, BLOCK_MAX - 64 * 1024, 64 * 1024), 0);
    assert_true(file_blocks() < full);
    block_close(k);
    assert_int_equal(file_size(), 1 << 20);
}

static void ignored_discard(void **st)
{
    make_file(1 << 20);
    struct block *k = open_it((struct block_config){0});
    fill(4096, 9);
    assert_int_equal(io(k, BLOCK_WRITE, 0, 4096), 0);
    assert_int_equal(io(k, BLOCK_DISCARD, 0, 4096), 0);
    assert_int_equal(io(k, BLOCK_READ, 0, 4096), 0);
    assert_memory_equal(buf, was, 4096);
    block_close(k);
}

/* Random writes, discards and reads through a snapshot, compared with an array. */
static void snapshot(void **st)
{
    enum { SIZE = 300 * 512 };
    static u8 model[SIZE];
    make_file(SIZE - 200);
    struct block *k = open_it((struct block_config){.zeroes = ZEROES_WRITE});
    fill(SIZE, 3);
    memcpy(model, buf, SIZE);
    memset(model + SIZE - 200, 0, 200);
    memcpy(buf, model, SIZE);
    assert_int_equal(io(k, BLOCK_WRITE, 0, SIZE - 512), 0);
    block_close(k);
    memset(model + SIZE - 512, 0, 512);
    k = open_it((struct block_config){.snapshot = true});
    u32 x = 7;
    for (int i = 0; i < 3000; i++) {
        x = x * 1103515245 + 12345;
        u32 off = (x >> 8) % 300, n = (x >> 20) % 40;
        if (n > 300 - off)
            n = 300 - off;
        if (i % 3 == 0) {
            memset(buf, i % 7 ? i : 0, n * 512);
            memcpy(model + off * 512, buf, n * 512);
            assert_int_equal(io(k, BLOCK_WRITE, off * 512, n * 512), 0);
        } else if (i % 11 == 0 && n) {
            memset(model + off * 512, 0, n * 512);
            assert_int_equal(io(k, BLOCK_DISCARD, off * 512, n * 512), 0);
        } else {
            assert_int_equal(io(k, BLOCK_READ, off * 512, n * 512), 0);
            assert_memory_equal(buf, model + off * 512, n * 512);
        }
    }
    block_close(k);
    k = open_it((struct block_config){.read_only = true});
    fill(512, 3);
    assert_int_equal(io(k, BLOCK_READ, 0, 512), 0);
    assert_memory_equal(buf, was, 512); /* nothing of it came through */
    assert_int_equal(io(k, BLOCK_WRITE, 0, 512), -EROFS);
    assert_int_equal(io(k, BLOCK_DISCARD, 0, 512), -EROFS);
    block_close(k);
}

static void caches(void **st)
{
    for (int c = CACHE_WRITEBACK; c <= CACHE_UNSAFE; c++) {
        make_file(1 << 20);
        struct block *k = open_it((struct block_config){.cache = c});
        fill(1536, 5);
        assert_int_equal(io(k, BLOCK_WRITE, 512, 1536), 0); /* not aligned to 4096 */
        assert_int_equal(io(k, BLOCK_FLUSH, 0, 0), 0);
        memset(buf, 0, 1536);
        assert_int_equal(io(k, BLOCK_READ, 512, 1536), 0);
        assert_memory_equal(buf, was, 1536);
        assert_int_equal(block_write_cache(k), c != CACHE_WRITETHROUGH && c != CACHE_DIRECTSYNC);
        block_close(k);
    }
}

static void cancelling(void **st)
{
    struct wait w[40];
    make_file(1 << 20);
    struct block *k = open_it((struct block_config){0});
    fill(BLOCK_MAX, 1);
    bus_lock(bus);
    for (int i = 0; i < 200; i++) { /* more than the queue takes, each cancelled */
        submit(k, &w[0], BLOCK_WRITE, 0, BLOCK_MAX);
        block_cancel(&w[0].r);
        assert_false(w[0].done);
    }
    bus_unlock(bus);
    for (int i = 0; i < 40; i++)
        submit(k, &w[i], BLOCK_READ, 0, 4096);
    int busy = 0;
    for (int i = 0; i < 40; i++) {
        settle(&w[i], 10);
        assert_true(w[i].result == 0 || w[i].result == -EBUSY);
        busy += w[i].result != 0;
    }
    assert_in_range(busy, 1, 40);
    int last = -EBUSY;
    for (int i = 0; i < 1000 && last == -EBUSY; i++)
        last = io(k, BLOCK_READ, 0, 4096);
    assert_int_equal(last, 0);
    submit(k, &w[0], BLOCK_READ, 0, 4096); /* closed with a request in flight */
    block_close(k);
    assert_false(w[0].r.pending);
}

/* A file size limit is a full disk that needs no disk. */
static void full_disk(void **st)
{
    struct rlimit old, small = {1 << 20, RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    make_file(4 << 20);
    struct block *k = open_it((struct block_config){0});
    fill(4096, 1);
    assert_int_equal(io(k, BLOCK_WRITE, 0, 4096), 0);
    setrlimit(RLIMIT_FSIZE, &small);
    assert_int_equal(io(k, BLOCK_WRITE, 2 << 20, 4096), -EFBIG);
    assert_int_equal(io(k, BLOCK_WRITE, 4096, 4096), 0); /* what fits still works */
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(io(k, BLOCK_WRITE, 2 << 20, 4096), 0);
    memset(buf, 0, 4096);
    assert_int_equal(io(k, BLOCK_READ, 0, 4096), 0);
    assert_memory_equal(buf, was, 4096);
    block_close(k);
}

static int stops;
static void stopped(void *opaque)
{
    stops++;
}

static void policies(void **st)
{
    struct rlimit old, small;
    struct wait w;
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){1 << 20, old.rlim_max};
    make_file(4 << 20);
    struct block *k = open_it((struct block_config){.werror = ERROR_STOP});
    block_on_stop(k, stopped, NULL);
    setrlimit(RLIMIT_FSIZE, &small);
    fill(4096, 4);
    stops = 0;
    submit(k, &w, BLOCK_WRITE, 2 << 20, 4096);
    for (int i = 0; i < 5000 && !stops; i++) {
        struct timespec ts = {0, 1000000};
        nanosleep(&ts, NULL);
        bus_run_deferred(bus);
    }
    assert_int_equal(stops, 1);
    assert_false(w.done);
    setrlimit(RLIMIT_FSIZE, &old);
    block_retry(k);
    settle(&w, 10);
    assert_int_equal(w.result, 0);
    memset(buf, 0, 4096);
    assert_int_equal(io(k, BLOCK_READ, 2 << 20, 4096), 0);
    assert_memory_equal(buf, was, 4096);
    block_close(k);
    k = open_it((struct block_config){.werror = ERROR_IGNORE});
    setrlimit(RLIMIT_FSIZE, &small);
    assert_int_equal(io(k, BLOCK_WRITE, 3 << 20, 4096), 0);
    setrlimit(RLIMIT_FSIZE, &old);
    block_close(k);
    k = open_it((struct block_config){.werror = ERROR_STOP}); /* closed while parked */
    block_on_stop(k, stopped, NULL);
    setrlimit(RLIMIT_FSIZE, &small);
    submit(k, &w, BLOCK_WRITE, 3 << 20, 4096);
    block_close(k);
    setrlimit(RLIMIT_FSIZE, &old);
}

/* Byte-range locks as QEMU's programs set and test them: byte 100 + n for what one does, 200 + n for what
 * nobody else may, where n is 0 for reading and 1 for writing. */
static void locks_of_others(void)
{
    char err[600];
    int fd = open(path, O_RDWR);
    struct flock reads = {.l_type = F_RDLCK, .l_start = 100, .l_len = 1};
    struct flock no_writers = {.l_type = F_RDLCK, .l_start = 201, .l_len = 1}, writes = no_writers;
    writes.l_start = 101;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &reads), 0); /* another reader, who minds writers */
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &no_writers), 0);
    struct block *k = open_it((struct block_config){.snapshot = true});
    struct block *second = open_it((struct block_config){.read_only = true});
    assert_null(try_open((struct block_config){0}, err, sizeof(err)));
    assert_non_null(strstr(err, "in use by another"));
    struct flock ask = {.l_type = F_WRLCK, .l_start = 100, .l_len = 1};
    assert_int_equal(fcntl(fd, F_OFD_GETLK, &ask), 0); /* they are seen in turn */
    assert_int_not_equal(ask.l_type, F_UNLCK);
    ask = (struct flock){.l_type = F_WRLCK, .l_start = 101, .l_len = 1};
    assert_int_equal(fcntl(fd, F_OFD_GETLK, &ask), 0);
    assert_int_equal(ask.l_type, F_UNLCK);
    block_close(second);
    block_close(k);
    no_writers.l_type = F_UNLCK;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &no_writers), 0);
    k = open_it((struct block_config){0}); /* a reader who does not mind */
    block_close(k);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &writes), 0);
    assert_null(try_open((struct block_config){.snapshot = true}, err, sizeof(err)));
    assert_null(try_open((struct block_config){0}, err, sizeof(err)));
    close(fd);
}

static void refused(void **st)
{
    char err[600];
    make_file(0);
    assert_null(try_open((struct block_config){0}, err, sizeof(err)));
    assert_non_null(strstr(err, "truncate -s"));
    make_file(1 << 20);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "QFI\xfb", 4, 0), 4);
    assert_null(try_open((struct block_config){0}, err, sizeof(err)));
    assert_non_null(strstr(err, "qcow2"));
    assert_non_null(strstr(err, "qemu-nbd"));
    assert_int_equal(pwrite(fd, "\0\0\0\0", 4, 0), 4);
    close(fd);
    struct block *k = open_it((struct block_config){0});
    assert_null(try_open((struct block_config){0}, err, sizeof(err)));
    assert_non_null(strstr(err, "in use by another"));
    assert_null(try_open((struct block_config){.read_only = true}, err, sizeof(err)));
    block_close(k);
    locks_of_others();
    assert_null(try_open((struct block_config){.path = "/nonexistent/x"}, err, sizeof(err)));
    setenv("TMPDIR", "/nonexistent", 1);
    assert_null(try_open((struct block_config){.snapshot = true}, err, sizeof(err)));
    assert_non_null(strstr(err, "TMPDIR"));
    unsetenv("TMPDIR");
}

/* ---- NBD ---- */

static char uri[128], sock[64];

/* What a bad server does after accepting. */
enum evil { SILENT, GARBAGE, HANGS_UP, TINY, STALLS_LATER, DROPS_LATER };

static void send_all(int fd, const void *p, size_t n)
{
    if (send(fd, p, n, MSG_NOSIGNAL) < 0)
        return;
}

static void recv_all(int fd, void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = recv(fd, (char *)p + at, n - at, 0);
        if (got <= 0)
            return;
        at += (size_t)got;
    }
}

/* Old-style handshake: the server says everything at once. */
static void oldstyle(int fd, u64 size)
{
    u8 hello[152] = "NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53";
    for (int i = 0; i < 8; i++)
        hello[16 + i] = size >> (56 - 8 * i);
    hello[27] = 1 | 4; /* flags, flush */
    send_all(fd, hello, sizeof(hello));
}

struct server {
    int fd;
    enum evil what;
    pthread_t thread;
    int accepted;
    int conn; /* -1: none */
};

static void *serve(void *opaque)
{
    struct server *s = opaque;
    int c;
    while ((c = accept(s->fd, NULL, NULL)) >= 0) {
        u8 req[28] = {0}, reply[16] = "\x67\x44\x66\x98", junk[300];
        s->accepted++;
        __atomic_store_n(&s->conn, c, __ATOMIC_SEQ_CST);
        switch (s->what) {
        case SILENT:
            recv_all(c, junk, 1);
            break;
        case GARBAGE:
            memset(junk, 0x5a, sizeof(junk));
            send_all(c, junk, sizeof(junk));
            break;
        case TINY:
            oldstyle(c, 0);
            recv_all(c, junk, 28);
            break;
        case STALLS_LATER: /* one good reply, then silence */
        case DROPS_LATER:
            oldstyle(c, 1 << 20);
            recv_all(c, req, 28);
            memcpy(reply + 8, req + 8, 8);
            send_all(c, reply, 16);
            static const u8 data[4096] = {0x77};
            send_all(c, data, 4096);
            recv_all(c, req, 28);
            if (s->what == STALLS_LATER)
                recv_all(c, junk, 1);
            break;
        case HANGS_UP:
            break;
        }
        __atomic_store_n(&s->conn, -1, __ATOMIC_SEQ_CST);
        close(c);
    }
    return NULL;
}

static struct server *start_server(enum evil what)
{
    struct server *s = calloc(1, sizeof(*s));
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(sock, sizeof(sock), "%s/evil", dir);
    unlink(sock);
    memcpy(a.sun_path, sock, strlen(sock) + 1);
    s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    s->what = what;
    s->conn = -1;
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    pthread_create(&s->thread, NULL, serve, s);
    snprintf(uri, sizeof(uri), "nbd:unix:%s", sock);
    return s;
}

static void stop_server(struct server *s)
{
    int c = __atomic_load_n(&s->conn, __ATOMIC_SEQ_CST);
    shutdown(s->fd, SHUT_RDWR);
    if (c >= 0)
        shutdown(c, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    free(s);
}

static void bad_servers(void **st)
{
    char err[600];
    static const enum evil kinds[] = {GARBAGE, HANGS_UP, TINY};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct server *s = start_server(kinds[i]);
        assert_null(try_open((struct block_config){.path = uri}, err, sizeof(err)));
        assert_non_null(strstr(err, sock));
        stop_server(s);
    }
    assert_null(
        try_open((struct block_config){.path = "nbd+unix:///?socket=/nonexistent/s"}, err, sizeof(err)));
    assert_non_null(strstr(err, "cannot connect"));
    assert_null(try_open((struct block_config){.path = "nbd://[::"}, err, sizeof(err)));
}

/* A server that drops the connection: one more try, then errors at once, and the machine goes on. */
static void dropping_server(void **st)
{
    struct server *s = start_server(DROPS_LATER);
    struct block *k = open_it((struct block_config){.path = uri});
    assert_int_equal(block_size(k), 1 << 20);
    assert_int_equal(io(k, BLOCK_READ, 0, 4096), 0);
    assert_int_equal(buf[0], 0x77);
    buf[0] = 0;
    assert_int_equal(io(k, BLOCK_READ, 0, 4096), 0); /* by the new connection */
    assert_int_equal(buf[0], 0x77);
    assert_int_equal(s->accepted, 2);
    stop_server(s);
    unlink(sock);
    assert_int_equal(io(k, BLOCK_READ, 0, 4096), -EIO);
    assert_int_equal(io(k, BLOCK_WRITE, 0, 4096), -EIO);
    assert_int_equal(io(k, BLOCK_FLUSH, 0, 0), -EIO);
    block_close(k);
}

/* A silent server: the drive is free again at once, and closing takes seconds, not minutes. */
static void silent_server(void **st)
{
    struct wait w;
    struct server *s = start_server(STALLS_LATER);
    struct block *k = open_it((struct block_config){.path = uri});
    assert_int_equal(io(k, BLOCK_READ, 0, 4096), 0);
    submit(k, &w, BLOCK_READ, 0, 4096);
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    block_cancel(&w.r);
    submit(k, &w, BLOCK_READ, 4096, 4096);
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true(b.tv_sec - a.tv_sec <= 2);
    block_close(k);
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true(b.tv_sec - a.tv_sec <= 20); /* 3 s on an idle machine */
    stop_server(s);
}

static void with_nbdkit(void **st)
{
    if (access("/usr/bin/nbdkit", X_OK) && access("/usr/sbin/nbdkit", X_OK)) {
        print_message("nbdkit is not installed\n");
        skip();
    }
    char pidfile[80], cmd[400];
    static const char *const filters[] = {"", "--filter=blocksize-policy blocksize-minimum=4096 "
                                              "blocksize-maximum=64K blocksize-error-policy=error"};
    for (int i = 0; i < 2; i++) {
        snprintf(sock, sizeof(sock), "%s/nbdkit%d", dir, i);
        snprintf(pidfile, sizeof(pidfile), "%s/pid%d", dir, i);
        const char *space = strchr(filters[i], ' ');
        snprintf(cmd, sizeof(cmd), "nbdkit -U %s -P %s %.*s memory 1M %s", sock, pidfile,
                 space ? (int)(space - filters[i]) : 0, filters[i], space ? space : "");
        assert_int_equal(system(cmd), 0);
        snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s", sock);
        struct block *k = open_it((struct block_config){.path = uri, .discard = true});
        assert_int_equal(block_size(k), 1 << 20);
        fill(BLOCK_MAX, 11);
        assert_int_equal(io(k, BLOCK_WRITE, 512, BLOCK_MAX),
                         0); /* not aligned to what the second one wants */
        assert_int_equal(io(k, BLOCK_FLUSH, 0, 0), 0);
        memset(buf, 0, BLOCK_MAX);
        assert_int_equal(io(k, BLOCK_READ, 512, BLOCK_MAX), 0);
        assert_memory_equal(buf, was, BLOCK_MAX);
        assert_int_equal(io(k, BLOCK_DISCARD, 4096, 8192), 0);
        assert_int_equal(io(k, BLOCK_DISCARD, 512, 1024), 0);
        assert_int_equal(io(k, BLOCK_READ, 0, 16384), 0);
        for (int n = 0; n < 12288; n++)
            assert_int_equal(buf[n], n >= 1536 && n < 4096 ? was[n - 512] : 0);
        struct block *over = open_it((struct block_config){.path = uri, .snapshot = true});
        fill(512, 0xcc);
        assert_int_equal(io(over, BLOCK_WRITE, 8192, 512), 0);
        assert_int_equal(io(over, BLOCK_READ, 8192, 512), 0);
        assert_memory_equal(buf, was, 512);
        assert_int_equal(io(k, BLOCK_READ, 8192, 512), 0);
        assert_int_equal(buf[0], 0);
        block_close(over);
        block_close(k);
        int pid = 0;
        FILE *f = fopen(pidfile, "r");
        assert_int_equal(fscanf(f, "%d", &pid), 1);
        fclose(f);
        kill(pid, SIGTERM);
    }
}

static int setup(void **st)
{
    struct bus_host h = {0};
    signal(SIGPIPE, SIG_IGN);
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/image", dir);
    bus = bus_create(&h);
    return 0;
}

static int teardown(void **st)
{
    char cmd[100];
    bus_destroy(bus);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    return system(cmd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_size),    cmocka_unit_test(holes),           cmocka_unit_test(ignored_discard),
        cmocka_unit_test(snapshot),    cmocka_unit_test(caches),          cmocka_unit_test(cancelling),
        cmocka_unit_test(full_disk),   cmocka_unit_test(policies),        cmocka_unit_test(refused),
        cmocka_unit_test(bad_servers), cmocka_unit_test(dropping_server), cmocka_unit_test(silent_server),
        cmocka_unit_test(with_nbdkit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
