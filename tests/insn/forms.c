/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The forms: what there is to test. They are not listed but found, by asking the decoder that both engines
 * use about every opcode, mandatory prefix, ModRM.reg and register/memory choice, with a CPU model that has
 * everything (386 to SSE2); so a form that is added to cpu/ or translator/ is a form that must be covered.
 *
 * What is counted is variants of forms: with and without 66, in 16- and 32-bit code, with 16- and 32-bit
 * addresses, lock, repz, repnz, as far as they apply.
 *
 * And the flags that an instruction leaves undefined, with the place where the manual says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <Zydis/Zydis.h>
#include "base/log.h"
#include "insn.h"

struct form *forms;
u32 form_count;

static bool probe(u8 map, u8 op, u8 mand, u8 modrm, u8 lock, struct insn *in)
{
    u8 b[16] = {0};
    u32 n = 0;

    if (lock)
        b[n++] = 0xf0;
    if (mand)
        b[n++] = mand;
    if (map)
        b[n++] = 0x0f;
    b[n++] = op;
    b[n++] = modrm;
    if (insn_decode(cpu_model_find("max"), b, 15, true, in) != 0 || in->fn == insn_ud)
        return false;
    return in->map == map && in->opcode == op;
}

static bool is_string(u8 map, u8 op)
{
    return map == 0 &&
           ((op >= 0x6c && op <= 0x6f) || (op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf));
}

static void add(const struct insn *in, u8 mand, u8 digit, u8 rm, u8 kind)
{
    struct form *f = &forms[form_count++];

    NOVT_ASSERT(form_count <= MAX_FORMS);
    struct insn t;

    *f = (struct form){.map = in->map,
                       .op = in->opcode,
                       .mand = mand,
                       .digit = digit,
                       .rm = rm,
                       .kind = kind,
                       .mnemonic = in->mnemonic,
                       .fpu = in->fpu,
                       .rep = is_string(in->map, in->opcode)};
    u8 modrm = (u8)((kind == FM_REG ? 0xc0 : 0) | (digit == 0xff ? 0 : digit << 3) | (rm == 0xff ? 0 : rm));
    f->opsize = in->fpu < 2 && !mand && probe(in->map, in->opcode, 0x66, modrm, 0, &t);
    f->lock = kind == FM_MEM && probe(in->map, in->opcode, mand, digit == 0xff ? 0 : (u8)(digit << 3), 1, &t);
    f->addresses = kind == FM_MEM || f->rep ||
                   (f->map == 0 && ((f->op >= 0xa0 && f->op <= 0xa3) || f->op == 0xd7 ||
                                    (f->op >= 0xe0 && f->op <= 0xe3))) ||
                   (f->map == 1 && f->op == 0xf7);
}

static void probe_modrm(u8 map, u8 op, u8 mand, u8 kind)
{
    struct insn in[8];
    bool ok[8], all = true;

    if (kind == FM_REG && map == 0 && op >= 0xd8 && op <= 0xdf) { /* x87: rm may select, too */
        for (u8 d = 0; d < 8; d++) {
            bool same = true;
            for (u8 r = 0; r < 8; r++)
                ok[r] = probe(map, op, mand, (u8)(0xc0 | d << 3 | r), 0, &in[r]);
            for (u8 r = 1; r < 8; r++)
                same &= ok[r] == ok[0] && (!ok[r] || in[r].mnemonic == in[0].mnemonic);
            for (u8 r = 0; r < (same ? 1 : 8); r++)
                if (ok[r])
                    add(&in[r], mand, d, same ? 0xff : r, kind);
        }
        return;
    }
    for (u8 d = 0; d < 8; d++) {
        ok[d] = false;
        for (u8 r = 0; r < 8 && !ok[d]; r++) /* some need a certain rm (fences: any) */
            ok[d] = probe(map, op, mand, (u8)((kind == FM_REG ? 0xc0 : 0) | d << 3 | r), 0, &in[d]) &&
                    in[d].has_mem == (kind == FM_MEM);
        all &= ok[d] && in[d].mnemonic == in[0].mnemonic && in[d].fn == in[0].fn;
    }
    for (u8 d = 0; d < (all ? 1 : 8); d++)
        if (ok[d])
            add(&in[d], mand, all ? 0xff : d, 0xff, kind);
}

void forms_init(void)
{
    static const u8 mands[] = {0, 0x66, 0xf3, 0xf2};

    for (u32 map = 0; map < 2; map++)
        for (u32 op = 0; op < 256; op++)
            for (u32 m = 0; m < 4; m++) {
                struct insn in, t;
                bool mem = probe((u8)map, (u8)op, mands[m], 0x00, 0, &in), any = mem;
                for (u32 b = 1; b < 256 && !any; b++)
                    any = probe((u8)map, (u8)op, mands[m], (u8)b, 0, &in);
                if (!any)
                    continue;
                /* prefixes select among SIMD instructions only; F3 90 is a mnemonic of its own */
                if (m && in.fpu < 2 && !(map == 0 && op == 0x90 && m == 2))
                    continue;
                if (m && probe((u8)map, (u8)op, 0, 0xc0, 0, &t) && t.fpu < 2 && map)
                    continue;
                if (!in.has_modrm) {
                    add(&in, mands[m], 0xff, 0xff, FM_NONE);
                    continue;
                }
                probe_modrm((u8)map, (u8)op, mands[m], FM_MEM);
                probe_modrm((u8)map, (u8)op, mands[m], FM_REG);
            }
}

u32 form_variant(const struct form *f, const struct insn *in, bool cs32)
{
    u32 rep = !f->rep ? 0 : in->pfx & PFX_REP ? 1 : in->pfx & PFX_REPNE ? 2 : 0;
    u32 p66 = f->opsize && (in->pfx & PFX_66) ? 1 : 0;

    return cs32 | p66 << 1 | (f->addresses && in->adsize == 4) << 2 | (f->lock && (in->pfx & PFX_LOCK)) << 3 |
           rep << 4;
}

bool form_variant_exists(const struct form *f, u32 v)
{
    return !((v & 2) && !f->opsize) && !((v & 4) && !f->addresses) && !((v & 8) && !f->lock) &&
           v >> 4 <= (f->rep ? 2u : 0u);
}

void form_name(const struct form *f, char *buf, size_t size)
{
    char p[8] = "", d[8] = "", r[12] = "";
    const char *m = ZydisMnemonicGetString(f->mnemonic);

    if (f->mand)
        snprintf(p, sizeof(p), "%02x ", f->mand);
    if (f->digit != 0xff)
        snprintf(d, sizeof(d), " /%u", f->digit);
    if (f->rm != 0xff)
        snprintf(r, sizeof(r), " rm=%u", f->rm);
    snprintf(buf, size, "%s %s%s%02x%s%s%s", m ? m : "?", p, f->map ? "0f " : "", f->op, d, r,
             f->kind == FM_MEM   ? " mem"
             : f->kind == FM_REG ? " reg"
                                 : "");
}

/* ---- undefined flags: SDM vol. 2, "Flags Affected" of each instruction; vol. 1, appendix A ---- */

static u32 shift_undefined(const struct insn *in, const struct icase *c)
{
    u32 count = in->opcode == 0xd0 || in->opcode == 0xd1   ? 1
                : in->opcode == 0xc0 || in->opcode == 0xc1 ? in->imm
                                                           : c->gpr[R_ECX];
    u32 bits = !(in->opcode & 1) ? 8 : in->opsize * 8u;

    count &= 31;
    if (!count)
        return 0;
    if (in->reg < 4) /* rotates: OF for counts above 1 */
        return count == 1 ? 0 : FL_OF;
    /* AF always; OF for counts above 1; CF where the count reaches the operand size (not SAR) */
    return FL_AF | (count > 1 ? FL_OF : 0) | (count >= bits && in->reg != 7 ? FL_CF : 0);
}

u32 undefined_flags(const struct insn *in, const struct icase *c)
{
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_AND: /* SDM vol. 2A AND; OR, XOR, TEST the same: AF */
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_TEST:
        return FL_AF;
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_IMUL:
        return FL_SF | FL_ZF | FL_AF | FL_PF;
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
        return FL_ARITH;
    case ZYDIS_MNEMONIC_AAA:
    case ZYDIS_MNEMONIC_AAS:
        return FL_OF | FL_SF | FL_ZF | FL_PF;
    case ZYDIS_MNEMONIC_AAM:
    case ZYDIS_MNEMONIC_AAD:
        return FL_OF | FL_AF | FL_CF;
    case ZYDIS_MNEMONIC_DAA:
    case ZYDIS_MNEMONIC_DAS:
        return FL_OF;
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
        return FL_CF | FL_OF | FL_SF | FL_AF | FL_PF;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        return FL_OF | FL_SF | FL_AF | FL_PF;
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD: {
        u32 count = (in->opcode & 1 ? c->gpr[R_ECX] : in->imm) & 31;
        if (!count)
            return 0;
        return count > in->opsize * 8u ? FL_ARITH : FL_AF | (count > 1 ? FL_OF : 0);
    }
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
        return shift_undefined(in, c);
    default:
        return 0;
    }
}
