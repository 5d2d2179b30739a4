#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The items of tools/fidelity. See docs/fidelity.md for what each shows.

    tools/fidelity [--long] [--jobs N] [--list] [ITEM...]

Without --long everything is bounded, to end within 15 minutes on two idle cores. Each item's output is in
build/fidelity/ITEM.log. An item ends in one line "ITEM: figure"; one that falls short says FAILED, and so does one
whose program is not there.
"""
import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.path.join(ROOT, "build")
GUEST = os.path.join(BUILD, "guest")
LOGS = os.path.join(BUILD, "fidelity")
NOVT = os.path.join(BUILD, "cli", "novt")
KERNEL = os.path.join(BUILD, "tests", "guest", "guest.elf")

# Subjects of tests/guest whose loops are so long that forced stops are limited to so many at each place.
LONG_LOOPS = {"irq", "string", "alu", "misc", "flow", "fpu"}


# Seconds that a bounded item may take before it has failed. Idle cores need a third; the machine may be busy.
LIMIT = 2400


class Short(Exception):
    """The item falls short; the text says how."""


children, children_lock, over = set(), threading.Lock(), threading.Event()


class Item:
    """What a running item uses: its log, and programs whose output goes there."""

    def __init__(self, name, args):
        self.name, self.long = name, args.long
        self.log = open(os.path.join(LOGS, name + ".log"), "w", encoding="utf-8")

    def note(self, text):
        self.log.write(text + "\n")
        self.log.flush()

    def run(self, command, limit, env=None):
        """(exit status, output) of a command; it counts as failed, with status None, when its time is up."""
        if not os.path.exists(command[0]):
            raise Short(f"{os.path.relpath(command[0], ROOT)} does not exist")
        if over.is_set():
            raise Short("stopped")
        self.note("$ " + " ".join(command))
        with tempfile.TemporaryFile() as out:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT,
                                     env=dict(os.environ, **(env or {})), start_new_session=True)
            with children_lock:
                children.add(child)
            try:
                status = child.wait(limit)
            except subprocess.TimeoutExpired:
                stop(child)
                status = None
            with children_lock:
                children.discard(child)
            out.seek(0)
            text = out.read().decode("utf-8", "replace").replace("\r", "")
        self.note(text)
        self.note(f"exit status: {'time is up' if status is None else status}")
        return status, text


def stop(child):
    """Ends a command and what it started: it leads a session of its own."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, sig)
        except ProcessLookupError:
            return
        try:
            child.wait(5)
            return
        except subprocess.TimeoutExpired:
            pass


def find(pattern, text, what):
    match = re.search(pattern, text, re.M)
    if not match:
        raise Short(f"no line with {what}")
    return match


def number(text):
    return f"{int(text):,}"


# ---- the items ----

def insn(item):
    program = os.path.join(BUILD, "tests", "insn", "insn-test")
    cases = 200000000 if item.long else 10000000
    folder = os.path.join(ROOT, "tests", "insn")
    files = sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if name.endswith(".cases"))
    status, text = item.run([program, "--report", "--generate", str(cases), "--jobs", "1"] + files,
                            36000 if item.long else LIMIT)
    forms = find(r"^forms: (\d+)/(\d+)", text, "the forms")
    ran = int(find(r"^cases: (\d+)", text, "the cases")[1])
    wrong = int(find(r"^mismatches: (\d+)", text, "mismatches")[1])
    figure = f"{forms[1]} of {forms[2]} forms, {ran:,} cases, {wrong} mismatches"
    if status != 0 or wrong or forms[1] != forms[2] or ran < cases:
        raise Short(figure)
    return figure


def subjects():
    text = open(os.path.join(ROOT, "tests", "guest", "kernel.h"), encoding="utf-8").read()
    return re.findall(r"X\((\w+)\)", text[text.index("#define SUBJECTS"):text.index("#define X(name)")])


def guest_kernel(item, vmm, options, append="", split=False, option_of=None, least=800):
    """The guest kernel, all subjects in one boot or one boot a subject."""
    passed = stops = 0
    for group in ([[s] for s in subjects()] if split else [[]]):
        more = list(options) + (option_of(group[0]) if option_of else [])
        stats = os.path.join(LOGS, item.name + ".stats.json")
        if vmm != ["--qemu"]:
            more.append("--stats=" + stats)
        status, text = item.run([os.path.join(ROOT, "tests/guest/run.py"), "--timeout", "1700"] + vmm +
                                (["--append", append] if append else []) + [KERNEL] + group + ["--"] + more, 1800)
        match = find(r"^(\d+) ok, (\d+) failed", text, "a result")
        if status != 0:
            raise Short(f"{' '.join(group) or 'all subjects'}: {match[2]} checks failed, {match[1]} passed")
        passed += int(match[1])
        if vmm != ["--qemu"]:
            counted = re.search(r'"forced_stops": *(\d+)', open(stats, encoding="utf-8").read())
            stops += int(counted[1]) if counted else 0
    if passed < least:
        raise Short(f"only {passed} checks ran")
    return passed, stops


def guest(vmm, *options):
    return lambda item: f"{guest_kernel(item, vmm, options)[0]:,} checks, 0 failed"


def kick(where, *options):
    def run(item):
        def option_of(subject):
            kicks = f"--kick={where}"
            if subject == "storm":
                kicks += ",irq=5"
            elif subject == "irq" or (subject in LONG_LOOPS and not item.long):
                kicks += ",times=" + ("500" if where == "fragment" else "100")
            return [kicks]
        vmm = ["--vmm", NOVT, "--engine", "bt"]
        passed, stops = guest_kernel(item, vmm, options, f"storm={where}", True, option_of)
        if where == "instruction":  # NMIs, too, and within each other
            status, text = item.run([os.path.join(ROOT, "tests/guest/run.py"), "--timeout", "1700"] + vmm +
                                    ["--append", "storm=nmi", KERNEL, "storm", "--", "--kick=instruction,nmi", *options], 1800)
            if status != 0:
                raise Short("storm with NMIs: checks failed")
            passed += int(find(r"^(\d+) ok", text, "a result")[1])
        if not stops:
            raise Short("nothing was stopped")
        return f"{passed:,} checks, 0 failed, {stops:,} forced stops"
    return run


def boot_command(item, flavour, words, *options, light=True, limit=LIMIT):
    return [sys.executable, os.path.join(ROOT, "tests/boot/check.py")] + (["--light"] if light else []) + [
        "--slow", "--timeout", str(limit), "--programs", os.path.join(GUEST, "bench"), "--memory", "256", "--log",
        os.path.join(LOGS, item.name + ".console"), "--release", read(os.path.join(GUEST, "release-" + flavour)), "--",
        NOVT, "--engine=bt", "-kernel", os.path.join(GUEST, "vmlinuz-" + flavour), "-initrd",
        os.path.join(GUEST, "initramfs.gz"), "-m", "256", "-nographic", "-no-reboot", "-append",
        f"console=ttyS0 panic=-1 nokaslr novt.run={'light' if light else 'check'} {words}".strip()] + list(options)


def read(path):
    if not os.path.exists(path):
        raise Short(f"{os.path.relpath(path, ROOT)} does not exist (tools/prepare makes it)")
    return open(path, encoding="utf-8").read().strip()


def boot(item, flavour, *options):
    limit = 20000 if item.long else LIMIT
    status, text = item.run(boot_command(item, flavour, "", *options, light=not item.long, limit=limit), limit + 30)
    checks = re.search(r"^(\d+) passed, (\d+) failed", text, re.M)
    console = os.path.join(LOGS, item.name + ".console")
    said = open(console, encoding="utf-8", errors="replace").read() if os.path.exists(console) else ""
    return status, checks, said


def lockstep(flavour):
    def run(item):
        status, checks, said = boot(item, flavour, "--lockstep")
        differs = re.search(r"novt: lockstep: (?!\d+ instr)(.*)", said)
        if differs:
            raise Short("a difference: " + differs[1])
        done = re.search(r"novt: lockstep: (\d+) instructions, (\d+) comparisons, (\d+) differences", said)
        if status != 0 or not done or int(done[3]) or not checks:
            raise Short(f"{checks[2] if checks else 'no'} checks of the boot failed" + ("" if done else "; not at its end"))
        return (f"{number(done[1])} instructions, {number(done[2])} comparisons, {done[3]} differences, "
                f"{checks[1]} checks of the boot")
    return run


def verifier_boot(flavour):
    def run(item):
        stats = os.path.join(LOGS, item.name + ".stats.json")
        status, checks, said = boot(item, flavour, "--verify", "--stats=" + stats)
        if status != 0 or not checks:
            raise Short("the boot failed" + (": a translation was refused" if "internal error" in said else ""))
        counted = find(r'"tc_verified": *(\d+)', read(stats), "verified fragments")
        made = find(r'"tc_fragments": *(\d+)', read(stats), "fragments")
        if int(counted[1]) < int(made[1]) or not int(made[1]):
            raise Short(f"{counted[1]} of {made[1]} fragments were judged")
        return f"{number(counted[1])} fragments judged before they ran, 0 refused, {checks[1]} checks of the boot"
    return run


def code_cache_boot(flavour):
    """What a boot takes over from the file of another is what would have been translated."""
    def run(item):
        cache, stats = (os.path.join(LOGS, item.name + end) for end in (".cache", ".stats.json"))
        if os.path.exists(cache):
            os.remove(cache)
        for more in ([], ["--verify"]):
            status, checks, said = boot(item, flavour, "--code-cache=" + cache, "--stats=" + stats, *more)
            if status != 0 or not checks:
                raise Short("the boot failed" + (": a fragment was refused" if "novt: bug" in said else ""))
        os.remove(cache)
        taken = find(r'"tc_adopted": *(\d+)', read(stats), "fragments taken over")
        if int(taken[1]) < 10000:
            raise Short(f"only {taken[1]} fragments were taken over")
        return f"{number(taken[1])} fragments taken over and compared, 0 differ, {checks[1]} checks of the boot"
    return run


def replay_guest(item):
    count = 0
    for subject in subjects() if item.long else ["string", "task", "flow", "paging", "storm"]:
        status, text = item.run([os.path.join(ROOT, "tests/guest/replay.py"), "--vmm", NOVT, KERNEL, subject], 900)
        if status != 0:
            raise Short(f"{subject}: the replay differs")
        count += int(find(r"replay.*|bt: exit status 0, (\d+)", text, "a count")[1] or 0)
    return f"{count:,} instructions recorded and repeated by both engines, the same end; damaged logs refused"


def replay_boot(item):
    """A whole boot recorded, then repeated by the translator (--long: by the interpreter, too)."""
    log = os.path.join(LOGS, "replay-boot.inputs")
    limit = 20000 if item.long else LIMIT
    try:
        status, _, _ = boot(item, "686", "--record", log)
        if status != 0:
            raise Short("the recorded boot failed")
        size = os.path.getsize(log)
        counts = set()
        for engine in ["bt", "interp"] if item.long else ["bt"]:
            command = boot_command(item, "686", "", light=not item.long)
            command = command[command.index("--") + 1:]
            command[1] = "--engine=" + engine
            status, text = item.run(command + ["--replay", log], limit)
            done = re.search(r"replay: (\d+) instructions, the same end", text)
            if status != 0 or not done:
                raise Short(f"the replay by {engine} differs")
            counts.add(done[1])
        if len(counts) != 1:
            raise Short("the engines' replays differ in length")
        return f"{number(counts.pop())} instructions repeated from {size // (1 << 20)} MiB of inputs, the same end"
    finally:
        if os.path.exists(log):
            os.unlink(log)


def mutations(item):
    program = os.path.join(BUILD, "tests", "unit", "translator", "test_verify")
    real = [path for path in (KERNEL, os.path.join(GUEST, "busybox")) if os.path.exists(path)]
    status, text = item.run([program] + real, 36000 if item.long else LIMIT,
                            {"NOVT_MUTATIONS": "400000"} if item.long else {})
    counts = r"(\w+) (\d+) rejected (\d+) harmless (\d+) harmful-accepted (\d+)"
    total = re.search(rf"^mutations: ({counts}; {counts})$", text, re.M)
    if status != 0 or not total:
        raise Short("the test of the verifier failed")
    rand, crafted = total.groups()[1:6], total.groups()[6:11]
    if int(rand[4]) or int(crafted[4]) or int(rand[1]) < 10000 or int(crafted[1]) < 200:
        raise Short(total[1])
    return total[1]


def fuzz(item):
    program = os.path.join(ROOT, "tools", "fuzz")
    status, text = item.run([program, "--jobs=1", "--time=3600"] if item.long else [program, "--jobs=1", "--ci"],
                            90000 if item.long else LIMIT)
    targets = re.findall(r"^fuzz-\S+: (\d+) runs, (\d+) findings", text, re.M)
    figure = f"{len(targets)} targets, {sum(int(t[0]) for t in targets):,} runs, {sum(int(t[1]) for t in targets)} findings"
    if status != 0 or len(targets) < 4 or any(int(t[1]) or not int(t[0]) for t in targets):
        raise Short(figure)
    return figure


BT = ["--vmm", NOVT, "--engine", "bt"]
# Longest first, so that the cores finish together.
ITEMS = [
    ("lockstep-686", lockstep("686")),
    ("lockstep-686-pae", lockstep("686-pae")),
    ("insn", insn),
    ("replay-boot", replay_boot),
    ("kick-instruction", kick("instruction")),
    ("kick-fragment", kick("fragment")),
    ("kick-host", kick("host")),
    ("fuzz", fuzz),
    ("verifier-boot", verifier_boot("686")),
    ("code-cache-boot", code_cache_boot("686")),
    ("mutations", mutations),
    ("kick-lockstep", kick("instruction", "--lockstep")),
    ("guest-interp", guest(["--vmm", NOVT, "--engine", "interp"])),
    ("guest-bt", guest(BT)),
    ("guest-bt-verified", guest(BT, "--verify")),
    ("guest-bt-no-opt", guest(BT, "--no-opt=all")),
    ("guest-bt-small-cache", guest(BT, "--tcache-size=1M")),
    ("guest-bt-windows", guest(BT, "--windows=always")),
    ("guest-bt-no-windows", guest(BT, "--windows=never")),
    ("guest-lockstep", guest(BT, "--lockstep", "--verify")),
    ("guest-qemu", guest(["--qemu"])),
    ("replay-guest", replay_guest),
]


def run_item(name, function, args):
    item, begin = Item(name, args), time.monotonic()
    try:
        good, figure = True, function(item)
    except Short as short:
        good, figure = False, f"FAILED: {short} (build/fidelity/{name}.log)"
    except Exception as error:  # what one item trips over must not end the others
        good, figure = False, f"FAILED: {type(error).__name__}: {error} (build/fidelity/{name}.log)"
    item.note(f"{name}: {figure}")
    item.log.close()
    if not over.is_set():
        print(f"{name}: {figure}", flush=True)
    return good, time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="everything in full: hours")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="items at a time (default 2)")
    parser.add_argument("--list", action="store_true", help="only name the items")
    parser.add_argument("item", nargs="*", help="only these")
    args = parser.parse_args()
    names = [name for name, _ in ITEMS]
    if args.list:
        print("\n".join(names))
        return 0
    for name in args.item:
        if name not in names:
            parser.error(f"no item '{name}': {', '.join(names)}")
    chosen = [(n, f) for n, f in ITEMS if not args.item or n in args.item]
    os.makedirs(LOGS, exist_ok=True)
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda *_: sys.exit(143))
    begin = time.monotonic()
    pool = concurrent.futures.ThreadPoolExecutor(max(1, args.jobs))
    try:
        results = [r.result() for r in [pool.submit(run_item, n, f, args) for n, f in chosen]]
    except BaseException:
        over.set()
        with children_lock:
            left = list(children)
        for child in left:
            stop(child)
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    failed = sum(not good for good, _ in results)
    print(f"fidelity: {len(results) - failed} of {len(results)} items as they should be, "
          f"{time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
