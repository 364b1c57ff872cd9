"""The figures of a run, and what is reckoned from them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Rounds = dict[str, list[float]]
"""The figures of one contender by name, one of each per round."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario's figures for each contender. ``yardstick`` is the one that the others' rates are measured by."""

    title: str
    yardstick: str | None
    rows: dict[str, Rounds] = field(default_factory=dict)

    def add(self, name: str, figures: Mapping[str, float]) -> None:
        """Another round of a contender."""
        rounds = self.rows.setdefault(name, {})
        for figure, value in figures.items():
            rounds.setdefault(figure, []).append(value)

    def spread(self, name: str, figure: str) -> Spread:
        """A contender's figure over the rounds. Raises KeyError where it was not measured."""
        return Spread.of(self.rows[name][figure])

    def ratio(self, name: str, other: str, figure: str) -> Spread:
        """A contender's figure as a multiple of another's in the same round: what a noisy machine leaves comparable."""
        pairs = zip(self.rows[name][figure], self.rows[other][figure], strict=True)
        return Spread.of([mine / theirs for mine, theirs in pairs])
