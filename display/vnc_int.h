/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between vnc.c (the RFB server) and vnc_net.c (its sockets, and the pages for browsers). */
#ifndef NOVT_DISPLAY_VNC_INT_H
#define NOVT_DISPLAY_VNC_INT_H

#include <poll.h>
#include "display/http.h"
#include "display/vnc_options.h"

#define NET_LISTENERS   8
#define NET_CONNECTIONS 24 /* that have not become RFB clients; more wait in the kernel's queue */
#define NET_POLLS       (NET_LISTENERS + NET_CONNECTIONS)

struct net_listener {
    int fd;
    bool websocket, loopback;
    char name[320]; /* HOST:PORT or a path */
};

/* A browser's connection: a request is read, then answered, or given away as a WebSocket. */
struct net_connection {
    int fd; /* -1: free */
    bool loopback;
    u64 deadline_ns;
    bool answering;
    char head[512]; /* of the answer */
    u32 head_len, head_sent;
    int file; /* -1: none */
    u64 left;
};

struct net {
    struct net_listener listener[NET_LISTENERS];
    u32 nlisteners;
    char unix_path[108]; /* to be removed at the end */
    struct net_connection connection[NET_CONNECTIONS];
    u64 paused_until; /* accept() failed: descriptors ran out */
    bool pages;       /* noVNC is installed */
    /* Takes the descriptor. websocket: a handshake waits in it, and its origin is fine. */
    void (*rfb)(void *opaque, int fd, bool websocket);
    void *opaque;
};

/* Listens as the options say; reports what is wrong. 0 or a negative errno. */
int net_open(struct net *n, const struct vnc_options *o);
void net_close(struct net *n);
/* Fills at most NET_POLLS entries, returns how many; *timeout_ms becomes less if something must be done
 * before. */
u32 net_poll(struct net *n, struct pollfd *p, int *timeout_ms);
void net_process(struct net *n, const struct pollfd *p, u32 count);

struct vnc;
struct bus;
struct vga;
struct input;
int vnc_create(struct bus *b, struct vga *v, struct input *in, const char *options, const char *name,
               struct vnc **out);
void vnc_destroy(struct vnc *n);
int vnc_set_password(struct vnc *n, const char *password);
size_t vnc_info(struct vnc *n, char *buf, size_t size);

#endif
