"""Catching up: one session whose source has a backlog and sends it as fast as TCP takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks import contenders
from tests.benchmarks.contenders import Contender, Start
from tests.benchmarks.report.results import Scenario
from tests.benchmarks.rig import Rig, source


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """So many events of so many bytes, ``per_chunk`` of them in each HTTP chunk."""

    name: str
    title: str
    events: int
    data_bytes: int = 250
    per_chunk: int = 1

    def run(self, rig: Rig, bridges: Sequence[Contender], rounds: int) -> Scenario:
        """All contenders in turn, and again. A first pass of the bridge is not counted: its entries are the limit's."""
        scenario = Scenario(title=self.title, yardstick=contenders.limit_name(1000))
        with source(events=self.events, data_bytes=self.data_bytes, per_chunk=self.per_chunk) as origin:
            rig.measure(bridges[0], origin, self._events_of(bridges[0]))
            field = [*bridges, *_others(rig.sample(bridges[0].streams[0]))]
            for number in range(rounds):
                for one in field[number % len(field) :] + field[: number % len(field)]:
                    scenario.add(one.name, rig.measure(one, origin, self._events_of(one)))
        return scenario

    def _events_of(self, one: Contender) -> int:
        """Its share, in whole chunks and, for redis-benchmark, in whole hundreds: neither sends less."""
        unit = self.per_chunk if one.start is Start.SOURCE else 100
        return max(1, int(self.events * one.share) // unit) * unit


def _others(entry: Sequence[str]) -> list[Contender]:
    others = [contenders.limit(1000), contenders.limit(100), contenders.sse_reader(), contenders.vendor_sdk()]
    if (benchmark := contenders.redis_benchmark(entry)) is not None:
        others.append(benchmark)
    return others
