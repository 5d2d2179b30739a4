/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log channels, host errors and bug reports.
 *
 * A log line is formatted into a stack buffer and written with one fwrite, so that lines of the vCPU thread
 * and of the event thread don't mix. The log goes to stderr, which is unbuffered there, or to the file of -D,
 * which is line buffered: a crash loses nothing. Everything here may clobber the host's SSE registers: light
 * code parks the guest's FPU state first.
 *
 * The mask is a plain word that is written before the threads start and only read afterwards.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

u32 log_mask;
static FILE *log_file;

static void (*bug_dumper)(void *opaque);
static void *bug_opaque;

static const struct {
    const char *name;
    const char *desc;
} channels[LOG_COUNT] = {
#define X(name, desc) {#name, desc},
    LOG_CHANNELS(X)
#undef X
};

void log_printf(enum log_channel ch, const char *fmt, ...)
{
    char line[1024];
    int n = snprintf(line, sizeof(line), "%s: ", channels[ch].name);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof(line) - n, fmt, ap);
    va_end(ap);
    if (m < 0)
        return;
    n += m;
    if (n > (int)sizeof(line) - 2)
        n = sizeof(line) - 2; /* cut, but still end in a newline */
    if (n == 0 || line[n - 1] != '\n')
        line[n++] = '\n';
    fwrite(line, 1, n, log_file ? log_file : stderr);
}

int log_open(const char *path)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return -errno;
    setvbuf(f, NULL, _IOLBF, 0);
    if (log_file)
        fclose(log_file);
    log_file = f;
    return 0;
}

int log_parse(const char *list, const char **bad)
{
    u32 mask = 0;
    while (*list) {
        size_t len = strcspn(list, ",");
        int found = -1;
        for (int i = 0; i < LOG_COUNT; i++)
            if (strlen(channels[i].name) == len && !strncmp(channels[i].name, list, len))
                found = i;
        if (found >= 0) {
            mask |= 1u << found;
        } else if (len == 3 && !strncmp(list, "all", 3)) {
            mask |= (1u << LOG_COUNT) - 1;
        } else if (len) {
            *bad = list;
            return -EINVAL;
        }
        list += len;
        list += *list == ',';
    }
    log_mask |= mask;
    return 0;
}

void log_list(void)
{
    printf("Log channels (-d name[,name...], or -d all):\n");
    for (int i = 0; i < LOG_COUNT; i++)
        printf("  %-13s %s\n", channels[i].name, channels[i].desc);
}

static void report(const char *kind, const char *fmt, va_list ap)
{
    char line[2048];
    vsnprintf(line, sizeof(line), fmt, ap);
    fprintf(stderr, "novt: %s: %s\n", kind, line);
}

void error_report(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report("error", fmt, ap);
    va_end(ap);
}

void warn_report(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report("warning", fmt, ap);
    va_end(ap);
}

void bug_set_dumper(void (*dump)(void *opaque), void *opaque)
{
    bug_dumper = dump;
    bug_opaque = opaque;
}

_Noreturn void bug_report(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "novt: bug at %s:%d: ", file, line);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    void (*dump)(void *) = bug_dumper;
    bug_dumper = NULL; /* a bug inside the dumper must not call it again */
    if (dump)
        dump(bug_opaque);
    abort();
}
