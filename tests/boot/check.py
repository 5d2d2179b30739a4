#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots the prepared Linux guest in a VMM and checks what it prints.

The guest runs tools/initramfs/check.sh (novt.run=check on its command line); here the answers are compared with
the host's. One PASS or FAIL line per check, exit status 0 when all pass.

    check.py [options] -- VMM command line...
"""
import argparse
import hashlib
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from console import Console  # noqa: E402

# What a healthy guest never says.
BAD = re.compile(r"kernel panic|\bBUG:|\bOops\b|WARNING: CPU|Call Trace|general protection|segfault|double fault|"
                 r"traps:|invalid opcode|unable to handle|soft lockup|rcu_preempt (self-)?detected|novt: error", re.I)


class Report:
    def __init__(self, name):
        self.name, self.passed, self.failed = name, 0, 0

    def check(self, what, good, detail=""):
        if good:
            self.passed += 1
            print(f"PASS {self.name}{what}")
        else:
            self.failed += 1
            print(f"FAIL {self.name}{what}" + (f": {detail}" if detail else ""))
        sys.stdout.flush()


def sections(lines):
    """{name: (lines, exit status or None)} of the marked parts of the console text."""
    found, name, body = {}, None, []
    for line in lines:
        begin = re.match(r"novt: begin (\S+)", line)
        end = re.match(r"novt: end (\S+) (\d+)", line)
        if begin:
            name, body = begin[1], []
            found[name] = (body, None)
        elif end:
            if end[1] in found:
                found[end[1]] = (found[end[1]][0], int(end[2]))
            name = None
        elif name and not re.match(r"\[ *\d+\.\d+\] ", line):
            body.append(line)
    return found


def host_programs(folder, guest_lines):
    """Runs the same programs with the same work natively: {name: checksum}."""
    sums = {}
    for line in guest_lines:
        match = re.match(r"program (\S+) (\d+)$", line)
        if match and os.path.exists(os.path.join(folder, match[1])):
            out = subprocess.run([os.path.join(folder, match[1]), match[2]], capture_output=True, text=True, timeout=60,
                                 env=dict(os.environ, BENCH_BUSYBOX=os.path.join(folder, "..", "busybox")))
            sums[match[1]] = out.stdout.split()[3] if out.returncode == 0 else "host run failed"
    return sums


def run_check_list(args, report):
    console = Console(args.command, args.timeout, args.log, terminal=not args.no_terminal)
    status = console.finish()
    lines = console.text()
    parts = sections(lines)

    up = next((when for when, line in console.lines if "novt: user space up" in line), None)
    report.check("boots to user space", up is not None, "time is up" if console.timed_out else f"exit status {status}")
    if up is not None:
        print(f"     user space after {up:.2f} s of host time")

    def part(name):
        body, rc = parts.get(name, ([], None))
        return "\n".join(body), rc

    def section_check(name, what, test):
        text, rc = part(name)
        if rc is None:
            report.check(what, False, "the guest did not get there")
        else:
            report.check(what, rc == 0 and test(text), f"status {rc}, said {text[-300:]!r}")

    release = args.release or ""
    section_check("uname", "uname -a", lambda t: t.startswith("Linux novt ") and release in t and "i686" in t)
    section_check("cpuinfo", "cat /proc/cpuinfo", lambda t: "processor\t: 0" in t and re.search(r"^flags\s*:.* tsc ", t, re.M)
                  and "fpu\t\t: yes" in t)
    section_check("mount", "mount", lambda t: "proc on /proc type proc" in t and "dev on /dev type devtmpfs" in t)
    section_check("meminfo", "memory size", lambda t: args.memory * 1024 * 0.8 < int(re.search(r"MemTotal:\s*(\d+)", t)[1])
                  <= args.memory * 1024)
    section_check("interrupts", "timer and serial interrupts arrive",
                  lambda t: re.search(r"^ *0: +[1-9]\d* .*timer", t, re.M) or re.search(r"^LOC: +[1-9]", t, re.M))
    loops, programs = (50, 8) if args.light else (300, 34)
    section_check("forkexec", f"fork/exec loop of {loops}", lambda t: f"ran {loops} programs" in t)
    section_check("pipes", "pipelines", lambda t: "sum 1620" in t)
    pattern = hashlib.sha256("".join(f"{n}\n" for n in range(1, 100001)).encode()).hexdigest()
    section_check("pattern", "dd of a pattern | sha256sum equals the host's", lambda t: t.split()[:1] == [pattern])
    zero = hashlib.sha256(bytes(64 * 1024 * 32)).hexdigest()
    section_check("zero", "dd of zeros | sha256sum equals the host's", lambda t: t.split()[:1] == [zero])
    section_check("copy", "file copies, gzip round trip", lambda t: "copies equal" in t)
    section_check("signals", "signals", lambda t: "trap usr1 status 139" in t)
    sleeping = [when for when, line in console.lines if line.startswith(("novt: begin sleep", "novt: end sleep"))]
    if len(sleeping) == 2:
        took = sleeping[1] - sleeping[0]
        # The guest's timer against the host's clock; upwards there is room for a busy host.
        report.check("sleep 1 takes a second", 0.8 < took < (3.0 if not args.slow else 600), f"took {took:.2f} s of host time")
    text, rc = part("programs")
    guest = {m[1]: m[2] for m in re.finditer(r"^bench (\S+) [\d.]+ (\S+)", text, re.M)}
    host = host_programs(args.programs, text.splitlines()) if args.programs else {}
    for name in sorted(guest):
        if name in host:
            report.check(f"program {name} computes what the host does", guest[name] == host[name],
                         f"guest {guest[name]} host {host[name]}")
    report.check("all programs ran", rc == 0 and len(guest) >= programs, f"status {rc}, {len(guest)} results")
    text, rc = part("date")
    if rc == 0 and text.strip().isdigit() and not args.slow:
        report.check("date", abs(int(text) - time.time()) < 120, f"the guest's clock says {text}")
    bad = [line for line in lines if BAD.search(line)]
    report.check("no complaint by the kernel", not bad, "; ".join(bad[:3]))
    report.check("runs to the end", "novt: check done" in lines, "time is up" if console.timed_out else
                 "last line: " + (lines[-1] if lines else "none"))
    report.check("leaves with status 0", status == 0 and not console.timed_out,
                 "time is up" if console.timed_out else f"status {status}")
    if args.max_rss and console.max_rss_kib:
        report.check("memory use", console.max_rss_kib < args.max_rss * 1024, f"{console.max_rss_kib / 1024:.0f} MiB")
    print(f"     took {console.seconds():.1f} s, peak resident size {(console.max_rss_kib or 0) / 1024:.0f} MiB")
    if report.failed:
        print("---- last lines of the console")
        print("\n".join(lines[-25:]))


def run_shell(args, report):
    """Types at the interactive shell."""
    console = Console(args.command, args.timeout, args.log)
    ready = console.wait_for("novt: shell ready")
    report.check("boots to a shell", ready is not None, "time is up" if console.timed_out else "the VMM ended")
    if ready is not None:
        print(f"     shell after {ready:.2f} s of host time")
        console.wait_for("# ")
        mark = len(console.lines)
        # The quotes make the answer differ from the echo of what was typed.
        console.send("echo sum'='$((6 * 7)); uname -s\r")
        report.check("the shell answers", console.wait_for("sum=42", mark) is not None)
        mark = len(console.lines)
        console.send("sleep 100\r")
        time.sleep(0.5)
        console.send("\x03")
        console.send("echo inter''rupted\r")
        report.check("Ctrl-C interrupts a program", console.wait_for("interrupted", mark) is not None)
        console.send("reboot -f\r")
    status = console.finish()
    report.check("leaves with status 0", status == 0 and not console.timed_out,
                 "time is up" if console.timed_out else f"status {status}")
    if report.failed:
        print("---- last lines of the console")
        print("\n".join(console.text()[-25:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="", help="put before each check's name")
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--programs", help="folder of the i386 programs, to run them on the host too")
    parser.add_argument("--release", help="kernel release that uname must show")
    parser.add_argument("--memory", type=int, default=256, help="MiB that the guest has")
    parser.add_argument("--max-rss", type=int, help="MiB that the VMM may be resident with at its peak")
    parser.add_argument("--log", help="keep the console's text here")
    parser.add_argument("--no-terminal", action="store_true", help="no terminal: input from /dev/null")
    parser.add_argument("--light", action="store_true", help="the guest runs the short list (novt.run=light)")
    parser.add_argument("--slow", action="store_true", help="so slow that the guest loses timer ticks: no clocks compared")
    parser.add_argument("--shell", action="store_true", help="type at the interactive shell instead")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report(args.name + ": " if args.name else "")
    (run_shell if args.shell else run_check_list)(args, report)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
