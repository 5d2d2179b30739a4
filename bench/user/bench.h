/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every benchmark program shares. A program does a fixed amount of work (argv[1] is a percentage of it,
 * 100 unless given), times only the work with CLOCK_MONOTONIC, and prints one line:
 *
 *     bench NAME SECONDS CHECK WORK
 *
 * WORK is how much it did in the program's own unit, so that runs of different lengths can be compared by
 * seconds a unit. CHECK is a checksum of the result: the harness compares it with the native run's, so that a
 * fast wrong answer does not count. Programs are static i386 binaries, built once by tools/prepare and run
 * natively and in guests.
 */
#ifndef NOVT_BENCH_H
#define NOVT_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static struct timespec bench_t0;
static unsigned bench_done;

/* n scaled by argv[1] percent, at least 1. */
static inline unsigned bench_work(int argc, char **argv, unsigned n)
{
    unsigned percent = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100;
    uint64_t work = (uint64_t)n * percent / 100;
    bench_done = work ? (unsigned)work : 1;
    return bench_done;
}

static inline void bench_start(void)
{
    /* For whoever watches the console with a clock of his own. The line is out before the work begins. */
    if (isatty(1)) {
        printf("start\n");
        fflush(stdout);
        tcdrain(1);
    }
    clock_gettime(CLOCK_MONOTONIC, &bench_t0);
}

static inline void bench_end(const char *name, uint32_t check)
{
    struct timespec t1;
    clock_gettime(CLOCK_MONOTONIC, &t1);
    int64_t ns = (int64_t)(t1.tv_sec - bench_t0.tv_sec) * 1000000000 + (t1.tv_nsec - bench_t0.tv_nsec);
    printf("bench %s %ld.%06ld %08x %u\n", name, (long)(ns / 1000000000), (long)(ns % 1000000000 / 1000),
           check, bench_done);
    fflush(stdout);
}

/* A small generator with the same sequence everywhere. */
static inline uint32_t bench_rand(uint32_t *state)
{
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

static inline uint32_t bench_hash(const void *p, size_t n)
{
    const unsigned char *b = p;
    uint32_t h = 2166136261u;
    while (n--)
        h = (h ^ *b++) * 16777619u;
    return h;
}

#endif
