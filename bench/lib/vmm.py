# SPDX-License-Identifier: GPL-2.0-or-later
"""Engines: how each is started, and how a program runs in it. Guests are driven over their serial console: /init with
novt.run=serve runs the programs that it is told, one at a time."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from . import bochs

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "boot"))
from console import Console  # noqa: E402

BOOT_LIMIT = {"interp": 900}  # seconds; others
BOOT_LIMIT_FAST = 180


def kind(engine):
    """Which of programs.txt's columns an engine works by."""
    if engine in ("novt-interp", "bochs"):
        return "interp"
    return {"native": "native", "qemu": "tcg"}.get(engine, "bt")


CODE_CACHE = "novt-code-cache"  # with the translations of a run before


def known(engine):
    return engine in ("native", "qemu", "bochs", "novt", "novt-interp", CODE_CACHE) or engine.startswith("novt-no-")


def code_cache(args, session):
    return os.path.join(args.out, f"code-cache-{session.name}")


def novt_options(engine, cache=None):
    name, _, switched_off = engine.partition("-no-")
    if engine == CODE_CACHE:
        return ["--engine=bt", "--code-cache=" + cache]
    return ["--engine=" + ("interp" if name == "novt-interp" else "bt")] + (["--no-opt=" + switched_off] if switched_off else [])


def switches(novt):
    """Names of novt's optimisations."""
    text = subprocess.run([novt, "--no-opt=help"], capture_output=True, text=True, timeout=20).stdout
    return {m[1]: m[2] for m in re.finditer(r"^  (\w+) +(\S.*)$", text, re.M)}


def parse_line(line):
    match = re.match(r"bench (\S+) ([\d.]+) ([0-9a-f]+) (\d+)$", line)
    return match and {"name": match[1], "seconds": float(match[2]), "check": match[3], "work": int(match[4])}


def clock(lines):
    """Seconds that went by between the guest's two looks at its clock: [guest's, host's], or None."""
    looks = [(float(line.split()[2]), when) for when, line in lines if re.match(r"novt: clock [\d.]+$", line)]
    return [looks[-1][0] - looks[0][0], looks[-1][1] - looks[0][1]] if len(looks) > 1 else None


class Trouble(Exception):
    """A measurement that did not come about; the rest goes on without it."""


def compiler_root(args, folder):
    """The compiler's root in a memory file system, as the guest has it. None without one."""
    source = os.path.join(args.guest, "ccroot")
    if not os.path.isdir(source):
        return None
    target = os.path.join(folder, "cc")
    shutil.copytree(source, target, symlinks=True)
    return target


def memory_folder():
    """A folder in a memory file system, which goes with the object."""
    return tempfile.TemporaryDirectory(prefix="novt-bench-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)


class Native:
    """The same 32-bit binaries on the host. The compiler's root folder is wherever `ccroot` says."""

    def __init__(self, guest, ccroot, prefix):
        self.guest, self.prefix = guest, prefix
        self.env = dict(os.environ, BENCH_BUSYBOX=os.path.abspath(os.path.join(guest, "busybox")))
        if ccroot:
            self.env["BENCH_CCROOT"] = os.path.abspath(ccroot)

    def run(self, program, percent, limit):
        t0 = time.monotonic()
        try:
            done = subprocess.run(self.prefix + [os.path.join(self.guest, "bench", program), str(percent)], capture_output=True, text=True,
                                  timeout=limit, env=self.env, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise Trouble(f"{program}: time is up") from None
        sample = parse_line(done.stdout.strip())
        if done.returncode or not sample:
            raise Trouble(f"{program}: status {done.returncode}, said {(done.stdout + done.stderr).strip()[-200:]!r}")
        sample["host_seconds"] = time.monotonic() - t0
        return sample


class Guest:
    """One booted VMM. novt: the command that begins it, in place of args.novt as the engine's name has it."""

    def __init__(self, args, session, engine, log, novt=None):
        self.engine = engine
        append = f"console=ttyS0 panic=-1 nokaslr no_timer_check {session.append} novt.run=serve".replace("  ", " ")
        kernel, initrd = (os.path.join(args.guest, n) for n in ("vmlinuz-" + session.kernel, session.initrd))
        common = ["-kernel", kernel, "-initrd", initrd, "-m", str(args.memory), "-nographic", "-no-reboot", "-append", append]
        if engine == "qemu":
            command = ["qemu-system-i386", "-accel", "tcg", "-nic", "none"] + common
        elif engine == "bochs":
            command = bochs.command(args, session, append)
        else:
            command = (novt or [args.novt] + novt_options(engine, code_cache(args, session))) + common
        self.limit = BOOT_LIMIT.get(kind(engine), BOOT_LIMIT_FAST)
        self.facts, self.boot = {}, None
        self.console = Console(args.prefix.split() + command, self.limit, log)

    def wait(self, text, limit, after=0):
        """Time at which a line with `text` came."""
        self.console.deadline, self.console.timed_out = time.monotonic() + limit, False
        when = self.console.wait_for(text, after, whole=True)
        if when is None:
            last = (self.console.text() or ["nothing"])[-1]
            raise Trouble(("time is up" if self.console.timed_out else "the VMM ended") + f", last line: {last}")
        return when

    def start(self):
        """Up to where programs can run. The boot's sample: until user space says so."""
        self.boot = self.wait("novt: user space up", self.limit)
        self.wait("novt: serving", self.limit)
        for _, line in self.console.lines:
            if line.startswith("novt: clocksource"):
                self.facts["clocksource"] = line.split()[2]
            elif line.startswith("novt: vulnerability "):
                what, _, state = line[len("novt: vulnerability "):].partition(": ")
                self.facts.setdefault("vulnerabilities", {})[what] = state
        return {"seconds": self.boot, "host_seconds": self.boot, "work": 1, "check": "-"}

    def run(self, program, percent, limit):
        mark = len(self.console.lines)
        self.console.send(f"{program} {percent}\n")
        self.wait(f"novt: end {program} ", limit, mark)
        sample, begin, end, status = None, None, None, None
        for when, line in self.console.lines[mark:]:
            if line == "start":
                begin = when
            elif line.startswith("novt: end "):
                status = line.split()[-1]
            elif line.startswith("bench "):
                sample, end = parse_line(line), when
        if status != "0" or not sample or sample["name"] != program or begin is None:
            raise Trouble(f"{program}: status {status}, said {' / '.join(l for _, l in self.console.lines[mark:])[-200:]!r}")
        sample["host_seconds"] = end - begin
        if self.engine == "bochs":  # its clock goes by the instructions that it has run
            sample["seconds"] = sample["host_seconds"]
        return sample

    def leave(self):
        """Ends the guest in order; what is wrong with that is the caller's to report."""
        self.console.deadline, self.console.timed_out = time.monotonic() + 60, False
        self.console.send("leave\n")
        if self.engine == "bochs":  # a reset starts it anew
            self.wait("novt: leaving", 60)
            self.kill()
            return
        status = self.console.finish()
        self.facts["peak_rss_mib"] = round((self.console.max_rss_kib or 0) / 1024)
        self.facts["clock"] = clock(self.console.lines)
        if self.console.timed_out:
            raise Trouble("did not leave")
        if status != 0:
            raise Trouble(f"exit status {status}")

    def kill(self):
        self.console.kill()
        self.facts["peak_rss_mib"] = round((self.console.max_rss_kib or 0) / 1024)
