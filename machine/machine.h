/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One virtual PC: wiring, boot loaders, and its life. */
#ifndef NOVT_MACHINE_MACHINE_H
#define NOVT_MACHINE_MACHINE_H

#include "base/types.h"
#include "cpu/cpu.h"
#include "devices/block.h"
#include "machine/lifecycle.h"
#include "machine/tables.h"

enum engine { ENGINE_BT, ENGINE_INTERP };

#define DUMP_GUEST  1u /* guest code of each unit */
#define DUMP_HOST   2u /* host code of each fragment */
#define DUMP_EXITS  4u /* every exit from translated code */
#define DUMP_SHADOW 8u /* shadow fills and traces */

#define KICK_FRAGMENT    1
#define KICK_INSTRUCTION 2
#define KICK_HOST        3

struct drive_config {
    bool floppy, cdrom;
    int index;                 /* IDE: 0-3; floppy: 0-1 */
    const char *id, *serial;   /* NULL: none */
    struct block_config image; /* path NULL: no medium */
};
#define MAX_DRIVES 8

#define MACHINE_SYMBOLS 8

struct machine_config {
    u64 ram_bytes;
    const char *kernel, *initrd, *append;
    const char *cpu; /* model name */
    enum engine engine;
    u64 opts; /* OPT() bits */
    bool no_reboot;
    bool no_shutdown;
    bool start_paused;     /* -S */
    const char *serial[2]; /* "stdio", "null", "none", "file:PATH" */
    const char *debugcon;  /* the same, or NULL: no port E9h device */
    int debug_exit_iobase; /* -1: none */
    int debug_exit_iosize;
    const char *rtc_base;
    bool stats;
    bool count;                           /* the guest instructions that translated code executes, too */
    const char *symbols[MACHINE_SYMBOLS]; /* files with the guest's symbols; none: those of an ELF kernel */
    bool perf_map;                        /* write the map of translated code that perf reads */
    const char *perf_map_file;            /* NULL: /tmp/perf-PID.map */
    const char *stats_file;               /* NULL: stderr; ends in .json: JSON */
    u32 dump;                             /* DUMP_* */
    u32 dump_lo, dump_hi;                 /* guest linear addresses that --dump is limited to */
    bool audit_shadow;
    bool windows_always;         /* --windows=always */
    const char *code_cache;      /* file of translations, NULL: none */
    u64 tcache_bytes;            /* 0: default */
    u32 max_spaces;              /* 0: default */
    const char *dump_symbol;     /* instead of dump_lo, dump_hi: a function of the kernel; NULL: none */
    u16 debugcon_iobase;         /* 0: E9h */
    bool verify;                 /* check every fragment before it may run */
    bool lockstep;               /* run the interpreter beside the translator and compare */
    u8 kick;                     /* KICK_*: forced stops of translated code; 0: none */
    u32 kick_times;              /* how often at each place, 0: always */
    bool kick_nmi;               /* and an NMI, and another one within its handler */
    bool kick_arms;              /* in code as a run makes it that has no file of translations to read */
    u8 kick_irq;                 /* and this interrupt request there, 0: none */
    const char *record, *replay; /* file of inputs, or NULL */
    /* -- the whole PC; used when there is no kernel to load directly, or when there are drives -- */
    const char *bios; /* firmware image, NULL: SeaBIOS where it is installed */
    bool nographic;   /* the firmware's and text programs' console is the first serial port */
    bool vga;         /* a video adapter */
    bool vga_given;   /* ... was asked for: also beside a kernel that is loaded directly */
    bool boot_menu;
    u32 boot_menu_wait;     /* ms, 0: default */
    const char *boot_order; /* letters a, c, d, n as in -boot; NULL: default */
    const char *boot_once;  /* the same for the first start only, or NULL */
    i64 reboot_timeout;     /* ms after which the firmware tries again; -1: never; if have_reboot_timeout */
    bool have_reboot_timeout;
    const char *parallel; /* as serial: what the guest prints; NULL or "none": no parallel port */
    bool no_fd_bootchk;
    struct drive_config drives[MAX_DRIVES];
    int ndrives;
    bool snapshot;        /* no drive is written to */
    const char *vnc;      /* -vnc's value, NULL: no server */
    bool curses;          /* the text screen on the terminal */
    const char *screen;   /* file that shows the screen: text, or a picture if it ends in .png; NULL: none */
    const char *keyboard; /* where typed keys come from, a back end as for serial; NULL: nowhere */
    bool no_default_drives; /* no empty CD-ROM and floppy drives */
    bool no_acpi;           /* no ACPI tables */
    u8 uuid[16];            /* of the machine, in text order; */
    bool have_uuid;         /* if given */
    struct smbios_config smbios;
};

struct vm;

/* Builds the machine and loads the guest. On failure reports what is wrong and what to do, sets *status to
 * the process exit status, and returns NULL. */
struct vm *machine_create(const struct machine_config *cfg, int *status);
/* Runs until power off, debug exit, user quit, or a fatal guest condition. Returns the process exit status.
 */
int machine_run(struct vm *vm);
void machine_destroy(struct vm *vm);

/* Exit statuses of novt besides the guest's own. Even, because isa-debug-exit's (value << 1) | 1 is always
 * odd. */
#define EXIT_OK           0
#define EXIT_USAGE        2  /* bad command line or image */
#define EXIT_HOST         4  /* host failure: out of memory, I/O error */
#define EXIT_TRIPLE_FAULT 6  /* guest triple fault, unless it was the deliberate reboot with an empty IDT */
#define EXIT_DIFFERS      10 /* lockstep or replay: the runs differ */
#define EXIT_HALTED                                                                                          \
    8 /* guest halted for good: hlt with interrupts off (not with -no-shutdown, nor while a display shows    \
         it) */

#endif
