/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The option parser: lines of the input are arguments; a byte below 80h alone names an option from the table.
 */
#include <stdio.h>
#include <stdlib.h>
#include "cli/options.h"
#include "tests/fuzz/fuzz.h"

/* The linker's --wrap: no file is written (-D). */
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__real_fopen(const char *path, const char *mode);
static bool parsing; /* else it is libFuzzer's call */
FILE *__wrap_fopen(const char *path, const char *mode)
{
    return __real_fopen(*mode == 'r' || !parsing ? path : "/dev/null", mode);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct in in = {data, data + size};
    static char args[64][256];
    char *argv[66] = {(char[]){"novt"}};
    static u32 options;
    int argc = 1;

    while (cli_options[options].name)
        options++;
    while (left(&in) && argc < 64) {
        char *a = args[argc];
        u32 n = 0;
        u8 c = take8(&in);
        if (c >= 0x80) { /* an option by its number */
            n = (u32)snprintf(a, 200, c & 1 ? "--%s" : "-%s",
                              cli_options[((c & 0x7f) | take8(&in) << 7) % options].name);
            if (c & 2) {
                a[n++] = '=';
                c = '=';
            } else {
                c = '\n';
            }
        } else {
            a[n++] = (char)c;
        }
        while (c != '\n' && left(&in) && n < 255)
            if ((c = take8(&in)) != '\n')
                a[n++] = (char)c;
        a[n] = 0;
        argv[argc++] = a;
    }
    struct cli c;
    memset(&c, 0, sizeof(c));
    parsing = true;
    cli_parse(&c, argc, argv);
    cli_free(&c);
    parsing = false;
    return 0;
}
