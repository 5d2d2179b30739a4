/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the back ends: chardev.c, chardev_socket.c, chardev_mux.c, terminal.c. */
#ifndef NOVT_DEVICES_CHARDEV_INT_H
#define NOVT_DEVICES_CHARDEV_INT_H

#include "devices/internal.h"
#include "devices/terminal.h"

#define IN_SIZE           4096u
#define OUT_SIZE          16384u
#define SOCKET_OUT_MAX    (8u * 1024 * 1024) /* that a peer may leave unread */
#define SOCKET_STALLED_MS 500                /* how long the end waits for it */
#define MUX_MAX           4

struct chardev {
    struct bus *b;
    struct chardev_frontend fe;
    void (*fn)(void *opaque, const u8 *buf, int len);
    void *fn_opaque;

    int in_fd, out_fd; /* -1: none; a socket's are the same */
    bool own_in, own_out;
    bool out_polls; /* out_fd blocks: ask poll() first */
    bool tty, escapes, eof, watched;

    u8 in[IN_SIZE]; /* ring: read, not offered yet */
    u32 in_head, in_count;
    u8 back[64]; /* passed the filter, refused or given back */
    u32 back_count;
    bool escaped; /* the byte before was Ctrl-A */
    bool delivering;

    u8 *out; /* ring */
    u32 out_size, out_head, out_count;
    struct bus_timer *flush_timer;
    u64 retry_ns;
    bool flush_armed;

    /* chardev_socket.c */
    bool socket, connected, closing;
    u64 closing_until; /* bus_host_now() */
    int listen_fd;     /* -1: a client */
    char *unlink_path;
    struct bus_work hangup; /* the peer sends no more */

    /* chardev_mux.c */
    struct chardev *mux;           /* of a port: what it is a port of */
    struct chardev *port[MUX_MAX]; /* of a shared back end */
    u32 n_ports, focus;
    char *name; /* by which it was opened, if it is shared */
    struct chardev *next;
};

/* A back end without an end. */
struct chardev *chardev_new(struct bus *b);
/* Watches the input or not, by what there is room for. */
void chardev_update_watch(struct chardev *c);
/* Writes until the buffer is empty, or holds at most `keep` bytes, waiting for the reader at most wait_ms (<
 * 0: no limit) without progress. */
void chardev_drain(struct chardev *c, u32 keep, int wait_ms);
struct chardev *chardev_pipe(struct bus *b, const char *path);

/* "unix:PATH,..." or "tcp:HOST:PORT,...". NULL with a message in err. */
struct chardev *socket_open(struct bus *b, const char *spec, char *err, size_t err_size);
void socket_lost(struct chardev *c);    /* the peer is gone, or to be thrown out */
void socket_drained(struct chardev *c); /* the buffer is empty */
void socket_close(struct chardev *c);   /* for good */
/* Ctrl-A c: the next front end has the input. False: there is only one. */
bool mux_switch(struct chardev *c);

/* A reader that goes away must be an error of write(), not the end of the VM. */
void terminal_ignore_sigpipe(void);

#endif
