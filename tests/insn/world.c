/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The world that every case runs in: pages, segments, exits. One description, from which native.c makes host
 * mappings and LDT entries and engine.c guest page tables and a guest LDT, byte for byte the same.
 */
#include <string.h>
#include "insn.h"

/* Each pair of kinds is adjacent somewhere, so that operands can cross from any into any. */
const u8 page_kind[REGION_PAGES] = {
    PK_ABSENT, PK_RW,     PK_RW, PK_ABSENT, PK_RO, PK_RW,     PK_ABSENT, PK_RW,
    PK_RO,     PK_ABSENT, PK_RW, PK_RW,     PK_RX, PK_ABSENT, PK_RX,     PK_RX,
};

const struct segment segments[SG_COUNT] = {
    [SG_ZERO] = {0, 0xffff, 0, .big = true},
    [SG_CODE32] = {0, 0xfffff, 2, .pages = true, .big = true},
    [SG_DATA32] = {0, 0xfffff, 0, .pages = true, .big = true},
    [SG_CODE16] = {BASE, 0xffff, 2},
    [SG_DATA16] = {BASE, 0xffff, 0},
    [SG_CODE32B] = {BASE, 0xffff, 2, .big = true},
    [SG_DATA32B] = {BASE, 0xffff, 0, .big = true},
    [SG_SMALL] = {BASE, 0x1ffa, 0, .big = true},
    [SG_RO] = {BASE, 0xffff, 0, .ro = true, .big = true},
    [SG_DOWN32] = {BASE, 0x1fff, 1, .big = true},
    [SG_DOWN16] = {BASE, 0x1ffc, 1},
    [SG_XONLY] = {BASE, 0xffff, 2, .ro = true, .big = true},
    [SG_ABSENT] = {BASE, 0xffff, 0, .big = true, .absent = true},
    [SG_FLATRO] = {0, 0xfffff, 0, .ro = true, .pages = true, .big = true},
    [SG_ODD] = {BASE + 0x1005, 0x1234, 0, .big = true},
    [SG_PAGES] = {BASE, 0xf, 0, .pages = true, .big = true},
    [SG_CONFORM] = {BASE, 0xffff, 3, .big = true, .absent = true},
    [SG_WRAP] = {0x90000000, 0xfffff, 0, .pages = true, .big = true},
    [SG_CODESHORT] = {BASE, 0xe7ff, 2, .big = true},
    [SG_ABSCODE] = {BASE, 0xffff, 2, .big = true, .absent = true},
};

u64 segment_desc(const struct segment *s)
{
    /* The kernel sets the accessed bit and DPL 3 (arch/x86: fill_ldt); AVL is `useable`, which we leave 0. */
    u64 type = 1 | (s->ro ? 0 : 2) | s->contents << 2;
    u64 hi = (s->base >> 16 & 0xff) | type << 8 | 1u << 12 | 3u << 13 | (s->absent ? 0u : 1u << 15) |
             (s->limit & 0xf0000) | (s->big ? 1u << 22 : 0) | (s->pages ? 1u << 23 : 0) |
             (s->base & 0xff000000);
    return hi << 32 | (u64)(s->base & 0xffff) << 16 | (s->limit & 0xffff);
}

bool segment_reg(u16 sel, struct seg *out)
{
    memset(out, 0, sizeof(*out));
    out->sel = sel;
    if (sel < 4) {
        out->attr = SA_NULL;
        return true;
    }
    u32 id = sel >> 3;
    if ((sel & 7) != 7 || id >= SG_COUNT)
        return false;
    const struct segment *s = &segments[id];
    u64 d = segment_desc(s);
    out->base = s->base;
    out->limit = s->pages ? s->limit << 12 | 0xfff : s->limit;
    out->attr = (u32)(d >> 40) & 0xf0ff;
    return true;
}

u8 base_byte(u32 off)
{
    u32 x = (off >> 2) * 0x9e3779b1u + 0x7f4a7c15u;
    if (off >= 14 * PAGE_SIZE) /* stray jumps end at once */
        return 0xcc;
    x ^= x >> 15;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    return (u8)(x >> (off & 3) * 8);
}

#define STUB_OFF(k) (0x800 + (k)*16)
#define COMMON_OFF  0xc00

u32 put_exit(u8 *p, bool cs32, u32 k)
{
    u32 n = 0, target = PAGE_LIN(EXIT_PAGE) + STUB_OFF(k);

    if (!cs32)
        p[n++] = 0x66;
    p[n++] = 0xea;
    memcpy(p + n, &target, 4);
    p[n + 4] = EXIT_SEL;
    p[n + 5] = 0;
    return n + 6;
}

extern const u8 nat_leave[]; /* native_stub.S */

void build_exit_page(u8 *page)
{
    u64 leave = (u64)(uintptr_t)nat_leave;

    memset(page, 0xcc, PAGE_SIZE);
    for (u32 k = PAD_FIRST; k < PAD_COUNT; k++)
        put_exit(page + (PAD_LIN(k) & PAGE_MASK), !(k & 1), k);
    for (u32 k = 0; k < PAD_COUNT; k++) { /* mov r11d, k; jmp common */
        u8 *p = page + STUB_OFF(k);
        i32 rel = COMMON_OFF - (STUB_OFF((i32)k) + 11);
        p[0] = 0x41;
        p[1] = 0xbb;
        memcpy(p + 2, &k, 4);
        p[6] = 0xe9;
        memcpy(p + 7, &rel, 4);
    }
    u8 *p = page + COMMON_OFF; /* mov r10, nat_leave; jmp r10 */
    p[0] = 0x49;
    p[1] = 0xba;
    memcpy(p + 2, &leave, 8);
    p[10] = 0x41;
    p[11] = 0xff;
    p[12] = 0xe2;
}

void case_default(struct icase *c)
{
    memset(c, 0, sizeof(*c));
    c->lin = CODE_LIN;
    c->sel[S_CS] = SEL(SG_CODE32);
    c->sel[S_DS] = c->sel[S_ES] = c->sel[S_SS] = SEL(SG_DATA32);
    c->gpr[R_ESP] = PAGE_LIN(11);
    c->flags = FL_1 | FL_IF;
    c->fp.fcw = 0x37f;
    c->fp.mxcsr = 0x1f80;
}

u32 case_cs_base(const struct icase *c)
{
    return segments[c->sel[S_CS] >> 3].base;
}

bool case_cs32(const struct icase *c)
{
    return segments[c->sel[S_CS] >> 3].big;
}

void fp_to_fx(const struct fpstate *f, u8 *fx)
{
    memset(fx, 0, 512);
    memcpy(fx, &f->fcw, 2);
    memcpy(fx + 2, &f->fsw, 2);
    fx[4] = f->tags;
    memcpy(fx + 24, &f->mxcsr, 4);
    for (int n = 0; n < 8; n++) {
        memcpy(fx + 32 + 16 * n, f->st[n], 10);
        memcpy(fx + 160 + 16 * n, f->xmm[n], 16);
    }
}

void fx_to_fp(const u8 *fx, struct fpstate *f)
{
    memcpy(&f->fcw, fx, 2);
    memcpy(&f->fsw, fx + 2, 2);
    f->tags = fx[4];
    memcpy(&f->mxcsr, fx + 24, 4);
    for (int n = 0; n < 8; n++) {
        memcpy(f->st[n], fx + 32 + 16 * n, 10);
        memcpy(f->xmm[n], fx + 160 + 16 * n, 16);
    }
}

void case_lay_out(const struct icase *c, void (*put)(void *opaque, u32 lin, const u8 *b, u32 len),
                  void *opaque)
{
    bool cs32 = case_cs32(c);
    u8 buf[32];
    u32 n, room = CODE_END - c->lin;

    memcpy(buf, c->code, c->len);
    n = c->len + put_exit(buf + c->len, cs32, 0);
    put(opaque, c->lin, buf, n < room ? n : room);
    n = put_exit(buf, cs32, 1);
    if (c->lin + NEAR_PAD + n <= CODE_END)
        put(opaque, c->lin + NEAR_PAD, buf, n);
    n = put_exit(buf, cs32, 2);
    if (c->lin - NEAR_PAD >= PAGE_LIN(14))
        put(opaque, c->lin - NEAR_PAD, buf, n);
    for (n = 0; n < c->n_patch; n++)
        put(opaque, c->patch[n].lin, c->patch[n].b, c->patch[n].len);
}
