# SPDX-License-Identifier: GPL-2.0-or-later
"""The nano session: bench/nano's kernel, which times single operations in cycles of the time-stamp counter. Its run.py starts
it; here its results become samples (cycles in place of seconds) beside all others."""
import importlib.util
import os
import types

from .measure import turned
from .vmm import kind

HERE = os.path.dirname(os.path.abspath(__file__))
PORT_IN = ["in_80", "in_pit", "in_uart", "in_pic"]
CONTROL = ["cr0_write", "cr2_write", "cr4_write"]
SENSITIVE = ["cli_sti", "pushf_popf"] + PORT_IN + CONTROL + ["cr3_switch"]


def module():
    """bench/nano/run.py."""
    spec = importlib.util.spec_from_file_location("nano_run", os.path.join(HERE, "..", "nano", "run.py"))
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def options(args, **more):
    return types.SimpleNamespace(novt=args.novt, kernel=os.path.join(args.build, "bench/nano/nano.elf"),
                                 user=os.path.join(args.build, "bench/nano/nano-user"), pages="4k", test=None, timeout=300, more=[], **more)


def repetition(measurement, session, rep):
    nano = module()
    for engine in turned(measurement.engines(session), rep):
        if kind(engine) == "interp" and engine != "novt-interp":
            continue
        try:
            results = nano.run_engine(options(measurement.args), engine)
        except (SystemExit, OSError) as trouble:  # how run.py says that it cannot
            measurement.complain(session, engine, rep, str(trouble))
            continue
        for name, (median, low, high) in results.items():
            measurement.add(session, engine, name, {"seconds": median, "min": low, "max": high, "work": 1, "check": "-"})
    if rep == 0 and "novt" in session.engines:
        measurement.traps = steady_traps(measurement, session, nano, rep)


def least_traps(nano, args, name, rounds):
    """What each run of a few needs: ticks, and large pages that the host had or had not at hand, are not the operation's."""
    runs = [nano.traps(args, name, rounds) for _ in range(3)]
    return None if None in runs else {t: min(r[t] for r in runs) for t in runs[0]}


def steady_traps(measurement, session, nano, rep):
    """{operation: host traps (signals, mappings, minor faults) a thousand operations}, from two lengths of the same run."""
    found = {}
    for name in SENSITIVE:
        try:
            few, many = (least_traps(nano, options(measurement.args), name, rounds) for rounds in nano.check_rounds(name))
        except (SystemExit, OSError) as trouble:
            measurement.complain(session, "novt", rep, str(trouble))
            continue
        if few is None or many is None:
            measurement.complain(session, "novt", rep, f"the nano kernel knows no {name}")
            continue
        operations = nano.CHECK_OPS[1] - nano.CHECK_OPS[0]
        found[name] = max(0.0, max(many[t] - few[t] for t in many) * 1000 / operations)
    return found
