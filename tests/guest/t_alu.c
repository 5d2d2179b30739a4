/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Results and flags of the integer instructions over many operands, as one hash an instruction.
 *
 * The expected hashes (alu_expect.h) were made by this very file compiled for the host (ALU_HOST, see
 * README.md) on a real processor. Flags that the manual leaves undefined are masked out.
 */
#ifdef ALU_HOST
#include <stdint.h>
#include <stdio.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
enum { FL_CF = 1, FL_PF = 4, FL_AF = 16, FL_ZF = 64, FL_SF = 128, FL_OF = 0x800 };
#else
#include "kernel.h"
#endif

enum { ARITH = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF, NO_AF = ARITH & ~FL_AF, CO = FL_CF | FL_OF };

static u32 alu_seed, alu_hash_value;

static u32 alu_rand(void)
{
    alu_seed ^= alu_seed << 13;
    alu_seed ^= alu_seed >> 17;
    alu_seed ^= alu_seed << 5;
    return alu_seed;
}

static u32 alu_value(void)
{
    static const u32 edges[] = {0,      1,      2,      0x7f,       0x80,       0xff,      0x100,
                                0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff};
    u32 r = alu_rand();
    return r & 0x300 ? r * 2654435761u : edges[r % 13];
}

static void alu_mix(u32 v)
{
    alu_hash_value = (alu_hash_value ^ v) * 16777619u;
    alu_hash_value ^= alu_hash_value >> 15;
}

/* One instruction on eax, edx, ecx with flags in and out. */
#define RUN(text, mask)                                                                                      \
    do {                                                                                                     \
        u32 a = alu_value(), d = alu_value(), c = alu_value(), f = (alu_rand() & ARITH) | 2;                 \
        asm volatile("pushl %3\n\tpopfl\n\t" text "\n\tpushfl\n\tpopl %3"                                    \
                     : "+a"(a), "+d"(d), "+c"(c), "+r"(f)                                                    \
                     :                                                                                       \
                     : "cc", "memory");                                                                      \
        alu_mix(a), alu_mix(d), alu_mix(c), alu_mix(f &(mask));                                              \
    } while (0)

/* clang-format off */
#define SIZES(X, n, op, mask)                                                                                \
    X(n##_b, op "b %%dl, %%al", mask) X(n##_w, op "w %%dx, %%ax", mask) X(n##_l, op "l %%edx, %%eax", mask)
#define ONE(X, n, op, mask)                                                                                  \
    X(n##_b, op "b %%al", mask) X(n##_w, op "w %%ax", mask) X(n##_l, op "l %%eax", mask)
/* Shifts by cl: OF is defined for counts of one only, AF never, and the rest only when the count is within
 * the size; counts are masked to what keeps them defined. */
#define SHIFT(X, n, op, mask)                                                                                \
    X(n##_1b, op "b $1, %%al", mask)                                                                         \
    X(n##_1l, op "l $1, %%eax", mask)                                                                        \
    X(n##_5l, op "l $5, %%eax", (mask) & ~FL_OF)                                                             \
    X(n##_3w, op "w $3, %%ax", (mask) & ~FL_OF)                                                              \
        X(n##_clb, "pushfl\n\tandb $7, %%cl\n\tpopfl\n\t" op "b %%cl, %%ah", (mask) & ~FL_OF)                \
            X(n##_clw, "pushfl\n\tandb $15, %%cl\n\tpopfl\n\t" op "w %%cl, %%ax", (mask) & ~FL_OF)           \
                X(n##_cll, op "l %%cl, %%eax", (mask) & ~FL_OF)

#define ALU_OPS(X)                                                                                           \
    SIZES(X, add, "add", ARITH)                                                                              \
    SIZES(X, adc, "adc", ARITH)                                                                              \
    SIZES(X, sub, "sub", ARITH)                                                                              \
    SIZES(X, sbb, "sbb", ARITH) SIZES(X, cmp, "cmp", ARITH) SIZES(X, and, "and", NO_AF)                      \
        SIZES(X, or, "or", NO_AF) SIZES(X, xor, "xor", NO_AF) SIZES(X, test, "test", NO_AF)                  \
            SIZES(X, xadd, "xadd", ARITH) SIZES(X, xchg, "xchg", ARITH) SIZES(                               \
                X, cmpxchg, "movl %%ecx, %%edx\n\tcmpxchg", ARITH) ONE(X, inc, "inc", ARITH)                 \
                ONE(X, dec, "dec", ARITH) ONE(X, neg, "neg", ARITH) ONE(X, not, "not", ARITH) SHIFT(         \
                    X, shl, "shl", NO_AF) SHIFT(X, shr, "shr", NO_AF) SHIFT(X, sar, "sar", NO_AF)            \
                    SHIFT(X, rol, "rol", ARITH) SHIFT(X, ror, "ror", ARITH) SHIFT(X, rcl, "rcl", ARITH)      \
                        SHIFT(X, rcr, "rcr", ARITH) X(shld_5, "shldl $5, %%edx, %%eax", NO_AF & ~FL_OF) X(   \
                            shrd_cl, "shrdl %%cl, %%edx, %%eax",                                             \
                            NO_AF & ~FL_OF) X(shld_1, "shldl $1, %%edx, %%eax", NO_AF)                       \
                            X(shrdw_3, "shrdw $3, %%dx, %%ax", NO_AF & ~FL_OF) X(mul_b, "mulb %%dl", CO) X(  \
                                mul_w,                                                                       \
                                "mulw %%cx", CO) X(mul_l, "mull %%ecx",                                      \
                                                   CO) X(imul_b, "imulb %%dl",                               \
                                                         CO) X(imul_w, "imulw %%cx",                         \
                                                               CO) X(imul_l, "imull %%ecx", CO)              \
                                X(imul2_w, "imulw %%dx, %%ax", CO) X(imul2_l, "imull %%edx, %%eax", CO) X(   \
                                    imul3_l, "imull $-77, %%edx, %%eax",                                     \
                                    CO) X(imul3_w, "imulw $12345, %%dx, %%ax", CO)                           \
                                    X(div_l, "xorl %%edx, %%edx\n\torl $1, %%ecx\n\tdivl %%ecx",             \
                                      0) X(div_w, "xorl %%edx, %%edx\n\torl $1, %%ecx\n\tdivw %%cx",         \
                                           0) X(div_b, "movzbl %%al, %%eax\n\torl $1, %%ecx\n\tdivb %%cl",   \
                                                0)                                                           \
                                        X(div_64,                                                            \
                                          "orl $0x80000000, %%ecx\n\tandl $0x7fffffff, %%edx\n\tdivl %%ecx", \
                                          0) X(idiv_l,                                                       \
                                               "sarl $1, %%eax\n\tcltd\n\torl $1, %%ecx\n\tidivl %%ecx",     \
                                               0) X(idiv_w,                                                  \
                                                    "sarw $1, %%ax\n\tcwtd\n\torl $1, %%ecx\n\tidivw %%cx",  \
                                                    0) X(idiv_b,                                             \
                                                         "sarb $1, %%al\n\tcbtw\n\torl $1, %%ecx\n\tidivb "  \
                                                         "%%cl",                                             \
                                                         0) X(daa, "daa", ARITH & ~FL_OF)                    \
                                            X(das, "das", ARITH & ~FL_OF) X(aaa, "aaa", FL_CF | FL_AF) X(    \
                                                aas, "aas", FL_CF | FL_AF) X(aam,                            \
                                                                             "aam", FL_SF | FL_ZF | FL_PF)   \
                                                X(aad, "aad", FL_SF | FL_ZF | FL_PF) X(                      \
                                                    aam7,                                                    \
                                                    "aam $7",                                                \
                                                    FL_SF | FL_ZF |                                          \
                                                        FL_PF) X(aad3, "aad $3", FL_SF | FL_ZF | FL_PF)      \
                                                    X(cbtw, "cbtw", ARITH) X(cwtl, "cwtl", ARITH) X(         \
                                                        cwtd,                                                \
                                                        "cwtd",                                              \
                                                        ARITH) X(cltd, "cltd",                               \
                                                                 ARITH) X(bswap, "bswapl %%eax", ARITH)      \
                                                        X(movsx_b, "movsbl %%dl, %%eax", ARITH) X(           \
                                                            movzx_w, "movzwl %%dx, %%eax",                   \
                                                            ARITH) X(movsx_bw, "movsbw %%dh, %%ax", ARITH)   \
                                                            X(movzx_bh, "movzbl %%dh, %%eax", ARITH) X(      \
                                                                bsf,                                         \
                                                                "orl $0x80000000, %%edx\n\tbsfl %%edx, "     \
                                                                "%%eax",                                     \
                                                                FL_ZF) X(bsr,                                \
                                                                         "orl $1, %%edx\n\tbsrl %%edx, "     \
                                                                         "%%eax",                            \
                                                                         FL_ZF) X(bt, "btl %%ecx, %%eax",    \
                                                                                  FL_CF)                     \
                                                                X(bts, "btsl %%ecx, %%eax", FL_CF) X(        \
                                                                    btr, "btrl %%ecx, %%eax",                \
                                                                    FL_CF) X(btc, "btcl %%ecx, %%eax",       \
                                                                             FL_CF)                          \
                                                                    X(bt_i, "btl $37, %%eax", FL_CF) X(      \
                                                                        btc_w, "btcw %%cx, %%ax", FL_CF)     \
                                                                        X(setcc,                             \
                                                                          "setg %%al\n\tsetbe %%ah\n\tsetp " \
                                                                          "%%dl\n\tsets %%dh",               \
                                                                          ARITH) X(cmov,                     \
                                                                                   "cmovl %%edx, "           \
                                                                                   "%%eax\n\tcmova %%ecx, "  \
                                                                                   "%%edx\n\tcmovo %%eax, "  \
                                                                                   "%%ecx\n\tcmovnp %%cx, "  \
                                                                                   "%%dx",                   \
                                                                                   ARITH)                    \
                                                                            X(salc, ".byte 0xd6", ARITH) X(  \
                                                                                sahf, "sahf",                \
                                                                                ARITH) X(lahf, "lahf",       \
                                                                                         ARITH)              \
                                                                                X(cmc, "cmc", ARITH) X(      \
                                                                                    high,                    \
                                                                                    "addb %%ah, "            \
                                                                                    "%%dl\n\tsubb %%dh, "    \
                                                                                    "%%ah\n\txorb %%ch, "    \
                                                                                    "%%al\n\tmovb %%dh, "    \
                                                                                    "%%ch\n\txchgb %%ah, "   \
                                                                                    "%%cl",                  \
                                                                                    NO_AF)                   \
                                                                                    X(lea,                   \
                                                                                      "leal "                \
                                                                                      "0x1234(%%eax,%%edx,"  \
                                                                                      "4), %%ecx\n\tleaw "   \
                                                                                      "(%%eax,%%ecx,2), "    \
                                                                                      "%%dx",                \
                                                                                      ARITH)                 \
                                                                                        X(stack,             \
                                                                                          "pushl "           \
                                                                                          "%%eax\n\tpushw "  \
                                                                                          "%%dx\n\tpopw "    \
                                                                                          "%%cx\n\tpopl "    \
                                                                                          "%%edx",           \
                                                                                          ARITH)             \
                                                                                            X(pusha,         \
                                                                                              "pushal\n\tad" \
                                                                                              "dl $7, "      \
                                                                                              "28(%%esp)"    \
                                                                                              "\n\tpopal",   \
                                                                                              ARITH)
/* clang-format on */

#ifdef ALU_HOST
#define CHECK_OP(n) printf("#define ALU_EXPECT_%s 0x%08xu\n", #n, alu_hash_value)
#else
#include "alu_expect.h"
#define CHECK_OP(n) check_eq(#n, alu_hash_value, ALU_EXPECT_##n)
#endif

#define X(n, text, mask)                                                                                     \
    static __attribute__((noinline)) void alu_##n(void)                                                      \
    {                                                                                                        \
        alu_seed = 2463534242u;                                                                              \
        alu_hash_value = 2166136261u;                                                                        \
        for (u32 i = 0; i < 1500; i++)                                                                       \
            RUN(text, mask);                                                                                 \
        CHECK_OP(n);                                                                                         \
    }
ALU_OPS(X)
#undef X

#ifdef ALU_HOST
int main(void)
{
    printf("/* SPDX-License-Identifier: GPL-2.0-or-later */\n"
           "/* Made by t_alu.c on a real processor; see README.md. */\n");
#else
void test_alu(void)
{
#endif
#define X(n, text, mask) alu_##n();
    ALU_OPS(X)
#undef X
}
