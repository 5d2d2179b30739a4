/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The -cpu models, and cpuid, which shows nothing but the model: never the host.
 *
 * A model has no feature that the rest of the CPU does not implement: there is no local APIC in this stage,
 * and SSE2 is the newest vector extension. Family, model and stepping are those of real parts, chosen so that
 * guests' errata lists do not switch off what works (Linux: SEP needs at least 6/3/3).
 */
#include "cpu/sys.h"

#define F_486  (CPUF_FPU | CPUF_VME | CPUF_PSE)
#define F_P5   (F_486 | CPUF_DE | CPUF_TSC | CPUF_MSR | CPUF_MCE | CPUF_CX8)
#define F_P6   (F_P5 | CPUF_PAE | CPUF_SEP | CPUF_MTRR | CPUF_PGE | CPUF_MCA | CPUF_CMOV)
#define F_PII  (F_P6 | CPUF_PAT | CPUF_PSE36 | CPUF_MMX | CPUF_FXSR)
#define F_PIII (F_PII | CPUF_SSE)
#define F_P4   (F_PIII | CPUF_SSE2 | CPUF_CLFSH)
#define F_QEMU (F_P4 & ~(CPUF_MTRR | CPUF_MCA))
#define X_486  (CPUFX_486 | CPUFX_CPUID)
#define X_P6   (X_486 | CPUFX_P6)
#define INTEL  "GenuineIntel"

static const struct cpu_model models[] = {
    {"qemu32", "like QEMU's qemu32 without APIC: Pentium III/4 class with SSE2, PAE and NX (default)", INTEL,
     "novt Virtual CPU", 6, 6, 3, F_QEMU, X_P6 | CPUFX_NX},
    {"486", "Intel 486DX4 with CPUID: no TSC, no MSRs", INTEL, NULL, 4, 8, 0, F_486, X_486},
    {"pentium", "Intel Pentium", INTEL, NULL, 5, 4, 3, F_P5, X_486},
    {"pentium2", "Intel Pentium II: MMX, PAE, SEP", INTEL, NULL, 6, 5, 2, F_PII, X_P6},
    {"pentium3", "Intel Pentium III: SSE", INTEL, NULL, 6, 8, 3, F_PIII, X_P6},
    {"pentium4", "Intel Pentium 4 (Prescott): SSE2, NX", INTEL, "Intel(R) Pentium(R) 4 CPU", 15, 4, 1, F_P4,
     X_P6 | CPUFX_NX},
    {"max", "everything that novt implements", INTEL, "novt Virtual CPU (max)", 6, 14, 8, F_P4,
     X_P6 | CPUFX_NX},
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

const struct cpu_model *cpu_model_find(const char *name)
{
    for (size_t k = 0; k < ARRAY_SIZE(models); k++) {
        const char *a = models[k].name, *b = name;
        while (*a && lower(*a) == lower(*b))
            a++, b++;
        if (!*a && !*b)
            return &models[k];
    }
    return NULL;
}

void cpu_model_list(void)
{
    for (size_t k = 0; k < ARRAY_SIZE(models); k++)
        printf("  %-10s %s\n", models[k].name, models[k].desc);
}

/* Characters k..k+3 of a string that is padded with zeros. */
static u32 text4(const char *s, u32 k)
{
    u32 len = 0, out = 0;
    while (s[len])
        len++;
    for (u32 n = 0; n < 4; n++)
        out |= k + n < len ? (u32)(u8)s[k + n] << (8 * n) : 0;
    return out;
}

static u32 signature(const struct cpu_model *m)
{
    return (u32)m->family << 8 | (u32)(m->model & 15) << 4 | m->stepping | (u32)(m->model >> 4) << 16;
}

void cpu_cpuid(struct vcpu *v, u32 leaf, u32 sub, u32 out[4])
{
    const struct cpu_model *m = v->model;
    u32 max = m->family >= 6 ? 2 : 1;
    u32 ext_max = m->brand ? 0x80000004 : m->featuresx & CPUFX_NX ? 0x80000001 : 0;

    /* beyond either range processors answer with the highest basic leaf */
    if (leaf & 0x80000000 ? leaf > ext_max : leaf > max)
        leaf = max;
    out[0] = out[1] = out[2] = out[3] = 0;
    switch (leaf) {
    case 0:
        out[0] = max;
        out[1] = text4(m->vendor, 0);
        out[3] = text4(m->vendor, 4);
        out[2] = text4(m->vendor, 8);
        break;
    case 1:
        out[0] = signature(m);
        out[1] = m->features & CPUF_CLFSH ? 8u << 8 : 0; /* clflush line: 8 quadwords */
        out[3] = m->features;
        break;
    case 2: /* TLBs; 16 KiB L1 instruction and data caches, 512 KiB L2 */
        out[0] = 0x03020101;
        out[3] = 0x0c040843;
        break;
    case 0x80000000:
        out[0] = ext_max;
        break;
    case 0x80000001:
        out[3] = m->featuresx & CPUFX_NX ? 1u << 20 : 0;
        break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
        for (u32 n = 0; n < 4; n++)
            out[n] = text4(m->brand, (leaf - 0x80000002) * 16 + n * 4);
        break;
    }
}
