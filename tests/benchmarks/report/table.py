"""A scenario as a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.benchmarks.report.results import Scenario, Spread

_COLUMNS = (
    ("events/s", "events_per_second", ",.0f"),
    ("CPU µs/event", "cpu_us", ".1f"),
    ("Redis CPU µs/event", "redis_cpu_us", ".1f"),
    ("source CPU µs/event", "source_cpu_us", ".1f"),
    ("RSS MiB", "rss_mib", ".0f"),
    ("highest", "peak_rss_mib", ".0f"),
)


def table(scenario: Scenario) -> str:
    """Title, one row for each contender, each figure as `median (least to greatest)`."""
    first = next(iter(scenario.rows))
    rounds = len(next(iter(scenario.rows[first].values())))
    columns = [column for column in _COLUMNS if any(column[1] in figures for figures in scenario.rows.values())]
    ratios = [("× limit", scenario.yardstick)] if scenario.yardstick else []  # noqa: RUF001
    head = ["", *(title for title, _, _ in columns[:1]), *(title for title, _ in ratios), f"× {first}"]  # noqa: RUF001
    head += [f"CPU × {first}", *(title for title, _, _ in columns[1:])]  # noqa: RUF001
    rows = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for name in scenario.rows:
        cells = [_cell(scenario.spread(name, figure), form) for _, figure, form in columns]
        compared = [_cell(scenario.ratio(name, other, "events_per_second"), ".2f") for _, other in ratios]
        compared += [_cell(scenario.ratio(name, first, figure), ".2f") for figure in ("events_per_second", "cpu_us")]
        rows.append([name, cells[0], *compared, *cells[1:]])
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"### {scenario.title}\n\nMedian of {rounds} (least to greatest).\n\n{lines}\n"


def _cell(spread: Spread, form: str) -> str:
    texts: Sequence[str] = [format(value, form) for value in (spread.median, spread.least, spread.greatest)]
    if math.isnan(spread.median):
        return "–"  # noqa: RUF001
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"
