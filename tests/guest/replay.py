#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Records a run of the guest kernel and repeats it from the log with both engines.

    replay.py --vmm PROGRAM KERNEL SUBJECT [-- more options of novt]

Each replay must execute the same instructions to the same end. A damaged log must be refused, not crash.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile


def run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmm", required=True)
    parser.add_argument("kernel")
    parser.add_argument("subject")
    parser.add_argument("more", nargs="*")
    args = parser.parse_args()
    base = [args.vmm, "-kernel", args.kernel, "-append", "exact only=" + args.subject, "-m", "64", "-nographic", "-no-reboot",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4"] + args.more
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log")
        status, text = run(base + ["--record", log])
        print(f"record: exit status {status}, {os.path.getsize(log)} bytes")
        bad += status != 33
        counts = set()
        for engine in ("interp", "bt"):
            status, text = run(base + ["--engine", engine, "--replay", log])
            match = re.search(r"replay: (\d+) instructions, the same end", text)
            print(f"{engine}: exit status {status}, {match[1] if match else text[-600:]}")
            bad += status != 0 or not match
            counts.add(match[1] if match else None)
        bad += len(counts) != 1
        data = bytearray(open(log, "rb").read())
        for where in (64 + 32 * 40, len(data) // 2):
            broken = bytearray(data)
            broken[where + 8] ^= 0x41  # a value: the run goes another way or the check notices
            broken[where + 28] ^= 0x03  # a kind
            with open(log, "wb") as out:
                out.write(broken)
            status, text = run(base + ["--engine", "interp", "--replay", log])
            print(f"damaged at {where}: exit status {status}")
            bad += status != 10
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
