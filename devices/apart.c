/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event thread keeps off the host's processor that the CPU's thread runs on.
 *
 * Where the host's scheduler puts the two on one processor, it leaves them there: the event thread hardly
 * uses it. But each interrupt of the guest's then costs two switches between threads besides the signal:
 * 78,000 cycles in place of 22,000 on a Zen 5 under a hypervisor (bench/nano, timer_irq). So when the event
 * thread finds itself where the CPU's thread is, it asks for any other processor.
 *
 * Where a thread is the kernel keeps in its struct rseq (rseq(2)), which glibc registers since 2.35, for
 * other threads to read without a system call. Without it, or with one processor, nothing is done.
 */
#include <sched.h>
#include "devices/internal.h"
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

void bus_cpu_thread(struct bus *b)
{
    b->apart = (struct apart){.without = -1};
#ifdef RSEQ_SIG
    if (__rseq_size)
        b->apart.cpu = &((struct rseq *)((u8 *)__builtin_thread_pointer() + __rseq_offset))->cpu_id;
#endif
}

void apart_keep(struct apart *a)
{
    cpu_set_t set;
    u32 cpu;

    if (!a->cpu)
        return;
    cpu = __atomic_load_n(a->cpu, __ATOMIC_RELAXED); /* beyond all numbers: not known */
    if (cpu >= CPU_SETSIZE || (int)cpu != sched_getcpu() || sched_getaffinity(0, sizeof(set), &set))
        return;
    if (a->without >= 0)
        CPU_SET(a->without, &set);
    CPU_CLR(cpu, &set);
    if (CPU_COUNT(&set) && !sched_setaffinity(0, sizeof(set), &set))
        a->without = (int)cpu;
}
