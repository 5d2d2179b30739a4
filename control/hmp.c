/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor: a line editor and the commands that change something. Those that look are in hmp_info.c
 * and hmp_memory.c. Names, parameters and what is printed are QEMU's where it has the command.
 *
 * The editor knows printable characters, backspace, Ctrl-U, Ctrl-W, arrow up and down (history) and Tab
 * (command names); it echoes, since a terminal in raw mode or a socket's other end does not.
 */
#include "control/internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "display/display.h"

#define LINE_MAX_LEN 1023
#define HISTORY      16
#define PROMPT       "(novt) "

struct hmp {
    struct channel ch;
    char line[LINE_MAX_LEN + 1];
    u32 len;
    char *history[HISTORY]; /* [0] is the last one */
    int browsing;           /* which one is shown, -1: none */
    int escape;             /* 0; 1: behind Esc; 2: behind Esc [ */
    bool cr;                /* the last byte was CR: a LF belongs to it */
    bool greeted;
};

/* ---- commands ---- */

bool hmp_number(struct hmp_call *h, const char *s, u64 max, u64 *val)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(s, &end, 0);
    if (end == s || *end || errno || n > max || *s == '-') {
        fprintf(h->out, "'%s' is not a number from 0 to %llu\n", s, (unsigned long long)max);
        return false;
    }
    *val = n;
    return true;
}

static bool has_args(struct hmp_call *h, int min, int max)
{
    if (h->argc >= min && h->argc <= max)
        return true;
    fprintf(h->out, h->argc < min ? "parameters are missing (help shows them)\n" : "too many parameters\n");
    return false;
}

static void hmp_stop(struct hmp_call *h)
{
    machine_stop_now(h->c->vm, RUN_PAUSED);
}

static void hmp_cont(struct hmp_call *h)
{
    if (!machine_cont_over_now(h->c->vm))
        fprintf(h->out, "Error: Resetting the Virtual Machine is required\n");
}

static void hmp_quit(struct hmp_call *h)
{
    machine_quit(h->c->vm, 0, "host-qmp-quit");
}

static void hmp_reset(struct hmp_call *h)
{
    machine_reset(h->c->vm);
}

static void hmp_powerdown(struct hmp_call *h)
{
    if (!h->c->m.power_button)
        fprintf(h->out,
                "this machine has no power button: a kernel loaded with -kernel and no drives has no ACPI\n");
    else
        machine_powerdown(h->c->vm);
}

static void hmp_screendump(struct hmp_call *h)
{
    const char *path = NULL, *format = NULL;
    for (int i = 0; i < h->argc; i++) {
        if (!strcmp(h->argv[i], "-f") && i + 1 < h->argc)
            format = h->argv[++i];
        else if (!path)
            path = h->argv[i];
        else
            path = "";
    }
    if (!path || !*path || (format && strcmp(format, "png") && strcmp(format, "ppm"))) {
        fprintf(h->out, "usage: screendump FILE [-f png|ppm]\n");
        return;
    }
    size_t n = strlen(path);
    bool png = format ? !strcmp(format, "png") : n > 4 && !strcmp(path + n - 4, ".png");
    int err = screen_dump(h->c, path, png);
    if (err == -ENODEV)
        fprintf(h->out, "Error: there is no screen: the machine has no video adapter\n");
    else if (err)
        fprintf(h->out, "Error: cannot write '%s': %s\n", path, strerror(-err));
}

static void hmp_sendkey(struct hmp_call *h)
{
    int codes[16], n = 0;
    u64 hold = 100;
    if (!has_args(h, 1, 2) || (h->argc == 2 && !hmp_number(h, h->argv[1], 100000, &hold)))
        return;
    for (const char *p = h->argv[0]; *p || !n;) {
        size_t len = strcspn(p, "-");
        int code = key_code(p, len);
        if (code < 0 || n == (int)ARRAY_SIZE(codes)) {
            fprintf(h->out, code < 0 ? "unknown key: '%.*s'\n" : "too many keys\n", (int)len, p);
            return;
        }
        codes[n++] = code;
        p += len;
        if (*p == '-' && !*++p)
            break;
    }
    if (!keys_chord(h->c, codes, n, (u32)hold))
        fprintf(h->out,
                h->c->m.keyboard ? "too many keys wait to be typed\n" : "this machine has no keyboard\n");
}

static bool whole(struct hmp_call *h, const char *s, int *val)
{
    char *end;
    long n = strtol(s, &end, 0);
    if (end == s || *end || n < -10000 || n > 10000) {
        fprintf(h->out, "'%s' is not a number from -10000 to 10000\n", s);
        return false;
    }
    *val = (int)n;
    return true;
}

static void hmp_mouse_move(struct hmp_call *h)
{
    int d[3] = {0};
    if (!has_args(h, 2, 3))
        return;
    for (int i = 0; i < h->argc; i++)
        if (!whole(h, h->argv[i], &d[i]))
            return;
    mouse_event(h->c, d[0], d[1], d[2], h->c->buttons);
}

static void hmp_mouse_button(struct hmp_call *h)
{
    u64 mask;
    if (has_args(h, 1, 1) && hmp_number(h, h->argv[0], 7, &mask)) {
        /* QEMU's monitor: 1 left, 2 middle, 4 right */
        u8 b = (mask & 1) | (mask & 2 ? 4 : 0) | (mask & 4 ? 2 : 0);
        mouse_event(h->c, 0, 0, 0, b);
    }
}

static void hmp_eject(struct hmp_call *h)
{
    bool force = h->argc && !strcmp(h->argv[0], "-f");
    char err[512];
    if (has_args(h, 1 + force, 1 + force) && drives_eject(h->c->vm, h->argv[force], force, err, sizeof(err)))
        fprintf(h->out, "Error: %s\n", err);
}

static void hmp_set_password(struct hmp_call *h)
{
    if (!has_args(h, 2, 2))
        return;
    if (strcmp(h->argv[0], "vnc"))
        fprintf(h->out, "there are passwords for vnc only\n");
    else if (display_set_vnc_password(h->c->m.display, h->argv[1]))
        fprintf(h->out, "Error: there is no VNC server with password=on\n");
}

static void hmp_change(struct hmp_call *h)
{
    if (h->argc == 3 && !strcmp(h->argv[0], "vnc") && !strcmp(h->argv[1], "password")) {
        if (display_set_vnc_password(h->c->m.display, h->argv[2]))
            fprintf(h->out, "Error: there is no VNC server with password=on\n");
        return;
    }
    bool force = h->argc && !strcmp(h->argv[0], "-f");
    char **a = h->argv + force;
    int n = h->argc - force, read_only = -1;
    char err[512];
    if (!has_args(h, 2 + force, 4 + force))
        return;
    if (n > 2 && strcmp(a[2], "raw")) {
        fprintf(h->out, "the format is raw, not '%s'\n", a[2]);
        return;
    }
    if (n > 3) {
        read_only = !strcmp(a[3], "read-only")    ? 1
                    : !strcmp(a[3], "read-write") ? 0
                    : !strcmp(a[3], "retain")     ? -1
                                                  : -2;
        if (read_only == -2) {
            fprintf(h->out, "the mode is retain, read-only or read-write, not '%s'\n", a[3]);
            return;
        }
    }
    if (drives_change(h->c->vm, a[0], a[1], read_only, force, err, sizeof(err)))
        fprintf(h->out, "Error: %s\n", err);
}

static void hmp_nmi(struct hmp_call *h)
{
    const struct bus_host *host = bus_host(h->c->m.bus);
    host->raise_nmi(host->opaque);
}

static void hmp_none(struct hmp_call *h)
{
    fprintf(h->out,
            "novt keeps no snapshots of a running machine: save the disk images while it is stopped\n");
}

static void hmp_gdbserver(struct hmp_call *h)
{
    fprintf(h->out, "the GDB server is opened at the start only: -gdb tcp::1234, or -s\n");
}

static void print_help(FILE *out, const struct hmp_command *list, const char *name, const char *prefix)
{
    bool any = false;
    for (const struct hmp_command *k = list; k->name; k++) {
        if (name && strcmp(k->name, name) && !(k->alias && !strcmp(k->alias, name)))
            continue;
        any = true;
        fprintf(out, "%s%s%s%s%s%s -- %s\n", prefix, k->name, k->alias ? "|" : "", k->alias ? k->alias : "",
                *k->params ? " " : "", k->params, k->help);
    }
    if (!any)
        fprintf(out, "unknown command: '%s'\n", name);
}

static void hmp_help(struct hmp_call *h)
{
    if (h->argc && !strcmp(h->argv[0], "info"))
        print_help(h->out, hmp_info_commands, h->argc > 1 ? h->argv[1] : NULL, "info ");
    else
        print_help(h->out, hmp_commands, h->argc ? h->argv[0] : NULL, "");
}

const struct hmp_command hmp_commands[] = {
    {"help", "?", "[COMMAND]", "what there is; help info for what can be looked at", hmp_help},
    {"info", NULL, "WHAT", "looks at the machine: help info lists what", hmp_info},
    {"stop", "s", "", "stops the machine", hmp_stop},
    {"cont", "c", "", "lets it go on", hmp_cont},
    {"quit", "q", "", "ends novt", hmp_quit},
    {"system_reset", NULL, "", "presses the reset button", hmp_reset},
    {"system_powerdown", NULL, "", "presses the power button", hmp_powerdown},
    {"nmi", NULL, "", "raises a non-maskable interrupt", hmp_nmi},
    {"x", NULL, "/FMT ADDR", "guest memory at a linear address; FMT: count, format xduocis, size bhwg",
     hmp_x},
    {"xp", NULL, "/FMT ADDR", "the same at a physical address", hmp_xp},
    {"print", "p", "[/FMT] EXPR", "value of an expression, with registers: $eax + 4 * 0x10", hmp_print},
    {"gva2gpa", NULL, "ADDR", "physical address of a linear one", hmp_gva2gpa},
    {"i", NULL, "/FMT PORT", "reads a port, as the guest would", hmp_in},
    {"o", NULL, "/FMT PORT VALUE", "writes a port", hmp_out},
    {"memsave", NULL, "ADDR SIZE FILE", "linear memory into a file", hmp_memsave},
    {"pmemsave", NULL, "ADDR SIZE FILE", "physical memory into a file", hmp_pmemsave},
    {"screendump", NULL, "FILE [-f png|ppm]", "the screen into a picture (PNG if FILE ends in .png)",
     hmp_screendump},
    {"sendkey", NULL, "KEYS [HOLD_MS]", "types a key or a combination: ctrl-alt-delete", hmp_sendkey},
    {"mouse_move", NULL, "DX DY [DZ]", "moves the mouse", hmp_mouse_move},
    {"mouse_button", NULL, "MASK", "mouse buttons: 1 left, 2 middle, 4 right", hmp_mouse_button},
    {"eject", NULL, "[-f] DEVICE", "takes the medium out; -f: although the guest locked it", hmp_eject},
    {"change", NULL, "[-f] DEVICE FILE [raw [retain|read-only|read-write]]", "puts another medium in",
     hmp_change},
    {"set_password", NULL, "vnc PASSWORD", "who knows it may look (-vnc ...,password=on)", hmp_set_password},
    {"gdbserver", NULL, "", "says how to use GDB", hmp_gdbserver},
    {"savevm", NULL, "TAG", "not in novt", hmp_none},
    {"loadvm", NULL, "TAG", "not in novt", hmp_none},
    {"delvm", NULL, "TAG", "not in novt", hmp_none},
    {NULL, NULL, NULL, NULL, NULL},
};

void hmp_execute(struct control *c, const char *line, FILE *out)
{
    char words[LINE_MAX_LEN + 1], name[32];
    char *argv[HMP_ARGS], *save = NULL;
    while (isspace((u8)*line))
        line++;
    size_t n = strcspn(line, " \t/");
    if (*line == '?')
        n = 1;
    if (!*line)
        return;
    snprintf(name, sizeof(name), "%.*s", (int)n, line);
    const struct hmp_command *k = hmp_commands;
    while (k->name && strcmp(k->name, name) && !(k->alias && !strcmp(k->alias, name)))
        k++;
    if (!k->name || n >= sizeof(name)) {
        fprintf(out, "unknown command: '%.40s' (help lists them)\n", line);
        return;
    }
    struct hmp_call h = {.c = c, .out = out, .argv = argv, .rest = line + n};
    snprintf(words, sizeof(words), "%s", line + n);
    for (char *w = strtok_r(words, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
        if (h.argc == HMP_ARGS) {
            fprintf(out, "too many words\n");
            return;
        }
        argv[h.argc++] = w;
    }
    k->fn(&h);
}

/* ---- the line editor ---- */

static void say(struct hmp *m, const char *text)
{
    channel_write(&m->ch, text, strlen(text));
}

/* Output of a command, with the line ends that terminals in raw mode need. */
static void show(struct hmp *m, const char *text, size_t len)
{
    while (len) {
        const char *nl = memchr(text, '\n', len);
        size_t n = nl ? (size_t)(nl - text) : len;
        channel_write(&m->ch, text, n);
        if (nl) {
            channel_write(&m->ch, "\r\n", 2);
            n++;
        }
        text += n;
        len -= n;
    }
}

static void run_line(struct hmp *m)
{
    char *text = NULL;
    size_t len = 0;
    say(m, "\r\n");
    m->line[m->len] = 0;
    FILE *out = open_memstream(&text, &len);
    if (out) {
        hmp_execute(m->ch.ctl, m->line, out);
        fclose(out);
        show(m, text, len);
        free(text);
    }
    if (m->len && !(m->history[0] && !strcmp(m->history[0], m->line))) {
        free(m->history[HISTORY - 1]);
        memmove(m->history + 1, m->history, sizeof(m->history) - sizeof(m->history[0]));
        m->history[0] = strdup(m->line);
    }
    m->browsing = -1;
    m->len = 0;
    say(m, PROMPT);
}

static void rub_out(struct hmp *m, u32 n)
{
    for (; n && m->len; n--, m->len--)
        say(m, "\b \b");
}

static void put(struct hmp *m, const char *text, size_t n)
{
    if (n > LINE_MAX_LEN - m->len)
        n = LINE_MAX_LEN - m->len;
    memcpy(m->line + m->len, text, n);
    m->len += (u32)n;
    channel_write(&m->ch, text, n);
}

static void browse(struct hmp *m, int step)
{
    int to = m->browsing + step;
    if (to < -1 || to >= HISTORY || (to >= 0 && !m->history[to]))
        return;
    m->browsing = to;
    rub_out(m, m->len);
    if (to >= 0)
        put(m, m->history[to], strlen(m->history[to]));
}

/* Tab: completes the command's name (or info's) as far as it is unique, and lists the rest. */
static void complete(struct hmp *m)
{
    m->line[m->len] = 0;
    bool info = !strncmp(m->line, "info ", 5);
    const char *word = m->line + (info ? 5 : 0), *first = NULL;
    size_t len = strlen(word), common = 0;
    int found = 0;
    if (strchr(word, ' '))
        return;
    const struct hmp_command *list = info ? hmp_info_commands : hmp_commands;
    for (const struct hmp_command *k = list; k->name; k++) {
        if (strncmp(k->name, word, len))
            continue;
        if (!found++) {
            first = k->name;
            common = strlen(first);
        }
        size_t same = 0;
        while (same < common && k->name[same] == first[same])
            same++;
        common = same;
    }
    if (!found)
        return;
    if (common > len)
        put(m, first + len, common - len);
    if (found == 1) {
        put(m, " ", 1);
    } else if (common == len) {
        say(m, "\r\n");
        for (const struct hmp_command *k = list; k->name; k++) {
            if (!strncmp(k->name, word, len)) {
                say(m, k->name);
                say(m, "  ");
            }
        }
        say(m, "\r\n" PROMPT);
        channel_write(&m->ch, m->line, m->len);
    }
}

static void hmp_byte(struct channel *ch, u8 b)
{
    struct hmp *m = (struct hmp *)ch;
    bool after_cr = m->cr;
    m->cr = b == '\r';
    if (m->escape == 1) {
        m->escape = b == '[' || b == 'O' ? 2 : 0;
        return;
    }
    if (m->escape == 2) {
        if (b >= 0x40)
            m->escape = 0;
        if (b == 'A' || b == 'B')
            browse(m, b == 'A' ? 1 : -1);
        return;
    }
    switch (b) {
    case '\n':
        if (after_cr)
            break;
        /* fall through */
    case '\r':
        run_line(m);
        break;
    case 8:
    case 127:
        rub_out(m, 1);
        break;
    case 'U' & 31:
    case 'C' & 31:
        rub_out(m, m->len);
        break;
    case 'W' & 31:
        while (m->len && m->line[m->len - 1] == ' ')
            rub_out(m, 1);
        while (m->len && m->line[m->len - 1] != ' ')
            rub_out(m, 1);
        break;
    case 'P' & 31:
        browse(m, 1);
        break;
    case 'N' & 31:
        browse(m, -1);
        break;
    case '\t':
        complete(m);
        break;
    case 27:
        m->escape = 1;
        break;
    default:
        if (b >= ' ') {
            char text = (char)b;
            put(m, &text, 1);
        }
    }
}

static void greet(struct hmp *m)
{
    say(m, m->greeted ? "" : "novt " NOVT_VERSION " monitor - help lists the commands\r\n");
    m->greeted = true;
    say(m, PROMPT);
    channel_write(&m->ch, m->line, m->len);
}

static bool shared(const struct channel *ch)
{
    return !strncmp(ch->name, "mux:", 4);
}

static void hmp_peer(struct channel *ch, bool here)
{
    struct hmp *m = (struct hmp *)ch;
    m->len = 0;
    m->escape = 0;
    m->browsing = -1;
    m->greeted = false;
    if (here && !shared(ch)) /* on a shared terminal, when it gets the input */
        greet(m);
}

static void hmp_focused(struct channel *ch)
{
    struct hmp *m = (struct hmp *)ch;
    say(m, "\r\n");
    greet(m);
}

static void hmp_free(struct channel *ch)
{
    struct hmp *m = (struct hmp *)ch;
    for (int i = 0; i < HISTORY; i++)
        free(m->history[i]);
    free(m);
}

static const struct channel_ops hmp_ops = {
    .byte = hmp_byte, .peer = hmp_peer, .focused = hmp_focused, .free = hmp_free};

int hmp_create(struct control *c, const char *chardev)
{
    struct hmp *m = calloc(1, sizeof(*m));
    NOVT_ASSERT(m);
    m->browsing = -1;
    return channel_open(c, &m->ch, &hmp_ops, chardev, "monitor");
}
