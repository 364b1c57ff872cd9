"""The goals, held against a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.benchmarks.contenders import BARE_LOOP, OURS
from tests.benchmarks.report.judgement import GOALS, Answer, Goal, goals_table, judge
from tests.benchmarks.report.results import FIGURES, Run
from tests.benchmarks.scenarios.catalogue import catalogue
from tests.support.bench_runs import BEFORE, LIMIT, catch_up, latency, run_of, usual

RATE = Goal(scenario="catch-up-1", figure="events_per_second", other=LIMIT, must=0.4, aim=0.6)
LATE = Goal(scenario="latency-1000", figure="p50_us", other=BARE_LOOP, must=1.5, aim=1.0)
MEMORY = Goal(scenario="catch-up-1", figure="rss_mib", other=None, must=60.0)


def rate(ours: float) -> Run:
    """Ours beside a limit of 100."""
    return run_of(catch_up({OURS: [ours], LIMIT: [100.0]}))


def late(ours: float) -> Run:
    """Ours beside a bare loop of 100."""
    return run_of(latency({OURS: (ours, ours), BARE_LOOP: (100.0, 100.0)}))


@pytest.mark.parametrize(
    ("goal", "run", "answer"),
    [
        (RATE, rate(39.0), Answer.MISSED),
        (RATE, rate(40.0), Answer.MET),
        (RATE, rate(59.0), Answer.MET),
        (RATE, rate(60.0), Answer.AIM),
        (LATE, late(151.0), Answer.MISSED),
        (LATE, late(150.0), Answer.MET),
        (LATE, late(100.0), Answer.AIM),
        (MEMORY, rate(1.0), Answer.MET),
        (replace(MEMORY, must=59.0), rate(1.0), Answer.MISSED),
    ],
)
def test_a_rate_has_to_be_as_much_and_all_else_at_most(goal: Goal, run: Run, answer: Answer) -> None:
    """The bounds themselves are met."""
    assert [one.answer for one in judge(run, [goal])] == [answer]


def test_the_median_over_the_rounds_is_judged() -> None:
    """Neither the best nor the worst one."""
    run = run_of(catch_up({OURS: [10.0, 41.0, 90.0], LIMIT: [100.0] * 3}))
    assert judge(run, [RATE])[0].answer is Answer.MET


def test_the_code_before_is_the_other_checkout_of_the_run() -> None:
    """Without one the goal is not measured, and the table says what it takes."""
    goal = replace(RATE, other="code before", must=2.0, aim=None)
    rates = {OURS: [40.0], BEFORE: [20.0]}
    assert judge(run_of(catch_up(rates)), [goal])[0].answer is Answer.MET
    alone = judge(run_of(catch_up(rates), before=None), [goal])
    assert alone[0].answer is Answer.UNKNOWN
    assert "not measured (needs --against)" in goals_table(alone)


def test_a_goal_whose_peer_is_missing_is_not_measured() -> None:
    """It never counts as met."""
    judged = judge(run_of(catch_up({OURS: [40.0]})), [RATE])
    assert (judged[0].answer, judged[0].why) == (Answer.UNKNOWN, f"no events/s of {LIMIT}")


def test_a_goal_of_a_scenario_that_did_not_run_is_left_out() -> None:
    """And with it the table."""
    assert judge(run_of(), GOALS) == []
    assert goals_table([]) == ""


def test_the_table_counts_and_names_what_was_missed() -> None:
    """In words."""
    text = goals_table(judge(usual(ours=(39.0, 38.0, 40.0))))
    assert "3 of 6 musts met, 3 not met, 0 not measured." in text
    row = "| catch-up-1 | CPU µs × code before | ≤ 0.6 | ≤ 0.4 | 0.51 (0.50 to 0.53) | met |"  # noqa: RUF001
    assert row in text.splitlines()


def test_every_goal_is_of_a_scenario_and_a_figure_that_exist() -> None:
    """And no aim is less than its must."""
    names = {one.name for one in catalogue(quick=True, events=None)}
    assert {goal.scenario for goal in GOALS} <= names
    for goal in GOALS:
        further = FIGURES[goal.figure].more_is_better
        assert goal.aim is None or (goal.aim > goal.must if further else goal.aim < goal.must)
