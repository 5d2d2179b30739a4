#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares two console logs of the same guest up to user space, but for timing and addresses.

    compare.py [--show] LOG1 LOG2

Two engines must show the guest the same machine: the same kernel messages, apart from what depends on speed.
"""
import collections
import re
import sys

# Messages that depend on how fast the machine is, or on when something happened.
TIMING = re.compile(r"random: |crng|tsc: |TSC|clocksource|Calibrating delay|BogoMIPS|rtc_cmos .*setting system clock|sched_clock|"
                    r"Unstable clock|local clock|trace_clock|[kK]ernel command line|Command line:|workingset|audit: type=|hrtimer|"
                    r"perf: interrupt took|quirk_\w+\+.* took|rcu: .*(stall|took)|Freeing initrd|raid6|xor: |prng|APIC timer|PM-Timer running|"
                    r"APIC (frequency|delta)|PM-Timer delta|lapic delta")


def normal(line):
    line = re.sub(r"^\[ *\d+\.\d+\] ", "", line)
    line = re.sub(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{8,16}\b", "ADDRESS", line, flags=re.I)
    line = re.sub(r"\b\d+(\.\d+)? ?([mun]?secs?|[mu]s|s|MHz|ns|cycles)\b", "TIME", line)
    line = re.sub(r"\d+K/\d+K available.*", "MEMORY", line)
    return line.strip()


def messages(path):
    with open(path, "rb") as f:
        text = f.read().decode("utf-8", "replace").replace("\r", "")
    lines = []
    for line in text.split("\n"):
        if "novt: user space up" in line:
            break
        if line.startswith("[") and not TIMING.search(line):
            lines.append(normal(line))
    return lines


def main():
    paths = [a for a in sys.argv[1:] if not a.startswith("-")]
    if len(paths) != 2:
        sys.exit(__doc__)
    one, two = (collections.Counter(messages(p)) for p in paths)
    only_one, only_two = one - two, two - one
    for name, only in zip(paths, (only_one, only_two)):
        for line, count in sorted(only.items()):
            print(f"only in {name}{f' ({count} times)' if count > 1 else ''}: {line}")
    total = sum(one.values())
    different = sum(only_one.values()) + sum(only_two.values())
    print(f"{total} messages compared, {different} differences")
    return 1 if different or total < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
