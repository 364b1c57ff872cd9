"""Runs of `make bench` as they come out of it, with figures that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.benchmarks.contenders import BARE_LOOP, OURS, SDK, limit_name
from tests.benchmarks.report.results import Course, Ratio, Run, Scenario

LIMIT = limit_name(1000)
BEFORE = f"{OURS} before"
MACHINE = {"cores": "2", "python": "3.11.7", "redis-server": "7.0.15"}


def catch_up(rates: Mapping[str, Sequence[float]], name: str = "catch-up-1") -> Scenario:
    """A catch-up with the rate of each contender in each round; its CPU time an event is a second's share of it."""
    ratios = [Ratio(figure="events_per_second", other=LIMIT), Ratio(figure="cpu_us", other=BARE_LOOP)]
    scenario = Scenario(name=name, title=name, ratios=ratios)
    for contender, values in rates.items():
        for rate in values:
            scenario.add(contender, {"events_per_second": rate, "cpu_us": 1e6 / rate, "rss_mib": 60.0})
    return scenario


def latency(late_us: Mapping[str, tuple[float, float]], name: str = "latency-1000") -> Scenario:
    """One round with p50 and p99 of each contender."""
    ratios = [Ratio(figure=figure, other=BARE_LOOP) for figure in ("p50_us", "p99_us")]
    scenario = Scenario(name=name, title=name, ratios=ratios)
    for contender, (p50, p99) in late_us.items():
        scenario.add(contender, {"p50_us": p50, "p99_us": p99, "events_per_second": 1000.0, "cpu_us": 50.0})
    return scenario


def flat(rss_mib: Sequence[float]) -> Course:
    """A long run of ours with these looks at its memory, a thousand events apart."""
    course = Course(name="flat", title="a long catch-up")
    for look, value in enumerate(rss_mib, 1):
        course.add(OURS, {"events": 1000.0 * look, "rss_mib": value, "cpu_us": 7.0, "events_per_second": 90_000.0})
    return course


def run_of(*results: Scenario | Course, before: str | None = BEFORE, machine: Mapping[str, str] = MACHINE) -> Run:
    """A run that measured these."""
    run = Run(machine=dict(machine), ours=OURS, before=before)
    for one in results:
        run.add(one)
    return run


def usual(ours: Sequence[float] = (40.0, 44.0, 42.0)) -> Run:
    """A run of three rounds with all kinds of results."""
    rates = {OURS: ours, BEFORE: [20.0] * 3, LIMIT: [100.0] * 3, BARE_LOOP: [50.0] * 3, SDK: [2.0] * 3}
    return run_of(catch_up(rates), latency({OURS: (300.0, 900.0), BARE_LOOP: (200.0, 600.0)}), flat([60.0] * 20))
