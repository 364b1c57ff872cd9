"""Transport: how fast one-event chunks are read by what can stand below httpx. No Redis takes part."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.contenders import HERE, Contender
from tests.benchmarks.frames import frame
from tests.benchmarks.processes import running
from tests.benchmarks.report.results import Ratio, Scenario
from tests.benchmarks.rig import Figures, Rig, Source, source

_H11 = "httpx over httpcore and h11"
_CHOICES = {_H11: "h11", "httpx over aiohttp": "aiohttp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """The choice in `bridge.source.transport`, measured: ``events``, each in an HTTP chunk of its own."""

    name: str
    title: str
    events: int
    data_bytes: int = 250
    sessions: int = 1

    def run(self, rig: Rig, bridges: Sequence[Contender], rounds: int) -> Scenario:
        """Both in turn, and again; neither Redis nor bridge is asked."""
        ratios = [Ratio(figure=figure, other=_H11) for figure in ("events_per_second", "cpu_us")]
        scenario = Scenario(name=self.name, title=self.title, ratios=ratios)
        body_bytes = sum(len(frame(number, self.data_bytes)) for number in range(1, self.events + 1))
        with source(events=self.events, data_bytes=self.data_bytes) as origin:
            for number in range(rounds):
                for name in list(_CHOICES)[:: -1 if number % 2 else 1]:
                    scenario.add(name, self._measure(origin, _CHOICES[name], body_bytes))
        return scenario

    def _measure(self, origin: Source, choice: str, body_bytes: int) -> Figures:
        command = [sys.executable, "-m", "tests.benchmarks.peers.transport", origin.url, choice, str(body_bytes)]
        with running(command, cwd=HERE) as process:
            origin.wait_for_readers()
            process.come_to_rest()
            origin.send(self.events, 0)
            seconds = json.loads(process.hear())
        return {
            "events_per_second": self.events / seconds["elapsed"],
            "cpu_us": seconds["cpu"] / self.events * 1e6,
        }
