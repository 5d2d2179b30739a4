/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handlers of the options that say which machine it is: what it boots, memory, CPU, board, clock, ISA
 * devices. A handler checks its value, stores it in struct cli and returns CLI_OK; or reports and returns
 * CLI_BAD; or prints a list and returns CLI_DONE. Given twice, the last one wins; -device adds up, as in
 * QEMU.
 */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

#define RAM_MIN (1 * MiB)
#define RAM_MAX (3 * GiB)

HANDLER(set_kernel)
{
    c->cfg.kernel = val;
    return CLI_OK;
}

HANDLER(set_initrd)
{
    c->cfg.initrd = val;
    return CLI_OK;
}

HANDLER(set_append)
{
    c->cfg.append = val;
    return CLI_OK;
}

HANDLER(set_bios)
{
    c->cfg.bios = val;
    return CLI_OK;
}

HANDLER(set_boot)
{
    bool first = true;
    for (char *item; (item = cli_item(c, &val)); first = false) {
        const char *v = cli_key(item, "order");
        u64 ms;
        if (!v && first && !strchr(item, '='))
            v = item;
        if (v) {
            if (strspn(v, "abcdnop") != strlen(v))
                return cli_fail(o, "order '%s': letters a (floppy), c (disk), d (CD-ROM)", v);
            c->cfg.boot_order = v;
        } else if ((v = cli_key(item, "once"))) {
            if (!*v || strspn(v, "abcdnop") != strlen(v))
                return cli_fail(o, "once '%s': letters a (floppy), c (disk), d (CD-ROM)", v);
            c->cfg.boot_once = v;
        } else if ((v = cli_key(item, "reboot-timeout"))) {
            bool never = !strcmp(v, "-1");
            if (!never && cli_number(o, v, 0xffff, &ms))
                return CLI_BAD;
            c->cfg.reboot_timeout = never ? -1 : (i64)ms;
            c->cfg.have_reboot_timeout = true;
        } else if ((v = cli_key(item, "menu"))) {
            if (cli_on_off(o, v, &c->cfg.boot_menu))
                return CLI_BAD;
        } else if ((v = cli_key(item, "splash-time"))) {
            if (cli_number(o, v, 65535, &ms))
                return CLI_BAD;
            c->cfg.boot_menu_wait = (u32)ms;
        } else if (!cli_key(item, "strict")) {
            return cli_fail(o, "'%s' is not supported by novt yet", item);
        }
    }
    return CLI_OK;
}

HANDLER(set_global)
{
    u64 base;
    if (strncmp(val, "isa-debugcon.iobase=", 20))
        return cli_fail(o, "'%s' is not supported by novt yet: isa-debugcon.iobase=N", val);
    if (cli_number(o, val + 20, 0xffff, &base))
        return CLI_BAD;
    c->cfg.debugcon_iobase = (u16)base;
    return CLI_OK;
}

HANDLER(set_memory)
{
    u64 size = 0;
    bool given = false;
    for (char *item; (item = cli_item(c, &val));) {
        const char *v = cli_key(item, "size");
        if (!v && strchr(item, '='))
            return cli_fail(o, "'%s' is not supported by novt yet: memory cannot be added later", item);
        if (cli_size(o, v ? v : item, MiB, &size))
            return CLI_BAD;
        given = true;
    }
    if (!given)
        return cli_fail(o, "needs a size, such as 256M");
    if (size < RAM_MIN)
        return cli_fail(o, "%llu bytes are too little: a PC has at least 1M", (unsigned long long)size);
    if (size > RAM_MAX)
        return cli_fail(o, "at most 3G: above that a PC of this kind has no room for memory below 4 GiB");
    c->cfg.ram_bytes = ALIGN_UP(size, (u64)PAGE_SIZE);
    return CLI_OK;
}

HANDLER(set_cpu)
{
    if (cli_is_help(val)) {
        cpu_model_list();
        return CLI_DONE;
    }
    struct cpu_model model;
    const char *bad;
    if (cpu_model_parse(val, &model, &bad)) {
        int n = (int)strcspn(bad, ",");
        if (bad == val)
            return cli_fail(o, "unknown CPU model '%.*s': -cpu help lists them", n, bad);
        return cli_fail(
            o, "unknown feature '%.*s': -NAME or +NAME of a CPUID bit that novt has, such as -apic", n, bad);
    }
    c->cfg.cpu = val;
    return CLI_OK;
}

HANDLER(set_smp)
{
    static const char *const keys[] = {"cpus", "sockets", "dies", "clusters", "cores", "threads", "maxcpus"};
    for (char *item; (item = cli_item(c, &val));) {
        const char *v = item;
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
            if (cli_key(item, keys[i]) && strchr(item, '='))
                v = cli_key(item, keys[i]);
        u64 n;
        if (cli_number(o, v, UINT32_MAX, &n))
            return CLI_BAD;
        if (!n)
            return cli_fail(o, "a machine needs a CPU");
        if (n != 1)
            return cli_fail(o, "%llu CPUs are not supported by novt yet: use 1", (unsigned long long)n);
    }
    return CLI_OK;
}

static int check_accel(const struct option *o, const char *list)
{
    static const char *const others[] = {"kvm", "hax", "hvf", "whpx", "nvmm", "xen"};
    char word[32];
    for (const char *p = list; *p;) { /* a colon list of alternatives: novt stands in for any of them */
        size_t n = strcspn(p, ":");
        snprintf(word, sizeof(word), "%.*s", (int)n, p);
        bool known = !strcmp(word, "tcg");
        for (size_t i = 0; i < ARRAY_SIZE(others); i++)
            known |= !strcmp(word, others[i]);
        if (!known)
            return cli_fail(
                o, "unknown accelerator '%s': leave it out, or choose one of novt's with --engine", word);
        p += n + (p[n] == ':');
    }
    return CLI_OK;
}

HANDLER(set_accel)
{
    char *item = cli_item(c, &val);
    if (!item)
        return cli_fail(o, "needs a name: tcg");
    const char *v = cli_key(item, "accel"); /* what follows (thread=, tb-size=, ...) tunes TCG */
    return check_accel(o, v ? v : item);
}

HANDLER(set_machine)
{
    static const char *const harmless[] = {"usb",
                                           "vmport",
                                           "hpet",
                                           "smm",
                                           "kernel-irqchip",
                                           "graphics",
                                           "sata",
                                           "pit",
                                           "pic",
                                           "i8042",
                                           "mem-merge",
                                           "dump-guest-core",
                                           "nvdimm",
                                           "hmat",
                                           "x-south-bridge",
                                           "fd-bootchk"};
    if (cli_is_help(val)) {
        puts("Boards (-machine):\n  pc            PC with an i440FX host bridge (the default)");
        return CLI_DONE;
    }
    bool first = true;
    for (char *item; (item = cli_item(c, &val)); first = false) {
        const char *type = cli_key(item, "type");
        if (!type && first && !strchr(item, '='))
            type = item;
        const char *accel = cli_key(item, "accel");
        if (type) {
            if (strcmp(type, "pc") && strncmp(type, "pc-i440fx", 9))
                return cli_fail(o, "board '%s' is not supported by novt yet: use pc", type);
            continue;
        }
        if (accel) {
            if (check_accel(o, accel))
                return CLI_BAD;
            continue;
        }
        const char *acpi = cli_key(item, "acpi");
        bool ok = false, with_acpi = true;
        if (acpi) {
            if (cli_on_off(o, acpi, &with_acpi))
                return CLI_BAD;
            c->cfg.no_acpi = !with_acpi;
            continue;
        }
        for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
            ok |= cli_key(item, harmless[i]) != NULL;
        if (!ok)
            return cli_fail(o, "property '%s' is not supported by novt yet", item);
    }
    return CLI_OK;
}

HANDLER(set_rtc)
{
    for (char *item; (item = cli_item(c, &val));) {
        const char *v;
        if ((v = cli_key(item, "base")) && *v)
            c->cfg.rtc_base = v;
        else if (!((v = cli_key(item, "clock")) &&
                   (!strcmp(v, "host") || !strcmp(v, "rt") || !strcmp(v, "vm"))) &&
                 !((v = cli_key(item, "driftfix")) && !strcmp(v, "none")))
            return cli_fail(o, "'%s' is not supported by novt yet: base=utc, base=localtime or base=DATE",
                            item);
    }
    return CLI_OK;
}

static int device_debug_exit(struct cli *c, const struct option *o, const char *val)
{
    u64 base = 0x501, size = 2; /* QEMU's defaults */
    for (char *item; (item = cli_item(c, &val));) {
        const char *v;
        if ((v = cli_key(item, "iobase"))) {
            if (cli_number(o, v, 0xffff, &base))
                return CLI_BAD;
        } else if ((v = cli_key(item, "iosize"))) {
            if (cli_number(o, v, 4, &size))
                return CLI_BAD;
            if (!size || size == 3)
                return cli_fail(o, "isa-debug-exit: iosize must be 1, 2 or 4");
        } else if (!cli_key(item, "id")) {
            return cli_fail(o, "isa-debug-exit has no property '%s': iobase=, iosize=", item);
        }
    }
    if (base + size > 0x10000)
        return cli_fail(o, "isa-debug-exit: ports %llx-%llx are beyond FFFFh", (unsigned long long)base,
                        (unsigned long long)(base + size - 1));
    c->cfg.debug_exit_iobase = (int)base;
    c->cfg.debug_exit_iosize = (int)size;
    return CLI_OK;
}

static int device_debugcon(struct cli *c, const struct option *o, const char *val)
{
    u64 base = 0xe9, readback;
    const char *chardev = NULL;
    for (char *item; (item = cli_item(c, &val));) {
        const char *v;
        if ((v = cli_key(item, "iobase"))) {
            if (cli_number(o, v, 0xffff, &base))
                return CLI_BAD;
        } else if ((v = cli_key(item, "readback"))) {
            if (cli_number(o, v, UINT32_MAX, &readback))
                return CLI_BAD;
            if (readback != 0xe9)
                return cli_fail(o, "isa-debugcon: readback is always 0xe9 in novt");
        } else if ((v = cli_key(item, "chardev"))) {
            chardev = v;
        } else if (!cli_key(item, "id")) {
            return cli_fail(o, "isa-debugcon has no property '%s': iobase=, chardev=", item);
        }
    }
    if (!chardev)
        return cli_fail(o, "isa-debugcon needs chardev=ID, the id of a -chardev");
    if (!base)
        return cli_fail(o, "isa-debugcon: iobase must not be 0");
    c->debugcon_chardev = chardev;
    c->cfg.debugcon_iobase = (u16)base;
    return CLI_OK;
}

HANDLER(set_device)
{
    static const struct {
        const char *name, *help;
        int (*set)(struct cli *c, const struct option *o, const char *val);
    } devices[] = {
        {"isa-debug-exit", "writing V to its port ends novt with status (V << 1) | 1; iobase=0x501, iosize=2",
         device_debug_exit},
        {"isa-debugcon", "bytes written to its port go to a chardev; iobase=0xe9, chardev=ID",
         device_debugcon},
    };
    if (cli_is_help(val)) {
        puts("Devices (-device NAME,PROPERTY=VALUE,...):");
        for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
            printf("  %-14s  %s\n", devices[i].name, devices[i].help);
        return CLI_DONE;
    }
    char *name = cli_item(c, &val);
    const char *driver = name ? cli_key(name, "driver") : "";
    for (size_t i = 0; name && i < ARRAY_SIZE(devices); i++)
        if (!strcmp(driver ? driver : name, devices[i].name))
            return devices[i].set(c, o, val);
    return cli_fail(o, "device '%s' is not supported by novt yet: -device help lists those that are",
                    name ? name : "");
}
