/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IDE: PIO, bus master, ATAPI, errors, resets; images: locks, snapshots, odd sizes. */
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
#include "fixture.h"
#include "devices/ide.h"
#include "devices/pci.h"

static u8 mem[1 << 20];
static char path[] = "/tmp/novt-test-ide-XXXXXX", cd_path[] = "/tmp/novt-test-cd-XXXXXX";
static struct ide *ide;

static void mr(void *o, u64 gpa, void *buf, u64 len)
{
    memset(buf, 0xff, len);
    if (gpa < sizeof(mem) && len <= sizeof(mem) - gpa)
        memcpy(buf, mem + gpa, len);
}
static void mw(void *o, u64 gpa, const void *buf, u64 len)
{
    if (gpa < sizeof(mem) && len <= sizeof(mem) - gpa)
        memcpy(mem + gpa, buf, len);
}

/* An image whose sectors begin with their number. */
static void make_image(const char *p, u32 sectors, u32 extra)
{
    int fd = open(p, O_RDWR | O_CREAT | O_TRUNC, 0600);
    u32 s[128] = {0};
    for (u32 i = 0; i < sectors; i++) {
        s[0] = i;
        s[127] = ~i;
        assert_int_equal(pwrite(fd, s, 512, (off_t)i * 512), 512);
    }
    assert_int_equal(ftruncate(fd, (off_t)sectors * 512 + extra), 0);
    close(fd);
}

static struct block *open_block(struct fix *f, const char *p, bool ro, bool snapshot)
{
    char err[300] = "";
    struct block_config c = {.path = p, .read_only = ro, .snapshot = snapshot};
    struct block *k = block_open(f->b, &c, err, sizeof(err));
    if (!k)
        print_message("%s\n", err);
    return k;
}

static struct fix *make(bool snapshot)
{
    struct fix *f = calloc(1, sizeof(*f));
    struct bus_host h = {.set_intr = fix_intr, .opaque = f, .mem_read = mr, .mem_write = mw};
    f->b = bus_create(&h);
    pic_create(f->b);
    pci_create(f->b);
    init_pics(f);
    assert_int_equal(ide_create(f->b, &ide), 0);
    struct block *k = open_block(f, path, false, snapshot);
    assert_non_null(k);
    ide_attach(ide, 0, k, false);
    k = open_block(f, cd_path, true, false);
    ide_attach(ide, 2, k, true);
    /* BAR 4 at C000h, bus master on */
    bus_out(f->b, 0xcf8, 4, 0x80000920);
    bus_out(f->b, 0xcfc, 4, 0xc000);
    bus_out(f->b, 0xcf8, 4, 0x80000904);
    bus_out(f->b, 0xcfc, 2, 5);
    return f;
}

static void settle(struct fix *f, u16 status)
{
    struct timespec ts = {0, 1000000};
    for (int i = 0; i < 3000; i++) {
        bus_run_deferred(f->b);
        if (!(inb(f, status) & 0x80))
            return;
        nanosleep(&ts, NULL);
    }
    fail_msg("the drive stays busy");
}

static void command(struct fix *f, u16 base, u8 select, u32 lba, u8 count, u8 cmd)
{
    outb(f, base + 6, select | (lba >> 24 & 15));
    outb(f, base + 2, count);
    outb(f, base + 3, lba);
    outb(f, base + 4, lba >> 8);
    outb(f, base + 5, lba >> 16);
    outb(f, base + 7, cmd);
}

static void identify(void **st)
{
    struct fix *f = make(true);
    u16 w[256];
    command(f, 0x1f0, 0xe0, 0, 0, 0xec);
    assert_int_equal(inb(f, 0x1f7), 0x58);
    for (int i = 0; i < 256; i++)
        w[i] = bus_in(f->b, 0x1f0, 2);
    assert_int_equal(w[60] | w[61] << 16, 2001); /* the odd tail is a sector */
    assert_int_equal(inb(f, 0x1f7), 0x50);
    command(f, 0x170, 0xa0, 0, 0, 0xec); /* the CD-ROM refuses, with its signature */
    assert_int_equal(inb(f, 0x177) & 1, 1);
    assert_int_equal(inb(f, 0x174), 0x14);
    assert_int_equal(inb(f, 0x175), 0xeb);
    outb(f, 0x1f6, 0xb0); /* no slave */
    assert_int_equal(inb(f, 0x1f7), 0);
    fix_free(f);
}

static void pio(void **st)
{
    struct fix *f = make(true);
    command(f, 0x1f0, 0xe0, 100, 3, 0x20);
    for (u32 s = 100; s < 103; s++) {
        settle(f, 0x3f6);
        assert_int_equal(bus_in(f->b, 0x1f7, 1), 0x58);
        assert_int_equal(bus_in(f->b, 0x1f0, 4), s);
        for (int i = 1; i < 128; i++)
            bus_in(f->b, 0x1f0, 4);
    }
    assert_int_equal(inb(f, 0x1f7), 0x50);
    assert_int_equal(bus_in(f->b, 0x1f0, 2), 0); /* nothing more */
    /* write, read back; CHS addressing */
    command(f, 0x1f0, 0xe0, 63, 1, 0x30);
    for (int i = 0; i < 256; i++)
        bus_out(f->b, 0x1f0, 2, 0xbe00 | i);
    settle(f, 0x3f6);
    assert_int_equal(inb(f, 0x1f7), 0x50);
    outb(f, 0x1f6, 0xa1); /* C 0, H 1, S 1 = LBA 63 */
    outb(f, 0x1f2, 1);
    outb(f, 0x1f3, 1);
    outb(f, 0x1f4, 0);
    outb(f, 0x1f5, 0);
    outb(f, 0x1f7, 0x20);
    settle(f, 0x3f6);
    assert_int_equal(bus_in(f->b, 0x1f0, 2), 0xbe00);
    assert_int_equal(bus_in(f->b, 0x1f0, 2), 0xbe01);
    outb(f, 0x3f6, 4); /* reset in the middle of it */
    outb(f, 0x3f6, 0);
    assert_int_equal(inb(f, 0x1f7), 0x50);
    assert_int_equal(inb(f, 0x1f1), 1);
    fix_free(f);
}

static void beyond(void **st)
{
    struct fix *f = make(true);
    static const u8 cmds[] = {0x20, 0x30, 0xc4, 0xc5, 0xc8, 0xca, 0x40};
    for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
        command(f, 0x1f0, 0xe0, 2000, 2, cmds[i]);
        settle(f, 0x3f6);
        assert_int_equal(inb(f, 0x1f7), 0x51);
        assert_int_equal(inb(f, 0x1f1), 0x10); /* IDNF */
    }
    command(f, 0x1f0, 0xe0, 0, 0, 0xfd);
    assert_int_equal(inb(f, 0x1f1), 0x04);
    fix_free(f);
}

static void prd(u32 at, u32 addr, u16 len, bool last)
{
    memcpy(mem + at, &addr, 4);
    memcpy(mem + at + 4, &len, 2);
    mem[at + 6] = 0;
    mem[at + 7] = last ? 0x80 : 0;
}

static void dma(void **st)
{
    struct fix *f = make(true);
    prd(0x1000, 0x10000, 512, false);
    prd(0x1008, 0x20000, 1536, true);
    bus_out(f->b, 0xc004, 4, 0x1000);
    outb(f, 0xc000, 8);
    command(f, 0x1f0, 0xe0, 7, 4, 0xc8);
    assert_int_equal(inb(f, 0x3f6) & 0x80, 0x80);
    outb(f, 0xc000, 9);
    settle(f, 0x3f6);
    assert_int_equal(inb(f, 0xc002) & 7, 4);
    assert_int_equal(*(u32 *)(mem + 0x10000), 7);
    assert_int_equal(*(u32 *)(mem + 0x20000), 8);
    assert_int_equal(*(u32 *)(mem + 0x20400), 10);
    assert_int_equal(bus_intr_ack(f->b), 0x3e);
    outb(f, 0xc000, 0);
    outb(f, 0xc002, 4);
    assert_int_equal(inb(f, 0xc002) & 4, 0);
    /* write back elsewhere, then look by PIO */
    command(f, 0x1f0, 0xe0, 500, 4, 0xca);
    outb(f, 0xc000, 1);
    settle(f, 0x3f6);
    outb(f, 0xc000, 0);
    command(f, 0x1f0, 0xe0, 502, 1, 0x20);
    settle(f, 0x3f6);
    assert_int_equal(bus_in(f->b, 0x1f0, 4), 9);
    outb(f, 0x3f6, 4);
    outb(f, 0x3f6, 0);
    /* a table that is too short, one that is nowhere, a stop in the middle */
    prd(0x1000, 0x10000, 512, true);
    command(f, 0x1f0, 0xe0, 7, 4, 0xc8);
    outb(f, 0xc000, 9);
    settle(f, 0x3f6);
    assert_int_equal(inb(f, 0xc002) & 1, 0);
    outb(f, 0xc000, 0);
    bus_out(f->b, 0xc004, 4, 0xfffffff0);
    command(f, 0x1f0, 0xe0, 7, 255, 0xc8);
    outb(f, 0xc000, 9);
    settle(f, 0x3f6);
    outb(f, 0xc000, 0);
    bus_out(f->b, 0xc004, 4, 0x1000);
    command(f, 0x1f0, 0xe0, 7, 255, 0xc8);
    outb(f, 0xc000, 9);
    outb(f, 0xc000, 0);
    assert_int_equal(inb(f, 0x1f7) & 0x81, 0x01);
    command(f, 0x1f0, 0xe0, 7, 255, 0xc8); /* destroyed with a request in flight */
    outb(f, 0xc000, 9);
    fix_free(f);
}

static void packet(struct fix *f, const u8 *cmd, u16 limit)
{
    outb(f, 0x176, 0xa0);
    outb(f, 0x171, 0);
    outb(f, 0x174, limit);
    outb(f, 0x175, limit >> 8);
    outb(f, 0x177, 0xa0);
    for (int i = 0; i < 12; i += 2)
        bus_out(f->b, 0x170, 2, cmd[i] | cmd[i + 1] << 8);
    settle(f, 0x376);
}

static void cdrom(void **st)
{
    struct fix *f = make(true);
    const u8 inquiry[12] = {0x12, 0, 0, 0, 36}, read[12] = {0x28, 0, 0, 0, 0, 3, 0, 0, 2},
             capacity[12] = {0x25}, bad[12] = {0x28, 0, 0, 0, 3, 0, 0, 0, 1}, sense[12] = {3, 0, 0, 0, 18},
             wild[12] = {0xd7}, eject[12] = {0x1b, 0, 0, 0, 2}, ready[12] = {0};
    packet(f, inquiry, 0xfffe);
    assert_int_equal(inb(f, 0x172), 2);
    assert_int_equal(inb(f, 0x174), 36);
    assert_int_equal(bus_in(f->b, 0x170, 2), 0x8005);
    for (int i = 1; i < 18; i++)
        bus_in(f->b, 0x170, 2);
    assert_int_equal(inb(f, 0x177), 0x50);
    assert_int_equal(inb(f, 0x172), 3);
    packet(f, capacity, 8);
    assert_int_equal(bus_in(f->b, 0x170, 4), 0xc7000000); /* last sector 199 */
    bus_in(f->b, 0x170, 4);
    packet(f, read, 1024); /* two sectors in four stretches */
    for (int part = 0; part < 4; part++) {
        settle(f, 0x376);
        assert_int_equal(inb(f, 0x177) & 8, 8);
        assert_int_equal(inb(f, 0x174) | inb(f, 0x175) << 8, 1024);
        assert_int_equal(bus_in(f->b, 0x170, 4), 12 + part * 2);
        for (int i = 1; i < 256; i++)
            bus_in(f->b, 0x170, 4);
    }
    settle(f, 0x376);
    assert_int_equal(inb(f, 0x177), 0x50);
    packet(f, bad, 2048);
    assert_int_equal(inb(f, 0x177) & 1, 1);
    packet(f, sense, 18);
    u8 s[18];
    for (int i = 0; i < 18; i += 2) {
        u16 w = bus_in(f->b, 0x170, 2);
        memcpy(s + i, &w, 2);
    }
    assert_int_equal(s[2], 5);
    assert_int_equal(s[12], 0x21);
    packet(f, wild, 2048);
    assert_int_equal(inb(f, 0x171) >> 4, 5);
    packet(f, eject, 0);
    packet(f, ready, 0);
    assert_int_equal(inb(f, 0x171) >> 4, 2); /* not ready */
    fix_free(f);
}

/* Everything that can be written, written at random. */
static void hostile(void **st)
{
    struct fix *f = make(true);
    u32 x = 12345;
    for (int i = 0; i < 200000; i++) {
        x = x * 1103515245 + 12345;
        u32 r = x >> 8;
        static const u16 bases[] = {0x1f0, 0x170, 0xc000, 0xc008, 0x3f6, 0x376};
        u16 port = bases[r % 6] + (r % 6 < 4 ? (r >> 4) % 8 : 0);
        int size = 1 << (r >> 8) % 3;
        if (r & 0x8000)
            bus_in(f->b, port, size);
        else
            bus_out(f->b, port, size, x ^ r << 7);
        if (!(r >> 16 & 63))
            bus_run_deferred(f->b);
    }
    fix_free(f);
}

static void snapshot_and_locks(void **st)
{
    struct fix *f = make(true);
    command(f, 0x1f0, 0xe0, 5, 1, 0x30);
    for (int i = 0; i < 256; i++)
        bus_out(f->b, 0x1f0, 2, 0x5555);
    settle(f, 0x3f6);
    command(f, 0x1f0, 0xe0, 4, 2, 0xc4);
    settle(f, 0x3f6);
    assert_int_equal(bus_in(f->b, 0x1f0, 4), 4); /* the rest of the cluster was copied */
    for (int i = 1; i < 128; i++)
        bus_in(f->b, 0x1f0, 4);
    assert_int_equal(bus_in(f->b, 0x1f0, 4), 0x55555555);
    int fd = open(path, O_RDONLY);
    u32 v;
    assert_int_equal(pread(fd, &v, 4, 5 * 512), 4);
    assert_int_equal(v, 5); /* the image is as it was */
    close(fd);
    struct block *shared = open_block(f, path, true, false);
    assert_non_null(shared);
    assert_null(open_block(f, path, false, false)); /* someone reads it */
    block_close(shared);
    fix_free(f);
    f = fix_new();
    struct block *own = open_block(f, path, false, false);
    assert_non_null(own);
    assert_null(open_block(f, path, false, false));
    assert_null(open_block(f, path, true, false));
    block_close(own);
    assert_null(open_block(f, "/nonexistent", false, false));
    assert_null(open_block(f, "/tmp", false, false));
    assert_null(open_block(f, "/dev/null", false, false));
    fix_free(f);
}

static int setup(void **st)
{
    close(mkstemp(path));
    close(mkstemp(cd_path));
    make_image(path, 2000, 100);
    make_image(cd_path, 800, 0);
    return 0;
}

static int teardown(void **st)
{
    unlink(path);
    unlink(cd_path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identify),
        cmocka_unit_test(pio),
        cmocka_unit_test(beyond),
        cmocka_unit_test(dma),
        cmocka_unit_test(cdrom),
        cmocka_unit_test(hostile),
        cmocka_unit_test(snapshot_and_locks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
