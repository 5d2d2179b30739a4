/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables that firmware hands to an operating system: ACPI (machine/acpi.c), SMBIOS
 * (machine/smbios.c), and what there was before ACPI (machine/mptable.c).
 *
 * They are built once, without addresses. A firmware gets them over fw_cfg with a list of what to place and
 * to link; a guest that is loaded directly finds them placed and linked by the same list in the BIOS area.
 */
#ifndef NOVT_MACHINE_TABLES_H
#define NOVT_MACHINE_TABLES_H

#include "base/types.h"

/* What the tables depend on. */
struct board_facts {
    u64 ram_bytes;
    bool apic;   /* CPU and board have APICs */
    u8 serials;  /* bit n: serial port n + 1 exists */
    u8 floppies; /* bit n: floppy drive n exists */
    bool parallel;
    u16 pm_base;       /* power management ports */
    u32 pci_hole;      /* where PCI memory may begin */
    u32 cpu_signature; /* CPUID.1:EAX, for SMBIOS */
    u32 cpu_features;  /* CPUID.1:EDX */
    const char *cpu_brand;
};

/* ---- ACPI ---- */

#define ACPI_TABLES_MAX   16384
#define ACPI_LINKS_MAX    24
#define ACPI_RSDP_SIZE    20
#define ACPI_LOADER_ENTRY 128

struct acpi_link {
    bool rsdp;    /* in the RSDP, not in the tables */
    bool pointer; /* the 32-bit field at `at` holds an offset into the tables; else a checksum byte is at `at`
                   */
    u32 at;
    u32 start, len; /* of what the checksum is over */
};

struct acpi_tables {
    u8 tables[ACPI_TABLES_MAX];
    u32 len;
    u8 rsdp[ACPI_RSDP_SIZE];
    struct acpi_link links[ACPI_LINKS_MAX]; /* in the order in which they are to be done */
    u32 n_links;
};

void acpi_build(struct acpi_tables *t, const struct board_facts *facts);
/* The commands of etc/table-loader; buf has room for ACPI_LINKS_MAX + 2 entries. Returns the length. */
u32 acpi_loader(const struct acpi_tables *t, u8 *buf);
/* Makes the tables final for this address, 64-byte aligned. The RSDP may be on any 16 bytes. */
void acpi_link(struct acpi_tables *t, u32 tables);

/* ---- MP tables and $PIR ---- */

#define PIR_SIZE (32 + 31 * 16)

struct legacy_tables {
    u8 mp_pointer[16];
    u8 mp[1536];
    u32 mp_len; /* 0: no APICs, no MP tables */
    u8 pir[PIR_SIZE];
};

/* mp_at: where mp[] will lie. The pointer and $PIR may be on any 16 bytes of F0000-FFFFF. */
void legacy_build(struct legacy_tables *t, const struct board_facts *facts, u32 mp_at);

/* ---- SMBIOS ---- */

#define SMBIOS_MAX        4096
#define SMBIOS_ENTRY_SIZE 31

/* Strings that the user may give; NULL: default, or none. */
struct smbios_config {
    const char *bios_vendor, *bios_version, *bios_date; /* type 0 */
    u8 bios_major, bios_minor;
    bool bios_release;                                                    /* the two are given */
    const char *manufacturer, *product, *version, *serial, *sku, *family; /* type 1 */
    const char *board_manufacturer, *board_product, *board_version, *board_serial, *board_asset; /* type 2 */
    const char *case_manufacturer, *case_version, *case_serial, *case_asset, *case_sku;          /* type 3 */
    const u8 *uuid; /* 16 bytes in text order, or NULL: all zeros */
};

struct smbios_tables {
    u8 tables[SMBIOS_MAX];
    u32 len;
    u8 entry[SMBIOS_ENTRY_SIZE];
};

/* Returns false if the strings are too long for SMBIOS_MAX. */
bool smbios_build(struct smbios_tables *t, const struct smbios_config *c, const struct board_facts *facts);
void smbios_link(struct smbios_tables *t, u32 tables);

#endif
