/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a machine, through the built novt: exit statuses, resets, the triple fault report, host limits.
 * Guests are a few bytes of machine code in a multiboot image with address fields, written here; argv[1] is
 * novt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine/boot.h"
#include "machine/machine.h"

static const char *novt;
static char image[] = "/tmp/novt-test-XXXXXX";
static char output[65536];

/* Writes a kernel: code is put at 100020h and entered there. */
static void guest(const void *code, size_t len)
{
    u8 file[512] = {0};
    const u32 header[8] = {0x1badb002, 0x10000, -(0x1badb002 + 0x10000), 0x100000, 0x100000, 0, 0, 0x100020};
    for (int i = 0; i < 8; i++)
        put32(file + 4 * i, header[i]);
    memcpy(file + 32, code, len);
    FILE *f = fopen(image, "w");
    assert_non_null(f);
    fwrite(file, 1, sizeof(file), f);
    fclose(f);
}
#define GUEST(code) guest(code, sizeof(code) - 1)

/* Runs novt (10 s at most) with the guest and the given options; returns its exit status, with its output in
 * `output`. */
static int run(const char *options)
{
    char cmd[1024];
    snprintf(cmd, sizeof(cmd), "timeout 10 %s -kernel %s %s </dev/null 2>&1", novt, image, options);
    FILE *p = popen(cmd, "r");
    assert_non_null(p);
    size_t n = fread(output, 1, sizeof(output) - 1, p);
    output[n] = 0;
    while (n == sizeof(output) - 1 && fgetc(p) != EOF)
        ; /* drain */
    int st = pclose(p);
    return WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

static void says(const char *text)
{
    if (!strstr(output, text))
        fail_msg("says: %s\nexpected in it: %s", output, text);
}

#define DEBUG_EXIT "-device isa-debug-exit,iobase=0xf4,iosize=4 "
static const char *const engines[] = {"--engine=interp ", "--engine=bt "};
static int engine;

static int run_engine(const char *options)
{
    char text[512];
    snprintf(text, sizeof(text), "%s%s", engines[engine], options);
    return run(text);
}

static void debug_exit(void **state)
{
    GUEST("\xb8\x15\0\0\0\xe7\xf4\xf4"); /* mov eax, 21; out f4h, eax; hlt */
    assert_int_equal(run_engine(DEBUG_EXIT), 43);
    assert_string_equal(output, "");
    assert_int_equal(run_engine(DEBUG_EXIT "-m 1"),
                     EXIT_USAGE); /* RAM ends at 1 MiB, where the kernel wants to be */
    says("no memory: it has 1 MiB");
    assert_int_equal(run_engine(DEBUG_EXIT "-m 3G"), 43);
}

static void triple_fault(void **state)
{
    GUEST(
        "\x0f\x01\x1d\x2a\0\x10\0\x0f\x0b\xf4\xff\x07\0\0\x20\0"); /* lidt [limit 7ffh, base 200000h]; ud2 */
    assert_int_equal(run_engine("-no-reboot"), EXIT_TRIPLE_FAULT);
    says("triple fault");
    says("vector 6 (#UD");
    says("EIP=00100027");
    says("ud2");
}

static void deliberate_reset(void **state)
{
    GUEST("\x0f\x01\x1d\x30\0\x10\0\xcc"); /* lidt [limit 0]; int3 */
    assert_int_equal(run_engine("-no-reboot"), EXIT_OK);
    assert_string_equal(output, "");
    GUEST("\xb0\x06\x66\xba\xf9\x0c\xee\xeb\xfe"); /* mov al, 6; mov dx, cf9h; out dx, al; jmp $ */
    assert_int_equal(run_engine("-no-reboot"), EXIT_OK);
    GUEST("\xb0\xfe\xe6\x64\xeb\xfe"); /* the i8042's reset line */
    assert_int_equal(run_engine("-no-reboot"), EXIT_OK);
}

/* The guest counts its starts in memory that a reset keeps; the third one ends. Each start wants its image
 * and state afresh: it overwrites its own first instruction, and needs EAX to hold the multiboot magic again.
 */
static void reset_restarts(void **state)
{
    GUEST("\x3d\x02\xb0\xad\x2b"                 /* cmp eax, 2badb002h */
          "\x75\xfe"                             /* jne $ */
          "\xc7\x05\x20\0\x10\0\xeb\xfe\xeb\xfe" /* mov dword [100020h], jmp $ */
          "\xff\x05\0\0\x30\0"                   /* inc dword [300000h] */
          "\xb0\x2e\xe6\xe9"                     /* out e9h, '.' */
          "\x83\x3d\0\0\x30\0\x03"               /* cmp dword [300000h], 3 */
          "\x74\x06"                             /* je done */
          "\xb0\xfe\xe6\x64"                     /* reset */
          "\xeb\xfe"                             /* jmp $ */
          "\xe7\xf4\xf4");                       /* done: out f4h, eax; hlt */
    assert_int_equal(run_engine(DEBUG_EXIT "-debugcon stdio -m 16"), (0x2badb02e << 1 | 1) & 0xff);
    assert_string_equal(output, "...");
}

static void halted_for_good(void **state)
{
    GUEST("\xfa\xf4\xeb\xfd"); /* cli; hlt */
    assert_int_equal(run_engine(""), EXIT_HALTED);
    says("halted with interrupts off");
    assert_int_equal(run_engine("-no-shutdown --stats"),
                     124); /* until timeout's SIGTERM, which ends it in order */
    says("halts");
}

static void hostile(void **state)
{
    GUEST("\xb8\xff\xff\xff\xff\xff\xe0"); /* mov eax, -1; jmp eax: where nothing is */
    int st = run_engine("-no-reboot");
    assert_true(st == EXIT_TRIPLE_FAULT);
    GUEST("\xb8\0\0\0\xe0\xff\xe0"); /* jump into a hole: ff ff is undefined, and there is no usable IDT */
    assert_int_equal(run_engine("-no-reboot"), EXIT_TRIPLE_FAULT);
}

static void host_limits(void **state)
{
    GUEST("\xf4");
    char cmd[512];
    const char *name = novt;
    snprintf(cmd, sizeof(cmd), "sh -c 'ulimit -v 200000; exec \"$0\" \"$@\"' %s", name);
    novt = cmd;
    int st = run("-m 1G");
    novt = name;
    assert_int_equal(st, EXIT_HOST);
    says("novt: error: ");
    assert_int_equal(run("-serial file:/nonexistent/x"), EXIT_HOST);
    says("cannot write to '/nonexistent/x': No such file");
    assert_int_equal(run("-device isa-debug-exit,iobase=0x60"), EXIT_USAGE);
    says("choose another iobase");
    assert_int_equal(run("-rtc base=yesterday"), EXIT_USAGE);
    says("give utc, localtime or a date");
    assert_int_equal(run("--dump=guest,main"), EXIT_USAGE);
    says("no symbol 'main'");
}

static int use_interp(void **state)
{
    engine = 0;
    return 0;
}
static int use_bt(void **state)
{
    engine = 1;
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(debug_exit, use_interp),
        cmocka_unit_test_setup(debug_exit, use_bt),
        cmocka_unit_test_setup(triple_fault, use_interp),
        cmocka_unit_test_setup(triple_fault, use_bt),
        cmocka_unit_test_setup(deliberate_reset, use_interp),
        cmocka_unit_test_setup(deliberate_reset, use_bt),
        cmocka_unit_test_setup(reset_restarts, use_interp),
        cmocka_unit_test_setup(reset_restarts, use_bt),
        cmocka_unit_test_setup(halted_for_good, use_interp),
        cmocka_unit_test_setup(hostile, use_interp),
        cmocka_unit_test_setup(hostile, use_bt),
        cmocka_unit_test(host_limits),
    };
    int fd = mkstemp(image);
    if (argc < 2 || fd < 0)
        return 2;
    close(fd);
    novt = argv[1];
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(image);
    return failed;
}
