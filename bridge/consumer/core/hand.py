"""What a member has in hand: the entries that wait for their turn, and those that are worked on. Pure.

The work is done in one thread or task, and signs of life are given by another one; so this has a lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable

from bridge.consumer.core.entries import Entry

__all__ = ["Hand"]


class Hand:
    """``in_order``: entries are worked on one after the other, by one member of the group at a time."""

    def __init__(self, *, in_order: bool) -> None:
        self._in_order = in_order
        self._waiting: deque[Entry] = deque()
        self._held: dict[str, Entry] = {}  # those that wait, and those that are worked on
        self._lock = threading.Lock()

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._held

    @property
    def empty(self) -> bool:
        """Nothing is in hand."""
        return not self._held

    @property
    def some_wait(self) -> bool:
        """Something was taken in and not given out."""
        return bool(self._waiting)

    def ids(self) -> list[str]:
        """Of all that is in hand."""
        with self._lock:
            return list(self._held)

    def worked_on(self) -> list[Entry]:
        """Those that were given out and are not done."""
        with self._lock:
            waiting = {one.entry_id for one in self._waiting}
            return [one for id, one in self._held.items() if id not in waiting]

    def take_in(self, entries: Iterable[Entry]) -> None:
        """Behind those that wait."""
        with self._lock:
            for one in entries:
                self._held[one.entry_id] = one
                self._waiting.append(one)

    def give_out(self, size: int) -> list[Entry]:
        """The next ones to be worked on, but for those that others have taken over."""
        taken: list[Entry] = []
        with self._lock:
            while self._waiting and len(taken) < size:
                entry = self._waiting.popleft()
                if entry.entry_id in self._held:
                    taken.append(entry)
        return taken

    def put_down(self) -> list[Entry]:
        """Those that wait are in hand no more."""
        with self._lock:
            waiting = [one for one in self._waiting if self._held.pop(one.entry_id, None)]
            self._waiting.clear()
        return waiting

    def let_go(self, ids: Iterable[str]) -> None:
        """Their work is over."""
        with self._lock:
            for one in ids:
                self._held.pop(one, None)

    def lose(self, ids: Collection[str]) -> None:
        """Others have them. In order those have the stream as well, so nothing that is left here may be worked on."""
        with self._lock:
            if ids and self._in_order:
                self._held.clear()
            for one in ids:
                self._held.pop(one, None)
