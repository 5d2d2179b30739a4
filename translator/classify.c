/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The instruction table: opcode -> what the translator does with it.
 *
 * Three properties matter: the action, what happens to a memory operand (so that the right table is consulted
 * and rights are checked before anything changes), and which ModRM fields name general registers (because
 * guest esp lives in r12 and because ah/ch/dh/bh cannot be named together with a REX prefix).
 *
 * The default is ACT_EXEC: anything not listed is executed by the interpreter through a callout, so a missing
 * line costs speed, never exactness. Every sensitive instruction (Robin and Irvine's list and the privileged
 * ones) is either ACT_EXEC or has an action of its own; none is copied.
 */
#include "translator/xl.h"

#define COPY(a, r, m) ((struct cls){ACT_COPY, MA_##a, OK_##r, OK_##m})
#define ACT(x)        ((struct cls){ACT_##x, MA_NONE, OK_NONE, OK_NONE})
#define ACTM(x, a)    ((struct cls){ACT_##x, MA_##a, OK_NONE, OK_G})

static struct cls alu(u8 op)
{
    /* add or adc sbb and sub xor cmp: forms Eb,Gb  Ev,Gv  Gb,Eb  Gv,Ev  AL,Ib  eAX,Iz */
    bool cmp = (op & 0x38) == 0x38;
    switch (op & 7) {
    case 0:
        return cmp ? COPY(R, GB, GB) : COPY(RW, GB, GB);
    case 1:
        return cmp ? COPY(R, G, G) : COPY(RW, G, G);
    case 2:
        return COPY(R, GB, GB);
    case 3:
        return COPY(R, G, G);
    default:
        return COPY(NONE, NONE, NONE);
    }
}

static struct cls x87(const struct insn *i)
{
    /* Per opcode D8..DF and /reg: access of the memory form. N: not copied (environment images, reserved). */
    static const char acc[8][9] = {"RRRRRRRR", "R.WWNRNW", "RRRRRRRR", "R.WW.R.W",
                                   "RRRRRRRR", "R.WWN.NW", "RRRRRRRR", "R.WWRRWW"};
    if (!i->has_mem) /* fnclex and fninit also change the virtual FERR# and the guest's instruction pointers
                      */
        return i->opcode == 0xdb && i->reg == 4 ? ACT(EXEC) : COPY(NONE, NONE, OTHER);
    switch (acc[i->opcode - 0xd8][i->reg]) {
    case 'R':
        return COPY(R, NONE, OTHER);
    case 'W':
        return COPY(W, NONE, OTHER);
    default:
        return ACT(EXEC);
    }
}

static struct cls one_byte(const struct insn *i, u32 mode, u64 opts)
{
    u8 op = i->opcode;

    if (op < 0x40 && (op & 7) < 6)
        return alu(op);
    if (op >= 0x40 && op <= 0x4f)
        return ACT(INCDEC);
    if (op >= 0x50 && op <= 0x57)
        return ACT(PUSH_R);
    if (op >= 0x58 && op <= 0x5f)
        return ACT(POP_R);
    if (op >= 0x70 && op <= 0x7f)
        return ACT(JCC);
    if (op >= 0xb0 && op <= 0xbf)
        return ACT(MOV_RI);
    if (op >= 0xd8 && op <= 0xdf)
        return x87(i);
    switch (op) {
    case 0x06:
    case 0x0e:
    case 0x16:
    case 0x1e:
        return opts & OPT(inline_sens) ? ACT(PUSH_SREG) : ACT(EXEC);
    case 0x68:
    case 0x6a:
        return ACT(PUSH_I);
    case 0x69:
    case 0x6b:
        return COPY(R, G, G);
    case 0x80:
    case 0x82:
        return i->reg == 7 ? COPY(R, NONE, GB) : COPY(RW, NONE, GB);
    case 0x81:
    case 0x83:
        return i->reg == 7 ? COPY(R, NONE, G) : COPY(RW, NONE, G);
    case 0x84:
        return COPY(R, GB, GB);
    case 0x85:
        return COPY(R, G, G);
    case 0x86:
        return COPY(RW, GB, GB);
    case 0x87:
        return COPY(RW, G, G);
    case 0x88:
        return COPY(W, GB, GB);
    case 0x89:
        return COPY(W, G, G);
    case 0x8a:
        return COPY(R, GB, GB);
    case 0x8b:
        return COPY(R, G, G);
    case 0x8c:
        return opts & OPT(inline_sens) ? ACTM(MOV_FROM_SREG, W) : ACT(EXEC);
    case 0x8e:
        return i->reg == S_CS || i->reg == S_SS || !(opts & OPT(segload)) ? ACT(EXEC) : ACTM(MOV_TO_SREG, R);
    case 0x07:
    case 0x1f:
        return opts & OPT(segload) ? ACT(POP_SREG) : ACT(EXEC);
    case 0x8d:
        return ACT(LEA);
    case 0x8f:
        return ACTM(POP_M, W);
    case 0x90:
        return ACT(NOP);
    case 0x91:
    case 0x92:
    case 0x93:
    case 0x94:
    case 0x95:
    case 0x96:
    case 0x97:
        return ACT(XCHG_A);
    case 0x98:
    case 0x99:
    case 0x9e:
    case 0x9f:
    case 0xa8:
    case 0xa9:
    case 0xf5:
    case 0xf8:
    case 0xf9:
    case 0xfc:
    case 0xfd:
        return COPY(NONE, NONE, NONE);
    case 0x9b:
        return COPY(NONE, NONE, NONE);
    case 0x9c:
        return opts & OPT(inline_sens) ? ACT(PUSHF) : ACT(EXEC);
    case 0x9d:
        return opts & OPT(inline_sys) ? ACT(POPF) : ACT(EXEC);
    case 0xe4:
    case 0xec:
        return (opts & OPT(inline_sys)) && (mode & MODE_IOPL_OK) && !(mode & MODE_VM) ? ACT(IN) : ACT(EXEC);
    case 0xa0:
    case 0xa1:
        return (struct cls){ACT_MOFFS, MA_R, OK_NONE, OK_NONE};
    case 0xa2:
    case 0xa3:
        return (struct cls){ACT_MOFFS, MA_W, OK_NONE, OK_NONE};
    case 0xa4:
    case 0xa5:
    case 0xa6:
    case 0xa7:
    case 0xaa:
    case 0xab:
    case 0xac:
    case 0xad:
    case 0xae:
    case 0xaf:
        if (!(opts & OPT(string)))
            return ACT(EXEC);
        return i->pfx & (PFX_REP | PFX_REPNE) ? ACT(REP_STRING) : ACT(STRING);
    case 0xc0:
    case 0xd0:
    case 0xd2:
        return COPY(RW, NONE, GB);
    case 0xc1:
    case 0xd1:
    case 0xd3:
        return COPY(RW, NONE, G);
    case 0xc2:
    case 0xc3:
        return ACT(RET);
    case 0xc6:
        return COPY(W, NONE, GB);
    case 0xc7:
        return COPY(W, NONE, G);
    case 0xc9:
        return ACT(LEAVE);
    case 0xe0:
    case 0xe1: /* loopne, loope: rare */
        return ACT(EXEC);
    case 0xe2:
        return ACT(LOOP);
    case 0xe3:
        return ACT(JCXZ);
    case 0xe8:
        return ACT(CALL);
    case 0xe9:
    case 0xeb:
        return ACT(JMP);
    case 0x9a:
    case 0xea:
    case 0xca:
    case 0xcb:
    case 0xcc:
    case 0xf1:
    case 0xf4:
        return ACT(EXEC_END);
    case 0xcd:
    case 0xcf:
        return opts & OPT(gates) ? ACT(SYS) : ACT(EXEC_END);
    case 0xf6:
        return i->reg < 2 || i->reg >= 4 ? COPY(R, NONE, GB) : COPY(RW, NONE, GB);
    case 0xf7:
        return i->reg < 2 || i->reg >= 4 ? COPY(R, NONE, G) : COPY(RW, NONE, G);
    case 0xfa:
        return (opts & OPT(inline_sens)) && (mode & MODE_IOPL_OK) ? ACT(CLI) : ACT(EXEC);
    case 0xfb:
        return (opts & OPT(inline_sens)) && (mode & MODE_IOPL_OK) ? ACT(STI) : ACT(EXEC);
    case 0xfe:
        return COPY(RW, NONE, GB);
    case 0xff:
        switch (i->reg) {
        case 0:
        case 1:
            return COPY(RW, NONE, G);
        case 2:
            return ACTM(CALL_IND, R);
        case 4:
            return ACTM(JMP_IND, R);
        case 6:
            return ACTM(PUSH_M, R);
        default:
            return ACT(EXEC_END); /* far call, far jmp */
        }
    }
    return ACT(EXEC);
}

/* MMX, SSE, SSE2 (0F xx). */
static struct cls simd(const struct insn *i)
{
    u8 op = i->opcode;
    bool scalar = i->pfx & (PFX_REP | PFX_REPNE);

    switch (op) {
    case 0x11:
    case 0x13:
    case 0x17:
    case 0x29:
    case 0x2b:
    case 0x7f:
    case 0xd6:
    case 0xe7:
        return COPY(W, OTHER, OTHER);
    case 0x2a:
        return scalar ? COPY(R, OTHER, G32) : COPY(R, OTHER, OTHER);
    case 0x2c:
    case 0x2d:
        return scalar ? COPY(R, G32, OTHER) : COPY(R, OTHER, OTHER);
    case 0x50:
    case 0xc5:
    case 0xd7:
        return COPY(NONE, G32, OTHER);
    case 0x6e:
        return COPY(R, OTHER, G32);
    case 0x7e:
        return i->pfx & PFX_REP ? COPY(R, OTHER, OTHER) : COPY(W, OTHER, G32);
    case 0xc4:
        return COPY(R, OTHER, G32);
    case 0xc3:
        return COPY(W, G32, NONE);
    case 0xf7: /* maskmovq, maskmovdqu: implicit memory operand */
        return ACT(EXEC);
    case 0x77:
        return COPY(NONE, NONE, NONE);
    default:
        return COPY(R, OTHER, OTHER);
    }
}

static struct cls two_byte(const struct insn *i, u32 mode, u64 opts)
{
    u8 op = i->opcode;

    if (op >= 0x80 && op <= 0x8f)
        return ACT(JCC);
    if (op >= 0x90 && op <= 0x9f)
        return COPY(W, NONE, GB);
    if (op >= 0x40 && op <= 0x4f)
        return COPY(R, G, G);
    if (op >= 0xc8 && op <= 0xcf)
        return i->opsize == 4 ? ACT(BSWAP) : ACT(EXEC);
    switch (op) {
    case 0x00:
        return i->reg == 5 && (mode & MODE_PE) && !(mode & MODE_VM) && (opts & OPT(segload)) ? ACTM(VERW, R)
                                                                                             : ACT(EXEC);
    case 0x06: /* clts: CR0.TS is clear already? */
        if ((mode & MODE_CPL) || !(opts & OPT(inline_sys)))
            return ACT(EXEC);
        return mode & MODE_NOFPU ? ACT(CLTS) : ACT(NOP);
    case 0x20:
        return !(mode & MODE_CPL) && (opts & OPT(inline_sys)) ? ACT(FROM_CR) : ACT(EXEC);
    case 0x22:
        return !(mode & MODE_CPL) && (opts & OPT(inline_sys)) ? ACT(TO_CR) : ACT(EXEC);
    case 0x31:
        return (mode & MODE_TSD) && (mode & MODE_CPL) ? ACT(EXEC)
               : opts & OPT(segload)                  ? ACT(RDTSC)
                                                      : ACT(EXEC);
    case 0xa1:
    case 0xa9:
        return opts & OPT(segload) ? ACT(POP_SREG) : ACT(EXEC);
    case 0x0d:
    case 0x18:
    case 0x19:
    case 0x1a:
    case 0x1b:
    case 0x1c:
    case 0x1d:
    case 0x1e:
    case 0x1f:
        return ACT(NOP);
    case 0xa0:
    case 0xa8:
        return ACT(PUSH_SREG);
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
        return (struct cls){ACT_BITS, op == 0xa3 ? MA_R : MA_RW, OK_G, OK_G};
    case 0xba:
        return i->reg == 4 ? COPY(R, NONE, G) : COPY(RW, NONE, G);
    case 0xa4:
    case 0xa5:
    case 0xac:
    case 0xad:
    case 0xb1:
    case 0xc1:
        return COPY(RW, G, G);
    case 0xb0:
    case 0xc0:
        return COPY(RW, GB, GB);
    case 0xaf:
    case 0xbc:
    case 0xbd:
        return COPY(R, G, G);
    case 0xb6:
    case 0xbe:
        return COPY(R, G, GB);
    case 0xb7:
    case 0xbf:
        return COPY(R, G, G32);
    case 0xc7:
        return i->reg == 1 && i->has_mem ? COPY(RW, NONE, NONE) : ACT(EXEC);
    case 0xae:
        /* fences are copied; fxsave, fxrstor, ldmxcsr, clflush go through the interpreter */
        if (!i->has_mem)
            return COPY(NONE, NONE, NONE);
        return i->reg == 3 ? COPY(W, NONE, NONE) : ACT(EXEC);
    case 0x34: /* sysenter, sysexit */
    case 0x35:
        return opts & OPT(gates) ? ACT(SYS) : ACT(EXEC_END);
    case 0x0b:
    case 0xb9:
    case 0xff:
        return ACT(EXEC_END);
    }
    if (i->fpu)
        return simd(i);
    return ACT(EXEC);
}

struct cls classify(const struct insn *i, u32 mode, u64 opts)
{
    if (i->fn == insn_ud)
        return ACT(EXEC_END);
    /* With CR0.EM/TS set (or SSE disabled) FPU instructions fault: the handler knows how. */
    if (i->fpu && ((mode & MODE_NOFPU) || (i->fpu >= 2 && i->fpu == 3 && !(mode & MODE_SSE))))
        return ACT(EXEC);
    if (i->map == 0)
        return one_byte(i, mode, opts);
    if (i->map == 1)
        return two_byte(i, mode, opts);
    return ACT(EXEC);
}
