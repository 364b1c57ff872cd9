"""Fan-in: many sessions, each with a lone event now and then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.contenders import Contender
from tests.benchmarks.report.results import Scenario
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
        """The bridges in turn, and again; nobody else reads a thousand sessions."""
        scenario = Scenario(title=self.title, yardstick=None)
        with source(sessions=self.sessions, events=1, data_bytes=self.data_bytes) as origin:
            for number in range(rounds):
                for one in bridges if number % 2 == 0 else bridges[::-1]:
                    scenario.add(one.name, rig.measure(one, origin, self.events, self.per_second))
        return scenario
