/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The option table and the parser.
 *
 * Names and meanings are qemu-system-i386's where it has the option, so that a QEMU command line can be
 * swapped; options of QEMU that make no difference here are accepted, those that would are refused by name.
 * One or two dashes, "--opt value" and "--opt=value" mean the same. Nothing is done while parsing but
 * collecting: the machine sees the finished struct.
 */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/opts.h"

const struct option cli_options[] = {
    /* clang-format off */
    {"kernel", G_IMAGE, ARG_VALUE, "FILE", set_kernel, "Linux bzImage (vmlinuz) or multiboot kernel to boot", NULL},
    {"initrd", G_IMAGE, ARG_VALUE, "FILE", set_initrd,
     "initial RAM disk; for multiboot the modules, \"FILE ARGS,FILE ARGS\"", "none"},
    {"hda", G_IMAGE, ARG_VALUE, "FILE", set_disk, "raw image of the first IDE disk; also -hdb, -hdc, -hdd", NULL},
    {"hdb", G_IMAGE, ARG_VALUE, "FILE", set_disk, "the second, on the first channel", NULL},
    {"hdc", G_IMAGE, ARG_VALUE, "FILE", set_disk, "the third, in place of the CD-ROM drive", NULL},
    {"hdd", G_IMAGE, ARG_VALUE, "FILE", set_disk, "the fourth", NULL},
    {"cdrom", G_IMAGE, ARG_VALUE, "FILE", set_disk, "image of a CD-ROM", "empty drive"},
    {"fda", G_IMAGE, ARG_VALUE, "FILE", set_disk, "image of a floppy disk; also -fdb", "empty drive"},
    {"fdb", G_IMAGE, ARG_VALUE, "FILE", set_disk, "the second floppy drive", "none"},
    {"drive", G_IMAGE, ARG_VALUE, "SPEC", set_drive,
     "file=,format=,if=,index=,media=,readonly=,cache=,discard=,werror=,rerror=,id=: see README.md", NULL},
    {"snapshot", G_IMAGE, ARG_NONE, NULL, set_snapshot, "images stay as they are: writes are forgotten at the end", NULL},
    {"boot", G_IMAGE, ARG_VALUE, "ORDER", set_boot, "a floppy, c disk, d CD-ROM: order=cda,once=d,menu=on,reboot-timeout=MS", "order=cad"},
    {"bios", G_IMAGE, ARG_VALUE, "FILE", set_bios, "firmware that starts when no kernel is given", "SeaBIOS"},
    {"append", G_IMAGE, ARG_VALUE, "TEXT", set_append, "kernel command line", "empty"},

    {"m", G_MACHINE, ARG_VALUE, "SIZE", set_memory, "guest memory, 1M to 3G; suffix k, M or G, a bare number is MiB", "128M"},
    {"cpu", G_MACHINE, ARG_VALUE, "MODEL", set_cpu, "CPU model; -cpu help lists them", "qemu32"},
    {"smp", G_MACHINE, ARG_VALUE, "1", set_smp, "number of CPUs: one, for now", "1"},
    {"machine", G_MACHINE, ARG_VALUE, "pc", set_machine, "board: a PC with an i440FX host bridge", "pc"},
    {"M", G_MACHINE, ARG_VALUE, "pc", set_machine, "the same as -machine", NULL},
    {"no-acpi", G_MACHINE, ARG_NONE, NULL, set_no_acpi, "no ACPI tables", NULL},
    {"uuid", G_MACHINE, ARG_VALUE, "UUID", set_uuid, "the machine's UUID, for SMBIOS and the firmware", "zeros"},
    {"smbios", G_MACHINE, ARG_VALUE, "type=N,KEY=TEXT", set_smbios,
     "0: vendor, version, date, release; 1: manufacturer, product, version, serial, uuid; 2, 3", NULL},
    {"rtc", G_MACHINE, ARG_VALUE, "base=BASE", set_rtc,
     "clock at start: utc, localtime, or a date such as 2024-02-29T13:00:00", "base=utc"},
    {"device", G_MACHINE, ARG_VALUE, "DEVICE", set_device,
     "isa-debug-exit,iobase=0xf4,iosize=4 or isa-debugcon,iobase=0xe9,chardev=ID", "none"},

    {"nographic", G_CONSOLE, ARG_NONE, NULL, set_nographic, "first serial port on the terminal, no display; the firmware talks there, too", NULL},
    {"serial", G_CONSOLE, ARG_VALUE, "WHERE", set_serial,
     "stdio, null, none, file:, pipe: or unix:PATH, tcp:HOST:PORT, chardev:ID; mon:stdio", "mon:stdio"},
    {"parallel", G_CONSOLE, ARG_VALUE, "WHERE", set_parallel, "parallel port; what is printed goes to stdio, null or file:PATH", "none"},
    {"chardev", G_CONSOLE, ARG_VALUE, "BACKEND", set_chardev,
     "stdio, null, file, pipe or socket; id=, path=, host=, port=, server=, wait=, mux=", NULL},
    {"debugcon", G_CONSOLE, ARG_VALUE, "WHERE", set_debugcon, "debug console at port E9h, as -serial", "none"},
    {"global", G_CONSOLE, ARG_VALUE, "PROP=N", set_global, "isa-debugcon.iobase=N: the debug console's port", "0xe9"},
    {"display", G_CONSOLE, ARG_VALUE, "WHAT", set_display,
     "curses: the text screen on this terminal, Ctrl-A x quits; vnc=WHERE; none", "none"},
    {"curses", G_CONSOLE, ARG_NONE, NULL, set_curses, "the same as -display curses", NULL},
    {"vnc", G_CONSOLE, ARG_VALUE, "WHERE", set_vnc,
     "VNC server: [HOST]:N[,websocket=on][,password-file=FILE] or unix:PATH (display/README.md)", "none"},
    {"vga", G_CONSOLE, ARG_VALUE, "std", set_vga, "graphics adapter: std (VGA with VBE) or none", "std"},
    {"screen", G_CONSOLE, ARG_VALUE, "FILE", set_screen,
     "keeps FILE showing the screen: its text, or a picture if the name ends in .png", "none"},
    {"keyboard", G_CONSOLE, ARG_VALUE, "WHERE", set_keyboard, "typed keys come from there: stdio, or as -serial", "none"},
    {"monitor", G_CONSOLE, ARG_VALUE, "WHERE", set_monitor, "a monitor for people, as -serial; help there lists its commands", "Ctrl-A c"},
    {"qmp", G_CONSOLE, ARG_VALUE, "WHERE", set_qmp, "a monitor for programs (JSON): unix:PATH,server,nowait", "none"},
    {"qmp-pretty", G_CONSOLE, ARG_VALUE, "WHERE", set_qmp, "the same with indentation", NULL},
    {"mon", G_CONSOLE, ARG_VALUE, "SPEC", set_mon, "chardev=ID,mode=readline|control,pretty=on: the same for a -chardev", NULL},

    {"no-reboot", G_LIFE, ARG_NONE, NULL, set_no_reboot, "exit with status 0 instead of restarting when the guest resets", "restart"},
    {"S", G_LIFE, ARG_NONE, NULL, set_start_paused, "start stopped: c or cont in a monitor, or GDB, lets it run", "run"},
    {"no-shutdown", G_LIFE, ARG_NONE, NULL, set_no_shutdown, "stop instead of ending when the guest powers off, crashes or halts for good", "exit"},
    {"action", G_LIFE, ARG_VALUE, "EVENT=ACTION", set_action, "reboot=reset|shutdown, shutdown=poweroff|pause",
     "reboot=reset,shutdown=poweroff"},

    {"engine", G_ENGINE, ARG_VALUE, "NAME", set_engine, "bt: binary translation; interp: the interpreter", "bt"},
    {"no-opt", G_ENGINE, ARG_VALUE, "LIST", set_no_opt, "switch optimisations off; --no-opt=help lists them", "all on"},
    {"tcache-size", G_ENGINE, ARG_VALUE, "SIZE", set_tcache, "translation cache, 1M to 1G; a bare number is MiB", "256M"},
    {"code-cache", G_ENGINE, ARG_VALUE, "FILE", set_code_cache,
     "keeps translations from run to run: read at the start, written at the end; made if there is none", "none"},
    {"windows", G_ENGINE, ARG_VALUE, "WHEN", set_windows,
     "window-form memory operands: auto, for address spaces that run long; always, for tests; never", "auto"},
    {"max-spaces", G_ENGINE, ARG_VALUE, "N", set_spaces, "shadow address spaces kept, 2 to 4096", "64"},
    {"accel", G_ENGINE, ARG_VALUE, "tcg", set_accel, "for QEMU's sake: there is nothing to choose but --engine", NULL},

    {"stats", G_DEBUG, ARG_OPTIONAL, "FILE", set_stats,
     "at exit: counters, and where the time went; to stderr or FILE (JSON if it ends in .json)", "off"},
    {"count", G_DEBUG, ARG_NONE, NULL, set_count, "count the guest instructions that translated code executes for --stats; slows it", "off"},
    {"perf-map", G_DEBUG, ARG_OPTIONAL, "FILE", set_perf_map,
     "names translated code for perf report, in FILE", "off; /tmp/perf-PID.map"},
    {"symbols", G_DEBUG, ARG_VALUE, "FILE", set_symbols,
     "the guest's symbols: ELF, System.map, copy of /proc/kallsyms; several times", "those of an ELF kernel"},
    {"dump", G_DEBUG, ARG_VALUE, "LIST", set_dump,
     "guest, host, exits, shadow; and 0xLO-0xHI or a kernel symbol to look at only that", "off"},
    {"audit", G_DEBUG, ARG_VALUE, "shadow", set_audit, "compare the shadow page tables with the guest's all the time", "off"},
    {"verify", G_DEBUG, ARG_NONE, NULL, set_verify, "check every translation with an independent decoder before it may run", "off"},
    {"kick", G_DEBUG, ARG_VALUE, "WHERE", set_kick,
     "fragment, instruction or host (instruction): stop code at each; ,irq=N ,nmi ,times=N ,arms", "off"},
    {"lockstep", G_DEBUG, ARG_NONE, NULL, set_lockstep,
     "run the interpreter beside the translator and stop at the first difference (implies --no-opt=flags)", "off"},
    {"record", G_DEBUG, ARG_VALUE, "FILE", set_record, "write everything the guest's CPU gets from outside to FILE", NULL},
    {"replay", G_DEBUG, ARG_VALUE, "FILE", set_replay, "repeat a recorded run, instruction for instruction, by either engine", NULL},
    {"gdb", G_DEBUG, ARG_VALUE, "WHERE", set_gdb, "GDB's remote protocol: tcp::1234, or unix:PATH,server,nowait", "none"},
    {"s", G_DEBUG, ARG_NONE, NULL, set_gdb_default, "the same as -gdb tcp::1234", NULL},
    {"d", G_DEBUG, ARG_VALUE, "LIST", set_log_items, "log channels; -d help lists them", "none"},
    {"D", G_DEBUG, ARG_VALUE, "FILE", set_log_file, "where the log goes", "stderr"},
    {"name", G_DEBUG, ARG_VALUE, "NAME", set_name, "a name for the machine, shown by monitors", NULL},

    {"help", G_HELP, ARG_NONE, NULL, show_help, "this text", NULL},
    {"h", G_HELP, ARG_NONE, NULL, show_help, "the same", NULL},
    {"version", G_HELP, ARG_NONE, NULL, show_version, "version and licence", NULL},

#define IGNORED_FLAG(n) {n, G_IGNORED, ARG_NONE, NULL, ignore, NULL, NULL}
    {"nodefaults", G_IGNORED, ARG_NONE, NULL, set_nodefaults, NULL, NULL},
    IGNORED_FLAG("no-user-config"), IGNORED_FLAG("nodefconfig"),
    IGNORED_FLAG("no-hpet"), IGNORED_FLAG("no-fd-bootchk"), IGNORED_FLAG("enable-kvm"),
    {"nic", G_IGNORED, ARG_VALUE, "none", only_none, NULL, NULL},
    {"net", G_IGNORED, ARG_VALUE, "none", only_none, NULL, NULL},

#define MISSING(n) {n, G_MISSING, ARG_VALUE, NULL, not_supported, NULL, NULL}
    
    MISSING("blockdev"), MISSING("mtdblock"), MISSING("sd"), 
    MISSING("pflash"), MISSING("L"), MISSING("option-rom"), MISSING("dtb"), MISSING("shim"),
    MISSING("netdev"), MISSING("usb"), MISSING("usbdevice"), MISSING("audio"), MISSING("audiodev"), MISSING("soundhw"),
    MISSING("g"), MISSING("full-screen"), MISSING("spice"), MISSING("k"), MISSING("sdl"),
    MISSING("virtfs"), MISSING("fsdev"),
    MISSING("loadvm"), MISSING("incoming"), MISSING("daemonize"), MISSING("pidfile"), MISSING("runas"),
    MISSING("chroot"), MISSING("sandbox"), MISSING("object"), MISSING("set"), MISSING("readconfig"),
    MISSING("icount"), MISSING("watchdog-action"), MISSING("echr"), MISSING("numa"), MISSING("mem-path"),
    MISSING("mem-prealloc"), MISSING("overcommit"), MISSING("add-fd"), MISSING("acpitable"),
    MISSING("fw_cfg"), MISSING("tpmdev"), MISSING("iscsi"), MISSING("semihosting"), MISSING("trace"),
    MISSING("plugin"), MISSING("singlestep"), MISSING("dfilter"), MISSING("seed"), MISSING("msg"), MISSING("preconfig"),
    MISSING("only-migratable"), MISSING("compat"), MISSING("dump-vmstate"), MISSING("enable-sync-profile"),
    MISSING("xen-domid"), MISSING("xen-attach"), MISSING("win2k-hack"), MISSING("no-quit"), MISSING("alt-grab"),
    {NULL, 0, 0, NULL, NULL, NULL, NULL},
    /* clang-format on */
};

static const struct option *find(const char *name, size_t len)
{
    for (const struct option *o = cli_options; o->name; o++)
        if (strlen(o->name) == len && !strncmp(o->name, name, len))
            return o;
    return NULL;
}

static int unknown(const char *arg, const char *name, size_t len)
{
    char word[64];
    size_t n = len < sizeof(word) - 1 ? len : sizeof(word) - 1;
    memcpy(word, name, n);
    word[n] = 0;
    const struct option *best = NULL;
    int best_d = n < 4 ? 2 : 3 + (int)n / 6; /* further away is no help */
    for (const struct option *o = cli_options; o->name; o++) {
        int d = cli_distance(word, o->name);
        if (d < best_d && o->group != G_MISSING && strlen(o->name) > 1) {
            best_d = d;
            best = o;
        }
    }
    if (best)
        error_report("unknown option '%s': did you mean '--%s'? (--help lists all)", arg, best->name);
    else
        error_report("unknown option '%s' (--help lists all)", arg);
    return CLI_BAD;
}

/* One option at argv[*i]; moves *i past a separate value. */
static int parse_one(struct cli *c, int argc, char **argv, int *i)
{
    const char *arg = argv[*i];
    if (arg[0] != '-' || !arg[1]) /* a bare word is an image for the first disk */
        return set_disk(c, find("hda", 3), arg);
    const char *name = arg + (arg[1] == '-' ? 2 : 1);
    size_t len = strcspn(name, "=");
    const char *val = name[len] == '=' ? name + len + 1 : NULL;
    const struct option *o = find(name, len);
    if (!o)
        return unknown(arg, name, len);
    if (o->group == G_MISSING)
        return o->set(c, o, NULL);
    if (o->arg == ARG_NONE && val)
        return cli_fail(o, "takes no value");
    if (o->arg == ARG_VALUE && !val) {
        if (*i + 1 >= argc)
            return cli_fail(o, "needs a value: -%s %s", o->name, o->metavar);
        val = argv[++*i];
    }
    return o->set(c, o, val);
}

/* A console's back ends can be settled only when all options are known. */
static int finish(struct cli *c)
{
    struct machine_config *cfg = &c->cfg;
    if (c->debugcon_chardev) {
        static const struct option device = {.name = "device"};
        char name[80];
        snprintf(name, sizeof(name), "chardev:%s", c->debugcon_chardev);
        cfg->debugcon = cli_backend(c, &device, name);
        if (!cfg->debugcon)
            return CLI_BAD;
    }
    bool replay = cfg->replay != NULL;
    int users = 0;
    const char *stdio_users[] = {cfg->debugcon, cfg->keyboard, c->control.gdb};
    for (size_t i = 0; i < ARRAY_SIZE(stdio_users); i++)
        users += stdio_users[i] && !strcmp(stdio_users[i], "stdio");
    for (int i = 0; i < c->control.n_monitors; i++)
        users += !strcmp(c->control.monitors[i].chardev, "stdio");
    for (int i = 0; i < c->serials; i++)
        users += !strcmp(cfg->serial[i], "stdio");
    if (cfg->curses && users) {
        error_report("-display curses needs the terminal for itself: send -debugcon, -keyboard, -serial and "
                     "-monitor elsewhere");
        return CLI_BAD;
    }
    users += cfg->curses;
    if (users > 1) {
        error_report(
            "two devices are connected to stdio: send one of -serial, -debugcon and -monitor to file:PATH, a "
            "socket or null, or write mon:stdio to share it between the serial port and a monitor");
        return CLI_BAD;
    }
    if (replay && (c->control.n_monitors || c->control.gdb)) {
        error_report("--replay repeats a run: there is nothing that a monitor or GDB could do");
        return CLI_BAD;
    }
    if (c->control.gdb && (cfg->lockstep || cfg->record)) {
        error_report("--lockstep and --record exclude -gdb, which changes the machine behind the CPU's back");
        return CLI_BAD;
    }
    if (!c->serials) {
        static const struct option serial = {.name = "serial"};
        cfg->serial[0] = users ? "null" : c->monitor_given || replay ? "stdio" : "mux:stdio";
        if (!users && !c->monitor_given && !replay &&
            cli_add_monitor(c, &serial, "mux:stdio", CONTROL_HMP) != CLI_OK)
            return CLI_BAD;
    }
    if (cfg->kernel && cfg->bios) {
        error_report("-bios and -kernel exclude each other: novt loads a kernel directly, without firmware");
        return CLI_BAD;
    }
    if (!cfg->kernel && (cfg->initrd || cfg->append)) {
        error_report("-initrd and -append need -kernel FILE (--help lists all options)");
        return CLI_BAD;
    }
    if (cfg->initrd && !*cfg->initrd)
        cfg->initrd = NULL;
    return CLI_OK;
}

int cli_parse(struct cli *c, int argc, char **argv)
{
    memset(c, 0, sizeof(*c));
    c->cfg = (struct machine_config){
        .ram_bytes = 128 * MiB,
        .cpu = "qemu32",
        .engine = ENGINE_BT,
        .opts = OPT_ALL,
        .debug_exit_iobase = -1,
        .rtc_base = "utc",
        .dump_hi = 0xffffffff,
        .vga = true,
    };
    for (int i = 1; i < argc; i++) {
        int r = parse_one(c, argc, argv, &i);
        if (r != CLI_OK)
            return r;
    }
    return finish(c);
}
