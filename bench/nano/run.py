#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Times what an operating system asks of its processor, in cycles: native, novt, QEMU's TCG, side by side.

    run.py                         # a table: medians of all engines, beside published figures and targets
    run.py --check                 # no host traps in steady state: counters at two iteration counts
    run.py --test cli_sti,in_80 --engines novt,qemu

Every VMM boots the same kernel (nano.elf), which times itself; their runs alternate. What a column shows is the median over the
runs of each run's median; the JSON file (--out) has minimum and maximum, too. "native" is the same code as a Linux
program, where user space can do it at all.
"""
import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile

# Adams and Agesen, ASPLOS'06: cycles of a software VMM (BT) on a Pentium 4; second hand.
PUBLISHED = {"call_ret": 51, "cr0_write": 35, "pte_write": 391, "fault_page": 3927, "fault_divide": 3223, "in_80": 214}
# Limits: (kind, value). "tcg": TCG / novt at least; "native": novt / native at most; "cycles": fewer than.
LIMITS = {
    "call_ret": [("native", 1.5)], "pushf_popf": [("tcg", 2)], "cli_sti": [("tcg", 2)], "in_80": [("tcg", 2)],
    "in_pit": [("tcg", 2)], "in_uart": [("tcg", 2)], "in_pic": [("tcg", 2)], "cr0_write": [("tcg", 2)],
    "cr0_ts_clts": [("tcg", 2)], "cr2_write": [("tcg", 2)], "cr4_write": [("tcg", 2)], "cr3_reload": [("tcg", 2)],
    "cr3_switch": [("tcg", 2)], "pte_write": [("cycles", 391)], "pte_write_use": [("cycles", 391)],
    "fault_page": [("cycles", 3927)], "fault_page_write": [("cycles", 3927)], "fault_page_user": [("cycles", 3927)],
    "fault_page_fix": [("cycles", 3927)], "fault_divide": [("cycles", 3223)], "fault_divide_user": [("cycles", 3223)],
}
# What must not need the host, however often it is done.
TRAPLESS = ["rdtsc", "call_ret", "call_ind", "call_ind4", "pushf_popf", "pushf_popf_user", "cli_sti", "irqsave", "in_80",
            "in_pit", "in_uart", "in_pic", "out_80", "out_pic", "cr0_read", "cr0_write", "cr0_ts_clts", "cr2_write",
            "cr4_write", "cr3_reload", "cr3_switch", "invlpg", "invlpg_touch", "pte_write", "pte_write_use", "fault_page",
            "fault_page_write", "fault_page_user", "fault_divide", "fault_divide_user", "fault_ud", "int80", "sysenter",
            "int_iret", "iret", "mov_ds", "mov_ds_user", "push_pop_es", "sgdt", "sidt", "lidt", "str"]
TRAPS = ["host_signals", "window_maps", "window_drops", "window_protects"]
OPS = 16  # in ops.h: operations a round
CHECK_OPS = (32000, 160000)  # of the two runs that are compared


def command(args, engine, append, more=()):
    if engine == "qemu":
        start = ["qemu-system-i386", "-accel", "tcg", "-nic", "none"]
    else:
        name, _, off = engine.partition("-no-")
        start = [args.novt, "--engine=" + ("interp" if name == "novt-interp" else "bt")]
        if off:
            start.append("--no-opt=" + off)
    return start + ["-kernel", args.kernel, "-append", append, "-m", "64", "-nographic", "-no-reboot",
                    "-device", "isa-debug-exit,iobase=0xf4,iosize=4"] + list(more)


def call(argv, timeout, good):
    try:
        run = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    except subprocess.TimeoutExpired as late:
        text = (late.stdout or b"").decode("utf-8", "replace")
        sys.exit(f"{argv[0]}: not done after {timeout} s; its last line: {(text.splitlines() or ['none'])[-1]}")
    text = run.stdout.decode("utf-8", "replace").replace("\r", "")
    if run.returncode != good:
        sys.exit(f"{' '.join(argv)}: exit status {run.returncode}\n{text[-500:]}\n{run.stderr.decode()[-500:]}")
    return text


def parse(text):
    """{name: (median, minimum, maximum)} in cycles."""
    return {m[1]: tuple(float(m[n]) for n in (2, 3, 4))
            for m in re.finditer(r"nano (\S+) ([\d.]+) ([\d.]+) ([\d.]+)$", text, re.M)}


def run_engine(args, engine):
    if engine == "native":
        return parse(call([args.user], args.timeout, 0))
    append = f"pages={args.pages}" + (f" test={args.test}" if args.test else "")
    text = call(command(args, engine, append), args.timeout, 33)
    if "nano: done" not in text:
        sys.exit(f"{engine}: the kernel did not finish:\n{text[-500:]}")
    return parse(text)


def measure(args):
    engines = args.engines.split(",")
    runs = {e: [] for e in engines}
    for n in range(args.repetitions):
        for e in engines if n % 2 == 0 else reversed(engines):
            runs[e].append(run_engine(args, e))
    names = list(dict.fromkeys(name for e in reversed(engines) for run in runs[e][:1] for name in run))
    result = {}
    for name in names:
        for e in engines:
            got = [run[name] for run in runs[e] if name in run]
            if got:
                result.setdefault(name, {})[e] = {
                    "median": statistics.median(g[0] for g in got), "min": min(g[1] for g in got),
                    "max": max(g[2] for g in got), "runs": [g[0] for g in got]}
    return engines, result


def verdict(name, row):
    """[(text, met or None)] of the limits of this operation."""
    base, out = name.partition("@")[0], []
    novt = row.get("novt", {}).get("median")
    for kind, value in LIMITS.get(base, []):
        if kind == "cycles":
            text, met = f"< {value}", None if novt is None else novt < value
        else:
            other = row.get({"tcg": "qemu", "native": "native"}[kind], {}).get("median")
            text = f"{'TCG/novt >=' if kind == 'tcg' else 'novt/native <='} {value}"
            met = None
            if novt and other:
                met = other / novt >= value if kind == "tcg" else novt / other <= value
        out.append((text, met))
    return out


def show(engines, result):
    head = ["operation"] + engines + (["qemu/novt"] if {"novt", "qemu"} <= set(engines) else []) + ["published", "limit", ""]
    rows = []
    for name, row in result.items():
        line = [name] + [f"{row[e]['median']:.1f}" if e in row else "-" for e in engines]
        if "qemu/novt" in head:
            novt, qemu = (row.get(e, {}).get("median") for e in ("novt", "qemu"))
            line.append(f"{qemu / novt:.2f}" if novt and qemu else "-")
        limits = verdict(name, row)
        line += [str(PUBLISHED.get(name.partition("@")[0], "-")), ", ".join(t for t, _ in limits) or "-",
                 " ".join({True: "met", False: "MISSED", None: "?"}[m] for _, m in limits)]
        rows.append(line)
    width = [max(len(r[c]) for r in [head] + rows) for c in range(len(head))]
    for r in [head] + rows:
        print("  ".join(x.ljust(w) if c in (0, len(head) - 2, len(head) - 1) else x.rjust(w)
                        for c, (x, w) in enumerate(zip(r, width))).rstrip())


def traps(args, name, rounds):
    """What the run asked of the host, by novt's counters and the host kernel's."""
    with tempfile.TemporaryDirectory() as where:
        stats = os.path.join(where, "stats.json")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        text = call(command(args, "novt", f"test={name} pages={args.pages} rounds={rounds} samples=1",
                            [f"--stats={stats}"] + args.more), args.timeout, 33)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if not re.search(rf"^nano {name} ", text, re.M):
            return None
        with open(stats) as f:
            counters = json.load(f)
    return {**{t: counters[t] for t in TRAPS}, "minor_faults": after.ru_minflt - before.ru_minflt}


def check_rounds(name):
    """Rounds of the two runs; each does them twice, to warm up and to measure."""
    return tuple(n // (2 * (2 if name == "cr3_switch" else OPS)) for n in CHECK_OPS)


def check(args):
    """An operation that traps does so each time; what differs by less than one in a hundred is noise."""
    if args.pages == "4k,4m":
        args.pages = "4k"
    names = args.test.split(",") if args.test else TRAPLESS
    bad = 0
    for name in names:
        few, many = (traps(args, name, rounds) for rounds in check_rounds(name))
        if few is None or many is None:
            print(f"FAIL {name}: the kernel knows no such operation")
            bad += 1
            continue
        more_ops = CHECK_OPS[1] - CHECK_OPS[0]
        extra = {t: many[t] - few[t] for t in many}
        trapped = {t: n for t, n in extra.items() if n > more_ops / 100}
        bad += bool(trapped)
        print(f"{'FAIL' if trapped else 'ok'} {name}: {more_ops} more operations, {extra['host_signals']} more host signals, "
              f"{sum(extra[t] for t in TRAPS[1:])} more mappings, {extra['minor_faults']} more minor faults", flush=True)
    print(f"{len(names) - bad} of {len(names)} operations run without host traps")
    return 1 if bad else 0


def main():
    build = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build")
    argv, more = sys.argv[1:], []
    if "--" in argv:
        cut = argv.index("--")
        argv, more = argv[:cut], argv[cut + 1:]
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--novt", default=os.path.join(build, "cli/novt"))
    p.add_argument("--kernel", default=os.path.join(build, "bench/nano/nano.elf"))
    p.add_argument("--user", default=os.path.join(build, "bench/nano/nano-user"))
    p.add_argument("--engines", default="native,novt,novt-interp,qemu",
                   help="native, novt, novt-interp, novt-no-OPTIMISATION, qemu (default: %(default)s)")
    p.add_argument("--test", help="these operations only")
    p.add_argument("--pages", default="4k,4m", help="the kernel's own pages: 4k, 4m or both (default: %(default)s)")
    p.add_argument("--repetitions", type=int, default=3)
    p.add_argument("--timeout", type=float, default=300, help="seconds a run may take (default: %(default)s)")
    p.add_argument("--out", help="folder for nano.json")
    p.add_argument("--check", action="store_true", help="count host traps instead of timing")
    args = p.parse_args(argv)
    args.more = more
    if args.check:
        return check(args)
    engines, result = measure(args)
    show(engines, result)
    if args.out:
        os.makedirs(args.out, exist_ok=True)
        cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
        with open(os.path.join(args.out, "nano.json"), "w") as f:
            json.dump({"host": {"cpu": cpu, "kernel": platform.release()}, "repetitions": args.repetitions,
                       "unit": "cycles", "published": PUBLISHED, "result": result,
                       "limits": {n: verdict(n, r) for n, r in result.items() if verdict(n, r)}}, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
