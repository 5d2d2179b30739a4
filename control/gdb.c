/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GDB's remote serial protocol (GDB manual, appendix E): packets, breakpoints, resuming and stop replies.
 *
 * Addresses are linear, breakpoints too: one is hit where cs.base + eip comes to it, in any mode, whatever
 * address space is current. eip is reported as it is; in real mode with cs.base != 0 GDB needs $cs_base +
 * $eip.
 *
 * The guest sees nothing of a debugger. Breakpoints are not written into its memory: they are a list that the
 * CPU looks at (struct cpu_debug), and translated code ends in front of them. GDB takes all of them out
 * whenever the guest stops and puts them back when it goes on; so the list is handed over only when the guest
 * goes on, and translations are only thrown away if it has really changed. Steps run through the interpreter,
 * by default with interrupts held back, as under QEMU.
 *
 * A peer that goes away without detaching leaves the machine as it is (stopped, mostly) but takes its
 * breakpoints along.
 *
 * Must not: trust any length, number or address of a packet.
 */
#include "control/gdb.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "monitor/monitor.h"

#define PACKET_MAX   0x4000u               /* bytes of a packet, either way */
#define MEMORY_MAX   (PACKET_MAX / 2 - 16) /* bytes of memory in a packet */
#define SSTEP_ENABLE 1u
#define SSTEP_NOIRQ  2u

enum receive { R_IDLE, R_DATA, R_ESCAPE, R_SUM1, R_SUM2 };

struct gdb {
    struct channel ch;
    enum receive state;
    u8 packet[PACKET_MAX + 1];
    u32 len;
    bool too_long;
    u8 sum, sum_got;
    char reply[PACKET_MAX + 8]; /* the last packet sent, framed */
    u32 reply_len;
    bool no_ack, swbreak, hwbreak;
    bool waiting;  /* GDB waits for a stop reply */
    bool physical; /* memory accesses are physical (qemu.PhyMemMode) */
    u32 sstep;
    char *xml;
    struct cpu_debug want, active; /* what GDB asked for; what the CPU has */
    bool break_is_hw[CPU_DEBUG_BREAKS];
    bool cpu_has;
};

/* ---- sending ---- */

static void send_raw(struct gdb *g)
{
    channel_write(&g->ch, g->reply, g->reply_len);
}

static void send_packet(struct gdb *g, const void *data, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    const u8 *p = data;
    u32 n = 0;
    u8 sum = 0;
    if (len > PACKET_MAX)
        len = PACKET_MAX;
    g->reply[n++] = '$';
    for (size_t i = 0; i < len; i++) {
        g->reply[n++] = (char)p[i];
        sum = (u8)(sum + p[i]);
    }
    g->reply[n++] = '#';
    g->reply[n++] = hex[sum >> 4];
    g->reply[n++] = hex[sum & 15];
    g->reply_len = n;
    send_raw(g);
}

static void send_text(struct gdb *g, const char *text)
{
    send_packet(g, text, strlen(text));
}

static void send_hex(struct gdb *g, const char *prefix, const u8 *data, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    char text[PACKET_MAX];
    size_t n = strlen(prefix);
    memcpy(text, prefix, n);
    for (size_t i = 0; i < len && n + 2 <= sizeof(text); i++) {
        text[n++] = hex[data[i] >> 4];
        text[n++] = hex[data[i] & 15];
    }
    send_packet(g, text, n);
}

/* ---- parsing ---- */

static int nibble(u8 ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    if (ch >= 'a' && ch <= 'f')
        return ch - 'a' + 10;
    return ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

/* A hexadecimal number up to `end` (0: the end of the packet), 32 bits; moves *p behind it and `end`. */
static bool number(const char **p, char end, u32 *val)
{
    u64 n = 0;
    int digits = 0, d;
    for (; (d = nibble((u8) * *p)) >= 0; ++*p, digits++) {
        n = n << 4 | (u32)d;
        if (n > 0xffffffffull)
            return false;
    }
    if (!digits || **p != end)
        return false;
    if (end)
        ++*p;
    *val = (u32)n;
    return true;
}

static bool unhex(const char *text, size_t digits, u8 *out)
{
    for (size_t i = 0; i < digits; i += 2) {
        int a = nibble((u8)text[i]), b = nibble((u8)text[i + 1]);
        if (a < 0 || b < 0)
            return false;
        out[i / 2] = (u8)(a << 4 | b);
    }
    return true;
}

static bool starts(const char **p, const char *with)
{
    size_t n = strlen(with);
    if (strncmp(*p, with, n))
        return false;
    *p += n;
    return true;
}

/* ---- breakpoints ---- */

static void hand_over_watches(struct gdb *g)
{
    struct vcpu *v = g->ch.ctl->m.cpu;
    g->active.n_watches = g->want.n_watches;
    memcpy(g->active.watches, g->want.watches, sizeof(g->want.watches));
    v->debug = &g->active;
    cpu_update_mode(v);
}

/* Gives the CPU the breakpoints and watchpoints that GDB wants. */
static void hand_over(struct gdb *g)
{
    struct control *c = g->ch.ctl;
    bool same = g->active.n_breaks == g->want.n_breaks &&
                !memcmp(g->active.breaks, g->want.breaks, g->want.n_breaks * sizeof(u32));
    g->active.n_breaks = g->want.n_breaks;
    memcpy(g->active.breaks, g->want.breaks, sizeof(g->want.breaks));
    hand_over_watches(g);
    if (!same && c->m.translates)
        monitor_flush(c->m.cpu);
}

static void forget_all(struct gdb *g)
{
    struct vcpu *v = g->ch.ctl->m.cpu;
    g->want.n_breaks = g->want.n_watches = 0;
    hand_over(g);
    v->debug = NULL;
}

static bool set_break(struct gdb *g, u32 addr, bool hw, bool insert)
{
    struct cpu_debug *d = &g->want;
    u32 n = 0;
    while (n < d->n_breaks && (d->breaks[n] != addr || g->break_is_hw[n] != hw))
        n++;
    if (insert) {
        if (n < d->n_breaks)
            return true;
        if (n == CPU_DEBUG_BREAKS)
            return false;
        d->breaks[n] = addr;
        g->break_is_hw[n] = hw;
        d->n_breaks++;
        return true;
    }
    if (n == d->n_breaks)
        return false;
    /* order is kept: GDB puts them back in the same one, and then nothing has changed */
    d->n_breaks--;
    memmove(d->breaks + n, d->breaks + n + 1, (d->n_breaks - n) * sizeof(d->breaks[0]));
    memmove(g->break_is_hw + n, g->break_is_hw + n + 1, (d->n_breaks - n) * sizeof(g->break_is_hw[0]));
    return true;
}

static bool set_watch(struct gdb *g, u32 addr, u32 len, u8 kind, bool insert)
{
    struct cpu_debug *d = &g->want;
    struct cpu_watch w = {addr, addr + len - 1, kind};
    u32 n = 0;
    if (!len || addr + (len - 1) < addr)
        return false;
    while (n < d->n_watches &&
           (d->watches[n].first != w.first || d->watches[n].last != w.last || d->watches[n].kind != w.kind))
        n++;
    if (insert) {
        if (n == CPU_DEBUG_WATCHES)
            return false;
        if (n == d->n_watches)
            d->watches[d->n_watches++] = w;
        return true;
    }
    if (n == d->n_watches)
        return false;
    d->watches[n] = d->watches[--d->n_watches];
    return true;
}

static void breakpoint(struct gdb *g, const char *p, bool insert)
{
    char type = *p++;
    u32 addr, len;
    bool ok = false;
    if (type < '0' || type > '4') {
        send_text(g, "");
        return;
    }
    const char *conditions = strchr(p, ';');
    char args[32];
    snprintf(args, sizeof(args), "%.*s", (int)(conditions ? conditions - p : 31), p);
    p = args;
    if (*p++ == ',' && number(&p, ',', &addr) && number(&p, 0, &len)) {
        if (type <= '1')
            ok = set_break(g, addr, type == '1', insert);
        else
            ok = set_watch(g, addr, len,
                           type == '2'   ? CPU_WATCH_WRITE
                           : type == '3' ? CPU_WATCH_READ
                                         : CPU_WATCH_READ | CPU_WATCH_WRITE,
                           insert);
    }
    send_text(g, ok ? "OK" : "E22");
}

/* ---- stopping and going on ---- */

static void send_stop(struct gdb *g)
{
    struct control *c = g->ch.ctl;
    char text[64];
    const struct cpu_debug *d = &g->active;
    enum run_state s = machine_state(c->vm);
    int sig = s == RUN_PAUSED ? 2 : s == RUN_SHUTDOWN ? 3 : s == RUN_INTERNAL_ERROR ? 6 : 5;
    int n = snprintf(text, sizeof(text), "T%02xthread:1;", sig);
    /* Where eip is not the linear address, GDB knows of no breakpoint at its pc and would think that this
     * stop is an old one to be ignored: it gets a plain SIGTRAP. */
    if (sig == 5 && d->hit == DEBUG_HIT_BREAK && d->hit_addr == c->m.cpu->eip) {
        u32 k = 0;
        while (k < d->n_breaks && d->breaks[k] != d->hit_addr)
            k++;
        bool hw = k < d->n_breaks && g->break_is_hw[k];
        if (hw ? g->hwbreak : g->swbreak)
            snprintf(text + n, sizeof(text) - (size_t)n, "%s:;", hw ? "hwbreak" : "swbreak");
    } else if (sig == 5 && d->hit == DEBUG_HIT_WATCH && d->hit_watch < d->n_watches) {
        u8 kind = d->watches[d->hit_watch].kind;
        snprintf(text + n, sizeof(text) - (size_t)n, "%s:%x;",
                 kind == CPU_WATCH_WRITE  ? "watch"
                 : kind == CPU_WATCH_READ ? "rwatch"
                                          : "awatch",
                 d->hit_addr);
    }
    send_text(g, text);
    g->waiting = false;
}

static void resume(struct gdb *g, bool step)
{
    struct control *c = g->ch.ctl;
    struct vcpu *v = c->m.cpu;
    /* Stopped at a breakpoint that GDB doesn't know it is at, such as in real mode: it must not be hit again
     * at once. */
    bool over = g->active.hit == DEBUG_HIT_BREAK && g->active.hit_addr == v->seg[S_CS].base + v->eip;
    bool went;
    g->waiting = true;
    if (step) {
        hand_over_watches(g);
        went = machine_step_now(c->vm, !(g->sstep & SSTEP_NOIRQ));
    } else {
        hand_over(g);
        went = over ? machine_cont_over_now(c->vm) : machine_cont_now(c->vm);
    }
    if (!went)
        send_stop(g); /* it must be reset first */
}

/* [ADDR] behind c and s; SIG[;ADDR] behind C and S. */
static void old_resume(struct gdb *g, const char *p, bool step, bool sig)
{
    u32 addr;
    if (sig) {
        p = strchr(p, ';');
        p = p ? p + 1 : "";
    }
    if (*p) {
        if (!number(&p, 0, &addr)) {
            send_text(g, "E22");
            return;
        }
        g->ch.ctl->m.cpu->eip = addr;
        g->active.hit = DEBUG_NO_HIT;
    }
    resume(g, step);
}

/* The first action that concerns the only thread counts. */
static void vcont(struct gdb *g, const char *p)
{
    while (*p == ';') {
        char what = *++p;
        const char *end = strchr(p, ';'), *thread = strchr(p, ':');
        if (!end)
            end = p + strlen(p);
        if (thread && thread > end)
            thread = NULL;
        bool ours = !thread || thread[1] == '-' || !strncmp(thread, ":0", 2) ||
                    (thread[1] == '1' && thread + 2 == end);
        if (!what || !strchr("cCsS", what)) {
            send_text(g, "E22");
            return;
        }
        if (ours) {
            resume(g, what == 's' || what == 'S');
            return;
        }
        p = end;
    }
    send_text(g, "E22");
}

/* ---- registers and memory ---- */

static void read_all(struct gdb *g)
{
    u8 data[1024];
    u32 n = 0;
    for (int r = 0; r < gdb_reg_basic_count(); r++) {
        gdb_reg_read(g->ch.ctl, r, data + n);
        n += (u32)gdb_reg_size(r);
    }
    send_hex(g, "", data, n);
}

static void write_all(struct gdb *g, const char *p)
{
    u8 val[GDB_REG_MAX];
    bool ok = true;
    for (int r = 0; r < gdb_reg_basic_count() && *p; r++) {
        size_t digits = 2 * (size_t)gdb_reg_size(r);
        if (strlen(p) < digits || !unhex(p, digits, val)) {
            send_text(g, "E22");
            return;
        }
        ok &= gdb_reg_write(g->ch.ctl, r, val);
        p += digits;
    }
    g->active.hit = DEBUG_NO_HIT;
    send_text(g, ok ? "OK" : "E14");
}

static void one_register(struct gdb *g, const char *p, bool write)
{
    u8 val[GDB_REG_MAX];
    u32 n;
    if (!number(&p, write ? '=' : 0, &n) || n >= (u32)gdb_reg_count()) {
        send_text(g, "E22");
        return;
    }
    size_t size = (size_t)gdb_reg_size((int)n);
    if (!write) {
        gdb_reg_read(g->ch.ctl, (int)n, val);
        send_hex(g, "", val, size);
    } else if (strlen(p) != 2 * size || !unhex(p, 2 * size, val)) {
        send_text(g, "E22");
    } else {
        g->active.hit = DEBUG_NO_HIT;
        send_text(g, gdb_reg_write(g->ch.ctl, (int)n, val) ? "OK" : "E14");
    }
}

static void read_memory(struct gdb *g, const char *p)
{
    u8 data[MEMORY_MAX];
    u32 addr, len;
    if (!number(&p, ',', &addr) || !number(&p, 0, &len)) {
        send_text(g, "E22");
        return;
    }
    len = len < sizeof(data) ? len : (u32)sizeof(data);
    size_t n =
        g->physical ? target_read_phys(g->ch.ctl, addr, data, len) : target_read(g->ch.ctl, addr, data, len);
    if (len && !n)
        send_text(g, "E14");
    else
        send_hex(g, "", data, n);
}

static void write_memory(struct gdb *g, const char *p, bool binary)
{
    const char *start = (const char *)g->packet;
    u8 data[PACKET_MAX];
    u32 addr, len;
    if (!number(&p, ',', &addr) || !number(&p, ':', &len) || len > sizeof(data)) {
        send_text(g, "E22");
        return;
    }
    size_t have = g->len - (size_t)(p - start);
    if (binary ? have != len : have != 2 * (size_t)len || !unhex(p, have, data)) {
        send_text(g, "E22");
        return;
    }
    if (binary)
        memcpy(data, p, len);
    size_t n = g->physical ? target_write_phys(g->ch.ctl, addr, data, len)
                           : target_write(g->ch.ctl, addr, data, len);
    send_text(g, n == len ? "OK" : "E14");
}

/* ---- queries ---- */

static void features(struct gdb *g, const char *p)
{
    u32 off, len;
    char out[PACKET_MAX];
    if (!starts(&p, "target.xml:")) {
        send_text(g, "E00");
        return;
    }
    if (!number(&p, ',', &off) || !number(&p, 0, &len)) {
        send_text(g, "E22");
        return;
    }
    size_t size = strlen(g->xml);
    if (off > size) {
        send_text(g, "E00");
        return;
    }
    len = len < PACKET_MAX - 8 ? len : PACKET_MAX - 8; /* nothing in it needs an escape */
    size_t n = size - off < len ? size - off : len;
    out[0] = off + n < size ? 'm' : 'l';
    memcpy(out + 1, g->xml + off, n);
    send_packet(g, out, n + 1);
}

static void monitor_command(struct gdb *g, const char *p)
{
    char line[1024], *text = NULL;
    size_t len = 0, digits = strlen(p);
    if (digits % 2 || digits / 2 >= sizeof(line) || !unhex(p, digits, (u8 *)line)) {
        send_text(g, "E22");
        return;
    }
    line[digits / 2] = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out) {
        send_text(g, "E0c");
        return;
    }
    hmp_execute(g->ch.ctl, line, out);
    fclose(out);
    for (size_t done = 0; done < len;) {
        size_t n = len - done < 2048 ? len - done : 2048;
        send_hex(g, "O", (u8 *)text + done, n);
        done += n;
    }
    free(text);
    send_text(g, "OK");
}

static void supported(struct gdb *g, const char *p)
{
    char text[160];
    g->swbreak = strstr(p, "swbreak+") != NULL;
    g->hwbreak = strstr(p, "hwbreak+") != NULL;
    snprintf(text, sizeof(text),
             "PacketSize=%x;qXfer:features:read+;vContSupported+;QStartNoAckMode+;swbreak+;hwbreak+",
             PACKET_MAX);
    send_text(g, text);
}

static void query(struct gdb *g, const char *p)
{
    char text[64];
    if (starts(&p, "Supported"))
        supported(g, p);
    else if (starts(&p, "Xfer:features:read:"))
        features(g, p);
    else if (starts(&p, "Rcmd,"))
        monitor_command(g, p);
    else if (!strcmp(p, "C"))
        send_text(g, "QC1");
    else if (!strcmp(p, "fThreadInfo"))
        send_text(g, "m1");
    else if (!strcmp(p, "sThreadInfo"))
        send_text(g, "l");
    else if (starts(&p, "ThreadExtraInfo,"))
        send_hex(g, "", (const u8 *)"CPU#0", 5);
    else if (starts(&p, "Attached"))
        send_text(g, "1");
    else if (!strcmp(p, "qemu.sstepbits"))
        send_text(g, "ENABLE=1,NOIRQ=2,NOTIMER=4");
    else if (!strcmp(p, "qemu.sstep")) {
        snprintf(text, sizeof(text), "0x%x", g->sstep);
        send_text(g, text);
    } else if (!strcmp(p, "qemu.PhyMemMode"))
        send_text(g, g->physical ? "1" : "0");
    else
        send_text(g, "");
}

static void set(struct gdb *g, const char *p)
{
    u32 val;
    if (!strcmp(p, "StartNoAckMode")) {
        send_text(g, "OK");
        g->no_ack = true;
    } else if (starts(&p, "qemu.sstep=") || starts(&p, "qemu.sstep:")) {
        bool ok = number(&p, 0, &val) && val < 8;
        if (ok)
            g->sstep = val;
        send_text(g, ok ? "OK" : "E22");
    } else if (starts(&p, "qemu.PhyMemMode:")) {
        bool ok = number(&p, 0, &val);
        if (ok)
            g->physical = val != 0;
        send_text(g, ok ? "OK" : "E22");
    } else {
        send_text(g, "");
    }
}

/* ---- packets ---- */

static void detach(struct gdb *g)
{
    forget_all(g);
    send_text(g, "OK");
    g->waiting = false;
    machine_cont_over_now(g->ch.ctl->vm);
}

static void v_packet(struct gdb *g, const char *p)
{
    if (!strcmp(p, "Cont?"))
        send_text(g, "vCont;c;C;s;S");
    else if (starts(&p, "Cont"))
        vcont(g, p);
    else if (starts(&p, "Kill")) {
        send_text(g, "OK");
        machine_quit(g->ch.ctl->vm, 0, "host-ui");
    } else
        send_text(g, "");
}

/* Only the only thread, or any. */
static bool our_thread(const char *p)
{
    return !strcmp(p, "0") || !strcmp(p, "1") || !strcmp(p, "-1") || !strcmp(p, "00") || !strcmp(p, "01");
}

static void execute(struct gdb *g)
{
    const char *p = (const char *)g->packet;
    enum run_state s = machine_state(g->ch.ctl->vm);
    g->packet[g->len] = 0;
    if (s == RUN_RUNNING && (!*p || !strchr("?qQ", *p))) {
        /* a peer that does not wait for its stop reply: the machine must stand still for what follows */
        g->waiting = false;
        machine_stop_now(g->ch.ctl->vm, RUN_PAUSED);
    }
    switch (*p) {
    case '?':
        machine_stop_now(g->ch.ctl->vm, RUN_PAUSED);
        send_text(g, "T05thread:1;");
        break;
    case 'g':
        read_all(g);
        break;
    case 'G':
        write_all(g, p + 1);
        break;
    case 'p':
    case 'P':
        one_register(g, p + 1, *p == 'P');
        break;
    case 'm':
        read_memory(g, p + 1);
        break;
    case 'M':
    case 'X':
        write_memory(g, p + 1, *p == 'X');
        break;
    case 'c':
    case 's':
    case 'C':
    case 'S':
        old_resume(g, p + 1, *p == 's' || *p == 'S', *p == 'C' || *p == 'S');
        break;
    case 'Z':
    case 'z':
        breakpoint(g, p + 1, *p == 'Z');
        break;
    case 'H':
        send_text(g, p[1] && our_thread(p + 2) ? "OK" : "E22");
        break;
    case 'T':
        send_text(g, our_thread(p + 1) ? "OK" : "E22");
        break;
    case 'D':
        detach(g);
        break;
    case 'k':
        machine_quit(g->ch.ctl->vm, 0, "host-ui");
        break;
    case 'v':
        v_packet(g, p + 1);
        break;
    case 'q':
        query(g, p + 1);
        break;
    case 'Q':
        set(g, p + 1);
        break;
    default:
        send_text(g, "");
    }
}

static void take(struct gdb *g, u8 b)
{
    if (g->len < PACKET_MAX)
        g->packet[g->len++] = b;
    else
        g->too_long = true;
}

static void packet_end(struct gdb *g)
{
    g->state = R_IDLE;
    if (!g->no_ack)
        channel_write(&g->ch, g->sum == g->sum_got ? "+" : "-", 1);
    if (g->sum != g->sum_got)
        return;
    if (g->too_long)
        send_text(g, "E22");
    else
        execute(g);
}

static void gdb_byte(struct channel *ch, u8 b)
{
    struct gdb *g = (struct gdb *)ch;
    switch (g->state) {
    case R_IDLE:
        if (b == '$') {
            g->state = R_DATA;
            g->len = 0;
            g->sum = 0;
            g->too_long = false;
        } else if (b == '-' && !g->no_ack) {
            send_raw(g);
        } else if (b == 3) {
            if (machine_state(ch->ctl->vm) == RUN_RUNNING)
                machine_stop_now(ch->ctl->vm, RUN_PAUSED);
        }
        break;
    case R_DATA:
        if (b == '#') {
            g->state = R_SUM1;
            break;
        }
        if (b == '$') { /* the packet before was cut short */
            g->len = 0;
            g->sum = 0;
            g->too_long = false;
            break;
        }
        g->sum = (u8)(g->sum + b);
        if (b == '}')
            g->state = R_ESCAPE;
        else
            take(g, b);
        break;
    case R_ESCAPE:
        g->sum = (u8)(g->sum + b);
        take(g, b ^ 0x20);
        g->state = R_DATA;
        break;
    case R_SUM1:
    case R_SUM2:
        if (nibble(b) < 0) {
            g->sum_got = (u8)~g->sum;
            packet_end(g);
        } else if (g->state == R_SUM1) {
            g->sum_got = (u8)(nibble(b) << 4);
            g->state = R_SUM2;
        } else {
            g->sum_got |= (u8)nibble(b);
            packet_end(g);
        }
        break;
    }
}

static void gdb_peer(struct channel *ch, bool here)
{
    struct gdb *g = (struct gdb *)ch;
    g->state = R_IDLE;
    g->no_ack = g->swbreak = g->hwbreak = g->waiting = g->physical = false;
    g->reply_len = 0;
    g->sstep = 7;
    if (here)
        machine_stop(ch->ctl->vm);
}

static void gdb_left(struct channel *ch)
{
    forget_all((struct gdb *)ch);
}

static void gdb_event(struct channel *ch, enum machine_event e, bool guest, const char *reason)
{
    struct gdb *g = (struct gdb *)ch;
    if (e == MACHINE_STOPPED && g->waiting)
        send_stop(g);
    else if (e == MACHINE_SHUTDOWN && !(guest && ch->ctl->m.cfg->no_shutdown))
        send_text(g, "W00");
}

static void gdb_free(struct channel *ch)
{
    struct gdb *g = (struct gdb *)ch;
    if (ch->ctl->m.cpu->debug == &g->active)
        ch->ctl->m.cpu->debug = NULL;
    free(g->xml);
    free(g);
}

static const struct channel_ops gdb_ops = {
    .byte = gdb_byte, .peer = gdb_peer, .left = gdb_left, .event = gdb_event, .free = gdb_free};

int gdb_create(struct control *c, const char *chardev)
{
    struct gdb *g = calloc(1, sizeof(*g));
    NOVT_ASSERT(g);
    g->xml = gdb_target_xml();
    NOVT_ASSERT(g->xml);
    g->sstep = 7;
    return channel_open(c, &g->ch, &gdb_ops, chardev, "-gdb");
}
