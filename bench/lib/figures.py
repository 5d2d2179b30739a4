# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures that the project promises, each with its bound, computed from a run's samples.

A figure is a row: what, which ratio, the bound, the value, what it consists of, and whether it is reached: True, False,
or None when the run did not measure it. Ratios are of medians. "geometric" figures are the geometric mean over a group;
"each" figures must hold for every member, so their value is the worst one.
"""
from .programs import BOOT, members
from .nano import SENSITIVE
from .stats import geometric_mean
from .vmm import CODE_CACHE

# Sessions (lib/sessions.py) by name; "nano" has cycles in place of seconds a unit.
NATIVE, NOVT, TCG = "native", "novt", "qemu"
# Binary translation's figures in the literature, cycles (Adams and Agesen, ASPLOS 2006).
PUBLISHED = {"pte_write": 391, "fault_page": 3927, "fault_divide": 3223}
PLOTTED = dict(PUBLISHED, call_ret=51, cr0_write=35, in_80=214)
# The single operations that count as workloads; the others are there to explain these.
NANO_WORKLOADS = SENSITIVE + ["int80", "sysenter", "call_ret", "call_ind", "call_ind4", "fault_page", "fault_page_write", "fault_page_user",
                              "fault_page_fix", "fault_divide", "fault_divide_user", "pte_write", "pte_write_use", "invlpg",
                              "invlpg_touch", "cr3_reload", "hlt_wake", "timer_irq"]
# Traps a thousand operations below which there is no steady state of trapping: a timer tick or a page fault of the process.
TRAPS_NOISE = 10


def holds(value, sense, bound):
    return value >= bound if sense == ">=" else value < bound if sense == "<" else value <= bound


def row(what, ratio, sense, bound, value, parts, unit="x"):
    return {"figure": what, "ratio": ratio, "sense": sense, "bound": bound, "value": value, "unit": unit,
            "parts": [{"name": n, "value": v} for n, v in parts],
            "reached": None if value is None else holds(value, sense, bound)}


def geometric(run, what, names, ratio, sense, bound, session="main"):
    a, b = (NOVT, NATIVE) if ratio == "novt / native" else (TCG, NOVT)
    parts = run.ratios(session, a, b, names)
    return row(what + ", geometric mean", ratio, sense, bound, geometric_mean([v for _, v in parts]), parts)


def each(run, what, names, ratio, sense, bound, session="main", novt=NOVT):
    a, b = (novt, NATIVE) if ratio == "novt / native" else (TCG, novt)
    parts = run.ratios(session, a, b, names)
    values = [v for _, v in parts]
    worst = None if not values or None in values else max(values) if sense == "<=" else min(values)
    return row(what, ratio, sense, bound, worst, parts)


def cycles(run, what, names):
    """Each of the operations takes fewer cycles than the published figure of the first."""
    bound = PUBLISHED[names[0]]
    parts = [(name, run.median("nano", NOVT, name)) for name in names]
    values = [v for _, v in parts]
    more = [("TCG: " + names[0], run.median("nano", TCG, names[0])), ("published BT", bound)]
    return row(what, "cycles, novt", "<", bound, None if None in values else max(values), parts + more, unit="")


def traps(found):
    """How many of the nano operations need the host each time."""
    parts = [(name, per_thousand) for name, per_thousand in (found or {}).items() if per_thousand >= TRAPS_NOISE]
    return row("nano: those of them that trap to the host in steady state", "operations", "<=", 0,
               len(parts) if found and len(found) == len(SENSITIVE) else None, parts, unit="")


def slower_than_tcg(run):
    """How many workloads of the suite are slower than TCG, over all sessions that have both."""
    parts, slow = [], []
    for session in run.samples:
        for program in run.programs(session):
            value = run.ratio(session, TCG, NOVT, program)
            if value is not None and (session != "nano" or program in NANO_WORKLOADS):
                parts.append((f"{program}" if session == "main" else f"{program} ({session})", value))
                if value < 1:
                    slow.append(parts[-1])
    return row("workloads in the suite slower than TCG", "TCG / novt < 1", "<=", 0, len(slow) if parts else None,
               slow or sorted(parts, key=lambda p: p[1])[:3], unit="")


def figures(run, programs, found_traps=None):
    def group(name):
        return members(programs, name)

    getppid, forks = ["getppid", "getppid-sysenter"], ["forkwait", "forkexec"]
    rows = [
        geometric(run, "user integer", group("integer"), "novt / native", "<=", 1.15),
        geometric(run, "user integer", group("integer"), "TCG / novt", ">=", 5.5),
        geometric(run, "user FP", group("fp"), "novt / native", "<=", 1.05),
        geometric(run, "user FP", group("fp"), "TCG / novt", ">=", 50),
        each(run, "call-heavy, each of recursion, indirect calls, callbacks", group("call"), "novt / native", "<=", 1.3),
        each(run, "each of memcpy, memset, rep movs, rep stos, repne scas", group("memory"), "novt / native", "<=", 1.1),
        each(run, "getppid, each of int 0x80, sysenter", getppid, "novt / native", "<=", 0.5),
        each(run, "getppid, each of int 0x80, sysenter", getppid, "TCG / novt", ">=", 6),
        each(run, "getppid, PAE guest with PTI on", getppid, "TCG / novt", ">=", 20, session="pae"),
        each(run, "pipe ping-pong", ["pingpong"], "novt / native", "<=", 1.0),
        each(run, "pipe ping-pong", ["pingpong"], "TCG / novt", ">=", 12),
        each(run, "each of fork+wait, fork+exec+wait", forks, "novt / native", "<=", 3),
        each(run, "each of fork+wait, fork+exec+wait", forks, "TCG / novt", ">=", 2.5),
        each(run, "page-fault loop", ["pagefault"], "novt / native", "<=", 2.5),
        each(run, "page-fault loop", ["pagefault"], "TCG / novt", ">=", 3),
        each(run, "nano: each of cli/sti, pushf/popf, port in, control-register write, CR3 switch", SENSITIVE, "TCG / novt", ">=", 2,
             session="nano"),
        traps(found_traps),
        each(run, "nano: call/ret pair", ["call_ret"], "novt / native", "<=", 1.5, session="nano"),
        cycles(run, "nano: PTE write, of unused and used pages", ["pte_write", "pte_write_use"]),
        cycles(run, "nano: guest page fault, each kind", ["fault_page", "fault_page_write", "fault_page_user", "fault_page_fix"]),
        cycles(run, "nano: divide fault, in ring 0 and 3", ["fault_divide", "fault_divide_user"]),
        each(run, "gcc compile, the first since the guest booted", ["compile"], "novt / native", "<=", 1.6, session="cc"),
        each(run, "the same with --code-cache, filled by a run before", ["compile"], "novt / native", "<=", 1.6, session="cc",
             novt=CODE_CACHE),
        each(run, "gcc compile, later ones", ["compile-later"], "novt / native", "<=", 1.6, session="cc"),
        each(run, "gcc compile, one long file", ["compile-long"], "novt / native", "<=", 1.6, session="cc"),
        each(run, "gcc compile, each", ["compile", "compile-later", "compile-long"], "TCG / novt", ">=", 4, session="cc"),
        each(run, "Debian boot to shell", [BOOT], "TCG / novt", ">=", 3),
        slower_than_tcg(run),
    ]
    return rows


def verdict(entry):
    return {True: "reached", False: "NOT reached", None: "not measured"}[entry["reached"]]
