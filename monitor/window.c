/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Windows from the monitor's side: when to turn them on and off, and what to do when translated code faults
 * at a window operand. What a window is and what may be in it: shadowpt/window.c, shadowpt/kwindow.c.
 *
 * A host fault costs microseconds, so each must buy something: a mapping that stays, or the knowledge that
 * this instruction is better off in table form.
 */
#include "base/opts.h"
#include "monitor/bt.h"
#include "shadowpt/shadowpt.h"

/*
 * A view's window is turned on once the view has been found running at a kick (guest timer interrupts,
 * mostly), so short-lived address spaces never pay for one; and off again when it loses pages faster than it
 * is worth: filling a large working set once is worth it, filling it again and again (mmap, touch, munmap;
 * fork) is not. A kick that finds the view running stands for so much time in its window, and pays for
 * WIN_LOST pages; WIN_DEBT may be owed, since that time is a guess. Each time that a view lost more than that
 * it waits WIN_BACKOFF times as long for the next attempt: a compiler's heap shrinks now and then, a loop
 * around munmap does so for good.
 */
#define WIN_TICKS      1u
#define WIN_BACKOFF    4u
#define WIN_OFFS       5u /* the longest wait: WIN_TICKS * WIN_BACKOFF to the power of this */
#define WIN_LOST       50u
#define WIN_DEBT       1000u
#define UNSTEADY_RATE  64u   /* CR3 loads between two faults */
#define UNSTEADY_TIMES 4u    /* faults in a row at that rate */
#define WIN_MISFITS    1000u /* supervisor operands that the window could not serve, before it is given up */

bool bt_kernel_window_of_use(struct vcpu *v)
{
    return !bt_of(v)->kernel_window_off && shadow_window_useful(v);
}

void bt_window_tick(struct vcpu *v)
{
    struct bt *b = bt_of(v);
    struct shadow_window_clock *clock = shadow_window_clock(v);

    b->looked = true;
    if (!b->windows || v->slow_access || b->cfg.windows_always ||
        (v->cpl != 3 && !bt_kernel_window_of_use(v)))
        return;
    if (shadow_window_on(v)) {
        if (clock->lost > WIN_DEBT && v->cpl == 3) {
            shadow_window_disable(v);
            v->stats.windows_off++;
            clock->offs += clock->offs < WIN_OFFS;
            clock->ticks = 0;
            clock->lost = 0;
            return;
        }
        clock->lost -= clock->lost < WIN_LOST ? clock->lost : WIN_LOST;
        shadow_window_tick(v);
    } else {
        u32 wait = WIN_TICKS;
        for (u32 n = 0; n < clock->offs; n++)
            wait *= WIN_BACKOFF;
        if (++clock->ticks >= wait)
            b->windows = shadow_window_enable(v);
    }
}

void bt_window_expect(struct vcpu *v, u32 lin, bool write)
{
    struct bt *b = bt_of(v);

    if (v->cpl != 3 || !shadow_window_on(v))
        return;
    v->bt[BT_PF] = v->bt[BT_BASE];
    b->pf_lin = lin;
    b->pf_write = write;
}

void bt_window_prefill(struct vcpu *v)
{
    struct bt *b = bt_of(v);

    v->bt[BT_PF] = 0;
    if (shadow_window_on(v))
        shadow_window_prefill(v, b->pf_lin, b->pf_write);
}

static u64 hf_gpa(const struct bt *b)
{
    return b->hf.frag->key.gpa + b->hf.frag->pcmap[b->hf.insn].guest;
}

/* Enters gpa in a table of sites. What was there before gives way: its translation is made anew, so that what
 * a translation is can always be told from the tables (copies at other addresses are compared with it). */
static void add_site(struct vcpu *v, u64 *site, u64 gpa)
{
    struct bt *b = bt_of(v);
    u64 old = *site;

    *site = gpa + 1;
    b->learned_pages[bt_learned_page(gpa) >> 6] |= 1ull << (bt_learned_page(gpa) & 63);
    if (unlikely(old && old != gpa + 1))
        bt_retranslate(v, old - 1);
}

/* The faulting instruction's operands go to table form. */
static void to_table_form(struct vcpu *v)
{
    struct bt *b = bt_of(v);
    u64 gpa = hf_gpa(b);

    add_site(v, bt_table_site(b, gpa), gpa);
    v->stats.window_table_sites++;
    bt_retranslate(v, gpa);
}

/*
 * The page that translated code has just written to was watched, and is not any more: mostly a page table
 * that was given up, by a loop that goes on writing there. What went to table form of the page of code that
 * the loop is in has window form again; a few times, since who meets one page table after another is better
 * off as it is.
 */
#define AGAIN_TIMES 2u

void bt_window_again(struct vcpu *v)
{
    struct bt *b = bt_of(v);
    const struct fragment *f;
    u64 page;
    bool any = false;

    if (!(v->opts & OPT(winagain)) || !v->bt[BT_RESUME])
        return;
    f = tcache_find_host(b->tc, (const u8 *)(uintptr_t)v->bt[BT_RESUME]);
    if (!f || !(f->key.mode & MODE_WIN) || !bt_learned(b, f->key.gpa))
        return;
    page = f->key.gpa & ~(u64)PAGE_MASK;
    if (b->again[bt_learned_page(page)] == AGAIN_TIMES)
        return;
    for (u64 gpa = page; gpa < page + PAGE_SIZE; gpa++) {
        u64 *site = bt_table_site(b, gpa);
        if (*site != gpa + 1)
            continue;
        *site = 0;
        any = true;
        bt_retranslate(v, gpa);
    }
    b->again[bt_learned_page(page)] += any;
    v->stats.window_again += any;
}

/* The faulting instruction works on pages that the window cannot hold (watched, MMIO, not global): table form
 * serves it better. */
static void window_give_up(struct vcpu *v, bool misfit)
{
    struct bt *b = bt_of(v);

    if (misfit && !shadow_window_useful(v) &&
        !b->cfg.windows_always) { /* of a processor without PGE, or turned on before there was paging */
        shadow_window_disable(v);
        v->stats.windows_off++;
        return;
    }
    /* A kernel whose pages are neither global nor its own alone would end up here everywhere. */
    if (misfit && v->cpl != 3 && ++b->kernel_misfits > WIN_MISFITS && !b->cfg.windows_always) {
        shadow_window_disable(v);
        b->kernel_window_off = true;
        v->stats.windows_off++;
        return;
    }
    to_table_form(v);
}

/* The faulting instruction's page would not stay in the window: it was a page table lately and will be one
 * again soon, or the kernel maps one page after another there. Those that come to such pages all the time
 * (set_pte, the copying of pages in fork, what works on pages behind kmap) are better off in table form; for
 * those that do now and then (any that uses a stack or the heap), a mapping. */
static bool often_unsteady(struct vcpu *v)
{
    struct bt *b = bt_of(v);
    u64 gpa = hf_gpa(b);
    u32 i = (u32)(gpa * 0x9e3779b1u) >> 24, now = (u32)v->stats.shadow_cr3_loads;

    if (b->unsteady[i].gpa != gpa || now - b->unsteady[i].when > UNSTEADY_RATE)
        b->unsteady[i].count = 0;
    b->unsteady[i].gpa = gpa;
    b->unsteady[i].when = now;
    return ++b->unsteady[i].count > UNSTEADY_TIMES;
}

/*
 * A host fault at a window operand was the guest's own. Where that happens again and again (a garbage
 * collector's barrier, a probe of user memory, the first touch of new memory), the operand is better off in
 * table form, which sees it without a signal. That costs a few cycles each time, a signal ten thousand and
 * more: so while there are more than one signal in FAULTS_CYCLES (over FAULTS_SPAN of them), the sites that
 * they come from are given up at their FAULTS_SITE'th.
 */
#define FAULTS_SITE   4u
#define FAULTS_SPAN   64u
#define FAULTS_CYCLES 1000000u

static void guest_fault_at_window(struct vcpu *v)
{
    struct bt *b = bt_of(v);
    u64 gpa = hf_gpa(b);
    struct fault_site *s = &b->fault_sites[(u32)(gpa * 0x9e3779b1u) >> 24];

    if (!(v->opts & OPT(faultsites)))
        return;
    if (++b->faults == FAULTS_SPAN) {
        u64 now = __builtin_ia32_rdtsc();
        b->faults_hot = now - b->faults_since < (u64)FAULTS_SPAN * FAULTS_CYCLES;
        b->faults_since = now;
        b->faults = 0;
    }
    if (s->gpa != gpa)
        *s = (struct fault_site){.gpa = gpa};
    if (++s->count < FAULTS_SITE || !b->faults_hot)
        return;
    to_table_form(v);
    s->count = 0;
}

/* A division failed on the host: look at its operands first from now on. */
static void division_failed(struct vcpu *v)
{
    struct bt *b = bt_of(v);
    u64 gpa = hf_gpa(b);

    if (!(v->opts & OPT(faultsites)) || *bt_check_site(b, gpa) == gpa + 1)
        return;
    add_site(v, bt_check_site(b, gpa), gpa);
    v->stats.check_sites++;
    bt_retranslate(v, gpa);
}

/* cmps reads two operands, and which of two bad ones it finds first differs between processors. The
 * interpreter knows for all of the guest. */
static bool has_two_operands(struct vcpu *v)
{
    const struct insn *i;

    return insn_fetch(v, &i) == CPU_OK && i->map == 0 && (i->opcode == 0xa6 || i->opcode == 0xa7);
}

/* Translated code faulted on the host: a window page that is not mapped (yet), or an instruction that faults
 * in the guest, too, which the interpreter finds out. Returns whether to enter translated code again at
 * BT_RESUME. */
bool bt_host_fault(struct vcpu *v)
{
    struct bt *b = bt_of(v);
    u64 base = shadow_window_base(v);
    enum shadow_mapped how;
    bool fits;
    u32 lin = (u32)(b->hf.addr - base);

    /* The last bytes: an operand that wraps at 4 GiB is #GP before it can be #PF (cpu/segment.c). */
    if (b->hf.addr_valid && shadow_window_on(v) && b->hf.addr - base < 4 * GiB - 16) {
        v->stats.window_faults++;
        switch (shadow_fill(v, lin, b->hf.write ? SH_WRITE : SH_READ, v->cpl == 3, NULL)) {
        case SH_FILLED:
            how = shadow_window_map(v, lin, b->hf.write, false);
            if (how == SH_UNSTEADY && !often_unsteady(v))
                how = shadow_window_map(v, lin, b->hf.write, true);
            fits = how == SH_MAPPED;
            if (!fits)
                window_give_up(v, how == SH_MISFIT);
            if (fits && b->hf.frag->valid && !v->events && !b->hf.frag->pcmap[b->hf.insn].sp) {
                v->bt[BT_LEFT]++; /* it starts again, in place */
                v->bt[BT_RESUME] =
                    (u64)(uintptr_t)fragment_host(b->tc, b->hf.frag) + b->hf.frag->pcmap[b->hf.insn].host;
                b->retry_eip = v->eip;
                if (!v->fpu_live)
                    cpu_fpu_live(v);
                return true;
            }
            break; /* A and D bits are set: the instruction must run before anything else happens */
        case SH_FAULT:
            if (bt_other_fault_first(v, lin, b->hf.write) || has_two_operands(v))
                break;
            bt_window_expect(v, lin, b->hf.write);
            guest_fault_at_window(v);
            cpu_deliver_fault(v);
            return false;
        case SH_SLOW:
            window_give_up(v, !shadow_write_slow(v, lin));
            break;
        }
    } else if (b->hf.addr_valid && b->hf.addr - base >= 4 * GiB && (v->opts & OPT(faultsites))) {
        to_table_form(v); /* a 64-bit address (addr64) where the guest's wraps, likely not for once */
    }
    v->stats.exit_host_fault++;
    if (b->hf.divide)
        division_failed(v);
    bt_step(v, true);
    return false;
}
