# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs sessions, repetition by repetition, and collects samples. Everything that goes wrong becomes a line of trouble
and a missing sample, never a wrong one: a result counts only if its checksum is that of a native run of the same work."""
import os
import time

from .programs import BOOT
from .vmm import CODE_CACHE, Guest, Native, Trouble, code_cache, kind

PROGRAM_LIMIT = {"interp": 900}  # seconds a program may take; others:
PROGRAM_LIMIT_FAST = 180
PEERS = ("qemu", "bochs")
ALL, NEAR = "all engines", "without peers"  # what a repetition runs
STEADY = ("getppid", "getppid-sysenter", "pingpong")  # system programs whose first run is like every other


def turned(items, n):
    n %= max(1, len(items))
    return items[n:] + items[:n]


def next_repetition(rep, quick, limit, spent, took):
    """What repetition number rep runs: ALL, NEAR, or None if neither would end in time. A quick run leaves the other VMMs out of every
    second one, and of others for which there is no time: novt's distance from them is large, that from native speed is not.
    limit, spent: seconds; took: those of the last repetition of either kind."""
    want = NEAR if quick and rep % 2 else ALL
    for what in (want, NEAR) if quick else (want,):
        expected = took.get(what, took.get(ALL, 0) / 2)
        if not limit or spent + expected <= limit:
            return what
    return None


def again(session, program, order):
    """Those engines that run the program again, the other way round, so that what the machine does meanwhile hits
    both alike: where a figure's bound is near native speed. Not where a first run differs from a later one."""
    near = [engine for engine in reversed(order) if engine in ("native", "novt")]
    if session.name == "main" and (set(program.groups) & {"call", "memory"} or program.name in STEADY):
        return near
    if session.name == "cc" and program.name in ("compile-later", "compile-long"):
        return near + near[::-1]
    return []


def memory_available():
    """MiB, or None."""
    try:
        with open("/proc/meminfo", encoding="ascii") as f:
            return next(int(line.split()[1]) // 1024 for line in f if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


class Measurement:
    """samples, facts, trouble and notes of all sessions."""

    def __init__(self, args, programs, native, say):
        self.args, self.programs, self.native, self.say = args, programs, native, say
        self.notes = []
        self.left_out = ()  # engines, for now
        self.samples, self.guests, self.trouble, self.expected, self.traps = {}, {}, [], {}, {}

    def expect(self, program, percent):
        """The checksum of a native run of that much work, made once."""
        if (program, percent) not in self.expected:
            self.expected[program, percent] = self.native.run(program, percent, PROGRAM_LIMIT_FAST)["check"]
        return self.expected[program, percent]

    def add(self, session, engine, program, sample):
        self.samples.setdefault(session.name, {}).setdefault(engine, {}).setdefault(program, []).append(sample)

    def complain(self, session, engine, rep, what):
        text = f"{session.name}, {engine}, repetition {rep + 1}: {what}"
        self.trouble.append(text)
        self.say("TROUBLE: " + text)

    def boot(self, session, engine, rep, again=""):
        guest = Guest(self.args, session, engine, os.path.join(self.args.out, f"{session.name}-{engine}-{rep}{again}.log"))
        try:
            sample = guest.start()
        except Trouble as trouble:
            guest.kill()
            if engine in PEERS and not again:
                # On a busy machine a guest of QEMU's may find that its timer does not tick. Once more: it is a peer, not what is tested.
                self.notes.append(f"{session.name}, {engine}, repetition {rep + 1}: booted again, {trouble}")
                self.say("note: " + self.notes[-1])
                return self.boot(session, engine, rep, "-again")
            self.complain(session, engine, rep, f"boot: {trouble}")
            return None
        self.guests.setdefault(session.name, {}).setdefault(engine, []).append(guest.facts)
        if again in ("", "-again"):
            self.add(session, engine, BOOT, sample)
        return guest

    def engines(self, session):
        return [engine for engine in session.engines if engine not in self.left_out]

    def batches(self, session):
        """All engines at once where memory allows; else in groups, each beginning with the engine to compare with."""
        room, per = memory_available(), self.args.memory + 200
        together = max(2, room // per - 1) if room else 4
        engines = self.engines(session)
        if len(engines) <= together:
            return [engines]
        first, rest = engines[0], engines[1:]
        return [[first] + rest[i:i + together - 1] for i in range(0, len(rest), together - 1)]

    def repetition(self, session, rep):
        t0 = time.monotonic()
        for batch in self.batches(session):
            self.run_batch(session, turned(batch, rep), rep)
        self.say(f"  {session.name}, repetition {rep + 1}: {time.monotonic() - t0:.0f} s")

    def fill_code_cache(self, session):
        """A run of all programs that is not measured leaves its translations."""
        if os.path.exists(code_cache(self.args, session)):
            os.remove(code_cache(self.args, session))
        guest = Guest(self.args, session, CODE_CACHE, os.path.join(self.args.out, f"{session.name}-{CODE_CACHE}-before.log"))
        try:
            guest.start()
            for program in session.programs:
                guest.run(program, self.programs[program].percent("bt", self.args.scale), PROGRAM_LIMIT_FAST)
            guest.leave()
        except Trouble as trouble:
            self.complain(session, CODE_CACHE, 0, f"the run before: {trouble}")
        finally:
            guest.kill()

    def run_batch(self, session, engines, rep):
        guests = {}
        if CODE_CACHE in engines and rep == 0:
            self.fill_code_cache(session)
        try:
            for engine in engines:
                if engine == "native":
                    guests[engine] = self.native
                else:
                    guest = self.boot(session, engine, rep)
                    if guest:
                        guests[engine] = guest
            for number, program in enumerate(session.programs):
                order = turned(engines, number)
                for engine in order + again(session, self.programs[program], order):
                    if engine in guests:
                        self.one(session, guests, engine, program, rep)
            for engine, guest in guests.items():
                if engine != "native":
                    try:
                        guest.leave()
                    except Trouble as trouble:
                        self.complain(session, engine, rep, str(trouble))
        finally:
            for engine, guest in guests.items():
                if engine != "native":
                    guest.kill()

    def one(self, session, guests, engine, program, rep):
        """One program on one engine."""
        percent = self.programs[program].percent(kind(engine), self.args.scale * (session.tcg_scale if engine == "qemu" else 1))
        limit = PROGRAM_LIMIT.get(kind(engine), PROGRAM_LIMIT_FAST)
        try:
            sample = guests[engine].run(program, percent, limit)
        except (Trouble, OSError) as trouble:
            self.complain(session, engine, rep, f"{program}: {trouble}")
            if engine == "native":
                return
            # The guest is in an unknown state: another boot for the rest.
            guests.pop(engine).kill()
            guest = self.boot(session, engine, rep, f"-after-{program}")
            if guest:
                guests[engine] = guest
            return
        if engine == "native":
            self.expected.setdefault((program, percent), sample["check"])
        try:
            right = self.expect(program, percent)
        except Trouble as trouble:
            self.complain(session, "native", rep, str(trouble))
            return
        if sample["check"] != right:
            self.complain(session, engine, rep, f"{program} computed {sample['check']}, natively {right}")
            return
        sample.pop("name")
        self.add(session, engine, program, sample)


def clock_drift(runs, least=5.0):
    """Guest seconds over host seconds, for those boots of an engine that were looked at for long enough."""
    return [r["clock"][0] / r["clock"][1] for r in runs if r.get("clock") and r["clock"][1] >= least]
