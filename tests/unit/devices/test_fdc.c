/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floppy controller through its ports and the 8237: every command, the geometries, write protection, disk
 * change, errors in ST0-ST2, data by DMA and by the CPU, and a guest that writes anything anywhere.
 *
 * Sectors of the images begin with their number. Nothing here depends on the clock: a transfer is over when
 * the MSR says so.
 */
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

static void make_image(const char *p, u32 sectors)
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

static struct block *open_block(struct fix *f, const char *p, bool ro)
{
    char err[300] = "";
    struct block_config c = {.path = p, .read_only = ro};
    struct block *k = block_open(f->b, &c, err, sizeof(err));
    if (!k)
        print_message("%s\n", err);
    assert_non_null(k);
    return k;
}

static bool irq6(struct fix *f)
{
    outb(f, 0x20, 0x0a);
    return inb(f, 0x20) >> 6 & 1;
}

/* Acknowledges what is pending: the next edge shows again. */
static bool took_irq(struct fix *f)
{
    bool was = irq6(f);
    if (was) {
        assert_int_equal(bus_intr_ack(f->b), 0x36);
        outb(f, 0x20, 0x20);
    }
    return was;
}

static void put(struct fix *f, u8 val)
{
    assert_int_equal(inb(f, 0x3f4) & 0xc0, 0x80);
    outb(f, 0x3f5, val);
}

static u8 get(struct fix *f)
{
    assert_int_equal(inb(f, 0x3f4), 0xd0);
    return inb(f, 0x3f5);
}

/* Waits while the image's thread works. */
static void settle(struct fix *f)
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

static void send(struct fix *f, const u8 *cmd, int len)
{
    for (int i = 0; i < len; i++)
        put(f, cmd[i]);
}

static void results(struct fix *f, int n)
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

static void check_results(int line, u8 st0, u8 st1, u8 st2, u8 c, u8 h, u8 r)
{
    const u8 want[6] = {st0, st1, st2, c, h, r};
    for (int i = 0; i < 6; i++)
        if (res[i] != want[i])
            fail_msg("line %d: result %d is %02x, not %02x", line, i, res[i], want[i]);
}
#define RESULT(...) check_results(__LINE__, __VA_ARGS__)

/* The 8237's channel 2; mode 46h: to memory, 4Ah: from memory. */
static void dma(struct fix *f, u8 mode, u32 len)
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

static u32 number(const void *p)
{
    u32 v;
    memcpy(&v, p, 4);
    return v;
}

static u32 on_disk(u32 sector)
{
    u32 v = 0;
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, &v, 4, (off_t)sector * 512), 4);
    close(fd);
    return v;
}

static void sense(struct fix *f, u8 st0, u8 cyl)
{
    SEND(f, 8);
    u8 a = get(f), b = get(f);
    assert_int_equal(a, st0);
    assert_int_equal(b, cyl);
}

static void nothing_to_sense(struct fix *f)
{
    SEND(f, 8);
    assert_int_equal(get(f), 0x80);
    assert_int_equal(inb(f, 0x3f4), 0x80);
}

static void seek(struct fix *f, u8 unit, u8 cyl)
{
    SEND(f, 0x0f, unit, cyl);
    sense(f, 0x20 | unit, cyl);
}

/* Out of reset with drive A's motor on; data rate for the size. */
static struct fix *make(u32 sectors, bool ro)
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

/* ---- the controller itself ---- */

static void resets(void **st)
{
    struct fix *f = make(2880, false);
    nothing_to_sense(f);
    outb(f, 0x3f2, 0x08);
    assert_int_equal(inb(f, 0x3f2), 0x08);
    assert_int_equal(inb(f, 0x3f4), 0); /* in reset nothing is ready */
    outb(f, 0x3f5, 8);
    assert_int_equal(inb(f, 0x3f5), 0);
    outb(f, 0x3f4, 0x80); /* the DSR's reset inside the DOR's: no interrupt */
    assert_false(took_irq(f));
    outb(f, 0x3f2, 0x0c);
    assert_int_equal(inb(f, 0x3f4), 0x80);
    assert_true(took_irq(f));
    sense(f, 0xc0, 0);
    assert_false(took_irq(f)); /* one interrupt, four states */
    sense(f, 0xc1, 0);
    sense(f, 0xc2, 0);
    sense(f, 0xc3, 0);
    nothing_to_sense(f);
    /* the DSR's ends by itself and cuts a command short */
    SEND(f, 0x0f, 0);
    assert_int_equal(inb(f, 0x3f4), 0x90);
    outb(f, 0x3f4, 0x80);
    assert_int_equal(inb(f, 0x3f4), 0x80);
    assert_true(took_irq(f));
    /* a seek before the four were asked for comes first */
    SEND(f, 0x07, 0);
    sense(f, 0x20, 0);
    sense(f, 0xc1, 0);
    /* DOR bit 3 clear: no interrupt line */
    outb(f, 0x3f2, 0x14);
    outb(f, 0x3f4, 0x80);
    assert_false(took_irq(f));
    outb(f, 0x3f2, 0x1c);
    assert_true(took_irq(f));
    bus_reset(f->b);
    assert_int_equal(inb(f, 0x3f2), 0);
    assert_int_equal(inb(f, 0x3f4), 0);
    fix_free(f);
}

static void registers(void **st)
{
    struct fix *f = make(2880, false);
    SEND(f, 0x10);
    assert_int_equal(get(f), 0x90);
    SEND(f, 3, 0xaf, 0x1e);
    SEND(f, 0x13, 0, 0x57, 0x21);
    SEND(f, 0x12, 0x8f); /* D1, D0, GAP, WGATE */
    SEND(f, 0x12, 0x30); /* without OW the drive bits stay */
    seek(f, 0, 7);
    seek(f, 1, 3);
    const u8 want[10] = {7, 3, 0, 0, 0xaf, 0x1e, 0, 0x0c, 0x57, 0x21};
    SEND(f, 0x0e);
    results(f, 10);
    assert_memory_equal(res, want, 10);
    SEND(f, 0x94);
    assert_int_equal(get(f), 0x10);
    SEND(f, 0x12, 3);
    outb(f, 0x3f4, 0x80); /* LOCK: EFIFO, FIFOTHR, PRETRK; SPECIFY and the D bits in any case */
    SEND(f, 0x0e);
    results(f, 10);
    assert_int_equal(res[4], 0xaf);
    assert_int_equal(res[5], 0x1e);
    assert_int_equal(res[7], 0x8c);
    assert_int_equal(res[8], 0x07);
    assert_int_equal(res[9], 0x21);
    SEND(f, 0x14);
    assert_int_equal(get(f), 0);
    outb(f, 0x3f2, 0x18);
    outb(f, 0x3f2, 0x1c);
    SEND(f, 0x0e);
    results(f, 10);
    assert_int_equal(res[7], 0x0c);
    assert_int_equal(res[8], 0x20); /* no FIFO, the default */
    assert_int_equal(res[9], 0);
    outb(f, 0x3f3, 0xfe);
    assert_int_equal(inb(f, 0x3f3), 2);
    fix_free(f);
}

static void invalid(void **st)
{
    struct fix *f = make(2880, false);
    int n = 0;
    for (int c = 0; c < 256; c++) {
        static const u8 known[] = {2, 5, 6, 9, 0xc, 0xd, 0x11, 0x16, 0x19, 0x1d};
        static const u8 exact[] = {3,    4,    7,    8,    0xf,  0x8f, 0xcf, 0x12,
                                   0x4a, 0x0a, 0x13, 0x0e, 0x10, 0x14, 0x94, 0x18};
        if (memchr(known, c & 0x1f, sizeof(known)) || memchr(exact, c, sizeof(exact)))
            continue;
        SEND(f, c);
        assert_int_equal(get(f), 0x80);
        assert_int_equal(inb(f, 0x3f4), 0x80);
        n++;
    }
    assert_int_equal(n, 256 - 80 - 16);
    assert_false(took_irq(f));
    fix_free(f);
}

static void seeks(void **st)
{
    struct fix *f = make(2880, false);
    make_image(other, 1440);
    fdc_attach(fdc, 1, open_block(f, other, true));
    /* overlapped: an interrupt and a state each */
    SEND(f, 0x0f, 0, 30);
    assert_true(took_irq(f));
    SEND(f, 0x0f, 5, 40);
    sense(f, 0x20, 30);
    assert_true(took_irq(f));
    sense(f, 0x21, 40);
    assert_false(took_irq(f));
    nothing_to_sense(f);
    SEND(f, 4, 0); /* SENSE DRIVE: head, track 0, write protection */
    assert_int_equal(get(f), 0x28);
    SEND(f, 4, 5);
    assert_int_equal(get(f), 0x6d);
    SEND(f, 7, 1);
    sense(f, 0x21, 0);
    SEND(f, 4, 1);
    assert_int_equal(get(f), 0x79);
    SEND(f, 0xcf, 0, 12); /* RELATIVE SEEK: in, out */
    sense(f, 0x20, 42);
    SEND(f, 0x8f, 0, 2);
    sense(f, 0x20, 40);
    SEND(f, 0x4a, 4);
    results(f, 7);
    RESULT(0x04, 0, 0, 40, 1, 1);
    assert_int_equal(res[6], 2);
    /* 79 steps do not reach track 0 from 82 */
    seek(f, 0, 82);
    SEND(f, 0x4a, 0); /* nor is that track formatted */
    results(f, 7);
    RESULT(0x40, 1, 0, 82, 0, 1);
    SEND(f, 7, 0);
    sense(f, 0x70, 0);
    SEND(f, 7, 0);
    sense(f, 0x20, 0);
    SEND(f, 4, 0);
    assert_int_equal(get(f), 0x38);
    /* no such drive: no track 0; a plain seek cannot know */
    SEND(f, 7, 2);
    sense(f, 0x72, 0);
    seek(f, 3, 9);
    fix_free(f);
}

static void change_line(void **st)
{
    struct fix *f = make(2880, false);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0x80); /* after power-on */
    SEND(f, 7, 0);
    sense(f, 0x20, 0);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0x80); /* the head was there: no step */
    seek(f, 0, 1);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0);
    bus_lock(f->b);
    fdc_change_medium(fdc, 0, NULL);
    bus_unlock(f->b);
    assert_null(fdc_medium(fdc, 0));
    seek(f, 0, 2);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0x80); /* steps do not help an empty drive */
    outb(f, 0x3f2, 0x0c);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0); /* motor off */
    outb(f, 0x3f2, 0x2d);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0); /* no drive B */
    outb(f, 0x3f2, 0x1c);
    make_image(other, 1440);
    bus_lock(f->b);
    fdc_change_medium(fdc, 0, open_block(f, other, true));
    bus_unlock(f->b);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0x80);
    seek(f, 0, 0);
    assert_int_equal(inb(f, 0x3f7) & 0x80, 0);
    assert_int_equal(fdc_drive_type(fdc, 0), 4);
    /* another density: the old rate finds nothing */
    SEND(f, 0x4a, 0);
    results(f, 7);
    RESULT(0x40, 1, 0, 0, 0, 1);
    outb(f, 0x3f7, 2);
    SEND(f, 0x4a, 0);
    results(f, 7);
    RESULT(0, 0, 0, 0, 0, 1);
    fix_free(f);
}

/* ---- data by DMA ---- */

static void geometries(void **st)
{
    static const struct {
        u32 sectors;
        u8 type, cyl, spt, rate;
    } g[] = {{720, 4, 40, 9, 2},
             {1440, 4, 80, 9, 2},
             {2400, 2, 80, 15, 0},
             {2880, 4, 80, 18, 0},
             {5760, 5, 80, 36, 3}};
    for (size_t i = 0; i < ARRAY_SIZE(g); i++) {
        struct fix *f = make(g[i].sectors, false);
        u8 spt = g[i].spt, c = g[i].cyl - 1;
        assert_int_equal(fdc_drive_type(fdc, 0), g[i].type);
        for (u8 rate = 0; rate < 4; rate++) {
            bool right = rate == g[i].rate || (rate == 1 && spt == 9);
            outb(f, 0x3f7, rate);
            SEND(f, 0x4a, 0);
            results(f, 7);
            RESULT(right ? 0 : 0x40, right ? 0 : 1, 0, 0, 0, 1);
        }
        outb(f, 0x3f7, g[i].rate);
        seek(f, 0, c);
        took_irq(f);
        /* the last cylinder, both sides by MT: as many as the 8237 counts */
        u32 n = 2u * spt;
        dma(f, 0x46, n * 512);
        SEND(f, 0xe6, 0, c, 0, 1, 2, spt, 0x1b, 0xff);
        settle(f);
        assert_true(irq6(f));
        results(f, 7);
        assert_false(irq6(f)); /* the first result byte took it back */
        RESULT(0x04, 0, 0, c + 1, 0, 1);
        for (u32 s = 0; s < n; s++) {
            assert_int_equal(number(mem + AT + s * 512), g[i].sectors - n + s);
            assert_int_equal(number(mem + AT + s * 512 + 508), ~(g[i].sectors - n + s));
        }
        assert_int_equal(inb(f, 8) & 4, 4);
        fix_free(f);
    }
}

static void reading(void **st)
{
    struct fix *f = make(2880, true);
    seek(f, 0, 1);
    /* TC inside the track, inside a sector, and at its end */
    dma(f, 0x46, 1024);
    SEND(f, 0x46, 4, 1, 1, 3, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x04, 0, 0, 1, 1, 5);
    assert_int_equal(number(mem + AT), 36 + 18 + 2);
    assert_int_equal(number(mem + AT + 512), 36 + 18 + 3);
    memset(mem, 0xaa, sizeof(mem));
    dma(f, 0x46, 100);
    SEND(f, 0x46, 0, 1, 0, 18, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0, 0, 0, 2, 0, 1);
    assert_int_equal(number(mem + AT), 36 + 17);
    assert_int_equal(mem[AT + 99], 0);
    assert_int_equal(mem[AT + 100], 0xaa);
    dma(f, 0x46, 512);
    SEND(f, 0xc6, 0, 1, 0, 18, 2, 18, 0x1b, 0xff); /* MT goes on at the other side */
    results(f, 7);
    RESULT(0, 0, 0, 1, 1, 1);
    /* EOT without TC */
    dma(f, 0x46, 4096);
    SEND(f, 0x46, 0, 1, 0, 2, 2, 3, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x80, 0, 2, 0, 1);
    /* EOT that the track does not have */
    dma(f, 0x46, 4096);
    SEND(f, 0x46, 0, 1, 0, 17, 2, 30, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x04, 0, 1, 0, 19);
    /* nobody takes the data: masked channel, DMA gate */
    outb(f, 0x0a, 6);
    SEND(f, 0x46, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x10, 0, 1, 0, 1);
    dma(f, 0x46, 512);
    outb(f, 0x3f2, 0x14);
    SEND(f, 0x46, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x10, 0, 1, 0, 1);
    outb(f, 0x3f2, 0x1c);
    /* MSR while the data moves, and the interrupt that the first result byte takes back */
    took_irq(f);
    SEND(f, 0x46, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
    assert_int_equal(inb(f, 0x3f4), 0x10);
    outb(f, 0x3f5, 0x10); /* ignored */
    settle(f);
    assert_true(irq6(f));
    results(f, 7);
    assert_false(irq6(f)); /* the first result byte took it back */
    RESULT(0, 0, 0, 1, 0, 2);
    fix_free(f);
}

static void bad_addresses(void **st)
{
    static const struct {
        u8 unit, c, h, r, n, st0, st1, st2;
    } t[] = {
        {0, 5, 0, 0, 2, 0x40, 0x04, 0},    {0, 5, 0, 19, 2, 0x40, 0x04, 0}, {0, 6, 0, 1, 2, 0x40, 0x04, 0x10},
        {0, 5, 1, 1, 2, 0x40, 0x04, 0},    {0, 5, 0, 1, 3, 0x40, 0x04, 0},  {0, 5, 0, 1, 0, 0x40, 0x04, 0},
        {1, 5, 0, 1, 2, 0x49, 0x01, 0},    {3, 5, 0, 1, 2, 0x4b, 0x01, 0},  {4, 5, 0, 1, 2, 0x44, 0x04, 0},
        {0, 5, 0xff, 1, 2, 0x40, 0x04, 0},
    };
    static const u8 commands[] = {0x46, 0x45, 0x4c, 0x49, 0x42, 0x56, 0x51};
    struct fix *f = make(2880, false);
    seek(f, 0, 5);
    for (size_t k = 0; k < sizeof(commands); k++)
        for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
            if (commands[k] == 0x42 && (!t[i].r || t[i].r == 19))
                continue; /* READ TRACK does not look for a sector */
            dma(f, commands[k] == 0x45 || commands[k] == 0x49 || commands[k] == 0x51 ? 0x4a : 0x46, 512);
            SEND(f, commands[k], t[i].unit, t[i].c, t[i].h, t[i].r, t[i].n, 18, 0x1b, 1);
            results(f, 7);
            RESULT(t[i].st0, t[i].st1, t[i].st2, t[i].c, t[i].h, t[i].r);
        }
    seek(f, 0, 81); /* behind the last cylinder */
    SEND(f, 0x46, 0, 81, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 1, 0, 81, 0, 1);
    /* implied seek */
    SEND(f, 0x13, 0, 0x40, 0);
    dma(f, 0x46, 512);
    SEND(f, 0x46, 0, 20, 0, 4, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x20, 0, 0, 20, 0, 5);
    assert_int_equal(number(mem + AT), 20 * 36 + 3);
    nothing_to_sense(f);
    fix_free(f);
    f = make(0, false); /* an empty drive */
    for (size_t k = 0; k < sizeof(commands); k++) {
        SEND(f, commands[k], 0, 0, 0, 1, 2, 18, 0x1b, 1);
        results(f, 7);
        RESULT(0x48, 1, 0, 0, 0, 1);
    }
    SEND(f, 0x4d, 0, 2, 18, 0x50, 0xf6);
    results(f, 7);
    assert_int_equal(res[0], 0x48);
    SEND(f, 0x4a, 0);
    results(f, 7);
    RESULT(0x40, 1, 0, 0, 0, 1);
    fix_free(f);
}

static void writing(void **st)
{
    struct fix *f = make(2880, false);
    seek(f, 0, 2);
    for (u32 s = 0; s < 4; s++) {
        memset(mem + AT + s * 512, 0x11, 512);
        memset(mem + AT + s * 512, 0xe0 + s, 4);
    }
    took_irq(f);
    dma(f, 0x4a, 1024 + 256); /* over the end of side 0; the third sector ends in zeros */
    SEND(f, 0xc5, 0, 2, 0, 17, 2, 18, 0x1b, 0xff);
    settle(f);
    assert_true(irq6(f));
    results(f, 7);
    assert_false(irq6(f)); /* the first result byte took it back */
    RESULT(0x04, 0, 0, 2, 1, 2);
    assert_int_equal(on_disk(72 + 15), 72 + 15);
    assert_int_equal(on_disk(72 + 16), 0xe0e0e0e0);
    assert_int_equal(on_disk(72 + 17), 0xe1e1e1e1);
    assert_int_equal(on_disk(72 + 18), 0xe2e2e2e2);
    assert_int_equal(on_disk(72 + 19), 72 + 19);
    dma(f, 0x46, 512);
    SEND(f, 0x46, 4, 2, 1, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    assert_int_equal(mem[AT + 255], 0x11);
    assert_int_equal(mem[AT + 256], 0);
    dma(f, 0x4a, 4096); /* EOT without TC */
    SEND(f, 0x45, 0, 2, 0, 3, 2, 4, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x80, 0, 3, 0, 1);
    outb(f, 0x0a, 6); /* no data comes */
    SEND(f, 0x45, 0, 2, 0, 5, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x10, 0, 2, 0, 5);
    assert_int_equal(on_disk(72 + 4), 72 + 4);
    /* FORMAT */
    for (u8 i = 0; i < 18; i++)
        memcpy(mem + AT + i * 4, (u8[]){2, 1, i + 1, 2}, 4);
    dma(f, 0x4a, 18 * 4);
    SEND(f, 0x4d, 4, 2, 18, 0x50, 0xf6);
    results(f, 7);
    assert_int_equal(res[0], 0x04);
    for (u32 s = 0; s < 18; s++)
        assert_int_equal(on_disk(72 + 18 + s), 0xf6f6f6f6);
    assert_int_equal(on_disk(72 + 36), 72 + 36);
    assert_int_equal(on_disk(72 + 15), 72 + 15);
    SEND(f, 0x4d, 4, 2, 9, 0x50, 0xf6); /* a track that the image cannot hold; no headers */
    results(f, 7);
    assert_int_equal(res[0], 0x44);
    outb(f, 0x0a, 6);
    SEND(f, 0x4d, 0, 2, 18, 0x50, 0);
    results(f, 7);
    assert_int_equal(res[0], 0x40);
    assert_int_equal(res[1], 0x10);
    assert_int_equal(on_disk(72), 72);
    fix_free(f);
    f = make(2880, true); /* write protected */
    dma(f, 0x4a, 512);
    SEND(f, 0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 2, 0, 0, 0, 1);
    SEND(f, 0x49, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 2, 0, 0, 0, 1);
    SEND(f, 0x4d, 0, 2, 18, 0x50, 0xf6);
    results(f, 7);
    assert_int_equal(res[1], 2);
    assert_int_equal(on_disk(0), 0);
    fix_free(f);
}

static void other_reads(void **st)
{
    struct fix *f = make(2880, true);
    /* VERIFY: to EOT, both sides, a count, a count too far; nothing moves */
    dma(f, 0x46, 512);
    SEND(f, 0x56, 0, 0, 0, 1, 2, 18, 0x1b, 0);
    results(f, 7);
    RESULT(0, 0, 0, 1, 0, 1);
    SEND(f, 0xd6, 0, 0, 0, 1, 2, 18, 0x1b, 0);
    results(f, 7);
    RESULT(4, 0, 0, 1, 0, 1);
    SEND(f, 0xd6, 0x80, 0, 0, 17, 2, 18, 0x1b, 4);
    results(f, 7);
    RESULT(4, 0, 0, 0, 1, 3);
    SEND(f, 0x56, 0x80, 0, 0, 17, 2, 18, 0x1b, 4);
    results(f, 7);
    RESULT(0x40, 0x80, 0, 1, 0, 1);
    SEND(f, 0x56, 0, 0, 0, 17, 2, 20, 0x1b, 0);
    results(f, 7);
    RESULT(0x40, 4, 0, 0, 0, 19);
    assert_int_equal(inb(f, 8) & 4, 0);
    /* READ TRACK starts behind the index hole whatever R says */
    dma(f, 0x46, 3 * 512);
    SEND(f, 0x42, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0, 0, 0, 0, 0, 4);
    dma(f, 0x46, 4096);
    SEND(f, 0x42, 0, 0, 0, 9, 2, 2, 0x1b, 0xff);
    results(f, 7);
    RESULT(0, 4, 0, 1, 0, 1);
    assert_int_equal(number(mem + AT), 0);
    assert_int_equal(number(mem + AT + 512), 1);
    /* READ DELETED DATA: one normal sector with the mark; with SK none */
    dma(f, 0x46, 1024);
    SEND(f, 0x4c, 0, 0, 0, 6, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0, 0, 0x40, 0, 0, 6);
    assert_int_equal(number(mem + AT), 5);
    assert_int_equal(number(mem + AT + 512), 1);
    SEND(f, 0x6c, 0, 0, 0, 6, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0x40, 0x80, 0x40, 1, 0, 1);
    fix_free(f);
}

static void scans(void **st)
{
    struct fix *f = make(2880, true);
    static const struct {
        u8 cmd, byte, stp, st0, st1, st2, r;
    } t[] = {
        {0x51, 3, 1, 0, 0, 0x08, 4},    /* EQUAL finds sector 4, whose number is 3 */
        {0x51, 3, 2, 0x40, 4, 0, 19},   /* every other: 1, 3, 5 ... pass EOT */
        {0x51, 99, 1, 0, 0, 0x04, 1},   /* none */
        {0x59, 0xff, 1, 0, 0, 0x08, 1}, /* FFh fits everything */
        {0x59, 5, 1, 0, 0, 0, 1},       /* LOW OR EQUAL: the first is lower */
        {0x5d, 5, 1, 0, 0, 0x08, 6},    /* HIGH OR EQUAL: equal comes first */
    };
    for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
        /* only the first byte counts: the rest is masked */
        for (int s = 0; s < 18; s++) {
            memset(mem + AT + s * 512, 0xff, 512);
            mem[AT + s * 512] = t[i].byte;
        }
        dma(f, 0x4a, 0x8000);
        SEND(f, t[i].cmd, 0, 0, 0, 1, 2, 18, 0x1b, t[i].stp);
        results(f, 7);
        RESULT(t[i].st0, t[i].st1, t[i].st2, t[i].st2 == 4 ? 1 : 0, 0, t[i].r);
    }
    fix_free(f);
}

/* ---- data by the CPU ---- */

static void by_cpu(void **st)
{
    struct fix *f = make(2880, false);
    SEND(f, 3, 0xdf, 0x03); /* ND */
    took_irq(f);
    SEND(f, 0xc6, 0, 0, 0, 17, 2, 18, 0x1b, 0xff);
    for (u32 i = 0; i < 20 * 512; i++) { /* over both sides to EOT */
        settle(f);
        assert_int_equal(inb(f, 0x3f4), 0xf0);
        if (i < 3)
            assert_true(took_irq(f)); /* one each */
        u8 v = inb(f, 0x3f5);
        if (i % 512 == 0)
            assert_int_equal(v, 16 + i / 512);
        else if (i % 512 == 508)
            assert_int_equal(v, (u8) ~(16 + i / 512));
    }
    took_irq(f);
    results(f, 7);
    RESULT(0x44, 0x80, 0, 1, 0, 1);
    SEND(f, 0x45, 0, 0, 0, 4, 2, 5, 0x1b, 0xff);
    for (u32 i = 0; i < 2 * 512; i++) {
        settle(f);
        assert_int_equal(inb(f, 0x3f4), 0xb0);
        outb(f, 0x3f5, i < 512 ? 0x77 : 0x88);
    }
    results(f, 7);
    RESULT(0x40, 0x80, 0, 1, 0, 1);
    assert_int_equal(on_disk(3), 0x77777777);
    assert_int_equal(on_disk(4), 0x88888888);
    assert_int_equal(on_disk(5), 5);
    SEND(f, 0x51, 0, 0, 0, 4, 2, 18, 0x1b, 1);
    for (u32 i = 0; i < 2 * 512; i++) {
        settle(f);
        assert_int_equal(inb(f, 0x3f4), 0xb0);
        outb(f, 0x3f5, 0x88);
    }
    results(f, 7);
    RESULT(0, 0, 8, 0, 0, 5);
    SEND(f, 0x4d, 4, 2, 18, 0x50, 0x5a);
    for (u32 i = 0; i < 18 * 4; i++) {
        assert_int_equal(inb(f, 0x3f4), 0xb0);
        outb(f, 0x3f5, i % 4 == 2 ? i / 4 + 1 : i % 4 == 3 ? 2 : i % 4);
    }
    results(f, 7);
    assert_int_equal(res[0], 4);
    assert_int_equal(on_disk(18), 0x5a5a5a5a);
    assert_int_equal(on_disk(35), 0x5a5a5a5a);
    /* the disk goes, or a reset comes, in the middle */
    SEND(f, 0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    settle(f);
    inb(f, 0x3f5);
    bus_lock(f->b);
    fdc_change_medium(fdc, 0, NULL);
    bus_unlock(f->b);
    results(f, 7);
    RESULT(0x48, 1, 0, 0, 0, 1);
    bus_lock(f->b);
    fdc_change_medium(fdc, 0, open_block(f, path, false));
    bus_unlock(f->b);
    SEND(f, 0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    outb(f, 0x3f5, 1);
    outb(f, 0x3f4, 0x80);
    assert_int_equal(inb(f, 0x3f4), 0x80);
    sense(f, 0xc0, 0);
    assert_int_equal(on_disk(0), 0);
    fix_free(f);
}

/* ---- anything ---- */

static void hostile(void **st)
{
    struct fix *f = make(2880, false);
    make_image(other, 1440);
    fdc_attach(fdc, 1, open_block(f, other, true));
    u32 x = 12345, commands = 0, data = 0;
    for (int i = 0; i < 200000; i++) {
        x = x * 1664525 + 1013904223;
        u8 val = x >> 24, what = x >> 16 & 31;
        if (what < 2)
            outb(f, 0x3f0 + (x >> 8 & 7), val);
        else if (what == 2)
            outb(f, x >> 8 & 15, val); /* the 8237 */
        else if (what == 3)
            dma(f, val & 1 ? 0x46 : 0x5a, (val + 1) * 64u);
        else if (what == 4)
            outb(f, 0x3f2, 0x3c | (val & 3));
        else if (what == 5 && (val & 1) && inb(f, 0x3f4) == 0x10)
            settle(f); /* else a slow host would only ever show a busy controller */
        else if (what == 5)
            bus_run_deferred(f->b);
        else if (what == 6 && val < 16)
            outb(f, 0x3f7, val);
        else if (what == 7 && val < 4) {
            bus_lock(f->b);
            fdc_change_medium(fdc, 0, NULL);
            fdc_change_medium(fdc, 0, val & 1 ? NULL : open_block(f, path, false));
            bus_unlock(f->b);
        } else if (what == 8 && inb(f, 0x3f4) == 0x80) { /* a whole command that could succeed */
            static const u8 ops[] = {0x46, 0xc6, 0x45, 0xc5, 0xd6, 0x42, 0x51, 0x59, 0x4c, 0x6c};
            outb(f, 0x3f7, 0);
            SEND(f, 3, val, x >> 8 & 1);
            SEND(f, 0x13, 0, 0x40, 0);
            SEND(f, ops[val % sizeof(ops)], 0, val & 1, 0, x >> 10 & 15, 2, 18, 0x1b, val & 3);
        } else if (what < 20) { /* small values and the media's own numbers get further */
            static const u8 likely[] = {0x46, 0xc5, 0x4d, 0x51, 0x07, 0x0f, 0, 1, 2, 4, 18, 9, 3, 8};
            outb(f, 0x3f5, what < 17 ? likely[val % sizeof(likely)] : val);
        } else {
            u8 m = inb(f, 0x3f4);
            commands += m == 0xd0;
            data += (m & 0xa0) == 0xa0;
            inb(f, m & 0x40 ? 0x3f5 : 0x3f0 + (x >> 8 & 7));
        }
    }
    assert_true(commands > 1000);
    assert_true(data > 100);
    /* and it still works */
    bus_lock(f->b);
    fdc_change_medium(fdc, 0, NULL);
    make_image(path, 2880);
    fdc_change_medium(fdc, 0, open_block(f, path, false));
    bus_unlock(f->b);
    bus_reset(f->b);
    outb(f, 0x3f2, 0x1c);
    outb(f, 0x3f7, 0);
    outb(f, 0x0d, 0);
    outb(f, 0x08, 0);
    dma(f, 0x46, 512);
    SEND(f, 0x46, 0, 0, 0, 7, 2, 18, 0x1b, 0xff);
    results(f, 7);
    RESULT(0, 0, 0, 0, 0, 8);
    assert_int_equal(number(mem + AT), 6);
    fix_free(f);
}

static int setup(void **st)
{
    close(mkstemp(path));
    close(mkstemp(other));
    return 0;
}

static int teardown(void **st)
{
    unlink(path);
    unlink(other);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resets),      cmocka_unit_test(registers),     cmocka_unit_test(invalid),
        cmocka_unit_test(seeks),       cmocka_unit_test(change_line),   cmocka_unit_test(geometries),
        cmocka_unit_test(reading),     cmocka_unit_test(bad_addresses), cmocka_unit_test(writing),
        cmocka_unit_test(other_reads), cmocka_unit_test(scans),         cmocka_unit_test(by_cpu),
        cmocka_unit_test(hostile),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
