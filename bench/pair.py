#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares two engines by one program each at the same time, or in turn: finer than bench/run, for one question.

An engine is `native`, `qemu`, `novt`, or a novt binary's path, the latter two with what is switched off behind an @:

    bench/pair pingpong native novt
    bench/pair getppid-sysenter:300 novt novt@cr3,fxstate
    bench/pair compile-later /tmp/before/cli/novt novt

Both boot and stay. In each repetition they run the program at the same time, each on a processor of its own, and once more with the
processors swapped, so that what the machine does meanwhile, and what the processors differ in, hits both alike. What comes out is the
geometric mean of B's time over A's, and its standard error. A processor's two threads share its caches and units: where processors 0 and 1 are
such a pair, both are slower than alone, and not always alike; --in-turn runs one at a time and compares the least times and the quartiles.
"""
import argparse
import math
import os
import statistics
import sys
import threading

from lib.programs import load, members
from lib.sessions import Session
from lib.vmm import Guest, Native, Trouble, compiler_root, memory_folder, switches

LIMIT = 300  # seconds a program may take
CPUS = sorted(os.sched_getaffinity(0))


def engine_of(text):
    """(binary or None, names of the optimisations that are off), or a ValueError."""
    name, _, off = text.partition("@")
    off = off.split(",") if off else []
    if name in ("native", "qemu"):
        if off:
            raise ValueError(f"{name} has no optimisations to switch off")
        return None, []
    return name, off


class OnHost:
    """A native program, on the processors that it is given."""

    def __init__(self, native):
        self.native, self.cpus = native, CPUS

    def bind(self, cpus):
        self.cpus = cpus

    def run(self, program, percent):
        self.native.prefix = ["taskset", "-c", ",".join(map(str, self.cpus))]
        return self.native.run(program, percent, LIMIT)

    def end(self):
        pass


class InGuest:
    """A booted guest; bind() moves all of the VMM's threads."""

    def __init__(self, args, session, text, number):
        binary, off = engine_of(text)
        command = [args.novt if binary == "novt" else binary] + (["--no-opt=" + ",".join(off)] if off else []) if binary else None
        self.guest = Guest(args, session, "novt" if binary else text, os.path.join(args.out, f"pair-{'ab'[number]}.log"), command)
        try:
            self.guest.start()
        except Trouble:
            self.guest.kill()
            raise

    def bind(self, cpus):
        for task in os.listdir(f"/proc/{self.guest.console.process.pid}/task"):
            try:
                os.sched_setaffinity(int(task), cpus)
            except ProcessLookupError:  # it has just ended
                pass

    def run(self, program, percent):
        return self.guest.run(program, percent, LIMIT)

    def end(self):
        self.guest.kill()


def parse_arguments():
    parser = argparse.ArgumentParser(prog="bench/pair", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="one of bench/user/programs.txt, with the percentage of its work behind a colon "
                                        "(what novt does in bench/run)")
    parser.add_argument("a", metavar="A", help="engine to compare with")
    parser.add_argument("b", metavar="B", help="engine that is compared")
    parser.add_argument("--reps", type=int, default=10, help="repetitions (10)")
    parser.add_argument("--warm", type=int, default=1, help="runs before, which do not count (1)")
    parser.add_argument("--fresh", action="store_true", help="boot anew for each repetition")
    parser.add_argument("--in-turn", action="store_true", help="one at a time")
    parser.add_argument("--kernel", choices=["686", "686-pae"], default="686")
    parser.add_argument("--memory", type=int, default=512, help="guest memory in MiB")
    parser.add_argument("--append", default="", help="more kernel command line")
    parser.add_argument("--novt", default="build/cli/novt", help=argparse.SUPPRESS)
    parser.add_argument("--guest", default="build/guest", help=argparse.SUPPRESS)
    parser.add_argument("--out", default="build/bench", help="folder for console logs")
    args = parser.parse_args()
    args.prefix = ""
    return parser, args


def check(parser, args):
    """(program's name, percent of its work); ends the program if the command line is wrong."""
    programs = load()
    name, _, percent = args.program.partition(":")
    if name not in programs:
        parser.error(f"unknown program {name!r}; there are: {', '.join(programs)}")
    if percent and not (percent.isdigit() and int(percent)):
        parser.error(f"not a percentage: {percent!r}")
    if args.reps < 2:
        parser.error("--reps: 2 or more, for a standard error")
    if not args.in_turn and len(CPUS) < 2:
        parser.error("there is one processor only: use --in-turn")
    for text in (args.a, args.b):
        try:
            binary, off = engine_of(text)
        except ValueError as error:
            parser.error(str(error))
        if binary:
            path = args.novt if binary == "novt" else binary
            if not os.access(path, os.X_OK) or os.path.isdir(path):
                parser.error(f"{text}: neither native, qemu nor novt, nor a program that can be run")
            wrong = [o for o in off if o not in switches(path)]
            if wrong:
                parser.error(f"{text}: no such optimisation: {', '.join(wrong)} (novt --no-opt=help lists them)")
    return name, int(percent) if percent else programs[name].percent("bt", 1.0), name in members(programs, "compile")


def both(jobs):
    """Runs the functions at the same time; what they return, or what the first of them raised."""
    out = [None] * len(jobs)

    def call(n):
        try:
            out[n] = jobs[n]()
        except (Trouble, OSError) as error:
            out[n] = error

    threads = [threading.Thread(target=call, args=(n,)) for n in range(len(jobs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for o in out:
        if isinstance(o, Exception):
            raise o
    return out


def seconds(samples):
    """Seconds of each; a Trouble if they did not compute the same."""
    if len({(s["check"], s["work"]) for s in samples}) > 1:
        raise Trouble(f"computed different things: {', '.join(s['check'] for s in samples)}")
    return [s["seconds"] for s in samples]


def at_once(engines, program, percent):
    """[A's seconds, B's] twice: with A on the first processor, and swapped."""
    times = []
    for a, b in (CPUS[:2], CPUS[1::-1]):
        for engine, cpu in zip(engines, (a, b)):
            engine.bind([cpu])
        times.append(seconds(both([lambda e=e: e.run(program, percent) for e in engines])))
    return times


def in_turn(engines, program, percent):
    """The same, one at a time and in both orders."""
    times = []
    for order in ((0, 1), (1, 0)):
        found = {n: engines[n].run(program, percent) for n in order}
        times.append(seconds([found[0], found[1]]))
    return times


def measure(args, program, percent, compiles):
    """[[A's seconds, B's]], two a repetition."""
    session = Session("pair", "two engines", [], [program], kernel=args.kernel, initrd="initramfs-cc" if compiles else "initramfs.gz",
                      append=args.append)
    os.makedirs(args.out, exist_ok=True)
    times, engines = [], []
    with memory_folder() as folder:
        native = None
        if "native" in (args.a, args.b):
            native = Native(args.guest, compiler_root(args, folder) if compiles else None, [])

        def boot(number, text):
            return OnHost(native) if text == "native" else InGuest(args, session, text, number)

        try:
            for rep in range(args.reps):
                if args.fresh or not engines:
                    while engines:
                        engines.pop().end()
                    for number, text in enumerate((args.a, args.b)):
                        engines.append(boot(number, text))
                    for _ in range(args.warm):
                        for engine in engines:
                            engine.run(program, percent)
                now = (in_turn if args.in_turn else at_once)(engines, program, percent)
                times += now
                print(f"{rep + 1:3}: " + ", ".join(f"{b / a:.3f} ({a:.3f} s, {b:.3f} s)" for a, b in now), flush=True)
        finally:
            for engine in engines:
                engine.end()
    return times


def conclude(times, in_turn_too):
    """What to print."""
    # The two of a repetition are one sample: what differs between the processors or orders is in neither's favour then.
    logs = [statistics.mean(math.log(b / a) for a, b in times[n:n + 2]) for n in range(0, len(times), 2)]
    mean, error = math.exp(statistics.mean(logs)), statistics.stdev(logs) / math.sqrt(len(logs))
    lines = [f"B / A: {mean:.3f} +- {mean * error:.3f} (standard error of {len(logs)} repetitions)"]
    for what, n in (("A", 0), ("B", 1)):
        values = sorted(t[n] for t in times)
        quarters = statistics.quantiles(values, n=4)
        lines.append(f"{what}: least {values[0]:.4f} s, quartiles {quarters[0]:.4f} {quarters[1]:.4f} {quarters[2]:.4f} s")
    if in_turn_too:
        a, b = ([t[n] for t in times] for n in (0, 1))
        lines.append(f"least B / least A: {min(b) / min(a):.3f}; medians: {statistics.median(b) / statistics.median(a):.3f}")
    return lines


def main():
    parser, args = parse_arguments()
    program, percent, compiles = check(parser, args)
    try:
        times = measure(args, program, percent, compiles)
    except Trouble as trouble:
        print(f"bench/pair: {trouble}", file=sys.stderr)
        return 1
    print(f"{program}, {percent} % of its work; A: {args.a}, B: {args.b}; vmlinuz-{args.kernel}")
    print("\n".join(conclude(times, args.in_turn)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
