"""Consuming: how fast a service reads what the bridge has written, in batches of 100 that it acknowledges."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.contenders import HERE, OURS, PLAIN, Contender
from tests.benchmarks.processes import cpu_seconds, memory_mib, running
from tests.benchmarks.report.results import Ratio, Scenario
from tests.benchmarks.rig import Figures, Rig

_STREAM = "lens:{bench}:events"
_KINDS = {OURS: "kit", f"{OURS}, in order": "order", f"{OURS}, asyncio": "asyncio", PLAIN: "plain"}
_PER_TRIP = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Consuming:
    """`bridge.consumer` of this code beside a bare loop: ``events`` stand in the stream already."""

    name: str
    title: str
    events: int
    data_bytes: int = 250
    sessions: int = 1

    def run(self, rig: Rig, bridges: Sequence[Contender], rounds: int) -> Scenario:
        """All kinds in turn, and again; no worker takes part."""
        ratios = [Ratio(figure=figure, other=PLAIN) for figure in ("events_per_second", "cpu_us")]
        scenario = Scenario(name=self.name, title=self.title, ratios=ratios)
        names = list(_KINDS)
        for number in range(rounds):
            self._fill(rig)
            first = number % len(names)
            for name in [*names[first:], *names[:first]]:
                scenario.add(name, self._measure(rig, _KINDS[name]))
        return scenario

    def _fill(self, rig: Rig) -> None:
        """As a bridge would: the fields are those of an entry."""
        rig.client.flushall(asynchronous=False)
        data = b'{"type":"inference.result","x":"'.ljust(self.data_bytes - 2, b"x") + b'"}'
        pipeline = rig.client.pipeline(transaction=False)
        for seq in range(1, self.events + 1):
            entry = {"id": seq, "session_id": "lsn-bench", "name": "bench", "seq": seq, "type": "inference.result"}
            pipeline.xadd(_STREAM, {**entry, "data": data, "received_at": "1741843200.123"})  # type: ignore[dict-item]
            if seq % _PER_TRIP == 0 or seq == self.events:
                pipeline.execute()

    def _measure(self, rig: Rig, kind: str) -> Figures:
        arguments = [rig.redis_url, _STREAM, str(self.events), kind]
        before = cpu_seconds(rig.server_pid)
        with running([sys.executable, "-m", "tests.benchmarks.peers.reader", *arguments], cwd=HERE) as process:
            seconds = json.loads(process.hear())
            server = cpu_seconds(rig.server_pid) - before
            rss, peak = memory_mib(process.pid)
        if seconds["data_bytes"] != self.events * self.data_bytes:
            raise SystemExit(f"{kind} has read {seconds['data_bytes']} bytes of {self.events * self.data_bytes}")
        return {
            "events_per_second": self.events / seconds["elapsed"],
            "cpu_us": seconds["cpu"] / self.events * 1e6,
            "redis_cpu_us": server / self.events * 1e6,
            "rss_mib": rss,
            "peak_rss_mib": peak,
        }
