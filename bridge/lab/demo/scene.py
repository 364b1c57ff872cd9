"""What the demo shows, as values: a scene is one moment, `Gauge` makes the figures of one session. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.lab.demo.story import Happening

__all__ = ["Gauge", "Newest", "ReaderView", "Scene", "SessionView", "WorkerView"]

RATE_SECONDS = 1.0  # over which the rate is measured
READINGS = 50  # at most within that time


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The last entry of a stream, with the beginning of what the lens said."""

    seq: str
    id: str
    type: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """One session at one moment. ``landings``: (seconds since the beginning, entries that landed then)."""

    name: str
    sent: int
    stored: int
    rate: float
    drops: int
    owner: str | None
    newest: Newest | None
    landings: tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """One worker at one moment."""

    name: str
    state: str
    up: bool
    pid: int | None
    admin_url: str | None
    sessions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderView:
    """One member of the service that reads, at one moment. ``worked``: on so many events."""

    name: str
    state: str
    up: bool
    pid: int | None
    worked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything at one moment. ``span_seconds``: how long the demo will last, or has lasted if that is longer."""

    elapsed: float
    span_seconds: float
    seed: int
    sessions: tuple[SessionView, ...]
    workers: tuple[WorkerView, ...]
    happenings: tuple[Happening, ...]
    readers: tuple[ReaderView, ...] = ()


class Gauge:
    """How many entries of one session have landed, and when."""

    def __init__(self) -> None:
        self.stored = 0
        self._landings: list[tuple[float, int]] = []

    def read(self, at: float, stored: int) -> None:
        """A reading; ``at`` is in seconds since the beginning."""
        self._landings.append((at, stored - self.stored))
        self.stored = stored

    @property
    def landings(self) -> tuple[tuple[float, int], ...]:
        """All readings, as (seconds since the beginning, entries that landed since the reading before)."""
        return tuple(self._landings)

    def rate(self, now: float) -> float:
        """Entries per second, over the last second."""
        recent = (count for at, count in self._landings[-READINGS:] if at > now - RATE_SECONDS)
        return sum(recent) / RATE_SECONDS
