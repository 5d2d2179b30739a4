/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables (ACPI 2.0; RSDP and RSDT as in 1.0): FACS, DSDT, FADT, SSDT, MADT, RSDT in this order, then
 * RSDP.
 *
 * The DSDT is machine/dsdt.asl, compiled at build time; what depends on the command line is an SSDT of named
 * integers. Fields that hold addresses hold offsets into the block until acpi_link(), or the firmware, adds
 * where it lies; checksum bytes are zero until then, because the addresses count.
 *
 * The hardware that the FADT describes is devices/piix4_pm.c (event, control, timer, GPE blocks), the APM
 * port of devices/piix3.c (ACPI enable) and CF9h of devices/pci.c (reset).
 *
 * Must not: depend on anything but the facts; two builds from the same facts are equal, byte for byte
 * (lockstep relies on it).
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "machine/boot.h"
#include "machine/tables.h"

#include "dsdt.hex" /* dsdt_aml_code[] */

#define SCI 9

/* FADT flags (ACPI 2.0, 5.2.8.2) */
#define F_WBINVD    0x001u
#define F_PROC_C1   0x004u
#define F_SLPBTN    0x020u /* none as a fixed feature */
#define F_FIX_RTC   0x040u /* the RTC cannot wake through the fixed registers */
#define F_RESET_REG 0x400u

/* Reserves the next `len` bytes, aligned; returns their offset. */
static u32 reserve(struct acpi_tables *t, u32 len, u32 align)
{
    u32 at = ALIGN_UP(t->len, align);
    NOVT_ASSERT(at + len <= ACPI_TABLES_MAX);
    memset(t->tables + t->len, 0, at + len - t->len);
    t->len = at + len;
    return at;
}

static void add_link(struct acpi_tables *t, struct acpi_link link)
{
    NOVT_ASSERT(t->n_links < ACPI_LINKS_MAX);
    t->links[t->n_links++] = link;
}

static void pointer(struct acpi_tables *t, u32 at, u32 target)
{
    put32(t->tables + at, target);
    add_link(t, (struct acpi_link){.pointer = true, .at = at});
}

/* A description table with its header; the body follows at offset 36. */
static u32 table(struct acpi_tables *t, const char *signature, u8 revision, u32 len)
{
    u32 at = reserve(t, len, 16);
    u8 *p = t->tables + at;
    memcpy(p, signature, 4);
    put32(p + 4, len);
    p[8] = revision;
    memcpy(p + 10, "NOVT  ", 6);
    memcpy(p + 16, "NOVTPC  ", 8);
    put32(p + 24, 1);
    memcpy(p + 28, "NOVT", 4);
    put32(p + 32, 1);
    return at;
}

static void checksum(struct acpi_tables *t, u32 at)
{
    add_link(t, (struct acpi_link){.at = at + 9, .start = at, .len = get32(t->tables + at + 4)});
}

static u32 facs(struct acpi_tables *t)
{
    u32 at = reserve(t, 64, 64);
    memcpy(t->tables + at, "FACS", 4);
    put32(t->tables + at + 4, 64);
    return at;
}

static u32 dsdt(struct acpi_tables *t)
{
    u32 at = reserve(t, sizeof(dsdt_aml_code), 16);
    memcpy(t->tables + at, dsdt_aml_code, sizeof(dsdt_aml_code));
    t->tables[at + 9] = 0;
    checksum(t, at);
    return at;
}

/* A generic address structure in I/O space. */
static void gas(u8 *p, u8 bits, u8 size, u16 port)
{
    p[0] = 1;
    p[1] = bits;
    p[3] = size; /* access: 1 byte, 2 word, 3 dword */
    put64(p + 4, port);
}

static u32 fadt(struct acpi_tables *t, const struct board_facts *f, u32 facs_at, u32 dsdt_at)
{
    u32 at = table(t, "FACP", 3, 244);
    u8 *p = t->tables + at;
    pointer(t, at + 36, facs_at);
    pointer(t, at + 40, dsdt_at);
    p[45] = 1; /* preferred profile: desktop */
    put16(p + 46, SCI);
    put32(p + 48, 0xb2); /* SMI command port, and the values that switch ACPI on and off */
    p[52] = 0xf1;
    p[53] = 0xf0;
    put32(p + 56, f->pm_base);       /* PM1a event */
    put32(p + 64, f->pm_base + 4u);  /* PM1a control */
    put32(p + 76, f->pm_base + 8u);  /* timer */
    put32(p + 80, f->pm_base + 12u); /* GPE 0 */
    p[88] = 4;                       /* their lengths */
    p[89] = 2;
    p[91] = 4;
    p[92] = 4;
    put16(p + 96, 0xfff); /* C2 and C3 latencies: not there */
    put16(p + 98, 0xfff);
    p[106] = 0;
    p[108] = 0x32;        /* CMOS byte of the century */
    put16(p + 109, 0x03); /* legacy devices, 8042 */
    put32(p + 112, F_WBINVD | F_PROC_C1 | F_SLPBTN | F_FIX_RTC | F_RESET_REG);
    gas(p + 116, 8, 1, 0xcf9);
    p[128] = 0x06;
    add_link(t, (struct acpi_link){.pointer = true,
                                   .at = at + 140}); /* X_DSDT; X_FIRMWARE_CTRL is 0: use the other */
    put32(p + 140, dsdt_at);
    gas(p + 148, 32, 2, f->pm_base);
    gas(p + 172, 16, 2, f->pm_base + 4u);
    gas(p + 208, 32, 3, f->pm_base + 8u);
    gas(p + 220, 32, 1, f->pm_base + 12u);
    checksum(t, at);
    return at;
}

/* Name (\NAME, 0xVALUE) in AML: NameOp, root, name, DWordConst. */
static void name_dword(u8 *p, const char *name, u32 val)
{
    p[0] = 0x08;
    p[1] = '\\';
    memcpy(p + 2, name, 4);
    p[6] = 0x0c;
    put32(p + 7, val);
}

static u32 ssdt(struct acpi_tables *t, const struct board_facts *f)
{
    const struct {
        const char *name;
        u32 val;
    } names[] = {{"NCOM", f->serials},
                 {"NLPT", f->parallel},
                 {"NFDC", f->floppies},
                 {"PMLO", f->pci_hole},
                 {"PMIO", f->pm_base}};
    u32 at = table(t, "SSDT", 1, 36 + 11 * ARRAY_SIZE(names));
    for (u32 i = 0; i < ARRAY_SIZE(names); i++)
        name_dword(t->tables + at + 36 + 11 * i, names[i].name, names[i].val);
    checksum(t, at);
    return at;
}

/* ISA interrupts that are not active high, edge and at the pin of their number. */
static u8 * override(u8 *p, u8 irq, u8 gsi, u16 flags)
{
    p[0] = 2;
    p[1] = 10;
    p[3] = irq;
    put32(p + 4, gsi);
    put16(p + 8, flags);
    return p + 10;
}

static u32 madt(struct acpi_tables *t)
{
    static const u8 level[] = {5, 9, 10, 11}; /* PCI interrupts and the SCI: active high, level */
    u32 at = table(t, "APIC", 1, 44 + 8 + 12 + 10 * (1 + sizeof(level)) + 6);
    u8 *p = t->tables + at;
    put32(p + 36, 0xfee00000);
    put32(p + 40, 1); /* there are 8259As too */
    p += 44;
    p[0] = 0; /* processor 0, local APIC 0, enabled */
    p[1] = 8;
    put32(p + 4, 1);
    p += 8;
    p[0] = 1; /* I/O APIC 0 */
    p[1] = 12;
    put32(p + 4, 0xfec00000);
    p += 12;
    p = override(p, 0, 2, 0);
    for (size_t i = 0; i < sizeof(level); i++)
        p = override(p, level[i], level[i], 0x0d);
    p[0] = 4; /* NMI at LINT1 of all processors */
    p[1] = 6;
    p[2] = 0xff;
    p[5] = 1;
    checksum(t, at);
    return at;
}

void acpi_build(struct acpi_tables *t, const struct board_facts *f)
{
    u32 list[4], n = 0;
    memset(t, 0, sizeof(*t));
    u32 facs_at = facs(t), dsdt_at = dsdt(t);
    list[n++] = fadt(t, f, facs_at, dsdt_at);
    list[n++] = ssdt(t, f);
    if (f->apic)
        list[n++] = madt(t);
    u32 rsdt = table(t, "RSDT", 1, 36 + 4 * n);
    for (u32 i = 0; i < n; i++)
        pointer(t, rsdt + 36 + 4 * i, list[i]);
    checksum(t, rsdt);
    memcpy(t->rsdp, "RSD PTR ", 8);
    memcpy(t->rsdp + 9, "NOVT  ", 6);
    put32(t->rsdp + 16, rsdt);
    add_link(t, (struct acpi_link){.rsdp = true, .pointer = true, .at = 16});
    add_link(t, (struct acpi_link){.rsdp = true, .at = 8, .start = 0, .len = ACPI_RSDP_SIZE});
}

void acpi_link(struct acpi_tables *t, u32 tables)
{
    for (u32 i = 0; i < t->n_links; i++) {
        const struct acpi_link *l = &t->links[i];
        u8 *block = l->rsdp ? t->rsdp : t->tables, sum = 0;
        if (l->pointer) {
            put32(block + l->at, get32(block + l->at) + tables);
            continue;
        }
        for (u32 k = 0; k < l->len; k++)
            sum += block[l->start + k];
        block[l->at] -= sum;
    }
}

/* ---- for firmware ---- */

#define TABLES_FILE "etc/acpi/tables"
#define RSDP_FILE   "etc/acpi/rsdp"

u32 acpi_loader(const struct acpi_tables *t, u8 *buf)
{
    u8 *p = buf;
    memset(buf, 0, (ACPI_LINKS_MAX + 2) * ACPI_LOADER_ENTRY);
    for (int i = 0; i < 2; i++, p += ACPI_LOADER_ENTRY) { /* allocate */
        put32(p, 1);
        strcpy((char *)p + 4, i ? RSDP_FILE : TABLES_FILE);
        put32(p + 60, i ? 16 : 64);
        p[64] = i ? 2 : 1; /* in the F segment, or anywhere */
    }
    for (u32 i = 0; i < t->n_links; i++, p += ACPI_LOADER_ENTRY) {
        const struct acpi_link *l = &t->links[i];
        strcpy((char *)p + 4, l->rsdp ? RSDP_FILE : TABLES_FILE);
        if (l->pointer) {
            put32(p, 2);
            strcpy((char *)p + 60, TABLES_FILE);
            put32(p + 116, l->at);
            p[120] = 4;
        } else {
            put32(p, 3);
            put32(p + 60, l->at);
            put32(p + 64, l->start);
            put32(p + 68, l->len);
        }
    }
    return (u32)(p - buf);
}
