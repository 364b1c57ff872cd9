"""The values that travel from the source to Redis. No behaviour, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

__all__ = [
    "START",
    "Claim",
    "CommitOutcome",
    "ConnectOutcome",
    "DeadLetter",
    "DeadLetterReason",
    "DisconnectReason",
    "GapReason",
    "Phase",
    "Place",
    "Record",
    "Session",
    "SessionState",
    "SkipReason",
]


class SessionState(StrEnum):
    """What a session is doing, as shown in ``session_state{state}`` and ``/status``."""

    STANDBY = "standby"  # another worker owns it, or nobody yet
    CONNECTING = "connecting"
    STREAMING = "streaming"
    BACKPRESSURED = "backpressured"  # Redis does not take commits as fast as events come
    WAITING = "waiting"  # backing off between two connections
    PAUSED = "paused"
    UNAUTHORIZED = "unauthorized"
    CURSOR_LOST = "cursor_lost"  # the server no longer knows our place
    ENDED = "ended"
    GONE = "gone"  # the server does not know the session
    FAILED = "failed"


class Phase(StrEnum):
    """The part of a session's life that is committed in its state hash."""

    ACTIVE = "active"
    ENDED = "ended"
    GONE = "gone"


class DeadLetterReason(StrEnum):
    """Why an event could not become an entry."""

    INVALID_JSON = "invalid_json"
    MISSING_TYPE = "missing_type"
    OVERSIZE = "oversize"
    REJECTED = "rejected"  # Redis itself refuses it, at any time


class ConnectOutcome(StrEnum):
    """How an attempt to open the source ended: ``source_connects_total{outcome}``."""

    OK = "ok"
    REFUSED = "refused"  # no connection: refused, unknown host, TLS
    TIMEOUT = "timeout"
    UNAUTHORIZED = "unauthorized"  # 401, 403
    NOT_FOUND = "not_found"  # 404, 410
    NOT_READY = "not_ready"  # 409, 425
    NO_CONTENT = "no_content"  # 204: the SSE standard's word for stop
    RATE_LIMITED = "rate_limited"  # 429
    CURSOR_REFUSED = "cursor_refused"  # a 4xx that goes away without Last-Event-ID
    REJECTED = "rejected"  # any other 4xx, a redirect
    SERVER_ERROR = "server_error"  # 5xx
    BAD_RESPONSE = "bad_response"  # 200, but not an event stream


class DisconnectReason(StrEnum):
    """How an open source ended: ``source_disconnects_total{reason}``."""

    END = "end"  # the server sent sse.stream.end
    CLOSED = "closed"  # a clean end of the body without it
    RESET = "reset"
    IDLE_TIMEOUT = "idle_timeout"  # no byte for source.idle_timeout_seconds
    EVENT_TIMEOUT = "event_timeout"  # bytes, but no whole event for source.event_timeout_seconds
    BAD_ENCODING = "bad_encoding"  # a content coding that we did not ask for and cannot undo
    LEFT = "left"  # we closed it: stop, handover, fence, rollback


class CommitOutcome(StrEnum):
    """How a commit ended: ``commits_total{result}``. ``rolled_back`` includes a Redis that was emptied."""

    OK = "ok"
    ALREADY = "already"  # an earlier reply was lost; it had landed
    FENCED = "fenced"
    ROLLED_BACK = "rolled_back"
    ERROR = "error"


class SkipReason(StrEnum):
    """Why an event was not published: ``events_skipped_total{reason}``."""

    DUPLICATE = "duplicate"
    FILTERED = "filtered"


class GapReason(StrEnum):
    """Why events may be missing before a gap marker."""

    CURSOR_UNKNOWN = "cursor_unknown"  # the server refused our Last-Event-ID
    CURSOR_UNSENDABLE = "cursor_unsendable"  # the id cannot stand in an HTTP header
    NO_CURSOR = "no_cursor"  # the server gives no ids, so there was nothing to resume from
    STATE_LOST = "state_lost"  # Redis was emptied under a running worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One lens session as configured: a stable name for consumers, an id for the source."""

    name: str
    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The committed place of a session: all of it changes in one step, or none of it.

    ``cursor`` is the last real SSE id of a lens event (None before the first), ``ordinal`` counts the events
    without an id since then, ``seq`` the entries appended so far, ``commits`` the commits made so far.
    """

    cursor: str | None = None
    ordinal: int = 0
    seq: int = 0
    commits: int = 0


START = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What taking a lease gives: the right to write (``token``), and where to go on."""

    token: str
    place: Place
    phase: Phase
    window: tuple[bytes, ...]  # blobs of `bridge.window`, oldest first
    seeded: bool = False  # Redis knew no place, so the one this worker remembered was set up again


class DeadLetter(NamedTuple):
    """What a record lacks to be an entry. ``detail`` is for a person; ``size_bytes`` is the event's whole size."""

    reason: DeadLetterReason
    detail: str
    truncated: bool


class Record(NamedTuple):
    """One thing to append: a lens event, a marker of our own, or a dead letter.

    ``cursor`` and ``ordinal`` are the place once this record is committed. ``digest`` is empty for a marker,
    which takes no part in replay detection. A NamedTuple: one is built per event, on the hot path.
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
