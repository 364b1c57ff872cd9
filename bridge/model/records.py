"""What travels from the source to Redis: an event as it came, and what it becomes."""

from __future__ import annotations

from typing import NamedTuple

from bridge.model.labels import DeadLetterReason

__all__ = [
    "DeadLetter",
    "Record",
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


class DeadLetter(NamedTuple):
    """What a record lacks to be an entry. ``detail`` is for a person; ``size_bytes`` is the event's whole size."""

    reason: DeadLetterReason
    detail: str
    truncated: bool


class Record(NamedTuple):
    """One thing to append: a lens event, a marker of our own, or a dead letter.

    ``cursor`` and ``ordinal`` are the place once this record is committed. A marker takes no part in replay detection,
    so its ``digest`` is empty, and no number, but ``skip`` says how many numbers are left out behind it; without a type
    it leaves them out and is no entry. A NamedTuple: one is built per event, on the hot path.
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
    def numbered(self) -> bool:
        """It is an event in the stream, and takes the next number."""
        return self.dead is None and self.skip is None
