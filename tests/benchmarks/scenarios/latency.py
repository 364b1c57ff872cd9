"""Latency: how late a lone session's events are for a consumer, at a steady rate."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks import contenders
from tests.benchmarks.contenders import BARE_LOOP, HERE, OURS, Contender
from tests.benchmarks.processes import running
from tests.benchmarks.report.results import Ratio, Scenario
from tests.benchmarks.rig import Figures, Rig, Source, source

_FIGURES = ("p50_us", "p99_us")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """So many ``events``, each sent when it is due; `tests.benchmarks.listener` says how late they were."""

    name: str
    title: str
    per_second: float
    events: int
    data_bytes: int = 250
    sessions: int = 1

    def run(self, rig: Rig, bridges: Sequence[Contender], rounds: int) -> Scenario:
        """The bridges and a bare loop in turn, and again."""
        ratios = [Ratio(figure=figure, other=other) for other in (BARE_LOOP, OURS) for figure in _FIGURES]
        scenario = Scenario(name=self.name, title=self.title, ratios=ratios)
        field = [*bridges, contenders.bare_loop()]
        with source(events=1, data_bytes=self.data_bytes) as origin:
            for number in range(rounds):
                for one in contenders.in_turn(field, number):
                    scenario.add(one.name, self._measure(rig, one, origin))
        return scenario

    def _measure(self, rig: Rig, one: Contender, origin: Source) -> Figures:
        """The listener waits at the stream before the first event is sent: a Redis that is emptied keeps it waiting."""
        command = [sys.executable, "-m", "tests.benchmarks.listener", rig.redis_url, one.streams[0], str(self.events)]
        with running(command, cwd=HERE) as listener:
            figures = rig.measure(one, origin, self.events, self.per_second, listener)
            late: Figures = json.loads(listener.hear())
            return late | figures
