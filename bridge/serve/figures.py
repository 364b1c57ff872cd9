"""What `serve` counts, and how Prometheus reads it. Plain numbers, added to where the thing happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from bridge.serve.places import HoleReason
from bridge.telemetry.exposition import Exposition, Kind, labels_of

__all__ = ["Ending", "Figures", "Refusal", "StreamFigures", "exposition"]


class Ending(StrEnum):
    """Why a stream to a reader ended."""

    LEFT = "left"  # the reader closed its connection, or it broke
    SLOW = "slow"  # it took nothing for `serve.write_timeout_seconds`
    EXPIRED = "expired"  # `serve.max_stream_seconds`
    STOPPED = "stopped"  # this process was told to stop
    FAILED = "failed"  # a fault of our own; the log has it


class Refusal(StrEnum):
    """Why somebody got no stream."""

    TOKEN = "token"  # noqa: S105  a label
    UNKNOWN = "unknown"  # there is no such stream
    REQUEST = "request"  # a parameter that there is not, or without sense
    UNAVAILABLE = "unavailable"  # Redis does not say whether there is such a stream
    CONNECTIONS = "connections"  # `serve.max_connections`
    ADDRESS = "address"  # `serve.max_connections_per_address`


@dataclass(slots=True)
class StreamFigures:
    """Of one stream."""

    readers: int = 0
    events: int = 0
    bytes: int = 0
    holes: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(HoleReason, 0)))


@dataclass(slots=True)
class Figures:
    """Of the whole process. ``redis_error``: why Redis does not answer; None where it does."""

    version: str = ""
    redis_error: str | None = "not asked yet"
    connections: int = 0
    streams: dict[str, StreamFigures] = field(default_factory=dict)
    endings: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(Ending, 0)))
    refusals: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(Refusal, 0)))
    reads: Counter[str] = field(default_factory=lambda: Counter({"page": 0, "tail": 0}))

    def of(self, stream: str) -> StreamFigures:
        """Those of a stream, by its name; it must be one that there is."""
        return self.streams.setdefault(stream, StreamFigures())


def exposition(figures: Figures, *, openmetrics: bool) -> Iterator[str]:
    """The page that Prometheus reads, in slices."""
    page = Exposition(openmetrics=openmetrics)
    streams = [(labels_of({"stream": name}), one) for name, one in figures.streams.items()]

    def each(number: str) -> list[tuple[str, float]]:
        return [(labels, getattr(one, number)) for labels, one in streams]

    name = "lens_bridge_serve"
    version = [(labels_of({"version": figures.version}), 1.0)]
    yield from page.add(Kind.INFO, f"{name}_build", "What runs.", version)
    reachable = [("", float(figures.redis_error is None))]
    yield from page.add(Kind.GAUGE, f"{name}_redis_reachable", "1 while Redis answers.", reachable)
    connections = [("", float(figures.connections))]
    yield from page.add(Kind.GAUGE, f"{name}_connections", "Connections that are open.", connections)
    yield from page.add(Kind.GAUGE, f"{name}_readers", "Readers of a stream.", each("readers"))
    yield from page.add(Kind.COUNTER, f"{name}_events_sent", "Entries that were sent.", each("events"))
    yield from page.add(Kind.COUNTER, f"{name}_bytes_sent", "Bytes that were sent, heartbeats too.", each("bytes"))
    holes = ((labels, one.holes) for labels, one in streams)
    told = "Readers that were told that something may be missing."
    yield from page.add_labelled(Kind.COUNTER, f"{name}_holes", told, "reason", holes)
    for family, text, label, counted in (
        ("disconnects", "Streams that ended.", "reason", figures.endings),
        ("refusals", "Requests and connections that got no stream.", "reason", figures.refusals),
        ("redis_reads", "Reads of Redis: the tail of a stream, a page for who is behind.", "kind", figures.reads),
    ):
        samples = [(labels_of({label: value}), float(number)) for value, number in counted.items()]
        yield from page.add(Kind.COUNTER, f"{name}_{family}", text, samples)
    if openmetrics:
        yield "# EOF\n"
