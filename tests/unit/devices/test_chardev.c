/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Back ends on real descriptors: stdin and stdout are replaced by pipes, files and a pseudo terminal. */
#include "fixture.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* A front end that takes at most `room` bytes until told otherwise. */
struct front {
    u8 got[70000];
    _Atomic int n, room, breaks;
};

static int take(void *o, const u8 *buf, int len)
{
    struct front *fr = o;
    int n = 0;
    for (; n < len && fr->room > 0 && fr->n < (int)sizeof(fr->got); n++, fr->room--)
        fr->got[fr->n++] = buf[n];
    return n;
}

static void take_break(void *o)
{
    ((struct front *)o)->breaks++;
}

static int saved_in = -1, saved_out = -1;

static void redirect(int in, int out)
{
    if (saved_in < 0) {
        saved_in = dup(0);
        saved_out = dup(1);
    }
    dup2(in, 0);
    dup2(out, 1);
}

static void restore(void)
{
    dup2(saved_in, 0);
    dup2(saved_out, 1);
}

static bool until(_Atomic int *v, int want)
{
    for (int i = 0; i < 3000 && *v < want; i++)
        usleep(1000);
    return *v >= want;
}

static struct fix *start(void)
{
    struct fix *f = fix_new();
    bus_set_clock(f->b, NULL, NULL);
    return f;
}

static void give_room(struct fix *f, struct chardev *c, struct front *fr, int n)
{
    bus_lock(f->b);
    fr->room += n;
    chardev_accept(c);
    bus_unlock(f->b);
}

static struct front fr;

static void reset_front(int room)
{
    memset(&fr, 0, sizeof(fr));
    fr.room = room;
}

static const struct chardev_frontend front = {take, &fr, take_break};

static void test_pipe_input(void **st)
{
    int in[2], out[2];
    assert_int_equal(pipe(in) | pipe(out), 0);
    redirect(in[0], out[1]);
    struct fix *f = start();
    struct chardev *c = chardev_stdio(f->b);
    assert_ptr_equal(c, chardev_stdio(f->b));
    reset_front(10);
    chardev_set_frontend(c, &front);
    assert_int_equal(bus_start(f->b), 0);
    /* More than the back end's buffer: the pipe must hold the rest back, and nothing gets lost. */
    static u8 data[20000];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = 2 + i % 200;
    assert_int_equal(write(in[1], data, sizeof(data)), sizeof(data));
    assert_true(until(&fr.n, 10));
    usleep(20000);
    assert_int_equal(fr.n, 10);
    while (fr.n < (int)sizeof(data)) {
        int before = fr.n;
        give_room(f, c, &fr, 1000);
        assert_true(until(&fr.n, before + (before + 1000 <= (int)sizeof(data) ? 1000 : 10)));
    }
    assert_int_equal(fr.n, sizeof(data));
    assert_memory_equal(fr.got, data, sizeof(data));
    /* Escapes count in their place, even when the front end is full. */
    fr.room = 1;
    assert_int_equal(write(in[1], "ab\001\001\001bc\001x", 9), 9);
    assert_true(until(&fr.n, sizeof(data) + 1));
    usleep(10000);
    assert_int_equal(fr.breaks, 0);
    assert_int_equal(f->quits, 0);
    give_room(f, c, &fr, 10);
    assert_true(until(&fr.n, sizeof(data) + 4));
    assert_memory_equal(fr.got + sizeof(data), "ab\001c", 4);
    assert_int_equal(fr.breaks, 1);
    assert_int_equal(f->quits, 1);
    assert_int_equal(f->status, 0);
    close(in[1]); /* end of file: fine */
    usleep(10000);
    fix_free(f);
    restore();
    close(in[0]), close(out[0]), close(out[1]);
}

static void test_dev_null(void **st)
{
    int fd = open("/dev/null", O_RDWR);
    redirect(fd, fd);
    struct fix *f = start();
    struct chardev *c = chardev_stdio(f->b);
    assert_int_equal(bus_start(f->b), 0);
    usleep(5000);
    bus_lock(f->b);
    chardev_write(c, (const u8 *)"x", 1);
    bus_unlock(f->b);
    fix_free(f);
    restore();
    close(fd);
}

static void test_regular_stdin(void **st)
{
    char name[] = "/tmp/novt-test-XXXXXX";
    int fd = mkstemp(name), null = open("/dev/null", O_WRONLY);
    unlink(name);
    assert_int_equal(write(fd, "from a file", 11), 11);
    lseek(fd, 0, SEEK_SET);
    redirect(fd, null);
    struct fix *f = start();
    struct chardev *c = chardev_stdio(f->b);
    reset_front(100);
    chardev_set_frontend(c, &front);
    assert_int_equal(bus_start(f->b), 0);
    assert_true(until(&fr.n, 11));
    assert_memory_equal(fr.got, "from a file", 11);
    fix_free(f);
    restore();
    close(fd), close(null);
}

static void *slow_reader(void *o)
{
    int fd = *(int *)o;
    u8 want = 0, buf[300];
    long total = 0;
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (buf[i] != want++)
                return (void *)-1l;
        total += n;
        if (total % 7 == 0)
            usleep(200);
    }
    return (void *)total;
}

static void test_slow_output(void **st)
{
    int out[2], null = open("/dev/null", O_RDONLY);
    assert_int_equal(pipe(out), 0);
    fcntl(out[1], F_SETPIPE_SZ, 4096);
    redirect(null, out[1]);
    struct fix *f = start();
    struct chardev *c = chardev_stdio(f->b);
    assert_int_equal(bus_start(f->b), 0);
    pthread_t t;
    pthread_create(&t, NULL, slow_reader, &out[0]);
    enum { TOTAL = 300000 };
    for (int i = 0; i < TOTAL; i++) {
        u8 ch = i;
        bus_lock(f->b);
        chardev_write(c, &ch, 1);
        bus_unlock(f->b);
    }
    assert_int_equal(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0); /* what we inherited stays as it was */
    fix_free(f);                                              /* flushes */
    restore();
    close(out[1]);
    void *total;
    pthread_join(t, &total);
    assert_int_equal((long)total, TOTAL);
    close(out[0]), close(null);
}

static void test_gone_reader(void **st)
{
    int out[2], null = open("/dev/null", O_RDONLY);
    assert_int_equal(pipe(out), 0);
    redirect(null, out[1]);
    close(out[1]);
    struct fix *f = start();
    struct chardev *c = chardev_stdio(f->b);
    assert_int_equal(bus_start(f->b), 0);
    close(out[0]);
    for (int i = 0; i < 100000; i++) {
        bus_lock(f->b);
        chardev_write(c, (const u8 *)"x", 1);
        bus_unlock(f->b);
    }
    fix_free(f);
    restore();
    close(null);
}

static void test_file(void **st)
{
    char name[] = "/tmp/novt-test-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    struct fix *f = start();
    assert_null(chardev_file(f->b, "/nonexistent/file"));
    struct chardev *c = chardev_file(f->b, name);
    assert_non_null(c);
    for (int i = 0; i < 50000; i++)
        chardev_write(c, (const u8 *)"0123456789" + i % 10, 1);
    fix_free(f);
    char buf[50001];
    assert_int_equal(read(fd, buf, sizeof(buf)), 50000);
    assert_memory_equal(buf + 49990, "0123456789", 10);
    close(fd);
    unlink(name);
}

static int open_pty(int *slave)
{
    int m = posix_openpt(O_RDWR | O_NOCTTY);
    if (m < 0 || grantpt(m) || unlockpt(m))
        return -1;
    *slave = open(ptsname(m), O_RDWR | O_NOCTTY);
    return *slave < 0 ? -1 : m;
}

static bool is_raw(int fd)
{
    struct termios t;
    tcgetattr(fd, &t);
    return !(t.c_lflag & (ICANON | ECHO | ISIG));
}

static void test_terminal(void **st)
{
    int s, m = open_pty(&s);
    if (m < 0)
        skip();
    assert_false(is_raw(s));
    redirect(s, s);
    struct fix *f = start();
    struct chardev *c = chardev_stdio(f->b);
    bool raw = is_raw(s);
    reset_front(5);
    chardev_set_frontend(c, &front);
    assert_int_equal(bus_start(f->b), 0);
    assert_int_equal(write(m, "\003\032x", 3), 3); /* Ctrl-C and Ctrl-Z are the guest's */
    assert_true(until(&fr.n, 3));
    assert_memory_equal(fr.got, "\003\032x", 3);
    assert_int_equal(write(m, "\001h", 2), 2);
    char buf[1000];
    int n = 0;
    for (int i = 0; i < 3000 && n < (int)sizeof(buf) - 1; i++) {
        struct pollfd p = {m, POLLIN, 0};
        if (poll(&p, 1, 1) > 0)
            n += read(m, buf + n, sizeof(buf) - 1 - n);
        buf[n] = 0;
        if (strstr(buf, "Ctrl-A Ctrl-A"))
            break;
    }
    assert_non_null(strstr(buf, "Ctrl-A x"));
    /* The guest takes nothing and far more than the buffer was typed: Ctrl-A x still works. */
    char junk[500];
    memset(junk, 'j', sizeof(junk));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(write(m, junk, sizeof(junk)), sizeof(junk));
        usleep(3000);
    }
    assert_int_equal(write(m, "\001x", 2), 2);
    for (int i = 0; i < 3000 && !__atomic_load_n(&f->quits, __ATOMIC_SEQ_CST); i++)
        usleep(1000);
    assert_int_equal(f->quits, 1);
    fix_free(f);
    restore();
    assert_true(raw);
    assert_false(is_raw(s));
    close(s), close(m);
}

/* A fatal signal and a plain exit() put the terminal back, and the signal still kills. */
static void test_terminal_restored(void **st)
{
    static const int sigs[] = {0, SIGTERM, SIGHUP, SIGABRT, SIGSEGV};
    for (size_t i = 0; i < ARRAY_SIZE(sigs); i++) {
        int s, m = open_pty(&s);
        if (m < 0)
            skip();
        int ready[2];
        assert_int_equal(pipe(ready), 0);
        pid_t pid = fork();
        if (!pid) {
            dup2(s, 0);
            dup2(s, 1);
            for (int k = 1; k < 32; k++)
                signal(k, SIG_DFL); /* cmocka has handlers of its own */
            struct bus_host h = {0};
            struct bus *b = bus_create(&h);
            chardev_stdio(b);
            bus_start(b);
            char r = is_raw(0);
            if (write(ready[1], &r, 1) != 1)
                _exit(9);
            if (sigs[i] == 0)
                exit(7);
            if (sigs[i] == SIGSEGV)
                *(volatile int *)mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1;
            if (sigs[i] == SIGABRT)
                abort();
            for (;;)
                pause();
        }
        char r = 0;
        assert_int_equal(read(ready[0], &r, 1), 1);
        assert_int_equal(r, 1);
        if (sigs[i] == SIGTERM || sigs[i] == SIGHUP)
            kill(pid, sigs[i]);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (sigs[i])
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == sigs[i]);
        else
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
        assert_false(is_raw(s));
        close(s), close(m), close(ready[0]), close(ready[1]);
    }
}

/* Host input to guest register and back, on the event thread. */
static void test_uart_on_pipe(void **st)
{
    int in[2], out[2];
    assert_int_equal(pipe(in) | pipe(out), 0);
    redirect(in[0], out[1]);
    struct fix *f = start();
    struct chardev *c = chardev_stdio(f->b);
    assert_int_equal(uart_create(f->b, 0x3f8, 4, c), 0);
    assert_int_equal(bus_start(f->b), 0);
    enum { N = 6000 };
    static char data[N];
    for (int i = 0; i < N; i++)
        data[i] = 'A' + i % 50;
    assert_int_equal(write(in[1], data, N), N);
    close(in[1]);
    outb(f, 0x3fa, 0xc1);
    outb(f, 0x3f9, 1);
    int n = 0;
    for (int i = 0; i < 3000 && n < N; i++) {
        while (inb(f, 0x3fd) & 1) {
            u8 ch = inb(f, 0x3f8);
            assert_int_equal(ch, (u8)data[n++]);
            outb(f, 0x3f8, ch);
        }
        usleep(300);
    }
    assert_int_equal(n, N);
    fix_free(f);
    restore();
    close(out[1]);
    static char back[N + 1];
    int got = 0, r;
    while (got < N && (r = read(out[0], back + got, N - got)) > 0)
        got += r;
    assert_int_equal(got, N);
    assert_memory_equal(back, data, N);
    close(in[0]), close(out[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipe_input),    cmocka_unit_test(test_dev_null),
        cmocka_unit_test(test_regular_stdin), cmocka_unit_test(test_slow_output),
        cmocka_unit_test(test_gone_reader),   cmocka_unit_test(test_file),
        cmocka_unit_test(test_terminal),      cmocka_unit_test(test_terminal_restored),
        cmocka_unit_test(test_uart_on_pipe)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
