/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/build_id.h"
#include <link.h>
#include <string.h>

/* dl_iterate_phdr(3); of the program, which comes first, and no further. */
static int find_note(struct dl_phdr_info *info, size_t size, void *out)
{
    for (int n = 0; n < info->dlpi_phnum; n++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[n];
        const u8 *p = (const u8 *)(uintptr_t)(info->dlpi_addr + ph->p_vaddr), *end = p + ph->p_memsz;

        while (ph->p_type == PT_NOTE && p + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) h;
            memcpy(&h, p, sizeof(h));
            const u8 *name = p + sizeof(h), *desc = name + ALIGN_UP(h.n_namesz, 4u);
            if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && !memcmp(name, "GNU", 4)) {
                memcpy(out, desc, h.n_descsz < BUILD_ID_MAX ? h.n_descsz : BUILD_ID_MAX);
                return 1;
            }
            p = desc + ALIGN_UP(h.n_descsz, 4u);
        }
    }
    return -1;
}

bool build_id(u8 out[BUILD_ID_MAX])
{
    memset(out, 0, BUILD_ID_MAX);
    return dl_iterate_phdr(find_note, out) == 1;
}
