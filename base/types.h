/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Short integer names and the few macros that every folder uses. */
#ifndef NOVT_BASE_TYPES_H
#define NOVT_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;

#define likely(x)        __builtin_expect(!!(x), 1)
#define unlikely(x)      __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a)    (sizeof(a) / sizeof((a)[0]))
#define ALIGN_UP(x, a)   (((x) + ((a)-1)) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define KiB              1024ull
#define MiB              (1024ull * KiB)
#define GiB              (1024ull * MiB)
#define PAGE_SHIFT       12
#define PAGE_SIZE        4096u
#define PAGE_MASK        0xfffu /* offset within a page */

#endif
