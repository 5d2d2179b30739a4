/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signals that someone sends to the process, as bytes from a descriptor.
 *
 * What signalfd(2) is for; but each signal that the kernel sends to any thread of the process wakes whoever
 * polls a signalfd of it, whatever signals that one is for, and translated code lives on signals of its own
 * (SIGSEGV): a wake-up of another thread for each was the larger part of their price. So a thread waits for
 * these signals and writes their numbers to a pipe.
 */
#ifndef NOVT_BASE_HOSTSIG_H
#define NOVT_BASE_HOSTSIG_H

#include <signal.h>

struct host_signals;

/* Blocks the signals in the calling thread, and so in all that it creates later; takes them from here on.
 * NULL: no memory, or no descriptor or thread (errno). */
struct host_signals *host_signals_open(const sigset_t *set);
/* Readable when there is a signal; one byte each, its number. Does not block. -1 for NULL. */
int host_signals_fd(const struct host_signals *s);
/* They stay blocked. */
void host_signals_close(struct host_signals *s);

#endif
