# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots as inline SVG. Colours are CSS variables of the page, so that they follow its light and dark scheme; every mark has a
title that a pointer shows."""
import math
from html import escape

ROW, TOP, LABEL, RIGHT = 22, 34, 190, 24
WIDTH = 960


def log_position(value, low, high, width):
    return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low)) * width


def decades(low, high):
    """Ticks 1, 2, 5, 10, ... within the bounds; fewer when the range is wide."""
    steps = (1, 2, 5) if high / low < 200 else (1,)
    ticks, power = [], math.floor(math.log10(low))
    while 10 ** power <= high * 1.0001:
        ticks += [s * 10 ** power for s in steps if low * 0.9999 <= s * 10 ** power <= high * 1.0001]
        power += 1
    return ticks


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def dot_plot(groups, series, unit, reference=None, value_text=None):
    """Rows of dots on a logarithmic axis.

    groups: [(title, [(row name, {series name: (median, min, max)})])]; series: [(name, CSS class)]; reference: (value, text) of a line.
    """
    rows = [r for _, members in groups for r in members]
    values = [v for _, cells in rows for cell in cells.values() for v in cell if v > 0]
    if not values:
        return ""
    text = value_text or (lambda v: number(v) + unit)
    low, high = min(values + ([reference[0]] if reference else [])), max(values + ([reference[0]] if reference else []))
    low, high = low / 1.15, high * 1.15
    height = TOP + ROW * (len(rows) + len(groups)) + 12
    plot = WIDTH - LABEL - RIGHT
    out = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" class="plot">']
    for tick in decades(low, high):
        x = LABEL + log_position(tick, low, high, plot)
        out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - 12}" class="grid"/>')
        out.append(f'<text x="{x:.1f}" y="{TOP - 8}" class="tick" text-anchor="middle">{number(tick)}{unit}</text>')
    if reference:
        x = LABEL + log_position(reference[0], low, high, plot)
        out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - 12}" class="reference"><title>{escape(reference[1])}</title></line>')
    y = TOP
    for title, members in groups:
        y += ROW
        out.append(f'<text x="0" y="{y - 6}" class="group">{escape(title)}</text>')
        for name, cells in members:
            y += ROW
            middle = y - ROW / 2
            out.append(f'<text x="{LABEL - 12}" y="{middle + 4:.1f}" class="row" text-anchor="end">{escape(name)}</text>')
            out.append(f'<line x1="{LABEL}" y1="{middle:.1f}" x2="{WIDTH - RIGHT}" y2="{middle:.1f}" class="rule"/>')
            for series_name, css in series:
                if series_name not in cells:
                    continue
                median, least, most = cells[series_name]
                x, x0, x1 = (LABEL + log_position(v, low, high, plot) for v in (median, least, most))
                tip = f"{name}, {series_name}: {text(median)} ({text(least)} to {text(most)})"
                out.append(f'<g class="{css}"><title>{escape(tip)}</title>')
                if x1 - x0 > 1:
                    out.append(f'<line x1="{x0:.1f}" y1="{middle:.1f}" x2="{x1:.1f}" y2="{middle:.1f}" class="whisker"/>')
                if css.endswith("tick-mark"):
                    out.append(f'<line x1="{x:.1f}" y1="{middle - 7:.1f}" x2="{x:.1f}" y2="{middle + 7:.1f}" class="bar-mark"/></g>')
                else:
                    out.append(f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="5"/></g>')
    out.append("</svg>")
    return "".join(out)


def bars(rows, unit):
    """Horizontal bars: [(label, CSS class, value)], from zero."""
    rows = [r for r in rows if r[2] is not None]
    if not rows:
        return ""
    most, plot, height = max(r[2] for r in rows), WIDTH - LABEL - 110, 26 * len(rows) + 8
    out = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" class="plot">']
    for i, (label, css, value) in enumerate(rows):
        y = 4 + 26 * i
        width = max(2, value / most * plot)
        out.append(f'<text x="{LABEL - 12}" y="{y + 15}" class="row" text-anchor="end">{escape(label)}</text>'
                   f'<rect x="{LABEL}" y="{y + 2}" width="{width:.1f}" height="18" rx="3" class="{css}"><title>{escape(label)}: '
                   f'{value:.2f}{unit}</title></rect><text x="{LABEL + width + 8:.1f}" y="{y + 15}" class="value">{value:.2f}{unit}</text>')
    out.append("</svg>")
    return "".join(out)


def gauge(value, bound, sense):
    """Where a value lies beside its bound, a factor of 10 either way."""
    width, low, high = 150, bound / 10, bound * 10
    x = log_position(min(max(value, low), high), low, high, width) if value > 0 else 0
    good = (f'<rect x="0" y="7" width="{width / 2}" height="6" class="good-side"/>' if sense != ">="
            else f'<rect x="{width / 2}" y="7" width="{width / 2}" height="6" class="good-side"/>')
    return (f'<svg viewBox="-6 0 {width + 12} 20" width="{width + 12}" height="20" class="gauge"><rect x="0" y="7" width="{width}" height="6" '
            f'class="track"/>{good}<line x1="{width / 2}" y1="2" x2="{width / 2}" y2="18" class="bound"/>'
            f'<circle cx="{x:.1f}" cy="10" r="5" class="novt"/></svg>')
