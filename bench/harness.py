#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures native, novt and QEMU's TCG side by side: a table, the project's figures, JSON and an HTML report.

Every VMM gets the same kernel, initramfs, command line and memory. All engines of a session are booted (timed by the host up to user
space), then the programs go round: each program natively, in novt and in TCG before the next one, so that a machine that is busy for
a while is busy for all. A program times itself by the guest's clock; the host times it, too, between markers on the console.

Slow engines do less of the same work: each program says how much it did, and what is compared is seconds a unit. A result counts only if
its checksum is the one that the same work gives natively. bench/README.md says more.
"""
import argparse
import json
import os
import signal
import sys
import time

from lib import bochs, host, html, nano, report
from lib.figures import figures
from lib.measure import NEAR, PEERS, Measurement, next_repetition
from lib.programs import load, members
from lib.sessions import plan
from lib.stats import Run, per_unit, spread
from lib.vmm import Native, compiler_root, known, memory_folder, switches


def parse_arguments():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="all figures in under 10 minutes: at most 3 repetitions, TCG not in all of them, no switches, no interpreters")
    parser.add_argument("--reps", type=int, help="repetitions (5; at most 3 with --quick)")
    parser.add_argument("--budget", type=float, help="seconds after which no repetition begins that would not end, preparing included (560 with --quick)")
    parser.add_argument("--sessions", help="some sessions only: main, cc, pae, off, nano, switches, switches-cc, interpreters")
    parser.add_argument("--engines", help="in the sessions main and cc: native, novt, qemu, novt-interp, bochs, novt-no-NAME (an optimisation "
                                          "switched off), novt-no-each (one for each)")
    parser.add_argument("--programs", help="some programs only, by name or group, or 'none' for the boot alone")
    parser.add_argument("--scale", type=float, default=1.0, help="more or less work")
    parser.add_argument("--kernel", choices=["686", "686-pae"], help="another kernel for the sessions main and cc")
    parser.add_argument("--memory", type=int, default=512, help="guest memory in MiB")
    parser.add_argument("--append", help="more kernel command line in the sessions main and cc")
    parser.add_argument("--prefix", default="", help="put before every engine's command line, such as 'chrt -r 5' on a busy machine "
                                                     "(then run all of it under 'chrt -r 6', or the console is read late)")
    parser.add_argument("--bochs", action="store_true", help="Bochs, too, in the session interpreters: a boot takes it five minutes and more")
    parser.add_argument("--floors", action="store_true", help="status 1 also when a figure that was measured is not reached")
    parser.add_argument("--render", metavar="JSON", help="print and draw the report of an earlier run again")
    parser.add_argument("--novt", default="build/cli/novt", help=argparse.SUPPRESS)
    parser.add_argument("--spent", type=float, default=0, help=argparse.SUPPRESS)  # seconds that preparing took
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--guest", default="build/guest", help=argparse.SUPPRESS)
    parser.add_argument("--out", default="build/bench", help="folder for results and console logs")
    args = parser.parse_args()
    return parser, args


def choose(parser, args, programs):
    """The sessions to run, as the options say."""
    names = switches(args.novt)
    if args.bochs and bochs.usable():
        parser.error(f"Bochs cannot run here: {bochs.usable()}")
    peers = ["bochs"] if args.bochs else []
    sessions = plan(programs, args.quick, names, peers)
    if args.sessions:
        wanted = args.sessions.split(",")
        # Sessions that --quick leaves out can be asked for by name.
        there = {s.name: s for s in plan(programs, False, names, peers)}
        there.update({s.name: s for s in sessions})
        for name in wanted:
            if name not in there:
                parser.error(f"unknown session {name!r}; there are: {', '.join(there)}")
        sessions = [there[name] for name in wanted]
    elif args.engines or args.programs or args.kernel or args.append:
        sessions = [s for s in sessions if s.name in ("main", "cc")]
    if args.engines:
        engines = []
        for engine in args.engines.split(","):
            engines += [f"novt-no-{n}" for n in names] if engine == "novt-no-each" else [engine]
        for engine in engines:
            if not known(engine):
                parser.error(f"unknown engine {engine!r}")
            if engine == "bochs" and bochs.usable():
                parser.error(f"Bochs cannot run here: {bochs.usable()}")
    for s in sessions:
        if s.name in ("main", "cc"):
            s.engines = engines if args.engines else s.engines
            s.kernel = args.kernel or s.kernel
            s.append = (s.append + " " + (args.append or "")).strip()
    if args.programs:
        wanted = []
        for name in [] if args.programs == "none" else args.programs.split(","):
            found = [name] if name in programs else members(programs, name)
            if not found:
                parser.error(f"unknown program or group {name!r}; there are: {', '.join(programs)}")
            wanted += found
        for s in sessions:
            s.programs = [p for p in s.programs if p in wanted]
        sessions = [s for s in sessions if s.programs] or [s for s in sessions if s.name == "main"]
    return sessions


def peers_missing(args, sessions):
    """What the report says of peers that it might have had."""
    if args.bochs or not any(s.name == "interpreters" for s in sessions):
        return []
    return [f"without Bochs: {bochs.usable() or 'not asked for (--bochs)'}"]


def measure(args, sessions, programs):
    """Runs it all; the run as a dictionary, as it goes to the JSON file."""
    def say(text):
        print(text, flush=True)

    reps = args.reps or (3 if args.quick else 5)
    budget = args.budget or (560 if args.quick else None)
    started, before, stolen = time.monotonic(), args.spent, host.stolen()
    with memory_folder() as folder:
        needs_cc = any(p in s.programs for s in sessions for p in members(programs, "compile"))
        native = Native(args.guest, compiler_root(args, folder) if needs_cc else None, args.prefix.split())
        m = Measurement(args, programs, native, say)
        done, took = 0, {}
        for rep in range(reps):
            begun = time.monotonic()
            what = next_repetition(rep, args.quick, budget, before + begun - started, took)
            if what is None:
                break
            m.left_out = PEERS if what is NEAR else ()
            for s in sessions:
                if rep < (s.reps or reps):
                    (nano.repetition if s.name == "nano" else Measurement.repetition)(m, s, rep)
            done = rep + 1
            took[what] = time.monotonic() - begun
    return {
        "facts": host.facts(args), "options": {k: v for k, v in vars(args).items() if k != "render"}, "repetitions": done,
        "seconds": round(time.monotonic() - started), "stolen": round(host.stolen() - stolen, 1), "samples": m.samples, "guests": m.guests, "traps": m.traps, "trouble": m.trouble, "notes": m.notes + peers_missing(args, sessions),
        "sessions": [{"name": s.name, "title": s.title, "engines": s.engines, "kernel": s.kernel, "append": s.append} for s in sessions],
        "switches": switches(args.novt),
    }


def conclude(data, programs):
    """Adds what follows from the samples: medians, ratios, figures, trouble with clocks."""
    run = Run(data["samples"])
    data["medians"] = {s: {e: {p: spread(per_unit(v)) for p, v in r.items()} for e, r in by.items()} for s, by in data["samples"].items()}
    data["ratios"] = {s: {p: {label: run.ratio(s, a, b, p) for a, b, label in report.COLUMNS} for p in run.programs(s)}
                      for s in data["samples"]}
    data["figures"] = figures(run, programs, data.get("traps"))
    for name, guests in data["guests"].items():
        for text in report.guests_text(name, guests)[1]:
            if text not in data["trouble"]:
                data["trouble"].append(text)
    return run


def print_report(data, run, programs):
    facts = data["facts"]
    print(f"\n{facts['cpu']}, {facts['cores']} cores, {facts['memory']}, Linux {facts['kernel']}; novt {facts['commit']}; {facts['qemu']}; "
          f"guests {', '.join(facts['guest_kernels'].values())}, {data['options']['memory']} MiB")
    print(f"{data['repetitions']} repetitions, {data['seconds']} s, load {facts['load'][0]:.2f}; times are for the same work in all columns")
    print(report.quiet(run.unsteadiness(), data.get("stolen", 0.0)))
    for s in data["sessions"]:
        if s["name"] not in data["samples"]:
            continue
        print(f"\n{s['name']}: {s['title']} (vmlinuz-{s['kernel']}{' ' + s['append'] if s['append'] else ''})"
              + (", cycles" if s["name"] == "nano" else ""))
        if s["name"].startswith("switches"):
            print(report.switch_table(run, s["name"], s["engines"]))
        else:
            print(report.session_table(run, s["name"], s["engines"]))
            means = report.means(run, programs, s["name"], s["engines"])
            if means:
                print(means)
        guests = data["guests"].get(s["name"], {})
        if s["name"].startswith("switches"):  # what the guest sees is the same in all
            guests = {e: g for e, g in guests.items() if e == "novt"}
        text, _ = report.guests_text(s["name"], guests)
        if text:
            print(text)
    summary = report.switch_summary(run, programs)
    if summary:
        print("\ntime without an optimisation over time with all of them (geometric means of groups)\n\n" + summary)
    if any(f["reached"] is not None for f in data["figures"]):
        print("\nfigures\n" + report.figures_table(data["figures"]))
    for note in data["notes"]:
        print("note:", note)
    for trouble in data["trouble"]:
        print("TROUBLE:", trouble)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser, args = parse_arguments()
    programs = load()
    if args.render:
        with open(args.render, encoding="utf-8") as f:
            data = json.load(f)
    else:
        sessions = choose(parser, args, programs)
        os.makedirs(args.out, exist_ok=True)
        data = measure(args, sessions, programs)
    run = conclude(data, programs)
    print_report(data, run, programs)
    os.makedirs(args.out, exist_ok=True)
    for name, text in (("result.json", json.dumps(data, indent=1)), ("report.html", html.page(data, run, programs))):
        path = os.path.join(args.out, name)
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.replace(path + ".new", path)
        print(f"written: {path}")
    missed = [f for f in data["figures"] if f["reached"] is False]
    return 1 if data["trouble"] or (args.floors and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
