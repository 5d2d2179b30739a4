/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --help and --version. The options come from the table in options.c, in its order and groups; only the
 * headings, the exit statuses and the keys of the terminal are written here.
 */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

static const char *const headings[G_COUNT] = {
    [G_IMAGE] = "What to boot",
    [G_MACHINE] = "The machine",
    [G_CONSOLE] = "Console and ports",
    [G_LIFE] = "Reset and power",
    [G_ENGINE] = "How guest code runs",
    [G_DEBUG] = "Looking inside",
    [G_HELP] = "Help",
    [G_IGNORED] = "Accepted for QEMU's sake",
};

static const struct {
    const char *status, *meaning;
} statuses[] = {
    {"0", "the guest powered off, or reset with -no-reboot, or the user or a signal ended novt"},
    {"odd", "the guest wrote V to isa-debug-exit: (V << 1) | 1, as in QEMU"},
    {"2", "bad command line or image"},
    {"4", "host failure: out of memory, input or output error"},
    {"6", "the guest triple-faulted, except with an empty IDT, which is its way to reboot"},
    {"8",
     "the guest halted with interrupts off, so nothing can wake it (not with -no-shutdown or a display)"},
};

static void print_option(const struct option *o)
{
    char left[64];
    const char *dash = strlen(o->name) > 1 && o->group != G_IGNORED ? "--" : "-";
    const char *sep = o->arg == ARG_VALUE ? " " : "";
    if (o->arg == ARG_OPTIONAL)
        snprintf(left, sizeof(left), "%s%s[=%s]", dash, o->name, o->metavar);
    else
        snprintf(left, sizeof(left), "%s%s%s%s", dash, o->name, sep, o->metavar ? o->metavar : "");
    printf("  %-24s ", left);
    if (strlen(left) > 24)
        printf("\n  %-24s ", "");
    printf("%s", o->help);
    if (o->dflt)
        printf(" [%s]", o->dflt);
    putchar('\n');
}

void cli_help(void)
{
    printf(
        "novt %s: runs an unmodified 32-bit x86 operating system in an ordinary process\n\n"
        "usage: novt -kernel FILE [-initrd FILE] [-append TEXT] [options]\n\n"
        "Options are spelled with one dash or two; --option VALUE and --option=VALUE are the same. Those of\n"
        "qemu-system-i386 keep their names. Defaults are in brackets.\n",
        NOVT_VERSION);
    for (int g = 0; g < G_COUNT; g++) {
        if (!headings[g])
            continue;
        printf("\n%s:\n", headings[g]);
        const char *sep = "  ";
        for (const struct option *o = cli_options; o->name; o++) {
            if ((int)o->group != g)
                continue;
            if (g != G_IGNORED) {
                print_option(o);
                continue;
            }
            printf("%s-%s%s%s", sep, o->name, o->metavar ? " " : "", o->metavar ? o->metavar : "");
            sep = ", ";
        }
        if (g == G_IGNORED)
            putchar('\n');
    }
    puts("\nKeys while the serial port is on the terminal:\n"
         "  Ctrl-A x   end novt          Ctrl-A h   help\n"
         "  Ctrl-A c   monitor, and back  Ctrl-A Ctrl-A   send Ctrl-A\n"
         "  Ctrl-A b   send a break\n"
         "  Ctrl-C goes to the guest if the terminal is on stdin.\n\nExit status:");
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
        printf("  %-4s %s\n", statuses[i].status, statuses[i].meaning);
    puts("\nExample:\n"
         "  novt -m 256 -kernel vmlinuz -initrd initrd.gz -append \"console=ttyS0\" -no-reboot");
}

void cli_version(void)
{
    printf("novt version %s\nLicence: GPL-2.0-or-later. There is no warranty.\n", NOVT_VERSION);
}
