/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The -cpu models, and cpuid, which shows nothing but the model: never the host.
 *
 * A model has no feature that the rest of the CPU does not implement: SSE2 is the newest vector extension.
 * The APIC is the board's (devices/apic.c): its bit follows the enable bit of IA32_APIC_BASE, as on
 * processors. Family, model and stepping are those of real parts, chosen so that guests' errata lists do not
 * switch off what works (Linux: SEP needs at least 6/3/3).
 */
#include "cpu/sys.h"

#define F_486  (CPUF_FPU | CPUF_VME | CPUF_PSE)
#define F_P5   (F_486 | CPUF_DE | CPUF_TSC | CPUF_MSR | CPUF_MCE | CPUF_CX8 | CPUF_APIC)
#define F_P6   (F_P5 | CPUF_PAE | CPUF_SEP | CPUF_MTRR | CPUF_PGE | CPUF_MCA | CPUF_CMOV)
#define F_PII  (F_P6 | CPUF_PAT | CPUF_PSE36 | CPUF_MMX | CPUF_FXSR)
#define F_PIII (F_PII | CPUF_SSE)
#define F_P4   (F_PIII | CPUF_SSE2 | CPUF_CLFSH)
#define F_QEMU (F_P4 & ~(CPUF_MTRR | CPUF_MCA))
#define X_486  (CPUFX_486 | CPUFX_CPUID)
#define X_P6   (X_486 | CPUFX_P6)
#define INTEL  "GenuineIntel"
/*
 * Cache descriptors (SDM vol. 2, table 3-12): ecx, edx of leaf 2. QEMU's qemu32 has 32 KiB L1 caches, 2 MiB
 * L2, 16 MiB L3. It matters: a C library writes blocks that are larger than its idea of the cache around it,
 * and what programs run on today has more than a Pentium II's 512 KiB.
 */
#define CACHES_QEMU                                                                                          \
    {                                                                                                        \
        0x0000004d, 0x042c307d                                                                               \
    }
#define CACHES_P6                                                                                            \
    {                                                                                                        \
        0, 0x0c040843                                                                                        \
    } /* 16 KiB L1, 512 KiB L2 */

static const struct cpu_model models[] = {
    {"qemu32", "like QEMU's qemu32: Pentium III/4 class with SSE2, PAE and NX (default)", INTEL,
     "novt Virtual CPU", 6, 6, 3, F_QEMU, X_P6 | CPUFX_NX | CPUFX_DEADLINE, CACHES_QEMU},
    {"486", "Intel 486DX4 with CPUID: no TSC, no MSRs", INTEL, NULL, 4, 8, 0, F_486, X_486, {0, 0}},
    {"pentium", "Intel Pentium", INTEL, NULL, 5, 4, 3, F_P5, X_486, {0, 0}},
    {"pentium2", "Intel Pentium II: MMX, PAE, SEP", INTEL, NULL, 6, 5, 2, F_PII, X_P6, CACHES_P6},
    {"pentium3", "Intel Pentium III: SSE", INTEL, NULL, 6, 8, 3, F_PIII, X_P6, CACHES_P6},
    {"pentium4", "Intel Pentium 4 (Prescott): SSE2, NX", INTEL, "Intel(R) Pentium(R) 4 CPU", 15, 4, 1, F_P4,
     X_P6 | CPUFX_NX, CACHES_P6},
    {"max", "everything that novt implements", INTEL, "novt Virtual CPU (max)", 6, 14, 8, F_P4,
     X_P6 | CPUFX_NX | CPUFX_DEADLINE, CACHES_QEMU},
};

static const struct {
    const char *name;
    u32 bit, bitx; /* CPUF_*, CPUFX_* */
} features[] = {
    {"fpu", CPUF_FPU, 0},       {"vme", CPUF_VME, 0}, {"de", CPUF_DE, 0},
    {"pse", CPUF_PSE, 0},       {"tsc", CPUF_TSC, 0}, {"msr", CPUF_MSR, 0},
    {"pae", CPUF_PAE, 0},       {"mce", CPUF_MCE, 0}, {"cx8", CPUF_CX8, 0},
    {"apic", CPUF_APIC, 0},     {"sep", CPUF_SEP, 0}, {"mtrr", CPUF_MTRR, 0},
    {"pge", CPUF_PGE, 0},       {"mca", CPUF_MCA, 0}, {"cmov", CPUF_CMOV, 0},
    {"pat", CPUF_PAT, 0},       {"mmx", CPUF_MMX, 0}, {"pse36", CPUF_PSE36, 0},
    {"fxsr", CPUF_FXSR, 0},     {"sse", CPUF_SSE, 0}, {"sse2", CPUF_SSE2, 0},
    {"clflush", CPUF_CLFSH, 0}, {"nx", 0, CPUFX_NX},  {"tsc-deadline", 0, CPUFX_DEADLINE},
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Is `name` the n characters at s, in any case? */
static bool same(const char *name, const char *s, u32 n)
{
    for (; n && *name && lower(*name) == lower(*s); n--)
        name++, s++;
    return !n && !*name;
}

static const struct cpu_model *find_model(const char *s, u32 n)
{
    for (size_t k = 0; k < ARRAY_SIZE(models); k++)
        if (same(models[k].name, s, n))
            return &models[k];
    return NULL;
}

const struct cpu_model *cpu_model_find(const char *name)
{
    u32 n = 0;
    while (name[n])
        n++;
    return find_model(name, n);
}

static bool set_feature(struct cpu_model *m, const char *s, u32 n, bool on)
{
    const struct cpu_model *max = cpu_model_find("max");
    for (size_t k = 0; k < ARRAY_SIZE(features); k++) {
        u32 bit = features[k].bit, bitx = features[k].bitx;
        if (!same(features[k].name, s, n))
            continue;
        if (on && ((bit & ~max->features) || (bitx & ~max->featuresx)))
            return false;
        m->features = on ? m->features | bit : m->features & ~bit;
        m->featuresx = on ? m->featuresx | bitx : m->featuresx & ~bitx;
        return true;
    }
    return false;
}

int cpu_model_parse(const char *spec, struct cpu_model *out, const char **bad)
{
    const struct cpu_model *m = NULL;
    for (const char *p = spec;;) {
        u32 n = 0, name;
        while (p[n] && p[n] != ',')
            n++;
        *bad = p;
        if (!m) {
            if (!(m = find_model(p, n)))
                return -1;
            *out = *m;
        } else if (n && (*p == '+' || *p == '-')) {
            if (!set_feature(out, p + 1, n - 1, *p == '+'))
                return -1;
        } else {
            for (name = 0; name < n && p[name] != '=';)
                name++;
            bool on = same("on", p + name + 1, n - name - 1), off = same("off", p + name + 1, n - name - 1);
            if (name == n || (!on && !off) || !set_feature(out, p, name, on))
                return -1;
        }
        if (!p[n])
            break;
        p += n + 1;
    }
    if (!(out->features & CPUF_APIC) || !(out->features & CPUF_TSC) || !(out->features & CPUF_MSR))
        out->featuresx &= ~CPUFX_DEADLINE;
    return 0;
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
        out[2] = m->featuresx & CPUFX_DEADLINE ? 1u << 24 : 0;
        out[3] = m->features;
        if (!(v->msr_apic_base & 1u << 11))
            out[3] &= ~CPUF_APIC;
        break;
    case 2: /* TLBs and caches */
        out[0] = 0x03020101;
        out[2] = m->caches[0];
        out[3] = m->caches[1];
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
