/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A few dozen host instructions, decoded and executed by software.
 *
 * A kick that meets translated code inside of a guest instruction's sequence has to get to its end (stop.c).
 * A single step of the host costs an exception and a signal, five microseconds; what stands between the
 * instruction that does the guest's work and the next boundary is only moves, lea, additions and jumps. These
 * are here, with what the thunks use as well, and in the manual's semantics (SDM vol. 2), flags included.
 * Flags that the manual leaves undefined (AF of logic and shifts, OF of shifts by more than one) are given
 * some value.
 *
 * Whatever it does not know it refuses: other opcodes, other prefixes, operands in the guest's memory. Nobody
 * depends on what is known, only the speed does. tests/unit/translator/hoststep.c compares with the
 * processor.
 *
 * Must not: call libc, or touch memory that access() has not allowed; it runs in a signal handler.
 */
#include "monitor/hoststep.h"
#include "base/copy.h"

#define FLAG_CF 0x001u
#define FLAG_PF 0x004u
#define FLAG_AF 0x010u
#define FLAG_ZF 0x040u
#define FLAG_SF 0x080u
#define FLAG_DF 0x400u
#define FLAG_OF 0x800u
#define FLAGS   (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

enum { RSP_ENC = 4, NO_REG = -1 };

/* ---- decoding ---- */

struct cursor {
    const u8 *p;
    u8 rex;
    bool p66, repz;
};

static i32 get32(const u8 *p)
{
    return (i32)((u32)p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24);
}

static void modrm(struct cursor *c, struct host_insn *i)
{
    u8 m = *c->p++, mod = m >> 6, rm = m & 7;

    i->reg = (m >> 3 & 7) | (c->rex & 4) << 1;
    i->rm = rm | (c->rex & 1) << 3;
    if (mod == 3)
        return;
    i->mem = true;
    i->base = (i8)i->rm;
    i->index = NO_REG;
    i->scale = 1;
    if (rm == 4) {
        u8 s = *c->p++, index = (s >> 3 & 7) | (c->rex & 2) << 2;
        i->base = (i8)((s & 7) | (c->rex & 1) << 3);
        i->index = index == 4 ? NO_REG : (i8)index;
        i->scale = (u8)(1u << (s >> 6));
        if ((s & 7) == 5 && mod == 0) {
            i->base = NO_REG;
            mod = 2;
        }
    } else if (rm == 5 && mod == 0) {
        i->base = NO_REG;
        i->rip = true;
        mod = 2;
    }
    if (mod == 1) {
        i->disp = (i8)*c->p++;
    } else if (mod == 2) {
        i->disp = get32(c->p);
        c->p += 4;
    }
}

static void imm8(struct cursor *c, struct host_insn *i)
{
    i->imm = (u64)(i64)(i8)*c->p++;
    i->has_imm = true;
}

/* An immediate of the operation's size; of 64 bits, 32 extended. */
static void imm_full(struct cursor *c, struct host_insn *i)
{
    if (i->size == 1) {
        imm8(c, i);
        return;
    }
    i->has_imm = true;
    if (i->size == 2) {
        i->imm = (u64)(i64)(i16)(c->p[0] | c->p[1] << 8);
        c->p += 2;
    } else {
        i->imm = (u64)(i64)get32(c->p);
        c->p += 4;
    }
}

static void rel8(struct cursor *c, struct host_insn *i, enum host_op op)
{
    i->op = op;
    imm8(c, i);
}

static void rel32(struct cursor *c, struct host_insn *i, enum host_op op)
{
    i->op = op;
    i->imm = (u64)(i64)get32(c->p);
    i->has_imm = true;
    c->p += 4;
}

static void decode_0f(struct cursor *c, struct host_insn *i)
{
    u8 op = *c->p++;

    if (op == 0x38) {
        if (*c->p++ != 0xf6 || !c->repz)
            return;
        c->repz = false;
        i->op = HOST_ADOX;
        i->to_reg = true;
        modrm(c, i);
    } else if (op >= 0x80 && op <= 0x8f) {
        i->cc = op & 15;
        rel32(c, i, HOST_JCC);
    } else if (op >= 0x40 && op <= 0x4f) {
        i->op = HOST_CMOV;
        i->cc = op & 15;
        i->to_reg = true;
        modrm(c, i);
    } else if (op >= 0x90 && op <= 0x9f) {
        i->op = HOST_SETCC;
        i->cc = op & 15;
        i->size = 1;
        modrm(c, i);
    } else if (op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf) {
        i->op = op < 0xb8 ? HOST_MOVZX : HOST_MOVSX;
        i->from = op & 1 ? 2 : 1;
        i->to_reg = true;
        modrm(c, i);
    } else if (op == 0xba) {
        modrm(c, i);
        if (i->reg % 8 != 4)
            return;
        i->op = HOST_BT;
        imm8(c, i);
    } else if (op == 0xae && c->repz && (*c->p & 0xf8) == 0xd8) {
        c->repz = false;
        i->op = HOST_WRGSBASE;
        i->size = c->rex & 8 ? 8 : 4;
        modrm(c, i);
    } else if (op == 0x1f) {
        i->op = HOST_NOP;
        modrm(c, i);
    }
}

/* VEX.LZ.F2.0F3A.W0/1 F0 /r ib: rorx; the only one. */
static void decode_vex(struct cursor *c, struct host_insn *i)
{
    u8 a = *c->p++, b = *c->p++;

    if ((a & 0x1f) != 3 || (b & 0x7f) != 0x7b || *c->p++ != 0xf0)
        return;
    c->rex = (u8)((a & 0x80 ? 0 : 4) | (a & 0x40 ? 0 : 2) | (a & 0x20 ? 0 : 1));
    i->size = b & 0x80 ? 8 : 4;
    i->to_reg = true;
    i->op = HOST_RORX;
    modrm(c, i);
    imm8(c, i);
}

static void decode_group(struct cursor *c, struct host_insn *i, u8 op)
{
    u8 ext = *c->p >> 3 & 7;

    modrm(c, i);
    switch (op) {
    case 0x80:
    case 0x81:
    case 0x83:
        i->op = HOST_ALU;
        i->alu = ext;
        if (op == 0x83)
            imm8(c, i);
        else
            imm_full(c, i);
        break;
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1:
        if (ext < 4 || ext == 6)
            return;
        i->op = HOST_SHIFT;
        i->alu = ext;
        if (op < 0xd0)
            imm8(c, i);
        else
            i->imm = 1;
        i->has_imm = true;
        break;
    case 0xc6:
    case 0xc7:
        if (ext)
            return;
        i->op = HOST_MOV;
        imm_full(c, i);
        break;
    case 0xf6:
    case 0xf7:
        if (ext == 0) {
            i->op = HOST_TEST;
            imm_full(c, i);
        } else if (ext == 2) {
            i->op = HOST_NOT;
        }
        break;
    case 0xff:
        if ((ext == 2 || ext == 4) && i->mem)
            i->op = ext == 2 ? HOST_CALL_M : HOST_JMP_M;
        break;
    }
}

static void decode_one(struct cursor *c, struct host_insn *i, u8 op)
{
    i->size = !(op & 1) ? 1 : c->rex & 8 ? 8 : c->p66 ? 2 : 4;
    if (op < 0x40 && (op & 7) < 4) {
        i->op = HOST_ALU;
        i->alu = op >> 3;
        i->to_reg = op & 2;
        modrm(c, i);
        return;
    }
    if (op < 0x40 && (op & 7) < 6) {
        i->op = HOST_ALU;
        i->alu = op >> 3;
        imm_full(c, i);
        return;
    }
    if (op >= 0x50 && op <= 0x5f) {
        i->op = op < 0x58 ? HOST_PUSH : HOST_POP;
        i->size = 8;
        i->rm = (op & 7) | (c->rex & 1) << 3;
        return;
    }
    if (op == 0x63 && (c->rex & 8)) { /* movsxd */
        i->op = HOST_MOVSX;
        i->from = 4;
        i->to_reg = true;
        modrm(c, i);
        return;
    }
    if (op >= 0x70 && op <= 0x7f) {
        i->cc = op & 15;
        rel8(c, i, HOST_JCC);
        return;
    }
    if (op >= 0xb0 && op <= 0xbf) {
        i->op = HOST_MOV;
        i->rm = (op & 7) | (c->rex & 1) << 3;
        i->size = op < 0xb8 ? 1 : c->rex & 8 ? 8 : c->p66 ? 2 : 4;
        if (i->size == 8) {
            i->imm = (u32)get32(c->p) | (u64)(u32)get32(c->p + 4) << 32;
            i->has_imm = true;
            c->p += 8;
        } else {
            imm_full(c, i);
        }
        return;
    }
    switch (op) {
    case 0x84:
    case 0x85:
        i->op = HOST_TEST;
        modrm(c, i);
        break;
    case 0x86:
    case 0x87:
        modrm(c, i);
        if (!i->mem)
            i->op = HOST_XCHG;
        break;
    case 0x88:
    case 0x89:
    case 0x8a:
    case 0x8b:
        i->op = HOST_MOV;
        i->to_reg = op & 2;
        modrm(c, i);
        break;
    case 0x8d:
        modrm(c, i);
        if (i->mem)
            i->op = HOST_LEA;
        i->to_reg = true;
        break;
    case 0x90:
        i->op = c->rex & 1 ? HOST_UNKNOWN : HOST_NOP;
        break;
    case 0xcc:
        i->op = HOST_NOP;
        break;
    case 0xfc:
    case 0xfd:
        i->op = HOST_DF;
        i->imm = op & 1;
        break;
    case 0x9c:
        i->op = HOST_PUSHF;
        break;
    case 0x9e:
        i->op = HOST_SAHF;
        break;
    case 0x9f:
        i->op = HOST_LAHF;
        break;
    case 0xa8:
    case 0xa9:
        i->op = HOST_TEST;
        imm_full(c, i);
        break;
    case 0xc3:
        i->op = HOST_RET;
        break;
    case 0xe3:
        rel8(c, i, HOST_JRCXZ);
        break;
    case 0xe8:
        rel32(c, i, HOST_CALL);
        break;
    case 0xe9:
        rel32(c, i, HOST_JMP);
        break;
    case 0xeb:
        rel8(c, i, HOST_JMP);
        break;
    case 0x80:
    case 0x81:
    case 0x83:
    case 0xc0:
    case 0xc1:
    case 0xc6:
    case 0xc7:
    case 0xd0:
    case 0xd1:
    case 0xf6:
    case 0xf7:
    case 0xff:
        decode_group(c, i, op);
        break;
    }
}

bool host_decode(const u8 *code, struct host_insn *i)
{
    struct cursor c = {.p = code};
    bool repnz = false, a32 = false;

    *i = (struct host_insn){.base = NO_REG, .index = NO_REG, .scale = 1};
    for (;; c.p++) {
        if (*c.p == 0x66)
            c.p66 = true;
        else if (*c.p == 0xf3)
            c.repz = true;
        else if (*c.p == 0xf2)
            repnz = true;
        else if (*c.p == 0x65 || *c.p == 0x64)
            i->guest = true;
        else if (*c.p == 0x67)
            a32 = i->guest = true;
        else
            break;
        if (c.p - code == 4)
            return false;
    }
    if ((*c.p & 0xf0) == 0x40) {
        c.rex = *c.p++;
        i->rex = true;
    }
    if (*c.p == 0xc4 && !c.p66 && !c.rex) {
        c.p++;
        decode_vex(&c, i);
    } else if (*c.p == 0x0f) {
        c.p++;
        i->size = c.rex & 8 ? 8 : c.p66 ? 2 : 4;
        decode_0f(&c, i);
    } else {
        u8 op = *c.p++;
        decode_one(&c, i, op);
    }
    if (c.repz || repnz || (a32 && !i->mem))
        i->op = HOST_UNKNOWN;
    i->len = (u8)(c.p - code);
    return i->op != HOST_UNKNOWN;
}

/* ---- execution ---- */

static u64 size_mask(u32 size)
{
    return size == 8 ? ~0ull : (1ull << (8 * size)) - 1;
}

/* Is it a register's second byte? */
static bool high_byte(const struct host_insn *i, u8 reg, u32 size)
{
    return size == 1 && !i->rex && reg >= 4;
}

static u64 get_reg(const struct host_state *s, const struct host_insn *i, u8 reg, u32 size)
{
    return high_byte(i, reg, size) ? s->r[reg - 4] >> 8 & 0xff : s->r[reg] & size_mask(size);
}

static void set_reg(struct host_state *s, const struct host_insn *i, u8 reg, u32 size, u64 val)
{
    u64 mask = size_mask(size);

    val &= mask;
    if (high_byte(i, reg, size))
        s->r[reg - 4] = (s->r[reg - 4] & ~0xff00ull) | val << 8;
    else
        s->r[reg] = size >= 4 ? val : (s->r[reg] & ~mask) | val;
}

static u64 address(const struct host_state *s, const struct host_insn *i)
{
    u64 a = (u64)(i64)i->disp;

    if (i->rip)
        a += s->pc + i->len;
    if (i->base >= 0)
        a += s->r[i->base];
    if (i->index >= 0)
        a += s->r[i->index] * i->scale;
    return a;
}

/* size: 1, 2, 4 or 8 */
static bool load(const struct host_state *s, u64 addr, u32 size, u64 *val)
{
    if (s->access && !s->access(s->opaque, addr, size, false))
        return false;
    *val = 0;
    copy_bytes(val, (const void *)(uintptr_t)addr, size);
    return true;
}

static bool store(const struct host_state *s, u64 addr, u32 size, u64 val)
{
    if (s->access && !s->access(s->opaque, addr, size, true))
        return false;
    copy_bytes((void *)(uintptr_t)addr, &val, size);
    return true;
}

/* SF, ZF and PF of a result. */
static u32 result_flags(u64 r, u32 size)
{
    return (r & size_mask(size) ? 0 : FLAG_ZF) | (r >> (8 * size - 1) & 1 ? FLAG_SF : 0) |
           (__builtin_parity((u32)(r & 0xff)) ? 0 : FLAG_PF);
}

static void set_flags(struct host_state *s, u32 which, u32 val)
{
    s->flags = (s->flags & ~(u64)which) | (val & which);
}

static u64 alu(struct host_state *s, u32 op, u64 a, u64 b, u32 size)
{
    u64 mask = size_mask(size), carry = s->flags & FLAG_CF, r;
    u32 top = 8 * size - 1, f;

    a &= mask;
    b &= mask;
    if (op == 1 || op == 4 || op == 6) {
        r = op == 1 ? a | b : op == 4 ? a & b : a ^ b;
        set_flags(s, FLAGS, result_flags(r, size));
        return r;
    }
    if (op == 0 || op == 2) {
        carry = op == 2 ? carry : 0;
        r = (a + b + carry) & mask;
        f = (r < a || (carry && r == a) ? FLAG_CF : 0) | (((a ^ r) & (b ^ r)) >> top & 1 ? FLAG_OF : 0);
    } else {
        carry = op == 3 ? carry : 0;
        r = (a - b - carry) & mask;
        f = (a < b || (carry && a == b) ? FLAG_CF : 0) | (((a ^ b) & (a ^ r)) >> top & 1 ? FLAG_OF : 0);
    }
    f |= ((a ^ b ^ r) & FLAG_AF) | result_flags(r, size);
    set_flags(s, FLAGS, f);
    return r;
}

static u64 adox(struct host_state *s, u64 a, u64 b, u32 size)
{
    u64 of = s->flags & FLAG_OF ? 1 : 0, r = (a + b + of) & size_mask(size);

    set_flags(s, FLAG_OF, r < a || (of && r == a) ? FLAG_OF : 0);
    return r;
}

static u64 shift(struct host_state *s, u32 op, u64 a, u32 n, u32 size)
{
    u64 r, out;

    n &= size == 8 ? 63 : 31;
    a &= size_mask(size);
    if (!n)
        return a;
    if (op == 4) {
        r = a << n;
        out = n <= 8 * size ? a >> (8 * size - n) & 1 : 0;
    } else {
        i64 wide = (i64)(a << (64 - 8 * size)) >> (64 - 8 * size); /* sign-extended */
        r = op == 5 ? a >> n : (u64)(wide >> n);
        out = op == 5 ? a >> (n - 1) & 1 : (u64)(wide >> (n - 1)) & 1;
    }
    r &= size_mask(size);
    u64 top = r >> (8 * size - 1) & 1, was = a >> (8 * size - 1) & 1;
    u64 of = op == 4 ? top ^ out : op == 5 ? was : 0;
    set_flags(s, FLAGS, (out ? FLAG_CF : 0) | (of ? FLAG_OF : 0) | result_flags(r, size));
    return r;
}

static bool condition(u64 f, u8 cc)
{
    bool cf = f & FLAG_CF, zf = f & FLAG_ZF, sf = f & FLAG_SF, of = f & FLAG_OF, r;

    switch (cc >> 1) {
    case 0:
        r = of;
        break;
    case 1:
        r = cf;
        break;
    case 2:
        r = zf;
        break;
    case 3:
        r = cf || zf;
        break;
    case 4:
        r = sf;
        break;
    case 5:
        r = f & FLAG_PF;
        break;
    case 6:
        r = sf != of;
        break;
    default:
        r = zf || sf != of;
        break;
    }
    return r != (cc & 1);
}

/* What the register-or-memory operand holds. */
static bool get_rm(const struct host_state *s, const struct host_insn *i, u32 size, u64 *val)
{
    if (i->mem)
        return load(s, address(s, i), size, val);
    *val = get_reg(s, i, i->rm, size);
    return true;
}

static bool set_rm(struct host_state *s, const struct host_insn *i, u32 size, u64 val)
{
    if (i->mem)
        return store(s, address(s, i), size, val);
    set_reg(s, i, i->rm, size, val);
    return true;
}

static bool exec_alu(struct host_state *s, const struct host_insn *i)
{
    u64 rm, other = i->has_imm ? i->imm : get_reg(s, i, i->reg, i->size), r, before = s->flags;
    bool result = i->op == HOST_ALU && i->alu != 7;
    u32 op = i->op == HOST_TEST ? 4 : i->alu == 7 ? 5 : i->alu;

    if (!get_rm(s, i, i->size, &rm))
        return false;
    r = i->to_reg ? alu(s, op, other, rm, i->size) : alu(s, op, rm, other, i->size);
    if (!result)
        return true;
    if (i->to_reg)
        set_reg(s, i, i->reg, i->size, r);
    else if (!set_rm(s, i, i->size, r)) {
        s->flags = before;
        return false;
    }
    return true;
}

static bool exec_mov(struct host_state *s, const struct host_insn *i)
{
    u64 val;

    if (!i->to_reg)
        return set_rm(s, i, i->size, i->has_imm ? i->imm : get_reg(s, i, i->reg, i->size));
    if (!get_rm(s, i, i->size, &val))
        return false;
    set_reg(s, i, i->reg, i->size, val);
    return true;
}

static bool push(struct host_state *s, u64 val)
{
    if (!store(s, s->r[RSP_ENC] - 8, 8, val))
        return false;
    s->r[RSP_ENC] -= 8;
    return true;
}

static bool pop(struct host_state *s, u64 *val)
{
    if (!load(s, s->r[RSP_ENC], 8, val))
        return false;
    s->r[RSP_ENC] += 8;
    return true;
}

bool host_exec(struct host_state *s, const struct host_insn *i)
{
    u64 next = s->pc + i->len, val, sum;

    if (i->guest && i->op != HOST_LEA && i->op != HOST_NOP)
        return false;
    switch (i->op) {
    case HOST_ALU:
    case HOST_TEST:
        if (!exec_alu(s, i))
            return false;
        break;
    case HOST_MOV:
        if (!exec_mov(s, i))
            return false;
        break;
    case HOST_MOVZX:
    case HOST_MOVSX:
        if (!get_rm(s, i, i->from, &val))
            return false;
        if (i->op == HOST_MOVSX)
            val = i->from == 1 ? (u64)(i64)(i8)val : i->from == 2 ? (u64)(i64)(i16)val : (u64)(i64)(i32)val;
        set_reg(s, i, i->reg, i->size, val);
        break;
    case HOST_LEA:
        if (i->guest)
            return false;
        set_reg(s, i, i->reg, i->size, address(s, i));
        break;
    case HOST_NOT:
        if (!get_rm(s, i, i->size, &val) || !set_rm(s, i, i->size, ~val))
            return false;
        break;
    case HOST_SHIFT: {
        u64 before = s->flags;
        if (!get_rm(s, i, i->size, &val))
            return false;
        if (!set_rm(s, i, i->size, shift(s, i->alu, val, (u32)i->imm, i->size))) {
            s->flags = before;
            return false;
        }
        break;
    }
    case HOST_BT:
        if (!get_rm(s, i, i->size, &val))
            return false;
        set_flags(s, FLAG_CF, val >> (i->imm & (8 * i->size - 1)) & 1 ? FLAG_CF : 0);
        break;
    case HOST_XCHG: {
        u64 a = get_reg(s, i, i->reg, i->size), b = get_reg(s, i, i->rm, i->size);
        set_reg(s, i, i->reg, i->size, b);
        set_reg(s, i, i->rm, i->size, a);
        break;
    }
    case HOST_CMOV:
        if (!get_rm(s, i, i->size, &val))
            return false;
        set_reg(s, i, i->reg, i->size, condition(s->flags, i->cc) ? val : get_reg(s, i, i->reg, i->size));
        break;
    case HOST_SETCC:
        if (!set_rm(s, i, 1, condition(s->flags, i->cc)))
            return false;
        break;
    case HOST_ADOX:
        if (!get_rm(s, i, i->size, &val))
            return false;
        sum = get_reg(s, i, i->reg, i->size);
        set_reg(s, i, i->reg, i->size, adox(s, sum, val, i->size));
        break;
    case HOST_RORX: {
        u32 by = (u32)i->imm & (8 * i->size - 1);
        if (!get_rm(s, i, i->size, &val))
            return false;
        set_reg(s, i, i->reg, i->size, by ? val >> by | val << (8 * i->size - by) : val);
        break;
    }
    case HOST_WRGSBASE: /* the thread's, which signals leave alone */
        val = get_reg(s, i, i->rm, i->size);
        asm volatile(".byte 0xf3, 0x48, 0x0f, 0xae, 0xd8" : : "a"(val)); /* wrgsbase rax */
        break;
    case HOST_JCC:
        if (condition(s->flags, i->cc))
            next += i->imm;
        break;
    case HOST_JRCXZ:
        if (!s->r[1])
            next += i->imm;
        break;
    case HOST_JMP:
        next += i->imm;
        break;
    case HOST_JMP_M:
        if (!load(s, address(s, i), 8, &val))
            return false;
        next = val;
        break;
    case HOST_CALL:
        if (!push(s, next))
            return false;
        next += i->imm;
        break;
    case HOST_CALL_M:
        if (!load(s, address(s, i), 8, &val) || !push(s, next))
            return false;
        next = val;
        break;
    case HOST_RET:
        if (!pop(s, &next))
            return false;
        break;
    case HOST_LAHF:
        s->r[0] = (s->r[0] & ~0xff00ull) | ((s->flags & (FLAGS & 0xff)) | 2) << 8;
        break;
    case HOST_SAHF:
        set_flags(s, FLAGS & 0xff, (u32)(s->r[0] >> 8));
        break;
    case HOST_PUSHF:
        if (!push(s, s->flags & ~0x10000ull)) /* RF does not show */
            return false;
        break;
    case HOST_PUSH:
        if (!push(s, s->r[i->rm]))
            return false;
        break;
    case HOST_POP:
        if (!pop(s, &val))
            return false;
        s->r[i->rm] = val;
        break;
    case HOST_DF:
        s->flags = i->imm ? s->flags | FLAG_DF : s->flags & ~(u64)FLAG_DF;
        break;
    case HOST_NOP:
        break;
    default:
        return false;
    }
    s->pc = next;
    return true;
}
