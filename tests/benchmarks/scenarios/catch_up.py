"""Catching up: one session whose source has a backlog and sends it as fast as TCP takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks import contenders
from tests.benchmarks.contenders import BARE_LOOP, OURS, Contender, Start
from tests.benchmarks.frames import EMBEDDING_BYTES
from tests.benchmarks.report.results import Ratio, Scenario
from tests.benchmarks.rig import Rig, source


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """So many events of so many bytes, ``per_chunk`` of them in each HTTP chunk."""

    name: str
    title: str
    events: int
    data_bytes: int = 250
    per_chunk: int = 1
    sessions: int = 1

    def run(self, rig: Rig, bridges: Sequence[Contender], rounds: int) -> Scenario:
        """All contenders in turn, and again. A first pass of the bridge is not counted: its entries are the limit's."""
        beside = BARE_LOOP if self._large else contenders.limit_name(1000)
        ratios = [Ratio(figure="events_per_second", other=beside)]
        ratios += [Ratio(figure="cpu_us", other=BARE_LOOP)]
        ratios += [Ratio(figure=figure, other=OURS) for figure in ("events_per_second", "cpu_us")]
        scenario = Scenario(name=self.name, title=self.title, ratios=ratios)
        with source(events=self.events, data_bytes=self.data_bytes, per_chunk=self.per_chunk) as origin:
            rig.measure(bridges[0], origin, self._events_of(bridges[0]))
            field = [*bridges, *self._others(rig.sample(bridges[0].streams[0], self._per_trip[0]))]
            for number in range(rounds):
                for one in contenders.in_turn(field, number):
                    scenario.add(one.name, rig.measure(one, origin, self._events_of(one)))
        return scenario

    def _events_of(self, one: Contender) -> int:
        """Its share, in whole chunks and, for redis-benchmark, in whole hundreds: neither sends less."""
        unit = self.per_chunk if one.start is Start.SOURCE else 100
        return max(1, int(self.events * one.share) // unit) * unit

    def _others(self, entry: Sequence[str]) -> list[Contender]:
        others = [*map(contenders.limit, self._per_trip), contenders.bare_loop(), *contenders.peers()]
        if (benchmark := contenders.redis_benchmark(entry)) is not None:
            others.append(benchmark)
        return others

    @property
    def _large(self) -> bool:
        return self.data_bytes >= EMBEDDING_BYTES

    @property
    def _per_trip(self) -> tuple[int, ...]:
        """How much the limit sends before it waits: a thousand embeddings would be 64 MB, which suits nobody."""
        return (100,) if self._large else (1000, 100)
