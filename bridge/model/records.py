"""What travels from the source to Redis: an event as it came, and what it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.model.labels import DeadLetterReason

__all__ = [
    "Accepted",
    "DeadLetter",
    "Piece",
    "PlainEvents",
    "Record",
    "Run",
    "ServerSentEvent",
]


class ServerSentEvent(NamedTuple):
    """One dispatched event. A NamedTuple, since one is built per event on the hot path."""

    event: str  # "message" where the block gives no name
    raw: bytes  # the data as received: its lines joined by LF, not checked for UTF-8
    id: str | None  # the block's own id line ("" where that is empty), None without one
    last_event_id: str  # what a reconnect after this event sends as Last-Event-ID
    oversize_bytes: int = 0  # the size of all data where it is over the cap; raw then holds the first part up to it

    @property
    def data(self) -> str:
        """The data as the standard gives it: UTF-8, with U+FFFD for what is not."""
        return self.raw.decode("utf-8", "replace")


class PlainEvents(NamedTuple):
    """The events of one chunk, by column, where each is plain: the name `message`, an ASCII id of its own, one line of
    data within the cap. Most chunks of a catch-up are that, and a tuple per event would be a third of their cost."""

    ids: list[str]
    raws: Sequence[bytes]

    def events(self) -> list[ServerSentEvent]:
        """The same, one by one."""
        return [ServerSentEvent("message", raw, id, id) for id, raw in zip(*self, strict=True)]


class DeadLetter(NamedTuple):
    """What a record lacks to be an entry. ``detail`` is for a person; ``size_bytes`` is the event's whole size."""

    reason: DeadLetterReason
    detail: str
    truncated: bool


class Record(NamedTuple):
    """One thing to append: a lens event, a marker of our own, or a dead letter.

    ``cursor`` and ``ordinal`` are the place once this record is committed. A marker takes no part in replay detection,
    so its ``digest`` is empty, and no number, but ``skip`` says how many numbers are left out behind it; without a type
    it leaves them out and is no entry. One that skips none and has no type is an event that was filtered out. A
    NamedTuple: one is built per event, on the hot path.
    """

    key: str
    type: str
    data: bytes
    received_at: float  # Unix seconds
    event: str  # the SSE event name
    digest: bytes
    cursor: str | None
    ordinal: int
    dead: DeadLetter | None = None
    skip: int | None = None  # of a marker only

    @property
    def end(self) -> tuple[str | None, int]:
        """Cursor and ordinal behind it."""
        return self.cursor, self.ordinal

    @property
    def numbered(self) -> bool:
        """It is an event in the stream, and takes the next number."""
        return self.dead is None and self.skip is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Records of plain events that came in one chunk, by column: each key is the event's own id, and so the cursor
    behind it; the name is `message`; keys and types are ASCII. What is the same for all of them stands once.

    Sizes are of whole columns: they are asked for several times on the way.
    """

    keys: Sequence[str]
    types: Sequence[str]
    datas: Sequence[bytes]
    digests: Sequence[bytes]
    received_at: float  # Unix seconds
    data_bytes: int
    key_bytes: int
    type_bytes: int

    @classmethod
    def of(
        cls,
        keys: Sequence[str],
        types: Sequence[str],
        datas: Sequence[bytes],
        digests: Sequence[bytes],
        received_at: float,
    ) -> Run:
        """A run of these columns, all of one length."""
        return cls(
            keys=keys,
            types=types,
            datas=datas,
            digests=digests,
            received_at=received_at,
            data_bytes=sum(map(len, datas)),
            key_bytes=len("".join(keys)),  # four times quicker than their sum
            type_bytes=len("".join(types)),
        )

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def end(self) -> tuple[str | None, int]:
        """Cursor and ordinal behind the last of it."""
        return self.keys[-1], 0

    def cut(self, events: int) -> tuple[Run, Run]:
        """The first ``events`` of it, and the rest."""
        return self._slice(slice(events)), self._slice(slice(events, None))

    def records(self) -> list[Record]:
        """The same, one by one."""
        columns = zip(self.keys, self.types, self.datas, self.digests, strict=True)
        return [
            Record(key, type, data, self.received_at, "message", digest, key, 0) for key, type, data, digest in columns
        ]

    def _slice(self, part: slice) -> Run:
        return Run.of(self.keys[part], self.types[part], self.datas[part], self.digests[part], self.received_at)


Piece = Record | Run
"""What stands between source and store: a run where all is plain, else a record."""


@dataclass(slots=True, kw_only=True)
class Accepted:
    """What a chunk of events came to."""

    records: list[Piece] = field(default_factory=list)
    types: dict[str, int] = field(default_factory=dict)
    heartbeats: int = 0
    duplicates: int = 0
    filtered: int = 0
    conflicts: int = 0
    masked: int = 0
    overrun: bool = False
    ended: bool = False
