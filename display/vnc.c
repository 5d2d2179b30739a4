/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC server: RFB through libvncserver, also over WebSocket (RFC 6143; the rfbproto community's
 * description for ExtendedDesktopSize and QEMU's extended key events).
 *
 * All of libvncserver runs on one thread of its own, which sleeps in poll(). It takes the bus lock to draw
 * what changed and to hand over keys and pointer, never while it waits for a client; so a slow or hostile
 * client can delay other clients (by CLIENT_WAIT_MS at most, then it is gone), not the VM. While nobody is
 * connected, nobody views the screen (struct vga_viewer) and nothing is drawn or traced.
 *
 * Limits: MAX_CLIENTS; clipboard and file transfer are not offered; after some wrong passwords connections
 * are refused for a while.
 *
 * Must not: call libvncserver from another thread.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <rfb/rfb.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "devices/vga.h"
#include "display/input.h"
#include "display/vnc_int.h"

#define MAX_CLIENTS    16
#define CLIENT_WAIT_MS 3000
#define PERIOD_MS      33
#define LOGIN_WAIT     20 /* s until a client must have got through the handshake */
#define WRONG_MAX      5  /* passwords, then: */
#define WRONG_WAIT     10 /* s */

#define EXTENDED_KEYS (-258) /* pseudo-encoding, QEMU's */
#define QEMU_MESSAGE  255

struct client {
    struct vnc *vnc;
    rfbClientPtr cl;
    struct keys keys;
    struct pointer pointer;
    u8 down[256]; /* keys that this client holds: to be let go when it is gone */
    time_t since;
    char name[160];
};

struct vnc {
    struct bus *b;
    struct vga *vga;
    struct input *in;
    struct vnc_options opt;
    struct net net;
    rfbScreenInfoPtr screen;
    struct vga_viewer viewer;
    struct vga_picture picture;
    bool viewing, started;
    pthread_t thread;
    int wake_fd;
    u32 damaged, quit; /* atomic */
    u32 wrong;         /* passwords in a row */
    time_t locked_until;
    char title[96];
    /* shared with other threads */
    pthread_mutex_t lock;
    char password[9];
    bool have_password;
    struct client *client[MAX_CLIENTS];
};

/* ---- libvncserver's words ---- */

static void quiet(const char *fmt, ...)
{
    char text[256];
    va_list ap;
    if (!LOG_ON(dev))
        return;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    n = n < (int)sizeof(text) ? n : (int)sizeof(text) - 1;
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = 0;
    LOG(dev, "vnc: %s", text);
}

/* ---- the picture ---- */

static void wake(struct vnc *n)
{
    static const u64 one = 1;
    ssize_t r = write(n->wake_fd, &one, sizeof(one));
    (void)r; /* a full counter wakes as well */
}

static void changed(void *opaque)
{
    struct vnc *n = opaque;
    if (!__atomic_exchange_n(&n->damaged, 1, __ATOMIC_SEQ_CST))
        wake(n);
}

static void damaged(void *opaque, u32 x, u32 y, u32 w, u32 h)
{
    struct vnc *n = opaque;
    rfbMarkRectAsModified(n->screen, (int)x, (int)y, (int)(x + w), (int)(y + h));
}

/* The picture's 0x00RRGGBB, which is not libvncserver's default. */
static void set_format(struct vnc *n)
{
    n->screen->serverFormat.redShift = 16;
    n->screen->serverFormat.greenShift = 8;
    n->screen->serverFormat.blueShift = 0;
    n->screen->serverFormat.depth = 24;
}

static void draw(struct vnc *n)
{
    __atomic_store_n(&n->damaged, 0, __ATOMIC_SEQ_CST);
    bus_lock(n->b);
    int r = vga_draw(n->vga, &n->picture, &n->viewer, damaged, n);
    bus_unlock(n->b);
    if (r != 1)
        return;
    rfbNewFramebuffer(n->screen, (char *)n->picture.pixels, (int)n->picture.width, (int)n->picture.height, 8,
                      3, 4);
    set_format(n);
    rfbClientIteratorPtr it = rfbGetClientIterator(n->screen);
    for (rfbClientPtr cl; (cl = rfbClientIteratorNext(it));)
        n->screen->setTranslateFunction(cl);
    rfbReleaseClientIterator(it);
}

static void view(struct vnc *n, bool on)
{
    if (n->viewing == on)
        return;
    bus_lock(n->b);
    if (on)
        vga_add_viewer(n->vga, &n->viewer);
    else
        vga_remove_viewer(n->vga, &n->viewer);
    bus_unlock(n->b);
    n->viewing = on;
}

/* Before each update: the client keeps its own pointer's shape, or people would not see where they point. */
static void before_update(rfbClientPtr cl)
{
    cl->cursorWasChanged = FALSE;
}

/* ---- input ---- */

static void send_keys(struct client *c, const struct key_event *e, int count)
{
    for (int i = 0; i < count; i++)
        c->down[(e[i].code & 0x7f) | e[i].extended << 7] = e[i].down;
    input_keys(c->vnc->in, e, count);
}

static void on_key(rfbBool down, rfbKeySym keysym, rfbClientPtr cl)
{
    struct client *c = cl->clientData;
    struct key_event e[KEYS_MAX];
    bus_lock(c->vnc->b);
    send_keys(c, e, keys_translate(&c->keys, (u32)keysym, down, input_leds(c->vnc->in), e));
    bus_unlock(c->vnc->b);
}

static void on_pointer(int buttons, int x, int y, rfbClientPtr cl)
{
    struct client *c = cl->clientData;
    bus_lock(c->vnc->b);
    input_pointer(c->vnc->in, &c->pointer, x, y, (u8)buttons);
    bus_unlock(c->vnc->b);
}

/* QEMU's extended key events: the client says which key it was, besides the keysym. */
static rfbBool enable_extended(rfbClientPtr cl, void **data, int encoding)
{
    struct {
        u8 type, pad;
        u16 rects, x, y, w, h;
        u32 encoding;
    } __attribute__((packed)) m = {.rects = htons(1),
                                   .w = htons((u16)cl->screen->width),
                                   .h = htons((u16)cl->screen->height),
                                   .encoding = htonl((u32)EXTENDED_KEYS)};
    if (encoding != EXTENDED_KEYS)
        return FALSE;
    return rfbWriteExact(cl, (const char *)&m, sizeof(m)) > 0;
}

static rfbBool extended_message(rfbClientPtr cl, void *data, const rfbClientToServerMsg *msg)
{
    struct client *c = cl->clientData;
    u8 m[11];
    struct key_event e[KEYS_MAX];
    if (msg->type != QEMU_MESSAGE || !c)
        return FALSE;
    if (rfbReadExact(cl, (char *)m, sizeof(m)) <= 0 || m[0] != 0) {
        rfbCloseClient(cl);
        return TRUE;
    }
    u32 keysym = (u32)m[3] << 24 | (u32)m[4] << 16 | (u32)m[5] << 8 | m[6];
    u32 keycode = (u32)m[7] << 24 | (u32)m[8] << 16 | (u32)m[9] << 8 | m[10];
    bool down = m[1] || m[2];
    if (cl->viewOnly)
        return TRUE;
    bus_lock(c->vnc->b);
    int count = keys_raw(keycode, down, e);
    if (!count)
        count = keys_translate(&c->keys, keysym, down, input_leds(c->vnc->in), e);
    send_keys(c, e, count);
    bus_unlock(c->vnc->b);
    return TRUE;
}

static int extended_encodings[] = {EXTENDED_KEYS, 0};
static rfbProtocolExtension extended_keys = {.pseudoEncodings = extended_encodings,
                                             .enablePseudoEncoding = enable_extended,
                                             .handleMessage = extended_message};

/* ---- clients ---- */

static time_t seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static u32 client_count(const struct vnc *n)
{
    u32 k = 0;
    for (u32 i = 0; i < MAX_CLIENTS; i++)
        k += n->client[i] != NULL;
    return k;
}

static void client_gone(rfbClientPtr cl)
{
    struct client *c = cl->clientData;
    if (!c)
        return;
    struct vnc *n = c->vnc;
    bus_lock(n->b);
    for (u32 i = 0; i < 256; i++) {
        const struct key_event up = {.code = i & 0x7f, .extended = i >> 7, .down = false};
        if (c->down[i])
            input_keys(n->in, &up, 1);
    }
    if (c->pointer.buttons)
        input_pointer(n->in, &c->pointer, c->pointer.x, c->pointer.y, 0);
    bus_unlock(n->b);
    pthread_mutex_lock(&n->lock);
    for (u32 i = 0; i < MAX_CLIENTS; i++)
        if (n->client[i] == c)
            n->client[i] = NULL;
    pthread_mutex_unlock(&n->lock);
    cl->clientData = NULL;
    free(c);
}

static enum rfbNewClientAction new_client(rfbClientPtr cl)
{
    struct vnc *n = cl->screen->screenData;
    struct client *c = calloc(1, sizeof(*c));
    if (!c)
        return RFB_CLIENT_REFUSE;
    c->vnc = n;
    c->cl = cl;
    c->since = seconds();
    snprintf(c->name, sizeof(c->name), "%.128s%s", cl->host && *cl->host ? cl->host : "local",
             cl->wsctx ? " (WebSocket)" : "");
    cl->clientData = c;
    cl->clientGoneHook = client_gone;
    pthread_mutex_lock(&n->lock);
    for (u32 i = 0; i < MAX_CLIENTS; i++) {
        if (!n->client[i]) {
            n->client[i] = c;
            break;
        }
    }
    pthread_mutex_unlock(&n->lock);
    return RFB_CLIENT_ACCEPT;
}

/* A connection that speaks RFB, or asks for a WebSocket that carries it. Takes fd. */
static void new_connection(void *opaque, int fd, bool websocket)
{
    struct vnc *n = opaque;
    if (fd >= FD_SETSIZE || client_count(n) == MAX_CLIENTS || seconds() < n->locked_until) {
        close(fd);
        return;
    }
    view(n, true);
    draw(n); /* so that it begins with the right size */
    rfbClientPtr cl = rfbNewClient(n->screen, fd);
    /* libvncserver takes a WebSocket on any port, but its origin was checked on ours only. */
    if (cl && cl->wsctx && !websocket)
        rfbCloseClient(cl);
}

static rfbBool check_password(rfbClientPtr cl, const char *response, int len)
{
    struct vnc *n = cl->screen->screenData;
    u8 want[CHALLENGESIZE];
    char password[9];
    pthread_mutex_lock(&n->lock);
    bool have = n->have_password;
    memcpy(password, n->password, sizeof(password));
    pthread_mutex_unlock(&n->lock);
    bool ok = false;
    if (have && len == CHALLENGESIZE) {
        u8 diff = 0;
        memcpy(want, cl->authChallenge, CHALLENGESIZE);
        rfbEncryptBytes(want, password);
        for (u32 i = 0; i < CHALLENGESIZE; i++)
            diff |= want[i] ^ (u8)response[i];
        ok = !diff;
    }
    explicit_bzero(password, sizeof(password));
    if (ok) {
        n->wrong = 0;
    } else if (++n->wrong >= WRONG_MAX) {
        n->wrong = 0;
        n->locked_until = seconds() + WRONG_WAIT;
        warn_report("VNC: %d wrong passwords, the last one from %s; no connections for %d s", WRONG_MAX,
                    cl->host ? cl->host : "?", WRONG_WAIT);
    }
    return ok;
}

/* ---- the thread ---- */

/* Also hangs up on those who connected and don't log in: they take others' places. */
static u32 client_polls(struct vnc *n, struct pollfd *p, int *timeout_ms)
{
    u32 k = 0;
    time_t now = seconds();
    for (u32 i = 0; i < MAX_CLIENTS; i++) {
        struct client *c = n->client[i];
        if (!c)
            continue;
        if (c->cl->sock >= 0 && c->cl->state != RFB_NORMAL) {
            if (now - c->since >= LOGIN_WAIT)
                rfbCloseClient(c->cl);
            else if (*timeout_ms < 0 || *timeout_ms > 1000)
                *timeout_ms = 1000;
        }
        if (c->cl->sock >= 0)
            p[k++] = (struct pollfd){.fd = c->cl->sock, .events = POLLIN};
        else
            *timeout_ms = 0; /* closed: to be cleaned up */
    }
    return k;
}

static void *vnc_thread(void *arg)
{
    struct vnc *n = arg;
    struct pollfd p[1 + NET_POLLS + MAX_CLIENTS];
    prctl(PR_SET_NAME, "novt-vnc");
    while (!__atomic_load_n(&n->quit, __ATOMIC_SEQ_CST)) {
        int timeout = -1;
        u64 count;
        p[0] = (struct pollfd){.fd = n->wake_fd, .events = POLLIN};
        u32 net = net_poll(&n->net, p + 1, &timeout);
        u32 clients = client_polls(n, p + 1 + net, &timeout);
        if (poll(p, 1 + net + clients, timeout) < 0)
            continue;
        if (p[0].revents && read(n->wake_fd, &count, sizeof(count)) < 0)
            continue;
        net_process(&n->net, p + 1, net);
        if (n->viewing && __atomic_load_n(&n->damaged, __ATOMIC_SEQ_CST))
            draw(n);
        rfbProcessEvents(n->screen, 0);
        if (!client_count(n))
            view(n, false);
    }
    return NULL;
}

static int start_thread(struct vnc *n)
{
    sigset_t block, old;
    sigfillset(&block);
    static const int own[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        sigdelset(&block, own[i]);
    pthread_sigmask(SIG_SETMASK, &block, &old);
    int err = pthread_create(&n->thread, NULL, vnc_thread, n);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    n->started = !err;
    return -err;
}

/* ---- life ---- */

static int read_password(struct vnc *n)
{
    char line[64] = "";
    FILE *f = fopen(n->opt.password_file, "re");
    if (!f) {
        error_report("-vnc: password file '%s': %s", n->opt.password_file, strerror(errno));
        return -EINVAL;
    }
    bool got = fgets(line, sizeof(line), f);
    fclose(f);
    line[strcspn(line, "\r\n")] = 0;
    if (!got || !line[0]) {
        error_report("-vnc: password file '%s' has no password in its first line", n->opt.password_file);
        return -EINVAL;
    }
    vnc_set_password(n, line);
    explicit_bzero(line, sizeof(line));
    return 0;
}

/* Says where it listens, and warns of what others can do. */
static void announce(const struct vnc *n)
{
    bool open = false;
    for (u32 i = 0; i < n->net.nlisteners; i++) {
        const struct net_listener *l = &n->net.listener[i];
        open |= !l->loopback;
        if (l->websocket)
            fprintf(stderr, "novt: VNC in a browser: http://%s/%s\n", l->name,
                    n->net.pages ? "" : " (WebSocket only: the pages need the package novnc)");
        else
            fprintf(stderr, "novt: VNC server on %s\n", l->name);
    }
    if (open && !n->opt.password)
        warn_report("VNC listens beyond this machine without a password: whoever reaches it sees and "
                    "controls the VM");
    else if (open)
        warn_report("VNC listens beyond this machine; its passwords are short and nothing is encrypted");
}

static rfbScreenInfoPtr make_screen(struct vnc *n)
{
    rfbLog = rfbErr = quiet;
    n->picture.pixels = calloc(640 * 400, sizeof(u32));
    n->picture.width = 640;
    n->picture.height = 400;
    rfbScreenInfoPtr s = n->picture.pixels ? rfbGetScreen(NULL, NULL, 640, 400, 8, 3, 4) : NULL;
    if (!s)
        return NULL;
    n->screen = s;
    s->frameBuffer = (char *)n->picture.pixels;
    set_format(n);
    s->screenData = n;
    s->desktopName = n->title;
    s->port = s->ipv6port = 0; /* we listen */
    s->cursor = NULL;
    s->deferUpdateTime = 0;
    s->maxClientWait = CLIENT_WAIT_MS;
    s->alwaysShared = n->opt.share != VNC_EXCLUSIVE;
    s->kbdAddEvent = on_key;
    s->ptrAddEvent = on_pointer;
    s->newClientHook = new_client;
    s->displayHook = before_update;
    if (n->opt.password) {
        static char marker;
        s->authPasswdData = &marker; /* asks for a password; ours is elsewhere */
        s->passwordCheck = check_password;
    }
    rfbInitServer(s);
    return s;
}

int vnc_create(struct bus *b, struct vga *v, struct input *in, const char *options, const char *name,
               struct vnc **out)
{
    char why[256];
    struct vnc *n = calloc(1, sizeof(*n));
    if (!n)
        return -ENOMEM;
    n->b = b;
    n->vga = v;
    n->in = in;
    n->wake_fd = -1;
    n->viewer = (struct vga_viewer){
        .changed = changed, .opaque = n, .period_ms = PERIOD_MS, .pixels = true, .blink = true};
    n->net.rfb = new_connection;
    n->net.opaque = n;
    pthread_mutex_init(&n->lock, NULL);
    snprintf(n->title, sizeof(n->title), name && *name ? "novt (%.80s)" : "novt", name ? name : "");
    int err = vnc_options_parse(options, &n->opt, why, sizeof(why));
    if (err)
        error_report("-vnc: %s", why);
    if (!err && n->opt.none) {
        vnc_destroy(n);
        *out = NULL;
        return 0;
    }
    if (!err && n->opt.password_file[0])
        err = read_password(n);
    err = err ? err : net_open(&n->net, &n->opt);
    if (!err && !make_screen(n))
        err = -ENOMEM;
    if (!err && (n->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        err = -errno;
    if (!err)
        rfbRegisterProtocolExtension(&extended_keys);
    err = err ? err : start_thread(n);
    if (err) {
        vnc_destroy(n);
        return err;
    }
    announce(n);
    if (n->opt.password && !n->have_password)
        warn_report(
            "VNC: password=on, and nobody gets in before the monitor sets one (or use password-file=FILE)");
    *out = n;
    return 0;
}

void vnc_destroy(struct vnc *n)
{
    if (!n)
        return;
    if (n->started) {
        __atomic_store_n(&n->quit, 1, __ATOMIC_SEQ_CST);
        wake(n);
        pthread_join(n->thread, NULL);
    }
    view(n, false);
    net_close(&n->net);
    if (n->screen) {
        rfbShutdownServer(n->screen, TRUE);
        rfbScreenCleanup(n->screen);
        rfbUnregisterProtocolExtension(&extended_keys);
    }
    free(n->picture.pixels);
    if (n->wake_fd >= 0)
        close(n->wake_fd);
    pthread_mutex_destroy(&n->lock);
    explicit_bzero(n->password, sizeof(n->password));
    free(n);
}

int vnc_set_password(struct vnc *n, const char *password)
{
    if (!n->opt.password)
        return -ENOENT;
    pthread_mutex_lock(&n->lock);
    n->have_password = password && *password;
    memset(n->password, 0, sizeof(n->password));
    if (n->have_password)
        snprintf(n->password, sizeof(n->password), "%.8s", password);
    pthread_mutex_unlock(&n->lock);
    return 0;
}

size_t vnc_info(struct vnc *n, char *buf, size_t size)
{
    size_t k = 0;
#define ADD(...)                                                                                             \
    do {                                                                                                     \
        if (k < size)                                                                                        \
            k += (size_t)snprintf(buf + k, size - k, __VA_ARGS__);                                           \
    } while (0)
    for (u32 i = 0; i < n->net.nlisteners; i++)
        ADD("%s on %s%s\n", n->net.listener[i].websocket ? "WebSocket" : "RFB", n->net.listener[i].name,
            n->opt.password ? ", with a password" : "");
    pthread_mutex_lock(&n->lock);
    for (u32 i = 0; i < MAX_CLIENTS; i++)
        if (n->client[i])
            ADD("client %s\n", n->client[i]->name);
    pthread_mutex_unlock(&n->lock);
#undef ADD
    return k < size ? k : size - 1;
}
