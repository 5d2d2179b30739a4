/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The x87's last-instruction pointers.
 *
 * x87 instructions in translated code leave host addresses in the host's pointers. When the guest asks
 * (fnstenv, fnsave, fxsave) and before translated code goes away, the instruction pointer is looked up in the
 * fragments' pc maps: that gives the guest's eip and, from the guest's bytes, its opcode. The data pointer
 * tells the linear address in window form and without paging; what a table-form operand's page was mapped to
 * is not known any more, so the offset stays that of the last instruction that was known.
 *
 * An instruction that the interpreter ran has set v->fpu_ip and its siblings itself; the host's pointers are
 * then outside translated code. They are zero after fninit and where the host's CPU loses them with a state
 * switch (AMD's do without an exception pending: APM vol. 2, 11.4.4). Newer ones of Intel's tell the operand
 * of exceptions only (CPUID.7:EBX[6]), and so does the interpreter then. Light code.
 */
#include "monitor/bt.h"

/* Segment that a memory operand uses without a prefix: SS with ebp or esp as the base. */
static int default_segment(const u8 *modrm, bool addr32)
{
    u32 mod = modrm[0] >> 6, rm = modrm[0] & 7;

    if (!addr32)
        return rm == 2 || rm == 3 || (rm == 6 && mod) ? S_SS : S_DS;
    if (rm == 4)
        rm = modrm[1] & 7; /* the SIB byte's base */
    else if (rm != 5)
        return S_DS;
    return rm == 4 || (rm == 5 && mod) ? S_SS : S_DS;
}

/* Opcode (11 bits) of the guest's x87 instruction at gpa, 0 if that cannot be read within the page; and its
 * operand's segment, S_NONE: no memory operand. */
static u16 opcode_at(struct bt *b, u64 gpa, bool addr32, int *seg)
{
    static const u8 prefixes[6] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65}; /* in the order of enum sreg */
    const u8 *p = memory_host(b->m, gpa);
    u32 left = PAGE_SIZE - (u32)(gpa & PAGE_MASK);
    int override = S_NONE;

    *seg = S_NONE;
    for (u32 n = 0; p && n + 2 < left && n < INSN_MAX - 1; n++) {
        if ((p[n] & 0xf8) == 0xd8) {
            if (p[n + 1] < 0xc0)
                *seg = override != S_NONE ? override : default_segment(p + n + 1, addr32);
            return (u16)((p[n] & 7) << 8 | p[n + 1]);
        }
        for (int k = 0; k < 6; k++)
            if (p[n] == prefixes[k])
                override = k;
        if (p[n] == 0x67)
            addr32 = !addr32;
    }
    return 0;
}

void monitor_fpu_env(struct vcpu *v, u32 host_ip, u32 host_dp)
{
    struct bt *b = v->tc;
    const struct fragment *f;
    const u8 *code;
    u32 off, k, lin;
    int seg;

    if (!b || !host_ip) /* there was none; the lower half of an address in the cache may be 0, too */
        return;
    code = tcache_code(b->tc);
    off = host_ip - (u32)(uintptr_t)code; /* the cache is smaller than 4 GiB */
    if (off >= tcache_code_size(b->tc))
        return;
    f = b->x87.frag; /* mostly it is where it was last time */
    if (off != b->x87.off || b->x87.generation != tcache_generation(b->tc)) {
        f = tcache_find_host(b->tc, code + off);
        b->x87.frag = f;
        b->x87.off = off;
        b->x87.generation = tcache_generation(b->tc);
    }
    if (!f)
        return;
    off -= f->host;
    for (k = f->n_insns - 1u; k && f->pcmap[k].host > off;)
        k--;
    v->fpu_ip = f->key.eip + f->pcmap[k].guest;
    if (!(f->key.mode & MODE_CS32))
        v->fpu_ip &= 0xffff;
    /* Selectors: known while the guest is still in the same ring; newer CPUs store none at all
     * (CPUID.7:EBX[13]). */
    v->fpu_cs = (f->key.mode & MODE_CPL) == v->cpl ? v->seg[S_CS].sel : 0;
    v->fpu_op = opcode_at(b, f->key.gpa + f->pcmap[k].guest, f->key.mode & MODE_CS32, &seg);
    if (seg == S_NONE || !host_dp)
        return;
    if ((f->key.mode & MODE_WIN) &&
        *bt_table_site(b, f->key.gpa + f->pcmap[k].guest) != f->key.gpa + f->pcmap[k].guest + 1)
        lin = host_dp;
    else if (!(v->cr0 & CR0_PG))
        lin = host_dp - (u32)(uintptr_t)memory_base(b->m);
    else
        return;
    v->fpu_dp = lin - v->seg[seg].base;
    v->fpu_ds = (f->key.mode & MODE_CPL) == v->cpl ? v->seg[seg].sel : 0;
}
