/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * monitor/hoststep.c beside the processor: every form that it knows, with random registers, flags and memory,
 * is executed by both and must leave the same. The processor runs it from a page of code between loads and
 * stores of all registers. rsp is the host's own there, so forms that use it are tested with fixed
 * expectations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include "monitor/hoststep.h"
#include "translator/emit.h"

#define STATUS 0x8d5u

struct regs {
    u64 r[16], flags;
};

static u8 *page;        /* executable */
static u64 *data;       /* what memory operands see */
static u64 data_at[64]; /* its contents before */
static u64 seed = 0x123456789abcdefull;

static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    u64 v = seed * 0x2545f4914f6cdd1dull;
    switch (v >> 60) { /* the edges more often than they would come */
    case 0:
        return 0;
    case 1:
        return ~0ull;
    case 2:
        return 0x8000000080008080ull;
    case 3:
        return 0x7fffffff7fff7f7full;
    case 4:
        return v & 0xff;
    default:
        return v;
    }
}

static void mov_abs(struct emit *e, bool to, int reg,
                    const void *p) /* [p] by way of nothing: r/m64 is rip-relative */
{
    e_rex(e, 1, reg, 0, 0);
    e8(e, to ? 0x89 : 0x8b);
    e_modrm(e, 0, reg, 5);
    e32(e, (u32)((i64)(uintptr_t)p - (i64)(uintptr_t)(e->buf + e->pos + 4)));
}

/* Runs code (len bytes, no jumps) on *s, but for rsp. */
static void native(const u8 *code, u32 len, struct regs *s)
{
    static const u8 kept[] = {RBX, RBP, R12, R13, R14, R15};
    struct regs *in = (struct regs *)(void *)(page + 2048);
    struct emit e = emit_to(page, 2048);

    *in = *s;
    for (u32 n = 0; n < 6; n++) {
        e_rex(&e, 0, 0, 0, kept[n]);
        e8(&e, 0x50 | (kept[n] & 7));
    }
    mov_abs(&e, false, RAX, &in->flags);
    e8(&e, 0x50); /* push rax; popfq */
    e8(&e, 0x9d);
    for (int r = 0; r < 16; r++)
        if (r != RSP)
            mov_abs(&e, false, r, &in->r[r]);
    for (u32 n = 0; n < len; n++)
        e8(&e, code[n]);
    for (int r = 0; r < 16; r++)
        if (r != RSP)
            mov_abs(&e, true, r, &in->r[r]);
    e8(&e, 0x9c); /* pushfq; pop rax */
    e8(&e, 0x58);
    mov_abs(&e, true, RAX, &in->flags);
    e8(&e, 0xfc);
    for (u32 n = 6; n-- > 0;) {
        e_rex(&e, 0, 0, 0, kept[n]);
        e8(&e, 0x58 | (kept[n] & 7));
    }
    e8(&e, 0xc3);
    void (*run)(void);
    void *p = page;
    memcpy(&run, &p, sizeof(run));
    run();
    *s = *in;
}

/* rbx and rsi (r11) point into data, rdx (r9) is a small index; the rest is random. undefined: flags that the
 * manual does not give. */
static void check_one(const u8 *code, u32 len, u32 undefined)
{
    struct host_insn i;
    struct regs cpu = {.flags = 2};
    struct host_state soft = {0};
    u64 after[64];

    for (int r = 0; r < 16; r++)
        cpu.r[r] = rnd();
    cpu.r[RBX] = cpu.r[RSI] = cpu.r[R11] = (u64)(uintptr_t)&data[16];
    cpu.r[RDX] = cpu.r[R9] = rnd() & 15;
    cpu.flags |= rnd() & STATUS;
    for (u32 n = 0; n < 64; n++)
        data[n] = data_at[n] = rnd();
    memcpy(soft.r, cpu.r, sizeof(soft.r));
    soft.flags = cpu.flags;
    soft.pc = 0x1000;
    if (!host_decode(code, &i))
        fail_msg("%02x %02x %02x %02x: not decoded", code[0], code[1], code[2], code[3]);
    if (i.len != len)
        fail_msg("%02x %02x %02x %02x: length %u, is %u", code[0], code[1], code[2], code[3], i.len, len);
    assert_true(host_exec(&soft, &i));
    memcpy(after, data, sizeof(after));
    memcpy(data, data_at, sizeof(data_at));
    native(code, len, &cpu);
    assert_int_equal(soft.pc, 0x1000 + len);
    for (int r = 0; r < 16; r++)
        if (r != RSP && cpu.r[r] != soft.r[r])
            fail_msg("%02x %02x %02x %02x: register %d is %llx, the processor has %llx", code[0], code[1],
                     code[2], code[3], r, (unsigned long long)soft.r[r], (unsigned long long)cpu.r[r]);
    if ((cpu.flags ^ soft.flags) & STATUS & ~undefined)
        fail_msg("%02x %02x %02x %02x: flags %llx, the processor has %llx", code[0], code[1], code[2],
                 code[3], (unsigned long long)soft.flags, (unsigned long long)cpu.flags);
    assert_memory_equal(after, data, sizeof(after));
}

#define AF 0x10u
#define OF 0x800u

/* Operands: register, [rbx], [rsi + rdx * 8 - 8], [r11 + r9 + disp32]. form: which. */
static void rm(struct emit *e, u8 rex, bool two, u8 op, int reg, u32 form)
{
    static const int regs[] = {RAX, RDX, RBP, R8, R12, R13, RDI, R14};
    u8 b = 0x40 | rex | (reg & 8 ? 4 : 0);

    if (form < 8) {
        b |= regs[form] & 8 ? 1 : 0;
    } else if (form == 10) {
        b |= 3;
    }
    if (b != 0x40)
        e8(e, b);
    if (two)
        e8(e, 0x0f);
    e8(e, op);
    if (form < 8) {
        e_modrm(e, 3, reg, regs[form]);
    } else if (form == 8) {
        e_modrm(e, 0, reg, RBX);
    } else if (form == 9) {
        e_mem(e, reg, RSI, RDX, 8, -8);
    } else {
        e_mem(e, reg, R11, R9, 1, 0x98);
    }
}

#define FORMS 11

/* Sizes: 1, 2, 4, 8: prefix, REX.W and the opcode's low bit. */
static void sized(struct emit *e, u32 size, bool two, u8 op, int reg, u32 form)
{
    if (size == 2)
        e8(e, 0x66);
    rm(e, size == 8 ? 8 : 0, two, (u8)(op | (size != 1)), reg, form);
}

static void all_sizes(bool two, u8 op, int reg, u32 imm, u32 undefined)
{
    for (u32 size = 1; size <= 8; size *= 2)
        for (u32 form = 0; form < FORMS; form++)
            for (u32 n = 0; n < 40; n++) {
                u8 code[24];
                struct emit e = emit_to(code, sizeof(code));
                sized(&e, size, two, op, reg < 0 ? (int)(rnd() & 15) & ~4 : reg, form);
                u32 bytes = imm == 4 && size < 4 ? size : imm;
                for (u32 k = 0; k < bytes; k++)
                    e8(&e, (u8)rnd());
                check_one(code, e.pos, undefined);
            }
}

static void alu_forms(void **state)
{
    (void)state;
    for (u8 alu = 0; alu < 8; alu++) {
        u32 undefined = alu == 1 || alu == 4 || alu == 6 ? AF : 0;
        all_sizes(false, (u8)(alu << 3), -1, 0, undefined);
        all_sizes(false, (u8)(alu << 3 | 2), -1, 0, undefined);
        all_sizes(false, 0x80, alu, 4, undefined); /* 80 ib, 81 iz */
        for (u32 form = 0; form < FORMS; form++)
            for (u32 n = 0; n < 100; n++) {
                u8 code[24], imm = (u8)rnd();
                struct emit e = emit_to(code, sizeof(code));
                rm(&e, n & 1 ? 8 : 0, false, 0x83, alu, form);
                e8(&e, imm);
                check_one(code, e.pos, undefined);
            }
        for (u32 n = 0; n < 100; n++) { /* al, eax */
            u8 code[6] = {(u8)(alu << 3 | 4), (u8)rnd()};
            check_one(code, 2, undefined);
            code[0]++;
            memcpy(code + 1, &(u32){(u32)rnd()}, 4);
            check_one(code, 5, undefined);
        }
    }
    all_sizes(false, 0x84, -1, 0, AF);
    all_sizes(false, 0xf6, 0, 4, AF); /* test */
    all_sizes(false, 0xf6, 2, 0, 0);  /* not */
}

static void moves(void **state)
{
    (void)state;
    all_sizes(false, 0x88, -1, 0, 0);
    all_sizes(false, 0x8a, -1, 0, 0);
    all_sizes(false, 0xc6, 0, 4, 0);
    for (u32 form = 0; form < FORMS; form++)
        for (u32 n = 0; n < 200; n++) {
            static const u8 ops[] = {0xb6, 0xb7, 0xbe, 0xbf};
            u8 code[24];
            struct emit e = emit_to(code, sizeof(code));
            rm(&e, n & 1 ? 8 : 0, true, ops[n % 4], (int)(rnd() & 15) & ~4, form);
            check_one(code, e.pos, 0);
            e.pos = 0;
            rm(&e, n & 1 ? 8 : 0, true, (u8)(0x40 | (n & 15)), (int)(rnd() & 15) & ~4, form); /* cmov */
            check_one(code, e.pos, 0);
            e.pos = 0;
            rm(&e, 0, true, (u8)(0x90 | (n & 15)), 0, form); /* setcc */
            check_one(code, e.pos, 0);
            if (form < 8)
                continue;
            e.pos = 0;
            rm(&e, n & 1 ? 8 : 0, false, 0x8d, (int)(rnd() & 15) & ~4, form);
            check_one(code, e.pos, 0);
        }
    for (u32 n = 0; n < 100; n++) {
        u8 code[24];
        struct emit e = emit_to(code, sizeof(code));
        e_mov_ri32(&e, (int)(rnd() & 15) & ~4, (u32)rnd());
        check_one(code, e.pos, 0);
        e.pos = 0;
        e_mov_ri64(&e, (int)(rnd() & 15) & ~4, rnd());
        check_one(code, e.pos, 0);
        for (u32 form = 0; form < 8; form++) {
            e.pos = 0;
            sized(&e, 1u << (n & 3), false, 0x86, (int)(rnd() & 15) & ~4, form); /* xchg */
            check_one(code, e.pos, 0);
        }
        check_one((const u8[]){0x86, (u8)(0xc0 | (4 + n % 4) << 3 | n % 4)}, 2, 0); /* high, low */
    }
}

static void shifts_and_flags(void **state)
{
    (void)state;
    for (u32 size = 1; size <= 8; size *= 2)
        for (u32 form = 0; form < FORMS; form++)
            for (u32 n = 0; n < 300; n++) {
                static const u8 ext[] = {4, 5, 7};
                u8 code[24], by = (u8)(rnd() & (size == 8 ? 63 : 31));
                struct emit e = emit_to(code, sizeof(code));
                bool one = n & 1;
                sized(&e, size, false, one ? 0xd0 : 0xc0, ext[n % 3], form);
                if (!one)
                    e8(&e, by);
                u32 undefined = one || by == 1 ? AF : AF | OF | (by > 8 * size ? 1 : 0);
                check_one(code, e.pos, !one && !by ? 0 : undefined);
            }
    for (u32 n = 0; n < 400; n++) {
        u8 code[24];
        struct emit e = emit_to(code, sizeof(code));
        check_one((const u8[]){0x9f}, 1, 0);                                             /* lahf */
        check_one((const u8[]){0x9e}, 1, 0);                                             /* sahf */
        check_one((const u8[]){0x0f, 0xba, 0xe0 | R10 % 8, (u8)(rnd() & 31)}, 4, 0x894); /* bt edx */
        check_one((const u8[]){0xf3, 0x45, 0x0f, 0x38, 0xf6, 0xda}, 6, 0);               /* adox r11d, r10d */
        check_one((const u8[]){0xf3, 0x4c, 0x0f, 0x38, 0xf6, 0x1b}, 6, 0);               /* adox r11, [rbx] */
        check_one((const u8[]){0xc4, 0x43, (u8)(n & 1 ? 0x7b : 0xfb), 0xf0, 0xdb, (u8)rnd()}, 6,
                  0);                                                           /* rorx r11, r11 */
        check_one((const u8[]){0xc4, 0xe3, 0x7b, 0xf0, 0xc2, (u8)rnd()}, 6, 0); /* rorx eax, edx */
        e_nops(&e, 1 + n % 9);
        check_one(code, e.pos, 0);
    }
}

/* What cannot run in native(): jumps, the stack, and what must be refused. */
static void jumps(void **state)
{
    (void)state;
    struct host_insn i;
    struct host_state s = {.pc = 0x1000};
    u64 stack[4] = {1, 2, 3, 4};

    for (u32 cc = 0; cc < 16; cc++)
        for (u32 n = 0; n < 200; n++) { /* as setcc, which was compared with the processor */
            u8 set[3] = {0x0f, (u8)(0x90 | cc), 0xc0},
               jump[6] = {0x0f, (u8)(0x80 | cc), 0x78, 0x56, 0x34, 0x12};
            u8 small[2] = {(u8)(0x70 | cc), 0x80};
            s.flags = rnd() & STATUS;
            s.pc = 0x1000;
            assert_true(host_decode(set, &i) && host_exec(&s, &i));
            bool taken = s.r[RAX] & 1;
            s.pc = 0x1000;
            assert_true(host_decode(jump, &i) && i.len == 6 && host_exec(&s, &i));
            assert_int_equal(s.pc, 0x1006 + (taken ? 0x12345678 : 0));
            s.pc = 0x1000;
            assert_true(host_decode(small, &i) && i.len == 2 && host_exec(&s, &i));
            assert_int_equal(s.pc, 0x1002 - (taken ? 0x80 : 0));
        }
    s.pc = 0x1000;
    s.r[RSP] = (u64)(uintptr_t)&stack[2];
    assert_true(host_decode((const u8[]){0xe8, 0xfb, 0xff, 0xff, 0xff}, &i) && host_exec(&s, &i));
    assert_int_equal(s.pc, 0x1000);
    assert_int_equal(stack[1], 0x1005);
    assert_true(host_decode((const u8[]){0xc3}, &i) && host_exec(&s, &i));
    assert_int_equal(s.pc, 0x1005);
    assert_int_equal(s.r[RSP], (u64)(uintptr_t)&stack[2]);
    s.r[R15] = (u64)(uintptr_t)stack;
    assert_true(host_decode((const u8[]){0x41, 0xff, 0x67, 0x18}, &i) &&
                host_exec(&s, &i)); /* jmp [r15 + 18h] */
    assert_int_equal(s.pc, 4);
    assert_true(host_decode((const u8[]){0x41, 0xff, 0x57, 0x18}, &i) && host_exec(&s, &i)); /* call */
    assert_int_equal(s.pc, 4);
    assert_int_equal(stack[1], 8);
    s.flags = 0x246;
    assert_true(host_decode((const u8[]){0x9c}, &i) && host_exec(&s, &i));
    assert_true(host_decode((const u8[]){0x41, 0x5b}, &i) && host_exec(&s, &i));
    assert_int_equal(s.r[R11], 0x246);
    for (u64 rcx = 0; rcx < 2; rcx++) {
        s.r[RCX] = rcx << 32;
        s.pc = 0;
        assert_true(host_decode((const u8[]){0xe3, 5}, &i) && host_exec(&s, &i));
        assert_int_equal(s.pc, rcx ? 2 : 7);
    }
    assert_true(host_decode((const u8[]){0xeb, 0xfe}, &i) && host_exec(&s, &i));
    assert_int_equal(s.pc, 2);
    assert_true(host_decode((const u8[]){0xe9, 1, 0, 0, 0}, &i) && host_exec(&s, &i));
    assert_int_equal(s.pc, 8);
    assert_true(host_decode((const u8[]){0x48, 0x8d, 0x05, 1, 0, 0, 0}, &i) &&
                host_exec(&s, &i)); /* lea [rip + 1] */
    assert_int_equal(s.r[RAX], 16);
}

static bool nothing(void *opaque, u64 addr, u32 size, bool write)
{
    (void)opaque, (void)addr, (void)size, (void)write;
    return false;
}

/* Nothing changes where something is refused. */
static void refused(void **state)
{
    (void)state;
    static const u8 unknown[][8] = {
        {0x65, 0x67, 0xa5}, {0xf3, 0xa4},       {0x0f, 0x05},
        {0xf0, 0x01, 0x03}, {0xd9, 0x03},       {0xf3, 0x0f, 0x10, 0x03},
        {0x0f, 0xa2},       {0x0f, 0x31},       {0xcd, 0x80},
        {0xf7, 0xe3},       {0x67, 0xe3, 0x00}, {0xf3, 0x90},
        {0x0f, 0xba, 0xeb}, {0xc7, 0xf8},       {0x8d, 0xc0},
        {0xf3, 0xc3},       {0xf2, 0x8b, 0xc3}, {0xff, 0xe0},
        {0x41, 0x90},       {0xd3, 0xe0},
    };
    static const u8 memory[][8] = {
        {0x01, 0x03},
        {0x03, 0x03},
        {0x83, 0x03, 1},
        {0x88, 0x03},
        {0x8a, 0x03},
        {0xf7, 0x13},
        {0xc1, 0x23, 3},
        {0x0f, 0xb6, 0x03},
        {0x0f, 0x44, 0x03},
        {0x0f, 0x94, 0x03},
        {0xff, 0x23},
        {0xff, 0x13},
        {0xe8, 0, 0, 0, 0},
        {0xc3},
        {0x9c},
        {0x58},
        {0xf7, 0x03, 1},
        {0x39, 0x03},
    };
    struct host_insn i;

    for (u32 n = 0; n < sizeof(unknown) / sizeof(unknown[0]); n++)
        if (host_decode(unknown[n], &i))
            fail_msg("%02x %02x %02x was decoded", unknown[n][0], unknown[n][1], unknown[n][2]);
    for (u32 n = 0; n < sizeof(memory) / sizeof(memory[0]); n++) {
        struct host_state s = {.access = nothing, .pc = 0x1000, .flags = 0x246}, before;
        u8 guest[9] = {0x65};
        for (int r = 0; r < 16; r++)
            s.r[r] = rnd();
        before = s;
        assert_true(host_decode(memory[n], &i));
        assert_false(host_exec(&s, &i));
        assert_memory_equal(&s, &before, sizeof(s));
        s.access = NULL;
        before = s;
        memcpy(guest + 1, memory[n], 8);
        if (!host_decode(guest, &i) || !i.mem)
            continue;
        assert_false(host_exec(&s, &i));
        assert_memory_equal(&s, &before, sizeof(s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(alu_forms), cmocka_unit_test(moves),
                                       cmocka_unit_test(shifts_and_flags), cmocka_unit_test(jumps),
                                       cmocka_unit_test(refused)};

    page = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    data = (u64 *)(void *)(page + 4096);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
