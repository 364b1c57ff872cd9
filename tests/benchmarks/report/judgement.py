"""What the bridge must reach, and what it aims at, held against a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.benchmarks.contenders import BARE_LOOP, PLAIN, SDK, limit_name
from tests.benchmarks.report.results import FIGURES, Ratio, Run, Scenario, Spread
from tests.benchmarks.report.table import markdown, ratio_title, spread_text

_BEFORE = "code before"
"""Stands for the other checkout, whatever it is called in a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A figure of the bridge in a scenario, as a multiple of ``other``'s, or as it is where that is None.

    Rates have to be at least as much, all else at most.
    """

    scenario: str
    figure: str
    other: str | None
    must: float
    aim: float | None = None


GOALS = (
    Goal(scenario="catch-up-1", figure="events_per_second", other=limit_name(1000), must=0.40, aim=0.55),
    Goal(scenario="catch-up-1", figure="events_per_second", other=_BEFORE, must=2.0),
    Goal(scenario="catch-up-1", figure="events_per_second", other=SDK, must=20.0),
    Goal(scenario="catch-up-1", figure="cpu_us", other=_BEFORE, must=0.6, aim=0.4),
    Goal(scenario="catch-up-128", figure="events_per_second", other=limit_name(1000), must=0.50, aim=0.65),
    Goal(scenario="catch-up-128", figure="events_per_second", other=_BEFORE, must=2.6),
    Goal(scenario="catch-up-128", figure="cpu_us", other=_BEFORE, must=0.5, aim=0.4),
    Goal(scenario="embeddings-64", figure="events_per_second", other=BARE_LOOP, must=0.5, aim=0.8),
    Goal(scenario="fan-in", figure="cpu_us", other=_BEFORE, must=round(50 / 85, 2), aim=round(40 / 85, 2)),
    Goal(scenario="fan-in", figure="rss_mib", other=None, must=160.0, aim=120.0),
    Goal(scenario="latency-1000", figure="p50_us", other=BARE_LOOP, must=1.5, aim=1.0),
    Goal(scenario="latency-1000", figure="p99_us", other=BARE_LOOP, must=1.5, aim=1.0),
    Goal(scenario="consuming", figure="events_per_second", other=None, must=20_000.0, aim=50_000.0),
    Goal(scenario="consuming", figure="events_per_second", other=PLAIN, must=0.5, aim=0.9),
)


class Answer(StrEnum):
    """How far a goal was reached, by the median over the rounds."""

    AIM = "aim reached"
    MET = "met"
    MISSED = "not met"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A goal, what was measured of it, and what that means. ``why`` says what is missing where it was not measured."""

    goal: Goal
    title: str
    measured: Spread | None
    answer: Answer
    why: str = ""


def judge(run: Run, goals: Sequence[Goal] = GOALS) -> list[Judged]:
    """Each goal whose scenario was measured."""
    scenarios = [(goal, run.scenario(goal.scenario)) for goal in goals]
    return [_judged(run, goal, scenario) for goal, scenario in scenarios if scenario is not None]


def goals_table(judged: Sequence[Judged]) -> str:
    """A row for each goal; empty where there is none."""
    if not judged:
        return ""
    rows = [
        [
            one.title,
            _what(one.goal),
            _bound(one.goal, one.goal.must),
            _bound(one.goal, one.goal.aim) if one.goal.aim is not None else "",
            spread_text(one.measured, ".2f"),
            f"{one.answer} ({one.why})" if one.why else str(one.answer),
        ]
        for one in judged
    ]
    missed = sum(one.answer is Answer.MISSED for one in judged)
    unknown = sum(one.answer is Answer.UNKNOWN for one in judged)
    told = f"{len(judged) - missed - unknown} of {len(judged)} musts met, {missed} not met, {unknown} not measured."
    return f"### Goals\n\n{told}\n\n{markdown(['', 'figure', 'must', 'aim', 'measured', ''], rows)}"


def _judged(run: Run, goal: Goal, scenario: Scenario) -> Judged:
    other = run.before if goal.other == _BEFORE else goal.other
    if goal.other is None:
        measured = scenario.spread(run.ours, goal.figure)
    elif other is None:
        return Judged(goal=goal, title=scenario.title, measured=None, answer=Answer.UNKNOWN, why="needs --against")
    else:
        measured = scenario.ratio(run.ours, Ratio(figure=goal.figure, other=other))
    why = "" if measured is not None else f"no {FIGURES[goal.figure].title} of {other or run.ours}"
    return Judged(goal=goal, title=scenario.title, measured=measured, answer=_answer(goal, measured), why=why)


def _answer(goal: Goal, measured: Spread | None) -> Answer:
    if measured is None:
        return Answer.UNKNOWN
    if goal.aim is not None and _reaches(goal, measured.median, goal.aim):
        return Answer.AIM
    return Answer.MET if _reaches(goal, measured.median, goal.must) else Answer.MISSED


def _reaches(goal: Goal, value: float, bound: float) -> bool:
    return value >= bound if FIGURES[goal.figure].more_is_better else value <= bound


def _what(goal: Goal) -> str:
    if goal.other is None:
        return FIGURES[goal.figure].title
    return ratio_title(Ratio(figure=goal.figure, other=goal.other))


def _bound(goal: Goal, value: float) -> str:
    return f"{'≥' if FIGURES[goal.figure].more_is_better else '≤'} {value:g}"
