/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What processors do differently where the manual leaves it open. Translated code runs the host's own
 * instructions, so whatever else executes for the guest must follow the processor that it runs on.
 */
#ifndef NOVT_CPU_HOSTCPU_H
#define NOVT_CPU_HOSTCPU_H

#include "base/types.h"

/* Found out by trying. All true on a Sapphire Rapids, none on AMD's Zen 3 and Zen 5. */
struct host_cpu {
    /* rol and ror of a register by an immediate other than 1 leave OF alone; others compute it */
    bool rotate_keeps_of;
    /* an x87 store that raises an unmasked exception does not look at its operand; others may fault there */
    bool x87_raises_first;
    /* the x87's data pointer tells the operand of the last unmasked exception, not of the last instruction
     * (CPUID.7:EBX[6]) */
    bool x87_dp_of_exceptions;
    /* fxsave stores the x87's pointers; AMD's does if an exception is pending only (APM vol. 2, 11.4.4) */
    bool fxsave_has_pointers;
    /* an MMX store that faults at its operand has set the x87's TOP to 0 */
    bool mmx_fault_clears_top;
};
extern struct host_cpu host_cpu;

/* Fills host_cpu, once; later calls do nothing. Takes two signals of its own: call it before there are other
 * threads. Heavy code, called by cpu_create(). */
void host_cpu_probe(void);

#endif
