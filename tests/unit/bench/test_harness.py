#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The arithmetic of bench/: medians, ratios, means, the figures table, the report, from samples made up here. No guest, no
clock. A rule that the harness lives by: what was not measured is None, and never reached."""
import os
import sys
import tempfile
import unittest
from html.parser import HTMLParser

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
sys.path.insert(0, os.path.join(ROOT, "bench"))
import pair  # noqa: E402
from lib import html, measure, report, svg, vmm  # noqa: E402
from lib.figures import figures, holds  # noqa: E402
from lib.nano import SENSITIVE  # noqa: E402
from lib.programs import BOOT, Program, load, members  # noqa: E402
from lib.sessions import Session, plan  # noqa: E402
from lib.stats import Run, geometric_mean, per_unit, spread  # noqa: E402


def sample(seconds, work=100, host=None):
    return {"seconds": seconds, "work": work, "check": "x", "host_seconds": host or seconds}


def whole_run(programs, novt=1.0, tcg=60.0):
    """Samples of every session: native takes 1 for everything, novt and TCG the same multiple of it everywhere."""
    samples = {}
    for s in plan(programs, True, [], []):
        names = s.programs or SENSITIVE + ["call_ret", "pte_write", "pte_write_use", "fault_page", "fault_page_write", "fault_page_user",
                                           "fault_page_fix", "fault_divide", "fault_divide_user"]
        samples[s.name] = {engine: {name: [sample(seconds)] for name in names + ([BOOT] if engine != "native" else [])}
                           for engine, seconds in (("native", 100), ("novt", 100 * novt), ("qemu", 100 * tcg), (vmm.CODE_CACHE, 100 * novt))
                           if engine in s.engines}
    return samples


class Statistics(unittest.TestCase):
    def test_per_unit_compares_different_amounts_of_work(self):
        run = Run({"s": {"novt": {"p": [sample(2, 100), sample(4, 100), sample(3, 100)]}, "qemu": {"p": [sample(3, 10)]}}})
        self.assertEqual(per_unit(run.of("s", "novt", "p")), [0.02, 0.04, 0.03])
        self.assertAlmostEqual(run.median("s", "novt", "p"), 0.03)
        self.assertAlmostEqual(run.ratio("s", "qemu", "novt", "p"), 10)
        # shown for the most work that anyone did
        self.assertEqual(run.shown_work("s", "p"), 100)
        self.assertAlmostEqual(run.shown("s", "qemu", "p")["median"], 30)
        self.assertEqual(spread([3, 1, 2]), {"median": 2, "min": 1, "max": 3, "n": 3})

    def test_missing_is_none(self):
        run = Run({"s": {"novt": {"p": [sample(1)]}}})
        self.assertIsNone(run.median("s", "qemu", "p"))
        self.assertIsNone(run.ratio("s", "qemu", "novt", "p"))
        self.assertIsNone(run.ratio("t", "novt", "novt", "p"))
        self.assertIsNone(run.shown("s", "qemu", "p"))
        self.assertIsNone(geometric_mean([]))
        self.assertIsNone(geometric_mean([1.0, None]))
        self.assertAlmostEqual(geometric_mean([1, 4]), 2)
        self.assertAlmostEqual(geometric_mean([0.5, 2, 1]), 1)


class Pairs(unittest.TestCase):
    def test_engines(self):
        self.assertEqual(pair.engine_of("native"), (None, []))
        self.assertEqual(pair.engine_of("/x/novt@ras,chain"), ("/x/novt", ["ras", "chain"]))
        with self.assertRaises(ValueError):
            pair.engine_of("native@ras")

    def test_a_processor_that_is_slower_cancels_out(self):
        # B takes half of A's time; the second processor, where B is first, takes four times as long; repetitions differ
        text = pair.conclude([(1, 2), (4, 0.5), (3, 6), (12, 1.5)], True)
        self.assertIn("B / A: 0.500 +- 0.000 (standard error of 2 repetitions)", text[0])
        self.assertIn("least B / least A: 0.500", text[-1])
        text = pair.conclude([(1, 1), (1, 1), (1, 4), (1, 4)], False)
        self.assertIn("B / A: 2.000 +- 1.386", text[0])

    def test_other_results_are_trouble(self):
        self.assertEqual(pair.seconds([sample(1), sample(2)]), [1, 2])
        with self.assertRaises(vmm.Trouble):
            pair.seconds([sample(1), dict(sample(2), check="y")])


class Programs(unittest.TestCase):
    def test_the_list(self):
        programs = load()
        self.assertIn("memcpy", members(programs, "integer"))
        self.assertIn("memcpy", members(programs, "memory"))
        self.assertEqual(members(programs, "compile"), ["compile", "compile-later", "compile-long"])
        for name, program in programs.items():
            self.assertTrue(all(1 <= p <= 100 for p in program.percents.values()), name)
        self.assertEqual(programs["fib"].percent("native", 1.0), programs["fib"].percents["bt"])
        self.assertEqual(programs["rep-movs"].percent("tcg", 0.01), 1)
        self.assertEqual(programs["compile"].percent("bt", 0.1), 100)

    def test_a_bad_list_is_refused(self):
        for text in ("a a.c integer 1 2\n", "a a.c nonsense 1 2 3\n", "a a.c fp 1 2 3\na b.c fp 1 2 3\n"):
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
                f.write(text)
                f.flush()
                with self.assertRaises(ValueError, msg=text):
                    load(f.name)

    def test_sources_are_there(self):
        with open(os.path.join(ROOT, "bench/user/programs.txt"), encoding="utf-8") as f:
            for line in f:
                words = line.split()
                if words and not line.startswith("#"):
                    self.assertTrue(os.path.exists(os.path.join(ROOT, "bench/user", words[1])), words[1])


class Figures(unittest.TestCase):
    def setUp(self):
        self.programs = load()

    def rows(self, samples, traps=None):
        return figures(Run(samples), self.programs, traps if traps is not None else {name: 0.0 for name in SENSITIVE})

    def row(self, rows, start, ratio):
        found = [r for r in rows if r["figure"].startswith(start) and r["ratio"] == ratio]
        self.assertEqual(len(found), 1, (start, ratio))
        return found[0]

    def test_all_measured_all_reached(self):
        rows = self.rows(whole_run(self.programs, novt=0.4))
        self.assertEqual([r["figure"] for r in rows if r["reached"] is not True], [])
        self.assertAlmostEqual(self.row(rows, "user integer", "novt / native")["value"], 0.4)
        self.assertAlmostEqual(self.row(rows, "user FP", "TCG / novt")["value"], 150)

    def test_nothing_measured_nothing_reached(self):
        rows = self.rows({}, {})
        self.assertEqual({r["reached"] for r in rows}, {None})

    def test_the_code_cache_is_its_own_figure(self):
        samples = whole_run(self.programs, novt=0.4)
        samples["cc"][vmm.CODE_CACHE]["compile"] = [sample(170)]
        rows = self.rows(samples)
        self.assertEqual([(r["figure"], r["value"]) for r in rows if not r["reached"]], [("the same with --code-cache, filled by a run before", 1.7)])

    def test_all_slow_none_reached(self):
        rows = self.rows(whole_run(self.programs, novt=100.0), {name: 1000.0 for name in SENSITIVE})
        self.assertEqual([r["figure"] for r in rows if r["reached"] and not r["figure"].startswith("nano: ")], [])
        self.assertEqual(self.row(rows, "nano: those of them", "operations")["value"], len(SENSITIVE))
        self.assertGreater(self.row(rows, "workloads in the suite", "TCG / novt < 1")["value"], 30)

    def test_each_means_the_worst(self):
        samples = whole_run(self.programs)
        samples["main"]["novt"]["fib"] = [sample(250)]
        row = self.row(self.rows(samples), "call-heavy", "novt / native")
        self.assertAlmostEqual(row["value"], 2.5)
        self.assertIs(row["reached"], False)
        samples["main"]["qemu"]["forkexec"] = [sample(200)]
        self.assertAlmostEqual(self.row(self.rows(samples), "each of fork+wait", "TCG / novt")["value"], 2.0)

    def test_one_member_missing_is_not_measured(self):
        samples = whole_run(self.programs)
        del samples["main"]["novt"]["sha256"]
        rows = self.rows(samples)
        self.assertIsNone(self.row(rows, "user integer", "novt / native")["reached"])
        self.assertIsNone(self.row(rows, "user integer", "TCG / novt")["reached"])
        self.assertIsNotNone(self.row(rows, "user FP", "novt / native")["reached"])
        del samples["nano"]["novt"]["pte_write_use"]
        self.assertIsNone(self.row(self.rows(samples), "nano: PTE write", "cycles, novt")["reached"])

    def test_sessions_do_not_mix(self):
        samples = whole_run(self.programs)
        samples["pae"]["qemu"]["getppid"] = [sample(1000)]
        rows = self.rows(samples)
        self.assertIs(self.row(rows, "getppid, PAE", "TCG / novt")["reached"], False)
        self.assertIs(self.row(rows, "getppid, each", "TCG / novt")["reached"], True)

    def test_slower_than_tcg_names_the_program(self):
        samples = whole_run(self.programs)
        samples["off"]["novt"]["pagefault"] = [sample(100 * 61)]
        row = self.row(self.rows(samples), "workloads in the suite", "TCG / novt < 1")
        self.assertEqual((row["value"], row["reached"]), (1, False))
        self.assertEqual(row["parts"][0]["name"], "pagefault (off)")

    def test_bounds(self):
        self.assertTrue(holds(1.15, "<=", 1.15))
        self.assertFalse(holds(1.16, "<=", 1.15))
        self.assertTrue(holds(5.5, ">=", 5.5))
        self.assertFalse(holds(391, "<", 391))


class Parsing(unittest.TestCase):
    def test_result_lines(self):
        self.assertEqual(vmm.parse_line("bench sieve 0.565339 00099510 8"),
                         {"name": "sieve", "seconds": 0.565339, "check": "00099510", "work": 8})
        for line in ("bench sieve 0.565339 00099510", "bench sieve x 0 8", "[ 1.0] bench sieve 0.5 0 8", ""):
            self.assertFalse(vmm.parse_line(line), line)

    def test_guest_clock(self):
        lines = [(10.0, "novt: clock 3.00"), (11.0, "x"), (30.0, "novt: clock 22.00")]
        self.assertEqual(vmm.clock(lines), [19.0, 20.0])
        self.assertIsNone(vmm.clock(lines[:2]))
        self.assertEqual(measure.clock_drift([{"clock": [19.0, 20.0]}, {"clock": [1.0, 1.0]}, {}]), [0.95])
        text, trouble = report.guests_text("main", {"novt": [{"clock": [19.0, 20.0], "clocksource": "tsc"}]})
        self.assertIn("0.95", text)
        self.assertEqual(len(trouble), 1)
        _, trouble = report.guests_text("pae", {"novt": [{"vulnerabilities": {"meltdown": "Vulnerable"}}]})
        self.assertEqual(len(trouble), 1)

    def test_engines(self):
        self.assertEqual([vmm.kind(e) for e in ("native", "novt", "novt-no-chain", "novt-interp", "qemu", "bochs")],
                         ["native", "bt", "bt", "interp", "tcg", "interp"])
        self.assertEqual(vmm.novt_options("novt-no-chain"), ["--engine=bt", "--no-opt=chain"])
        self.assertEqual(vmm.novt_options("novt-interp"), ["--engine=interp"])
        self.assertEqual(vmm.kind(vmm.CODE_CACHE), "bt")
        self.assertEqual(vmm.novt_options(vmm.CODE_CACHE, "file"), ["--engine=bt", "--code-cache=file"])
        self.assertTrue(vmm.known(vmm.CODE_CACHE))
        self.assertFalse(vmm.known("kvm"))

    def test_order_turns(self):
        self.assertEqual(measure.turned([1, 2, 3], 4), [2, 3, 1])
        self.assertEqual(measure.turned([], 4), [])

    def test_how_quiet_the_machine_was(self):
        def sample(seconds):
            return {"seconds": seconds, "work": 1}
        run = Run({"main": {"native": {"fib": [sample(1.0), sample(1.1)], "sieve": [sample(2.0), sample(5.0), sample(2.5)], "crc32": [sample(1.0)]},
                            "novt": {"fib": [sample(1.0), sample(9.0)]}}})
        median, most, program = run.unsteadiness()
        self.assertAlmostEqual(median, 1.8)
        self.assertEqual((most, program), (2.5, "sieve"))
        self.assertIn("1.80x in the middle, 2.50x at most (sieve); 12 s", report.quiet((median, most, program), 12.3))
        self.assertIsNone(Run({"main": {"native": {"fib": [sample(1.0)]}}}).unsteadiness())
        self.assertEqual(report.quiet(None, 0.0), "0 s of processor time stolen")

    def test_repetitions_that_fit(self):
        near, everything = measure.NEAR, measure.ALL
        self.assertEqual(measure.next_repetition(0, True, 560, 500, {}), everything)
        self.assertEqual(measure.next_repetition(1, True, 560, 250, {everything: 250}), near)
        self.assertEqual(measure.next_repetition(2, True, 560, 350, {everything: 200, near: 100}), everything)
        self.assertEqual(measure.next_repetition(2, True, 560, 350, {everything: 250, near: 100}), near)
        self.assertIsNone(measure.next_repetition(2, True, 560, 500, {everything: 250, near: 100}))
        self.assertIsNone(measure.next_repetition(1, True, 560, 500, {everything: 250}))
        self.assertEqual(measure.next_repetition(1, False, None, 5000, {everything: 2500}), everything)
        self.assertIsNone(measure.next_repetition(1, False, 4000, 2500, {everything: 2500}))

    def test_peers_left_out(self):
        m = measure.Measurement(None, {}, None, print)
        session = Session("main", "", ["native", "novt", "qemu"], [])
        self.assertEqual(m.engines(session), ["native", "novt", "qemu"])
        m.left_out = measure.PEERS
        self.assertEqual(m.engines(session), ["native", "novt"])

    def test_again_the_other_way_round(self):
        main, off = Session("main", "", [], []), Session("off", "", [], [])
        fib, exe = Program("fib", ["call"], {}), Program("forkexec", ["system"], {})
        self.assertEqual(measure.again(main, fib, ["novt", "qemu", "native"]), ["native", "novt"])
        self.assertEqual(measure.again(main, Program("pingpong", ["system"], {}), ["native", "novt"]), ["novt", "native"])
        self.assertEqual(measure.again(main, exe, ["native", "novt"]), [])
        self.assertEqual(measure.again(off, fib, ["native", "novt"]), [])
        # each compile but the first is like the others, and near native speed
        cc = Session("cc", "", [], [])
        self.assertEqual(measure.again(cc, Program("compile", ["compile"], {}), ["native", "novt", "qemu"]), [])
        for name in ("compile-later", "compile-long"):
            self.assertEqual(measure.again(cc, Program(name, ["compile"], {}), ["native", "novt", "qemu"]),
                             ["novt", "native", "native", "novt"])


class Balanced(HTMLParser):
    """Every element that is opened is closed, in order."""
    VOID = {"meta", "br", "line", "circle", "rect"}

    def __init__(self):
        super().__init__()
        self.open, self.bad = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.bad.append(tag)


class Reports(unittest.TestCase):
    def data(self, samples):
        programs = load()
        sessions = plan(programs, False, ["chain"], [])
        samples["switches"] = {e: {"fib": [sample(s)], BOOT: [sample(s)]} for e, s in (("novt", 1), ("novt-no-chain", 3))}
        facts = {"cpu": "a <cpu>", "cores": 2, "kernel": "6", "memory": "1", "qemu": "QEMU", "commit": "abc", "date": "now", "load": [0, 0, 0],
                 "guest_kernels": {"686": "6.1"}, "vulnerabilities": {"meltdown": "Not affected"}}
        run = Run(samples)
        return programs, run, {
            "facts": facts, "options": {"memory": 512}, "repetitions": 1, "seconds": 1, "samples": samples, "guests": {"main": {"novt": [{}]}},
            "trouble": ["<b>"], "switches": {"chain": "chains"}, "figures": figures(run, programs, {}),
            "sessions": [{"name": s.name, "title": s.title, "engines": s.engines, "kernel": s.kernel, "append": s.append} for s in sessions]}

    def test_page(self):
        for samples in (whole_run(load()), {}):
            programs, run, data = self.data(samples)
            text = html.page(data, run, programs)
            parser = Balanced()
            parser.feed(text)
            self.assertEqual((parser.open, parser.bad), ([], []))
            self.assertNotIn("a <cpu>", text)
            self.assertNotIn("<b>", text.split("Trouble")[1].split("</ul>")[0])
            self.assertNotIn("http", text)  # nothing is fetched

    def test_tables(self):
        programs, run, data = self.data(whole_run(load()))
        lines = report.session_table(run, "main", ["native", "novt", "qemu"]).splitlines()
        self.assertEqual(len(lines), 1 + len(run.programs("main")))
        self.assertIn("60.00x", next(line for line in lines if "sieve" in line))
        self.assertIn("3.00x", report.switch_table(run, "switches", ["novt", "novt-no-chain"]))
        summary = report.switch_summary(run, programs).splitlines()
        self.assertEqual(len(summary), 3)
        self.assertIn("fib 3.00x", summary[2])
        self.assertEqual(len({line.count("|") for line in summary}), 1)
        self.assertIn("NOT reached", report.figures_table(data["figures"]))

    def test_numbers(self):
        self.assertEqual([report.duration(v) for v in (2.5, 0.0025, 2.5e-6, 2.5e-9, None)], ["2.5 s", "2.5 ms", "2.5 us", "2.5 ns", "-"])
        self.assertEqual([report.times(v) for v in (1.234, 123.4, None)], ["1.23x", "123x", "-"])

    def test_plots(self):
        self.assertEqual(svg.dot_plot([], [], ""), "")
        self.assertEqual(svg.bars([("a", "novt", None)], "s"), "")
        self.assertEqual(svg.decades(1, 10), [1, 2, 5, 10])
        self.assertAlmostEqual(svg.log_position(10, 1, 100, 50), 25)
        self.assertIn("circle", svg.gauge(1000, 1, "<="))
        self.assertIn("circle", svg.gauge(0, 1, "<="))


if __name__ == "__main__":
    unittest.main()
