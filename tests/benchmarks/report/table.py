"""Figures as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.report.results import FIGURES, Course, Ratio, Run, Scenario, Spread

_NOTHING = "–"  # noqa: RUF001
_TENTHS = (1, 5, 10)
_QUIET_CORES = 0.25
"""What others may take before it is told: rates and latencies on two cores are theirs then as well."""


def document(run: Run, parts: Sequence[str]) -> str:
    """The machine, then the parts; each is a table with its title."""
    return "\n".join([machine(run), "", *parts])


def machine(run: Run) -> str:
    """On what it was measured, in a line."""
    return " · ".join(f"{name}: {value}" for name, value in run.machine.items())


def scenario_table(scenario: Scenario) -> str:
    """Title, one row for each contender, each figure as `median (least to greatest)`."""
    seen = {figure for rounds in scenario.rows.values() for figure in rounds}
    figures = [figure for figure in FIGURES if figure in seen]
    ratios = [ratio for ratio in scenario.ratios if any(scenario.ratio(name, ratio) for name in scenario.rows)]
    head = ["", *map(ratio_title, ratios), *(FIGURES[figure].title for figure in figures)]
    rows = [
        [
            name,
            *(spread_text(scenario.ratio(name, ratio), ".2f") for ratio in ratios),
            *(spread_text(scenario.spread(name, figure), FIGURES[figure].form) for figure in figures),
        ]
        for name in scenario.rows
    ]
    told = "One round." if scenario.rounds == 1 else f"Median of {scenario.rounds} (least to greatest)."
    if (others := scenario.others_cores) is not None and others.greatest >= _QUIET_CORES:
        told += f" Other programs took {spread_text(others, '.1f')} cores meanwhile: measure again when it is quiet."
    return f"### {scenario.title}\n\n{told}\n\n{markdown(head, rows)}"


def course_table(course: Course) -> str:
    """Title, and how each contender's figures were in the first, the fifth and the last tenth of the run."""
    head = ["", *(f"{FIGURES[figure].title}, {_ordinal(tenth)}" for figure in _shown(course) for tenth in _TENTHS)]
    rows = [
        [name]
        + [
            format(course.tenth(name, figure, tenth), FIGURES[figure].form)
            for figure in _shown(course)
            for tenth in _TENTHS
        ]
        for name in course.rows
    ]
    events = max(rounds["events"][-1] for rounds in course.rows.values())
    return f"### {course.title}\n\n{events:,.0f} events; medians within a tenth of them.\n\n{markdown(head, rows)}"


def ratio_title(ratio: Ratio) -> str:
    """`events/s × limit`."""  # noqa: RUF002
    return f"{FIGURES[ratio.figure].title.removesuffix('/event')} × {ratio.other.partition(':')[0]}"  # noqa: RUF001


def spread_text(spread: Spread | None, form: str) -> str:
    """`2.1 (1.9 to 2.4)`, or just `2.1` where all were so."""
    if spread is None:
        return _NOTHING
    median, least, greatest = (format(value, form) for value in (spread.median, spread.least, spread.greatest))
    return median if median == least == greatest else f"{median} ({least} to {greatest})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are figures."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(course: Course) -> list[str]:
    """The figures that every contender has."""
    return [figure for figure in FIGURES if all(figure in rounds for rounds in course.rows.values())]


def _ordinal(tenth: int) -> str:
    return {1: "first tenth", 10: "last"}.get(tenth, f"{tenth}th")
