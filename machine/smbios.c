/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS 2.8 tables (DMTF DSP0134): BIOS, system, board (if given), chassis, processor, memory, boot, end.
 *
 * A structure is its fixed part, then its strings, each ending in 0, and a 0 more. String fields hold the
 * string's number, 0 for none. The entry point's address and checksums come with smbios_link(), or from the
 * firmware, which gets both blocks over fw_cfg.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "machine/boot.h"
#include "machine/tables.h"

struct builder {
    struct smbios_tables *t;
    u8 *at; /* the structure that is being made */
    u8 strings;
    u32 count, largest;
    bool full;
    u8 sink[256]; /* written, never read: what does not fit */
};

static u8 *put(struct builder *b, u32 len)
{
    if (len > sizeof(b->sink) || b->t->len + len > SMBIOS_MAX) {
        b->full = true;
        return b->sink;
    }
    u8 *p = b->t->tables + b->t->len;
    memset(p, 0, len);
    b->t->len += len;
    return p;
}

static u8 *begin(struct builder *b, u8 type, u16 handle, u8 len)
{
    b->at = put(b, len);
    b->strings = 0;
    b->at[0] = type;
    b->at[1] = len;
    put16(b->at + 2, handle);
    return b->at;
}

/* Adds a string and stores its number in the field. */
static void string(struct builder *b, u8 field, const char *s)
{
    if (!s || !*s || b->full)
        return;
    size_t n = strlen(s);
    if (n > 255) {
        b->full = true;
        return;
    }
    b->at[field] = ++b->strings;
    memcpy(put(b, (u32)n + 1), s, n);
}

static void end(struct builder *b)
{
    put(b, b->strings ? 1 : 2);
    u32 size = (u32)(b->t->tables + b->t->len - b->at);
    if (!b->full && size > b->largest)
        b->largest = size;
    b->count++;
}

/* The first three fields of a UUID are little-endian since 2.6. */
static void put_uuid(u8 *p, const u8 *uuid)
{
    static const u8 order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int i = 0; uuid && i < 16; i++)
        p[i] = uuid[order[i]];
}

static void bios(struct builder *b, const struct smbios_config *c)
{
    u8 *p = begin(b, 0, 0x0000, 24);
    put16(p + 6, 0xe800);     /* segment */
    put64(p + 10, 1ull << 3); /* characteristics: not given */
    p[18 + 1] = 0x14;         /* extension byte 2: virtual machine, targeted content distribution */
    p[20] = c->bios_release ? c->bios_major : 0;
    p[21] = c->bios_release ? c->bios_minor : 0;
    p[22] = p[23] = 0xff; /* no embedded controller */
    string(b, 4, c->bios_vendor ? c->bios_vendor : "novt");
    string(b, 5, c->bios_version ? c->bios_version : NOVT_VERSION);
    string(b, 8, c->bios_date ? c->bios_date : "04/01/2014");
    end(b);
}

static void system_info(struct builder *b, const struct smbios_config *c)
{
    u8 *p = begin(b, 1, 0x0100, 27);
    put_uuid(p + 8, c->uuid);
    p[24] = 6; /* woken by the power switch */
    string(b, 4, c->manufacturer ? c->manufacturer : "novt");
    string(b, 5, c->product ? c->product : "Standard PC (i440FX + PIIX)");
    string(b, 6, c->version ? c->version : "pc");
    string(b, 7, c->serial);
    string(b, 25, c->sku);
    string(b, 26, c->family);
    end(b);
}

static void baseboard(struct builder *b, const struct smbios_config *c)
{
    if (!c->board_manufacturer && !c->board_product && !c->board_version && !c->board_serial &&
        !c->board_asset)
        return;
    u8 *p = begin(b, 2, 0x0200, 15);
    p[9] = 1;              /* hosts other boards */
    put16(p + 11, 0x0300); /* in the chassis */
    p[13] = 10;            /* motherboard */
    string(b, 4, c->board_manufacturer);
    string(b, 5, c->board_product);
    string(b, 6, c->board_version);
    string(b, 7, c->board_serial);
    string(b, 8, c->board_asset);
    end(b);
}

static void chassis(struct builder *b, const struct smbios_config *c)
{
    u8 *p = begin(b, 3, 0x0300, 22);
    p[5] = 1;                         /* other */
    p[9] = p[10] = p[11] = p[12] = 3; /* states: safe */
    string(b, 4, c->case_manufacturer ? c->case_manufacturer : "novt");
    string(b, 6, c->case_version ? c->case_version : "pc");
    string(b, 7, c->case_serial);
    string(b, 8, c->case_asset);
    string(b, 21, c->case_sku);
    end(b);
}

static void processor(struct builder *b, const struct board_facts *f)
{
    u8 *p = begin(b, 4, 0x0400, 42);
    p[5] = 3; /* central processor */
    p[6] = 1; /* family: other */
    put32(p + 8, f->cpu_signature);
    put32(p + 12, f->cpu_features);
    put16(p + 20, 0);      /* speeds: unknown */
    p[24] = 0x41;          /* populated, enabled */
    p[25] = 1;             /* upgrade: other */
    put16(p + 26, 0xffff); /* no cache handles */
    put16(p + 28, 0xffff);
    put16(p + 30, 0xffff);
    p[35] = p[36] = p[37] = 1; /* cores, enabled, threads */
    put16(p + 38, 0x02);       /* characteristics: unknown */
    put16(p + 40, 1);
    string(b, 4, "CPU 0");
    string(b, 7, "novt");
    string(b, 16, f->cpu_brand);
    end(b);
}

static void memory(struct builder *b, const struct board_facts *f)
{
    u32 kib = (u32)(f->ram_bytes / KiB);
    u8 *p = begin(b, 16, 0x1000, 23); /* array */
    p[4] = 1;
    p[5] = 3; /* system memory */
    p[6] = 6; /* multi-bit correction, as QEMU and KVM guests see */
    put32(p + 7, kib < 0x80000000 ? kib : 0x80000000);
    put16(p + 11, 0xfffe);
    put16(p + 13, 1);
    end(b);
    p = begin(b, 17, 0x1100, 40); /* the one module */
    put16(p + 4, 0x1000);
    put16(p + 6, 0xfffe);
    put16(p + 8, 0xffff);
    put16(p + 10, 0xffff);
    put16(p + 12,
          kib % KiB || kib / KiB == 0 ? (u16)(0x8000 | (kib < 0x7fff ? kib : 0x7fff)) : (u16)(kib / KiB));
    p[14] = 9; /* DIMM */
    p[18] = 7; /* RAM */
    put16(p + 19, 0x02);
    string(b, 16, "DIMM 0");
    string(b, 23, "novt");
    end(b);
    p = begin(b, 19, 0x1300, 31); /* where it is mapped */
    put32(p + 8, kib - 1);
    put16(p + 12, 0x1000);
    p[14] = 1;
    end(b);
}

bool smbios_build(struct smbios_tables *t, const struct smbios_config *c, const struct board_facts *f)
{
    struct builder b = {.t = t};
    memset(t, 0, sizeof(*t));
    bios(&b, c);
    system_info(&b, c);
    baseboard(&b, c);
    chassis(&b, c);
    processor(&b, f);
    memory(&b, f);
    u8 *p = begin(&b, 32, 0x2000, 11); /* booted without an error */
    p[10] = 0;
    end(&b);
    begin(&b, 127, 0x7f00, 4);
    end(&b);
    u8 *e = t->entry;
    memcpy(e, "_SM_", 4);
    e[5] = SMBIOS_ENTRY_SIZE;
    e[6] = 2;
    e[7] = 8;
    put16(e + 8, (u16)b.largest);
    memcpy(e + 16, "_DMI_", 5);
    put16(e + 22, (u16)t->len);
    put16(e + 28, (u16)b.count);
    e[30] = 0x28;
    smbios_link(t, 0);
    return !b.full;
}

static u8 sum(const u8 *p, u32 len)
{
    u8 s = 0;
    while (len--)
        s += *p++;
    return s;
}

void smbios_link(struct smbios_tables *t, u32 tables)
{
    put32(t->entry + 24, tables);
    t->entry[4] = t->entry[21] = 0;
    t->entry[21] = -sum(t->entry + 16, 15);
    t->entry[4] = -sum(t->entry, SMBIOS_ENTRY_SIZE);
}
