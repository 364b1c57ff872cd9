"""The numbers that Redis has acknowledged, for when it forgets them. Pure.

After a rollback the same event gets the same number, and no number that was acknowledged goes to another event, since
consumers dedupe on it. What is not served again leaves a hole, and a gap marker declares it.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable

from bridge.delivery.markers import marker
from bridge.model.labels import GapReason
from bridge.model.place import Place
from bridge.model.records import Piece, Record, Run

__all__ = ["REMEMBERED_EVENTS", "Numbers", "Reissue"]

REMEMBERED_EVENTS = 16_384
"""How many events of a session are known by their number, at 8 bytes each: 128 KiB for a busy session, next to nothing
for a quiet one. At 1,000 events a second that covers the 16 s of a failover; what lies further back is taken to be
served in order."""


class Numbers:
    """Which events bear the last numbers that Redis has acknowledged to this worker, whatever Redis knows now."""

    def __init__(self, size_events: int = REMEMBERED_EVENTS) -> None:
        self.highest = 0
        self._size = size_events
        self._count = 0
        self._runs: deque[tuple[int, array[int]]] = deque()  # first number, keys by their hash: they need no room

    def landed(self, batch: Iterable[Piece], seq: int) -> None:
        """A commit has landed behind number ``seq``."""
        first, run = seq + 1, array("q")
        for record in batch:
            if isinstance(record, Run):
                run.extend(map(hash, record.keys))
            elif record.skip is not None:
                self._add(first, run)
                first, run = first + len(run) + record.skip, array("q")
            elif record.dead is None:
                run.append(hash(record.key))
        self._add(first, run)
        self.highest = max(self.highest, first + len(run) - 1)

    def _add(self, first: int, run: array[int]) -> None:
        if not run:
            return
        self._runs.append((first, run))
        self._count += len(run)
        while self._count - len(self._runs[0][1]) >= self._size:
            self._count -= len(self._runs.popleft()[1])

    def reissue(self, seq: int) -> Reissue | None:
        """How to number what comes behind ``seq``, the last number that Redis knows; None if it has forgotten none."""
        if seq >= self.highest:
            return None
        known: dict[int, int] = {}
        for first, run in self._runs:
            known.update((key, first + at) for at, key in enumerate(run) if first + at > seq)
        return Reissue(known, self.highest)


class Reissue:
    """Numbers events that may come for the second time. Works on records in the order of their commits."""

    def __init__(self, known: dict[int, int], highest: int) -> None:
        self._known = known
        self._lowest = min(known.values(), default=highest + 1)
        self._highest = highest

    def declared(self, batch: Iterable[Record], place: Place, *, at: float, markers: bool) -> list[Record]:
        """The batch to commit behind ``place``, with a marker for each hole in its numbers.

        With ``markers`` off the numbers are left out all the same, but no entry says so.
        """
        numbered: list[Record] = []
        seq, cursor, ordinal = place.seq, place.cursor, place.ordinal
        for record in batch:
            number = self._number(record, seq)
            if number > seq + 1:
                hole = _hole(seq + 1, number - 1, at=at, cursor=cursor, ordinal=ordinal)
                numbered.append(hole if markers else hole._replace(type=""))
                seq = number - 1
            seq += record.numbered
            cursor, ordinal = record.cursor, record.ordinal
            numbered.append(record)
        return numbered

    def _number(self, record: Record, seq: int) -> int:
        """The number of a record behind ``seq``; of one that takes none, the next number if nothing is left out."""
        if seq >= self._highest:
            return seq + 1
        if not record.numbered:
            ends = record.type == "bridge.session.ended"  # what was not served by now never will be
            return self._highest + 1 if ends else seq + 1
        known = self._known.get(hash(record.key), 0)
        if known > seq:
            return known
        if seq + 1 < self._lowest:
            return seq + 1
        return self._highest + 1


def _hole(first: int, last: int, *, at: float, cursor: str | None, ordinal: int) -> Record:
    detail = {
        "reason": GapReason.NUMBERS_LOST.value,
        "last_id": cursor,
        "outage_seconds": 0,
        "from_seq": first,
        "to_seq": last,
    }
    return marker("gap", detail, at=at, cursor=cursor, ordinal=ordinal)._replace(skip=last - first + 1)
