"""A run as a picture (SVG): bars of its ratios with what the rounds saw, and lines of its long runs."""

from __future__ import annotations

import math

from tests.benchmarks.report.drawing import Drawing
from tests.benchmarks.report.results import FIGURES, Course, Ratio, Run, Scenario, Spread
from tests.benchmarks.report.table import machine

_WIDTH, _MARGIN = 860, 24
_LABEL, _VALUE = 230, 170  # what stands left and right of the bars
_ROW, _BAR, _HEAD, _GAP = 22, 13, 26, 16
_CHART, _LINE = 150, 16


def picture(run: Run) -> str:
    """The SVG; readable on light and dark pages. Raises ValueError where the run has nothing that could be drawn."""
    panels = [(one, ratio) for one in run.scenarios for ratio in _drawn(one, run.ours)]
    if not panels and not run.courses:
        raise ValueError("nothing to draw: no scenario that was measured has a ratio to another contender")
    drawing = Drawing(_WIDTH)
    y = float(_MARGIN)
    for scenario, ratio in panels:
        y = _bars(drawing, y, scenario, ratio, run.ours)
    for course in run.courses:
        for figure in ("rss_mib", "cpu_us"):
            y = _lines(drawing, y, course, figure, run.ours)
    drawing.text(_MARGIN, y + 4, machine(run), "small")
    return drawing.svg(y + _MARGIN, title="Lens Bridge beside its peers and its limit: `make bench`")


def _drawn(scenario: Scenario, ours: str) -> list[Ratio]:
    """The first ratio and those to the same contender that are no CPU time: rate, or both percentiles."""
    first = scenario.ratios[0]
    also = [one for one in scenario.ratios[1:] if one.other == first.other and one.figure != "cpu_us"]
    return [one for one in (first, *also) if one.other != ours and scenario.ratio(ours, one) is not None]


def _bars(drawing: Drawing, y: float, scenario: Scenario, ratio: Ratio, ours: str) -> float:
    """A panel, from ``y`` down. Returns where the next one begins."""
    spreads = [(name, scenario.ratio(name, ratio)) for name in scenario.rows if name != ratio.other]
    known = [(name, spread) for name, spread in spreads if spread is not None]
    width = _WIDTH - 2 * _MARGIN - _LABEL - _VALUE
    scale = width / (1.08 * max(1.0, *(spread.greatest for _, spread in known)))
    left = _MARGIN + _LABEL
    figure = FIGURES[ratio.figure]
    drawing.text(_MARGIN, y + 12, scenario.title, "title")
    way = "" if figure.more_is_better else ", less is better"
    drawing.text(_WIDTH - _MARGIN, y + 12, f"{figure.title} ÷ {ratio.other}{way}", "small", anchor="end")
    top = y + _HEAD
    for row, (name, spread) in enumerate(known):
        middle = top + row * _ROW + _ROW / 2
        drawing.text(left - 10, middle + 4, name, f"{_kind(name, ours)}-text", anchor="end")
        drawing.box(left, middle - _BAR / 2, spread.median * scale, _BAR, _kind(name, ours))
        drawing.line(left + spread.least * scale, middle, left + spread.greatest * scale, middle, "range")
        for end in _ends(spread):
            drawing.line(left + end * scale, middle - 3, left + end * scale, middle + 3, "range")
        median, *ends = (format(one, ".2f" if one < 10 else ".0f") for one in (spread.median, *_ends(spread)))
        drawing.text(left + width + 10, middle + 4, median, "value")
        drawing.text(left + width + 56, middle + 4, " to ".join(ends), "small")
    bottom = top + len(known) * _ROW
    drawing.line(left, top, left, bottom, "axis")
    drawing.line(left + scale, top, left + scale, bottom, "one")  # as good as the one it is measured by
    return bottom + _GAP


def _lines(drawing: Drawing, y: float, course: Course, figure: str, ours: str) -> float:
    """A chart of a figure over the events, from ``y`` down and from 0 up. Returns where the next one begins."""
    left, width, top = _MARGIN + 60, _WIDTH - 2 * _MARGIN - 60 - _VALUE, y + _HEAD
    most_events = max(rounds["events"][-1] for rounds in course.rows.values())
    most = _round_above(max(max(rounds[figure]) for rounds in course.rows.values()))
    drawing.text(_MARGIN, y + 12, f"{course.title}: {FIGURES[figure].title}", "title")
    for part in (0, 0.5, 1):
        level = top + _CHART * (1 - part)
        drawing.line(left, level, left + width, level, "axis")
        drawing.text(left - 8, level + 4, f"{most * part:g}", "small", anchor="end")
    ends: list[tuple[float, str]] = []
    for name, rounds in course.rows.items():
        points = [
            (left + width * events / most_events, top + _CHART * (1 - value / most))
            for events, value in zip(rounds["events"], rounds[figure], strict=True)
        ]
        drawing.path(points, f"{_kind(name, ours)}-line")
        ends.append((points[-1][1], name))
    below = top - _LINE
    for at, name in sorted(ends):
        below = max(at, below + _LINE)  # lines may end together, names may not
        drawing.text(left + width + 10, below + 4, name, f"{_kind(name, ours)}-text")
    drawing.text(left + width, top + _CHART + 16, f"{most_events:,.0f} events", "small", anchor="end")
    return top + _CHART + 20 + _GAP


def _kind(name: str, ours: str) -> str:
    return "ours" if name == ours else "other"


def _ends(spread: Spread) -> tuple[float, float]:
    return spread.least, spread.greatest


def _round_above(value: float) -> float:
    """The next 1, 2 or 5 with zeros; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
