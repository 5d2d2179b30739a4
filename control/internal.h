/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of control/. Everything here is for the vCPU thread with the bus lock held, unless
 * said. */
#ifndef NOVT_CONTROL_INTERNAL_H
#define NOVT_CONTROL_INTERNAL_H

#include <stdio.h>
#include "control/control.h"
#include "devices/devices.h"
#include "machine/drives.h"
#include "machine/parts.h"

#define CHANNEL_IN  4096u
#define CHANNEL_OUT (256u * 1024) /* unread output that stops further commands */

struct channel;

struct channel_ops {
    void (*byte)(struct channel *ch, u8 b); /* one byte of input */
    /* A peer came (true) or went. Any thread, lock held; the CPU is not to be touched. May be NULL. */
    void (*peer)(struct channel *ch, bool here);
    void (*focused)(struct channel *ch); /* Ctrl-A c; may be NULL; the same */
    void (*event)(struct channel *ch, enum machine_event e, bool guest, const char *reason); /* may be NULL */
    void (*left)(struct channel *ch); /* the peer went, on the vCPU thread; may be NULL */
    void (*free)(struct channel *ch);
};

/* One console: embedded as the first member of each protocol's state. */
struct channel {
    struct control *ctl;
    const struct channel_ops *ops;
    struct chardev *chr;
    const char *name; /* of the back end */
    struct bus_work work;
    struct bus_timer *retry; /* while the peer does not read */
    u8 in[CHANNEL_IN];
    u32 n_in;
    bool here, left;
};

struct key_queue;

struct control {
    struct vm *vm;
    struct machine_parts m;
    const struct control_config *cfg;
    struct machine_observer observer;
    struct channel *channels[MAX_MONITORS + 1];
    int n_channels;
    struct key_queue *keys;
    u8 buttons; /* of the mouse, as last set here */
};

/* control.c */
void channel_write(struct channel *ch, const void *buf, size_t len); /* any thread */
int channel_open(struct control *c, struct channel *ch, const struct channel_ops *ops, const char *chardev,
                 const char *what);

/* Each makes a console; 0 or a negative errno after reporting. */
int hmp_create(struct control *c, const char *chardev);
int qmp_create(struct control *c, const char *chardev, bool pretty);
int gdb_create(struct control *c, const char *chardev);

/* hmp.c: executes one line; what it says goes to out. */
void hmp_execute(struct control *c, const char *line, FILE *out);

/* ---- commands of the human monitor ---- */

#define HMP_ARGS 16
struct hmp_call {
    struct control *c;
    FILE *out;
    int argc; /* words behind the command's name */
    char **argv;
    const char *rest; /* everything behind the name, as typed */
};
struct hmp_command {
    const char *name, *alias, *params, *help;
    void (*fn)(struct hmp_call *h);
};
extern const struct hmp_command hmp_commands[], hmp_info_commands[]; /* end with name = NULL */
void hmp_info(struct hmp_call *h);
void hmp_x(struct hmp_call *h), hmp_xp(struct hmp_call *h), hmp_print(struct hmp_call *h),
    hmp_in(struct hmp_call *h), hmp_out(struct hmp_call *h), hmp_gva2gpa(struct hmp_call *h),
    hmp_memsave(struct hmp_call *h), hmp_pmemsave(struct hmp_call *h);
/* A whole number, decimal, 0x or 0 octal. False after saying so. */
bool hmp_number(struct hmp_call *h, const char *s, u64 max, u64 *val);

/* hmp_memory.c: evaluates an expression with registers; *end is where it stopped. False: *end is where the
 * trouble is, *why what it is. */
bool expr_eval(struct control *c, const char *s, const char **end, u64 *val, const char **why);

/* ---- target.c: the guest's memory and registers, without side effects ---- */

/* Linear memory by the current page tables, physical memory. How many bytes could be read or written: RAM and
 * ROM are read, RAM is written (code is translated anew), devices are not touched. */
size_t target_read(struct control *c, u32 lin, void *buf, size_t len);
size_t target_write(struct control *c, u32 lin, const void *buf, size_t len);
size_t target_read_phys(struct control *c, u64 gpa, void *buf, size_t len);
size_t target_write_phys(struct control *c, u64 gpa, const void *buf, size_t len);
/* A register by name ("eax", "pc", "cs", "cr0", ...). */
bool target_register(struct control *c, const char *name, size_t len, u64 *val);
/* Instructions at lin (its code segment offset eip), one a line. */
void target_disassemble(struct control *c, u32 lin, u32 eip, int count, bool phys, FILE *out);

/* ---- pages.c: the guest's page tables ---- */

struct page_mapping {
    u32 lin, size; /* 4 KiB, 2 MiB or 4 MiB */
    u64 gpa;
    bool user, write, nx, global, large, dirty, accessed, pcd, pwt;
};
/* Calls fn for each present page of [first, last]; it returns false to end. */
void pages_each(struct control *c, u32 first, u32 last,
                bool (*fn)(void *opaque, const struct page_mapping *p), void *opaque);

/* ---- input.c: keys and mouse ---- */

struct key_queue *keys_create(struct control *c);
void keys_free(struct key_queue *q);
/* The set 1 code of a key by QEMU's name (qcode, or 0xNN), or -1; bit 8: with E0 prefix. */
int key_code(const char *name, size_t len);
/* A key goes down or up; ms later the next one may follow. False: the queue is full. */
bool keys_put(struct control *c, int code, bool down, u32 ms);
/* n keys go down together, and up after `hold` ms. */
bool keys_chord(struct control *c, const int *codes, int n, u32 hold);
/* Mouse motion and buttons (mask as ps2_mouse()). */
void mouse_event(struct control *c, int dx, int dy, int dz, u8 buttons);

/* ---- screen.c: 0 or a negative errno; PNG if png, else PPM ---- */
int screen_dump(struct control *c, const char *path, bool png);

#endif
