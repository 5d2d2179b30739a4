/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images of any content and size: opening, what the controllers and CMOS make of the geometry, reading
 * and writing with and without a snapshot. What was written must read back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "devices/block.h"
#include "tests/fuzz/fuzz.h"

static bool answered;
static int answer;

static void done(void *opaque, int result)
{
    answered = true;
    answer = result;
}

static int carry_out(struct bus *b, struct block *k, struct block_req *r)
{
    answered = false;
    r->done = done;
    bus_lock(b);
    block_submit(k, r);
    bus_unlock(b);
    while (!answered)
        bus_run_deferred(b);
    return answer;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static struct bus_host host;
    struct in in = {data, data + size};
    static u8 buf[65536], back[65536];
    u8 how = take8(&in);
    u32 extra = take32(&in) & 0x3ffffff;
    char name[32], err[512];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    setenv("TMPDIR", "/dev/shm", 0);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    u32 content = take16(&in) % (left(&in) + 1);
    if (fd < 0 || write(fd, in.p, content) < 0 || ftruncate(fd, (off_t)(how & 4 ? content : extra)))
        abort();
    in.p += content;
    struct bus *b = bus_create(&host);
    struct block_config c = {.path = name, .read_only = how & 1, .snapshot = how & 2, .discard = how & 8};
    struct block *k = block_open(b, &c, err, sizeof(err));
    for (u32 n = 0; k && left(&in) && n < 16; n++) {
        u8 op = take8(&in);
        struct block_req r = {.op = (enum block_op)(op & 3), .buf = buf};
        r.offset = (u64)take32(&in) % (block_size(k) / SECTOR + 3) * SECTOR;
        r.len = (1 + (op >> 2 & 31)) * SECTOR;
        if (r.op == BLOCK_WRITE)
            for (u32 i = 0; i < r.len; i++)
                buf[i] = (u8)(op + i / SECTOR + i);
        bool inside = r.offset + r.len <= block_size(k);
        int res = carry_out(b, k, &r);
        if (r.op == BLOCK_FLUSH || (r.op == BLOCK_DISCARD && !block_discards(k)))
            continue;
        if ((res == 0) != (inside && !(block_read_only(k) && r.op != BLOCK_READ)))
            abort();
        if (res || r.op == BLOCK_READ || (r.op == BLOCK_WRITE && r.offset + r.len == block_size(k)))
            continue;
        struct block_req again = {.op = BLOCK_READ, .offset = r.offset, .len = r.len, .buf = back};
        if (carry_out(b, k, &again))
            abort();
        for (u32 i = 0; i < r.len; i++)
            if (back[i] != (r.op == BLOCK_WRITE ? (u8)(op + i / SECTOR + i) : 0))
                abort();
    }
    block_close(k);
    bus_destroy(b);
    close(fd);
    return 0;
}
