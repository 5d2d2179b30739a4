/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A floppy controller with an 8237 and a disk in drive A, driven through its ports. Sectors of the images
 * begin with their number. Nothing depends on the clock: a transfer is over when the MSR says so.
 */
#ifndef TEST_DEVICES_FDC_FIXTURE_H
#define TEST_DEVICES_FDC_FIXTURE_H

#include <fcntl.h>
#include <time.h>
#include <unistd.h>
#include "fixture.h"
#include "devices/fdc.h"

#define AT 0x20000u /* where DMA goes */

static u8 mem[1 << 20];
static char path[] = "/tmp/novt-test-fdc-XXXXXX", other[] = "/tmp/novt-test-fdc2-XXXXXX";
static struct fdc *fdc;
static u8 res[16];

static inline void mr(void *o, u64 gpa, void *buf, u64 len)
{
    memset(buf, 0xff, len);
    if (gpa < sizeof(mem) && len <= sizeof(mem) - gpa)
        memcpy(buf, mem + gpa, len);
}
static inline void mw(void *o, u64 gpa, const void *buf, u64 len)
{
    if (gpa < sizeof(mem) && len <= sizeof(mem) - gpa)
        memcpy(mem + gpa, buf, len);
}

static inline void make_image(const char *p, u32 sectors)
{
    int fd = open(p, O_RDWR | O_CREAT | O_TRUNC, 0600);
    static u32 s[6400][128];
    memset(s, 0, sizeof(s));
    for (u32 i = 0; i < sectors; i++) {
        s[i][0] = i;
        s[i][127] = ~i;
    }
    assert_int_equal(write(fd, s, sectors * 512), sectors * 512);
    close(fd);
}

static inline struct block *open_block(struct fix *f, const char *p, bool ro)
{
    char err[300] = "";
    struct block_config c = {.path = p, .read_only = ro};
    struct block *k = block_open(f->b, &c, err, sizeof(err));
    if (!k)
        print_message("%s\n", err);
    assert_non_null(k);
    return k;
}

static inline bool irq6(struct fix *f)
{
    outb(f, 0x20, 0x0a);
    return inb(f, 0x20) >> 6 & 1;
}

/* Acknowledges what is pending: the next edge shows again. */
static inline bool took_irq(struct fix *f)
{
    bool was = irq6(f);
    if (was) {
        assert_int_equal(bus_intr_ack(f->b), 0x36);
        outb(f, 0x20, 0x20);
    }
    return was;
}

static inline void put(struct fix *f, u8 val)
{
    assert_int_equal(inb(f, 0x3f4) & 0xc0, 0x80);
    outb(f, 0x3f5, val);
}

static inline u8 get(struct fix *f)
{
    assert_int_equal(inb(f, 0x3f4), 0xd0);
    return inb(f, 0x3f5);
}

/* Waits while the image's thread works. */
static inline void settle(struct fix *f)
{
    struct timespec ts = {0, 1000000};
    for (int i = 0; i < 5000; i++) {
        bus_run_deferred(f->b);
        if (inb(f, 0x3f4) & 0x80)
            return;
        nanosleep(&ts, NULL);
    }
    fail_msg("the controller stays busy");
}

static inline void send(struct fix *f, const u8 *cmd, int len)
{
    for (int i = 0; i < len; i++)
        put(f, cmd[i]);
}

static inline void results(struct fix *f, int n)
{
    settle(f);
    for (int i = 0; i < n; i++)
        res[i] = get(f);
    assert_int_equal(inb(f, 0x3f4), 0x80); /* no more, ready for the next */
}

#define SEND(f, ...)                                                                                         \
    do {                                                                                                     \
        const u8 c_[] = {__VA_ARGS__};                                                                       \
        send(f, c_, sizeof(c_));                                                                             \
    } while (0)

static inline void check_results(int line, u8 st0, u8 st1, u8 st2, u8 c, u8 h, u8 r)
{
    const u8 want[6] = {st0, st1, st2, c, h, r};
    for (int i = 0; i < 6; i++)
        if (res[i] != want[i])
            fail_msg("line %d: result %d is %02x, not %02x", line, i, res[i], want[i]);
}
#define RESULT(...) check_results(__LINE__, __VA_ARGS__)

/* The 8237's channel 2; mode 46h: to memory, 4Ah: from memory. */
static inline void dma(struct fix *f, u8 mode, u32 len)
{
    outb(f, 0x0a, 6);
    outb(f, 0x0c, 0);
    outb(f, 0x0b, mode);
    outb(f, 0x04, (u8)AT);
    outb(f, 0x04, (u8)(AT >> 8));
    outb(f, 0x81, AT >> 16);
    outb(f, 0x05, len - 1);
    outb(f, 0x05, (len - 1) >> 8);
    outb(f, 0x0a, 2);
}

static inline u32 number(const void *p)
{
    u32 v;
    memcpy(&v, p, 4);
    return v;
}

static inline u32 on_disk(u32 sector)
{
    u32 v = 0;
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, &v, 4, (off_t)sector * 512), 4);
    close(fd);
    return v;
}

static inline void sense(struct fix *f, u8 st0, u8 cyl)
{
    SEND(f, 8);
    u8 a = get(f), b = get(f);
    assert_int_equal(a, st0);
    assert_int_equal(b, cyl);
}

static inline void nothing_to_sense(struct fix *f)
{
    SEND(f, 8);
    assert_int_equal(get(f), 0x80);
    assert_int_equal(inb(f, 0x3f4), 0x80);
}

static inline void seek(struct fix *f, u8 unit, u8 cyl)
{
    SEND(f, 0x0f, unit, cyl);
    sense(f, 0x20 | unit, cyl);
}

/* Out of reset with drive A's motor on; data rate for the size. */
static inline struct fix *make(u32 sectors, bool ro)
{
    struct fix *f = calloc(1, sizeof(*f));
    struct bus_host h = {.set_intr = fix_intr, .opaque = f, .mem_read = mr, .mem_write = mw};
    f->b = bus_create(&h);
    pic_create(f->b);
    init_pics(f);
    assert_int_equal(dma_create(f->b), 0);
    assert_int_equal(fdc_create(f->b, &fdc), 0);
    if (sectors)
        make_image(path, sectors);
    fdc_attach(fdc, 0, sectors ? open_block(f, path, ro) : NULL);
    memset(mem, 0, sizeof(mem));
    outb(f, 0x3f2, 0x1c);
    outb(f, 0x3f7, sectors == 5760 ? 3 : sectors < 2000 ? 2 : 0);
    assert_true(took_irq(f));
    for (int i = 0; i < 4; i++)
        sense(f, 0xc0 | i, 0);
    SEND(f, 3, 0xdf, 0x02);
    return f;
}

static inline int setup(void **st)
{
    close(mkstemp(path));
    close(mkstemp(other));
    return 0;
}

static inline int teardown(void **st)
{
    unlink(path);
    unlink(other);
    return 0;
}

#endif
