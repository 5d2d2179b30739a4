/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kernel that does not map itself global: address spaces whose directories agree about the supervisor's
 * pages, lack them (as programs' own tables do with page-table isolation), or have others there. What one
 * space's translations were must never be seen in another, nor behind a CR3 load after a change (SDM vol.
 * 3, 4.10.4.1). */
#include "kernel.h"

#define WINDOWS  8u
#define W(i)     (0x40000000u + (i)*0x400000u)
#define AT(i, p) ((volatile u32 *)(W(i) + (p)*4096u))
#define PAGES    WINDOW_PAGES
#define FLAGS    (P_W | P_P)

enum { A, B, PROGRAM, PART, OTHER, SPACES };

static bool pae;
static u64 pdpt[SPACES][4] __attribute__((aligned(32)));
static u8 dirs[SPACES][2][4096] __attribute__((aligned(4096)));    /* non-PAE: the first */
static u8 tables[2][WINDOWS][4096] __attribute__((aligned(4096))); /* of two sets, what maps the windows */

static void put(void *table, u32 n, u32 value)
{
    if (pae)
        ((volatile u64 *)table)[n] = value;
    else
        ((volatile u32 *)table)[n] = value;
}

static void pde(u32 space, u32 lin, u32 value)
{
    if (pae)
        put(dirs[space][lin >> 30], lin >> 21 & 511, value);
    else
        put(dirs[space][0], lin >> 22, value);
}

static void window(u32 space, u32 i, u32 set)
{
    pde(space, W(i), (u32)tables[set][i] | P_A | FLAGS);
}

static void go(u32 space)
{
    write_cr3(pae ? (u32)pdpt[space] : (u32)dirs[space][0]);
}

/* Page p of window i in a set is this page of the arena. */
static u32 page_of(u32 set, u32 i, u32 p)
{
    return (p + i + set * 31) % PAGES;
}

static void fill(u32 set, u32 i)
{
    for (u32 p = 0; p < PAGES; p++)
        put(tables[set][i], p, ARENA(page_of(set, i, p)) | FLAGS);
}

static volatile u32 *arena_at(u32 page)
{
    return (volatile u32 *)ARENA(page);
}

static u32 stamp;

/* Does the space that runs have window i by the tables of that set? (Inlined, so that not all of these checks
 * are the same few instructions, which novt soon translates to what needs no window.) */
static inline __attribute__((always_inline)) bool is(u32 set, u32 i)
{
    bool good = true;

    for (u32 p = 0; p < PAGES; p += 9) {
        *arena_at(page_of(set, i, p)) = ++stamp;
        good &= *AT(i, p) == stamp;
        *AT(i, p) = ++stamp;
        good &= *arena_at(page_of(set, i, p)) == stamp;
    }
    return good;
}

static inline __attribute__((always_inline)) bool absent(u32 i)
{
    return TRY("movl (%0), %%eax", : : "r"(AT(i, 3)) : "eax") == V_PF && last.error == 0;
}

static void begin(void)
{
    memset(pdpt, 0, sizeof(pdpt));
    memset(dirs, 0, sizeof(dirs));
    memset(tables, 0, sizeof(tables));
    for (u32 s = 0; s < SPACES; s++) {
        for (u32 lin = 0; lin < 32u << 20; lin += pae ? 1u << 21 : 1u << 22)
            pde(s, lin, lin | P_PS | FLAGS);
        pdpt[s][0] = (u32)dirs[s][0] | P_P;
        pdpt[s][1] = (u32)dirs[s][1] | P_P;
        for (u32 i = 0; i < WINDOWS && s != PROGRAM; i++)
            window(s, i, s == OTHER || (s == PART && i == 7));
    }
    for (u32 i = 0; i < WINDOWS; i++) {
        fill(0, i);
        fill(1, i);
    }
    write_cr4(pae ? read_cr4() | CR4_PAE : read_cr4() | CR4_PSE);
    go(A);
    write_cr0(read_cr0() | CR0_PG | CR0_WP);
}

/* What one space needs first, others have otherwise; and none has looked at it before. */
static void first_uses(void)
{
    bool good = true;

    window(B, 6, 1);
    go(B);
    good &= is(0, 0) && is(0, 1);
    go(A);
    good &= is(0, 0) && is(0, 1);
    for (u32 n = 0; n < 3; n++) {
        go(B);
        good &= is(0, 0);
        go(A);
        good &= is(0, 1);
    }
    good &= is(0, 6);
    go(B);
    good &= is(1, 6);
    check("tables that another space has not", good);
    /* Its last page and the next one's first lie side by side. */
    put(tables[0][2], 1023, ARENA(2) | P_A | P_D | FLAGS);
    for (u32 p = 0; p < PAGES; p++)
        put(tables[0][3], p, ARENA(page_of(0, 3, p)) | P_A | P_D | FLAGS);
    window(B, 3, 1);
    go(B);
    good &= is(0, 0);
    go(A);
    *AT(2, pae ? 2 : 1023) = 1;
    go(B);
    good &= is(1, 3);
    window(B, 3, 0);
    check("a table beside one that both have", good);
    go(A);
    for (u32 i = 2; i < 6; i++)
        good &= is(0, i);
    go(B);
    good &= is(0, 5);
    window(B, 5, 1);
    go(B);
    good &= is(1, 5);
    window(B, 4, 1);
    invlpg(W(4));
    good &= is(1, 4) && is(0, 3);
    go(A);
    good &= is(0, 4) && is(0, 5) && is(0, 6);
    check("tables that are replaced before they were used", good);
}

/* With few spaces at a time (--max-spaces), the one that had the tables first is forgotten before they
 * change. */
static void forgotten(void)
{
    bool good = true;

    for (u32 i = 0; i < 4; i++) {
        go(B);
        good &= is(0, 7);
        go(A);
        good &= is(0, 7) && is(0, i);
        go(B);
        good &= is(0, 7) && *AT(i, 9) == *arena_at(page_of(0, i, 9));
        for (u32 n = PROGRAM; n < SPACES; n++) {
            go(n);
            (void)*(volatile u32 *)arena;
        }
        *arena_at(50) = 0xf0000 + i;
        put(tables[0][i], 9, ARENA(50) | P_A | P_D | FLAGS);
        go(B);
        good &= *AT(i, 9) == 0xf0000 + i;
    }
    check("tables that change when who had them first is forgotten", good);
}

static void pointers(void)
{
    bool good = true;

    if (!pae)
        return;
    for (u32 i = 0; i < WINDOWS; i++)
        good &= is(0, i);
    for (u32 n = 0; n < 10; n++) { /* they count as they were when CR3 was loaded */
        pdpt[A][1] = (u32)dirs[n & 1 ? B : OTHER][1] | P_P;
        good &= is(n & 1, 2);
        go(A);
        good &= is(!(n & 1), 2);
    }
    pdpt[A][1] = (u32)dirs[A][1] | P_P;
    go(A);
    check_tcg_gap("directories that change", good && is(0, 2)); /* TCG reads the pointers at each walk */
}

static void in_turn(void)
{
    bool good = true;

    for (u32 n = 0; n < 2000; n++) {
        u32 i = n % WINDOWS, p = n * 7 % PAGES;
        go(n & 1 ? A : B);
        *AT(i, p) = n;
        good &= *arena_at(page_of(0, i, p)) == n;
        good &= *AT((i + 1) % WINDOWS, (p + PAGES - 1 + (i + 1 == WINDOWS ? WINDOWS : 0)) % PAGES) == n;
    }
    check("two spaces with the same tables", good);
    for (u32 n = 0; n < 200; n++) {
        go(PROGRAM);
        good &= absent(n % WINDOWS);
        go(n & 1 ? A : B);
        good &= is(0, n % WINDOWS);
    }
    check("a program's own tables in between", good);
}

static void entries(void)
{
    bool good = true;

    for (u32 n = 0; n < 60; n++) {
        u32 i = n % WINDOWS, to = n * 11 % PAGES;
        *arena_at(to) = 0xe0000 + n;
        go(A);
        (void)*AT(i, 5);
        go(n % 3 == 0 ? B : n % 3 == 1 ? PROGRAM : A);
        put(tables[0][i], 5, ARENA(to) | FLAGS);
        go(n & 1 ? A : B);
        good &= *AT(i, 5) == 0xe0000 + n;
        put(tables[0][i], 5, 0);
        invlpg((u32)AT(i, 5));
        good &= TRY("movl %%eax, (%0)", : : "r"(AT(i, 5)) : "memory") == V_PF;
        go(n & 1 ? B : A);
        good &= TRY("movl %%eax, (%0)", : : "r"(AT(i, 5)) : "memory") == V_PF;
        put(tables[0][i], 5, ARENA(to) | P_P);
        good &= *AT(i, 5) == 0xe0000 + n;
        good &= TRY("movl %%eax, (%0)", : : "r"(AT(i, 5)) : "memory") == V_PF && last.error == 3;
        fill(0, i);
        go(A);
        good &= is(0, i);
    }
    check("entries that change while any space runs", good);
    for (u32 n = 0; n < 30; n++) {
        u32 i = n % WINDOWS;
        go(n & 1 ? PROGRAM : A);
        for (u32 times = 0; times < 3; times++) /* more than a table is watched for */
            for (u32 p = 0; p < PAGES; p++)
                put(tables[0][i], p, ARENA(page_of(times != 1, i, p)) | FLAGS);
        go(B);
        good &= is(1, i);
        fill(0, i);
        go(A);
        good &= is(0, i);
    }
    check("tables that are written as a whole", good);
}

static void directories(void)
{
    bool good = true;

    for (u32 n = 0; n < 60; n++) {
        u32 i = n % WINDOWS, changed = n & 4 ? A : B, kept = n & 4 ? B : A;
        go(n % 3 == 0 ? A : n % 3 == 1 ? B : PROGRAM);
        window(changed, i, 1);
        go(changed);
        good &= is(1, i) && is(0, (i + 1) % WINDOWS);
        go(kept);
        good &= is(0, i) && is(0, (i + 1) % WINDOWS);
        pde(changed, W(i), 0);
        good &= is(0, i);
        go(changed);
        good &= absent(i);
        window(changed, i, 0);
        good &= is(0, i);
    }
    check("directory entries that change while any space runs", good);
    for (u32 n = 0; n < 24; n++) {
        go(n % 3 == 0 ? A : n % 3 == 1 ? B : PROGRAM);
        for (u32 times = 0; times < 12; times++)
            for (u32 i = 0; i < WINDOWS; i++)
                window(A, i, (times ^ i ^ n) & 1);
        go(A);
        for (u32 i = 0; i < WINDOWS; i++)
            good &= is(!((i ^ n) & 1), i);
        go(B);
        for (u32 i = 0; i < WINDOWS; i++)
            good &= is(0, i);
    }
    for (u32 i = 0; i < WINDOWS; i++)
        window(A, i, 0);
    go(A);
    check("directories that are written as a whole", good);
}

static void others(void)
{
    bool good = true;

    for (u32 n = 0; n < 100; n++) {
        go(n & 1 ? A : B);
        good &= is(0, 7) && is(0, n % WINDOWS);
        go(PART);
        good &= is(1, 7) && is(0, n % 7);
    }
    check("a space with other tables in one place", good);
    for (u32 n = 0; n < 200; n++) {
        go(n & 1 ? A : B);
        good &= is(0, n % WINDOWS);
        go(OTHER);
        good &= is(1, n % WINDOWS);
    }
    check("and everywhere", good);
}

static void sizes(void)
{
    u32 base = (u32)arena & ~0x3fffffu, off = (u32)arena & (pae ? 0x1fffff : 0x3fffff);
    bool good = true;

    for (u32 n = 0; n < 20; n++) {
        volatile u32 *at = (volatile u32 *)(W(3) + off);
        for (u32 s = A; s <= B; s++)
            pde(s, W(3), (pae ? (u32)arena & ~0x1fffffu : base) | P_PS | FLAGS);
        go(A);
        *at = n;
        good &= *arena_at(0) == n;
        go(PROGRAM);
        good &= absent(3);
        go(B);
        good &= *at == n;
        window(B, 3, 1);
        go(B);
        good &= is(1, 3);
        go(A);
        *at = n + 1;
        good &= *arena_at(0) == n + 1;
        window(A, 3, 0);
        window(B, 3, 0);
        go(n & 1 ? A : B);
        good &= is(0, 3);
    }
    check("large and small pages", good);
}

/* Code that is written through a window, where it is not executed. */
static void code(void)
{
    u32 page = page_of(0, 1, 6);
    bool good = true;

    for (u32 n = 0; n < 50; n++) {
        volatile u8 *to = (volatile u8 *)AT(1, 6);
        go(n & 1 ? A : B);
        to[5] = 0xc3;
        to[0] = 0xb8; /* mov eax, n */
        *(volatile u32 *)(to + 1) = n;
        go(n & 2 ? A : PROGRAM);
        good &= ((u32(*)(void))ARENA(page))() == n;
    }
    check("code that is written through a window", good);
}

static void put_jump(u32 page, u32 at, u32 to)
{
    volatile u8 *p = (volatile u8 *)ARENA(page);

    p[0] = 0xe9;
    *(volatile u32 *)(p + 1) = to - (at + 5);
}

static void put_value(u32 page, u32 value)
{
    volatile u8 *p = (volatile u8 *)ARENA(page);

    p[0] = 0xb8; /* mov eax, value; ret */
    *(volatile u32 *)(p + 1) = value;
    p[5] = 0xc3;
}

static u32 from_lin, to_lin, to_page[2];

/* From window 1 a jump leads to a page of window 7, another one each time (what comes and goes at the same
 * address all the time may be treated otherwise); in the two sets of tables that is code of its own. */
static void aim(u32 n, u32 flags)
{
    u32 p = 10 + n % 20;

    from_lin = (u32)AT(1, 6);
    to_lin = (u32)AT(7, p);
    for (u32 set = 0; set < 2; set++) {
        to_page[set] = page_of(set, 7, p);
        put_value(to_page[set], 0x100 * (set + 1) + n);
        put(tables[set][7], p, ARENA(to_page[set]) | flags | P_A | FLAGS);
    }
    put(tables[0][1], 6, ARENA(page_of(0, 1, 6)) | flags | P_A | FLAGS);
    put_jump(page_of(0, 1, 6), from_lin, to_lin);
}

/* The page that the jump leads to is mapped as set has it. */
static void map_to(u32 set, u32 flags)
{
    put(tables[0][7], to_lin >> 12 & 1023, ARENA(to_page[set]) | flags | P_A | FLAGS);
}

/* Where does it lead, the first time and then? */
static inline __attribute__((always_inline)) bool leads(u32 set, u32 n)
{
    u32 (*const f)(void) = (u32(*)(void))from_lin;
    bool good = f() == 0x100 * (set + 1) + n;

    return good && f() == 0x100 * (set + 1) + n && f() == 0x100 * (set + 1) + n;
}

/* In that space: the jump is made anew, and leads to what set 0 has there. */
static inline __attribute__((always_inline)) bool leads_first(u32 space, u32 n, u32 flags)
{
    go(space);
    aim(n, flags);
    invlpg(to_lin);
    invlpg(from_lin);
    return leads(0, n);
}

/* Branches from page to page: what was chained must not lead to what is not there any more. */
static void branches(void)
{
    bool good = true;

    for (u32 n = 0; n < 40; n++) {
        good &= leads_first(n & 1 ? A : B, n, 0);
        go(PART);
        good &= leads(1, n);
        go(n & 2 ? A : B);
        good &= leads(0, n);
    }
    check("branches to where a space has other tables", good);
    for (u32 n = 0; n < 40; n++) {
        good &= leads_first(n & 1 ? A : B, n, 0);
        go(n & 2 ? A : PROGRAM);
        map_to(1, 0);
        go(n & 4 ? A : B);
        good &= leads(1, n);
        map_to(0, 0);
        invlpg(to_lin);
        good &= leads(0, n);
        put_value(to_page[0], 0x100 + n + 1);
        good &= leads(0, n + 1);
    }
    check("to pages that are mapped elsewhere, or written", good);
    for (u32 n = 0; n < 40; n++) {
        good &= leads_first(A, n, 0);
        if (n & 1)
            go(B);
        window(A, 7, 1);
        go(A);
        good &= leads(1, n);
        go(B);
        good &= leads(0, n);
        go(A);
        window(A, 7, 0);
        invlpg(to_lin);
        good &= leads(0, n);
    }
    check("to tables that are replaced", good);
    if (!(cpu_features() & FEAT_PGE))
        return;
    write_cr4(read_cr4() | CR4_PGE);
    for (u32 n = 0; n < 40; n++) {
        good &= leads_first(n & 1 ? A : B, n, P_G);
        map_to(1, P_G);
        invlpg(to_lin);
        good &= leads(1, n);
        go(n & 2 ? A : B);
        good &= leads(1, n);
        map_to(0, P_G);
        write_cr4(read_cr4() & ~(u32)CR4_PGE);
        good &= leads(0, n);
        write_cr4(read_cr4() | CR4_PGE);
        good &= leads(0, n);
    }
    check("to global pages", good);
    for (u32 n = 0; n < 40; n++) {
        good &= leads_first(n & 1 ? A : B, n, P_G);
        for (u32 other = PROGRAM; other < SPACES; other++) {
            go(other);
            (void)*(volatile u32 *)arena;
        }
        map_to(1, P_G);
        go(n & 1 ? A : B);
        if (n & 2) {
            write_cr4(read_cr4() & ~(u32)CR4_PGE);
            good &= leads(1, n);
            write_cr4(read_cr4() | CR4_PGE);
        } else {
            invlpg(to_lin);
        }
        good &= leads(1, n);
    }
    write_cr4(read_cr4() & ~(u32)CR4_PGE);
    check("to global pages of a table that was forgotten", good);
}

void test_local(void)
{
    static void (*const parts[])(void) = {first_uses, forgotten, in_turn, directories, pointers,
                                          entries,    sizes,     code,    branches,    others};

    for (u32 n = 0; n < 2; n++) {
        pae = n;
        if (pae && !(cpu_features() & FEAT_PAE)) {
            puts("# no PAE\n");
            return;
        }
        for (u32 k = 0; k < sizeof(parts) / sizeof(parts[0]); k++) {
            begin();
            parts[k]();
            paging_off();
        }
    }
}
