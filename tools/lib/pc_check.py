#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The cases of tools/pc-check: each starts a VM, types keys when the screen shows something, and waits for a text; and the
programs of the tree that check a whole PC by themselves.

The screen is a file that the VM keeps up to date (-screen), or the first serial port.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import time

GRUB = [(r"GNU GRUB", "c"), (r"grub\s*>", "ls\n")]
INSTALLER = ["-m", "512", "-boot", "d", "-cdrom", "installer.iso"]


def partitioned(work):
    """What the installer's shell left on the disk: a partition table as sfdisk reads it, a file system as e2fsck does."""
    disk = os.path.join(work, "blank.img")
    table = subprocess.run(["/sbin/sfdisk", "-d", disk], capture_output=True, text=True)
    if "label: dos" not in table.stdout or not re.search(r"start= *2048, size= *204800, type=83", table.stdout):
        return "sfdisk sees no partition of 100 MiB: %r" % (table.stdout + table.stderr)[-300:]
    part = os.path.join(work, "part.img")
    with open(disk, "rb") as f, open(part, "wb") as out:
        f.seek(2048 * 512)
        out.write(f.read(204800 * 512))
    fsck = subprocess.run(["/sbin/e2fsck", "-fn", part], capture_output=True, text=True)
    if fsck.returncode != 0 or "NOVTDISK" not in fsck.stdout:
        return "e2fsck: %r" % (fsck.stdout + fsck.stderr)[-300:]
    return None


class Case:
    """Arguments of the VM, then steps: wait for this pattern on the screen, type that; None waits for the VM's end.
    seconds limits all of it. console: the first serial port instead of the screen. slow: left out by --quick. blank: MiB of an
    empty disk (-hda blank.img). after: looks at what the VM left behind; says what is wrong, or None."""

    def __init__(self, args, steps, seconds, console=False, slow=False, blank=0, after=None):
        self.args, self.steps, self.seconds, self.console, self.slow = args, steps, seconds, console, slow
        self.blank, self.after = blank, after


CASES = {
    "seabios": Case([], [(r"No bootable device", "")], 60),
    "seabios-serial": Case(["-nographic", "-vga", "none"], [(r"No bootable device", "")], 60, console=True),
    "grub-cdrom": Case(["-cdrom", "grub-rescue-cdrom.iso"], GRUB + [(r"ls\n\(cd\)", "")], 90),
    "grub-floppy": Case(["-fda", "grub-rescue-floppy.img", "-snapshot"], GRUB + [(r"ls\n\(fd0\)", "")], 90),
    "grub-disk": Case(["-hda", "grub-rescue-cdrom.iso", "-snapshot"], GRUB + [(r"ls\n\(hd0\)", "")], 90),
    "grub-serial": Case(["-nographic", "-cdrom", "grub-rescue-cdrom.iso"],
                        [(r"GNU GRUB", "c"), (r"grub\s*>", "ls\n"), (r"\(cd\)", "")], 90, console=True),
    "grub-reboot": Case(["-cdrom", "grub-rescue-cdrom.iso", "-no-reboot"],
                        [(r"GNU GRUB", "c"), (r"grub\s*>", "reboot\n"), (None, "")], 90),
    "grub-halt": Case(["-cdrom", "grub-rescue-cdrom.iso"], [(r"GNU GRUB", "c"), (r"grub\s*>", "halt\n"), (None, "")], 90),
    # Debian's kernel loaded by GRUB through the BIOS; its own IDE driver's module is not needed for the power off.
    "linux-grub": Case(["-m", "256", "-nographic", "-boot", "d", "-cdrom", "grub-rescue-cdrom.iso", "-hda", "linux.img", "-snapshot"],
                       [(r"GNU GRUB", "c"), (r"grub\s*>", "linux (hd0)/vmlinuz console=ttyS0\n"),
                        (r"ttyS0\s+(.|\n)*grub\s*>", "initrd (hd0)/initramfs.gz\n"),
                        (r"initramfs.gz\s+(.|\n)*grub\s*>", "boot\n"), (r"\n/ #|~ #", "poweroff -f\n"), (None, "")], 180,
                       console=True),
    # A FAT floppy with SYSLINUX: iPXE's kernel, and memtest86+ through the Linux boot protocol.
    "syslinux-floppy": Case(["-fda", "syslinux.img", "-snapshot"],
                            [(r"novt syslinux floppy\s+boot:", "ipxe\n"), (r"iPXE.*Open Source Network Boot Firmware", "")], 120),
    "syslinux-memtest": Case(["-m", "32", "-fda", "syslinux.img", "-snapshot"],
                             [(r"novt syslinux floppy\s+boot:", "memtest\n"), (r"Memtest86\+(.|\n)*Test #[3-9]", "")], 180),
    # ISOLINUX's graphical menu, then a COM32 program with text menus that asks the BIOS for everything.
    "isolinux-hdt": Case(INSTALLER, [(r"\(graphics 640x480", "\x1b[B\n"), (r"Hardware Detection Tool", "")], 120),
    "memtest-start": Case(["-m", "32", "-cdrom", "memtest86+ia32.iso"], [(r"Test #[3-9].*(.|\n)*Errors: 0", "")], 120),
    "memtest-pass": Case(["-m", "32", "-cdrom", "memtest86+ia32.iso"], [(r"Pass: +[1-9]\d* +Errors: 0\b", "")], 900, slow=True),
    # The installer by its keyboard: three questions, no network, then from its menu a shell.
    "installer": Case(INSTALLER + ["-hda", "blank.img"],
                      [(r"\(graphics 640x480", "\n"), (r"Select a language(.|\n)*Language:", "\n"),
                       (r"Select your location", "\n"), (r"Keymap to use", "\n"),
                       (r"No Ethernet card was detected", "\x1b"), (r"Debian installer main menu", "Execute a shell\n"),
                       (r"Interactive shell", "\n"), (r"~ #", "/part/prepare\n"), (r"disk-is-here", "clear\n"),
                       (r"^\s*~ #\s*$", "echo 2048,204800,L | chroot /part sfdisk -q --label dos /dev/sda && echo table=$?\n"),
                       (r"table=0", "chroot /part mke2fs -q -t ext4 -L NOVTDISK /dev/sda1 && sync && echo made=$?\n"),
                       (r"made=0", "poweroff -f\n"), (None, "")], 600, slow=True, blank=300, after=partitioned),
}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class VM:
    def __init__(self, vmm, engine, images, args, console, work):
        self.console = console
        self.out = os.path.join(work, "console")
        self.screen = os.path.join(work, "screen")
        args = [os.path.join(work, a) if a == "blank.img" else
                os.path.join(images, a) if os.path.exists(os.path.join(images, a)) else a for a in args]
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
        for key in re.findall(r"\x1b\[[A-Z]|.|\n", keys):
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
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        self.log.close()


def run(name, opts):
    case = CASES[name]
    limit = case.seconds * (10 if opts.engine == "interp" else 1)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        if case.blank:
            with open(os.path.join(work, "blank.img"), "wb") as f:
                f.truncate(case.blank << 20)
        vm = VM(opts.vmm, opts.engine, opts.images, case.args, case.console, work)
        try:
            for pattern, keys in case.steps:
                wrong = wait_for(vm, pattern, start, limit)
                if wrong:
                    return False, wrong
                if keys:
                    time.sleep(0.5)  # a menu may be drawn before it listens
                    vm.type(keys)
        finally:
            vm.close()
        wrong = case.after(work) if case.after else None
    return (False, wrong) if wrong else (True, "%.1f s" % (time.monotonic() - start))


def wait_for(vm, pattern, start, limit):
    """Until the pattern is on the screen (None: until the VM has ended with status 0). Returns what went wrong, or None."""
    while True:
        if pattern is None:
            if vm.p.poll() is not None:
                return None if vm.p.returncode == 0 else "exit status %d" % vm.p.returncode
        elif re.search(pattern, vm.text(), re.M):
            return None
        elif vm.p.poll() is not None:
            with open(vm.out, errors="replace") as f:
                return "exit status %d: %s" % (vm.p.returncode, f.read()[-300:].strip())
        if time.monotonic() - start > limit:
            lines = [s for s in vm.text().splitlines() if s.strip()]
            return "no %r after %d s; last: %r" % (pattern or "exit", limit, lines[-3:])
        time.sleep(0.1)


def run_program(name, opts):
    """A program of the tree that checks by itself: its last line is the reason when it fails."""
    command, limit = opts.programs[name]
    start = time.monotonic()
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit)
    except subprocess.TimeoutExpired:
        return False, "not finished after %d s" % limit
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    if opts.verbose or done.returncode:
        print("\n".join("    " + s for s in lines[-15:]), flush=True)
    if done.returncode:
        return False, "exit status %d: %s" % (done.returncode, lines[-1] if lines else "")
    return True, "%.1f s" % (time.monotonic() - start)


def programs(opts):
    """name: (command, seconds). Those whose file is not in this tree are left out."""
    root, found = opts.root, {}
    pc = os.path.join(root, "tests/pc/run.py")
    for image in sorted(opts.boot_sectors):
        name = os.path.basename(image).rsplit(".", 1)[0]
        base = [sys.executable, pc, "--vmm", opts.vmm, "--timeout", "200", "--patience", "30"]
        found["pc-" + name] = (base + ["--engine", opts.engine, image] + (["--", "--verify"] if opts.engine == "bt" else []), 300)
        if opts.engine == "bt":
            found["pc-no-opt-" + name] = (base + [image, "--", "--no-opt=all"], 300)
            found["pc-interp-" + name] = (base + ["--engine", "interp", image], 300)
        if opts.qemu:
            found["pc-qemu-" + name] = ([sys.executable, pc, "--qemu", "--timeout", "200", "--patience", "30", image], 300)
    for name, path, limit in (
            ("debian-disk", "tests/pc/debian_disk.py", 1500),
            ("browser", "tests/browser/run", 600),
            ("gdb", "tools/gdb-check", 600)):
        if os.path.exists(os.path.join(root, path)):
            found[name] = ([os.path.join(root, path)], limit)
    return found


SLOW_PROGRAMS = ("debian-disk", "browser", "gdb")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--root", required=True, help="the source tree")
    parser.add_argument("--boot-sectors", nargs="*", default=[], help="images of tests/pc")
    parser.add_argument("--engine", default="bt")
    parser.add_argument("--qemu", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("-j", "--jobs", type=int, default=1)
    parser.add_argument("--names", nargs="*", default=[])
    opts = parser.parse_args()
    opts.programs = programs(opts)
    known = list(CASES) + list(opts.programs)
    if opts.list:
        print("\n".join(known))
        return 0
    bad = [n for n in opts.names if n not in known]
    if bad:
        parser.error("no such case: " + ", ".join(bad))

    def slow(name):
        return name in SLOW_PROGRAMS or name in CASES and CASES[name].slow
    names = opts.names or [n for n in known if not opts.quick or
                           not slow(n) and not n.startswith(("pc-no-opt-", "pc-qemu-"))]

    def one(name):
        try:
            ok, what = run(name, opts) if name in CASES else run_program(name, opts)
        except OSError as e:
            ok, what = False, str(e)
        print("ok %s (%s)" % (name, what) if ok else "FAILED %s: %s" % (name, what), flush=True)
        return ok
    # The longest first, so that they do not stand alone at the end.
    names.sort(key=lambda n: not slow(n))
    with concurrent.futures.ThreadPoolExecutor(max(1, opts.jobs)) as pool:
        results = list(pool.map(one, names))
    print("%d passed, %d failed" % (sum(results), len(results) - sum(results)))
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
