# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as one self-contained HTML file: no scripts, nothing fetched, light and dark by the reader's preference."""
from html import escape

from . import report, svg
from .figures import PLOTTED, verdict
from .programs import BOOT, GROUP_TITLES
from .stats import geometric_mean

CSS = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1c1d21; --soft: #62656e; --line: #e2e3e6; --rule: #f0f0f2;
  --native: #6b6f7a; --novt: #2563c9; --tcg: #c2570c; --other: #7c4dbd; --good: #18794e; --bad: #b3261e; --good-bg: #e3f4ea; --bad-bg: #fbe6e4; }
@media (prefers-color-scheme: dark) { :root { --page: #16171a; --card: #1e2024; --ink: #e8e9ec; --soft: #a0a4ae; --line: #35383f;
  --rule: #292c32; --native: #a3a8b4; --novt: #6ea8ff; --tcg: #ff9d57; --other: #bb9af7; --good: #63d297; --bad: #ff8f85; --good-bg: #173526;
  --bad-bg: #43201d; } }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 80px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 44px 0 6px; }
p { margin: 6px 0; max-width: 110ch; } .soft { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px 18px; margin-top: 12px; overflow-x: auto; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 20px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; flex: 1 1 170px; }
.tile b { display: block; font-size: 24px; line-height: 1.25; font-variant-numeric: tabular-nums; } .tile span { color: var(--soft); font-size: 13px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--line); padding: 5px 10px 5px 0; vertical-align: bottom; }
td { border-bottom: 1px solid var(--rule); padding: 5px 10px 5px 0; vertical-align: top; } tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; white-space: nowrap; } td.small { color: var(--soft); font-size: 12.5px; } .nowrap { white-space: nowrap; } table.figures td:first-child { width: 210px; } table.figures td:last-child { width: 320px; }
.chip { display: inline-block; border-radius: 10px; padding: 0 9px; font-size: 12.5px; white-space: nowrap; }
.yes { background: var(--good-bg); color: var(--good); } .no { background: var(--bad-bg); color: var(--bad); } .none { background: var(--rule); color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: 18px; font-size: 13px; color: var(--soft); margin-bottom: 6px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 6px; margin-right: 6px; } .legend i.line { width: 3px; height: 14px; border-radius: 0; vertical-align: -2px; }
svg.plot { width: 100%; min-width: 680px; height: auto; display: block; font: 13px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .tick { fill: var(--soft); font-size: 12px; } svg .group { font-weight: 600; } svg .row { fill: var(--ink); }
svg .grid { stroke: var(--line); } svg .rule { stroke: var(--rule); } svg .reference { stroke: var(--native); stroke-width: 2; }
svg .whisker { stroke-width: 3; stroke-linecap: round; opacity: .45; } svg .bar-mark { stroke-width: 3; }
svg .track { fill: var(--rule); } svg .good-side { fill: var(--good); opacity: .35; } svg .bound { stroke: var(--soft); stroke-width: 2; } svg.gauge { display: block; }
.native { fill: var(--native); stroke: none; } .novt { fill: var(--novt); } .tcg { fill: var(--tcg); } .other { fill: var(--other); }
g.native line { stroke: var(--native); } g.novt line { stroke: var(--novt); } g.tcg line { stroke: var(--tcg); } g.other line { stroke: var(--other); }
i.native { background: var(--native); } i.novt { background: var(--novt); } i.tcg { background: var(--tcg); } i.other { background: var(--other); }
details { margin-top: 10px; } summary { cursor: pointer; color: var(--soft); }
"""
SERIES = {"native": ("native", "native"), "novt": ("novt", "novt"), "qemu": ("QEMU TCG", "tcg"), "novt-interp": ("novt's interpreter", "other"),
          "bochs": ("Bochs", "other"), "novt-code-cache": ("novt, code cache", "novt")}


def legend(entries):
    return '<div class="legend">' + "".join(f'<span><i class="{css}"></i>{escape(text)}</span>' for text, css in entries) + "</div>"


def html_table(rows, numeric=(), css=""):
    """The first row is the head; cells are HTML already."""
    def line(cells, tag):
        return "<tr>" + "".join(f'<{tag}{" class=n" if i in numeric else ""}>{c}</{tag}>' for i, c in enumerate(cells)) + "</tr>"
    return f'<table class="{css}">' + line(rows[0], "th") + "".join(line(r, "td") for r in rows[1:]) + "</table>"


def figures_section(rows):
    if all(r["reached"] is None for r in rows):
        return ""
    out = [["Figure", "Ratio", "Must reach", "Measured", "", "", "Consists of"]]
    for r in rows:
        chip = {True: "yes", False: "no", None: "none"}[r["reached"]]
        unit = "x" if r["ratio"] == "TCG / novt < 1" else r["unit"]
        parts = ", ".join(f'<span class="nowrap">{escape(p["name"])} {report.times(p["value"], unit)}</span>' for p in r["parts"]) if len(r["parts"]) > 1 or r["unit"] == "" else ""
        show_gauge = r["value"] is not None and r["bound"] > 0
        out.append([escape(r["figure"]), f'<span class="nowrap">{escape(r["ratio"])}</span>', f"{escape(r['sense']).replace('&lt;=', '≤').replace('&gt;=', '≥')}&nbsp;{r['bound']:g}",
                    report.times(r["value"], r["unit"]), svg.gauge(r["value"], r["bound"], r["sense"]) if show_gauge else "",
                    f'<span class="chip {chip}">{verdict(r)}</span>', f'<span class="soft">{parts}</span>'])
    return ('<h2 id="figures">Figures</h2><p class="soft">Ratios of medians. The gauge shows the value beside its bound (the line in the middle), a factor of ten '
            'either way; the green half is the good one.</p><div class="card">' + html_table(out, (2, 3), "figures") + "</div>")


def relative(run, session, base, engines, program):
    """{series: (median, min, max)} of engines' times over the base's median."""
    ground, cells = run.median(session, base, program), {}
    for engine in engines:
        shown = run.shown(session, engine, program)
        if shown and ground:
            scale = ground * run.shown_work(session, program)
            cells[SERIES[engine][0]] = tuple(shown[k] / scale for k in ("median", "min", "max"))
    return cells


def programs_section(run, programs, session, engines):
    groups = []
    for group, title in GROUP_TITLES.items():
        names = [p for p in run.programs(session) if p in programs and programs[p].groups[0] == group]
        members = [(p, relative(run, session, "native", engines, p)) for p in names]
        members = [m for m in members if m[1]]
        if members:
            groups.append((title, members))
    # Native is the line, not a row of dots on it.
    series = [SERIES[e] for e in engines if e != "native"]
    plot = svg.dot_plot(groups, series, "x", (1, "native"))
    if not plot:
        return ""
    entries = [("native", "native line")] + series
    return ('<h2>Programs: time relative to native</h2><p class="soft">Logarithmic; further left is faster. Bars behind the dots: from the fastest to the slowest '
            'repetition.</p><div class="card">' + legend(entries) + plot + "</div>")


def boot_section(run, data):
    rows = []
    for s in data["sessions"]:
        if s["name"] in ("switches", "switches-cc", "nano"):
            continue
        for engine in s["engines"]:
            shown = run.shown(s["name"], engine, BOOT)
            if shown:
                rows.append((f"{s['name']}, {SERIES.get(engine, (engine, 'other'))[0]}", SERIES.get(engine, ("", "other"))[1], shown["median"]))
    plot = svg.bars(rows, " s")
    return plot and ('<h2>Boot</h2><p class="soft">Seconds of host time from the start of the process to the first line of user space. Sessions: '
                     + "; ".join(f"{escape(s['name'])}: {escape(s['title'])}" for s in data["sessions"] if s["name"] in ("main", "cc", "pae", "off"))
                     + '.</p><div class="card">' + plot + "</div>")


def kernel_section(run, data):
    """The same kernel-bound programs under the three guests."""
    names = [s["name"] for s in data["sessions"] if s["name"] in ("main", "off", "pae") and run.programs(s["name"])]
    if len(names) < 2:
        return ""
    programs = [p for p in run.programs("off") or run.programs("pae") if p != BOOT and any(run.ratio(n, "novt", "native", p) for n in names if n != "main")]
    titles = {"main": "default", "off": "mitigations=off", "pae": "PAE, isolation on"}
    head = ["Program"] + [f"{escape(titles[n])}<br>novt / native" for n in names] + [f"{escape(titles[n])}<br>TCG / novt" for n in names]
    rows = [[escape(p)] + [report.times(run.ratio(n, "novt", "native", p)) for n in names] + [report.times(run.ratio(n, "qemu", "novt", p)) for n in names]
            for p in programs]
    return ('<h2>Guest mitigations</h2><p class="soft">The native column of these ratios is always this host with its own mitigations. Default: what the guest chooses; without PAE it has no page-table isolation.</p><div class="card">'
            + html_table([head] + rows, range(1, len(head))) + "</div>")


def nano_section(run, engines):
    names = [p for p in run.programs("nano") if run.median("nano", "novt", p)]
    if not names:
        return ""
    members = []
    for name in names:
        cells = {SERIES[e][0]: (lambda m: (m, m, m))(run.median("nano", e, name)) for e in engines if e in SERIES and run.median("nano", e, name)}
        if name in PLOTTED:
            cells["published BT"] = (PLOTTED[name],) * 3
        members.append((name, {k: v for k, v in cells.items() if v[0] > 0}))
    series = [SERIES[e] for e in engines if e in SERIES] + [("published BT", "other tick-mark")]
    return ('<h2>Single operations: cycles</h2><p class="soft">Logarithmic; further left is faster. Published: the binary translator of Adams and Agesen (ASPLOS 2006), '
            'on another processor.</p><div class="card">' + legend([(n, c.replace("other tick-mark", "other line")) for n, c in series])
            + svg.dot_plot([("", members)], series, "") + "</div>")


def heat(value):
    """Background of a cell of the switch table: nothing near 1, red for slower, green for faster."""
    if value is None:
        return ""
    strength = min(abs(value - 1) / 1.0, 1) * 60
    if abs(value - 1) < 0.05:
        return ""
    colour = "var(--bad)" if value > 1 else "var(--good)"
    return f' style="background: color-mix(in srgb, {colour} {strength:.0f}%, transparent)"'


def switches_section(run, data):
    out = []
    for s in data["sessions"]:
        if not s["name"].startswith("switches") or not run.programs(s["name"]):
            continue
        engines = s["engines"][1:]
        head = "<tr><th>Program</th><th class=n>novt</th>" + "".join(
            f'<th class=n title="{escape(data["switches"].get(e[8:], ""))}">{escape(e[8:])}</th>' for e in engines) + "</tr>"
        body = []
        for p in run.programs(s["name"]):
            shown = run.shown(s["name"], "novt", p)
            cells = "".join(f'<td class=n{heat(run.ratio(s["name"], e, "novt", p))}>{report.times(run.ratio(s["name"], e, "novt", p), "")}</td>' for e in engines)
            body.append(f"<tr><td>{escape(p)}</td><td class=n>{report.duration(shown and shown['median'])}</td>{cells}</tr>")
        names = [p for p in run.programs(s["name"]) if p != BOOT]
        means = "".join(f'<td class=n><b>{report.times(geometric_mean([run.ratio(s["name"], e, "novt", p) for p in names]), "")}</b></td>' for e in engines)
        if len(names) > 1:
            body.append(f"<tr><td><b>geometric mean</b></td><td></td>{means}</tr>")
        out.append('<div class="card"><table>' + head + "".join(body) + "</table></div>")
    return out and ('<h2>Each optimisation off</h2><p class="soft">Time with one optimisation switched off (--no-opt) over time with all on: how often as long it '
                    'takes without it.</p>' + "".join(out)) or ""


def tables_section(run, data):
    out = ["<h2>All times</h2>"]
    for s in data["sessions"]:
        if not run.programs(s["name"]) or s["name"].startswith("switches"):
            continue
        columns = [c for c in report.COLUMNS if c[0] in s["engines"] and c[1] in s["engines"]]
        rows = [["Program"] + [escape(SERIES.get(e, (e,))[0]) for e in s["engines"]] + [c[2].replace("/", " / ") for c in columns]]
        for p in run.programs(s["name"]):
            rows.append([escape(p)] + [escape(report.amount(run.shown(s["name"], e, p), s["name"])) for e in s["engines"]] +
                        [report.times(run.ratio(s["name"], a, b, p)) for a, b, _ in columns])
        kernel = "" if s["name"] == "nano" else f" (vmlinuz-{s['kernel']}{' ' + s['append'] if s['append'] else ''})"
        out.append(f"<details><summary>{escape(s['name'])}: {escape(s['title'] + kernel)}</summary><div class=card>"
                   + html_table(rows, range(1, len(rows[0]))) + "</div></details>")
    return "".join(out)


def guests_section(data):
    rows = [["Session", "Engine", "Clock source", "Guest s / host s", "Peak resident", "Vulnerabilities as the guest sees them"]]
    for name, guests in data["guests"].items():
        for engine, runs in guests.items():
            if name.startswith("switches") and engine != "novt":
                continue
            drift = report.clock_drift(runs)
            states = runs[0].get("vulnerabilities", {}) if runs else {}
            rows.append([escape(name), escape(engine), escape(", ".join(sorted({g.get("clocksource", "?") for g in runs}))),
                         f"{min(drift):.3f} to {max(drift):.3f}" if drift else "-", f"{max(g.get('peak_rss_mib', 0) for g in runs)} MiB",
                         "<br>".join(escape(f"{k}: {v}") for k, v in states.items() if v != "Not affected") or "none reported"])
    host = "<br>".join(escape(f"{k}: {v}") for k, v in data["facts"]["vulnerabilities"].items() if v != "Not affected")
    return (f'<h2>Guests and host</h2><details><summary>clocks, memory, mitigations</summary><div class="card">{html_table(rows)}</div>'
            f'<div class="card"><b>The host\'s own</b><br>{host or "none reported"}</div></details>')


def tiles(data, run):
    def figure(start, ratio):
        return next((f for f in data["figures"] if f["figure"].startswith(start) and f["ratio"] == ratio), {}).get("value")

    reached = sum(f["reached"] is True for f in data["figures"])
    boots = run.median("main", "novt", BOOT)
    entries = [(f"{reached} / {len(data['figures'])}", "figures reached"),
               (report.times(figure("user integer", "novt / native")), "user integer, novt / native"),
               (report.times(figure("user FP", "novt / native")), "user floating point, novt / native"),
               (report.times(figure("user integer", "TCG / novt")), "user integer, TCG / novt"),
               (report.duration(boots), "Debian boot to user space")]
    if all(f["reached"] is None for f in data["figures"]):
        entries = entries[1:]
    return '<div class="tiles">' + "".join(f'<div class="tile"><b>{v}</b><span>{escape(t)}</span></div>' for v, t in entries if v != "-") + "</div>"


def page(data, run, programs):
    facts = data["facts"]
    main = next((s for s in data["sessions"] if s["name"] == "main"), None)
    engines = [e for e in main["engines"] if e in SERIES] if main else []
    nano = next((s["engines"] for s in data["sessions"] if s["name"] == "nano"), [])
    trouble = "".join(f"<li>{escape(t)}</li>" for t in data["trouble"])
    body = [
        "<h1>novt: measured side by side</h1>",
        f'<p class="soft">{escape(facts["date"])} · novt {escape(facts["commit"])} · {escape(facts["cpu"])}, {facts["cores"]} cores, Linux {escape(facts["kernel"])} · '
        f'{escape(facts["qemu"].split(" (")[0])} · guests: Debian {escape(", ".join(facts["guest_kernels"].values()))}, {data["options"]["memory"]} MiB · '
        f'{data["repetitions"]} repetitions in {data["seconds"]} s, load {facts["load"][0]:.1f} at the end; '
        f'{report.quiet(run.unsteadiness(), data.get("stolen", 0.0))}</p>',
        tiles(data, run), f'<h2>Trouble</h2><div class="card"><ul>{trouble}</ul></div>' if trouble else "",
        figures_section(data["figures"]), programs_section(run, programs, "main", engines), kernel_section(run, data), nano_section(run, nano),
        boot_section(run, data), switches_section(run, data), tables_section(run, data), guests_section(data),
    ]
    return ('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>novt: measured side by side</title><style>{CSS}</style></head><body><main>" + "\n".join(b for b in body if b) + "</main></body></html>\n")
