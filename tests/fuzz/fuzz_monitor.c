/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The consoles' protocols with hostile peers: human monitor, QMP, GDB stub, on a machine that does not run.
 *
 * The first byte chooses the protocol; what follows is what the peer sends, in pieces whose length is a byte
 * of the input. For GDB a piece may be put into a packet with the right checksum, and for QMP the
 * capabilities may be negotiated first: else little would get past the front door. Nothing may reach the
 * host's files: names that a command would open or write are turned away here (-Wl,--wrap).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "control/control.h"
#include "cpu/cpu.h"
#include "machine/parts.h"
#include "machine/vm.h"
#include "tests/fuzz/fuzz.h"

#define RAM (2 * MiB)

/* What the machine owns hangs on mapped memory, where the leak checker does not look. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

static struct vm *vm;
static struct chardev *peer;
static u64 heard;

struct chardev *__wrap_chardev_open(struct bus *b, const char *name, char *err, size_t err_size);
struct chardev *__real_chardev_open(struct bus *b, const char *name, char *err, size_t err_size);
struct block *__wrap_block_open(struct bus *b, const struct block_config *cfg, char *err, size_t size);
int __wrap_vga_screendump(struct vga *v, const char *path);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__real_fopen(const char *path, const char *mode);

static void hear(void *opaque, const u8 *buf, int len)
{
    for (int i = 0; i < len; i++)
        heard += buf[i]; /* so that the bytes are read */
}

struct chardev *__wrap_chardev_open(struct bus *b, const char *name, char *err, size_t err_size)
{
    if (strcmp(name, "peer") != 0)
        return __real_chardev_open(b, name, err, err_size);
    if (!peer)
        peer = chardev_fn(b, hear, NULL);
    return peer;
}

struct block *__wrap_block_open(struct bus *b, const struct block_config *cfg, char *err, size_t size)
{
    snprintf(err, size, "cannot open '%s'", cfg->path);
    return NULL;
}

int __wrap_vga_screendump(struct vga *v, const char *path)
{
    return -EACCES;
}

static bool ready;
FILE *__wrap_fopen(const char *path, const char *mode)
{
    if (!ready)
        return __real_fopen(path, mode);
    errno = EACCES;
    return NULL;
}

static void once(void)
{
    static char bios[] = "/tmp/novt-fuzz-monitor-XXXXXX";
    static u8 image[64 * KiB];
    memset(image, 0xf4, sizeof(image)); /* hlt; at the reset vector too */
    int fd = mkstemp(bios);
    if (fd < 0 || write(fd, image, sizeof(image)) != (ssize_t)sizeof(image))
        abort();
    close(fd);
    struct machine_config cfg = {.ram_bytes = RAM,
                                 .cpu = "qemu32",
                                 .engine = ENGINE_INTERP,
                                 .bios = bios,
                                 .vga = true,
                                 .nographic = true,
                                 .start_paused = true,
                                 .debug_exit_iobase = -1};
    int status;
    vm = machine_create(&cfg, &status);
    unlink(bios);
    if (!vm)
        abort();
    ready = true;
}

static void send(const u8 *p, u32 len)
{
    struct bus *b = machine_parts(vm).bus;
    bus_lock(b);
    for (u32 done = 0, tries = 0; done < len && tries < 64; tries++) {
        done += (u32)chardev_feed(peer, p + done, (int)(len - done));
        bus_unlock(b);
        bus_run_deferred(b);
        bus_lock(b);
    }
    bus_unlock(b);
    bus_run_timers(b);
}

static void send_packet(const u8 *p, u32 len)
{
    static const char hex[] = "0123456789abcdef";
    u8 buf[600], sum = 0;
    u32 n = 0;
    buf[n++] = '$';
    for (u32 i = 0; i < len; i++) {
        if (p[i] == '$' || p[i] == '#' || p[i] == '}') {
            buf[n++] = '}';
            sum = (u8)(sum + '}');
        }
        buf[n] = p[i] == '$' || p[i] == '#' || p[i] == '}' ? p[i] ^ 0x20 : p[i];
        sum = (u8)(sum + buf[n++]);
    }
    buf[n++] = '#';
    buf[n++] = (u8)hex[sum >> 4];
    buf[n++] = (u8)hex[sum & 15];
    buf[n++] = '+';
    send(buf, n);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static const char hello[] = "{\"execute\":\"qmp_capabilities\"}\n";
    struct in in = {data, data + size};
    if (!vm)
        once();
    cpu_reset(vm->cpu);
    u8 kind = take8(&in);
    struct control_config cfg = {.n_monitors = 1};
    switch (kind & 3) {
    case 0:
        cfg.monitors[0].mode = CONTROL_HMP;
        break;
    case 1:
    case 2:
        cfg.monitors[0].mode = kind & 8 ? CONTROL_QMP_PRETTY : CONTROL_QMP;
        break;
    default:
        cfg.n_monitors = 0;
        cfg.gdb = "peer";
    }
    cfg.monitors[0].chardev = "peer";
    struct control *c = control_create(vm, &cfg);
    if (!c)
        abort();
    if (((kind & 3) == 1 || (kind & 3) == 2) && !(kind & 4))
        send((const u8 *)hello, sizeof(hello) - 1);
    while (left(&in)) {
        u8 piece[255];
        u32 n = take8(&in);
        if (n > left(&in))
            n = left(&in);
        take(&in, piece, n);
        if ((kind & 3) == 3 && !(kind & 4))
            send_packet(piece, n);
        else
            send(piece, n);
        if ((kind & 3) == 0 && !(kind & 4))
            send((const u8 *)"\r", 1);
    }
    if (kind & 0x10) { /* the peer goes in the middle */
        struct bus *b = machine_parts(vm).bus;
        bus_lock(b);
        chardev_hangup(peer);
        bus_unlock(b);
        bus_run_deferred(b);
    }
    control_destroy(c);
    vm->requests = 0;
    return 0;
}
