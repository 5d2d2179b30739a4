# SPDX-License-Identifier: GPL-2.0-or-later
"""Arithmetic on samples. A sample is {"seconds", "work", ...}; engines may have done different amounts of the same work,
so everything compares seconds a unit of work. A Run holds what one bench/run measured."""
import math
import statistics


def per_unit(samples):
    """[seconds a unit of work] of a list of samples."""
    return [s["seconds"] / s["work"] for s in samples]


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def geometric_mean(values):
    """None if any value is missing: a mean over some of the members would be another figure."""
    if not values or any(v is None or v <= 0 for v in values):
        return None
    return math.exp(sum(math.log(v) for v in values) / len(values))


class Run:
    """samples: {session: {engine: {program: [sample]}}}. What is missing is None, all the way up."""

    def __init__(self, samples):
        self.samples = samples

    def of(self, session, engine, program):
        return self.samples.get(session, {}).get(engine, {}).get(program) or []

    def median(self, session, engine, program):
        """Median of seconds a unit of work."""
        samples = self.of(session, engine, program)
        return statistics.median(per_unit(samples)) if samples else None

    def ratio(self, session, a, b, program):
        """Median of engine a over that of engine b."""
        x, y = self.median(session, a, program), self.median(session, b, program)
        return x / y if x is not None and y else None

    def ratios(self, session, a, b, programs):
        """[(program, ratio or None)]"""
        return [(p, self.ratio(session, a, b, p)) for p in programs]

    def unsteadiness(self, engine="native"):
        """How far samples of the same program lie apart, the longest over the least: (median over programs, most, of which program).
        The host's own programs never change, so with them it says how quiet the machine was. None without a second sample."""
        apart = [(max(v) / min(v), program) for by in self.samples.values() for program, samples in by.get(engine, {}).items()
                 for v in [per_unit(samples)] if len(v) > 1]
        return (statistics.median(r for r, _ in apart), *max(apart)) if apart else None

    def programs(self, session):
        """Those that any engine of the session has results for, in the order of their first appearance."""
        seen = {}
        for results in self.samples.get(session, {}).values():
            for program in results:
                seen.setdefault(program)
        return list(seen)

    def shown_work(self, session, program):
        """The amount of work that tables show times for: the largest that some engine did."""
        return max((s["work"] for r in self.samples.get(session, {}).values() for s in r.get(program, [])), default=1)

    def shown(self, session, engine, program):
        """{"median", "min", "max", "n"} in seconds for shown_work, or None."""
        samples = self.of(session, engine, program)
        if not samples:
            return None
        work = self.shown_work(session, program)
        return spread([v * work for v in per_unit(samples)])
