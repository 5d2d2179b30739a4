/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options that say who the machine is: -uuid, -smbios; -no-acpi and -parallel, which change what it
 * describes. */
#include "cli/options.h"

#include <ctype.h>
#include <string.h>

HANDLER(set_no_acpi)
{
    c->cfg.no_acpi = true;
    return CLI_OK;
}

HANDLER(set_parallel)
{
    c->cfg.parallel = cli_backend(c, o, val);
    return c->cfg.parallel ? CLI_OK : CLI_BAD;
}

static int hex(char ch)
{
    return isdigit((unsigned char)ch) ? ch - '0' : isxdigit((unsigned char)ch) ? (ch | 32) - 'a' + 10 : -1;
}

/* 8-4-4-4-12 hexadecimal digits, or 32 without dashes. */
static int parse_uuid(struct cli *c, const struct option *o, const char *val)
{
    u8 out[16];
    const char *p = val;
    for (int i = 0; i < 16; i++) {
        if (*p == '-' && (i == 4 || i == 6 || i == 8 || i == 10))
            p++;
        int hi = hex(p[0]), lo = hi < 0 ? -1 : hex(p[1]);
        if (lo < 0)
            return cli_fail(o, "'%s' is no UUID, such as 550e8400-e29b-41d4-a716-446655440000", val);
        out[i] = (u8)(hi << 4 | lo);
        p += 2;
    }
    if (*p)
        return cli_fail(o, "'%s' is no UUID, such as 550e8400-e29b-41d4-a716-446655440000", val);
    memcpy(c->cfg.uuid, out, 16);
    c->cfg.have_uuid = true;
    return CLI_OK;
}

HANDLER(set_uuid)
{
    return parse_uuid(c, o, val);
}

static int set_release(struct cli *c, const struct option *o, char *val)
{
    u64 major, minor;
    char *dot = strchr(val, '.');
    if (!dot)
        return cli_fail(o, "release=%s: two numbers are needed, such as 1.2", val);
    *dot = 0;
    if (cli_number(o, val, 255, &major) || cli_number(o, dot + 1, 255, &minor))
        return CLI_BAD;
    c->cfg.smbios.bios_major = (u8)major;
    c->cfg.smbios.bios_minor = (u8)minor;
    c->cfg.smbios.bios_release = true;
    return CLI_OK;
}

HANDLER(set_smbios)
{
    struct smbios_config *s = &c->cfg.smbios;
    const struct {
        int type;
        const char *key, **field;
    } fields[] = {{0, "vendor", &s->bios_vendor},
                  {0, "version", &s->bios_version},
                  {0, "date", &s->bios_date},
                  {1, "manufacturer", &s->manufacturer},
                  {1, "product", &s->product},
                  {1, "version", &s->version},
                  {1, "serial", &s->serial},
                  {1, "sku", &s->sku},
                  {1, "family", &s->family},
                  {2, "manufacturer", &s->board_manufacturer},
                  {2, "product", &s->board_product},
                  {2, "version", &s->board_version},
                  {2, "serial", &s->board_serial},
                  {2, "asset", &s->board_asset},
                  {3, "manufacturer", &s->case_manufacturer},
                  {3, "version", &s->case_version},
                  {3, "serial", &s->case_serial},
                  {3, "asset", &s->case_asset},
                  {3, "sku", &s->case_sku}};
    u64 type = 99;
    for (char *item; (item = cli_item(c, &val));) {
        const char *v;
        bool known = false;
        if ((v = cli_key(item, "type"))) {
            if (cli_number(o, v, 255, &type))
                return CLI_BAD;
            if (type > 3)
                return cli_fail(o, "type=%s is not supported by novt yet: 0, 1, 2 or 3", v);
            continue;
        }
        if (type > 3)
            return cli_fail(o, "'%s': type=N must come first", item);
        for (size_t i = 0; i < ARRAY_SIZE(fields) && !known; i++) {
            if (fields[i].type != (int)type || !(v = cli_key(item, fields[i].key)))
                continue;
            if (strlen(v) > 255)
                return cli_fail(o, "%s is too long: at most 255 characters", fields[i].key);
            *fields[i].field = v;
            known = true;
        }
        if (!known && type == 0 && (v = cli_key(item, "release"))) {
            if (set_release(c, o, (char *)v))
                return CLI_BAD;
            known = true;
        }
        if (!known && type == 1 && (v = cli_key(item, "uuid"))) {
            if (parse_uuid(c, o, v))
                return CLI_BAD;
            known = true;
        }
        if (!known)
            return cli_fail(o, "'%s' is not known for type=%d", item, (int)type);
    }
    return CLI_OK;
}
