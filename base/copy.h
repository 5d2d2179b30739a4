/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying and clearing for light code: libc's memcpy may use the vector registers, which hold the guest's
 * state there. */
#ifndef NOVT_BASE_COPY_H
#define NOVT_BASE_COPY_H

#include "base/types.h"

/* n bytes, not overlapping. */
static inline void copy_bytes(void *dst, const void *src, u64 n)
{
    switch (n) {
    case 1:
        __builtin_memcpy(dst, src, 1);
        return;
    case 2:
        __builtin_memcpy(dst, src, 2);
        return;
    case 4:
        __builtin_memcpy(dst, src, 4);
        return;
    case 8:
        __builtin_memcpy(dst, src, 8);
        return;
    default:
        __asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
    }
}

/* n words become 0. */
static inline void clear_words(u32 *dst, u64 n)
{
    __asm__ volatile("rep stosl" : "+D"(dst), "+c"(n) : "a"(0) : "memory");
}

#endif
