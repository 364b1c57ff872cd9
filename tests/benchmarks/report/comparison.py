"""Two runs side by side: what got worse since the earlier one.

Absolute figures of two runs say more about the machine than about the code, so ratios are compared: each of the
bridge's figures as a multiple of a peer's or the limit's in the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.benchmarks.report.results import FIGURES, Ratio, Run, Spread
from tests.benchmarks.report.table import markdown, ratio_title, spread_text

TOLERANCE = 0.1
"""A ratio that moved by less than this share has not moved."""


class Change(StrEnum):
    """What became of a ratio."""

    WORSE = "WORSE"
    BETTER = "better"
    ALIKE = "alike"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A ratio of the bridge in both runs."""

    title: str
    ratio: Ratio
    before: Spread
    now: Spread
    change: Change


def compare(before: Run, now: Run) -> list[Compared]:
    """Every ratio to another contender that both runs have, in the order of the later one."""
    compared = []
    in_both = [(earlier, one) for one in now.scenarios if (earlier := before.scenario(one.name)) is not None]
    for earlier, scenario in in_both:
        for ratio in scenario.ratios:
            old, new = earlier.ratio(before.ours, ratio), scenario.ratio(now.ours, ratio)
            if ratio.other != now.ours and old is not None and new is not None:
                change = _change(old, new, more_is_better=FIGURES[ratio.figure].more_is_better)
                compared.append(Compared(title=scenario.title, ratio=ratio, before=old, now=new, change=change))
    return compared


def comparison_table(compared: Sequence[Compared], before: Run, now: Run, name: str) -> str:
    """A row for each ratio, and a verdict; ``name`` is what the earlier run is called."""
    rows = [
        [
            one.title,
            ratio_title(one.ratio),
            spread_text(one.before, ".2f"),
            spread_text(one.now, ".2f"),
            f"{one.now.median / one.before.median - 1:+.0%}",
            str(one.change),
        ]
        for one in compared
    ]
    table = markdown(["", "ratio", "before", "now", "change", ""], rows)
    return f"### Beside {name}\n\n{verdict(compared, before, now)}\n\n{table}"


def verdict(compared: Sequence[Compared], before: Run, now: Run) -> str:
    """What a person has to know of it, in a sentence or two."""
    if not compared:
        return "The two runs have no ratio in common, so nothing was compared."
    worse = [f"{one.title}: {ratio_title(one.ratio)}" for one in compared if one.change is Change.WORSE]
    told = f"{len(worse)} of {len(compared)} ratios got worse{': ' if worse else ''}{'; '.join(worse)}."
    others = [what for what in now.machine if now.machine[what] != before.machine.get(what)]
    if others:
        told += f" The machines differ ({', '.join(others)}): take it with a grain of salt."
    return told


def _change(before: Spread, now: Spread, *, more_is_better: bool) -> Change:
    """It moved where the medians lie apart by more than the tolerance, and each outside of what the other run saw."""
    if before.median == 0 or abs(now.median / before.median - 1) <= TOLERANCE:
        return Change.ALIKE
    if before.holds(now.median) or now.holds(before.median):
        return Change.ALIKE
    return Change.BETTER if (now.median > before.median) == more_is_better else Change.WORSE
