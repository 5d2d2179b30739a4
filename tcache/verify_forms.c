/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an opcode does, from the manual and not from Capstone: the direction and size of its memory operand,
 * whether it is one of the instructions that touch nothing but their operands, the first four registers, the
 * flags and the FPU, and whether its first operand is certainly written. A form that is not listed here is
 * refused. Pure functions of the decoded instruction.
 */
#include "tcache/verify_int.h"

static bool sse_opcode(const struct hi *h)
{
    u8 o = h->op2;
    if ((o >= 0x10 && o <= 0x17) || (o >= 0x28 && o <= 0x2f) || (o >= 0x50 && o <= 0x77) || o == 0x7e ||
        o == 0x7f || o == 0xc2 || (o >= 0xc4 && o <= 0xc6))
        return true;
    return o >= 0xd1 && o <= 0xfe && o != 0xf0 &&
           o != 0xf7; /* D0, F0: SSE3; F7: maskmov, an address in rdi */
}

/* Bytes of the memory operand of an MMX or SSE instruction (SDM vol. 2); 0: there is no such form up to SSE2.
 * Capstone's sizes are not reliable here: it gives comisd sixteen. */
static u32 simd_size(const struct hi *h)
{
    u8 o = h->op2;
    bool none = !h->o66 && !h->f2 && !h->f3;
    u32 scalar = h->f3 ? 4 : h->f2 ? 8 : 16, mmx = none ? 8 : h->o66 && !h->f2 && !h->f3 ? 16 : 0;

    switch (o) {
    case 0x10:
    case 0x11:
    case 0x51:
    case 0x58:
    case 0x59:
    case 0x5c:
    case 0x5d:
    case 0x5e:
    case 0x5f:
    case 0xc2:
        return scalar;
    case 0x52:
    case 0x53:
        return none ? 16 : h->f3 ? 4 : 0;
    case 0x12:
    case 0x13:
    case 0x16:
    case 0x17:
        return h->f2 || h->f3 ? 0 : 8;
    case 0x14:
    case 0x15:
    case 0x28:
    case 0x29:
    case 0x2b:
    case 0x54:
    case 0x55:
    case 0x56:
    case 0x57:
    case 0xc6:
        return h->f2 || h->f3 ? 0 : 16;
    case 0x2a:
        return h->f2 || h->f3 ? 4 : 8;
    case 0x2c:
    case 0x2d:
        return h->f3 ? 4 : h->f2 || none ? 8 : 16;
    case 0x2e:
    case 0x2f:
        return h->f2 || h->f3 ? 0 : none ? 4 : 8;
    case 0x5a:
        return h->f3 ? 4 : h->f2 || none ? 8 : 16;
    case 0x5b:
        return h->f2 ? 0 : 16;
    case 0x60:
    case 0x61:
    case 0x62:
        return none ? 4 : mmx;
    case 0x6c:
    case 0x6d:
        return none ? 0 : mmx;
    case 0x6e:
        return h->f2 || h->f3 ? 0 : 4;
    case 0x6f:
    case 0x7f:
        return none ? 8 : h->f2 ? 0 : 16;
    case 0x70:
        return none ? 8 : 16;
    case 0x7e:
        return h->f3 ? 8 : h->f2 ? 0 : 4;
    case 0xc4:
        return h->f2 || h->f3 ? 0 : 2;
    case 0xd6:
        return h->o66 && !h->f2 && !h->f3 ? 8 : 0;
    case 0xe6:
        return none ? 0 : h->f3 ? 8 : 16;
    case 0x50:
    case 0x71:
    case 0x72:
    case 0x73:
    case 0x77:
    case 0x7c:
    case 0x7d:
    case 0xc5:
    case 0xd7:
    case 0xd0:
    case 0xf0:
    case 0xf7:
        return 0;
    }
    return mmx;
}

/* MMX and SSE2 instructions without a form that has a memory operand. A prefix that is not theirs makes
 * another instruction of them, or none. */
static bool registers_only(const struct hi *h)
{
    switch (h->op2) {
    case 0x50:
    case 0x71:
    case 0x72:
    case 0x73:
    case 0x77:
    case 0xc5:
    case 0xd7:
        return !h->f2 && !h->f3;
    case 0xd6: /* movdq2q, movq2dq */
        return h->f2 || h->f3;
    }
    return false;
}

/* Direction of the ModRM memory operand; 0: the form is not allowed. *size gets its size where it is known
 * here. */
int vf_direction(const struct hi *h, u32 *size)
{
    u8 op = h->op, r = h->modrm >> 3 & 7;

    if (op == 0x0f) {
        u8 o = h->op2;
        if (sse_opcode(h) && !(*size = simd_size(h)))
            return 0;
        switch (o) {
        case 0xa3:
        case 0xaf:
        case 0xb6:
        case 0xb7:
        case 0xbc:
        case 0xbd:
        case 0xbe:
        case 0xbf:
            return RD;
        case 0xab:
        case 0xb3:
        case 0xbb:
        case 0xa4:
        case 0xa5:
        case 0xac:
        case 0xad:
        case 0xb0:
        case 0xb1:
        case 0xc0:
        case 0xc1:
            return RD | WR;
        case 0xba:
            return r == 4 ? RD : r > 4 ? RD | WR : 0;
        case 0xc7:
            *size = 8;
            return r == 1 ? RD | WR : 0;
        case 0xc3:
            *size = 4;
            return WR;
        case 0xae:
            *size = 4;
            return r == 3 ? WR : 0;
        case 0x11:
        case 0x13:
        case 0x17:
        case 0x29:
        case 0x2b:
        case 0x7f:
        case 0xd6:
        case 0xe7:
            return WR;
        case 0x7e:
            return h->f3 ? RD : WR;
        }
        if (o >= 0x40 && o <= 0x4f)
            return RD;
        if (o >= 0x90 && o <= 0x9f)
            return *size = 1, WR;
        return RD; /* other SSE and MMX */
    }
    if (op < 0x40)
        return op & 2 || (op & 0x38) == 0x38 ? RD : RD | WR;
    switch (op) {
    case 0x69:
    case 0x6b:
    case 0x84:
    case 0x85:
        return RD;
    case 0x80:
    case 0x81:
    case 0x83:
        return r == 7 ? RD : RD | WR;
    case 0x86:
    case 0x87:
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xfe:
    case 0xff:
        return RD | WR;
    case 0xf6:
    case 0xf7:
        return r == 2 || r == 3 ? RD | WR : RD;
    }
    /* x87: sizes by opcode and /r (SDM vol. 2, B.17); 0: environment images and reserved forms */
    static const i8 x87[8][8] = {
        {4, 4, 4, 4, 4, 4, 4, 4},      {4, 0, -4, -4, 0, 2, 0, -2},    {4, 4, 4, 4, 4, 4, 4, 4},
        {4, 0, -4, -4, 0, 10, 0, -10}, {8, 8, 8, 8, 8, 8, 8, 8},       {8, 0, -8, -8, 0, 0, 0, -2},
        {2, 2, 2, 2, 2, 2, 2, 2},      {2, 0, -2, -2, 10, 8, -10, -8},
    };
    if (op >= 0xd8 && op <= 0xdf) {
        int n = x87[op - 0xd8][r];
        *size = (u32)(n < 0 ? -n : n);
        return n ? n < 0 ? WR : RD : 0;
    }
    return 0;
}

/* Instructions that are not followed but known to touch nothing besides their operands and rax, rcx, rdx,
 * rbx, flags, FPU. */
bool vf_plain_opcode(const struct hi *h)
{
    u8 op = h->op, r = h->modrm >> 3 & 7;
    if (op == 0x0f) {
        u8 o = h->op2;
        if ((h->f2 || h->f3) && !(sse_opcode(h)))
            return false;
        if ((o >= 0x40 && o <= 0x4f) || (o >= 0x90 && o <= 0x9f) || (o >= 0xc8 && o <= 0xcf))
            return true;
        switch (o) {
        case 0xa3:
        case 0xab:
        case 0xb3:
        case 0xbb:
        case 0xa4:
        case 0xa5:
        case 0xac:
        case 0xad:
        case 0xaf:
        case 0xb0:
        case 0xb1:
        case 0xb6:
        case 0xb7:
        case 0xbe:
        case 0xbf:
        case 0xbc:
        case 0xbd:
        case 0xc0:
        case 0xc1:
            return true;
        case 0xba:
            return r >= 4;
        case 0xc3: /* movnti: undefined with 66 */
            return h->has_mem && !h->o66;
        case 0xc7:
            return r == 1 && h->has_mem;
        case 0xae: /* stmxcsr and fences; not rdfsbase and its kin, fxrstor, clflush */
            return h->has_mem ? r == 3 && !h->o66 : r >= 5 && !h->o66;
        }
        return sse_opcode(h) && (simd_size(h) || registers_only(h));
    }
    if (h->f2 || h->f3)
        return false;
    if (op < 0x40)
        return (op & 7) < 6;
    if (op >= 0xd8 && op <= 0xdf)
        return true;
    switch (op) {
    case 0x69:
    case 0x6b:
    case 0x80:
    case 0x81:
    case 0x83:
    case 0x84:
    case 0x85:
    case 0x86:
    case 0x87:
    case 0x90:
    case 0x91:
    case 0x92:
    case 0x93:
    case 0x94:
    case 0x95:
    case 0x96:
    case 0x97:
    case 0x98:
    case 0x99:
    case 0x9b:
    case 0x9e:
    case 0x9f:
    case 0xa8:
    case 0xa9:
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xf5:
    case 0xf8:
    case 0xf9:
    case 0xfc:
    case 0xfd:
    case 0xf6:
    case 0xf7:
        return true;
    case 0xfe:
    case 0xff:
        return r < 2;
    }
    return false;
}

/* Forms whose first operand, if it is a 32-bit register, is always written and so zero-extended. */
bool vf_writes_first(const struct hi *h)
{
    u8 op = h->op;
    if (op == 0x0f)
        return h->op2 == 0xaf || h->op2 == 0xb6 || h->op2 == 0xb7 || h->op2 == 0xbe || h->op2 == 0xbf;
    return op < 0x40 || op == 0x69 || op == 0x6b || op == 0x80 || op == 0x81 || op == 0x83;
}
