"""How much goes into one commit. Pure.

Two managed services refuse a request of more than 3,999 arguments or 1 MB (Upstash's and ElastiCache Serverless's
published limits), and others may have limits of their own: a batch stays below those two, and where it is refused all
the same a smaller one is tried.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from bridge.model.records import Piece, Record, Run

__all__ = [
    "MAX_ARGUMENTS",
    "MAX_REQUEST_BYTES",
    "BatchSize",
    "Counts",
    "Room",
    "counts_in",
    "records_in",
]

MAX_ARGUMENTS = 3_860
"""Of all records together; script, keys, header and routes take up to 39 more. Lua's own limit is near 8,000."""

MAX_REQUEST_BYTES = 900_000
"""Of all records together, as they are sent. One larger event goes alone."""

_FRAMING_BYTES = 90  # around the arguments of a record in RESP, with its time stamp and its digest
_FRAMING_BYTES_IN_RUN = 60  # the time stamp stands once
_RUN_ARGUMENTS = 4  # in front of a run
_RUN_EVENT_ARGUMENTS = 3  # 2 where all of the run are of one type


class Counts(NamedTuple):
    """What a batch comes to: its records, those of its runs one by one; the numbers that they take, with those that are
    left out; the entries that they make in the stream, events and markers."""

    events: int
    numbers: int
    published: int


def counts_in(batch: Iterable[Piece]) -> Counts:
    """What is in a batch."""
    events = numbers = published = 0
    for piece in batch:
        if isinstance(piece, Run):
            length = len(piece.keys)
            events += length
            numbers += length
            published += length
        elif piece.dead is None and piece.skip is None:
            events += 1
            numbers += 1
            published += 1
        else:
            events += 1
            numbers += piece.skip or 0
            published += not piece.dead and piece.type != ""
    return Counts(events, numbers, published)


def records_in(batch: Iterable[Piece]) -> list[Record]:
    """All of a batch as single records, in order."""
    records: list[Record] = []
    for piece in batch:
        if isinstance(piece, Run):
            records += piece.records()
        else:
            records.append(piece)
    return records


class Room(NamedTuple):
    """What there is room for in a request."""

    events: int
    bytes: int
    arguments: int

    def after(self, piece: Piece) -> Room:
        """What is left behind this one; something below zero where it does not fit."""
        if isinstance(piece, Run):
            count, size = len(piece), _run_bytes(piece)
            arguments = _RUN_ARGUMENTS + _RUN_EVENT_ARGUMENTS * count
        else:
            count, size, arguments = 1, _request_bytes_of(piece), _arguments_of(piece)
        return Room(self.events - count, self.bytes - size, self.arguments - arguments)

    @property
    def exceeded(self) -> bool:
        """Something did not fit."""
        return min(self) < 0

    def fitting(self, run: Run) -> int:
        """How many events from the beginning of a run there is room for."""
        count = min(self.events, (self.arguments - _RUN_ARGUMENTS) // _RUN_EVENT_ARGUMENTS, len(run))
        if count > 0 and _run_bytes(run) <= self.bytes:
            return count
        sizes = accumulate(map(_run_event_bytes, run.keys, run.types, run.datas))
        return sum(1 for _, size in zip(range(count), sizes, strict=False) if size <= self.bytes)


def _run_bytes(run: Run) -> int:
    return run.data_bytes + 2 * run.key_bytes + run.type_bytes + _FRAMING_BYTES_IN_RUN * len(run)


def _run_event_bytes(key: str, type: str, data: bytes) -> int:
    return len(data) + 2 * len(key) + len(type) + _FRAMING_BYTES_IN_RUN


def _arguments_of(record: Record) -> int:
    return 5 if record.numbered and record.event == "message" else 9


def _request_bytes_of(record: Record) -> int:
    """Its key stands there twice, in the entry and in the window."""
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

    @property
    def cautious(self) -> bool:
        """Something was refused, and it is being found out how much passes."""
        return self.events < self._max_events

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
