# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as text for a terminal."""
from .figures import verdict
from .measure import clock_drift
from .programs import BOOT, GROUP_TITLES
from .stats import geometric_mean

COLUMNS = [("novt", "native", "novt/native"), ("qemu", "novt", "TCG/novt"), ("qemu", "native", "TCG/native"),
           ("novt-code-cache", "native", "code cache/native")]


def duration(seconds):
    if seconds is None:
        return "-"
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def times(value, unit="x"):
    if value is None:
        return "-"
    return f"{value:.2f}{unit}" if abs(value) < 100 and (unit or value != int(value)) else f"{value:.0f}{unit}"


def table(rows, indent="  "):
    """Columns as wide as their widest cell; the first row is the head."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join(indent + "  ".join(cell.ljust(w) for cell, w in zip(r, widths)).rstrip() for r in rows)


def amount(spread, session):
    if not spread:
        return "-"
    show = (lambda v: f"{v:.0f}") if session == "nano" else duration
    return f"{show(spread['median'])} [{show(spread['min'])} .. {show(spread['max'])}]"


def quiet(unsteady, stolen):
    """How quiet the machine was, in a line."""
    if not unsteady:
        return f"{stolen:.0f} s of processor time stolen"
    median, most, program = unsteady
    return (f"native runs of the same program: the longest over the least {times(median)} in the middle, {times(most)} at most ({program}); "
            f"{stolen:.0f} s of processor time stolen")


def session_table(run, session, engines):
    columns = [c for c in COLUMNS if c[0] in engines and c[1] in engines]
    rows = [["program"] + [f"{e} median [min .. max]" for e in engines] + [c[2] for c in columns]]
    for program in run.programs(session):
        rows.append([program] + [amount(run.shown(session, e, program), session) for e in engines] +
                    [times(run.ratio(session, a, b, program)) for a, b, _ in columns])
    return table(rows)


def switch_table(run, session, engines):
    """Each engine against the session's first: how much longer without the optimisation."""
    base = engines[0]
    rows = [["program", base] + [e.replace("novt-no-", "no ").replace("novt-", "") for e in engines[1:]]]
    for program in run.programs(session):
        shown = run.shown(session, base, program)
        rows.append([program, duration(shown and shown["median"])] +
                    [times(run.ratio(session, e, base, program)) for e in engines[1:]])
    return table(rows)


def switch_summary(run, programs):
    """A Markdown table of what each optimisation brings: time without it over time with all, by group, and where it matters most."""
    groups = [g for g in GROUP_TITLES if g not in ("compile", "nano", "boot", "big")]
    first = run.samples.get("switches", {}) or run.samples.get("switches-cc", {})
    rows = [["without"] + groups + ["gcc", "boot", "most affected"]]
    for engine in first:
        if not engine.startswith("novt-no-"):
            continue
        ratios = {p: run.ratio("switches", engine, "novt", p) for p in run.programs("switches")}
        cells = [times(geometric_mean([v for p, v in ratios.items() if p in programs and g in programs[p].groups])) for g in groups]
        cells += [times(run.ratio("switches-cc", engine, "novt", "compile")), times(ratios.get(BOOT))]
        worst = sorted(((v, p) for p, v in ratios.items() if v), reverse=True)[:3]
        rows.append([engine[len("novt-no-"):]] + cells + [", ".join(f"{p} {times(v)}" for v, p in worst if v > 1.05) or "nothing"])
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(r, widths)) + " |" for r in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|"] + lines[1:]) if len(rows) > 1 else ""


def means(run, programs, session, engines):
    lines = []
    for group, title in GROUP_TITLES.items():
        names = [p for p in run.programs(session) if p in programs and group in programs[p].groups]
        if len(names) < 2 or group == "compile":  # a first and a later run of the same
            continue
        parts = [f"{label} {times(geometric_mean([run.ratio(session, a, b, p) for p in names]))}"
                 for a, b, label in COLUMNS if a in engines and b in engines]
        if parts:
            lines.append(f"  geometric mean, {title} ({len(names)}): " + ", ".join(parts))
    return "\n".join(lines)


def figures_table(rows):
    out = [["figure", "ratio", "must reach", "measured", "", "of"]]
    absent = [r for r in rows if r["reached"] is None and all(p["value"] is None or p["name"] == "published BT" for p in r["parts"])]
    for r in rows:
        if r in absent:
            continue
        parts = ", ".join(f"{p['name']} {times(p['value'], r['unit'] if 'TCG / novt < 1' != r['ratio'] else 'x')}" for p in r["parts"][:5])
        out.append([r["figure"], r["ratio"], f"{r['sense']} {r['bound']:g}", times(r["value"], r["unit"]), verdict(r),
                    parts + (", ..." if len(r["parts"]) > 5 else "") if len(r["parts"]) > 1 or r["unit"] == "" else ""])
    reached = sum(r["reached"] is True for r in rows)
    return table(out) + f"\n  {reached} of {len(rows)} reached" + (f", {len(absent)} not measured at all" if absent else "")


def guests_text(session, guests):
    """Clocks, memory and mitigations of a session's guests, and trouble with the clocks."""
    lines, trouble = [], []
    for engine, runs in guests.items():
        sources = sorted({g.get("clocksource", "?") for g in runs})
        # A clock that runs slow would flatter: compare with the host's.
        drift = clock_drift(runs)
        text = f"{min(drift):.4f} .. {max(drift):.4f}" if drift else "-"
        lines.append(f"  {engine}: guest clock {', '.join(sources)}, guest seconds / host seconds {text}; "
                     f"peak resident {max(g.get('peak_rss_mib', 0) for g in runs)} MiB")
        if any(not 0.97 < d < 1.03 for d in drift):
            trouble.append(f"{session}, {engine}: the guest's clock disagrees with the host's")
        if session == "pae" and any("PTI" not in g.get("vulnerabilities", {}).get("meltdown", "PTI") for g in runs):
            trouble.append(f"{session}, {engine}: the guest runs without page-table isolation")
    # Engines whose guests see the same are named together.
    seen = {}
    for engine, runs in guests.items():
        states = runs[0].get("vulnerabilities", {}) if runs else {}
        seen.setdefault("; ".join(f"{k}: {v}" for k, v in states.items() if v != "Not affected") or "none reported", []).append(engine)
    for text, engines in seen.items():
        lines.append(f"  guest's vulnerabilities ({', '.join(engines)}): {text}")
    return "\n".join(lines), trouble
