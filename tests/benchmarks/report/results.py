"""The figures of a run, and what is reckoned from them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Rounds = dict[str, list[float]]
"""The figures of one contender by name, one of each per round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """How a figure is called and written, and which way is better."""

    title: str
    form: str
    more_is_better: bool = False


FIGURES = {
    "events_per_second": Figure(title="events/s", form=",.0f", more_is_better=True),
    "p50_us": Figure(title="p50 µs", form=",.0f"),
    "p99_us": Figure(title="p99 µs", form=",.0f"),
    "cpu_us": Figure(title="CPU µs/event", form=".1f"),
    "redis_cpu_us": Figure(title="Redis CPU µs/event", form=".1f"),
    "source_cpu_us": Figure(title="source CPU µs/event", form=".1f"),
    "rss_mib": Figure(title="RSS MiB", form=".0f"),
    "peak_rss_mib": Figure(title="highest RSS MiB", form=".0f"),
}
"""Every figure that is written somewhere, in the order of a table's columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, least and greatest of a figure over the rounds."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(median=statistics.median(values), least=min(values), greatest=max(values))

    def holds(self, value: float) -> bool:
        """It has been seen, or what is on both sides of it."""
        return self.least <= value <= self.greatest


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """What a scenario is about: a figure of each contender as a multiple of the ``other``'s in the same round."""

    figure: str
    other: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario's figures for each contender; the first of its ``ratios`` is the one to look at."""

    name: str
    title: str
    ratios: list[Ratio]
    rows: dict[str, Rounds] = field(default_factory=dict)

    def add(self, name: str, figures: Mapping[str, float]) -> None:
        """Another round of a contender."""
        _append(self.rows.setdefault(name, {}), figures)

    @property
    def rounds(self) -> int:
        """How often each contender was measured."""
        return max(len(values) for rounds in self.rows.values() for values in rounds.values())

    @property
    def others_cores(self) -> Spread | None:
        """How many cores other programs took meanwhile, over all measurements; None where nobody looked."""
        values = [value for rounds in self.rows.values() for value in rounds.get("others_cores", [])]
        return Spread.of(values) if values else None

    def spread(self, name: str, figure: str) -> Spread | None:
        """A contender's figure over the rounds; None where it has none."""
        values = self.rows.get(name, {}).get(figure)
        return Spread.of(values) if values else None

    def ratio(self, name: str, ratio: Ratio) -> Spread | None:
        """Over the rounds; None where one of the two has no such figure, or the other one's was too small to be seen.

        Both are from the same round: that is what a noisy machine leaves comparable.
        """
        mine = self.rows.get(name, {}).get(ratio.figure, [])
        theirs = self.rows.get(ratio.other, {}).get(ratio.figure, [])
        if not mine or len(mine) != len(theirs) or not all(theirs):
            return None
        return Spread.of([one / other for one, other in zip(mine, theirs, strict=True)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How the figures of each contender went over one long run; ``events`` among them says when each was seen."""

    name: str
    title: str
    rows: dict[str, Rounds] = field(default_factory=dict)

    def add(self, name: str, figures: Mapping[str, float]) -> None:
        """Another look at a contender."""
        _append(self.rows.setdefault(name, {}), figures)

    def tenth(self, name: str, figure: str, number: int) -> float:
        """The median of a figure in the ``number``-th tenth (1 to 10) of the looks at a contender."""
        values = self.rows[name][figure]
        begin, end = len(values) * (number - 1) // 10, len(values) * number // 10
        return statistics.median(values[begin : max(end, begin + 1)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All of one run. ``ours`` and ``before`` name rows: this code, and the other checkout measured beside it."""

    machine: dict[str, str]
    ours: str
    before: str | None
    scenarios: list[Scenario] = field(default_factory=list)
    courses: list[Course] = field(default_factory=list)

    def add(self, result: Scenario | Course) -> None:
        """What was measured next."""
        if isinstance(result, Scenario):
            self.scenarios.append(result)
        else:
            self.courses.append(result)

    def scenario(self, name: str) -> Scenario | None:
        """The one of that name, where it was measured."""
        return next((one for one in self.scenarios if one.name == name), None)


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that a ``share`` (0 to 1) of them does not exceed: one of them, never one between two."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _append(rounds: Rounds, figures: Mapping[str, float]) -> None:
    for figure, value in figures.items():
        rounds.setdefault(figure, []).append(value)
