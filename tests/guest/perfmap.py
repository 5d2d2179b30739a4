#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks what --perf-map writes, without perf: the format, that no two entries overlap, and the names.

    perfmap.py [--vmm PROGRAM] KERNEL
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile


def run(args, where, *more, only="flow"):
    """[(start, size, name)] of a run of a test of the guest kernel."""
    path = os.path.join(where, "map")
    done = subprocess.run([args.vmm, "-kernel", args.kernel, "-append", f"only={only}", "-m", "64", "-nographic", "-no-reboot",
                           "-device", "isa-debug-exit,iobase=0xf4,iosize=4", f"--perf-map={path}", *more],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)
    assert done.returncode == 33, (done.returncode, done.stderr.decode()[-500:])
    with open(path) as f:
        lines = f.read().splitlines()
    entries = []
    for line in lines:
        match = re.fullmatch(r"([0-9a-f]+) ([0-9a-f]+) (\S+)", line)
        assert match, f"not a line of a perf map: {line!r}"
        entries.append((int(match[1], 16), int(match[2], 16), match[3]))
    assert entries, "the map is empty"
    end = 0
    for start, size, name in sorted(entries):
        assert size and start >= end, f"{name} at {start:x} overlaps what is before it"
        end = start + size
    return entries


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmm", default="build/cli/novt")
    parser.add_argument("kernel")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        names = {name for _, _, name in run(args, where)}
        assert {"kmain", "puts", "test_flow"} <= names, f"functions of the kernel are missing: {sorted(names)}"
        # A list of symbols takes the place of the kernel's own; what lies before the first has none.
        symbols = os.path.join(where, "System.map")
        with open(symbols, "w") as f:
            f.write("00100000 T everything\nnot a symbol\n00fff000 t far_away\t[module]\n")
        names = {name for _, _, name in run(args, where, f"--symbols={symbols}")}
        assert names == {"everything"}, sorted(names)
        with open(symbols, "w") as f:
            f.write("f0000000 T elsewhere\n")
        names = {name for _, _, name in run(args, where, f"--symbols={symbols}")}
        assert names and all(re.fullmatch(r"guest_001[0-9a-f]{5}", n) for n in names), sorted(names)
        # Several files: a kernel and its programs.
        names = {name for _, _, name in run(args, where, f"--symbols={symbols}", f"--symbols={args.kernel}")}
        assert {"kmain", "puts", "test_flow"} <= names and "elsewhere" not in names, sorted(names)
        # The cache is flushed: what is left is the last filling, still without overlaps.
        run(args, where, "--tcache-size=1M", "--no-opt=all")
        # Copies are: all else stays.
        stats = os.path.join(where, "stats.json")
        entries = run(args, where, "--tcache-size=32M", f"--stats={stats}", only="smc")
        with open(stats) as f:
            found = json.load(f)
        assert found["tc_copy_flushes"] > 0 and not found["tc_flushes"], "not what was meant: copies alone were to be flushed"
        assert {"kmain", "test_smc"} <= {name for _, _, name in entries}, "what is no copy is missing"
        for content in (b"", b"\x7fELF", b"\x7fELF" + bytes(100), b"no symbols\n"):
            with open(symbols, "wb") as f:
                f.write(content)
            bad = subprocess.run([args.vmm, "-kernel", args.kernel, f"--symbols={symbols}", "-nographic"],
                                 stdin=subprocess.DEVNULL, capture_output=True, timeout=100, text=True)
            assert bad.returncode not in (0, 33) and "--symbols" in bad.stderr, (bad.returncode, bad.stderr)
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
