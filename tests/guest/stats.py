#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks what --stats says of time: the phases add up to all of it, and were entered as often as the counters say.

    stats.py [--vmm PROGRAM] KERNEL

Nothing here depends on how fast anything is.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

# The phase, and the counters whose sum says how often it was entered.
SAME = [("read_miss", ["exit_read_miss"]), ("write_miss", ["exit_write_miss"]), ("slow", ["exit_slow"]), ("lookup", ["exit_lookup"]),
        ("link", ["exit_link"]), ("intr", ["exit_intr"]), ("win_protect", ["window_protects"]), ("win_map", ["window_maps"]),
        ("pt_write", ["shadow_pt_writes"]), ("port", ["io_in", "io_out"])]
BT = ["code", "translate", "exec", "fill", "port", "page_fault", "run"]


def run(args, where, more, name, subjects):
    path = os.path.join(where, name)
    done = subprocess.run([args.vmm, "-kernel", args.kernel, "-append", "only=" + subjects, "-m", "64", "-nographic", "-no-reboot",
                           "-device", "isa-debug-exit,iobase=0xf4,iosize=4", f"--stats={path}", *more],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=170)
    assert done.returncode == 33, (more, done.returncode, done.stderr.decode()[-500:])
    with open(path) as f:
        return f.read()


def adds_up(stats, what):
    cycles = {name[7:]: value for name, value in stats.items() if name.startswith("cycles_") and name != "cycles_total"}
    assert sum(cycles.values()) == stats["cycles_total"], (what, cycles, stats["cycles_total"])
    assert all(0 <= value <= stats["cycles_total"] for value in cycles.values()), (what, cycles)
    assert stats["wall_ns"] > 0
    for phase, value in cycles.items():
        assert phase == "other" or value == 0 or stats["times_" + phase], (what, phase)
    return cycles


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmm", default="build/cli/novt")
    parser.add_argument("kernel")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        for more in ([], ["--windows=always"], ["--windows=never", "--no-opt=all"], ["--kick=fragment,times=20"]):
            stats = json.loads(run(args, where, more, "s.json", "idt,paging,user,irq,smc,again"))
            cycles = adds_up(stats, more)
            assert all(cycles[phase] for phase in BT), (more, cycles)
            assert cycles["halted"], "the guest executes hlt"
            for phase, counters in SAME:
                assert stats["times_" + phase] == sum(stats[c] for c in counters), (more, phase, stats["times_" + phase], counters)
            assert stats["times_copy"] == stats["tc_moved"] - stats["tc_followed"], more
            assert bool(stats["tc_followed"]) == (more in ([], ["--windows=always"])), (more, stats["tc_followed"])
            assert stats["times_exec"] + stats["times_sys"] == stats["exit_exec"], more
            assert stats["times_fill"] == stats["shadow_walks"], more
            assert stats["times_host_fault"] >= stats["exit_host_fault"], more
            assert not more or "kick" not in more[0] or cycles["signal_kick"], more
            assert stats["signal_cycles"] > 0
        # Thousands of system calls and returns from them find their targets in translated code.
        stats = json.loads(run(args, where, [], "s.json", "user"))
        assert stats["soft_ints"] > 1000 and stats["exit_lookup"] < 1000, (stats["soft_ints"], stats["exit_lookup"])
        # A kernel maps 4,000 pages for some accesses each; the window soon leaves them alone.
        stats = json.loads(run(args, where, ["--windows=always"], "s.json", "corner"))
        assert stats["window_maps"] < 1000 and stats["host_signals"] < 2000, (stats["window_maps"], stats["host_signals"])
        # Its branches from page to page are chained without checks, as long as the pages stay; and stores to what was a page
        # table do not stay in table form.
        for more, on in (([], True), (["--no-opt=kdirect,winagain"], False)):
            stats = json.loads(run(args, where, ["--windows=always", *more], "s.json", "local"))
            assert [bool(stats[x]) for x in ("tc_directs", "tc_directs_undone", "window_again")] == [on] * 3, stats
        # Address spaces are changed, and FPU state saved, without the interpreter.
        for subject, switch, least in (("local", "cr3", 5000), ("fpu", "fxstate", 700)):
            with_it, without = (json.loads(run(args, where, more, "s.json", subject))["exit_exec"] for more in ([], ["--no-opt=" + switch]))
            assert with_it + least < without, (switch, with_it, without)
        stats = json.loads(run(args, where, ["--engine=interp"], "s.json", "irq,paging"))
        cycles = adds_up(stats, "interp")
        assert cycles["interp"] and cycles["halted"] and cycles["fill"] and not cycles["code"] and not cycles["translate"], cycles
        assert stats["insns_interp"] > 100000
        few, all_of_them = (json.loads(run(args, where, more, "s.json", "flow"))["insns_bt"] for more in ([], ["--count"]))
        assert all_of_them > 2 * few, ("--count", few, all_of_them)
        text = run(args, where, [], "s.txt", "irq,paging")
        shares = [float(x) for x in re.findall(r"^\w+ +\d+ +\d+ +(\d+\.\d+) %  ", text, re.M)]
        assert len(shares) > 10 and abs(sum(shares) - 100) < 0.01 * len(shares), shares
        assert re.search(r"^total +\d+ 100\.00 %$", text, re.M), text
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
