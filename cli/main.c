/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * novt's main(): command line to machine, machine to exit status. Everything else is below: cli/options.c for
 * what can be asked, machine/machine.c for what is built, machine/run.c for its life.
 */
#include "cli/options.h"

#include <stdio.h>

#include "base/log.h"
#include "control/control.h"

int main(int argc, char **argv)
{
    struct cli cli;
    int r = cli_parse(&cli, argc, argv);
    int status = r == CLI_DONE ? EXIT_OK : EXIT_USAGE;
    if (r == CLI_OK) {
        struct vm *vm = machine_create(&cli.cfg, &status);
        if (vm) {
            struct control *control = control_create(vm, &cli.control);
            status = control ? machine_run(vm) : EXIT_USAGE;
            control_destroy(control);
            machine_destroy(vm);
        }
    }
    cli_free(&cli);
    if (fflush(stdout) == EOF && r == CLI_DONE) {
        error_report("cannot write to standard output");
        status = EXIT_HOST;
    }
    return status;
}
