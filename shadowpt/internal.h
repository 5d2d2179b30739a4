/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the files of shadowpt/.
 *
 * Words: a *chunk* is 2 MiB of linear space (512 pages): the unit of a PAE leaf table and half of a non-PAE
 * one. A *line* is 64 pages (an eighth of a chunk): the unit of clearing. A *slot* names one guest table page
 * of a space by what it maps: slots 0..2047 are leaf tables by chunk (non-PAE: even slots only), SLOT_PD + k
 * is the page directory of GiB k (non-PAE: k = 0, the root). A *use* says that a slot of a space was read
 * from a physical page; uses of one page form a list, which is how a write to the page finds the entries that
 * came from it.
 */
#ifndef NOVT_SHADOWPT_INTERNAL_H
#define NOVT_SHADOWPT_INTERNAL_H

#include "base/log.h"
#include "base/opts.h"
#include "shadowpt/shadowpt.h"

#define SH_PAGES    (1u << 20)
#define SH_CHUNKS   2048u
#define LINE_PAGES  64u
#define VIEW_STRIDE (8 * GiB)
#define SLOT_PD     2048u
#define SLOT_COUNT  2052u
#define USE_STRIDE  4096u /* use id = space index * USE_STRIDE + slot */
#define NO_PAGE     0xffffffffu
#define HASH_SIZE   256u
#define NO_SPACE    0xffffu

#define SH_DEFAULT_SPACES 64u
#define SH_MAX_SPACES     256u
#define RMAP_NODES        (256u * 1024u)
#define RMAP_RESERVE      4u     /* nodes that one fill may need */
#define TABLE_BUDGET      10240u /* host pages of tables that stay resident: 40 MiB, one space's worst case */
#define PT_WRITES_MAX     64u    /* traced writes to a table page between two walks before it is given up */
#define AUDIT_EVERY       4096u  /* traced writes between two audits */
#define TW_SIZE           64u
#define TABLE_MEMORY      4096u /* CR3 loads that a page is remembered as a table for, once it is none */
#define MASTER_WAYS       4u    /* of clone.c */

/* PTE bits (SDM vol. 3, 4.3 and 4.4). */
#define PTE_P    0x01u
#define PTE_W    0x02u
#define PTE_U    0x04u
#define PTE_A    0x20u
#define PTE_D    0x40u
#define PTE_PS   0x80u /* in a PDE */
#define PTE_PAT  0x80u /* in a PTE */
#define PTE_NX   (1ull << 63)
#define PAE_ADDR 0x000ffffffffff000ull

/* Space keys: CR3 with what else decides how its tables read in the bits that CR3 does not use. */
#define KEY_PG  0x01u
#define KEY_PAE 0x02u
#define KEY_WP  0x04u
#define KEY_NXE 0x08u
#define KEY_PSE 0x10u

/* The three tables of a view. */
enum { K_R, K_W, K_X, K_COUNT };

/* sh_view.win_on, 0: the window is not used. Each of them is another context's (monitor/context.c). */
#define WIN_HIGH  1 /* at base */
#define WIN_STALE 2 /* pages that are gone are still mapped */
#define WIN_LOW   3 /* at 0 */

struct sh_view {
    u64 base;
    u64 win_base; /* of its window: base, or 0 while it has the low one */
    u64 *rt, *wt;
    u32 *xt;
    u16 id; /* space index * 2 + enum shadow_view */
    u16 user;
    u64 any[SH_CHUNKS / 64]; /* chunks with a bit in any of line[] */
    u64 big[SH_CHUNKS / 64]; /* chunks with a large-mapping record */
    u64 res[K_COUNT]
           [SH_CHUNKS / 64];     /* host pages of the tables that may be resident (K_X: one for two chunks) */
    u8 line[K_COUNT][SH_CHUNKS]; /* lines that may hold entries; all others are zero */
    u8 win_on;                   /* translated code uses the window: WIN_* */
    struct shadow_window_clock win_clock;
    struct sh_win *win; /* NULL until the window is first used */
};

/* What is in a window: one bit a page, and which page of RAM is (or, while `gone`, was) mapped there. */
struct sh_win {
    u64 mapped[SH_PAGES / 64];
    u64 gone[SH_PAGES / 64];            /* not any more, but the host does not know yet */
    u64 gone_words[SH_PAGES / 64 / 64]; /* words of gone[] that are not zero */
    u64 writable[SH_PAGES / 64];        /* of what is mapped or gone: mapped for writing */
    u32 frame[SH_PAGES];
};

struct sh_space {
    u32 key;
    u16 index;
    u16 hash_next;
    u8 keyed;     /* in the hash */
    u8 mapped;    /* tables exist */
    u8 idle;      /* its root was given up and it is not current: first to be recycled */
    u8 kwin_on;   /* its supervisor code may use the supervisor window */
    u32 kwin_gen; /* as of s->kwin_gen; 0: to be found out */
    u64 stamp;    /* of the last switch to it */
    u64 pdpte[4];
    u64 slots[SLOT_COUNT / 64 + 1]; /* slots with a use */
    struct sh_view view[2];
};

struct sh_use {
    u32 page;       /* 1 + physical page, 0: none */
    u32 next, prev; /* 1 + use id */
};

/* Large-mapping record of (view, chunk): the wt entries of the chunk map this 2 MiB of physical memory. */
struct sh_big {
    u32 region; /* 1 + physical address >> 21, 0: none */
    u32 next, prev;
};

struct sh_node {
    u32 next; /* 1 + node index */
    u32 key;  /* view id << 20 | linear page */
};

/* Translations of an address that were in the supervisor window and are gone. */
struct sh_fleeting {
    u32 when;  /* s->clock at the last one */
    u32 count; /* so many in a row, each less than TABLE_MEMORY behind the one before */
};

/* Chunks of the supervisor window that hold pages which are not global. */
struct sh_local {
    u64 bound[SH_CHUNKS / 64]; /* hold such pages, mapped by: */
    u64 pde[SH_CHUNKS];        /* directory entries */
    u64 never[SH_CHUNKS / 64]; /* spaces have different tables there */
    u8 state;                  /* LOCAL_* */
    u32 asked;                 /* how often there would have been one, before it was allowed */
    u32 unfit;                 /* how often a space had other tables in most chunks */
    u32 global, counted_at;    /* chunks that hold global pages only; at kwin_changes, if counted */
    bool counted;
};

struct shadow {
    struct vcpu *v;
    struct memory *m;
    struct mem_map map;
    struct sh_space *cur;
    struct sh_space *spaces;
    struct sh_space *kspace; /* behind them, never current: kwindow.c's traces */
    bool holes;              /* what is not mapped in a window is not mapped at all, in place of PROT_NONE */
    bool low;                /* the host's lowest 4 GiB are reserved, for one program's window at a time: */
    struct sh_view *low_owner;
    u64 low_taken;    /* interrupts delivered before it got there */
    u32 low_missed;   /* how often others were found running in their windows since it was */
    u32 low_rises;    /* how often it was taken for that reason from one that lives, the last times */
    u32 win_areas;    /* memory areas that windows may have made since they were last emptied */
    u64 kwin_base;    /* the supervisor window, see kwindow.c */
    u64 *kwin;        /* one bit a mapped page */
    u64 *klarge;      /* one bit a page that was mapped by a large one */
    u32 kwin_changes; /* calls that mapped or dropped pages there */
    u64 *kstays;      /* one bit a mapped page that somebody relies on (shadow_page_stays()) */
    bool kstays_any;
    void (*stays_hook)(void *opaque);
    void *stays_opaque;
    u32 *kphys;                /* 1 + physical page where mapped writable */
    struct sh_fleeting *kgone; /* by page: how its translations went lately */
    struct sh_local *klocal;   /* what of the supervisor window is not global */
    u32 kwin_gen;              /* moves on when spaces may fit in that did not, or not any more */
    struct shadow_window_clock kwin_clock;
    u32 kwin_mode, kwin_pge; /* key bits and CR4.PGE that its mappings were made under */
    u8 kwin_on;
    u32 max_spaces;
    u32 used_spaces; /* slots ever taken */
    u64 clock;
    u64 epoch;
    u32 resident; /* host pages of tables, by the res bitmaps */
    u32 over;     /* resident exceeded the budget: trim at the next fill */
    bool audit_on;
    bool in_audit;
    u32 audit_count;
    u32 audit_logged;
    u64 phys_mask;            /* address lines that are connected: all, or all but A20 */
    u64 rsvd_pde4m, rsvd_pae; /* reserved bits by CPU model */
    u32 pat_rsvd;             /* PTE_PAT if the model lacks PAT */
    void (*exec_hook)(void *opaque, u64 base, u32 page);
    void *exec_opaque;
    struct sh_use *uses; /* max_spaces * USE_STRIDE */
    u32 *pt_head;        /* by physical page: 1 + first use */
    u32 *pt_last;        /* by physical page: 1 + clock when it was last made or unmade a table, 0: never */
    u16 *pt_writes;      /* by physical page: traced writes since the last walk through it */
    u64 pt_followed;     /* the last write that sh_page_changed() followed: guest-physical address */
    struct sh_big *bigs; /* max_spaces * 2 * SH_CHUNKS */
    u32 *big_head;       /* by physical 2 MiB: 1 + first record */
    struct sh_node *nodes;
    u32 *rmap_head; /* by physical page: 1 + first node */
    u32 node_free;  /* 1 + first free node */
    u32 node_bump;  /* nodes never used yet start here */
    u32 node_left;
    bool rmap_high; /* lists of pages beyond RAM (frame buffers) may exist */
    struct {
        u32 tag; /* 1 + (view id << 20 | linear page) */
        u32 page;
    } tw[TW_SIZE]; /* recent writes that were allowed but hit a watched page */
    struct {
        u64 *entry, gpa;
        u32 len;
    } open; /* shadow_write_open() */
    u16 hash[HASH_SIZE];
    u16 *masters; /* by user, chunk and way: index of the space that copies of the chunk are made from */
    u8 *area;     /* address space of all views, then the empty view */
    u64 area_bytes;
    u64 empty_base;
    u8 *arrays;
    u64 arrays_bytes;
};

static inline struct shadow *sh_of(const struct vcpu *v)
{
    return v->shadow;
}

/* ---- walk.c ---- */

struct sh_walk {
    u64 gpa;           /* of the 4 KiB page */
    u8 *pde_p, *pte_p; /* host addresses of the entries, NULL if there is none or it is not in RAM */
    u64 pde, pte;
    u32 pd_page, pt_page; /* physical pages of the tables that were read, or NO_PAGE */
    bool user, write, nx; /* rights, all levels combined */
    bool dirty, accessed;
    bool large;
    bool cacheable; /* every table page was RAM, so traces work */
};
enum { WALK_OK, WALK_ABSENT, WALK_RSVD };
/* Reads the guest's tables for lin; no side effects, no rights checks. */
int sh_walk(const struct shadow *s, const struct sh_space *sp, u32 lin, struct sh_walk *w);
bool sh_allowed(const struct sh_space *sp, const struct sh_walk *w, enum shadow_access acc, int user);
u32 sh_error(const struct sh_space *sp, int walk, enum shadow_access acc, int user);
/* Sets A (and D) in memory. False if an entry changed meanwhile: walk again. */
bool sh_set_ad(struct shadow *s, struct sh_walk *w, bool dirty);

/* ---- fill.c ---- */

/* Fills the entries of pages [first, end), which one leaf table maps, around lp, which has been filled: those
 * that the guest has accessed already, so that nothing needs to change in its tables. */
void sh_fill_around(struct shadow *s, struct sh_view *vw, u32 lp, u32 first, u32 end);

/* ---- table.c ---- */

static inline bool sh_line(const struct sh_view *vw, int kind, u32 lp)
{
    return vw->line[kind][lp >> 9] >> ((lp >> 6) & 7) & 1;
}
/* Entries; 0 without touching the table's memory where nothing was ever filled. */
static inline u64 sh_entry(const struct sh_view *vw, int kind, u32 lp)
{
    if (!sh_line(vw, kind, lp))
        return 0;
    return kind == K_R ? vw->rt[lp] : kind == K_W ? vw->wt[lp] : vw->xt[lp];
}
static inline void sh_mark(struct shadow *s, struct sh_view *vw, int kind, u32 lp)
{
    u32 c = lp >> 9, r = kind == K_X ? c >> 1 : c;
    vw->line[kind][c] |= (u8)(1u << ((lp >> 6) & 7));
    vw->any[c >> 6] |= 1ull << (c & 63);
    u64 bit = 1ull << (r & 63);
    if (unlikely(!(vw->res[kind][r >> 6] & bit))) {
        vw->res[kind][r >> 6] |= bit;
        s->over |= ++s->resident > TABLE_BUDGET;
    }
}
static inline void sh_tw_forget(struct shadow *s, const struct sh_view *vw, u32 lp)
{
    u32 i = (lp ^ vw->id) % TW_SIZE;
    if (s->tw[i].tag == 1 + ((u32)vw->id << 20 | lp))
        s->tw[i].tag = 0;
}
void sh_exec_removed(struct shadow *s, const struct sh_view *vw, u32 page);
void sh_invalidate_view(struct shadow *s, struct sh_view *vw, u32 lp);
void sh_invalidate_page(struct shadow *s, struct sh_space *sp, u32 lp); /* in both views, and its window */
/* Removes every entry of chunks [c, c+n) in both views. */
void sh_clear_chunks(struct shadow *s, struct sh_space *sp, u32 c, u32 n);
/* Empties a space and forgets its uses; its key stays. */
void sh_clear_space(struct shadow *s, struct sh_space *sp);
/* Gives memory of long unused spaces back until the budget holds. Parks the FPU. */
void sh_trim(struct shadow *s);
int sh_map_tables(struct shadow *s, struct sh_space *sp);

/* ---- update.c ---- */

/* The entry at pte_p, in a linked leaf table, maps page lp of the space and was written. True: the shadow has
 * the page as the entry says now. */
bool sh_page_changed(struct shadow *s, struct sh_space *sp, u32 lp, const u8 *pte_p);

/* ---- clone.c ---- */

/* The space to copy entries of lin's chunk from and to add new ones to; NULL if that is sp itself. */
struct sh_space *sh_master(struct shadow *s, struct sh_space *sp, const struct sh_view *vw, u32 lin,
                           const struct sh_walk *w);
/* Copies chunk c into a view that has nothing there yet. False: nothing was done. large: from large pages. */
bool sh_clone_chunk(struct shadow *s, const struct sh_view *from, struct sh_view *vw, u32 c, bool large);

/* ---- kwindow.c ---- */
#define KWIN_ID 4095u /* its view number in rmap keys */
bool sh_kwin_enable(struct shadow *s);
void sh_kwin_disable(struct shadow *s);
/* Could it hold anything of the supervisor's, as paging is set? */
bool sh_kwin_useful(const struct shadow *s);
void sh_kwin_empty(struct shadow *s);
enum shadow_mapped sh_kwin_map(struct shadow *s, u32 lin, bool write, bool anyway);
bool sh_kwin_maps(const struct shadow *s, u32 lp, u32 page);
void sh_kwin_revoke(struct shadow *s, u32 lp, u32 page);
void sh_kwin_paging_changed(struct shadow *s);
void sh_kwin_drop_slow(struct shadow *s, u32 lp, u32 n);
void sh_kwin_invlpg(struct shadow *s, u32 lp);

/* ---- klocal.c ---- */

/* Is a supervisor's page that is not global to be mapped? */
bool sh_local_wanted(struct shadow *s);
/* Binds the chunk of such a page of the current space's, which is about to be mapped. False: it must not be.
 */
bool sh_local_bind(struct shadow *s, u32 lp, const struct sh_walk *w);
void sh_local_forget(struct shadow *s); /* nothing is mapped any more */
/* After a change of the current space, or of what the window holds: does it fit in? */
void sh_kwin_choose_slow(struct shadow *s);
static inline void sh_kwin_choose(struct shadow *s)
{
    if (unlikely(s->cur->kwin_gen != s->kwin_gen))
        sh_kwin_choose_slow(s);
}
/* Called when the directory entry of chunks [c, c+n) of a space changes, or the trace of their leaf table
 * ends there; and when the trace of a directory ends. */
void sh_kwin_chunks_gone(struct shadow *s, struct sh_space *sp, u32 c, u32 n);
void sh_kwin_directory_gone(struct shadow *s, struct sh_space *sp);
/* Is page a directory of the current space that decides whether it fits in? */
bool sh_kwin_needs(const struct shadow *s, u32 page);
static inline bool sh_kwin_bound(const struct shadow *s, u32 c)
{
    return s->kwin_on && s->klocal->bound[c >> 6] >> (c & 63) & 1;
}
static inline void sh_kwin_drop(struct shadow *s, u32 lp, u32 n)
{
    if (unlikely(s->kwin_on) && (n > 1 || s->kwin[lp >> 6] >> (lp & 63) & 1))
        sh_kwin_drop_slow(s, lp, n);
}

/* ---- window.c ---- */

#define SH_PROT_RW     3      /* PROT_READ | PROT_WRITE */
#define SH_MAP_PRIVATE 0x4022 /* MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE */
/* The host's lowest 4 GiB. False: something is there. */
bool sh_low_reserve(bool holes);
void sh_low_free(void);
long sh_sys_mmap(u64 addr, u64 len, int prot, int flags, int fd, u64 off);
void sh_window_unmap(const struct shadow *s, u64 base, u32 lp, u32 pages);
bool sh_window_protect(const struct shadow *s, u64 base, u32 lp, u32 pages);
bool sh_window_map_run(struct shadow *s, u64 base, u32 lp, u32 n, u64 gpa, bool write);

/* A page that is a table, or was one a moment ago and will be again: kernels get their tables from pages that
 * they have just freed. Windows do not map it for writing, since each change of its role would cost system
 * calls. */
static inline bool sh_table_lately(const struct shadow *s, u32 page)
{
    return s->pt_last[page] && (u32)s->clock + 1 - s->pt_last[page] < TABLE_MEMORY &&
           (s->v->opts & OPT(wintables));
}

/* ---- space.c ---- */

/* Has the program no page table left? Then it has exited, or never begun. */
bool sh_gone(const struct sh_view *vw);

/* ---- window.c: called before a table entry goes away ---- */

void sh_win_drop_slow(struct shadow *s, struct sh_view *vw, u32 lp);
void sh_win_readonly_slow(struct shadow *s, struct sh_view *vw, u32 lp);
void sh_win_drop_chunk_slow(struct shadow *s, struct sh_view *vw, u32 c);
void sh_win_off(struct shadow *s, struct sh_view *vw);
static inline void sh_win_drop(struct shadow *s, struct sh_view *vw, u32 lp)
{
    if (unlikely(vw->win_on))
        sh_win_drop_slow(s, vw, lp);
}
static inline void sh_win_readonly(struct shadow *s, struct sh_view *vw, u32 lp)
{
    if (unlikely(vw->win_on))
        sh_win_readonly_slow(s, vw, lp);
}
static inline void sh_win_drop_chunk(struct shadow *s, struct sh_view *vw, u32 c)
{
    if (unlikely(vw->win_on))
        sh_win_drop_chunk_slow(s, vw, c);
}

/* ---- trace.c ---- */

void sh_use_link_slow(struct shadow *s, struct sh_space *sp, u32 slot, u32 page);
static inline void sh_use_link(struct shadow *s, struct sh_space *sp, u32 slot, u32 page)
{
    if (unlikely(s->uses[sp->index * USE_STRIDE + slot].page != page + 1))
        sh_use_link_slow(s, sp, slot, page);
    s->pt_writes[page] = 0;
}
void sh_use_unlink(struct shadow *s, struct sh_space *sp, u32 slot);
/* The entry for chunk c in the directory of sp. False: that is not traced. */
bool sh_traced_pde(const struct shadow *s, const struct sh_space *sp, u32 c, u64 *pde);
/* Unlinks a slot with everything below it and removes the entries that came from them. */
void sh_use_drop(struct shadow *s, struct sh_space *sp, u32 slot);
void sh_pt_written(void *opaque, u64 gpa, u32 len);

/* ---- rmap.c ---- */

void sh_rmap_add(struct shadow *s, struct sh_view *vw, u32 lp, u32 page);
void sh_rmap_add_key(struct shadow *s, u32 key, u32 page);
void sh_big_link(struct shadow *s, struct sh_view *vw, u32 chunk, u32 region);
void sh_big_unlink(struct shadow *s, struct sh_view *vw, u32 chunk);
void sh_rmap_reset(struct shadow *s);
void sh_revoke(void *opaque, u64 page);
bool sh_rmap_has_key(const struct shadow *s, u32 key, u32 page);
/* Would sh_revoke(page) find the entry (vw, lp)? For the audit. */
bool sh_rmap_knows(struct shadow *s, const struct sh_view *vw, u32 lp, u32 page);

/* ---- space.c ---- */

void sh_select_view(struct shadow *s);

/* ---- audit.c ---- */

u64 sh_audit_space(struct shadow *s, struct sh_space *sp);

#endif
