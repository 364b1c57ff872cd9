"""What stands in the stream ahead of a place that a person has moved back. Pure.

It is skipped when the server sends it again. Still the next connection has to go on behind it: those that break off
early would never come to what is new.
"""

from __future__ import annotations

from bridge.delivery.window import Window
from bridge.model.place import Place

__all__ = ["Ahead"]


class Ahead:
    """Empty, but where a place was moved back: a cursor is the last thing that its window knows."""

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
