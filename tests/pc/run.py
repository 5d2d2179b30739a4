#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs boot-sector programs in novt or under QEMU and judges their reports and their screens.

    run.py [--vmm PROGRAM] [--qemu] [--engine E] [--timeout S] [--update] [-v] IMAGE... [-- more VMM options]

A program reports on COM1 ("ok NAME", "FAIL NAME: got X, want Y"), asks for its screen to be looked at ("screen NAME")
or for a medium to be changed ("media WHAT"), and leaves through isa-debug-exit. A screen is compared with tests/pc/screens/NAME.png, which shows what QEMU shows.
Exit status 0: every check of every program passed. --update (with --qemu) writes new reference screens.
"""
import argparse
import json
import os
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

import disks
import picture

HERE = os.path.dirname(os.path.abspath(__file__))
SCREENS = os.path.join(HERE, "screens")
EXIT_GOOD = 33
# Screens that QEMU is known to draw otherwise than the hardware would.
QEMU_GAPS = {
    "vga13mask": "QEMU has no DAC mask register (3C6h); the reference is vga13pal with each colour looked up again",
}


class Qmp:
    """Just enough of QMP to ask for the screen."""

    def __init__(self, path, limit):
        self.sock = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + limit
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.sock.settimeout(20)
        self.file = self.sock.makefile("rw")
        self.file.readline()
        self.call("qmp_capabilities")

    def call(self, command, **args):
        self.file.write(json.dumps({"execute": command, "arguments": args}) + "\n")
        self.file.flush()
        while True:
            line = self.file.readline()
            if not line:
                raise OSError("QMP closed")
            answer = json.loads(line)
            if "return" in answer or "error" in answer:
                return answer


class Machine:
    """One program in one VM."""

    def __init__(self, args, image, work):
        self.args, self.work = args, work
        name = os.path.basename(image).rsplit(".", 1)[0]
        self.shot = os.path.join(work, "screen.png")
        self.qmp = None
        command = ["-m", "16", "-serial", "stdio", "-display", "none", "-drive",
                   "file=%s,format=raw,if=floppy,snapshot=on" % image, "-boot", "a", "-device",
                   "isa-debug-exit,iobase=0xf4,iosize=4"]
        command += disks.options(name, work)
        path = os.path.join(work, "qmp")
        command += ["-qmp", "unix:%s,server=on,wait=off" % path]
        if args.qemu:
            command = ["qemu-system-i386", "-accel", "tcg", "-nic", "none"] + command
        else:
            command = [args.vmm, "--engine=" + args.engine] + command
        self.p = subprocess.Popen(command + args.more, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
        self.path = path
        self.lines = queue.Queue()
        self.said = b""
        self.threads = [threading.Thread(target=self.reader, daemon=True), threading.Thread(target=self.errors, daemon=True)]
        for t in self.threads:
            t.start()

    def reader(self):
        for line in self.p.stdout:
            self.lines.put(line.decode("utf-8", "replace").strip())
        self.lines.put(None)

    def errors(self):
        self.said = self.p.stderr.read()

    def picture(self):
        self.qmp = self.qmp or Qmp(self.path, 20)
        answer = self.qmp.call("screendump", filename=self.shot, format="png")
        if "error" in answer:
            raise OSError(str(answer["error"]))
        try:
            with open(self.shot, "rb") as f:
                return picture.read_png(f.read())
        except (FileNotFoundError, ValueError):
            return None

    def go(self):
        self.p.stdin.write(b"\n")
        self.p.stdin.flush()

    def close(self):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()
        for t in self.threads:
            t.join(5)


def look(machine, name, args):
    """None when the screen is what it should be within some seconds; otherwise what is wrong."""
    reference = os.path.join(SCREENS, name + ".png")
    if args.qemu and name in QEMU_GAPS:
        return None
    if args.update:
        time.sleep(0.3)
        os.makedirs(SCREENS, exist_ok=True)
        with open(reference, "wb") as f:
            f.write(picture.write_png(picture.reduce(machine.picture())))
        return None
    try:
        with open(reference, "rb") as f:
            want = picture.read_png(f.read())
    except FileNotFoundError:
        return "no reference " + reference
    # Adapters widen the 6 bits of the DAC to 8 in different ways, and the 5 of modes with 15 or 16 bits a pixel.
    bits = 5 if name.endswith(("15", "16")) else 6
    end = time.monotonic() + args.patience
    while True:
        got = machine.picture()
        wrong = picture.differ(got, want, bits) if got else "no picture"
        if not wrong:
            return None
        if time.monotonic() > end:
            if got and args.keep:
                os.makedirs(args.keep, exist_ok=True)
                with open(os.path.join(args.keep, name + ".png"), "wb") as f:
                    f.write(picture.write_png(got))
            return wrong
        time.sleep(0.1)


def run(image, args):
    name = os.path.basename(image).rsplit(".", 1)[0]
    passed, failures, tail, summary = 0, [], [], None
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        m = Machine(args, image, work)
        try:
            while True:
                try:
                    line = m.lines.get(timeout=max(0.01, start + args.timeout - time.monotonic()))
                except queue.Empty:
                    failures.append("not finished after %d s" % args.timeout)
                    break
                if line is None:
                    break
                tail = (tail + [line])[-12:]
                if args.verbose:
                    print(line, flush=True)
                if line.startswith("ok "):
                    passed += 1
                elif line.startswith("FAIL "):
                    failures.append(line)
                elif line.startswith("screen "):
                    wrong = look(m, line.split()[1], args)
                    if wrong:
                        failures.append("FAIL %s: %s" % (line, wrong))
                    else:
                        passed += 1
                    try:
                        m.go()
                    except OSError:
                        pass
                elif line.startswith("media "):
                    m.qmp = m.qmp or Qmp(m.path, 20)
                    wrong = disks.media(m.qmp, line.split()[1], work)
                    if wrong:
                        failures.append("FAIL %s: %s" % (line, wrong))
                    m.go()
                elif line.startswith("pc: "):
                    summary = line
        finally:
            if summary:
                try:
                    m.p.wait(10)
                except subprocess.TimeoutExpired:
                    failures.append("did not leave")
            elif m.p.poll() is None:
                time.sleep(0.1)
            m.close()
        status = m.p.returncode
    if not failures and (not summary or not passed or status != EXIT_GOOD):
        failures.append("exit status %s, summary %r; the last lines: %r" % (status, summary, tail))
    for f in failures:
        print("%s: %s" % (name, f))
    if failures and m.said:
        print("\n".join(m.said.decode("utf-8", "replace").splitlines()[-20:]))
    print("%-7s %s: %d ok, %d failed, %.1f s" % ("FAILED" if failures else "ok", name, passed, len(failures),
                                              time.monotonic() - start), flush=True)
    return not failures


def main():
    argv, more = sys.argv[1:], []
    if "--" in argv:
        cut = argv.index("--")
        argv, more = argv[:cut], argv[cut + 1:]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmm", default="build/cli/novt")
    parser.add_argument("--qemu", action="store_true", help="run under qemu-system-i386 -accel tcg")
    parser.add_argument("--engine", default="bt")
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--patience", type=float, default=10, help="how long a screen may take to become right")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--keep", help="wrong screens are written into this folder")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("image", nargs="+")
    args = parser.parse_args(argv)
    args.more = more
    if args.update and not args.qemu:
        parser.error("--update is for --qemu: the references show what another implementation draws")
    bad = [i for i in args.image if not run(i, args)]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
