/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line: one table of options drives parsing, suggestions and --help. */
#ifndef NOVT_CLI_OPTIONS_H
#define NOVT_CLI_OPTIONS_H

#include "control/control.h"
#include "machine/machine.h"

enum option_group {
    G_IMAGE,
    G_MACHINE,
    G_CONSOLE,
    G_LIFE,
    G_ENGINE,
    G_DEBUG,
    G_HELP,
    G_IGNORED, /* QEMU's, accepted and without effect here */
    G_MISSING, /* QEMU's, not supported */
    G_COUNT
};

enum option_arg {
    ARG_NONE,
    ARG_VALUE,    /* --opt VALUE or --opt=VALUE */
    ARG_OPTIONAL, /* --opt or --opt=VALUE */
};

#define MAX_CHARDEVS 8

/* What parsing collects before it becomes a struct machine_config. */
struct cli {
    struct machine_config cfg;
    struct control_config control;
    bool monitor_given; /* -monitor, even none */
    int serials;        /* -serial options so far */
    struct {
        char *id, *backend;
    } chardev[MAX_CHARDEVS];
    int chardevs;
    const char *debugcon_chardev; /* -device isa-debugcon,chardev=ID: resolved at the end */
    char *owned[256];             /* strings to free */
    int owned_count;
};

/* Outcome of parsing, and of a handler. */
#define CLI_OK   0
#define CLI_DONE 1    /* help was printed: exit with status 0 */
#define CLI_BAD  (-1) /* reported: exit with EXIT_USAGE */

struct option {
    const char *name;
    enum option_group group;
    enum option_arg arg;
    const char *metavar;
    int (*set)(struct cli *c, const struct option *o, const char *val);
    const char *help;
    const char *dflt; /* default, for --help; may be NULL */
};

extern const struct option cli_options[]; /* ends with name = NULL */

int cli_parse(struct cli *c, int argc, char **argv);
void cli_free(struct cli *c);
void cli_help(void);
void cli_version(void);

/* cli/values.c: parsers of single values; each reports what is wrong. `o` names the option in messages. */
int cli_fail(const struct option *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int cli_size(const struct option *o, const char *val, u64 default_unit, u64 *out); /* 12, 64k, 16M, 1G */
int cli_number(const struct option *o, const char *val, u64 max, u64 *out);        /* decimal, 0x, 0 octal */
char *cli_keep(struct cli *c, const char *s, size_t len); /* a copy that cli_free() frees */
/* Splits "a,b=c": returns the next item and advances *p; NULL at the end. ",," is a comma in a value. */
char *cli_item(struct cli *c, const char **p);
/* If item is "key=value" or "key", the value (or ""), else NULL. */
const char *cli_key(const char *item, const char *key);
bool cli_is_help(const char *val);                                /* "help" or "?" */
int cli_on_off(const struct option *o, const char *v, bool *out); /* "" is on */
/* Edit distance, for suggestions. */
int cli_distance(const char *a, const char *b);
/* Connects a monitor to a back end in the machine's words. */
int cli_add_monitor(struct cli *c, const struct option *o, const char *chardev, enum control_mode mode);
/* A character back end in QEMU's words -> machine's; NULL after reporting. */
const char *cli_backend(struct cli *c, const struct option *o, const char *val);

/* Handlers: cli/opt_machine.c, opt_drive.c, opt_console.c, opt_run.c */
#define HANDLER(name) int name(struct cli *c, const struct option *o, const char *val)
HANDLER(set_kernel);
HANDLER(set_initrd);
HANDLER(set_append);
HANDLER(set_bios);
HANDLER(set_nographic);
HANDLER(set_vga);
HANDLER(set_screen);
HANDLER(set_display);
HANDLER(set_curses);
HANDLER(set_vnc);
HANDLER(set_keyboard);
HANDLER(set_disk);
HANDLER(set_drive);
HANDLER(set_snapshot);
HANDLER(set_boot);
HANDLER(set_nodefaults);
HANDLER(set_global);
HANDLER(set_memory);
HANDLER(set_cpu);
HANDLER(set_smp);
HANDLER(set_machine);
HANDLER(set_accel);
HANDLER(set_rtc);
HANDLER(set_no_acpi);
HANDLER(set_uuid);
HANDLER(set_smbios);
HANDLER(set_parallel);
HANDLER(set_device);
HANDLER(set_chardev);
HANDLER(set_serial);
HANDLER(set_debugcon);
HANDLER(set_no_reboot);
HANDLER(set_no_shutdown);
HANDLER(set_start_paused);
HANDLER(set_monitor);
HANDLER(set_qmp);
HANDLER(set_mon);
HANDLER(set_gdb);
HANDLER(set_gdb_default);
HANDLER(set_name);
HANDLER(set_action);
HANDLER(set_engine);
HANDLER(set_no_opt);
HANDLER(set_audit);
HANDLER(set_verify);
HANDLER(set_lockstep);
HANDLER(set_kick);
HANDLER(set_record);
HANDLER(set_replay);
HANDLER(set_windows);
HANDLER(set_tcache);
HANDLER(set_code_cache);
HANDLER(set_spaces);
HANDLER(set_stats);
HANDLER(set_count);
HANDLER(set_perf_map);
HANDLER(set_symbols);
HANDLER(set_dump);
HANDLER(set_log_items);
HANDLER(set_log_file);
HANDLER(show_help);
HANDLER(show_version);
HANDLER(ignore);
HANDLER(only_none);
HANDLER(not_supported);

#endif
