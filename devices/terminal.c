/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process's terminal: raw while a guest owns it, and put back however the process ends.
 *
 * The settings belong to the terminal, not to a VM, and signal handlers have no argument, so this is the one
 * place of the folder with static state. Fatal signals get a handler only where nobody else had one: it
 * restores the terminal and lets the signal do what it would have done. Output processing stays on, as the
 * text that novt itself prints expects it.
 *
 * Must not: call anything in the handlers that is not async-signal-safe.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "devices/chardev_int.h"

static struct termios saved, raw;
static volatile sig_atomic_t is_raw;
static bool at_exit_done;
static char leave_text[64];
static volatile sig_atomic_t leave_len;

/* tcsetattr() of a process in the background would stop it. */
static void set_quietly(const struct termios *t)
{
    sigset_t ttou, old;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &ttou, &old);
    tcsetattr(STDIN_FILENO, TCSANOW, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void chardev_restore_terminal(void)
{
    if (!is_raw)
        return;
    is_raw = 0;
    int err = errno;
    if (leave_len && write(STDOUT_FILENO, leave_text, (size_t)leave_len) < 0)
        errno = err; /* nothing else to do */
    set_quietly(&saved);
    errno = err;
}

void terminal_set_leave_text(const char *text)
{
    size_t n = text ? strnlen(text, sizeof(leave_text)) : 0;
    leave_len = 0;
    if (!n || n >= sizeof(leave_text))
        return;
    memcpy(leave_text, text, n);
    leave_len = (int)n;
}

static void on_fatal(int sig, siginfo_t *info, void *ctx)
{
    chardev_restore_terminal();
    signal(sig, SIG_DFL);
    if (info->si_code <= 0 || (sig != SIGSEGV && sig != SIGBUS && sig != SIGILL && sig != SIGFPE))
        raise(sig); /* else the instruction faults again, which names the right place in a core file */
}

static void on_cont(int sig)
{
    int err = errno;
    if (is_raw)
        set_quietly(&raw);
    errno = err;
}

static void catch_signals(void)
{
    static const int fatal[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGSEGV,
                                SIGBUS, SIGILL, SIGFPE,  SIGSYS,  SIGALRM, SIGXCPU};
    for (size_t i = 0; i < ARRAY_SIZE(fatal); i++) {
        struct sigaction sa, old;
        if (sigaction(fatal[i], NULL, &old) || (old.sa_flags & SA_SIGINFO) || old.sa_handler != SIG_DFL)
            continue;
        memset(&sa, 0, sizeof(sa));
        sa.sa_sigaction = on_fatal;
        sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        sigaction(fatal[i], &sa, NULL);
    }
    struct sigaction sa = {.sa_handler = on_cont, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigaction(SIGCONT, &sa, NULL);
}

bool terminal_enter(void)
{
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved))
        return false;
    raw = saved;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (!at_exit_done) {
        atexit(chardev_restore_terminal);
        at_exit_done = true;
    }
    catch_signals();
    is_raw = 1;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    return true;
}

void terminal_leave(void)
{
    chardev_restore_terminal();
}

void terminal_ignore_sigpipe(void)
{
    struct sigaction old;
    if (!sigaction(SIGPIPE, NULL, &old) && !(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}
