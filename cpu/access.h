/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory access for instruction semantics: segment check, then a table lookup, then the slow path.
 * Sizes are 1, 2, 4 or 8 bytes here; larger operands go through mem_load/mem_store.
 */
#ifndef NOVT_CPU_ACCESS_H
#define NOVT_CPU_ACCESS_H

#include "cpu/cpu.h"

#define TRY(x)                                                                                               \
    do {                                                                                                     \
        if (unlikely((x) != CPU_OK))                                                                         \
            return CPU_FAULT;                                                                                \
    } while (0)

static inline int mem_linear(struct vcpu *v, int seg, u32 off, u32 len, int acc, u32 *lin)
{
    const struct seg *s = &v->seg[seg];
    if (likely((s->fast & acc) == acc && off + (len - 1) >= off)) {
        *lin = s->base + off;
        return CPU_OK;
    }
    return seg_check(v, seg, off, len, acc, lin);
}

/* Linear accesses at the current privilege (user view iff CPL 3). */
#define DEFINE_LIN(N, T)                                                                                     \
    static inline int lin_read##N(struct vcpu *v, u32 lin, T *out)                                           \
    {                                                                                                        \
        u64 e = v->rtab[lin >> PAGE_SHIFT];                                                                  \
        if (likely(e && (lin & PAGE_MASK) <= PAGE_SIZE - sizeof(T))) {                                       \
            __builtin_memcpy(out, (const void *)(e + lin), sizeof(T));                                       \
            return CPU_OK;                                                                                   \
        }                                                                                                    \
        return v->ops->mem_read(v, lin, out, sizeof(T), v->cpl == 3);                                        \
    }                                                                                                        \
    static inline int lin_write##N(struct vcpu *v, u32 lin, T val)                                           \
    {                                                                                                        \
        u64 e = v->wtab[lin >> PAGE_SHIFT];                                                                  \
        if (likely(e && (lin & PAGE_MASK) <= PAGE_SIZE - sizeof(T))) {                                       \
            __builtin_memcpy((void *)(e + lin), &val, sizeof(T));                                            \
            return CPU_OK;                                                                                   \
        }                                                                                                    \
        return v->ops->mem_write(v, lin, &val, sizeof(T), v->cpl == 3);                                      \
    }                                                                                                        \
    static inline int mem_read##N(struct vcpu *v, int seg, u32 off, T *out)                                  \
    {                                                                                                        \
        u32 lin;                                                                                             \
        TRY(mem_linear(v, seg, off, sizeof(T), SEGF_R, &lin));                                               \
        return lin_read##N(v, lin, out);                                                                     \
    }                                                                                                        \
    static inline int mem_write##N(struct vcpu *v, int seg, u32 off, T val)                                  \
    {                                                                                                        \
        u32 lin;                                                                                             \
        TRY(mem_linear(v, seg, off, sizeof(T), SEGF_W, &lin));                                               \
        return lin_write##N(v, lin, val);                                                                    \
    }
DEFINE_LIN(8, u8)
DEFINE_LIN(16, u16)
DEFINE_LIN(32, u32)
DEFINE_LIN(64, u64)
#undef DEFINE_LIN

/* Checks that len bytes at lin can be written, before a read-modify-write or a multi-part store. */
static inline int lin_probe_write(struct vcpu *v, u32 lin, u32 len)
{
    if (likely(v->wtab[lin >> PAGE_SHIFT] && (lin & PAGE_MASK) <= PAGE_SIZE - len))
        return CPU_OK;
    return v->ops->mem_probe_write(v, lin, len, v->cpl == 3);
}

/* Any length up to 512 bytes, at the current privilege. */
static inline int lin_load(struct vcpu *v, u32 lin, void *buf, u32 len)
{
    return v->ops->mem_read(v, lin, buf, len, v->cpl == 3);
}
static inline int lin_store(struct vcpu *v, u32 lin, const void *buf, u32 len)
{
    return v->ops->mem_write(v, lin, buf, len, v->cpl == 3);
}
/* Descriptor tables and TSS: supervisor rights whatever the CPL. */
static inline int sys_load(struct vcpu *v, u32 lin, void *buf, u32 len)
{
    return v->ops->mem_read(v, lin, buf, len, 0);
}
static inline int sys_store(struct vcpu *v, u32 lin, const void *buf, u32 len)
{
    return v->ops->mem_write(v, lin, buf, len, 0);
}

#endif
