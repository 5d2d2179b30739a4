/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checked entry: what stands before a fragment's code, for those who chain to it from other pages.
 *
 * A fragment was made from a physical page at a linear address. Another page's code may jump straight to it
 * only where the current address space still maps the one to the other, so such chains lead here and not to
 * the fragment's first byte:
 *
 *  miss:  mov  r8d, eip
 *         jmp  th_far
 *  check: mov  r11d, [r14 + exec table entry of the fragment's page]
 *         lea  r11d, [r11 + r11 - 2 * expected]
 *         adox r11d, [-2]
 *         jo   miss
 *         adox r11d, [1]                        (unless the fragment changes OF before it looks at it)
 *         (the fragment)
 *
 * That is what makes chains safe across address spaces and demand paging without flushing anything on CR3
 * loads. It stands once before the target and not at each exit, since code that is run a few times, as most
 * of a compiler's is, is bound by how many lines of it the host has to fetch. Flags survive it (exits.c says
 * how adox compares), so exits need no knowledge of the target's liveness. On hosts without ADX, or with
 * --no-opt=ofcheck, jrcxz compares.
 *
 * Code of a kernel that has its window is chained past it as long as the page stays (tcache_link_direct()).
 *
 * Nothing of the guest's state changes here: a kick steps through to the fragment or to what follows th_far.
 */
#include "shadowpt/shadowpt.h"
#include "translator/xl.h"

/* reg = [exec table entry of page]; reg = factor * reg - factor * expected. The displacements are 32 bits
 * wide whatever their values: a checked entry has one of two lengths, by `of`. */
static void difference(struct emit *e, int reg, u32 page, u32 factor, u32 expected)
{
    e_rm(e, 0, 0x8b, reg, R14, -1, 1, (i32)(page * 4) - (i32)SPACE_XT_OFF);
    e_rex(e, 0, reg, factor == 2 ? reg : 0, reg);
    e8(e, 0x8d); /* lea */
    e_modrm(e, 2, reg, factor == 2 ? 4 : reg & 7);
    if (factor == 2)
        e8(e, (u8)((reg & 7) << 3 | (reg & 7)));
    e32(e, -factor * expected);
}

static void jump8(struct emit *e, u8 op, u32 to)
{
    e8(e, op);
    e8(e, 0);
    e_fix8(e, e->pos - 1, to);
}

/* The fragment's code is there already: what is behind the entry must stay as it is. n: 8 at least. */
static void copy_exactly(u8 *to, const u8 *from, u32 n)
{
    for (u32 k = 0; k < n - 8; k += 8)
        __builtin_memcpy(to + k, from + k, 8);
    __builtin_memcpy(to + n - 8, from + n - 8, 8);
}

u32 translate_entry(u64 opts, u32 eip, u32 lin, u32 expected, bool of, u8 *code, u32 *check)
{
    u8 buf[ENTRY_MAX + 8];
    struct emit e = emit_to(buf, sizeof(buf));
    u32 page = lin >> PAGE_SHIFT;

    if ((opts & (OPT(xpage) | OPT(chain))) != (OPT(xpage) | OPT(chain)))
        return 0;
    if (opts & OPT(ofcheck)) {
        e_mov_ri32(&e, R8, eip);
        jmp_thunk(&e, TH_FAR);
        *check = e.pos;
        difference(&e, R11, page, 2, expected);
        e_adox(&e, 0, R11, R15, VO_MINUS_TWO);
        jump8(&e, 0x70, 0); /* jo */
        if (of)
            e_adox(&e, 0, R11, R15, VO_ONE);
    } else {
        u32 same;
        e_mov_rr64(&e, RCX, R11);
        e_mov_ri32(&e, R8, eip);
        jmp_thunk(&e, TH_IBRANCH);
        *check = e.pos;
        e_mov_rr64(&e, R11, RCX);
        difference(&e, RCX, page, 1, expected);
        same = e_jrcxz(&e);
        jump8(&e, 0xeb, 0);
        e_fix8(&e, same, e.pos);
        e_mov_rr64(&e, RCX, R11);
    }
    copy_exactly(code, buf, e.pos);
    return e.pos;
}
