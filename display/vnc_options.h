/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of -vnc, taken apart. */
#ifndef NOVT_DISPLAY_VNC_OPTIONS_H
#define NOVT_DISPLAY_VNC_OPTIONS_H

#include "base/types.h"

enum vnc_share { VNC_EXCLUSIVE, VNC_SHARED, VNC_IGNORE };

struct vnc_options {
    bool none;
    char unix_path[108]; /* "": TCP */
    char host[256];      /* "": loopback */
    u16 port, to;        /* RFB's port, and the last one that may be tried instead */
    bool websocket;
    char ws_host[256]; /* "": as host */
    u16 ws_port;
    bool password;
    char password_file[256]; /* "": none */
    enum vnc_share share;
};

/* [HOST]:DISPLAY, unix:PATH or none, then ,websocket[=on|off|[HOST:]PORT] ,password[=on|off]
 * ,password-file=FILE ,share=allow-exclusive|force-shared|ignore ,to=N. Returns 0, or -EINVAL with what to do
 * about it in err. */
int vnc_options_parse(const char *text, struct vnc_options *o, char *err, size_t size);

#endif
