/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which instructions the translator must never copy: Robin and Irvine's 18 mnemonics in their sensitive
 * forms, and the privileged and virtualised rest.
 *
 * By Zydis' mnemonic, not by the translator's own table, so that a slip there is counted (struct unit's
 * leaks). The decoder asks once for each kind of instruction and keeps the answer.
 */
#include <Zydis/Zydis.h>
#include "cpu/decode.h"

bool insn_sensitive(const struct insn *i)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_INTO:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDMSR:
    case ZYDIS_MNEMONIC_WRMSR:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_IN:
    case ZYDIS_MNEMONIC_OUT:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_SYSEXIT:
    case ZYDIS_MNEMONIC_LGDT:
    case ZYDIS_MNEMONIC_LIDT:
    case ZYDIS_MNEMONIC_LLDT:
    case ZYDIS_MNEMONIC_LTR:
    case ZYDIS_MNEMONIC_LMSW:
    case ZYDIS_MNEMONIC_CLTS:
    case ZYDIS_MNEMONIC_INVLPG:
    case ZYDIS_MNEMONIC_ARPL:
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_LSS:
        return true;
    case ZYDIS_MNEMONIC_MOV: /* segment, control and debug registers */
        return (i->map == 0 && (i->opcode == 0x8c || i->opcode == 0x8e)) ||
               (i->map == 1 && i->opcode >= 0x20 && i->opcode <= 0x23);
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP: /* segment registers */
        return (i->map == 0 && i->opcode < 0x20) || (i->map == 1 && i->opcode >= 0xa0);
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_JMP: /* far */
        return i->opcode == 0x9a || i->opcode == 0xea || (i->opcode == 0xff && (i->reg == 3 || i->reg == 5));
    case ZYDIS_MNEMONIC_RET:
        return i->opcode == 0xca || i->opcode == 0xcb;
    default:
        return false;
    }
}
