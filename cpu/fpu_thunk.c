/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Thunks: small host functions that hold one x87, MMX or SSE instruction each.
 *
 * The memory operand of the guest's instruction has become [rdi], a general register operand eax, so that all
 * guest instructions that differ only in addressing or in that register share one thunk:
 *
 *      THUNK_PLAIN    insn; ret
 *      THUNK_GPR      mov eax,[rsi]; insn; mov [rsi],eax; ret
 *      THUNK_FLAGS    push rdx; popfq; insn; pushfq; pop rax; ret
 *
 * None takes more than a 16-byte slot. There are about 128,000 normalised forms in all (64 register pairs and
 * 8 memory forms of some 330 instructions, times 256 for the five shuffles with a full immediate), so the
 * arena of 2^18 slots cannot run out whatever the guest executes; it is sparse, and a real guest touches a
 * few pages of it.
 *
 * Code memory is W^X: a memfd mapped twice, once writable and once executable. The arena is process-wide,
 * like the text section: a thunk depends on nothing but its bytes, is never changed or freed, and may be run
 * by any thread. The lock is for making them. Heavy code: only called at decode time, with the guest's FPU
 * state parked.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/log.h"
#include "cpu/fpu.h"

#define SLOT_SIZE  16u
#define SLOT_COUNT (1u << 18)
#define ARENA_SIZE ((size_t)SLOT_SIZE * SLOT_COUNT)
#define HASH_SIZE  (SLOT_COUNT * 2)

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u
#endif

struct thunk_entry {
    u64 key; /* 0: free */
    u32 slot;
};

static struct {
    pthread_mutex_t lock;
    u8 *rw;
    const u8 *rx;
    struct thunk_entry *hash;
    u32 used;
} arena = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int arena_init(void)
{
    void *rw = MAP_FAILED, *rx = MAP_FAILED, *hash = MAP_FAILED;
    int err;
    int fd = memfd_create("novt-fpu-thunks", MFD_CLOEXEC | MFD_EXEC);

    if (fd < 0 && errno == EINVAL) /* kernels before 6.3 do not know MFD_EXEC */
        fd = memfd_create("novt-fpu-thunks", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)ARENA_SIZE) < 0)
        goto fail;
    rw = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (rw == MAP_FAILED)
        goto fail;
    rx = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (rx == MAP_FAILED)
        goto fail;
    hash = mmap(NULL, HASH_SIZE * sizeof(struct thunk_entry), PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (hash == MAP_FAILED)
        goto fail;
    close(fd);
    arena.rw = rw;
    arena.rx = rx;
    arena.hash = hash;
    return 0;

fail:
    err = -errno;
    if (rx != MAP_FAILED)
        munmap(rx, ARENA_SIZE);
    if (rw != MAP_FAILED)
        munmap(rw, ARENA_SIZE);
    close(fd);
    return err;
}

static void emit(u8 *p, const u8 *code, u32 len, enum thunk_kind kind)
{
    static const u8 load_gpr[] = {0x8b, 0x06}, store_gpr[] = {0x89, 0x06};
    static const u8 load_flags[] = {0x52, 0x9d}, store_flags[] = {0x9c, 0x58};
    const u8 *before = kind == THUNK_GPR ? load_gpr : load_flags;
    const u8 *after = kind == THUNK_GPR ? store_gpr : store_flags;
    u32 extra = kind == THUNK_PLAIN ? 0 : 2;

    memcpy(p, before, extra);
    memcpy(p + extra, code, len);
    memcpy(p + extra + len, after, extra);
    p[2 * extra + len] = 0xc3;
    memset(p + 2 * extra + len + 1, 0xcc, SLOT_SIZE - (2 * extra + len + 1));
}

/* Code that was written through another linear address needs a serializing instruction before it may be run
 * (SDM vol. 3, 8.1.3). */
static void serialize(void)
{
    u32 a = 0, b, c = 0, d;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}

void *fpu_thunk_get(const u8 *code, u32 len, enum thunk_kind kind)
{
    u64 key = (u64)(kind + 1) << 56 | (u64)len << 48;
    u32 h;
    struct thunk_entry *e;
    void *fn;
    int err = 0;

    NOVT_ASSERT(len >= 1 && len <= 6);
    for (u32 n = 0; n < len; n++)
        key |= (u64)code[n] << (8 * n);
    h = (u32)((key * 0x9e3779b97f4a7c15ull) >> 40) & (HASH_SIZE - 1);

    pthread_mutex_lock(&arena.lock);
    if (!arena.rw)
        err = arena_init();
    if (err)
        NOVT_BUG("no memory for FPU thunks: %s", strerror(-err));
    for (e = &arena.hash[h]; e->key && e->key != key; e = &arena.hash[h])
        h = (h + 1) & (HASH_SIZE - 1);
    if (!e->key) {
        NOVT_ASSERT(arena.used < SLOT_COUNT);
        e->slot = arena.used++;
        e->key = key;
        emit(arena.rw + (size_t)e->slot * SLOT_SIZE, code, len, kind);
        serialize();
    }
    fn = (void *)(uintptr_t)(arena.rx + (size_t)e->slot * SLOT_SIZE);
    pthread_mutex_unlock(&arena.lock);
    return fn;
}

u32 fpu_thunk_count(void)
{
    u32 n;

    pthread_mutex_lock(&arena.lock);
    n = arena.used;
    pthread_mutex_unlock(&arena.lock);
    return n;
}
