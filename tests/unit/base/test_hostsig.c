/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/hostsig.c: signals arrive as bytes, those that came before too; other signals stay with their threads.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/hostsig.h"

static int next(const struct host_signals *s)
{
    struct pollfd p = {.fd = host_signals_fd(s), .events = POLLIN};
    unsigned char b;

    assert_int_equal(poll(&p, 1, 60000), 1);
    assert_int_equal(read(p.fd, &b, 1), 1);
    return b;
}

static void arrive(void **st)
{
    struct host_signals *s;
    unsigned char b;
    sigset_t set;

    (void)st;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    for (int round = 0; round < 3; round++) {
        sigprocmask(SIG_BLOCK, &set, NULL);
        assert_int_equal(kill(getpid(), SIGUSR1), 0); /* before anyone waits for it */
        s = host_signals_open(&set);
        assert_non_null(s);
        assert_int_equal(next(s), SIGUSR1);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(kill(getpid(), i & 1 ? SIGTERM : SIGUSR1), 0);
            assert_int_equal(next(s), i & 1 ? SIGTERM : SIGUSR1);
        }
        assert_int_equal(read(host_signals_fd(s), &b, 1), -1);
        assert_int_equal(errno, EAGAIN);
        host_signals_close(s);
    }
    assert_int_equal(host_signals_fd(NULL), -1);
    host_signals_close(NULL);
}

static volatile sig_atomic_t handled;
static void handler(int sig)
{
    (void)sig;
    handled++;
}

static void others(void **st)
{
    struct host_signals *s;
    unsigned char b;
    sigset_t set;

    (void)st;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    signal(SIGUSR2, handler);
    s = host_signals_open(&set);
    assert_non_null(s);
    assert_int_equal(kill(getpid(), SIGUSR2), 0); /* the only thread that does not block it is this one */
    assert_int_equal(handled, 1);
    assert_int_equal(read(host_signals_fd(s), &b, 1), -1);
    host_signals_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(arrive), cmocka_unit_test(others)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
