#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The cases of tools/pc-check: each starts a VM, types keys when the screen shows something, and waits for a text.

A case is a list of steps (wait for this pattern on the screen, then type that); the last step types nothing. The
screen is a file that the VM keeps up to date (-screen), or the first serial port for cases with console=True.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

GRUB = [(r"GNU GRUB", "c"), (r"grub>", "ls\n")]
CASES = {
    # name: (arguments, steps, seconds, console, slow)
    "seabios": ([], [(r"No bootable device", "")], 60, False, False),
    "seabios-serial": (["-nographic", "-vga", "none"], [(r"No bootable device", "")], 60, True, False),
    "grub-cdrom": (["-cdrom", "grub-rescue-cdrom.iso"], GRUB + [(r"ls\n\(cd\)", "")], 90, False, False),
    "grub-floppy": (["-fda", "grub-rescue-floppy.img", "-snapshot"], GRUB + [(r"ls\n\(fd0\)", "")], 90, False, False),
    "grub-disk": (["-hda", "grub-rescue-cdrom.iso", "-snapshot"], GRUB + [(r"ls\n\(hd0\)", "")], 90, False, False),
    "grub-serial": (["-nographic", "-cdrom", "grub-rescue-cdrom.iso"],
                    [(r"GNU GRUB", "c"), (r"grub>", "ls\n"), (r"\(cd\)", "")], 90, True, False),
    "grub-reboot": (["-cdrom", "grub-rescue-cdrom.iso", "-no-reboot"], [(r"GNU GRUB", "c"), (r"grub>", "reboot\n"),
                                                                         (None, "")], 90, False, False),
    "grub-halt": (["-cdrom", "grub-rescue-cdrom.iso"], [(r"GNU GRUB", "c"), (r"grub>", "halt\n"), (None, "")],
                  90, False, False),
    # Debian's kernel loaded by GRUB through the BIOS; then its own IDE driver's module is not needed for the power off.
    "linux-grub": (["-m", "256", "-nographic", "-boot", "d", "-cdrom", "grub-rescue-cdrom.iso", "-hda", "linux.img", "-snapshot"],
                   [(r"GNU GRUB", "c"), (r"grub>", "linux (hd0)/vmlinuz console=ttyS0\n"),
                    (r"ttyS0\s+(.|\n)*grub>", "initrd (hd0)/initramfs.gz\n"),
                    (r"initramfs.gz\s+(.|\n)*grub>", "boot\n"), (r"\n/ #|~ #", "poweroff -f\n"), (None, "")], 180,
                   True, False),
    "memtest-start": (["-m", "32", "-cdrom", "memtest86+ia32.iso"], [(r"Test #[3-9].*(.|\n)*Errors: 0", "")], 120, False,
                      False),
    "memtest-pass": (["-m", "32", "-cdrom", "memtest86+ia32.iso"], [(r"Pass: +[1-9]\d* +Errors: 0\b", "")], 900,
                     False, True),
}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class VM:
    def __init__(self, vmm, engine, images, args, console, work):
        self.console = console
        self.out = os.path.join(work, "console")
        self.screen = os.path.join(work, "screen")
        args = [os.path.join(images, a) if os.path.exists(os.path.join(images, a)) else a for a in args]
        cmd = [vmm, "--engine=" + engine] + args
        cmd += [] if console else ["-serial", "null", "-keyboard", "stdio", "-screen", self.screen]
        self.log = open(self.out, "wb")
        self.p = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=self.log, stderr=subprocess.STDOUT)

    def text(self):
        try:
            with open(self.out if self.console else self.screen, "rb") as f:
                text = f.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return ESCAPES.sub("\n", text) if self.console else text

    def type(self, keys):
        """At a fast typist's speed: a BIOS keeps no more than 15 keys."""
        for key in keys:
            try:
                self.p.stdin.write(key.encode())
                self.p.stdin.flush()
            except BrokenPipeError:
                return
            time.sleep(0.06 if self.console else 0.03)

    def close(self):
        if self.p.poll() is None:
            self.p.terminate()
            try:
                self.p.wait(10)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        self.p.stdin.close()
        self.log.close()


def run(name, opts):
    args, steps, limit, console, _ = CASES[name]
    if opts.engine == "interp":
        limit *= 10
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        vm = VM(opts.vmm, opts.engine, opts.images, args, console, work)
        try:
            for pattern, keys in steps:
                while True:
                    if pattern is None:
                        if vm.p.poll() is not None:
                            if vm.p.returncode == 0:
                                break
                            return False, "exit status %d" % vm.p.returncode
                    elif re.search(pattern, vm.text()):
                        break
                    elif vm.p.poll() is not None:
                        with open(vm.out, errors="replace") as f:
                            return False, "exit status %d: %s" % (vm.p.returncode, f.read()[-300:].strip())
                    if time.monotonic() - start > limit:
                        lines = [s for s in vm.text().splitlines() if s.strip()]
                        return False, "no %r after %d s; last: %r" % (pattern or "exit", limit, lines[-3:])
                    time.sleep(0.1)
                if keys:
                    vm.type(keys)
            return True, "%.1f s" % (time.monotonic() - start)
        finally:
            vm.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--engine", default="bt")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*")
    opts = parser.parse_args()
    if opts.list:
        print("\n".join(CASES))
        return 0
    bad = [n for n in opts.names if n not in CASES]
    if bad:
        parser.error("no such case: " + ", ".join(bad))
    failed = 0
    for name in opts.names or CASES:
        if opts.quick and CASES[name][4] and name not in opts.names:
            continue
        ok, what = run(name, opts)
        failed += not ok
        print("%-8s %-16s %s" % ("ok" if ok else "FAILED", name, what), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
