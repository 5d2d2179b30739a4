/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu_dump(): the guest CPU for people, after a crash or on request. Heavy code (stdio), off every hot path.
 *
 * Guest memory is read only through the tables that are already filled, so a dump has no side effects on the
 * guest's accessed bits and cannot fault.
 */
#include <stdio.h>
#include "cpu/sys.h"

static bool peek_byte(const struct vcpu *v, u32 lin, u8 *out)
{
    u64 e = v->rtab ? v->rtab[lin >> PAGE_SHIFT] : 0;
    if (!e)
        return false;
    *out = *(const u8 *)(e + lin);
    return true;
}

void cpu_dump(struct vcpu *v, FILE *out)
{
    static const char *const names[S_COUNT] = {"ES", "CS", "SS", "DS", "FS", "GS", "LDT", "TR"};
    u32 fl, lin = v->seg[S_CS].base + v->eip;

    cpu_fpu_park(v);
    fl = cpu_eflags(v);
    fprintf(out, "EAX=%08x EBX=%08x ECX=%08x EDX=%08x\n", v->gpr[R_EAX], v->gpr[R_EBX], v->gpr[R_ECX],
            v->gpr[R_EDX]);
    fprintf(out, "ESI=%08x EDI=%08x EBP=%08x ESP=%08x\n", v->gpr[R_ESI], v->gpr[R_EDI], v->gpr[R_EBP],
            v->gpr[R_ESP]);
    fprintf(out, "EIP=%08x EFL=%08x [%c%c%c%c%c%c%c%c%c] CPL=%d mode=%05x events=%02x%s%s\n", v->eip, fl,
            fl & FL_DF ? 'D' : '-', fl & FL_OF ? 'O' : '-', fl & FL_SF ? 'S' : '-', fl & FL_ZF ? 'Z' : '-',
            fl & FL_AF ? 'A' : '-', fl & FL_PF ? 'P' : '-', fl & FL_CF ? 'C' : '-', fl & FL_IF ? 'I' : '-',
            fl & FL_VM ? 'V' : '-', v->cpl, v->mode, v->events, v->intr_shadow ? " shadow" : "",
            v->nmi_blocked ? " nmi-blocked" : "");
    for (int k = 0; k < S_COUNT; k++)
        fprintf(out, "%-3s=%04x base %08x limit %08x attr %04x dpl %u%s%s\n", names[k], v->seg[k].sel,
                v->seg[k].base, v->seg[k].limit, v->seg[k].attr & 0xffff,
                (v->seg[k].attr & SA_DPL) >> SA_DPL_SHIFT, v->seg[k].attr & SA_NULL ? " null" : "",
                v->seg[k].flat ? " flat" : "");
    fprintf(out, "GDT= %08x %04x   IDT= %08x %04x\n", v->gdtr.base, v->gdtr.limit, v->idtr.base,
            v->idtr.limit);
    fprintf(out, "CR0=%08x CR2=%08x CR3=%08x CR4=%08x EFER=%03x\n", v->cr0, v->cr2, v->cr3, v->cr4,
            (u32)v->efer);
    fprintf(out, "DR0=%08x DR1=%08x DR2=%08x DR3=%08x DR6=%08x DR7=%08x\n", v->dr[0], v->dr[1], v->dr[2],
            v->dr[3], v->dr[6], v->dr[7]);
    if (v->fault.vector || v->fault.has_error)
        fprintf(out, "last fault: vector %u error %04x cr2 %08x\n", v->fault.vector, v->fault.error,
                v->fault.cr2);
    fprintf(out, "code at %08x:", lin);
    for (u32 k = 0; k < 24; k++) {
        u8 b;
        if (peek_byte(v, lin + k, &b))
            fprintf(out, " %02x", b);
        else
            fprintf(out, " ??");
    }
    fprintf(out, "\n");
    u32 mask = seg_stack_mask(&v->seg[S_SS]), sp = v->gpr[R_ESP] & mask;
    fprintf(out, "stack at %08x:", v->seg[S_SS].base + sp);
    for (u32 k = 0; k < 32; k += 4) {
        u32 word = 0;
        bool ok = true;
        for (u32 n = 0; n < 4; n++) {
            u8 b = 0;
            ok &= peek_byte(v, v->seg[S_SS].base + ((sp + k + n) & mask), &b);
            word |= (u32)b << (8 * n);
        }
        if (ok)
            fprintf(out, " %08x", word);
        else
            fprintf(out, " ????????");
    }
    fprintf(out, "\n");
}
