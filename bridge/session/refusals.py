"""What becomes of a batch that Redis refuses for good: half of it is tried; a single event is set aside."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from bridge.delivery.batch import BatchSize, records_in
from bridge.model.labels import DeadLetterReason
from bridge.model.records import DeadLetter, Piece, Record
from bridge.session.flights import Rejected

__all__ = ["Refusals", "without_holes"]

log = structlog.get_logger()

_MOST_REFUSED_IN_A_ROW = 10
"""Single events that may be refused one after another before the session is held to be refused, and not they."""

_SMALL_BYTES = 64 * 1024  # no server refuses such an event for its size

_LETTER_TYPE_LENGTH = 256
"""How much of a type stays in the letter of a refused event: it may be as long as the event itself."""


def without_holes(batch: Iterable[Piece]) -> list[Record]:
    """The records of a batch but for the holes between their numbers, which are declared anew with each commit."""
    return [record for record in records_in(batch) if not record.skip]


class Refusals:
    """Of one session under one lease; ``size`` is how much goes into one commit."""

    def __init__(self, size: BatchSize, max_dead_letter_bytes: int) -> None:
        self._size = size
        self._max_dead_letter_bytes = max_dead_letter_bytes
        self._in_a_row = 0
        self._told: set[DeadLetterReason] = set()

    def tell_letters(self, batch: Iterable[Piece]) -> None:
        """Say what became a dead letter, the first of each reason: a server that sends nothing else should not fill the
        log. The metric has them all."""
        for record in records_in(batch):
            if record.dead and record.dead.reason not in self._told:
                self._told.add(record.dead.reason)
                log.warning(
                    "event.dead_lettered", reason=record.dead.reason.value, id=record.key, detail=record.dead.detail
                )

    def published(self) -> None:
        """An event has landed."""
        self._in_a_row = 0

    def is_stuck(self, events: list[Record]) -> bool:
        """Not the events are refused but the session, or even what is left of a letter: that waits for a person."""
        if len(events) > 1:
            return False
        empty = not events or bool(events[0].dead and not events[0].data)
        return empty or self._in_a_row >= _MOST_REFUSED_IN_A_ROW

    def answer(self, batch: list[Record], rejected: Rejected) -> list[Record]:
        """What to send in the place of a batch that was rejected, in one or several commits."""
        if rejected.passing:
            self._size.explained()
        elif len(batch) > 1:
            self._size.refused(len(batch))
            log.warning("batch.halved", events=len(batch), error=rejected.detail)
        else:
            self._size.explained()
            return [self._set_apart(batch[0], rejected.detail)]
        return batch

    def _set_apart(self, record: Record, detail: str) -> Record:
        if not record.dead:
            self._in_a_row += len(record.data) <= _SMALL_BYTES
        limit = len(record.data) // 2 if record.dead else self._max_dead_letter_bytes
        data, type = record.data[:limit], record.type[:_LETTER_TYPE_LENGTH]  # less where even the letter is too large
        whole = (data, type) == (record.data, record.type) and not (record.dead and record.dead.truncated)
        dead = DeadLetter(DeadLetterReason.REJECTED, detail, truncated=not whole)
        log.error("event.rejected", size_bytes=len(record.data), error=detail)
        return record._replace(data=data, type=type, dead=dead)
