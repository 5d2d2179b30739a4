/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions on segment registers and descriptors: mov, push and pop of segment registers, lds and friends,
 * far transfers, lldt, ltr, sldt, str, lar, lsl, verr, verw, arpl (SDM vol. 2).
 *
 * Loads take their operands first, then load the segment register, which may fault, then write general
 * registers and ESP. mov ss and pop ss set the interrupt shadow; lss does not.
 */
#include "cpu/sysinsn.h"

/* ---- segment registers ---- */

static int mov_to_sreg(struct vcpu *v, const struct insn *i)
{
    u16 sel;
    if (i->reg == S_CS || i->reg > S_GS)
        return cpu_raise(v, EXC_UD);
    TRY(rm_read16(v, i, &sel));
    TRY(seg_load(v, i->reg, sel));
    if (i->reg == S_SS)
        v->intr_shadow = 1;
    return CPU_OK;
}

static int mov_from_sreg(struct vcpu *v, const struct insn *i)
{
    if (i->reg > S_GS)
        return cpu_raise(v, EXC_UD);
    return rm_write_sel(v, i, v->seg[i->reg].sel);
}

static u32 sreg_of(const struct insn *i) /* push and pop: the register is in bits 3-5 of the opcode */
{
    return (i->opcode >> 3) & 7;
}

static int push_sreg(struct vcpu *v, const struct insn *i)
{
    u32 sel = v->seg[sreg_of(i)].sel;
    return i->opsize == 4 ? push32(v, sel) : push16(v, (u16)sel);
}

static int pop_sreg(struct vcpu *v, const struct insn *i)
{
    u32 seg = sreg_of(i), sel, mask = stack_mask(v);
    TRY(stack_peek(v, 0, i->opsize, &sel));
    TRY(seg_load(v, (int)seg, (u16)sel));
    set_masked(&v->gpr[R_ESP], v->gpr[R_ESP] + i->opsize, mask); /* by the stack that was popped */
    if (seg == S_SS)
        v->intr_shadow = 1;
    return CPU_OK;
}

/* Far pointer in memory: offset of the operand size, then selector. */
static int read_far(struct vcpu *v, const struct insn *i, u32 *off, u16 *sel)
{
    u32 ea = insn_ea(v, i);
    if (i->opsize == 4) {
        TRY(mem_read32(v, i->seg, ea, off));
    } else {
        u16 w;
        TRY(mem_read16(v, i->seg, ea, &w));
        *off = w;
    }
    return mem_read16(v, i->seg, (ea + i->opsize) & addr_mask(i), sel);
}

static int load_far(struct vcpu *v, const struct insn *i)
{
    u32 off, seg;
    u16 sel;
    switch (i->opcode) {
    case 0xc4:
        seg = S_ES;
        break;
    case 0xc5:
        seg = S_DS;
        break;
    case 0xb2:
        seg = S_SS;
        break;
    case 0xb4:
        seg = S_FS;
        break;
    default:
        seg = S_GS;
        break;
    }
    TRY(read_far(v, i, &off, &sel));
    TRY(seg_load(v, (int)seg, sel));
    set_masked(&v->gpr[i->reg], off, i->opsize == 2 ? 0xffff : ~0u);
    return CPU_OK;
}

/* ---- far transfers ---- */

static int jmp_far_direct(struct vcpu *v, const struct insn *i)
{
    return far_jmp(v, (u16)i->imm2, i->imm, i->opsize);
}
static int call_far_direct(struct vcpu *v, const struct insn *i)
{
    return far_call(v, (u16)i->imm2, i->imm, i->opsize, v->next_eip);
}
static int jmp_far_mem(struct vcpu *v, const struct insn *i)
{
    u32 off;
    u16 sel;
    TRY(read_far(v, i, &off, &sel));
    return far_jmp(v, sel, off, i->opsize);
}
static int call_far_mem(struct vcpu *v, const struct insn *i)
{
    u32 off;
    u16 sel;
    TRY(read_far(v, i, &off, &sel));
    return far_call(v, sel, off, i->opsize, v->next_eip);
}
static int ret_far(struct vcpu *v, const struct insn *i)
{
    return far_ret(v, i->opsize, i->opcode == 0xca ? i->imm & 0xffff : 0);
}

/* ---- system segments ---- */

static int sldt(struct vcpu *v, const struct insn *i)
{
    NEED_PROTECTED(v);
    return rm_write_sel(v, i, v->seg[S_LDTR].sel);
}
static int str(struct vcpu *v, const struct insn *i)
{
    NEED_PROTECTED(v);
    return rm_write_sel(v, i, v->seg[S_TR].sel);
}

static int lldt(struct vcpu *v, const struct insn *i)
{
    u16 sel;
    struct desc d;
    NEED_PROTECTED(v);
    NEED_CPL0(v);
    TRY(rm_read16(v, i, &sel));
    u32 err = sel & 0xfffc;
    if (err == 0) {
        seg_set_null(&v->seg[S_LDTR], sel);
        return CPU_OK;
    }
    if (sel & 4)
        return cpu_raise_err(v, EXC_GP, err);
    TRY(desc_load(v, sel, EXC_GP, &d));
    if (desc_is_s(&d) || desc_type(&d) != DT_LDT)
        return cpu_raise_err(v, EXC_GP, err);
    if (!desc_present(&d))
        return cpu_raise_err(v, EXC_NP, err);
    v->seg[S_LDTR] = seg_from_desc(sel, &d);
    return CPU_OK;
}

static int ltr(struct vcpu *v, const struct insn *i)
{
    u16 sel;
    struct desc d;
    NEED_PROTECTED(v);
    NEED_CPL0(v);
    TRY(rm_read16(v, i, &sel));
    u32 err = sel & 0xfffc;
    if (err == 0)
        return raise_gp0(v);
    if (sel & 4)
        return cpu_raise_err(v, EXC_GP, err);
    TRY(desc_load(v, sel, EXC_GP, &d));
    if (desc_is_s(&d) || (desc_type(&d) & 7) != DT_TSS16)
        return cpu_raise_err(v, EXC_GP, err);
    if (!desc_present(&d))
        return cpu_raise_err(v, EXC_NP, err);
    u8 busy = (u8)(d.raw >> 40) | 2;
    TRY(sys_store(v, d.lin + 5, &busy, 1));
    d.raw |= 2ull << 40;
    v->seg[S_TR] = seg_from_desc(sel, &d);
    return CPU_OK;
}

/* ---- descriptor inspection ---- */

/* Fetches the descriptor for lar, lsl, verr, verw: *ok = false if it is not visible to them at all. */
static int inspect(struct vcpu *v, u16 sel, struct desc *d, bool *ok)
{
    *ok = (sel & 0xfffc) && desc_locate(v, sel, &d->lin);
    return *ok ? sys_read(v, d->lin, &d->raw, 8) : CPU_OK;
}
static bool inspect_privilege(const struct vcpu *v, u16 sel, const struct desc *d)
{
    u32 dpl = desc_dpl(d);
    if (desc_is_code(d) && desc_conforming(d))
        return true;
    return v->cpl <= dpl && (sel & 3u) <= dpl;
}

static int lar_lsl(struct vcpu *v, const struct insn *i)
{
    /* system types that each may show (SDM vol. 2, tables in LAR and LSL) */
    const u32 lar_types = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 11 | 1u << 12;
    const u32 lsl_types = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 9 | 1u << 11;
    bool lar = i->opcode == 0x02, ok;
    struct desc d;
    u16 sel;
    NEED_PROTECTED(v);
    TRY(rm_read16(v, i, &sel));
    TRY(inspect(v, sel, &d, &ok));
    if (ok && !desc_is_s(&d))
        ok = ((lar ? lar_types : lsl_types) >> desc_type(&d)) & 1;
    if (ok)
        ok = inspect_privilege(v, sel, &d);
    set_zf(v, ok);
    if (ok) {
        u32 val = lar ? (u32)(d.raw >> 32) & 0x00f0ff00 : desc_limit(&d);
        set_masked(&v->gpr[i->reg], val, i->opsize == 2 ? 0xffff : ~0u);
    }
    return CPU_OK;
}

static int verr_verw(struct vcpu *v, const struct insn *i)
{
    bool ok;
    struct desc d;
    u16 sel;
    NEED_PROTECTED(v);
    TRY(rm_read16(v, i, &sel));
    TRY(inspect(v, sel, &d, &ok));
    if (ok) {
        u32 attr = desc_attr(&d);
        ok = desc_is_s(&d) && inspect_privilege(v, sel, &d);
        if (i->reg == 4)
            ok = ok && (attr & (SA_CODE | SA_RW)) != SA_CODE;
        else
            ok = ok && desc_is_wdata(&d);
    }
    if (ok && i->reg == 5)
        segc_put(v, SEGC_VERW | (u32)v->cpl << 16 | sel, &d, &v->seg[S_DS]);
    set_zf(v, ok);
    return CPU_OK;
}

static int arpl(struct vcpu *v, const struct insn *i)
{
    NEED_PROTECTED(v);
    u32 rpl = v->gpr[i->reg] & 3;
    u16 dst;
    struct rmw m;
    if (!i->has_mem) {
        bool raise = (v->gpr[i->rm] & 3) < rpl;
        if (raise)
            v->gpr[i->rm] = (v->gpr[i->rm] & ~3u) | rpl;
        set_zf(v, raise);
        return CPU_OK;
    }
    TRY(op_read16(v, i, &dst)); /* a plain read: it is written only if it changes */
    bool raise = (dst & 3u) < rpl;
    if (raise) {
        TRY(rmw_open16(v, i, &m, &dst));
        TRY(rmw_close16(v, &m, (u16)((dst & ~3u) | rpl)));
    }
    set_zf(v, raise);
    return CPU_OK;
}

insn_fn seg_insn_lookup(const struct insn *i)
{
    if (i->map == 0) {
        switch (i->opcode) {
        case 0x06:
        case 0x0e:
        case 0x16:
        case 0x1e:
            return push_sreg;
        case 0x07:
        case 0x17:
        case 0x1f:
            return pop_sreg;
        case 0x63:
            return arpl;
        case 0x8c:
            return mov_from_sreg;
        case 0x8e:
            return mov_to_sreg;
        case 0x9a:
            return call_far_direct;
        case 0xc4:
        case 0xc5:
            return i->has_mem ? load_far : insn_ud;
        case 0xca:
        case 0xcb:
            return ret_far;
        case 0xea:
            return jmp_far_direct;
        case 0xff:
            if (i->reg == 3)
                return i->has_mem ? call_far_mem : insn_ud;
            if (i->reg == 5)
                return i->has_mem ? jmp_far_mem : insn_ud;
            return NULL;
        }
        return NULL;
    }
    switch (i->opcode) {
    case 0x00: {
        static const insn_fn group6[8] = {sldt, str, lldt, ltr, verr_verw, verr_verw, insn_ud, insn_ud};
        return group6[i->reg & 7];
    }
    case 0x02:
    case 0x03:
        return lar_lsl;
    case 0xa0:
    case 0xa8:
        return push_sreg; /* fs: A0 >> 3 & 7 = 4, gs: A8 -> 5 */
    case 0xa1:
    case 0xa9:
        return pop_sreg;
    case 0xb2:
    case 0xb4:
    case 0xb5:
        return i->has_mem ? load_far : insn_ud;
    }
    return NULL;
}
