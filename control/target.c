/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest as a debugger sees it: memory and registers by name.
 *
 * Nothing here has an effect that the guest could notice, except writes that were asked for: walks set no
 * accessed bits, devices are neither read nor written, and a write of code has it translated anew by the
 * usual watchers.
 */
#include "control/internal.h"

#include <string.h>

#include "cpu/insn.h"
#include "memory/memory.h"
#include "shadowpt/shadowpt.h"

size_t target_read_phys(struct control *c, u64 gpa, void *buf, size_t len)
{
    size_t done = 0;
    while (done < len) {
        size_t n = PAGE_SIZE - ((gpa + done) & PAGE_MASK);
        const u8 *host = memory_host(c->m.mem, gpa + done);
        if (!host)
            break;
        n = n < len - done ? n : len - done;
        memcpy((u8 *)buf + done, host, n);
        done += n;
    }
    return done;
}

size_t target_write_phys(struct control *c, u64 gpa, const void *buf, size_t len)
{
    size_t done = 0;
    while (done < len) {
        size_t n = PAGE_SIZE - ((gpa + done) & PAGE_MASK);
        if (memory_kind(c->m.mem, gpa + done) != MEM_RAM)
            break;
        n = n < len - done ? n : len - done;
        memory_write(c->m.mem, gpa + done, (const u8 *)buf + done, n);
        done += n;
    }
    return done;
}

static size_t linear(struct control *c, u32 lin, void *to, const void *from, size_t len)
{
    size_t done = 0;
    while (done < len) {
        u64 gpa;
        size_t n = PAGE_SIZE - ((lin + done) & PAGE_MASK), got;
        if (shadow_probe(c->m.cpu, lin + (u32)done, &gpa) != CPU_OK)
            break;
        n = n < len - done ? n : len - done;
        got = to ? target_read_phys(c, gpa, (u8 *)to + done, n)
                 : target_write_phys(c, gpa, (const u8 *)from + done, n);
        done += got;
        if (got < n)
            break;
    }
    return done;
}

size_t target_read(struct control *c, u32 lin, void *buf, size_t len)
{
    return linear(c, lin, buf, NULL, len);
}

size_t target_write(struct control *c, u32 lin, const void *buf, size_t len)
{
    return linear(c, lin, NULL, buf, len);
}

bool target_register(struct control *c, const char *name, size_t len, u64 *val)
{
    const struct vcpu *v = c->m.cpu;
    static const char gpr[8][4] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
    static const char seg[8][5] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    char w[16];
    if (!len || len >= sizeof(w))
        return false;
    memcpy(w, name, len);
    w[len] = 0;
    for (int i = 0; i < 8; i++) {
        if (!strcmp(w, gpr[i])) {
            *val = v->gpr[i];
            return true;
        }
        size_t n = strlen(seg[i]);
        if (strncmp(w, seg[i], n))
            continue;
        if (!w[n])
            *val = v->seg[i].sel;
        else if (!strcmp(w + n, ".base") || !strcmp(w + n, "_base"))
            *val = v->seg[i].base;
        else if (!strcmp(w + n, ".limit"))
            *val = v->seg[i].limit;
        else
            continue;
        return true;
    }
    if (!strcmp(w, "eip"))
        *val = v->eip;
    else if (!strcmp(w, "pc")) /* linear: x/i $pc */
        *val = (u32)(v->seg[S_CS].base + v->eip);
    else if (!strcmp(w, "eflags"))
        *val = cpu_eflags(v);
    else if (!strcmp(w, "sp"))
        *val = v->gpr[R_ESP];
    else if (!strcmp(w, "cr0"))
        *val = v->cr0;
    else if (!strcmp(w, "cr2"))
        *val = v->cr2;
    else if (!strcmp(w, "cr3"))
        *val = v->cr3;
    else if (!strcmp(w, "cr4"))
        *val = v->cr4;
    else if (!strcmp(w, "efer"))
        *val = v->efer;
    else if (w[0] == 'd' && w[1] == 'r' && w[2] >= '0' && w[2] <= '7' && !w[3])
        *val = v->dr[w[2] - '0'];
    else
        return false;
    return true;
}

void target_disassemble(struct control *c, u32 lin, u32 eip, int count, bool phys, FILE *out)
{
    const struct vcpu *v = c->m.cpu;
    bool cs32 = v->seg[S_CS].attr & SA_DB;
    for (int k = 0; k < count; k++) {
        u8 bytes[INSN_MAX] = {0};
        struct insn i;
        char text[128];
        size_t n =
            phys ? target_read_phys(c, lin, bytes, sizeof(bytes)) : target_read(c, lin, bytes, sizeof(bytes));
        if (!n || insn_decode(v->model, bytes, (u32)n, cs32, &i)) {
            fprintf(out, "0x%08x: Cannot access memory\n", lin);
            return;
        }
        insn_format(&i, eip, cs32, text, sizeof(text));
        fprintf(out, "0x%08x:  ", lin);
        for (u32 j = 0; j < 8; j++)
            fprintf(out, j < i.len ? "%02x " : "   ", bytes[j]);
        fprintf(out, " %s\n", text);
        lin += i.len;
        eip += i.len;
    }
}
