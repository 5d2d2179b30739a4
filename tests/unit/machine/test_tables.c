/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI, MP and SMBIOS tables: structure, checksums, links, and the loader's commands carried out as firmware
 * does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "machine/boot.h"
#include "machine/tables.h"

static const struct board_facts facts = {.ram_bytes = 256 * MiB,
                                         .apic = true,
                                         .serials = 1,
                                         .floppies = 1,
                                         .pm_base = 0x600,
                                         .pci_hole = 0x80000000,
                                         .cpu_brand = "novt"};

static u8 sum(const u8 *p, u32 len)
{
    u8 s = 0;
    while (len--)
        s += *p++;
    return s;
}

/* Finds a table by walking from the RSDP, as a guest does; tables lie at `base` in `mem`. */
static const u8 *find(const u8 *mem, u32 base, const u8 *rsdp, const char *name)
{
    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(sum(rsdp, 20), 0);
    const u8 *rsdt = mem + (get32(rsdp + 16) - base);
    assert_memory_equal(rsdt, "RSDT", 4);
    u32 len = get32(rsdt + 4);
    assert_int_equal(sum(rsdt, len), 0);
    for (u32 at = 36; at < len; at += 4) {
        const u8 *t = mem + (get32(rsdt + at) - base);
        assert_int_equal(sum(t, get32(t + 4)), 0);
        if (!memcmp(t, name, 4))
            return t;
    }
    return NULL;
}

static void check_all(const u8 *mem, u32 base, const u8 *rsdp)
{
    const u8 *fadt = find(mem, base, rsdp, "FACP");
    assert_non_null(fadt);
    assert_int_equal(get32(fadt + 4), 244);
    assert_int_equal(get32(fadt + 36) % 64, 0);
    assert_memory_equal(mem + (get32(fadt + 36) - base), "FACS", 4);
    const u8 *dsdt = mem + (get32(fadt + 40) - base);
    assert_memory_equal(dsdt, "DSDT", 4);
    assert_int_equal(sum(dsdt, get32(dsdt + 4)), 0);
    assert_int_equal(get64(fadt + 140), get32(fadt + 40)); /* X_DSDT */
    assert_int_equal(get16(fadt + 46), 9);
    assert_int_equal(get32(fadt + 56), 0x600);
    assert_int_equal(get32(fadt + 64), 0x604);
    assert_int_equal(get32(fadt + 76), 0x608);
    assert_int_equal(get32(fadt + 80), 0x60c);
    assert_int_equal(get64(fadt + 208 + 4), 0x608);
    assert_int_equal(get64(fadt + 116 + 4), 0xcf9);
    const u8 *madt = find(mem, base, rsdp, "APIC");
    assert_non_null(madt);
    int kinds[5] = {0};
    u32 len = get32(madt + 4), at = 44;
    for (; at < len; at += madt[at + 1]) {
        assert_true(madt[at] < 5 && madt[at + 1]);
        kinds[madt[at]]++;
    }
    assert_int_equal(at, len);
    assert_true(kinds[0] == 1 && kinds[1] == 1 && kinds[2] == 5 && kinds[4] == 1);
    const u8 *ssdt = find(mem, base, rsdp, "SSDT");
    assert_memory_equal(ssdt + 36, "\x08\\NCOM\x0c\1\0\0\0", 11);
}

static void direct(void **state)
{
    static struct acpi_tables t, again;
    acpi_build(&t, &facts);
    acpi_build(&again, &facts);
    assert_memory_equal(&t, &again, sizeof(t));
    acpi_link(&t, 0xf2000);
    check_all(t.tables, 0xf2000, t.rsdp);
    struct board_facts f = facts;
    f.apic = false;
    acpi_build(&t, &f);
    acpi_link(&t, 0xf2000);
    assert_null(find(t.tables, 0xf2000, t.rsdp, "APIC"));
    assert_non_null(find(t.tables, 0xf2000, t.rsdp, "FACP"));
}

/* Walks the MP table as a guest does; which I/O APIC pin a PCI slot's interrupt has comes from the same place
 * as in the DSDT's _PRT. */
static void legacy(void **state)
{
    static struct legacy_tables t;
    struct board_facts f = facts;
    legacy_build(&t, &f, 0xf0400);
    assert_memory_equal(t.mp_pointer, "_MP_", 4);
    assert_int_equal(sum(t.mp_pointer, 16 * t.mp_pointer[8]), 0);
    assert_int_equal(get32(t.mp_pointer + 4), 0xf0400);
    assert_memory_equal(t.mp, "PCMP", 4);
    assert_int_equal(get16(t.mp + 4), t.mp_len);
    assert_int_equal(sum(t.mp, t.mp_len), 0);
    int kinds[5] = {0}, n = 0, pci = 0;
    bool isa[16] = {false}, pins[24] = {false};
    u32 at = 44;
    for (; at < t.mp_len; at += t.mp[at] ? 8 : 20, n++) {
        const u8 *e = t.mp + at;
        assert_true(e[0] < 5);
        kinds[e[0]]++;
        if (e[0] != 3)
            continue;
        assert_true(e[7] < 24);
        if (e[4] == 1) { /* ISA: each IRQ once, and no pin twice */
            assert_false(isa[e[5]] || pins[e[7]]);
            isa[e[5]] = pins[e[7]] = true;
            assert_int_equal(e[7], e[5] ? e[5] : 2);
        } else {
            u32 slot = e[5] >> 2, pirq = (slot - 1 + (e[5] & 3)) & 3;
            assert_int_equal(e[7], e[5] == 4 ? 9 : pirq < 2 ? 10 : 11);
            assert_int_equal(get16(e + 2), 1);
            pci++;
        }
    }
    assert_int_equal(at, t.mp_len);
    assert_int_equal(n, get16(t.mp + 34));
    assert_true(kinds[0] == 1 && kinds[1] == 2 && kinds[2] == 1 && kinds[4] == 2 && pci == 124);
    assert_true(isa[0] && isa[1] && !isa[2] && !isa[9] && !isa[10] && !isa[11] && isa[14]);
    assert_memory_equal(t.pir, "$PIR", 4);
    assert_int_equal(get16(t.pir + 6), sizeof(t.pir));
    assert_int_equal(sum(t.pir, sizeof(t.pir)), 0);
    assert_int_equal(t.pir[32 + 1], 1 << 3);
    assert_int_equal(t.pir[32 + 16 * 2 + 2], 0x62); /* slot 3, INTA */
    f.apic = false;
    legacy_build(&t, &f, 0xf0400);
    assert_int_equal(t.mp_len, 0);
    assert_memory_equal(t.pir, "$PIR", 4);
}

/* The two files, placed by the commands. */
static void firmware(void **state)
{
    static struct acpi_tables t;
    static u8 cmd[(ACPI_LINKS_MAX + 2) * ACPI_LOADER_ENTRY];
    acpi_build(&t, &facts);
    u32 len = acpi_loader(&t, cmd), base = 0x0ffe0040 & ~63u, done = 0;
    assert_int_equal(len % 128, 0);
    for (u32 at = 0; at < len; at += 128) {
        const u8 *p = cmd + at;
        const char *file = (const char *)p + 4;
        u8 *block = !strcmp(file, "etc/acpi/rsdp") ? t.rsdp : t.tables;
        u32 size = block == t.rsdp ? sizeof(t.rsdp) : t.len;
        assert_true(block == t.rsdp || !strcmp(file, "etc/acpi/tables"));
        switch (get32(p)) {
        case 1:
            assert_int_equal(p[64], block == t.rsdp ? 2 : 1);
            assert_true(get32(p + 60) >= 16);
            assert_int_equal(at, 128 * done++); /* before anything else */
            break;
        case 2: {
            u32 where = get32(p + 116);
            assert_string_equal((const char *)p + 60, "etc/acpi/tables");
            assert_int_equal(p[120], 4);
            assert_true(where + 4 <= size);
            assert_true(get32(block + where) < t.len);
            put32(block + where, get32(block + where) + base);
            break;
        }
        case 3:
            assert_true(get32(p + 60) < size && get32(p + 64) + get32(p + 68) <= size);
            block[get32(p + 60)] -= sum(block + get32(p + 64), get32(p + 68));
            break;
        default:
            fail();
        }
    }
    assert_int_equal(done, 2);
    check_all(t.tables, base, t.rsdp);
}

static void smbios(void **state)
{
    static struct smbios_tables t;
    static const u8 uuid[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct smbios_config c = {.serial = "12345", .uuid = uuid, .board_product = "b"};
    assert_true(smbios_build(&t, &c, &facts));
    smbios_link(&t, 0xf1000);
    assert_memory_equal(t.entry, "_SM_", 4);
    assert_int_equal(sum(t.entry, 31), 0);
    assert_int_equal(sum(t.entry + 16, 15), 0);
    assert_int_equal(get32(t.entry + 24), 0xf1000);
    assert_int_equal(get16(t.entry + 22), t.len);
    u32 at = 0, count = 0, largest = 0, types = 0;
    while (at < t.len) {
        u32 start = at, type = t.tables[at];
        const char *s = (const char *)t.tables + at + t.tables[at + 1];
        if (type == 1) {
            assert_memory_equal(t.tables + at + 8, "\3\2\1\0\5\4\7\6\x8\x9\xa\xb\xc\xd\xe\xf", 16);
            assert_int_equal(t.tables[at + 7], 4); /* the serial number is the fourth string */
            const char *four = s;
            for (int i = 0; i < 3; i++)
                four += strlen(four) + 1;
            assert_string_equal(four, "12345");
        }
        if (type < 32)
            types |= 1u << type;
        while (s[0] || s[1])
            s++;
        at = (u32)((const u8 *)s + 2 - t.tables);
        largest = at - start > largest ? at - start : largest;
        count++;
    }
    assert_int_equal(at, t.len);
    assert_int_equal(count, get16(t.entry + 28));
    assert_int_equal(largest, get16(t.entry + 8));
    assert_int_equal(types, 1u << 0 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 16 | 1u << 17 | 1u << 19);
    char longest[300];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    c.serial = longest;
    assert_false(smbios_build(&t, &c, &facts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(direct), cmocka_unit_test(legacy),
                                       cmocka_unit_test(firmware), cmocka_unit_test(smbios)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
