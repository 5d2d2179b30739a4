/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All benchmark programs in one static binary: programs.h, made by tools/prepare from programs.txt, names
 * them. The name it is called by says which one runs, as with busybox; one C library instead of forty keeps
 * the initramfs, and with it every boot, short.
 */
#include <stdio.h>
#include <string.h>

#define PROGRAM(name, function) int function(int argc, char **argv);
#include "programs.h"
#undef PROGRAM

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} program[] = {
#define PROGRAM(name, function) {name, function},
#include "programs.h"
};

int main(int argc, char **argv)
{
    const char *slash = argc ? strrchr(argv[0], '/') : NULL, *name = slash ? slash + 1 : argc ? argv[0] : "";
    for (unsigned i = 0; i < sizeof(program) / sizeof(program[0]); i++)
        if (!strcmp(name, program[i].name))
            return program[i].run(argc, argv);
    fprintf(stderr, "call me by one of these names, with a percentage of the work:\n");
    for (unsigned i = 0; i < sizeof(program) / sizeof(program[0]); i++)
        fprintf(stderr, " %s", program[i].name);
    fprintf(stderr, "\n");
    return 2;
}
