/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What control/ may know of a machine's inside: pointers, handed out in one place so that it is seen who has
 * them. */
#include "machine/parts.h"
#include "machine/vm.h"

struct machine_parts machine_parts(struct vm *vm)
{
    return (struct machine_parts){.cfg = &vm->cfg,
                                  .cpu = vm->cpu,
                                  .mem = vm->mem,
                                  .bus = vm->bus,
                                  .vga = vm->vga,
                                  .display = vm->display,
                                  .keyboard = vm->keyboard,
                                  .mouse = vm->mouse,
                                  .translates = vm->have_monitor,
                                  .power_button = vm->pm != NULL};
}

const char *machine_symbol(struct vm *vm, u32 addr, u32 *offset)
{
    return symbols_at(vm->symbols, addr, offset);
}
