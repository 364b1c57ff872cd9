"""The log of one attempt to read a session."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

__all__ = ["Connection"]


@dataclass(slots=True, kw_only=True)
class Connection:
    """What a client asked and what it got. Times are Unix seconds.

    ``ended`` is None while it is open, then `refused` (see ``status``), `end`, `clean`, `cut`, `reset` (see `Closing`),
    `client` (the client left) or `stopped` (the simulator did). ``position`` is that of the first event it was to get,
    counted from 0 for the session's first; None where no stream began.
    """

    session_id: str
    last_event_id: bytes | None = None  # the header's bytes as received
    authorized: bool = False
    status: int | None = None
    reader_id: str | None = None
    position: int | None = None
    events: int = 0
    heartbeats: int = 0
    skipped: int = 0  # events that left the history before this reader got them
    opened_at: float = field(default_factory=time.time)
    closed_at: float | None = None
    ended: str | None = None

    def finish(self, ended: str) -> None:
        """Note the end once; what comes after it is a consequence."""
        if self.ended is None:
            self.ended, self.closed_at = ended, time.time()

    def as_json(self) -> dict[str, object]:
        """The connection in the control API."""
        raw = self.last_event_id
        return {
            "session_id": self.session_id,
            "last_event_id": None if raw is None else raw.decode("latin-1"),
            "last_event_id_hex": None if raw is None else raw.hex(),
            "authorized": self.authorized,
            "status": self.status,
            "reader_id": self.reader_id,
            "position": self.position,
            "events": self.events,
            "heartbeats": self.heartbeats,
            "skipped": self.skipped,
            "opened_at": round(self.opened_at, 3),
            "closed_at": None if self.closed_at is None else round(self.closed_at, 3),
            "ended": self.ended,
        }
