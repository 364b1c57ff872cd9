"""The words that label things: in metrics, in `/status`, in entries, in the committed state. Each set is closed."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "CommitOutcome",
    "ConnectOutcome",
    "DeadLetterReason",
    "DisconnectReason",
    "GapReason",
    "Phase",
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
    NUMBERS_LOST = "numbers_lost"  # events that Redis forgot are not served again; the marker names their numbers
