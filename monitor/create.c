/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor's beginning and end, and the places in its structures that translated code and the thunks know
 * by number.
 */
#include <errno.h>
#include <sys/auxv.h>
#undef PF_W /* ELF's; ours is the page-fault error bit */
#include <sys/mman.h>
#include "base/log.h"
#include "base/opts.h"
#include "cpu/hostcpu.h"
#include "monitor/bt.h"
#include "shadowpt/shadowpt.h"
#include "tcache/verify.h"

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1 << 1)
#endif

_Static_assert(offsetof(struct vcpu, gpr) == VO_GPR, "abi.h");
_Static_assert(offsetof(struct vcpu, gpr[R_ESP]) == VO_ESP, "abi.h");
_Static_assert(offsetof(struct vcpu, eip) == VO_EIP, "abi.h");
_Static_assert(offsetof(struct vcpu, aflags) == VO_AFLAGS, "abi.h");
_Static_assert(offsetof(struct vcpu, sflags) == VO_AFLAGS + 4, "abi.h");
_Static_assert(offsetof(struct vcpu, iflag) == VO_IFLAG, "abi.h");
_Static_assert(offsetof(struct vcpu, kick) == VO_KICK, "abi.h");
_Static_assert(offsetof(struct vcpu, intr_line) == VO_INTR, "abi.h");
_Static_assert(offsetof(struct vcpu, one) == VO_ONE, "abi.h");
_Static_assert(offsetof(struct vcpu, minus_two) == VO_MINUS_TWO, "abi.h");
_Static_assert(offsetof(struct vcpu, seg) == VO_SEG, "abi.h");
_Static_assert(sizeof(struct seg) == VO_SEG_SIZE, "abi.h");
_Static_assert(offsetof(struct seg, base) == VO_SEG_BASE, "abi.h");
_Static_assert(offsetof(struct seg, limit) == VO_SEG_LIMIT, "abi.h");
_Static_assert(offsetof(struct vcpu, bt) == VO_BT, "abi.h");
_Static_assert(offsetof(struct vcpu, cpl) == VO_CPL, "abi.h");
_Static_assert(offsetof(struct vcpu, tsc_offset) == VO_TSC, "abi.h");
_Static_assert(offsetof(struct vcpu, segc) == VO_SEGC, "abi.h");
_Static_assert(offsetof(struct vcpu, seg[S_LDTR]) == VO_LDTR, "abi.h");
_Static_assert(offsetof(struct vcpu, gdtr) == VO_GDTR, "abi.h");
_Static_assert(offsetof(struct vcpu, sflags) == VO_SFLAGS && VO_MODE == VO_SFLAGS + 4, "abi.h, thunks.S");
_Static_assert(offsetof(struct vcpu, cr0) == VO_CR0 && offsetof(struct vcpu, cr2) == VO_CR2, "abi.h");
_Static_assert(offsetof(struct vcpu, cr3) == VO_CR3 && offsetof(struct vcpu, cr4) == VO_CR4, "abi.h");
_Static_assert(offsetof(struct vcpu, ports) == VO_PORTS && PORT_VALUE == 0x100 && PORT_QUICK == 0x200 &&
                   PORT_QUICK_OFF == 131072,
               "abi.h, thunks.S");
_Static_assert(sizeof(struct seg_cached) == 64 && SEGC_ENTRIES == 64, "thunks.S");
_Static_assert(offsetof(struct seg_cached, lin) == 4 && offsetof(struct seg_cached, table) == 8 &&
                   offsetof(struct seg_cached, raw) == 16 && offsetof(struct seg_cached, page) == 24 &&
                   offsetof(struct seg_cached, attr) == 28,
               "thunks.S");
_Static_assert(offsetof(struct seg_cached, seg) == 32 && offsetof(struct seg, attr) == 12, "thunks.S");
_Static_assert(offsetof(struct vcpu, mode) == VO_MODE && offsetof(struct vcpu, rtab) == VO_TABLES &&
                   offsetof(struct vcpu, wtab) == VO_TABLES + 8 &&
                   offsetof(struct vcpu, xtab) == VO_TABLES + 16,
               "abi.h");
_Static_assert(offsetof(struct vcpu, msr_sysenter_cs) == VO_SYSENTER &&
                   offsetof(struct vcpu, msr_sysenter_esp) == VO_SYSENTER + 8 &&
                   offsetof(struct vcpu, msr_sysenter_eip) == VO_SYSENTER + 16,
               "abi.h");
_Static_assert(offsetof(struct ctx, base) == 0 && offsetof(struct ctx, epoch) == 20 &&
                   offsetof(struct ctx, salt) == 24 && offsetof(struct ctx, rsp) == 32 &&
                   offsetof(struct ctx, ibtc) == 40 && offsetof(struct ctx, window) == 48 &&
                   offsetof(struct ctx, epoch_of) == 56 && offsetof(struct ctx, window_on) == 64 &&
                   offsetof(struct ctx, in_window) == 72,
               "thunks.S");
_Static_assert(offsetof(struct ctx, sys.to) == 88 && offsetof(struct ctx, sys.to_salt) == 96 &&
                   offsetof(struct ctx, sys.sflags) == 104 && offsetof(struct ctx, sys.from_mode) == 108 &&
                   offsetof(struct ctx, sys.msr_cs) == 112 && offsetof(struct ctx, sys.to_mode) == 116 &&
                   offsetof(struct ctx, sys.cs) == 120 && offsetof(struct ctx, sys.ss) == 136,
               "thunks.S");
_Static_assert(offsetof(struct ctx, ts.to) == 152 && offsetof(struct ctx, ts.to_salt) == 160 &&
                   offsetof(struct ctx, ts.from_mode) == 168 && offsetof(struct ctx, ts.to_mode) == 172 &&
                   offsetof(struct insn, len) == INSN_LEN && CR0_TS == 8 && CR0_EM == 4,
               "thunks.S");
_Static_assert(offsetof(struct vcpu, df_seen) == VO_DF_SEEN, "abi.h");
_Static_assert(offsetof(struct vcpu, fx) == VO_FX && offsetof(struct vcpu, fpu_ip) == VO_FPU_IP &&
                   offsetof(struct vcpu, fpu_dp) == VO_FPU_DP && offsetof(struct vcpu, fpu_cs) == VO_FPU_CS &&
                   offsetof(struct vcpu, fpu_ds) == VO_FPU_CS + 2 && VO_FPU_DS == VO_FPU_CS + 2 &&
                   offsetof(struct vcpu, fpu_op) == VO_FPU_OP &&
                   offsetof(struct vcpu, fpu_ferr) == VO_FPU_FERR,
               "abi.h, thunks.S");
_Static_assert(offsetof(struct vcpu, idtr) == VO_IDTR && offsetof(struct vcpu, nmi_blocked) == VO_NMI &&
                   sizeof(struct dtr) == 8 && offsetof(struct insn, imm) == INSN_IMM && SA_DPL == 0x60,
               "abi.h, thunks.S");
_Static_assert(
    offsetof(struct ctx, gate) == 176 && offsetof(struct ctx, gate.to_salt) == 176 + 8 &&
        offsetof(struct ctx, gate.sflags) == 176 + 16 && offsetof(struct ctx, gate.from_mode) == 176 + 20 &&
        offsetof(struct ctx, gate.to_sflags) == 176 + 24 && offsetof(struct ctx, gate.to_mode) == 176 + 28 &&
        offsetof(struct ctx, gate.cs) == 176 + 32 && offsetof(struct ctx, gate.ss) == 176 + 48 &&
        offsetof(struct ctx, gate.idtr) == 176 + 64 && offsetof(struct ctx, gate.gdtr) == 176 + 72 &&
        offsetof(struct ctx, gate.tr) == 176 + 80 && offsetof(struct ctx, gate.tr_attr) == 176 + 88 &&
        offsetof(struct ctx, gate.vector) == 176 + 92 && offsetof(struct ctx, gate.idt_at) == 176 + 96 &&
        offsetof(struct ctx, gate.tss_at) == 176 + 108 && offsetof(struct ctx, gate.idt_raw) == 176 + 112 &&
        offsetof(struct ctx, gate.off) == 176 + 136 && offsetof(struct ctx, gate.keep_if) == 176 + 140,
    "thunks.S");
_Static_assert(offsetof(struct ctx, iret) == 320 && sizeof(struct iret_done) == 104 &&
                   offsetof(struct iret_done, sflags) == 16 && offsetof(struct iret_done, from_mode) == 20 &&
                   offsetof(struct iret_done, to_sflags) == 24 && offsetof(struct iret_done, to_mode) == 28 &&
                   offsetof(struct iret_done, cs) == 32 && offsetof(struct iret_done, ss) == 48 &&
                   offsetof(struct iret_done, gdtr) == 64 && offsetof(struct iret_done, cs_at) == 72 &&
                   offsetof(struct iret_done, ss_at) == 76 && offsetof(struct iret_done, cs_raw) == 80 &&
                   offsetof(struct iret_done, ss_raw) == 88 && offsetof(struct iret_done, flags) == 96,
               "thunks.S");
_Static_assert(SPACE_XT_OFF == 8 << 20 && SPACE_RT_OFF == 24 << 20 && SPACE_WT_OFF == 16 << 20 &&
                   SA_NULL == 0x10000 && SA_P + SA_S == 0x90,
               "thunks.S");

static void park(void *v)
{
    cpu_fpu_park(v);
}

int monitor_create(struct vcpu *v, struct memory *m, const struct monitor_config *cfg)
{
    static const u8 *const thunks[TH_COUNT_] = {
        [TH_READ_MISS] = th_read_miss,
        [TH_WRITE_MISS] = th_write_miss,
        [TH_SLOW] = th_slow,
        [TH_EXEC] = th_exec,
        [TH_LOOKUP] = th_lookup,
        [TH_LINK] = th_link,
        [TH_INTR] = th_intr,
        [TH_IBRANCH] = th_ibranch,
        [TH_SEG_LOAD] = th_seg_load,
        [TH_SEG_BOTH] = th_seg_both,
        [TH_SEG_FSGS] = th_seg_fsgs,
        [TH_SEG_REAL] = th_seg_real,
        [TH_VERW] = th_verw,
        [TH_POPF] = th_popf,
        [TH_POPF_IF] = th_popf_if,
        [TH_IN] = th_in,
        [TH_REP_MOVS8] = th_rep_movs8,
        [TH_REP_MOVS32] = th_rep_movs32,
        [TH_REP_STOS8] = th_rep_stos8,
        [TH_REP_STOS32] = th_rep_stos32,
        [TH_SYS] = th_sys,
        [TH_RET_MISS] = th_ret_miss,
        [TH_IND_OF] = th_ind_of,
        [TH_FAR] = th_far,
        [TH_SYSENTER] = th_sysenter,
        [TH_SYSEXIT] = th_sysexit,
        [TH_INT] = th_int,
        [TH_IRET] = th_iret,
        [TH_CLTS] = th_clts,
        [TH_CR0] = th_cr0,
        [TH_CR3] = th_cr3,
        [TH_INVLPG] = th_invlpg,
        [TH_TAKEN] = th_taken,
        [TH_PASSED] = th_passed,
        [TH_FXRSTOR] = th_fxrstor,
    };
    struct mem_watcher w = {.written = bt_code_written, .flags = MEMW_CODE};
    struct bt *b = mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int err;

    if (b == MAP_FAILED)
        return -errno;
    b->v = v;
    b->rf_eip = NO_RF_EIP;
    b->m = m;
    b->cfg = *cfg;
    if (cfg->verify && !(b->verifier = verifier_create()))
        return -ENOMEM;
    if ((v->opts & OPT(memo)) && !(b->memo = insn_memo_create(v->model, park, v)))
        return -ENOMEM;
    b->stop = v->bt[BT_LEFT] = 1ull << 62;
    b->host_opts = translate_host_opts(~0ull);
    v->minus_two = (u64)-2;
    v->one = 1;
    b->ibtc = mmap(NULL, IBTC_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->ibtc == MAP_FAILED)
        return -errno;
    if (v->opts & OPT(largepages)) /* it is looked at here and there */
        madvise(b->ibtc, IBTC_BYTES, MADV_HUGEPAGE);
    b->table_sites =
        mmap(NULL, TABLE_SITES * sizeof(u64), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->table_sites == MAP_FAILED)
        return -errno;
    b->ret_stacks = mmap(NULL, (u64)CTX_CACHE * RET_STACK, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b->ret_stacks == MAP_FAILED)
        return -errno;
    for (u32 n = 0; n < CTX_CACHE; n++)
        if (mprotect(b->ret_stacks + (u64)n * RET_STACK, PAGE_SIZE, PROT_NONE) < 0)
            return -errno;
    if (cfg->kicks && cfg->kick_times) {
        b->kick_sites = mmap(NULL, KICK_SITES * sizeof(*b->kick_sites), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (b->kick_sites == MAP_FAILED)
            return -errno;
    }
    b->tc = tcache_create(cfg->tcache_bytes ? cfg->tcache_bytes : 256 * MiB, 1ull << 20,
                          v->opts & b->host_opts, &err);
    if (!b->tc)
        return err;
    b->windows = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) && (v->opts & OPT(window));
    if (cfg->kicks == KICKS_HOST) {
        b->kick_tried = mmap(NULL, bt_kick_tried_bytes(b), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (b->kick_tried == MAP_FAILED)
            return -errno;
    }
    v->tc = b;
    if (cfg->count_arms)
        bt_count_arms(v);
    v->bt[BT_INVLPG] = (u64)(uintptr_t)shadow_invlpg_pages(v);
    for (u32 n = 0; n < TH_COUNT_; n++)
        v->bt[BT_THUNK0 + n] = (u64)(uintptr_t)thunks[n];
    v->bt[BT_THUNK0 + TH_FXSAVE] = (u64)(uintptr_t)(!host_cpu.fxsave_has_pointers ? th_unable
                                                    : cfg->exact                  ? th_fxsave_exact
                                                                                  : th_fxsave);
    w.opaque = b;
    memory_add_watcher(m, &w);
    shadow_set_exec_hook(v, bt_exec_removed, b);
    shadow_set_stays_hook(v, bt_page_moved, b);
    err = bt_signals_init(v);
    if (!err && b->windows && cfg->tick && !cfg->exact && !cfg->kicks && !cfg->windows_always)
        bt_tick_start(v);
    return err;
}

/* Before shadow_destroy(). */
void monitor_destroy(struct vcpu *v)
{
    struct bt *b = v->tc;

    if (!b)
        return;
    bt_tick_stop(v);
    memory_remove_watcher(b->m, b);
    shadow_set_exec_hook(v, NULL, NULL);
    shadow_set_stays_hook(v, NULL, NULL);
    v->tc = NULL;
    if (b->kick_tried)
        munmap(b->kick_tried, bt_kick_tried_bytes(b));
    tcache_destroy(b->tc);
    verifier_destroy(b->verifier);
    insn_memo_destroy(b->memo);
    if (b->kick_sites)
        munmap(b->kick_sites, KICK_SITES * sizeof(*b->kick_sites));
    munmap(b->table_sites, TABLE_SITES * sizeof(u64));
    munmap(b->ret_stacks, (u64)CTX_CACHE * RET_STACK);
    munmap(b->ibtc, IBTC_BYTES);
    munmap(b, sizeof(*b));
}
