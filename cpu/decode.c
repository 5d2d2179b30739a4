/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoding: bytes -> struct insn, through Zydis.
 *
 * Zydis finds the length, validates the encoding and knows operand sizes and flags. Everything that Zydis
 * does not publish in the form we want (base and index of 16-bit forms, the effective segment, prefix masks)
 * is taken from the raw bytes here.
 *
 * What this file adds to Zydis is *when an encoding does not exist*: Zydis decodes a current CPU, the guest
 * runs on an old one. feature_ok() maps Zydis' ISA sets to the model's CPUID bits; what is beyond the model
 * decodes to an insn whose fn raises #UD. The decoder modes that give new meanings to old encodings (lzcnt,
 * tzcnt, MPX, CET, cldemote) are off, so F3 0F BD is bsr and 0F 1E is a nop, as on the old CPUs. VEX, EVEX,
 * XOP and 3DNow! never decode.
 *
 * Flags: fl_write holds everything that the instruction may change, including flags that the manual calls
 * undefined; fl_read additionally holds what is written only conditionally (shifts by CL, rep cmps with a
 * count of 0), so that a flag is dead only if it surely is.
 *
 * Heavy code: Zydis uses libc. Callers park the guest FPU first.
 */
#include <string.h>
#include <Zydis/Zydis.h>
#include "cpu/decode.h"

static void decoder_init(ZydisDecoder *d, bool cs32)
{
    static const ZydisDecoderMode off[] = {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET,
                                           ZYDIS_DECODER_MODE_LZCNT, ZYDIS_DECODER_MODE_TZCNT,
                                           ZYDIS_DECODER_MODE_CLDEMOTE};
    ZydisDecoderInit(d, cs32 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16,
                     cs32 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
    for (size_t n = 0; n < ARRAY_SIZE(off); n++)
        ZydisDecoderEnableMode(d, off[n], ZYAN_FALSE);
}

int insn_ud(struct vcpu *v, const struct insn *i)
{
    return cpu_raise(v, EXC_UD);
}

/* Reads the legacy prefixes. Returns their number; stops at avail. */
static u32 scan_prefixes(const u8 *b, u32 avail, struct insn *out)
{
    u32 n = 0;

    out->seg_over = S_NONE;
    for (; n < avail; n++) {
        switch (b[n]) {
        case 0x26:
            out->seg_over = S_ES;
            break;
        case 0x2e:
            out->seg_over = S_CS;
            break;
        case 0x36:
            out->seg_over = S_SS;
            break;
        case 0x3e:
            out->seg_over = S_DS;
            break;
        case 0x64:
            out->seg_over = S_FS;
            break;
        case 0x65:
            out->seg_over = S_GS;
            break;
        case 0x66:
            out->pfx |= PFX_66;
            break;
        case 0x67:
            out->pfx |= PFX_67;
            break;
        case 0xf0:
            out->pfx |= PFX_LOCK;
            break;
        case 0xf2: /* of F2 and F3 the last one counts */
            out->pfx = (out->pfx & ~PFX_REP) | PFX_REPNE;
            break;
        case 0xf3:
            out->pfx = (out->pfx & ~PFX_REPNE) | PFX_REP;
            break;
        default:
            return n;
        }
    }
    return n;
}

/* Base, index, scale, displacement and default segment of the ModRM memory operand (SDM vol. 2, tables 2-1 to
 * 2-3). */
static void fill_mem(struct insn *out, const ZydisDecodedInstruction *z)
{
    static const u8 base16[8] = {R_EBX, R_EBX, R_EBP, R_EBP, R_ESI, R_EDI, R_EBP, R_EBX};
    static const u8 index16[8] = {R_ESI, R_EDI, R_ESI, R_EDI, NOREG, NOREG, NOREG, NOREG};

    out->has_mem = 1;
    out->scale = 1;
    if (out->adsize == 2) {
        out->base = out->mod == 0 && out->rm == 6 ? NOREG : base16[out->rm];
        out->index = index16[out->rm];
    } else if (out->rm == 4) {
        out->base = z->raw.sib.base == 5 && out->mod == 0 ? NOREG : z->raw.sib.base;
        out->index = z->raw.sib.index == 4 ? NOREG : z->raw.sib.index;
        out->scale = 1 << (out->raw[out->modrm_off + 1] >> 6);
    } else {
        out->base = out->mod == 0 && out->rm == 5 ? NOREG : out->rm;
    }
    out->disp = z->raw.disp.size ? (i32)z->raw.disp.value : 0;
    if (out->seg_over == S_NONE && (out->base == R_EBP || out->base == R_ESP))
        out->seg = S_SS;
}

/* Is the instruction (of the legacy encoding) part of the model? */
static bool feature_ok(const struct cpu_model *m, const ZydisDecodedInstruction *z)
{
    u32 f = m->features, x = m->featuresx;

    switch (z->meta.isa_set) {
    case ZYDIS_ISA_SET_I86:
    case ZYDIS_ISA_SET_I186:
    case ZYDIS_ISA_SET_I286REAL:
    case ZYDIS_ISA_SET_I286PROTECTED:
    case ZYDIS_ISA_SET_I386:
    case ZYDIS_ISA_SET_LAHF:
    case ZYDIS_ISA_SET_PAUSE: /* rep nop where it has no meaning of its own */
        return true;
    case ZYDIS_ISA_SET_I486:
    case ZYDIS_ISA_SET_I486REAL:
        if (z->mnemonic == ZYDIS_MNEMONIC_CPUID)
            return x & CPUFX_CPUID;
        return x & CPUFX_486;
    case ZYDIS_ISA_SET_PENTIUMREAL:
        switch (z->mnemonic) {
        case ZYDIS_MNEMONIC_RDTSC:
            return f & CPUF_TSC;
        case ZYDIS_MNEMONIC_CMPXCHG8B:
            return f & CPUF_CX8;
        default:
            return f & CPUF_MSR;
        }
    case ZYDIS_ISA_SET_RDPMC:
    case ZYDIS_ISA_SET_FAT_NOP:
        return x & CPUFX_P6;
    case ZYDIS_ISA_SET_PPRO:
        if (z->mnemonic == ZYDIS_MNEMONIC_SYSENTER || z->mnemonic == ZYDIS_MNEMONIC_SYSEXIT)
            return f & CPUF_SEP;
        if (z->meta.isa_ext == ZYDIS_ISA_EXT_X87) /* fcomi and friends */
            return (f & CPUF_FPU) && (f & CPUF_CMOV);
        return x & CPUFX_P6;
    case ZYDIS_ISA_SET_CMOV:
        return f & CPUF_CMOV;
    case ZYDIS_ISA_SET_X87:
        return true; /* without an FPU, CR0.EM decides */
    case ZYDIS_ISA_SET_FCMOV:
        return (f & CPUF_FPU) && (f & CPUF_CMOV);
    case ZYDIS_ISA_SET_PENTIUMMMX:
        switch (z->opcode) {
        case 0x70: /* the MMX instructions that came with SSE */
        case 0xc4:
        case 0xc5:
        case 0xd7:
        case 0xda:
        case 0xde:
        case 0xe0:
        case 0xe3:
        case 0xe4:
        case 0xe7:
        case 0xea:
        case 0xee:
        case 0xf6:
        case 0xf7:
            return f & CPUF_SSE;
        default:
            return f & CPUF_MMX;
        }
    case ZYDIS_ISA_SET_FXSAVE:
        return f & CPUF_FXSR;
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSEMXCSR:
        return f & CPUF_SSE;
    case ZYDIS_ISA_SET_SSE_PREFETCH: /* hint nops on a P6 without SSE */
        return (f & CPUF_SSE) || (x & CPUFX_P6);
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
        return f & CPUF_SSE2;
    case ZYDIS_ISA_SET_CLFSH:
        return f & CPUF_CLFSH;
    default:
        return false;
    }
}

static u8 fpu_class(const ZydisDecodedInstruction *z)
{
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_SFENCE: /* no FPU state involved */
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_MOVNTI:
        return 0;
    default:
        break;
    }
    switch (z->meta.isa_set) {
    case ZYDIS_ISA_SET_X87:
    case ZYDIS_ISA_SET_FCMOV:
    case ZYDIS_ISA_SET_FXSAVE:
        return 1;
    case ZYDIS_ISA_SET_PPRO:
        return z->meta.isa_ext == ZYDIS_ISA_EXT_X87 ? 1 : 0;
    case ZYDIS_ISA_SET_PENTIUMMMX:
    case ZYDIS_ISA_SET_SSE2MMX:
        return 2;
    case ZYDIS_ISA_SET_SSE:
        return z->meta.isa_ext == ZYDIS_ISA_EXT_MMX ? 2 : 3;
    case ZYDIS_ISA_SET_SSEMXCSR:
    case ZYDIS_ISA_SET_SSE2:
        return 3;
    default:
        return 0;
    }
}

/* Flags that an instruction leaves alone for some operand values must count as read too. */
static u32 conditional_flags(const struct insn *i)
{
    if (i->map == 0) {
        switch (i->opcode) {
        case 0xa6: /* cmps, scas: a count of 0 */
        case 0xa7:
        case 0xae:
        case 0xaf:
            return i->pfx & (PFX_REP | PFX_REPNE) ? FL_ARITH : 0;
        case 0xc0: /* by immediate: a count of 0, and rotates that leave some flags alone */
        case 0xc1:
            return (i->imm & 31) == 0 || i->reg < 4 ? FL_ARITH : FL_AF;
        case 0xd0:
        case 0xd1:
            return FL_AF;
        case 0xd2:
        case 0xd3:
            return FL_ARITH;
        default:
            return 0;
        }
    }
    if (i->map == 1) {
        switch (i->opcode) {
        case 0xa4: /* shld, shrd */
        case 0xac:
            return (i->imm & 31) == 0 || i->opsize == 2 ? FL_ARITH : FL_AF;
        case 0xa5:
        case 0xad:
        case 0xbc: /* bsf, bsr: real CPUs leave the undefined flags alone */
        case 0xbd:
            return FL_ARITH;
        default:
            return 0;
        }
    }
    return 0;
}

/* Instructions that store, or may switch away with, all of EFLAGS. */
static bool stores_flags(const struct insn *i)
{
    if (i->map == 1)
        return i->opcode == 0x34 || i->opcode == 0x35 || i->opcode == 0x0b;
    if (i->map != 0)
        return false;
    switch (i->opcode) {
    case 0x9a:
    case 0x9c:
    case 0xca:
    case 0xcb:
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
    case 0xea:
    case 0xf1:
    case 0xf4:
        return true;
    case 0xff:
        return i->reg == 3 || i->reg == 5;
    default:
        return false;
    }
}

u16 insn_flags_read(const struct insn *i, u32 rd, u32 wr)
{
    return (u16)((rd | (conditional_flags(i) & wr)) & FL_HOST);
}

static void fill_flags(struct insn *out, const ZydisDecodedInstruction *z, struct insn_shape *shape)
{
    u32 rd = 0, wr = 0;

    if (z->cpu_flags) {
        const ZydisAccessedFlags *f = z->cpu_flags;
        rd = f->tested;
        wr = f->modified | f->set_0 | f->set_1 | f->undefined;
    }
    if (stores_flags(out))
        rd |= FL_HOST;
    if (out->map == 0 &&
        ((out->opcode >= 0xa4 && out->opcode <= 0xa7) || (out->opcode >= 0xaa && out->opcode <= 0xaf) ||
         (out->opcode >= 0x6c && out->opcode <= 0x6f)))
        rd |= FL_DF;
    shape->rd = (u16)(rd & FL_HOST);
    shape->imm_flags = (out->map == 0 && (out->opcode == 0xc0 || out->opcode == 0xc1)) ||
                       (out->map == 1 && (out->opcode == 0xa4 || out->opcode == 0xac));
    out->fl_read = insn_flags_read(out, rd, wr);
    out->fl_write = wr & FL_HOST;
}

/* Bytes that the ModRM memory operand accesses. */
static u16 mem_size(const ZydisDecoder *d, const ZydisDecoderContext *ctx, const ZydisDecodedInstruction *z)
{
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];

    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_LEA:
    case ZYDIS_MNEMONIC_INVLPG:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_CLFLUSH:
        return 0;
    default:
        break;
    }
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeOperands(d, ctx, z, ops, z->operand_count)))
        return 0;
    for (u32 n = 0; n < z->operand_count; n++) {
        if (ops[n].type == ZYDIS_OPERAND_TYPE_MEMORY && ops[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
            return ops[n].mem.type == ZYDIS_MEMOP_TYPE_MEM ? ops[n].size / 8 : 0;
    }
    return 0;
}

/* Fills what a #UD insn still has: enough for dumps and for the translator to end its unit. */
static int make_ud(struct insn *out, const u8 *b, u32 len)
{
    out->len = len < 1 ? 1 : len > INSN_MAX ? INSN_MAX : len;
    out->imm_off = out->len;
    out->mnemonic = ZYDIS_MNEMONIC_INVALID;
    out->memsize = 0;
    out->fpu = 0;
    out->thunk = NULL;
    out->fl_read = FL_HOST;
    memcpy(out->raw, b, out->len);
    out->fn = insn_ud;
    return 0;
}

int insn_decode(const struct cpu_model *model, const u8 *bytes, u32 avail, bool cs32, struct insn *out)
{
    struct insn_shape shape;

    return insn_decode_shape(model, bytes, avail, cs32, out, &shape);
}

int insn_decode_shape(const struct cpu_model *model, const u8 *bytes, u32 avail, bool cs32, struct insn *out,
                      struct insn_shape *shape)
{
    ZydisDecoder d;
    ZydisDecoderContext ctx;
    ZydisDecodedInstruction z;
    ZyanStatus st;
    u32 n;

    memset(out, 0, sizeof(*out));
    out->base = out->index = NOREG;
    if (avail > INSN_MAX)
        avail = INSN_MAX;
    n = scan_prefixes(bytes, avail, out);
    out->opsize = cs32 == !(out->pfx & PFX_66) ? 4 : 2;
    out->adsize = cs32 == !(out->pfx & PFX_67) ? 4 : 2;
    out->seg = out->seg_over == S_NONE ? S_DS : out->seg_over;
    out->opc_off = n;
    if (n == avail)
        return avail == INSN_MAX ? 1 : -1;

    /* C4, C5 and 62 with a register operand, and 8F /1-7, are VEX, EVEX and XOP to Zydis: no model has them,
     * and it must not ask for more bytes than an old CPU would look at. */
    out->opcode = bytes[n];
    if (bytes[n] == 0xc4 || bytes[n] == 0xc5 || bytes[n] == 0x62 || bytes[n] == 0x8f) {
        if (n + 1 == avail)
            return avail == INSN_MAX ? 1 : -1;
        if (bytes[n] == 0x8f ? bytes[n + 1] & 0x38 : bytes[n + 1] >= 0xc0)
            return make_ud(out, bytes, n + 2);
    }

    decoder_init(&d, cs32);
    st = ZydisDecoderDecodeInstruction(&d, &ctx, bytes, avail, &z);
    if (st == ZYDIS_STATUS_NO_MORE_DATA && avail < INSN_MAX)
        return -1;
    if (st == ZYDIS_STATUS_NO_MORE_DATA || st == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
        return 1;
    if (!ZYAN_SUCCESS(st)) {
        if (bytes[n] != 0x0f)
            return make_ud(out, bytes, n + 1);
        out->map = 1;
        if (n + 1 < avail)
            out->opcode = bytes[n + 1];
        return make_ud(out, bytes, n + 2 <= avail ? n + 2 : avail);
    }

    out->len = z.length;
    out->map = z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT ? 0
               : z.opcode_map == ZYDIS_OPCODE_MAP_0F    ? 1
               : z.opcode_map == ZYDIS_OPCODE_MAP_0F38  ? 2
                                                        : 3;
    out->opcode = z.opcode;
    memcpy(out->raw, bytes, z.length);
    if (z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || !feature_ok(model, &z))
        return make_ud(out, bytes, z.length);

    out->mnemonic = z.mnemonic;
    out->imm_off = z.length;
    if (z.attributes & ZYDIS_ATTRIB_HAS_MODRM) {
        out->has_modrm = 1;
        out->modrm_off = z.raw.modrm.offset;
        out->mod = z.raw.modrm.mod;
        out->reg = z.raw.modrm.reg;
        out->rm = z.raw.modrm.rm;
        if (out->map == 1 && out->opcode >= 0x20 && out->opcode <= 0x23) {
            out->mod = 3; /* mov to and from CR and DR ignore mod; there is no lock form below CR8 */
            if (out->pfx & PFX_LOCK)
                return make_ud(out, bytes, z.length);
        }
        if (out->mod != 3) {
            fill_mem(out, &z);
            out->memsize = mem_size(&d, &ctx, &z);
        }
    }
    shape->imm_bytes = 0;
    shape->imm_signed = false;
    if (z.raw.imm[0].size) {
        shape->imm_bytes = z.raw.imm[0].size / 8;
        shape->imm_signed = z.raw.imm[0].is_signed;
        out->imm = (u32)z.raw.imm[0].value.u;
        out->imm_off = z.raw.imm[0].offset;
        if (z.raw.imm[1].size)
            out->imm2 = (u32)z.raw.imm[1].value.u;
    } else if (!out->has_modrm && z.raw.disp.size) { /* mov acc, moffs */
        shape->imm_bytes = z.raw.disp.size / 8;
        out->imm = (u32)z.raw.disp.value & (out->adsize == 2 ? 0xffff : ~0u);
        out->imm_off = z.raw.disp.offset;
    }
    fill_flags(out, &z, shape);
    out->fpu = fpu_class(&z);

    out->fn = sys_lookup(out);
    if (!out->fn)
        out->fn = fpu_lookup(out);
    if (!out->fn)
        out->fn = int_lookup(out);
    if (!out->fn)
        return make_ud(out, bytes, z.length);
    out->sensitive = insn_sensitive(out);
    return 0;
}

void insn_format(const struct insn *i, u32 eip, bool cs32, char *buf, size_t size)
{
    ZydisDecoder d;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    ZydisFormatter f;

    decoder_init(&d, cs32);
    ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
    if (i->mnemonic == ZYDIS_MNEMONIC_INVALID ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, i->raw, i->len, &z, ops)) ||
        !ZYAN_SUCCESS(
            ZydisFormatterFormatInstruction(&f, &z, ops, z.operand_count_visible, buf, size, eip, NULL))) {
        static const char hex[] = "0123456789abcdef";
        size_t p = 0;
        const char *t = "(bad)";
        while (*t && p + 1 < size)
            buf[p++] = *t++;
        for (u32 n = 0; n < i->len && p + 4 < size; n++) {
            buf[p++] = ' ';
            buf[p++] = hex[i->raw[n] >> 4];
            buf[p++] = hex[i->raw[n] & 15];
        }
        if (size)
            buf[p] = 0;
    }
}
