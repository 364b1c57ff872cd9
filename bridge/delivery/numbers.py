"""The numbers that Redis has acknowledged, for when it forgets them. Pure.

After a rollback the same event gets the same number, and no number that was acknowledged goes to another event, since
consumers dedupe on it. What is not served again leaves a hole, and a gap marker declares it.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence

from bridge.delivery.markers import marker
from bridge.model.labels import GapReason
from bridge.model.place import Place
from bridge.model.records import Piece, Record, Run

__all__ = ["REMEMBERED_EVENTS", "Numbers", "Reissue"]

REMEMBERED_EVENTS = 16_384
"""How many events of a session are known by their number, at 8 bytes each: 128 KiB for a busy session, next to nothing
for a quiet one. At 1,000 events a second that covers the 16 s of a failover; what lies further back is taken to be
served in order."""

REMEMBERED_HOLES = 256
"""How many declared holes are known: each is one rollback behind which the server did not serve everything again."""


class Numbers:
    """Which events bear the last numbers that Redis has acknowledged to this worker, whatever Redis knows now."""

    def __init__(self, size_events: int = REMEMBERED_EVENTS) -> None:
        self.highest = 0
        self._size = size_events
        self._whole = size_events // 64  # a commit of fewer is kept as one with that before it, since each takes 170 B
        self._count = 0
        self._runs: deque[tuple[int, array[int]]] = deque()  # first number, keys by their hash: they need no room
        self._holes: deque[range] = deque(maxlen=REMEMBERED_HOLES)

    def landed(self, batch: Iterable[Piece], seq: int) -> None:
        """A commit has landed behind number ``seq``."""
        first, run = seq + 1, array("q")
        for record in batch:
            if isinstance(record, Run):
                run.fromlist(list(map(hash, record.keys)))  # quicker than one by one
            elif record.skip is not None:
                self._add(first, run)
                first += len(run)
                if record.skip:
                    self._holes.append(range(first, first + record.skip))
                first, run = first + record.skip, array("q")
            elif record.dead is None:
                run.append(hash(record.key))
        self._add(first, run)
        self.highest = max(self.highest, first + len(run) - 1)

    def taken(self, first: int, last: int) -> None:
        """Dead letters have taken these numbers: no event that comes again will bear one of them."""
        if first <= last:
            self._holes.append(range(first, last + 1))
            self.highest = max(self.highest, last)

    def _add(self, first: int, run: array[int]) -> None:
        if not run:
            return
        begin, last = self._runs[-1] if self._runs else (first, run)
        if last is not run and begin + len(last) == first and len(last) < self._whole:
            last.extend(run)
        else:
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
        return Reissue(known, tuple(self._holes), self.highest)


class Reissue:
    """Numbers events that may come for the second time. Works on records in the order of their commits."""

    def __init__(self, known: dict[int, int], holes: Sequence[range], highest: int) -> None:
        self._known = known
        self._given = frozenset(known.values())
        self._holes = holes
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
        # Whose number it was may be forgotten, or was never heard of: a commit whose reply did not come, another
        # worker's time between two of ours. Then it is taken to come in order.
        theirs = seq + 1 in self._given or any(seq + 1 in hole for hole in self._holes)
        return self._highest + 1 if theirs else seq + 1


def _hole(first: int, last: int, *, at: float, cursor: str | None, ordinal: int) -> Record:
    detail = {
        "reason": GapReason.NUMBERS_LOST.value,
        "last_id": cursor,
        "outage_seconds": 0,
        "from_seq": first,
        "to_seq": last,
    }
    return marker("gap", detail, at=at, cursor=cursor, ordinal=ordinal)._replace(skip=last - first + 1)
