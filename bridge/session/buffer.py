"""Records between the source and Redis: bounded in number and in bytes, so that a Redis outage costs no memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from bridge.delivery.batch import Room
from bridge.model.records import Piece, Run

__all__ = ["RECORD_OVERHEAD_BYTES", "Buffer"]

RECORD_OVERHEAD_BYTES = 400
"""What a record costs in memory beside its data: the tuple, its short strings, its place in the window."""


class Buffer:
    """A queue with one reader and one writer. The writer looks at `full` after it has put something in.

    ``on_filled`` is called when something was put in, or put back, and when nothing more will come.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._pieces: deque[Piece] = deque()
        self.events = 0
        """Records that wait, those of runs one by one."""
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.on_filled: Callable[[], None] = lambda: None
        self.size_bytes = 0
        self.closed = False

    def __len__(self) -> int:
        return self.events

    @property
    def full(self) -> bool:
        """Reading must pause. One chunk may take it past its caps, and one larger event is let in when it is empty."""
        return self.events >= self._max_events or self.size_bytes >= self._max_bytes

    def put(self, pieces: Sequence[Piece]) -> None:
        """Append; never waits."""
        self._pieces.extend(pieces)
        self._count(pieces, 1)
        if self.full:
            self._emptied.clear()
        if pieces:
            self.on_filled()

    def put_back(self, pieces: Sequence[Piece]) -> None:
        """Return what was taken, to the front and in order; nobody is told."""
        self._pieces.extendleft(reversed(pieces))
        self._count(pieces, 1)

    def close(self, last: Sequence[Piece] = ()) -> None:
        """Nothing more will be put in, but for ``last``."""
        self.closed = True
        self.put(last)
        if not last:
            self.on_filled()

    def take(self, max_events: int, max_bytes: int, max_arguments: int) -> list[Piece]:
        """Remove up to ``max_events`` records that make a request of up to ``max_bytes`` and ``max_arguments``.

        At least one, if there is one.
        """
        if len(self._pieces) == 1 and self.events == 1:  # one that stands alone goes, whatever its size
            batch: list[Piece] = [self._pieces.pop()]
            self.events = self.size_bytes = 0
            self._emptied.set()
            return batch
        batch = []
        pieces, room = self._pieces, Room(max_events, max_bytes, max_arguments)
        while pieces and room.events:
            left = room.after(pieces[0])
            if left.exceeded:
                fitting = self._cut_first(room, at_least=0 if batch else 1)
                if not fitting:
                    break
            batch.append(pieces.popleft())
            room = left
            if left.exceeded:
                break
        self._count(batch, -1)
        if not self.full:
            self._emptied.set()
        return batch

    async def wait_for_room(self) -> None:
        """Until it is no longer full."""
        await self._emptied.wait()

    def _cut_first(self, room: Room, at_least: int) -> int:
        """Leave at the front what there is room for of the first piece; tells how many events that is."""
        first = self._pieces[0]
        if not isinstance(first, Run):
            return at_least
        fitting = max(room.fitting(first), at_least)
        if 0 < fitting < len(first):
            self._pieces.popleft()
            self._pieces.extendleft(reversed(first.cut(fitting)))
        return fitting

    def _count(self, pieces: Iterable[Piece], sign: int) -> None:
        events = size = 0
        for piece in pieces:
            if isinstance(piece, Run):
                events += len(piece)
                size += piece.data_bytes
            else:
                events += 1
                size += len(piece.data)
        self.events += sign * events
        self.size_bytes += sign * (size + RECORD_OVERHEAD_BYTES * events)
