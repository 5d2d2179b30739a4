/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Input: everything that reaches the guest's CPU from outside and that a second run could not compute again.
 * Each input carries the exact count of guest instructions before it, so that another CPU can be fed the same
 * at the same place.
 */
#ifndef NOVT_MACHINE_INPUT_H
#define NOVT_MACHINE_INPUT_H

#include <stdio.h>
#include "cpu/cpu.h"
#include "memory/memory.h"

enum input_kind {
    INPUT_IN = 1, /* a port was read: val */
    INPUT_OUT,    /* a port was written: val as a check; bit 32: IGNNE# afterwards */
    INPUT_TSC,    /* the time stamp counter was read: val */
    INPUT_INTR, /* an interrupt was delivered: val is the vector; eip and ecx say where, even within a rep */
    INPUT_END,  /* the run ended: val is a checksum of the registers */
    INPUT_NMI   /* an NMI was delivered: as INPUT_INTR, without a vector */
};

struct input {
    u64 count;
    u64 val;
    u32 eip, ecx;
    u32 port;
    u8 kind, size;
    u8 zero[2];
};

/* A queue of inputs, in order. */
struct inputs {
    struct input *ring;
    u64 head, tail; /* positions; size is a power of two */
    u64 size;
    FILE *file; /* also written to, or (reading) filled from */
    bool reading;
};

int inputs_init(struct inputs *q);
void inputs_done(struct inputs *q);
/* Log file: header, then struct input records. Each returns 0 or a negative errno (-EPROTO: not such a file,
 * or made with another machine; `what` names the machine). */
int inputs_record(struct inputs *q, const char *path, const char *what);
int inputs_replay(struct inputs *q, const char *path, const char *what);
void inputs_put(struct inputs *q, const struct input *in);
/* Reads one more from the file. False: there is none. */
bool inputs_fill(struct inputs *q);
/* The next input, or NULL. */
static inline const struct input *inputs_peek(struct inputs *q)
{
    if (q->head == q->tail && (!q->reading || !inputs_fill(q)))
        return NULL;
    return &q->ring[q->head & (q->size - 1)];
}
/* Inputs that come by themselves: the CPU must be stopped for them. */
static inline bool inputs_stop(u8 kind)
{
    return kind == INPUT_INTR || kind == INPUT_NMI || kind == INPUT_END;
}
/* The next of those that waits in the queue or the file, without taking anything; NULL: none. */
const struct input *inputs_ahead(struct inputs *q);
static inline void inputs_pop(struct inputs *q)
{
    q->head++;
}

/* ---- a CPU that follows a queue ---- */

#define FOLLOW_TRACE 64

struct follower {
    struct vcpu *v;
    struct inputs *q;
    u64 count;           /* instructions so far */
    const char *trouble; /* what went wrong, or NULL */
    char text[160];
    u32 trace[FOLLOW_TRACE]; /* eips of the last instructions */
    u64 traced;
    bool show; /* bytes sent to the first serial port go to stdout */
    u8 lcr;
};

/* Operations of a CPU whose v->vm is a follower: ports and time come from the queue. */
extern const struct cpu_ops follow_ops;
/* Interprets until `count` instructions have run, taking inputs where they belong. False: f->trouble says why
 * not. At the end of a log, stops early and returns true. */
bool follow_run(struct follower *f, u64 count);
/* Delivers the interrupt at the head of the queue, which must belong here. */
bool follow_interrupt(struct follower *f);
/* x87 instruction and data pointers read as zero in recorded runs: the translator has no exact ones. */
void follow_fpu_env(struct vcpu *v, u32 host_ip, u32 host_dp);
/* Checksum of the registers for INPUT_END. */
u64 follow_checksum(const struct vcpu *v);

#endif
