/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MC146818A real-time clock and its 128 bytes of CMOS RAM, at ports 70h (index) and 71h (data), IRQ 8.
 *
 * The time of day is not counted but computed from the bus clock: at bus time `edge_ns` the calendar read
 * `edge_sec`, and an update cycle ends every second from there. While the guest holds the clock (SET, or the
 * divider in reset) the ten time bytes are plain RAM, and the calendar restarts from them when it lets go.
 * Flags in register C are brought up to date when somebody looks or a timer fires; a timer runs only for
 * interrupts that are enabled and whose flag is clear, so a guest that does not read register C costs
 * nothing.
 *
 * The memory-size bytes are those that PC BIOSes leave there; the checksum of 10h..2Dh is kept right.
 *
 * Must not: trust the time bytes; a guest may write any value, and only arithmetic modulo a range is done on
 * them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/log.h"
#include "devices/internal.h"

enum { SEC = 0, SEC_A, MIN, MIN_A, HOUR, HOUR_A, WDAY, MDAY, MONTH, YEAR, REG_A, REG_B, REG_C, REG_D };

#define CENTURY 0x32

#define A_UIP  0x80
#define B_SET  0x80
#define B_PIE  0x40
#define B_AIE  0x20
#define B_UIE  0x10
#define B_DM   0x04 /* binary, not BCD */
#define B_24H  0x02
#define C_IRQF 0x80
#define C_PF   0x40
#define C_AF   0x20
#define C_UF   0x10

/* Update cycle at 32.768 kHz: announced 244 us before, lasts 1984 us (datasheet, table 6). */
#define UIP_NS   ((244 + 1984) * NS_PER_US)
#define DAY_SECS 86400

struct rtc {
    struct bus *b;
    u8 cmos[128]; /* time bytes are current only while the clock is held */
    u8 index;
    i64 edge_ns, edge_sec;
    u8 wday_off;   /* guest's day of the week minus the calendar's */
    u64 looked_ns; /* register C is right up to here */
    struct bus_timer *timer;
};

/* ---- calendar arithmetic (Gregorian, days since 1970-01-01) ---- */

static i64 days_from_date(i64 y, int m, int d)
{
    y -= m <= 2;
    i64 era = (y >= 0 ? y : y - 399) / 400;
    i64 yoe = y - era * 400;
    i64 doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void date_from_days(i64 z, i64 *y, int *m, int *d)
{
    z += 719468;
    i64 era = (z >= 0 ? z : z - 146096) / 146097;
    i64 doe = z - era * 146097;
    i64 yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    i64 doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    i64 mp = (5 * doy + 2) / 153;
    *d = doy - (153 * mp + 2) / 5 + 1;
    *m = mp < 10 ? mp + 3 : mp - 9;
    *y = yoe + era * 400 + (*m <= 2);
}

static i64 floor_div(i64 a, i64 n)
{
    return a / n - (a % n < 0);
}

/* ---- time bytes ---- */

static u8 encode(const struct rtc *r, int v)
{
    return r->cmos[REG_B] & B_DM ? v : v / 10 % 10 << 4 | v % 10;
}

static int decode(const struct rtc *r, u8 raw)
{
    return r->cmos[REG_B] & B_DM ? raw : (raw >> 4) * 10 + (raw & 15);
}

static u8 encode_hour(const struct rtc *r, int h)
{
    if (r->cmos[REG_B] & B_24H)
        return encode(r, h);
    return encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? 0x80 : 0);
}

static int decode_hour(const struct rtc *r, u8 raw)
{
    if (r->cmos[REG_B] & B_24H)
        return decode(r, raw);
    return decode(r, raw & 0x7f) % 12 + (raw & 0x80 ? 12 : 0);
}

/* The guest holds the clock: no updates happen. Any divider setting but 010 keeps it from running at 32.768
 * kHz. */
static bool held(const struct rtc *r)
{
    return (r->cmos[REG_B] & B_SET) || (r->cmos[REG_A] & 0x70) != 0x20;
}

static i64 seconds_at(const struct rtc *r, u64 now)
{
    return r->edge_sec + floor_div((i64)now - r->edge_ns, NS_PER_SEC);
}

static void time_to_bytes(struct rtc *r, i64 sec)
{
    i64 days = floor_div(sec, DAY_SECS), y;
    int s = sec - days * DAY_SECS, m, d;
    date_from_days(days, &y, &m, &d);
    r->cmos[SEC] = encode(r, s % 60);
    r->cmos[MIN] = encode(r, s / 60 % 60);
    r->cmos[HOUR] = encode_hour(r, s / 3600);
    r->cmos[WDAY] = encode(r, ((days + 4) % 7 + 7 + r->wday_off) % 7 + 1);
    r->cmos[MDAY] = encode(r, d);
    r->cmos[MONTH] = encode(r, m);
    r->cmos[YEAR] = encode(r, (y % 100 + 100) % 100);
    r->cmos[CENTURY] = (y / 100 % 100 + 100) % 100 / 10 << 4 | (y / 100 % 100 + 100) % 100 % 10;
}

static i64 bytes_to_time(struct rtc *r)
{
    u8 c = r->cmos[CENTURY];
    i64 y = ((c >> 4) * 10 + (c & 15)) * 100 + decode(r, r->cmos[YEAR]);
    int m = decode(r, r->cmos[MONTH]);
    m = m < 1 ? 1 : m > 12 ? 12 : m;
    i64 days = days_from_date(y, m, 1) + decode(r, r->cmos[MDAY]) - 1;
    int wday = (decode(r, r->cmos[WDAY]) + 6) % 7;
    r->wday_off = ((wday - (int)((days + 4) % 7)) % 7 + 7) % 7;
    return days * DAY_SECS + decode_hour(r, r->cmos[HOUR]) * 3600 + decode(r, r->cmos[MIN]) * 60 +
           decode(r, r->cmos[SEC]);
}

/* The last end of an update cycle at or before now. */
static i64 last_edge(const struct rtc *r, u64 now)
{
    return r->edge_ns + floor_div((i64)now - r->edge_ns, NS_PER_SEC) * (i64)NS_PER_SEC;
}

/* ---- alarm, flags, interrupt ---- */

/* First second after `after` whose time of day matches the alarm bytes, or -1 (they match none). */
static i64 next_alarm(const struct rtc *r, i64 after)
{
    const u8 *a = r->cmos;
    bool any_h = a[HOUR_A] >= 0xc0, any_m = a[MIN_A] >= 0xc0, any_s = a[SEC_A] >= 0xc0;
    i64 t = after + 1, end = after + DAY_SECS;
    while (t <= end) {
        int s = t - floor_div(t, DAY_SECS) * DAY_SECS;
        if (!any_h && encode_hour(r, s / 3600) != a[HOUR_A])
            t += 3600 - s % 3600;
        else if (!any_m && encode(r, s / 60 % 60) != a[MIN_A])
            t += 60 - s % 60;
        else if (!any_s && encode(r, s % 60) != a[SEC_A])
            t++;
        else
            return t;
    }
    return -1;
}

/* 32.768 kHz rates (datasheet, table 5), in units of 1/32768 s; 0: off. */
static u32 periodic_units(const struct rtc *r)
{
    int rs = r->cmos[REG_A] & 15;
    if (!rs || (r->cmos[REG_A] & 0x60) == 0x60) /* divider in reset */
        return 0;
    return rs < 3 ? 64u << rs : 1u << (rs - 1);
}

/* Number of periods that ended by now, counted from the last whole second's edge chain. */
static i64 period_index(const struct rtc *r, u64 now, u32 units)
{
    i64 sec = floor_div((i64)now - r->edge_ns, NS_PER_SEC);
    u64 rest = (i64)now - r->edge_ns - sec * (i64)NS_PER_SEC;
    return sec * (32768 / units) + (i64)(rest * 32768 / NS_PER_SEC / units);
}

static u64 period_ns(const struct rtc *r, i64 index, u32 units)
{
    i64 per_sec = 32768 / units;
    i64 sec = floor_div(index, per_sec);
    u64 rest = (u64)(index - sec * per_sec) * units;
    return r->edge_ns + sec * (i64)NS_PER_SEC + (rest * NS_PER_SEC + 32767) / 32768;
}

static void look(struct rtc *r, u64 now)
{
    if (now < r->looked_ns)
        return;
    u32 units = periodic_units(r);
    if (units && period_index(r, now, units) != period_index(r, r->looked_ns, units))
        r->cmos[REG_C] |= C_PF;
    if (!held(r)) {
        i64 from = seconds_at(r, r->looked_ns), to = seconds_at(r, now);
        if (to != from) {
            r->cmos[REG_C] |= C_UF;
            i64 at = next_alarm(r, from);
            if (at >= 0 && at <= to)
                r->cmos[REG_C] |= C_AF;
        }
    }
    r->looked_ns = now;
    if (r->cmos[REG_C] & r->cmos[REG_B] & (C_PF | C_AF | C_UF))
        r->cmos[REG_C] |= C_IRQF;
    else
        r->cmos[REG_C] &= ~C_IRQF;
    bus_set_irq(r->b, 8, r->cmos[REG_C] >> 7);
}

static void arm(struct rtc *r)
{
    u64 now = r->looked_ns, at = UINT64_MAX;
    u8 want = r->cmos[REG_B] & ~r->cmos[REG_C];
    u32 units = periodic_units(r);
    if (r->cmos[REG_C] & C_IRQF)
        want = 0; /* the line is up already; reading register C looks again */
    if ((want & B_PIE) && units)
        at = period_ns(r, period_index(r, now, units) + 1, units);
    if (!held(r)) {
        if (want & B_UIE) {
            u64 t = last_edge(r, now) + NS_PER_SEC;
            at = t < at ? t : at;
        }
        if (want & B_AIE) {
            i64 sec = next_alarm(r, seconds_at(r, now));
            u64 t = r->edge_ns + (sec - r->edge_sec) * (i64)NS_PER_SEC;
            if (sec >= 0)
                at = t < at ? t : at;
        }
    }
    bus_timer_set(r->timer, at == UINT64_MAX ? 0 : at);
}

static void rtc_fire(void *opaque, u64 now)
{
    look(opaque, now);
    arm(opaque);
}

/* ---- registers ---- */

/* Applies a change of registers A or B, which may stop or start the clock. */
static void write_ab(struct rtc *r, int reg, u8 val, u64 now)
{
    bool was_held = held(r), was_reset = (r->cmos[REG_A] & 0x60) == 0x60;
    if (!was_held)
        time_to_bytes(r, seconds_at(r, now)); /* in the format that is valid so far */
    i64 phase = last_edge(r, now);
    u8 old_b = r->cmos[REG_B];
    if (reg == REG_A) {
        r->cmos[REG_A] = val & 0x7f;
    } else {
        r->cmos[REG_B] = val & B_SET ? val & ~B_UIE : val;
        /* A change of format re-reads nothing on the chip; keep a running clock's time. */
        if (!was_held && ((old_b ^ val) & (B_DM | B_24H)))
            time_to_bytes(r, seconds_at(r, now));
    }
    if (was_reset && (r->cmos[REG_A] & 0x60) != 0x60)
        phase = (i64)now - (i64)(NS_PER_SEC / 2); /* first update half a second after the divider starts */
    if (was_held && !held(r))
        r->edge_sec = bytes_to_time(r);
    else if (!was_held)
        r->edge_sec = seconds_at(r, now);
    r->edge_ns = phase;
}

static void write_time(struct rtc *r, int reg, u8 val, u64 now)
{
    if (held(r)) {
        r->cmos[reg] = val;
        return;
    }
    i64 edge = last_edge(r, now);
    time_to_bytes(r, seconds_at(r, now));
    r->cmos[reg] = val;
    r->edge_sec = bytes_to_time(r);
    r->edge_ns = edge;
}

static void update_checksum(struct rtc *r)
{
    u16 sum = 0;
    for (int i = 0x10; i <= 0x2d; i++)
        sum += r->cmos[i];
    r->cmos[0x2e] = sum >> 8;
    r->cmos[0x2f] = sum;
}

static bool is_time(int reg)
{
    return reg == SEC || reg == MIN || reg == HOUR || (reg >= WDAY && reg <= YEAR) || reg == CENTURY;
}

static void rtc_write(void *opaque, u16 port, int size, u32 val)
{
    struct rtc *r = opaque;
    if (port == 0x70) {
        r->index = val & 0x7f; /* bit 7 masks NMI; nothing here raises one */
        return;
    }
    u64 now = bus_now(r->b);
    look(r, now);
    int reg = r->index;
    if (is_time(reg))
        write_time(r, reg, val, now);
    else if (reg == REG_A || reg == REG_B)
        write_ab(r, reg, val, now);
    else if (reg != REG_C && reg != REG_D)
        r->cmos[reg] = val;
    look(r, now);
    arm(r);
}

static u32 rtc_read(void *opaque, u16 port, int size)
{
    struct rtc *r = opaque;
    if (port == 0x70)
        return 0xff; /* write-only */
    u64 now = bus_now(r->b);
    int reg = r->index;
    u8 v;
    if (is_time(reg) && !held(r))
        time_to_bytes(r, seconds_at(r, now));
    switch (reg) {
    case REG_A:
        v = r->cmos[REG_A];
        if (!held(r) && now + UIP_NS >= (u64)(last_edge(r, now) + (i64)NS_PER_SEC))
            v |= A_UIP;
        return v;
    case REG_C:
        look(r, now);
        v = r->cmos[REG_C];
        r->cmos[REG_C] = 0;
        bus_set_irq(r->b, 8, 0);
        arm(r);
        return v;
    case REG_D:
        return 0x80; /* VRT: the battery is good */
    default:
        return r->cmos[reg];
    }
}

static const struct port_ops rtc_ops = {.read = rtc_read, .write = rtc_write};

/* ---- life ---- */

/* RESET# clears the interrupt enables and flags; time, divider and RAM live on the battery. */
static const struct device_field rtc_fields[] = {DEV_KEEP(struct rtc, cmos),
                                                 DEV_FIELD(struct rtc, index, 0),
                                                 DEV_KEEP(struct rtc, edge_ns),
                                                 DEV_KEEP(struct rtc, edge_sec),
                                                 DEV_KEEP(struct rtc, wday_off),
                                                 DEV_KEEP(struct rtc, looked_ns),
                                                 DEV_END};

static void rtc_reset(void *dev)
{
    struct rtc *r = dev;
    r->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | 0x08);
    r->cmos[REG_C] = 0;
    bus_set_irq(r->b, 8, 0);
    bus_timer_set(r->timer, 0);
}

static void rtc_destroy(void *dev)
{
    free(dev);
}

static const struct device_desc rtc_desc = {
    .name = "rtc", .fields = rtc_fields, .reset = rtc_reset, .destroy = rtc_destroy};

/* "utc", "localtime", "YYYY-MM-DD" or "YYYY-MM-DDThh:mm:ss". Returns 0 or -EINVAL. */
static int parse_base(const char *base, i64 *sec, u64 *ns)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    *sec = ts.tv_sec;
    *ns = ts.tv_nsec;
    if (!base || !strcmp(base, "utc"))
        return 0;
    if (!strcmp(base, "localtime")) {
        struct tm tm;
        localtime_r(&ts.tv_sec, &tm);
        *sec += tm.tm_gmtoff;
        return 0;
    }
    int y, mo, d, h = 0, mi = 0, s = 0, end = 0;
    if (sscanf(base, "%4d-%2d-%2d%n", &y, &mo, &d, &end) != 3)
        return -EINVAL;
    if (base[end]) {
        int end2 = 0;
        if (sscanf(base + end, "T%2d:%2d:%2d%n", &h, &mi, &s, &end2) != 3 || base[end + end2])
            return -EINVAL;
    }
    if (y < 1970 || mo < 1 || mo > 12 || d < 1 || d > 31 || h < 0 || h > 23 || mi < 0 || mi > 59 || s < 0 ||
        s > 59)
        return -EINVAL;
    i64 days = days_from_date(y, mo, d), y2;
    int mo2, d2;
    date_from_days(days, &y2, &mo2, &d2);
    if (d2 != d)
        return -EINVAL; /* a day that the month does not have */
    *sec = days * DAY_SECS + h * 3600 + mi * 60 + s;
    *ns = 0;
    return 0;
}

static void put16(struct rtc *r, int lo, u64 v)
{
    r->cmos[lo] = v;
    r->cmos[lo + 1] = v >> 8;
}

static void memory_sizes(struct rtc *r, u64 ram)
{
    u64 above_1m = ram > MiB ? (ram - MiB) / KiB : 0;
    u64 above_16m = ram > 16 * MiB ? (ram - 16 * MiB) / (64 * KiB) : 0;
    u64 base = ram / KiB;
    put16(r, 0x15, base < 640 ? base : 640);
    put16(r, 0x17, above_1m < 0xffff ? above_1m : 0xffff);
    put16(r, 0x30, above_1m < 0xffff ? above_1m : 0xffff);
    put16(r, 0x34, above_16m < 0xffff ? above_16m : 0xffff);
}

static struct rtc *rtc_of(struct bus *b)
{
    for (u32 i = 0; i < b->n_devs; i++)
        if (b->devs[i].desc == &rtc_desc)
            return b->devs[i].dev;
    return NULL;
}

void rtc_cmos_set(struct bus *b, u8 index, u8 val)
{
    bus_lock(b);
    struct rtc *r = rtc_of(b);
    NOVT_ASSERT(r && index < sizeof(r->cmos) && !is_time(index) && (index < REG_A || index > REG_D));
    r->cmos[index] = val;
    update_checksum(r);
    bus_unlock(b);
}

u8 rtc_cmos_get(struct bus *b, u8 index)
{
    bus_lock(b);
    struct rtc *r = rtc_of(b);
    NOVT_ASSERT(r && index < sizeof(r->cmos) && !is_time(index) && (index < REG_A || index > REG_D));
    u8 val = r->cmos[index];
    bus_unlock(b);
    return val;
}

int rtc_create(struct bus *b, const char *base, u64 ram_bytes)
{
    i64 sec;
    u64 ns;
    int err = parse_base(base, &sec, &ns);
    if (err)
        return err;
    struct rtc *r = dev_alloc(sizeof(*r));
    r->b = b;
    err = bus_add_ports(b, 0x70, 2, 1, &rtc_ops, r);
    if (err) {
        free(r);
        return err;
    }
    u64 now = bus_now(b);
    r->edge_sec = sec;
    r->edge_ns = (i64)now - (i64)ns;
    r->looked_ns = now;
    r->cmos[REG_A] = 0x26; /* 32.768 kHz, 1024 Hz: what BIOSes set */
    r->cmos[REG_B] = B_24H;
    r->cmos[0x14] = 0x02; /* equipment: an FPU; no floppy, display or pointing device */
    memory_sizes(r, ram_bytes);
    update_checksum(r);
    time_to_bytes(r, sec);
    r->timer = bus_timer_new(b, rtc_fire, r);
    bus_add_device(b, &rtc_desc, r);
    return 0;
}
