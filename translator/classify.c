/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The instruction table: opcode -> what the translator does with it. What depends on more than the opcode
 * says ACT_ASK there, and a function behind the table answers.
 *
 * Three properties matter: the action, what happens to a memory operand (so that the right table is consulted
 * and rights are checked before anything changes), and which ModRM fields name general registers (because
 * guest esp and ebp live elsewhere and because ah/ch/dh/bh cannot be named together with a REX prefix).
 *
 * The default is ACT_EXEC: anything not listed is executed by the interpreter through a callout, so a missing
 * line costs speed, never exactness. Every sensitive instruction (Robin and Irvine's list and the privileged
 * ones) is either ACT_EXEC or has an action of its own; none is copied.
 */
#include "translator/xl.h"

#define COPY(a, r, m)                                                                                        \
    {                                                                                                        \
        ACT_COPY, MA_##a, OK_##r, OK_##m                                                                     \
    }
#define ACT(x)                                                                                               \
    {                                                                                                        \
        ACT_##x, MA_NONE, OK_NONE, OK_NONE                                                                   \
    }
#define ACTM(x, a)                                                                                           \
    {                                                                                                        \
        ACT_##x, MA_##a, OK_NONE, OK_G                                                                       \
    }
#define PLAIN    COPY(NONE, NONE, NONE) /* no ModRM */
#define CLS(...) ((struct cls)__VA_ARGS__)
/* add or adc sbb and sub xor cmp: forms Eb,Gb  Ev,Gv  Gb,Eb  Gv,Ev  AL,Ib  eAX,Iz */
#define ALU(op, a)                                                                                           \
    [op] = COPY(a, GB, GB), [op + 1] = COPY(a, G, G), [op + 2] = COPY(R, GB, GB), [op + 3] = COPY(R, G, G),  \
    [op + 4 ... op + 5] = PLAIN

static const struct cls one_byte[256] = {
    ALU(0x00, RW),
    ALU(0x08, RW),
    ALU(0x10, RW),
    ALU(0x18, RW),
    ALU(0x20, RW),
    ALU(0x28, RW),
    ALU(0x30, RW),
    ALU(0x38, R),
    [0x06 ... 0x07] = ACT(ASK),
    [0x0e] = ACT(ASK),
    [0x16] = ACT(ASK),
    [0x1e ... 0x1f] = ACT(ASK),
    [0x40 ... 0x4f] = ACT(INCDEC),
    [0x50 ... 0x57] = ACT(PUSH_R),
    [0x58 ... 0x5f] = ACT(POP_R),
    [0x68] = ACT(PUSH_I),
    [0x69] = COPY(R, G, G),
    [0x6a] = ACT(PUSH_I),
    [0x6b] = COPY(R, G, G),
    [0x70 ... 0x7f] = ACT(JCC),
    [0x80 ... 0x83] = ACT(ASK),
    [0x84] = COPY(R, GB, GB),
    [0x85] = COPY(R, G, G),
    [0x86] = COPY(RW, GB, GB),
    [0x87] = COPY(RW, G, G),
    [0x88] = COPY(W, GB, GB),
    [0x89] = COPY(W, G, G),
    [0x8a] = COPY(R, GB, GB),
    [0x8b] = COPY(R, G, G),
    [0x8c] = ACT(ASK),
    [0x8d] = ACT(LEA),
    [0x8e] = ACT(ASK),
    [0x8f] = ACTM(POP_M, W),
    [0x90] = ACT(NOP),
    [0x91 ... 0x97] = ACT(XCHG_A),
    [0x98 ... 0x99] = PLAIN,
    [0x9b] = PLAIN,
    [0x9c ... 0x9d] = ACT(ASK),
    [0x9e ... 0x9f] = PLAIN,
    [0xa0 ... 0xa1] = {ACT_MOFFS, MA_R, OK_NONE, OK_NONE},
    [0xa2 ... 0xa3] = {ACT_MOFFS, MA_W, OK_NONE, OK_NONE},
    [0xa4 ... 0xa7] = ACT(ASK),
    [0xa8 ... 0xa9] = PLAIN,
    [0xaa ... 0xaf] = ACT(ASK),
    [0xb0 ... 0xbf] = ACT(MOV_RI),
    [0xc0] = COPY(RW, NONE, GB),
    [0xc1] = COPY(RW, NONE, G),
    [0xc2 ... 0xc3] = ACT(RET),
    [0xc6] = COPY(W, NONE, GB),
    [0xc7] = COPY(W, NONE, G),
    [0xc9] = ACT(LEAVE),
    [0xca ... 0xcc] = ACT(EXEC_END),
    [0xcd] = ACT(ASK),
    [0xcf] = ACT(ASK),
    [0xd0] = COPY(RW, NONE, GB),
    [0xd1] = COPY(RW, NONE, G),
    [0xd2] = COPY(RW, NONE, GB),
    [0xd3] = COPY(RW, NONE, G),
    [0xd8 ... 0xdf] = ACT(ASK),
    [0xe2] = ACT(LOOP), /* loopne, loope: rare */
    [0xe3] = ACT(JCXZ),
    [0xe4] = ACT(ASK),
    [0xe8] = ACT(CALL),
    [0xe9] = ACT(JMP),
    [0xea] = ACT(EXEC_END),
    [0xeb] = ACT(JMP),
    [0xec] = ACT(ASK),
    [0x9a] = ACT(EXEC_END),
    [0xf1] = ACT(EXEC_END),
    [0xf4] = ACT(EXEC_END),
    [0xf5] = PLAIN,
    [0xf6 ... 0xf7] = ACT(ASK),
    [0xf8 ... 0xf9] = PLAIN,
    [0xfa ... 0xfb] = ACT(ASK),
    [0xfc ... 0xfd] = PLAIN,
    [0xfe] = COPY(RW, NONE, GB),
    [0xff] = ACT(ASK),
};

/* MMX, SSE and SSE2 are not here: simd(). */
static const struct cls two_byte[256] = {
    [0x00 ... 0x01] = ACT(ASK),
    [0x06] = ACT(ASK),
    [0x0b] = ACT(EXEC_END),
    [0x0d] = ACT(NOP),
    [0x18 ... 0x1f] = ACT(NOP),
    [0x20] = ACT(ASK),
    [0x22] = ACT(ASK),
    [0x31] = ACT(ASK),
    [0x34 ... 0x35] = ACT(ASK),
    [0x40 ... 0x4f] = COPY(R, G, G),
    [0x80 ... 0x8f] = ACT(JCC),
    [0x90 ... 0x9f] = COPY(W, NONE, GB),
    [0xa0] = ACT(PUSH_SREG),
    [0xa1] = ACT(ASK),
    [0xa3] = {ACT_BITS, MA_R, OK_G, OK_G},
    [0xa4 ... 0xa5] = COPY(RW, G, G),
    [0xa8] = ACT(PUSH_SREG),
    [0xa9] = ACT(ASK),
    [0xab] = {ACT_BITS, MA_RW, OK_G, OK_G},
    [0xac ... 0xad] = COPY(RW, G, G),
    [0xae] = ACT(ASK),
    [0xaf] = COPY(R, G, G),
    [0xb0] = COPY(RW, GB, GB),
    [0xb1] = COPY(RW, G, G),
    [0xb3] = {ACT_BITS, MA_RW, OK_G, OK_G},
    [0xb6] = COPY(R, G, GB),
    [0xb7] = COPY(R, G, G32),
    [0xb9] = ACT(EXEC_END),
    [0xba] = ACT(ASK),
    [0xbb] = {ACT_BITS, MA_RW, OK_G, OK_G},
    [0xbc ... 0xbd] = COPY(R, G, G),
    [0xbe] = COPY(R, G, GB),
    [0xbf] = COPY(R, G, G32),
    [0xc0] = COPY(RW, GB, GB),
    [0xc1] = COPY(RW, G, G),
    [0xc7] = ACT(ASK),
    [0xc8 ... 0xcf] = ACT(ASK),
    [0xff] = ACT(EXEC_END),
};

static struct cls x87(const struct insn *i)
{
    /* Per opcode D8..DF and /reg: access of the memory form. N: not copied (environment images, reserved). */
    static const char acc[8][9] = {"RRRRRRRR", "R.WWNRNW", "RRRRRRRR", "R.WW.R.W",
                                   "RRRRRRRR", "R.WWN.NW", "RRRRRRRR", "R.WWRRWW"};
    if (!i->has_mem) /* fnclex and fninit also change the virtual FERR# and the guest's instruction pointers
                      */
        return i->opcode == 0xdb && i->reg == 4 ? CLS(ACT(EXEC)) : CLS(COPY(NONE, NONE, OTHER));
    switch (acc[i->opcode - 0xd8][i->reg]) {
    case 'R':
        return CLS(COPY(R, NONE, OTHER));
    case 'W':
        return CLS(COPY(W, NONE, OTHER));
    default:
        return CLS(ACT(EXEC));
    }
}

/* What of the one-byte opcodes depends on more than the opcode. */
static struct cls ask_one_byte(const struct insn *i, u32 mode, u64 opts)
{
    u8 op = i->opcode;

    switch (op) {
    case 0x06:
    case 0x0e:
    case 0x16:
    case 0x1e:
        return opts & OPT(inline_sens) ? CLS(ACT(PUSH_SREG)) : CLS(ACT(EXEC));
    case 0x07:
    case 0x1f:
        return opts & OPT(segload) ? CLS(ACT(POP_SREG)) : CLS(ACT(EXEC));
    case 0x80:
    case 0x82:
        return i->reg == 7 ? CLS(COPY(R, NONE, GB)) : CLS(COPY(RW, NONE, GB));
    case 0x81:
    case 0x83:
        if (!i->has_mem && i->rm == R_ESP && i->opsize == 4 && (i->reg == 0 || i->reg == 5))
            return CLS({ACT_ADD_ESP, MA_RW, OK_NONE, OK_G});
        return i->reg == 7 ? CLS(COPY(R, NONE, G)) : CLS(COPY(RW, NONE, G));
    case 0x8c:
        return opts & OPT(inline_sens) ? CLS(ACTM(MOV_FROM_SREG, W)) : CLS(ACT(EXEC));
    case 0x8e:
        return i->reg == S_CS || i->reg == S_SS || !(opts & OPT(segload)) ? CLS(ACT(EXEC))
                                                                          : CLS(ACTM(MOV_TO_SREG, R));
    case 0x9c:
        return opts & OPT(inline_sens) ? CLS(ACT(PUSHF)) : CLS(ACT(EXEC));
    case 0x9d:
        return opts & OPT(inline_sys) ? CLS(ACT(POPF)) : CLS(ACT(EXEC));
    case 0xe4:
    case 0xec:
        return (opts & OPT(inline_sys)) && (mode & MODE_IOPL_OK) && !(mode & MODE_VM) ? CLS(ACT(IN))
                                                                                      : CLS(ACT(EXEC));
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
            return CLS(ACT(EXEC));
        return i->pfx & (PFX_REP | PFX_REPNE) ? CLS(ACT(REP_STRING)) : CLS(ACT(STRING));
    case 0xcd:
    case 0xcf:
        return opts & OPT(gates) ? CLS(ACT(SYS)) : CLS(ACT(EXEC_END));
    case 0xf6:
        if (i->reg >= 6)
            return CLS({ACT_DIV, MA_R, OK_NONE, OK_GB});
        return i->reg < 2 || i->reg >= 4 ? CLS(COPY(R, NONE, GB)) : CLS(COPY(RW, NONE, GB));
    case 0xf7:
        if (i->reg >= 6)
            return CLS({ACT_DIV, MA_R, OK_NONE, OK_G});
        return i->reg < 2 || i->reg >= 4 ? CLS(COPY(R, NONE, G)) : CLS(COPY(RW, NONE, G));
    case 0xfa:
        return (opts & OPT(inline_sens)) && (mode & MODE_IOPL_OK) ? CLS(ACT(CLI)) : CLS(ACT(EXEC));
    case 0xfb:
        return (opts & OPT(inline_sens)) && (mode & MODE_IOPL_OK) ? CLS(ACT(STI)) : CLS(ACT(EXEC));
    case 0xff:
        switch (i->reg) {
        case 0:
        case 1:
            return CLS(COPY(RW, NONE, G));
        case 2:
            return CLS(ACTM(CALL_IND, R));
        case 4:
            return CLS(ACTM(JMP_IND, R));
        case 6:
            return CLS(ACTM(PUSH_M, R));
        default:
            return CLS(ACT(EXEC_END)); /* far call, far jmp */
        }
    default: /* d8 to df */
        return x87(i);
    }
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
        return CLS(COPY(W, OTHER, OTHER));
    case 0x2a:
        return scalar ? CLS(COPY(R, OTHER, G32)) : CLS(COPY(R, OTHER, OTHER));
    case 0x2c:
    case 0x2d:
        return scalar ? CLS(COPY(R, G32, OTHER)) : CLS(COPY(R, OTHER, OTHER));
    case 0x50:
    case 0xc5:
    case 0xd7:
        return CLS(COPY(NONE, G32, OTHER));
    case 0x6e:
        return CLS(COPY(R, OTHER, G32));
    case 0x7e:
        return i->pfx & PFX_REP ? CLS(COPY(R, OTHER, OTHER)) : CLS(COPY(W, OTHER, G32));
    case 0xc4:
        return CLS(COPY(R, OTHER, G32));
    case 0xc3:
        return CLS(COPY(W, G32, NONE));
    case 0xf7: /* maskmovq, maskmovdqu: implicit memory operand */
        return CLS(ACT(EXEC));
    case 0x77:
        return CLS(COPY(NONE, NONE, NONE));
    default:
        return CLS(COPY(R, OTHER, OTHER));
    }
}

/* The same of the two-byte opcodes. */
static struct cls ask_two_byte(const struct insn *i, u32 mode, u64 opts)
{
    switch (i->opcode) {
    case 0x00:
        return i->reg == 5 && (mode & MODE_PE) && !(mode & MODE_VM) && (opts & OPT(segload))
                   ? CLS(ACTM(VERW, R))
                   : CLS(ACT(EXEC));
    case 0x01:
        return i->reg == 7 && i->has_mem && !(mode & MODE_CPL) && (opts & OPT(inline_sys)) ? CLS(ACT(INVLPG))
                                                                                           : CLS(ACT(EXEC));
    case 0x06: /* clts: CR0.TS is clear already? */
        if ((mode & MODE_CPL) || !(opts & OPT(inline_sys)))
            return CLS(ACT(EXEC));
        return mode & MODE_NOFPU ? CLS(ACT(CLTS)) : CLS(ACT(NOP));
    case 0x20:
        return !(mode & MODE_CPL) && (opts & OPT(inline_sys)) ? CLS(ACT(FROM_CR)) : CLS(ACT(EXEC));
    case 0x22:
        if (i->reg == 3 && !(mode & MODE_CPL) && (opts & OPT(cr3)))
            return CLS(ACT(CR3));
        return !(mode & MODE_CPL) && (opts & OPT(inline_sys)) ? CLS(ACT(TO_CR)) : CLS(ACT(EXEC));
    case 0x31:
        return (mode & MODE_TSD) && (mode & MODE_CPL) ? CLS(ACT(EXEC))
               : opts & OPT(segload)                  ? CLS(ACT(RDTSC))
                                                      : CLS(ACT(EXEC));
    case 0x34: /* sysenter, sysexit */
    case 0x35:
        return opts & OPT(gates) ? CLS(ACT(SYS)) : CLS(ACT(EXEC_END));
    case 0xa1:
    case 0xa9:
        return opts & OPT(segload) ? CLS(ACT(POP_SREG)) : CLS(ACT(EXEC));
    case 0xae:
        /* fences are copied; ldmxcsr, clflush go through the interpreter */
        if (!i->has_mem)
            return CLS(COPY(NONE, NONE, NONE));
        if (i->fpu && i->reg < 2 && (opts & OPT(fxstate)))
            return CLS(ACT(FXSTATE));
        return i->reg == 3 ? CLS(COPY(W, NONE, NONE)) : CLS(ACT(EXEC));
    case 0xba:
        return i->reg == 4 ? CLS(COPY(R, NONE, G)) : CLS(COPY(RW, NONE, G));
    case 0xc7:
        return i->reg == 1 && i->has_mem ? CLS(COPY(RW, NONE, NONE)) : CLS(ACT(EXEC));
    default: /* c8 to cf */
        return i->opsize == 4 ? CLS(ACT(BSWAP)) : CLS(ACT(EXEC));
    }
}

void classify(const struct insn *i, u32 mode, u64 opts, struct cls *c)
{
    *c = (struct cls){.act = ACT_EXEC};
    if (unlikely(i->fn == insn_ud)) {
        c->act = ACT_EXEC_END;
        return;
    }
    /* With CR0.EM/TS set (or SSE disabled) FPU instructions fault: the handler knows how. */
    if (unlikely(i->fpu) && ((mode & MODE_NOFPU) || (i->fpu == 3 && !(mode & MODE_SSE))))
        return;
    if (i->map == 0) {
        *c = one_byte[i->opcode];
        if (c->act == ACT_ASK)
            *c = ask_one_byte(i, mode, opts);
    } else if (i->map == 1) {
        *c = two_byte[i->opcode];
        if (c->act == ACT_ASK)
            *c = ask_two_byte(i, mode, opts);
        else if (c->act == ACT_EXEC && i->fpu)
            *c = simd(i);
    }
}
