/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that C has no words for, and the bits of the registers that they move. For kernels that run in
 * a VMM: the test kernel and bench/nano.
 */
#ifndef GUEST_X86_H
#define GUEST_X86_H

#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

static inline void outb(u16 port, u8 v)
{
    asm volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}
static inline u8 inb(u16 port)
{
    u8 v;
    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline u32 read_cr0(void)
{
    u32 v;
    asm volatile("movl %%cr0, %0" : "=r"(v) : : "memory");
    return v;
}
static inline void write_cr0(u32 v)
{
    asm volatile("movl %0, %%cr0" : : "r"(v) : "memory");
}
static inline u32 read_cr2(void)
{
    u32 v;
    asm volatile("movl %%cr2, %0" : "=r"(v) : : "memory");
    return v;
}
static inline u32 read_cr3(void)
{
    u32 v;
    asm volatile("movl %%cr3, %0" : "=r"(v) : : "memory");
    return v;
}
static inline void write_cr3(u32 v)
{
    asm volatile("movl %0, %%cr3" : : "r"(v) : "memory");
}
static inline u32 read_cr4(void)
{
    u32 v;
    asm volatile("movl %%cr4, %0" : "=r"(v) : : "memory");
    return v;
}
static inline void write_cr4(u32 v)
{
    asm volatile("movl %0, %%cr4" : : "r"(v) : "memory");
}
static inline void invlpg(u32 va)
{
    asm volatile("invlpg (%0)" : : "r"(va) : "memory");
}
static inline u32 read_flags(void)
{
    u32 v;
    asm volatile("pushfl\n\tpopl %0" : "=r"(v) : : "memory");
    return v;
}
static inline void write_flags(u32 v)
{
    asm volatile("pushl %0\n\tpopfl" : : "r"(v) : "memory", "cc");
}
static inline void cpuid(u32 leaf, u32 *a, u32 *b, u32 *c, u32 *d)
{
    asm volatile("cpuid" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d) : "a"(leaf), "c"(0));
}
static inline u32 cpu_features(void)
{
    u32 a, b, c, d;
    cpuid(1, &a, &b, &c, &d);
    return d;
}
enum {
    FEAT_PSE = 1 << 3,
    FEAT_PAE = 1 << 6,
    FEAT_SEP = 1 << 11,
    FEAT_PGE = 1 << 13,
    FEAT_SSE = 1 << 25,
    FEAT_SSE2 = 1 << 26,
    FEAT_MMX = 1 << 23,
    FEAT_FXSR = 1 << 24
};
enum {
    FL_CF = 1,
    FL_PF = 4,
    FL_AF = 16,
    FL_ZF = 64,
    FL_SF = 128,
    FL_TF = 0x100,
    FL_IF = 0x200,
    FL_DF = 0x400,
    FL_OF = 0x800,
    FL_IOPL3 = 0x3000,
    FL_NT = 0x4000,
    FL_RF = 0x10000,
    FL_VM = 0x20000,
    FL_AC = 0x40000,
    FL_ID = 0x200000
};
enum { CR0_PE = 1, CR0_MP = 2, CR0_EM = 4, CR0_TS = 8, CR0_NE = 0x20, CR0_WP = 0x10000 };
#define CR0_PG 0x80000000u
enum { CR4_DE = 8, CR4_PSE = 0x10, CR4_PAE = 0x20, CR4_PGE = 0x80, CR4_OSFXSR = 0x200, CR4_OSXMM = 0x400 };

#endif
