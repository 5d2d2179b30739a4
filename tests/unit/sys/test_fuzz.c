/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile guest: random descriptor tables, TSSs, stacks, registers and modes, and every system instruction
 * on them. Whatever happens must be a value, leave the CPU's invariants intact, and stop. Deterministic; run
 * it under a sanitizer to look for more.
 */
#include "fake.h"

static u64 seed = 0x9e3779b97f4a7c15ull;
static u32 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (u32)(seed >> 16);
}
static u32 pick(const u32 *list, size_t n)
{
    return list[rnd() % n];
}

static const char *const insns[] = {
    "8e d8",    "8e d0",    "8e c0",    "17",       "07",       "0f a1",    "1e",
    "cb",       "ca 08 00", "cf",       "66 cf",    "66 cb",    "cc",       "ce",
    "cd 80",    "cd 0d",    "cd 82",    "f1",       "9c",       "9d",       "66 9d",
    "fa",       "fb",       "f4",       "0f 00 d8", "0f 00 d0", "0f 00 e0", "0f 02 c8",
    "0f 03 c8", "63 c8",    "0f 22 c0", "0f 22 d8", "0f 22 e0", "0f 06",    "0f 01 f0",
    "0f 34",    "0f 35",    "0f 30",    "0f 32",    "0f 23 f8", "0f 21 c0", "ec",
    "ef",       "6d",       "f3 6e",    "0f a2",    "0f 31",    "0f 0b",    "62 05 00 90 00 00",
};
static const u32 edges[] = {0,      1,       3,       0xfff,    0x1000,     0x7ffc,    0x8000,
                            0xffff, 0x10000, 0xfffff, 0x100000, 0xfffffffc, 0xffffffff};

static u64 random_desc(void)
{
    static const u32 bases[] = {0, 0x1000, 0x3000, 0x3200, 0x8000, 0xffffe, 0xfffff000};
    static const u32 limits[] = {0, 7, 43, 103, 0xfff, 0xffff, 0xfffff};
    switch (rnd() % 4) {
    case 0:
        return mkdesc(pick(bases, ARRAY_SIZE(bases)), pick(limits, ARRAY_SIZE(limits)), rnd() & 0xf0ff);
    case 1:
        return mkdesc(0, 0xfffff, (rnd() & 0x60) | 0x90 | (rnd() & 15) | A_4G);
    case 2:
        return mkgate((u16)(rnd() & 0xff), rnd() & 0xffff, rnd() & 15, rnd() & 3, rnd());
    default:
        return mkdesc(0, 0xfffff, A_D | (rnd() & 0x69) | A_4G);
    }
}

static void check(struct vcpu *v)
{
    assert_true(v->cpl <= 3);
    assert_int_equal(v->mode & MODE_CPL, v->cpl);
    assert_int_equal(!!(v->mode & MODE_PE), !!(v->cr0 & CR0_PE));
    assert_int_equal(!!(v->mode & MODE_VM), !!(v->sflags & FL_VM));
    assert_int_equal(cpu_eflags(v) & ~(FL_ALL | FL_1), 0);
    assert_int_equal(v->fault_depth, 0);
    if (v->sflags & FL_VM)
        assert_int_equal(v->cpl, 3);
    if (!(v->cr0 & CR0_PE))
        assert_int_equal(v->cpl, 0);
    if (v->cr0 & CR0_PG)
        assert_true(v->cr0 & CR0_PE);
    u32 mode = v->mode;
    u8 slow = v->slow_access;
    for (int k = 0; k < 6; k++) {
        struct seg s = v->seg[k];
        seg_refresh(&s);
        assert_int_equal(s.fast, v->seg[k].fast);
        assert_int_equal(s.flat, v->seg[k].flat);
        if (s.attr & SA_NULL)
            assert_int_equal(s.fast, 0);
    }
    cpu_update_mode(v); /* must have been up to date */
    assert_int_equal(v->mode, mode);
    assert_int_equal(v->slow_access, slow);
    int view = slow || !fk->tables ? 2 : v->cpl == 3;
    assert_ptr_equal(v->rtab, fk->tab[view][0]);
}

static void hostile(void **state)
{
    struct vcpu *v = *state;
    for (int round = 0; round < 30000; round++) {
        build_tables();
        for (u32 p = 0; p < 0x20; p++)
            fk->page[p] = rnd() % 12 ? 7 : (u8)(rnd() & 7);
        set_tables(v);
        for (int n = rnd() % 6; n > 0; n--)
            poke(GDT + (rnd() & 0xf8), random_desc(), 8);
        for (int n = rnd() % 4; n > 0; n--)
            idt_set(rnd() & 1 ? (int)(rnd() % 20) : 0x80 + (int)(rnd() % 4),
                    mkgate((u16)(rnd() & 0xf8), rnd() & 0xffff, rnd() & 15, rnd() & 3, 0));
        for (u32 k = 0; k < 26; k++) {
            poke(TSS_B + 4 * k, rnd() % 3 ? rnd() & 0xff : rnd(), 4);
            if (rnd() % 8 == 0)
                poke(TSS_A + 4 * k, rnd() & 0xff, 4);
        }
        cpu_reset(v);
        switch (rnd() % 6) {
        case 0:
            v->idtr.limit = 0x3ff;
            break;
        case 1:
            v->cr4 = rnd() & (CR4_VME | CR4_PVI | CR4_DE);
            enter_v86(v, (int)(rnd() & 3), (u16)(rnd() & 0x1fff));
            break;
        case 2:
            enter_pm(v, 1);
            break;
        case 3:
            enter_pm(v, 0);
            break;
        default:
            enter_pm(v, 3);
            break;
        }
        if (rnd() % 4 == 0)
            v->sflags |= rnd() & (FL_NT | FL_IOPL | FL_AC | FL_VIF | FL_VIP);
        if (rnd() % 8 == 0)
            v->cr0 |= CR0_AM;
        if (rnd() % 16 == 0)
            v->gpr[R_ESP] = pick(edges, ARRAY_SIZE(edges));
        cpu_update_mode(v);
        for (int n = 0; n < 12 && !(v->events & EV_SHUTDOWN); n++) {
            for (int k = 0; k < 8; k++) {
                if (k != R_ESP)
                    v->gpr[k] = rnd() % 3 ? rnd() & 0xff : rnd() % 2 ? pick(edges, ARRAY_SIZE(edges)) : rnd();
            }
            u32 sp = (v->seg[S_SS].base + v->gpr[R_ESP]) & 0xffff;
            for (u32 k = 0; k < 10; k++)
                poke(sp + 4 * k, rnd() % 4 ? (rnd() & 0xff) : rnd(), 4);
            if (rnd() % 8 == 0) {
                v->intr_shadow = 0;
                cpu_deliver_interrupt(v, (u8)(rnd() % 5 ? 0x80 + rnd() % 16 : rnd()), false);
            } else {
                struct insn i;
                u8 bytes[16];
                u32 len = 0;
                for (const char *p = insns[rnd() % ARRAY_SIZE(insns)]; *p; p += *p == ' ' ? 1 : 2) {
                    if (*p != ' ')
                        bytes[len++] = (u8)strtoul((char[]){p[0], p[1], 0}, NULL, 16);
                }
                if (insn_decode(v->model, bytes, len, !!(v->mode & MODE_CS32), &i))
                    continue;
                v->next_eip = v->eip + i.len;
                v->dr6_pending = 0;
                if (i.fn(v, &i) == CPU_OK)
                    v->eip = v->next_eip;
                else
                    cpu_deliver_fault(v);
            }
            check(v);
            v->events &= EV_SHUTDOWN;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {BOTH(hostile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
