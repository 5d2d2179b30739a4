/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the verifier's mutation test share: the fragments (verify_frags.c), and the oracle that
 * runs damaged ones (verify_oracle.c).
 */
#ifndef NOVT_TEST_VERIFY_H
#define NOVT_TEST_VERIFY_H

#include "tcache/verify.h"

#define U(s)                                                                                                 \
    {                                                                                                        \
        (const u8 *)(s), sizeof(s) - 1                                                                       \
    }

struct bytes {
    const u8 *bytes;
    u32 len;
};

struct frag {
    u8 *code;
    u32 len;
    struct unit u;
    struct unit_env env;
    struct insn *kept[UNIT_MAX_INSNS];
    u32 n_kept;
};

extern struct frag *frags;
extern u32 n_frags, n_real; /* the last n_real are units of real guest code */
extern struct verifier *vf;
extern bool frags_low_window; /* make some for a window at address 0: set by oracle_setup() */

u32 rnd(void);
void rnd_seed(u64 seed);
/* Translates the corpus in every way; then units of the programs (ELF, or raw code) named in files[]. */
void frags_make(char **files, int n);
void frags_free(void);
bool verify(const struct frag *f, const u8 *code);

/* ---- the oracle ---- */

int oracle_setup(void);
/* cmocka installs its own handlers around each test: call first in each. */
void oracle_catch_signals(void);
struct execution {
    const char *violation; /* NULL: isolation held */
    u32 at;                /* where */
    u32 steps;
    bool touched; /* an instruction that has a byte of [lo, hi) was run */
};
/* Runs `code` in place of f's from offset `entry` and a random state. */
struct execution oracle_run(const struct frag *f, const u8 *code, u32 entry, u32 lo, u32 hi);

#endif
