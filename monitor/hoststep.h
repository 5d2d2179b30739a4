/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's instructions that stand around a guest instruction's own, decoded and executed by software. */
#ifndef NOVT_MONITOR_HOSTSTEP_H
#define NOVT_MONITOR_HOSTSTEP_H

#include "base/types.h"

enum host_op {
    HOST_UNKNOWN,
    HOST_ALU,  /* alu; imm, reg and rm as forms say */
    HOST_TEST, /* no result */
    HOST_MOV,
    HOST_MOVZX,
    HOST_MOVSX,
    HOST_LEA,
    HOST_NOT,
    HOST_SHIFT, /* alu: 4 shl, 5 shr, 7 sar; by imm */
    HOST_BT,    /* bit imm of rm */
    HOST_XCHG,  /* registers only */
    HOST_CMOV,
    HOST_SETCC,
    HOST_ADOX,
    HOST_RORX,
    HOST_WRGSBASE,
    HOST_JCC,
    HOST_JRCXZ,
    HOST_JMP,   /* to pc + len + imm */
    HOST_JMP_M, /* to the quadword at the operand */
    HOST_CALL,
    HOST_CALL_M,
    HOST_RET,
    HOST_LAHF,
    HOST_SAHF,
    HOST_PUSHF,
    HOST_PUSH, /* rm */
    HOST_POP,  /* rm */
    HOST_DF,   /* cld, std: imm */
    HOST_NOP,  /* and int3: a forced stop's, to be passed */
};

struct host_insn {
    u8 op, len;
    u8 size; /* of the operation: 1, 2, 4, 8 */
    u8 from; /* movzx, movsx: of the source */
    u8 alu;  /* 0 add, 1 or, 2 adc, 3 sbb, 4 and, 5 sub, 6 xor, 7 cmp */
    u8 cc;
    u8 reg, rm; /* registers by their encoding */
    bool rex;   /* 4-7 as byte registers are spl-dil, not ah-bh */
    bool mem;   /* rm is the memory operand */
    bool to_reg;
    bool has_imm; /* the source */
    bool guest; /* the operand has a segment or an address-size prefix: it is the guest's (of others access()
                   judges) */
    bool rip;   /* relative to the next instruction */
    i8 base, index;
    u8 scale;
    i32 disp;
    u64 imm; /* sign-extended */
};

#define HOST_INSN_MAX 15

/* Decodes what is at code; HOST_UNKNOWN (and false) for whatever is not in the list above. */
bool host_decode(const u8 *code, struct host_insn *i);

struct host_state {
    u64 r[16]; /* by encoding */
    u64 pc, flags;
    /* Whether the host may access this memory now, without a fault; NULL: all of it. */
    bool (*access)(void *opaque, u64 addr, u32 size, bool write);
    void *opaque;
};

/* Executes it. False: nothing has changed (memory that access() refuses, a guest's operand). */
bool host_exec(struct host_state *s, const struct host_insn *i);

#endif
