/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file for --replay: any bytes must be refused or run to where they leave the track. The CPU interprets a
 * small program that reads ports, the time stamp counter, and takes interrupts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "machine/input.h"
#include "monitor/monitor.h"
#include "shadowpt/shadowpt.h"
#include "tests/fuzz/fuzz.h"

#define RAM  (1 * MiB)
#define CODE 0x8000u

static const u8 program[] = {
    0xfb,                /* sti */
    0xe4, 0x60,          /* in al, 60h */
    0x0f, 0x31,          /* rdtsc */
    0xed,                /* in eax, dx */
    0xe6, 0x80,          /* out 80h, al */
    0xb9, 3,    0, 0, 0, /* mov ecx, 3 */
    0xf3, 0xaa,          /* rep stosb */
    0xeb, 0xef,          /* again */
};

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static struct memory *m;
    static struct vcpu *v;
    static char name[32];
    static int fd = -1;
    struct in in = {data, data + size};
    struct inputs q;
    struct follower f = {.q = &q};
    struct { /* as inputs_record() writes it, so that the fuzzer need not find it out */
        u8 bytes[64];
    } header;
    int err;

    if (!m) {
        m = memory_create(RAM, &err);
        v = cpu_create(cpu_model_find("qemu32"), &follow_ops, 0);
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        if (!m || !v || fd < 0 || shadow_create(v, m, 4))
            abort();
        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    }
    u8 how = take8(&in);
    memset(&q, 0, sizeof(q));
    if (ftruncate(fd, 0) || inputs_init(&q))
        abort();
    if (how & 1) { /* a header that is right */
        if (inputs_record(&q, name, "fuzz"))
            abort();
        inputs_done(&q);
        memset(&q, 0, sizeof(q));
        if (inputs_init(&q) || pread(fd, &header, sizeof(header), 0) < 0)
            abort();
    }
    off_t end = lseek(fd, 0, SEEK_END);
    if (pwrite(fd, in.p, left(&in), end) < 0)
        abort();
    if (inputs_replay(&q, name, "fuzz") == 0) {
        f.v = v;
        v->vm = &f;
        cpu_reset(v);
        memory_write(m, CODE, program, sizeof(program));
        v->cr0 = CR0_PE | CR0_ET;
        for (int s = 0; s < 6; s++) {
            v->seg[s] =
                (struct seg){.sel = s == S_CS ? 8 : 16,
                             .limit = 0xffffffff,
                             .attr = SA_P | SA_S | SA_DB | SA_G | SA_A | SA_RW | (s == S_CS ? SA_CODE : 0)};
            seg_refresh(&v->seg[s]);
        }
        v->eip = CODE;
        v->gpr[R_EDI] = 0x20000;
        v->gpr[R_ESP] = 0x30000;
        v->events = 0;
        cpu_update_mode(v);
        follow_run(&f, 2000);
        cpu_fpu_park(v);
        inputs_ahead(&q);
    }
    inputs_done(&q);
    return 0;
}
