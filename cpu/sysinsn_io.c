/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * in, out, ins, outs. Permission first (IOPL, or the TSS bitmap), then memory, then the port: a port is
 * touched only when nothing can fault any more, because device accesses cannot be undone.
 *
 * rep ins/outs do a bounded number of iterations and then leave eip at the instruction, with CX, SI and DI
 * telling how far they got; they also stop when something wants the CPU's attention. A fault keeps the
 * iterations before it.
 */
#include "cpu/sysinsn.h"

#define REP_MAX 128

static u32 port_in(struct vcpu *v, u16 port, int size)
{
    v->stats.io_in++;
    if (unlikely(v->mode & MODE_STEP))
        cpu_io_breakpoint(v, port, size);
    return v->ops->io_in(v, port, size);
}
static void port_out(struct vcpu *v, u16 port, int size, u32 val)
{
    v->stats.io_out++;
    if (unlikely(v->mode & MODE_STEP))
        cpu_io_breakpoint(v, port, size);
    v->ops->io_out(v, port, size, val);
}

static int io_size(const struct insn *i)
{
    return i->opcode & 1 ? i->opsize : 1;
}
static u16 io_port(const struct vcpu *v, const struct insn *i)
{
    return i->opcode & 8 ? (u16)v->gpr[R_EDX] : (u8)i->imm;
}

static int in(struct vcpu *v, const struct insn *i)
{
    int size = io_size(i);
    u16 port = io_port(v, i);
    TRY(cpu_io_allowed(v, port, size));
    u32 val = port_in(v, port, size);
    set_masked(&v->gpr[R_EAX], val, size == 4 ? ~0u : (1u << (8 * size)) - 1);
    return CPU_OK;
}

static int out(struct vcpu *v, const struct insn *i)
{
    int size = io_size(i);
    u16 port = io_port(v, i);
    TRY(cpu_io_allowed(v, port, size));
    port_out(v, port, size, v->gpr[R_EAX] & (size == 4 ? ~0u : (1u << (8 * size)) - 1));
    return CPU_OK;
}

static int ins_one(struct vcpu *v, int size, u32 off)
{
    u32 lin;
    u16 port = (u16)v->gpr[R_EDX];
    TRY(mem_linear(v, S_ES, off, (u32)size, SEGF_W, &lin));
    TRY(lin_probe_write(v, lin, (u32)size));
    u32 val = port_in(v, port, size);
    switch (size) {
    case 1:
        return lin_write8(v, lin, (u8)val);
    case 2:
        return lin_write16(v, lin, (u16)val);
    default:
        return lin_write32(v, lin, val);
    }
}

static int outs_one(struct vcpu *v, int size, int seg, u32 off)
{
    u32 val;
    u16 w;
    u8 b;
    switch (size) {
    case 1:
        TRY(mem_read8(v, seg, off, &b));
        val = b;
        break;
    case 2:
        TRY(mem_read16(v, seg, off, &w));
        val = w;
        break;
    default:
        TRY(mem_read32(v, seg, off, &val));
        break;
    }
    port_out(v, (u16)v->gpr[R_EDX], size, val);
    return CPU_OK;
}

static int ins_outs(struct vcpu *v, const struct insn *i)
{
    int size = io_size(i), seg = i->seg_over == S_NONE ? S_DS : i->seg_over;
    bool is_in = i->opcode < 0x6e, rep = i->pfx & (PFX_REP | PFX_REPNE);
    u32 mask = addr_mask(i), *index = &v->gpr[is_in ? R_EDI : R_ESI];
    u32 step = v->aflags & FL_DF ? 0u - (u32)size : (u32)size;

    if (rep) /* permission is checked even if there is nothing to do */
        TRY(cpu_io_allowed(v, (u16)v->gpr[R_EDX], size));
    for (int n = 0;; n++) {
        if (rep) {
            if ((v->gpr[R_ECX] & mask) == 0)
                return CPU_OK;
            if (n == REP_MAX ||
                (n && ((v->mode & MODE_STEP) | v->events | __atomic_load_n(&v->kick, __ATOMIC_RELAXED) |
                       __atomic_load_n(&v->intr_line, __ATOMIC_RELAXED)))) {
                v->next_eip = v->eip;
                return CPU_OK;
            }
        }
        TRY(cpu_io_allowed(v, (u16)v->gpr[R_EDX], size));
        if (is_in)
            TRY(ins_one(v, size, *index & mask));
        else
            TRY(outs_one(v, size, seg, *index & mask));
        set_masked(index, *index + step, mask);
        if (!rep)
            return CPU_OK;
        set_masked(&v->gpr[R_ECX], v->gpr[R_ECX] - 1, mask);
        v->stats.rep_iterations++;
    }
}

insn_fn io_insn_lookup(const struct insn *i)
{
    if (i->map != 0)
        return NULL;
    switch (i->opcode) {
    case 0x6c:
    case 0x6d:
    case 0x6e:
    case 0x6f:
        return ins_outs;
    case 0xe4:
    case 0xe5:
    case 0xec:
    case 0xed:
        return in;
    case 0xe6:
    case 0xe7:
    case 0xee:
    case 0xef:
        return out;
    }
    return NULL;
}
