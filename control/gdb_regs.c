/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers as GDB numbers them, and the target description that says so.
 *
 * Numbers follow GDB's i386 order: general, eip, eflags, segments, x87, SSE; then a feature of ours with
 * segment bases and control registers, named as QEMU names them. x87 and SSE live in v->fx, which holds them
 * while the guest's FPU state is parked: always, here.
 *
 * Writing goes through the CPU's own checks where it has some (control registers, segments in protected
 * mode), so that a debugger cannot make a state that the CPU could not be in.
 */
#include "control/gdb.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum kind { K_GPR, K_EIP, K_EFLAGS, K_SEG, K_ST, K_FPCTL, K_XMM, K_MXCSR, K_BASE, K_CR, K_EFER };

struct reg {
    const char *name, *type;
    u8 kind, index, size;
};

#define GPR(n, i, t)                                                                                         \
    {                                                                                                        \
        n, t, K_GPR, i, 4                                                                                    \
    }
#define SEG(n, i)                                                                                            \
    {                                                                                                        \
        n, "int32", K_SEG, i, 4                                                                              \
    }
#define FPCTL(n, i)                                                                                          \
    {                                                                                                        \
        n, "int", K_FPCTL, i, 4                                                                              \
    }
#define ST(i)                                                                                                \
    {                                                                                                        \
        "st" #i, "i387_ext", K_ST, i, 10                                                                     \
    }
#define XMM(i)                                                                                               \
    {                                                                                                        \
        "xmm" #i, "vec128", K_XMM, i, 16                                                                     \
    }
static const struct reg regs[] = {
    GPR("eax", R_EAX, "int32"),
    GPR("ecx", R_ECX, "int32"),
    GPR("edx", R_EDX, "int32"),
    GPR("ebx", R_EBX, "int32"),
    GPR("esp", R_ESP, "data_ptr"),
    GPR("ebp", R_EBP, "data_ptr"),
    GPR("esi", R_ESI, "int32"),
    GPR("edi", R_EDI, "int32"),
    {"eip", "code_ptr", K_EIP, 0, 4},
    {"eflags", "i386_eflags", K_EFLAGS, 0, 4},
    SEG("cs", S_CS),
    SEG("ss", S_SS),
    SEG("ds", S_DS),
    SEG("es", S_ES),
    SEG("fs", S_FS),
    SEG("gs", S_GS),
    ST(0),
    ST(1),
    ST(2),
    ST(3),
    ST(4),
    ST(5),
    ST(6),
    ST(7),
    FPCTL("fctrl", 0),
    FPCTL("fstat", 1),
    FPCTL("ftag", 2),
    FPCTL("fiseg", 3),
    FPCTL("fioff", 4),
    FPCTL("foseg", 5),
    FPCTL("fooff", 6),
    FPCTL("fop", 7),
#define CORE_REGS 32
    XMM(0),
    XMM(1),
    XMM(2),
    XMM(3),
    XMM(4),
    XMM(5),
    XMM(6),
    XMM(7),
    {"mxcsr", "i386_mxcsr", K_MXCSR, 0, 4},
#define BASIC_REGS 41
    {"cs_base", "int32", K_BASE, S_CS, 4},
    {"ss_base", "int32", K_BASE, S_SS, 4},
    {"ds_base", "int32", K_BASE, S_DS, 4},
    {"es_base", "int32", K_BASE, S_ES, 4},
    {"fs_base", "int32", K_BASE, S_FS, 4},
    {"gs_base", "int32", K_BASE, S_GS, 4},
    {"cr0", "int32", K_CR, 0, 4},
    {"cr2", "int32", K_CR, 2, 4},
    {"cr3", "int32", K_CR, 3, 4},
    {"cr4", "int32", K_CR, 4, 4},
    {"efer", "int64", K_EFER, 0, 8},
};

static const char head[] =
    "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
    "<target version=\"1.0\">\n<architecture>i386</architecture>\n"
    "<feature name=\"org.gnu.gdb.i386.core\">\n"
    "<flags id=\"i386_eflags\" size=\"4\">"
    "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
    "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
    "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
    "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
    "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
    "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
    "<field name=\"VIF\" start=\"19\" end=\"19\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
    "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>\n";
static const char sse[] =
    "</feature>\n<feature name=\"org.gnu.gdb.i386.sse\">\n"
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" "
    "count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
    "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
    "<field name=\"uint128\" type=\"uint128\"/></union>\n"
    "<flags id=\"i386_mxcsr\" size=\"4\">"
    "<field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" end=\"1\"/>"
    "<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/>"
    "<field name=\"UE\" start=\"4\" end=\"4\"/><field name=\"PE\" start=\"5\" end=\"5\"/>"
    "<field name=\"DAZ\" start=\"6\" end=\"6\"/><field name=\"IM\" start=\"7\" end=\"7\"/>"
    "<field name=\"DM\" start=\"8\" end=\"8\"/><field name=\"ZM\" start=\"9\" end=\"9\"/>"
    "<field name=\"OM\" start=\"10\" end=\"10\"/><field name=\"UM\" start=\"11\" end=\"11\"/>"
    "<field name=\"PM\" start=\"12\" end=\"12\"/><field name=\"FZ\" start=\"15\" end=\"15\"/></flags>\n";
static const char system_regs[] = "</feature>\n<feature name=\"org.novt.i386.system\">\n";

char *gdb_target_xml(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    fputs(head, f);
    for (size_t n = 0; n < ARRAY_SIZE(regs); n++) {
        if (n == CORE_REGS)
            fputs(sse, f);
        if (n == BASIC_REGS)
            fputs(system_regs, f);
        fprintf(f, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%zu\"%s/>\n", regs[n].name,
                regs[n].size * 8, regs[n].type, n, regs[n].kind == K_FPCTL ? " group=\"float\"" : "");
    }
    fputs("</feature>\n</target>\n", f);
    fclose(f);
    return text;
}

int gdb_reg_count(void)
{
    return ARRAY_SIZE(regs);
}

int gdb_reg_basic_count(void)
{
    return BASIC_REGS;
}

int gdb_reg_size(int n)
{
    return regs[n].size;
}

/* ---- x87 control registers ---- */

static u16 fx16(const struct vcpu *v, int off)
{
    return (u16)(v->fx[off] | v->fx[off + 1] << 8);
}

static void set_fx16(struct vcpu *v, int off, u32 val)
{
    v->fx[off] = (u8)val;
    v->fx[off + 1] = (u8)(val >> 8);
}

/* The tag word from FXSAVE's abridged one and the registers (SDM vol. 1, 10.5.1.1). */
static u32 full_tags(const struct vcpu *v)
{
    u32 tags = 0, top = fx16(v, 2) >> 11 & 7;
    for (u32 phys = 0; phys < 8; phys++) {
        u32 tag = 3;
        if (v->fx[4] >> phys & 1) {
            const u8 *st = v->fx + 32 + 16 * ((phys - top) & 7);
            u64 mant;
            memcpy(&mant, st, 8);
            u32 exp = (st[8] | st[9] << 8) & 0x7fff;
            tag = exp == 0x7fff ? 2 : !exp ? (mant ? 2 : 1) : mant >> 63 ? 0 : 2;
        }
        tags |= tag << (2 * phys);
    }
    return tags;
}

static u32 fpctl_read(const struct vcpu *v, int index)
{
    switch (index) {
    case 0:
        return fx16(v, 0);
    case 1:
        return fx16(v, 2);
    case 2:
        return full_tags(v);
    case 3:
        return v->fpu_cs;
    case 4:
        return v->fpu_ip;
    case 5:
        return v->fpu_ds;
    case 6:
        return v->fpu_dp;
    default:
        return v->fpu_op;
    }
}

static void fpctl_write(struct vcpu *v, int index, u32 val)
{
    switch (index) {
    case 0:
        set_fx16(v, 0, (val & 0x1f3f) | 0x40);
        break;
    case 1:
        set_fx16(v, 2, val);
        break;
    case 2:
        v->fx[4] = 0;
        for (int i = 0; i < 8; i++)
            v->fx[4] |= (u8)(((val >> (2 * i) & 3) != 3) << i);
        break;
    case 3:
        v->fpu_cs = (u16)val;
        break;
    case 4:
        v->fpu_ip = val;
        break;
    case 5:
        v->fpu_ds = (u16)val;
        break;
    case 6:
        v->fpu_dp = val;
        break;
    default:
        v->fpu_op = val & 0x7ff;
    }
}

/* ---- all ---- */

static u64 value(const struct vcpu *v, const struct reg *r)
{
    switch ((enum kind)r->kind) {
    case K_GPR:
        return v->gpr[r->index];
    case K_EIP:
        return v->eip;
    case K_EFLAGS:
        return cpu_eflags(v);
    case K_SEG:
        return v->seg[r->index].sel;
    case K_FPCTL:
        return fpctl_read(v, r->index);
    case K_MXCSR:
        return (u32)(fx16(v, 24) | fx16(v, 26) << 16);
    case K_BASE:
        return v->seg[r->index].base;
    case K_CR:
        return r->index == 0 ? v->cr0 : r->index == 2 ? v->cr2 : r->index == 3 ? v->cr3 : v->cr4;
    case K_EFER:
        return v->efer;
    default:
        return 0;
    }
}

void gdb_reg_read(struct control *c, int n, u8 *out)
{
    const struct vcpu *v = c->m.cpu;
    const struct reg *r = &regs[n];
    NOVT_ASSERT(!v->fpu_live);
    if (r->kind == K_ST) {
        memcpy(out, v->fx + 32 + 16 * r->index, 10);
    } else if (r->kind == K_XMM) {
        memcpy(out, v->fx + 160 + 16 * r->index, 16);
    } else {
        u64 val = value(v, r);
        memcpy(out, &val, r->size);
    }
}

static bool segment_write(struct vcpu *v, int seg, u32 sel)
{
    if (sel == v->seg[seg].sel)
        return true;
    if (sel > 0xffff)
        return false;
    if (!(v->cr0 & CR0_PE) || (v->sflags & FL_VM)) {
        seg_load_real(v, seg, (u16)sel);
        cpu_update_mode(v);
        return true;
    }
    return seg != S_CS && seg_load(v, seg, (u16)sel) == CPU_OK; /* CS changes with a far transfer only */
}

bool gdb_reg_write(struct control *c, int n, const u8 *in)
{
    struct vcpu *v = c->m.cpu;
    const struct reg *r = &regs[n];
    u64 val = 0;
    u32 mask;
    NOVT_ASSERT(!v->fpu_live);
    if (r->size <= 8) {
        memcpy(&val, in, r->size);
        if (val == value(v, r)) /* "G" writes all of them back */
            return true;
    }
    switch ((enum kind)r->kind) {
    case K_GPR:
        v->gpr[r->index] = (u32)val;
        return true;
    case K_EIP:
        v->eip = (u32)val;
        v->intr_shadow = 0;
        v->events &= ~EV_HALT; /* it goes on there */
        return true;
    case K_EFLAGS: /* VM changes what the segments mean: only an iret can */
        if (((u32)val ^ cpu_eflags(v)) & FL_VM)
            return false;
        cpu_set_eflags(v, (u32)val);
        cpu_update_mode(v);
        return true;
    case K_SEG:
        return segment_write(v, r->index, (u32)val);
    case K_ST:
        memcpy(v->fx + 32 + 16 * r->index, in, 10);
        return true;
    case K_FPCTL:
        fpctl_write(v, r->index, (u32)val);
        return true;
    case K_XMM:
        memcpy(v->fx + 160 + 16 * r->index, in, 16);
        return true;
    case K_MXCSR: /* reserved bits would fault in fxrstor */
        mask = (u32)(fx16(v, 28) | fx16(v, 30) << 16);
        val &= mask ? mask : 0xffbf;
        set_fx16(v, 24, (u32)val);
        set_fx16(v, 26, (u32)val >> 16);
        return true;
    case K_CR:
        if (r->index == 2) {
            v->cr2 = (u32)val;
            return true;
        }
        return cpu_write_cr(v, r->index, (u32)val) == CPU_OK;
    default:
        return false;
    }
}
