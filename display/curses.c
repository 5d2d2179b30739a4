/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -display curses: the guest's text screen on the terminal, in its colours, and the terminal's keys to the
 * guest.
 *
 * A thread of its own talks to ncurses, since a terminal may stop taking output for as long as it likes; the
 * bus lock is held only to copy cells and to hand over keys. ncurses compares with what the terminal shows
 * and sends the difference. A terminal smaller than the screen shows the part around the cursor.
 *
 * Ctrl-A is the prefix of commands, as on the serial console: x quits, h lists them.
 *
 * Must not: call ncurses from another thread, or run twice in a process (ncurses has one screen).
 */
#include "display/curses_display.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <term.h>
#include <time.h>
#include <unistd.h>

#include "base/hostsig.h"
#include "base/log.h"
#include "devices/terminal.h"
#include "devices/vga.h"
#include "display/curses_keys.h"

#define PERIOD_MS 33
#define CTRL_A    1

struct curses {
    struct bus *b;
    struct vga *vga;
    struct input *in;
    struct keys keys;
    struct vga_viewer viewer;
    struct vga_cells *cells;
    pthread_t thread;
    int wake_fd;
    struct host_signals *signals; /* SIGWINCH */
    u32 damaged, quit;            /* atomic */
    bool started, utf8, rich;     /* rich: sixteen colours for both */
    bool command;                 /* Ctrl-A was typed */
    bool help;
    SCREEN *screen;
};

static void wake(struct curses *c)
{
    static const u64 one = 1;
    ssize_t r = write(c->wake_fd, &one, sizeof(one));
    (void)r;
}

static void changed(void *opaque)
{
    struct curses *c = opaque;
    if (!__atomic_exchange_n(&c->damaged, 1, __ATOMIC_SEQ_CST))
        wake(c);
}

/* ---- colours ---- */

/* VGA counts blue, green, red; terminals red, green, blue. */
static short ansi(u32 color)
{
    return (short)((color & 10) | (color & 1) << 2 | (color >> 2 & 1));
}

static void init_colors(struct curses *c)
{
    if (!has_colors())
        return;
    start_color();
    assume_default_colors(COLOR_WHITE, COLOR_BLACK); /* pair 0 is VGA's attribute 07h */
    c->rich = COLORS >= 16 && COLOR_PAIRS >= 256;
    u32 n = c->rich ? 16 : 8;
    for (u32 i = 1; i < n * n && i < (u32)COLOR_PAIRS; i++)
        init_pair((short)i, ansi((i % n) ^ 7), ansi(i / n));
}

static void attributes(const struct curses *c, u8 attr, attr_t *a, short *pair)
{
    u32 fg = attr & 15, bg = attr >> 4;
    *a = A_NORMAL;
    if (c->cells->blink) {
        if (bg & 8)
            *a |= A_BLINK;
        bg &= 7;
    }
    if (!has_colors()) {
        *pair = 0;
        *a |= (fg & 8 ? A_BOLD : 0) | (bg && !(fg & 7) ? A_REVERSE : 0);
        return;
    }
    if (!c->rich) {
        *a |= fg & 8 ? A_BOLD : 0;
        fg &= 7;
        bg &= 7;
    }
    *pair = (short)(bg * (c->rich ? 16 : 8) + (fg ^ 7));
}

/* ---- drawing ---- */

static void put_cell(const struct curses *c, int y, int x, u16 cell)
{
    u8 ch = (u8)cell;
    attr_t a;
    short pair;
    cchar_t cc;
    wchar_t w[2] = {0};
    attributes(c, (u8)(cell >> 8), &a, &pair);
    w[0] = ch == 0xff ? L' ' : c->utf8 ? (wchar_t)vga_cp437(ch) : (wchar_t)curses_ascii(ch);
    setcchar(&cc, w, a, pair, NULL);
    mvadd_wch(y, x, &cc);
}

/* First row (or column) of those shown. */
static int first_shown(u32 total, int room, bool cursor, u32 at)
{
    if ((int)total <= room || !cursor)
        return 0;
    int first = (int)at - room + 1;
    return first > 0 ? first : 0;
}

static void show_help(void)
{
    static const char *const text[] = {"Ctrl-A x       quit novt",
                                       "Ctrl-A d       Ctrl-Alt-Delete",
                                       "Ctrl-A 1 to 9  Ctrl-Alt-F1 to F9",
                                       "Ctrl-A l       draw everything again",
                                       "Ctrl-A Ctrl-A  Ctrl-A",
                                       "any key goes on"};
    for (size_t i = 0; i < ARRAY_SIZE(text); i++) {
        attr_set(A_REVERSE, 0, NULL);
        mvprintw((int)i, 0, " %-34s", text[i]);
    }
    attr_set(A_NORMAL, 0, NULL);
    curs_set(0);
}

static void show(struct curses *c)
{
    const struct vga_cells *s = c->cells;
    erase();
    if (s->graphics) {
        char text[96];
        snprintf(text, sizeof(text), "%ux%u graphics mode", s->width, s->height);
        mvaddnstr(LINES / 2, COLS > (int)strlen(text) ? (COLS - (int)strlen(text)) / 2 : 0, text, COLS);
        curs_set(0);
    } else {
        int y0 = first_shown(s->rows, LINES, s->cursor, s->cursor_row);
        int x0 = first_shown(s->cols, COLS, s->cursor, s->cursor_col);
        for (int y = 0; !s->blanked && y < LINES && y0 + y < (int)s->rows; y++)
            for (int x = 0; x < COLS && x0 + x < (int)s->cols; x++)
                put_cell(c, y, x, s->cell[y0 + y][x0 + x]);
        bool cursor = s->cursor && !s->blanked;
        curs_set(cursor);
        if (cursor)
            move((int)s->cursor_row - y0, (int)s->cursor_col - x0);
    }
    if (c->help)
        show_help();
    refresh();
}

static void update(struct curses *c)
{
    __atomic_store_n(&c->damaged, 0, __ATOMIC_SEQ_CST);
    bus_lock(c->b);
    vga_viewer_clear(&c->viewer);
    vga_read_cells(c->vga, c->cells);
    bus_unlock(c->b);
    show(c);
}

/* ---- keys ---- */

static void key(struct curses *c, u32 keysym, bool down)
{
    struct key_event e[KEYS_MAX];
    input_keys(c->in, e, keys_translate(&c->keys, keysym, down, input_leds(c->in), e));
}

static void type(struct curses *c, const struct typed *t)
{
    if (!t->keysym)
        return;
    bus_lock(c->b);
    if (t->ctrl)
        key(c, KEYSYM_CONTROL_L, true);
    if (t->alt)
        key(c, KEYSYM_ALT_L, true);
    if (t->shift)
        key(c, KEYSYM_SHIFT_L, true);
    key(c, t->keysym, true);
    key(c, t->keysym, false);
    if (t->shift)
        key(c, KEYSYM_SHIFT_L, false);
    if (t->alt)
        key(c, KEYSYM_ALT_L, false);
    if (t->ctrl)
        key(c, KEYSYM_CONTROL_L, false);
    bus_unlock(c->b);
}

static void command(struct curses *c, u32 ch)
{
    struct typed t = {0};
    switch (ch) {
    case CTRL_A:
        t = curses_character(CTRL_A);
        break;
    case 'x':
    case 'X':
        bus_lock(c->b);
        bus_host(c->b)->request_quit(bus_host(c->b)->opaque, 0);
        bus_unlock(c->b);
        break;
    case 'd':
        t = (struct typed){.keysym = KEYSYM_DELETE, .ctrl = true, .alt = true};
        break;
    case 'l':
        clearok(stdscr, TRUE);
        show(c);
        break;
    case 'h':
    case '?':
        c->help = true;
        show(c);
        break;
    default:
        if (ch >= '1' && ch <= '9')
            t = (struct typed){.keysym = KEYSYM_F1 + (ch - '1'), .ctrl = true, .alt = true};
    }
    type(c, &t);
}

/* One key of the terminal; false: there is none. */
static bool read_key(struct curses *c)
{
    wint_t ch;
    int r = get_wch(&ch);
    if (r == ERR)
        return false;
    if (c->help) {
        c->help = false;
        show(c);
        return true;
    }
    struct typed t;
    if (r == KEY_CODE_YES) {
        t = curses_function((int)ch);
    } else if (c->command) {
        c->command = false;
        command(c, ch);
        return true;
    } else if (ch == CTRL_A) {
        c->command = true;
        return true;
    } else if (ch == 0x1b) { /* Alt sends it before the key, at once */
        wint_t next;
        r = get_wch(&next);
        t = r == ERR            ? curses_character(ch)
            : r == KEY_CODE_YES ? curses_function((int)next)
                                : curses_character(next);
        t.alt |= r != ERR;
    } else {
        t = curses_character(ch);
    }
    c->command = false;
    type(c, &t);
    return true;
}

static void resized(struct curses *c)
{
    u8 sig;
    struct winsize w;
    while (read(host_signals_fd(c->signals), &sig, 1) == 1)
        ;
    if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_row && w.ws_col) {
        resizeterm(w.ws_row, w.ws_col);
        show(c);
    }
}

static void *curses_thread(void *arg)
{
    struct curses *c = arg;
    bool gone = false; /* the terminal was closed */
    prctl(PR_SET_NAME, "novt-curses");
    while (!__atomic_load_n(&c->quit, __ATOMIC_SEQ_CST)) {
        struct pollfd p[3] = {{.fd = c->wake_fd, .events = POLLIN},
                              {.fd = host_signals_fd(c->signals), .events = POLLIN},
                              {.fd = gone ? -1 : STDIN_FILENO, .events = POLLIN}};
        u64 count;
        if (poll(p, 3, -1) < 0)
            continue;
        if (p[0].revents && read(c->wake_fd, &count, sizeof(count)) < 0)
            continue;
        if (p[1].revents)
            resized(c);
        if (p[2].revents) {
            bool any = false;
            while (read_key(c))
                any = true;
            gone = !any && (p[2].revents & (POLLHUP | POLLERR));
        }
        if (__atomic_load_n(&c->damaged, __ATOMIC_SEQ_CST))
            update(c);
    }
    return NULL;
}

/* ---- life ---- */

static int start_thread(struct curses *c)
{
    sigset_t block, old;
    sigfillset(&block);
    static const int own[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        sigdelset(&block, own[i]);
    pthread_sigmask(SIG_SETMASK, &block, &old);
    int err = pthread_create(&c->thread, NULL, curses_thread, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    c->started = !err;
    return -err;
}

static int open_terminal(struct curses *c, const char *name)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        error_report("-display curses needs a terminal as standard input and output");
        return -EINVAL;
    }
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8"))
        LOG(dev, "curses: the terminal's character set is '%s', not UTF-8: ASCII only", nl_langinfo(CODESET));
    c->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
    terminal_enter();
    c->screen = newterm(NULL, stdout, stdin);
    if (!c->screen) {
        terminal_leave();
        const char *term = getenv("TERM");
        error_report("-display curses: the terminal type '%s' is not known: set TERM", term ? term : "");
        return -EINVAL;
    }
    const char *leave = tigetstr("rmcup");
    terminal_set_leave_text(leave && leave != (const char *)-1 ? leave : NULL);
    set_escdelay(25);
    raw();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    init_colors(c);
    return 0;
}

int curses_create(struct bus *b, struct vga *v, struct input *in, const char *name, struct curses **out)
{
    struct curses *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->b = b;
    c->vga = v;
    c->in = in;
    c->wake_fd = -1;
    c->viewer = (struct vga_viewer){.changed = changed, .opaque = c, .period_ms = PERIOD_MS};
    c->cells = calloc(1, sizeof(*c->cells));
    sigset_t winch;
    sigemptyset(&winch);
    sigaddset(&winch, SIGWINCH);
    int err = c->cells ? open_terminal(c, name) : -ENOMEM;
    if (!err && ((c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ||
                 !(c->signals = host_signals_open(&winch))))
        err = -errno;
    err = err ? err : start_thread(c);
    if (err) {
        curses_destroy(c);
        return err;
    }
    bus_lock(b);
    vga_add_viewer(v, &c->viewer);
    bus_unlock(b);
    *out = c;
    return 0;
}

void curses_destroy(struct curses *c)
{
    if (!c)
        return;
    bool stuck = false;
    if (c->started) {
        bus_lock(c->b);
        vga_remove_viewer(c->vga, &c->viewer);
        bus_unlock(c->b);
        __atomic_store_n(&c->quit, 1, __ATOMIC_SEQ_CST);
        wake(c);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 2;
        stuck = pthread_timedjoin_np(c->thread, NULL, &until); /* the terminal takes no output */
    }
    if (stuck) {
        tcflush(STDOUT_FILENO, TCOFLUSH);
        terminal_leave();
        return; /* the thread still uses it */
    }
    if (c->screen) {
        terminal_set_leave_text(NULL);
        endwin();
        delscreen(c->screen);
        terminal_leave();
    }
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    host_signals_close(c->signals);
    free(c->cells);
    free(c);
}
