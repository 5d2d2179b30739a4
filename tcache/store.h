/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Translations that outlive the process: a file of fragments, with the pages of guest code that they were
 * made from (persistent code caching: Reddi, Connors, Cohn, Smith, CGO 2007).
 *
 * A translation follows from the guest's bytes, the key (struct frag_key), and what is the same for a whole
 * run, its flavour: the program that made it, options, CPU model. So the file begins with the program's build
 * ID and the flavour, and is of use only where they are the same. What was read is dormant: no lookup finds
 * it, and checked entries of dormant fragments let nobody in. When code is looked for in a page of guest
 * memory that has none yet, and the page's 4096 bytes are those of a page of the file, all fragments of that
 * page become what they were: valid fragments, chained as they were. So there is nothing to trust in where a
 * guest has its code, only in the file itself, as in the program: it must belong to the user, and nobody else
 * may be able to write it.
 *
 * Heavy code. All functions return 0 or a negative errno.
 */
#ifndef NOVT_TCACHE_STORE_H
#define NOVT_TCACHE_STORE_H

#include "tcache/tcache.h"

/* Reads a file into a cache that is empty, all of it or nothing; and from now on what a file needs is kept,
 * also if there is none of use. -ENOENT: there is none; -EPERM: others could have written it, or it is no
 * file; -EPROTO: it was made by another program or of another flavour; -EBADMSG: it is damaged; -EFBIG: it
 * has more than half of what the cache has room for. */
int tcache_load(struct tcache *tc, const char *path, u64 flavour);

struct tcache_adopter {
    /* Brings a kept instruction up to date, of which only raw and len are so. */
    void (*renew)(void *opaque, struct insn *i, u32 mode);
    void (*adopted)(void *opaque, struct fragment *f); /* called for each when all of the page are */
    void *opaque;
};
/* bytes: of the page of guest memory at gpa, which code is looked for in for the first time, and which is
 * watched. What the file has of it becomes valid; returns how many fragments. a: NULL: nothing is taken over.
 */
u32 tcache_see(struct tcache *tc, u64 gpa, const u8 *bytes, const struct tcache_adopter *a);

/* What is known of the conditional branches of a page, for struct unit_env. */
struct tcache_hints {
    u32 (*of)(void *opaque, u32 off); /* HINT_* of the branch at this offset in the page */
    void *opaque;
};
struct tcache_source {
    /* The bytes of a page of guest memory, NULL: they are not known. */
    const u8 *(*page)(void *opaque, u64 gpa);
    /* Translates the unit for k, in a page of these bytes, into another cache; NULL: it cannot be, or not for
     * a file. */
    struct fragment *(*make)(void *opaque, struct tcache *to, const struct frag_key *k, const u8 *page,
                             const struct tcache_hints *hints);
    void *opaque;
};
/* Writes the translations that there are, each with its page as it was when code was first looked for there,
 * if what the translation was made from is in it: the next run meets it so, and those that were read and not
 * needed, to a file in place of the one that is there; leaves that as it is if there is little to add. If
 * branches were counted they are made anew, along the arms that were taken. *written: how many fragments, 0:
 * left. */
int tcache_save(struct tcache *tc, const char *path, u64 flavour, const struct tcache_source *source,
                u32 *written);

#endif
