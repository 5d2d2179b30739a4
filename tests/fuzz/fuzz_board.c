/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole board (machine/wiring.c) under a stream of accesses: ports and memory of every size, DMA set up
 * in RAM, time, keys, mouse, serial input, changed media. Nothing may crash, run on, or touch memory that is
 * not its own.
 *
 * Each run builds a new board, so a finding depends on its input only. Disk requests run on worker threads;
 * the linker's --wrap lets us wait for each where it is submitted, which makes that deterministic, too. The
 * images are memfds, and are used as snapshots, so no run leaves anything to the next.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "devices/block.h"
#include "devices/fdc.h"
#include "devices/ide.h"
#include "devices/piix.h"
#include "devices/ps2.h"
#include "devices/vga.h"
#include "display/display.h"
#include "machine/vm.h"
#include "tests/fuzz/fuzz.h"

#define RAM (2 * MiB)

void __real_block_submit(struct block *k, struct block_req *r);
void __wrap_block_submit(struct block *k, struct block_req *r);
void __real_bus_defer(struct bus *b, struct bus_work *w);
void __wrap_bus_defer(struct bus *b, struct bus_work *w);
static u32 handed_back; /* calls of bus_defer(); while this thread waits, the disk's thread makes them */

void __wrap_bus_defer(struct bus *b, struct bus_work *w)
{
    __real_bus_defer(b, w);
    __atomic_add_fetch(&handed_back, 1, __ATOMIC_SEQ_CST);
}

void __wrap_block_submit(struct block *k, struct block_req *r)
{
    u32 before = __atomic_load_n(&handed_back, __ATOMIC_SEQ_CST);
    __real_block_submit(k, r);
    while (__atomic_load_n(&handed_back, __ATOMIC_SEQ_CST) == before)
        sched_yield();
}

/* ---- the pieces that outlive a run ---- */

static char disk[32], small[32], disc[32], floppy[32], bios[32];
static u8 pattern[64 * KiB];

static void image(char name[32], u64 bytes)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) || pwrite(fd, pattern, sizeof(pattern), 0) < 0)
        abort();
    snprintf(name, 32, "/proc/self/fd/%d", fd);
}

static void once(void)
{
    u32 w = 12345;
    setenv("TMPDIR", "/dev/shm", 0); /* overlays */
    for (u32 k = 0; k < sizeof(pattern); k++) {
        w = w * 1664525 + 1013904223;
        pattern[k] = k & 0x800 ? (u8)(w >> 24) : (u8)(k >> 9);
    }
    memcpy(pattern + 510, "\x55\xaa", 2);
    memcpy(pattern + 0x8000,
           "\x01"
           "CD001\x01",
           7);
    image(disk, 3 * MiB);
    image(small, 17 * SECTOR + 100);
    image(disc, 300 * 2048);
    image(floppy, 1474560);
    image(bios, sizeof(pattern));
    if (truncate(small, 17 * SECTOR + 100) || truncate(bios, 64 * KiB))
        abort();
}

struct run {
    struct vm vm;
    struct chardev *serial[2], *keys;
    struct vga_viewer viewer;
    struct vga_picture picture;
    u64 now;
};

static u64 clock_now(void *opaque)
{
    return ((struct run *)opaque)->now;
}

static void swallow(void *opaque, const u8 *buf, int len)
{
    u32 *sum = opaque; /* so that the bytes are read */
    for (int i = 0; i < len; i++)
        *sum += buf[i];
}

static void changed(void *opaque)
{
}

static void damaged(void *opaque, u32 x, u32 y, u32 width, u32 height)
{
    if (!width || !height || x + width < width || y + height < height)
        abort();
}

static void start(struct run *r, u8 shape)
{
    static struct vcpu *cpu;
    static u32 sum;
    struct vm *vm = &r->vm;
    int err;

    *r = (struct run){.now = 1000000000ull};
    vm->cfg = (struct machine_config){
        .ram_bytes = RAM,
        .cpu = "qemu32",
        .rtc_base = "2024-02-29T13:00:00",
        .debug_exit_iobase = 0x501,
        .debug_exit_iosize = 2,
        .debugcon = "null",
        .vga = true,
        .bios = bios,
        .nographic = true,
        .drives = {{.index = 0, .image = {.path = disk, .snapshot = true, .discard = shape & 4}},
                   {.index = 1, .image = {.path = small, .snapshot = !(shape & 1), .read_only = shape & 1}},
                   {.index = 2, .cdrom = true, .image = {.path = shape & 2 ? disc : NULL, .read_only = true}},
                   {.index = 0, .floppy = true, .image = {.path = floppy, .snapshot = true}},
                   {.index = 1, .floppy = true}},
        .ndrives = 5,
    };
    if (!cpu && !(cpu = cpu_create(cpu_model_find("qemu32"), wiring_ops(vm), 0)))
        abort();
    cpu->ops = wiring_ops(vm);
    vm->cpu = cpu;
    cpu->vm = vm;
    vm->mem = memory_create(RAM, &err);
    if (!vm->mem)
        abort();
    wiring_memory(vm);
    if (wiring_devices(vm))
        abort();
    bus_set_clock(vm->bus, clock_now, r);
    bus_lock(vm->bus);
    for (int n = 0; n < 2; n++) {
        r->serial[n] = chardev_fn(vm->bus, swallow, &sum);
        if (uart_create(vm->bus, n ? 0x2f8 : 0x3f8, n ? 3 : 4, r->serial[n]))
            abort();
    }
    r->keys = chardev_fn(vm->bus, swallow, &sum);
    ps2_set_source(vm->keyboard, r->keys);
    r->viewer.changed = changed;
    r->viewer.pixels = shape & 8;
    r->viewer.blink = shape & 16;
    vga_add_viewer(vm->vga, &r->viewer);
    bus_unlock(vm->bus);
    bus_reset(vm->bus);
    vm->requests = 0;
}

static void stop(struct run *r)
{
    struct vm *vm = &r->vm;
    bus_lock(vm->bus);
    vga_remove_viewer(vm->vga, &r->viewer);
    bus_unlock(vm->bus);
    free(r->picture.pixels);
    display_destroy(vm->display);
    bus_destroy(vm->bus);
    memory_destroy(vm->mem);
    firmware_destroy(vm);
    tables_destroy(vm);
}

/* ---- operations ---- */

/* First ports of what is on the board. Another device: another entry. */
static const u16 ports[] = {
    0x00,  0x08,  0x20,   0x40,   0x60,   0x61,   0x64,  0x70,   0x80,   0x87,   0x92,  0xa0,
    0xb2,  0xc0,  0xd0,   0xe9,   0xf0,   0x170,  0x1ce, 0x1f0,  0x2f8,  0x376,  0x3b4, 0x3c0,
    0x3c4, 0x3ce, 0x3d4,  0x3f0,  0x3f4,  0x3f6,  0x3f8, 0x4d0,  0x501,  0x510,  0x514, 0xcf8,
    0xcf9, 0xcfc, 0xb000, 0xb100, 0xc000, 0xc008, 0x600, 0xae00, 0xafe0, 0x1010, 0x40b, 0x4d6,
};
static const u32 windows[] = {0xa0000,    0xb0000,    0xb8000,    0xc0000,    0xe0000,    0xf0000,
                              0xfd000000, 0xfebf0000, 0xfec00000, 0xfee00000, 0xfffc0000, RAM - 16,
                              0,          0xe0000000, 0xfed00000, 0xfeb00000};

/* Runs the timers up to a time; a budget keeps a device that arms timers in the past from looking like a hang
 * of ours: it would be one only if a single pass did not end. */
static void advance(struct run *r, u64 ns)
{
    u64 end = r->now + ns;
    for (u32 budget = 2000; budget; budget--) {
        u64 at = bus_next_deadline(r->vm.bus);
        if (!at || at > end)
            break;
        if (at > r->now)
            r->now = at;
        bus_run_timers(r->vm.bus);
    }
    r->now = end;
    bus_run_timers(r->vm.bus);
}

static void requests(struct run *r)
{
    struct vm *vm = &r->vm;
    u32 req = __atomic_exchange_n(&vm->requests, 0, __ATOMIC_SEQ_CST);
    for (u32 n = 0; req & REQ_WORK && n < 64; n++) {
        bus_run_deferred(vm->bus);
        req = __atomic_exchange_n(&vm->requests, req & ~REQ_WORK, __ATOMIC_SEQ_CST);
    }
    if (req & REQ_RESET)
        bus_reset(vm->bus);
    vm->requests = 0;
}

static u16 pick_port(struct in *in)
{
    u8 b = take8(in);
    if (b == 0xff)
        return take16(in);
    /* the first eight offsets of each device */
    u32 k = b >> 3 | (take8(in) & 1) << 5;
    return (u16)(ports[k % ARRAY_SIZE(ports)] + (b & 7));
}

static void host_side(struct run *r, struct in *in)
{
    struct vm *vm = &r->vm;
    struct vga_image img;
    char text[4096], err[256];
    u8 bytes[8], what = take8(in);

    bus_lock(vm->bus);
    switch (what & 15) {
    case 0:
    case 1:
        take(in, bytes, sizeof(bytes));
        chardev_feed(r->serial[what & 1], bytes, sizeof(bytes));
        break;
    case 2:
        take(in, bytes, 4);
        chardev_feed(r->keys, bytes, 4);
        break;
    case 3:
        ps2_key(vm->keyboard, take8(in) & 0x7f, what & 0x10, what & 0x20);
        break;
    case 4: {
        i8 x = (i8)take8(in), y = (i8)take8(in), z = (i8)take8(in);
        ps2_mouse(vm->mouse, what & 0x80 ? x * 1000 : x, y, z, what >> 4 & 7);
        break;
    }
    case 5:
        if (!vga_render(vm->vga, &img))
            free(img.pixels);
        break;
    case 6:
        vga_text(vm->vga, text, what & 0x10 ? 100 : sizeof(text));
        break;
    case 7:
        vga_draw(vm->vga, &r->picture, &r->viewer, damaged, NULL);
        break;
    case 8:
        piix4_pm_power_button(vm->pm);
        break;
    case 9: {
        struct block_config c = {.path = what & 0x10 ? disc : small, .read_only = true};
        ide_change_medium(vm->ide, 2, what & 0x20 ? NULL : block_open(vm->bus, &c, err, sizeof(err)));
        break;
    }
    case 10: {
        struct block_config c = {.path = what & 0x10 ? floppy : small, .read_only = true};
        fdc_change_medium(vm->fdc, what >> 6 & 1,
                          what & 0x20 ? NULL : block_open(vm->bus, &c, err, sizeof(err)));
        break;
    }
    }
    bus_unlock(vm->bus);
}

static void operate(struct run *r, struct in *in)
{
    struct vm *vm = &r->vm;
    static u8 buf[256];
    u8 op = take8(in);
    int size = 1 << (op >> 4 & 3 ? (op >> 4 & 3) - 1 : 0);
    u32 n;

    switch (op & 15) {
    case 0:
    case 1:
    case 2: {
        u16 port = pick_port(in);
        u32 val = size == 1 ? take8(in) : size == 2 ? take16(in) : take32(in);
        bus_out(vm->bus, port, size, val);
        break;
    }
    case 3:
    case 4:
        bus_in(vm->bus, pick_port(in), size);
        break;
    case 5: { /* rep outs, ins */
        u16 port = pick_port(in);
        for (n = 2u * take8(in) + 1; n; n--)
            op & 0x80 ? bus_out(vm->bus, port, size, n * 0x01010101u) : (void)bus_in(vm->bus, port, size);
        break;
    }
    case 6: { /* a sequence: index and data of one register */
        u16 port = pick_port(in);
        bus_out(vm->bus, port, 1, take8(in));
        bus_out(vm->bus, (u16)(port + 1), 1, take8(in));
        break;
    }
    case 7: { /* PCI configuration */
        u8 dev = take8(in), reg = take8(in);
        bus_out(vm->bus, 0xcf8, 4, 0x80000000u | (dev & 0x3f) << 8 | (reg & 0xfc) | (u32)(dev >> 6) << 16);
        if (op & 0x80)
            bus_in(vm->bus, 0xcfc + (reg & 3), size);
        else
            bus_out(vm->bus, 0xcfc + (reg & 3), size, take32(in));
        break;
    }
    case 8:
    case 9: { /* memory: a device's window, or anywhere */
        u8 where = take8(in);
        u64 a = where & 0x10 ? take32(in) : windows[where & 15] + (u64)(take16(in) << (where >> 5));
        n = op >> 4 & 3 ? (u32)size : take8(in);
        if (op & 1) {
            memory_read(vm->mem, a, buf, n);
        } else {
            take(in, buf, n < 64 ? n : 64);
            memory_write(vm->mem, a, buf, n);
        }
        break;
    }
    case 10: { /* RAM, for descriptors */
        u32 a = take16(in) << 4;
        n = op >> 4;
        take(in, buf, n);
        memory_write(vm->mem, a, buf, n);
        break;
    }
    case 11: /* time: nanoseconds to seconds */
        n = take8(in);
        advance(r, (u64)n << (2 * (op >> 4)) / 2);
        break;
    case 12:
        bus_intr_ack(vm->bus);
        break;
    case 13:
        host_side(r, in);
        break;
    case 14: /* an ATA, ATAPI or floppy command in one go */
        if (op & 0x10) {
            u16 base = op & 0x20 ? 0x170 : 0x1f0;
            for (u16 k = 1; k < 8; k++)
                bus_out(vm->bus, base + k, 1, take8(in));
            requests(r);
            if (op & 0x40)
                for (u32 k = 0; k < 6; k++)
                    bus_out(vm->bus, base, 2, take16(in));
        } else {
            for (n = 1 + take8(in) % 9; n; n--)
                bus_out(vm->bus, 0x3f5, 1, take8(in));
        }
        break;
    case 15:
        if ((op >> 4) == 15)
            bus_reset(vm->bus);
        else
            advance(r, 1000000);
        break;
    }
    requests(r);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static struct run r;
    struct in in = {data, data + size};

    if (!disk[0])
        once();
    start(&r, take8(&in));
    for (u32 n = 0; left(&in) && n < 600; n++)
        operate(&r, &in);
    advance(&r, 10000000);
    requests(&r);
    stop(&r);
    return 0;
}
