#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures native, novt and QEMU's TCG side by side and prints medians with their spread.

Every VMM gets the same kernel, initramfs, command line and memory; their runs alternate, so that a machine that is
busy for a while is busy for all. One run of a VMM is one boot (timed by the host up to user space) and then every
program once, timed by the guest's clock and, as a check on that clock, by the host between markers on the console.

Slow engines do less of the same work: each program prints how much it did, and what is compared is seconds a unit.
Results are checked: a program's checksum must be the one that the same work gives natively.
"""
import argparse
import json
import math
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "boot"))
from console import Console  # noqa: E402

# name: (percent of the full work natively and in novt bt, percent in TCG, percent in novt interp)
WORK = {
    "sieve": (100, 25, 4), "crc32": (100, 50, 4), "quicksort": (100, 50, 13), "sha256": (60, 10, 2),
    "fib": (100, 40, 5), "icall": (100, 40, 4),
    "nbody-x87": (100, 2, 1), "nbody-sse2": (100, 10, 1), "matmul-x87": (60, 1, 1), "matmul-sse2": (100, 5, 1),
    "memcopy": (100, 10, 5),
    "getppid": (100, 50, 10), "forkwait": (50, 20, 5), "forkexec": (30, 10, 5), "pingpong": (50, 15, 5),
    "pagefault": (100, 50, 10),
}
GROUPS = {
    "integer": ["sieve", "crc32", "quicksort", "sha256", "fib"],
    "call": ["icall"],
    "fp": ["nbody-x87", "nbody-sse2", "matmul-x87", "matmul-sse2"],
    "memory": ["memcopy"],
    "system": ["getppid", "forkwait", "forkexec", "pingpong", "pagefault"],
}
QUICK = ["sieve", "crc32", "quicksort", "sha256", "fib", "nbody-x87", "nbody-sse2", "matmul-x87", "matmul-sse2", "getppid",
         "forkwait", "pingpong", "pagefault"]
BOOT = "boot"


def percent(engine, program, scale):
    column = {"native": 0, "qemu": 1, "novt-interp": 2}.get(engine, 0)
    return max(1, round(WORK[program][column] * scale))


def vmm_command(args, engine):
    if engine == "qemu":
        command = ["qemu-system-i386", "-accel", "tcg", "-nic", "none"]
    else:
        name, _, switched_off = engine.partition("-no-")
        command = [args.novt, "--engine=" + ("interp" if name == "novt-interp" else "bt")]
        if switched_off:
            command.append("--no-opt=" + switched_off)
    return command


def run_native(args, program, amount):
    out = subprocess.run([os.path.join(args.guest, "bench", program), str(amount)], capture_output=True, text=True,
                         timeout=600, check=True).stdout
    return parse_line(out.strip())


def parse_line(line):
    match = re.match(r"bench (\S+) ([\d.]+) ([0-9a-f]+) (\d+)$", line)
    return match and {"name": match[1], "seconds": float(match[2]), "check": match[3], "work": int(match[4])}


def run_vmm(args, engine, programs, log):
    """One boot. {program or "boot": sample}, facts about the guest, what went wrong."""
    items = ",".join(f"{p}:{percent(engine, p, args.scale)}" for p in programs)
    append = f"console=ttyS0 panic=-1 nokaslr{args.append} novt.run=bench novt.bench={items}"
    command = vmm_command(args, engine) + [
        "-kernel", os.path.join(args.guest, "vmlinuz-" + args.kernel), "-initrd", os.path.join(args.guest, "initramfs.gz"),
        "-m", str(args.memory), "-nographic", "-no-reboot", "-append", append]
    console = Console(command, args.timeout, log, terminal=False)
    status = console.finish()
    samples, facts, trouble, begun = {}, {}, [], {}
    for when, line in console.lines:
        if "novt: user space up" in line and BOOT not in samples:
            samples[BOOT] = {"seconds": when, "host_seconds": when, "work": 1, "check": "-"}
        elif line.startswith("novt: begin "):
            begun[line.split()[2]] = when
        elif line.startswith("novt: end "):
            name, rc = line.split()[2:4]
            if rc != "0":
                trouble.append(f"{name}: status {rc}")
            elif name in samples and name in begun:
                samples[name]["host_seconds"] = when - begun[name]
        elif line.startswith("novt: clocksource"):
            facts["clocksource"] = line.split()[2]
        elif line.startswith("novt: vulnerability "):
            what, _, state = line[len("novt: vulnerability "):].partition(": ")
            facts.setdefault("vulnerabilities", {})[what] = state
        elif line.startswith("bench "):
            sample = parse_line(line)
            if sample:
                samples[sample.pop("name")] = sample
    facts["peak_rss_mib"] = round((console.max_rss_kib or 0) / 1024)
    if console.timed_out:
        trouble.append("time is up")
    elif status != 0:
        trouble.append(f"exit status {status}")
    for program in [BOOT] + programs:
        if program not in samples:
            trouble.append(f"{program}: no result")
    if trouble:
        trouble.append("last line: " + (console.text() or ["none"])[-1])
    return samples, facts, trouble


def per_unit(samples):
    """[seconds a unit of work] of a list of samples."""
    return [s["seconds"] / s["work"] for s in samples]


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def geometric_mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else None


def host_facts(args):
    def first(path, pattern):
        try:
            with open(path) as f:
                match = re.search(pattern, f.read(), re.M)
            return match[1].strip() if match else "?"
        except OSError:
            return "?"

    def said(command):
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.splitlines()[0]
        except (OSError, IndexError, subprocess.SubprocessError):
            return "?"

    return {"cpu": first("/proc/cpuinfo", r"^model name\s*: (.*)"), "cores": os.cpu_count(), "kernel": platform.release(),
            "memory": first("/proc/meminfo", r"^MemTotal:\s*(.*)"), "qemu": said(["qemu-system-i386", "--version"]),
            "novt": said([args.novt, "--version"]), "guest_kernel": first(os.path.join(args.guest, "release-" + args.kernel), r"(.*)"),
            "date": time.strftime("%Y-%m-%d %H:%M:%S %z"), "load": os.getloadavg()}


def duration(seconds):
    if seconds is None:
        return "-"
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def ratio(a, b):
    return a / b if a and b else None


def show(value):
    return "-" if value is None else f"{value:.2f}x" if value < 100 else f"{value:.0f}x"


def report(results, engines, programs, full_work, main_engine):
    """Prints the table; returns the ratios by program."""
    def median(engine, program):
        samples = results.get(engine, {}).get(program)
        # Shown for the full work, so that columns can be compared by eye.
        return statistics.median(per_unit(samples)) * full_work[program] if samples else None

    rows, ratios = [], {}
    for program in [BOOT] + programs:
        cells = []
        for engine in engines:
            samples = results.get(engine, {}).get(program)
            if samples:
                values = [v * full_work[program] for v in per_unit(samples)]
                cells.append(f"{duration(statistics.median(values))} [{duration(min(values))} .. {duration(max(values))}]")
            else:
                cells.append("-")
        native, ours, tcg = (median(e, program) for e in ("native", main_engine, "qemu"))
        ratios[program] = {"novt_native": ratio(ours, native), "tcg_novt": ratio(tcg, ours), "tcg_native": ratio(tcg, native)}
        rows.append([program] + cells + [show(ratios[program][k]) for k in ("novt_native", "tcg_novt", "tcg_native")])
    head = ["program"] + [e + " median [min .. max]" for e in engines] + ["novt/native", "TCG/novt", "TCG/native"]
    widths = [max(len(r[i]) for r in [head] + rows) for i in range(len(head))]
    for row in [head] + rows:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip())
    print()
    means = {}
    for group, members in GROUPS.items():
        members = [p for p in members if p in programs]
        if not members:
            continue
        means[group] = {}
        for key in ("novt_native", "tcg_novt", "tcg_native"):
            values = [ratios[p][key] for p in members if ratios[p][key]]
            means[group][key] = geometric_mean(values) if len(values) == len(members) else None
        print(f"geometric mean, {group} ({len(members)}): novt/native {show(means[group]['novt_native'])}, "
              f"TCG/novt {show(means[group]['tcg_novt'])}, TCG/native {show(means[group]['tcg_native'])}")
    return ratios, means


def main():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer programs, 3 repetitions: under 10 minutes")
    parser.add_argument("--reps", type=int, help="repetitions (5; 3 with --quick)")
    parser.add_argument("--engines", default="native,novt,qemu",
                        help="of native, novt, novt-interp, novt-no-NAME (an optimisation switched off), qemu")
    parser.add_argument("--programs", help="some programs only, by name, or 'none' for the boot alone")
    parser.add_argument("--scale", type=float, default=1.0, help="more or less work")
    parser.add_argument("--kernel", default="686", choices=["686", "686-pae"])
    parser.add_argument("--memory", type=int, default=256, help="guest memory in MiB")
    parser.add_argument("--append", default="", help="more kernel command line (mitigations=off)")
    parser.add_argument("--timeout", type=float, default=600, help="limit of one boot with its programs, seconds")
    parser.add_argument("--floors", action="store_true", help="fail when TCG / novt is below the project's floors")
    parser.add_argument("--json", help="result file (OUT/result.json)")
    parser.add_argument("--novt", default="build/cli/novt", help=argparse.SUPPRESS)
    parser.add_argument("--guest", default="build/guest", help=argparse.SUPPRESS)
    parser.add_argument("--out", default="build/bench", help="folder for results and console logs")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args.append = " " + args.append if args.append else ""
    reps = args.reps or (3 if args.quick else 5)
    engines = args.engines.split(",")
    programs = QUICK if args.quick else list(WORK)
    if args.programs:
        programs = [] if args.programs == "none" else args.programs.split(",")
    for engine in engines:
        if engine not in ("native", "qemu") and not engine.startswith("novt"):
            parser.error(f"unknown engine {engine!r}")
    for program in programs:
        if program not in WORK:
            parser.error(f"unknown program {program!r}; there are: {', '.join(WORK)}")
    os.makedirs(args.out, exist_ok=True)

    facts = {"host": host_facts(args), "guests": {}}
    print(f"{facts['host']['cpu']}, {facts['host']['cores']} cores, {facts['host']['kernel']}; guest {facts['host']['guest_kernel']}, "
          f"{args.memory} MiB; {facts['host']['qemu']}", flush=True)
    results = {engine: {} for engine in engines}
    troubles, expected = [], {}

    def expect(program, amount):
        """The checksum and work of a native run of that much work, run once."""
        if (program, amount) not in expected:
            sample = run_native(args, program, amount)
            expected[program, amount] = sample["check"], sample["work"]
        return expected[program, amount]

    full_work = {p: expect(p, 100)[1] for p in programs}
    full_work[BOOT] = 1
    started = time.monotonic()
    for rep in range(reps):
        # The order turns with each repetition.
        for engine in engines[rep % len(engines):] + engines[:rep % len(engines)]:
            t0 = time.monotonic()
            if engine == "native":
                samples = {}
                for p in programs:
                    samples[p] = run_native(args, p, percent(engine, p, args.scale))
                    samples[p].pop("name")
            else:
                samples, guest, trouble = run_vmm(args, engine, programs, os.path.join(args.out, f"{engine}-{rep}.log"))
                troubles += [f"{engine}, repetition {rep + 1}: {t}" for t in trouble]
                facts["guests"].setdefault(engine, []).append(guest)
            for program, sample in samples.items():
                if program != BOOT:
                    check, _ = expect(program, percent(engine, program, args.scale))
                    if sample["check"] != check:
                        troubles.append(f"{engine}: {program} computed {sample['check']}, natively {check}")
                        continue
                results[engine].setdefault(program, []).append(sample)
            print(f"  repetition {rep + 1}/{reps}: {engine} took {time.monotonic() - t0:.1f} s", flush=True)

    print(f"\nTimes for the full work; {reps} repetitions, alternating; {time.monotonic() - started:.0f} s in all\n")
    main_engine = next((e for e in engines if e.startswith("novt")), "novt")
    ratios, means = report(results, engines, programs, full_work, main_engine)

    for engine, runs in facts["guests"].items():
        sources = sorted({g.get("clocksource", "?") for g in runs})
        # A clock that runs slow would flatter: compare with the host's over the programs that took long enough.
        drift = [s["seconds"] / s["host_seconds"] for p, ss in results[engine].items() if p != BOOT
                 for s in ss if s.get("host_seconds", 0) > 0.5]
        text = f"{min(drift):.3f} .. {max(drift):.3f}" if drift else "-"
        print(f"{engine}: guest clock {', '.join(sources)}, guest seconds / host seconds {text}; "
              f"peak resident {max(g['peak_rss_mib'] for g in runs)} MiB")
        if any(not 0.9 < d < 1.1 for d in drift):
            troubles.append(f"{engine}: the guest's clock disagrees with the host's")
    seen = {e: runs[0].get("vulnerabilities", {}) for e, runs in facts["guests"].items() if runs}
    for engine, states in seen.items():
        print(f"{engine}: mitigations: " + "; ".join(f"{k}: {v}" for k, v in states.items() if v != "Not affected"))
    floors = [("boot", ratios.get(BOOT, {}).get("tcg_novt"), 1.0), ("integer", means.get("integer", {}).get("tcg_novt"), 2.0),
              ("fp", means.get("fp", {}).get("tcg_novt"), 20.0), ("getppid", ratios.get("getppid", {}).get("tcg_novt"), 2.0)]
    below = []
    print()
    for what, value, floor in floors:
        if value is not None:
            print(f"floor: {what}: TCG / novt {show(value)}, at least {show(floor)}: {'met' if value >= floor else 'NOT met'}")
            if value < floor:
                below.append(what)
    for trouble in troubles:
        print("TROUBLE:", trouble)
    path = args.json or os.path.join(args.out, "result.json")
    with open(path, "w") as f:
        json.dump({"facts": facts, "options": {k: v for k, v in vars(args).items()}, "repetitions": reps, "full_work": full_work,
                   "samples": results, "medians": {e: {p: spread(per_unit(s)) for p, s in r.items()} for e, r in results.items()},
                   "ratios": ratios, "geometric_means": means, "trouble": troubles}, f, indent=1)
    print(f"written: {path}")
    return 1 if troubles or (args.floors and below) else 0


if __name__ == "__main__":
    sys.exit(main())
