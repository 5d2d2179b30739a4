/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handlers of the options about the run: what ends it, the engine and its switches, debugging, logs, help,
 * and QEMU's options that mean nothing here or are missing. --no-opt, --dump and -d add up; else the last one
 * wins.
 */
#include "cli/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/opts.h"

HANDLER(set_no_reboot)
{
    c->cfg.no_reboot = true;
    return CLI_OK;
}

HANDLER(set_no_shutdown)
{
    c->cfg.no_shutdown = true;
    return CLI_OK;
}

HANDLER(set_start_paused)
{
    c->cfg.start_paused = true;
    return CLI_OK;
}

HANDLER(set_action)
{
    for (char *item; (item = cli_item(c, &val));) {
        if (!strcmp(item, "reboot=shutdown"))
            c->cfg.no_reboot = true;
        else if (!strcmp(item, "reboot=reset"))
            c->cfg.no_reboot = false;
        else if (!strcmp(item, "shutdown=pause"))
            c->cfg.no_shutdown = true;
        else if (!strcmp(item, "shutdown=poweroff"))
            c->cfg.no_shutdown = false;
        else
            return cli_fail(
                o, "'%s' is not supported by novt yet: reboot=reset|shutdown, shutdown=poweroff|pause", item);
    }
    return CLI_OK;
}

HANDLER(set_engine)
{
    if (!strcmp(val, "bt"))
        c->cfg.engine = ENGINE_BT;
    else if (!strcmp(val, "interp"))
        c->cfg.engine = ENGINE_INTERP;
    else
        return cli_fail(o, "unknown engine '%s': bt or interp", val);
    return CLI_OK;
}

HANDLER(set_no_opt)
{
    const char *bad;
    if (cli_is_help(val)) {
        opts_list();
        return CLI_DONE;
    }
    if (opts_disable(&c->cfg.opts, val, &bad))
        return cli_fail(o, "unknown optimisation '%.*s': --no-opt=help lists them", (int)strcspn(bad, ","),
                        bad);
    return CLI_OK;
}

HANDLER(set_audit)
{
    if (strcmp(val, "shadow"))
        return cli_fail(o, "'%s' cannot be audited: shadow", val);
    c->cfg.audit_shadow = true;
    return CLI_OK;
}

HANDLER(set_tcache)
{
    u64 size;
    if (cli_size(o, val, MiB, &size))
        return CLI_BAD;
    if (size < MiB || size > GiB)
        return cli_fail(o, "%s is out of range: 1M to 1G", val);
    c->cfg.tcache_bytes = ALIGN_UP(size, (u64)PAGE_SIZE);
    return CLI_OK;
}

HANDLER(set_code_cache)
{
    if (!*val)
        return cli_fail(o, "needs the name of a file");
    c->cfg.code_cache = val;
    return CLI_OK;
}

HANDLER(set_windows)
{
    c->cfg.windows_always = !strcmp(val, "always");
    if (!strcmp(val, "never"))
        c->cfg.opts &= ~OPT(window);
    else if (!c->cfg.windows_always && strcmp(val, "auto"))
        return cli_fail(o, "'%s' is none of auto, always, never", val);
    return CLI_OK;
}

HANDLER(set_spaces)
{
    u64 n;
    if (cli_number(o, val, UINT32_MAX, &n))
        return CLI_BAD;
    if (n < 2 || n > 4096)
        return cli_fail(o, "%s is out of range: 2 to 4096", val);
    c->cfg.max_spaces = (u32)n;
    return CLI_OK;
}

HANDLER(set_perf_map)
{
    if (val && !*val)
        return cli_fail(o, "needs a file name after '='");
    c->cfg.perf_map = true;
    c->cfg.perf_map_file = val;
    return CLI_OK;
}

HANDLER(set_symbols)
{
    for (int i = 0; i < MACHINE_SYMBOLS; i++)
        if (!c->cfg.symbols[i]) {
            c->cfg.symbols[i] = val;
            return CLI_OK;
        }
    return cli_fail(o, "at most %d files", MACHINE_SYMBOLS);
}

HANDLER(set_stats)
{
    if (val && !*val)
        return cli_fail(o, "needs a file name after '='");
    c->cfg.stats = true;
    c->cfg.stats_file = val;
    return CLI_OK;
}

HANDLER(set_count)
{
    c->cfg.stats = true;
    c->cfg.count = true;
    return CLI_OK;
}

/* 0xLO-0xHI: false if it does not look like one. */
static bool address_range(const char *item, u32 *lo, u32 *hi)
{
    unsigned int l, h;
    char rest;
    if (sscanf(item, "0x%8x-0x%8x%c", &l, &h, &rest) != 2)
        return false;
    *lo = l;
    *hi = h;
    return true;
}

HANDLER(set_dump)
{
    static const struct {
        const char *name, *help;
        u32 bit;
    } kinds[] = {
        {"guest", "guest code of each unit", DUMP_GUEST},
        {"host", "host code of each fragment", DUMP_HOST},
        {"exits", "every exit from translated code", DUMP_EXITS},
        {"shadow", "shadow page table fills and traces", DUMP_SHADOW},
    };
    if (cli_is_help(val)) {
        puts("What --dump shows (--dump=LIST, and an address range 0xLO-0xHI or a kernel symbol as filter):");
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
            printf("  %-8s %s\n", kinds[i].name, kinds[i].help);
        return CLI_DONE;
    }
    u32 bits = 0;
    for (char *item; (item = cli_item(c, &val));) {
        u32 bit = 0;
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
            if (!strcmp(item, kinds[i].name))
                bit = kinds[i].bit;
        bits |= bit;
        if (bit)
            continue;
        if (item[0] >= '0' && item[0] <= '9') {
            if (!address_range(item, &c->cfg.dump_lo, &c->cfg.dump_hi) || c->cfg.dump_lo > c->cfg.dump_hi)
                return cli_fail(o, "'%s' is not an address range: 0xLO-0xHI", item);
            c->cfg.dump_symbol = NULL;
        } else {
            c->cfg.dump_symbol = item; /* looked up when the kernel is loaded */
        }
    }
    if (!bits)
        return cli_fail(o, "say what to show: guest, host, exits, shadow");
    c->cfg.dump |= bits;
    return CLI_OK;
}

HANDLER(set_verify)
{
    c->cfg.verify = true;
    return CLI_OK;
}

HANDLER(set_kick)
{
    const char *p = val;
    for (char *item; (item = cli_item(c, &p));) {
        const char *irq = cli_key(item, "irq"), *times = cli_key(item, "times");
        char *end = NULL;
        unsigned long n = strtoul(irq ? irq : times ? times : "", &end, 0);
        if (!strcmp(item, "fragment"))
            c->cfg.kick = KICK_FRAGMENT;
        else if (!strcmp(item, "instruction"))
            c->cfg.kick = KICK_INSTRUCTION;
        else if (!strcmp(item, "host"))
            c->cfg.kick = KICK_HOST;
        else if (!strcmp(item, "nmi"))
            c->cfg.kick_nmi = true;
        else if (!strcmp(item, "arms"))
            c->cfg.kick_arms = true;
        else if (irq && *irq && !*end && n >= 3 && n <= 15)
            c->cfg.kick_irq = (u8)n;
        else if (times && *times && !*end && n && n < 65536)
            c->cfg.kick_times = (u32)n;
        else
            return cli_fail(
                o, "'%s' is not one of: fragment, instruction, host, arms, nmi, irq=3..15, times=1..65535",
                item);
    }
    return c->cfg.kick ? CLI_OK : cli_fail(o, "say where to stop: fragment, instruction or host");
}

HANDLER(set_lockstep)
{
    c->cfg.lockstep = true;
    c->cfg.opts &= ~OPT(flags); /* dead flags are not exact at boundaries */
    return CLI_OK;
}

HANDLER(set_record)
{
    c->cfg.record = val;
    return CLI_OK;
}

HANDLER(set_replay)
{
    c->cfg.replay = val;
    return CLI_OK;
}

HANDLER(set_log_items)
{
    const char *bad;
    if (cli_is_help(val)) {
        log_list();
        return CLI_DONE;
    }
    if (log_parse(val, &bad))
        return cli_fail(o, "unknown log channel '%.*s': -d help lists them", (int)strcspn(bad, ","), bad);
    return CLI_OK;
}

HANDLER(set_log_file)
{
    int err = log_open(val);
    return err ? cli_fail(o, "cannot write '%s': %s", val, strerror(-err)) : CLI_OK;
}

HANDLER(show_help)
{
    cli_help();
    return CLI_DONE;
}

HANDLER(show_version)
{
    cli_version();
    return CLI_DONE;
}

HANDLER(ignore)
{
    return CLI_OK;
}

/* -display none and the like: QEMU's option, of which only "nothing" exists here. */
HANDLER(only_none)
{
    if (!strcmp(val, "none") || !strcmp(val, "null") || !strcmp(val, "/dev/null"))
        return CLI_OK;
    return cli_fail(o, "'%s' is not supported by novt yet: none", val);
}

HANDLER(not_supported)
{
    error_report("option -%s is not supported by novt yet (--help lists what is)", o->name);
    return CLI_BAD;
}
