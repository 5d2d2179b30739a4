/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Delivery of exceptions and interrupts: gates, stacks, error codes, nesting, V86, real mode. */
#include "fake.h"

static void raise(struct vcpu *v, int vec, int err)
{
    if (err < 0)
        cpu_raise(v, (u8)vec);
    else
        cpu_raise_err(v, (u8)vec, (u32)err);
    cpu_deliver_fault(v);
}

static void same_level(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    u32 sp = v->gpr[R_ESP];
    cpu_set_eflags(v, FL_IF | FL_ZF | FL_NT | FL_1);
    raise(v, EXC_GP, 0x1234);
    assert_int_equal(v->eip, 0x60d0);
    assert_int_equal(v->gpr[R_ESP], sp - 16);
    assert_int_equal(peek32m(sp - 16), 0x1234);
    assert_int_equal(peek32m(sp - 12), 0x4000);
    assert_int_equal(peek32m(sp - 8), C0);
    assert_int_equal(peek32m(sp - 4), FL_IF | FL_ZF | FL_NT | FL_1 | FL_RF);
    assert_int_equal(cpu_eflags(v), FL_ZF | FL_1);
    /* no error code; trap gate keeps IF */
    enter_pm(v, 0);
    v->iflag = 1;
    idt_set(EXC_UD, mkgate(C0, 0x6060, DT_TRAP32, 0, 0));
    step(v, "0f 0b");
    assert_int_equal(v->eip, 0x6060);
    assert_int_equal(v->iflag, 1);
    assert_int_equal(v->gpr[R_ESP], sp - 12);
    assert_int_equal(peek32m(sp - 12), 0x4000);
}

static void from_user(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 3);
    v->iflag = 1;
    step(v, "cd 80");
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->eip, 0x6800);
    assert_int_equal(v->iflag, 1);
    assert_int_equal(v->gpr[R_ESP], STACK0 - 20);
    static const u32 want[5] = {0x4002, C3, FL_IF | FL_1, STACK3, D3};
    for (u32 k = 0; k < 5; k++)
        assert_int_equal(peek32m(STACK0 - 20 + 4 * k), want[k]);
    assert_int_equal(v->seg[S_SS].sel, D0);
    assert_int_equal(v->seg[S_DS].sel, D3);
    assert_int_equal(v->stats.soft_ints, 1);
    assert_int_equal(v->stats.exceptions, 0);
    exec(v, "cf");
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->eip, 0x4002);
    assert_int_equal(v->gpr[R_ESP], STACK3);
    /* a supervisor-only stack is what kernels have */
    set_page(v, STACK0 - 1, PG_P | PG_W);
    set_page(v, GDT, PG_P | PG_W);
    set_page(v, IDT, PG_P | PG_W);
    set_page(v, TSS_A, PG_P | PG_W);
    step(v, "cd 80");
    assert_int_equal(v->eip, 0x6800);
    assert_int_equal(v->cpl, 0);
    /* page fault: CR2, error code, eip of the instruction */
    enter_pm(v, 3);
    set_page(v, 0xc000, 0);
    step(v, "a1 04 c0 00 00");
    assert_int_equal(v->cr2, 0xc004);
    assert_int_equal(v->eip, 0x60e0);
    assert_int_equal(peek32m(STACK0 - 24), PF_U);
    assert_int_equal(peek32m(STACK0 - 20), 0x4000);
    /* 16-bit gate */
    enter_pm(v, 3);
    step(v, "cd 81");
    assert_int_equal(v->gpr[R_ESP], STACK0 - 10);
    assert_int_equal(peek16m(STACK0 - 10), 0x4002);
    assert_int_equal(peek16m(STACK0 - 2), D3);
    assert_int_equal(v->eip, 0x6810);
    /* conforming handler: no stack switch, CPL stays */
    enter_pm(v, 3);
    step(v, "cd 83");
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->seg[S_CS].sel, CC | 3);
    assert_int_equal(v->gpr[R_ESP], STACK3 - 12);
    /* to DPL 1 */
    enter_pm(v, 3);
    step(v, "cd 84");
    assert_int_equal(v->cpl, 1);
    assert_int_equal(v->seg[S_CS].sel, C1);
    assert_int_equal(v->seg[S_SS].sel, D1);
    assert_int_equal(v->gpr[R_ESP], STACK1 - 20);
    /* int3, into, icebp */
    enter_pm(v, 3);
    step(v, "cc");
    assert_int_equal(v->eip, 0x6030);
    assert_int_equal(peek32m(STACK0 - 20), 0x4001);
    assert_int_equal(peek32m(STACK0 - 12), FL_1); /* no RF */
    enter_pm(v, 3);
    step(v, "ce");
    assert_int_equal(v->eip, 0x4001);
    v->aflags |= FL_OF;
    step(v, "ce");
    assert_int_equal(v->eip, 0x6040);
    enter_pm(v, 3);
    step(v, "f1"); /* DPL 0 gate, and yet */
    assert_int_equal(v->eip, 0x6010);
    assert_int_equal(peek32m(STACK0 - 20), 0x4001);
}

/* The error codes of gates that cannot be used: software interrupts have EXT clear, others set. */
static void gate_errors(void **state)
{
    struct vcpu *v = *state;
    static const struct {
        int cpl, n, vec;
        u32 err;
        bool soft_only;
    } t[] = {
        {3, 0x85, EXC_GP, 0x85 * 8 + 2, true},  {3, 0x86, EXC_NP, 0x86 * 8 + 2, false},
        {3, 0x87, EXC_GP, 0x87 * 8 + 2, false}, {3, 0x88, EXC_NP, CNP, false},
        {3, 0x89, EXC_GP, D0, false},           {3, 0x8a, EXC_GP, 0, false},
        {0, 0x8b, EXC_GP, 0x18, false},         {3, 0x8c, EXC_GP, 0, false},
        {3, 0x8d, EXC_GP, 0x8d * 8 + 2, false}, {3, 0xff, EXC_GP, 0xff * 8 + 2, false},
    };
    for (size_t k = 0; k < ARRAY_SIZE(t); k++) {
        char hex[16];
        for (int ext = 0; ext < 2; ext++) {
            enter_pm(v, t[k].cpl);
            u32 sp = v->cpl == 3 ? STACK0 - 8 : v->gpr[R_ESP];
            snprintf(hex, sizeof(hex), "cd %02x", t[k].n);
            if (ext)
                cpu_deliver_interrupt(v, (u8)t[k].n, false);
            else
                step(v, hex);
            if (ext && t[k].soft_only) {
                assert_int_equal(v->eip, 0x6850);
                continue;
            }
            assert_int_equal(v->eip, 0x6000 + t[k].vec * 16);
            assert_int_equal(peek32m(sp - 16), t[k].err | (u32)ext);
            assert_int_equal(peek32m(sp - 12), 0x4000);
            assert_int_equal(peek32m(sp - 4), FL_1 | FL_RF);
        }
    }
}

static void nesting(void **state)
{
    struct vcpu *v = *state;
    /* #NP while delivering #GP: double fault with error code 0 */
    enter_pm(v, 0);
    u32 sp = v->gpr[R_ESP];
    idt_set(EXC_GP, mkgate(CNP, 0x60d0, DT_INT32, 0, 0));
    raise(v, EXC_GP, 0);
    assert_int_equal(v->eip, 0x6080);
    assert_int_equal(peek32m(sp - 16), 0);
    assert_int_equal(peek32m(sp - 12), 0x4000);
    assert_int_equal(v->fault_depth, 0);
    /* benign first: serial, here #UD -> #NP with EXT */
    enter_pm(v, 0);
    idt_set(EXC_UD, mkgate(CNP, 0x6060, DT_INT32, 0, 0));
    step(v, "0f 0b");
    assert_int_equal(v->eip, 0x60b0);
    assert_int_equal(peek32m(sp - 16), CNP | 1);
    /* contributory, then #PF: serial */
    enter_pm(v, 0);
    poke(GDT + 0x108, 0, 8);
    set_page(v, 0x20000, 0);
    v->idtr =
        (struct dtr){0x20000 - 13 * 8, 0x7ff}; /* vector 13's gate is on the absent page, 8 and 14 too */
    memcpy(fk->mem + v->idtr.base, fk->mem + IDT, 13 * 8);
    raise(v, EXC_GP, 0x20);
    assert_int_equal(v->cr2,
                     0x20000 + 8); /* #GP -> #PF (cr2 20000) -> #PF on #PF -> #DF through the gate at 8 */
    assert_int_equal(v->eip, 0x6080);
    /* #PF then #PF: #DF; #DF then #PF: shutdown */
    enter_pm(v, 0);
    v->idtr = (struct dtr){0x20000, 0x7ff};
    v->events = 0;
    cpu_raise_pf(v, 0x1234, 0);
    cpu_deliver_fault(v);
    assert_true(v->events & EV_SHUTDOWN);
    assert_int_equal(v->eip, 0x4000);
    assert_int_equal(v->gpr[R_ESP], sp);
    /* an IDT with limit 0 */
    enter_pm(v, 0);
    v->idtr.limit = 0;
    v->events = 0;
    step(v, "cc");
    assert_true(v->events & EV_SHUTDOWN);
    v->events = 0;
    /* #PF, then #TS for the stack: #DF */
    enter_pm(v, 3);
    poke(TSS_A + 8, 0, 2);
    idt_set(EXC_DF, mkgate(CC, 0x6080, DT_INT32, 0, 0)); /* same level, so that it can be delivered */
    cpu_raise_pf(v, 0x1234, PF_U);
    cpu_deliver_fault(v);
    assert_int_equal(v->eip, 0x6080);
    assert_int_equal(v->cr2, 0x1234);
    /* external interrupt, then #TS(EXT) */
    enter_pm(v, 3);
    idt_set(EXC_TS, mkgate(CC, 0x60a0, DT_INT32, 0, 0));
    poke(TSS_A + 8, SNP | 1, 2);
    cpu_deliver_interrupt(v, 0x80, false);
    assert_int_equal(v->eip, 0x60a0);
    assert_int_equal(peek32m(STACK3 - 16), SNP | 1);
}

/* A fault in the middle of delivery shows nothing of it. */
static void atomic(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 3);
    poke(TSS_A + 4, 0x9008, 4); /* the frame crosses into an absent page */
    set_page(v, 0x8000, 0);
    idt_set(EXC_PF, mkgate(CC, 0x60e0, DT_INT32, 0, 0));
    memset(fk->mem + 0x9000, 0x77, 8);
    step(v, "cd 80");
    assert_int_equal(v->eip, 0x60e0);
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->cr2, 0x8ffc);
    assert_int_equal(peek32m(0x9000), 0x77777777);
    assert_int_equal(peek32m(STACK3 - 16), PF_W); /* error: supervisor write, absent */
    assert_int_equal(peek32m(STACK3 - 12), 0x4000);
}

/* #AC whose own delivery is misaligned, for ever: delivery must end, and the guest be where it was. */
static void endless(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 3);
    v->cr0 |= CR0_AM;
    v->sflags |= FL_AC;
    cpu_update_mode(v);
    v->gpr[R_ESP] = STACK3 - 0x102;
    idt_set(EXC_AC, mkgate(CC, 0x6110, DT_INT32, 0, 0));
    step(v, "a1 01 90 00 00");
    assert_int_equal(v->eip, 0x4000);
    assert_int_equal(v->gpr[R_ESP], STACK3 - 0x102);
    assert_int_equal(v->events & EV_SHUTDOWN, 0);
    /* dword alignment is enough for a frame of dwords */
    v->gpr[R_ESP] = STACK3 - 0x104;
    step(v, "cd 83");
    assert_int_equal(v->eip, 0x6830);
    step(v, "9a 00 00 00 00 cb 00");
    assert_int_equal(v->eip, 0x4200);
}

static void debug(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    u32 sp = v->gpr[R_ESP];
    v->dr[6] = DR6_FIXED | 0xf;
    v->dr[7] |= DR7_GD;
    step(v, "0f 21 c0"); /* mov eax, dr0 */
    assert_int_equal(v->eip, 0x6010);
    assert_int_equal(v->dr[6], DR6_FIXED | DR6_BD);
    assert_int_equal(v->dr[7] & DR7_GD, 0);
    assert_int_equal(peek32m(sp - 12), 0x4000);
    assert_int_equal(peek32m(sp - 4), FL_1 | FL_RF);
    /* a single-step trap */
    enter_pm(v, 0);
    v->sflags |= FL_TF;
    v->next_eip = 0x4001;
    v->fault = (struct cpu_fault){.vector = EXC_DB, .is_trap = 1, .dr6 = DR6_BS};
    cpu_deliver_fault(v);
    assert_int_equal(peek32m(sp - 12), 0x4001);
    assert_int_equal(peek32m(sp - 4), FL_1 | FL_TF);
    assert_int_equal(cpu_eflags(v) & FL_TF, 0);
    assert_int_equal(v->dr[6] & 0xf00f, DR6_BS | DR6_BD);
    /* an instruction breakpoint does not set RF in the image */
    enter_pm(v, 0);
    v->fault = (struct cpu_fault){.vector = EXC_DB, .dr6 = 1};
    cpu_deliver_fault(v);
    assert_int_equal(peek32m(sp - 4), FL_1);
}

static void from_v86(void **state)
{
    struct vcpu *v = *state;
    enter_v86(v, 3, 0x1000);
    v->seg[S_FS].sel = 0x1111, v->seg[S_GS].sel = 0x2222;
    v->iflag = 1;
    step(v, "cd 80");
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->mode & (MODE_VM | MODE_CPL | MODE_CS32), MODE_CS32);
    assert_int_equal(v->gpr[R_ESP], STACK0 - 36);
    static const u32 want[9] = {0x102,  0x1000, FL_VM | FL_IOPL | FL_IF | FL_1, 0x800, 0x1000, 0x1000, 0x1000,
                                0x1111, 0x2222};
    for (u32 k = 0; k < 9; k++)
        assert_int_equal(peek32m(STACK0 - 36 + 4 * k), want[k]);
    assert_true(v->seg[S_DS].attr & SA_NULL);
    assert_true(v->seg[S_GS].attr & SA_NULL);
    assert_int_equal(v->seg[S_DS].sel, 0);
    exec(v, "cf");
    assert_int_equal(v->mode & (MODE_VM | MODE_CPL), MODE_VM | 3);
    assert_int_equal(v->eip, 0x102);
    assert_int_equal(v->seg[S_GS].sel, 0x2222);
    /* IOPL < 3: int n is #GP(0), int3 is not sensitive */
    enter_v86(v, 0, 0x1000);
    step(v, "cd 80");
    assert_int_equal(v->eip, 0x60d0);
    assert_int_equal(peek32m(STACK0 - 40), 0);
    assert_int_equal(peek32m(STACK0 - 36), 0x100);
    enter_v86(v, 0, 0x1000);
    step(v, "cc");
    assert_int_equal(v->eip, 0x6030);
    /* handlers not at CPL 0: #GP(selector) */
    enter_v86(v, 3, 0x1000);
    step(v, "cd 84");
    assert_int_equal(v->eip, 0x60d0);
    assert_int_equal(peek32m(STACK0 - 40), 0x40);
    enter_v86(v, 3, 0x1000);
    step(v, "cd 83");
    assert_int_equal(peek32m(STACK0 - 40), CC);
    /* external interrupts always leave V86 */
    enter_v86(v, 0, 0x1000);
    cpu_deliver_interrupt(v, 0x80, false);
    assert_int_equal(v->eip, 0x6800);
}

static void vme(void **state)
{
    struct vcpu *v = *state;
    poke(0x80 * 4, 0x345 | 0x2000 << 16, 4);
    /* IOPL 3, bit clear: redirected; IF cleared */
    enter_v86(v, 3, 0x1000);
    v->cr4 |= CR4_VME;
    v->iflag = 1;
    assert_int_equal(exec(v, "cd 80"), CPU_OK);
    assert_int_equal(v->eip, 0x345);
    assert_int_equal(v->seg[S_CS].base, 0x20000);
    assert_true(v->sflags & FL_VM);
    assert_int_equal(v->iflag, 0);
    assert_int_equal(v->gpr[R_ESP], 0x7fa);
    assert_int_equal(peek16m(0x107fa), 0x102);
    assert_int_equal(peek16m(0x107fc), 0x1000);
    assert_int_equal(peek16m(0x107fe), FL_IF | FL_IOPL | FL_1);
    /* IOPL 0, bit clear: VIF is IF */
    enter_v86(v, 0, 0x1000);
    v->sflags |= FL_VIF;
    assert_int_equal(exec(v, "cd 80"), CPU_OK);
    assert_int_equal(peek16m(0x107fe), FL_IF | FL_IOPL | FL_1);
    assert_false(v->sflags & FL_VIF);
    /* bit set: #GP below IOPL 3, the IDT at IOPL 3 */
    fk->mem[TSS_A + 104 + 16] = 1;
    enter_v86(v, 0, 0x1000);
    expect_fault(v, "cd 80", EXC_GP, 0);
    enter_v86(v, 3, 0x1000);
    step(v, "cd 80");
    assert_int_equal(v->eip, 0x6800);
    assert_int_equal(v->cpl, 0);
    v->cr4 = 0;
}

static void real_mode(void **state)
{
    struct vcpu *v = *state;
    cpu_reset(v);
    exec(v, "ea 00 01 00 20");
    v->gpr[R_ESP] = 0x7000;
    v->idtr = (struct dtr){0, 0x3ff};
    poke(0x21 * 4, 0x345 | 0x3000 << 16, 4);
    poke(13 * 4, 0x111 | 0x3000 << 16, 4);
    cpu_set_eflags(v, FL_IF | FL_TF | FL_CF | FL_1);
    step(v, "cd 21");
    assert_int_equal(v->eip, 0x345);
    assert_int_equal(v->seg[S_CS].base, 0x30000);
    assert_int_equal(v->gpr[R_ESP], 0x6ffa);
    assert_int_equal(peek16m(0x6ffa), 0x102);
    assert_int_equal(peek16m(0x6ffc), 0x2000);
    assert_int_equal(peek16m(0x6ffe), FL_IF | FL_TF | FL_CF | FL_1);
    assert_int_equal(cpu_eflags(v), FL_CF | FL_1);
    exec(v, "cf");
    assert_int_equal(v->eip, 0x102);
    assert_int_equal(v->seg[S_CS].sel, 0x2000);
    /* #GP has no error code here */
    step(v, "66 a1 fd ff");
    assert_int_equal(v->eip, 0x111);
    assert_int_equal(v->gpr[R_ESP], 0x6ffa);
    /* SP wraps between words */
    v->gpr[R_ESP] = 2;
    step(v, "cd 21");
    assert_int_equal(v->gpr[R_ESP], 0xfffc);
    assert_int_equal(peek16m(0), FL_CF | FL_1);
    assert_int_equal(peek16m(0xfffc), 0x113);
    /* beyond the IVT limit, with a bad stack: shutdown */
    v->idtr.limit = 0x20;
    v->events = 0;
    step(v, "cd 21");
    assert_true(v->events & EV_SHUTDOWN);
}

static void interrupts(void **state)
{
    struct vcpu *v = *state;
    enter_pm(v, 0);
    assert_false(cpu_poll_interrupts(v));
    fk->vector = 0x80;
    v->intr_line = 1;
    assert_false(cpu_poll_interrupts(v)); /* IF = 0 */
    v->intr_shadow = 0;
    exec(v, "fb");
    assert_int_equal(v->intr_shadow, 1);
    assert_false(cpu_poll_interrupts(v)); /* shadow */
    v->intr_shadow = 0;
    v->events = 0;
    exec(v, "f4");
    assert_int_equal(v->events, EV_HALT);
    assert_int_equal(v->eip, 0x4002);
    assert_true(cpu_poll_interrupts(v));
    assert_int_equal(v->events & EV_HALT, 0);
    assert_int_equal(v->eip, 0x6800);
    assert_int_equal(peek32m(v->gpr[R_ESP]), 0x4002);
    /* NMI goes first, blocks itself until iret */
    enter_pm(v, 0);
    v->nmi_pending = 1;
    assert_true(cpu_poll_interrupts(v));
    assert_int_equal(v->eip, 0x6020);
    v->nmi_pending = 1;
    assert_false(cpu_poll_interrupts(v));
    exec(v, "cf");
    assert_true(cpu_poll_interrupts(v));
    /* an interrupt that went away */
    enter_pm(v, 0);
    v->nmi_pending = 0;
    v->iflag = 1;
    v->intr_line = 1;
    fk->vector = -1;
    assert_false(cpu_poll_interrupts(v));
    assert_int_equal(v->eip, 0x4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {BOTH(same_level), BOTH(from_user), BOTH(gate_errors), BOTH(nesting),
                                       BOTH(atomic),     BOTH(endless),   BOTH(debug),       BOTH(from_v86),
                                       BOTH(vme),        BOTH(real_mode), BOTH(interrupts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
