#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The cases of tools/pc-check: each starts a VM, types keys when the screen shows something, and waits for a text; and the
programs of the tree that check a whole PC by themselves.

The screen is a file that the VM keeps up to date (-screen), or the first serial port.
"""
import argparse
import concurrent.futures
import fnmatch
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
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
        self.item, self.alone, self.bt = 1, False, False


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
                       (r"^\s*~ #\s*$", "chroot /part cfdisk /dev/sda; echo table=$?\n"),
                       (r"Select label type", "\x1b[B\n"), (r"Free space +2048 +614399", "n"),
                       (r"Partition size: 299M", "\b" * 4 + "100M\n"), (r"\[ ?primary\]", "\n"),
                       (r"/dev/sda1 +2048 +206847 +204800 +100M +83 Linux", "W"), (r"Type \"yes\" or \"no\"", "yes\n"),
                       (r"The partition table has been altered", "q"),
                       (r"table=0", "chroot /part mke2fs -q -t ext4 -L NOVTDISK /dev/sda1 && sync && echo made=$?\n"),
                       (r"made=0", "poweroff -f\n"), (None, "")], 600, slow=True, blank=300, after=partitioned),
}
STOP = threading.Event()  # Ctrl-C, SIGTERM
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
    limit = case.seconds * (10 if opts.engine == "interp" else 3)  # the host may have other work
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
                    return FAILED, wrong
                if keys:
                    time.sleep(0.5)  # a menu may be drawn before it listens
                    vm.type(keys)
        finally:
            vm.close()
        wrong = case.after(work) if case.after else None
    return (FAILED, wrong) if wrong else (OK, "%.1f s" % (time.monotonic() - start))


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
        if STOP.is_set():
            return "interrupted"
        if time.monotonic() - start > limit:
            lines = [s for s in vm.text().splitlines() if s.strip()]
            return "no %r after %d s; last: %r" % (pattern or "exit", limit, lines[-3:])
        time.sleep(0.1)


class Program:
    """A program of the tree that checks by itself and says in its last line what came out: "ok NAME: figures" or the reason
    why not. alone: times are measured, so nothing else runs beside it. Not for the interpreter: it would take hours."""

    def __init__(self, command, seconds, item, slow=False, alone=False, bt=False):
        self.command, self.seconds, self.item, self.slow, self.alone, self.bt = command, seconds, item, slow, alone, bt


def run_program(name, opts):
    prog = opts.programs[name]
    start = time.monotonic()
    p = subprocess.Popen(prog.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         start_new_session=True)
    while True:
        try:
            out = p.communicate(timeout=1)[0]
            break
        except subprocess.TimeoutExpired:
            if not STOP.is_set() and time.monotonic() - start < prog.seconds:
                continue
        os.killpg(p.pid, signal.SIGTERM)  # its machines, too: they are in its session
        try:
            p.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.communicate()
        return FAILED, "interrupted" if STOP.is_set() else "not finished after %d s" % prog.seconds
    lines = out.decode("utf-8", "replace").strip().splitlines()
    if opts.verbose or p.returncode:
        print("\n".join("    " + s for s in lines[-15:]), flush=True)
    last = lines[-1].strip() if lines else ""
    if p.returncode:
        return FAILED, "exit status %d: %s" % (p.returncode, last)
    if last.startswith("skipped"):
        return SKIPPED, re.sub(r"^skipped\s+\S+\s*", "", last)
    # "ok NAME 12.3 s: figures", "ok NAME: figures (12 s)"; the time is shown from here
    last = re.sub(r"^ok\s+\S+\s*", "", last)
    last = re.sub(r"^[\d.]+ s(: |$)|,? *\(?[\d.]+ s\)?$", "", last).strip()
    return OK, "%.1f s%s" % (time.monotonic() - start, "; " + last if last else "")


def programs(opts):
    root, found = opts.root, {}

    def path(*names):
        return os.path.join(root, *names)

    pc = path("tests/pc/run.py")
    for image in sorted(opts.boot_sectors):
        name = os.path.basename(image).rsplit(".", 1)[0]
        base = [sys.executable, pc, "--timeout", "200", "--patience", "30"]
        ours = base + ["--vmm", opts.vmm]
        found["pc-" + name] = Program(ours + ["--engine", opts.engine, image] + (["--", "--verify"] if opts.engine == "bt" else []),
                                      300, 3)
        if opts.engine == "bt":
            found["pc-no-opt-" + name] = Program(ours + [image, "--", "--no-opt=all"], 300, 3, slow=True)
            found["pc-interp-" + name] = Program(ours + ["--engine", "interp", image], 300, 3)
        if opts.qemu:
            found["pc-qemu-" + name] = Program(base + ["--qemu", image], 300, 3, slow=True)
    for name in DEBIAN:
        command = [sys.executable, path("tests/pc/debian_disk.py"), "--vmm", opts.vmm, "--engine", opts.engine, "--images", opts.images]
        command += ["--logs", opts.logs] if opts.logs else []
        found["debian-" + name] = Program(command + [name], 6000, 7 if name == "speed" else 2, slow=True,
                                          alone=name == "speed", bt=True)
    for name in ("vnc-text", "vnc-frame-buffer", "vnc-password", "vnc-hostile", "vnc-pages", "curses"):
        found["display-" + name] = Program([path("tests/display/run"), "--vmm=" + opts.vmm, name], 1200, 4, bt=True)
    for name in ("grub", "linux"):
        found["browser-" + name] = Program([path("tests/browser/run"), "--vmm=" + opts.vmm, name], 600, 4, slow=name != "grub", bt=True)
    for name in ("linux", "real-mode"):
        found["gdb-" + name] = Program([path("tools/gdb-check"), "--vmm=" + opts.vmm, "--engine=" + opts.engine, name], 600, 5)
    for name in ("check", "grub", "memtest", "installer", "debian-disk", "boot-sector", "menu"):
        found["demo-" + name] = Program([sys.executable, path("tools/lib/demo_check.py"), "--demo", path("tools/demo"), "--timeout=1200", name], 1300, 6,
                                        slow=True, bt=True)
    return found


DEBIAN = ("serial", "vga", "package", "acpi", "bad", "full", "limit", "nbd", "kill", "speed")
OK, FAILED, SKIPPED = "ok", "FAILED", "skipped"
ITEMS = {1: "firmware, boot loaders, testers, installer", 2: "Debian on a disk", 3: "boot-sector programs",
         4: "browser and displays", 5: "GDB", 6: "tools/demo", 7: "boot against QEMU TCG"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--root", required=True, help="the source tree")
    parser.add_argument("--boot-sectors", nargs="*", default=[], help="images of tests/pc")
    parser.add_argument("--engine", default="bt")
    parser.add_argument("--logs", help="folder for consoles of failed cases")
    parser.add_argument("--qemu", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("-j", "--jobs", type=int, default=1)
    parser.add_argument("--names", nargs="*", default=[])
    opts = parser.parse_args()
    opts.programs = programs(opts)
    known = {**CASES, **opts.programs}
    if opts.list:
        print("\n".join(known))
        return 0
    bad = [n for n in opts.names if not any(fnmatch.fnmatchcase(k, n) for k in known)]
    if bad:
        parser.error("no such case: " + ", ".join(bad))
    if opts.names:
        names = [k for k in known if any(fnmatch.fnmatchcase(k, n) for n in opts.names)]
    else:
        names = [k for k in known if not (opts.quick and known[k].slow) and not (opts.engine == "interp" and known[k].bt)]

    def one(name):
        if STOP.is_set():
            return FAILED
        try:
            word, what = run(name, opts) if name in CASES else run_program(name, opts)
        except OSError as e:
            word, what = FAILED, str(e)
        print({OK: "ok %s (%s)", SKIPPED: "skipped %s: %s", FAILED: "FAILED %s: %s"}[word] % (name, what), flush=True)
        return word
    # The longest first, so that they do not stand alone at the end; what is timed then, alone.
    beside = sorted((n for n in names if not known[n].alone), key=lambda n: -known[n].seconds if known[n].slow else 0)
    alone = [n for n in names if known[n].alone]
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, lambda *_: STOP.set())
    with concurrent.futures.ThreadPoolExecutor(max(1, opts.jobs)) as pool:
        results = dict(zip(beside + alone, list(pool.map(one, beside)) + [one(n) for n in alone]))
    for item, text in ITEMS.items():
        words = [w for n, w in results.items() if known[n].item == item]
        if words:
            print("%d. %s: %d of %d%s" % (item, text, words.count(OK), len(words),
                                         ", %d skipped" % words.count(SKIPPED) if SKIPPED in words else ""))
    words = list(results.values())
    print("%d passed, %d failed%s" % (words.count(OK), words.count(FAILED),
                                      ", %d skipped" % words.count(SKIPPED) if SKIPPED in words else ""))
    return 0 if words and FAILED not in words else 1


if __name__ == "__main__":
    sys.exit(main())
