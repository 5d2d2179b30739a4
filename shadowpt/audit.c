/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The auditor: every entry of a space against a fresh walk of the guest's tables, and the structures that
 * keep entries revocable against the entries. It changes nothing that the guest can see, and counts and logs
 * every difference.
 *
 * It trusts only the walk (sh_walk) and physical memory; line[], the uses, and the reverse map are what is
 * checked.
 */
#include "shadowpt/internal.h"

#define LOG_LIMIT 100u /* differences that are logged; all are counted */

static u64 differs(struct shadow *s, const struct sh_view *vw, int kind, u32 lp, u64 entry, const char *why)
{
    s->v->stats.shadow_audit_diffs++;
    if (s->audit_logged++ < LOG_LIMIT) {
        cpu_fpu_park(s->v);
        error_report("shadow audit: cr3 %08x %s view, %ct[%05x] = %llx: %s",
                     s->spaces[vw->id >> 1].key & ~31u, vw->user ? "user" : "supervisor", "rwx"[kind], lp,
                     (unsigned long long)entry, why);
    }
    return 1;
}

static bool linked(const struct shadow *s, const struct sh_space *sp, u32 slot, u32 page)
{
    u32 id = sp->index * USE_STRIDE + slot;
    return s->uses[id].page == page + 1 && (s->map.watch[page] & MEMW_PT) &&
           (sp->slots[slot >> 6] >> (slot & 63) & 1);
}

static u64 audit_entry(struct shadow *s, struct sh_space *sp, struct sh_view *vw, int kind, u32 lp, u64 entry)
{
    static const enum shadow_access access[] = {SH_READ, SH_WRITE, SH_EXEC};
    struct sh_walk w;
    u32 lin = lp << PAGE_SHIFT;
    s->v->stats.shadow_audits++;
    if (sh_walk(s, sp, lin, &w) != WALK_OK)
        return differs(s, vw, kind, lp, entry, "the walk fails");
    if (!sh_allowed(sp, &w, access[kind], vw->user))
        return differs(s, vw, kind, lp, entry, "access is not allowed");
    if (!w.accessed)
        return differs(s, vw, kind, lp, entry, "A is clear");
    if (!w.cacheable)
        return differs(s, vw, kind, lp, entry, "a table is not in RAM");
    if (sp->key & KEY_PG) {
        bool pae = sp->key & KEY_PAE;
        if (!linked(s, sp, SLOT_PD + (pae ? lin >> 30 : 0), w.pd_page))
            return differs(s, vw, kind, lp, entry, "the directory is not traced");
        if (!w.large && !linked(s, sp, pae ? lin >> 21 : (lin >> 22) * 2, w.pt_page))
            return differs(s, vw, kind, lp, entry, "the table is not traced");
    }
    if (kind == K_X)
        return (entry - 1) << PAGE_SHIFT == w.gpa ? 0 : differs(s, vw, kind, lp, entry, "another page");
    u8 *host = memory_host(s->m, w.gpa);
    if (!host || entry + lin != (u64)host)
        return differs(s, vw, kind, lp, entry, "another page");
    if (kind == K_R)
        return 0;
    if (!w.dirty)
        return differs(s, vw, kind, lp, entry, "D is clear");
    if (memory_kind(s->m, w.gpa) != MEM_RAM)
        return differs(s, vw, kind, lp, entry, "not RAM");
    if (memory_watch_flags(s->m, w.gpa))
        return differs(s, vw, kind, lp, entry, "the page is watched");
    if (!sh_rmap_knows(s, vw, lp, (u32)(w.gpa >> PAGE_SHIFT)))
        return differs(s, vw, kind, lp, entry, "it could not be revoked");
    return 0;
}

static u64 audit_view(struct shadow *s, struct sh_space *sp, struct sh_view *vw)
{
    u64 bad = 0;
    for (u32 c = 0; c < SH_CHUNKS; c++) {
        u32 lines = vw->line[K_R][c] | vw->line[K_W][c] | vw->line[K_X][c];
        if (!lines)
            continue;
        if (!(vw->any[c >> 6] >> (c & 63) & 1))
            bad += differs(s, vw, K_R, c << 9, 0, "chunk not marked");
        for (u32 m = lines; m; m &= m - 1) {
            u32 lp0 = (c << 9) + (u32)__builtin_ctz(m) * LINE_PAGES;
            for (int k = 0; k < K_COUNT; k++)
                for (u32 lp = lp0; lp < lp0 + LINE_PAGES && sh_line(vw, k, lp0); lp++) {
                    u64 e = sh_entry(vw, k, lp);
                    if (e)
                        bad += audit_entry(s, sp, vw, k, lp, e);
                }
        }
    }
    return bad;
}

/* A page of a chunk that holds pages which are not global: who fits in has it so. */
static u64 audit_local(struct shadow *s, u32 lp)
{
    const struct sh_view *vw = &s->cur->view[0];
    struct sh_walk w;

    if (!s->cur->kwin_on || s->cur->kwin_gen != s->kwin_gen || !sh_kwin_bound(s, lp >> 9))
        return 0;
    if (sh_walk(s, s->cur, lp << PAGE_SHIFT, &w) != WALK_OK || !w.accessed)
        return differs(s, vw, K_R, lp, 0, "in the supervisor window, and the walk fails");
    if (!w.large && !linked(s, s->kspace, s->cur->key & KEY_PAE ? lp >> 9 : lp >> 9 & ~1u, w.pt_page))
        return differs(s, vw, K_R, lp, 0, "the supervisor window's table is not traced");
    if (s->kphys[lp] && (s->kphys[lp] - 1 != w.gpa >> PAGE_SHIFT || !w.dirty))
        return differs(s, vw, K_W, lp, s->kphys[lp] - 1, "another page in the supervisor window");
    return 0;
}

/* What the supervisor window lets be written must not be watched, and must be found when it is to be. */
static u64 audit_kwin(struct shadow *s)
{
    u64 bad = 0;
    for (u32 i = 0; i < SH_PAGES / 64; i++) {
        if (s->kstays && (s->kstays[i] & ~s->kwin[i]))
            bad += differs(s, &s->cur->view[0], K_X, i * 64, 0,
                           "a page that stays is not in the supervisor window");
        for (u64 m = s->kwin[i]; m; m &= m - 1) {
            u32 lp = i * 64 + (u32)__builtin_ctzll(m), page = s->kphys[lp] - 1;
            bad += audit_local(s, lp);
            if (!s->kphys[lp])
                continue;
            s->v->stats.shadow_audits++;
            if (s->map.watch[page])
                bad += differs(s, &s->cur->view[0], K_W, lp, page, "a watched page in the supervisor window");
            else if (!sh_rmap_has_key(s, KWIN_ID << 20 | lp, page))
                bad += differs(s, &s->cur->view[0], K_W, lp, page,
                               "the supervisor window's could not be revoked");
        }
    }
    return bad;
}

u64 sh_audit_space(struct shadow *s, struct sh_space *sp)
{
    if (s->in_audit)
        return 0;
    s->in_audit = true;
    u64 bad = audit_view(s, sp, &sp->view[VIEW_SUPER]) + audit_view(s, sp, &sp->view[VIEW_USER]);
    if (sp == s->cur)
        bad += audit_kwin(s);
    s->in_audit = false;
    return bad;
}

u64 shadow_audit(struct vcpu *v)
{
    struct shadow *s = sh_of(v);
    u64 bad = 0;
    for (u32 i = 0; i < s->used_spaces; i++)
        bad += sh_audit_space(s, &s->spaces[i]);
    return bad;
}

void shadow_set_audit(struct vcpu *v, bool on)
{
    sh_of(v)->audit_on = on;
    sh_of(v)->audit_count = 0;
}
