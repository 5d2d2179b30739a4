/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pointer chasing: each load's address comes from the load before. A random cycle through 128 KiB of 16-byte
 * nodes, which the second-level cache holds; a few nodes are relinked each round. */
#include "bench.h"

#define N 8192
static struct node {
    struct node *next;
    uint32_t value[3];
} node[N];

int main(int argc, char **argv)
{
    unsigned rounds = bench_work(argc, argv, 20000);
    uint32_t seed = 9, sum = 0;
    static unsigned order[N];
    for (unsigned i = 0; i < N; i++) {
        order[i] = i;
        node[i].value[0] = i;
    }
    for (unsigned i = N - 1; i > 0; i--) {
        unsigned j = bench_rand(&seed) % i, t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (unsigned i = 0; i < N; i++)
        node[order[i]].next = &node[order[(i + 1) % N]];
    bench_start();
    struct node *p = node;
    while (rounds--) {
        for (unsigned i = 0; i < N; i++) {
            sum += p->value[0];
            p = p->next;
        }
        /* a b c becomes b a c somewhere: the cycle stays one */
        struct node *a = p->next, *b = a->next;
        p->next = b;
        a->next = b->next;
        b->next = a;
        p = a->next;
    }
    bench_end("chase", sum + p->value[0]);
    return 0;
}
