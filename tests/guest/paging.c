/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page tables of the subjects that need paging: identity 4 MiB pages, and a window of 4 KiB pages over the
 * arena. */
#include "kernel.h"

u32 page_dir[1024] __attribute__((aligned(4096)));
u32 window_table[1024] __attribute__((aligned(4096)));
u8 arena[WINDOW_PAGES * 4096] __attribute__((aligned(4096)));

void set_pte(u32 page, u32 pte)
{
    ((volatile u32 *)window_table)[page] = pte;
}

void paging_on(void)
{
    memset(page_dir, 0, sizeof(page_dir));
    memset(window_table, 0, sizeof(window_table));
    for (u32 i = 0; i < 8; i++) /* the first 32 MiB */
        page_dir[i] = i << 22 | P_PS | P_U | P_W | P_P;
    for (u32 i = 0; i < WINDOW_PAGES; i++)
        set_pte(i, ARENA(i) | P_U | P_W | P_P);
    page_dir[WINDOW >> 22] = (u32)window_table | P_U | P_W | P_P;
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3((u32)page_dir);
    write_cr0(read_cr0() | CR0_PG | CR0_WP);
}

void paging_off(void)
{
    write_cr0(read_cr0() & ~(CR0_PG | CR0_WP));
    write_cr4(read_cr4() & ~(u32)(CR4_PSE | CR4_PGE | CR4_PAE));
}
