/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys of a terminal. A terminal tells characters, not keys: Shift, Ctrl and Alt are guessed from what it
 * sends, and a key is always pressed and let go at once.
 *
 * Must not: keep state or draw; ncurses is asked for the names of its keys only.
 */
#include "display/curses_keys.h"

#include <ncurses.h>
#include <string.h>

struct typed curses_character(u32 ch)
{
    switch (ch) {
    case 0:
        return (struct typed){.keysym = ' ', .ctrl = true};
    case '\b':
    case 0x7f:
        return (struct typed){.keysym = 0xff08};
    case '\t':
        return (struct typed){.keysym = 0xff09};
    case '\n':
    case '\r':
        return (struct typed){.keysym = 0xff0d};
    case 0x1b:
        return (struct typed){.keysym = 0xff1b};
    case 0x1e:
    case 0x1f: /* Ctrl-^, Ctrl-_ */
        return (struct typed){.keysym = ch == 0x1e ? '6' : '-', .ctrl = true, .shift = true};
    }
    if (ch < 27)
        return (struct typed){.keysym = 'a' + ch - 1, .ctrl = true};
    if (ch < 0x20)
        return (struct typed){.keysym = '@' + ch, .ctrl = true};
    return (struct typed){.keysym = ch > 0xff ? 0x1000000 | ch : ch};
}

/* xterm's names of keys with modifiers, such as kUP5: a name and 1 + (1 Shift, 2 Alt, 4 Ctrl). */
static struct typed named(const char *name)
{
    static const struct {
        const char *name;
        u32 keysym;
    } keys[] = {{"kUP", 0xff52},  {"kDN", 0xff54},  {"kLFT", 0xff51}, {"kRIT", 0xff53}, {"kHOM", 0xff50},
                {"kEND", 0xff57}, {"kPRV", 0xff55}, {"kNXT", 0xff56}, {"kIC", 0xff63},  {"kDC", 0xffff}};
    for (size_t i = 0; name && i < ARRAY_SIZE(keys); i++) {
        size_t n = strlen(keys[i].name);
        if (strncmp(name, keys[i].name, n))
            continue;
        u32 mods = name[n] >= '2' && name[n] <= '8' && !name[n + 1] ? (u32)(name[n] - '1') : name[n] ? 8 : 1;
        if (mods < 8)
            return (struct typed){
                .keysym = keys[i].keysym, .shift = mods & 1, .alt = mods & 2, .ctrl = mods & 4};
    }
    return (struct typed){0};
}

struct typed curses_function(int key)
{
    static const struct {
        int key;
        u32 keysym;
        bool shift;
    } keys[] = {
        {KEY_UP, 0xff52, false},      {KEY_DOWN, 0xff54, false},      {KEY_LEFT, 0xff51, false},
        {KEY_RIGHT, 0xff53, false},   {KEY_HOME, 0xff50, false},      {KEY_END, 0xff57, false},
        {KEY_PPAGE, 0xff55, false},   {KEY_NPAGE, 0xff56, false},     {KEY_IC, 0xff63, false},
        {KEY_DC, 0xffff, false},      {KEY_BACKSPACE, 0xff08, false}, {KEY_ENTER, 0xff8d, false},
        {KEY_BTAB, 0xff09, true},     {KEY_SLEFT, 0xff51, true},      {KEY_SRIGHT, 0xff53, true},
        {KEY_SR, 0xff52, true},       {KEY_SF, 0xff54, true},         {KEY_SHOME, 0xff50, true},
        {KEY_SEND, 0xff57, true},     {KEY_SPREVIOUS, 0xff55, true},  {KEY_SNEXT, 0xff56, true},
        {KEY_SIC, 0xff63, true},      {KEY_SDC, 0xffff, true},        {KEY_A1, 0xff50, false},
        {KEY_A3, 0xff55, false},      {KEY_B2, 0xff9d, false},        {KEY_C1, 0xff57, false},
        {KEY_C3, 0xff56, false},      {KEY_PRINT, 0xff61, false},     {KEY_BREAK, 0xff6b, false},
        {KEY_SUSPEND, 0xff13, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (keys[i].key == key)
            return (struct typed){.keysym = keys[i].keysym, .shift = keys[i].shift};
    if (key > KEY_F0 &&
        key <= KEY_F(63)) { /* twelve at a time: plain, Shift, Ctrl, both, Alt, Alt and Shift */
        u32 n = (u32)(key - KEY_F0 - 1), group = n / 12;
        return (struct typed){.keysym = 0xffbe + n % 12,
                              .shift = group == 1 || group == 3 || group == 5,
                              .ctrl = group == 2 || group == 3,
                              .alt = group >= 4};
    }
    return named(keyname(key));
}

char curses_ascii(u8 ch)
{
    static const char high[] = "CueaaaaceeeiiiAAEaAooouuyOUcLYPfaiounNao?--24!<>"
                               ":%#|++++++|+++++++-|-++++++++=+++++++++++++#_||~"
                               "asGpSsmtFTO?^fen=+><()/~o..Vn2# ";
    static const char low[] = " @@v*+*o#oo%%mm*><|!Pp_|^v><L-^v";
    _Static_assert(sizeof(high) == 129 && sizeof(low) == 33, "one for each");
    if (ch >= 0x80)
        return high[ch - 0x80];
    return ch < 0x20 ? low[ch] : ch == 0x7f ? '^' : (char)ch;
}
