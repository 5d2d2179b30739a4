/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PAE paging: three levels, 2 MiB pages, reserved bits, no-execute where the processor has it (SDM vol.
 * 3, 4.4). */
#include "kernel.h"

static u64 pdpt[4] __attribute__((aligned(32)));
static u64 dirs[4][512] __attribute__((aligned(4096)));
static u64 table[512] __attribute__((aligned(4096)));

#define WPTE(i, v) (((volatile u64 *)table)[i] = (v))

static u32 user_read(u32 va)
{
    return *(volatile u32 *)va;
}

static u32 user_call(u32 va)
{
    return ((u32(*)(void))va)();
}

static void flush(void)
{
    write_cr3((u32)pdpt);
}

void test_pae(void)
{
    if (!(cpu_features() & FEAT_PAE)) {
        puts("# no PAE\n");
        return;
    }
    for (u32 i = 0; i < 4; i++)
        pdpt[i] = (u32)dirs[i] | P_P;
    for (u32 i = 0; i < 16; i++)
        dirs[0][i] = (u64)(i << 21 | P_PS | P_U | P_W | P_P);
    dirs[1][0] = (u32)table | P_U | P_W | P_P; /* WINDOW */
    for (u32 i = 0; i < WINDOW_PAGES; i++)
        WPTE(i, ARENA(i) | P_U | P_W | P_P);
    write_cr4(read_cr4() | CR4_PAE);
    flush();
    write_cr0(read_cr0() | CR0_PG | CR0_WP);
    *(u32 *)ARENA(3) = 0x3333;
    u32 va = WINDOW_AT(3);
    check_eq("a mapped page", *(volatile u32 *)va, 0x3333);
    check_eq("its A", ((volatile u64 *)table)[3] & (P_A | P_D), P_A);
    *(volatile u32 *)va = 0x3334;
    check_eq("its D", ((volatile u64 *)table)[3] & (P_A | P_D), P_A | P_D);
    WPTE(3, 0);
    invlpg(va);
    CHECK_FAULT("not present", V_PF, 0, "movl (%0), %%eax", : : "r"(va) : "eax");
    WPTE(3, ARENA(3) | P_P);
    invlpg(va);
    CHECK_FAULT("read only", V_PF, 3, "movl %%eax, (%0)", : : "r"(va) : "memory");
    check_eq("kernel only", run_user(user_read, va, 0), FAULTED(V_PF));
    check_eq("kernel only: error", last.error, 5);
    WPTE(3, 1ull << 52 | ARENA(3) | P_U | P_W | P_P); /* reserved with every physical address size */
    invlpg(va);
    /* RSVD comes with P set (SDM vol. 3, 4.7); TCG 7.2 leaves P clear in these three. */
    CHECK_FAULT_TCG_GAP("a reserved bit", V_PF, 9, "movl (%0), %%eax", : : "r"(va) : "eax");
    WPTE(3, ARENA(4) | P_U | P_W | P_P);
    *(u32 *)ARENA(4) = 0x4444;
    invlpg(va);
    check_eq("another frame", *(volatile u32 *)va, 0x4444);
    /* A 2 MiB page. */
    u32 big = WINDOW + 0x200000;
    dirs[1][1] = (ARENA(5) & 0xffe00000) | P_PS | P_W | P_P;
    flush();
    *(volatile u32 *)(big + (ARENA(5) & 0x1fffff)) = 0x5555;
    check_eq("a 2 MiB page", *(volatile u32 *)ARENA(5), 0x5555);
    check_eq("its A and D", ((volatile u64 *)dirs[1])[1] & (P_A | P_D), P_A | P_D);
    dirs[1][1] |= 1 << 13; /* reserved between the frame and the flags */
    flush();
    CHECK_FAULT_TCG_GAP("a reserved bit in a 2 MiB page", V_PF, 9, "movl (%0), %%eax", : : "r"(big) : "eax");
    dirs[1][1] = 0;
    flush();
    /* All four gigabytes. */
    dirs[3][511] = (u32)table | P_W | P_P;
    WPTE(511, ARENA(6) | P_W | P_P);
    flush();
    *(volatile u32 *)0xfffffffcu = 0x6666;
    check_eq("the last word of the address space", *(volatile u32 *)(ARENA(6) + 4092), 0x6666);
    dirs[3][511] = 0;
    pdpt[2] = 0;
    flush();
    CHECK_FAULT("a missing directory", V_PF, 0, "movl (%0), %%eax", : : "r"(0x80000000) : "eax");
    pdpt[2] = (u32)dirs[2] | P_P | P_W; /* bit 1 is reserved in this level */
    CHECK_FAULT_TCG_GAP("a reserved bit in the pointer table", V_GP, 0, "movl %0, %%cr3", : : "r"(pdpt));
    pdpt[2] = (u32)dirs[2] | P_P;
    flush();
    /* Two spaces in turn. */
    static u64 pdpt2[4] __attribute__((aligned(32))), dir2[512] __attribute__((aligned(4096)));
    static u64 table2[512] __attribute__((aligned(4096)));
    memcpy(pdpt2, pdpt, sizeof(pdpt));
    memcpy(table2, table, sizeof(table));
    table2[3] = ARENA(7) | P_U | P_W | P_P;
    dir2[0] = (u32)table2 | P_U | P_W | P_P;
    pdpt2[1] = (u32)dir2 | P_P;
    bool good = true;
    for (u32 i = 0; i < 100; i++) {
        write_cr3((u32)pdpt2);
        *(volatile u32 *)va = i;
        write_cr3((u32)pdpt);
        good = good && *(volatile u32 *)ARENA(7) == i && *(volatile u32 *)va == 0x4444;
    }
    check("two address spaces in turn", good);
    /* An entry written in two halves, the low one last, as kernels do. */
    WPTE(3, 0);
    invlpg(va);
    ((volatile u32 *)table)[7] = 0;
    ((volatile u32 *)table)[6] = ARENA(8) | P_U | P_W | P_P;
    *(volatile u32 *)va = 0x8888;
    check_eq("an entry written in halves", *(volatile u32 *)ARENA(8), 0x8888);
    u64 old = ((volatile u64 *)table)[3], want = ARENA(9) | P_U | P_W | P_P;
    u8 z;
    asm volatile("lock cmpxchg8b %0\n\tsetz %1"
                 : "+m"(table[3]), "=q"(z), "+A"(old)
                 : "b"((u32)want), "c"(0)
                 : "memory", "cc");
    invlpg(va);
    *(volatile u32 *)va = 0x9999;
    check("an entry exchanged", z && *(volatile u32 *)ARENA(9) == 0x9999);
    /* Over and over, whole and in halves, the page used each time; across two entries. */
    *(u32 *)ARENA(8) = 0xf0008;
    *(u32 *)ARENA(9) = 0xf0009;
    for (u32 i = 0, seen; i < 200; i++) {
        u32 n = 8 + (i & 1);
        if (i & 2) {
            want = ARENA(n) | P_U | P_W | P_P;
            old = ((volatile u64 *)table)[3];
            asm volatile("lock cmpxchg8b %0\n\tsetz %1"
                         : "+m"(table[3]), "=q"(z), "+A"(old)
                         : "b"((u32)want), "c"(0)
                         : "memory", "cc");
            good = good && z;
        } else if (i & 4) {
            ((volatile u32 *)table)[6] = 0;
            ((volatile u32 *)table)[7] = 0;
            invlpg(va);
            good = good && TRY("movl (%0), %%eax", : : "r"(va) : "eax") == V_PF;
            ((volatile u32 *)table)[6] = ARENA(n) | P_U | P_W | P_P;
        } else {
            u32 image[2] = {ARENA(n) | P_U | P_W | P_A | P_P, 0}, at = (u32)&table[3] - 2;
            u32 low = image[0] << 16 | *(volatile u16 *)at;
            asm volatile("movl %1, (%0)" : : "r"(at), "r"(low) : "memory");
            *(volatile u16 *)(at + 4) = (u16)(image[0] >> 16);
        }
        invlpg(va);
        asm volatile("movl (%1), %0" : "=r"(seen) : "r"(va) : "memory");
        good = good && seen == 0xf0000 + n;
    }
    check("entries exchanged over and over", good);
    u32 a, b, c, d;
    cpuid(0x80000000, &a, &b, &c, &d);
    d = 0;
    if (a >= 0x80000001)
        cpuid(0x80000001, &a, &b, &c, &d);
    *(u8 *)ARENA(9) = 0xb8;
    *(volatile u32 *)(ARENA(9) + 1) = 0x77;
    *(u8 *)(ARENA(9) + 5) = 0xc3;
    if (d & 1 << 20) {
        asm volatile("rdmsr\n\torl $0x800, %%eax\n\twrmsr" : : "c"(0xc0000080) : "eax", "edx");
        WPTE(3, 1ull << 63 | ARENA(9) | P_U | P_W | P_P);
        invlpg(va);
        check_eq("a no-execute page is read", *(volatile u8 *)va, 0xb8);
        CHECK_FAULT("but not executed", V_PF, 0x11, "call *%0", : : "r"(va) : "eax", "memory");
        check_eq("nor by the user", run_user(user_call, va, 0), FAULTED(V_PF));
        check_eq("nor by the user: error", last.error, 0x15);
        WPTE(3, ARENA(9) | P_U | P_W | P_P);
        invlpg(va);
        check_eq("executable again", run_user(user_call, va, 0), 0x77);
        asm volatile("rdmsr\n\tandl $~0x800, %%eax\n\twrmsr" : : "c"(0xc0000080) : "eax", "edx");
        flush();
    } else {
        puts("# no NX\n");
    }
    WPTE(3, 1ull << 63 | ARENA(9) | P_U | P_W | P_P);
    invlpg(va);
    CHECK_FAULT_TCG_GAP("bit 63 is reserved without NXE", V_PF, 9, "movl (%0), %%eax", : : "r"(va) : "eax");
    write_cr0(read_cr0() & ~(CR0_PG | CR0_WP));
    write_cr4(read_cr4() & ~(u32)CR4_PAE);
    write_cr3(0);
    paging_on();
    check_eq("two-level paging after it", *(volatile u32 *)WINDOW_AT(9) & 0xff, 0xb8);
    paging_off();
}
