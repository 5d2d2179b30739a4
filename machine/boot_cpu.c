/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting the guest: runs the loader against the machine's memory and puts the CPU into the state it asked
 * for.
 *
 * Used at power-up and at every reset, as QEMU does for -kernel: RAM keeps what was in it, the images are
 * loaded again. memory_write() tells the watchers, so translated code and shadow entries of overwritten pages
 * are dropped.
 */
#include "machine/vm.h"

#include "base/log.h"

static void ram_write(void *opaque, u64 gpa, const void *data, u64 len)
{
    memory_write(opaque, gpa, data, len);
}

static void flat_segment(struct vcpu *v, int n, u16 sel, u32 type)
{
    struct seg *s = &v->seg[n];
    s->sel = sel;
    s->base = 0;
    s->limit = 0xffffffff;
    s->attr = SA_A | SA_RW | SA_S | SA_P | SA_DB | SA_G | type;
    seg_refresh(s);
}

static void enter_protected_mode(struct vcpu *v, const struct boot_entry *e)
{
    cpu_write_cr(v, 0, CR0_PE | CR0_ET);
    v->gdtr = (struct dtr){e->gdt_base, e->gdt_limit};
    flat_segment(v, S_CS, e->cs, SA_CODE);
    for (int s = S_ES; s <= S_GS; s++)
        if (s != S_CS)
            flat_segment(v, s, e->ds, 0);
    v->cpl = 0;
    cpu_set_eflags(v, FL_1);
    v->gpr[R_EAX] = e->eax;
    v->gpr[R_EBX] = e->ebx;
    v->gpr[R_ESI] = e->esi;
    v->gpr[R_ESP] = e->esp;
    v->gpr[R_ECX] = v->gpr[R_EDX] = v->gpr[R_EBP] = v->gpr[R_EDI] = 0;
    v->eip = e->eip;
    cpu_update_mode(v);
}

int machine_boot(struct vm *vm)
{
    if (!vm->cfg.kernel) { /* the firmware takes it from the reset vector */
        cpu_reset(vm->cpu);
        return 0;
    }
    struct boot b = {
        .kernel = vm->cfg.kernel,
        .initrd = vm->cfg.initrd,
        .append = vm->cfg.append,
        .screen = vm_has_screen(vm),
        .ram = {memory_ram_size(vm->mem), ram_write, vm->mem},
    };
    int err = boot_load(&b);
    if (err) {
        symbols_free(b.symbols);
        error_report("%s", b.error);
        return err;
    }
    if (vm->cfg.symbols[0]) {
        symbols_free(b.symbols); /* the user's file knows better */
    } else {
        symbols_free(vm->symbols);
        vm->symbols = b.symbols;
    }
    handover_direct(vm);
    cpu_reset(vm->cpu);
    enter_protected_mode(vm->cpu, &b.entry);
    return 0;
}
