/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The second opinion: checks a fragment before it may run, knowing only the contract (translator/abi.h,
 * translator.h), not how the translator works. Decodes with Capstone; shares no code with the translator.
 * Heavy code.
 *
 * What an accepted fragment cannot do, whatever the guest's registers and memory hold: access host memory
 * other than guest pages through the tables' entries (with the right they stand for) or the window, the
 * listed fields of struct vcpu, the tables themselves and the branch cache (reading); leave to anywhere but
 * its own instructions, a thunk with well-formed arguments, a chainable exit or a checked branch-cache entry;
 * or come out with rsp, r14, r15 or the upper halves of the guest's registers changed. See docs/fidelity.md.
 */
#ifndef NOVT_TCACHE_VERIFY_H
#define NOVT_TCACHE_VERIFY_H

#include "translator/translator.h"

struct verifier;

struct verify_in {
    const u8 *code;
    u32 len;
    u32 eip, mode, cs_base; /* of the unit */
    u32 guest_len;
    const struct pcmap *pcmap;
    u32 n_insns;
    const struct unit_link *links;
    u32 n_links, first_link;
    const struct unit_landing *landings;
    u32 n_landings;
    bool crosses;
    /* decoded instructions that TH_EXEC may be given */
    const struct insn *const *kept;
    u32 n_kept;
};

struct verifier *verifier_create(void); /* NULL: no memory */
void verifier_destroy(struct verifier *v);
/* Whether the fragment is safe. If not, *at is the offset of the offending instruction and the returned text
 * of verifier_why() says what is wrong with it. */
bool verify_fragment(struct verifier *v, const struct verify_in *in, u32 *at);
/* Whether these are the bytes of a checked entry (translator/entry.c) that lets pass, to the code behind it,
 * only where page lin >> 12 has the exec-table value `expected`. */
bool verify_entry(const u8 *code, u32 len, u32 check, u32 eip, u32 lin, u32 expected);
const char *verifier_why(const struct verifier *v);
/* Disassembles the fragment for a report. */
void verify_print(struct verifier *v, const struct verify_in *in, u32 mark);

#endif
