"""The newest entries of a stream, for all its readers, and where it ends. Pure: no I/O, no clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from bridge.serve.frames import Entry
from bridge.serve.places import EntryId

__all__ = ["Ring"]


class Ring:
    """Holds every entry behind ``before`` up to ``last``, at most so many and so many bytes; the newest one always.

    ``epoch`` changes when the stream is not what it was: Redis lost what stood there, or trimmed what nobody here had
    read. Then each reader has to look for itself whether its own place is still there.
    """

    def __init__(self, place: EntryId, most_entries: int, most_bytes: int) -> None:
        self.before = self.last = place
        self.epoch = 0
        self._most_entries, self._most_bytes = most_entries, most_bytes
        self._entries: list[Entry] = []
        self._ids: list[EntryId] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entries: Sequence[Entry]) -> None:
        """What came behind ``last``, in order."""
        if not entries:
            return
        self._entries += entries
        self._ids += [one.id for one in entries]
        self._bytes += sum(one.size_bytes for one in entries)
        self.last = self._ids[-1]
        self._drop()

    def restart(self, place: EntryId) -> None:
        """Forget all, and go on behind this place."""
        self._entries, self._ids, self._bytes = [], [], 0
        self.before = self.last = place
        self.epoch += 1

    def after(self, place: EntryId, most_bytes: int) -> list[Entry] | None:
        """The next entries behind a place, about so many bytes but at least one; None where they are not all here."""
        if not self.before <= place <= self.last:
            return None
        begin = end = bisect_right(self._ids, place)
        taken = 0
        while end < len(self._entries) and taken < most_bytes:
            taken += self._entries[end].size_bytes
            end += 1
        return self._entries[begin:end]

    def knows(self, place: EntryId) -> bool:
        """Whether everything behind this place is here, and an entry stood at it."""
        at = bisect_right(self._ids, place)
        return place in (self.before, self.last) or (at > 0 and self._ids[at - 1] == place)

    def _drop(self) -> None:
        gone = max(0, len(self._entries) - self._most_entries)
        left = self._bytes - sum(one.size_bytes for one in self._entries[:gone])
        while left > self._most_bytes and gone < len(self._entries) - 1:
            left -= self._entries[gone].size_bytes
            gone += 1
        if gone:
            self.before = self._ids[gone - 1]
            del self._entries[:gone], self._ids[:gone]
            self._bytes = left
