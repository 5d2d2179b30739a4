/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fake world of the FPU tests (see fixture.h). It is built without the light-code flags on purpose: its
 * memory callbacks disturb vector registers as real heavy code does, so that a handler that forgets to park
 * is found out.
 */
#include "fixture.h"

static struct fixture *fix(struct vcpu *v)
{
    return v->vm;
}

static int check(struct fixture *f, u32 lin, u32 len, bool write, int user)
{
    for (u32 n = 0; n < len; n++) {
        u32 at = lin + n - MEM_LIN, page = at / PAGE_SIZE;
        if (at >= MEM_SIZE || f->absent[page] || (write && f->readonly[page]))
            return cpu_raise_pf(f->v, lin + n, (write ? PF_W : 0) | (user ? PF_U : 0));
    }
    return CPU_OK;
}

static void disturb(struct vcpu *v)
{
    cpu_fpu_park(v);
    __asm__ volatile(
        "pcmpeqd %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm1; movdqa %%xmm0, %%xmm3; movdqa %%xmm0, %%xmm5\n\t"
        "fldpi; fldl2e; fstp %%st(0); fstp %%st(0)"
        :
        :
        : "xmm0", "xmm1", "xmm3", "xmm5");
}

static int fake_read(struct vcpu *v, u32 lin, void *buf, u32 len, int user)
{
    disturb(v);
    fix(v)->reads++;
    TRY(check(fix(v), lin, len, false, user));
    memcpy(buf, fix(v)->mem + (lin - MEM_LIN), len);
    return CPU_OK;
}
static int fake_write(struct vcpu *v, u32 lin, const void *buf, u32 len, int user)
{
    disturb(v);
    fix(v)->writes++;
    fix(v)->bytes_written += len;
    TRY(check(fix(v), lin, len, true, user));
    memcpy(fix(v)->mem + (lin - MEM_LIN), buf, len);
    return CPU_OK;
}
static int fake_probe(struct vcpu *v, u32 lin, u32 len, int user)
{
    disturb(v);
    return check(fix(v), lin, len, true, user);
}
static void fake_ferr(struct vcpu *v, int level)
{
    fix(v)->ferr = level;
    fix(v)->ferr_calls++;
}

static const struct cpu_ops ops = {
    .mem_read = fake_read, .mem_write = fake_write, .mem_probe_write = fake_probe, .ferr = fake_ferr};
static const struct cpu_model model = {.name = "test",
                                       .vendor = "GenuineIntel",
                                       .features = CPUF_FPU | CPUF_CMOV | CPUF_MMX | CPUF_FXSR | CPUF_SSE |
                                                   CPUF_SSE2};

/* Only for what these tests use: limit checks of expand-up data segments. */
__attribute__((weak)) int seg_check(struct vcpu *v, int seg, u32 off, u32 len, int acc, u32 *lin)
{
    const struct seg *s = &v->seg[seg];

    if ((s->attr & SA_NULL) || off > s->limit || len - 1 > s->limit - off ||
        ((acc & SEGF_W) && !(s->attr & SA_RW)))
        return cpu_raise_err(v, seg == S_SS ? EXC_SS : EXC_GP, 0);
    *lin = s->base + off;
    return CPU_OK;
}

struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct vcpu *v = aligned_alloc(64, ALIGN_UP(sizeof(*v), 64));

    assert_non_null(f);
    assert_non_null(v);
    memset(v, 0, sizeof(*v));
    f->v = v;
    f->mem = aligned_alloc(PAGE_SIZE, MEM_SIZE);
    v->ops = &ops;
    v->vm = f;
    v->model = &model;
    v->rtab = calloc(1u << 20, 8);
    v->wtab = calloc(1u << 20, 8);
    v->cr0 = CR0_PE | CR0_NE | CR0_MP;
    v->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
    for (int s = S_ES; s <= S_GS; s++)
        v->seg[s] = (struct seg){.sel = (u16)(0x10 + 8 * s),
                                 .fast = s == S_CS ? SEGF_R : SEGF_R | SEGF_W,
                                 .limit = 0xffffffff,
                                 .attr = SA_P | SA_S | SA_RW | (s == S_CS ? SA_CODE : 0)};
    cpu_fpu_reset(v);
    fixture_tables(f, true);
    return f;
}

void fixture_free(struct fixture *f)
{
    cpu_fpu_park(f->v);
    free(f->v->rtab);
    free(f->v->wtab);
    free(f->mem);
    free(f->v);
    free(f);
}

void fixture_tables(struct fixture *f, bool on)
{
    for (u32 n = 0; n < MEM_SIZE / PAGE_SIZE; n++) {
        u64 e = on && !f->absent[n] ? (u64)(uintptr_t)f->mem - MEM_LIN : 0;
        f->v->rtab[MEM_LIN / PAGE_SIZE + n] = e;
        f->v->wtab[MEM_LIN / PAGE_SIZE + n] = f->readonly[n] ? 0 : e;
    }
}

bool fixture_decode(const u8 *code, u32 len, struct insn *i)
{
    u32 n = 0;

    *i = (struct insn){
        .opsize = 4, .adsize = 4, .seg = S_DS, .seg_over = S_NONE, .base = NOREG, .index = NOREG, .scale = 1};
    memcpy(i->raw, code, len);
    for (;; n++) {
        if (code[n] == 0x66)
            i->pfx |= PFX_66, i->opsize = 2;
        else if (code[n] == 0xf2)
            i->pfx |= PFX_REPNE;
        else if (code[n] == 0xf3)
            i->pfx |= PFX_REP;
        else if (code[n] == 0x26)
            i->seg = i->seg_over = S_ES;
        else
            break;
    }
    i->opc_off = (u8)n;
    if (code[n] == 0x0f) {
        i->map = 1;
        n++;
    }
    i->opcode = code[n++];
    if (!(i->map == 0 && i->opcode == 0x9b) && !(i->map == 1 && i->opcode == 0x77)) {
        i->has_modrm = 1;
        i->modrm_off = (u8)n;
        i->mod = code[n] >> 6;
        i->reg = code[n] >> 3 & 7;
        i->rm = code[n++] & 7;
        if (i->mod != 3) {
            if (i->mod != 0 || i->rm != 7)
                return false;
            i->has_mem = 1;
            i->base = R_EDI;
        }
    }
    i->imm_off = (u8)n;
    i->len = (u8)len;
    i->fn = fpu_lookup(i);
    return i->fn != NULL;
}

int fixture_exec(struct fixture *f, const struct insn *i)
{
    f->v->eip = 0x1234;
    f->v->next_eip = f->v->eip + i->len;
    return i->fn(f->v, i);
}

int fixture_run(struct fixture *f, const u8 *code, u32 len)
{
    struct insn i;

    assert_true(fixture_decode(code, len, &i));
    return fixture_exec(f, &i);
}

u64 rng_state = 0x9e3779b97f4a7c15ull;
u64 rng(void)
{
    rng_state ^= rng_state >> 12;
    rng_state ^= rng_state << 25;
    rng_state ^= rng_state >> 27;
    return rng_state * 0x2545f4914f6cdd1dull;
}

static u32 special32(void)
{
    static const u32 list[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                               0xff800000, 0x7fc00000, 0x7fa00000, 0xffc12345, 1,
                               0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0x4f000000,
                               0xcf000000, 0x40490fdb, 0x3f000000, 0x00800001, 0x33800000};
    return rng() & 1 ? list[rng() % ARRAY_SIZE(list)] : (u32)rng();
}
static u64 special64(void)
{
    static const u64 list[] = {0,
                               0x8000000000000000,
                               0x3ff0000000000000,
                               0xbff0000000000000,
                               0x7ff0000000000000,
                               0xfff0000000000000,
                               0x7ff8000000000000,
                               0x7ff4000000000000,
                               1,
                               0x000fffffffffffff,
                               0x0010000000000000,
                               0x7fefffffffffffff,
                               0x41e0000000000000,
                               0xc1e0000000200000,
                               0x36a0000000000000,
                               0x3810000000000000,
                               0x47efffffe0000000,
                               0x4330000000000001};
    switch (rng() % 4) {
    case 0:
        return list[rng() % ARRAY_SIZE(list)];
    case 1: /* a double near the range of single precision */
        return (rng() & 0x800fffffffffffff) | (0x3ff + (rng() % 300) - 150) << 52;
    default:
        return rng();
    }
}

void random_mem(u8 *p, u32 n)
{
    u32 kind = rng() % 3;

    for (u32 at = 0; at + 8 <= n; at += 8) {
        u64 q = kind == 0 ? rng() : kind == 1 ? special64() : special32() | (u64)special32() << 32;
        memcpy(p + at, &q, 8);
    }
}

static void random_st(u8 *p)
{
    u64 m = rng();
    u16 e = (u16)rng();

    switch (rng() % 8) {
    case 0:
        break; /* anything, unsupported encodings included */
    case 1:
        m = 0;
        e &= 0x8000;
        break;
    case 2: /* infinity or NaN */
        m = rng() & 1 ? 0x8000000000000000 : m | 0x8000000000000000;
        e |= 0x7fff;
        break;
    case 3: /* denormal */
        m &= 0x7fffffffffffffff;
        e &= 0x8000;
        break;
    default: /* of moderate size */
        m |= 0x8000000000000000;
        e = (u16)((e & 0x8000) | (0x3fff - 70 + rng() % 140));
    }
    memset(p, 0, 16);
    memcpy(p, &m, 8);
    memcpy(p + 8, &e, 2);
}

void random_fx(u8 *fx, bool unmask_x87, u32 mxcsr_masks)
{
    u16 cw = (u16)(0x40 | (rng() & 0xf00) | 0x3f), sw = (u16)(rng() & 0x7900);
    u32 mx = (u32)(rng() & 0xe040) | mxcsr_masks << 7;

    memset(fx, 0, 512);
    if ((cw & 0x300) == 0x100)
        cw |= 0x300;
    if (unmask_x87)
        cw &= (u16) ~(rng() & 0x3f);
    else
        sw |= rng() & 0x3f;
    memcpy(fx, &cw, 2);
    memcpy(fx + 2, &sw, 2);
    fx[4] = rng() & 1 ? 0xff : (u8)rng();
    memcpy(fx + 24, &mx, 4);
    for (int n = 0; n < 8; n++)
        random_st(fx + 32 + 16 * n);
    random_mem(fx + 160, 8 * 16);
}
