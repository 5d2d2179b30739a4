/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The CPU that follows a queue of inputs.
 *
 * A follower interprets. It takes a port's value or a time stamp from the queue when its instruction asks for
 * one, checks that it is what was asked for, and takes an interrupt exactly at the recorded count. A rep
 * instruction that was interrupted half-way is brought to the recorded ECX first (v->rep_limit).
 *
 * Light code (see cpu/cpu.h): the follower's FPU state is live between its instructions.
 */
#include <stdio.h>

#include "machine/input.h"
#include "monitor/monitor.h"
#include "shadowpt/shadowpt.h"

static inline const struct input *peek(struct follower *f)
{
    struct inputs *q = f->q;
    if (q->head == q->tail) {
        if (!q->reading)
            return NULL;
        cpu_fpu_park(f->v);
        if (!inputs_fill(q))
            return NULL;
    }
    return &q->ring[q->head & (q->size - 1)];
}

static bool trouble(struct follower *f, const char *fmt, u64 a, u64 b)
{
    if (!f->trouble) {
        cpu_fpu_park(f->v);
        f->v->events |= EV_QUIT;
        snprintf(f->text, sizeof(f->text), fmt, (unsigned long long)a, (unsigned long long)b);
        f->trouble = f->text;
    }
    return false;
}

/* The value that the CPU asks for, if the queue's head is of that kind. */
static u64 take(struct follower *f, enum input_kind kind, u32 port, int size)
{
    static const char *const names[] = {"nothing", "in", "out", "rdtsc", "an interrupt", "the end", "an NMI"};
    const struct input *in = peek(f);
    u32 have = in && in->kind <= INPUT_NMI ? in->kind : 0;
    if (have != kind || in->port != port || in->size != size) {
        snprintf(f->text, sizeof(f->text),
                 "%s port %x size %d is due, but the log has %s port %x size %d (count %llu)", names[kind],
                 port, size, names[have], in ? in->port : 0, in ? in->size : 0,
                 in ? (unsigned long long)in->count : 0ull);
        f->trouble = f->text;
        f->v->events |= EV_QUIT;
        return ~0ull;
    }
    u64 val = in->val;
    inputs_pop(f->q);
    return val;
}

static u32 follow_in(struct vcpu *v, u16 port, int size)
{
    cpu_fpu_park(v);
    return (u32)take(v->vm, INPUT_IN, port, size);
}

static void show(struct follower *f, u16 port, u32 val)
{
    if (port == 0x3fb)
        f->lcr = (u8)val;
    if (f->show && port == 0x3f8 && !(f->lcr & 0x80)) {
        putchar((int)(val & 0xff));
        if ((val & 0xff) == '\n')
            fflush(stdout);
    }
}

static void follow_out(struct vcpu *v, u16 port, int size, u32 val)
{
    struct follower *f = v->vm;
    cpu_fpu_park(v);
    u64 was = take(f, INPUT_OUT, port, size);
    if (!f->trouble && (u32)was != val)
        trouble(f, "out of %llx, but %llx was recorded", val, (u32)was);
    v->fpu_ignne = was >> 32 & 1;
    show(f, port, val);
}

static u64 follow_tsc(struct vcpu *v)
{
    cpu_fpu_park(v);
    return take(v->vm, INPUT_TSC, 0, 0);
}

static int follow_ack(struct vcpu *v)
{
    return -1;
}

static void follow_ferr(struct vcpu *v, int level)
{
}

void follow_fpu_env(struct vcpu *v, u32 host_ip, u32 host_dp)
{
    v->fpu_ip = v->fpu_dp = 0;
    v->fpu_cs = v->fpu_ds = v->fpu_op = 0;
}

const struct cpu_ops follow_ops = {
    SHADOW_CPU_OPS,      .io_in = follow_in, .io_out = follow_out,      .intr_ack = follow_ack,
    .ferr = follow_ferr, .tsc = follow_tsc,  .fpu_env = follow_fpu_env,
};

u64 follow_checksum(const struct vcpu *v)
{
    u64 h = 0xcbf29ce484222325ull;
    for (int i = 0; i < 8; i++)
        h = (h ^ v->gpr[i]) * 0x100000001b3ull;
    h = (h ^ v->eip) * 0x100000001b3ull;
    return (h ^ v->cr3) * 0x100000001b3ull;
}

/* One instruction, or one piece of a rep. */
static bool follow_step(struct follower *f)
{
    struct vcpu *v = f->v;
    u32 start = v->eip;

    v->events &= ~(EV_MODE | EV_SMC);
    if (v->events)
        return trouble(f, "the CPU has stopped (events %llx), but goes on in the other run", v->events, 0);
    f->trace[f->traced++ % FOLLOW_TRACE] = start;
    interp_run(v, 1);
    if (v->eip != start || !monitor_unfinished(v))
        f->count++;
    return !f->trouble;
}

bool follow_interrupt(struct follower *f)
{
    struct vcpu *v = f->v;
    const struct input *in = peek(f);
    const struct input e = *in;

    if (v->gpr[R_ECX] != e.ecx && v->eip == e.eip && monitor_unfinished(v)) {
        v->rep_limit = v->gpr[R_ECX] - e.ecx;
        u64 was = f->count;
        bool good = follow_step(f);
        v->rep_limit = 0;
        if (!good)
            return false;
        if (f->count != was)
            return trouble(f, "a rep was interrupted at ecx %llx, but is over", e.ecx, 0);
    }
    if (v->eip != e.eip)
        return trouble(f, "an interrupt belongs at eip %llx, but eip is %llx", e.eip, v->eip);
    if (v->gpr[R_ECX] != e.ecx)
        return trouble(f, "an interrupt belongs at ecx %llx, but ecx is %llx", e.ecx, v->gpr[R_ECX]);
    bool nmi = e.kind == INPUT_NMI;
    if (nmi ? v->nmi_blocked : !v->iflag)
        return trouble(f, "an interrupt was taken while blocked (IF %llu, NMI blocking %llu)", v->iflag,
                       v->nmi_blocked);
    if (v->intr_shadow)
        return trouble(f, "an interrupt was taken in the shadow of sti or mov ss", 0, 0);
    inputs_pop(f->q);
    v->events &= ~EV_HALT;
    v->nmi_blocked |= nmi;
    cpu_deliver_interrupt(v, (u8)e.val, nmi);
    return true;
}

bool follow_run(struct follower *f, u64 count)
{
    for (;;) {
        const struct input *in = peek(f);
        if (in && in->count == f->count && (in->kind == INPUT_INTR || in->kind == INPUT_NMI)) {
            if (!follow_interrupt(f))
                return false;
            continue;
        }
        if (in && in->count == f->count && in->kind == INPUT_END) {
            if (in->val != follow_checksum(f->v))
                return trouble(f, "the registers at the end differ from the recorded run's", 0, 0);
            return true;
        }
        if (f->count >= count)
            return true;
        if (!in && f->q->reading)
            return trouble(f, "the log ends without an end mark", 0, 0);
        if (!follow_step(f))
            return false;
    }
}
