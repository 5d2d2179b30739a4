#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the self-checking guest kernel in a VMM and judges it by its exit status and its console text.

    run.py [--vmm PROGRAM] [--qemu] [--timeout S] [--engine E] KERNEL [SUBJECT...] [-- more VMM options]

Exit status 0: every check passed. What failed is printed; -v prints everything.
"""
import argparse
import re
import subprocess
import sys


def main():
    argv, more = sys.argv[1:], []
    if "--" in argv:
        cut = argv.index("--")
        argv, more = argv[:cut], argv[cut + 1:]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmm", default="build/cli/novt")
    parser.add_argument("--qemu", action="store_true", help="run under qemu-system-i386 -accel tcg")
    parser.add_argument("--engine", help="novt's engine")
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--append", default="", help="more words of the kernel's command line")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("kernel")
    parser.add_argument("subject", nargs="*")
    args = parser.parse_args(argv)

    append = ["only=" + ",".join(args.subject)] if args.subject else []
    append += args.append.split()
    if "--lockstep" in more:
        append.append("exact")
    if args.qemu:
        command = ["qemu-system-i386", "-accel", "tcg", "-nic", "none"]
        append.append("peer=qemu")
    else:
        command = [args.vmm] + (["--engine=" + args.engine] if args.engine else [])
    command += ["-kernel", args.kernel, "-append", " ".join(append) or "all", "-m", "64", "-nographic", "-no-reboot",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=4"] + more
    # QEMU is here to check the checks; when a busy host makes its timer late, it may try again.
    for _ in range(3 if args.qemu else 1):
        status = attempt(command, args)
        if status == 0:
            break
    return status


def attempt(command, args):
    try:
        # Two pipes: what novt says at its end must not land in the middle of one of the guest's lines.
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             timeout=args.timeout)
        status, out, said = run.returncode, run.stdout, run.stderr
    except subprocess.TimeoutExpired as late:
        status, out, said = "time is up", late.stdout or b"", late.stderr or b""
    text = out.decode("utf-8", "replace").replace("\r", "")
    passed = len(re.findall(r"^ok ", text, re.M))
    failures = re.findall(r"^FAIL .*", text, re.M)
    summary = re.search(r"^guest: .*", text, re.M)
    # isa-debug-exit turns the value 10h into (10h << 1) | 1.
    good = status == 33 and not failures and summary and passed
    if args.verbose:
        print(text)
    elif failures:
        print("\n".join(failures))
    if not good and not summary:
        print("the last lines were:")
        print("\n".join(text.splitlines()[-15:]))
    if not good and said:
        print("novt said:")
        print("\n".join(said.decode("utf-8", "replace").splitlines()[-40:]))
    print(f"{passed} ok, {len(failures)} failed, exit status {status}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
