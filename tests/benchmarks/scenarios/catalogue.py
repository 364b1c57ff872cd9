"""Every scenario, and which of them are wanted."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.scenarios.catch_up import CatchUp
from tests.benchmarks.scenarios.consuming import Consuming
from tests.benchmarks.scenarios.fan_in import FanIn
from tests.benchmarks.scenarios.flat import Flat
from tests.benchmarks.scenarios.latency import Latency
from tests.benchmarks.scenarios.transport import Transport

AnyScenario = CatchUp | Consuming | FanIn | Flat | Latency | Transport

_FLAT_EVENTS = 5_000_000
_LATENCY_SECONDS = {10: 20, 1_000: 10, 20_000: 5}
"""A rate, and for how long it is measured: at 10 a second, p99 is the second-worst of 180."""


def catalogue(*, quick: bool, events: int | None) -> list[AnyScenario]:
    """All of them, with fewer events where a quick look will do, or with just ``events`` (of each session) in each."""
    many, seconds = (40_000, 5) if quick else (200_000, 15)
    return [
        CatchUp(name="catch-up-1", title="catch-up, 250 B, one event a chunk", events=events or many),
        CatchUp(name="catch-up-128", title="catch-up, 250 B, 128 events a chunk", events=events or many, per_chunk=128),
        CatchUp(name="embeddings-64", title="embeddings, 64 KB", events=events or many // 50, data_bytes=64_000),
        CatchUp(name="embeddings-190", title="embeddings, 190 KB", events=events or many // 150, data_bytes=190_000),
        FanIn(
            name="fan-in",
            title="fan-in, 1,000 sessions, 10 lone events/s each",
            sessions=1000,
            per_second=10,
            events=events or 10 * seconds,
        ),
        *(
            Latency(
                name=f"latency-{rate}",
                title=f"delivery latency, {rate:,} events/s",
                per_second=rate,
                events=events or (rate * length // 2 if quick else rate * length),
            )
            for rate, length in _LATENCY_SECONDS.items()
        ),
        Transport(name="transport", title="transport, 250 B, one event a chunk", events=events or many),
        Consuming(name="consuming", title="consuming, 250 B, batches of 100", events=events or many),
        Flat(name="flat", title="a long catch-up, 250 B, one event a chunk", events=events or _FLAT_EVENTS),
    ]


def chosen(every: Sequence[AnyScenario], names: Sequence[str]) -> list[AnyScenario]:
    """Those that are called so, or begin so; with no names all but the long one. Raises ValueError where none does."""
    if not names:
        return [one for one in every if not isinstance(one, Flat)]
    known = {one.name for one in every}
    meant = {one for name in names for one in known if one == name or (name not in known and one.startswith(name))}
    if missing := [name for name in names if not any(one.startswith(name) for one in known)]:
        raise ValueError(
            f"no scenario is called {', '.join(missing)}; there are {', '.join(one.name for one in every)}"
        )
    return [one for one in every if one.name in meant]
