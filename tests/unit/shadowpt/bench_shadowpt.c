/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the shadow's operations cost, in ns, warm. Run by `meson test --benchmark`; nothing is asserted. */
#include "env.h"

#define PD   0x10000u
#define PT   0x20000u /* 16 leaf tables */
#define DATA 0x400000u

static void report(const char *what, u64 ns, u64 n)
{
    printf("%-52s %8.1f ns\n", what, (double)ns / (double)n);
}

static void make_space(struct env *e, u32 pd)
{
    for (u32 i = 0; i < 16; i++)
        *(u32 *)(memory_base(e->m) + pd + i * 4) = (PT + i * 0x1000) | 7;
    for (u32 i = 768; i < 1000; i++)
        *(u32 *)(memory_base(e->m) + pd + i * 4) = (i - 768) % 32 << 22 | PTE_PS | 0x67;
}

int main(void)
{
    struct env e = env_new(256 * MiB, 64);
    u64 t, gpa;
    for (u32 i = 0; i < 16 * 1024; i++)
        poke32(&e, PT + i * 4, (DATA + i * 0x1000) | 0x67);
    for (u32 k = 0; k < 16; k++)
        make_space(&e, PD + k * 0x1000);
    paging_on(&e, PD, CR4_PSE, 0, true);

    for (int round = 0; round < 3; round++) {
        const u32 n = 16 * 1024;
        printf("-- round %d\n", round);
        shadow_flush_all(e.v);
        t = now_ns();
        for (u32 i = 0; i < n; i++)
            shadow_fill(e.v, i << 12, SH_READ, 0, &gpa);
        report("fill, 4 KiB page (read and write entry)", now_ns() - t, n);
        t = now_ns();
        for (u32 i = 0; i < n; i++)
            shadow_fill(e.v, i << 12, SH_EXEC, 1, &gpa);
        report("fill, 4 KiB page, other view (all entries)", now_ns() - t, n);
        t = now_ns();
        for (u32 i = 0; i < n / 64; i++)
            shadow_fill(e.v, 0xc0000000 + (i << 18), SH_WRITE, 0, &gpa);
        report("fill, large page, line of 64 (per fill)", now_ns() - t, n / 64);
    }

    u32 val = DATA | 0x67;
    t = now_ns();
    for (u32 i = 0; i < 1000000; i++) {
        u32 idx = i & 1023;
        if (idx % 32 == 0)
            shadow_fill(e.v, idx << 12, SH_READ, 0, &gpa); /* or the table is given up */
        shadow_mem_write(e.v, 0xc0000000 + PT + idx * 4, &val, 4, 0);
    }
    report("traced PTE write (and 1/32 of a fill)", now_ns() - t, 1000000);

    t = now_ns();
    for (u32 i = 0; i < 1000000; i++)
        shadow_mem_read(e.v, 0xc0000000 + (i & 0xff) * 4, &val, 4, 0);
    report("mem_read, table hit", now_ns() - t, 1000000);

    for (u32 k = 0; k < 8; k++)
        set_cr3(&e, PD + k * 0x1000);
    t = now_ns();
    for (u32 i = 0; i < 1000000; i++) {
        e.v->cr3 = PD + (i & 7) * 0x1000;
        shadow_cr3_loaded(e.v);
    }
    report("CR3 load, space kept", now_ns() - t, 1000000);
    t = now_ns();
    for (u32 i = 0; i < 10000000; i++)
        shadow_invlpg(e.v, i << 12);
    report("invlpg", now_ns() - t, 10000000);

    /* A process's life: new root page (zeroed, kernel half copied), 150 fills, then its root is reused. */
    static const u8 zero[4096];
    for (int round = 0; round < 3; round++) {
        u64 fills = 0;
        t = now_ns();
        for (u32 i = 0; i < 2000; i++) {
            u32 root = PD + (i & 7) * 0x1000;
            e.v->cr3 = PD + 0x8000;
            shadow_cr3_loaded(e.v);
            memory_write(e.m, root, zero, 4096);
            make_space(&e, root);
            e.v->cr3 = root;
            shadow_cr3_loaded(e.v);
            for (u32 k = 0; k < 100; k++, fills++)
                shadow_fill(e.v, (k * 37 & 1023) << 12, SH_WRITE, 1, &gpa);
            for (u32 k = 0; k < 50; k++, fills++)
                shadow_fill(e.v, 0xc0000000 + k * 0x123000, SH_WRITE, 0, &gpa);
        }
        report("a process: new root, 150 fills, root reused", now_ns() - t, 2000);
    }
    printf("resident table pages: %u\n", sh_of(e.v)->resident);
    shadow_destroy(e.v);
    memory_destroy(e.m);
    return 0;
}
