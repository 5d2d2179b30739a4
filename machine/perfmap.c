/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --perf-map: a line for each fragment of translated code, in the format that perf reads from
 * /tmp/perf-PID.map (tools/perf/Documentation/jit-interface.txt in Linux): start and size in hexadecimal, a
 * name.
 *
 * The name is the guest's function, or guest_ADDRESS where there is no symbol. When the translation cache is
 * flushed its memory is used again, and the map starts anew: it names what was there last. Heavy code.
 */
#include "machine/perfmap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "machine/vm.h"

/* A symbol this far below an address has nothing to do with it: user space, modules that are not listed. */
#define SYMBOL_REACH (1u << 20)

struct perf_map {
    FILE *f;
    const struct vm *vm;
};

/* The name in /tmp is known to everybody: take over no file that somebody else put there. */
static FILE *open_map(const char *path)
{
    if (unlink(path) < 0 && errno != ENOENT)
        return NULL;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (fd >= 0 && !f)
        close(fd);
    return f;
}

int perf_map_create(struct vm *vm)
{
    char name[64];
    const char *path = vm->cfg.perf_map_file;
    struct perf_map *m = calloc(1, sizeof(*m));

    if (!m)
        return -ENOMEM;
    snprintf(name, sizeof(name), "/tmp/perf-%d.map", (int)getpid());
    m->vm = vm;
    m->f = path ? fopen(path, "we") : open_map(name);
    if (!m->f) {
        error_report("--perf-map: cannot write '%s': %s", path ? path : name, strerror(errno));
        free(m);
        return -EINVAL;
    }
    vm->perf_map = m;
    return 0;
}

void perf_map_code(void *opaque, const void *host, u32 len, u32 lin)
{
    struct perf_map *m = opaque;
    u32 offset = 0;

    if (!host) { /* flushed */
        rewind(m->f);
        if (ftruncate(fileno(m->f), 0) < 0)
            LOG(dev, "perf map: %s", strerror(errno));
        return;
    }
    const char *name = symbols_at(m->vm->symbols, lin, &offset);
    if (name && offset < SYMBOL_REACH)
        fprintf(m->f, "%llx %x %s\n", (unsigned long long)(uintptr_t)host, len, name);
    else
        fprintf(m->f, "%llx %x guest_%08x\n", (unsigned long long)(uintptr_t)host, len, lin);
}

void perf_map_destroy(struct perf_map *m)
{
    if (!m)
        return;
    if (fclose(m->f))
        error_report("--perf-map: the map is incomplete: %s", strerror(errno));
    free(m);
}
