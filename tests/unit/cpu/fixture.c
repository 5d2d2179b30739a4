/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fake world of fixture.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "fixture.h"
#include "base/opts.h"
#include "base/log.h"
#include "cpu/hostcpu.h"

const struct cpu_model fx_model_full = {
    .name = "full",
    .features = CPUF_FPU | CPUF_VME | CPUF_DE | CPUF_PSE | CPUF_TSC | CPUF_MSR | CPUF_PAE | CPUF_CX8 |
                CPUF_SEP | CPUF_CMOV | CPUF_CLFSH | CPUF_MMX | CPUF_FXSR | CPUF_SSE | CPUF_SSE2,
    .featuresx = CPUFX_NX | CPUFX_CPUID | CPUFX_P6 | CPUFX_486,
};
const struct cpu_model fx_model_486 = {
    .name = "486", .features = CPUF_FPU, .featuresx = CPUFX_CPUID | CPUFX_486};

static struct fx *fx_of(struct vcpu *v)
{
    return v->vm;
}

/* ---- memory ---- */

static int check(struct fx *f, u32 lin, u32 len, bool write, bool fetch)
{
    for (u32 n = 0; n < len; n++) {
        u32 pg = (lin + n - f->base) >> PAGE_SHIFT;
        u8 r = pg < FX_PAGES ? f->page[pg] : PG_ABSENT;
        if (r == PG_ABSENT || (write && r == PG_RO))
            return cpu_raise_pf(f->v, lin + n, (r != PG_ABSENT ? PF_P : 0) | (write ? PF_W : 0));
    }
    return CPU_OK;
}
u8 *fx_host(struct fx *f, u32 lin)
{
    return f->ram + (lin - f->base);
}
static int fx_read(struct vcpu *v, u32 lin, void *buf, u32 len, int user)
{
    struct fx *f = fx_of(v);
    if (check(f, lin, len, false, false) != CPU_OK)
        return CPU_FAULT;
    memcpy(buf, fx_host(f, lin), len);
    return CPU_OK;
}
static int fx_write(struct vcpu *v, u32 lin, const void *buf, u32 len, int user)
{
    struct fx *f = fx_of(v);
    if (check(f, lin, len, true, false) != CPU_OK)
        return CPU_FAULT;
    memcpy(fx_host(f, lin), buf, len);
    for (u32 n = 0; n < len; n++)
        f->gen[(lin + n - f->base) >> PAGE_SHIFT]++;
    return CPU_OK;
}
static int fx_probe(struct vcpu *v, u32 lin, u32 len, int user)
{
    return check(fx_of(v), lin, len, true, false);
}
static void install(struct fx *f, u32 pg)
{
    u32 lp = (f->base >> PAGE_SHIFT) + pg;
    u64 e = (u64)(f->ram - f->base);
    f->v->rtab[lp] = f->use_tables && f->page[pg] != PG_ABSENT ? e : 0;
    f->v->wtab[lp] = f->use_tables && f->page[pg] == PG_RW && !f->code[pg] ? e : 0;
    f->v->xtab[lp] = f->use_tables && f->page[pg] != PG_ABSENT ? lp + 1 : 0;
}
static int fx_fetch(struct vcpu *v, u32 lin, const u8 **host, u64 *gpa)
{
    struct fx *f = fx_of(v);
    if (check(f, lin, 1, false, true) != CPU_OK)
        return CPU_FAULT;
    *host = fx_host(f, lin);
    *gpa = lin;
    return CPU_OK;
}
static const u32 *fx_code_page(struct vcpu *v, u64 gpa)
{
    struct fx *f = fx_of(v);
    u32 pg = ((u32)gpa - f->base) >> PAGE_SHIFT;
    f->code[pg] = true;
    install(f, pg);
    return &f->gen[pg];
}
static const struct cpu_ops fx_ops = {
    .mem_read = fx_read,
    .mem_write = fx_write,
    .mem_probe_write = fx_probe,
    .fetch = fx_fetch,
    .code_page = fx_code_page,
};

/* ---- fakes of the rest of cpu/ ---- */

int seg_check(struct vcpu *v, int seg, u32 off, u32 len, int acc, u32 *lin)
{
    struct seg *s = &v->seg[seg];
    if ((u64)off + len - 1 > s->limit || (s->attr & SA_NULL))
        return cpu_raise_err(v, seg == S_SS ? EXC_SS : EXC_GP, 0);
    *lin = s->base + off;
    return CPU_OK;
}
void cpu_fpu_park(struct vcpu *v)
{
    v->fpu_live = 0;
}
void cpu_deliver_fault(struct vcpu *v)
{
    struct fx *f = fx_of(v);
    f->delivered++;
    f->last = v->fault;
    f->last_eip = v->eip;
    f->last_next = v->next_eip;
    v->events |= EV_STOP;
}
bool cpu_poll_interrupts(struct vcpu *v)
{
    struct fx *f = fx_of(v);
    f->polls++;
    v->intr_line = 0;
    if (f->on_poll)
        f->on_poll(f);
    return true;
}
int fx_fake_sys(struct vcpu *v, const struct insn *i)
{
    return CPU_OK;
}
int fx_fake_fpu(struct vcpu *v, const struct insn *i)
{
    return CPU_OK;
}
/* sti, for the interrupt shadow; every other system instruction does nothing. */
static int fake_sti(struct vcpu *v, const struct insn *i)
{
    v->iflag = 1;
    v->intr_shadow = 1;
    return CPU_OK;
}
static int fake_mov_ss(struct vcpu *v, const struct insn *i)
{
    v->intr_shadow = 1;
    return CPU_OK;
}
insn_fn sys_lookup(const struct insn *i)
{
    if (i->map == 0 && i->opcode == 0xfb)
        return fake_sti;
    if (i->map == 0 && i->opcode == 0x8e && i->reg == S_SS)
        return fake_mov_ss;
    return i->fpu == 0 && !int_lookup(i) ? fx_fake_sys : NULL;
}
insn_fn fpu_lookup(struct insn *i)
{
    return i->fpu ? fx_fake_fpu : NULL;
}
void bug_report(const char *file, int line, const char *fmt, ...)
{
    abort();
}

/* ---- life cycle ---- */

static void *sparse(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

struct fx *fx_create(u32 base)
{
    struct fx *f = calloc(1, sizeof(*f));
    host_cpu_probe();
    f->v = aligned_alloc(64, sizeof(struct vcpu));
    memset(f->v, 0, sizeof(struct vcpu));
    f->base = base;
    f->ram = sparse(FX_PAGES * PAGE_SIZE);
    f->use_tables = true;
    f->v->vm = f;
    f->v->ops = &fx_ops;
    f->v->opts = OPT_ALL;
    f->v->model = &fx_model_full;
    f->v->rtab = sparse(8 << 20);
    f->v->wtab = sparse(8 << 20);
    f->v->xtab = sparse(4 << 20);
    for (u32 n = 0; n < FX_PAGES; n++)
        fx_set_page(f, n, PG_RW);
    fx_reset_cpu(f);
    return f;
}

void fx_destroy(struct fx *f)
{
    interp_flush(f->v);
    munmap(f->v->rtab, 8 << 20);
    munmap(f->v->wtab, 8 << 20);
    munmap(f->v->xtab, 4 << 20);
    munmap(f->ram, FX_PAGES * PAGE_SIZE);
    free(f->v);
    free(f);
}

void fx_reset_cpu(struct fx *f)
{
    struct vcpu *v = f->v;
    memset(v->gpr, 0, sizeof(v->gpr));
    v->eip = f->base;
    cpu_set_eflags(v, 0);
    v->cpl = v->intr_shadow = 0;
    v->events = v->kick = v->intr_line = v->dr6_pending = 0;
    memset(v->dr, 0, sizeof(v->dr));
    v->mode = MODE_CS32 | MODE_SS32 | MODE_PE | MODE_FLATCS | MODE_FLATDS | MODE_FLATES | MODE_FLATSS;
    for (int s = 0; s < S_COUNT; s++)
        v->seg[s] =
            (struct seg){.sel = 0x10, .fast = SEGF_R | SEGF_W, .flat = 1, .limit = ~0u, .attr = 0xc093};
    f->delivered = f->polls = 0;
    f->on_poll = NULL;
}

void fx_set_page(struct fx *f, u32 page, u8 rights)
{
    f->page[page] = rights;
    install(f, page);
}
void fx_cs16(struct fx *f)
{
    f->v->mode &= ~(MODE_CS32 | MODE_FLATCS);
    f->v->seg[S_CS].limit = 0xffff;
}
void fx_ss16(struct fx *f)
{
    f->v->mode &= ~(MODE_SS32 | MODE_FLATSS);
    f->v->seg[S_SS].limit = 0xffff;
    f->v->seg[S_SS].fast = f->v->seg[S_SS].flat = 0;
}
