/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Implementation of hostsig.h. The pipe does not block: when it is full, 64 KiB of signals wait already.
 */
#include "base/hostsig.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

struct host_signals {
    sigset_t set;
    pthread_t thread;
    int fd[2];
};

static void *wait_thread(void *arg)
{
    struct host_signals *s = arg;

    prctl(PR_SET_NAME, "novt-signals");
    for (;;) {
        int sig = sigwaitinfo(&s->set, NULL); /* a cancellation point */
        unsigned char byte = (unsigned char)sig;
        if (sig > 0 && write(s->fd[1], &byte, 1) < 0 && errno != EAGAIN)
            return NULL; /* nobody reads any more */
    }
}

struct host_signals *host_signals_open(const sigset_t *set)
{
    struct host_signals *s = calloc(1, sizeof(*s));
    sigset_t all, old;
    int err;

    if (!s)
        return NULL;
    s->set = *set;
    pthread_sigmask(SIG_BLOCK, set, NULL);
    if (pipe2(s->fd, O_CLOEXEC | O_NONBLOCK) < 0) {
        free(s);
        return NULL;
    }
    sigfillset(&all); /* what else comes is for other threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    err = pthread_create(&s->thread, NULL, wait_thread, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err) {
        close(s->fd[0]);
        close(s->fd[1]);
        free(s);
        errno = err;
        return NULL;
    }
    return s;
}

int host_signals_fd(const struct host_signals *s)
{
    return s ? s->fd[0] : -1;
}

void host_signals_close(struct host_signals *s)
{
    if (!s)
        return;
    pthread_cancel(s->thread);
    pthread_join(s->thread, NULL);
    close(s->fd[0]);
    close(s->fd[1]);
    free(s);
}
