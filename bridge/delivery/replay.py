"""Recognise a replay by content, where the source gives no ids to tell it by, and pass one that was asked for. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum, auto

from bridge.delivery.window import Window
from bridge.model.place import Place

__all__ = ["Ahead", "ContentReplay", "Verdict"]


_PROOFS = 2
_LEAST_CONVINCING, _CONVINCING = 3, 8


class Verdict(Enum):
    """What to do with an event that was offered."""

    HELD = auto()  # may be part of a replay: keep it back until that is known
    REPLAYED = auto()  # a replay, together with all that was held: drop them
    NEW = auto()  # publish all that was held, then this one; nothing after it is a replay


class ContentReplay:
    """Matches what comes after a reconnect against the end of what came before it.

    A replay repeats, in order, a run of remembered events up to the very last one. So a run is dropped only when it
    reached that end and holds at least two events that occur just once in what is remembered. Anything less may as well
    be new events with equal bytes (a machine that is `HEALTHY` again), and those must not be lost: without ids the
    promise is at least once. Each event costs O(1), whatever is offered.
    """

    def __init__(self, remembered: Sequence[bytes]) -> None:
        counts = Counter(remembered)
        self._remembered = remembered
        self._known = counts.keys()
        self._unique = {digest: at for at, digest in enumerate(remembered) if counts[digest] == 1}
        self._run: list[bytes] = []  # what was held before a unique event told where it stands
        self._proofs = 0  # events of the run that occur just once
        self._next: int | None = None  # where the run goes on, once a unique event has told where it stands

    @property
    def convincing(self) -> bool:
        """It is a replay, though it has not reached the end of what is remembered: too much of it came again.

        That asks for more than a run that reaches the end does: eight events that occur just once, or half of all (but
        three at least).
        """
        return self._proofs >= max(_LEAST_CONVINCING, min(_CONVINCING, len(self._remembered) // 2))

    def offer(self, digest: bytes) -> Verdict:
        """Judge the next event by its digest."""
        at = self._next if self._next is not None else self._locate(digest)
        if at is None:
            undecided = self._unique and digest in self._known and len(self._run) < len(self._remembered)
            if not undecided:
                return Verdict.NEW
            self._run.append(digest)
            return Verdict.HELD
        if self._remembered[at] != digest:
            return Verdict.NEW
        self._proofs += digest in self._unique
        self._next = at + 1
        if self._next < len(self._remembered):
            return Verdict.HELD
        return Verdict.REPLAYED if self._proofs >= _PROOFS else Verdict.NEW

    def _locate(self, digest: bytes) -> int | None:
        at = self._unique.get(digest)
        if at is None or at < len(self._run) or list(self._remembered[at - len(self._run) : at]) != self._run:
            return None
        return at


class Ahead:
    """What stands in the stream ahead of a place that a person has moved back. Empty where nobody has: a cursor is the
    last thing that its window knows.

    It is skipped when the server sends it again. Still the next connection has to go on behind it: those that break off
    early would never come to what is new.
    """

    def __init__(self, window: Window, place: Place) -> None:
        moved = place.cursor is not None or self.at_start(place)
        self._keys = window.after(place.cursor) if moved else {}
        self._cursor = place.cursor
        self._passed = -1

    @staticmethod
    def at_start(place: Place) -> bool:
        """Behind events and before all ids stands only who was sent there, and a marker has said so."""
        return place.seq > 0 and place.cursor is None and place.ordinal == 0

    def opened(self, cursor: str | None) -> None:
        """A connection begins behind ``cursor``. Once that is the id of something new, the order of ids tells no more
        which of them lie ahead."""
        if cursor != self._cursor:
            self._keys = {}

    def passes(self, key: str, id: str) -> bool:
        """Whether an event that stands there already leads on: no other one further ahead has come before."""
        if (at := self._keys.get(key, -1)) <= self._passed:
            return False
        self._passed, self._cursor = at, id
        return True
