/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop around instructions: fetch and the decode cache (page crossing, self-modification, CS limit),
 * single step, breakpoints, the interrupt shadow, RF, interrupts inside rep, and that simple code is fast
 * enough.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "fixture.h"
#include "base/opts.h"

#define BASE 0x10000u

static void put(struct fx *f, u32 lin, const void *p, u32 n)
{
    memcpy(fx_host(f, lin), p, n);
}
#define CODE(f, lin, ...)                                                                                    \
    do {                                                                                                     \
        const u8 c_[] = {__VA_ARGS__};                                                                       \
        put(f, lin, c_, sizeof(c_));                                                                         \
    } while (0)

static struct fx *start(void)
{
    struct fx *f = fx_create(BASE);
    f->v->gpr[R_ESP] = BASE + 0x8000;
    return f;
}

static void test_cache_hits(void **state)
{
    struct fx *f = start();
    CODE(f, BASE, 0x40, 0xeb, 0xfd); /* inc eax; jmp -3 */
    assert_int_equal(interp_run(f->v, 1000), 1000);
    assert_int_equal(f->v->gpr[R_EAX], 500);
    assert_int_equal(f->v->stats.decodes, 2);
    assert_int_equal(f->v->stats.insns_interp, 1000);
    interp_flush(f->v);
    interp_run(f->v, 10);
    assert_int_equal(f->v->stats.decodes, 4);
    f->v->opts &= ~OPT(icache);
    interp_flush(f->v);
    interp_run(f->v, 10);
    assert_int_equal(f->v->stats.decodes, 14);
    assert_int_equal(f->v->gpr[R_EAX], 510);
    fx_destroy(f);
}

/* mov byte [BASE+8], 48h ; inc eax at BASE+8 becomes dec eax: first run caches it, second sees the write. */
static void test_smc(void **state)
{
    struct fx *f = start();
    u32 at = BASE + 8;
    CODE(f, BASE, 0x90, 0xc6, 0x05, at, at >> 8, at >> 16, at >> 24, 0x48, 0x40, 0xeb, 0xfe);
    f->v->eip = BASE + 8;
    interp_run(f->v, 1);
    assert_int_equal(f->v->gpr[R_EAX], 1);
    f->v->eip = BASE;
    interp_run(f->v, 3);
    assert_int_equal(f->v->gpr[R_EAX], 0);
    fx_destroy(f);
}

/* The same bytes as 16-bit and 32-bit code are different instructions. */
static void test_code_size(void **state)
{
    struct fx *f = start();
    CODE(f, BASE, 0xb8, 0x11, 0x22, 0x33, 0x44,
         0x90); /* mov eax, 44332211h / mov ax, 2211h; xor eax, [si-70h].. */
    interp_run(f->v, 1);
    assert_int_equal(f->v->eip, BASE + 5);
    f->v->mode &= ~MODE_CS32;
    f->v->seg[S_CS].base = BASE;
    f->v->eip = 0;
    interp_run(f->v, 1);
    assert_int_equal(f->v->eip, 3);
    fx_destroy(f);
}

static void test_page_crossing(void **state)
{
    struct fx *f = start();
    u32 at = BASE + 0xffd;
    CODE(f, at, 0xb8, 0x11, 0x22, 0x33, 0x44, 0xeb, 0xf9); /* mov eax, 44332211h; jmp */
    f->v->eip = at;
    interp_run(f->v, 2);
    assert_int_equal(f->v->gpr[R_EAX], 0x44332211);
    u64 n = f->v->stats.decodes;
    interp_run(f->v, 2);
    assert_int_equal(f->v->stats.decodes, n); /* hit */
    *fx_host(f, BASE + 0x1001) = 0x55;        /* a write to the second page is noticed */
    f->gen[1]++;
    interp_run(f->v, 1);
    assert_int_equal(f->v->gpr[R_EAX], 0x55332211);
    /* the second page goes away: a fetch fault there, although the first page's bytes are cached */
    fx_set_page(f, 1, PG_ABSENT);
    f->v->eip = at;
    interp_run(f->v, 1);
    assert_int_equal(f->delivered, 1);
    assert_int_equal(f->last.vector, EXC_PF);
    assert_int_equal(f->last.cr2, BASE + 0x1000);
    assert_int_equal(f->last_eip, at);
    fx_destroy(f);
}

static void expect_fault(struct fx *f, u8 vector)
{
    assert_int_equal(f->delivered, 1);
    assert_int_equal(f->last.vector, vector);
    f->delivered = 0;
    f->v->events = 0;
}

static void test_cs_limit(void **state)
{
    struct fx *f = start();
    f->v->seg[S_CS].base = BASE;
    f->v->seg[S_CS].limit = 0xffe;
    CODE(f, BASE + 0xffd, 0xb0, 0x01, 0x90); /* mov al, 1 ends at the limit; the nop is beyond it */
    f->v->eip = 0xffd;
    interp_run(f->v, 2);
    expect_fault(f, EXC_GP);
    assert_int_equal(f->v->gpr[R_EAX], 1);
    assert_int_equal(f->last_eip, 0xfff);
    /* a cached instruction, and then a smaller limit */
    f->v->seg[S_CS].limit = 0xffd;
    f->v->eip = 0xffd;
    interp_run(f->v, 1);
    expect_fault(f, EXC_GP);
    assert_int_equal(f->last_eip, 0xffd);
    assert_int_equal(f->last.error, 0);
    /* 16 bytes of prefixes */
    f->v->seg[S_CS].limit = ~0u;
    memset(fx_host(f, BASE + 0x2000), 0x66, 16);
    f->v->eip = 0x2000;
    interp_run(f->v, 1);
    expect_fault(f, EXC_GP);
    /* IP does not wrap at 64 KiB in 16-bit code: what is there is beyond the limit */
    f->v->mode &= ~MODE_CS32;
    f->v->seg[S_CS].limit = 0xffff;
    CODE(f, BASE + 0xffff, 0x90);
    f->v->eip = 0xffff;
    interp_run(f->v, 1);
    assert_int_equal(f->v->eip, 0x10000);
    interp_run(f->v, 1);
    expect_fault(f, EXC_GP);
    fx_destroy(f);
}

#define BS (1u << 14)

static void test_single_step(void **state)
{
    struct fx *f = start();
    CODE(f, BASE, 0x40, 0x8e, 0xd0, 0x40, 0xf3, 0xaa, 0xf7,
         0xf3); /* inc; mov ss, ax; inc; rep stosb; div ebx */
    f->v->sflags |= FL_TF;
    f->v->mode |= MODE_STEP;
    interp_step(f->v);
    expect_fault(f, EXC_DB);
    assert_int_equal(f->last.is_trap, 1);
    assert_int_equal(f->last.dr6, BS);
    assert_int_equal(f->last_eip, BASE + 1);
    assert_int_equal(f->last_next, BASE + 1);
    interp_step(f->v); /* mov ss holds the trap back */
    assert_int_equal(f->delivered, 0);
    assert_int_equal(f->v->intr_shadow, 1);
    interp_step(f->v);
    expect_fault(f, EXC_DB);
    assert_int_equal(f->v->intr_shadow, 0);
    assert_int_equal(f->last_eip, BASE + 4);
    /* each iteration of rep is a step */
    f->v->gpr[R_ECX] = 2;
    f->v->gpr[R_EDI] = BASE + 0x2000;
    interp_step(f->v);
    expect_fault(f, EXC_DB);
    assert_int_equal(f->last_eip, BASE + 4);
    assert_int_equal(f->v->gpr[R_ECX], 1);
    interp_step(f->v);
    expect_fault(f, EXC_DB);
    assert_int_equal(f->last_eip, BASE + 6);
    /* a fault comes instead of the trap */
    interp_step(f->v);
    expect_fault(f, EXC_DE);
    assert_int_equal(f->last_eip, BASE + 6);
    fx_destroy(f);
}

static void test_breakpoints(void **state)
{
    struct fx *f = start();
    CODE(f, BASE, 0x40, 0x40, 0xf3, 0xaa);
    f->v->dr[1] = BASE + 1;
    f->v->dr[7] = 1u << 2;
    f->v->mode |= MODE_STEP;
    interp_step(f->v);
    assert_int_equal(f->delivered, 0);
    interp_step(f->v);
    expect_fault(f, EXC_DB);
    assert_int_equal(f->last.is_trap, 0);
    assert_int_equal(f->last.dr6, 2);
    assert_int_equal(f->v->eip, BASE + 1);
    f->v->sflags |= FL_RF; /* as iret would */
    interp_step(f->v);
    assert_int_equal(f->delivered, 0);
    assert_int_equal(f->v->eip, BASE + 2);
    assert_int_equal(f->v->sflags & FL_RF, 0);
    /* RF lasts until all of rep is done */
    f->v->dr[1] = BASE + 2;
    f->v->gpr[R_ECX] = 2;
    f->v->gpr[R_EDI] = BASE + 0x2000;
    f->v->sflags |= FL_RF;
    interp_step(f->v);
    assert_int_equal(f->v->sflags & FL_RF, FL_RF);
    interp_step(f->v);
    assert_int_equal(f->v->sflags & FL_RF, 0);
    assert_int_equal(f->v->eip, BASE + 4);
    assert_int_equal(f->delivered, 0);
    /* a data breakpoint hit by the instruction traps after it */
    f->v->eip = BASE;
    f->v->dr[7] = 0;
    f->v->mode &= ~MODE_STEP;
    f->v->dr6_pending = 4;
    interp_run(f->v, 1);
    expect_fault(f, EXC_DB);
    assert_int_equal(f->last.dr6, 4);
    assert_int_equal(f->last.is_trap, 1);
    assert_int_equal(f->last_eip, BASE + 1);
    fx_destroy(f);
}

static void record_poll(struct fx *f)
{
    f->last_eip = f->v->eip;
}

static void test_interrupt_shadow(void **state)
{
    struct fx *f = start();
    CODE(f, BASE, 0xfb, 0x40, 0x40, 0x40); /* sti; inc */
    f->on_poll = record_poll;
    f->v->intr_line = 1;
    interp_run(f->v, 3);
    assert_int_equal(f->polls, 1);
    assert_int_equal(f->last_eip, BASE + 2); /* after the instruction that follows sti */
    assert_int_equal(f->v->gpr[R_EAX], 2);
    /* masked */
    fx_reset_cpu(f);
    f->v->intr_line = 1;
    f->v->eip = BASE + 1;
    interp_run(f->v, 2);
    assert_int_equal(f->polls, 0);
    /* a kick and an event stop it */
    f->v->kick = 1;
    assert_int_equal(interp_run(f->v, 2), 0);
    f->v->kick = 0;
    f->v->events = EV_STOP;
    assert_int_equal(interp_run(f->v, 2), 0);
    fx_destroy(f);
}

/* A long rep gives way in between, and takes an interrupt with its progress kept. */
static void test_rep_interruptible(void **state)
{
    struct fx *f = start();
    CODE(f, BASE, 0xf3, 0xac, 0x40); /* rep lodsb */
    f->v->opts &= ~OPT(string);      /* which does so much at once */
    f->v->gpr[R_ECX] = 9000;
    f->v->gpr[R_ESI] = BASE + 0x2000;
    f->on_poll = record_poll;
    interp_run(f->v, 1);
    assert_int_equal(f->v->eip, BASE);
    assert_in_range(f->v->gpr[R_ECX], 1, 8999);
    f->v->iflag = 1;
    f->v->intr_line = 1;
    interp_run(f->v, 1);
    assert_int_equal(f->polls, 1);
    assert_int_equal(f->last_eip, BASE);
    interp_run(f->v, 1);
    assert_int_equal(f->v->eip, BASE + 2);
    assert_int_equal(f->v->gpr[R_ECX], 0);
    assert_int_equal(f->v->gpr[R_ESI], BASE + 0x2000 + 9000);
    assert_int_equal(f->v->stats.rep_iterations, 9000);
    fx_destroy(f);
}

/* rep stos over the page that holds it: the cached instruction goes stale, the store is complete. */
static void test_rep_over_code(void **state)
{
    struct fx *f = start();
    CODE(f, BASE + 0x10, 0xf3, 0xaa);
    f->v->eip = BASE + 0x10;
    f->v->gpr[R_ECX] = 0x1800;
    f->v->gpr[R_EDI] = BASE;
    f->v->gpr[R_EAX] = 0x90;
    for (int n = 0; n < 10 && f->v->gpr[R_ECX]; n++)
        interp_run(f->v, 1);
    assert_true(*fx_host(f, BASE + 0x10) == 0x90);
    fx_destroy(f);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A loop of loads, stores, arithmetic and branches. The bound is far below the target, for busy machines. */
static void test_speed(void **state)
{
    struct fx *f = start();
    CODE(f, BASE, 0x8b, 0x04, 0x8b, /* mov eax, [ebx+ecx*4] */
         0x01, 0xc2,                /* add edx, eax */
         0x89, 0x14, 0x8b,          /* mov [ebx+ecx*4], edx */
         0x41,                      /* inc ecx */
         0x81, 0xe1, 0xff, 1, 0, 0, /* and ecx, 1ffh */
         0x39, 0xd1,                /* cmp ecx, edx */
         0x50, 0x58,                /* push eax; pop eax */
         0xeb, 0xeb);               /* jmp */
    f->v->gpr[R_EBX] = BASE + 0x2000;
    double t = now();
    u64 n = interp_run(f->v, 20000000);
    t = now() - t;
    assert_int_equal(n, 20000000);
    printf("interpreter: %.1f million instructions/s\n", (double)n / t / 1e6);
    assert_true((double)n / t > 5e6);
    fx_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_hits),
        cmocka_unit_test(test_smc),
        cmocka_unit_test(test_code_size),
        cmocka_unit_test(test_page_crossing),
        cmocka_unit_test(test_cs_limit),
        cmocka_unit_test(test_single_step),
        cmocka_unit_test(test_breakpoints),
        cmocka_unit_test(test_interrupt_shadow),
        cmocka_unit_test(test_rep_interruptible),
        cmocka_unit_test(test_rep_over_code),
        cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
