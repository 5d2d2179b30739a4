/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Optimisation switches: one bit each, cleared by --no-opt=NAME (or --no-opt=all). */
#ifndef NOVT_BASE_OPTS_H
#define NOVT_BASE_OPTS_H

#include "base/types.h"

#define OPT_LIST(X)                                                                                          \
    X(chain, "chain fragments with direct jumps within a page")                                              \
    X(xpage, "chain fragments across pages with a checked jump")                                             \
    X(kdirect, "in a kernel's window, chain across pages without a check, until one of them is mapped anew") \
    X(ibtc, "look indirect branch targets up in translated code")                                            \
    X(ras, "guest calls and returns as host calls and returns, for the host's return prediction")            \
    X(ofcheck, "compare where flags may be live by an addition that changes OF alone, on hosts with ADX")    \
    X(superblock, "continue a unit past conditional branches")                                               \
    X(jumpthrough, "continue a unit past jumps to further down in its page")                                 \
    X(profile, "translations for --code-cache are laid along the arms that conditional branches took")       \
    X(callthrough, "continue a unit past calls, so that a return lands in the code behind its call")         \
    X(retpoline, "calls over a trap and returns to what was just stored leave the host's returns alone")     \
    X(spmerge, "in window form, change esp once for a run of pushes and pops")                               \
    X(flags, "skip saving flags that are dead or already saved")                                             \
    X(align, "loops begin at the start of a cache line in window form")                                      \
    X(inline_sens, "inline sequences for cli, sti, pushf and friends")                                       \
    X(inline_sys, "inline sequences for popf, control registers and reads of simple ports")                  \
    X(quickports, "reads of the timer's ports call the device straight from translated code")                \
    X(segload, "segment loads, verw and rdtsc without leaving translated code")                              \
    X(cr3, "changes of the address space without the interpreter")                                           \
    X(fxstate, "fxsave and fxrstor without leaving translated code")                                         \
    X(gates, "entries through gates and irets that were checked before")                                     \
    X(rfahead, "RF after a fault handler's iret needs no step by the interpreter")                           \
    X(string, "fast paths for repeated string instructions")                                                 \
    X(shortrep, "in window form, a few doublewords are copied or stored one by one, on Intel's processors")  \
    X(memo, "the translator decodes instructions like those that it has seen from templates")                \
    X(icache, "cache decoded instructions in the interpreter")                                               \
    X(largefill, "fill runs of shadow entries for large guest pages at once")                                \
    X(clonefill,                                                                                             \
      "copy shadow entries of the kernel's half from another address space that has the same tables")        \
    X(execaround, "pages of code around one that begins to be executed are there, too, without a look-up")   \
    X(ptfollow, "the shadow follows a change of a page table entry in use, in place of forgetting the page") \
    X(ptstore, "a write to a page table is done where it was noticed, and its watcher told")                 \
    X(reuse, "code at another address is copied from its translation there, not translated again")           \
    X(follow, "what a copy's exits led to before is copied and chained at once")                             \
    X(largepages, "translated code and its tables are in large pages of the host")                           \
    X(memahead, "a thread finds memory for translated code before it is needed")                             \
    X(window, "window-form memory operands for address spaces that run long")                                \
    X(winaround, "map what is known of the pages around into the window, too")                               \
    X(windefer, "pages that leave the window of a program that is not running are unmapped together, when "  \
                "it runs again")                                                                             \
    X(winkeep, "pages of a window that a fork made read-only stay mapped")                                   \
    X(winlocal, "kernels that do not map themselves global (page-table isolation) have a window, too")       \
    X(winlow, "one program's window at a time is the host's lowest 4 GiB, and needs no segment")             \
    X(addr64,                                                                                                \
      "in the low window, operands that hardly ever wrap at 4 GiB have 64-bit addresses, on Intel's "        \
      "processors and Zen 4")                                                                                \
    X(winholes, "window pages that are not mapped are holes in the address space, not reserved memory")      \
    X(wintables, "keep pages that were page tables a moment ago out of windows")                             \
    X(winfleeting, "keep addresses where a kernel maps one page after another out of its window")            \
    X(winagain, "store loops that met a page table have window form again when it is one no more")           \
    X(faultsites, "no host signals at divisions and window operands that keep faulting in the guest")        \
    X(apart, "the event thread keeps off the host processor that the CPU's thread runs on")                  \
    X(wakeup, "a halted CPU wakes up by itself for the guest's timers")                                      \
    X(softstep,                                                                                              \
      "a kick inside of a guest instruction is rolled back or forward by software, without single steps")    \
    X(keepspaces, "keep shadow address spaces across CR3 switches")

enum opt_bit {
#define X(name, desc) OPT_BIT_##name,
    OPT_LIST(X)
#undef X
        OPT_BIT_COUNT
};
#define OPT(name) (1ull << OPT_BIT_##name)
#define OPT_ALL   (~0ull >> (64 - OPT_BIT_COUNT))

/* Clears the bits named in "a,b,c" from *opts ("all" clears every bit). Returns 0, or -EINVAL with *bad set
 * to the unknown name. */
int opts_disable(u64 *opts, const char *list, const char **bad);
void opts_list(void); /* prints the switches and what they do */

#endif
