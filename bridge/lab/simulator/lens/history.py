"""What a session has emitted: a ring of rendered frames to replay, and the record to check a client against. Pure."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

__all__ = ["History", "RecordEntry"]

_SLACK = 1024  # frames beyond the capacity before the ring is cut: cutting one by one would be quadratic


class RecordEntry(NamedTuple):
    """One lens event as it was emitted. ``type`` is None where the data has none; ``poison`` names its fault."""

    id: str | None
    sha256: bytes
    type: str | None
    poison: str | None

    def as_json(self) -> dict[str, str | None]:
        """The entry in the control API."""
        entry = {"id": self.id, "sha256": self.sha256.hex(), "type": self.type}
        return entry if self.poison is None else {**entry, "poison": self.poison}


class History:
    """Frames by position, counted from 0 for the session's first. The record keeps what the ring has lost."""

    def __init__(self) -> None:
        self.record: list[RecordEntry] = []
        self.bytes_emitted = 0
        self.oldest = 0  # position of the oldest frame that may still be replayed
        self._frames: list[bytes] = []
        self._ids: list[str | None] = []
        self._base = 0  # position of the first frame held
        self._positions: dict[str, int] = {}

    @property
    def end(self) -> int:
        """The position that the next frame will get."""
        return self._base + len(self._frames)

    def append(self, frame: bytes, event_id: str | None, capacity: int) -> None:
        """Keep one frame, and no more than ``capacity`` of them."""
        if event_id is not None:
            self._positions[event_id] = self.end
        self._frames.append(frame)
        self._ids.append(event_id)
        self.bytes_emitted += len(frame)
        self.oldest = max(self.oldest, self.end - capacity)
        if self.oldest - self._base > max(_SLACK, capacity):
            self._cut()

    def note(self, event_id: str | None, data: str, type_: str | None, poison: str | None) -> None:
        """Add to the record. ``data`` is the SSE data as a client reads it."""
        self.record.append(RecordEntry(event_id, hashlib.sha256(data.encode()).digest(), type_, poison))

    def forget(self, events: int | None = None) -> None:
        """Lose the oldest ``events``, or all, as a server does that was restarted. The record stays."""
        self.oldest = self.end if events is None else min(self.end, self.oldest + events)
        self._cut()

    def position_of(self, event_id: str) -> int | None:
        """Where an id was last used, or None if that is unknown or out of reach."""
        position = self._positions.get(event_id)
        return position if position is not None and position >= self.oldest else None

    def take(self, position: int, max_events: int, max_bytes: int) -> list[bytes]:
        """Frames from ``position`` on (not before ``oldest``): at least one, if there is one."""
        start = max(position, self.oldest) - self._base
        frames = self._frames[start : start + max_events]
        total = 0
        for count, one in enumerate(frames):
            total += len(one)
            if total > max_bytes and count:
                return frames[:count]
        return frames

    def _cut(self) -> None:
        count = self.oldest - self._base
        for offset, event_id in enumerate(self._ids[:count]):
            if event_id is not None and self._positions.get(event_id) == self._base + offset:
                del self._positions[event_id]
        del self._frames[:count]
        del self._ids[:count]
        self._base = self.oldest
