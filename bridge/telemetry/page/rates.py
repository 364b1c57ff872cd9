"""Entries per second, between two looks at the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.model.labels import SessionState
from bridge.telemetry.status import WorkerStatus

__all__ = ["Rates"]

_STALE_SECONDS = 60.0  # a rate over a longer time than this is none of the present
_READS = (SessionState.STREAMING, SessionState.BACKPRESSURED)


@dataclass(slots=True)
class _Look:
    at: float  # monotonic seconds
    published: dict[str, int]


class Rates:
    """Entries per second of each session that is being read."""

    def __init__(self) -> None:
        self._last: _Look | None = None
        self._rates: dict[str, float] = {}

    def at(self, now: float, status: WorkerStatus) -> Mapping[str, float]:
        """The rates at ``now`` (monotonic seconds). There are none yet after a while in which nobody looked."""
        last = self._last
        if last and now - last.at < 1.0:  # two people may look at the same page
            return self._rates
        published = {name: one.events_published for name, one in status.sessions.items()}
        self._last, self._rates = _Look(now, published), {}
        if last and now - last.at <= _STALE_SECONDS:
            self._rates = {
                name: (published[name] - before) / (now - last.at)
                for name, before in last.published.items()
                if name in published and status.sessions[name].state in _READS
            }
        return self._rates
