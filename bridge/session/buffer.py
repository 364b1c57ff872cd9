"""Records between the source and Redis: bounded in number and in bytes, so that a Redis outage costs no memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from bridge.delivery.batch import arguments_of, request_bytes_of
from bridge.model.records import Record

__all__ = ["RECORD_OVERHEAD_BYTES", "Buffer"]

RECORD_OVERHEAD_BYTES = 400
"""What a record costs in memory beside its data: the tuple, its short strings, its place in the window."""


class Buffer:
    """A queue with one reader and one writer. The writer looks at `full` after it has put something in."""

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._records: deque[Record] = deque()
        self._filled, self._emptied = asyncio.Event(), asyncio.Event()
        self._emptied.set()
        self.size_bytes = 0
        self.closed = False

    def __len__(self) -> int:
        return len(self._records)

    @property
    def full(self) -> bool:
        """Reading must pause. One chunk may take it past its caps, and one larger event is let in when it is empty."""
        return len(self._records) >= self._max_events or self.size_bytes >= self._max_bytes

    def put(self, records: Iterable[Record]) -> None:
        """Append; never waits. Nothing at all wakes nobody: an empty batch would say that the buffer is closed."""
        size = 0
        for record in records:
            size += len(record.data) + RECORD_OVERHEAD_BYTES
            self._records.append(record)
        self.size_bytes += size
        if self._records:
            self._filled.set()
        if self.full:
            self._emptied.clear()

    def put_back(self, records: Sequence[Record]) -> None:
        """Return what was taken, to the front and in order."""
        self._records.extendleft(reversed(records))
        self.size_bytes += sum(len(record.data) + RECORD_OVERHEAD_BYTES for record in records)
        self._filled.set()

    def close(self) -> None:
        """Nothing more will be put in."""
        self.closed = True
        self._filled.set()

    def take(self, max_events: int, max_bytes: int, max_arguments: int) -> list[Record]:
        """Remove up to ``max_events`` records that make a request of up to ``max_bytes`` and ``max_arguments``.

        At least one, if there is one.
        """
        batch: list[Record] = []
        records = self._records
        size = request = arguments = 0
        while records and len(batch) < max_events:
            record = records[0]
            request += request_bytes_of(record)
            arguments += arguments_of(record)
            if batch and (request > max_bytes or arguments > max_arguments):
                break
            size += len(record.data)
            batch.append(records.popleft())
        self.size_bytes -= size + RECORD_OVERHEAD_BYTES * len(batch)
        if not records and not self.closed:
            self._filled.clear()
        if not self.full:
            self._emptied.set()
        return batch

    async def wait_filled(self) -> None:
        """Until there is something to take, or nothing more will come."""
        await self._filled.wait()

    async def wait_for_room(self) -> None:
        """Until it is no longer full."""
        await self._emptied.wait()
