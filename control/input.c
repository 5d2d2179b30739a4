/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys and mouse for the monitors: names of keys, and a queue that types them at a keyboard's pace.
 *
 * Names are QEMU's (QKeyCode); codes are those of set 1, as ps2_key() takes them, with bit 8 for the E0
 * prefix. The queue runs on guest time, so keys wait while the machine is stopped.
 */
#include "control/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "devices/ps2.h"

#define EXT      0x100
#define KEYS_MAX 512u

static const struct {
    const char *name;
    int code;
} names[] = {
    {"shift", 0x2a},
    {"shift_r", 0x36},
    {"alt", 0x38},
    {"alt_r", EXT | 0x38},
    {"ctrl", 0x1d},
    {"ctrl_r", EXT | 0x1d},
    {"menu", EXT | 0x5d},
    {"compose", EXT | 0x5d},
    {"meta_l", EXT | 0x5b},
    {"meta_r", EXT | 0x5c},
    {"esc", 0x01},
    {"1", 0x02},
    {"2", 0x03},
    {"3", 0x04},
    {"4", 0x05},
    {"5", 0x06},
    {"6", 0x07},
    {"7", 0x08},
    {"8", 0x09},
    {"9", 0x0a},
    {"0", 0x0b},
    {"minus", 0x0c},
    {"equal", 0x0d},
    {"backspace", 0x0e},
    {"tab", 0x0f},
    {"q", 0x10},
    {"w", 0x11},
    {"e", 0x12},
    {"r", 0x13},
    {"t", 0x14},
    {"y", 0x15},
    {"u", 0x16},
    {"i", 0x17},
    {"o", 0x18},
    {"p", 0x19},
    {"bracket_left", 0x1a},
    {"bracket_right", 0x1b},
    {"ret", 0x1c},
    {"kp_enter", EXT | 0x1c},
    {"a", 0x1e},
    {"s", 0x1f},
    {"d", 0x20},
    {"f", 0x21},
    {"g", 0x22},
    {"h", 0x23},
    {"j", 0x24},
    {"k", 0x25},
    {"l", 0x26},
    {"semicolon", 0x27},
    {"apostrophe", 0x28},
    {"grave_accent", 0x29},
    {"backslash", 0x2b},
    {"z", 0x2c},
    {"x", 0x2d},
    {"c", 0x2e},
    {"v", 0x2f},
    {"b", 0x30},
    {"n", 0x31},
    {"m", 0x32},
    {"comma", 0x33},
    {"dot", 0x34},
    {"slash", 0x35},
    {"asterisk", 0x37},
    {"kp_multiply", 0x37},
    {"spc", 0x39},
    {"caps_lock", 0x3a},
    {"f1", 0x3b},
    {"f2", 0x3c},
    {"f3", 0x3d},
    {"f4", 0x3e},
    {"f5", 0x3f},
    {"f6", 0x40},
    {"f7", 0x41},
    {"f8", 0x42},
    {"f9", 0x43},
    {"f10", 0x44},
    {"f11", 0x57},
    {"f12", 0x58},
    {"num_lock", 0x45},
    {"scroll_lock", 0x46},
    {"kp_divide", EXT | 0x35},
    {"kp_subtract", 0x4a},
    {"kp_add", 0x4e},
    {"kp_decimal", 0x53},
    {"sysrq", 0x54},
    {"kp_0", 0x52},
    {"kp_1", 0x4f},
    {"kp_2", 0x50},
    {"kp_3", 0x51},
    {"kp_4", 0x4b},
    {"kp_5", 0x4c},
    {"kp_6", 0x4d},
    {"kp_7", 0x47},
    {"kp_8", 0x48},
    {"kp_9", 0x49},
    {"less", 0x56},
    {"print", EXT | 0x37},
    {"pause", EXT | 0x46},
    {"home", EXT | 0x47},
    {"pgup", EXT | 0x49},
    {"pgdn", EXT | 0x51},
    {"end", EXT | 0x4f},
    {"left", EXT | 0x4b},
    {"up", EXT | 0x48},
    {"down", EXT | 0x50},
    {"right", EXT | 0x4d},
    {"insert", EXT | 0x52},
    {"delete", EXT | 0x53},
    {"power", EXT | 0x5e},
    {"sleep", EXT | 0x5f},
    {"wake", EXT | 0x63},
    {"ro", 0x73},
    {"yen", 0x7d},
};

int key_code(const char *name, size_t len)
{
    char word[24];
    if (!len || len >= sizeof(word))
        return -1;
    memcpy(word, name, len);
    word[len] = 0;
    if (!strcmp(word, "<")) /* QEMU's monitor has it */
        return 0x56;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!strcmp(names[i].name, word))
            return names[i].code;
    if (!strncmp(word, "0x", 2)) {
        char *end;
        unsigned long n = strtoul(word, &end, 16);
        if (!*end && (n & 0x7f) && n < 0x100) /* bit 7: E0 prefix, as QEMU counts */
            return n & 0x80 ? EXT | (int)(n & 0x7f) : (int)n;
    }
    return -1;
}

struct key_queue {
    struct control *c;
    struct bus_timer *timer;
    struct {
        u16 code;
        bool down;
        u32 ms;
    } ring[KEYS_MAX];
    u32 head, count;
    bool waiting; /* the timer runs */
};

static void type(struct key_queue *q, u64 now)
{
    q->waiting = false;
    while (q->count && !q->waiting) {
        u32 i = q->head;
        ps2_key(q->c->m.keyboard, (u8)q->ring[i].code, (q->ring[i].code & EXT) != 0, q->ring[i].down);
        q->head = (q->head + 1) % KEYS_MAX;
        q->count--;
        if (q->ring[i].ms) {
            q->waiting = true;
            bus_timer_set(q->timer, now + q->ring[i].ms * 1000000ull);
        }
    }
}

static void fire(void *opaque, u64 now)
{
    type(opaque, now);
}

struct key_queue *keys_create(struct control *c)
{
    struct key_queue *q = calloc(1, sizeof(*q));
    NOVT_ASSERT(q);
    q->c = c;
    q->timer = bus_timer_new(c->m.bus, fire, q);
    return q;
}

void keys_free(struct key_queue *q)
{
    bus_timer_set(q->timer, 0);
    free(q);
}

bool keys_put(struct control *c, int code, bool down, u32 ms)
{
    struct key_queue *q = c->keys;
    if (!c->m.keyboard || q->count == KEYS_MAX)
        return false;
    u32 i = (q->head + q->count++) % KEYS_MAX;
    q->ring[i].code = (u16)code;
    q->ring[i].down = down;
    q->ring[i].ms = ms;
    if (!q->waiting)
        type(q, bus_now(c->m.bus));
    return true;
}

bool keys_chord(struct control *c, const int *codes, int n, u32 hold)
{
    struct key_queue *q = c->keys;
    if (!c->m.keyboard || KEYS_MAX - q->count < 2u * (u32)n)
        return false;
    for (int i = 0; i < n; i++)
        keys_put(c, codes[i], true, i == n - 1 ? hold : 0);
    for (int i = n - 1; i >= 0; i--)
        keys_put(c, codes[i], false, i ? 0 : hold < 20 ? hold : 20);
    return true;
}

void mouse_event(struct control *c, int dx, int dy, int dz, u8 buttons)
{
    c->buttons = buttons;
    if (c->m.mouse)
        ps2_mouse(c->m.mouse, dx, dy, dz, buttons);
}
