"""How much goes into one commit. Pure.

Two managed services refuse a request of more than 3,999 arguments or 1 MB (Upstash's and ElastiCache Serverless's
published limits), and others may have limits of their own: a batch stays below those two, and where it is refused all
the same a smaller one is tried.
"""

from __future__ import annotations

from bridge.model.records import Record

__all__ = ["MAX_ARGUMENTS", "MAX_REQUEST_BYTES", "BatchSize", "arguments_of", "request_bytes_of"]

MAX_ARGUMENTS = 3_860
"""Of all records together; the script, its keys and its header take 21 more. Lua's own limit is near 8,000."""

MAX_REQUEST_BYTES = 900_000
"""Of all records together, as they are sent. One larger event goes alone."""

_FRAMING_BYTES = 90  # around the arguments of a record in RESP, with its time stamp and its digest


def arguments_of(record: Record) -> int:
    """How many arguments a record is in the commit, at most."""
    return 5 if record.numbered and record.event == "message" else 9


def request_bytes_of(record: Record) -> int:
    """How many bytes a record adds to a request: its key stands there twice, in the entry and in the window."""
    key, type, event = record.key, record.type, record.event
    if key.isascii() and type.isascii() and event.isascii():
        texts = 2 * len(key) + len(type) + len(event)
    else:
        texts = 2 * _bytes_of(key) + _bytes_of(type) + _bytes_of(event)
    return len(record.data) + texts + _FRAMING_BYTES


def _bytes_of(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


class BatchSize:
    """How many events one commit may carry: half after a refusal, then more again, up to what was refused.

    Between the largest size that passed and the smallest that was refused it halves the distance, and stays where that
    is an eighth or less: each further step would cost a refusal and bring little.
    """

    def __init__(self, max_events: int) -> None:
        self.events = max_events
        self._max_events = max_events
        self._passed = 0
        self._refused = max_events + 1

    def refused(self, events: int) -> None:
        """A batch of so many was refused for good."""
        if events <= self._passed:  # the events have grown
            self._passed = 0
        self._refused = min(self._refused, events)
        self.events = self._passed or max(1, events // 2)

    def explained(self) -> None:
        """It was a single event that was refused, and no size."""
        self._passed, self._refused = 0, self._max_events + 1

    def passed(self, events: int) -> None:
        """A batch of so many has landed."""
        if events < self.events:
            return
        self._passed = events
        if self._refused > self._max_events:
            self.events = min(self.events * 2, self._max_events)
        elif self._refused - events > max(1, events // 8):
            self.events = min(self.events * 2, (events + self._refused) // 2)
