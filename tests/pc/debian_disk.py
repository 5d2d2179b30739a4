#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian i386 system on a disk image (tools/prepare-disk), in novt and beside QEMU.

Boots it through SeaBIOS and GRUB to a login on the serial port and on the screen, installs a package from a CD, shuts
it down, checks its file system, takes the machine's power away in the middle of writes, fills the host's disk, serves
the image by NBD, and compares boot times. One line for each: ok, FAILED or skipped. Every case works on its own copy.
"""
import argparse
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PARTITION = 2048 * 512
LOGIN = r"login: "
PROMPT = r"root@novt:\S*# "
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Machine:
    """A VM whose serial port (or screen, with screen=True) is read and typed to."""

    def __init__(self, args, screen=None, limit=1, preexec=None):
        self.limit, self.screen, self.text = limit, screen, ""
        self.log = b""
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  preexec_fn=preexec)

    def read(self, seconds):
        """What has come, after waiting for something at most so long. False at the end."""
        if self.screen:
            time.sleep(min(seconds, 0.1))
            try:
                with open(self.screen, encoding="utf-8", errors="replace") as f:
                    self.text = f.read()
            except FileNotFoundError:
                pass
            return self.p.poll() is None
        if not select.select([self.p.stdout], [], [], seconds)[0]:
            return True
        data = os.read(self.p.stdout.fileno(), 65536)
        self.log += data
        self.text += ESCAPES.sub(b"", data).decode("utf-8", "replace").replace("\r", "")
        return bool(data)

    def expect(self, pattern, seconds):
        """Waits for the pattern; returns the text up to its end, which is forgotten (not on a screen)."""
        end = time.monotonic() + seconds * self.limit
        if self.screen:
            pattern = pattern.rstrip() # spaces at the end of a line are not shown
        while True:
            found = re.search(pattern, self.text)
            if found:
                before = self.text[:found.end()]
                if not self.screen:
                    self.text = self.text[found.end():]
                return before
            if time.monotonic() > end:
                raise Failed("no %r after %d s; last: %r" % (pattern, seconds * self.limit, self.tail()))
            if not self.read(0.5) and not re.search(pattern, self.text):
                raise Failed("the machine ended (status %s) before %r; last: %r"
                             % (self.p.wait(), pattern, self.tail()))

    def tail(self):
        lines = [s for s in self.text.splitlines() if s.strip()]
        return "\n".join(lines[-4:])[-400:]

    def type(self, text):
        try:
            for key in text if self.screen else [text]:
                self.p.stdin.write(key.encode())
                self.p.stdin.flush()
                if self.screen:
                    time.sleep(0.03)
        except BrokenPipeError:
            pass

    def login(self):
        self.type("root\n")
        self.expect("assword: ", 60)
        self.type("novt\n")
        self.expect(PROMPT, 120)
        if not self.screen:
            self.run("stty -echo; bind 'set enable-bracketed-paste off' 2>/dev/null; dmesg -n 1; PS1='root@novt:# '")

    def run(self, command, seconds=60, fine=True):
        """Runs a command; returns what it printed."""
        self.type(command + "; echo \"ST\"\"ATUS=$?=\"\n")
        out = self.expect(r"STATUS=\d+=\n", seconds)
        self.expect(PROMPT, 30)
        status = int(re.search(r"STATUS=(\d+)=\n$", out).group(1))
        if fine and status:
            raise Failed("%r: status %d: %s" % (command, status, out[-300:].strip()))
        return out

    def wait(self, seconds):
        """Waits for the end; returns the status."""
        end = time.monotonic() + seconds * self.limit
        while self.p.poll() is None:
            if time.monotonic() > end:
                raise Failed("still running after %d s; last: %r" % (seconds * self.limit, self.tail()))
            self.read(0.2)
        while not self.screen and self.read(0) and select.select([self.p.stdout], [], [], 0)[0]:
            pass
        return self.p.returncode

    def close(self):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()
        self.p.stdin.close()
        self.p.stdout.close()


class Bench:
    """What the cases share: programs, images, a work folder."""

    def __init__(self, opts, work):
        self.opts, self.work = opts, os.path.abspath(work)
        self.image = os.path.join(opts.images, "debian.img")
        self.cd = os.path.join(opts.images, "debian-cd.iso")
        self.limit = 12 if opts.engine == "interp" else 3 # the host may have other work
        self.machines = []

    def copy(self):
        """A private copy of the image, holes kept."""
        path = os.path.join(self.work, "disk.img")
        subprocess.run(["cp", "--sparse=always", self.image, path], check=True)
        return path

    def novt(self, *args, screen=False, memory=512, preexec=None):
        cmd = [self.opts.vmm, "--engine=" + self.opts.engine, "-m", str(memory)]
        path = None
        if screen:
            path = os.path.join(self.work, "screen")
            cmd += ["-serial", "null", "-keyboard", "stdio", "-screen", path]
        else:
            cmd += ["-nographic"]
        m = Machine(cmd + list(args), screen=path, limit=self.limit, preexec=preexec)
        self.machines.append(m)
        return m

    def qemu(self, *args, memory=512):
        m = Machine(["qemu-system-i386", "-accel", "tcg", "-nic", "none", "-m", str(memory), "-nographic"] + list(args))
        self.machines.append(m)
        return m

    def close(self):
        for m in self.machines:
            m.close()
        self.machines = []


# Linux names disks in the order in which they answer: a second one is found by its serial number.
SECOND, THIRD = "/dev/disk/by-id/ata-*_NV00002", "/dev/disk/by-id/ata-*_NV00003"


def at(path, offset):
    return "%s?offset=%d" % (path, offset) if offset else path


def fsck(path, offset, *options):
    """e2fsck on the image's partition; its status and words."""
    r = subprocess.run(["e2fsck", *options, at(path, offset)], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True)
    return r.returncode, r.stdout


def check_clean(path, offset=PARTITION):
    status, text = fsck(path, offset, "-fn")
    if status:
        raise Failed("e2fsck: status %d: %s" % (status, text[-400:]))


def put_file(path, source, target):
    """Writes a file into the image's file system, from outside."""
    subprocess.run(["debugfs", "-w", "-f", "-", "%s?offset=%d" % (path, PARTITION)], check=True, text=True,
                   input="rm %s\nwrite %s %s\nsif %s mode 0100755\n" % (target, source, target, target),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def get_file(path, name, offset=PARTITION):
    r = subprocess.run(["debugfs", "-R", "cat " + name, at(path, offset)], stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, check=True)
    return r.stdout


def edit_kernel_line(b, disk, options):
    """Adds options to the kernel's command line in GRUB's configuration."""
    path = os.path.join(b.work, "grub.cfg")
    cfg = get_file(disk, "/boot/grub/grub.cfg").decode()
    with open(path, "w") as f:
        f.write(cfg.replace(" ro console", " ro %s console" % options))
    put_file(disk, path, "/boot/grub/grub.cfg")


# ---- cases ----

def serial(b):
    """Boots from disk to a login on the serial port; shuts down; the file system is clean."""
    disk = b.copy()
    m = b.novt("-hda", disk)
    m.expect("GRUB", 60)
    m.expect("Linux version 6", 120)
    m.expect(LOGIN, 300)
    m.login()
    out = m.run("findmnt -no SOURCE /; uname -m; systemctl is-system-running --wait; systemctl --failed --no-legend",
                200, fine=False)
    if "/dev/sda1" not in out or "running" not in out:
        raise Failed("not as it should be: %r" % out)
    out = m.run("dmesg | grep -iE 'I/O error|ata.*(failed|timeout|frozen|reset)' || true")
    if "rror" in out or "ata" in out:
        raise Failed("disk trouble: %s" % out[:300])
    m.run("dd if=/dev/urandom of=/root/data bs=64k count=300 status=none; sync")
    total = re.search(r"([0-9a-f]{32})", m.run("md5sum /root/data")).group(1)
    m.type("poweroff\n")
    status = m.wait(200)
    if status:
        raise Failed("exit status %d" % status)
    check_clean(disk)
    data = os.path.join(b.work, "data")
    with open(data, "wb") as f:
        f.write(get_file(disk, "/root/data"))
    if total not in subprocess.run(["md5sum", data], stdout=subprocess.PIPE, text=True).stdout:
        raise Failed("a file that the guest wrote reads differently from outside")


def vga(b):
    """Boots to a login on the VGA screen, typed on the keyboard. nomodeset keeps the text screen, which can be read."""
    disk = b.copy()
    edit_kernel_line(b, disk, "nomodeset")
    m = b.novt("-hda", disk, screen=True)
    m.expect(r"novt tty1\s+novt " + LOGIN, 300)
    m.type("root\n")
    m.expect("assword:", 60)
    m.type("novt\n")
    m.expect(PROMPT, 120)
    m.type("echo $((6 * 7)) on $(tty)\n")
    m.expect("42 on /dev/tty1", 60)
    m.type("poweroff\n")
    status = m.wait(200)
    if status:
        raise Failed("exit status %d" % status)


def package(b):
    """Installs a package from a CD image, ejects the disc."""
    m = b.novt("-hda", b.image, "-cdrom", b.cd, "-snapshot")
    m.expect(LOGIN, 300)
    m.login()
    m.run("mount -o ro /dev/sr0 /media/cdrom")
    m.run("echo 'deb [trusted=yes] file:/media/cdrom bookworm main' >/etc/apt/sources.list; apt-get -q update", 200)
    m.run("apt-get -q -y install hello </dev/null", 300)
    if "Hello, world!" not in m.run("hello"):
        raise Failed("the installed program does not run")
    m.run("umount /media/cdrom && eject /dev/sr0 2>/dev/null || umount -q /media/cdrom || true")
    m.type("poweroff\n")
    if m.wait(200):
        raise Failed("exit status %d" % m.p.returncode)


def qmp_command(path, *commands):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        f = s.makefile("rw")
        f.readline()
        for c in ("qmp_capabilities",) + commands:
            f.write(json.dumps({"execute": c}) + "\n")
            f.flush()
            while "return" not in (answer := json.loads(f.readline())):
                if "error" in answer:
                    raise Failed("QMP %s: %s" % (c, answer))


def acpi(b):
    """The power button, pressed by QMP, shuts the guest down cleanly."""
    disk, qmp = b.copy(), os.path.join(b.work, "qmp")
    help_text = subprocess.run([b.opts.vmm, "--help"], stdout=subprocess.PIPE, text=True).stdout
    if not re.search(r"^\s+-+qmp\b.*unix:", help_text, re.M):
        raise Skipped("this novt has no -qmp")
    m = b.novt("-hda", disk, "-qmp", "unix:%s,server,nowait" % qmp)
    m.expect(LOGIN, 300)
    m.login()
    qmp_command(qmp, "system_powerdown")
    m.expect("Power down|Powering off", 200)
    if m.wait(60):
        raise Failed("exit status %d" % m.p.returncode)
    check_clean(disk)


CACHES = ("writeback", "none", "writethrough", "directsync")
CRASH = r"""#!/usr/bin/perl
# Process 1 of the crash test: checks the records of earlier lives, then writes more, and says each number when fsync() is
# through. A record is a line in one file; every eighth is a file of its own as well.
use IO::Handle;
system("mount -n -o remount,rw /") == 0 or die "remount";
open(my $con, ">", "/dev/console"); $con->autoflush(1);
sub payload { my $n = shift; return sprintf("%08d ", $n) . chr(65 + $n % 26) x ($n * 37 % 3000) . "\n"; }
mkdir("/root/r");
my ($n, $bad) = (0, 0);
if (open(my $in, "<", "/root/records")) {
    while (my $l = <$in>) { last if $l ne payload($n + 1); $n++; }
}
for (my $i = 8; $i <= $n; $i += 8) {
    open(my $f, "<", "/root/r/$i") or do { $bad = $i; last };
    local $/; $bad = $i, last if <$f> ne payload($i);
}
print $con "HAVE $n BAD $bad\n";
truncate("/root/records", 0) if !$n;
my $size = 0; $size += length(payload($_)) for 1 .. $n;
truncate("/root/records", $size);    # what was written but not synced
open(my $out, ">>", "/root/records") or die;
while (1) {
    $n++;
    if ($n % 8 == 0) {
        open(my $f, ">", "/root/r/$n") or die; syswrite($f, payload($n)); $f->sync or die; close($f);
        open(my $d, "<", "/root/r"); $d->sync;
    }
    syswrite($out, payload($n)) == length(payload($n)) or die "write: $!";
    $out->sync or die "fsync: $!";
    print $con "SYNCED $n\n";
}
"""


def payload(n):
    """As CRASH's."""
    return "%08d " % n + chr(65 + n % 26) * (n * 37 % 3000)


def kill(b):
    """kill -9 of novt at random moments of fsynced writing: nothing that was synced is lost, whichever way the image is
    cached, and the file system needs no more than its journal."""
    disk = b.copy()
    script = os.path.join(b.work, "crash")
    with open(script, "w") as f:
        f.write(CRASH)
    put_file(disk, script, "/root/crash")
    edit_kernel_line(b, disk, "init=/root/crash quiet")
    seed = b.opts.seed if b.opts.seed is not None else random.randrange(1 << 32)
    rng = random.Random(seed)
    synced, rounds, replays = 0, b.opts.kills, 0
    part = os.path.join(b.work, "partition")
    for i in range(rounds):
        mode = CACHES[i % len(CACHES)]
        where = "kill %d (cache=%s, --seed %d)" % (i, mode, seed)
        m = b.novt("-drive", "file=%s,format=raw,cache=%s" % (disk, mode))
        found = m.expect(r"HAVE \d+ BAD \d+\n", 200)
        have, bad = map(int, re.search(r"HAVE (\d+) BAD (\d+)", found).groups())
        if have < synced or bad:
            raise Failed("before %s: record %d was synced, %d are there (first bad file: %d)" % (where, synced, have, bad))
        text = m.expect(r"SYNCED \d+\n", 60)
        end = time.monotonic() + rng.uniform(0, 2.5)
        while time.monotonic() < end:
            m.read(0.05)
        m.p.send_signal(signal.SIGKILL)
        m.p.wait()
        while select.select([m.p.stdout], [], [], 0)[0] and m.read(0):
            pass
        synced = max(int(x) for x in re.findall(r"SYNCED (\d+)\n", text + m.text)) # whole lines: 12 may be half of 123
        m.close()
        # What a copy of the file system looks like now: e2fsck replays its journal (which it does only in a file of its
        # own), preening what a mount would too; then all must be in order.
        subprocess.run(["dd", "if=" + disk, "of=" + part, "bs=%d" % PARTITION, "skip=1", "conv=sparse", "status=none"],
                       check=True)
        status, text = fsck(part, 0, "-p")
        replays += "recovering journal" in text
        if status not in (0, 1):
            raise Failed("e2fsck -p after %s: status %d: %s" % (where, status, text[-300:]))
        check_clean(part, 0)
        lines = get_file(part, "/root/records", 0).decode().splitlines()
        good = next((n for n, s in enumerate(lines, 1) if s != payload(n)), len(lines) + 1) - 1
        if good < synced:
            raise Failed("after %s: record %d was synced, %d are there" % (where, synced, good))
        os.unlink(part)
    return "%d kills, %d records synced, 0 lost; %d journals replayed" % (rounds, synced, replays)


def fill_up(b, second, errors, tell, *, preexec=None):
    """Writes 10 MiB that fit on a second disk, then what does not: the guest sees I/O errors, the user a message, what was
    written before stays, and the guest runs on. errors: where the second write starts, in MiB; its MiB."""
    start, count = errors
    m = b.novt("-drive", "file=%s,format=raw,snapshot=on" % b.image, "-drive", "file=%s,format=raw" % second,
               preexec=preexec)
    m.expect(LOGIN, 300)
    m.login()
    m.run("d=$(echo %s); test -b $d" % SECOND)
    m.run("yes 0123456789abcde | dd of=$d bs=64k count=160 iflag=fullblock oflag=direct status=none; sync $d", 120)
    out = m.run("yes fedcba9876543210 | dd of=$d bs=64k seek=%d count=%d iflag=fullblock oflag=direct"
                % (start * 16, count * 16), 600, fine=False)
    if "Input/output error" not in out:
        raise Failed("the guest saw no I/O error: %r" % out[-300:])
    if not re.search(tell, m.log):
        raise Failed("novt did not tell: %r" % m.log[-300:])
    out = m.run("dd if=$d bs=64k count=160 iflag=direct status=none | md5sum")
    total = subprocess.run("yes 0123456789abcde | head -c $((160 * 65536)) | md5sum", shell=True, text=True,
                           stdout=subprocess.PIPE).stdout.split()[0]
    if total not in out:
        raise Failed("what was written before reads differently: %r" % out)
    m.run("systemctl is-system-running && test -w /root && touch /root/still-here")
    m.close()
    with open(second, "rb") as f:
        if f.read(160 * 65536) != b"0123456789abcde\n" * (160 * 4096):
            raise Failed("what was written before is not in the image")


def full(b):
    """The host's disk is full. Not root: in a user namespace of its own, where it may mount a small file system."""
    small = os.path.join(b.work, "small")
    os.mkdir(small)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small], stderr=subprocess.DEVNULL)
    if mounted.returncode:
        again = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, os.path.abspath(__file__)]
        if os.geteuid() and subprocess.run(again[:4] + ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small],
                                           stderr=subprocess.DEVNULL).returncode == 0:
            r = subprocess.run(again + sys.argv[1:len(sys.argv) - len(b.opts.names)] + ["full"], text=True,
                               stdout=subprocess.PIPE)
            if r.returncode:
                raise Failed(r.stdout.strip())
            return "in a user namespace"
        raise Skipped("cannot mount a small tmpfs here; debian-limit does the same by a limit")
    try:
        second = os.path.join(small, "second.img")
        with open(second, "wb") as f:
            f.truncate(64 << 20)
        fill_up(b, second, (10, 25), rb"No space left on device: the guest sees an I/O error")
    finally:
        b.close()
        subprocess.run(["umount", small], check=True)


def limit(b):
    """novt's limit of a file's size (ulimit -f) is reached: as a full disk, where nothing can be mounted."""
    second = os.path.join(b.work, "second.img")
    with open(second, "wb") as f:
        f.truncate(3 << 30) # the limit has to be above the sizes of the guest's memory and of its first disk
    fill_up(b, second, (2030, 30), rb"File too large: the guest sees an I/O error",
            preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 30, 2 << 30)))


def nbd(b):
    """The system on a qcow2 image, served by qemu-nbd on a UNIX socket; the server dies while the guest runs."""
    if not shutil.which("qemu-nbd"):
        raise Skipped("qemu-nbd (qemu-utils) is not installed")
    qcow, sock = os.path.join(b.work, "disk.qcow2"), os.path.join(b.work, "nbd")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", b.copy(), qcow], check=True)
    server = subprocess.Popen(["qemu-nbd", "-f", "qcow2", "-k", sock, "-t", "--discard=unmap", qcow])
    try:
        for _ in range(100):
            if os.path.exists(sock):
                break
            time.sleep(0.1)
        m = b.novt("-drive", "file=nbd+unix:///?socket=%s,format=nbd,discard=unmap" % sock)
        m.expect(LOGIN, 300)
        m.login()
        m.run("echo written through nbd >/root/note; sync; fstrim -v /", 120)
        m.type("poweroff\n")
        if m.wait(200):
            raise Failed("exit status %d" % m.p.returncode)
        m = b.novt("-drive", "file=nbd:unix:%s,format=raw" % sock)
        m.expect(LOGIN, 300)
        m.login()
        if "written through nbd" not in m.run("cat /root/note"):
            raise Failed("a file is gone")
        server.kill()
        server.wait()
        os.unlink(sock)
        out = m.run("dd if=/dev/sda of=/dev/null bs=64k skip=20000 count=4 iflag=direct", 200, fine=False)
        if "Input/output error" not in out:
            raise Failed("the guest saw no I/O error: %r" % out[-300:])
        if b"cannot read from 'nbd:unix:" not in m.log:
            raise Failed("novt did not tell")
        m.p.terminate() # the machine still runs, and ends when asked
        if m.wait(60):
            raise Failed("exit status %d after SIGTERM" % m.p.returncode)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
    r = subprocess.run(["qemu-img", "check", "-q", qcow], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode not in (0, 3): # 3: leaked clusters, which a killed server leaves
        raise Failed("qemu-img check: %s" % r.stdout[-300:])


def bad(b):
    """Images that are missing, locked, empty, qcow2, read-only: a message that says what to do; odd sizes work."""
    def refused(words, *args):
        r = subprocess.run([b.opts.vmm, "-nographic", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=60, stdin=subprocess.DEVNULL)
        if r.returncode != 2 or not re.search(words, r.stdout):
            raise Failed("%s: status %d: %s" % (" ".join(args), r.returncode, r.stdout[-300:]))

    def make(name, size, data=b""):
        path = os.path.join(b.work, name)
        with open(path, "wb") as f:
            f.write(data)
            f.truncate(size)
        return path
    refused("No such file", "-hda", os.path.join(b.work, "missing.img"))
    refused("is a? ?directory|Is a directory", "-hda", b.work)
    refused("truncate -s", "-hda", make("empty.img", 0))
    refused("qemu-nbd -k", "-hda", make("x.qcow2", 65536, b"QFI\xfb"))
    refused("cannot connect.*is the server running", "-hda", "nbd+unix:///?socket=" + os.path.join(b.work, "none"))
    refused("index 0", "-hda", make("one.img", 65536), "-drive", "file=%s,index=0" % make("two.img", 65536))
    refused("in use by another", "-hda", make("one.img", 65536), "-hdb", os.path.join(b.work, "one.img"))
    # the odd tail of an image is a sector; a read-only disk gives I/O errors, nothing is written
    odd, ro = make("odd.img", (1 << 20) + 100), make("ro.img", 1 << 20, b"keep me")
    m = b.novt("-drive", "file=%s,snapshot=on" % b.image, "-hdb", odd, "-drive", "file=%s,index=2,readonly=on" % ro)
    m.expect("GRUB", 60)
    refused("in use by another machine.*stop that one first", "-hda", odd)
    for image, free in ((b.image, True), (odd, False), (ro, True)):  # qemu-img has the same locks
        r = subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "raw", image, os.path.join(b.work, "copy.img")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if (r.returncode == 0) != free or not free and "lock" not in r.stdout:
            raise Failed("qemu-img convert %s: status %d: %s" % (image, r.returncode, r.stdout))
    m.expect(LOGIN, 300)
    m.login()
    if "2049" not in m.run("blockdev --getsz %s" % SECOND):
        raise Failed("the size of an odd image")
    m.run("printf tail | dd of=$(echo %s) bs=512 seek=2048 conv=sync oflag=direct status=none" % SECOND)
    out = m.run("dd if=/dev/zero of=$(echo %s) bs=512 count=1 oflag=direct" % THIRD, 120, fine=False)
    if "rror" not in out:
        raise Failed("a read-only disk took a write: %r" % out)
    m.close()
    with open(ro, "rb") as f:
        if f.read(7) != b"keep me":
            raise Failed("a read-only image was written to")
    with open(odd, "rb") as f:
        data = f.read()
    if len(data) != (1 << 20) + 512 or data[1 << 20:(1 << 20) + 4] != b"tail":
        raise Failed("the tail of an odd image")


def boot_time(m):
    start = time.monotonic()
    m.expect(LOGIN, 600)
    took = time.monotonic() - start
    m.close()
    return took


def speed(b):
    """Boot to the login, novt and QEMU's TCG in turn; medians."""
    if not shutil.which("qemu-system-i386"):
        raise Skipped("qemu-system-i386 is not installed")
    times = {"novt": [], "qemu": []}
    for _ in range(b.opts.rounds):
        times["novt"].append(boot_time(b.novt("-hda", b.image, "-snapshot")))
        times["qemu"].append(boot_time(b.qemu("-drive", "file=%s,format=raw,file.locking=off" % b.image, "-snapshot")))
    novt, qemu = (statistics.median(times[k]) for k in ("novt", "qemu"))
    text = "novt %.1f s, QEMU TCG %.1f s, ratio %.1f (median of %d)" % (novt, qemu, qemu / novt, b.opts.rounds)
    if qemu < 2 * novt:
        raise Failed(text)
    return text


CASES = {"serial": serial, "vga": vga, "package": package, "acpi": acpi, "bad": bad, "full": full, "limit": limit, "nbd": nbd,
         "kill": kill, "speed": speed}
SLOW = ("kill", "speed")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--images", required=True, help="folder with debian.img and debian-cd.iso")
    parser.add_argument("--engine", default="bt")
    parser.add_argument("--quick", action="store_true", help="leave out: " + " ".join(SLOW))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None, help="of the moments of the kills")
    parser.add_argument("--logs", help="folder for the consoles of failed cases")
    parser.add_argument("names", nargs="*")
    opts = parser.parse_args()
    if opts.list:
        print("\n".join("debian-" + n for n in CASES))
        return 0
    names = [n.removeprefix("debian-") for n in opts.names] or [n for n in CASES if not (opts.quick and n in SLOW)]
    wrong = [n for n in names if n not in CASES]
    if wrong:
        parser.error("no such case: " + ", ".join(wrong))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    failed = 0
    for name in names:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(dir=opts.images) as work:
            b = Bench(opts, work)
            try:
                what = CASES[name](b)
                word, what = "ok", "%.1f s%s" % (time.monotonic() - start, ": " + what if what else "")
            except Skipped as e:
                word, what = "skipped", str(e)
            except (Failed, subprocess.SubprocessError, OSError) as e:
                failed += 1
                word, what = "FAILED", str(e)
                if opts.logs and b.machines:
                    with open(os.path.join(opts.logs, "debian-%s.log" % name), "wb") as f:
                        f.write(b.machines[-1].log)
            finally:
                b.close()
        print("%-8s %-16s %s" % (word, "debian-" + name, what), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
