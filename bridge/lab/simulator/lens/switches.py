"""Every way in which a lens API may differ from another: one switch each, changeable while the simulator runs.

The public pages leave much of the API open, and deployments differ. A default is the documented behaviour where there
is one, else the likelier one. A client is right when it is right under all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bridge.lab.simulator.lens.choices import Count, Explained, HttpStatus, Positive, Seconds, checked

__all__ = [
    "ChunkShape",
    "Closing",
    "CursorRule",
    "DestroyedRule",
    "ErrorShape",
    "FreshRule",
    "GzipRule",
    "IdStyle",
    "LineEnding",
    "SharingRule",
    "StatusSpelling",
    "Switches",
    "UnknownCursorRule",
    "UnknownSessionRule",
    "changed_switches",
]


class IdStyle(Explained):
    """What an event id looks like."""

    COUNTER = "counter", "1, 2, 3"
    OPAQUE = "opaque", "16 characters without visible order"
    UNICODE = "unicode", "characters outside Latin-1, so more than one byte each"


class FreshRule(Explained):
    """Where a connection without Last-Event-ID begins."""

    REPLAY = "replay", "with the oldest event of its history"
    LIVE = "live", "with the next new event"


class CursorRule(Explained):
    """What the server does with Last-Event-ID."""

    HONOUR = "honour", "sends what came after it"
    REPLAY = "replay", "ignores it and sends all of its history"
    TAIL = "tail", "ignores it and sends the last `tail_events`"
    LIVE = "live", "ignores it and sends new events only"


class UnknownCursorRule(Explained):
    """What the server does with a Last-Event-ID that it does not know, or knows no longer."""

    LIVE = "live", "sends new events only"
    REPLAY = "replay", "sends all of its history"
    REFUSE = "refuse", "answers with `unknown_cursor_status`"


class SharingRule(Explained):
    """What two readers of one session get."""

    ALL = "all", "both get every event"
    SPLIT = "split", "each event goes to one of them"


class LineEnding(Explained):
    """The three line ends of the SSE standard."""

    LF = "lf", "\\n"
    CRLF = "crlf", "\\r\\n"
    CR = "cr", "\\r"


class ChunkShape(Explained):
    """How frames are laid out in HTTP chunks."""

    EVENT = "event", "each event is a chunk of its own"
    COALESCE = "coalesce", "up to `chunk_events` events that are waiting share a chunk"
    RANDOM = "random", "cut at random bytes, `chunk_bytes` apart on average"
    DRIP = "drip", "cut every `chunk_bytes`"


class GzipRule(Explained):
    """When the body is compressed."""

    NEVER = "never", "whatever the client accepts"
    ACCEPTED = "accepted", "when Accept-Encoding names gzip"
    ALWAYS = "always", "even when the client asked for identity"


class Closing(Explained):
    """How the server closes a connection."""

    END = "end", "`sse.stream.end`, then a clean end of the body"
    CLEAN = "clean", "a clean end of the body without a word"
    CUT = "cut", "TCP FIN in the middle of the body; what was written still arrives"
    RESET = "reset", "TCP RST; what was written may be lost"


class ErrorShape(Explained):
    """The JSON bodies in which errors were seen."""

    ERRORS = "errors", '{"errors": [{"code", "message", "suggestion", "error_uid"}]}'
    TEXTS = "texts", '{"errors": ["text"]}'
    DETAIL = "detail", '{"detail": "text"}'
    ERROR = "error", '{"error": {"code", "message", "details"}}'
    TYPED = "typed", '{"type": "error", "message"}'


class UnknownSessionRule(Explained):
    """What the consumer endpoint answers for a session that it does not know."""

    STATUS = "status", "404 and an error body"
    JSON = "json", '200 with {"type": "error", "message": "Unknown session id: …"}'
    EMPTY = "empty", "200, an event stream without a byte, closed at once"
    END = "end", "200, start and end frames"


class DestroyedRule(Explained):
    """What the consumer endpoint answers for a session that was destroyed."""

    UNKNOWN = "unknown", "the same as for a session that never was"
    REPLAY = "replay", "what is left of its history, then the closing of `destroy_closing`"
    REFUSE = "refuse", "410 and an error body"


class StatusSpelling(Explained):
    """How a session status is written."""

    PREFIXED = "prefixed", "SESSION_STATUS_RUNNING"
    QUALIFIED = "qualified", "LensSessionStatus.SESSION_STATUS_RUNNING"
    BARE = "bare", "RUNNING"
    DIGIT = "digit", '"3"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """One server's behaviour. How an event is rendered (ids, name, line ends) is settled when it is emitted."""

    ids: bool = True
    """Lens events have an `id:` line."""
    id_style: IdStyle = IdStyle.COUNTER
    """What the ids look like."""
    ids_on_control_frames: bool = False
    """Start, heartbeat and end frames have ids too, which cannot be resumed from."""
    event_name: str | None = "message"
    """The `event:` line; none leaves it out."""
    line_ending: LineEnding = LineEnding.LF
    """The line end of every frame."""
    bom: bool = False
    """Each body begins with a UTF-8 byte order mark."""
    retry_ms: Count | None = None
    """A `retry:` line in front of the start frame."""
    start_frame: bool = True
    """Each body begins with `sse.stream.start`."""
    python_repr: bool = False
    """Data is the Python repr of its bytes, `b'{…}'`, as one server release sent it."""
    mailbox_only: bool = False
    """The lens has no output for event streams: what it brings counts as `num_outputs` and goes to the WebSocket
    mailbox, and readers get heartbeats only."""
    echo_key: bool = False
    """Generated events hold the API key, to see that no client shows or stores it in clear."""

    fresh: FreshRule = FreshRule.REPLAY
    """Where a connection without Last-Event-ID begins."""
    cursor: CursorRule = CursorRule.HONOUR
    """What the server does with Last-Event-ID."""
    overlap_events: Count = 0
    """Events up to and including the cursor that an honoured Last-Event-ID brings again."""
    tail_events: Count = 500
    """How many events `cursor: tail` replays."""
    unknown_cursor: UnknownCursorRule = UnknownCursorRule.LIVE
    """What the server does with a Last-Event-ID that it does not know."""
    unknown_cursor_status: HttpStatus = 410
    """The status of `unknown_cursor: refuse`."""
    history_events: Count = 100_000
    """How many events the server keeps; older ones can neither be replayed nor resumed from."""
    record: bool = True
    """Keep the record of what was emitted. Off saves about 250 bytes per event in long runs."""
    sharing: SharingRule = SharingRule.ALL
    """What two readers of one session get."""

    heartbeat_interval_seconds: Seconds = 5.0
    """Heartbeat after this long without a byte; 0 turns heartbeats off."""
    heartbeat_comments: bool = False
    """Heartbeats are SSE comments instead of frames."""
    idle_closing_seconds: Seconds = 0.0
    """Close a connection after this long without a lens event; 0 never. About 58 to 80 s was seen."""
    idle_closing: Closing = Closing.END
    """How an idle connection is closed."""
    destroy_closing: Closing = Closing.END
    """How the connections of a destroyed session are closed, once they have all events."""
    first_result_delay_seconds: Seconds = 0.0
    """How long a profile needs before its first event. 15 to 90 s was seen."""
    event_delay_seconds: Seconds = 0.0
    """Wait this long before each event that is sent."""
    clock_ahead_seconds: Seconds = 0.0
    """By how much the server's clock, as its `Date` header tells it, is ahead."""
    answer_delay_seconds: Seconds = 0.0
    """Wait this long before the response head of the consumer endpoint."""

    chunk_shape: ChunkShape = ChunkShape.EVENT
    """How frames are laid out in HTTP chunks."""
    chunk_events: Positive = 128
    """Most events in one chunk of `coalesce`."""
    chunk_bytes: Positive = 64
    """Size of a chunk of `drip`, mean size of one of `random`."""
    gzip: GzipRule = GzipRule.NEVER
    """When the body is compressed."""

    check_key: bool = True
    """Requests need `Authorization: Bearer` and a valid key."""
    unauthorized_status: HttpStatus = 401
    """The status for a missing or wrong key."""
    error_shape: ErrorShape = ErrorShape.ERRORS
    """The body of every error."""
    unknown_session: UnknownSessionRule = UnknownSessionRule.STATUS
    """What the consumer endpoint answers for a session that it does not know."""
    destroyed_session: DestroyedRule = DestroyedRule.UNKNOWN
    """What the consumer endpoint answers for a session that was destroyed."""
    starting_session_status: HttpStatus | None = None
    """The consumer endpoint's status while a session is not yet running; none opens the stream all the same."""
    metadata_unknown_status: HttpStatus | None = None
    """The metadata endpoint's status for an unknown id; none answers an empty array."""
    metadata_lists_destroyed: bool = False
    """The metadata endpoint still shows destroyed sessions, with that status."""
    metadata_rows: Count | None = None
    """How many sessions the metadata endpoint lists at most where it is asked after all; none: as many as were asked
    for. A list may be shorter than the truth."""
    status_spelling: StatusSpelling = StatusSpelling.PREFIXED
    """How session statuses are written."""


def changed_switches(switches: Switches, changes: Mapping[str, object], *, from_text: bool = False) -> Switches:
    """The switches with some of them set anew. ``from_text``: values are strings, as on a command line.

    Raises ConfigurationError for an unknown name and for a value of the wrong type or outside its range.
    """
    return replace(switches, **checked(Switches, changes, noun="switch", from_text=from_text))
