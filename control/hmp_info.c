/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's info commands: they look and change nothing. */
#include "control/internal.h"
#include "display/display.h"

#include <inttypes.h>
#include <string.h>

#include "devices/pci.h"
#include "memory/memory.h"
#include "monitor/monitor.h"

#define TLB_LINES 16384 /* of info tlb at once: a range continues */

static void info_status(struct hmp_call *h)
{
    enum run_state s = machine_state(h->c->vm);
    if (s == RUN_RUNNING || s == RUN_PAUSED)
        fprintf(h->out, "VM status: %s\n", run_state_name(s));
    else
        fprintf(h->out, "VM status: paused (%s)\n", run_state_name(s));
}

static void info_vnc(struct hmp_call *h)
{
    char text[4096];
    display_vnc_info(h->c->m.display, text, sizeof(text));
    fputs(text, h->out);
}

static void info_version(struct hmp_call *h)
{
    fprintf(h->out, "novt " NOVT_VERSION "\n");
}

static void info_name(struct hmp_call *h)
{
    fprintf(h->out, "%s\n", h->c->cfg->name ? h->c->cfg->name : "");
}

static void info_registers(struct hmp_call *h)
{
    cpu_dump(h->c->m.cpu, h->out);
    u32 offset;
    const char *name = machine_symbol(h->c->vm, h->c->m.cpu->eip, &offset);
    if (name)
        fprintf(h->out, "in %s+%x\n", name, offset);
}

static void info_cpus(struct hmp_call *h)
{
    const struct vcpu *v = h->c->m.cpu;
    fprintf(h->out, "* CPU #0: eip=%08x%s, model %s, engine %s\n", v->eip,
            v->events & EV_HALT ? " (halted)" : "", v->model->name, h->c->m.translates ? "bt" : "interp");
}

/* ---- paging ---- */

struct mem_run {
    FILE *out;
    bool any, user, write;
    u32 first;
    u64 end;
};

static void print_run(const struct mem_run *r)
{
    if (r->any)
        fprintf(r->out, "%08x-%09" PRIx64 " %08" PRIx64 " %cr%c\n", r->first, r->end, r->end - r->first,
                r->user ? 'u' : '-', r->write ? 'w' : '-');
}

static bool mem_page(void *opaque, const struct page_mapping *p)
{
    struct mem_run *r = opaque;
    if (!r->any || r->end != p->lin || r->user != p->user || r->write != p->write) {
        print_run(r);
        *r =
            (struct mem_run){.out = r->out, .any = true, .user = p->user, .write = p->write, .first = p->lin};
    }
    r->end = (u64)p->lin + p->size;
    return true;
}

static bool paging(struct hmp_call *h)
{
    if (h->c->m.cpu->cr0 & CR0_PG)
        return true;
    fprintf(h->out, "PG disabled\n");
    return false;
}

static void info_mem(struct hmp_call *h)
{
    struct mem_run r = {.out = h->out};
    if (!paging(h))
        return;
    pages_each(h->c, 0, ~0u, mem_page, &r);
    print_run(&r);
}

struct tlb {
    FILE *out;
    int lines;
};

static bool tlb_page(void *opaque, const struct page_mapping *p)
{
    struct tlb *t = opaque;
    if (t->lines++ == TLB_LINES) {
        fprintf(t->out, "... and more: info tlb 0x%08x goes on here\n", p->lin);
        return false;
    }
    fprintf(t->out, "%08x: %09" PRIx64 " %c%c%c%c%c%c%c%c%c\n", p->lin, p->gpa, p->nx ? 'X' : '-',
            p->global ? 'G' : '-', p->large ? 'P' : '-', p->dirty ? 'D' : '-', p->accessed ? 'A' : '-',
            p->pcd ? 'C' : '-', p->pwt ? 'T' : '-', p->user ? 'U' : '-', p->write ? 'W' : '-');
    return true;
}

static void info_tlb(struct hmp_call *h)
{
    struct tlb t = {.out = h->out};
    u64 first = 0, last = ~0u;
    if (!paging(h) || (h->argc > 1 && !hmp_number(h, h->argv[1], ~0u, &first)) ||
        (h->argc > 2 && !hmp_number(h, h->argv[2], ~0u, &last)))
        return;
    pages_each(h->c, (u32)first, (u32)last, tlb_page, &t);
}

static void info_mtree(struct hmp_call *h)
{
    static const char *const kinds[] = {
        [MEM_HOLE] = "nothing", [MEM_RAM] = "RAM", [MEM_ROM] = "ROM", [MEM_MMIO] = "device"};
    enum mem_kind kind = MEM_HOLE;
    u64 first = 0;
    for (u64 gpa = 0; gpa <= 4 * GiB; gpa += PAGE_SIZE) {
        enum mem_kind k = gpa < 4 * GiB ? memory_kind(h->c->m.mem, gpa) : MEM_HOLE;
        if (k == kind)
            continue;
        if (kind != MEM_HOLE)
            fprintf(h->out, "%09" PRIx64 "-%09" PRIx64 " %s\n", first, gpa - 1, kinds[kind]);
        kind = k;
        first = gpa;
    }
}

/* ---- what runs ---- */

static void info_jit(struct hmp_call *h)
{
    struct vcpu *v = h->c->m.cpu;
    if (h->c->m.translates)
        monitor_update_stats(v);
    else
        fprintf(h->out, "--engine=interp: nothing is translated\n");
    stats_print(&v->stats, h->out);
}

/* ---- devices ---- */

static void info_pci(struct hmp_call *h)
{
    bool any = false;
    for (int devfn = 0; devfn < 256; devfn++) {
        const struct pci_dev *d = pci_function(h->c->m.bus, (u8)devfn);
        if (!d)
            continue;
        any = true;
        const u8 *k = d->config;
        fprintf(h->out,
                "  Bus  0, device %3d, function %d:\n    %s: class %02x%02x, PCI device %02x%02x:%02x%02x\n",
                devfn >> 3, devfn & 7, d->name, k[PCI_CLASS + 1], k[PCI_CLASS], k[PCI_VENDOR + 1],
                k[PCI_VENDOR], k[PCI_DEVICE + 1], k[PCI_DEVICE]);
        if (k[PCI_INT_PIN])
            fprintf(h->out, "      IRQ %d, pin %c\n", k[PCI_INT_LINE], 'A' + ((k[PCI_INT_PIN] - 1) & 3));
        for (int n = 0; n < 6; n++) {
            const struct pci_bar *bar = &d->bar[n];
            if (!bar->size)
                continue;
            fprintf(h->out, "      BAR%d: %s, %u bytes", n, bar->type & PCI_BAR_IO ? "I/O" : "32 bit memory",
                    bar->size);
            if (bar->mapped)
                fprintf(h->out, " at 0x%08x\n", bar->addr);
            else
                fprintf(h->out, ", not mapped\n");
        }
    }
    if (!any)
        fprintf(h->out, "no PCI bus\n");
}

static void info_pic(struct hmp_call *h)
{
    pic_describe(h->c->m.bus, h->out);
}

static void info_block(struct hmp_call *h)
{
    struct drive_info d;
    for (int n = 0; drives_info(h->c->vm, n, &d); n++) {
        if (*d.path)
            fprintf(h->out, "%s: %s (raw%s), %" PRIu64 " bytes\n", d.name, d.path,
                    d.read_only ? ", read-only" : "", d.size);
        else
            fprintf(h->out, "%s: [not inserted]\n", d.name);
        if (d.id)
            fprintf(h->out, "    id %s\n", d.id);
        if (d.removable)
            fprintf(h->out, "    Removable device: %slocked, tray %s\n", d.locked ? "" : "not ",
                    d.tray_open ? "open" : "closed");
    }
}

static void info_chardev(struct hmp_call *h)
{
    const struct machine_config *cfg = h->c->m.cfg;
    for (size_t i = 0; i < ARRAY_SIZE(cfg->serial); i++)
        if (cfg->serial[i])
            fprintf(h->out, "serial%zu: %s\n", i, cfg->serial[i]);
    if (cfg->debugcon)
        fprintf(h->out, "debugcon: %s\n", cfg->debugcon);
    for (int i = 0; i < h->c->cfg->n_monitors; i++)
        fprintf(h->out, "%s%d: %s%s\n", h->c->cfg->monitors[i].mode == CONTROL_HMP ? "monitor" : "qmp", i,
                h->c->cfg->monitors[i].chardev, h->c->channels[i]->here ? "" : " (nobody connected)");
    if (h->c->cfg->gdb)
        fprintf(h->out, "gdb: %s\n", h->c->cfg->gdb);
}

static void info_mice(struct hmp_call *h)
{
    fprintf(h->out, h->c->m.mouse ? "* Mouse #0: PS/2 mouse\n" : "No mouse devices connected\n");
}

static void info_none(struct hmp_call *h)
{
    fprintf(h->out, "this machine has none\n");
}

const struct hmp_command hmp_info_commands[] = {
    {"status", NULL, "", "does it run, or why not", info_status},
    {"registers", NULL, "", "the CPU's registers", info_registers},
    {"cpus", NULL, "", "the CPU", info_cpus},
    {"mem", NULL, "", "linear memory: what is mapped, with which rights", info_mem},
    {"tlb", NULL, "[FIRST [LAST]]", "linear to physical, page by page", info_tlb},
    {"mtree", NULL, "", "physical memory: RAM, ROM, devices", info_mtree},
    {"jit", NULL, "", "counters of the translator", info_jit},
    {"pic", NULL, "", "the interrupt controllers", info_pic},
    {"pci", NULL, "", "the functions on the PCI bus", info_pci},
    {"block", NULL, "", "drives and their media", info_block},
    {"chardev", NULL, "", "where the ports and monitors are", info_chardev},
    {"mice", NULL, "", "the mouse", info_mice},
    {"vnc", NULL, "", "the VNC server and who is connected", info_vnc},
    {"version", NULL, "", "novt's version", info_version},
    {"name", NULL, "", "the machine's name (-name)", info_name},
    {"snapshots", NULL, "", "novt has none", info_none},
    {"network", NULL, "", "novt has none", info_none},
    {"usb", NULL, "", "novt has none", info_none},
    {NULL, NULL, NULL, NULL, NULL},
};

void hmp_info(struct hmp_call *h)
{
    const struct hmp_command *k = hmp_info_commands;
    while (h->argc && k->name && strcmp(k->name, h->argv[0]))
        k++;
    if (h->argc && k->name) {
        k->fn(h);
        return;
    }
    if (h->argc)
        fprintf(h->out, "there is no info about '%s':\n", h->argv[0]);
    for (k = hmp_info_commands; k->name; k++)
        fprintf(h->out, "info %s%s%s -- %s\n", k->name, *k->params ? " " : "", k->params, k->help);
}
