"""Fan-in: many sessions, each with a lone event now and then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks import contenders
from tests.benchmarks.contenders import BARE_LOOP, OURS, Contender
from tests.benchmarks.report.results import Ratio, Scenario
from tests.benchmarks.rig import Rig, source


@dataclass(frozen=True, slots=True, kw_only=True)
class FanIn:
    """So many ``events`` for each session, one at a time."""

    name: str
    title: str
    sessions: int
    per_second: float
    events: int
    data_bytes: int = 250

    def run(self, rig: Rig, bridges: Sequence[Contender], rounds: int) -> Scenario:
        """The bridges and a bare loop in turn, and again; no other peer reads a thousand sessions."""
        ratios = [Ratio(figure="cpu_us", other=BARE_LOOP), Ratio(figure="cpu_us", other=OURS)]
        scenario = Scenario(name=self.name, title=self.title, ratios=ratios)
        field = [*bridges, contenders.bare_loop(self.sessions)]
        with source(sessions=self.sessions, events=1, data_bytes=self.data_bytes) as origin:
            for number in range(rounds):
                for one in contenders.in_turn(field, number):
                    scenario.add(one.name, rig.measure(one, origin, self.events, self.per_second))
        return scenario
