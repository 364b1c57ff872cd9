"""What a server may do at every event is said at once when it begins, and from then on now and then."""

from __future__ import annotations

import time

import structlog

__all__ = ["Remarks"]

log = structlog.get_logger()

_SELDOM_SECONDS = 60.0  # between two lines about the same thing: a line for each event would fill a disk


class Remarks:
    """Of one session under one lease. What was not said in a line of its own is counted in the next one."""

    def __init__(self) -> None:
        self._unsaid: dict[str, int] = {}
        self._said_at: dict[str, float] = {}  # monotonic seconds

    def note(self, log_event: str, events: int) -> None:
        """It was met with so many more events."""
        if not events:
            return
        unsaid = self._unsaid[log_event] = self._unsaid.get(log_event, 0) + events
        now = time.monotonic()
        if log_event in self._said_at and now - self._said_at[log_event] < _SELDOM_SECONDS:
            return
        log.warning(log_event, events=unsaid)
        self._unsaid[log_event], self._said_at[log_event] = 0, now
