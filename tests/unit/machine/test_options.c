/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: values, defaults, repeated options, QEMU's spellings, and the text of refusals (stderr is
 * captured in a temporary file).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/opts.h"
#include "cli/options.h"

static char output[32768];
static struct cli cli;

/* Parses a command line given as one string, split at spaces. */
static int parse(const char *line)
{
    static char words[2048];
    char *argv[64] = {(char *)"novt"};
    int argc = 1;
    cli_free(&cli);
    snprintf(words, sizeof(words), "%s", line);
    for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
        argv[argc++] = w;
    FILE *tmp = tmpfile();
    fflush(stdout);
    fflush(stderr);
    int out = dup(1), err = dup(2);
    dup2(fileno(tmp), 1);
    dup2(fileno(tmp), 2);
    int r = cli_parse(&cli, argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    rewind(tmp);
    output[fread(output, 1, sizeof(output) - 1, tmp)] = 0;
    fclose(tmp);
    return r;
}

static struct machine_config *ok(const char *line)
{
    if (parse(line) != CLI_OK)
        fail_msg("%s: refused: %s", line, output);
    if (output[0])
        fail_msg("%s: unexpected output: %s", line, output);
    return &cli.cfg;
}

static void bad(const char *line, const char *text)
{
    if (parse(line) != CLI_BAD)
        fail_msg("%s: not refused", line);
    if (strncmp(output, "novt: error: ", 13) || !strstr(output, text))
        fail_msg("%s: says %sexpected in it: %s", line, output, text);
    if (strchr(output, '\n') != output + strlen(output) - 1)
        fail_msg("%s: more than one line: %s", line, output);
}

static void defaults(void **state)
{
    struct machine_config *c = ok("-kernel k");
    assert_string_equal(c->kernel, "k");
    assert_null(c->initrd);
    assert_true(c->ram_bytes == 128 * MiB);
    assert_non_null(cpu_model_find(c->cpu));
    assert_int_equal(c->engine, ENGINE_BT);
    assert_int_equal(c->opts, OPT_ALL);
    assert_string_equal(c->serial[0], "mux:stdio"); /* with a monitor behind Ctrl-A c */
    assert_int_equal(cli.control.n_monitors, 1);
    assert_string_equal(cli.control.monitors[0].chardev, "mux:stdio");
    assert_null(cli.control.gdb);
    assert_null(c->serial[1]);
    assert_null(c->debugcon);
    assert_int_equal(c->debug_exit_iobase, -1);
    assert_string_equal(c->rtc_base, "utc");
    assert_false(c->no_reboot || c->no_shutdown || c->stats || c->audit_shadow);
    assert_int_equal(c->dump, 0);
    assert_int_equal(c->dump_hi, 0xffffffff);
}

static void spellings(void **state)
{
    static const char *const same[] = {"-kernel k -m 64",  "--kernel k --m 64",    "--kernel=k -m=64",
                                       "-kernel=k -m 64M", "-m size=64 -kernel k", "-m 65536k -kernel k"};
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        struct machine_config *c = ok(same[i]);
        assert_string_equal(c->kernel, "k");
        assert_true(c->ram_bytes == 64 * MiB);
    }
    assert_string_equal(ok("-kernel k -append root=/dev/ram0")->append, "root=/dev/ram0");
}

static void memory(void **state)
{
    assert_true(ok("-kernel k -m 1")->ram_bytes == 1 * MiB);
    assert_true(ok("-kernel k -m 3G")->ram_bytes == 3 * GiB);
    assert_true(ok("-kernel k -m 1500001B")->ram_bytes == 1503232);
    bad("-kernel k -m 0", "too little");
    bad("-kernel k -m 1023k", "too little: a PC has at least 1M");
    bad("-kernel k -m 3073", "at most 3G");
    bad("-kernel k -m 99999999999999999999999", "at most 3G");
    bad("-kernel k -m 18446744073709551615G", "at most 3G");
    bad("-kernel k -m lots", "'lots' is not a size");
    bad("-kernel k -m -5", "'-5' is not a size");
    bad("-kernel k -m 12Q", "'12Q' is not a size");
    bad("-kernel k -m 12MB", "'12MB' is not a size");
    bad("-kernel k -m 1.5G", "'1.5G' is not a size");
    bad("-kernel k -m 64,slots=2", "not supported");
    bad("-kernel k -m", "needs a value");
}

static void consoles(void **state)
{
    struct machine_config *c = ok("-kernel k -serial file:/tmp/x -serial mon:stdio");
    assert_string_equal(c->serial[0], "file:/tmp/x");
    assert_string_equal(c->serial[1], "mux:stdio");
    assert_int_equal(cli.control.n_monitors, 1);
    c = ok("-kernel k -nographic -debugcon stdio");
    assert_string_equal(c->serial[0], "null"); /* the terminal is taken */
    c = ok("-kernel k -chardev file,path=/tmp/a,,b,id=x -device isa-debugcon,iobase=0x402,chardev=x");
    assert_string_equal(c->debugcon, "file:/tmp/a,b");
    assert_int_equal(c->debugcon_iobase, 0x402);
    assert_string_equal(c->serial[0], "mux:stdio");
    c = ok("-kernel k -chardev stdio,id=s -serial chardev:s -serial none");
    assert_string_equal(c->serial[0], "stdio");
    c = ok("-kernel k -monitor none");
    assert_string_equal(c->serial[0], "stdio");
    assert_int_equal(cli.control.n_monitors, 0);
    c = ok("-kernel k -monitor stdio");
    assert_string_equal(c->serial[0], "null");
    c = ok("-kernel k -serial null -qmp unix:/tmp/q,server,nowait -monitor "
           "tcp:localhost:4444,server=on,wait=off -s -S");
    assert_int_equal(cli.control.n_monitors, 2);
    assert_int_equal(cli.control.monitors[0].mode, CONTROL_QMP);
    assert_string_equal(cli.control.monitors[0].chardev, "unix:/tmp/q,server,nowait");
    assert_string_equal(cli.control.gdb, "tcp::1234,server=on,wait=off");
    assert_true(c->start_paused);
    c = ok("-kernel k -chardev socket,id=q,path=/tmp/q,server=on,wait=off -mon "
           "chardev=q,mode=control,pretty=on");
    assert_string_equal(cli.control.monitors[0].chardev, "unix:/tmp/q,server=on,wait=off");
    assert_int_equal(cli.control.monitors[0].mode, CONTROL_QMP_PRETTY);
    c = ok("-kernel k -chardev stdio,id=m,mux=on -serial chardev:m -mon m");
    assert_string_equal(c->serial[0], "mux:stdio");
    assert_string_equal(cli.control.monitors[0].chardev, "mux:stdio");
    bad("-kernel k -chardev socket,id=q -mon q", "path=PATH");
    bad("-kernel k -mon chardev=x", "no -chardev with id=x");
    bad("-kernel k -gdb tcp::1 -s", "one GDB is enough");
    bad("-kernel k -monitor stdio -serial stdio", "two devices are connected to stdio");
    bad("-kernel k -lockstep -s", "exclude -gdb");
    bad("-kernel k -replay f -qmp unix:/tmp/q,server", "repeats a run");
    bad("-kernel k -serial stdio -serial stdio", "two devices are connected to stdio");
    bad("-kernel k -serial null -serial null -serial null", "2 serial ports");
    bad("-kernel k -serial telnet:host:1", "not supported by novt yet");
    bad("-kernel k -serial nonsense", "unknown back end");
    bad("-kernel k -serial file:", "needs a path");
    bad("-kernel k -serial chardev:nobody", "no -chardev with id=nobody");
    bad("-kernel k -chardev stdio", "needs an id");
    bad("-kernel k -chardev udp,id=x", "not supported");
    bad("-kernel k -chardev null,id=x -chardev null,id=x", "two with id=x");
    bad("-kernel k -vga cirrus", "not supported by novt yet");
    bad("-kernel k -display gtk", "not supported by novt yet");
    c = ok("-display curses -hda x");
    assert_true(c->curses);
    assert_string_equal(c->serial[0], "null"); /* the terminal is taken */
    bad("-hda x -display curses -keyboard stdio", "needs the terminal for itself");
    bad("-hda x -display curses -serial stdio", "needs the terminal for itself");
    c = ok("-hda x -vnc 127.0.0.1:3,websocket=on");
    assert_string_equal(c->vnc, "127.0.0.1:3,websocket=on");
    c = ok("-hda x -display vnc=:1");
    assert_string_equal(c->vnc, ":1");
    assert_null(ok("-hda x -vnc none")->vnc);
    ok("-kernel k -vga none -display none -monitor none -parallel none -nographic");
}

static void devices(void **state)
{
    struct machine_config *c = ok("-kernel k -device isa-debug-exit,iobase=0xf4,iosize=4");
    assert_int_equal(c->debug_exit_iobase, 0xf4);
    assert_int_equal(c->debug_exit_iosize, 4);
    c = ok("-kernel k -device isa-debug-exit");
    assert_int_equal(c->debug_exit_iobase, 0x501);
    assert_int_equal(c->debug_exit_iosize, 2);
    bad("-kernel k -device isa-debug-exit,iobase=0x10000", "too large");
    bad("-kernel k -device isa-debug-exit,iobase=0xffff,iosize=4", "beyond FFFFh");
    bad("-kernel k -device isa-debug-exit,iosize=3", "must be 1, 2 or 4");
    bad("-kernel k -device isa-debug-exit,colour=red", "no property 'colour=red'");
    bad("-kernel k -device isa-debugcon", "needs chardev=ID");
    bad("-kernel k -device e1000", "device 'e1000' is not supported");
    bad("-kernel k -device isa-debugcon,chardev=nobody", "no -chardev with id=nobody");
}

static void qemu_compatibility(void **state)
{
    ok("-nodefaults -no-user-config -nic none -net none -accel tcg -machine pc -kernel k -name test -smp 1");
    ok("-M pc-i440fx-7.2,accel=kvm:tcg,usb=off -accel tcg,thread=single -kernel k -smp cpus=1,sockets=1");
    ok("-kernel k -enable-kvm -rtc base=localtime,clock=host -no-acpi -no-hpet");
    assert_true(ok("-no-acpi")->no_acpi && ok("-machine pc,acpi=off")->no_acpi &&
                !ok("-M pc,acpi=on")->no_acpi);
    static const u8 uuid[16] = {0x55, 0x0e, 0x84, 0,    0xe2, 0x9b, 0x41, 0xd4,
                                0xa7, 0x16, 0x44, 0x66, 0x55, 0x44, 0,    0};
    assert_memory_equal(ok("-uuid 550e8400-e29b-41d4-a716-446655440000")->uuid, uuid, 16);
    assert_memory_equal(ok("-smbios type=1,uuid=550E8400e29b41d4a716446655440000")->uuid, uuid, 16);
    bad("-uuid 550e8400-e29b-41d4-a716-44665544000", "no UUID");
    bad("-uuid 550e8400-e29b-41d4-a716-4466554400000", "no UUID");
    bad("-uuid x", "no UUID");
    struct machine_config *c = ok("-smbios type=0,vendor=v,release=1.2 -smbios type=3,serial=s");
    assert_string_equal(c->smbios.bios_vendor, "v");
    assert_true(c->smbios.bios_release && c->smbios.bios_major == 1 && c->smbios.bios_minor == 2);
    assert_string_equal(c->smbios.case_serial, "s");
    bad("-smbios vendor=v", "type=N must come first");
    bad("-smbios type=17", "not supported");
    bad("-smbios type=0,release=7", "two numbers");
    bad("-smbios type=1,vendor=v", "not known");
    c = ok("-boot once=d,order=c,reboot-timeout=-1");
    assert_string_equal(c->boot_once, "d");
    assert_string_equal(c->boot_order, "c");
    assert_true(c->have_reboot_timeout && c->reboot_timeout == -1);
    bad("-boot once=", "letters");
    assert_string_equal(ok("-parallel file:/tmp/x")->parallel, "file:/tmp/x");
    assert_true(ok("-kernel k -action reboot=shutdown,shutdown=pause")->no_reboot);
    bad("-kernel k -smp 2", "2 CPUs are not supported");
    bad("-kernel k -smp 0", "needs a CPU");
    bad("-kernel k -smp cores=4", "4 CPUs are not supported");
    bad("-kernel k -machine q35", "board 'q35' is not supported");
    bad("-kernel k -accel fast", "unknown accelerator");
    c = ok("-hda disk.img -cdrom x.iso -boot order=dc,menu=on");
    assert_int_equal(c->ndrives, 2);
    assert_int_equal(c->drives[1].index, 2);
    assert_true(c->drives[1].cdrom);
    assert_string_equal(c->boot_order, "dc");
    c = ok("-drive file=a,format=raw -drive file=b,if=ide,readonly=on -drive media=cdrom -snapshot");
    assert_int_equal(c->drives[1].index, 1);
    assert_true(c->drives[1].image.read_only);
    assert_int_equal(c->drives[2].index, 2);
    bad("-drive file=x,format=qcow2", "format 'qcow2'");
    bad("-drive format=raw", "needs file=FILE");
    c = ok("-drive "
           "file=nbd+unix:///x?socket=/tmp/s,format=nbd,cache=none,discard=unmap,werror=stop,rerror=ignore,"
           "detect-zeroes=unmap,id=d0,serial=S1,aio=threads");
    assert_string_equal(c->drives[0].image.path, "nbd+unix:///x?socket=/tmp/s");
    assert_int_equal(c->drives[0].image.cache, CACHE_NONE);
    assert_true(c->drives[0].image.discard);
    assert_int_equal(c->drives[0].image.werror, ERROR_STOP);
    assert_int_equal(c->drives[0].image.rerror, ERROR_IGNORE);
    assert_int_equal(c->drives[0].image.zeroes, ZEROES_UNMAP);
    assert_string_equal(c->drives[0].id, "d0");
    assert_string_equal(c->drives[0].serial, "S1");
    c = ok("-drive file=a,cache=directsync,discard=ignore,werror=enospc -drive file=b,cache=unsafe");
    assert_int_equal(c->drives[0].image.cache, CACHE_DIRECTSYNC);
    assert_false(c->drives[0].image.discard);
    assert_int_equal(c->drives[0].image.werror, ERROR_ENOSPC);
    assert_int_equal(c->drives[1].image.cache, CACHE_UNSAFE);
    bad("-drive file=x,cache=fast", "cache=fast: give one of writeback, none");
    bad("-drive file=x,werror=maybe", "werror=maybe");
    bad("-drive file=x,format=nbd", "format=nbd needs file=nbd:");
    bad("-drive file=x,if=virtio", "if=virtio");
    bad("-boot order=x", "letters");
    assert_int_equal(ok("-global isa-debugcon.iobase=0x402 -debugcon null")->debugcon_iobase, 0x402);
    bad("-kernel k -nic user", "not supported by novt yet");
    assert_string_equal(ok("disk.img")->drives[0].image.path, "disk.img");
    bad("-kernel k -cpu pentium9", "unknown CPU model 'pentium9'");
    assert_string_equal(ok("-kernel k -cpu pentium3,-apic,nx=on")->cpu, "pentium3,-apic,nx=on");
    bad("-kernel k -cpu pentium3,+vmx", "unknown feature '+vmx'");
    bad("-kernel k -rtc base=", "base=utc");
}

static void ours(void **state)
{
    assert_int_equal(ok("-kernel k --engine=interp")->engine, ENGINE_INTERP);
    assert_int_equal(ok("-kernel k --no-opt=chain,icache")->opts, OPT_ALL & ~(OPT(chain) | OPT(icache)));
    assert_int_equal(ok("-kernel k --no-opt=all")->opts, 0);
    struct machine_config *c = ok("-kernel k --stats");
    assert_true(c->stats);
    assert_false(c->count);
    assert_null(c->stats_file);
    c = ok("-kernel k --stats=x --count");
    assert_true(c->stats && c->count);
    assert_string_equal(c->stats_file, "x");
    c = ok("--stats=x.json -kernel k");
    assert_string_equal(c->stats_file, "x.json");
    c = ok("-kernel k --dump=guest,host,0x1000-0xc0000000");
    assert_int_equal(c->dump, DUMP_GUEST | DUMP_HOST);
    assert_int_equal(c->dump_lo, 0x1000);
    assert_int_equal(c->dump_hi, 0xc0000000);
    assert_string_equal(ok("-kernel k --dump=exits,start_kernel")->dump_symbol, "start_kernel");
    assert_true(ok("-kernel k --audit=shadow")->audit_shadow);
    assert_true(ok("-kernel k --tcache-size=8")->tcache_bytes == 8 * MiB);
    assert_null(ok("-kernel k")->code_cache);
    assert_string_equal(ok("-kernel k --code-cache=f")->code_cache, "f");
    bad("-kernel k --code-cache=", "name of a file");
    assert_int_equal(ok("-kernel k --max-spaces=16")->max_spaces, 16);
    log_mask = 0;
    ok("-kernel k -d int,cpu");
    assert_int_equal(log_mask, 1u << LOG_int | 1u << LOG_cpu);
    log_mask = 0;
    bad("-kernel k --engine=fast", "unknown engine 'fast': bt or interp");
    bad("-kernel k --no-opt=speed", "unknown optimisation 'speed'");
    bad("-kernel k --dump=0x5-0x1", "not an address range");
    bad("-kernel k --dump=0x5", "not an address range");
    bad("-kernel k --dump=start_kernel", "say what to show");
    bad("-kernel k --audit=all", "cannot be audited");
    bad("-kernel k --tcache-size=1k", "out of range");
    assert_true(ok("-kernel k --kick=instruction,irq=5,times=9")->kick == KICK_INSTRUCTION);
    assert_true(ok("-kernel k --kick=fragment,irq=5")->kick_irq == 5);
    bad("-kernel k --kick=irq=5", "fragment, instruction or host");
    bad("-kernel k --kick=fragment,irq=99", "irq=3..15");
    bad("-kernel k --max-spaces=1", "out of range");
    bad("-kernel k -d int,everything", "unknown log channel 'everything'");
    bad("-kernel k -D /nonexistent/log", "cannot write '/nonexistent/log'");
    bad("-kernel k --stats=", "needs a file name");
}

static void unknown_options(void **state)
{
    ok(""); /* the firmware looks for something to boot */
    bad("-kernel k -bios b", "exclude each other");
    bad("-append x", "need -kernel");
    bad("-kernal k", "did you mean '--kernel'");
    bad("--no-rebot", "did you mean '--no-reboot'");
    bad("--engin=bt", "did you mean '--engine'");
    bad("--initrd-file x", "unknown option");
    bad("--qwertyuiop", "unknown option '--qwertyuiop' (--help");
    bad("-kernel k --no-reboot=yes", "takes no value");
    bad("--", "unknown option");
    bad("-kernel", "needs a value: -kernel FILE");
}

static void lists(void **state)
{
    assert_int_equal(parse("--help"), CLI_DONE);
    for (const struct option *o = cli_options; o->name; o++)
        if (o->group != G_MISSING && !strstr(output, o->name))
            fail_msg("--help does not mention -%s", o->name);
    assert_non_null(strstr(output, "Exit status:"));
    for (char *line = strtok(output, "\n"); line; line = strtok(NULL, "\n"))
        if (strlen(line) > 132)
            fail_msg("--help: too wide: %s", line);
    static const char *const helps[] = {
        "-h",          "-cpu help",     "-d help", "-device help", "--no-opt=help",
        "--dump=help", "-machine help", "-version"};
    for (size_t i = 0; i < ARRAY_SIZE(helps); i++) {
        assert_int_equal(parse(helps[i]), CLI_DONE);
        assert_true(strlen(output) > 20);
    }
}

static void distance(void **state)
{
    assert_int_equal(cli_distance("", ""), 0);
    assert_int_equal(cli_distance("abc", ""), 3);
    assert_int_equal(cli_distance("kitten", "sitting"), 3);
    assert_int_equal(cli_distance("append", "apend"), 1);
}

/* No two options share a name, and every one that help shows has a text. */
static void table(void **state)
{
    for (const struct option *o = cli_options; o->name; o++) {
        for (const struct option *p = o + 1; p->name; p++)
            assert_string_not_equal(o->name, p->name);
        assert_non_null(o->set);
        if (o->group < G_IGNORED)
            assert_non_null(o->help);
        if (o->arg != ARG_NONE && o->group != G_MISSING)
            assert_non_null(o->metavar);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults), cmocka_unit_test(spellings),       cmocka_unit_test(memory),
        cmocka_unit_test(consoles), cmocka_unit_test(devices),         cmocka_unit_test(qemu_compatibility),
        cmocka_unit_test(ours),     cmocka_unit_test(unknown_options), cmocka_unit_test(lists),
        cmocka_unit_test(distance), cmocka_unit_test(table),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cli_free(&cli);
    return failed;
}
